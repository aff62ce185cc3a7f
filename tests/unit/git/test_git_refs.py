import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gitspace import make
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import ExperimentError, Locked, RefConflict
from pyexp.git import index, lockfile, refs
from pyexp.git.repo import Repo, discover

A, B, C = "a" * 40, "b" * 40, "c" * 40
BASE = f"refs/exps/{A[:2]}/{A[2:]}/"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path)


def test_a_ref_is_made_moved_and_removed(repo: Repo) -> None:
    refs.create(repo, BASE + "one", B)
    assert refs.exists(repo, BASE + "one") == B
    refs.update(repo, BASE + "one", B, C)
    assert refs.read(repo, "refs/exps/") == {BASE + "one": C}
    refs.delete(repo, BASE + "one", C)
    assert refs.read(repo) == {}
    # What the name left behind is gone too.
    assert not (repo.commondir / BASE).exists()


def test_a_ref_that_is_not_as_expected_stays_as_it_is(repo: Repo) -> None:
    refs.create(repo, BASE + "one", B)
    with pytest.raises(RefConflict, match="exists already"):
        refs.create(repo, BASE + "one", C)
    with pytest.raises(RefConflict, match="is now"):
        refs.update(repo, BASE + "one", C, A)
    with pytest.raises(RefConflict, match="is now"):
        refs.delete(repo, BASE + "one", C)
    with pytest.raises(RefConflict, match="is gone"):
        refs.update(repo, BASE + "two", C, A)
    refs.delete(repo, BASE + "two")
    assert refs.read(repo) == {BASE + "one": B}


def test_many_are_removed_or_none(repo: Repo) -> None:
    names = [f"{BASE}e{n}" for n in range(6)]
    for name in names[:3]:
        refs.create(repo, name, B)
    refs.pack(repo)
    for name in names[3:]:
        refs.create(repo, name, B)
    with pytest.raises(RefConflict):
        refs.delete_many(repo, {names[0]: B, names[4]: C})
    assert len(refs.read(repo, BASE)) == 6
    refs.delete_many(repo, dict.fromkeys(names[1:5], B))
    assert sorted(refs.read(repo, BASE)) == [names[0], names[5]]


def test_a_packed_value_does_not_come_back(repo: Repo) -> None:
    refs.create(repo, BASE + "one", B)
    refs.pack(repo)
    refs.update(repo, BASE + "one", B, C)
    assert refs.exists(repo, BASE + "one") == C
    refs.delete(repo, BASE + "one")
    assert refs.exists(repo, BASE + "one") is None


def test_packing_keeps_every_ref_and_other_lines(repo: Repo) -> None:
    packed = repo.commondir / "packed-refs"
    packed.write_text(f"# pack-refs with: peeled fully-peeled sorted \n{A} refs/tags/v1\n^{B}\n{C} {BASE}one\n")
    refs.update(repo, BASE + "one", C, A)
    refs.create(repo, BASE + "two", B)
    before = refs.read(repo)
    refs.pack(repo)
    assert refs.read(repo) == before == {"refs/tags/v1": A, BASE + "one": A, BASE + "two": B}
    assert f"{A} refs/tags/v1\n^{B}\n" in packed.read_text()
    assert not (repo.commondir / BASE / "two").exists()


def test_names_inside_names_are_refused(repo: Repo) -> None:
    refs.create(repo, "refs/heads/a", B)
    with pytest.raises(RefConflict):
        refs.create(repo, "refs/heads/a/b", B)
    refs.create(repo, "refs/heads/c/d", B)
    with pytest.raises(RefConflict):
        refs.create(repo, "refs/heads/c", B)
    refs.pack(repo, "refs/heads/")
    with pytest.raises(RefConflict):
        refs.create(repo, "refs/heads/a/b", B)


def test_directories_of_deleted_refs_are_no_obstacle(repo: Repo) -> None:
    (repo.commondir / "refs/heads/a/b/c").mkdir(parents=True)
    refs.create(repo, "refs/heads/a", B)
    assert refs.exists(repo, "refs/heads/a") == B


def test_a_dead_process_lock_on_an_experiment_is_removed(repo: Repo) -> None:
    lock = repo.commondir / (BASE + "one.lock")
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"")
    os.utime(lock, (time.time() - 120,) * 2)
    refs.create(repo, BASE + "one", B)
    assert refs.read(repo) == {BASE + "one": B}


@pytest.mark.parametrize("name", ["refs/heads/main", "packed-refs", "HEAD", "index"])
def test_a_lock_that_a_killed_pyexp_left_is_taken_away(repo: Repo, name: str) -> None:
    refs.create(repo, "refs/heads/other", A)
    refs.pack(repo, "refs/heads/")
    lock = repo.commondir / f"{name}.lock"
    lock.write_bytes(lockfile.MARK)
    refs.create(repo, "refs/heads/main", B)
    refs.delete(repo, "refs/heads/other")
    refs.write_head(repo, "refs/heads/main")
    index.write_index(repo, [])
    assert refs.read(repo) == {"refs/heads/main": B}
    assert not list(repo.commondir.glob("*.lock")) and not list(repo.commondir.glob("refs/**/*.lock"))
    assert {path.name for path in (repo.commondir / "pyexp").iterdir()} == {"refs.lock", "index.lock", "config.lock"}


