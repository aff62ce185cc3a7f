"""What a second pair of eyes found: each was wrong once."""

import errno
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from functional.conftest import Space

import pyexp
from pyexp.errors import UnsafeCheckout
from pyexp.experiments import taskrecord
from pyexp.git import lockfile, refs, repo, user
from pyexp.model import Task


def quiet(data: bytes) -> None:
    """A sink: nothing a stage says reaches the test's output."""


def stage(space, *paths: str) -> None:
    with repo.discover(space.root) as found:
        user.add(found, list(paths))


# -- apply keeps what is the user's ------------------------------------------------------------------------------


def test_apply_leaves_new_staged_files_alone(space) -> None:
    with closing(space.project()) as project:
        pyexp.run(project, params={"lr": 0.1}, name="one")
        space.put("notes/plan.txt", "not committed yet\n")
        stage(space, "notes/plan.txt")
        pyexp.apply(project, "one")
    assert space.read("notes/plan.txt") == "not committed yet\n"


def test_apply_does_not_take_the_place_of_a_file_nobody_has(space) -> None:
    with closing(space.project()) as project:
        before = space.read("dvc.yaml")
        space.put("dvc.yaml", before + "  more:\n    cmd: echo made > extra.txt\n    outs:\n    - extra.txt\n")
        stage(space, "dvc.yaml")
        pyexp.run(project, name="more")
        space.put("dvc.yaml", before)
        stage(space, "dvc.yaml")
        (space.root / "extra.txt").unlink()
        space.put("extra.txt", "my own notes\n")
        with pytest.raises(UnsafeCheckout, match=r"extra\.txt"):
            pyexp.apply(project, "more")
        assert space.read("extra.txt") == "my own notes\n"
        pyexp.apply(project, "more", force=True)
        assert space.read("extra.txt") == "made\n"


# -- the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--dry", "--queue"],
        ["--dry", "--run-all"],
        ["--run-all", "--force"],
        ["--run-all", "--keep-going"],
        ["--run-all", "-m", "words"],
        ["--queue", "--interactive"],
        ["--queue", "--retries", "-1"],
        ["--queue", "--retries", "x"],
    ],
    ids=" ".join,
)
def test_options_that_would_be_ignored_are_refused(space, options: list[str]) -> None:
    space.cli("exp", "run", "--queue", "-n", "waiting")
    done = space.cli("exp", "run", *options)
    assert done.returncode == 2 and done.stderr.startswith("ERROR: ") and done.stdout == ""
    assert [task["name"] for task in space.json("queue", "status", "--json")["tasks"]] == ["waiting"]
    assert space.experiments() == {}


def test_the_hint_to_git_is_right_in_a_subdirectory(space) -> None:
    space.put("sub dir/it's.txt", "data\n")
    done = space.cli("--cd", "sub dir", "add", "it's.txt")
    assert done.stdout.endswith("""\tpyexp git add 'it'"'"'s.txt.dvc' .gitignore\n""")
    done = space.cli("--cd", "sub dir", "stage", "add", "-n", "one", "-o", "one.txt", "echo 1 > one.txt")
    assert done.stdout.endswith("\tpyexp git add dvc.yaml .gitignore\n")
    done = space.cli("--cd", "sub dir", "repro")
    assert done.stdout.endswith("\tpyexp git add dvc.lock\n")


def test_git_checkout_takes_a_file_as_git_does(space) -> None:
    space.put("raw.txt", "changed\n")
    space.cli("git", "checkout", "raw.txt")
    assert space.read("raw.txt") == "raw\n"
    done = space.cli("git", "checkout", "nosuch")
    assert done.returncode == 1 and "neither a branch" in done.stderr


@pytest.mark.parametrize("name", ["core", "nosuch.x", "core.nosuch", "cache.typ"])
def test_an_option_nobody_knows_is_not_just_unset(space, name: str) -> None:
    assert space.cli("config", name).returncode == 2
    assert space.cli("config", "core.remote").returncode == 0


def test_a_link_type_nobody_knows_is_refused(space) -> None:
    done = space.cli("config", "cache.type", "hardlnk")
    assert done.returncode == 2 and "reflink, hardlink, symlink, copy" in done.stderr
    assert space.cli("config", "cache.type", "reflink,copy").returncode == 0


