"""Where nothing may be written, nobody is known by name, there is no room, or nobody listens."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from functional.conftest import Space
from functional.stranger import Stranger
from torture.forks import Ran

READERS = (
    "status",
    "exp show --no-pager",
    "exp list",
    "diff",
    "params diff",
    "metrics show",
    "queue status",
    "dag",
    "data status --granular",
    "list . -R",
    "exp diff one",
    "git status",
    "git log",
    "git diff",
    "doctor",
    "stage list",
    "remote list",
    "root",
    "version",
    "repro --dry",
    "status --cloud",
)
WRITERS = (
    "repro --force",
    "exp run -S lr=0.3",
    "exp run --temp -S lr=0.4",
    "exp run --queue -S lr=0.5",
    "checkout --force",
    "add raw2.txt",
    "push",
    "pull",
    "fetch",
    "exp apply one --force",
    "exp remove one",
    "exp save --force",
    "gc --workspace --force",
    "commit --force",
    "config core.remote there",
    "git commit -a -m x",
    "exp undo",
)
needs_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can do that")
NOBODY = 54321


@pytest.fixture
def full(stranger: Stranger) -> Stranger:
    """Two experiments, a task, tracked data, a remote; nothing is changed but one file."""
    stranger.space.put("data/a.txt", "a\n")
    for words in (
        ["remote", "add", "-d", "there", str(stranger.base / "remote")],
        ["add", "data"],
        ["repro"],
        ["git", "add", "."],
        ["git", "commit", "-m", "data"],
        ["exp", "run", "-n", "one", "-S", "lr=0.6"],
        ["exp", "run", "--queue", "-n", "later", "-S", "lr=0.7"],
        ["push"],
        ["status"],
    ):
        assert stranger.run(*words).code == 0, words
    stranger.space.put("raw2.txt", "raw\n")
    return stranger


def as_somebody(stranger: Stranger, *args: str, env: dict[str, str] | None = None) -> Ran:
    """Runs a command as a user that nobody knows; it may read what the test's own user may, to find Python at all."""
    who = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
    may = [
        "--inh-caps",
        "-all,+dac_read_search",
        "--ambient-caps",
        "-all,+dac_read_search",
        "--bounding-set",
        "-all,+dac_read_search",
    ]
    done = subprocess.run(
        ["setpriv", *who, *may, sys.executable, "-m", "pyexp", *args],
        cwd=stranger.root,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr and done.returncode in (0, 1), done.stderr
    return Ran(done.returncode, done.stdout, done.stderr, (), 0, False, 0.0)


def read_all(run: Callable[..., Ran], **how: object) -> dict[str, str]:
    said = {}
    for command in READERS:
        ran = run(*command.split(), **how)
        assert ran.code == 0 or "problem(s) found" in ran.err, (command, ran.err)
        said[command] = ran.out
    said.pop("version"), said.pop("doctor")
    return said


def mounted(what: list[str], where: Path) -> None:
    done = subprocess.run(["mount", *what, str(where)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount(where: Path) -> None:
    subprocess.run(["umount", str(where)], check=True)


# -- what may only be read -------------------------------------------------------------------------------------------


@needs_root
def test_a_project_on_a_read_only_file_system(full: Stranger) -> None:
    expected = read_all(full.run)
    before = snapshot(full.base)
    mounted(["--bind", str(full.base)], full.base)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(full.base)], check=True)
        assert read_all(full.run) == expected
        for command in WRITERS:
            ran = full.run(*command.split())
            assert ran.code == 0 or "ead-only" in ran.err or command == "exp undo", (command, ran.err)
    finally:
        unmount(full.base)
    assert snapshot(full.base) == before


@needs_root
def test_a_project_of_somebody_else_that_may_only_be_read(full: Stranger) -> None:
    """The same by permissions, for a user without a name, a home or a right to anything."""
    expected = read_all(full.run)
    for path in [full.base, *full.base.parents][:4]:
        path.chmod(path.stat().st_mode | 0o055)
    before = snapshot(full.base)
    env = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "", "USER": "", "LOGNAME": ""}
    assert read_all(partial(as_somebody, full), env=env) == expected
    for command in WRITERS:
        ran = as_somebody(full, *command.split(), env=env)
        assert ran.code == 0 or "ermission denied" in ran.err or command == "exp undo", (command, ran.err)
    assert snapshot(full.base) == before


