import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyexp.durable import TMP_PREFIX
from pyexp.errors import CorruptObject, MissingObject, StoreError, UnsafeCheckout
from pyexp.model import Content, Entry, Oid, Tree, TreeFile
from pyexp.objects import hashes, intake
from pyexp.objects import store as stores
from pyexp.objects import tree as trees
from pyexp.objects.build import observe
from pyexp.objects.checkout import Action, Changes, checkout, plan, unsaved
from pyexp.objects.fileops import explained
from pyexp.objects.hashes import hash_bytes
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore


class Space:
    """A project directory, its cache, and check-outs in it."""

    def __init__(self, root: Path, algo: str) -> None:
        self.root = root / "project"
        self.root.mkdir()
        self.cache = StatCache(None)
        self.store = LocalStore(root / "cache", algo, statcache=self.cache)
        self.out = self.root / "out"

    def save(self, files: dict[str, bytes] | bytes, executable: tuple[str, ...] = ()) -> Content:
        """Puts a directory (or file) into the store, without having it in the workspace."""
        algo = self.store.algo
        if isinstance(files, bytes):
            oid = Oid(algo, hash_bytes(files, algo))
            self.store.put_bytes(oid, files)
            return Content(Entry(oid, len(files), None, "" in executable))
        tree = {}
        for relpath, data in sorted(files.items()):
            oid = Oid(algo, hash_bytes(data, algo))
            self.store.put_bytes(oid, data)
            tree[relpath] = TreeFile(oid.hex, len(data), relpath in executable)
        made = Tree(algo, tree)
        return Content(self.store.put_tree(made), made)

    def write(self, files: dict[str, bytes], top: Path | None = None) -> None:
        for relpath, data in files.items():
            path = (top or self.out) / relpath
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def checkout(self, want: Content | None, path: Path | None = None, **options: object) -> Changes:
        return checkout(
            str(path or self.out),
            want,
            root=str(self.root),
            store=self.store,
            statcache=self.cache,
            **options,  # type: ignore[arg-type]
        )

    def found(self) -> dict[str, bytes]:
        """Every file below the root."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes() for path in self.root.rglob("*") if path.is_file()
        }

    def damage(self, data: bytes) -> None:
        path = Path(self.store.path(Oid(self.store.algo, hash_bytes(data, self.store.algo))))
        path.chmod(0o644)
        path.write_bytes(bytes(byte ^ 1 for byte in data))
        path.chmod(0o444)


@pytest.fixture(params=["xxh128", "md5"])
def space(tmp_path: Path, request: pytest.FixtureRequest) -> Space:
    return Space(tmp_path, request.param)


@pytest.fixture
def native(tmp_path: Path) -> Space:
    return Space(tmp_path, "xxh128")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- plan ------------------------------------------------------------------------------------------------------------


def tree(algo: str = "xxh128", **files: str) -> Content:
    """A directory of files named by their content's initial; a capital first letter means executable."""
    made = {name: TreeFile(text.lower() * 32, None, text.isupper()) for name, text in files.items()}
    return Content(trees.identify(Tree(algo, made))[0], Tree(algo, made))


def kinds(want: Content | None, have: Content | None) -> list[tuple[str, str]]:
    return [(action.kind, action.relpath) for action in plan(want, have)]


def test_plan_of_directories() -> None:
    assert kinds(None, None) == []
    assert kinds(tree(a="a"), None) == [("create", "a")]
    assert kinds(None, tree(a="a")) == [("delete", "a")]
    assert kinds(tree(a="a"), tree(a="a")) == []
    assert kinds(tree(a="a", c="c"), tree(a="b", b="b")) == [("delete", "b"), ("replace", "a"), ("create", "c")]


def test_plan_of_executable_bits() -> None:
    assert kinds(tree(a="A"), tree(a="a")) == kinds(tree(a="a"), tree(a="A")) == [("chmod", "a")]
    assert kinds(tree("md5", a="A"), tree("md5", a="a")) == []
    plain, executable = (Content(Entry(Oid("md5", "a" * 32), 1, None, isexec)) for isexec in (False, True))
    assert kinds(executable, plain) == [("chmod", "")]
    assert kinds(plain, executable) == []


def test_plan_between_a_file_and_a_directory() -> None:
    file = Content(Entry(Oid("xxh128", "f" * 32), 1))
    assert kinds(file, tree(a="a", b="b")) == [("delete", "a"), ("delete", "b"), ("create", "")]
    assert kinds(tree(a="a"), file) == [("delete", ""), ("create", "a")]
    assert kinds(file, None) == [("create", "")]


