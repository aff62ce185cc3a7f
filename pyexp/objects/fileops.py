"""What bringing a file into a store is made of: looks before and after, clones, comparisons, and flushes to the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyexp import durable
from pyexp.errors import CorruptObject, StoreError
from pyexp.model import Oid
from pyexp.objects import links
from pyexp.objects.hashes import CHUNK_BYTES


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns an OSError of the block into a StoreError of one line that names the path."""
    try:
        yield
    except OSError as error:
        # A name in an open directory tells nobody where to look.
        is_told = isinstance(error.filename, str) and os.path.dirname(error.filename)
        where = durable.shown_place(error.filename) if is_told else path
        raise StoreError(f"{error.strerror or error}: {where}") from error


def check_expected(path: str, digest: str, expect: Oid | None) -> None:
    """Raises CorruptObject when a file that should be an object is not."""
    if expect is not None and expect.hex.removesuffix(".dir") != digest:
        raise CorruptObject(f"'{path}' does not hold the bytes of object {expect}")


def discard(temporary: str) -> None:
    """Removes a temporary file, if it can be removed."""
    with suppress(OSError):
        os.unlink(temporary)


def clone(source: int, target: int) -> bool:
    """Makes ``target`` share the bytes of ``source`` where the file system can do that."""
    devices = (os.fstat(source).st_dev, os.fstat(target).st_dev)
    return links.clone_fd(source, target, devices)


def equal_files(one: str, other: str) -> bool:
    """Whether two files hold the same bytes."""
    with open(one, "rb") as left, open(other, "rb") as right:
        while True:
            piece = left.read(CHUNK_BYTES)
            if piece != right.read(CHUNK_BYTES):
                return False
            if not piece:
                return True


def flush_file(path: str) -> None:
    """Puts one file's bytes on the disk; one that is gone meanwhile needs it no more."""
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def flush_file_system(directory: str) -> bool:
    """Puts everything written to a directory's file system on the disk in one go; False where there is no such call."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # seam: 4 ms that only large batches pay, and then get back many times

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    fd = os.open(directory, os.O_RDONLY)
    try:
        if syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
    finally:
        os.close(fd)
    return True
