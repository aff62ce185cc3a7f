"""The variables a stage sees (FORMATS.md §6.3): by them DVCLive knows that it is inside a run and saves nothing itself."""

from __future__ import annotations

import pytest

PIPELINE = """\
stages:
  s:
    cmd: sh show.sh
    deps: [show.sh]
    outs:
    - seen.txt: {cache: false}
"""
SHOW = (
    "for name in DVC_ROOT DVC_STAGE DVC_EXP_NAME DVC_EXP_BASELINE_REV; do printenv $name || echo -; done > seen.txt\n"
)


def seen(text: str | None) -> list[str]:
    assert text is not None
    return text.splitlines()


def made(make, kind: str):
    return make(PIPELINE, kind, **{"show.sh": SHOW})


@pytest.mark.parametrize("kind", ["pyexp", "dvc"])
def test_in_a_run_of_the_pipeline(make, kind: str) -> None:
    space = made(make, kind)
    assert space.cli("repro").returncode == 0
    assert seen(space.read("seen.txt")) == [str(space.root), "s", "-", "-"]


@pytest.mark.parametrize("kind", ["pyexp", "dvc"])
def test_in_experiments(make, kind: str) -> None:
    space = made(make, kind)
    head = space.cli("git", "log", "--oneline").stdout.split()[0]
    for name, words in (("here", []), ("beside", ["--temp"])):
        assert space.cli("exp", "run", "-f", "-n", name, *words).returncode == 0
        root, stage, experiment, baseline = seen(space.file_at(space.experiments()[name], "seen.txt"))
        # The main project, also where the run is in a directory of its own.
        assert (root, stage, experiment) == (str(space.root), "s", name)
        assert baseline.startswith(head) and len(baseline) == 40
