"""The queue under real processes that are killed for real: every task ends once or is queued again."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import pyexp
from pyexp import mutex
from pyexp.experiments import detached, executors
from pyexp.experiments.taskqueue import Queue

ONE = """\
stages:
  one:
    cmd: {cmd}
    params:
    - n
    outs:
    - out.txt
"""
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def states(space) -> dict[str, str]:
    return {task.name: state for state, task in Queue(space.project()).tasks()}


def processes_with(text: str) -> list[int]:
    """Living processes whose command line or environment holds ``text``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if text.encode() in known and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


MARK = f"PYEXP_TEST_{os.getpid()}"


@pytest.fixture
def one(make):
    """A project of one stage that is as fast as can be."""

    def made(cmd: str = "cat params.yaml > out.txt", **files: str):
        return make(ONE.format(cmd=cmd.replace("MARK_OF_TEST=ID", f"{MARK}=1")), **{"params.yaml": "n: 0\n", **files})

    return made


def queue_many(space, count: int) -> list[str]:
    project = space.project()
    tasks = pyexp.run(project, queue=True, params=[f"n=range(1,{count + 1})"], name="t")
    project.close()
    return [task.name for task in tasks]


def test_a_failed_task_keeps_what_is_known_of_it_and_the_others_run(one) -> None:
    script = "echo before\nif grep -q 'n: 2' params.yaml; then echo no >&2; exit 7; fi\ncat params.yaml > out.txt\n"
    space = one("sh run.sh", **{"run.sh": script})
    queue_many(space, 3)
    done = space.cli("exp", "run", "--run-all", "-j", "2")
    assert done.returncode == 1 and "t-2" in done.stderr and "queue logs t-2" in done.stderr
    assert states(space) == {"t-1": "done", "t-2": "failed", "t-3": "done"}
    _, task = Queue(space.project()).find("t-2")
    assert (task.phase, task.status) == ("stage", 7)
    log = space.cli("queue", "logs", "t-2").stdout
    assert "before\nno\n" in log and "exited with 7" in log
    assert set(space.experiments()) == {"t-1", "t-3"}


def test_retry_runs_a_failed_task_again(one) -> None:
    space = one("test -e MARK && cat params.yaml > out.txt".replace("MARK", "$HOME/go"))
    queue_many(space, 1)
    assert pyexp.run_all(space.project()).failed == ["t"]
    Path(os.environ["HOME"], "go").touch()
    assert "Queued again: t" in space.cli("queue", "retry", "--failed").stdout
    assert pyexp.run_all(space.project()).done == ["t"]
    Path(os.environ["HOME"], "go").unlink()


def test_retries_and_timeout(one) -> None:
    space = one("echo x >> $HOME/count; sleep 60; touch out.txt")
    done = space.cli("exp", "run", "--queue", "-n", "slow", "--timeout", "0.3", "--retries", "2")
    assert done.returncode == 0, done.stderr
    assert pyexp.run_all(space.project()).failed == ["slow"]
    count = Path(os.environ["HOME"], "count")
    assert count.read_text() == "x\n" * 3
    count.unlink()
    assert "took longer than 0.3 seconds" in (Queue(space.project()).find("slow")[1].error or "")


@linux
def test_detached_workers_check_in_run_and_go_home(one) -> None:
    space = one("sleep 0.2; cat params.yaml > out.txt")
    names = queue_many(space, 4)
    done = space.cli("queue", "start", "-j", "2")
    assert done.stdout == "Started '2' new experiments task queue workers.\n", done.stderr
    assert len(Queue(space.project()).workers()) == 2
    wait_for(lambda: set(states(space).values()) == {"done"})
    assert set(space.experiments()) == set(names)
    space.cli("queue", "stop")
    wait_for(lambda: not Queue(space.project()).workers())


