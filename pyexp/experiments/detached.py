"""Workers that go on when the command that started them has ended: ``queue start``, ``stop``, ``kill``, ``retry``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import ExperimentError, WorkerLost
from pyexp.experiments.taskqueue import ORDER_FINISH, ORDER_KILL, ORDER_STOP, Queue
from pyexp.model import Task
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from pyexp.project import Project

CHECK_IN_SECONDS = 30.0
LINGER_SECONDS = 10.0


@dataclass(frozen=True)
class Started:
    """A worker that has checked in."""

    name: str
    pid: int
    log: Path


def start(project: Project, *, jobs: int = 1, slots: Sequence[str] = ()) -> list[Started]:
    """Starts workers by this interpreter's own path and returns those that have checked in.

    Raises WorkerLost, with the end of its log, when one ended before it did.
    """
    queue = Queue(project)
    logs = project.home.scratch / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    begun: list[tuple[str, subprocess.Popen[bytes], Path]] = []
    for _ in range(jobs):
        name = f"w{os.urandom(6).hex()}"
        log = logs / f"worker-{name}.log"
        argv = [sys.executable, "-m", "pyexp", "queue", "worker", "--name", name]
        for slot in slots:
            argv += ["--slots", slot]
        with durable.open_log(log) as output:
            process = subprocess.Popen(
                argv,
                cwd=project.home.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        begun.append((name, process, log))
    found = [_checked_in(queue, name, process, log) for name, process, log in begun]
    for _, process, _ in begun:
        # They are no business of ours any more: Popen must not complain that they still run.
        process.returncode = process.returncode or 0
    return found


def _checked_in(queue: Queue, name: str, process: subprocess.Popen[bytes], log: Path) -> Started:
    deadline = time.monotonic() + CHECK_IN_SECONDS
    while time.monotonic() < deadline:
        if name in queue.workers():
            return Started(name, process.pid, log)
        if process.poll() is not None:
            if process.returncode == 0:
                return Started(name, process.pid, log)  # it found nothing to do and has gone home already
            break
        time.sleep(0.02)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    raise WorkerLost(f"a worker did not start: {last[0] if last else 'it said nothing'}", hint=f"see {log}")


def stop(project: Project, *, kill: bool = False) -> list[str]:
    """Tells the workers to end: after their task, or (``kill``) now; returns their names."""
    queue = Queue(project)
    workers = queue.workers()
    for name in workers:
        queue.order(ORDER_KILL if kill else ORDER_FINISH, name)
    return workers


def kill(project: Project, names: Sequence[str], *, force: bool = False, wait_seconds: float = 30.0) -> list[Task]:
    """Ends running tasks, which then have failed; ``force`` kills the worker at once instead of asking the stage.

    Raises ExperimentError when one is not running, before any is touched, and when one does not end.
    """
    queue = Queue(project)
    tasks = []
    for name in names:
        state, task = queue.find(name)
        if state != "running":
            raise ExperimentError(f"'{name}' is not running", hint="see what is: pyexp queue status")
        tasks.append(task)
    for task in tasks:
        queue.order(ORDER_STOP, task.id)
        pid = queue.pid_of(task) if force else None
        if pid is not None:
            # Its stage dies with it; whoever looks at the queue next finds the order, and fails the task.
            with suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    deadline = time.monotonic() + wait_seconds
    pending = {task.id for task in tasks}
    while pending and time.monotonic() < deadline:
        pending &= {task.id for _, task in queue.tasks("running")}
        time.sleep(0.05)
    if pending:
        slow = next(task.name for task in tasks if task.id in pending)
        raise ExperimentError(
            f"'{slow}' was told to stop, and still runs after {wait_seconds:.0f} seconds",
            hint="kill its worker: --force; or look whether that one lives: pyexp queue status",
        )
    return tasks


def retry(project: Project, names: Sequence[str] = (), *, failed: bool = False) -> list[Task]:
    """Queues failed tasks again, at the end; raises ExperimentError for one that has not failed."""
    queue = Queue(project)
    chosen = [task for _, task in queue.tasks("failed")] if failed else []
    for name in names:
        chosen.append(queue.find(name, "failed")[1])
    fresh: dict[str, Any] = {
        "attempt": 0,
        "started": None,
        "ended": None,
        "owner": None,
        "phase": None,
        "status": None,
        "error": None,
        "metrics": {},
    }
    return [
        task for task in chosen if queue.move(task, "failed", "queued", **fresh, options={**task.options, "tried": 0})
    ]
