"""What each revision says of itself: params, metrics, deps and outs, one immutable row per commit.

A row is worked out from the commit's files without a checkout, once: rows are kept in ``rows`` in the scratch
directory, an append-only file of msgpack records that may be lost at any time.
"""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgpack

from pyexp import durable, mutex
from pyexp.errors import GitError, Locked, MissingObject, PyexpError
from pyexp.experiments import names
from pyexp.experiments.taskqueue import Queue, State
from pyexp.formats import values
from pyexp.model import Entry, Row, Task
from pyexp.pipeline.load import CommitReader, Pipeline, Reader, WorkspaceReader, load, parsing_options
from pyexp.records import asdict, dataclass

if TYPE_CHECKING:
    from pyexp.project import Project

ROWS_VERSION = 3
WORKSPACE = "workspace"


@dataclass(frozen=True)
class Experiment:
    """One line of ``exp show`` below a baseline; ``state`` is None for an experiment the queue knows nothing of."""

    name: str
    row: Row
    state: Literal["Queued", "Running", "Failed", "Success"] | None = None
    executor: str | None = None
    task: Task | None = None


@dataclass(frozen=True)
class Baseline:
    """A baseline's line, and the experiments below it."""

    rev: str
    name: str | None
    row: Row
    experiments: tuple[Experiment, ...] = ()


# -- one row ---------------------------------------------------------------------------------------------------------


class _Collector:
    """Works out one row; files that cannot be read become errors of the row, not failures."""

    def __init__(self, project: Project, reader: Reader, pipeline: Pipeline) -> None:
        self._project = project
        self._reader = reader
        self._pipeline = pipeline
        self.errors: dict[str, tuple[str, str]] = {}
        self.metric_files: list[str] = []

    def _load(self, relpath: str, entry: Entry | None = None) -> Any:
        """The data of a file, from the reader or, for an output of the cache, from there; None when it is not there."""
        try:
            text = self._reader.read(relpath)
            if text is None and entry is not None and not entry.oid.is_dir:
                text = self._project.store(entry.oid.algo).read(entry.oid).decode("utf-8")
            if text is None:
                return None
            data = values.load_any(text, relpath)
            return {} if data is None else data
        except MissingObject:
            return None
        except (PyexpError, UnicodeDecodeError) as error:
            self.errors[relpath] = (type(error).__name__, str(error))
            return None

    def params(self) -> dict[str, Any]:
        """Whole files: params.yaml and those listed at top level; of others the keys that stages use."""
        whole = {"params.yaml": None, **dict.fromkeys(_listed(self._pipeline, "params"))}
        partial: dict[str, dict[str, None]] = {}
        for stage in self._pipeline.stages.values():
            for spec in stage.params:
                relpath = stage.relpath(spec.file)
                if spec.keys is None:
                    whole[relpath] = None
                else:
                    partial.setdefault(relpath, {}).update(dict.fromkeys(spec.keys))
            for file, used in stage.used_vars.items():
                partial.setdefault(file, {}).update(dict.fromkeys(used))
        found: dict[str, Any] = {}
        for relpath in whole:
            data = self._load(relpath)
            if data is not None:
                found[relpath] = data
        for relpath, keys in partial.items():
            if relpath not in whole and (data := self._load(relpath)) is not None:
                found[relpath] = selected(data, keys)
        return found

    def metrics(self) -> dict[str, Any]:
        paths: dict[str, Entry | None] = {}
        for stage in self._pipeline.stages.values():
            recorded = {entry.path: entry.entry for entry in self._pipeline.lock(stage.address).outs}
            for out in stage.outs:
                if out.kind == "metric":
                    paths[stage.relpath(out.path)] = recorded.get(out.path)
        paths.update(dict.fromkeys(path for path in _listed(self._pipeline, "metrics") if path not in paths))
        found: dict[str, Any] = {}
        for relpath, entry in paths.items():
            for file, file_entry in self._files(relpath, entry):
                self.metric_files.append(file)
                data = self._load(file, file_entry)
                if data is not None:
                    found[file] = values.measures(data)
        return found

    def _files(self, relpath: str, entry: Entry | None) -> Iterable[tuple[str, Entry | None]]:
        """A metrics path may be a directory: then every file below it."""
        below = self._reader.files_below(relpath)
        return ((file, None) for file in below) if below else ((relpath, entry),)


