"""``push``, ``fetch``, ``pull`` and ``status -c``: which outputs are meant, in which revisions, and what becomes of them."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pyexp.errors import CorruptObject, MissingObject, PyexpError, RemoteError
from pyexp.events import Note, OnEvent, null
from pyexp.model import Content, Oid, Tree
from pyexp.objects import checkout as objects_checkout
from pyexp.objects.contract import Store
from pyexp.pipeline import data, reimport, runs, share
from pyexp.pipeline.load import CommitReader, Pipeline, load, open_workspace, parsing_options, resolve
from pyexp.pipeline.share import Needed, Report
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class What:
    """Which data: targets seen from ``cwd`` (default: all) in the workspace, and in ``commits``."""

    targets: tuple[str, ...] = ()
    cwd: str = ""
    recursive: bool = False
    with_deps: bool = False
    glob: bool = False
    commits: tuple[str, ...] = ()
    workspace: bool = True
    kind: Literal["metrics", "plots"] | None = None
    max_size_bytes: int | None = None


@dataclass(frozen=True)
class How:
    """By which remote, with how many threads, and whether results of stages (the run cache) go along."""

    remote: str | None = None
    jobs: int | None = None
    run_cache: bool = False


@dataclass(frozen=True)
class Pulled:
    """What came, and what changed in the workspace."""

    report: Report
    changed: tuple[data.Changed, ...] = ()


# -- what is meant ---------------------------------------------------------------------------------------------------


def needed(project: Project, what: What, on_event: OnEvent = null) -> list[Needed]:
    """The data that is meant; raises PyexpError for a target that the workspace does not know.

    What was imported from other repositories is not: it stays there. Files of old commits that cannot be read are told
    of and left out; those of the workspace raise.
    """
    found: dict[Needed, None] = {}
    for pipeline, strict in _pipelines(project, what, on_event):
        found.update(dict.fromkeys(needed_of(pipeline, what, strict=strict)))
    return list(found)


def _pipelines(project: Project, what: What, on_event: OnEvent) -> Iterator[tuple[Pipeline, bool]]:
    """The pipelines of the workspace and the commits, each with whether all targets must be in it."""
    if what.workspace:
        yield open_workspace(project), not what.commits
    for commit in what.commits:
        reader = CommitReader(project.require_git(), commit, project.prefix)
        pipeline = load(reader, parsing=parsing_options(project), lenient=True)
        for problem in pipeline.broken:
            on_event(Note(f"commit {commit[:7]}: {problem}: left out", "warning"))
        yield pipeline, False


def needed_of(pipeline: Pipeline, what: What, *, strict: bool = True) -> Iterator[Needed]:
    """The data that is meant of one pipeline; ``strict`` raises PyexpError for a target that it does not know."""
    chosen = _chosen(pipeline, what, strict=strict)
    for relpath, stage, out in pipeline.outs():
        if not out.cache or (chosen is not None and relpath not in chosen):
            continue
        if what.kind is not None and out.kind != what.kind[:-1]:
            continue
        lock = pipeline.lock(stage.address)
        entry = next((e.entry for e in lock.outs if e.path == out.path), None)
        if entry is None or (what.max_size_bytes is not None and (entry.size or 0) > what.max_size_bytes):
            continue
        if any("repo" in dep.extra for dep in lock.deps):
            continue
        for below in (chosen[relpath] if chosen is not None else ()) or (None,):
            yield Needed(relpath, entry, out.remote, out.push, below)


def _chosen(pipeline: Pipeline, what: What, *, strict: bool) -> dict[str, tuple[str, ...]] | None:
    """Outputs that targets name, each with the paths inside that were named (none: all of it); None for every output."""
    if not what.targets:
        return None
    whole: set[str] = set()
    parts: dict[str, tuple[str, ...]] = {}
    for target in _expanded(pipeline, what):
        try:
            named = [] if what.recursive else resolve(pipeline, target, what.cwd)
            inside = [one for one in named if one.out is not None and one.below is not None]
            for one in inside:
                assert one.out is not None and one.below is not None
                parts[one.out] = (*parts.get(one.out, ()), one.below)
            if not inside or what.with_deps:
                outs = data.named_outputs(
                    pipeline, [target], what.cwd, recursive=what.recursive, with_deps=what.with_deps
                )
                whole.update((outs or set()) - {one.out for one in inside if one.out is not None})
        except PyexpError:
            if strict:
                raise
    return {**parts, **dict.fromkeys(whole, ())}


def _expanded(pipeline: Pipeline, what: What) -> list[str]:
    if not what.glob:
        return list(what.targets)
    known = [*pipeline.stages, *(relpath for relpath, _, _ in pipeline.outs())]
    shown = [posixpath.relpath(path, what.cwd or ".") if "/" in path or what.cwd else path for path in known]
    found: dict[str, None] = {}
    for target in what.targets:
        matches = fnmatch.filter(shown, target)
        if not matches:
            raise PyexpError(f"nothing matches '{target}'", hint="patterns match tracked paths and stages")
        found.update(dict.fromkeys(matches))
    return list(found)


# -- push, fetch, pull -----------------------------------------------------------------------------------------------


def push(project: Project, what: What = What(), how: How = How(), *, on_event: OnEvent = null) -> Report:
    """Sends data that the remote lacks: members before manifests, each object hashed before it goes."""
    report = share.send(project, needed(project, what, on_event), remote=how.remote, jobs=how.jobs, on_event=on_event)
    if how.run_cache:
        # Of old results the cache may have lost something; they are of no use to anybody then.
        here = [need for need in runs.needed(project) if project.store(need.entry.oid.algo).has(need.entry.oid)]
        report += share.send(project, here, remote=how.remote, jobs=how.jobs, on_event=on_event)
        runs.push(project, how.remote, how.jobs)
    return report


def fetch(project: Project, what: What = What(), how: How = How(), *, on_event: OnEvent = null) -> Report:
    """Brings data that the cache lacks; what is not pushed, or only known from the run cache, is not missed."""
    wanted = needed(project, what, on_event)
    optional = [need for need in wanted if not need.push]
    if how.run_cache:
        runs.fetch(project, how.remote, how.jobs)
        optional += runs.needed(project)
    wanted = [need for need in wanted if need.push]
    report = share.bring(project, wanted, remote=how.remote, jobs=how.jobs, on_event=on_event)
    try:
        extra = share.bring(project, optional, remote=how.remote, jobs=how.jobs, on_event=on_event)
        report += Report(extra.count, extra.size_bytes, (), extra.failed)
    except RemoteError as error:
        on_event(Note(str(error), "warning"))
    return report + _fetch_imports(project, what, how, on_event)


def _fetch_imports(project: Project, what: What, how: How, on_event: OnEvent) -> Report:
    """Imports come from where they were imported from; in the workspace, records of partial ones are completed."""
    report = Report()
    if what.kind is not None:
        return report
    for number, (pipeline, strict) in enumerate(_pipelines(project, what, on_event)):
        if not any(stage.is_import for stage in pipeline.stages.values()):
            continue
        chosen = _chosen(pipeline, what, strict=strict)
        named = [relpath for relpath, _, _ in pipeline.outs() if chosen is None or relpath in chosen]
        limit = what.max_size_bytes
        is_workspace = what.workspace and number == 0
        with project.live():
            report += reimport.bring(
                project, pipeline, named, partial=is_workspace, max_size_bytes=limit, jobs=how.jobs, on_event=on_event
            )
    return report


def pull(
    project: Project,
    what: What = What(),
    how: How = How(),
    *,
    force: bool = False,
    on_event: OnEvent = null,
) -> Pulled:
    """``fetch``, and then brings what the targets name into the workspace, as far as it came.

    Raises UnsafeCheckout, before the workspace is touched, when unsaved bytes would go (unless ``force``).
    """
    report = fetch(project, what, how, on_event=on_event)
    pipeline = open_workspace(project)
    chosen = _chosen(pipeline, what, strict=True)
    parts = {relpath: below for relpath, below in (chosen or {}).items() if below}
    whole = None if chosen is None else sorted(relpath for relpath, below in chosen.items() if not below)
    changed: list[data.Changed] = []
    if whole is None or whole:
        changed += data.checkout(project, whole or (), force=force, allow_missing=True, on_event=on_event)
    for relpath, below in parts.items():
        changed += _restore_parts(project, pipeline, relpath, below, force, on_event)
    project.statcache.save()
    return Pulled(report, tuple(changed))


def _restore_parts(
    project: Project, pipeline: Pipeline, relpath: str, below: Sequence[str], force: bool, on_event: OnEvent
) -> list[data.Changed]:
    """Makes the named paths of a directory hold what is recorded; the rest of it stays as it is."""
    stage, out = next((stage, out) for path, stage, out in pipeline.outs() if path == relpath)
    entry = next((e.entry for e in pipeline.lock(stage.address).outs if e.path == out.path), None)
    if entry is None:
        return []
    store = project.store(entry.oid.algo)
    recorded = store.read_tree(entry.oid)
    have = Workspace(project, on_event).content(relpath, entry.oid.algo)
    files = dict(have.tree.files) if have is not None and have.tree is not None else {}
    files = {path: file for path, file in files.items() if not _inside(path, below)}
    for path, file in recorded.files.items():
        if _inside(path, below) and store.has(Oid(recorded.algo, file.hex)):
            files[path] = file
    changes = objects_checkout.checkout(
        project.path(relpath),
        Content(entry, Tree(recorded.algo, dict(sorted(files.items())))),
        root=str(project.root),
        store=store,
        statcache=project.statcache,
        ignore=project.ignored_below(relpath),
        links=project.links,
        force=force,
        on_event=on_event,
    )
    if not (changes.added or changes.modified or changes.deleted):
        return []
    return [data.Changed("M" if have else "A", f"{relpath}/", changes.added, changes.modified, changes.deleted)]


def _inside(path: str, below: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in below)


# -- status -c -------------------------------------------------------------------------------------------------------

State = Literal["new", "deleted", "missing"]


def compare(project: Project, what: What = What(), how: How = How(), *, on_event: OnEvent = null) -> dict[str, State]:
    """Files whose data is not in both places: ``new`` is only in the cache, ``deleted`` only on the remote.

    ``missing`` is in neither. Nothing is transferred but the manifests that have to be looked into.
    """
    found: dict[str, State] = {}
    wanted = [need for need in needed(project, what, on_event) if need.push]
    for name, algos in share.by_remote(project, wanted, how.remote).items():
        with share.opened(project, name) as remote:
            for algo, group in algos.items():
                found.update(_compare(project.store(algo), remote.store(algo), group, on_event))
    return dict(sorted(found.items()))


def _compare(here: Store, there: Store, group: Iterable[Needed], on_event: OnEvent) -> dict[str, State]:
    names: dict[Oid, set[str]] = {}
    for need in group:
        oid = need.entry.oid
        if need.below is None:
            names.setdefault(oid, set()).add(f"{need.relpath}/" if oid.is_dir else need.relpath)
        tree = _manifest(need.relpath, oid, (here, there), on_event) if oid.is_dir else None
        for member, path in share.members(need, tree) if tree is not None else ():
            names.setdefault(member, set()).add(path)
    absent_here, absent_there = here.missing(names), there.missing(names)
    found: dict[str, State] = {}
    for oid in absent_here | absent_there:
        state: State = "new" if oid not in absent_here else "deleted" if oid not in absent_there else "missing"
        found.update(dict.fromkeys(names[oid], state))
    return found


def _manifest(relpath: str, oid: Oid, stores: Iterable[Store], on_event: OnEvent) -> Tree | None:
    """A directory's manifest from the first place that has a sound one; that there is none which is sound is told."""
    damage = ""
    for store in stores:
        try:
            return store.read_tree(oid)
        except MissingObject:
            continue
        except CorruptObject as error:
            damage = str(error)
    if damage:
        on_event(Note(f"{relpath}: its files cannot be compared: {damage}", "warning"))
    return None
