"""What ``pyexp git`` does, for machines without git: stage, commit, look, switch, share.

Only these functions write the index, HEAD and branches. They return data and lines; the command line prints. No hook is
ever run: what a repository's hooks check, a machine with git has to check.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pyexp.errors import GitError
from pyexp.git import config, index, objects, reflog, refs
from pyexp.git.apply import Plan, apply
from pyexp.git.branches import create_branch, delete_branch, list_branches, switch
from pyexp.git.difftext import diff_text, quoted, under
from pyexp.git.indexfile import Index, IndexEntry, from_stat
from pyexp.git.sharing import add_remote, clone, list_remotes, pull, push, remove_remote
from pyexp.git.worktree import Files, mode_of

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.model import Commit

__all__ = [
    "add",
    "add_remote",
    "clone",
    "commit",
    "create_branch",
    "delete_branch",
    "diff_text",
    "list_branches",
    "list_remotes",
    "log",
    "pull",
    "push",
    "remove_remote",
    "restore",
    "set_config",
    "status_text",
    "switch",
    "untrack",
]


# --- staging


def add(repo: Repo, paths: Sequence[str], *, all: bool = False, force: bool = False) -> list[str]:
    """Stages files as they are now: new, changed and deleted ones at or below ``paths`` ('.' or ``all``: everywhere).

    Returns the paths whose entry changed. Raises GitError for a path that matches nothing, or that is ignored
    (``force`` adds it all the same).
    """
    read = repo.read_index()
    files = Files(repo, read)
    wanted = [] if all else [_normal(path) for path in paths]
    chosen = {path: None for path in read.entries if under(wanted, path)}
    ignores_asked = [path for path in wanted if path and not force and not read.has(path)]
    ignored = [path for path in ignores_asked if repo.is_ignored(path, _is_directory(files, path))]
    if ignored:
        raise GitError(f"'{ignored[0]}' is ignored by .gitignore", hint="to add it all the same: pyexp git add -f")
    for path in wanted if force and not all else []:
        chosen.update(dict.fromkeys(files.below(path)))
    if not force or all:
        found = (
            files.untracked() if not wanted or any(not path or _is_directory(files, path) for path in wanted) else []
        )
        chosen.update({path: None for path in found if under(wanted, path) and not path.endswith("/")})
        chosen.update({path: None for path in wanted if path and not _is_directory(files, path) and files.stat(path)})
    for path in wanted:
        if path and not read.has(path) and files.stat(path) is None:
            raise GitError(f"'{path}' matches no file", hint="see: pyexp git status")
    return _stage(repo, read, files, chosen)


def _normal(path: str) -> str:
    return "" if path in (".", "") else path.rstrip("/")


def _is_directory(files: Files, path: str) -> bool:
    found = files.stat(path) if path else os.lstat(files.root)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _stage(repo: Repo, read: Index, files: Files, chosen: Iterable[str]) -> list[str]:
    """Writes the chosen paths' present state into the index; returns those that changed."""
    entries = dict(read.entries)
    unmerged = dict(read.unmerged)
    changed = []
    with objects.batch(repo):
        for path in chosen:
            old = entries.get(path)
            if old is not None and (old.skip_worktree or old.assume_valid):
                continue
            new = _entry(repo, files, path)
            if new is None:
                entries.pop(path, None)
            elif old is not None and old.mode == objects.GITLINK and new.mode == objects.GITLINK:
                entries[path] = old._replace(sha=new.sha)
            else:
                entries[path] = new
            unmerged.pop(path, None)
            if (old and old[:2]) != (new and new[:2]) or (old is not None and (old.stage or old.intent_to_add)):
                changed.append(path)
    _drop_clashes(entries, changed)
    if changed or entries != read.entries:
        index.write_index(repo, index.pairs(Index(entries, unmerged)), read=read)
    return changed


def _entry(repo: Repo, files: Files, path: str) -> IndexEntry | None:
    found = files.stat(path)
    if found is None:
        return None
    if path in files.index.entries and files.index.entries[path].mode == objects.GITLINK:
        got = files.entry(path, lambda data: objects.write_blob(repo, data))
        return None if got is None else IndexEntry(*got)
    if mode_of(found) is None:
        return None
    got = files.entry(path, lambda data: objects.write_blob(repo, data))
    return None if got is None else from_stat(*got, found)


def _drop_clashes(entries: dict[str, IndexEntry], changed: Sequence[str]) -> None:
    """A file that took a directory's place, or the other way round, leaves one of the two in the index."""
    for path in changed:
        if path not in entries:
            continue
        directory = path.rpartition("/")[0]
        while directory:
            entries.pop(directory, None)
            directory = directory.rpartition("/")[0]


def untrack(repo: Repo, paths: Sequence[str]) -> list[str]:
    """Takes files out of the index and leaves them on disk (``git rm --cached -r``); returns them.

    Raises GitError for a path that is not tracked.
    """
    read = repo.read_index()
    gone: list[str] = []
    for path in paths:
        found = [name for name in read.entries if under([_normal(path)], name)]
        if not found:
            raise GitError(f"'{path}' is not tracked by git", hint="see: pyexp git status")
        gone.extend(name for name in found if name not in gone)
    kept = Index(
        {path: entry for path, entry in read.entries.items() if path not in gone},
        {path: stages for path, stages in read.unmerged.items() if path not in gone},
    )
    index.write_index(repo, index.pairs(kept), read=read)
    return gone


