"""Plain web servers: objects are fetched by GET, asked for by HEAD and sent by POST or PUT. They cannot be listed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from pyexp.errors import MissingObject, RemoteError
from pyexp.objects.contract import Transient
from pyexp.objects.options import seconds, truth
from pyexp.objects.remote import Found

# What a server says when it is only busy.
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_PIECE_BYTES = 1 << 18
_SHORT_BYTES = 1 << 16
_REDIRECTS = 5
# More than any file's size has.
_DIGITS = 20


def open_files(url: str, options: Mapping[str, str]) -> HttpFiles:
    """The tree of files below a URL; raises RemoteError for options that make no sense."""
    method = options.get("method", "POST").upper()
    if method not in ("POST", "PUT"):
        raise RemoteError(f"method '{method}' cannot send files", hint="it is POST or PUT")
    return HttpFiles(Connection(url, options), method)


class Connection:
    """Requests to one server: who we are, how long to wait, and what an answer means."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise RemoteError("the remote's URL names no server", hint="write https://HOST/PATH")
        host = parts.netloc.rpartition("@")[2]
        self.base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._query = f"?{parts.query}" if parts.query else ""
        self.shown = self.base
        self._header = options.get("custom_auth_header")
        self._headers = self._authorization(parts.hostname, parts.username, parts.password, options)
        self._pool = _pool(self.base, options)

    def _authorization(
        self, host: str, user: str | None, password: str | None, options: Mapping[str, str]
    ) -> dict[str, str]:
        if options.get("auth", "basic").lower() not in ("basic", "custom"):
            raise RemoteError(f"{self.shown}: auth '{options['auth']}' is not supported", hint="it is basic or custom")
        if self._header:
            return {self._header: options.get("password", "")}
        if options.get("token"):
            return {"authorization": f"Bearer {options['token']}"}
        user = options.get("user") or (unquote(user) if user else None)
        password = options.get("password") or (unquote(password) if password else None)
        if password is None:
            user, password = _netrc(host, user)
        if user is None:
            return {}
        return dict(urllib3.make_headers(basic_auth=f"{user}:{password or ''}"))

    def url(self, key: str) -> str:
        return f"{self.base}/{quote(key)}{self._query}"

    def ask(
        self, method: str, key: str, *, headers: Mapping[str, str] | None = None, body: Any = None, stream: bool = False
    ) -> urllib3.BaseHTTPResponse:
        """The answer, whatever its status, unless that says that we are not welcome or that the server is busy.

        Its body is thrown away unless ``stream``; however long it is, no more than a little of it is read then.
        """
        try:
            answer = self._follow(method, self.url(key), {**self._headers, **(headers or {})}, body)
            if not stream or answer.status >= 400:
                _let_go(answer)
        except (HTTPError, OSError) as error:
            raise self.broken(error) from error
        if answer.status in (401, 403, 407):
            raise RemoteError(
                f"{self.shown} refuses us: {answer.status} {answer.reason or ''}".rstrip(),
                hint="pyexp remote modify --local NAME user USER, and password; or ~/.netrc",
            )
        if answer.status in _BUSY:
            raise Transient(f"{self.shown} is not able to answer: {answer.status} {answer.reason or ''}".rstrip())
        return answer

    def _follow(self, method: str, url: str, headers: dict[str, str], body: Any) -> urllib3.BaseHTTPResponse:
        """The answer after redirects; what says who we are, or where we are, goes to no other server.

        urllib3 would read the whole of a redirect's body first, which may have no end.
        """
        for _ in range(_REDIRECTS + 1):
            answer = self._pool.request(
                method,
                url,
                headers=headers,
                body=body,
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
            location = answer.get_redirect_location()
            if not location:
                return answer
            _let_go(answer)
            try:
                target = urljoin(url, location)
            except ValueError as error:
                raise RemoteError(f"{self.shown} leads to what is no URL: {location[:200]}") from error
            if not self._pool.connection_from_url(url).is_same_host(target):
                headers = {name: headers[name] for name in headers if name not in (*self._headers, "destination")}
            if answer.status == 303:
                method, body = "GET", None
            elif hasattr(body, "seek"):
                body.seek(0)
            url = target
        raise RemoteError(f"{self.shown} leads from one URL to the next, without an end", hint="see the URL")

    def broken(self, error: BaseException) -> RemoteError:
        """The error for a connection that failed."""
        text = " ".join(str(getattr(error, "reason", None) or error).split())[:300]
        is_lasting = "CERTIFICATE_VERIFY_FAILED" in text or isinstance(error, LocationValueError)
        kind = RemoteError if is_lasting else Transient
        return kind(f"{self.shown} cannot be reached: {text}", hint="see the URL and the network")

    def expect(self, answer: urllib3.BaseHTTPResponse, key: str) -> None:
        """Raises MissingObject or RemoteError for an answer that is no success."""
        if answer.status in (404, 410):
            raise MissingObject(f"'{key}' is not on {self.shown}")
        if not 200 <= answer.status < 300:
            raise RemoteError(f"{self.shown}: '{key}': {answer.status} {answer.reason or ''}".rstrip())

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        """GET."""
        for piece in self.pieces(self.ask("GET", key, stream=True), key):
            sink(piece)

    def pieces(self, answer: urllib3.BaseHTTPResponse, key: str) -> Iterator[bytes]:
        """The body of a streamed answer; raises as ``expect`` does."""
        try:
            self.expect(answer, key)
            pieces = answer.stream(_PIECE_BYTES, decode_content=False)
            while True:
                try:
                    piece = next(pieces, None)
                except (HTTPError, OSError) as error:
                    raise self.broken(error) from error
                if piece is None:
                    return
                # Outside: what is raised by whoever takes it is not the server's doing.
                yield piece
        finally:
            answer.close()

    def size(self, key: str) -> int | None:
        """HEAD; for servers that do not know it, the beginning of a GET."""
        answer = self._head(key)
        if answer.status in (404, 410):
            return None
        self.expect(answer, key)
        return length(answer.headers.get("content-length", ""))

    def stamp(self, key: str) -> str | None:
        """The ETag, or else the hash, that the server tells."""
        answer = self._head(key)
        self.expect(answer, key)
        return answer.headers.get("etag") or answer.headers.get("content-md5")

    def _head(self, key: str) -> urllib3.BaseHTTPResponse:
        answer = self.ask("HEAD", key)
        if answer.status in (405, 501):
            answer = self.ask("GET", key, stream=True)
            answer.close()
        return answer

    def close(self) -> None:
        self._pool.clear()


def length(text: str) -> int:
    """A number of bytes that a server tells; -1 for what can be none."""
    return int(text) if text.isdecimal() and len(text) < _DIGITS else -1


def _let_go(answer: urllib3.BaseHTTPResponse) -> None:
    """Ends an answer whose body nobody wants; after a short one the connection can be used again."""
    answer.read(_SHORT_BYTES, decode_content=False)
    answer.close()


def _netrc(host: str, user: str | None) -> tuple[str | None, str | None]:
    import netrc  # slow to import, seldom needed

    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        found = None
    if found is None or (user is not None and user != found[0]):
        return user, None
    return found[0], found[2]


def _pool(base: str, options: Mapping[str, str]) -> urllib3.PoolManager:
    arguments: dict[str, Any] = {
        "maxsize": 64,
        "timeout": urllib3.Timeout(
            connect=seconds(options, "connect_timeout", 10), read=seconds(options, "read_timeout", 60)
        ),
    }
    verify = options.get("ssl_verify", "true")
    if truth(verify) is False:
        arguments["cert_reqs"] = "CERT_NONE"
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    elif truth(verify) is None:  # a file of certificates
        arguments["ca_certs"] = os.path.join(options["base"], os.path.expanduser(verify))
    for option, name in (("cert_path", "cert_file"), ("key_path", "key_file")):
        if options.get(option):
            arguments[name] = os.path.join(options["base"], os.path.expanduser(options[option]))
    parts = urlsplit(base)
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, **arguments)
    return urllib3.PoolManager(**arguments)


