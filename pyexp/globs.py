"""Globs as git understands them (gitignore(5), wildmatch) as regular expressions that need no more than their due.

A stranger writes the pattern and the name: ``*a*a*a*a*b`` as a plain expression tries every way to cut a name in pieces.
What stands between two stars of one component is of a fixed length, so the first place where it fits is as good as any
other, and the same holds for the components between two ``**``. Those are matched once and never tried again elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Longer than any path: such a pattern is a stranger's way to fill the memory.
MAX_PATTERN = 4096
# With more stars than that other people's expressions may take long.
STARS = 2

_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": " \\t", "cntrl": "\\x00-\\x1f\\x7f", "digit": "0-9",
    "graph": "\\x21-\\x7e", "lower": "a-z", "print": "\\x20-\\x7e", "punct": "!-/:-@\\[-`{-~", "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


_STAR, _DEEP = "[^/]*", "(?:.*/)?"


def compiled(pattern: str) -> re.Pattern[str] | None:
    """The regular expression of a glob; None for one that git takes to match nothing, and for one without end."""
    tokens = _tokens(pattern) if len(pattern) <= MAX_PATTERN else None
    if tokens is None:
        return None
    source, names = "", iter(range(len(tokens)))
    groups = _split(tokens, _DEEP)
    for number, group in enumerate(groups):
        inside = "/".join(_component(part, names) for part in _split(group, "/"))
        if number == 0:
            source = inside
        elif number == len(groups) - 1:
            source += _DEEP + inside
        elif inside:
            source += _once(f"(?:.*?/)??{inside}", names)
    return re.compile(source + r"\Z", re.DOTALL)


def _component(tokens: list[str], names: Iterator[int]) -> str:
    first, *others = _split(tokens, _STAR)
    source = "".join(first)
    for chunk in others[:-1]:
        source += _once("[^/]*?" + "".join(chunk), names)
    return source + _STAR + "".join(others[-1]) if others else source


def _once(source: str, names: Iterator[int]) -> str:
    """The expression, of which only the first match counts (an atomic group, for Python 3.10, too)."""
    name = f"g{next(names)}"
    return f"(?=(?P<{name}>{source}))(?P={name})"


def _split(tokens: list[str], at: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == at:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _tokens(pattern: str) -> list[str] | None:
    """The parts of a glob, each the expression of a character, a star, a ``**`` or a slash."""
    out: list[str] = []
    at = 0
    size = len(pattern)
    while at < size:
        character = pattern[at]
        if character == "*":
            stop = at
            while stop < size and pattern[stop] == "*":
                stop += 1
            starts = at == 0 or pattern[at - 1] == "/"
            if stop - at >= 2 and starts and (stop == size or pattern[stop] == "/"):
                if stop == size:
                    out.append(".*" if at == 0 else ".+")
                else:
                    out.append(_DEEP)
                    stop += 1
            else:
                out.append(_STAR)
            at = stop
        elif character == "?":
            out.append("[^/]")
            at += 1
        elif character == "[":
            found = _bracket(pattern, at)
            if found is None:
                return None
            at = found[1]
            out.append(found[0])
        elif character == "\\":
            if at + 1 == size:
                return None
            out.append(re.escape(pattern[at + 1]))
            at += 2
        else:
            out.append(re.escape(character))
            at += 1
    return out


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """A bracket expression from ``[`` on: its regular expression and where it ends; None when it is not closed."""
    at = start + 1
    size = len(pattern)
    negated = at < size and pattern[at] in "!^"
    if negated:
        at += 1
    first = at
    parts: list[str] = []
    low: str | None = None  # what a "-" could start a range from
    while at < size:
        character = pattern[at]
        if character == "]" and at > first:
            inside = "".join(parts)
            if negated:
                return f"[^/{inside}]", at + 1
            return (f"(?!/)[{inside}]" if inside else "(?!)"), at + 1
        if pattern.startswith("[:", at):
            end = pattern.find(":]", at)
            if end < 0 or pattern[at + 2 : end] not in _CLASSES:
                return None
            parts.append(_CLASSES[pattern[at + 2 : end]])
            at, low = end + 2, None
            continue
        if character == "-" and low is not None and at + 1 < size and pattern[at + 1] != "]":
            at += 1
            if pattern[at] == "\\":
                at += 1
                if at == size:
                    return None
            high = pattern[at]
            if low <= high:
                parts.append(f"{_escaped(low)}-{_escaped(high)}")
            at, low = at + 1, None
            continue
        if character == "\\":
            at += 1
            if at == size:
                return None
            character = pattern[at]
        parts.append(_escaped(character))
        low = character
        at += 1
    return None


def _escaped(character: str) -> str:
    return "\\" + character if character in "\\]^-[&~|" else character
