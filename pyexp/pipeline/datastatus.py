"""How tracked data differs: between two states of the records, or between the records and the workspace.

A *side* maps each tracked path to what is known of it. Sides are built from a pipeline's records or from the files as
they are; ``compare`` is pure. Only outputs of the cache count: what git holds is git's to compare.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp.errors import CorruptObject, MissingObject
from pyexp.git import index
from pyexp.model import Content, Entry, Oid, Tree
from pyexp.pipeline.data import named_outputs
from pyexp.pipeline.load import CommitReader, Pipeline, load, open_workspace, parsing_options
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass, replace

if TYPE_CHECKING:
    from pyexp.pipeline.remotestatus import Asking
    from pyexp.project import Project

Records = Mapping[str, Entry | None]


@dataclass(frozen=True, slots=True)
class Item:
    """A tracked path on one side; ``oid`` is None for an output that was never made."""

    oid: Oid | None
    is_dir: bool = False


@dataclass(frozen=True)
class Side:
    """One state of the tracked data; below the paths in ``opaque`` nothing is known: a manifest is missing."""

    items: Mapping[str, Item]
    opaque: frozenset[str] = frozenset()

    def knows(self, relpath: str) -> bool:
        """Whether this side could tell of a path, had it one."""
        return not any(relpath.startswith(f"{top}/") for top in self.opaque)


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs (or, in ``unchanged``, does not): ``old`` and ``new`` are None where it is not there.

    ``new_path`` is set for a rename.
    """

    path: str
    old: Item | None
    new: Item | None
    new_path: str | None = None


@dataclass(frozen=True)
class Changes:
    """Everything that differs between two sides, each list by path."""

    added: Sequence[Change] = ()
    deleted: Sequence[Change] = ()
    modified: Sequence[Change] = ()
    renamed: Sequence[Change] = ()
    unknown: Sequence[Change] = ()
    unchanged: Sequence[Change] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.deleted or self.modified or self.renamed or self.unknown)


def compare(old: Side, new: Side) -> Changes:
    """What differs; a path that is new under an old hash was renamed."""
    found: dict[str, list[Change]] = {name: [] for name in ("added", "deleted", "modified", "unknown", "unchanged")}
    for path in sorted({*old.items, *new.items}):
        before, after = old.items.get(path), new.items.get(path)
        change = Change(path, before, after)
        if before is None:
            found["added" if old.knows(path) else "unknown"].append(change)
        elif after is None:
            found["deleted" if new.knows(path) else "unknown"].append(change)
        elif before.oid == after.oid:
            found["unchanged"].append(change)
        else:
            found["modified"].append(change)
    added, deleted, renamed = _renames(found["added"], found["deleted"])
    return Changes(added, deleted, found["modified"], renamed, found["unknown"], found["unchanged"])


def _renames(added: list[Change], deleted: list[Change]) -> tuple[list[Change], list[Change], list[Change]]:
    """Pairs what came with what went by hash, in order of paths."""
    gone: dict[Oid, list[Change]] = {}
    for change in deleted:
        if change.old is not None and change.old.oid is not None:
            gone.setdefault(change.old.oid, []).append(change)
    came: list[Change] = []
    renamed: list[Change] = []
    moved: set[str] = set()
    for change in added:
        assert change.new is not None
        candidates = gone.get(change.new.oid) if change.new.oid is not None else None
        if not candidates:
            came.append(change)
            continue
        source = candidates.pop(0)
        moved.add(source.path)
        renamed.append(Change(source.path, source.old, change.new, change.path))
    return came, [change for change in deleted if change.path not in moved], renamed


# -- sides -----------------------------------------------------------------------------------------------------------


def records(pipeline: Pipeline) -> dict[str, Entry | None]:
    """The cached outputs of a pipeline and what is recorded of each."""
    found: dict[str, Entry | None] = {}
    for relpath, stage, out in pipeline.outs():
        if out.cache:
            locked = pipeline.lock(stage.address).outs
            found[relpath] = next((entry.entry for entry in locked if entry.path == out.path), None)
    return found


