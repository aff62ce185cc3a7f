"""Plots by the installed command, in both layouts: what is collected, how it is drawn, and what the page holds."""

import html
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from functional.conftest import Space
from space import files_of

from pyexp.git import refs, repo, user

PIPELINE = """\
stages:
  draw:
    cmd: python3 draw.py
    params: [lr]
    deps: [draw.py]
    plots:
    - loss.csv:
        x: step
        y: loss
    - sub/own.json:
        cache: false
"""
DRAW = """\
import json, os
lr = float(open("params.yaml").read().split()[1])
os.makedirs("sub", exist_ok=True)
open("loss.csv", "w").write("step,loss\\n0,1\\n1," + str(lr) + "\\n")
json.dump({"meta": 1, "deep": {"points": [{"n": 1, "v": lr}, {"n": 2, "v": 3}]}}, open("sub/own.json", "w"))
"""
HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>&\u2028"


@pytest.fixture
def plotted(make: Callable[..., Space], request: pytest.FixtureRequest) -> Space:
    space = make(PIPELINE, getattr(request, "param", "pyexp"), **{"draw.py": DRAW})
    assert space.cli("repro").returncode == 0
    space.commit("run")
    return space


both = pytest.mark.parametrize("plotted", ["pyexp", "dvc"], indirect=True)


def declare(space: Space, text: str) -> None:
    space.put("dvc.yaml", PIPELINE + text)


def shown(space: Space, *args: str) -> dict[str, Any]:
    data = space.json("plots", *(args or ("show",)), "--json")
    assert isinstance(data, dict)
    found: dict[str, Any] = data
    return found


def values(drawn: Any) -> list[dict[str, Any]]:
    (one,) = drawn
    found: list[dict[str, Any]] = one["content"]["data"]["values"]
    return found


def drawings(page: str) -> list[dict[str, Any]]:
    """What the script in a page draws."""
    found = re.findall(r'<script type="application/json" class="pyexp-plot">(.*?)</script>', page, re.DOTALL)
    return [json.loads(text) for text in found]


# -- what is collected -----------------------------------------------------------------------------------------------


@both
def test_plots_of_stages_and_the_page(plotted: Space) -> None:
    done = plotted.cli("plots", "show")
    assert (done.returncode, done.stderr) == (0, "")
    page = plotted.root / "dvc_plots/index.html"
    assert done.stdout == f"{page.as_uri()}\n"
    loss, own = drawings(page.read_text())
    assert loss == {
        "kind": "smooth",
        "title": "loss.csv",
        "xLabel": "step",
        "yLabel": "loss",
        "revs": ["workspace"],
        "keys": [],
        "rows": [["0", "1", 0, 0], ["1", "0.5", 0, 0]],
    }
    assert own["rows"] == [[0, 0.5, 0, 0], [1, 3, 0, 0]] and own["xLabel"] == "step" and own["yLabel"] == "v"
    assert "http:" not in page.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page.read_text(), "the page must open without a network"


@both
def test_git_does_not_see_the_page(plotted: Space) -> None:
    plotted.cli("plots", "show")
    with repo.discover(plotted.root) as found:
        assert "dvc_plots" not in user.status_text(found)


@both
def test_revisions_and_experiments(plotted: Space) -> None:
    """The plot of a commit comes from the cache, by its lock file."""
    assert plotted.cli("exp", "run", "-n", "quick", "-S", "lr=0.25", "--temp").returncode == 0
    plotted.put("params.yaml", "lr: 0.75\ntrain:\n  epochs: 3\n")
    assert plotted.cli("repro").returncode == 0
    data = shown(plotted, "diff", "HEAD", "quick", "workspace")["data"]
    last = {row["rev"]: row["loss"] for row in values(data["loss.csv"])}
    assert last == {"workspace": "0.75", "HEAD": "0.5", "quick": "0.25"}
    assert data["loss.csv"][0]["revisions"] == ["workspace", "HEAD", "quick"]
    assert {row["rev"]: row["v"] for row in values(data["sub/own.json"]) if row["n"] == 1} == {
        "workspace": 0.75,
        "HEAD": 0.5,
        "quick": 0.25,
    }
    # Without revisions: HEAD where something has changed; one is compared with the workspace.
    assert shown(plotted, "diff")["data"]["loss.csv"][0]["revisions"] == ["workspace", "HEAD"]
    assert shown(plotted, "diff", "quick")["data"]["loss.csv"][0]["revisions"] == ["workspace", "quick"]
    base = plotted.project().require_git().head().sha
    assert base is not None
    assert shown(plotted, "diff", "-e", "quick")["data"]["loss.csv"][0]["revisions"] == ["quick", base[:7]]


