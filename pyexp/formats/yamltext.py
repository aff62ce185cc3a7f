"""How plain data is spelled in YAML: which type a plain scalar has (YAML 1.2), and text as DVC writes it.

The rules were found by comparing with ruamel.yaml, which DVC uses (FORMATS.md §1.1): block style, two spaces, lists
not indented under their key, lines folded at blanks past column 80. One difference is meant: a list or mapping that
occurs twice is written twice, never as an anchor and an alias.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

WIDTH = 80
_SIMPLE_KEY = 122  # longer keys are written as "? key"
MAX_INT_DIGITS = 4000


class Style(NamedTuple):
    """How far nested maps, and lists under a key, are indented."""

    step: int = 2
    offset: int = 0


DVC_STYLE = Style()

_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|[0-9_]+|0x[0-9a-fA-F_]+)\Z")
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)\Z"
    r"|[-+]?\.(?:[0-9_]+(?:[eE][-+][0-9]+)?|inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z"
    r"|([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:[Tt]|[ \t]+)([0-9][0-9]?):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"(?:[ \t]*(Z|([-+])([0-9][0-9]?)(?::([0-9]{2}))?))?\Z"
)
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NUMERIC_START = frozenset("-+.0123456789")


def plain_value(text: str) -> Any:
    """The value of a plain (unquoted) scalar: null, bool, int, float, date, datetime, else the text itself.

    Raises ValueError for an integer of more than 4000 digits.
    """
    if not text or text[0] not in _NUMERIC_START:
        return _WORDS.get(text, text)
    if _INT.match(text):
        return _int(text)
    try:
        if _FLOAT.match(text):
            number = text.replace("_", "").lower()
            return float(number.replace(".", "") if number[-1] in "fn" else number)
        found = _TIMESTAMP.match(text)
        return _timestamp(found) if found else text
    except ValueError:  # "2021-13-45", "._": numbers in shape only
        return text


def _int(text: str) -> Any:
    digits = text.replace("_", "")
    if len(digits) > MAX_INT_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INT_DIGITS} digits")
    sign = -1 if digits[0] == "-" else 1
    digits = digits.lstrip("+-")
    try:
        if digits[:2] in ("0x", "0o", "0b"):
            return sign * int(digits[2:], {"x": 16, "o": 8, "b": 2}[digits[1]])
        return sign * int(digits)
    except ValueError:  # "-_" is no number
        return text


def _timestamp(found: re.Match[str]) -> datetime.date:
    if found[1]:
        return datetime.date(int(found[1]), int(found[2]), int(found[3]))
    year, month, day, hour, minute, second = (int(found[i]) for i in range(4, 10))
    micro = int((found[10] or "0")[:6].ljust(6, "0"))
    zone = None
    if found[11] == "Z":
        zone = datetime.timezone.utc
    elif found[12]:
        delta = datetime.timedelta(hours=int(found[13]), minutes=int(found[14] or 0))
        zone = datetime.timezone(-delta if found[12] == "-" else delta)
    return datetime.datetime(year, month, day, hour, minute, second, micro, zone)


# What a plain scalar may not look like, at its start, inside and at its end.
_NOT_PLAIN = re.compile(r"(?:---|\.\.\.|[#,\[\]{}&*!|>'\"%@` ]|[?:-](?: |\Z))|.*?(?::(?: |\Z)| #| \Z)", re.DOTALL)
_FLOW_INDICATOR = re.compile(r"[,\[\]{}?]|:(?![0-9A-Za-z/])|\A-\Z")
_BREAK = "\n\x85\u2028\u2029"
_PIECE = re.compile(" +|[^ ]+")
_LINE_BREAK = re.compile(f"[{_BREAK}]")
# Of three classes, because one for all of Unicode takes 7 ms to compile.
_SPECIAL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x84\x86-\x9f]|[\ud800-\udfff]|[\ufeff\ufffe\uffff]")
_BLANK_AT_BREAK = re.compile(f"[{_BREAK}] | [{_BREAK}]")
_ESCAPED = re.compile('["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]')
_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e", '"': '"',
    "\\": "\\", "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def scalar(value: Any) -> str:
    """A scalar other than a string, or a string that needs no folding, on one line; ``None`` is ``null``."""
    if isinstance(value, str):
        return _quoted(value, style_of(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        return repr(float(value)).lower()
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in YAML")


def style_of(text: str) -> str:
    """The style DVC writes a string in: ``""`` plain, ``"'"`` or ``'"'``."""
    broken = _LINE_BREAK.search(text) is not None
    special = _SPECIAL.search(text) is not None
    if not broken and not special and not _NOT_PLAIN.match(text) and not _looks_typed(text):
        return ""
    # Breaks other than \n survive single quotes too, but only double quotes show them.
    if special or broken or "'" in text or _BLANK_AT_BREAK.search(text):
        return '"'
    return "'"


def _looks_typed(text: str) -> bool:
    """Whether some reader takes the plain text for something else, or trips over it: ``._`` has a number's shape."""
    if text in _WORDS or text in ("=", "<<"):
        return True
    return text[0] in _NUMERIC_START and bool(_INT.match(text) or _FLOAT.match(text) or _TIMESTAMP.match(text))


