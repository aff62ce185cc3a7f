"""Ways to make a file hold an object: reflink, hardlink, symlink, copy; tried in order, remembered per pair of devices."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

from pyexp.errors import StoreError

TYPES = ("reflink", "hardlink", "symlink", "copy")
_FICLONE = 0x40049409
_CANNOT = (
    errno.EXDEV,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EMLINK,
    errno.EACCES,
)
# (device of the object, device of the target, type) that have been found not to work
_refused: set[tuple[int, int, str]] = set()


def link(source: str, target: str, types: tuple[str, ...]) -> str:
    """Makes ``target``, which must not exist, hold ``source``'s bytes by the first type that works; returns the type.

    Hardlinks and symlinks share the object's bytes, so the target is as read-only as the object is. Raises StoreError
    for a type nobody knows, OSError when even the last type fails.
    """
    devices = (os.stat(source).st_dev, os.stat(os.path.dirname(target) or ".").st_dev)
    for number, kind in enumerate(types):
        if kind not in TYPES:
            raise StoreError(f"unknown link type '{kind}' in cache.type", hint=f"known: {', '.join(TYPES)}")
        if (*devices, kind) in _refused:
            continue
        try:
            _MAKERS[kind](source, target)
            return kind
        except OSError as error:
            with suppress(OSError):
                os.unlink(target)
            if kind == "copy" or error.errno not in _CANNOT:
                raise
            _refused.add((*devices, kind))
            if number == len(types) - 1:
                raise
    _copy(source, target)
    return "copy"


def _create(target: str) -> int:
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)


def reflink(source_fd: int, target_fd: int) -> bool:
    """Shares the bytes of one open file with another, copy on write; False where the file system cannot."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    return True


def copy_bytes(source_fd: int, target_fd: int, size: int) -> None:
    """Copies an open file's bytes inside the kernel where possible."""
    done = 0
    if hasattr(os, "copy_file_range"):
        try:
            while done < size:
                count = os.copy_file_range(source_fd, target_fd, min(size - done, 1 << 30))
                if count == 0:
                    break
                done += count
        except OSError as error:
            if done or error.errno not in _CANNOT:
                raise
    while data := os.read(source_fd, 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(target_fd, view) :]


def _reflink(source: str, target: str) -> None:
    source_fd = os.open(source, os.O_RDONLY)
    try:
        target_fd = _create(target)
        try:
            if not reflink(source_fd, target_fd):
                raise OSError(errno.ENOTSUP, "no reflinks here", target)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _copy(source: str, target: str) -> None:
    source_fd = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        target_fd = _create(target)
        try:
            copy_bytes(source_fd, target_fd, os.fstat(source_fd).st_size)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _hardlink(source: str, target: str) -> None:
    os.link(source, target)


def _symlink(source: str, target: str) -> None:
    os.symlink(os.path.abspath(source), target)


_MAKERS = {"reflink": _reflink, "hardlink": _hardlink, "symlink": _symlink, "copy": _copy}
