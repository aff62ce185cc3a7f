"""Real commands in real process groups."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pyexp.pipeline import command

ENV = {"PATH": os.environ["PATH"], "SHELL": "/bin/sh"}


def run(line: str, cwd: Path, **more: object) -> int:
    return command.run(line, cwd=str(cwd), env=ENV, **more)  # type: ignore[arg-type]


def wait_for(condition: object, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but is not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_status_is_the_commands(tmp_path: Path) -> None:
    assert run("true", tmp_path) == 0
    assert run("exit 3", tmp_path) == 3
    assert run("kill -TERM $$", tmp_path) == -signal.SIGTERM


def test_output_and_errors_reach_the_sink_in_order(tmp_path: Path) -> None:
    heard: list[bytes] = []
    run("echo one; echo two >&2; printf three", tmp_path, sink=heard.append)
    assert b"".join(heard) == b"one\ntwo\nthree"


def test_it_runs_in_the_directory_with_the_environment_given(tmp_path: Path) -> None:
    command.run("pwd > here; echo $COLOUR > colour", cwd=str(tmp_path), env={**ENV, "COLOUR": "blue"})
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)
    assert (tmp_path / "colour").read_text() == "blue\n"


def test_a_stopped_command_is_asked_first(tmp_path: Path) -> None:
    line = "trap 'echo bye > said; exit 0' INT; touch begun; while :; do sleep 0.05; done"
    with pytest.raises(command.Cancelled):
        run(line, tmp_path, stop=(tmp_path / "begun").exists)
    assert (tmp_path / "said").read_text() == "bye\n"


def test_a_command_that_ignores_to_be_asked_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.2)
    line = "trap '' INT TERM; echo $$ > pid; while :; do sleep 0.05; done"
    with pytest.raises(command.Cancelled):
        run(line, tmp_path, stop=lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_command_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(command.TimedOut):
        run("sleep 60", tmp_path, timeout=0.1)


def test_what_it_leaves_in_the_background_ends_with_it(tmp_path: Path) -> None:
    assert run("sleep 60 & echo $! > pid", tmp_path) == 0
    pid = int((tmp_path / "pid").read_text())
    assert wait_for(lambda: not alive(pid))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_killed_runner_takes_its_command_along_and_holds_its_lock_until_then(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from pyexp import mutex
        from pyexp.pipeline import command
        with mutex.locked(Path("lock")) as fd:
            command.run("echo $$ > pid; sleep 60 & sleep 60", cwd=".", env=dict(os.environ), reaper=command.Reaper((fd,)))
        """
    )
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    assert wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    runner.kill()
    runner.wait()
    from pyexp import mutex

    with mutex.locked(tmp_path / "lock", timeout=10):
        assert not alive(pid), "the lock was free while the command still ran"
