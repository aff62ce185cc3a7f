"""Runs an experiment: in the workspace, in a temporary workspace, or later from the queue.

HEAD, the index and the stash are never touched. The result is a commit beside the branches, its parent the commit the
experiment started from, published last by creating its ref.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyexp import mutex
from pyexp.errors import ExperimentError, Locked, PyexpError, RefConflict, UsageError
from pyexp.events import Note, OnEvent, null
from pyexp.experiments import names
from pyexp.experiments.taskqueue import Queue, State
from pyexp.formats import lockfile, override
from pyexp.git import refs, snapshot, submodules
from pyexp.model import ExpRef, StageLock, StageSpec, Task
from pyexp.pipeline import plan, record, repro
from pyexp.pipeline.load import CommitReader, Pipeline, load, lock_path, open_workspace, parsing_options
from pyexp.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyexp.git.repo import Repo
    from pyexp.project import Project

TASK_REFS = "refs/pyexp/tasks/"


@dataclass(frozen=True)
class Request:
    """An experiment to run: params to set, its name, and how to reproduce."""

    overrides: tuple[str, ...] = ()
    name: str | None = None
    message: str | None = None
    force: bool = False
    copy_paths: tuple[str, ...] = ()
    timeout_seconds: float | None = None
    retries: int = 0
    options: repro.Options = field(default_factory=repro.Options)


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


def log_path(project: Project, key: str) -> Path:
    """Where the output of a task (by id), or of a run in the workspace (``here-NAME``), is kept."""
    return project.home.scratch / "logs" / f"{key}.log"


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


def edited_params(project: Project, overrides: Sequence[str], cwd: str = "") -> dict[str, str]:
    """Params files with the overrides applied: relpath -> new text. Files are as seen from ``cwd``.

    Raises UsageError, and changes nothing on disk.
    """
    by_file: dict[str, list[override.Override]] = {}
    for text in overrides:
        parsed = override.parse(text)
        if override.is_sweep(parsed):
            raise UsageError(f"'{text}' is a sweep, which needs the queue", hint="add --queue")
        relpath = project.relpath(parsed.file, project.path(cwd))
        by_file.setdefault(relpath, []).append(parsed)
    return {
        relpath: override.apply(project.read_text(relpath), relpath, changes) for relpath, changes in by_file.items()
    }


def _with_environment(project: Project, around: repro.Surroundings, name: str, baseline: str) -> repro.Surroundings:
    """The surroundings with the variables an experiment's stages see (FORMATS.md §6.3)."""
    env = dict(os.environ if around.env is None else around.env)
    env.update(DVC_EXP_BASELINE_REV=baseline, DVC_EXP_NAME=name, DVC_ROOT=str(project.home.root))
    return replace(around, env=env)


# -- what goes into an experiment's commit ---------------------------------------------------------------------------


def files_for_git(project: Project, checked: Iterable[str], edited: Iterable[str] = ()) -> list[str]:
    """Files the commit holds beside those git tracks, as paths in the git work tree (FORMATS.md §2.2).

    Pipeline and lock files, params, deps that no stage makes, outputs git holds, top-level metrics, params and plots,
    and the .gitignore files that hide outputs. Files that git ignores stay out.
    """
    pipeline = open_workspace(project)
    workspace = Workspace(project)
    made = {relpath for relpath, _, _ in pipeline.outs()}
    wanted: dict[str, None] = dict.fromkeys(edited)
    for address in checked:
        stage = pipeline.stages.get(address)
        if stage is not None:
            wanted.update(dict.fromkeys(_stage_files(stage, made)))
    for file in pipeline.files.values():
        directory = os.path.dirname(file.path)
        tops = (*file.params, *file.metrics, *(plot.id for plot in file.plots))
        wanted.update(dict.fromkeys(os.path.normpath(os.path.join(directory, top)) for top in tops))
    found: list[str] = []
    for relpath in wanted:
        found.extend(_existing(project, workspace, relpath))
    repo = project.require_git()
    paths = [project.prefix + relpath for relpath in found]
    return [path for path in paths if repo.is_tracked(path) or not repo.is_ignored(path, False)]


