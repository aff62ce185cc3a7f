"""The index file's format, both ways (gitformat-index(5)): versions 2 to 4, split and sparse indexes are read.

What is written is version 2 (3 where flags ask for it), whole, without extensions: git takes it and adds its own.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pyexp.errors import GitError
from pyexp.records import dataclass, field

_HEAD = struct.Struct(">4sLL")
_STAT = struct.Struct(">10L")
ASSUME_VALID, EXTENDED = 0x8000, 0x4000
SKIP_WORKTREE, INTENT_TO_ADD = 0x4000, 0x2000
SPARSE_DIRECTORY = 0o040000


class IndexEntry(NamedTuple):
    """A path's line of the index. Times are nanoseconds; ``size`` is the low 32 bits of the file's."""

    mode: int
    sha: str
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    stage: int = 0
    assume_valid: bool = False
    skip_worktree: bool = False
    intent_to_add: bool = False
    dev: int = 0
    ino: int = 0
    uid: int = 0
    gid: int = 0


@dataclass
class Index:
    """The index: path -> entry (for a path in conflict its first stage), in order of the paths' bytes.

    ``mtime_ns`` is the file's own time: a file as young as that may have changed without showing it.
    """

    entries: dict[str, IndexEntry] = field(default_factory=dict)
    unmerged: dict[str, list[IndexEntry]] = field(default_factory=dict)
    mtime_ns: int = 0
    version: int = 2
    _directories: set[str] | None = None

    @property
    def directories(self) -> set[str]:
        """Every directory above a path of the index."""
        if self._directories is None:
            found: set[str] = set()
            for path in self.entries:
                directory = path.rpartition("/")[0]
                while directory and directory not in found:
                    found.add(directory)
                    directory = directory.rpartition("/")[0]
            self._directories = found
        return self._directories

    def has(self, relpath: str) -> bool:
        """Whether the file is in the index, or something below the directory is."""
        relpath = relpath.rstrip("/")
        return relpath in self.entries or relpath in self.directories


class _Parsed(NamedTuple):
    rows: list[tuple[str, IndexEntry]]
    version: int
    link: bytes | None


def _corrupt(what: str) -> GitError:
    return GitError(f"git's index is damaged: {what}", hint="remove .git/index, then: pyexp git add -A")


def parse(
    data: bytes,
    *,
    hash_name: str = "sha1",
    shared: Callable[[str], bytes] | None = None,
    expand: Callable[[str], dict[str, tuple[int, str]]] | None = None,
) -> Index:
    """An index file's content.

    ``shared`` gives the bytes of a split index's shared file by its name's sha; ``expand`` gives the files of a tree,
    for a sparse directory. Raises GitError when the bytes are no index.
    """
    try:
        parsed = _parse(data, hash_name)
        rows = parsed.rows
        if parsed.link is not None:
            rows = _join(parsed, shared, hash_name)
    except (struct.error, IndexError, ValueError) as error:
        raise _corrupt(str(error) or type(error).__name__) from error
    index = Index(version=parsed.version)
    for path, entry in rows:
        if entry.mode == SPARSE_DIRECTORY:
            for name, (mode, sha) in (expand(entry.sha) if expand else {}).items():
                index.entries[path + name] = IndexEntry(mode, sha, skip_worktree=True)
        elif entry.stage:
            index.unmerged.setdefault(path, []).append(entry)
            index.entries.setdefault(path, entry)
        else:
            index.entries[path] = entry
    return index


def _parse(data: bytes, hash_name: str) -> _Parsed:
    oid = hashlib.new(hash_name).digest_size
    signature, version, count = _HEAD.unpack_from(data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise _corrupt(f"version {version} is not known" if signature == b"DIRC" else "it is not an index")
    if count > len(data) // (42 + oid):
        raise _corrupt("it is cut short")
    stored = data[-oid:]
    if stored != bytes(oid) and hashlib.new(hash_name, data[:-oid]).digest() != stored:
        raise _corrupt("its checksum is wrong")
    rows: list[tuple[str, IndexEntry]] = []
    at, name = 12, b""
    head = struct.Struct(f">10L{oid}sH")
    unpack, width = head.unpack_from, head.size
    for _ in range(count):
        c_s, c_n, m_s, m_n, dev, ino, mode, uid, gid, size, sha, flags = unpack(data, at)
        start = at + width
        more = 0
        if flags & EXTENDED:
            more = data[start] << 8 | data[start + 1]
            start += 2
        if version == 4:
            strip, start = _varint(data, start)
            end = data.index(b"\0", start)
            name = name[: len(name) - strip] + data[start:end]
            after = end + 1
        else:
            length = flags & 0xFFF
            end = start + length if length < 0xFFF else data.index(b"\0", start)
            name = data[start:end]
            after = at + ((end - at + 8) & ~7)
        entry = IndexEntry(
            mode, sha.hex(), size, m_s * 1000000000 + m_n, c_s * 1000000000 + c_n,
            flags >> 12 & 3, bool(flags & ASSUME_VALID), bool(more & SKIP_WORKTREE), bool(more & INTENT_TO_ADD),
            dev, ino, uid, gid,
        )  # fmt: skip
        rows.append((name.decode("utf-8", "surrogateescape"), entry))
        at = after
    return _Parsed(rows, version, _link_extension(data[at:-oid]))


def _link_extension(data: bytes) -> bytes | None:
    at, link = 0, None
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        if name == b"link":
            link = data[at + 8 : at + 8 + size]
        elif name[:1].islower() and name != b"sdir":
            # A lower-case extension changes what the file means: whoever does not know it must not go on.
            raise _corrupt(f"it needs the extension {name.decode('latin-1')!r}")
        at += 8 + size
    return link


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in the offset encoding of packs: seven bits a byte, each further byte counts one more."""
    byte = data[at]
    value = byte & 127
    while byte & 128:
        at += 1
        byte = data[at]
        value = ((value + 1) << 7) | (byte & 127)
    return value, at + 1


