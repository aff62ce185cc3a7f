"""Refs in and out, in git's own file protocol (gitrepository-layout(5), git-pack-refs(1)), without dulwich.

Reading takes no lock. Every write is a compare-and-set under git's ``<ref>.lock``, so that git may work beside us, and
under one kernel lock of ours, so that pyexp processes wait for each other instead of failing (lockfile.py).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import ExperimentError, GitError, Locked, RefConflict
from pyexp.git import lockfile

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

EXPS = "refs/exps/"
WAIT_SECONDS = 10.0
STALE_SECONDS = 60.0
# Reading thousands of loose refs costs forty times as much as reading the packed file.
PACK_AT = 1000

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_PACKED_LINE = re.compile(r"^([0-9a-f]{40,64}) (\S+)\n(?:\^([0-9a-f]{40,64})\n)?", re.MULTILINE)


# --- reading


def read(repo: Repo, prefix: str = "refs/") -> dict[str, str]:
    """All refs whose name starts with ``prefix``: name -> sha; symbolic ones are followed, broken ones left out."""
    # Loose first: a ref that git packs meanwhile is then seen at least once.
    loose = dict(_loose(repo, prefix))
    found = {name: sha for name, (sha, _) in _packed(repo).items() if name.startswith(prefix)}
    for name, value in loose.items():
        target = value
        if value.startswith("ref: "):
            target = exists(repo, name) or ""
        if target:
            found[name] = target
    return found


def _loose(repo: Repo, prefix: str) -> Iterator[tuple[str, str]]:
    top = prefix[: prefix.rfind("/")] or "refs"
    pending = [(os.path.join(repo.commondir, top), top)]
    while pending:
        path, name = pending.pop()
        try:
            entries = list(os.scandir(path))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            below = f"{name}/{entry.name}"
            if entry.name.endswith(".lock") or not (below.startswith(prefix) or prefix.startswith(below + "/")):
                continue
            if entry.is_dir():
                pending.append((entry.path, below))
            else:
                value = _read_value(entry.path)
                if value:
                    yield below, value


def _read_value(path: str) -> str | None:
    """A loose ref's sha or ``ref: name``; None when there is none, or when a power cut left it empty."""
    try:
        fd = os.open(path, durable.READ_FLAGS)
        try:
            value = os.read(fd, 4096).decode("utf-8", "surrogateescape").strip()
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if value.startswith("ref:"):
        return "ref: " + value[4:].strip()
    return value if _SHA.match(value) else None


def _packed(repo: Repo) -> dict[str, tuple[str, str | None]]:
    """The packed refs, name -> (sha, what an annotated tag peels to); parsed again only when the file is another one."""
    path = os.path.join(repo.commondir, "packed-refs")
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return {}
    stamp = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    if repo.packed_refs is None or repo.packed_refs[0] != stamp:
        repo.packed_refs = stamp, _parse_packed(durable.read_file(path) or b"")
    return repo.packed_refs[1]


def _parse_packed(raw: bytes) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for match in _PACKED_LINE.finditer(raw.decode("utf-8", "surrogateescape")):
        sha, name, to = match.groups()
        found[name] = sha, to
    return found


def peeled(repo: Repo, prefix: str) -> dict[str, str]:
    """What packed annotated tags peel to, as far as the packed-refs file says: name -> sha."""
    return {name: to for name, (_, to) in _packed(repo).items() if to and name.startswith(prefix)}


def exists(repo: Repo, name: str) -> str | None:
    """The sha a ref holds (symbolic refs are followed), None when there is no such ref."""
    for _ in range(6):
        # A path made of a name must not lead out of the directory.
        if not name or ".." in name.split("/") or name.startswith("/") or "\0" in name:
            return None
        directory = repo.gitdir if _is_per_worktree(name) else repo.commondir
        value = _read_value(os.path.join(directory, name))
        if value is None:
            # In this order: packing writes the packed file before it removes the loose one.
            found = _packed(repo).get(name)
            return found[0] if found else None
        if not value.startswith("ref: "):
            return value
        name = value[5:]
    return None


def _is_per_worktree(name: str) -> bool:
    return not name.startswith("refs/") or name.startswith(("refs/bisect/", "refs/worktree/", "refs/rewritten/"))


def read_head(repo: Repo) -> tuple[str | None, str | None]:
    """HEAD's target ref (None: detached) and commit (None: no commit yet); raises GitError when it is unreadable."""
    path = os.path.join(repo.gitdir, "HEAD")
    with suppress(OSError, ValueError):
        link = os.readlink(path)
        if link.startswith("refs/"):
            return link, exists(repo, link)
    value = _read_value(path)
    if value is None:
        raise GitError(f"{path} is damaged", hint="write the branch into it: ref: refs/heads/NAME")
    if value.startswith("ref: "):
        return value[5:], exists(repo, value[5:])
    return None, value


