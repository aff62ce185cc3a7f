"""Which outputs pyexp put or recorded in this workspace, so that ``checkout`` can take away those no file mentions now.

After ``git switch`` to a branch that tracks less, the data of the branch before is still there. What is remembered is
only a hint: an output goes when it still holds exactly what was recorded, and the cache has all of it. The file may be
deleted at any time; two processes may save over each other: data then stays where it is.

Msgpack: ``[version, {relpath: [algo, hex]}]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.model import Entry, Oid
from pyexp.paths import check_relpath

if TYPE_CHECKING:
    from pyexp.pipeline.workspace import Workspace
    from pyexp.project import Project

VERSION = 1


def remember(project: Project, outs: Mapping[str, Entry]) -> None:
    """Adds outputs by their relpaths. Temporary workspaces are thrown away whole: nothing is remembered of them."""
    if project.main is not None or not outs:
        return
    before = _load(project)
    _save(project, before, {**before, **{path: entry.oid for path, entry in outs.items()}})


def forget(project: Project, relpaths: Iterable[str]) -> None:
    """Leaves these to the user: they are not tracked any more, and stay."""
    before = _load(project)
    gone = set(relpaths)
    _save(project, before, {path: oid for path, oid in before.items() if path not in gone})


def leftovers(workspace: Workspace, tracked: Iterable[str]) -> list[str]:
    """The relpaths that may go: remembered, not tracked, unchanged since, and all in the cache.

    They are told once: from then on what is still there is the user's.
    """
    mentioned = set(tracked)
    left = {path: oid for path, oid in _load(workspace.project).items() if path not in mentioned}
    forget(workspace.project, left)
    return [
        relpath
        for relpath, oid in left.items()
        if not any(_overlap(relpath, other) for other in mentioned)
        and (found := workspace.content(relpath, oid.algo)) is not None
        and found.entry.oid == oid
        and workspace.cached(found.entry)
    ]


def _overlap(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _load(project: Project) -> dict[str, Oid]:
    import msgpack  # with the file, not before: most commands have no use for it

    with suppress(Exception):  # whatever is wrong with a hint, it is as good as none
        data = durable.read_file(project.scratch / "placed")
        version, found = msgpack.unpackb(data, unicode_errors="surrogateescape")
        if version == VERSION:
            return {check_relpath(path): Oid(algo, hexdigits) for path, (algo, hexdigits) in found.items()}
    return {}


def _save(project: Project, before: Mapping[str, Oid], now: Mapping[str, Oid]) -> None:
    if before == now:
        return
    import msgpack  # as in _load

    rows = {path: [oid.algo, oid.hex] for path, oid in now.items()}
    project.scratch.mkdir(parents=True, exist_ok=True)
    body = msgpack.packb([VERSION, rows], unicode_errors="surrogateescape")
    durable.write_file(project.scratch / "placed", body, sync=False)
