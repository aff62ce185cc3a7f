"""The store in a directory, ``LocalStore`` (and, from their own files, ``Store`` and ``MemoryStore``).

**Durability.** An object appears under its name whole or not at all: it is written to a temporary file while it is
hashed, made read-only (0444), then renamed. That holds against a killed process. Against a power cut, ``flush`` puts
everything stored since the last one on the disk, and the directories that name it: call it before anything that names
the objects (a lock file, a commit) is written. With ``fsync="each"`` that is done object by object, with ``"none"``
never. After a power cut an object that was stored but not flushed may be cut short: reading it finds that out.

**Trust.** An object's mode proves nothing. Bytes are hashed before they are handed out, unless the statcache says that
this very inode, with this size and these times, was hashed before. A bad object is moved to ``<root>/corrupt`` and
counts as missing from then on.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, StoreError
from pyexp.model import Content, Entry, Oid, Tree
from pyexp.objects import links as linking
from pyexp.objects import tree as trees
from pyexp.objects.contract import Store, absent, not_a_tree
from pyexp.objects.hashes import (
    DIGEST_BYTES,
    NOFOLLOW,
    Changed,
    check_bytes,
    check_oid,
    check_unchanged,
    hash_bytes,
    hash_file,
    hash_stream,
    kind,
    open_regular,
    read_whole,
)
from pyexp.objects.intake import (
    check_expected,
    clone,
    discard,
    equal_files,
    explained,
    flush_file,
    flush_file_system,
)
from pyexp.objects.memory import MemoryStore
from pyexp.objects.statcache import Directory, StatCache, is_settled, signature, stamp

__all__ = ["LocalStore", "MemoryStore", "Store"]

# Up to this size a file is read whole: hashed, looked up, and only written when it is new.
SMALL_BYTES = 1 << 20
# Manifests of this size list some hundred files: from there on a look at the directories alone is quicker.
WORTH_MARKING = 1 << 15
# From this size on a file is written by a thread of its own, behind the one that hashes.
LARGE_BYTES = 16 << 20
MODE = 0o444
_FANOUT = re.compile(r"[0-9a-f]{2}")
# From so many new objects on, one flush of the file system is cheaper than one for each of them.
_FLUSH_ALL = 48
_ATTEMPTS = 3


def _worth_listing(directory: str, wanted: int) -> bool:
    """Whether reading a directory costs less than ``wanted`` stats; most file systems' directories grow by the name."""
    try:
        return os.stat(directory).st_size <= max(4096, wanted * 500)
    except OSError:
        return False


