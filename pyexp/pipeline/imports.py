"""Data imported from other repositories and from URLs: brought here, tracked, and brought up to date.

A ``.dvc`` file says where it came from. A repository's data is named by its commit and is fetched from there again when
it is missing; it is never pushed. A record without a hash is of an import that was never downloaded (*partial*).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyexp.errors import FormatError, PyexpError, UnsafeCheckout, UsageError, discreet
from pyexp.events import Note, OnEvent, null
from pyexp.formats import config as config_format
from pyexp.formats import lockfile
from pyexp.model import Entry, LockEntry, StageLock, StageSpec
from pyexp.pipeline import addresses, bringing, elsewhere, origins, record
from pyexp.pipeline.bringing import How, Tracked
from pyexp.pipeline.holdings import Holdings
from pyexp.pipeline.landing import Landing
from pyexp.pipeline.load import Pipeline, open_workspace, resolve
from pyexp.pipeline.origins import Origin, Settings, User
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True, slots=True)
class Updated:
    """An import that was looked at: whether it had to change."""

    file: str
    changed: bool


def origin_of(project: Project, stage: StageSpec, lock: StageLock) -> Origin | None:
    """The repository an import came from; None for one of a URL. Raises FormatError."""
    try:
        return Origin.of(lock) if stage.is_import else None
    except PyexpError as error:
        raise FormatError(error.message, path=stage.file) from error


# -- import ----------------------------------------------------------------------------------------------------------


def import_data(
    project: Project,
    url: str,
    path: str,
    *,
    cwd: str = "",
    out: str | None = None,
    rev: str | None = None,
    settings: Settings = Settings(),
    how: How = How(),
    on_event: OnEvent = null,
) -> Tracked:
    """Brings data or a file of git from another repository, and tracks it with its commit.

    Raises PyexpError when there is no such path, UnsafeCheckout when something is at the place already.
    """
    pipeline = open_workspace(project)
    relpath = bringing.place(project, pipeline, path, out, cwd, force=how.force)
    where = project.path(cwd)
    found = origins.local_path(url, [where])
    wdir = posixpath.dirname(relpath)
    origin = Origin(_recorded(url, found, project, wdir, cwd), path, rev, None, settings)
    _warn_secret(origin.url, {}, relpath, on_event)
    entry = None
    with project.live():
        if how.exec:
            with opening(project, origin, rev, on_event, bases=[where], url=url) as holdings:
                files = holdings.at(path)
                origin = origin.at(holdings.other.sha)
                if how.download:
                    entry = holdings.keep(files, project.store(), path).entry
        return bringing.track(project, relpath, LockEntry(path, None, {"repo": origin.dumped()}), entry, how, on_event)


def import_url(
    project: Project,
    url: str,
    out: str | None = None,
    *,
    cwd: str = "",
    options: Mapping[str, str] | None = None,
    how: How = How(),
    on_event: OnEvent = null,
) -> Tracked:
    """Brings a file or directory of a URL, or of this machine, and tracks it with what its version is called there."""
    if how.to_remote and not (how.exec and how.download):
        raise UsageError("--to-remote goes with neither --no-exec nor --no-download")
    if how.remote and not how.to_remote:
        raise UsageError("--remote goes with --to-remote")
    pipeline = open_workspace(project)
    relpath = bringing.place(project, pipeline, url, out, cwd, force=how.force)
    where = project.path(cwd)
    with project.live(), addresses.opened(url, project, cwd=where, options=options) as address:
        name = _recorded(url, address.path, project, posixpath.dirname(relpath), cwd)
        _warn_secret(name, options or {}, relpath, on_event)
        dep = LockEntry(name, None, {"hash": project.algo})
        entry = None
        if how.exec:
            dep, entry = _from_address(project, address, name, how, on_event)
        if options:
            dep = LockEntry(dep.path, dep.entry, {**dep.extra, "fs_config": dict(options)})
        return bringing.track(project, relpath, dep, entry, how, on_event)


def _from_address(
    project: Project, address: addresses.Address, name: str, how: How, on_event: OnEvent
) -> tuple[LockEntry, Entry | None]:
    """A URL's record and, unless it is only to be looked at, the entry of what came."""
    before = None if address.path is not None else address.record(name, project)
    if not how.download:
        return before or address.record(name, project), None
    content = bringing.fetch(project, address, how, on_event)
    # Of this machine: what was read is what is recorded. Of elsewhere: what the server called it before.
    return before or address.record(name, project, content), content.entry


