"""The language of dvc.yaml beside DVC's own code: the same stages out of the same text, and the same texts refused."""

from __future__ import annotations

import json
import posixpath
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twins import environment, interpreter

from pyexp.errors import PyexpError
from pyexp.formats import dvcyaml

pytestmark = pytest.mark.dvc

THEIRS = """\
import json, os, sys
from dvc.repo import Repo
from dvc.dvcfile import load_file
from dvc.dependency.param import ParamsDependency
cases = json.load(sys.stdin)
repo = Repo.init(".", no_scm=True)
found = []
for number, files in enumerate(cases):
    os.makedirs(f"case{number}/sub")
    for name, text in files.items():
        open(os.path.join(f"case{number}", name), "w", newline="").write(text)
    try:
        stages = {}
        for name, stage in load_file(repo, f"case{number}/dvc.yaml").stages.items():
            params = {d.def_path: sorted(set(d.params)) if d.params else None for d in stage.deps if isinstance(d, ParamsDependency)}
            stages[name] = {
                "cmd": stage.cmd,
                "wdir": os.path.relpath(stage.wdir, f"case{number}"),
                "deps": sorted(d.def_path for d in stage.deps if not isinstance(d, ParamsDependency)),
                "params": params,
                "outs": sorted([o.def_path, "metric" if o.metric else "plot" if o.plot else "out", bool(o.use_cache), o.persist] for o in stage.outs),
                "flags": [bool(stage.frozen), bool(stage.always_changed), stage.desc],
            }
        found.append(["ok", stages])
    except Exception as error:
        found.append(["error", f"{type(error).__name__}: {error}"])
json.dump(found, open("answers.json", "w"), default=str)
"""

PARAMS = """\
lr: 0.1
n: 10000000
tiny: 1e-5
none: null
yes: true
no: false
s: text
sp: two words
q: "it's"
empty: ''
lst: [7, 8, 9]
dct: {a: 1, b: {c: x, d: [1, 2]}, t: true, f: false, e: null, s: two words, l: []}
nest: {list: [[1]]}
models: {us: {t: 10}, gb: {t: 15}}
scal: {us: 1, gb: 2}
names: [a, b, a]
objs: [{n: x}, {n: y}]
dotted.key: 1
outdir: out
"""


def one(body: str, top: str = "") -> str:
    return f"{top}stages:\n  s:\n{body}"


def cmd(text: str) -> str:
    return one(f"    cmd: {text}\n")


EXPRESSIONS = [
    "${lr}", "${ lr }", "x ${lr} y", "${lr}${n}", "${n}", "${tiny}", "${none}", "x${none}", "${yes}", "x${yes}", "${no}", "${s}", "${sp}",
    "${q}", "${empty}", "x${empty}", "${lst}", "x ${lst}", "${lst[0]}", "${lst.0}", "${lst[-1]}", "${lst[3]}", "${lst[x]}", "${dct}", "python x.py ${dct}",
    "${dct.a}", "${dct[a]}", "${dct.b.c}", "${dct.b}", "x ${dct.b} y ${lr}", "${nest}", "${nope}", "${dct.nope}", "${lr.x}", "${dotted.key}", "${", "${}", "${ }",
    "${lr", "$lr", "$${lr}", "\\${lr}", "\\\\${lr}", "x \\${lr} ${lr}", "${lr} \\${n}", "${a b}", "${lr }", "${.lr}", "${lr.}", "${lst[0}", "${lst[]}",
    "${lst[0].x}", "${dct['a']}", "'${lr}'", "\"${lr}\"", "[\"${lr}\", \"x ${s}\"]", "[\"${dct}\"]", "|\n      ${lr}\n      ${s}\n", ">-\n      ${lr}\n      ${s}\n",
    "${item}", "${key}", "1", "1.5", "true", "null", "~", "", "[]", "{}", "[1]", "[a, [b]]", "{a: b}", "'  x  '", "2021-01-01", "${dct.t}", "${dct.l}",
]  # fmt: skip

FOREACH = [
    "${names}", "${models}", "${scal}", "${objs}", "${lst}", "[a, b]", "[1, true, null, 1.5]", "{x: 1, y: 2}", "[{a: 1}, {a: 2}]", "[a, {b: 1}]",
    "[[1, 2], [3]]", "${lr}", "${nope}", "text", "[]", "{}", "['${lr}', '${s}']", "{x: '${lr}', '${s}': 2}", "[a b, c/d, e.f, 'g:h']", "'x ${lst}'", "{1: a, true: b}",
    "[a, a, b]", "[1, 1.0, '1']", "null", "5", "[${lr}, ${n}]",
]  # fmt: skip

