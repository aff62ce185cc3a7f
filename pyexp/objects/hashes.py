"""Names for content: a table of hash algorithms, and hashing of bytes, streams and files.

``xxh128`` is XXH3-128 with seed 0, in hex as ``xxh128sum`` prints it: it tells change and accident, not forgery.
``md5-dos2unix`` is DVC 2.x's: MD5 with CRLF turned into LF in what looks like text (FORMATS.md §1.3).
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import stat
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from pyexp.errors import StoreError
from pyexp.model import Oid

CHUNK = 1 << 20

# name -> where its constructor is, and how many hex digits it gives
ALGORITHMS: dict[str, tuple[str, int]] = {
    "xxh128": ("xxhash:xxh3_128", 32),
    "md5": ("hashlib:md5", 32),
    "sha256": ("hashlib:sha256", 64),
    "md5-dos2unix": ("pyexp.objects.hashes:Dos2UnixMd5", 32),
}

_HEX = {length: re.compile(rf"[0-9a-f]{{{length}}}(\.dir)?\Z") for length in (32, 64)}
_constructors: dict[str, Callable[[], Any]] = {}


class Hasher(Protocol):
    """What hashlib's objects do."""

    def update(self, data: Any, /) -> None: ...

    def hexdigest(self) -> str: ...


def new(algo: str) -> Hasher:
    """A hasher; raises StoreError for an algorithm nobody knows."""
    make = _constructors.get(algo)
    if make is None:
        if algo not in ALGORITHMS:
            raise StoreError(f"unknown hash '{algo}'", hint=f"known: {', '.join(ALGORITHMS)}")
        module, _, attribute = ALGORITHMS[algo][0].partition(":")
        make = _constructors[algo] = getattr(importlib.import_module(module), attribute)
    hasher: Hasher = make(usedforsecurity=False) if algo in ("md5", "sha256") else make()  # type: ignore[call-arg]
    return hasher


def check_oid(oid: Oid) -> Oid:
    """Returns an id that may become a path; raises StoreError for anything else."""
    known = ALGORITHMS.get(oid.algo)
    if known is None or not isinstance(oid.hex, str) or not _HEX[known[1]].match(oid.hex):
        raise StoreError(f"'{str(oid.hex)[:80]}' is not a {oid.algo} hash")
    return oid


class Dos2UnixMd5:
    """MD5 over text with CRLF read as LF, chunk by chunk as DVC 2.x does it; over anything else plain."""

    def __init__(self) -> None:
        self._md5 = new("md5")
        self._is_text: bool | None = None

    def update(self, data: Any, /) -> None:
        raw = bytes(data)
        if self._is_text is None:
            self._is_text = _looks_like_text(raw[:512])
        self._md5.update(raw.replace(b"\r\n", b"\n") if self._is_text else raw)

    def hexdigest(self) -> str:
        return self._md5.hexdigest()


_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"


def _looks_like_text(block: bytes) -> bool:
    if not block:
        return True
    if b"\0" in block:
        return False
    return len(block.translate(None, _TEXT)) / len(block) <= 0.30


def hash_bytes(data: bytes, algo: str) -> str:
    """The hex digest of bytes."""
    hasher = new(algo)
    hasher.update(data)
    return hasher.hexdigest()


def hash_stream(
    file: BinaryIO, algo: str, sink: Callable[[memoryview], object] | None = None
) -> tuple[str, int]:
    """Digest and size of what is left of a stream; ``sink`` gets the same bytes in the same pass."""
    hasher = new(algo)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    size = 0
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        part = view[:count]
        hasher.update(part)
        if sink is not None:
            sink(part)
        size += count
    return hasher.hexdigest(), size


def open_regular(path: str) -> BinaryIO:
    """Opens a regular file for reading, unbuffered; never blocks on a fifo, raises OSError for anything else."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return os.fdopen(fd, "rb", buffering=0)


def hash_file(path: str, algo: str) -> tuple[str, int]:
    """Digest and size of a regular file."""
    with open_regular(path) as file:
        return hash_stream(file, algo)
