"""pyexp inside of another program: what it must not do to it, whatever becomes of the project."""

import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from functional.conftest import Space

import pyexp
from pyexp import api
from pyexp.errors import NotAProject, PyexpError, UsageError
from pyexp.experiments.manage import CacheScope
from pyexp.project import Project

VERBS: dict[str, Callable[[Project], object]] = {
    "run": lambda project: pyexp.run(project, params={"lr": 0.25}, sink=lambda data: None),
    "temp": lambda project: pyexp.run(project, params={"lr": 0.125}, temp=True, sink=lambda data: None),
    "queue": lambda project: pyexp.run(project, params={"lr": 0.5}, queue=True),
    "run_all": lambda project: pyexp.run_all(project),
    "show": lambda project: pyexp.show(project),
    "diff": lambda project: pyexp.diff(project),
    "apply": lambda project: pyexp.apply(project, "none"),
    "remove": lambda project: pyexp.remove(project, "none"),
    "undo": lambda project: pyexp.undo(project),
    "save": lambda project: pyexp.save(project),
    "repro": lambda project: pyexp.repro(project, sink=lambda data: None),
    "status": lambda project: pyexp.status(project),
    "add": lambda project: pyexp.add(project, "raw.txt"),
    "checkout": lambda project: pyexp.checkout(project),
    "gc": lambda project: pyexp.gc(project, CacheScope(workspace=True)),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("used", [False, True])
def test_a_project_that_is_deleted_is_not_made_anew(space: Space, verb: str, used: bool, tmp_path: Path) -> None:
    """Nor is a repository taken for its own that happens to lie above."""
    from pyexp.git import repo

    project = pyexp.find(space.root)
    if used:
        pyexp.show(project)
        pyexp.repro(project, sink=lambda data: None)
        (space.root / "new.txt").write_text("to be learnt of\n")
        pyexp.status(project)
    repo.init(tmp_path).close()
    shutil.rmtree(space.root)
    before = sorted((tmp_path / ".git").rglob("*"))
    with pytest.raises(NotAProject, match="no project any more"):
        VERBS[verb](project)
    project.close()
    assert not space.root.exists()
    assert sorted((tmp_path / ".git").rglob("*")) == before


class Number:
    """As numpy's numbers are: no child of a number of Python's, or one with a spelling of its own."""

    def tolist(self) -> float:
        return 0.25


class Float(float):
    def __repr__(self) -> str:
        return f"np.float64({float.__repr__(self)})"


@pytest.mark.parametrize("value", [Number(), Float(0.25)])
def test_params_of_numpy(space: Space, value: Any) -> None:
    project = pyexp.find(space.root)
    pyexp.run(project, params={"lr": value}, sink=lambda data: None)
    assert "lr: 0.25 " in space.read("params.yaml")
    project.close()


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}])
def test_a_param_that_is_none(space: Space, value: Any) -> None:
    project = pyexp.find(space.root)
    with pytest.raises(UsageError, match="a param cannot be"):
        pyexp.run(project, params={"lr": value})
    project.close()


def test_the_process_is_left_as_it_was(space: Space, capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> dict[str, object]:
        return {
            "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
            "mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
            "threads": sorted(thread.name for thread in threading.enumerate()),
            "main": sys.modules["__main__"],
            "streams": (sys.stdin, sys.stdout, sys.stderr),
            "here": Path.cwd(),
        }

    before = state()
    project = pyexp.find(space.root)
    for verb in ("run", "temp", "queue", "run_all", "show", "diff", "save", "repro", "status", "checkout", "gc"):
        VERBS[verb](project)
        assert state() == before, verb
    for verb in ("apply", "remove", "undo", "add"):
        with pytest.raises(PyexpError):
            VERBS[verb](project)
        assert state() == before, verb
    project.close()
    assert capfd.readouterr() == ("", "")


def test_the_current_directory_is_gone(space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for look in (lambda: pyexp.find("."), lambda: api.params_show()):
        with pytest.raises(NotAProject, match="does not exist any more"):
            look()
    assert api.params_show(repo=str(space.root))["lr"] == 0.5
    project = pyexp.find(space.root)
    assert pyexp.status(project)
    project.close()
