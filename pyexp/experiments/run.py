"""Runs an experiment: in the workspace, in a temporary workspace, or later from the queue.

HEAD, the index and the stash are never touched. The result is a commit beside the branches, its parent the commit the
experiment started from, published last by creating its ref.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyexp import mutex
from pyexp.errors import ExperimentError, Locked, PyexpError, RefConflict
from pyexp.events import Note, OnEvent, null
from pyexp.experiments import names
from pyexp.experiments.capture import Request, capture, edited_params, files_for_git
from pyexp.experiments.taskqueue import TASK_REFS, Queue, State, log_path
from pyexp.formats import lockfile, override
from pyexp.git import refs, snapshot, submodules
from pyexp.model import ExpRef, StageLock, Task
from pyexp.pipeline import repro
from pyexp.pipeline.load import CommitReader, Pipeline, load, open_workspace, parsing_options
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyexp.git.repo import Repo
    from pyexp.project import Project


@dataclass(frozen=True)
class Outcome:
    """A finished experiment."""

    name: str
    sha: str
    baseline: str
    result: repro.Result

    @property
    def ref(self) -> str:
        return ExpRef(self.baseline, self.name, self.sha).ref


# -- in the workspace -----------------------------------------------------------------------------------------------


def run(
    project: Project,
    request: Request,
    around: repro.Surroundings = repro.Surroundings(),
    on_event: OnEvent = null,
    on_name: Callable[[str], None] | None = None,
) -> Outcome:
    """Runs an experiment in the workspace and keeps it; the workspace then holds its results.

    When a stage fails, the params that were set stay and nothing is kept. Raises ExperimentError for a bad name,
    UsageError for a bad override, and what ``repro`` raises.
    """
    repo = project.require_git()
    with _workspace_to_itself(project):
        baseline = names.baseline_of(project)
        name = name_for(project, request, baseline)
        edits = edited_params(project, request.overrides, request.options.cwd)
        for relpath, text in edits.items():
            project.write_text(relpath, text)
        if on_name is not None:
            on_name(name)
        options = replace(request.options, force=request.force or request.options.force)
        result = repro.repro(project, options, _with_environment(project, around, name, baseline), on_event)
        include = files_for_git(project, result.checked, edits)
        tree = snapshot.workspace_tree(repo, include=include).tree
        sha = commit(repo, tree, baseline, request.message, result.locks, open_workspace(project))
        return publish(repo, Outcome(name, sha, baseline, result), force=request.force)


@contextmanager
def _workspace_to_itself(project: Project) -> Iterator[None]:
    """Two runs in one workspace would mix their files: the second is refused at once."""
    try:
        with mutex.locked(project.scratch / "workspace.lock", timeout=0, what="this workspace"):
            yield
    except Locked as error:
        if "this workspace" not in error.message:
            raise
        raise Locked(
            f"another experiment is running in this workspace ({mutex.holder(project.scratch / 'workspace.lock')})",
            hint="wait for it, or run this one beside it: --temp, or --queue",
        ) from error


def name_for(project: Project, request: Request, baseline: str, reserved: set[str] | None = None) -> str:
    repo = project.require_git()
    taken = Queue(project).reserved() if reserved is None else reserved
    if request.name is not None:
        names.check_free(repo, request.name, baseline, taken, force=request.force)
        return request.name
    return names.fresh(taken | {exp.name for exp in names.all_experiments(repo)})


def _with_environment(project: Project, around: repro.Surroundings, name: str, baseline: str) -> repro.Surroundings:
    """The surroundings with the variables an experiment's stages see (FORMATS.md §6.3)."""
    env = dict(os.environ if around.env is None else around.env)
    env.update(DVC_EXP_BASELINE_REV=baseline, DVC_EXP_NAME=name, DVC_ROOT=str(project.home.root))
    return replace(around, env=env)


# -- the commit and its ref ------------------------------------------------------------------------------------------


def commit(
    repo: Repo,
    tree: str,
    baseline: str,
    message: str | None,
    locks: Mapping[str, StageLock],
    pipeline: Pipeline,
) -> str:
    """Writes the experiment's commit; its default message carries the hash of what ran, as DVC's does."""
    named = {pipeline.stages[address].name: lock for address, lock in locks.items() if address in pipeline.stages}
    return snapshot.commit_tree(
        repo, tree, parent=baseline, message=message or f"dvc: commit experiment {digest_of(named)}"
    )


