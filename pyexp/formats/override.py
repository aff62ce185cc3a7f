"""``-S [file:]key=value``: parsed, expanded where it is a sweep, and applied to the text of a params file.

The meaning is that of DVC with Hydra (FORMATS.md §5): ``key=v`` changes what is there, ``+key=v`` adds, ``++key=v``
does either, ``~key`` deletes. The writing is ours: one value changes and every other byte stays.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pyexp.errors import FormatError, UsageError
from pyexp.formats import overridegrammar as grammar
from pyexp.formats import suggest, values, yamlfile
from pyexp.formats.overridefunctions import Choices, Quoted, Range, Sweep
from pyexp.formats.overridegrammar import GrammarError
from pyexp.formats.values import MISSING
from pyexp.records import dataclass

DEFAULT_FILE = "params.yaml"
MAX_COMBINATIONS = 10_000

Kind = Literal["set", "append", "force", "delete"]
_KINDS: dict[str, Kind] = {"": "set", "+": "append", "++": "force", "~": "delete"}
_SIGNS = {kind: sign for sign, kind in _KINDS.items()}
_INTERPOLATION = re.compile(r"(\\*)\$\{([^{}]*)\}")
_MAX_NESTED = 20

Edit = tuple[tuple[Any, ...], Any]
_GONE = object()


@dataclass(frozen=True)
class Override:
    """One override. ``value`` is plain data, or a sweep; ``has_value`` is False for ``~key`` alone."""

    file: str
    kind: Kind
    keys: tuple[str, ...]
    value: Any
    text: str
    has_value: bool = True

    @property
    def key(self) -> str:
        return ".".join(self.keys)


def parse(text: str, default_file: str = DEFAULT_FILE) -> Override:
    """An override as a user typed it; raises UsageError with what is wrong and what to write instead.

    What stands before the first ``:`` left of the first ``=`` is the file.
    """
    file, rest = default_file, text
    if ":" in text.partition("=")[0]:
        file, _, rest = text.partition(":")
        file = file or default_file
    try:
        parsed = grammar.parse(rest)
    except GrammarError as error:
        raise UsageError(f"'{text}': {error.message}", hint=error.hint) from None
    value = parsed.value
    if not isinstance(value, (Choices, Range)):
        value = _plain(value)
    elif parsed.sign == "~":
        raise UsageError(f"'{text}': a sweep cannot be deleted")
    return Override(file, _KINDS[parsed.sign], tuple(parsed.key.split(".")), value, text, parsed.has_value)


def _plain(value: Any) -> Any:
    """Without the marks of quotes."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Quoted) else value


def is_sweep(override: Override) -> bool:
    """Whether it stands for several values."""
    return isinstance(override.value, (Choices, Range))


