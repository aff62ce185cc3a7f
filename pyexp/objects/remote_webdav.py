"""WebDAV servers: Nextcloud, Apache, nginx and their kin."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from pyexp.durable import TMP_PREFIX
from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.contract import Transient
from pyexp.objects.remote import Found
from pyexp.objects.remote_http import Connection
from pyexp.paths import UnsafePath, check_relpath

_WANTED = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/>'
    b"<d:getlastmodified/></d:prop></d:propfind>"
)


def open_files(url: str, options: Mapping[str, str]) -> DavFiles:
    """The tree of files below a webdav:// (http) or webdavs:// (https) URL; raises RemoteError."""
    scheme, _, rest = url.partition("://")
    return DavFiles(Connection(f"{'https' if scheme == 'webdavs' else 'http'}://{rest}", options))


class DavFiles:
    """``remote.Files`` on a WebDAV server."""

    lists = True
    jobs = 8
    stamp_field = "etag"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.shown = connection.shown
        self._made: set[str] = set()
        self._making = threading.Lock()

    def list(self, prefix: str) -> Iterator[Found]:
        pending = [prefix.rstrip("/")]
        while pending:
            directory = pending.pop()
            for name, found in self._members(directory):
                if found is None:
                    pending.append(name)
                elif not name.rpartition("/")[2].startswith(TMP_PREFIX):
                    yield found

    def _members(self, directory: str) -> Iterator[tuple[str, Found | None]]:
        """What is in a directory: its files, and its directories with None."""
        key = f"{directory}/" if directory else ""
        answer = self._connection.ask(
            "PROPFIND", key, headers={"depth": "1", "content-type": "application/xml"}, body=_WANTED
        )
        if answer.status == 404:
            return
        self._connection.expect(answer, key)
        try:
            root = ElementTree.fromstring(answer.data)
        except ElementTree.ParseError as error:
            raise RemoteError(f"{self.shown} gave no listing that can be read", hint="is it WebDAV?") from error
        top = unquote(urlsplit(self._connection.base).path).strip("/")
        for item in root.iter("{DAV:}response"):
            path = unquote(urlsplit(item.findtext("{DAV:}href") or "").path).strip("/")
            name = path[len(top) :].strip("/") if path == top or path.startswith(f"{top}/") or not top else ""
            if not name or name == directory:
                continue
            try:
                check_relpath(name)
            except UnsafePath:
                continue
            if item.find(".//{DAV:}collection") is not None:
                yield name, None
                continue
            length = item.findtext(".//{DAV:}getcontentlength") or "0"
            yield name, Found(name, int(length) if length.isdecimal() else -1, _time(item))

    def size(self, key: str) -> int | None:
        return self._connection.size(key)

    def stamp(self, key: str) -> str | None:
        return self._connection.stamp(key)

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        self._connection.read(key, sink)

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data, len(data))

    def upload(self, key: str, path: str) -> None:
        with open(path, "rb") as file:
            self._put(key, file, os.fstat(file.fileno()).st_size)

    def _put(self, key: str, body: Any, size: int) -> None:
        """Under another name first: a server may keep the part that came when the connection is cut."""
        directory = key.rpartition("/")[0]
        self._make(directory)
        temporary = f"{directory}/{TMP_PREFIX}{os.urandom(8).hex()}"
        answer = self._connection.ask("PUT", temporary, headers={"content-length": str(size)}, body=body)
        if answer.status in (404, 409):  # somebody has removed the directory meanwhile
            self._made.clear()
            raise Transient(f"{self.shown}: the directory '{directory}' is gone")
        self._connection.expect(answer, key)
        self.move(temporary, key)

    def _make(self, directory: str) -> None:
        """Makes a directory and those above it, once."""
        if not directory or directory in self._made:
            return
        self._make(directory.rpartition("/")[0])
        with self._making:
            if directory not in self._made:
                answer = self._connection.ask("MKCOL", f"{directory}/")
                if answer.status not in (200, 201, 301, 302, 405):  # 405: it is there
                    self._connection.expect(answer, directory)
                self._made.add(directory)

    def move(self, key: str, to: str) -> None:
        self._make(to.rpartition("/")[0])
        headers = {"destination": self._connection.url(to), "overwrite": "T"}
        self._connection.expect(self._connection.ask("MOVE", key, headers=headers), key)

    def remove(self, key: str) -> None:
        try:
            self._connection.expect(self._connection.ask("DELETE", key), key)
        except MissingObject:
            pass

    def close(self) -> None:
        self._connection.close()


def _time(item: ElementTree.Element) -> float:
    try:
        return parsedate_to_datetime(item.findtext(".//{DAV:}getlastmodified") or "").timestamp()
    except (ValueError, TypeError):
        return 0.0
