"""Pipelines of many stages: nothing to do, everything to run, everything to restore."""

import sys
from functools import partial

from workflows.space import Space, shell
from workflows.workload import Limit, Workload, bare, typed


def written(space: Space) -> None:
    """A chain of ``size`` stages that copy a line of text."""
    space.init()
    stages = [
        f"  s{number}:\n    cmd: cat {_name(number - 1)} > {_name(number)}\n"
        f"    deps: [{_name(number - 1)}]\n    outs: [{_name(number)}]\n"
        for number in range(1, space.size + 1)
    ]
    space.write("dvc.yaml", "stages:\n" + "".join(stages))
    space.write(_name(0), "text\n")
    space.commit()


def _name(number: int) -> str:
    return f"t{number}.txt"


def run_once(space: Space) -> None:
    """The chain, run; by pyexp in both layouts, as DVC takes minutes for thousands of stages."""
    written(space)
    space.run(sys.executable, "-m", "pyexp", "repro", "-q")
    space.commit()


def forget_runs(space: Space, *, cache: bool) -> None:
    """No outputs and no records; with ``cache`` no results kept either."""
    outs = [_name(number) for number in range(1, space.size + 1)]
    space.forget("dvc.lock", *outs)
    if cache:
        space.forget(f"{space.tool.control}/cache")


def commands(space: Space) -> list[str]:
    """The stages' commands, each by a shell of its own."""
    return shell(*(["sh", "-c", f"cat {_name(number - 1)} > {_name(number)}"] for number in range(1, space.size + 1)))


COMMANDS = Limit("sh -c of the commands", commands)


def _no_op(size: int, aim: float, rounds: int, dvc_rounds: int, growing: bool) -> Workload:
    return Workload(
        "`repro`, nothing to do, {n} stages",
        run_once,
        typed("repro", "-q"),
        size=size,
        quick=min(size, 200),
        smaller=size // 10 if growing else size,
        limit=bare(),
        aim=aim,
        rounds=rounds,
        dvc_rounds=dvc_rounds,
    )


WORKLOADS = [
    _no_op(20, 6, 5, 5, False),
    _no_op(200, 10, 5, 3, True),
    _no_op(2_000, 10, 3, 1, True),
    Workload(
        "`repro`, {n} trivial stages to run",
        written,
        typed("repro", "-q"),
        size=20,
        quick=20,
        smaller=2,
        reset=partial(forget_runs, cache=True),
        limit=COMMANDS,
        aim=6,
    ),
    Workload(
        "`repro`, {n} stages from the stage cache",
        run_once,
        typed("repro", "-q"),
        size=20,
        quick=20,
        smaller=2,
        reset=partial(forget_runs, cache=False),
        limit=bare(),
        aim=6,
    ),
]
