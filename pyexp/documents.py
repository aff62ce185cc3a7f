"""What YAML files and large directories of a project held when they were last read, so that nobody reads them again.

A file is the same as long as its status is: inode, size, mtime and ctime, with the statcache's rule for files that are
too young to be sure. Nobody but this machine's kernel can make a file with a ctime of one's choice, so that a record
which came with a stranger's repository matches nothing. The file may be lost at any time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgpack

from pyexp import durable
from pyexp.formats.yamlfile import Document
from pyexp.objects.statcache import is_settled, signature

VERSION = 1
MAX_BYTES = 64 << 20
# What a directory of a hundred names has, or of none, by its file system.
SMALL_DIRECTORY = 4096
SUFFIXES = (".yaml", ".yml", ".dvc", ".lock")


class Documents:
    """The data of a project's YAML files by relpath."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, tuple[bytes, bytes]] | None = None
        self._dirty = False

    def document(self, relpath: str, text: str, before: os.stat_result | None) -> str:
        """``text`` with what is known of it; ``before`` is the file's status from before it was read."""
        if before is None or not relpath.endswith(SUFFIXES):
            return text
        document = Document(text)
        row = self._load().get(relpath)
        mark = signature(before)
        if row is not None and row[0] == mark:
            document.known = partial(_unpack, row[1])
        elif is_settled(before):
            document.learnt = partial(self._learn, relpath, mark)
        return document

    def recall(self, relpath: str, path: str, make: Callable[[], Any]) -> Any:
        """What ``make`` finds out about the names in a directory; not asked again while no name comes or goes.

        Small directories are not worth it: reading them is as quick.
        """
        before = os.stat(path)
        if before.st_size <= SMALL_DIRECTORY:
            return make()
        key, mark = f"{relpath}/", signature(before)
        row = self._load().get(key)
        if row is not None and row[0] == mark:
            return _unpack(row[1])
        found = make()
        if is_settled(before):
            self._learn(key, mark, found)
        return found

    def _learn(self, relpath: str, mark: bytes, data: Any) -> None:
        with suppress(TypeError, ValueError, OverflowError):  # dates, huge numbers, text that is none: read again then
            packed = msgpack.packb(data)
            if _same(_unpack(packed), data):
                self._load()[relpath] = (mark, packed)
                self._dirty = True

    def save(self) -> None:
        """Writes what was learnt, if anything was; raises OSError when it cannot be written."""
        if not self._dirty:
            return
        known = self._load()
        while sum(len(packed) for _, packed in known.values()) > MAX_BYTES:
            known.pop(next(iter(known)))
        body = msgpack.packb([VERSION, known])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(self._path, zlib.crc32(body).to_bytes(4, "little") + body, mode=0o600, sync=False)
        self._dirty = False

    def _load(self) -> dict[str, tuple[bytes, bytes]]:
        if self._known is None:
            self._known = {}
            with suppress(Exception):  # whatever is wrong with a cache file, it is as good as none
                raw = durable.read_file(self._path) or b""
                if zlib.crc32(memoryview(raw)[4:]) == int.from_bytes(raw[:4], "little"):
                    version, known = msgpack.unpackb(memoryview(raw)[4:], use_list=False)
                    if version == VERSION and all(map(_is_row, known.keys(), known.values())):
                        self._known = known
        return self._known


def _is_row(relpath: object, row: object) -> bool:
    """Whether a record is one: the file may have come with somebody's copy of the project."""
    return isinstance(relpath, str) and isinstance(row, tuple) and [*map(type, row)] == [bytes, bytes]


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, strict_map_key=False)


def _same(a: Any, b: Any) -> bool:
    """Whether a value came through unchanged: by ``repr``, which tells 1 from True and finds NaN equal to itself."""
    return repr(a) == repr(b)