def digest_of(locks: Mapping[str | None, StageLock]) -> str:
    """The hex hash of what ran: SHA-256 of the lock entries as JSON, sizes included (FORMATS.md §8)."""
    entries = {name: lockfile.lock_entry(lock) for name, lock in locks.items()}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, default=str).encode()).hexdigest()


def publish(repo: Repo, outcome: Outcome, *, force: bool) -> Outcome:
    """Creates the experiment's ref: the last step, the one that makes it exist."""
    try:
        refs.create(repo, outcome.ref, outcome.sha)
    except RefConflict as conflict:
        present = refs.exists(repo, outcome.ref)
        if force:
            refs.update(repo, outcome.ref, present, outcome.sha)
        elif present is not None and repo.tree_of(present) == repo.tree_of(outcome.sha):
            return replace(outcome, sha=present)
        else:
            raise ExperimentError(
                f"experiment '{outcome.name}' was made by somebody else meanwhile; this one is commit {outcome.sha[:10]}",
                hint=f"give it a branch: pyexp git branch NAME {outcome.sha[:10]}; or run again with -f",
            ) from conflict
    return outcome


# -- for later: the queue --------------------------------------------------------------------------------------------


def enqueue(project: Project, request: Request, env: Mapping[str, str] | None = None) -> list[Task]:
    """Puts one task, or one for each combination of a sweep, at the end of the queue; the workspace stays as it is.

    The files are kept as they are now. Names are reserved: a clash is an error here, not at night.
    """
    baseline = names.baseline_of(project)
    combinations = override.expand(request.overrides) if request.overrides else [()]
    queue = Queue(project)
    with _queue_locked(project):
        reserved = queue.reserved()
        planned: list[Request] = []
        for number, combination in enumerate(combinations, 1):
            name = request.name
            if name is not None and len(combinations) > 1:
                name = f"{name}-{number}"
            chosen = name_for(project, replace(request, name=name), baseline, reserved)
            reserved.add(chosen)
            planned.append(replace(request, overrides=tuple(combination), name=chosen))
        # Every combination is checked and captured before the first is put in line.
        tasks = [capture(project, one, baseline, named=request.name is not None, env=env) for one in planned]
        _keep(project.require_git(), tasks)
        queue.put(tasks)
        _drop_orphans(project, queue)
    return tasks


def forget_orphans(project: Project) -> None:
    """Lets go of what was captured for tasks that are not in the queue: who put or removed them was killed at it."""
    if project.git is not None and refs.read(project.git, TASK_REFS):
        with _queue_locked(project):
            _drop_orphans(project, Queue(project))


def _drop_orphans(project: Project, queue: Queue) -> None:
    repo = project.require_git()
    held = refs.read(repo, TASK_REFS)
    needed = queue.ids("queued", "running", "failed")
    refs.delete_many(repo, {name: sha for name, sha in held.items() if name.removeprefix(TASK_REFS) not in needed})


def _queue_locked(project: Project) -> AbstractContextManager[int]:
    return mutex.locked(project.home.scratch / "queue.lock", what="the queue")


def _keep(repo: Repo, tasks: Iterable[Task]) -> None:
    """Gives each task's commit a ref, so that git keeps it until the task has ended."""
    for task in tasks:
        # A ref is named for its commit: one that a sweep left which was not queued in the end is the same.
        if refs.exists(repo, TASK_REFS + task.id) is None:
            refs.create(repo, TASK_REFS + task.id, task.commit)


# -- beside the workspace --------------------------------------------------------------------------------------------


def run_temp(
    project: Project,
    request: Request,
    around: repro.Surroundings = repro.Surroundings(),
    on_event: OnEvent = null,
    on_name: Callable[[str], None] | None = None,
) -> Outcome:
    """Runs an experiment in a temporary workspace, at once; the user's workspace stays as it is."""
    baseline = names.baseline_of(project)
    name = name_for(project, request, baseline)
    task = capture(project, replace(request, name=name), baseline, named=request.name is not None)
    if on_name is not None:
        on_name(name)
    with temporary_workspace(project) as (directory, lock):
        outcome = execute(project, task, directory, replace(around, hold=(*around.hold, lock)), on_event)
        return publish(project.require_git(), outcome, force=request.force)


