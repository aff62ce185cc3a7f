"""Servers that want no good: answers without an end, numbers that are none, redirects that lead astray."""

import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from functional.stranger import Stranger

from pyexp.errors import RemoteError
from pyexp.objects import remote_webdav

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives what ``answer`` makes of a request, and remembers what it was told."""

    protocol_version = "HTTP/1.1"
    answer: Answer
    told: list[str]

    def log_message(self, *args: object) -> None:
        pass

    def any(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.told.append(f"{self.command} {self.path}\n{self.headers}")
        with suppress(ConnectionError):
            type(self).answer(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PROPFIND = do_MKCOL = do_MOVE = any

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def endless(self, status: int, piece: bytes = b"x" * 65536, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        while self.command != "HEAD":
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        pass


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server; gives its address (HOST:PORT) and the list of what it was told."""
    told: list[str] = []
    kind = type("Kind", (Handler,), {"answer": staticmethod(answer), "told": told})
    with Server(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", told
        finally:
            server.shutdown()
            thread.join()


def item(href: str, length: str = "3", modified: str = "Mon, 01 Jan 2024 00:00:00 GMT", kind: str = "") -> str:
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop><d:resourcetype>{kind}</d:resourcetype>"
        f"<d:getcontentlength>{length}</d:getcontentlength><d:getlastmodified>{modified}</d:getlastmodified>"
        "</d:prop></d:propstat></d:response>"
    )


def listing(*items: str, before: str = "") -> Answer:
    body = f'{before}<d:multistatus xmlns:d="DAV:">{"".join(items)}</d:multistatus>'.encode()

    def answer(handler: Handler) -> None:
        handler.say(207, body) if handler.command == "PROPFIND" else handler.say(404)

    return answer


COLLECTION = "<d:collection/>"
_LAUGHS = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
LISTINGS: dict[str, tuple[Answer, str]] = {
    "a name that is no URL": (listing(item("http://["), item("/d/x")), "x"),
    "a length of 5,000 digits": (listing(item("/d/x", length="9" * 5000)), "x"),
    "a time before time": (listing(item("/d/x", modified="Mon, 01 Jan 0001 00:00:00 +2300")), "x"),
    "a time after time": (listing(item("/d/x", modified="Fri, 31 Dec 9999 23:59:59 -2300")), "x"),
    "billion laughs": (
        listing(item("/d/&j;"), before=f'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">{_LAUGHS}]>'),
        "no listing that can be read",
    ),
    "a file as entity": (
        listing(item("/d/&x;"), before='<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        "no listing that can be read",
    ),
    "names that lead out": (
        listing(*(item(f"/d/{name}") for name in ("..%2f..%2fx", "%00", ".git/config", "/x", "x"))),
        "x",
    ),
    "names that play": (listing(item("/d/%1b]0;owned%07"), item("/d/a%0aOWNED"), item("/d/%E2%80%AEx")), "0;owned"),
    "elements in elements": (listing("<d:x>" * 100_000 + "</d:x>" * 100_000), "nothing at"),
    "directories in circles": (
        listing(item("/d/a/", kind=COLLECTION), item("/d/b/", kind=COLLECTION), item("/d/", kind=COLLECTION)),
        "nothing at",
    ),
    "text without an end": (lambda handler: handler.endless(207), "too long"),
    "an item without an end": (
        lambda handler: handler.endless(207, b'<d:response xmlns:d="DAV:"><d:href>'),
        "too long",
    ),
    "empty items without an end": (
        lambda handler: handler.endless(207, b'<d:multistatus xmlns:d="DAV:">' + b"<d:response/>" * 100_000),
        "too long",
    ),
    "a circle": (lambda handler: handler.say(302, Location=handler.path), "without an end"),
}


@pytest.mark.parametrize("what", LISTINGS)
def test_a_listing(stranger: Stranger, what: str) -> None:
    answer, says = LISTINGS[what]
    before = stranger.around()
    with serving(answer) as (address, _):
        ran = stranger.run("list-url", "-R", f"webdav://{address}/d")
        assert says in ran.out + ran.err
        stranger.run("get-url", f"webdav://{address}/d", "got")
        assert stranger.around() == before


def test_directories_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: Handler) -> None:
        below = "".join(item(f"{handler.path.rstrip('/')}/{name}", kind=COLLECTION) for name in "ab")
        handler.say(207, f'<d:multistatus xmlns:d="DAV:">{below}</d:multistatus>'.encode())

    monkeypatch.setattr(remote_webdav, "_MOST_DIRECTORIES", 50)
    with serving(answer) as (address, told):
        files = remote_webdav.open_files(f"webdav://{address}/d", {})
        with pytest.raises(RemoteError, match="more than 50 directories"):
            list(files.list(""))
        assert len(told) == 50


