"""Locks between real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyexp import mutex
from pyexp.errors import Locked

HOLD = "import sys, time; from pathlib import Path; from pyexp import mutex\nwith mutex.locked(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(60)"


def holder(path: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def test_a_lock_is_held_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with mutex.locked(path):
        assert mutex.is_locked(path)
    assert not mutex.is_locked(path)


def test_waiting_ends_with_an_error_that_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        told: list[str] = []
        with (
            pytest.raises(Locked, match=f"process {process.pid}"),
            mutex.locked(path, timeout=0.1, on_wait=told.append),
        ):
            pass
        assert told == [f"process {process.pid}"]
        process.kill()
    assert process.stdout is not None


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        assert mutex.is_locked(path)
        process.kill()
        with mutex.locked(path, timeout=10):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of open files to lower")
def test_who_cannot_be_asked_is_believed_to_live(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "lock"
    path.touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        assert mutex.is_locked(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not mutex.is_locked(path)