def test_unsaved_is_what_the_store_does_not_hold_sound(space: Space) -> None:
    have = space.save({"kept": b"kept", "damaged": b"damaged", "lost": b"lost"})
    space.damage(b"damaged")
    space.store.remove(Oid(space.store.algo, hash_bytes(b"lost", space.store.algo)))
    assert sorted(unsaved(plan(None, have), have, space.store)) == ["damaged", "lost"]
    assert unsaved([Action("create", "new")], have, space.store) == []


# -- checkout --------------------------------------------------------------------------------------------------------

FILES = {"a": b"a", "s/b": b"bb", "s/t/c": b"", "large": b"large" * 500_000}


def test_from_nothing_and_back_to_nothing(space: Space) -> None:
    want = space.save(FILES)
    assert space.checkout(want) == Changes(4, 0, 0)
    assert space.found() == {f"out/{relpath}": data for relpath, data in FILES.items()}
    assert observe(str(space.out), algo=space.store.algo) == want
    assert space.checkout(want) == Changes()
    assert space.checkout(None) == Changes(0, 0, 4)
    assert not os.path.lexists(space.out)


def test_only_the_difference_is_touched(space: Space) -> None:
    space.checkout(space.save(FILES))
    kept = (space.out / "s/b").stat()
    assert space.checkout(space.save({"a": b"A", "s/b": b"bb", "new/x": b"x"})) == Changes(1, 1, 2)
    assert space.found() == {"out/a": b"A", "out/s/b": b"bb", "out/new/x": b"x"}
    assert (space.out / "s/b").stat() == kept
    assert not (space.out / "s/t").exists()


def test_a_file_of_its_own(space: Space) -> None:
    path = space.root / "deep" / "down" / "file"
    assert space.checkout(space.save(b"one"), path) == Changes(1, 0, 0)
    assert space.checkout(space.save(b"two"), path) == Changes(0, 1, 0)
    assert space.found() == {"deep/down/file": b"two"}
    assert space.checkout(None, path) == Changes(0, 0, 1)
    assert path.parent.is_dir()


def test_types_may_change_both_ways_at_any_depth(space: Space) -> None:
    file, directory = space.save(b"file"), space.save(FILES)
    for want, changes in ((file, (1, 0, 0)), (directory, (4, 0, 1)), (file, (1, 0, 4))):
        assert space.checkout(want) == Changes(*changes)
        assert observe(str(space.out), algo=space.store.algo) == want
    one, other = space.save({"x/y": b"1", "z": b"2"}), space.save({"x": b"1", "z/w/v": b"2"})
    space.checkout(None)
    for want in (one, other, one):
        space.checkout(want)
        assert observe(str(space.out), algo=space.store.algo) == want


def test_an_empty_directory(space: Space) -> None:
    want = space.save({})
    assert space.checkout(want) == Changes()
    assert space.out.is_dir()
    space.checkout(space.save({"a": b"a"}))
    space.checkout(want)
    assert space.out.is_dir() and not list(space.out.iterdir())