def test_a_link_to_nothing_is_no_data(space) -> None:
    (space.root / "link").symlink_to("nowhere")
    done = space.cli("add", "link")
    assert done.returncode == 1 and "'link' is a link to 'nowhere', which does not exist" in done.stderr


def test_a_metrics_file_that_does_not_exist_is_an_error(space) -> None:
    pyexp.run(space.project(), sink=quiet)
    for words in (["metrics", "show"], ["metrics", "diff", "--targets"], ["params", "diff", "--targets"]):
        done = space.cli(*words, "nosuch.json")
        assert done.returncode == 1 and "'nosuch.json'" in done.stderr and done.stdout == "", words
    # Any file of values will do, declared or not.
    space.put("mine.json", '{"score": 3}')
    assert space.cli("metrics", "show", "mine.json").stdout.split() == ["Path", "score", "mine.json", "3"]


def test_before_the_first_commit_that_is_what_is_said(tmp_path: Path) -> None:
    space = Space(tmp_path)
    space.cli("git", "init")
    space.cli("init")
    for words in (["exp", "diff"], ["params", "diff"], ["exp", "run", "--queue"], ["exp", "list"]):
        done = space.cli(*words)
        if words[1] == "list":
            assert done.returncode == 0
            continue
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, words
        assert "there is no commit yet" in done.stderr, words


# -- killed in the middle ----------------------------------------------------------------------------------------


def test_a_rename_that_was_killed_between_its_two_refs_is_finished(space) -> None:
    outcome = pyexp.run(space.project(), name="old", sink=quiet)
    with repo.discover(space.root) as found:
        ref = next(iter(refs.read(found, "refs/exps/")))
        refs.create(found, ref.removesuffix("old") + "new", outcome.sha)
    done = space.cli("exp", "rename", "old", "new")
    assert done.returncode == 0, done.stderr
    assert space.experiments() == {"new": outcome.sha}


def test_a_sweep_is_queued_whole_or_not_at_all(space, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = taskrecord.write

    def full_disk(path: Path, task: Task) -> None:
        written.append(task)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, task)

    with monkeypatch.context() as patched:
        patched.setattr(taskrecord, "write", full_disk)
        with pytest.raises(OSError, match="No space"):
            pyexp.run(space.project(), params=["lr=1,2,3,4"], name="sweep", queue=True)
    assert len(written) == 3 and space.json("queue", "status", "--json")["tasks"] == []
    pyexp.run(space.project(), params=["lr=1,2,3,4"], name="sweep", queue=True)
    assert len(space.json("queue", "status", "--json")["tasks"]) == 4


def test_a_sweep_that_was_killed_on_its_way_into_line_is_put_in_line(space, tmp_path: Path) -> None:
    pyexp.run(space.project(), params=["lr=1,2,3"], name="sweep", queue=True)
    queue = space.project().scratch / "queue"
    sweep = queue / "arrived/1"
    sweep.mkdir()
    last = sorted((queue / "queued").iterdir())[-2:]
    for path in last:
        path.rename(sweep / path.name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (queue / "arrived/2").symlink_to(elsewhere)
    tasks = space.json("queue", "status", "--json")["tasks"]
    assert sorted(task["name"] for task in tasks) == ["sweep-1", "sweep-2", "sweep-3"]
    assert all(path.exists() for path in last) and not sweep.exists()
    assert (elsewhere / "precious").exists()


def test_a_commit_that_was_killed_does_not_lock_the_user_out(space) -> None:
    (space.root / ".git/index.lock").write_bytes(lockfile.MARK)
    space.put("raw.txt", "new\n")
    done = space.cli("git", "commit", "-a", "-m", "again")
    assert done.returncode == 0, done.stderr


# -- no terminal, no standard streams ----------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(space, closed: str) -> None:
    before = space.read("raw.txt")
    for words in ("repro -f", f"exp run -f -n {len(closed)}", "exp show", "--help", "nosuch"):
        done = subprocess.run(
            ["sh", "-c", f"exec {sys.executable} -m pyexp {words} {closed}"],
            cwd=space.root,
            capture_output=True,
            timeout=60,
        )
        assert b"Traceback" not in done.stderr and done.returncode == (2 if words == "nosuch" else 0), words
    assert space.read("raw.txt") == before and space.read("data.txt") == before
    assert str(len(closed)) in space.experiments()
