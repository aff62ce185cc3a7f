"""Submodules in a temporary workspace: each at the commit the tree records, from the copy this machine has."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp.errors import GitError
from pyexp.git import checkout, objects, repo

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

MAX_DEPTH = 20


def paths(repository: Repo, tree: str) -> dict[str, str]:
    """The submodules of a tree: relpath -> recorded commit."""
    files = objects.flatten(repository, tree)
    return {path: sha for path, (mode, sha) in files.items() if mode == objects.GITLINK}


def materialise(repository: Repo, tree: str, directory: Path, states: Path, *, depth: int = 0) -> None:
    """Fills the directories of submodules, which ``checkout.materialise`` leaves empty (and must have kept).

    One that is not checked out in the user's work tree stays empty there too. ``states`` is a directory for notes.
    Raises GitError when the recorded commit is not on this machine.
    """
    if repository.worktree is None or depth > MAX_DEPTH:
        return
    for path, sha in paths(repository, tree).items():
        home = repository.worktree / path
        if not (home / ".git").exists():
            continue
        with repo.discover(home) as inner:
            if not inner.blob_exists(sha):
                raise GitError(
                    f"submodule '{path}' has no commit {sha[:10]}, which is recorded",
                    hint="fetch it: git submodule update",
                )
            inner_tree = inner.tree_of(sha)
            keep = list(paths(inner, inner_tree))
            state = states / hashlib.sha256(f"{directory}/{path}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
            os.makedirs(states, exist_ok=True)
            checkout.materialise(inner, inner_tree, directory / path, keep=keep, state_path=str(state))
            materialise(inner, inner_tree, directory / path, states, depth=depth + 1)
