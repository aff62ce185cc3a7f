from pathlib import Path

import pytest
from gitspace import look, make, save, untouchable, write

from pyexp.errors import GitError, RemoteError, UnsafeCheckout
from pyexp.git import index, objects, refs, user
from pyexp.git.repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path / "repo", {"a": "1\n", "d/b": "2\n", ".gitignore": "*.log\n/out\n"})


def staged(repo: Repo) -> dict[str, str]:
    return dict(index.status(repo).staged)


def test_add_stages_new_changed_and_deleted_files(repo: Repo) -> None:
    root = repo.require_worktree()
    write(root, {"a": "x", "new/n": "n", "d/c": "c", "x.log": "l"})
    (root / "d/b").unlink()
    assert user.add(repo, ["d"]) == ["d/b", "d/c"]
    assert staged(repo) == {"d/b": "D", "d/c": "A"}
    assert sorted(user.add(repo, ["."])) == ["a", "new/n"]
    assert user.add(repo, ["."]) == []
    assert index.status(repo).unstaged == {}


def test_add_refuses_what_is_ignored_or_missing(repo: Repo) -> None:
    root = repo.require_worktree()
    write(root, {"x.log": "l", "out/1": "1"})
    for path in ("x.log", "out", "out/1"):
        with pytest.raises(GitError, match="ignored"):
            user.add(repo, [path])
    with pytest.raises(GitError, match="matches no file"):
        user.add(repo, ["nothing"])
    assert user.add(repo, ["x.log", "out"], force=True) == ["x.log", "out/1"]
    # Tracked is tracked, ignored or not.
    write(root, {"x.log": "more"})
    assert user.add(repo, ["x.log"]) == ["x.log"]


def test_a_file_may_become_a_directory_and_back(repo: Repo) -> None:
    root = repo.require_worktree()
    (root / "a").unlink()
    write(root, {"a/inner": "x"})
    user.add(repo, ["a/inner"])
    assert set(repo.read_index().entries) == {".gitignore", "a/inner", "d/b"}
    user.commit(repo, "dir")
    (root / "a/inner").unlink()
    (root / "a").rmdir()
    write(root, {"a": "file"})
    user.add(repo, ["."])
    user.commit(repo, "file")
    assert set(repo.list_tree(repo.tree_of(repo.head().sha or ""))) == {".gitignore", "a", "d/b"}


def test_commit_moves_the_branch_and_writes_the_logs(repo: Repo) -> None:
    first = repo.head().sha
    write(repo.require_worktree(), {"a": "x"})
    with pytest.raises(GitError, match="nothing to commit"):
        user.commit(repo, "not staged")
    sha = user.commit(repo, "all of it", all=True)
    commit = repo.commit(sha)
    assert (commit.parents, commit.message, repo.head()) == ((first,), "all of it\n", ("master", sha))
    assert repo.resolve("master@{1}") == first == repo.resolve("HEAD@{1}")
    assert [found.sha for found in user.log(repo, "HEAD", 1)] == [sha]
    assert user.commit(repo, "empty", allow_empty=True) != sha


def test_commit_refuses_without_a_name_or_amid_a_merge(repo: Repo) -> None:
    write(repo.require_worktree(), {"a": "x"})
    user.add(repo, ["a"])
    (repo.gitdir / "MERGE_HEAD").write_text("x")
    with pytest.raises(GitError, match="merge"):
        user.commit(repo, "m")
    (repo.gitdir / "MERGE_HEAD").unlink()
    repo.set_config("user.email", None)
    with pytest.raises(GitError, match="who you are"):
        user.commit(repo, "m")
    assert len(list(user.log(repo))) == 1


def test_conflicts_are_not_committed_and_not_lost(repo: Repo) -> None:
    stages = [index.IndexEntry(objects.FILE, objects.write_blob(repo, b"%d" % n), stage=n) for n in (1, 2, 3)]
    rows = index.pairs(repo.read_index()) + [("c", entry) for entry in stages]
    index.write_index(repo, rows)
    write(repo.require_worktree(), {"c": "settled", "a": "x"})
    assert index.status(repo).staged == {"c": "U"}
    user.add(repo, ["a"])
    assert repo.read_index().unmerged == {"c": stages}
    with pytest.raises(GitError, match="conflict"):
        user.commit(repo, "m")
    with pytest.raises(GitError, match="conflict"):
        user.switch(repo, "x", create=True) and user.switch(repo, "master")
    user.add(repo, ["c"])
    sha = user.commit(repo, "m")
    assert repo.read(sha, "c") == b"settled" and repo.read_index().unmerged == {}


