"""Objects of outputs brought from a remote into the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp.errors import RemoteError
from pyexp.events import OnEvent, null
from pyexp.model import Entry, Oid
from pyexp.objects import transfer
from pyexp.objects.store import LocalStore

if TYPE_CHECKING:
    from pyexp.project import Project


def open_remote(project: Project, name: str | None, algo: str) -> LocalStore:
    """The store behind a configured remote (default: ``core.remote``); raises RemoteError."""
    chosen = name or project.config.get("core.remote")
    if not chosen:
        raise RemoteError("no remote is configured", hint="add one: pyexp remote add -d NAME PATH")
    remotes = project.config.remotes()
    if chosen not in remotes or "url" not in remotes[chosen]:
        raise RemoteError(f"no remote '{chosen}'", hint=f"known: {', '.join(sorted(remotes)) or 'none'}")
    url = remotes[chosen]["url"]
    path = url.removeprefix("file://")
    if "://" in path:
        raise RemoteError(f"remote '{chosen}' is {url}", hint="a directory of this machine (or a mount) can be used")
    return LocalStore(Path(os.path.normpath(project.control / path)), algo)


def fetch(
    project: Project, entries: Sequence[Entry], *, remote: str | None = None, on_event: OnEvent = null
) -> tuple[int, list[Oid]]:
    """Brings the objects of outputs into the cache: how many came, and which the remote does not have.

    Manifests come first, for they say what else is needed. Raises RemoteError.
    """
    done, missing = 0, []
    for algo in sorted({entry.oid.algo for entry in entries}):
        source, target = open_remote(project, remote, algo), project.store(algo)
        tops = {entry.oid for entry in entries if entry.oid.algo == algo}
        first = transfer.transfer(source, target, target.missing(tops), on_event=on_event)
        members = {
            Oid(algo, file.hex)
            for oid in tops
            if oid.is_dir and target.has(oid)
            for file in target.read_tree(oid).files.values()
        }
        second = transfer.transfer(source, target, target.missing(members), on_event=on_event)
        done += first.done + second.done
        missing += [*first.missing, *second.missing]
    return done, missing
