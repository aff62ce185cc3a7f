"""``move``, ``unprotect``, ``list`` and ``check-ignore``: where data is, and what counts as it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from pyexp import project as projects
from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import opened, user
from pyexp.cli.shared_options import add_settings, settings
from pyexp.cli.tracking import track
from pyexp.errors import PyexpError, UsageError
from pyexp.paths import printable
from pyexp.pipeline import getting, record
from pyexp.pipeline import move as moving
from pyexp.pipeline.listing import Choice, Listed
from pyexp.pipeline.load import path_from
from pyexp.pipeline.workspace import Workspace

# -- move, unprotect -------------------------------------------------------------------------------------------------


def add_move(parser: ArgumentParser) -> None:
    parser.add_argument("src", help="tracked data")
    parser.add_argument("dst", help="its new path, or the directory it goes into")
    parser.set_defaults(run=_move)


def _move(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        moved = moving.move(where.project, args.src, args.dst, cwd=where.cwd)
        old, new = (path_from(path, where.cwd) for path in (moved.old, moved.new))
        console.info(f"Moved {printable(old)} to {printable(new)}")
        track(where, console, moved.for_git)
    return 0


def add_unprotect(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help="files or directories")
    parser.set_defaults(run=_unprotect)


def _unprotect(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        project = where.project
        relpaths = [project.relpath(target, args.cwd) for target in args.targets]
        for target, relpath in zip(args.targets, relpaths, strict=True):
            if not os.path.lexists(project.path(relpath)):
                raise PyexpError(f"'{target}' does not exist", hint="bring it into the workspace first: pyexp checkout")
        workspace = Workspace(project, console.event)
        for relpath in relpaths:
            record.unprotect(workspace, relpath)
    return 0


# -- list ------------------------------------------------------------------------------------------------------------


def add_list(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a repository: a path (.: this project) or a URL of git")
    parser.add_argument("path", nargs="?", default="", help="what of it, seen from there (default: all)")
    parser.add_argument("-R", "--recursive", action="store_true", help="the files in directories, too")
    parser.add_argument("-T", "--tree", action="store_true", help="draw directories as a tree")
    parser.add_argument("-L", "--level", type=level, metavar="N", help="go only N directories deep (with -R or -T)")
    parser.add_argument("--dvc-only", action="store_true", help="only tracked data")
    parser.add_argument("--rev", metavar="REV", help="of a commit, branch, tag or experiment (default: the workspace)")
    parser.add_argument("--size", action="store_true", help="show sizes")
    parser.add_argument("--show-hash", action="store_true", help="show hashes of tracked data")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_settings(parser)
    parser.set_defaults(run=_list)


def level(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"-L '{text}' is not a number of levels", hint="give a whole number from 1")
    return int(text)


def _list(args: Namespace, console: Console) -> int:
    if args.tree and args.json:
        raise UsageError("--tree and --json do not go together")
    if args.level is not None and not (args.recursive or args.tree):
        raise UsageError("-L goes with -R or -T")
    found, algo = getting.listing_of(
        args.url,
        args.path,
        cwd=args.cwd,
        rev=args.rev,
        choice=Choice(args.recursive or args.tree, args.level, args.tree, args.dvc_only, args.size or args.json),
        settings=settings(args),
        user=user(),
        on_event=console.event,
    )
    if args.json:
        if not console.quiet:
            console.out(tables.to_json([_as_json(item, algo) for item in found]))
    elif args.tree:
        top = [(Listed("", is_dir=True), args.path.rstrip("/") or ".")]
        console.out("\n".join(columns([*top, *drawn(found)], args)))
    elif found:
        console.out("\n".join(columns([(item, item.path) for item in found], args)))
    return 0


def _as_json(item: Listed, algo: str) -> dict[str, Any]:
    """As DVC has it; the hash is under its algorithm's name."""
    return {
        "isout": item.is_out,
        "isdir": item.is_dir,
        "isexec": item.is_exec,
        "size": item.size,
        algo: item.hash,
        "path": item.path,
    }


