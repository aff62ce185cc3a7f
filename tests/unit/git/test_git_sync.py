import shutil
import stat
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
    monkeypatch.setenv("HOME", str(tmp_path))
    user.add_remote(repo, "origin", "https://host/x")
    assert credentials.find(repo, "origin", "https://host/x") == (None, None)
    (tmp_path / ".netrc").write_text("machine host login n password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert credentials.find(repo, "origin", "https://host/x") == ("n", "p")
    (tmp_path / ".git-credentials").write_text("https://no:no@host:8443\nhttps://u:s%40@host\n")
    assert credentials.find(repo, "origin", "https://host/x") == ("u", "s@")
    assert credentials.find(repo, "origin", "https://host:8443/x") == ("no", "no")
    assert credentials.find(repo, "origin", "https://other@host:8443/x") == ("n", "p")
    monkeypatch.setenv("PYEXP_GIT_TOKEN", "t")
    assert credentials.find(repo, "origin", "https://host/x") == ("x-access-token", "t")
    assert credentials.find(repo, "origin", "https://a:b@host/x") == ("a", "b")
    # A URL from a project's files does not get the token, nor does an unencrypted one.
    assert credentials.find(repo, "https://evil/x", "https://evil/x") == (None, None)
    assert credentials.find(repo, "origin", "http://other/x") == (None, None)
    monkeypatch.setenv("PYEXP_GIT_HOST", "good")
    assert credentials.find(repo, "https://good/x", "https://good/x") == ("x-access-token", "t")
    assert credentials.find(repo, "origin", "https://other/x") == (None, None)


SCRIPT = """\
#!/bin/sh
cat > "$0.$1"
[ "$1" = get ] && echo username=ann && echo password=secret && echo other=x
exit 0
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper in a directory on PATH, where nothing but a shell and cat is beside it."""
    (tmp_path / "bin").mkdir()
    path = tmp_path / "bin/git-credential-mine"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    for name in ("cat", "sh"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


def configured(tmp_path: Path, repo: Repo, text: str) -> Repo:
    (tmp_path / ".gitconfig").write_text(text)
    repo.forget_config()
    return repo


@pytest.mark.parametrize("named", ["mine", "{path}", "!f() {{ '{path}' $1; }}; f", "absent\n\thelper = mine"])
def test_a_helper_is_asked_as_git_asks(repo: Repo, helper: Path, tmp_path: Path, named: str) -> None:
    if "'" in named:
        named = f'"{named}"'
    configured(tmp_path, repo, f"[credential]\n\thelper = {named.format(path=helper)}\n")
    asked = credentials.Asked(repo, "https://host:8443/a/b.git")
    assert asked.login == ("ann", "secret")
    assert Path(f"{helper}.get").read_text() == "protocol=https\nhost=host:8443\n\n"
    asked.accepted()
    stored = "protocol=https\nhost=host:8443\nusername=ann\npassword=secret\n\n"
    assert Path(f"{helper}.store").read_text() == stored
    asked.refused()
    assert Path(f"{helper}.erase").read_text() == stored


def test_which_helper_is_asked(repo: Repo, helper: Path, tmp_path: Path) -> None:
    def who(url: str) -> object:
        return credentials.Asked(repo, url).login

    configured(tmp_path, repo, '[credential "https://good"]\n\thelper = mine\n\tusername = bob\n\tuseHttpPath = true\n')
    assert who("https://good/a/b") == ("ann", "secret")
    assert Path(f"{helper}.get").read_text() == "protocol=https\nhost=good\npath=a/b\nusername=bob\n\n"
    assert who("https://cat@good/a") is not None and "username=cat" in Path(f"{helper}.get").read_text()
    assert who("https://other/a") is None and who("http://good/a") is None and who("https://good.evil/a") is None
    assert who("https://a:wrong@good/a") is None
    configured(tmp_path, repo, "[credential]\n\thelper = mine\n")
    assert who("https://any/") == ("ann", "secret")
    repo.set_config("credential.helper", "")
    assert who("https://any/") is None
    with pytest.raises(RemoteError, match="line break"):
        who("https://good%0ahost=evil@x/")


def test_a_strangers_repository_names_no_helper(repo: Repo, helper: Path, tmp_path: Path) -> None:
    repo.set_config("credential.helper", "mine")
    assert credentials.Asked(repo, "https://host/").login == ("ann", "secret")
    Path(f"{helper}.get").unlink()
    repo.forget_config()
    repo.is_owned = False
    assert credentials.Asked(repo, "https://host/").login is None
    assert not Path(f"{helper}.get").exists()


def test_the_helper_that_is_a_file(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    store = tmp_path / "my store"
    store.write_text("https://bob:b%2F%40@host\nhttps://ann:x@other\n")
    configured(tmp_path, repo, f"[credential]\n\thelper = store --file='{store}'\n")
    asked = credentials.Asked(repo, "https://host/x")
    assert asked.login == ("bob", "b/@")
    asked.refused()
    assert store.read_text() == "https://ann:x@other\n"
    typed = iter(["bob", "n:w"])
    repo.ask = lambda what, *, shown=False: next(typed)
    asked = credentials.Asked(repo, "https://host/x")
    assert asked.login == ("bob", "n:w")
    asked.accepted()
    assert store.read_text() == "https://bob:n%3Aw@host\nhttps://ann:x@other\n"
    assert stat.S_IMODE(store.stat().st_mode) & 0o077 == 0
    assert credentials.find(repo, "origin", "https://host/x") == ("bob", "n:w")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    assert credentials.Asked(repo, "https://third/x").login is None