FILES: dict[str, tuple[Answer, int]] = {
    "a length of 5,000 digits": (
        lambda handler: handler.say(200, b"abc", Content_Length="9" * 5000, Connection="close"),
        0,
    ),
    "a length below nothing": (lambda handler: handler.say(200, b"abc", Content_Length="-3", Connection="close"), 0),
    "too few bytes": (lambda handler: handler.say(200, b"abc", Content_Length="9", Connection="close"), 1),
    "a circle": (lambda handler: handler.say(302, Location=handler.path), 1),
    "no URL": (lambda handler: handler.say(302, Location="http://["), 1),
    "no port": (lambda handler: handler.say(302, Location="http://a:99999999/"), 1),
    "a file": (lambda handler: handler.say(302, Location="file:///etc/passwd"), 1),
    "a redirect without an end": (
        lambda handler: handler.endless(302, Location=f"{handler.path}x") if len(handler.path) < 5 else handler.say(200),
        0,
    ),
    "a refusal without an end": (lambda handler: handler.endless(403), 1),
    "a reason that plays": (lambda handler: handler.say(404, Content_Length="0\r\nX: \x1b]0;owned\x07"), 1),
    "noise": (lambda handler: handler.wfile.write(os.urandom(5000)) and handler.connection.close(), 1),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_a_file(stranger: Stranger, what: str) -> None:
    answer, code = FILES[what]
    with serving(answer) as (address, _):
        assert stranger.run("get-url", f"http://{address}/x", "got").code == code
        stranger.run("import-url", f"http://{address}/x", "imported")
        stranger.run("list-url", f"http://{address}/x")
        assert [path.name for path in stranger.root.glob(".pyexp-tmp*")] == []


def test_answers_without_an_end_to_what_is_sent(stranger: Stranger) -> None:
    """Nobody wants the body of an answer to PUT, DELETE or MKCOL: it is not waited for."""

    def answer(handler: Handler) -> None:
        handler.say(404) if handler.command in ("HEAD", "PROPFIND") else handler.endless(201)

    stranger.put_pointer("data", stranger.put_object(b"good\n"))
    with serving(answer) as (address, told):
        for number, scheme in enumerate(("http", "webdav")):
            stranger.run("remote", "add", f"r{number}", f"{scheme}://{address}/d")
            assert stranger.run("push", "-r", f"r{number}").code == 0
        assert {line.partition(" ")[0] for line in told} >= {"POST", "PUT", "MKCOL", "MOVE"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("way", ["basic", "token", "custom"])
def test_who_we_are_is_not_told_to_another_server(stranger: Stranger, way: str, status: int) -> None:
    """A redirect to another port is one to another server."""
    secret = "s3cretW0rd"
    options = {
        "basic": {"user": "ann", "password": secret},
        "token": {"token": secret},
        "custom": {"auth": "custom", "custom_auth_header": "X-Key", "password": secret},
    }[way]
    hex = stranger.put_object(b"good\n")
    stranger.put_pointer("data", hex)
    with (
        serving(lambda handler: handler.say(200, b"good\n")) as (other, told_other),
        serving(lambda handler: handler.say(status, Location=f"http://{other}{handler.path}")) as (first, told),
    ):
        stranger.run("remote", "add", "-d", "r", f"http://{first}/d")
        for name, value in options.items():
            stranger.run("remote", "modify", "--local", "r", name, value)
        (stranger.control / "cache/files" / stranger.algo / hex[:2] / hex[2:]).unlink()
        assert stranger.run("pull", "data").code == 0
        stranger.run("push")
        assert any("authorization:" in one.lower() or "x-key:" in one.lower() for one in told)
        for one in told_other:
            lowered = one.lower()
            assert "authorization" not in lowered and "x-key" not in lowered and secret not in one, one
        assert any(one.startswith("GET") for one in told_other)


def test_what_a_config_of_ours_holds_is_not_readable_to_others(stranger: Stranger) -> None:
    stranger.run("remote", "add", "-d", "r", "http://127.0.0.1:9/d", umask=0)
    stranger.run("remote", "modify", "--local", "r", "password", "s3cretW0rd", umask=0)
    path: Path = stranger.control / "config.local"
    assert path.stat().st_mode & 0o077 == 0


def test_passwords_of_urls_are_not_shown(stranger: Stranger) -> None:
    secret = "s3cretW0rd"
    with serving(lambda handler: handler.say(404)) as (address, _):
        url = f"http://ann:{secret}@{address}/d"
        for command in (
            f"remote add -d r {url}",
            "remote list",
            "config -l",
            "config -l --show-origin",
            "push -vv",
            "pull -vv",
            "status --cloud",
            "version",
            "doctor",
            f"list-url {url}/x?a=1",
            f"get-url {url}/x y",
            f"import-url {url}/x y",
            f"import-url --no-exec {url}/x y",
            "update y.dvc",
            "pull y.dvc",
            "status",
            f"list {url}",
            f"get {url} x",
            f"import {url} x",
            f"exp list {url}",
            f"exp push {url}",
            f"git clone {url} cloned",
        ):
            ran = stranger.run(*command.split())
            assert secret not in ran.out + ran.err, command
    assert "http://ann@" in stranger.run("remote", "list").out


@pytest.mark.parametrize("how", ["url", "option"])
def test_passwords_that_go_into_a_file_for_git_are_told_of(stranger: Stranger, how: str) -> None:
    with serving(lambda handler: handler.say(200, b"good\n")) as (address, _):
        if how == "url":
            ran = stranger.run("import-url", f"http://ann:s3cretW0rd@{address}/d", "got")
        else:
            ran = stranger.run("import-url", f"http://{address}/d", "got", "--fs-config", "password=s3cretW0rd")
    assert ran.code == 0 and "password" in ran.err and "goes into 'got.dvc'" in ran.err
    assert "s3cretW0rd" not in ran.out + ran.err


def test_the_users_own_configuration_is_not_readable_to_others(stranger: Stranger) -> None:
    stranger.run("remote", "add", "--global", "mine", "http://127.0.0.1:9/d", umask=0)
    stranger.run("remote", "modify", "--global", "mine", "password", "s3cretW0rd", umask=0)
    found = [path for path in (stranger.base / "home").rglob("config") if "s3cretW0rd" in path.read_text()]
    assert found and all(path.stat().st_mode & 0o077 == 0 for path in found)


# -- buckets ---------------------------------------------------------------------------------------------------------


def bucket(*keys: str, is_truncated: bool = False, size: str = "3") -> Answer:
    files = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;abc&quot;</ETag><Size>{size}</Size></Contents>"
        for key in keys
    )
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" if is_truncated else ""
    body = f"<ListBucketResult>{more}{files}</ListBucketResult>".encode()
    told = {"ETag": '"abc"', "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    return lambda handler: handler.say(200, body if "list-type" in handler.path else b"abc", **told)


BUCKETS: dict[str, tuple[Answer, int]] = {
    "plain": (bucket("d/x"), 0),
    "above": (bucket("d/../../x", "d/x"), 1),
    "absolute": (bucket("d//etc/x"), 1),
    "git": (bucket("d/.git/config"), 1),
    "line": (bucket("d/a&#10;OWNED"), 1),
    "turned": (bucket("d/\u202ex"), 0),
    "a file and a directory": (bucket("d/x", "d/x/y"), 1),
    "a size that is none": (bucket("d/x", size="9" * 5000), 1),
    "a circle": (bucket("d/x", "d/y", "d/z", is_truncated=True), 1),
}


@pytest.mark.parametrize("what", BUCKETS)
def test_a_bucket(stranger: Stranger, what: str) -> None:
    pytest.importorskip("obstore")
    answer, code = BUCKETS[what]
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s3cretW0rd", "AWS_REGION": "us-east-1"}
    before = stranger.around()
    with serving(answer) as (address, _):
        option = ("--fs-config", f"endpointurl=http://{address}")
        stranger.run("list-url", "-R", "s3://b/d", *option, env=keys)
        ran = stranger.run("get-url", "s3://b/d", "got", *option, env=keys)
        assert ran.code == code and "s3cretW0rd" not in ran.err
        assert (stranger.root / "got").exists() == (code == 0) and stranger.around() == before


# -- git's servers ---------------------------------------------------------------------------------------------------


def packet(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def advertised(*refs: tuple[bytes, bytes], end: bytes = b"0000") -> bytes:
    """What a server that is no fool says of its refs."""
    first = [packet(b"%s %s\0symref=HEAD:refs/heads/main shallow\n" % refs[0])] if refs else []
    more = [packet(b"%s %s\n" % ref) for ref in refs[1:]]
    return packet(b"# service=git-upload-pack\n") + b"0000" + b"".join([*first, *more]) + end


ONES = b"1" * 40
_SMART = {"Content_Type": "application/x-git-upload-pack-advertisement"}


def _telling(*refs: tuple[bytes, bytes]) -> Answer:
    return lambda handler: handler.say(200, advertised(*refs), **_SMART)


def _refs_without_end(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", _SMART["Content_Type"])
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    first = advertised((ONES, b"HEAD"), end=b"")
    more = b"".join(packet(b"%s refs/heads/%d%s\n" % (ONES, number, b"x" * 60_000)) for number in range(16))
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(first), first))
    while True:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(more), more))


