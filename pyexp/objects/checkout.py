"""Makes a path hold what an entry says: decide (``plan``), refuse what would destroy unsaved bytes, then act.

Every file is written under a temporary name in its own directory and renamed, so that at any instant a file is the old
one or the new one. Only verified objects are brought. A check-out that was interrupted is completed by the next.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, UnsafeCheckout
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Content, Oid
from pyexp.objects import build
from pyexp.objects import links as linking
from pyexp.objects import tree as trees
from pyexp.objects.hashes import NOFOLLOW, OPEN_FLAGS
from pyexp.objects.intake import explained
from pyexp.objects.places import Place, Places, remove_empty, sweep
from pyexp.objects.scan import scan
from pyexp.objects.statcache import Directory, StatCache, stamp
from pyexp.objects.store import SMALL_BYTES, LocalStore

REPORT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; ``relpath`` is '' for an output that is a file itself. ``oid`` is what will be there, or goes."""

    kind: Literal["create", "replace", "delete", "chmod"]
    relpath: str
    oid: Oid | None = None
    isexec: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """How many files were added, modified (bytes or executable bit) and deleted."""

    added: int = 0
    modified: int = 0
    deleted: int = 0


# -- decide ----------------------------------------------------------------------------------------------------------


def plan(want: Content | None, have: Content | None) -> tuple[Action, ...]:
    """What leads from ``have`` to ``want``: deletions first, so that their places are free for what comes.

    The executable bit is only ever added to a file of its own (DVC records it for these alone); below a directory it
    follows the manifest where the manifest records it, that is not in DVC's.
    """
    wanted, present = _files(want), _files(have)
    modes = want is not None and (want.tree is None or trees.records_modes(want.tree.algo))
    both_ways = want is not None and want.tree is not None
    actions = [Action("delete", path, oid) for path, (oid, _) in present.items() if path not in wanted]
    for path, (oid, isexec) in wanted.items():
        there = present.get(path)
        if there is None:
            actions.append(Action("create", path, oid, isexec))
        elif there[0] != oid:
            actions.append(Action("replace", path, oid, isexec))
        elif modes and there[1] != isexec and (isexec or both_ways):
            actions.append(Action("chmod", path, oid, isexec))
    return tuple(actions)


def _files(content: Content | None) -> Mapping[str, tuple[Oid, bool]]:
    if content is None:
        return {}
    if content.tree is None:
        return {"": (content.entry.oid, content.entry.isexec)}
    algo = content.tree.algo
    return {path: (Oid(algo, hex), isexec) for path, (hex, _, isexec) in content.tree.files.items()}


def unsaved(actions: Iterable[Action], have: Content | None, store: LocalStore) -> list[str]:
    """Relpaths that the actions would overwrite or delete and whose bytes the store does not hold, verified."""
    present = _files(have)
    going = {a.relpath: present[a.relpath][0] for a in actions if a.kind in ("replace", "delete")}
    lost = store.missing(set(going.values()))
    for oid in set(going.values()) - lost:
        try:
            store.verify(oid)
        except (MissingObject, CorruptObject):
            lost.add(oid)
    return [relpath for relpath, oid in going.items() if oid in lost]


def obstacles(path: str, actions: Sequence[Action]) -> list[str]:
    """Relpaths of things in the way of what is to be created that no observation shows and that would be lost.

    These are ignored files, links to directories, and directories with such things in them.
    """
    going = {action.relpath for action in actions if action.kind == "delete"}
    names: dict[str, set[str] | None] = {}
    blocked: dict[str, None] = {}
    for action in actions:
        if action.kind != "create":
            continue
        directory, _, name = action.relpath.rpartition("/")
        if action.relpath and name not in (_listing(path, directory, names, going, blocked) or ()):
            continue
        place = f"{path}/{action.relpath}" if action.relpath else path
        if action.relpath not in going and not _harmless(place, action.relpath, going):
            blocked[action.relpath] = None
    return list(blocked)


def _listing(
    path: str, directory: str, names: dict[str, set[str] | None], going: set[str], blocked: dict[str, None]
) -> set[str] | None:
    """The names in a directory below ``path``, None when it is not there yet; notes what blocks the way to it."""
    if directory not in names:
        above, _, name = directory.rpartition("/")
        names[directory] = None
        place = f"{path}/{directory}" if directory else path
        if not directory or name in (_listing(path, above, names, going, blocked) or ()):
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.lstat(place).st_mode):
                    names[directory] = set(os.listdir(place))
                elif directory not in going and ("" not in going or directory):
                    blocked[directory] = None
    return names[directory]


def _harmless(place: str, relpath: str, going: set[str]) -> bool:
    """Whether nothing is lost with what is at ``place``: nothing, a link to nothing, or only files that go anyway."""
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISLNK(mode):
        return not os.path.exists(place)
    if not stat.S_ISDIR(mode):
        return False
    for directory, below, files in os.walk(place):
        inside = os.path.relpath(directory, place).replace(os.sep, "/")
        prefix = "/".join(part for part in (relpath, "" if inside == "." else inside) if part)
        below_it = (f"{prefix}/{name}" if prefix else name for name in files if not name.startswith(durable.TMP_PREFIX))
        if any(path not in going for path in below_it):
            return False
        if any(os.path.islink(os.path.join(directory, name)) for name in below):
            return False
    return True


# -- act -------------------------------------------------------------------------------------------------------------


