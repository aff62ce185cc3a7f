"""The object store: bytes under the name of their hash, whole or not at all, read-only once there.

    <root>/files/<algo>/<2 hex>/<rest>[.dir]      (layout "files": ours and DVC 3.x's)
    <root>/<2 hex>/<rest>[.dir]                   (layout "legacy": DVC 2.x's)

Durability: an object is written to a temporary file beside its place and renamed. ``flush`` makes all objects put since
the last flush last through a power cut: one ``fsync`` a file and one a directory, before anything may name them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, StoreError
from pyexp.model import Content, Entry, Oid, Tree
from pyexp.objects import hashes, links
from pyexp.objects import tree as trees

Fsync = Literal["none", "batch", "each"]
# From so many ids on, one listing of a directory is cheaper than a stat of each.
LIST_FROM = 64


class Store(Protocol):
    """What every store of objects can do."""

    algo: str

    def has(self, oid: Oid) -> bool:
        """Whether the object is there."""

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        """Those of ``oids`` that are not there."""

    def read(self, oid: Oid) -> bytes:
        """The object's bytes, verified; raises MissingObject or CorruptObject."""

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        """Stores bytes under their name; raises CorruptObject when they are not what the name says."""

    def remove(self, oid: Oid) -> None:
        """Removes an object; nothing happens when it is not there."""

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        """Every object: id, size in bytes, and time of last use in seconds since the epoch."""


class MemoryStore:
    """Objects in memory."""

    def __init__(self, algo: str) -> None:
        self.algo = algo
        self._objects: dict[Oid, tuple[bytes, float]] = {}

    def has(self, oid: Oid) -> bool:
        return hashes.check_oid(oid) in self._objects

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        return {oid for oid in oids if not self.has(oid)}

    def read(self, oid: Oid) -> bytes:
        if not self.has(oid):
            raise MissingObject(f"object {oid} is missing")
        return self._objects[oid][0]

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        _check_bytes(oid, data)
        self._objects[oid] = (data, time.time())

    def remove(self, oid: Oid) -> None:
        self._objects.pop(oid, None)

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        for oid, (data, when) in list(self._objects.items()):
            yield oid, len(data), when


def _check_bytes(oid: Oid, data: bytes) -> None:
    hashes.check_oid(oid)
    if hashes.hash_bytes(data, oid.algo) != oid.hex.removesuffix(".dir"):
        raise CorruptObject(f"bytes offered as {oid} are something else")