def test_a_clean_workspace_is_compared_with_nothing(plotted: Space) -> None:
    assert shown(plotted, "diff")["data"]["loss.csv"][0]["revisions"] == ["workspace"]


def test_an_unknown_revision_is_an_error(plotted: Space) -> None:
    done = plotted.cli("plots", "diff", "HEAD", "nothing")
    assert done.returncode == 1 and "nothing" in done.stderr and not (plotted.root / "dvc_plots").exists()


def test_every_kind_of_data(plotted: Space) -> None:
    declare(plotted, "plots: [a.csv, b.tsv, c.json, d.yaml, e.toml, pic.png, pic.svg, odd dir/ü ñ.csv]\n")
    plotted.put("a.csv", "\ufeffk,v\n1,2\n")
    plotted.put("b.tsv", "k\tv\n1\t2\n")
    plotted.put("c.json", '[{"k": 1, "v": 2}]')
    plotted.put("d.yaml", "points:\n- {k: 1, v: 2}\n")
    plotted.put("e.toml", "[[points]]\nk = 1\nv = 2\n")
    plotted.put("pic.png", "not looked into")
    plotted.put("pic.svg", "<svg/>")
    plotted.put("odd dir/ü ñ.csv", "k,v\n1,2\n")
    data = shown(plotted)["data"]
    rows = {name: values(data[name]) for name in ("a.csv", "b.tsv", "c.json", "d.yaml", "e.toml", "odd dir/ü ñ.csv")}
    assert {name: str(row[0]["v"]) for name, row in rows.items()} == dict.fromkeys(rows, "2")
    assert data["pic.png"] == [
        {"type": "image", "revisions": ["workspace"], "url": str(plotted.root / "dvc_plots/workspace_pic.png")}
    ]
    plotted.cli("plots", "show")
    page = plotted.read("dvc_plots/index.html")
    assert '<img src="static/workspace_pic.png">' in page and '<img src="static/workspace_pic.svg">' in page
    assert plotted.read("dvc_plots/static/workspace_pic.png") == "not looked into"


def test_definitions_of_several_fields_and_files(plotted: Space) -> None:
    declare(
        plotted,
        "plots:\n"
        "- two: {x: k, y: {a.csv: v, b.csv: [v, w]}, title: Both, x_label: X, y_label: Y, template: simple}\n"
        "- fields: {y: {a.csv: [v, w]}}\n"
        "- a.csv: {x: k, y: [v, w]}\n",
    )
    for name in ("a", "b"):
        plotted.put(f"{name}.csv", "k,v,w\n1,2,3\n4,5,6\n")
    data = shown(plotted)["data"]
    assert [(row["filename::field"], row["dvc_inferred_y_value"]) for row in values(data["two"])] == [
        ("a.csv::v", "2"),
        ("a.csv::v", "5"),
        ("b.csv::v", "2"),
        ("b.csv::v", "5"),
        ("b.csv::w", "3"),
        ("b.csv::w", "6"),
    ]
    assert [row["field"] for row in values(data["fields"])] == ["v", "v", "w", "w"]
    assert [row["field"] for row in values(data["a.csv"])] == ["v", "v", "w", "w"]
    plotted.cli("plots", "show", "two")
    (drawn,) = drawings(plotted.read("dvc_plots/index.html"))
    assert drawn["kind"] == "line" and drawn["keys"] == ["a.csv::v", "b.csv::v", "b.csv::w"]
    assert (drawn["title"], drawn["xLabel"], drawn["yLabel"]) == ("Both", "X", "Y")
    assert drawn["rows"][2] == ["1", "2", 0, 1]


