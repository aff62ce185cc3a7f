"""DVCLive inside a stage: it knows that it is in a run, saves nothing itself, and its files are the experiment's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from twins import Work, interpreter

pytestmark = pytest.mark.dvc

TRAIN = """\
from dvclive import Live
with Live(monitor_system=False) as live:
    live.log_param("rate", float(open("params.yaml").read().split(":")[1]))
    for epoch in range(3):
        live.log_metric("train/loss", 1 / (epoch + 1))
        live.log_metric("acc", epoch / 3)
        live.next_step()
    live.log_plot("curve", [{"x": 1, "y": 2}, {"x": 2, "y": 4}], x="x", y="y")
"""


@pytest.fixture
def live(project: Callable[..., Work], dvc: str) -> Work:
    python = interpreter(dvc)
    if subprocess.run([python, "-c", "import dvclive"], capture_output=True).returncode:
        pytest.skip("DVCLive is not installed beside DVC")
    files = {
        "dvc.yaml": f"stages:\n  train:\n    cmd: {python} train.py\n    deps: [train.py]\n    params: [rate]\n"
        "    outs:\n    - dvclive: {cache: false}\n",
        "train.py": TRAIN,
        "params.yaml": "rate: 1\n",
    }
    return project(files)


@pytest.mark.parametrize("how", [[], ["--temp"], ["--queue"]], ids=["workspace", "temp", "queue"])
def test_one_run_is_one_experiment_with_the_same_files(live: Work, how: list[str]) -> None:
    theirs, ours = live.twin("theirs"), live.twin("ours")
    trees = []
    for work, tool in ((theirs, "dvc"), (ours, "pyexp")):
        # DVC's queue does the same beside its files, through workers that take their time.
        words = ["--temp"] if how == ["--queue"] and tool == "dvc" else how
        work.tool(tool, "exp", "run", *words, "-n", "run", "-S", "rate=2")
        if "--queue" in words:
            work.tool(tool, "exp", "run", "--run-all")
        made = work.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
        (ref,) = [ref for ref in made if ref.endswith("/run")]
        # DVCLive has made no experiment of its own, and no queue's leftovers count.
        assert not [
            name for name in made if name != ref and not any(x in name for x in ("/exec/", "/celery/", "/apply/"))
        ]
        trees.append(work.git("ls-tree", "-r", ref).splitlines())
    names = [[line.split("\t")[1] for line in tree] for tree in trees]
    assert "dvclive/metrics.json" in names[1] and "dvclive/plots/metrics/train/loss.tsv" in names[1]
    assert trees[0] == trees[1]
    shown = ours.pyexp("exp", "show", "--json").json()
    metrics = shown[1]["experiments"][0]["revs"][0]["data"]["metrics"]
    assert metrics["dvclive/metrics.json"]["data"]["step"] == 2