MATRIX = [
    "{a: [1, 2]}", "{a: [1, 2], b: [x, y]}", "{a: [{k: 1}, {k: 2}], b: [1]}", "{a: [[1, 2], [3]]}", "{a: '${lst}'}", "{a: '${names}', b: [true, null, 1.5]}",
    "{a: []}", "{}", "{a: 1}", "{a: {k: 1}}", "[1, 2]", "'${models}'", "{a: '${models}'}", "{a: ['${lr}', '${s}']}", "{a-b: [1]}", "{a: [1, 1]}", "{a: ['${dct}']}",
    "{a: [x y, u/v]}",
]  # fmt: skip

STAGES = [
    one("    cmd: x\n    deps: ['${s}', b/../c, ./d, /abs/x, 'sub/']\n    outs: [o, 'sub/p']\n"),
    one("    cmd: x\n    deps: a\n"), one("    cmd: x\n    deps: [1]\n"), one("    cmd: x\n    deps: []\n    outs: []\n"), one("    cmd: x\n    deps:\n    outs:\n"),
    one("    cmd: x\n    deps: [a, a]\n"), one("    cmd: x\n    outs: [a, a]\n"), one("    cmd: x\n    outs: [a]\n    metrics: [a]\n"), one("    cmd: x\n    deps: [a]\n    outs: [a]\n"),
    one("    cmd: x\n    outs: [a: {cache: false}, b: {persist: true, push: false, remote: r, desc: d, type: t, labels: [l], meta: {a: 1}}]\n"),
    one("    cmd: x\n    outs: [a: {cache: 1}]\n"), one("    cmd: x\n    outs: [a: {nope: 1}]\n"), one("    cmd: x\n    outs: [a: ]\n"), one("    cmd: x\n    outs: [a: {checkpoint: true}]\n"),
    one("    cmd: x\n    outs: [{a: {cache: false}, b: {persist: true}}]\n"), one("    cmd: x\n    outs: {a: {cache: false}}\n"), one("    cmd: x\n    outs: [a: {cache: '${yes}'}]\n"),
    one("    cmd: x\n    outs: ['${outdir}/${s}': {cache: false}]\n"), one("    cmd: x\n    metrics: [m, n: {cache: false}]\n    plots: [p: {x: a, y: b, template: t, title: T, header: false, x_label: l, y_label: m}]\n"),
    one("    cmd: x\n    plots: [p: {nope: 1}]\n"), one("    cmd: x\n    plots: [p: [{x: a}]]\n"), one("    cmd: x\n    metrics: [m: {xpath: a}]\n"), one("    cmd: x\n    metrics: [m: {type: json}]\n"),
    one("    cmd: x\n    params: [lr, dct.a, other.json: [a, b.c], w.yaml: ]\n"), one("    cmd: x\n    params: [lr, lr]\n"), one("    cmd: x\n    params: [params.yaml: [n], lr]\n"),
    one("    cmd: x\n    params: [other.json]\n"), one("    cmd: x\n    params: [other.json: ]\n"), one("    cmd: x\n    params: [other.json: []]\n"), one("    cmd: x\n    params: [other.json: a]\n"),
    one("    cmd: x\n    params: lr\n"), one("    cmd: x\n    params: [1]\n"), one("    cmd: x\n    params: ['${s}', '${s}.json': ['${s}']]\n"), one("    cmd: x\n    params: {other.json: [a]}\n"),
    one("    cmd: x\n    params: [other.json: [a], other.json: [b]]\n"), one("    cmd: x\n    params: [other.json: , other.json: [b]]\n"),
    one("    cmd: x\n    wdir: sub\n    deps: [a]\n    outs: [../b]\n    params: [k, p.json: [z]]\n"), one("    cmd: x\n    wdir: '${s}'\n"), one("    cmd: x\n    wdir: ..\n"), one("    cmd: x\n    wdir: ./sub/../sub\n    outs: [a]\n"),
    one("    cmd: x\n    frozen: true\n    always_changed: true\n    desc: some words\n    meta: {a: [1]}\n"), one("    cmd: x\n    frozen: yes\n"), one("    cmd: x\n    frozen: 1\n"), one("    cmd: x\n    frozen: '${yes}'\n"),
    one("    cmd: x\n    desc: '${s}'\n"), one("    cmd: x\n    desc: 1\n"), one("    cmd: x\n    meta: '${s}'\n"), one("    cmd: x\n    dep: [a]\n"), one("    deps: [a]\n"), one("    cmd: x\n    cmd: y\n"),
    one("    cmd: x\n    vars: [v: 5]\n"), one("    cmd: ${v}\n    vars: [v: 5]\n"), one("    cmd: ${v} ${lr}\n    vars: [{v: 5}, {w: 6}]\n"), one("    cmd: ${lr}\n    vars: [lr: 5]\n"),
    one("    cmd: ${k}\n    wdir: sub\n    vars: [v.yaml]\n"), one("    cmd: ${k}\n    wdir: sub\n    vars: [v.yaml:k]\n"), one("    cmd: ${k}\n    wdir: ${v}\n    vars: [v: sub]\n"), one("    cmd: ${v}\n    vars: ['${s}': 5]\n"),
    one("    cmd: ${a}\n", "vars: [extra.yaml]\n"), one("    cmd: ${a.b}\n", "vars: ['extra.yaml:a']\n"), one("    cmd: ${c}\n", "vars: ['extra.yaml:a']\n"), one("    cmd: ${a.b} ${c}\n", "vars: ['extra.yaml:a,c']\n"),
    one("    cmd: x\n", "vars: ['extra.yaml:nope']\n"), one("    cmd: x\n", "vars: [nope.yaml]\n"), one("    cmd: x\n", "vars: [extra.yaml, extra.yaml]\n"), one("    cmd: x\n", "vars: [extra.yaml, 'extra.yaml:a']\n"),
    one("    cmd: x\n", "vars: ['extra.yaml:a', 'extra.yaml:a']\n"), one("    cmd: x\n", "vars: [lr: 1]\n"), one("    cmd: ${dct.z} ${dct.a}\n", "vars: [dct: {z: 1}]\n"), one("    cmd: x\n", "vars: [dct: 1]\n"), one("    cmd: x\n", "vars: [{a: 1}, {a: 1}]\n"),
    one("    cmd: x\n", "vars: [a: '${lr}']\n"), one("    cmd: x\n", "vars: {a: 1}\n"), one("    cmd: x\n", "vars: a\n"), one("    cmd: x\n", "vars: [1]\n"), one("    cmd: x\n", "vars: []\n"), one("    cmd: x\n", "vars: [params.yaml]\n"),
    one("    cmd: ${a} ${b[0]}\n", "vars: [a: 1, b: [2, 3]]\n"), one("    cmd: x\n", "vars: [list.yaml]\n"), one("    cmd: ${x.y}\n", "vars: [vars.json]\n"), one("    cmd: ${x.y}\n", "vars: [vars.toml]\n"), one("    cmd: ${X}\n", "vars: [vars.py]\n"),
    "", "stages:\n", "stages: {}\n", "stages: []\n", "nope: 1\n", "stages: {s: }\n", "stages: {s: x}\n", "stages: {s: {cmd: x}, s: {cmd: y}}\n", "stages: {s@x: {cmd: x}}\n", "stages: {'a b': {cmd: x}}\n", "stages: {1: {cmd: x}}\n",
    "stages: {'${s}': {cmd: x}}\n", "params: [a.yaml]\nmetrics: [m.json, d]\nplots: [p.csv, q: {x: a}, r: ]\n", "params: a\n", "metrics: [{a: 1}]\n", "plots: [p: {nope: 1}]\n", "plots: [p: {x: {f: a}, y: {f: [b, c]}, title: t, template: s, x_label: l, y_label: m}]\n",
    "plots: [p: {header: false}]\n", "plots: {p: {x: a}}\n", "plots:\n", "artifacts: {m: {path: p, type: model, desc: d, labels: [a], meta: {k: 1}}}\n", "artifacts: {m: {type: model}}\n", "artifacts: {m: {path: p, nope: 1}}\n",
    "artifacts: {'m 1': {path: p}}\n", "datasets: [{name: d, type: url, url: s3://b}]\n", "stages: {s: {foreach: [a], do: {cmd: x}, cmd: y}}\n", "stages: {s: {foreach: [a]}}\n", "stages: {s: {do: {cmd: x}}}\n", "stages: {s: {foreach: [a], do: {}}}\n",
    "stages: {s: {foreach: [a], do: {cmd: '${item}', foreach: [b]}}}\n", "stages: {s: {foreach: [a], do: {cmd: '${item}', wdir: '${item}', vars: [v: 1], frozen: true}}}\n", "stages: {s: {matrix: {a: [1]}, cmd: x, foreach: [1]}}\n", "stages: {s: {matrix: {a: [1]}}}\n",
    "stages: {s: {foreach: [{a: 1}], do: {cmd: '${item}'}}}\n", "stages: {s: {foreach: {k: {a: 1}}, do: {cmd: 'x ${item} ${key}', outs: ['${key}']}}}\n", "vars: [item: 1]\nstages: {s: {foreach: [a], do: {cmd: '${item}'}}}\n", "- a\n", "a\n", "stages: &x {s: {cmd: y}}\n",
    "x: &a {cmd: y}\nstages: {s: *a}\n", "stages:\n  s: &a {cmd: y}\n  t: *a\n", "stages:\n  s: &a {cmd: y, deps: [d]}\n  t: {<<: *a, deps: [e]}\n", "stages:\n  s:\n\tcmd: x\n", "%YAML 1.1\n---\nstages: {s: {cmd: yes}}\n", "---\nstages: {s: {cmd: x}}\n...\n", "---\na: 1\n---\nb: 2\n",
]  # fmt: skip
SIDE_FILES = {
    "params.yaml": PARAMS,
    "extra.yaml": "a: {b: 1}\nc: 2\n",
    "list.yaml": "[1, 2]\n",
    "vars.json": '{"x": {"y": 5}}',
    "vars.toml": "[x]\ny = 5\n",
    "vars.py": "X = 5\n",
    "sub/v.yaml": "k: 3\n",
}


