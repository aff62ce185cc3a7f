"""A file or directory at a URL: of this machine, of a web server, in a bucket, or wherever a remote leads."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from pyexp.errors import MissingObject, PyexpError, RemoteError
from pyexp.events import OnEvent, Progress, null
from pyexp.model import Content, Entry, LockEntry, Oid, Tree, TreeFile
from pyexp.objects import build, parallel, retrying
from pyexp.objects.options import flag
from pyexp.objects.remote import Files, Found, Stamped
from pyexp.objects.store import LocalStore
from pyexp.paths import check_relpath
from pyexp.pipeline import share

if TYPE_CHECKING:
    from pyexp.project import Project


class Address:
    """What a URL leads to: a ``path`` of this machine, or ``key`` (a file, or a directory's prefix) in ``files``."""

    def __init__(self, url: str, path: str | None = None, files: Files | None = None, key: str = "") -> None:
        self.url = url
        self.path = path
        self._files = files
        self._key = key
        self._found: dict[str, Found] | None = None

    @property
    def files(self) -> Files:
        assert self._files is not None
        return self._files

    def look(self) -> dict[str, Found]:
        """The files there, by relpath; '' for a file itself. Raises MissingObject when there is nothing."""
        if self._found is None:
            self._found = dict(self._look())
            if not self._found:
                raise MissingObject(f"there is nothing at '{self.url}'", hint="check the URL")
        return self._found

    def _look(self) -> Iterator[tuple[str, Found]]:
        files, key = self.files, self._key
        if files.lists:
            prefix = f"{key}/" if key else ""
            inside = retrying.call(lambda: list(files.list(prefix)))
            below = [(found.key[len(prefix) :], found) for found in inside if found.key.startswith(prefix)]
            below = [(path, found) for path, found in below if path and not path.endswith("/")]
            if below:
                yield from sorted((check_relpath(path), found) for path, found in below)
                return
        size = retrying.call(lambda: files.size(key)) if key else None
        if size is not None:
            yield "", Found(key, size, 0.0)

    # -- what it is now ----------------------------------------------------------------------------------------------

    def record(self, path: str, project: Project, content: Content | None = None) -> LockEntry:
        """What is there, as a dependency at ``path`` is recorded: by hash here, by the server's ETag elsewhere.

        Where neither is told the bytes decide: ``content`` when they are here already, else they are fetched.
        """
        if self.path is not None:
            found = content or self.observe(project)
            return LockEntry(path, found.entry)
        items = self.look()
        if "" in items:
            stamp = self._stamp(items[""].key)
            if stamp is not None:
                extra = {stamp[0]: stamp[1], "size": items[""].size, "hash": project.algo}
                return LockEntry(path, None, {key: value for key, value in extra.items() if value != -1})
        elif isinstance(self.files, Stamped) and all(found.stamp for found in items.values()):
            return LockEntry(path, _stamps(items, self.files.stamp_field))
        found = content or self.keep(project.store())
        return LockEntry(path, found.entry)

    def _stamp(self, key: str) -> tuple[str, str] | None:
        files = self.files
        if not isinstance(files, Stamped):
            return None
        value = retrying.call(lambda: files.stamp(key))
        return None if value is None else (files.stamp_field, value)

    def observe(self, project: Project) -> Content:
        """What is at a path of this machine, hashed; raises MissingObject."""
        assert self.path is not None
        found = build.observe(self.path, algo=project.algo, statcache=project.statcache)
        if found is None:
            raise MissingObject(f"there is nothing at '{self.url}'", hint="check the path")
        return found

    # -- bringing it -------------------------------------------------------------------------------------------------

    def keep(
        self,
        store: LocalStore,
        *,
        project: Project | None = None,
        jobs: int | None = None,
        on_event: OnEvent = null,
    ) -> Content:
        """Puts everything there into a store; says what it is. Raises MissingObject, RemoteError."""
        if self.path is not None:
            statcache = None if project is None else project.statcache
            found = build.observe(self.path, algo=store.algo, statcache=statcache, store=store, on_event=on_event)
            if found is None:
                raise MissingObject(f"there is nothing at '{self.url}'", hint="check the path")
            return found
        from pyexp.objects import arrival  # only transfers from afar pay for it

        items = self.look()
        total = sum(max(found.size, 0) for found in items.values())
        done = 0

        def fetch(item: tuple[str, Found]) -> tuple[str, Oid, int]:
            nonlocal done
            oid, size = arrival.take(self.files, item[1].key, store)
            done += size
            on_event(Progress("fetching", done, total or None, "bytes"))
            return item[0], oid, size

        came = parallel.spread(fetch, list(items.items()), jobs or self.files.jobs)
        if len(came) == 1 and came[0][0] == "":
            return Content(Entry(came[0][1], came[0][2]))
        tree = Tree(store.algo, {path: TreeFile(oid.hex, size) for path, oid, size in sorted(came)})
        return Content(store.put_tree(tree), tree)

    def listing(self) -> list[tuple[str, int | None, bool]]:
        """Every file and directory below: relpath, size, whether it is a directory; '' for a file itself."""
        if self.path is not None:
            return _listed(self.path, self.url)
        found: dict[str, tuple[str, int | None, bool]] = {}
        for path, item in self.look().items():
            found[path] = path, item.size if item.size >= 0 else None, False
            above = posixpath.dirname(path)
            while above and above not in found:
                found[above] = above, None, True
                above = posixpath.dirname(above)
        return [found[path] for path in sorted(found)]


def _stamps(items: Mapping[str, Found], field: str) -> Entry:
    """A directory's entry made of its files' stamps, as DVC makes it."""
    rows = [{field: found.stamp, "relpath": path} for path, found in sorted(items.items())]
    digest = hashlib.md5(json.dumps(rows, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    return Entry(Oid("md5", f"{digest}.dir"), sum(found.size for found in items.values()), len(rows))


def _listed(path: str, url: str) -> list[tuple[str, int | None, bool]]:
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise MissingObject(f"there is nothing at '{url}'", hint="check the path")
        return [("", os.stat(path).st_size, False)]
    found: list[tuple[str, int | None, bool]] = []
    for directory, names, files in os.walk(path):
        below = os.path.relpath(directory, path)
        prefix = "" if below == "." else f"{below.replace(os.sep, '/')}/"
        found += [(prefix + name, None, True) for name in names]
        for name in files:
            status = os.lstat(os.path.join(directory, name))
            found.append((prefix + name, status.st_size, False))
    return sorted(found)


@contextmanager
def opened(
    url: str, project: Project | None, *, cwd: str, options: Mapping[str, str] | None = None
) -> Iterator[Address]:
    """What a URL or a path (seen from the OS path ``cwd``) leads to; ``options`` are those of a remote.

    ``remote://NAME/path`` is in a remote of the project. Raises RemoteError, PyexpError for ``remote://`` without project.
    """
    given = dict(options or {})
    base = cwd
    where = url
    if url.startswith("remote://"):
        if project is None:
            raise PyexpError(f"'{url}' is in a remote of a project, and this is none", hint="go into the project")
        name, _, below = url[len("remote://") :].partition("/")
        known = share.options_of(project, share.remote_name(project, name))
        where = f"{known.pop('url').rstrip('/')}/{below}".rstrip("/")
        given, base = {**known, **given}, os.fspath(project.control)
    scheme = urlsplit(where).scheme if "://" in where else ""
    if scheme in ("", "file", "local"):
        path = where.partition("://")[2] if scheme else where
        yield Address(url, os.path.normpath(os.path.join(base, os.path.expanduser(path))))
        return
    if flag(given, "version_aware"):
        raise RemoteError(f"'{url}': versions of buckets are not supported", hint="leave version_aware out")
    from pyexp.objects.remote import open_remote  # plug table: only transfers pay for it

    parent, key = _split(where)
    remote = open_remote(urlsplit(where).hostname or scheme, {**given, "url": parent}, Path(base))
    try:
        yield Address(url, None, remote.files, key)
    finally:
        remote.close()


def _split(url: str) -> tuple[str, str]:
    """The URL of what is above, and the name in it."""
    parts = urlsplit(url)
    above, _, name = parts.path.rstrip("/").rpartition("/")
    is_web = parts.scheme in ("http", "https", "webdav", "webdavs")
    above = above or ("/" if parts.scheme == "ssh" else "")
    return urlunsplit((parts.scheme, parts.netloc, above, parts.query, "")), unquote(name) if is_web else name
