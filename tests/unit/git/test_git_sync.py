from collections.abc import Iterator
from pathlib import Path

import pytest
from gitserver import served
from gitspace import make, save

from pyexp.errors import RemoteError
from pyexp.git import credentials, objects, refs, snapshot, sync, user
from pyexp.git.repo import Repo, discover, init


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path / "repo", {"a": "1", "d/b": "2"})


def bare(path: Path) -> Path:
    init(path / "x").close()
    (path / "x/.git").rename(path / "bare.git")
    config = path / "bare.git/config"
    config.write_text(config.read_text().replace("bare = false", "bare = true"))
    return path / "bare.git"


@pytest.fixture(params=["path", "file", "http"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    path = bare(tmp_path / "remote")
    if request.param == "path":
        yield str(path)
    elif request.param == "file":
        yield path.as_uri()
    else:
        with served(path) as url:
            yield url


def experiments(repo: Repo, count: int) -> dict[str, str]:
    base = repo.head().sha or ""
    made = {}
    for n in range(count):
        tree = snapshot.workspace_tree(repo, replace={"a": f"exp {n}".encode()}).tree
        name = f"refs/exps/{base[:2]}/{base[2:]}/e{n}"
        made[name] = snapshot.commit_tree(repo, tree, parent=base, message=f"e{n}")
        refs.create(repo, name, made[name])
    return made


@pytest.mark.parametrize("count", [2, 40])
def test_experiments_go_there_and_come_back(repo: Repo, remote: str, tmp_path: Path, count: int) -> None:
    made = experiments(repo, count)
    assert sync.push(repo, remote, made) == dict.fromkeys(made)
    assert sync.push(repo, remote, made) == dict.fromkeys(made)
    assert sync.list_remote(repo, remote, "refs/exps/") == made
    with init(tmp_path / "other") as other:
        assert sync.fetch(other, remote, list(made)) == dict.fromkeys(made)
        assert refs.read(other, "refs/exps/") == made
        for n, sha in enumerate(made.values()):
            assert other.read(sha, "a") == f"exp {n}".encode() and other.read(sha, "d/b") == b"2"
        assert sync.fetch(other, remote, [*made, "refs/exps/none"])["refs/exps/none"] is not None
    first = next(iter(made))
    assert sync.push(repo, remote, {first: None}) == {first: None}
    assert first not in sync.list_remote(repo, remote, "refs/exps/")


def test_refs_move_forward_only_unless_forced(repo: Repo, remote: str, tmp_path: Path) -> None:
    one = repo.head().sha or ""
    name = "refs/heads/main"
    assert sync.push(repo, remote, {name: one}) == {name: None}
    two = save(repo, {"a": "2"}, "two")
    assert sync.push(repo, remote, {name: two}) == {name: None}
    other = objects.write_commit(repo, repo.tree_of(one), [one], "other", repo.identity())
    results = sync.push(repo, remote, {name: other, "refs/heads/new": other})
    assert results[name] is not None and results["refs/heads/new"] is None
    assert sync.list_remote(repo, remote)[name] == two
    assert sync.push(repo, remote, {name: other}, force=True) == {name: None}
    assert sync.fetch(repo, remote, {name: "refs/heads/master"})["refs/heads/master"] is not None
    assert sync.fetch(repo, remote, {name: "refs/heads/master"}, force=True) == {"refs/heads/master": None}
    assert refs.exists(repo, "refs/heads/master") == other


def test_clone_and_pull(repo: Repo, remote: str, tmp_path: Path) -> None:
    user.add_remote(repo, "origin", remote)
    user.push(repo)
    with user.clone(remote, tmp_path / "copy") as copy:
        assert copy.head() == repo.head() and (tmp_path / "copy/d/b").read_text() == "2"
        new = save(repo, {"a": "2"}, "two")
        user.push(repo)
        user.pull(copy)
        assert copy.head().sha == new


def test_what_cannot_be_reached_is_said_in_one_line(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for url in ("http://127.0.0.1:1/x", str(tmp_path / "empty"), "file:///nowhere", "nosuch", "git://127.0.0.1:1/x"):
        with pytest.raises(RemoteError) as caught:
            sync.list_remote(repo, url)
        assert "\n" not in str(caught.value) and caught.value.hint, url
    with pytest.raises(RemoteError) as caught:
        sync.push(repo, "http://ann:secret@127.0.0.1:1/x", {"refs/heads/x": repo.head().sha})
    assert "secret" not in str(caught.value)


def test_an_interrupted_fetch_is_finished_by_the_next(repo: Repo, tmp_path: Path) -> None:
    name, sha = next(iter(experiments(repo, 1).items()))
    with init(tmp_path / "other") as other:
        # All that a kill may leave: the commit without what it needs.
        objects.write(other, *objects.read(repo, sha))
        assert sync.fetch(other, str(repo.worktree), [name]) == {name: None}
        assert other.read(sha, "a") == b"exp 0"


def test_a_shallow_clone_pushes_and_fetches(repo: Repo, tmp_path: Path) -> None:
    save(repo, {"a": "2"}, "two")
    path = bare(tmp_path / "remote")
    sync.push(repo, str(path), {"refs/heads/master": repo.head().sha})
    with served(path) as url, user.clone(url, tmp_path / "copy", depth=1) as copy:
        assert len(list(user.log(copy))) == 1
        copy.set_config("user.name", "B")
        copy.set_config("user.email", "b@x")
        sha = save(copy, {"a": "3"}, "three")
        user.push(copy)
    with discover(path) as there:
        assert len(list(there.history(sha, None))) == 3


def test_who_to_be(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(credentials.get_credentials_from_store, "__defaults__", (None, [str(tmp_path / "store")]))
    monkeypatch.setenv("HOME", str(tmp_path))
    user.add_remote(repo, "origin", "https://host/x")
    assert credentials.find(repo, "origin", "https://host/x") == (None, None)
    (tmp_path / ".netrc").write_text("machine host login n password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert credentials.find(repo, "origin", "https://host/x") == ("n", "p")
    (tmp_path / "store").write_text("https://u:s%40@host\n")
    assert credentials.find(repo, "origin", "https://host/x") == ("u", "s@")
    monkeypatch.setenv("PYEXP_GIT_TOKEN", "t")
    assert credentials.find(repo, "origin", "https://host/x") == ("x-access-token", "t")
    assert credentials.find(repo, "origin", "https://a:b@host/x") == ("a", "b")
    # A URL from a project's files does not get the token, nor does an unencrypted one.
    assert credentials.find(repo, "https://evil/x", "https://evil/x") == (None, None)
    assert credentials.find(repo, "origin", "http://other/x") == (None, None)
    monkeypatch.setenv("PYEXP_GIT_HOST", "good")
    assert credentials.find(repo, "https://good/x", "https://good/x") == ("x-access-token", "t")
    assert credentials.find(repo, "origin", "https://other/x") == (None, None)
