"""Looks for damage in a git repository's refs, index and reachable objects; changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pyexp import durable
from pyexp.errors import GitError, PyexpError
from pyexp.git import index, objects, refs

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_PACKED = re.compile(rb"(?:[0-9a-f]{40,64} \S+|\^[0-9a-f]{40,64}|#.*|)\Z")


class Damage(NamedTuple):
    """What is wrong with a ref, file or object; ``ref`` is set when removing that ref would put it right."""

    where: str
    what: str
    ref: str | None = None
    sha: str | None = None


def check(repo: Repo, *, every_byte: bool, tell: Callable[[int], None] = lambda done: None) -> Iterator[Damage]:
    """HEAD, refs, index, and what HEAD and the experiments hold: each commit, tree and file.

    ``every_byte`` reads the files' bytes too; without it they only have to be there.
    """
    yield from _refs(repo)
    try:
        index.read_index(repo)
    except PyexpError as error:
        yield Damage("index", str(error))
    starts: dict[str, str] = {}
    try:
        head = repo.head().sha
        if head is not None:
            starts["HEAD"] = head
    except GitError as error:
        yield Damage("HEAD", str(error))
    starts.update(refs.read(repo, refs.EXPS))
    starts.update(refs.read(repo, "refs/pyexp/"))
    yield from _contents(repo, starts, every_byte, tell)


def _refs(repo: Repo) -> Iterator[Damage]:
    raw = durable.read_file(os.path.join(repo.commondir, "packed-refs")) or b""
    for number, line in enumerate(raw.splitlines(), 1):
        if not _PACKED.match(line):
            shown = line[:60].decode("utf-8", "backslashreplace")
            yield Damage(f"packed-refs:{number}", f"a line that is no ref: {shown!r}")
    for directory, names, files in os.walk(os.path.join(repo.commondir, "refs")):
        names.sort()
        for file in sorted(files):
            if not file.endswith(".lock"):
                yield from _loose(repo, os.path.join(directory, file))
    for name, sha in refs.read(repo).items():
        try:
            present = repo.blob_exists(sha)
        except GitError:
            present = False
        if not present:
            yield Damage(name, f"names {sha[:12]}, which is not in the repository", name, sha)


def _loose(repo: Repo, path: str) -> Iterator[Damage]:
    name = os.path.relpath(path, repo.commondir).replace(os.sep, "/")
    try:
        value = (durable.read_file(path) or b"").decode("utf-8", "backslashreplace").strip()
    except OSError as error:
        yield Damage(name, f"cannot be read: {error.strerror}")
        return
    if not value.startswith("ref:") and not objects.is_sha(value):
        yield Damage(name, "is empty" if not value else f"holds {value[:60]!r}, no commit", name, value[:60])


def _contents(repo: Repo, starts: dict[str, str], every_byte: bool, tell: Callable[[int], None]) -> Iterator[Damage]:
    seen: set[str] = set()
    for name, sha in starts.items():
        for commit in (sha, *_parents(repo, sha)):
            for damage in _walk(repo, commit, every_byte, seen):
                yield Damage(name, damage)
            tell(len(seen))


def _parents(repo: Repo, sha: str) -> Iterable[str]:
    try:
        return repo.commit(sha).parents
    except GitError:
        return ()


def _walk(repo: Repo, commit: str, every_byte: bool, seen: set[str]) -> Iterator[str]:
    if commit in seen:
        return
    seen.add(commit)
    try:
        pending = [("", repo.tree_of(commit))]
    except GitError as error:
        yield str(error)
        return
    while pending:
        path, tree = pending.pop()
        if tree in seen:
            continue
        seen.add(tree)
        try:
            entries = objects.read_tree(repo, tree)
        except GitError as error:
            yield f"{path or 'its files'}: {error}"
            continue
        for entry, (mode, sha) in entries.items():
            below = f"{path}/{entry}" if path else entry
            if mode == objects.DIRECTORY:
                pending.append((below, sha))
            elif mode != objects.GITLINK and sha not in seen:
                seen.add(sha)
                problem = _file(repo, sha, every_byte)
                if problem:
                    yield f"{below}: {problem}"


def _file(repo: Repo, sha: str, every_byte: bool) -> str | None:
    try:
        if not every_byte:
            return None if objects.exists(repo, sha) else f"git object {sha} is missing"
        kind, data = objects.read(repo, sha)
        if objects.object_sha(repo, kind, data) != sha:
            return f"git object {sha} does not hold the bytes its name says"
    except GitError as error:
        return str(error)
    return None
