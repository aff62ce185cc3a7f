"""``queue``: looking after queued experiments and the workers that run them."""

from __future__ import annotations

import codecs
import os
import sys
import time
from argparse import ArgumentParser, Namespace

from pyexp import durable
from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import opened
from pyexp.cli.shared_options import positive
from pyexp.errors import ExperimentError, UsageError
from pyexp.experiments import detached, executors, run
from pyexp.experiments.taskqueue import Queue, State, log_path
from pyexp.objects.hashes import open_regular
from pyexp.records import asdict

FOLLOW_SECONDS = 0.2
LABELS: dict[State, str] = {"running": "Running", "queued": "Queued", "failed": "Failed", "done": "Success"}


def add_status(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_status)


def _status(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        queue = Queue(where.project)
        tasks, workers = queue.tasks(), queue.workers()
    for damaged in queue.damaged:
        console.warn(f"{damaged} - set it aside: pyexp doctor --repair")
    if args.json:
        data = [{"state": LABELS[state], **asdict(task)} for state, task in tasks]
        console.out(tables.to_json({"tasks": data, "workers": len(workers)}))
        return 0
    if not tasks:
        console.out("No experiment tasks in the queue.")
    else:
        rows = [[task.id[:7], task.name, tables.created(int(task.created)), LABELS[state]] for state, task in tasks]
        console.out(tables.columns(["Task", "Name", "Created", "Status"], rows))
    busy = sum(1 for state, _ in tasks if state == "running")
    console.out(f"\nWorker status: {busy} active, {max(0, len(workers) - busy)} idle")
    return 0


def add_logs(parser: ArgumentParser) -> None:
    parser.add_argument("task", help="a task's name or id")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the task has ended")
    parser.add_argument("-e", "--encoding", default="utf-8", help="the output's encoding (default: utf-8)")
    parser.set_defaults(run=_logs)


def _logs(args: Namespace, console: Console) -> int:
    try:
        codecs.lookup(args.encoding)
    except LookupError:
        raise UsageError(f"unknown encoding '{args.encoding}'", hint="for instance: utf-8, latin-1") from None
    with opened(args) as where:
        queue = Queue(where.project)
        here = log_path(where.project, f"here-{args.task}")
        try:
            state, task = queue.find(args.task)
        except ExperimentError:
            if not here.exists():
                raise
            sys.stdout.write((durable.read_file(here) or b"").decode(args.encoding, "replace"))
            return 0
        path = log_path(where.project, task.id)
        if not path.exists() and not args.follow:
            raise ExperimentError(
                f"'{args.task}' has no output yet, it is {LABELS[state].lower()}",
                hint="run it: pyexp exp run --run-all, or pyexp queue start",
            )
        decoder = codecs.getincrementaldecoder(args.encoding)("replace")
        at = 0
        while True:
            state = queue.find(task.id)[0]
            if path.exists():
                with os.fdopen(open_regular(str(path))[0], "rb") as log:
                    log.seek(at)
                    data = log.read()
                at += len(data)
                sys.stdout.write(decoder.decode(data))
                sys.stdout.flush()
            if not args.follow or state in ("done", "failed"):
                return 0
            time.sleep(FOLLOW_SECONDS)


def add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("task", nargs="*", help="names or ids of tasks")
    for name in ("queued", "success", "failed", "all"):
        parser.add_argument(
            f"--{name}", action="store_true", help=f"{name} tasks" if name != "all" else "all but running"
        )
    parser.set_defaults(run=_remove)


def _remove(args: Namespace, console: Console) -> int:
    groups: dict[str, tuple[State, ...]] = {
        "queued": ("queued",),
        "success": ("done",),
        "failed": ("failed",),
        "all": ("queued", "failed", "done"),
    }
    states = [state for name, found in groups.items() if getattr(args, name) for state in found]
    if bool(states) == bool(args.task):
        raise UsageError("give tasks, or one of --queued, --success, --failed and --all")
    with opened(args) as where:
        queue = Queue(where.project)
        chosen = queue.tasks(*states) if states else [queue.find(name) for name in args.task]
        running = [task.name for state, task in chosen if state == "running"]
        if running:
            raise ExperimentError(f"running now: {', '.join(running)}", hint="wait until it ends, then remove it")
        gone = [task.name for state, task in chosen if run.forget(where.project, state, task)]
    console.info(f"Removed tasks in queue: {', '.join(gone)}" if gone else "No tasks to remove.")
    return 0


def add_start(parser: ArgumentParser) -> None:
    parser.add_argument("-j", "--jobs", type=positive, default=1, metavar="N", help="how many workers (default: 1)")
    parser.add_argument(
        "--slots",
        action="append",
        default=[],
        metavar="VAR=A,B",
        help="each running task gets one value of VAR for itself, for instance CUDA_VISIBLE_DEVICES=0,1",
    )
    parser.set_defaults(run=_start)


def _start(args: Namespace, console: Console) -> int:
    executors.parse_slots(args.slots)
    with opened(args) as where:
        where.project.require_git()
        count = len(detached.start(where.project, jobs=args.jobs, slots=args.slots))
    console.info(f"Started '{count}' new experiments task queue worker{'s' if count != 1 else ''}.")
    return 0


def add_worker(parser: ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="the worker's name in the queue")
    parser.add_argument("--slots", action="append", default=[], help="as for queue start")
    parser.set_defaults(run=_worker)


def _worker(args: Namespace, console: Console) -> int:
    """What ``queue start`` starts."""
    terms = executors.Terms(args.name, executors.parse_slots(args.slots), detached.LINGER_SECONDS)
    with opened(args) as where:
        executors.work(where.project, console.event, terms=terms)
    return 0


def add_stop(parser: ArgumentParser) -> None:
    parser.add_argument("--kill", action="store_true", help="end running tasks, too")
    parser.set_defaults(run=_stop)


def _stop(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        workers = detached.stop(where.project, kill=args.kill)
    if not workers:
        console.info("No worker is running.")
    elif args.kill:
        console.info("All running tasks in the queue are being killed. Queue workers are stopping.")
    else:
        console.info("Queue workers will stop after running tasks finish.")
    return 0


def add_kill(parser: ArgumentParser) -> None:
    parser.add_argument("task", nargs="+", help="names or ids of running tasks")
    parser.add_argument("-f", "--force", action="store_true", help="at once, without asking the stage to end")
    parser.set_defaults(run=_kill)


def _kill(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        tasks = detached.kill(where.project, args.task, force=args.force)
    console.info("\n".join(f"{task.name} has been killed." for task in tasks))
    return 0


def add_retry(parser: ArgumentParser) -> None:
    parser.add_argument("task", nargs="*", help="names or ids of failed tasks")
    parser.add_argument("--failed", action="store_true", help="all failed tasks")
    parser.set_defaults(run=_retry)


def _retry(args: Namespace, console: Console) -> int:
    if bool(args.task) == args.failed:
        raise UsageError("give tasks, or --failed")
    with opened(args) as where:
        tasks = detached.retry(where.project, args.task, failed=args.failed)
    console.info(f"Queued again: {', '.join(task.name for task in tasks)}" if tasks else "No task has failed.")
    return 0


def add_clean(parser: ArgumentParser) -> None:
    parser.set_defaults(run=_clean)


def _clean(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        found = Queue(where.project).recover()
    console.info(f"Put back: {', '.join(task.name for task in found)}" if found else "Nothing to clean.")
    return 0


COMMANDS = {
    "queue start": add_start,
    "queue stop": add_stop,
    "queue status": add_status,
    "queue logs": add_logs,
    "queue kill": add_kill,
    "queue remove": add_remove,
    "queue retry": add_retry,
    "queue worker": add_worker,
    "exp clean": add_clean,
}