def test_the_next_look_hashes_nothing(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    for links in (("copy",), ("hardlink",), ("symlink",)):
        want = space.save(FILES)
        space.checkout(want, links=links)
        opened: list[str] = []
        monkeypatch.setattr(hashes, "open_regular", lambda path, *a, opened=opened: opened.append(path))
        for module in (stores, intake):
            monkeypatch.setattr(module, "open_regular", lambda path, *a, opened=opened: opened.append(path))
        assert observe(str(space.out), algo=space.store.algo, statcache=space.cache) == want
        assert space.checkout(want) == Changes()
        monkeypatch.undo()
        assert opened == []
        space.checkout(None)


def test_a_change_right_after_is_seen(space: Space) -> None:
    want = space.save({"f": b"good"})
    for _ in range(30):
        space.checkout(want, force=True)
        (space.out / "f").write_bytes(b"evil")
        assert observe(str(space.out), algo=space.store.algo, statcache=space.cache) != want


@pytest.mark.parametrize("links", [("reflink", "copy"), ("copy",), ("hardlink", "copy"), ("symlink",)])
def test_kinds_of_links(space: Space, links: tuple[str, ...]) -> None:
    want = space.save(FILES)
    space.checkout(want, links=links)
    target = Path(space.store.path(Oid(space.store.algo, hash_bytes(b"a", space.store.algo))))
    path = space.out / "a"
    shared = links[0] in ("hardlink", "symlink")
    assert mode(path) == (0o444 if shared else 0o644)
    assert path.samefile(target) == shared
    assert path.is_symlink() == (links[0] == "symlink")
    assert mode(target) == 0o444
    assert space.checkout(want, links=links) == Changes()
    for oid, _, _ in space.store.all():
        space.store.verify(oid)


def test_relink_changes_the_kind_and_nothing_else(space: Space) -> None:
    want = space.save(FILES)
    target = Path(space.store.path(Oid(space.store.algo, hash_bytes(b"a", space.store.algo))))
    for links in (("copy",), ("hardlink",), ("hardlink",), ("symlink",), ("copy",)):
        space.checkout(want, links=links)
        assert space.checkout(want, links=links, relink=True) in (Changes(), Changes(4, 0, 0))
        assert (space.out / "a").samefile(target) == (links != ("copy",))
        assert space.found() == {f"out/{relpath}": data for relpath, data in FILES.items()}
    assert target.stat().st_nlink == 1
    assert not [name for _, _, names in os.walk(space.root) for name in names if name.startswith(TMP_PREFIX)]


def test_executable_files(native: Space) -> None:
    want = native.save({"run": b"#!", "plain": b"p"}, executable=("run",))
    for links in (("copy",), ("hardlink",), ("symlink",)):
        native.checkout(want, links=links)
        assert mode(native.out / "run") == 0o744
        assert not (native.out / "run").is_symlink()
        native.checkout(None)
    native.checkout(want)
    (native.out / "run").chmod(0o644)
    (native.out / "plain").chmod(0o755)
    assert native.checkout(want) == Changes(0, 2, 0)
    assert (mode(native.out / "run"), mode(native.out / "plain")) == (0o744, 0o644)
    assert observe(str(native.out), algo="xxh128", statcache=native.cache) == want


def test_making_a_linked_file_executable_leaves_the_object_alone(space: Space) -> None:
    for links in (("hardlink",), ("symlink",)):
        space.checkout(space.save(b"#!"), links=links)
        want = space.save(b"#!", executable=("",))
        assert space.checkout(want) == Changes(0, 1, 0)
        assert mode(space.out) == 0o744 and not space.out.is_symlink()
        assert mode(Path(space.store.path(want.entry.oid))) == 0o444
        space.checkout(None)


# -- what must not be lost -------------------------------------------------------------------------------------------


def test_unsaved_bytes_are_not_destroyed_unless_forced(space: Space) -> None:
    want = space.save({"a": b"wanted", "b": b"b"})
    space.write({"a": b"mine", "extra/e": b"extra", "b": b"b"})
    before = space.found()
    for target in (want, None, space.save(b"file")):
        with pytest.raises(UnsafeCheckout) as caught:
            space.checkout(target)
        assert set(caught.value.paths) >= {"out/a", "out/extra/e"}
        assert space.found() == before
    assert space.checkout(want, force=True) == Changes(0, 1, 1)
    assert space.found() == {"out/a": b"wanted", "out/b": b"b"}


def test_bytes_whose_object_is_damaged_are_unsaved(space: Space) -> None:
    space.write({"a": b"mine"})
    space.save({"a": b"mine"})
    space.damage(b"mine")
    with pytest.raises(UnsafeCheckout):
        space.checkout(space.save({"a": b"other"}))
    assert (space.out / "a").read_bytes() == b"mine"


def test_ignored_files_are_left_alone_and_never_overwritten(space: Space) -> None:
    def ignore(relpath: str, is_dir: bool) -> bool:
        return relpath.endswith(".log") or relpath == "private"

    space.checkout(space.save({"a": b"a", "s/b": b"b"}))
    space.write({"x.log": b"log", "s/y.log": b"log", "private/p": b"p"})
    space.checkout(space.save({"a": b"a"}), ignore=ignore)
    assert set(space.found()) == {"out/a", "out/x.log", "out/s/y.log", "out/private/p"}
    for files, blocked in (
        ({"x.log": b"new"}, "out/x.log"),
        ({"private": b"file"}, "out/private"),
        ({"private/p": b"q"}, "out/private/p"),
        ({"s": b"file"}, "out/s"),
        ({"x.log/y": b"new"}, "out/x.log"),
    ):
        want = space.save({"a": b"a", **files})
        with pytest.raises(UnsafeCheckout) as caught:
            space.checkout(want, ignore=ignore)
        assert list(caught.value.paths) == [blocked]
        assert (space.out / "x.log").read_bytes() == b"log"
    with pytest.raises(UnsafeCheckout):
        space.checkout(space.save(b"file"), ignore=ignore)
    with pytest.raises(UnsafeCheckout):  # not even force deletes a whole directory of other files
        space.checkout(space.save({"private": b"file"}), ignore=ignore, force=True)
    assert (space.out / "private/p").read_bytes() == b"p"
    space.checkout(space.save({"x.log": b"new"}), ignore=ignore, force=True)
    assert (space.out / "x.log").read_bytes() == b"new"


def test_what_the_cache_lacks_is_said_before_anything_is_touched(space: Space) -> None:
    want = space.save({"a": b"a", "b": b"b"})
    space.checkout(space.save({"a": b"old", "c": b"c"}))
    before = space.found()
    space.store.remove(Oid(space.store.algo, hash_bytes(b"b", space.store.algo)))
    with pytest.raises(MissingObject, match=r"lacks 1 .*: b$"):
        space.checkout(want)
    assert space.found() == before


@pytest.mark.parametrize("links", [("copy",), ("hardlink",), ("symlink",)])
@pytest.mark.parametrize("data", [b"good", b"good" * 500_000])
def test_a_damaged_object_is_never_brought(space: Space, links: tuple[str, ...], data: bytes) -> None:
    want = space.save({"a": b"a", "bad": data, "z": b"z"})
    space.damage(data)
    with pytest.raises(CorruptObject, match="bad"):
        space.checkout(want, links=links)
    assert space.found() == {"out/a": b"a", "out/z": b"z"}
    assert not space.store.has(Oid(space.store.algo, hash_bytes(data, space.store.algo)))
    space.save({"bad": data})
    assert space.checkout(want, links=links) == Changes(1, 0, 0)


def test_a_full_disk_leaves_whole_files_and_running_again_completes(space: Space) -> None:
    resource = pytest.importorskip("resource")
    import signal

    want = space.save({"a": b"new", "large": b"L" * 200_000, "z": b"z"})
    space.checkout(space.save({"a": b"old", "large": b"l" * 200_000}))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StoreError, match="File too large"):
            space.checkout(want)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert space.found() == {"out/a": b"new", "out/large": b"l" * 200_000}
    space.checkout(want)
    assert space.found() == {"out/a": b"new", "out/large": b"L" * 200_000, "out/z": b"z"}


