"""Tracked data: add, checkout, commit, remove, and which cached objects are still needed."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp.errors import MissingObject, PyexpError, StoreError, UnsafeCheckout
from pyexp.events import OnEvent, null
from pyexp.formats import dvcyaml, lockfile
from pyexp.model import Entry, LockEntry, OutSpec, StageLock, StageSpec, Tree, TreeFile
from pyexp.objects import checkout as objects_checkout
from pyexp.pipeline import incoming, placed, plan, record
from pyexp.pipeline.load import Pipeline, Reader, Target, lock_path, open_workspace, resolve
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


# -- add -------------------------------------------------------------------------------------------------------------


def add(
    project: Project,
    paths: Sequence[str],
    *,
    cwd: str = "",
    commit: bool = True,
    relink: bool = True,
    on_event: OnEvent = null,
) -> list[str]:
    """Tracks files and directories: into the cache, a ``.dvc`` file beside each, a line in ``.gitignore``.

    ``paths`` are seen from ``cwd``. ``relink=False`` leaves the files themselves where links into the cache are configured.
    Returns the files git should have. Raises PyexpError for a path that does not exist, lies outside, or is tracked by
    git or by a stage already.
    """
    pipeline = open_workspace(project)
    workspace = Workspace(project, on_event)
    relpaths = [incoming.addable(project, pipeline, path, cwd) for path in paths]
    for_git: dict[str, None] = {}
    with project.live():
        for relpath in relpaths:
            stage, lock = _data_stage(pipeline, relpath)
            top = stage.relpath(stage.outs[0].path)
            record.hide(project, stage)
            if top == relpath:
                new = record.outputs(workspace, stage, lock, commit=commit, relink=relink)
            else:
                new = _with_member(workspace, stage, lock, relpath[len(top) + 1 :], commit=commit)
            project.store().flush()
            record.write(project, [(stage, new)])
            ignore_file = posixpath.join(posixpath.dirname(top), ".gitignore")
            for_git.update(dict.fromkeys(f for f in (stage.file, ignore_file) if os.path.exists(project.path(f))))
    project.statcache.save()
    return list(for_git)


def _data_stage(pipeline: Pipeline, relpath: str) -> tuple[StageSpec, StageLock]:
    """The .dvc stage of a path: its own, one whose directory holds it, or a new one."""
    for owner, stage, _ in pipeline.outs():
        if stage.is_data and (relpath == owner or relpath.startswith(f"{owner}/")):
            return stage, pipeline.lock(stage.address)
    directory, name = posixpath.split(relpath)
    stage = StageSpec(file=f"{relpath}.dvc", name=None, wdir=directory, outs=(OutSpec(name),))
    return stage, StageLock(cmd=None)


def _with_member(workspace: Workspace, stage: StageSpec, lock: StageLock, below: str, *, commit: bool) -> StageLock:
    """A tracked directory's record with one path inside it as it is now, and everything else as recorded."""
    out = stage.relpath(stage.outs[0].path)
    recorded = next((entry.entry for entry in lock.outs if entry.path == stage.outs[0].path), None)
    now = workspace.keep(f"{out}/{below}") if commit else workspace.content(f"{out}/{below}")
    assert now is not None
    store = workspace.project.store()
    files = (
        dict(store.read_tree(recorded.oid).files) if recorded is not None and recorded.oid.algo == store.algo else {}
    )
    files = {path: file for path, file in files.items() if path != below and not path.startswith(f"{below}/")}
    if now.tree is not None:
        files.update({f"{below}/{path}": file for path, file in now.tree.files.items()})
    else:
        files[below] = TreeFile(now.entry.oid.hex, now.entry.size, now.entry.isexec)
    tree = Tree(store.algo, dict(sorted(files.items())))
    entry = store.put_tree(tree)
    if entry.size is None:  # DVC's manifests hold no sizes: the record's total is brought up to date instead
        entry = Entry(entry.oid, _size_on_disk(workspace, out, tree), entry.nfiles)
    workspace.forget([out])
    return StageLock(None, lock.deps, {}, (LockEntry(stage.outs[0].path, entry),))


def _size_on_disk(workspace: Workspace, out: str, tree: Tree) -> int:
    total = 0
    for relpath in tree.files:
        with suppress(OSError):
            total += os.stat(workspace.project.path(f"{out}/{relpath}")).st_size
    return total


