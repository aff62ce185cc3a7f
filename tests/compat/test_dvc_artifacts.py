"""``artifacts get`` and ``artifacts_show`` beside the real DVC, on one registry of models with tags as GTO makes them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gitserver import served_by_git
from twins import Work, environment, interpreter

import pyexp.api
from pyexp.errors import PyexpError

pytestmark = [pytest.mark.dvc, pytest.mark.git]

TOOLS = ("dvc", "pyexp")
TOP = "artifacts:\n  best:\n    path: model.bin\n    type: model\n  notes:\n    path: notes.txt\n"
INNER = "artifacts:\n  best:\n    path: out\n  one:\n    path: out/sub/b\n"
ASK = """
import json, sys
from dvc.api import artifacts_show
found = []
for name, version, stage in json.loads(sys.argv[2]):
    try:
        found.append(artifacts_show(name, version, stage, sys.argv[1]))
    except Exception as error:
        found.append(type(error).__name__)
print(json.dumps(found))
"""


@pytest.fixture
def registry(project: Callable[..., Work], tmp_path: Path) -> Work:
    """Two commits of models, pushed, and gone from the cache; tags of both."""
    work = project({"dvc.yaml": TOP, "models/dvc.yaml": INNER, "notes.txt": "first\n"}, "registry")
    work.dvc("remote", "add", "-q", "-d", "far", str(tmp_path / "far"))
    tagged = 0

    def tag(*names: str) -> None:
        nonlocal tagged
        for name in names:
            tagged += 1
            env = {**environment(), "GIT_COMMITTER_DATE": f"2026-01-01T00:00:{tagged:02}Z"}
            subprocess.run(["git", "tag", "-a", "-m", "x", name], cwd=work.root, env=env, check=True)

    for number in (1, 2):
        work.put("model.bin", f"model {number}\n")
        work.put("notes.txt", f"note {number}\n")
        work.put("models/out/a", f"a {number}\n")
        work.put("models/out/sub/b", "b\n")
        work.dvc("add", "-q", "model.bin", "models/out")
        work.commit(str(number))
        work.dvc("push", "-q")
        if number == 1:
            tag("best@v1.9.0", "best#prod#1", "models=best@v0.1.0", "notes@v1.0.0", "best@v2.0.0-rc.1", "other@v1.0.0")
        else:
            tag("best@v1.10.0", "best#prod#2", "best#dev#3", "models=best@v0.2.0", "models=one@v0.1.0", "notes#old")
    work.git("tag", "-a", "-m", "x", "best@v2.0.0-rc.2")
    work.remove(".dvc/cache")
    work.put("dvc.yaml", "nothing: of interest\n")
    return work


ASKED: list[tuple[str, str | None, str | None]] = [
    ("best", None, None),
    ("best", "v1.9.0", None),
    ("best", None, "prod"),
    ("best", None, "dev"),
    ("models:best", None, None),
    ("models/dvc.yaml:best", "v0.1.0", None),
    ("models:one", None, None),
    ("notes", None, None),
    ("notes", None, "old"),
    ("best", "v3.0.0", None),
    ("best", None, "nowhere"),
    ("other", None, None),
    ("models:other", None, None),
]


def test_artifacts_show(registry: Work, tmp_path: Path) -> None:
    script = [interpreter(registry.dvc_path), "-c", ASK, str(registry.root), json.dumps(ASKED)]
    done = subprocess.run(script, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=True)
    theirs = json.loads(done.stdout)
    with served_by_git(registry.root / ".git") as address:
        for repo in (str(registry.root), registry.root.as_uri(), address):
            ours: list[object] = []
            for asked in ASKED:
                try:
                    ours.append(pyexp.api.artifacts_show(*asked, repo))
                except PyexpError as error:
                    assert "there is no artifact" in str(error)
                    ours.append("ArtifactNotFoundError")
            assert ours == theirs
    assert [one for one in theirs if isinstance(one, str)] == ["ArtifactNotFoundError"] * 4


GET = [
    ("best",),
    ("best", "--rev", "v1.9.0"),
    ("best", "--stage", "prod", "-o", "chosen.bin"),
    ("models:best",),
    ("models:best", "--rev", "v0.1.0", "-o", "there"),
    ("models:one", "-o", "there"),
    ("notes", "-o", "new/place.txt"),
    ("best", "-f"),
]


def test_get(registry: Work, tmp_path: Path) -> None:
    found = {}
    for name in TOOLS:
        work = Work(tmp_path / f"get-{name}", registry.dvc_path)
        for number, args in enumerate(GET):
            work.put(f"{number}/there/keep", "")
            if args[-1] == "-f":
                work.put(f"{number}/model.bin", "mine\n")
            done = work.tool(name, "artifacts", "get", "../../registry", *args, cwd=str(number))
            assert "Downloaded " in done.out
        found[name] = work.files(private=())
    assert found["pyexp"] == found["dvc"]
    assert found["dvc"]["1/model.bin"][0] == b"model 1\n" and found["dvc"]["4/there/out/a"][0] == b"a 1\n"
    assert found["dvc"]["0/model.bin"][0] == b"model 2\n" and found["dvc"]["5/there/b"][0] == b"b\n"


def test_show_url(registry: Work, tmp_path: Path) -> None:
    for args in (("best",), ("models:best", "--rev", "v0.1.0"), ("best", "--stage", "dev")):
        told = [registry.tool(name, "artifacts", "get", ".", *args, "--show-url").out for name in TOOLS]
        assert told[0] == told[1] and str(tmp_path / "far") in told[0]


def test_get_says_why_not(registry: Work, tmp_path: Path) -> None:
    work = Work(tmp_path / "here", registry.dvc_path)
    work.put("model.bin", "mine\n")
    for args, code, why in (
        (("../registry", "best", "--rev", "v1", "--stage", "prod"), 2, "not both"),
        (("../registry", "none"), 1, "there is no artifact 'none'"),
        (("../registry", "best", "--rev", "v9.0.0"), 1, "there is no artifact 'best @ v9.0.0'"),
        (("../registry", "best"), 1, "exists already"),
        (("../nowhere", "best"), 1, "there is no repository"),
        ((".", "best"), 1, "is in no git repository"),
    ):
        done = work.pyexp("artifacts", "get", *args, code=code)
        assert why in done.err and len(done.err.splitlines()) == 1, done.err
    assert work.files(private=()) == {"model.bin": (b"mine\n", False)} and os.listdir(work.root) == ["model.bin"]


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/hostname", "models/../../outside.txt"])
def test_an_artifact_is_inside_its_repository(registry: Work, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.txt").write_text("secret\n")
    registry.put("dvc.yaml", f"artifacts:\n  bad:\n    path: {path}\n")
    registry.commit("bad")
    registry.git("tag", "-a", "-m", "x", "bad@v1.0.0")
    work = Work(tmp_path / "here", registry.dvc_path)
    work.put("keep", "")
    for options in ((), ("--show-url",), ("-o", "x")):
        assert "is not inside" in work.pyexp("artifacts", "get", "../registry", "bad", *options, code=1).err
    assert os.listdir(work.root) == ["keep"]
