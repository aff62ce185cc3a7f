"""Git repositories served over HTTP on the loopback interface, by dulwich and by git itself."""

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import WSGIServer, make_server

from dulwich.repo import Repo as DulwichRepo
from dulwich.server import DictBackend
from dulwich.web import WSGIRequestHandlerLogger, make_wsgi_chain


class Quiet(WSGIRequestHandlerLogger):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def running(server: WSGIServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served(path: Path, token: str | None = None) -> Iterator[str]:
    """A smart HTTP server for one bare repository; with ``token`` it asks for it."""

    with DulwichRepo(str(path)) as inner:
        inner_app = make_wsgi_chain(DictBackend({"/r.git": inner}))
        expected = "Basic " + base64.b64encode(f"ann:{token}".encode()).decode()

        def app(environ: dict, start: Callable):  # type: ignore[type-arg, no-untyped-def]
            if token is not None and environ.get("HTTP_AUTHORIZATION") != expected:
                start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"'), ("Content-Length", "0")])
                return [b""]
            return inner_app(environ, start)

        server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
        with running(server):
            yield f"http://127.0.0.1:{server.server_port}/r.git"


@contextmanager
def served_by_git(path: Path) -> Iterator[str]:
    """The same by git's own server, which knows more of the protocol."""

    def app(environ: dict, start: Callable):  # type: ignore[type-arg, no-untyped-def]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        names = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "PATH_INFO", "HTTP_GIT_PROTOCOL", "REMOTE_ADDR")
        done = subprocess.run(
            ["git", "http-backend"],
            input=environ["wsgi.input"].read(length),
            capture_output=True,
            env={
                **os.environ,
                **{name: environ[name] for name in names if name in environ},
                "CONTENT_LENGTH": str(length),
                "HTTP_CONTENT_ENCODING": environ.get("HTTP_CONTENT_ENCODING", ""),
                "GIT_PROJECT_ROOT": str(path.parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": "ann",
            },
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        start(fields.pop("Status", "200 OK"), list(fields.items()))
        return [body]

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}/{path.name}"