def columns(lines: Sequence[tuple[Listed, str]], args: Namespace) -> list[str]:
    """Size and hash, where they are asked for, before each text."""
    cells: list[list[str]] = [[] for _ in lines]
    if args.size:
        sizes = [short_size(item.size) for item, _ in lines]
        width = max(map(len, sizes))
        for row, text in zip(cells, sizes, strict=True):
            row.append(text.rjust(width))
    if args.show_hash:
        hashes = [item.hash or "-" for item, _ in lines]
        width = max(map(len, hashes))
        for row, text in zip(cells, hashes, strict=True):
            row.append(text.ljust(width))
    return ["  ".join([*row, printable(text)]) for row, (_, text) in zip(cells, lines, strict=True)]


def short_size(number: int | None) -> str:
    """A size in few characters: ``139``, ``4.00k``, ``1.25M``."""
    if number is None:
        return "-"
    if number < 1024:
        return str(number)
    value, units = float(number), "kMGTPE"
    while value >= 1024:
        value, unit, units = value / 1024, units[0], units[1:]
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{unit}"


def drawn(found: Sequence[Listed]) -> Iterator[tuple[Listed, str]]:
    """A tree's branches; each directory comes before what it holds."""
    children: dict[str, list[Listed]] = {}
    for item in found:
        children.setdefault(item.path.rpartition("/")[0], []).append(item)
    pending = [(item, "", index == 0) for index, item in enumerate(reversed(children.get("", [])))]
    while pending:
        item, indent, last = pending.pop()
        yield item, f"{indent}{'└── ' if last else '├── '}{item.path.rpartition('/')[2]}"
        below = reversed(children.get(item.path, []))
        indent += "    " if last else "│   "
        pending += [(child, indent, index == 0) for index, child in enumerate(below)]


# -- check-ignore ----------------------------------------------------------------------------------------------------


def add_check_ignore(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="paths")
    parser.add_argument("-d", "--details", action="store_true", help="say which line of which file decides")
    parser.add_argument("-n", "--non-matching", action="store_true", help="with -d: paths that nothing matches, too")
    parser.add_argument("--stdin", action="store_true", help="read paths from standard input, one per line")
    parser.set_defaults(run=_check_ignore)


def _check_ignore(args: Namespace, console: Console) -> int:
    if bool(args.targets) == args.stdin:
        raise UsageError("give paths, or --stdin", hint="see: pyexp check-ignore --help")
    if args.non_matching and not args.details:
        raise UsageError("--non-matching goes with --details")
    if console.quiet and args.details:
        raise UsageError("--details and --quiet do not go together")
    matched = False
    with opened(args) as where:
        root = os.path.realpath(where.project.root)
        targets = (line.rstrip("\n") for line in sys.stdin) if args.stdin else iter(args.targets)
        for target in targets:
            found = _deciding(where.project, root, os.path.join(args.cwd, target), target)
            if found is not None and (args.details or not found[2].startswith("!")):
                matched = True
                shown = f"{found[0]}:{found[1] or ''}:{found[2]}" if found[0] else f":{found[2]}"
                if not console.quiet:
                    console.out(f"{shown}\t{printable(target)}" if args.details else printable(target))
            elif args.non_matching:
                console.out(f"::\t{printable(target)}")
    return 0 if matched else 1


def _deciding(project: projects.Project, root: str, path: str, target: str) -> tuple[str, int, str] | None:
    """File, line and pattern that decide about a path, None when nothing does or it is not in the project."""
    path = os.path.normpath(path)
    relpath = os.path.relpath(os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)), root)
    if relpath == os.curdir or relpath == os.pardir or relpath.startswith(os.pardir + os.sep):
        return None
    is_dir = target.endswith("/") or os.path.isdir(path)
    found = project.ignore.deciding(relpath.replace(os.sep, "/"), is_dir)
    if found is not None and not found[0]:  # a control directory, ignored without a line in a file
        name = os.path.basename(path)
        return "", 0, name if name == ".git" else f"{name}/"
    return found


COMMANDS = {
    "move": add_move,
    "unprotect": add_unprotect,
    "list": add_list,
    "check-ignore": add_check_ignore,
}