def test_untrack_leaves_the_file(repo: Repo) -> None:
    assert user.untrack(repo, ["d"]) == ["d/b"]
    assert staged(repo) == {"d/b": "D"} and (repo.require_worktree() / "d/b").exists()
    with pytest.raises(GitError, match="not tracked"):
        user.untrack(repo, ["d"])


def test_restore_brings_back_what_is_staged(repo: Repo) -> None:
    root = repo.require_worktree()
    write(root, {"a": "staged"})
    user.add(repo, ["a"])
    write(root, {"a": "edited"})
    (root / "d/b").unlink()
    before = untouchable(repo)
    assert user.restore(repo, ["."]) == ["a", "d/b"]
    assert look(root)["a"] == "staged" and look(root)["d/b"] == "2\n" and untouchable(repo) == before
    with pytest.raises(GitError, match="not tracked"):
        user.restore(repo, ["nothing"])


def test_switch_keeps_changes_where_it_can_and_refuses_where_it_cannot(repo: Repo) -> None:
    root = repo.require_worktree()
    user.switch(repo, "dev", create=True)
    save(repo, {"a": "dev\n", "only-dev": "x"}, "dev")
    user.switch(repo, "master")
    assert look(root) == {"a": "1\n", "d/b": "2\n", ".gitignore": "*.log\n/out\n"}
    write(root, {"d/b": "mine", "mine": "untracked"})
    user.switch(repo, "dev")
    assert look(root)["d/b"] == "mine" and look(root)["a"] == "dev\n" and index.status(repo).unstaged == {"d/b": "M"}
    user.switch(repo, "-")
    assert repo.head().branch == "master"
    before = look(root)
    for spoil in ({"a": "edited"}, {"only-dev": "untracked here"}):
        write(root, spoil)
        with pytest.raises(UnsafeCheckout) as caught:
            user.switch(repo, "dev")
        assert caught.value.paths == tuple(spoil) and repo.head().branch == "master"
        assert look(root) == {**before, **spoil}
        write(root, {"a": "1\n"})
        (root / "only-dev").unlink(missing_ok=True)
    write(root, {"a": "staged"})
    user.add(repo, ["a"])
    write(root, {"a": "1\n"})
    with pytest.raises(UnsafeCheckout):
        user.switch(repo, "dev")


def test_switch_goes_to_commits_and_remote_branches(repo: Repo) -> None:
    first = repo.head().sha or ""
    save(repo, {"a": "2"}, "two")
    assert user.switch(repo, first[:10]) == first and repo.head() == (None, first)
    refs.create(repo, "refs/remotes/origin/topic", first)
    user.switch(repo, "topic")
    assert repo.head() == ("topic", first) and repo.config_get("branch.topic.remote") == "origin"
    with pytest.raises(GitError):
        user.switch(repo, "nothing")


def test_branches_are_made_and_deleted_with_care(repo: Repo) -> None:
    user.create_branch(repo, "b/c")
    with pytest.raises(GitError):
        user.create_branch(repo, "b/c")
    for name in ("-x", "a..b", "", "HEAD", "a b", "x.lock"):
        with pytest.raises(GitError):
            user.create_branch(repo, name)
    with pytest.raises(GitError, match="you are on"):
        user.delete_branch(repo, "master")
    user.switch(repo, "b/c")
    save(repo, {"a": "2"}, "two")
    user.switch(repo, "master")
    with pytest.raises(GitError, match="commits that HEAD"):
        user.delete_branch(repo, "b/c")
    user.delete_branch(repo, "b/c", force=True)
    assert user.list_branches(repo) == ["master"]


