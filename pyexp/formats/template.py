"""``${…}`` in dvc.yaml: where values come from, how text is filled in, what a foreach or matrix generates.

The rules are DVC's (FORMATS.md §1.2.1). Values remember the file they came from, so that a stage can tell which it
used. Failures are ``TemplateError``: the caller knows the place in the file.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pyexp.formats import suggest, values

MAX_GENERATED = 10_000

_EXPRESSION = re.compile(r"(?<!\\)\$\{(.*?)\}")
_GRAMMAR = re.compile(r"\s*[^.\[\]]+(?:\s*\.[^.\[\]]+|\s*\[[^.\[\]]+\]\s*)*\Z")

Read = Callable[[str], str | None]


class TemplateError(Exception):
    """Why a template cannot be filled in, in one line."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Leaf(NamedTuple):
    """A value that is no mapping and no list; ``source`` is where it was read, ``inline`` if not from a file."""

    value: Any
    source: str
    path: str
    inline: bool


class ListNode(NamedTuple):
    """A list of nodes, with the same origin."""

    items: tuple[Any, ...]
    source: str
    path: str
    inline: bool


# A mapping is a plain dict of nodes.
NodeData = Any


def _wrap(data: Any, source: str, path: str = "", inline: bool = False) -> NodeData:
    if isinstance(data, (Leaf, ListNode)):
        return data
    prefix = f"{path}." if path else ""
    if isinstance(data, Mapping):
        # Other keys than text cannot be named in an expression.
        return {key: _wrap(item, source, prefix + key, inline) for key, item in data.items() if isinstance(key, str)}
    if isinstance(data, (list, tuple)):
        items = tuple(_wrap(item, source, f"{prefix}{index}", inline) for index, item in enumerate(data))
        return ListNode(items, source, path, inline)
    return Leaf(data, source, path, inline)


def plain(node: NodeData) -> Any:
    """Plain data of a node, and of plain data that has nodes in it."""
    if isinstance(node, Leaf):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, Mapping):
        return {key: plain(item) for key, item in node.items()}
    return [plain(item) for item in node] if isinstance(node, list) else node


def has_expression(data: Any) -> bool:
    """Whether any text in ``data`` asks for a value."""
    if isinstance(data, str):
        return _EXPRESSION.search(data) is not None
    if isinstance(data, Mapping):
        return any(has_expression(key) or has_expression(item) for key, item in data.items())
    return isinstance(data, (list, tuple)) and any(has_expression(item) for item in data)


