"""The grammar of ``-S``: Hydra 1.3's overrides, as far as DVC's params take them (FORMATS.md §5.1-5.3).

    [FILE:]KEY=VALUE   [FILE:]+KEY=VALUE   [FILE:]++KEY=VALUE   [FILE:]~KEY[=VALUE]

A value is quoted text, a primitive, ``[list]``, ``{map}``, a cast ``int(x)``, or a sweep: ``a,b``, ``choice(a,b)``,
``range(start,stop,step)``, ``sort(…)``, ``shuffle(…)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from pyexp.errors import UsageError

MAX_CHOICES = 10_000
MAX_DEPTH = 50

_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*(?:\.(?:[A-Za-z_$][A-Za-z0-9_$-]*|\d+))*\Z")
_INT = re.compile(r"[+-]?(?:0|[1-9](?:_?\d)*)\Z")
_FLOAT = re.compile(
    r"[+-]?(?:(?:\d(?:_?\d)*\.(?:\d(?:_?\d)*)?|\.\d(?:_?\d)*|\d(?:_?\d)*(?=[eE]))(?:[eE][+-]?\d(?:_?\d)*)?|inf|nan)\Z",
    re.IGNORECASE,
)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/\\+.$%*@?|: \t")
_ESCAPABLE = "\\()[]{}:=, \t"
_FUNCTIONS = ("choice", "range", "sort", "shuffle", "tag", "int", "float", "str", "bool", "glob", "interval")


@dataclass(frozen=True, slots=True)
class Choice:
    """The values a sweep goes through, in order."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """One parsed override; ``body`` is its text without the file, ``has_value`` tells ``~key`` from ``~key=null``."""

    file: str
    kind: Literal["set", "append", "force", "delete"]
    keys: tuple[str, ...]
    value: Any
    text: str
    body: str
    has_value: bool = True

    @property
    def dotted(self) -> str:
        return ".".join(self.keys)


_SIGNS: dict[str, Literal["set", "append", "force", "delete"]] = {
    "++": "force",
    "+": "append",
    "~": "delete",
    "": "set",
}


def parse(text: str, default_file: str = "params.yaml") -> Override:
    """One override; raises UsageError, quoting it, for what is none."""
    head = text.partition("=")[0]
    file, colon, _ = head.partition(":")
    body = text[len(file) + 1 :] if colon else text
    file = file if colon else default_file
    sign = "++" if body.startswith("++") else body[:1] if body[:1] in ("+", "~") else ""
    key, equals, raw = body[len(sign) :].partition("=")
    key = key.strip()
    kind = _SIGNS[sign]
    if not file:
        raise UsageError(f"'{text}' names no file before the ':'")
    if not equals and kind != "delete":
        raise UsageError(f"'{text}' is not a param to set", hint="write KEY=VALUE, for instance -S train.n_est=100")
    if not _KEY.match(key):
        raise UsageError(
            f"'{text}': '{key}' is not the name of a param",
            hint="names are letters, digits, '_' and '-', joined by '.'",
        )
    value = _Value(text, raw).parse() if equals else None
    if kind == "delete" and isinstance(value, Choice):
        raise UsageError(f"'{text}': a removal cannot be a sweep")
    return Override(file, kind, tuple(key.split(".")), value, text, body, bool(equals))


class _Value:
    """A recursive descent over the text behind the first ``=``."""

    def __init__(self, whole: str, text: str) -> None:
        self._whole = whole
        self._text = text
        self._at = 0

    def _fail(self, why: str, hint: str | None = None) -> NoReturn:
        raise UsageError(f"'{self._whole}': {why}", hint=hint)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _blank(self) -> None:
        while self._peek() in (" ", "\t") and self._peek():
            self._at += 1

    def parse(self) -> Any:
        """The value, or the Choice of a sweep."""
        self._blank()
        if self._at == len(self._text):
            return ""
        found = [self._element(0)]
        self._blank()
        while self._peek() == ",":
            self._at += 1
            self._blank()
            if self._at == len(self._text):
                self._fail("it ends with a comma")
            found.append(self._element(0))
            self._blank()
        if self._at < len(self._text):
            self._unexpected()
        if len(found) == 1:
            return found[0]
        if any(isinstance(one, Choice) for one in found):
            self._fail("a sweep is inside a list of choices")
        return Choice(tuple(found))

    def _unexpected(self) -> NoReturn:
        self._fail(
            f"'{self._peek()}' at position {len(self._whole) - len(self._text) + self._at + 1} is not expected",
            "put the value in quotes, inside those of the shell: -S \"key='a=b'\"",
        )

    def _element(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self._fail("nested too deeply")
        self._blank()
        char = self._peek()
        if char in ("'", '"') and char:
            return self._quoted(char)
        if char == "[":
            return self._list(depth)
        if char == "{":
            return self._map(depth)
        called = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*\(").match(self._text, self._at)
        if called:
            self._at = called.end()
            return self._call(called[1], depth)
        return self._primitive()

    def _quoted(self, quote: str) -> str:
        out: list[str] = []
        self._at += 1
        while True:
            char = self._peek()
            if not char:
                self._fail(f"the quote {quote} is not closed")
            self._at += 1
            if char == quote:
                return "".join(out)
            if char == "\\":
                run = 1
                while self._peek() == "\\":
                    run += 1
                    self._at += 1
                if self._peek() == quote:
                    # Backslashes before a quote come in pairs; an odd one escapes the quote.
                    out.append("\\" * (run // 2))
                    if run % 2:
                        out.append(quote)
                        self._at += 1
                else:
                    out.append("\\" * run)
            else:
                out.append(char)

    def _list(self, depth: int) -> list[Any]:
        self._at += 1
        return self._until("]", lambda: self._inner(depth))

    def _inner(self, depth: int) -> Any:
        item = self._element(depth + 1)
        if isinstance(item, Choice):
            self._fail("a sweep cannot be inside a list or map")
        return item

    def _until(self, closing: str, item: Callable[[], Any]) -> list[Any]:
        found: list[Any] = []
        self._blank()
        while self._peek() != closing:
            found.append(item())
            self._blank()
            if self._peek() == ",":
                self._at += 1
                self._blank()
                if self._peek() == closing:
                    self._fail(f"a comma stands before '{closing}'")
            elif self._peek() != closing:
                if not self._peek():
                    self._fail(f"'{closing}' is missing")
                self._unexpected()
        self._at += 1
        return found

    def _map(self, depth: int) -> dict[Any, Any]:
        self._at += 1

        def entry() -> tuple[Any, Any]:
            if self._peek() in ("'", '"'):
                self._fail("the keys of a map are not quoted")
            key = self._primitive(stop=":")
            self._blank()
            if self._peek() != ":":
                self._fail(f"':' is missing after '{key}'")
            self._at += 1
            return key, self._inner(depth)

        return dict(self._until("}", entry))

    def _primitive(self, stop: str = "") -> Any:
        """An unquoted token: escapes are undone, outer blanks dropped, and what is left is typed."""
        out: list[str] = []
        escaped = False
        keep = 0
        while char := self._peek():
            if char == "\\" and self._text[self._at + 1 : self._at + 2] in tuple(_ESCAPABLE):
                out.append(self._text[self._at + 1])
                self._at += 2
                escaped = True
                keep = len(out)
                continue
            if char == "$" and self._text.startswith("${", self._at):
                end = self._text.find("}", self._at)
                if end < 0:
                    self._fail("'${' is not closed")
                out.append(self._text[self._at : end + 1])
                self._at = end + 1
                keep = len(out)
                continue
            if char not in _PLAIN or (stop and char in stop):
                break
            out.append(char)
            self._at += 1
            if char not in " \t":
                keep = len(out)
        token = "".join(out[:keep])
        if not token and not escaped:
            if self._peek():
                self._unexpected()
            self._fail("a value is missing")
        return token if escaped else typed(token)

    # -- functions ----------------------------------------------------------------------------------------------

    def _call(self, name: str, depth: int) -> Any:
        if name not in _FUNCTIONS:
            self._fail(f"there is no function {name}()", f"known: {', '.join(_FUNCTIONS[:9])}; or put it in quotes")
        named: dict[str, Any] = {}

        def argument() -> Any:
            keyword = re.compile(r"([A-Za-z_]+)[ \t]*=[ \t]*").match(self._text, self._at)
            if keyword:
                self._at = keyword.end()
                named[keyword[1]] = self._element(depth + 1)
                return None
            return self._element(depth + 1)

        found = self._until(")", argument)
        args = found[: len(found) - len(named)]
        if name in ("glob", "interval"):
            self._fail(f"{name}() has no finite list of values here", "list them: choice(a,b,c)")
        if name == "range":
            return self._range(args, named)
        if name in ("choice", "tag", "sort", "shuffle"):
            return self._choices(name, args, named)
        if len(args) != 1 or named:
            self._fail(f"{name}() takes one value")
        return self._cast(name, args[0])

    def _choices(self, name: str, args: list[Any], named: dict[str, Any]) -> Choice:
        if name == "tag" and args and not isinstance(args[-1], Choice):
            args = args[-1:]
        if len(args) == 1 and isinstance(args[0], Choice):
            args = list(args[0].values)
        elif name in ("sort", "shuffle") and len(args) == 1 and isinstance(args[0], list):
            args = list(args[0])
        if not args or any(isinstance(one, Choice) for one in args):
            self._fail(f"{name}() needs values")
        if name == "sort":
            try:
                args = sorted(args, reverse=bool(named.pop("reverse", False)))
            except TypeError:
                self._fail("sort() needs values of one kind")
        if name == "shuffle":
            import random

            random.shuffle(args)
        if named:
            self._fail(f"{name}() has no argument '{next(iter(named))}'")
        return Choice(tuple(args))

    def _range(self, args: list[Any], named: dict[str, Any]) -> Choice:
        if len(args) == 1 and "start" not in named and "stop" not in named:
            args = [0, *args]
        slots = dict(zip(("start", "stop", "step"), args), **named)
        start, stop, step = slots.pop("start", 0), slots.pop("stop", None), slots.pop("step", 1)
        numbers = (start, stop, step)
        if slots or len(args) > 3 or any(isinstance(x, bool) or not isinstance(x, (int, float)) for x in numbers):
            self._fail("range() takes numbers: range(stop), range(start,stop) or range(start,stop,step)")
        if step == 0:
            self._fail("range() needs a step other than 0")
        if abs((stop - start) / step) > MAX_CHOICES:
            self._fail(f"range() has more than {MAX_CHOICES} values")
        values: list[Any] = []
        while (start + len(values) * step < stop) if step > 0 else (start + len(values) * step > stop):
            value = start + len(values) * step
            values.append(float(f"{value:.12g}") if isinstance(value, float) else value)
        if not values:
            self._fail("range() is empty")
        return Choice(tuple(values))

    def _cast(self, name: str, value: Any) -> Any:
        if isinstance(value, Choice):
            return Choice(tuple(self._cast(name, one) for one in value.values))
        if isinstance(value, list):
            return [self._cast(name, one) for one in value]
        if isinstance(value, dict):
            return {key: self._cast(name, one) for key, one in value.items()}
        try:
            if name == "bool" and isinstance(value, str):
                return {"true": True, "false": False}[value.lower()]
            if name == "str":
                return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
            return {"int": int, "float": float, "bool": bool}[name](value)
        except (ValueError, TypeError, KeyError, OverflowError):
            self._fail(f"{value!r} cannot be made {name}")


def typed(token: str) -> Any:
    """The value of an unquoted token: null, bool, int, float, or the text itself."""
    lower = token.lower()
    if lower == "null":
        return None
    if lower in ("true", "false"):
        return lower == "true"
    if _INT.match(token):
        return int(token.replace("_", "")) if len(token) <= 4000 else token
    if _FLOAT.match(token):
        return float(token.replace("_", ""))
    return token


def render(override: Override, value: Any) -> str:
    """The override with one value in place of its own, as text that parses to it again."""
    sign = {kind: text for text, kind in _SIGNS.items()}[override.kind]
    prefix = f"{override.file}:" if override.text.startswith(f"{override.file}:") else ""
    return f"{prefix}{sign}{override.dotted}={_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    text = str(value)
    if text and typed(text) == text and not text.strip(_ORDINARY):
        return text
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


_ORDINARY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/+.%*@?|"
