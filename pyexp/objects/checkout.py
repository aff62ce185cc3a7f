"""Makes a path hold what an entry says: plan (pure), refuse what would destroy unsaved bytes, then apply.

Every file is brought under a temporary name beside its place and renamed there. Parents are opened one component at a
time without following links, so that nothing is ever written outside the project.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pyexp import durable
from pyexp.errors import MissingObject, UnsafeCheckout
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Content, Oid
from pyexp.objects import build, links
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore

SHARED_LINKS = ("hardlink", "symlink")


@dataclass(frozen=True, slots=True)
class Action:
    """One file to bring, take away or make executable; ``relpath`` is '' for an output that is a file itself."""

    kind: Literal["create", "replace", "delete", "chmod"]
    relpath: str
    oid: Oid | None = None
    isexec: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """How many files were added, modified and deleted."""

    added: int = 0
    modified: int = 0
    deleted: int = 0


def _files(content: Content | None) -> dict[str, tuple[Oid, bool]]:
    if content is None:
        return {}
    if content.tree is None:
        return {"": (content.entry.oid, content.entry.isexec)}
    algo = content.tree.algo
    return {path: (Oid(algo, file.hex), file.isexec) for path, file in content.tree.files.items()}


def plan(want: Content | None, have: Content | None) -> tuple[Action, ...]:
    """The actions that lead from what is there to what should be; deletions first, so that paths become free."""
    wanted, present = _files(want), _files(have)
    actions = [Action("delete", path, oid) for path, (oid, _) in present.items() if path not in wanted]
    for path, (oid, isexec) in wanted.items():
        if path not in present:
            actions.append(Action("create", path, oid, isexec))
        elif present[path][0] != oid:
            actions.append(Action("replace", path, oid, isexec))
        elif isexec and not present[path][1]:
            actions.append(Action("chmod", path, oid, isexec))
    return tuple(actions)


def unsaved(actions: Sequence[Action], have: Content | None, store: LocalStore) -> list[str]:
    """The files that the actions would overwrite or delete and whose bytes the store does not have."""
    present = _files(have)
    going = {action.relpath: present[action.relpath][0] for action in actions if action.kind in ("replace", "delete")}
    absent = store.missing(set(going.values()))
    return [path for path, oid in going.items() if oid in absent]


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
    """Makes ``path``, inside ``root``, hold ``want`` (None: nothing).

    Raises UnsafeCheckout (unless ``force``) or MissingObject, with the paths, before anything is touched; CorruptObject
    for an object that is not what its name says, which is set aside and never brought.
    """
    statcache = statcache or StatCache(None)
    if os.path.islink(path) and not os.path.exists(path):
        _delete(root, path)
    have = build.observe(path, algo=store.algo, statcache=statcache, ignore=ignore, on_event=on_event)
    actions = list(plan(want, have))
    if relink:
        present = {action.relpath for action in actions}
        actions += [
            Action("replace", relpath, oid, isexec)
            for relpath, (oid, isexec) in _files(want).items()
            if relpath not in present
        ]
    if not force:
        lost = [os.path.join(path, relpath) if relpath else path for relpath in unsaved(actions, have, store)]
        if lost:
            raise UnsafeCheckout(
                f"these files would go, and are saved nowhere: {', '.join(lost[:5])}",
                paths=lost,
                hint="keep them: pyexp commit; or give them up: --force",
            )
    needed = {action.oid for action in actions if action.kind in ("create", "replace") and action.oid is not None}
    absent = store.missing(needed)
    if absent:
        raise MissingObject(f"{len(absent)} objects of '{path}' are not in the cache", hint="fetch them: pyexp pull")
    return _apply(_Target(path, root, store, statcache, links), actions, want, on_event)


def _apply(target: _Target, actions: Sequence[Action], want: Content | None, on_event: OnEvent) -> Changes:
    counts = {"create": 0, "replace": 0, "delete": 0, "chmod": 0}
    emptied: set[str] = set()
    for number, action in enumerate(actions):
        place = os.path.join(target.path, action.relpath) if action.relpath else target.path
        if action.kind == "delete":
            _delete(target.root, place)
            emptied.add(os.path.dirname(place))
        elif action.kind == "chmod":
            os.chmod(place, stat.S_IMODE(os.stat(place).st_mode) | stat.S_IXUSR)
        else:
            assert action.oid is not None
            target.bring(place, action.oid, action.isexec)
        counts[action.kind] += 1
        if number % 256 == 0:
            on_event(Progress("Checking out", number, len(actions), "files"))
    _prune(emptied, target.path, keep_top=want is not None and want.tree is not None)
    if want is not None and want.tree is not None and not want.tree.files:
        _parent(target.root, os.path.join(target.path, "x"))
    return Changes(counts["create"], counts["replace"] + counts["chmod"], counts["delete"])


class _Target:
    """Where files are brought to, and how."""

    def __init__(self, path: str, root: str, store: LocalStore, statcache: StatCache, types: tuple[str, ...]) -> None:
        self.path = path
        self.root = root
        self._store = store
        self._statcache = statcache
        self._types = types
        self._known: set[str] = set()
        self._past_ns = time.time_ns() - 1_000_000_000
        mask = os.umask(0)
        os.umask(mask)
        self._mode = 0o666 & ~mask

    def bring(self, place: str, oid: Oid, isexec: bool) -> None:
        """Brings one object to its place."""
        self._store.verify(oid)
        directory = os.path.dirname(place)
        if directory not in self._known:
            _parent(self.root, place)
            self._known.add(directory)
        if os.path.isdir(place) and not os.path.islink(place):
            os.rmdir(place)  # only an empty directory can be here: its files have been deleted before
        temporary = durable.temporary_name(directory)
        try:
            used = links.link(self._store.path(oid), temporary, self._types)
            if used not in SHARED_LINKS:
                os.chmod(temporary, self._mode | (stat.S_IXUSR if isexec else 0))
                # A time in the past: a change right after this gets another one, and is seen.
                os.utime(temporary, ns=(self._past_ns, self._past_ns))
            os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if os.path.lexists(temporary):
            os.unlink(temporary)  # renaming one hardlink over another of the same file leaves both
        self._statcache.put(oid.algo, place, os.stat(place), oid.hex)


def _parent(root: str, place: str) -> None:
    """Makes the directories between ``root`` and ``place``; a link or file in the way is replaced, never followed."""
    relative = os.path.relpath(os.path.dirname(place), root)
    if relative.startswith(os.pardir):
        raise UnsafeCheckout(f"'{place}' is outside {root}", paths=[place])
    if relative == os.curdir:
        return
    if not hasattr(os, "O_NOFOLLOW") or os.mkdir not in os.supports_dir_fd:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in relative.split(os.sep):
            try:
                below = os.open(part, flags, dir_fd=fd)
            except OSError:
                with suppress(FileNotFoundError):
                    found = os.stat(part, dir_fd=fd, follow_symlinks=False)
                    if not stat.S_ISLNK(found.st_mode):
                        raise UnsafeCheckout(
                            f"'{place}': '{part}' is not a directory", paths=[place], hint="move it away"
                        ) from None
                    os.unlink(part, dir_fd=fd)
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
                below = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = below
    finally:
        os.close(fd)


def _delete(root: str, place: str) -> None:
    """Removes a file, reached through real directories only."""
    top = os.path.realpath(root)
    parent = os.path.realpath(os.path.dirname(place))
    if parent != top and not parent.startswith(top + os.sep):
        raise UnsafeCheckout(
            f"'{place}' is outside {root}", paths=[place], hint="a link on the way leads out of the project"
        )
    with suppress(FileNotFoundError):
        os.unlink(place)


def _prune(directories: set[str], top: str, *, keep_top: bool) -> None:
    """Removes directories that deletions have left empty, up to ``top``."""
    for directory in sorted(directories, key=len, reverse=True):
        current = directory
        while current == top or current.startswith(top + os.sep):
            if current == top and keep_top:
                break
            try:
                os.rmdir(current)
            except OSError:
                break
            current = os.path.dirname(current)