class Context:
    """The values expressions can name. ``used`` collects those read from files: file -> dotted key -> value."""

    def __init__(self, read: Read, parsing: Mapping[str, str]) -> None:
        self._read = read
        self._parsing = parsing
        self._nodes: dict[str, NodeData] = {}
        # File -> keys that were taken from it, None for all.
        self._imports: dict[str, list[str] | None] = {}
        self._reserved: frozenset[str] = frozenset()
        self.used: dict[str, dict[str, Any]] = {}

    def extended(self, nodes: Mapping[str, NodeData] | None = None) -> Context:
        """A context with more values, which shadow and cannot be redefined; this one stays as it is."""
        other = Context(self._read, self._parsing)
        other._nodes = {**self._nodes, **{key: _wrap(node, "", key, True) for key, node in (nodes or {}).items()}}
        other._imports = {file: keys and list(keys) for file, keys in self._imports.items()}
        other._reserved = self._reserved | frozenset(nodes or ())
        return other

    def load_default(self, file: str) -> None:
        """Takes in a params file if there is one."""
        text = self._read(file)
        if text is not None:
            self._take(file, text, file, None)

    def load_vars(self, items: Sequence[Any], directory: str, stage: str = "") -> None:
        """Takes in a ``vars`` list: file names (``file``, ``file:key,key``) and mappings of values."""
        for index, item in enumerate(items):
            if isinstance(item, str):
                self._load_file(item, directory)
            else:
                label = f"{stage}.vars[{index}]" if stage else f"vars[{index}]"
                self._merge(_wrap(item, label, inline=True), label)

    def _load_file(self, item: str, directory: str) -> None:
        name, _, selected = item.partition(":")
        file = posixpath.normpath(posixpath.join(directory, name))
        keys = [key for key in selected.split(",") if key] or None
        if file in self._imports:
            before = self._imports[file]
            if keys is None and before is None:
                return
            if keys is None or before is None or set(keys) & set(before):
                state = "loaded already" if before is None else "partially loaded already"
                raise TemplateError(f"cannot load '{item}': it is {state}")
        text = self._read(file)
        if text is None:
            raise TemplateError(f"vars file '{file}' does not exist")
        self._take(file, text, item, keys)

    def _take(self, file: str, text: str, item: str, keys: list[str] | None) -> None:
        data = values.load(text, file)
        if keys is not None:
            for key in keys:
                if key not in data:
                    raise TemplateError(f"no '{key}' in '{file}'{suggest.question(key, data)}")
            data = {key: data[key] for key in keys}
        self._merge(_wrap(data, file), item)
        known = self._imports.get(file)
        self._imports[file] = known + keys if known is not None and keys is not None else keys

    def _merge(self, nodes: dict[str, NodeData], item: str) -> None:
        taken = [key for key in nodes if key in self._reserved]
        if taken:
            raise TemplateError(f"'{item}' cannot set '{taken[0]}': the foreach or matrix does")
        self._nodes = _merged(self._nodes, nodes)

    def names(self) -> list[str]:
        return list(self._nodes)

    def select(self, expression: str) -> NodeData:
        """The node an expression names, marked as used; raises TemplateError."""
        if not _GRAMMAR.match(expression):
            raise TemplateError(f"'${{{expression}}}' is not an expression", hint="write ${name}, ${a.b} or ${list[0]}")
        node: NodeData = self._nodes
        for part in expression.replace("[", ".").replace("]", "").split("."):
            node = _child(node, part.strip())
            if node is values.MISSING:
                near = suggest.close(expression.strip(), _names(self._nodes))
                raise TemplateError(f"could not find '{expression}'", hint=f"did you mean '{near}'?" if near else None)
        if isinstance(node, (Leaf, ListNode)) and not node.inline and node.source:
            self.used.setdefault(node.source, {})[node.path] = plain(node)
        return node

    def nodes(self, data: Any) -> Any:
        """``data`` with expressions replaced by what they name, of any kind, origins kept: for foreach and matrix."""
        return self._fill(data, None, unwrap=False)

    def resolve(self, data: Any, key: str | None = None) -> Any:
        """``data`` with expressions replaced by plain values. ``key`` is the stage's key it stands under.

        A text that is one expression becomes its value with its type; elsewhere the value is made text. In a stage,
        lists and mappings are errors, but that a mapping in ``cmd`` becomes command line options.
        """
        return self._fill(data, key, unwrap=True)

    def _fill(self, data: Any, key: str | None, *, unwrap: bool) -> Any:
        if isinstance(data, str):
            return self._fill_text(data, key, unwrap)
        if isinstance(data, Mapping):
            return {
                self._fill(name, key, unwrap=True): self._fill(item, key, unwrap=unwrap) for name, item in data.items()
            }
        return [self._fill(item, key, unwrap=unwrap) for item in data] if isinstance(data, list) else data

    def _fill_text(self, text: str, key: str | None, unwrap: bool) -> Any:
        whole = _EXPRESSION.fullmatch(text)
        if whole is not None and _EXPRESSION.match(text).end() == len(text):  # type: ignore[union-attr]
            node = self.select(whole[1])
            value = plain(node)
            self._check(value, key, whole[1])
            if key == "cmd" and isinstance(value, Mapping):
                return self._as_text(value)
            return value if unwrap else node
        return _EXPRESSION.sub(lambda found: self._inserted(found[1], key), text).replace("\\${", "${")

    def _inserted(self, expression: str, key: str | None) -> str:
        value = plain(self.select(expression))
        self._check(value, key, expression)
        return self._as_text(value)

    @staticmethod
    def _check(value: Any, key: str | None, expression: str) -> None:
        if key is None or not isinstance(value, (Mapping, list)) or (key == "cmd" and isinstance(value, Mapping)):
            return
        kind = "mapping" if isinstance(value, Mapping) else "list"
        raise TemplateError(f"'${{{expression}}}' is a {kind}: only single values can be inserted here")

    def _as_text(self, value: Any) -> str:
        if isinstance(value, Mapping):
            return _options(value, self._parsing)
        return as_text(value)


