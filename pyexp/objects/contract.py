"""What every store of objects can do, and the errors that all of them raise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pyexp.errors import MissingObject, RemoteError, StoreError
from pyexp.model import Content, Entry, Oid, Tree


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

    def put_tree(self, tree: Tree) -> Entry: ...

    def read_tree(self, oid: Oid) -> Tree: ...

    def load(self, entry: Entry) -> Content: ...

    def all(self) -> Iterator[tuple[Oid, int, float]]: ...

    def remove(self, oid: Oid) -> None: ...

    def flush(self) -> None: ...


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
