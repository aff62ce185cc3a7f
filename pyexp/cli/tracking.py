"""What a command wrote that belongs into git: staged with ``core.autostage``, else the user is told how to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from pyexp.cli.console import Console
from pyexp.cli.opening import Opened
from pyexp.paths import printable
from pyexp.pipeline.load import path_from


def track(where: Opened, console: Console, files: Iterable[str], *, tell: bool = True) -> None:
    """Gives files (relpaths) to git, deleted ones too, or says what to type in the current directory to do so."""
    project, wanted = where.project, list(dict.fromkeys(files))
    repo = project.git
    if repo is None or not wanted:
        return
    if project.config.get_bool("core.autostage"):
        from pyexp.git import user  # only who wants it pays for it

        paths = [project.prefix + path for path in wanted]
        there = [os.path.lexists(project.path(path)) for path in wanted]
        user.add(repo, [path for path, here in zip(paths, there, strict=True) if here or repo.is_tracked(path)])
    elif tell:
        shown = shlex.join(path_from(path, where.cwd) for path in wanted)
        console.info(f"\nTo track the changes with git, run:\n\n\tpyexp git add {printable(shown)}")
