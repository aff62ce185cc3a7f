"""pyexp: experiments for machine-learning projects, versioned and reproducible, without git.

    project = pyexp.find(".")
    outcome = pyexp.run(project, params={"train.n_est": 200}, name="bigger")
    rows = pyexp.show(project)

The verbs are those of the command line. Options are keyword-only; results are frozen records; failures are
``pyexp.errors.PyexpError``. Nothing is printed, and nothing of the process (directory, signals, logging) is changed:
what happens is told to ``on_event``. Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pyexp.embedding import (
        add,
        apply,
        checkout,
        diff,
        gc,
        remove,
        repro,
        run,
        run_all,
        save,
        show,
        status,
        undo,
    )
    from pyexp.newproject import init
    from pyexp.project import Project, find

_PLACES = {
    "init": "pyexp.newproject",
    **dict.fromkeys(("Project", "find"), "pyexp.project"),
    **dict.fromkeys(
        (
            "add",
            "apply",
            "checkout",
            "diff",
            "gc",
            "remove",
            "repro",
            "run",
            "run_all",
            "save",
            "show",
            "status",
            "undo",
        ),
        "pyexp.embedding",
    ),
}

__all__ = [
    "Project",
    "__version__",
    "add",
    "apply",
    "checkout",
    "diff",
    "find",
    "gc",
    "init",
    "remove",
    "repro",
    "run",
    "run_all",
    "save",
    "show",
    "status",
    "undo",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'pyexp' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
