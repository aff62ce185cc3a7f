"""Data of other repositories and of URLs, put somewhere without being tracked; no project is needed."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pyexp import durable
from pyexp.errors import MissingObject, PyexpError, RemoteError, UnsafeCheckout, UsageError, discreet
from pyexp.events import Note, OnEvent, null
from pyexp.model import Oid
from pyexp.pipeline import addresses, artifacts, elsewhere, incoming, listing
from pyexp.pipeline.artifacts import Artifact
from pyexp.pipeline.elsewhere import Elsewhere
from pyexp.pipeline.holdings import Holdings, Tracked, is_description
from pyexp.pipeline.landing import File, Landing, write
from pyexp.pipeline.listing import Choice, Listed
from pyexp.pipeline.origins import Settings, User
from pyexp.pipeline.share import options_of, remote_name

if TYPE_CHECKING:
    from pyexp.project import Project


def get(
    url: str,
    path: str,
    *,
    cwd: str,
    out: str | None = None,
    rev: str | None = None,
    force: bool = False,
    settings: Settings = Settings(),
    user: User = User(),
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> str:
    """Copies data or files of git from another repository to ``out`` (seen from the OS path ``cwd``); returns where.

    Without ``rev`` a work tree of this machine gives its files as they are. Raises UnsafeCheckout when something is there
    already: ``force`` overwrites files of the same names.
    """
    if is_description(path):
        raise UsageError(f"'{path}' describes data, it is none", hint="name the data itself")
    target = _target(path, cwd, out, force)
    with (
        _beside(target) as directory,
        elsewhere.opened(
            url,
            rev,
            staging=directory,
            bases=[cwd],
            committed=False,
            settings=settings,
            user=user,
            on_event=on_event,
        ) as other,
    ):
        _copy(other, path, directory, target, jobs, on_event)
    return target


def _copy(other: Elsewhere, path: str, directory: str, target: str, jobs: int | None, on_event: OnEvent) -> int:
    """Brings the files at ``path`` into ``directory``, a place of our own, and then to ``target``; how many there are."""
    landing = Landing(directory)
    holdings = Holdings(other, landing, jobs=jobs, on_event=on_event)
    files = holdings.at(path)
    holdings.bring(files, path)
    fresh = os.path.join(directory, "new")
    write(files, fresh, landing, other.git)
    incoming.deliver(fresh, target)
    return len(files)


def get_artifact(
    url: str,
    wanted: Artifact,
    *,
    cwd: str,
    out: str | None = None,
    force: bool = False,
    settings: Settings = Settings(),
    user: User = User(),
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> tuple[str, int]:
    """Copies an artifact of another repository to ``out``; returns where, and how many files. Raises as ``get`` does."""
    place = os.path.join(cwd, out or "")
    with _beside(os.path.join(place, "x") if os.path.isdir(place) else place) as directory:
        rev = _revision(url, wanted, directory, cwd, user)
        with elsewhere.opened(
            url,
            rev,
            staging=directory,
            bases=[cwd],
            settings=settings,
            user=user,
            on_event=on_event,
        ) as other:
            path = path_of_artifact(other, wanted)
            target = _target(path, cwd, out, force)
            return target, _copy(other, path, directory, target, jobs, on_event)


def _revision(url: str, wanted: Artifact, directory: str, cwd: str, user: User) -> str:
    return f"refs/tags/{artifacts.tag_of(elsewhere.tags(url, staging=directory, bases=[cwd], user=user), wanted)}"


def path_of_artifact(other: Elsewhere, wanted: Artifact) -> str:
    """The path of an artifact in a repository that is open at its commit, seen from the URL's directory."""
    root = other.root_of(wanted.directory)
    path = artifacts.path_of(other.pipeline(root), wanted, root)
    return posixpath.relpath(path, other.top) if other.top else path


def artifact_of(url: str, wanted: Artifact, *, cwd: str) -> dict[str, str]:
    """The commit (``rev``) and ``path`` of an artifact of another repository; raises PyexpError when there is none."""
    with elsewhere.somewhere() as directory:
        rev = _revision(url, wanted, directory, cwd, User())
    with committed(url, rev, cwd=cwd) as other:
        return {"rev": other.sha or "", "path": path_of_artifact(other, wanted)}


