"""Bad input gets one line on stderr that names the file, line or key and the way out; nothing is lost."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dulwich.repo import Repo
from space import Command, files_of


def state(root: Path) -> tuple[dict[str, bytes], dict[bytes, bytes], bytes]:
    """All that must survive a mistake: the workspace's files, every ref, the index."""
    with Repo(str(root)) as repo:
        # refs/pyexp/ keeps the commits of tasks that wait or failed; it is not the user's.
        refs = {ref: sha for ref, sha in repo.refs.as_dict().items() if not ref.startswith(b"refs/pyexp/")}
    index = root / ".git" / "index"
    return files_of(root), refs, index.read_bytes() if index.exists() else b""


@contextmanager
def nothing_lost(root: Path) -> Iterator[None]:
    before = state(root)
    yield
    assert state(root) == before


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# -- names that name nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["repro"], ["exp", "run"], ["status"], ["exp", "run", "--queue"]])
def test_an_unknown_stage(small: Path, pyexp: Command, command: list[str]) -> None:
    with nothing_lost(small):
        pyexp(*command, "tran").refused("'tran'", "train")


@pytest.mark.parametrize("verb", [["apply"], ["branch"], ["remove"], ["rename", "--force"]])
def test_an_unknown_experiment(small: Path, pyexp: Command, verb: list[str]) -> None:
    extra = ["other"] if verb[0] in ("rename", "branch") else []
    with nothing_lost(small):
        pyexp("exp", *verb, "exp-nosuch", *extra).refused("'exp-nosuch'", " - ")


@pytest.mark.parametrize(
    "command",
    [
        ["exp", "diff", "nosuch"],
        ["exp", "show", "--rev", "nosuch"],
        ["params", "diff", "nosuch"],
        ["metrics", "diff", "nosuch"],
        ["exp", "gc", "--rev", "nosuch"],
        ["gc", "--rev", "nosuch"],
    ],
    ids=" ".join,
)
def test_an_unknown_revision(small: Path, pyexp: Command, command: list[str]) -> None:
    with nothing_lost(small):
        pyexp(*command).refused("nosuch")


