"""What one line of the table is: how its directory is made, what is typed, and the limit beside it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflows.space import Space

LIMITS = str(Path(__file__).resolve().parent.parent / "limits.py")
BARE = (sys.executable, "-c", "pass")


def nothing(space: Space) -> None:
    """Nothing to put back between two runs."""


@dataclass(frozen=True)
class Limit:
    """The machine's own way to do the same; runs in pyexp's directory."""

    name: str
    argv: Callable[[Space], Sequence[str]]
    reset: Callable[[Space], None] = nothing


def bare() -> Limit:
    """Starting Python: the least that any command in Python takes."""
    return Limit("bare python", lambda space: BARE)


def own(name: str, action: str, *arguments: str) -> Limit:
    """One of limits.py's actions."""
    return Limit(name, lambda space: (sys.executable, LIMITS, action, *arguments))


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    ``size`` is what grows (files, stages, experiments; megabytes for one file); 0 is for what has no size. ``smaller``
    is the size to compare with for growth: a tenth where nothing else is said. ``aim`` is how many times DVC's CPU time
    it must stay below, ``limit_aim`` how many times the limit's it may take; by wall time with ``by_wall``.
    """

    name: str
    prepare: Callable[[Space], None]
    argv: Callable[[Space], Sequence[str]]
    size: int = 0
    quick: int = 0
    smaller: int | None = None
    reset: Callable[[Space], None] = nothing
    limit: Limit | None = None
    aim: float | None = None
    limit_aim: float | None = None
    growth_aim: float | None = None
    by_wall: bool = False
    rounds: int = 5
    dvc: bool = True
    dvc_rounds: int | None = None
    dvc_argv: Callable[[Space], Sequence[str]] | None = None
    why: str = ""

    def titled(self, size: int) -> str:
        """The name with the size in it."""
        return self.name.format(n=f"{size:,}")


def typed(*argv: str) -> Callable[[Space], Sequence[str]]:
    """The tool's own command line."""
    return lambda space: (*space.tool.argv, *argv)
