"""What a project holds at a path: the files of git (or of the work tree) and tracked data, seen as one tree.

Data shows whether it is checked out or not: what the work tree lacks is known from the manifests in the cache.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from pyexp.errors import CorruptObject, MissingObject, PyexpError
from pyexp.git.objects import EXECUTABLE, FILE, SYMLINK
from pyexp.model import Entry, Tree, TreeFile
from pyexp.pipeline.datastatus import at_commit, records
from pyexp.pipeline.load import Pipeline, open_workspace
from pyexp.records import dataclass, replace

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True, slots=True)
class Listed:
    """A file or directory; ``is_out`` for tracked data, whose ``hash`` is known where it was recorded."""

    path: str
    is_dir: bool = False
    is_out: bool = False
    is_exec: bool = False
    size: int | None = None
    hash: str | None = None


class _Files(Protocol):
    """Files that are not known from records."""

    def at(self, relpath: str) -> Listed | None: ...

    def below(self, relpath: str) -> Iterator[Listed]: ...


class _WorkTree:
    """The files as they are; control directories and what .dvcignore names are left out."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def at(self, relpath: str) -> Listed | None:
        try:
            status = os.stat(self._project.path(relpath))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._listed(relpath, status)

    def _listed(self, relpath: str, status: os.stat_result) -> Listed:
        if stat.S_ISDIR(status.st_mode):
            return Listed(relpath, is_dir=True)
        return Listed(relpath, is_exec=bool(status.st_mode & stat.S_IXUSR), size=status.st_size)

    def below(self, relpath: str) -> Iterator[Listed]:
        ignored = self._project.ignore.match
        prefix = f"{relpath}/" if relpath else ""
        try:
            entries = os.scandir(self._project.path(relpath) if relpath else self._project.root)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                if ignored(prefix + entry.name, is_dir):
                    continue
                try:
                    found = self._listed(prefix + entry.name, entry.stat())
                except OSError:  # a link to nothing
                    found = Listed(prefix + entry.name)
                # A link to a directory is not entered: it may lead out, or round in circles.
                yield found if is_dir or not found.is_dir else replace(found, is_dir=False)


class _Committed:
    """The files of a commit; their sizes cost a look at each, and are None without ``sizes``."""

    def __init__(self, project: Project, sha: str, *, sizes: bool) -> None:
        self._repo = project.require_git()
        self._sizes = sizes
        self._dirs: dict[str, dict[str, tuple[int, str]]] = {}
        prefix = project.prefix
        for path, entry in self._repo.list_tree(self._repo.tree_of(sha)).items():
            if path.startswith(prefix):
                self._add(path[len(prefix) :], entry)
        self._ignored = {".dvc", ".pyexp"}

    def _add(self, relpath: str, entry: tuple[int, str]) -> None:
        directory, name = posixpath.split(relpath)
        self._dirs.setdefault(directory, {})[name] = entry
        while directory:
            directory, name = posixpath.split(directory)
            level = self._dirs.setdefault(directory, {})
            if name in level:
                return
            level[name] = (stat.S_IFDIR, "")

    def at(self, relpath: str) -> Listed | None:
        if not relpath or relpath in self._dirs:
            return Listed(relpath, is_dir=True)
        directory, name = posixpath.split(relpath)
        entry = self._dirs.get(directory, {}).get(name)
        return None if entry is None else self._listed(relpath, entry)

    def _listed(self, relpath: str, entry: tuple[int, str]) -> Listed:
        mode, sha = entry
        if mode not in (FILE, EXECUTABLE, SYMLINK):
            return Listed(relpath, is_dir=True)
        size = self._repo.size_bytes(sha) if self._sizes else None
        return Listed(relpath, is_exec=mode == EXECUTABLE, size=size)

    def below(self, relpath: str) -> Iterator[Listed]:
        prefix = f"{relpath}/" if relpath else ""
        for name, entry in self._dirs.get(relpath, {}).items():
            if prefix or name not in self._ignored:
                yield self._listed(prefix + name, entry)


