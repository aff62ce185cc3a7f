"""Changes to params: from parsed overrides (``grammar.py``) to new text, with every other byte kept; and sweeps.

``key=v`` needs the key to exist, ``+key=v`` needs it not to, ``++key=v`` takes either, ``~key`` removes it
(FORMATS.md §5). A map is merged into a map; scalars and lists replace.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pyexp.errors import FormatError, UsageError
from pyexp.formats import jsonfile, pyfile, values, yamlfile
from pyexp.formats.grammar import Choice, Override, parse, render

__all__ = ["Override", "apply", "expand", "is_sweep", "parse"]

MAX_SWEEP = 10_000
_INTERPOLATION = re.compile(r"\$\{([^{}]*)\}")


def is_sweep(override: Override) -> bool:
    """Whether the override stands for several."""
    return isinstance(override.value, Choice)


def expand(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the sweeps among ``texts``; the last one varies fastest, file by file in order.

    Raises UsageError for a wrong override, or for more than 10,000 combinations, before they are made.
    """
    parsed = [parse(text) for text in texts]
    files = list(dict.fromkeys(one.file for one in parsed))
    ordered = [one for file in files for one in parsed if one.file == file]
    choices = [_alternatives(one) for one in ordered]
    count = 1
    for alternatives in choices:
        count *= len(alternatives)
    if count > MAX_SWEEP:
        raise UsageError(f"the sweep makes {count} experiments", hint=f"at most {MAX_SWEEP}: narrow it")
    return [tuple(combination) for combination in itertools.product(*choices)]


def _alternatives(override: Override) -> list[str]:
    if not isinstance(override.value, Choice):
        return [override.text]
    return [render(override, value) for value in override.value.values]


# -- applying --------------------------------------------------------------------------------------------------------


def apply(text: str | None, path: str, overrides: Sequence[Override]) -> str:
    """The text of the params file ``path`` with the overrides applied in order.

    ``text`` None: there is no file yet, which ``+key=v`` makes. Raises UsageError when a key is missing or there
    already, FormatError when the text cannot be read.
    """
    if text is None and any(one.kind == "set" for one in overrides):
        first = next(one for one in overrides if one.kind == "set")
        raise UsageError(
            f"cannot set '{first.dotted}': there is no file {path}",
            hint=f"to make it: -S '{_named(path, '+' + first.body)}'",
        )
    current = text if text is not None else ""
    for override in overrides:
        current = _apply_one(current, path, override)
    values.load(current, path)
    return current


def _named(path: str, body: str) -> str:
    return body if path == "params.yaml" else f"{path}:{body}"


def _apply_one(text: str, path: str, override: Override) -> str:
    data = values.load(text, path)
    keys = override.keys
    there = _get(data, keys)
    if override.kind == "delete":
        if there is values.MISSING:
            raise _missing(override, data, path)
        if override.has_value and there != override.value:
            raise UsageError(
                f"'{override.text}': '{override.dotted}' in {path} is {there!r}, so it stays",
                hint=f"to remove it whatever it is: -S '~{override.dotted}'",
            )
        return _editor(path).delete(text, _own_keys(data, keys), path)
    value = _resolved(override.value, data, override, path)
    if override.kind == "append" and there is not values.MISSING and not _both_maps(there, value):
        raise UsageError(
            f"'{override.text}': '{override.dotted}' is in {path} already",
            hint=f"to change it: -S '{override.body.removeprefix('+')}'; to do either: -S '+{override.body}'",
        )
    if override.kind == "set" and there is values.MISSING:
        raise _missing(override, data, path)
    for own, leaf in _leaves(data, _own_keys(data, keys), there, value, override, path):
        text = _editor(path).set(text, own, leaf, path)
    return text


def _both_maps(a: Any, b: Any) -> bool:
    return isinstance(a, Mapping) and isinstance(b, Mapping)


