"""Rows to tables: columns, filters, order, and the differences of two rows. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from pyexp.errors import UsageError
from pyexp.experiments.collect import WORKSPACE, Baseline, Experiment
from pyexp.formats import values
from pyexp.model import Row
from pyexp.records import dataclass, field

MISSING = values.MISSING
ERROR = values.ERROR
FIXED = ("Experiment", "rev", "typ", "Created", "parent", "State", "Executor")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of values: ``name`` is what its head says, ``file`` and ``key`` where its values come from."""

    kind: Literal["metric", "param", "dep"]
    file: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: a baseline (``experiment`` None) or one of its experiments; ``last`` of its baseline."""

    baseline: Baseline
    experiment: Experiment | None
    last: bool
    cells: tuple[Any, ...]

    @property
    def row(self) -> Row:
        return self.baseline.row if self.experiment is None else self.experiment.row


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Choice:
    """Which columns and lines to show, and in which order."""

    only_changed: bool = False
    drop: str | None = None
    keep: str | None = None
    include_params: tuple[str, ...] | None = None
    exclude_params: tuple[str, ...] = ()
    include_metrics: tuple[str, ...] | None = None
    exclude_metrics: tuple[str, ...] = ()
    param_deps: bool = False
    sort_by: str | None = None
    descending: bool = False
    hide_workspace: bool = False


def build(baselines: Sequence[Baseline], choice: Choice = Choice()) -> Table:
    """The table of ``exp show``; raises UsageError for a column to sort by that does not exist, or a bad pattern."""
    shown = [one for one in baselines if not (choice.hide_workspace and one.rev == WORKSPACE)]
    rows = [row for one in shown for row in (one.row, *(exp.row for exp in one.experiments))]
    columns = _columns(rows, choice.param_deps)
    cells = {id(row): [_cell(row, column) for column in columns] for row in rows}
    order = _sorter(columns, cells, choice)
    lines: list[Line] = []
    for one in shown:
        lines.append(Line(one, None, not one.experiments, tuple(cells[id(one.row)])))
        experiments = order(one.experiments)
        for number, exp in enumerate(experiments, 1):
            lines.append(Line(one, exp, number == len(experiments), tuple(cells[id(exp.row)])))
    kept = _kept(columns, lines, choice)
    return Table(
        tuple(columns[index] for index in kept),
        tuple(Line(x.baseline, x.experiment, x.last, tuple(x.cells[index] for index in kept)) for x in lines),
    )


def _columns(rows: Iterable[Row], param_deps: bool) -> list[Column]:
    found: dict[tuple[str, str, str], None] = {}
    for row in rows:
        for file, data in row.metrics.items():
            found.update(((("metric", file, key)), None) for key in _flat(data))
        for file, data in row.params.items():
            allowed = row.dep_params.get(file, ()) if param_deps else None
            for key in _flat(data):
                if allowed is None or "" in allowed or any(key == dep or key.startswith(f"{dep}.") for dep in allowed):
                    found["param", file, key] = None
        found.update((("dep", path, ""), None) for path in row.deps)
    groups: dict[str, list[tuple[str, str]]] = {"metric": [], "param": [], "dep": []}
    for kind, file, key in found:
        groups[kind].append((file, key))
    groups["dep"].sort()
    for kind in ("metric", "param"):  # a file's columns stand together, as in DVC
        files = {file: number for number, file in enumerate(dict.fromkeys(file for file, _ in groups[kind]))}
        groups[kind].sort(key=lambda column: files[column[0]])
    uses: dict[str, int] = {}
    for kind in ("metric", "param"):
        for _, key in groups[kind]:
            uses[key] = uses.get(key, 0) + 1
    columns = [
        Column(kind, file, key, f"{file}:{key}" if uses[key] > 1 or key in FIXED or not key else key)
        for kind in ("metric", "param")
        for file, key in groups[kind]
    ]
    return columns + [Column("dep", path, "", path) for path, _ in groups["dep"]]


def _flat(data: Any) -> dict[str, Any]:
    return values.flatten(data) if isinstance(data, Mapping) else {"": data}


def _cell(row: Row, column: Column) -> Any:
    if column.kind == "dep":
        facts = row.deps.get(column.file)
        return MISSING if facts is None or facts.get("hash") is None else facts["hash"]
    source = row.metrics if column.kind == "metric" else row.params
    if column.file in row.errors:
        return ERROR
    if column.file not in source:
        return MISSING
    return _flat(source[column.file]).get(column.key, MISSING)


def _kept(columns: Sequence[Column], lines: Sequence[Line], choice: Choice) -> list[int]:
    drop, keep = _pattern(choice.drop, "--drop"), _pattern(choice.keep, "--keep")
    kept: list[int] = []
    for index, column in enumerate(columns):
        if keep is not None and keep.search(column.name):
            kept.append(index)
        elif (
            (drop is not None and drop.search(column.name))
            or not _chosen(column, choice)
            or (choice.only_changed and not _varies(line.cells[index] for line in lines))
        ):
            continue
        else:
            kept.append(index)
    return kept


def _pattern(text: str | None, option: str) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"{option} '{text}' is not a regular expression: {error}") from error


def _chosen(column: Column, choice: Choice) -> bool:
    if column.kind == "dep":
        # Deps are only noise once somebody has said which params to show.
        return choice.include_params is None
    include = choice.include_params if column.kind == "param" else choice.include_metrics
    exclude = choice.exclude_params if column.kind == "param" else choice.exclude_metrics
    if include is not None and not _named(column, include):
        return False
    return not _named(column, exclude)


def _named(column: Column, wanted: Iterable[str]) -> bool:
    full = f"{column.file}:{column.key}"
    return any(
        name in (column.key, column.name, full, column.file)
        or column.key.startswith(f"{name}.")
        or full.startswith(f"{name}.")
        or fnmatch.fnmatchcase(column.key, name)
        for name in wanted
    )


def _varies(cells: Iterable[Any]) -> bool:
    """Whether two of them differ; not to have a value is different from having one, as in DVC."""
    seen = list(cells)
    return any(cell != seen[0] for cell in seen[1:])


def _sorter(
    columns: Sequence[Column], cells: Mapping[int, list[Any]], choice: Choice
) -> Callable[[Sequence[Experiment]], list[Experiment]]:
    if choice.sort_by is None:
        return list
    name = choice.sort_by
    if name in ("Created", "Experiment"):
        by_time = name == "Created"
        return lambda found: sorted(
            found, key=lambda exp: (exp.row.timestamp or 0) if by_time else exp.name, reverse=choice.descending
        )
    matches = [index for index, column in enumerate(columns) if name in (column.name, f"{column.file}:{column.key}")]
    matches = matches or [index for index, column in enumerate(columns) if column.key == name]
    if len(matches) != 1:
        what = "Unknown" if not matches else "Ambiguous"
        known = ", ".join(column.name for column in columns if column.kind != "dep")
        raise UsageError(f"{what} sort column '{name}'", hint=f"columns: {known}" if known else None)
    index = matches[0]

    def key(exp: Experiment) -> tuple[int, float, str]:
        value = cells[id(exp.row)][index]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return (0 if number else 1, float(value) if number else 0.0, "" if number else str(value))

    def ordered(found: Sequence[Experiment]) -> list[Experiment]:
        # Experiments without a value come last, whichever way the others go.
        have = [exp for exp in found if cells[id(exp.row)][index] not in (MISSING, ERROR, None)]
        rest = [exp for exp in found if exp not in have]
        return sorted(have, key=key, reverse=choice.descending) + rest

    return ordered


# -- differences -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs; ``old`` or ``new`` is MISSING where a side does not have it."""

    path: str
    name: str
    old: Any
    new: Any

    @property
    def diff(self) -> int | float | None:
        """``new - old`` when both are numbers."""
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (self.old, self.new)):
            return self.new - self.old  # type: ignore[no-any-return]
        return None


