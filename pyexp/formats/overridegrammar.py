"""The grammar of ``-S key=value``: text to a key and typed values, sweeps included (FORMATS.md §5).

It is Hydra's override grammar, learned by comparing with Hydra 1.3. Tokens are the longest that match, then a plain
recursive descent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from pyexp.formats.overridefunctions import FUNCTIONS, Choices, Quoted, Range

MAX_DEPTH = 50


class GrammarError(Exception):
    """What is wrong with an override, in one line; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
        if name not in FUNCTIONS:
            raise GrammarError(f"there is no function '{name}'", f"there are: {', '.join(sorted(FUNCTIONS))}")
        try:
            return FUNCTIONS[name](*args, **named)
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
