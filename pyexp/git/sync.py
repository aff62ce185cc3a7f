"""Refs and their objects to and from other repositories: paths and file:// here, http(s), ssh and git by dulwich.

A remote is a name from git's configuration, a URL or a path. Results come per ref: one refusal does not hide the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from dulwich.config import ConfigFile, apply_instead_of
from dulwich.object_store import MissingObjectFinder
from dulwich.pack import UnpackedObject
from dulwich.repo import Repo as DulwichRepo

from pyexp.errors import GitError, NoGitRepo, RefConflict, RemoteError
from pyexp.git import config, objects, refs, revisions, wire
from pyexp.git import repo as repository

if TYPE_CHECKING:
    from dulwich.client import GitClient, SendPackResult
    from dulwich.objects import ObjectID

    from pyexp.git.repo import Repo

# ref -> None when it is done, else why it is not.
Results = dict[str, str | None]
ZERO = "0" * 40
# Why a ref there is not moved; everything else is said by the server.
NEWER_THERE = "the remote has commits that are not here: fetch first"
OTHER_THERE = "it is another line of commits there"
# git's transfer.unpackLimit: fewer objects than this stay loose, lest every experiment brings a pack.
UNPACK_LIMIT = 100

_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")


class _Dulwich(DulwichRepo):
    """dulwich's repository, without its refusal of extensions that change nothing it does."""

    _autogc_disabled = True

    def get_config(self) -> ConfigFile:
        found = super().get_config()
        section = (b"extensions",)
        if section in found:
            for key in list(found[section].keys()):
                if key.lower() in (b"partialclone", b"preciousobjects", b"noop"):
                    del found[section][key]
        return found


def list_remote(repo: Repo, remote: str, prefix: str = "refs/", *, peeled: bool = False) -> dict[str, str]:
    """The remote's refs that start with ``prefix``: name -> sha; with ``peeled`` a tag's is the commit's, where it is told.

    Raises RemoteError when it cannot be asked.
    """
    url = url_of(repo, remote)
    local = _local_path(url)
    if local is not None:
        with _open_local(local, url) as other:
            return refs.read(other, prefix)
    told = wire.talk(
        repo, remote, url, "pull", lambda client, path: client.get_refs(path, ref_prefix=[prefix.encode()])
    ).refs
    found: dict[str, str] = {}
    for raw, sha in sorted(told.items()):
        name = raw.decode("utf-8", "replace")
        if sha and name.startswith(prefix) and (peeled or not name.endswith("^{}")):
            found[name.removesuffix("^{}")] = sha.decode("ascii", "replace")
            if not objects.is_sha(found[name.removesuffix("^{}")]):
                raise RemoteError(f"{config.shown_url(url)}: '{name}' names no commit", hint="see the URL: is it git?")
    return found


def fetch_commit(repo: Repo, remote: str, sha: str) -> bool:
    """Brings one commit that no ref of the remote may name, without its history; False where the remote won't give it."""
    url = url_of(repo, remote)
    if _local_path(url) is not None:
        return False
    try:
        _fetch_objects(repo, remote, url, [sha], 1)
    except RemoteError:
        return False
    return True


def shown(repo: Repo, remote: str) -> str:
    """A remote's URL for messages: without a password."""
    return config.shown_url(url_of(repo, remote))


def default_branch(repo: Repo, remote: str) -> str | None:
    """The ref the remote's HEAD points to, None when it is detached or does not say."""
    url = url_of(repo, remote)
    local = _local_path(url)
    if local is not None:
        with _open_local(local, url) as other:
            return refs.read_head(other)[0]
    found = wire.talk(repo, remote, url, "pull", lambda client, path: client.get_refs(path))
    target = found.symrefs.get(cast("Any", b"HEAD"))
    if target:
        return target.decode("utf-8", "replace")
    # An old server names no target: any branch at the same commit will do.
    head = found.refs.get(cast("Any", b"HEAD"))
    names = sorted(name for name, sha in found.refs.items() if sha == head and name.startswith(b"refs/heads/"))
    for favourite in (b"refs/heads/main", b"refs/heads/master"):
        if favourite in names:
            return favourite.decode()
    return names[0].decode("utf-8", "replace") if head and names else None


