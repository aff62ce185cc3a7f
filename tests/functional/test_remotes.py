"""Data shared through a directory: remotes configured, data pushed, fetched and pulled, in both layouts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from functional.conftest import Space


def ok(space: Space, *args: str) -> str:
    done = space.cli(*args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(space: Space, code: int, *args: str) -> str:
    done = space.cli(*args)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


def control(space: Space) -> Path:
    return next(space.root / name for name in (".pyexp", ".dvc") if (space.root / name).is_dir())


def forget(space: Space, *outputs: str) -> None:
    """Loses the cache, and outputs of the workspace."""
    cache = control(space) / "cache"
    for path in (cache, *(space.root / output for output in outputs)):
        if path.is_dir():
            subprocess.run(["chmod", "-R", "u+w", str(path)], check=True)
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()


def stored(top: Path) -> list[Path]:
    """The objects of a remote."""
    return sorted(path for path in (top / "files").rglob("*") if path.is_file() and path.name[0] != ".")


@pytest.fixture
def shared(space: Space, tmp_path: Path) -> Space:
    """A project with a tracked directory and file, and a default remote beside it."""
    for name in ("a", "b", "sub/c", "sub/d"):
        space.put(f"data/{name}", f"{name}\n")
    space.put("one.txt", "one\n")
    ok(space, "add", "data", "one.txt")
    ok(space, "remote", "add", "-d", "r", "../store")
    space.commit("data")
    return space


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_remotes_are_added_changed_and_removed(space: Space, tmp_path: Path) -> None:
    assert "Setting 'one' as a default remote." in ok(space, "remote", "add", "-d", "one", "../store")
    ok(space, "remote", "add", "two", "s3://bucket/path")
    assert ok(space, "remote", "list") == f"one\t{tmp_path}/store\t(default)\ntwo\ts3://bucket/path\n"
    assert "url = ../../store" in (control(space) / "config").read_text()
    assert "there is a remote 'two' already" in refused(space, 2, "remote", "add", "two", "x")
    ok(space, "remote", "add", "-f", "two", "/elsewhere")
    ok(space, "remote", "default", "two")
    assert ok(space, "remote", "default") == "two\n"
    ok(space, "remote", "modify", "two", "jobs", "3")
    ok(space, "remote", "rename", "two", "three")
    assert ok(space, "remote", "default") == "three\n"
    assert ok(space, "config", "remote.three.jobs") == "3\n"
    assert "no remote 'two'" in refused(space, 2, "remote", "modify", "two", "jobs", "4")
    assert "unknown option" in refused(space, 2, "remote", "modify", "three", "job", "4")
    ok(space, "remote", "remove", "three")
    assert ok(space, "remote", "default") == "No default remote set\n"
    assert "there is no remote 'three'" in refused(space, 2, "remote", "remove", "three")
    ok(space, "remote", "default", "one")
    ok(space, "remote", "default", "-u")
    assert ok(space, "remote", "default") == "No default remote set\n"


def test_secrets_go_where_they_are_told_and_are_not_shown(space: Space) -> None:
    ok(space, "remote", "add", "r", "https://example.com/x")
    warned = space.cli("remote", "modify", "r", "password", "hunter2")
    assert "git tracks" in warned.stderr
    ok(space, "remote", "modify", "r", "-u", "password")
    quiet = space.cli("remote", "modify", "--local", "r", "password", "hunter2")
    assert quiet.stderr == ""
    path = control(space) / "config.local"
    assert "hunter2" in path.read_text() and path.stat().st_mode & 0o077 == 0
    assert "hunter2" not in ok(space, "config", "-l") + (control(space) / "config").read_text()
    ok(space, "remote", "add", "--local", "u", "https://me:hunter2@example.com/x")
    assert "u\thttps://me@example.com/x" in ok(space, "remote", "list")


def test_levels(space: Space, tmp_path: Path) -> None:
    env = {"DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "global")}
    assert space.cli("remote", "add", "--global", "-d", "g", "../gstore", env=env).returncode == 0
    assert space.cli("remote", "list", env=env).stdout == f"g\t{tmp_path}/gstore\t(default)\n"
    assert space.cli("remote", "list", "--local", env=env).stdout == ""
    assert ok(space, "remote", "list") == ""


def test_without_a_remote_it_says_what_to_do(space: Space) -> None:
    space.put("one.txt", "1")
    ok(space, "add", "one.txt")
    for verb in ("push", "fetch", "pull"):
        assert "no remote is configured - add one: pyexp remote add" in refused(space, 1, verb)
        assert "there is no remote 'x'" in refused(space, 1, verb, "-r", "x")


def test_push_then_pull_elsewhere(shared: Space, store: Path) -> None:
    assert ok(shared, "push").startswith("6 files pushed")
    assert ok(shared, "push") == "Everything is up to date.\n"
    forget(shared, "data", "one.txt")
    assert ok(shared, "fetch").startswith("6 files fetched")
    assert not (shared.root / "data").exists()
    forget(shared)
    told = ok(shared, "pull")
    assert "A\tdata/" in told and "6 files fetched" in told and "5 files added" in told
    assert shared.read("data/sub/c") == "sub/c\n" and shared.read("one.txt") == "one\n"
    assert ok(shared, "pull") == "Everything is up to date.\n"
    assert ok(shared, "status", "-c") == "Cache and remote 'r' are in sync.\n"


def test_targets_and_paths_inside_directories(shared: Space, store: Path) -> None:
    assert ok(shared, "push", "one.txt").startswith("1 file pushed")
    assert ok(shared, "push", "data/sub").startswith("2 files pushed")
    assert not any(path.name.endswith(".dir") for path in stored(store))  # not all of it is there yet
    assert ok(shared, "push", "data.dvc").startswith("3 files pushed")
    forget(shared, "data", "one.txt")
    assert "1 file added" in ok(shared, "pull", "data/sub/c")
    assert sorted(p.name for p in (shared.root / "data").rglob("*") if p.is_file()) == ["c"]
    shared.put("data/own.txt", "mine\n")
    assert "M\tdata/" in ok(shared, "pull", "data/a", "data/sub")
    names = sorted(p.name for p in (shared.root / "data").rglob("*") if p.is_file())
    assert names == ["a", "c", "d", "own.txt"]
    shared.put("data/a", "changed and saved nowhere\n")
    assert "data/a" in refused(shared, 1, "pull", "data/a") and "saved nowhere" in shared.read("data/a")
    ok(shared, "pull", "-f", "data/a")
    assert shared.read("data/a") == "a\n"
    assert ok(shared, "fetch", "-R", ".").startswith("2 files fetched")
    assert "did you mean" in refused(shared, 1, "pull", "dta")
    assert "nothing matches" in refused(shared, 1, "push", "--glob", "x*")
    assert ok(shared, "push", "--glob", "d*") == "Everything is up to date.\n"


def test_stages_with_what_they_need(shared: Space, store: Path) -> None:
    ok(shared, "repro")
    assert ok(shared, "push", "train").startswith("1 file pushed")
    assert ok(shared, "push", "-d", "train").startswith("1 file pushed")
    assert ok(shared, "push", "copy") == "Everything is up to date.\n"


def test_what_is_in_other_commits(shared: Space, store: Path) -> None:
    ok(shared, "push")
    ok(shared, "git", "branch", "old")
    shared.put("one.txt", "two\n")
    ok(shared, "add", "one.txt")
    shared.commit("two")
    shared.put("one.txt", "three\n")
    ok(shared, "add", "one.txt")
    shared.commit("three")
    assert ok(shared, "push").startswith("1 file pushed")
    assert ok(shared, "push", "-a") == "Everything is up to date.\n"
    assert "new:                one.txt" in ok(shared, "status", "-c", "-A")
    assert ok(shared, "push", "-A").startswith("1 file pushed")
    forget(shared)
    assert ok(shared, "fetch", "one.txt").startswith("1 file fetched")
    assert ok(shared, "fetch", "-a", "one.txt").startswith("1 file fetched")
    assert ok(shared, "fetch", "-A", "one.txt").startswith("1 file fetched")


def test_outputs_of_their_own_remote_and_outputs_that_stay(shared: Space, store: Path, tmp_path: Path) -> None:
    ok(shared, "remote", "add", "other", "../other")
    text = shared.read("one.txt.dvc").rstrip() + "\n  remote: other\n"
    shared.put("one.txt.dvc", text)
    shared.put("data.dvc", shared.read("data.dvc").rstrip() + "\n  push: false\n")
    assert ok(shared, "push").startswith("1 file pushed")
    assert not store.exists() and len(stored(tmp_path / "other")) == 1
    assert "sync" in ok(shared, "status", "-c")
    forget(shared, "one.txt", "data")
    done = shared.cli("fetch")
    assert done.returncode == 0 and done.stdout.startswith("1 file fetched")
    assert "no directory" in done.stderr  # the default remote was never made; what is not pushed is not missed


def test_what_is_missing_is_named_and_the_rest_comes(shared: Space, store: Path) -> None:
    ok(shared, "push")
    lost = next(path for path in stored(store) if path.read_bytes() == b"b\n")
    lost.unlink()
    shared.put("keep.txt", "x")
    forget(shared, "data", "one.txt")
    told = shared.cli("pull")
    assert told.returncode == 1
    assert "data/b (" in told.stderr and "1 file could not be pulled" in told.stderr
    assert shared.read("one.txt") == "one\n"
    assert shared.cli("pull", "--allow-missing").returncode == 0
    shared.put("data/b", "b\n")
    ok(shared, "add", "data/b")
    assert "new:                data/b" in ok(shared, "status", "-c")
    assert ok(shared, "push").startswith("1 file pushed")  # although the remote has the manifest
    forget(shared)
    assert "deleted:            one.txt" in ok(shared, "status", "-c")
    lost.unlink()
    assert "missing:            data/b" in ok(shared, "status", "-c")


def test_lost_objects_are_told_when_pushing(shared: Space, store: Path) -> None:
    cache = control(shared) / "cache" / "files"
    lost = next(path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == b"b\n")
    lost.unlink()
    told = shared.cli("push")
    assert told.returncode == 1 and "4 files pushed" in told.stdout
    assert "data/b (" in told.stderr and "neither in the cache nor on the remote" in told.stderr
    assert not any(path.name.endswith(".dir") for path in stored(store))


@pytest.mark.parametrize("side", ["cache", "remote"])
def test_damaged_objects_are_set_aside_and_never_go_on(shared: Space, store: Path, side: str) -> None:
    if side == "remote":
        ok(shared, "push")
        forget(shared, "data", "one.txt")
    top = store if side == "remote" else control(shared) / "cache"
    bad = next(path for path in stored(top) if path.read_bytes() == b"b\n")
    bad.chmod(0o644)
    bad.write_bytes(b"B\n")
    told = shared.cli("push" if side == "cache" else "pull")
    assert told.returncode == 1 and "data/b (" in told.stderr
    assert not bad.exists() and len(list((top / "corrupt").iterdir())) == 1
    other = control(shared) / "cache" if side == "remote" else store
    assert not any(path.read_bytes() == b"B\n" for path in stored(other))
    # The good file, added and pushed again, is the repair.
    if side == "cache":
        ok(shared, "add", "data")
        assert ok(shared, "push").startswith("2 files pushed")


def test_a_directory_that_is_not_mounted(shared: Space, store: Path) -> None:
    forget(shared, "data")
    assert f"there is no directory {store} - is it mounted?" in refused(shared, 1, "pull")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(shared: Space, store: Path) -> None:
    store.mkdir(mode=0o500)
    assert "Permission denied" in refused(shared, 1, "push")


def test_the_run_cache_goes_along(shared: Space, store: Path) -> None:
    ok(shared, "repro")
    ok(shared, "push")
    assert not (store / "runs").exists()
    ok(shared, "push", "--run-cache")
    assert len([path for path in (store / "runs").rglob("*") if path.is_file()]) == 2
    forget(shared, "model.txt", "data.txt", "scores.json", "dvc.lock")
    ok(shared, "fetch", "--run-cache")
    told = ok(shared, "repro")
    assert "Stage 'train' is cached" in told and "Running" not in told
    assert ok(shared, "push", "--run-cache") == "Everything is up to date.\n"


def test_results_from_a_stranger_that_are_none_are_left_out(shared: Space, store: Path) -> None:
    ok(shared, "repro")
    ok(shared, "push", "--run-cache")
    for path in (store / "runs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"\xc1 no result")
    (store / "runs" / "ab" / "..x").mkdir(parents=True)
    forget(shared, "model.txt", "data.txt", "scores.json", "dvc.lock")
    ok(shared, "fetch", "--run-cache")
    assert not (control(shared) / "cache" / "runs").exists()


def kill_at(space: Space, verb: str, top: Path, count: int) -> None:
    """Starts a command and kills it once there are so many objects."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pyexp", verb], cwd=space.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(stored(top)) < count:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_half_way_and_run_again(shared: Space, store: Path) -> None:
    for number in range(300):
        shared.put(f"many/{number}", f"{number}\n" * 2000)
    ok(shared, "add", "many")
    for count in (50, 200):
        kill_at(shared, "push", store, count)
        # A manifest says that its members are there: at no time does it lie.
        assert len(stored(store)) >= 305 or not any(path.name.endswith(".dir") for path in stored(store))
    ok(shared, "push")
    assert len(stored(store)) == 307 and ok(shared, "push") == "Everything is up to date.\n"
    forget(shared, "many")
    for count in (50, 200):
        kill_at(shared, "fetch", control(shared) / "cache", count)
    ok(shared, "pull")
    assert len(list((shared.root / "many").iterdir())) == 300
    assert shared.read("many/7") == "7\n" * 2000


