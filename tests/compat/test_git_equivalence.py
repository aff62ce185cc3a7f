"""Our status, trees and checkouts beside real git's, on random work trees."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pyexp.git import index, objects, snapshot
from pyexp.git.repo import discover

pytestmark = [pytest.mark.git, pytest.mark.skipif(shutil.which("git") is None, reason="needs git")]

ENV = {
    **os.environ,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def git(cwd: Path, *args: str, **env: str) -> str:
    done = subprocess.run(["git", *args], cwd=cwd, env={**ENV, **env}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape")


def make_repo(path: Path) -> None:
    git(path, "init", "-q", "-b", "main")
    git(path, "config", "protocol.file.allow", "always")


NAMES = ["a", "b", "c.txt", "d e", "ü", "z.py", "x-y", "x.y", "long" * 10, "-dash", "q'uote", "back\\slash"]


def write_random(rng: random.Random, root: Path, count: int) -> None:
    for _ in range(count):
        depth = rng.randrange(3)
        parent = root
        for _ in range(depth):
            parent = parent / rng.choice(["dir", "sub", "x", "deep er"])
        try:
            parent.mkdir(parents=True, exist_ok=True)
            target = parent / rng.choice(NAMES)
            kind = rng.randrange(12)
            if kind == 0:
                target.unlink(missing_ok=True)
                target.symlink_to(rng.choice(["a", "nowhere", "dir", "../x"]))
            else:
                data = rng.choice([b"", b"text\n", b"crlf\r\nline\r\n", b"\0bin\r\n", rng.randbytes(20)])
                if target.is_symlink():
                    target.unlink()
                target.write_bytes(data)
                if kind == 1:
                    target.chmod(0o755)
        except OSError:
            continue


def damage(rng: random.Random, root: Path, count: int) -> None:
    tracked = [p for p in git(root, "ls-files", "-z").split("\0") if p and p not in ("sure", ".gitattributes")]
    for _ in range(count):
        path = root / rng.choice(tracked)
        kind = rng.randrange(9)
        try:
            if kind == 0:
                path.unlink()
            elif kind == 1:
                path.chmod(0o755 if rng.random() < 0.5 else 0o644)
            elif kind == 2:
                path.unlink()
                path.symlink_to("elsewhere")
            elif kind == 3:
                path.unlink()
                path.mkdir()
                (path / "inner").write_text("in")
            elif kind == 4:
                shutil.rmtree(path.parent) if path.parent != root else path.unlink()
            elif kind == 5 and path.parent != root:
                shutil.move(path.parent, root / "moved")
                path.parent.symlink_to("moved")
            elif kind == 6:
                git(root, "rm", "-q", "--cached", "-r", "--", str(path.relative_to(root)))
            elif kind == 7:
                path.write_bytes(rng.randbytes(8))
                git(root, "add", "-f", "--", str(path.relative_to(root)))
            else:
                path.write_bytes(path.read_bytes() + b"more\r\n")
        except (OSError, AssertionError):
            continue


def random_workspace(rng: random.Random, root: Path) -> None:
    make_repo(root)
    if rng.random() < 0.3:
        git(root, "config", "core.autocrlf", rng.choice(["input", "true"]))
    if rng.random() < 0.3:
        (root / ".gitattributes").write_text("*.txt text\n*.py -text\nx* binary\ndir/* text=auto eol=crlf\n")
    if rng.random() < 0.5:
        (root / ".gitignore").write_text("*.y\n/dir/b\n!sub\nx/\n")
    write_random(rng, root, 25)
    (root / "sure").write_text("1")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    for version in ("2", "3", "4"):
        if rng.random() < 0.2:
            git(root, "update-index", "--index-version", version)
    if rng.random() < 0.2:
        git(root, "update-index", "--split-index")
    damage(rng, root, rng.randrange(1, 10))
    write_random(rng, root, rng.randrange(6))
    if rng.random() < 0.3:
        (root / "intent").write_text("later")
        git(root, "add", "-N", "intent")
    if rng.random() < 0.3:
        git(root, "update-index", rng.choice(["--assume-unchanged", "--skip-worktree"]), "sure")
        (root / "sure").write_text("2")


def git_tree(root: Path, tmp: Path) -> str:
    copy = tmp / "index"
    shutil.copy(root / ".git/index", copy)
    for shared in (root / ".git").glob("sharedindex.*"):
        shutil.copy(shared, tmp)
    git(root, "add", "-u", GIT_INDEX_FILE=str(copy))
    return git(root, "write-tree", GIT_INDEX_FILE=str(copy)).strip()


def git_status(root: Path) -> tuple[dict[str, str], list[str]]:
    out = git(root, "--no-optional-locks", "status", "--porcelain", "-z", "-uall", "--no-renames")
    changed, untracked = {}, []
    for row in out.split("\0"):
        if row.startswith("??"):
            untracked.append(row[3:])
        elif row:
            changed[row[3:]] = row[:2]
    return changed, untracked


def ours(status: index.Status) -> dict[str, str]:
    found = {}
    for path in {*status.staged, *status.unstaged}:
        found[path] = status.staged.get(path, " ") + status.unstaged.get(path, " ")
    return found


@pytest.mark.parametrize("seed", range(40))
def test_random_workspace_gives_the_tree_and_status_git_gives(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root = tmp_path / "repo"
    root.mkdir()
    random_workspace(rng, root)
    index_before = (root / ".git/index").read_bytes()
    head_before = (root / ".git/HEAD").read_bytes()
    with discover(root) as repo:
        status = index.status(repo)
        tree = snapshot.workspace_tree(repo).tree
    assert (root / ".git/index").read_bytes() == index_before
    assert (root / ".git/HEAD").read_bytes() == head_before
    changed, untracked = git_status(root)
    assert ours(status) == changed
    assert sorted(status.untracked) == sorted(untracked)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    expected = git_tree(root, scratch)
    assert git(root, "ls-tree", "-r", tree) == git(root, "ls-tree", "-r", expected)
    assert tree == expected
    git(root, "fsck", "--strict")


@pytest.mark.parametrize("seed", range(15))
def test_materialise_holds_what_git_checks_out(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed + 1000)
    root, ours_dir = tmp_path / "repo", tmp_path / "work"
    root.mkdir()
    make_repo(root)
    trees = []
    for _ in range(3):
        write_random(rng, root, 12)
        (root / "sure").write_text(str(rng.random()))
        git(root, "add", "-A")
        git(root, "commit", "-qm", "x")
        if rng.random() < 0.8:
            damage(rng, root, 4)
        trees.append(git(root, "rev-parse", "HEAD^{tree}").strip())
    with discover(root) as repo:
        for tree in rng.choices(trees, k=4):
            snapshot.materialise(repo, tree, ours_dir)
            assert snapshot.capture(repo, tree, ours_dir) == tree
            expected = tmp_path / "expected"
            shutil.rmtree(expected, ignore_errors=True)
            expected.mkdir()
            git(root, "read-tree", tree, GIT_INDEX_FILE=str(tmp_path / "i"))
            git(root, "checkout-index", "-a", f"--prefix={expected}/", GIT_INDEX_FILE=str(tmp_path / "i"))
            assert listing(ours_dir) == listing(expected)
            write_random(rng, ours_dir, 8)
            (ours_dir / "left" / "over").mkdir(parents=True, exist_ok=True)
            if (ours_dir / "sure").is_file():
                (ours_dir / "sure").unlink()


def listing(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = (objects.SYMLINK, os.readlink(os.fsencode(path)))
        elif path.is_dir():
            found[name] = (objects.DIRECTORY, b"")
        else:
            found[name] = (path.stat().st_mode & 0o100, path.read_bytes())
    return found


def test_missing_attributes_count_as_the_index_has_them(tmp_path: Path) -> None:
    make_repo(tmp_path)
    (tmp_path / ".gitattributes").write_text("*.txt text\n")
    (tmp_path / "a.txt").write_bytes(b"one\n")
    git(tmp_path, "add", ".")
    (tmp_path / ".gitattributes").unlink()
    (tmp_path / "a.txt").write_bytes(b"two\r\n")
    with discover(tmp_path) as repo:
        tree = snapshot.workspace_tree(repo).tree
        ours = repo.lookup(tree, "a.txt")
    git(tmp_path, "add", "a.txt")
    assert git(tmp_path, "ls-files", "-s", "a.txt").split()[1] == (ours or (0, ""))[1]
