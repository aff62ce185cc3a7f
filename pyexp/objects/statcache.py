"""What was hashed before: (path, inode, size, mtime, ctime) -> digest, so that nothing is read twice.

A cache, never the truth: it may be deleted at any time, and a file that cannot be read is an empty cache. Digests are
kept directory by directory, each directory packed by itself, so that only the directories a command looks at are ever
unpacked. The file is msgpack:

    crc32 of the rest, 4 bytes
    [version, {"<algo>:<directory>": [day it was last looked at, {name: row} packed by itself]}]

    row = inode, size, mtime_ns, ctime_ns (four little-endian 64-bit integers), then the digest's bytes

**Racy files.** A file written twice within one tick of the file system's clock looks the same both times. So a digest
is only believed when the file's times were older than that tick when it was recorded; others are not kept. Files that
pyexp writes itself (``written=True``) are given an exact time of their own first (``stamp``), which no later write can
give them again, and are believed at once.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgpack

from pyexp import durable

VERSION = 1
# Linux ticks every 1 to 10 ms; leave room for clocks that differ a little.
TICK_NS = 20_000_000
# Times without fractions come from file systems that count seconds (FAT: every other second).
COARSE_TICK_NS = 2_100_000_000
MAX_BYTES = 256 << 20
FORGET_DAYS = 90
# Directories looked at are stamped by the day, or every command would have to write the file.
SEEN_STEP_SECONDS = 86400

_BY_FD = os.utime in os.supports_fd
_row = struct.Struct("<QQqq").pack
_MASK = (1 << 64) - 1
_SIGN = 1 << 63
# A status with a digest of 16 or 32 bytes.
_ROW_BYTES = {48, 64}

# Day it was last looked at, rows packed by msgpack.
_Packed: TypeAlias = tuple[int, bytes]


def stamp(path: str, fd: int | None = None) -> None:
    """Gives a file the exact time of now as its mtime: what ``written=True`` relies on. ``fd`` is used if it can be."""
    now = time.time_ns()
    os.utime(fd if fd is not None and _BY_FD else path, ns=(now, now))


def signature(st: os.stat_result) -> bytes:
    """The part of a file's status that changes when its bytes do."""
    try:
        return _row(st.st_ino & _MASK, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
    except struct.error:  # a time before 1677 or after 2262: its last 64 bits
        times = [(each & _MASK) - ((each & _SIGN) << 1) for each in (st.st_mtime_ns, st.st_ctime_ns)]
        return _row(st.st_ino & _MASK, st.st_size, *times)


class Directory:
    """The digests known of the files of one directory, by one algorithm."""

    __slots__ = ("dirty", "rows", "seen")

    def __init__(self, rows: dict[str, bytes], seen: int) -> None:
        self.rows = rows
        self.seen = seen
        self.dirty = False

    def get(self, name: str, st: os.stat_result) -> str | None:
        """The digest of a file that still has the status it was hashed with, else None."""
        row = self.rows.get(name)
        return row[32:].hex() if row is not None and row[:32] == signature(st) else None

    def last(self, name: str) -> str | None:
        """The digest a file had when it was last hashed, whatever became of it since: a guess."""
        row = self.rows.get(name)
        return None if row is None else row[32:].hex()

    def get_all(self, statuses: Mapping[str, os.stat_result]) -> list[str | None]:
        """``get`` for many files, in their order."""
        try:
            return self._get_all(statuses)
        except struct.error:  # as in signature()
            return [self.get(name, status) for name, status in statuses.items()]

    def _get_all(self, statuses: Mapping[str, os.stat_result]) -> list[str | None]:
        find = self.rows.get
        found: list[str | None] = []
        for name, st in statuses.items():
            row = find(name)
            # Packed here again rather than by signature(): these lines run for each of a hundred thousand files.
            if row is None or row[:32] != _row(st.st_ino & _MASK, st.st_size, st.st_mtime_ns, st.st_ctime_ns):
                found.append(None)
            else:
                found.append(row[32:].hex())
        return found

    def put(self, name: str, st: os.stat_result, hex: str, *, written: bool = False) -> None:
        """Remembers a digest; forgets the file when its times are too fresh to be believed."""
        self.dirty = True
        if (written and st.st_mtime_ns % 1_000_000_000) or is_settled(st):
            self.rows[name] = signature(st) + bytes.fromhex(hex)
        else:
            self.rows.pop(name, None)

    def keep_only(self, names: Set[str]) -> None:
        """Forgets files that are not in the directory any more."""
        if len(self.rows) > len(names):
            for name in self.rows.keys() - names:
                del self.rows[name]
            self.dirty = True


def is_settled(st: os.stat_result) -> bool:
    """Whether a file's times are old enough for its bytes not to change again within one tick of its clock."""
    coarse = st.st_mtime_ns % 1_000_000_000 == 0 and st.st_ctime_ns % 1_000_000_000 == 0
    newest = max(st.st_mtime_ns, st.st_ctime_ns)
    return newest < time.time_ns() - (COARSE_TICK_NS if coarse else TICK_NS)


class StatCache:
    """The digests known of files anywhere; ``path`` is where they are kept, None keeps them in memory only.

    Paths are taken as they are given: use one spelling (absolute) for one file. Two processes may save over each
    other: what is lost is hashed again.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._packed: dict[str, _Packed] | None = None
        self._open: dict[str, Directory] = {}

    def get(self, algo: str, path: str, st: os.stat_result) -> str | None:
        """The digest of the file at ``path`` if ``st``, its status, is the one it was recorded with."""
        directory, name = os.path.split(path)
        return self.directory(algo, directory).get(name, st)

    def put(self, algo: str, path: str, st: os.stat_result, hex: str, *, written: bool = False) -> None:
        """Remembers the digest of the file at ``path``; ``st`` is its status from before it was read."""
        directory, name = os.path.split(path)
        self.directory(algo, directory).put(name, st, hex, written=written)

    def directory(self, algo: str, path: str) -> Directory:
        """What is known of the files of one directory."""
        key = f"{algo}:{path}"
        found = self._open.get(key)
        if found is None:
            packed = self._load().get(key)
            found = self._open[key] = Directory({}, 0) if packed is None else _unpack(packed)
        return found

    def save(self) -> None:
        """Writes what was learnt, if anything was; raises OSError when it cannot be written."""
        if self._path is None:
            return
        today = int(time.time()) // SEEN_STEP_SECONDS
        stale = [key for key, found in self._open.items() if found.dirty or (found.rows and found.seen != today)]
        if not stale:
            return
        packed = self._load()
        for key in stale:
            found = self._open[key]
            packed.pop(key, None)
            if found.rows:
                packed[key] = (today, msgpack.packb(found.rows, unicode_errors="surrogateescape"))
            found.dirty, found.seen = False, today
        packed = self._packed = _worth_keeping(packed, today)
        body = msgpack.packb([VERSION, packed], unicode_errors="surrogateescape")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(self._path, zlib.crc32(body).to_bytes(4, "little") + body, mode=0o600, sync=False)

    def _load(self) -> dict[str, _Packed]:
        if self._packed is None:
            self._packed = {}
            with suppress(Exception):  # whatever is wrong with a cache file, it is as good as none
                self._packed = _read(self._path)
        return self._packed


def _read(path: Path | None) -> dict[str, _Packed]:
    data = durable.read_file(path) if path is not None else None
    return {} if data is None else _parse(data)


def _parse(data: bytes) -> dict[str, _Packed]:
    """What a file's bytes say; raises ValueError, or an error of msgpack's, for what is no stat cache.

    The file may have come with somebody's copy of the project: a checksum alone says nothing.
    """
    if zlib.crc32(memoryview(data)[4:]) != int.from_bytes(data[:4], "little"):
        raise ValueError("its bytes are damaged")
    version, packed = msgpack.unpackb(memoryview(data)[4:], unicode_errors="surrogateescape", use_list=False)
    if version != VERSION:
        raise ValueError("its version is not known")
    found = dict(packed)
    for key, (seen, rows) in found.items():
        if not (isinstance(key, str) and isinstance(seen, int) and isinstance(rows, bytes)):
            raise ValueError("something in it is of a wrong kind")
    return found


def is_sound(path: Path) -> bool:
    """Whether a file is a stat cache that can be read, or is not there."""
    try:
        _read(path)
    except Exception:  # as in _load
        return False
    return True


def _unpack(packed: _Packed) -> Directory:
    with suppress(Exception):  # as in _load
        seen, raw = packed
        rows = dict(msgpack.unpackb(raw, unicode_errors="surrogateescape"))
        if {*map(type, rows.values())} <= {bytes} and {*map(len, rows.values())} <= _ROW_BYTES:
            return Directory(rows, seen)
    return Directory({}, 0)


def _worth_keeping(packed: dict[str, _Packed], today: int) -> dict[str, _Packed]:
    """Without directories nobody looked at for long; if that is still too much, half of it: the latest."""
    if sum(len(rows) for _, rows in packed.values()) <= MAX_BYTES:
        return {key: value for key, value in packed.items() if value[0] >= today - FORGET_DAYS}
    kept: dict[str, _Packed] = {}
    room = MAX_BYTES // 2
    for key, value in sorted(packed.items(), key=lambda item: -item[1][0]):
        room -= len(value[1])
        if room < 0:
            break
        kept[key] = value
    return kept