def test_the_lock_of_others_is_waited_for_and_never_removed(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refs, "WAIT_SECONDS", 0.1)
    lock = repo.commondir / "refs/heads/main.lock"
    lock.write_bytes(b"")
    os.utime(lock, (time.time() - 120,) * 2)
    with pytest.raises(Locked, match=r"main\.lock"):
        refs.create(repo, "refs/heads/main", B)
    assert lock.exists()


def test_an_empty_ref_file_counts_as_no_ref(repo: Repo) -> None:
    path = repo.commondir / (BASE + "one")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert refs.exists(repo, BASE + "one") is None and refs.read(repo) == {}
    refs.create(repo, BASE + "one", B)
    assert refs.exists(repo, BASE + "one") == B


def test_symbolic_refs_are_followed_not_for_ever(repo: Repo) -> None:
    refs.create(repo, "refs/heads/main", B)
    (repo.commondir / "refs/remotes").mkdir()
    (repo.commondir / "refs/remotes/HEAD").write_text("ref: refs/heads/main\n")
    (repo.commondir / "refs/remotes/loop").write_text("ref: refs/remotes/loop\n")
    assert refs.read(repo, "refs/remotes/") == {"refs/remotes/HEAD": B}


def test_names_do_not_lead_out(repo: Repo) -> None:
    (repo.commondir.parent / "secret").write_text(A + "\n")
    assert refs.exists(repo, "refs/../../secret") is None
    with pytest.raises(RefConflict):
        refs.create(repo, "refs/heads/../../x", B)
    with pytest.raises(RefConflict):
        refs.create(repo, "HEAD", B)


@pytest.mark.parametrize("name", ["a", "exp-1", "lr-0.01", "a_b", "ü", "x" * 200, "a@b", "0"])
def test_good_experiment_names(name: str) -> None:
    refs.check_name(name)


_ODD = ["x" * 201, "é" * 101, "a\nb", "a\0", "\x7f", "a\udc80"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "-a",
        ".a",
        "a.lock",
        "a..b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a@{0}",
        "@",
        "a.",
        *_ODD,
    ],
)
def test_bad_experiment_names_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        refs.check_name(name)
    assert caught.value.hint and "\n" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_name_is_taken_or_refused(name: str) -> None:
    try:
        refs.check_name(name)
    except ExperimentError as error:
        str(error).encode()


_COUNT = """
import sys
from pathlib import Path
from pyexp.errors import RefConflict
from pyexp.git import index, lockfile, refs
from pyexp.git.repo import discover
root, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
with discover(Path(root)) as repo:
    done = 0
    while done < times:
        old = refs.exists(repo, name)
        try:
            refs.update(repo, name, old, f"{int(old or '0', 16) + 1:040x}")
            done += 1
        except RefConflict:
            pass
        if done % 10 == 0:
            refs.pack(repo)
"""


def test_two_processes_lose_no_update_while_refs_are_packed(repo: Repo) -> None:
    root = str(repo.worktree)
    running = [subprocess.Popen([sys.executable, "-c", _COUNT, root, BASE + "n", "40"]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert int(refs.exists(repo, BASE + "n") or "0", 16) == 80


_PACK = """
import sys, time
from pathlib import Path
from pyexp.git import index, lockfile, refs
from pyexp.git.repo import discover
with discover(Path(sys.argv[1])) as repo:
    print("go", flush=True)
    refs.pack(repo)
"""


def test_a_kill_while_packing_loses_no_ref(repo: Repo) -> None:
    directory = repo.commondir / BASE
    directory.mkdir(parents=True)
    for n in range(600):
        (directory / f"e{n}").write_text(f"{n:040x}\n")
    for attempt in range(5):
        process = subprocess.Popen([sys.executable, "-c", _PACK, str(repo.worktree)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.01 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert len(refs.read(repo, BASE)) == 600
        for lock in [*directory.glob("*.lock"), repo.commondir / "packed-refs.lock"]:
            lock.unlink(missing_ok=True)
        with discover(Path(str(repo.worktree))) as other:
            assert refs.read(other, BASE) == {f"{BASE}e{n}": f"{n:040x}" for n in range(600)}


def test_head(repo: Repo) -> None:
    assert repo.head() == ("master", None)
    refs.create(repo, "refs/heads/master", B)
    assert repo.head() == ("master", B)
    refs.write_head(repo, C)
    assert repo.head() == (None, C)
