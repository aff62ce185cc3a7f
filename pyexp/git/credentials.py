"""Who to be for an http(s) remote: the URL itself, the environment, git's credential store, netrc. Nothing is asked."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from dulwich.client import get_credentials_from_store

from pyexp.git import config

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

HINT = "set PYEXP_GIT_TOKEN, or write https://USER:TOKEN@HOST into ~/.git-credentials, or use ssh"


def find(repo: Repo, remote: str, url: str) -> tuple[str | None, str | None]:
    """User name and password for a URL, (None, None) when none is known.

    PYEXP_GIT_TOKEN goes, over https only, to remotes of git's own configuration and to the host PYEXP_GIT_HOST names:
    a URL out of a stranger's project must not get it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None, None
    if parts.password:
        return unquote(parts.username or ""), unquote(parts.password)
    token = os.environ.get("PYEXP_GIT_TOKEN")
    if token and parts.scheme == "https":
        host = os.environ.get("PYEXP_GIT_HOST")
        if parts.hostname == host if host else config.get(repo, f"remote.{remote}.url") is not None:
            return unquote(parts.username or "") or "x-access-token", token
    with suppress(OSError, ValueError):
        for name, password in get_credentials_from_store(parts.scheme, parts.hostname, parts.username or None):
            return unquote(name), unquote(password)
    return _netrc(parts.hostname)


def _netrc(host: str) -> tuple[str | None, str | None]:
    import netrc  # slow to import, seldom needed

    with suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc().authenticators(host)
        if found is not None:
            return found[0], found[2]
    return None, None