def _listed(pipeline: Pipeline, section: Literal["params", "metrics"]) -> list[str]:
    return [
        posixpath.normpath(posixpath.join(posixpath.dirname(file.path), path))
        for file in pipeline.files.values()
        for path in getattr(file, section)
    ]


def selected(data: Any, keys: Iterable[str]) -> dict[str, Any]:
    """The part of nested data that dotted keys name; keys it does not have are left out."""
    chosen: dict[str, Any] = {}
    for key in keys:
        value = values.select(data, key)
        if value is values.MISSING:
            continue
        level = chosen
        *above, last = key.split(".")
        for part in above:
            below = level.setdefault(part, {})
            if not isinstance(below, dict):
                break
            level = below
        else:
            level[last] = value
    return chosen


def _deps(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for stage in pipeline.stages.values():
        recorded = {entry.path: entry.entry for entry in pipeline.lock(stage.address).deps}
        if stage.is_data:
            continue
        for dep in stage.deps:
            found[stage.relpath(dep)] = _facts(recorded.get(dep))
    return found


def _outs(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for stage in pipeline.stages.values():
        recorded = {entry.path: entry.entry for entry in pipeline.lock(stage.address).outs}
        for out in stage.outs:
            if out.kind == "out":
                facts = _facts(recorded.get(out.path))
                found[stage.relpath(out.path)] = {**facts, "use_cache": out.cache, "is_data_source": stage.is_data}
    return found


def _facts(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {"hash": None, "size": None, "nfiles": None}
    return {"hash": entry.oid.hex, "size": entry.size, "nfiles": entry.nfiles}


def _row(project: Project, rev: str, reader: Reader, timestamp: int | None) -> Row:
    pipeline = load(reader, parsing=parsing_options(project), lenient=True)
    collector = _Collector(project, reader, pipeline)
    params, metrics = collector.params(), collector.metrics()
    dep_params: dict[str, dict[str, None]] = {}
    for stage in pipeline.stages.values():
        for spec in stage.params:
            dep_params.setdefault(stage.relpath(spec.file), {}).update(dict.fromkeys(spec.keys or ("",)))
    error = None
    if pipeline.broken and not pipeline.stages:
        error = (type(pipeline.broken[0]).__name__, str(pipeline.broken[0]))
    return Row(
        rev=rev,
        timestamp=timestamp,
        params=params,
        metrics=metrics,
        deps=_deps(pipeline),
        outs=_outs(pipeline),
        errors={**{broken.path: ("FormatError", str(broken)) for broken in pipeline.broken}, **collector.errors},
        dep_params={file: tuple(keys) for file, keys in dep_params.items()},
        metric_files=tuple(collector.metric_files),
        error=error,
    )


def workspace_row(project: Project) -> Row:
    """The row of the files as they are now."""
    return _row(project, WORKSPACE, WorkspaceReader(project), None)


def measured(project: Project, captured: str) -> dict[str, Any]:
    """The metrics in a workspace that differ from those of the commit it started from: what a broken-off run gave."""
    reader = WorkspaceReader(project)
    before = CommitReader(project.require_git(), captured, project.prefix)
    found = _row(project, WORKSPACE, reader, None).metrics
    return {file: data for file, data in found.items() if reader.read(file) != before.read(file)}


# -- rows that last --------------------------------------------------------------------------------------------------


def stored_rows(raw: bytes) -> tuple[list[tuple[str, Row]], bool]:
    """The rows in a file's bytes, up to the first that is not whole, and whether all were.

    Each record is [version, CRC-32 of the row, the row packed by itself]; a number flipped on the disk is not shown.
    """
    found: list[tuple[str, Row]] = []
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=len(raw) + 1)
    unpacker.feed(raw)
    try:
        for version, checksum, packed in unpacker:
            if version != ROWS_VERSION or zlib.crc32(packed) != checksum:
                return found, False
            record = msgpack.unpackb(packed, strict_map_key=False)
            record["dep_params"] = {file: tuple(keys) for file, keys in record["dep_params"].items()}
            record["metric_files"] = tuple(record["metric_files"])
            row = Row(**record)
            _check_row(row)
            found.append((row.rev, row))
        return found, unpacker.tell() == len(raw)
    except Exception:  # whatever a cache file holds, it is as good as none
        return found, False


def _check_row(row: Row) -> None:
    """Raises TypeError for a row with something of a wrong kind: it may have come with somebody's copy of the project."""
    texts: list[object] = [row.rev, *row.metric_files]
    for held in (row.params, row.metrics, row.deps, row.outs, row.errors, row.dep_params):
        if not isinstance(held, dict):
            raise TypeError("no mapping")
        texts.extend(held)
    for facts in (*row.deps.values(), *row.outs.values()):
        if not isinstance(facts, dict):
            raise TypeError("no mapping")
        texts.extend(facts)
    for keys in row.dep_params.values():
        texts.extend(keys)
    for pair in (*row.errors.values(), row.error if row.error is not None else ("", "")):
        kind, message = pair
        texts += kind, message
    if {*map(type, texts)} - {str} or not isinstance(row.timestamp, int | None):
        raise TypeError("no text or time")


def _packed_row(row: Row) -> bytes:
    packed: bytes = msgpack.packb(asdict(row), default=str)
    record: bytes = msgpack.packb((ROWS_VERSION, zlib.crc32(packed), packed))
    return record


class Rows:
    """Rows by commit, read through a file of records; what cannot be read there is worked out again."""

    def __init__(self, project: Project, *, fresh: bool = False) -> None:
        self._project = project
        self._path = project.home.scratch / "rows"
        self._sound = True
        self._known: dict[str, Row] = {} if fresh else dict(self._stored())
        self._new: list[Row] = []

    def _stored(self) -> Iterable[tuple[str, Row]]:
        try:
            raw = durable.read_file(self._path)
        except OSError:
            return
        if raw is None:
            return
        rows, self._sound = stored_rows(raw)
        yield from rows

    def get(self, sha: str) -> Row:
        if sha not in self._known:
            repo = self._project.require_git()
            try:
                commit = repo.commit(sha)
                row = _row(self._project, sha, CommitReader(repo, sha, self._project.prefix), commit.time)
            except GitError as error:  # one damaged commit must not hide all others
                row = Row(sha, error=("GitError", str(error)))
            self._known[sha] = row
            if not row.errors and row.error is None:
                self._new.append(row)
        return self._known[sha]

    def save(self) -> None:
        """Appends what is new; a reader that comes in between sees whole records and perhaps half of the last."""
        if not self._new:
            return
        new = self._new if self._sound else list(self._known.values())
        data = b"".join(_packed_row(row) for row in new)
        # Looking must work where nothing can be written; it only costs the same work next time.
        with (
            suppress(OSError, Locked),
            mutex.locked(self._path.with_suffix(".lock"), timeout=1, what="the row cache"),
            # What follows a damaged record is not read: the file begins again.
            durable.open_log(self._path, append=self._sound) as file,
        ):
            file.write(data)
        self._new = []


# -- all of them -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """Which baselines: HEAD and ``num`` - 1 commits before each of ``revs``, or all branches, tags or commits."""

    revs: tuple[str, ...] = ()
    num: int = 1
    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False


def baselines(project: Project, scope: Scope) -> list[str]:
    """The commits a scope names, in order; raises BadRevision."""
    repo = project.require_git()
    starts: list[str] = [names.revision(project, rev) for rev in scope.revs]
    if scope.all_branches or scope.all_commits:
        starts += repo.branches().values()
    if scope.all_tags or scope.all_commits:
        starts += repo.tags().values()
    head = repo.head().sha
    if not scope.revs and head is not None:
        starts.insert(0, head)
    found: dict[str, None] = {}
    num = None if scope.all_commits or scope.num < 0 else scope.num
    for start in starts:
        for sha in repo.history(start, num, first_parent=not scope.all_commits):
            found[sha] = None
    if scope.all_commits:
        found.update((exp.baseline, None) for exp in names.all_experiments(repo))
    return list(found)


def collect(
    project: Project, scope: Scope = Scope(), *, fresh: bool = False, queued: bool = True, failed: bool = True
) -> list[Baseline]:
    """Every row of ``exp show``: the workspace, then each baseline with its experiments.

    Below a baseline come the running, then the finished (newest first), the queued and the failed ones.
    """
    repo = project.require_git()
    rows = Rows(project, fresh=fresh)
    wanted = baselines(project, scope)
    by_baseline: dict[str, list[Experiment]] = {sha: [] for sha in wanted}
    tasks = Queue(project).tasks()
    done = {task.result: task for state, task in tasks if state == "done"}
    for state, task in tasks:
        if task.baseline in by_baseline and state != "done":
            if (state == "queued" and not queued) or (state == "failed" and not failed):
                continue
            by_baseline[task.baseline].append(_of_task(rows, state, task))
    for exp in names.all_experiments(repo):
        if exp.baseline in by_baseline:
            task_done = done.get(exp.sha)
            by_baseline[exp.baseline].append(
                Experiment(
                    exp.name,
                    rows.get(exp.sha),
                    "Success" if task_done else None,
                    "queue" if task_done else None,
                    task_done,
                )
            )
    found = [Baseline(WORKSPACE, None, workspace_row(project))]
    for sha in wanted:
        ordered = tuple(sorted(by_baseline[sha], key=_order))
        found.append(Baseline(sha, repo.describe(sha), rows.get(sha), ordered))
    rows.save()
    return found


def _of_task(rows: Rows, state: State, task: Task) -> Experiment:
    label: dict[State, Literal["Queued", "Running", "Failed"]] = {
        "queued": "Queued",
        "running": "Running",
        "failed": "Failed",
    }
    row = rows.get(task.commit)
    # The captured files still hold the metrics of an earlier run: this one has its own, or none yet.
    bare = Row(rev=row.rev, timestamp=row.timestamp, params=row.params, dep_params=row.dep_params, metrics=task.metrics)
    return Experiment(task.name, bare, label[state], "queue" if state == "running" else None, task)


_GROUPS: Mapping[str | None, int] = {"Running": 0, "Success": 1, None: 1, "Queued": 2, "Failed": 3}


def _order(exp: Experiment) -> tuple[int, float, str]:
    created = exp.row.timestamp or 0
    if exp.state == "Queued" and exp.task is not None:
        return (_GROUPS[exp.state], exp.task.created, exp.name)
    return (_GROUPS[exp.state], -created, exp.name)


def values_at(project: Project, rev: str, relpath: str) -> dict[str, Any]:
    """What a file of values, or every one in a directory, holds in a row's revision; raises FormatError."""
    reader = WorkspaceReader(project) if rev == WORKSPACE else CommitReader(project.require_git(), rev, project.prefix)
    files = [path for path in reader.files_below(relpath) if path.endswith(values.SUFFIXES)] or [relpath]
    texts = ((path, reader.read(path)) for path in files)
    return {path: values.load_any(text, path) for path, text in texts if text is not None}


def row_of(project: Project, rev: str) -> Row:
    """The row of one revision: ``workspace``, a git revision or an experiment's name; raises BadRevision."""
    if rev == WORKSPACE:
        return workspace_row(project)
    rows = Rows(project)
    row = rows.get(names.revision(project, rev))
    rows.save()
    return row
