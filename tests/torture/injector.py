"""Counts a process's changes to the file system, and strikes at the one it was told to: a kill, or an error.

Armed inside the process (forks.py, or site/sitecustomize.py in the workers of a pool), before it does anything. Every
call that changes something is a point, and with ``reads`` every opening and listing, too. Pipes and terminals do not
count.
"""

import builtins
import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

VARIABLE = "PYEXP_TORTURE"
# What each error can be the answer to; a full disk refuses no removal.
_GROWING = {"open", "write", "truncate", "mkdir", "rename", "link", "symlink", "copy", "fsync"}
_NAMING = {"open", "mkdir", "rename", "link", "symlink"}
_CHANGING = _GROWING | {"unlink", "rmdir", "chmod"}
FAULTS: dict[str, tuple[set[str], bool]] = {
    # name -> (the kinds of points it can happen at, whether it lasts)
    "ENOSPC": (_GROWING, True),
    "EROFS": (_CHANGING - {"write", "fsync", "copy", "truncate"}, True),
    "EMFILE": ({"open", "read", "list", "spawn"}, True),
    "EIO": (_CHANGING | {"read", "list"}, False),
    "EACCES": (_NAMING | {"unlink", "rmdir", "chmod", "read", "list"}, False),
    "ENAMETOOLONG": (_NAMING, False),
    "EAGAIN": ({"spawn"}, False),
}


class Plan(NamedTuple):
    """What to do: ``mode`` is count, kill, half (kill in the middle of a write) or the name of an error."""

    mode: str
    at: int = 0
    reads: bool = False
    log: str = ""
    once: str = ""


def arm(plan: Plan) -> None:
    """From now on counts, and strikes at the point ``plan.at`` (the first is 1)."""
    _Injector(plan).install()