def fetch(
    repo: Repo, remote: str, wanted: Mapping[str, str] | Iterable[str], *, force: bool = False, depth: int | None = None
) -> Results:
    """Brings refs here: remote name -> local name (or names that stay the same); returns local name -> outcome.

    A local ref moves forward only, unless ``force``. Objects are here, checked and flushed, before a ref names them.
    """
    names = dict(wanted) if isinstance(wanted, Mapping) else {name: name for name in wanted}
    url = url_of(repo, remote)
    there = list_remote(repo, remote)
    shas = {there[name] for name in names if name in there}
    missing = [sha for sha in shas if depth is not None or not _is_whole(repo, sha)]
    if missing:
        local = _local_path(url)
        if local is not None:
            with _open_local(local, url) as other:
                _copy_objects(other, repo, missing, _known(repo, other))
        else:
            _fetch_objects(repo, remote, url, missing, depth)
    results: Results = {}
    for name, target in names.items():
        results[target] = _move(repo, target, there.get(name), force) if name in there else "the remote has no such ref"
    return results


def push(repo: Repo, remote: str, updates: Mapping[str, str | None], *, force: bool = False) -> Results:
    """Sets refs there: name -> sha (None: remove it); returns name -> outcome.

    A ref there moves forward only, unless ``force``; raises RemoteError when the remote cannot be reached.
    """
    url = url_of(repo, remote)
    local = _local_path(url)
    if local is not None:
        return _push_local(repo, local, url, updates, force)
    results: Results = dict.fromkeys(updates, "nothing was sent")

    def choose(there: dict[Any, Any]) -> dict[Any, Any]:
        chosen = {}
        for name, new in updates.items():
            old = there.get(name.encode())
            results[name] = _refusal(repo, None if old is None else old.decode("ascii"), new, force)
            sha = ZERO if new is None else new
            if results[name] is None and sha.encode("ascii") != (old or ZERO.encode("ascii")):
                chosen[name.encode()] = sha.encode("ascii")
        return chosen

    def send(client: GitClient, path: bytes) -> SendPackResult:
        with _Dulwich(os.fspath(repo.worktree or repo.gitdir)) as inner:
            return client.send_pack(path, choose, cast("Any", inner.generate_pack_data))

    for raw, problem in (wire.talk(repo, remote, url, "push", send).ref_status or {}).items():
        if problem is not None:
            results[raw.decode("utf-8", "replace")] = str(problem)
    return results


# --- which repository


def url_of(repo: Repo, remote: str) -> str:
    """The URL behind a remote's name, or the argument itself; raises RemoteError for what is neither."""
    found = config.get(repo, f"remote.{remote}.url") if re.fullmatch(r"[^\s:/\\]+", remote) else None
    url = found or remote
    if url.startswith("-") or _HELPER.match(url):
        raise RemoteError(f"'{config.shown_url(url)}' is not a URL pyexp would open")
    url = apply_instead_of(repo.config, url)
    if found is None and "/" not in url and ":" not in url and not os.path.isdir(url):
        raise RemoteError(f"there is no git remote '{remote}'", hint=f"make it: pyexp git remote add {remote} URL")
    return url


def _local_path(url: str) -> str | None:
    """The path a URL is, None when it leads to another machine."""
    if url.startswith("file://"):
        return unquote(urlsplit(url).path)
    if "://" in url or (re.match(r"[^/\\]{2,}:", url) and not os.path.exists(url)):
        return None
    return url


@contextmanager
def _open_local(path: str, url: str) -> Iterator[Repo]:
    absolute = os.path.abspath(os.path.expanduser(path))
    for candidate in (absolute, absolute + ".git"):
        try:
            found = repository.discover(Path(candidate))
        except NoGitRepo:
            continue
        inside = {os.path.realpath(candidate), os.path.realpath(os.path.join(candidate, ".git"))}
        if os.path.realpath(found.worktree or found.gitdir) in inside:
            with found:
                yield found
            return
        found.close()
    raise RemoteError(f"'{config.shown_url(url)}' is no git repository", hint="see the URL: pyexp git remote")


# --- between two repositories on this machine


def _is_whole(repo: Repo, sha: str) -> bool:
    """Whether a commit is here with all it needs: its ref was never set otherwise, or its tree is here and parents too."""
    if not repo.blob_exists(sha):
        return False
    pending, seen = [sha], set()
    anchored = set(refs.read(repo).values())
    try:
        while pending:
            current = pending.pop()
            if current in anchored or current in seen:
                continue
            seen.add(current)
            kind, _ = objects.read(repo, current)
            if kind != "commit":
                return False
            for mode, blob in objects.flatten(repo, repo.tree_of(current)).values():
                if mode != objects.GITLINK and not repo.blob_exists(blob):
                    return False
            pending.extend(revisions.parents_of(repo, current))
    except GitError:
        return False
    return True


