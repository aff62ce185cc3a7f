"""Talking to git servers: a client for a URL, who to be there, and what goes wrong said in one line."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dulwich.client import (
    HttpGitClient,
    HTTPUnauthorized,
    SSHGitClient,
    check_transport_allowed,
    get_transport_and_path,
)
from dulwich.errors import GitProtocolError, NotGitRepository

from pyexp.errors import PyexpError, RemoteError
from pyexp.git import config, credentials

if TYPE_CHECKING:
    from dulwich.client import GitClient, SSHVendor

    from pyexp.git.repo import Repo

Result = TypeVar("Result")
# What it warns of (a server's odd names, a header of the configuration that may be a secret) would be printed where the
# embedding program has not set up logging; what matters is raised.
logging.getLogger("dulwich").addHandler(logging.NullHandler())
# Half a million refs, more or less.
REFS_BYTES = 1 << 25

_CAUSE = re.compile(r"\(Caused by \w+\(['\"]?(?:HTTPS?Connection\([^)]*\): |\w+\(\d+, ')?(.{1,200}?)['\"]?\)?\)\)$")


def talk(repo: Repo, remote: str, url: str, operation: str, use: Callable[[GitClient, bytes], Result]) -> Result:
    """What ``use`` makes of a client for a URL; where the server wants to know who we are, that is asked for once."""
    with _explained(url):
        try:
            return use(*_client(repo, url, operation, credentials.find(repo, remote, url)))
        except HTTPUnauthorized:
            asked = credentials.Asked(repo, url)
            if asked.login is None:
                raise
        try:
            result = use(*_client(repo, url, operation, asked.login))
        except HTTPUnauthorized:
            asked.refused()
            raise
        asked.accepted()
        return result


def _client(repo: Repo, url: str, operation: str, login: tuple[str | None, str | None]) -> tuple[GitClient, bytes]:
    username, password = login
    client, path = get_transport_and_path(
        url,
        config=repo.trusted_config,
        operation=operation,
        quiet=True,
        username=username,
        password=password,
        ssh_command=os.environ.get("GIT_SSH_COMMAND"),  # dulwich itself reads core.sshCommand only
    )
    if isinstance(client, SSHGitClient) and client.ssh_command == "ssh" and shutil.which("ssh") is None:
        client.ssh_vendor = _vendor(url)
    check_transport_allowed(client, repo.trusted_config)
    _bound(client)
    return client, path.encode()


def _bound(client: GitClient) -> None:
    """A web server may tell of refs without an end: what it says of them is read up to a limit."""
    if not isinstance(client, HttpGitClient):
        return
    request = client._http_request

    def bounded(url: str, headers: Any = None, data: Any = None, raise_for_status: bool = True) -> Any:
        answer, read = request(url, headers, data, raise_for_status)
        if "/info/refs" in url or (isinstance(data, bytes) and b"command=ls-refs" in data):
            return answer, _up_to(REFS_BYTES, read, client)
        return answer, read

    client._http_request = bounded  # type: ignore[method-assign]


def _up_to(limit: int, read: Callable[[int], bytes], client: HttpGitClient) -> Callable[[int], bytes]:
    left = limit

    def counted(size: int) -> bytes:
        nonlocal left
        # Of a server of files dulwich reads 4 KiB at a time, and copies all it has each time.
        piece = read(max(size, 1 << 20) if client.dumb else size)
        left -= len(piece)
        if left < 0:
            raise GitProtocolError(f"its list of refs is longer than {limit >> 20} MiB")
        return piece

    return counted


def _vendor(url: str) -> SSHVendor:
    """Stands in for the program ``ssh`` where there is none."""
    where = config.shown_url(url)
    try:
        from pyexp.git import paramikossh  # an extra
    except ImportError as error:
        raise RemoteError(
            f"{where} needs the program 'ssh' or the package '{error.name}', and neither is installed",
            hint="pip install 'pyexp[ssh]', install OpenSSH, or use the https:// URL",
        ) from error
    return paramikossh.Vendor(where)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turns what the network and dulwich raise into RemoteError, in one line that says what to do."""
    where = config.shown_url(url)
    try:
        yield
    except PyexpError:
        raise
    except HTTPUnauthorized as error:
        raise RemoteError(f"{where} asks who you are", hint=credentials.HINT) from error
    except NotGitRepository as error:
        raise RemoteError(f"{where} is no git repository", hint="see the URL: pyexp git remote") from error
    except FileNotFoundError as error:
        hint = "install OpenSSH, or use the https:// URL" if error.filename in ("ssh", None) else None
        raise RemoteError(f"{where} cannot be reached: {error.filename or error} is not there", hint=hint) from error
    except (GitProtocolError, OSError, ValueError, EOFError, AssertionError, KeyError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if (cause := _CAUSE.search(text)) is not None:  # what urllib3 wraps in the tale of its attempts
            raise RemoteError(f"{where} cannot be reached: {cause[1]}", hint="see the URL and the network") from error
        raise RemoteError(f"{where} cannot be used: {text[:300]}", hint="see the URL and the network") from error
    except Exception as error:
        # urllib3's, paramiko's and dulwich.client's own errors share no base that could be named here.
        if type(error).__module__.split(".")[0] not in ("urllib3", "dulwich", "paramiko"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        raise RemoteError(f"{where} cannot be reached: {text[:300]}", hint="see the URL and the network") from error
