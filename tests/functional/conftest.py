"""Small real projects: a git repository made by pyexp itself, stages that are shell commands, both layouts."""

import json
import os
import pty
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyexp
from pyexp.git import refs, repo, user
from pyexp.project import Project

if TYPE_CHECKING:
    from functional.stranger import Stranger
    from torture.forks import Forks

PIPELINE = """\
stages:
  copy:
    cmd: cat raw.txt > data.txt
    deps:
    - raw.txt
    outs:
    - data.txt
  train:
    cmd: python3 train.py
    deps:
    - data.txt
    - train.py
    params:
    - lr
    - train.epochs
    outs:
    - model.txt
    metrics:
    - scores.json:
        cache: false
"""
TRAIN = """\
import json, pathlib
params = dict(line.partition("#")[0].strip().split(": ") for line in open("params.yaml") if ": " in line)
pathlib.Path("model.txt").write_text("model " + params["lr"] + "\\n")
json.dump({"loss": 1 / float(params["lr"])}, open("scores.json", "w"))
"""


@dataclass
class Space:
    """A project's directory, with what a test wants to do to it and ask of it."""

    root: Path

    def write(self, **files: str) -> None:
        for name, text in files.items():
            self.put(name.replace("__", "/").replace("_", "."), text)

    def put(self, relpath: str, text: str) -> None:
        path = self.root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def read(self, relpath: str) -> str:
        return (self.root / relpath).read_text(encoding="utf-8")

    def project(self) -> Project:
        return pyexp.find(self.root)

    def commit(self, message: str = "base") -> str:
        with repo.discover(self.root) as found:
            user.add(found, ["."])
            return user.commit(found, message)

    def git_state(self) -> tuple[bytes, bytes]:
        """The bytes of HEAD and the index: what no experiment may change."""
        git = self.root / ".git"
        return (git / "HEAD").read_bytes(), (git / "index").read_bytes()

    def experiments(self) -> dict[str, str]:
        """Name -> commit of every experiment."""
        with repo.discover(self.root) as found:
            return {ref.rpartition("/")[2]: sha for ref, sha in refs.read(found, "refs/exps/").items()}

    def file_at(self, rev: str, relpath: str) -> str | None:
        with repo.discover(self.root) as found:
            raw = found.read(found.resolve(rev), relpath)
            return None if raw is None else raw.decode()

    def cli(self, *args: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "pyexp", *args],
            cwd=self.root,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def json(self, *args: str) -> object:
        done = self.cli(*args)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def on_a_terminal(space: Space, args: list[str], answers: Iterable[tuple[str, str]]) -> tuple[int, str]:
    """Types a command and, as it asks for them, answers: its exit code, and what was to be seen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(space.root)
        os.execv(sys.executable, [sys.executable, "-m", "pyexp", *args])
    said = b""
    for question, answer in answers:
        while question.encode() not in said or not said.endswith(b": "):
            said += os.read(terminal, 1000)
        os.write(terminal, answer.encode() + b"\n")
    with suppress(OSError):  # the end of a terminal
        while more := os.read(terminal, 1000):
            said += more
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Space]:
    """Makes a committed project; ``kind`` "dvc" makes the layout of DVC."""

    def made(pipeline: str = PIPELINE, kind: str = "pyexp", **files: str) -> Space:
        space = Space(tmp_path / "project")
        space.root.mkdir()
        repo.init(space.root).close()
        if kind == "dvc":
            space.put(".dvc/config", "")
            space.put(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        else:
            pyexp.init(space.root).close()
        space.put("dvc.yaml", pipeline)
        space.put("params.yaml", "lr: 0.5  # rate\ntrain:\n  epochs: 3\n")
        space.put("train.py", TRAIN)
        space.put("raw.txt", "raw\n")
        for name, text in files.items():
            space.put(name, text)
        space.commit()
        return space

    return made


@pytest.fixture(params=["pyexp", "dvc"])
def space(request: pytest.FixtureRequest, make: Callable[..., Space]) -> Space:
    """The standard project, in each layout."""
    return make(kind=request.param)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Forks"]:
    """The process that commands of a stranger's project are forked from."""
    from torture.forks import Forks

    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.close()


@pytest.fixture
def stranger(space: Space, forks: "Forks", tmp_path: Path) -> "Stranger":
    """The standard project as a stranger's, in each layout, with something beside it that is none of its business."""
    from functional.stranger import Stranger

    for name in ("outside", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside/secret.txt").write_text("secret\n")
    (space.root / ".git/hooks").mkdir(exist_ok=True)
    return Stranger(space, tmp_path, forks)


# Tries of hostile input and odd places take turns with the layouts, but for PYEXP_TEST_LONG=1: each takes one of them.
_TAKING_TURNS = ("test_hostile_", "test_odd_places")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("PYEXP_TEST_LONG"):
        return
    left_out = [item for item in items if item.path.name.startswith(_TAKING_TURNS) and _is_others_turn(item.name)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _is_others_turn(name: str) -> bool:
    """Whether a test of two layouts has this one left out; which, depends on the rest of its name only."""
    test, _, params = name.rstrip("]").partition("[")
    parts = params.split("-")
    own = next((layout for layout in ("pyexp", "dvc") if layout in parts), None)
    if own is None:
        return False
    rest = "-".join([test, *(part for part in parts if part != own)])
    return (zlib.crc32(rest.encode()) % 2 == 0) is (own == "dvc")