def test_status_and_diff_text(repo: Repo) -> None:
    root = repo.require_worktree()
    assert "working tree clean" in user.status_text(repo)
    write(root, {"a": "1\nmore", "new/file": "n"})
    (root / "d/b").chmod(0o755)
    assert user.status_text(repo, short=True) == " M a\n M d/b\n?? new/\n"
    text = user.diff_text(repo)
    assert text.startswith("diff --git a/a b/a\nindex d00491f..")
    assert "@@ -1 +1,2 @@\n 1\n+more\n\\ No newline at end of file\n" in text
    assert "old mode 100644\nnew mode 100755\n" in text and user.diff_text(repo, paths=["d"]).count("diff --git") == 1
    assert user.diff_text(repo, staged=True) == "" and user.diff_text(repo, "HEAD", "HEAD") == ""
    write(root, {"bin": b"\0\1"})
    user.add(repo, ["bin"])
    assert "Binary files /dev/null and b/bin differ" in user.diff_text(repo, staged=True)


# --- sharing


def test_clone_push_and_pull_by_path(repo: Repo, tmp_path: Path) -> None:
    refs.create(repo, "refs/heads/side", repo.head().sha or "")
    with user.clone(str(repo.worktree), tmp_path / "copy") as copy:
        assert look(tmp_path / "copy") == look(repo.require_worktree())
        assert copy.head() == repo.head() and user.status_text(copy, short=True) == ""
        assert copy.remote_branches() == {"origin/master": repo.head().sha, "origin/side": repo.head().sha}
        copy.set_config("user.name", "Bob")
        copy.set_config("user.email", "b@x")
        sha = save(copy, {"a": "copy"}, "from the copy")
        with pytest.raises(RemoteError, match="checked out there"):
            user.push(copy)
        user.switch(repo, "elsewhere", create=True)
        assert sha[:7] in user.push(copy)
        assert refs.exists(repo, "refs/heads/master") == sha
        user.switch(repo, "master")
        new = save(repo, {"d/b": "origin"}, "from the origin")
        assert user.pull(copy) == f"Fast-forwarded to {new[:7]}." and look(tmp_path / "copy")["d/b"] == "origin"
        assert user.pull(copy) == "Already up to date."
        save(copy, {"x": "1"}, "mine")
        save(repo, {"y": "1"}, "theirs")
        with pytest.raises(GitError, match="both have new commits"):
            user.pull(copy)
        user.switch(repo, "elsewhere")
        with pytest.raises(RemoteError, match="was not pushed"):
            user.push(copy)


def test_a_clone_that_fails_leaves_nothing(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(RemoteError):
        user.clone(str(tmp_path / "nowhere"), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    write(tmp_path / "full", {"x": "1"})
    with pytest.raises(GitError, match="not empty"):
        user.clone(str(repo.worktree), tmp_path / "full")
    assert look(tmp_path / "full") == {"x": "1"}
    with pytest.raises(RemoteError):
        user.clone("ext::sh -c touch% /tmp/owned", tmp_path / "copy")
    with pytest.raises(RemoteError):
        user.clone("--upload-pack=x", tmp_path / "copy")


def test_an_empty_repository_can_be_cloned(tmp_path: Path) -> None:
    make(tmp_path / "empty").close()
    with user.clone(str(tmp_path / "empty"), tmp_path / "copy") as copy:
        assert copy.head() == ("master", None)


def test_remotes_are_listed_without_passwords(repo: Repo) -> None:
    user.add_remote(repo, "origin", "https://ann:secret@example.com/x.git")
    with pytest.raises(GitError, match="already"):
        user.add_remote(repo, "origin", "x")
    with pytest.raises(GitError):
        user.add_remote(repo, "-x", "x")
    assert user.list_remotes(repo) == {"origin": "https://example.com/x.git"}
    refs.create(repo, "refs/remotes/origin/master", repo.head().sha or "")
    user.remove_remote(repo, "origin")
    assert user.list_remotes(repo) == {} and repo.remote_branches() == {}
    with pytest.raises(GitError):
        user.remove_remote(repo, "origin")


def test_settings_of_the_user(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    user.set_config(repo, "core.editor", "vi", everywhere=True)
    assert repo.config_get("core.editor") == "vi" and "editor" in (tmp_path / "global").read_text()
