"""How large a git object is, from its first bytes: a stranger's file of zeros takes no room in a repository.

A loose object begins with its type and size; an object in a pack with its size, or, when it is kept as a difference to
another, with a difference that begins with both sizes (gitformat-pack(5)).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, cast

from pyexp import durable
from pyexp.git import objects

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.pack import Pack

    from pyexp.git.repo import Repo

_OFS_DELTA, _REF_DELTA = 6, 7
# More than any header takes, with the beginning of the compressed bytes after it.
_HEAD_BYTES = 4096


def size_bytes(repo: Repo, sha: str) -> int:
    """The size of an object; raises GitError when it is not there or does not begin as objects do."""
    try:
        found = _loose(repo, sha)
        if found is None:
            found = _packed(repo, sha)
    except (ValueError, IndexError, zlib.error):
        found = None
    return len(objects.read(repo, sha)[1]) if found is None else found


def _loose(repo: Repo, sha: str) -> int | None:
    try:
        with durable.open_file(objects.loose_path(repo, sha)) as file:
            raw = file.read(_HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    head = zlib.decompressobj().decompress(raw, 64).partition(b"\0")[0]
    return int(head.partition(b" ")[2])


def _packed(repo: Repo, sha: str) -> int | None:
    name = cast("ObjectID", sha.encode("ascii"))
    for store in (repo.store, *repo.store.alternates):
        for pack in store.packs:
            if name in pack:
                return _in_pack(pack, name)
    return None


def _in_pack(pack: Pack, name: ObjectID) -> int:
    with open(pack.data.path, "rb", buffering=0) as file:
        file.seek(pack.index.object_offset(name))
        raw = file.read(_HEAD_BYTES)
    kind = raw[0] >> 4 & 7
    size, position = raw[0] & 15, 1
    while raw[position - 1] & 0x80:
        size |= (raw[position] & 0x7F) << (4 + 7 * (position - 1))
        position += 1
    if kind == _OFS_DELTA:
        while raw[position] & 0x80:
            position += 1
        position += 1
    elif kind == _REF_DELTA:
        position += len(name) // 2
    else:
        return size
    begin = zlib.decompressobj().decompress(raw[position:], 32)
    _, rest = _varint(begin, 0)
    return _varint(begin, rest)[0]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not data[position - 1] & 0x80:
            return value, position
