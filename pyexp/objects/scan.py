"""Which files are below a directory: one listing of each directory, one stat of each file, nothing read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from pyexp import durable
from pyexp.errors import StoreError
from pyexp.objects.hashes import kind
from pyexp.objects.tree import MAX_DEPTH
from pyexp.paths import UnsafePath, check_part

Ignore: TypeAlias = Callable[[str, bool], bool]

# Never data, as in DVC: repositories and control directories that happen to lie below.
_SKIPPED = frozenset({".git", ".hg", ".dvc", ".pyexp"})


class Folder(NamedTuple):
    """One directory: its path, its relpath with a slash after it ('' for the top), its regular files by name."""

    path: str
    prefix: str
    files: dict[str, os.stat_result]


class Scan(NamedTuple):
    """Everything below a directory, and relpaths of what is no data.

    ``broken`` are links to nothing, ``linked`` links to directories (not entered), ``litter`` temporary files.
    """

    folders: list[Folder]
    broken: list[str]
    linked: list[str]
    litter: list[str]


def scan(top: str, ignore: Ignore | None = None) -> Scan:
    """Lists ``top``: links to files count as the files they point to, links to directories are not followed.

    ``ignore(relpath, is_dir)`` prunes. Raises StoreError for what is neither file nor directory, for names that no
    manifest may hold, and for directories that cannot be read.
    """
    found = Scan([], [], [], [])
    pending = [("", top)]
    while pending:
        prefix, path = pending.pop()
        if prefix.count("/") > MAX_DEPTH:
            raise StoreError(f"'{path}' is nested more than {MAX_DEPTH} deep")
        folder = Folder(path, prefix, {})
        try:
            with os.scandir(path) as entries:
                below = [
                    (prefix + name + "/", entry.path)
                    for entry in entries
                    if (name := _visit(entry, folder, found, ignore))
                ]
        except OSError as error:
            raise StoreError(f"'{path}' cannot be listed: {error.strerror}") from error
        found.folders.append(folder)
        pending.extend(below)
    return found


def _visit(entry: os.DirEntry[str], folder: Folder, found: Scan, ignore: Ignore | None) -> str | None:
    """Notes what an entry is; returns its name when it is a directory to go into."""
    name = entry.name
    # Most names begin with a letter or digit; only the others, and what git could take for .git, need a closer look.
    odd = not (name[0].isalnum() and name.isascii() and len(name) < 64) or name[0] in "gG"
    if odd and name in _SKIPPED:
        return None
    if odd and name.startswith(durable.TMP_PREFIX):
        found.litter.append(folder.prefix + name)
        return None
    is_dir = entry.is_dir(follow_symlinks=False)
    if ignore is not None and ignore(folder.prefix + name, is_dir):
        return None
    if odd:
        _check_name(entry)
    if is_dir:
        return name
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            status = os.stat(entry.path)
    except FileNotFoundError:
        if entry.is_symlink():
            found.broken.append(folder.prefix + name)
        return None
    if stat.S_ISREG(status.st_mode):
        folder.files[name] = status
    elif stat.S_ISDIR(status.st_mode):
        found.linked.append(folder.prefix + name)
    else:
        raise StoreError(
            f"'{entry.path}' is {kind(status.st_mode)}, neither a file nor a directory",
            hint="remove it, or list it in .dvcignore",
        )
    return None


def _check_name(entry: os.DirEntry[str]) -> None:
    if entry.name == ".dvcignore":
        raise StoreError(f"'{entry.path}' is inside tracked data", hint="move it above the directory")
    try:
        check_part(entry.name)
    except UnsafePath as error:
        raise StoreError(
            f"'{entry.path}' cannot be tracked: {error}", hint="rename it, or list it in .dvcignore"
        ) from error
