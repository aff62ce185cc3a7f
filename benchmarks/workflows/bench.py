"""Measures one workload: prepares a directory for each side, runs them in turn, and takes medians."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workflows import measure
from workflows.measure import Cost
from workflows.space import PYEXP, Space, Tool, environment, remove
from workflows.workload import Workload, nothing


@dataclass
class Result:
    """Medians of one workload; None for a side that was not run."""

    workload: Workload
    size: int
    pyexp: Cost
    dvc: Cost | None = None
    limit: Cost | None = None
    smaller: Cost | None = None


@dataclass
class _Side:
    """One of what is run in turn."""

    reset: Callable[[], None]
    run: Callable[[], Cost]
    rounds: int
    costs: list[Cost] = field(default_factory=list)


def bench(workload: Workload, dvc: Tool | None, *, quick: bool, top: Path) -> Result:
    """Prepares, measures and cleans up; raises measure.Failed when a command fails."""
    size = workload.quick if quick else workload.size
    rounds = min(workload.rounds, 3) if quick else workload.rounds
    with tempfile.TemporaryDirectory(dir=top, prefix="w") as directory:
        ours = _space(workload, PYEXP, Path(directory) / "pyexp", size)
        sides = {"pyexp": _tool_side(workload, ours, rounds)}
        if dvc is not None and workload.dvc:
            theirs = _space(workload, dvc, Path(directory) / "dvc", size)
            dvc_rounds = workload.dvc_rounds or rounds
            sides["dvc"] = _tool_side(workload, theirs, min(rounds, dvc_rounds))
        if workload.limit is not None:
            sides["limit"] = _limit_side(workload, ours, rounds)
        smaller = size // 10 if workload.smaller is None else workload.smaller
        if size and smaller < size:
            less = _space(workload, PYEXP, Path(directory) / "less", smaller)
            sides["smaller"] = _tool_side(workload, less, min(rounds, 3))
        _in_turn(list(sides.values()))
        medians = {name: measure.median(side.costs) for name, side in sides.items()}
        for path in Path(directory).iterdir():
            remove(path)
    return Result(workload, size, **medians)


def _space(workload: Workload, tool: Tool, root: Path, size: int) -> Space:
    space = Space(tool, root / "project", size, environment(root / "home"))
    workload.prepare(space)
    return space


def _tool_side(workload: Workload, space: Space, rounds: int) -> _Side:
    argv = workload.argv
    if space.tool is not PYEXP and workload.dvc_argv is not None:
        argv = workload.dvc_argv
    side = _Side(
        lambda: workload.reset(space),
        lambda: measure.run(argv(space), cwd=str(space.root), env=space.env),
        rounds,
    )
    if workload.reset is nothing:
        side.run()  # what looks twice is measured the second time
    return side


def _limit_side(workload: Workload, space: Space, rounds: int) -> _Side:
    limit = workload.limit
    assert limit is not None
    return _Side(
        lambda: limit.reset(space),
        lambda: measure.run(limit.argv(space), cwd=str(space.root), env=space.env),
        rounds,
    )


def _in_turn(sides: list[_Side]) -> None:
    """A B C A B C …: whatever else the machine does, it does to all of them."""
    for number in range(max(side.rounds for side in sides)):
        for side in sides:
            if number < side.rounds:
                side.reset()
                side.costs.append(side.run())
