"""What every store must do: a store's test subclasses ``StoreSuite`` and gives the fixture ``store``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pyexp.errors import CorruptObject, MissingObject, StoreError
from pyexp.model import Entry, Oid, Tree, TreeFile
from pyexp.objects.hashes import hash_bytes
from pyexp.objects.store import Store


def oid_of(store: Store, data: bytes) -> Oid:
    return Oid(store.algo, hash_bytes(data, store.algo))


class StoreSuite:
    """The contract of ``pyexp.objects.store.Store``."""

    def put(self, store: Store, data: bytes) -> Oid:
        oid = oid_of(store, data)
        store.put_bytes(oid, data)
        return oid

    def test_what_was_put_is_there_and_can_be_read(self, store: Store) -> None:
        for data in (b"", b"one", b"x" * 3_000_000):
            oid = self.put(store, data)
            assert store.has(oid)
            assert store.read(oid) == data
            store.verify(oid)

    def test_bytes_that_are_not_the_object_are_refused_and_not_kept(self, store: Store) -> None:
        oid = oid_of(store, b"good")
        with pytest.raises(CorruptObject):
            store.put_bytes(oid, b"evil")
        assert not store.has(oid)

    def test_an_absent_object_is_missing_everywhere(self, store: Store) -> None:
        oid = oid_of(store, b"never put")
        assert not store.has(oid)
        for ask in (store.read, store.verify):
            with pytest.raises(MissingObject):
                ask(oid)
        with pytest.raises(MissingObject):
            store.load(Entry(oid, 9))

    def test_missing_tells_just_the_absent(self, store: Store) -> None:
        there = {self.put(store, b"%d" % number) for number in range(300)}
        absent = {oid_of(store, b"not %d" % number) for number in range(300)}
        assert store.missing(there | absent) == absent
        assert store.missing([]) == set()

    def test_put_file_takes_small_and_large_files(self, store: Store, tmp_path: Path) -> None:
        for data in (b"", b"small", b"large" * 1_000_000):
            path = tmp_path / "file"
            path.write_bytes(data)
            assert store.put_file(str(path)) == (oid_of(store, data), len(data))
            assert store.read(oid_of(store, data)) == data

    def test_put_file_does_not_believe_a_wrong_hash(self, store: Store, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"now")
        oid, _ = store.put_file(str(path), known=oid_of(store, b"before").hex)
        assert oid == oid_of(store, b"now")
        assert store.read(oid) == b"now"

    @pytest.mark.parametrize("size", [5, 3_000_000])
    def test_put_from_refuses_a_file_that_is_another_object(self, store: Store, tmp_path: Path, size: int) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"e" * size)
        oid = oid_of(store, b"g" * size)
        with pytest.raises(CorruptObject):
            store.put_from(oid, str(path))
        assert not store.has(oid)
        assert list(store.all()) == []

    def test_put_file_of_what_is_no_file(self, store: Store, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "absent"):
            with pytest.raises(StoreError):
                store.put_file(str(path))

    @pytest.mark.parametrize(
        "hex", ["", "..", "../" * 10 + "ab", "A" * 32, "a" * 31, "a" * 33, "a" * 32 + ".dirx", "a" * 32 + "\n"]
    )
    def test_ids_that_are_none_are_refused(self, store: Store, hex: str) -> None:
        oid = Oid(store.algo, hex)
        asks: list[Callable[[Oid], object]] = [store.has, store.read, store.verify, store.remove]
        for ask in asks:
            with pytest.raises(StoreError):
                ask(oid)
        with pytest.raises(StoreError):
            store.missing([oid])
        with pytest.raises(StoreError):
            store.put_bytes(oid, b"")

    def test_ids_of_another_algorithm_are_refused(self, store: Store) -> None:
        other = "sha256" if store.algo != "sha256" else "md5"
        with pytest.raises(StoreError):
            store.has(Oid(other, hash_bytes(b"", other)))

    def test_all_lists_every_object_once(self, store: Store) -> None:
        put = {self.put(store, b"x" * number): number for number in range(50)}
        assert {oid: size for oid, size, _ in store.all()} == put
        assert len(list(store.all())) == len(put)

    def test_removed_objects_are_gone_and_can_be_put_again(self, store: Store) -> None:
        oid = self.put(store, b"data")
        store.remove(oid)
        assert not store.has(oid)
        store.remove(oid)
        self.put(store, b"data")
        assert store.read(oid) == b"data"

    def test_a_directory_goes_in_and_out(self, store: Store) -> None:
        names = ("a", "sub/b", "\u00e9\udcff")
        members = {name: self.put(store, name.encode("utf-8", "surrogateescape")) for name in names}
        tree = Tree(store.algo, {name: TreeFile(oid.hex, 1) for name, oid in sorted(members.items())})
        entry = store.put_tree(tree)
        assert entry.oid.is_dir and entry.nfiles == 3
        assert {p: f.hex for p, f in store.read_tree(entry.oid).files.items()} == {p: o.hex for p, o in members.items()}
        content = store.load(entry)
        assert content.entry == entry and content.tree is not None
        store.remove(entry.oid)
        with pytest.raises(MissingObject):
            store.read_tree(entry.oid)

    def test_a_files_id_is_no_directory(self, store: Store) -> None:
        with pytest.raises(StoreError):
            store.read_tree(self.put(store, b"[]"))

    def test_flush_can_always_be_called(self, store: Store) -> None:
        store.flush()
        self.put(store, b"data")
        store.flush()
        store.flush()
