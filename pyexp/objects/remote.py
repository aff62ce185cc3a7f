"""Places far away that hold objects: what one must be able to do, and which module serves which kind of URL.

A place is ``Files``: bytes under keys, as any bucket, web server or directory can give them. ``RemoteStore``
(remote_store.py) makes a store of objects of it. A directory of this machine, or a mounted one, is a ``LocalStore``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pyexp.errors import RemoteError
from pyexp.objects.contract import Store
from pyexp.objects.options import flag
from pyexp.objects.store import LocalStore


class Found(NamedTuple):
    """A file that a listing told of; ``modified`` is in seconds since the epoch, ``stamp`` as in ``Stamped``."""

    key: str
    size: int
    modified: float
    stamp: str = ""


class Files(Protocol):
    """Bytes under keys (posix relpaths). Used by several threads at once.

    Everything raises Transient for what may pass, RemoteError for what will not, and MissingObject for a key that is
    not there. What is written appears whole or not at all. No message holds a password, a key or a token.
    """

    shown: str
    jobs: int | None  # how many requests at a time suit it; None: found out by trying
    lists: bool

    def list(self, prefix: str) -> Iterator[Found]:
        """Every file whose key starts with ``prefix``; of no use where ``lists`` is False."""

    def size(self, key: str) -> int | None:
        """The size of a file in bytes, -1 when it cannot be told, None when there is no such file."""

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        """Hands the file to ``sink`` piece by piece."""

    def write(self, key: str, data: bytes) -> None:
        """Makes a file of ``data``."""

    def upload(self, key: str, path: str) -> None:
        """Makes a file of the one at ``path``."""

    def move(self, key: str, to: str) -> None:
        """Gives a file another key."""

    def remove(self, key: str) -> None:
        """Removes a file; one that is not there is no error."""

    def close(self) -> None:
        """Ends connections."""


@runtime_checkable
class Stamped(Protocol):
    """``Files`` that have a name for each version of a file: its ETag, as DVC records it under ``stamp_field``."""

    stamp_field: str

    def stamp(self, key: str) -> str | None:
        """The file's version, None where none is told; raises MissingObject."""


# URL scheme -> (module of this room, the extra its packages come with). Each has ``open_files(url, options)``.
SCHEMES: dict[str, tuple[str, str]] = {
    "s3": ("remote_obstore", "s3"),
    "gs": ("remote_obstore", "gs"),
    "azure": ("remote_obstore", "azure"),
    "http": ("remote_http", "http"),
    "https": ("remote_http", "http"),
    "webdav": ("remote_webdav", "webdav"),
    "webdavs": ("remote_webdav", "webdav"),
    "ssh": ("remote_ssh", "ssh"),
}


class Remote:
    """A configured remote: its stores by hash algorithm, and its plain files (the run cache)."""

    def __init__(self, name: str, files: Files, root: Path | None) -> None:
        self.name = name
        self.files = files
        self.root = root

    def __repr__(self) -> str:
        return f"Remote({self.name!r}, {self.files.shown!r})"

    def store(self, algo: str) -> Store:
        """The objects of one algorithm; DVC 2.x's lie at the top."""
        layout: Literal["files", "legacy"] = "legacy" if algo == "md5-dos2unix" else "files"
        if self.root is not None:
            return LocalStore(self.root, algo, layout=layout)
        from pyexp.objects.remote_store import RemoteStore  # a directory needs none of it

        return RemoteStore(self.files, algo, layout=layout)

    def close(self) -> None:
        self.files.close()


def open_remote(name: str, options: Mapping[str, str], base: Path) -> Remote:
    """Opens a remote by its options; a relative path is seen from ``base``.

    Raises RemoteError when its kind is not known, or its extra is not installed. Nothing is asked of it yet.
    """
    url = options["url"]
    for option in ("version_aware", "worktree"):
        if flag(options, option):
            raise RemoteError(
                f"remote '{name}' is {option}: pyexp keeps objects by their hash",
                hint=f"use another remote, or: pyexp remote modify {name} {option} false",
            )
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in ("", "file", "local"):
        from pyexp.objects.remote_directory import DirectoryFiles  # plug table: only what is used is loaded

        path = url.partition("://")[2] if scheme else url
        root = Path(os.path.normpath(base / Path(path).expanduser()))
        return Remote(name, DirectoryFiles(root), root)
    return Remote(name, _module(name, scheme).open_files(url, {**options, "base": str(base)}), None)


def _module(name: str, scheme: str) -> Any:
    """The module that serves a kind of URL; raises RemoteError for one nobody serves, and for a missing package."""
    import importlib  # plug table

    module_name, extra = SCHEMES.get(scheme, ("remote_fsspec", "fsspec"))
    try:
        module = importlib.import_module(f"pyexp.objects.{module_name}")
    except ImportError as error:
        raise RemoteError(
            f"remote '{name}' ({scheme}://) needs the package '{error.name}', which is not installed",
            hint=f"pip install 'pyexp[{extra}]'",
        ) from error
    if scheme not in SCHEMES and not module.knows(scheme):
        known = ", ".join(["a directory", *(f"{known}://" for known in SCHEMES)])
        raise RemoteError(
            f"remote '{name}': URLs with {scheme}:// are not known", hint=f"known: {known}, and what fsspec knows"
        )
    return module
