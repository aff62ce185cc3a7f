"""Imports that are here already: fetched again from where they came, completed, and compared with what is new there."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pyexp.errors import PyexpError, RemoteError, discreet
from pyexp.events import Note, OnEvent, null
from pyexp.formats import lockfile
from pyexp.model import Content, StageLock, StageSpec
from pyexp.objects.store import LocalStore
from pyexp.pipeline import addresses, elsewhere, plan, record
from pyexp.pipeline.bringing import How, recorded_as
from pyexp.pipeline.holdings import Holdings
from pyexp.pipeline.imports import bases, checksum_changed, is_same, opening, origin_of, update_one
from pyexp.pipeline.load import Pipeline
from pyexp.pipeline.origins import Origin
from pyexp.pipeline.share import Report
from pyexp.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pyexp.project import Project


# -- fetching again, completing --------------------------------------------------------------------------------------


def bring(
    project: Project,
    pipeline: Pipeline,
    relpaths: Iterable[str],
    *,
    partial: bool = True,
    max_size_bytes: int | None = None,
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> Report:
    """Fetches imports from where they came: repositories' that the cache lacks and, with ``partial``, those that were
    never downloaded, whose records are completed.

    What cannot be had is in the report. Each repository and commit is opened once.
    """
    chosen = set(relpaths)
    workspace = Workspace(project, on_event)
    repos: dict[str, tuple[Origin, list[tuple[StageSpec, StageLock]]]] = {}
    report = Report()
    for stage, lock in _imports(pipeline):
        relpath = stage.relpath(stage.outs[0].path)
        entry = lock.outs[0].entry if lock.outs else None
        if relpath not in chosen or (entry is not None and workspace.cached(entry)) or not (entry or partial):
            continue
        if max_size_bytes is not None and entry is not None and (entry.size or 0) > max_size_bytes:
            continue
        origin = origin_of(project, stage, lock)
        if entry is None and lockfile.is_unresolved(lock.deps[0]):
            report += Report(failed=(f"{relpath}: it was never imported; now: pyexp update {stage.file}",))
        elif origin is not None:
            try:
                seen = origin.seen_from(bases(project, stage))
            except RemoteError as error:
                report += Report(failed=(f"{relpath}: {error}",))
                continue
            repos.setdefault(seen.key(seen.rev_lock), (seen, []))[1].append((stage, lock))
        elif entry is None:
            report += _attempt(relpath, functools.partial(_complete, project, stage, lock, jobs, on_event))
    for origin, group in repos.values():
        report += _bring_group(project, origin, group, jobs, on_event)
    return report


def _imports(pipeline: Pipeline) -> Iterable[tuple[StageSpec, StageLock]]:
    for address, stage in pipeline.stages.items():
        if stage.is_import:
            yield stage, pipeline.lock(address)


def _attempt(relpath: str, work: Callable[[], tuple[int, int]]) -> Report:
    try:
        count, size = work()
    except PyexpError as error:
        return Report(failed=(f"{relpath}: {error}",))
    return Report(count, size)


def _complete(
    project: Project, stage: StageSpec, lock: StageLock, jobs: int | None, on_event: OnEvent
) -> tuple[int, int]:
    """Downloads a URL's import that was only looked at; raises PyexpError when it is not what it was then."""
    before = lock.deps[0]
    place = os.path.join(project.home.root, stage.wdir)
    with addresses.opened(before.path, project, cwd=place, options=before.extra.get("fs_config")) as address:
        if not is_same(before, address.record(before.path, project)):
            raise PyexpError(
                f"what is at '{before.path}' has changed since", hint=f"take it as it is: pyexp update {stage.file}"
            )
        content = address.keep(project.store(), project=project, jobs=jobs, on_event=on_event)
    return _recorded_now(project, stage, lock, content)


def _recorded_now(project: Project, stage: StageSpec, lock: StageLock, content: Content) -> tuple[int, int]:
    """Completes a partial import's record; returns how many files and bytes it has."""
    project.store().flush()
    out = recorded_as(project, stage.outs[0].path, content.entry)
    record.write(project, [(stage, StageLock(None, lock.deps, {}, (out,)))])
    return content.entry.nfiles or 1, content.entry.size or 0


