"""What is printed, where users and their scripts read it: the same characters as DVC prints."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import pytest
from twins import Work, start

pytestmark = pytest.mark.dvc

PIPELINE = """\
vars: [params.yaml]
stages:
  prep:
    cmd: mkdir -p prepared && cat data/*.txt > prepared/all.txt
    deps: [data]
    outs: [prepared]
  train:
    desc: trains
    cmd: echo ${lr} ${train.epochs} > model.pkl && cp template.json metrics.json
    deps: [prepared, template.json]
    params: [lr, train]
    outs: [model.pkl]
    metrics: [metrics.json: {cache: false}]
  each:
    foreach: ${models}
    do:
      cmd: echo ${key} ${item.d} > each_${key}
      outs: ["each_${key}"]
  grid:
    matrix: {x: [1, 2], y: [u]}
    cmd: echo ${item.x}${item.y} > grid_${item.x}_${item.y}
    outs: ["grid_${item.x}_${item.y}"]
"""
INNER = "stages:\n  inner:\n    cmd: cat ../model.pkl > out.txt\n    deps: [../model.pkl]\n    outs: [out.txt]\n"
PARAMS = "lr: 0.1\ntrain:\n  epochs: 3\n  layers:\n  - 1\n  - 2\nmodels: {a: {d: 1}, b: {d: 2}}\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[Work]:
    """A project with experiments, a changed param and changed data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        files: dict[str, str | bytes] = {
            "dvc.yaml": PIPELINE,
            "sub/dvc.yaml": INNER,
            "params.yaml": PARAMS,
            "template.json": '{"acc":0.123456789,"loss":{"t":1.5}}',
        }
        made = start(tmp_path_factory.mktemp("text") / "work", dvc, files)
        for number in range(3):
            made.put(f"data/f{number}.txt", f"row {number}\n")
        made.pyexp("add", "-q", "data")
        made.pyexp("repro", "-q", "-P")
        made.commit("base")
        made.git("tag", "v1")
        for name, change in (("e1", "lr=0.2"), ("e2", "train.epochs=9")):
            made.pyexp("exp", "run", "-q", "--temp", "-n", name, "-S", change)
            time.sleep(1.1)  # rows are in the order of their seconds
        made.put("template.json", '{"acc":0.5,"loss":{"t":1.25},"new":3}')
        made.pyexp("exp", "run", "-q", "-n", "e3")
        made.put("params.yaml", PARAMS.replace("0.1", "0.3"))
        made.put("data/f3.txt", "row 3\n")
        made.remove("data/f0.txt")
        yield made
        shutil.rmtree(made.root.parent)


LINES = [
    "status",
    "status train",
    "exp list",
    "exp list --name-only",
    "exp diff e1 e3",
    "exp diff e1 e3 --md",
    "metrics show",
    "metrics show --md",
    "metrics show -a",
    "metrics show -T",
    "metrics diff e1",
    "metrics diff e1 --md",
    "metrics diff --all",
    "params diff",
    "params diff --md",
    "params diff --all",
    "params diff e1 e2",
    "stage list",
    "stage list --all",
    "stage list -R .",
    "stage list --name-only",
    "exp show --md",
    "exp show --csv",
    "exp show --md --only-changed",
    "exp show --md --sort-by acc --sort-order desc",
    "data status",
    "data status --granular",
    "diff",
    "diff --md",
    "diff --show-hash",
    "list . data",
    "list . -T",
    "list . -R --dvc-only",
    "queue status",
    "cache dir",
]
# In a directory below: what is named as one stands, and what is named as from the root. DVC's --targets for params are
# looked up from the root there, and its "list ." lists the root: ours are not.
BELOW = [
    "status",
    "metrics show",
    "metrics show -a",
    "metrics diff e1",
    "params diff",
    "params diff e1 e2 --md",
    "stage list",
    "stage list --all",
    "stage list -R .",
    "exp diff e1 e3",
    "exp show --csv",
    "data status",
    "diff",
    "status ../dvc.yaml:train",
    "status -R .",
    "metrics show ../metrics.json",
    "metrics diff e1 --targets ../metrics.json",
    "metrics show -a ../metrics.json",
    "stage list ../dvc.yaml",
    "stage list ../dvc.yaml:train",
]


@pytest.mark.parametrize(("line", "cwd"), [*((line, "") for line in LINES), *((line, "sub") for line in BELOW)])
def test_text_is_equal(work: Work, line: str, cwd: str) -> None:
    theirs, ours = (tool(*line.split(), code=None, cwd=cwd) for tool in (work.dvc, work.pyexp))
    said = theirs.out.replace('use "git status"', 'use "pyexp git status"').replace('"dvc ', '"pyexp ')
    found, said_lines = ours.out.splitlines(), said.splitlines()
    if "--granular" in line:  # DVC's order there is that of a set
        found, said_lines = sorted(found), sorted(said_lines)
    assert found == said_lines
    assert (ours.code == 0) is (theirs.code == 0)


def test_the_graph_has_the_same_boxes_and_lines(work: Work) -> None:
    def boxes(text: str) -> list[str]:
        return sorted(re.findall(r"\| (\S+) \|", text))

    for cwd, options in (
        ("", []), ("", ["--outs"]), ("", ["train"]), ("", ["--collapse-foreach-matrix"]), ("sub", ["../dvc.yaml:train"]),
    ):  # fmt: skip
        assert boxes(work.pyexp("dag", *options, cwd=cwd).out) == boxes(work.dvc("dag", *options, cwd=cwd).out)
    for cwd, options in (("", ["--dot"]), ("", ["--dot", "--outs"]), ("sub", ["--dot"]), ("sub", ["--dot", "--outs"])):
        theirs, ours = (tool("dag", *options, cwd=cwd).out for tool in (work.dvc, work.pyexp))
        assert sorted(filter(None, ours.splitlines())) == sorted(filter(None, theirs.splitlines()))
