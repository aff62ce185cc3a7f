"""The values of an override that stand for several, and the functions that make and change them (FORMATS.md §5).

They are Hydra's, learned by comparing with Hydra 1.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyexp.records import dataclass


class Quoted(str):
    """A text that was in quotes, so that it is never taken for a number."""

    __slots__ = ()


@dataclass(frozen=True)
class Choices:
    """A sweep over given values."""

    items: tuple[Any, ...]
    simple: bool = False
    shuffled: bool = False


@dataclass(frozen=True)
class Range:
    """A sweep over numbers from ``start`` up to, but without, ``stop``."""

    start: int | float
    stop: int | float
    step: int | float
    shuffled: bool = False

    def count(self) -> int:
        """How many numbers it gives."""
        span = (self.stop - self.start) / self.step
        return max(0, int(span) + (span != int(span)))

    def numbers(self) -> list[int | float]:
        """The numbers; sums of floats are exact, as Hydra's are."""
        if all(isinstance(number, int) for number in (self.start, self.stop, self.step)):
            return list(range(int(self.start), int(self.stop), int(self.step)))
        from decimal import Decimal  # only a range of floats needs it

        at, stop, step = Decimal(self.start), Decimal(self.stop), Decimal(self.step)
        found: list[int | float] = []
        while at < stop if step > 0 else at > stop:
            found.append(float(at))
            at += step
        return found


Sweep = Choices | Range


def _cast(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def cast(*args: Any, value: Any = None) -> Any:
        if value is not None:
            args = (*args, value)
        if not args:
            raise TypeError("an argument is missing")
        return _mapped(Choices(args, simple=True) if len(args) > 1 else args[0], function)

    return cast


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, Choices):
        return Choices(tuple(_mapped(item, function) for item in value.items), value.simple)
    if isinstance(value, Range):
        if function not in (_to_int, _to_float):
            raise ValueError("a range can only become int or float")
        return Range(function(value.start), function(value.stop), function(value.step))
    if isinstance(value, dict):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, function) for item in value]
    if value is None:
        raise TypeError("null cannot be converted")
    return function(value)


def _to_int(value: Any) -> int:
    return int(value)


def _to_float(value: Any) -> float:
    return float(value)


def _to_str(value: Any) -> str:
    return Quoted(str(value).lower() if isinstance(value, bool) else str(value))


def _to_bool(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{str(value)!r} is neither true nor false")
        return value.lower() == "true"
    return bool(value)


def _choice(*args: Any) -> Choices:
    if not args:
        raise ValueError("it needs a value")
    if len(args) == 1 and isinstance(args[0], Choices):
        return Choices(args[0].items)
    if any(isinstance(arg, (Choices, Range)) for arg in args):
        raise ValueError("a sweep cannot stand in it")
    return Choices(args)


def _range(start: Any, stop: Any = None, step: Any = 1) -> Range:
    if stop is None:
        start, stop = 0, start
    for number in (start, stop, step):
        if (
            isinstance(number, bool)
            or not isinstance(number, (int, float))
            or number != number
            or abs(number) == float("inf")
        ):
            raise TypeError(f"{number!r} is not a number")
    if step == 0:
        raise ValueError("the step is 0")
    return Range(start, stop, step)


def _interval(*args: Any, **named: Any) -> Any:
    raise ValueError("intervals are not supported: there is no end to what they give")


def _glob(*args: Any, **named: Any) -> Any:
    raise ValueError("globs are not supported: they choose among config groups")


def _tag(*args: Any, sweep: Any = None) -> Any:
    sweep = args[-1] if sweep is None and args else sweep
    if not isinstance(sweep, (Choices, Range)):
        raise ValueError("its last argument must be a sweep")
    return sweep


def _sort(*args: Any, sweep: Any = None, list: Any = None, reverse: bool = False) -> Any:
    value = sweep if sweep is not None else list if list is not None else args[0] if len(args) == 1 else None
    if isinstance(value, Range):
        return _sorted_range(value, reverse)
    if isinstance(value, Choices) or len(args) > 1:
        items = value.items if isinstance(value, Choices) else args
        return Choices(tuple(sorted(items, reverse=reverse)), value.simple if isinstance(value, Choices) else True)
    if value is None:
        raise ValueError("it needs values")
    return sorted(value, reverse=reverse) if type(value) is type([]) else value


def _sorted_range(value: Range, reverse: bool) -> Range:
    if (value.start > value.stop) == reverse or value.start == value.stop:
        return value
    size = abs(value.step)
    shift = -size if reverse else size
    return Range(value.stop + shift, value.start + shift, -value.step, value.shuffled)


def _shuffle(*args: Any, sweep: Any = None, list: Any = None) -> Any:
    value = sweep if sweep is not None else list if list is not None else args[0] if len(args) == 1 else None
    if isinstance(value, Choices):
        return Choices(value.items, value.simple, shuffled=True)
    if isinstance(value, Range):
        return Range(value.start, value.stop, value.step, shuffled=True)
    if len(args) > 1:
        return Choices(args, simple=True, shuffled=True)
    if type(value) is type([]):
        import random

        random.shuffle(value)
        return value
    return [value]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "int": _cast(_to_int),
    "float": _cast(_to_float),
    "str": _cast(_to_str),
    "bool": _cast(_to_bool),
    "choice": _choice,
    "range": _range,
    "interval": _interval,
    "glob": _glob,
    "tag": _tag,
    "sort": _sort,
    "shuffle": _shuffle,
}