@dataclass(frozen=True)
class Diff:
    metrics: tuple[Change, ...] = ()
    params: tuple[Change, ...] = ()
    errors: tuple[str, ...] = field(default=())


def diff(old: Row, new: Row, *, everything: bool = False, param_deps: bool = False) -> Diff:
    """What differs between two rows, sorted by file and key; ``everything`` lists equal values too."""
    errors = tuple(dict.fromkeys((*(text for _, text in old.errors.values()), *(t for _, t in new.errors.values()))))
    params = _changes(old.params, new.params, everything)
    if param_deps:
        used = {**old.dep_params, **new.dep_params}
        params = [
            change
            for change in params
            if any(
                not dep or change.name == dep or change.name.startswith(f"{dep}.") for dep in used.get(change.path, ())
            )
        ]
    return Diff(tuple(_changes(old.metrics, new.metrics, everything)), tuple(params), errors)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], everything: bool) -> list[Change]:
    found: list[Change] = []
    for path in sorted({*old, *new}):
        a, b = _flat(old.get(path, {})), _flat(new.get(path, {}))
        for key in sorted({*a, *b}):
            change = Change(path, key, a.get(key, MISSING), b.get(key, MISSING))
            if (
                everything
                or change.old != change.new
                or (
                    type(change.old) is not type(change.new)
                    and (isinstance(change.old, bool) != isinstance(change.new, bool))
                )
            ):
                found.append(change)
    return found
