"""The grammar of ``-S key=value``: text to a key and typed values, sweeps included (FORMATS.md §5).

It is Hydra's override grammar, learned by comparing with Hydra 1.3. Tokens are the longest that match, then a plain
recursive descent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pyexp.records import dataclass

MAX_DEPTH = 50


class GrammarError(Exception):
    """What is wrong with an override, in one line; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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


class Parsed(NamedTuple):
    """An override: ``sign`` is ``""``, ``+``, ``++`` or ``~``; ``has_value`` is False for ``~key`` alone."""

    sign: str
    key: str
    value: Any
    has_value: bool


_KEY = re.compile(r"(?P<sign>\+\+|\+|~|)(?P<key>[^=]*?)(?P<equal>=[ \t]*|\Z)")
_KEY_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_\-$]*\Z")
_KEY_PATH = re.compile(
    r"(?:[A-Za-z_$][A-Za-z0-9_\-$]*|0|[1-9](?:_?[0-9])*)(?:\.(?:[A-Za-z_$][A-Za-z0-9_\-$]*|0|[1-9](?:_?[0-9])*))+\Z"
)
_UINT = r"(?:0|[1-9](?:_?[0-9])*)"
_DIGITS = r"[0-9](?:_?[0-9])*"
# In the order that decides between tokens of equal length.
_TOKENS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("(", r"[ \t]*\([ \t]*"),
        (",", r"[ \t]*,[ \t]*"),
        (")", r"[ \t]*\)"),
        ("[", r"\[[ \t]*"),
        ("]", r"[ \t]*\]"),
        ("{", r"\{[ \t]*"),
        ("}", r"[ \t]*\}"),
        (":", r"[ \t]*:[ \t]*"),
        ("=", r"[ \t]*=[ \t]*"),
        (
            "float",
            rf"[+-]?(?:(?:{_UINT}?\.{_DIGITS}|{_UINT}\.|{_UINT})[eE][+-]?{_DIGITS}|{_UINT}?\.{_DIGITS}|{_UINT}\."
            r"|[iI][nN][fF]|[nN][aA][nN])",
        ),
        ("int", rf"[+-]?{_UINT}"),
        ("bool", r"[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]"),
        ("null", r"[nN][uU][lL][lL]"),
        ("char", r"[/\-\\+.$%*@?|]"),
        ("id", r"[A-Za-z_][A-Za-z0-9_\-]*"),
        ("escape", r"(?:\\[\\()\[\]{}:=, \t])+"),
        ("blank", r"[ \t]+"),
        ("quoted", r"\"(?:\\\\)*\"|\".*?[^\\](?:\\\\)*\"|'(?:\\\\)*'|'.*?[^\\](?:\\\\)*'"),
        ("interpolation", r"\$\{[^}]+\}"),
    )
)
_WORDS = frozenset(("id", "null", "int", "float", "bool", "interpolation", "char", ":", "escape", "blank"))
_ESCAPED = re.compile(r"[\\()\[\]{}:=, \t]")

Token = tuple[str, str]


def parse(text: str) -> Parsed:
    """An override without its file; raises GrammarError."""
    found = _KEY.match(text)
    assert found is not None
    sign, key, equal = found["sign"], found["key"], found["equal"]
    _check_key(key, text)
    if not equal:
        if sign == "~":
            return Parsed(sign, key, None, False)
        raise GrammarError("there is no '='", f"write {key}=VALUE to set it, ~{key} to delete it")
    rest = text[found.end() :]
    return Parsed(sign, key, parse_value(rest) if rest else "", True)


def _check_key(key: str, text: str) -> None:
    if _KEY_NAME.match(key) or _KEY_PATH.match(key):
        return
    if not key:
        raise GrammarError("the name of the param is missing", "write NAME=VALUE")
    if "/" in key or "@" in key:
        raise GrammarError("config groups ('/' and '@' in a name) are not supported", "write a.b for b inside a")
    if "[" in key:
        raise GrammarError(f"'{key}' is not a name", "write list.0 for the first item of a list")
    if key != key.strip():
        raise GrammarError("there is a blank around the name", f"write {key.strip()}=…")
    if key.isdecimal():
        raise GrammarError(f"'{key}' alone is not a name", "a number needs a dotted path: list.0")
    raise GrammarError(f"'{key}' is not a name", "names are letters, digits, '_', '-', with dots between them")


def parse_value(text: str) -> Any:
    """The value after the ``=``: plain data, ``Quoted`` texts in it, or a sweep. Raises GrammarError."""
    parser = _Parser(_tokens(text))
    items = [parser.element(0)]
    while parser.take(","):
        items.append(parser.element(0))
    parser.end()
    return items[0] if len(items) == 1 else Choices(tuple(items), simple=True)


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        best: Token | None = None
        for kind, pattern in _TOKENS:
            found = pattern.match(text, at)
            if found and (best is None or len(found[0]) > len(best[1])):
                best = (kind, found[0])
        if best is None:
            if text[at] in "'\"":
                raise GrammarError("a quote is not closed", "to have a quote in a value, put other quotes around it")
            raise GrammarError(
                f"{text[at]!r} must stand in quotes",
                "put quotes around the value, and others for the shell: -S 'name=\"…\"'",
            )
        tokens.append(best)
        at += len(best[1])
    return tokens


