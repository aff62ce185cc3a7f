"""Between two stores, and out of one: what is needed, what is not, and bringing objects over."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject, RemoteError, StoreError
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Entry, Oid
from pyexp.objects import parallel, retrying
from pyexp.objects.store import LocalStore, Store
from pyexp.records import dataclass, field

REPORT_SECONDS = 0.1
# So many objects in a row that a remote would not give or take, and the rest is not tried any more.
GIVE_UP_AFTER = 8
# No other object would fare better.
_FATAL = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, getattr(errno, "EDQUOT", errno.ENOSPC)})


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
    size_bytes: int = field(default=0, compare=False)


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
        if store.remove_unused(oid, newer_than):
            count += 1
            size_bytes += size
    for directory in (store.base, *store.fanout()):
        durable.remove_litter(directory)
    return Garbage(count, size_bytes)


# -- from store to store ---------------------------------------------------------------------------------------------


def transfer(
    source: Store,
    target: Store,
    oids: Iterable[Oid],
    *,
    jobs: int | None = 1,
    what: str = "transferring",
    sizes: Mapping[Oid, int] | None = None,
    on_event: OnEvent = null,
) -> Transferred:
    """Copies objects; each is verified as it arrives, and one that cannot be brought stops no other.

    Manifests come last, and only those whose members among ``oids`` have all come: a manifest in the target says that
    its members are there. What may pass is tried again. Flushes the target. ``jobs`` threads work at it
    (None: as many as pay); ``sizes`` let the progress tell how far it is. Raises RemoteError when going on makes no sense: no access, nobody there.
    """
    wanted = sorted(set(oids), key=lambda oid: oid.hex)
    carrier = _Carrier(source, target, len(wanted), what, sizes, on_event)
    try:
        spread = parallel.spread_if_slow if jobs is None else partial(parallel.spread, jobs=jobs)
        spread(carrier.carry, [oid for oid in wanted if not oid.is_dir])
        spread(carrier.carry_manifest, [oid for oid in wanted if oid.is_dir])
    finally:
        target.flush()
    return carrier.result(wanted)


_CAME = ""
_MISSING = "missing"


class _Carrier:
    """Brings objects one by one, in several threads, and knows what became of each."""

    def __init__(
        self,
        source: Store,
        target: Store,
        total: int,
        what: str,
        sizes: Mapping[Oid, int] | None,
        on_event: OnEvent,
    ) -> None:
        self._source = source
        self._target = target
        self._total = total
        self._what = what
        self._total_bytes = sum(sizes.values()) if sizes is not None and len(sizes) == total else None
        self._on_event = on_event
        self._results: dict[Oid, str] = {}
        self._bytes = 0
        self._in_vain = 0
        self._lock = threading.Lock()
        self._began = self._told = time.monotonic()

    def result(self, wanted: Sequence[Oid]) -> Transferred:
        missing = tuple(oid for oid in wanted if self._results[oid] == _MISSING)
        failed = [(oid, reason) for oid in wanted if (reason := self._results[oid]) not in (_CAME, _MISSING)]
        return Transferred(len(wanted) - len(missing) - len(failed), missing, tuple(failed), self._bytes)

    def carry(self, oid: Oid) -> None:
        outcome, size, unreachable = _CAME, 0, None
        try:
            size = self._bring(oid)
        except MissingObject:
            outcome = _MISSING
        except (StoreError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FATAL:
                raise
            outcome = str(error)
        except RemoteError as error:
            if not retrying.passes(error):
                raise
            outcome, unreachable = str(error), error
        with self._lock:
            self._results[oid] = outcome
            self._bytes += size
            self._in_vain = self._in_vain + 1 if unreachable else 0
            self._tell()
            if unreachable and self._in_vain >= GIVE_UP_AFTER:
                raise unreachable

    def carry_manifest(self, oid: Oid) -> None:
        """A manifest stays behind when one of its members did."""
        problem = self._incomplete(oid)
        if problem == _CAME:
            self.carry(oid)
        else:
            self._results[oid] = problem

    def _incomplete(self, oid: Oid) -> str:
        if all(reason == _CAME for reason in self._results.values()):
            return _CAME
        try:
            files = self._source.read_tree(oid).files.values()
        except MissingObject:
            return _MISSING
        except StoreError as error:
            return str(error)
        behind = sum(self._results.get(Oid(oid.algo, file[0]), _CAME) != _CAME for file in files)
        return f"{behind} of its files did not come" if behind else _CAME

    def _bring(self, oid: Oid) -> int:
        """Brings an object; returns its size in bytes."""
        if isinstance(self._source, LocalStore):
            source = self._source
            return retrying.call(lambda: _bring_file(source, self._target, oid))
        if isinstance(self._target, LocalStore):
            from pyexp.objects import arrival, remote_store  # only transfers from afar pay for it

            if isinstance(self._source, remote_store.RemoteStore):
                return arrival.receive(self._source, self._target, oid)
        data = self._source.read(oid)
        self._target.put_bytes(oid, data)
        return len(data)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told < REPORT_SECONDS:
            return
        self._told = now
        rate = self._bytes / max(now - self._began, 0.001) / 1e6
        text = f"{self._what} {len(self._results):,}/{self._total:,} objects at {rate:,.1f} MB/s,"
        self._on_event(Progress(text, self._bytes, self._total_bytes, "bytes"))


def _bring_file(source: LocalStore, target: Store, oid: Oid) -> int:
    """From a directory the file itself is taken, so that its size does not matter."""
    try:
        return target.put_from(oid, source.path(oid))
    except CorruptObject:
        source.verify(oid)  # moves the damaged object away, so that it no longer counts as being there
        raise
    except StoreError as error:
        if source.has(oid):
            raise
        raise MissingObject(f"object {oid} is not in {source.root}") from error
