"""The end of a project: its files and its cache go, the data stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyexp import owners
from pyexp import project as projects
from pyexp.errors import PyexpError
from pyexp.objects.actions import some
from pyexp.objects.places import remove_all
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
    removed = [file for file in gone if _unlinked(project, file)]
    project.statcache.save()
    _remove_control(project)
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


def _unlinked(project: Project, file: str) -> bool:
    try:
        project.unlink(file)
    except FileNotFoundError:
        return False
    return True


def _remove_control(project: Project) -> None:
    if project.control.is_symlink():
        raise PyexpError(f"{project.control} is a symbolic link", hint="remove what it points to yourself")
    control = project.control.name
    for name in sorted(os.listdir(project.control), key=lambda name: name in _LAST):
        with project.entered(f"{control}/{name}") as (dir_fd, here):
            remove_all(here, dir_fd)
    with project.entered(control) as (dir_fd, here):
        remove_all(here, dir_fd)
