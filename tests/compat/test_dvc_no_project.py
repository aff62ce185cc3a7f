"""A git repository, or just a directory, that is no project: what looks at files works all the same, as in DVC."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from twins import Work, plain, start

pytestmark = pytest.mark.dvc

PIPELINE = """\
stages:
  train:
    cmd: echo
    params: [lr]
    metrics: [metrics.json]
    plots: [loss.csv]
"""


@pytest.fixture(scope="module", params=["bare", "declared"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[Work]:
    """A repository with params and metrics, with and without a dvc.yaml that nobody has committed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        files: dict[str, str | bytes] = {
            "params.yaml": "lr: 0.1\ntrain:\n  epochs: 3\n",
            "metrics.json": '{"acc": 0.5}\n',
            "loss.csv": "step,loss\n0,1\n1,0.5\n",
            "sub/more.json": '{"loss": 2}\n',
        }
        made = start(tmp_path_factory.mktemp("none") / "work", dvc, files)
        made.remove(".dvc", ".dvcignore")
        made.commit("no project any more")
        made.put("params.yaml", "lr: 0.2\n")
        made.put("metrics.json", '{"acc": 0.75}\n')
        if request.param == "declared":
            made.put("dvc.yaml", PIPELINE)
        yield made
        shutil.rmtree(made.root.parent)


@pytest.mark.parametrize(
    ("line", "cwd"),
    [
        ("metrics show", ""),
        ("metrics show metrics.json", ""),
        ("metrics show metrics.json sub/more.json", ""),
        ("metrics show metrics.json -a", ""),
        ("metrics diff", ""),
        ("metrics diff --targets metrics.json", ""),
        ("metrics diff --targets metrics.json --all --md", ""),
        ("params diff", ""),
        ("params diff HEAD~1", ""),
        ("params diff --targets params.yaml", ""),
        ("metrics show", "sub"),
        ("metrics show more.json", "sub"),
        ("metrics diff", "sub"),
        ("params diff", "sub"),
        ("plots show", ""),
    ],
)
def test_text_is_equal(work: Work, line: str, cwd: str) -> None:
    before = work.files(private=(".git",))
    theirs, ours = (tool(*line.split(), code=None, cwd=cwd) for tool in (work.dvc, work.pyexp))
    if line != "plots show":  # the page is another
        assert ours.out.splitlines() == theirs.out.splitlines()
        assert work.files(private=(".git",)) == before
    assert ours.code == theirs.code


@pytest.mark.parametrize(
    "line",
    [
        "metrics show --json",
        "metrics show metrics.json -a --json",
        "metrics diff --json",
        "params diff --json",
    ],
)
def test_json_is_equal(work: Work, line: str) -> None:
    assert plain(work.pyexp(*line.split()).json()) == plain(work.dvc(*line.split()).json())


def test_plots(work: Work) -> None:
    for line in ("plots show loss.csv --json", "plots diff --targets loss.csv --json"):
        theirs, ours = (tool(*line.split()).json()["data"]["loss.csv"] for tool in (work.dvc, work.pyexp))
        assert [plot["revisions"] for plot in ours] == [plot["revisions"] for plot in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one["content"]["data"] == other["content"]["data"]
