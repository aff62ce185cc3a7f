"""A directory to measure in: made alike for pyexp and for DVC, with a home of its own and nothing else around it."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from workflows.measure import Failed

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Tool:
    """A command line to measure, and the control directory of its projects."""

    name: str
    argv: tuple[str, ...]
    control: str

    @property
    def scratch(self) -> str:
        """Where the tool keeps what may be lost."""
        return f"{self.control}/tmp"


PYEXP = Tool("pyexp", (sys.executable, "-m", "pyexp"), ".pyexp")


def find_dvc() -> Tool | None:
    """The real DVC: PYEXP_TEST_DVC, or ``dvc`` on the path."""
    found = os.environ.get("PYEXP_TEST_DVC") or shutil.which("dvc")
    return Tool("dvc", (found,), ".dvc") if found else None


def environment(home: Path) -> dict[str, str]:
    """What every measured command sees: no configuration of the user's, no analytics, no colours."""
    home.mkdir(parents=True, exist_ok=True)
    people = {f"GIT_{role}_{what}": "bench@x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    settings = {"init.defaultBranch": "main", "gc.auto": "0", "maintenance.auto": "false", "user.name": "b"}
    settings["user.email"] = "b@x"
    git = {"GIT_CONFIG_COUNT": str(len(settings)), "GIT_CONFIG_NOSYSTEM": "1"}
    for number, (key, value) in enumerate(settings.items()):
        git |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    places = [str(Path(sys.executable).parent), os.environ["PATH"]]
    dvc = find_dvc()
    if dvc is not None:  # DVC starts its queue's workers by the name "dvc", and waits for ever when there is none
        places.append(str(Path(dvc.argv[0]).parent))
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_STUDIO_OFFLINE": "1",
        "NO_COLOR": "1",
        "PATH": os.pathsep.join(places),
        "LC_ALL": "C.UTF-8",
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):  # the pyexp under test may be reached by these
        if name in os.environ:
            own[name] = os.environ[name]
    return own | git | people


@dataclass(frozen=True)
class Space:
    """One tool's directory for one workload; ``size`` is how many of what the workload counts."""

    tool: Tool
    root: Path
    size: int
    env: Mapping[str, str]

    @property
    def aside(self) -> Path:
        """A place beside the project, for copies."""
        return self.root.with_name(self.root.name + "-aside")

    def run(self, *argv: str, cwd: Path | None = None) -> None:
        """Runs a command that is not measured; raises Failed."""
        done = subprocess.run(
            argv, cwd=cwd or self.root, env=dict(self.env), capture_output=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise Failed(f"{' '.join(argv)}: {(done.stdout + done.stderr).decode(errors='replace')[-2000:]}")

    def typed(self, *argv: str) -> None:
        """Runs one of the tool's own commands, not measured."""
        self.run(*self.tool.argv, *argv)

    def seed(self, *argv: str) -> None:
        """Makes what would take the tool itself too long: see seed.py. Works on both layouts."""
        self.run(sys.executable, str(HERE / "seed.py"), *argv)

    def init(self) -> None:
        """An empty, committed project."""
        self.root.mkdir(parents=True)
        self.run("git", "init", "-q")
        self.typed("init", "-q")
        self.write(".gitignore", "__pycache__\n")

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "base")

    def write(self, relpath: str, text: str) -> None:
        path = self.root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def forget(self, *relpaths: str) -> None:
        """Deletes files and directories of the project."""
        for relpath in relpaths:
            remove(self.root / relpath)

    def save(self) -> None:
        """Keeps a copy of the project, to be brought back by ``restore``."""
        remove(self.aside)
        self.run("cp", "-a", str(self.root), str(self.aside), cwd=self.root.parent)

    def restore(self) -> None:
        """Brings the saved copy back."""
        remove(self.root)
        self.run("cp", "-a", str(self.aside), str(self.root), cwd=self.root.parent)


def remove(path: Path) -> None:
    """Deletes whatever is there."""
    if subprocess.run(["rm", "-rf", str(path)], capture_output=True).returncode:
        subprocess.run(["chmod", "-R", "u+w", str(path)], check=True)  # DVC leaves read-only directories here and there
        shutil.rmtree(path)


def many(top: Path, count: int, size_bytes: int, *, per_folder: int = 1000) -> None:
    """``count`` different files of one size, a thousand to a directory."""
    random = Random(7)
    for number in range(count):
        folder = top / f"{number // per_folder:03d}"
        if number % per_folder == 0:
            folder.mkdir(parents=True)
        (folder / f"file{number:06d}.bin").write_bytes(random.randbytes(size_bytes))


def big(path: Path, size_bytes: int) -> None:
    """A file of random bytes."""
    random = Random(size_bytes)
    with path.open("wb") as file:
        for _ in range(size_bytes >> 20):
            file.write(random.randbytes(1 << 20))


def shell(*commands: Sequence[str]) -> list[str]:
    """The commands one after the other, as one command."""
    return ["sh", "-c", " && ".join(shlex.join(command) for command in commands)]
