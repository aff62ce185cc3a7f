"""WebDAV servers: Nextcloud, Apache, nginx and their kin."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from pyexp.durable import TMP_PREFIX
from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.contract import Transient
from pyexp.objects.remote import Found
from pyexp.objects.remote_http import Connection, length
from pyexp.paths import MAX_PATH_BYTES, UnsafePath, check_relpath
from pyexp.records import dataclass

_WANTED = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getcontentlength/>'
    b"<d:getlastmodified/></d:prop></d:propfind>"
)

# One directory's listing, what may be between two items of it, and how many directories are gone through: a server may tell of them without end.
_LISTING_BYTES = 1 << 27
_ITEM_BYTES = 1 << 22
_MOST_DIRECTORIES = 100_000


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
        count = 0
        while pending:
            directory = pending.pop()
            count += 1
            if count > _MOST_DIRECTORIES:
                raise RemoteError(f"{self.shown} has more than {_MOST_DIRECTORIES:,} directories", hint="see the URL")
            for name, found in self._members(directory):
                if found is None:
                    pending.append(name)
                elif not name.rpartition("/")[2].startswith(TMP_PREFIX):
                    yield found

    def _members(self, directory: str) -> Iterator[tuple[str, Found | None]]:
        """What is in a directory: its files, and its directories with None."""
        key = f"{directory}/" if directory else ""
        answer = self._connection.ask(
            "PROPFIND", key, headers={"depth": "1", "content-type": "application/xml"}, body=_WANTED, stream=True
        )
        if answer.status == 404:
            return
        top = unquote(urlsplit(self._connection.base).path).strip("/")
        for item in self._listed(self._connection.pieces(answer, key)):
            path = _path(item.href)
            name = path[len(top) :].strip("/") if path == top or path.startswith(f"{top}/") or not top else ""
            # A server that tells of what lies elsewhere could send us round in circles.
            if not name or name.rpartition("/")[0] != directory:
                continue
            try:
                check_relpath(name)
            except UnsafePath:
                continue
            yield name, None if item.is_directory else Found(name, length(item.length or "0"), _time(item.modified))

    def _listed(self, pieces: Iterator[bytes]) -> Iterator[_Item]:
        """The items of a listing as it comes; raises RemoteError for what is none, and for one that is far too long."""
        listing = _Listing()
        parser = ElementTree.XMLParser(target=listing)
        count = idle = 0
        try:
            for piece in pieces:
                count, idle = count + len(piece), idle + len(piece)
                if count > _LISTING_BYTES or idle > _ITEM_BYTES:
                    raise RemoteError(f"{self.shown} gave a listing that is too long", hint="is it WebDAV?")
                parser.feed(piece)
                for item in listing.take():
                    idle = 0
                    yield item
            parser.close()
        except ElementTree.ParseError as error:
            raise RemoteError(f"{self.shown} gave no listing that can be read", hint="is it WebDAV?") from error
        yield from listing.take()

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


@dataclass
class _Item:
    href: str = ""
    is_directory: bool = False
    length: str = ""
    modified: str = ""


class _Listing:
    """What ElementTree's parser tells of a listing: only the items are kept, not the tree, which may be any size."""

    _FIELDS: ClassVar = {"{DAV:}href": "href", "{DAV:}getcontentlength": "length", "{DAV:}getlastmodified": "modified"}

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._item: _Item | None = None
        self._field = ""

    def take(self) -> list[_Item]:
        """The items since the last time."""
        items, self._items = self._items, []
        return items

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "{DAV:}response":
            self._item = _Item()
        elif tag == "{DAV:}collection" and self._item is not None:
            self._item.is_directory = True
        self._field = self._FIELDS.get(tag, "")

    def data(self, text: str) -> None:
        if self._field and self._item is not None:
            known = getattr(self._item, self._field)
            if len(known) < 4 * MAX_PATH_BYTES:
                setattr(self._item, self._field, known + text)

    def end(self, tag: str) -> None:
        self._field = ""
        if tag == "{DAV:}response" and self._item is not None:
            if self._item.href:
                self._items.append(self._item)
            self._item = None

    def close(self) -> None:
        """The parser asks for it."""


def _path(href: str) -> str:
    try:
        return unquote(urlsplit(href.strip()).path).strip("/")
    except ValueError:
        return ""


def _time(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
