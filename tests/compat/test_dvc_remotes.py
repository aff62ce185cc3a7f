"""One bucket, and one directory, used by a team of which some have DVC and some pyexp."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from twins import Work, interpreter

pytestmark = [pytest.mark.dvc, pytest.mark.git]

FILES = {
    "params.yaml": "lr: 0.5\n",
    "dvc.yaml": ("stages:\n  train:\n    cmd: cp params.yaml model.txt\n    params: [lr]\n    outs: [model.txt]\n"),
}


@pytest.fixture(params=["directory", "s3"])
def team(
    request: pytest.FixtureRequest,
    project: Callable[..., Work],
    dvc: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Work, Work, Path]]:
    """Two clones of one project with data, and where their remote keeps its files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    work = project(FILES)
    for number, name in enumerate(("a", "b", "sub/ü")):
        work.put(f"data/{name}", f"{number}\n")
    work.dvc("add", "data")
    if request.param == "directory":
        work.dvc("remote", "add", "-d", "r", str(tmp_path / "remote"))
        work.commit()
        yield work, work.twin("other"), tmp_path / "remote"
        return
    if subprocess.run([interpreter(dvc), "-c", "import s3fs"], capture_output=True).returncode:
        pytest.skip("this DVC has no S3: pip install 'dvc[s3]'")
    (tmp_path / "server/bucket").mkdir(parents=True)
    with servers.s3(tmp_path / "server") as endpoint:
        work.dvc("remote", "add", "-d", "r", "s3://bucket/data")
        for name, value in (
            ("endpointurl", endpoint),
            ("access_key_id", servers.KEY),
            ("secret_access_key", servers.SECRET),
            ("region", "us-east-1"),
        ):
            work.dvc("remote", "modify", "r", name, value)
        work.commit()
        yield work, work.twin("other"), tmp_path / "server/bucket/data"


def stored(top: Path) -> dict[str, bytes]:
    """Everything on the remote."""
    return {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("first", "second"), [("dvc", "pyexp"), ("pyexp", "dvc")])
def test_what_one_pushes_the_other_pulls(team: tuple[Work, Work, Path], first: str, second: str) -> None:
    ann, bob, top = team
    ann.tool(first, "repro")
    ann.tool(first, "push")
    assert len(stored(top)) == 5
    ann.tool(second, "push")
    assert len(stored(top)) == 5
    for path in ("dvc.lock", ".gitignore"):
        bob.put(path, ann.read(path))
    bob.remove("data", ".dvc/cache")
    told = bob.tool(second, "status", "-c", "--json").json()
    # DVC fetches the manifest to look into it, and then has it.
    assert set(told) | {"data/"} == {"data/", "data/a", "data/b", "data/sub/ü", "model.txt"}
    bob.tool(second, "pull")
    assert bob.read("data/sub/ü") == "2\n" and bob.read("model.txt") == "lr: 0.5\n"
    assert bob.tool(first, "status", "-c", "--json").json() == {}
    assert bob.tool(first, "status", "--json").json() == {}


@pytest.mark.parametrize(("first", "second"), [("dvc", "pyexp"), ("pyexp", "dvc")])
def test_the_run_cache_goes_both_ways(team: tuple[Work, Work, Path], first: str, second: str) -> None:
    ann, bob, top = team
    ann.tool(first, "repro")
    ann.tool(first, "push", "--run-cache")
    records = [path for path in stored(top) if path.startswith("runs/")]
    assert len(records) == 1
    bob.remove("data", ".dvc/cache")
    told = bob.tool(second, "repro", "--pull")
    assert "Running stage" not in told.out and bob.read("model.txt") == "lr: 0.5\n"


@pytest.mark.parametrize(("first", "second"), [("dvc", "pyexp"), ("pyexp", "dvc")])
def test_experiments_with_their_data(team: tuple[Work, Work, Path], tmp_path: Path, first: str, second: str) -> None:
    ann, bob, _ = team
    ann.tool(first, "repro")
    commit = ann.commit("baseline")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")], check=True)
    for work in (ann, bob):
        work.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    ann.git("push", "-q", "origin", "main")
    ann.tool(first, "exp", "run", "-n", "hot", "-S", "lr=0.75")
    ann.tool(first, "exp", "push", "origin", "hot")
    bob.git("fetch", "-q", "origin")
    bob.git("reset", "-q", "--hard", commit)
    bob.remove(".dvc/cache")
    assert "hot" in bob.tool(second, "exp", "list", "origin").out
    bob.tool(second, "exp", "pull", "origin", "hot")
    bob.tool(second, "exp", "apply", "hot")
    assert bob.read("model.txt") == "lr: 0.75\n" and bob.read("params.yaml") == "lr: 0.75\n"
    bob.tool(second, "exp", "remove", "-g", "origin", "hot")
    assert "hot" not in ann.tool(first, "exp", "list", "origin").out


def test_data_that_is_not_on_the_remote(team: tuple[Work, Work, Path], tmp_path: Path) -> None:
    ann, bob, _ = team
    empty = str(tmp_path / "empty")
    for work in team[:2]:
        work.put("local.txt.dvc", "outs:\n- md5: 60b725f10c9c85c70d97880dfe8191b3\n  path: local.txt\n  push: false\n")
        work.dvc("remote", "add", "-q", "empty", empty)
    ann.dvc("repro")

    def look(*args: str) -> list[str]:
        told = [
            ann.tool(tool, "data", "status", "--not-in-remote", "--json", *args).json() for tool in ("dvc", "pyexp")
        ]
        groups = [sorted(one.get("not_in_remote", [])) for one in told]
        assert groups[0] == groups[1], args
        lines = ann.pyexp("data", "status", "--not-in-remote", *args).out.partition("Not in remote:\n")[2]
        shown = [line.strip() for line in lines.partition("\n\n")[0].splitlines() if line.startswith("    ")]
        assert sorted(shown) == groups[0]
        return groups[0]

    inside = ["data/", "data/a", "data/b", "data/sub/ü"]
    assert look() == ["data/", "model.txt"]
    assert look("--granular") == [*inside, "model.txt"]
    ann.pyexp("push", "-q", "model.txt", "data/a")
    assert look("--granular", "--no-remote-refresh") == [*inside, "model.txt"]
    assert look("--granular") == ["data/", "data/b", "data/sub/ü"]
    assert look("--granular", "--no-remote-refresh") == ["data/", "data/b", "data/sub/ü"]
    ann.pyexp("push", "-q")
    assert look("--granular", "data/b") == []
    assert look("--granular", "-r", "empty") == [*inside, "model.txt"]
    assert look("-r", "empty", "data") == ["data/"]
    assert look() == look("--granular") == []
    # A manifest that is only on the remote is looked into there.
    bob.remove("data", ".dvc/cache")
    ann.remove(".dvc/cache/files")
    assert look("--granular") == []


def test_without_a_remote_nothing_is_on_one(project: Callable[..., Work]) -> None:
    work = project({})
    work.put("data/a", "a\n")
    work.dvc("add", "-q", "data")
    told = [
        work.tool(tool, "data", "status", "--not-in-remote", "--granular", "--json").json() for tool in ("dvc", "pyexp")
    ]
    assert [sorted(one["not_in_remote"]) for one in told] == [["data/", "data/a"]] * 2
    assert "there is no remote 'nosuch'" in work.pyexp("data", "status", "--not-in-remote", "-r", "nosuch", code=1).err
    assert "go with --not-in-remote" in work.pyexp("data", "status", "-r", "other", code=2).err