def checkout(
    path: str,
    want: Content | None,
    *,
    root: str,
    store: LocalStore,
    statcache: StatCache | None = None,
    ignore: Callable[[str, bool], bool] | None = None,
    links: tuple[str, ...] = ("reflink", "copy"),
    force: bool = False,
    relink: bool = False,
    on_event: OnEvent = null,
) -> Changes:
    """Makes ``path``, inside ``root``, hold ``want`` (None: nothing); returns what that changed.

    ``links`` are the ways to bring a file, in order of preference. ``relink`` brings unchanged files anew. Files that
    ``ignore`` names are left alone.

    Before anything is touched: raises UnsafeCheckout when bytes that are saved nowhere would go (unless ``force``), and
    MissingObject when the store lacks something. A damaged object is moved away and never brought: CorruptObject, once
    everything else is in place. StoreError for a way that leads out of ``root`` and for a full disk.
    """
    statcache = statcache if statcache is not None else StatCache(None)
    places = Places(root, path)
    try:
        have, litter = _observe(path, store.algo, statcache, ignore, on_event)
        actions = plan(want, have)
        linked = _is_link_in_the_way(path, want, actions)
        if linked:  # what is behind a link to a directory is not ours to change: the link itself goes
            have = None
            actions = plan(want, None)
        if not force:
            _refuse(path, root, actions, have, store, linked and want is not None and os.path.exists(path))
        _require(path, actions, store)
        again = _unchanged(want, actions) if relink else ()
        if not actions and not again and not linked and _is_settled(want, have):
            return Changes()
        with explained(path):
            _tidy(path, litter)
            if linked:
                place = places.get("")
                os.unlink(place.prefix + os.path.basename(path), dir_fd=place.fd)
            writer = _Writer(path, places, store, statcache, links, force, on_event)
            return writer.run(actions, again, want)
    finally:
        places.close()


def _observe(
    path: str, algo: str, statcache: StatCache, ignore: Callable[[str, bool], bool] | None, on_event: OnEvent
) -> tuple[Content | None, list[str]]:
    """What is at ``path``, and temporary files found on the way."""
    if not os.path.isdir(path):
        return build.observe(path, algo=algo, statcache=statcache, on_event=on_event), []
    found = scan(path, ignore)
    return build.observe_scan(found, algo=algo, statcache=statcache, on_event=on_event), found.litter


def _is_link_in_the_way(path: str, want: Content | None, actions: Sequence[Action]) -> bool:
    """Whether ``path`` is a link to nothing, or one to a directory that would have to change."""
    if not os.path.islink(path):
        return False
    return not os.path.exists(path) or (os.path.isdir(path) and (want is None or bool(actions)))


def _is_settled(want: Content | None, have: Content | None) -> bool:
    """Whether, without any action, what is there is what should be: an empty directory is something, too."""
    if want is None or have is None:
        return want is have
    return (want.tree is None) == (have.tree is None)


def _tidy(path: str, litter: Iterable[str]) -> None:
    """Removes what an interrupted check-out has left, so that it keeps no directory from being removed."""
    for relpath in litter:
        directory, name = os.path.split(os.path.join(path, relpath))
        sweep(directory, (name,))
    above = os.path.dirname(path)
    with suppress(FileNotFoundError):
        sweep(above, os.listdir(above))


def _refuse(
    path: str, root: str, actions: Sequence[Action], have: Content | None, store: LocalStore, linked: bool
) -> None:
    lost = [""] if linked else [*unsaved(actions, have, store), *obstacles(path, actions)]
    if lost:
        top = os.path.relpath(os.path.abspath(path), os.path.abspath(root)).replace(os.sep, "/")
        shown = [f"{top}/{relpath}" if relpath else top for relpath in lost]
        raise UnsafeCheckout(
            f"these would be overwritten or deleted, and are saved nowhere: {_some(shown)}",
            paths=shown,
            hint="keep them: pyexp commit (or pyexp add); or give them up: --force",
        )


def _require(path: str, actions: Sequence[Action], store: LocalStore) -> None:
    needed = {a.oid: a.relpath for a in actions if a.kind in ("create", "replace") and a.oid is not None}
    absent = store.missing(needed)
    if absent:
        names = sorted(needed[oid] or os.path.basename(path) for oid in absent)
        raise MissingObject(
            f"the cache lacks {len(names)} of the files of '{path}': {_some(names)}",
            hint="fetch them (pyexp pull), or make them again (pyexp repro)",
        )


def _unchanged(want: Content | None, actions: Sequence[Action]) -> tuple[Action, ...]:
    changed = {action.relpath for action in actions}
    files = _files(want).items()
    return tuple(Action("replace", path, oid, isexec) for path, (oid, isexec) in files if path not in changed)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class _Writer:
    """Carries out one plan; decides nothing."""

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
                f"{len(self._damaged)} damaged objects were moved away; not checked out: {_some(self._damaged)}",
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
            status = self._replace(place, name, action)
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
        status = os.stat(place.prefix + name, dir_fd=place.fd)
        if shared == "hardlink":  # the object has got a link more, which changes its ctime
            self._store.remember(self._store.path(action.oid), status, action.oid.hex)
        return status

    def _fill(self, place: Place, temporary: str, action: Action) -> tuple[int | None, str]:
        """Makes the temporary file: an open descriptor when it is a file of its own, and the way it was made."""
        assert action.oid is not None
        types = self._writable if action.isexec else self._types
        devices = self._devices_of(place)
        source = self._store.path(action.oid)
        first = next((kind for kind in types if linking.can(kind, devices)), None)
        if first == "copy" and os.lstat(source).st_size <= SMALL_BYTES:
            data = self._store.read(action.oid)
            return _finished(linking.create(temporary, dir_fd=place.fd), temporary, action.isexec, data), first
        self._store.verify(action.oid)
        used = linking.link(source, temporary, types, dir_fd=place.fd, devices=devices)
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
