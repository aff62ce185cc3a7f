"""A stranger's repository: names that would play with the terminal, a queue that leads elsewhere."""

import itertools
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from functional.conftest import Space, on_a_terminal
from functional.stranger import Stranger

from pyexp.errors import ExperimentError
from pyexp.experiments import detached
from pyexp.experiments.collect import ROWS_VERSION
from pyexp.experiments.taskqueue import Queue
from pyexp.git import repo


def test_names_of_experiments_do_not_reach_the_terminal_raw(space: Space) -> None:
    with repo.discover(space.root) as found:
        head = found.resolve("HEAD")
    where = space.root / ".git/refs/exps" / head[:2] / head[2:]
    where.mkdir(parents=True)
    for name in ("\x1b[31m", "\u202ex"):
        (where / name).write_text(f"{head}\n")
    for words in (["-A"], ["--name-only"]):
        shown = space.cli("exp", "list", *words).stdout
        assert "\\x1b[31m" in shown
        assert "\x1b" not in shown and "\u202e" not in shown


@pytest.mark.parametrize("command", ["exp run --queue", "queue status"])
def test_a_queue_that_is_a_link_is_not_followed(space: Space, command: str) -> None:
    outside = space.root.parent / "outside"
    outside.mkdir()
    scratch = space.project().scratch
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "queue").symlink_to(outside)
    done = space.cli(*command.split())
    assert done.returncode == 1 and "symbolic link" in done.stderr
    assert list(outside.iterdir()) == []


# -- records of a queue that came with the repository -----------------------------------------------------------------


def tamper(stranger: Stranger, state: str, worker: str = "", **changes: Any) -> Path:
    """Queues an experiment and rewrites its record, checksum and all; returns where that is now."""
    assert stranger.run("exp", "run", "--queue", "-n", "q").code == 0
    queue = stranger.scratch / "queue"
    (old,) = (queue / "queued").iterdir()
    record = {**msgpack.unpackb(old.read_bytes()[4:]), **changes}
    body = msgpack.packb(record)
    (queue / state).mkdir(exist_ok=True)
    new = queue / state / f"{old.name}{worker}"
    old.unlink()
    new.write_bytes(zlib.crc32(body).to_bytes(4, "little") + body)
    return new


RECORDS: dict[str, dict[str, Any]] = {
    "an id that leads out": {"id": "../../../../outside/x"},
    "another's id": {"id": "abcd"},
    "a name that leads out": {"name": "../../heads/x"},
    "a name that plays": {"name": "\x1b]0;owned\x07"},
    "a commit that is an option": {"commit": "--upload-pack=x"},
    "a baseline that leads out": {"baseline": "../../../heads/x"},
    "no id": {"id": None},
    "files that lead out": {"copy_paths": ["../outside/secret.txt", "/etc/passwd"]},
    "targets that lead out": {"targets": ["../outside/x/dvc.yaml:x"]},
    "another directory": {"options": {"cwd": "../outside", "wdir": "../outside"}},
    "times that are none": {"created": float("inf"), "started": float("nan"), "ended": -1e300},
}
QUEUE_COMMANDS = (
    "queue status",
    "queue logs q",
    "queue logs x",
    "exp show --no-pager",
    "exp show --json",
    "exp list",
    "queue start",
    "exp run --run-all",
    "queue kill q --force",
    "queue retry --failed",
    "exp remove --queue",
    "queue remove --all",
    "gc --workspace --force",
    "doctor",
    "doctor --repair",
)


@pytest.mark.parametrize("what", RECORDS)
@pytest.mark.parametrize("state", ["queued", "failed", "arrived"])
def test_a_record_of_a_queue(stranger: Stranger, what: str, state: str) -> None:
    (stranger.base / "outside/x.log").write_text("OWNED by the log of somebody else")
    record = tamper(stranger, state if state != "arrived" else "queued", **RECORDS[what])
    if state == "arrived":
        sweep = record.parents[1] / "arrived/sweep"
        sweep.mkdir(parents=True)
        record.rename(sweep / record.name)
    before = stranger.around()
    for command in QUEUE_COMMANDS:
        if command == "queue start":
            continue  # leaves a process of its own; what it does is what --run-all does
        stranger.run(*command.split())
        assert stranger.around() == before, command


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("locked", [False, True])
def test_a_task_that_somebody_elses_process_is_said_to_run(
    stranger: Stranger, bystander: subprocess.Popen[bytes], locked: bool
) -> None:
    """``queue kill --force`` kills who holds the mark's lock, not whom the record names."""
    mark = stranger.scratch / "queue/workers/w"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_bytes(msgpack.packb({"host": "elsewhere", "boot": "", "pid": bystander.pid, "since": time.time()}))
    owner = {"host": "elsewhere", "boot": "", "pid": bystander.pid, "since": time.time()}
    tamper(stranger, "running", "@w", owner=owner, started=time.time())
    queue = Queue(stranger.space.project())
    ((state, task),) = queue.tasks()
    assert state == "running"
    if locked:
        with queue.worker("w"):
            assert queue.pid_of(task) == os.getpid()
        return
    assert queue.pid_of(task) is None
    # A worker on another machine cannot be killed from here: it is asked to stop, and after a while believed dead.
    os.utime(mark, (0, 0))
    stranger.run("queue", "kill", "q", "--force")
    assert bystander.poll() is None


def test_passed_variables_are_not_readable_to_others(stranger: Stranger) -> None:
    stranger.run("config", "exp.pass_env", "A_TOKEN")
    stranger.run("exp", "run", "--queue", "-n", "q", env={"A_TOKEN": "s3cretW0rd"}, umask=0)
    (record,) = (stranger.scratch / "queue/queued").iterdir()
    assert b"s3cretW0rd" in record.read_bytes() and record.stat().st_mode & 0o077 == 0


