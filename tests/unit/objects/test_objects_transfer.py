import os
import time
from pathlib import Path

import pytest
from suites.store_suite import oid_of

from pyexp.durable import TMP_PREFIX
from pyexp.errors import CorruptObject
from pyexp.model import Entry, Oid, Tree, TreeFile
from pyexp.objects.memory import MemoryStore
from pyexp.objects.store import LocalStore, Store
from pyexp.objects.transfer import Garbage, Transferred, collect_garbage, reachable, transfer


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "cache", "xxh128")


def put(store: Store, data: bytes) -> Oid:
    oid = oid_of(store, data)
    store.put_bytes(oid, data)
    return oid


def put_directory(store: Store, *contents: bytes) -> Entry:
    files = {f"f{number}": TreeFile(put(store, data).hex, len(data)) for number, data in enumerate(contents)}
    return store.put_tree(Tree(store.algo, files))


def damage(store: LocalStore, oid: Oid) -> None:
    path = Path(store.path(oid))
    path.chmod(0o644)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def hexes(store: Store) -> set[str]:
    return {oid.hex for oid, _, _ in store.all()}


def test_reachable_is_entries_manifests_and_members(store: LocalStore) -> None:
    directory = put_directory(store, b"one", b"two")
    file = Entry(put(store, b"file"), 4)
    put(store, b"garbage")
    expected = {directory.oid.hex, file.oid.hex, oid_of(store, b"one").hex, oid_of(store, b"two").hex}
    assert reachable(store, [directory, file]) == (expected, set())


def test_reachable_tells_of_missing_manifests_and_stops_at_unreadable_ones(store: LocalStore) -> None:
    directory = put_directory(store, b"one")
    store.remove(directory.oid)
    assert reachable(store, [directory]) == ({directory.oid.hex}, {directory.oid.hex})
    directory = put_directory(store, b"one")
    damage(store, directory.oid)
    for _ in range(2):  # also once the damaged manifest has been moved away
        with pytest.raises(CorruptObject):
            reachable(store, [directory])
    assert store.has(oid_of(store, b"one"))


def test_gc_removes_what_is_not_kept(store: LocalStore) -> None:
    directory = put_directory(store, b"one", b"two")
    put_directory(store, b"two", b"three")
    keep, _ = reachable(store, [directory])
    before = hexes(store)
    expected = Garbage(2, sum(size for oid, size, _ in store.all() if oid.hex not in keep))
    assert collect_garbage(store, keep, dry=True) == expected
    assert hexes(store) == before
    assert collect_garbage(store, keep) == expected
    assert hexes(store) == keep
    assert collect_garbage(store, keep) == Garbage(0, 0)


def test_gc_keeps_what_a_living_run_has_stored_or_used(store: LocalStore, tmp_path: Path) -> None:
    old, used, new = (put(store, data) for data in (b"old", b"used", b"new"))
    for oid in (old, used):
        os.utime(store.path(oid), (1000, 1000))
    began = time.time() - 1
    (tmp_path / "file").write_bytes(b"used")
    store.put_file(str(tmp_path / "file"))
    assert collect_garbage(store, set(), newer_than=began) == Garbage(1, 3)
    assert hexes(store) == {used.hex, new.hex}


def test_gc_removes_manifests_before_members(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put_directory(store, *(b"%d" % number for number in range(20)))
    removed: list[bool] = []
    real = os.unlink
    monkeypatch.setattr(
        os, "unlink", lambda path, **k: (removed.append(str(path).endswith(".dir")), real(path, **k))[1]
    )
    collect_garbage(store, set())
    assert removed == [True, *[False] * 20]


def test_gc_removes_the_litter_of_the_dead_and_only_that(store: LocalStore) -> None:
    oid = put(store, b"x")
    directory = os.path.dirname(store.path(oid))
    for name, age in (("old", 7200), ("new", 0)):
        path = Path(directory) / f"{TMP_PREFIX}{name}"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    (Path(directory) / "notes.txt").touch()
    collect_garbage(store, {oid.hex})
    assert set(os.listdir(directory)) == {oid.hex[2:], f"{TMP_PREFIX}new", "notes.txt"}


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("kinds", ["local local", "local memory", "memory local"])
def test_transfer_brings_everything_and_is_safe_to_repeat(tmp_path: Path, kinds: str, jobs: int) -> None:
    source, target = (
        LocalStore(tmp_path / str(number), "md5") if kind == "local" else MemoryStore("md5")
        for number, kind in enumerate(kinds.split())
    )
    entry = put_directory(source, b"one", b"two", b"large" * 500_000)
    wanted = [oid for oid, _, _ in source.all()]
    for _ in range(2):
        assert transfer(source, target, wanted, jobs=jobs) == Transferred(4)
        assert hexes(target) == hexes(source)
    assert target.read_tree(entry.oid) == source.read_tree(entry.oid)


def test_what_is_missing_or_damaged_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    source, target = (LocalStore(tmp_path / name, "md5") for name in ("source", "target"))
    whole, partial = put_directory(source, b"1", b"2"), put_directory(source, b"2", b"bad", b"gone")
    bad, gone = oid_of(source, b"bad"), oid_of(source, b"gone")
    wanted = [oid for oid, _, _ in source.all()]
    damage(source, bad)
    source.remove(gone)
    result = transfer(source, target, wanted)
    assert (result.done, result.missing) == (3, (gone,))
    assert {oid for oid, _ in result.failed} == {bad, partial.oid}
    assert dict(result.failed)[partial.oid] == "2 of its files did not come"
    assert hexes(target) == {whole.oid.hex, oid_of(source, b"1").hex, oid_of(source, b"2").hex}
    assert source.missing([bad]) == {bad}  # so that the next push replaces it


def test_a_manifest_alone_may_come_first(tmp_path: Path) -> None:
    source, target = (LocalStore(tmp_path / name, "md5") for name in ("source", "target"))
    entry = put_directory(source, b"1")
    assert transfer(source, target, [entry.oid]) == Transferred(1)
    assert target.read_tree(entry.oid).files.keys() == {"f0"}
