"""The verbs for programs that embed pyexp: plain arguments in, frozen records out.

Two projects in one process, or two threads with a project each, share nothing but module tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

from pyexp.errors import UsageError
from pyexp.events import OnEvent, null
from pyexp.experiments import applying, collect, manage, table
from pyexp.experiments import executors as pool
from pyexp.experiments import run as running
from pyexp.experiments import undo as undoing
from pyexp.experiments.applying import Applied
from pyexp.experiments.capture import Request
from pyexp.experiments.collect import Baseline, Scope
from pyexp.experiments.executors import Summary
from pyexp.experiments.manage import CacheScope
from pyexp.experiments.run import Outcome
from pyexp.experiments.selection import Selection
from pyexp.experiments.table import Diff
from pyexp.experiments.undo import Undone
from pyexp.model import ExpRef, StageSpec, Task
from pyexp.objects.transfer import Garbage
from pyexp.pipeline import data
from pyexp.pipeline import repro as reproducing
from pyexp.pipeline.command import Sink
from pyexp.pipeline.data import Changed
from pyexp.pipeline.plan import Reason
from pyexp.pipeline.repro import Options, Result, Surroundings
from pyexp.project import Project


def _overrides(params: Mapping[str, Any] | Sequence[str]) -> tuple[str, ...]:
    """Params as ``-S`` takes them: a mapping of dotted keys to values, or the texts themselves."""
    if not isinstance(params, Mapping):
        return tuple(params)
    return tuple(f"{key}={_value(value)}" for key, value in params.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\'", "\\\\'").replace("'", "\\'") + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, float):
        return float.__repr__(value)  # numpy's is one, and says so in its own
    if value is None or isinstance(value, int):
        return json.dumps(value)
    plain = getattr(value, "tolist", None)  # numbers and arrays of numpy, tensors
    if plain is None:
        raise UsageError(
            f"a param cannot be a value of type {type(value).__name__}", hint="numbers, text, lists, dicts"
        )
    return _value(plain())


@overload
def run(
    project: Project,
    *,
    queue: Literal[False] = False,
    params: Mapping[str, Any] | Sequence[str] = (),
    name: str | None = None,
    message: str | None = None,
    targets: Sequence[str] = (),
    force: bool = False,
    temp: bool = False,
    copy_paths: Sequence[str] = (),
    sink: Sink | None = None,
    on_event: OnEvent = null,
) -> Outcome: ...


@overload
def run(
    project: Project,
    *,
    queue: Literal[True],
    params: Mapping[str, Any] | Sequence[str] = (),
    name: str | None = None,
    message: str | None = None,
    targets: Sequence[str] = (),
    force: bool = False,
    temp: bool = False,
    copy_paths: Sequence[str] = (),
    sink: Sink | None = None,
    on_event: OnEvent = null,
) -> list[Task]: ...


def run(
    project: Project,
    *,
    queue: bool = False,
    params: Mapping[str, Any] | Sequence[str] = (),
    name: str | None = None,
    message: str | None = None,
    targets: Sequence[str] = (),
    force: bool = False,
    temp: bool = False,
    copy_paths: Sequence[str] = (),
    sink: Sink | None = None,
    on_event: OnEvent = null,
) -> Outcome | list[Task]:
    """Runs one experiment, in the workspace or (``temp``) beside it, or puts it into the queue (``queue``).

    ``sink`` gets what the stages write; without it they write where this process does. Raises StageFailed when a stage
    fails, ExperimentError for a bad name, UsageError for a bad param.
    """
    project.require_here()
    options = Options(targets=tuple(targets))
    request = Request(_overrides(params), name, message, force, tuple(copy_paths), options=options)
    if queue:
        return running.enqueue(project, request)
    start = running.run_temp if temp else running.run
    return start(project, request, Surroundings(sink=sink, stdin_null=sink is not None), on_event)


def run_all(project: Project, *, jobs: int = 1, on_event: OnEvent = null) -> Summary:
    """Runs everything that is queued, ``jobs`` at a time, in processes of its own."""
    project.require_here()
    return pool.run_all(project, jobs=jobs, on_event=on_event)


def show(project: Project, *, revs: Sequence[str] = (), num: int = 1, all_commits: bool = False) -> list[Baseline]:
    """The workspace and each baseline with its experiments: params, metrics, deps and outs of each."""
    project.require_here()
    return collect.collect(project, Scope(tuple(revs), num, all_commits=all_commits))


def diff(project: Project, old: str = "HEAD", new: str = "workspace") -> Diff:
    """The metrics and params that differ between two revisions or experiments."""
    project.require_here()
    return table.diff(collect.row_of(project, old), collect.row_of(project, new))


def apply(project: Project, experiment: str, *, force: bool = False, on_event: OnEvent = null) -> Applied:
    """Brings an experiment's files and outputs into the workspace; raises UnsafeCheckout before anything is lost."""
    project.require_here()
    return applying.apply(project, experiment, force=force, on_event=on_event)


def remove(project: Project, *experiments: str) -> list[str]:
    """Removes experiments by name; their cached data stays."""
    project.require_here()
    return manage.remove(project, Selection(tuple(experiments)))


def undo(project: Project, number: int | None = None, *, force: bool = False) -> Undone:
    """Takes the last apply, remove, rename or gc of experiments back, or the one with that number in the log."""
    project.require_here()
    return undoing.undo(project, number, force=force)


def save(project: Project, *, name: str | None = None, force: bool = False, message: str | None = None) -> Outcome:
    """Keeps the workspace as it is as an experiment."""
    project.require_here()
    return manage.save(project, name=name, force=force, message=message)


def repro(
    project: Project,
    *,
    targets: Sequence[str] = (),
    force: bool = False,
    dry: bool = False,
    sink: Sink | None = None,
    on_event: OnEvent = null,
) -> Result:
    """Runs what is out of date."""
    project.require_here()
    options = Options(targets=tuple(targets), force=force, dry=dry)
    return reproducing.repro(project, options, Surroundings(sink=sink, stdin_null=sink is not None), on_event)


def status(project: Project, *, targets: Sequence[str] = ()) -> list[tuple[StageSpec, list[Reason]]]:
    """Every stage that is out of date, with the reasons."""
    project.require_here()
    return data.status(project, targets)


def add(project: Project, *paths: str, on_event: OnEvent = null) -> list[str]:
    """Tracks files and directories as data; returns the files git should have."""
    project.require_here()
    return data.add(project, paths, on_event=on_event)


def checkout(
    project: Project, *, targets: Sequence[str] = (), force: bool = False, on_event: OnEvent = null
) -> list[Changed]:
    """Brings tracked outputs into the workspace from the cache."""
    project.require_here()
    return data.checkout(project, targets, force=force, on_event=on_event)


def gc(project: Project, scope: CacheScope, *, dry: bool = False) -> dict[str, Garbage]:
    """Removes cached objects that nothing in the scope needs."""
    project.require_here()
    return manage.gc_cache(project, scope, dry=dry)


__all__ = [
    "Applied",
    "ExpRef",
    "add",
    "apply",
    "checkout",
    "diff",
    "gc",
    "remove",
    "repro",
    "run",
    "run_all",
    "save",
    "show",
    "status",
    "undo",
]
