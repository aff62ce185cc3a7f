"""What is behind yamlfile.py: YAML text read into nodes and plain data, and changed in place.

Text becomes events (libyaml's parser, the pure one without it), events become ``Node``s that remember where they
stand, nodes become plain data. The limits are in SAFETY.md §3. What is refused: duplicate keys, more than one
document, tags other than the core ones, keys that are not scalars, structures that contain themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

from pyexp.errors import FormatError
from pyexp.formats import yamledit, yamltext
from pyexp.formats.yamledit import Node
from pyexp.formats.yamlfile import MAX_BYTES, MAX_DEPTH, MAX_EXPANSION

try:
    from yaml._yaml import CParser as _Parser
except ImportError:  # no libyaml: slower, same marks
    from yaml import SafeLoader as _Parser  # type: ignore[assignment]

_CORE = "tag:yaml.org,2002:"
_MERGE = "<<"


def load(text: str, path: str) -> Any:
    """See yamlfile.load."""
    root = compose(text, path)
    return None if root is None else _Builder(path).build(root)


def position(text: str, keys: Sequence[str | int]) -> tuple[int, int] | None:
    """See yamlfile.position."""
    try:
        node = compose(text, "")
    except FormatError:
        return None
    found: Node | None = node
    for key in keys:
        if node is None:
            return None
        node = node.value if node.kind == "alias" else node
        if node.kind == "map":
            entry = yamledit.find_entry(node, key)
            if entry is None:
                return None
            found, node = entry
        elif node.kind == "seq" and isinstance(key, int) and 0 <= key < len(node.value):
            found = node = node.value[key]
        else:
            return None
    return None if found is None else (found.line + 1, found.column + 1)


def set_value(text: str, keys: Sequence[str | int], value: Any, path: str) -> str:
    """See yamlfile.set_value."""
    return _edited(
        text, path, lambda data, root: yamledit.set_value(data, root, keys, value, build=_Builder(path).build)
    )


def delete_key(text: str, keys: Sequence[str | int], path: str) -> str:
    """See yamlfile.delete_key."""
    return _edited(text, path, lambda data, root: yamledit.delete(data, root, keys, build=_Builder(path).build))


def merge(text: str, value: Any, path: str, keys: Sequence[str | int] = ()) -> str:
    """See yamlfile.merge."""
    old = load(text, path)
    for key in keys:
        old = old[key]
    for at, new in list(_differences(old, value, tuple(keys))):
        text = delete_key(text, at, path) if new is _GONE else set_value(text, at, new, path)
    return text


_GONE = object()


def _differences(old: Any, new: Any, keys: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(old, dict) and isinstance(new, dict) and new and old:
        for key, item in new.items():
            if key in old:
                yield from _differences(old[key], item, (*keys, key))
            else:
                yield (*keys, key), item
        for key in old:
            if key not in new:
                yield (*keys, key), _GONE
    elif isinstance(old, list) and isinstance(new, (list, tuple)) and old and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differences(a, b, (*keys, index))
    elif not _same(old, new):
        yield keys, new


def _edited(text: str, path: str, edit: Callable[[str, Node | None], tuple[str, Any]]) -> str:
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text[len(mark) :]
    try:
        new, expected = edit(body, compose(body, path))
    except yamledit.EditError as error:
        at = error.node
        raise FormatError(
            str(error),
            path=path,
            line=at.line + 1 if at else None,
            column=at.column + 1 if at else None,
            hint=error.hint,
        ) from None
    # The splice is checked by reading it back: what is not understood is refused, never written wrongly.
    try:
        right = _same(load(new, path), expected)
    except FormatError:
        right = False
    if not right:
        raise FormatError("cannot be edited in place here", path=path, hint="change it with an editor")
    return mark + new


def _same(a: Any, b: Any) -> bool:
    """Equality that tells 1 from True and from 1.0, and finds NaN equal to itself."""
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all(key in b and _same(item, b[key]) for key, item in a.items())
    if isinstance(a, list) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return (type(a) is type(b) or isinstance(b, type(a))) and (a == b or (a != a and b != b))


def compose(text: str, path: str) -> Node | None:
    """The nodes of a document, None when it is empty; marks count from 0, after a byte order mark. Raises FormatError."""
    if len(text) > MAX_BYTES:
        raise FormatError(f"more than {MAX_BYTES // 1_000_000} MB of YAML", path=path)
    if text.startswith("\ufeff"):
        text = text[1:]
    try:
        return _compose(_Parser(str(text)), path)  # libyaml takes no subclass
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        message = (error.problem or error.context or "not YAML").strip()
        if message.startswith("found character") and "\\t" in repr(text[at.index : at.index + 1] if at else ""):
            message = "found a tab where YAML wants blanks"
        raise FormatError(
            message, path=path, line=at.line + 1 if at else None, column=at.column + 1 if at else None
        ) from None
    except (yaml.YAMLError, UnicodeError) as error:
        at = getattr(error, "position", None)
        line = text.count("\n", 0, at) + 1 if isinstance(at, int) else None
        raise FormatError(f"not YAML text: {str(error).splitlines()[0]}", path=path, line=line) from None


def _compose(parser: Any, path: str) -> Node | None:
    next_event = parser.get_event
    anchors: dict[str, Node] = {}
    root: Node | None = None
    documents = 0
    open_nodes: list[Node] = []  # collections being filled
    pending: list[Node | None] = []  # the key that waits for its value, per open node
    while True:
        event = next_event()
        kind = type(event).__name__
        if kind == "ScalarEvent":
            plain = event.style in (None, "") and event.tag is None
            node = Node("scalar", event.value, event.start_mark, event.end_mark, event.tag, event.style or "", plain)
        elif kind == "MappingEndEvent" or kind == "SequenceEndEvent":
            open_nodes.pop().close(event.end_mark)
            pending.pop()
            continue
        elif kind == "MappingStartEvent":
            node = Node(
                "map", [], event.start_mark, event.end_mark, event.tag, "flow" if event.flow_style else "", False
            )
        elif kind == "SequenceStartEvent":
            node = Node(
                "seq", [], event.start_mark, event.end_mark, event.tag, "flow" if event.flow_style else "", False
            )
        elif kind == "AliasEvent":
            if event.anchor not in anchors:
                raise _wrong(f"alias *{event.anchor} has no anchor", path, event.start_mark)
            node = Node("alias", anchors[event.anchor], event.start_mark, event.end_mark, None, "", False)
        elif kind == "DocumentStartEvent":
            documents += 1
            if documents > 1:
                raise _wrong("more than one document", path, event.start_mark)
            continue
        elif kind == "StreamEndEvent":
            # An empty document is a plain scalar of no characters.
            return None if root is None or (root.plain and not root.value) else root
        else:
            continue
        if kind != "AliasEvent" and event.anchor is not None:
            anchors[event.anchor] = node
            node.anchor = event.anchor
        if open_nodes:
            parent = open_nodes[-1]
            if parent.kind == "seq":
                parent.value.append(node)
            elif pending[-1] is None:
                pending[-1] = node
            else:
                parent.value.append((pending[-1], node))
                pending[-1] = None
        else:
            root = node
        if node.kind in ("map", "seq"):
            open_nodes.append(node)
            pending.append(None)
            if len(open_nodes) > MAX_DEPTH:
                raise _wrong(f"nested deeper than {MAX_DEPTH} levels", path, event.start_mark)


def _wrong(message: str, path: str, mark: Any, hint: str | None = None) -> FormatError:
    return FormatError(message, path=path, line=mark.line + 1, column=mark.column + 1, hint=hint)


class _Builder:
    """Nodes to plain data; one per document, since aliases share what they name."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._built: dict[int, tuple[Any, int]] = {}  # id of an anchored node -> its value and size
        self._open: set[int] = set()
        self._expanded = 0

    def build(self, node: Node) -> Any:
        return self._build(node)[0]

    def _build(self, node: Node) -> tuple[Any, int]:
        """The value, and of how many nodes it is made when aliases are followed."""
        if node.kind == "scalar":
            return self._scalar(node), 1
        if node.kind == "alias":
            return self._alias(node)
        if node.anchor is not None:
            if id(node) in self._built:
                return self._built[id(node)]
            self._open.add(id(node))
        if node.tag not in (None, "!", _CORE + node.kind):
            raise self._refused_tag(node)
        built = self._sequence(node) if node.kind == "seq" else self._mapping(node)
        if node.anchor is not None:
            self._open.discard(id(node))
            self._built[id(node)] = built
        return built

    def _alias(self, node: Node) -> tuple[Any, int]:
        target: Node = node.value
        if id(target) in self._open:
            raise _wrong(f"*{target.anchor} contains itself", self._path, node.start_mark)
        value, size = self._build(target)
        self._expanded += size
        if self._expanded > MAX_EXPANSION:
            raise _wrong(f"aliases expand to more than {MAX_EXPANSION} values", self._path, node.start_mark)
        return value, size

    def _sequence(self, node: Node) -> tuple[list[Any], int]:
        values: list[Any] = []
        total = 1
        for item in node.value:
            if item.kind == "scalar":
                values.append(self._scalar(item))
                total += 1
            else:
                value, size = self._build(item)
                values.append(value)
                total += size
        return values, total

    def _mapping(self, node: Node) -> tuple[dict[Any, Any], int]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] | None = None
        total = 1
        for key_node, value_node in node.value:
            if key_node.plain and key_node.value == _MERGE:
                if merged is not None:
                    raise _wrong("duplicate key '<<'", self._path, key_node.start_mark)
                merged, size = self._merge(value_node)
                total += size
                continue
            key = self._key(key_node)
            if key in own:
                raise _wrong(f"duplicate key {key_node.text!r}", self._path, key_node.start_mark)
            if value_node.kind == "scalar":
                own[key] = self._scalar(value_node)
                total += 1
            else:
                own[key], size = self._build(value_node)
                total += size
        if merged is not None:
            # Merged keys come first, and count towards the limit: each merge copies them.
            self._expanded += len(merged)
            if self._expanded > MAX_EXPANSION:
                raise _wrong(f"merges expand to more than {MAX_EXPANSION} values", self._path, node.start_mark)
            return {**merged, **own}, total
        return own, total

    def _key(self, node: Node) -> Any:
        if node.kind == "alias":
            node = node.value
        if node.kind != "scalar":
            raise _wrong(
                "a key must be a plain word or number",
                self._path,
                node.start_mark,
                hint="quote it if it is meant as text",
            )
        return self._scalar(node)

    def _merge(self, node: Node) -> tuple[dict[Any, Any], int]:
        target = node.value if node.kind == "alias" else node
        items = target.value if target.kind == "seq" else [node]
        merged: dict[Any, Any] = {}
        total = 0
        for item in reversed(items):
            value, size = self._build(item)
            if not isinstance(value, dict):
                raise _wrong("'<<' wants a mapping or a list of mappings", self._path, item.start_mark)
            merged.update(value)
            total += size
        return merged, total

    def _scalar(self, node: Node) -> Any:
        text: str = node.value
        if node.plain:
            try:
                return yamltext.plain_value(text)
            except ValueError as error:
                raise _wrong(str(error), self._path, node.start_mark) from None
        if node.tag is None or node.tag in ("!", _CORE + "str"):
            return text
        return self._tagged(node, text)

    def _tagged(self, node: Node, text: str) -> Any:
        wanted = node.tag.removeprefix(_CORE) if node.tag else ""
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        if wanted not in kinds:
            raise self._refused_tag(node)
        try:
            value = yamltext.plain_value(text)
        except ValueError as error:
            raise _wrong(str(error), self._path, node.start_mark) from None
        if not isinstance(value, kinds[wanted]) or (isinstance(value, bool) and wanted != "bool"):
            raise _wrong(f"{text!r} is not of type {wanted}", self._path, node.start_mark)
        return float(value) if wanted == "float" and isinstance(value, int) else value

    def _refused_tag(self, node: Node) -> FormatError:
        shown = str(node.tag).replace(_CORE, "!!")
        return _wrong(
            f"tag {shown} is not allowed", self._path, node.start_mark, hint="take the tag out: plain data only"
        )
