"""Bringing an experiment's files and outputs into the workspace, without losing what is saved nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyexp.errors import ExperimentError, StoreError, UnsafeCheckout
from pyexp.events import OnEvent, null
from pyexp.experiments import names, oplog
from pyexp.experiments.taskqueue import Queue
from pyexp.git import snapshot
from pyexp.model import Entry, Task
from pyexp.objects.actions import some
from pyexp.pipeline.load import CommitReader, Pipeline, load, open_workspace, parsing_options
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class Applied:
    """What ``apply`` changed: files of git, outputs of the cache, and outputs the cache could not give."""

    rev: str
    files: tuple[str, ...]
    outputs: tuple[str, ...]
    missing: tuple[str, ...]


def apply(project: Project, name: str, *, force: bool = False, on_event: OnEvent = null) -> Applied:
    """Makes the workspace hold an experiment's (or any commit's) files and outputs; HEAD and the index stay.

    Files the experiment does not know stay too. Raises UnsafeCheckout, before anything is touched, when bytes that
    neither git nor an experiment nor the cache has would go (``force`` goes on).
    """
    repo = project.require_git()
    queued = _queued(project, name)
    rev = queued.commit if queued is not None else names.revision(project, name)
    tree = repo.tree_of(rev)
    target = load(CommitReader(repo, rev, project.prefix), parsing=parsing_options(project), lenient=True)
    workspace = Workspace(project)
    _outputs_are_saved(project, workspace, force)
    wanted = recorded_outputs(target, workspace)
    if not force:
        _nothing_else_goes(project, workspace, wanted)
    known = _Saved(project)
    plan = snapshot.plan_apply(repo, tree, saved=known.has)
    if force or not plan.offenders:
        _note(project, workspace, f"'{name}'", plan, wanted, force)
    files = snapshot.apply(repo, plan, force=force)
    changed = [relpath for relpath, entry, cached in wanted if cached and any(_counts(workspace, relpath, entry))]
    missing = [relpath for relpath, _, cached in wanted if not cached]
    project.statcache.save()
    return Applied(rev, tuple(files), tuple(changed), tuple(missing))


def recorded_outputs(target: Pipeline, workspace: Workspace) -> list[tuple[str, Entry, bool]]:
    """The outputs that were recorded: relpath, what it was, whether the cache has it."""
    found: list[tuple[str, Entry, bool]] = []
    for relpath, stage, out in target.outs():
        entry = next((e.entry for e in target.lock(stage.address).outs if e.path == out.path), None)
        if out.cache and entry is not None:
            found.append((relpath, entry, workspace.cached(entry)))
    return found


def _note(
    project: Project,
    workspace: Workspace,
    what: str,
    plan: snapshot.Plan,
    wanted: list[tuple[str, Entry, bool]],
    force: bool,
) -> None:
    """Notes how things are before they change, for ``undo``: what goes is put into git and the cache first."""
    repo = project.require_git()
    outs = []
    with project.live():
        for relpath, entry, cached in wanted:
            try:
                found = workspace.content(relpath, entry.oid.algo)
                if cached and (found is None or found.entry.oid != entry.oid):
                    was = workspace.keep(relpath) if found is not None else None
                    outs.append(oplog.Replaced(relpath, None if was is None else was.entry, entry))
            except StoreError:
                if not force:
                    raise
    project.store().flush()
    if outs or plan.changed:
        before = snapshot.present(repo, plan.changed)
        oplog.record(project, "apply", what, outs=outs, before=before, after=plan.write)


def _nothing_else_goes(project: Project, workspace: Workspace, wanted: list[tuple[str, Entry, bool]]) -> None:
    """Raises UnsafeCheckout for files at an output's place that are no output now; those git tracks are its business."""
    repo = project.require_git()
    tracked = repo.read_index().entries
    lost = [
        path
        for relpath, entry, cached in wanted
        if cached
        for path in workspace.would_lose(relpath, entry)
        if project.prefix + path not in tracked
    ]
    if lost:
        raise UnsafeCheckout(
            f"files that are saved nowhere would be lost: {some(lost)}",
            paths=lost,
            hint="move them away or track them (pyexp add), or say --force",
        )


def _counts(workspace: Workspace, relpath: str, entry: Entry) -> tuple[int, int, int]:
    changes = workspace.restore(relpath, entry, force=True)
    return changes.added, changes.modified, changes.deleted


def _queued(project: Project, name: str) -> Task | None:
    try:
        return Queue(project).find(name, "queued", "failed", "running")[1]
    except ExperimentError:
        return None


def _outputs_are_saved(project: Project, workspace: Workspace, force: bool) -> None:
    """Outputs that apply will replace go into the cache first, so that nothing made is lost.

    ``force`` goes on past those that cannot be kept.
    """
    pipeline = open_workspace(project)
    with project.live():
        for relpath, _, out in pipeline.outs():
            if not out.cache:
                continue
            try:
                found = workspace.content(relpath)
                if found is not None and not workspace.cached(found.entry):
                    workspace.keep(relpath)
            except StoreError:
                if not force:
                    raise
    project.store().flush()


class _Saved:
    """Whether git would still have a file's bytes: the same path in an experiment, a queued task or a baseline has them."""

    def __init__(self, project: Project) -> None:
        self._repo = project.require_git()
        self._trees: list[str] | None = None
        self._project = project

    def has(self, relpath: str, blob: str) -> bool:
        if not self._repo.blob_exists(blob):
            return False
        if self._trees is None:
            experiments = names.all_experiments(self._repo)
            commits = [exp.sha for exp in experiments] + [exp.baseline for exp in experiments]
            commits += [task.commit for _, task in Queue(self._project).tasks("queued", "running", "failed")]
            commits += self._repo.branches().values()
            self._trees = [self._repo.tree_of(sha) for sha in dict.fromkeys(commits) if self._repo.blob_exists(sha)]
        for tree in self._trees:
            found = self._repo.lookup(tree, relpath)
            if found is not None and found[1] == blob:
                return True
        return False
