"""Tracked data under another name: the data, its ``.dvc`` file and its line in ``.gitignore`` go together."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp.errors import GraphError, PyexpError, RemoteError, UnsafeCheckout
from pyexp.formats import lockfile
from pyexp.model import LockEntry, OutSpec, StageLock, StageSpec
from pyexp.pipeline import incoming, plan, record
from pyexp.pipeline.load import Pipeline, open_workspace
from pyexp.pipeline.workspace import Workspace
from pyexp.records import dataclass, replace

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class Moved:
    """Where data was and is, and the files git should look at."""

    old: str
    new: str
    for_git: tuple[str, ...]


@dataclass(frozen=True)
class _Plan:
    """What is to be done; ``text`` is the ``.dvc`` file's new text. The data is there already after a crash."""

    old: str
    new: str
    stage: StageSpec
    moved: StageSpec
    text: str
    data_is_there: bool


def move(project: Project, source: str, destination: str, *, cwd: str = "") -> Moved:
    """Renames a tracked file or directory, into a directory if ``destination`` is one.

    What is recorded stays as it was: changes that were not committed are still not. Raises PyexpError for data that no
    ``.dvc`` file tracks, and for a destination that exists, is tracked or cannot be. A move that was interrupted is
    completed by the same call.
    """
    todo = _planned(project, source, destination, cwd)
    files = {todo.moved.file: None, todo.stage.file: None}
    cached = any(out.cache and todo.moved.relpath(out.path) == todo.new for out in todo.moved.outs)
    if cached:
        record.ignore_in_git(project, todo.moved, todo.new)
    if not todo.data_is_there and os.path.lexists(project.path(todo.old)):
        _rename(project, todo.old, todo.new)
    with project.lock():
        project.write_text(todo.moved.file, todo.text)
    if cached:
        record.unignore_in_git(project, todo.old)
        files.update((posixpath.join(posixpath.dirname(path), ".gitignore"), None) for path in (todo.old, todo.new))
    # Last: as long as the old file is there, the same call completes the move.
    if todo.moved.file != todo.stage.file:
        with project.lock():
            project.unlink(todo.stage.file)
    return Moved(todo.old, todo.new, tuple(files))


def _rename(project: Project, old: str, new: str) -> None:
    with project.entered(old) as (source, name), project.entered(new) as (target, new_name):
        try:
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                error.filename, error.filename2 = project.path(old), project.path(new)
                raise
            # From one file system to another: seldom, in one project.
            shutil.move(project.path(old), project.path(new))


def _planned(project: Project, source: str, destination: str, cwd: str) -> _Plan:
    pipeline = open_workspace(project)
    old = project.relpath(source, project.path(cwd))
    stage = _owner(pipeline, old, source)
    workspace = Workspace(project)
    lock = pipeline.lock(stage.address)
    new, there = _target(project, workspace, stage, lock, old, project.relpath(destination, project.path(cwd)))
    moved, moved_lock = _renamed(stage, lock, old, new)
    if any("repo" in dep.extra for dep in lock.deps):
        moved_lock = replace(moved_lock, deps=tuple(_still_found(project, stage, moved, dep) for dep in lock.deps))
    _check(project, pipeline, old, new, moved, there=there, file_moves=moved.file != stage.file)
    # A .dvc file that works in another directory is written anew: its text would not be understood elsewhere.
    text = project.read_text(stage.file) if stage.wdir == posixpath.dirname(stage.file) else None
    return _Plan(old, new, stage, moved, lockfile.dump_dvc(text, moved.file, moved, moved_lock), there)


def _owner(pipeline: Pipeline, relpath: str, shown: str) -> StageSpec:
    for owned, stage, _ in pipeline.outs():
        if owned == relpath and stage.is_data:
            return stage
        if owned == relpath:
            raise GraphError(
                f"'{shown}' is an output of stage '{stage.address}', and only added data can be moved",
                hint=f"change its path in {stage.file} and run the stage",
            )
        if relpath.startswith(f"{owned}/"):
            raise PyexpError(
                f"'{shown}' is inside '{owned}', which is tracked as a whole",
                hint=f"rename it yourself and record it: pyexp commit {owned}",
            )
    raise PyexpError(f"'{shown}' is no tracked data", hint="track it first: pyexp add")


