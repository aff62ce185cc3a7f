import os
import shutil
from pathlib import Path

import pytest
from gitspace import make, write
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import GitError, Locked
from pyexp.git import ignore, index, indexfile, user
from pyexp.git.indexfile import Index, IndexEntry, parse
from pyexp.git.repo import Repo, discover

NUMBER = st.integers(0, 0xFFFFFFFF)
TIME = st.integers(0, 0xFFFFFFFF * 10**9)
ENTRY = st.builds(
    IndexEntry,
    mode=st.sampled_from([0o100644, 0o100755, 0o120000, 0o160000]),
    sha=st.binary(min_size=20, max_size=20).map(bytes.hex),
    size=NUMBER,
    mtime_ns=TIME,
    ctime_ns=TIME,
    stage=st.just(0),
    assume_valid=st.booleans(),
    skip_worktree=st.booleans(),
    intent_to_add=st.booleans(),
    dev=NUMBER,
    ino=NUMBER,
    uid=NUMBER,
    gid=NUMBER,
)
PATH = st.binary(min_size=1, max_size=30).filter(lambda raw: b"\0" not in raw)
ENTRIES = st.dictionaries(PATH.map(lambda raw: raw.decode("utf-8", "surrogateescape")), ENTRY, max_size=6)


@given(ENTRIES)
def test_an_index_is_read_as_it_was_written(entries: dict[str, IndexEntry]) -> None:
    data = indexfile.encode(entries.items())
    assert parse(data).entries == entries
    assert list(parse(data).entries) == sorted(entries, key=lambda path: path.encode("utf-8", "surrogateescape"))


def test_long_names_and_stages() -> None:
    long = "x" * 5000
    stages = [IndexEntry(0o100644, f"{n}" * 40, stage=n) for n in (1, 2, 3)]
    rows = [(long, IndexEntry(0o100644, "a" * 40)), *(("c", entry) for entry in stages)]
    found = parse(indexfile.encode(rows))
    assert found.unmerged == {"c": stages} and set(found.entries) == {"c", long}
    assert sorted(index.pairs(found)) == sorted(rows)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_index_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(GitError):
        parse(data)


@given(ENTRIES, st.integers(0, 400), st.integers(1, 255))
def test_a_flipped_bit_is_seen(entries: dict[str, IndexEntry], position: int, flip: int) -> None:
    data = bytearray(indexfile.encode(entries.items()))
    data[position % len(data)] ^= flip
    try:
        found = parse(bytes(data))
    except GitError:
        return
    # A checksum of zeros means "none was made"; nothing else lets a change pass.
    assert found.entries == entries


@given(st.binary(max_size=200), st.sampled_from([2, 3, 4]), st.integers(0, 4))
def test_hostile_bytes_behind_a_good_head(data: bytes, version: int, count: int) -> None:
    head = b"DIRC" + version.to_bytes(4, "big") + count.to_bytes(4, "big")
    try:
        parse(head + data + bytes(20))
    except GitError:
        pass


def test_directories() -> None:
    found = Index({path: IndexEntry(0o100644, "a" * 40) for path in ("a/b/c", "d", "a-x/y")})
    assert found.directories == {"a", "a/b", "a-x"}
    assert found.has("a") and found.has("a/b/") and not found.has("a/x") and not found.has("a/b/c/d")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a": "1", "d/b": "2", "d/c": "3", ".gitignore": "*.log\n/big/\n"})


def test_the_index_is_locked_while_it_is_written(repo: Repo) -> None:
    read = repo.read_index()
    before = (repo.gitdir / "index").read_bytes()
    lock = repo.gitdir / "index.lock"
    lock.write_bytes(b"")
    with pytest.raises(Locked):
        user.untrack(repo, ["a"])
    assert lock.exists() and (repo.gitdir / "index").read_bytes() == before
    lock.unlink()
    os.utime(repo.gitdir / "index", ns=(1, 1))
    with pytest.raises(GitError, match="changed by another"):
        index.write_index(repo, [], read=read)
    assert not lock.exists() and (repo.gitdir / "index").read_bytes() == before


def test_status_tells_each_kind_of_change(repo: Repo) -> None:
    root = repo.require_worktree()
    assert index.status(repo) == index.Status()
    write(root, {"a": "other", "new/x": "n", "staged": "s", "x.log": "l", "big/one": "1"})
    user.add(repo, ["staged"])
    shutil.rmtree(root / "d")
    (root / "d").symlink_to("new")
    found = index.status(repo)
    assert found.staged == {"staged": "A"}
    assert found.unstaged == {"a": "M", "d/b": "D", "d/c": "D"}
    assert found.untracked == ["d", "new/x"] and not found.is_clean
    assert index.status(repo, untracked="normal").untracked == ["d", "new/"]
    assert index.status(repo, untracked="no").untracked == []


def test_a_change_within_the_clock_tick_is_seen(repo: Repo) -> None:
    root = repo.require_worktree()
    for n in range(20):
        write(root, {"a": "x"})
        user.add(repo, ["a"])
        write(root, {"a": "y"})
        assert index.status(repo, untracked="no").unstaged == {"a": "M"}, n


def test_status_writes_nothing(repo: Repo) -> None:
    root = repo.require_worktree()
    for name in ("a", "d/b"):
        os.utime(root / name, (5, 5))
    before = {path: path.stat().st_mtime_ns for path in repo.gitdir.rglob("*")}
    assert index.status(repo).is_clean
    assert {path: path.stat().st_mtime_ns for path in repo.gitdir.rglob("*")} == before


def test_a_damaged_index_is_named(repo: Repo) -> None:
    path = repo.gitdir / "index"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(GitError) as caught, discover(repo.require_worktree()) as other:
        index.status(other)
    assert "add -A" in (caught.value.hint or "")


def test_nested_repositories_and_odd_files(repo: Repo) -> None:
    root = repo.require_worktree()
    make(root / "nested", {"n": "1"}).close()
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("/etc")
    assert index.status(repo).untracked == ["link", "nested/"]
    user.add(repo, ["."])
    assert set(repo.read_index().entries) == {".gitignore", "a", "d/b", "d/c", "link"}


def test_names_that_are_not_text(repo: Repo) -> None:
    root = os.fsencode(repo.require_worktree())
    with open(root + b"/b\xff", "wb") as file:
        file.write(b"1")
    assert index.status(repo).untracked == ["b\udcff"]
    user.add(repo, ["."])
    sha = user.commit(repo, "odd")
    assert repo.read(sha, "b\udcff") == b"1" and index.status(repo).is_clean


def test_each_level_is_asked_for_its_ignore_rules_once(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not each level from the top again, for each directory: the cube of the depth, minutes for a thousand levels."""
    levels = 60
    deep = repo.require_worktree().joinpath(*["x"] * levels)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    asked: list[str] = []
    real = ignore._Manager._load_path

    def counted(self: ignore._Manager, path: str) -> object:
        asked.append(path)
        return real(self, path)

    monkeypatch.setattr(ignore._Manager, "_load_path", counted)
    assert index.status(repo).untracked == ["/".join(["x"] * levels + ["file"])]
    assert levels <= len(asked) <= 3 * levels