class LocalStore:
    """Objects of one algorithm below a cache directory: ``files/<algo>/aa/bb…``, or ``aa/bb…`` (``legacy``).

    Makes directories when it first writes. Safe to share between threads and processes. ``statcache`` remembers which
    objects were verified; ``links`` are the ways an object may be brought into a workspace, for callers that ask.
    """

    def __init__(
        self,
        root: Path,
        algo: str,
        *,
        layout: Literal["files", "legacy"] = "files",
        fsync: Literal["none", "batch", "each"] = "batch",
        links: tuple[str, ...] = ("reflink", "copy"),
        statcache: StatCache | None = None,
    ) -> None:
        if algo not in DIGEST_BYTES:
            raise StoreError(f"unknown hash algorithm {algo!r}", hint=f"known: {', '.join(DIGEST_BYTES)}")
        self.root = Path(root)
        self.algo = algo
        self.links = links
        self.statcache = statcache if statcache is not None else StatCache(None)
        self.base = os.path.abspath(self.root if layout == "legacy" else self.root / "files" / algo)
        self._fsync = fsync
        self._exact = algo != "md5-dos2unix"
        self._new: list[str] = []
        self._touched: set[str] = set()
        self._trees: dict[str, Tree] = {}
        self._folders: dict[str, Directory] = {}

    def __repr__(self) -> str:
        return f"LocalStore({self.base!r})"

    # -- names -------------------------------------------------------------------------------------------------------

    def path(self, oid: Oid) -> str:
        """Where an object is, or would be; raises StoreError for an id that must not become a path."""
        check_oid(oid)
        if oid.algo != self.algo:
            raise StoreError(f"object {oid} cannot be in a store of {self.algo} objects")
        return f"{self.base}{os.sep}{oid.hex[:2]}{os.sep}{oid.hex[2:]}"

    def has(self, oid: Oid) -> bool:
        """Whether there is a regular file under the object's name."""
        try:
            return stat.S_ISREG(os.lstat(self.path(oid)).st_mode)
        except OSError:
            return False

    def missing(self, oids: Iterable[Oid]) -> set[Oid]:
        """Those of ``oids`` that are not here: by a stat each, or by listing a directory where that is cheaper."""
        groups: dict[str, list[Oid]] = {}
        for oid in oids:
            check_oid(oid)
            if oid.algo != self.algo:
                raise StoreError(f"object {oid} cannot be in a store of {self.algo} objects")
            groups.setdefault(oid.hex[:2], []).append(oid)
        absent: set[Oid] = set()
        for prefix, group in groups.items():
            directory = f"{self.base}{os.sep}{prefix}"
            if len(group) < 4 or not _worth_listing(directory, len(group)):
                absent.update(oid for oid in group if not self.has(oid))
                continue
            with os.scandir(directory) as entries:
                names = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
            absent.update(oid for oid in group if oid.hex[2:] not in names)
        return absent

    def all(self) -> Iterator[tuple[Oid, int, float]]:
        """Every object: its id, size in bytes, and mtime (seconds since the epoch)."""
        for directory in self.fanout():
            prefix = os.path.basename(directory)
            with suppress(FileNotFoundError), os.scandir(directory) as entries:
                for entry in entries:
                    oid = Oid(self.algo, prefix + entry.name)
                    try:  # not suppress(), which costs as much as the rest, for each of a hundred thousand objects
                        check_oid(oid)
                        status = entry.stat(follow_symlinks=False)
                    except (StoreError, FileNotFoundError):
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield oid, status.st_size, status.st_mtime

    def fanout(self) -> list[str]:
        """The directories that objects are in."""
        try:
            with os.scandir(self.base) as entries:
                return sorted(e.path for e in entries if _FANOUT.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return []

    # -- bytes out ---------------------------------------------------------------------------------------------------

    def read(self, oid: Oid) -> bytes:
        """The object's bytes, hashed; raises MissingObject, or CorruptObject after moving a bad one out of the way."""
        data = self.read_small(oid, None)
        assert data is not None
        return data

    def read_small(self, oid: Oid, most: int | None = SMALL_BYTES) -> bytes | None:
        """``read``, but None for an object of more than ``most`` bytes."""
        path = self.path(oid)
        try:
            fd, status = open_regular(path, NOFOLLOW)
            try:
                if most is not None and status.st_size > most:
                    return None
                data = read_whole(fd, status.st_size)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise absent(oid) from error
        except (OSError, StoreError) as error:
            raise self._unreadable(oid, error) from error
        if hash_bytes(data, self.algo) != oid.hex.removesuffix(".dir"):
            raise self.quarantine(oid)
        return data

    def verify(self, oid: Oid) -> None:
        """Hashes an object unless that was done before and its file has not changed since; raises as ``read`` does."""
        path = self.path(oid)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise absent(oid) from error
        digest = oid.hex.removesuffix(".dir")
        folder = self._folder(oid.hex)
        if folder.get(oid.hex[2:], status) == digest:
            return
        if not stat.S_ISREG(status.st_mode):
            raise self.quarantine(oid, f"is {kind(status.st_mode)}, not a file")
        try:
            found, _ = hash_file(path, self.algo)
        except StoreError as error:
            raise self._unreadable(oid, error) from error
        if found != digest:
            raise self.quarantine(oid)
        folder.put(oid.hex[2:], status, digest)

    def _unreadable(self, oid: Oid, error: Exception) -> StoreError:
        if isinstance(error, OSError) and not os.path.islink(self.path(oid)):
            return StoreError(f"object {oid} cannot be read: {error.strerror}", hint=f"look at {self.path(oid)}")
        return self.quarantine(oid, "is not a regular file")

    def quarantine(self, oid: Oid, why: str = "does not hold the bytes its name says") -> CorruptObject:
        """Moves a bad object to ``<root>/corrupt``, as far as that can be done; returns the error to raise."""
        place = self.root / "corrupt"
        where = "and could not be moved away"
        with suppress(OSError):
            place.mkdir(exist_ok=True)
            os.replace(self.path(oid), place / f"{oid.algo}-{oid.hex}-{time.time_ns():x}")
            where = f"and was moved to {place}"
        self._trees.pop(oid.hex, None)
        return CorruptObject(
            f"object {oid} {why}, {where}",
            hint="fetch it again (pyexp pull), make it again (pyexp repro), or add the good file again (pyexp add)",
        )

    def was_quarantined(self, oid: Oid) -> bool:
        """Whether an object of this id was found bad and moved away before."""
        with suppress(OSError):
            return any(name.startswith(f"{oid.algo}-{oid.hex}-") for name in os.listdir(self.root / "corrupt"))
        return False

    def remember(self, oid: Oid, status: os.stat_result) -> None:
        """Notes that an object's file, with this status, holds what it should: for those who just wrote or linked it."""
        # Objects are never written to again and have an exact mtime of their own: believed at once.
        self._folder(oid.hex).put(oid.hex[2:], status, oid.hex.removesuffix(".dir"), written=True)

    def _folder(self, hex: str) -> Directory:
        """What the statcache knows of the objects that begin with the same two digits."""
        found = self._folders.get(hex[:2])
        if found is None:
            found = self._folders[hex[:2]] = self.statcache.directory(self.algo, f"{self.base}{os.sep}{hex[:2]}")
        return found

    # -- bytes in ----------------------------------------------------------------------------------------------------

    def put_bytes(self, oid: Oid, data: bytes) -> None:
        """Stores ``data`` as ``oid``; raises CorruptObject, and stores nothing, when they do not belong together."""
        path = self.path(oid)
        check_bytes(oid, data)
        with explained(path):
            self._put_data(oid, path, data)

    def put_from(self, oid: Oid, path: str) -> int:
        """Stores the file at ``path`` as ``oid``, and returns its size in bytes.

        Raises CorruptObject, and stores nothing, when it is another object.
        """
        return self._put(path, oid)[1].st_size

    def put_file(self, path: str, *, known: str | None = None) -> tuple[Oid, int]:
        """Stores a regular file: its id and size in bytes.

        ``known`` is its digest from an earlier look: if a good object of that name and size is here, the file is not
        read. Raises StoreError when the file cannot be read, is no regular file, or goes on changing.
        """
        if known is not None:
            with suppress(OSError):
                size = os.stat(path).st_size
                if self.reuse(Oid(self.algo, known), size):
                    return Oid(self.algo, known), size
        oid, status = self._put(path, None)
        return oid, status.st_size

    def put_observed(self, path: str, *, hint: str | None = None) -> tuple[Oid, os.stat_result]:
        """``put_file`` for callers that want the status the file had when it was read.

        ``hint`` is a digest the file may well still have: a large file is then compared before it is copied.
        """
        return self._put(path, None, hint)

    def reuse(self, oid: Oid, size: int | None) -> bool:
        """Whether a good object is here already; if so its mtime becomes now, so that gc sees it is in use.

        Good means verified, now or before, and of that size. A bad object is moved away.
        """
        path = self.path(oid)
        try:
            self.verify(oid)
            # A legacy object is any text that is the same but for its line ends.
            if size is not None and self._exact and os.lstat(path).st_size != size:
                return False
        except (OSError, MissingObject, CorruptObject):
            return False
        self._touch(path, oid)
        return True

    def _touch(self, path: str, oid: Oid) -> None:
        with suppress(OSError):  # somebody else's object in a shared cache
            stamp(path)
            self.remember(oid, os.lstat(path))

    def _put(self, path: str, expect: Oid | None, hint: str | None = None) -> tuple[Oid, os.stat_result]:
        """Hashes and stores a file; a file that changes meanwhile is looked at again, a few times."""
        for attempt in range(_ATTEMPTS):
            try:
                with explained(path):
                    fd, status = open_regular(path)
                    try:
                        if status.st_size <= SMALL_BYTES:
                            return self._take_small(fd, path, status, expect), status
                        if hint is not None and self._is_still(fd, path, status, hint):
                            return Oid(self.algo, hint), status
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
        digest = hash_bytes(data, self.algo)
        check_expected(path, digest, expect)
        oid = expect or Oid(self.algo, digest)
        final = self.path(oid)
        # Who expects an object knows that it is not here. If it came meanwhile, its bytes are replaced by the same ones.
        absent = expect is not None and self._exact
        if absent or not self._same_data(oid, final, data):
            self._write(oid, final, data)
        return oid

    def _put_data(self, oid: Oid, path: str, data: bytes) -> None:
        if not self._same_data(oid, path, data):
            self._write(oid, path, data)

    def _write(self, oid: Oid, path: str, data: bytes) -> None:
        temporary, fd = self._create(os.path.dirname(path))
        try:
            linking.write_all(fd, data)
            self._publish(fd, temporary, path, oid)
        except BaseException:
            discard(temporary)
            raise
        finally:
            os.close(fd)

    def _same_data(self, oid: Oid, path: str, data: bytes) -> bool:
        """Whether the object is here with just these bytes; a damaged one gives way."""
        try:
            fd, status = open_regular(path, NOFOLLOW)
        except FileNotFoundError:
            return False
        except (OSError, StoreError):
            self.quarantine(oid)
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
            self.remember(oid, os.fstat(fd))

    def _is_kept(self, oid: Oid) -> bool:
        """Decides on an object whose bytes are not those offered: False once a damaged one has been moved away.

        Raises StoreError for a sound one: two files share one hash, unless the hash is the one that ignores line ends.
        """
        try:
            found, _ = hash_file(self.path(oid), self.algo)
        except StoreError:
            found = None
        if found != oid.hex.removesuffix(".dir"):
            self.quarantine(oid)
            return False
        if self._exact:
            raise StoreError(
                f"two different files have the same {self.algo} hash: {oid.hex}",
                hint="use a stronger hash for this project: sha256",
            )
        return True

    def _is_still(self, fd: int, path: str, status: os.stat_result, hint: str) -> bool:
        """Whether an open file holds just what the object ``hint`` does, which is then in use again."""
        oid = Oid(self.algo, hint)
        if not self.has(oid):
            return False
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            digest, size = hash_stream(file, self.algo)
        check_unchanged(path, status, os.fstat(fd), size)
        os.lseek(fd, 0, os.SEEK_SET)
        return digest == hint and self.reuse(oid, size)

    def _take_large(self, fd: int, path: str, status: os.stat_result, expect: Oid | None) -> Oid:
        """Hashes and copies in one pass, or clones first and hashes the clone, which cannot change any more."""
        if expect is not None and self.reuse(expect, status.st_size):
            return expect
        temporary, target = self._create(self.base)
        try:
            if clone(fd, target):
                os.lseek(target, 0, os.SEEK_SET)
                with os.fdopen(os.dup(target), "rb", buffering=0) as file:
                    digest, size = hash_stream(file, self.algo)
            else:
                digest, size = self._copy(fd, target, status.st_size)
            check_unchanged(path, status, os.fstat(fd), size)
            check_expected(path, digest, expect)
            oid = expect or Oid(self.algo, digest)
            final = self.path(oid)
            if self._same_file(oid, final, temporary, size):
                discard(temporary)
                return oid
            os.makedirs(os.path.dirname(final), exist_ok=True)
            self._publish(target, temporary, final, oid)
        except BaseException:
            discard(temporary)
            raise
        finally:
            os.close(target)
        return oid

    def _copy(self, fd: int, target: int, size: int) -> tuple[str, int]:
        def write(piece: memoryview) -> None:
            linking.write_all(target, piece)

        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            if size < LARGE_BYTES:
                return hash_stream(file, self.algo, write)
            from pyexp.objects import behind  # threads and queues: for those who have large files

            with behind.written_behind(write) as later:
                return hash_stream(file, self.algo, later, buffers=behind.BEHIND + 1)

    def _same_file(self, oid: Oid, final: str, temporary: str, size: int) -> bool:
        try:
            status = os.lstat(final)
        except FileNotFoundError:
            return False
        if stat.S_ISREG(status.st_mode) and status.st_size == size and equal_files(final, temporary):
            self._touch(final, oid)
            return True
        return self._is_kept(oid)

    def _create(self, directory: str) -> tuple[str, int]:
        temporary = durable.temporary_name(directory)
        try:
            return temporary, linking.create(temporary, mode=MODE)
        except FileNotFoundError:
            os.makedirs(directory, exist_ok=True)
            self._touched.update((self.base, str(self.root)))
            return temporary, linking.create(temporary, mode=MODE)

    def _publish(self, fd: int, temporary: str, path: str, oid: Oid) -> None:
        stamp(temporary, fd)
        if self._fsync == "each":
            os.fsync(fd)
        os.replace(temporary, path)
        status = os.fstat(fd)
        if stat.S_IMODE(status.st_mode) != MODE and hasattr(os, "fchmod"):  # a umask that is stricter than most
            os.fchmod(fd, MODE)
            status = os.fstat(fd)
        self.remember(oid, status)
        directory = os.path.dirname(path)
        if self._fsync == "each":
            durable.sync_directory(directory)
        elif self._fsync == "batch":
            self._new.append(path)
            self._touched.add(directory)

    def adopt(self, fd: int, temporary: str, oid: Oid) -> None:
        """Gives a temporary file in ``base``, which the caller wrote and hashed, the object's name."""
        final = self.path(oid)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        self._publish(fd, temporary, final, oid)

    def flush(self) -> None:
        """Returns when everything stored so far would survive a power cut (see the module's text)."""
        fresh, self._new = self._new, []
        directories, self._touched = self._touched, set()
        if self._fsync == "none" or not (fresh or directories):
            return
        with explained(self.base):
            if len(fresh) < _FLUSH_ALL or not flush_file_system(self.base):
                for path in fresh:
                    flush_file(path)
            for directory in sorted(directories, reverse=True):
                with suppress(FileNotFoundError):
                    durable.sync_directory(directory)

    def remove(self, oid: Oid) -> None:
        """Removes an object; one that is not here is no error."""
        self._trees.pop(oid.hex, None)
        path = self.path(oid)
        with explained(path), suppress(FileNotFoundError):
            os.unlink(path)

    def remove_unused(self, oid: Oid, since: float | None) -> bool:
        """Removes an object unless it was stored or used at ``since`` (seconds since the epoch) or later."""
        path = self.path(oid)
        try:
            if since is not None and os.lstat(path).st_mtime >= since:
                return False
            os.unlink(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"object {oid} cannot be removed: {error.strerror}", hint=f"look at {path}") from error
        self._trees.pop(oid.hex, None)
        return True

    # -- directories -------------------------------------------------------------------------------------------------

    def put_tree(self, tree: Tree) -> Entry:
        """Stores a manifest (its members must be here already) and returns its entry."""
        entry, data = trees.identify(tree)
        self.put_bytes(entry.oid, data)
        return entry

    def read_tree(self, oid: Oid) -> Tree:
        """The manifest ``oid``; raises MissingObject, or CorruptObject when its bytes or what they say is unsound."""
        if not oid.is_dir:
            raise not_a_tree(oid)
        remembered = self._trees.get(oid.hex)
        if remembered is not None and self.has(oid):
            return remembered
        data = self.read(oid)
        try:
            tree = trees.decode(data, self.algo)
        except CorruptObject as error:
            raise CorruptObject(f"object {oid}: {error.message}", hint=error.hint) from error
        if len(self._trees) >= 8:
            self._trees.clear()
        self._trees[oid.hex] = tree
        return tree

    def complete(self, oid: Oid) -> bool:
        """Whether an object is here and, if it is a manifest, everything that it lists.

        Found out once for large directories, and not again as long as no object comes or goes. Raises CorruptObject
        as ``read_tree`` does.
        """
        if not oid.is_dir:
            return self.has(oid)
        try:
            status = os.lstat(self.path(oid))
            known = self.statcache.directory(self.algo, f"{self.base}{os.sep}complete")
            mark = self._mark() if status.st_size > WORTH_MARKING else None
            if mark is not None and known.get(oid.hex, status) == mark:
                return True
            tree = self.read_tree(oid)
        except (FileNotFoundError, NotADirectoryError, MissingObject):
            return False
        if self.missing({Oid(tree.algo, file[0]) for file in tree.files.values()}):
            return False
        if mark is not None:
            known.put(oid.hex, status, mark)
        return True

    def _mark(self) -> str | None:
        """A digest of the directories' statuses, which change when an object comes or goes; None while that is recent."""
        statuses = [os.stat(directory) for directory in self.fanout()]
        return hash_bytes(b"".join(map(signature, statuses)), self.algo) if all(map(is_settled, statuses)) else None

    def load(self, entry: Entry) -> Content:
        """What an entry stands for, with its manifest when it is a directory; raises as ``read_tree`` does."""
        if entry.oid.is_dir:
            return Content(entry, self.read_tree(entry.oid))
        if not self.has(entry.oid):
            raise absent(entry.oid)
        return Content(entry)