class Sides:
    """Builds sides for one comparison: what is in the workspace is looked at once."""

    def __init__(self, project: Project, *, granular: bool) -> None:
        self._project = project
        self._granular = granular
        self._workspace = Workspace(project)
        self._here: dict[Oid, Tree] = {}

    def recorded(self, found: Records, *, unmade: bool = False) -> Side:
        """The state that records describe; with ``unmade`` outputs nobody has made count as there, without a hash."""
        items: dict[str, Item] = {}
        opaque: set[str] = set()
        for relpath, entry in found.items():
            if entry is None:
                if unmade:
                    items[relpath] = Item(None)
                continue
            items[relpath] = Item(entry.oid, entry.oid.is_dir)
            if entry.oid.is_dir and self._granular:
                tree = self._tree(entry.oid)
                if tree is None:
                    opaque.add(relpath)
                else:
                    items.update(_members(relpath, tree))
        return Side(items, frozenset(opaque))

    def _tree(self, oid: Oid) -> Tree | None:
        """A manifest from the cache, or from a directory of the workspace that is just that."""
        if oid in self._here:
            return self._here[oid]
        with suppress(MissingObject, CorruptObject):
            return self._project.store(oid.algo).read_tree(oid)
        return None

    def present(self, found: Records) -> Side:
        """The workspace's files at the recorded paths, hashed as they were recorded."""
        items: dict[str, Item] = {}
        for relpath, entry in found.items():
            content = self._content(relpath, entry)
            if content is None:
                continue
            items[relpath] = Item(content.entry.oid, content.tree is not None)
            if content.tree is not None and self._granular:
                items.update(_members(relpath, content.tree))
        return Side(items)

    def _content(self, relpath: str, entry: Entry | None) -> Content | None:
        content = self._workspace.content(relpath, entry.oid.algo if entry is not None else None)
        if content is not None and content.tree is not None:
            self._here[content.entry.oid] = content.tree
        return content

    def not_cached(self, found: Records) -> list[tuple[str, Item]]:
        """The recorded paths whose objects the cache lacks."""
        side = self.recorded(found)
        groups: dict[str, set[Oid]] = {}
        for item in side.items.values():
            if item.oid is not None:
                groups.setdefault(item.oid.algo, set()).add(item.oid)
        absent = {oid for algo, oids in groups.items() for oid in self._project.store(algo).missing(oids)}
        return [(path, item) for path, item in sorted(side.items.items()) if item.oid in absent]

    def save(self) -> None:
        """Keeps what was learnt about files; a project that cannot be written to can still be looked at."""
        with suppress(OSError):
            self._project.statcache.save()


def _members(top: str, tree: Tree) -> Iterable[tuple[str, Item]]:
    return ((f"{top}/{below}", Item(Oid(tree.algo, file.hex))) for below, file in tree.files.items())


def at_commit(project: Project, sha: str) -> Pipeline:
    """The pipeline as a commit has it; raises FormatError."""
    return load(CommitReader(project.require_git(), sha, project.prefix), parsing=parsing_options(project))


