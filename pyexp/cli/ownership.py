"""What root makes in somebody else's project is given to that somebody: ``sudo pyexp``, or a container that mounts it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyexp.project import Project

# A file's time of change is of a clock that may lag behind.
LAG_SECONDS = 0.1


def places(project: Project) -> list[str]:
    """Where a command may have written: the project, and the git repository around it."""
    git = project.git
    return list(dict.fromkeys([str(project.root), *((git.gitdir, git.commondir) if git is not None else ())]))


def give_back(tops: Iterable[str], began: float) -> None:
    """Gives what root owns below ``tops`` and has made since ``began`` to the owner of each.

    Nothing is reached by a link, and a file of several names is left alone: one of them may be elsewhere.
    """
    for top in tops:
        with suppress(OSError):
            owner = os.stat(top)
            if owner.st_uid:
                _give(top, owner.st_uid, owner.st_gid, began - LAG_SECONDS)


def _give(top: str, uid: int, gid: int, since: float) -> None:
    for _, directories, names, fd in os.fwalk(top, onerror=None, follow_symlinks=False):
        for name in (*directories, *names):
            with suppress(OSError):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if status.st_uid == 0 and status.st_ctime >= since:
                    _give_one(name, fd, uid, gid)


def _give_one(name: str, directory: int, uid: int, gid: int) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=directory)
    try:
        # Asked of what is open: the name may be something else by now.
        status = os.fstat(fd)
        is_file = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if status.st_uid == 0 and (is_file or stat.S_ISDIR(status.st_mode)):
            os.fchown(fd, uid, gid)
    finally:
        os.close(fd)
