"""The run cache between the cache and remotes: results of stages, by what they were made of, as plain files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import FormatError, RemoteError
from pyexp.formats import lockfile, yamlfile
from pyexp.model import StageLock
from pyexp.objects import parallel, retrying
from pyexp.pipeline import share
from pyexp.pipeline.share import Needed

if TYPE_CHECKING:
    from pyexp.objects.remote import Remote
    from pyexp.project import Project

MAX_BYTES = 1 << 24
# Ours are one file for each key; DVC's have a directory for each, with a file for each result.
_KEYS = {
    "pyexp": re.compile(r"runs/([0-9a-f]{2})/\1[0-9a-f]{62}"),
    "dvc": re.compile(r"runs/([0-9a-f]{2})/\1[0-9a-f]{62}/[0-9a-f]{64}"),
}


def push(project: Project, name: str | None, jobs: int | None) -> int:
    """Sends the results the remote does not have; their objects should be there. Returns how many went."""
    with share.opened(project, name) as remote:
        absent = sorted(set(_local(project)) - _there(project, remote))

        def send(key: str) -> None:
            retrying.call(lambda: remote.files.upload(key, _path(project, key)))

        parallel.spread(send, absent, share.jobs_for(project, remote, jobs))
    return len(absent)


def fetch(project: Project, name: str | None, jobs: int | None) -> int:
    """Brings the results that are not here; what cannot be read as one is left out. Returns how many came."""
    with share.opened(project, name) as remote:
        absent = sorted(_there(project, remote) - set(_local(project)))

        def bring(key: str) -> bool:
            raw = retrying.call(lambda: _read(remote, key))
            if _parse(project, raw, key) is None:
                return False
            path = _path(project, key)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            durable.write_file(path, raw, sync=False)
            return True

        return sum(parallel.spread(bring, absent, share.jobs_for(project, remote, jobs)))


def _read(remote: Remote, key: str) -> bytes:
    pieces: list[bytes] = []
    size = 0

    def sink(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if size > MAX_BYTES:
            raise RemoteError(f"{key} on {remote.files.shown} is larger than {MAX_BYTES} bytes")
        pieces.append(piece)

    remote.files.read(key, sink)
    return b"".join(pieces)


def needed(project: Project) -> list[Needed]:
    """The objects that the results here name; those that are not in the cache can only be fetched."""
    found: dict[Needed, None] = {}
    for key in _local(project):
        raw = durable.read_file(_path(project, key))
        lock = None if raw is None else _parse(project, raw, key)
        for out in lock.outs if lock is not None else ():
            if out.entry is not None:
                found[Needed(out.path, out.entry)] = None
    return list(found)


def _path(project: Project, key: str) -> str:
    return os.path.join(project.cache_dir, *key.split("/"))


def _local(project: Project) -> Iterator[str]:
    base = str(project.cache_dir)
    pattern = _KEYS[project.kind.name]
    for directory, _, names in os.walk(os.path.join(base, "runs")):
        for name in names:
            key = os.path.relpath(os.path.join(directory, name), base).replace(os.sep, "/")
            if pattern.fullmatch(key):
                yield key


def _there(project: Project, remote: Remote) -> set[str]:
    if not remote.files.lists:
        raise RemoteError(
            f"remote '{remote.name}' ({remote.files.shown}) cannot be listed, so it holds no run cache",
            hint="leave --run-cache out",
        )
    pattern = _KEYS[project.kind.name]
    found = retrying.call(lambda: list(remote.files.list("runs/")))
    return {item.key for item in found if pattern.fullmatch(item.key)}


def _parse(project: Project, raw: bytes, key: str) -> StageLock | None:
    """The result a file holds, None when it holds none: it is from strangers."""
    with suppress(FormatError, ValueError, TypeError, KeyError):
        if project.kind.name == "dvc":
            return lockfile.parse_entry(yamlfile.load(raw.decode("utf-8"), key))
        import msgpack  # a DVC project must not pay for it

        return lockfile.parse_entry(msgpack.unpackb(raw, strict_map_key=False)["entry"])
    return None
