"""The end of a project: its files and its cache go, the data stays."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp import owners
from pyexp import project as projects
from pyexp.errors import PyexpError
from pyexp.objects.actions import some
from pyexp.pipeline import record
from pyexp.pipeline.load import WorkspaceReader, load, lock_path, parsing_options
from pyexp.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pyexp.project import Project

# What makes a directory a project: the last to go, so that the same command completes what a crash cut short.
_LAST = ("format",)


def destroy(project: Project) -> list[str]:
    """Removes every dvc.yaml, dvc.lock and ``.dvc`` file, the root's .dvcignore, and the control directory.

    Tracked data that is in the workspace stays, links into the cache as copies; what is only in the project's cache is
    lost. A cache outside the control directory stays. Returns the files that went. Raises PyexpError while something
    runs.
    """
    if projects.oldest_live(project) is not None:
        raise PyexpError(
            "something is running in this project", hint="wait for it, or stop it: pyexp queue stop --kill"
        )
    _refuse_shared(project)
    reader = WorkspaceReader(project)
    pipeline = load(reader, parsing=parsing_options(project), lenient=True)
    workspace = Workspace(project)
    for relpath, _, _ in pipeline.outs():
        record.unprotect(workspace, relpath)
    gone: dict[str, None] = {}
    for file in reader.pipeline_files():
        gone.update({file: None, lock_path(file): None})
    gone[".dvcignore"] = None
    removed = [file for file in gone if _unlinked(project.path(file))]
    project.statcache.save()
    _remove_control(str(project.control))
    return removed


def _refuse_shared(project: Project) -> None:
    """Raises PyexpError when other projects store into the cache that would go."""
    cache = project.control / "cache"
    others = [root for root in owners.marked(cache) if root != os.path.realpath(project.root)]
    if others:
        raise PyexpError(
            f"the cache {cache} is also that of {some(others)}",
            hint=f"give them a cache of their own (pyexp cache dir) and remove their marks in {cache}/owners",
        )


def _unlinked(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _remove_control(control: str) -> None:
    if os.path.islink(control):
        raise PyexpError(f"{control} is a symbolic link", hint="remove what it points to yourself")
    with os.scandir(control) as entries:
        found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name not in _LAST]
    for path, is_dir in found:
        if is_dir:
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)
    shutil.rmtree(control)