def _stage_files(stage: StageSpec, made: set[str]) -> Iterable[str]:
    yield stage.file
    yield lock_path(stage.file)
    for relpath in (*map(stage.relpath, stage.deps), *(stage.relpath(spec.file) for spec in stage.params)):
        if not _is_made(relpath, made) and not os.path.isabs(relpath) and "://" not in relpath:
            yield relpath
    for out in stage.outs:
        relpath = stage.relpath(out.path)
        yield os.path.join(os.path.dirname(relpath), ".gitignore") if out.cache else relpath


def _is_made(relpath: str, made: set[str]) -> bool:
    while relpath:
        if relpath in made:
            return True
        relpath = relpath.rpartition("/")[0]
    return False


def _existing(project: Project, workspace: Workspace, relpath: str) -> list[str]:
    path = project.path(relpath)
    if not os.path.isdir(path):
        return [relpath] if os.path.lexists(path) else []
    content = workspace.content(relpath)
    return [f"{relpath}/{below}" for below in content.tree.files] if content is not None and content.tree else []


def commit(
    repo: Repo,
    tree: str,
    baseline: str,
    message: str | None,
    locks: Mapping[str, StageLock],
    pipeline: Pipeline,
) -> str:
    """Writes the experiment's commit; its default message carries the hash of what ran, as DVC's does."""
    entries = {
        pipeline.stages[address].name: lockfile.lock_entry(lock)
        for address, lock in locks.items()
        if address in pipeline.stages
    }
    digest = hashlib.sha256(json.dumps(entries, sort_keys=True, default=str).encode()).hexdigest()
    return snapshot.commit_tree(repo, tree, parent=baseline, message=message or f"dvc: commit experiment {digest}")


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
    with mutex.locked(project.scratch / "queue.lock", what="the queue"):
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
        for task in tasks:
            refs.create(project.require_git(), TASK_REFS + task.id, task.commit)
            queue.put(task)
    return tasks


def capture(
    project: Project, request: Request, baseline: str, *, named: bool, env: Mapping[str, str] | None = None
) -> Task:
    """The workspace as it is now, with the request's params set, as a commit and a task record.

    Raises UsageError for a bad override and PyexpError, naming the path, when the run would lack a file.
    """
    repo = project.require_git()
    assert request.name is not None
    pipeline = open_workspace(project)
    edits = edited_params(project, request.overrides, request.options.cwd)
    graph = plan.graph(pipeline)
    wanted = plan.order(
        pipeline,
        graph,
        repro.chosen(pipeline, request.options),
        single_item=request.options.single_item,
        downstream=request.options.downstream,
        whole=request.options.pipeline,
    )
    include = files_for_git(project, wanted)
    replaced = {project.prefix + relpath: text.encode() for relpath, text in edits.items()}
    replaced.update(_data_as_it_is(project, pipeline, wanted))
    tree = snapshot.workspace_tree(repo, include=include, replace=replaced).tree
    sha = snapshot.commit_tree(repo, tree, parent=baseline, message=f"pyexp: queued experiment {request.name}")
    _preflight(project, repo, sha, pipeline, wanted, request.copy_paths)
    options = {key: value for key, value in asdict(request.options).items() if key != "confirm"}
    return Task(
        id=sha,
        name=request.name,
        named=named,
        commit=sha,
        baseline=baseline,
        created=time.time(),
        overrides=request.overrides,
        options={
            "repro": options,
            "force": request.force,
            "timeout": request.timeout_seconds,
            "retries": request.retries,
        },
        message=request.message,
        copy_paths=request.copy_paths,
        env=dict(env or {}),
    )


