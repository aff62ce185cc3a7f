"""dvc.lock and .dvc: the same bytes as DVC, and the hashes that are computed from them (golden vectors, FORMATS.md §8)."""

from __future__ import annotations

import json

import pytest
from suites.golden import LOCK

from pyexp.errors import FormatError
from pyexp.formats import lockfile, yamlfile
from pyexp.model import Entry, LockEntry, Oid, OutSpec, StageLock, StageSpec

IMPORT = """\
md5: 7e92082279be269f12343b336957dc55
frozen: true
deps:
- path: data
  repo:
    url: ../d4
    rev_lock: 287311fb4aeebe72e12e62cb48b299b96c67e913
outs:
- md5: 71f81b6cdb5385008797ac93a67d3fa1.dir
  size: 6
  nfiles: 4
  hash: md5
  path: data
"""


def test_a_lock_is_written_as_it_was_read() -> None:
    stages = lockfile.parse_lock(LOCK, "dvc.lock")
    assert lockfile.update_lock(None, "dvc.lock", stages) == LOCK
    assert lockfile.update_lock(LOCK, "dvc.lock", stages) == LOCK
    assert lockfile.parse_entry(lockfile.lock_entry(stages["train"])) == stages["train"]


def test_entries_keep_their_place_and_new_ones_follow() -> None:
    train = lockfile.parse_lock(LOCK, "dvc.lock")["train"]
    two = lockfile.update_lock(LOCK, "dvc.lock", {"later": train})
    changed = StageLock("new", train.deps, train.params, train.outs)
    three = lockfile.update_lock(two, "dvc.lock", {"train": changed})
    assert three == two.replace("cmd: python3 train.py", "cmd: new", 1)
    assert list(lockfile.parse_lock(three, "dvc.lock")) == ["train", "later"]
    assert lockfile.update_lock(two, "dvc.lock", {}, ["later", "unknown"]) == LOCK
    assert lockfile.parse_lock(lockfile.update_lock(LOCK, "dvc.lock", {}, ["train"]), "dvc.lock") == {}


def test_what_is_not_ours_stays() -> None:
    text = LOCK.replace("stages:\n", "datasets:\n- name: ds\n  type: url\n  url: s3://b\nstages:\n  # mine\n")
    train = lockfile.parse_lock(text, "dvc.lock")["train"]
    new = lockfile.update_lock(text, "dvc.lock", {"train": StageLock("x", train.deps, train.params, train.outs)})
    assert new == text.replace("python3 train.py", "x")
    only = "schema: '2.0'\ndatasets:\n- name: ds\n  type: url\n"
    assert lockfile.update_lock(only, "dvc.lock", {"train": train}).startswith(only)


def test_true_and_1_are_different_values() -> None:
    one, true = (StageLock("x", params={"params.yaml": {"a": value}}) for value in (1, True))
    text = lockfile.update_lock(None, "dvc.lock", {"s": one})
    assert "a: true" in lockfile.update_lock(text, "dvc.lock", {"s": true})


def test_order_of_deps_params_and_outs() -> None:
    lock = StageLock(
        ("a", "b"),
        (LockEntry("z", None), LockEntry("b", None)),
        {"z.yaml": {"k": 1}, "params.yaml": {"b": (1, 2), "a": None}, "a.yaml": {}},
        (LockEntry("é", None), LockEntry("a", Entry(Oid("xxh128", "0" * 32), 1, None, True))),
    )
    entry = lockfile.lock_entry(lock)
    assert list(entry) == ["cmd", "deps", "params", "outs"]
    assert entry["cmd"] == ["a", "b"]
    assert [dep["path"] for dep in entry["deps"]] == ["b", "z"]
    assert list(entry["params"]) == ["params.yaml", "a.yaml", "z.yaml"]
    assert list(entry["params"]["params.yaml"].items()) == [("a", None), ("b", [1, 2])]
    assert entry["outs"][0] == {"path": "a", "hash": "xxh128", "xxh128": "0" * 32, "size": 1, "isexec": True}


def test_entries_without_hash_are_of_dvc_2() -> None:
    text = LOCK.replace("      hash: md5\n", "")
    lock = lockfile.parse_lock(text, "dvc.lock")["train"]
    assert {dep.entry.oid.algo for dep in lock.deps if dep.entry} == {"md5-dos2unix"}
    assert lockfile.update_lock(None, "dvc.lock", {"train": lock}) == text


