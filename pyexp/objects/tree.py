"""Directory manifests: a tree as bytes, and back, with every path checked.

MD5 trees are DVC's ``.dir`` objects, byte for byte: ``json.dumps`` of a list of ``{"md5", "relpath"}`` sorted by
relpath (FORMATS.md §1.5). Others are ours: msgpack ``[version, [[relpath, digest, size, isexec], …]]``, same order.
A manifest's id is the hash of these bytes, with ``.dir`` at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgpack

from pyexp.errors import CorruptObject
from pyexp.model import Entry, Oid, Tree, TreeFile
from pyexp.objects.hashes import ALGORITHMS, hash_bytes
from pyexp.paths import UnsafePath, check_relpath

VERSION = 1
MAX_BYTES = 1 << 30
MAX_FILES = 20_000_000

__all__ = ["TreeFile", "decode", "diff", "encode", "identify"]


def _is_json(algo: str) -> bool:
    return algo.startswith("md5")


def encode(tree: Tree) -> bytes:
    """The manifest's bytes."""
    if _is_json(tree.algo):
        rows = [{"md5": file.hex, "relpath": path} for path, file in sorted(tree.files.items())]
        return json.dumps(rows, sort_keys=True).encode()
    rows_ = [[path, bytes.fromhex(f.hex), f.size, f.isexec] for path, f in sorted(tree.files.items())]
    packed: bytes = msgpack.packb([VERSION, rows_], unicode_errors="surrogateescape")
    return packed


def identify(tree: Tree) -> tuple[Entry, bytes]:
    """A tree's entry and bytes; the size is the files' sum, None when the manifest does not say it."""
    data = encode(tree)
    sizes = [file.size for file in tree.files.values()]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    return Entry(Oid(tree.algo, hash_bytes(data, tree.algo) + ".dir"), total, len(sizes)), data


def decode(data: bytes, algo: str) -> Tree:
    """The tree of a manifest's bytes; raises CorruptObject for anything that is not a safe manifest."""
    if len(data) > MAX_BYTES:
        raise CorruptObject("a directory manifest is larger than 1 GiB")
    try:
        rows = list(_json_rows(data) if _is_json(algo) else _msgpack_rows(data))
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptObject(f"a directory manifest cannot be read: {error}") from error
    digits = ALGORITHMS[algo][1]
    files: dict[str, TreeFile] = {}
    try:
        for path, file in rows:
            check_relpath(path)
            if len(file.hex) != digits or file.hex.strip("0123456789abcdef"):
                raise CorruptObject(f"a directory manifest names a file by {file.hex[:80]!r}, which is no {algo} hash")
            if path in files:
                raise CorruptObject(f"a directory manifest lists {path!r} twice")
            files[path] = file
    except UnsafePath as error:
        raise CorruptObject(f"a directory manifest is unsafe: {error}") from error
    ordered = dict(sorted(files.items()))
    _check_no_clash(ordered)
    return Tree(algo, ordered)


def _json_rows(data: bytes) -> Iterable[tuple[str, TreeFile]]:
    rows = json.loads(data)
    if not isinstance(rows, list) or len(rows) > MAX_FILES:
        raise ValueError("not a list of files")
    for row in rows:
        path, digest = row["relpath"], row["md5"]
        if not isinstance(path, str) or not isinstance(digest, str):
            raise TypeError("a path or hash is no text")
        yield path, TreeFile(digest)


def _msgpack_rows(data: bytes) -> Iterable[tuple[str, TreeFile]]:
    version, rows = msgpack.unpackb(data, unicode_errors="surrogateescape")
    if version != VERSION:
        raise ValueError(f"version {version!r} is not known")
    for path, digest, size, isexec in rows:
        if not isinstance(path, str) or not isinstance(size, int) or size < 0:
            raise TypeError("a path or size is of a wrong type")
        yield path, TreeFile(digest.hex(), size, bool(isexec))


def _check_no_clash(files: Iterable[str]) -> None:
    """No path may be a file and a directory: one component at a time, so the cost is linear in the text."""
    seen = files if isinstance(files, dict) else set(files)
    for path in seen:
        above = path.rpartition("/")[0]
        while above:
            if above in seen:
                raise CorruptObject(f"a directory manifest has {above!r} as a file and as a directory")
            above = above.rpartition("/")[0]


def diff(old: Tree | None, new: Tree | None) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Paths added, modified and deleted from one tree to another."""
    a, b = (old.files if old else {}), (new.files if new else {})
    added = tuple(path for path in b if path not in a)
    deleted = tuple(path for path in a if path not in b)
    modified = tuple(path for path, file in b.items() if path in a and _differs(a[path], file))
    return added, modified, deleted


def _differs(a: TreeFile, b: TreeFile) -> Any:
    return a.hex != b.hex or a.isexec != b.isexec
