"""TOML params changed in place by tomlkit, which keeps comments and layout. Imported when a TOML file is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pyexp.errors import FormatError


def set_value(text: str, keys: Sequence[str | int], value: Any, path: str) -> str:
    """``text`` with the value at ``keys`` replaced or added, tables on the way made; raises FormatError."""
    document, holder = _holder(text, keys, path, create=True)
    try:
        holder[_index(holder, keys[-1])] = value
    except (TOMLKitError, ValueError, TypeError, IndexError) as error:
        reason = "TOML has no null" if value is None else str(error)
        raise FormatError(f"cannot set '{'.'.join(map(str, keys))}': {reason}", path=path) from None
    return str(tomlkit.dumps(document))


def delete_key(text: str, keys: Sequence[str | int], path: str) -> str:
    """``text`` without the entry at ``keys``; raises FormatError when there is none."""
    document, holder = _holder(text, keys, path, create=False)
    try:
        del holder[_index(holder, keys[-1])]
    except (TOMLKitError, KeyError, IndexError, TypeError):
        raise FormatError(f"there is no '{'.'.join(map(str, keys))}'", path=path) from None
    return str(tomlkit.dumps(document))


def _holder(text: str, keys: Sequence[str | int], path: str, *, create: bool) -> tuple[Any, Any]:
    try:
        document = tomlkit.parse(text)
    except (TOMLKitError, ValueError) as error:
        raise FormatError(f"not TOML: {error}", path=path) from None
    holder: Any = document
    for key in keys[:-1]:
        key = _index(holder, key)
        if create and isinstance(key, str) and isinstance(holder, dict) and key not in holder:
            holder[key] = tomlkit.table()
        try:
            holder = holder[key]
        except (TOMLKitError, KeyError, IndexError, TypeError):
            raise FormatError(f"there is no '{'.'.join(map(str, keys))}'", path=path) from None
        if not isinstance(holder, (dict, list)):
            raise FormatError(f"cannot set '{'.'.join(map(str, keys))}': '{key}' is a value", path=path)
    return document, holder


def _index(holder: Any, key: str | int) -> str | int:
    return int(key) if isinstance(holder, list) else str(key)
