"""Digests by stat: a file whose inode, size, mtime and ctime are as recorded has the bytes it had.

One msgpack file, read and written whole. It is a cache: a file that cannot be read counts as empty, two writers at once
cost a few hashes. A file that was read so soon after its last change that another change could have got the same time
("racily clean", as git calls it) is not recorded.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgpack

from pyexp import durable

VERSION = 1
# Kernel timestamps advance in ticks of up to 10 ms; network file systems and FAT in up to 2 s.
RACY_NS = 20_000_000
MAX_ENTRIES = 2_000_000

_Stamp = tuple[int, int, int, int, str]


class StatCache:
    """Digests of files by absolute path; ``path`` None keeps them in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._entries: dict[str, dict[str, _Stamp]] | None = None
        self._dirty = False

    def _load(self) -> dict[str, dict[str, _Stamp]]:
        if self._entries is None:
            self._entries = {}
            try:
                raw = durable.read_file(self._path) if self._path is not None else None
                if raw is not None:
                    version, found = msgpack.unpackb(raw, use_list=False, unicode_errors="surrogateescape")
                    if version == VERSION:
                        self._entries = {str(algo): dict(rows) for algo, rows in found.items()}
            except (OSError, ValueError, TypeError, AttributeError, msgpack.UnpackException):
                self._entries = {}
        return self._entries

    def get(self, algo: str, path: str, st: os.stat_result) -> str | None:
        """The digest of the file at ``path`` if its stat is as recorded."""
        rows = (self._entries if self._entries is not None else self._load()).get(algo)
        entry = rows.get(path) if rows is not None else None
        if (
            entry is not None
            and entry[1] == st.st_size
            and entry[2] == st.st_mtime_ns
            and entry[3] == st.st_ctime_ns
            and entry[0] == st.st_ino
        ):
            return entry[4]
        return None

    def put(self, algo: str, path: str, st: os.stat_result, digest: str, began_ns: int) -> None:
        """Records a digest of bytes read from ``began_ns`` on; ``st`` is of before, and the same as after."""
        if began_ns - st.st_mtime_ns < RACY_NS:
            return
        rows = self._load().setdefault(algo, {})
        rows[path] = (st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns, digest)
        self._dirty = True

    def save(self) -> None:
        """Writes what is new; a full disk or read-only project only costs speed."""
        if not self._dirty or self._path is None or self._entries is None:
            return
        count = sum(map(len, self._entries.values()))
        if count > MAX_ENTRIES:
            self._entries = {
                algo: {path: row for path, row in rows.items() if os.path.lexists(path)}
                for algo, rows in self._entries.items()
            }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            data = msgpack.packb((VERSION, self._entries), unicode_errors="surrogateescape")
            durable.write_file(self._path, data, sync=False)
        except OSError:
            return
        self._dirty = False
