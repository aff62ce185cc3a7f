"""Git objects in and out: loose files are read and written here without dulwich, packs are read by dulwich.

Formats: gitformat-pack(5) "loose objects", git-cat-file(1). The writer takes no lock: an object's name says what it
holds, so two writers of one object write the same bytes, and a killed one leaves a ``tmp_obj_*`` that git removes.
"""

from __future__ import annotations

import os
import re
import stat
import time as clock
import zlib
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from pyexp import durable
from pyexp.errors import GitError
from pyexp.model import Commit, Identity

if TYPE_CHECKING:
    import hashlib

    from dulwich.objects import ObjectID

    from pyexp.git.repo import Repo

FILE, EXECUTABLE, SYMLINK, DIRECTORY, GITLINK = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000

# A tree as a mapping of its names; names are str with surrogateescape.
TreeEntries = Mapping[str, tuple[int, str]]

_TREE_ENTRY = {length: re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{%d})" % length, re.DOTALL) for length in (20, 32)}
_PERSON = re.compile(rb"(.*?) ?<([^>]*)>(?: (-?\d+)(?: ([+-]\d{4}))?)?", re.DOTALL)
_HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


def is_sha(text: str) -> bool:
    """Whether the text is a whole object name."""
    return _HEX.match(text) is not None


# --- reading


def loose_path(repo: Repo, sha: str) -> str:
    """Where an object is that is in no pack."""
    return f"{repo.objects_dir}/{sha[:2]}/{sha[2:]}"


def read(repo: Repo, sha: str) -> tuple[str, bytes]:
    """An object's type (``blob``, ``tree``, ``commit``, ``tag``) and bytes.

    Raises GitError when it is not there, or when its bytes are not what its name says.
    """
    try:
        with durable.open_file(loose_path(repo, sha)) as file:
            raw = file.read()
    except (FileNotFoundError, NotADirectoryError):
        found = _read_packed(repo, sha)
    else:
        # A loose file that a power cut left empty or torn: a pack may have the object too.
        found = _parse_loose(repo, sha, raw)
        if found is None and _is_elsewhere(repo, sha):
            found = _verified(repo, sha, _read_packed(repo, sha))
    if found is None:
        raise GitError(f"git object {sha} is missing or damaged", hint="fetch it from the remote: pyexp git pull")
    return found


def _parse_loose(repo: Repo, sha: str, raw: bytes) -> tuple[str, bytes] | None:
    inflate = zlib.decompressobj()
    try:
        begin = inflate.decompress(raw, 64)
        head, _, first = begin.partition(b"\0")
        kind, _, size = head.partition(b" ")
        # No more than it says it has: what says too little has another hash.
        data = first + inflate.decompress(inflate.unconsumed_tail, max(int(size) - len(first), 0) + 1)
    except (zlib.error, ValueError):
        return None
    hasher = _hash(repo, head + b"\0")
    hasher.update(data)
    return (kind.decode("ascii"), data) if hasher.hexdigest() == sha else None


def _is_elsewhere(repo: Repo, sha: str) -> bool:
    """Whether another place than the repository's own loose files has the object."""
    from dulwich.errors import FileFormatException  # seam, as Repo.store

    key = cast("ObjectID", sha.encode("ascii"))
    if repo.store.contains_packed(key):
        return True
    with suppress(FileFormatException):
        return any(key in store for store in repo.store.alternates)
    return False


def _verified(repo: Repo, sha: str, found: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
    return found if found is not None and object_sha(repo, *found) == sha else None


_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}


def _read_packed(repo: Repo, sha: str) -> tuple[str, bytes] | None:
    from dulwich.errors import ApplyDeltaError, ChecksumMismatch, FileFormatException  # seam, as Repo.store

    try:
        number, data = repo.store.get_raw(cast("ObjectID", sha.encode("ascii")))
    except (KeyError, FileFormatException):
        return None
    except (ApplyDeltaError, ChecksumMismatch, AssertionError, ValueError, OSError, zlib.error) as error:
        raise GitError(
            f"git object {sha} cannot be read: {error or type(error).__name__}", hint="see: git fsck"
        ) from error
    return _KINDS[number], data


