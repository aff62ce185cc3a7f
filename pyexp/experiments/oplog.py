"""What changed experiments or the workspace, and what it takes to bring that back.

Each operation is one git commit under ``refs/pyexp/undo/NUMBER``, made before the first change: its tree holds the bytes
that go, its parents are the experiments that go, so git's own gc lets them live as long as the ref does. One ref, one
rename: a record is there whole or not at all, and one of an operation that was then killed says just as well how things
were. Its tree:

    record                  JSON: version, op, what, refs {name: [was, became]}, outs [[path, was, became]], where
    before/…, after/…       files of git that the operation replaced, removed or made
    queue/<state>/<file>    task files of the queue; logs/<id>.log their logs, when they are small

Data in the cache is not kept for it: gc frees at once, and undo says what is gone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import ExperimentError, GitError, PyexpError, RefConflict
from pyexp.experiments.taskqueue import STATES, TASK_REFS, Queue, State, log_path
from pyexp.git import config, objects, refs
from pyexp.git.checkout import check_tree
from pyexp.model import Entry, Oid, Task
from pyexp.objects.hashes import check_oid
from pyexp.paths import check_relpath
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.project import Project

PREFIX = "refs/pyexp/undo/"
VERSION = 1
GRACE_SECONDS = 30 * 86400
MAX_KEPT = 100
MAX_LOG_BYTES = 1 << 20
_TASK_FILE = re.compile(r"[0-9]+-[0-9a-f]+\Z")
_REFS = ("refs/exps/", TASK_REFS)

TreeEntry = tuple[int, str]


@dataclass(frozen=True)
class Replaced:
    """An output at a path (below the project): what it was before and after, None for nothing."""

    path: str
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Operation:
    """One line of the log, with all that ``undo`` wants to know."""

    number: int
    op: str
    what: str
    time: float
    refs: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    outs: tuple[Replaced, ...] = ()
    where: str = ""
    before: Mapping[str, TreeEntry] = field(default_factory=dict)
    after: Mapping[str, TreeEntry] = field(default_factory=dict)
    # (state, file name, blob) of tasks, and (id, blob) of their logs.
    tasks: tuple[tuple[State, str, str], ...] = ()
    logs: tuple[tuple[str, str], ...] = ()


def place(project: Project) -> str:
    """Which of a repository's work trees and projects this is: files are only brought back where they were."""
    repo = project.require_git()
    return f"{os.path.relpath(repo.gitdir, repo.commondir)}:{project.prefix}".replace(os.sep, "/")


def record(
    project: Project,
    op: str,
    what: str,
    *,
    ref_moves: Mapping[str, tuple[str | None, str | None]] | None = None,
    tasks: Iterable[tuple[State, Task]] = (),
    outs: Iterable[Replaced] = (),
    before: Mapping[str, TreeEntry] | None = None,
    after: Mapping[str, TreeEntry] | None = None,
) -> int:
    """Notes an operation that is about to begin, durably; returns its number. Blobs of files must be stored already."""
    repo = project.require_git()
    moves = dict(ref_moves or {})
    files: dict[str, TreeEntry] = {}
    files.update((f"before/{path}", entry) for path, entry in (before or {}).items())
    files.update((f"after/{path}", entry) for path, entry in (after or {}).items())
    with objects.batch(repo):
        for path, data in _task_files(project, tasks, moves):
            files[path] = objects.FILE, objects.write_blob(repo, data)
        body = {
            "version": VERSION,
            "op": op,
            "what": what,
            "refs": moves,
            "outs": [[out.path, _packed(out.before), _packed(out.after)] for out in outs],
            "where": place(project),
        }
        files["record"] = objects.FILE, objects.write_blob(repo, json.dumps(body).encode())
        tree = objects.build_tree(repo, files)
        going = {sha for move in moves.values() for sha in move if sha is not None}
        try:
            who = repo.identity()
        except GitError:
            who = config.NOBODY
        parents = sorted(sha for sha in going if repo.blob_exists(sha))
        commit = objects.write_commit(repo, tree, parents, f"pyexp: before {op}: {what}\n", who)
    number = _publish(repo, commit)
    _expire(repo)
    return number


def _task_files(
    project: Project, tasks: Iterable[tuple[State, Task]], moves: dict[str, tuple[str | None, str | None]]
) -> Iterable[tuple[str, bytes]]:
    repo = project.require_git()
    queue = Queue(project)
    for state, task in tasks:
        found = queue.raw(state, task)
        if found is None:
            continue
        yield f"queue/{state}/{found[0]}", found[1]
        log = log_path(project, task.id)
        with suppress(OSError):
            if os.path.getsize(log) <= MAX_LOG_BYTES and (said := durable.read_file(log)) is not None:
                yield f"logs/{task.id}", said
        ref = TASK_REFS + task.id
        kept = refs.exists(repo, ref)
        if kept is not None:
            moves[ref] = kept, None


