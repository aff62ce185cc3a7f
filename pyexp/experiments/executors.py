"""Runs what is queued: a pool of spawned processes, each with a warm workspace of its own.

The pool only starts workers, passes on what they tell, and replaces those that die; which task is whose is decided in
the queue (taskqueue.py), so any number of pools and workers may share one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyexp import project as projects
from pyexp.errors import PyexpError, StageFailed
from pyexp.events import Event, Note, OnEvent, Output, StageEvent, TaskEvent, null
from pyexp.experiments import run
from pyexp.experiments.taskqueue import Claim, Queue
from pyexp.git import refs
from pyexp.model import ExpRef, Task
from pyexp.pipeline import command, repro

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from pyexp.project import Project

_MAIN = threading.Lock()


@dataclass
class Summary:
    """The names of what a pool ran, in the order they ended."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def log_path(project: Project, task_id: str) -> Path:
    """Where a task's output is kept, from its first set-up line to its last."""
    return project.home.scratch / "logs" / f"{task_id}.log"


# -- one worker ------------------------------------------------------------------------------------------------------


def work(project: Project, on_event: OnEvent = null, stop: Callable[[], bool] = lambda: False) -> None:
    """Takes tasks, oldest first, until there are none or ``stop`` says so; a task that is stopped is queued again."""
    queue = Queue(project)
    with queue.worker() as me, run.temporary_workspace(project) as directory:
        while not stop():
            claim = queue.claim(me)
            if claim is None:
                return
            _perform(project, claim, directory, on_event, stop)


def _perform(project: Project, claim: Claim, directory: Path, on_event: OnEvent, stop: Callable[[], bool]) -> None:
    task = claim.task
    on_event(TaskEvent(task.id, task.name, "running"))
    path = log_path(project, task.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as log:
        write = _logger(log.write)
        write(f"== experiment '{task.name}', attempt {task.attempt + 1}: {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        try:
            outcome = _result(project, claim, directory, log.write, write, on_event, stop)
        except command.TimedOut:
            _failed(claim, write, on_event, "took longer than its timeout", None)
        except command.Cancelled:
            write("== stopped; queued again\n")
            claim.move("queued", started=None, owner=None, phase=None)
            on_event(TaskEvent(task.id, task.name, "queued", "stopped"))
        except (PyexpError, OSError) as error:
            status = error.status if isinstance(error, StageFailed) else None
            _failed(claim, write, on_event, str(error), status)
        except Exception as bug:
            write(traceback.format_exc())
            _failed(claim, write, on_event, f"unexpected error: {bug!r}", None)
        else:
            write(f"== done: {outcome.sha}\n")
            claim.move("done", ended=time.time(), phase=None)
            refs.delete(project.require_git(), run.TASK_REFS + task.id)
            on_event(TaskEvent(task.id, task.name, "done"))


def _logger(write: Callable[[bytes], object]) -> Callable[[str], None]:
    return lambda text: (write(text.encode("utf-8", "surrogateescape")), None)[1]


def _failed(
    claim: Claim, write: Callable[[str], None], on_event: OnEvent, why: str, status: int | None
) -> None:
    write(f"== failed: {why}\n")
    claim.move("failed", ended=time.time(), error=why, status=status)
    on_event(TaskEvent(claim.task.id, claim.task.name, "failed", why))


def _result(
    project: Project,
    claim: Claim,
    directory: Path,
    sink: Callable[[bytes], object],
    write: Callable[[str], None],
    on_event: OnEvent,
    stop: Callable[[], bool],
) -> run.Outcome:
    """Runs the task, unless a worker that died had finished it already; the ref is created last."""
    task, repo = claim.task, project.require_git()
    force = bool(task.options.get("force_name"))
    if task.result is not None:
        outcome = run.Outcome(task.name, task.result, task.baseline, repro.Result())
        if refs.exists(repo, outcome.ref) == task.result:
            return outcome
        return run.publish(repo, outcome, force=force)

    def tell(event: Event) -> None:
        line = _log_line(event)
        if line:
            write(line)
        if not isinstance(event, Output):
            on_event(event)

    around = repro.Surroundings(
        sink=lambda data: (sink(data), None)[1],
        stop=stop,
        timeout=task.options.get("timeout"),
        stdin_null=True,
    )
    outcome = run.execute(project, task, directory, around, tell, lambda phase: (claim.update(phase=phase), None)[1])
    claim.update(result=outcome.sha)
    return run.publish(repo, outcome, force=force)


def _log_line(event: Event) -> str | None:
    if isinstance(event, StageEvent):
        commands = "".join(f"> {line}\n" for line in event.cmd) if event.state == "running" else ""
        return f"-- stage '{event.stage}': {event.state}\n{commands}"
    if isinstance(event, Note):
        return f"-- {event.text}\n"
    return None


# -- the pool --------------------------------------------------------------------------------------------------------


def run_all(project: Project, *, jobs: int = 1, on_event: OnEvent = null) -> Summary:
    """Runs everything that is queued, ``jobs`` at a time, and returns when the queue is empty.

    A KeyboardInterrupt stops the workers politely (their tasks are queued again) and is raised again; a second one
    kills them. Workers that die are replaced as long as there is something to do.
    """
    queue = Queue(project)
    summary = Summary()
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, SpawnProcess] = {}

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_worker_main,
            args=(str(project.home.root), project.home._user_config, theirs),
            name="pyexp-worker",
        )
        with _without_main():
            process.start()
        theirs.close()
        workers[ours] = process

    waiting = len(queue.tasks("queued"))
    try:
        for _ in range(min(jobs, waiting)):
            start()
        while workers:
            for ready in wait(list(workers)):
                assert isinstance(ready, Connection)
                _hear(ready, workers, summary, on_event)
            if len(workers) < jobs and len(queue.tasks("queued")) > 0 and _should_replace(queue, workers):
                start()
    except KeyboardInterrupt:
        _stop(workers, summary, on_event)
        raise
    finally:
        _kill(workers)
        queue.recover()
    return summary


