"""What a project holds, read without pyexp: facts to compare two states by, and what must be true of any state.

Objects are hashed, git's objects, refs and index are read with dulwich (and by ``git fsck`` where there is a git), the
queue's records are unpacked. Names that are different every time (commits of now, tasks) are replaced by what they hold.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import xxhash
from dulwich.index import Index
from dulwich.object_store import tree_lookup_path
from dulwich.objects import Blob, Commit, Tree
from dulwich.repo import Repo

TEMPORARY = (".pyexp-tmp-", "tmp_obj_", ".tmp-")
CONTROLS = (".git", ".pyexp", ".dvc")
# In a control directory these are the user's, the rest is state.
OWN = ("config", ".gitignore", "format")


@dataclass
class Facts:
    """A state of one project and its remotes, comparable."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    head: str = ""
    index: dict[str, tuple[int, str]] = field(default_factory=dict)
    refs: dict[str, Any] = field(default_factory=dict)
    queue: list[tuple[str, str]] = field(default_factory=list)
    objects: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    remote: set[str] = field(default_factory=set)
    hub: dict[str, Any] = field(default_factory=dict)


def is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY)


def control_of(root: Path) -> Path:
    return root / (".pyexp" if (root / ".pyexp").is_dir() else ".dvc")


def read(base: Path) -> Facts:
    """The facts of ``base/p`` with its remotes ``base/remote`` and ``base/hub``."""
    root = base / "p"
    control = control_of(root)
    facts = Facts(files=user_files(root))
    with Repo(str(root)) as repo:
        facts.head = (root / ".git/HEAD").read_text()
        facts.index = read_index(root)
        facts.refs = read_refs(repo)
    facts.queue = sorted(
        (state, str(record["name"])) for state, record in queue_records(control / "tmp", control / "tmp/pyexp")
    )
    facts.objects = set(objects(control / "cache"))
    facts.runs = {
        path.relative_to(control).as_posix().split("/")[3]
        for path in (control / "cache/runs").rglob("*")
        if path.is_file() and not is_temporary(path.name)
    }
    facts.remote = set(objects(base / "remote"))
    if (base / "hub").is_dir():
        with Repo(str(base / "hub")) as hub:
            facts.hub = read_refs(hub)
    return facts


def user_files(root: Path) -> dict[str, tuple[str, bytes]]:
    """Everything of the user's: relpath -> kind and bytes. Temporary files are left out."""
    found: dict[str, tuple[str, bytes]] = {}
    for path in _walk(root):
        relpath = path.relative_to(root).as_posix()
        top, _, rest = relpath.partition("/")
        if top in CONTROLS and rest not in OWN:
            continue
        if path.is_symlink():
            found[relpath] = "link", os.fsencode(os.readlink(path))
        else:
            kind = "exec" if path.stat().st_mode & stat.S_IXUSR else "file"
            found[relpath] = kind, path.read_bytes()
    return found


