"""A project made where there was none: ``pyexp init``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import NoGitRepo, PyexpError
from pyexp.project import FORMAT_VERSION, HASHES, PYEXP, Project

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_GITIGNORE = "/config.local\n/tmp\n/cache\n"
_DVCIGNORE = (
    "# Patterns of files that pyexp should leave alone, one per line, as in .gitignore.\n"
    "# They apply to tracked directories and to the search for dvc.yaml and .dvc files.\n"
    "# See https://git-scm.com/docs/gitignore#_pattern_format\n"
)


def init(
    directory: str | os.PathLike[str] = ".",
    *,
    algo: str = "xxh128",
    no_scm: bool = False,
    subdir: bool = False,
    force: bool = False,
) -> Project:
    """Makes a project in ``directory`` and stages its files in git.

    Raises PyexpError when there is one already (``force`` writes its configuration anew; data and cache stay), when
    there is no git repository (unless ``no_scm``), or when the directory is below its top (unless ``subdir``).
    """
    root = Path(directory).absolute()
    if algo not in HASHES:
        raise PyexpError(f"unknown hash '{algo}'", hint=f"one of: {', '.join(HASHES)}")
    if (root / ".dvc").is_dir():
        raise PyexpError(f"{root} is a DVC project already", hint="nothing to do: pyexp works in it as it is")
    if (root / ".pyexp" / "format").exists() and not force:
        raise PyexpError(f"{root} is a pyexp project already", hint="to write its configuration anew: pyexp init -f")
    project = Project(root, PYEXP)
    repo = None if no_scm else _git_for_init(root, subdir)
    project.control.mkdir(parents=True, exist_ok=True)
    project.scratch.mkdir(parents=True, exist_ok=True)
    (project.control / "cache").mkdir(exist_ok=True)
    durable.write_file(project.control / ".gitignore", _GITIGNORE)
    durable.write_file(project.control / "config", "[core]\n    no_scm = True\n" if no_scm else "")
    if not (root / ".dvcignore").exists():
        durable.write_file(root / ".dvcignore", _DVCIGNORE)
    # Last: the format file is what makes the directory a project.
    durable.write_file(project.control / "format", json.dumps({"version": FORMAT_VERSION, "hash": algo}) + "\n")
    if repo is not None:
        from pyexp.git import user  # seam: see Project.git

        own = (".pyexp/.gitignore", ".pyexp/config", ".pyexp/format", ".dvcignore")
        with repo:
            user.add(repo, [project.prefix + relpath for relpath in own])
    return project


def _git_for_init(root: Path, subdir: bool) -> Repo:
    from pyexp.git import repo  # seam: see Project.git

    try:
        found = repo.discover(root)
    except NoGitRepo as error:
        raise NoGitRepo(
            f"{root} is in no git repository",
            hint="make one first: pyexp git init; or go without versions: pyexp init --no-scm",
        ) from error
    if not subdir and found.worktree is not None and os.path.realpath(found.worktree) != os.path.realpath(root):
        raise PyexpError(
            f"{root} is not the top of its git repository {found.worktree}",
            hint="run pyexp init there, or say --subdir",
        )
    return found
