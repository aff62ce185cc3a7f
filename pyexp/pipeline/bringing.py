"""Data of a path or a URL that becomes an output of ours: through the cache into the workspace, or to a remote only."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from pyexp.errors import GraphError, PyexpError, RemoteError, UnsafeCheckout, UsageError
from pyexp.events import OnEvent, null
from pyexp.model import Content, Entry, LockEntry, Oid, OutSpec, StageLock, StageSpec
from pyexp.objects import transfer
from pyexp.objects.actions import files_of
from pyexp.pipeline import addresses, elsewhere, incoming, record, share
from pyexp.pipeline.addresses import Address
from pyexp.pipeline.landing import Landing
from pyexp.pipeline.load import Pipeline, open_workspace
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class How:
    """How far it goes: ``exec`` False only writes the record, ``download`` False only looks; with how many threads.

    ``to_remote`` sends the data to a remote (``remote``, or the default) and leaves it there.
    """

    exec: bool = True
    download: bool = True
    to_remote: bool = False
    remote: str | None = None
    force: bool = False
    jobs: int | None = None


@dataclass(frozen=True)
class Tracked:
    """The file that tracks what came, and what git should have."""

    file: str
    for_git: tuple[str, ...]


def add(
    project: Project, source: str, out: str | None = None, *, cwd: str = "", how: How = How(), on_event: OnEvent = null
) -> Tracked:
    """Tracks what is at a path or URL as an output at ``out`` (default: here, by its name), which forgets the source.

    Raises PyexpError when it must not be there, UnsafeCheckout when something is at the place already.
    """
    if how.remote and not how.to_remote:
        raise UsageError("--remote goes with --to-remote")
    pipeline = open_workspace(project)
    with project.live(), addresses.opened(source, project, cwd=project.path(cwd)) as address:
        relpath = _place_of_addition(project, pipeline, address, out, cwd, how)
        entry = fetch(project, address, how, on_event).entry
        return track(project, relpath, None, entry, how, on_event)


def _place_of_addition(
    project: Project, pipeline: Pipeline, address: Address, out: str | None, cwd: str, how: How
) -> str:
    """Where it goes; sent to a remote, something of the project may be added where it is."""
    if how.to_remote and out is None and address.path is not None:
        root = os.fspath(project.root)
        if address.path.startswith(root + os.sep):
            return incoming.addable(project, pipeline, os.path.relpath(address.path, root), "")
    relpath = place(project, pipeline, address.url, out, cwd, force=how.force)
    if address.path is not None:
        real, inside = os.path.realpath(address.path), os.path.realpath(project.path(relpath))
        if real == inside or inside.startswith(real + os.sep) or real.startswith(inside + os.sep):
            raise PyexpError(f"'{address.url}' and '{relpath}' hold each other", hint="name another place")
    return relpath


def place(project: Project, pipeline: Pipeline, source: str, out: str | None, cwd: str, *, force: bool) -> str:
    """The relpath where data is to be; raises PyexpError when it must not be there."""
    name = posixpath.basename(source.partition("?")[0].rstrip("/").replace(os.sep, "/"))
    if not name or name in (".", ".."):
        raise UsageError(f"'{source}' has no name", hint="say what it is to be called")
    given = out or name
    relpath = project.relpath(given, project.path(cwd))
    if out is not None and os.path.isdir(project.path(relpath)):
        relpath = project.relpath(os.path.join(project.path(relpath), name))
    incoming.check(project, pipeline, relpath, given)
    unfinished = False
    for owner, stage, _ in pipeline.outs():
        if relpath.startswith(f"{owner}/"):
            raise GraphError(f"'{given}' is inside '{owner}', which {stage.address} tracks", hint="name another place")
        if relpath == owner and not force and not (unfinished := _is_unfinished(project, pipeline, stage)):
            raise UnsafeCheckout(
                f"'{relpath}' is tracked by {stage.file} already",
                paths=[relpath],
                hint=f"bring it up to date: pyexp update {stage.file}; or replace it: --force"
                if stage.is_import
                else "to replace it: --force",
            )
    if os.path.lexists(project.path(relpath)) and not force and not unfinished:
        raise UnsafeCheckout(f"'{relpath}' exists already", paths=[relpath], hint="to replace it: --force")
    if not os.path.isdir(os.path.dirname(project.path(relpath))):
        raise PyexpError(f"there is no directory for '{relpath}'", hint="make it first")
    return relpath


def _is_unfinished(project: Project, pipeline: Pipeline, stage: StageSpec) -> bool:
    """Whether less is there than the stage's record says and nothing else: ``track`` was killed, or it was deleted.

    Only where ``track`` would write the very same file: another one would track the output a second time.
    """
    relpath = stage.relpath(stage.outs[0].path)
    if len(stage.outs) > 1 or stage.file != f"{relpath}.dvc":
        return False
    if not os.path.lexists(project.path(relpath)):
        return True
    outs = pipeline.lock(stage.address).outs
    if not outs or outs[0].entry is None:
        return False
    recorded = outs[0].entry
    workspace = Workspace(project)
    here = workspace.content(relpath, recorded.oid.algo)
    if here is None or here.tree is None or here.entry.oid == recorded.oid or not workspace.cached(recorded):
        return False
    wanted = files_of(project.store(recorded.oid.algo).load(recorded))
    return all(wanted.get(path) == file for path, file in files_of(here).items())


def fetch(project: Project, address: Address, how: How, on_event: OnEvent) -> Content:
    """What is at an address, in the cache; or on the remote only. Raises MissingObject, RemoteError."""
    if how.to_remote:
        return _send(project, address, how, on_event)
    return address.keep(project.store(), project=project, jobs=how.jobs, on_event=on_event)


def _send(project: Project, address: Address, how: How, on_event: OnEvent) -> Content:
    """From the URL to the remote; the cache does not get it."""
    with elsewhere.staging(project) as directory:
        landed = Landing(directory).store(project.algo)
        content = address.keep(landed, jobs=how.jobs, on_event=on_event)
        oids = {content.entry.oid}
        if content.tree is not None:
            oids |= {Oid(content.tree.algo, file.hex) for file in content.tree.files.values()}
        with share.opened(project, how.remote) as remote:
            target = remote.store(project.algo)
            jobs = share.jobs_for(project, remote, how.jobs)
            result = transfer.transfer(
                landed, target, target.missing(oids), jobs=jobs, what="pushing", on_event=on_event
            )
        if result.failed:
            raise RemoteError(f"{len(result.failed)} objects could not be sent: {result.failed[0][1]}")
        return content


def track(
    project: Project, relpath: str, dep: LockEntry | None, entry: Entry | None, how: How, on_event: OnEvent
) -> Tracked:
    """Writes the record of something new (an import, with ``dep``), and then brings the data into the workspace."""
    directory, name = posixpath.split(relpath)
    deps = () if dep is None else (dep,)
    stage = StageSpec(
        f"{relpath}.dvc",
        None,
        wdir=directory,
        deps=tuple(dep.path for dep in deps),
        outs=(OutSpec(name),),
        frozen=dep is not None,
    )
    project.store().flush()
    record.hide(project, stage)
    record.write(project, [(stage, StageLock(None, deps, {}, (recorded_as(project, name, entry),)))])
    workspace = Workspace(project, on_event)
    if entry is not None and not how.to_remote:
        workspace.restore(relpath, entry, force=how.force)
        project.statcache.save()
    ignore_file = posixpath.join(directory, ".gitignore")
    for_git = [ignore_file, stage.file] if os.path.exists(project.path(ignore_file)) else [stage.file]
    return Tracked(stage.file, tuple(for_git))


def recorded_as(project: Project, name: str, entry: Entry | None) -> LockEntry:
    """An output's record; an import that was never downloaded has no hash."""
    return LockEntry(name, entry, {} if entry is not None else {"hash": project.algo})
