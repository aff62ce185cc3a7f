"""The installed command, run as a stranger would: in its own process, with a PATH on which there is no git."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from space import ROOT, Command

EXAMPLE = ROOT / "examples" / "get-started"
# What stages and shell lines may need; git is not among it, and nothing else of the machine is on PATH.
TOOLS = (
    "sh",
    "cat",
    "cp",
    "mv",
    "rm",
    "mkdir",
    "ls",
    "sleep",
    "echo",
    "true",
    "false",
    "test",
    "touch",
    "grep",
    "head",
)


def _wrapper(path: Path, program: str) -> None:
    path.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture(scope="session")
def bin_without_git(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the installed pyexp, this Python and a few tools: the whole PATH of the commands under test."""
    installed = Path(sys.executable).parent / "pyexp"
    assert installed.exists(), f"pyexp is not installed beside {sys.executable}: pip install -e '.[test]'"
    directory = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (directory / tool).symlink_to(found)
    # Not symlinks: a Python started through one would not see its virtual environment.
    _wrapper(directory / "python", sys.executable)
    _wrapper(directory / "python3", sys.executable)
    _wrapper(directory / "pyexp", str(installed))
    assert shutil.which("git", path=str(directory)) is None
    return directory


def _environment(bin_directory: Path, home: Path) -> dict[str, str]:
    """The whole environment of the commands under test: somebody with a name and an empty home."""
    env = {
        "PATH": str(bin_directory),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "200",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
        # One thread per process: the machine's other core belongs to the test beside this one.
        "OMP_NUM_THREADS": "1",
    }
    if "TMPDIR" in os.environ:
        env["TMPDIR"] = os.environ["TMPDIR"]
    return env


@pytest.fixture
def pyexp(tmp_path: Path, bin_without_git: Path) -> Command:
    """The installed command, started in an empty directory."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return Command(work, _environment(bin_without_git, home))


@pytest.fixture
def example(pyexp: Command) -> Path:
    """A copy of examples/get-started, without git, in the directory where ``pyexp`` is started."""
    pytest.importorskip("sklearn", reason="the example needs scikit-learn")
    shutil.copytree(EXAMPLE, pyexp.cwd, dirs_exist_ok=True)
    return pyexp.cwd


SMALL_PIPELINE = """\
stages:
  copy:
    cmd: cp raw.txt data.txt
    deps:
      - raw.txt
    outs:
      - data.txt
  train:
    cmd: python train.py
    deps:
      - data.txt
      - train.py
    params:
      - lr
      - train.epochs
    outs:
      - model.txt
    metrics:
      - metrics.json:
          cache: false
"""
SMALL_TRAIN = """\
import json, re
text = open("params.yaml").read()
lr = float(re.search(r"^lr: ([0-9.]+)", text, re.M).group(1))
epochs = int(re.search(r"^  epochs: ([0-9]+)", text, re.M).group(1))
open("model.txt", "w").write(open("data.txt").read() * epochs)
json.dump({"acc": lr * epochs}, open("metrics.json", "w"))
"""


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory, bin_without_git: Path) -> Path:
    """A project of two quick stages, committed and up to date; made once, to be copied."""
    root = tmp_path_factory.mktemp("small")
    pyexp = Command(root, _environment(bin_without_git, tmp_path_factory.mktemp("home")))
    (root / "raw.txt").write_text("raw\n")
    (root / "params.yaml").write_text("lr: 0.1  # how fast\ntrain:\n  epochs: 3\n")
    (root / "dvc.yaml").write_text(SMALL_PIPELINE)
    (root / "train.py").write_text(SMALL_TRAIN)
    pyexp.shell("pyexp git init && pyexp init && pyexp repro").check()
    pyexp.shell("pyexp git add . && pyexp git commit -m Start").check()
    return root


@pytest.fixture
def small(pyexp: Command, small_template: Path) -> Path:
    """A copy of the project of two quick stages, in the directory where ``pyexp`` is started."""
    shutil.copytree(small_template, pyexp.cwd, dirs_exist_ok=True, symlinks=True)
    return pyexp.cwd
