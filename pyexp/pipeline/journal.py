"""Writes the records of stages into their dvc.lock files while a run goes on: soon, but not once for each stage.

A lock file is written whole, so that writing it after each of many short stages would cost the square of their number.
A record waits for at most a second. A run that is killed within that second has lost nothing: the stage cache was
written before, and gives the result back without running the stage again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyexp.model import StageLock, StageSpec
from pyexp.pipeline import record

if TYPE_CHECKING:
    from pyexp.project import Project

WAIT_SECONDS = 1.0


class Journal:
    """Records on their way to their files; ``mutex`` is held by whoever calls, and taken by its own thread."""

    def __init__(self, project: Project, mutex: threading.Lock, wrote: Callable[[list[str]], None]) -> None:
        self._project = project
        self._mutex = mutex
        self._wrote = wrote
        self._waiting: dict[str, tuple[StageSpec, StageLock]] = {}
        self._timer: threading.Timer | None = None

    def add(self, stage: StageSpec, lock: StageLock, *, at_once: bool) -> None:
        """Takes a record; ``at_once`` is for stages whose result nothing else keeps."""
        self._waiting[stage.address] = (stage, lock)
        if at_once:
            self.flush()
        elif self._timer is None:
            self._timer = threading.Timer(WAIT_SECONDS, self._later)
            self._timer.daemon = True
            self._timer.start()

    def _later(self) -> None:
        with self._mutex:
            try:
                self.flush()
            except Exception:
                # The run's own thread will meet the same error when it flushes, and can raise it.
                self._timer = None

    def flush(self) -> None:
        """Writes what waits; raises OSError or FormatError, and then still has it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            written = record.write(self._project, list(self._waiting.values()))
            self._waiting.clear()
            self._wrote(written)
