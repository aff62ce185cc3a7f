"""Ways to bring a file's bytes to another place: reflink, hardlink, symlink, copy.

What a file system cannot do is found out by trying, once for each pair of devices, and not tried again.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from pyexp.errors import StoreError
from pyexp.objects.hashes import NOFOLLOW, OPEN_FLAGS

if sys.platform != "win32":
    import fcntl

TYPES = ("reflink", "hardlink", "symlink", "copy")
READ_ONLY = frozenset({"hardlink", "symlink"})  # what these leave behind is the object itself: nobody may write to it

_FICLONE = 0x40049409
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_COPY_BYTES = 1 << 30
# What an operating system says of a thing it cannot do here, as opposed to a thing that went wrong.
_UNSUPPORTED = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EMLINK}
)

_Fill: TypeAlias = Callable[[int, int], None]

# (type, source device, target device) that failed: a fact of this machine, the same for every project.
_refused: set[tuple[str, int, int]] = set()


def create(name: str, *, dir_fd: int | None = None, mode: int = 0o666) -> int:
    """Makes a new empty file, never through a link, and opens it for writing."""
    return os.open(name, _CREATE_FLAGS, mode, dir_fd=dir_fd)


def link(
    src: str, dst: str, types: Sequence[str], *, dir_fd: int | None = None, devices: tuple[int, int] | None = None
) -> str:
    """Makes the new file ``dst`` hold the bytes of ``src`` by the first of ``types`` that works; returns which.

    ``dst`` must not exist; it is relative to ``dir_fd`` when that is given. ``devices`` are those of both directories,
    if the caller knows them. Raises OSError when the disk is full or the like, StoreError when no type works here.
    """
    if devices is None:
        devices = (os.stat(src).st_dev, os.stat(dir_fd if dir_fd is not None else os.path.dirname(dst) or ".").st_dev)
    for kind in types:
        if kind not in TYPES:
            raise StoreError(f"unknown link type {kind!r}", hint=f"known: {', '.join(TYPES)}")
        key = (kind, *devices)
        if key in _refused:
            continue
        try:
            LINKERS[kind](src, dst, dir_fd)
        except OSError as error:
            if error.errno not in _UNSUPPORTED or kind == "copy":
                raise
            if error.errno != errno.EMLINK:  # one object's links are used up: others still have theirs
                _refused.add(key)
        else:
            return kind
    raise StoreError(f"none of the link types {', '.join(types)} works here", hint="add copy to cache.type")


def can(kind: str, devices: tuple[int, int]) -> bool:
    """Whether a type of link may work between two devices, as far as was found out."""
    return (kind, *devices) not in _refused


def clone_fd(source: int, target: int, devices: tuple[int, int]) -> bool:
    """Makes one open file share another's bytes; False, from then on without trying, where that cannot be done."""
    if not can("reflink", devices):
        return False
    try:
        _clone(source, target)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _refused.add(("reflink", *devices))
        return False
    return True


def _reflink(src: str, dst: str, dir_fd: int | None) -> None:
    _into_new(src, dst, dir_fd, _clone)


def _clone(source: int, target: int) -> None:
    if not sys.platform.startswith("linux"):
        raise OSError(errno.EOPNOTSUPP, "no reflinks on this system")
    fcntl.ioctl(target, _FICLONE, source)


def _copy(src: str, dst: str, dir_fd: int | None) -> None:
    _into_new(src, dst, dir_fd, copy_fd)


def _into_new(src: str, dst: str, dir_fd: int | None, fill: _Fill) -> None:
    source = os.open(src, OPEN_FLAGS)
    try:
        target = create(dst, dir_fd=dir_fd)
        try:
            fill(source, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(dst, dir_fd=dir_fd)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def copy_fd(source: int, target: int) -> None:
    """Copies everything from one open file to another, inside the kernel where it can."""
    if hasattr(os, "copy_file_range"):
        try:
            first = os.copy_file_range(source, target, _COPY_BYTES)
            # Nothing at all may also mean a file of a kind (proc, some FUSE) that only reading gives the bytes of.
            if first:
                while os.copy_file_range(source, target, _COPY_BYTES):
                    pass
                return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    buffer = memoryview(bytearray(1 << 20))
    while count := os.readv(source, [buffer]) if hasattr(os, "readv") else _read_into(source, buffer):
        write_all(target, buffer[:count])


def _read_into(source: int, buffer: memoryview) -> int:
    data = os.read(source, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes all of ``data``, in as many steps as the system wants."""
    written = os.write(fd, data)
    if written != len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(fd, view) :]


def _hardlink(src: str, dst: str, dir_fd: int | None) -> None:
    os.link(src, dst, dst_dir_fd=dir_fd, follow_symlinks=False)


def _symlink(src: str, dst: str, dir_fd: int | None) -> None:
    os.symlink(os.path.abspath(src), dst, dir_fd=dir_fd)


# Each makes a new file ``dst``, relative to a directory's descriptor; raises FileExistsError when it is there.
LINKERS = {"reflink": _reflink, "hardlink": _hardlink, "symlink": _symlink, "copy": _copy}
