"""A tree's files in a directory of ours, moved from one tree to the next by difference, and read back as a tree.

Beside ``<directory>`` stands ``<directory>.state``: what was written there and how its files looked on disk then. It is
a cache: without it every file is compared by content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from pyexp import durable
from pyexp.errors import GitError, UnsafeCheckout
from pyexp.git import filters, objects
from pyexp.git.worktree import mode_of, read_file
from pyexp.paths import UnsafePath, check_relpath

if TYPE_CHECKING:
    from pyexp.git.filters import Filters
    from pyexp.git.repo import Repo

STATE_VERSION = 1
TreeEntry = tuple[int, str]
# path -> mode, sha, then size, mtime_ns, ctime_ns and inode of the file as it was written.
_Written = dict[str, tuple[int, str, int, int, int, int]]
Keep = Callable[[str], bool] | Iterable[str]


def check_path(relpath: str) -> str:
    """Returns the path when git could track a file there; raises UnsafePath otherwise.

    Unlike ``paths.check_relpath`` it lets ``.dvc`` and ``.pyexp`` pass: their tracked files are files like others.
    """
    if "/.dvc/" in f"/{relpath}" or "/.pyexp/" in f"/{relpath}":
        parts = relpath.split("/")
        check_relpath("/".join("control" if part in (".dvc", ".pyexp") else part for part in parts))
        return relpath
    return check_relpath(relpath)


def check_tree(files: Mapping[str, TreeEntry]) -> None:
    """Raises UnsafePath unless every path of a tree can be written below a directory."""
    directories: set[str] = set()
    for path, (mode, _) in files.items():
        check_path(path)
        if path == ".gitmodules" and mode == objects.SYMLINK:
            raise UnsafePath("unsafe tree: .gitmodules is a symbolic link")
        directory = path.rpartition("/")[0]
        while directory and directory not in directories:
            directories.add(directory)
            directory = directory.rpartition("/")[0]
    clash = next((path for path in files if path in directories), None)
    if clash is not None:
        raise UnsafePath(f"unsafe tree: {clash!r} is both a file and a directory")


def materialise(repo: Repo, tree: str, directory: Path, *, keep: Keep = (), state_path: str | None = None) -> None:
    """Makes ``directory`` hold exactly the tree's files, writing only those that are not there already.

    What is not in the tree is removed, but for paths under ``keep`` (prefixes, or a predicate of relpaths). Submodules
    become empty directories (see ``submodules.materialise``). Interrupted, it is simply run again. ``state_path`` is
    where it notes what it wrote (default: beside the directory). Raises UnsafePath for a tree with names that could
    lead out of the directory, OSError when the disk is full.
    """
    want = objects.flatten(repo, tree)
    check_tree(want)
    root = os.fspath(directory)
    if os.path.islink(root):
        raise UnsafeCheckout(f"{root} is a symbolic link", paths=[root], hint="remove it")
    os.makedirs(root, exist_ok=True)
    state = _State.load(root, state_path)
    conversions = filters.of_tree(repo, want)
    present = _sweep(root, want, keep if callable(keep) else _under(keep), state, repo, conversions)
    made: set[str] = {""}
    written: _Written = {}
    for path, (mode, sha) in want.items():
        if path in present:
            written[path] = present[path]
            continue
        if mode == objects.GITLINK:
            _make_directory(root, path, made)
            continue
        _make_directory(root, path.rpartition("/")[0], made)
        data = repo.read_blob(sha)
        if conversions is not None and mode != objects.SYMLINK:
            data = conversions.smudge(path, data)
        target = f"{root}/{path}"
        write_new(target, mode, data)
        written[path] = _look(mode, sha, os.lstat(target))
    _State(state.path, tree, written, 0).save()
    if conversions is not None:
        conversions.close()


def write_new(path: str, mode: int, data: bytes) -> None:
    """Makes a file or link that must not be there yet; never through a link."""
    if mode == objects.SYMLINK:
        os.symlink(os.fsdecode(data), path)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags, 0o777 if mode == objects.EXECUTABLE else 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        durable.say_where(error, path)
        raise
    finally:
        os.close(fd)


def _look(mode: int, sha: str, found: os.stat_result) -> tuple[int, str, int, int, int, int]:
    return mode, sha, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _under(prefixes: Iterable[str]) -> Callable[[str], bool]:
    tops = tuple(prefix.rstrip("/") for prefix in prefixes)
    return lambda relpath: any(relpath == top or relpath.startswith(top + "/") for top in tops)


def _make_directory(root: str, relpath: str, made: set[str]) -> None:
    if relpath in made:
        return
    _make_directory(root, relpath.rpartition("/")[0], made)
    path = f"{root}/{relpath}"
    try:
        os.mkdir(path)
    except FileExistsError:
        # On a file system that folds case another name of the tree may be here.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise UnsafeCheckout(f"{path} is in the way of a directory", paths=[relpath]) from None
    made.add(relpath)


def _sweep(
    root: str,
    want: Mapping[str, TreeEntry],
    keep: Callable[[str], bool],
    state: _State,
    repo: Repo,
    conversions: Filters | None,
) -> _Written:
    """Removes what is not wanted; returns the files that are there as they should be."""
    present: _Written = {}
    directories: set[str] = set()
    for path in want:
        directory = path.rpartition("/")[0]
        while directory and directory not in directories:
            directories.add(directory)
            directory = directory.rpartition("/")[0]

    def visit(prefix: str) -> bool:
        """Whether the directory holds anything when done."""
        left = False
        _make_writable(f"{root}/{prefix}")
        with os.scandir(f"{root}/{prefix}") as entries:
            found = list(entries)
        for entry in found:
            relpath = prefix + entry.name
            wanted = want.get(relpath)
            if entry.is_dir(follow_symlinks=False):
                if wanted is None and keep(relpath):
                    left = True
                elif wanted is not None and wanted[0] == objects.GITLINK:
                    remove_tree(entry.path)
                    os.mkdir(entry.path)
                    left = True
                elif visit(relpath + "/") or relpath in directories:
                    left = True
                else:
                    os.rmdir(entry.path)
                continue
            if wanted is not None and wanted[0] != objects.GITLINK:
                good = _as_wanted(entry.path, relpath, wanted, state, repo, conversions)
                if good is not None:
                    present[relpath] = good
                    left = True
                    continue
            elif keep(relpath) and relpath not in directories:
                left = True
                continue
            os.unlink(entry.path)
        return left

    visit("")
    return present


def _make_writable(path: str) -> None:
    """A stage may leave directories behind that not even their owner may change."""
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    if mode & 0o700 != 0o700:
        os.chmod(path, mode | 0o700)


def remove_tree(path: str) -> None:
    """Removes a directory and all in it; links are removed, not followed."""
    _make_writable(path)
    with os.scandir(path) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(path)


def _as_wanted(
    path: str, relpath: str, wanted: TreeEntry, state: _State, repo: Repo, conversions: Filters | None
) -> tuple[int, str, int, int, int, int] | None:
    """The file's record when it holds what is wanted, else None."""
    found = os.lstat(path)
    mode, sha = wanted
    if state.knows(relpath, found):
        known = state.files[relpath]
        return known if known[:2] == wanted else None
    if mode_of(found) != mode or (relpath in state.files and state.files[relpath][:2] != wanted):
        return None
    # Not known by its stat: believed only when its bytes are the blob's. Hard links to the cache are no files of git's.
    data = read_file(path, found)
    if conversions is not None and mode != objects.SYMLINK:
        data = conversions.clean(relpath, data)
    good = found.st_nlink == 1 and objects.blob_sha(repo, data) == sha
    return _look(mode, sha, found) if good else None