def plain_or_none(text: str) -> Any:
    """``plain_value``, with None for whatever a loader refuses."""
    try:
        return plain_value(text)
    except ValueError:
        return None


def _quoted(text: str, style: str) -> str:
    if style == "":
        return text
    if style == "'":
        return "'" + text.replace("'", "''") + "'"
    return '"' + _ESCAPED.sub(_escape, text) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _ESCAPES:
        return "\\" + _ESCAPES[character]
    code = ord(character)
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}"


def flow(value: Any) -> str:
    """Any plain data on one line, in flow style, fit to stand inside other flow collections."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str) and style_of(value) == "" and (_FLOW_INDICATOR.search(value) or value[0] in "?:-"):
        return _quoted(value, '"' if "'" in value else "'")
    return scalar(value)


def restyled(value: str, style: str) -> str:
    """A string in quotes of the style asked for where that can hold it."""
    if style == "'" and not _LINE_BREAK.search(value) and not _SPECIAL.search(value):
        return _quoted(value, "'")
    if style in ("'", '"'):
        return _quoted(value, '"')
    return scalar(value)


def dump(value: Any) -> str:
    """Plain data as DVC writes it: mapping, list, tuple, str, int, float, bool, None, date, datetime.

    Raises TypeError for anything else.
    """
    out: list[str] = []
    if isinstance(value, Mapping) and value:
        _mapping(value, 0, DVC_STYLE, out)
    elif isinstance(value, (list, tuple)) and value:
        _sequence(value, 0, DVC_STYLE, out)
    else:
        # A document that is a bare plain scalar is open-ended: it is closed by "...".
        text = _leaf(value, 0, 0) if value is not None else "null"
        return text + ("\n...\n" if text[0] not in "'\"{[" else "\n")
    return "".join(out)


def block(value: Any, indent: int, style: Style = DVC_STYLE) -> str:
    """A non-empty mapping or list as the lines of a block that starts at column ``indent``."""
    out: list[str] = [" " * indent]
    if isinstance(value, Mapping):
        _mapping(value, indent, style, out)
    else:
        _sequence(value, indent, style, out)
    return "".join(out)


def _mapping(value: Mapping[Any, Any], indent: int, style: Style, out: list[str]) -> None:
    """Writes entries; the first one's indentation is there already."""
    pad = " " * indent
    first = True
    for key, item in value.items():
        if not first:
            out.append(pad)
        first = False
        if len(str(key)) > _SIMPLE_KEY or (isinstance(key, str) and _LINE_BREAK.search(key)):
            out.append(f"? {_leaf(key, indent + 2, indent + 2)}\n{pad}:")
            if item is None:
                out.append("\n")
            else:
                _item(item, indent, style, out)
            continue
        text = _leaf(key, indent, indent, fold=False)
        out.append(text + ":")
        if isinstance(item, Mapping) and item:
            out.append("\n" + " " * (indent + style.step))
            _mapping(item, indent + style.step, style, out)
        elif isinstance(item, (list, tuple)) and item:
            out.append("\n" + " " * (indent + style.offset))
            _sequence(item, indent + style.offset, style, out)
        elif item is None:
            out.append("\n")
        else:
            out.append(f" {_leaf(item, indent + 2, indent + len(text) + 2)}\n")


