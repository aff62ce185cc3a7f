"""``-S``: the grammar, sweeps, and edits that change one value and no other byte."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyexp.errors import FormatError, UsageError
from pyexp.formats import override, values
from pyexp.formats.override import Override


def apply(text: str | None, path: str, *texts: str) -> str:
    return override.apply(text, path, [override.parse(item) for item in texts])


@pytest.mark.parametrize(
    ("text", "file", "kind", "keys", "value"),
    [
        ("a=1", "params.yaml", "set", ("a",), 1),
        ("a.b.0=x", "params.yaml", "set", ("a", "b", "0"), "x"),
        ("+a=1", "params.yaml", "append", ("a",), 1),
        ("++a=1", "params.yaml", "force", ("a",), 1),
        ("~a", "params.yaml", "delete", ("a",), None),
        ("~a=1", "params.yaml", "delete", ("a",), 1),
        ("p2.yaml:+x=1", "p2.yaml", "append", ("x",), 1),
        ("cfg/t.json:a.b=2", "cfg/t.json", "set", ("a", "b"), 2),
        ("++f.py:z=2", "++f.py", "set", ("z",), 2),
        ("a='x:y'", "params.yaml", "set", ("a",), "x:y"),
        ("p.yaml:~a", "p.yaml", "delete", ("a",), None),
    ],
)
def test_parts(text: str, file: str, kind: Any, keys: tuple[str, ...], value: Any) -> None:
    assert override.parse(text) == Override(file, kind, keys, value, text, "=" in text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""), (" v ", "v"), ("a  b", "a  b"), ("null", None), ("NULL", None), ("None", "None"), ("TRUE", True), ("yes", "yes"),
        ("+1", 1), ("1_000", 1000), ("007", "007"), ("1__0", "1__0"), ("0x10", "0x10"), ("1.", 1.0), (".5", 0.5), ("1E-3", 1e-3),
        ("-inf", -math.inf), ("1a", "1a"), ("a:b/c@d|e?f*g%h$i\\j+k.l-m", "a:b/c@d|e?f*g%h$i\\j+k.l-m"), ("a\\=b", "a=b"),
        ("a\\,b", "a,b"), ("\\ a", " a"), ("'1'", "1"), ('"a, b"', "a, b"), ("'it\\'s'", "it's"), ("'a\\nb'", "a\\nb"),
        ("'e\\\\'", "e\\"), ("'é#'", "é#"), ("[]", []), ("[a b, 'c,d',[1]]", ["a b", "c,d", [1]]), ("{}", {}),
        ("{a:1, b: {c: x y}}", {"a": 1, "b": {"c": "x y"}}), ("{1:x}", {1: "x"}), ("int(3.7)", 3), ("str(1)", "1"),
        ("float('2')", 2.0), ("bool(true)", True), ("str([1,2])", ["1", "2"]), ("sort([3,1,2])", [1, 2, 3]), ("${a.b}", "${a.b}"),
    ],
)  # fmt: skip
def test_values_are_typed_as_hydra_types_them(text: str, value: Any) -> None:
    found = override.parse(f"k={text}").value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "there is no '='"), ("=1", "name of the param is missing"), ("0=1", "alone is not a name"), ("a[0]=1", "is not a name"),
        ("a/b=1", "config groups"), ("a@b=1", "config groups"), ("a =1", "blank around"), ("a..b=1", "is not a name"),
        ("a=b=c", "unexpected '='"), ("a=1,", "a value is missing"), ("a=[1", "']' is missing"), ("a={b}", "unexpected '}'"),
        ("a=é", "must stand in quotes"), ("a=x#y", "'#' must stand in quotes"), ("a='x", "quote is not closed"),
        ("a={'b':1}", "without quotes"), ("a=foo(1)", "no function 'foo'"), ("a=interval(0,1)", "intervals are not supported"),
        ("a=glob(*)", "globs are not supported"), ("a=range(1,2,0)", "the step is 0"), ("a=int(x)", "int()"),
        ("a=[choice(1,2)]", "cannot stand inside"), ("a=" + "[" * 60 + "]" * 60, "nested deeper"), ("~a=1,2", "cannot be deleted"),
    ],
)  # fmt: skip
def test_mistakes_are_quoted_and_explained_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        override.parse(text)
    assert f"'{text}'" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a=1"], [("a=1",)]),
        (["a=1,2", "b=x,y"], [("a=1", "b=x"), ("a=1", "b=y"), ("a=2", "b=x"), ("a=2", "b=y")]),
        (["b=1", "q.yaml:a=1,2", "c=3,4"], [
            ("b=1", "c=3", "q.yaml:a=1"), ("b=1", "c=3", "q.yaml:a=2"), ("b=1", "c=4", "q.yaml:a=1"), ("b=1", "c=4", "q.yaml:a=2"),
        ]),
        (["+a=range(1,4)"], [("+a=1",), ("+a=2",), ("+a=3",)]),
        (["a=range(3,1,-1)"], [("a=3",), ("a=2",)]),
        (["a=range(0,1,0.5)"], [("a=0.0",), ("a=0.5",)]),
        (["a=range(start=1,stop=6,step=2)"], [("a=1",), ("a=3",), ("a=5",)]),
        (["a=choice(x y,0.001,[1,2],null)"], [("a=x\\ y",), ("a=0.001",), ("a=[1,2]",), ("a=null",)]),
        (["a=sort(3,1,2,reverse=true)"], [("a=3",), ("a=2",), ("a=1",)]),
        (["a=tag(t,choice(x,y))"], [("a=x",), ("a=y",)]),
        (["a='1','a#b'"], [("a='1'",), ("a='a#b'",)]),
        (["a=1,2", "a=3"], [("a=3",)]),
        (["~a", "b=true,false"], [("~a", "b=True"), ("~a", "b=False")]),
    ],
)  # fmt: skip
def test_expand(texts: list[str], expected: list[tuple[str, ...]]) -> None:
    assert override.expand(texts) == expected
    assert not any(override.is_sweep(override.parse(text)) for combination in expected for text in combination)


def test_shuffled_sweeps_keep_their_values() -> None:
    found = override.expand(["a=shuffle(range(0,20))"])
    assert sorted(found) == sorted((f"a={number}",) for number in range(20))


def test_too_many_combinations_are_refused_before_they_are_built() -> None:
    with pytest.raises(UsageError, match="more than 10000"):
        override.expand([f"k{i}=range(0,1000000)" for i in range(9)])
    with pytest.raises(UsageError, match="gives no value"):
        override.expand(["a=range(3,1)"])


YAML = """\
# head
lr: 0.1   # rate
name: 'quo'
train:
  epochs: 3
  opt: {a: 1, b: [1, 2]}
  null_one: null