def _target(
    project: Project, workspace: Workspace, stage: StageSpec, lock: StageLock, old: str, wanted: str
) -> tuple[str, bool]:
    """The path to move to, and whether the data is there already: an earlier move got that far."""
    recorded = next((entry.entry for entry in lock.outs if stage.relpath(entry.path) == old), None)
    inside = posixpath.join(wanted, posixpath.basename(old)) if os.path.isdir(project.path(wanted)) else wanted
    if not os.path.lexists(project.path(old)) and recorded is not None:
        for path in dict.fromkeys((inside, wanted)):
            if path and plan.same(recorded, workspace.content(path, recorded.oid.algo)):
                return path, True
    return inside, False


def _check(
    project: Project, pipeline: Pipeline, old: str, new: str, moved: StageSpec, *, there: bool, file_moves: bool
) -> None:
    # With the data there, a file that tracks it there is what an interrupted move left.
    resumed = there and moved.file in pipeline.stages
    if new == old or new.startswith(f"{old}/"):
        raise PyexpError(f"'{old}' cannot be moved into itself", hint="name another place")
    directory = posixpath.dirname(new)
    if not os.path.isdir(project.path(directory)):
        raise PyexpError(f"there is no directory '{directory}'", hint="make it first")
    if os.path.lexists(project.path(new)) and not there:
        raise UnsafeCheckout(f"'{new}' exists already", paths=[new], hint="move it away, or name another place")
    for owned, stage, _ in pipeline.outs():
        if owned != old and not (resumed and stage.file == moved.file) and _overlap(owned, new):
            raise GraphError(f"'{new}' overlaps with '{owned}', which {stage.address} tracks")
    if not resumed and file_moves and os.path.lexists(project.path(moved.file)):
        raise UnsafeCheckout(f"'{moved.file}' exists already", paths=[moved.file], hint="move it away")
    incoming.refuse_ignored(project, new, moved.file)


def _overlap(a: str, b: str) -> bool:
    return a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/")


def _renamed(stage: StageSpec, lock: StageLock, old: str, new: str) -> tuple[StageSpec, StageLock]:
    """The stage and its record with the output at its new place; a ``.dvc`` file named after it goes along."""
    follows = posixpath.basename(stage.file) == f"{posixpath.basename(old)}.dvc"
    file, wdir = (f"{new}.dvc", posixpath.dirname(new)) if follows else (stage.file, stage.wdir)

    def path_of(path: str) -> str:
        relpath = stage.relpath(path)
        return posixpath.relpath(new if relpath == old else relpath, wdir or ".")

    outs: tuple[OutSpec, ...] = tuple(replace(out, path=path_of(out.path)) for out in stage.outs)
    made = tuple(replace(entry, path=path_of(entry.path)) for entry in lock.outs)
    deps = tuple(dep if _is_foreign(dep) else replace(dep, path=path_of(dep.path)) for dep in lock.deps)
    moved = replace(stage, file=file, wdir=wdir, outs=outs, deps=tuple(dep.path for dep in deps))
    return moved, StageLock(lock.cmd, deps, lock.params, made)


def _still_found(project: Project, stage: StageSpec, moved: StageSpec, dep: LockEntry) -> LockEntry:
    """An import's dep, with a path of its repository that leads there from the new place, too."""
    from pyexp.pipeline.imports import bases  # with all of transfers: only imports pay for it
    from pyexp.pipeline.origins import local_path

    repo = dep.extra["repo"]
    url = repo.get("url") if isinstance(repo, Mapping) else None
    if not isinstance(url, str) or url.startswith(("file:", "~")) or os.path.isabs(url):
        return dep
    with suppress(RemoteError):  # nothing is there now: it stays as it is
        was = local_path(url, bases(project, stage))
        now = None
        with suppress(RemoteError):
            now = local_path(url, bases(project, moved))
        if was is not None and (now is None or os.path.realpath(now) != os.path.realpath(was)):
            seen = os.path.relpath(os.path.realpath(was), os.path.realpath(project.path(moved.wdir)))
            return replace(dep, extra={**dep.extra, "repo": {**repo, "url": seen.replace(os.sep, "/")}})
    return dep


def _is_foreign(dep: LockEntry) -> bool:
    """Whether a path is not seen from here: of another repository, absolute, or a URL."""
    return "repo" in dep.extra or posixpath.isabs(dep.path) or "://" in dep.path
