"""Experiments: running one, running many, and everything that looks at a thousand of them."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from workflows.space import Space, many, shell
from workflows.workload import Limit, Workload, bare, own, typed

_values = count(2)

STAGE = """\
stages:
  train:
    cmd: |-
      {cmd}
    params: [lr]
    metrics:
    - m.json:
        cache: false
"""
TRIVIAL = "cat params.yaml > /dev/null && echo '{\"accuracy\": 1}' > m.json"


# -- running ---------------------------------------------------------------------------------------------------------


def trivial(space: Space, cmd: str = TRIVIAL) -> None:
    """A project of one stage that has run."""
    space.init()
    space.write("dvc.yaml", STAGE.format(cmd=cmd))
    space.write("params.yaml", "lr: 1\ndepth: [1, 2]\ntrain:\n  epochs: 3\n")
    space.commit()
    space.typed("repro", "-q")
    space.commit()


def beside_tracked(space: Space) -> None:
    """The same in a repository of ``size`` other tracked files."""
    trivial(space)
    many(space.root / "src", space.size, 500)
    space.commit()


def beside_ignored(space: Space) -> None:
    """The same with ``size`` files that git ignores lying around."""
    trivial(space)
    space.write(".gitignore", "/junk\n")
    space.commit()
    many(space.root / "junk", space.size, 10)


def beside_untracked(space: Space) -> None:
    """The same with ``size`` files that git does not know lying around."""
    trivial(space)
    many(space.root / "junk", space.size, 10)


def one(*options: str) -> Callable[[Space], Sequence[str]]:
    """``exp run`` with a value that no run had before."""
    return lambda space: (*space.tool.argv, "exp", "run", "-q", *options, "-S", f"lr={next(_values)}")


def queued(space: Space) -> list[str]:
    """``size`` experiments queued, then all of them run by two workers."""
    start = next(_values) * 1000
    sweep = f"lr=range({start},{start + space.size})"
    exp = [*space.tool.argv, "exp", "run", "-q"]
    return shell([*exp, "--queue", "-S", sweep], [*exp, "--run-all", "-j", "2"])


def stage_alone(cmd: str) -> Limit:
    """The stage's command by a shell."""
    return Limit("the command alone", lambda space: ("sh", "-c", cmd))


