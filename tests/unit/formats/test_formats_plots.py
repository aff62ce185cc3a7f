"""Files of points, how they are joined, and templates: without a project."""

import json
from typing import Any

import pytest

from pyexp.errors import FormatError, PyexpError
from pyexp.formats import plotdata, plotseries, vegatemplates
from pyexp.formats.vegatemplates import Picture, Template, anchor, filled


@pytest.mark.parametrize(
    ("name", "text", "header", "points"),
    [
        ("a.csv", "a,b\n1,2\n", True, [{"a": "1", "b": "2"}]),
        ("a.csv", '"a, b","c\nd"\n1,2\r\n', True, [{"a, b": "1", "c\nd": "2"}]),
        ("a.csv", "\n\na,b\n\n1\n1,2,3\n", True, [{"a": "1", "b": None}, {"a": "1", "b": "2"}]),
        ("a.csv", "a,b", True, []),
        ("a.csv", "", True, []),
        ("a.csv", "1,2\n3,4\n", False, [{"0": "1", "1": "2"}, {"0": "3", "1": "4"}]),
        ("a.tsv", "1\t2\n", False, [{"0": "1", "1": "2"}]),
        ("a.json", '[{"a": 1}, {"a": 2}]', True, [{"a": 1}, {"a": 2}]),
        ("a.json", '{"x": {"p": [{"a": 1}]}, "y": [{"b": 2}, {"b": 3}], "z": [1], "e": []}', True, [{"a": 1, "b": 2}, {"b": 3}]),
        ("a.json", '[{"a": 1}, {"b": 2}]', True, []),
        ("a.yaml", "- {a: 1}\n", True, [{"a": 1}]),
        ("a.toml", "[[p]]\na = 1\n", True, [{"a": 1}]),
        ("a.py", "p = [{'a': 1}]\n", True, [{"a": 1}]),
    ],
)  # fmt: skip
def test_points(name: str, text: str, header: bool, points: Any) -> None:
    assert plotdata.points_of(plotdata.load(text.encode(), name, header=header)) == points


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.txt", b"x"), ("a.PNG", b"x"), ("a", b""), ("a.csv", b"\xff\xfe"), ("a.json", b"{"), ("a.json", b""),
        ("a.json", b"3"), ("a.yaml", b"text"), ("a.yaml", b"a: [\n"), ("a.csv", b'"' + b"x" * 200_000),
    ],
)  # fmt: skip
def test_files_that_hold_no_points(name: str, raw: bytes) -> None:
    with pytest.raises(FormatError) as error:
        plotdata.load(raw, name)
    assert "\n" not in str(error.value)


def test_deep_data_is_no_trouble() -> None:
    data: Any = [{"a": 1}]
    for _ in range(100_000):
        data = {"x": data}
    assert plotdata.points_of(data) == [{"a": 1}]


def test_every_builtin_template_takes_what_it_is_given() -> None:
    points = [{"x.y": 1, "b": 2, "rev": "r", "filename": path, "field": "b"} for path in ("f", "g")]
    props = {"title": "T", "x": "x.y", "y": "b", "x_label": "X", "y_label": "Y"}
    picture = Picture(points, props, (("f", "b"), ("g", "b")), ("r",))
    for name in vegatemplates.BUILTIN:
        template = vegatemplates.builtin(name)
        assert template is not None and template.builtin == name
        before = json.dumps(template.spec)
        spec, _ = filled(template, picture)
        assert json.dumps(template.spec) == before and "<DVC_METRIC" not in json.dumps(spec)
        assert spec["data"]["values"][0] == {"x.y": 1, "b": 2, "rev": "r", "filename": "f"}
        assert r"x\\.y" in json.dumps(spec), "a dot in a name must not lead into nested data"
    assert points[0]["field"] == "b", "the points themselves stay as they are"


def test_a_placeholder_in_data_or_titles_is_not_filled() -> None:
    points = [{"a": anchor("title"), "rev": "r"}]
    picture = Picture(points, {"title": anchor("x"), "x": "a", "y": "a"}, (("f", "a"),), ("r",))
    spec, _ = filled(Template("t", {"d": anchor("data"), "y": anchor("y")}), picture)
    assert spec == {"d": points, "y": "a"}
    with pytest.raises(PyexpError, match="DVC_METRIC_DATA"):
        filled(Template("t", {"y": anchor("y")}), picture)


def test_sources() -> None:
    assert plotseries.sources_of("id", {}) == ["id"]
    assert plotseries.sources_of("id", {"y": {"a": "1", "b": ["2"]}, "x": {"c": "3", "d": "4"}}) == ["a", "b", "c"]
    assert plotseries.sources_of("id", {"x": {"id": "3"}, "y": "1"}) == ["id"]
