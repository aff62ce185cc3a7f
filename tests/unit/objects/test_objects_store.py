import os
import stat
import threading
import time
from pathlib import Path

import pytest
from suites.store_suite import StoreSuite, oid_of

from pyexp.durable import TMP_PREFIX
from pyexp.errors import CorruptObject, MissingObject, StoreError
from pyexp.model import Oid, Tree, TreeFile
from pyexp.objects import intake
from pyexp.objects import store as stores
from pyexp.objects.memory import MemoryStore
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore, Store

SMALL, LARGE = b"small", b"large" * 500_000


@pytest.mark.parametrize("algo", ["xxh128", "md5", "sha256"])
class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self, algo: str) -> Store:
        return MemoryStore(algo)


@pytest.mark.parametrize(
    ("algo", "layout", "fsync"),
    [
        ("xxh128", "files", "batch"),
        ("md5", "files", "none"),
        ("md5", "legacy", "each"),
        ("md5-dos2unix", "legacy", "batch"),
        ("sha256", "files", "each"),
    ],
)
class TestLocalStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path, algo: str, layout: str, fsync: str) -> Store:
        return LocalStore(tmp_path / "cache", algo, layout=layout, fsync=fsync)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache", "xxh128")


def put(store: LocalStore, data: bytes) -> Oid:
    oid = oid_of(store, data)
    store.put_bytes(oid, data)
    return oid


def damage(store: LocalStore, oid: Oid, data: bytes | None = None) -> None:
    """Changes an object's bytes, by default to others of the same length."""
    path = Path(store.path(oid))
    path.chmod(0o644)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()) if data is None else data)
    path.chmod(0o444)


