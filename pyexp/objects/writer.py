"""The hands of a check-out: files written beside their places and renamed, directories made and removed."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress

from pyexp import durable
from pyexp.errors import CorruptObject, UnsafeCheckout
from pyexp.events import OnEvent, Progress
from pyexp.model import Content, Oid
from pyexp.objects import links as linking
from pyexp.objects.actions import Action, Changes, some
from pyexp.objects.hashes import NOFOLLOW, OPEN_FLAGS
from pyexp.objects.places import Place, Places, remove_empty
from pyexp.objects.statcache import Directory, StatCache, stamp
from pyexp.objects.store import LocalStore

REPORT_SECONDS = 0.1


class Writer:
    """Carries out one plan in one output; decides nothing."""

    def __init__(
        self,
        path: str,
        places: Places,
        store: LocalStore,
        statcache: StatCache,
        types: tuple[str, ...],
        force: bool,
        on_event: OnEvent,
    ) -> None:
        self._path = path
        self._name = os.path.basename(path)
        self._places = places
        self._store = store
        self._statcache = statcache
        self._types = types
        self._writable = tuple(kind for kind in types if kind not in linking.READ_ONLY) or ("copy",)
        self._force = force
        self._on_event = on_event
        self._devices: tuple[int, int] | None = None
        self._damaged: list[str] = []
        self._reported = time.monotonic()

    def run(self, actions: Sequence[Action], again: Sequence[Action], want: Content | None) -> Changes:
        """Does what is planned, then brings ``again`` anew; raises CorruptObject at the end for damaged objects."""
        is_tree = want is not None and want.tree is not None
        deletes = [action for action in actions if action.kind == "delete"]
        others = [*(action for action in actions if action.kind != "delete"), *again]
        for action in deletes:
            self._delete(action.relpath)
        self._prune(deletes, keep_top=is_tree)
        if want is None:
            remove_empty(self._path)
        if is_tree:
            self._places.get(self._name, make=True, force=self._force)
        for number, action in enumerate(others):
            self._report(number, len(others))
            self._bring(action)
        if self._damaged:
            raise CorruptObject(
                f"{len(self._damaged)} damaged objects were moved away; not checked out: {some(self._damaged)}",
                hint="fetch them again (pyexp pull), or make them again (pyexp repro)",
            )
        count = [action.kind for action in actions].count
        return Changes(count("create"), count("replace") + count("chmod"), count("delete"))

    def _report(self, number: int, total: int) -> None:
        now = time.monotonic()
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            self._on_event(Progress("checking out", number, total, "files"))

    def _split(self, relpath: str) -> tuple[str, str]:
        """The directory, below the parent of the output, and the name of one of its files."""
        return ("", self._name) if not relpath else _split_last(f"{self._name}/{relpath}")

    def _delete(self, relpath: str) -> None:
        directory, name = self._split(relpath)
        with suppress(FileNotFoundError):
            place = self._places.get(directory)
            os.unlink(place.prefix + name, dir_fd=place.fd)

    def _prune(self, deletes: Sequence[Action], *, keep_top: bool) -> None:
        """Removes directories that deletions have left empty, deepest first."""
        emptied: set[str] = set()
        for action in deletes:
            directory = self._split(action.relpath)[0]
            while directory and directory not in emptied:
                emptied.add(directory)
                directory = directory.rpartition("/")[0]
        for directory in sorted(emptied, key=lambda directory: -directory.count("/")):
            if keep_top and directory == self._name:
                continue
            above, name = _split_last(directory)
            with suppress(OSError):
                place = self._places.get(above)
                os.rmdir(place.prefix + name, dir_fd=place.fd)

    def _bring(self, action: Action) -> None:
        assert action.oid is not None
        directory, name = self._split(action.relpath)
        place = self._places.get(directory, make=True, force=self._force)
        folder = self._statcache.directory(action.oid.algo, self._folder_path(action.relpath))
        if action.kind == "chmod" and self._chmod(place, name, folder, action):
            return
        try:
            status = self._link(place, name, action) or self._replace(place, name, action)
        except CorruptObject:
            self._damaged.append(action.relpath or self._name)
            return
        folder.put(name, status, action.oid.hex, written=True)

    def _folder_path(self, relpath: str) -> str:
        """The directory of a file in the spelling that ``build`` looks it up by."""
        if not relpath:
            return os.path.dirname(self._path)
        directory = relpath.rpartition("/")[0]
        return os.path.join(self._path, *directory.split("/")) if directory else self._path

    def _chmod(self, place: Place, name: str, folder: Directory, action: Action) -> bool:
        """Changes the executable bit of a file of the user's own; False for one that is the object itself."""
        assert action.oid is not None
        flags = OPEN_FLAGS | NOFOLLOW
        try:
            fd = os.open(place.prefix + name, flags, dir_fd=place.fd)
        except OSError:
            return False
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode) or before.st_nlink > 1:
                return False
            mode = stat.S_IMODE(before.st_mode)
            os.fchmod(fd, mode | stat.S_IXUSR if action.isexec else mode & ~0o111)
            # Only the ctime is new: what was believed of the bytes before can be believed still.
            folder.put(name, os.fstat(fd), action.oid.hex, written=folder.get(name, before) is not None)
        finally:
            os.close(fd)
        return True

    def _link(self, place: Place, name: str, action: Action) -> os.stat_result | None:
        """Makes a link where nothing is: that is done whole or not at all, without a name in between.

        None, and nothing made, when something is there already or links are not what is wanted here.
        """
        assert action.oid is not None
        first = self._first(place, action)
        if action.kind != "create" or first not in linking.READ_ONLY:
            return None
        self._store.verify(action.oid)
        try:
            linking.LINKERS[first](self._store.path(action.oid), place.prefix + name, place.fd)
        except OSError:  # said by the way of many steps, if it is still so
            return None
        return self._linked(place, name, action.oid, first)

    def _linked(self, place: Place, name: str, oid: Oid, kind: str) -> os.stat_result:
        status = os.stat(place.prefix + name, dir_fd=place.fd)
        if kind == "hardlink":  # the object has got a link more, which changes its ctime
            self._store.remember(oid, status)
        return status

    def _first(self, place: Place, action: Action) -> str | None:
        """The way to bring a file that will be tried first."""
        devices = self._devices_of(place)
        types = self._writable if action.isexec else self._types
        return next((kind for kind in types if linking.can(kind, devices)), None)

    def _replace(self, place: Place, name: str, action: Action) -> os.stat_result:
        """Writes a file beside its place and renames it there; returns its status."""
        assert action.oid is not None
        temporary = durable.temporary_name(place.prefix)
        try:
            fd, shared = self._fill(place, temporary, action)
            try:
                self._rename(place, temporary, name, action.relpath)
                if fd is not None:
                    return os.fstat(fd)
            finally:
                if fd is not None:
                    os.close(fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=place.fd)
            raise
        with suppress(FileNotFoundError):  # renaming one name of a file over another of its names leaves both
            os.unlink(temporary, dir_fd=place.fd)
        return self._linked(place, name, action.oid, shared)

    def _fill(self, place: Place, temporary: str, action: Action) -> tuple[int | None, str]:
        """Makes the temporary file: an open descriptor when it is a file of its own, and the way it was made."""
        assert action.oid is not None
        if self._first(place, action) == "copy":
            data = self._store.read_small(action.oid)
            if data is not None:
                return _finished(linking.create(temporary, dir_fd=place.fd), temporary, action.isexec, data), "copy"
        self._store.verify(action.oid)
        types = self._writable if action.isexec else self._types
        source = self._store.path(action.oid)
        used = linking.link(source, temporary, types, dir_fd=place.fd, devices=self._devices_of(place))
        if used in linking.READ_ONLY:
            return None, used
        return _finished(os.open(temporary, os.O_RDWR, dir_fd=place.fd), temporary, action.isexec, b""), used

    def _devices_of(self, place: Place) -> tuple[int, int]:
        """The devices of the store and of a directory: looked up once, as a check-out hardly ever spans several."""
        if self._devices is None:
            here = os.stat(place.fd if place.fd is not None else place.prefix).st_dev
            self._devices = (os.stat(self._store.base).st_dev, here)
        return self._devices

    def _rename(self, place: Place, temporary: str, name: str, relpath: str) -> None:
        target = place.prefix + name
        try:
            os.replace(temporary, target, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        except (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError):
            where = f"{self._path}/{relpath}" if relpath else self._path
            if not os.path.isdir(where) or os.path.islink(where):
                raise
            if not remove_empty(where):
                raise UnsafeCheckout(
                    f"'{where}' is a directory that holds other files", paths=[where], hint="move it away"
                ) from None
            os.replace(temporary, target, src_dir_fd=place.fd, dst_dir_fd=place.fd)


def _split_last(relpath: str) -> tuple[str, str]:
    directory, _, name = relpath.rpartition("/")
    return directory, name


def _finished(fd: int, temporary: str, isexec: bool, data: bytes) -> int:
    """Writes what is to be written and gives the file its mode and an exact time of its own."""
    try:
        linking.write_all(fd, data)
        if isexec:
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) | stat.S_IXUSR)
        stamp(temporary, fd)
    except BaseException:
        os.close(fd)
        raise
    return fd