@linux
def test_kill_ends_a_running_task_and_its_processes(one) -> None:
    space = one("echo begun; MARK_OF_TEST=ID sleep 300; touch out.txt")
    queue_many(space, 1)
    space.cli("queue", "start")
    wait_for(lambda: "begun" in space.cli("queue", "logs", "t").stdout)
    done = space.cli("queue", "kill", "t")
    assert done.stdout == "t has been killed.\n"
    assert states(space) == {"t": "failed"}
    assert processes_with(f"{MARK}=1") == []
    assert "is not running" in space.cli("queue", "kill", "t").stderr
    space.cli("queue", "stop")


@linux
def test_force_kill_takes_worker_and_stage_at_once(one) -> None:
    space = one("echo begun; trap '' INT TERM; MARK_OF_TEST=ID sleep 300; touch out.txt")
    queue_many(space, 1)
    space.cli("queue", "start")
    wait_for(lambda: "begun" in space.cli("queue", "logs", "t").stdout)
    assert space.cli("queue", "kill", "-f", "t").returncode == 0
    assert states(space) == {"t": "failed"}
    assert processes_with(f"{MARK}=1") == []


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_gives_its_task_back(one, number: int) -> None:
    space = one("echo begun; MARK_OF_TEST=ID sleep 300; touch out.txt")
    queue_many(space, 1)
    (worker,) = detached.start(space.project())
    wait_for(lambda: "begun" in space.cli("queue", "logs", "t").stdout)
    os.kill(worker.pid, number)
    wait_for(lambda: states(space) == {"t": "queued"})
    assert processes_with(f"{MARK}=1") == []


def test_a_task_that_always_kills_its_worker_fails_in_the_end(one) -> None:
    space = one("kill -9 $PPID; sleep 5")
    queue_many(space, 1)
    summary = pyexp.run_all(space.project())
    assert states(space) == {"t": "failed"}
    assert summary.done == []
    assert "worker died" in (Queue(space.project()).find("t")[1].error or "")


@linux
def test_ctrl_c_once_is_polite_and_the_tasks_are_queued_again(one) -> None:
    space = one("echo begun; trap 'echo bye; exit 1' INT; MARK_OF_TEST=ID sleep 300 & wait; touch out.txt")
    queue_many(space, 2)
    pool = subprocess.Popen(
        [sys.executable, "-m", "pyexp", "exp", "run", "--run-all", "-j", "2"], cwd=space.root, start_new_session=True
    )
    wait_for(
        lambda: (
            "begun" in space.cli("queue", "logs", "t-1").stdout and "begun" in space.cli("queue", "logs", "t-2").stdout
        )
    )
    os.killpg(pool.pid, signal.SIGINT)
    assert pool.wait(60) == 130
    assert states(space) == {"t-1": "queued", "t-2": "queued"}
    assert processes_with(f"{MARK}=1") == []
    assert "bye" in space.cli("queue", "logs", "t-1").stdout


@linux
def test_a_pool_that_is_killed_takes_its_workers_along(one) -> None:
    space = one("echo begun; MARK_OF_TEST=ID sleep 300; touch out.txt")
    queue_many(space, 2)
    pool = subprocess.Popen([sys.executable, "-m", "pyexp", "exp", "run", "--run-all", "-j", "2"], cwd=space.root)
    wait_for(lambda: sum("begun" in space.cli("queue", "logs", name).stdout for name in ("t-1", "t-2")) == 2)
    pool.kill()
    pool.wait()
    wait_for(lambda: states(space) == {"t-1": "queued", "t-2": "queued"})
    wait_for(lambda: processes_with(f"{MARK}=1") == [])


