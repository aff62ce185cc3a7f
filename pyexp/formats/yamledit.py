"""Edits of YAML text by splicing: one value changes, every other byte stays.

A ``Node`` says where its text begins and ends. Two things need care. A block collection's end mark takes in the
comments and blank lines after it: ``_end`` finds where its last value really ends. And what aliases refer to must not
change under them: aliases of anything touched are written out with the value they had.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pyexp.formats import yamltext
from pyexp.formats.yamltext import Style

Build = Callable[["Node"], Any]


class Node:
    """A value in a YAML text. ``kind`` says what ``value`` is.

    scalar: its text; map: list of (key, value) nodes; seq: list of nodes; alias: the node it refers to. ``style`` is
    ``flow`` for collections in brackets, the quote or block indicator for scalars; ``plain`` is a scalar without
    quotes and tag.
    """

    __slots__ = ("anchor", "end_mark", "kind", "plain", "start_mark", "style", "tag", "value")

    def __init__(self, kind: str, value: Any, start: Any, end: Any, tag: str | None, style: str, plain: bool) -> None:
        self.kind = kind
        self.value = value
        self.start_mark = start
        self.end_mark = end
        self.tag = tag
        self.style = style
        self.plain = plain
        self.anchor: str | None = None

    def close(self, end: Any) -> None:
        self.end_mark = end

    @property
    def start(self) -> int:
        return int(self.start_mark.index)

    @property
    def end(self) -> int:
        return int(self.end_mark.index)

    @property
    def line(self) -> int:
        return int(self.start_mark.line)

    @property
    def column(self) -> int:
        return int(self.start_mark.column)

    @property
    def text(self) -> str:
        """A scalar's text, through an alias too; empty for collections."""
        node: Node = self.value if self.kind == "alias" else self
        return str(node.value) if node.kind == "scalar" else ""

    def walk(self) -> Iterator[Node]:
        """The node and those below it; aliases are not followed."""
        pending = [self]
        while pending:
            node = pending.pop()
            yield node
            if node.kind == "seq":
                pending.extend(node.value)
            elif node.kind == "map":
                for pair in node.value:
                    pending.extend(pair)