def test_a_directory_and_the_most_specific_definition(plotted: Space) -> None:
    """As DVCLive writes it."""
    declare(
        plotted,
        "plots:\n- dvclive/plots/metrics: {x: step}\n- dvclive/plots/images\n"
        "- dvclive/plots/metrics/train/acc.tsv: {x: step, title: Accuracy}\n",
    )
    for name in ("train/loss", "train/acc", "val"):
        plotted.put(f"dvclive/plots/metrics/{name}.tsv", f"step\t{name[-3:]}\n0\t1\n1\t2\n")
    plotted.put("dvclive/plots/metrics/.gitignore", "/x\n")
    for number in (10, 9, 1):
        plotted.put(f"dvclive/plots/images/{number}.png", "png")
    data = shown(plotted)
    assert "errors" not in data
    titles = {
        name: drawn[0]["content"]["title"]["text"] for name, drawn in data["data"].items() if name.endswith(".tsv")
    }
    assert titles == {
        "dvclive/plots/metrics/train/acc.tsv": "Accuracy",
        "dvclive/plots/metrics/train/loss.tsv": "dvclive/plots/metrics/train/loss.tsv",
        "dvclive/plots/metrics/val.tsv": "dvclive/plots/metrics/val.tsv",
    }
    plotted.cli("plots", "show")
    order = re.findall(r"workspace_dvclive_plots_images_(\d+)\.png", plotted.read("dvc_plots/index.html"))
    assert order == ["1", "9", "10"]


def test_a_directory_that_is_an_output(make: Callable[..., Space]) -> None:
    """Its files come from the cache at a revision, and in the workspace when they are not checked out."""
    pipeline = "stages:\n  s:\n    cmd: mkdir -p all && printf 'a,b\\n1,2\\n' > all/one.csv\n    plots: [all]\n"
    space = make(pipeline)
    assert space.cli("repro").returncode == 0
    space.commit("run")
    (space.root / "all/one.csv").unlink()
    (space.root / "all").rmdir()
    data = shown(space, "diff", "HEAD", "workspace")["data"]
    assert [(row["rev"], row["b"]) for row in values(data["all/one.csv"])] == [("workspace", "2"), ("HEAD", "2")]


def test_from_a_subdirectory(plotted: Space) -> None:
    done = plotted.cli("--cd", "sub", "plots", "show", "--json")
    data = json.loads(done.stdout)["data"]
    assert set(data) == {"../loss.csv", "../sub/own.json"}
    assert plotted.cli("--cd", "sub", "plots", "diff", "HEAD", "workspace").returncode == 0
    assert (plotted.root / "sub/dvc_plots/index.html").exists()


def test_files_that_are_not_declared(plotted: Space) -> None:
    plotted.put("free.csv", "a,b\n1,2\n")
    plotted.put("bare.csv", "1,2\n3,4\n")
    assert list(shown(plotted, "show", "free.csv")["data"]) == ["free.csv"]
    (row,) = values(shown(plotted, "show", "free.csv", "-x", "b", "-y", "a", "--title", "T")["data"]["free.csv"])
    assert row == {"a": "1", "b": "2", "rev": "workspace"}
    rows = values(shown(plotted, "show", "bare.csv", "--no-header")["data"]["bare.csv"])
    assert [row["1"] for row in rows] == ["2", "4"]


def test_a_broken_pipeline_file_of_a_revision_hides_no_other(plotted: Space) -> None:
    plotted.put("dvc.yaml", "stages: [\n")
    found = shown(plotted, "diff", "HEAD", "workspace")
    assert found["data"]["loss.csv"][0]["revisions"] == ["HEAD"]
    assert [error["rev"] for error in found["errors"]] == ["workspace"]


# -- what is wrong ---------------------------------------------------------------------------------------------------


@both
def test_what_cannot_be_read_is_said_and_the_rest_is_drawn(plotted: Space) -> None:
    declare(plotted, "plots: [broken.json, empty.csv, empty.json, gone.csv, text.txt, number.yaml, ragged.csv]\n")
    for name, text in {
        "broken.json": "{bad",
        "empty.csv": "",
        "empty.json": "",
        "text.txt": "x",
        "number.yaml": "3\n",
        "ragged.csv": "a,b\n1\n1,2,3\n",
    }.items():
        plotted.put(name, text)
    done = plotted.cli("plots", "show")
    assert done.returncode == 0 and done.stdout.startswith("file://")
    warnings = done.stderr.splitlines()
    assert all(line.startswith("WARNING: workspace: ") for line in warnings)
    for name in ("broken.json", "empty.json", "gone.csv", "text.txt", "number.yaml"):
        assert sum(name in line for line in warnings) == 1, done.stderr
    assert len(warnings) == 5
    assert len(drawings(plotted.read("dvc_plots/index.html"))) == 3
    errors = {error["source"]: error for error in shown(plotted)["errors"]}
    assert set(errors) == {"broken.json", "empty.json", "gone.csv", "text.txt", "number.yaml"}
    assert errors["gone.csv"]["name"] == "gone.csv" and errors["gone.csv"]["rev"] == "workspace"


