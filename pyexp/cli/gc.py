"""``gc``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pyexp.cli.console import Console, size
from pyexp.cli.opening import opened
from pyexp.cli.shared_options import add_scope_options
from pyexp.experiments import manage


def add_gc(parser: ArgumentParser) -> None:
    add_scope_options(parser)
    parser.add_argument("-w", "--workspace", action="store_true", help="keep what the workspace's lock files name")
    parser.add_argument("--all-experiments", action="store_true", help="keep what experiments name")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="keep what commits since that day name")
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
    with opened(args) as where:
        planned = manage.gc_cache(where.project, scope, dry=True)
        count = sum(found.count for found in planned.values())
        freed = size(sum(found.size_bytes for found in planned.values()))
        if args.dry:
            console.info(f"Would remove {count} objects ({freed}) from the cache.")
            return 0
        question = f"This removes {count} objects ({freed}) from the cache that nothing in the scope needs. Go on?"
        if count and not args.force and not console.confirm(question, default=True):
            return 1
        manage.gc_cache(where.project, scope)
    console.info(f"Removed {count} objects ({freed}) from the cache." if count else "No unused objects in the cache.")
    return 0


COMMANDS = {"gc": add_gc}
