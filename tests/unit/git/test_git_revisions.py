from pathlib import Path

import pytest
from gitspace import make, save

from pyexp.errors import BadRevision, GitError, NoGitRepo
from pyexp.git import objects, refs, user
from pyexp.git.repo import Repo, discover, init


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path, {"a": "1"})


def chain(repo: Repo, count: int) -> list[str]:
    """HEAD's history after ``count`` more commits, oldest first."""
    return [repo.head().sha or ""] + [save(repo, {"a": f"{n}"}, f"c{n}") for n in range(count)]


def test_names_of_commits(repo: Repo) -> None:
    line = chain(repo, 4)
    refs.create(repo, "refs/tags/light", line[1])
    tag = objects.write(repo, "tag", f"object {line[2]}\ntype commit\ntag v1\n\nx".encode())
    refs.create(repo, "refs/tags/v1", tag)
    refs.create(repo, "refs/remotes/origin/main", line[3])
    refs.create(repo, f"refs/exps/{line[0][:2]}/{line[0][2:]}/e", line[4])
    for rev, position in {
        "HEAD": 4,
        "@": 4,
        "master": 4,
        "refs/heads/master": 4,
        "heads/master": 4,
        "HEAD~": 3,
        "HEAD~2^": 1,
        "HEAD^^^^": 0,
        "HEAD^0": 4,
        "HEAD~0": 4,
        "light": 1,
        "v1": 2,
        "v1^{commit}": 2,
        "v1^{}~1": 1,
        "origin/main": 3,
        "HEAD@{1}": 3,
        "@{2}": 2,
        "master@{0}": 4,
        f"refs/exps/{line[0][:2]}/{line[0][2:]}/e": 4,
        line[2]: 2,
        line[2][:12]: 2,
        f"v0.1-3-g{line[2][:10]}": 2,
    }.items():
        assert repo.resolve(rev) == line[position], rev


_NOTHING = ["", "nope", "-x", "HEAD~99", "HEAD^2", "HEAD@{99}", "HEAD@{yesterday}", "@{u}", "HEAD^{tree}", "HEAD~x"]
_NONSENSE = ["a:b", "../../../etc", "0000000", "1" * 40, "HEAD^{", "@{-3}"]


@pytest.mark.parametrize("rev", [*_NOTHING, *_NONSENSE])
def test_what_names_nothing_is_said_in_one_line(repo: Repo, rev: str) -> None:
    with pytest.raises(BadRevision) as caught:
        repo.resolve(rev)
    assert "\n" not in str(caught.value) and caught.value.hint


def test_an_ambiguous_short_name_is_refused(repo: Repo) -> None:
    tree = objects.write_tree(repo, {})
    repo.fsync = False
    seen: dict[str, str] = {}
    for n in range(3000):
        sha = objects.write_commit(repo, tree, [], str(n), repo.identity(), time=n)
        if sha[:4] in seen:
            break
        seen[sha[:4]] = sha
    with pytest.raises(BadRevision, match="ambiguous"):
        repo.resolve(sha[:4])
    assert repo.resolve(sha) == sha


def test_no_commit_yet(tmp_path: Path) -> None:
    with make(tmp_path) as repo, pytest.raises(BadRevision, match="no commit yet"):
        repo.resolve("HEAD")


def test_history_and_common_ancestors(repo: Repo) -> None:
    line = chain(repo, 2)
    tree = repo.tree_of(line[0])
    side = objects.write_commit(repo, tree, [line[0]], "side", repo.identity())
    merge = objects.write_commit(repo, tree, [line[2], side], "merge", repo.identity())
    assert list(repo.history(merge, None)) == [merge, line[2], line[1], line[0]]
    assert list(repo.history(merge, 2)) == [merge, line[2]]
    assert set(repo.history(merge, None, first_parent=False)) == {merge, side, *line}
    assert repo.is_ancestor(side, merge) and repo.is_ancestor(merge, merge) and not repo.is_ancestor(side, line[2])
    assert repo.merge_base(side, line[2]) == line[0] == repo.merge_base(line[2], side)
    assert repo.merge_base(merge, line[1]) == line[1]
    lone = objects.write_commit(repo, tree, [], "lone", repo.identity())
    assert repo.merge_base(lone, merge) is None
    assert repo.resolve(f"{merge}^2") == side


def test_a_shallow_history_ends_where_the_clone_does(repo: Repo) -> None:
    line = chain(repo, 2)
    (repo.commondir / "shallow").write_text(line[1] + "\n")
    assert list(repo.history(line[2], None)) == [line[2], line[1]]
    with pytest.raises(BadRevision):
        repo.resolve("HEAD~2")


