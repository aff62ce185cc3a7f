"""Opens the project a command works on, with the configuration of the user's home and environment."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable, project
from pyexp.errors import NoGitRepo, NotAProject
from pyexp.events import Ask
from pyexp.project import Project
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.pipeline.origins import User

# Commands that write nothing but state of ours that may be lost.
LOOKS = frozenset(
    (
        "check-ignore", "dag", "data status", "diff", "du", "exp diff", "exp list", "exp show", "list", "metrics diff",
        "metrics show", "params diff", "plots templates", "queue logs", "queue status", "remote list", "root", "stage list", "status",
        "version",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A project, and where in it the user stands (a relpath, '' for the root)."""

    project: Project
    cwd: str


def user_config_paths() -> dict[str, str]:
    """The configuration files outside a project, by level (FORMATS.md §1.7)."""
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        system, user = "/Library/Application Support/dvc", os.path.join(home, "Library/Application Support/dvc")
    else:
        system = os.path.join(os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")[0] or "/etc/xdg", "dvc")
        user = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "dvc")
    return {
        "system": os.path.join(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or system, "config"),
        "global": os.path.join(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or user, "config"),
    }


def user_config() -> dict[str, str]:
    """The texts of the configuration files outside the project that exist."""
    texts: dict[str, str] = {}
    for level, path in user_config_paths().items():
        try:
            raw = durable.read_file(path)
        except OSError:
            continue  # somebody else's file: not readable is as good as not there
        if raw is not None:
            texts[level] = raw.decode("utf-8", "surrogateescape")
    return texts


def asker() -> Ask | None:
    """Asks on the terminal, and the same thing only once; None where there is no terminal."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    answers: dict[str, str] = {}

    def ask(what: str, *, shown: bool = False) -> str:
        if what not in answers:
            import getpass  # seldom needed

            prompt = f"{what[0].upper()}{what[1:]}: "
            answers[what] = input(prompt) if shown else getpass.getpass(prompt)
        return answers[what]

    return ask


def user() -> User:
    """Who looks at another repository."""
    from pyexp.pipeline.origins import User  # only commands that look elsewhere pay for it

    return User(user_config(), asker())


@contextmanager
def opened_anywhere(args: Namespace) -> Iterator[Opened]:
    """The project around the current directory; where there is none, the git repository or the directory stands for it.

    For commands that look at files which need no project to be there, as DVC has it. What is learnt is not kept.
    """
    try:
        found = project.find(args.cwd, user_config=user_config())
    except NotAProject:
        from pyexp.git import repo  # seam: see Project.git
        from pyexp.pipeline.elsewhere import somewhere

        with somewhere() as control:
            try:
                root = repo.discover(Path(args.cwd)).worktree
            except NoGitRepo:
                root = None
            visited = Project(root or Path(args.cwd), project.DVC, user_config=user_config())
            visited.control = Path(control)
            with closing(visited):
                yield Opened(visited, visited.relpath(args.cwd))
        return
    with _kept(args, found) as where:
        yield where


@contextmanager
def opened(args: Namespace) -> Iterator[Opened]:
    """The project around the current directory, closed afterwards; raises NotAProject."""
    with _kept(args, project.find(args.cwd, user_config=user_config())) as where:
        yield where


@contextmanager
def _kept(args: Namespace, found: Project) -> Iterator[Opened]:
    """A project until it is closed; what root wrote in somebody else's is that one's then."""
    found.ask = asker()
    began = time.time()
    try:
        cwd = os.path.relpath(args.cwd, found.root)
        yield Opened(found, "" if cwd == "." else cwd.replace(os.sep, "/"))
    finally:
        found.close()
        if sys.platform != "win32" and os.geteuid() == 0 and os.stat(found.root).st_uid != 0:
            from pyexp.cli import ownership  # only root in somebody else's project pays for it

            only_state = getattr(args, "invoked", "") in LOOKS
            ownership.give_back([str(found.scratch)] if only_state else ownership.places(found), began)
