"""``pyexp.api`` beside ``dvc.api`` on one repository: here, bare, and on a git server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gitserver import served_by_git
from twins import Work, environment, interpreter

pytestmark = [pytest.mark.dvc, pytest.mark.git]

PIPELINE = """\
stages:
  train:
    cmd: cp params.yaml model.txt && echo '{"loss":1}' > m.json
    params: [lr]
    outs: [model.txt]
    metrics: [{m.json: {cache: false}}]
"""
ASK = """
import importlib, json, sys
api = importlib.import_module(sys.argv[1])
found = []
for name, args, options in json.loads(sys.argv[3]):
    try:
        found.append(getattr(api, name)(*args, repo=sys.argv[2], **options))
    except Exception as error:
        assert "Traceback" not in str(error)
        found.append(["no", isinstance(error, Exception)])
print(json.dumps(found))
"""
ASKED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("all_tags", [], {}),
    ("params_show", [], {}),
    ("params_show", [], {"rev": "quick"}),
    # Not with targets or stages: DVC looks for them in the current directory.
    ("params_show", [], {"rev": "v1"}),
    ("params_show", ["none.yaml"], {}),
    ("metrics_show", [], {}),
    ("metrics_show", [], {"rev": "quick"}),
    ("metrics_show", [], {"rev": "v1"}),
    ("read", ["data/a"], {}),
    ("read", ["code.py"], {"rev": "main"}),
    ("read", ["code.py"], {"rev": "v1"}),
    ("read", ["model.txt"], {"rev": "quick"}),
    ("read", ["inner/data/c"], {}),
    ("read", ["data"], {}),
    ("read", ["nothing"], {}),
    ("read", ["data/a"], {"rev": "nosuch"}),
    ("read", ["data/a"], {"remote": "nosuch"}),
    ("get_url", ["data/sub/b"], {}),
    ("get_url", ["data"], {"rev": "v1"}),
    ("get_url", ["model.txt"], {"rev": "quick"}),
    ("get_url", ["data"], {"remote": "new", "remote_config": {"url": "s3://bucket/x"}}),
    ("get_url", ["code.py"], {}),
    ("exp_show", [], {}),
    ("exp_show", [], {"num": 2, "param_deps": True}),
    ("exp_show", [], {"revs": "v1"}),
]


@pytest.fixture
def shared(project: Callable[..., Work], tmp_path: Path) -> Path:
    """A project with history and an experiment, whose data is on a remote, as a bare repository."""
    work = project({"dvc.yaml": PIPELINE, "params.yaml": "lr: 0.5\n"}, "work")
    work.put("data/a", "a\n")
    work.put("data/sub/b", "b\n")
    work.put("inner/.dvc/config", f"[core]\n    remote = far\n['remote \"far\"']\n    url = {tmp_path}/far\n")
    work.put("inner/data/c", "c\n")
    work.dvc("remote", "add", "-q", "-d", "far", str(tmp_path / "far"))
    work.dvc("add", "-q", "data")
    work.dvc("add", "-q", "data", cwd="inner")
    work.dvc("push", "-q", cwd="inner")
    work.dvc("repro", "-q")
    work.commit("one")
    work.git("tag", "v1")
    work.put("code.py", "x\n")
    work.commit("two")
    work.dvc("exp", "run", "-q", "-n", "quick", "-S", "lr=0.25")
    work.dvc("push", "-q")
    work.dvc("push", "-q", "-A")
    subprocess.run(["git", "clone", "-q", "--mirror", str(work.root), str(tmp_path / "r.git")], check=True)
    return tmp_path / "r.git"


def answers(python: str, module: str, repo: str, cwd: Path) -> list[Any]:
    command = [python, "-c", ASK, module, repo, json.dumps(ASKED)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=cwd)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_both_say_the_same(shared: Path, tmp_path: Path, dvc: str) -> None:
    (tmp_path / "cwd").mkdir()
    with served_by_git(shared) as url:
        theirs = answers(interpreter(dvc), "dvc.api", url, tmp_path / "cwd")
        for repo in (url, shared.as_uri(), str(shared)):
            ours = answers(sys.executable, "pyexp.api", repo, tmp_path / "cwd")
            for asked, one, other in zip(ASKED, ours, theirs):
                assert one == other, (repo, asked)
    assert theirs.count(["no", True]) == 7
    assert not list((tmp_path / "cwd").iterdir())
