"""Vega-Lite templates: our nine, users' own, and how the placeholders of either are filled.

A placeholder is a string ``<DVC_METRIC_NAME>``. DVC's names and rules hold, so that templates written for it work: the
string alone stands for any value, inside a longer text for text only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pyexp.errors import FormatError, PyexpError
from pyexp.formats.plotdata import Points
from pyexp.formats.plotseries import FIELD, FILE, REV, Series
from pyexp.records import dataclass

Spec = dict[str, Any]

DEFAULT = "linear"
BETWEEN = "::"  # joins a file and a field where both differ
# Placeholders that a template need not have; what has no value in a picture becomes an empty mapping.
_OPTIONAL = (
    "color", "column", "group_by_x", "group_by_y", "group_by", "pivot_field", "plot_height", "plot_width", "row", "shape",
    "stroke_dash", "tooltip", "zoom_and_pan",
)  # fmt: skip
# Placeholders that are left in place, with their values beside, when a caller wants to fill them himself.
_SPLIT = frozenset(
    ("color", "data", "plot_height", "plot_width", "shape", "stroke_dash", "title", "tooltip", "x_label", "y_label",
     "zoom_and_pan")
)  # fmt: skip
COLORS = ("#945dd6", "#13adc7", "#f46837", "#48bb78", "#4299e1", "#ed8936", "#f56565")
_RANGES: Mapping[str, tuple[Any, ...]] = {
    "color": COLORS,
    "shape": ("circle", "square", "triangle", "diamond"),
    "stroke_dash": ([1, 0], [8, 8], [8, 4], [4, 4], [4, 2], [2, 1], [1, 1]),
}
_PLAIN = {
    "plot_height": 300,
    "plot_width": 300,
    "zoom_and_pan": {"name": "grid", "select": "interval", "bind": "scales"},
}


@dataclass(frozen=True)
class Template:
    """A spec with placeholders; ``builtin`` is the name of one of ours."""

    name: str
    spec: Spec
    builtin: str | None = None


@dataclass(frozen=True)
class Picture:
    """What a template is filled with: the points of all revisions, and what is drawn of them."""

    points: Points
    props: Mapping[str, Any]
    ys: tuple[Series, ...]
    revs: tuple[str, ...]


def anchor(name: str) -> str:
    return f"<DVC_METRIC_{name.upper()}>"


def parse(text: str, path: str) -> Spec:
    """A user's template; raises FormatError."""
    try:
        spec = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not a template: {error}", path=path) from None
    if not isinstance(spec, dict):
        raise FormatError("not a template: expected a mapping", path=path)
    return spec


# -- our own ---------------------------------------------------------------------------------------------------------


def _axis(name: str, kind: str | None = "quantitative", **more: Any) -> Spec:
    typed = {} if kind is None else {"type": kind}
    return {"field": anchor(name), **typed, "title": anchor(f"{name}_label"), **more}


def _sized(**more: Any) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": anchor("data")},
        "title": {"text": anchor("title")},
        "width": anchor("plot_width"),
        "height": anchor("plot_height"),
        **more,
    }


def _simple() -> Spec:
    encoding = {
        "x": _axis("x"),
        "y": _axis("y", scale={"zero": False}),
        "color": anchor("color"),
        "strokeDash": anchor("stroke_dash"),
        "tooltip": anchor("tooltip"),
    }
    return _sized(mark={"type": "line", "point": {"size": 12}}, params=[anchor("zoom_and_pan")], encoding=encoding)


def _smooth() -> Spec:
    """A line that a slider smooths, over the faint line of the points themselves."""
    slider = {"input": "range", "min": 0.001, "max": 1, "step": 0.001}
    loess = {"loess": anchor("y"), "on": anchor("x"), "groupby": anchor("group_by"), "bandwidth": {"signal": "smooth"}}
    encoding = {
        "x": _axis("x"),
        "y": _axis("y", scale={"zero": False}),
        "color": anchor("color"),
        "strokeDash": anchor("stroke_dash"),
    }
    layers = [
        {"transform": [loess], "mark": "line", "params": [anchor("zoom_and_pan")]},
        {"mark": {"type": "line", "opacity": 0.25}},
        {"mark": {"type": "point", "size": 12, "opacity": 0.5}, "encoding": {"tooltip": anchor("tooltip")}},
    ]
    params = [{"name": "smooth", "value": 0.001, "bind": slider}]
    return _sized(params=params, encoding=encoding, layer=layers)