def as_text(value: Any) -> str:
    """A value inside other text: ``true``, ``false``, everything else as Python prints it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _merged(into: dict[str, NodeData], update: dict[str, NodeData]) -> dict[str, NodeData]:
    merged = dict(into)
    for key, node in update.items():
        if key in merged and isinstance(merged[key], dict) and isinstance(node, dict):
            merged[key] = _merged(merged[key], node)
        elif key in merged:
            new, old = _first_leaf(node), _first_leaf(merged[key])
            name, source = (new.path, new.source) if new else (key, "")
            raise TemplateError(
                f"cannot redefine '{name}' from '{source}': it already exists in '{old.source if old else ''}'"
            )
        else:
            merged[key] = node
    return merged


def _first_leaf(node: NodeData) -> Leaf | ListNode | None:
    while isinstance(node, dict):
        if not node:
            return None
        node = next(iter(node.values()))
    return node if isinstance(node, (Leaf, ListNode)) else None


def _child(node: NodeData, part: str) -> NodeData:
    if isinstance(node, dict):
        return node.get(part, values.MISSING)
    if isinstance(node, ListNode) and re.fullmatch(r"-?[0-9]{1,9}", part):
        index = int(part)
        return node.items[index] if -len(node.items) <= index < len(node.items) else values.MISSING
    return values.MISSING


def _names(nodes: Mapping[str, NodeData], prefix: str = "") -> Iterator[str]:
    for key, node in nodes.items():
        yield prefix + key
        if isinstance(node, dict):
            yield from _names(node, f"{prefix}{key}.")


def _options(data: Mapping[str, Any], parsing: Mapping[str, str]) -> str:
    """A mapping as command line options (FORMATS.md §1.2.1, dict unpacking)."""
    words: list[str] = []
    for name, value in values.flatten(data).items():
        if isinstance(value, bool):
            if value:
                words.append(f"--{name}")
            elif parsing.get("bool") == "boolean_optional":
                words.append(f"--no-{name}")
        elif isinstance(value, (list, tuple)):
            if any(isinstance(item, (list, tuple, Mapping)) for item in value):
                raise TemplateError(f"'{name}' is a nested list, which cannot become an option")
            items = [shlex.quote(item) if isinstance(item, str) else str(item) for item in value]
            if parsing.get("list") == "append":
                words += [f"--{name} {item}" for item in items]
            elif items:
                words.append(f"--{name} {' '.join(items)}")
        else:
            words.append(f"--{name} {shlex.quote(value) if isinstance(value, str) else value}")
    return " ".join(words)


def _composite(node: Any) -> bool:
    return isinstance(node, (ListNode, Mapping, list))


def _name(node: Any) -> str:
    """A value in a generated stage's name; as in DVC, a boolean that came by ``${…}`` is ``True``, not ``true``."""
    return str(node.value) if isinstance(node, Leaf) else as_text(node)


def foreach(context: Context, data: Any) -> dict[str, Context]:
    """What a ``foreach`` generates: key -> context with ``item`` (and ``key`` for a mapping). Raises TemplateError."""
    nodes = context.nodes(data)
    if isinstance(nodes, Mapping):
        _check_size(len(nodes))
        return {
            as_text(key): context.extended({"item": node, "key": Leaf(as_text(key), "", "key", True)})
            for key, node in nodes.items()
        }
    if not isinstance(nodes, (ListNode, list)):
        raise TemplateError(f"expected a list or a mapping, not {plain(nodes)!r}")
    items = nodes.items if isinstance(nodes, ListNode) else tuple(nodes)
    _check_size(len(items))
    if any(_composite(item) for item in items):
        named = {str(index): item for index, item in enumerate(items)}
    else:
        named = {_name(item): item for item in items}
    return {key: context.extended({"item": node}) for key, node in named.items()}


def matrix(context: Context, data: Mapping[str, Any]) -> dict[str, Context]:
    """What a ``matrix`` generates: key -> context with ``item.<var>`` and ``key``. Raises TemplateError."""
    axes: dict[str, Sequence[Any]] = {}
    size = 1
    for name, choices in context.nodes(data).items():
        if isinstance(choices, Mapping):
            choices = list(choices)
        if not isinstance(choices, (ListNode, list)):
            raise TemplateError(f"'{name}' is not a list")
        axes[name] = choices.items if isinstance(choices, ListNode) else choices
        size *= len(axes[name])
        _check_size(size)
    generated: dict[str, Context] = {}
    for combination in itertools.product(*(enumerate(choices) for choices in axes.values())):
        chosen = dict(zip(axes, combination, strict=True))
        key = "-".join(f"{name}{index}" if _composite(node) else _name(node) for name, (index, node) in chosen.items())
        item = {name: node for name, (_, node) in chosen.items()}
        generated[key] = context.extended({"item": item, "key": Leaf(key, "", "key", True)})
    return generated


def _check_size(size: int) -> None:
    if size > MAX_GENERATED:
        raise TemplateError(f"generates {size} stages; more than {MAX_GENERATED} are not allowed")
