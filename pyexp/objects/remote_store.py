"""A store of objects in a place far away: ``files/<algo>/aa/bb…`` (or ``aa/bb…``), as DVC lays them out.

What comes is hashed before anybody sees it; what goes is hashed before it is sent. Which objects are there is asked in
the cheapest way: one by one for few, by one listing for many, by 256 listings at once for a great many.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Literal, TypeVar

from pyexp.errors import CorruptObject, RemoteError, StoreError
from pyexp.model import Oid
from pyexp.objects import parallel, retrying
from pyexp.objects.contract import Store
from pyexp.objects.fileops import explained
from pyexp.objects.hashes import check_bytes, check_oid, hash_file, new, open_regular, read_whole
from pyexp.objects.remote import Files, Found

# Up to this size an object is sent from memory.
SMALL_BYTES = 1 << 20
# Keys that one answer to a listing holds, as S3 and its kin have it.
PAGE = 1000
# Up to so many objects are asked for one by one, without a look at how large the remote is.
FEW = 64
_FANOUT = [f"{number:02x}" for number in range(256)]
_NAME = re.compile(r"(?P<prefix>[0-9a-f]{2})/(?P<rest>[0-9a-f]+(?:\.dir)?)")

Result = TypeVar("Result")


class RemoteStore(Store):
    """Objects of one algorithm behind ``Files``; for what its methods promise see ``Store``."""

    def __init__(self, files: Files, algo: str, *, layout: Literal["files", "legacy"] = "files") -> None:
        self.files = files
        self.algo = algo
        self._base = "" if layout == "legacy" else f"files/{algo}/"

    def __repr__(self) -> str:
        return f"RemoteStore({self.files.shown!r}, {self.algo!r})"

    def key(self, oid: Oid) -> str:
        """The object's key; raises StoreError for an id that must not become one."""
        check_oid(oid)
        if oid.algo != self.algo:
            raise StoreError(f"object {oid} cannot be in a store of {self.algo} objects")
        return f"{self._base}{oid.hex[:2]}/{oid.hex[2:]}"

    # -- what is there -----------------------------------------------------------------------------------------------

    def has(self, oid: Oid) -> bool:
        key = self.key(oid)
        return retrying.call(lambda: self.files.size(key)) is not None

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        """Those of ``oids`` that are not there."""
        wanted = {self.key(oid): oid for oid in oids}
        if not wanted:
            return set()
        way = self._cheapest(len(wanted))
        if way == "ask":
            there = self._ask(list(wanted))
        elif way == "list":
            there = {found.key for found in retrying.call(lambda: list(self.files.list(self._base)))}
        else:
            used = sorted({oid.hex[:2] for oid in wanted.values()})
            pages = parallel.spread(self._list_fanout, used, self.files.jobs)
            there = {found.key for page in pages for found in page}
        return {oid for key, oid in wanted.items() if key not in there}

    def _cheapest(self, count: int) -> Literal["ask", "list", "fan out"]:
        """How to find out about ``count`` objects, by the number of requests it takes."""
        if count <= FEW or not self.files.lists:
            return "ask"
        # Hashes are spread evenly: one of 256 directories tells how many objects there are.
        pages = 256 * len(self._list_fanout("00")) / PAGE
        if pages <= (self.files.jobs or 1) or pages * 1.5 < min(256, count):
            return "list"
        return "ask" if count / 2 < max(256, pages) else "fan out"

    def _list_fanout(self, prefix: str) -> list[Found]:
        return retrying.call(lambda: list(self.files.list(f"{self._base}{prefix}/")))

    def _ask(self, keys: list[str]) -> set[str]:
        def ask(key: str) -> str | None:
            return None if retrying.call(lambda: self.files.size(key)) is None else key

        return {key for key in parallel.spread(ask, keys, self.files.jobs) if key is not None}

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        """Every object: its id, size in bytes, and time of storing."""
        if not self.files.lists:
            raise RemoteError(f"{self.files.shown} cannot be listed")
        for key, size, modified, _ in self.files.list(self._base):
            match = _NAME.fullmatch(key[len(self._base) :])
            if match:
                oid = Oid(self.algo, match["prefix"] + match["rest"])
                with suppress(StoreError):
                    check_oid(oid)
                    yield oid, size, modified

    # -- bytes out ---------------------------------------------------------------------------------------------------

    def read(self, oid: Oid) -> bytes:
        """The object's bytes, hashed; a wrong object is moved away there once it came wrong twice."""

        def once() -> bytes:
            pieces: list[bytes] = []
            self.pour(oid, pieces.append)
            data = b"".join(pieces)
            check_bytes(oid, data)
            return data

        return self.twice(oid, once)

    def pour(self, oid: Oid, sink: Callable[[bytes], object]) -> None:
        """Hands the object's bytes to ``sink`` as they come: not hashed, not tried again."""
        key = self.key(oid)
        self.files.read(key, sink)

    def twice(self, oid: Oid, fetch: Callable[[], Result]) -> Result:
        """What ``fetch`` gives; a wrong object may be the way's fault, so it is fetched once more and then set aside."""
        try:
            return retrying.call(fetch)
        except CorruptObject:
            pass
        try:
            return retrying.call(fetch)
        except CorruptObject as error:
            raise self.set_aside(oid) from error

    def set_aside(self, oid: Oid) -> CorruptObject:
        """Moves a wrong object away, as far as we may, so that the next push replaces it; returns the error to raise."""
        where = "it could not be moved away there"
        aside = f"corrupt/{oid.algo}-{oid.hex}-{time.time_ns():x}"
        with suppress(RemoteError, StoreError):
            self.files.move(self.key(oid), aside)
            where = f"it was moved to {aside} there"
        return CorruptObject(
            f"object {oid} on {self.files.shown} does not hold the bytes its name says; {where}",
            hint="push it again from where it is good",
        )

    def verify(self, oid: Oid) -> None:
        """Reads an object through its hash; raises as ``read`` does."""

        def once() -> None:
            hasher = new(self.algo)
            self.pour(oid, hasher.update)
            if hasher.hexdigest() != oid.hex.removesuffix(".dir"):
                raise CorruptObject(f"the bytes of object {oid} are not what its name says")

        self.twice(oid, once)

    # -- bytes in ----------------------------------------------------------------------------------------------------

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        key = self.key(oid)
        check_bytes(oid, data)
        retrying.call(lambda: self.files.write(key, data))

    def put_from(self, oid: Oid, path: str) -> int:
        """Sends the file at ``path`` as ``oid``, and returns its size in bytes.

        Raises CorruptObject, and sends nothing, when it is another object.
        """
        key = self.key(oid)
        with explained(path):
            fd, status = open_regular(path)
            try:
                data = read_whole(fd, status.st_size) if status.st_size <= SMALL_BYTES else None
            finally:
                os.close(fd)
        if data is not None:
            self.put_bytes(oid, data)
            return len(data)
        digest, size = hash_file(path, self.algo)
        if digest != oid.hex.removesuffix(".dir"):
            raise CorruptObject(f"'{path}' is not object {oid}")
        retrying.call(lambda: self.files.upload(key, path))
        return size

    def put_file(self, path: str, *, known: str | None = None) -> tuple[Oid, int]:
        digest, size = hash_file(path, self.algo)
        oid = Oid(self.algo, digest)
        if digest != known or not self.has(oid):
            self.put_from(oid, path)
        return oid, size

    def remove(self, oid: Oid) -> None:
        key = self.key(oid)
        retrying.call(lambda: self.files.remove(key))

    def flush(self) -> None:
        """Nothing to do: what was accepted there is kept there."""
