"""The same plots through DVC and pyexp: the same points, the same JSON for users' templates, the same dvc.yaml."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twins import Work, environment, interpreter, start

from pyexp.errors import PyexpError
from pyexp.formats import plotseries, vegatemplates
from pyexp.formats.vegatemplates import Picture, Template

pytestmark = pytest.mark.dvc

# Every placeholder there is, in every place it may stand.
ALL = {
    "data": {"values": "<DVC_METRIC_DATA>"},
    "title": "T <DVC_METRIC_TITLE> <DVC_METRIC_X>",
    "places": ["<DVC_METRIC_X>", "in <DVC_METRIC_X>", ["<DVC_METRIC_Y>"], {"deep": "<DVC_METRIC_DATA>"}],
    **{
        name: f"<DVC_METRIC_{name.upper()}>"
        for name in (
            "color", "column", "row", "group_by", "group_by_x", "group_by_y", "pivot_field", "plot_height", "plot_width",
            "shape", "stroke_dash", "tooltip", "zoom_and_pan", "x", "y", "x_label", "y_label", "unknown",
        )
    },
}  # fmt: skip
BARE = {"data": {"values": "<DVC_METRIC_DATA>"}, "x": "<DVC_METRIC_X>", "y": "<DVC_METRIC_Y>"}
MAIN = """\
vars: [{name: alpha}]
stages:
  t:
    cmd: cp -r made/* .
    deps: [made]
    plots:
    - m.csv: {y: a.b, template: all}
    - od
    - nh.csv: {header: false}
    - free.json: {cache: false, x: p, template: simple}
plots:
- m.csv: {x: step, y: [a.b, c], template: all}
- lists: {y: {m.csv: [a.b, c]}, template: all}
- onex: {x: step, y: {m.csv: [a.b, c]}, template: all}
- twox: {x: {m.csv: step}, y: {m.csv: a.b, eq.csv: q}, template: all}
- manyx: {x: {m.csv: step, eq.csv: z}, y: {m.csv: a.b, eq.csv: q}, template: all}
- samey: {y: {conf.json: predicted, confb.json: predicted}, template: all}
- bare: {x: step, y: {m.csv: [a.b, c]}, template: bare, x_label: X, y_label: Y, title: "T ${name}"}
- wrongx: {x: {short.csv: z}, y: {m.csv: a.b}}
- wrongy: {y: {short.csv: nothing}}
- badn: {x: {m.csv: step, eq.csv: z}, y: {m.csv: a.b}}
- live/plots/metrics: {x: step}
- live/plots/images
- odd näme/ü b.csv
- gone.csv
- gone: {y: {gone.csv: a, m.csv: c}}
- dup.csv
- broken.json
- text.txt
- number.yaml
- mixed.json
- conf.json: {x: actual, y: predicted, template: confusion}
- conf2: {x: actual, y: {conf.json: predicted, confb.json: predicted}, template: all}
"""
SUB = """\
stages:
  s:
    cmd: cp ../../o.txt o.csv
    wdir: deep
    deps: [../../o.txt]
    plots:
    - o.csv: {x: a}
plots:
- ../dup.csv: {title: from sub}
- deep
- lists: {y: {../m.csv: c}}
- own.csv
"""
CONFUSED = '[{"actual": "a", "predicted": "b"}, {"actual": "a", "predicted": "a"}, {"actual": "b", "predicted": "a"}]'
FILES: dict[str, str | bytes] = {
    "dvc.yaml": MAIN,
    "sub/dvc.yaml": SUB,
    ".dvc/plots/all.json": json.dumps(ALL),
    ".dvc/plots/bare.json": json.dumps(BARE),
    "page.json": json.dumps(ALL),
    "made/m.csv": "step,a.b,c\n0,1,2\n1,0.5,3\n",
    "made/nh.csv": "1,2\n3,4\n",
    "made/od/one.tsv": "x\ty\n1\t2\n",
    "made/od/two.json": '{"k": [{"p": 1}], "l": {"m": [{"q": 2}, {"q": 3}]}, "n": [1]}',
    "made/free.json": '[{"p": 1, "v": NaN}, {"p": 2, "v": [1, {"a": null}]}]',
    "o.txt": "a,b\n1,2\n",
    "eq.csv": "q,z\n1,2\n3,4\n",
    "short.csv": "z\n1\n",
    "dup.csv": "d\n1\n2\n",
    "sub/own.csv": "d\n1\n",
    "sub/deep/extra.csv": "e\n1\n",
    "live/plots/metrics/train/loss.tsv": "step\tloss\n0\t1\n1\t.5\n",
    "live/plots/metrics/acc.tsv": "timestamp\tstep\tacc\n9\t0\t1\n9\t1\t.5\n",
    "live/plots/images/a.png": b"PNG",
    "live/plots/images/b.JPG": b"JPG",
    "odd näme/ü b.csv": "u,v\n1,2\n\n3,4\n5\n",
    "conf.json": CONFUSED,
    "confb.json": CONFUSED,
    "broken.json": "{bad",
    "text.txt": "x",
    "number.yaml": "3\n",
    "mixed.json": '[{"a": 1}, {"b": 2}]',
    "undeclared.csv": "a,b\n1,2\n",
    "empty.csv": "",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[Work]:
    """A committed project with an experiment and changes since."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        made = start(tmp_path_factory.mktemp("plots") / "work", dvc, FILES)
        made.pyexp("repro", "-q", "-P")
        made.commit("base")
        made.git("tag", "v1")
        made.put("made/m.csv", "step,a.b,c\n0,4,5\n1,6,7\n")
        made.pyexp("exp", "run", "-q", "-P", "-n", "e1")
        made.put("eq.csv", "q,z\n7,8\n9,10\n")
        made.put("live/plots/images/a.png", b"PNG2")
        yield made
        shutil.rmtree(made.root.parent)


# Our own specs are not DVC's: of those the points are compared, and what the picture is labelled with.
USERS = {"m.csv", "dvc.yaml::m.csv", "onex", "twox", "manyx", "samey", "bare", "conf2", "dvc.yaml::lists"}


def labels(spec: Any) -> list[str]:
    """The titles and fields in a spec, wherever they are."""
    found: list[str] = []
    if isinstance(spec, dict):
        found += [f"{key}={spec[key]}" for key in ("title", "field") if isinstance(spec.get(key), str)]
        for key, value in spec.items():
            found += [] if key in ("values", "tooltip", "data") else labels(value)
    elif isinstance(spec, list):
        found += [line for item in spec for line in labels(item)]
    return found


def comparable(done: Any, users: set[str]) -> Any:
    data = done.json()
    drawn: dict[str, Any] = {}
    for name, items in data.get("data", {}).items():
        if name.endswith(".gitignore"):  # DVC takes them for plots when they are in a directory of plots
            continue
        drawn[name] = []
        for item in items:
            spec = item.pop("content", None)
            if spec is not None and name not in users and isinstance(spec["title"], dict):
                own = ("title=count", "title=part", "field=")
                said = {text for text in labels(spec) if not text.startswith(own) and text != "title="}
                item["points"], item["said"] = spec["data"]["values"], sorted(said)
                item["title"] = spec["title"]["text"]
                item.get("anchor_definitions", {}).pop("<DVC_METRIC_TOOLTIP>", None)
            elif spec is not None:
                item["content"] = spec
            drawn[name].append(item)
    errors = sorted({(error["name"], error["rev"]) for error in data.get("errors", []) if ".git" not in error["name"]})
    return json.loads(json.dumps({"data": drawn, "errors": errors}))


def unlike(theirs: Any, ours: Any) -> dict[str, Any]:
    """What differs, by plot."""
    names = {*theirs["data"], *ours["data"]}
    found = {
        name: (theirs["data"].get(name), ours["data"].get(name))
        for name in names
        if repr(theirs["data"].get(name)) != repr(ours["data"].get(name)) and not _equal(theirs, ours, name)
    }
    if theirs["errors"] != ours["errors"]:
        found["errors"] = (theirs["errors"], ours["errors"])
    return found


def _equal(theirs: Any, ours: Any, name: str) -> bool:
    def ordered(data: Any) -> str:
        return json.dumps(data["data"].get(name), sort_keys=True)

    return name in theirs["data"] and name in ours["data"] and ordered(theirs) == ordered(ours)


@pytest.mark.parametrize(
    ("line", "cwd"),
    [
        ("show", ""),
        ("show --split", ""),
        ("show sub/deep dup.csv", ""),
        ("show lists m", ""),
        ("show l.*s undeclared.csv", ""),
        ("show undeclared.csv -x b -y a --title T --x-label X --y-label Y -t bare", ""),
        ("show undeclared.csv --no-header", ""),
        ("show empty.csv broken.json", ""),
        ("show od live -x step -t page.json", ""),
        ("show", "live"),
        ("show ../undeclared.csv deep", "sub"),
        ("diff", ""),
        ("diff v1", ""),
        ("diff HEAD v1 workspace", ""),
        ("diff e1 v1", ""),
        ("diff -e e1", ""),
        ("diff e1 --targets m.csv twox undeclared.csv --split", ""),
        ("diff v1 --targets ../m.csv deep", "sub"),
    ],
)
def test_the_same_json(work: Work, line: str, cwd: str) -> None:
    words = ["plots", *line.split(), "--json"]
    theirs, ours = work.dvc(*words, cwd=cwd), work.pyexp(*words, cwd=cwd)
    up = "../" if cwd else ""
    users = USERS | {f"{up}m.csv", f"{up}dvc.yaml::{up}m.csv"} | ({"undeclared.csv"} if " -t " in line else set())
    if "page.json" in line:
        users |= set(ours.json()["data"])
    found = unlike(comparable(theirs, users), comparable(ours, users))
    if cwd:  # DVC forgets there that a stage's plot has no header
        found.pop(f"{up}nh.csv", None)
    assert found == {}


@pytest.mark.parametrize("name", ["lists", "onex", "twox", "manyx", "samey", "bare", "conf2", "m.csv"])
def test_users_templates_are_filled_alike(work: Work, name: str) -> None:
    theirs, ours = (work.tool(tool, "plots", "show", "--show-vega", name) for tool in ("dvc", "pyexp"))
    assert theirs.json() == ours.json() and "<DVC_METRIC_UNKNOWN>" not in str(ours.json().get("x"))
    assert theirs.json()


@pytest.mark.parametrize(
    "line",
    [
        "show undeclared.csv",
        "show nothing.csv",
        "show undeclared.csv -y nothing",
        "show broken.json",
        "show --show-vega",
        "show --show-vega a b",
        "show --show-vega nothing",
        "show -o odd/../there undeclared.csv",
        "diff v1 nowhere",
        "templates",
        "templates nothing",
    ],
)
def test_the_same_is_printed(work: Work, line: str) -> None:
    theirs, ours = (work.tool(tool, "plots", *line.split(), code=None) for tool in ("dvc", "pyexp"))
    assert (theirs.code, theirs.out.strip("\n")) == (ours.code, ours.out.strip("\n"))


def test_the_same_images(work: Work) -> None:
    held = []
    for tool in ("dvc", "pyexp"):
        work.tool(tool, "plots", "diff", "v1", "-o", tool)
        files = sorted((work.root / tool / "static").iterdir())
        held.append({path.name: path.read_bytes() for path in files})
        work.remove(tool)
    assert held[0] == held[1] and held[0]["v1_live_plots_images_a.png"] == b"PNG"


STAGES = """\
stages:
  t:
    cmd: touch loss.csv conf.json out.csv m.json
    outs:
    - out.csv
    metrics:
    - m.json
    plots:
    # stays
    - conf.json
    - loss.csv:
        x: step
        y: loss
        template: simple
  two:
    cmd: touch z.csv
    # this too
    plots:
    - z.csv:
        cache: false
plots:
- top.csv:
    x: a
"""
EDITS = [
    ["loss.csv", "--title", "My: title", "--no-header", "-y", "q"],
    ["conf.json", "-x", "a", "-t", "linear"],
    ["z.csv", "--x-label", "X", "--y-label", "ü 'y'"],
    ["z.csv", "--unset", "x_label", "--title", "1"],
    ["loss.csv", "--unset", "x", "y", "template", "title", "header"],
    ["out.csv", "-y", "q", "-x", "p"],
    ["m.json", "-x", "q"],
    ["z.csv"],
]


def test_modify_writes_the_same(project: Callable[..., Work]) -> None:
    work = project({"dvc.yaml": STAGES})
    twin = work.twin("twin")
    for edit in EDITS:
        theirs, ours = work.dvc("plots", "modify", *edit), twin.pyexp("plots", "modify", *edit)
        assert (theirs.out.strip(), work.read("dvc.yaml")) == (ours.out.strip(), twin.read("dvc.yaml")), edit
    for edit in (
        ["nothing.csv", "-x", "a"],
        ["z.csv", "--unset", "nothing"],
        ["top.csv", "-x", "a"],
        ["z.csv", "-t", "no"],
    ):
        assert work.dvc("plots", "modify", *edit, code=None).code and twin.pyexp("plots", "modify", *edit, code=1)
    assert work.read("dvc.yaml") == twin.read("dvc.yaml")


THEIRS = """
import json, sys
from dvc.render.converter.vega import VegaConverter
from dvc_render import VegaRenderer
from dvc_render.vega_templates import Template
found = []
for case in json.load(sys.stdin):
    try:
        points, props = [], {}
        for rev in case["revs"]:
            files = {path: data for path, data in case["files"].items() if data}
            more, own = VegaConverter(case["id"], files, dict(case["props"])).flat_datapoints(rev)
            points, props = points + more, props or own
        if not points:
            found.append(None)
            continue
        props.setdefault("title", case["id"])
        props["template"] = Template(case["template"], "t")
        renderer = VegaRenderer(points, case["id"], **props)
        split = renderer.get_partial_filled_template() if case["split"] else None
        found.append(split or renderer.get_filled_template())
    except Exception as error:
        found.append(f"error: {type(error).__name__} {error}")
print(json.dumps(found))
"""


def random_case(chance: random.Random) -> dict[str, Any]:
    """A definition of up to three files, fields that may be missing, and a template of some placeholders."""
    fields = ["a", "b.c", "step", "d[0]"]
    files: dict[str, Any] = {}
    for path in chance.sample(["f.csv", "dir/g.csv", "dir/h.json"], chance.randint(1, 3)):
        columns = chance.sample(fields, chance.choice([2, 4, 4, 4, 4]))
        rows = [
            {name: chance.choice([1, "2", 0.5, None]) for name in columns}
            for _ in range(chance.choice([0, 1, 2, 2, 2]))
        ]
        files[path] = chance.choice([rows, {"x": {"y": rows}}, {"n": 3, "p": rows, "q": [1]}]) if rows else rows
    paths = list(files)
    props: dict[str, Any] = {}
    for axis, many in (("x", False), ("y", True)):
        kind = chance.choice(["none", "field", "map", "map", "list"])
        if kind == "field" or (kind == "list" and not many):
            props[axis] = chance.choice(fields)
        elif kind == "list":
            props[axis] = chance.sample(fields, 2)
        elif kind == "map":
            chosen = chance.sample(paths, chance.randint(1, len(paths)))
            props[axis] = {
                path: chance.sample(fields, 2) if many and chance.random() < 0.4 else chance.choice(fields)
                for path in chosen
            }
    for name in ("x_label", "y_label", "title"):
        if chance.random() < 0.2:
            props[name] = f"{name} <of> it"
    template = {"data": {"values": "<DVC_METRIC_DATA>"}}
    if chance.random() < 0.8:
        template.update({key: value for key, value in ALL.items() if chance.random() < 0.6})  # type: ignore[arg-type]
    return {
        "id": chance.choice(paths),
        "props": props,
        "files": files,
        "template": template,
        "revs": chance.choice([["workspace"], ["one", "two"]]),
        "split": chance.random() < 0.3,
    }


def ours(case: dict[str, Any]) -> Any:
    files = {path: data for path, data in case["files"].items() if data}
    try:
        found = [(rev, plotseries.join(case["id"], case["props"], files, rev)) for rev in case["revs"]]
        found = [(rev, joined) for rev, joined in found if joined.points]
        if not found:
            return None
        first = found[0][1]
        points = [point for _, joined in found for point in joined.points]
        props = {"title": case["id"], **first.props}
        picture = Picture(points, props, first.ys, tuple(rev for rev, _ in found))
        spec, beside = vegatemplates.filled(Template("t", case["template"]), picture, split=case["split"])
    except PyexpError:
        return "error"
    return [spec, {"anchor_definitions": beside}] if case["split"] else spec


@pytest.mark.parametrize("seed", range(2))
def test_random_definitions_give_the_same_specs(dvc: str, seed: int) -> None:
    chance = random.Random(seed)
    cases = [random_case(chance) for _ in range(1000)]
    done = subprocess.run(
        [interpreter(dvc), "-c", THEIRS], input=json.dumps(cases), capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    differ = []
    for case, theirs in zip(cases, json.loads(done.stdout), strict=True):
        mine = json.loads(json.dumps(ours(case)))
        failed = isinstance(theirs, str) and mine == "error"
        if mine != theirs and not failed:
            differ.append((case, theirs, mine))
    assert not differ, f"{len(differ)} of {len(cases)}, the first: {json.dumps(differ[0], indent=1)}"