def _recorded(url: str, found: str | None, project: Project, wdir: str, cwd: str) -> str:
    """A URL as the ``.dvc`` file has it: a path in the project, or a relative one, is seen from that file."""
    if found is None or "://" in url:
        return url
    root = os.path.realpath(project.root)
    inside = os.path.realpath(found).startswith(root + os.sep)
    if os.path.isabs(os.path.expanduser(url)) and not inside:
        return url
    if wdir == cwd and not os.path.isabs(os.path.expanduser(url)):
        return url
    return os.path.relpath(os.path.realpath(found), os.path.join(root, wdir)).replace(os.sep, "/")


# -- update ----------------------------------------------------------------------------------------------------------


def _warn_secret(url: str, options: Mapping[str, str], relpath: str, on_event: OnEvent) -> None:
    what = "the URL's password" if discreet(url) != url else ""
    what = next((f"'{name}'" for name in options if config_format.is_secret(f"remote.x.{name}")), what)
    if what:
        hint = "to keep it out of git make a remote of it: remote://NAME/PATH"
        on_event(Note(f"{what} goes into '{relpath}.dvc'; {hint}", "warning"))


def update(
    project: Project,
    targets: Sequence[str],
    *,
    cwd: str = "",
    rev: str | None = None,
    recursive: bool = False,
    how: How = How(),
    on_event: OnEvent = null,
) -> list[Updated]:
    """Brings imports up to date: repositories' with their branch (or ``rev``), URLs' with what is there now.

    Raises PyexpError for what is no import, UnsafeCheckout when bytes that are saved nowhere would go.
    """
    if how.to_remote and not how.download:
        raise UsageError("--to-remote and --no-download do not go together")
    if how.remote and not how.to_remote:
        raise UsageError("--remote goes with --to-remote")
    pipeline = open_workspace(project)
    done: list[Updated] = []
    for address in _named(pipeline, targets, cwd, recursive):
        stage, lock = pipeline.stages[address], pipeline.lock(address)
        with project.live():
            done.append(Updated(stage.file, update_one(project, stage, lock, rev, how, on_event)))
    return done


def _named(pipeline: Pipeline, targets: Sequence[str], cwd: str, recursive: bool) -> list[str]:
    found: dict[str, None] = {}
    for target in targets:
        top = posixpath.normpath(posixpath.join(cwd, target))
        inside = [
            address
            for address, stage in pipeline.stages.items()
            if recursive and stage.is_import and (top == "." or stage.file.startswith(f"{top}/"))
        ]
        for address in inside or [named.stage for named in resolve(pipeline, target, cwd)]:
            if not pipeline.stages[address].is_import:
                raise PyexpError(
                    f"'{target}' is no import: it does not say where its data came from",
                    hint="imports are made by pyexp import and pyexp import-url",
                )
            found[address] = None
    return list(found)


