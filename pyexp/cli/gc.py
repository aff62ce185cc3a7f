"""``gc``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

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
        planned = manage.gc_cache(where.project, scope, dry=True, also_keep=kept)
        there = _there(where.project, scope, args, console, dry=True)
        cached = _told(sum(one.count for one in planned.values()), sum(one.size_bytes for one in planned.values()))
        if args.dry:
            console.info(f"Would remove {cached} from the cache.")
            if there is not None:
                console.info(f"Would remove {_told(there.count, there.size_bytes)} from the remote.")
            return 0
        count = sum(one.count for one in planned.values())
        places = f"{cached} from the cache"
        if there is not None:
            places += f" and {_told(there.count, there.size_bytes)} from the remote, for everybody who uses it,"
        question = f"This removes {places} that nothing in the scope needs. Go on?"
        dangerous = there is not None and there.count > 0
        if (count or dangerous) and not args.force and not console.confirm(question, default=not dangerous):
            return 1
        manage.gc_cache(where.project, scope, also_keep=kept)
        there = _there(where.project, scope, args, console, dry=False)
    console.info(f"Removed {cached} from the cache." if count else "No unused objects in the cache.")
    if there is not None:
        told = f"Removed {_told(there.count, there.size_bytes)} from the remote."
        console.info(told if there.count else "No unused objects on the remote.")
    return 0


def _told(count: int, size_bytes: int) -> str:
    return f"{count} object{'s' if count != 1 else ''} ({size(size_bytes)})"


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
