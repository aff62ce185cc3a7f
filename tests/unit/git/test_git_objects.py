import hashlib
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from dulwich.object_format import DEFAULT_OBJECT_FORMAT as DEFAULT
from dulwich.objects import ShaFile
from gitspace import make
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import GitError
from pyexp.git import objects
from pyexp.git.repo import Repo, discover
from pyexp.model import Identity

NAME = st.binary(min_size=1, max_size=12).filter(lambda raw: b"\0" not in raw and b"/" not in raw)
SHA = st.binary(min_size=20, max_size=20).map(bytes.hex)
MODE = st.sampled_from([0o100644, 0o100755, 0o120000, 0o40000, 0o160000])
TREE = st.dictionaries(NAME.map(lambda raw: raw.decode("utf-8", "surrogateescape")), st.tuples(MODE, SHA), max_size=8)


@given(TREE)
def test_a_tree_is_read_as_it_was_written(entries: dict[str, tuple[int, str]]) -> None:
    assert objects.parse_tree(objects.encode_tree(entries)) == entries


@given(st.binary(max_size=60))
def test_bytes_that_are_no_tree_are_refused_in_one_way(data: bytes) -> None:
    try:
        entries = objects.parse_tree(data)
    except GitError:
        return
    assert sum(len(objects.encode_tree({name: entry})) for name, entry in entries.items()) <= len(data) + 8


def test_directories_sort_as_if_they_ended_in_a_slash() -> None:
    sha = "1" * 40
    raw = objects.encode_tree({"a": (objects.DIRECTORY, sha), "a-b": (objects.FILE, sha), "a0": (objects.FILE, sha)})
    assert raw.index(b"a-b\0") < raw.index(b"a\0") < raw.index(b"a0\0")


