"""Names in a stranger's files that lead where they must not: nothing is written outside, and nothing hangs."""

import os
from pathlib import Path

import pytest
from functional.stranger import HARMLESS, NAMES, Stranger

LONG = bool(os.environ.get("PYEXP_TEST_LONG"))
READERS = (
    "status",
    "data status --granular",
    "diff",
    "list . -R",
    "exp show --no-pager",
    "dag",
    "stage list",
    "doctor",
    "du .",
    "metrics show",
    "params diff",
    "git status",
    "plots show",
    "plots diff HEAD workspace",
)
WRITERS = (
    "checkout",
    "checkout --force",
    "pull",
    "fetch",
    "push",
    "commit --force",
    "repro",
    "exp run --temp",
    "exp save --force",
    "gc --workspace --force",
    "unprotect data",
)


def some(commands: tuple[str, ...], at: int, count: int) -> list[str]:
    """A part of the commands, another one for each ``at``: all of them with PYEXP_TEST_LONG."""
    return list(commands) if LONG else [commands[(at * count + k) % len(commands)] for k in range(count)]


def walk(stranger: Stranger, at: int) -> None:
    """Reads and writes, and looks whether anything outside has changed."""
    before = stranger.around()
    for command in (*some(READERS, at, 1), *some(WRITERS, at, 2)):
        stranger.run(*command.split())
        assert stranger.around() == before, command


# -- names -----------------------------------------------------------------------------------------------------------


def test_a_manifest(stranger: Stranger) -> None:
    for at, (kind, name) in enumerate(NAMES.items()):
        # More than one name: what comes first must not be written before the last is looked at.
        stranger.put_pointer("data", stranger.put_manifest(sorted({"good.txt", name})))
        walk(stranger, at)
        if kind in HARMLESS:
            stranger.run("checkout", "--force")
            assert (stranger.root / "data" / name).read_text() == "hostile\n", kind
        else:
            stranger.refused("checkout", "--force")
            assert not (stranger.root / "data/good.txt").exists(), kind
        stranger.run("checkout", "--force", "data.dvc")
        remove(stranger.root / "data")


def test_a_pointer_of_a_file(stranger: Stranger) -> None:
    hex = stranger.put_object(b"hostile\n")
    for at, (kind, name) in enumerate(NAMES.items()):
        stranger.put_pointer("data", hex, name)
        walk(stranger, at)
        if kind not in HARMLESS and kind not in ("two slashes", "dot first", "a slash", "deep"):
            stranger.refused("checkout", "--force", says="data.dvc")


def remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)


PLACES = {
    "out": "stages:\n  s:\n    cmd: touch made.txt\n    outs: [{}]\n",
    "metric": "stages:\n  s:\n    cmd: touch made.txt\n    metrics:\n    - {}: {{cache: false}}\n",
    "persistent out": "stages:\n  s:\n    cmd: touch made.txt\n    outs:\n    - {}: {{persist: true}}\n",
    "dep": "stages:\n  s:\n    cmd: touch made.txt\n    deps: [{}]\n    outs: [made.txt]\n",
    "wdir": "stages:\n  s:\n    cmd: touch made.txt\n    wdir: {}\n    outs: [made.txt]\n",
    "params file": "stages:\n  s:\n    cmd: touch made.txt\n    params:\n    - {}: [a]\n    outs: [made.txt]\n",
    "vars": "vars: [{}]\nstages:\n  s:\n    cmd: touch made.txt\n    outs: [made.txt]\n",
    "metrics file": "metrics: [{}]\n",
    "plot": "plots: [{}]\n",
    "plot of files": "plots:\n- p: {{y: {{{0}: a}}, template: {0}}}\n",
    "stage plot": "stages:\n  s:\n    cmd: touch made.txt\n    plots:\n    - {}: {{cache: false}}\n",
    "artifact": "artifacts:\n  a: {{path: {}}}\n",
    "stage": "stages:\n  {}:\n    cmd: touch made.txt\n    outs: [made.txt]\n",
    "foreach": "stages:\n  s:\n    foreach: [{}]\n    do:\n      cmd: touch made.txt\n      outs: ['${{item}}']\n",
    "matrix": "stages:\n  s:\n    matrix: {{a: [{}]}}\n    cmd: touch made.txt\n    outs: ['${{item.a}}']\n",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_pipeline_file(stranger: Stranger, place: str) -> None:
    """What its commands do is not looked at: they say nothing but ``touch made.txt``."""
    for at, (kind, name) in enumerate(NAMES.items()):
        if not LONG and at % 3 != list(PLACES).index(place) % 3:
            continue
        stranger.space.put("dvc.yaml", PLACES[place].format(yaml_text(name)))
        before = stranger.around()
        for command in (*some(READERS, at, 1), *some((*WRITERS, "exp run --queue", "queue status"), at, 2)):
            stranger.run(*command.split())
            after = stranger.around()
            after.pop(str(stranger.base / "outside/made.txt"), None)
            assert after == before, (kind, command)


def test_a_lock_file(stranger: Stranger) -> None:
    """A record whose paths, files of params and ids lead elsewhere."""
    hex = stranger.put_object(b"hostile\n")
    outs = "stages:\n  s:\n    cmd: touch made.txt\n    outs: [made.txt]\n    params: [lr]\n"
    record = (
        "schema: '2.0'\nstages:\n  s:\n    cmd: touch made.txt\n    params:\n      {0}:\n        lr: 1\n    outs:\n"
    )
    record += "    - path: {0}\n      hash: {1}\n      {1}: {2}\n"
    for at, name in enumerate(NAMES.values()):
        stranger.space.put("dvc.yaml", outs)
        stranger.space.put("dvc.lock", record.format(yaml_text(name), stranger.algo, hex))
        walk(stranger, at)
    for at, (algo, id) in enumerate(
        [
            (stranger.algo, "../../../../outside/secret.txt"),
            (stranger.algo, f"{hex}/../../x"),
            (stranger.algo, f"{hex}.dir.dir"),
            (stranger.algo, "/" + hex[1:]),
            (stranger.algo, hex + "\\n"),
            ("..", hex),
            ("../../outside", hex),
            ("", hex),
            ("path", hex),
            ("sha512", hex * 4),
            ("md5-dos2unix", hex),
        ]
    ):
        for text in (record.format("made.txt", yaml_text(algo), yaml_text(id)),):
            stranger.space.put("dvc.lock", text)
            walk(stranger, at)
            assert not (stranger.root / "made.txt").exists() or "secret" not in stranger.space.read("made.txt")


def yaml_text(text: str) -> str:
    import json

    return json.dumps(text)