def _scatter(jitter: bool = False) -> Spec:
    kind = None if jitter else "quantitative"
    encoding = {
        "x": _axis("x", kind),
        "y": _axis("y", kind),
        "color": anchor("color"),
        "shape": anchor("shape"),
        "tooltip": anchor("tooltip"),
    }
    if not jitter:
        return _sized(mark="point", params=[anchor("zoom_and_pan")], encoding=encoding)
    for axis in ("x", "y"):
        encoding[f"{axis}Offset"] = {"field": f"shift_{axis}", "type": "quantitative"}
    transform = [{"calculate": "random()", "as": f"shift_{axis}"} for axis in ("x", "y")]
    return _sized(transform=transform, mark="point", encoding=encoding)


def _confusion(normalized: bool = False) -> Spec:
    """Cells counted by their two names; ``normalized`` shows the part of all cells with the same y."""
    shown = "part" if normalized else "count"
    cell = [REV, anchor("y"), anchor("x")]
    transform: list[Spec] = [
        {"aggregate": [{"op": "count", "as": "count"}], "groupby": [anchor("y"), anchor("x")]},
        {"impute": "count", "groupby": anchor("group_by_y"), "key": anchor("x"), "value": 0},
        {"impute": "count", "groupby": anchor("group_by_x"), "key": anchor("y"), "value": 0},
        {
            "joinaggregate": [{"op": "sum" if normalized else "max", "field": "count", "as": "whole"}],
            "groupby": cell[:2] if normalized else [],
        },
        {"calculate": "datum.whole ? datum.count / datum.whole : 0", "as": "part"},
    ]
    number = {"field": shown, "type": "quantitative", **({"format": ".2f"} if normalized else {})}
    scale = {"domain": [0, 1]} if normalized else {"domainMin": 0, "nice": True}
    tip = [{"field": anchor("x"), "type": "nominal"}, {"field": anchor("y"), "type": "nominal"}, number]
    dark = {"condition": {"test": "datum.part > 0.5", "value": "white"}, "value": "black"}
    layers = [
        {"mark": "rect", "width": anchor("plot_width"), "height": anchor("plot_height"),
         "encoding": {"color": {**number, "title": "", "scale": scale}, "tooltip": tip}},
        {"mark": "text", "encoding": {"text": number, "color": dark}},
    ]  # fmt: skip
    sides = {"x": _axis("x", "nominal", sort="ascending"), "y": _axis("y", "nominal", sort="ascending")}
    sized = _sized(
        facet={"column": {"field": REV, "sort": []}, "row": anchor("row")},
        spec={"transform": transform, "encoding": sides, "layer": layers},
    )
    return {key: value for key, value in sized.items() if key not in ("width", "height")}


def _bars(ordered: bool = False) -> Spec:
    encoding = {
        "x": _axis("x", scale={"zero": False}),
        "y": _axis("y", "nominal", **({"sort": "-x"} if ordered else {})),
        "yOffset": {"field": REV, "sort": []},
        "color": anchor("color"),
        "column": anchor("column"),
    }
    return _sized(mark={"type": "bar", "tooltip": True}, params=[anchor("zoom_and_pan")], encoding=encoding)


BUILTIN: Mapping[str, Any] = {
    "simple": _simple,
    "linear": _smooth,
    "confusion": _confusion,
    "confusion_normalized": lambda: _confusion(normalized=True),
    "scatter": _scatter,
    "scatter_jitter": lambda: _scatter(jitter=True),
    "smooth": _smooth,
    "bar_horizontal_sorted": lambda: _bars(ordered=True),
    "bar_horizontal": _bars,
}


def builtin(name: str) -> Template | None:
    """One of our own, None when there is none of that name."""
    return Template(name, BUILTIN[name](), name) if name in BUILTIN else None


# -- filling ---------------------------------------------------------------------------------------------------------


def filled(template: Template, picture: Picture, *, split: bool = False) -> tuple[Spec, dict[str, Any]]:
    """The spec of a picture; with ``split`` also what its common placeholders stand for, which then stay in it.

    Raises PyexpError for a template that has no place for the points.
    """
    filling = _Filling(template, _SPLIT if split else frozenset())
    varied = filling.fill_optional(picture)
    points = picture.points if varied is None else _named(picture.points, varied)
    props = picture.props
    for name in ("title", "x", "y", "x_label", "y_label"):
        value = props.get(name)
        if value is not None:
            filling.fill(name, _escaped(value) if name in ("x", "y") else value)
    if not filling.has("data") and not split:
        raise PyexpError(
            f"the template '{template.name}' has no {anchor('data')}", hint='write "data": {"values": "…"} with it'
        )
    filling.fill("data", points)
    return filling.spec, filling.beside


