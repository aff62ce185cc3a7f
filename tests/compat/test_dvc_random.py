"""Random pipelines, params and YAML: the same verdicts, the same bytes and the same rows as DVC.

PYEXP_TEST_SEEDS=N tries N random projects instead of two.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import randomly
from test_dvc_experiments import without_executors, wordless
from twins import Work, environment, interpreter, plain, start

from pyexp.errors import FormatError
from pyexp.formats import yamlfile

pytestmark = pytest.mark.dvc

SEEDS = range(int(os.environ.get("PYEXP_TEST_SEEDS", "2")))
ROUNDS = 2


def agree(theirs: Work, ours: Work, note: object) -> None:
    """Both left the same files and the same cache behind."""
    expected, found = theirs.files(), ours.files()
    assert sorted(found) == sorted(expected), note
    for path, data in expected.items():
        assert found[path] == data, (note, path, changes(data[0], found[path][0]))
    wanted, kept = theirs.cache(), ours.cache()
    # What a run replaces is kept first: pyexp's cache may hold more.
    assert {path: data for path, data in kept.items() if path in wanted or path.startswith("runs/")} == wanted, note


def changes(old: bytes, new: bytes) -> list[str]:
    return [line for line in difflib.ndiff(*(text.decode().splitlines() for text in (old, new))) if line[0] != " "]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_projects(tmp_path: Path, dvc: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    project = randomly.Project(seed)
    theirs = start(tmp_path / "dvc", dvc, project.files)
    ours = theirs.twin("pyexp")
    works = {"dvc": theirs, "pyexp": ours}
    for tool, work in works.items():
        work.tool(tool, "repro")
        work.commit("ran")
    agree(theirs, ours, seed)
    for number in range(ROUNDS):
        note: list[Any] = [seed, number]
        before = copy.deepcopy(project.stages)
        for work in works.values():
            project.stages = copy.deepcopy(before)
            note[2:] = randomly.change(work, project, random.Random(f"{seed} {number}"))
        verdicts = [plain(work.tool(tool, "status", "--json").json()) for tool, work in works.items()]
        assert verdicts[1] == verdicts[0], note
        they, we = (work.tool(tool, "repro", code=None) for tool, work in works.items())
        assert (we.code == 0) == (they.code == 0), (note, they.err, we.err)
        assert ran(we.out) == ran(they.out), note
        agree(theirs, ours, note)
        for work in works.values():
            work.commit("ran again")
    for tool, work in works.items():
        work.tool(tool, "exp", "run", "-q", "-n", "one", "-S", "safe.one=7")
        work.git("checkout", "-q", "--", ".")
    assert rows(theirs, "dvc") == rows(theirs, "pyexp")
    assert rows(ours, "dvc") == rows(ours, "pyexp")


def ran(out: str) -> list[str]:
    return sorted(re.findall(r"Running stage '(.+)'", out))


def rows(work: Work, tool: str) -> Any:
    shown = wordless(without_executors(work.tool(tool, "exp", "show", "--json", "-A").json()))
    for row in [*shown, *(exp["revs"][0] for top in shown for exp in top["experiments"])]:
        row["data"]["params"].pop("code.py", None)  # `exp show` of DVC fails on classes: AttributeError
    return shown


THEIRS = """
import io, json, sys
from ruamel.yaml import YAML
from dvc.utils.serialize import parse_yaml
from dvc.utils.serialize._yaml import dumps_yaml
answers = []
for text in json.load(sys.stdin):
    try:
        data = parse_yaml(text, "p.yaml")
    except Exception as error:
        answers.append(["error", type(error).__name__])
    else:
        answers.append(["ok", repr(data), dumps_yaml(data)])
print(json.dumps(answers))
"""
PIECES = [
    *"0123456789abeExXoOnNtTfFyY+-._:,#'\"~ =<>*?|%@`{}[]\\/$",
    *("0x", "0o", "0b", "1_0", "1e", ".inf", ".NaN", "null", "Null", "true", "TRUE", "yes", "off", "2001-12-14", "T21:59:43.10", "-05:00", "Z", " #", ": ", "<<", "é"),
]  # fmt: skip


def scalar(rng: random.Random) -> str:
    text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 5)))
    return rng.choice(
        [
            text,
            text,
            text,
            f"'{text}'",
            f'"{text}"',
            f"[{text}]",
            f"{{{text}: 1}}",
            f"|\n  {text}\n",
            f"{text}\n  {text}",
        ]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_random_yaml_is_read_and_written_as_ruamel_does(dvc: str, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    texts = [f"k: {scalar(rng)}\n" for _ in range(2000)]
    done = subprocess.run(
        [interpreter(dvc), "-c", THEIRS],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    wrong = []
    for text, theirs in zip(texts, json.loads(done.stdout), strict=True):
        ours = mine(text)
        if ours[: len(theirs)] != theirs and not known(text, theirs[0], ours[0]):
            wrong.append((text, theirs, ours))
    assert wrong == []


# What ruamel fails on with an error of its own, and is text in YAML 1.2.
LENIENT = re.compile(r"(?:^|[\[{ ])(?:=|<<|(?:[-+.]|0[xob])*_[_.]*)(?:$|[\]},: ])|[|>][-+0-9]*#", re.MULTILINE)
# Colons at the edge of an item in [] and {}, which libyaml does not take.
STRICT = re.compile(r"[\[{,] *:|:[\]},]")


def known(text: str, theirs: str, ours: str) -> bool:
    if r"\N" in text:
        return True  # ruamel writes a line break that it then reads as a blank
    if theirs == "error":
        return ours == "error" or LENIENT.search(text) is not None
    return ours == "error" and STRICT.search(text) is not None


def mine(text: str) -> list[str]:
    try:
        data = yamlfile.load(text, "p.yaml")
        return ["ok", repr(data), yamlfile.dump(data)]
    except FormatError as error:
        return ["error", str(error)]
