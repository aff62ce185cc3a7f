"""Start-up is a list of modules, not a stopwatch: what a command has loaded by the time it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Slow to import, and no quick command needs them.
NEVER = {
    "asyncio",
    "concurrent.futures",
    "dulwich.cli",
    "dulwich.client",
    "dulwich.porcelain",
    "email",
    "fsspec",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "pkg_resources",
    "sqlite3",
    "ssl",
    "tomlkit",
    "urllib.request",
    "urllib3",
    "xml",
}
THIRD_PARTY = {"dulwich", "fsspec", "msgpack", "prettytable", "tomlkit", "urllib3", "wcwidth", "xxhash", "yaml"}

_DUMP = """
import json, sys
from pyexp.cli.main import main
code = main(sys.argv[2:])
json.dump([code, sorted(sys.modules)], open(sys.argv[1], "w"))
"""


def loaded(tmp_path: Path, cwd: Path, *argv: str) -> set[str]:
    """The modules that a command line has imported when it ends; asserts that it succeeds."""
    told = tmp_path / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", _DUMP, str(told), *argv],
        cwd=cwd,
        env={**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(told.read_text())
    assert code == 0, done.stdout + done.stderr
    return set(modules)


def bare(tmp_path: Path) -> set[str]:
    """What this Python has loaded before it runs anything (an environment's .pth files load things too)."""
    told = subprocess.run(
        [sys.executable, "-c", "import json, sys; print(json.dumps(sorted(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        check=True,
    )
    return set(json.loads(told.stdout))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed project of one stage, with an experiment, made by the command itself."""
    root = tmp_path_factory.mktemp("startup")
    scratch = tmp_path_factory.mktemp("scratch")
    (root / "params.yaml").write_text("lr: 1\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: echo 1 > m.json\n    params: [lr]\n"
        "    metrics:\n    - m.json:\n        cache: false\n"
    )
    for line in ("git init", "init", "repro", "git add .", "git commit -m Start", "exp run -S lr=2"):
        loaded(scratch, root, *line.split())
    return root


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["exp", "--help"]])
def test_help_and_version_load_nothing_of_others(tmp_path: Path, argv: list[str]) -> None:
    modules = loaded(tmp_path, tmp_path, *argv) - bare(tmp_path)
    assert modules & (NEVER | THIRD_PARTY) == set()
    assert not {name for name in modules if name.startswith(("pyexp.git", "pyexp.formats", "pyexp.objects"))}
    # The limit is a guard against creep: raise it knowingly.
    assert len(modules) < 60, sorted(modules)


@pytest.mark.parametrize("argv", [["status"], ["repro"], ["exp", "list"]])
def test_files_that_were_read_before_need_no_parser(tmp_path: Path, project: Path, argv: list[str]) -> None:
    loaded(tmp_path, project, *argv)
    modules = loaded(tmp_path, project, *argv) - bare(tmp_path)
    assert modules & {"yaml", "urllib3", "pyexp.pipeline.imports", "dulwich", "prettytable"} == set()


@pytest.mark.parametrize(
    ("argv", "third_party"),
    [
        (["status"], {"dulwich", "msgpack", "xxhash", "yaml"}),
        (["exp", "show", "--no-pager"], {"dulwich", "msgpack", "prettytable", "wcwidth", "xxhash", "yaml"}),
        (["exp", "show", "--json"], {"dulwich", "msgpack", "xxhash", "yaml"}),
        (["exp", "list"], {"dulwich", "msgpack", "xxhash", "yaml"}),
        (["exp", "diff"], {"dulwich", "msgpack", "prettytable", "wcwidth", "xxhash", "yaml"}),
    ],
)
def test_looking_loads_only_what_it_needs(
    tmp_path: Path, project: Path, argv: list[str], third_party: set[str]
) -> None:
    modules = loaded(tmp_path, project, *argv) - bare(tmp_path)
    assert modules & NEVER == set()
    assert modules & THIRD_PARTY <= third_party
