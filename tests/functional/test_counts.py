"""Speed is counted, not timed: files looked at and opened, bytes hashed, git objects read, processes started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from functional.conftest import Space

# Runs one command line in an interpreter that counts, and writes what it counted.
COUNTING = """
import builtins, json, os, sys
told, argv = sys.argv[1], sys.argv[2:]
counts = {"opened": [], "listed": [], "started": 0, "stat": 0, "hashed": 0}

def heard(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)):
        counts["opened"].append(os.fsdecode(args[0]))
    elif event in ("os.scandir", "os.listdir") and args[0] is not None:
        counts["listed"].append(str(args[0]))
    elif event in ("subprocess.Popen", "os.posix_spawn", "os.fork"):
        counts["started"] += 1

sys.addaudithook(heard)
for name in ("stat", "lstat"):
    def counted(*args, _real=getattr(os, name), **options):
        counts["stat"] += 1
        return _real(*args, **options)
    setattr(os, name, counted)
from pyexp.objects import hashes
new = hashes._constructor
def constructor(algo):
    made = new(algo)
    class Counting:
        def __init__(self): self.real = made()
        def update(self, data):
            counts["hashed"] += len(data)
            self.real.update(data)
        def hexdigest(self): return self.real.hexdigest()
    return Counting
hashes._constructor = constructor
from pyexp.cli.main import main
code = main(argv)
json.dump([code, counts], open(told, "w"))
"""


@dataclass(frozen=True)
class Counts:
    """What one command did."""

    opened: list[str]
    listed: list[str]
    started: int
    stat: int
    hashed: int

    def opened_below(self, directory: Path) -> list[str]:
        return [path for path in self.opened if path.startswith(f"{directory}/")]


def counted(space: Space, *argv: str) -> Counts:
    told = space.root.parent / "counts.json"
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(told), *argv],
        cwd=space.root,
        env={**os.environ, "SHELL": "/bin/sh"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    code, counts = json.loads(told.read_text())
    assert code == 0, done.stdout + done.stderr
    return Counts(**counts)


def with_data(make: Callable[..., Space], count: int) -> Space:
    """A project that tracks ``count`` files of 100 bytes in ten directories, looked at before."""
    space = make()
    for number in range(count):
        space.put(f"data/{number % 10}/f{number:04}", f"{number:0100}")
    assert space.cli("add", "data").returncode == 0
    assert space.cli("status").returncode == 0
    return space


def test_status_of_unchanged_data_opens_and_hashes_none_of_it(make: Callable[..., Space]) -> None:
    space = with_data(make, 300)
    found = counted(space, "status")
    assert found.opened_below(space.root / "data") == []
    below = [path for path in found.listed if f"{path}/".startswith(f"{space.root}/data/")]
    assert len(below) == len(set(below)) == 11  # each directory once
    manifest = 300 * 60
    assert found.hashed < manifest  # the manifest, to have its name; no data
    assert found.started == 0


def test_status_looks_at_no_more_single_files_when_there_are_more(
    make: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = []
    for count in (100, 1000):
        space = with_data(make, count)
        stats.append(counted(space, "status").stat)
        space.root.rename(tmp_path / f"was-{count}")
    # What a listing gives needs no stat of its own; the cache is looked at by its 256 directories.
    assert stats[1] <= stats[0] + 256 + 100


@pytest.mark.parametrize("edit", ["touched", "changed"])
def test_one_file_that_differs_is_the_one_that_is_read(make: Callable[..., Space], edit: str) -> None:
    space = with_data(make, 300)
    path = space.root / "data/3/f0003"
    path.touch() if edit == "touched" else path.write_text("x" * 100)
    found = counted(space, "status")
    assert found.opened_below(space.root / "data") == [str(path)]
    assert found.hashed < 300 * 60 + 100


def test_checkout_with_nothing_to_do_reads_no_data_and_no_object(make: Callable[..., Space]) -> None:
    space = with_data(make, 300)
    found = counted(space, "checkout")
    assert found.opened_below(space.root / "data") == []
    objects = found.opened_below(space.root / ".pyexp/cache/files")
    assert len(objects) <= 1  # the manifest


def test_add_reads_each_file_once_and_writes_each_object_once(make: Callable[..., Space]) -> None:
    space = make()
    for number in range(100):
        space.put(f"data/f{number:04}", f"{number:0100}")
    found = counted(space, "add", "data")
    read = [path for path in found.opened_below(space.root / "data") if not path.endswith("ignore")]
    assert len(read) == len(set(read)) == 100
    assert found.hashed < 100 * 100 + 100 * 60
    again = counted(space, "add", "data")
    assert set(again.opened_below(space.root / "data")) <= {str(space.root / "data/.gitignore")}


def test_repro_with_nothing_to_do_starts_nothing_and_opens_a_fixed_number_of_files(
    make: Callable[..., Space], tmp_path: Path
) -> None:
    opened = []
    for count in (10, 100):
        stages = "".join(
            f"  s{n}:\n    cmd: echo {n} > out{n}\n    deps: [raw.txt]\n    outs: [out{n}]\n" for n in range(count)
        )
        space = make(pipeline=f"stages:\n{stages}")
        for _ in range(2):
            assert space.cli("repro", "-q").returncode == 0
        found = counted(space, "repro")
        assert found.started == 0
        opened.append(len(found.opened_below(space.root)))
        space.root.rename(tmp_path / f"was-{count}")
    assert opened[1] <= opened[0] + 5


def test_show_again_reads_no_git_object(make: Callable[..., Space]) -> None:
    space = make()
    for number in range(5):
        assert space.cli("exp", "run", "-q", "-S", f"lr=0.{number + 1}").returncode == 0
    objects = space.root / ".git/objects"
    first, again = (counted(space, "exp", "show", "--json") for _ in range(2))
    assert len(first.opened_below(objects)) > 5 and first.started == 0
    assert again.opened_below(objects) == [] and again.started == 0


def test_an_experiment_starts_the_shells_of_its_stages_and_one_that_watches(make: Callable[..., Space]) -> None:
    space = make()
    assert space.cli("repro", "-q").returncode == 0
    space.commit("ran")
    assert counted(space, "exp", "run", "-q", "--temp", "-S", "lr=0.7").started == 2
    assert counted(space, "exp", "run", "-q", "-S", "lr=0.8").started == 2
    assert counted(space, "exp", "run", "-q", "-S", "lr=0.7").started == 0  # from the stage cache


def test_a_push_of_what_is_there_opens_no_object_of_data(make: Callable[..., Space], tmp_path: Path) -> None:
    space = with_data(make, 300)
    assert space.cli("remote", "add", "-d", "there", str(tmp_path / "remote")).returncode == 0
    assert space.cli("push", "-q").returncode == 0
    found = counted(space, "push")
    assert len(found.opened_below(space.root / ".pyexp/cache/files")) <= 1
    assert found.opened_below(tmp_path / "remote") == []
