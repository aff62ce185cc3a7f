"""Runs pyexp commands, each in a process of its own that is forked from one with everything imported already.

A command under test then costs what it does, not what Python's start does. What a killed command leaves running (pool
workers, the reaper of its stages) becomes a child of the server, which waits for it to end: it must, by itself.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torture.injector import VARIABLE, Plan

HERE = Path(__file__).resolve().parent
PATHS = os.pathsep.join([str(HERE / "site"), str(HERE.parent)])
ORPHAN_SECONDS = 20.0
_SUBREAPER = 36


@dataclass(frozen=True)
class Ran:
    """What became of a command: its exit code (negative: the signal), and orphans that would not end."""

    code: int
    out: str
    err: str
    points: tuple[str, ...]
    orphans: int
    hung: bool
    cpu: float


class Forks:
    """The server's other end; one command at a time."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def run(
        self,
        argv: list[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        plan: Plan | None = None,
        worker: Plan | None = None,
        timeout: float = 60.0,
        memory: int | None = None,
        umask: int | None = None,
    ) -> Ran:
        """Runs a command line, in at most so many bytes of ``memory``, with another umask.

        ``plan`` is for its own process, ``worker`` for the first worker it starts.
        """
        log, once = self._scratch / "points", self._scratch / "once"
        for path in (log, once):
            path.unlink(missing_ok=True)
        request = {
            "argv": argv,
            "cwd": str(cwd),
            "env": {**env, "PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1"},
            "plan": plan._replace(log=str(log))._asdict() if plan else None,
            "timeout": timeout,
            "memory": memory,
            "umask": umask,
            "out": str(self._scratch / "out"),
            "err": str(self._scratch / "err"),
        }
        if worker is not None:
            request["env"] |= {VARIABLE: json.dumps(worker._replace(log=str(log), once=str(once))._asdict())}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        text = {name: (self._scratch / name).read_bytes().decode("utf-8", "replace") for name in ("out", "err")}
        points = log.read_text("utf-8", "surrogateescape").splitlines() if log.exists() else []
        return Ran(points=tuple(points), **text, **answer)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


# -- the server's side -----------------------------------------------------------------------------------------------


def serve() -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _preload()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answers.write(json.dumps(_perform(request)) + "\n")
        answers.flush()


def _preload() -> None:
    import importlib
    import pkgutil

    import pyexp

    for module in pkgutil.walk_packages(pyexp.__path__, "pyexp."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    for name in (
        "dulwich.repo",
        "dulwich.object_store",
        "concurrent.futures.thread",
        "multiprocessing.popen_spawn_posix",
    ):
        importlib.import_module(name)


def _perform(request: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid == 0:
        _child(request)
    code, hung, cpu = _wait(pid, request["timeout"])
    orphans = _wait_for_orphans()
    return {"code": code, "hung": hung, "orphans": orphans, "cpu": cpu}


def _child(request: dict[str, Any]) -> None:
    code = 255
    try:
        os.setsid()
        for fd, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
            flags = os.O_RDONLY if fd == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags), fd)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        if request["memory"] is not None:
            resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
        if request["umask"] is not None:
            os.umask(request["umask"])
        sys.argv = ["pyexp", *request["argv"]]
        if request["plan"] is not None:
            from torture import injector

            injector.arm(Plan(**request["plan"]))
        from pyexp.cli.main import main

        code = main(request["argv"])
        sys.stdout.flush()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, timeout: float) -> tuple[int, bool, float]:
    deadline = time.monotonic() + timeout
    hung = False
    pause = 0.0005
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), hung, usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline and not hung:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)


def _wait_for_orphans() -> int:
    """Waits for all that is left of a command; kills, and counts, what does not end."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    killed: set[int] = set()
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(killed)
        if ended:
            continue
        if time.monotonic() > deadline:
            for child in _children():
                killed.add(child)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.002)


def _children() -> list[int]:
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return [int(word) for word in path.read_text().split()]


if __name__ == "__main__":
    serve()
