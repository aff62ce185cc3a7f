"""Data shared through servers: S3, WebDAV, ssh, ftp and the web, with the commands a user types."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import servers
from functional.conftest import Space, on_a_terminal
from functional.test_remotes import control, forget, ok, refused, stored

KINDS = ["s3", "webdav", "ssh", "ftp", "http"]


@dataclass
class Place:
    """A remote: where the server keeps its files, its URL, its options and the secret ones among them."""

    top: Path
    url: str
    options: dict[str, str]
    secrets: dict[str, str]

    def add(self, space: Space) -> None:
        ok(space, "remote", "add", "-d", "r", self.url)
        for name, value in self.options.items():
            ok(space, "remote", "modify", "r", name, value)
        for name, value in self.secrets.items():
            ok(space, "remote", "modify", "--local", "r", name, value)


def place(kind: str, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Place:
    top = tmp_path / "server"
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    login = {"user": servers.USER, "password": servers.PASSWORD}
    if kind == "s3":
        pytest.importorskip("obstore")
        (top / "bucket").mkdir(parents=True)
        endpoint = stack.enter_context(servers.s3(top))
        keys = {"access_key_id": servers.KEY, "secret_access_key": servers.SECRET}
        return Place(top / "bucket/data", "s3://bucket/data", {"endpointurl": endpoint}, keys)
    (top / "sub").mkdir(parents=True)
    if kind == "webdav":
        return Place(top / "sub", stack.enter_context(servers.webdav(top)), {}, login)
    if kind == "ssh":
        pytest.importorskip("paramiko")
        url = stack.enter_context(servers.sftp(top, home))
        return Place(top / "sub", url, {"allow_agent": "false"}, {"password": servers.PASSWORD})
    if kind == "ftp":
        pytest.importorskip("fsspec")
        return Place(top / "sub", stack.enter_context(servers.ftp(top)), {}, login)
    url = stack.enter_context(servers.web(top, authorization="Bearer t0ken"))
    return Place(top / "sub", f"{url}/sub", {"method": "PUT"}, {"token": "t0ken"})


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with ExitStack() as stack:
        yield place(request.param, tmp_path, stack, monkeypatch)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with ExitStack() as stack:
        yield place("s3", tmp_path, stack, monkeypatch)


@pytest.fixture(params=["pyexp", "dvc"])
def shared(request: pytest.FixtureRequest, make: Callable[..., Space]) -> Space:
    space = make(kind=request.param)
    for name in ("a", "b", "sub/ü c"):
        space.put(f"data/{name}", f"{name}\n")
    space.put("one.txt", "one\n")
    ok(space, "add", "data", "one.txt")
    return space


def test_push_pull_status_gc(shared: Space, there: Place) -> None:
    there.add(shared)
    shared.commit("data")
    secret = list(there.secrets.values())[-1]
    for words in (["remote", "list"], ["config", "-l"], ["push", "-v"], ["version"]):
        done = shared.cli(*words)
        assert done.returncode == 0 and secret not in done.stdout + done.stderr, words
    assert len(stored(there.top)) == 5
    assert ok(shared, "push") == "Everything is up to date.\n"
    assert ok(shared, "status", "-c") == "Cache and remote 'r' are in sync.\n"
    forget(shared, "data", "one.txt")
    assert "deleted:            one.txt" in ok(shared, "status", "-c")
    assert "1 file added" in ok(shared, "pull", "data/sub/ü c")
    told = ok(shared, "pull")
    assert "A\tone.txt" in told and shared.read("data/sub/ü c") == "sub/ü c\n"
    shared.put("one.txt", "two\n")
    ok(shared, "add", "one.txt")
    ok(shared, "config", "gc.grace_seconds", "0")
    if there.url.startswith("http"):
        assert "cannot be listed" in refused(shared, 1, "gc", "-w", "-c", "-f")
    else:
        assert "Removed 1 object (4 B) from the remote." in ok(shared, "gc", "-w", "-c", "-f")
        assert len(stored(there.top)) == 4


def test_a_wrong_object_there_is_named_and_never_installed(shared: Space, there: Place) -> None:
    there.add(shared)
    ok(shared, "push")
    victim = next(path for path in stored(there.top) if path.read_bytes() == b"one\n")
    victim.write_bytes(b"onE\n")
    forget(shared, "data", "one.txt")
    said = refused(shared, 1, "pull")
    assert "one.txt" in said and "does not hold the bytes its name says" in said
    assert not (shared.root / "one.txt").exists() and shared.read("data/a") == "a\n"


def test_a_wrong_password_or_an_unreachable_server_is_one_line(shared: Space, there: Place) -> None:
    there.add(shared)
    name = list(there.secrets)[-1]
    ok(shared, "remote", "modify", "--local", "r", name, "wr0ng")
    said = refused(shared, 1, "push", "-q")
    assert "wr0ng" not in said and len(said.strip().splitlines()) == 1, said


def test_a_connection_that_is_cut_is_made_again(make: Callable[..., Space], s3: Place) -> None:
    shared = make()
    shared.put("big.bin", "0123456789abcdef" * 400_000)
    for number in range(40):
        shared.put(f"many/{number}", f"{number}\n" * 9000)
    ok(shared, "add", "big.bin", "many")
    with servers.cutting(int(s3.options["endpointurl"].rpartition(":")[2]), 300_000) as (port, cuts):
        s3.options["endpointurl"] = f"http://127.0.0.1:{port}"
        s3.add(shared)
        ok(shared, "push")
        assert len(stored(s3.top)) == 42 and len(cuts) == 3
        cuts.clear()
        forget(shared, "big.bin", "many")
        ok(shared, "pull")
        assert len(cuts) == 3
    assert shared.read("many/7") == "7\n" * 9000 and len(shared.read("big.bin")) == 6_400_000


def test_killed_half_way_and_run_again(make: Callable[..., Space], s3: Place) -> None:
    shared = make()
    for number in range(200):
        shared.put(f"many/{number}", f"{number}\n" * 2000)
    ok(shared, "add", "many")
    s3.add(shared)
    for verb, top in (("push", s3.top), ("fetch", control(shared) / "cache")):
        for count in (20, 120):
            process = subprocess.Popen(
                [sys.executable, "-m", "pyexp", verb], cwd=shared.root, stdout=subprocess.DEVNULL
            )
            while process.poll() is None and len(stored(top)) < count:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert verb == "fetch" or not any(path.name.endswith(".dir") for path in stored(top))
        ok(shared, verb)
        assert len(stored(top)) == 201
        forget(shared, "many")
    ok(shared, "pull")
    assert shared.read("many/7") == "7\n" * 2000


def test_keys_from_the_environment_and_from_profiles(make: Callable[..., Space], s3: Place, tmp_path: Path) -> None:
    shared = make()
    shared.put("one.txt", "one\n")
    ok(shared, "add", "one.txt")
    s3.secrets = {}
    s3.add(shared)
    keys = {"AWS_ACCESS_KEY_ID": servers.KEY, "AWS_SECRET_ACCESS_KEY": servers.SECRET}
    done = shared.cli("push", env=keys)
    assert done.returncode == 0 and "1 file pushed" in done.stdout, done.stderr
    (tmp_path / "home/.aws").mkdir()
    (tmp_path / "home/.aws/credentials").write_text(
        f"[default]\naws_access_key_id = x\naws_secret_access_key = y\n"
        f"[team]\naws_access_key_id = {servers.KEY}\naws_secret_access_key = {servers.SECRET}\n"
    )
    assert "refuses us" in refused(shared, 1, "status", "-c")
    done = shared.cli("status", "-c", env={"AWS_PROFILE": "team"})
    assert done.stdout == "Cache and remote 'r' are in sync.\n", done.stderr
    ok(shared, "remote", "modify", "r", "profile", "team")
    assert ok(shared, "status", "-c") == "Cache and remote 'r' are in sync.\n"
    ok(shared, "remote", "modify", "r", "profile", "nobody")
    assert "there is no AWS profile 'nobody'" in refused(shared, 1, "status", "-c")


def test_a_bucket_that_is_not_there(make: Callable[..., Space], s3: Place) -> None:
    shared = make()
    shared.put("one.txt", "one\n")
    ok(shared, "add", "one.txt")
    s3.url = "s3://nosuch/x"
    s3.add(shared)
    said = refused(shared, 1, "push")
    assert "there is no such bucket" in said and len(said.splitlines()) == 1


def test_a_missing_package_is_named_with_its_extra(make: Callable[..., Space], tmp_path: Path) -> None:
    shared = make()
    shared.put("one.txt", "one\n")
    ok(shared, "add", "one.txt")
    (tmp_path / "without").mkdir()
    for name in ("obstore", "paramiko", "fsspec"):
        (tmp_path / "without" / f"{name}.py").write_text(f"raise ModuleNotFoundError('no', name='{name}')\n")
    env = {"PYTHONPATH": str(tmp_path / "without")}
    for url, package, extra in (
        ("s3://b/x", "obstore", "s3"),
        ("gs://b/x", "obstore", "gs"),
        ("azure://b/x", "obstore", "azure"),
        ("ssh://h/x", "paramiko", "ssh"),
        ("hdfs://h/x", "fsspec", "fsspec"),
    ):
        ok(shared, "remote", "add", "-f", "-d", "r", url)
        done = shared.cli("push", env=env)
        assert done.returncode == 1 and f"'{package}'" in done.stderr, done.stderr
        assert f"pip install 'pyexp[{extra}]'" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_password_is_asked_for_on_a_terminal(
    make: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = make()
    shared.put("one.txt", "one\n")
    ok(shared, "add", "one.txt")
    with ExitStack() as stack:
        there = place("webdav", tmp_path, stack, monkeypatch)
        there.secrets = {"user": servers.USER}
        there.options = {"ask_password": "true"}
        there.add(shared)
        assert "wants its password typed" in refused(shared, 1, "push")
        code, said = on_a_terminal(shared, ["push"], [("Password for remote 'r': ", servers.PASSWORD)])
        assert code == 0 and "1 file pushed" in said and servers.PASSWORD not in said, said


def test_ssh_of_an_unknown_machine_or_with_a_changed_key(
    make: Callable[..., Space], tmp_path: Path, monkeypatch
) -> None:
    shared = make()
    shared.put("one.txt", "one\n")
    ok(shared, "add", "one.txt")
    with ExitStack() as stack:
        there = place("ssh", tmp_path, stack, monkeypatch)
        there.add(shared)
        known = tmp_path / "home/.ssh/known_hosts"
        line = known.read_text()
        known.write_text("")
        assert "is not known - connect once: ssh -p" in refused(shared, 1, "push")
        import paramiko

        known.write_text(line.split()[0] + f" ssh-rsa {paramiko.RSAKey.generate(1024).get_base64()}\n")
        assert "is another one than known_hosts says" in refused(shared, 1, "push")
        known.write_text("")
        port = there.url.partition("127.0.0.1:")[2].partition("/")[0]
        (tmp_path / "home/.ssh/config").write_text(
            f"Host box\n  HostName 127.0.0.1\n  Port {port}\n  User {servers.USER}\n  StrictHostKeyChecking no\n"
        )
        ok(shared, "remote", "modify", "r", "url", "ssh://box/sub")
        assert "1 file pushed" in ok(shared, "push")
