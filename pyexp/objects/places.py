"""Directories to write in, reached from a root one component at a time and never through a link.

Opened directories are used by their descriptors, so what was checked is what is written to. Where the system has no
such calls (Windows) paths are used instead.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, NoReturn

from pyexp.errors import StoreError, UnsafeCheckout

_BY_FD = {os.open, os.mkdir, os.unlink, os.rename, os.stat, os.rmdir} <= os.supports_dir_fd
_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Place(NamedTuple):
    """An open directory: names in it are ``prefix + name``, seen from ``fd``."""

    fd: int | None
    prefix: str


class Places:
    """The directories at and below the parent of ``path``; one is open at a time. Close it when done.

    Raises StoreError when the way from ``root`` to ``path`` leads out of ``root``.
    """

    def __init__(self, root: str, path: str) -> None:
        top, parent = os.path.realpath(root), os.path.realpath(os.path.dirname(os.path.abspath(path)))
        if parent != top and not parent.startswith(top.rstrip(os.sep) + os.sep):
            raise StoreError(f"'{path}' is outside {root}", hint="a link on the way leads out of the project")
        self._root = top
        self._way = [part for part in parent[len(top) :].split(os.sep) if part]
        self._open: tuple[str, Place] | None = None

    def close(self) -> None:
        """Closes the directory that is open."""
        if self._open is not None and self._open[1].fd is not None:
            os.close(self._open[1].fd)
        self._open = None

    def get(self, relpath: str, *, make: bool = False, force: bool = False) -> Place:
        """The directory ``relpath`` below the parent of ``path``; valid until the next call.

        ``make`` makes what is missing; ``force`` lets a directory take the place of a link or a file. Raises
        FileNotFoundError without ``make``, UnsafeCheckout for what is in the way.
        """
        if self._open is not None and self._open[0] == relpath:
            return self._open[1]
        self.close()
        parts = [*self._way, *relpath.split("/")] if relpath else self._way
        place = self._walk(parts, make, force) if _BY_FD else self._join(parts, make)
        self._open = (relpath, place)
        return place

    def _join(self, parts: list[str], make: bool) -> Place:
        directory = os.path.join(self._root, *parts)
        if make:
            os.makedirs(directory, exist_ok=True)
        return Place(None, directory + os.sep)

    def _walk(self, parts: list[str], make: bool, force: bool) -> Place:
        fd = os.open(self._root, _FLAGS)
        try:
            for index, part in enumerate(parts):
                below = self._enter(fd, part, parts[: index + 1], make, force)
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        return Place(fd, "")

    def _enter(self, fd: int, part: str, way: list[str], make: bool, force: bool) -> int:
        try:
            return os.open(part, _FLAGS, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise
            if not (make and force):
                shown = "/".join(way)
                raise UnsafeCheckout(
                    f"'{shown}' is in the way: it is not a directory",
                    paths=[shown],
                    hint="move it away, or say --force",
                ) from error
            os.unlink(part, dir_fd=fd)
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=fd)
        return os.open(part, _FLAGS, dir_fd=fd)


def files_at(name: str, dir_fd: int | None) -> Iterator[tuple[int | None, str]]:
    """What is no directory at a name or below it: each as its directory, open, and its name there. No link is followed."""
    try:
        mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        yield dir_fd, name
    elif dir_fd is None:
        for directory, _, names in os.walk(name):
            yield from ((None, os.path.join(directory, each)) for each in names)
    else:
        for _, _, names, fd in os.fwalk(name, dir_fd=dir_fd):
            yield from ((fd, each) for each in names)


def remove_all(name: str, dir_fd: int | None) -> None:
    """Removes what is at a name in an open directory, with all below it; nothing where nothing is."""
    try:
        is_dir = stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if not is_dir:
        os.unlink(name, dir_fd=dir_fd)
        return
    if not _BY_FD:
        import shutil  # with its compressors: seldom needed

        shutil.rmtree(name)
        return
    # shutil.rmtree takes no descriptor before Python 3.11.
    for _, below, names, fd in os.fwalk(name, topdown=False, onerror=_raise, dir_fd=dir_fd):
        for each in names:
            os.unlink(each, dir_fd=fd)
        for each in below:
            try:
                os.rmdir(each, dir_fd=fd)
            except NotADirectoryError:  # a link to one
                os.unlink(each, dir_fd=fd)
    os.rmdir(name, dir_fd=dir_fd)


def _raise(error: OSError) -> NoReturn:
    raise error


def remove_empty(path: str) -> bool:
    """Removes a directory that holds nothing but empty directories; False when it holds more, or is none."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return True
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except OSError:
            return False
    return True