def location_of_artifact(
    url: str,
    wanted: Artifact,
    *,
    cwd: str,
    settings: Settings = Settings(),
    user: User = User(),
) -> str:
    """Where the other repository's remote, or else its cache, keeps an artifact."""
    with elsewhere.somewhere() as directory:
        rev = _revision(url, wanted, directory, cwd, user)
        with elsewhere.opened(url, rev, staging=directory, bases=[cwd], settings=settings, user=user) as other:
            return _location(other, path_of_artifact(other, wanted), directory)


def location(
    url: str,
    path: str,
    *,
    cwd: str,
    rev: str | None = None,
    settings: Settings = Settings(),
    user: User = User(),
) -> str:
    """Where the other repository's remote, or else its cache, keeps tracked data; of a directory, its manifest."""
    with (
        elsewhere.somewhere() as directory,
        elsewhere.opened(
            url, rev, staging=directory, bases=[cwd], committed=False, settings=settings, user=user
        ) as other,
    ):
        return _location(other, path, directory)


def _location(other: Elsewhere, path: str, directory: str) -> str:
    holdings = Holdings(other, Landing(directory))
    relpath = other.relpath(path)
    for tracked in holdings.tracked(relpath):
        oid = tracked.entry.oid
        if tracked.below is not None:
            file = holdings.manifest(tracked).files.get(tracked.below)
            if file is None:
                break
            oid = Oid(oid.algo, file.hex)
        elif tracked.relpath != relpath:
            break
        return f"{_base(other, tracked)}/{_key(oid)}"
    raise PyexpError(f"'{path}' is no tracked data of '{other.url}'", hint="see what is: pyexp list URL --dvc-only")


def _base(other: Elsewhere, tracked: Tracked) -> str:
    project, cache = other.project(tracked.root), other.cache_dir(tracked.root)
    if cache is not None and not tracked.remote and not project.config.get("core.remote"):
        return os.fspath(cache)
    url = options_of(project, remote_name(project, tracked.remote))["url"].removeprefix("file://")
    if "://" not in url:
        url = os.path.normpath(os.path.join(project.control, os.path.expanduser(url)))
    return discreet(url.rstrip("/"))


def _key(oid: Oid) -> str:
    top = "" if oid.algo == "md5-dos2unix" else f"files/{oid.algo}/"
    return f"{top}{oid.hex[:2]}/{oid.hex[2:]}"


