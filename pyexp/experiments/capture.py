"""What an experiment is made of: the files its commit holds, and the workspace captured for a run elsewhere."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pyexp.errors import PyexpError, UsageError
from pyexp.formats import lockfile, override
from pyexp.git import snapshot
from pyexp.model import PlotSpec, StageSpec, Task
from pyexp.pipeline import plan, record, repro
from pyexp.pipeline.load import CommitReader, Pipeline, lock_path, open_workspace
from pyexp.pipeline.workspace import Workspace
from pyexp.records import asdict, dataclass, field

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.project import Project


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
        tops = (*file.params, *file.metrics, *(path for plot in file.plots for path in _plot_files(plot)))
        wanted.update(dict.fromkeys(os.path.normpath(os.path.join(directory, top)) for top in tops))
    found: list[str] = []
    for relpath in wanted:
        found.extend(_existing(project, workspace, relpath))
    repo = project.require_git()
    paths = [project.prefix + relpath for relpath in found]
    return [path for path in paths if repo.is_tracked(path) or not repo.is_ignored(path, False)]


def _plot_files(plot: PlotSpec) -> Iterable[str]:
    """The files a top-level definition draws: those its axes name, else the one it is called by."""
    y, x = plot.props.get("y"), plot.props.get("x")
    if not isinstance(y, Mapping):
        return [plot.id]
    return [str(path) for path in (*y, *(x if isinstance(x, Mapping) else ()))]


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


# What an interpreter is given to run; data a command names is left to deps, for it may be what the command writes.
_SCRIPTS = (".py", ".sh", ".bash", ".zsh", ".r", ".jl", ".pl", ".rb", ".js", ".ts", ".lua", ".ipynb", ".sql", ".awk")
_OPERATORS = frozenset(("&&", "||", ";", "|", "&", "(", "{", "!"))


def _scripts(project: Project, stage: StageSpec) -> Iterable[str]:
    """Programs and scripts of the project that a stage's command lines run, whether or not they are listed as deps."""
    for line in stage.commands:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            continue  # quoting only the shell understands
        for before, word in zip(("&&", *words), words):
            is_script = before in _OPERATORS or word.lower().endswith(_SCRIPTS)
            if not is_script or before.startswith(">") or os.path.isabs(word) or "://" in word or len(word) > 1000:
                continue
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