class HttpFiles:
    """``remote.Files`` on a web server."""

    lists = False
    jobs = 16
    stamp_field = "checksum"

    def __init__(self, connection: Connection, method: str) -> None:
        self._connection = connection
        self._method = method
        self.shown = connection.shown

    def list(self, prefix: str) -> Iterator[Found]:
        raise RemoteError(f"{self.shown} cannot be listed", hint="use a webdav:// URL, if the server knows that")

    def size(self, key: str) -> int | None:
        return self._connection.size(key)

    def stamp(self, key: str) -> str | None:
        return self._connection.stamp(key)

    def read(self, key: str, sink: Callable[[bytes], object]) -> None:
        self._connection.read(key, sink)

    def write(self, key: str, data: bytes) -> None:
        self._connection.expect(self._connection.ask(self._method, key, body=data), key)

    def upload(self, key: str, path: str) -> None:
        with open(path, "rb") as file:
            headers = {"content-length": str(os.fstat(file.fileno()).st_size)}
            self._connection.expect(self._connection.ask(self._method, key, headers=headers, body=file), key)

    def move(self, key: str, to: str) -> None:
        raise RemoteError(f"{self.shown} cannot rename files")

    def remove(self, key: str) -> None:
        answer = self._connection.ask("DELETE", key)
        if answer.status not in (404, 410):
            self._connection.expect(answer, key)

    def close(self) -> None:
        self._connection.close()
