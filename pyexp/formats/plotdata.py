"""Files of plots: which are images, which hold points, and the points of a file as a list of mappings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from pyexp.errors import FormatError
from pyexp.formats import values

Points = list[dict[str, Any]]

IMAGES = (".jpg", ".jpeg", ".gif", ".png", ".svg")
_TABLES = {".csv": ",", ".tsv": "\t"}
_DATA = (*_TABLES, *values.SUFFIXES)


def is_image(path: str) -> bool:
    """Whether DVC takes a file for an image; it does not know capitals."""
    return posixpath.splitext(path)[1] in IMAGES


def load(raw: bytes, path: str, *, header: bool = True) -> Any:
    """What a file of points holds: a list of rows, or what its JSON, YAML, TOML or Python says. Raises FormatError."""
    suffix = posixpath.splitext(path)[1]
    if suffix not in _DATA:
        raise FormatError(
            "is no file of plots", path=path, hint="points are in .csv, .tsv, .json or .yaml, images in .png, .jpg, …"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError("is not UTF-8 text", path=path, line=raw[: error.start].count(b"\n") + 1) from error
    if suffix in _TABLES:
        return _rows(text, path, _TABLES[suffix], header=header)
    data = values.load_any(text, path)
    if data is None:
        raise FormatError("is empty", path=path, hint="run what writes it")
    if not isinstance(data, (list, dict)):
        raise FormatError("holds no list of points", path=path, hint="write it as a list of mappings")
    return data


def _rows(text: str, path: str, delimiter: str, *, header: bool) -> Points:
    """A table's rows; without a header line the columns are called by their numbers."""
    import csv  # only plots read tables
    import io

    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        names = next((line for line in lines if line), []) if header else None
        rows: Points = []
        for line in lines:
            if not line:
                continue
            if names is None:
                names = [str(number) for number in range(len(line))]
            row: dict[str, Any] = dict(zip(names, line))
            row.update(dict.fromkeys(names[len(line) :]))
            rows.append(row)
    except csv.Error as error:
        raise FormatError(f"not a table: {error}", path=path) from None
    return rows


def lists_of(data: Any) -> Iterator[list[Any]]:
    """Every list that a file's nested mappings hold, in order; the file itself may be one."""
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            yield value
        elif isinstance(value, Mapping):
            pending.extend(reversed([*value.values()]))


def points_of(data: Any) -> Points:
    """The points of a file: its lists of mappings that all have the same keys, side by side when there are several."""
    found: Points = []
    for items in lists_of(data):
        if not items or not all(isinstance(item, dict) for item in items):
            continue
        if set(items[0]) != {key for item in items for key in item}:
            continue
        for index, item in enumerate(items):
            if index == len(found):
                found.append({})
            found[index].update(item)
    return found


def last_field(data: Any) -> str | None:
    """The field that is drawn when none was named: the last of the first point."""
    for items in lists_of(data):
        if items and all(isinstance(item, dict) for item in items):
            return next(reversed(items[0]), None)
    return None
