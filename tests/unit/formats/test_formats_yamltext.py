"""Writing YAML: byte for byte what DVC (ruamel.yaml) writes."""

from __future__ import annotations

import datetime
import io
import math
from typing import Any

import pytest

from pyexp.formats import yamlfile

VALUES: list[Any] = [
    None, True, 0.0001, 1e-5, 1e15, 1e16, 0.1 + 0.2, math.inf, -math.inf, math.nan, -0.0, 10**20, "1", "1.0", "1e3", "0x10",
    "1_000", "true", "null", "~", "2021-01-01", "=", "<<", "", "yes", "no", "on", "12:30:00", "a,b", "?x", "a\\b", "a: b", "a #b",
    "#x", "- x", "[x", "{x", "@x", "`x", "%x", "!x", "&x", "*x", "|x", ">x", " x", "x ", "'x", '"x', "it's", "multi\nline",
    "tab\tx", "\x07", "é ☃ 😀", (1, 2), datetime.date(2021, 1, 1), datetime.datetime(2021, 1, 1, 2, 3, 4), [], {}, [[1]],
    [[{"a": [1, {"b": None}]}], None], {"a": {"b": []}}, "-", ":", "?", "a:", "---", "...x", "\xa0", "\ufeff", "\x85",
    "python train.py --lr 0.1 " * 6, "x" * 100 + " y", "y " + "x" * 100, "a  b " * 40, "it's: " + "word " * 30,
    "it: " + "word " * 30 + "e", "a\nb " + "word " * 30, "\\" * 200, '"' * 90 + " " + "'" * 90, "a\n" * 60,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize(
    "wrap", [lambda v: {"key": v, "z": 1}, lambda v: {"k": [v, 1]}, lambda v: {"a": {"b": {"c": v}}}]
)
def test_dump_writes_what_ruamel_writes(value: Any, wrap: Any) -> None:
    ruamel = pytest.importorskip("ruamel.yaml")
    if value == "\x85":
        pytest.skip("written with its escape, so that it can be seen")
    yaml = ruamel.YAML()
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(wrap(value), stream)
    assert yamlfile.dump(wrap(value)) == stream.getvalue()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_written_reads_the_same(value: Any) -> None:
    again = yamlfile.load(yamlfile.dump({"k": value}), "p")["k"]
    expected = list(value) if isinstance(value, tuple) else value
    assert again == expected or (again != again and expected != expected)
    assert type(again) is type(expected)


def test_keys_of_every_kind() -> None:
    data = {1: "a", 1.5: "b", "": "c", "x y": "d", "a: b": "e", "k" * 200: [1], "new\nline": {"x": 1}, False: 0, "1": 2}
    assert yamlfile.load(yamlfile.dump(data), "p") == data


def test_what_is_no_plain_data_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        yamlfile.dump({"a": object()})


def test_a_value_that_occurs_twice_is_written_twice() -> None:
    shared = {"x": 1}
    assert yamlfile.dump({"a": shared, "b": shared}) == "a:\n  x: 1\nb:\n  x: 1\n"
