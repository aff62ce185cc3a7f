"""What a pool does, while it does it: on a terminal one line for each running experiment, else plain lines.

The view is redrawn in place on stdout: task, stage, time so far. What has ended scrolls away above it, with its metrics.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable

from pyexp.cli.console import Console
from pyexp.events import Event, TaskEvent
from pyexp.paths import printable
from pyexp.records import dataclass

REDRAW_SECONDS = 0.5


@dataclass
class _Running:
    name: str
    since: float
    doing: str = "starting"


class LiveView:
    """An event sink with a picture; a context manager, so that the picture is gone when the pool is."""

    def __init__(self, console: Console, result: Callable[[str], str]) -> None:
        self._console = console
        self._result = result
        self._running: dict[str, _Running] = {}
        self._drawn = 0
        self._mutex = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> LiveView:
        self._clock.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._clock.join()
        with self._mutex:
            self._erase()

    def _tick(self) -> None:
        while not self._over.wait(REDRAW_SECONDS):
            with self._mutex:
                self._erase()
                self._draw()

    def event(self, event: Event) -> None:
        with self._mutex:
            self._erase()
            if isinstance(event, TaskEvent):
                self._task(event)
            else:
                self._console.event(event)
            self._draw()

    def _task(self, event: TaskEvent) -> None:
        if event.state == "running":
            known = self._running.setdefault(event.task, _Running(event.name, time.monotonic()))
            known.doing = event.detail or known.doing
            return
        known = self._running.pop(event.task, _Running(event.name, time.monotonic()))
        seconds = time.monotonic() - known.since
        detail = self._result(event.name) if event.state == "done" else event.detail
        self._console.info(f"[{event.name}] {event.state} after {_elapsed(seconds)}{f': {detail}' if detail else ''}")

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        now = time.monotonic()
        for known in self._running.values():
            line = f"  {known.name}  {_elapsed(now - known.since)}  {printable(known.doing)}"
            sys.stdout.write(f"{line[:width]}\n")
        self._drawn = len(self._running)
        sys.stdout.flush()


def _elapsed(seconds: float) -> str:
    """A time for a person: ``8s``, ``3m05s``, ``2h10m``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
