"""Reading YAML: the rules of 1.2, the limits, and errors that name their place."""

from __future__ import annotations

import datetime
import math

import pytest

from pyexp.errors import FormatError
from pyexp.formats import yamlfile


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1e5", 1e5), ("+.5", 0.5), ("1_000", 1000), ("0o17", 15), ("017", 17), ("010", 10), ("08", 8),
        ("0x1F", 31), ("0b11", 3), ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("yes", "yes"), ("no", "no"),
        ("on", "on"), ("Off", "Off"), ("y", "y"), ("true", True), ("FALSE", False), ("~", None), ("null", None),
        ("", None), ("2021-01-01", datetime.date(2021, 1, 1)), ("-.inf", -math.inf), ("1e400", math.inf), ("-_", "-_"),
        ("2021-13-45", "2021-13-45"), ("'1'", "1"), ('"\\n"', "\n"), ("!!str 1", "1"), ("!!float 1", 1.0), ("! 3", "3"),
        ("2021-01-01 02:03:04", datetime.datetime(2021, 1, 1, 2, 3, 4)), ("[1, a, {b: c}]", [1, "a", {"b": "c"}]),
    ],
)  # fmt: skip
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    loaded = yamlfile.load(f"k: {text}\n", "p")["k"]
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_document_is_none(text: str) -> None:
    assert yamlfile.load(text, "p") is None


def test_merge_keys_give_way_to_own_keys_and_earlier_ones_to_later_never() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n"
    assert yamlfile.load(text, "p")["c"] == {"x": 3, "y": 1, "z": 2}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key 'a'"),
        ("1: a\n0x1: b\n", 2, 1, "duplicate key"),
        ("a: 1\n---\nb: 2\n", 2, 1, "more than one document"),
        ("a: !!python/name:os.system x\n", 1, 4, "tag !!python/name:os.system is not allowed"),
        ("a: !custom {b: c}\n", 1, 4, "tag !custom is not allowed"),
        ("a: !!int x\n", 1, 4, "not of type int"),
        ("? [a]\n: 1\n", 1, 3, "a key must be"),
        ("a: *nope\n", 1, 4, "nope"),
        ("a: &x [*x]\n", 1, 8, "contains itself"),
        ("a: [1, 2\nb: 3\n", 2, 2, "expected"),
        ("a:\n  - b\n c: d\n", 3, 2, ""),
        ("a: " + "1" * 4001 + "\n", 1, 4, "4000 digits"),
        ("a: 1\nb: " + "[" * 101 + "]" * 101, 2, 103, "nested deeper"),
        ("<<: {a: 1}\n<<: {b: 1}\n", 2, 1, "duplicate key '<<'"),
    ],
)
def test_what_is_refused_says_where(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        yamlfile.load(text, "dir/p.yaml")
    error = caught.value
    assert words in error.message
    assert (error.path, error.line, error.column) == ("dir/p.yaml", line, column)
    assert "\n" not in str(error)


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(FormatError, match="aliases expand"):
        yamlfile.load("\n".join(lines), "p")


def test_too_large_and_not_text_are_refused() -> None:
    with pytest.raises(FormatError, match="10 MB"):
        yamlfile.load("a" * (yamlfile.MAX_BYTES + 1), "p")
    with pytest.raises(FormatError):
        yamlfile.load("a: \x00", "p")
    with pytest.raises(FormatError):
        yamlfile.load("a: \udc80", "p")


def test_position_of_keys_and_items() -> None:
    text = "# c\na:\n  b:\n    - x\n    - y: 1\n1: z\n"
    assert yamlfile.position(text, ["a"]) == (2, 1)
    assert yamlfile.position(text, ["a", "b"]) == (3, 3)
    assert yamlfile.position(text, ["a", "b", 1]) == (5, 7)
    assert yamlfile.position(text, ["a", "b", 1, "y"]) == (5, 7)
    assert yamlfile.position(text, ["1"]) == (6, 1)
    assert yamlfile.position(text, ["a", "c"]) is None
    assert yamlfile.position("a: [", ["a"]) is None
