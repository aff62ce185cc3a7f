"""Between two stores, and out of one: what is needed, what is not, and bringing objects over."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, PyexpError
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Entry, Oid
from pyexp.objects import parallel
from pyexp.objects.store import LocalStore, Store

REPORT_EVERY = 64


@dataclass(frozen=True, slots=True)
class Garbage:
    """What gc removed, or would remove."""

    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Transferred:
    """How many objects came, which the source does not have, and which could not be brought, each with the reason."""

    done: int
    missing: tuple[Oid, ...] = ()
    failed: tuple[tuple[Oid, str], ...] = ()


# -- gc --------------------------------------------------------------------------------------------------------------


def reachable(store: LocalStore, entries: Iterable[Entry]) -> tuple[set[str], set[str]]:
    """The hexes of all objects that entries need (manifests and members), and of the manifests that are not here.

    Raises CorruptObject for a manifest that cannot be read, or that was found damaged before and moved away: as long
    as nobody knows what it holds, nothing can be called garbage.
    """
    needed: set[str] = set()
    absent: set[str] = set()
    for oid in dict.fromkeys(entry.oid for entry in entries):
        needed.add(oid.hex)
        if not oid.is_dir:
            continue
        try:
            needed.update(file[0] for file in store.read_tree(oid).files.values())
        except MissingObject:
            if store.was_quarantined(oid):
                raise CorruptObject(
                    f"the manifest {oid} was damaged and moved away: what it holds is not known",
                    hint=f"fetch it (pyexp pull), or make it again; or give it up: remove it from {store.root}/corrupt",
                ) from None
            absent.add(oid.hex)
    return needed, absent


def collect_garbage(
    store: LocalStore, keep: set[str], *, newer_than: float | None = None, dry: bool = False
) -> Garbage:
    """Removes the objects that are not in ``keep``; with ``dry`` only counts them.

    Objects stored or used at ``newer_than`` (seconds since the epoch) or later stay. Manifests go before their
    members, so that one that is here always has them. Temporary files of dead processes go, too.
    """
    going = [
        (oid, size)
        for oid, size, used in store.all()
        if oid.hex not in keep and (newer_than is None or used < newer_than)
    ]
    if dry:
        return Garbage(len(going), sum(size for _, size in going))
    count = size_bytes = 0
    for oid, size in sorted(going, key=lambda item: not item[0].is_dir):
        # Looked at again just before: another command may have come to use it meanwhile.
        if newer_than is not None and _used_since(store.path(oid), newer_than):
            continue
        store.remove(oid)
        count += 1
        size_bytes += size
    for directory in (store.base, *store.fanout()):
        durable.remove_litter(directory)
    return Garbage(count, size_bytes)


def _used_since(path: str, moment: float) -> bool:
    with suppress(FileNotFoundError):
        return os.lstat(path).st_mtime >= moment
    return True


# -- from store to store ---------------------------------------------------------------------------------------------


def transfer(
    source: Store, target: Store, oids: Iterable[Oid], *, jobs: int | None = 1, on_event: OnEvent = null
) -> Transferred:
    """Copies objects; each is verified as it arrives, and one that cannot be brought stops no other.

    Manifests come last, and only those whose members among ``oids`` have all come: a manifest in the target says that
    its members are there. Flushes the target. ``jobs`` threads work at it.
    """
    wanted = sorted(set(oids), key=lambda oid: oid.hex)
    results: dict[Oid, str] = {}

    def bring(oid: Oid) -> None:
        results[oid] = _bring(source, target, oid)
        if len(results) % REPORT_EVERY == 0:
            on_event(Progress("transferring", len(results), len(wanted), "objects"))

    parallel.spread(bring, [oid for oid in wanted if not oid.is_dir], jobs)
    for oid in wanted:
        if oid.is_dir:
            results[oid] = _incomplete(source, oid, results)
            if results[oid] == _CAME:
                bring(oid)
    target.flush()
    missing = tuple(oid for oid in wanted if results[oid] == _MISSING)
    failed = tuple((oid, reason) for oid in wanted if (reason := results[oid]) != _CAME and reason != _MISSING)
    return Transferred(len(wanted) - len(missing) - len(failed), missing, failed)


_CAME = ""
_MISSING = "missing"


def _bring(source: Store, target: Store, oid: Oid) -> str:
    try:
        if isinstance(source, LocalStore):
            _bring_file(source, target, oid)
        else:
            target.put_bytes(oid, source.read(oid))
    except MissingObject:
        return _MISSING
    except (PyexpError, OSError) as error:
        return str(error)
    return _CAME


def _bring_file(source: LocalStore, target: Store, oid: Oid) -> None:
    """From a directory the file itself is taken, so that its size does not matter."""
    if not source.has(oid):
        raise MissingObject(f"object {oid} is not in {source.root}")
    try:
        target.put_from(oid, source.path(oid))
    except CorruptObject:
        source.verify(oid)  # moves the damaged object away, so that it no longer counts as being there
        raise


def _incomplete(source: Store, oid: Oid, results: dict[Oid, str]) -> str:
    """Why a manifest must stay behind, or _CAME when nothing of it did."""
    if all(reason == _CAME for reason in results.values()):
        return _CAME
    try:
        files = source.read_tree(oid).files.values()
    except MissingObject:
        return _MISSING
    except PyexpError as error:
        return str(error)
    behind = sum(results.get(Oid(oid.algo, file[0]), _CAME) != _CAME for file in files)
    return f"{behind} of its files did not come" if behind else _CAME
