"""Line ends between work tree and repository, as git's convert.c has it (gitattributes(5): text, eol; core.autocrlf)."""

from __future__ import annotations

# What git's statistics count as unprintable: control characters but for \b \t \n \f \r ESC, and DEL.
_UNPRINTABLE = bytes(c for c in range(32) if c not in b"\b\t\n\f\r\x1b") + b"\x7f"


def is_binary(data: bytes) -> bool:
    """Git's guess where no attribute says text: a lone CR, a NUL, or one unprintable byte in 128."""
    if b"\0" in data or data.count(b"\r") != data.count(b"\r\n"):
        return True
    printable_only = data.translate(None, _UNPRINTABLE)
    unprintable = len(data) - len(printable_only)
    if data.endswith(b"\x1a"):
        # A DOS end-of-file mark does not count.
        unprintable -= 1
    printable = len(printable_only) - printable_only.count(b"\n") - printable_only.count(b"\r")
    return printable >> 7 < unprintable


def has_crlf_text(data: bytes) -> bool:
    """Whether a blob is text that was committed with CRLF."""
    return b"\r\n" in data and not is_binary(data)


def to_repository(data: bytes, *, guess: bool, keep_crlf: bool) -> bytes:
    """CRLF becomes LF; with ``guess`` binary files stay, and with ``keep_crlf`` those that hold CRLF already."""
    if b"\r\n" not in data or (guess and (keep_crlf or is_binary(data))):
        return data
    return data.replace(b"\r\n", b"\n")


def to_worktree(data: bytes, *, guess: bool) -> bytes:
    """LF becomes CRLF; with ``guess`` files stay that are binary or hold any CR already."""
    if b"\n" not in data or (guess and (b"\r" in data or is_binary(data))):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