def _packed(entry: Entry | None) -> list[Any] | None:
    return None if entry is None else [entry.oid.algo, entry.oid.hex, entry.size, entry.nfiles, entry.isexec]


def _publish(repo: Repo, commit: str) -> int:
    for _ in range(100):
        number = max(numbers(repo), default=0) + 1
        try:
            refs.create(repo, f"{PREFIX}{number}", commit)
            return number
        except RefConflict:
            continue  # somebody else took the number
    raise GitError("the operation log cannot be written", hint="too many commands at once: try again")


def _expire(repo: Repo) -> None:
    """Lets go of records older than the grace period, or too many; the newest stays."""
    known = numbers(repo)
    limit = time.time() - GRACE_SECONDS
    newest = sorted(known, reverse=True)
    old = [number for number in newest[1:] if _time(repo, known[number]) < limit]
    drop(repo, {*old, *newest[MAX_KEPT:]})


def _time(repo: Repo, sha: str) -> float:
    try:
        return repo.commit(sha).time
    except GitError:
        return 0.0


def drop(repo: Repo, gone: Iterable[int]) -> None:
    """Removes records."""
    refs_gone: dict[str, str | None] = {f"{PREFIX}{number}": None for number in gone}
    if refs_gone:
        refs.delete_many(repo, refs_gone)


def numbers(repo: Repo) -> dict[int, str]:
    """Every record's number and commit."""
    found = {name.removeprefix(PREFIX): sha for name, sha in refs.read(repo, PREFIX).items()}
    return {int(name): sha for name, sha in found.items() if name.isascii() and name.isdigit() and len(name) < 10}


def operations(project: Project) -> list[Operation]:
    """The log, newest first; records that cannot be read are left out."""
    repo = project.require_git()
    found = []
    for number, sha in sorted(numbers(repo).items(), reverse=True):
        try:
            found.append(_read(repo, number, sha))
        except PyexpError:
            continue
    return found


def operation(project: Project, number: int | None = None) -> Operation:
    """One record (default: the newest); raises ExperimentError when there is none, PyexpError when it is damaged."""
    repo = project.require_git()
    known = numbers(repo)
    if not known:
        raise ExperimentError(
            "there is nothing to undo", hint="exp apply, remove, rename and gc can be undone for 30 days"
        )
    chosen = max(known) if number is None else number
    if chosen not in known:
        raise ExperimentError(f"there is no operation {chosen} in the log", hint="see them: pyexp exp undo --list")
    return _read(repo, chosen, known[chosen])


def _read(repo: Repo, number: int, sha: str) -> Operation:
    """A record, every part of it checked: it may have come with somebody's copy of the repository."""
    commit = repo.commit(sha)
    tree = objects.flatten(repo, commit.tree)
    try:
        body = json.loads(repo.read_blob(tree["record"][1], most=durable.MAX_READ_BYTES))
        if body["version"] != VERSION:
            raise ValueError("its version is not known")
        parts = {part: _below(tree, f"{part}/") for part in ("before", "after", "queue", "logs")}
        check_tree(parts["before"])
        check_tree(parts["after"])
        return Operation(
            number,
            str(body["op"]),
            str(body["what"]),
            commit.time,
            {_checked_ref(name): (_checked_sha(was), _checked_sha(now)) for name, (was, now) in body["refs"].items()},
            tuple(Replaced(check_relpath(path), _unpacked(was), _unpacked(now)) for path, was, now in body["outs"]),
            str(body["where"]),
            parts["before"],
            parts["after"],
            tuple(_task(path, entry[1]) for path, entry in parts["queue"].items()),
            tuple((_checked_id(path), entry[1]) for path, entry in parts["logs"].items()),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PyexpError(
            f"operation {number} of the log cannot be read: {error}", hint=f"remove it: ref {PREFIX}{number}"
        ) from error


def _below(tree: Mapping[str, TreeEntry], prefix: str) -> dict[str, TreeEntry]:
    return {path.removeprefix(prefix): entry for path, entry in tree.items() if path.startswith(prefix)}


def _checked_ref(name: str) -> str:
    if not name.startswith(_REFS) or refs.invalid_reason(name):
        raise ValueError(f"it names the ref {name[:80]!r}")
    return name


def _checked_sha(sha: str | None) -> str | None:
    if sha is not None and not objects.is_sha(sha):
        raise ValueError(f"{str(sha)[:80]!r} is no commit")
    return sha


def _checked_id(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]+", text) is None:
        raise ValueError(f"{text[:80]!r} is no task")
    return text


def _task(path: str, blob: str) -> tuple[State, str, str]:
    state, _, name = path.partition("/")
    for known in STATES:
        if known == state and _TASK_FILE.match(name):
            return known, name, blob
    raise ValueError(f"{path[:80]!r} is no task")


def _unpacked(packed: list[Any] | None) -> Entry | None:
    if packed is None:
        return None
    algo, digest, size, nfiles, isexec = packed
    oid = Oid(str(algo), str(digest))
    check_oid(oid)
    return Entry(oid, size, nfiles, bool(isexec))