GIT: dict[str, Answer] = {
    "no commit": _telling((b"zz", b"HEAD"), (b"../" * 13 + b"x", b"refs/heads/main")),
    "odd names": _telling(
        (ONES, b"HEAD"),
        *((ONES, b"refs/heads/" + name) for name in (b"../../x", b"--upload-pack=x", b"\x1b]0;owned\x07", b"\xff")),
        *((ONES, name) for name in (b"../../x", b"config", b"refs/exps/11/" + b"1" * 38 + b"/..")),
    ),
    "refs without an end": _refs_without_end,
    "a file of refs without an end": lambda handler: handler.endless(200),
    "a circle": lambda handler: handler.say(302, Location=handler.path),
    "a file": lambda handler: handler.say(302, Location="file:///etc/passwd?/info/refs?service=git-upload-pack"),
    "no URL": lambda handler: handler.say(302, Location="http://[/info/refs?service=git-upload-pack"),
    "noise": lambda handler: handler.say(200, os.urandom(3000), **_SMART),
}


@pytest.mark.parametrize("what", GIT)
def test_a_git_server(stranger: Stranger, what: str) -> None:
    before = stranger.around()
    with serving(GIT[what]) as (address, _):
        for command in ("git clone URL cloned", "list URL", "get URL x", "exp list URL", "exp pull URL x"):
            stranger.run(*command.replace("URL", f"http://{address}/r.git").split())
            assert stranger.around() == before, command
            assert not (stranger.root / "cloned").exists()


