"""Results of stages seen before: from what a stage was made of to what it gave.

The key is the SHA-256 of the stage's lock entry with its outputs reduced to their paths and without sizes, as DVC
computes it (FORMATS.md §1.6, golden vectors §8), so that a DVC project shares its run cache. The name of a result is
the SHA-256 of the whole entry without sizes.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import FormatError
from pyexp.formats import lockfile, yamlfile
from pyexp.model import StageLock, StageSpec

if TYPE_CHECKING:
    from pyexp.project import Project

VERSION = 1


def eligible(stage: StageSpec) -> bool:
    """Whether a stage's results may be kept: it has a command, inputs and outputs, all of them in the project."""
    return (
        stage.cmd is not None
        and not stage.always_changed
        and bool(stage.deps or stage.params)
        and bool(stage.outs)
        and not any(out.persist for out in stage.outs)
        and not any("://" in path or path.startswith("/") for path in (*stage.deps, *(out.path for out in stage.outs)))
    )


def savable(stage: StageSpec) -> bool:
    """Whether a result can be restored later: everything but metrics and plots goes through the cache."""
    return eligible(stage) and all(out.cache or out.kind != "out" for out in stage.outs)


def key(stage: StageSpec, lock: StageLock) -> str:
    """The hex key of what a stage is made of: ``lock`` holds its command, deps and params as they are now."""
    entry = lockfile.lock_entry(StageLock(lock.cmd, lock.deps, lock.params))
    return _digest({**entry, "outs": sorted(out.path for out in stage.outs)})


def value(lock: StageLock) -> str:
    """The hex name of a result."""
    return _digest(lockfile.lock_entry(lock))


def _digest(entry: dict[str, Any]) -> str:
    import hashlib  # seam: a plug that costs 2 ms, for stages that run

    return hashlib.sha256(json.dumps(_without_sizes(entry), sort_keys=True, default=str).encode()).hexdigest()


def _without_sizes(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _without_sizes(item) for name, item in data.items() if name not in ("size", "nfiles")}
    if isinstance(data, list):
        return [_without_sizes(item) for item in data]
    return data


def _directory(project: Project, run_key: str) -> str:
    return os.path.join(project.cache_dir, "runs", run_key[:2], run_key)


def find(project: Project, stage: StageSpec, lock: StageLock) -> StageLock | None:
    """The newest result of a run with these inputs, or None; what cannot be read counts as absent."""
    if not eligible(stage):
        return None
    run_key = key(stage, lock)
    path = _directory(project, run_key)
    try:
        return _read_msgpack(path) if project.kind.name == "pyexp" else _read_yaml(path)
    except (OSError, FormatError, ValueError, TypeError, KeyError):
        return None


def _read_msgpack(path: str) -> StageLock | None:
    import msgpack

    raw = durable.read_file(path)
    if raw is None:
        return None
    record = msgpack.unpackb(raw, strict_map_key=False)
    if record["version"] != VERSION:
        return None
    return lockfile.parse_entry(record["entry"])


def _read_yaml(path: str) -> StageLock | None:
    newest: tuple[float, str] | None = None
    with os.scandir(path) as entries:
        for entry in entries:
            if len(entry.name) == 64:
                newest = max(newest or (0.0, ""), (entry.stat().st_mtime, entry.path))
    if newest is None:
        return None
    raw = durable.read_file(newest[1])
    return None if raw is None else lockfile.parse_entry(yamlfile.load(raw.decode("utf-8"), newest[1]))


def save(project: Project, stage: StageSpec, lock: StageLock) -> None:
    """Keeps a result; it must not be recorded before its objects are in the cache."""
    if not savable(stage):
        return
    run_key = key(stage, lock)
    path = _directory(project, run_key)
    entry = lockfile.lock_entry(lock)
    if project.kind.name == "pyexp":
        import msgpack

        durable.make_directories(os.path.dirname(path), project.cache_modes.directory)
        body = msgpack.packb({"version": VERSION, "entry": entry}, default=str)
        durable.write_file(path, body, mode=project.cache_modes.file)
        return
    durable.make_directories(path, project.cache_modes.directory)
    target = os.path.join(path, value(lock))
    with suppress(FileNotFoundError):
        os.utime(target)
        return
    durable.write_file(target, yamlfile.dump(entry), mode=project.cache_modes.file)
