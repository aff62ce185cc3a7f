"""The documents' commands work: docs/tutorial.md is typed as it stands, by the code of examples/demo.py."""

import re
import shlex
import string
from pathlib import Path

import demo
import make_commands
import pytest
import servers
from dulwich.repo import Repo
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


@pytest.fixture
def documented(pyexp: Command) -> Path:
    """The small project that docs/queue.md and docs/embedding.md speak of: a param ``lr`` and a stage ``train``."""
    root = pyexp.cwd
    (root / "params.yaml").write_text("lr: 0.5\ntrain:\n  epochs: 3\n")
    (root / "train.py").write_text(
        "import json\n"
        "lr = float(open('params.yaml').readline().split()[1])\n"
        "open('model.txt', 'w').write(str(lr))\n"
        "json.dump({'loss': 1 / lr}, open('scores.json', 'w'))\n"
    )
    (root / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python3 train.py\n    deps: [train.py]\n    params: [lr, train.epochs]\n"
        "    outs: [model.txt]\n    metrics:\n    - scores.json:\n        cache: false\n"
    )
    pyexp("git", "init").check()
    pyexp("init").check()
    pyexp("git", "add", ".").check()
    pyexp("git", "commit", "-m", "base").check()
    return root


@pytest.mark.slow
def test_the_queue_document(documented: Path, pyexp: Command) -> None:
    for typed, shown in demo.steps((ROOT / "docs" / "queue.md").read_text(encoding="utf-8")):
        done = pyexp(*shlex.split(typed)[1:])
        assert done.code == 0, f"{typed}: {done.err}"
        for line in shown:
            printed = done.out.splitlines()
            if line.startswith("Ran experiment"):  # in the order in which they end
                (line,) = [found for found in printed if found.startswith("Ran experiment")]
                assert sorted(line.removeprefix("Ran experiment(s): ").split(", ")) == [
                    "slow",
                    *(f"sweep-{number}" for number in range(1, 5)),
                ]
            assert line in printed, f"{typed} does not print {line!r}:\n{done.out}"
    assert pyexp("queue", "status").check().out.count("Success") == 6


def test_the_undo_document(documented: Path, pyexp: Command) -> None:
    pyexp("repro").check()
    pyexp.shell("pyexp git add . && pyexp git commit -m done").check()
    for typed, shown in demo.steps((ROOT / "docs" / "undo.md").read_text(encoding="utf-8")):
        pyexp(*shlex.split(typed)[1:]).check(*shown)


def test_the_document_of_git_hooks(documented: Path, pyexp: Command) -> None:
    (documented / "data").mkdir()
    (documented / "data" / "a").write_text("a\n")
    pyexp("add", "data").check()
    for typed, shown in demo.steps((ROOT / "docs" / "git-hooks.md").read_text(encoding="utf-8")):
        done = pyexp.shell(typed)
        assert done.code == 0, f"{typed}: {done.err}"
        for line in shown:
            assert line in (done.out + done.err).splitlines(), f"{typed} does not print {line!r}:\n{done.out}{done.err}"


@pytest.mark.slow
def test_the_plots_document(documented: Path, pyexp: Command) -> None:
    text = (ROOT / "docs" / "plots.md").read_text(encoding="utf-8")
    (pipeline,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (documented / "dvc.yaml").write_text(pipeline)
    (documented / "train.py").write_text(
        "lr = float(open('params.yaml').readline().split()[1])\n"
        "open('training.csv', 'w').write('step,loss\\n' + ''.join(f'{n},{lr / (n + 1)}\\n' for n in range(9)))\n"
    )
    (documented / "valid.csv").write_text("step,loss\n" + "".join(f"{n},1\n" for n in range(9)))
    (documented / "classes.json").write_text('[{"actual": "cat", "predicted": "dog"}]')
    (documented / "dvclive/plots/metrics").mkdir(parents=True)
    (documented / "dvclive/plots/metrics/acc.tsv").write_text("step\tacc\n0\t1\n")
    pyexp("repro").check()
    pyexp.shell("pyexp git add . && pyexp git commit -m plots").check()
    for typed, shown in demo.steps(text):
        done = pyexp(*shlex.split(typed)[1:])
        assert (done.code, done.err) == (0, ""), f"{typed}: {done.err}"
        for line in shown:
            assert line in done.out.splitlines(), f"{typed} does not print {line!r}:\n{done.out}"
    assert (documented / "dvc.yaml").read_text() == pipeline


@pytest.mark.slow
def test_the_remotes_document(documented: Path, pyexp: Command, tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    for name in ("a", "b", "c"):
        (documented / "data").mkdir(exist_ok=True)
        (documented / "data" / name).write_text(f"{name} of it\n")
    pyexp("add", "data").check()
    pyexp("repro").check()
    (documented / "one.txt").write_text("one\n")
    pyexp("add", "one.txt").check()
    pyexp("git", "add", ".").check()
    pyexp("git", "commit", "-m", "data").check()
    (tmp_path / "server/bucket").mkdir(parents=True)
    with servers.s3(tmp_path / "server") as endpoint:
        (tmp_path / "origin").mkdir()
        Repo.init_bare(str(tmp_path / "origin"), default_branch=b"master").close()
        words = {"ENDPOINT": endpoint, "KEY": servers.KEY, "SECRET": servers.SECRET, "ORIGIN": str(tmp_path / "origin")}
        for typed, shown in demo.steps((ROOT / "docs" / "remotes.md").read_text(encoding="utf-8")):
            done = pyexp(*(string.Template(word).substitute(words) for word in shlex.split(typed)[1:]))
            assert done.code == 0, f"{typed}: {done.err}"
            for line in shown:
                assert line in done.out.splitlines(), f"{typed} does not print {line!r}:\n{done.out}"


@pytest.mark.slow
def test_the_embedding_document(documented: Path, pyexp: Command) -> None:
    text = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (documented / "embed.py").write_text(program)
    assert pyexp.shell("python3 embed.py").check().out.splitlines() == [
        "quarter ['train']",
        "['grid-1', 'grid-2', 'grid-3', 'grid-4']",
        "quarter 0.25",
        "train 1",
    ]
