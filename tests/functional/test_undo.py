"""``exp undo``: what apply, remove, rename and gc did is taken back, and nothing done since is lost by it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space

import pyexp
from pyexp.errors import ExperimentError, PyexpError, RefConflict, UnsafeCheckout
from pyexp.experiments import manage, oplog
from pyexp.experiments import run as running
from pyexp.experiments.capture import Request
from pyexp.git import objects, refs, repo
from pyexp.pipeline.repro import Surroundings


def run(space: Space, name: str, *overrides: str) -> None:
    with_stage_output_quiet = Surroundings(sink=lambda stage, data: None, stdin_null=True)
    running.run(space.project(), Request(overrides, name=name), with_stage_output_quiet)


def tracked(space: Space) -> dict[str, bytes]:
    """Every file of the workspace, hidden and ignored ones too."""
    found = {}
    for directory, names, files in os.walk(space.root):
        names[:] = [name for name in names if name not in (".git", ".pyexp", ".dvc")]
        for name in files:
            path = Path(directory, name)
            found[path.relative_to(space.root).as_posix()] = path.read_bytes()
    return found


@pytest.fixture
def two(space: Space) -> Space:
    """Two experiments; the workspace holds the second."""
    run(space, "one", "lr=0.1")
    run(space, "two", "lr=0.2")
    return space


def test_apply_is_taken_back(two: Space) -> None:
    before, state = tracked(two), two.git_state()
    pyexp.apply(two.project(), "one")
    assert two.read("model.txt") == "model 0.1\n"
    done = pyexp.undo(two.project())
    assert tracked(two) == before
    assert two.git_state() == state
    assert set(done.outputs) == {"model.txt"}
    assert {"params.yaml", "dvc.lock", "scores.json"} <= set(done.files)
    assert oplog.operations(two.project()) == []


def test_apply_by_force_is_taken_back_with_edits_that_were_saved_nowhere(two: Space) -> None:
    two.put("params.yaml", "lr: 7  # mine\ntrain:\n  epochs: 3\n")
    os.chmod(two.root / "model.txt", 0o644)
    two.put("model.txt", "mine too\n")
    os.chmod(two.root / "train.py", 0o755)
    before = tracked(two)
    with pytest.raises(UnsafeCheckout):
        pyexp.apply(two.project(), "one")
    assert oplog.operations(two.project()) == [], "a refused apply is in the log"
    pyexp.apply(two.project(), "one", force=True)
    assert tracked(two) != before
    pyexp.undo(two.project())
    assert tracked(two) == before
    assert os.stat(two.root / "train.py").st_mode & 0o100


def test_a_removed_file_comes_back_and_a_made_one_goes(space: Space) -> None:
    run(space, "old", "lr=0.1")
    space.put("later.txt", "later\n")
    (space.root / "raw.txt").rename(space.root / "fresh.txt")
    space.put("raw.txt", "raw\n")
    space.commit("later")
    before = tracked(space)
    pyexp.apply(space.project(), "old")
    assert not (space.root / "later.txt").exists()
    pyexp.undo(space.project())
    assert tracked(space) == before


def test_two_applies_are_taken_back_one_by_one(two: Space) -> None:
    first = tracked(two)
    pyexp.apply(two.project(), "one")
    second = tracked(two)
    pyexp.apply(two.project(), "HEAD", force=True)
    pyexp.undo(two.project())
    assert tracked(two) == second
    pyexp.undo(two.project())
    assert tracked(two) == first


@pytest.mark.parametrize("edited", ["params.yaml", "model.txt"])
def test_edits_made_since_are_not_lost(two: Space, edited: str) -> None:
    before = tracked(two)
    pyexp.apply(two.project(), "one")
    os.chmod(two.root / edited, 0o644)
    two.put(edited, "edited since\n")
    now = tracked(two)
    with pytest.raises(UnsafeCheckout, match=edited):
        pyexp.undo(two.project())
    assert tracked(two) == now
    pyexp.undo(two.project(), force=True)
    assert tracked(two) == before


def test_an_apply_that_changed_nothing_is_not_in_the_log(two: Space) -> None:
    pyexp.apply(two.project(), "two")
    assert oplog.operations(two.project()) == []


def test_an_apply_that_was_killed_is_taken_back(two: Space) -> None:
    """The record is there before the first change; what had been changed by then goes back."""
    before = tracked(two)
    code = (
        "import os, pyexp\n"
        "from pyexp.git import snapshot\n"
        "real = os.replace\n"
        "left = [2]\n"
        "def replace(old, new):\n"
        "    if '/project/' in str(new) and '/.git/' not in str(new) and '/.pyexp/' not in str(new)"
        " and '/.dvc/' not in str(new):\n"
        "        left[0] -= 1\n"
        "        if left[0] < 0: os._exit(9)\n"
        "    real(old, new)\n"
        "os.replace = replace\n"
        "pyexp.apply(pyexp.find('.'), 'one')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=two.root, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert tracked(two) != before
    pyexp.undo(two.project())
    left = {path: data for path, data in tracked(two).items() if ".pyexp-tmp-" not in path}
    assert left == before


def test_removed_experiments_come_back(two: Space) -> None:
    before = two.experiments()
    assert set(pyexp.remove(two.project(), "one", "two")) == {"one", "two"}
    assert two.experiments() == {}
    done = pyexp.undo(two.project())
    assert set(done.experiments) == {"one", "two"}
    assert two.experiments() == before
    assert done.missing == ()
    pyexp.apply(two.project(), "one")


def test_a_name_taken_again_is_a_clash(two: Space) -> None:
    pyexp.remove(two.project(), "one")
    run(two, "one", "lr=0.3")
    before = two.experiments()
    with pytest.raises(RefConflict, match="experiment 'one' is there again"):
        pyexp.undo(two.project())
    assert two.experiments() == before
    manage.rename(two.project(), "one", "three")
    # The rename is an operation of its own now: the removal is the one before.
    pyexp.undo(two.project(), 1)
    assert set(two.experiments()) == {"one", "two", "three"}


def test_a_name_reserved_in_the_queue_is_a_clash(two: Space) -> None:
    pyexp.remove(two.project(), "one")
    running.enqueue(two.project(), Request(("lr=0.3",), name="one"))
    with pytest.raises(RefConflict, match="reserved"):
        pyexp.undo(two.project())


def test_a_rename_is_taken_back(two: Space) -> None:
    before = two.experiments()
    manage.rename(two.project(), "one", "uno")
    pyexp.undo(two.project())
    assert two.experiments() == before
    manage.rename(two.project(), "one", "two", force=True)
    assert set(two.experiments()) == {"two"}
    pyexp.undo(two.project())
    assert two.experiments() == before


def test_gc_is_taken_back_until_the_cache_is_freed(two: Space) -> None:
    before = two.experiments()
    two.write(note="x\n")
    two.commit("next")
    manage.gc(two.project(), workspace=True)
    assert two.experiments() == {}
    manage.gc_cache(two.project(), manage.CacheScope(workspace=True))
    done = pyexp.undo(two.project())
    assert two.experiments() == before
    # What the workspace holds is still there; the other's model is not.
    assert done.missing == ("one",)


def test_queued_tasks_come_back(space: Space) -> None:
    running.enqueue(space.project(), Request(("lr=0.3",), name="later"))
    running.enqueue(space.project(), Request(("lr=0.4",), name="latest"))
    queued = space.cli("queue", "status").stdout
    manage.remove(space.project(), manage.Selection(("later",)))
    manage.remove(space.project(), manage.Selection(), queued=True)
    assert "later" not in space.cli("queue", "status").stdout
    pyexp.undo(space.project())
    pyexp.undo(space.project())
    assert space.cli("queue", "status").stdout == queued
    summary = pyexp.run_all(space.project())
    assert not summary.failed
    assert set(space.experiments()) == {"later", "latest"}


def test_commits_live_as_long_as_the_record(two: Space) -> None:
    shas = two.experiments()
    pyexp.remove(two.project(), "one")
    with repo.discover(two.root) as found:
        kept = [found.commit(sha).parents for sha in oplog.numbers(found).values()]
        assert [list(parents) for parents in kept] == [[shas["one"]]]


@pytest.mark.git
def test_git_keeps_them_and_finds_nothing_wrong(two: Space) -> None:
    pyexp.apply(two.project(), "one")
    pyexp.remove(two.project(), "one", "two")
    for line in (["gc", "--prune=now", "-q"], ["fsck", "--strict"]):
        done = subprocess.run(["git", *line], cwd=two.root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    pyexp.undo(two.project())
    pyexp.undo(two.project())
    assert set(two.experiments()) == {"one", "two"}
    assert two.read("model.txt") == "model 0.2\n"


def test_records_expire(two: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oplog, "MAX_KEPT", 3)
    for turn in range(4):
        manage.rename(two.project(), "one" if turn % 2 == 0 else "uno", "uno" if turn % 2 == 0 else "one")
    assert [each.number for each in oplog.operations(two.project())] == [4, 3, 2]
    monkeypatch.setattr(oplog, "GRACE_SECONDS", -10)
    manage.rename(two.project(), "one", "uno")
    assert [each.number for each in oplog.operations(two.project())] == [5]


def test_another_project_of_the_repository_keeps_its_files(two: Space) -> None:
    pyexp.apply(two.project(), "one")
    other = two.root / "sub"
    other.mkdir()
    pyexp.init(other, subdir=True).close()
    with pytest.raises(PyexpError, match="another work tree or project"):
        pyexp.undo(pyexp.find(other))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        json.dumps({"version": 1, "op": "x", "what": "y", "where": ".:", "refs": {}, "outs": 3}).encode(),
        json.dumps(
            {
                "version": 1,
                "op": "x",
                "what": "y",
                "where": ".:",
                "refs": {"refs/heads/main": [None, "1" * 40]},
                "outs": [],
            }
        ).encode(),
        json.dumps(
            {"version": 1, "op": "x", "what": "y", "where": ".:", "refs": {}, "outs": [["../../x", None, None]]}
        ).encode(),
        json.dumps(
            {
                "version": 1,
                "op": "x",
                "what": "y",
                "where": ".:",
                "refs": {},
                "outs": [["x", ["md5", "../x", 1, 1, 0], None]],
            }
        ).encode(),
    ],
)
def test_a_strangers_record_is_not_believed(two: Space, body: bytes) -> None:
    with repo.discover(two.root) as found:
        tree = objects.write_tree(found, {"record": (objects.FILE, objects.write_blob(found, body))})
        sha = objects.write_commit(found, tree, [], "m", found.identity())
        refs.create(found, f"{oplog.PREFIX}1", sha)
    before = tracked(two)
    assert oplog.operations(two.project()) == []
    with pytest.raises(PyexpError):
        pyexp.undo(two.project())
    assert tracked(two) == before


def test_on_the_command_line(make: Callable[..., Space]) -> None:
    space = make()
    assert space.cli("exp", "undo", "--list").stdout == "There is nothing to undo.\n"
    nothing = space.cli("exp", "undo")
    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
    assert "nothing to undo" in nothing.stderr
    run(space, "one", "lr=0.1")
    space.cli("exp", "remove", "one")
    assert "remove 'one'" in space.cli("exp", "undo", "--list").stdout
    listed = space.json("exp", "undo", "--list", "--json")
    assert isinstance(listed, list) and [row["op"] for row in listed] == ["remove"]
    assert "no operation 7" in space.cli("exp", "undo", "7").stderr
    for wrong in (["x"], ["1", "--list"], ["--list", "-f"]):
        assert space.cli("exp", "undo", *wrong).returncode == 2, wrong
    done = space.cli("exp", "undo")
    assert done.stdout == "Undone: remove 'one'\n  Experiments as before: one\n"
    assert set(space.experiments()) == {"one"}
    with pytest.raises(ExperimentError):
        pyexp.undo(space.project())
