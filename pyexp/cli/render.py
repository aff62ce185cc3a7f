"""Experiments as text: the table of ``exp show``, its CSV and JSON, and tables of differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyexp.cli.tables import FILL, PRECISION, created, iso, number, plain
from pyexp.experiments.table import Change, Diff, Line, Table
from pyexp.formats.values import ERROR, MISSING
from pyexp.model import Row
from pyexp.paths import printable

TEE, END = "├── ", "└── "


# -- exp show --------------------------------------------------------------------------------------------------------


def label(line: Line, *, sha_only: bool = False) -> str:
    """The first cell: a baseline's name, or an experiment's place in the tree, sha and name."""
    if line.experiment is None:
        if line.baseline.rev == "workspace":
            return "workspace"
        named = None if sha_only else line.baseline.name
        return printable(named) if named else line.baseline.rev[:7]
    sha = line.experiment.row.rev[:7]
    return f"{END if line.last else TEE}{sha} [{printable(line.experiment.name)}]"


def show_cells(
    found: Table, *, timestamps: bool = True, sha_only: bool = False, precision: int = PRECISION
) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table; State and Executor only where an experiment has one."""
    states, executors = _queued_columns(found)
    head = ["Experiment", *(["Created"] if timestamps else [])]
    head += [*(["State"] if states else []), *(["Executor"] if executors else [])]
    head += [printable(column.name) for column in found.columns]
    rows: list[list[str]] = []
    for line in found.lines:
        exp = line.experiment
        cells = [label(line, sha_only=sha_only)]
        if timestamps:
            cells.append(created(line.row.timestamp))
        if states:
            cells.append((exp.state if exp is not None else None) or FILL)
        if executors:
            cells.append((exp.executor if exp is not None else None) or FILL)
        rows.append(cells + [number(value, precision) for value in line.cells])
    return head, rows


def _queued_columns(found: Table) -> tuple[bool, bool]:
    """Whether any line has a state, and any an executor: else there are no such columns."""
    experiments = [line.experiment for line in found.lines if line.experiment is not None]
    return any(exp.state for exp in experiments), any(exp.executor for exp in experiments)


def show_box(head: Sequence[str], rows: Sequence[Sequence[str]], found: Table) -> str:
    """The table of ``exp show``: rules above, below and under the head, metrics to the right."""
    from prettytable import HRuleStyle, PrettyTable

    drawn = PrettyTable()
    # Two columns may have one title (a metric and a dep, say): prettytable wants them told apart.
    titles = [title + "\u200b" * head[:index].count(title) for index, title in enumerate(head)]
    drawn.field_names = titles
    drawn.hrules = HRuleStyle.FRAME
    drawn.vertical_char = " "
    drawn.horizontal_char = drawn.junction_char = "─"
    drawn.align = "l"
    metrics = {column.name for column in found.columns if column.kind == "metric"}
    for title in titles:
        if title.rstrip("\u200b") in metrics:
            drawn.align[title] = "r"
    drawn.add_rows([list(row) for row in rows])
    lines = [line.replace("\u200b", "") for line in drawn.get_string().splitlines()]
    return "\n".join((" " + line[1:-1] if line.startswith("─") else line).rstrip() for line in lines)


def show_csv(found: Table, *, precision: int | None) -> str:
    """CSV as DVC writes it: full precision, ISO times, empty where there is nothing, CRLF (FORMATS.md §3.8)."""
    import csv
    import io

    states, executors = _queued_columns(found)
    head = ["Experiment", "rev", "typ", "Created", "parent"]
    head += [*(["State"] if states else []), *(["Executor"] if executors else [])]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head + [column.name for column in found.columns])
    for line in found.lines:
        exp = line.experiment
        typ = "baseline" if exp is None else ("branch_base" if line.last else "branch_commit")
        rev = line.row.rev if line.row.rev == "workspace" else line.row.rev[:7]
        if exp is None and line.baseline.name:
            rev = line.baseline.name
        when = line.row.timestamp
        writer.writerow(
            [
                exp.name if exp is not None else "",
                rev,
                typ,
                "" if when is None else iso(when),
                "",
                *([(exp.state if exp is not None else None) or ""] if states else []),
                *([(exp.executor if exp is not None else None) or ""] if executors else []),
                *(_csv_cell(value, precision) for value in line.cells),
            ]
        )
    return text.getvalue()


