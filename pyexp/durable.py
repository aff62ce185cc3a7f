"""Files that are there whole or not at all: written under a temporary name beside the target, flushed, renamed.

The rules are SAFETY.md §4: nothing is truncated in place, the file's mode is kept, and the directory is flushed so that
the rename itself survives a power cut.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from io import FileIO
from itertools import count
from pathlib import Path

# Temporary names all start with this, so that every reader can skip them and every cleaner can find them.
TMP_PREFIX = ".pyexp-tmp-"
# What is older than this is nobody's, wherever it was written.
LITTER_SECONDS = 3600.0
# The largest file that is read whole: a directory's manifest. A stranger's file of zeros takes no room in git.
MAX_READ_BYTES = 1 << 29
# To read what a stranger may have put there: a fifo does not keep us waiting.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def temporary_name(directory: str) -> str:
    """A fresh path in ``directory`` for a file that is still being written; it tells who writes."""
    # Joined by hand: this runs for each of many small files.
    between = "" if not directory or directory.endswith(os.sep) else os.sep
    return f"{directory}{between}{_owned_prefix(os.getpid())}{time.monotonic_ns():x}-{next(_numbers):08x}"


# From a place of its own in each process: a number may come back (pid namespaces that share a directory, say).
_numbers = count(int.from_bytes(os.urandom(4), "little"))


@cache
def _owned_prefix(pid: int) -> str:
    return f"{TMP_PREFIX}{pid}-{''.join(_realm())}-"


@cache
def _realm() -> tuple[str, str, str]:
    """Where our process numbers mean something: this machine, since it was started, in this container."""
    boot, namespace = b"", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)
    parts = (
        (os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")).encode(),
        boot,
        namespace.encode(),
    )
    host, start, container = (f"{zlib.crc32(part):08x}" for part in parts)
    return host, start, container


def shown_place(path: str) -> str:
    """A path to tell somebody of: a temporary file's name says nothing, its directory does."""
    directory, name = os.path.split(path)
    return directory or "." if name.startswith(TMP_PREFIX) else path


def say_where(error: BaseException, path: str) -> None:
    """Gives an error of the system's a path, when it was about an open file and has none."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = path


def is_left_behind(name: str) -> bool:
    """Whether a temporary file's writer is known to be dead; not known is not dead."""
    pid, _, rest = name.removeprefix(TMP_PREFIX).partition("-")
    realm = rest.partition("-")[0]
    if len(realm) != 24 or not pid.isdigit():
        return False
    host, start, container = _realm()
    if realm[:8] != host:
        return False
    if realm[8:16] != start:
        return True  # written before this machine was started again
    return realm[16:] == container and not lives(int(pid))


def lives(pid: int) -> bool:
    """Whether a process of that number runs on this machine; one that only waits to be reaped does not any more."""
    if os.name == "nt":
        return True  # signal 0 is Ctrl-C there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    # In a container nobody may reap orphans for seconds, or ever. proc(5): the state stands behind the name's last ")".
    with suppress(OSError, OverflowError):
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
        return state not in ([b"Z"], [b"X"])
    return True


def make_directories(directory: str | os.PathLike[str], mode: int | None = None) -> None:
    """Makes a directory and those above it; with ``mode`` the new ones have just these permissions, whatever the umask."""
    if mode is None:
        os.makedirs(directory, exist_ok=True)
        return
    path, missing = os.fspath(directory), []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        with suppress(FileExistsError):  # made by somebody else meanwhile, as that one wants it
            os.mkdir(path)
            os.chmod(path, mode)


def sync_directory(directory: str, dir_fd: int | None = None) -> None:
    """Flushes a directory's entries; file systems that cannot do it are left alone, real I/O errors are raised.

    ``dir_fd`` is the directory, if it is open.
    """
    if os.name == "nt":
        return
    fd = os.open(directory, os.O_RDONLY) if dir_fd is None else dir_fd
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            say_where(error, directory)
            raise
    finally:
        if dir_fd is None:
            os.close(fd)


