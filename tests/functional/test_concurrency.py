"""Many processes in one project, two projects with one cache, and kill -9 in the middle: all must verify afterwards.

A few seconds here; PYEXP_TEST_LONG=1 goes on for minutes.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space
from torture import facts

from pyexp import durable

ROUNDS = 40 if os.environ.get("PYEXP_TEST_LONG") else 2
# What each process does over and over; none may fail, whatever the others do.
LOADS = (
    "exp run --temp -S lr=0.5{n}",
    "exp run --queue -S lr=1.{n}",
    "exp show --no-pager",
    "gc --workspace --all-experiments --force",
    "checkout",
    "push",
    "status",
    "queue status",
    "exp list",
    "add extra.txt",
    "exp run --run-all",
    "exp run -S lr=2.{n}",
)


def start(space: Space, line: str, group: bool = False) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pyexp", *line.split()],
        cwd=space.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=group,
    )


@pytest.fixture
def shared(space: Space) -> Space:
    space.put("data/a.txt", "a\n")
    for words in (
        ["remote", "add", "-d", "there", str(space.root.parent / "remote")],
        ["add", "data"],
        ["repro"],
        ["push"],
    ):
        assert space.cli(*words).returncode == 0, words
    space.commit("data")
    space.put("extra.txt", "extra\n")
    return space


def verify(space: Space) -> None:
    """Doctor is content (after it has put right what a kill leaves), git is, and each experiment has its data."""
    swept = space.cli("gc", "--workspace", "--all-experiments", "--force")
    assert swept.returncode == 0, swept.stderr
    repaired = space.cli("doctor", "--repair", "--full")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    found = space.cli("doctor", "--full")
    assert found.returncode == 0 and "as it should be" in found.stdout, found.stdout + found.stderr
    if shutil.which("git"):
        done = subprocess.run(["git", "fsck", "--strict"], cwd=space.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    # repro first: checkout rightly refuses to overwrite what the command of a killed run has written.
    for words in (["exp", "show", "--json"], ["queue", "status"], ["repro"], ["checkout"], ["exp", "run", "--run-all"]):
        done = space.cli(*words)
        assert done.returncode == 0 or "no experiments in the queue" in done.stderr.lower(), (words, done.stderr)
    assert not [path for path in facts.litter(space.root.parent) if "tmp_obj_" not in path]  # those are git's to remove
    for name in space.experiments():
        done = space.cli("exp", "apply", "--force", name)
        assert done.returncode == 0, (name, done.stderr)


def test_everything_at_once(shared: Space) -> None:
    for turn in range(ROUNDS):
        running = [(line, start(shared, line.format(n=f"{turn}{at}"))) for at, line in enumerate(LOADS)]
        for line, process in running:
            out, err = process.communicate(timeout=200)
            # Two runs in one workspace: the second is told so, and that is all it is told.
            busy = "another experiment is running in this workspace" in err
            assert process.returncode == 0 or busy, (line, out, err)
            assert "Traceback" not in err
    verify(shared)
    done = shared.cli("exp", "list", "--name-only")
    assert len(done.stdout.split()) >= 3 * ROUNDS - 1


def test_kill_9_under_load(shared: Space) -> None:
    """The process groups are killed at any moment; afterwards everything verifies and goes on."""
    chance = random.Random(7)
    before = facts.user_files(shared.root)
    for turn in range(2 * ROUNDS):
        lines = chance.sample(LOADS, 6)
        running = [start(shared, line.format(n=f"{turn}{at}"), group=True) for at, line in enumerate(lines)]
        time.sleep(chance.uniform(0.05, 1.2))
        for process in running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.communicate()
    # A stage's group is its own; it goes with the one that started it.
    for _ in range(100):
        if shared.cli("exp", "run", "--queue", "-S", f"lr={chance.random():.6f}").returncode == 0:
            break
    verify(shared)
    after = facts.user_files(shared.root)
    made = {"data.txt", "model.txt", "scores.json", "dvc.lock", "params.yaml", ".gitignore", "extra.txt.dvc"}
    assert {path: kind for path, kind in before.items() if path not in made}.items() <= after.items()


@pytest.mark.parametrize("kind", ["pyexp", "dvc"])
def test_gc_of_one_project_while_another_runs_in_the_same_cache(
    tmp_path: Path, kind: str, make: Callable[..., Space]
) -> None:
    """No gc, in whichever project, makes a run fail that lives, or leaves half a store behind."""
    one = make(kind=kind)
    shutil.copytree(one.root, tmp_path / "second", symlinks=True)
    two = Space(tmp_path / "second")
    slow = two.read("train.py") + "import time\ntime.sleep(1.5)\n"
    for space in (one, two):
        assert space.cli("cache", "dir", str(tmp_path / "cache")).returncode == 0
    assert one.cli("repro").returncode == 0
    two.put("train.py", slow)
    running = start(two, "exp run -n slow")
    for _ in range(200):
        if list((tmp_path / "cache").glob("live/*")):
            break
        time.sleep(0.02)
    while running.poll() is None:
        done = one.cli("gc", "--workspace", "--force")
        assert done.returncode == 0, done.stderr
    out, err = running.communicate()
    assert running.returncode == 0, out + err
    # What the run has recorded stays after it, too.
    done = one.cli("gc", "--workspace", "--force")
    assert done.returncode == 0, done.stderr
    for name in ("model.txt", "data.txt"):
        (two.root / name).unlink()
    done = two.cli("checkout")
    assert done.returncode == 0, done.stderr
    assert two.read("model.txt") == "model 0.5\n"
    assert two.cli("doctor", "--full").returncode == 0


def test_what_another_machine_has_left(shared: Space) -> None:
    """Temporary files and marks of another host, boot or container: not known to be dead, so they stay for an hour."""
    control = shared.root / (".pyexp" if (shared.root / ".pyexp").is_dir() else ".dvc")
    objects = next(path for path in (control / "cache/files").rglob("*") if path.is_file()).parent
    host, boot, container = durable._realm()
    other = "0123abcd"
    names = {
        "host": (f"{durable.TMP_PREFIX}99999-{other}{boot}{container}-1-aa", True),
        "boot": (f"{durable.TMP_PREFIX}99999-{host}{other}{container}-1-aa", False),
        "container": (f"{durable.TMP_PREFIX}1-{host}{boot}{other}-1-aa", True),
        "dead": (f"{durable.TMP_PREFIX}4194300-{host}{boot}{container}-1-aa", False),
        "alive": (f"{durable.TMP_PREFIX}{os.getpid()}-{host}{boot}{container}-1-aa", True),
        "nobody": (f"{durable.TMP_PREFIX}junk", True),
    }
    for directory in (objects, shared.root):
        for name, _ in names.values():
            (directory / name).write_bytes(b"half")
    assert shared.cli("gc", "--workspace", "--force").returncode == 0
    for kind, (name, stays) in names.items():
        assert (objects / name).exists() == stays, kind
    hour_ago = time.time() - 2 * durable.LITTER_SECONDS
    for name, _ in names.values():
        for directory in (objects, shared.root):
            if (directory / name).exists():
                os.utime(directory / name, (hour_ago, hour_ago))
    assert shared.cli("gc", "--workspace", "--force").returncode == 0
    assert [kind for kind, (name, _) in names.items() if (objects / name).exists()] == []
    # Nobody takes them for data.
    done = shared.cli("status")
    assert done.returncode == 0 and "half" not in done.stdout and durable.TMP_PREFIX not in done.stdout
