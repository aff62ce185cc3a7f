"""``doctor``: versions, as DVC's prints them, then everything a project keeps, looked at and perhaps repaired."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pyexp.cli import admin, tables
from pyexp.cli.console import Console
from pyexp.cli.opening import opened
from pyexp.errors import NotAProject, PyexpError
from pyexp.experiments import doctor
from pyexp.experiments.doctor import Report
from pyexp.paths import printable
from pyexp.project import Project
from pyexp.records import asdict


def add_doctor(parser: ArgumentParser) -> None:
    parser.add_argument("--repair", action="store_true", help="put right what can be without losing anything")
    parser.add_argument(
        "--full", action="store_true", help="read every byte, also of what has not changed since it was last read"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_doctor)


def _doctor(args: Namespace, console: Console) -> int:
    if not args.json:
        admin.print_versions(console)
    try:
        with opened(args) as where:
            if not args.json:
                console.out(f"Project: {where.project.root} ({where.project.kind.control})")
            report = _examined(args, where.project, console)
    except NotAProject:
        if args.json:
            raise
        console.out("Project: none here")
        return 0
    if args.json:
        told = {"sound": report.sound, "problems": [asdict(problem) for problem in report.problems]}
        console.out(tables.to_json(told))
        return 0 if report.sound else 1
    return _tell(report, args.repair, console)


def _examined(args: Namespace, project: Project, console: Console) -> Report:
    if not args.repair:
        return doctor.examine(project, full=args.full, on_event=console.event)
    with project.lock(console.event):
        return doctor.examine(project, repair=True, full=args.full, on_event=console.event)


def _tell(report: Report, repair: bool, console: Console) -> int:
    for problem in report.problems:
        done = f" - {problem.repaired}" if problem.repaired is not None else ""
        console.out(printable(f"{problem.area}: {problem.where}: {problem.what}{done}"))
    left = sum(1 for problem in report.problems if problem.repaired is None)
    console.info(f"Looked at {report.objects} objects, {report.experiments} experiments, {report.tasks} tasks.")
    if not report.problems:
        console.info("Everything is as it should be.")
    elif left and not repair:
        raise PyexpError(f"{left} problem(s) found", hint="put right what can be: pyexp doctor --repair")
    elif left:
        raise PyexpError(f"{left} problem(s) are left", hint="each line above says what to do")
    else:
        console.info(f"All {len(report.problems)} problem(s) are put right.")
    return 0


COMMANDS = {"doctor": add_doctor}
