"""Edits of YAML in place: the one value changes, every other byte stays."""

from __future__ import annotations

from typing import Any

import pytest

from pyexp.errors import FormatError
from pyexp.formats import yamlfile

TEXT = """\
# head
lr: 0.1   # rate

train:  # tr
  epochs: 3
  opt: {a: 1, b: [1, 2]}
  lst:
    - 1
    - 2  # two

# end
name: 'quo'
empty:
blk: |
  hello
  x

last: 1
"""


def change(text: str, keys: list[Any], value: Any, old: str, new: str) -> None:
    """The edit replaces ``old`` by ``new``, once, and nothing else."""
    assert text.count(old) == 1
    assert yamlfile.set_value(text, keys, value, "p") == text.replace(old, new)


@pytest.mark.parametrize(
    ("keys", "value", "old", "new"),
    [
        (["lr"], 1, "lr: 0.1 ", "lr: 1 "),
        (["lr"], 1e-5, "lr: 0.1 ", "lr: 1e-05 "),
        (["lr"], None, "lr: 0.1 ", "lr: null "),
        (["lr"], "yes", "lr: 0.1 ", "lr: yes "),
        (["lr"], "a: b", "lr: 0.1 ", "lr: 'a: b' "),
        (["lr"], "a\nb", "lr: 0.1 ", 'lr: "a\\nb" '),
        (["lr"], {}, "lr: 0.1 ", "lr: {} "),
        (["lr"], [1, 2], "lr: 0.1   # rate", "lr:   # rate\n  - 1\n  - 2".replace("  - ", "  - ")),
        (["name"], "it", "'quo'", "'it'"),
        (["name"], "it's", "'quo'", "'it''s'"),
        (["name"], 5, "'quo'", "5"),
        (["empty"], 3, "empty:", "empty: 3"),
        (["empty", "a"], 1, "empty:", "empty:\n  a: 1"),
        (["train", "opt", "a"], "x,y", "a: 1", "a: 'x,y'"),
        (["train", "opt", "c"], 3, "[1, 2]}", "[1, 2], c: 3}"),
        (["train", "opt", "b"], [1, "a b"], "[1, 2]", "[1, a b]"),
        (["train", "opt", "b", 0], 7, "[1, 2]", "[7, 2]"),
        (["train", "lst", 1], 7, "- 2  #", "- 7  #"),
        (["train", "lst"], [7], "    - 1\n    - 2  #", "    - 7  #"),
        (["train", "new"], True, "# two\n", "# two\n  new: true\n"),
        (["train", "new", "deep"], [1], "# two\n", "# two\n  new:\n    deep:\n      - 1\n"),
        (["blk"], "x", "|\n  hello\n  x", "x"),
        (["added"], 1, "last: 1\n", "last: 1\nadded: 1\n"),
    ],
)
def test_set_value_changes_only_its_bytes(keys: list[Any], value: Any, old: str, new: str) -> None:
    change(TEXT, keys, value, old, new)
    # CRLF files stay CRLF.
    change(TEXT.replace("\n", "\r\n"), keys, value, old.replace("\n", "\r\n"), new.replace("\n", "\r\n"))


def test_bom_and_missing_final_newline_stay() -> None:
    assert yamlfile.set_value("\ufeffa: 1", ["a"], 2, "p") == "\ufeffa: 2"
    assert yamlfile.set_value("\ufeffa: 1", ["b"], 2, "p") == "\ufeffa: 1\nb: 2"
    assert yamlfile.set_value("é: ☃ # 😀\nb: 1\n", ["b"], 2, "p") == "é: ☃ # 😀\nb: 2\n"


@pytest.mark.parametrize("text", ["", "# c\n", "# c", "---\n"])
def test_an_empty_file_gets_its_first_key(text: str) -> None:
    new = yamlfile.set_value(text, ["a", "b"], 1, "p")
    assert new.startswith(text)
    assert yamlfile.load(new, "p") == {"a": {"b": 1}}


def test_empty_flow_maps_become_blocks() -> None:
    assert yamlfile.set_value("a: {}  # c\nb: 1\n", ["a", "x"], 1, "p") == "a:  # c\n  x: 1\nb: 1\n"
    assert yamlfile.set_value("{}\n", ["a"], 1, "p") == "a: 1\n"


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        (["lr"], "lr: 0.1   # rate\n"),
        (["train", "epochs"], "  epochs: 3\n"),
        (["train", "lst"], "  lst:\n    - 1\n    - 2  # two\n"),
        (["train", "opt", "a"], "a: 1, "),
        (["train", "opt", "b"], ", b: [1, 2]"),
        (["train", "lst", 0], "    - 1\n"),
        (["last"], "last: 1\n"),
        (["blk"], "blk: |\n  hello\n  x\n"),
    ],
)
def test_delete_key_takes_only_its_lines(keys: list[Any], gone: str) -> None:
    assert TEXT.count(gone) == 1
    assert yamlfile.delete_key(TEXT, keys, "p") == TEXT.replace(gone, "")


def test_the_last_key_leaves_an_empty_map_and_valid_yaml() -> None:
    new = yamlfile.delete_key("a:\n  # why\n  b: 1 # c\nd: 1\n", ["a", "b"], "p")
    assert yamlfile.load(new, "p") == {"a": {}, "d": 1}
    assert "# why" in new
    assert yamlfile.load(yamlfile.delete_key("# c\na: 1\n", ["a"], "p"), "p") == {}
    assert yamlfile.delete_key("- a: 1\n  b: 2\n", [0, "a"], "p") == "- b: 2\n"


ANCHORS = "base: &b {lr: 1, m: &m 3}\nx: *b\ny:\n  <<: *b\n  k: *m\n"


@pytest.mark.parametrize("keys", [["base", "lr"], ["base", "m"], ["base"], ["x", "lr"], ["x"], ["y", "lr"], ["y", "k"]])
def test_an_edit_changes_nothing_that_shares_an_anchor(keys: list[str]) -> None:
    before = yamlfile.load(ANCHORS, "p")
    after = yamlfile.load(yamlfile.set_value(ANCHORS, keys, 7, "p"), "p")
    expected = {key: dict(value) for key, value in before.items()}
    if len(keys) == 1:
        expected[keys[0]] = 7  # type: ignore[assignment]
    else:
        expected[keys[0]][keys[1]] = 7
    assert after == expected


def test_an_inherited_key_can_be_deleted() -> None:
    new = yamlfile.delete_key(ANCHORS, ["y", "lr"], "p")
    assert yamlfile.load(new, "p")["y"] == {"m": 3, "k": 3}
    assert yamlfile.load(new, "p")["base"] == {"lr": 1, "m": 3}


def test_what_cannot_be_edited_says_so() -> None:
    with pytest.raises(FormatError, match="not a mapping"):
        yamlfile.set_value(TEXT, ["lr", "x"], 1, "p")
    with pytest.raises(FormatError, match="no item '9'"):
        yamlfile.set_value(TEXT, ["train", "lst", 9], 1, "p")
    with pytest.raises(FormatError, match="no 'nope' to delete"):
        yamlfile.delete_key(TEXT, ["nope"], "p")


def test_merge_touches_only_differences() -> None:
    text = "a: 1 # one\nb:\n- x # ex\n- y\nc: 3\n"
    assert yamlfile.merge(text, {"a": 1, "b": ["x", "z"], "d": None}, "p") == "a: 1 # one\nb:\n- x # ex\n- z\nd:\n"
    assert yamlfile.merge(text, yamlfile.load(text, "p"), "p") == text
