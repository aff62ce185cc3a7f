"""What happened, as records: the library tells its caller, and only the command line turns it into text.

Every verb takes ``on_event``, a callable that gets one record at a time, in the order things happen, in the thread
that does the work. It must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

from pyexp.records import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the user: ``level`` says how much it matters."""

    text: str
    level: Literal["info", "warning", "debug"] = "info"


@dataclass(frozen=True, slots=True)
class StageEvent:
    """A stage has been looked at, started, restored, finished or given up."""

    stage: str
    state: Literal["clean", "frozen", "running", "restored", "done", "failed", "skipped", "would-run"]
    reasons: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    has_cmd: bool = True


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes a stage's command wrote (stdout and stderr, as they came)."""

    stage: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work is; ``total`` is None while it is unknown."""

    what: str
    done: int
    total: int | None
    unit: Literal["files", "bytes", "objects", "experiments"] = "files"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """A queued experiment was taken, finished, failed or put back."""

    task: str
    name: str
    state: Literal["running", "done", "failed", "queued"]
    detail: str = ""


Event: TypeAlias = Note | StageEvent | Output | Progress | TaskEvent
OnEvent: TypeAlias = Callable[[Event], None]


class Ask(Protocol):
    """Asks the user for something, and gives the answer; what is not ``shown`` is typed unseen."""

    def __call__(self, what: str, *, shown: bool = False) -> str: ...


def null(event: Event) -> None:
    """Ignores the event: the sink used when the caller gave none."""


def log_line(event: Event) -> str | None:
    """What a run's log says of an event, None for nothing."""
    if isinstance(event, StageEvent):
        commands = "".join(f"> {line}\n" for line in event.cmd) if event.state == "running" else ""
        return f"-- {'stage' if event.has_cmd else 'data'} '{event.stage}': {event.state}\n{commands}"
    if isinstance(event, Note):
        return f"-- {event.text}\n"
    return None