def _data_as_it_is(project: Project, pipeline: Pipeline, wanted: Sequence[str]) -> dict[str, bytes]:
    """Data files edited since they were tracked: put into the cache, with the .dvc text that says so."""
    workspace = Workspace(project)
    found: dict[str, bytes] = {}
    with project.live():
        for address in wanted:
            stage = pipeline.stages[address]
            lock = pipeline.lock(address)
            if not stage.is_data or stage.frozen:
                continue
            reasons = plan.output_reasons(stage, lock, workspace.observed(stage, lock))
            if any(reason.word in ("modified", "new") for reason in reasons):
                new = record.outputs(workspace, stage, lock, commit=True)
                text = lockfile.dump_dvc(project.read_text(stage.file), stage.file, stage, new)
                found[project.prefix + stage.file] = text.encode()
    project.statcache.save()
    return found


def _preflight(
    project: Project, repo: Repo, sha: str, pipeline: Pipeline, wanted: Sequence[str], copied: Sequence[str]
) -> None:
    """Raises PyexpError for the first file a temporary workspace would lack: now, not when the task's turn comes."""
    reader = CommitReader(repo, sha, project.prefix)
    workspace = Workspace(project)
    for path in copied:
        if not os.path.lexists(project.path(path)):
            raise PyexpError(f"'{path}', which should be copied, does not exist", hint="see -C/--copy-paths")
    made = {
        stage.relpath(out.path) for address in wanted for stage in (pipeline.stages[address],) for out in stage.outs
    }
    for address in wanted:
        stage = pipeline.stages[address]
        for relpath in (*map(stage.relpath, stage.deps), *(stage.relpath(spec.file) for spec in stage.params)):
            there = (
                _is_made(relpath, made)
                or os.path.isabs(relpath)
                or reader.holds(relpath)
                or any(relpath == path or relpath.startswith(f"{path}/") for path in copied)
                or _cached_elsewhere(pipeline, workspace, relpath)
            )
            if not there:
                known = os.path.lexists(project.path(relpath))
                raise PyexpError(
                    f"stage '{address}' needs '{relpath}', which "
                    + ("git ignores, so the experiment would not have it" if known else "does not exist"),
                    hint=f"copy it along: -C {relpath}" if known else "make it, or run the stage that does",
                )
        for relpath in _scripts(project, stage):
            if not (_is_made(relpath, made) or reader.holds(relpath) or relpath in copied):
                raise PyexpError(
                    f"stage '{address}' runs '{relpath}', which git does not track, so the experiment would not have it",
                    hint=f"track it: pyexp git add {relpath}; or list it under deps; or copy it along: -C {relpath}",
                )


def _scripts(project: Project, stage: StageSpec) -> Iterable[str]:
    """Files of the project that a stage's command line names, whether or not they are listed as deps."""
    for line in stage.commands:
        try:
            words = shlex.split(line)
        except ValueError:
            words = line.split()
        for word in words:
            if word and not os.path.isabs(word) and "://" not in word and len(word) < 1000:
                relpath = stage.relpath(word)
                if not relpath.startswith("..") and os.path.isfile(project.path(relpath)):
                    yield relpath


def _cached_elsewhere(pipeline: Pipeline, workspace: Workspace, relpath: str) -> bool:
    """Whether a path is an output of a stage outside the run (``--single-item``) that the cache can restore."""
    for owner, stage, out in pipeline.outs():
        if relpath == owner or relpath.startswith(f"{owner}/") or owner.startswith(f"{relpath}/"):
            entry = next((e.entry for e in pipeline.lock(stage.address).outs if e.path == out.path), None)
            return entry is not None and workspace.cached(entry)
    return False


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


def warn_untracked(repo: Repo, on_event: OnEvent) -> None:
    """Tells which files an experiment away from the workspace will not have."""
    from pyexp.git import index

    untracked = index.status(repo).untracked
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
