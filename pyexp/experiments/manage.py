"""What can be done with experiments that exist: branch, rename, remove, save, gc (apply is in a room of its own)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from pyexp import owners
from pyexp import project as projects
from pyexp.errors import ExperimentError, GitError, NotAProject, PyexpError, RefConflict, UsageError
from pyexp.events import OnEvent, null
from pyexp.experiments import capture, collect, names, oplog, run
from pyexp.experiments.selection import Selection, select
from pyexp.experiments.taskqueue import Queue, State
from pyexp.git import refs, snapshot
from pyexp.model import Entry, ExpRef, Task
from pyexp.objects import transfer
from pyexp.objects.actions import some
from pyexp.objects.store import LocalStore
from pyexp.pipeline import data, record, repro
from pyexp.pipeline.load import (
    CommitReader,
    Reader,
    WorkspaceReader,
    lock_path,
    open_workspace,
)
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


def branch(project: Project, name: str, new: str | None = None) -> str:
    """Makes a branch of an experiment (default ``NAME-branch``) and returns its name; raises when it exists."""
    exp = names.find(project, name)
    repo = project.require_git()
    chosen = new or f"{exp.name}-branch"
    try:
        refs.create(repo, f"refs/heads/{chosen}", exp.sha)
    except RefConflict as conflict:
        raise GitError(
            f"git branch '{chosen}' exists already", hint=f"name another: pyexp exp branch {name} NAME"
        ) from (conflict)
    return chosen


def rename(project: Project, old: str, new: str, *, force: bool = False) -> ExpRef | None:
    """Gives an experiment another name; None when it has that name already."""
    exp = names.find(project, old)
    repo = project.require_git()
    if new == exp.name:
        return None
    renamed = ExpRef(exp.baseline, new, exp.sha)
    present = refs.exists(repo, renamed.ref)
    # Both names hold one commit: a rename that was interrupted, to be finished.
    if present != exp.sha:
        names.check_free(repo, new, exp.baseline, Queue(project).reserved(), force=force)
    moves = {exp.ref: (exp.sha, None), renamed.ref: (present, exp.sha)}
    oplog.record(project, "rename", f"'{exp.name}' to '{new}'", ref_moves=moves)
    refs.update(repo, renamed.ref, present, exp.sha)
    refs.delete(repo, exp.ref, exp.sha)
    return renamed


def remove(project: Project, selection: Selection, *, queued: bool = False) -> list[str]:
    """Removes experiments (or, with ``queued``, everything queued); returns their names. Cached data stays.

    A name may also be a task of the queue. Nothing is removed when any name is unknown.
    """
    if queued:
        return _let_go(project, "remove", (), Queue(project).tasks("queued"))
    if not (selection.names or selection.revs or selection.everything):
        raise UsageError("no experiment is named", hint="give names, or -A, --rev REV, --queue")
    in_queue, rest = _in_queue(project, selection.names)
    if selection.keep and in_queue:
        raise UsageError("--keep goes with experiments, not with queued ones")
    found: list[ExpRef] = []
    if rest or not selection.names:
        found = select(
            project, Selection(tuple(rest), selection.revs, selection.num, selection.everything, selection.keep)
        )
    gone = _let_go(project, "remove", found, in_queue)
    left = [task.name for _, task in in_queue if task.name not in gone]
    if left:
        raise ExperimentError(f"'{left[0]}' is running now", hint=f"stop it first: pyexp queue kill {left[0]}")
    return gone


def _in_queue(project: Project, wanted: Sequence[str]) -> tuple[list[tuple[State, Task]], list[str]]:
    queue = Queue(project)
    known = {exp.name for exp in names.all_experiments(project.require_git())} if wanted else set()
    found: list[tuple[State, Task]] = []
    rest: list[str] = []
    for name in wanted:
        if name in known:
            rest.append(name)
            continue
        try:
            found.append(queue.find(name, "queued", "failed"))
        except ExperimentError:
            rest.append(name)
    return found, rest


def _let_go(project: Project, op: str, experiments: Sequence[ExpRef], tasks: Sequence[tuple[State, Task]]) -> list[str]:
    """Removes experiments with what the queue knows of them, and tasks; returns the names of what went."""
    gone = {exp.ref: exp.sha for exp in experiments}
    exps = [exp.name for exp in experiments]
    if not (gone or tasks):
        return []
    forgotten = set(gone.values())
    finished = [(state, task) for state, task in Queue(project).tasks("done") if task.result in forgotten]
    what = some([f"'{name}'" for name in (*exps, *(task.name for _, task in tasks))])
    moves = {ref: (sha, None) for ref, sha in gone.items()}
    oplog.record(project, op, what, ref_moves=moves, tasks=[*tasks, *finished])
    refs.delete_many(project.require_git(), gone)
    for state, task in finished:
        run.forget(project, state, task)
    return [*exps, *(task.name for state, task in tasks if run.forget(project, state, task))]


def gc(
    project: Project,
    *,
    workspace: bool = False,
    all_branches: bool = False,
    all_tags: bool = False,
    all_commits: bool = False,
    revs: Sequence[str] = (),
    num: int = 1,
    date: str | None = None,
    queued: bool = False,
    dry: bool = False,
) -> list[ExpRef]:
    """Removes the experiments whose baseline is outside the scope; ``queued`` removes queued ones of those too.

    ``workspace`` is HEAD's own commit; ``date`` keeps experiments made on or after that day. Cached data stays.
    """
    if not (workspace or all_branches or all_tags or all_commits or revs or date):
        raise UsageError(
            "nothing says which experiments to keep", hint="give -w, -a, -T, -A, --rev REV or --date YYYY-MM-DD"
        )
    repo = project.require_git()
    scope = collect.Scope(tuple(revs), num, all_branches, all_tags)
    kept = set(collect.baselines(project, scope)) if workspace or revs or all_branches or all_tags else set()
    if all_commits:
        for start in {*repo.branches().values(), *repo.tags().values()}:
            kept.update(repo.history(start, None, first_parent=False))
    since = _day(date) if date is not None else None
    going = [
        exp
        for exp in names.all_experiments(repo)
        if exp.baseline not in kept and not (since is not None and repo.commit(exp.sha).time >= since)
    ]
    if dry:
        return going
    tasks = Queue(project).tasks("queued", "failed") if queued else []
    _let_go(project, "gc", going, [(state, task) for state, task in tasks if task.baseline not in kept])
    return going


def _day(text: str) -> float:
    import datetime

    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").timestamp()
    except ValueError as error:
        raise UsageError(f"'{text}' is not a day", hint="write it as YYYY-MM-DD") from error


def save(
    project: Project,
    targets: Sequence[str] = (),
    *,
    name: str | None = None,
    force: bool = False,
    message: str | None = None,
    include: Sequence[str] = (),
    recursive: bool = False,
    cwd: str = "",
    on_event: OnEvent = null,
) -> run.Outcome:
    """Keeps the workspace as it is as an experiment, without running anything (FORMATS.md §2.8).

    Outputs are hashed as they are and dvc.lock is written with them; the ``include`` paths go in even if git ignores
    them. Raises PyexpError when a dep or output is missing.
    """
    repo = project.require_git()
    baseline = names.baseline_of(project)
    request = capture.Request(name=name, force=force, message=message)
    chosen = run.name_for(project, request, baseline)
    pipeline = open_workspace(project)
    options = repro.Options(targets=tuple(targets), cwd=cwd, recursive=recursive, all_pipelines=not targets)
    wanted = repro.chosen(pipeline, options)
    result = repro.Result(checked=list(wanted))
    workspace = Workspace(project, on_event)
    with project.live():
        for address in wanted:
            stage = pipeline.stages[address]
            lock = pipeline.lock(address)
            for dep in stage.deps:
                if workspace.content(stage.relpath(dep)) is None:
                    raise PyexpError(
                        f"dependency '{stage.relpath(dep)}' of stage '{address}' does not exist",
                        hint="make it, or save other stages by name",
                    )
            now = lock if stage.is_data else record.inputs(workspace, stage, lock)
            new = record.outputs(workspace, stage, now, commit=True)
            result.written += [*record.hide(project, stage), *record.write(project, [(stage, new)])]
            if not stage.is_data:
                result.locks[address] = new
        project.store().flush()
    project.statcache.save()
    files = capture.files_for_git(project, wanted) + [project.prefix + path for path in include]
    tree = snapshot.workspace_tree(repo, include=files).tree
    run.warn_untracked(repo, on_event, files)
    sha = run.commit(repo, tree, baseline, message, result.locks, pipeline)
    return run.publish(repo, run.Outcome(chosen, sha, baseline, result), force=force)


@dataclass(frozen=True)
class CacheScope:
    """What ``gc`` keeps the cached objects of; queued and running experiments always count."""

    workspace: bool = False
    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False
    all_experiments: bool = False
    revs: tuple[str, ...] = ()
    num: int = 1
    date: str | None = None


# Of other projects everything is kept.
EVERYTHING = CacheScope(workspace=True, all_commits=True, all_experiments=True)


def gc_cache(
    project: Project,
    scope: CacheScope,
    *,
    dry: bool = False,
    also_keep: Mapping[str, set[str]] | None = None,
    sharers: Sequence[str] | None = None,
) -> dict[str, transfer.Garbage]:
    """Removes cached objects that nothing in the scope needs; returns what went, by hash algorithm.

    Objects younger than the oldest living run stay, for it may not have named them yet; those of ``also_keep``, by
    hash algorithm; and all that other projects need which share the cache (``sharers``: their directories; None for
    those that have left their mark there). Before anything is removed raises PyexpError when these cannot be told,
    UsageError without a scope, FormatError or CorruptObject when a record in the scope cannot be read.
    """
    # What is stored from now on may belong to a command that starts after we have looked for living ones.
    began = min(filter(None, (projects.oldest_live(project), time.time())))
    entries = scope_entries(project, scope)
    for root in _sharers(project) if sharers is None else sharers:
        entries |= _entries_of(project, root)
    removed: dict[str, transfer.Garbage] = {}
    stores = [project.store(algo) for algo in sorted({project.algo, *(entry.oid.algo for entry in entries)})]
    for store in stores:
        _refuse_linked(store)
    for store in stores:
        algo = store.algo
        keep, _ = transfer.reachable(store, [entry for entry in entries if entry.oid.algo == algo])
        keep |= (also_keep or {}).get(algo, set())
        removed[algo] = transfer.collect_garbage(store, keep, newer_than=began, dry=dry)
    if not dry:
        run.forget_orphans(project)
        project.sweep()
    return removed


def _sharers(project: Project) -> list[str]:
    """The other projects that store into the same cache; raises PyexpError when it is outside and this one does not."""
    cache = project.cache_dir
    others = owners.marked(cache)
    own = others.pop(os.path.realpath(project.root), None)
    if not project.shares_cache:
        return list(others)
    if own is None:
        raise PyexpError(
            f"the cache {cache} is outside of the project, and this project has stored nothing there",
            hint="if it is yours, name the projects that share it, or this one: pyexp gc -p DIRECTORY …",
        )
    # Another project's own cache: that one needs no mark there.
    with (
        suppress(NotAProject),
        closing(projects.find(os.path.realpath(cache), user_config=project.user_config)) as host,
    ):
        if os.path.realpath(host.cache_dir) == os.path.realpath(cache):
            others.setdefault(os.path.realpath(host.root), host.cache_dir)
    return list(others)


def _refuse_linked(store: LocalStore) -> None:
    """Raises PyexpError when objects lie behind a link out of the cache: whose they are, no mark there tells."""
    if not store.holds(store.base):
        raise PyexpError(
            f"{store.base} is reached by a link that leads out of the cache, and nothing is removed there",
            hint="remove the link; a cache elsewhere is named by: pyexp cache dir DIRECTORY",
        )


def _entries_of(project: Project, root: str) -> set[Entry]:
    """What another project of the same cache needs; raises PyexpError when that cannot be told."""
    if os.path.realpath(root) == os.path.realpath(project.root):
        return set()
    try:
        other = projects.find(root, user_config=project.user_config)
        if os.path.realpath(other.root) != os.path.realpath(root):
            raise NotAProject(root)
    except NotAProject as error:
        raise PyexpError(
            f"{root}, which shares the cache, is no project any more: what it needs cannot be told",
            hint=f"if it is gone for good, remove its mark in {project.cache_dir}/owners; or say who shares: -p DIRECTORY …",
        ) from error
    with closing(other):
        return scope_entries(other, EVERYTHING)


def scope_entries(project: Project, scope: CacheScope) -> set[Entry]:
    """What the scope's lock files and .dvc files name; raises UsageError without a scope, FormatError."""
    if scope == CacheScope(num=scope.num):
        raise UsageError(
            "nothing says which objects to keep",
            hint="give -w, -a, -T, -A, --all-experiments, --rev REV or --date YYYY-MM-DD",
        )
    reader: Reader = WorkspaceReader(project)
    entries = set(data.recorded_entries(reader, _records(reader.pipeline_files())))
    for commit in _commits(project, scope):
        reader = CommitReader(project.require_git(), commit, project.prefix)
        entries.update(data.recorded_entries(reader, _records(reader.pipeline_files())))
    return entries


def _records(files: Iterable[str]) -> list[str]:
    return [lock_path(file) for file in files]


def _commits(project: Project, scope: CacheScope) -> list[str]:
    repo = project.git
    if repo is None:
        return []
    wanted: dict[str, None] = {task.commit: None for _, task in Queue(project).tasks("queued", "running", strict=True)}
    wide = collect.Scope(scope.revs, scope.num, scope.all_branches, scope.all_tags, scope.all_commits)
    if scope.revs or scope.all_branches or scope.all_tags or scope.all_commits or scope.num != 1:
        wanted.update(dict.fromkeys(collect.baselines(project, wide)))
    if scope.date is not None:
        since = _day(scope.date)
        for start in {*repo.branches().values(), *repo.tags().values()}:
            for sha in repo.history(start, None, first_parent=False):
                if repo.commit(sha).time >= since:
                    wanted[sha] = None
    if scope.all_experiments:
        for exp in names.all_experiments(repo):
            wanted.update({exp.sha: None, exp.baseline: None})
    return list(wanted)