class EditError(Exception):
    """The text has no place for the edit; ``node`` is where."""

    def __init__(self, message: str, node: Node | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.node = node
        self.hint = hint


class _Place(NamedTuple):
    """Where a value stands: its node, the node that holds it, its key's node, and whether that is within brackets."""

    node: Node
    holder: Node | None
    key: Node | None
    in_flow: bool


def find_entry(node: Node, key: str | int) -> tuple[Node, Node] | None:
    """The (key, value) nodes of a map's own entry: a string key before a number or word spelled alike."""
    alike = None
    for pair in node.value:
        key_node: Node = pair[0].value if pair[0].kind == "alias" else pair[0]
        if key_node.kind != "scalar":
            continue
        value = yamltext.plain_or_none(key_node.value) if key_node.plain else key_node.value
        if value == key and type(value) is type(key):
            return pair[0], pair[1]
        if key_node.value == str(key) and not (key_node.plain and key_node.value == "<<"):
            alike = pair[0], pair[1]
    return alike


def set_value(text: str, root: Node | None, keys: Sequence[str | int], value: Any, build: Build) -> tuple[str, Any]:
    """The new text, and the data it must load as. Raises EditError."""
    data = _copied(build(root)) if root is not None else None
    expected = _put(data, list(keys), value, root)
    if root is None:
        start = text if not text or text.endswith("\n") else text + _newline(text)
        return start + yamltext.dump(expected).replace("\n", _newline(text)), expected
    style = style_of(root)
    place, depth = _descend(root, keys)
    here = _get(expected, keys[:depth])
    touched = _path_nodes(root, keys[:depth])
    if depth == len(keys) or place.node.kind == "alias" or not _can_add(place):
        splices = [_replace(text, place, here, style)]
    else:
        splices = [_add(text, place, keys[depth], _get(expected, keys[: depth + 1]), style)]
        place = place._replace(node=_NOWHERE)
    return _apply(text, [*splices, *_expansions(text, root, touched, place.node, build)]), expected


def delete(text: str, root: Node | None, keys: Sequence[str | int], build: Build) -> tuple[str, Any]:
    """The new text, and the data it must load as. Raises EditError when there is no such entry."""
    if root is None or not keys:
        raise EditError("there is nothing to delete")
    expected = _drop(_copied(build(root)), list(keys), root)
    parent, depth = _descend(root, keys[:-1])
    node = parent.node
    entry = find_entry(node, keys[-1]) if node.kind == "map" else None
    touched = _path_nodes(root, keys[:depth])
    inherits = node.kind == "map" and any(key.plain and key.value == "<<" for key, _ in node.value)
    if depth < len(keys) - 1 or entry is None or inherits or len(node.value) == 1:
        splice = _replace(text, parent, _get(expected, keys[:depth]), style_of(root))
        gone = node
    else:
        splice = _cut(text, node, next(i for i, pair in enumerate(node.value) if pair[0] is entry[0]))
        gone = entry[1]
    return _apply(text, [splice, *_expansions(text, root, touched, gone, build)]), expected


# Plain data


def _copied(data: Any) -> Any:
    """A deep copy in which nothing is shared: what aliases made one is several again."""
    if isinstance(data, dict):
        return {key: _copied(item) for key, item in data.items()}
    return [_copied(item) for item in data] if isinstance(data, (list, tuple)) else data


def _match(data: dict[Any, Any], key: str | int) -> Any:
    """The key of ``data`` that is meant: itself, or a number or word spelled alike."""
    if key in data:
        return key
    return next((own for own in data if not isinstance(own, str) and yamltext.flow(own) == str(key)), key)


def _index(data: list[Any], key: str | int) -> int | None:
    if isinstance(key, int) or key.isdecimal():
        return int(key)
    return None


def _get(data: Any, keys: Sequence[str | int]) -> Any:
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[_match(data, key)]
    return data


def _put(data: Any, keys: list[str | int], value: Any, at: Node | None) -> Any:
    if not keys:
        return _copied(value)
    key = keys[0]
    if data is None:
        data = {}
    if isinstance(data, dict):
        own = _match(data, key)
        data[own] = _put(data.get(own), keys[1:], value, at)
        return data
    if isinstance(data, list):
        index = _index(data, key)
        if index is None or index > len(data):
            raise EditError(f"a list of {len(data)} has no item '{key}'", at)
        if index == len(data):
            data.append(None)
        data[index] = _put(data[index], keys[1:], value, at)
        return data
    raise EditError(f"cannot set '{key}': it would be inside {yamltext.flow(data)}, which is not a mapping", at)


def _drop(data: Any, keys: list[str | int], at: Node) -> Any:
    inner = _get_or_none(data, keys[:-1])
    key = keys[-1]
    if isinstance(inner, dict) and _match(inner, key) in inner:
        del inner[_match(inner, key)]
        return data
    index = _index(inner, key) if isinstance(inner, list) else None
    if index is not None and index < len(inner):
        del inner[index]
        return data
    raise EditError(f"there is no '{'.'.join(map(str, keys))}' to delete", at)


def _get_or_none(data: Any, keys: Sequence[str | int]) -> Any:
    try:
        return _get(data, keys)
    except (KeyError, IndexError, TypeError, ValueError):
        return None


# Finding the place


_NOWHERE = Node("scalar", "", None, None, None, "", False)


def _descend(root: Node, keys: Sequence[str | int]) -> tuple[_Place, int]:
    """Follows ``keys`` as far as nodes of their own go; returns that place and how many keys were used."""
    place = _Place(root, None, None, False)
    for depth, key in enumerate(keys):
        node = place.node
        in_flow = place.in_flow or node.style == "flow"
        if node.kind == "map":
            entry = find_entry(node, key)
            if entry is None:
                return place, depth
            place = _Place(entry[1], node, entry[0], in_flow)
        elif node.kind == "seq" and str(key).isdecimal() and int(key) < len(node.value):
            place = _Place(node.value[int(key)], node, None, in_flow)
        else:
            return place, depth
    return place, len(keys)


def _path_nodes(root: Node, keys: Sequence[str | int]) -> list[Node]:
    return [_descend(root, keys[:depth])[0].node for depth in range(len(keys) + 1)]


def _can_add(place: _Place) -> bool:
    """Whether an entry can be added to the node as it is: an empty ``{}`` outside brackets becomes a block instead."""
    node = place.node
    return node.kind == "map" and bool(node.value or place.in_flow)


def style_of(root: Node) -> Style:
    """How a file indents: the first nested map and the first list in a map say."""
    step = offset = None
    for node in root.walk():
        if node.kind != "map" or node.style == "flow":
            continue
        for key, value in node.value:
            if value.style == "flow" or value.kind not in ("map", "seq") or value.anchor or not value.value:
                continue
            difference = value.column - key.column
            if value.kind == "map" and step is None and difference > 0:
                step = difference
            elif value.kind == "seq" and offset is None and difference >= 0:
                offset = difference
    return Style(step or 2, offset or 0)


def _newline(text: str) -> str:
    at = text.find("\n")
    return "\r\n" if at > 0 and text[at - 1] == "\r" else "\n"


def _end(text: str, node: Node) -> int:
    """Where a node's own text ends, without the comments and blank lines after it."""
    while node.kind in ("map", "seq") and node.style != "flow" and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end = node.end
    if node.kind == "scalar" and node.style in ("|", ">"):
        while end > node.start and text[end - 1] in " \t\r\n":
            end -= 1
    return end


def _entry_start(text: str, key: Node) -> int:
    """Where an entry of a block map starts: at its key, or at the ``?`` of a key that is written with one."""
    at = key.start
    while at and text[at - 1] in " \t":
        at -= 1
    return at - 1 if at and text[at - 1] == "?" and text[at : key.start] else key.start


def _column(text: str, node: Node) -> int:
    """The column of a block map's keys."""
    key: Node = node.value[0][0]
    return key.column - (key.start - _entry_start(text, key))


def _line_end(text: str, at: int) -> int:
    """The offset of the line break that ends the line, or of the text's end."""
    found = text.find("\n", at)
    if found < 0:
        return len(text)
    return found - 1 if found > at and text[found - 1] == "\r" else found


def _after_line(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


# Splices: (start, end, new text)


Splice = tuple[int, int, str]


def _apply(text: str, splices: list[Splice]) -> str:
    for start, end, new in sorted(splices, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _expansions(text: str, root: Node, touched: list[Node], gone: Node, build: Build) -> list[Splice]:
    """Aliases to write out: of what is touched, and of what lies within what goes."""
    below = {id(node) for node in gone.walk()}
    changed = {id(node) for node in touched if node is not _NOWHERE} | below
    return [
        (node.start, node.end, yamltext.flow(_copied(build(node.value))))
        for node in root.walk()
        if node.kind == "alias" and id(node) not in below and id(node.value) in changed
    ]


def _one_line(value: Any, old: Node, in_flow: bool) -> str:
    if isinstance(value, str) and old.kind == "scalar" and old.style in ("'", '"'):
        return yamltext.restyled(value, old.style)
    return yamltext.flow(value) if in_flow or isinstance(value, (dict, list, tuple)) else yamltext.scalar(value)


def _replace(text: str, place: _Place, value: Any, style: Style) -> Splice:
    node = place.node
    filled = isinstance(value, (dict, list, tuple)) and bool(value)
    is_block = node.kind in ("map", "seq") and node.style != "flow"
    brackets = place.in_flow or node.kind == "alias" or (node.style == "flow" and bool(node.value))
    if filled and not brackets:
        return _replace_by_block(text, place, value, style)
    if is_block:
        return _replace_block_by_line(text, place, _one_line(value, node, place.in_flow))
    new = _one_line(value, node, brackets)
    start, end = node.start, _end(text, node)
    if start == end:  # an empty value: nothing after the colon, or no colon
        before = text[place.key.end : start] if place.key is not None else ":"
        return start, end, (" " if ":" in before else ": ") + new
    anchor = re.match(r"&\S+[ \t]+", text[start:end]) if node.anchor and node.tag is None else None
    return start + (anchor.end() if anchor else 0), end, new


def _colon(text: str, place: _Place) -> int:
    """The offset after the colon of the place's key, or after the dash of its list."""
    if place.key is not None:
        at = text.find(":", place.key.end)
        if at < 0:
            raise EditError("a key without a colon cannot be edited", place.key, hint="write a colon after it")
        return at + 1
    dash = text.rfind("\n", 0, place.node.start) + 1
    found = [m.end() for m in re.finditer(r"-(?=[ \t\r\n]|\Z)", text[dash : place.node.start])]
    return dash + found[-1] if found else place.node.start


def _replace_block_by_line(text: str, place: _Place, new: str) -> Splice:
    node = place.node
    end = _end(text, node)
    if place.holder is None:
        return node.start, end, new
    after = _colon(text, place)
    # Comments between the key and the block that goes stay where they are.
    return after, end, f" {new}{text[after : node.start].rstrip()}"


def _replace_by_block(text: str, place: _Place, value: Any, style: Style) -> Splice:
    node, holder = place.node, place.holder
    end = _end(text, node)
    newline = _newline(text)
    if node.kind in ("map", "seq") and node.style != "flow":
        first = node.value[0][0] if node.kind == "map" else node
        if first is node and node.anchor:  # a list's start mark stands before its anchor
            first = node.value[0]
            column = max(first.column - 2, 0)
            start = first.start - 2
        elif node.kind == "map":
            column, start = _column(text, node), _entry_start(text, first)
        else:
            column, start = first.column, first.start
        line = text.rfind("\n", 0, start) + 1
        same_kind = node.kind == ("map" if isinstance(value, dict) else "seq")
        if not same_kind and place.key is not None and not text[line:start].strip():
            column = place.key.column + (style.step if isinstance(value, dict) else style.offset)
            start = line
            return start, end, yamltext.block(value, column, style).rstrip("\n").replace("\n", newline)
        return start, end, yamltext.block(value, column, style).strip(" \n").replace("\n", newline)
    if holder is None:
        return node.start, end, yamltext.block(value, 0, style).rstrip("\n").replace("\n", newline)
    if place.key is None:
        column = holder.column + 2 if not holder.anchor else node.column
        new = yamltext.block(value, column, style).strip(" \n").replace("\n", newline)
        return node.start, end, new if node.start < end else f" {new}"
    column = place.key.column + (style.step if isinstance(value, dict) else style.offset)
    after, stop = _colon(text, place), _line_end(text, end)
    comment = text[end:stop].rstrip()
    new = yamltext.block(value, column, style).rstrip("\n").replace("\n", newline)
    return after, stop, f"{comment}{newline}{new}"


def _add(text: str, place: _Place, key: str | int, value: Any, style: Style) -> Splice:
    """A new entry at the end of a map."""
    node = place.node
    if node.style == "flow":
        entry = f"{yamltext.flow(key)}: {yamltext.flow(value)}"
        if not node.value:
            return node.end - 1, node.end - 1, entry
        last_key, last = node.value[-1]
        at = max(_end(text, last), last_key.end)
        return at, at, f", {entry}"
    newline = _newline(text)
    column = _column(text, node)
    new = yamltext.block({key: value}, column, style).replace("\n", newline)
    last = node.value[-1][1]
    while last.kind in ("map", "seq") and last.style != "flow" and last.value:
        inner = last.value[-1]
        last = inner[1] if isinstance(inner, tuple) else inner
    if last.kind == "scalar" and last.style in ("|", ">") and text[last.end - 1] == "\n":
        return last.end, last.end, new
    at = _after_line(text, max(_end(text, last), node.value[-1][0].end))
    if at == len(text) and not text.endswith("\n"):
        return at, at, newline + new[: -len(newline)]
    return at, at, new


def _cut(text: str, node: Node, index: int) -> Splice:
    """Takes one of several entries out of a map."""
    key, value = node.value[index]
    end = max(_end(text, value), key.end)
    following = node.value[index + 1][0] if index + 1 < len(node.value) else None
    if node.style == "flow":
        if index == 0:
            assert following is not None
            return key.start, following.start, ""
        before_key, before = node.value[index - 1]
        return max(_end(text, before), before_key.end), end, ""
    start = _entry_start(text, key)
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip():  # "- key: value": the list item goes on with the next key
        gap = text[end : following.start] if following is not None else "#"
        following_start = _entry_start(text, following) if following is not None else end
        return start, end if "#" in gap else following_start, ""
    stop = _after_line(text, end)
    if stop == len(text) and not text.endswith("\n"):
        return max(_line_end(text, line - len(_newline(text))), 0), stop, ""
    return line, stop, ""