def arm_worker() -> None:
    """Arms the first process of a pool that gets here, if the environment says so: its successors live."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return
    plan = Plan(**json.loads(text))
    try:
        os.close(os.open(plan.once, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    arm(plan)


class _Injector:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.count = 0
        self.struck = False
        self.lock = threading.RLock()
        self.write = os.write
        self.log = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if plan.log else -1

    def point(self, kind: str, path: object, other: object = None) -> bool:
        """One point; returns whether half of a write should be done and the process killed after it."""
        if kind in ("read", "list") and not self.plan.reads:
            return False
        fault = FAULTS.get(self.plan.mode)
        with self.lock:
            if fault is not None and kind not in fault[0]:
                return False
            self.count += 1
            here = self.count == self.plan.at
            if self.log >= 0:
                self.write(self.log, f"{kind} {_shown(path)}\n".encode("utf-8", "surrogateescape"))
            if self.plan.mode == "count":
                return False
            if self.plan.mode in ("kill", "half"):
                if here and self.plan.mode == "half" and kind in ("write", "copy"):
                    return True
                if here:
                    _die()
                return False
            assert fault is not None
            # To rename takes room only where a directory has to grow: later ones go well.
            lasts = fault[1] and not (self.plan.mode == "ENOSPC" and kind == "rename")
            if here or (lasts and self.struck):
                self.struck = True
                number: int = getattr(errno, self.plan.mode)
                names = [_shown(name) for name in (path, other) if isinstance(name, (str, bytes, os.PathLike))]
                if len(names) == 2:
                    raise OSError(number, os.strerror(number), names[0], None, names[1])
                raise OSError(number, os.strerror(number), *names)
        return False

    # -- the calls ---------------------------------------------------------------------------------------------------

    def install(self) -> None:
        for name in ("rename", "replace", "link", "symlink"):
            self.wrap(name, "rename" if name == "replace" else name, paths=2)
        for name, kind in (
            ("unlink", "unlink"),
            ("remove", "unlink"),
            ("rmdir", "rmdir"),
            ("mkdir", "mkdir"),
            ("chmod", "chmod"),
            ("utime", "chmod"),
            ("truncate", "truncate"),
            ("scandir", "list"),
            ("listdir", "list"),
        ):
            self.wrap(name, kind)
        for name, kind in (
            ("fchmod", "chmod"),
            ("fsync", "fsync"),
            ("fdatasync", "fsync"),
            ("ftruncate", "truncate"),
        ):
            self.wrap(name, kind, fd=True)
        os.write = self.writer(os.write, 1)
        os.pwrite = self.writer(os.pwrite, 1)
        self.wrap_copy("sendfile", 0)
        self.wrap_copy("copy_file_range", 1)
        self.wrap_open()
        io.open = builtins.open = self.opener(io.open)  # type: ignore[assignment]
        self.wrap_spawns()

    def wrap(self, name: str, kind: str, *, paths: int = 1, fd: bool = False) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if fd and not _is_file(args[0]):
                return real(*args, **kwargs)
            if fd or isinstance(args[0] if args else ".", int):
                self.point(kind, None)
            else:
                self.point(kind, args[0] if args else ".", args[1] if paths == 2 else None)
            return real(*args, **kwargs)

        setattr(os, name, wrapped)
        for group in (os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks):
            if real in group:
                group.add(wrapped)

    def writer(self, real: Callable[..., int], position: int) -> Callable[..., int]:
        def wrapped(fd: int, data: Any, *rest: Any) -> int:
            if not _is_file(fd):
                return real(fd, data, *rest)
            if self.point("write", None):
                real(fd, memoryview(data).cast("B")[: len(data) // 2], *rest)
                _die()
            return real(fd, data, *rest)

        return wrapped

    def wrap_copy(self, name: str, target: int) -> None:
        real: Callable[..., int] | None = getattr(os, name, None)
        if real is None:
            return

        def wrapped(*args: Any, **kwargs: Any) -> int:
            assert real is not None
            if not _is_file(args[target]):
                return real(*args, **kwargs)
            if self.point("copy", None):
                shorter = list(args)
                place = 2 if name == "copy_file_range" else 3
                shorter[place] = min(args[place], max(1, os.fstat(args[1 - target]).st_size // 2))
                real(*shorter, **kwargs)
                _die()
            return real(*args, **kwargs)

        setattr(os, name, wrapped)

    def wrap_open(self) -> None:
        real = os.open

        def wrapped(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            self.point("open" if writing else "read", path)
            return real(path, flags, *args, **kwargs)

        os.open = wrapped  # type: ignore[assignment]
        os.supports_dir_fd.add(wrapped)

    def opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        injector = self

        class Raw(io.FileIO):
            """A file whose writes are points; a buffer above it writes through it."""

            def write(self, data: Any) -> int:
                if _is_file(self.fileno()) and injector.point("write", None):
                    view = memoryview(data).cast("B")
                    super().write(view[: len(view) // 2])
                    _die()
                return super().write(data) or 0

        def wrapped(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                if not isinstance(file, int):
                    injector.point("read", file)
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int):
                injector.point("open", file)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

        return wrapped

    def wrap_spawns(self) -> None:
        real = subprocess.Popen.__init__

        def started(popen: Any, args: Any, *rest: Any, **kwargs: Any) -> None:
            self.point("spawn", args[0] if isinstance(args, list) else args)
            real(popen, args, *rest, **kwargs)

        subprocess.Popen.__init__ = started  # type: ignore[assignment]
        from multiprocessing import util

        spawn = util.spawnv_passfds  # type: ignore[attr-defined]

        def spawned(path: Any, args: Any, passfds: Any) -> int:
            self.point("spawn", path)
            return int(spawn(path, args, passfds))

        util.spawnv_passfds = spawned  # type: ignore[attr-defined]


def _shown(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else "-"


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode) or stat.S_ISDIR(os.fstat(fd).st_mode)
    except OSError:
        return False


def _die() -> None:
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)