class LocalStore:
    """Objects in a directory of this machine."""

    def __init__(
        self,
        root: Path,
        algo: str,
        *,
        layout: Literal["files", "legacy"] = "files",
        fsync: Fsync = "batch",
        links: tuple[str, ...] = ("reflink", "copy"),
    ) -> None:
        self.root = root
        self.algo = algo
        self.links = links
        self._top = str(root / "files" / algo if layout == "files" else root)
        self._fsync = fsync
        self._unflushed: list[str] = []
        self._verified: dict[str, tuple[int, int, int, int]] = {}
        self._made: set[str] = set()
        self._trees: dict[Oid, Tree] = {}

    def path(self, oid: Oid) -> str:
        """Where the object is, or would be; raises StoreError for an id that is none."""
        if oid.algo != self.algo:
            raise StoreError(f"{oid} does not belong in a store of {self.algo} objects")
        digest = hashes.check_oid(oid).hex
        return f"{self._top}{os.sep}{digest[:2]}{os.sep}{digest[2:]}"

    def has(self, oid: Oid) -> bool:
        try:
            return os.stat(self.path(oid), follow_symlinks=False).st_mode & 0o170000 == 0o100000
        except (FileNotFoundError, NotADirectoryError):
            return False

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        wanted = set(oids)
        if len(wanted) < LIST_FROM:
            return {oid for oid in wanted if not self.has(oid)}
        by_prefix: dict[str, list[Oid]] = {}
        for oid in wanted:
            hashes.check_oid(oid)
            by_prefix.setdefault(oid.hex[:2], []).append(oid)
        absent: set[Oid] = set()
        for prefix, some in by_prefix.items():
            try:
                there = set(os.listdir(f"{self._top}{os.sep}{prefix}"))
            except (FileNotFoundError, NotADirectoryError):
                there = set()
            absent.update(oid for oid in some if oid.hex[2:] not in there)
        return absent

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, oid: Oid) -> bytes:
        try:
            data = durable.read_file(self.path(oid))
        except OSError as error:
            raise CorruptObject(f"object {oid} is not a file: {error.strerror}") from error
        if data is None:
            raise MissingObject(f"object {oid} is not in the cache", hint="fetch it, or make it again")
        if hashes.hash_bytes(data, oid.algo) != oid.hex.removesuffix(".dir"):
            self._set_aside(oid)
        return data

    def verify(self, oid: Oid) -> None:
        """Makes sure that an object's bytes are what its name says, once for each state of its file.

        Raises MissingObject; or CorruptObject, after the object has been moved to ``corrupt/``.
        """
        path = self.path(oid)
        try:
            st = os.stat(path, follow_symlinks=False)
            stamp = (st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
            if self._verified.get(oid.hex) == stamp:
                return
            digest, _ = hashes.hash_file(path, oid.algo)
        except FileNotFoundError as error:
            raise MissingObject(f"object {oid} is not in the cache", hint="fetch it, or make it again") from error
        except OSError as error:
            raise CorruptObject(f"object {oid} cannot be read: {error.strerror}") from error
        if digest != oid.hex.removesuffix(".dir"):
            self._set_aside(oid)
        self._verified[oid.hex] = stamp

    def _set_aside(self, oid: Oid) -> None:
        aside = self.root / "corrupt"
        aside.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            os.replace(self.path(oid), aside / f"{oid.algo}-{oid.hex}")
        self._verified.pop(oid.hex, None)
        raise CorruptObject(
            f"object {oid} was damaged and is set aside in {aside}",
            hint="fetch it again, or make it again: pyexp repro",
        )

    def read_tree(self, oid: Oid) -> Tree:
        """The manifest behind a ``.dir`` id; raises MissingObject or CorruptObject."""
        if oid not in self._trees:
            tree = trees.decode(self.read(oid), oid.algo)
            if len(self._trees) > 64:
                self._trees.clear()
            self._trees[oid] = tree
        return self._trees[oid]

    def load(self, entry: Entry) -> Content:
        """What an entry stands for, with its manifest when it is a directory."""
        return Content(entry, self.read_tree(entry.oid) if entry.oid.is_dir else None)

    # -- writing ------------------------------------------------------------------------------------------------

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        _check_bytes(oid, data)
        path = self.path(oid)
        if self._same_bytes(path, data):
            os.utime(path)
            return
        temporary = self._temporary(path)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
            self._install(temporary, path)
        except BaseException:
            _discard(temporary)
            raise

    @staticmethod
    def _same_bytes(path: str, data: bytes) -> bool:
        try:
            return os.stat(path).st_size == len(data) and durable.read_file(path) == data
        except (FileNotFoundError, NotADirectoryError):
            return False

    def put_tree(self, tree: Tree) -> Entry:
        """Stores a manifest; its members must be there already."""
        entry, data = trees.identify(tree)
        self.put_bytes(entry.oid, data)
        self._trees[entry.oid] = tree
        return entry

    def put_file(self, path: str, *, known: str | None = None) -> tuple[Oid, int]:
        """Stores a file's bytes, hashing them unless their digest is ``known``; returns the id and the size.

        An object that is there already is compared with the file and mended when it is damaged: the file is the
        better copy. Raises StoreError when the file changes meanwhile.
        """
        with hashes.open_regular(path) as source:
            before = os.fstat(source.fileno())
            digest = known
            temporary: str | None = None
            if digest is None and before.st_size <= hashes.CHUNK:
                return self._put_small(path, source, before)
            if digest is None:
                digest, _ = hashes.hash_stream(source, self.algo)
                source.seek(0)
            oid = Oid(self.algo, digest)
            target = self.path(oid)
            if self._holds(target, source, before.st_size):
                os.utime(target)
                return oid, before.st_size
            temporary = self._temporary(target)
            try:
                fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
                try:
                    source.seek(0)
                    if not links.reflink(source.fileno(), fd):
                        links.copy_bytes(source.fileno(), fd, before.st_size)
                    after = os.fstat(source.fileno())
                    if _stamp(after) != _stamp(before) or os.fstat(fd).st_size != before.st_size:
                        raise StoreError(f"'{path}' changed while it was read", hint="try again when nothing writes it")
                finally:
                    os.close(fd)
                self._install(temporary, target)
            except BaseException:
                _discard(temporary)
                raise
            return oid, before.st_size

    def _put_small(self, path: str, source: object, before: os.stat_result) -> tuple[Oid, int]:
        data = source.read()  # type: ignore[attr-defined]
        if _stamp(os.stat(path)) != _stamp(before) or len(data) != before.st_size:
            raise StoreError(f"'{path}' changed while it was read", hint="try again when nothing writes it")
        oid = Oid(self.algo, hashes.hash_bytes(data, self.algo))
        self._put_known(oid, data)
        return oid, len(data)

    def _put_known(self, oid: Oid, data: bytes) -> None:
        """Like put_bytes, for bytes whose hash has just been taken."""
        target = self.path(oid)
        if self._same_bytes(target, data):
            os.utime(target)
            return
        temporary = self._temporary(target)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
            self._install(temporary, target)
        except BaseException:
            _discard(temporary)
            raise

    @staticmethod
    def _holds(target: str, source: object, size: int) -> bool:
        """Whether the object at ``target`` has just the bytes of the open file."""
        try:
            with hashes.open_regular(target) as there:
                if os.fstat(there.fileno()).st_size != size:
                    return False
                source.seek(0)  # type: ignore[attr-defined]
                while True:
                    a, b = there.read(hashes.CHUNK), source.read(hashes.CHUNK)  # type: ignore[attr-defined]
                    if a != b:
                        return False
                    if not a:
                        return True
        except OSError:
            return False

    def _temporary(self, path: str) -> str:
        directory = os.path.dirname(path)
        if directory not in self._made:
            os.makedirs(directory, exist_ok=True)
            self._made.add(directory)
        return durable.temporary_name(directory)

    def _install(self, temporary: str, path: str) -> None:
        """Makes a finished file the object: mode exactly 0444 (DVC trusts no other), then the rename."""
        os.chmod(temporary, 0o444)
        if self._fsync == "each":
            _sync_file(temporary)
        os.replace(temporary, path)
        if self._fsync == "each":
            durable.sync_directory(os.path.dirname(path))
        elif self._fsync == "batch":
            self._unflushed.append(path)

    def flush(self) -> None:
        """Makes what was put durable; nothing may name an object before."""
        paths, self._unflushed = self._unflushed, []
        for path in paths:
            with suppress(FileNotFoundError):
                _sync_file(path)
        for directory in sorted({os.path.dirname(path) for path in paths}):
            durable.sync_directory(directory)

    # -- all of it ----------------------------------------------------------------------------------------------

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        for directory in self.directories():
            prefix = os.path.basename(directory)
            with os.scandir(directory) as entries:
                for entry in entries:
                    oid = Oid(self.algo, prefix + entry.name)
                    try:
                        hashes.check_oid(oid)
                        st = entry.stat(follow_symlinks=False)
                    except (StoreError, FileNotFoundError):
                        continue
                    yield oid, st.st_size, st.st_mtime

    def directories(self) -> Iterator[str]:
        """The directories that may hold objects."""
        try:
            names = sorted(os.listdir(self._top))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in names:
            if len(name) == 2 and not name.strip("0123456789abcdef"):
                yield f"{self._top}{os.sep}{name}"

    def remove(self, oid: Oid) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path(oid))
        self._verified.pop(oid.hex, None)
        self._trees.pop(oid, None)


def _stamp(st: os.stat_result) -> tuple[int, int, int]:
    return st.st_size, st.st_mtime_ns, st.st_ino


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _discard(temporary: str) -> None:
    with suppress(OSError):
        os.unlink(temporary)
