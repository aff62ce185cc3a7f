"""Stores in places far away keep the contract of every store; and what only they have to stand."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import servers
from suites.store_suite import StoreSuite, oid_of

from pyexp.errors import CorruptObject, MissingObject, RemoteError
from pyexp.model import Oid
from pyexp.objects import options, retrying
from pyexp.objects.remote import Remote, open_remote
from pyexp.objects.remote_directory import DirectoryFiles
from pyexp.objects.remote_store import FEW, RemoteStore
from pyexp.objects.store import LocalStore, Store
from pyexp.objects.transfer import Transferred, transfer

S3_OPTIONS = {"access_key_id": servers.KEY, "secret_access_key": servers.SECRET}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_PAUSE_SECONDS", 0.001)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)


def open_s3(top: Path, stack: ExitStack, url: str = "s3://bucket/sub/dir", **options: str) -> Remote:
    pytest.importorskip("obstore")
    (top / "bucket").mkdir(parents=True)
    endpoint = stack.enter_context(servers.s3(top))
    return open_remote("r", {"url": url, "endpointurl": endpoint, **S3_OPTIONS, **options}, top)


def open_webdav(top: Path, stack: ExitStack) -> Remote:
    (top / "sub").mkdir(parents=True)
    url = stack.enter_context(servers.webdav(top))
    return open_remote("r", {"url": url, "user": servers.USER, "password": servers.PASSWORD}, top)


def open_ssh(top: Path, stack: ExitStack, **options: str) -> Remote:
    pytest.importorskip("paramiko")
    (top / "sub").mkdir(parents=True)
    home = top.parent / "home"
    home.mkdir(exist_ok=True)
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("HOME", str(home))
    url = stack.enter_context(servers.sftp(top, home))
    return open_remote("r", {"url": url, "password": servers.PASSWORD, "allow_agent": "false", **options}, top)


def open_sshd(top: Path, stack: ExitStack) -> Remote:
    pytest.importorskip("paramiko")
    home = top.parent / "home"
    home.mkdir(exist_ok=True)
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setenv("HOME", str(home))
    port = stack.enter_context(servers.sshd(home))
    url = f"ssh://127.0.0.1:{port}{top}/sub"
    return open_remote("r", {"url": url, "keyfile": "~/.ssh/id_rsa", "allow_agent": "false"}, top)


def open_azure(top: Path, stack: ExitStack) -> Remote:
    pytest.importorskip("obstore")
    top.mkdir(parents=True)
    endpoint = stack.enter_context(servers.azurite(top))
    options = {"account_name": servers.AZURE_ACCOUNT, "account_key": servers.AZURE_KEY, "endpointurl": endpoint}
    return open_remote("r", {"url": "azure://box/sub/dir", **options}, top)


def open_ftp(top: Path, stack: ExitStack) -> Remote:
    pytest.importorskip("fsspec")
    (top / "sub").mkdir(parents=True)
    url = stack.enter_context(servers.ftp(top))
    return open_remote("r", {"url": url, "user": servers.USER, "password": servers.PASSWORD}, top)


def open_web(top: Path, stack: ExitStack, **options: int) -> Remote:
    top.mkdir()
    return open_remote("r", {"url": stack.enter_context(servers.web(top, troubles=0)), "method": "put"}, top)


def open_troubled_web(top: Path, stack: ExitStack) -> Remote:
    top.mkdir()
    return open_remote("r", {"url": stack.enter_context(servers.web(top, troubles=4))}, top)


def open_directory(top: Path, stack: ExitStack) -> Remote:
    return Remote("r", DirectoryFiles(top), None)


Opens = Callable[[Path, ExitStack], Remote]
LISTED: dict[str, Opens] = {
    "directory": open_directory,
    "s3": open_s3,
    "webdav": open_webdav,
    "ssh": open_ssh,
    "ftp": open_ftp,
    "sshd": open_sshd,
    "azure": open_azure,
}
ALL: dict[str, Opens] = {**LISTED, "web": open_web, "troubled web": open_troubled_web}


def opened(kind: str, tmp_path: Path) -> Iterator[Remote]:
    with ExitStack() as stack:
        remote = ALL[kind](tmp_path / "remote", stack)
        yield remote
        remote.close()


@pytest.fixture(params=ALL)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    yield from opened(request.param, tmp_path)


class TestListedRemotes(StoreSuite):
    @pytest.fixture(params=LISTED)
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        for remote in opened(request.param, tmp_path):
            yield remote.store("md5")

    def test_objects_of_dvc_2_lie_at_the_top(self, store: Store, tmp_path: Path) -> None:
        assert isinstance(store, RemoteStore)
        legacy = RemoteStore(store.files, "md5-dos2unix", layout="legacy")
        oid = self.put(legacy, b"old")
        assert legacy.key(oid) == f"{oid.hex[:2]}/{oid.hex[2:]}"
        self.put(store, b"new")
        assert [found for found, _, _ in legacy.all()] == [oid]

    def test_every_way_to_ask_gives_the_same_answer(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        assert isinstance(store, RemoteStore)
        there = {self.put(store, b"%d" % number) for number in range(FEW + 20)}
        absent = {oid_of(store, b"not %d" % number) for number in range(FEW + 20)}
        for way in ("ask", "list", "fan out"):
            monkeypatch.setattr(RemoteStore, "_cheapest", lambda self, count, way=way: way)
            assert store.missing(there | absent) == absent


class TestWeb(StoreSuite):
    """What cannot be listed does all but that."""

    @pytest.fixture(params=["web", "troubled web"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
        for remote in opened(request.param, tmp_path):
            yield remote.store("md5")

    def test_all_lists_every_object_once(self, store: Store) -> None:
        with pytest.raises(RemoteError, match="cannot be listed"):
            list(store.all())

    @pytest.mark.parametrize("size", [5, 3_000_000])
    def test_put_from_refuses_a_file_that_is_another_object(self, store: Store, tmp_path: Path, size: int) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"e" * size)
        with pytest.raises(CorruptObject):
            store.put_from(oid_of(store, b"g" * size), str(path))
        assert not store.has(oid_of(store, b"g" * size))


def fill(store: LocalStore, count: int = 60) -> list[Oid]:
    found = []
    for number in range(count):
        data = b"%d\n" % number * (1 if number % 10 else 300_000)
        found.append(oid_of(store, data))
        store.put_bytes(found[-1], data)
    return found


def test_there_and_back(remote: Remote, tmp_path: Path) -> None:
    here, elsewhere = (LocalStore(tmp_path / name, "xxh128") for name in ("here", "elsewhere"))
    there = remote.store("xxh128")
    oids = fill(here)
    result = transfer(here, there, oids, jobs=8)
    assert result == Transferred(60) and result.size_bytes == sum(size for _, size, _ in here.all())
    assert there.missing(oids) == set()
    gone = oid_of(here, b"never there")
    result = transfer(there, elsewhere, [*oids, gone], jobs=8)
    assert (result.done, result.missing, result.failed) == (60, (gone,), ())
    assert elsewhere.missing(oids) == set()
    for oid in oids:
        elsewhere.verify(oid)
    assert not [name for name in os.listdir(elsewhere.base) if len(name) > 2]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_wrong_object_is_set_aside_and_named(kind: str, size: int, tmp_path: Path) -> None:
    for remote in opened(kind, tmp_path):
        there, here = remote.store("md5"), LocalStore(tmp_path / "here", "md5")
        assert isinstance(there, RemoteStore)
        good, oid = b"g" * size, Oid("md5", "0" * 32)
        oid = oid_of(there, good)
        other = oid_of(there, b"other")
        there.put_bytes(other, b"other")
        there.files.write(there.key(oid), b"e" * size)
        result = transfer(there, here, [oid, other])
        assert result.done == 1 and [bad for bad, _ in result.failed] == [oid]
        assert "does not hold the bytes its name says" in result.failed[0][1]
        assert not here.has(oid) and here.has(other)
        assert [path.read_bytes() for path in (tmp_path / "here" / "corrupt").iterdir()] == [b"e" * size] * 2
        if "web" not in kind or kind == "webdav":  # it can be moved there: the next push replaces it
            assert there.missing([oid]) == {oid}
        there.put_bytes(oid, good)
        assert transfer(there, here, [oid]) == Transferred(1)


def test_cheapest_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RemoteStore(DirectoryFiles(tmp_path), "md5")
    ways = {}
    for there in (0, 10_000, 1_000_000, 100_000_000):
        monkeypatch.setattr(store, "_list_fanout", lambda prefix, there=there: [None] * (there // 256))
        ways[there] = [store._cheapest(count) for count in (10, 1000, 100_000)]
    assert ways == {
        0: ["ask", "list", "list"],
        10_000: ["ask", "list", "list"],
        1_000_000: ["ask", "ask", "fan out"],
        100_000_000: ["ask", "ask", "ask"],
    }


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{servers.free_port()}/x"
    there, here = open_remote("r", {"url": url}, tmp_path).store("md5"), LocalStore(tmp_path / "here", "md5")
    oids = fill(here)
    with pytest.raises(RemoteError, match="cannot be reached"):
        there.missing(oids)
    with pytest.raises(RemoteError, match="cannot be reached"):
        transfer(here, there, oids, jobs=4)


def test_who_is_not_welcome(tmp_path: Path) -> None:
    import urllib3

    wanted = urllib3.make_headers(basic_auth="ann:hunter2")["authorization"]
    with servers.web(tmp_path, authorization=wanted) as url:
        right = {"url": url, "user": "ann", "password": "hunter2"}
        open_remote("r", right, tmp_path).store("md5").has(Oid("md5", "0" * 32))
        in_url = {"url": url.replace("//", "//ann:hunter2@")}
        store = open_remote("r", in_url, tmp_path).store("md5")
        assert not store.has(Oid("md5", "0" * 32)) and "hunter2" not in repr(store)
        for wrong in ({"url": url}, {**right, "password": "hunter3"}, {**right, "token": "x"}):
            with pytest.raises(RemoteError, match="refuses us: 401") as caught:
                open_remote("r", wrong, tmp_path).store("md5").has(Oid("md5", "0" * 32))
            assert "hunter" not in str(caught.value) + str(caught.value.hint)
        with pytest.raises(RemoteError, match="auth 'digest' is not supported"):
            open_remote("r", {**right, "auth": "digest"}, tmp_path)


def test_a_package_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "pyexp.objects.remote_obstore", raising=False)
    with pytest.raises(RemoteError, match="needs the package 'obstore'") as caught:
        open_remote("r", {"url": "s3://bucket"}, tmp_path)
    assert caught.value.hint == "pip install 'pyexp[s3]'"


class TestS3:
    @pytest.fixture
    def endpoint(self, tmp_path: Path) -> Iterator[str]:
        pytest.importorskip("obstore")
        (tmp_path / "s3" / "bucket").mkdir(parents=True)
        with servers.s3(tmp_path / "s3") as found:
            yield found

    def ask(self, tmp_path: Path, endpoint: str, url: str = "s3://bucket/x", **options: str) -> bool:
        store = open_remote("r", {"url": url, "endpointurl": endpoint, **options}, tmp_path).store("md5")
        return store.has(Oid("md5", "0" * 32))

    def test_wrong_keys_are_told_and_not_shown(self, tmp_path: Path, endpoint: str) -> None:
        with pytest.raises(RemoteError) as caught:
            self.ask(tmp_path, endpoint, access_key_id=servers.KEY, secret_access_key="wrongwrong")
        assert "refuses us" in str(caught.value) and "wrongwrong" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_bucket_that_does_not_exist(self, tmp_path: Path, endpoint: str) -> None:
        store = open_remote("r", {"url": "s3://nosuch/x", "endpointurl": endpoint, **S3_OPTIONS}, tmp_path).store("md5")
        with pytest.raises((RemoteError, MissingObject)):
            store.put_bytes(oid_of(store, b"x"), b"x")

    def test_keys_of_the_environment(self, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
        assert not self.ask(tmp_path, endpoint)

    def test_profiles(self, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        home = tmp_path / "home"
        (home / ".aws").mkdir(parents=True)
        monkeypatch.setenv("HOME", str(home))
        keys = f"aws_access_key_id = {servers.KEY}\naws_secret_access_key = {servers.SECRET}\n"
        (home / ".aws/credentials").write_text(
            f"[default]\naws_access_key_id = no\naws_secret_access_key = no\n[mine]\n{keys}"
        )
        (home / ".aws/config").write_text("[profile mine]\nregion = eu-west-1\n[profile role]\nrole_arn = arn:x\n")
        assert not self.ask(tmp_path, endpoint, profile="mine")
        with pytest.raises(RemoteError, match="refuses us"):
            self.ask(tmp_path, endpoint)
        with pytest.raises(RemoteError, match="no AWS profile 'nosuch'"):
            self.ask(tmp_path, endpoint, profile="nosuch")
        monkeypatch.setenv("AWS_PROFILE", "mine")
        assert not self.ask(tmp_path, endpoint)
        own = tmp_path / "own"
        own.write_text(f"[default]\n{keys}")
        monkeypatch.delenv("AWS_PROFILE")
        assert not self.ask(tmp_path, endpoint, credentialpath="own")

    def test_the_connection_is_cut_and_the_same_again_completes(self, tmp_path: Path) -> None:
        pytest.importorskip("obstore")
        top = tmp_path / "cut"
        (top / "bucket").mkdir(parents=True)
        port = servers.free_port()
        options = {"url": "s3://bucket/x", "endpointurl": f"http://127.0.0.1:{port}", **S3_OPTIONS}
        here = LocalStore(tmp_path / "here", "md5")
        oids = fill(here, 400)
        there = open_remote("r", options, tmp_path).store("md5")
        with servers.s3(top, port) as _, pytest.MonkeyPatch.context() as patch:
            _stop_after(there, 100, patch)
            with pytest.raises(RemoteError):
                transfer(here, there, oids, jobs=4)
        with servers.s3(top, port):
            there = open_remote("r", options, tmp_path).store("md5")
            absent = there.missing(oids)
            assert 0 < len(absent) < 400
            assert transfer(here, there, absent, jobs=4) == Transferred(len(absent))
            assert there.missing(oids) == set()


def _stop_after(store: Store, count: int, patch: pytest.MonkeyPatch) -> None:
    """Points the store's requests at a port where nobody listens once so many have gone through."""
    assert isinstance(store, RemoteStore)
    files = store.files
    dead = open_remote(
        "r", {"url": "s3://bucket/x", "endpointurl": f"http://127.0.0.1:{servers.free_port()}", **S3_OPTIONS}, Path("/")
    ).files
    real = files.write
    left = iter(range(count))

    def write(key: str, data: bytes) -> None:
        (real if next(left, None) is not None else dead.write)(key, data)

    patch.setattr(files, "write", write)


def test_options_are_read_or_refused() -> None:
    for word in ("true", "Yes", "ON", "1"):
        assert options.flag({"x": word}, "x") is True
    for word in ("false", "No", "OFF", "0"):
        assert options.flag({"x": word}, "x", True) is False
    assert options.flag({}, "x", True) is True and options.truth("/etc/ca.pem") is None
    assert options.number({"x": "8"}, "x", 1) == 8 and options.seconds({"x": "0.5"}, "x", 1) == 0.5
    for read in (options.flag, options.number, options.seconds):
        with pytest.raises(RemoteError, match="x = 'maybe' is"):
            read({"x": "maybe"}, "x", 1)  # type: ignore[operator]


def test_a_machines_name_is_no_option_of_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paramiko")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(f"Host *\n  ProxyCommand touch {tmp_path}/ran %h\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for host in ("x -oProxyCommand=evil", "-x", "a'b", "x;y"):
        with (
            closing(open_remote("r", {"url": f"ssh://{host}/x"}, tmp_path)) as remote,
            pytest.raises(RemoteError, match="no machine's name"),
        ):
            remote.files.size("a")
    assert not (tmp_path / "ran").exists()