def _half_of(cmd: str) -> Limit:
    """All the commands, by two shells side by side."""

    def argv(space: Space) -> list[str]:
        half = "; ".join([cmd] * (space.size // 2))
        return ["sh", "-c", f"cd /tmp; ({half}) & ({half}); wait"]

    return Limit("the commands, two at a time", argv)


SLEEP = "sleep 0.5"


# -- looking at many -------------------------------------------------------------------------------------------------


def seeded(space: Space) -> None:
    """``size`` experiments that differ in params and metrics."""
    trivial(space)
    space.seed(str(space.size))


def seeded_and_kept(space: Space) -> None:
    seeded(space)
    space.save()


def forget_rows(space: Space) -> None:
    """Nothing of any experiment is remembered."""
    space.forget(f"{space.tool.scratch}/rows", f"{space.tool.scratch}/exps/cache")


def back_to_base(space: Space) -> None:
    space.run("git", "checkout", "-qf", "HEAD", "--", ".")


def with_data(space: Space) -> None:
    """Seeded, with a hundred tracked files and a thousand that nothing needs."""
    seeded(space)
    many(space.root / "data", 100, 100)
    many(space.root / "old", 1000, 120)
    space.typed("add", "-q", "data", "old")
    space.forget("old", "old.dvc")
    space.save()


GIT = own("for-each-ref, cat-file --batch", "experiments", ".")


def _show(
    size: int, aim_cold: float | None, aim_warm: float | None, rounds: int, dvc: bool, dvc_rounds: int
) -> list[Workload]:
    cold = Workload(
        "`exp show` of {n} experiments, first time",
        seeded,
        typed("exp", "show", "--json"),
        size=size,
        quick=min(size, 200),
        reset=forget_rows,
        limit=GIT,
        aim=aim_cold,
        rounds=rounds,
        dvc=dvc,
        dvc_rounds=dvc_rounds,
    )
    warm = Workload(
        "`exp show` of {n} experiments, again: table",
        seeded,
        typed("exp", "show"),
        size=size,
        quick=min(size, 200),
        limit=GIT,
        aim=aim_warm,
        rounds=rounds,
        dvc=dvc,
    )
    return [cold, warm]


def _beside(
    name: str,
    argv: Callable[[Space], Sequence[str]],
    *,
    aim: float = 6,
    rounds: int = 5,
    dvc_rounds: int = 3,
    why: str = "",
    prepare: Callable[[Space], None] = seeded,
    reset: Callable[[Space], None] | None = None,
) -> Workload:
    """A command beside many experiments."""
    more = {} if reset is None else {"reset": reset}
    return Workload(
        f"{name} beside {{n}} experiments",
        prepare,
        argv,
        size=1000,
        quick=200,
        limit=bare(),
        aim=aim,
        rounds=rounds,
        dvc_rounds=dvc_rounds,
        why=why,
        **more,
    )


WORKLOADS = [
    Workload("`exp run -S`, trivial stage", trivial, one(), limit=stage_alone(TRIVIAL), aim=7),
    Workload(
        "`exp run --temp -S` in a repository of {n} files",
        beside_tracked,
        one("--temp"),
        size=5_000,
        quick=1_000,
        limit=Limit("git status", lambda space: ("git", "status", "--porcelain")),
        aim=20,
        rounds=3,
        dvc_rounds=2,
        why="Three looks at each file: the workspace, the warm copy before the run and after it, 6 µs each; 0.12 s is"
        " starting, the stage, and writing the experiment.",
    ),
    *(
        Workload(
            f"`exp run -S` beside {{n}} {kind} files (growth: over none)",
            prepare,
            one(),
            size=300_000,
            quick=10_000,
            smaller=0,
            limit=Limit("git status", lambda space: ("git", "status", "--porcelain")),
            growth_aim=1.1,
            rounds=3,
            dvc_rounds=1,
        )
        for kind, prepare in (("ignored", beside_ignored), ("untracked", beside_untracked))
    ),
    Workload(
        "queue {n} trivial experiments and `--run-all -j 2`",
        trivial,
        queued,
        size=20,
        quick=6,
        smaller=2,
        limit=_half_of(TRIVIAL),
        aim=20,
        rounds=3,
        dvc_rounds=1,
    ),
    Workload(
        "queue {n} experiments of 0.5 s and `--run-all -j 2`",
        partial(trivial, cmd=f"{SLEEP} && {TRIVIAL}"),
        queued,
        size=20,
        quick=6,
        smaller=2,
        limit=_half_of(SLEEP),
        limit_aim=1.11,
        by_wall=True,
        rounds=1,
        dvc=False,
        why="0.16 s to queue them, 0.27 s until two fresh interpreters work, 18 ms a task between two stages.",
    ),
    *_show(10, None, None, 3, True, 3),
    *_show(100, None, None, 3, True, 2),
    *_show(1_000, 30, 6, 3, True, 1),
    *_show(10_000, None, None, 1, False, 0),
    _beside("`exp list`", typed("exp", "list")),
    _beside(
        "`exp diff`",
        typed("exp", "diff", "e1", "e2"),
        why="Starting Python and loading YAML's, git's and msgpack's readers is 0.07 of it; DVC loads more, but reads as little.",
    ),
    _beside(
        "`exp apply`",
        typed("exp", "apply", "-q", "e7"),
        reset=back_to_base,
        why="Loading code is most of it: dvc.yaml has a new date after the reset, so YAML is parsed, and git's settings are"
        " read by dulwich; the apply itself is 10 ms.",
    ),
    _beside(
        "`exp remove -A`",
        typed("exp", "remove", "-q", "-A"),
        prepare=seeded_and_kept,
        reset=Space.restore,
        why="Each ref is locked, read, deleted and unlocked as git does it, and noted for exp undo first: 0.1 ms each.",
    ),
    _beside(
        "`gc --all-experiments`",
        typed("gc", "-q", "--all-experiments", "-f"),
        aim=30,
        prepare=with_data,
        reset=Space.restore,
        dvc_rounds=1,
    ),
]
