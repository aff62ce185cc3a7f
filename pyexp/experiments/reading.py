"""What a program reads of a project, of the workspace or any revision: files, params, metrics, rows, artifacts.

Tracked data is read wherever it is: in the workspace, in the cache, or on a remote (then it comes into the cache).
"""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pyexp.errors import MissingObject, PyexpError
from pyexp.experiments import collect, names, table
from pyexp.experiments.collect import WORKSPACE, Scope
from pyexp.formats import values
from pyexp.model import Entry, Oid, Row
from pyexp.pipeline import artifacts, share
from pyexp.pipeline.datastatus import at_commit, records
from pyexp.pipeline.load import open_workspace, resolve
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.pipeline.load import Pipeline
    from pyexp.project import Project


# -- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A project at one revision; ``sha`` None is the workspace."""

    project: Project
    sha: str | None
    pipeline: Pipeline


def source(project: Project, rev: str | None = None) -> Source:
    """A project at a git revision or an experiment (None: the workspace); raises BadRevision, FormatError."""
    if rev is None or rev == WORKSPACE:
        return Source(project, None, open_workspace(project))
    sha = names.revision(project, rev)
    return Source(project, sha, at_commit(project, sha))


def open_file(found: Source, path: str, *, remote: str | None = None) -> BinaryIO:
    """A file's bytes: git's or the work tree's, else tracked data's. Raises PyexpError when there is no such file."""
    project = found.project
    relpath = project.relpath(path)
    if found.sha is None and Path(project.path(relpath)).is_file():
        return Path(project.path(relpath)).open("rb")
    if found.sha is not None:
        raw = project.require_git().read(found.sha, project.prefix + relpath)
        if raw is not None:
            return io.BytesIO(raw)
    entry = tracked(found, relpath, remote=remote)
    if entry is None or entry.oid.is_dir:
        raise _no_file(found, relpath, path)
    store = project.store(entry.oid.algo)
    _bring(project, entry, remote)
    store.verify(entry.oid)
    return Path(store.path(entry.oid)).open("rb")


def _no_file(found: Source, relpath: str, shown: str) -> PyexpError:
    above = f"{relpath}/"
    is_dir = any(out == relpath or out.startswith(above) for out in records(found.pipeline))
    if is_dir or (found.sha is None and Path(found.project.path(relpath)).is_dir()):
        return PyexpError(f"'{shown}' is a directory", hint="name a file in it")
    where = "the workspace" if found.sha is None else found.sha[:7]
    return PyexpError(f"'{shown}' is neither a file of git nor tracked data in {where}", hint="check the name")


def tracked(found: Source, path: str, *, remote: str | None = None) -> Entry | None:
    """What is recorded of tracked data, or of a file inside it; None when nothing tracks the path."""
    relpath = found.project.relpath(path)
    for out, entry in records(found.pipeline).items():
        if out == relpath:
            return entry
        if relpath.startswith(f"{out}/") and entry is not None and entry.oid.is_dir:
            below = relpath[len(out) + 1 :]
            if not found.project.store(entry.oid.algo).has(entry.oid):
                share.bring(found.project, [share.Needed(out, entry, below=below)], remote=remote)
            tree = found.project.store(entry.oid.algo).read_tree(entry.oid)
            file = tree.files.get(below)
            return None if file is None else Entry(Oid(tree.algo, file.hex), file.size)
    return None


def _bring(project: Project, entry: Entry, remote: str | None) -> None:
    """Sees to it that the cache has an object."""
    if project.store(entry.oid.algo).has(entry.oid):
        return
    _, lacking = share.fetch(project, [entry], remote=remote)
    if lacking:
        raise MissingObject(
            f"neither the cache nor the remote has {entry.oid}", hint="push it from where it is: pyexp push"
        )


def url(found: Source, path: str, *, remote: str | None = None) -> str:
    """Where a remote keeps tracked data (of a directory: its manifest); whether it does is not looked up.

    Raises PyexpError for a path nothing tracks, RemoteError without a remote.
    """
    project = found.project
    entry = tracked(found, path, remote=remote)
    if entry is None:
        raise PyexpError(f"'{path}' is no tracked data", hint="track it first: pyexp add")
    options = share.options_of(project, share.remote_name(project, remote))
    base = options["url"].removeprefix("file://")
    if "://" not in base:
        base = str((project.control / Path(base).expanduser()).resolve())
    return f"{base.rstrip('/')}/{_key(entry.oid)}"


def _key(oid: Oid) -> str:
    top = "" if oid.algo == "md5-dos2unix" else f"files/{oid.algo}/"
    return f"{top}{oid.hex[:2]}/{oid.hex[2:]}"


# -- params and metrics ----------------------------------------------------------------------------------------------


def _row(found: Source) -> Row:
    """The row of a revision; raises PyexpError for a file that cannot be read."""
    row = collect.workspace_row(found.project) if found.sha is None else collect.row_of(found.project, found.sha)
    for _, message in row.errors.values():
        raise PyexpError(message, hint="correct the file, or name the files to read")
    return row