def read_as(repo: Repo, sha: str, kind: str) -> bytes:
    """The bytes of an object that must be of one type; raises GitError otherwise."""
    found, data = read(repo, sha)
    if found != kind:
        raise GitError(f"git object {sha} is a {found}, not a {kind}")
    return data


def exists(repo: Repo, sha: str) -> bool:
    """Whether the repository has the object; an empty loose file, as a power cut may leave, does not count."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.stat(loose_path(repo, sha))
        if found.st_size > 0 and stat.S_ISREG(found.st_mode):
            return True
    return _is_elsewhere(repo, sha)


def parse_tree(data: bytes, oid_bytes: int = 20) -> dict[str, tuple[int, str]]:
    """A tree object's names with their mode and sha; raises GitError when the bytes are not a tree."""
    rows = _TREE_ENTRY[oid_bytes].findall(data)
    # The pattern may have skipped bytes between two rows, but then they are missing from the sum.
    if sum([len(mode) + len(name) for mode, name, _ in rows]) + (oid_bytes + 2) * len(rows) != len(data):
        raise GitError("a git tree object is malformed", hint="see: git fsck")
    return {name.decode("utf-8", "surrogateescape"): (_MODES[mode], sha.hex()) for mode, name, sha in rows}


class _Modes(dict[bytes, int]):
    """The number each mode's text means; there are few."""

    def __missing__(self, text: bytes) -> int:
        value = self[text] = int(text, 8)
        return value


_MODES = _Modes()


def read_tree(repo: Repo, sha: str) -> dict[str, tuple[int, str]]:
    """One level of a tree. The result is shared with later callers: do not change it."""
    cached = repo.trees.get(sha)
    if cached is None:
        if len(repo.trees) >= 8192:
            repo.trees.clear()
        cached = repo.trees[sha] = parse_tree(read_as(repo, sha, "tree"), repo.oid_bytes)
    return cached


def flatten(repo: Repo, sha: str) -> dict[str, tuple[int, str]]:
    """Every file, symlink and submodule of a tree by its path."""
    files: dict[str, tuple[int, str]] = {}
    _flatten(repo, sha, "", files, 0)
    return files


def _flatten(repo: Repo, sha: str, prefix: str, files: dict[str, tuple[int, str]], depth: int) -> None:
    if depth > 500:
        raise GitError("a git tree is nested too deeply")
    for name, entry in read_tree(repo, sha).items():
        if entry[0] == DIRECTORY:
            _flatten(repo, entry[1], f"{prefix}{name}/", files, depth + 1)
        else:
            files[prefix + name] = entry


def lookup(repo: Repo, tree: str, relpath: str) -> tuple[int, str] | None:
    """Mode and sha of the path in the tree (a directory's too), None when there is none."""
    entry: tuple[int, str] | None = (DIRECTORY, tree)
    for part in relpath.strip("/").split("/"):
        if entry is None or entry[0] != DIRECTORY:
            return None
        entry = read_tree(repo, entry[1]).get(part)
    return entry


def differences(
    repo: Repo, old: str | None, new: str | None, prefix: str = ""
) -> dict[str, tuple[tuple[int, str] | None, tuple[int, str] | None]]:
    """Paths whose entry differs between two trees, with the old and new entry; equal subtrees are not read."""
    changes: dict[str, tuple[tuple[int, str] | None, tuple[int, str] | None]] = {}
    if old == new:
        return changes
    before = read_tree(repo, old) if old else {}
    after = read_tree(repo, new) if new else {}
    for name in {**before, **after}:
        a, b = before.get(name), after.get(name)
        if a == b:
            continue
        a_tree = a[1] if a and a[0] == DIRECTORY else None
        b_tree = b[1] if b and b[0] == DIRECTORY else None
        if a_tree or b_tree:
            changes.update(differences(repo, a_tree, b_tree, f"{prefix}{name}/"))
        a_file, b_file = (None if a_tree else a), (None if b_tree else b)
        if a_file or b_file:
            changes[prefix + name] = a_file, b_file
    return changes