def corpus() -> list[str]:
    texts = [cmd(text) for text in EXPRESSIONS] + STAGES
    for items in FOREACH:
        for body in ("cmd: x ${item}", "cmd: x ${item} ${key}", "cmd: x, outs: ['${item}']"):
            texts.append(f"stages: {{s: {{foreach: {items}, do: {{{body.replace('x ${item} ${key}', QUOTED)}}}}}}}\n")
    for items in MATRIX:
        for body in ("cmd: x ${item.a}", "cmd: x ${key} ${item.b}", "cmd: x, outs: ['${key}']", "cmd: x ${item.a.k}"):
            texts.append(f"stages:\n  s:\n    matrix: {items}\n    " + body.replace(", outs", "\n    outs") + "\n")
    return texts


QUOTED = '"x ${item} ${key}"'


def mine(text: str) -> Any:
    files = {f"case/{name}": content for name, content in SIDE_FILES.items()}
    try:
        parsed = dvcyaml.parse(text, "case/dvc.yaml", read=files.get, parsing={})
    except PyexpError as error:
        return ["error", str(error)]
    return ["ok", {name: facts(stage) for name, stage in parsed.stages.items()}]


def facts(stage: Any) -> dict[str, Any]:
    return {
        "cmd": list(stage.cmd) if isinstance(stage.cmd, tuple) else stage.cmd,
        "wdir": posixpath.relpath(stage.wdir or ".", "case"),
        "deps": sorted(stage.deps),
        "params": {spec.file: None if spec.keys is None else sorted(spec.keys) for spec in stage.params},
        "outs": sorted([out.path, out.kind, out.cache, out.persist] for out in stage.outs),
        "flags": [stage.frozen, stage.always_changed, stage.desc],
    }


