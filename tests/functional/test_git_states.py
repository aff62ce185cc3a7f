"""Experiments beside the workspace from every state a work tree can be in; index and HEAD keep their bytes."""

import os
import subprocess
from pathlib import Path

import pytest

import pyexp
from pyexp.git import repo, user

ONE = "stages:\n  one:\n    cmd: {cmd}\n    params: [n]\n    outs: [out.txt]\n"


@pytest.fixture
def one(make):
    def made(cmd: str = "cat params.yaml > out.txt", **files: str):
        return make(ONE.format(cmd=cmd), **{"params.yaml": "n: 0\n", **files})

    return made


def git(cwd: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=cwd, check=True, capture_output=True, text=True).stdout


def beside(root: Path, name: str = "beside") -> str:
    """Runs one experiment from the queue and one with temp, which must agree; returns the commit."""
    project = pyexp.find(root)
    pyexp.run(project, queue=True, params=["n=1"], name=name)
    summary = pyexp.run_all(project)
    assert (summary.done, summary.failed) == ([name], [])
    other = pyexp.run(project, params=["n=1"], name=f"{name}-temp", temp=True, sink=lambda data: None)
    found = project.require_git()
    sha = found.resolve(f"refs/exps/{other.baseline[:2]}/{other.baseline[2:]}/{name}")
    assert found.tree_of(sha) == found.tree_of(other.sha)
    project.close()
    return sha


def log_of(space, name: str = "beside") -> str:
    return space.cli("queue", "logs", name).stdout


def test_staged_and_unstaged_changes_are_part_of_it(one) -> None:
    space = one(
        "cat staged.txt unstaged.txt new.txt > out.txt; cat params.yaml", **{"staged.txt": "a\n", "unstaged.txt": "b\n"}
    )
    space.put("staged.txt", "A\n")
    space.put("new.txt", "N\n")
    with repo.discover(space.root) as found:
        user.add(found, ["staged.txt", "new.txt"])
    space.put("unstaged.txt", "B\n")
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before
    assert [space.file_at(sha, f"{name}.txt") for name in ("staged", "unstaged", "new")] == ["A\n", "B\n", "N\n"]


def test_deleted_and_renamed_files(one) -> None:
    space = one(
        "test ! -e old.txt && test ! -e gone.txt && cat moved.txt > out.txt", **{"old.txt": "o\n", "gone.txt": "g\n"}
    )
    (space.root / "gone.txt").unlink()
    (space.root / "old.txt").rename(space.root / "moved.txt")
    with repo.discover(space.root) as found:
        user.add(found, ["old.txt", "moved.txt"])
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before
    assert space.file_at(sha, "gone.txt") is None and space.file_at(sha, "moved.txt") == "o\n"


def test_executable_bits_and_symlinks(one) -> None:
    space = one("./run.sh && test -L link && cat link", **{"run.sh": "#!/bin/sh\ncat params.yaml > out.txt\n"})
    (space.root / "run.sh").chmod(0o755)
    (space.root / "link").symlink_to("params.yaml")
    space.commit("with a script and a link")
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before
    with repo.discover(space.root) as found:
        modes = {path: mode for path, (mode, _) in found.list_tree(found.tree_of(sha)).items()}
    assert (modes["run.sh"], modes["link"]) == (0o100755, 0o120000)
    # A bit set in the work tree only is taken along, too.
    space.put("late.sh", "#!/bin/sh\n")
    space.commit("one more")
    (space.root / "late.sh").chmod(0o755)
    sha = beside(space.root, "later")
    with repo.discover(space.root) as found:
        assert found.list_tree(found.tree_of(sha))["late.sh"][0] == 0o100755


def test_a_detached_head(one) -> None:
    space = one()
    base = (space.root / ".git/refs/heads/master").read_text()
    space.put("notes.txt", "x\n")
    space.commit("second")
    (space.root / ".git/HEAD").write_text(base)
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before
    with repo.discover(space.root) as found:
        assert found.commit(sha).parents == (base.strip(),)
        assert found.head().branch is None


def test_names_with_spaces_and_unicode(one) -> None:
    space = one("cat 'a dir/dätä ☃.txt' > out.txt", **{"a dir/dätä ☃.txt": "snow\n"})
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before and space.file_at(sha, "a dir/dätä ☃.txt") == "snow\n"


@pytest.mark.git
def test_a_shallow_clone(one, tmp_path: Path) -> None:
    space = one()
    space.put("notes.txt", "x\n")
    space.commit("second")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{space.root}", str(clone))
    before = (clone / ".git/HEAD").read_bytes(), (clone / ".git/index").read_bytes()
    beside(clone)
    assert ((clone / ".git/HEAD").read_bytes(), (clone / ".git/index").read_bytes()) == before
    assert git(clone, "status", "--porcelain") == ""
    git(clone, "fsck", "--full")


@pytest.mark.git
def test_a_linked_worktree(one, tmp_path: Path) -> None:
    space = one()
    linked = tmp_path / "linked"
    git(space.root, "worktree", "add", "-q", "-b", "side", str(linked))
    main_before = space.git_state()
    control = space.root / ".git/worktrees/linked"
    before = (control / "HEAD").read_bytes(), (control / "index").read_bytes()
    beside(linked)
    assert ((control / "HEAD").read_bytes(), (control / "index").read_bytes()) == before
    assert space.git_state() == main_before
    assert sorted(space.experiments()) == ["beside", "beside-temp"], "experiments belong to the whole repository"


@pytest.mark.git
def test_a_submodule_is_there_at_its_recorded_commit(one, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-q")
    (library / "lib.txt").write_text("recorded\n")
    git(library, "add", ".")
    git(library, "commit", "-q", "-m", "one")
    space = one("cat sub/lib.txt > out.txt; cat sub/lib.txt")
    git(space.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "sub")
    git(space.root, "commit", "-q", "-m", "with a submodule")
    before = space.git_state()
    sha = beside(space.root)
    assert space.git_state() == before
    assert "recorded" in log_of(space)
    with repo.discover(space.root) as found:
        assert found.list_tree(found.tree_of(sha))["sub"][0] == 0o160000


def test_an_edit_while_a_queued_run_goes_on_stays_the_users(one) -> None:
    space = one("sleep 0.5; cat params.yaml > out.txt")
    pyexp.run(space.project(), queue=True, params=["n=5"], name="slow")
    import threading

    thread = threading.Thread(target=lambda: pyexp.run_all(space.project()))
    thread.start()
    space.put("params.yaml", "n: 99\n")
    thread.join()
    assert space.read("params.yaml") == "n: 99\n"
    assert space.file_at(space.experiments()["slow"], "params.yaml") == "n: 5\n"
    assert not os.path.exists(space.root / "out.txt")
