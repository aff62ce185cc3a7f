"""What every store of objects can do, and the errors that all of them raise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pyexp.errors import MissingObject, RemoteError, StoreError
from pyexp.model import Content, Entry, Oid, Tree
from pyexp.objects import tree as trees


class Store(Protocol):
    """Objects by content address. ``has`` and ``missing`` look at names, everything that gives bytes verifies them."""

    algo: str

    def has(self, oid: Oid) -> bool: ...

    def missing(self, oids: Iterable[Oid]) -> set[Oid]: ...

    def read(self, oid: Oid) -> bytes: ...

    def put_bytes(self, oid: Oid, data: bytes) -> None: ...

    def put_from(self, oid: Oid, path: str) -> int: ...

    def put_file(self, path: str, *, known: str | None = None) -> tuple[Oid, int]: ...

    def verify(self, oid: Oid) -> None: ...

    def all(self) -> Iterator[tuple[Oid, int, float]]: ...

    def remove(self, oid: Oid) -> None: ...

    def flush(self) -> None: ...

    def put_tree(self, tree: Tree) -> Entry:
        """Stores a manifest (its members must be here already) and returns its entry."""
        entry, data = trees.identify(tree)
        self.put_bytes(entry.oid, data)
        return entry

    def read_tree(self, oid: Oid) -> Tree:
        """The manifest ``oid``; raises MissingObject, or CorruptObject when its bytes or what they say is unsound."""
        if not oid.is_dir:
            raise not_a_tree(oid)
        return trees.decode(self.read(oid), self.algo)

    def load(self, entry: Entry) -> Content:
        """What an entry stands for, with its manifest when it is a directory; raises as ``read_tree`` does."""
        if entry.oid.is_dir:
            return Content(entry, self.read_tree(entry.oid))
        if not self.has(entry.oid):
            raise absent(entry.oid)
        return Content(entry)


class Transient(RemoteError):
    """A failure that may be gone a moment later: a cut connection, a busy server."""


def absent(oid: Oid) -> MissingObject:
    """The error for an object that is not here."""
    return MissingObject(
        f"object {oid} is not in the cache", hint="fetch it (pyexp pull), or make it again (pyexp repro)"
    )


def not_a_tree(oid: Oid) -> StoreError:
    """The error for a file's id where a directory's is needed."""
    return StoreError(f"{oid} is not a directory's id")
