"""DVC's subtle behaviours (FORMATS.md §7), by their numbers: kept where users count on them, right where DVC is wrong.

Those about formats, templates, overrides and staleness are in the other files here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from twins import Work, environment

pytestmark = pytest.mark.dvc
both = pytest.mark.parametrize("tool", ["dvc", "pyexp"])

# What ran is in a log beside the project.
PIPELINE = """\
stages:
  one:
    cmd: echo one >> ../log && cat in > out
    deps: [in]
    params: [p]
    outs: [out]
  two:
    cmd: echo two >> ../log && cat out > last && echo '{"m":0.123456789}' > m.json
    deps: [out]
    outs: [last]
    metrics: [m.json: {cache: false}]
"""
Project = Callable[..., Work]


@pytest.fixture
def work(project: Project) -> Work:
    made = project({"dvc.yaml": PIPELINE, "in": "in\n", "params.yaml": "p: 1\nunused: 0.1\n"})
    made.pyexp("repro", "-q")
    made.commit("ran")
    forget_log(made)
    return made


def forget_log(work: Work) -> None:
    work.put("../log", "")


def log(work: Work) -> list[str]:
    return work.read("../log").split()


def names(work: Work) -> list[str]:
    return re.findall(r"\[(.+?)\]", work.pyexp("exp", "list", "-A").out)


@both
def test_5_nothing_changed_is_an_experiment_of_its_own_too(work: Work, tool: str) -> None:
    for _ in range(2):
        work.tool(tool, "exp", "run")
    refs = work.git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    made = [ref for ref in refs if work.git("log", "-1", "--format=%s", ref).startswith("dvc: commit experiment")]
    assert len(names(work)) == len(set(names(work))) == 2 and len(set(made)) >= 1
    assert len({work.git("rev-parse", f"{ref}^{{tree}}") for ref in made}) == 1
    assert log(work) == []


@both
def test_8_a_run_that_fails_leaves_the_params_as_set_and_the_output_gone(work: Work, tool: str) -> None:
    work.put("dvc.yaml", work.read("dvc.yaml").replace("cat in > out", "false"))
    work.tool(tool, "exp", "run", "-S", "p=2", code=None)
    assert "p: 2" in work.read("params.yaml")
    assert not (work.root / "out").exists()
    assert names(work) == []


@both
def test_10_force_runs_everything_and_takes_the_name(work: Work, tool: str) -> None:
    work.tool(tool, "exp", "run", "-n", "mine")
    refused = work.tool(tool, "exp", "run", "-n", "mine", code=None)
    assert refused.code != 0 and log(work) == []
    work.tool(tool, "exp", "run", "-f", "-n", "mine")
    assert log(work) == ["one", "two"] and names(work) == ["mine"]


@both
def test_18_each_line_of_a_command_has_a_shell_of_its_own(project: Project, tool: str) -> None:
    text = 'stages:\n  lines:\n    cmd: |\n      X=set\n      echo "($X)" > out\n    outs: [out]\n'
    text += '  items:\n    cmd:\n    - |\n      X=set\n      echo "($X)" > other\n    outs: [other]\n'
    work = project({"dvc.yaml": text})
    work.tool(tool, "repro")
    assert (work.read("out"), work.read("other")) == ("()\n", "(set)\n")


@both
@pytest.mark.parametrize(("shell", "said"), [("/bin/bash", "bash\n"), ("/bin/sh", "\n")])
def test_19_the_shell_is_the_users(
    project: Project, tool: str, shell: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = project({"dvc.yaml": "stages:\n  one:\n    cmd: echo ${BASH:+bash} > out\n    outs: [out]\n"})
    work.put("dvc.yaml", work.read("dvc.yaml").replace("${", "\\${"))
    argv = [work.dvc_path] if tool == "dvc" else [sys.executable, "-m", "pyexp"]
    subprocess.run(
        [*argv, "repro", "-q"], cwd=work.root, env={**environment(), "SHELL": shell}, check=True, timeout=120
    )
    assert work.read("out") == said


@both
def test_20_outputs_go_before_the_command_unless_they_persist(project: Project, tool: str) -> None:
    text = "stages:\n  one:\n    cmd: cat gone kept > seen || true; touch gone kept; echo x >> kept\n"
    work = project({"dvc.yaml": text + "    outs: [gone: {cache: false}, kept: {persist: true}, seen]\n"})
    for _ in range(2):
        work.tool(tool, "repro", "-f")
    assert work.read("seen") == "x\n" and work.read("kept") == "x\nx\n"


@both
def test_21_without_the_run_cache_a_recorded_output_is_restored_all_the_same(work: Work, tool: str) -> None:
    work.remove("out", "last")
    work.tool(tool, "repro", "--no-run-cache")
    assert log(work) == [] and work.read("last") == "in\n"


@both
def test_22_a_frozen_stage_without_its_output_does_not_run(work: Work, tool: str) -> None:
    work.tool(tool, "freeze", "one")
    work.remove("out")
    # DVC wants a checkout first; pyexp has brought it back from the cache by then.
    found = work.tool(tool, "repro", code=None)
    assert log(work) == [] and (work.root / "out").exists() is (found.code == 0) is (tool == "pyexp")
    work.remove(".dvc/cache")
    if tool == "pyexp":
        work.remove("out")
    failed = work.tool(tool, "repro", code=None)
    assert failed.code != 0 and "out" in failed.err and log(work) == []


def test_31_precision_is_kept_in_tables(work: Work) -> None:
    shown = work.pyexp("exp", "show", "--no-pager", "--precision", "2").out
    assert "0.12 " in shown and "0.123" not in shown
    assert "0.12346" in work.pyexp("exp", "show", "--no-pager").out
    assert ",0.12," in work.pyexp("exp", "show", "--csv", "--precision", "2").out


def test_32_param_deps_are_those_of_the_baseline_too(work: Work) -> None:
    work.pyexp("exp", "run", "-q", "-n", "e", "-S", "p=2")
    rows = work.pyexp("exp", "show", "--csv", "--param-deps").out.splitlines()
    assert "unused" not in rows[0] and ",p," in rows[0] and len(rows) == 4


@both
def test_34_quiet_keeps_tables(work: Work, tool: str) -> None:
    assert "0.123" in work.tool(tool, "metrics", "show", "-q").out


@both
def test_37_run_means_the_pipeline_here_and_status_the_whole_project(work: Work, tool: str) -> None:
    work.put("sub/dvc.yaml", "stages:\n  below:\n    cmd: echo below >> ../../log\n    always_changed: true\n")
    work.tool(tool, "repro")
    assert log(work) == []
    work.tool(tool, "repro", cwd="sub")
    assert log(work) == ["below"]
    # Named from where one stands.
    assert set(work.tool(tool, "status", "--json", cwd="sub").json()) == {"below"}
    work.put("in", "new\n")
    assert "../dvc.yaml:one" in work.tool(tool, "status", "--json", cwd="sub").json()


@both
def test_40_checkout_takes_away_what_nothing_mentions_any_more(work: Work, tool: str) -> None:
    work.git("checkout", "-q", "-b", "more")
    work.put("extra", "extra\n")
    work.tool(tool, "add", "extra")
    work.commit("extra")
    work.tool(tool, "checkout")
    work.git("checkout", "-q", "main")
    assert (work.root / "extra").exists()
    work.tool(tool, "checkout")
    assert not (work.root / "extra").exists() and (work.root / "out").exists()


def test_44_a_tracked_directory_with_executables_is_unchanged_after_checkout(project: Project) -> None:
    work = project({"in": "x"})
    work.put("data/run.sh", "#!/bin/sh\n", 0o755)
    work.pyexp("add", "data")
    work.remove("data")
    assert "A\tdata" in work.pyexp("checkout").out
    assert "data" not in work.pyexp("checkout").out
    assert work.pyexp("status", "--json").json() == {}


@both
def test_45_commit_asks_and_nobody_answers(work: Work, tool: str) -> None:
    work.put("last", "by hand\n")
    refused = work.tool(tool, "commit", code=None)
    assert refused.code == 1 and "-f" in refused.err
    work.tool(tool, "commit", "-f")
    assert work.tool(tool, "status", "--json").json() == {}


def test_49_of_two_runs_at_once_one_is_refused_and_the_other_whole(work: Work) -> None:
    work.put("dvc.yaml", work.read("dvc.yaml").replace("cat in > out", "sleep 3 && cat in > out"))
    argv = [sys.executable, "-m", "pyexp", "exp", "run", "-n"]
    first = subprocess.Popen([*argv, "e2", "-S", "p=2"], cwd=work.root, env=environment(), stdout=subprocess.DEVNULL)
    while not log(work):
        time.sleep(0.05)
    refused = work.pyexp("exp", "run", "-n", "e3", "-S", "p=3", code=1)
    assert "another experiment is running" in refused.err and "--temp" in refused.err
    assert first.wait(60) == 0
    assert names(work) == ["e2"] and "p: 2" in work.read("params.yaml")
    assert work.dvc("status", "--json").json() == {}


@both
@pytest.mark.parametrize(("option", "kept"), [("-w", False), ("-A", False), ("--all-experiments", True)])
def test_51_gc_keeps_the_data_of_experiments_only_when_told(work: Work, tool: str, option: str, kept: bool) -> None:
    work.put("in", "else\n")
    work.pyexp("exp", "run", "-q", "-n", "e")
    work.git("checkout", "-q", "-f", ".")
    work.pyexp("checkout", "-q")
    work.tool(tool, "gc", option, "-f")
    work.pyexp("exp", "apply", "-f", "e", code=None)
    found = work.dvc("checkout", code=None)
    assert (found.code == 0) is kept


@both
def test_52_an_experiment_made_with_git_alone(work: Work, tool: str) -> None:
    head = work.git("rev-parse", "HEAD").strip()
    work.put("params.yaml", "p: 7\nunused: 0.1\n")
    work.git("add", "params.yaml")
    tree = work.git("write-tree").strip()
    work.git("reset", "-q", "--hard")
    sha = work.git("commit-tree", tree, "-p", head, "-m", "by hand").strip()
    work.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/by-hand", sha)
    work.git("pack-refs", "--all")
    assert "by-hand" in work.tool(tool, "exp", "list").out
    shown: Any = work.tool(tool, "exp", "show", "--json").json()
    assert "by-hand" in json.dumps(shown)
    assert work.tool(tool, "exp", "diff", "--json", "HEAD", "by-hand").json()["params"]["params.yaml"]["p"]["new"] == 7
    work.tool(tool, "exp", "apply", "by-hand")
    assert "p: 7" in work.read("params.yaml")
    work.tool(tool, "exp", "remove", "by-hand")
    assert names(work) == []
