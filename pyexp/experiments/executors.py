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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyexp import durable, mutex
from pyexp import project as projects
from pyexp.errors import Locked, PyexpError, StageFailed, UsageError
from pyexp.events import Event, Note, OnEvent, StageEvent, TaskEvent, log_line, null
from pyexp.experiments import collect, run
from pyexp.experiments.taskqueue import ORDER_FINISH, ORDER_KILL, ORDER_STOP, TASK_REFS, Claim, Queue, Worker, log_path
from pyexp.git import refs
from pyexp.pipeline import command, repro
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from pyexp.project import Project

IDLE_SECONDS = 0.2
_MAIN = threading.Lock()


@dataclass
class Summary:
    """The names of what a pool ran, in the order they ended."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


# -- one worker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What a worker works by: its name in the queue, and slots (variable -> values) of which each run holds one.

    ``linger_seconds`` is how long it waits for more when the queue is empty.
    """

    name: str | None = None
    slots: Mapping[str, Sequence[str]] = field(default_factory=dict)
    linger_seconds: float = 0.0


def work(
    project: Project,
    on_event: OnEvent = null,
    stop: Callable[[], bool] = lambda: False,
    terms: Terms = Terms(),
) -> None:
    """Takes tasks, oldest first, until there are none or ``stop`` says so; a task that is stopped is queued again.

    While other workers still run tasks it waits: a task of one that dies must find somebody to take it.
    """
    queue = Queue(project)
    with queue.worker(terms.name) as me, run.temporary_workspace(project) as (directory, lock):
        last = time.monotonic()
        while not (stop() or queue.ordered(ORDER_FINISH, me.name) or queue.ordered(ORDER_KILL, me.name)):
            with _slot(queue, terms.slots) as slot:
                claim = queue.claim(me) if slot is not None else None
                if claim is not None and slot is not None:
                    held = (me.fd, lock, *slot.fds)
                    _Performance(project, queue, claim, me, on_event, stop).perform(directory, slot.env, held)
                    last = time.monotonic()
                    continue
            others = queue.tasks("running") or (slot is None and queue.tasks("queued"))
            if not others and time.monotonic() - last >= terms.linger_seconds:
                return
            me.refresh()
            time.sleep(IDLE_SECONDS)


@dataclass(frozen=True)
class _Slot:
    env: Mapping[str, str]
    fds: tuple[int, ...]


@contextmanager
def _slot(queue: Queue, slots: Mapping[str, Sequence[str]]) -> Iterator[_Slot | None]:
    """One free value of each variable, held for the block; None when one has none free."""
    directory = queue.directory / "slots"
    with ExitStack() as stack:
        env: dict[str, str] = {}
        fds: list[int] = []
        for variable, choices in slots.items():
            for value in choices:
                path = directory / quote(f"{variable}={value}", safe="=")
                try:
                    fds.append(stack.enter_context(mutex.locked(path, timeout=0, what="a slot")))
                except Locked:
                    continue
                env[variable] = value
                break
            else:
                yield None
                return
        yield _Slot(env, tuple(fds))


