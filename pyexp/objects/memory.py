"""Objects in memory: a store for tests, and for data that is to be looked at and kept nowhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from pyexp.errors import StoreError
from pyexp.model import Oid
from pyexp.objects.contract import Store, absent
from pyexp.objects.fileops import explained
from pyexp.objects.hashes import check_bytes, check_oid, hash_bytes, open_regular


class MemoryStore(Store):
    """Objects in a dictionary; for what its methods promise see ``Store`` and ``LocalStore``."""

    def __init__(self, algo: str) -> None:
        self.algo = algo
        self._objects: dict[str, tuple[bytes, float]] = {}

    def _key(self, oid: Oid) -> str:
        check_oid(oid)
        if oid.algo != self.algo:
            raise StoreError(f"object {oid} cannot be in a store of {self.algo} objects")
        return oid.hex

    def has(self, oid: Oid) -> bool:
        return self._key(oid) in self._objects

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        return {oid for oid in oids if not self.has(oid)}

    def read(self, oid: Oid) -> bytes:
        found = self._objects.get(self._key(oid))
        if found is None:
            raise absent(oid)
        return found[0]

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        check_bytes(oid, data)
        self._objects[self._key(oid)] = (data, time.time())

    def put_from(self, oid: Oid, path: str) -> int:
        data = _read_regular(path)
        self.put_bytes(oid, data)
        return len(data)

    def put_file(self, path: str, *, known: str | None = None) -> tuple[Oid, int]:
        data = _read_regular(path)
        oid = Oid(self.algo, hash_bytes(data, self.algo))
        self.put_bytes(oid, data)
        return oid, len(data)

    def verify(self, oid: Oid) -> None:
        check_bytes(oid, self.read(oid))

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        for hex, (data, mtime) in list(self._objects.items()):
            yield Oid(self.algo, hex), len(data), mtime

    def remove(self, oid: Oid) -> None:
        self._objects.pop(self._key(oid), None)

    def flush(self) -> None:
        pass


def _read_regular(path: str) -> bytes:
    with explained(path):
        fd, _ = open_regular(path)
        with os.fdopen(fd, "rb") as file:
            return file.read()