s: 1e-3
"""
JSON = """\
{
    "lr": 0.1,
    "train": {
        "epochs": 3,
        "opt": {"a": 1, "b": [1, 2]},
        "empty": {}
    },
    "é": "x"
}
"""
TOML = '# head\nlr = 0.1 # rate\nname = "quo"\n\n[train]\nepochs = 3\nopt = {a = 1, b = [1, 2]}\n'
PY = '''\
"""Doc."""
import os
LR = 0.1  # rate
NAME: str = "é"; AFTER = {"a": 1, "b": [1, 2]}


class Train:
    epochs = 3

    def __init__(self):
        self.layers = 5
        self.dynamic = os.cpu_count()

    class Deep:
        x = -1e-5
'''


@pytest.mark.parametrize(
    ("path", "text", "changes", "old", "new"),
    [
        ("p.yaml", YAML, ["lr=1"], "lr: 0.1 ", "lr: 1 "),
        ("p.yaml", YAML, ["name=x"], "'quo'", "'x'"),
        ("p.yaml", YAML, ["train.opt.b.1=5"], "[1, 2]", "[1, 5]"),
        ("p.yaml", YAML, ["train.opt={a: 2}"], "a: 1", "a: 2"),
        ("p.yaml", YAML, ["+train.new.x=[1]"], "null\n", "null\n  new:\n    x:\n    - 1\n"),
        ("p.yaml", YAML, ["+train.null_one=3"], "null_one: null", "null_one: 3"),
        ("p.yaml", YAML, ["~lr"], "lr: 0.1   # rate\n", ""),
        ("p.yaml", YAML, ["~lr=0.1", "++lr=2"], "lr: 0.1   # rate\n", ""),
        ("p.yaml", YAML, ["name='${lr}'"], "'quo'", "0.1"),
        ("p.yaml", YAML, ["name=v-${train.epochs}"], "'quo'", "'v-3'"),
        ("p.yaml", YAML, ["name=${lr}", "lr=7"], "lr: 0.1   # rate\nname: 'quo'", "lr: 7   # rate\nname: 7"),
        ("p.json", JSON, ["lr=1e-5"], "0.1", "1e-05"),
        ("p.json", JSON, ["train.opt.a=x"], '"a": 1', '"a": "x"'),
        ("p.json", JSON, ["+train.opt.c=[1]"], "[1, 2]}", '[1, 2], "c": [\n            1\n        ]}'),
        ("p.json", JSON, ["+train.x=1"], '"empty": {}', '"empty": {},\n        "x": 1'),
        ("p.json", JSON, ["+train.empty.y=1"], "{}", '{\n            "y": 1\n        }'),
        ("p.json", JSON, ["~train.epochs"], '"epochs": 3,\n        ', ""),
        ("p.json", JSON, ["~train.empty"], ',\n        "empty": {}', ""),
        ("p.toml", TOML, ["lr=2"], "lr = 0.1 ", "lr = 2 "),
        ("p.toml", TOML, ["train.epochs=9"], "epochs = 3", "epochs = 9"),
        ("p.toml", TOML, ["+train.new=x"], "b = [1, 2]}\n", 'b = [1, 2]}\nnew = "x"\n'),
        ("p.py", PY, ["LR=1e-5"], "0.1", "1e-05"),
        ("p.py", PY, ["NAME=ü".replace("ü", "'ü'")], '"é"', "'ü'"),
        ("p.py", PY, ["AFTER.b.1=x"], "[1, 2]", "[1, 'x']"),
        ("p.py", PY, ["Train.layers=6"], "self.layers = 5", "self.layers = 6"),
        ("p.py", PY, ["Train.Deep.x=true"], "-1e-5", "True"),
    ],
)
def test_one_value_changes_and_no_other_byte(path: str, text: str, changes: list[str], old: str, new: str) -> None:
    assert text.count(old) == 1
    expected = text.replace(old, new)
    if changes[-1].startswith("++"):
        expected += "lr: 2\n"
    assert apply(text, path, *changes) == expected


@pytest.mark.parametrize(
    ("path", "text", "change", "words", "hint"),
    [
        ("params.yaml", YAML, "lrr=1", "no param 'lrr' in params.yaml", "did you mean 'lr'?"),
        ("params.yaml", YAML, "zzz=1", "no param 'zzz'", "use '+zzz=1' to add it"),
        ("params.yaml", YAML, "q.yaml:zzz=1", "no param 'zzz'", "use 'q.yaml:+zzz=1' to add it"),
        ("params.yaml", YAML, "+lr=1", "'lr' is already in params.yaml", "lr=1"),
        ("params.yaml", YAML, "~nope", "no 'nope'", None),
        ("params.yaml", YAML, "~lr=5", "is 0.1", "~lr"),
        ("params.yaml", YAML, "+lr.x=1", "not a mapping", None),
        ("params.yaml", YAML, "train=[1]", "is a mapping, not a list", None),
        ("params.yaml", YAML, "train={zz: 1}", "no param 'train.zz'", "+train={zz: 1}"),
        ("params.yaml", YAML, "train.opt.b.2=1", "no param", None),
        ("params.yaml", YAML, "+train.opt.b.2=1", "has no item 2", "whole list"),
        ("params.yaml", YAML, "lr=1,2", "is a sweep", "--queue"),
        ("params.yaml", YAML, "lr=${oc.env:HOME}", "resolvers are not supported", None),
        ("params.yaml", YAML, "lr='${nam}'", "no param 'nam'", "did you mean 'name'?"),
        ("params.yaml", YAML, "lr=${lr}", "round in a circle", None),
        ("params.yaml", YAML, "lr='x-${train}'", "not a single value", None),
        ("p.py", PY, "+New=1", "no constant 'New'", "editor"),
        ("p.py", PY, "~LR", "cannot delete", None),
        ("p.toml", TOML, "lr=null", "TOML has no null", None),
    ],
)
def test_what_cannot_be_done_says_why_and_what_to_do(
    path: str, text: str, change: str, words: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        apply(text, path, change)
    assert words in str(caught.value)
    assert hint is None or hint in str(caught.value.hint)


def test_a_missing_file_is_made_by_adding() -> None:
    assert apply(None, "params.yaml", "+a.b=1", "+c=x") == "a:\n  b: 1\nc: x\n"
    assert values.load(apply(None, "p.json", "+a.b=1"), "p.json") == {"a": {"b": 1}}
    assert values.load(apply(None, "p.toml", "+a.b=1"), "p.toml") == {"a": {"b": 1}}
    with pytest.raises(UsageError, match="no param 'a'"):
        apply(None, "params.yaml", "a=1")


def test_a_params_file_that_is_wrong_is_a_format_error() -> None:
    with pytest.raises(FormatError):
        apply("a: [", "params.yaml", "a=1")
    with pytest.raises(FormatError, match="not a mapping"):
        apply("- 1\n", "params.yaml", "+a=1")


def test_expressions_already_in_the_file_stay() -> None:
    assert apply("a: ${b}  # c\nb: 1\n", "params.yaml", "b=2") == "a: ${b}  # c\nb: 2\n"


def test_an_escaped_interpolation_is_text() -> None:
    assert values.load(apply("a: 1\n", "params.yaml", "a='\\${b}'"), "params.yaml") == {"a": "${b}"}


def test_keys_that_are_numbers_in_the_file() -> None:
    assert apply("a:\n  1: x\n  2: y\n", "params.yaml", "a.2=z") == "a:\n  1: x\n  2: z\n"


CRLF_JSON = '{\r\n  "a": {"b": 1}\r\n}\r\n'


def test_layout_of_json_is_followed() -> None:
    assert apply(CRLF_JSON, "p.json", "+c=1") == '{\r\n  "a": {"b": 1},\r\n  "c": 1\r\n}\r\n'
    assert apply('{"a":1,"b":[1,2]}', "p.json", "+c={d: 2}") == '{"a":1,"b":[1,2],"c":{"d":2}}'
    assert apply('{"a": 1}', "p.json", "+b=1") == '{"a": 1, "b": 1}'
    assert apply('\ufeff{"a": "x}\\"{"}', "p.json", "a=1") == '\ufeff{"a": 1}'
    assert apply('{"a": 1}', "p.json", "~a") == "{}"
