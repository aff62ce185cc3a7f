"""Which paths git's ignore rules exclude: .gitignore files, info/exclude and the user's own list, by dulwich's matcher."""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from dulwich.ignore import (
    IgnoreFilter,
    IgnoreFilterManager,
    Pattern,
    default_user_ignore_filter_path,
    read_ignore_patterns,
)
from dulwich.wildmatch import MalformedPattern

from pyexp import durable, globs
from pyexp.git import config

if TYPE_CHECKING:
    from pyexp.git.repo import Repo


class _Pattern(Pattern):
    """dulwich's pattern, matched by our own expression where dulwich's could take for ever."""

    def __init__(self, pattern: bytes, ignorecase: bool) -> None:
        super().__init__(pattern, ignorecase)
        body = pattern[1:] if pattern.startswith(b"!") else pattern
        self._glob = os.fsdecode(body.rstrip(b"/"))
        found = globs.compiled(self._glob.removeprefix("/"))
        self._own = re.compile(found.pattern, found.flags | (re.IGNORECASE if ignorecase else 0)) if found else None

    def matches(self, name: bytes, is_dir: bool) -> bool:
        return not self.is_empty and (is_dir or not self.is_directory_only) and self.match(name)

    def match(self, path: bytes) -> bool:
        shown = os.fsdecode(path.rstrip(b"/"))
        if "/" not in self._glob:
            shown = shown.rpartition("/")[2]
        return self._own is not None and self._own.match(shown) is not None


def _filter(path: str, ignorecase: bool) -> IgnoreFilter | None:
    """The rules of a file; None for what is no file, which dulwich would wait for if it is a fifo."""
    raw = None
    with suppress(OSError):
        raw = durable.read_file(path)
    if raw is None:
        return None
    found = IgnoreFilter((), ignorecase, path=path)
    for line in read_ignore_patterns(io.BytesIO(raw)):
        if line.count(b"*") > globs.STARS:
            with suppress(MalformedPattern):
                found.patterns.append(_Pattern(line, ignorecase))
        elif len(line) <= globs.MAX_PATTERN:
            found.append_pattern(line)
    return found


class _Manager(IgnoreFilterManager):
    """dulwich's, with the files read as we read files, and looked for once in each directory.

    dulwich looks from the top again for each directory above each path: a thousand levels took minutes.
    """

    def __init__(self, top: str, filters: list[IgnoreFilter], ignorecase: bool) -> None:
        super().__init__(top, filters, ignorecase)
        self._chains: dict[str, list[tuple[int, IgnoreFilter]]] = {}

    def _filters_for(self, path: str) -> list[tuple[int, IgnoreFilter]]:
        directory = path.rpartition("/")[0]
        unknown = []
        while directory not in self._chains:
            unknown.append(directory)
            if not directory:
                break
            directory = directory.rpartition("/")[0]
        for directory in reversed(unknown):
            above = self._chains[directory.rpartition("/")[0]] if directory else [(0, f) for f in self._global_filters]
            own = self._load_path(directory)
            depth = directory.count("/") + 1 if directory else 0
            self._chains[directory] = above if own is None else [*above, (depth, own)]
        return self._chains[path.rpartition("/")[0]]

    def _load_path(self, path: str) -> IgnoreFilter | None:
        if path not in self._path_filters:
            file = os.path.join(self._top_path, path, ".gitignore")
            # As git: a link is not followed.
            self._path_filters[path] = None if os.path.islink(file) else _filter(file, self._ignorecase)
        return self._path_filters[path]


class IgnoreRules:
    """The rules as the files say now; ``refresh`` after a .gitignore has changed."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._stamps: dict[str, tuple[int, int] | None] = {}
        self.refresh()

    def refresh(self) -> None:
        """Makes the next question read every file again."""
        repo = self._repo
        ignorecase = config.get_bool(repo, "core.ignorecase")
        user = default_user_ignore_filter_path(repo.config)
        # Later files win: the user's list is the weakest. info/exclude is the common directory's, also in linked trees.
        weakest_first = [os.path.expanduser(user), os.path.join(repo.commondir, "info", "exclude")]
        filters = []
        for path in weakest_first:
            found = _filter(path, ignorecase)
            if found is not None:
                filters.append(found)
        self._manager = _Manager(str(repo.require_worktree()), filters, ignorecase)
        self._stamps.clear()

    def is_ignored(self, relpath: str, is_dir: bool) -> bool:
        """Whether the path, or a directory above it, is excluded; .gitignore files that changed are read again."""
        self._check_stamps(relpath)
        return self.matches(relpath, is_dir)

    def matches(self, relpath: str, is_dir: bool) -> bool:
        """As ``is_ignored``, with the rules as they were when they were first read: for walks."""
        if relpath in ("", "."):
            return False
        try:
            return bool(self._manager.is_ignored(relpath.rstrip("/") + "/" if is_dir else relpath))
        except (UnicodeError, OSError):
            # A name that is not text, or a directory named .gitignore: no rule can be read for it.
            return False

    def _check_stamps(self, relpath: str) -> None:
        directory = ""
        root = str(self._repo.worktree)
        for part in ("", *relpath.split("/")[:-1]):
            directory = f"{directory}/{part}" if directory and part else directory or part
            path = f"{root}/{directory}/.gitignore" if directory else f"{root}/.gitignore"
            try:
                found = os.lstat(path)
                stamp: tuple[int, int] | None = (found.st_mtime_ns, found.st_size)
            except OSError:
                stamp = None
            if self._stamps.setdefault(path, stamp) != stamp:
                self.refresh()
                return

    def prunes(self, relpath: str) -> bool:
        """Whether a walk may leave the directory out: it is excluded, and nothing below it is taken back in."""
        return self.matches(relpath, True) and self._manager.may_prune_directory(relpath.rstrip("/") + "/")
