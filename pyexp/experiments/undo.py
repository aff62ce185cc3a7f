"""Taking back what ``exp apply``, ``remove``, ``rename`` and ``gc`` did, from the operation log.

Everything is looked at first, and the whole refused when somebody has gone on from there: a name that is taken again,
a file edited since. Then each step brings one thing back that is not back yet, so an undo that was killed is simply run
again. The record goes last.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import GitError, MissingObject, PyexpError, RefConflict, UnsafeCheckout
from pyexp.experiments import names, oplog
from pyexp.experiments.applying import recorded_outputs
from pyexp.experiments.oplog import Operation, Replaced
from pyexp.experiments.taskqueue import Queue, log_path
from pyexp.git import objects, refs, snapshot
from pyexp.git.worktree import Files
from pyexp.objects.actions import some
from pyexp.pipeline.load import CommitReader, load, parsing_options
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class Undone:
    """What was taken back; ``missing`` are outputs whose data the cache has no more: paths, or names of experiments."""

    operation: Operation
    experiments: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def undo(project: Project, number: int | None = None, *, force: bool = False) -> Undone:
    """Takes one operation back (default: the newest).

    Raises, before anything is touched: ExperimentError when there is no such operation, RefConflict when a name is
    taken meanwhile, UnsafeCheckout when files were edited since (``force`` lets those edits go).
    """
    done = oplog.operation(project, number)
    _check_refs(project, done)
    workspace = Workspace(project)
    plan = None
    if done.outs or done.before or done.after:
        if done.where != oplog.place(project):
            raise PyexpError(
                f"operation {done.number} changed the files of another work tree or project",
                hint="go there and undo it",
            )
        plan = _plan_files(project, done)
        _check_files(project, workspace, done, plan, force)
    outputs, missing = _bring_outputs(workspace, done.outs)
    files = snapshot.apply(project.require_git(), plan, force=True) if plan is not None else ()
    experiments = _bring_refs(project, done)
    _bring_tasks(project, done)
    project.statcache.save()
    oplog.drop(project.require_git(), [done.number])
    return Undone(done, experiments, tuple(files), outputs, missing + _without_data(project, done))


# -- refs and tasks ---------------------------------------------------------------------------------------------------


def _shown(ref: str) -> str:
    exp = names.parse_ref(ref, "")
    return f"experiment '{exp.name}'" if exp is not None else ref


def _check_refs(project: Project, done: Operation) -> None:
    repo = project.require_git()
    queue_names = {task.name: task.id for _, task in Queue(project).tasks("queued", "running")}
    for ref, (was, became) in done.refs.items():
        now = refs.exists(repo, ref)
        if was is not None and not repo.blob_exists(was):
            raise GitError(f"{_shown(ref)} cannot come back: its commit {was[:12]} is gone from the repository")
        if now not in (was, became):
            what = "is gone" if now is None else f"is there again, as {now[:12]}"
            raise RefConflict(
                f"{_shown(ref)} {what}: undoing would overwrite what was done since",
                hint="rename it (pyexp exp rename) or remove it, then undo again",
            )
        exp = names.parse_ref(ref, "")
        if exp is not None and was is not None and now is None and exp.name in queue_names:
            raise RefConflict(
                f"experiment name '{exp.name}' is reserved by a queued experiment",
                hint=f"let it run, or take it out: pyexp queue remove {queue_names[exp.name]}",
            )


def _bring_refs(project: Project, done: Operation) -> tuple[str, ...]:
    """What went comes before what came goes: a commit is never without a name."""
    repo = project.require_git()
    back = []
    for ref, (was, _) in done.refs.items():
        now = refs.exists(repo, ref)
        if was is not None and now != was:
            refs.update(repo, ref, now, was)
        exp = names.parse_ref(ref, was or "")
        if was is not None and exp is not None:
            back.append(exp.name)
    for ref, (was, _) in done.refs.items():
        now = refs.exists(repo, ref)
        if was is None and now is not None:
            refs.delete(repo, ref, now)
    return tuple(back)


def _bring_tasks(project: Project, done: Operation) -> None:
    repo = project.require_git()
    for id, blob in done.logs:
        path = log_path(project, id)
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write_file(path, repo.read_blob(blob), sync=False)
    for state, name, blob in done.tasks:
        Queue(project).put_back(state, name, repo.read_blob(blob))


def _without_data(project: Project, done: Operation) -> tuple[str, ...]:
    """The experiments that are back whose outputs the cache does not have: gc took them meanwhile."""
    repo = project.require_git()
    workspace = Workspace(project)
    found = []
    for ref, (was, _) in done.refs.items():
        exp = names.parse_ref(ref, was or "")
        if exp is None or was is None:
            continue
        try:
            target = load(CommitReader(repo, was, project.prefix), parsing=parsing_options(project), lenient=True)
            if any(not cached for _, _, cached in recorded_outputs(target, workspace)):
                found.append(exp.name)
        except PyexpError:
            continue  # it cannot be read, which is nothing new
    return tuple(found)


# -- files and outputs ------------------------------------------------------------------------------------------------


def _plan_files(project: Project, done: Operation) -> snapshot.Plan:
    """What it takes to bring git's files back; its offenders were edited since."""
    repo = project.require_git()
    files = Files(repo)
    write: dict[str, tuple[int, str]] = {}
    remove, edited = [], []
    for path in sorted({*done.before, *done.after}):
        now = files.here(path, lambda data: objects.blob_sha(repo, data))
        was = done.before.get(path)
        if now == was and not (now is None and files.stat(path) is not None):
            continue
        if now != done.after.get(path):
            edited.append(path)
        if was is None:
            remove.append(path)
        else:
            write[path] = was
    return snapshot.Plan(None, write, tuple(remove), tuple(edited))


def _check_files(project: Project, workspace: Workspace, done: Operation, plan: snapshot.Plan, force: bool) -> None:
    edited = [path.removeprefix(project.prefix) for path in plan.offenders]
    for out in done.outs:
        if not (_holds(workspace, out.path, out, "before") or _holds(workspace, out.path, out, "after")):
            edited.append(out.path)
    if edited and not force:
        raise UnsafeCheckout(
            f"changed since operation {done.number}, and undoing it would lose that: {some(edited)}",
            paths=edited,
            hint="save it first (pyexp exp save), or say --force",
        )


def _holds(workspace: Workspace, relpath: str, out: Replaced, which: str) -> bool:
    entry = out.before if which == "before" else out.after
    found = workspace.content(relpath, entry.oid.algo if entry is not None else None)
    if entry is None or found is None:
        return entry is None and found is None
    return found.entry.oid == entry.oid


def _bring_outputs(workspace: Workspace, outs: tuple[Replaced, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    back, missing = [], []
    for out in outs:
        if _holds(workspace, out.path, out, "before"):
            continue
        if out.before is not None and not workspace.cached(out.before):
            missing.append(out.path)
            continue
        try:
            workspace.restore(out.path, out.before, force=True)
            back.append(out.path)
        except MissingObject:
            missing.append(out.path)
    return tuple(back), tuple(missing)