# -- links on the way ------------------------------------------------------------------------------------------------


def outside(space: Space) -> Path:
    place = space.root.parent / "outside"
    place.mkdir()
    (place / "a").write_bytes(b"theirs")
    return place


def test_a_linked_parent_that_leads_out_is_refused(space: Space) -> None:
    place = outside(space)
    (space.root / "way").symlink_to(place)
    for want in (space.save({"a": b"a"}), space.save(b"a"), None):
        for force in (False, True):
            with pytest.raises(StoreError, match="outside"):
                space.checkout(want, space.root / "way" / "a", force=force)
    assert (place / "a").read_bytes() == b"theirs"


def test_a_linked_parent_inside_the_project_is_fine(space: Space) -> None:
    (space.root / "real").mkdir()
    (space.root / "way").symlink_to("real")
    space.checkout(space.save({"a": b"a"}), space.root / "way" / "out")
    assert (space.root / "real" / "out" / "a").read_bytes() == b"a"


def test_a_link_below_is_never_written_through(space: Space) -> None:
    place = outside(space)
    space.out.mkdir()
    (space.out / "s").symlink_to(place)
    want = space.save({"s/a": b"a", "s/b": b"b"})
    with pytest.raises(UnsafeCheckout) as caught:
        space.checkout(want)
    assert list(caught.value.paths) == ["out/s"]
    space.checkout(want, force=True)
    assert (space.out / "s").is_dir() and not (space.out / "s").is_symlink()
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"a": b"theirs"}


def test_a_linked_top_is_replaced_when_forced_and_its_target_stays(space: Space) -> None:
    place = outside(space)
    want = space.save({"a": b"a"})
    space.out.symlink_to(place)
    with pytest.raises(UnsafeCheckout):
        space.checkout(want)
    assert space.out.is_symlink()
    space.checkout(want, force=True)
    assert not space.out.is_symlink() and (space.out / "a").read_bytes() == b"a"
    space.checkout(None)
    space.out.symlink_to(place)
    space.checkout(None)
    assert not os.path.lexists(space.out)
    assert (place / "a").read_bytes() == b"theirs"