def capture(repo: Repo, base_tree: str, directory: Path, *, include: Iterable[str] = ()) -> str:
    """Stores the files of ``base_tree`` as they are now in ``directory``, plus ``include``; returns the tree.

    Changed and deleted files are seen; new ones only under ``include`` (files or directories; missing ones are left
    out). Only files whose stat is not the one ``materialise`` recorded are read.
    """
    with objects.batch(repo):
        return _capture(repo, objects.flatten(repo, base_tree), os.fspath(directory), include)


def _capture(repo: Repo, base: Mapping[str, TreeEntry], root: str, include: Iterable[str]) -> str:
    state = _State.load(root)
    conversions = filters.of_tree(repo, base)
    links: dict[str, bool] = {"": True}
    result: dict[str, TreeEntry] = {}
    paths = dict.fromkeys(base)
    for wanted in include:
        relpath = wanted.rstrip("/")
        if _real_parent(root, relpath, links):
            paths.update(dict.fromkeys(_files_below(root, relpath)))
    for path in paths:
        old = base.get(path)
        if old is not None and old[0] == objects.GITLINK:
            result[path] = old
            continue
        try:
            found = os.lstat(f"{root}/{path}") if _real_parent(root, path, links) else None
        except (FileNotFoundError, NotADirectoryError):
            found = None
        mode = None if found is None else mode_of(found)
        if found is None or mode is None:
            continue
        if state.knows(path, found):
            result[path] = state.files[path][:2]
            continue
        data = read_file(f"{root}/{path}", found)
        if conversions is not None and mode != objects.SYMLINK:
            data = conversions.clean(path, data)
        result[path] = mode, objects.write_blob(repo, data)
    if conversions is not None:
        conversions.close()
    return objects.build_tree(repo, result)


