"""The index: what is staged, and how it, HEAD and the work tree differ."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pyexp import durable
from pyexp.errors import GitError
from pyexp.git import indexfile, lockfile, objects
from pyexp.git.indexfile import Index, IndexEntry
from pyexp.git.worktree import Files, mode_of
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

__all__ = ["Index", "IndexEntry", "Status", "pairs", "read_index", "status", "write_index"]

# A: added, M: modified, D: deleted, T: another type of file, U: in conflict.
Change = Literal["A", "M", "D", "T", "U"]


@dataclass
class Status:
    """What differs: HEAD to index (``staged``), index to work tree (``unstaged``), and files git does not know."""

    staged: dict[str, Change] = field(default_factory=dict)
    unstaged: dict[str, Change] = field(default_factory=dict)
    untracked: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every tracked file is as HEAD has it."""
        return not self.staged and not self.unstaged


def read_index(repo: Repo) -> Index:
    """Parses the index file (none: an empty index); raises GitError when it is damaged."""
    path = os.path.join(repo.gitdir, "index")
    try:
        with durable.open_file(path) as file:
            data = file.read()
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return Index()

    def shared(sha: str) -> bytes:
        raw = durable.read_file(os.path.join(repo.gitdir, f"sharedindex.{sha}"))
        if raw is None:
            raise GitError("git's split index lacks its shared part", hint="remove .git/index, then: pyexp git add -A")
        return raw

    index = indexfile.parse(
        data, hash_name=repo.hash_name, shared=shared, expand=lambda tree: objects.flatten(repo, tree)
    )
    index.mtime_ns = mtime_ns
    return index


def pairs(index: Index) -> list[tuple[str, IndexEntry]]:
    """Every line of an index, all stages of paths in conflict included: what ``write_index`` takes."""
    found = [(path, entry) for path, entry in index.entries.items() if entry.stage == 0]
    return found + [(path, entry) for path, stages in index.unmerged.items() for entry in stages]


def write_index(repo: Repo, entries: Iterable[tuple[str, IndexEntry]], *, read: Index | None = None) -> None:
    """Replaces the index under git's own lock. For user.py only.

    ``read`` is the index the entries were made from: raises GitError when it is no longer the one on disk. Raises
    Locked when another git command holds the lock.
    """
    path = os.path.join(repo.gitdir, "index")
    data = indexfile.encode(entries, hash_name=repo.hash_name)
    with lockfile.writing(repo, "index"), lockfile.held(repo, path, wait=0):
        if read is not None and read.mtime_ns != _mtime_ns(path):
            raise GitError("the index was changed by another command", hint="run the command again")
        lockfile.replace(repo, path, data)


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def status(repo: Repo, *, untracked: Literal["all", "normal", "no"] = "all") -> Status:
    """Compares HEAD, index and work tree as ``git status`` does, without writing anything.

    ``untracked``: every file, or (``normal``) a wholly untracked directory as ``name/``, or none.
    """
    index = repo.read_index()
    files = Files(repo, index)
    result = Status()
    head = repo.head().sha
    committed = objects.flatten(repo, repo.tree_of(head)) if head else {}
    for path, entry in index.entries.items():
        if entry.stage:
            result.staged[path] = result.unstaged[path] = "U"
            continue
        if not entry.intent_to_add:
            change = _change(committed.get(path), (entry.mode, entry.sha))
            if change:
                result.staged[path] = change
        present = _unstaged(files, path, entry)
        if present:
            result.unstaged[path] = present
    for path in committed.keys() - index.entries.keys():
        result.staged[path] = "D"
    result.staged = dict(sorted(result.staged.items()))
    if untracked != "no":
        result.untracked = files.untracked(collapse=untracked == "normal")
    return result


def _unstaged(files: Files, path: str, entry: IndexEntry) -> Change | None:
    if entry.skip_worktree or entry.assume_valid:
        return None
    found = files.stat(path)
    if found is None:
        return "D"
    if entry.mode == objects.GITLINK:
        if not stat.S_ISDIR(found.st_mode):
            return "T"
        return "M" if (files.submodule_head(path) or entry.sha) != entry.sha else None
    if mode_of(found) is None:
        return "D"
    if entry.intent_to_add:
        return "A"
    if files.looks_unchanged(entry, found):
        return None
    mode = files.mode(path, found)
    assert mode is not None
    if mode & 0o170000 != entry.mode & 0o170000:
        return "T"
    return _change((entry.mode, entry.sha), (mode, files.sha(path, found)))


def _change(old: tuple[int, str] | None, new: tuple[int, str]) -> Change | None:
    if old is None:
        return "A"
    if old == new:
        return None
    return "T" if old[0] & 0o170000 != new[0] & 0o170000 else "M"