def restore(repo: Repo, paths: Sequence[str]) -> list[str]:
    """Brings files back as the index has them, whatever they hold now; returns those that changed.

    Raises GitError for a path the index does not have, or one where a directory stands now.
    """
    files = Files(repo)
    write: dict[str, tuple[int, str]] = {}
    for path in paths:
        found = [name for name in files.index.entries if under([_normal(path)], name)]
        if not found:
            raise GitError(f"'{path}' is not tracked by git", hint="see: pyexp git status")
        for name in found:
            entry = files.index.entries[name]
            if entry.mode == objects.GITLINK or entry.skip_worktree or entry.intent_to_add:
                continue
            if entry.stage:
                raise GitError(f"'{name}' is in conflict", hint="settle it, then: pyexp git add")
            if _is_directory(files, name):
                raise GitError(f"a directory is in the way of '{name}'", hint="move it away first")
            if files.entry(name, lambda data: objects.blob_sha(repo, data)) != (entry.mode, entry.sha):
                write[name] = entry.mode, entry.sha
    return list(apply(repo, Plan(None, write, (), ()), force=True))


# --- committing


def commit(repo: Repo, message: str, *, all: bool = False, allow_empty: bool = False) -> str:
    """Commits what is staged (``all``: every change of tracked files) and moves the branch; returns the commit.

    Raises GitError when nothing changed (unless ``allow_empty``), when git does not know who commits, and while a merge
    is under way.
    """
    who, committer = repo.identity(), config.identity(repo, "COMMITTER")
    for name in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "rebase-merge", "rebase-apply"):
        if os.path.exists(os.path.join(repo.gitdir, name)):
            raise GitError("a merge or rebase is under way", hint="finish it with git, or remove .git/" + name)
    if all:
        read = repo.read_index()
        _stage(repo, read, Files(repo, read), list(read.entries))
    staged = repo.read_index()
    if staged.unmerged:
        raise GitError(f"'{next(iter(staged.unmerged))}' is in conflict", hint="settle it, then: pyexp git add")
    entries = {path: (e.mode, e.sha) for path, e in staged.entries.items() if not e.intent_to_add}
    with objects.batch(repo):
        tree = objects.build_tree(repo, entries)
    head = repo.head()
    unchanged = repo.tree_of(head.sha) == tree if head.sha else not entries
    if unchanged and not allow_empty:
        raise GitError("there is nothing to commit", hint="stage changes first: pyexp git add .")
    text = message.strip("\n") + "\n"
    sha = objects.write_commit(repo, tree, [head.sha] if head.sha else [], text, who, committer)
    _advance(repo, head.sha, sha, f"commit{'' if head.sha else ' (initial)'}: {text.splitlines()[0]}")
    return sha


def _advance(repo: Repo, old: str | None, new: str, message: str) -> None:
    who = config.identity(repo, "COMMITTER")
    target, _ = refs.read_head(repo)
    if target is None:
        refs.write_head(repo, new)
    else:
        refs.update(repo, target, old, new)
        reflog.append(repo, target, old, new, who, message)
    reflog.append(repo, "HEAD", old, new, who, message)


# --- looking


def log(repo: Repo, rev: str = "HEAD", n: int | None = None) -> Iterator[Commit]:
    """Up to ``n`` commits from a revision back, newest first."""
    for sha in repo.history(repo.resolve(rev), n, first_parent=False):
        yield repo.commit(sha)


_WORDS: Mapping[str, str] = {"A": "new file:   ", "M": "modified:   ", "D": "deleted:    ", "T": "typechange: "}


def status_text(repo: Repo, short: bool = False) -> str:
    """What differs, as lines: ``short`` gives git's two letters and a path, else sections with advice."""
    found = index.status(repo, untracked="normal")
    if short:
        paths = sorted({*found.staged, *found.unstaged}, key=os.fsencode)
        rows = [f"{found.staged.get(path, ' ')}{found.unstaged.get(path, ' ')} {quoted(path)}" for path in paths]
        return "".join(f"{row}\n" for row in rows + [f"?? {quoted(path)}" for path in found.untracked])
    head = repo.head()
    lines = [f"On branch {head.branch}" if head.branch else f"HEAD detached at {(head.sha or '')[:7]}"]
    if head.sha is None:
        lines.append("\nNo commits yet")
    conflicts = [path for path, change in found.staged.items() if change == "U"]
    for title, rows in (
        ("Changes to be committed:", [f"{_WORDS[c]}{quoted(path)}" for path, c in found.staged.items() if c != "U"]),
        ("Unmerged paths:", [f"in conflict: {quoted(path)}" for path in conflicts]),
        (
            "Changes not staged for commit:",
            [f"{_WORDS[c]}{quoted(path)}" for path, c in found.unstaged.items() if c != "U"],
        ),
        ("Untracked files:", [quoted(path) for path in found.untracked]),
    ):
        if rows:
            lines += [f"\n{title}", *(f"\t{row}" for row in rows)]
    if not found.staged:
        lines.append("\n" + _nothing_staged(found))
    return "\n".join(lines) + "\n"


def _nothing_staged(found: index.Status) -> str:
    if found.unstaged:
        return 'no changes added to commit (use "pyexp git add" and/or "pyexp git commit -a")'
    if found.untracked:
        return 'nothing added to commit but untracked files present (use "pyexp git add" to track)'
    return "nothing to commit, working tree clean"


# --- settings


def set_config(repo: Repo, key: str, value: str | None, *, everywhere: bool = False) -> None:
    """Sets (None: removes) a setting of this repository, or (``everywhere``) of this user."""
    config.set_value(repo, key, value, everywhere=everywhere)
