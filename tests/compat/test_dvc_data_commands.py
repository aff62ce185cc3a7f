"""``data status``, ``diff``, ``move``, … beside the real DVC on one project that goes through many states.

Each state is looked at by both; what they print as JSON must be equal once lists (whose order DVC leaves to chance)
are sorted.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DVC = os.environ.get("PYEXP_TEST_DVC") or shutil.which("dvc") or ""
pytestmark = [pytest.mark.dvc, pytest.mark.skipif(not DVC, reason="no dvc here (PYEXP_TEST_DVC names one)")]

PIPELINE = """\
stages:
  s:
    cmd: sh mk.sh
    deps:
    - x.txt
    outs:
    - out.txt
    - od
    - nc:
        cache: false
    metrics:
    - m.json:
        cache: false
  never:
    cmd: cp x.txt nv.txt
    deps:
    - x.txt
    outs:
    - nv.txt
"""


class Both:
    """A DVC project that both tools are asked about."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self.root = root
        self.env = env

    def run(self, *argv: str, ok: bool = True) -> str:
        done = subprocess.run(argv, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 or not ok, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def dvc(self, *args: str) -> str:
        return self.run(DVC, *args)

    def pyexp(self, *args: str) -> str:
        return self.run(sys.executable, "-m", "pyexp", *args)

    def git(self, *args: str) -> str:
        return self.run("git", *args)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "next")

    def put(self, relpath: str, text: str) -> None:
        path = self.root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def same(self, *args: str) -> Any:
        """Both answer alike; returns the answer."""
        theirs = ordered(json.loads(self.dvc(*args)))
        ours = ordered(json.loads(self.pyexp(*args)))
        assert ours == theirs, args
        return ours

    def look(self) -> None:
        """Compares what both say of the state as it is."""
        self.same("data", "status", "--json", "--granular", "--unchanged", "--untracked-files")
        self.same("data", "status", "--json")
        self.same("diff", "--json", "--show-hash")


def ordered(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: ordered(value) for key, value in data.items()}
    if isinstance(data, list):
        return sorted(map(ordered, data), key=lambda item: json.dumps(item, sort_keys=True))
    return data


@pytest.fixture
def both(tmp_path: Path) -> Both:
    home = tmp_path / "home"
    home.mkdir()
    env = {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    project = Both(tmp_path / "project", env)
    project.root.mkdir()
    project.git("init", "-q")
    project.dvc("init", "-q")
    project.put("data/a", "a\n")
    project.put("data/sub/b", "b\n")
    project.put("dirb/b1", "b1\n")
    project.put("x.txt", "x\n")
    project.put("y.txt", "y\n")
    project.put("dvc.yaml", PIPELINE)
    project.put("mk.sh", "cp x.txt out.txt; mkdir -p od nc; cp x.txt od/1; echo 1 > m.json; echo n > nc/f\n")
    return project


def test_data_status_and_diff_through_many_states(both: Both) -> None:
    both.dvc("add", "-q", "data", "dirb", "x.txt", "y.txt")
    both.look()  # no commit yet
    both.dvc("repro", "-q", "s")
    both.commit()
    both.look()

    # changed, new, gone, renamed, made by nobody, a file where a directory was and the other way round
    both.put("data/a", "changed\n")
    both.put("data/new", "n\n")
    (both.root / "y.txt").rename(both.root / "data/y")
    both.put("nv.txt", "n\n")
    both.put("m.json", "2\n")
    (both.root / "x.txt").unlink()
    both.put("x.txt/1", "1\n")
    shutil.rmtree(both.root / "od")
    both.put("od", "file\n")
    both.look()

    # the same in the records, not in git
    both.dvc("add", "-q", "data")
    both.dvc("move", "-q", "dirb", "dirc")
    both.dvc("remove", "-q", "y.txt.dvc")
    both.put("c.txt", "c\n")
    both.dvc("add", "-q", "c.txt")
    both.put("un/1", "u\n")
    both.look()
    both.same("data", "status", "--json", "--granular", "data", "dirc")
    both.same("diff", "--json", "--targets", "data")
    both.commit()
    both.look()
    both.same("diff", "HEAD~1", "--json", "--show-hash")
    both.same("diff", "HEAD~1", "HEAD", "--json", "--show-hash")

    # objects that the cache lacks
    cache = both.root / ".dvc/cache/files/md5"
    (cache / "15/97a5a9948014489de663c8fb4438db").unlink(missing_ok=True)
    for name in ("data.dvc", "c.txt.dvc"):
        digest = (both.root / name).read_text().split("md5: ")[1].split()[0]
        (cache / digest[:2] / digest[2:]).unlink()
    both.look()
    both.same("diff", "HEAD~1", "--json", "--hide-missing")


def test_a_directory_whose_manifest_is_gone(both: Both) -> None:
    both.dvc("add", "-q", "data")
    both.commit()
    both.put("data/c", "c\n")
    both.dvc("add", "-q", "data")
    both.commit()
    shutil.rmtree(both.root / ".dvc/cache")
    shutil.rmtree(both.root / "data")
    shutil.rmtree(Path(both.env["DVC_SITE_CACHE_DIR"]))
    both.look()
    both.put("data/a", "a\n")
    both.look()
    both.same("diff", "HEAD~1", "HEAD", "--json")


def test_text_says_what_dvc_says(both: Both) -> None:
    (both.root / "dvc.yaml").unlink()  # an output nobody made yet crashes DVC's table
    both.dvc("add", "-q", "data", "x.txt", "y.txt", "dirb")
    both.commit()
    both.put("data/a", "changed\n")
    both.put("data/new", "n\n")
    both.dvc("add", "-q", "data")
    (both.root / "y.txt").unlink()
    both.dvc("move", "-q", "dirb", "dirc")
    for args in (("diff",), ("diff", "--show-hash"), ("diff", "--md"), ("diff", "--md", "--show-hash")):
        assert both.pyexp(*args) == both.dvc(*args), args
    theirs = both.dvc("data", "status", "--granular").replace("dvc commit", "pyexp commit")
    theirs = theirs.replace("dvc checkout", "pyexp checkout").replace("git status", "pyexp git status")
    ours = both.pyexp("data", "status", "--granular")
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())
