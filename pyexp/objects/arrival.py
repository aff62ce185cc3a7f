"""An object on its way into a directory's store: hashed as it comes, installed whole and right or not at all.

Files that are no objects yet come the same way, and get the name that their bytes give them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from pyexp import durable
from pyexp.errors import CorruptObject
from pyexp.model import Oid
from pyexp.objects import links as linking
from pyexp.objects import retrying
from pyexp.objects.fileops import discard, explained
from pyexp.objects.hashes import new
from pyexp.objects.remote import Files
from pyexp.objects.remote_store import RemoteStore
from pyexp.objects.store import MODE, LocalStore

# What is larger than this waits in a file, not in memory.
SMALL_BYTES = 1 << 20


def receive(source: RemoteStore, target: LocalStore, oid: Oid) -> int:
    """Brings one object over and returns its size; raises MissingObject, CorruptObject, RemoteError.

    Wrong bytes are fetched a second time; when they are wrong again they are kept in the target's ``corrupt``
    directory, and the object is set aside at the source.
    """

    def once() -> int:
        arrival = _Arrival(target, oid.algo)
        try:
            source.pour(oid, arrival.write)
            arrival.check(oid)
            return arrival.install()[1]
        finally:
            arrival.close()

    return source.twice(oid, once)


def take(files: Files, key: str, target: LocalStore) -> tuple[Oid, int]:
    """Brings a file of anywhere into a store: its id and size. Raises MissingObject, RemoteError."""

    def once() -> tuple[Oid, int]:
        arrival = _Arrival(target, target.algo)
        try:
            files.read(key, arrival.write)
            return arrival.install()
        finally:
            arrival.close()

    return retrying.call(once)


class _Arrival:
    """The bytes so far: in memory, or in a temporary file of the store once there are many."""

    def __init__(self, store: LocalStore, algo: str) -> None:
        self._store = store
        self._algo = algo
        self._hasher = new(algo)
        self._pieces: list[bytes] = []
        self._size = 0
        self._suffix = ""
        self._temporary: tuple[str, int] | None = None

    def write(self, piece: bytes) -> None:
        self._hasher.update(piece)
        self._size += len(piece)
        if self._temporary is None:
            self._pieces.append(piece)
            if self._size > SMALL_BYTES:
                self._spill()
            return
        with explained(self._temporary[0]):
            linking.write_all(self._temporary[1], piece)

    def _spill(self) -> None:
        with explained(self._store.base):
            durable.make_directories(self._store.base, self._store.dir_mode)
            temporary = durable.temporary_name(self._store.base)
            self._temporary = temporary, linking.create(temporary, mode=MODE)
            for piece in self._pieces:
                linking.write_all(self._temporary[1], piece)
        self._pieces.clear()

    def check(self, oid: Oid) -> None:
        """Raises CorruptObject when the bytes are not those of ``oid``."""
        if self._hasher.hexdigest() != oid.hex.removesuffix(".dir"):
            self._set_aside(oid)
            raise CorruptObject(f"what came for object {oid} is not what its name says")
        self._suffix = oid.hex[len(self._hasher.hexdigest()) :]

    def install(self) -> tuple[Oid, int]:
        """Gives the bytes their name; returns it, and how many they are."""
        oid = Oid(self._algo, self._hasher.hexdigest() + self._suffix)
        if self._temporary is None:
            self._store.put_bytes(oid, b"".join(self._pieces))
        else:
            with explained(self._store.base):
                self._store.adopt(self._temporary[1], self._temporary[0], oid)
        return oid, self._size

    def _set_aside(self, oid: Oid) -> None:
        """Keeps the last wrong bytes for whoever wants to know what is wrong with them."""
        place = self._store.root / "corrupt"
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"arrived-{oid.algo}-{oid.hex}-{time.time_ns():x}"
            if self._temporary is None:
                path.write_bytes(b"".join(self._pieces))
            else:
                os.replace(self._temporary[0], path)

    def close(self) -> None:
        """Leaves nothing lying about."""
        if self._temporary is not None:
            os.close(self._temporary[1])
            discard(self._temporary[0])
