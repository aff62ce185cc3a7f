"""Branches: made, deleted, and gone to with local changes kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyexp.errors import GitError, RefConflict
from pyexp.git import config, index, objects, reflog, refs
from pyexp.git.apply import Plan, Planner, apply
from pyexp.git.indexfile import Index, IndexEntry, from_stat
from pyexp.git.worktree import Files

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_ADVICE = "commit them first (pyexp git commit -a), or bring the files back (pyexp git checkout -- FILE)"


def check_branch_name(name: str) -> None:
    """Raises GitError unless git would take the name for a branch."""
    reason = refs.invalid_reason(f"refs/heads/{name}")
    if not name or name.startswith("-") or name == "HEAD":
        reason = "is not allowed"
    if reason:
        raise GitError(
            f"'{name}' cannot be a branch's name: it {reason}", hint="use letters, digits, '-', '_', '.', '/'"
        )


def list_branches(repo: Repo) -> list[str]:
    """The names of local branches, sorted."""
    return sorted(repo.branches())


def create_branch(repo: Repo, name: str, start: str = "HEAD") -> str:
    """Makes a branch at a revision and returns its commit; raises GitError when it exists."""
    check_branch_name(name)
    sha = repo.resolve(start)
    try:
        refs.create(repo, f"refs/heads/{name}", sha)
    except RefConflict as conflict:
        raise GitError(f"the branch '{name}' cannot be made: {conflict}", hint="choose another name") from conflict
    log(repo, f"refs/heads/{name}", None, sha, f"branch: Created from {start}")
    return sha


def delete_branch(repo: Repo, name: str, *, force: bool = False) -> str:
    """Deletes a branch and returns the commit it was at.

    Raises GitError for the current branch, and for one with commits HEAD does not have (unless ``force``).
    """
    head = repo.head()
    sha = refs.exists(repo, f"refs/heads/{name}")
    if sha is None:
        raise GitError(f"there is no branch '{name}'", hint="see: pyexp git branch")
    if head.branch == name:
        raise GitError(f"'{name}' is the branch you are on", hint="go to another first: pyexp git switch NAME")
    if not force and (head.sha is None or not repo.is_ancestor(sha, head.sha)):
        raise GitError(f"'{name}' has commits that HEAD does not have", hint=f"pyexp git branch -D {name}")
    refs.delete(repo, f"refs/heads/{name}", sha)
    config.remove_section(repo, ("branch", name))
    return sha


def switch(repo: Repo, name: str, *, create: bool = False) -> str:
    """Goes to a branch (a commit: detached), with its files; returns the commit.

    Local changes stay where the two commits have the same file; raises UnsafeCheckout, before anything is touched,
    where they have not. ``create`` makes the branch here first.
    """
    head = repo.head()
    if create:
        check_branch_name(name)
        target = f"refs/heads/{name}"
        if head.sha is None:
            refs.write_head(repo, target)
            return ""
        create_branch(repo, name)
        sha = head.sha
    else:
        target, sha = _target(repo, name)
    move(repo, head.sha, sha)
    refs.write_head(repo, target)
    log(
        repo,
        "HEAD",
        head.sha,
        sha,
        f"checkout: moving from {head.branch or head.sha} to {target.removeprefix('refs/heads/')}",
    )
    return sha


def _target(repo: Repo, name: str) -> tuple[str, str]:
    if name == "-":
        name = reflog.previous_branch(repo, 1) or name
    ref = f"refs/heads/{name}"
    sha = refs.exists(repo, ref)
    if sha is not None:
        return ref, sha
    tracked = [(full, at) for full, at in refs.read(repo, "refs/remotes/").items() if full.split("/", 3)[3:] == [name]]
    if len(tracked) == 1:
        full, sha = tracked[0]
        refs.create(repo, ref, sha)
        config.set_values(repo, {f"branch.{name}.remote": full.split("/")[2], f"branch.{name}.merge": ref})
        return ref, sha
    sha = repo.resolve(name)
    return sha, sha


def move(repo: Repo, old: str | None, new: str) -> tuple[str, ...]:
    """Moves work tree and index from one commit to another, local changes kept; raises UnsafeCheckout as ``switch``.

    Returns the paths that changed.
    """
    old_tree = repo.tree_of(old) if old else None
    new_tree = repo.tree_of(new)
    changes = objects.differences(repo, old_tree, new_tree)
    read = repo.read_index()
    if read.unmerged:
        raise GitError(f"'{next(iter(read.unmerged))}' is in conflict", hint="settle it, then: pyexp git add")
    target = {path: after for path, (_, after) in changes.items() if after is not None}
    committed = {path: before for path, (before, _) in changes.items() if before is not None}
    planner = Planner(Files(repo, read), target, committed, lambda relpath, sha: False)
    for path, (before, after) in changes.items():
        entry = read.entries.get(path)
        staged = None if entry is None else (entry.mode, entry.sha)
        if staged not in (before, after):
            planner.offenders.add(path)
        elif after is None:
            planner.look_at_unwanted(path)
        else:
            planner.look_at_wanted(path, after)
    plan = Plan(new_tree, planner.write, tuple(sorted(planner.remove)), tuple(sorted(planner.offenders)))
    changed = apply(repo, plan, advice=_ADVICE)
    entries = dict(read.entries)
    root = str(repo.require_worktree())
    for path, (_, after) in changes.items():
        if after is None:
            entries.pop(path, None)
        else:
            entries[path] = _entry(f"{root}/{path}", after)
    index.write_index(repo, index.pairs(Index(entries)), read=read)
    return changed


def _entry(path: str, entry: tuple[int, str]) -> IndexEntry:
    try:
        found = os.lstat(path)
    except OSError:
        return IndexEntry(*entry)
    return IndexEntry(*entry) if entry[0] == objects.GITLINK else from_stat(*entry, found)


def log(repo: Repo, name: str, old: str | None, new: str, message: str) -> None:
    """Notes a ref's move in its log, by whoever commits here."""
    try:
        who = config.identity(repo, "COMMITTER")
    except GitError:
        who = config.NOBODY
    reflog.append(repo, name, old, new, who, message)