class View:
    """Files and tracked data as one tree."""

    def __init__(self, project: Project, files: _Files, found: Mapping[str, Entry | None], *, outs_only: bool) -> None:
        self._project = project
        self._files = files
        self._outs = found
        self._outs_only = outs_only
        # Directory -> the outputs in it, and the directories that lead to outputs.
        self._children: dict[str, set[str]] = {}
        for path in found:
            for below in (path, *_parents(path)):
                self._children.setdefault(posixpath.dirname(below), set()).add(below)
        self._manifests: dict[str, _Manifest | None] = {}

    def at(self, relpath: str) -> Listed | None:
        """What a path is, None when it is nothing."""
        here = self._files.at(relpath)
        item = self._tracked(relpath)
        if item is not None:
            return _joined(here, item)
        if relpath in self._children:
            return here or Listed(relpath, is_dir=True)
        return None if self._outs_only else here

    def below(self, relpath: str) -> list[Listed]:
        """What is in a directory, by name."""
        top = self._top(relpath)
        found = {item.path: item for item in self._files.below(relpath)}
        known = self._children.get(relpath, set()) if top is None else self._members(top, relpath)
        for path in known:
            item = self._tracked(path)
            if item is not None:
                found[path] = _joined(found.get(path), item)
            elif path not in found:
                found[path] = Listed(path, is_dir=True)
        if top is not None:
            found = {path: replace(item, is_out=True) for path, item in found.items()}
        if self._outs_only:
            found = {path: item for path, item in found.items() if path in known}
        return [found[path] for path in sorted(found)]

    def _members(self, top: str, relpath: str) -> set[str]:
        """The paths that an output's manifest has directly in a directory."""
        manifest = self._manifest(top)
        return {f"{relpath}/{name}" for name in manifest.get(relpath[len(top) + 1 :], ())} if manifest else set()

    def _top(self, relpath: str) -> str | None:
        """The output that a path is, or is in."""
        return next((path for path in (relpath, *_parents(relpath)) if path in self._outs), None)

    def _manifest(self, top: str) -> _Manifest | None:
        if top not in self._manifests:
            entry = self._outs[top]
            self._manifests[top] = None
            if entry is not None and entry.oid.is_dir:
                with suppress(MissingObject, CorruptObject):
                    self._manifests[top] = _by_directory(self._project.store(entry.oid.algo).read_tree(entry.oid))
        return self._manifests[top]

    def _tracked(self, relpath: str) -> Listed | None:
        """What the records say of a path, None when they say nothing."""
        top = self._top(relpath)
        if top is None:
            return None
        entry = self._outs[top]
        if relpath == top:
            if entry is None:
                return Listed(relpath, is_out=True)
            return Listed(relpath, entry.oid.is_dir, True, entry.isexec, entry.size, entry.oid.hex)
        manifest = self._manifest(top)
        directory, name = posixpath.split(relpath[len(top) + 1 :])
        if manifest is None or name not in manifest.get(directory, {}):
            return None
        file = manifest[directory][name]
        if file is None:
            return Listed(relpath, is_dir=True, is_out=True)
        return Listed(relpath, False, True, file.isexec, file.size, file.hex)


_Manifest = dict[str, dict[str, TreeFile | None]]


def _by_directory(tree: Tree) -> _Manifest:
    """A manifest by directory and name; a directory's entry is None."""
    found: _Manifest = {}
    for relpath, file in tree.files.items():
        directory, name = posixpath.split(relpath)
        found.setdefault(directory, {})[name] = file
        for above in _parents(relpath):
            up, own = posixpath.split(above)
            found.setdefault(up, {})[own] = None
    return found


def _joined(here: Listed | None, tracked: Listed) -> Listed:
    """The work tree says what a path is now, the records what it was recorded as."""
    if here is None:
        return tracked
    size = tracked.size if here.is_dir and tracked.is_dir else here.size
    return replace(here, is_out=True, hash=tracked.hash, size=size, is_exec=here.is_exec or tracked.is_exec)


def _parents(relpath: str) -> Iterator[str]:
    while "/" in relpath:
        relpath = relpath.rpartition("/")[0]
        yield relpath


@dataclass(frozen=True)
class Choice:
    """What is listed of a directory: its entries, or (``recursive``) the files below it, down to ``depth`` levels.

    Directories of the last level are listed, with ``dirs`` the others too, each before what it holds. ``outs_only``
    leaves git's files out.
    """

    recursive: bool = False
    depth: int | None = None
    dirs: bool = False
    outs_only: bool = False
    sizes: bool = True


def listing(
    project: Project,
    path: str = "",
    *,
    sha: str | None = None,
    pipeline: Pipeline | None = None,
    choice: Choice = Choice(),
) -> list[Listed]:
    """What is at ``path`` (a relpath), of the work tree or of the commit ``sha``; paths are relative to it.

    ``pipeline`` is that of the same state, if the caller has it. Raises PyexpError when there is nothing at the path.
    """
    view = view_of(project, sha=sha, pipeline=pipeline, choice=choice)
    top = view.at(path) if path else Listed("", is_dir=True)
    if top is None:
        raise PyexpError(f"there is nothing at '{path}'", hint="list what is above it")
    if not top.is_dir:
        return [replace(top, path=posixpath.basename(path))]
    skip = len(path) + 1 if path else 0
    limit = choice.depth if choice.recursive else 1
    dirs = choice.dirs or not choice.recursive
    items = [replace(item, path=item.path[skip:]) for item in _walk(view, path, limit, dirs=dirs)]
    return items if choice.dirs else sorted(items, key=lambda item: item.path)


def view_of(
    project: Project, *, sha: str | None = None, pipeline: Pipeline | None = None, choice: Choice = Choice()
) -> View:
    """The work tree, or the commit ``sha``, to ask for several paths; raises FormatError for a broken pipeline."""
    if pipeline is None:
        pipeline = open_workspace(project) if sha is None else at_commit(project, sha)
    files: _Files = _WorkTree(project) if sha is None else _Committed(project, sha, sizes=choice.sizes)
    return View(project, files, records(pipeline), outs_only=choice.outs_only)


def files_in(view: View, relpath: str) -> list[str]:
    """The relpaths of all files below a directory, sorted."""
    return sorted(item.path for item in _walk(view, relpath, None, dirs=False) if not item.is_dir)


def _walk(view: View, relpath: str, limit: int | None, *, dirs: bool) -> Iterator[Listed]:
    pending = [(item, 1) for item in reversed(view.below(relpath))]
    while pending:
        item, level = pending.pop()
        last = not item.is_dir or level == limit
        if dirs or last:
            yield item
        if not last:
            pending.extend((below, level + 1) for below in reversed(view.below(item.path)))
