"""The functions of ``dvc.api``, by the same names and arguments, for projects on this machine and on git servers.

    import pyexp.api

    with pyexp.api.open("data/train.csv") as file: ...
    params = pyexp.api.params_show()
    model = pyexp.api.read("model.pkl", rev="exp-1a2b3", mode="rb")

``repo`` is a directory in a project (default: the current one) or the URL of a git repository, which is fetched each
time; ``rev`` is a git revision or an experiment's name (default: the workspace, or the server's HEAD); paths are seen from the project's root. ``config`` holds settings that weigh more than the
project's: ``{"core": {"remote": "other"}}``. Failures are ``pyexp.errors.PyexpError``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, BinaryIO

from pyexp import project as projects
from pyexp.errors import UsageError
from pyexp.experiments import manage, reading
from pyexp.formats.config import weightier
from pyexp.pipeline import artifacts, getting
from pyexp.pipeline.origins import Settings, local_path
from pyexp.project import Project

__all__ = [
    "all_branches",
    "all_commits",
    "all_tags",
    "artifacts_show",
    "exp_save",
    "exp_show",
    "get_url",
    "metrics_show",
    "open",
    "params_show",
    "read",
]

Options = Mapping[str, Any]


# -- files -----------------------------------------------------------------------------------------------------------


def open(
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    mode: str = "r",
    encoding: str | None = None,
    config: Options | None = None,
    remote_config: Options | None = None,
) -> AbstractContextManager[IO[Any]]:
    """A file of git or tracked data, to read in a ``with`` statement; data that is not here is fetched."""
    if mode not in ("r", "rt", "rb"):
        raise UsageError(f"mode '{mode}' is not for reading", hint="'r' or 'rb'")
    if repo is not None and _is_far(repo):
        settings = _settings(config, remote, remote_config)
        return _as(mode, encoding, getting.opened_file(repo, path, rev, cwd=_here(), settings=settings))
    return _as(mode, encoding, _opened_file(path, rev, remote, _project(repo, config, remote, remote_config)))


@contextmanager
def _opened_file(
    path: str, rev: str | None, remote: str | None, opened: AbstractContextManager[Project]
) -> Iterator[BinaryIO]:
    with opened as project, reading.open_file(reading.source(project, rev), path, remote=remote) as raw:
        yield raw


@contextmanager
def _as(mode: str, encoding: str | None, opened: AbstractContextManager[BinaryIO]) -> Iterator[IO[Any]]:
    with opened as raw:
        if "b" in mode:
            yield raw
        else:
            with io.TextIOWrapper(raw, encoding=encoding or "utf-8") as text:
                yield text


def read(
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    mode: str = "r",
    encoding: str | None = None,
    config: Options | None = None,
    remote_config: Options | None = None,
) -> Any:
    """All of a file: text, or bytes with mode ``rb``."""
    with open(path, repo, rev, remote, mode, encoding, config, remote_config) as file:
        return file.read()


def get_url(
    path: str,
    repo: str | None = None,
    rev: str | None = None,
    remote: str | None = None,
    config: Options | None = None,
    remote_config: Options | None = None,
) -> str:
    """Where the remote keeps tracked data; of a directory, its list of files. Whether it is there is not looked up."""
    if repo is not None and _is_far(repo):
        settings = _settings(config, remote, remote_config)
        return getting.location(repo, path, cwd=_here(), rev=rev, settings=settings)
    with _project(repo, config, remote, remote_config) as project:
        return reading.url(reading.source(project, rev), path, remote=remote)


# -- values ----------------------------------------------------------------------------------------------------------


def params_show(
    *targets: str,
    repo: str | None = None,
    stages: str | Iterable[str] | None = None,
    rev: str | None = None,
    deps: bool = False,
    config: Options | None = None,
) -> dict[str, Any]:
    """Params as one nested dictionary: of ``targets``, of ``stages``, or all.

    Top-level keys that several files have are written ``file:key``.
    """
    chosen = [stages] if isinstance(stages, str) else list(stages or ())
    with _source(repo, rev, config) as source:
        return reading.params(source, targets, chosen, deps=deps)


def metrics_show(
    *targets: str, repo: str | None = None, rev: str | None = None, config: Options | None = None
) -> dict[str, Any]:
    """Metrics as one nested dictionary; top-level keys that several files have are written ``file:key``."""
    with _source(repo, rev, config) as source:
        return reading.metrics(source, targets)


# -- experiments, artifacts, git -------------------------------------------------------------------------------------


def exp_save(name: str | None = None, force: bool = False, include_untracked: list[str] | None = None) -> str:
    """Keeps the workspace as it is as an experiment; returns its commit."""
    with _project(None) as project:
        return manage.save(project, name=name, force=force, include=include_untracked or ()).sha


def exp_show(
    repo: str | None = None,
    revs: str | list[str] | None = None,
    num: int = 1,
    param_deps: bool = False,
    force: bool = False,
    config: Options | None = None,
) -> list[dict[str, Any]]:
    """The table of experiments, a dictionary for each row; numbers are floats, what is not there is None."""
    chosen = [revs] if isinstance(revs, str) else revs or []
    with _project(repo, config, whole=True) as project:
        return reading.rows(project, chosen, num, param_deps=param_deps, fresh=force)


def artifacts_show(
    name: str, version: str | None = None, stage: str | None = None, repo: str | None = None
) -> dict[str, str]:
    """Commit (``rev``) and ``path`` of an artifact: of a version, of a stage, or the latest version."""
    if repo is not None and _is_far(repo):
        return getting.artifact_of(repo, artifacts.asked(name, version, stage), cwd=_here())
    with _project(repo) as project:
        return reading.artifact(project, name, version, stage)


def all_branches(repo: str | None = None) -> list[str]:
    """The names of all git branches."""
    with _project(repo, whole=True) as project:
        return sorted(project.require_git().branches())


def all_tags(repo: str | None = None) -> list[str]:
    """The names of all git tags."""
    with _project(repo, whole=True) as project:
        return sorted(project.require_git().tags())


def all_commits(repo: str | None = None) -> list[str]:
    """Every commit of every branch and tag (and HEAD), newest first from each."""
    with _project(repo, whole=True) as project:
        git = project.require_git()
        head = git.head().sha
        starts = [*([head] if head else []), *git.branches().values(), *git.tags().values()]
        found: dict[str, None] = {}
        for start in dict.fromkeys(starts):
            found.update(dict.fromkeys(git.history(start, None, first_parent=False)))
        return list(found)


# -- projects --------------------------------------------------------------------------------------------------------


def _here() -> str:
    """The current directory; where it is gone, relative paths lead nowhere, and absolute ones need none."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def _is_far(repo: str) -> bool:
    """Whether a repository has no work tree on this machine: it is on a git server, or bare."""
    path = local_path(repo, [_here()])
    return path is None or (os.path.isfile(os.path.join(path, "HEAD")) and os.path.isdir(os.path.join(path, "objects")))


