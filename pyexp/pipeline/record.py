"""Records what a stage was made of and gave: hashes, the cache, ``.gitignore`` lines, and the lock file."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import PyexpError, StageFailed
from pyexp.events import Note, OnEvent
from pyexp.formats import lockfile, values
from pyexp.model import Content, Entry, LockEntry, StageLock, StageSpec
from pyexp.objects import links
from pyexp.objects.fileops import clone, explained
from pyexp.objects.hashes import OPEN_FLAGS
from pyexp.objects.places import files_at, remove_all
from pyexp.pipeline import placed, plan, stagecache
from pyexp.pipeline.load import lock_path
from pyexp.pipeline.workspace import Workspace
from pyexp.records import replace

if TYPE_CHECKING:
    from pyexp.project import Project


def inputs(workspace: Workspace, stage: StageSpec, lock: StageLock) -> StageLock:
    """A stage's command, deps and params as they are now; a dep that has not changed keeps its recorded entry."""
    recorded = {entry.path: entry for entry in lock.deps}
    deps = [_entry(workspace, stage, path, recorded.get(path)) for path in stage.deps]
    return StageLock(stage.cmd, tuple(sorted(deps, key=lambda dep: dep.path)), params(workspace, stage))


def params(workspace: Workspace, stage: StageSpec) -> dict[str, dict[str, Any]]:
    """The values a stage depends on, as the lock file lists them: params.yaml first, then files and keys sorted."""
    found: dict[str, dict[str, Any]] = {}
    for spec in sorted(stage.params, key=lambda spec: (spec.file != "params.yaml", spec.file)):
        data = workspace.params(stage.relpath(spec.file)) or {}
        if spec.keys is None:
            found[spec.file] = {str(key): data[key] for key in sorted(data, key=str)}
        else:
            found[spec.file] = {key: values.select(data, key) for key in sorted(spec.keys)}
    return found


def _entry(workspace: Workspace, stage: StageSpec, path: str, recorded: LockEntry | None) -> LockEntry:
    relpath = stage.relpath(path)
    if recorded is not None and recorded.entry is not None:
        found = workspace.content(relpath, recorded.entry.oid.algo)
        if found is not None and plan.same(recorded.entry, found):
            return replace(recorded, entry=found.entry)  # the same content; it may be executable now
    content = workspace.content(relpath)
    return LockEntry(path, content.entry if content is not None else None)


def outputs(workspace: Workspace, stage: StageSpec, now: StageLock, *, commit: bool, relink: bool = True) -> StageLock:
    """``now`` completed by the outputs as they are, put into the cache with ``commit`` (and made links, ``relink``).

    Raises StageFailed when one was not made. Metrics and plots that git holds go into the cache too when the result is
    kept for later: the stage cache could not restore them otherwise (FORMATS.md §7 #23).
    """
    keep_all = commit and stage.cmd is not None and stagecache.savable(stage)
    entries = []
    for out in stage.outs:
        relpath = stage.relpath(out.path)
        content = _output(workspace, relpath, keep=commit and (out.cache or keep_all))
        if content is None:
            raise StageFailed(
                f"failed to reproduce '{stage.address}': output '{relpath}' does not exist",
                stage=stage.address,
                hint=f"its command must make it; or take it out of {stage.file}",
            )
        entries.append(LockEntry(out.path, content.entry))
        if commit and relink and out.cache and workspace.project.links[:1] in (("hardlink",), ("symlink",)):
            workspace.restore(relpath, content.entry, force=True, relink=True)
    return StageLock(now.cmd, now.deps, now.params, tuple(sorted(entries, key=lambda entry: entry.path)))


def _output(workspace: Workspace, relpath: str, *, keep: bool) -> Content | None:
    return workspace.keep(relpath) if keep else workspace.content(relpath)


def warn_of_changed_inputs(workspace: Workspace, stage: StageSpec, now: StageLock, on_event: OnEvent) -> None:
    """Tells when a dep is no longer what the run started from: the record keeps what it started from."""
    before = {dep.path: dep.entry for dep in now.deps}
    workspace.forget(stage.relpath(dep) for dep in stage.deps)
    for dep in stage.deps:
        entry = before.get(dep)
        found = workspace.content(stage.relpath(dep), entry.oid.algo if entry else None)
        if not plan.same(entry, found):
            on_event(
                Note(
                    f"'{stage.relpath(dep)}' changed while stage '{stage.address}' ran; run it again for its sake",
                    "warning",
                )
            )


def rescue(workspace: Workspace, stage: StageSpec, *, force: bool) -> None:
    """Puts outputs that are about to be replaced into the cache, unless they are there: nothing made is lost."""
    if force:
        return
    for out in stage.outs:
        if out.persist:
            continue
        relpath = stage.relpath(out.path)
        found = workspace.content(relpath)
        if found is not None and not workspace.cached(found.entry):
            workspace.keep(relpath)


def clear(workspace: Workspace, stage: StageSpec) -> None:
    """Makes room for a run: outputs are removed, their parents made; a persistent one is made writable and stays."""
    for out in stage.outs:
        relpath = stage.relpath(out.path)
        if out.persist:
            unprotect(workspace, relpath)
        with workspace.project.entered(relpath, make=True) as (dir_fd, name):
            if not out.persist:
                remove_all(name, dir_fd)
    workspace.forget(stage.relpath(out.path) for out in stage.outs)