# Where DVC reads a file it cannot use, or fails over itself.
KNOWN = {
    cmd("[]"): "a stage without a command that DVC always calls changed, and cannot record",
    one(
        "    cmd: x\n    outs: [a]\n    metrics: [a]\n"
    ): "DVC reads it, then refuses the project: two outputs at one path",
    "stages:\n": "DVC refuses a section that is empty; who takes out the last stage may leave one",
    "plots:\n": "the same",
    "%YAML 1.1\n---\nstages: {s: {cmd: yes}}\n": "there `yes` is true for DVC; here it is text in every file",
    "stages: {s: {foreach: [a b, c/d, e.f, 'g:h'], do: {cmd: x, outs: ['${item}']}}}\n": "'g:h' is absolute on Windows",
}
CRASHES = (
    "ValueError: 'int' not supported.",
    "ValueError: 'float' not supported.",
    "TypeError: unhashable type: 'Value'",
)


def known(text: str, theirs: Any) -> bool:
    """Whether a difference is one we mean: DVC fails on a number where a path is wanted, and cannot run what is no text."""
    if theirs[0] == "error":
        return text in KNOWN or theirs[1] in CRASHES
    return text in KNOWN or any(not runnable(stage["cmd"]) for stage in theirs[1].values())


def runnable(cmd: Any) -> bool:
    return isinstance(cmd, str) or (isinstance(cmd, list) and all(isinstance(line, str) for line in cmd))


def differences(dvc: str, tmp_path: Path) -> list[tuple[str, Any, Any]]:
    texts = corpus()
    done = subprocess.run(
        [interpreter(dvc), "-c", THEIRS],
        input=json.dumps([{**SIDE_FILES, "dvc.yaml": text} for text in texts]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    wrong = []
    for text, theirs in zip(texts, json.loads((tmp_path / "answers.json").read_text()), strict=True):
        ours = mine(text)
        if theirs != ours and not (theirs[0] == ours[0] == "error"):
            wrong.append((text, theirs, ours))
    return wrong


def test_the_stages_are_those_dvc_reads(dvc: str, tmp_path: Path) -> None:
    assert [case for case in differences(dvc, tmp_path) if not known(*case[:2])] == []
