"""Machines reached by ssh: the files of a directory there, over SFTP, by paramiko (extra ``ssh``).

Who we are comes from the remote's options, the user's ``~/.ssh/config``, the agent and the usual key files, as with
``ssh`` itself. A machine whose host key is not known is not talked to.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import paramiko

from pyexp import ssh
from pyexp.durable import TMP_PREFIX
from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.contract import Transient
from pyexp.objects.options import flag, number
from pyexp.objects.remote import Found
from pyexp.paths import check_relpath

# sshd gives ten to a connection (MaxSessions), and one may be the user's own.
CHANNELS = 8
_PIECE_BYTES = 1 << 18
# Up to this size a read is not asked for ahead: it would cost a question for the size.
_AHEAD_BYTES = 1 << 15


def open_files(url: str, options: Mapping[str, str]) -> SshFiles:
    """The tree of files below an ssh:// URL; connects with the first request."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise RemoteError(f"'{url}' names no machine", hint="write ssh://USER@HOST/PATH")
    return SshFiles(_Machine(url, options), unquote(parts.path).rstrip("/") or "/")


class _Machine:
    """One connection, made when it is needed and again when it was cut, with a few channels for as many threads."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._options = options
        self._name = parts.hostname or ""
        try:
            given = options.get("port") or parts.port
            self._port = int(given) if given else None
        except ValueError as error:
            raise RemoteError(f"the port of '{url}' is not a number") from error
        self._user = options.get("user") or unquote(parts.username or "") or None
        self._password = unquote(parts.password or "") or None
        self.shown = f"ssh://{parts.hostname}{parts.path}"
        self._client: paramiko.SSHClient | None = None
        self._idle: list[paramiko.SFTPClient] = []
        self._lock = threading.Lock()
        self.channels = min(number(options, "max_sessions", CHANNELS), CHANNELS) or 1
        self._free = threading.BoundedSemaphore(self.channels)

    @contextmanager
    def channel(self, key: str) -> Iterator[paramiko.SFTPClient]:
        """A channel for one request; what goes wrong with the connection is Transient, and it is made anew."""
        with self._free:
            client = None
            try:
                client, sftp = self._take()
                yield sftp
            except FileNotFoundError as error:
                raise MissingObject(f"'{key}' is not on {self.shown}") from error
            except PermissionError as error:
                raise RemoteError(
                    f"{self.shown}: '{key}': permission denied", hint="see the directory there"
                ) from error
            except (paramiko.SSHException, EOFError, ConnectionError, TimeoutError) as error:
                self._drop(client)
                raise Transient(f"{self.shown}: the connection was lost: {ssh.text(error)}") from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise RemoteError(f"{self.shown}: no space left there") from error
                self._drop(client)
                raise Transient(f"{self.shown}: '{key}': {ssh.text(error)}") from error
            with self._lock:
                if client is self._client:
                    self._idle.append(sftp)

    def _take(self) -> tuple[paramiko.SSHClient, paramiko.SFTPClient]:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
            if self._idle:
                return client, self._idle.pop()
            sftp = client.open_sftp()
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(number(self._options, "read_timeout", 120))
        return client, sftp

    def _drop(self, client: paramiko.SSHClient | None) -> None:
        with self._lock:
            if client is not None and client is self._client:
                self._client = None
                self._idle.clear()
                client.close()

    def close(self) -> None:
        self._drop(self._client)

    def _connect(self) -> paramiko.SSHClient:
        options = self._options
        if flag(options, "gss_auth"):
            raise RemoteError(f"{self.shown}: gss_auth is not supported", hint="use a key, the agent or a password")
        keyfile = options.get("keyfile")
        machine = ssh.Machine(
            self._name,
            self.shown,
            self._user,
            self._port,
            options.get("password") or self._password,
            options.get("passphrase"),
            os.path.join(options.get("base", ""), os.path.expanduser(keyfile)) if keyfile else None,
            allow_agent=flag(options, "allow_agent", True),
            timeout=number(options, "timeout", 30),
            hint="pyexp remote modify --local NAME user USER, and keyfile or password; does 'ssh' get in?",
        )
        try:
            return ssh.connect(machine)
        except ssh.Unreachable as error:
            raise Transient(error.message, hint=error.hint) from error


class SshFiles:
    """``remote.Files`` in a directory of another machine."""

    lists = True

    def __init__(self, machine: _Machine, root: str) -> None:
        self._machine = machine
        self._root = root
        self.shown = machine.shown
        self.jobs = machine.channels
        self._made: set[str] = set()

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{check_relpath(key)}"

    def list(self, prefix: str) -> Iterator[Found]:
        top = prefix.rpartition("/")[0]
        pending = [top]
        while pending:
            directory = pending.pop()
            for item in self._members(directory):
                key = f"{directory}/{item.filename}" if directory else item.filename
                mode = item.st_mode or 0
                if stat.S_ISDIR(mode):
                    if key.startswith(prefix) or prefix.startswith(f"{key}/"):
                        pending.append(key)
                elif stat.S_ISREG(mode) and key.startswith(prefix) and not item.filename.startswith(TMP_PREFIX):
                    yield Found(key, item.st_size or 0, item.st_mtime or 0)

    def _members(self, directory: str) -> Sequence[paramiko.SFTPAttributes]:
        path = self._path(directory) if directory else self._root
        try:
            with self._machine.channel(directory) as sftp:
                return sftp.listdir_attr(path)
        except MissingObject:
            return []

    def size(self, key: str) -> int | None:
        try:
            with self._machine.channel(key) as sftp:
                return sftp.stat(self._path(key)).st_size or 0
        except MissingObject:
            return None

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        trouble: BaseException | None = None
        with self._machine.channel(key) as sftp, sftp.open(self._path(key), "rb") as file:
            first = file.read(_AHEAD_BYTES)
            if len(first) == _AHEAD_BYTES:
                file.prefetch(file.stat().st_size)
            piece = first
            while piece and trouble is None:
                try:
                    sink(piece)
                except BaseException as error:  # not the other machine's doing
                    trouble = error
                else:
                    piece = file.read(_PIECE_BYTES)
        if trouble is not None:
            raise trouble

    def write(self, key: str, data: bytes) -> None:
        import io  # small, but only for small objects

        self._send(key, io.BytesIO(data))

    def upload(self, key: str, path: str) -> None:
        with open(path, "rb") as file:
            self._send(key, file)

    def _send(self, key: str, source: BinaryIO) -> None:
        """Under another name first: what is there under its own is whole."""
        path = self._path(key)
        directory = path.rpartition("/")[0]
        temporary = f"{directory}/{TMP_PREFIX}{os.urandom(8).hex()}"
        with self._machine.channel(key) as sftp:
            self._make(sftp, directory)
            try:
                source.seek(0)
                sftp.putfo(source, temporary, confirm=True)
                _rename(sftp, temporary, path)
            except FileNotFoundError as error:
                # Somebody has removed the directory meanwhile.
                self._made.clear()
                raise ConnectionError(f"{directory} is gone") from error
            except BaseException:
                with suppress(OSError, paramiko.SSHException, EOFError):
                    sftp.remove(temporary)
                raise

    def _make(self, sftp: paramiko.SFTPClient, directory: str) -> None:
        """Makes a directory and those above it, once."""
        if not directory or directory in self._made:
            return
        try:
            sftp.mkdir(directory)
        except OSError:
            try:
                there = stat.S_ISDIR(sftp.stat(directory).st_mode or 0)
            except FileNotFoundError:
                self._make(sftp, directory.rpartition("/")[0])
                with suppress(OSError):  # another thread was faster
                    sftp.mkdir(directory)
            else:
                if not there:
                    raise RemoteError(f"{self.shown}: {directory} is not a directory") from None
        self._made.add(directory)

    def move(self, key: str, to: str) -> None:
        target = self._path(to)
        with self._machine.channel(key) as sftp:
            self._make(sftp, target.rpartition("/")[0])
            _rename(sftp, self._path(key), target)

    def remove(self, key: str) -> None:
        with suppress(MissingObject), self._machine.channel(key) as sftp:
            sftp.remove(self._path(key))

    def close(self) -> None:
        self._machine.close()


def _rename(sftp: paramiko.SFTPClient, path: str, to: str) -> None:
    """Over what is there, in one step where the server can."""
    try:
        sftp.posix_rename(path, to)
        return
    except FileNotFoundError:
        raise
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
    with suppress(FileNotFoundError):
        sftp.remove(to)
    sftp.rename(path, to)
