"""The queue: a directory of task files, claimed and moved by one atomic rename each.

    queue/arrived/<when>/                 a sweep's tasks, there all at once; whoever looks next puts them in line
    queue/queued/<when>-<id>              waiting, first in first out by name
    queue/running/<when>-<id>@<worker>    claimed: the name says by whom, in the same instant
    queue/done/<when>-<id>, queue/failed/<when>-<id>
    queue/workers/<worker>                locked by the worker while it lives
    queue/damaged/                        records that could not be read, out of the way

A worker that dies takes its lock with it; whoever looks at the queue next puts back what it held. There is no
broker and no daemon, and nothing has to be repaired by hand.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgpack

from pyexp import durable, mutex
from pyexp.errors import ExperimentError, PyexpError
from pyexp.experiments import taskrecord
from pyexp.model import Task
from pyexp.records import replace

if TYPE_CHECKING:
    from pyexp.project import Project

MAX_LOST = 3
ORDER_FINISH, ORDER_KILL, ORDER_STOP = "finish", "kill", "stop"
# Each task's captured commit has a ref of its own, so that git's gc leaves it alone.
TASK_REFS = "refs/pyexp/tasks/"
State = Literal["queued", "running", "done", "failed"]
STATES: tuple[State, ...] = ("running", "queued", "failed", "done")
# A worker on another machine is believed dead when its record has not been touched for this long.
LEASE_SECONDS = 1800.0


def log_path(project: Project, key: str) -> Path:
    """Where the output of a task (by id), or of a run in the workspace (``here-NAME``), is kept."""
    return project.home.scratch / "logs" / f"{key}.log"


def id_of(file: str) -> str:
    """The id of the task that a file of the queue is of."""
    return file.partition("-")[2].partition("@")[0]


class Queue:
    """The task files of one project."""

    def __init__(self, project: Project) -> None:
        self.directory = project.home.scratch / "queue"
        # What could not be read, for whoever wants to say so.
        self.damaged: list[str] = []

    def _files(self, state: State) -> list[str]:
        if state == "queued":
            with suppress(OSError):  # what cannot be put in line now (a read-only disk) will be
                self._line_up()
        with suppress(FileNotFoundError):
            return sorted(
                name for name in os.listdir(self.directory / state) if not name.startswith(durable.TMP_PREFIX)
            )
        return []

    def _read(self, state: State, name: str) -> Task | None:
        """A task's record; None when it is gone (somebody moved it). Raises PyexpError when it cannot be read."""
        path = self.directory / state / name
        raw = durable.read_file(path)
        if raw is None:
            return None
        try:
            return taskrecord.decode(raw, id_of(name))
        except ValueError as error:
            raise PyexpError(
                f"queue record {path} cannot be read: {error}", hint="set it aside: pyexp doctor --repair"
            ) from error

    def put(self, tasks: Sequence[Task]) -> None:
        """Adds tasks at the end, in their order: all of them with one rename, or none."""
        arrived = self.directory / "arrived"
        arrived.mkdir(parents=True, exist_ok=True)
        durable.remove_litter_directories(str(self.directory))
        writing = Path(durable.temporary_name(str(self.directory)))
        try:
            writing.mkdir()
            for task in tasks:
                taskrecord.write(writing / f"{time.time_ns():020d}-{task.id}", task)
            os.rename(writing, arrived / writing.name.removeprefix(durable.TMP_PREFIX))
        except BaseException:
            durable.remove_directory(str(writing))
            raise
        durable.sync_directory(str(arrived))
        self._line_up()

    def _line_up(self) -> None:
        """Puts those in line who have arrived."""
        queued = self.directory / "queued"
        for sweep in _entries(self.directory / "arrived"):
            if not sweep.is_dir(follow_symlinks=False):
                continue  # not ours, whatever it leads to
            queued.mkdir(exist_ok=True)
            for task in _entries(sweep.path):
                if task.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # somebody else is at it, too
                        os.rename(task.path, queued / task.name)
            durable.sync_directory(str(queued))
            with suppress(OSError):
                os.rmdir(sweep.path)

    def tasks(self, *states: State, strict: bool = False, recover: bool = True) -> list[tuple[State, Task]]:
        """Every task in the given states (default: all), oldest first in each; dead workers' tasks are put back first.

        Records that cannot be read are left out (and named in ``damaged``); with ``strict`` they raise PyexpError.
        """
        if recover:
            self.recover()
        found: list[tuple[State, Task]] = []
        for state in states or STATES:
            for name in self._files(state):
                try:
                    task = self._read(state, name)
                except PyexpError as error:
                    if strict:
                        raise
                    if str(error) not in self.damaged:
                        self.damaged.append(str(error))
                    continue
                if task is not None:
                    found.append((state, task))
        return found

    def ids(self, *states: State) -> set[str]:
        """The ids of tasks in some states, by the names of their files."""
        # Twice, so that one that moves from a state not looked at yet to one that was is seen all the same.
        files = [name for state in (*states, *states) for name in self._files(state)]
        return {id_of(name) for name in files}

    def check(self) -> Iterator[tuple[State, str, Literal["damaged", "dead"] | str]]:
        """Damaged records, running ones whose worker is dead, and those that cannot be read now, with the reason."""
        for state in STATES:
            for name in self._files(state):
                try:
                    self._read(state, name)
                except PyexpError:
                    yield state, name, "damaged"
                    continue
                except OSError as error:
                    yield state, name, f"cannot be read: {error.strerror}"
                    continue
                if state == "running" and not alive(self.directory / "workers" / name.partition("@")[2]):
                    yield state, name, "dead"

    def set_aside(self, state: State, name: str) -> Path:
        """Moves a record that cannot be read out of the way; returns where it is now."""
        place = self.directory / "damaged"
        place.mkdir(parents=True, exist_ok=True)
        target = place / f"{state}-{name}"
        with suppress(FileNotFoundError):
            os.replace(self.directory / state / name, target)
        return target

    def reserved(self) -> set[str]:
        """Names that tasks not yet finished will have."""
        return {task.name for _, task in self.tasks("queued", "running")}

    def find(self, name: str, *states: State) -> tuple[State, Task]:
        """The newest task of a name or of an id's first four or more digits; raises ExperimentError."""
        matches = [
            (state, task)
            for state, task in self.tasks(*states)
            if task.name == name or (len(name) >= 4 and task.id.startswith(name))
        ]
        if not matches:
            raise ExperimentError(f"'{name}' is not in the queue", hint="see what is: pyexp queue status")
        return max(matches, key=lambda match: match[1].created)

    def claim(self, worker: Worker) -> Claim | None:
        """Takes the oldest queued task; None when there is none."""
        self.recover()
        (self.directory / "running").mkdir(parents=True, exist_ok=True)
        for name in self._files("queued"):
            target = self.directory / "running" / f"{name}@{worker.name}"
            try:
                os.rename(self.directory / "queued" / name, target)
            except FileNotFoundError:
                continue  # another worker was faster
            try:
                task = self._read("running", target.name)
            except PyexpError:
                self.set_aside("running", target.name)
                continue
            if task is not None:
                claim = Claim(self, name, target, task)
                claim.update(started=time.time(), owner=worker.owner, phase="setup")
                return claim
        return None

    def remove(self, state: State, task: Task) -> bool:
        """Forgets a task; False when it is no longer in that state."""
        for name in self._files(state):
            if id_of(name) == task.id:
                with suppress(FileNotFoundError):
                    os.unlink(self.directory / state / name)
                    return True
        return False

    def raw(self, state: State, task: Task) -> tuple[str, bytes] | None:
        """A task's file, name and bytes, None when it has left the state."""
        for name in self._files(state):
            if id_of(name) == task.id:
                data = durable.read_file(self.directory / state / name)
                return None if data is None else (name, data)
        return None

    def put_back(self, state: State, name: str, data: bytes) -> bool:
        """Gives a task that was removed its file again; False when the queue has the task."""
        id = name.partition("-")[2]
        if any(id_of(known) == id for each in STATES for known in self._files(each)):
            return False
        (self.directory / state).mkdir(parents=True, exist_ok=True)
        durable.write_file(self.directory / state / name, data)
        return True

    def recover(self) -> list[Task]:
        """Puts back what dead workers held; a task that lost its worker three times has failed."""
        back: list[Task] = []
        dead: dict[str, bool] = {}
        for name in self._files("running"):
            base, _, worker = name.partition("@")
            if worker not in dead:
                dead[worker] = not alive(self.directory / "workers" / worker)
            if not dead[worker]:
                continue
            path = self.directory / "running" / name
            with suppress(FileNotFoundError):
                try:
                    task = self._read("running", name)
                except PyexpError:
                    continue  # ``tasks`` says so
                if task is None:
                    continue
                lost = replace(task, attempt=task.attempt + 1, owner=None)
                killed = self.ordered(ORDER_STOP, task.id)
                over = (killed or lost.attempt >= MAX_LOST) and task.result is None
                if over:
                    why = "killed" if killed else f"its worker died {lost.attempt} times (killed, or out of memory?)"
                    lost = replace(lost, ended=time.time(), error=why)
                    self.forget_order(ORDER_STOP, task.id)
                state: State = "failed" if over else "queued"
                (self.directory / state).mkdir(exist_ok=True)
                taskrecord.write(path, lost)
                os.rename(path, self.directory / state / base)
                back.append(lost)
        for worker, is_dead in dead.items():
            if is_dead:
                with suppress(FileNotFoundError):
                    os.unlink(self.directory / "workers" / worker)
        return back

    def order(self, what: str, name: str) -> None:
        """Leaves an order for a worker (finish, kill) or for whoever runs a task (stop)."""
        directory = self.directory / "orders"
        directory.mkdir(parents=True, exist_ok=True)
        durable.open_log(directory / f"{what}-{name}", append=True).close()

    def ordered(self, what: str, name: str) -> bool:
        return os.path.exists(self.directory / "orders" / f"{what}-{name}")

    def forget_order(self, what: str, name: str) -> None:
        (self.directory / "orders" / f"{what}-{name}").unlink(missing_ok=True)

    def move(self, task: Task, old: State, new: State, **changes: Any) -> bool:
        """Moves a task nobody runs from one state to another; False when it has left ``old`` meanwhile."""
        for name in self._files(old):
            if id_of(name) == task.id:
                (self.directory / new).mkdir(parents=True, exist_ok=True)
                target = self.directory / new / f"{time.time_ns():020d}-{task.id}"
                try:
                    os.rename(self.directory / old / name, target)
                except FileNotFoundError:
                    return False
                taskrecord.write(target, replace(task, **changes))
                return True
        return False

    @contextmanager
    def worker(self, name: str | None = None) -> Iterator[Worker]:
        """Checks a worker in: it is alive, for all to see, as long as the block lasts."""
        directory = self.directory / "workers"
        directory.mkdir(parents=True, exist_ok=True)
        name = name or f"{os.getpid()}-{os.urandom(6).hex()}"
        path = directory / name
        owner = {"host": socket.gethostname(), "boot": boot_id(), "pid": os.getpid(), "since": time.time()}
        with mutex.locked(path, what="a worker's mark") as fd:
            # Rewritten in place, not by rename: the lock belongs to this very file.
            with path.open("r+b") as file:
                file.write(msgpack.packb(owner))
                file.truncate()
            try:
                yield Worker(name, owner, fd)
            finally:
                path.unlink(missing_ok=True)
                for order in (ORDER_FINISH, ORDER_KILL):
                    (self.directory / "orders" / f"{order}-{name}").unlink(missing_ok=True)

    def pid_of(self, task: Task) -> int | None:
        """The process on this machine that runs a task, None when there is none.

        The record does not say: it may be from another machine, or from a stranger. The mark's lock cannot be made up.
        """
        for name in self._files("running"):
            worker = name.partition("@")[2]
            mark = self.directory / "workers" / worker
            if id_of(name) != task.id or not worker or not mutex.is_locked(mark):
                continue
            with suppress(OSError, ValueError, TypeError, KeyError, msgpack.UnpackException):
                owner = msgpack.unpackb(durable.read_file(mark) or b"")
                here = owner["host"] == socket.gethostname() and owner["boot"] == boot_id()
                return owner["pid"] if here and isinstance(owner["pid"], int) and owner["pid"] > 1 else None
        return None

    def workers(self) -> list[str]:
        """The names of living workers."""
        directory = self.directory / "workers"
        if not directory.is_dir():
            return []
        return sorted(path.name for path in directory.iterdir() if alive(path))


