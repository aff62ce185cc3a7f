"""dvc.yaml: schema errors at their place, templates as DVC fills them in, edits that keep the rest."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from pyexp.errors import FormatError, PyexpError
from pyexp.formats import dvcyaml, lockfile
from pyexp.model import OutSpec, ParamSpec, PipelineFile, StageSpec

FILES = {
    "params.yaml": (
        "lr: 0.1\nflags: [true, null, 1.0]\nmodels: {a: {x: 1}, b: {x: true}}\n"
        "train: {epochs: 3, opt: {name: 'a b', on: true, off: false, l: [1, x y]}}\ndata: {raw: raw.csv}\nlst: [1, 2]\n"
    ),
    "cfg.yaml": "x: 5\ny: 6\n",
    "sub/params.yaml": "lr: 7\n",
}


def parse(text: str, path: str = "dvc.yaml", **parsing: str) -> PipelineFile:
    return dvcyaml.parse(text, path, read=FILES.get, parsing=parsing)


def cmd(command: str, **parsing: str) -> object:
    return parse(f"stages:\n  s:\n    cmd: {command}\n", **parsing).stages["s"].cmd


def test_a_stage_with_everything() -> None:
    text = """
stages:
  s:
    desc: d
    cmd: [a, b]
    wdir: sub
    deps: [a.txt, a.txt, s3://b/c]
    params: [lr, {other.json: [a, b]}, train.epochs, {whole.yaml: }, {other.json: [a]}]
    outs: [o, {o: {cache: false}}, {p: {persist: true, push: false, remote: r, desc: x, type: t, labels: [l], meta: 1}}]
    metrics: [{m.json: {cache: false}}]
    plots: [{p.csv: {x: a, y: b, header: false}}]
    frozen: true
    always_changed: true
    meta: {any: thing}
"""
    assert parse(text).stages["s"] == StageSpec(
        "dvc.yaml",
        "s",
        cmd=("a", "b"),
        wdir="sub",
        deps=("a.txt", "a.txt", "s3://b/c"),
        params=(
            ParamSpec("params.yaml", ("lr", "train.epochs")),
            ParamSpec("other.json", ("a", "b")),
            ParamSpec("whole.yaml", None),
        ),
        outs=(
            OutSpec("o", cache=False),
            OutSpec("p", persist=True, push=False, remote="r", desc="x", type="t", labels=("l",), meta=1),
            OutSpec("m.json", kind="metric", cache=False),
            OutSpec("p.csv", kind="plot", plot={"x": "a", "y": "b", "header": False}),
        ),
        frozen=True,
        always_changed=True,
        desc="d",
        meta={"any": "thing"},
    )


def test_top_level_sections_and_empty_files() -> None:
    parsed = parse(
        "metrics: ['${data.raw}.json']\nparams: [p.yaml]\nplots:\n- a.csv\n- b: {x: i, y: {f.csv: [c, d]}}\n- c:\n"
        "artifacts: {m: {path: '${data.raw}', labels: [a]}}\n"
    )
    assert parsed.metrics == ("raw.csv.json",)
    assert parsed.params == ("p.yaml",)
    assert [(plot.id, plot.props) for plot in parsed.plots] == [
        ("a.csv", {}),
        ("b", {"x": "i", "y": {"f.csv": ["c", "d"]}}),
        ("c", {}),
    ]
    assert parsed.artifacts == {"m": {"path": "raw.csv", "labels": ["a"]}}
    assert parse("") == PipelineFile("dvc.yaml")
    assert parse("stages:\nvars:\n").stages == {}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        (
            "stages:\n  train:\n    cmd: x\n    dep: [a]\n",
            "4:5",
            "unknown key 'dep' in stages.train (did you mean 'deps'?)",
        ),
        ("foo: 1\n", "1:1", "unknown key 'foo'"),
        ("- a\n", "1:1", "expected a mapping"),
        ("stages: [a]\n", "1:1", "expected a mapping in stages"),
        ("stages:\n  s:\n    deps: [a]\n", "2:3", "'cmd' is missing in stages.s"),
        ("stages:\n  s:\n    cmd: 3\n", "3:5", "expected text or a list in stages.s.cmd"),
        ("stages:\n  s:\n    cmd:\n    - 3\n", "4:7", "expected text in stages.s.cmd.0"),
        ("stages:\n  s:\n    cmd: x\n    frozen: ${x}\n", "4:5", "expected true or false in stages.s.frozen"),
        ("stages:\n  s:\n    cmd: x\n    outs:\n    - a: {chace: false}\n", "5:11", "did you mean 'cache'?"),
        ("stages:\n  s:\n    cmd: x\n    outs:\n    - a:\n", "5:7", "expected a mapping"),
        ("stages:\n  s:\n    cmd: x\n    outs:\n    - ../a\n", "4:5", "outside the project"),
        ("stages:\n  s:\n    cmd: x\n    outs: [/a]\n", "4:5", "outside the project"),
        ("stages:\n  s:\n    cmd: x\n    outs: [s3://b/a]\n", "4:5", "outside the project"),
        ("stages:\n  s:\n    cmd: x\n    outs: [.git/hooks/post-commit]\n", "4:5", "control directory"),
        ("stages:\n  s:\n    cmd: x\n    wdir: ../..\n", "4:5", "outside the project"),
        ("stages:\n  s:\n    cmd: x\n    outs: [a]\n    metrics: [./a]\n", "5:5", "is in outs and in metrics"),
        ("stages:\n  1: {cmd: x}\n", "2:3", "not text"),
        ("stages:\n  s: {foreach: [1]}\n", "2:3", "'do' is missing"),
        ("stages:\n  s: {foreach: 3, do: {cmd: x}}\n", "2:7", "expected a mapping or a list or text"),
        ("stages:\n  s: {foreach: '${lr}', do: {cmd: x}}\n", "2:7", "expected a list or a mapping"),
        ("stages:\n  s: {matrix: {a: '${lr}'}, cmd: x}\n", "2:7", "'a' is not a list"),
        ("stages:\n  s: {cmd: 'x ${nope.x}'}\n", "2:7", "could not find 'nope.x' in stages.s.cmd"),
        ("stages:\n  s: {cmd: 'x ${lr..x}'}\n", "2:7", "not an expression"),
        ("stages:\n  s: {cmd: 'x ${}'}\n", "2:7", "not an expression"),
        ("stages:\n  s: {cmd: 'x ${lst}'}\n", "2:7", "is a list"),
        ("stages:\n  s: {cmd: x, deps: ['${train}']}\n", "2:15", "is a mapping"),
        ("vars: [{lr: 1}]\nstages:\n  s: {cmd: '${lr}'}\n", "1:1", "cannot redefine 'lr' from 'vars[0]'"),
        ("vars: [no.yaml]\nstages:\n  s: {cmd: '${lr}'}\n", "1:1", "'no.yaml' does not exist"),
        ("vars: ['cfg.yaml:z']\nstages:\n  s: {cmd: '${lr}'}\n", "1:1", "no 'z' in 'cfg.yaml'"),
        ("vars: ['cfg.yaml:x', cfg.yaml]\nstages:\n  s: {cmd: '${lr}'}\n", "1:1", "partially loaded already"),
        ("vars: [{a: '${lr}'}]\n", "1:1", "vars may not use"),
        ("stages:\n  s:\n    foreach: [1]\n    do: {cmd: '${item}', vars: [{item: 2}]}\n", "4:26", "cannot set 'item'"),
        ("plots:\n- a: {header: true}\n", "2:7", "unknown key 'header'"),
        ("artifacts: {m: {type: x}}\n", "1:13", "'path' is missing"),
    ],
)
def test_errors_name_line_column_and_key(text: str, where: str, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(text)
    error = caught.value
    assert words in error.message
    assert f"{error.line}:{error.column}" == where


def test_a_lenient_reader_keeps_the_good_stages() -> None:
    text = "stages:\n  a: {cmd: x}\n  b: {cmd: '${nope}'}\n  c: {comd: x}\n"
    parsed, problems = dvcyaml.parse_lenient(text, "dvc.yaml", read=FILES.get)
    assert list(parsed.stages) == ["a"]
    assert [problem.line for problem in problems] == [3, 4]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo ${lr} ${ lr } ${lst[0]} ${lst.1} ${lst[-1]}", "echo 0.1 0.1 1 2 2"),
        (r"echo \${lr} $lr ${flags[0]} ${flags[1]}", "echo ${lr} $lr true None"),
        ("run ${train}", "run --epochs 3 --opt.name 'a b' --opt.on --opt.l 1 'x y'"),
        ("'${lr}'", "0.1"),
        ("['a ${lr}', b]", ("a 0.1", "b")),
    ],
)
def test_templates(command: str, expected: object) -> None:
    assert cmd(command) == expected


def test_how_mappings_become_options_is_configured() -> None:
    assert cmd("run ${train.opt}", bool="boolean_optional", list="append") == (
        "run --name 'a b' --on --no-off --l 1 --l 'x y'"
    )


def test_values_used_from_files_are_remembered() -> None:
    text = "vars: [{own: 1}, 'cfg.yaml:x']\nstages:\n  s: {cmd: '${own} ${x} ${train.epochs} ${train.opt}', deps: ['${data.raw}']}\n"
    assert parse(text).stages["s"].used_vars == {
        "cfg.yaml": {"x": 5},
        "params.yaml": {"train.epochs": 3, "data.raw": "raw.csv"},
    }
    local = "stages:\n  s: {cmd: '${lr}', wdir: sub, vars: [{q: 1}, ../cfg.yaml]}\n"
    assert parse(local).stages["s"].used_vars == {"params.yaml": {"lr": 0.1}}
    below = parse("stages:\n  s: {cmd: '${lr}'}\n", "sub/dvc.yaml").stages["s"]
    assert (below.cmd, below.used_vars, below.wdir) == ("7", {"sub/params.yaml": {"lr": 7}}, "sub")


def test_a_params_file_is_not_read_without_need() -> None:
    def read(path: str) -> str | None:
        raise AssertionError(path)

    assert dvcyaml.parse("stages:\n  s: {cmd: x}\n", "dvc.yaml", read=read).stages["s"].cmd == "x"


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("{foreach: [a, 1, true, null], do: {cmd: '${item}'}}", {"a": "a", "1": "1", "true": "true", "None": "None"}),
        ("{foreach: '${flags}', do: {cmd: '${item}'}}", {"True": "true", "None": "None", "1.0": "1.0"}),
        ("{foreach: [{x: 1}, {x: 2}], do: {cmd: 'r ${item.x}'}}", {"0": "r 1", "1": "r 2"}),
        ("{foreach: '${models}', do: {cmd: '${key} ${item.x}'}}", {"a": "a 1", "b": "b true"}),
        ("{foreach: {u: '${lr}'}, do: {cmd: '${key} ${item}'}}", {"u": "u 0.1"}),
        ("{foreach: [a, a], do: {cmd: x}}", {"a": "x"}),
        (
            "{matrix: {m: [cnn, 1], o: [{z: 1}, {z: 2}]}, cmd: '${item.m} ${item.o.z} ${key}'}",
            {"cnn-o0": "cnn 1 cnn-o0", "cnn-o1": "cnn 2 cnn-o1", "1-o0": "1 1 1-o0", "1-o1": "1 2 1-o1"},
        ),
        ("{matrix: {m: '${lst}'}, cmd: '${item.m}'}", {"1": "1", "2": "2"}),
    ],
)
def test_generated_stages(stage: str, expected: dict[str, str]) -> None:
    stages = parse(f"stages:\n  g: {stage}\n").stages
    assert {name: spec.cmd for name, spec in stages.items()} == {f"g@{key}": value for key, value in expected.items()}


def test_a_matrix_cannot_explode() -> None:
    axes = ", ".join(f"v{i}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" for i in range(9))
    with pytest.raises(FormatError, match="more than 10000"):
        parse(f"stages:\n  g: {{matrix: {{{axes}}}, cmd: x}}\n")


DVC_WROTE = """\
stages:
  prep:
    cmd: cp raw.txt data.txt
    deps:
    - raw.txt
    params:
    - lr
    - train.epochs
    - other.json:
      - a
      - b
    - whole.yaml:
    outs:
    - data.txt
"""
PREP = StageSpec(
    "dvc.yaml",
    "prep",
    "cp raw.txt data.txt",
    deps=("raw.txt",),
    params=(
        ParamSpec("whole.yaml", None),
        ParamSpec("params.yaml", ("train.epochs", "lr")),
        ParamSpec("other.json", ("b", "a")),
    ),
    outs=(OutSpec("data.txt"),),
)


def test_a_stage_is_added_as_dvc_adds_it() -> None:
    assert dvcyaml.add_stage(None, "dvc.yaml", PREP, force=False) == DVC_WROTE
    other = dataclasses.replace(
        PREP, name="b", file="dvc.yaml", wdir="sub", outs=(OutSpec("m", kind="metric", cache=False),)
    )
    two = dvcyaml.add_stage(DVC_WROTE + "# end\n", "dvc.yaml", other, force=False)
    assert two.startswith(DVC_WROTE)
    assert two.endswith("# end\n")
    assert "    wdir: sub\n" in two
    assert "    metrics:\n    - m:\n        cache: false\n" in two
    assert parse(two).stages["b"].outs == other.outs
    assert dvcyaml.remove_stage(two, "dvc.yaml", "b") == DVC_WROTE + "# end\n"
    assert dvcyaml.remove_stage(DVC_WROTE, "dvc.yaml", "prep") is None
    assert dvcyaml.remove_stage(DVC_WROTE + "metrics: [a]\n", "dvc.yaml", "prep") == "metrics: [a]\n"


def test_an_existing_stage_wants_force_and_keeps_comments() -> None:
    text = DVC_WROTE.replace("- raw.txt\n", "- raw.txt  # from afar\n")
    new = dataclasses.replace(PREP, cmd="new")
    with pytest.raises(PyexpError, match=r"stage 'prep' already exists in 'dvc\.yaml'") as caught:
        dvcyaml.add_stage(text, "dvc.yaml", new, force=False)
    assert "--force" in str(caught.value.hint)
    assert dvcyaml.add_stage(text, "dvc.yaml", new, force=True) == text.replace("cp raw.txt data.txt", "new")


def test_flags() -> None:
    frozen = dvcyaml.set_flag(DVC_WROTE, "dvc.yaml", "prep", "frozen", True)
    assert frozen == DVC_WROTE + "    frozen: true\n"
    assert dvcyaml.set_flag(frozen, "dvc.yaml", "prep", "frozen", False) == DVC_WROTE
    assert dvcyaml.set_flag(DVC_WROTE, "dvc.yaml", "prep", "frozen", False) == DVC_WROTE
    with pytest.raises(PyexpError, match="no stage 'pref'") as caught:
        dvcyaml.set_flag(DVC_WROTE, "dvc.yaml", "pref", "frozen", True)
    assert "did you mean 'prep'" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["a b", "train-2_x", "é"])
def test_good_stage_names(name: str) -> None:
    dvcyaml.check_stage_name(name)


@pytest.mark.parametrize("name", ["", "a@b", "a/b", "a:b", "a.b", "$x", "a\n"])
def test_bad_stage_names(name: str) -> None:
    with pytest.raises(PyexpError):
        dvcyaml.check_stage_name(name)


PIPELINE = """\
vars:
- cfg: {n: 3}
stages:
  prep:
    cmd: cp raw.txt ${out}
    deps: [raw.txt]
    params: [lr, train, {other.yaml: }]
    outs: ['${out}']
  each:
    foreach: ${models}
    do:
      cmd: mkdir ${key} && echo ${item.lr} ${cfg.n} 'it''s a rather long command line' > ${key}/f && echo ${train} > m-${key}.json
      deps: ['${out}']
      outs: ['${key}']
      metrics: ['m-${key}.json': {cache: false}]
"""


@pytest.mark.dvc
def test_real_dvc_resolves_and_locks_the_same(tmp_path: Path, dvc: str) -> None:
    """What DVC wrote into its lock is what we resolve, and we write its lock byte for byte."""
    files = {
        "dvc.yaml": PIPELINE,
        "raw.txt": "raw\n",
        "params.yaml": "lr: 1e-5\nout: d.txt\ntrain: {e: 1, 'n': 'a b', t: [1, yes], 'nul': null}\nmodels: {a: {lr: 0.10}, b: {lr: true}}\n",
        "other.yaml": "x: 1\n'2': {d: [[1, 'x: y']]}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh"}
    for command in (["init", "--no-scm", "-q"], ["repro", "-q"]):
        subprocess.run([dvc, *command], cwd=tmp_path, env=environment, check=True, timeout=120)
    text = (tmp_path / "dvc.lock").read_text()
    locks = lockfile.parse_lock(text, "dvc.lock")
    parsed = dvcyaml.parse(PIPELINE, "dvc.yaml", read=files.get)
    assert {name: lock.cmd for name, lock in locks.items()} == {name: spec.cmd for name, spec in parsed.stages.items()}
    assert lockfile.update_lock(None, "dvc.lock", locks) == text
    rest = {name: lock for name, lock in locks.items() if name != "prep"}
    again = lockfile.update_lock(lockfile.update_lock(None, "dvc.lock", {"prep": locks["prep"]}), "dvc.lock", rest)
    assert again == text