# -- checkout --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """An output that checkout changed: ``A`` added, ``M`` modified, ``D`` deleted, with counts of files."""

    letter: str
    relpath: str
    added: int
    modified: int
    deleted: int


def checkout(
    project: Project,
    targets: Sequence[str] = (),
    *,
    cwd: str = "",
    force: bool = False,
    relink: bool = False,
    allow_missing: bool = False,
    recursive: bool = False,
    with_deps: bool = False,
    on_event: OnEvent = null,
) -> list[Changed]:
    """Makes tracked outputs hold what the lock files say, from the cache.

    Without targets, outputs of before (of another branch, say) that no file mentions any more go, if they are unchanged
    and in the cache. Raises UnsafeCheckout, before anything is touched, when unsaved bytes would go (unless ``force``),
    and MissingObject at the end, naming the outputs the cache lacks (unless ``allow_missing``).
    """
    pipeline = open_workspace(project)
    workspace = Workspace(project, on_event)
    wanted = list(_recorded(pipeline, targets, cwd, recursive=recursive, with_deps=with_deps))
    missing = [relpath for relpath, entry in wanted if entry is None or not workspace.cached(entry)]
    ready = [(relpath, entry) for relpath, entry in wanted if entry is not None and relpath not in set(missing)]
    # What is as it should be is not looked at twice: most of it, most of the time.
    settled = {path for path, entry in ready if not relink and _is_settled(workspace, path, entry)}
    differing = [(relpath, entry) for relpath, entry in ready if relpath not in settled]
    if not force:
        _refuse_unsafe(workspace, differing)
    done: list[Changed] = []
    for relpath, entry in differing:
        existed = os.path.lexists(project.path(relpath))
        changes = workspace.restore(relpath, entry, force=True, relink=relink)
        if changes.added or changes.modified or changes.deleted:
            shown = f"{relpath}/" if entry.oid.is_dir else relpath
            done.append(Changed("M" if existed else "A", shown, changes.added, changes.modified, changes.deleted))
    if not targets:
        done += _take_away(workspace, [relpath for relpath, _, _ in pipeline.outs()])
    placed.remember(project, dict(ready))
    project.tidy()
    project.statcache.save()
    never_made = {relpath for relpath, entry in wanted if entry is None}
    lacking = [relpath for relpath in missing if targets or relpath not in never_made]
    if lacking and not allow_missing:
        raise MissingObject(
            f"the cache does not have: {', '.join(lacking)}",
            hint="fetch it (pyexp pull), or make it again (pyexp repro)",
        )
    return done


def _is_settled(workspace: Workspace, relpath: str, entry: Entry) -> bool:
    """Whether a tracked directory is there, by itself and not by a link, and holds what is recorded."""
    if not entry.oid.is_dir or os.path.islink(workspace.project.path(relpath)):
        return False
    with suppress(StoreError):  # something odd in it: said where it is in the way
        return plan.same(entry, workspace.content(relpath, entry.oid.algo))
    return False


def _take_away(workspace: Workspace, tracked: Sequence[str]) -> list[Changed]:
    """Deletes outputs that are here from before, unchanged, and that no file mentions any more."""
    gone: list[Changed] = []
    for relpath in placed.leftovers(workspace, tracked):
        is_dir = os.path.isdir(workspace.project.path(relpath))
        changes = workspace.restore(relpath, None)
        gone.append(Changed("D", f"{relpath}/" if is_dir else relpath, 0, 0, changes.deleted))
    return gone


def _recorded(
    pipeline: Pipeline, targets: Sequence[str], cwd: str, *, recursive: bool, with_deps: bool
) -> Iterable[tuple[str, Entry | None]]:
    """The cached outputs that targets name (default: all), with what is recorded of them."""
    chosen = named_outputs(pipeline, targets, cwd, recursive=recursive, with_deps=with_deps)
    for relpath, stage, out in pipeline.outs():
        if out.cache and (chosen is None or relpath in chosen):
            yield relpath, next((e.entry for e in pipeline.lock(stage.address).outs if e.path == out.path), None)


