"""Who to be for an http(s) remote: the URL itself, the environment, git's store of logins, netrc; and when that is not
enough, git's credential helpers and the user.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pyexp.git import config, logins

if TYPE_CHECKING:
    from pyexp.git.logins import Login, Question
    from pyexp.git.repo import Repo

HINT = "set PYEXP_GIT_TOKEN or git's credential.helper, or write https://USER:TOKEN@HOST into ~/.git-credentials, or use ssh"


def find(repo: Repo, remote: str, url: str) -> tuple[str | None, str | None]:
    """User name and password for a URL, (None, None) when none is known. Nothing is asked.

    PYEXP_GIT_TOKEN goes, over https only, to remotes of git's own configuration and to the host PYEXP_GIT_HOST names:
    a URL out of a stranger's project must not get it, nor a remote of a repository that somebody else owns.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None, None
    if parts.password:
        return unquote(parts.username or ""), unquote(parts.password)
    if url in repo.logins:
        return repo.logins[url]
    token = os.environ.get("PYEXP_GIT_TOKEN")
    if token and parts.scheme == "https":
        host = os.environ.get("PYEXP_GIT_HOST")
        if parts.hostname == host if host else repo.is_owned and config.get(repo, f"remote.{remote}.url") is not None:
            return unquote(parts.username or "") or "x-access-token", token
    fields = {"protocol": parts.scheme, "host": parts.hostname + (f":{parts.port}" if parts.port else "")}
    if parts.username:
        fields["username"] = unquote(parts.username)
    return logins.read_store(logins.default_stores(), fields) or _netrc(parts.hostname)


def _netrc(host: str) -> tuple[str | None, str | None]:
    import netrc  # slow to import, seldom needed

    with suppress(OSError, netrc.NetrcParseError):
        found = netrc.netrc().authenticators(host)
        if found is not None:
            return found[0], found[2]
    return None, None


class Asked:
    """A login for a URL whose server has asked who we are, from a helper or from the user; None when nobody tells."""

    def __init__(self, repo: Repo, url: str) -> None:
        self._repo = repo
        self._url = url
        self.login: Login | None = None
        if urlsplit(url).password:
            return  # the URL is what the user wants
        self._question: Question = logins.question(repo, url)
        self.login = logins.get(self._question) or self._typed()

    def _typed(self) -> Login | None:
        fields = self._question.fields
        protocol, host = fields["protocol"], fields["host"]
        where = f"{protocol}://{host}"
        user = fields.get("username")
        if user is None:
            user = self._answer(f"Username for '{where}': ", f"user name for {where}", shown=True)
        if user is None:
            return None
        prompt = f"Password for '{protocol}://{quote(user)}@{host}': "
        password = self._answer(prompt, f"password or token for {user} at {where}")
        return None if password is None else (user, password)

    def _answer(self, prompt: str, asked: str, *, shown: bool = False) -> str | None:
        """What the user says to git's program for that, which is given git's words, or else on the terminal."""
        answer = logins.ask_program(self._repo, prompt)
        may_ask = os.environ.get("GIT_TERMINAL_PROMPT", "1").lower() not in ("0", "false", "no", "off")
        if answer is None and self._repo.ask is not None and may_ask:
            return self._repo.ask(asked, shown=shown)
        return answer

    def accepted(self) -> None:
        """The login was right: it is kept for this command, and helpers may keep it for longer."""
        assert self.login is not None
        self._repo.logins[self._url] = self.login
        logins.tell(self._question, self.login, "store")

    def refused(self) -> None:
        """The login was wrong: helpers forget it."""
        assert self.login is not None
        logins.tell(self._question, self.login, "erase")
