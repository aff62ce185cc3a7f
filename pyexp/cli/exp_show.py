"""``exp show``, ``exp diff`` and ``exp list``: looking at experiments."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from pyexp.cli import render, tables
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened
from pyexp.cli.shared_options import add_diff_format, add_scope_options, diff_table
from pyexp.errors import UsageError
from pyexp.experiments import collect, selection, table
from pyexp.paths import printable


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def scope(args: Namespace) -> collect.Scope:
    return collect.Scope(
        tuple(args.rev),
        args.num,
        getattr(args, "all_branches", False),
        getattr(args, "all_tags", False),
        args.all_commits,
    )


def add_show(parser: ArgumentParser) -> None:
    add_scope_options(parser)
    parser.add_argument("--include-params", type=_names, metavar="NAMES", help="only these params (a,b,group)")
    parser.add_argument("--exclude-params", type=_names, default=(), metavar="NAMES", help="all but these params")
    parser.add_argument("--include-metrics", type=_names, metavar="NAMES", help="only these metrics")
    parser.add_argument("--exclude-metrics", type=_names, default=(), metavar="NAMES", help="all but these metrics")
    parser.add_argument("--only-changed", action="store_true", help="only columns whose values differ")
    parser.add_argument("--drop", metavar="REGEX", help="leave out columns that match")
    parser.add_argument("--keep", metavar="REGEX", help="keep columns that match, whatever else says")
    parser.add_argument("--param-deps", action="store_true", help="only params that stages depend on")
    parser.add_argument("--sort-by", metavar="COLUMN", help="order experiments by a metric or param")
    parser.add_argument("--sort-order", choices=("asc", "desc"), help="ascending (default) or descending")
    parser.add_argument("--no-timestamp", action="store_true", help="leave out when an experiment was made")
    parser.add_argument("--sha", action="store_true", help="show commits instead of branch and tag names")
    parser.add_argument("--hide-failed", action="store_true", help="leave out failed experiments")
    parser.add_argument("--hide-queued", action="store_true", help="leave out queued experiments")
    parser.add_argument("--hide-workspace", action="store_true", help="leave out the workspace")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--md", action="store_true", help="print a markdown table")
    parser.add_argument("--precision", type=int, metavar="N", help="significant digits of numbers (default: 5)")
    parser.add_argument("-f", "--force", action="store_true", help="read everything anew, not from the cache of rows")
    parser.add_argument("--no-pager", action="store_true", help="never use a pager")
    parser.set_defaults(run=_show)


def _show(args: Namespace, console: Console) -> int:
    if args.sort_order and not args.sort_by:
        raise UsageError("--sort-order goes with --sort-by", hint="name a column: --sort-by avg_prec")
    if args.precision is not None and args.precision < 1:
        raise UsageError(f"--precision {args.precision} is not a number of digits", hint="give a whole number from 1")
    with opened(args) as where:
        found = collect.collect(
            where.project, scope(args), fresh=args.force, queued=not args.hide_queued, failed=not args.hide_failed
        )
    if args.json:
        shown = [one for one in found if not (args.hide_workspace and one.rev == collect.WORKSPACE)]
        if not console.quiet:
            console.out(tables.to_json(render.show_json(shown)))
        return 0
    choice = table.Choice(
        only_changed=args.only_changed,
        drop=args.drop,
        keep=args.keep,
        include_params=args.include_params,
        exclude_params=args.exclude_params,
        include_metrics=args.include_metrics,
        exclude_metrics=args.exclude_metrics,
        param_deps=args.param_deps,
        sort_by=args.sort_by,
        descending=args.sort_order == "desc",
        hide_workspace=args.hide_workspace,
    )
    for one in found:
        for kind, message in one.row.errors.values():
            rev = one.rev if one.rev == collect.WORKSPACE else one.rev[:7]
            console.warn(f"{one.name or rev}: {message}") if kind else None
    built = table.build(found, choice)
    if args.csv:
        text = render.show_csv(built, precision=args.precision)
        if sys.stdout.isatty():
            console.out(text.replace("\r\n", "\n").rstrip("\n"))
        else:
            sys.stdout.write(text)
        return 0
    head, rows = render.show_cells(
        built, timestamps=not args.no_timestamp, sha_only=args.sha, precision=args.precision or tables.PRECISION
    )
    if args.md:
        console.out(tables.markdown(head, rows) + "\n")
        return 0
    _page(render.show_box(head, rows, built), console, wanted=not args.no_pager)
    return 0


def _page(text: str, console: Console, *, wanted: bool) -> None:
    """Prints through a pager when the table is larger than the terminal."""
    if wanted and sys.stdout.isatty():
        size = os.get_terminal_size()
        lines = text.splitlines()
        pager = os.environ.get("PYEXP_PAGER") or os.environ.get("DVC_PAGER") or os.environ.get("PAGER") or "less -FSRX"
        if len(lines) >= size.lines or max(map(len, lines)) > size.columns:
            import subprocess  # only a table larger than the terminal pays

            try:
                subprocess.run(pager, shell=True, input=text.encode(), check=True)
                return
            except (OSError, subprocess.CalledProcessError):
                pass  # no pager on this machine: the plain text will do
    console.out(text)


def add_diff(parser: ArgumentParser) -> None:
    parser.add_argument("a_rev", nargs="?", default="HEAD", help="the old side (default: HEAD)")
    parser.add_argument("b_rev", nargs="?", default=collect.WORKSPACE, help="the new side (default: the workspace)")
    parser.add_argument("--all", action="store_true", help="unchanged values too")
    parser.add_argument("--param-deps", action="store_true", help="only params that stages depend on")
    add_diff_format(parser)
    parser.set_defaults(run=_diff)


def _diff(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        old, new = collect.row_of(where.project, args.a_rev), collect.row_of(where.project, args.b_rev)
    found = table.diff(old, new, everything=args.all, param_deps=args.param_deps)
    for message in found.errors:
        console.warn(message)
    if args.json:
        if not console.quiet:
            console.out(tables.to_json(render.diff_json(found)))
        return 0
    precision = args.precision or tables.PRECISION
    parts = []
    for title, changes, digits in (("Metric", found.metrics, precision), ("Param", found.params, precision)):
        if changes:
            rows = render.change_rows(changes, precision=digits)
            parts.append(diff_table(["Path", title, args.a_rev, args.b_rev, "Change"], rows, args))
    console.out("\n\n".join(parts))
    return 0


def add_list(parser: ArgumentParser) -> None:
    parser.add_argument("git_remote", nargs="?", help="list those of a git remote instead")
    add_scope_options(parser, branches=False)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--name-only", "--names-only", action="store_true", help="print only names")
    only.add_argument("--sha-only", "--shas-only", action="store_true", help="print only commits")
    parser.set_defaults(run=_list)


def _list(args: Namespace, console: Console) -> int:
    if args.git_remote and args.sha_only:
        raise UsageError("--sha-only goes with the experiments that are here", hint="leave the remote out")
    with opened(args) as where:
        chosen = selection.Selection((), tuple(args.rev), args.num, args.all_commits)
        if args.git_remote:
            return _list_remote(where, chosen, args, console)
        found = selection.select(where.project, chosen)
        repo = where.project.require_git()
        last = None
        for exp in found:
            if args.name_only or args.sha_only:
                console.out(printable(exp.name) if args.name_only else exp.sha)
                continue
            if exp.baseline != last:
                console.out(f"{repo.describe(exp.baseline) or exp.baseline[:7]}:")
                last = exp.baseline
            console.out(f"\t{exp.sha[:7]} [{printable(exp.name)}]")
    return 0


def _list_remote(where: Opened, chosen: selection.Selection, args: Namespace, console: Console) -> int:
    from pyexp.experiments import share  # only a listing of a remote pays for it

    last = None
    for exp in share.choose(where.project, share.listed(where.project, args.git_remote), chosen):
        if not args.name_only and exp.baseline != last:
            console.out(f"{share.title(where.project, exp.baseline)}:")
            last = exp.baseline
        console.out(printable(exp.name) if args.name_only else f"\t{printable(exp.name)}")
    return 0


COMMANDS = {"exp show": add_show, "exp diff": add_diff, "exp list": add_list}
