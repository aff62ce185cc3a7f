"""Which tracked data the remotes lack: asked now, or as they were when ``data status`` last asked them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject
from pyexp.model import Oid, Tree
from pyexp.objects.contract import Store
from pyexp.pipeline import exchange, share
from pyexp.pipeline.load import Pipeline
from pyexp.pipeline.share import Needed
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project

VERSION = 1


@dataclass(frozen=True, slots=True)
class Asking:
    """Of which remote (default: each output's own, else ``core.remote``); without ``refresh``, only our memory of it."""

    remote: str | None = None
    refresh: bool = True


def lacking(project: Project, pipeline: Pipeline, asking: Asking, *, granular: bool) -> dict[str, Oid]:
    """The recorded paths whose objects their remote lacks; ``granular`` looks into directories, too.

    Where there is no remote at all, that is everything. Outputs that are never pushed, and what was imported from
    other repositories, do not count. Raises RemoteError.
    """
    needed = [need for need in exchange.needed_of(pipeline, exchange.What()) if need.push]
    default = asking.remote or project.config.get("core.remote")
    homeless = [need for need in needed if not (need.remote or default)]
    found = _paths(homeless, [project.store(algo) for algo in _algos(homeless)], granular)
    groups = share.by_remote(project, [need for need in needed if need.remote or default], asking.remote)
    for name, algos in groups.items():
        for algo, group in algos.items():
            found.update(_lacking(project, name, algo, group, asking, granular))
    return dict(sorted(found.items()))


def _algos(needed: Iterable[Needed]) -> set[str]:
    return {need.entry.oid.algo for need in needed}


def _lacking(
    project: Project, name: str, algo: str, group: Iterable[Needed], asking: Asking, granular: bool
) -> dict[str, Oid]:
    here = project.store(algo)
    memory = _Memory(project, name)
    if not asking.refresh:
        paths = _paths(group, [here], granular)
        return {path: oid for path, oid in paths.items() if str(oid) not in memory.seen}
    with share.opened(project, name) as remote:
        there = remote.store(algo)
        paths = _paths(group, [here, there], granular)
        oids = set(paths.values())
        absent = there.missing(oids)
    memory.learn({str(oid) for oid in oids - absent}, {str(oid) for oid in absent})
    return {path: oid for path, oid in paths.items() if oid in absent}


def _paths(group: Iterable[Needed], stores: Iterable[Store], granular: bool) -> dict[str, Oid]:
    """The outputs' objects by path; those in directories too, where a store has the manifest."""
    found: dict[str, Oid] = {}
    for need in group:
        oid = need.entry.oid
        found[need.relpath] = oid
        tree = _tree(stores, oid) if granular and oid.is_dir else None
        if tree is not None:
            found.update((path, member) for member, path in share.members(need, tree))
    return found


def _tree(stores: Iterable[Store], oid: Oid) -> Tree | None:
    for store in stores:
        if store.algo == oid.algo:
            with suppress(MissingObject, CorruptObject):
                return store.read_tree(oid)
    return None


class _Memory:
    """The objects that were seen on a remote, kept in scratch by the remote's URL; lost, it is only empty.

    The file is the crc32 of the rest, and msgpack: [version, [object ids]].
    """

    def __init__(self, project: Project, name: str) -> None:
        url = share.options_of(project, name)["url"]
        self._path: Path = project.scratch / "remotes" / hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:32]
        self.seen: Set[str] = set()
        with suppress(Exception):  # whatever is wrong with it, it is as good as none
            raw = durable.read_file(self._path) or b""
            if zlib.crc32(raw[4:]) == int.from_bytes(raw[:4], "little"):
                version, oids = msgpack.unpackb(raw[4:])
                self.seen = set(oids) if version == VERSION else set()

    def learn(self, there: Set[str], absent: Set[str]) -> None:
        """Remembers what was there and forgets what was not, if the project can be written to."""
        now = (self.seen - absent) | there
        if now == self.seen:
            return
        self.seen = now
        body = msgpack.packb([VERSION, sorted(now)])
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            durable.write_file(self._path, zlib.crc32(body).to_bytes(4, "little") + body, sync=False)
