"""Changes one value of a JSON text and no other byte.

The text is scanned for where each value starts and ends; a new member takes its separators from its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pyexp.errors import FormatError

MAX_DEPTH = 100
_BLANK = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\[\]{}:"]+')


@dataclass
class Span:
    """A value's place: ``members`` maps a key (or index) to where its entry starts and its own span."""

    start: int
    end: int = 0
    members: dict[str | int, tuple[int, Span]] = field(default_factory=dict)


def scan(text: str, path: str) -> Span:
    """The spans of a JSON text that ``json.loads`` takes; raises FormatError for any other."""
    try:
        json.loads(text)
        span = _value(text, _BLANK.match(text).end(), 0)  # type: ignore[union-attr]
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg}", path=path, line=error.lineno, column=error.colno) from error
    except RecursionError as error:
        raise FormatError("nested too deeply", path=path) from error
    return span


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None
    return found.end()


def _value(text: str, at: int, depth: int) -> Span:
    if depth > MAX_DEPTH:
        raise RecursionError
    span = Span(at)
    opening = text[at]
    if opening not in "{[":
        found = _SCALAR.match(text, at)
        assert found is not None
        span.end = found.end()
        return span
    closing = "}" if opening == "{" else "]"
    at = _skip(text, at + 1)
    index = 0
    while text[at] != closing:
        entry = at
        key: str | int = index
        if opening == "{":
            found = _SCALAR.match(text, at)
            assert found is not None
            key = json.loads(found.group())
            at = _skip(text, _skip(text, found.end()) + 1)
        inner = _value(text, at, depth + 1)
        span.members[key] = (entry, inner)
        at = _skip(text, inner.end)
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    span.end = at + 1
    return span


def set_value(text: str, keys: Sequence[str], value: Any, path: str) -> str:
    """``text`` with the value at ``keys`` replaced or added; raises FormatError when something on the way is no object."""
    if not text.strip():
        text = "{}\n"
    span = scan(text, path)
    for depth, key in enumerate(keys):
        member = span.members.get(key)
        if member is None and text[span.start] == "[" and key.isdigit():
            member = span.members.get(int(key))
        if member is None:
            return _added(text, span, keys[depth:], value, path)
        span = member[1]
    return text[: span.start] + _dumped(value, text, span.start) + text[span.end :]


def _dumped(value: Any, text: str, at: int) -> str:
    """A value as the file writes values: over several lines where the file does, in its indentation."""
    nested = isinstance(value, (dict, list)) and value
    indent = _indentation(text)
    if not nested or indent is None:
        return json.dumps(value, ensure_ascii=False)
    line = text[text.rfind("\n", 0, at) + 1 : at]
    margin = line[: len(line) - len(line.lstrip())]
    return json.dumps(value, indent=indent, ensure_ascii=False).replace("\n", "\n" + margin)


def _indentation(text: str) -> str | None:
    found = re.search(r"\n([ \t]+)\S", text)
    return found.group(1) if found else None


def _added(text: str, span: Span, keys: Sequence[str], value: Any, path: str) -> str:
    if text[span.start] != "{":
        raise FormatError(f"cannot hold '{keys[0]}': it is no object", path=path)
    for key in reversed(keys[1:]):
        value = {key: value}
    name = json.dumps(keys[0], ensure_ascii=False)
    if span.members:
        entries = [entry for entry, _ in span.members.values()]
        last = list(span.members.values())[-1][1]
        lead = text[span.start + 1 : entries[0]]
        between = re.search(r":\s*", text[entries[0] : last.end])
        colon = between.group() if between else ": "
        if len(entries) > 1:
            second_last = list(span.members.values())[-2][1]
            lead = text[second_last.end : entries[-1]].replace(",", "", 1)
        elif not lead and ", " not in text:
            lead = " "
        return f"{text[: last.end]},{lead}{name}{colon}{_dumped(value, text, entries[-1])}{text[last.end :]}"
    return f"{text[: span.start]}{{{name}: {_dumped(value, text, span.start)}}}{text[span.end :]}"


def delete_key(text: str, keys: Sequence[str], path: str) -> str:
    """``text`` without the entry at ``keys``, which must be there."""
    span = scan(text, path)
    for key in keys[:-1]:
        span = span.members[key][1]
    places = list(span.members.items())
    index = [key for key, _ in places].index(keys[-1])
    entry, inner = span.members[keys[-1]]
    if len(places) == 1:
        return text[: span.start] + "{}" + text[span.end :]
    if index + 1 < len(places):
        return text[:entry] + text[places[index + 1][1][0] :]
    return text[: places[index - 1][1][1].end] + text[inner.end :]