def expand(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the sweeps in ``texts``, each as overrides without sweeps.

    Files come in the order they are first named; the last override varies fastest; a key given twice takes its last
    value. Raises UsageError, also when there are more than 10,000.
    """
    files: dict[str, dict[str, Override]] = {}
    for text in texts:
        override = parse(text)
        element = _SIGNS[override.kind] + override.key
        files.setdefault(override.file, {})[element] = override
    overrides = [override for found in files.values() for override in found.values()]
    size = 1
    for override in overrides:
        if is_sweep(override):
            size *= _count(override.value)
            if size > MAX_COMBINATIONS:
                raise UsageError(
                    f"the sweeps make more than {MAX_COMBINATIONS} combinations",
                    hint="sweep over fewer values at a time",
                )
    if size == 0:
        empty = next(override for override in overrides if is_sweep(override) and _count(override.value) == 0)
        raise UsageError(f"'{empty.text}' gives no value")
    return list(itertools.product(*(_texts(override) for override in overrides)))


def _count(sweep: Sweep) -> int:
    return len(sweep.items) if isinstance(sweep, Choices) else sweep.count()


def _texts(override: Override) -> list[str]:
    if not is_sweep(override):
        return [override.text]
    sweep: Sweep = override.value
    items = list(sweep.items) if isinstance(sweep, Choices) else sweep.numbers()
    if sweep.shuffled:
        import random  # few sweeps are shuffled

        random.shuffle(items)
    start = override.text[: override.text.index("=") + 1]
    return [start + grammar.written(item) for item in items]


def apply(text: str | None, path: str, overrides: Sequence[Override]) -> str:
    """The new text of a params file (``text`` None: there is none yet) with the overrides applied in order.

    ``${other.key}`` in a value is the value of that key of the same file. Raises UsageError for a key that is missing
    or there already, a sweep, an interpolation that means nothing; FormatError when the file is wrong as it is.
    """
    mark = "\ufeff" if text and text.startswith("\ufeff") else ""
    text = (text or "")[len(mark) :]
    before = values.load(text, path)
    data = _copied(before)
    edits: list[Edit] = []
    for override in overrides:
        if is_sweep(override):
            raise UsageError(f"'{override.text}' is a sweep, which needs the queue", hint="add --queue")
        for edit in _edits(data, override, path):
            _change(data, *edit)
            edits.append(edit)
    resolved = [(keys, _resolved(value, data, path)) for keys, value in edits]
    return mark + _written(text, path, resolved, before)


def _copied(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copied(item) for key, item in data.items()}
    return [_copied(item) for item in data] if isinstance(data, (list, tuple)) else data


# What an override means for the data


def _edits(data: dict[Any, Any], override: Override, path: str) -> list[Edit]:
    """The changes an override comes down to; raises UsageError when it cannot be."""
    keys, found = _locate(data, override.keys)
    if override.kind == "delete":
        return [_deletion(keys, found, override, path)]
    if found is MISSING:
        if override.kind == "set":
            raise _missing(data, override, path)
        _check_way(data, keys, override, path)
        return [(keys, override.value)]
    if override.kind == "append" and found is not None and not isinstance(override.value, (dict, list)):
        raise UsageError(
            f"'{override.text}': '{override.key}' is already in {path}",
            hint=f"leave out the '+' to change it: {_respelled(override, '')}",
        )
    if isinstance(found, (dict, list)) and isinstance(override.value, (dict, list)):
        _check_same_kind(found, override, path)
    if isinstance(override.value, dict) and isinstance(found, dict):
        return list(_merging(keys, found, override.value, override, path, data))
    return [(keys, override.value)]


def _check_same_kind(found: Any, override: Override, path: str) -> None:
    if isinstance(found, dict) != isinstance(override.value, dict):
        old, new = ("mapping", "list") if isinstance(found, dict) else ("list", "mapping")
        raise UsageError(
            f"'{override.text}': '{override.key}' in {path} is a {old}, not a {new}",
            hint=f"to replace it all the same: ~{override.key}, then +{override.key}=…",
        )


def _locate(data: Any, keys: Sequence[str]) -> tuple[tuple[Any, ...], Any]:
    """The keys as the data has them (numbers for items of lists), and the value there, MISSING if there is none."""
    own: list[Any] = []
    for depth, key in enumerate(keys):
        if isinstance(data, dict):
            match = key if key in data else next((k for k in data if not isinstance(k, str) and str(k) == key), None)
            if match is None and key not in data:
                return (*own, *keys[depth:]), MISSING
            own.append(match)
            data = data[match]
        elif isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            own.append(int(key))
            data = data[int(key)]
        else:
            return (*own, *keys[depth:]), MISSING
    return tuple(own), data


def _check_way(data: Any, keys: Sequence[Any], override: Override, path: str) -> None:
    """Raises unless what is on the way to a new key are mappings."""
    for depth, key in enumerate(keys):
        if data is None:
            return
        if isinstance(data, list):
            if isinstance(key, int) and key < len(data):
                data = data[key]
                continue
            raise UsageError(
                f"'{override.text}': the list '{'.'.join(map(str, keys[:depth]))}' in {path} has no item {key}",
                hint="items cannot be added one by one: give the whole list",
            )
        if not isinstance(data, dict):
            raise UsageError(
                f"'{override.text}': '{'.'.join(map(str, keys[:depth]))}' in {path} is {data!r}, not a mapping"
            )
        if key not in data:
            return
        data = data[key]


def _deletion(keys: tuple[Any, ...], found: Any, override: Override, path: str) -> Edit:
    if found is MISSING:
        raise UsageError(f"'{override.text}': there is no '{override.key}' in {path} to delete")
    if override.has_value and override.value is not None and found != override.value:
        raise UsageError(
            f"'{override.text}': '{override.key}' in {path} is {found!r}",
            hint=f"to delete it whatever its value: ~{override.key}",
        )
    return keys, _GONE


def _merging(
    keys: tuple[Any, ...], old: dict[Any, Any], new: dict[Any, Any], override: Override, path: str, data: dict[Any, Any]
) -> list[Edit]:
    """A mapping given for a mapping changes the keys it names; new ones want a ``+``."""
    found: list[Edit] = []
    for key, item in new.items():
        if key not in old and override.kind == "set":
            part = ".".join(map(str, (*keys, key)))
            raise UsageError(
                f"'{override.text}': no param '{part}' in {path}", hint=f"to add it: {_respelled(override, '+')}"
            )
        if key in old and isinstance(old[key], dict) and isinstance(item, dict):
            found += _merging((*keys, key), old[key], item, override, path, data)
        else:
            found.append(((*keys, key), item))
    return found


def _respelled(override: Override, sign: str) -> str:
    """The override as typed, with another sign."""
    text = override.text
    head = text.partition("=")[0]
    file, colon, _ = head.rpartition(":") if ":" in head else ("", "", head)
    rest = text[len(file) + len(colon) :].lstrip("+~")
    return f"{file}{colon}{sign}{rest}"


def _missing(data: dict[Any, Any], override: Override, path: str) -> UsageError:
    known = list(values.flatten(data)) + [str(key) for key in data]
    near = suggest.close(override.key, known)
    hint = f"use '{_respelled(override, '+')}' to add it"
    return UsageError(
        f"no param '{override.key}' in {path}", hint=f"did you mean '{near}'? Otherwise {hint}" if near else hint
    )


def _change(data: Any, keys: Sequence[Any], value: Any) -> None:
    for key in keys[:-1]:
        if isinstance(data, dict) and data.get(key) is None:
            data[key] = {}
        data = data[key]
    if value is _GONE:
        del data[keys[-1]]
    else:
        data[keys[-1]] = _copied(value)


# ${…} in values


def _resolved(value: Any, data: dict[Any, Any], path: str, depth: int = 0) -> Any:
    """``value`` with interpolations filled in from ``data``."""
    if isinstance(value, dict):
        return {key: _resolved(item, data, path, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, data, path, depth) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if depth > _MAX_NESTED:
        raise UsageError(f"{value!r}: the interpolations go round in a circle")
    whole = _INTERPOLATION.fullmatch(value)
    if whole and not whole[1]:
        return _named(whole[2], data, path, depth)

    def inserted(found: re.Match[str]) -> str:
        slashes = found[1]
        if len(slashes) % 2:  # \${x} is the text ${x}
            return slashes[: len(slashes) // 2] + found[0][len(slashes) :]
        item = _named(found[2], data, path, depth)
        if isinstance(item, (dict, list)):
            raise UsageError(f"'${{{found[2]}}}' in {path} is not a single value: it cannot be part of a text")
        return slashes[: len(slashes) // 2] + ("null" if item is None else str(item))

    return _INTERPOLATION.sub(inserted, value)


def _named(expression: str, data: dict[Any, Any], path: str, depth: int) -> Any:
    name = expression.strip()
    if ":" in name:
        raise UsageError(
            f"'${{{expression}}}': resolvers are not supported, params do not read the environment",
            hint='let the shell insert it: -S "key=$NAME"',
        )
    value = values.select(data, name.replace("[", ".").replace("]", "")) if name else MISSING
    if value is MISSING:
        near = suggest.close(name, values.flatten(data))
        raise UsageError(
            f"'${{{expression}}}': no param '{name}' in {path}", hint=f"did you mean '{near}'?" if near else None
        )
    return _resolved(value, data, path, depth + 1)


# Writing


def _written(text: str, path: str, edits: Sequence[Edit], before: dict[Any, Any]) -> str:
    set_value, delete_key = _editor(values.extension(path))
    expected = _copied(before)
    new = text
    for keys, value in edits:
        _change(expected, keys, value)
        try:
            new = delete_key(new, keys, path) if value is _GONE else set_value(new, keys, value, path)
        except FormatError as error:
            raise UsageError(f"{path}: {error.message}", hint=error.hint) from None
    got = values.load(new, path)
    if values.extension(path) == ".toml":  # a table exists by what is in it: emptied, it may go
        got, expected = _without_empty(got), _without_empty(expected)
    if not _alike(got, expected):
        raise UsageError(f"{path} cannot be changed in place", hint="change it with an editor")
    return new


def _without_empty(data: dict[Any, Any]) -> dict[Any, Any]:
    kept = {key: _without_empty(item) if isinstance(item, dict) else item for key, item in data.items()}
    return {key: item for key, item in kept.items() if item != {}}


def _alike(a: Any, b: Any) -> bool:
    """Equality that tells 1 from True, and finds NaN equal to itself; a tuple (of Python) equals its list."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, bool) == isinstance(b, bool) and (a == b or (a != a and b != b))


Setter = Callable[[str, Sequence[Any], Any, str], str]
Deleter = Callable[[str, Sequence[Any], str], str]


def _editor(extension: str) -> tuple[Setter, Deleter]:
    """The functions that change a file of this format; loaded when one is changed."""
    if extension == ".json":
        from pyexp.formats import jsonfile

        return jsonfile.set_value, jsonfile.delete_key
    if extension == ".toml":
        from pyexp.formats import tomlfile

        return tomlfile.set_value, tomlfile.delete_key
    if extension == ".py":
        from pyexp.formats import pyfile

        return pyfile.set_value, pyfile.delete_key
    return yamlfile.set_value, yamlfile.delete_key
