"""The table of hash algorithms, and the hashing of bytes, streams and regular files.

``xxh128`` is XXH3-128 with seed 0, in hex as ``xxh128sum`` prints it: it detects change and accident, not forgery.
``md5`` is DVC's. ``md5-dos2unix`` is what DVC 2.x recorded: text has CRLF turned into LF first (FORMATS.md §1.3).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from itertools import cycle
from typing import Protocol

from pyexp import durable
from pyexp.errors import CorruptObject, StoreError
from pyexp.model import Oid

# DVC 2.x looks at pieces of this size, so that a CRLF across a border stays; it is a good size to read by, too.
CHUNK_BYTES = 1 << 20
_SNIFF_BYTES = 512
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"

OPEN_FLAGS = durable.READ_FLAGS
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Hasher(Protocol):
    """A running hash."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Source(Protocol):
    """What can be read into a buffer: an unbuffered or buffered binary file, a BytesIO."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Changed(StoreError):
    """A file was written to while it was being read."""


def _xxh128() -> Callable[[], Hasher]:
    import xxhash  # plug table: an md5 project must not pay for it

    return xxhash.xxh3_128


def _md5() -> Callable[[], Hasher]:
    import hashlib  # plug table: a native project must not pay for it

    return lambda: hashlib.md5(usedforsecurity=False)


def _sha256() -> Callable[[], Hasher]:
    import hashlib  # plug table: as above

    return hashlib.sha256


def _md5_dos2unix() -> Callable[[], Hasher]:
    md5 = _constructor("md5")
    return lambda: _Dos2Unix(md5())


class _Dos2Unix:
    """The legacy hash; every ``update`` must be one whole chunk of the file."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher

    def update(self, data: bytes | memoryview, /) -> None:
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = bytes(data[start : start + CHUNK_BYTES])
            sample = chunk[:_SNIFF_BYTES]
            is_text = b"\0" not in sample and len(sample.translate(None, _TEXT)) <= 0.30 * len(sample)
            self._hasher.update(chunk.replace(b"\r\n", b"\n") if is_text else chunk)

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


# Name -> what loads the constructor.
ALGORITHMS: dict[str, Callable[[], Callable[[], Hasher]]] = {
    "xxh128": _xxh128,
    "md5": _md5,
    "sha256": _sha256,
    "md5-dos2unix": _md5_dos2unix,
}
DIGEST_BYTES = {"xxh128": 16, "md5": 16, "sha256": 32, "md5-dos2unix": 16}

_PATTERNS = {name: re.compile(rf"[0-9a-f]{{{2 * size}}}(?:\.dir)?") for name, size in DIGEST_BYTES.items()}
_loaded: dict[str, Callable[[], Hasher]] = {}


def _constructor(algo: str) -> Callable[[], Hasher]:
    found = _loaded.get(algo)
    if found is None:
        if algo not in ALGORITHMS:
            raise StoreError(f"unknown hash algorithm {algo!r}", hint=f"known: {', '.join(ALGORITHMS)}")
        found = _loaded[algo] = ALGORITHMS[algo]()
    return found


def new(algo: str) -> Hasher:
    """A fresh running hash; raises StoreError for an unknown algorithm."""
    return _constructor(algo)()


def check_oid(oid: Oid) -> Oid:
    """Returns ``oid`` when it is safe to make a path of; raises StoreError otherwise.

    The digest must be lowercase hex of just the algorithm's length, with ``.dir`` after it for a manifest.
    """
    pattern = _PATTERNS.get(oid.algo)
    if pattern is None:
        raise StoreError(f"unknown hash algorithm {oid.algo!r}", hint=f"known: {', '.join(ALGORITHMS)}")
    if not isinstance(oid.hex, str) or pattern.fullmatch(oid.hex) is None:
        raise StoreError(f"{str(oid.hex)[:80]!r} is not a {oid.algo} object id")
    return oid


