"""What the user sees: results on stdout, warnings, errors and progress on stderr, events as lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from pyexp.errors import PyexpError
from pyexp.events import Event, Note, Output, Progress, StageEvent, TaskEvent
from pyexp.paths import inert, printable

BAR_AFTER_SECONDS = 1.0
BAR_EVERY_SECONDS = 0.1


class Console:
    """Writes for a person or a pipe; ``quiet`` leaves out everything that was not asked for."""

    def __init__(self) -> None:
        self.quiet = False
        self.verbose = 0
        # Where in the project the user stands (a relpath): stages have the names they are called by there.
        self.cwd = ""
        self._said_stage = False
        self._bar_since: float | None = None
        self._bar_last = 0.0
        self._bar_width = 0
        self._partial: dict[str, bytes] = {}

    # -- lines --------------------------------------------------------------------------------------------------

    def out(self, text: str) -> None:
        """What the command was asked for: printed even when quiet."""
        self.raw(inert(text))

    def raw(self, text: str) -> None:
        """As ``out``, for what must reach a file or pipe as it is: patches, the output of the user's own commands."""
        self._clear_bar()
        sys.stdout.write(f"{text}\n")

    def info(self, text: str = "") -> None:
        """What the command did."""
        if not self.quiet:
            self.out(text)
            sys.stdout.flush()

    def warn(self, text: str) -> None:
        self._clear_bar()
        sys.stdout.flush()
        sys.stderr.write(f"WARNING: {_one_line(text)}\n")

    def failure(self, text: str, error: BaseException | None = None) -> None:
        self._clear_bar()
        try:
            sys.stdout.flush()
        except OSError:
            pass
        sys.stderr.write(f"ERROR: {_one_line(text)}\n")
        if error is not None and self.verbose >= 2:
            self._traceback(error)

    def error(self, error: PyexpError) -> None:
        """One line: what is wrong, where, and what to do."""
        text = str(error)
        self.failure(f"{text} - {error.hint}" if error.hint else text, error)

    def bug(self, error: BaseException) -> int:
        """An error nobody expected: exit code 255."""
        self.failure(f"unexpected error - {type(error).__name__}: {error} (a bug in pyexp; -vv shows where)", error)
        return 255

    @staticmethod
    def _traceback(error: BaseException) -> None:
        import traceback

        traceback.print_exception(error, file=sys.stderr)

    def confirm(self, question: str, *, default: bool) -> bool:
        """Asks a person; where nobody can answer, ``default`` holds."""
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return default
        self._clear_bar()
        try:
            return input(f"{question} [y/n]: ").strip().lower() in ("y", "yes")
        except EOFError:
            return False

    # -- events -------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """The sink of a command that runs in the foreground."""
        if isinstance(event, StageEvent):
            self._stage(event)
        elif isinstance(event, Note):
            if event.level == "warning":
                self.warn(event.text)
            elif event.level == "info" or self.verbose:
                self.info(event.text)
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, TaskEvent):
            self.info(f"[{event.name}] {event.state}{f': {event.detail}' if event.detail else ''}")
        elif isinstance(event, Output):
            self._output(event)

    def _name(self, address: str) -> str:
        if self.cwd:
            from pyexp.pipeline.load import seen_from  # whoever stands in a pipeline has loaded it

            address = seen_from(address, self.cwd)
        return printable(address)

    def _output(self, event: Output) -> None:
        """What one of several commands wrote, in whole lines that say whose they are."""
        *lines, rest = (self._partial.pop(event.stage, b"") + event.data).split(b"\n")
        self._partial[event.stage] = rest
        self._said(event.stage, lines)

    def _end_of(self, stage: str) -> None:
        rest = self._partial.pop(stage, b"")
        self._said(stage, [rest] if rest else [])

    def _said(self, stage: str, lines: Sequence[bytes]) -> None:
        if not self.quiet:
            for line in lines:
                self.raw(f"[{self._name(stage)}] {line.decode('utf-8', 'replace')}")
            sys.stdout.flush()

    def _stage(self, event: StageEvent) -> None:
        what = "Stage" if event.has_cmd else "Data"
        if event.state in ("done", "failed"):
            self._end_of(event.stage)
        name = self._name(event.stage)
        if event.state == "clean":
            self.info(f"{what} '{name}' didn't change, skipping")
        elif event.state == "frozen":
            self.info(f"Stage '{name}' is frozen, skipping")
        elif event.state == "restored":
            if event.has_cmd:
                self._gap()
                self.info(f"Stage '{name}' is cached - skipping run, checking out outputs")
            else:
                self.info(f"Data '{name}' is brought back from the cache")
        elif event.state in ("running", "would-run"):
            self._gap()
            verb = "Running" if event.state == "running" else "Would run"
            self.info(f"{verb} {what.lower()} '{name}':")
            for line in event.cmd:
                self.info(f"> {printable(line) if chr(10) not in line else line}")
            if event.reasons and (self.verbose or event.state == "would-run"):
                self.info(f"  because {', '.join(event.reasons)}")
        elif event.state == "done" and not event.has_cmd:
            self.info(f"Data '{name}' changed, recording it")

    def _gap(self) -> None:
        """A blank line between two stages that do something."""
        if self._said_stage:
            self.info()
        self._said_stage = True

    # -- progress -----------------------------------------------------------------------------------------------

    def _progress(self, event: Progress) -> None:
        if self.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        now = time.monotonic()
        if self._bar_since is None:
            self._bar_since = now
        if now - self._bar_since < BAR_AFTER_SECONDS or now - self._bar_last < BAR_EVERY_SECONDS:
            return
        self._bar_last = now
        total = f"/{_amount(event.total, event.unit)}" if event.total is not None else ""
        text = f"{event.what} {_amount(event.done, event.unit)}{total}"[:78]
        sys.stderr.write(f"\r{text}{' ' * max(0, self._bar_width - len(text))}")
        sys.stderr.flush()
        self._bar_width = len(text)

    def _clear_bar(self) -> None:
        if self._bar_width:
            sys.stderr.write(f"\r{' ' * self._bar_width}\r")
            sys.stderr.flush()
            self._bar_width = 0
        self._bar_since = None

    def close(self) -> None:
        self._clear_bar()


def _one_line(text: str) -> str:
    return printable(" ".join(text.splitlines()))


def _amount(number: int, unit: str) -> str:
    return size(number) if unit == "bytes" else f"{number:,} {unit}"


def size(number: float) -> str:
    """A number of bytes for a person: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
