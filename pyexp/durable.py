"""Files that are there whole or not at all: written under a temporary name beside the target, flushed, renamed.

The rules are SAFETY.md §4: nothing is truncated in place, the file's mode is kept, and the directory is flushed so that
the rename itself survives a power cut.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

# Temporary names all start with this, so that every reader can skip them and every cleaner can find them.
TMP_PREFIX = ".pyexp-tmp-"


def temporary_name(directory: str) -> str:
    """A fresh path in ``directory`` for a file that is still being written."""
    # Joined by hand: this runs for each of many small files.
    between = "" if not directory or directory.endswith(os.sep) else os.sep
    return f"{directory}{between}{TMP_PREFIX}{os.getpid()}-{time.monotonic_ns():x}-{os.urandom(4).hex()}"


def sync_directory(directory: str) -> None:
    """Flushes a directory's entries; file systems that cannot do it are left alone, real I/O errors are raised."""
    if os.name == "nt":
        return
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(fd)


def write_file(path: str | os.PathLike[str], data: bytes | str, *, mode: int | None = None, sync: bool = True) -> None:
    """Replaces the file at ``path`` by ``data`` in one step; keeps its permission bits unless ``mode`` is given.

    A symlink at ``path`` is followed once, so that the file it points to is replaced and the link stays.
    ``sync=False`` is for state that may be lost (caches): the rename is still atomic.
    """
    target = os.fspath(path)
    if os.path.islink(target):
        target = os.path.realpath(target)
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    directory = os.path.dirname(target) or "."
    if mode is None:
        with suppress(FileNotFoundError):
            mode = stat.S_IMODE(os.stat(target).st_mode)
    temporary = temporary_name(directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(temporary, flags, 0o666)
    try:
        try:
            _write_all(fd, raw)
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_directory(directory)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_file(path: str | os.PathLike[str]) -> bytes | None:
    """The bytes of a regular file, or None when there is none; never blocks on a fifo or device.

    Raises OSError (EISDIR, EINVAL) when something else than a regular file is there.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return file.read()


def is_litter(path: str, stale_seconds: float, quiet_seconds: float = 60.0) -> bool:
    """Whether a temporary file belongs to nobody any more: old, or quiet and its process dead."""
    try:
        age = time.time() - os.lstat(path).st_mtime
    except OSError:
        return False
    if age > stale_seconds:
        return True
    pid = os.path.basename(path).removeprefix(TMP_PREFIX).partition("-")[0]
    if age < quiet_seconds or not pid.isdigit() or os.name == "nt":
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass
    return False


def remove_litter(directory: str, older_than_seconds: float = 3600.0) -> None:
    """Removes temporary files in ``directory`` that a dead process left behind."""
    limit = time.time() - older_than_seconds
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(TMP_PREFIX) and entry.stat(follow_symlinks=False).st_mtime < limit:
                with suppress(OSError):
                    Path(entry.path).unlink()