def test_known_names(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        assert objects.write_blob(repo, b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
        assert objects.write_tree(repo, {}) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        assert objects.blob_sha(repo, b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_a_commit_keeps_its_message_verbatim(message: str) -> None:
    data = f"tree {'1' * 40}\nparent {'2' * 40}\nauthor A B <a@b> 1 +0000\ncommitter C <c@d> 2 -0130\n\n{message}"
    commit = objects.parse_commit("3" * 40, data.encode())
    assert (commit.message, commit.time, commit.timezone) == (message, 2, -5400)
    assert commit.author == Identity("A B", "a@b")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_commit_record(data: bytes) -> None:
    objects.parse_commit("1" * 40, data)


def test_commit_is_stored_with_local_time_and_no_added_newline(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        tree = objects.write_tree(repo, {})
        sha = objects.write_commit(repo, tree, [], "no newline", Identity("Ann <x>\n", "a@b"), time=1000)
        assert objects.read(repo, sha)[1].endswith(b"\n\nno newline")
        commit = repo.commit(sha)
        assert (commit.time, commit.author) == (1000, Identity("Ann x", "a@b"))


def test_an_object_is_read_only_and_written_once(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        sha = objects.write_blob(repo, b"data")
        path = tmp_path / ".git/objects" / sha[:2] / sha[2:]
        inode = path.stat().st_ino
        assert path.stat().st_mode & 0o777 == 0o444
        os.utime(path, (1, 1))
        assert objects.write_blob(repo, b"data") == sha
        # Freshened, not replaced.
        assert path.stat().st_ino == inode and path.stat().st_mtime > 1000


def test_an_object_left_empty_by_a_power_cut_is_written_anew(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        sha = objects.write_blob(repo, b"data")
        path = tmp_path / ".git/objects" / sha[:2] / sha[2:]
        path.chmod(0o644)
        path.write_bytes(b"")
        assert not objects.exists(repo, sha)
        with pytest.raises(GitError, match="missing"):
            objects.read(repo, sha)
        objects.write_blob(repo, b"data")
        assert repo.read_blob(sha) == b"data"


def test_a_damaged_object_is_not_served(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        sha = objects.write_blob(repo, b"data" * 100)
        path = tmp_path / ".git/objects" / sha[:2] / sha[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-6])
        with pytest.raises(GitError):
            objects.read(repo, sha)


@pytest.mark.parametrize("packed", ["loose", "whole", "differences"])
def test_a_size_is_known_without_reading(tmp_path: Path, packed: str) -> None:
    text = "".join(f"line {number} of many\n" for number in range(3000))
    contents = [b"", b"x" * 15, b"y" * 16, b"z" * 300_000, *(f"{text}{number}\n".encode() for number in range(6))]
    with make(tmp_path) as repo:
        shas = [objects.write_blob(repo, data) for data in contents]
        if packed != "loose":
            found = [(repo.store[sha.encode()], None) for sha in shas]
            repo.store.pack_loose_objects() if packed == "whole" else _pack_differences(repo, found)
            for sha in shas:
                Path(repo.objects_dir, sha[:2], sha[2:]).unlink(missing_ok=True)
    with discover(tmp_path) as repo:
        assert [repo.size_bytes(sha) for sha in shas] == [len(data) for data in contents]
        assert repo.read_blob(shas[1], most=15) == contents[1]
        with pytest.raises(GitError, match="larger than"):
            repo.read_blob(shas[2], most=15)
        with pytest.raises(GitError, match="is missing"):
            repo.size_bytes("1" * 40)


def _pack_differences(repo: Repo, found: list[tuple[ShaFile, None]]) -> None:
    from dulwich.pack import deltify_pack_objects, write_pack_data, write_pack_index

    base = Path(repo.objects_dir, "pack/pack-test")
    records = list(deltify_pack_objects(iter(found)))
    assert any(record.delta_base is not None for record in records)
    with open(f"{base}.pack", "wb") as file:
        entries, checksum = write_pack_data(file, iter(records), num_records=len(records), object_format=DEFAULT)
    with open(f"{base}.idx", "wb") as file:
        write_pack_index(file, sorted((sha, *place) for sha, place in entries.items()), checksum)


def test_an_object_that_says_less_than_it_holds_takes_no_room(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        raw = b"blob 10\0" + b"0" * 10_000_000
        sha = hashlib.sha1(raw).hexdigest()
        path = Path(repo.objects_dir, sha[:2], sha[2:])
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(raw))
        tracemalloc.start()
        try:
            with pytest.raises(GitError, match="damaged"):
                repo.read_blob(sha)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


def test_a_batch_names_its_objects_at_the_end_or_never(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        with objects.batch(repo):
            shas = [objects.write_blob(repo, str(n % 7).encode()) for n in range(14)]
            assert not objects.exists(repo, shas[0])
        assert all(repo.blob_exists(sha) for sha in shas)
        with pytest.raises(KeyboardInterrupt), objects.batch(repo):
            dropped = objects.write_blob(repo, b"dropped")
            raise KeyboardInterrupt
        assert not objects.exists(repo, dropped)
        assert not list(tmp_path.glob(".git/objects/*/tmp_obj_*"))


def test_build_tree_makes_the_levels_between(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        blob = objects.write_blob(repo, b"x")
        files = {"a/b/c/d": (objects.FILE, blob), "a/b0": (objects.EXECUTABLE, blob), "z": (objects.SYMLINK, blob)}
        tree = objects.build_tree(repo, files)
        assert objects.flatten(repo, tree) == files
        assert objects.lookup(repo, tree, "a/b/c") is not None
        assert objects.lookup(repo, tree, "a/b/c/d/e") is None
        assert objects.build_tree(repo, {}) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        with pytest.raises(GitError, match="both"):
            objects.build_tree(repo, {"a": (objects.FILE, blob), "a/b": (objects.FILE, blob)})


def test_differences_tell_files_from_directories(tmp_path: Path) -> None:
    with make(tmp_path) as repo:
        one, two = objects.write_blob(repo, b"1"), objects.write_blob(repo, b"2")
        same = {"same/deep/x": (objects.FILE, one)}
        a = objects.build_tree(repo, {**same, "f": (objects.FILE, one), "d/x": (objects.FILE, one)})
        b = objects.build_tree(repo, {**same, "f/y": (objects.FILE, two), "d": (objects.FILE, two)})
        assert objects.differences(repo, a, b) == {
            "f": ((objects.FILE, one), None),
            "f/y": (None, (objects.FILE, two)),
            "d/x": ((objects.FILE, one), None),
            "d": (None, (objects.FILE, two)),
        }
        assert objects.differences(repo, a, a) == {}


_WRITER = """
import sys
from pathlib import Path
from pyexp.git import objects
from pyexp.git.repo import Repo, discover
with discover(Path(sys.argv[1])) as repo:
    repo.fsync = False
    for n in range(300):
        objects.write_blob(repo, str(n).encode())
"""


def test_two_writers_of_the_same_objects_do_not_collide(tmp_path: Path) -> None:
    make(tmp_path).close()
    running = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    with discover(tmp_path) as repo:
        assert all(repo.read_blob(objects.blob_sha(repo, str(n).encode())) == str(n).encode() for n in range(300))
    assert not list(tmp_path.glob(".git/objects/*/tmp_obj_*"))