def _settings(config: Options | None, remote: str | None = None, remote_config: Options | None = None) -> Settings:
    return Settings(config, remote, {name: str(value) for name, value in (remote_config or {}).items()})


@contextmanager
def _source(repo: str | None, rev: str | None, config: Options | None) -> Iterator[reading.Source]:
    if repo is not None and _is_far(repo):
        with getting.committed(repo, rev, cwd=_here(), settings=_settings(config)) as other:
            yield reading.source(other.project(""), other.sha)
        return
    with _project(repo, config) as project:
        yield reading.source(project, rev)


@contextmanager
def _project(
    repo: str | None,
    config: Options | None = None,
    remote: str | None = None,
    remote_config: Options | None = None,
    *,
    whole: bool = False,
) -> Iterator[Project]:
    """A project; one of a git server has, if it is ``whole``, all of its history, and no files in its workspace."""
    if repo is not None and _is_far(repo):
        settings = _settings(config, remote, remote_config)
        with getting.committed(repo, cwd=_here(), whole=whole, settings=settings) as other:
            yield other.project("")
        return
    project = projects.find((repo or ".").removeprefix("file://"))
    if config or remote_config:
        project.config = weightier(project.config, config or {}, remote, remote_config or {})
    try:
        yield project
    finally:
        project.close()