def test_a_url_of_an_unknown_kind(shared: Space) -> None:
    ok(shared, "remote", "add", "odd", "gopher://x/y")
    assert "gopher:// are not known - known: a directory" in refused(shared, 1, "push", "-r", "odd")
    ok(shared, "remote", "add", "va", "../va")
    ok(shared, "remote", "modify", "va", "version_aware", "true")
    assert "version_aware" in refused(shared, 1, "push", "-r", "va")


def test_a_remote_through_another(shared: Space, store: Path) -> None:
    ok(shared, "remote", "add", "sub", "remote://r/deeper")
    assert ok(shared, "push", "-r", "sub").startswith("6 files pushed")
    assert len(stored(store / "deeper")) == 6


def test_gc_of_the_remote(shared: Space, store: Path) -> None:
    ok(shared, "push")
    shared.put("one.txt", "two\n")
    ok(shared, "add", "one.txt")
    ok(shared, "push")
    assert len(stored(store)) == 7
    told = ok(shared, "gc", "-w", "-c", "--dry")
    assert "Would remove 0 objects (0 B) from the remote." in told  # an hour has not passed
    ok(shared, "config", "gc.grace_seconds", "0")
    assert "Would remove 1 object (4 B) from the remote." in ok(shared, "gc", "-w", "-c", "--dry")
    assert shared.cli("gc", "-w", "-c").returncode == 1  # nobody there to agree
    assert len(stored(store)) == 7
    assert "No unused objects on the remote." in ok(shared, "gc", "-A", "-c", "-f")
    assert "Removed 1 object (4 B) from the remote." in ok(shared, "gc", "-w", "-c", "-f")
    assert len(stored(store)) == 6
    assert "sync" in ok(shared, "status", "-c")


def test_gc_of_the_remote_needs_no_cache(shared: Space, store: Path) -> None:
    ok(shared, "push")
    ok(shared, "config", "gc.grace_seconds", "0")
    forget(shared)
    assert "No unused objects on the remote." in ok(shared, "gc", "-w", "-c", "-f")
    manifest = next(path for path in stored(store) if path.name.endswith(".dir"))
    manifest.chmod(0o644)
    manifest.write_bytes(b"damaged")
    assert shared.cli("gc", "-w", "-c", "-f").returncode == 1
    assert len(stored(store)) == 5


def test_gc_keeps_what_only_the_cache_has(shared: Space, store: Path) -> None:
    ok(shared, "push")
    shared.put("one.txt", "two\n")
    ok(shared, "add", "one.txt")
    shared.put("one.txt", "three\n")
    ok(shared, "add", "one.txt")
    assert "Removed 1 object" in ok(shared, "gc", "-w", "--not-in-remote", "-f")
    cache = control(shared) / "cache"
    assert {path.read_bytes() for path in stored(cache)} >= {b"two\n", b"three\n"}
    assert shared.cli("gc", "-w", "-r", "r").returncode == 2