def _walk(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            if not is_temporary(name):
                yield Path(directory, name)


def litter(base: Path) -> list[str]:
    """Temporary files and git's lock files that lie about."""
    return [
        path.relative_to(base).as_posix()
        for path in base.rglob("*")
        if path.is_file()
        and (
            is_temporary(path.name)
            or (path.name.endswith(".lock") and ".git/" in f"{path}/" and path.parent.name != "pyexp")
        )
    ]


def objects(cache: Path) -> Iterator[str]:
    """The names of the objects in a cache or remote: ``<algo>:<hex>``."""
    for path in (cache / "files").rglob("*"):
        if path.is_file() and not is_temporary(path.name):
            algo, aa, rest = path.relative_to(cache / "files").parts
            yield f"{algo}:{aa}{rest}"


def digest(algo: str, data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data) if algo == "xxh128" else hashlib.new(algo, data).hexdigest()


def read_index(root: Path) -> dict[str, tuple[int, str]]:
    path = root / ".git/index"
    if not path.exists():
        return {}
    return {os.fsdecode(name): (entry.mode, entry.sha.decode()) for name, entry in Index(str(path)).items()}


def read_refs(repo: Repo) -> dict[str, Any]:
    """Ref -> tree and parents of its commit; a task's ref by its tree alone, for its name is another every time."""
    found: dict[str, Any] = {}
    for name in repo.refs.allkeys():
        # The log of what can be undone has an entry for an attempt that was killed, too.
        if not name.startswith(b"refs/") or name.startswith(b"refs/pyexp/undo/"):
            continue
        commit = repo[repo.refs[name]]
        assert isinstance(commit, Commit), f"{name!r} does not name a commit"
        value = commit.tree.decode(), *(parent.decode() for parent in commit.parents)
        if name.startswith(b"refs/pyexp/tasks/"):
            found.setdefault("tasks", []).append(value)
            found["tasks"].sort()
        else:
            found[name.decode()] = value
    return found


def queue_records(*scratches: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for scratch in scratches:
        for state in ("queued", "running", "done", "failed"):
            for path in (scratch / "queue" / state).glob("*"):
                if not is_temporary(path.name):
                    checksum, body = path.read_bytes()[:4], path.read_bytes()[4:]
                    assert zlib.crc32(body) == int.from_bytes(checksum, "little"), f"{path} is damaged"
                    yield state, msgpack.unpackb(body)


# -- what must be true of any state ----------------------------------------------------------------------------------


def problems(base: Path, *, with_git: bool = True) -> list[str]:
    """What is broken: objects that are not what their names say, git objects and refs, the index, queue records."""
    root = base / "p"
    found = [f"object {name} is damaged in {place}" for place, name in _damaged(base, control_of(root))]
    for place in (root, base / "hub"):
        if place.is_dir():
            found += [f"git in {place.name}: {text}" for text in git_problems(place)]
    try:
        list(queue_records(control_of(root) / "tmp", control_of(root) / "tmp/pyexp"))
    except Exception as error:
        found.append(f"a queue record cannot be read: {error!r}")
    if with_git and shutil.which("git") and not found:
        found += fsck(root)
    return found


def _damaged(base: Path, control: Path) -> Iterator[tuple[str, str]]:
    for cache in (control / "cache", base / "remote", base / "shared"):
        for name in objects(cache):
            algo, _, hex = name.partition(":")
            data = (cache / "files" / algo / hex[:2] / hex[2:]).read_bytes()
            if digest(algo, data) != hex.removesuffix(".dir"):
                yield cache.name, name


def git_problems(root: Path) -> list[str]:
    """A full check of a repository, by dulwich: every object, every ref's whole history, HEAD, the index."""
    found: list[str] = []
    try:
        with Repo(str(root)) as repo:
            store = repo.object_store
            for sha in store:
                item = store[sha]
                item.check()
                if item.sha().hexdigest().encode() != sha:
                    found.append(f"object {sha.decode()} is damaged")
            seen: set[bytes] = set()
            for name in repo.refs.allkeys():
                try:
                    _closure(repo, repo.refs[name], seen)
                except Exception as error:
                    if not (name == b"HEAD" and isinstance(error, KeyError)):
                        found.append(f"{name.decode()} does not hold together: {error!r}")
            if repo.has_index():
                for path, entry in repo.open_index().items():
                    if entry.sha not in store:
                        found.append(f"the index names a blob that is not there: {path!r}")
    except Exception as error:
        found.append(f"cannot be read: {error!r}")
    return found


def _closure(repo: Repo, sha: bytes, seen: set[bytes]) -> None:
    pending = [sha]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        item = repo[current]
        if isinstance(item, Commit):
            pending += [item.tree, *item.parents]
        elif isinstance(item, Tree):
            pending += [entry.sha for entry in item.items() if entry.mode != 0o160000]


def fsck(root: Path) -> list[str]:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", "fsck", "--full", "--strict", "--no-dangling", "--no-progress"],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
    )
    return [f"git fsck: {done.stdout}{done.stderr}"] if done.returncode else []


def saved(base: Path) -> set[str]:
    """The SHA-256 of everything the cache or git holds: bytes that a user can get back."""
    kept: set[str] = set()
    cache = control_of(base / "p") / "cache"
    for name in objects(cache):
        algo, _, hex = name.partition(":")
        kept.add(hashlib.sha256((cache / "files" / algo / hex[:2] / hex[2:]).read_bytes()).hexdigest())
    with Repo(str(base / "p")) as repo:
        for sha in repo.object_store:
            item = repo.object_store[sha]
            if isinstance(item, Blob):
                kept.add(hashlib.sha256(item.data).hexdigest())
    return kept


def file_at(root: Path, rev: bytes, path: str) -> bytes:
    """A file's bytes in a commit."""
    with Repo(str(root)) as repo:
        commit = repo[repo.refs[rev]]
        assert isinstance(commit, Commit)
        blob = repo[tree_lookup_path(repo.get_object, commit.tree, path.encode())[1]]
        assert isinstance(blob, Blob)
        return blob.data
