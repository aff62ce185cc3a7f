"""git's own lock files (``X.lock``), made so that one a dead process left can be told from one that is held.

git's say nothing of their owner: after a kill the user has to remove them by hand. Ours hold a mark from their first
instant, and whoever makes them holds a kernel lock as well: under that lock a file with the mark belongs to nobody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable, mutex
from pyexp.errors import Locked

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

MARK = b"locked by pyexp\n"


@contextmanager
def writing(repo: Repo, what: str = "refs") -> Iterator[None]:
    """Holds the kernel lock that all pyexp processes take before any of git's lock files for ``what``."""
    with mutex.locked(_own(repo) / f"{what}.lock", what=f"the lock on git {what}"):
        yield


@contextmanager
def held(
    repo: Repo, path: str, *, wait: float, make: Callable[[], None] | None = None, stale: float | None = None
) -> Iterator[None]:
    """Holds ``path.lock`` for the block; only inside ``writing``.

    ``make`` makes the directory when it is missing. A file of git's is waited for, or (``stale``) taken away when it is
    older than so many seconds; raises Locked.
    """
    lock = f"{path}.lock"
    deadline = time.monotonic() + wait
    pause = 0.002
    while not _taken(repo, lock, make, deadline):
        if durable.read_file(lock) == MARK or (stale is not None and _age(lock) > stale):
            with suppress(FileNotFoundError):
                os.unlink(lock)
        elif time.monotonic() >= deadline:
            raise Locked(
                f"{lock} is there: another git command is at work", hint="if none is running, remove the file"
            ) from None
        else:
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(lock)


def replace(repo: Repo, path: str, data: bytes, rename: Callable[[str, str], None] = os.replace) -> None:
    """Makes the file at ``path`` hold ``data`` in one step; only while its lock is held.

    The temporary file is in a directory of ours: git takes every file among its refs for a ref.
    """
    own = str(_own(repo))
    durable.remove_litter(own)
    temporary = durable.temporary_name(own)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            error.filename, error.filename2 = path, None
        raise
    durable.sync_directory(os.path.dirname(path))


def sweep(repo: Repo) -> None:
    """Removes what killed pyexp processes left in the repository: their lock files would stop git, too."""
    with writing(repo), writing(repo, "index"), writing(repo, "config"):
        durable.remove_litter(str(repo.commondir))
        durable.remove_litter(str(_own(repo)))
        for top in dict.fromkeys((repo.commondir, repo.gitdir)):
            _remove_marked(os.path.join(top, name) for name in os.listdir(top))
        for directory, _, names in os.walk(os.path.join(repo.commondir, "refs")):
            _remove_marked(os.path.join(directory, name) for name in names)


def _remove_marked(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(OSError):
            if path.endswith(".lock") and durable.read_file(path) == MARK:
                os.unlink(path)


def _own(repo: Repo) -> Path:
    return Path(repo.commondir) / "pyexp"


def _taken(repo: Repo, lock: str, make: Callable[[], None] | None, deadline: float) -> bool:
    try:
        _create(repo, lock)
    except FileExistsError:
        return False
    except (FileNotFoundError, NotADirectoryError):
        # The directory was just removed with its last ref, or was never there.
        if make is None or time.monotonic() >= deadline + 1:
            raise
        make()
        return False
    return True


def _create(repo: Repo, lock: str) -> None:
    """Makes the lock file with its mark in one step, where the file system has second names."""
    marked = Path(durable.temporary_name(str(_own(repo))))
    try:
        marked.write_bytes(MARK)
        try:
            os.link(marked, lock)
            return
        except (FileExistsError, FileNotFoundError, NotADirectoryError):
            raise
        except (OSError, NotImplementedError):
            fd = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(MARK)
    except OSError as error:
        durable.say_where(error, lock)
        raise
    finally:
        with suppress(OSError):  # the lock is taken or not: a name that stays is litter of ours
            marked.unlink()


def _age(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