def parse_slots(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``VARIABLE=a,b`` as variable -> values; raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        variable, equals, values = text.partition("=")
        choices = tuple(value.strip() for value in values.split(",") if value.strip())
        if not equals or not variable.isidentifier() or not choices:
            raise UsageError(f"'{text}' are no slots", hint="write VARIABLE=a,b, for instance CUDA_VISIBLE_DEVICES=0,1")
        found[variable] = choices
    return found


class _Performance:
    """One task in the hands of one worker, from its first log line to its last state."""

    def __init__(
        self, project: Project, queue: Queue, claim: Claim, me: Worker, on_event: OnEvent, stop: Callable[[], bool]
    ) -> None:
        self.project = project
        self.queue = queue
        self.claim = claim
        self.me = me
        self.on_event = on_event
        self.stop = stop
        self.task = claim.task

    def told_to_stop(self) -> bool:
        """Whether this very task is to be given up: it, or its worker, has been killed by the user."""
        self.me.refresh()
        return self.queue.ordered(ORDER_STOP, self.task.id) or self.queue.ordered(ORDER_KILL, self.me.name)

    def perform(self, directory: Path, env: Mapping[str, str], hold: tuple[int, ...]) -> None:
        task = self.task
        self.on_event(TaskEvent(task.id, task.name, "running"))
        path = log_path(self.project, task.id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable.open_log(path, append=True) as log:
            write = _logger(log.write)
            write(f"== experiment '{task.name}', {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            around = repro.Surroundings(
                env={**os.environ, **env},
                sink=lambda data: (log.write(data), None)[1],
                stop=lambda: self.stop() or self.told_to_stop(),
                timeout=task.options.get("timeout"),
                stdin_null=True,
                hold=hold,
            )
            try:
                outcome = self.result(directory, around, write)
            except command.TimedOut:
                self.measure(directory)
                self.failed(write, f"took longer than {task.options.get('timeout')} seconds", None)
            except command.Cancelled:
                self.measure(directory)
                self.cancelled(write)
            except (PyexpError, OSError) as error:
                self.measure(directory)
                self.failed(write, str(error), error.status if isinstance(error, StageFailed) else None)
            except Exception as bug:
                write(traceback.format_exc())
                self.failed(write, f"unexpected error: {bug!r}", None)
            else:
                write(f"== done: {outcome.sha}\n")
                self.claim.move("done", ended=time.time(), phase=None)
                refs.delete(self.project.require_git(), TASK_REFS + task.id)
                self.on_event(TaskEvent(task.id, task.name, "done"))
        self.queue.forget_order(ORDER_STOP, task.id)

    def measure(self, directory: Path) -> None:
        """Keeps the metrics that a run which comes to nothing had written."""
        copy = self.project.workspace_copy(directory, statcache=directory.with_suffix(".statcache"))
        with suppress(PyexpError, OSError):
            self.claim.update(metrics=collect.measured(copy, self.task.commit))

    def cancelled(self, write: Callable[[str], None]) -> None:
        if self.told_to_stop():
            self.failed(write, "killed", -signal.SIGINT, again=False)
            return
        write("== stopped; queued again\n")
        self.claim.move("queued", started=None, owner=None, phase=None, metrics={})
        self.on_event(TaskEvent(self.task.id, self.task.name, "queued", "stopped"))

    def failed(self, write: Callable[[str], None], why: str, status: int | None, *, again: bool = True) -> None:
        """A failed task keeps what is known of it; with retries left it is queued again."""
        tried = int(self.task.options.get("tried") or 0)
        if again and tried < int(self.task.options.get("retries") or 0):
            write(f"== failed: {why}; will be tried again\n")
            self.claim.move("queued", started=None, owner=None, options={**self.task.options, "tried": tried + 1})
            self.on_event(TaskEvent(self.task.id, self.task.name, "queued", f"failed, will be tried again: {why}"))
            return
        write(f"== failed: {why}\n")
        self.claim.move("failed", ended=time.time(), error=why, status=status)
        self.on_event(TaskEvent(self.task.id, self.task.name, "failed", why))

    def result(self, directory: Path, around: repro.Surroundings, write: Callable[[str], None]) -> run.Outcome:
        """Runs the task, unless a worker that died had finished it already; the ref is created last."""
        task, repo = self.task, self.project.require_git()
        force = bool(task.options.get("force"))
        if task.result is not None:
            outcome = run.Outcome(task.name, task.result, task.baseline, repro.Result())
            if refs.exists(repo, outcome.ref) == task.result:
                return outcome
            return run.publish(repo, outcome, force=force)

        def tell(event: Event) -> None:
            line = log_line(event)
            if line:
                write(line)
            detail = _told(event)
            if detail:
                self.on_event(TaskEvent(task.id, task.name, "running", detail))

        def phase(name: str) -> None:
            self.claim.update(phase=name)

        outcome = run.execute(self.project, task, directory, around, tell, phase)
        self.claim.update(result=outcome.sha)
        return run.publish(repo, outcome, force=force)


def _logger(write: Callable[[bytes], object]) -> Callable[[str], None]:
    return lambda text: (write(text.encode("utf-8", "surrogateescape")), None)[1]


def _told(event: Event) -> str:
    """What the pool's user hears of a run: its stages and warnings, not its output."""
    if isinstance(event, StageEvent) and event.state in ("running", "restored"):
        verb = "stage" if event.has_cmd else "data"
        return f"{verb} '{event.stage}'{' from the cache' if event.state == 'restored' else ''}"
    return event.text if isinstance(event, Note) and event.level == "warning" else ""


# -- the pool --------------------------------------------------------------------------------------------------------


def run_all(
    project: Project, *, jobs: int = 1, slots: Mapping[str, Sequence[str]] | None = None, on_event: OnEvent = null
) -> Summary:
    """Runs everything that is queued, ``jobs`` at a time, and returns when the queue is empty.

    A KeyboardInterrupt stops the workers politely (their tasks are queued again) and is raised again; a second one
    kills them. Workers that die are replaced as long as there is something to do.
    """
    queue = Queue(project)
    summary = Summary()
    context = multiprocessing.get_context("spawn")
    workers: dict[Connection, SpawnProcess] = {}
    dead: set[int | None] = set()

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_worker_main,
            args=(str(project.home.root), project.home.user_config, theirs, Terms(slots=dict(slots or {}))),
            name="pyexp-worker",
        )
        with _without_main():
            process.start()
        theirs.close()
        workers[ours] = process

    try:
        for _ in range(min(jobs, len(queue.tasks("queued")))):
            start()
        while True:
            for ready in wait(list(workers)) if workers else ():
                assert isinstance(ready, Connection)
                dead.add(_hear(ready, workers, summary, on_event))
            tasks = queue.tasks("queued", "running")
            if any(state == "queued" for state, _ in tasks) and len(workers) < min(jobs, len(tasks)):
                start()
            elif not workers:
                # What a dead worker held is put back once the last of its processes is gone: a moment later.
                if not any(state == "running" and (task.owner or {}).get("pid") in dead for state, task in tasks):
                    break
                time.sleep(IDLE_SECONDS)
    except KeyboardInterrupt:
        _stop(workers, summary, on_event)
        raise
    finally:
        _kill(workers)
        queue.recover()
    # A worker that was killed between the end of a task and letting go of its commit.
    run.forget_orphans(project)
    return summary


def _hear(
    connection: Connection, workers: dict[Connection, SpawnProcess], summary: Summary, on_event: OnEvent
) -> int | None:
    try:
        event = connection.recv()
    except (EOFError, OSError):
        process = workers.pop(connection)
        connection.close()
        process.join()
        if process.exitcode != 0:
            on_event(Note(f"a worker ended with {process.exitcode}; its task is queued again", "warning"))
        return process.pid
    if isinstance(event, TaskEvent) and event.state in ("done", "failed"):
        (summary.done if event.state == "done" else summary.failed).append(event.name)
    on_event(event)
    return None


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


def _worker_main(root: str, user_config: Mapping[str, str], connection: Connection, terms: Terms) -> None:
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
        work(project, tell, stop, terms)
    except OSError as error:  # a full disk, or something odd where a file of ours should be: no traceback's business
        where = f": {error.filename}" if error.filename else ""
        tell(Note(f"a worker cannot go on: {error.strerror or error}{where}", "warning"))
        raise SystemExit(1) from error  # the end of a process of ours, not of the caller's
    finally:
        project.close()
        connection.close()
