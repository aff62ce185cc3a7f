"""Starting, and looking when there is nothing to do."""

import sys
from pathlib import Path

from workflows.space import Space
from workflows.workload import Limit, Workload, bare, typed

SMALL = """\
stages:
  copy:
    cmd: cat raw.txt > data.txt
    deps: [raw.txt]
    outs: [data.txt]
  train:
    cmd: "echo '{\\"loss\\": 1}' > m.json; cat data.txt > model.txt"
    deps: [data.txt]
    params: [lr, train.epochs]
    outs: [model.txt]
    metrics:
    - m.json:
        cache: false
"""


def small(space: Space) -> None:
    """A project of two stages that have run, and one experiment."""
    space.init()
    space.write("dvc.yaml", SMALL)
    space.write("params.yaml", "lr: 0.1\ntrain:\n  epochs: 3\n")
    space.write("raw.txt", "raw\n")
    space.commit()
    space.typed("repro", "-q")
    space.commit()
    space.typed("exp", "run", "-q", "-S", "lr=0.2")
    space.run("git", "checkout", "-qf", "HEAD", "--", ".")
    space.typed("checkout", "-q", "-f")


def argparse_too() -> Limit:
    """Bare Python that also imports what reads a command line."""
    return Limit("python, argparse", lambda space: (sys.executable, "-c", "import argparse"))


def imported(module: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import {module}")


def dvc_import(space: Space) -> tuple[str, ...]:
    """Importing DVC's own package for programs, by its own Python."""
    return (str(Path(space.tool.argv[0]).parent / "python"), "-c", "import dvc.api")


def empty(space: Space) -> None:
    space.root.mkdir(parents=True)


WORKLOADS = [
    Workload("`--version`", empty, typed("--version"), limit=argparse_too(), limit_aim=2, rounds=9),
    Workload("`--help`", empty, typed("--help"), limit=argparse_too(), limit_aim=2, rounds=9),
    Workload(
        "`import pyexp` (DVC: `import dvc.api`)",
        empty,
        lambda space: imported("pyexp"),
        dvc_argv=dvc_import,
        limit=bare(),
        rounds=9,
    ),
    Workload("`status`, small project", small, typed("status"), limit=bare(), aim=6, rounds=7),
    Workload("`repro`, nothing to do, small project", small, typed("repro"), limit=bare(), aim=6, rounds=7),
    Workload("`exp show`, small project", small, typed("exp", "show"), limit=bare(), aim=6, rounds=7),
]