def parse_commit(sha: str, data: bytes) -> Commit:
    """A commit object's record (gitformat: header lines, an empty line, the message)."""
    head, _, message = data.partition(b"\n\n")
    tree, parents, author = "", [], b""
    when = 0
    timezone = 0
    encoding = "utf-8"
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        if key == b"tree":
            tree = value.decode("ascii", "replace")
        elif key == b"parent":
            parents.append(value.decode("ascii", "replace"))
        elif key == b"author":
            author = value
        elif key == b"committer":
            _, when, timezone = _parse_person(value)
        elif key == b"encoding":
            encoding = value.decode("ascii", "replace")
    try:
        text = message.decode(encoding)
    except (LookupError, UnicodeDecodeError):
        text = message.decode("utf-8", "replace")
    return Commit(sha, tree, tuple(parents), text, _parse_person(author)[0], when, timezone)


def _parse_person(value: bytes) -> tuple[Identity, int, int]:
    match = _PERSON.match(value)
    if match is None:
        return Identity(value.decode("utf-8", "replace"), ""), 0, 0
    name, email, when, zone = match.groups()
    offset = 0
    if zone:
        offset = (int(zone[1:3]) * 3600 + int(zone[3:5]) * 60) * (-1 if zone[:1] == b"-" else 1)
    return Identity(name.decode("utf-8", "replace"), email.decode("utf-8", "replace")), int(when or 0), offset


# --- writing


def _hash(repo: Repo, data: bytes) -> hashlib._Hash:
    import hashlib  # 2 ms, that commands which only read refs need not pay

    return hashlib.new(repo.hash_name, data)


def object_sha(repo: Repo, kind: str, data: bytes) -> str:
    """The name the bytes have as an object of that type."""
    digest = _hash(repo, b"%s %d\0" % (kind.encode("ascii"), len(data)))
    digest.update(data)
    return digest.hexdigest()


def blob_sha(repo: Repo, data: bytes) -> str:
    """The name the bytes have as a blob, without storing them."""
    return object_sha(repo, "blob", data)


def write(repo: Repo, kind: str, data: bytes) -> str:
    """Stores an object and returns its name; flushed to disk first, unless ``repo.fsync`` is off."""
    whole = b"%s %d\0" % (kind.encode("ascii"), len(data)) + data
    sha = _hash(repo, whole).hexdigest()
    directory = f"{repo.objects_dir}/{sha[:2]}"
    target = f"{directory}/{sha[2:]}"
    if repo.batch is not None and target in repo.batch:
        return sha
    with suppress(OSError):
        if os.stat(target).st_size > 0:
            # Freshened, so that a git gc that is running now does not take it for garbage.
            os.utime(target)
            return sha
    # Packs are not asked: what is written is nearly always new, and a second copy does no harm.
    temporary = _write_temporary(directory, zlib.compress(whole, 1))
    if repo.batch is not None:
        repo.batch[target] = temporary
    else:
        _publish({target: temporary}, repo.fsync)
    return sha


def _write_temporary(directory: str, raw: bytes) -> str:
    temporary = f"{directory}/tmp_obj_{os.getpid()}_{os.urandom(6).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(temporary, flags, 0o444)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        fd = os.open(temporary, flags, 0o444)
    try:
        try:
            view = memoryview(raw)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        durable.say_where(error, temporary)
        raise
    return temporary


# More files than this are flushed by one sync of everything, fewer one by one.
_SYNC_ALL_ABOVE = 200


def _publish(written: Mapping[str, str], fsync: bool) -> None:
    """Gives temporary files their names, target -> temporary: bytes on disk first, then names, then directories."""
    try:
        if fsync and len(written) > _SYNC_ALL_ABOVE and hasattr(os, "sync"):
            os.sync()
        elif fsync:
            for temporary in written.values():
                fd = os.open(temporary, os.O_RDONLY | getattr(os, "O_BINARY", 0))
                try:
                    os.fsync(fd)
                except OSError as error:
                    durable.say_where(error, temporary)
                    raise
                finally:
                    os.close(fd)
        for target, temporary in written.items():
            os.replace(temporary, target)
    except BaseException:
        _discard(written)
        raise
    if fsync:
        for directory in {os.path.dirname(target) for target in written}:
            durable.sync_directory(directory)


def _discard(written: Mapping[str, str]) -> None:
    for temporary in written.values():
        with suppress(OSError):
            os.unlink(temporary)