def hash_bytes(data: bytes, algo: str) -> str:
    """The digest of ``data`` in hex."""
    hasher = _constructor(algo)()
    hasher.update(data)
    return hasher.hexdigest()


def hash_stream(
    file: Source, algo: str, sink: Callable[[memoryview], object] | None = None, *, buffers: int = 1
) -> tuple[str, int]:
    """Hashes what is left of ``file``; returns the digest in hex and the number of bytes.

    ``sink`` is handed every piece after it was hashed, in order; the piece is valid during the call and for
    ``buffers - 1`` calls more. Reads into these buffers in turn, so memory does not grow with the file.
    """
    hasher = _constructor(algo)()
    size = 0
    for buffer in cycle([memoryview(bytearray(CHUNK_BYTES)) for _ in range(buffers)]):
        filled = _fill(file, buffer)
        piece = buffer[:filled]
        if filled:
            hasher.update(piece)
            if sink is not None:
                sink(piece)
        size += filled
        if filled < CHUNK_BYTES:
            return hasher.hexdigest(), size
    raise AssertionError("the loop returns or raises")


def _fill(file: Source, buffer: memoryview) -> int:
    """Reads until the buffer is full or the file ends: a short read must not move the legacy hash's borders."""
    filled = file.readinto(buffer) or 0
    while 0 < filled < len(buffer):
        more = file.readinto(buffer[filled:]) or 0
        if not more:
            break
        filled += more
    return filled


def open_regular(path: str, extra_flags: int = 0) -> tuple[int, os.stat_result]:
    """Opens a regular file for reading: its descriptor and status.

    Never blocks on a fifo or device. Raises StoreError naming anything else than a regular file, OSError when it
    cannot be opened.
    """
    fd = os.open(path, OPEN_FLAGS | extra_flags)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"'{path}' is {kind(status.st_mode)}, not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def kind(mode: int) -> str:
    """What a file mode says is there, for messages."""
    for test, name in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISREG, "a regular file"),
    ):
        if test(mode):
            return name
    return "no file"


def hash_file(path: str, algo: str) -> tuple[str, int]:
    """The digest in hex and the size of a regular file; symbolic links are followed.

    Raises StoreError when there is no such file, it cannot be read, is not regular, or changes meanwhile (Changed).
    """
    hex, status = hash_observed(path, algo)
    return hex, status.st_size


def hash_observed(path: str, algo: str) -> tuple[str, os.stat_result]:
    """``hash_file`` for callers that want the status the file had just before it was read."""
    try:
        fd, before = open_regular(path)
        try:
            if before.st_size < CHUNK_BYTES:
                data = read_whole(fd, before.st_size)
                hex, size = hash_bytes(data, algo), len(data)
            else:
                with os.fdopen(fd, "rb", buffering=0, closefd=False) as file:
                    hex, size = hash_stream(file, algo)
            check_unchanged(path, before, os.fstat(fd), size)
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError(f"'{path}' cannot be read: {error.strerror}") from error
    return hex, before


def read_whole(fd: int, size: int) -> bytes:
    """The rest of an open file that should have ``size`` bytes; more are returned only as one too many."""
    data = os.read(fd, size + 1)
    while 0 < len(data) < size:
        more = os.read(fd, size + 1 - len(data))
        if not more:
            break
        data += more
    return data


def check_unchanged(path: str, before: os.stat_result, after: os.stat_result, size: int) -> None:
    """Raises Changed when a file was written to between two looks, or gave another number of bytes than it has."""
    if size != before.st_size or size != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        raise Changed(f"'{path}' changed while being read", hint="wait until nothing writes to it any more")


def check_bytes(oid: Oid, data: bytes) -> None:
    """Raises CorruptObject unless ``data`` hashes to ``oid``."""
    if hash_bytes(data, oid.algo) != oid.hex.removesuffix(".dir"):
        raise CorruptObject(f"the bytes of object {oid} are not what its name says")