def update_one(
    project: Project, stage: StageSpec, lock: StageLock, rev: str | None, how: How, on_event: OnEvent
) -> bool:
    """Whether an import had to change; then it has."""
    workspace = Workspace(project, on_event)
    relpath = stage.relpath(stage.outs[0].path)
    old = lock.outs[0].entry if lock.outs else None
    origin = origin_of(project, stage, lock)
    whole = old is not None and workspace.cached(old) and not checksum_changed(project, stage)
    entry: Entry | None
    if origin is not None:
        if how.to_remote:
            raise UsageError(f"'{stage.file}' is of a repository, whose data stays there", hint="leave out --to-remote")
        wanted = Origin(origin.url, origin.path, rev or origin.rev, origin.rev_lock, origin.settings)
        with opening(project, wanted, wanted.rev, on_event, bases=bases(project, stage)) as holdings:
            new = wanted.at(holdings.other.sha)
            if new == origin and whole:
                return False
            on_event(Note(f"importing '{origin.path} ({origin.url})' to '{relpath}'"))
            files = holdings.at(origin.path)
            entry = holdings.keep(files, project.store(), origin.path).entry if how.download else None
        dep = LockEntry(lock.deps[0].path, None, {"repo": new.dumped()})
    else:
        if rev is not None:
            raise UsageError(f"'{stage.file}' is of a URL, which has no revisions", hint="leave out --rev")
        before = lock.deps[0]
        options = before.extra.get("fs_config")
        place = os.path.join(project.home.root, stage.wdir)
        with addresses.opened(before.path, project, cwd=place, options=options) as address:
            now = address.record(before.path, project)
            if is_same(before, now) and whole:
                return False
            on_event(Note(f"importing '{before.path}' to '{relpath}'"))
            dep, entry = _from_address(project, address, before.path, how, on_event)
        if options:
            dep = LockEntry(dep.path, dep.entry, {**dep.extra, "fs_config": options})
    _replace(workspace, stage, dep, entry, in_workspace=not how.to_remote)
    return True


def is_same(before: LockEntry, now: LockEntry) -> bool:
    bare = {key: value for key, value in before.extra.items() if key != "fs_config"}
    ours = before.entry.oid if before.entry else None
    theirs = now.entry.oid if now.entry else None
    return ours == theirs and {**bare, "size": None} == {**now.extra, "size": None}


def _replace(
    workspace: Workspace, stage: StageSpec, dep: LockEntry, entry: Entry | None, *, in_workspace: bool = True
) -> None:
    """Records what an import is now, and makes the workspace hold it."""
    project = workspace.project
    relpath = stage.relpath(stage.outs[0].path)
    if entry is not None and in_workspace:
        lost = workspace.would_lose(relpath, entry)
        if lost:
            raise UnsafeCheckout(
                f"these files would be overwritten or deleted, and are saved nowhere: {', '.join(lost[:5])}",
                paths=lost,
                hint="keep them elsewhere; or give them up: pyexp checkout --force, and try again",
            )
    project.store().flush()
    record.hide(project, stage)
    # The record goes last: as long as it is the old one, there is something to do.
    if entry is None or in_workspace:
        workspace.restore(relpath, entry)
    out = bringing.recorded_as(project, stage.outs[0].path, entry)
    record.write(project, [(stage, StageLock(None, (dep,), {}, (out,)))])
    project.statcache.save()


def checksum_changed(project: Project, stage: StageSpec) -> bool:
    """Whether an import's record is not as it was written: somebody edited it, or it was never completed."""
    with suppress(FormatError):
        text = project.read_text(stage.file)
        data = lockfile.parse_dvc(text or "", stage.file)[2]
        return bool(data.get("deps")) and data.get("md5") != lockfile.stage_md5(data)
    return False


# -- opening ---------------------------------------------------------------------------------------------------------


def bases(project: Project, stage: StageSpec) -> list[str]:
    """Where a relative URL may be seen from: the file's directory, or (as DVC takes it) where the user stood once."""
    root = os.fspath(project.home.root)
    return [os.path.join(root, stage.wdir), root]


@contextmanager
def opening(
    project: Project,
    origin: Origin,
    rev: str | None,
    on_event: OnEvent,
    *,
    bases: Sequence[str] = (os.sep,),
    url: str | None = None,
    jobs: int | None = None,
) -> Iterator[Holdings]:
    """The files of an import's repository at a revision, whose objects land in the project's cache."""
    with (
        elsewhere.staging(project) as directory,
        elsewhere.opened(
            url or origin.url,
            rev,
            staging=directory,
            bases=bases,
            settings=origin.settings,
            user=User(project.user_config, project.home.ask),
            on_event=on_event,
        ) as other,
    ):
        yield Holdings(other, Landing(directory, project.store()), jobs=jobs, on_event=on_event)
