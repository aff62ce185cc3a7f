"""No bytes crash a parser: random ones, ones of its own kind, and those that a fuzzer once found."""

from __future__ import annotations

import msgpack
import pytest
from fuzz.parsers import PARSERS, attempt
from hypothesis import given, settings
from hypothesis import strategies as st

from pyexp.experiments import taskrecord
from pyexp.model import Task
from pyexp.records import asdict

# What the characters and words of each kind of file are.
WORDS: dict[str, list[bytes]] = {
    "yaml": [b"a", b": ", b"\n", b"- ", b"  ", b"{", b"}", b"[", b"]", b"&x ", b"*x", b"!!int ", b"'", b'"', b"|\n", b"<<", b"1", b"#", b"? "],
    "json": [b"{", b"}", b'"a"', b":", b",", b"[", b"]", b"1", b"null", b"-", b"1e999", b"\\u", b"NaN", b" "],
    "toml": [b"a", b"=", b"[", b"]", b"\n", b'"', b"'''", b"1979-05-27", b".", b"inf", b"{", b"}"],
    "py": [b"a", b"=", b"1", b"\n", b"class A:\n", b"    ", b"(", b")", b"{", b"}", b"-", b"[", b"]", b",", b'"'],
    "dvcyaml": [b"stages:\n", b"  s:\n", b"    cmd: x\n", b"    outs: [", b"a", b"]\n", b"    deps:\n", b"    - ", b"${a}", b"vars:\n- ", b"{a: 1}\n", b"    foreach: ", b"    do:\n", b"      cmd: x\n", b"    matrix: {", b"}\n", b"params.yaml\n", b"plots:\n", b"${"],
    "lock": [b"schema: '2.0'\n", b"stages:\n", b"  s:\n", b"    cmd: x\n", b"    outs:\n", b"    - path: a\n", b"      md5: ", b"0" * 32, b"\n", b"      size: 1\n", b"      hash: md5\n", b"    params:\n", b"      p: {a: 1}\n"],
    "dvc": [b"outs:\n", b"- path: a\n", b"  md5: ", b"0" * 32, b".dir", b"\n", b"  size: -1\n", b"  hash: md5\n", b"deps:\n", b"wdir: ..\n", b"  repo: {url: x}\n", b"md5: 1\n", b"meta: {}\n"],
    "config": [b"[core]\n", b"['remote \"a\"']\n", b"url = x\n", b"    ", b"=", b"\n", b'"', b"remote = a", b"#", b"[", b"]", b"%"],
    "override": [b"a", b"=", b".", b"+", b"~", b"[", b"]", b"{", b"}", b",", b"range(", b")", b"choice(", b"'", b'"', b"\\", b"1", b":", b"${a}", b"@"],
    "template": [b"${", b"}", b"a", b".", b"[", b"]", b"0", b"\\", b"b", b"c", b"d", b" ", b"-"],
    "glob": [b"*", b"**", b"/", b"a", b"?", b"[", b"]", b"!", b"-", b"\\", b"[:alpha:]", b"\n", b"#", b" "],
    "git_config": [b"[core]\n", b'[remote "a"]\n', b"url", b"=", b"x", b"\n", b'"', b"\\", b"#", b"[include]\npath = x\n", b"\t"],
    "commit": [b"tree ", b"0" * 40, b"\n", b"author ", b"A <a@b> ", b"1", b" +0000", b"parent ", b"encoding ", b"gpgsig ", b"-", b"9" * 30, b"utf-8"],
    "packed_refs": [b"0" * 40, b" ", b"refs/heads/a", b"\n", b"^", b"#", b"..", b"/"],
}  # fmt: skip
LIKE = {"yaml_edit": "yaml", "json_edit": "json", "manifest_json": "json", "ignore": "glob", "gitignore": "glob"}


def inputs(name: str) -> st.SearchStrategy[bytes]:
    words = WORDS.get(LIKE.get(name, name))
    plain = st.binary(max_size=200)
    if words is None:
        return plain | PACKED.map(msgpack.packb)
    return plain | st.lists(st.sampled_from(words), max_size=25).map(b"".join)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=12).filter(lambda text: text.isascii())
    | st.binary(max_size=40)
)
PACKED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text("abc", max_size=4) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", PARSERS)
def test_no_bytes_crash_a_parser(name: str) -> None:
    @given(inputs(name))
    @settings(max_examples=100)
    def check(data: bytes) -> None:
        attempt(name, data)

    check()


TASK = {
    "version": taskrecord.VERSION,
    **asdict(Task("a" * 40, "n", True, "c" * 40, "b" * 40, 1.0, ("lr=1",), owner={})),
}


@given(st.sampled_from(sorted(TASK)), PACKED)
def test_a_record_of_a_task_with_one_thing_wrong(key: str, value: object) -> None:
    attempt("task", msgpack.packb({**TASK, key: value}))
    attempt("task", msgpack.packb({name: kept for name, kept in TASK.items() if name != key}))


def test_the_record_of_a_task_is_one() -> None:
    assert attempt("task", msgpack.packb(TASK))


# -- what a fuzzer has found -------------------------------------------------------------------------------------------

FOUND: list[tuple[str, bytes]] = [
    # A value of no characters, and a blank that is none to JSON: the same place was looked at for ever.
    ("json_edit", b"[\x1dK,,"),
    ("yaml_edit", b"?"),
    # A line of escapes broken without a backslash came back with a blank more (so it does from DVC's writer).
    ("yaml", b"\xf4" + b"\t" * 70 + b"\x9f" * 54 + b"\t\t\t\n\t\t\tg\t\t"),
    ("yaml", b'"' + b"\\x9f" * 60 + b' g"'),
]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_once_crashed_a_parser(name: str, data: bytes) -> None:
    attempt(name, data)
