"""Which names may become paths: the one check at both ends, when a name is read and when it is written.

Names come from manifests, lock files, ``.dvc`` files, pipeline files and git trees, that is from strangers. The rules
are git's (a name that any file system could take for ``.git`` is refused) plus our own control directories.
"""

from __future__ import annotations

import re

from pyexp.errors import PyexpError

MAX_PATH_BYTES = 4096
MAX_NAME_BYTES = 255

_CONTROL_DIRS = frozenset({".git", ".dvc", ".pyexp"})
_GIT_SHORT = re.compile(r"git~[0-9]+\Z", re.IGNORECASE)
# Characters HFS+ ignores when it compares names: ".g\u200cit" opens ".git" there.
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# Control characters, and those that turn the direction of text or end a line.
_ACTIVE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class UnsafePath(PyexpError):
    """A name that must not become a path; the message says why."""


def check_part(part: str, *, whole: str | None = None) -> None:
    """Raises UnsafePath unless ``part`` can be one component of a path inside a project."""
    shown = repr(whole if whole is not None else part)
    if part in ("", ".", ".."):
        raise UnsafePath(f"unsafe path {shown}: empty, '.' or '..' component")
    if "\0" in part or "/" in part:
        raise UnsafePath(f"unsafe path {shown}: NUL or separator in a name")
    if len(part) > MAX_NAME_BYTES // 4 and len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        raise UnsafePath(f"unsafe path {shown[:80]}…: a name is longer than {MAX_NAME_BYTES} bytes")
    first = part[0]
    # Only names that can be read as a control directory take the slow road.
    if first == "." or first in "gG" or ord(first) >= 0x200C:
        folded = _IGNORABLE.sub("", part).rstrip(". ").split(":")[0].rstrip(". ").casefold()
        if folded in _CONTROL_DIRS or _GIT_SHORT.match(folded):
            raise UnsafePath(f"unsafe path {shown}: names a control directory")


def check_relpath(relpath: str) -> str:
    """Returns ``relpath`` when it is a safe posix path below a directory; raises UnsafePath otherwise."""
    if not isinstance(relpath, str) or not relpath:
        raise UnsafePath(f"unsafe path {relpath!r}: not a relative path")
    if relpath[0] == "/" or (len(relpath) > 1 and relpath[1] == ":" and relpath[0].isalpha()):
        raise UnsafePath(f"unsafe path {relpath!r}: absolute")
    if len(relpath) > MAX_PATH_BYTES:
        raise UnsafePath(f"unsafe path {relpath[:80]!r}…: longer than {MAX_PATH_BYTES} bytes")
    for part in relpath.split("/"):
        check_part(part, whole=relpath)
    return relpath


def is_text(name: str) -> bool:
    """Whether a name is UTF-8, so that a text file can hold it."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def printable(text: str) -> str:
    """Text from a stranger, fit for a terminal: control and bidirectional override characters are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def inert(text: str) -> str:
    """Lines for a terminal that cannot play with it: as ``printable``, but lines, tabs and odd blanks stay.

    The net below every place that forgot ``printable``. What is escaped is escaped as JSON has it.
    """
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
