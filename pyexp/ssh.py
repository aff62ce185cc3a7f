"""Connections by ssh without the program ``ssh``: paramiko (extra ``ssh``), as the user's own ``~/.ssh`` has it.

Used for object remotes (``objects/remote_ssh.py``) and, where there is no ``ssh``, for git (``git/paramikossh.py``).
A machine whose host key is not known is not talked to.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from pyexp.errors import RemoteError
from pyexp.paths import printable
from pyexp.records import dataclass

_NAME = re.compile(r"[\w.:%+-]+")
# Its thread logs what it cannot raise, traceback and all, which would be printed where nobody has set up logging.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Unreachable(RemoteError):
    """Nobody answers there; perhaps a moment later."""


@dataclass(frozen=True)
class Machine:
    """A machine as the user names it, and what weighs more than ``~/.ssh/config``; ``shown`` is its name in messages.

    ``timeout`` is in seconds, ``hint`` is for who is refused.
    """

    name: str
    shown: str
    user: str | None = None
    port: int | None = None
    password: str | None = None
    passphrase: str | None = None
    keyfile: str | None = None
    allow_agent: bool = True
    timeout: int = 30
    hint: str = "is your key there, and in the agent or in ~/.ssh?"


def connect(machine: Machine) -> paramiko.SSHClient:
    """A connection; raises Unreachable, and RemoteError when the host key is not right or nobody lets us in."""
    if machine.name.startswith("-") or not _NAME.fullmatch(machine.name):
        # It may come from a stranger's project, and becomes a word of a ProxyCommand.
        raise RemoteError(f"{machine.shown}: '{printable(machine.name)}' is no machine's name", hint="see the URL")
    known = _user_config(machine.name)
    host = known.get("hostname", machine.name)
    port = machine.port or _port(known)
    client = paramiko.SSHClient()
    _load_host_keys(client, known)
    try:
        client.connect(
            host,
            port,
            machine.user or known.get("user"),
            machine.password,
            key_filename=machine.keyfile or _key_files(known),
            passphrase=machine.passphrase,
            timeout=machine.timeout,
            banner_timeout=machine.timeout,
            auth_timeout=machine.timeout,
            allow_agent=machine.allow_agent,
            sock=_proxy(known, host, port),
        )
    except paramiko.BadHostKeyException as error:
        raise RemoteError(
            f"{machine.shown}: the host key of {host} is another one than known_hosts says",
            hint="ask whoever runs it before you do anything",
        ) from error
    except (paramiko.AuthenticationException, FileNotFoundError) as error:
        raise RemoteError(f"{machine.shown} refuses us: {text(error)}", hint=machine.hint) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        raise Unreachable(
            f"{machine.shown} cannot be reached: {error.strerror or text(error)}", hint="see the URL and the network"
        ) from error
    except _UnknownHost as error:
        raise RemoteError(
            f"{machine.shown}: the host key of {host} is not known", hint=_how_to_know(host, port)
        ) from error
    except paramiko.SSHException as error:
        if "No authentication methods" in str(error):  # no key, no agent and no password: nothing was tried
            raise RemoteError(f"{machine.shown} refuses us: {text(error)}", hint=machine.hint) from error
        raise Unreachable(f"{machine.shown} cannot be used: {text(error)}", hint="try again") from error
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(15)
    return client


def _how_to_know(host: str, port: int) -> str:
    if shutil.which("ssh"):
        return f"connect once: ssh {'' if port == 22 else f'-p {port} '}{host}"
    name = host if port == 22 else f"[{host}]:{port}"
    return f"get it from whoever runs it, and put it into ~/.ssh/known_hosts: '{name} ssh-ed25519 …'"


def _port(known: Mapping[str, Any]) -> int:
    try:
        return int(known.get("port", 22))
    except ValueError as error:
        raise RemoteError(f"~/.ssh/config: the port {known['port']!r} is not a number") from error


def _key_files(known: Mapping[str, Any]) -> Any:
    """The key files of the user's configuration that exist; else paramiko looks at the usual ones."""
    paths = [os.path.expanduser(path) for path in known.get("identityfile", [])]
    return [path for path in paths if os.path.exists(path)]


def _load_host_keys(client: paramiko.SSHClient, known: Mapping[str, Any]) -> None:
    named = known.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    for name in [*named.split(), "/etc/ssh/ssh_known_hosts"]:
        with suppress(OSError):
            client.load_system_host_keys(os.path.expanduser(name))
    lax = known.get("stricthostkeychecking", "").lower() in ("no", "off", "accept-new")
    client.set_missing_host_key_policy(_Accept() if lax else _Refuse())


def _proxy(known: Mapping[str, Any], host: str, port: int) -> Any:
    command = known.get("proxycommand")
    if not command and known.get("proxyjump", "none").lower() != "none":
        command = f"ssh -W {host}:{port} {known['proxyjump']}"
    return paramiko.ProxyCommand(command) if command and command.lower() != "none" else None


class _UnknownHost(Exception):
    """The host key is in none of the files."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise _UnknownHost(hostname)


class _Accept(paramiko.MissingHostKeyPolicy):
    """The user's ssh configuration says so."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        return


def _user_config(host: str) -> dict[str, Any]:
    """What ``~/.ssh/config`` says of a machine."""
    try:
        found = Path("~/.ssh/config").expanduser().read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, RuntimeError):
        return {}
    try:
        return dict(paramiko.SSHConfig.from_text(found).lookup(host))
    except (paramiko.SSHException, ValueError, KeyError) as error:
        raise RemoteError(f"~/.ssh/config cannot be read: {text(error)}") from error


def text(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
