"""The page of plots: images as files beside it, points as JSON that a script in the page draws; nothing of it is fetched.

Names, titles and data are a stranger's: as HTML they are escaped, as JSON they cannot end the element they are in.
"""

from __future__ import annotations

import html
import json
import math
import os
import posixpath
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyexp import durable
from pyexp.errors import FormatError, PyexpError
from pyexp.experiments.plots import Image, Plot
from pyexp.formats import vegatemplates
from pyexp.formats.vegatemplates import Picture, Template
from pyexp.paths import check_part

STATIC = "static"
PAGE = "index.html"
# How the script in the page draws what our own templates describe.
_KINDS = {
    "simple": "line", "linear": "smooth", "smooth": "smooth", "scatter": "point", "scatter_jitter": "jitter",
    "confusion": "heat", "confusion_normalized": "heat_normalized", "bar_horizontal": "bars",
    "bar_horizontal_sorted": "bars_sorted",
}  # fmt: skip
# What draws users' own templates; the hashes see to it that it is just these files.
_VEGA = (
    ("vega@5.33.1/build/vega.min.js", "sha384-NMXhl2TbCXxcN7o4ROC56Funm78m4AylL8gMg/7Kn4YU+wrm23K9l7cY8lDRXQ9d"),
    (
        "vega-lite@5.23.0/build/vega-lite.min.js",
        "sha384-D9LYH0esGjcxQJsBuxOuXtCDJGXRWW1+KhluzWPqi0rLJmiR/ygPChefaD+rFFDQ",
    ),
    (
        "vega-embed@6.29.0/build/vega-embed.min.js",
        "sha384-M+Ax7e/WFJpxSOF09HzI+Sj4wg9ottVd/uxmV2ItGGh02fLH28t2FAOJx3TJBap5",
    ),
)
_VEGA_TAG = '<script src="https://cdn.jsdelivr.net/npm/{0}" integrity="{1}" crossorigin="anonymous"></script>'
_TEMPLATE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{refresh_tag}
<title>Plots</title>
{scripts}
<style>
body { font-family: sans-serif; }
.pyexp-box { display: inline-block; vertical-align: top; margin: 8px; padding: 6px; border: 1px solid #ccc; }
.pyexp-images { border: 1px solid #ccc; margin: 8px; padding: 6px; overflow-x: auto; white-space: nowrap; }
.pyexp-images figure { display: inline-block; margin: 6px; text-align: center; }
</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""
_PLACES = re.compile(r"\{(plot_divs|scripts|refresh_tag)\}")


class Folder:
    """The directory a page is written to; nothing is written outside of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._taken: dict[str, tuple[str, str]] = {}

    def make(self, below: str = "") -> str:
        """Makes the directory, or one in it; a new one hides itself from git. Raises PyexpError for a link in it."""
        path = os.path.join(self.path, below) if below else self.path
        if below and os.path.islink(path):
            raise PyexpError(f"'{path}' is a symbolic link", hint="remove it: the images of plots are kept there")
        is_new = not os.path.lexists(self.path)
        os.makedirs(path, exist_ok=True)
        if is_new:
            durable.write_file(os.path.join(self.path, ".gitignore"), "*\n", sync=False)
        return path

    def keep(self, image: Image, below: str = "") -> str:
        """Writes an image, named by its revision and path, and returns its path."""
        directory = self.make(below)
        wanted = _file_name(f"{image.rev}_{image.path}")
        name, number = wanted, 1
        while self._taken.setdefault(name, (image.rev, image.path)) != (image.rev, image.path):
            number += 1
            stem, suffix = posixpath.splitext(wanted)
            name = f"{stem}-{number}{suffix}"
        check_part(name)
        path = os.path.join(directory, name)
        durable.write_file(path, image.data, sync=False)
        return path


def _file_name(text: str) -> str:
    """A name for an image; one that is too long for a file system keeps its end and is told apart by a number."""
    name = re.sub(r"[/\\\0]", "_", text)
    if len(os.fsencode(name)) > 200:
        stem, suffix = posixpath.splitext(name)
        name = f"{zlib.crc32(os.fsencode(name)):08x}_{stem[-40:]}{suffix}"
    return name


def template_text(path: str | None) -> str:
    """The text of a page's template (None: our own); raises FormatError."""
    if path is None:
        return _TEMPLATE
    try:
        text = durable.read_file(path)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", path=path) from error
    if text is None:
        raise PyexpError(f"there is no page template '{path}'", hint="name an HTML file with {plot_divs} in it")
    try:
        page = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("is not UTF-8 text", path=path) from error
    if "{plot_divs}" not in page:
        raise FormatError("has no {plot_divs}", path=path, hint="write it where the plots belong")
    return page


def write(plots: Sequence[tuple[Plot, Template | None]], out: str, page: str) -> str:
    """Writes the page and its images into the directory ``out``; returns the page's path."""
    folder = Folder(out)
    folder.make()
    parts: list[str] = []
    scripts: list[str] = []
    names: dict[str, None] = {}
    for plot, template in sorted(plots, key=_order):
        if plot.is_image:
            body = _figures(plot, folder)
        else:
            body = "" if plot.picture is None or template is None else _box(plot.picture, template)
            if body and template is not None and template.builtin is None and not scripts:
                scripts += [_VEGA_TAG.format(*pair) for pair in _VEGA]
        if body:
            style = "pyexp-images" if plot.is_image else "pyexp-box"
            parts.append(f'<div id="{_identifier(plot.name, names)}" class="{style}">\n{body}\n</div>')
    own = f"<script>\n{_script()}</script>"
    if "{scripts}" in page:
        scripts.append(own)
    else:
        parts.append(own)
    values = {"plot_divs": "\n".join(parts), "scripts": "\n".join(scripts), "refresh_tag": ""}
    path = os.path.join(out, PAGE)
    text = _PLACES.sub(lambda found: values[found[1]], page)
    durable.write_file(path, text.encode("utf-8", "replace"), sync=False)
    return path


def _script() -> str:
    return (Path(__file__).parent / "plotpage.js").read_text(encoding="utf-8")


def _order(item: tuple[Plot, Template | None]) -> tuple[bool, str, bool, int, str]:
    """Pictures as they come, then images by directory, those that are numbers in their order."""
    plot = item[0]
    if not plot.is_image:
        return (False, "", False, 0, "")
    directory, name = posixpath.split(plot.name)
    stem = posixpath.splitext(name)[0]
    is_number = stem.isascii() and stem.isdigit() and len(stem) < 20
    return (True, directory, not is_number, int(stem) if is_number else 0, name)


def _identifier(name: str, taken: dict[str, None]) -> str:
    found = wanted = re.sub(r"[^\w-]", "_", name, flags=re.ASCII)
    number = 1
    while found in taken:
        number += 1
        found = f"{wanted}-{number}"
    taken[found] = None
    return found


def _figures(plot: Plot, folder: Folder) -> str:
    figures = []
    for image in plot.images:
        name = os.path.basename(folder.keep(image, STATIC))
        address = html.escape(f"{STATIC}/{quote(os.fsencode(name))}")
        figures.append(f'<figure><figcaption>{html.escape(image.rev)}</figcaption><img src="{address}"></figure>')
    return "\n".join([f"<p>{html.escape(plot.name)}</p>", *figures]) if figures else ""


def _box(picture: Picture, template: Template) -> str:
    if template.builtin is None:
        data: Mapping[str, Any] = {"spec": vegatemplates.filled(template, picture)[0]}
    else:
        data = _drawing(picture, template.builtin)
    return f'<script type="application/json" class="pyexp-plot">{_json(data)}</script>'


def _drawing(picture: Picture, name: str) -> dict[str, Any]:
    """What the script draws: rows of x, y, the number of the revision and that of the series."""
    key = vegatemplates.series_key(picture.ys)
    points = vegatemplates.told_apart(picture)
    keys: dict[str, int] = {}
    revs = {rev: number for number, rev in enumerate(picture.revs)}
    x, y = str(picture.props.get("x")), str(picture.props.get("y"))
    if key is not None:
        keys = {name: number for number, name in enumerate(sorted({str(point.get(key)) for point in points}))}
    rows = [
        [point.get(x), point.get(y), revs[point["rev"]], keys.get(str(point.get(key)), 0) if key is not None else 0]
        for point in points
    ]
    return {
        "kind": _KINDS[name],
        "title": str(picture.props.get("title") or ""),
        "xLabel": str(picture.props.get("x_label") or ""),
        "yLabel": str(picture.props.get("y_label") or ""),
        "revs": list(revs),
        "keys": list(keys),
        "rows": rows,
    }


_ACTIVE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def _json(data: Any) -> str:
    """JSON in ASCII without a character that HTML could take for its own."""
    return json.dumps(_finite(data), default=str).translate(_ACTIVE)


def _finite(data: Any) -> Any:
    """Data without the numbers that are none: JSON has no word for them."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data
