"""git's commands on other machines by paramiko (extra ``ssh``), for machines that have no ``ssh`` program."""

from __future__ import annotations

from typing import IO

import paramiko
from dulwich.client import SSHVendor
from dulwich.protocol import DEFAULT_GIT_PROTOCOL_VERSION_FETCH

from pyexp import ssh

# So long the other side has to end by itself once it was told everything.
_END_SECONDS = 5


class Vendor(SSHVendor):
    """Runs a command on a machine; ``shown`` names it in messages."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def run_command(  # type: ignore[override]  # dulwich's wrapper is of a process
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        password: str | None = None,
        key_filename: str | None = None,
        ssh_command: str | None = None,
        protocol_version: int | None = None,
    ) -> Connection:
        """Connects and starts the command; raises RemoteError. ``ssh_command`` is a program, which is not used."""
        client = ssh.connect(ssh.Machine(host, self._shown, username, port, password, None, key_filename))
        try:
            transport = client.get_transport()
            assert transport is not None
            channel = transport.open_session()
            version = DEFAULT_GIT_PROTOCOL_VERSION_FETCH if protocol_version is None else protocol_version
            if version > 0:  # a server that does not accept it talks as ever
                channel.set_environment_variable("GIT_PROTOCOL", f"version={version}")
            channel.exec_command(command)
        except BaseException:
            client.close()
            raise
        return Connection(client, channel)


class Connection:
    """The command's input and output, as dulwich reads and writes them."""

    def __init__(self, client: paramiko.SSHClient, channel: paramiko.Channel) -> None:
        self._client = client
        self._channel = channel
        self.stderr: IO[bytes] = channel.makefile_stderr("rb")  # type: ignore[assignment]
        # Unbuffered: what was read ahead could not be told from what has not come (see can_read).
        self.read = channel.makefile("rb", 0).read
        self.write = channel.sendall

    def can_read(self) -> bool:
        return bool(self._channel.recv_ready() or self._channel.closed)

    def close(self) -> None:
        """Ends the command, which may finish when it has nothing more to say."""
        if not self._channel.recv_ready():
            self._channel.shutdown_write()
            self._channel.status_event.wait(_END_SECONDS)
        self._client.close()