class _Parser:
    """Tokens on their way to values."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at][0] if at < len(self._tokens) else "end"

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def take(self, kind: str) -> bool:
        """Whether the next token is of this kind, and if so, goes past it."""
        if self._kind() == kind:
            self._at += 1
            return True
        return False

    def _expect(self, kind: str, what: str) -> None:
        if not self.take(kind):
            raise self._unexpected(f"'{kind}' is missing {what}")

    def _unexpected(self, otherwise: str) -> GrammarError:
        if self._kind() == "end":
            return GrammarError(otherwise)
        shown = self._tokens[self._at][1].strip()
        hint = "put quotes around the value" if shown in ("=", "(", ")", "[", "]", "{", "}") else None
        return GrammarError(f"unexpected {shown!r}", hint)

    def end(self) -> None:
        if self._kind() != "end":
            raise self._unexpected("")

    def element(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise GrammarError(f"nested deeper than {MAX_DEPTH} levels")
        kind = self._kind()
        if kind == "id" and self._kind(1) == "(":
            return self._function(depth)
        if kind == "[":
            return self._list(depth)
        if kind == "{":
            return self._dict(depth)
        if kind == "quoted":
            text = self._next()[1]
            self.take("blank")
            return Quoted(_unquoted(text))
        return self._word(_WORDS)

    def _word(self, allowed: frozenset[str]) -> Any:
        start = self._at
        while self._kind() in allowed:
            self._at += 1
        words = list(self._tokens[start : self._at])
        if not words:
            raise self._unexpected("a value is missing")
        if words[0][0] == "blank":
            del words[0]
        if words and words[-1][0] == "blank":
            del words[-1]
        if not words:
            raise GrammarError("a value is only blanks", "put quotes around it")
        if len(words) > 1:
            return "".join(text[1::2] if kind == "escape" else text for kind, text in words)
        return _typed(*words[0])

    def _list(self, depth: int) -> list[Any]:
        self._next()
        items: list[Any] = []
        if self.take("]"):
            return items
        while True:
            items.append(_no_sweep(self.element(depth + 1)))
            if not self.take(","):
                break
        self._expect("]", "at the end of a list")
        return items

    def _dict(self, depth: int) -> dict[Any, Any]:
        self._next()
        items: dict[Any, Any] = {}
        if self.take("}"):
            return items
        while True:
            if self._kind() == "quoted":
                raise GrammarError("names in {…} stand without quotes")
            key = self._word(_WORDS - {":", "interpolation"})
            self._expect(":", "after a name in {…}")
            items[key] = _no_sweep(self.element(depth + 1))
            if not self.take(","):
                break
        self._expect("}", "at the end")
        return items

    def _function(self, depth: int) -> Any:
        name = self._next()[1]
        self._next()
        args: list[Any] = []
        named: dict[str, Any] = {}
        if not self.take(")"):
            while True:
                if self._kind() == "id" and self._kind(1) == "=":
                    key = self._next()[1]
                    self._next()
                    named[key] = self.element(depth + 1)
                elif named:
                    raise GrammarError(f"{name}(): an argument without name after one with a name")
                else:
                    args.append(self.element(depth + 1))
                if not self.take(","):
                    break
            self._expect(")", f"after {name}(")
        if name not in _FUNCTIONS:
            raise GrammarError(f"there is no function '{name}'", f"there are: {', '.join(sorted(_FUNCTIONS))}")
        try:
            return _FUNCTIONS[name](*args, **named)
        except (TypeError, ValueError, OverflowError) as error:
            reason = re.sub(r"^_\w+\(\)", f"{name}()", str(error))
            raise GrammarError(reason if reason.startswith(name) else f"{name}(): {reason}") from None


def _no_sweep(value: Any) -> Any:
    if isinstance(value, (Choices, Range)):
        raise GrammarError("a sweep cannot stand inside a list or a mapping")
    return value


def _typed(kind: str, text: str) -> Any:
    if kind == "int":
        if len(text) > 4000:
            raise GrammarError("an integer of more than 4000 digits")
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    return text[1::2] if kind == "escape" else text


def _unquoted(text: str) -> str:
    """A quoted text's content: backslashes count only before the quote character and at the end."""
    quote, body = text[0], text[1:]
    return re.sub(rf"(\\+){quote}", lambda found: found[0][1::2], body)[: -1 if not _escaped_end(body, quote) else None]


def _escaped_end(body: str, quote: str) -> bool:
    """Whether unescaping already took the closing quote: an even run of backslashes stands before it."""
    return re.search(rf"\\+{quote}\Z", body) is not None


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


_FUNCTIONS: dict[str, Callable[..., Any]] = {
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


def written(value: Any) -> str:
    """A value as an override spells it: ``parse_value`` of it gives the value again."""
    if value is None:
        return "null"
    if isinstance(value, Quoted):
        return quoted(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(item) for item in value) + "]"
    if not isinstance(value, str):
        return str(value)
    escaped = _ESCAPED.sub(lambda found: "\\" + found[0], value)
    try:
        same = bool(value) and parse_value(escaped) == value and isinstance(parse_value(escaped), str)
    except GrammarError:
        same = False
    return escaped if same else quoted(value)


def quoted(text: str) -> str:
    """A text in single quotes, those and backslashes before them escaped."""
    body = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", text)
    tail = len(body) - len(body.rstrip("\\"))
    return "'" + body + "\\" * tail + "'"
