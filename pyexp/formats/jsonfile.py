"""JSON params changed in place: one value is spliced, the layout of the rest stays."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from pyexp.errors import FormatError

MAX_DEPTH = 100

_BLANK = re.compile(r"[ \t\r\n]*")
_ATOM = re.compile(r"[^\s,\]}]+")


class _Node:
    """A value and where it stands; ``entries`` are (key, offset of the key, value), keys of a list its indices."""

    __slots__ = ("end", "entries", "kind", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind = kind
        self.start = start
        self.end = start
        self.entries: list[tuple[str, int, _Node]] = []

    def child(self, key: str | int) -> _Node | None:
        return next((node for name, _, node in self.entries if name == str(key)), None)


def set_value(text: str, keys: Sequence[str | int], value: Any, path: str) -> str:
    """``text`` with the value at ``keys`` replaced or added, mappings on the way made; raises FormatError."""
    if not text.strip():
        return json.dumps(_nested(keys, value), indent=4) + "\n"
    root = _scan(text, path)
    node, depth = _descend(root, keys)
    if depth == len(keys):
        return text[: node.start] + _written(text, value, node.start) + text[node.end :]
    if node.kind != "{":
        raise FormatError(f"cannot set '{'.'.join(map(str, keys))}': it would be inside a value", path=path)
    return _added(text, node, str(keys[depth]), _nested(keys[depth + 1 :], value))


def delete_key(text: str, keys: Sequence[str | int], path: str) -> str:
    """``text`` without the entry at ``keys``; raises FormatError when there is none."""
    node, depth = _descend(_scan(text, path), keys[:-1])
    index = next((i for i, entry in enumerate(node.entries) if entry[0] == str(keys[-1])), None)
    if depth < len(keys) - 1 or index is None:
        raise FormatError(f"there is no '{'.'.join(map(str, keys))}'", path=path)
    if len(node.entries) == 1:
        return text[: node.start + 1] + text[node.end - 1 :]
    if index == 0:
        return text[: node.entries[0][1]] + text[node.entries[1][1] :]
    return text[: node.entries[index - 1][2].end] + text[node.entries[index][2].end :]


def _nested(keys: Sequence[str | int], value: Any) -> Any:
    for key in reversed(keys):
        value = {str(key): value}
    return value


def _scan(text: str, path: str) -> _Node:
    try:
        return _scan_value(text, _skip(text, 0), 0)
    except (ValueError, IndexError) as error:
        raise FormatError(f"not JSON: {error}", path=path) from None


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _scan_value(text: str, at: int, depth: int) -> _Node:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    character = text[at]
    node = _Node(character if character in '{["' else "", at)
    if character == '"':
        node.end = scanstring(text, at + 1)[1]
    elif character in "{[":
        node.end = _scan_entries(text, at, node, depth)
    else:
        found = _ATOM.match(text, at)
        if found is None:  # nothing there: going on would stand still
            raise ValueError(f"no value at offset {at}")
        node.end = found.end()
    return node


def _scan_entries(text: str, at: int, node: _Node, depth: int) -> int:
    closing = "}" if node.kind == "{" else "]"
    at = _skip(text, at + 1)
    while text[at] != closing:
        start, key = at, str(len(node.entries))
        if node.kind == "{":
            key, at = scanstring(text, at + 1)
            at = _skip(text, _skip(text, at) + 1)
        value = _scan_value(text, at, depth + 1)
        node.entries.append((key, start, value))
        at = _skip(text, value.end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _descend(root: _Node, keys: Sequence[str | int]) -> tuple[_Node, int]:
    node = root
    for depth, key in enumerate(keys):
        child = node.child(key)
        if child is None:
            return node, depth
        node = child
    return node, len(keys)


def _indent_of_line(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def _step(text: str) -> str | None:
    """What nested lines are indented by; None when the text is one line."""
    found = re.search(r"[{\[]\r?\n([ \t]+)", text)
    if not found:
        return None
    outer = _indent_of_line(text, found.start())
    return found[1].removeprefix(outer) or found[1]


def _written(text: str, value: Any, at: int) -> str:
    step = _step(text)
    ascii_only = text.isascii()
    nested = isinstance(value, (dict, list, tuple)) and bool(value)
    if not nested or step is None:
        separators = (",", ":") if re.search(r'"\s*:[^\s]', text) and '": ' not in text else (", ", ": ")
        return json.dumps(value, ensure_ascii=ascii_only, separators=separators)
    newline = "\r\n" if "\r\n" in text else "\n"
    new = json.dumps(value, ensure_ascii=ascii_only, indent=step)
    return new.replace("\n", newline + _indent_of_line(text, at))


def _added(text: str, node: _Node, key: str, value: Any) -> str:
    name = json.dumps(key, ensure_ascii=text.isascii())
    colon = ":" if re.search(r'"\s*:[^\s]', text) and '": ' not in text else ": "
    if node.entries:
        first, last = node.entries[0][1], node.entries[-1][2]
        gap = text[node.start + 1 : first]
        between = gap if "\n" in gap else "" if colon == ":" else " "
        return f"{text[: last.end]},{between}{name}{colon}{_written(text, value, first)}{text[last.end :]}"
    step = _step(text)
    if step is None:
        return f"{text[: node.start + 1]}{name}{colon}{_written(text, value, node.start)}{text[node.end - 1 :]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    outer = newline + _indent_of_line(text, node.start)
    inner = _written(text, value, node.start).replace(outer, outer + step)
    return f"{text[: node.start + 1]}{outer}{step}{name}{colon}{inner}{outer}{text[node.end - 1 :]}"