def _csv_cell(value: Any, precision: int | None) -> str:
    if value is MISSING or value is None:
        return ""
    if isinstance(value, float) and precision is not None:
        return f"{value:.{precision}g}"
    return "!" if value is ERROR else str(value)


def row_json(row: Row) -> dict[str, Any]:
    """A row as ``exp show --json`` has it."""
    data: dict[str, Any] = {
        "rev": row.rev,
        "timestamp": None if row.timestamp is None else iso(row.timestamp),
        "params": {file: {"data": data} for file, data in row.params.items()},
        "metrics": metrics_json(row),
        "deps": row.deps,
        "outs": row.outs,
        "meta": {},
    }
    for file, (kind, message) in row.errors.items():
        if file not in data["metrics"] and file not in row.params:
            data["params"][file] = {"error": {"type": kind, "msg": message}}
    return data


def metrics_json(row: Row) -> dict[str, Any]:
    """A row's metrics: each declared file's data, or why there is none."""
    found: dict[str, Any] = {file: {"data": data} for file, data in row.metrics.items()}
    for file in row.metric_files:
        if file not in found:
            kind, message = row.errors.get(file, ("FileNotFoundError", f"No such file or directory: '{file}'"))
            found[file] = {"error": {"type": kind, "msg": message}}
    return found


def show_json(baselines: Sequence[Any]) -> list[dict[str, Any]]:
    """All of ``exp show --json``: a list of baselines with their experiments (FORMATS.md §3.8)."""
    return [
        {
            **_state_json(one.row, one.name),
            "experiments": [_experiment_json(exp) for exp in one.experiments] or None,
        }
        for one in baselines
    ]


def _state_json(row: Row, name: str | None) -> dict[str, Any]:
    error = None if row.error is None else {"type": row.error[0], "msg": row.error[1]}
    return {
        "rev": row.rev,
        "name": name,
        "data": None if error else row_json(row),
        "error": error,
        "experiments": None,
    }


def _experiment_json(exp: Any) -> dict[str, Any]:
    executor = None
    if exp.state is not None:
        executor = {"state": exp.state.lower(), "name": exp.executor, "local": None}
        if exp.task is not None:
            executor["local"] = {
                "root": None,
                "log": None,
                "pid": None,
                "returncode": exp.task.status,
                "task_id": exp.task.id,
            }
    return {"revs": [_state_json(exp.row, exp.name)], "executor": executor, "name": exp.name}


# -- differences -----------------------------------------------------------------------------------------------------


def diff_json(found: Diff) -> dict[str, Any]:
    """``exp diff --json``: {"metrics": {file: {key: {old, new, diff}}}, "params": …}."""
    return {"metrics": changes_json(found.metrics), "params": changes_json(found.params)}


def changes_json(changes: Iterable[Change]) -> dict[str, Any]:
    result: dict[str, dict[str, Any]] = {}
    for change in changes:
        entry: dict[str, Any] = {"old": _side(change.old), "new": _side(change.new)}
        if change.diff is not None:
            entry["diff"] = change.diff
        result.setdefault(change.path, {})[change.name] = entry
    return result


def _side(value: Any) -> Any:
    """Lists come as text, as DVC has them."""
    return None if value is MISSING else str(value) if isinstance(value, (list, tuple)) else value


def change_rows(
    changes: Sequence[Change], *, precision: int | None, decimals: bool = False, with_diff: bool = True
) -> list[list[str]]:
    """Cells of a table of differences: path, name, old, new and, with ``with_diff``, the change."""

    def shown(value: Any) -> str:
        if isinstance(value, float) and precision is not None:
            return str(round(value, precision)) if decimals else number(value, precision)
        return plain(value)

    rows = []
    for change in changes:
        cells = [printable(change.path), printable(change.name), shown(change.old), shown(change.new)]
        if with_diff:
            # As DVC: exp diff has one word for all that has no difference, metrics diff leaves a missing side empty.
            lacking = decimals and (change.old is MISSING or change.new is MISSING)
            cells.append(shown(change.diff) if change.diff is not None else FILL if lacking else "diff not supported")
        rows.append(cells)
    return rows