def _item(item: Any, indent: int, style: Style, out: list[str]) -> None:
    """Writes a value after the ``-`` or ``:`` that stands alone at column ``indent``."""
    out.append(" ")
    if isinstance(item, Mapping) and item:
        _mapping(item, indent + 2, style, out)
    elif isinstance(item, (list, tuple)) and item:
        _sequence(item, indent + 2, style, out)
    else:
        out.append(("" if item is None else _leaf(item, indent + 2, indent + 2)) + "\n")


def _sequence(value: list[Any] | tuple[Any, ...], indent: int, style: Style, out: list[str]) -> None:
    pad = " " * indent
    first = True
    for item in value:
        if not first:
            out.append(pad)
        first = False
        out.append("-")
        _item(item, indent, style, out)


def _leaf(value: Any, indent: int, column: int, *, fold: bool = True) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    text = scalar(value)
    if not fold or column + len(text) <= WIDTH:
        return text
    if text[0] == '"':
        return _fold_double(value, indent, column)
    if text[0] == "'":
        return _fold_single(value, indent, column)
    return _fold_plain(text, indent, column)


def _fold_plain(text: str, indent: int, column: int) -> str:
    """A word that does not fit starts a new line; the blank before it stays at the end of the old one.

    There is no break at several blanks, where ruamel.yaml makes one and so loses all but one of them.
    """
    out: list[str] = []
    before = " "
    for piece in _PIECE.findall(text):
        is_blank = piece[0] == " "
        if is_blank:
            broken = piece == " " and column >= WIDTH
        else:
            broken = column + len(piece) > WIDTH and column > indent and before == " "
        if broken:
            out.append("\n" + " " * indent)
            column = indent
        if not (broken and is_blank):
            out.append(piece)
            column += len(piece)
        before = piece
    return "".join(out)


def _fold_single(text: str, indent: int, column: int) -> str:
    """A single blank past the width becomes a line break."""
    out = ["'"]
    column += 1
    at = 0
    for piece in _PIECE.findall(text):
        if piece == " " and column > WIDTH and 0 < at < len(text) - 1:
            out.append("\n" + " " * indent)
            column = indent
        else:
            out.append(piece)
            column += len(piece)
        at += len(piece)
    return "".join(out) + "'"


def _fold_double(text: str, indent: int, column: int) -> str:
    """A line past the width is broken at a blank, or anywhere after an escape; a backslash keeps the break silent."""
    out = ['"']
    column += 1
    start = 0
    for end in range(len(text) + 1):
        character = text[end : end + 1]
        if not character or _ESCAPED.match(character):
            escape = _escape(_ESCAPED.match(character)) if character else ""  # type: ignore[arg-type]
            out.append(text[start:end] + escape)
            column += len(out[-1])
            start = end + 1 if character else end
        if not (0 < end < len(text) - 1 and (character == " " or start >= end)):
            continue
        if column + end - start <= WIDTH:
            continue
        # A break that is not at a blank must not read as one (DVC's own writer changes such text, with a bare break).
        silent = text[max(start, end)] != " " or _needs_backslash(text, start, end)
        out.append(text[start:end] + ("\\" if silent else "") + "\n" + " " * indent)
        start, column = max(start, end), indent
        if text[start] == " ":
            if silent:
                out.append("\\")
                column += 1
            else:
                start += 1
    return "".join(out) + '"'


def _needs_backslash(text: str, start: int, end: int) -> bool:
    """Whether a break before ``end`` must not read as a blank: where the next word is followed by quotes or blanks."""
    blank = text.find(" ", end)
    if blank < 0:
        return True
    newline = text.find("\n", end, blank)
    stop = newline if newline >= 0 else blank
    following = text[stop + 1 : stop + 2]
    if not following or (newline >= 0 and following != " "):
        return True
    word = text[end:stop]
    return '"' in word or "'" in word or following in " \n" or text[end - 1 : end + 1] == "  " or start == end
