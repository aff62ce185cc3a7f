"""Repositories of every kind that real git makes: opened, looked at, snapshot; and what we make, read by git."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_git_equivalence import git, git_status, make_repo, ours

from pyexp.errors import GitError
from pyexp.git import index, refs, snapshot, sync, user
from pyexp.git.repo import discover, init

pytestmark = [pytest.mark.git, pytest.mark.skipif(shutil.which("git") is None, reason="needs git")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    path.mkdir()
    make_repo(path)
    for name in ("a", "in/b", "in/deep/c", "out/d"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name + "\n")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "one")
    return path


def agree(root: Path, tmp_path: Path) -> None:
    """HEAD, status and the snapshot are what git says."""
    with discover(root) as repo:
        assert repo.head().sha == git(root, "rev-parse", "HEAD").strip()
        assert (repo.head().branch or "HEAD") == git(root, "rev-parse", "--abbrev-ref", "HEAD").strip()
        found = index.status(repo)
        changed, untracked = git_status(root)
        assert ours(found) == changed and sorted(found.untracked) == sorted(untracked)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        copy = scratch / "index"
        shutil.copy(repo.gitdir / "index", copy)
        for shared in repo.gitdir.glob("sharedindex.*"):
            shutil.copy(shared, scratch)
        git(root, "add", "-u", GIT_INDEX_FILE=str(copy))
        assert snapshot.workspace_tree(repo).tree == git(root, "write-tree", GIT_INDEX_FILE=str(copy)).strip()


def test_a_linked_work_tree(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(root, "worktree", "add", "-q", "-b", "side", str(linked))
    (linked / "a").write_text("changed")
    (root / ".git/info/exclude").write_text("*.x\n")
    (linked / "no.x").write_text("ignored")
    agree(linked, tmp_path)
    agree(root, tmp_path)
    with discover(linked) as repo:
        refs.create(repo, "refs/exps/aa/b/one", repo.head().sha or "")
    assert "refs/exps/aa/b/one" in git(root, "for-each-ref")


def test_a_separate_git_directory(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", f"--separate-git-dir={tmp_path / 'elsewhere'}")
    (work / "a").write_text("1")
    git(work, "add", ".")
    git(work, "commit", "-qm", "x")
    agree(work, tmp_path)


def test_a_sparse_checkout_with_a_sparse_index(root: Path, tmp_path: Path) -> None:
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", "in")
    (root / "in/b").write_text("changed")
    assert not (root / "out").exists()
    agree(root, tmp_path)
    target = git(root, "rev-parse", "HEAD^{tree}").strip()
    with discover(root) as repo:
        snapshot.apply_tree(repo, target, saved=lambda relpath, blob: True)
    assert not (root / "out").exists() and (root / "in/b").read_text() == "in/b\n"


def test_a_submodule(root: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    make_repo(inner)
    (inner / "x").write_text("1")
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "x")
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    git(root, "commit", "-qm", "with a submodule")
    agree(root, tmp_path)
    (root / "sub/x").write_text("2")
    git(root / "sub", "commit", "-qam", "y")
    agree(root, tmp_path)
    tree = git(root, "rev-parse", "HEAD^{tree}").strip()
    with discover(root) as repo:
        assert snapshot.workspace_tree(repo, include=["sub/x"]).tree == snapshot.workspace_tree(repo).tree
        snapshot.materialise(repo, tree, tmp_path / "work")
        assert (tmp_path / "work/sub").is_dir() and not any((tmp_path / "work/sub").iterdir())
        assert snapshot.capture(repo, tree, tmp_path / "work") == tree
        snapshot.apply_tree(repo, tree, saved=lambda relpath, blob: False)
    assert (root / "sub/x").read_text() == "2"


@pytest.mark.parametrize("setting", ["preciousObjects=true", "partialClone=origin", "noop=1", "worktreeConfig=true"])
def test_extensions_that_change_nothing_here(root: Path, tmp_path: Path, setting: str) -> None:
    name, value = setting.split("=")
    git(root, "config", "core.repositoryFormatVersion", "1")
    git(root, "config", f"extensions.{name}", value)
    if name != "preciousObjects":
        agree(root, tmp_path)
    with discover(root) as repo:
        git(tmp_path, "init", "-q", "--bare", "other.git")
        sha = repo.head().sha or ""
        assert sync.push(repo, str(tmp_path / "other.git"), {"refs/heads/x": sha}) == {"refs/heads/x": None}


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.mkdir()
    git(path, "init", "-q", "--object-format=sha256")
    (path / "a").write_text("1")
    git(path, "add", ".")
    git(path, "commit", "-qm", "x")
    (path / "a").write_text("2")
    agree(path, tmp_path)
    with discover(path) as repo:
        sha = snapshot.commit_tree(
            repo, snapshot.workspace_tree(repo).tree, parent=repo.head().sha or "", message="exp"
        )
        refs.create(repo, "refs/exps/a/b/c", sha)
    git(path, "gc", "-q")
    with discover(path) as repo:
        assert repo.read(repo.resolve("refs/exps/a/b/c"), "a") == b"2"
    git(path, "fsck", "--strict")


def test_packed_alternates_and_shallow(root: Path, tmp_path: Path) -> None:
    git(root, "gc", "-q")
    git(tmp_path, "clone", "-q", "--shared", str(root), "shared")
    agree(tmp_path / "shared", tmp_path)
    (root / "a").write_text("2")
    git(root, "commit", "-qam", "two")
    git(tmp_path, "clone", "-q", "--depth=1", root.as_uri(), "shallow")
    agree(tmp_path / "shallow", tmp_path)
    with discover(tmp_path / "shallow") as repo:
        assert list(repo.history(repo.head().sha or "", None)) == [repo.head().sha]


def test_revisions_as_git_reads_them(root: Path) -> None:
    for n in range(3):
        (root / "a").write_text(str(n))
        git(root, "commit", "-qam", str(n))
    git(root, "tag", "-a", "v1", "-m", "x", "HEAD~1")
    git(root, "branch", "other", "HEAD~2")
    git(root, "switch", "-q", "other")
    git(root, "switch", "-q", "main")
    short = git(root, "rev-parse", "--short", "HEAD~1").strip()
    for _ in range(2):
        with discover(root) as repo:
            for rev in (
                "HEAD",
                "@",
                "HEAD~2",
                "HEAD^^",
                "v1",
                "v1^{}",
                "v1~1",
                "other",
                "main@{1}",
                "@{1}",
                "@{-1}",
                short,
            ):
                assert repo.resolve(rev) == git(root, "rev-parse", rev + "^{commit}").strip(), rev
        git(root, "gc", "-q")
        git(root, "pack-refs", "--all")


def test_git_takes_what_our_commands_made(tmp_path: Path) -> None:
    path = tmp_path / "ours"
    with init(path) as repo:
        repo.set_config("user.name", "Ann")
        repo.set_config("user.email", "a@x")
        (path / "a b").write_text("1\n2\n3\n")
        (path / "ü").write_text("x")
        (path / "x").write_text("x")
        (path / "x").chmod(0o755)
        user.add(repo, ["."])
        assert git(path, "status", "--porcelain") == 'A  "a b"\nA  x\nA  "\\303\\274"\n'
        user.commit(repo, "one")
        user.switch(repo, "dev", create=True)
        (path / "a b").write_text("1\n2 changed\n3")
        (path / "x").chmod(0o644)
        (path / "ü").unlink()
        (path / "ü").symlink_to("x")
        assert user.diff_text(repo) == git(path, "diff", "--no-renames")
        user.add(repo, ["."])
        assert user.diff_text(repo, staged=True) == git(path, "diff", "--staged", "--no-renames")
        user.commit(repo, "two")
        user.switch(repo, "master")
        assert git(path, "status", "--porcelain") == ""
        assert git(path, "reflog", "--format=%gs").splitlines() == [
            "checkout: moving from dev to master", "commit: two", "checkout: moving from master to dev",
            "commit (initial): one",
        ]  # fmt: skip
        with user.clone(str(path), tmp_path / "clone") as copy:
            assert git(tmp_path / "clone", "status", "-sb").strip() == "## master...origin/master"
            assert copy.config_get("remote.origin.fetch") == "+refs/heads/*:refs/remotes/origin/*"
    git(path, "fsck", "--strict")
    git(tmp_path / "clone", "fsck", "--strict")


def test_experiments_through_gits_own_gc_and_refs(root: Path) -> None:
    with discover(root) as repo:
        base = repo.head().sha or ""
        made = {}
        for n in range(30):
            tree = snapshot.workspace_tree(repo, replace={"a": str(n).encode()}).tree
            name = f"refs/exps/{base[:2]}/{base[2:]}/e{n}"
            made[name] = snapshot.commit_tree(repo, tree, parent=base, message="m")
            refs.create(repo, name, made[name])
        refs.pack(repo)
        git(root, "gc", "-q", "--prune=now")
        git(root, "update-ref", "-d", next(iter(made)))
        made.pop(next(iter(made)))
        assert refs.read(repo, "refs/exps/") == made
        assert [repo.read(sha, "a") for sha in made.values()] == [str(n).encode() for n in range(1, 30)]
        refs.delete_many(repo, dict.fromkeys(list(made)[:10]))
    assert len(git(root, "for-each-ref", "refs/exps").splitlines()) == 19
    git(root, "fsck", "--strict")


def test_a_strangers_repository_runs_no_filter(root: Path, tmp_path: Path) -> None:
    git(root, "config", "filter.evil.clean", f"touch {tmp_path / 'ran'}; cat; printf '!'")
    (root / ".gitattributes").write_text("* filter=evil\n")
    (root / "a").write_text("new")
    with discover(root) as repo:
        repo.__dict__["is_owned"] = False
        snapshot.workspace_tree(repo)
    assert not (tmp_path / "ran").exists()
    with discover(root) as repo:
        tree = snapshot.workspace_tree(repo).tree
        assert repo.read(tree, "a") == b"new!"
    assert (tmp_path / "ran").exists()


def test_a_filter_that_is_required_must_work(root: Path) -> None:
    (root / ".gitattributes").write_text("a filter=x\n")
    (root / "a").write_text("new")
    git(root, "config", "filter.x.clean", "exit 3")
    with discover(root) as repo:
        assert repo.read(snapshot.workspace_tree(repo).tree, "a") == b"new"
    git(root, "config", "filter.x.required", "true")
    with discover(root) as repo, pytest.raises(GitError, match="ended with 3"):
        snapshot.workspace_tree(repo)


def test_lfs_without_its_binary(root: Path, tmp_path: Path) -> None:
    (root / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    (root / "m.bin").write_bytes(b"model")
    with discover(root) as repo:
        tree = snapshot.workspace_tree(repo, include=["m.bin", ".gitattributes"]).tree
        assert (repo.read(tree, "m.bin") or b"").startswith(b"version https://git-lfs.github.com/spec/v1\n")
        snapshot.materialise(repo, tree, tmp_path / "work")
        assert (tmp_path / "work/m.bin").read_bytes() == b"model"
        assert snapshot.capture(repo, tree, tmp_path / "work") == tree
        shutil.rmtree(root / ".git/lfs")
        snapshot.materialise(repo, tree, tmp_path / "work2")
    assert (tmp_path / "work2/m.bin").read_bytes().startswith(b"version")


def test_git_fetches_in_a_clone_we_made(root: Path, tmp_path: Path) -> None:
    user.clone(str(root), tmp_path / "copy").close()
    git(root, "commit", "-q", "--allow-empty", "-m", "two")
    git(tmp_path / "copy", "pull", "-q", "--ff-only")
    assert git(tmp_path / "copy", "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
