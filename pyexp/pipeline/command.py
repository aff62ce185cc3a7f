"""Runs a shell command: in a process group of its own, streamed, and gone when its runner is gone.

The shell is the user's (``$SHELL``, without its start-up files), as DVC has it (FORMATS.md §6.3).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.02

_KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)

Sink = Callable[[bytes], None]


class Cancelled(Exception):
    """The caller asked for the command to stop, and it has."""


def shell_argv(command: str, shell: str) -> list[str]:
    """The argv that runs ``command`` in ``shell`` without reading its start-up files."""
    name = os.path.basename(shell)
    if name == "bash":
        return [shell, "--noprofile", "--norc", "-c", command]
    if name == "zsh":
        return [shell, "--no-rcs", "-c", command]
    if name == "fish":
        return [shell, "--no-config", "-c", command]
    return [shell, "-c", command]


# Reads "+ GROUP" and "- GROUP" lines; at end of file, when whoever wrote them is gone, it kills what is left
# and waits until it is gone (not for ever: where nobody reaps orphans they stay as zombies).
_REAPER = """trap "" INT TERM HUP
g=
while read -r s p; do
  if [ "$s" = + ]; then g="$g $p"; continue; fi
  n=
  for x in $g; do [ "$x" = "$p" ] || n="$n $x"; done
  g=$n
done
for x in $g; do kill -s KILL -- "-$x"; done
for x in $g; do
  i=0
  while [ "$i" -lt 50 ] && kill -s 0 -- "-$x"; do i=$((i + 1)); sleep 0.01; done
done"""


class Reaper:
    """A tiny shell that outlives us by one moment: when we die, even by SIGKILL, it kills our commands' groups.

    It reads the groups to watch from a pipe whose other end only we hold. The descriptors in ``hold`` (locks) stay
    open in it: what they lock is not free before the last command is dead.
    """

    def __init__(self, hold: tuple[int, ...] = ()) -> None:
        self._hold = hold
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the shell run, before there is a command to watch."""
        if os.name == "nt":
            return
        with self._mutex:
            self._start()

    def watch(self, group: int) -> None:
        """Adds a process group to those to kill when we die."""
        self._tell(f"+ {group}")

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _REAPER],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=self._hold,
            )

    def forget(self, group: int) -> None:
        """Takes a process group, which has ended, from the list."""
        self._tell(f"- {group}")

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with self._mutex, suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
            self._process = None


def run(
    command: str,
    *,
    cwd: str,
    env: Mapping[str, str],
    sink: Sink | None = None,
    reaper: Reaper | None = None,
    stop: Callable[[], bool] | None = None,
    timeout: float | None = None,
    stdin_null: bool = False,
    terminal: bool = False,
) -> int:
    """Runs one shell call and returns its exit status (negative: the signal that ended it).

    With ``sink`` its output goes there in pieces as it comes; without, it inherits ours. With ``terminal`` the sink is
    fed through a pseudo-terminal, so that the command writes as it would to a person (POSIX only). ``stop`` is asked now and
    then: once it says True the group gets INT, then TERM, then KILL, and Cancelled is raised; so does a
    KeyboardInterrupt, which is raised again. Nothing of the group is left when this returns.
    """
    posix = os.name != "nt"
    argv: str | list[str] = command if not posix else shell_argv(command, env.get("SHELL") or "/bin/sh")
    if reaper is not None:
        reaper.start()
    ours, theirs = _channel(terminal and posix) if sink else (None, None)
    try:
        process = subprocess.Popen(
            argv,
            shell=not posix,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL if stdin_null else None,
            stdout=theirs,
            stderr=theirs,
            start_new_session=posix,
        )
    except BaseException:
        if ours is not None:
            os.close(ours)
        raise
    finally:
        if theirs is not None:
            os.close(theirs)
    if reaper is not None:
        reaper.watch(process.pid)
    pump = threading.Thread(target=_pump, args=(ours, sink), daemon=True) if sink else None
    if pump is not None:
        pump.start()
    try:
        _wait(process, stop, timeout)
    except BaseException:
        _end(process)
        raise
    finally:
        # What the command left running in the background ends with it: two runs must never share a directory.
        _kill_group(process, _KILL)
        if pump is not None:
            pump.join(GRACE_SECONDS)
        if ours is not None:
            os.close(ours)
        if reaper is not None:
            reaper.forget(process.pid)
    return process.returncode


class TimedOut(Cancelled):
    """The command ran for longer than it was given."""


def _wait(process: subprocess.Popen[bytes], stop: Callable[[], bool] | None, timeout: float | None) -> None:
    if stop is None and timeout is None:
        process.wait()
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.001
    while process.poll() is None:
        if stop is not None and stop():
            raise Cancelled
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOut
        time.sleep(pause)
        pause = min(pause * 2, POLL_SECONDS)


def _channel(terminal: bool) -> tuple[int, int]:
    """A pipe, or a pseudo-terminal as wide as ours: the end we read, and the end the command writes."""
    if not terminal:
        return os.pipe()
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    with suppress(OSError):
        size = fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    return ours, theirs


def _pump(source: int | None, sink: Sink | None) -> None:
    """Passes on what comes until the other end is closed (a pseudo-terminal says so by EIO)."""
    assert source is not None and sink is not None
    with suppress(OSError, ValueError):
        while data := os.read(source, 65536):
            sink(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    """INT, then TERM, then KILL, each after a grace time; a second Ctrl-C goes to KILL at once."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            _kill_group(process, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
                return
    except KeyboardInterrupt:
        pass
    finally:
        _kill_group(process, _KILL)
        process.wait()


def _kill_group(process: subprocess.Popen[bytes], number: int) -> None:
    if sys.platform == "win32":
        with suppress(OSError):
            process.terminate()
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
