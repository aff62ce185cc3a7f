"""``params diff``, ``metrics show`` and ``metrics diff``."""

from __future__ import annotations

import fnmatch
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from pyexp.cli import render, tables
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened_anywhere
from pyexp.cli.shared_options import add_diff_format, diff_table
from pyexp.errors import PyexpError
from pyexp.experiments import collect, table
from pyexp.formats import values
from pyexp.model import Row
from pyexp.paths import printable
from pyexp.pipeline.load import path_from
from pyexp.records import replace

_Kind = Literal["params", "metrics"]


def add_params_diff(parser: ArgumentParser) -> None:
    _add_revs(parser)
    parser.add_argument("--targets", nargs="+", default=[], metavar="FILE", help="only these params files")
    parser.add_argument("--deps", action="store_true", help="only params that stages depend on")
    add_diff_format(parser, precision=False)
    parser.set_defaults(run=_params_diff)


def _add_revs(parser: ArgumentParser) -> None:
    parser.add_argument("a_rev", nargs="?", default="HEAD", help="the old side (default: HEAD)")
    parser.add_argument("b_rev", nargs="?", default=collect.WORKSPACE, help="the new side (default: the workspace)")
    parser.add_argument("--all", action="store_true", help="unchanged values too")


def _add_recursive(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-R", "--recursive", action="store_true", help="nothing more: directories always mean all below"
    )


def _rows(where: Opened, args: Namespace, kind: _Kind) -> tuple[Row, Row]:
    rows = [collect.row_of(where.project, args.a_rev), collect.row_of(where.project, args.b_rev)]
    old, new = _narrowed(where, rows, args, kind)
    return old, new


def _narrowed(where: Opened, rows: list[Row], args: Namespace, kind: _Kind) -> list[Row]:
    """The rows with the named files only, whether they are declared or not, as seen from where the user stands.

    Raises PyexpError for a file that no row has.
    """
    wanted = {where.project.relpath(path, args.cwd): path for path in args.targets}
    if wanted:
        rows = [_only(row, wanted) for row in rows]
    for relpath, shown in wanted.items():
        known = [_is_declared(row, relpath, kind) for row in rows]
        rows = [row if has else _with_file(where, row, relpath, kind) for row, has in zip(rows, known, strict=True)]
        if not any(known) and not any(_is_declared(row, relpath, kind) for row in rows):
            raise PyexpError(f"'{shown}' is no file of {kind} here", hint="leave out the names to see them all")
    return [_seen(row, where.cwd) for row in rows]


def _is_declared(row: Row, relpath: str, kind: _Kind) -> bool:
    return any(_is_meant(path, [relpath]) for path in (*getattr(row, kind), *row.errors))


def _with_file(where: Opened, row: Row, relpath: str, kind: _Kind) -> Row:
    """The row with a file, or the files below a directory, that it does not declare."""
    files = collect.values_at(where.project, row.rev, relpath)
    if kind == "params":
        return replace(row, params={**row.params, **files})
    return replace(row, metrics={**row.metrics, **{path: values.measures(data) for path, data in files.items()}})


def _seen(row: Row, cwd: str) -> Row:
    def seen(found: Mapping[str, Any]) -> dict[str, Any]:
        return {path_from(path, cwd): data for path, data in found.items()}

    return replace(
        row,
        params=seen(row.params),
        metrics=seen(row.metrics),
        errors=seen(row.errors),
        dep_params=seen(row.dep_params),
        metric_files=tuple(path_from(path, cwd) for path in row.metric_files),
    )


def _only(row: Row, wanted: Collection[str]) -> Row:
    def only(found: Mapping[str, Any]) -> dict[str, Any]:
        return {path: data for path, data in found.items() if _is_meant(path, wanted)}

    return replace(
        row,
        params=only(row.params),
        metrics=only(row.metrics),
        errors=only(row.errors),
        metric_files=tuple(path for path in row.metric_files if _is_meant(path, wanted)),
    )


def _is_meant(path: str, wanted: Iterable[str]) -> bool:
    return any(
        not name or path == name or path.startswith(f"{name}/") or fnmatch.fnmatch(path, name) for name in wanted
    )


def _params_diff(args: Namespace, console: Console) -> int:
    with opened_anywhere(args) as where:
        old, new = _rows(where, args, "params")
    found = table.diff(old, new, everything=args.all, param_deps=args.deps)
    if args.json:
        console.out(tables.to_json(render.changes_json(found.params)))
    elif found.params:
        rows = render.change_rows(found.params, precision=None, with_diff=False)
        console.out(diff_table(["Path", "Param", args.a_rev, args.b_rev], rows, args))
    return 0