# --- names

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")


def invalid_reason(name: str) -> str | None:
    """Why git would not take the ref name (git-check-ref-format(1)), None when it would."""
    found = _FORBIDDEN.search(name)
    if found:
        shown = "a control character" if ord(found[0]) < 32 or found[0] == "\x7f" else repr(found[0])
        return f"contains {shown}"
    for part in name.split("/"):
        if not part:
            return "has an empty part"
        if part.startswith("."):
            return "has a part that starts with '.'"
        if part.endswith(".lock"):
            return "has a part that ends in '.lock'"
    for bad in ("..", "@{"):
        if bad in name:
            return f"contains '{bad}'"
    if name.endswith("."):
        return "ends in '.'"
    if any(0xD800 <= ord(char) <= 0xDFFF for char in name):
        return "is not valid text"
    return None


def check_name(name: str) -> None:
    """Raises ExperimentError unless the name can be an experiment's: one part of a ref, at most 200 bytes."""
    reason = "is empty" if not name else invalid_reason(name)
    if reason is None and "/" in name:
        reason = "contains '/'"
    elif reason is None and name.startswith("-"):
        reason = "starts with '-'"
    elif reason is None and name == "@":
        reason = "means HEAD to git"
    elif reason is None and len(name.encode("utf-8")) > 200:
        reason = "is longer than 200 bytes"
    if reason:
        shown = ascii(name) if not name.isprintable() else f"'{name}'"
        raise ExperimentError(
            f"invalid experiment name {shown[:80]}: it {reason}",
            hint="use letters, digits, '-', '_' and '.', as in 'lr-0.01'",
        )


# --- writing


def create(repo: Repo, name: str, sha: str) -> None:
    """Makes a new ref; raises RefConflict when it is there already."""
    update(repo, name, None, sha)
    if name.startswith(EXPS) and int(sha[:2], 16) % 64 == 0:
        # Counting costs a walk: once in 64 times is often enough.
        with lockfile.writing(repo):
            if sum(1 for _ in _loose(repo, EXPS)) >= PACK_AT:
                _pack(repo, EXPS)


def update(repo: Repo, name: str, old: str | None, new: str) -> None:
    """Moves a ref from ``old`` (None: it must not be there) to ``new``; raises RefConflict when it holds something else."""
    reason = invalid_reason(name)
    if reason or not name.startswith("refs/"):
        raise RefConflict(f"invalid ref name '{name}'" + (f": it {reason}" if reason else ""))
    with lockfile.writing(repo), _locked_ref(repo, name) as path:
        _expect(repo, name, old)
        if old is None:
            _check_nesting(repo, name)
        lockfile.replace(repo, path, f"{new}\n".encode("ascii"), _rename_over)


def delete(repo: Repo, name: str, old: str | None = None) -> None:
    """Removes a ref; ``old`` is what it must hold. A ref that is not there is left at that, unless ``old`` is given."""
    delete_many(repo, {name: old})


def delete_many(repo: Repo, names: Mapping[str, str | None]) -> None:
    """Removes refs: name -> what it must hold (None: anything). Raises RefConflict before the first is gone."""
    with lockfile.writing(repo):
        for name, old in names.items():
            if old is not None:
                _expect(repo, name, old)
        # git's order: the packed line goes first, else a crash between would bring an old value back.
        if not _packed(repo).keys().isdisjoint(names):
            with _packed_lock(repo):
                packed = dict(_packed(repo))
                for name in names:
                    packed.pop(name, None)
                _write_packed(repo, packed)
        for name, old in names.items():
            with _locked_ref(repo, name) as path:
                if old is not None and _read_value(path) not in (None, old):
                    raise RefConflict(f"{name} was changed by another process", hint="look again, then retry")
                with suppress(FileNotFoundError):
                    os.unlink(path)
                with suppress(OSError):
                    os.unlink(os.path.join(repo.commondir, "logs", name))
            _remove_empty_parents(repo, name)


def pack(repo: Repo, prefix: str = EXPS) -> None:
    """Moves loose refs into the packed file, in git's order: no reader ever misses one, no kill loses one."""
    with lockfile.writing(repo):
        _pack(repo, prefix)


