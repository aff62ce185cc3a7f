"""Where data came from: a path of a repository at a commit, and settings that weigh more than that repository's own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pyexp import durable
from pyexp.errors import PyexpError, RemoteError, UsageError
from pyexp.events import Ask
from pyexp.formats import config as config_format
from pyexp.model import StageLock
from pyexp.records import dataclass, field, replace

SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class Settings:
    """Configuration that weighs more than the other repository's own: a file or sections, a remote, its options."""

    config: str | Mapping[str, Any] | None = None
    remote: str | None = None
    remote_config: Mapping[str, str] = field(default_factory=dict)

    def dumped(self) -> dict[str, Any]:
        """As an import's record has it; raises UsageError for a file together with a remote and options for it."""
        if self.remote is not None and self.remote_config:
            if isinstance(self.config, str):
                raise UsageError("--config does not go with both --remote and --remote-config")
            config: dict[str, Any] = dict(self.config or {})
            remotes = dict(config.get("remote", {}))
            remotes[self.remote] = {**remotes.get(self.remote, {}), **self.remote_config}
            return {"config": {**config, "core": {**config.get("core", {}), "remote": self.remote}, "remote": remotes}}
        found: dict[str, Any] = {} if self.config is None else {"config": self.config}
        if self.remote is not None or self.remote_config:
            found["remote"] = self.remote or dict(self.remote_config)
        return found

    def sections(self) -> dict[str, Any]:
        """Everything as sections; raises PyexpError when the file cannot be read."""
        found: dict[str, Any] = {}
        if isinstance(self.config, str):
            try:
                raw = durable.read_file(os.path.expanduser(self.config))
            except OSError as error:
                raise PyexpError(f"'{self.config}' cannot be read: {error.strerror}") from error
            if raw is None:
                raise PyexpError(f"there is no configuration file '{self.config}'", hint="see --config")
            found = {
                section: dict(options)
                for section, options in config_format.parse(raw.decode("utf-8", "replace"), self.config).items()
            }
        elif self.config is not None:
            found = dict(self.config)
        if self.remote is not None:
            found["core"] = {**found.get("core", {}), "remote": self.remote}
        return found


@dataclass(frozen=True)
class User:
    """Who looks at another repository: configuration of their own, by level, and how to ask them for a secret."""

    config: Mapping[str, str] = field(default_factory=dict)
    ask: Ask | None = None


@dataclass(frozen=True)
class Origin:
    """Where an import came from: a path of a repository, the revision to follow, and the commit it was taken at."""

    url: str
    path: str
    rev: str | None = None
    rev_lock: str | None = None
    settings: Settings = Settings()

    @staticmethod
    def of(lock: StageLock) -> Origin | None:
        """What an import's record says, None when it is not of a repository; raises PyexpError for nonsense."""
        repo = lock.deps[0].extra.get("repo")
        if repo is None:
            return None
        config, remote = (repo.get("config"), repo.get("remote")) if isinstance(repo, Mapping) else (None, None)
        if (
            not isinstance(repo, Mapping)
            or not isinstance(repo.get("url"), str)
            or not all(isinstance(repo.get(key, ""), str) for key in ("rev", "rev_lock"))
            or not isinstance(config, (str, Mapping, type(None)))
            or not isinstance(remote, (str, Mapping, type(None)))
        ):
            raise PyexpError("deps.0.repo is not a repository's record", hint="it has url, and perhaps rev, rev_lock")
        rev_lock = repo.get("rev_lock") or None
        if rev_lock is not None and not SHA.fullmatch(rev_lock):
            raise PyexpError(f"rev_lock {rev_lock[:60]!r} is no commit", hint="bring it up to date: pyexp update")
        named, options = (remote, {}) if not isinstance(remote, Mapping) else (None, remote)
        settings = Settings(config, named, {str(key): str(value) for key, value in options.items()})
        return Origin(repo["url"], lock.deps[0].path, repo.get("rev") or None, rev_lock, settings)

    def dumped(self) -> dict[str, Any]:
        """The record, in DVC's order."""
        found: dict[str, Any] = {"url": self.url}
        for key, value in (("rev", self.rev), ("rev_lock", self.rev_lock)):
            if value:
                found[key] = value
        return {**found, **self.settings.dumped()}

    def at(self, sha: str | None) -> Origin:
        return replace(self, rev_lock=sha)

    def seen_from(self, bases: Sequence[str]) -> Origin:
        """The same, with a path of this machine made absolute; raises RemoteError when it is not there."""
        return replace(self, url=local_path(self.url, bases) or self.url)

    def key(self, rev: str | None) -> str:
        """The same for every path of one repository at ``rev``."""
        return json.dumps([self.url, rev, self.settings.dumped()], sort_keys=True, default=str)


def local_path(url: str, bases: Sequence[str]) -> str | None:
    """The path of this machine that a URL is, None for one of a server; a relative one is looked for in ``bases``.

    Raises RemoteError when it is a path, and nothing is there.
    """
    if url.startswith("file://"):
        from urllib.parse import unquote, urlsplit  # most URLs are paths or of servers

        url = unquote(urlsplit(url).path)
    if "://" in url or url.startswith("-"):
        return None
    for base in bases:
        found = os.path.normpath(os.path.join(base, os.path.expanduser(url)))
        if os.path.isdir(found):
            return found
        if os.path.isdir(f"{found}.git"):
            return f"{found}.git"
    if re.match(r"[^/\\]{2,}:", url):  # host:path, of ssh
        return None
    raise RemoteError(f"there is no repository at '{url}'", hint="check the path; or give a URL")