def test_two_live_runs_never_share_a_slot(one) -> None:
    space = one(
        "python3 run.py",
        **{
            "run.py": textwrap.dedent(
                """
                import os, time
                path = os.path.join(os.environ["HOME"], "gpu" + os.environ["GPU"])
                fd = os.open(path, os.O_CREAT | os.O_EXCL)
                time.sleep(0.15)
                os.unlink(path)
                open("out.txt", "w").write(os.environ["GPU"])
                """
            )
        },
    )
    queue_many(space, 8)
    done = space.cli("exp", "run", "--run-all", "-j", "4", "--slots", "GPU=0,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(states(space).values()) == {"done"}


def test_readers_and_a_script_without_an_import_guard(one) -> None:
    space = one()
    queue_many(space, 3)
    space.put(
        "embed.py",
        "import pyexp\nprint('begun')\nprint(sorted(pyexp.run_all(pyexp.find('.'), jobs=2).done))\n",
    )
    done = subprocess.run([sys.executable, "embed.py"], cwd=space.root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "begun\n['t-1', 't-2', 't-3']\n", done.stderr


def test_a_notebook_like_main(one) -> None:
    space = one()
    queue_many(space, 2)
    program = "import pyexp\nprint(sorted(pyexp.run_all(pyexp.find('.'), jobs=2).done))\n"
    done = subprocess.run(
        [sys.executable, "-"], input=program, cwd=space.root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "['t-1', 't-2']\n", done.stderr


def test_readers_wait_for_nobody(one) -> None:
    space = one()
    queue_many(space, 1)
    project = space.project()
    pyexp.run(project, name="here", sink=lambda data: None)
    names = ("workspace.lock", "queue.lock", "rows.lock")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mutex.locked(project.scratch / name))
        stack.enter_context(mutex.locked(project.control / project.kind.lock))
        stack.enter_context(mutex.locked(space.root / ".git/pyexp/refs.lock"))
        for command in (["exp", "show"], ["exp", "list"], ["status"], ["queue", "status"], ["exp", "diff"]):
            began = time.monotonic()
            done = space.cli(*command)
            assert done.returncode == 0, done.stderr
            assert time.monotonic() - began < 20, f"{command} waited"


def test_after_a_reboot_a_running_task_is_queued_again(one) -> None:
    import msgpack

    space = one()
    queue_many(space, 1)
    queue = Queue(space.project())
    (name,) = os.listdir(queue.directory / "queued")
    # What a machine that lost power leaves: the claim and the mark, and nobody who holds its lock.
    for directory in ("running", "workers"):
        (queue.directory / directory).mkdir(exist_ok=True)
    (queue.directory / "queued" / name).rename(queue.directory / "running" / f"{name}@gone")
    owner = {"host": socket.gethostname(), "boot": "another boot", "pid": os.getpid(), "since": 0.0}
    (queue.directory / "workers" / "gone").write_bytes(msgpack.packb(owner))
    assert states(space) == {"t": "queued"}
    assert pyexp.run_all(space.project()).done == ["t"]


def test_a_worker_of_another_machine_is_believed_as_long_as_its_lease(one) -> None:
    import msgpack

    from pyexp.experiments import taskqueue

    space = one()
    queue_many(space, 1)
    queue = Queue(space.project())
    (name,) = os.listdir(queue.directory / "queued")
    for directory in ("running", "workers"):
        (queue.directory / directory).mkdir(exist_ok=True)
    (queue.directory / "queued" / name).rename(queue.directory / "running" / f"{name}@far")
    mark = queue.directory / "workers" / "far"
    mark.write_bytes(msgpack.packb({"host": "elsewhere", "boot": "x", "pid": 1, "since": 0.0}))
    assert states(space) == {"t": "running"}
    past = time.time() - taskqueue.LEASE_SECONDS - 10
    os.utime(mark, (past, past))
    assert states(space) == {"t": "queued"}


def test_environment_and_copied_files_of_the_configuration(one) -> None:
    space = one(
        "cat secret.txt > out.txt; printenv COLOUR >> out.txt",
        **{
            ".gitignore": "secret.txt\n",
            ".pyexp/config": "[exp]\n    copy_paths = secret.txt\n    pass_env = COLOUR\n",
        },
    )
    space.put("secret.txt", "hush\n")
    assert space.cli("exp", "run", "--queue", "-n", "q", env={"COLOUR": "blue"}).returncode == 0
    assert pyexp.run_all(space.project()).done == ["q"]
    pyexp.apply(space.project(), "q")
    assert space.read("out.txt") == "hush\nblue\n"
    assert space.file_at(space.experiments()["q"], "secret.txt") is None


def test_a_failed_run_keeps_what_it_had_measured(make) -> None:
    space = make(
        "stages:\n  one:\n    cmd:\n    - cp params.yaml scores.yaml\n    - exit 3\n    params: [n]\n    metrics:\n"
        "    - scores.yaml:\n        cache: false\n",
        **{"params.yaml": "n: 0\n", "scores.yaml": "n: 99\n"},
    )
    queue_many(space, 1)
    assert pyexp.run_all(space.project()).failed == ["t"]
    assert Queue(space.project()).find("t")[1].metrics == {"scores.yaml": {"n": 1}}
    shown = space.json("exp", "show", "--json")
    (failed,) = shown[1]["experiments"]
    assert failed["executor"]["state"] == "failed"
    assert failed["revs"][0]["data"]["metrics"] == {"scores.yaml": {"data": {"n": 1}}}


def test_the_pool_runs_from_a_thread(one) -> None:
    space = one()
    queue_many(space, 2)
    found: list[executors.Summary] = []
    thread = threading.Thread(target=lambda: found.append(pyexp.run_all(space.project(), jobs=2)))
    thread.start()
    thread.join(120)
    assert sorted(found[0].done) == ["t-1", "t-2"]


def test_two_pools_share_the_queue(one) -> None:
    space = one("sleep 0.05; cat params.yaml > out.txt")
    names = queue_many(space, 8)
    pools = [
        subprocess.Popen([sys.executable, "-m", "pyexp", "-q", "exp", "run", "--run-all", "-j", "2"], cwd=space.root)
        for _ in range(2)
    ]
    assert [pool.wait(120) for pool in pools] == [0, 0]
    assert set(space.experiments()) == set(names)
    assert set(states(space).values()) == {"done"}


@linux
@pytest.mark.slow
def test_a_hundred_tasks_while_workers_die_and_others_look(one) -> None:
    space = one("sleep 0.1; cat params.yaml > out.txt")
    names = queue_many(space, 100)
    over = threading.Event()
    problems: list[str] = []

    def look() -> None:
        while not over.is_set():
            done = space.cli("exp", "show", "--json")
            if done.returncode != 0:
                problems.append(done.stderr)
            time.sleep(0.3)

    def pack() -> None:
        from pyexp.git import refs, repo

        while not over.is_set():
            with repo.discover(space.root) as found:
                refs.pack(found)
            time.sleep(0.5)

    others = [threading.Thread(target=target) for target in (look, look, look, look, pack)]
    for thread in others:
        thread.start()
    chance = random.Random(7)
    said = space.root.parent / "said"
    with said.open("w") as output:
        pool = subprocess.Popen(
            [sys.executable, "-m", "pyexp", "exp", "run", "--run-all", "-j", "8"],
            cwd=space.root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    killed = 0
    while pool.poll() is None:
        time.sleep(1.0)
        workers = Queue(space.project()).workers()
        if workers and killed < 15:
            victim = int(chance.choice(workers).partition("-")[0])
            try:
                os.kill(victim, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
    over.set()
    for thread in others:
        thread.join()
    assert killed >= 3, "nothing was killed: the test shows nothing"
    assert problems == []
    found = states(space)
    assert len(found) == 100 and set(found.values()) <= {"done"}, (found, said.read_text()[-3000:])
    assert set(space.experiments()) == set(names)
    for name, sha in space.experiments().items():
        assert space.file_at(sha, "params.yaml") == f"n: {name.partition('-')[2]}\n"
