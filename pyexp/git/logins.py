"""git's credential helpers and askpass (gitcredentials(7)): programs that are spoken to as git does.

Only configuration of the user and the system, and of a repository that is ours, may name one. The helper ``store`` is
a file, which is read and written here. What helpers say is never logged.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, urlsplit

from dulwich.config import ConfigFile, StackedConfig
from dulwich.credentials import urlmatch_credential_sections

from pyexp import durable
from pyexp.errors import RemoteError
from pyexp.git import config
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

Login = tuple[str, str]
_ORDER = ("protocol", "host", "path", "username", "password")


@dataclass(frozen=True)
class Question:
    """Who to be at a URL: ``helpers`` are asked one after the other about ``fields``, as git's protocol names them."""

    fields: Mapping[str, str]
    helpers: tuple[str, ...]


def question(repo: Repo, url: str) -> Question:
    """What is to be asked about a URL; raises RemoteError for one that could say something else to a helper."""
    parts = urlsplit(url)
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    fields = {"protocol": parts.scheme, "host": host}
    settings = repo.trusted_config
    helpers: list[str] = []
    for name, value in _settings(settings, url):
        if name == "helper":
            # An empty one takes back those before it.
            helpers = [*helpers, value] if value else []
        elif name == "username" and value:
            fields["username"] = value
        elif name == "usehttppath" and config.is_true(value):
            fields["path"] = unquote(parts.path.lstrip("/"))
    if parts.username:
        fields["username"] = unquote(parts.username)
    if any(character in value for value in fields.values() for character in "\n\r\0"):
        raise RemoteError("a URL with a line break in it is not asked about", hint="see the URL: pyexp git remote")
    return Question(fields, tuple(helpers))


def _settings(settings: StackedConfig, url: str) -> Iterator[tuple[str, str]]:
    """The settings of ``credential`` that are about a URL, in git's order: what is nearer comes later."""
    for backend in reversed(settings.backends):
        if not isinstance(backend, ConfigFile):
            continue
        for section in urlmatch_credential_sections(backend, url):
            for key, value in backend.items(section):
                yield key.decode().lower(), value.decode("utf-8", "surrogateescape")


def get(asked: Question) -> Login | None:
    """The first helper's answer that has a user name and a password."""
    known = dict(asked.fields)
    for helper in asked.helpers:
        stored = _stored_in(helper)
        if stored is not None:
            found = read_store(stored, known)
            if found is not None:
                return found
            continue
        answer = _run(helper, "get", known)
        if config.is_true(answer.get("quit", "no")):
            return None
        known.update({key: answer[key] for key in ("username", "password") if key in answer})
        if "username" in known and "password" in known:
            return known["username"], known["password"]
    return None


def tell(asked: Question, login: Login, action: Literal["store", "erase"]) -> None:
    """Tells every helper of a login that was let in (``store``), or was not (``erase``)."""
    fields = {**asked.fields, "username": login[0], "password": login[1]}
    for helper in asked.helpers:
        stored = _stored_in(helper)
        if stored is None:
            _run(helper, action, fields)
        else:
            with suppress(OSError):
                _rewrite(stored[0] if action == "store" else None, stored, fields)


def _run(helper: str, action: str, fields: Mapping[str, str]) -> dict[str, str]:
    command = _command(helper)
    if command is None:
        return {}
    # The whole of it through the shell, as git does; what it says on stderr is for the user.
    text = "".join(f"{key}={fields[key]}\n" for key in _ORDER if key in fields)
    done = subprocess.run(
        f"{command} {action}",
        shell=True,
        input=f"{text}\n".encode("utf-8", "surrogateescape"),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0 or action != "get":
        return {}
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")
    return {key: value for key, _, value in (line.partition("=") for line in lines) if key}


def _command(helper: str) -> str | None:
    """The shell's words for a helper; None for one of git's own where there is no git."""
    if helper.startswith("!"):
        return helper[1:]
    if os.path.isabs(helper):
        return helper
    name, space, options = helper.partition(" ")
    program = shutil.which(f"git-credential-{name}")
    if program is not None:
        return f"{shlex.quote(program)}{space}{options}"
    return f"git credential-{helper}" if shutil.which("git") else None


def ask_program(repo: Repo, prompt: str) -> str | None:
    """What the program says that git has people asked by (GIT_ASKPASS, core.askPass, SSH_ASKPASS); None without one."""
    program: str | None = os.environ.get("GIT_ASKPASS")
    if not program:
        with suppress(KeyError):
            program = repo.trusted_config.get((b"core",), b"askpass").decode("utf-8", "surrogateescape")
    program = program or os.environ.get("SSH_ASKPASS")
    if not program:
        return None
    try:
        done = subprocess.run([os.path.expanduser(program), prompt], stdout=subprocess.PIPE, check=False)
    except OSError:
        return None
    text = done.stdout.decode("utf-8", "surrogateescape")
    return re.split("[\r\n]", text, maxsplit=1)[0] if done.returncode == 0 else None


# -- the helper that is a file ---------------------------------------------------------------------------------------


def default_stores() -> list[str]:
    """Where logins are kept when the helper names no file."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return [os.path.expanduser("~/.git-credentials"), os.path.join(home, "git", "credentials")]


def _stored_in(helper: str) -> list[str] | None:
    """The files of the helper ``store``, None for every other helper."""
    with suppress(ValueError):
        name, *options = shlex.split(helper) or [""]
        if name == "store":
            for number, option in enumerate(options):
                if option.startswith("--file="):
                    return [os.path.expanduser(option.removeprefix("--file="))]
                if option == "--file" and number + 1 < len(options):
                    return [os.path.expanduser(options[number + 1])]
            return default_stores()
    return None


def read_store(paths: Iterable[str], fields: Mapping[str, str]) -> Login | None:
    """The first login in files of ``https://user:password@host`` lines that is for the place ``fields`` names."""
    for path in paths:
        for line in _lines(path):
            login = _login(line, fields)
            if login is not None:
                return login
    return None


def _lines(path: str) -> list[str]:
    with suppress(OSError):
        return (durable.read_file(path) or b"").decode("utf-8", "surrogateescape").splitlines()
    return []


def _login(line: str, fields: Mapping[str, str]) -> Login | None:
    try:
        parts = urlsplit(line.strip())
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if (parts.scheme, host) != (fields["protocol"], fields["host"]) or not user or not password:
        return None
    if fields.get("username") not in (None, user):
        return None
    if "path" in fields and unquote(parts.path.lstrip("/")) != fields["path"]:
        return None
    return user, password


def _rewrite(target: str | None, paths: Iterable[str], fields: Mapping[str, str]) -> None:
    """Takes a login out of the files, and puts it first into ``target``."""
    path = f"/{quote(fields['path'])}" if "path" in fields else ""
    login = f"{quote(fields['username'], safe='')}:{quote(fields['password'], safe='')}"
    line = f"{fields['protocol']}://{login}@{fields['host']}{path}"
    bare = {key: value for key, value in fields.items() if key != "password"}
    for file in paths:
        old = _lines(file)
        # To erase is only what was refused: somebody may have put in a new one.
        kept = [one for one in old if (_login(one, bare) is None if target else one.strip() != line)]
        new = [line, *kept] if file == target else kept
        if new != old:
            durable.write_file(
                file, "".join(f"{one}\n" for one in new).encode("utf-8", "surrogateescape"), mode=0o600, follow=True
            )
