"""Whatever fsspec reaches (extra ``fsspec``): ftp, hdfs, webhdfs, oss, smb and their kin, each with its own package.

Options are passed on under the names DVC's remotes of that kind have; more can be said in fsspec's own configuration
(``~/.config/fsspec``, ``FSSPEC_<KIND>_<OPTION>`` in the environment).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import fsspec

from pyexp.durable import TMP_PREFIX
from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.contract import Transient
from pyexp.objects.options import flag
from pyexp.objects.remote import Found
from pyexp.paths import check_relpath

# What an option of a remote is called by fsspec.
_NAMES = {
    "user": {"ftp": "username", "smb": "username"},
    "password": {},
    "port": {},
    "token": {},
    "oss_key_id": {"oss": "key"},
    "oss_key_secret": {"oss": "secret"},
    "oss_endpoint": {"oss": "endpoint"},
    "kerb_ticket": {},
    "kerberos": {},
    "use_https": {},
    "timeout": {},
}
_NUMBERS = ("port", "timeout")
_FLAGS = ("kerberos", "use_https")
# Places where a file appears whole when it has been sent; elsewhere it is sent under another name and renamed.
_WHOLE = frozenset({"oss", "abfs", "adl", "az", "gcs", "gs", "oci", "r2", "s3"})
_PIECE_BYTES = 1 << 20
# How servers say no; there is no common error for it.
_REFUSED = re.compile(r"^530|\b401\b|\b403\b|authenti|credential|login|denied", re.IGNORECASE)


def knows(scheme: str) -> bool:
    """Whether fsspec has a file system for that kind of URL."""
    return scheme in fsspec.available_protocols() and scheme not in ("file", "local", "memory", "reference")


def open_files(url: str, options: Mapping[str, str]) -> FsspecFiles:
    """The tree of files below a URL; raises RemoteError when the package for its kind is not installed."""
    scheme = urlsplit(url).scheme
    arguments: dict[str, Any] = {}
    for option, renamed in _NAMES.items():
        if option in options:
            value: Any = options[option]
            if option in _NUMBERS and value.isdecimal():
                value = int(value)
            elif option in _FLAGS:
                value = flag(options, option)
            arguments[renamed.get(scheme, option)] = value
    try:
        return FsspecFiles(url, arguments)
    except ImportError as error:
        raise RemoteError(
            f"remotes with {scheme}:// need a package that is not installed: {_text(error)}",
            hint=f"pip install 'pyexp[fsspec]' and fsspec's package for {scheme}",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise RemoteError(f"{_shown(url)} cannot be opened: {_text(error)}", hint="see the remote's options") from error


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class FsspecFiles:
    """``remote.Files`` in a file system of fsspec's. Few of those are made for several threads: each has its own."""

    lists = True
    jobs = 8

    def __init__(self, url: str, arguments: Mapping[str, Any]) -> None:
        self._url = url
        self._arguments = dict(arguments)
        self._own = threading.local()
        self.shown = _shown(url)
        self._whole = urlsplit(url).scheme in _WHOLE
        kind = fsspec.get_filesystem_class(urlsplit(url).scheme)
        self._root = str(kind._strip_protocol(url)).rstrip("/")
        self._made: set[str] = set()

    def _open(self) -> Any:
        """This thread's file system; many connect as soon as they are made."""
        if not hasattr(self._own, "fs"):
            self._own.fs = fsspec.url_to_fs(self._url, skip_instance_cache=True, **self._arguments)[0]
        return self._own.fs

    @contextmanager
    def _fs(self, key: str) -> Iterator[Any]:
        try:
            yield self._open()
        except FileNotFoundError as error:
            raise MissingObject(f"'{key}' is not on {self.shown}") from error
        except PermissionError as error:
            raise RemoteError(f"{self.shown} refuses us: {_text(error)}", hint="see the remote's options") from error
        except (MissingObject, RemoteError):
            raise
        except Exception as error:  # each file system has errors of its own
            self.close()
            if _REFUSED.search(str(error)):
                raise RemoteError(
                    f"{self.shown} refuses us: {_text(error)}", hint="see the remote's options"
                ) from error
            raise Transient(f"{self.shown}: '{key}': {_text(error)}", hint="see the URL and the network") from error

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_relpath(key)}"

    def list(self, prefix: str) -> Iterator[Found]:
        top = prefix.rpartition("/")[0]
        try:
            with self._fs(top) as fs:
                found = fs.find(self._path(top) if top else self._root or "/", detail=True)
        except MissingObject:
            return
        for path, info in found.items():
            key = str(path)[len(self._root) :].lstrip("/")
            if key.startswith(prefix) and not key.rpartition("/")[2].startswith(TMP_PREFIX):
                yield Found(key, int(info.get("size") or 0), _modified(info))

    def size(self, key: str) -> int | None:
        try:
            with self._fs(key) as fs:
                fs.invalidate_cache()
                info = fs.info(self._path(key))
                return int(-1 if info.get("size") is None else info["size"])
        except MissingObject:
            return None

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        with self._fs(key) as fs:
            file = fs.open(self._path(key), "rb", block_size=_PIECE_BYTES)
        try:
            while True:
                with self._fs(key):
                    piece = file.read(_PIECE_BYTES)
                if not piece:
                    return
                # Outside: what the sink raises is not the file system's doing.
                sink(piece)
        finally:
            with suppress(Exception):
                file.close()

    def write(self, key: str, data: bytes) -> None:
        self._send(key, lambda fs, path: fs.pipe_file(path, data))

    def upload(self, key: str, path: str) -> None:
        self._send(key, lambda fs, target: fs.put_file(path, target))

    def _send(self, key: str, send: Callable[[Any, str], object]) -> None:
        path = self._path(key)
        directory = path.rpartition("/")[0]
        with self._fs(key) as fs:
            if self._whole:
                send(fs, path)
                return
            if directory not in self._made:
                fs.makedirs(directory, exist_ok=True)
                self._made.add(directory)
            temporary = f"{directory}/{TMP_PREFIX}{os.urandom(8).hex()}"
            try:
                send(fs, temporary)
                _rename(fs, temporary, path)
            except BaseException:
                self._made.discard(directory)
                with suppress(Exception):
                    fs.rm_file(temporary)
                raise

    def move(self, key: str, to: str) -> None:
        target = self._path(to)
        with self._fs(key) as fs:
            if not self._whole:
                fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            _rename(fs, self._path(key), target)

    def remove(self, key: str) -> None:
        with suppress(MissingObject), self._fs(key) as fs:
            fs.invalidate_cache()
            if fs.exists(self._path(key)):
                fs.rm_file(self._path(key))

    def close(self) -> None:
        """Ends this thread's connection; the others' end with their threads."""
        with suppress(AttributeError):
            del self._own.fs


def _rename(fs: Any, path: str, to: str) -> None:
    """Over what is there: not every file system does that by itself."""
    try:
        fs.mv(path, to)
    except FileExistsError:
        fs.rm_file(to)
        fs.mv(path, to)


def _modified(info: Mapping[str, Any]) -> float:
    """A file's time in seconds; far in the future where it is not told, so that nobody calls the file old."""
    for name in ("mtime", "modified", "modify", "LastModified", "last_modified", "modificationTime"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return value / 1000 if value > 1e11 else float(value)
        if isinstance(value, str) and value[:14].isdecimal():
            return datetime.strptime(f"{value[:14]}+0000", "%Y%m%d%H%M%S%z").timestamp()
    return 4e9