def add_metrics_diff(parser: ArgumentParser) -> None:
    _add_revs(parser)
    parser.add_argument("--targets", nargs="+", default=[], metavar="PATH", help="only these metrics files")
    _add_recursive(parser)
    add_diff_format(parser)
    parser.set_defaults(run=_metrics_diff)


def _metrics_diff(args: Namespace, console: Console) -> int:
    with opened_anywhere(args) as where:
        old, new = _rows(where, args, "metrics")
    found = table.diff(old, new, everything=args.all)
    _warn_of_errors(console, (old, new))
    if args.json:
        console.out(tables.to_json(render.changes_json(found.metrics)))
    elif found.metrics:
        digits = args.precision or tables.PRECISION
        rows = render.change_rows(found.metrics, precision=digits, decimals=True)
        console.out(diff_table(["Path", "Metric", args.a_rev, args.b_rev, "Change"], rows, args))
    return 0


def _warn_of_errors(console: Console, rows: Iterable[Row]) -> None:
    for row in rows:
        for _, message in row.errors.values():
            console.warn(f"{row.rev[:9]}: {message}")


def add_metrics_show(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="metrics files, or directories of them (default: all)")
    _add_recursive(parser)
    parser.add_argument("-a", "--all-branches", action="store_true", help="of all branches too")
    parser.add_argument("-T", "--all-tags", action="store_true", help="of all tags too")
    parser.add_argument("-A", "--all-commits", action="store_true", help="of all commits too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--md", action="store_true", help="print a markdown table")
    parser.add_argument("--precision", type=int, default=tables.PRECISION, metavar="N", help="decimals (default: 5)")
    parser.set_defaults(run=_metrics_show)


def _metrics_show(args: Namespace, console: Console) -> int:
    with opened_anywhere(args) as where:
        rows = {"": collect.workspace_row(where.project)}
        several = args.all_branches or args.all_tags or args.all_commits
        if several:
            rows = {collect.WORKSPACE: rows[""], **_of_revisions(where, args)}
        rows = dict(zip(rows, _narrowed(where, list(rows.values()), args, "metrics"), strict=True))
        branch = rows.get(where.project.require_git().head().branch or "") if several else None
        if branch is not None and branch.metrics == rows[collect.WORKSPACE].metrics:
            del rows[collect.WORKSPACE]  # as DVC: the branch one is on says it already
    _warn_of_errors(console, rows.values())
    if args.json:
        console.out(tables.to_json({rev: {"data": render.metrics_json(row)} for rev, row in rows.items()}))
        return 0
    head, cells = _metrics_table(rows, args.precision)
    if cells:
        console.out(tables.markdown(head, cells) + "\n" if args.md else tables.columns(head, cells))
    return 0


def _of_revisions(where: Opened, args: Namespace) -> dict[str, Row]:
    repo = where.project.require_git()
    named: dict[str, list[str]] = {}
    for wanted, found in ((args.all_branches, repo.branches()), (args.all_tags, repo.tags())):
        for name, sha in found.items() if wanted else ():
            named.setdefault(sha, []).append(name)
    if args.all_commits:
        for sha in collect.baselines(where.project, collect.Scope(all_commits=True)):
            named.setdefault(sha, [])
    cache = collect.Rows(where.project)
    rows = {",".join(names) or sha: cache.get(sha) for sha, names in named.items()}
    cache.save()
    return rows


def _metrics_table(rows: Mapping[str, Row], precision: int) -> tuple[list[str], list[list[str]]]:
    def cell(value: Any) -> str:
        return str(round(value, precision)) if isinstance(value, float) else tables.plain(value)

    flat = [
        (rev, file, values.flatten(data) if isinstance(data, Mapping) else {"": data})
        for rev, row in rows.items()
        for file, data in row.metrics.items()
    ]
    keys = sorted({key for _, _, data in flat for key in data})
    revisions = list(rows) != [""]
    head = [*(["Revision"] if revisions else []), "Path", *keys]
    return head, [
        [*([rev] if revisions else []), printable(file), *(cell(data.get(key)) for key in keys)]
        for rev, file, data in flat
    ]


COMMANDS = {"params diff": add_params_diff, "metrics show": add_metrics_show, "metrics diff": add_metrics_diff}