def test_a_table_of_values_that_play_with_the_terminal(space: Space) -> None:
    """Keys are heads of columns: in markdown they end no cell, and CSV, which is kept as it is for files, is inert here."""
    space.put("params.yaml", 'lr: "\\e]0;owned\\a\\u202etxt"\n"a|b": 1\n')
    space.put("dvc.yaml", "params:\n- params.yaml\n")
    space.commit("odd")
    head, rule, *rows = space.cli("exp", "show", "--md").stdout.splitlines()
    assert "a\\|b" in head
    cells = [len(line.replace("\\|", "").strip("|").split("|")) for line in (head, rule, *filter(None, rows))]
    assert len(set(cells)) == 1, cells
    assert "\x1b]0;owned\x07\u202etxt" in space.cli("exp", "show", "--csv").stdout
    code, seen = on_a_terminal(space, ["exp", "show", "--csv"], ())
    assert code == 0 and "owned" in seen
    assert not {"\x1b", "\x07", "\u202e"} & set(seen), seen


# A record of each cache, in which one thing is replaced by something of another kind.
ODD = (None, 7, "text", b"bytes", [], {"a": 1}, [None, None], msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 1))
ROW: dict[str, Any] = {
    "rev": "",
    "timestamp": 1,
    "params": {},
    "metrics": {},
    "deps": {"raw.txt": {"hash": "0", "size": 1, "nfiles": None}},
    "outs": {},
    "errors": {},
    "dep_params": {},
    "metric_files": [],
    "error": None,
}


def _checked(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "little") + body


def _odd_caches(stranger: Stranger) -> Iterator[tuple[str, bytes]]:
    """Names of files in the scratch directory, and bytes with a sound checksum that are no such thing."""
    with repo.discover(stranger.root) as found:
        head = found.resolve("HEAD")
    folder = f"{stranger.algo}:{stranger.root}"
    for odd in ODD:
        for packed in ({folder: odd}, {folder: (1, odd)}, {folder: (odd, b"\x80")}, odd):
            yield "statcache", _checked(msgpack.packb([1, packed]))
        for rows in ({"raw.txt": odd}, odd):
            yield "statcache", _checked(msgpack.packb([1, {folder: (1, msgpack.packb(rows))}]))
        for known in ({"dvc.yaml": odd}, {"dvc.yaml": (odd, b"")}, {"dvc.yaml": (b"", odd)}, odd):
            yield "documents", _checked(msgpack.packb([1, known]))
        for key in ROW:
            packed_row = msgpack.packb({**ROW, "rev": head, key: odd})
            yield "rows", msgpack.packb((ROWS_VERSION, zlib.crc32(packed_row), packed_row))
        for deps in ({"raw.txt": odd}, {"raw.txt": {"hash": odd}}):
            packed_row = msgpack.packb({**ROW, "rev": head, "deps": deps})
            yield "rows", msgpack.packb((ROWS_VERSION, zlib.crc32(packed_row), packed_row))
    # A head that promises more than there is, and more in each other than anybody means.
    yield "rows", b"\xdd\x00\x98\x96\x80"
    yield "statcache", _checked(b"\x92\x01\xdf\xff\xff\xff\xff")
    for name in ("statcache", "documents"):
        yield name, _checked(b"\x91" * 100_000 + b"\xc0")


def test_caches_of_a_stranger_that_are_none(stranger: Stranger) -> None:
    assert stranger.run("repro").code == 0
    stranger.scratch.mkdir(parents=True, exist_ok=True)
    commands = itertools.cycle(
        ("status", "exp show --no-pager", "data status", "exp show --json", "repro", "exp show --csv", "diff")
    )
    for name, raw in _odd_caches(stranger):
        for command in itertools.islice(commands, 3 if os.environ.get("PYEXP_TEST_LONG") else 1):
            (stranger.scratch / name).write_bytes(raw)
            stranger.run(*command.split())


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_a_log_that_is_none(stranger: Stranger, kind: str) -> None:
    """A worker that cannot write it says so, without the traceback of a process that died."""
    assert stranger.run("exp", "run", "--queue", "-n", "q", "-S", "lr=0.9").code == 0
    (task,) = (stranger.scratch / "queue/queued").iterdir()
    log = stranger.scratch / "logs" / f"{task.name.partition('-')[2]}.log"
    log.parent.mkdir(exist_ok=True)
    make = {"fifo": os.mkfifo, "directory": os.mkdir, "link": lambda path: path.symlink_to(stranger.base / "outside/x")}
    make[kind](log)
    before = stranger.around()
    ran = stranger.run("exp", "run", "--run-all")
    assert "a worker cannot go on" in ran.err and "its task is queued again" in ran.err
    assert stranger.around() == before


def test_a_task_that_nobody_ends_is_not_said_to_be_killed(stranger: Stranger) -> None:
    """Its worker's mark is a fifo: nobody can tell whether that one lives, and it hears no order."""
    assert stranger.run("exp", "run", "--queue", "-n", "q", "-S", "lr=0.9").code == 0
    queue = stranger.scratch / "queue"
    (task,) = (queue / "queued").iterdir()
    for name in ("running", "workers"):
        (queue / name).mkdir(exist_ok=True)
    task.rename(queue / "running" / f"{task.name}@1-0123456789ab")
    os.mkfifo(queue / "workers/1-0123456789ab")
    project = stranger.space.project()
    with pytest.raises(ExperimentError, match="still runs"):
        detached.kill(project, ["q"], wait_seconds=0.2)
    project.close()