def test_describe_prefers_the_current_branch_then_tags_then_branches(repo: Repo) -> None:
    line = chain(repo, 2)
    assert repo.describe(line[2]) == "master"
    assert repo.describe(line[0]) is None
    user.create_branch(repo, "b", line[0])
    assert repo.describe(line[0]) == "b"
    refs.create(repo, "refs/tags/t", line[0])
    assert repo.describe(line[0]) == "t"


def test_where_a_repository_is(tmp_path: Path, repo: Repo) -> None:
    below = tmp_path / "x" / "y"
    below.mkdir(parents=True)
    assert discover(below).worktree == tmp_path
    outside = tmp_path / "x" / "bare"
    (outside / "objects").mkdir(parents=True)
    (outside / "refs").mkdir()
    (outside / "HEAD").write_text("ref: refs/heads/master\n")
    assert discover(outside).worktree is None
    with pytest.raises(GitError, match="work tree"):
        discover(outside).require_worktree()


def test_a_git_file_leads_to_the_git_directory(tmp_path: Path) -> None:
    with make(tmp_path / "a", {"f": "1"}) as first:
        sha = first.head().sha
    linked = tmp_path / "linked"
    linked.mkdir()
    own = tmp_path / "a/.git/worktrees/linked"
    own.mkdir(parents=True)
    (own / "commondir").write_text("../..\n")
    (own / "HEAD").write_text(f"{sha}\n")
    (linked / ".git").write_text(f"gitdir: {own}\n")
    with discover(linked) as repo:
        assert repo.commondir == tmp_path / "a/.git" and repo.gitdir == own
        assert repo.head() == (None, sha) and repo.branches() == {"master": sha}
    (linked / ".git").write_text("gitdir: ../nowhere\n")
    with pytest.raises(NoGitRepo, match="points to"):
        discover(linked)
    (linked / ".git").write_text("nonsense")
    with pytest.raises(NoGitRepo):
        discover(linked)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NoGitRepo) as caught:
        discover(tmp_path)
    assert "pyexp git init" in (caught.value.hint or "")


def test_init_opens_what_is_there_and_honours_the_users_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[init]\n\tdefaultBranch = trunk\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with init(tmp_path / "r") as repo:
        assert repo.head() == ("trunk", None)
        repo.set_config("user.name", "Ann")
    with init(tmp_path / "r", branch="other") as repo:
        assert repo.head() == ("trunk", None) and repo.config_get("user.name") == "Ann"


def test_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with init(tmp_path / "r") as repo:
        with pytest.raises(GitError) as caught:
            repo.identity()
        assert "user.name" in (caught.value.hint or "")
        repo.set_config("user.name", "Ann")
        monkeypatch.setenv("EMAIL", "e@x")
        assert repo.identity() == repo.identity().__class__("Ann", "e@x")
        repo.set_config("user.email", "ann@x")
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Env")
        assert (repo.identity().name, repo.identity().email) == ("Env", "ann@x")


def test_settings_of_strange_names_are_refused(repo: Repo) -> None:
    for key in ("name", "user.", ".name", "user.na me", "a\nb.c", "us[er.name"):
        with pytest.raises(GitError):
            repo.set_config(key, "x")
    repo.set_config("branch.a.b c.remote", 'o\n#x "y\\')
    assert repo.config_get("branch.a.b c.remote") == 'o\n#x "y\\'
    repo.set_config("branch.a.b c.remote", None)
    assert repo.config_get("branch.a.b c.remote") is None


def test_reftables_are_refused_with_advice(repo: Repo) -> None:
    with (repo.commondir / "config").open("a") as file:
        file.write("[extensions]\n\trefStorage = reftable\n")
    with pytest.raises(GitError, match="reftable"):
        discover(repo.require_worktree())


def test_reading_at_a_commit(repo: Repo) -> None:
    sha = save(repo, {"d/e/f": "deep", "ü": "u"}, "more")
    assert repo.read(sha, "d/e/f") == b"deep" and repo.read(repo.tree_of(sha), "ü") == b"u"
    assert repo.read(sha, "d/e") is None and repo.read(sha, "none") is None and repo.read(sha, "a/b") is None
    assert repo.is_tracked("d") and repo.is_tracked("d/e/f") and not repo.is_tracked("d/e/g")
    with pytest.raises(GitError, match="not a commit"):
        repo.tree_of(repo.list_tree(repo.tree_of(sha))["a"][1])


def test_ignored(repo: Repo) -> None:
    assert not repo.is_ignored("x.log", False)
    save(repo, {".gitignore": "*.log\n/out/\n!keep.log\n", "sub/.gitignore": "y\n"}, "i")
    assert repo.is_ignored("x.log", False) and repo.is_ignored("out", True) and repo.is_ignored("sub/y", False)
    assert repo.is_ignored("out/any/thing", False)
    assert not repo.is_ignored("keep.log", False) and not repo.is_ignored("out", False)
    (repo.commondir / "info/exclude").write_text("z\n")
    assert discover(repo.require_worktree()).is_ignored("z", False)
