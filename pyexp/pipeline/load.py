"""Reads a project's pipeline: every dvc.yaml, dvc.lock and ``.dvc`` file, from the workspace or from a commit."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pyexp import durable
from pyexp.durable import TMP_PREFIX
from pyexp.errors import FormatError, PyexpError
from pyexp.formats import dvcyaml, lockfile
from pyexp.model import OutSpec, PipelineFile, StageLock, StageSpec
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.project import Project

PIPELINE_FILE = "dvc.yaml"
LOCK_FILE = "dvc.lock"
NO_LOCK = StageLock(cmd=None)


class Reader(Protocol):
    """Where the text of project files comes from."""

    def read(self, relpath: str) -> str | None:
        """The text of a file, None when there is none."""

    def pipeline_files(self) -> Iterable[str]:
        """The relpaths of every dvc.yaml and .dvc file."""

    def files_below(self, relpath: str) -> list[str]:
        """The relpaths of all files below a directory, sorted; empty when it is none."""


@dataclass(frozen=True)
class Pipeline:
    """Every stage by address, with what its last run recorded; ``broken`` holds files that could not be read (lenient)."""

    stages: Mapping[str, StageSpec] = field(default_factory=dict)
    locks: Mapping[str, StageLock] = field(default_factory=dict)
    files: Mapping[str, PipelineFile] = field(default_factory=dict)
    broken: tuple[FormatError, ...] = ()

    def lock(self, address: str) -> StageLock:
        return self.locks.get(address, NO_LOCK)

    def outs(self) -> Iterator[tuple[str, StageSpec, OutSpec]]:
        """Every output: its relpath, stage and declaration."""
        for stage in self.stages.values():
            for out in stage.outs:
                yield stage.relpath(out.path), stage, out


def lock_path(stage_file: str) -> str:
    """The lock file beside a dvc.yaml; a .dvc file records for itself."""
    if not stage_file.endswith(".yaml"):
        return stage_file
    return posixpath.join(posixpath.dirname(stage_file), LOCK_FILE)


def file_of(address: str) -> str:
    """The file that defines a stage: a dvc.yaml, or a .dvc file."""
    file, colon, _ = address.rpartition(":")
    return file if colon else address if address.endswith(".dvc") else PIPELINE_FILE


class WorkspaceReader:
    """Reads the files as they are in the work tree."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def read(self, relpath: str) -> str | None:
        return self._project.read_text(relpath)

    def files_below(self, relpath: str) -> list[str]:
        top = self._project.path(relpath)
        if not os.path.isdir(top):
            return []
        found = [os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names]
        return sorted(self._project.relpath(path) for path in found)

    def pipeline_files(self) -> Iterable[str]:
        """Walks the tree once; ignored directories, nested projects and repositories are not entered."""
        found: list[str] = []
        ignored, gitignored = self._project.ignore.match, self._project.gitignore.match
        known = self._project.documents
        pending = [""]
        while pending:
            directory = pending.pop()
            path = self._project.path(directory) if directory else str(self._project.root)
            names, below, litter = known.recall(directory, path, partial(_interesting, path, top=not directory))
            self._project.litter.extend(os.path.join(path, name) for name in litter)
            prefix = f"{directory}/" if directory else ""
            found.extend(prefix + name for name in names if not ignored(prefix + name, False))
            pending.extend(
                prefix + name
                for name in below
                if not ignored(prefix + name, True) and not gitignored(prefix + name, True)
            )
        return sorted(found, key=_file_order)


def _interesting(path: str, *, top: bool) -> list[list[str]]:
    """The pipeline files in a directory, the directories to look into, and temporary files; none of another project's."""
    below: list[str] = []
    names: list[str] = []
    litter: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name in (".pyexp", ".dvc"):
                    if not top:
                        return [[], [], []]
                elif name != ".git":
                    below.append(name)
            elif name == PIPELINE_FILE or (name.endswith(".dvc") and len(name) > 4):
                names.append(name)
            elif name.startswith(TMP_PREFIX):
                litter.append(name)
    return [names, below, litter]


