"""Git's configuration and what follows from it: who commits, and whether a repository may run anything.

dulwich reads the files (git-config(1): system, global, XDG, local, worktree, includes); it is imported when a value is
first asked for.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dulwich.config import ConfigFile, StackedConfig

from pyexp import durable
from pyexp.errors import GitError
from pyexp.git import lockfile
from pyexp.model import Identity

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_IDENTITY_HINT = (
    "tell git who you are: pyexp git config user.name 'Your Name' && pyexp git config user.email you@example.com"
)
# An experiment must not fail for want of a name; only `pyexp git commit` insists on one.
NOBODY = Identity("pyexp", "pyexp@localhost")
WAIT_SECONDS = 10.0
_TRUE = frozenset({"true", "yes", "on", "1", ""})


def load(repo: Repo) -> StackedConfig:
    """The repository's configuration, nearest level first; raises GitError for a file that cannot be parsed."""
    try:
        local = _file(os.path.join(repo.commondir, "config"))
        backends = [local]
        if local.get_boolean((b"extensions",), b"worktreeconfig", False):
            backends.insert(0, _file(os.path.join(repo.gitdir, "config.worktree")))
        return StackedConfig(backends + StackedConfig.default_backends(), writable=local)
    except ValueError as error:
        raise GitError(
            f"git's configuration cannot be read: {error}", hint=f"look at {repo.commondir}/config"
        ) from error


def load_default() -> StackedConfig:
    """The settings of the user and the system alone."""
    return StackedConfig(StackedConfig.default_backends())


def _file(path: str) -> ConfigFile:
    try:
        return ConfigFile.from_path(path)
    except FileNotFoundError:
        return ConfigFile()


def split_key(key: str) -> tuple[tuple[bytes, ...], bytes]:
    """``section[.subsection].name`` as dulwich wants it; raises GitError for anything else."""
    section, dot, name = key.rpartition(".")
    if not dot or not section or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        raise GitError(f"'{key}' is not the name of a git setting", hint="a name looks like user.email")
    head, _, sub = section.partition(".")
    if not re.fullmatch(r"[A-Za-z0-9-]+", head) or "\n" in sub or "\0" in sub:
        raise GitError(f"'{key}' is not the name of a git setting", hint="a name looks like user.email")
    return ((head.encode(), sub.encode("utf-8", "surrogateescape")) if sub else (head.encode(),)), name.encode()


def get(repo: Repo, key: str) -> str | None:
    """A setting's value, None when it is set nowhere."""
    section, name = split_key(key)
    try:
        return repo.config.get(section, name).decode("utf-8", "surrogateescape")
    except KeyError:
        return None


def get_bool(repo: Repo, key: str, default: bool = False) -> bool:
    """A setting read as git reads booleans: true, yes, on, 1 and a bare name."""
    value = get(repo, key)
    return default if value is None else is_true(value)


def is_true(value: str) -> bool:
    """Whether a setting's value is one of git's words for true."""
    return value.strip().lower() in _TRUE


def set_value(repo: Repo, key: str, value: str | None, *, everywhere: bool = False) -> None:
    """Sets (None: removes) a setting of the repository, or (``everywhere``) of the user; raises GitError for bad keys."""
    if not everywhere:
        set_values(repo, {key: value})
        return
    path = _user_file()
    _write(_changed(_file(path), {key: value}), path)
    repo.forget_config()


def set_values(repo: Repo, changes: Mapping[str, str | None]) -> None:
    """Sets several settings of the repository in one step; raises GitError for bad keys."""
    with _locked(repo) as path:
        _write(_changed(_file(path), changes), path)
    repo.forget_config()


def _changed(file: ConfigFile, changes: Mapping[str, str | None]) -> ConfigFile:
    for key, value in changes.items():
        section, name = split_key(key)
        if value is None:
            with suppress(KeyError):
                file.remove(section, name)
        else:
            file.set(section, name, value.encode("utf-8", "surrogateescape"))
    return file


@contextmanager
def _locked(repo: Repo) -> Iterator[str]:
    """The repository's own file, which nobody else changes meanwhile: git takes the same lock."""
    path = os.path.join(repo.commondir, "config")
    with lockfile.writing(repo, "config"), lockfile.held(repo, path, wait=WAIT_SECONDS):
        yield path


def _user_file() -> str:
    chosen = os.environ.get("GIT_CONFIG_GLOBAL") or os.path.expanduser("~/.gitconfig")
    modern = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "git", "config")
    return modern if not os.path.exists(chosen) and os.path.exists(modern) else chosen


def remove_section(repo: Repo, section: tuple[str, ...]) -> bool:
    """Removes a whole section of the repository's own configuration; returns whether there was one."""
    raw = tuple(part.encode("utf-8", "surrogateescape") for part in section)
    with _locked(repo) as path:
        file = _file(path)
        if raw not in file:
            return False
        del file[raw]
        _write(file, path)
    repo.forget_config()
    return True


def _write(file: ConfigFile, path: str) -> None:
    from io import BytesIO

    buffer = BytesIO()
    file.write_to_file(buffer)
    durable.write_file(path, buffer.getvalue(), follow=True)


def subsections(repo: Repo, section: str) -> Iterator[str]:
    """The names ``x`` of all ``[section "x"]``."""
    wanted = section.encode()
    seen = set()
    for found in repo.config.sections():
        if len(found) == 2 and found[0].lower() == wanted and found[1] not in seen:
            seen.add(found[1])
            yield found[1].decode("utf-8", "surrogateescape")


def identity(repo: Repo, role: str = "AUTHOR") -> Identity:
    """Who commits: environment, then configuration; raises GitError, saying how to set it, when neither tells."""
    env = os.environ
    name = env.get(f"GIT_{role}_NAME") or get(repo, f"{role.lower()}.name") or get(repo, "user.name")
    email = env.get(f"GIT_{role}_EMAIL") or get(repo, f"{role.lower()}.email") or get(repo, "user.email")
    email = email or env.get("EMAIL")
    if not name or not email:
        raise GitError("git does not know who you are", hint=_IDENTITY_HINT)
    return Identity(name, email)


def is_owned(repo: Repo) -> bool:
    """Whether the repository is ours, as git's safe.directory rule has it; a stranger's runs no filter and no hook."""
    if sys.platform == "win32":
        return True
    path = str(repo.worktree or repo.commondir)
    owners = {os.geteuid()}
    sudo = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and sudo.isdigit():
        owners.add(int(sudo))
    with suppress(OSError):
        if os.stat(repo.commondir).st_uid in owners and os.stat(path).st_uid in owners:
            return True
    # Only levels a stranger's repository cannot write are asked.
    for backend in StackedConfig.default_backends():
        with suppress(KeyError):
            for value in backend.get_multivar((b"safe",), b"directory"):
                allowed = os.path.expanduser(value.decode("utf-8", "surrogateescape")).rstrip("/")
                if allowed == "*" or os.path.realpath(allowed) == os.path.realpath(path):
                    return True
    return False


def get_default(key: str) -> str | None:
    """A setting of the user or the system, outside any repository."""
    section, name = split_key(key)
    try:
        return load_default().get(section, name).decode("utf-8", "surrogateescape")
    except KeyError:
        return None


def shown_url(url: str) -> str:
    """A URL without its password, for messages."""
    return re.sub(r"://[^/@]*@", "://", url)
