"""Data on its way in: whether a path can be tracked, and what came moved to where it is to be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyexp.errors import GraphError, PyexpError, UnsafeCheckout
from pyexp.paths import is_text
from pyexp.pipeline.load import LOCK_FILE, Pipeline

if TYPE_CHECKING:
    from pyexp.project import Project


def addable(project: Project, pipeline: Pipeline, path: str, cwd: str) -> str:
    """The relpath of an existing file or directory that may be tracked; raises PyexpError for any other."""
    relpath = project.relpath(path, project.path(cwd))
    place = project.path(relpath)
    if not os.path.lexists(place):
        raise PyexpError(f"'{path}' does not exist", hint="check the name; paths are seen from the current directory")
    if not os.path.exists(place):
        raise PyexpError(
            f"'{path}' is a link to '{os.readlink(place)}', which does not exist",
            hint="make the link right, or name the data itself",
        )
    check(project, pipeline, relpath, path)
    return relpath


def check(project: Project, pipeline: Pipeline, relpath: str, path: str) -> None:
    """Raises PyexpError when data at ``relpath`` (``path`` to the user) could not be tracked."""
    if not relpath:
        raise PyexpError("the whole project cannot be tracked as data", hint="name a file or directory in it")
    if os.path.basename(relpath) in ("dvc.yaml", LOCK_FILE, ".dvcignore") or relpath.endswith(".dvc"):
        raise PyexpError(
            f"'{path}' describes the pipeline, it is not data", hint=f"give it to git: pyexp git add {path}"
        )
    if not is_text(relpath):
        raise PyexpError(f"'{path}' is not a name in UTF-8, and no .dvc file can hold it", hint="rename it")
    tracked = any(relpath == owner or relpath.startswith(f"{owner}/") for owner, _, _ in pipeline.outs())
    refuse_ignored(project, relpath, None if tracked else f"{relpath}.dvc")
    for owner, stage, _ in pipeline.outs():
        if relpath == owner and not stage.is_data:
            raise GraphError(
                f"'{path}' is an output of stage '{stage.address}'", hint="it is tracked by its stage: pyexp commit"
            )
        if owner.startswith(f"{relpath}/"):
            raise GraphError(f"'{path}' holds '{owner}', which {stage.address} tracks", hint="track one or the other")
        if relpath.startswith(f"{owner}/") and not stage.is_data:
            raise GraphError(f"'{path}' is inside '{owner}', an output of stage '{stage.address}'")


def refuse_ignored(project: Project, relpath: str, file: str | None) -> None:
    """Raises PyexpError when data, or the ``.dvc`` file that is to track it, would be where nobody looks."""
    pattern = project.ignore.explain(relpath, os.path.isdir(project.path(relpath)))
    if pattern is not None:
        raise PyexpError(
            f"'{relpath}' is ignored by {pattern[0]}:{pattern[1]}: {pattern[2]}", hint="change that line first"
        )
    hidden = project.gitignore.explain(file, False) if file is not None else None
    if hidden is not None:
        raise PyexpError(
            f"'{file}' would be ignored by git ({hidden[2]} in a .gitignore), and not be found again",
            hint="change that line first, or choose another place",
        )


def deliver(fresh: str, target: str) -> None:
    """Moves what is at ``fresh`` to ``target``; into a directory that is there, file by file, which keeps its others.

    Raises UnsafeCheckout when a directory would have to make room for a file.
    """
    is_dir = os.path.isdir(target) and not os.path.islink(target)
    if is_dir and not os.path.isdir(fresh):
        raise UnsafeCheckout(f"'{target}' is a directory", paths=[target], hint="name another place, or move it away")
    if not is_dir:
        if os.path.lexists(target) and os.path.isdir(fresh):
            os.unlink(target)
        os.replace(fresh, target)
        return
    for name in sorted(os.listdir(fresh)):
        deliver(os.path.join(fresh, name), os.path.join(target, name))