def _pack(repo: Repo, prefix: str) -> None:
    loose = {name: value for name, value in _loose(repo, prefix) if _SHA.match(value)}
    if prefix != EXPS and prefix != "refs/heads/":
        # Tags would have to be peeled first; only names that hold commits are packed here.
        loose = {name: sha for name, sha in loose.items() if name.startswith((EXPS, "refs/heads/"))}
    if not loose:
        return
    with _packed_lock(repo):
        packed = dict(_packed(repo))
        for name in loose:
            value = _read_value(os.path.join(repo.commondir, name))
            if value and _SHA.match(value):
                loose[name] = value
                packed[name] = value, None
        _write_packed(repo, packed)
    for name, sha in loose.items():
        with suppress(Locked), _locked_ref(repo, name, wait=0.0) as path:
            if _read_value(path) == sha:
                os.unlink(path)
        _remove_empty_parents(repo, name)


# --- the protocol


def _expect(repo: Repo, name: str, old: str | None) -> None:
    present = exists(repo, name)
    if present == old:
        return
    if old is None:
        raise RefConflict(f"{name} exists already at {present}")
    what = "is gone" if present is None else f"is now {present[:12]}"
    raise RefConflict(f"{name} {what}, not {old[:12]}", hint="another process changed it: look again, then retry")


def _check_nesting(repo: Repo, name: str) -> None:
    parts = name.split("/")
    above = next((p for n in range(3, len(parts)) if exists(repo, p := "/".join(parts[:n])) is not None), None)
    clash = above or next(iter(read(repo, name + "/")), None)
    if clash is not None:
        raise RefConflict(f"{name} cannot be made while {clash} exists", hint="one name cannot be inside another")


@contextmanager
def _locked_ref(repo: Repo, name: str, wait: float | None = None) -> Iterator[str]:
    """Holds git's lock on a ref; gives the ref's path."""
    path = os.path.join(repo.commondir, name)
    with lockfile.held(
        repo,
        path,
        wait=WAIT_SECONDS if wait is None else wait,
        make=lambda: _make_parents(repo, name),
        # git never takes a minute for one of these.
        stale=STALE_SECONDS if name.startswith(EXPS) else None,
    ):
        yield path


def _make_parents(repo: Repo, name: str) -> None:
    try:
        os.makedirs(os.path.dirname(os.path.join(repo.commondir, name)), exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RefConflict(f"{name} cannot be made: a part of it is a ref itself") from error


@contextmanager
def _packed_lock(repo: Repo) -> Iterator[None]:
    with lockfile.held(repo, os.path.join(repo.commondir, "packed-refs"), wait=WAIT_SECONDS):
        yield


def _rename_over(new: str, path: str) -> None:
    try:
        os.replace(new, path)
    except (IsADirectoryError, PermissionError):
        # Directories that deleted refs left behind may be in the way.
        for directory, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)
        try:
            os.replace(new, path)
        except (IsADirectoryError, PermissionError) as error:
            if not os.path.isdir(path):
                raise
            raise RefConflict(f"{path} is a directory with other refs in it") from error


def _write_packed(repo: Repo, packed: Mapping[str, tuple[str, str | None]]) -> None:
    path = os.path.join(repo.commondir, "packed-refs")
    first = (durable.read_file(path) or b"").split(b"\n", 1)[0].decode("ascii", "replace")
    # What an existing file did not promise about its lines is not promised now.
    traits = first.partition(":")[2].split() if first.startswith("# pack-refs with:") else []
    if not first:
        traits = ["peeled", "fully-peeled"]
    lines = [f"# pack-refs with: {' '.join([t for t in traits if t != 'sorted'] + ['sorted'])} \n"]
    for name in sorted(packed, key=lambda n: n.encode("utf-8", "surrogateescape")):
        sha, to = packed[name]
        lines.append(f"{sha} {name}\n" + (f"^{to}\n" if to else ""))
    lockfile.replace(repo, path, "".join(lines).encode("utf-8", "surrogateescape"))


def _remove_empty_parents(repo: Repo, name: str) -> None:
    parts = name.split("/")
    with suppress(OSError):
        for n in range(len(parts) - 1, 2, -1):
            os.rmdir(os.path.join(repo.commondir, *parts[:n]))


def write_head(repo: Repo, target: str) -> None:
    """Points HEAD at a branch (``refs/heads/…``) or, detached, at a commit. For user.py only."""
    with lockfile.writing(repo):
        path = os.path.join(repo.gitdir, "HEAD")
        with lockfile.held(repo, path, wait=WAIT_SECONDS):
            text = f"ref: {target}\n" if target.startswith("refs/") else f"{target}\n"
            lockfile.replace(repo, path, text.encode("utf-8", "surrogateescape"))