def _should_replace(queue: Queue, workers: Mapping[Connection, SpawnProcess]) -> bool:
    """New workers are started for tasks that nobody is left to take: those of workers that died."""
    return len(workers) < len(queue.tasks("queued", "running"))


def _hear(
    connection: Connection, workers: dict[Connection, SpawnProcess], summary: Summary, on_event: OnEvent
) -> None:
    try:
        event = connection.recv()
    except (EOFError, OSError):
        process = workers.pop(connection)
        connection.close()
        process.join()
        if process.exitcode != 0:
            on_event(Note(f"a worker ended with {process.exitcode}; its task is queued again", "warning"))
        return
    if isinstance(event, TaskEvent) and event.state in ("done", "failed"):
        (summary.done if event.state == "done" else summary.failed).append(event.name)
    on_event(event)


def _stop(workers: dict[Connection, SpawnProcess], summary: Summary, on_event: OnEvent) -> None:
    for connection in workers:
        with suppress(OSError):
            connection.send("stop")
    while workers:
        for ready in wait(list(workers)):
            assert isinstance(ready, Connection)
            _hear(ready, workers, summary, on_event)


def _kill(workers: dict[Connection, SpawnProcess]) -> None:
    for connection, process in list(workers.items()):
        process.kill()
        process.join()
        connection.close()
    workers.clear()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keeps a spawned worker from importing the caller's ``__main__``.

    It needs nothing from there, and a script or notebook without an import guard would start itself again.
    """
    with _MAIN:
        main: Any = sys.modules["__main__"]
        saved = {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
        main.__spec__ = None
        try:
            yield
        finally:
            main.__dict__.update(saved)


def _worker_main(root: str, user_config: Mapping[str, str], connection: Connection) -> None:
    """A worker process: the terminal's Ctrl-C is the pool's business, a dead pool ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def stop() -> bool:
        return os.getppid() != parent or connection.poll()

    def tell(event: Event) -> None:
        with suppress(OSError):
            connection.send(event)

    project = projects.find(root, user_config=user_config)
    try:
        work(project, tell, stop)
    finally:
        project.close()
        connection.close()


def forget(project: Project, state: str, task: Task) -> bool:
    """Removes a task's record, log and captured files; a finished experiment stays."""
    from pyexp.experiments.taskqueue import STATES

    known = next(name for name in STATES if name == state)
    if not Queue(project).remove(known, task):
        return False
    with suppress(FileNotFoundError):
        log_path(project, task.id).unlink()
    repo = project.require_git()
    if refs.exists(repo, run.TASK_REFS + task.id) is not None:
        refs.delete(repo, run.TASK_REFS + task.id)
    return True


def finished(task: Task) -> ExpRef | None:
    """The experiment a done task made."""
    return None if task.result is None else ExpRef(task.baseline, task.name, task.result)
