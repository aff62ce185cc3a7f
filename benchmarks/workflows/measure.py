"""Runs a command and says what it and everything it started took."""

import ctypes
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_SET_CHILD_SUBREAPER = 36
_LINGER_SECONDS = 30.0
_HANGS_SECONDS = 240


class Failed(Exception):
    """A measured command ended with an error."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user + system), wall seconds and the peak memory of the largest process."""

    cpu: float
    wall: float
    peak_mb: float


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
    )


def adopt_orphans() -> None:
    """Makes what a command leaves running in the background (DVC's queue workers) a child of ours when it detaches."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(argv: Sequence[str], *, cwd: str, env: Mapping[str, str]) -> Cost:
    """Runs a command to its end. CPU seconds include everything that it started, background processes too."""
    with tempfile.TemporaryFile() as said, open(os.devnull, "r+b") as null:
        start = time.perf_counter()
        actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), 0), (os.POSIX_SPAWN_DUP2, null.fileno(), 1)]
        actions.append((os.POSIX_SPAWN_DUP2, said.fileno(), 2))
        # A shell changes directory, because posix_spawn cannot; it replaces itself with the command.
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', cwd, *argv]
        pid = os.posix_spawnp("sh", shell, dict(env), file_actions=actions, setpgroup=0)
        _, status, used = _wait(pid)
        wall = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status) != 0:
            said.seek(0)
            raise Failed(f"{' '.join(argv)}: {said.read().decode(errors='replace')[-2000:]}")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss
    for _, _, other in _orphans():
        cpu, peak = cpu + other.ru_utime + other.ru_stime, max(peak, other.ru_maxrss)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Cost(cpu, wall, peak / unit)


def _wait(pid: int) -> tuple[int, int, resource.struct_rusage]:
    """Waits for a command; one that hangs is ended, and counts as failed."""
    signal.signal(signal.SIGALRM, lambda number, frame: os.killpg(pid, signal.SIGKILL))
    signal.alarm(_HANGS_SECONDS)
    try:
        return os.wait4(pid, 0)
    finally:
        signal.alarm(0)


# Servers that workloads need: no command's orphans.
OURS: set[int] = set()


def _only_ours_left() -> bool:
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:
            return OURS.issuperset(map(int, file.read().split()))
    except OSError:
        return False


def _orphans() -> Iterator[tuple[int, int, resource.struct_rusage]]:
    """Reaps what a command left behind, for as long as it takes to end by itself (within reason)."""
    until = time.monotonic() + _LINGER_SECONDS
    while time.monotonic() < until:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            yield pid, status, used
        elif _only_ours_left():
            return
        else:
            time.sleep(0.1)
