"""Between files and trees: the work tree as a tree, a tree as a directory, a directory as a tree again.

The user's HEAD and index are read here, never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pyexp.errors import GitError
from pyexp.git import config, objects
from pyexp.git.apply import Plan, apply, apply_tree, plan_apply
from pyexp.git.checkout import capture, check_path, materialise
from pyexp.git.worktree import Files
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

__all__ = [
    "Plan",
    "Snapshot",
    "apply",
    "apply_tree",
    "capture",
    "commit_tree",
    "materialise",
    "plan_apply",
    "present",
    "workspace_tree",
]


@dataclass(frozen=True)
class Snapshot:
    """A tree made from files, and the paths in which it differs from what it started from."""

    tree: str
    changed: tuple[str, ...]


def workspace_tree(
    repo: Repo,
    *,
    base: str | None = None,
    include: Iterable[str] = (),
    replace: Mapping[str, bytes] | None = None,
    exclude: Iterable[str] = (),
) -> Snapshot:
    """Stores the work tree's tracked files as they are now, as a tree: what ``git add -u; git write-tree`` would give.

    Tracked is what the index lists (and, when given, the tree ``base``). ``include`` adds untracked or ignored files
    and directories, ``replace`` gives content that stands instead of a file's, ``exclude`` leaves paths and all below
    them out. Paths are relpaths below the work tree. Blobs and trees are stored; index and HEAD stay as they are.
    """
    with objects.batch(repo):
        return _workspace_tree(repo, base, include, replace or {}, tuple(exclude))


def _workspace_tree(
    repo: Repo, base: str | None, include: Iterable[str], replace: Mapping[str, bytes], exclude: Iterable[str]
) -> Snapshot:
    files = Files(repo)
    index = files.index
    start: dict[str, tuple[int, str]] = {
        path: (entry.mode, entry.sha)
        for path, entry in index.entries.items()
        if entry.stage == 0 and not entry.intent_to_add
    }
    if base is not None:
        start = objects.flatten(repo, base)
    paths = dict.fromkeys(index.entries)
    paths.update(dict.fromkeys(start))
    for wanted in include:
        paths.update(dict.fromkeys(files.below(wanted.rstrip("/"))))

    def store(data: bytes) -> str:
        return objects.write_blob(repo, data)

    result: dict[str, tuple[int, str]] = {}
    for path in paths:
        entry = files.entry(path, store)
        if entry is not None:
            result[path] = entry
    for path, data in replace.items():
        old = result.get(path)
        mode = old[0] if old and old[0] in (objects.FILE, objects.EXECUTABLE) else objects.FILE
        result[check_path(path)] = mode, store(data)
    for left_out in exclude:
        prefix = left_out.rstrip("/") + "/"
        for path in [path for path in result if (path + "/").startswith(prefix)]:
            del result[path]
    changed = {path for path in start.keys() | result.keys() if start.get(path) != result.get(path)}
    return Snapshot(objects.build_tree(repo, result), tuple(sorted(changed)))


def present(repo: Repo, paths: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Stores the files that are at these paths of the work tree: path -> (mode, blob); what is not there is left out."""
    files = Files(repo)
    with objects.batch(repo):
        found = {path: files.here(path, lambda data: objects.write_blob(repo, data)) for path in paths}
    return {path: entry for path, entry in found.items() if entry is not None}


def commit_tree(repo: Repo, tree: str, *, parent: str, message: str) -> str:
    """Stores a commit of the tree and returns its name; without a known identity it is pyexp's own."""
    try:
        who = repo.identity()
    except GitError:
        who = config.NOBODY
    return objects.write_commit(repo, tree, [parent], message, who)
