"""From a path to what it holds: the entry of a file, or a directory's with its manifest.

One listing of each directory and one stat of each file; only files whose stat is not as it was when they were last
hashed are read. With a store their bytes go there in the same pass. Large files are shared out to threads (the hash
functions release the GIL), small ones are faster one after the other.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from pyexp.errors import StoreError
from pyexp.events import Note, OnEvent, Progress, null
from pyexp.model import Content, Entry, Oid, Tree, TreeFile
from pyexp.objects import hashes, parallel, scan
from pyexp.objects import tree as trees
from pyexp.objects.scan import Ignore, Scan
from pyexp.objects.statcache import Directory, StatCache
from pyexp.objects.store import LocalStore

# From this size on a thread of its own pays.
LARGE_BYTES = 1 << 20
REPORT_SECONDS = 0.1
_ATTEMPTS = 3


class _Unknown(NamedTuple):
    """A file that has to be read."""

    relpath: str
    path: str
    name: str
    folder: Directory
    size: int


class _Read(NamedTuple):
    """What reading a file gave; ``status`` is from just before."""

    hex: str
    status: os.stat_result


def observe(
    path: str,
    *,
    algo: str,
    statcache: StatCache | None = None,
    ignore: Ignore | None = None,
    store: LocalStore | None = None,
    jobs: int | None = None,
    litter: list[str] | None = None,
    on_event: OnEvent = null,
) -> Content | None:
    """What is at ``path``: None for nothing, an entry for a file, an entry and a manifest for a directory.

    ``ignore(relpath, is_dir)`` leaves paths below a directory out. Links to files count as the files they point to;
    links to directories are left out, as in DVC. With ``store`` everything found is put there, the manifest last;
    objects it has are marked as in use. ``jobs`` bounds the threads. ``litter`` is given the paths of temporary files that
    are found on the way.

    Raises StoreError for what is neither file nor directory, for links to nothing, for names that no manifest may
    hold, and for a file that goes on changing while it is read.
    """
    work = _Work(algo, statcache if statcache is not None else StatCache(None), store, jobs, on_event)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"'{path}' cannot be looked at: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        return work.file(path, status)
    found = scan.scan(path, ignore)
    if found.broken:
        raise StoreError(
            f"'{os.path.join(path, found.broken[0])}' is a link to nothing", hint="remove it, or list it in .dvcignore"
        )
    if litter is not None:
        litter.extend(os.path.join(path, relpath) for relpath in found.litter)
    if found.linked and store is not None:
        on_event(Note(f"links to directories are left out of '{path}': {', '.join(found.linked[:5])}", "warning"))
    return work.directory(found)


def observe_scan(found: Scan, *, algo: str, statcache: StatCache, on_event: OnEvent = null) -> Content:
    """``observe`` of a directory that has been scanned already; links to nothing and to directories are left out."""
    return _Work(algo, statcache, None, None, on_event).directory(found)


def _sizes_and_modes(statuses: Collection[os.stat_result], modes: bool) -> tuple[list[int], Iterable[bool]]:
    sizes = [status.st_size for status in statuses]
    return sizes, ([status.st_mode & 0o100 != 0 for status in statuses] if modes else repeat(False))


class _Work:
    """One observation: looks files up, reads the others, puts them where they belong."""

    def __init__(
        self, algo: str, statcache: StatCache, store: LocalStore | None, jobs: int | None, on_event: OnEvent
    ) -> None:
        self._algo = algo
        self._statcache = statcache
        self._store = store
        self._jobs = jobs
        self._on_event = on_event
        self._reported = time.monotonic()
        self._done = 0

    def file(self, path: str, status: os.stat_result) -> Content:
        directory, name = os.path.split(path)
        folder = self._statcache.directory(self._algo, directory)
        hex = folder.get(name, status)
        if hex is None or not self._kept(hex, status.st_size):
            read = self._read(path, folder.last(name))
            hex, status = read
            folder.put(name, status, hex)
        return Content(Entry(Oid(self._algo, hex), status.st_size, None, bool(status.st_mode & stat.S_IXUSR)))

    def directory(self, found: Scan) -> Content:
        files: dict[str, TreeFile] = {}
        unknown: list[_Unknown] = []
        modes, store = trees.records_modes(self._algo), self._store
        for path, prefix, statuses in found.folders:
            folder = self._statcache.directory(self._algo, path)
            known = folder.get_all(statuses)
            if store is None and None not in known:  # by columns: a hundred thousand files come this way
                columns = trees.files_of_columns(known, *_sizes_and_modes(statuses.values(), modes))
                files.update(zip([prefix + name for name in statuses], columns, strict=True))
                folder.keep_only(statuses.keys())
                continue
            for (name, status), hex in zip(statuses.items(), known, strict=True):
                if hex is not None and (store is None or store.reuse(Oid(self._algo, hex), status.st_size)):
                    files[prefix + name] = TreeFile(hex, status.st_size, modes and bool(status.st_mode & 0o100))
                else:
                    unknown.append(_Unknown(prefix + name, os.path.join(path, name), name, folder, status.st_size))
            folder.keep_only(statuses.keys())
        for item, read in self._read_all(unknown, len(unknown) + len(files)):
            item.folder.put(item.name, read.status, read.hex)
            files[item.relpath] = TreeFile(read.hex, read.status.st_size, modes and bool(read.status.st_mode & 0o100))
        tree = Tree(self._algo, {relpath: files[relpath] for relpath in sorted(files)})
        if self._store is not None:
            return Content(self._store.put_tree(tree), tree)
        return Content(trees.identify(tree)[0], tree)

    def _kept(self, hex: str, size: int) -> bool:
        """Whether the store, if there is one, has the object already; a legacy object may have another size."""
        if self._store is None:
            return True
        return self._store.reuse(Oid(self._algo, hex), size)

    def _read_all(self, unknown: list[_Unknown], total: int) -> Iterator[tuple[_Unknown, _Read]]:
        self._done = total - len(unknown)
        large = [item for item in unknown if item.size >= LARGE_BYTES]
        small = [item for item in unknown if item.size < LARGE_BYTES]
        yield from zip(large, parallel.spread(lambda item: self._step(item, total), large, self._jobs), strict=True)
        for item in small:
            yield item, self._step(item, total)

    def _step(self, item: _Unknown, total: int) -> _Read:
        read = self._read(item.path, item.folder.last(item.name))
        self._done += 1
        now = time.monotonic()
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            self._on_event(Progress("hashing" if self._store is None else "storing", self._done, total, "files"))
        return read

    def _read(self, path: str, hint: str | None) -> _Read:
        if self._store is not None:
            oid, status = self._store.put_observed(path, hint=hint)
            return _Read(oid.hex, status)
        for _ in range(_ATTEMPTS - 1):
            try:
                return _Read(*hashes.hash_observed(path, self._algo))
            except hashes.Changed:
                time.sleep(0.05)
        return _Read(*hashes.hash_observed(path, self._algo))
