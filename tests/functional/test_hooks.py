"""``pyexp install``: what the git program does by the hooks and the merge driver."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space
from functional.test_remotes import ok, refused

pytestmark = pytest.mark.git
AS = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")


@pytest.fixture(params=["pyexp", "dvc"])
def space(request: pytest.FixtureRequest, make: Callable[..., Space]) -> Space:
    space = make(kind=request.param)
    for name in ("a", "b", "sub/c", "sub/d"):
        space.put(f"data/{name}", f"{name}\n")
    ok(space, "add", "data")
    space.put(".gitattributes", "*.dvc merge=dvc\n")
    space.commit("data")
    return space


def git(space: Space, *args: str, cwd: Path | None = None, code: int = 0) -> str:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["git", *AS, *args], cwd=cwd or space.root, env=env, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def branches(space: Space, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    """Two branches that change the data; afterwards the user is on ours."""
    git(space, "switch", "-q", "-c", "theirs")
    theirs()
    ok(space, "add", "data")
    git(space, "commit", "-q", "-a", "-m", "theirs")
    git(space, "switch", "-q", "-c", "ours", "HEAD~1")
    ok(space, "checkout", "--force")
    ours()
    ok(space, "add", "data")
    git(space, "commit", "-q", "-a", "-m", "ours")


def test_git_calls_pyexp(space: Space) -> None:
    assert ok(space, "install").count("Wrote ") == 3
    assert ok(space, "install") == "The hooks are there already.\n"
    assert all(os.access(space.root / ".git/hooks" / name, os.X_OK) for name in ("pre-commit", "pre-push"))
    git(space, "switch", "-q", "-c", "other")
    space.put("data/a", "changed\n")
    ok(space, "add", "data")
    space.put("raw.txt", "changed too\n")
    assert "data.txt" in git(space, "commit", "-a", "-m", "more")  # of pre-commit's status
    git(space, "switch", "-q", "-")
    assert space.read("data/a") == "a\n"
    git(space, "switch", "-q", "-")
    assert space.read("data/a") == "changed\n"
    (space.root / "data/b").unlink()
    git(space, "checkout", "-q", "--", "raw.txt")  # files only: the data is left alone
    assert not (space.root / "data/b").exists()
    git(space, "init", "-q", "--bare", "../hub")
    git(space, "push", "-q", "../hub", "HEAD", code=1)  # there is nowhere to push data to
    ok(space, "remote", "add", "-d", "r", "../store")
    git(space, "push", "-q", "../hub", "HEAD")
    assert any((space.root.parent / "store").rglob("*.dir"))


def test_hooks_of_others_stay_and_those_of_dvc_are_taken_over(space: Space, tmp_path: Path) -> None:
    hook = space.root / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho mine\n")
    assert "there is a hook already" in refused(space, 1, "install")
    assert hook.read_text() == "#!/bin/sh\necho mine\n" and not (space.root / ".git/hooks/pre-commit").exists()
    hook.write_text("#!/usr/bin/sh\nexec dvc git-hook pre-push $@\n")
    ok(space, "install")
    assert "exec pyexp git-hook pre-push" in hook.read_text()
    git(space, "config", "core.hooksPath", str(tmp_path / "of everybody"))
    assert "outside of the repository" in refused(space, 1, "install")
    git(space, "config", "core.hooksPath", "own hooks")
    ok(space, "install")
    assert (space.root / "own hooks/pre-commit").exists()


def test_nothing_is_written_through_links(space: Space, tmp_path: Path) -> None:
    hook = space.root / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(tmp_path / "outside")
    assert "there is a hook already" in refused(space, 1, "install")
    hook.unlink()
    hook.parent.rename(space.root / ".git/other hooks")
    (tmp_path / "hooks").mkdir()
    hook.parent.symlink_to(tmp_path / "hooks")
    assert "outside of the repository" in refused(space, 1, "install")
    assert not (tmp_path / "outside").exists() and not any((tmp_path / "hooks").iterdir())


def test_a_project_below_the_top(tmp_path: Path) -> None:
    space = Space(tmp_path / "it's here")
    space.root.mkdir()
    git(space, "init", "-q", cwd=space.root)
    below = Space(space.root / "pro ject")
    below.root.mkdir()
    ok(below, "init", "--subdir")
    below.put("data/a", "a\n")
    ok(below, "add", "data")
    git(below, "add", "--all")
    git(below, "commit", "-q", "-m", "one")
    ok(below, "install")
    git(below, "switch", "-q", "-c", "other")
    below.put("data/a", "b\n")
    ok(below, "add", "data")
    git(below, "commit", "-q", "-a", "-m", "two")
    git(space, "switch", "-q", "-")
    assert below.read("data/a") == "a\n"


def test_what_two_branches_did_to_a_directory_is_merged(space: Space) -> None:
    ok(space, "install")

    def ours() -> None:
        space.put("data/a", "ours\n")
        space.put("data/new of ours", "n\n")
        (space.root / "data/sub/d").unlink()  # both do: DVC cannot

    def theirs() -> None:
        space.put("data/sub/c", "theirs\n")
        space.put("data/new/of/theirs", "t\n")
        (space.root / "data/b").unlink()
        (space.root / "data/sub/d").unlink()

    branches(space, ours, theirs)
    git(space, "merge", "theirs", "-m", "both")
    ok(space, "checkout")
    found = {
        str(path.relative_to(space.root)): path.read_text()
        for path in (space.root / "data").rglob("*")
        if path.is_file()
    }
    assert found == {
        "data/a": "ours\n",
        "data/new of ours": "n\n",
        "data/sub/c": "theirs\n",
        "data/new/of/theirs": "t\n",
    }
    assert ok(space, "data", "status") == "No changes.\n"


def test_what_both_changed_is_left_to_the_user(space: Space) -> None:
    ok(space, "install")
    branches(space, lambda: space.put("data/a", "ours\n"), lambda: space.put("data/a", "theirs\n"))
    before = space.read("data.dvc")
    told = git(space, "merge", "theirs", "-m", "both", code=1)
    assert "ERROR: data.dvc: both branches changed a - merge it by hand" in told and "CONFLICT" in told
    assert space.read("data.dvc") == before


def test_files_imports_and_other_options_are_not_merged(space: Space) -> None:
    text = space.read("data.dvc")
    for name, other in {
        "a file": "outs:\n- md5: d8e8fca2dc0f896fd7cb4cb0031ba249\n  size: 5\n  hash: md5\n  path: data\n",
        "other options": f"{text}  push: false\n",
        "no YAML": "outs: [",
    }.items():
        for role, content in {"ancestor": text, "our": text, "their": other}.items():
            space.put(role, content)
        roles = [word for role in ("ancestor", "our", "their") for word in (f"--{role}", role)]
        assert "data.dvc" in refused(space, 1, "git-hook", "merge-driver", *roles, "--path", "data.dvc"), name
        assert space.read("our") == text
    space.put("their", "")
    ok(space, "git-hook", "merge-driver", *roles, "--path", "data.dvc")
    assert space.read("our") == text


def test_with_the_tool_pre_commit(space: Space) -> None:
    space.put(".pre-commit-config.yaml", "# mine\nrepos:\n- repo: local\n  hooks: []  # none yet\n")
    ok(space, "install", "--use-pre-commit-tool")
    text = space.read(".pre-commit-config.yaml")
    assert text.startswith("# mine\n") and "# none yet" in text and "entry: pyexp git-hook post-checkout" in text
    ok(space, "install", "--use-pre-commit-tool")
    assert space.read(".pre-commit-config.yaml") == text
