"""What the git room's tests share: a small repository made by our own code, and a look at files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pyexp.git import repo as repository
from pyexp.git import user
from pyexp.git.repo import Repo

WHO = {"user.name": "Ann", "user.email": "ann@example.com"}


def make(path: Path, files: dict[str, str | bytes] | None = None) -> Repo:
    """A repository with one commit of ``files`` (none: no commit)."""
    path.mkdir(parents=True, exist_ok=True)
    repo = repository.init(path)
    for key, value in WHO.items():
        repo.set_config(key, value)
    if files:
        save(repo, files, "start")
    return repo


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())


def save(repo: Repo, files: dict[str, str | bytes], message: str) -> str:
    """Writes files and commits everything; returns the commit."""
    assert repo.worktree is not None
    write(repo.worktree, files)
    user.add(repo, ["."], all=True)
    return user.commit(repo, message, allow_empty=True)


def look(root: Path) -> dict[str, str]:
    """Every file but git's own: its text, links as ``-> target``, executables with a ``*``."""
    found = {}
    for directory, names, files in os.walk(root):
        if ".git" in names:
            names.remove(".git")
        for name in files + [n for n in names if os.path.islink(os.path.join(directory, n))]:
            path = Path(directory, name)
            relpath = path.relative_to(root).as_posix()
            if path.is_symlink():
                found[relpath] = f"-> {os.readlink(path)}"
            else:
                mark = "*" if path.stat().st_mode & stat.S_IXUSR else ""
                found[relpath] = mark + path.read_bytes().decode("utf-8", "replace")
    return found


def untouchable(repo: Repo) -> tuple[bytes, bytes]:
    """The bytes of HEAD and the index, to be compared later."""
    index = repo.gitdir / "index"
    return (repo.gitdir / "HEAD").read_bytes(), index.read_bytes() if index.exists() else b""
