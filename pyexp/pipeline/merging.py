"""Three versions of a ``.dvc`` file become one: what two branches did to one directory, file by file."""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp.errors import PyexpError
from pyexp.formats import lockfile
from pyexp.model import Entry, LockEntry, Oid, StageLock, StageSpec, Tree, TreeFile
from pyexp.objects.actions import some
from pyexp.records import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyexp.objects.store import LocalStore
    from pyexp.project import Project

_BY_HAND = "merge it by hand: choose a version, pyexp checkout, change the files, pyexp add"


def merge(project: Project, file: str, ancestor: str, our: str, their: str) -> str:
    """The text of a ``.dvc`` file with what ``their`` text has changed since ``ancestor`` put into ``our`` text.

    An empty text is a file that is not there. The merged directory's manifest goes into the cache. Raises PyexpError
    for what cannot be merged: files, imports, the same file changed twice; MissingObject for a manifest that is not here.
    """
    if not their.strip() or not our.strip():
        return our if our.strip() else their
    spec, ours = _directory(our, file)
    theirs = _directory(their, file)
    old = _directory(ancestor, file) if ancestor.strip() else None
    for other, _ in (theirs, *([old] if old is not None else [])):
        if replace(other, desc=spec.desc, meta=spec.meta) != spec:
            raise PyexpError(f"{file}: the branches have other options for '{spec.outs[0].path}'", hint=_BY_HAND)
    store = project.store(ours.oid.algo)
    if theirs[1].oid.algo != store.algo:
        raise PyexpError(f"{file}: the branches have hashes of different kinds", hint=_BY_HAND)
    base: Mapping[str, TreeFile] = {}
    if old is not None and old[1].oid.algo == store.algo:
        base = store.read_tree(old[1].oid).files
    files = _merged(file, base, store.read_tree(ours.oid).files, store.read_tree(theirs[1].oid).files)
    merged = store.put_tree(Tree(store.algo, {path: _sized(store, file) for path, file in files.items()}))
    store.flush()
    if merged.oid == ours.oid:
        return our
    return lockfile.dump_dvc(our, file, spec, StageLock(None, (), {}, (LockEntry(spec.outs[0].path, merged),)))


def _directory(text: str, file: str) -> tuple[StageSpec, Entry]:
    spec, lock, _ = lockfile.parse_dvc(text, file)
    entry = lock.outs[0].entry if len(lock.outs) == 1 else None
    if entry is None or not entry.oid.is_dir or spec.deps or spec.cmd:
        raise PyexpError(f"{file}: only directories that pyexp add tracks can be merged", hint=_BY_HAND)
    return spec, entry


def _sized(store: LocalStore, file: TreeFile) -> TreeFile:
    """A file with its size, which not every manifest has: of its object, if that is here."""
    if file.size is not None:
        return file
    with suppress(OSError):
        return TreeFile(file.hex, os.stat(store.path(Oid(store.algo, file.hex))).st_size, file.isexec)
    return file


def _merged(
    file: str, base: Mapping[str, TreeFile], ours: Mapping[str, TreeFile], theirs: Mapping[str, TreeFile]
) -> dict[str, TreeFile]:
    found: dict[str, TreeFile] = {}
    clashes: list[str] = []
    for path in sorted(base.keys() | ours.keys() | theirs.keys()):
        was, mine, other = (_known(files.get(path)) for files in (base, ours, theirs))
        chosen = ours if other == was else theirs
        if mine not in (other, was) and other != was:
            clashes.append(path)
        elif path in chosen:
            found[path] = chosen[path]
    for path in found:
        above = posixpath.dirname(path)
        while above and above not in found:
            above = posixpath.dirname(above)
        if above:  # one branch has a file where the other has a directory
            clashes.append(above)
    if clashes:
        raise PyexpError(f"{file}: both branches changed {some(sorted(set(clashes)))}", hint=_BY_HAND)
    return found


def _known(file: TreeFile | None) -> tuple[str, bool] | None:
    """What counts of a file; not every manifest has sizes."""
    return None if file is None else (file.hex, file.isexec)
