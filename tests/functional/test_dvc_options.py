"""Options that DVC's users know, in each layout: what they do here."""

from __future__ import annotations

import os
import stat


def test_a_directory_of_metrics(space) -> None:
    space.put("eval/train.json", '{"acc": 1}')
    space.put("eval/deep/test.yaml", "acc: 2\n")
    space.put("eval/notes.txt", "nothing: here\n")
    for words in (["eval"], ["-R", "eval"]):
        shown = space.json("metrics", "show", "--json", *words)[""]["data"]
        assert shown == {"eval/deep/test.yaml": {"data": {"acc": 2}}, "eval/train.json": {"data": {"acc": 1}}}
    space.commit("with metrics")
    space.put("eval/train.json", '{"acc": 4}')
    assert space.json("metrics", "diff", "--json", "--targets", "eval") == {
        "eval/train.json": {"acc": {"old": 1, "new": 4, "diff": 3}}
    }


def test_stages_that_can_be_read_are_listed_beside_those_that_cannot(space) -> None:
    space.put("broken/dvc.yaml", "stages:\n  bad:\n    cmdd: x\n")
    done = space.cli("stage", "list", "--all", "--name-only")
    assert (done.returncode, done.stdout.split()) == (0, ["copy", "train"])
    assert "broken/dvc.yaml:3:5: unknown key 'cmdd'" in done.stderr
    done = space.cli("stage", "list", "--all", "--fail")
    assert (done.returncode, done.stdout) == (1, "") and "broken/dvc.yaml:3:5" in done.stderr


def test_commit_may_leave_the_files_themselves(space) -> None:
    assert space.cli("config", "cache.type", "hardlink").returncode == 0
    assert space.cli("repro", "--no-commit").returncode == 0
    assert space.cli("commit", "-f", "--no-relink").returncode == 0
    assert os.stat(space.root / "model.txt").st_nlink == 1
    space.put("model.txt", "by hand\n")
    assert space.cli("commit", "-f").returncode == 0
    found = os.stat(space.root / "model.txt")
    assert found.st_nlink == 2 and not found.st_mode & stat.S_IWUSR


def test_a_project_that_composes_its_params_elsewhere_says_so(space) -> None:
    assert space.cli("config", "hydra.enabled", "true").returncode == 0
    done = space.cli("exp", "run")
    assert done.returncode == 2 and "Hydra" in done.stderr and "--no-hydra" in done.stderr
    assert space.cli("exp", "run", "--no-hydra", "-n", "plain").returncode == 0
    assert "plain" in space.experiments()


def test_what_is_the_default_may_be_said(space) -> None:
    assert space.cli("--wait-for-lock", "exp", "run", "-n", "one", "-M", "words").returncode == 0
    assert space.cli("exp", "apply", "--no-force", "one").returncode == 0
    assert space.cli("exp", "clean").stdout == "Nothing to clean.\n"
