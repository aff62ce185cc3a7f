"""``exp run``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from typing import BinaryIO

from pyexp import durable
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened
from pyexp.cli.repro_options import add_repro_options, repro_options
from pyexp.cli.shared_options import positive, share_new
from pyexp.errors import UsageError
from pyexp.events import Event, log_line
from pyexp.experiments import capture, run
from pyexp.experiments.taskqueue import log_path
from pyexp.formats import override
from pyexp.pipeline import repro
from pyexp.pipeline.load import path_from


def add_run(parser: ArgumentParser) -> None:
    add_repro_options(parser)
    parser.add_argument("-n", "--name", help="the experiment's name (default: exp- and five hex digits)")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="[FILE:]KEY=VALUE",
        help="set a param that exists; +KEY=VALUE adds one, ++KEY=VALUE does either, ~KEY removes one; "
        "with --queue KEY=A,B, KEY=choice(A,B) and KEY=range(START,STOP,STEP) make one experiment for each",
    )
    parser.add_argument("--queue", action="store_true", help="put the experiment into the queue instead of running it")
    parser.add_argument("--run-all", action="store_true", help="run everything that is queued")
    parser.add_argument(
        "-j",
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="how many stages, or with --run-all experiments, at a time",
    )
    parser.add_argument(
        "--slots",
        action="append",
        default=[],
        metavar="VAR=A,B",
        help="with --run-all: each running experiment gets one value of VAR for itself",
    )
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="with --queue: end the run after that time")
    parser.add_argument(
        "--retries", type=_count, default=0, metavar="N", help="with --queue: try a failed run N times more"
    )
    parser.add_argument("--temp", action="store_true", help="run beside the workspace, which stays as it is")
    parser.add_argument("-m", "--message", "-M", help="the message of the experiment's commit")
    parser.add_argument("--no-hydra", action="store_true", help="take params.yaml as it is, where Hydra is configured")
    parser.add_argument(
        "-C",
        "--copy-paths",
        action="append",
        default=[],
        metavar="PATH",
        help="copy a file that git ignores into the temporary workspace (with --temp and --queue)",
    )
    parser.set_defaults(run=_run)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"'{text}' is not a time in seconds", hint="give a number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"'{text}' is not a number of retries", hint="give a whole number from 0")
    return int(text)


def _run(args: Namespace, console: Console) -> int:
    _check(args)
    with opened(args) as where:
        if where.project.config.get("hydra.enabled") and not args.no_hydra:
            raise UsageError(
                "this project composes its params by Hydra (hydra.enabled), which pyexp does not do",
                hint="to run with params.yaml as it is: --no-hydra",
            )
        if args.run_all:
            return _run_all(where, args, console)
        console.cwd = where.cwd
        request = _request(where, args)
        if args.queue:
            return _queue(where, request, console)
        if args.dry:
            return _dry(where, request, console)
        return _here_or_beside(where, request, args, console)


def _check(args: Namespace) -> None:
    _check_combinations(args)
    if args.copy_paths and not (args.temp or args.queue):
        raise UsageError(
            "-C/--copy-paths goes with --temp or --queue", hint="a run in the workspace has the file already"
        )
    if (args.timeout or args.retries) and not args.queue:
        raise UsageError("--timeout and --retries go with --queue")
    if args.slots and not args.run_all:
        raise UsageError("--slots goes with --run-all", hint="or start workers: pyexp queue start --slots …")
    if args.temp and args.queue:
        raise UsageError("--temp and --queue exclude each other")


# What says how an experiment runs is said when it is queued.
_OF_ONE_RUN = (
    *("queue", "temp", "set_param", "name", "targets", "message", "force", "interactive", "single_item", "pipeline"),
    *("all_pipelines", "recursive", "downstream", "force_downstream", "pull", "allow_missing", "dry", "keep_going"),
    "ignore_errors",
)


def _check_combinations(args: Namespace) -> None:
    if args.run_all and any(getattr(args, name) for name in _OF_ONE_RUN):
        raise UsageError("--run-all runs what is queued, as it was queued", hint="queue first, then: exp run --run-all")
    if args.queue and args.dry:
        raise UsageError("--dry queues nothing", hint="leave out --queue to see what would run")
    if args.interactive and (args.queue or args.temp):
        raise UsageError("--interactive asks here, for a run in the workspace", hint="leave out --queue and --temp")


def _request(where: Opened, args: Namespace) -> capture.Request:
    copied = [where.project.relpath(path, args.cwd) for path in args.copy_paths]
    if args.temp or args.queue:
        configured = (where.project.config.get("exp.copy_paths") or "").split(",")
        copied += [where.project.relpath(path.strip()) for path in configured if path.strip()]
    return capture.Request(
        overrides=tuple(args.set_param),
        name=args.name,
        message=args.message,
        force=args.force,
        copy_paths=tuple(copied),
        timeout_seconds=args.timeout,
        retries=args.retries,
        options=repro_options(where, args, jobs=1 if args.run_all else args.jobs),
    )


def _here_or_beside(where: Opened, request: capture.Request, args: Namespace, console: Console) -> int:
    if args.temp:
        run.warn_untracked(where.project.require_git(), console.event)
    start = run.run_temp if args.temp else run.run
    with _Log(where, console) as log:
        around = repro.Surroundings(sink=log.output, terminal=sys.stdout.isatty())
        outcome = start(where.project, request, around, log.event, log.named)
    console.info(f"\nRan experiment(s): {outcome.name}")
    if args.temp:
        console.info(
            f"To apply the results of an experiment to your workspace run:\n\n\tpyexp exp apply {outcome.name}"
        )
    else:
        console.info("Experiment results have been applied to your workspace.")
    share_new(where, outcome.name, console)
    return 0


class _Log:
    """The user's own view of a run, and its copy that ``queue logs NAME`` shows later."""

    def __init__(self, where: Opened, console: Console) -> None:
        self._where = where
        self._console = console
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def named(self, name: str) -> None:
        path = log_path(self._where.project, f"here-{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = durable.open_log(path)
        self._copy(f"Reproducing experiment '{name}'\n".encode())
        self._console.info(f"Reproducing experiment '{name}'")

    def _copy(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)

    def output(self, data: bytes) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self._copy(data)

    def event(self, event: Event) -> None:
        line = log_line(event)
        if line:
            self._copy(line.encode("utf-8", "surrogateescape"))
        self._console.event(event)


def _dry(where: Opened, request: capture.Request, console: Console) -> int:
    """Says what would run; params are checked but not written, so their effect is told, not simulated."""
    for relpath in capture.edited_params(where.project, request.overrides, where.cwd):
        console.info(f"Would set params in {path_from(relpath, where.cwd)}")
    repro.repro(where.project, request.options, on_event=console.event)
    return 0


def _queue(where: Opened, request: capture.Request, console: Console) -> int:
    tasks = run.enqueue(where.project, request, env=_passed_env(where))
    run.warn_untracked(where.project.require_git(), console.event)
    for task in tasks:
        if task.overrides:
            by_file: dict[str, list[str]] = {}
            for text in task.overrides:
                parsed = override.parse(text)
                by_file.setdefault(parsed.file, []).append(text.removeprefix(f"{parsed.file}:"))
            console.info(f"Queueing with overrides '{by_file}'.")
        shown = task.name if task.named else task.id[:7]
        console.info(f"Queued experiment '{shown}' for future execution.")
    return 0


def _passed_env(where: Opened) -> dict[str, str]:
    """The variables of the environment that a queued run keeps from now: ``exp.pass_env``."""
    names = (where.project.config.get("exp.pass_env") or "").replace(",", " ").split()
    return {name: os.environ[name] for name in names if name in os.environ}


def _run_all(where: Opened, args: Namespace, console: Console) -> int:
    from pyexp.experiments import executors  # multiprocessing: only this command pays for it

    slots = executors.parse_slots(args.slots)
    if sys.stdout.isatty() and not console.quiet and os.environ.get("TERM") != "dumb":
        from pyexp.cli.live import LiveView

        with LiveView(console, lambda name: _metrics(where, name)) as view:
            summary = executors.run_all(where.project, jobs=args.jobs, slots=slots, on_event=view.event)
    else:
        summary = executors.run_all(where.project, jobs=args.jobs, slots=slots, on_event=console.event)
    if summary.done:
        console.info(f"\nRan experiment(s): {', '.join(summary.done)}")
        for name in summary.done:
            share_new(where, name, console)
    if summary.failed:
        names = ", ".join(summary.failed)
        console.failure(f"failed to reproduce experiment(s): {names} - see why: pyexp queue logs {summary.failed[0]}")
        return 1
    return 0


def _metrics(where: Opened, name: str) -> str:
    """An experiment's metrics in a line."""
    from pyexp.cli import tables
    from pyexp.experiments import collect
    from pyexp.formats import values

    row = collect.row_of(where.project, name)
    found = [pair for data in row.metrics.values() if isinstance(data, dict) for pair in values.flatten(data).items()]
    return ", ".join(f"{key} {tables.number(value)}" for key, value in found[:6])


COMMANDS = {"exp run": add_run}
