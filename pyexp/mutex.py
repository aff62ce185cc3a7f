"""Locks that the kernel releases with their holder: a file that stays, ``flock`` on POSIX, ``msvcrt`` on Windows.

The file is never unlinked (a waiter could otherwise lock a file that nobody else sees any more), so nothing has to be
removed by hand after a crash. Its content names the holder, for messages only.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyexp.errors import Locked

POLL_SECONDS = 0.05


def _try_lock(fd: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            # A byte far behind the content, so that others can still read who holds the lock.
            os.lseek(fd, 1 << 30, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(path: Path) -> str:
    """Says who holds (or last held) the lock, as far as its file tells."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(fd, "rb") as file:
            text = (file.read(100) or b"").decode("utf-8", "replace").strip()
    except OSError:
        return "another process"
    pid = text.split("\n")[0].strip()
    return f"process {pid}" if pid.isdigit() else "another process"


def is_locked(path: Path) -> bool:
    """Tells whether a living process holds the lock at ``path``."""
    try:
        # To read is enough to ask (on POSIX), and what another user of a shared cache has made may not be written to.
        fd = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # nobody can tell (permissions, too many open files): then it is safer to believe so
    try:
        return not _try_lock(fd)
    finally:
        os.close(fd)


@contextmanager
def locked(
    path: Path,
    *,
    timeout: float | None = 120.0,
    what: str = "lock",
    on_wait: Callable[[str], None] | None = None,
) -> Iterator[int]:
    """Holds the lock at ``path`` for the block; waits up to ``timeout`` seconds (None: for ever).

    ``on_wait`` is called once, with the holder's description, when there is something to wait for. Yields the file
    descriptor: a child process that inherits it keeps the lock until it ends, too. Raises Locked when the time is up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        _wait(fd, path, timeout, what, on_wait)
        # The content is a courtesy to the person who waits; a full disk must not stop the holder.
        with suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f" {os.getpid()}\n".encode(), 0) if hasattr(os, "pwrite") else None
        yield fd
    finally:
        os.close(fd)


def _wait(fd: int, path: Path, timeout: float | None, what: str, on_wait: Callable[[str], None] | None) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    told = False
    while not _try_lock(fd):
        if deadline is not None and time.monotonic() >= deadline:
            raise Locked(
                f"{what} is held by {holder(path)} ({path})",
                hint="wait for it to end, or stop it; the lock goes with its process",
            )
        if not told and on_wait is not None:
            on_wait(holder(path))
            told = True
        time.sleep(POLL_SECONDS)