class _Filling:
    """A template on its way to a spec."""

    def __init__(self, template: Template, split: frozenset[str]) -> None:
        self.spec = template.spec
        self.beside: dict[str, Any] = {}
        self._split = split
        self._open = [name for name in _OPTIONAL if self.has(name)]

    def has(self, name: str) -> bool:
        return _holds(self.spec, anchor(name))

    def fill(self, name: str, value: Any) -> None:
        if name in self._split:
            self.beside[anchor(name)] = value
        else:
            self.spec = _replaced(self.spec, anchor(name), value)

    def fill_optional(self, picture: Picture) -> list[str] | None:
        """Fills what a template need not have; which of file and field differ, None when it has nothing of the kind."""
        if not self._open:
            return None
        given: dict[str, Any] = {"color": _scale("color", REV, picture.revs), **_PLAIN}
        varied = _varied(picture.ys)
        joined = BETWEEN.join(varied)
        groups = [REV, joined] if varied else [REV]
        x, y = picture.props.get("x"), picture.props.get("y")
        fields = [REV, x, y, joined] if varied else [REV, x, y]
        given |= {"group_by": groups, "group_by_x": [*groups, x], "group_by_y": [*groups, y]}
        given["pivot_field"] = f" + '{BETWEEN}' + ".join(f"datum.{key}" for key in (REV, *varied))
        given["tooltip"] = [{"field": field} for field in fields]
        if varied:
            given |= {"row": {"field": joined, "sort": []}, "column": {"field": joined, "sort": []}}
            domain = sorted({_key(path, field, varied) for path, field in picture.ys})
            given |= {name: _scale(name, joined, domain) for name in ("stroke_dash", "shape")}
        for name in self._open:
            if name in given:
                self.fill(name, given[name])
            else:
                self.spec = _replaced(self.spec, anchor(name), {})
        return varied


def _varied(ys: Sequence[Series]) -> list[str]:
    """Which of file and field tell the series of a picture apart."""
    if len(ys) < 2:
        return []
    return [name for name, found in ((FILE, {y[0] for y in ys}), (FIELD, {y[1] for y in ys})) if len(found) > 1]


def series_key(ys: Sequence[Series]) -> str | None:
    """The field of a filled picture's points that tells its series apart, None for a single one."""
    return BETWEEN.join(_varied(ys)) or None


def _key(path: str, field: str, varied: Sequence[str]) -> str:
    return BETWEEN.join({FILE: path, FIELD: field}[name] for name in varied)


def _named(points: Points, varied: Sequence[str]) -> Points:
    """The points with one field that tells the series apart, in place of file and field."""
    found: Points = []
    for point in points:
        row = dict(point)
        if len(varied) == 2:
            row[BETWEEN.join(varied)] = BETWEEN.join(str(row.get(name)) for name in varied)
        for name in (FILE, FIELD):
            if len(varied) == 2 or name not in varied:
                row.pop(name, None)
        found.append(row)
    return found


def told_apart(picture: Picture) -> Points:
    """The points as the built-in templates get them."""
    return _named(picture.points, _varied(picture.ys))


def _scale(name: str, field: str, domain: Sequence[str]) -> Spec:
    values = _RANGES[name]
    found: Spec = {
        "field": field,
        "scale": {"domain": list(domain), "range": [values[index % len(values)] for index in range(len(domain))]},
    }
    if name != "color":
        found["legend"] = {"symbolFillColor": "transparent", "symbolStrokeColor": "grey"}
    return found


def _escaped(field: str) -> str:
    """A field's name as Vega-Lite takes it: there dots and brackets lead into nested data."""
    for character in ".[]":
        field = field.replace(character, f"\\{character}")
    return field


def _holds(node: Any, text: str) -> bool:
    if isinstance(node, str):
        return node == text
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    return any(_holds(child, text) for child in children)


def _replaced(node: Any, text: str, value: Any, *, part: bool = True) -> Any:
    """A copy with a placeholder replaced; inside a longer text only as the value of a key, as DVC does."""
    if isinstance(node, dict):
        return {key: _replaced(child, text, value) for key, child in node.items()}
    if isinstance(node, list):
        return [_replaced(child, text, value, part=False) for child in node]
    if node == text:
        return value
    if part and isinstance(node, str) and isinstance(value, str) and text in node:
        return node.replace(text, value)
    return node
