"""Experiments made by one tool, in the other's hands; and the same experiment made by both."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twins import Work, start

pytestmark = pytest.mark.dvc

TRAIN = """\
import json, os, sys
text = open("params.yaml").read()
lr = float(text.split("lr: ")[1].split()[0])
data = open("prepared/all.txt").read()
os.makedirs("model", exist_ok=True)
open("model/weights.txt", "w").write(f"{lr} {len(data)}\\n")
open("model/info.txt", "w").write("info\\n")
json.dump({"loss": 1 / lr, "acc": {"train": lr * 3, "val": 0.5}, "n": 3, "note": "x"}, open("metrics.json", "w"))
json.dump({"f1": lr / 3}, open("cached.json", "w"))
open("plots.csv", "w").write("step,loss\\n0,1\\n")
"""
PIPELINE = """\
stages:
  prepare:
    cmd: mkdir -p prepared && cat raw.txt extra/*.txt > prepared/all.txt
    deps: [raw.txt, extra]
    params: [prepare.split]
    outs: [prepared]
  train:
    cmd: python3 train.py
    deps: [prepared, train.py]
    params:
    - lr
    - train.epochs
    - other.json: [a.b]
    outs:
    - model
    metrics:
    - metrics.json: {cache: false}
    - cached.json
    plots:
    - plots.csv: {cache: false, x: step}
metrics: [summary.yaml]
params: [more.yaml]
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "train.py": TRAIN,
    # As -S of DVC leaves it; it rewrites the whole file, pyexp one value.
    "params.yaml": "lr: 0.5\ntrain:\n  epochs: 3\n  layers:\n  - 1\n  - 2\nprepare:\n  split: 0.2\n",
    "other.json": '{"a": {"b": 1}, "c": 2}',
    "more.yaml": "m: 1\nnested: {x: null}\n",
    "summary.yaml": "total: 0.1\nname: base\n",
    "raw.txt": "raw\n",
    "extra/one.txt": "one\n",
    "README": "hello\n",
}


def based(root: Path, dvc: str) -> Work:
    """The project, run once by DVC and committed."""
    work = start(root, dvc, FILES)
    work.git("rm", "-q", "--cached", "raw.txt")
    work.dvc("add", "raw.txt")
    work.dvc("repro")
    work.commit("base")
    return work


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[Work]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        work = based(tmp_path_factory.mktemp("experiments") / "base", dvc)
        yield work
        shutil.rmtree(work.root.parent)


@pytest.fixture(scope="module")
def mixed(base: Work) -> Work:
    """Experiments of both tools, made turn by turn in one project; some refs are packed."""
    work = base.twin("mixed")
    work.dvc("exp", "run", "-q", "-n", "theirs", "-S", "lr=0.2")
    work.pyexp("exp", "run", "-q", "-n", "ours", "-S", "lr=0.3")
    work.dvc("exp", "run", "-q", "--temp", "-n", "theirs-beside", "-S", "train.epochs=9")
    work.git("pack-refs", "--all")
    work.pyexp("exp", "run", "-q", "--temp", "-n", "ours-beside", "-S", "other.json:a.b=2")
    work.pyexp("exp", "run", "-q", "--queue", "-n", "ours-queued", "-S", "+new=1")
    work.pyexp("exp", "run", "-q", "--run-all")
    return work


NAMES = ["ours", "ours-beside", "ours-queued", "theirs", "theirs-beside"]


def test_both_list_the_experiments_of_both(mixed: Work) -> None:
    for tool in ("dvc", "pyexp"):
        assert sorted(mixed.tool(tool, "exp", "list", "--name-only").out.split()) == NAMES
        listed = mixed.tool(tool, "exp", "list").out
        assert listed.startswith("main:\n") and sorted(re.findall(r"\[(.+)\]", listed)) == NAMES


def without_executors(shown: list[Any]) -> list[Any]:
    """What is in the projects; who ran them and when is each tool's own memory. In order of names, for equal times."""
    for row in shown:
        row["experiments"] = sorted(row["experiments"] or (), key=lambda exp: exp["name"])
        for exp in row["experiments"]:
            exp["executor"] = None
    return shown


def wordless(data: Any) -> Any:
    """JSON data without the words of errors, which are each tool's own."""
    if isinstance(data, dict):
        return {key: wordless(data[key]) for key in sorted(data) if key != "msg"}
    return [wordless(item) for item in data] if isinstance(data, list) else data


def test_show_is_equal(mixed: Work) -> None:
    for args in ([], ["-A"]):
        theirs = without_executors(mixed.dvc("exp", "show", "--json", *args).json())
        ours = without_executors(mixed.pyexp("exp", "show", "--json", *args).json())
        assert wordless(ours) == wordless(theirs)
    assert [exp["name"] for exp in theirs[1]["experiments"]] == NAMES


@pytest.mark.parametrize(
    "args",
    [
        ["exp", "diff", "theirs", "ours"],
        ["exp", "diff", "--all", "theirs", "ours-queued"],
        ["exp", "diff", "--param-deps", "theirs", "ours-queued"],
        ["exp", "diff"],
        ["params", "diff"],
        ["params", "diff", "--all", "HEAD", "theirs-beside"],
        ["params", "diff", "--deps", "ours-beside"],
        ["params", "diff", "--targets", "params.yaml", "--", "ours-queued"],
        ["metrics", "diff"],
        ["metrics", "diff", "--all", "ours", "theirs"],
        ["metrics", "diff", "HEAD", "theirs"],
        ["metrics", "show"],
        ["metrics", "show", "metrics.json"],
        ["metrics", "show", "-a"],
        ["metrics", "show", "-A"],
    ],
    ids=" ".join,
)
def test_json_is_equal(mixed: Work, args: list[str]) -> None:
    args = [*args[:2], "--json", *args[2:]]
    assert wordless(mixed.pyexp(*args).json()) == wordless(mixed.dvc(*args).json())


def newer_commit(work: Work) -> None:
    """The experiment does not know a commit; what that changed and added goes."""
    work.put("README", "edited\n")
    work.put("added.txt", "added\n")
    work.commit("newer")


def edited(work: Work) -> None:
    work.put("README", "edited\n")
    work.put("untracked.txt", "mine\n")
    work.put("model/info.txt", "tampered\n")
    work.put("params.yaml", "lr: 100\n")
    work.put("staged.txt", "mine too\n")
    work.git("add", "staged.txt")


@pytest.mark.parametrize("prepare", [newer_commit, edited], ids=lambda function: function.__name__)
@pytest.mark.parametrize("experiment", ["theirs", "ours-beside"])
def test_apply_gives_the_same_workspace(mixed: Work, prepare: Callable[[Work], None], experiment: str) -> None:
    theirs, ours = mixed.twin("dvc-applied"), mixed.twin("pyexp-applied")
    try:
        for work in (theirs, ours):
            prepare(work)
        theirs.dvc("exp", "apply", experiment)
        refused = ours.pyexp("exp", "apply", experiment, code=None)
        assert refused.code == (1 if prepare is edited else 0)  # bytes that are saved nowhere are not overwritten
        if refused.code:
            assert "--force" in refused.err or "-f" in refused.err
            ours.pyexp("exp", "apply", "--force", experiment)
        assert ours.files() == theirs.files()
        assert ours.dvc("status", "--json").json() == {} == theirs.pyexp("status", "--json").json()
        # DVC drops what was staged; pyexp leaves the index alone.
        for work in (theirs, ours):
            work.git("add", "-A")
        assert ours.git("write-tree") == theirs.git("write-tree")
    finally:
        shutil.rmtree(theirs.root)
        shutil.rmtree(ours.root)


def test_each_manages_the_experiments_of_the_other(mixed: Work) -> None:
    work = mixed.twin("managed")
    sha = {name: work.git("rev-parse", ref).strip() for ref, name in refs(work).items()}
    work.dvc("exp", "branch", "ours", "from-ours")
    work.pyexp("exp", "branch", "theirs", "from-theirs")
    assert work.git("rev-parse", "from-ours").strip() == sha["ours"]
    assert work.git("rev-parse", "from-theirs").strip() == sha["theirs"]
    work.dvc("exp", "rename", "ours", "renamed-ours")
    work.pyexp("exp", "rename", "theirs", "renamed-theirs")
    work.dvc("exp", "remove", "ours-beside", "ours-queued")
    work.pyexp("exp", "remove", "theirs-beside")
    assert sorted(refs(work).values()) == ["renamed-ours", "renamed-theirs"]
    for tool in ("dvc", "pyexp"):
        assert sorted(work.tool(tool, "exp", "list", "--name-only").out.split()) == ["renamed-ours", "renamed-theirs"]
    work.git("fsck", "--strict")


def refs(work: Work) -> dict[str, str]:
    """Every experiment's ref, and its name."""
    listed = work.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
    return {ref: ref.split("/")[-1] for ref in listed if re.match(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/", ref)}


def test_each_pushes_and_pulls_the_experiments_of_the_other(mixed: Work) -> None:
    work = mixed.twin("pushed")
    work.git("init", "-q", "--bare", "-b", "main", str(work.root.parent / "shared.git"))
    work.git("remote", "add", "origin", str(work.root.parent / "shared.git"))
    work.put(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {work.root.parent}/store\n")
    work.commit("remote")
    for tool, name in (("dvc", "d"), ("pyexp", "p")):
        work.tool(tool, "exp", "run", "-q", "-n", name, "-S", f"lr=0.{ord(name)}")
        work.git("checkout", "-q", ".")
    work.git("push", "-q", "origin", "main")
    work.dvc("exp", "push", "origin", "p")
    work.pyexp("exp", "push", "origin", "d")
    other = Work(work.root.parent / "clone", work.dvc_path)
    work.git("clone", "-q", str(work.root.parent / "shared.git"), str(other.root))
    other.dvc("exp", "pull", "origin", "d")
    other.pyexp("exp", "pull", "origin", "p")
    assert sorted(refs(other).values()) == ["d", "p"]
    for tool, name in (("dvc", "d"), ("pyexp", "p")):
        work.tool(tool, "exp", "apply", name)
        other.tool("pyexp" if tool == "dvc" else "dvc", "exp", "apply", name)
        assert other.read("model/weights.txt") == work.read("model/weights.txt")
        assert {path for path in work.files() if path not in other.files()} <= {"raw.txt"}


# -- the same experiment by both -------------------------------------------------------------------------------------


def nothing_changed(work: Work) -> list[str]:
    return []


def params_set(work: Work) -> list[str]:
    return ["-S", "lr=0.25", "-S", "train.epochs=4", "-m", "a message"]


def edited_staged_deleted_untracked(work: Work) -> list[str]:
    work.put("README", "edited\n")
    work.put("staged.txt", "staged\n")
    work.git("add", "staged.txt")
    work.put("untracked.txt", "untracked\n")
    work.remove("more.yaml")
    work.put("dvc.yaml", work.read("dvc.yaml").replace("[prepared, train.py]", "[prepared, train.py, new.py]"))
    work.put("new.py", "# a dep that git does not know\n")
    return ["-S", "lr=0.25"]


def data_changed(work: Work) -> list[str]:
    work.put("raw.txt", "another raw\n")
    work.put("extra/two.txt", "two\n")
    return []


def forced(work: Work) -> list[str]:
    return ["-f", "-S", "lr=0.75"]


def one_stage(work: Work) -> list[str]:
    work.put("extra/one.txt", "changed\n")
    return ["-s", "train", "-S", "lr=0.125"]


@pytest.mark.parametrize(
    "prepare",
    [nothing_changed, params_set, edited_staged_deleted_untracked, data_changed, forced, one_stage],
    ids=lambda function: function.__name__,
)
def test_the_commit_is_the_one_dvc_makes(base: Work, prepare: Callable[[Work], list[str]]) -> None:
    theirs, ours = base.twin("dvc-run"), base.twin("pyexp-run")
    try:
        for work in (theirs, ours):
            args = prepare(work)
            done = work.tool("dvc" if work is theirs else "pyexp", "exp", "run", "-n", "same", *args)
            assert "Ran experiment(s): same" in done.out
        ((ref, _),) = refs(theirs).items()
        assert refs(ours) == {ref: "same"}
        listing = [work.git("ls-tree", "-r", ref) for work in (theirs, ours)]
        assert listing[1] == listing[0]
        raw = [re.sub(r"> \d+ ", "> TIME ", work.git("cat-file", "commit", ref)) for work in (theirs, ours)]
        assert raw[1].rstrip("\n") == raw[0].rstrip("\n")
        assert ours.files() == theirs.files()
        assert ours.cache() == theirs.cache()
    finally:
        shutil.rmtree(theirs.root)
        shutil.rmtree(ours.root)


def test_save_keeps_what_dvc_keeps(base: Work) -> None:
    theirs, ours = base.twin("dvc-saved"), base.twin("pyexp-saved")
    for work in (theirs, ours):
        work.put("params.yaml", work.read("params.yaml").replace("0.5", "0.75"))
        work.put("notes.txt", "notes\n")
        work.put("left.txt", "left\n")
        work.put("model/info.txt", "trained by hand\n")
        work.tool("dvc" if work is theirs else "pyexp", "exp", "save", "-n", "kept", "-I", "notes.txt")
    ((ref, _),) = refs(theirs).items()
    listing = [work.git("ls-tree", "-r", ref).splitlines() for work in (theirs, ours)]
    wart = [line for line in listing[0] if line.endswith(".dvc/tmp/repro.dat")]
    assert [line for line in listing[0] if line not in wart] == listing[1]
    assert ours.files() == theirs.files()
    message = [work.git("log", "-1", "--format=%B", ref).strip() for work in (theirs, ours)]
    assert message[1] == message[0]