def _leaves(
    data: Any, keys: tuple[str, ...], there: Any, value: Any, override: Override, path: str
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What to write where: a map goes into a map entry by entry, anything else in one piece."""
    if not (_both_maps(there, value) and there):
        yield keys, value
        return
    for key, item in value.items():
        own = next((known for known in there if str(known) == str(key)), None)
        if own is None and override.kind == "set":
            raise UsageError(
                f"'{override.text}': '{override.dotted}' in {path} has no '{key}'",
                hint=f"to add it: -S '+{override.dotted}.{key}={item}'",
            )
        below = there[own] if own is not None else values.MISSING
        yield from _leaves(data, (*keys, str(key)), below, item, override, path)


def _get(data: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        data = _child(data, key)
        if data is values.MISSING:
            break
    return data


def _child(data: Any, key: str) -> Any:
    if isinstance(data, Mapping):
        if key in data:
            return data[key]
        return next((item for known, item in data.items() if str(known) == key), values.MISSING)
    if isinstance(data, (list, tuple)) and re.fullmatch(r"\d+", key) and int(key) < len(data):
        return data[int(key)]
    return values.MISSING


def _own_keys(data: Any, keys: Sequence[str]) -> tuple[str, ...]:
    """The keys, once it is sure that what is on the way can hold them."""
    level = data
    for depth, key in enumerate(keys[:-1]):
        level = _child(level, key)
        if level is values.MISSING:
            break
        if level is not None and not isinstance(level, (Mapping, list, tuple)):
            where = ".".join(keys[: depth + 1])
            raise UsageError(f"'{'.'.join(keys)}': '{where}' is {level!r}, which holds no keys")
    return tuple(keys)


def _missing(override: Override, data: Mapping[str, Any], path: str) -> UsageError:
    known = [*values.flatten(data), *data]
    close = difflib.get_close_matches(override.dotted, [str(key) for key in known], n=1)
    add = f"to add it: -S '{_named(path, '+' + override.body.lstrip('~'))}'" if override.kind == "set" else ""
    hint = f"did you mean '{close[0]}'?" if close else ""
    return UsageError(
        f"'{override.text}': there is no '{override.dotted}' in {path}",
        hint=" ".join(filter(None, (hint, add))) or None,
    )


def _resolved(value: Any, data: Mapping[str, Any], override: Override, path: str) -> Any:
    """A value with ``${other.key}`` replaced from the same file; the environment is never read (SAFETY.md §3)."""
    if isinstance(value, Mapping):
        return {key: _resolved(item, data, override, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, data, override, path) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value

    def found(expression: str) -> Any:
        if ":" in expression:
            raise UsageError(
                f"'{override.text}': ${{{expression}}} is not resolved, params never read the environment",
                hint='write the value itself, for instance through the shell: -S key="$VALUE"',
            )
        result = _get(data, expression.strip().split("."))
        if result is values.MISSING:
            raise UsageError(f"'{override.text}': ${{{expression}}} names nothing in {path}")
        return result

    whole = _INTERPOLATION.fullmatch(value)
    if whole:
        return found(whole[1])
    return _INTERPOLATION.sub(lambda match: str(found(match[1])), value)


# -- formats ---------------------------------------------------------------------------------------------------------


class _Editor:
    def __init__(
        self,
        set_: Callable[[str, Sequence[str], Any, str], str],
        delete: Callable[[str, Sequence[str], str], str],
    ) -> None:
        self.set = set_
        self.delete = delete


def _set_toml(text: str, keys: Sequence[str], value: Any, path: str) -> str:
    import tomlkit  # 40 ms: only a TOML file pays

    document = tomlkit.parse(text)
    level: Any = document
    for key in keys[:-1]:
        if isinstance(level, list):
            level = level[int(key)]
            continue
        if key not in level:
            level[key] = tomlkit.table()
        level = level[key]
    if value is None:
        raise UsageError(
            f"'{'.'.join(keys)}': TOML has no null", hint=f"to remove it from {path}: -S '~{'.'.join(keys)}'"
        )
    last = int(keys[-1]) if isinstance(level, list) else keys[-1]
    level[last] = value
    return tomlkit.dumps(document)


def _delete_toml(text: str, keys: Sequence[str], path: str) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    level: Any = document
    for key in keys[:-1]:
        level = level[int(key)] if isinstance(level, list) else level[key]
    del level[int(keys[-1]) if isinstance(level, list) else keys[-1]]
    return tomlkit.dumps(document)


def _set_python(text: str, keys: Sequence[str], value: Any, path: str) -> str:
    try:
        return pyfile.set_value(text, keys, value, path)
    except FormatError as error:
        raise UsageError(str(error), hint=error.hint) from error


def _delete_python(text: str, keys: Sequence[str], path: str) -> str:
    raise UsageError(f"'~{'.'.join(keys)}': lines of {path} are code", hint="remove the line with an editor")


def _set_yaml(text: str, keys: Sequence[str], value: Any, path: str) -> str:
    return yamlfile.set_value(text, list(keys), value, path)


def _delete_yaml(text: str, keys: Sequence[str], path: str) -> str:
    return yamlfile.delete_key(text, list(keys), path)


_EDITORS = {
    ".json": _Editor(jsonfile.set_value, jsonfile.delete_key),
    ".toml": _Editor(_set_toml, _delete_toml),
    ".py": _Editor(_set_python, _delete_python),
}
_YAML = _Editor(_set_yaml, _delete_yaml)


def _editor(path: str) -> _Editor:
    return _EDITORS.get(values.extension(path), _YAML)
