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
from pyexp.model import Oid, Tree
from pyexp.objects import tree as trees
from pyexp.objects.contract import Store, absent, not_a_tree
from pyexp.objects.fileops import explained
from pyexp.objects.hashes import (
    DIGEST_BYTES,
    NOFOLLOW,
    check_bytes,
    check_oid,
    hash_bytes,
    hash_file,
    kind,
    open_regular,
    read_whole,
)
from pyexp.objects.intake import MODE, SMALL_BYTES, Intake
from pyexp.objects.memory import MemoryStore
from pyexp.objects.statcache import Directory, StatCache, is_settled, signature, stamp

__all__ = ["MODE", "LocalStore", "MemoryStore", "Store"]

# Manifests of this size list some hundred files: from there on a look at the directories alone is quicker.
WORTH_MARKING = 1 << 15
_FANOUT = re.compile(r"[0-9a-f]{2}")


def _worth_listing(directory: str, wanted: int) -> bool:
    """Whether reading a directory costs less than ``wanted`` stats; most file systems' directories grow by the name."""
    try:
        return os.stat(directory).st_size <= max(4096, wanted * 500)
    except OSError:
        return False


class LocalStore(Store):
    """Objects of one algorithm below a cache directory: ``files/<algo>/aa/bb…``, or ``aa/bb…`` (``legacy``).

    Makes directories when it first writes. Safe to share between threads and processes. ``statcache`` remembers which
    objects were verified; ``links`` are the ways an object may be brought into a workspace, for callers that ask.
    ``dir_mode`` are the permissions of new directories (default: what the umask leaves).
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
        dir_mode: int | None = None,
    ) -> None:
        if algo not in DIGEST_BYTES:
            raise StoreError(f"unknown hash algorithm {algo!r}", hint=f"known: {', '.join(DIGEST_BYTES)}")
        self.root = Path(root)
        self.algo = algo
        self.links = links
        self.dir_mode = dir_mode
        self.statcache = statcache if statcache is not None else StatCache(None)
        self.base = os.path.abspath(self.root if layout == "legacy" else self.root / "files" / algo)
        # Whether the same hash means the same bytes: DVC 2's leaves line ends out.
        self.exact = algo != "md5-dos2unix"
        self._intake = Intake(self, fsync)
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
        except StoreError as error:  # what cannot be read now (too many open files, say) is not damaged
            raise StoreError(f"object {oid}: {error}", hint=error.hint or "look at its permissions") from error
        if found != digest:
            raise self.quarantine(oid)
        folder.put(oid.hex[2:], status, digest)

    def _unreadable(self, oid: Oid, error: Exception) -> StoreError:
        if isinstance(error, OSError) and not os.path.islink(self.path(oid)):
            why = f"'{self.path(oid)}' cannot be read: {error.strerror}"
            return StoreError(f"object {oid}: {why}", hint="look at its permissions")
        return self.quarantine(oid, "is not a regular file")

    def quarantine(self, oid: Oid, why: str = "does not hold the bytes its name says") -> CorruptObject:
        """Moves a bad object to ``<root>/corrupt``, as far as that can be done; returns the error to raise."""
        place = self.root / "corrupt"
        where = "and could not be moved away"
        # Behind a link out of the cache it may well be sound: an object of another kind, in somebody else's.
        if self.holds(os.path.dirname(self.path(oid))) and not place.is_symlink():
            with suppress(OSError):
                durable.make_directories(place, self.dir_mode)
                os.replace(self.path(oid), place / f"{oid.algo}-{oid.hex}-{time.time_ns():x}")
                where = f"and was moved to {place}"
        self._trees.pop(oid.hex, None)
        return CorruptObject(
            f"object {oid} {why}, {where}",
            hint="fetch it again (pyexp pull), make it again (pyexp repro), or add the good file again (pyexp add)",
        )

    def holds(self, directory: str) -> bool:
        """Whether a directory is in the cache itself, and not behind a link that leads out of it."""
        root = os.path.realpath(self.root)
        return f"{os.path.realpath(directory)}{os.sep}".startswith(f"{root.rstrip(os.sep)}{os.sep}")

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
            self._intake.data(oid, path, data)

    def put_from(self, oid: Oid, path: str) -> int:
        """Stores the file at ``path`` as ``oid``, and returns its size in bytes.

        Raises CorruptObject, and stores nothing, when it is another object.
        """
        return self._intake.file(path, oid)[1].st_size

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
        oid, status = self._intake.file(path)
        return oid, status.st_size

    def put_observed(self, path: str, *, hint: str | None = None) -> tuple[Oid, os.stat_result]:
        """``put_file`` for callers that want the status the file had when it was read.

        ``hint`` is a digest the file may well still have: a large file is then compared before it is copied.
        """
        return self._intake.file(path, hint=hint)

    def reuse(self, oid: Oid, size: int | None) -> bool:
        """Whether a good object is here already; if so its mtime becomes now, so that gc sees it is in use.

        Good means verified, now or before, and of that size. A bad object is moved away.
        """
        path = self.path(oid)
        try:
            self.verify(oid)
            # A legacy object is any text that is the same but for its line ends.
            if size is not None and self.exact and os.lstat(path).st_size != size:
                return False
        except (OSError, MissingObject, CorruptObject):
            return False
        self.touch(path, oid)
        return True

    def touch(self, path: str, oid: Oid) -> None:
        """Makes the mtime of an object that is here, and sound, now."""
        with suppress(OSError):  # somebody else's object in a shared cache
            stamp(path)
            self.remember(oid, os.lstat(path))

    def adopt(self, fd: int, temporary: str, oid: Oid) -> None:
        """Gives a temporary file in ``base``, which the caller wrote and hashed, the object's name."""
        final = self.path(oid)
        durable.make_directories(os.path.dirname(final), self.dir_mode)
        self._intake.publish(fd, temporary, final, oid)

    def flush(self) -> None:
        """Returns when everything stored so far would survive a power cut (see the module's text)."""
        self._intake.flush()

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
