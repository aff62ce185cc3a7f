"""Params and metrics: nested data from YAML, JSON, TOML or Python text, and how its values are named.

The file name's extension selects the format; whatever is not .json, .toml or .py is YAML. Readers are loaded when a
file needs them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyexp.errors import FormatError
from pyexp.formats import yamlfile


class _Missing:
    """What is not there, where None is a value; there is one of it."""

    _one: _Missing | None = None

    def __new__(cls) -> _Missing:
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> tuple[type[_Missing], tuple[()]]:
        return _Missing, ()


MISSING: Final = _Missing()
# What stands for the values of a file that cannot be read.
ERROR: Final = object()


def load(text: str, path: str) -> dict[str, Any]:
    """The mapping a params file holds, ``{}`` when it is empty; raises FormatError when it is something else."""
    data = load_any(text, path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise FormatError(
            f"holds a {_kind(data)}, not a mapping", path=path, line=1, hint="write it as 'name: value' lines"
        )
    return data


def load_any(text: str, path: str) -> Any:
    """Whatever the file holds: metrics may be a bare number. None when it is empty. Raises FormatError."""
    if text.startswith("\ufeff"):
        text = text[1:]
    return _READERS.get(extension(path), yamlfile.load)(text, path)


def extension(path: str) -> str:
    """The part of the name that selects the format: ``.json``, ``.toml``, ``.py``, … in lower case."""
    return posixpath.splitext(path)[1].lower()


def _kind(data: Any) -> str:
    return {list: "list", str: "text", bool: "boolean"}.get(type(data), "number")


def _load_json(text: str, path: str) -> Any:
    import json

    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error.msg}", path=path, line=error.lineno, column=error.colno) from None
    except (ValueError, RecursionError) as error:
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise FormatError(f"not usable as JSON: {message}", path=path) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {twice!r}")
    return data


def _load_toml(text: str, path: str) -> Any:
    try:
        import tomllib  # type: ignore[import-not-found,unused-ignore]
    except ImportError:  # Python 3.10
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        try:
            return tomlkit.parse(text).unwrap()
        except (TOMLKitError, ValueError, RecursionError) as error:
            raise FormatError(f"not TOML: {error}", path=path) from None
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        line, column = getattr(error, "lineno", None), getattr(error, "colno", None)
        raise FormatError(f"not TOML: {error}", path=path, line=line, column=column) from None


def _load_python(text: str, path: str) -> Any:
    from pyexp.formats import pyfile

    return pyfile.load(text, path)


# Names that say a file holds values; in a directory the others are not looked at.
SUFFIXES = (".json", ".toml", ".py", ".yaml", ".yml")
_READERS: dict[str, Callable[[str, str], Any]] = {".json": _load_json, ".toml": _load_toml, ".py": _load_python}


def flatten(data: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one of dotted keys; lists are values, empty mappings vanish, as in DVC's tables."""
    flat: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [(str(key), value) for key, value in reversed([*data.items()])]
    while pending:
        name, value = pending.pop()
        if isinstance(value, Mapping):
            pending.extend((f"{name}.{key}", item) for key, item in reversed([*value.items()]))
        else:
            flat[name] = value
    return flat


def select(data: Any, dotted: str) -> Any:
    """The value a dotted name means, MISSING when there is none: ``a.b``, ``lst.0``.

    A key that itself contains dots is found when no other reading of the name finds anything.
    """
    value = _walk(data, dotted.split("."))
    if value is MISSING and "." in dotted:
        found = _readings(data, dotted.split("."), 2)
        return found[0] if len(found) == 1 else MISSING
    return value


def _walk(data: Any, parts: list[str]) -> Any:
    for part in parts:
        data = _child(data, part)
        if data is MISSING:
            break
    return data


def _child(data: Any, part: str) -> Any:
    if isinstance(data, Mapping):
        if part in data:
            return data[part]
        return next((item for key, item in data.items() if not isinstance(key, str) and str(key) == part), MISSING)
    if isinstance(data, (list, tuple)) and part.isdecimal() and int(part) < len(data):
        return data[int(part)]
    return MISSING


def _readings(data: Any, parts: list[str], limit: int) -> list[Any]:
    """Values found by taking one or several parts as one key; stops at ``limit``."""
    if not parts:
        return [data]
    found: list[Any] = []
    for count in range(1, len(parts) + 1):
        child = _child(data, ".".join(parts[:count]))
        if child is not MISSING:
            found += _readings(child, parts[count:], limit - len(found))
            if len(found) >= limit:
                break
    return found


def measures(data: Any) -> Any:
    """What of a metrics file counts: numbers, text, true and false, and mappings of these; ``{}`` when nothing does."""
    if isinstance(data, (int, float, str)):
        return data
    if not isinstance(data, Mapping):
        return {}
    found = {key: measures(item) for key, item in data.items()}
    return {key: item for key, item in found.items() if not isinstance(item, Mapping) or item}
