"""From a path to what it holds: hashes of a file, or of every file below a directory, and the manifest.

One listing of each directory, one stat of each file, and one reading of each file whose stat is not as recorded; with a
store, the bytes go there in the same pass. Large files are hashed in threads (the hash functions release the GIL).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator

from pyexp import durable
from pyexp.errors import StoreError
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Content, Entry, Oid, Tree, TreeFile
from pyexp.objects import hashes
from pyexp.objects import tree as trees
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore
from pyexp.paths import UnsafePath, check_part

Ignore = Callable[[str, bool], bool]
# Below this size a thread costs more than it brings.
THREAD_FROM = 1 << 20
MAX_DEPTH = 200
REPORT_EVERY = 256


def observe(
    path: str,
    *,
    algo: str,
    statcache: StatCache | None = None,
    ignore: Ignore | None = None,
    store: LocalStore | None = None,
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> Content | None:
    """What is at ``path``: None for nothing, else its entry, and its manifest when it is a directory.

    Links to files count as the files they point to. ``ignore(relpath, is_dir)`` leaves paths below a directory out.
    With ``store`` everything found is put there too, the manifest last. Raises StoreError for what is neither file nor
    directory, for names no manifest may hold, and for a file that changes while it is read.
    """
    try:
        st = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.islink(path):
            raise StoreError(
                f"'{path}' is a link to nothing", hint="remove the link, or make what it points to"
            ) from None
        return None
    work = _Work(algo, statcache or StatCache(None), store, on_event)
    if not stat.S_ISDIR(st.st_mode):
        digest, size = work.file(path, st)
        return Content(Entry(Oid(algo, digest), size, None, bool(st.st_mode & stat.S_IXUSR)))
    found = list(_walk(path, ignore))
    tree = Tree(algo, work.files(found, jobs))
    entry, _ = trees.identify(tree)
    total = sum(item[1].st_size for item in found)
    if store is not None:
        store.put_tree(tree)
    return Content(Entry(entry.oid, total, len(found)), tree)


_Found = tuple[str, os.stat_result, str]


def _walk(top: str, ignore: Ignore | None) -> Iterator[_Found]:
    """Every file below ``top`` as (relpath, stat, path); loops of links end in an error, not in a hang."""
    pending: list[tuple[str, str, int]] = [("", top, 0)]
    while pending:
        prefix, directory, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise StoreError(f"'{directory}' is too deep, or a link leads back to a directory above it")
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(durable.TMP_PREFIX):
                    continue
                relpath = prefix + name
                is_dir = entry.is_dir()
                if ignore is not None and ignore(relpath, is_dir):
                    continue
                if name == ".dvcignore":
                    raise StoreError(f"'{entry.path}' is inside tracked data", hint="move it above the directory")
                try:
                    check_part(name)
                except UnsafePath as error:
                    raise StoreError(f"'{entry.path}' cannot be tracked: {error}") from error
                if is_dir:
                    pending.append((f"{relpath}/", entry.path, depth + 1))
                    continue
                try:
                    st = entry.stat()
                except FileNotFoundError as error:
                    raise StoreError(f"'{entry.path}' is a link to nothing", hint="remove it, or ignore it") from error
                if not stat.S_ISREG(st.st_mode):
                    raise StoreError(
                        f"'{entry.path}' is neither a file nor a directory", hint="remove it, or list it in .dvcignore"
                    )
                yield relpath, st, entry.path


class _Work:
    """Hashes files, by stat where possible, and puts them into a store when there is one."""

    def __init__(self, algo: str, statcache: StatCache, store: LocalStore | None, on_event: OnEvent) -> None:
        self._algo = algo
        self._statcache = statcache
        self._store = store
        self._on_event = on_event
        # In the cache a 2.x object is raw bytes under a normalised hash: put_file must not hash it again.
        self._keeps_hash = algo == "md5-dos2unix"

    def file(self, path: str, st: os.stat_result) -> tuple[str, int]:
        """Digest and size of one file."""
        known = self._statcache.get(self._algo, path, st)
        if known is not None:
            if self._store is not None and not self._store.has(Oid(self._algo, known)):
                self._store.put_file(path, known=known)
            return known, st.st_size
        began = time.time_ns()
        if not stat.S_ISREG(st.st_mode):
            raise StoreError(f"'{path}' is neither a file nor a directory")
        if self._store is not None and not self._keeps_hash:
            oid, size = self._store.put_file(path)
            digest = oid.hex
        else:
            digest, size = hashes.hash_file(path, self._algo)
            if self._store is not None:
                self._store.put_file(path, known=digest)
        after = os.stat(path)
        if (after.st_size, after.st_mtime_ns, after.st_ino) != (size, st.st_mtime_ns, st.st_ino):
            raise StoreError(f"'{path}' changed while it was read", hint="try again when nothing writes it")
        self._statcache.put(self._algo, path, after, digest)
        return digest, size

    def files(self, found: list[_Found], jobs: int | None) -> dict[str, TreeFile]:
        """Every file of a directory, by relpath in order."""
        exec_counts = not self._algo.startswith("md5")
        large = [item for item in found if item[1].st_size >= THREAD_FROM]
        digests: dict[str, str] = {}
        workers = jobs or os.cpu_count() or 1
        if len(large) > 1 and workers > 1:
            from concurrent.futures import ThreadPoolExecutor  # a stdlib import worth 10 ms: only large trees pay

            with ThreadPoolExecutor(workers) as pool:
                for item, (digest, _) in zip(large, pool.map(lambda item: self.file(item[2], item[1]), large)):
                    digests[item[0]] = digest
        for number, (relpath, st, path) in enumerate(found):
            if relpath not in digests:
                digests[relpath] = self.file(path, st)[0]
            if number % REPORT_EVERY == 0:
                self._on_event(Progress("Looking at", number, len(found), "files"))
        return {
            relpath: TreeFile(digests[relpath], st.st_size, exec_counts and bool(st.st_mode & stat.S_IXUSR))
            for relpath, st, _ in sorted(found)
        }
