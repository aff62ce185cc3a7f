"""The plain files of a remote that is a directory of this machine, or one that is mounted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from pyexp import durable
from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.hashes import CHUNK_BYTES
from pyexp.objects.remote import Found
from pyexp.paths import check_relpath


class DirectoryFiles:
    """``remote.Files`` in a directory."""

    lists = True
    jobs: int | None = None

    def __init__(self, root: Path) -> None:
        self._root = root
        self.shown = str(root)

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *check_relpath(key).split("/"))

    def list(self, prefix: str) -> Iterator[Found]:
        top = self._root / prefix.rpartition("/")[0]
        for directory, _, names in os.walk(top):
            for name in names:
                path = os.path.join(directory, name)
                key = os.path.relpath(path, self._root).replace(os.sep, "/")
                if key.startswith(prefix) and not name.startswith(durable.TMP_PREFIX):
                    with suppress(FileNotFoundError):
                        status = os.lstat(path)
                        yield Found(key, status.st_size, status.st_mtime)

    def size(self, key: str) -> int | None:
        try:
            return os.stat(self._path(key)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        try:
            with open(self._path(key), "rb") as file:
                while piece := file.read(CHUNK_BYTES):
                    sink(piece)
        except FileNotFoundError as error:
            raise MissingObject(f"'{key}' is not in {self.shown}") from error
        except OSError as error:
            raise RemoteError(f"'{key}' in {self.shown} cannot be read: {error.strerror}") from error

    def write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            durable.write_file(path, data)
        except OSError as error:
            raise RemoteError(f"'{key}' cannot be written into {self.shown}: {error.strerror}") from error

    def upload(self, key: str, path: str) -> None:
        target = self._path(key)
        temporary = durable.temporary_name(os.path.dirname(target))
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(path, temporary)
            os.replace(temporary, target)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise RemoteError(f"'{key}' cannot be written into {self.shown}: {error.strerror}") from error

    def move(self, key: str, to: str) -> None:
        target = self._path(to)
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(self._path(key), target)
        except FileNotFoundError as error:
            raise MissingObject(f"'{key}' is not in {self.shown}") from error

    def remove(self, key: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path(key))

    def close(self) -> None:
        pass