def write_file(
    path: str | os.PathLike[str],
    data: bytes | str,
    *,
    mode: int | None = None,
    sync: bool = True,
    follow: bool = False,
    dir_fd: int | None = None,
) -> None:
    """Replaces the file at ``path`` by ``data`` in one step; keeps its permission bits unless ``mode`` is given.

    A symlink at ``path`` is replaced, for a stranger may have put it there; with ``follow`` it stays, and the file it
    leads to is replaced: what users keep elsewhere. With ``dir_fd`` the path is a name in that open directory.
    ``sync=False`` is for state that may be lost (caches): the rename is still atomic.
    """
    target = os.fspath(path)
    if follow and os.path.islink(target):
        target = os.path.realpath(target)
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    directory = os.path.dirname(target) or "."
    if mode is None:
        with suppress(FileNotFoundError):
            found = os.stat(target, dir_fd=dir_fd, follow_symlinks=False).st_mode
            mode = stat.S_IMODE(found) if stat.S_ISREG(found) else None
    temporary = temporary_name(directory if dir_fd is None else "")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(temporary, flags, 0o666, dir_fd=dir_fd)
        try:
            _write_all(fd, raw)
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        if isinstance(error, OSError):
            error.filename, error.filename2 = target, None
        raise
    if sync:
        sync_directory(directory, dir_fd)


def open_log(path: str | os.PathLike[str], *, append: bool = False) -> FileIO:
    """A file of our own to write to while something runs; a link in its place is refused, and so is what blocks."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    return FileIO(os.open(path, flags, 0o666), "ab" if append else "wb")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def open_file(path: str | os.PathLike[str]) -> FileIO:
    """Opens a regular file to read it; never blocks on a fifo or device.

    Raises OSError: FileNotFoundError, NotADirectoryError, EISDIR, EINVAL when something else than a file is there.
    """
    try:
        fd = os.open(path, READ_FLAGS)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device without a driver
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path)) from error
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return FileIO(fd)
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def read_file(path: str | os.PathLike[str]) -> bytes | None:
    """The bytes of a regular file, or None when there is none.

    Raises OSError as ``open_file`` does; EFBIG for one that nobody can have meant to be read whole.
    """
    try:
        file = open_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with file:
        if os.fstat(file.fileno()).st_size > MAX_READ_BYTES:
            raise OSError(errno.EFBIG, f"larger than {MAX_READ_BYTES >> 20} MiB", os.fspath(path))
        return file.readall()


def is_litter(path: str) -> bool:
    """Whether a temporary file belongs to nobody any more: its writer is known to be dead, or it is old."""
    with suppress(OSError):
        if is_left_behind(os.path.basename(path)):
            return True
        found = os.lstat(path)
        # A directory's own time stands still while files below it are written.
        return found.st_mtime < time.time() - LITTER_SECONDS * (24 if stat.S_ISDIR(found.st_mode) else 1)
    return False


def remove_litter(directory: str) -> None:
    """Removes temporary files in ``directory`` that a dead process left behind."""
    remove_left_behind(_temporaries(directory))


def remove_litter_directories(directory: str) -> None:
    """Removes temporary directories in ``directory`` that a dead process left behind; they only ever hold its own."""
    for path in _temporaries(directory):
        if is_litter(path):
            remove_directory(path)


def _temporaries(directory: str) -> list[str]:
    """What has a temporary name in a directory; nothing where that has gone, or cannot be read."""
    with suppress(OSError):
        return [os.path.join(directory, name) for name in os.listdir(directory) if name.startswith(TMP_PREFIX)]
    return []


def remove_directory(path: str) -> None:
    """Removes a directory with all in it, as far as that can be done; nothing where there is none, or a link to one."""
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil  # seldom needed, and slow to start

        shutil.rmtree(path, ignore_errors=True)


def remove_left_behind(paths: Iterable[str], *, ours: bool = False) -> None:
    """Removes those of some temporary files whose writers are dead, and (``ours``) those this process has left."""
    own = _owned_prefix(os.getpid()) if ours else None
    for path in paths:
        with suppress(OSError):
            if (own is not None and os.path.basename(path).startswith(own)) or is_litter(path):
                os.unlink(path)