def test_layouts_are_dvcs(tmp_path: Path) -> None:
    hexes = "d751713988987e9331980363e24189ce.dir"
    oid = Oid("md5", hexes)
    assert LocalStore(tmp_path, "md5").path(oid) == f"{tmp_path}/files/md5/d7/{hexes[2:]}"
    assert LocalStore(tmp_path, "md5", layout="legacy").path(oid) == f"{tmp_path}/d7/{hexes[2:]}"


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_objects_are_read_only_whatever_the_umask(store: LocalStore, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    before = os.umask(0o077)
    try:
        oid, _ = store.put_file(str(tmp_path / "file"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(store.path(oid)).st_mode) == 0o444


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_the_users_inode_stays_the_users(store: LocalStore, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    mode = path.stat().st_mode
    oid, _ = store.put_file(str(path))
    assert path.stat().st_ino != os.stat(store.path(oid)).st_ino
    assert path.stat().st_nlink == 1 and path.stat().st_mode == mode


@pytest.mark.parametrize("data", [SMALL, LARGE])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_putting_a_good_file_mends_a_damaged_object(store: LocalStore, tmp_path: Path, data: bytes, how: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    oid, _ = store.put_file(str(path))
    damage(store, oid, {"flipped": None, "cut": data[:-1], "empty": b""}[how])
    assert store.put_file(str(path), known=oid.hex) == (oid, len(data))
    assert path.read_bytes() == data
    assert store.read(oid) == data


@pytest.mark.skipif(os.name == "nt", reason="no limit of open files to lower")
def test_what_cannot_be_read_now_is_not_damaged(store: LocalStore) -> None:
    import resource

    oid = put(store, SMALL)
    fresh = LocalStore(store.root, "xxh128")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        for act in (fresh.verify, fresh.read, lambda oid: fresh.put_bytes(oid, SMALL)):
            with pytest.raises(StoreError, match="Too many open files") as raised:
                act(oid)
            assert not isinstance(raised.value, CorruptObject)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fresh.verify(oid)
    assert fresh.read(oid) == SMALL and not (store.root / "corrupt").exists()


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_a_damaged_object_is_moved_away_and_counts_as_missing(store: LocalStore, data: bytes) -> None:
    for ask in (store.read, store.verify):
        oid = put(store, data)
        store.verify(oid)
        damage(store, oid)
        with pytest.raises(CorruptObject) as caught:
            ask(oid)
        assert oid.hex in str(caught.value) and caught.value.hint
        assert store.missing([oid]) == {oid}
        assert store.was_quarantined(oid)
        with pytest.raises(MissingObject):
            ask(oid)


def test_a_link_or_directory_in_an_objects_place_is_no_object(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    for make in (lambda path: os.symlink(tmp_path / "secret", path), os.mkdir, os.mkfifo):
        oid = oid_of(store, b"secret")
        os.makedirs(os.path.dirname(store.path(oid)), exist_ok=True)
        make(store.path(oid))
        assert not store.has(oid)
        assert store.missing([oid]) == {oid}
        with pytest.raises(StoreError):
            store.read(oid)
        put(store, b"secret")
        assert store.read(oid) == b"secret"
        store.remove(oid)
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_two_files_with_one_hash_are_told_apart(tmp_path: Path) -> None:
    # A pair with one MD5 (X. Wang and others, 2004): they differ in six bits.
    one = bytes.fromhex(
        "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
        "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
        "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
        "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
    )
    other = bytes(byte ^ 0x80 if at in (19, 45, 59, 83, 109, 123) else byte for at, byte in enumerate(one))
    store = LocalStore(tmp_path / "cache", "md5")
    assert oid_of(store, one) == oid_of(store, other)
    put(store, one)
    with pytest.raises(StoreError, match="same md5 hash"):
        put(store, other)
    assert store.read(oid_of(store, one)) == one


def test_texts_that_differ_in_line_ends_are_one_legacy_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache", "md5-dos2unix", layout="legacy")
    (tmp_path / "dos").write_bytes(b"a\r\nb\r\n")
    (tmp_path / "unix").write_bytes(b"a\nb\n")
    oid, _ = store.put_file(str(tmp_path / "dos"))
    assert store.put_file(str(tmp_path / "unix"))[0] == oid == Oid("md5-dos2unix", "dd8c6a395b5dd36c56d23275028f526c")
    assert store.put_file(str(tmp_path / "unix"), known=oid.hex)[0] == oid
    assert store.read(oid) == b"a\r\nb\r\n"


@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_reuse_makes_an_object_young_again(store: LocalStore, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    oid, _ = store.put_file(str(path))
    for known in (None, oid.hex):
        os.utime(store.path(oid), (1, 1))
        store.put_file(str(path), known=known)
        assert os.stat(store.path(oid)).st_mtime > time.time() - 60


def test_verification_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statcache = StatCache(tmp_path / "statcache")
    oid = put(LocalStore(tmp_path / "cache", "xxh128", statcache=statcache), SMALL)
    statcache.save()
    store = LocalStore(tmp_path / "cache", "xxh128", statcache=StatCache(tmp_path / "statcache"))
    hashed: list[str] = []
    real = stores.hash_file
    monkeypatch.setattr(stores, "hash_file", lambda path, algo: (hashed.append(path), real(path, algo))[1])
    store.verify(oid)
    assert hashed == []
    damage(store, oid)
    with pytest.raises(CorruptObject):
        store.verify(oid)
    assert hashed == [store.path(oid)]


def test_a_file_that_keeps_changing_is_refused(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0" * 40_000_000)
    stop = threading.Event()

    def write() -> None:
        with path.open("r+b") as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(16))
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(StoreError, match="changed while being read"):
            store.put_file(str(path))
    finally:
        stop.set()
        writer.join()
    assert list(store.all()) == []
    assert not [name for _, _, names in os.walk(store.root) for name in names if name.startswith(TMP_PREFIX)]


def test_a_full_disk_is_one_line_and_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StoreError) as caught:
            store.put_file(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "File too large" in str(caught.value) and "\n" not in str(caught.value)
    assert list(store.all()) == []
    assert not [name for _, _, names in os.walk(store.root) for name in names if name.startswith(TMP_PREFIX)]
    store.put_file(str(path))


def test_read_tree_looks_whether_the_manifest_is_still_there(store: LocalStore) -> None:
    entry = store.put_tree(Tree("xxh128", {"a": TreeFile("0" * 32, 1)}))
    assert store.read_tree(entry.oid).files.keys() == {"a"}
    os.unlink(store.path(entry.oid))
    with pytest.raises(MissingObject):
        store.read_tree(entry.oid)


def test_a_manifest_that_hashes_right_but_says_wrong_things_is_corrupt(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "cache", "md5")
    data = b'[{"md5": "d751713988987e9331980363e24189ce", "relpath": "../../outside"}]'
    oid = Oid("md5", oid_of(store, data).hex + ".dir")
    store.put_bytes(oid, data)
    with pytest.raises(CorruptObject, match="unsafe path"):
        store.read_tree(oid)


def test_flush_reaches_every_object_and_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "cache", "xxh128", fsync="batch")
    synced: list[str] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    oids = [put(store, b"%d" % number) for number in range(5)]
    assert synced == []
    store.flush()
    paths = {store.path(oid) for oid in oids}
    assert paths <= set(synced)
    assert {os.path.dirname(path) for path in paths} <= set(synced)
    assert len(synced) == len(set(synced))
    synced.clear()
    store.flush()
    assert synced == []


def test_a_large_batch_is_flushed_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "cache", "xxh128")
    for number in range(200):
        put(store, b"%d" % number)
    flushed: list[str] = []
    monkeypatch.setattr(intake, "flush_file_system", lambda path: (flushed.append(path), True)[1])
    store.flush()
    assert flushed == [store.base]


def test_two_threads_and_two_stores_may_put_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            mine = LocalStore(tmp_path / "cache", "xxh128")
            for number in range(40):
                put(mine, b"%d" % number)
            mine.put_file(str(path))
            mine.flush()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    store = LocalStore(tmp_path / "cache", "xxh128")
    assert len(list(store.all())) == 41
    for oid, _, _ in store.all():
        store.read(oid)
    assert not (tmp_path / "cache" / "corrupt").exists()


def test_a_complete_directory_is_found_out_once_until_an_object_comes_or_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statcache = StatCache(tmp_path / "statcache")
    store = LocalStore(tmp_path / "cache", "xxh128", statcache=statcache)
    oids = [put(store, b"%d" % number) for number in range(900)]
    tree = Tree("xxh128", {f"directory/file-{n:04}": TreeFile(oid.hex, 3, False) for n, oid in enumerate(oids)})
    manifest = store.put_tree(tree).oid
    time.sleep(0.1)  # the directories' times are only believed when they are not quite new
    assert store.complete(manifest)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    again = LocalStore(tmp_path / "cache", "xxh128", statcache=statcache)
    assert again.complete(manifest) and set(listed) <= {again.base}
    os.unlink(store.path(oids[7]))
    assert not again.complete(manifest)
    put(store, b"7")
    assert again.complete(manifest)
    time.sleep(0.1)
    assert again.complete(manifest)
    os.unlink(store.path(manifest))
    assert not again.complete(manifest)
