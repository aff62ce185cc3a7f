"""Patterns of .dvcignore and .gitignore files: whether a path is left alone.

The rules are git's: the last pattern that matches decides, deeper files over higher ones, ``!`` takes back, a slash in
a pattern ties it to its directory, a slash at its end asks for a directory, and nothing below an ignored directory can
be taken back. Control directories are always ignored. Case counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pyexp import globs

CONTROL_DIRS = frozenset({".git", ".hg", ".dvc", ".pyexp"})

Texts = Callable[[str], str | None]


class Pattern(NamedTuple):
    """One line of an ignore file; ``regex`` matches paths relative to the file's directory, or names alone."""

    text: str
    line: int
    negated: bool
    dir_only: bool
    by_name: bool
    regex: re.Pattern[str]


class Ignore:
    """The rules of a tree: ``texts`` gives the ignore file's text of a directory (relpath, "" for the top), or None.

    Each directory's file is read once, when a path below it is first asked about.
    """

    def __init__(self, texts: Texts, name: str = ".dvcignore") -> None:
        self._texts = texts
        self._name = name
        # Directory -> the patterns that count in it, deepest directory first, last line first.
        self._rules: dict[str, tuple[tuple[str, Pattern], ...]] = {}
        # Directory -> the rule that ignores it or one above it.
        self._directories: dict[str, tuple[str, Pattern | None] | None] = {"": None}

    def match(self, relpath: str, is_dir: bool) -> bool:
        """Whether a path (posix, relative to the top) is ignored, by itself or with a directory above it."""
        return self._verdict(relpath, is_dir) is not None

    def has_rules(self, directory: str) -> bool:
        """Whether any pattern counts in a directory (not one below it); control directories are ignored anyway."""
        return self._directory(directory) is not None or bool(self._of(directory))

    def explain(self, relpath: str, is_dir: bool) -> tuple[str, int, str] | None:
        """File, line and pattern that ignore a path; file and pattern are empty for control directories."""
        verdict = self._verdict(relpath, is_dir)
        if verdict is None:
            return None
        directory, pattern = verdict
        if pattern is None:
            return "", 0, ""
        return (f"{directory}/{self._name}" if directory else self._name), pattern.line, pattern.text

    def deciding(self, relpath: str, is_dir: bool) -> tuple[str, int, str] | None:
        """As ``explain``, but names the last pattern that matches even when it takes the path back in (``!``)."""
        ignored = self.explain(relpath, is_dir)
        if ignored is not None:
            return ignored
        parent, _, name = relpath.rstrip("/").rpartition("/")
        for directory, pattern in self._of(parent) if name else ():
            if _matches(directory, pattern, parent, name, is_dir):
                return (f"{directory}/{self._name}" if directory else self._name), pattern.line, pattern.text
        return None

    def _verdict(self, relpath: str, is_dir: bool) -> tuple[str, Pattern | None] | None:
        relpath = relpath.rstrip("/")
        if not relpath:
            return None
        parent, _, name = relpath.rpartition("/")
        above = self._directory(parent)
        return above if above is not None else self._decide(parent, name, is_dir)

    def _directory(self, relpath: str) -> tuple[str, Pattern | None] | None:
        # Walked from the top, without recursion: paths come from strangers.
        if relpath in self._directories:
            return self._directories[relpath]
        parent, verdict = "", None
        for name in relpath.split("/"):
            path = f"{parent}/{name}" if parent else name
            if verdict is None:
                if path not in self._directories:
                    self._directories[path] = self._decide(parent, name, True)
                verdict = self._directories[path]
            else:
                self._directories[path] = verdict
            parent = path
        return verdict

    def _decide(self, parent: str, name: str, is_dir: bool) -> tuple[str, Pattern | None] | None:
        if name in CONTROL_DIRS and (is_dir or name == ".git"):
            return "", None
        for directory, pattern in self._of(parent):
            if _matches(directory, pattern, parent, name, is_dir):
                return None if pattern.negated else (directory, pattern)
        return None

    def _of(self, directory: str) -> tuple[tuple[str, Pattern], ...]:
        found = self._rules.get(directory)
        if found is None:
            # The parents' are known: paths are walked from the top.
            above = self._of(directory.rpartition("/")[0]) if directory else ()
            text = self._texts(directory)
            own = tuple((directory, pattern) for pattern in reversed(parse(text))) if text else ()
            found = self._rules[directory] = own + above if own else above
        return found


def _matches(directory: str, pattern: Pattern, parent: str, name: str, is_dir: bool) -> bool:
    """Whether a pattern of ``directory``'s file matches the path ``parent/name``."""
    if pattern.dir_only and not is_dir:
        return False
    if pattern.by_name:
        return pattern.regex.match(name) is not None
    path = f"{parent}/{name}" if parent else name
    return pattern.regex.match(path[len(directory) + 1 :] if directory else path) is not None


def parse(text: str) -> tuple[Pattern, ...]:
    """The patterns of an ignore file; lines that can match nothing are left out."""
    found: list[Pattern] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = _trimmed(raw.removesuffix("\r"))
        if not line or line.startswith("#"):
            continue
        body = line
        negated = body.startswith("!")
        if negated:
            body = body[1:]
        dir_only = body.endswith("/")
        if dir_only:
            body = body[:-1]
        if not body:
            continue
        by_name = "/" not in body
        regex = globs.compiled(body.removeprefix("/"))
        if regex is not None:
            found.append(Pattern(line, number, negated, dir_only, by_name, regex))
    return tuple(found)


def _trimmed(line: str) -> str:
    """Without the blanks at the end, unless a backslash keeps the last one."""
    kept = line.rstrip(" ")
    if kept != line:
        slashes = len(kept) - len(kept.rstrip("\\"))
        if slashes % 2:
            kept += " "
    return kept
