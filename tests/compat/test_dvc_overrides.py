"""``-S`` beside DVC's own code: the same values in the file, the same refusals, the same sweeps."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twins import environment, interpreter

from pyexp.errors import PyexpError
from pyexp.formats import override, values

pytestmark = pytest.mark.dvc

THEIRS = """\
import io, json, os, sys, contextlib
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
found = []
for name, text, overrides in json.load(sys.stdin):
    try:
        if name is None:
            found.append(["ok", get_hydra_sweeps(overrides)])
            continue
        if os.path.exists(name):
            os.unlink(name)
        if text is not None:
            open(name, "w", newline="").write(text)
        apply_overrides(name, overrides)
        found.append(["ok", open(name, newline="").read()])
    except Exception as error:
        found.append(["error", type(error).__name__ + ": " + str(error)])
json.dump(found, sys.stdout)
"""


def ask(dvc: str, tmp_path: Path, cases: list[Any]) -> list[Any]:
    """What DVC's code makes of each case, all in one process."""
    done = subprocess.run(
        [interpreter(dvc), "-c", THEIRS],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def mine(name: str, text: str | None, overrides: list[str]) -> Any:
    try:
        return ["ok", override.apply(text, name, [override.parse(item) for item in overrides])]
    except PyexpError as error:
        return ["error", str(error)]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


PARAMS = """\
# comment
lr: 0.1  # rate
n: 3
s: 'quoted'
t: true
none: null
l: [1, 2, {x: 1}]
d: {x: 1, y: {z: 2}}
train:
  epochs: 3  # how many
  layers:
  - 10
  - 20
  opt:
    name: adam
last: end
"""
VALUES = [
    "1", "+1", "-1", "1_000", "1__0", "007", "-0", "0x10", "0b1", "1.0", "1.", ".5", "1e5", "1E-3", "-1.5e+3", "inf",
    "-inf", "INF", "nan", "NaN", "true", "False", "TRUE", "yes", "no", "on", "off", "null", "Null", "NULL", "None",
    "~", "''", "\"\"", "'1'", "'true'", "'null'", "a", "a.b", "a/b", "a-b", "a_b", "a:b", "a|b", "a?b", "a*b", "a@b",
    "a%b", "a+b", "$a", "a$b", "\\\\", "a\\\\b", "1a", "1.5.2", "2021-01-01", "12:30:00", "1:30", "[]", "{}", "[1]",
    "[1,2.5,x,null,true,'q']", "[[1,[2]],{a:1}]", "{a:1}", "{a:{b:[1,x]}}", "{a:1,b:x}", "int(3.7)", "int('4')",
    "float(1)", "float('2')", "str(1)", "str([1,2])", "bool(true)", "bool('false')", "bool(0)", "int([1,2.5])",
    "str({a:1})", "é", "'é'", "a#b", "'a#b'", "a;b", "a&b", "a!b", "a^b", "a~b", "a<b", "a(b)", "a'b'", "'a\\'b'",
    "\"a\\\"b\"", "a=b", "a\\=b", "a\\,b", "a\\:b", "\\[", "\\{x\\}", "${lr}", "${train.epochs}", "'${lr}'",
    "x${lr}y", "${nope}", "${oc.env:HOME}", "[${lr},${n}]", "foo(1)", "glob(*)", "int(x)", "[1,", "[1,]", ",1", "1,",
    "{'a':1}", "{a}", "{a:}", "{:1}", "{1:x}", "{a.b:1}", "[a:b]", "9999999999999999999999", "1e400", "0.1e1",
    "1_0.5", "_1", "-_1", "-", "--", "+", "...", ".", "??", "???",
]  # fmt: skip
BLANKS = [
    "", " ", " v ", "a  b", "[a b, c d]", "'a b'", "a\\ b", "{a: 1, b: x y}", "\\ a", "a\\ ", "[1 , 2]", "\ta",
    "a\tb",
]  # fmt: skip
KEYS = [
    "lr", "train.epochs", "train.layers", "train.layers.0", "train.layers.1", "train.layers.2", "train.layers.-1",
    "l.2.x", "train", "train.opt.name", "d", "d.x", "d.y", "d.y.z", "nope", "train.nope", "nope.a.b", "lr.x", "s",
    "t", "none", "last", "l", "lr.", ".lr", "a..b", "train.layers[0]", "a/b", "0", "a.0", "a-b", "a_b", "_a", "$a",
    "a$", "é", "a@b", "lr@pkg", "a:b",
]  # fmt: skip


def corpus() -> list[tuple[str, str | None, list[str]]]:
    cases: list[tuple[str, str | None, list[str]]] = []
    for value in [*VALUES, *BLANKS]:
        cases.append(("params.yaml", PARAMS, [f"s={value}"]))
    for key in KEYS:
        for text in (f"{key}=1", f"+{key}=1", f"++{key}=1", f"~{key}", f"{key}={{x: 5}}", f"++{key}={{new: [1]}}"):
            cases.append(("params.yaml", PARAMS, [text]))
    for overrides in (
        ["~lr=0.1"], ["~lr=0.2"], ["~train.opt.name=adam"], ["~d={x: 1, y: {z: 2}}"], ["~l"], ["~train.opt", "~d.y"], ["lr=1", "lr=2"],
        ["+a.b.c=1", "+a.b.d=2", "a.b.c=3"], ["+a=1", "+a=2"], ["+a=1", "++a=2", "~a"], ["d={x: 5}"], ["d={z: 5}"], ["+d={z: 5}"], ["+d.z=5"],
        ["d={y: {z: 7}}"], ["d.y={}"], ["d=1"], ["l=[]"], ["lr={a: 1}"], ["+e={}"], ["+e=[]"], ["n=${lr}", "lr=5"], ["lr=5", "n=${lr}"],
        ["train=5"], ["train=null", "+train.x=1"], ["~train.layers", "~train.epochs", "~train.opt"], ["~train", "~d"], ["+x='multi\nline'"],
        ["++train.opt={name: sgd, momentum: 0.9}"], ["train={epochs: 4, layers: [1]}"], ["none=1"], ["none={a: 1}"], ["+none.a=1"], ["t=1"],
    ):  # fmt: skip
        cases.append(("params.yaml", PARAMS, overrides))
    for name, text in (
        ("p.json", '{"a": {"b": 1, "c": [1, 2]}, "s": "é"}'),
        ("p.toml", '# top\ns = "x"\n[a]\nb = 1  # one\nc = [1, 2]\n'),
        ("p.yaml", None),
        ("p.yaml", ""),
        ("p.yaml", "{}\n"),
        ("p.yaml", "a: {b: 1, c: [1, 2]}\r\ns: x\r\n"),
        ("p.json", "{}"),
        ("p.py", "s = 'x'\nclass a:\n    b = 1\n    c = [1, 2]\n"),
    ):
        for overrides in (
            ["a.b=2.5"],
            ["+a.d=x"],
            ["~a.b"],
            ["a.c=[3]"],
            ["s=y"],
            ["+n=1"],
            ["+n.m=null"],
            ["++n={x: 1}"],
            ["nope=1"],
        ):
            cases.append((name, text, overrides))
    return cases


# Where the two differ on purpose.
KNOWN = {
    "s=${oc.env:HOME}": "params do not depend on the environment",
    "s=???": "DVC cannot write this text",
    "~train.layers.0": "DVC crashes",
    "~train.layers.1": "DVC crashes",
    "~none": "DVC takes a null for a key that is not there",
    "+lr.x=1": "DVC throws the number away for a mapping",
    "++lr.x=1": "DVC throws the number away for a mapping",
    "++lr.x={new: [1]}": "DVC throws the number away for a mapping",
    "+a/b=1": "refused: elsewhere in the grammar it is a config group",
    "++a/b=1": "refused: elsewhere in the grammar it is a config group",
    "++a/b={new: [1]}": "refused: elsewhere in the grammar it is a config group",
}
KNOWN_PY = {"~a.b": "DVC silently leaves it", "s=y": "DVC silently leaves texts as they are"}


def test_the_file_holds_what_dvc_would_have_written(dvc: str, tmp_path: Path) -> None:
    cases = corpus()
    wrong = []
    for (name, text, overrides), (verdict, theirs) in zip(cases, ask(dvc, tmp_path, cases), strict=True):
        our_verdict, ours = mine(name, text, overrides)
        if our_verdict == verdict == "error":
            continue
        if our_verdict == verdict and same(values.load(ours, name), values.load(theirs, name)):
            continue
        if overrides[0] not in (KNOWN_PY if name.endswith(".py") else KNOWN):
            wrong.append((name, overrides, (verdict, theirs), (our_verdict, ours)))
    assert wrong == []


SWEEPS = (
    ["a=1,2"], ["a=1,2", "b=x,y"], ["a=choice(1,2,'x y')"], ["a=range(1,4)"], ["a=range(0,1,0.25)"], ["a=range(5,1,-2)"],
    ["a=range(3)"], ["a=range(start=1,stop=7,step=3)"], ["a=sort(3,1,2)"], ["a=sort(3,1,2,reverse=true)"], ["a=x y,z"],
    ["a=[1,2],[3]"], ["a={x:1},{x:2}"], ["a=0.001,1e-3,1e10"], ["a=null,true,'true'"], ["+a=1,2"], ["++a=1,2", "b=1"],
    ["a=1", "b=2"], ["a='x,y',z"], ["a=\"it's\",b"], ["a.b.0=1,2"], ["a=tag(t,choice(1,2))"], ["a=tag(t,1,2)"], ["a=choice([1],[2])"],
    ["a=é,b"], ["a='é',b"], ["a=x\\=1,y"], ["a=${b},c"], ["~a", "b=1,2"], ["a=interval(0,1)"], ["a=glob(*)"], ["a=choice()"], ["a=int(choice(1.5,2.5))"], ["a=1,2", "a=3,4"], ["a='',b"], ["a=,1"],
)  # fmt: skip


def meaning(texts: list[str]) -> list[Any]:
    return [(one.file, one.kind, one.keys, one.value) for one in map(override.parse, texts)]


def test_sweeps_are_the_same_in_the_same_order(dvc: str, tmp_path: Path) -> None:
    given = [{"params.yaml": texts} for texts in SWEEPS] + [{"params.yaml": ["a=1,2"], "other.json": ["b.c=3,4"]}]
    for one, (verdict, theirs) in zip(given, ask(dvc, tmp_path, [[None, None, one] for one in given]), strict=True):
        try:
            ours = override.expand(spelled(one))
        except PyexpError:
            assert verdict == "error", one
        else:
            assert verdict == "ok", one
            assert [meaning(list(row)) for row in ours] == [meaning(spelled(row)) for row in theirs], one


def spelled(by_file: dict[str, list[str]]) -> list[str]:
    return [text if file == "params.yaml" else f"{file}:{text}" for file, texts in by_file.items() for text in texts]