def named_outputs(
    pipeline: Pipeline, targets: Sequence[str], cwd: str, *, recursive: bool = False, with_deps: bool = False
) -> set[str] | None:
    """The relpaths of the outputs that targets name, or None for all of them."""
    if not targets:
        return None
    found: set[str] = set()
    stages: list[str] = []
    for target in targets:
        directory = posixpath.normpath(posixpath.join(cwd, target))
        if recursive and target.rstrip("/") and not target.endswith((".dvc", ".yaml")):
            found.update(path for path, _, _ in pipeline.outs() if directory == "." or path.startswith(f"{directory}/"))
            continue
        for named in resolve(pipeline, target, cwd):
            if named.out is not None:
                found.add(named.out)
            stages.append(named.stage)
            if named.out is None:
                stage = pipeline.stages[named.stage]
                found.update(stage.relpath(out.path) for out in stage.outs)
    if with_deps:
        for address in plan.order(pipeline, plan.graph(pipeline), stages):
            stage = pipeline.stages[address]
            found.update(stage.relpath(out.path) for out in stage.outs)
    return found


def _refuse_unsafe(workspace: Workspace, wanted: Sequence[tuple[str, Entry]]) -> None:
    unsafe: list[str] = []
    for relpath, entry in wanted:
        store = workspace.project.store(entry.oid.algo)
        have = workspace.content(relpath, entry.oid.algo)
        if have is None or plan.same(entry, have):
            continue
        actions = objects_checkout.plan(store.load(entry), have)
        unsafe += [
            posixpath.join(relpath, below) if below else relpath
            for below in objects_checkout.unsaved(actions, have, store)
        ]
    if unsafe:
        raise UnsafeCheckout(
            f"these files would be overwritten or deleted, and are saved nowhere: {_some(unsafe)}",
            paths=unsafe,
            hint="keep them: pyexp commit (or pyexp add); or give them up: --force",
        )


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


# -- commit, remove --------------------------------------------------------------------------------------------------


def commit(
    project: Project,
    targets: Sequence[str] = (),
    *,
    cwd: str = "",
    confirm: Callable[[str], bool] = lambda stage: True,
    with_deps: bool = False,
    recursive: bool = False,
    relink: bool = True,
    on_event: OnEvent = null,
) -> list[str]:
    """Records the outputs (and inputs) of stages as they are; ``confirm`` is asked for each stage that changed.

    Returns the addresses recorded. Raises PyexpError when ``confirm`` declines.
    """
    pipeline = open_workspace(project)
    workspace = Workspace(project, on_event)
    done: list[str] = []
    with project.live():
        for address in _named_stages(pipeline, targets, cwd, with_deps=with_deps, recursive=recursive):
            stage, lock = pipeline.stages[address], pipeline.lock(address)
            observed = workspace.observed(stage, lock)
            reasons = [*plan.input_reasons(stage, lock, observed), *plan.output_reasons(stage, lock, observed)]
            if not reasons:
                continue
            if any(reason.word != "not in cache" for reason in reasons) and not confirm(address):
                raise PyexpError(f"stage '{address}' has changed and was not committed", hint="to record it: --force")
            now = lock if stage.is_data else record.inputs(workspace, stage, lock)
            new = record.outputs(workspace, stage, now, commit=True, relink=relink)
            project.store().flush()
            record.hide(project, stage)
            record.write(project, [(stage, new)])
            done.append(address)
    project.statcache.save()
    return done


def _named_stages(
    pipeline: Pipeline, targets: Sequence[str], cwd: str, *, with_deps: bool = False, recursive: bool = False
) -> list[str]:
    if not targets:
        return plan.order(pipeline, plan.graph(pipeline), pipeline.stages)
    named: dict[str, None] = {}
    for target in targets:
        top = posixpath.normpath(posixpath.join(cwd, target))
        if recursive and any(stage.file.startswith(f"{top}/") for stage in pipeline.stages.values()):
            named.update((a, None) for a, stage in pipeline.stages.items() if stage.file.startswith(f"{top}/"))
        else:
            named.update((found.stage, None) for found in resolve(pipeline, target, cwd))
    return plan.order(pipeline, plan.graph(pipeline), named, single_item=not with_deps)