class Worker:
    """A checked-in worker: its name in the queue, who it is, and the descriptor its life hangs on."""

    def __init__(self, name: str, owner: dict[str, Any], fd: int) -> None:
        self.name = name
        self.owner = owner
        self.fd = fd
        self._refreshed = time.monotonic()

    def refresh(self) -> None:
        """Shows machines that cannot see the lock that the worker still lives; cheap enough to call all the time."""
        if time.monotonic() - self._refreshed > LEASE_SECONDS / 30:
            os.utime(self.fd)
            self._refreshed = time.monotonic()


class Claim:
    """A task in our hands; every change of its record and state goes through ``update`` and ``move``."""

    def __init__(self, queue: Queue, name: str, path: Path, task: Task) -> None:
        self._queue = queue
        self._name = name
        self._path = path
        self.task = task

    def update(self, **changes: Any) -> Task:
        """Changes the record, whole or not at all."""
        self.task = replace(self.task, **changes)
        taskrecord.write(self._path, self.task)
        return self.task

    def move(self, state: State, **changes: Any) -> Task:
        """The one transition: writes what is known, then renames the file to its new state."""
        self.update(**changes)
        directory = self._queue.directory / state
        directory.mkdir(parents=True, exist_ok=True)
        os.rename(self._path, directory / self._name)
        return self.task


def _entries(directory: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def alive(path: Path) -> bool:
    """Whether the worker of a mark lives: it holds the mark's lock, or refreshes it from another machine."""
    if not path.exists():
        return False
    if mutex.is_locked(path):
        return True
    try:
        owner = msgpack.unpackb(durable.read_file(path) or b"")
        elsewhere = owner["host"] != socket.gethostname()
        return bool(elsewhere and time.time() - path.stat().st_mtime < LEASE_SECONDS)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return False
    except OSError:  # nobody can tell: it is not robbed
        return True


def boot_id() -> str:
    """Tells one run of the machine from the next."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
