"""Which objects are needed, removing the others, and bringing objects from one store to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, StoreError
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Entry, Oid
from pyexp.objects.store import LocalStore, Store


@dataclass(frozen=True, slots=True)
class Garbage:
    """What gc removed, or would remove."""

    count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Transferred:
    """How many objects came, which the source does not have, and which could not be brought and why."""

    done: int
    missing: tuple[Oid, ...]
    failed: tuple[tuple[Oid, str], ...] = ()


def reachable(store: LocalStore, entries: Iterable[Entry]) -> tuple[set[str], set[str]]:
    """The hexes of the objects that entries need, members of directories included, and of manifests that are missing.

    Raises CorruptObject for a manifest that cannot be read: nothing can be said to be unneeded then.
    """
    needed: set[str] = set()
    missing: set[str] = set()
    for entry in entries:
        needed.add(entry.oid.hex)
        if entry.oid.is_dir:
            try:
                tree = store.read_tree(entry.oid)
            except MissingObject:
                missing.add(entry.oid.hex)
                continue
            needed.update(file.hex for file in tree.files.values())
    return needed, missing


def collect_garbage(
    store: LocalStore, keep: set[str], *, newer_than: float | None = None, dry: bool = False
) -> Garbage:
    """Removes every object not in ``keep`` and last used before ``newer_than`` (seconds since the epoch).

    Manifests go before their members, so that a manifest that is there always has its members.
    """
    going = [
        (oid, size_bytes)
        for oid, size_bytes, used in store.all()
        if oid.hex not in keep and (newer_than is None or used < newer_than)
    ]
    if not dry:
        for oid, _ in sorted(going, key=lambda item: not item[0].is_dir):
            store.remove(oid)
        for directory in store.fanout():
            durable.remove_litter(directory)
    return Garbage(len(going), sum(size_bytes for _, size_bytes in going))


def transfer(source: Store, target: Store, oids: Iterable[Oid], *, on_event: OnEvent = null) -> Transferred:
    """Copies objects, members before manifests; each is verified on its way, and a failed one stops no other."""
    wanted = sorted(set(oids), key=lambda oid: (oid.is_dir, oid.hex))
    done, missing, failed = 0, [], []
    for number, oid in enumerate(wanted):
        try:
            target.put_bytes(oid, source.read(oid))
            done += 1
        except MissingObject:
            missing.append(oid)
        except (CorruptObject, StoreError, OSError) as error:
            failed.append((oid, str(error)))
        if number % 64 == 0:
            on_event(Progress("Fetching", number, len(wanted), "objects"))
    return Transferred(done, tuple(missing), tuple(failed))