def remove(project: Project, targets: Sequence[str], *, cwd: str = "", outs: bool = False) -> list[str]:
    """Stops tracking stages or .dvc files; with ``outs`` their data is deleted too, if the cache has it.

    Returns what was removed. Raises PyexpError for an unknown target, UnsafeCheckout for data that is saved nowhere.
    """
    pipeline = open_workspace(project)
    found: dict[str, Target] = {}
    for target in targets:
        for named in resolve(pipeline, target, cwd, outs=False):
            found[named.stage] = named
    if outs:
        _delete_outputs(project, [pipeline.stages[address] for address in found])
    groups: dict[tuple[str, str], None] = {}
    for address in found:
        stage = pipeline.stages[address]
        for out in stage.outs:
            if out.cache:
                record.unignore_in_git(project, stage.relpath(out.path))
        # A generated stage goes with its whole group: dvc.yaml holds only the group.
        groups[stage.file, (stage.name or "").partition("@")[0]] = None
    with project.lock():
        for file, name in groups:
            _forget(project, file, name)
    placed.forget(project, [pipeline.stages[a].relpath(out.path) for a in found for out in pipeline.stages[a].outs])
    return list(found)


def _delete_outputs(project: Project, stages: Sequence[StageSpec]) -> None:
    workspace = Workspace(project)
    paths = [stage.relpath(out.path) for stage in stages for out in stage.outs]
    for relpath in paths:
        found = workspace.content(relpath)
        if found is not None and not workspace.cached(found.entry):
            raise UnsafeCheckout(
                f"'{relpath}' is saved nowhere", paths=[relpath], hint="keep it (pyexp commit), or delete it yourself"
            )
    for relpath in paths:
        workspace.restore(relpath, None)


def _forget(project: Project, file: str, name: str) -> None:
    """Takes a stage (with all it generates) out of dvc.yaml and dvc.lock, or removes a .dvc file."""
    if not name:
        project.unlink(file)
        return
    lock_file = lock_path(file)
    locked = project.read_text(lock_file)
    if locked is not None:
        gone = [key for key in lockfile.parse_lock(locked, lock_file) if key.partition("@")[0] == name]
        _rewrite(project, lock_file, lockfile.update_lock(locked, lock_file, {}, removed=gone))
    _rewrite(project, file, dvcyaml.remove_stage(project.read_text(file) or "", file, name))


def _rewrite(project: Project, relpath: str, text: str | None) -> None:
    """Writes what is left of a file, or removes it when that is nothing."""
    if text:
        project.write_text(relpath, text)
    else:
        project.unlink(relpath)


# -- what is still needed --------------------------------------------------------------------------------------------


def recorded_entries(reader: Reader, lock_files: Iterable[str]) -> Iterable[Entry]:
    """Every object that the given dvc.lock and .dvc files name; raises FormatError, for gc must not guess."""
    for path in lock_files:
        text = reader.read(path)
        if text is None:
            continue
        if path.endswith(".dvc"):
            locks = [lockfile.parse_dvc(text, path)[1]]
        else:
            locks = list(lockfile.parse_lock(text, path).values())
        for lock in locks:
            for out in lock.outs:
                if out.entry is not None:
                    yield out.entry


def status(
    project: Project,
    targets: Sequence[str] = (),
    *,
    cwd: str = "",
    with_deps: bool = False,
    recursive: bool = False,
    updates: bool = True,
    on_event: OnEvent = null,
) -> list[tuple[StageSpec, list[plan.Reason]]]:
    """Every stage that is out of date, with all reasons; changes nothing.

    The repositories that data was imported from are asked for newer commits (unless not ``updates``); those that cannot
    be are told of.
    """
    pipeline = open_workspace(project)
    workspace = Workspace(project)
    found: list[tuple[StageSpec, list[plan.Reason]]] = []
    named = _named_stages(pipeline, targets, cwd, with_deps=with_deps, recursive=recursive)
    of_imports = _of_imports(project, pipeline, named, updates, on_event)
    for address in named:
        stage, lock = pipeline.stages[address], pipeline.lock(address)
        observed = workspace.observed(stage, lock)
        inputs = [*plan.input_reasons(stage, lock, observed), *of_imports.get(address, ())]
        reasons = [*inputs, *plan.output_reasons(stage, lock, observed)]
        if reasons:
            found.append((stage, reasons))
    with suppress(OSError):  # a read-only project can be looked at; it only pays again next time
        project.statcache.save()
    return found


def _of_imports(
    project: Project, pipeline: Pipeline, named: Iterable[str], updates: bool, on_event: OnEvent
) -> dict[str, list[plan.Reason]]:
    """What is to be said of imported data; asks where it came from."""
    stages = [(pipeline.stages[name], pipeline.lock(name)) for name in named if pipeline.stages[name].is_import]
    if not stages:
        return {}
    from pyexp.pipeline import reimport  # only a project with imports pays for it

    return reimport.reasons(project, stages, updates=updates, on_event=on_event)
