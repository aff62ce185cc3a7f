"""Who wrote a temporary file, and whether that one is still there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyexp import durable


def test_a_living_process_lives_and_its_files_stay(tmp_path: Path) -> None:
    path = durable.temporary_name(str(tmp_path))
    Path(path).write_bytes(b"half")
    durable.remove_litter(str(tmp_path))
    assert durable.lives(os.getpid()) and os.path.exists(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the states of processes are read from Linux's /proc")
def test_who_waits_to_be_reaped_is_dead(tmp_path: Path) -> None:
    """Orphans in containers: process 1 reaps them late or never, and signals can be sent to them all the same."""
    lines = "import sys; from pyexp import durable; print(durable.temporary_name(sys.argv[1]))"
    with subprocess.Popen([sys.executable, "-c", lines, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        path = process.stdout.read().strip()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
        os.kill(process.pid, 0)
        Path(path).write_bytes(b"half")
        assert not durable.lives(process.pid)
        durable.remove_litter(str(tmp_path))
        assert not os.path.exists(path)
    assert not durable.lives(process.pid)


def test_numbers_that_are_nobodys() -> None:
    assert durable.lives(1)
    assert not durable.lives(2**22 + 5)


def test_directories_of_the_dead_go_and_others_stay(tmp_path: Path) -> None:
    realm = "".join(durable._realm())
    dead = tmp_path / f"{durable.TMP_PREFIX}4194309-{realm}-1-aa"
    other = tmp_path / f"{durable.TMP_PREFIX}4194309-{'0' * 24}-1-aa"
    target = tmp_path / "target"
    link = tmp_path / f"{durable.TMP_PREFIX}4194309-{realm}-2-bb"
    for directory in (dead, other, target):
        directory.mkdir()
        (directory / "file").write_bytes(b"x")
    link.symlink_to(target)
    durable.remove_litter_directories(str(tmp_path))
    assert not dead.exists() and (other / "file").exists() and (target / "file").exists()


def test_a_link_is_replaced_unless_it_is_to_be_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    durable.write_file(link, "new", follow=True)
    assert link.is_symlink() and target.read_text() == "new"
    durable.write_file(link, "newer")
    assert not link.is_symlink() and link.read_text() == "newer" and target.read_text() == "new"


def test_a_directory_that_has_gone_meanwhile_holds_no_litter(tmp_path: Path) -> None:
    """Others come and go below the scratch directory while gc walks over it."""
    durable.remove_litter(str(tmp_path / "gone"))
    durable.remove_litter_directories(str(tmp_path / "gone"))
