"""Files and bytes on their way into a directory's store: hashed, compared with what is there, written, flushed."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pyexp import durable
from pyexp.errors import StoreError
from pyexp.model import Oid
from pyexp.objects import links as linking
from pyexp.objects.fileops import (
    check_expected,
    clone,
    discard,
    equal_files,
    explained,
    flush_file,
    flush_file_system,
)
from pyexp.objects.hashes import (
    NOFOLLOW,
    Changed,
    check_unchanged,
    hash_bytes,
    hash_file,
    hash_stream,
    open_regular,
    read_whole,
)
from pyexp.objects.statcache import stamp

if TYPE_CHECKING:
    from pyexp.objects.store import LocalStore

# Up to this size a file is read whole: hashed, looked up, and only written when it is new.
SMALL_BYTES = 1 << 20
# From this size on a file is written by a thread of its own, behind the one that hashes.
LARGE_BYTES = 16 << 20
MODE = 0o444
# From so many new objects on, one flush of the file system is cheaper than one for each of them.
_FLUSH_ALL = 48
_ATTEMPTS = 3


class Intake:
    """What one store does with new objects; it knows which of them a power cut could still take."""

    def __init__(self, store: LocalStore, fsync: Literal["none", "batch", "each"]) -> None:
        self._store = store
        self._fsync = fsync
        self._new: list[str] = []
        self._touched: set[str] = set()

    def file(self, path: str, expect: Oid | None = None, hint: str | None = None) -> tuple[Oid, os.stat_result]:
        """Hashes and stores a file; a file that changes meanwhile is looked at again, a few times."""
        for attempt in range(_ATTEMPTS):
            try:
                with explained(path):
                    fd, status = open_regular(path)
                    try:
                        if status.st_size <= SMALL_BYTES:
                            return self._take_small(fd, path, status, expect), status
                        if hint is not None and self._is_still(fd, path, status, hint):
                            return Oid(self._store.algo, hint), status
                        return self._take_large(fd, path, status, expect), status
                    finally:
                        os.close(fd)
            except Changed:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.05)
        raise AssertionError("the loop returns or raises")

    def _take_small(self, fd: int, path: str, status: os.stat_result, expect: Oid | None) -> Oid:
        data = read_whole(fd, status.st_size)
        check_unchanged(path, status, os.fstat(fd), len(data))
        digest = hash_bytes(data, self._store.algo)
        check_expected(path, digest, expect)
        oid = expect or Oid(self._store.algo, digest)
        final = self._store.path(oid)
        # Who expects an object knows that it is not here. If it came meanwhile, its bytes are replaced by the same ones.
        absent = expect is not None and self._store.exact
        if absent or not self._same_data(oid, final, data):
            self._write(oid, final, data)
        return oid

    def data(self, oid: Oid, path: str, data: bytes) -> None:
        """Stores an object's bytes, which belong to it, at ``path``."""
        if not self._same_data(oid, path, data):
            self._write(oid, path, data)

    def _write(self, oid: Oid, path: str, data: bytes) -> None:
        temporary, fd = self._create(os.path.dirname(path))
        try:
            linking.write_all(fd, data)
            self.publish(fd, temporary, path, oid)
        except BaseException as error:
            discard(temporary)
            durable.say_where(error, temporary)
            raise
        finally:
            os.close(fd)

    def _same_data(self, oid: Oid, path: str, data: bytes) -> bool:
        """Whether the object is here with just these bytes; a damaged one gives way."""
        try:
            fd, status = open_regular(path, NOFOLLOW)
        except FileNotFoundError:
            return False
        except (OSError, StoreError) as error:
            if isinstance(error, OSError) and not os.path.islink(path):
                raise  # what cannot be read now is not damaged
            self._store.quarantine(oid)
            return False
        try:
            here = read_whole(fd, status.st_size) if status.st_size == len(data) else None
            if here == data:
                self._claim(fd, status, path, oid)
                return True
        finally:
            os.close(fd)
        return self._is_kept(oid)

    def _claim(self, fd: int, status: os.stat_result, path: str, oid: Oid) -> None:
        """Marks an object as in use: read-only again, and young."""
        with suppress(OSError):  # somebody else's object in a shared cache
            if stat.S_IMODE(status.st_mode) & 0o222:
                os.fchmod(fd, MODE)
            stamp(path)
            self._store.remember(oid, os.fstat(fd))

    def _is_kept(self, oid: Oid) -> bool:
        """Decides on an object whose bytes are not those offered: False once a damaged one has been moved away.

        Raises StoreError for a sound one: two files share one hash, unless the hash is the one that ignores line ends;
        and for one that cannot be read.
        """
        path = self._store.path(oid)
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
        found = hash_file(path, self._store.algo)[0] if is_file else None
        if found != oid.hex.removesuffix(".dir"):
            self._store.quarantine(oid)
            return False
        if self._store.exact:
            raise StoreError(
                f"two different files have the same {self._store.algo} hash: {oid.hex}",
                hint="use a stronger hash for this project: sha256",
            )
        return True

    def _is_still(self, fd: int, path: str, status: os.stat_result, hint: str) -> bool:
        """Whether an open file holds just what the object ``hint`` does, which is then in use again."""
        oid = Oid(self._store.algo, hint)
        if not self._store.has(oid):
            return False
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            digest, size = hash_stream(file, self._store.algo)
        check_unchanged(path, status, os.fstat(fd), size)
        os.lseek(fd, 0, os.SEEK_SET)
        return digest == hint and self._store.reuse(oid, size)

    def _take_large(self, fd: int, path: str, status: os.stat_result, expect: Oid | None) -> Oid:
        """Hashes and copies in one pass, or clones first and hashes the clone, which cannot change any more."""
        if expect is not None and self._store.reuse(expect, status.st_size):
            return expect
        temporary, target = self._create(self._store.base)
        try:
            if clone(fd, target):
                os.lseek(target, 0, os.SEEK_SET)
                with os.fdopen(os.dup(target), "rb", buffering=0) as file:
                    digest, size = hash_stream(file, self._store.algo)
            else:
                digest, size = self._copy(fd, target, status.st_size)
            check_unchanged(path, status, os.fstat(fd), size)
            check_expected(path, digest, expect)
            oid = expect or Oid(self._store.algo, digest)
            final = self._store.path(oid)
            if self._same_file(oid, final, temporary, size):
                discard(temporary)
                return oid
            durable.make_directories(os.path.dirname(final), self._store.dir_mode)
            self.publish(target, temporary, final, oid)
        except BaseException:
            discard(temporary)
            raise
        finally:
            os.close(target)
        return oid

    def _copy(self, fd: int, target: int, size: int) -> tuple[str, int]:
        def write(piece: memoryview) -> None:
            try:
                linking.write_all(target, piece)
            except OSError as error:
                durable.say_where(error, self._store.base)
                raise

        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            if size < LARGE_BYTES:
                return hash_stream(file, self._store.algo, write)
            from pyexp.objects import behind  # threads and queues: for those who have large files

            with behind.written_behind(write) as later:
                return hash_stream(file, self._store.algo, later, buffers=behind.BEHIND + 1)

    def _same_file(self, oid: Oid, final: str, temporary: str, size: int) -> bool:
        try:
            status = os.lstat(final)
        except FileNotFoundError:
            return False
        if stat.S_ISREG(status.st_mode) and status.st_size == size and equal_files(final, temporary):
            self._store.touch(final, oid)
            return True
        return self._is_kept(oid)

    def _create(self, directory: str) -> tuple[str, int]:
        temporary = durable.temporary_name(directory)
        try:
            return temporary, linking.create(temporary, mode=MODE)
        except FileNotFoundError:
            durable.make_directories(directory, self._store.dir_mode)
            self._touched.update((self._store.base, str(self._store.root)))
            return temporary, linking.create(temporary, mode=MODE)

    def publish(self, fd: int, temporary: str, path: str, oid: Oid) -> None:
        """Gives a temporary file, written and hashed, its place among the objects."""
        stamp(temporary, fd)
        if self._fsync == "each":
            os.fsync(fd)
        os.replace(temporary, path)
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) != MODE and hasattr(os, "fchmod"):  # a umask that is stricter than most
            os.fchmod(fd, MODE)
            status = os.fstat(fd)
        self._store.remember(oid, status)
        directory = os.path.dirname(path)
        if self._fsync == "each":
            durable.sync_directory(directory)
        elif self._fsync == "batch":
            self._new.append(path)
            self._touched.add(directory)

    def flush(self) -> None:
        """``LocalStore.flush``."""
        fresh, self._new = self._new, []
        directories, self._touched = self._touched, set()
        if self._fsync == "none" or not (fresh or directories):
            return
        with explained(self._store.base):
            if len(fresh) < _FLUSH_ALL or not flush_file_system(self._store.base):
                for path in fresh:
                    flush_file(path)
            for directory in sorted(directories, reverse=True):
                with suppress(FileNotFoundError):
                    durable.sync_directory(directory)
