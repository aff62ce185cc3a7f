"""The user's files as git sees them: which tracked ones changed, which others are there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import GitError
from pyexp.git import config, filters, objects
from pyexp.git.indexfile import Index, IndexEntry

if TYPE_CHECKING:
    from pyexp.git.filters import Filters
    from pyexp.git.repo import Repo

TreeEntry = tuple[int, str]


def mode_of(found: os.stat_result) -> int | None:
    """The mode git would give the file; None for a directory, fifo, socket or device."""
    if stat.S_ISREG(found.st_mode):
        return objects.EXECUTABLE if found.st_mode & 0o100 else objects.FILE
    return objects.SYMLINK if stat.S_ISLNK(found.st_mode) else None


def read_file(path: str, found: os.stat_result) -> bytes:
    """A file's bytes, a link's target; a file that became a link since it was looked at is not followed."""
    if stat.S_ISLNK(found.st_mode):
        return os.fsencode(os.readlink(path))
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(fd, "rb", buffering=0) as file:
        return file.read()


class Files:
    """A work tree's files beside an index, looked at once: make a new one when files may have changed."""

    def __init__(self, repo: Repo, index: Index | None = None) -> None:
        self.repo = repo
        self.root = str(repo.require_worktree())
        self.index = repo.read_index() if index is None else index
        self._real: dict[str, bool] = {"": True}

    @cached_property
    def filters(self) -> Filters | None:
        return filters.of_worktree(self.repo, self.index)

    @cached_property
    def _trusts_mode(self) -> bool:
        return config.get_bool(self.repo, "core.filemode", True)

    def stat(self, relpath: str) -> os.stat_result | None:
        """What is at the path, None when nothing is: also when a directory above it is a link or a file."""
        directory, slash, _ = relpath.rpartition("/")
        if slash and not self._is_real(directory):
            return None
        try:
            return os.lstat(f"{self.root}/{relpath}")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_real(self, directory: str) -> bool:
        known = self._real.get(directory)
        if known is None:
            parent = directory.rpartition("/")[0]
            known = False
            if self._is_real(parent):
                try:
                    known = stat.S_ISDIR(os.lstat(f"{self.root}/{directory}").st_mode)
                except (FileNotFoundError, NotADirectoryError):
                    known = False
            self._real[directory] = known
        return known

    def looks_unchanged(self, entry: IndexEntry, found: os.stat_result) -> bool:
        """Whether the file's stat is the index entry's, and old enough to be believed (git's "racy" rule)."""
        if (found.st_size & 0xFFFFFFFF) != entry.size or mode_of(found) != entry.mode or entry.intent_to_add:
            return False
        return _same_time(found.st_mtime_ns, entry.mtime_ns) and _same_time(found.st_ctime_ns, entry.ctime_ns) and (
            # Written without fractions: the whole second is in doubt.
            entry.mtime_ns < self.index.mtime_ns
            if entry.mtime_ns % 1000000000
            else entry.mtime_ns // 1000000000 < self.index.mtime_ns // 1000000000
        )  # fmt: skip

    def mode(self, relpath: str, found: os.stat_result) -> int | None:
        """The mode to record, where the file system's exec bit means nothing the index's."""
        mode = mode_of(found)
        entry = self.index.entries.get(relpath)
        regular = (objects.FILE, objects.EXECUTABLE)
        if mode not in regular or (entry is not None and entry.mode == mode) or self._trusts_mode:
            return mode
        return entry.mode if entry is not None and entry.mode in regular else objects.FILE

    def read(self, relpath: str, found: os.stat_result) -> bytes:
        """The bytes git would store for the file; raises GitError for one that cannot be read."""
        try:
            data = read_file(f"{self.root}/{relpath}", found)
        except OSError as error:
            raise GitError(f"'{relpath}' cannot be read: {error.strerror}", hint="see its permissions") from error
        if self.filters is not None and stat.S_ISREG(found.st_mode):
            return self.filters.clean(relpath, data)
        return data

    def sha(self, relpath: str, found: os.stat_result) -> str:
        """The name of the blob the file would be; nothing is stored."""
        entry = self.index.entries.get(relpath)
        if entry is not None and entry.stage == 0 and self.looks_unchanged(entry, found):
            return entry.sha
        return objects.blob_sha(self.repo, self.read(relpath, found))

    def entry(self, relpath: str, store: Callable[[bytes], str]) -> TreeEntry | None:
        """Mode and blob of a tracked file as it is now, None when it is gone; ``store`` is given changed bytes.

        Submodules and entries the user told git not to look at are taken from the index.
        """
        entry = self.index.entries.get(relpath)
        if entry is not None and entry.stage == 0 and (entry.skip_worktree or entry.assume_valid):
            return entry.mode, entry.sha
        found = self.stat(relpath)
        if found is None:
            return None
        if entry is not None:
            if entry.mode == objects.GITLINK and stat.S_ISDIR(found.st_mode):
                return objects.GITLINK, self.submodule_head(relpath) or entry.sha
            if entry.stage == 0 and self.looks_unchanged(entry, found):
                return entry.mode, entry.sha
        mode = self.mode(relpath, found)
        return None if mode is None else (mode, store(self.read(relpath, found)))

    def here(self, relpath: str, store: Callable[[bytes], str]) -> TreeEntry | None:
        """Mode and blob of whatever file or link is at the path, None when there is none; ``store`` gets its bytes."""
        found = self.stat(relpath)
        mode = None if found is None else self.mode(relpath, found)
        return None if found is None or mode is None else (mode, store(self.read(relpath, found)))

    def submodule_head(self, relpath: str) -> str | None:
        """The commit a submodule's HEAD is at, None when it is not checked out."""
        if not os.path.lexists(f"{self.root}/{relpath}/.git"):
            return None
        from pyexp.git import repo as repository  # seam: repo.py is built on this room's other files

        try:
            with repository.discover(self.repo.require_worktree() / relpath) as inner:
                return inner.head().sha
        except GitError:
            return None

    # --- what is not tracked

    def below(self, relpath: str) -> Iterator[str]:
        """Every file and link at or below the path; nested repositories and our own temporary files are left out."""
        found = self.stat(relpath) if relpath else os.lstat(self.root)
        if found is None or self._in_submodule(relpath):
            return
        if not stat.S_ISDIR(found.st_mode):
            if mode_of(found) is not None:
                yield relpath
            return
        if relpath and os.path.lexists(f"{self.root}/{relpath}/.git"):
            return
        for name in sorted(os.listdir(f"{self.root}/{relpath}")):
            if name != ".git" and not name.startswith(durable.TMP_PREFIX):
                yield from self.below(f"{relpath}/{name}" if relpath else name)

    def _in_submodule(self, relpath: str) -> bool:
        directory = relpath
        while directory:
            entry = self.index.entries.get(directory)
            if entry is not None and entry.mode == objects.GITLINK:
                return True
            directory = directory.rpartition("/")[0]
        return False

    def untracked(self, *, collapse: bool = False, ignored: bool = False) -> list[str]:
        """Files that are neither tracked nor ignored, sorted; ``collapse`` gives a directory with nothing tracked as
        ``name/``. With ``ignored`` ignored files are listed too.
        """
        rules = self.repo.ignore_rules
        rules.refresh()
        result: list[str] = []
        pending = [""]
        while pending:
            directory = pending.pop()
            for name, is_dir in self._scan(directory):
                relpath = f"{directory}/{name}" if directory else name
                entry = self.index.entries.get(relpath)
                if entry is not None and (not is_dir or entry.mode == objects.GITLINK):
                    continue
                if is_dir and relpath in self.index.directories:
                    pending.append(relpath)
                elif not ignored and (rules.prunes(relpath) if is_dir else rules.matches(relpath, False)):
                    continue
                elif not is_dir:
                    result.append(relpath)
                elif os.path.lexists(f"{self.root}/{relpath}/.git"):
                    # A repository of its own: git shows it, but does not look inside.
                    result.append(relpath + "/")
                elif not collapse:
                    pending.append(relpath)
                elif self._holds_untracked(relpath, ignored):
                    result.append(relpath + "/")
        result.sort(key=os.fsencode)
        return result

    def _scan(self, directory: str) -> Iterable[tuple[str, bool]]:
        try:
            with os.scandir(f"{self.root}/{directory}") as entries:
                return [
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.name != ".git"
                    and not entry.name.startswith(durable.TMP_PREFIX)
                    and (
                        entry.is_file(follow_symlinks=False)
                        or entry.is_dir(follow_symlinks=False)
                        or entry.is_symlink()
                    )
                ]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def _holds_untracked(self, directory: str, ignored: bool) -> bool:
        rules = self.repo.ignore_rules
        for name, is_dir in self._scan(directory):
            relpath = f"{directory}/{name}"
            if not ignored and (rules.prunes(relpath) if is_dir else rules.matches(relpath, False)):
                continue
            if not is_dir or self._holds_untracked(relpath, ignored):
                return True
        return False


def _same_time(found_ns: int, recorded_ns: int) -> bool:
    """Equal, or equal in seconds where the index has no fractions."""
    if recorded_ns % 1000000000:
        return found_ns == recorded_ns
    return recorded_ns != 0 and found_ns // 1000000000 == recorded_ns // 1000000000