def _join(split: _Parsed, shared: Callable[[str], bytes] | None, hash_name: str) -> list[tuple[str, IndexEntry]]:
    """A split index: the shared file's entries, less the deleted, with the replaced, plus the new ones."""
    link = split.link or b""
    oid = hashlib.new(hash_name).digest_size
    if link[:oid] == bytes(oid) or shared is None:
        return split.rows
    base = _parse(shared(link[:oid].hex()), hash_name).rows
    deleted, at = _ewah(link, oid) if len(link) > oid else (set(), oid)
    replaced, _ = _ewah(link, at) if len(link) > at else (set(), at)
    rows = split.rows
    for position, (_, entry) in zip(sorted(replaced), rows, strict=False):
        base[position] = base[position][0], entry
    kept = [row for position, row in enumerate(base) if position not in deleted]
    joined = kept + rows[len(replaced) :]
    joined.sort(key=lambda row: (row[0].encode("utf-8", "surrogateescape"), row[1].stage))
    return joined


def _ewah(data: bytes, at: int) -> tuple[set[int], int]:
    """The positions set in an EWAH bitmap, and where it ends: runs of equal words, then words as they are."""
    _, count = struct.unpack_from(">LL", data, at)
    words = struct.unpack_from(f">{count}Q", data, at + 8)
    found: set[int] = set()
    position = word = 0
    while word < count:
        marker = words[word]
        run = marker >> 1 & 0xFFFFFFFF
        if marker & 1:
            found.update(range(position, position + run * 64))
        position += run * 64
        literals = marker >> 33
        for value in words[word + 1 : word + 1 + literals]:
            found.update(position + bit for bit in range(64) if value >> bit & 1)
            position += 64
        word += 1 + literals
    return found, at + 8 + count * 8 + 4


def encode(entries: Iterable[tuple[str, IndexEntry]], *, hash_name: str = "sha1") -> bytes:
    """The bytes of an index file with these entries (several stages of one path follow each other)."""
    rows = [(path.encode("utf-8", "surrogateescape"), entry) for path, entry in entries]
    rows.sort(key=lambda row: (row[0], row[1].stage))
    extended = any(entry.skip_worktree or entry.intent_to_add for _, entry in rows)
    parts = [_HEAD.pack(b"DIRC", 3 if extended else 2, len(rows))]
    for name, entry in rows:
        flags = min(len(name), 0xFFF) | entry.stage << 12 | (ASSUME_VALID if entry.assume_valid else 0)
        more = (SKIP_WORKTREE if entry.skip_worktree else 0) | (INTENT_TO_ADD if entry.intent_to_add else 0)
        row = _STAT.pack(
            *divmod(entry.ctime_ns, 1000000000), *divmod(entry.mtime_ns, 1000000000),
            entry.dev, entry.ino, entry.mode, entry.uid, entry.gid, entry.size,
        )  # fmt: skip
        row += bytes.fromhex(entry.sha) + struct.pack(">H", flags | (EXTENDED if more else 0))
        row += (struct.pack(">H", more) if more else b"") + name
        parts.append(row + bytes(8 - len(row) % 8))
    body = b"".join(parts)
    return body + hashlib.new(hash_name, body).digest()


def from_stat(mode: int, sha: str, found: os.stat_result) -> IndexEntry:
    """An entry for a file as it was found on disk."""
    low = 0xFFFFFFFF
    seconds = low * 1000000000
    return IndexEntry(
        mode, sha, found.st_size & low, max(found.st_mtime_ns, 0) % seconds, max(found.st_ctime_ns, 0) % seconds,
        dev=found.st_dev & low, ino=found.st_ino & low, uid=found.st_uid & low, gid=found.st_gid & low,
    )  # fmt: skip
