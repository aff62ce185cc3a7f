"""Files of other places on their way into a directory: where their objects land, and what becomes of them there."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyexp import durable
from pyexp.model import Oid
from pyexp.objects import links
from pyexp.objects.store import LocalStore
from pyexp.paths import check_relpath

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.pipeline.origins import Origin


class File(NamedTuple):
    """One file: git's ``blob``, a file of this machine at ``path``, or tracked data, ``oid`` of the project at ``root``.

    ``remote`` is the output's own one; ``origin`` is where the other project imported the data from, if it did.
    """

    size: int | None = None
    isexec: bool = False
    blob: str | None = None
    path: str | None = None
    oid: Oid | None = None
    root: str = ""
    remote: str | None = None
    origin: Origin | None = None


def layout_of(algo: str) -> Literal["files", "legacy"]:
    """How a directory's objects of an algorithm lie: those of DVC 2 at the top."""
    return "legacy" if algo == "md5-dos2unix" else "files"


class Landing:
    """Where objects land: in ``own``, the store that they are for, or in a directory that goes away."""

    def __init__(self, directory: str, own: LocalStore | None = None) -> None:
        self._directory = directory
        self._own = own
        self._stores: dict[str, LocalStore] = {}

    def is_ours(self, algo: str) -> bool:
        """Whether objects of an algorithm land where they may be used up."""
        return self._own is None or self._own.algo != algo

    @cached_property
    def mode(self) -> int:
        """The mode of a new file: what it is to the user's umask."""
        path = durable.temporary_name(self._directory)
        os.close(links.create(path))
        try:
            return stat.S_IMODE(os.stat(path).st_mode)
        finally:
            os.unlink(path)

    def store(self, algo: str) -> LocalStore:
        """The store that an algorithm's objects land in."""
        if self._own is not None and self._own.algo == algo:
            return self._own
        if algo not in self._stores:
            root = Path(self._directory, "objects")
            self._stores[algo] = LocalStore(root, algo, layout=layout_of(algo), fsync="none")
        return self._stores[algo]


def write(files: Mapping[str, File], path: str, landing: Landing, git: Repo | None = None) -> None:
    """Makes ``path``, which must not be there, hold files whose objects have landed; those that may be are used up."""
    uses: dict[Oid, int] = {}
    for file in files.values():
        if file.oid is not None:
            uses[file.oid] = uses.get(file.oid, 0) + 1
    if "" not in files:
        os.mkdir(path)
    for relpath, file in files.items():
        target = path
        if relpath:
            target = os.path.join(path, *check_relpath(relpath).split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
        if file.oid is not None:
            uses[file.oid] -= 1
        _write(file, target, landing, git, last=file.oid is not None and not uses[file.oid])
        if file.isexec:
            mode = os.stat(target).st_mode
            os.chmod(target, mode | (mode & 0o444) >> 2)


def _write(file: File, target: str, landing: Landing, git: Repo | None, *, last: bool) -> None:
    if file.blob is not None:
        assert git is not None
        fd = links.create(target)
        try:
            links.write_all(fd, git.read_blob(file.blob))
        finally:
            os.close(fd)
    elif file.path is not None:
        links.link(file.path, target, ("reflink", "copy"))
    else:
        assert file.oid is not None
        landed = landing.store(file.oid.algo)
        landed.verify(file.oid)
        if last and landing.is_ours(file.oid.algo):
            os.rename(landed.path(file.oid), target)
            os.chmod(target, landing.mode)
        else:
            links.link(landed.path(file.oid), target, ("reflink", "copy"))
