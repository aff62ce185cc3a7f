"""Branches to and from remotes: clone, push, pull (forward only), and the list of remotes."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp.errors import GitError, RemoteError
from pyexp.git import branches, config, refs
from pyexp.git import repo as repository
from pyexp.git.checkout import remove_tree

if TYPE_CHECKING:
    from pyexp.events import Ask
    from pyexp.git.repo import Repo


def list_remotes(repo: Repo) -> dict[str, str]:
    """The configured remotes: name -> URL, sorted by name, passwords left out."""
    names = sorted(config.subsections(repo, "remote"))
    return {name: config.shown_url(config.get(repo, f"remote.{name}.url") or "") for name in names}


def add_remote(repo: Repo, name: str, url: str) -> None:
    """Adds a remote; raises GitError when the name is taken or not allowed."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or refs.invalid_reason(f"refs/remotes/{name}/x"):
        raise GitError(f"'{name}' cannot be a remote's name", hint="use letters, digits, '-', '_', '.'")
    if config.get(repo, f"remote.{name}.url") is not None:
        raise GitError(f"there is a remote '{name}' already", hint=f"remove it first: pyexp git remote remove {name}")
    config.set_values(repo, {f"remote.{name}.url": url, f"remote.{name}.fetch": f"+refs/heads/*:refs/remotes/{name}/*"})


def remove_remote(repo: Repo, name: str) -> None:
    """Removes a remote and what is remembered of its branches; raises GitError when there is none."""
    if not config.remove_section(repo, ("remote", name)):
        raise GitError(f"there is no git remote '{name}'", hint="see: pyexp git remote")
    refs.delete_many(repo, dict.fromkeys(refs.read(repo, f"refs/remotes/{name}/")))
    for branch in list(config.subsections(repo, "branch")):
        if config.get(repo, f"branch.{branch}.remote") == name:
            config.remove_section(repo, ("branch", branch))


def clone(url: str, path: Path, depth: int | None = None, ask: Ask | None = None) -> Repo:
    """Copies a repository into ``path``, which must not exist or be empty, and checks its branch out.

    ``depth`` brings only so many commits (not from a path). On failure nothing is left. Raises RemoteError, GitError.
    """
    existed = path.exists()
    if existed and (not path.is_dir() or any(path.iterdir())):
        raise GitError(f"'{path}' is there already and not empty", hint="name another directory")
    path.mkdir(parents=True, exist_ok=True)
    made: Repo | None = None
    try:
        made = repository.init(path)
        made.ask = ask
        _fill(made, url, depth)
        return made
    except BaseException:
        if made is not None:
            made.close()
        with suppress(OSError):
            remove_tree(os.fspath(path))
            if existed:
                path.mkdir()
        raise


def _fill(repo: Repo, url: str, depth: int | None) -> None:
    from pyexp.git import sync  # seam: what needs no network does not load its modules

    add_remote(repo, "origin", url)
    there = sync.list_remote(repo, "origin", "refs/")
    heads = {name: f"refs/remotes/origin/{name[11:]}" for name in there if name.startswith("refs/heads/")}
    tags = {} if depth is not None else {name: name for name in there if name.startswith("refs/tags/")}
    default = sync.default_branch(repo, "origin")
    if depth is not None:
        heads = {name: to for name, to in heads.items() if name == default}
    failed = {name: why for name, why in sync.fetch(repo, "origin", {**heads, **tags}, depth=depth).items() if why}
    if failed:
        name, why = next(iter(failed.items()))
        raise RemoteError(f"{name} could not be fetched: {why}")
    if default is None or default not in heads:
        if default is not None:
            refs.write_head(repo, default)
        return
    branch = default[len("refs/heads/") :]
    sha = there[default]
    refs.write_head(repo, default)
    branches.move(repo, None, sha)
    refs.create(repo, default, sha)
    _track(repo, branch, "origin")
    branches.log(repo, "HEAD", None, sha, f"clone: from {config.shown_url(url)}")
    branches.log(repo, default, None, sha, f"clone: from {config.shown_url(url)}")


def _track(repo: Repo, branch: str, remote: str) -> None:
    if config.get(repo, f"branch.{branch}.remote") is None:
        config.set_values(repo, {f"branch.{branch}.remote": remote, f"branch.{branch}.merge": f"refs/heads/{branch}"})


def _branch(repo: Repo, branch: str | None) -> str:
    chosen = branch or repo.head().branch
    if chosen is None:
        raise GitError("HEAD is on no branch", hint="name the branch")
    return chosen


def push(repo: Repo, remote: str = "origin", branch: str | None = None) -> str:
    """Sends a branch (default: the current one) to the remote's branch of that name; returns a line about it.

    Raises RemoteError when the remote has commits the branch lacks.
    """
    from pyexp.git import sync  # seam: what needs no network does not load its modules

    name = _branch(repo, branch)
    sha = refs.exists(repo, f"refs/heads/{name}")
    if sha is None:
        raise GitError(f"there is no branch '{name}' with commits", hint="see: pyexp git branch")
    problem = sync.push(repo, remote, {f"refs/heads/{name}": sha})[f"refs/heads/{name}"]
    if problem is not None:
        behind = problem in (sync.NEWER_THERE, sync.OTHER_THERE)
        raise RemoteError(
            f"'{name}' was not pushed: {problem}",
            hint=f"bring its commits here first: pyexp git pull {remote} {name}" if behind else None,
        )
    if config.get(repo, f"remote.{remote}.url") is not None:
        known = f"refs/remotes/{remote}/{name}"
        refs.update(repo, known, refs.exists(repo, known), sha)
        _track(repo, name, remote)
    return f"Pushed {name} ({sha[:7]}) to {config.shown_url(remote)}."


def pull(repo: Repo, remote: str = "origin", branch: str | None = None) -> str:
    """Fetches a branch and moves the current one forward to it; returns a line about it.

    Raises GitError when both sides have commits of their own, UnsafeCheckout when local changes are in the way.
    """
    from pyexp.git import sync  # seam: what needs no network does not load its modules

    name = _branch(repo, branch)
    ref = f"refs/heads/{name}"
    named = config.get(repo, f"remote.{remote}.url") is not None
    local = f"refs/remotes/{remote}/{name}" if named else f"refs/pyexp/fetched/{os.urandom(4).hex()}"
    problem = sync.fetch(repo, remote, {ref: local}, force=True)[local]
    if problem is not None:
        raise RemoteError(f"'{name}' was not fetched: {problem}", hint="see: pyexp git remote -V")
    new = refs.exists(repo, local)
    assert new is not None
    if not named:
        refs.delete(repo, local)
    target, old = refs.read_head(repo)
    if old == new or (old is not None and repo.is_ancestor(new, old)):
        return "Already up to date."
    if old is not None and not repo.is_ancestor(old, new):
        raise GitError(
            f"{target or 'HEAD'} and '{name}' of {config.shown_url(remote)} both have new commits",
            hint="merge them with git; or put yours on a branch: pyexp git branch mine",
        )
    branches.move(repo, old, new)
    if target is None:
        refs.write_head(repo, new)
    else:
        refs.update(repo, target, old, new)
        branches.log(repo, target, old, new, "pull: Fast-forward")
    branches.log(repo, "HEAD", old, new, "pull: Fast-forward")
    return f"Fast-forwarded to {new[:7]}."
