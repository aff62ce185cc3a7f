"""What one picture draws: the points of its files at one revision, joined under the names that templates use.

The rules are DVC's, so that its templates and ours get the same rows: ``x`` and ``y`` may name a field, fields, or
files and their fields; where they say nothing the last field is drawn over the number of the point.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from pyexp.errors import PyexpError
from pyexp.formats.plotdata import Points, last_field, points_of
from pyexp.records import dataclass

INDEX = "step"
REV, FILE, FIELD = "rev", "filename", "field"
# Fields that hold what is drawn when it has not the same name everywhere.
MIXED_X, MIXED_Y = "dvc_inferred_x_value", "dvc_inferred_y_value"

Props = Mapping[str, Any]
Series = tuple[str, str]  # a file and a field of it


@dataclass(frozen=True)
class Joined:
    """The points of one revision; ``props`` with ``x``, ``y`` and labels that are single names; ``ys`` what is drawn."""

    points: Points
    props: dict[str, Any]
    ys: tuple[Series, ...] = ()


def sources_of(plot_id: str, props: Props) -> list[str]:
    """The files a definition reads, in order."""
    y, x = props.get("y"), props.get("x")
    found = list(y) if isinstance(y, Mapping) else [plot_id]
    if isinstance(x, Mapping):
        found += list(x)[:1]
    return list(dict.fromkeys(found))


def join(plot_id: str, props: Props, files: Mapping[str, Any], rev: str) -> Joined:
    """The points of a definition's files (path -> what it holds); raises PyexpError for a field that is not there."""
    points = {path: points_of(data) for path, data in files.items()}
    resolved = {**props, **_inferred(plot_id, props, files)}
    y_label, x_label = _y_label(resolved), _x_label(resolved)
    xs, ys = _series(resolved.get("x"), points), _series(resolved.get("y"), points)
    if len(xs) > 1 and len(xs) != len(ys):
        raise PyexpError(
            f"{len(xs)} fields for x and {len(ys)} for y", hint="name one for x, or as many as for y: docs/plots.md"
        )
    x_fields, y_fields = {field for _, field in xs}, {field for _, field in ys}
    x_name = MIXED_X if len(xs) > 1 and len(x_fields) > 1 else xs[0][1] if xs else INDEX
    y_name = MIXED_Y if len(y_fields) > 1 else next(iter(y_fields), None)
    shorten = _shortener({path for path, _ in ys})
    found: Points = []
    for number, (path, field) in enumerate(ys):
        rows = [dict(row) for row in points.get(path, ())]
        if y_name == MIXED_Y:
            _copy(rows, rows, field, MIXED_Y)
        if not xs:
            for index, row in enumerate(rows):
                row[INDEX] = index
        else:
            _add_x(rows, points, xs[number] if len(xs) > 1 else xs[0], x_name, (path, field))
        for row in rows:
            row.update({REV: rev, FILE: shorten(path), FIELD: field})
        found += rows
    if not found:
        return Joined([], {})
    resolved.update(x=x_name, y=y_name, x_label=x_label, y_label=y_label)
    return Joined(found, resolved, tuple((shorten(path), field) for path, field in ys))


def _inferred(plot_id: str, props: Props, files: Mapping[str, Any]) -> dict[str, Any]:
    """``x`` and ``y`` as mappings of files to fields, where they are only fields or missing."""
    x, y = props.get("x"), props.get("y")
    found: dict[str, Any] = {}
    if isinstance(x, str):
        if isinstance(y, Mapping):
            found["x"] = {path: [x] * len(fields) if isinstance(fields, list) else x for path, fields in y.items()}
        else:
            found["x"] = {plot_id: x}
    if y is None:
        field = last_field(files[plot_id]) if plot_id in files else None
        found["y"] = {plot_id: field} if field is not None else None
    elif not isinstance(y, Mapping):
        found["y"] = {plot_id: y}
    return found


def _each(axis: Any) -> Iterator[Series]:
    if isinstance(axis, Mapping):
        for path, fields in axis.items():
            for field in fields if isinstance(fields, list) else [fields]:
                if isinstance(field, str):
                    yield path, field


def _series(axis: Any, points: Mapping[str, Points]) -> list[Series]:
    """The files and fields of an axis; raises PyexpError for a field that a file does not have."""
    found = list(_each(axis))
    for path, field in found:
        rows = points.get(path)
        if rows == []:
            raise PyexpError(f"'{path}' holds no points", hint="write a list of mappings that all have the same keys")
        if rows and field not in rows[0]:
            has = ", ".join(str(name) for name in rows[0])
            raise PyexpError(f"'{path}' has no field '{field}' (it has: {has})", hint="name one of them: -x, -y")
    return found


def _y_label(props: Props) -> str | None:
    given: str | None = props.get("y_label")
    fields = {field for _, field in _each(props.get("y"))}
    if given is not None or not fields:
        return given
    return fields.pop() if len(fields) == 1 else "y"


def _x_label(props: Props) -> str:
    given: str | None = props.get("x_label")
    fields = {field for _, field in _each(props.get("x"))}
    if given is not None:
        return given
    return INDEX if not isinstance(props.get("x"), Mapping) else fields.pop() if len(fields) == 1 else "x"


def _shortener(paths: set[str]) -> Any:
    """How files are told apart: by their paths without what all begin with."""
    common = len(posixpath.commonpath(paths)) if len(paths) > 1 and len({path[:1] == "/" for path in paths}) == 1 else 0
    return lambda path: path[common:].strip("/")


def _add_x(rows: Points, points: Mapping[str, Points], x: Series, name: str, y: Series) -> None:
    source = points.get(x[0], [])
    if len(source) != len(rows):
        raise PyexpError(
            f"'{x[1]}' of '{x[0]}' has {len(source)} points and '{y[1]}' of '{y[0]}' {len(rows)}",
            hint="x and y need the same number of points",
        )
    _copy(rows, source, x[1], name)


def _copy(rows: Points, source: Points, field: str, name: str) -> None:
    for row, other in zip(rows, source):
        if field in other:
            row[name] = other[field]