def _real_parent(root: str, relpath: str, known: dict[str, bool]) -> bool:
    directory = relpath.rpartition("/")[0]
    if directory not in known:
        real = False
        if _real_parent(root, directory, known):
            with suppress(FileNotFoundError, NotADirectoryError):
                real = stat.S_ISDIR(os.lstat(f"{root}/{directory}").st_mode)
        known[directory] = real
    return known[directory]


def _files_below(root: str, relpath: str) -> Iterable[str]:
    try:
        found = os.lstat(f"{root}/{relpath}")
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(found.st_mode):
        yield relpath
        return
    for name in sorted(os.listdir(f"{root}/{relpath}")):
        if name != ".git" and not name.startswith(durable.TMP_PREFIX):
            yield from _files_below(root, f"{relpath}/{name}")


class _State:
    """What was written into a directory; ``written_ns`` is the file system's time when that was recorded."""

    def __init__(self, path: str, tree: str, files: _Written, written_ns: int) -> None:
        self.path, self.tree, self.files, self.written_ns = path, tree, files, written_ns

    @classmethod
    def load(cls, root: str, path: str | None = None) -> _State:
        """The recorded state; an empty one when there is none that can be read."""
        path = path or root + ".state"
        with suppress(OSError, ValueError, TypeError, KeyError, msgpack.UnpackException):
            raw = durable.read_file(path)
            if raw is not None:
                record: dict[str, Any] = msgpack.unpackb(raw, unicode_errors="surrogateescape", use_list=False)
                if record["version"] == STATE_VERSION:
                    files = {relpath: _checked(row) for relpath, row in record["files"].items()}
                    return cls(path, str(record["tree"]), files, os.stat(path).st_mtime_ns)
        return cls(path, "", {}, 0)

    def save(self) -> None:
        record = {"version": STATE_VERSION, "tree": self.tree, "files": self.files}
        durable.write_file(self.path, msgpack.packb(record, unicode_errors="surrogateescape"), mode=0o600, sync=False)

    def knows(self, relpath: str, found: os.stat_result) -> bool:
        """Whether the file is as it was written: same stat, and older than the record (else it is in doubt)."""
        known = self.files.get(relpath)
        if known is None or known[3] >= self.written_ns or known[4] >= self.written_ns:
            return False
        return known[2:] == (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _checked(row: Any) -> tuple[int, str, int, int, int, int]:
    """A row whose first two values may go into a tree; the others are only compared with, apart from the times."""
    if len(row) != 6 or not objects.is_sha(row[1]) or not (type(row[0]) is type(row[3]) is type(row[4]) is int):
        raise ValueError(row)
    found: tuple[int, str, int, int, int, int] = row
    return found


def missing_objects(repo: Repo, files: Mapping[str, TreeEntry]) -> list[str]:
    """The blobs of a tree that the repository does not have."""
    return sorted({sha for mode, sha in files.values() if mode != objects.GITLINK and not repo.blob_exists(sha)})


def require_objects(repo: Repo, files: Mapping[str, TreeEntry]) -> None:
    """Raises GitError, naming one, when blobs of a tree are missing."""
    missing = missing_objects(repo, files)
    if missing:
        raise GitError(f"git object {missing[0]} is missing", hint="fetch it from the remote: pyexp git pull")
