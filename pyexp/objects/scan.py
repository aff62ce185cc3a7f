"""Which files are below a directory: one listing of each directory, one stat of each file, nothing read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from pyexp import durable
from pyexp.errors import StoreError
from pyexp.objects.hashes import kind
from pyexp.objects.tree import MAX_DEPTH
from pyexp.paths import UnsafePath, check_part

Ignore: TypeAlias = Callable[[str, bool], bool]

# Never data, as in DVC: repositories and control directories that happen to lie below.
_SKIPPED = frozenset({".git", ".hg", ".dvc", ".pyexp"})

# Names that need no closer look: they can be neither hidden, nor long, nor taken for .git by any file system.
_PLAIN = re.compile(r"[A-FH-Za-fh-z0-9_][ -.0-~]{0,62}")


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
                pending.extend(_list(entries, folder, found, ignore))
        except OSError as error:
            raise StoreError(f"'{path}' cannot be listed: {error.strerror}") from error
        found.folders.append(folder)
    return found


def _list(
    entries: Iterable[os.DirEntry[str]], folder: Folder, found: Scan, ignore: Ignore | None
) -> list[tuple[str, str]]:
    """Notes the entries of one directory; returns the directories among them: prefix and path."""
    below = []
    prefix, files, plain = folder.prefix, folder.files, _PLAIN.fullmatch
    for entry in entries:
        name = entry.name
        odd = plain(name) is None
        if odd and not _is_data(name, prefix, found):
            continue
        if ignore is not None and ignore(prefix + name, entry.is_dir(follow_symlinks=False)):
            continue
        if odd:
            _check_name(entry)
        if entry.is_file(follow_symlinks=False):
            try:  # not suppress(), which costs as much as the call, for each of a hundred thousand files
                files[name] = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed meanwhile: then it is not there
                continue
        elif entry.is_dir(follow_symlinks=False):
            below.append((f"{prefix}{name}/", entry.path))
        else:
            _note_odd(entry, folder, found)
    return below


def _is_data(name: str, prefix: str, found: Scan) -> bool:
    if name.startswith(durable.TMP_PREFIX):
        found.litter.append(prefix + name)
        return False
    return name not in _SKIPPED


def _note_odd(entry: os.DirEntry[str], folder: Folder, found: Scan) -> None:
    """Notes a link, which counts as what it points to; refuses anything else."""
    try:
        status = os.stat(entry.path)
    except FileNotFoundError:
        if entry.is_symlink():
            found.broken.append(folder.prefix + entry.name)
        return
    if stat.S_ISREG(status.st_mode):
        folder.files[entry.name] = status
    elif stat.S_ISDIR(status.st_mode):
        found.linked.append(folder.prefix + entry.name)
    else:
        raise StoreError(
            f"'{entry.path}' is {kind(status.st_mode)}, neither a file nor a directory",
            hint="remove it, or list it in .dvcignore",
        )


def _check_name(entry: os.DirEntry[str]) -> None:
    if entry.name == ".dvcignore":
        raise StoreError(f"'{entry.path}' is inside tracked data", hint="move it above the directory")
    try:
        check_part(entry.name)
    except UnsafePath as error:
        raise StoreError(
            f"'{entry.path}' cannot be tracked: {error}", hint="rename it, or list it in .dvcignore"
        ) from error
