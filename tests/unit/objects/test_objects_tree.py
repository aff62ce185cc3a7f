import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import CorruptObject
from pyexp.model import Tree, TreeFile
from pyexp.objects import tree as trees
from pyexp.objects.hashes import DIGEST_BYTES, hash_bytes
from pyexp.paths import UnsafePath, check_relpath

ALGORITHMS = sorted(DIGEST_BYTES)
HEX = "b1946ac92492d2347c6235b4d2611184"


def safe(relpath: str) -> bool:
    try:
        check_relpath(relpath)
        relpath.encode("utf-8", "surrogateescape")
    except (UnsafePath, UnicodeEncodeError):
        return False
    return True


parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    safe
)
relpaths = st.lists(parts, min_size=1, max_size=4).map("/".join)


@st.composite
def any_tree(draw: st.DrawFn) -> Tree:
    algo = draw(st.sampled_from(ALGORITHMS))
    chosen = draw(st.lists(relpaths, unique=True, max_size=12))
    above = {"/".join(path.split("/")[:depth]) for path in chosen for depth in range(1, path.count("/") + 1)}
    size = st.integers(0, 1 << 50) | st.none()
    files = {
        path: TreeFile(
            draw(st.binary(min_size=DIGEST_BYTES[algo], max_size=DIGEST_BYTES[algo])).hex(),
            draw(size),
            draw(st.booleans()),
        )
        for path in sorted(chosen)
        if path not in above
    }
    return Tree(algo, files)


def recorded(tree: Tree) -> Tree:
    """What of a tree its manifest's form can hold."""
    if trees.records_modes(tree.algo):
        return tree
    return Tree(tree.algo, {path: TreeFile(file.hex) for path, file in tree.files.items()})


@given(any_tree())
def test_what_is_encoded_is_decoded(tree: Tree) -> None:
    back = trees.decode(trees.encode(tree), tree.algo)
    assert back == recorded(tree)
    assert list(back.files) == sorted(tree.files)


@given(any_tree(), st.randoms())
def test_one_tree_has_one_form_whatever_its_order(tree: Tree, random: object) -> None:
    mixed = list(tree.files.items())
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert trees.encode(Tree(tree.algo, dict(mixed))) == trees.encode(tree)


@given(any_tree())
def test_dvcs_form_is_byte_for_byte_what_json_dumps_gives(tree: Tree) -> None:
    tree = Tree("md5", {path: TreeFile(file.hex[:32]) for path, file in tree.files.items()})
    items = [{"md5": file.hex, "relpath": path} for path, file in sorted(tree.files.items())]
    assert trees.encode(tree) == json.dumps(items, sort_keys=True).encode()


def test_golden_vectors_of_dvc() -> None:
    tree = Tree("md5", {"w.bin": TreeFile("f8b37f00bdc6a8c31de8bbe2cc2b053a", 19), "b.bin": TreeFile(HEX, 6)})
    entry, data = trees.identify(tree)
    assert data == (
        b'[{"md5": "b1946ac92492d2347c6235b4d2611184", "relpath": "b.bin"}, '
        b'{"md5": "f8b37f00bdc6a8c31de8bbe2cc2b053a", "relpath": "w.bin"}]'
    )
    assert (entry.oid.hex, entry.size, entry.nfiles) == ("95e016555886ac500e19e9c4160304f1.dir", 25, 2)
    assert trees.identify(Tree("md5", {}))[0].oid.hex == "d751713988987e9331980363e24189ce.dir"


def test_the_native_form_does_not_change() -> None:
    tree = Tree("xxh128", {"a/b": TreeFile(HEX, 6, True), "c": TreeFile(HEX, None)})
    data = trees.encode(tree)
    assert msgpack.unpackb(data) == [1, "xxh128", ["a/b", "c"], bytes.fromhex(HEX) * 2, [6, None], [0]]
    assert trees.identify(tree)[0].oid.hex == "1471e57bb87e48c898d691dff1863ae3.dir"


def test_size_is_unknown_when_one_is() -> None:
    assert trees.identify(Tree("xxh128", {"a": TreeFile(HEX, 1), "b": TreeFile(HEX, None)}))[0].size is None
    assert trees.identify(Tree("xxh128", {"a": TreeFile(HEX, 1), "b": TreeFile(HEX, 2)}))[0].size == 3


def test_executable_bits_do_not_change_a_dvc_directory() -> None:
    plain, executable = ({"a": TreeFile(HEX, 1, isexec)} for isexec in (False, True))
    assert trees.encode(Tree("md5", plain)) == trees.encode(Tree("md5", executable))
    assert trees.encode(Tree("xxh128", plain)) != trees.encode(Tree("xxh128", executable))
    assert trees.diff(Tree("md5", plain), Tree("md5", executable)) == ((), (), ())
    assert trees.diff(Tree("xxh128", plain), Tree("xxh128", executable)) == ((), ("a",), ())


HOSTILE_NAMES = [
    "", ".", "..", "/etc/passwd", "a//b", "a/", "../x", "a/../../x", "a/./b", ".git/hooks/post-commit", ".GIT/config",
    "sub/.dvc/config", ".pyexp/format", "git~1/config", "GIT~1/x", "a/git~1", ".git. /x", ".git::$INDEX_ALLOCATION/x",
    "C:/x", "nul\0", "x" * 300, "a/" * 3000 + "b", "d/" * 250 + "f", "\ud800", ".g\u200cit/config",
]  # fmt: skip


