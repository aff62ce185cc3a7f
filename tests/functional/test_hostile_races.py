"""A directory of the project that becomes a link out of it while a command runs: nothing out there may change.

The command runs in a fork that swaps the directory at one of its own changes to the file system, just before it: as
somebody would who looks for the moment between a look and the deed. Each change is tried.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space
from functional.stranger import Stranger
from functional.test_hostile_links import outside_of

import pyexp.cli.main as command_line

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"}
STAGES = """\
stages:
  file:
    cmd: test -d gone
    outs:
    - sub/made.txt
  directory:
    cmd: test -d gone
    outs:
    - sub/d
"""


def _data(space: Space) -> None:
    for number in range(2):
        space.put(f"sub/d/{number}.txt", f"{number}\n")
    space.put("sub/f.txt", "f\n")
    assert space.cli("config", "cache.type", "hardlink").returncode == 0
    assert space.cli("add", "sub/d", "sub/f.txt").returncode == 0


def _edited(space: Space) -> None:
    _data(space)
    for name in ("sub/d/0.txt", "sub/f.txt"):
        (space.root / name).unlink()
        space.put(name, "edited\n")


def _beside(space: Space) -> None:
    _data(space)
    space.put("other/x.txt", "x\n")
    assert space.cli("add", "other").returncode == 0


def _new(space: Space) -> None:
    _data(space)
    space.put("sub/new.txt", "new\n")


def _outputs(space: Space) -> None:
    space.put("sub/made.txt", "made\n")
    space.put("sub/d/a.txt", "a\n")
    space.put("dvc.yaml", STAGES)


CASES: dict[str, tuple[Callable[[Space], None], str]] = {
    "move in it": (_data, "move sub/d sub/e"),
    "move a file": (_data, "move sub/f.txt sub/g.txt"),
    "move out of it": (_data, "move sub/d e"),
    "move into it": (_beside, "move other sub/other"),
    "unprotect": (_data, "unprotect sub/d sub/f.txt"),
    "remove": (_data, "remove --outs sub/d.dvc sub/f.txt.dvc"),
    "destroy": (_data, "destroy -f"),
    "repro": (_outputs, "repro -k --force"),
    "add": (_new, "add sub/new.txt"),
    "commit": (_edited, "commit -f"),
    "checkout": (_edited, "checkout -f"),
    "freeze": (_data, "freeze sub/f.txt.dvc"),
    "import-url": (_new, "import-url params.yaml sub/p.yaml"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_directory_that_becomes_a_link(stranger: Stranger, case: str) -> None:
    prepare, line = CASES[case]
    prepare(stranger.space)
    shutil.copytree(stranger.root / "sub", stranger.base / "outside/sub")
    keep = stranger.base / "kept"
    stranger.root.rename(keep)
    at, before, swapped = 0, None, True
    while swapped:
        at += 1
        if stranger.root.exists():
            shutil.rmtree(stranger.root)
        _copy(keep, stranger.root)
        before = before or outside_of(stranger)
        swapped = _run_swapped(stranger.root, line.split(), at, stranger.base / "outside/sub")
        assert outside_of(stranger) == before, at
    assert at > 3


def _copy(source: Path, target: Path) -> None:
    """A copy whose links among its own files are links among the copies."""
    names: dict[int, str] = {}

    def copy(one: str, other: str) -> str:
        first = names.setdefault(os.lstat(one).st_ino, other)
        return shutil.copy2(one, other, follow_symlinks=False) if first == other else os.link(first, other) or other

    shutil.copytree(source, target, symlinks=True, copy_function=copy)


def _run_swapped(root: Path, argv: list[str], at: int, outside: Path) -> bool:
    """Runs a command that meets the link from its ``at``-th change on; False when it made fewer."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.chdir(root)
            count = 0

            def changed(event: str, args: tuple[object, ...]) -> None:
                nonlocal count, code
                writes = event == "open" and isinstance(args[2], int) and bool(args[2] & (os.O_CREAT | os.O_WRONLY))
                if event in CHANGES or writes:
                    count += 1
                    if count == at:
                        code = 1
                        os.rename(root / "sub", root / "sub-away")
                        os.symlink(outside, root / "sub")

            sys.addaudithook(changed)
            command_line.main(argv)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
