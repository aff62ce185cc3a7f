"""Every command and option of DVC's is there, or named here with the reason why not."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from twins import environment, interpreter

from pyexp.cli import main

pytestmark = pytest.mark.dvc

THEIRS = """
import argparse, json
from dvc.cli.parser import get_main_parser
found = {}
def walk(parser, name):
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for word, below in group.choices.items():
            walk(below, f"{name} {word}".strip())
    if not groups:
        found[name] = [option for action in parser._actions for option in action.option_strings if action.help != argparse.SUPPRESS]
walk(get_main_parser(), "")
print(json.dumps(found))
"""

# Commands we do not have, by their first words.
ABSENT = {
    "git-hook": "there, as one command: test_dvc_hooks.py",
    "daemon": "nothing runs in the background but workers that were asked for",
    "studio": "a service of DVC's makers",
    "machine": "gone from DVC itself but for the parser",
    "dataset": "hidden in DVC, too",
    "ds": "the same",
    "import-db": "needs DVC's database packages",
    "test-db": "the same",
    "exp exec-run": "internal to DVC",
    "exp queue-worker": "the same",
    "experiments exec-run": "the same",
    "experiments queue-worker": "the same",
}
OPTIONS = {
    ("import-url", "--version-aware"): "objects are kept by their hash, not by versions of a bucket (docs/remotes.md)",
    ("exp rename", "-g"): "DVC takes it and renames the local experiment (FORMATS.md §7 #36)",
    ("exp rename", "--git-remote"): "the same",
    ("gc", "--skip-failed"): "gc with an unreadable revision deletes what that needs: it is refused",
}


def theirs(dvc: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [interpreter(dvc), "-c", THEIRS], capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def ours(name: str) -> Any:
    words = name.split(" ")
    words[0] = main.ALIASES.get(words[0], words[0])
    known = main.ALIASES.get(" ".join(words), " ".join(words))
    if known not in main.TABLE:
        return None
    return {option for action in main.build_parser(known)._actions for option in action.option_strings}


def test_every_option_of_dvc_is_there(dvc: str) -> None:
    missing = []
    for name, options in sorted(theirs(dvc).items()):
        found = ours(name)
        if found is None and not any(name == absent or name.startswith(f"{absent} ") for absent in ABSENT):
            missing.append(name)
        elif found is not None:
            first = name.replace("experiments ", "exp ", 1)
            missing += [
                f"{name} {option}" for option in options if option not in found and (first, option) not in OPTIONS
            ]
    assert missing == []