def test_keys_that_are_not_interpreted_are_kept() -> None:
    text = LOCK.replace(
        "      size: 43\n", "      size: 43\n      version_id: v1\n      cloud:\n        r:\n          etag: x\n"
    )
    lock = lockfile.parse_lock(text, "dvc.lock")["train"]
    assert lockfile.update_lock(None, "dvc.lock", {"train": lock}) == text
    external = LOCK.replace("      hash: md5\n      md5: 49e018ebc28cbfd2c3c14eaf1c702c84\n", "      etag: abc\n")
    lock = lockfile.parse_lock(external, "dvc.lock")["train"]
    assert lock.outs[-1].entry is None
    assert lockfile.update_lock(None, "dvc.lock", {"train": lock}) == external


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("b1946ac92492d2347c6235b4d2611184", "b1946", 8, "not a md5 hash"),
        ("b1946ac92492d2347c6235b4d2611184", "../../etc/passwd", 8, "not a md5 hash"),
        ("95e016555886ac500e19e9c4160304f1.dir", "95e016555886ac500e19e9c4160304f1/dir", 25, "not a md5 hash"),
        ("'2.0'", "'1.0'", 1, "schema"),
        ("    cmd:", "    comd:", 4, "unknown key 'comd'"),
        ("size: 567", "size: big", 13, "a number"),
        ("size: 567", "size: -1", 13, "0 or more"),
        ("    params:\n      params.yaml:\n", "    params:\n    - x:\n", 14, "a mapping"),
        ("path: data.txt", "path: [x]", 6, "expected a path"),
    ],
)
def test_damage_is_found_and_placed(old: str, new: str, line: int, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        lockfile.parse_lock(LOCK.replace(old, new, 1), "sub/dvc.lock")
    assert (caught.value.path, caught.value.line) == ("sub/dvc.lock", line)
    assert words in caught.value.message


def test_an_all_digit_hash_without_quotes_is_understood() -> None:
    lock = lockfile.parse_lock(LOCK.replace("b1946ac92492d2347c6235b4d2611184", "0" * 31 + "7"), "dvc.lock")["train"]
    assert lock.deps[0].entry is not None
    assert lock.deps[0].entry.oid.hex == "0" * 31 + "7"


def test_an_import_comes_back_as_it_was() -> None:
    spec, lock, data = lockfile.parse_dvc(IMPORT, "sub/data.dvc")
    assert (spec.file, spec.name, spec.wdir, spec.frozen) == ("sub/data.dvc", None, "sub", True)
    assert lock.deps[0].extra["repo"]["rev_lock"] == "287311fb4aeebe72e12e62cb48b299b96c67e913"
    assert data["md5"] == "7e92082279be269f12343b336957dc55"
    assert lockfile.dump_dvc(None, "sub/data.dvc", spec, lock) == IMPORT
    commented = IMPORT.replace("frozen: true", "frozen: true  # for now")
    assert lockfile.dump_dvc(commented, "sub/data.dvc", spec, lock) == commented


def test_adding_again_keeps_comments_and_annotations() -> None:
    text = (
        "# raw data\nouts:\n- md5: 71f81b6cdb5385008797ac93a67d3fa1.dir\n  size: 6\n  nfiles: 4\n  hash: md5\n  path: data\n"
        "  desc: mine\n  labels:\n  - a\n  remote: r\n  push: false\n"
    )
    spec = StageSpec("data.dvc", None, outs=(OutSpec("data"),))
    lock = StageLock(None, outs=(LockEntry("data", Entry(Oid("md5", "0" * 31 + "a.dir"), 7, 5)),))
    expected = text.replace("71f81b6cdb5385008797ac93a67d3fa1", "0" * 31 + "a").replace("size: 6", "size: 7")
    assert lockfile.dump_dvc(text, "data.dvc", spec, lock) == expected.replace("nfiles: 4", "nfiles: 5")


def test_a_file_dvc() -> None:
    text = "outs:\n- md5: b1946ac92492d2347c6235b4d2611184\n  size: 6\n  isexec: true\n  hash: md5\n  path: run.sh\n"
    spec, lock, _ = lockfile.parse_dvc(text, "run.sh.dvc")
    assert lockfile.dump_dvc(None, "run.sh.dvc", spec, lock) == text
    moved = StageSpec("dir/x.dvc", None, wdir="", outs=(OutSpec("a", cache=False),))
    assert yamlfile.load(lockfile.dump_dvc(None, "dir/x.dvc", moved, StageLock(None)), "p") == {
        "wdir": "..",
        "outs": [{"path": "a", "cache": False}],
    }


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", ".git/hooks", "a/../../x", ".dvc/config", "a\\0b".replace("\\0", "\0")]
)
def test_a_dvc_file_cannot_reach_outside(path: str) -> None:
    with pytest.raises(FormatError):
        lockfile.parse_dvc(f"outs:\n- path: {json.dumps(path)}\n", "data.dvc")