class CommitReader:
    """Reads the files as a commit (or tree) has them, without a checkout."""

    def __init__(self, repo: Repo, rev: str, prefix: str = "") -> None:
        self._repo = repo
        self._prefix = prefix
        self._tree = repo.list_tree(repo.tree_of(rev))

    def holds(self, relpath: str) -> bool:
        """Whether the commit has the file, files in the directory, or the submodule it is in."""
        path = self._prefix + relpath
        if path in self._tree or any(other.startswith(f"{path}/") for other in self._tree):
            return True
        above = path.rpartition("/")[0]
        while above and above not in self._tree:
            above = above.rpartition("/")[0]
        return bool(above)

    def read(self, relpath: str) -> str | None:
        entry = self._tree.get(self._prefix + relpath)
        if entry is None or entry[0] not in (0o100644, 0o100755):
            return None
        try:
            return self._repo.read_blob(entry[1], most=durable.MAX_READ_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError("is not UTF-8 text", path=relpath) from error

    def files_below(self, relpath: str) -> list[str]:
        top = f"{self._prefix}{relpath}/"
        return sorted(path[len(self._prefix) :] for path in self._tree if path.startswith(top))

    def pipeline_files(self) -> Iterable[str]:
        prefix = self._prefix
        found = [
            path[len(prefix) :]
            for path in self._tree
            if path.startswith(prefix)
            and (posixpath.basename(path) == PIPELINE_FILE or path.endswith(".dvc"))
            and "/.dvc/" not in path
        ]
        return sorted((path for path in found if not path.startswith(".dvc/")), key=_file_order)


def _file_order(path: str) -> tuple[bool, int, str]:
    """The root's dvc.yaml first, then nearer files before deeper ones."""
    return (path != PIPELINE_FILE, path.count("/"), path)


def load(reader: Reader, *, parsing: Mapping[str, str] | None = None, lenient: bool = False) -> Pipeline:
    """Reads and checks every pipeline file.

    Raises FormatError for the first file that is wrong; with ``lenient`` such files are left out and listed instead.
    """
    stages: dict[str, StageSpec] = {}
    locks: dict[str, StageLock] = {}
    files: dict[str, PipelineFile] = {}
    broken: list[FormatError] = []
    for path in reader.pipeline_files():
        try:
            if path.endswith(".yaml"):
                _load_dvcyaml(reader, path, parsing or {}, lenient, stages, locks, files, broken)
            else:
                text = reader.read(path)
                if text is not None:
                    spec, lock = lockfile.parse_dvc(text, path)[:2]
                    stages[spec.address], locks[spec.address] = spec, lock
        except FormatError as error:
            if not lenient:
                raise
            broken.append(error)
    return Pipeline(stages, locks, files, tuple(broken))


def _load_dvcyaml(
    reader: Reader,
    path: str,
    parsing: Mapping[str, str],
    lenient: bool,
    stages: dict[str, StageSpec],
    locks: dict[str, StageLock],
    files: dict[str, PipelineFile],
    broken: list[FormatError],
) -> None:
    text = reader.read(path)
    if text is None:
        return
    if lenient:
        parsed, problems = dvcyaml.parse_lenient(text, path, read=reader.read, parsing=parsing)
        broken.extend(problems)
    else:
        parsed = dvcyaml.parse(text, path, read=reader.read, parsing=parsing)
    files[path] = parsed
    lock_file = lock_path(path)
    lock_text = reader.read(lock_file)
    recorded = lockfile.parse_lock(lock_text, lock_file) if lock_text is not None else {}
    for name, spec in parsed.stages.items():
        stages[spec.address] = spec
        if name in recorded:
            locks[spec.address] = recorded[name]


def open_workspace(project: Project, *, lenient: bool = False) -> Pipeline:
    """The pipeline as the work tree has it; raises FormatError, unless ``lenient``."""
    return load(WorkspaceReader(project), parsing=parsing_options(project), lenient=lenient)


def parsing_options(project: Project) -> dict[str, str]:
    """How dictionaries are unpacked into command lines: the ``parsing`` section of the configuration."""
    options = {name: project.config.get(f"parsing.{name}") for name in ("bool", "list")}
    return {name: value for name, value in options.items() if value}


@dataclass(frozen=True, slots=True)
class Target:
    """What a user named: a stage, and perhaps one output of it, and perhaps a path inside that output."""

    stage: str
    out: str | None = None
    below: str | None = None


def resolve(pipeline: Pipeline, target: str, cwd: str = "", *, outs: bool = True) -> list[Target]:
    """What ``target`` names, seen from the directory ``cwd`` (a relpath): FORMATS.md §3.7.

    A stage (``name``, ``group``, ``group@key``, ``dir/dvc.yaml:name``), a file (``dvc.yaml``, ``x.dvc``) or, with
    ``outs``, a tracked output or a path inside one. Raises PyexpError with close matches when it is none of them.
    """
    file, colon, name = target.rpartition(":")
    if colon and file.endswith(".yaml"):
        return _named(pipeline, _join(cwd, file), name, target)
    own_file = _join(cwd, PIPELINE_FILE)
    if "/" not in target or not os.path.splitext(target)[1]:
        matches = _stages_of(pipeline, own_file, target)
        if matches:
            return matches
    path = _join(cwd, target)
    if path in pipeline.stages:
        return [Target(path)]
    if posixpath.basename(path) == PIPELINE_FILE and path in pipeline.files:
        return [Target(spec.address) for spec in pipeline.files[path].stages.values()]
    owned = _owned(pipeline, path)
    if owned and outs:
        return owned
    if owned:
        raise PyexpError(f"'{target}' is tracked by {owned[0].stage}", hint=f"name that instead: {owned[0].stage}")
    raise _unknown(pipeline, target, own_file)


def seen_from(address: str, cwd: str) -> str:
    """A stage's address as ``resolve`` takes it in the directory ``cwd``: what is shown to somebody who works there."""
    file = path_from(file_of(address), cwd)
    if file.endswith(".dvc"):
        return file
    name = address.rpartition(":")[2]
    return name if file == PIPELINE_FILE else f"{file}:{name}"


def path_from(relpath: str, cwd: str) -> str:
    """A path relative to the directory ``cwd``; unchanged when absolute or a URL, or when that is the root."""
    if not cwd or posixpath.isabs(relpath) or "://" in relpath:
        return relpath
    return posixpath.relpath(relpath, cwd) + ("/" if relpath.endswith("/") else "")


def _join(cwd: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(cwd, path.rstrip("/") or path))


def _stages_of(pipeline: Pipeline, file: str, name: str) -> list[Target]:
    parsed = pipeline.files.get(file)
    if parsed is None:
        return []
    if name in parsed.stages:
        return [Target(parsed.stages[name].address)]
    return [Target(spec.address) for key, spec in parsed.stages.items() if key.startswith(f"{name}@")]


def _named(pipeline: Pipeline, file: str, name: str, target: str) -> list[Target]:
    if file not in pipeline.files:
        raise PyexpError(f"'{target}': there is no {file} in this project", hint="see them all: pyexp stage list --all")
    found = _stages_of(pipeline, file, name)
    if not found:
        raise _unknown(pipeline, name, file)
    return found


def _owned(pipeline: Pipeline, path: str) -> list[Target]:
    for relpath, stage, _ in pipeline.outs():
        if relpath == path:
            return [Target(stage.address, relpath)]
        if path.startswith(f"{relpath}/"):
            return [Target(stage.address, relpath, path[len(relpath) + 1 :])]
    return []


def _unknown(pipeline: Pipeline, target: str, file: str) -> PyexpError:
    import difflib  # only a mistake pays for it

    names = list(pipeline.files[file].stages) if file in pipeline.files else []
    known = [*names, *pipeline.stages, *(relpath for relpath, _, _ in pipeline.outs())]
    close = difflib.get_close_matches(target, known, n=1)
    if posixpath.basename(target) == LOCK_FILE:
        close = [posixpath.join(posixpath.dirname(target), PIPELINE_FILE)]
    if close:
        hint = f"did you mean '{close[0]}'?"
    elif names:
        hint = f"stages in {file}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
    else:
        hint = "see them all: pyexp stage list --all"
    return PyexpError(f"'{target}' is no stage and no output of this project", hint=hint)
