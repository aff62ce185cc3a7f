"""Both tools in one project at the same time, and projects that DVC 2 left behind."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from twins import Work, environment, interpreter

pytestmark = pytest.mark.dvc
both = pytest.mark.parametrize("tool", ["dvc", "pyexp"])

THEIR_LOCK = """
import sys, time
from dvc.repo import Repo
with Repo(".").lock:
    print("held", flush=True)
    sys.stdin.read()
"""
OUR_LOCK = """
import sys, pyexp
with pyexp.find(".").lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(work: Work, tool: str) -> Iterator[None]:
    """The project's lock, in the other tool's hands."""
    python, code = (interpreter(work.dvc_path), THEIR_LOCK) if tool == "dvc" else (sys.executable, OUR_LOCK)
    holder = subprocess.Popen(
        [python, "-c", code],
        cwd=work.root,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    yield
    holder.communicate()


def test_dvc_waits_for_our_lock(project: Callable[..., Work]) -> None:
    work = project({"data": "data\n"})
    work.git("rm", "-q", "--cached", "data")
    with held(work, "pyexp"):
        refused = work.dvc("add", "data", code=None)
    assert refused.code != 0 and "lock" in refused.err
    work.dvc("add", "data")


def test_we_wait_for_the_lock_of_dvc_and_go_on(project: Callable[..., Work]) -> None:
    work = project({"data": "data\n"})
    work.git("rm", "-q", "--cached", "data")
    with held(work, "dvc"):
        ours = subprocess.Popen(
            [sys.executable, "-m", "pyexp", "add", "data"],
            cwd=work.root,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(2)
        assert ours.poll() is None and not (work.root / "data.dvc").exists()
    _, said = ours.communicate(timeout=60)
    assert ours.returncode == 0, said
    assert (work.root / "data.dvc").exists()


# -- DVC 2: no "hash: md5", objects beside files/, line ends left out of text files' hashes -------------------------------


def legacy(work: Work) -> None:
    """Makes records and cache what DVC 2 would have left, with hashes that DVC computes as it did then."""
    text = subprocess.run(
        [interpreter(work.dvc_path), "-c", LEGACY_HASH, "crlf.txt"],
        cwd=work.root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    work.put("crlf.txt.dvc", f"outs:\n- md5: {text}\n  size: 6\n  path: crlf.txt\n")
    cache = work.root / ".dvc/cache"
    place(work.root / "crlf.txt", cache / text[:2] / text[2:])
    for path in sorted((cache / "files/md5").rglob("*")):
        if path.is_file():
            place(path, cache / path.parent.name / path.name)
    shutil.rmtree(cache / "files")
    shutil.rmtree(cache / "runs")
    for name in ("data.dvc", "dvc.lock"):
        work.put(name, re.sub(r" *hash: md5\n", "", work.read(name)))
    edited = re.sub(r"(path: crlf.txt\n *md5: )\w+", rf"\g<1>{text}", work.read("dvc.lock"))
    work.put("dvc.lock", edited)


LEGACY_HASH = """
import sys
from dvc_data.hashfile.hash import file_md5
print(file_md5(sys.argv[1], name="md5-dos2unix"))
"""


def place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
        target.chmod(0o444)


@pytest.fixture
def old(project: Callable[..., Work]) -> Work:
    work = project(
        {
            "dvc.yaml": "stages:\n  one:\n    cmd: cat data/a > out\n    deps: [data, crlf.txt]\n    outs: [out]\n",
            "crlf.txt": "a\r\nb\r\n",
        }
    )
    work.git("rm", "-q", "--cached", "crlf.txt")
    work.put(".gitignore", "/crlf.txt\n")
    work.put("data/a", "a\n")
    work.put("data/b", "b\n")
    work.dvc("add", "data")
    work.dvc("add", "crlf.txt")
    work.dvc("repro")
    legacy(work)
    work.commit("old")
    return work


@both
def test_an_old_project_is_up_to_date(old: Work, tool: str) -> None:
    lock = old.read("dvc.lock")
    before = {path for path in (old.root / ".dvc/cache").rglob("*") if path.is_file()}
    assert "crlf.txt" in lock and "hash" not in lock
    assert old.tool(tool, "status", "crlf.txt.dvc", "data.dvc", "--json").json() == {}
    assert old.tool(tool, "status", "--json").json() == old.dvc("status", "--json").json()
    old.remove("data", "crlf.txt")
    old.tool(tool, "checkout")
    # The other line ends have the same name in the cache: either will do.
    assert old.read("data/a") == "a\n" and old.read("crlf.txt") == "a\r\nb\r\n"
    assert {path for path in (old.root / ".dvc/cache").rglob("*") if path.is_file()} == before
    assert old.git("status", "--porcelain") == ""


def test_an_old_project_goes_on_alike(old: Work) -> None:
    theirs, ours = old.twin("theirs"), old.twin("ours")
    for work in (theirs, ours):
        work.put("data/c", "c\n")
        work.tool("dvc" if work is theirs else "pyexp", "add", "data")
        work.tool("dvc" if work is theirs else "pyexp", "repro")
    assert ours.read("data.dvc") == theirs.read("data.dvc")
    # An output that was made anew has today's kind of hash; DVC leaves the old kind where the bytes are the same.
    assert re.sub(r"outs:\n(.*)\n      hash: md5", r"outs:\n\1", ours.read("dvc.lock")) == theirs.read("dvc.lock")
    assert ours.dvc("status", "--json").json() == {} == theirs.pyexp("status", "--json").json()


@both
def test_an_old_cache_is_cleaned_of_what_is_unused(old: Work, tool: str) -> None:
    stray = old.root / ".dvc/cache/12/34567890123456789012345678901f"
    place(old.root / "dvc.yaml", stray)
    old.tool(tool, "gc", "-w", "-f")
    assert not stray.exists()
    old.remove("data", "crlf.txt", "out")
    old.tool(tool, "checkout")
    assert old.tool(tool, "status", "data.dvc", "crlf.txt.dvc", "--json").json() == {}