def get_url(
    url: str,
    *,
    cwd: str,
    project: Project | None = None,
    out: str | None = None,
    force: bool = False,
    options: Mapping[str, str] | None = None,
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> str:
    """Copies a file or directory of a URL, or of this machine, to ``out``; returns where. Raises as ``get`` does."""
    target = _target(url.partition("?")[0], cwd, out, force)
    with _beside(target) as directory, addresses.opened(url, project, cwd=cwd, options=options) as address:
        landing = Landing(directory)
        if address.path is not None:
            files = {path: File(path=os.path.join(address.path, path)) for path in _below(address)}
            if "" in files:
                files = {"": File(path=address.path)}
            files = {path: file._replace(isexec=os.access(file.path or "", os.X_OK)) for path, file in files.items()}
        else:
            content = address.keep(landing.store("md5"), jobs=jobs, on_event=on_event)
            members = content.tree.files if content.tree is not None else {}
            files = {path: File(oid=Oid("md5", member.hex)) for path, member in members.items()}
            files = files if content.tree is not None else {"": File(oid=content.entry.oid)}
        fresh = os.path.join(directory, "new")
        write(files, fresh, landing)
        incoming.deliver(fresh, target)
    return target


def _below(address: addresses.Address) -> Iterator[str]:
    """The files of a directory of this machine; '' for a file."""
    assert address.path is not None
    for path, _, is_dir in address.listing():
        if not is_dir:
            if not os.path.isfile(os.path.join(address.path, path) if path else address.path):
                raise PyexpError(f"'{path}' at '{address.url}' is no file, or a link to nothing")
            yield path


def usage(
    url: str,
    path: str = "",
    *,
    cwd: str,
    rev: str | None = None,
    settings: Settings = Settings(),
    user: User = User(),
    on_event: OnEvent = null,
) -> dict[str, int]:
    """How many bytes what is at ``path`` of another repository has, by name; '' for a file itself."""
    with looking_at(url, cwd=cwd, rev=rev, settings=settings, user=user, on_event=on_event) as holdings:
        return holdings.sizes(path)


def listing_of(
    url: str,
    path: str = "",
    *,
    cwd: str,
    rev: str | None = None,
    choice: Choice = Choice(),
    settings: Settings = Settings(),
    user: User = User(),
    on_event: OnEvent = null,
) -> tuple[list[Listed], str]:
    """What a repository, or a project of this machine, holds at ``path``; and the name of its hashes.

    Manifests that its cache lacks are fetched, where its remote has them, for what is to be listed.
    """
    with looking_at(url, cwd=cwd, rev=rev, settings=settings, user=user, on_event=on_event) as holdings:
        other = holdings.other
        relpath = other.relpath(path)
        root = other.root_of(relpath)
        for tracked in holdings.tracked(relpath):
            inside = tracked.below is not None or tracked.relpath == relpath
            if tracked.entry.oid.is_dir and (inside or choice.recursive):
                try:
                    holdings.manifest(tracked)
                except (MissingObject, RemoteError) as error:
                    on_event(Note(f"what is in '{tracked.relpath}' is not known: {error}", "warning"))
        project = other.project(root)
        below = relpath[len(root) + 1 if root else 0 :]
        found = listing.listing(project, below, sha=other.sha, pipeline=other.pipeline(root), choice=choice)
        return found, project.algo


@contextmanager
def committed(
    url: str, rev: str | None = None, *, cwd: str, whole: bool = False, settings: Settings = Settings()
) -> Iterator[Elsewhere]:
    """A repository at a commit, to be read; ``whole`` with all of its history and experiments."""
    with (
        elsewhere.somewhere() as directory,
        elsewhere.opened(url, rev, staging=directory, bases=[cwd], whole=whole, settings=settings) as other,
    ):
        yield other


@contextmanager
def opened_file(
    url: str, path: str, rev: str | None = None, *, cwd: str, settings: Settings = Settings()
) -> Iterator[BinaryIO]:
    """A file of git, or tracked data, of another repository; raises PyexpError when there is none."""
    with committed(url, rev, cwd=cwd, settings=settings) as other:
        landing = Landing(other.staging)
        holdings = Holdings(other, landing)
        files = holdings.at(path)
        if "" not in files:
            raise PyexpError(f"'{path}' is a directory", hint="name a file in it")
        holdings.bring(files, path)
        fresh = os.path.join(other.staging, "new")
        write(files, fresh, landing, other.git)
        with open(fresh, "rb") as file:
            yield file


@contextmanager
def looking_at(
    url: str,
    *,
    cwd: str,
    rev: str | None,
    settings: Settings,
    user: User,
    on_event: OnEvent = null,
) -> Iterator[Holdings]:
    """A repository to look at; a work tree of this machine as it is, unless a revision is named."""
    with (
        elsewhere.somewhere() as directory,
        elsewhere.opened(
            url,
            rev,
            staging=directory,
            bases=[cwd],
            committed=False,
            settings=settings,
            user=user,
            on_event=on_event,
        ) as other,
    ):
        yield Holdings(other, Landing(directory), on_event=on_event)


# -- where it goes ---------------------------------------------------------------------------------------------------


def _target(source: str, cwd: str, out: str | None, force: bool) -> str:
    """The OS path that is to be made; raises UnsafeCheckout when it is there already."""
    name = posixpath.basename(source.rstrip("/").replace(os.sep, "/"))
    if (not name or name in (".", "..")) and out is None:
        raise UsageError(f"'{source}' has no name", hint="say where it is to go: -o PATH")
    target = os.path.normpath(os.path.join(cwd, out or name))
    if out is not None and os.path.isdir(target) and name not in ("", ".", ".."):
        target = os.path.join(target, name)
    if os.path.lexists(target) and not force:
        raise UnsafeCheckout(f"'{target}' exists already", paths=[target], hint="to overwrite it: --force")
    return target


@contextmanager
def _beside(target: str) -> Iterator[str]:
    """A directory of our own on the file system of ``target``; what is above that is made."""
    above = os.path.dirname(target)
    os.makedirs(above, exist_ok=True)
    durable.remove_litter_directories(above)
    with elsewhere.scratch(durable.temporary_name(above)) as directory:
        yield directory
