"""Values and rows as text: plain columns, markdown, JSON. Imports nothing that a small command does not need."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pyexp.formats.values import ERROR, MISSING
from pyexp.paths import printable

PRECISION = 5
FILL = "-"


def number(value: Any, precision: int = PRECISION) -> str:
    """A value as a cell: floats to ``precision`` significant digits, everything else as it is."""
    if value is MISSING or value is None:
        return FILL
    if value is ERROR:
        return "!"
    if isinstance(value, float):
        return f"{value:.{precision}g}"
    return printable(str(value))


def plain(value: Any) -> str:
    """A value unrounded."""
    return FILL if value is MISSING or value is None else printable(str(value))


def columns(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns two blanks apart, as wide as their content or their head and two blanks."""
    rows = list(rows)
    widths = _widths(head, rows)
    return "\n".join("  ".join(map(_filled, row, widths)).rstrip() for row in [head, *rows])


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(_width(title) + 2, *(_width(row[i]) for row in rows), 0) for i, title in enumerate(head)]


def _width(text: str) -> int:
    """How many places of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth  # prettytable brings it; only wide characters pay for it

    width: int = wcswidth(text)
    return width if width >= 0 else len(text)


def _filled(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A GitHub table."""
    head, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = _widths(head, rows)

    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(map(_filled, row, widths)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def to_json(data: Any) -> str:
    """One line for a program, indented for a person."""
    return json.dumps(data, indent=2 if sys.stdout.isatty() else None, default=_jsonable)


def _jsonable(value: Any) -> Any:
    return str(value)


def created(timestamp: int | None) -> str:
    """A time for a person: the hour if it was today, else the day."""
    if timestamp is None:
        return FILL
    then = time.localtime(timestamp)
    return time.strftime("%I:%M %p" if then[:3] == time.localtime()[:3] else "%b %d, %Y", then)


def iso(timestamp: int) -> str:
    """Local time, as DVC prints it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(timestamp))
