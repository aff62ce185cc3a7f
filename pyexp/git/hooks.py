"""Hooks and the merge driver by which git calls pyexp: written into the repository, for the git program only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import GitError
from pyexp.git import config

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

HOOKS = ("post-checkout", "pre-commit", "pre-push")
# What DVC's own install writes, which ours takes the place of.
_OF_DVC = "exec dvc git-hook {name} $@"


def command(name: str, directory: str) -> str:
    """The line that a hook runs, for a project in a directory of the work tree."""
    where = f" --cd {shlex.quote(directory)}" if directory else ""
    return f"pyexp{where} git-hook {name}"


def install(repo: Repo, directory: str = "") -> list[str]:
    """Writes the hooks and returns the paths of those that were not there; raises GitError when there are others."""
    place = _place(repo)
    texts = {os.path.join(place, name): f'#!/bin/sh\nexec {command(name, directory)} "$@"\n' for name in HOOKS}
    missing = [path for path, text in texts.items() if _is_missing(path, text)]
    os.makedirs(place, exist_ok=True)
    for path in missing:
        durable.write_file(path, texts[path], mode=0o755)
    return missing


def install_driver(repo: Repo) -> None:
    """Tells git how files with ``merge=dvc`` in .gitattributes are merged."""
    driver = "pyexp git-hook merge-driver --ancestor %O --our %A --their %B --path %P"
    wanted: Mapping[str, str] = {"merge.dvc.name": "pyexp merge driver", "merge.dvc.driver": driver}
    if any(config.get(repo, key) != value for key, value in wanted.items()):
        config.set_values(repo, wanted)


def _place(repo: Repo) -> str:
    """Where git looks for hooks."""
    named = os.path.expanduser(config.get(repo, "core.hooksPath") or os.path.join(repo.commondir, "hooks"))
    place = os.path.realpath(os.path.join(repo.worktree or repo.gitdir, named))
    inside = [os.path.realpath(top) for top in (repo.worktree, repo.commondir) if top is not None]
    if not any(place.startswith(top + os.sep) for top in inside):
        raise GitError(
            f"git looks for hooks in '{place}', outside of the repository: other repositories may use it, too",
            hint=f"write hooks there that run: pyexp git-hook NAME, for {', '.join(HOOKS)}",
        )
    return place


def _is_missing(path: str, text: str) -> bool:
    raw = durable.read_file(path)
    if raw is None and not os.path.islink(path):
        return True
    there = (raw or b"").decode("utf-8", "replace")
    if there == text:
        return False
    lines = [line for line in there.splitlines() if line and not line.startswith("#")]
    name = os.path.basename(path)
    if lines != [_OF_DVC.format(name=name)] or os.path.islink(path):
        raise GitError(f"there is a hook already: {path}", hint=f'add a line to it: pyexp git-hook {name} "$@"')
    return True
