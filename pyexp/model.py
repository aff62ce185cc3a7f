"""Frozen records and ids that the rooms hand to each other. No behaviour beyond what a record knows of itself."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pyexp.records import dataclass, field


class Oid(NamedTuple):
    """A content address: the algorithm's name and the digest in hex; a directory manifest's ends in ``.dir``."""

    algo: str
    hex: str

    @property
    def is_dir(self) -> bool:
        return self.hex.endswith(".dir")

    def __str__(self) -> str:
        return f"{self.algo}:{self.hex}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file or directory holds: its address, size in bytes (of all files), and number of files if a directory."""

    oid: Oid
    size: int | None
    nfiles: int | None = None
    isexec: bool = False


class TreeFile(NamedTuple):
    """One file of a directory manifest; ``size`` is None where the manifest's format does not record it."""

    hex: str
    size: int | None = None
    isexec: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory manifest: posix relpath -> file, in order of relpath's code points."""

    algo: str
    files: Mapping[str, TreeFile]


@dataclass(frozen=True, slots=True)
class Content:
    """What was found at a path: its entry, and the manifest when it is a directory."""

    entry: Entry
    tree: Tree | None = None


@dataclass(frozen=True, slots=True)
class LockEntry:
    """A dep or out as dvc.lock or a .dvc file records it; ``entry`` is None when nothing was recorded.

    ``extra`` keeps keys pyexp does not interpret (etag, version_id, cloud, files), so that they are written back.
    """

    path: str
    entry: Entry | None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageLock:
    """What a stage's last successful run was made of and gave."""

    cmd: str | tuple[str, ...] | None
    deps: tuple[LockEntry, ...] = ()
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outs: tuple[LockEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class OutSpec:
    """An output as the pipeline file declares it."""

    path: str
    kind: Literal["out", "metric", "plot"] = "out"
    cache: bool = True
    persist: bool = False
    push: bool = True
    remote: str | None = None
    desc: str | None = None
    type: str | None = None
    labels: tuple[str, ...] = ()
    meta: Any = None
    plot: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """Params a stage depends on: dotted keys of a file, or the whole file when ``keys`` is None."""

    file: str
    keys: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A stage as declared: one of a dvc.yaml, or a ``.dvc`` file (then ``name`` is None).

    ``file`` is the declaring file and ``wdir`` the working directory, both relative to the project's root; paths in
    ``deps``, ``params`` and ``outs`` are as written, that is relative to ``wdir``.
    """

    file: str
    name: str | None
    cmd: str | tuple[str, ...] | None = None
    wdir: str = ""
    deps: tuple[str, ...] = ()
    params: tuple[ParamSpec, ...] = ()
    outs: tuple[OutSpec, ...] = ()
    frozen: bool = False
    always_changed: bool = False
    desc: str | None = None
    meta: Any = None
    # Values of params and vars files that the stage's templates used: file -> dotted key -> value.
    used_vars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The stage's unique name in the project: ``name``, ``sub/dvc.yaml:name`` or ``sub/data.dvc``."""
        if self.name is None:
            return self.file
        return self.name if self.file == "dvc.yaml" else f"{self.file}:{self.name}"

    @property
    def is_data(self) -> bool:
        """True for a .dvc file: data, not a command."""
        return self.name is None

    @property
    def is_import(self) -> bool:
        """True for a .dvc file that says where its data came from."""
        return self.is_data and self.cmd is None and len(self.deps) == 1 and len(self.outs) == 1

    def relpath(self, path: str) -> str:
        """A declared path relative to the project's root; unchanged when absolute or a URL."""
        if posixpath.isabs(path) or "://" in path:
            return path
        return posixpath.normpath(posixpath.join(self.wdir, path))

    @property
    def commands(self) -> tuple[str, ...]:
        """The shell calls the command is made of, in order: lines of a string, items of a list (FORMATS.md §6.3)."""
        if self.cmd is None:
            return ()
        if isinstance(self.cmd, str):
            return tuple(line for line in self.cmd.splitlines() if line.strip())
        return self.cmd


@dataclass(frozen=True, slots=True)
class PlotSpec:
    """A top-level plot definition."""

    id: str
    props: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineFile:
    """One parsed dvc.yaml; paths in params, metrics and plots are as written, relative to its directory."""

    path: str
    stages: Mapping[str, StageSpec] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    plots: tuple[PlotSpec, ...] = ()
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A git commit; ``time`` is seconds since the epoch, ``timezone`` seconds east of UTC."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    message: str
    author: Identity
    time: int
    timezone: int = 0


@dataclass(frozen=True, slots=True)
class ExpRef:
    """An experiment: ``refs/exps/<baseline[:2]>/<baseline[2:]>/<name>`` at ``sha``."""

    baseline: str
    name: str
    sha: str

    @property
    def ref(self) -> str:
        return f"refs/exps/{self.baseline[:2]}/{self.baseline[2:]}/{self.name}"


@dataclass(frozen=True, slots=True)
class Task:
    """A queued experiment, as its file records it."""

    id: str
    name: str
    named: bool
    commit: str
    baseline: str
    created: float
    overrides: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    message: str | None = None
    copy_paths: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    # Set as the task moves on.
    started: float | None = None
    ended: float | None = None
    owner: Mapping[str, Any] | None = None
    phase: str | None = None
    status: int | None = None
    error: str | None = None
    result: str | None = None
    # What a failed run had measured before it failed: metrics file -> data.
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """What one revision says of itself: the cell values of ``exp show``.

    ``params``/``metrics`` map a file to its nested data, or to a string ``error`` under the key ``None`` of ``errors``.
    """

    rev: str
    timestamp: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    deps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dep_params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Every declared file of metrics, also one that is not there.
    metric_files: tuple[str, ...] = ()
    error: tuple[str, str] | None = None
