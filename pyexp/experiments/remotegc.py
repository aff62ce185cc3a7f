"""What can go from a remote, and what can go from the cache because a remote has it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject
from pyexp.events import Note, OnEvent, null
from pyexp.experiments import manage
from pyexp.experiments.manage import CacheScope
from pyexp.model import Entry, Oid, TreeFile
from pyexp.objects import parallel
from pyexp.objects.contract import Store
from pyexp.objects.store import LocalStore
from pyexp.objects.transfer import Garbage
from pyexp.pipeline import share

if TYPE_CHECKING:
    from pyexp.project import Project

# Somebody may be pushing just now, and name the objects in a commit a little later.
GRACE_SECONDS = 3600


def gc_remote(
    project: Project,
    scope: CacheScope,
    *,
    remote: str | None = None,
    jobs: int | None = None,
    dry: bool = False,
    on_event: OnEvent = null,
) -> Garbage:
    """Removes from a remote what nothing in the scope needs, manifests first; ``dry`` only counts.

    Objects younger than ``gc.grace_seconds`` (default: an hour) stay. Raises CorruptObject, before anything is removed,
    when a manifest in the scope cannot be read; UsageError without a scope.
    """
    entries = manage.scope_entries(project, scope)
    grace = project.config.get_int("gc.grace_seconds", GRACE_SECONDS)
    before = time.time() - (GRACE_SECONDS if grace is None else grace)
    count = size_bytes = 0
    with share.opened(project, remote) as opened:
        for algo in sorted({project.algo, *(entry.oid.algo for entry in entries)}):
            here, there = project.store(algo), opened.store(algo)
            keep = _needed(here, there, [entry for entry in entries if entry.oid.algo == algo], on_event)
            going = [(oid, size) for oid, size, used in there.all() if oid.hex not in keep and used <= before]
            count += len(going)
            size_bytes += sum(size for _, size in going)
            if not dry:
                threads = share.jobs_for(project, opened, jobs)
                for manifests in (True, False):
                    parallel.spread(there.remove, [oid for oid, _ in going if oid.is_dir == manifests], threads)
                if isinstance(there, LocalStore):
                    for directory in (there.base, *there.fanout()):
                        durable.remove_litter(directory)
    return Garbage(count, size_bytes)


def _needed(here: Store, there: Store, entries: Iterable[Entry], on_event: OnEvent) -> set[str]:
    """The hexes of all objects that entries need, as far as their manifests are here or there."""
    needed: set[str] = set()
    for oid in dict.fromkeys(entry.oid for entry in entries):
        needed.add(oid.hex)
        if oid.is_dir:
            try:
                needed.update(file.hex for file in _read(here, there, oid))
            except MissingObject:
                on_event(Note(f"the manifest {oid} is neither here nor on the remote: nobody can use what it held"))
    return needed


def _read(here: Store, there: Store, oid: Oid) -> Iterable[TreeFile]:
    try:
        return here.read_tree(oid).files.values()
    except (MissingObject, CorruptObject):
        return there.read_tree(oid).files.values()


def only_here(project: Project, *, remote: str | None = None) -> dict[str, set[str]]:
    """The hexes of cached objects that a remote does not have, by hash algorithm: ``gc --not-in-remote`` keeps them."""
    with share.opened(project, remote) as opened:
        store = project.store()
        absent = opened.store(store.algo).missing(oid for oid, _, _ in store.all())
        return {store.algo: {oid.hex for oid in absent}}
