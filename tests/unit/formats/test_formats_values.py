"""Params and metrics of every format, and how their values are named."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pyexp.errors import FormatError
from pyexp.formats import values
from pyexp.formats.values import MISSING


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("p.yaml", "a: 1\nb: {c: [1, x]}\n"),
        ("p.yml", "a: 1\nb: {c: [1, x]}\n"),
        ("noext", "a: 1\nb: {c: [1, x]}\n"),
        ("p.json", '{"a": 1, "b": {"c": [1, "x"]}}'),
        ("P.JSON", '\ufeff{"a": 1, "b": {"c": [1, "x"]}}'),
        ("p.toml", 'a = 1\n[b]\nc = [1, "x"]\n'),
        ("p.py", "a = 1\nclass b:\n    c = [1, 'x']\n"),
    ],
)
def test_the_extension_selects_the_format(path: str, text: str) -> None:
    assert values.load(text, path) == {"a": 1, "b": {"c": [1, "x"]}}


@pytest.mark.parametrize("path", ["p.yaml", "p.json", "p.toml", "p.py"])
def test_an_empty_file_has_no_values(path: str) -> None:
    assert values.load("", path) == {}
    assert values.load("\n", path) == {}


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("p.yaml", "a: [", None),
        ("p.json", '{"a": 1,\n"b" 2}', 2),
        ("p.json", '{"a": 1, "a": 2}', None),
        ("p.json", "[" * 100_000, None),
        ("p.json", '{"a": ' + "1" * 5000 + "}", None),
        ("p.toml", "a = \n", None),
        ("p.toml", "a = 1\na = 2\n", None),
        ("p.py", "a = 1\nb = = 2\n", 2),
        ("p.py", "a = '\0'\n", None),
        ("p.yaml", "- 1\n", 1),
        ("p.json", "3", 1),
    ],
)
def test_wrong_files_say_where(path: str, text: str, line: int | None) -> None:
    with pytest.raises(FormatError) as caught:
        values.load(text, path)
    assert caught.value.path == path
    assert line is None or caught.value.line == line
    assert "\n" not in str(caught.value)


def test_metrics_may_be_a_bare_number() -> None:
    assert values.load_any("0.5\n", "metric") == 0.5
    assert values.load_any("0.5", "m.json") == 0.5
    assert values.load_any("", "m.yaml") is None


def test_python_constants_as_dvc_sees_them() -> None:
    text = """
import os
A = 1
A = 2
B: float = -0.5
C: int
D = E = 3
F = os.name
G = {"x": (1, 2)}
H = {*()}

class Train:
    lr = 1e-3
    def __init__(self, n):
        self.layers = 5
        self.n = n
        local = 3
        other.x = 4
    def method(self):
        self.hidden = 1
    class Inner:
        z = None

def function():
    Q = 1

if True:
    R = 1
"""
    assert values.load(text, "p.py") == {
        "A": 2,
        "B": -0.5,
        "G": {"x": (1, 2)},
        "Train": {"lr": 1e-3, "layers": 5, "Inner": {"z": None}},
    }


def test_python_is_never_run(tmp_path: Any) -> None:
    flag = tmp_path / "ran"
    assert values.load(f"open({str(flag)!r}, 'w')\nX = 1\n", "p.py") == {"X": 1}
    assert not flag.exists()


def test_flatten() -> None:
    data = {"a": {"b": {"c": 1}, "l": [{"x": 1}]}, "e": {}, "z": None, 1: {2: 3}}
    assert list(values.flatten(data).items()) == [("a.b.c", 1), ("a.l", [{"x": 1}]), ("z", None), ("1.2", 3)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", {"b": 1, "l": [5, {"x": 6}]}), ("a.b", 1), ("a.l.0", 5), ("a.l.1.x", 6), ("a.l.2", MISSING), ("a.l.-1", MISSING),
        ("nope", MISSING), ("a.b.c", MISSING), ("x.y", "dotted"), ("x.y.z", MISSING), ("1", "one"), ("n", None), ("", MISSING),
        ("p.q.r", "deep"), ("t.u", MISSING),
    ],
)  # fmt: skip
def test_select(name: str, expected: Any) -> None:
    data = {
        "a": {"b": 1, "l": [5, {"x": 6}]}, "x.y": "dotted", 1: "one", "n": None, "p": {"q.r": "deep"},
        "t": {}, "t.u.v": 0,
    }  # fmt: skip
    assert values.select(data, name) == expected


def test_missing_is_one_even_across_processes() -> None:
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
    assert not MISSING


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        ({"a": 1, "b": 0, "c": "x", "d": False}, {"a": 1, "b": 0, "c": "x", "d": False}),
        ({"none": None, "list": [1], "empty": {}, "deep": {"none": None}, "n": 1}, {"n": 1}),
        ({"a": {"b": {"c": 0.0}}}, {"a": {"b": {"c": 0.0}}}),
        ([1, 2], {}),
        (None, {}),
        (0, 0),
        ("text", "text"),
    ],
)
def test_what_of_a_metrics_file_counts(data: object, counts: object) -> None:
    assert values.measures(data) == counts