# -- data status -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """The state of tracked data: HEAD to the records (``committed``), the records to the workspace (``uncommitted``).

    ``unchanged`` is what both leave alone, ``dirty`` whether git has something to commit.
    """

    not_in_cache: Sequence[tuple[str, Item]]
    committed: Changes
    uncommitted: Changes
    unchanged: Sequence[tuple[str, Item]]
    untracked: Sequence[str] = ()
    dirty: bool = False
    not_in_remote: Sequence[tuple[str, Item]] = ()


def status(
    project: Project,
    targets: Sequence[str] = (),
    *,
    cwd: str = "",
    granular: bool = False,
    untracked: bool = False,
    git: bool = True,
    asking: Asking | None = None,
) -> Status:
    """Compares HEAD's records, the records of the work tree, and the tracked files (FORMATS.md §3.8).

    ``untracked`` lists the files git does not know; ``git=False`` does not ask git whether anything is to be committed;
    ``asking`` looks for the records' data on remotes, too. Raises PyexpError for a target that is tracked on neither
    side, RemoteError.
    """
    pipeline = open_workspace(project)
    now = records(pipeline)
    repo = project.git
    head = repo.head().sha if repo is not None else None
    committed_records: Records = records(at_commit(project, head)) if head is not None else {}
    sides = Sides(project, granular=granular)
    present = sides.present(now)
    recorded, before = sides.recorded(now), sides.recorded(committed_records)
    if repo is None:
        before = recorded
    missing = sides.not_cached(now)
    inside = _selector(pipeline, targets, cwd, (before, recorded, present)) if targets else None
    if inside is not None:
        before, recorded, present = (_narrowed(side, inside) for side in (before, recorded, present))
        missing = [pair for pair in missing if inside(pair[0])]
    lacking = _lacking(project, pipeline, asking, granular, inside) if asking is not None else []
    committed, uncommitted = compare(before, recorded), compare(recorded, present)
    sides.save()
    touched = {change.path for change in committed.unchanged}
    unchanged = [
        (change.path, change.new)
        for change in uncommitted.unchanged
        if change.path in touched and change.new is not None
    ]
    found = Status(missing, committed, uncommitted, unchanged, not_in_remote=lacking)
    if repo is None or not (untracked or git):
        return found
    state = index.status(repo, untracked="all" if untracked else "normal")
    prefix = project.prefix
    own = [path[len(prefix) :] for path in state.untracked if path.startswith(prefix)] if untracked else []
    return replace(found, untracked=own, dirty=not state.is_clean or bool(state.untracked))


def _lacking(
    project: Project, pipeline: Pipeline, asking: Asking, granular: bool, inside: Callable[[str], bool] | None
) -> list[tuple[str, Item]]:
    from pyexp.pipeline import remotestatus  # only who asks remotes pays for it

    found = remotestatus.lacking(project, pipeline, asking, granular=granular)
    return [(path, Item(oid, oid.is_dir)) for path, oid in found.items() if inside is None or inside(path)]


def _selector(pipeline: Pipeline, targets: Sequence[str], cwd: str, sides: Iterable[Side]) -> Callable[[str], bool]:
    """Which paths the targets mean: tracked ones (gone ones too), paths inside them, or all of a stage or .dvc file."""
    known = {path for side in sides for path in side.items}
    opaque = {path for side in sides for path in side.opaque}
    tops: set[str] = set()
    for target in targets:
        path = posixpath.normpath(posixpath.join(cwd, target))
        if (
            path in known
            or any(path.startswith(f"{top}/") for top in opaque)
            or any(other.startswith(f"{path}/") for other in known)
        ):
            tops.add(path)
        else:
            tops |= named_outputs(pipeline, [target], cwd) or set()
    return lambda path: path in tops or any(path.startswith(f"{top}/") for top in tops)


def _narrowed(side: Side, inside: Callable[[str], bool]) -> Side:
    return replace(side, items={path: item for path, item in side.items.items() if inside(path)})


# -- diff ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Diff:
    """What differs between two commits, or a commit and the workspace.

    ``not_in_cache`` is what the commit has and the cache lacks, as DVC has it; None between commits.
    """

    changes: Changes
    not_in_cache: Sequence[tuple[str, Item]] | None = None

    def __bool__(self) -> bool:
        return bool(self.changes or self.not_in_cache)


def diff(
    project: Project,
    old: str | None,
    new: str | None = None,
    *,
    targets: Sequence[str] = (),
    cwd: str = "",
) -> Diff:
    """Compares the tracked data of two commits; ``new`` None is the workspace as it is, ``old`` None is nothing at all.

    Raises PyexpError for a target that is tracked on neither side.
    """
    sides = Sides(project, granular=True)
    pipeline = open_workspace(project) if new is None else at_commit(project, new)
    now = records(pipeline)
    after = sides.present(now) if new is None else sides.recorded(now, unmade=True)
    then = records(at_commit(project, old)) if old is not None else {}
    before = sides.recorded(then, unmade=True)
    missing = sides.not_cached(then) if new is None else None
    if targets:
        inside = _selector(pipeline, targets, cwd, (before, after))
        before, after = _narrowed(before, inside), _narrowed(after, inside)
        missing = None if missing is None else [pair for pair in missing if inside(pair[0])]
    sides.save()
    return Diff(replace(compare(before, after), unknown=(), unchanged=()), missing)
