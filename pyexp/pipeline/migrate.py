"""A cache of DVC 2 brought into DVC 3's form: its objects are hashed as they are, not with their line ends changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyexp.errors import CorruptObject, MissingObject
from pyexp.events import Note, OnEvent, Progress, null
from pyexp.formats.lockfile import LEGACY
from pyexp.model import Entry, LockEntry, Oid, StageLock, StageSpec, Tree, TreeFile
from pyexp.objects import tree as trees
from pyexp.objects.hashes import hash_file
from pyexp.objects.store import LocalStore
from pyexp.pipeline import plan, record
from pyexp.pipeline.load import lock_path, open_workspace
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass, replace

if TYPE_CHECKING:
    from pyexp.project import Project

MD5 = "md5"


@dataclass(frozen=True)
class Migrated:
    """How many objects the new cache did not have, the records that changed, and those that could not all be changed."""

    objects: int
    files: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def migrate(project: Project, *, files: bool = False, dry: bool = False, on_event: OnEvent = null) -> Migrated:
    """Copies every object of the old cache into the new one; with ``files`` the records name the new objects.

    The old objects stay, for other commits name them. ``dry`` only counts. Damaged objects, and directories that lack a
    file, are left as they are, with a warning.
    """
    old, new = project.store(LEGACY), project.store(MD5)
    with project.live():
        ids, count = _objects(old, new, dry, on_event)
        new.flush()
    if not files:
        return Migrated(count)
    changed, left = _records(project, ids)
    if not dry:
        record.write(project, changed)
    project.statcache.save()
    return Migrated(count, _names(stage for stage, _ in changed), tuple(left))


def _names(stages: Iterable[StageSpec]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lock_path(stage.file) for stage in stages))


def _objects(old: LocalStore, new: LocalStore, dry: bool, on_event: OnEvent) -> tuple[dict[str, str], int]:
    """The new id of every sound object of the old cache, and how many of them the new one lacked."""
    ids: dict[str, str] = {}
    count = 0
    found = sorted((oid for oid, _, _ in old.all()), key=lambda oid: oid.is_dir)  # files first: directories name them
    for number, oid in enumerate(found):
        on_event(Progress("migrating", number, len(found), "objects"))
        try:
            old.verify(oid)
            is_new = _directory(old, new, oid, ids, dry) if oid.is_dir else _file(old, new, oid, ids, dry)
        except (CorruptObject, MissingObject) as error:
            on_event(Note(f"{error}; left as it is", "warning"))
            continue
        count += is_new
    return ids, count


def _file(old: LocalStore, new: LocalStore, oid: Oid, ids: dict[str, str], dry: bool) -> bool:
    path = old.path(oid)
    digest, _ = hash_file(path, MD5)
    ids[oid.hex] = digest
    if new.has(Oid(MD5, digest)):
        return False
    if not dry:
        new.put_from(Oid(MD5, digest), path)
    return True


def _directory(old: LocalStore, new: LocalStore, oid: Oid, ids: dict[str, str], dry: bool) -> bool:
    files: dict[str, TreeFile] = {}
    for relpath, file in old.read_tree(oid).files.items():
        if file.hex not in ids:
            raise MissingObject(f"'{relpath}' of the directory {oid} is not in the cache")
        files[relpath] = TreeFile(ids[file.hex])
    tree = Tree(MD5, files)
    entry, _ = trees.identify(tree)
    ids[oid.hex] = entry.oid.hex
    if new.has(entry.oid):
        return False
    if not dry:
        new.put_tree(tree)
    return True


def _records(project: Project, ids: dict[str, str]) -> tuple[list[tuple[StageSpec, StageLock]], list[str]]:
    """Each stage whose record changes, with its new record; and the paths whose new id nothing tells."""
    pipeline = open_workspace(project)
    workspace = Workspace(project)
    changed: list[tuple[StageSpec, StageLock]] = []
    left: list[str] = []

    def renewed(stage: StageSpec, entries: tuple[LockEntry, ...]) -> tuple[LockEntry, ...]:
        found: list[LockEntry] = []
        for entry in entries:
            new = _renewed(workspace, stage, entry, ids)
            left.extend([stage.relpath(entry.path)] if new is None else [])
            found.append(new or entry)
        return tuple(found)

    for address, lock in pipeline.locks.items():
        stage = pipeline.stages[address]
        new = replace(lock, deps=renewed(stage, lock.deps), outs=renewed(stage, lock.outs))
        if new != lock:
            changed.append((stage, new))
    return changed, left


def _renewed(workspace: Workspace, stage: StageSpec, recorded: LockEntry, ids: dict[str, str]) -> LockEntry | None:
    """An entry with its new id: from the cache, or from a workspace that holds just what was recorded."""
    entry = recorded.entry
    if entry is None or entry.oid.algo != LEGACY or "repo" in recorded.extra or "://" in recorded.path:
        return recorded
    if entry.oid.hex in ids:
        return replace(recorded, entry=Entry(Oid(MD5, ids[entry.oid.hex]), entry.size, entry.nfiles, entry.isexec))
    relpath = stage.relpath(recorded.path)
    if plan.same(entry, workspace.content(relpath, LEGACY)):
        now = workspace.content(relpath, MD5)
        if now is not None:
            return replace(recorded, entry=replace(entry, oid=now.entry.oid))
    return None
