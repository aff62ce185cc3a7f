"""Damaged files of every kind: named in one line, never passed on, and put right by ``doctor --repair`` where that can be."""

import contextlib
import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space

import pyexp
from pyexp.cli.main import main
from pyexp.experiments import doctor, manage, oplog
from pyexp.experiments import run as running
from pyexp.experiments.capture import Request
from pyexp.pipeline.repro import Surroundings

FLIP, CUT, EMPTY, GONE = "flipped", "truncated", "empty", "missing"
READERS = (
    "status",
    "exp show --no-pager",
    "exp list",
    "metrics show",
    "queue status",
    "dag",
    "exp diff one",
    "data status",
    "diff",
    "git status",
    "git log",
    "plots diff HEAD",
)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    mode = path.stat().st_mode
    if how == GONE:
        path.unlink()
        return
    if how == FLIP:
        at = len(data) // 2
        data = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
    path.chmod(0o644)
    path.write_bytes({FLIP: data, CUT: data[: len(data) // 2], EMPTY: b""}[how])
    path.chmod(mode)


def control(space: Space) -> Path:
    return space.root / (".pyexp" if (space.root / ".pyexp").is_dir() else ".dvc")


def scratch(space: Space) -> Path:
    return control(space) / ("tmp" if control(space).name == ".pyexp" else "tmp/pyexp")


def objects_of(space: Space) -> list[Path]:
    """Objects, without manifests."""
    return sorted(p for p in (control(space) / "cache/files").rglob("*") if p.is_file() and not p.name.endswith(".dir"))


def data_object(space: Space) -> Path:
    return next(path for path in objects_of(space) if path.read_bytes() == b"2\n" * 50)


def manifest_of(space: Space) -> Path:
    (found,) = (control(space) / "cache/files").rglob("*.dir")
    return found


def ask(space: Space, *args: str, ok: bool | None = None) -> str:
    """Runs a command in this process; whatever it says, it is no bug, and at most one line of error."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["--cd", str(space.root), *args])
    signal.signal(signal.SIGTERM, before)
    said = err.getvalue()
    assert code in (0, 1), f"{args}: {code} {said}"
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    assert len(errors) == (0 if code == 0 else 1), f"{args}: {said}"
    if ok is not None:
        assert (code == 0) == ok, f"{args}: {code} {out.getvalue()} {said}"
    return out.getvalue() + said


def check(space: Space, expected: str) -> None:
    assert expected in ask(space, "doctor", ok=False)


def repaired(space: Space) -> None:
    ask(space, "doctor", "--repair", "--full", ok=True)
    assert "Everything is as it should be." in ask(space, "doctor", ok=True)


@pytest.fixture
def busy(space: Space) -> Space:
    """A project with tracked directories and files, two experiments, a queued task, a remote that has the data."""
    for number in range(4):
        space.put(f"data/{number}.txt", f"{number}\n" * 50)
    remote = space.root.parent / "remote"
    assert space.cli("remote", "add", "-d", "there", str(remote)).returncode == 0
    assert space.cli("add", "data").returncode == 0
    space.commit("data")
    for name, lr in (("one", "0.1"), ("two", "0.2")):
        running.run(
            space.project(),
            Request((f"lr={lr}",), name=name),
            Surroundings(sink=lambda stage, data: None, stdin_null=True),
        )
    assert space.cli("push").returncode == 0
    running.enqueue(space.project(), Request(("lr=0.3",), name="later"))
    assert space.cli("exp", "show", "--json").returncode == 0
    assert space.cli("status").returncode == 0
    ask(space, "doctor", ok=True)
    return space


# -- objects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY, GONE])
def test_a_damaged_object_is_not_passed_on(busy: Space, how: str) -> None:
    bad = data_object(busy)
    remote = next(p for p in (busy.root.parent / "remote").rglob(bad.name))
    damage(bad, how)
    if how != GONE:
        check(busy, "does not hold the bytes its name says")
        assert bad.exists(), "doctor without --repair has changed something"
    # Neither the workspace nor a remote gets it.
    shutil.rmtree(busy.root / "data")
    ask(busy, "checkout", "data.dvc", ok=False)
    assert not (busy.root / "data/2.txt").exists() or busy.read("data/2.txt") == "2\n" * 50
    remote.unlink()
    ask(busy, "push", ok=False)
    assert not remote.exists(), "a damaged object was pushed"
    # The good file, added again, puts the object right.
    for number in range(4):
        busy.put(f"data/{number}.txt", f"{number}\n" * 50)
    ask(busy, "add", "data", ok=True)
    assert bad.read_bytes() == b"2\n" * 50
    ask(busy, "push", ok=True)
    assert remote.read_bytes() == b"2\n" * 50
    ask(busy, "doctor", ok=True)


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_adding_good_data_whose_object_is_damaged_keeps_the_good(busy: Space, how: str) -> None:
    bad = data_object(busy)
    damage(bad, how)
    assert busy.read("data/2.txt") == "2\n" * 50, "the file shares its bytes with the object"
    (busy.root / "data/2.txt").touch()
    ask(busy, "add", "data", ok=True)
    assert busy.read("data/2.txt") == "2\n" * 50
    assert bad.read_bytes() == b"2\n" * 50


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_doctor_fetches_a_damaged_object_again(busy: Space, how: str) -> None:
    for bad in (data_object(busy), manifest_of(busy)):
        whole = bad.read_bytes()
        damage(bad, how)
        told = ask(busy, "doctor", "--repair", ok=True)
        assert "fetched again from 'there'" in told
        assert bad.read_bytes() == whole
        assert bad.stat().st_mode & 0o777 == 0o444
    assert len(list((control(busy) / "cache/corrupt").iterdir())) == 2
    ask(busy, "doctor", "--full", ok=True)


def test_what_no_remote_has_is_told_until_it_is_there_again(busy: Space) -> None:
    shutil.rmtree(busy.root.parent / "remote")
    damage(manifest_of(busy), FLIP)
    assert "no remote has it" in ask(busy, "doctor", "--repair", ok=False)
    assert "data.dvc needs it" in ask(busy, "doctor", "--repair", ok=False)
    ask(busy, "gc", "--workspace", "-f", ok=False)
    ask(busy, "add", "data", ok=True)
    ask(busy, "doctor", ok=True)
    ask(busy, "gc", "--workspace", "-f", ok=True)


def test_a_flip_behind_the_stat_caches_back_is_found_by_full(busy: Space) -> None:
    """Bits that rot on the disk change no time."""
    bad = data_object(busy)
    found = bad.stat()
    damage(bad, FLIP)
    os.utime(bad, ns=(found.st_atime_ns, found.st_mtime_ns))
    check(busy, "does not hold the bytes") if bad.stat().st_ctime_ns != found.st_ctime_ns else None
    assert "does not hold the bytes" in ask(busy, "doctor", "--full", ok=False)
    repaired(busy)


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_gc_with_a_manifest_that_cannot_be_read_deletes_nothing(busy: Space, how: str) -> None:
    damage(manifest_of(busy), how)
    before = objects_of(busy)
    for _ in range(2):
        ask(busy, "gc", "--workspace", "-f", ok=False)
    assert objects_of(busy) == before


def test_objects_that_can_be_written_to_are_made_read_only(busy: Space) -> None:
    objects_of(busy)[0].chmod(0o644)
    check(busy, "can be written to")
    repaired(busy)


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_apply_of_an_experiment_whose_object_is_damaged(busy: Space, how: str) -> None:
    bad = next(path for path in objects_of(busy) if path.read_bytes() == b"model 0.1\n")
    damage(bad, how)
    told = ask(busy, "exp", "apply", "one")
    assert "model.txt" in told or bad.name in told
    assert not (busy.root / "model.txt").exists() or busy.read("model.txt") in ("model 0.1\n", "model 0.2\n")
    ask(busy, "doctor", "--repair")


# -- caches, queue, records ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY, GONE])
@pytest.mark.parametrize("name", ["statcache", "rows"])
def test_a_damaged_cache_is_made_anew(busy: Space, name: str, how: str) -> None:
    shown = ask(busy, "exp", "show", "--json", ok=True)
    damage(scratch(busy) / name, how)
    assert ask(busy, "exp", "show", "--json", ok=True) == shown
    for reader in READERS:
        ask(busy, *reader.split(), ok=True)
    ask(busy, "doctor", ok=True)


@pytest.mark.parametrize("how", [FLIP, CUT])
@pytest.mark.parametrize("name", ["statcache", "rows"])
def test_doctor_drops_a_damaged_cache(busy: Space, name: str, how: str) -> None:
    damage(scratch(busy) / name, how)
    check(busy, name)
    repaired(busy)


def test_rows_go_on_after_a_record_that_was_cut_off(busy: Space) -> None:
    """An append that was killed half way must not make every later one useless."""
    damage(scratch(busy) / "rows", CUT)
    for _ in range(3):
        ask(busy, "exp", "show", "--json", ok=True)
    size = (scratch(busy) / "rows").stat().st_size
    ask(busy, "exp", "show", "--json", ok=True)
    assert (scratch(busy) / "rows").stat().st_size == size


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_a_damaged_task_is_named_and_stops_nothing_else(busy: Space, how: str) -> None:
    running.enqueue(busy.project(), Request(("lr=0.4",), name="after"))
    first = sorted((scratch(busy) / "queue/queued").iterdir())[0]
    damage(first, how)
    for reader in READERS:
        told = ask(busy, *reader.split(), ok=True)
        assert reader != "queue status" or first.name in told
    # gc must not guess what it needs.
    assert first.name in ask(busy, "gc", "--workspace", "-f", ok=False)
    check(busy, first.name)
    ask(busy, "exp", "run", "--run-all")
    assert "after" in busy.experiments() and "later" not in busy.experiments()
    ask(busy, "doctor", "--repair", ok=True)
    assert len(list((scratch(busy) / "queue/damaged").iterdir())) == 1


def test_a_task_whose_worker_is_dead_is_put_back(busy: Space) -> None:
    queue = scratch(busy) / "queue"
    (queue / "running").mkdir(exist_ok=True)
    (task,) = (queue / "queued").iterdir()
    task.rename(queue / "running" / f"{task.name}@nobody")
    check(busy, "its worker is dead")
    ask(busy, "doctor", "--repair", ok=True)
    assert [path.name for path in (queue / "queued").iterdir()] == [task.name]


@pytest.mark.parametrize("file", ["dvc.lock", "data.dvc", "dvc.yaml", "params.yaml"])
@pytest.mark.parametrize("how", [CUT, EMPTY, "binary"])
def test_a_damaged_record_is_named(busy: Space, file: str, how: str) -> None:
    path = busy.root / file
    if how == "binary":
        path.write_bytes(b"\x00\xff" + path.read_bytes())
    else:
        damage(path, how)
    for reader in READERS:
        told = ask(busy, *reader.split())
        assert file in told or "ERROR" not in told, reader
    if how == "binary" and file != "params.yaml":
        check(busy, file)


# -- git -------------------------------------------------------------------------------------------------------------


def test_a_ref_that_names_nothing_is_moved_aside(busy: Space) -> None:
    ref = next(p for p in (busy.root / ".git/refs/exps").rglob("one"))
    ref.write_text("1" * 40 + "\n")
    for reader in READERS:
        ask(busy, *reader.split())
    check(busy, "which is not in the repository")
    ask(busy, "doctor", "--repair", ok=True)
    assert set(busy.experiments()) == {"two"}
    lost = (scratch(busy) / "lost+found/refs").read_text()
    assert lost.startswith("1" * 40) and lost.endswith("/one\n")
    ask(busy, "exp", "show", "--no-pager", ok=True)


@pytest.mark.parametrize("text", ["", "garbage\n", "\x00" * 41, "../../etc/passwd"])
def test_a_damaged_ref(busy: Space, text: str) -> None:
    ref = next(p for p in (busy.root / ".git/refs/exps").rglob("one"))
    ref.write_text(text)
    for reader in READERS:
        ask(busy, *reader.split(), ok=reader != "exp diff one")
    check(busy, "/one")
    ask(busy, "doctor", "--repair", ok=True)
    assert set(busy.experiments()) == {"two"}


def test_a_damaged_line_of_packed_refs(busy: Space) -> None:
    from pyexp.git import refs, repo

    with repo.discover(busy.root) as found:
        refs.pack(found, "refs/exps/")
    packed = busy.root / ".git/packed-refs"
    lines = packed.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.endswith("/one\n"))
    lines[at] = "zz" + lines[at][2:]
    packed.write_text("".join(lines))
    for reader in READERS:
        ask(busy, *reader.split(), ok=reader != "exp diff one")
    assert set(busy.experiments()) == {"two"}
    check(busy, f"packed-refs:{at + 1}")


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY, GONE])
@pytest.mark.parametrize("what", ["commit", "tree", "blob"])
def test_a_damaged_git_object(busy: Space, what: str, how: str) -> None:
    from pyexp.git import repo

    with repo.discover(busy.root) as found:
        commit = busy.experiments()["one"]
        tree = found.tree_of(commit)
        sha = {"commit": commit, "tree": tree, "blob": (found.lookup(tree, "params.yaml") or (0, ""))[1]}[what]
    path = busy.root / ".git/objects" / sha[:2] / sha[2:]
    path.chmod(0o644)
    damage(path, how)
    (scratch(busy) / "rows").unlink()
    for reader in READERS:
        told = ask(busy, *reader.split(), ok=True if reader not in ("exp diff one", "exp list") else None)
        assert reader != "exp diff one" or sha[:7] in told or "one" in told, told
    before = {path: path.read_bytes() for path in busy.root.glob("*") if path.is_file()}
    ask(busy, "exp", "apply", "one", ok=False)
    assert before == {path: path.read_bytes() for path in before}
    told = ask(busy, "doctor", "--full", ok=False)
    assert sha[:12] in told
    # The other experiment can be used as ever.
    ask(busy, "exp", "apply", "two", ok=True)
    ask(busy, "exp", "remove", "one", ok=True)


@pytest.mark.parametrize("how", [FLIP, CUT, EMPTY])
def test_a_damaged_index(busy: Space, how: str) -> None:
    damage(busy.root / ".git/index", how)
    for reader in READERS:
        told = ask(busy, *reader.split())
        assert "index" in told or "ERROR" not in told, reader
    assert "index" in ask(busy, "exp", "run", "-S", "lr=0.9", ok=False)
    check(busy, "index")


def test_a_damaged_record_of_undo(busy: Space) -> None:
    pyexp.remove(busy.project(), "one")
    project = busy.project()
    (sha,) = oplog.numbers(project.require_git()).values()
    project.close()
    damage(busy.root / ".git/objects" / sha[:2] / sha[2:], GONE)
    ask(busy, "exp", "undo", "--list", ok=True)
    ask(busy, "exp", "undo", ok=False)
    check(busy, "refs/pyexp/undo/1")
    repaired(busy)


# -- the rest of doctor ----------------------------------------------------------------------------------------------


def test_an_output_that_git_could_see(busy: Space) -> None:
    lines = busy.read(".gitignore").replace("/model.txt\n", "")
    busy.put(".gitignore", lines)
    check(busy, "no .gitignore hides it")
    repaired(busy)
    assert "/model.txt" in busy.read(".gitignore")


def test_leftovers_of_the_dead(busy: Space) -> None:
    (bucket,) = {path.parent for path in objects_of(busy)[:1]}
    for place in (bucket, scratch(busy), busy.root, busy.root / "data"):
        left = place / ".pyexp-tmp-999999999-1-aa"
        left.write_text("half\n")
        os.utime(left, (1, 1))
    sweep = scratch(busy) / "queue/.pyexp-tmp-999999999-2-bb"
    sweep.mkdir(parents=True)
    (sweep / "task").write_text("half\n")
    os.utime(sweep, (1, 1))
    mine = busy.root / f".pyexp-tmp-{os.getpid()}-1-bb"
    mine.write_text("being written\n")
    check(busy, ".pyexp-tmp-999999999")
    repaired(busy)
    assert mine.exists() and not sweep.exists()
    assert len(list((scratch(busy) / "lost+found").iterdir())) == 2, "files of the workspace are moved, not deleted"


def test_a_check_changes_nothing(make: Callable[..., Space]) -> None:
    space = make()
    space.put(".git/refs/exps/aa/" + "b" * 38 + "/bad", "1" * 40 + "\n")
    before = {p: p.read_bytes() for p in space.root.rglob("*") if p.is_file()}
    report = doctor.examine(space.project())
    assert not report.sound
    assert {p: p.read_bytes() for p in space.root.rglob("*") if p.is_file()} == before


def test_doctor_as_json_and_outside_a_project(make: Callable[..., Space]) -> None:
    space = make()
    assert space.json("doctor", "--json") == {"sound": True, "problems": []}
    manage.gc_cache(space.project(), manage.CacheScope(workspace=True))
    outside = Space(space.root.parent)
    assert "Project: none here" in ask(outside, "doctor", ok=True)
    assert outside.cli("doctor", "x").returncode == 2
