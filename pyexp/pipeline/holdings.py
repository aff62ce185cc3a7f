"""What a path of another repository holds, file by file, and bringing those files here.

A file is git's, tracked data (an object of the other project's cache or remote), or simply there. Directories are all
three seen as one tree, without what describes a pipeline: as DVC has it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyexp import durable
from pyexp.errors import MissingObject, PyexpError, RemoteError, StoreError
from pyexp.events import OnEvent, null
from pyexp.formats.ignore import Ignore
from pyexp.git.objects import EXECUTABLE, FILE, SYMLINK
from pyexp.model import Content, Entry, Oid, StageLock, Tree, TreeFile
from pyexp.objects import parallel, transfer
from pyexp.objects import tree as trees
from pyexp.objects.hashes import hash_bytes
from pyexp.objects.store import LocalStore
from pyexp.paths import printable
from pyexp.pipeline import elsewhere, share
from pyexp.pipeline.elsewhere import Elsewhere
from pyexp.pipeline.landing import File, Landing, layout_of
from pyexp.pipeline.origins import Origin

if TYPE_CHECKING:
    from pyexp.project import Project

_CONTROL = frozenset({".git", ".dvc", ".pyexp"})


# So many repositories may have imported data from one another.
MAX_DEPTH = 5


class Tracked(NamedTuple):
    """Tracked data that a path holds or is in: ``below`` is the part of it that is meant (None: all)."""

    relpath: str
    root: str
    entry: Entry
    remote: str | None
    origin: Origin | None
    below: str | None


def is_description(relpath: str) -> bool:
    """Whether a file describes a pipeline and is not data: such are left out of directories, as in DVC."""
    name = posixpath.basename(relpath)
    return name in ("dvc.yaml", ".dvcignore") or (name.endswith(".dvc") and len(name) > 4)


class Holdings:
    """The files at one path of another repository; objects that have to come land in stores of ``landing``."""

    def __init__(
        self,
        other: Elsewhere,
        landing: Landing,
        *,
        jobs: int | None = None,
        depth: int = 0,
        on_event: OnEvent = null,
    ) -> None:
        self._depth = depth
        self.other = other
        self._landing = landing
        self._jobs = jobs
        self._on_event = on_event

    def at(self, path: str) -> dict[str, File]:
        """The files at ``path`` (as the user gave it) by relpath below it; '' for a file itself.

        Manifests of tracked directories are brought for it. Raises PyexpError when there is nothing.
        """
        relpath = self.other.relpath(path)
        found: dict[str, File] = {}
        is_dir = False
        for below, file in self._plain(relpath):
            found[below] = file
        for tracked in self.tracked(relpath):
            is_dir = is_dir or tracked.entry.oid.is_dir or tracked.relpath != relpath
            for below, file in self._members(tracked, relpath):
                found.setdefault(below, file)
        if not found and not is_dir and not self._is_directory(relpath):
            raise PyexpError(
                f"'{path}' is neither a file of git nor tracked data in {printable(self.other.url)}",
                hint="see what there is: pyexp list URL",
            )
        return dict(sorted(found.items()))

    def _is_directory(self, relpath: str) -> bool:
        if self.other.sha is None:
            return os.path.isdir(os.path.join(self.other.base, relpath))
        return not relpath or any(path.startswith(f"{relpath}/") for path in self.other.tree)

    # -- git's files, and those of a work tree -----------------------------------------------------------------------

    def _plain(self, relpath: str) -> Iterator[tuple[str, File]]:
        files = self._here(relpath) if self.other.sha is None else self._committed(relpath)
        for path, file in files:
            if path == relpath:
                yield "", file
            elif not is_description(path):
                yield path[len(relpath) + 1 if relpath else 0 :], file

    def _committed(self, relpath: str) -> Iterator[tuple[str, File]]:
        tree, git = self.other.tree, self.other.git
        assert git is not None
        above = f"{relpath}/" if relpath else ""
        paths = [relpath] if relpath in tree else [path for path in tree if path.startswith(above)]
        ignore = Ignore(lambda directory: self._ignore_text(directory))
        for path in paths:
            mode, sha = tree[path]
            if _CONTROL & set(path.split("/")) or (path != relpath and ignore.match(path, False)):
                continue
            if mode == SYMLINK:
                target = posixpath.normpath(
                    posixpath.join(posixpath.dirname(path), git.read_blob(sha).decode("utf-8", "replace"))
                )
                mode, sha = tree.get(target, (0, ""))
                if mode not in (FILE, EXECUTABLE):
                    raise PyexpError(
                        f"'{printable(path)}' is a link to '{printable(target)}', which is no file of the repository"
                    )
            if mode in (FILE, EXECUTABLE):
                yield path, File(isexec=mode == EXECUTABLE, blob=sha)

    def _ignore_text(self, directory: str) -> str | None:
        entry = self.other.tree.get(posixpath.join(directory, ".dvcignore"))
        assert self.other.git is not None
        if entry is None:
            return None
        return self.other.git.read_blob(entry[1], most=durable.MAX_READ_BYTES).decode("utf-8", "surrogateescape")

    def _here(self, relpath: str) -> Iterator[tuple[str, File]]:
        base = self.other.base
        top = os.path.join(base, relpath)
        if os.path.isfile(top):
            yield relpath, self._file(relpath)
            return
        ignore = self.other.project("").ignore
        for directory, names, files in os.walk(top):
            below = os.path.relpath(directory, base).replace(os.sep, "/")
            prefix = "" if below == "." else f"{below}/"
            names[:] = [name for name in names if name not in _CONTROL and not ignore.match(prefix + name, True)]
            for name in files:
                if name not in _CONTROL and not ignore.match(prefix + name, False):
                    yield prefix + name, self._file(prefix + name)

    def _file(self, relpath: str) -> File:
        base = self.other.base
        path = os.path.realpath(os.path.join(base, relpath))
        if os.path.islink(os.path.join(base, relpath)) and not path.startswith(base + os.sep):
            cache = os.path.realpath(self.other.cache_dir(self.other.root_of(relpath)) or base)
            if not path.startswith(cache + os.sep):
                raise PyexpError(f"'{printable(relpath)}' is a link that leads out of '{printable(self.other.url)}'")
        try:
            status = os.stat(path)
        except FileNotFoundError as error:
            raise PyexpError(f"'{printable(relpath)}' in '{printable(self.other.url)}' is a link to nothing") from error
        return File(status.st_size, bool(status.st_mode & 0o100), path=path)

    # -- tracked data ------------------------------------------------------------------------------------------------

    def tracked(self, relpath: str) -> Iterator[Tracked]:
        """Tracked data at, above or below a path of the other repository."""
        for root in [self.other.root_of(relpath), *self.other.roots_below(relpath)]:
            pipeline = self.other.pipeline(root)
            for out, stage, spec in pipeline.outs():
                path = posixpath.join(root, out)
                above = relpath.startswith(f"{path}/")
                if not spec.cache or not (path == relpath or above or not relpath or path.startswith(f"{relpath}/")):
                    continue
                if self.other.root_of(posixpath.join(root, stage.file)) != root:
                    continue  # of a project further in
                lock = pipeline.lock(stage.address)
                entry = next((entry.entry for entry in lock.outs if entry.path == spec.path), None)
                if entry is not None:
                    below = relpath[len(path) + 1 :] if above else None
                    origin = self._origin(posixpath.join(root, stage.wdir), lock) if stage.is_import else None
                    yield Tracked(path, root, entry, spec.remote, origin, below)

    def _origin(self, wdir: str, lock: StageLock) -> Origin | None:
        with suppress(PyexpError):  # nonsense in their records is theirs
            origin = Origin.of(lock)
            return None if origin is None else origin.seen_from([os.path.join(self.other.base, wdir)])
        return None

    def _members(self, tracked: Tracked, relpath: str) -> Iterator[tuple[str, File]]:
        entry, oid = tracked.entry, tracked.entry.oid
        file = File(entry.size, entry.isexec, None, None, oid, tracked.root, tracked.remote, tracked.origin)
        top = tracked.relpath[len(relpath) + 1 if relpath else 0 :] if tracked.below is None else ""
        if not oid.is_dir:
            if tracked.below is None:
                yield top, file
            return
        for path, member in self.manifest(tracked).files.items():
            held = file._replace(size=member.size, isexec=member.isexec, oid=Oid(oid.algo, member.hex))
            if tracked.below is None:
                yield f"{top}/{path}" if top else path, held
            elif path == tracked.below:
                yield "", held
            elif path.startswith(f"{tracked.below}/"):
                yield path[len(tracked.below) + 1 :], held

    def manifest(self, tracked: Tracked) -> Tree:
        """A tracked directory's manifest, brought here if need be; raises MissingObject, RemoteError."""
        oid = tracked.entry.oid
        file = File(None, False, None, None, oid, tracked.root, tracked.remote, tracked.origin)
        self.bring({tracked.relpath: file})
        return self._landing.store(oid.algo).read_tree(oid)

    def sizes(self, path: str) -> dict[str, int]:
        """How many bytes each file and directory at a path has; of what is recorded without sizes, what is known."""
        relpath = self.other.relpath(path)
        found: dict[str, int] = {}
        plain = dict(self._plain(relpath))
        for below, file in plain.items():
            size = file.size
            if file.blob is not None and self.other.git is not None:
                size = self.other.git.size_bytes(file.blob)
            _add(found, below, size)
        for tracked in self.tracked(relpath):
            if tracked.below is not None or tracked.relpath == relpath:
                for below, file in self._members(tracked, relpath):
                    if below not in plain:
                        _add(found, below, file.size if file.size is not None else self._size(file))
                continue
            top = tracked.relpath[len(relpath) + 1 if relpath else 0 :]
            if not any(below == top or below.startswith(f"{top}/") for below in plain):
                _add(found, top, tracked.entry.size)
        if not found and not self._is_directory(relpath):
            raise PyexpError(
                f"there is nothing at '{path}' in {printable(self.other.url)}", hint="list what is above it"
            )
        return dict(sorted(found.items()))

    def _size(self, file: File) -> int | None:
        """A member's size, from the other project's cache: DVC's manifests hold none."""
        cache = self.other.cache_dir(file.root)
        if cache is None or file.oid is None:
            return None
        with suppress(OSError):
            return os.stat(LocalStore(cache, file.oid.algo, layout=layout_of(file.oid.algo)).path(file.oid)).st_size
        return None

    # -- bringing ----------------------------------------------------------------------------------------------------

    def bring(self, files: Mapping[str, File], path: str = "") -> None:
        """Sees to it that the objects behind the files at ``path`` are here; raises MissingObject, naming what nobody has."""
        groups: dict[tuple[str, str, str | None, str], tuple[Origin | None, dict[Oid, str]]] = {}
        for below, file in files.items():
            if file.oid is not None:
                key = file.root, file.oid.algo, file.remote, "" if file.origin is None else repr(file.origin)
                groups.setdefault(key, (file.origin, {}))[1].setdefault(file.oid, f"{path}/{below}".strip("/"))
        absent: list[str] = []
        for (root, algo, remote, _), (origin, oids) in groups.items():
            target = self._landing.store(algo)
            lacking = target.missing(oids)
            cache = self.other.cache_dir(root)
            if lacking and cache is not None:
                _copy_from_cache(cache, target, lacking)
                lacking = target.missing(oids)
            if lacking and origin is not None:
                self._from_origin(origin, target)
                lacking = target.missing(oids)
            if lacking:
                absent += self._from_remote(
                    self.other.project(root), remote, target, {oid: oids[oid] for oid in lacking}
                )
            target.flush()
        if absent:
            raise MissingObject(
                f"{printable(self.other.url)} names data that neither its cache nor its remote has: {_some(absent)}",
                hint="push it from where it is: pyexp push",
            )

    def _from_origin(self, origin: Origin, target: LocalStore) -> None:
        """What the other project has itself imported comes from there; a server's project names no path of ours."""
        here = os.path.isabs(origin.url) or origin.url.startswith("file:")
        if self._depth >= MAX_DEPTH or (here and not self.other.is_local):
            return
        with elsewhere.opened(
            origin.url,
            origin.rev_lock,
            staging=self.other.staging,
            bases=[os.sep],
            settings=origin.settings,
            user=self.other.user,
            on_event=self._on_event,
        ) as further:
            inner = Holdings(further, self._landing, jobs=self._jobs, depth=self._depth + 1, on_event=self._on_event)
            inner.keep(inner.at(origin.path), target, origin.path)

    def _from_remote(
        self, project: Project, remote: str | None, target: LocalStore, oids: Mapping[Oid, str]
    ) -> list[str]:
        try:
            name = share.remote_name(project, remote)
        except RemoteError:
            return list(oids.values())
        with share.opened(project, name) as found:
            if found.root is not None and not found.root.is_dir():
                return list(oids.values())
            result = transfer.transfer(
                found.store(target.algo),
                target,
                oids,
                jobs=share.jobs_for(project, found, self._jobs),
                what="fetching",
                on_event=self._on_event,
            )
        if result.failed:
            oid, why = result.failed[0]
            raise RemoteError(f"{oids[oid]} could not be fetched: {why}", hint="try again")
        return [oids[oid] for oid in result.missing]

    # -- as data of ours ---------------------------------------------------------------------------------------------

    def keep(self, files: Mapping[str, File], store: LocalStore, path: str = "") -> Content:
        """Puts the files at ``path`` into a store, under its own hash; says what they are together."""
        self.bring(files, path)
        kept = dict(
            parallel.spread(lambda item: (item[0], self._put(item[1], store)), list(files.items()), self._jobs or 4)
        )
        if set(kept) == {""}:
            oid, size = kept[""]
            return Content(Entry(oid, size, None, False))
        modes = trees.records_modes(store.algo)
        members = {
            path: TreeFile(oid.hex, size, modes and files[path].isexec) for path, (oid, size) in sorted(kept.items())
        }
        tree = Tree(store.algo, members)
        return Content(store.put_tree(tree), tree)

    def _put(self, file: File, store: LocalStore) -> tuple[Oid, int]:
        if file.blob is not None:
            assert self.other.git is not None
            data = self.other.git.read_blob(file.blob)
            oid = Oid(store.algo, hash_bytes(data, store.algo))
            store.put_bytes(oid, data)
            return oid, len(data)
        if file.path is not None:
            return store.put_file(file.path)
        assert file.oid is not None
        if file.oid.algo == store.algo:
            return file.oid, os.stat(store.path(file.oid)).st_size
        landed = self._landing.store(file.oid.algo)
        landed.verify(file.oid)
        return store.put_file(landed.path(file.oid))


def _copy_from_cache(cache: Path, target: LocalStore, oids: Iterable[Oid]) -> None:
    """What the other project's cache has; a damaged object there is as good as none, and is left as it is."""
    source = LocalStore(cache, target.algo, layout=layout_of(target.algo))

    def copy(oid: Oid) -> None:
        if source.has(oid):
            with suppress(StoreError):
                target.put_from(oid, source.path(oid))

    parallel.spread(copy, sorted(oids, key=lambda oid: oid.hex), 4)


def _add(found: dict[str, int], below: str, size: int | None) -> None:
    name = below.partition("/")[0]
    found[name] = found.get(name, 0) + (size or 0)


def _some(names: list[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
