"""Params in Python files: constants of the module and its classes, read and changed without running anything.

What counts (as in DVC): ``NAME = literal`` in the module, in a class (nested under the class's name), and
``self.name = literal`` in a class's ``__init__``. A later assignment replaces an earlier one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from pyexp.errors import FormatError

MAX_BYTES = 10_000_000


def load(text: str, path: str) -> dict[str, Any]:
    """The constants, nested by class. Raises FormatError when the text is no Python."""
    data: dict[str, Any] = {}
    for keys, node, value in _constants(_parse(text, path)):
        place = data
        for key in keys[:-1]:
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner
        if node is None:
            place[keys[-1]] = {}
        else:
            place[keys[-1]] = value
    return data


def set_value(text: str, keys: Sequence[str | int], value: Any, path: str) -> str:
    """``text`` with a constant, or an item of one, replaced; every other byte stays.

    Raises FormatError when there is no such constant: code is not added.
    """
    names = [str(key) for key in keys]
    tree = _parse(text, path)
    node = _find(tree, names)
    if node is None:
        raise FormatError(
            f"no constant '{'.'.join(names)}'", path=path, hint="constants of a Python file are added with an editor"
        )
    # Offsets of the tree count UTF-8 bytes in a line; bytes.splitlines ends them where Python does.
    raw = text.encode("utf-8")
    lines = raw.splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    stop = sum(map(len, lines[: (node.end_lineno or node.lineno) - 1])) + (node.end_col_offset or 0)
    new = (raw[:start] + _literal(value).encode("utf-8") + raw[stop:]).decode("utf-8")
    _parse(new, path)
    return new


def delete_key(text: str, keys: Sequence[str | int], path: str) -> str:
    """Raises FormatError: code is not deleted."""
    raise FormatError(
        f"cannot delete '{'.'.join(map(str, keys))}'",
        path=path,
        hint="take the line out of the Python file with an editor",
    )


def _literal(value: Any) -> str:
    """A value as Python source; infinities and NaN have no literal but float()'s, which ``load`` does not read."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "1e999" if value > 0 else "-1e999" if value < 0 else repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return repr(value)


def _parse(text: str, path: str) -> ast.Module:
    if len(text) > MAX_BYTES:
        raise FormatError("more than 10 MB of Python", path=path)
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise FormatError(f"not Python: {error.msg}", path=path, line=error.lineno, column=error.offset) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"not Python: {error or 'nested too deeply'}", path=path) from None


def _constants(
    tree: ast.Module | ast.ClassDef, prefix: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], ast.expr | None, Any]]:
    """Key, node and value of each constant, in the order of the text; a class comes first with node None."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            yield (*prefix, statement.name), None, None
            yield from _constants(statement, (*prefix, statement.name))
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            for inner in statement.body:
                yield from _assignment(inner, prefix, in_init=True)
        else:
            yield from _assignment(statement, prefix, in_init=False)


def _assignment(
    statement: ast.stmt, prefix: tuple[str, ...], *, in_init: bool
) -> Iterator[tuple[tuple[str, ...], ast.expr, Any]]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, node = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, node = statement.target, statement.value
    else:
        return
    if isinstance(target, ast.Name) and not in_init:
        name = target.id
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        name = target.attr
    else:
        return
    try:
        yield (*prefix, name), node, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return


def _find(tree: ast.Module, keys: Sequence[str]) -> ast.expr | None:
    """The expression that gives the value: of the last assignment, or of an item within its literal."""
    found: ast.expr | None = None
    for own, node, _ in _constants(tree):
        if node is not None and own == tuple(keys[: len(own)]):
            found = _inside(node, keys[len(own) :])
    return found


def _inside(node: ast.expr, keys: Sequence[str]) -> ast.expr | None:
    for key in keys:
        if isinstance(node, ast.Dict):
            items = [
                v
                for k, v in zip(node.keys, node.values, strict=True)
                if k is not None and str(ast.literal_eval(k)) == key
            ]
            if not items:
                return None
            node = items[-1]
        elif isinstance(node, (ast.List, ast.Tuple)) and key.isdecimal() and int(key) < len(node.elts):
            node = node.elts[int(key)]
        else:
            return None
    return node
