"""``queue status``, ``queue logs`` and ``queue remove``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from pyexp.cli import render
from pyexp.cli.console import Console
from pyexp.cli.opening import opened
from pyexp.errors import ExperimentError, UsageError
from pyexp.experiments import executors
from pyexp.experiments.taskqueue import Queue, State

LABELS: dict[State, str] = {"running": "Running", "queued": "Queued", "failed": "Failed", "done": "Success"}


def add_status(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_status)


def _status(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        queue = Queue(where.project)
        tasks, workers = queue.tasks(), queue.workers()
    if args.json:
        data = [{"state": LABELS[state], **asdict(task)} for state, task in tasks]
        console.out(render.to_json({"tasks": data, "workers": len(workers)}))
        return 0
    if not tasks:
        console.out("No experiment tasks in the queue.")
    else:
        rows = [[task.id[:7], task.name, render.created(int(task.created)), LABELS[state]] for state, task in tasks]
        console.out(render.columns(["Task", "Name", "Created", "Status"], rows))
    busy = sum(1 for state, _ in tasks if state == "running")
    console.out(f"\nWorker status: {busy} active, {max(0, len(workers) - busy)} idle")
    return 0


def add_logs(parser: ArgumentParser) -> None:
    parser.add_argument("task", help="a task's name or id")
    parser.set_defaults(run=_logs)


def _logs(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        state, task = Queue(where.project).find(args.task)
        path = executors.log_path(where.project, task.id)
        if not path.exists():
            raise ExperimentError(
                f"'{args.task}' has no output yet, it is {LABELS[state].lower()}", hint="run it: pyexp exp run --run-all"
            )
        sys.stdout.flush()
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
    return 0


def add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("task", nargs="*", help="names or ids of tasks")
    for name in ("queued", "success", "failed", "all"):
        parser.add_argument(f"--{name}", action="store_true", help=f"{name} tasks" if name != "all" else "all but running")
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
        gone = [task.name for state, task in chosen if executors.forget(where.project, state, task)]
    console.info(f"Removed tasks in queue: {', '.join(gone)}" if gone else "No tasks to remove.")
    return 0


COMMANDS = {"queue status": add_status, "queue logs": add_logs, "queue remove": add_remove}