def test_a_linked_top_that_holds_what_is_wanted_stays(space: Space) -> None:
    place = outside(space)
    space.out.symlink_to(place)
    assert space.checkout(space.save({"a": b"theirs"})) == Changes()
    assert space.out.is_symlink()


def test_links_to_nothing_are_replaced(space: Space) -> None:
    space.checkout(space.save({"a": b"a", "b": b"b"}), links=("symlink",))
    lost = Oid(space.store.algo, hash_bytes(b"a", space.store.algo))
    space.store.remove(lost)
    space.save({"a": b"a"})
    space.out.joinpath("a").unlink()
    space.out.joinpath("a").symlink_to("nowhere")
    assert space.checkout(space.save({"a": b"a", "b": b"b"}), links=("copy",)) == Changes(1, 0, 0)
    assert (space.out / "a").read_bytes() == b"a" and not (space.out / "a").is_symlink()
    space.checkout(None)
    for want in (space.save({"a": b"a"}), space.save({}), space.save(b"file"), None):
        space.out.symlink_to("nowhere")
        space.checkout(want)
        assert not space.out.is_symlink()
        assert observe(str(space.out), algo=space.store.algo) == want
        space.checkout(None)


# -- killed at any point ---------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a test raises where a process would have died."""


CALLS = ("open", "write", "replace", "unlink", "rmdir", "mkdir", "utime")


def kill_at(count: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Lets the process die in its ``count``-th change of a file; tells whether it came to that."""
    left = [count]

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*args, **options)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    return lambda: left[0] == 0


@pytest.mark.parametrize("links", [("copy",), ("hardlink",)])
def test_killed_at_every_step_nothing_is_torn_and_running_again_completes(
    space: Space, monkeypatch: pytest.MonkeyPatch, links: tuple[str, ...]
) -> None:
    old = {"a": b"old", "gone": b"gone", "s/b": b"same", "x": b"file"}
    new = {"a": b"new", "n/c": b"c", "s/b": b"same", "x/y": b"dir"}
    before, after = space.save(old), space.save(new)
    possible = {f"out/{relpath}": {files.get(relpath) for files in (old, new)} for relpath in old | new}
    for count in range(1000):
        space.checkout(before, force=True, links=links)
        with monkeypatch.context() as patch:
            died = kill_at(count, patch)
            try:
                space.checkout(after, links=links)
            except Killed:
                pass
            finished = not died()
        for relpath, data in space.found().items():
            if TMP_PREFIX not in relpath:
                assert data in possible[relpath], (count, relpath)
        space.checkout(after, links=links)
        assert observe(str(space.out), algo=space.store.algo) == after, count
        for oid, _, _ in space.store.all():
            space.store.read(oid)
        if finished:
            break
    assert count > 15


# -- any state to any other ------------------------------------------------------------------------------------------

part = st.sampled_from(["a", "b", "c"])
state = st.one_of(
    st.none(),
    st.binary(max_size=2),
    st.dictionaries(st.lists(part, min_size=1, max_size=3).map("/".join), st.binary(max_size=2), max_size=5).map(
        lambda files: {p: d for p, d in files.items() if not any(other.startswith(f"{p}/") for other in files)}
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(state, min_size=2, max_size=4), st.sampled_from([("copy",), ("hardlink",), ("symlink",)]))
def test_from_any_state_to_any_other(
    tmp_path_factory: pytest.TempPathFactory, states: list[bytes | dict[str, bytes] | None], links: tuple[str, ...]
) -> None:
    space = Space(tmp_path_factory.mktemp("states"), "xxh128")
    (space.root / "neighbour").write_bytes(b"n")
    for wanted in states:
        want = None if wanted is None else space.save(wanted)
        space.checkout(want, links=links)
        assert observe(str(space.out), algo="xxh128") == want
        assert (space.root / "neighbour").read_bytes() == b"n"
        assert space.checkout(want, links=links) == Changes()


@pytest.mark.parametrize("named", [".pyexp-tmp-1-2", "b.txt", None])
def test_an_error_names_a_place_the_user_knows(named: str | None) -> None:
    """Not a temporary file, nor a name in a directory that only we have open."""
    with pytest.raises(StoreError, match=r"No space left on device: /data/a$"), explained("/data/a"):
        raise OSError(errno.ENOSPC, "No space left on device", named)
    for told, place in (("/other/file", "/other/file"), ("/full/.pyexp-tmp-1-2", "/full")):
        with pytest.raises(StoreError, match=rf": {place}$"), explained("/data/a"):
            raise OSError(errno.ENOSPC, "No space left on device", told)