@pytest.mark.parametrize("relpath", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names_are_refused(relpath: str) -> None:
    data = json.dumps([{"md5": HEX, "relpath": relpath}]).encode()
    with pytest.raises(CorruptObject):
        trees.decode(data, "md5")
    if relpath == "\ud800":
        return  # as raw bytes this is a name like any other that is not UTF-8
    packed = msgpack.packb([1, "xxh128", [relpath], bytes.fromhex(HEX), [1], []])
    with pytest.raises(CorruptObject):
        trees.decode(packed, "xxh128")


@given(
    st.lists(
        st.sampled_from([*HOSTILE_NAMES, "a", "G", "git", "b.c", "é", "a b", "-x", "~", "x" * 61]),
        min_size=1,
        max_size=3,
    )
)
def test_the_quick_check_of_names_lets_nothing_through(names: list[str]) -> None:
    relpath = "/".join(names)
    if not safe(relpath):
        with pytest.raises(CorruptObject):
            trees.decode(json.dumps([{"md5": HEX, "relpath": relpath}]).encode(), "md5")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"null", b"[1]", b"[null]", b'[{"md5": "x"}]', b'[{"relpath": "a"}]', b"\xff", b"[" * 100_000,
        b'[{"md5": "%s", "relpath": 5}]' % HEX.encode(),
        b'[{"md5": "%s", "relpath": "a"}]' % HEX.upper().encode(),
        b'[{"md5": "%s", "relpath": "a"}]' % b"../" * 10,
        b'[{"md5": null, "relpath": "a"}]',
        b'[{"md5": "%s\\n", "relpath": "a"}]' % HEX.encode(),
        b'[{"md5": "%s", "relpath": "a"}' % HEX.encode(),
        b"1" * 5000,
    ],
)  # fmt: skip
def test_json_that_is_no_manifest(data: bytes) -> None:
    with pytest.raises(CorruptObject):
        trees.decode(data, "md5")


D = bytes.fromhex(HEX)


@pytest.mark.parametrize(
    "record",
    [
        None, {}, [], [2, "xxh128", [], b"", [], []], [1, "md5", [], b"", [], []], [1, "xxh128", [], b"", []],
        [1, "xxh128", ["a"], D[:-1], [1], []], [1, "xxh128", ["a"], D, [], []], [1, "xxh128", ["a"], HEX, [1], []],
        [1, "xxh128", ["a"], D, [-1], []], [1, "xxh128", ["a"], D, [1 << 63], []], [1, "xxh128", ["a"], D, [1.0], []],
        [1, "xxh128", ["a"], D, [True], []], [1, "xxh128", ["a"], D, [1], [1]], [1, "xxh128", ["a"], D, [1], [-1]],
        [1, "xxh128", ["a"], D, [1], [None]], [1, "xxh128", ["a"], D, [1], None], [1, "xxh128", [b"a"], D, [1], []],
        [1, "xxh128", ["a", "a"], D * 2, [1, 1], []], [1, "xxh128", "a", D, [1], []],
    ],
)  # fmt: skip
def test_msgpack_that_is_no_manifest(record: object) -> None:
    with pytest.raises(CorruptObject):
        trees.decode(msgpack.packb(record), "xxh128")


@pytest.mark.parametrize("names", [["a", "a/b"], ["a", "a-b", "a/b"], ["x/y/z", "x"], ["a", "a"]])
def test_a_name_is_a_file_or_a_directory_once(names: list[str]) -> None:
    data = json.dumps([{"md5": HEX, "relpath": name} for name in names]).encode()
    with pytest.raises(CorruptObject):
        trees.decode(data, "md5")


@given(st.binary(max_size=200), st.sampled_from(ALGORITHMS))
def test_any_bytes_are_a_tree_or_corrupt(data: bytes, algo: str) -> None:
    try:
        tree = trees.decode(data, algo)
    except CorruptObject:
        return
    assert all(safe(path) for path in tree.files)


@given(any_tree(), st.data())
def test_one_changed_byte_gives_a_sound_tree_or_corrupt(tree: Tree, data: st.DataObject) -> None:
    raw = bytearray(trees.encode(tree))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        found = trees.decode(bytes(raw), tree.algo)
    except CorruptObject:
        return
    assert all(safe(path) for path in found.files)
    assert all(len(file.hex) == 2 * DIGEST_BYTES[tree.algo] for file in found.files.values())


def test_names_that_are_not_utf8_survive() -> None:
    name = b"caf\xe9/\xff".decode("utf-8", "surrogateescape")
    for algo in ("md5", "xxh128"):
        tree = Tree(algo, {name: TreeFile(HEX, 1)})
        assert list(trees.decode(trees.encode(tree), algo).files) == [name]


@given(any_tree(), any_tree())
def test_diff_says_how_to_get_from_one_to_the_other(old: Tree, new: Tree) -> None:
    added, modified, deleted = trees.diff(old, new)
    assert set(added) == new.files.keys() - old.files.keys()
    assert set(deleted) == old.files.keys() - new.files.keys()
    assert set(modified) <= old.files.keys() & new.files.keys()
    assert trees.diff(None, new)[0] == tuple(new.files)
    assert trees.diff(old, None)[2] == tuple(old.files)
    assert trees.diff(old, old) == ((), (), ())


def test_entries_of_equal_trees_are_equal() -> None:
    tree = Tree("xxh128", {"a": TreeFile(hash_bytes(b"a", "xxh128"), 1)})
    assert trees.identify(tree) == trees.identify(Tree("xxh128", dict(tree.files)))
