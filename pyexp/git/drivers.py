"""Filter drivers (gitattributes(5): filter): the commands git's configuration names, and LFS without its binary."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyexp import durable
from pyexp.errors import GitError

if TYPE_CHECKING:
    from dulwich.config import Config

    from pyexp.git.repo import Repo

Direction: TypeAlias = Literal["clean", "smudge"]

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")


class Drivers:
    """The drivers of one repository, as far as ``settings`` may say what is run."""

    def __init__(self, repo: Repo, settings: Config) -> None:
        self._settings = settings
        self._cwd = str(repo.worktree or repo.gitdir)
        self._lfs = os.path.join(repo.commondir, "lfs", "objects")
        self._processes: dict[str, Any] = {}

    def run(self, name: str, direction: Direction, relpath: str, data: bytes) -> bytes:
        """What the driver makes of the bytes; without such a driver, or when one that is not required fails, the same.

        Raises GitError when a required driver is missing or fails.
        """
        if name == "lfs":
            # Ours: the configured command would need git-lfs installed, and the network.
            return _to_pointer(self._lfs, data) if direction == "clean" else _from_pointer(self._lfs, data)
        required = self._settings.get_boolean((b"filter", name.encode()), b"required", False)
        problem = "it is not configured"
        command = self._setting(name, direction)
        if command is None and self._setting(name, "process") is not None:
            return self._by_process(name, direction, relpath, data)
        if command is not None:
            if not command.strip():
                return data
            shown = command.replace("%f", shlex.quote(relpath))
            # As git: through the shell, at the top of the work tree.
            done = subprocess.run(shown, shell=True, input=data, stdout=subprocess.PIPE, cwd=self._cwd, check=False)
            if done.returncode == 0:
                return done.stdout
            problem = f"'{shown}' ended with {done.returncode}"
        if required:
            raise GitError(f"git's filter '{name}' is needed for '{relpath}': {problem}", hint="see .gitattributes")
        return data

    def _setting(self, name: str, key: str) -> str | None:
        with suppress(KeyError):
            return self._settings.get((b"filter", name.encode()), key.encode()).decode("utf-8", "surrogateescape")
        return None

    def _by_process(self, name: str, direction: Direction, relpath: str, data: bytes) -> bytes:
        from dulwich.filters import FilterError, FilterRegistry  # seam: seldom needed

        if name not in self._processes:
            self._processes[name] = FilterRegistry(self._settings).get_driver(name)
        driver = self._processes[name]
        try:
            made = driver.clean(data) if direction == "clean" else driver.smudge(data, os.fsencode(relpath))
        except (FilterError, OSError, ValueError) as error:
            raise GitError(
                f"git's filter '{name}' failed for '{relpath}': {error}", hint="see .gitattributes"
            ) from error
        return bytes(made)

    def close(self) -> None:
        """Ends filter processes that were kept running."""
        for driver in self._processes.values():
            driver.cleanup()
        self._processes.clear()


def _path(root: str, oid: str) -> str:
    return os.path.join(root, oid[:2], oid[2:4], oid)


def _to_pointer(root: str, data: bytes) -> bytes:
    if not data or _POINTER.match(data):
        return data
    oid = hashlib.sha256(data).hexdigest()
    target = _path(root, oid)
    if not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        durable.write_file(target, data)
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


def _from_pointer(root: str, data: bytes) -> bytes:
    """The file a pointer names, when .git/lfs has it whole; else the pointer itself: nothing is fetched."""
    found = _POINTER.match(data)
    if found is None:
        return data
    oid = found[1].decode("ascii")
    with suppress(OSError):
        stored = durable.read_file(_path(root, oid))
        if stored is not None and hashlib.sha256(stored).hexdigest() == oid:
            return stored
    return data