@contextmanager
def temporary_workspace(project: Project) -> Iterator[tuple[Path, int]]:
    """A warm directory nobody else uses, the first free one under ``work/``, and the descriptor of its lock."""
    top = project.home.scratch / "work"
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = 0
    while True:
        try:
            with mutex.locked(top / f"{number}.lock", timeout=0, what=f"work directory {number}") as fd:
                yield top / str(number), fd
                return
        except Locked as error:
            if f"work directory {number}" not in error.message:
                raise
            number += 1


def execute(
    project: Project,
    task: Task,
    directory: Path,
    around: repro.Surroundings = repro.Surroundings(),
    on_event: OnEvent = null,
    on_phase: Callable[[str], None] | None = None,
) -> Outcome:
    """Runs a captured task in ``directory`` and writes its commit; the ref is the caller's to create."""
    repo = project.require_git()
    phase = on_phase or (lambda name: None)
    phase("setup")
    tree = repo.tree_of(task.commit)
    pipeline = load(CommitReader(repo, task.commit, project.prefix), parsing=parsing_options(project))
    # Outputs that go through the cache are left for the stages to put right: most are still what they should be.
    keep = [project.prefix + relpath for relpath, _, out in pipeline.outs() if out.cache]
    snapshot.materialise(repo, tree, directory, keep=[*keep, *submodules.paths(repo, tree)])
    submodules.materialise(repo, tree, directory, directory.with_suffix(".submodules"))
    copy = project.workspace_copy(directory, statcache=directory.with_suffix(".statcache"))
    _copy_along(project, copy, task.copy_paths)
    _restore_persistent(copy, pipeline)
    options = repro.Options(**{key: _tuple(value) for key, value in task.options["repro"].items()})
    phase("stage")
    force = bool(task.options["force"])
    try:
        result = repro.repro(
            copy,
            replace(options, force=force or options.force),
            _with_environment(
                project, replace(around, env={**(around.env or os.environ), **task.env}), task.name, task.baseline
            ),
            on_event,
        )
        phase("collection")
        include = files_for_git(copy, result.checked)
        copied = {project.prefix + path for path in task.copy_paths}
        include = [path for path in include if path not in copied]
        after = snapshot.capture(repo, tree, directory, include=include)
        sha = commit(repo, after, task.baseline, task.message, result.locks, pipeline)
    finally:
        copy.close()
    return Outcome(task.name, sha, task.baseline, result)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _copy_along(project: Project, copy: Project, paths: Sequence[str]) -> None:
    for relpath in paths:
        source, target = project.path(relpath), copy.path(relpath)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            if os.path.isdir(source):
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)
        except FileNotFoundError as error:
            raise PyexpError(f"'{relpath}', which should be copied, does not exist") from error


def _restore_persistent(copy: Project, pipeline: Pipeline) -> None:
    """Outputs a stage goes on from must be there before it runs, as they are in the workspace."""
    workspace = Workspace(copy)
    for relpath, stage, out in pipeline.outs():
        if not out.persist:
            continue
        entry = next((e.entry for e in pipeline.lock(stage.address).outs if e.path == out.path), None)
        if entry is not None and workspace.cached(entry):
            workspace.restore(relpath, entry, force=True)


def warn_untracked(repo: Repo, on_event: OnEvent, included: Sequence[str] = ()) -> None:
    """Tells which files an experiment does not have that git does not track; those at or below ``included`` it has."""
    from pyexp.git.difftext import under  # the walk: only who needs it pays for it
    from pyexp.git.worktree import Files

    untracked = Files(repo).untracked(collapse=not included)
    if included:
        untracked = [path for path in untracked if not under(included, path)]
    if untracked:
        shown = ", ".join(untracked[:5]) + (", …" if len(untracked) > 5 else "")
        on_event(Note(f"untracked files are not part of the experiment: {shown}", "warning"))


def forget(project: Project, state: State, task: Task) -> bool:
    """Removes a task's record, log and captured files, False when it has moved on; a finished experiment stays."""
    if not Queue(project).remove(state, task):
        return False
    log_path(project, task.id).unlink(missing_ok=True)
    repo = project.require_git()
    if refs.exists(repo, TASK_REFS + task.id) is not None:
        refs.delete(repo, TASK_REFS + task.id)
    return True
