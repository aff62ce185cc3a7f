"""Makes a path hold what an entry says: decide (``plan``), refuse what would destroy unsaved bytes, then act.

Every file is written under a temporary name in its own directory and renamed, so that at any instant a file is the old
one or the new one. Only verified objects are brought. A check-out that was interrupted is completed by the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from pyexp import durable
from pyexp.errors import MissingObject, UnsafeCheckout
from pyexp.events import OnEvent, null
from pyexp.model import Content
from pyexp.objects import build
from pyexp.objects.actions import Action, Changes, files_of, obstacles, plan, some, unsaved
from pyexp.objects.fileops import explained
from pyexp.objects.places import Places
from pyexp.objects.scan import scan
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore
from pyexp.objects.writer import Writer

__all__ = ["Action", "Changes", "checkout", "plan", "unsaved", "would_lose"]


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
            lost = [] if linked else _lost(path, actions, have, store)
            if linked and want is not None and os.path.exists(path):
                lost = [""]
            _refuse(path, root, lost)
        _require(path, actions, store)
        again = _unchanged(want, actions) if relink else ()
        if not actions and not again and not linked and _is_settled(want, have):
            _tidy(path, litter)
            return Changes()
        with explained(path):
            _tidy(path, litter)
            durable.remove_litter(os.path.dirname(path))
            if linked:
                place = places.get("")
                os.unlink(place.prefix + os.path.basename(path), dir_fd=place.fd)
            writer = Writer(path, places, store, statcache, links, force, on_event)
            return writer.run(actions, again, want)
    finally:
        places.close()


def would_lose(
    path: str,
    want: Content,
    *,
    store: LocalStore,
    statcache: StatCache | None = None,
    ignore: Callable[[str, bool], bool] | None = None,
) -> list[str]:
    """Relpaths below ``path`` ('' for itself) whose bytes are saved nowhere and would go if it came to hold ``want``."""
    have, _ = _observe(path, store.algo, statcache if statcache is not None else StatCache(None), ignore, null)
    return _lost(path, plan(want, have), have, store)


def _lost(path: str, actions: Sequence[Action], have: Content | None, store: LocalStore) -> list[str]:
    return [*unsaved(actions, have, store), *obstacles(path, actions)]


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
    durable.remove_left_behind((os.path.join(path, relpath) for relpath in litter), ours=True)


def _refuse(path: str, root: str, lost: Sequence[str]) -> None:
    if lost:
        top = os.path.relpath(os.path.abspath(path), os.path.abspath(root)).replace(os.sep, "/")
        shown = [f"{top}/{relpath}" if relpath else top for relpath in lost]
        raise UnsafeCheckout(
            f"these would be overwritten or deleted, and are saved nowhere: {some(shown)}",
            paths=shown,
            hint="keep them: pyexp commit (or pyexp add); or give them up: --force",
        )


def _require(path: str, actions: Sequence[Action], store: LocalStore) -> None:
    needed = {a.oid: a.relpath for a in actions if a.kind in ("create", "replace") and a.oid is not None}
    absent = store.missing(needed)
    if absent:
        names = sorted(needed[oid] or os.path.basename(path) for oid in absent)
        raise MissingObject(
            f"the cache lacks {len(names)} of the files of '{path}': {some(names)}",
            hint="fetch them (pyexp pull), or make them again (pyexp repro)",
        )


def _unchanged(want: Content | None, actions: Sequence[Action]) -> tuple[Action, ...]:
    changed = {action.relpath for action in actions}
    files = files_of(want).items()
    return tuple(Action("replace", path, oid, isexec) for path, (oid, isexec) in files if path not in changed)