def params(
    found: Source, targets: Sequence[str] = (), stages: Sequence[str] = (), *, deps: bool = False
) -> dict[str, Any]:
    """Params as one nested mapping: whole ``targets``, what ``stages`` use, or (neither) everything.

    ``deps`` leaves out what no stage depends on. Raises PyexpError for a file or stage that does not exist.
    """
    files: dict[str, Any] = {found.project.relpath(target): _values(found, target) for target in targets}
    if stages or deps:
        chosen = [named.stage for stage in stages for named in resolve(found.pipeline, stage, outs=False)]
        for file, keys in _used(found.pipeline, chosen or list(found.pipeline.stages)).items():
            if file not in files:
                data = _values(found, file)
                files[file] = data if keys is None else collect.selected(data, keys)
    elif not targets:
        files = dict(_row(found).params)
    return _joined(files)


def _used(pipeline: Pipeline, stages: Iterable[str]) -> dict[str, list[str] | None]:
    """The keys that stages depend on, by file; None for a whole file."""
    used: dict[str, list[str] | None] = {}
    for address in stages:
        stage = pipeline.stages[address]
        for spec in stage.params:
            file = stage.relpath(spec.file)
            if spec.keys is None:
                used[file] = None
            else:
                known = used.setdefault(file, [])
                if known is not None:
                    known.extend(spec.keys)
    return used


def _values(found: Source, path: str) -> Any:
    with open_file(found, path) as file:
        try:
            text = file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise PyexpError(f"'{path}' is not UTF-8 text", hint="name a file of values") from error
    return values.load_any(text, found.project.relpath(path)) or {}


def metrics(found: Source, targets: Sequence[str] = ()) -> dict[str, Any]:
    """Metrics as one nested mapping, of ``targets`` (files, or directories of metrics) or all; lists are left out."""
    files: dict[str, Any] = {}
    if not targets:
        files = dict(_row(found).metrics)
    for target in targets:
        relpath = found.project.relpath(target)
        below = [out for out, stage, _ in found.pipeline.outs() if out.startswith(f"{relpath}/") and stage]
        for path in below if below else [relpath]:
            files[path] = _values(found, path)
    return _joined({file: _scalars(data) for file, data in files.items()})


def _scalars(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    kept = {str(key): _scalars(item) for key, item in data.items() if not isinstance(item, list) and item is not None}
    return {key: item for key, item in kept.items() if item != {}}


def _joined(files: Mapping[str, Any]) -> dict[str, Any]:
    """Several files' top-level keys in one mapping; those that are in more than one get ``file:`` before them."""
    uses: dict[str, int] = {}
    for data in files.values():
        for key in data if isinstance(data, Mapping) else ():
            uses[str(key)] = uses.get(str(key), 0) + 1
    found: dict[str, Any] = {}
    for file, data in files.items():
        if isinstance(data, Mapping):
            found.update((f"{file}:{key}" if uses[str(key)] > 1 else str(key), item) for key, item in data.items())
        else:  # a file that is one number
            found[file] = data
    return found


# -- rows ------------------------------------------------------------------------------------------------------------


def rows(
    project: Project, revs: Sequence[str] = (), num: int = 1, *, param_deps: bool = False, fresh: bool = False
) -> list[dict[str, Any]]:
    """The table of ``exp show`` as mappings: numbers are floats, what is not there is None."""
    built = table.build(
        collect.collect(project, Scope(tuple(revs), num), fresh=fresh), table.Choice(param_deps=param_deps)
    )
    shown = [index for index, column in enumerate(built.columns) if _is_shown(built, index, column)]
    found: list[dict[str, Any]] = []
    for line in built.lines:
        exp = line.experiment
        rev = line.row.rev if line.row.rev == WORKSPACE else line.row.rev[:7]
        found.append(
            {
                "Experiment": exp.name if exp is not None else None,
                "rev": (line.baseline.name or rev) if exp is None else rev,
                "typ": "baseline" if exp is None else "branch_base" if line.last else "branch_commit",
                "Created": _created(line.row.timestamp),
                "parent": None,
                "State": exp.state if exp is not None else None,
                "Executor": exp.executor if exp is not None else None,
                **{built.columns[index].name: _cell(built.columns[index], line.cells[index]) for index in shown},
            }
        )
    return found


def _is_shown(built: table.Table, index: int, column: table.Column) -> bool:
    """A metric that is never one value under a name is not in the table."""
    if column.kind != "metric":
        return True
    return bool(column.key) and any(
        cell is not table.MISSING and cell is not None and not isinstance(cell, list)
        for cell in (line.cells[index] for line in built.lines)
    )


def _cell(column: table.Column, value: Any) -> Any:
    if value is table.MISSING or value is None:
        return None
    if value is table.ERROR:
        return "!"
    if column.kind == "dep":
        return value
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def _created(timestamp: int | None) -> str | None:
    """The hour if it was today, else the day."""
    if timestamp is None:
        return None
    then = time.localtime(timestamp)
    return time.strftime("%I:%M %p" if then[:3] == time.localtime()[:3] else "%b %d, %Y", then)


# -- artifacts -------------------------------------------------------------------------------------------------------


def artifact(project: Project, name: str, version: str | None = None, stage: str | None = None) -> dict[str, str]:
    """The commit (``rev``) and ``path`` of an artifact of a dvc.yaml; raises PyexpError when there is none."""
    wanted = artifacts.asked(name, version, stage)
    tags = project.require_git().tags()
    sha = tags[artifacts.tag_of(tags, wanted)]
    root = project.prefix.rstrip("/")
    path = artifacts.path_of(at_commit(project, sha), wanted, root)
    return {"rev": sha, "path": posixpath.relpath(path, root) if root else path}