def test_a_field_that_is_not_there(plotted: Space) -> None:
    done = plotted.cli("plots", "show", "loss.csv", "-y", "lose")
    assert done.returncode == 0 and "'lose'" in done.stderr and "step, loss" in done.stderr
    (error,) = shown(plotted, "show", "loss.csv", "-y", "lose")["errors"]
    assert error["name"] == "loss.csv" and "lose" in error["msg"]


def test_x_and_y_of_different_lengths(plotted: Space) -> None:
    declare(plotted, "plots:\n- p: {x: {short.csv: a}, y: {loss.csv: loss}}\n")
    plotted.put("short.csv", "a\n1\n")
    assert "same number of points" in plotted.cli("plots", "show", "p").stderr


def test_an_object_that_is_nowhere(plotted: Space) -> None:
    """A revision whose data is lost is said, the workspace is drawn."""
    for path in sorted((plotted.root / ".pyexp/cache/files").rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    done = plotted.cli("plots", "diff", "HEAD", "workspace", "--targets", "loss.csv")
    assert done.returncode == 0 and "HEAD: " in done.stderr
    assert drawings(plotted.read("dvc_plots/index.html"))[0]["revs"] == ["workspace"]


def test_a_target_that_is_nothing(plotted: Space) -> None:
    done = plotted.cli("plots", "show", "nothing.csv")
    assert (done.returncode, done.stdout) == (0, "") and "'nothing.csv' is no plot and no file" in done.stderr
    assert not (plotted.root / "dvc_plots").exists()


def test_a_project_without_plots(make: Callable[..., Space]) -> None:
    space = make("stages: {}\n")
    for command in ("show", "diff"):
        done = space.cli("plots", command)
        assert (done.returncode, done.stdout) == (0, "") and "no plots" in done.stderr
    assert space.json("plots", "show", "--json") == {}


def test_unknown_templates(plotted: Space) -> None:
    for words in (["show", "loss.csv", "-t", "nope"], ["modify", "loss.csv", "-t", "nope"], ["templates", "nope"]):
        done = plotted.cli("plots", *words)
        assert done.returncode == 1 and done.stderr.startswith("ERROR: ") and "'nope'" in done.stderr


@pytest.mark.parametrize("words", [["--show-vega"], ["--show-vega", "a", "b"], ["--show-vega", "a", "--json"]])
def test_vega_of_one_plot_only(plotted: Space, words: list[str]) -> None:
    assert plotted.cli("plots", "show", *words).returncode == 1


# -- templates -------------------------------------------------------------------------------------------------------


def test_every_builtin_template_is_printed_and_drawn(plotted: Space) -> None:
    names = plotted.cli("plots", "templates").stdout.split()
    assert len(names) == 9
    for name in names:
        spec = json.loads(plotted.cli("plots", "templates", name).stdout)
        assert spec["$schema"].endswith("vega-lite/v5.json")
        filled = json.loads(plotted.cli("plots", "show", "--show-vega", "loss.csv", "-t", name).stdout)
        assert "<DVC_METRIC" not in json.dumps(filled) and filled["title"]["text"] == "loss.csv"
        plotted.cli("plots", "show", "loss.csv", "-t", name)
        assert len(drawings(plotted.read("dvc_plots/index.html"))) == 1


@both
def test_a_users_template(plotted: Space) -> None:
    spec = {
        "data": {"values": "<DVC_METRIC_DATA>"},
        "title": "All of <DVC_METRIC_TITLE>",
        "encoding": {"x": {"field": "<DVC_METRIC_X>"}, "y": {"field": "<DVC_METRIC_Y>"}, "color": {"field": "rev"}},
    }
    control = plotted.project().kind.control
    plotted.put(f"{control}/plots/mine.json", json.dumps(spec))
    plotted.put("other.json", json.dumps(spec))
    for name in ("mine", "mine.json", "other.json"):
        filled = json.loads(plotted.cli("plots", "show", "--show-vega", "loss.csv", "-t", name).stdout)
        assert filled["title"] == "All of loss.csv" and filled["encoding"]["y"] == {"field": "loss"}
        assert filled["data"]["values"][0] == {
            "step": "0",
            "loss": "1",
            "rev": "workspace",
            "filename": "loss.csv",
            "field": "loss",
        }
    plotted.cli("plots", "show", "loss.csv", "-t", "mine")
    page = plotted.read("dvc_plots/index.html")
    assert drawings(page)[0]["spec"]["title"] == "All of loss.csv"
    assert page.count("integrity=") == 3
    plotted.put("other.json", "[]")
    assert plotted.cli("plots", "show", "loss.csv", "-t", "other.json").returncode == 1
    plotted.put("other.json", "{}")
    done = plotted.cli("plots", "show", "loss.csv", "-t", "other.json")
    assert done.returncode == 1 and "<DVC_METRIC_DATA>" in done.stderr


def test_split(plotted: Space) -> None:
    ((drawn,),) = shown(plotted, "show", "loss.csv", "--split")["data"].values()
    assert drawn["content"]["data"]["values"] == "<DVC_METRIC_DATA>"
    assert drawn["anchor_definitions"]["<DVC_METRIC_TITLE>"] == "loss.csv"
    assert len(drawn["anchor_definitions"]["<DVC_METRIC_DATA>"]) == 2


# -- the page --------------------------------------------------------------------------------------------------------


def test_a_page_template_and_another_directory(plotted: Space) -> None:
    plotted.put("page.html", "<p>mine {refresh_tag}</p>{plot_divs}")
    done = plotted.cli("plots", "show", "-o", "out/deep", "--html-template", "page.html")
    assert done.stdout == f"{(plotted.root / 'out/deep/index.html').as_uri()}\n"
    page = plotted.read("out/deep/index.html")
    assert page.startswith("<p>mine </p><div") and "DOMContentLoaded" in page and len(drawings(page)) == 2
    plotted.put(".pyexp/both.html", "<head>{scripts}</head>{plot_divs}<!--{other}-->")
    assert plotted.cli("config", "plots.html_template", "both.html").returncode == 0
    assert plotted.cli("config", "plots.out_dir", "there").returncode == 0
    assert plotted.cli("plots", "show").returncode == 0
    page = plotted.read("there/index.html")
    assert page.startswith("<head><script>") and page.endswith("<!--{other}-->") and page.count("DOMContentLoaded") == 1
    for text in ("no place", None):
        plotted.put("page.html", text) if text else (plotted.root / "page.html").unlink()
        done = plotted.cli("plots", "show", "--html-template", "page.html")
        assert done.returncode == 1 and "{plot_divs}" in done.stderr


def test_the_page_is_opened(plotted: Space, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/seen\n')
    browser.chmod(0o755)
    done = plotted.cli("plots", "show", "--open", env={"BROWSER": f"{browser} %s"})
    assert done.returncode == 0 and "plots.auto_open" in done.stdout
    assert (tmp_path / "seen").read_text().strip() == (plotted.root / "dvc_plots/index.html").as_uri()
    (tmp_path / "seen").unlink()
    plotted.cli("config", "plots.auto_open", "true")
    done = plotted.cli("plots", "show", env={"BROWSER": f"{browser} %s"})
    assert (tmp_path / "seen").exists() and "auto_open" not in done.stdout


def test_text_of_a_stranger_stays_text(plotted: Space) -> None:
    declare(
        plotted,
        f"plots:\n- p: {{y: {{hostile.json: v}}, title: {json.dumps(HOSTILE)}, x_label: {json.dumps(HOSTILE)}}}\n"
        f"- {json.dumps('<b>.png')}\n- {json.dumps(HOSTILE)}: {{y: {{hostile.json: v}}}}\n",
    )
    plotted.put("hostile.json", json.dumps([{HOSTILE: HOSTILE, "v": HOSTILE}]))
    plotted.put("<b>.png", "png")
    plotted.put(".pyexp/plots/t.json", json.dumps({"a": "<DVC_METRIC_DATA>", "description": HOSTILE}))
    for template in ([], ["-t", "t"]):
        assert plotted.cli("plots", "show", *template).returncode == 0
        page = plotted.read("dvc_plots/index.html")
        assert (
            "<script>alert" not in page
            and "<img src=x" not in page
            and "<!--<" not in page
            and "<b>" not in page
            and "\u2028" not in page
        )
        assert page.count("</script>") == page.count("<script")
        assert html.escape("<b>.png") in page and "%3Cb%3E.png" in page
    assert drawings(page)[0]["spec"]["a"][0]["v"] == HOSTILE
    branch = "'><b>"
    with repo.discover(plotted.root) as found:
        user.add(found, ["."])
        user.commit(found, "x")
        head = found.head().sha
    assert head is not None
    plotted.put(f".git/refs/heads/{branch}", f"{head}\n")
    assert plotted.cli("plots", "diff", branch).returncode == 0
    assert "<b>" not in plotted.read("dvc_plots/index.html")


def test_images_stay_in_their_directory(plotted: Space, tmp_path: Path) -> None:
    declare(plotted, "plots:\n- ../outside.png\n- sub/../../outside.csv\n- a/b.png\n- a_b.png\n- /etc/passwd\n")
    (tmp_path / "outside.png").write_text("secret")
    (tmp_path / "outside.csv").write_text("secret\n1\n")
    plotted.put("a/b.png", "one")
    plotted.put("a_b.png", "two")
    before = files_of(tmp_path)
    done = plotted.cli("plots", "show")
    assert done.returncode == 0 and done.stderr.count("outside the project") == 3
    new = {path: text for path, text in files_of(tmp_path).items() if path not in before}
    assert all(path.startswith("project/dvc_plots/") for path in new)
    assert not any(b"secret" in text for text in new.values())
    images = {path.rpartition("/")[2]: text for path, text in new.items() if path.endswith(".png")}
    assert images == {"workspace_a_b.png": b"two", "workspace_a_b-2.png": b"one"}


def test_nothing_is_written_through_links_or_where_only_a_stranger_says(plotted: Space, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    declare(plotted, "plots: [p.png]\n")
    plotted.put("p.png", "png")
    (plotted.root / "dvc_plots").mkdir()
    (plotted.root / "dvc_plots/static").symlink_to(outside)
    done = plotted.cli("plots", "show")
    assert done.returncode == 1 and "symbolic link" in done.stderr
    (plotted.root / "dvc_plots/static").unlink()
    plotted.cli("config", "plots.out_dir", "../elsewhere")
    done = plotted.cli("plots", "show")
    assert done.returncode == 1 and "-o DIR" in done.stderr
    plotted.cli("config", "plots.out_dir", ".git/hooks")
    assert plotted.cli("plots", "show").returncode == 1
    assert list(outside.iterdir()) == []
    assert plotted.cli("plots", "show", "-o", "../elsewhere").returncode == 0
    assert {path.name for path in outside.iterdir()} == {"index.html", "static"}


def test_odd_names(plotted: Space) -> None:
    """Names that are not UTF-8, with line ends, percent signs and more than a file's name can have."""
    declare(plotted, "plots: [odd]\n")
    deep = "/".join(["d" * 60] * 6)
    for name in (b"\xff.png", b"\xff.csv", b"a\nb.png", b"100%#?.png", f"{deep}/pic.png".encode()):
        path = Path(os.fsdecode(os.fsencode(plotted.root / "odd") + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a,b\n1,2\n")
    done = plotted.cli("plots", "show")
    assert (done.returncode, done.stderr) == (0, "")
    page = plotted.read("dvc_plots/index.html")
    assert "static/workspace_odd_100%25%23%3F.png" in page and "workspace_odd_%FF.png" in page
    addresses = re.findall(r'<img src="static/([^"]*)"', page)
    assert len(addresses) == 4
    for address in addresses:
        assert (plotted.root / "dvc_plots/static" / os.fsdecode(unquote_to_bytes(html.unescape(address)))).exists()
    assert plotted.cli("plots", "show", "--json").returncode == 0


def test_numbers_that_are_none(plotted: Space) -> None:
    plotted.put("nan.json", '[{"a": NaN}, {"a": Infinity}, {"a": 1}]')
    assert plotted.cli("plots", "show", "nan.json").returncode == 0
    assert drawings(plotted.read("dvc_plots/index.html"))[0]["rows"] == [[0, None, 0, 0], [1, None, 0, 0], [2, 1, 0, 0]]


# -- modify ----------------------------------------------------------------------------------------------------------


@both
def test_modify_keeps_the_rest(plotted: Space) -> None:
    text = PIPELINE.replace("        y: loss\n", "        y: loss  # what\n").replace("stages:\n", "# mine\nstages:\n")
    plotted.put("dvc.yaml", text)
    done = plotted.cli("plots", "modify", "loss.csv", "--title", "The loss", "-y", "step", "--no-header")
    assert (done.returncode, done.stdout) == (0, "Modifying stage 'draw' in 'dvc.yaml'\n")
    changed = "        y: step  # what\n        title: The loss\n        header: false\n"
    assert plotted.read("dvc.yaml") == text.replace("        y: loss  # what\n", changed)
    assert plotted.cli("plots", "modify", "loss.csv", "--unset", "title", "header", "-y", "loss").returncode == 0
    assert plotted.read("dvc.yaml") == text
    done = plotted.cli("--cd", "sub", "plots", "modify", "own.json", "-t", "simple")
    assert (
        done.returncode == 0
        and "    - sub/own.json:\n        cache: false\n        template: simple\n" in plotted.read("dvc.yaml")
    )


def test_modify_refuses(plotted: Space) -> None:
    plotted.put("data.csv", "a\n1\n")
    plotted.cli("add", "data.csv")
    declare(plotted, "  each:\n    foreach: [a]\n    do:\n      cmd: touch ${item}.csv\n      plots: ['${item}.csv']\n")
    before = plotted.read("dvc.yaml")
    for words, said in (
        (["nothing.csv", "-x", "a"], "no stage makes"),
        (["data.csv", "-x", "a"], "data.csv.dvc"),
        (["a.csv", "-x", "a"], "each"),
        (["loss.csv", "--unset", "title"], "title"),
    ):
        done = plotted.cli("plots", "modify", *words)
        assert done.returncode == 1 and said in done.stderr, done.stderr
    assert plotted.read("dvc.yaml") == before


def test_modify_makes_an_output_a_plot(make: Callable[..., Space]) -> None:
    space = make("stages:\n  s:\n    cmd: touch a.csv\n    outs:\n    - a.csv\n")
    assert space.cli("plots", "modify", "a.csv", "--unset", "x").returncode == 1
    assert space.cli("plots", "modify", "a.csv", "-x", "q").returncode == 0
    assert space.read("dvc.yaml") == "stages:\n  s:\n    cmd: touch a.csv\n    plots:\n    - a.csv:\n        x: q\n"


def test_a_directory_in_the_place_of_the_configuration(plotted: Space) -> None:
    (plotted.root / ".pyexp/config").unlink(missing_ok=True)
    (plotted.root / ".pyexp/config").mkdir()
    done = plotted.cli("plots", "diff")
    assert done.returncode == 1 and ".pyexp/config" in done.stderr


def test_an_experiment_holds_the_files_that_axes_name(plotted: Space) -> None:
    """Also those that git does not know yet: the pictures of the experiment need them."""
    declare(plotted, "plots:\n- p: {x: {new/x.csv: a}, y: {new/y.csv: a}}\n- z.csv\n")
    for name in ("new/x.csv", "new/y.csv", "z.csv"):
        plotted.put(name, "a\n1\n")
    assert plotted.cli("exp", "run", "-n", "one", "-S", "lr=0.1").returncode == 0
    assert [plotted.file_at("refs/exps/" + ref, "new/y.csv") for ref in refs_of(plotted)] == ["a\n1\n"]
    data = shown(plotted, "diff", "one", "HEAD", "--targets", "p", "z.csv")["data"]
    assert data["p"][0]["revisions"] == ["one"] and data["z.csv"][0]["revisions"] == ["one"]


def refs_of(space: Space) -> list[str]:
    with repo.discover(space.root) as found:
        return [ref.removeprefix("refs/exps/") for ref in refs.read(found, "refs/exps/")]
