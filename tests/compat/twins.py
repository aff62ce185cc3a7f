"""Two copies of one project, one for the real DVC and one for pyexp, and what can be asked of each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Written by each tool for itself, or different each time.
PRIVATE = (".git", ".dvc/tmp", ".dvc/cache", "__pycache__")


@dataclass(frozen=True)
class Done:
    """What a command gave back."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out) if self.out.strip() else {}


@dataclass(frozen=True)
class Work:
    """A project's directory, and both tools to use on it."""

    root: Path
    dvc_path: str

    def put(self, relpath: str, text: str | bytes, mode: int | None = None) -> Path:
        path = self.root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        if mode is not None:
            path.chmod(mode)
        return path

    def read(self, relpath: str) -> str:
        return (self.root / relpath).read_bytes().decode()

    def remove(self, *relpaths: str) -> None:
        for relpath in relpaths:
            path = self.root / relpath
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def dvc(self, *args: str, code: int | None = 0, cwd: str = "") -> Done:
        """Runs the real DVC; ``code`` None accepts any exit."""
        return self._run([self.dvc_path, *args], code, cwd)

    def pyexp(self, *args: str, code: int | None = 0, cwd: str = "") -> Done:
        return self._run([sys.executable, "-m", "pyexp", *args], code, cwd)

    def git(self, *args: str, code: int | None = 0) -> str:
        return self._run(["git", *args], code, "").out

    def tool(self, name: str, *args: str, code: int | None = 0, cwd: str = "") -> Done:
        return self.dvc(*args, code=code, cwd=cwd) if name == "dvc" else self.pyexp(*args, code=code, cwd=cwd)

    def _run(self, argv: list[str], code: int | None, cwd: str) -> Done:
        done = subprocess.run(
            argv, cwd=self.root / cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, env=environment()
        )
        found = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        shown = f"{' '.join(argv[-6:])} ended with {found.code}\n--- out\n{found.out}\n--- err\n{found.err}"
        assert "Traceback (most recent call last)" not in found.err or code is None, shown
        assert code is None or found.code == code, shown
        return found

    def commit(self, message: str = "x") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def twin(self, name: str) -> Work:
        """A copy of the project beside it."""
        shutil.copytree(self.root, self.root.parent / name, symlinks=True)
        return Work(self.root.parent / name, self.dvc_path)

    def files(self, *, private: Iterable[str] = PRIVATE) -> dict[str, tuple[bytes, bool]]:
        """Every file a user sees: its bytes and whether it is executable."""
        return {
            path: ((self.root / path).read_bytes(), bool((self.root / path).stat().st_mode & 0o100))
            for path in self._paths()
            if not any(path == top or path.startswith(f"{top}/") or f"/{top}/" in path for top in private)
        }

    def _paths(self) -> list[str]:
        found = (os.path.join(at, name) for at, _, names in os.walk(self.root) for name in names)
        return sorted(os.path.relpath(path, self.root) for path in found)

    def cache(self) -> dict[str, tuple[bytes, int]]:
        """Every object and run-cache record: its bytes and permissions (of objects; records have the umask's)."""
        top = self.root / ".dvc/cache"
        return {
            path.relative_to(top).as_posix(): (
                path.read_bytes(),
                path.stat().st_mode & 0o777 if "files" in path.parts else 0,
            )
            for path in sorted(top.rglob("*"))
            if path.is_file()
        }

    def clock(self) -> dict[str, int]:
        """When each file a user sees was written: a rewrite with equal bytes shows too."""
        return {path: (self.root / path).stat().st_mtime_ns for path in self.files()}


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": os.path.join(os.environ["HOME"], "dvc-site"),
        "SHELL": "/bin/sh",
        "TZ": "UTC",
        "COLUMNS": "200",
    }


def interpreter(dvc_path: str) -> str:
    """The Python that runs the real DVC, to ask its code without paying for a start each time."""
    with open(dvc_path, "rb") as script:
        first = script.readline().decode(errors="replace").strip()
    if not first.startswith("#!"):
        pytest.skip("the interpreter of this DVC is not known")
    return first[2:]


def start(root: Path, dvc_path: str, files: Mapping[str, str | bytes]) -> Work:
    """A git repository with an empty DVC project and these files, committed."""
    root.mkdir(parents=True)
    work = Work(root, dvc_path)
    work.git("init", "-q", "-b", "main")
    work.put(".dvc/config", "['remote \"other\"']\n    url = ../../other\n")
    work.put(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
    work.put(".dvcignore", "# Patterns of files DVC ignores\n")
    for relpath, text in files.items():
        work.put(relpath, text, 0o755 if relpath.endswith(".sh") else None)
    work.commit("start")
    return work


def plain(data: Any) -> Any:
    """JSON data that compares as equal whenever only the order of keys differs."""
    return json.loads(json.dumps(data, sort_keys=True))