def _bring_group(
    project: Project,
    origin: Origin,
    group: Sequence[tuple[StageSpec, StageLock]],
    jobs: int | None,
    on_event: OnEvent,
) -> Report:
    report = Report()
    try:
        with opening(project, origin, origin.rev_lock, on_event, jobs=jobs) as holdings:
            for stage, lock in group:
                relpath = stage.relpath(stage.outs[0].path)
                report += _attempt(relpath, functools.partial(_bring, project, holdings, stage, lock))
    except PyexpError as error:
        for stage, _ in group:
            report += Report(failed=(f"{stage.relpath(stage.outs[0].path)}: {error}",))
    return report


def _bring(project: Project, holdings: Holdings, stage: StageSpec, lock: StageLock) -> tuple[int, int]:
    recorded = lock.outs[0].entry if lock.outs else None
    store: LocalStore = project.store(recorded.oid.algo if recorded else None)
    content = holdings.keep(holdings.at(lock.deps[0].path), store, lock.deps[0].path)
    if recorded is None:
        return _recorded_now(project, stage, lock, content)
    store.flush()
    if content.entry.oid != recorded.oid:
        raise PyexpError(
            f"the repository at {(holdings.other.sha or '')[:7]} has other data than {stage.file} records",
            hint=f"take what it has: pyexp update {stage.file}",
        )
    return content.entry.nfiles or 1, content.entry.size or 0


def refresh(project: Project, stage: StageSpec, lock: StageLock, *, pull: bool, on_event: OnEvent = null) -> bool:
    """What ``repro`` does for an import: one that was never downloaded, or is not frozen and of a URL, is brought.

    Also, with ``pull``, what the cache lacks. Returns whether its record has changed.
    """
    entry = lock.outs[0].entry if lock.outs else None
    with project.live():
        if lockfile.is_unresolved(lock.deps[0]) or (not stage.frozen and origin_of(project, stage, lock) is None):
            return update_one(project, stage, lock, None, How(), on_event)
        if entry is None or pull:
            one = Pipeline({stage.address: stage}, {stage.address: lock})
            report = bring(project, one, [stage.relpath(stage.outs[0].path)], on_event=on_event)
            if not report.complete:
                raise RemoteError([*report.missing, *report.failed][0])
    return entry is None


# -- status ----------------------------------------------------------------------------------------------------------


def reasons(
    project: Project,
    stages: Iterable[tuple[StageSpec, StageLock]],
    *,
    updates: bool = True,
    on_event: OnEvent = null,
) -> dict[str, list[plan.Reason]]:
    """What ``status`` says of imports besides their outputs: by address, newer commits and records that were edited.

    Repositories are asked once each; one that cannot be asked is told of, and passed over. Without ``updates`` only
    those of imports that are not frozen are asked: what ``repro`` would bring.
    """
    found: dict[str, list[plan.Reason]] = {}
    asked: dict[str, str | None] = {}
    for stage, lock in stages:
        if not stage.is_import:
            continue
        if checksum_changed(project, stage):
            found.setdefault(stage.address, []).append(plan.Reason("always", "changed checksum"))
        origin = origin_of(project, stage, lock)
        if origin is None and not stage.frozen and _is_newer(project, stage, lock, on_event):
            found.setdefault(stage.address, []).insert(0, plan.Reason("deps", "modified", stage.deps[0]))
        if origin is None or origin.rev_lock is None or (stage.frozen and not updates):
            continue
        key = f"{origin.key(origin.rev)} {stage.wdir}"
        if key not in asked:
            asked[key] = _latest(project, stage, origin, on_event)
        if asked[key] not in (None, origin.rev_lock):
            reason = plan.Reason("deps", "update available", f"{origin.path} ({origin.url})")
            found.setdefault(stage.address, []).insert(0, reason)
    return found


def _is_newer(project: Project, stage: StageSpec, lock: StageLock, on_event: OnEvent) -> bool:
    """Whether there is something else at an import's URL now."""
    before = lock.deps[0]
    place = os.path.join(project.home.root, stage.wdir)
    try:
        with addresses.opened(before.path, project, cwd=place, options=before.extra.get("fs_config")) as address:
            return not is_same(before, address.record(before.path, project))
    except PyexpError as error:
        on_event(Note(f"'{discreet(before.path)}' cannot be looked at: {error}", "warning"))
        return False


def _latest(project: Project, stage: StageSpec, origin: Origin, on_event: OnEvent) -> str | None:
    try:
        return elsewhere.current(project, origin.seen_from(bases(project, stage)))
    except PyexpError as error:
        on_event(Note(f"'{discreet(origin.url)}' cannot be looked at: {error}", "warning"))
        return None
