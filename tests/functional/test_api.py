"""``pyexp.api``: what a script reads of a project, from the workspace, a commit or an experiment."""

import inspect
import shutil
from pathlib import Path

import pytest
from dulwich.repo import Repo as DulwichRepo
from functional.conftest import Space
from gitserver import served

from pyexp import api
from pyexp.errors import PyexpError, UsageError


@pytest.fixture
def shared(space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """The standard project, run, committed as v1, pushed, with an experiment; the process stands in it."""
    space.put("data/a", "a\n")
    space.put("data/sub/b", "b\n")
    space.put("sub/params.yaml", "lr: 9\nonly: [1, 2]\n")
    space.put(
        "dvc.yaml", space.read("dvc.yaml") + "params:\n- sub/params.yaml\nartifacts:\n  best:\n    path: model.txt\n"
    )
    for args in (
        ("add", "data"),
        ("repro",),
        ("remote", "add", "-d", "store", str(tmp_path / "store")),
        ("git", "add", "."),
        ("git", "commit", "-m", "one"),
        ("push",),
        ("exp", "run", "-n", "quick", "-S", "lr=0.25"),
        ("push",),
        ("checkout", "--force"),
        ("git", "checkout", "."),
        ("checkout", "--force"),
    ):
        done = space.cli(*args)
        assert done.returncode == 0, (args, done.stderr)
    monkeypatch.chdir(space.root)
    return space


def _lose(space: Space) -> None:
    """Nothing but git and the remote is left of the data."""
    shutil.rmtree(space.project().cache_dir / "files")
    shutil.rmtree(space.root / "data")
    (space.root / "model.txt").unlink()


def test_read_and_open(shared: Space) -> None:
    assert api.read("train.py") == shared.read("train.py")
    assert api.read("data/sub/b", mode="rb") == b"b\n"
    with api.open("model.txt") as file:
        assert file.readline() == "model 0.5\n"
    assert api.read("model.txt", rev="quick") == "model 0.25\n"
    assert "lr: 0.25" in api.read("params.yaml", rev="quick")
    assert api.read("model.txt", repo=str(shared.root / "sub"), rev="HEAD") == "model 0.5\n"
    with pytest.raises(AttributeError):
        api.open("model.txt").read()  # type: ignore[attr-defined]


def test_read_fetches_what_is_only_on_the_remote(shared: Space) -> None:
    _lose(shared)
    assert api.read("model.txt") == "model 0.5\n"
    assert api.read("data/sub/b") == "b\n"
    store = shared.project().store()
    assert len(list(store.all())) == 3  # the model, the directory's list, the one file


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        ("nothing", {}, "neither a file of git nor tracked data"),
        ("data", {}, "is a directory"),
        ("data/none", {"rev": "HEAD"}, "neither"),
        ("../raw.txt", {}, "outside"),
        ("model.txt", {"rev": "nosuch"}, "nosuch"),
        ("model.txt", {"repo": "http://127.0.0.1:1/r"}, "reached: Failed to establish"),
        ("model.txt", {"repo": "/nowhere"}, "no repository at"),
    ],
)
def test_read_says_why_not(shared: Space, path: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(PyexpError, match=says):
        api.read(path, **options)  # type: ignore[arg-type]


def test_open_is_for_reading(shared: Space) -> None:
    with pytest.raises(UsageError):
        api.open("model.txt", mode="w")


def test_get_url(shared: Space, tmp_path: Path) -> None:
    found = Path(api.get_url("data/a"))
    assert found.read_bytes() == b"a\n" and tmp_path / "store" in found.parents
    assert api.get_url("data").endswith(".dir")
    assert Path(api.get_url("model.txt", rev="quick")).read_text() == "model 0.25\n"
    assert api.get_url("data/a", remote="new", remote_config={"url": "s3://bucket/x"}).startswith(
        "s3://bucket/x/files/"
    )
    elsewhere = {"core": {"remote": "b"}, "remote": {"b": {"url": "/tmp/b"}}}
    assert api.get_url("data/a", config=elsewhere).startswith("/tmp/b/files/")
    for path in ("train.py", "nothing", "scores.json"):
        with pytest.raises(PyexpError, match="no tracked data"):
            api.get_url(path)
    with pytest.raises(PyexpError, match="remote"):
        api.get_url("data/a", remote="nosuch")


def test_params_show(shared: Space) -> None:
    everything = {"params.yaml:lr": 0.5, "train": {"epochs": 3}, "sub/params.yaml:lr": 9, "only": [1, 2]}
    assert api.params_show() == everything
    assert api.params_show("params.yaml") == {"lr": 0.5, "train": {"epochs": 3}}
    assert api.params_show("params.yaml", "sub/params.yaml") == everything
    assert api.params_show(stages="train") == {"lr": 0.5, "train": {"epochs": 3}}
    assert api.params_show(deps=True) == {"lr": 0.5, "train": {"epochs": 3}}
    assert api.params_show(stages=["copy"]) == {}
    assert api.params_show("params.yaml", rev="quick")["lr"] == 0.25
    for call in (lambda: api.params_show("no.yaml"), lambda: api.params_show(stages="nosuch")):
        with pytest.raises(PyexpError):
            call()


def test_metrics_show(shared: Space) -> None:
    assert api.metrics_show() == {"loss": 2.0}
    assert api.metrics_show(rev="quick") == {"loss": 4.0}
    assert api.metrics_show("scores.json", rev="HEAD") == {"loss": 2.0}
    shared.put("more.json", '{"loss": 1, "n": {"x": 2.5, "l": [1]}, "nothing": null}')
    assert api.metrics_show("scores.json", "more.json") == {
        "scores.json:loss": 2.0,
        "more.json:loss": 1,
        "n": {"x": 2.5},
    }
    with pytest.raises(PyexpError):
        api.metrics_show("nothing.json")


def test_broken_values_raise(shared: Space) -> None:
    shared.put("params.yaml", "lr: [\n")
    with pytest.raises(PyexpError, match="params"):
        api.params_show()
    with pytest.raises(PyexpError, match="params"):
        api.params_show("params.yaml")


def test_exp_show_and_save(shared: Space) -> None:
    rows = api.exp_show()
    assert [(row["Experiment"], row["rev"], row["typ"]) for row in rows[:2]] == [
        (None, "workspace", "baseline"),
        (None, "master", "baseline"),
    ]
    assert rows[2]["Experiment"] == "quick" and rows[2]["typ"] == "branch_base"
    assert rows[2]["loss"] == 4.0 and rows[2]["params.yaml:lr"] == 0.25 and rows[2]["train.epochs"] == 3.0
    assert rows[0]["Created"] is None and rows[0]["only"] == "[1, 2]"
    shared.put("note.txt", "n\n")
    sha = api.exp_save("kept", include_untracked=["note.txt"])
    assert shared.experiments()["kept"] == sha
    assert shared.file_at(sha, "note.txt") == "n\n"
    with pytest.raises(PyexpError):
        api.exp_save("kept")
    assert api.exp_save("kept", force=True) == shared.experiments()["kept"]


def test_git_names(shared: Space) -> None:
    assert api.all_branches() == ["master"]
    assert len(api.all_commits(str(shared.root))) == 2


def test_artifacts_show(shared: Space) -> None:
    head = api.all_commits()[0]
    (shared.root / ".git/refs/tags").mkdir(parents=True, exist_ok=True)
    base = api.all_commits()[1]
    for tag, sha in (("best@v1.2.0", head), ("best@v1.10.0", head), ("best@v0.1.0", base), ("best#prod#2", head)):
        (shared.root / ".git/refs/tags" / tag).write_text(f"{sha}\n")
    assert api.all_tags() == ["best#prod#2", "best@v0.1.0", "best@v1.10.0", "best@v1.2.0"]
    assert api.artifacts_show("best") == {"rev": head, "path": "model.txt"}
    assert api.artifacts_show("best", version="v1.2.0")["rev"] == head
    assert api.artifacts_show("best", stage="prod")["rev"] == head
    for options in ({"version": "1.2.0"}, {"version": "v0.1.0"}, {"stage": "dev"}):
        with pytest.raises(PyexpError, match="best"):
            api.artifacts_show("best", **options)
    with pytest.raises(PyexpError):
        api.artifacts_show("other")
    with pytest.raises(UsageError):
        api.artifacts_show("best", "v1.2.0", "prod")


def test_of_a_git_server(shared: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tmp_path / "r.git"
    bare.mkdir()
    DulwichRepo.init_bare(str(bare), default_branch=b"master").close()
    for args in (("git", "push", str(bare), "master"), ("exp", "push", str(bare), "quick")):
        done = shared.cli(*args)
        assert done.returncode == 0, done.stderr
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", None)
    with served(bare) as url:
        assert api.read("data/sub/b", url) == "b\n" and api.read("train.py", url) == shared.read("train.py")
        with api.open("model.txt", url, rev="quick", mode="rb") as file:
            assert file.read() == b"model 0.25\n"
        assert Path(api.get_url("data/a", url)).read_bytes() == b"a\n"
        assert api.params_show(repo=url, rev="quick")["params.yaml:lr"] == 0.25
        assert api.metrics_show(repo=url) == {"loss": 2.0}
        rows = api.exp_show(url)
        assert [(row["Experiment"], row["rev"]) for row in rows][:2] == [(None, "workspace"), (None, "master")]
        assert rows[2]["Experiment"] == "quick" and rows[2]["loss"] == 4.0
        assert api.all_branches(url) == ["master"] and len(api.all_commits(url)) == 2
        for call in (
            lambda: api.read("none", url),
            lambda: api.read("data", url),
            lambda: api.params_show(repo=url, rev="x"),
        ):
            with pytest.raises(PyexpError):
                call()
    assert not list((tmp_path / "nowhere").iterdir())


def test_signatures_are_those_of_dvc() -> None:
    assert {name: str(list(inspect.signature(getattr(api, name)).parameters)) for name in api.__all__} == {
        "all_branches": "['repo']",
        "all_commits": "['repo']",
        "all_tags": "['repo']",
        "artifacts_show": "['name', 'version', 'stage', 'repo']",
        "exp_save": "['name', 'force', 'include_untracked']",
        "exp_show": "['repo', 'revs', 'num', 'param_deps', 'force', 'config']",
        "get_url": "['path', 'repo', 'rev', 'remote', 'config', 'remote_config']",
        "metrics_show": "['targets', 'repo', 'rev', 'config']",
        "open": "['path', 'repo', 'rev', 'remote', 'mode', 'encoding', 'config', 'remote_config']",
        "params_show": "['targets', 'repo', 'stages', 'rev', 'deps', 'config']",
        "read": "['path', 'repo', 'rev', 'remote', 'mode', 'encoding', 'config', 'remote_config']",
    }
