"""``gc``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

from pyexp.cli.console import Console, size
from pyexp.cli.opening import opened
from pyexp.cli.shared_options import add_scope_options, positive
from pyexp.errors import UsageError
from pyexp.experiments import manage
from pyexp.objects.transfer import Garbage
from pyexp.project import Project


def add_gc(parser: ArgumentParser) -> None:
    add_scope_options(parser)
    parser.add_argument("-w", "--workspace", action="store_true", help="keep what the workspace's lock files name")
    parser.add_argument("--all-experiments", action="store_true", help="keep what experiments name")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="keep what commits since that day name")
    parser.add_argument("--not-in-remote", action="store_true", help="keep what the remote does not have")
    parser.add_argument("-c", "--cloud", action="store_true", help="remove from the remote, too")
    parser.add_argument("-r", "--remote", metavar="NAME", help="which remote (default: core.remote)")
    parser.add_argument("-j", "--jobs", type=positive, metavar="N", help="how many objects at a time, on the remote")
    parser.add_argument(
        "-p",
        "--projects",
        nargs="+",
        metavar="DIR",
        help="projects that share the cache: what they need stays (default: those that have stored something there)",
    )
    parser.add_argument("--dry", action="store_true", help="only say what would be removed")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.set_defaults(run=_gc)


def _gc(args: Namespace, console: Console) -> int:
    scope = manage.CacheScope(
        workspace=args.workspace,
        all_branches=args.all_branches,
        all_tags=args.all_tags,
        all_commits=args.all_commits,
        all_experiments=args.all_experiments,
        revs=tuple(args.rev),
        num=args.num,
        date=args.date,
    )
    if (args.remote or args.jobs) and not (args.cloud or args.not_in_remote):
        raise UsageError("-r and -j go with --cloud or --not-in-remote")
    with opened(args) as where:
        kept = _only_here(where.project, args)
        sharers = None if args.projects is None else [os.path.join(args.cwd, path) for path in args.projects]
        if args.dry or not args.force:  # who does not ask need not look twice
            planned = _sum(manage.gc_cache(where.project, scope, dry=True, also_keep=kept, sharers=sharers).values())
            there = _there(where.project, scope, args, console, dry=True)
            if args.dry:
                console.info(f"Would remove {_told(planned)} from the cache.")
                if there is not None:
                    console.info(f"Would remove {_told(there)} from the remote.")
                return 0
            if not _confirmed(planned, there, console):
                return 1
        here = _sum(manage.gc_cache(where.project, scope, also_keep=kept, sharers=sharers).values())
        there = _there(where.project, scope, args, console, dry=False)
    console.info(f"Removed {_told(here)} from the cache." if here.count else "No unused objects in the cache.")
    if there is not None:
        told = f"Removed {_told(there)} from the remote."
        console.info(told if there.count else "No unused objects on the remote.")
    return 0


def _confirmed(planned: Garbage, there: Garbage | None, console: Console) -> bool:
    places = f"{_told(planned)} from the cache"
    if there is not None:
        places += f" and {_told(there)} from the remote, for everybody who uses it,"
    dangerous = there is not None and there.count > 0
    if not (planned.count or dangerous):
        return True
    question = f"This removes {places} that nothing in the scope needs. Go on?"
    return console.confirm(question, default=not dangerous)


def _sum(parts: Iterable[Garbage]) -> Garbage:
    count = size_bytes = 0
    for part in parts:
        count, size_bytes = count + part.count, size_bytes + part.size_bytes
    return Garbage(count, size_bytes)


def _told(what: Garbage) -> str:
    return f"{what.count} object{'s' if what.count != 1 else ''} ({size(what.size_bytes)})"


def _only_here(project: Project, args: Namespace) -> dict[str, set[str]] | None:
    if not args.not_in_remote:
        return None
    from pyexp.experiments import remotegc  # only who asks a remote pays for it

    return remotegc.only_here(project, remote=args.remote)


def _there(
    project: Project, scope: manage.CacheScope, args: Namespace, console: Console, *, dry: bool
) -> Garbage | None:
    if not args.cloud:
        return None
    from pyexp.experiments import remotegc  # as above

    return remotegc.gc_remote(project, scope, remote=args.remote, jobs=args.jobs, dry=dry, on_event=console.event)


COMMANDS = {"gc": add_gc}
