"""What a check-out has to do: decided by looking at records, before anything is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from pyexp import durable
from pyexp.errors import CorruptObject, MissingObject
from pyexp.model import Content, Oid
from pyexp.objects import tree as trees
from pyexp.objects.store import LocalStore
from pyexp.records import dataclass


class Action(NamedTuple):
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


def plan(want: Content | None, have: Content | None) -> tuple[Action, ...]:
    """What leads from ``have`` to ``want``: deletions first, so that their places are free for what comes.

    The executable bit is only ever added to a file of its own (DVC records it for these alone); below a directory it
    follows the manifest where the manifest records it, that is not in DVC's.
    """
    if want is not None and have is not None and want.tree is not None and want.entry.oid == have.entry.oid:
        return ()
    wanted, present = files_of(want), files_of(have)
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


def files_of(content: Content | None) -> Mapping[str, tuple[Oid, bool]]:
    """Relpath -> id and executable bit; a file of its own has the relpath ''."""
    if content is None:
        return {}
    if content.tree is None:
        return {"": (content.entry.oid, content.entry.isexec)}
    algo = content.tree.algo
    return {path: (Oid(algo, hex), isexec) for path, (hex, _, isexec) in content.tree.files.items()}


def unsaved(actions: Iterable[Action], have: Content | None, store: LocalStore) -> list[str]:
    """Relpaths that the actions would overwrite or delete and whose bytes the store does not hold, verified."""
    present = files_of(have)
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


def some(names: Sequence[str]) -> str:
    """The first few of many names, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