def unprotect(workspace: Workspace, relpath: str) -> None:
    """Replaces links into the cache by writable copies."""
    project = workspace.project
    if not os.path.lexists(project.inside(relpath)):
        return
    with explained(project.path(relpath)), project.entered(relpath) as (above, top):
        for dir_fd, name in files_at(top, above):
            try:
                status = os.stat(name, dir_fd=dir_fd)
            except FileNotFoundError:
                continue  # a link to nothing
            is_link = stat.S_ISLNK(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
            if stat.S_ISREG(status.st_mode) and (is_link or status.st_nlink > 1 or not status.st_mode & 0o200):
                _copied(name, dir_fd)


def _copied(name: str, dir_fd: int | None) -> None:
    """Puts a copy of a file, or of what a link leads to, in its place."""
    copy = durable.temporary_name("" if dir_fd is not None else os.path.dirname(name))
    source = os.open(name, OPEN_FLAGS, dir_fd=dir_fd)
    try:
        target = links.create(copy, dir_fd=dir_fd)
        try:
            if not clone(source, target):
                links.copy_fd(source, target)
            if os.fstat(source).st_mode & 0o100 and hasattr(os, "fchmod"):
                os.fchmod(target, stat.S_IMODE(os.fstat(target).st_mode) | 0o100)
        finally:
            os.close(target)
        os.replace(copy, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(copy, dir_fd=dir_fd)
        raise
    finally:
        os.close(source)


def hide(project: Project, stage: StageSpec) -> list[str]:
    """Hides a stage's cached outputs from git; returns the .gitignore files that changed."""
    changed = [ignore_in_git(project, stage, stage.relpath(out.path)) for out in stage.outs if out.cache]
    return [file for file in changed if file is not None]


def ignore_in_git(project: Project, stage: StageSpec, relpath: str) -> str | None:
    """Adds ``/name`` to the ``.gitignore`` beside an output, and returns that file; None when there was nothing to do.

    Raises PyexpError when git tracks the output.
    """
    if project.gitignore.match(relpath, False) or project.gitignore.match(relpath, True):
        return None
    repo = project.git
    if repo is None:
        return None
    is_dir = os.path.isdir(project.path(relpath))
    if repo.is_ignored(project.prefix + relpath, is_dir):
        return None
    if repo.is_tracked(project.prefix + relpath):
        raise PyexpError(
            f"output '{relpath}' of {stage.address} is tracked by git already",
            hint=f"stop git from tracking it: pyexp git rm --cached {relpath}; or mark it 'cache: false'",
        )
    directory, name = posixpath.split(relpath)
    file = posixpath.join(directory, ".gitignore")
    with project.lock():
        text = project.read_text(file) or ""
        line = "/" + _escaped(name)
        if line in text.splitlines():
            return None
        if text and not text.endswith("\n"):
            text += "\n"
        project.write_text(file, f"{text}{line}\n")
    project.__dict__.pop("gitignore", None)
    return file


def unignore_in_git(project: Project, relpath: str) -> None:
    """Takes an output's line out of the ``.gitignore`` beside it; removes the file when nothing is left."""
    directory, name = posixpath.split(relpath)
    file = posixpath.join(directory, ".gitignore")
    with project.lock():
        text = project.read_text(file)
        if text is None:
            return
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if line.rstrip("\r\n") != "/" + _escaped(name)]
        if len(kept) == len(lines):
            return
        if kept:
            project.write_text(file, "".join(kept))
        else:
            project.unlink(file)
    project.__dict__.pop("gitignore", None)


def _escaped(name: str) -> str:
    """A file name as a gitignore pattern that matches only it."""
    for character in "\\*?[]!#":
        name = name.replace(character, "\\" + character)
    # No pattern can hold the end of a line; without this the rest of the name would be a pattern of its own.
    name = name.replace("\n", "?").replace("\r", "?")
    return name[:-1] + "\\ " if name.endswith(" ") else name


def write(project: Project, records: Sequence[tuple[StageSpec, StageLock]]) -> list[str]:
    """Writes records into their dvc.lock and .dvc files, each file once; returns the files that changed."""
    by_file: dict[str, list[tuple[StageSpec, StageLock]]] = {}
    for stage, lock in records:
        by_file.setdefault(lock_path(stage.file), []).append((stage, lock))
    changed: list[str] = []
    with project.lock():
        for file, found in by_file.items():
            text = project.read_text(file)
            if found[0][0].is_data:
                new = lockfile.dump_dvc(text, file, *found[-1])
            else:
                new = lockfile.update_lock(text, file, {stage.name or "": lock for stage, lock in found})
            if project.write_text(file, new):
                changed.append(file)
        placed.remember(project, dict(_cached_outputs(records)))
    return changed


def _cached_outputs(records: Sequence[tuple[StageSpec, StageLock]]) -> Iterator[tuple[str, Entry]]:
    for stage, lock in records:
        cached = {out.path for out in stage.outs if out.cache}
        for out in lock.outs:
            if out.path in cached and out.entry is not None:
                yield stage.relpath(out.path), out.entry