def _known(repo: Repo, other: Repo) -> list[str]:
    """Commits of ours that the other repository has too."""
    return [sha for sha in {*refs.read(repo).values(), repo.head().sha or ""} if sha and other.blob_exists(sha)]


def _copy_objects(source: Repo, target: Repo, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Copies what the commits need and the target does not have; nothing names it yet."""
    shallow = {sha.encode("ascii") for sha in revisions.shallow(source)}
    try:
        finder = MissingObjectFinder(
            source.store,
            haves=[_id(sha) for sha in known],
            wants=[_id(sha) for sha in wanted],
            shallow=cast("set[ObjectID]", shallow),
        )
        found = list(finder)
    except KeyError as error:
        raise GitError(f"git object {error.args[0]!r} is missing in {source}", hint="see: git fsck") from error
    if len(found) < UNPACK_LIMIT:
        for raw, _ in found:
            sha = raw.decode("ascii")
            # Written under the name its bytes have: a damaged object cannot get across under its old one.
            if not target.blob_exists(sha) and objects.write(target, *objects.read(source, sha)) != sha:
                raise GitError(f"git object {sha} is damaged in {source}", hint="see: git fsck")
        return
    target.store.add_pack_data(len(found), (_unpacked(source, raw) for raw, _ in found))


_NUMBERS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


def _unpacked(repo: Repo, raw: bytes) -> UnpackedObject:
    kind, data = objects.read(repo, raw.decode("ascii"))
    return UnpackedObject(_NUMBERS[kind], sha=bytes.fromhex(raw.decode("ascii")), decomp_chunks=[data])


def _id(sha: str) -> ObjectID:
    return cast("ObjectID", sha.encode("ascii"))


def _push_local(repo: Repo, path: str, url: str, updates: Mapping[str, str | None], force: bool) -> Results:
    results: Results = {}
    with _open_local(path, url) as other:
        branch = refs.read_head(other)[0] if other.worktree is not None else None
        for name, new in updates.items():
            old = refs.exists(other, name)
            problem = _refusal(repo, old, new, force)
            if name == branch and old != new:
                problem = "it is checked out there"
            results[name] = problem
        wanted = [new for name, new in updates.items() if new is not None and results[name] is None]
        if wanted:
            _copy_objects(repo, other, wanted, _known(other, repo))
        for name, new in updates.items():
            if results[name] is not None:
                continue
            try:
                old = refs.exists(other, name)
                if new is None:
                    refs.delete(other, name, old)
                elif old != new:
                    refs.update(other, name, old, new)
            except RefConflict as conflict:
                results[name] = str(conflict)
    return results


# --- over the network


def _fetch_objects(repo: Repo, remote: str, url: str, shas: list[str], depth: int | None) -> None:
    def receive(client: GitClient, path: bytes) -> None:
        with _Dulwich(os.fspath(repo.worktree or repo.gitdir)) as inner:
            inner.object_store.fsync_object_files = True
            client.fetch(
                path,
                inner,
                determine_wants=lambda there, depth=None: [_id(sha) for sha in shas],
                depth=depth,
            )

    wire.talk(repo, remote, url, "pull", receive)
    # Packs that came are seen by a store that is opened after them.
    repo.close()
    for sha in shas:
        if not repo.blob_exists(sha):
            raise RemoteError(f"{config.shown_url(url)} did not send {sha}", hint="try again")


# --- when a ref may move


def _refusal(repo: Repo, old: str | None, new: str | None, force: bool) -> str | None:
    """Why the remote's ref may not go from ``old`` to ``new``, None when it may."""
    if force or old is None or new is None or old == new:
        return None
    if not repo.blob_exists(old):
        return NEWER_THERE
    try:
        forward = revisions.is_ancestor(repo, old, new)
    except GitError:
        forward = False
    return None if forward else OTHER_THERE


def _move(repo: Repo, name: str, sha: str | None, force: bool) -> str | None:
    old = refs.exists(repo, name)
    if sha is None or old == sha:
        return None
    try:
        if old is not None and not force and not revisions.is_ancestor(repo, old, sha):
            return "it is another line of commits here"
        refs.update(repo, name, old, sha)
    except (RefConflict, GitError) as error:
        return str(error)
    return None
