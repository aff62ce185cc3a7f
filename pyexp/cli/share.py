"""``push``, ``pull`` and ``fetch``, of data and of experiments."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pyexp.cli import tables
from pyexp.cli.console import Console, size
from pyexp.cli.opening import Opened, opened
from pyexp.cli.shared_options import add_scope_options, positive
from pyexp.errors import PyexpError, UsageError
from pyexp.experiments import share as experiments_share
from pyexp.experiments.selection import Selection
from pyexp.git.config import shown_url
from pyexp.paths import printable
from pyexp.pipeline import exchange
from pyexp.pipeline.load import path_from
from pyexp.pipeline.share import Report

SHOWN = 20


def add_what(parser: ArgumentParser) -> None:
    """Which data: shared by every command that compares or moves it."""
    parser.add_argument("-a", "--all-branches", action="store_true", help="data of all branches, too")
    parser.add_argument("-T", "--all-tags", action="store_true", help="data of all tags, too")
    parser.add_argument("-A", "--all-commits", action="store_true", help="data of all commits, too")
    parser.add_argument("--all-experiments", action="store_true", help="data of all experiments, too")
    add_how(parser)


def add_how(parser: ArgumentParser) -> None:
    parser.add_argument("-r", "--remote", metavar="NAME", help="which remote (default: core.remote)")
    parser.add_argument("-j", "--jobs", type=positive, metavar="N", help="how many objects at a time")


def _add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages, .dvc files, outputs, paths inside them (default: all)")
    parser.add_argument("-d", "--with-deps", action="store_true", help="what the targets need, too")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything in the named directories")
    add_what(parser)
    parser.add_argument("--run-cache", action="store_true", help="results of stages (the run cache), too")
    parser.add_argument("--no-run-cache", dest="run_cache", action="store_false", help="without them (the default)")


def what(where: Opened, args: Namespace) -> exchange.What:
    """The data that the options name."""
    return exchange.What(
        targets=tuple(args.targets),
        cwd=where.cwd,
        recursive=args.recursive,
        with_deps=args.with_deps,
        glob=getattr(args, "glob", False),
        kind=getattr(args, "type", None),
        max_size_bytes=getattr(args, "max_size", None),
        commits=experiments_share.commits(
            where.project,
            branches=args.all_branches,
            tags=args.all_tags,
            everything=args.all_commits,
            experiments=args.all_experiments,
        ),
    )


def _how(args: Namespace) -> exchange.How:
    return exchange.How(args.remote, args.jobs, args.run_cache)


def add_push(parser: ArgumentParser) -> None:
    _add(parser)
    parser.add_argument("--glob", action="store_true", help="targets are patterns")
    parser.set_defaults(run=_push)


def _push(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        report = exchange.push(where.project, what(where, args), _how(args), on_event=console.event)
    console.info(_counted(report, "pushed") or ("Everything is up to date." if report.complete else "Nothing pushed."))
    return tell_incomplete(report, console, "push")


def add_fetch(parser: ArgumentParser) -> None:
    _add(parser)
    parser.add_argument("--max-size", type=positive, metavar="BYTES", help="only outputs up to that size")
    parser.add_argument("--type", choices=("metrics", "plots"), help="only metrics, or only plots")
    parser.set_defaults(run=_fetch)


def _fetch(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        report = exchange.fetch(where.project, what(where, args), _how(args), on_event=console.event)
    console.info(
        _counted(report, "fetched") or ("Everything is up to date." if report.complete else "Nothing fetched.")
    )
    return tell_incomplete(report, console, "fetch")


def add_pull(parser: ArgumentParser) -> None:
    _add(parser)
    parser.add_argument("--glob", action="store_true", help="targets are patterns")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite changes that are saved nowhere")
    parser.add_argument("--allow-missing", action="store_true", help="what cannot be had is no error")
    parser.set_defaults(run=_pull)


def _pull(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        pulled = exchange.pull(where.project, what(where, args), _how(args), force=args.force, on_event=console.event)
    for change in pulled.changed:
        console.info(f"{change.letter}\t{printable(path_from(change.relpath, where.cwd))}")
    counts = {
        "added": sum(change.added for change in pulled.changed),
        "modified": sum(change.modified for change in pulled.changed),
        "deleted": sum(change.deleted for change in pulled.changed),
    }
    parts = [_counted(pulled.report, "fetched")]
    parts += [f"{number} file{'s' if number != 1 else ''} {word}" for word, number in counts.items() if number]
    told = " and ".join(part for part in parts if part)
    console.info(told or ("Everything is up to date." if pulled.report.complete else "Nothing fetched."))
    if args.allow_missing and not pulled.report.failed:
        return 0
    return tell_incomplete(pulled.report, console, "pull")


def _counted(report: Report, word: str) -> str:
    if not report.count:
        return ""
    return f"{report.count} file{'s' if report.count != 1 else ''} {word} ({size(report.size_bytes)})"


def tell_incomplete(report: Report, console: Console, verb: str) -> int:
    """Lists what could not be had, and gives the exit code."""
    problem = _incomplete(report, console, verb)
    if problem is None:
        return 0
    console.failure(problem)
    return 1


def _incomplete(report: Report, console: Console, verb: str) -> str | None:
    """Lists what could not be had, and sums it up."""
    if report.complete:
        return None
    lines = [*(f"{line}: neither in the cache nor on the remote" for line in report.missing), *report.failed]
    if verb != "push":
        lines = [*(f"{line}: not on the remote" for line in report.missing), *report.failed]
    for line in _some(lines):
        console.warn(line)
    hint = f"do what is said above, and {verb} again"
    if report.missing:
        make, push = "make it again (pyexp repro)", "push it from where it is"
        hint = f"{make}, or {push}" if verb == "push" else f"{push} (pyexp push), or {make}"
    return f"{len(lines)} file{'s' if len(lines) != 1 else ''} could not be {verb}ed - {hint}"


def _some(lines: Sequence[str]) -> list[str]:
    return [*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])]


def status(args: Namespace, console: Console) -> int:
    """``status --cloud``."""
    with opened(args) as where:
        how = exchange.How(args.remote, args.jobs)
        found = exchange.compare(where.project, what(where, args), how, on_event=console.event)
        shown = args.remote or where.project.config.get("core.remote") or "their own remotes"
    if args.json:
        if not console.quiet:
            console.out(tables.to_json(found))
    elif not found:
        console.info(f"Cache and remote '{shown}' are in sync.")
    elif not console.quiet:
        console.out("\n".join(f"\t{f'{state}:':<20}{printable(path)}" for path, state in found.items()))
    return 1 if console.quiet and found else 0


# -- experiments -----------------------------------------------------------------------------------------------------


def _add_exp(parser: ArgumentParser, verb: str) -> None:
    parser.add_argument("git_remote", help="a git remote's name, a URL or a path")
    parser.add_argument("experiment", nargs="*", help="experiments (default: those of HEAD)")
    add_scope_options(parser, branches=False)
    parser.add_argument("-f", "--force", action="store_true", help=f"overwrite an experiment that differs {verb}")
    parser.add_argument("--no-cache", action="store_true", help="leave the experiments' data out")
    add_how(parser)
    parser.add_argument("--run-cache", action="store_true", help="results of stages (the run cache), too")
    parser.add_argument("--no-run-cache", dest="run_cache", action="store_false", help="without them (the default)")


def _selection(args: Namespace) -> Selection:
    if args.experiment and (args.all_commits or args.rev):
        raise UsageError("give names, or one of -A and --rev, not both")
    return Selection(tuple(args.experiment), tuple(args.rev), args.num, args.all_commits)


def add_exp_push(parser: ArgumentParser) -> None:
    _add_exp(parser, "there")
    parser.set_defaults(run=_exp_push)


def _exp_push(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        done = experiments_share.push(
            where.project,
            args.git_remote,
            _selection(args),
            force=args.force,
            cache=not args.no_cache,
            how=_how(args),
            on_event=console.event,
        )
    return tell_pushed(done, args.git_remote, console)


def tell_pushed(done: experiments_share.Exchanged, git_remote: str, console: Console) -> int:
    """Says what was pushed; gives the exit code."""
    if done.moved:
        console.info(f"Pushed experiment {_listed(done.moved)} to Git remote '{shown_url(git_remote)}'.")
    if done.same:
        verb = "is" if len(done.same) == 1 else "are"
        console.info(f"Experiment {_listed(done.same)} {verb} up to date on Git remote '{shown_url(git_remote)}'.")
    if not (done.moved or done.same or done.held_back):
        console.info("No experiments to push.")
    return _tell_rest(done, "push", console)


def _tell_rest(done: experiments_share.Exchanged, verb: str, console: Console) -> int:
    """Says what else there is to say; of several problems the last one is the error."""
    problems = [
        f"experiment '{name}' was not {verb}ed: {why} - to overwrite it: --force" for name, why in done.refused.items()
    ]
    if done.report is not None:
        counted = _counted(done.report, f"{verb}ed" if verb == "push" else "fetched")
        if counted:
            console.info(counted)
        incomplete = _incomplete(done.report, console, verb)
        if incomplete is not None:
            problems.append(incomplete)
    if done.held_back:
        problems.append(
            f"not pushed, for their data did not arrive: {_listed(done.held_back)} - try again, or: --no-cache"
        )
    for problem in problems[:-1]:
        console.warn(problem)
    if not problems:
        return 0
    console.failure(problems[-1])
    return 1


def auto_push(where: Opened, name: str, console: Console) -> None:
    """Pushes an experiment that was just made, when ``exp.auto_push`` says so; what fails is only a warning."""
    config = where.project.config
    wanted = os.environ.get("DVC_EXP_AUTO_PUSH", config.get("exp.auto_push") or "").lower()
    if wanted not in ("true", "yes", "on", "1"):
        return
    git_remote = os.environ.get("DVC_EXP_GIT_REMOTE") or config.get("exp.git_remote") or "origin"
    console.info(f"Pushing experiment '{name}' to '{shown_url(git_remote)}'. Ctrl+C cancels that, not the experiment.")
    try:
        done = experiments_share.push(
            where.project, git_remote, Selection((name,)), how=exchange.How(run_cache=True), on_event=console.event
        )
        tell_pushed(done, git_remote, console)
    except PyexpError as error:
        console.warn(f"the experiment was not pushed: {error}{f' - {error.hint}' if error.hint else ''}")
    except KeyboardInterrupt:
        console.warn("the experiment was not pushed: interrupted")


def add_exp_pull(parser: ArgumentParser) -> None:
    _add_exp(parser, "here")
    parser.set_defaults(run=_exp_pull)


def _exp_pull(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        done = experiments_share.pull(
            where.project,
            args.git_remote,
            _selection(args),
            force=args.force,
            cache=not args.no_cache,
            how=_how(args),
            on_event=console.event,
        )
    if done.moved:
        console.info(f"Pulled experiment {_listed(done.moved)} from Git remote '{shown_url(args.git_remote)}'.")
    if done.same:
        console.info(f"Up to date: {_listed(done.same)}")
    if not (done.moved or done.same):
        console.info("No experiments to pull.")
    return _tell_rest(done, "pull", console)


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{printable(name)}'" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


COMMANDS = {
    "push": add_push,
    "pull": add_pull,
    "fetch": add_fetch,
    "exp push": add_exp_push,
    "exp pull": add_exp_pull,
}
