import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyexp.errors import StoreError
from pyexp.events import Event, Note
from pyexp.model import Entry, Oid, Tree, TreeFile
from pyexp.objects import hashes, intake
from pyexp.objects import store as stores
from pyexp.objects import tree as trees
from pyexp.objects.build import observe
from pyexp.objects.hashes import hash_bytes
from pyexp.objects.statcache import TICK_NS, StatCache
from pyexp.objects.store import LocalStore

ALGORITHMS = ["xxh128", "md5", "sha256"]


def make(root: Path, files: dict[str, bytes]) -> Path:
    for relpath, data in files.items():
        path = root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def settle() -> None:
    """Waits until files just written are old enough for their stat to be believed."""
    time.sleep(TICK_NS / 1e9 + 0.01)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files that are opened for their bytes from here on."""
    opened: list[str] = []
    real = hashes.open_regular

    def spy(path: str, extra_flags: int = 0) -> tuple[int, os.stat_result]:
        opened.append(path)
        return real(path, extra_flags)

    monkeypatch.setattr(hashes, "open_regular", spy)
    monkeypatch.setattr(stores, "open_regular", spy)
    monkeypatch.setattr(intake, "open_regular", spy)
    return opened


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_nothing_a_file_and_a_directory(tmp_path: Path, algo: str) -> None:
    assert observe(str(tmp_path / "absent"), algo=algo) is None
    make(tmp_path, {"d/a": b"a", "d/s/b": b"bb", "file": b"file"})
    assert observe(str(tmp_path / "file" / "below"), algo=algo) is None
    found = observe(str(tmp_path / "file"), algo=algo)
    assert found is not None and found.tree is None
    assert found.entry == Entry(Oid(algo, hash_bytes(b"file", algo)), 4)
    (tmp_path / "file").chmod(0o744)
    again = observe(str(tmp_path / "file"), algo=algo)
    assert again is not None and again.entry.isexec
    tree = Tree(algo, {"a": TreeFile(hash_bytes(b"a", algo), 1), "s/b": TreeFile(hash_bytes(b"bb", algo), 2)})
    directory = observe(str(tmp_path / "d"), algo=algo)
    assert directory is not None and directory.tree == tree
    assert directory.entry == trees.identify(tree)[0]
    assert (directory.entry.size, directory.entry.nfiles) == (3, 2)


def test_executable_bits_are_noted_where_the_manifest_can_hold_them(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": b"a"})
    (tmp_path / "d/a").chmod(0o755)
    native, dvc = (observe(str(tmp_path / "d"), algo=algo) for algo in ("xxh128", "md5"))
    assert native is not None and native.tree is not None and native.tree.files["a"].isexec
    assert dvc is not None and dvc.tree is not None and not dvc.tree.files["a"].isexec


def test_links_to_files_count_as_files_links_to_directories_do_not(tmp_path: Path) -> None:
    make(tmp_path, {"out/f": b"outside", "d/a": b"a"})
    (tmp_path / "d" / "f").symlink_to("../out/f")
    (tmp_path / "d" / "loop").symlink_to(".")
    (tmp_path / "d" / "out").symlink_to("../out")
    events: list[Event] = []
    store = LocalStore(tmp_path / "cache", "md5")
    found = observe(str(tmp_path / "d"), algo="md5", store=store, on_event=events.append)
    assert found is not None and found.tree is not None
    assert {path: file.hex for path, file in found.tree.files.items()} == {
        "a": hash_bytes(b"a", "md5"),
        "f": hash_bytes(b"outside", "md5"),
    }
    assert [type(event) for event in events] == [Note]


def test_a_linked_top_is_followed(tmp_path: Path) -> None:
    make(tmp_path, {"d/a": b"a"})
    (tmp_path / "link").symlink_to("d")
    assert observe(str(tmp_path / "link"), algo="md5") == observe(str(tmp_path / "d"), algo="md5")
    (tmp_path / "nowhere").symlink_to("absent")
    assert observe(str(tmp_path / "nowhere"), algo="md5") is None


def test_what_cannot_be_tracked_is_named(tmp_path: Path) -> None:
    def fifo(path: Path) -> None:
        os.mkfifo(path)

    def broken(path: Path) -> None:
        path.symlink_to("nowhere")

    def looped(path: Path) -> None:
        path.symlink_to(path.name)

    cases = {
        "pipe": fifo,
        "broken": broken,
        "looped": looped,
        "git~1": Path.mkdir,
        ".dvcignore": Path.touch,
        "GIT~2": Path.touch,
    }
    for name, create in cases.items():
        top = make(tmp_path / f"top-{len(name)}-{name.strip('.')}", {"a": b"a"})
        create(top / name)
        with pytest.raises(StoreError, match=name):
            observe(str(top), algo="md5")
        assert observe(str(top), algo="md5", ignore=lambda relpath, is_dir, name=name: relpath == name) is not None  # type: ignore[misc]
    os.mkfifo(tmp_path / "top")
    with pytest.raises(StoreError, match="a named pipe"):
        observe(str(tmp_path / "top"), algo="md5")


def test_repositories_control_directories_and_litter_are_not_data(tmp_path: Path) -> None:
    make(
        tmp_path,
        {
            "d/a": b"a",
            "d/.git/config": b"",
            "d/s/.dvc/tmp/x": b"",
            "d/.pyexp/format": b"",
            "d/.pyexp-tmp-1-2": b"",
            "d/g": b"",
        },
    )
    found = observe(str(tmp_path / "d"), algo="md5")
    assert found is not None and found.tree is not None and set(found.tree.files) == {"a", "g"}


def test_ignored_paths_are_left_out_and_not_entered(tmp_path: Path) -> None:
    make(tmp_path, {"d/a.tmp": b"", "d/b": b"", "d/no/x": b"", "d/s/no": b""})
    asked: list[tuple[str, bool]] = []

    def ignore(relpath: str, is_dir: bool) -> bool:
        asked.append((relpath, is_dir))
        return relpath.endswith(".tmp") or (is_dir and relpath == "no")

    found = observe(str(tmp_path / "d"), algo="md5", ignore=ignore)
    assert found is not None and found.tree is not None and set(found.tree.files) == {"b", "s/no"}
    assert sorted(asked) == [("a.tmp", False), ("b", False), ("no", True), ("s", True), ("s/no", False)]


def test_only_what_changed_is_read(tmp_path: Path, reads: list[str]) -> None:
    top = make(tmp_path / "d", {f"s{number % 5}/f{number}": b"%d" % number for number in range(40)})
    settle()
    cache = StatCache(tmp_path / "statcache")
    first = observe(str(top), algo="xxh128", statcache=cache)
    cache.save()
    assert len(reads) == 40
    reads.clear()
    cache = StatCache(tmp_path / "statcache")
    assert observe(str(top), algo="xxh128", statcache=cache) == first
    assert reads == []
    (top / "s0/f0").write_bytes(b"new")
    (top / "s1/f1").touch()
    second = observe(str(top), algo="xxh128", statcache=cache)
    assert sorted(reads) == [str(top / "s0/f0"), str(top / "s1/f1")]
    assert trees.diff(first and first.tree, second and second.tree) == ((), ("s0/f0",), ())


def test_a_changed_file_is_seen_however_quickly_it_changes(tmp_path: Path) -> None:
    cache = StatCache(None)
    path = tmp_path / "file"
    for number in range(200):
        data = b"%08d" % number
        path.write_bytes(data)
        found = observe(str(path), algo="md5", statcache=cache)
        assert found is not None and found.entry.oid.hex == hash_bytes(data, "md5")


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_with_a_store_everything_goes_there(tmp_path: Path, algo: str) -> None:
    files = {"a": b"a", "s/b": b"bb", "s/large": b"x" * 3_000_000, "large too": b"y" * 2_000_000}
    top = make(tmp_path / "d", files)
    store = LocalStore(tmp_path / "cache", algo)
    found = observe(str(top), algo=algo, store=store)
    assert found == observe(str(top), algo=algo)
    assert found is not None and found.tree is not None
    assert store.read_tree(found.entry.oid).files.keys() == files.keys()
    for relpath, data in files.items():
        assert store.read(Oid(algo, found.tree.files[relpath].hex)) == data
    assert len(list(store.all())) == 5


def test_known_files_are_put_when_the_store_lacks_them_and_not_read_when_it_does_not(
    tmp_path: Path, reads: list[str]
) -> None:
    top = make(tmp_path / "d", {f"f{number}": b"%d" % number for number in range(10)})
    settle()
    cache = StatCache(None)
    store = LocalStore(tmp_path / "cache", "xxh128", statcache=cache)
    found = observe(str(top), algo="xxh128", statcache=cache, store=store)
    assert found is not None and found.tree is not None
    reads.clear()
    gone = Oid("xxh128", found.tree.files["f3"].hex)
    store.remove(gone)
    assert observe(str(top), algo="xxh128", statcache=cache, store=store) == found
    assert store.read(gone) == b"3"
    assert {path for path in reads if path.startswith(str(top))} == {str(top / "f3")}
    reads.clear()
    observe(str(top), algo="xxh128", statcache=cache, store=store)
    assert [path for path in reads if not path.endswith(".dir")] == []


def test_a_large_file_that_was_only_touched_is_not_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path, {"large": b"x" * 3_000_000}) / "large"
    settle()
    cache = StatCache(None)
    store = LocalStore(tmp_path / "cache", "md5", statcache=cache)
    first = observe(str(path), algo="md5", statcache=cache, store=store)
    os.utime(path, (1000, 1000))
    settle()
    monkeypatch.setattr(intake.Intake, "_create", None)  # makes every new object fail
    assert observe(str(path), algo="md5", statcache=cache, store=store) == first
    monkeypatch.undo()
    for data in (b"y" * 3_000_000, b"z" * 2_000_000):
        path.write_bytes(data)
        found = observe(str(path), algo="md5", statcache=cache, store=store)
        assert found is not None and store.read(found.entry.oid) == data


def test_adding_again_mends_a_damaged_object(tmp_path: Path) -> None:
    top = make(tmp_path / "d", {"a": b"good", "b": b"other"})
    settle()
    cache = StatCache(None)
    store = LocalStore(tmp_path / "cache", "md5", statcache=cache)
    found = observe(str(top), algo="md5", statcache=cache, store=store)
    oid = Oid("md5", hash_bytes(b"good", "md5"))
    Path(store.path(oid)).chmod(0o644)
    Path(store.path(oid)).write_bytes(b"evil")
    Path(store.path(oid)).chmod(0o444)
    assert observe(str(top), algo="md5", statcache=cache, store=store) == found
    assert store.read(oid) == b"good"
    assert (top / "a").read_bytes() == b"good"


def test_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = make(tmp_path / "d", {"a": b"a", "b": b"b"})
    store = LocalStore(tmp_path / "cache", "md5")
    names: list[str] = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b, **k: (names.append(str(b)), real(a, b, **k))[1])
    observe(str(top), algo="md5", store=store)
    assert [name.endswith(".dir") for name in names] == [False, False, True]


def test_a_file_that_goes_on_changing_is_refused(tmp_path: Path) -> None:
    top = make(tmp_path / "d", {"log": b"0" * 40_000_000})
    stop = threading.Event()

    def write() -> None:
        with (top / "log").open("r+b") as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(16))
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(StoreError, match="changed while being read"):
            observe(str(top), algo="md5")
    finally:
        stop.set()
        writer.join()


def test_a_file_changed_once_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, {"file": b"before"}) / "file"
    real = hashes.read_whole
    left = [b"after"]

    def spy(fd: int, size: int) -> bytes:
        data = real(fd, size)
        if left:
            time.sleep(0.02)
            path.write_bytes(left.pop())
        return data

    monkeypatch.setattr(hashes, "read_whole", spy)
    found = observe(str(path), algo="md5")
    assert found is not None and found.entry == Entry(Oid("md5", hash_bytes(b"after", "md5")), 5)


def test_one_job_and_many_find_the_same(tmp_path: Path) -> None:
    top = make(tmp_path / "d", {f"f{number}": os.urandom(1_100_000) for number in range(6)})
    assert observe(str(top), algo="md5", jobs=1) == observe(str(top), algo="md5", jobs=4)


def test_a_deep_tree_is_no_problem_and_too_deep_a_tree_is_said(tmp_path: Path) -> None:
    (tmp_path / "d" / "/".join(["s"] * 150)).mkdir(parents=True)
    assert observe(str(tmp_path / "d"), algo="md5") is not None
    (tmp_path / "e" / "/".join(["s"] * 250)).mkdir(parents=True)
    with pytest.raises(StoreError, match="nested"):
        observe(str(tmp_path / "e"), algo="md5")


names = st.text(st.characters(min_codepoint=48, max_codepoint=0x2FF), min_size=1, max_size=5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=20), max_size=8))
def test_any_directory_is_observed_as_it_is(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    top = tmp_path_factory.mktemp("any")
    written: dict[str, bytes] = {}
    for relpath, data in files.items():
        try:
            make(top, {relpath: data})
            written[os.path.normpath(relpath)] = data
        except OSError:
            continue
    try:
        found = observe(str(top), algo="sha256")
    except StoreError:
        return
    assert found is not None and found.tree is not None
    assert {path: file.hex for path, file in found.tree.files.items()} == {
        path: hash_bytes(data, "sha256") for path, data in written.items()
    }
