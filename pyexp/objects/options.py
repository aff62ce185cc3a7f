"""A remote's options as what they mean: true or false, numbers, seconds. Those of a URL come unchecked from the user."""

from __future__ import annotations

from collections.abc import Mapping

from pyexp.errors import RemoteError

_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def truth(text: str) -> bool | None:
    """What a word for true or false means, None for anything else."""
    return _WORDS.get(text.lower())


def flag(options: Mapping[str, str], name: str, default: bool = False) -> bool:
    """An option that is true or false; raises RemoteError when it is neither."""
    if name not in options:
        return default
    found = truth(options[name])
    if found is None:
        raise RemoteError(f"{name} = {options[name]!r} is neither true nor false")
    return found


def number(options: Mapping[str, str], name: str, default: int) -> int:
    """An option that is a whole number; raises RemoteError when it is none."""
    try:
        return int(float(options.get(name, default)))
    except (ValueError, OverflowError) as error:
        raise RemoteError(f"{name} = {options[name]!r} is not a number") from error


def seconds(options: Mapping[str, str], name: str, default: float) -> float:
    """An option that is a number of seconds; raises RemoteError when it is none."""
    try:
        return float(options.get(name, default))
    except ValueError as error:
        raise RemoteError(f"{name} = {options[name]!r} is not a number of seconds") from error