@contextmanager
def batch(repo: Repo) -> Iterator[None]:
    """Holds back the objects written in the block, and flushes and names them all at its end: far fewer waits.

    They cannot be read before. An exception drops them. An inner batch is part of the outer one.
    """
    if repo.batch is not None:
        yield
        return
    repo.batch = {}
    try:
        yield
    except BaseException:
        _discard(repo.batch)
        repo.batch = None
        raise
    written, repo.batch = repo.batch, None
    _publish(written, repo.fsync)


def write_blob(repo: Repo, data: bytes) -> str:
    """Stores a file's bytes."""
    return write(repo, "blob", data)


def encode_tree(entries: TreeEntries) -> bytes:
    """A tree object's bytes: names sorted as git does, a directory's as if it ended in a slash."""
    rows = []
    for name, (mode, sha) in entries.items():
        raw = name.encode("utf-8", "surrogateescape")
        rows.append((raw + b"/" if mode == DIRECTORY else raw, b"%o %s\0%s" % (mode, raw, unhexlify(sha))))
    rows.sort()
    return b"".join([row for _, row in rows])


def write_tree(repo: Repo, entries: TreeEntries) -> str:
    """Stores one level of a tree: name -> (mode, sha)."""
    return write(repo, "tree", encode_tree(entries))


def build_tree(repo: Repo, files: TreeEntries, *, known: Iterable[str] = ()) -> str:
    """Stores the trees of a whole directory, path -> (mode, sha), and returns the root's name.

    Trees named in ``known`` are in the repository already and are not written again.
    """
    levels: dict[str, dict[str, tuple[int, str]]] = {"": {}}
    for path, entry in files.items():
        directory, _, name = path.rpartition("/")
        level = levels.get(directory)
        if level is None:
            level = levels[directory] = {}
        level[name] = entry
    present = set(known)
    # Deepest first; a directory that holds nothing but directories has no level of its own yet.
    pending = sorted(levels, key=lambda path: path.count("/") + 1 if path else 0, reverse=True)
    by_depth: dict[int, list[str]] = {}
    for path in pending:
        by_depth.setdefault(path.count("/") + 1 if path else 0, []).append(path)
    for depth in range(max(by_depth, default=0), 0, -1):
        for directory in by_depth.get(depth, ()):
            sha = _store_tree(repo, levels[directory], present)
            parent, _, name = directory.rpartition("/")
            if parent not in levels:
                levels[parent] = {}
                by_depth.setdefault(depth - 1, []).append(parent)
            if name in levels[parent]:
                raise GitError(f"'{directory}' is both a file and a directory")
            levels[parent][name] = DIRECTORY, sha
    return _store_tree(repo, levels[""], present)


def _store_tree(repo: Repo, entries: TreeEntries, present: set[str]) -> str:
    data = encode_tree(entries)
    sha = object_sha(repo, "tree", data)
    return sha if sha in present else write(repo, "tree", data)


def _person(identity: Identity, when: int, offset: int) -> bytes:
    sign = "-" if offset < 0 else "+"
    minutes = abs(offset) // 60
    name, email = (_clean(part) for part in (identity.name, identity.email))
    return f"{name} <{email}> {when} {sign}{minutes // 60:02}{minutes % 60:02}".encode("utf-8", "surrogateescape")


def _clean(text: str) -> str:
    return "".join(c for c in text if c not in "<>\n\0").strip()


def write_commit(
    repo: Repo,
    tree: str,
    parents: Iterable[str],
    message: str,
    author: Identity,
    committer: Identity | None = None,
    time: float | None = None,
) -> str:
    """Stores a commit; the message is kept verbatim, times are in the local zone (``time``: seconds, default now)."""
    when = int(clock.time() if time is None else time)
    offset = clock.localtime(when).tm_gmtoff or 0
    lines = [b"tree " + tree.encode("ascii")]
    lines += [b"parent " + parent.encode("ascii") for parent in parents]
    lines.append(b"author " + _person(author, when, offset))
    lines.append(b"committer " + _person(committer or author, when, offset))
    return write(repo, "commit", b"\n".join(lines) + b"\n\n" + message.encode("utf-8", "surrogateescape"))