def snapshot(top: Path) -> dict[str, object]:
    """Everything below a directory, access times and the test's own files aside."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found[str(path)] = status.st_mode, status.st_uid, data
    return found


# -- who and where ---------------------------------------------------------------------------------------------------


@needs_root
def test_a_user_without_a_name_works(full: Stranger) -> None:
    """As in a container with --user: a number that no passwd knows, no HOME."""
    for path in [full.base, *full.base.parents][:4]:
        path.chmod(path.stat().st_mode | 0o055)
    for path in [full.base, *full.base.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    for env in (
        {"HOME": "/nonexistent"},
        {"HOME": ""},
        {"HOME": "/root"},
        {"GIT_AUTHOR_NAME": "", "GIT_AUTHOR_EMAIL": ""},
    ):
        for command in (
            "exp run -S lr=0.3",
            "exp run --temp -S lr=0.4",
            "exp run --queue -S lr=0.5",
            "push",
            "add raw2.txt",
        ):
            ran = as_somebody(full, *command.split(), env=env)
            assert ran.code == 0, (env, command, ran.err)
    owners = {path.lstat().st_uid for path in full.root.rglob("*")}
    assert owners == {NOBODY}


@needs_root
def test_root_leaves_the_files_of_the_owner_to_the_owner(full: Stranger) -> None:
    """``sudo pyexp …`` in somebody's project: afterwards the owner can go on."""
    for path in [full.base, *full.base.parents][:4]:
        path.chmod(path.stat().st_mode | 0o055)
    for path in [full.base, *full.base.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    for command in (
        "exp run -S lr=0.3",
        "exp run --temp -S lr=0.4",
        "exp run --queue -S lr=0.5",
        "push",
        "add raw2.txt",
    ):
        ran = full.run(*command.split())
        assert ran.code == 0, (command, ran.err)
    for command in (
        "exp run -S lr=0.35",
        "exp run --temp -S lr=0.45",
        "exp run --queue -S lr=0.55",
        "push",
        "add raw2.txt",
    ):
        ran = as_somebody(full, *command.split())
        assert ran.code == 0, (command, ran.err)


@pytest.mark.parametrize("umask", [0o077, 0o000, 0o027])
def test_an_umask_is_kept_to(full: Stranger, umask: int) -> None:
    """Nothing is more open than the user's umask lets it be; objects are never writable."""
    before = set(full.root.rglob("*"))
    for command in ("add raw2.txt", "exp run -S lr=0.3", "exp run --temp -S lr=0.4", "exp run --queue -S lr=0.5"):
        ran = full.run(*command.split(), umask=umask)
        assert ran.code == 0, (command, ran.err)
    for path in sorted(set(full.root.rglob("*")) - before):
        mode = path.lstat().st_mode
        if "cache/files" in str(path) and path.is_file():
            assert stat.S_IMODE(mode) == 0o444  # the directories it is in are as private as the umask says
        elif not stat.S_ISLNK(mode):
            assert not mode & umask, (path, oct(mode))


def test_a_directory_that_is_gone(full: Stranger) -> None:
    """The shell stands in a directory that somebody has deleted."""
    gone = full.base / "gone"
    gone.mkdir()
    for command in ("status", "--version", "exp list", "--help"):
        done = subprocess.run(
            ["sh", "-c", f"cd {gone} && rmdir {gone} && exec {sys.executable} -m pyexp {command}"],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            cwd=full.root,
            timeout=60,
        )
        gone.mkdir(exist_ok=True)
        assert "Traceback" not in done.stderr and done.returncode in (0, 1), done.stderr
        assert done.returncode == 0 or done.stderr.count("ERROR") == 1, done.stderr


@needs_root
def test_the_first_process_of_a_container(space: Space) -> None:
    """Process 1 has nobody above it, and its numbers mean nothing outside."""
    line = " && ".join(f"{sys.executable} -m pyexp {words}" for words in ("exp run", "exp run --queue -S lr=0.9"))
    done = subprocess.run(
        [
            "unshare",
            "-pf",
            "--mount-proc",
            "sh",
            "-c",
            f"{line} && exec {sys.executable} -m pyexp exp run --run-all -j 2",
        ],
        cwd=space.root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(space.experiments()) == 2
    assert space.cli("exp", "show", "--no-pager").returncode == 0


@pytest.mark.parametrize("command", ["exp show --no-pager", "exp list", "status", "list . -R", "--help", "exp run"])
def test_nobody_listens(full: Stranger, command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{{ {sys.executable} -m pyexp {command}; echo $? >code; }} | :"],
        cwd=full.root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    assert full.space.read("code").strip() in ("0", "141")


def test_names_and_a_locale_that_do_not_fit(full: Stranger) -> None:
    odd = os.path.join(os.fsencode(full.root), b"data", b"caf\xe9.txt")
    with open(odd, "wb") as file:
        file.write(b"coffee\n")
    full.space.put("data/h\u00e9.txt", "data\n")
    for env in (
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"TERM": ""},
    ):
        for command in (
            "status",
            "add data",
            "diff",
            "data status --granular",
            "list . -R",
            "exp show --no-pager",
            "push",
        ):
            done = full.space.cli(*command.split(), env=env)
            assert "Traceback" not in done.stderr, (env, command, done.stderr)
            # DVC's manifests are JSON, and hold no names that are no text.
            assert done.returncode == 0 or "caf" in done.stderr or "data" in done.stderr, (env, command, done.stderr)


# -- no room ---------------------------------------------------------------------------------------------------------

ROOM = "16m"


def small(base: Path, space: Space) -> None:
    """The project moves to a file system of its own that is nearly full."""
    kept = base / "kept"
    shutil.move(space.root, kept)
    space.root.mkdir()
    mounted(["-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs"], space.root)
    shutil.copytree(kept, space.root, symlinks=True, dirs_exist_ok=True)


def filled(path: Path, leave: int) -> None:
    """Takes all the room there is but for ``leave`` bytes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, b"\0" * 4096):
            pass
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(fd)
    size = path.stat().st_size
    os.truncate(path, max(0, size - leave))


@needs_root
@pytest.mark.parametrize("leave", [0, 12_000, 60_000])
def test_a_full_disk(full: Stranger, leave: int) -> None:
    for number in range(8):
        full.space.put(f"more/{number}.bin", f"{number}" * 40_000)
    small(full.base, full.space)
    try:
        ballast = full.root / "ballast"
        full.space.put(".git/info/exclude", "ballast\n")
        users = {name: (full.root / name).read_bytes() for name in ("raw.txt", "train.py", "dvc.yaml", "raw2.txt")}
        head = (full.root / ".git/HEAD").read_bytes()
        for command in (*WRITERS, "add more"):
            filled(ballast, leave)
            ran = full.run(*command.split())
            assert ran.code == 0 or "No space left" in ran.err or "unknown" in ran.err or "othing" in ran.err, (
                command,
                ran.err,
            )
            ballast.unlink()
            for name, data in users.items():
                assert (full.root / name).read_bytes() == data, (command, name)
            assert (full.root / ".git/HEAD").read_bytes() == head
            again = full.run(*command.split())
            done_already = again.code == 1 and command.startswith(("exp remove", "exp undo", "git commit"))
            assert again.code == 0 or done_already, (command, again.err)
        assert full.run("doctor", "--full").code == 0
        assert subprocess.run(["git", "fsck", "--strict"], cwd=full.root, capture_output=True).returncode == 0
    finally:
        unmount(full.root)


@pytest.mark.parametrize("when", [-(1 << 31) - 1, 1 << 32, 1 << 33, (1 << 34) - 1])
def test_files_of_other_times(full: Stranger, when: int) -> None:
    """What an archive says of its files' age: before 1970, after 2106, and after 2262, where 64 bits of ns end."""
    for name in ("raw.txt", "raw2.txt", "params.yaml", "dvc.yaml", "data", "data/a.txt", ".pyexp", ".git/index"):
        if (full.root / name).exists():
            os.utime(full.root / name, (when, when))
    for line in (
        "status",
        "add raw2.txt",
        "repro",
        "git status",
        "git add .",
        "exp run -S lr=0.7",
        "exp show",
        "doctor",
    ):
        ran = full.run(*line.split())
        assert ran.code == 0, (line, ran.err)
