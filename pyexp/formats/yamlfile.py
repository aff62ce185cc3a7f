"""YAML files: read with the rules of YAML 1.2 as DVC reads it, written as DVC writes it, edited one value at a time.

This is the door; the work is done behind it (yamlparse.py, yamledit.py, yamltext.py). The parser is a fifth of what a quick
command would take, so it is loaded when the first text comes whose data is not known already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MAX_BYTES = 10_000_000
MAX_DEPTH = 100
MAX_EXPANSION = 100_000  # values that aliases may add to those written down


class Document(str):
    """A file's text, and what its data is known to be from an earlier look at the same file.

    ``known`` gives the data, each time anew; without it ``learnt`` is told the data once it has been read.
    """

    known: Callable[[], Any] | None = None
    learnt: Callable[[Any], object] | None = None


def load(text: str, path: str) -> Any:
    """The plain data of a document; None when it is empty.

    Raises FormatError with the line and column of what is wrong.
    """
    if isinstance(text, Document) and text.known is not None:
        return text.known()
    from pyexp.formats import yamlparse  # seam: the parser

    data = yamlparse.load(text, path)
    if isinstance(text, Document) and text.learnt is not None:
        text.learnt(data)
    return data


def position(text: str, keys: Sequence[str | int]) -> tuple[int, int] | None:
    """Line and column, from 1, of a key (in a list: of an item); None when the text has none such."""
    from pyexp.formats import yamlparse  # seam: as above

    return yamlparse.position(text, keys)


def dump(data: Any) -> str:
    """The text DVC's writer makes of plain data."""
    from pyexp.formats import yamltext  # seam: as above

    return yamltext.dump(data)


def set_value(text: str, keys: Sequence[str | int], value: Any, path: str) -> str:
    """``text`` with the value at ``keys`` replaced or added; every other byte stays.

    Maps on the way to it are made. Where other places refer to the edited value by an alias they keep the value they
    had. Raises FormatError when the text cannot be edited so: a key leads through a scalar, a list index is too large.
    """
    from pyexp.formats import yamlparse  # seam: as above

    return yamlparse.set_value(text, keys, value, path)


def delete_key(text: str, keys: Sequence[str | int], path: str) -> str:
    """``text`` without the entry at ``keys``; an emptied map becomes ``{}``, a list ``[]``. Raises FormatError."""
    from pyexp.formats import yamlparse  # seam: as above

    return yamlparse.delete_key(text, keys, path)


def merge(text: str, value: Any, path: str, keys: Sequence[str | int] = ()) -> str:
    """``text`` changed to hold ``value`` (at ``keys``, which must be there), touching only what differs.

    Comments and the order of keys stay; maps are compared key by key, lists of equal length item by item. Raises
    FormatError.
    """
    from pyexp.formats import yamlparse  # seam: as above

    return yamlparse.merge(text, value, path, keys)