@pytest.mark.parametrize(
    "command",
    [
        ["nosuch"],
        ["--nosuch"],
        ["exp", "nosuch"],
        ["exp"],
        ["exp", "run", "--nosuch"],
        ["exp", "apply"],
        ["exp", "run", "-j", "0", "--run-all"],
        ["exp", "run", "-S", "lr=1,2"],
        ["exp", "run", "-S", "lr"],
        ["gc"],
        ["exp", "gc"],
        ["--cd", "nosuch", "status"],
        ["exp", "show", "--sort-by", "nosuch"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense(small: Path, pyexp: Command, command: list[str]) -> None:
    with nothing_lost(small):
        pyexp(*command).refused(code=2)


# -- pipeline files ----------------------------------------------------------------------------------------------

BROKEN = {
    "YAML that does not parse": ("    cmd: cp raw.txt", "    cmd: [cp raw.txt", ["dvc.yaml:"]),
    "a tab": ("    deps:\n      - raw.txt", "\tdeps:\n      - raw.txt", ["dvc.yaml:4"]),
    "an unknown key": ("    deps:\n      - raw.txt", "    dep:\n      - raw.txt", ["dvc.yaml:4", "'dep'", "deps"]),
    "no command": ("    cmd: cp raw.txt data.txt\n", "", ["dvc.yaml:", "copy", "cmd"]),
    "a key twice": ("  train:\n", "  copy:\n", ["dvc.yaml:8", "copy"]),
    "a cycle": ("      - raw.txt", "      - model.txt", ["copy", "train"]),
    "an output of two stages": (
        "      - model.txt",
        "      - model.txt\n      - data.txt",
        ["data.txt", "copy", "train"],
    ),
    "an output in another": ("      - model.txt", "      - data.txt/model.txt", ["data.txt", "copy", "train"]),
    "an output outside": ("      - model.txt", "      - ../model.txt", ["../model.txt"]),
    "a template of nothing": ("python train.py", "python ${nosuch}", ["dvc.yaml", "nosuch"]),
}


@pytest.mark.parametrize("command", ["repro", "exp run", "status", "dag", "exp run --queue"])
@pytest.mark.parametrize("mistake", BROKEN)
def test_a_pipeline_file_that_cannot_be(small: Path, pyexp: Command, mistake: str, command: str) -> None:
    old, new, expected = BROKEN[mistake]
    edit(small / "dvc.yaml", old, new)
    with nothing_lost(small):
        pyexp(*command.split()).refused(*expected)


def test_params_that_do_not_parse(small: Path, pyexp: Command) -> None:
    edit(small / "params.yaml", "  epochs: 3", "  epochs: [3")
    with nothing_lost(small):
        pyexp("repro").refused("params.yaml:")
        pyexp("exp", "run", "-S", "lr=2").refused("params.yaml:")


def test_a_lock_file_that_does_not_parse(small: Path, pyexp: Command) -> None:
    edit(small / "dvc.lock", "stages:\n", "stages: {\n")
    with nothing_lost(small):
        pyexp("repro").refused("dvc.lock:")
        pyexp("gc", "--workspace").refused("dvc.lock:")


def test_a_lock_file_that_names_something_outside(small: Path, pyexp: Command) -> None:
    secret = small.parent / "secret"
    secret.write_text("secret\n")
    text = (small / "dvc.lock").read_text()
    head, _, tail = text.rpartition("xxh128: ")
    (small / "dvc.lock").write_text(f"{head}xxh128: ../../../../secret\n{tail.partition(chr(10))[2]}")
    with nothing_lost(small):
        pyexp("checkout", "--force").refused("dvc.lock")


# -- running -----------------------------------------------------------------------------------------------------


def test_a_missing_dependency(small: Path, pyexp: Command) -> None:
    (small / "raw.txt").unlink()
    with nothing_lost(small):
        pyexp("repro").refused("raw.txt", "copy")
        pyexp("exp", "run").refused("raw.txt", "copy")


def test_a_command_that_fails_in_the_workspace(small: Path, pyexp: Command) -> None:
    good = (small / "train.py").read_bytes()
    (small / "train.py").write_text("import sys\nprint('why it failed', flush=True)\nsys.exit(7)\n")
    files, refs, index = state(small)
    done = pyexp("exp", "run", "-S", "lr=0.5")
    done.refused("train", "7")
    assert "why it failed" in done.out
    after, refs_after, index_after = state(small)
    assert refs_after == refs, "a failed run made an experiment"
    assert index_after == index
    # The param that was set stays, and everything that is not an output of the failed stage is as it was.
    assert after["params.yaml"] == b"lr: 0.5  # how fast\ntrain:\n  epochs: 3\n"
    for relpath in files.keys() - {"params.yaml", "model.txt", "metrics.json", "dvc.lock"}:
        assert after[relpath] == files[relpath], relpath
    # The way out: fix it and run again.
    (small / "train.py").write_bytes(good)
    pyexp("exp", "run").check("Ran experiment(s): ")


def test_a_queued_command_that_fails(small: Path, pyexp: Command) -> None:
    (small / "train.py").write_text("import sys\nprint('why it failed', flush=True)\nsys.exit(7)\n")
    with nothing_lost(small):
        pyexp("exp", "run", "--queue", "-n", "bad", "-S", "lr=0.5").check()
        pyexp("exp", "run", "--run-all").refused("bad", "pyexp queue logs bad")
        pyexp("queue", "logs", "bad").check("why it failed")
        assert "Failed" in pyexp("queue", "status").check("bad").out


def test_a_command_that_is_killed(small: Path, pyexp: Command) -> None:
    (small / "train.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    done = pyexp("repro")
    assert done.code == 1
    # The shell may say a word of its own before.
    assert re.fullmatch(r"ERROR: .*'train'.*(-9|137|SIGKILL).*", done.err.splitlines()[-1]), done.err


def test_a_command_that_makes_no_output(small: Path, pyexp: Command) -> None:
    (small / "train.py").write_text("open('metrics.json', 'w').write('{}')\n")
    pyexp("repro").refused("model.txt", "train")


# -- git -----------------------------------------------------------------------------------------------------------


def test_no_project(pyexp: Command) -> None:
    for command in ("status", "repro", "exp run", "exp show", "gc -w", "add x"):
        pyexp(*command.split()).refused("pyexp init")


def test_no_project_is_needed_to_look_at_files(pyexp: Command, tmp_path: Path) -> None:
    """In any git repository, and, where nothing is compared, in any directory; nothing is left behind."""
    pyexp.env["TMPDIR"] = str(tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    (pyexp.cwd / "metrics.json").write_text('{"acc": 0.5}\n')
    (pyexp.cwd / "params.yaml").write_text("lr: 0.1\n")
    (pyexp.cwd / "sub").mkdir()
    pyexp("metrics", "show", "metrics.json").check("metrics.json  0.5")
    pyexp("params", "diff").refused("is in no git repository")
    pyexp.shell("pyexp git init && pyexp git add . && pyexp git commit -m Start").check()
    (pyexp.cwd / "params.yaml").write_text("lr: 0.25\n")
    (pyexp.cwd / "metrics.json").write_text('{"acc": 0.75}\n')
    before = files_of(pyexp.cwd)
    pyexp("params", "diff").check("params.yaml  lr       0.1     0.25")
    pyexp("metrics", "diff", "--targets", "metrics.json").check("metrics.json  acc       0.5     0.75         0.25")
    pyexp("plots", "show", "nothing.csv", "--json").check("is no plot and no file")
    pyexp("exp", "show").refused("no pyexp or DVC project", "pyexp init")
    pyexp("plots", "modify", "metrics.json", "-x", "a").refused("no pyexp or DVC project")
    pyexp.cwd = pyexp.cwd / "sub"
    pyexp("metrics", "diff", "--targets", "../metrics.json").check("../metrics.json  acc")
    pyexp("metrics", "show", "../../home").refused("is outside")
    assert files_of(pyexp.cwd.parent) == before
    assert sorted(path.name for path in pyexp.cwd.parent.iterdir()) == [".git", "metrics.json", "params.yaml", "sub"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_no_git_repository(pyexp: Command) -> None:
    pyexp("init").refused("pyexp git init")
    assert list(pyexp.cwd.iterdir()) == []
    pyexp("init", "--no-scm").check()
    for command in ("exp run", "exp show", "exp apply x"):
        pyexp(*command.split()).refused("git init")
    pyexp("git", "status").refused("pyexp git init")


def test_no_commit_yet(small: Path, pyexp: Command) -> None:
    pyexp.cwd = small.parent / "fresh"
    pyexp.cwd.mkdir()
    pyexp.shell("pyexp git init && pyexp init").check()
    for name in ("raw.txt", "params.yaml", "dvc.yaml", "train.py"):
        (pyexp.cwd / name).write_bytes((small / name).read_bytes())
    with nothing_lost(pyexp.cwd):
        pyexp("exp", "run").refused("commit", "pyexp git commit")
        pyexp("exp", "run", "--queue").refused("commit", "pyexp git commit")
        pyexp("exp", "apply", "x").refused()


def test_no_identity(small: Path, pyexp: Command) -> None:
    for name in [name for name in pyexp.env if name.startswith("GIT_")]:
        del pyexp.env[name]
    (small / "note").write_text("note\n")
    pyexp("git", "add", "note").check()
    with nothing_lost(small):
        pyexp("git", "commit", "-m", "Note").refused("user.name", "pyexp git config")
    # An experiment is not refused for want of a name.
    pyexp("exp", "run", "-S", "lr=2").check("Ran experiment(s): ")
    pyexp.shell("pyexp git config user.name Ada && pyexp git config user.email ada@example.com").check()
    pyexp("git", "commit", "-m", "Note").check()


# -- params and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [[], ["--queue"], ["--temp"]], ids=["here", "queue", "temp"])
def test_set_param_of_a_missing_key(small: Path, pyexp: Command, where: list[str]) -> None:
    with nothing_lost(small):
        done = pyexp("exp", "run", *where, "-S", "train.epoch=5")
        done.refused("train.epoch", "+train.epoch", code=done.code)
        assert done.code in (1, 2)
        listed = pyexp("queue", "status").check()
        assert "Queued" not in listed.out


def test_set_param_in_a_missing_file(small: Path, pyexp: Command) -> None:
    with nothing_lost(small):
        done = pyexp("exp", "run", "-S", "nosuch.yaml:lr=5")
        done.refused("nosuch.yaml", code=done.code)
        done = pyexp("exp", "run", "-S", "../outside.yaml:+lr=5")
        done.refused("outside.yaml", code=done.code)
    assert not (small.parent / "outside.yaml").exists()


def test_a_name_that_is_taken(small: Path, pyexp: Command) -> None:
    pyexp("exp", "run", "-n", "first", "-S", "lr=0.5").check("Ran experiment(s): first")
    with nothing_lost(small):
        pyexp("exp", "run", "-n", "first", "-S", "lr=0.7").refused("'first'", "-f")
        pyexp("exp", "run", "--queue", "-n", "first").refused("'first'")
        pyexp("exp", "save", "-n", "first").refused("'first'")
    pyexp("exp", "run", "-f", "-n", "first", "-S", "lr=0.7").check("Ran experiment(s): first")


@pytest.mark.parametrize("name", ["a/b", "a b", "-x", "a..b", "a.lock", "a~1", "a:b", "", "x" * 300, "@{1}", "a\nb"])
def test_a_name_that_is_invalid(small: Path, pyexp: Command, name: str) -> None:
    with nothing_lost(small):
        done = pyexp("exp", "run", f"--name={name}", "-S", "lr=0.5")
        done.refused(code=done.code)
        assert done.code in (1, 2)


# -- data ------------------------------------------------------------------------------------------------------------


def test_adding_what_is_not_there(small: Path, pyexp: Command) -> None:
    with nothing_lost(small):
        pyexp("add", "nosuch").refused("nosuch")
        pyexp("add", "../outside").refused("outside")


def test_adding_an_output_of_a_stage(small: Path, pyexp: Command) -> None:
    with nothing_lost(small):
        pyexp("add", "model.txt").refused("model.txt", "train")


def test_adding_what_git_tracks(small: Path, pyexp: Command) -> None:
    with nothing_lost(small):
        pyexp("add", "raw.txt").refused("raw.txt", "git")


def test_checkout_does_not_overwrite_unsaved_bytes(small: Path, pyexp: Command) -> None:
    (small / "model.txt").chmod(0o644)
    (small / "model.txt").write_text("mine\n")
    with nothing_lost(small):
        pyexp("checkout").refused("model.txt", "--force")
    pyexp("checkout", "--force").check()
    assert (small / "model.txt").read_text() == "raw\n" * 3


def test_apply_does_not_overwrite_unsaved_bytes(small: Path, pyexp: Command) -> None:
    pyexp("exp", "run", "--temp", "-n", "other", "-S", "train.epochs=5").check()
    (small / "params.yaml").write_text("lr: 9  # mine\ntrain:\n  epochs: 3\n")
    with nothing_lost(small):
        pyexp("exp", "apply", "other").refused("params.yaml")
