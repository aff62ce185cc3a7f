"""The documents' commands work: docs/tutorial.md is typed as it stands, by the code of examples/demo.py."""

import re
import shlex
from pathlib import Path

import demo
import make_commands
import pytest
from space import ROOT, Command


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.slow
def test_the_tutorial_document(example: Path, pyexp: Command) -> None:
    steps = list(demo.steps(demo.TUTORIAL.read_text(encoding="utf-8")))
    assert len(steps) >= 15, "the blocks of the tutorial are not found any more"
    for typed, shown in steps:
        command = demo.command_of(typed, pyexp.env, example)
        done = pyexp.shell(command, timeout=240)
        assert done.code == 0, f"{command}: {done.err}"
        printed = done.out.splitlines()
        for line in shown:
            assert line in printed, f"{command} does not print {line!r}:\n{done.out}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_documents_name_exist(document: Path) -> None:
    from pyexp.cli.main import ALIASES, TABLE

    known = set(TABLE) | set(ALIASES) | {"git"}
    for typed, _ in demo.steps(document.read_text(encoding="utf-8")):
        for part in re.split(r"&&|#.*", typed):
            words = shlex.split(part)
            if words[:1] != ["pyexp"] or words[1].startswith("-") or words[1].isupper():
                continue
            assert words[1] in known or " ".join(words[1:3]) in known, f"{document.name}: {part}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_command_has_its_page() -> None:
    for file, text in make_commands.pages().items():
        page = ROOT / "docs" / "commands" / file
        assert page.exists() and page.read_text(encoding="utf-8") == text, (
            f"docs/commands/{file} is out of date: .venv/bin/python docs/make_commands.py"
        )
