"""``.dvcignore`` and ``.gitignore``: patterns to a predicate, with git's rules (gitignore(5)).

Deeper files override shallower ones, later lines override earlier ones, ``!`` brings back, ``/`` anchors, a trailing
``/`` means directories only, ``**`` crosses directories; below an ignored directory nothing can be brought back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

BUILT_IN = frozenset({".git", ".hg", ".dvc", ".pyexp"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file, compiled."""

    text: str
    line: int
    negated: bool
    dirs_only: bool
    regex: re.Pattern[str]


def parse(text: str) -> list[Pattern]:
    """The patterns of an ignore file, in order; comments and blank lines are left out."""
    found: list[Pattern] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.removesuffix("\r")
        stripped = line.rstrip(" ")
        if len(stripped) < len(line) and stripped.endswith("\\"):
            backslashes = len(stripped) - len(stripped.rstrip("\\"))
            if backslashes % 2:
                stripped += " "
        if not stripped or stripped.startswith("#"):
            continue
        body = stripped[1:] if stripped.startswith("!") else stripped
        dirs_only = body.endswith("/")
        body = body.rstrip("/") if dirs_only else body
        if not body:
            continue
        regex = _compile(body)
        if regex is not None:
            found.append(Pattern(stripped, number, stripped.startswith("!"), dirs_only, regex))
    return found


def _compile(body: str) -> re.Pattern[str] | None:
    anchored = "/" in body
    body = body.removeprefix("/")
    try:
        return re.compile(("" if anchored else r"(?:.*/)?") + _translate(body) + r"\Z", re.DOTALL)
    except re.error:
        return None  # git takes a broken class as a pattern that matches nothing


def _translate(body: str) -> str:
    """A gitignore glob as a regular expression over the path from the ignore file's directory."""
    out: list[str] = []
    index = 0
    while index < len(body):
        char = body[index]
        if body.startswith("**", index) and (index == 0 or body[index - 1] == "/"):
            after = index + 2
            if after == len(body):
                out.append(".+")
                break
            if body[after] == "/":
                out.append(r"(?:[^/]+/)*")
                index = after + 1
                continue
        if char == "*":
            while index < len(body) and body[index] == "*":
                index += 1
            out.append("[^/]*")
            continue
        if char == "?":
            out.append("[^/]")
        elif char == "\\":
            index += 1
            if index == len(body):
                raise re.error("trailing backslash")
            out.append(re.escape(body[index]))
        elif char == "[":
            text, index = _character_class(body, index)
            out.append(text)
            continue
        else:
            out.append(re.escape(char))
        index += 1
    return "".join(out)


_POSIX = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
    "cntrl": r"\x00-\x1f\x7f",
    "graph": "!-~",
    "print": " -~",
}


def _character_class(body: str, start: int) -> tuple[str, int]:
    """A bracket expression and the index behind it; raises re.error when it is not closed."""
    index = start + 1
    negated = index < len(body) and body[index] in "!^"
    index += negated
    items: list[str] = []
    first = True
    while True:
        if index >= len(body):
            raise re.error("unterminated character class")
        char = body[index]
        if char == "]" and not first:
            break
        first = False
        if body.startswith("[:", index):
            end = body.find(":]", index)
            name = body[index + 2 : end] if end > 0 else ""
            if name not in _POSIX:
                raise re.error("unknown character class")
            items.append(_POSIX[name])
            index = end + 2
            continue
        low, index = _class_char(body, index)
        if index + 1 < len(body) and body[index] == "-" and body[index + 1] != "]":
            high, index = _class_char(body, index + 1)
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
            continue
        items.append(re.escape(low))
    inner = "".join(items)
    if not inner:
        return ("[^/]" if negated else r"(?!)"), index + 1
    return f"(?!/)[{'^' if negated else ''}{inner}]", index + 1


def _class_char(body: str, index: int) -> tuple[str, int]:
    if body[index] == "\\":
        index += 1
        if index >= len(body):
            raise re.error("trailing backslash")
    return body[index], index + 1


class Ignore:
    """The ignore files of a tree; ``texts(directory)`` gives the one of a directory ('' for the top), or None.

    Files are read when a path below their directory is first asked for, and once. Paths are posix relpaths.
    """

    def __init__(self, texts: Callable[[str], str | None], *, name: str = ".dvcignore") -> None:
        self._texts = texts
        self._name = name
        self._files: dict[str, list[Pattern]] = {}
        self._dirs: dict[str, bool] = {"": False}

    def _patterns(self, directory: str) -> list[Pattern]:
        known = self._files.get(directory)
        if known is None:
            text = self._texts(directory)
            known = self._files[directory] = parse(text) if text else []
        return known

    def match(self, relpath: str, is_dir: bool) -> bool:
        """Whether a path is ignored, by itself or with a directory above it."""
        directory, _, name = relpath.rpartition("/")
        if self._ignored_dir(directory) or name in BUILT_IN:
            return True
        found = self._deciding(relpath, is_dir)
        return found is not None and not found[1].negated

    def _ignored_dir(self, directory: str) -> bool:
        known = self._dirs.get(directory)
        if known is None:
            known = self._dirs[directory] = self.match(directory, True)
        return known

    def _deciding(self, relpath: str, is_dir: bool) -> tuple[str, Pattern] | None:
        """The last pattern, deepest file first, that matches this very path."""
        directory = relpath.rpartition("/")[0]
        while True:
            below = relpath[len(directory) + 1 :] if directory else relpath
            for pattern in reversed(self._patterns(directory)):
                if (is_dir or not pattern.dirs_only) and pattern.regex.match(below):
                    return directory, pattern
            if not directory:
                return None
            directory = directory.rpartition("/")[0]

    def explain(self, relpath: str, is_dir: bool) -> tuple[str, int, str] | None:
        """The file, line and pattern by which a path is ignored, or None when it is not."""
        parts = relpath.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            found = self._deciding(path, is_dir or depth < len(parts))
            if found is not None and not found[1].negated:
                directory, pattern = found
                return (f"{directory}/{self._name}" if directory else self._name), pattern.line, pattern.text
            if parts[depth - 1] in BUILT_IN:
                return "(built in)", 0, parts[depth - 1]
        return None