# -- what libraries say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["get-url URL x", "list-url webdavURL", "git clone URL cloned", "list URL"])
def test_what_libraries_log_is_not_printed(stranger: Stranger, command: str) -> None:
    """They warn by ``logging``, which prints where nobody has said what is to become of it."""

    def answer(handler: Handler) -> None:
        if handler.path.endswith("packs"):
            handler.say(200, b"P ../../x.pack\n")
        elif "/info/refs" in handler.path:
            handler.say(200, ONES + b"\trefs/heads/main\n")
        elif handler.path.endswith("/HEAD"):
            handler.say(200, b"ref: refs/heads/main\n")
        elif "/objects/" in handler.path:
            handler.say(404)
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\x1b]0;owned\x07 no header\r\nX: y\r\n\r\nok")

    (stranger.base / "home/.gitconfig").write_text("[http]\n\textraHeader = Authorization:s3cretW0rd\n")
    with serving(answer) as (address, _):
        words = command.replace("webdavURL", f"webdav://{address}/r").replace("URL", f"http://{address}/r").split()
        said = stranger.run(*words).err
        assert len(said.splitlines()) <= 1 and "s3cretW0rd" not in said, said


def test_an_ssh_server_that_talks_nonsense(stranger: Stranger) -> None:
    pytest.importorskip("paramiko")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            with suppress(OSError):
                while True:
                    with server.accept()[0] as client:
                        client.sendall(b"SSH-2.0-\x1b]0;owned\x07x\r\n\0\0\0\x0d" + b"x" * 2000)

        threading.Thread(target=talk, daemon=True).start()
        said = stranger.run("list-url", f"ssh://ann@127.0.0.1:{server.getsockname()[1]}/x").err
        server.shutdown(socket.SHUT_RDWR)
    assert len(said.splitlines()) == 1, said
