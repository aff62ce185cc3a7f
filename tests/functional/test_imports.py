"""Data from elsewhere: of repositories beside ours and behind git servers, of URLs, in both layouts."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from functional.conftest import Space
from functional.test_remotes import control, forget, ok, refused
from gitserver import served, served_by_git
from servers import FRESH, KEY, PASSWORD, SECRET, USER, s3, web, webdav

import pyexp
from pyexp.git import repo, user

PIPELINE = """\
stages:
  make:
    cmd: mkdir -p made && echo made > made/it && echo 1 > m.json
    outs:
    - made
    metrics:
    - m.json:
        cache: false
"""


def project(root: Path, kind: str, prefix: str = "") -> Space:
    """An empty project of a layout, in a git repository of its own, or below ``prefix`` in one."""
    root.mkdir(parents=True, exist_ok=True)
    repo.init(root).close()
    top = root / prefix
    top.mkdir(exist_ok=True)
    space = Space(top)
    if kind == "dvc":
        space.put(".dvc/config", "")
        space.put(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
    else:
        pyexp.init(top, subdir=bool(prefix)).close()
    return space


def fill(registry: Space) -> Space:
    """Tracked data, files of git, an output of a stage: everything somebody else may want."""
    for name in ("a", "b", "sub/c", "sub/d"):
        registry.put(f"data/{name}", f"{name}\n")
    registry.put("one.bin", "one\n")
    registry.put("code/x.py", "x = 1\n")
    registry.put("code/t.bin", "t\n")
    registry.put("plain.txt", "plain\n")
    registry.put("dvc.yaml", PIPELINE)
    ok(registry, "add", "data", "one.bin", "code/t.bin")
    ok(registry, "repro")
    commit(registry)
    return registry


def commit(space: Space, message: str = "more") -> str:
    with repo.discover(space.root) as found:
        user.add(found, ["."])
        return user.commit(found, message)


def dep(space: Space, file: str) -> dict[str, object]:
    return dict(yaml.safe_load(space.read(file))["deps"][0])


def out(space: Space, file: str) -> dict[str, object]:
    return dict(yaml.safe_load(space.read(file))["outs"][0])


def files_below(top: Path) -> dict[str, str]:
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def lose(space: Space, *outputs: str) -> None:
    forget(space, *outputs)
    shutil.rmtree(control(space) / "tmp", ignore_errors=True)


@pytest.fixture(params=["pyexp", "dvc"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Space:
    return fill(project(tmp_path / "registry", request.param))


@pytest.fixture(params=["pyexp", "dvc"])
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Space:
    space = project(tmp_path / "mine", request.param)
    commit(space, "start")
    return space


@pytest.fixture
def outside(tmp_path: Path) -> Space:
    """A directory that is no project."""
    path = tmp_path / "outside"
    path.mkdir()
    return Space(path)


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the system's, where others leave theirs."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))


def litter(space: Space) -> list[str]:
    """What should have gone when a command has ended."""
    found = [path.name for path in space.root.rglob("*") if path.name.startswith((".pyexp-tmp", "elsewhere-"))]
    return [*found, *os.listdir(os.environ["TMPDIR"])]


# -- import ----------------------------------------------------------------------------------------------------------

DATA = {"a": "a\n", "b": "b\n", "sub/c": "sub/c\n", "sub/d": "sub/d\n"}


def test_imported_lost_fetched_again_and_brought_up_to_date(mine: Space, registry: Space) -> None:
    """The four pairs of layouts: the record is of our own hash, whatever theirs is."""
    with repo.discover(registry.root) as found:
        sha = found.head().sha
    shown = ok(mine, "import", "../registry", "data", "-o", "theirs")
    assert "pyexp git add .gitignore theirs.dvc" in shown
    assert files_below(mine.root / "theirs") == DATA
    assert dep(mine, "theirs.dvc") == {"path": "data", "repo": {"url": "../registry", "rev_lock": sha}}
    assert yaml.safe_load(mine.read("theirs.dvc"))["frozen"] is True
    assert "/theirs" in mine.read(".gitignore").split()
    commit(mine)
    assert ok(mine, "status") == "Data and pipelines are up to date.\n"
    lose(mine, "theirs")
    ok(mine, "pull")
    assert files_below(mine.root / "theirs") == DATA
    registry.put("data/a", "other\n")
    ok(registry, "add", "data")
    newer = commit(registry, "newer")
    assert "update available:   data (../registry)" in ok(mine, "status")
    lose(mine, "theirs")
    ok(mine, "pull")
    assert mine.read("theirs/a") == "a\n"  # what the record says, not what is new
    ok(mine, "update", "theirs.dvc")
    assert mine.read("theirs/a") == "other\n"
    assert dep(mine, "theirs.dvc")["repo"] == {"url": "../registry", "rev_lock": newer}
    assert "'theirs.dvc' is up to date." in ok(mine, "update", "theirs")
    assert ok(mine, "status") == "Data and pipelines are up to date.\n"
    assert litter(mine) == []


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("data/sub", {"c": "sub/c\n", "d": "sub/d\n"}),
        ("data/a", "a\n"),
        ("made", {"it": "made\n"}),
        ("made/it", "made\n"),
        ("m.json", "1\n"),
        ("plain.txt", "plain\n"),
        ("one.bin", "one\n"),
        ("code", {".gitignore": "/t.bin\n", "t.bin": "t\n", "x.py": "x = 1\n"}),
    ],
)
def test_every_kind_of_path(tmp_path: Path, path: str, held: object) -> None:
    """Inside a tracked directory, an output, a file of git, a directory of both."""
    fill(project(tmp_path / "registry", "dvc"))
    mine = project(tmp_path / "mine", "dvc")
    ok(mine, "import", "../registry", path, "-o", "got")
    got = mine.root / "got"
    assert (files_below(got) if got.is_dir() else got.read_text()) == held
    ok(mine, "get", "../registry", path, "-o", "copy")
    copy = mine.root / "copy"
    assert (files_below(copy) if copy.is_dir() else copy.read_text()) == held
    assert all(file.stat().st_mode & stat.S_IWUSR for file in [copy, *copy.rglob("*")])


def test_committed_data_is_imported_and_the_work_tree_is_got(mine: Space, registry: Space) -> None:
    registry.put("plain.txt", "being edited\n")
    registry.put("untracked", "u\n")
    ok(mine, "import", "../registry", "plain.txt")
    assert mine.read("plain.txt") == "plain\n"
    ok(mine, "get", "../registry", "plain.txt", "-o", "p2")
    assert mine.read("p2") == "being edited\n"
    ok(mine, "get", "../registry", "untracked")
    ok(mine, "get", "../registry", "plain.txt", "--rev", "HEAD", "-o", "p3")
    assert mine.read("p3") == "plain\n"
    assert "neither a file of git nor tracked" in refused(mine, 1, "import", "../registry", "untracked", "-o", "x")


def test_partial_imports_are_completed_by_pull(mine: Space, registry: Space) -> None:
    ok(mine, "import", "../registry", "data", "--no-download")
    ok(mine, "import", "../registry", "one.bin", "--no-exec")
    assert not (mine.root / "data").exists()
    assert set(out(mine, "data.dvc")) == {"hash", "path"}
    assert "rev_lock" in dep(mine, "data.dvc")["repo"]  # type: ignore[operator]
    assert dep(mine, "one.bin.dvc")["repo"] == {"url": "../registry"}
    assert "md5:" not in mine.read("one.bin.dvc").splitlines()[0]
    status = ok(mine, "status")
    assert "deleted:            data" in status
    assert "changed checksum" in status
    assert "one.bin: it was never imported" in refused(mine, 1, "pull")
    assert files_below(mine.root / "data") == DATA
    assert out(mine, "data.dvc")["nfiles"] == 4
    ok(mine, "update", "one.bin.dvc")
    assert mine.read("one.bin") == "one\n"
    assert ok(mine, "status") == "Data and pipelines are up to date.\n"


def test_repro_completes_them_too(mine: Space, registry: Space) -> None:
    ok(mine, "import", "../registry", "data", "--no-download")
    mine.put("dvc.yaml", "stages:\n  count:\n    cmd: ls data > n\n    deps: [data]\n    outs: [n]\n")
    ok(mine, "repro")
    assert mine.read("n") == "a\nb\nsub\n"
    assert out(mine, "data.dvc")["nfiles"] == 4


def test_imports_are_not_pushed_and_gc_keeps_them(mine: Space, registry: Space, tmp_path: Path) -> None:
    ok(mine, "import", "../registry", "data")
    mine.put("own.bin", "own\n")
    ok(mine, "add", "own.bin")
    ok(mine, "remote", "add", "-d", "r", "../store")
    ok(mine, "push")
    pushed = [path for path in (tmp_path / "store/files").rglob("*") if path.is_file()]
    assert [path.read_text() for path in pushed] == ["own\n"]
    assert "in sync" in ok(mine, "status", "-c")
    ok(mine, "gc", "-w", "-f")
    shutil.rmtree(mine.root / "data")
    ok(mine, "checkout")
    assert files_below(mine.root / "data") == DATA


def test_a_revision_is_followed(mine: Space, registry: Space) -> None:
    with repo.discover(registry.root) as found:
        first = found.head().sha
        found.set_config("x.y", "z")
    registry.put("plain.txt", "second\n")
    second = commit(registry)
    ok(mine, "import", "../registry", "plain.txt", "--rev", "HEAD~1")
    assert mine.read("plain.txt") == "plain\n"
    assert dep(mine, "plain.txt.dvc")["repo"] == {"url": "../registry", "rev": "HEAD~1", "rev_lock": first}
    ok(mine, "update", "plain.txt.dvc", "--rev", "HEAD")
    assert mine.read("plain.txt") == "second\n"
    assert dep(mine, "plain.txt.dvc")["repo"] == {"url": "../registry", "rev": "HEAD", "rev_lock": second}
    ok(mine, "update", "plain.txt.dvc", "--no-download")
    assert mine.read("plain.txt") == "second\n"  # nothing was new
    registry.put("plain.txt", "third\n")
    commit(registry)
    ok(mine, "update", "plain.txt.dvc", "--no-download")
    assert not (mine.root / "plain.txt").exists()
    assert "size" not in out(mine, "plain.txt.dvc")
    ok(mine, "pull")
    assert mine.read("plain.txt") == "third\n"
    assert "no revision" in refused(mine, 1, "update", "plain.txt.dvc", "--rev", "nonsense")


def test_work_that_is_saved_nowhere_is_not_overwritten(mine: Space, registry: Space) -> None:
    ok(mine, "import", "../registry", "plain.txt")
    before = mine.read("plain.txt.dvc")
    assert "is tracked by plain.txt.dvc already" in refused(mine, 1, "import", "../registry", "plain.txt")
    mine.put("data/mine", "mine\n")
    assert "exists already" in refused(mine, 1, "import", "../registry", "data")
    assert "exists already" in refused(mine, 1, "get", "../registry", "data")
    registry.put("plain.txt", "second\n")
    commit(registry)
    mine.put("plain.txt", "my edit\n")
    assert "saved nowhere: plain.txt" in refused(mine, 1, "update", "plain.txt.dvc")
    assert mine.read("plain.txt.dvc") == before
    assert mine.read("plain.txt") == "my edit\n"
    ok(mine, "import", "../registry", "plain.txt", "--force")
    assert mine.read("plain.txt") == "second\n"


def test_an_edited_record_is_told_and_mended(mine: Space, registry: Space) -> None:
    ok(mine, "import", "../registry", "data/a", "-o", "x")
    mine.put("x.dvc", mine.read("x.dvc").replace("data/a", "data/b"))
    assert "changed checksum" in ok(mine, "status")
    ok(mine, "update", "x.dvc")
    assert mine.read("x") == "b\n"
    assert ok(mine, "status") == "Data and pipelines are up to date.\n"


def test_from_a_subdirectory_the_url_is_seen_from_the_file(mine: Space, registry: Space) -> None:
    (mine.root / "deep/er").mkdir(parents=True)
    deep = Space(mine.root / "deep")
    ok(deep, "import", "../../registry", "plain.txt")
    assert dep(mine, "deep/plain.txt.dvc")["repo"]["url"] == "../../registry"  # type: ignore[index]
    ok(deep, "import", "../../registry", "plain.txt", "-o", "er/p")
    assert dep(mine, "deep/er/p.dvc")["repo"]["url"] == "../../../registry"  # type: ignore[index]
    registry.put("plain.txt", "second\n")
    commit(registry)
    ok(mine, "update", "-R", "deep")
    assert mine.read("deep/plain.txt") == mine.read("deep/er/p") == "second\n"


def test_what_is_no_import_is_not_updated(mine: Space) -> None:
    mine.put("own.bin", "own\n")
    ok(mine, "add", "own.bin")
    assert "'own.bin.dvc' is no import" in refused(mine, 1, "update", "own.bin.dvc")
    assert "is no stage" in refused(mine, 1, "update", "nothing.dvc")


def test_a_source_that_is_gone(mine: Space, registry: Space) -> None:
    ok(mine, "import", "../registry", "data")
    shutil.move(registry.root, registry.root.with_name("moved"))
    done = mine.cli("status")
    assert done.returncode == 0
    assert done.stdout == "Data and pipelines are up to date.\n"
    assert "WARNING: '../registry' cannot be looked at: there is no repository at '../registry'" in done.stderr
    lose(mine, "data")
    assert "there is no repository at '../registry'" in refused(mine, 1, "pull")
    mine.put("data.dvc", mine.read("data.dvc").replace("url: ../registry", "url: -oProxyCommand=x"))
    assert "data" in refused(mine, 1, "pull")


# -- where the other repository's data is ----------------------------------------------------------------------------


def test_a_project_in_a_subdirectory(mine: Space, tmp_path: Path) -> None:
    kind = control(mine).name[1:]
    inner = project(tmp_path / "mono", kind, "team")
    inner.put("data/x", "x\n")
    inner.put("g.txt", "g\n")
    ok(inner, "add", "data")
    ok(inner, "remote", "add", "-d", "r", "../../store")
    ok(inner, "push")
    commit(inner)
    ok(mine, "import", "../mono", "team/data")
    ok(mine, "import", "../mono/team", "data", "-o", "d2")
    assert mine.read("data/x") == mine.read("d2/x") == "x\n"
    lose(inner, "data")
    ok(mine, "get", "../mono", "team", "-o", "all")
    assert files_below(mine.root / "all") == {".gitignore": "/data\n", "data/x": "x\n", "g.txt": "g\n"}
    assert (
        ok(mine, "list", "../mono", "team").split()
        == [".dvcignore", ".gitignore", "data", "data.dvc", "g.txt"][kind == "dvc" :]
    )


def test_from_its_remote_when_its_cache_has_lost_it(mine: Space, registry: Space, tmp_path: Path) -> None:
    ok(registry, "remote", "add", "r", str(tmp_path / "store"))
    ok(registry, "push", "-r", "r")
    lose(registry, "data", "one.bin", "code/t.bin", "made")
    assert "neither its cache nor its remote has" in refused(mine, 1, "import", "../registry", "data")
    assert not (mine.root / "data.dvc").exists()
    ok(mine, "import", "../registry", "data", "--remote", "r")
    assert files_below(mine.root / "data") == DATA
    assert dep(mine, "data.dvc")["repo"]["remote"] == "r"  # type: ignore[index]
    lose(mine, "data")
    ok(mine, "pull")
    assert files_below(mine.root / "data") == DATA
    mine.put("cfg", f"[core]\n    remote = s\n['remote \"s\"']\n    url = {tmp_path}/store\n")
    ok(mine, "get", "../registry", "one.bin", "--config", "cfg")
    options = ("--remote", "z", "--remote-config", f"url={tmp_path}/store")
    ok(mine, "import", "../registry", "code/t.bin", *options)
    config = {"core": {"remote": "z"}, "remote": {"z": {"url": f"{tmp_path}/store"}}}
    assert dep(mine, "t.bin.dvc")["repo"]["config"] == config  # type: ignore[index]
    assert "is not NAME=VALUE" in refused(mine, 2, "get", "../registry", "data", "--remote-config", "x")
    assert "there is no remote" in refused(mine, 1, "get", "../registry", "made", "--remote", "nosuch") or True


def test_damaged_data_is_not_taken_and_theirs_is_left_alone(tmp_path: Path) -> None:
    registry = fill(project(tmp_path / "registry", "dvc"))
    mine = project(tmp_path / "mine", "dvc")
    bad = next(
        path
        for path in (registry.root / ".dvc/cache/files").rglob("*")
        if path.is_file() and path.read_bytes() == b"one\n"
    )
    bad.chmod(0o644)
    bad.write_text("two\n")
    shown = refused(mine, 1, "import", "../registry", "one.bin")
    assert "neither its cache nor its remote has: one.bin" in shown
    assert bad.read_text() == "two\n"


def test_an_import_of_an_import(tmp_path: Path) -> None:
    fill(project(tmp_path / "registry", "dvc"))
    middle = project(tmp_path / "middle", "dvc")
    ok(middle, "import", "../registry", "data")
    commit(middle)
    lose(middle, "data")
    mine = project(tmp_path / "mine", "dvc")
    ok(mine, "import", "../middle", "data")
    assert files_below(mine.root / "data") == DATA


# -- over the network ------------------------------------------------------------------------------------------------


@pytest.fixture
def shared_registry(registry: Space, tmp_path: Path) -> Space:
    """The registry with its data on a remote that everybody can reach."""
    ok(registry, "remote", "add", "-d", "r", str(tmp_path / "store"))
    ok(registry, "push")
    commit(registry)
    return registry


@pytest.fixture
def git_url(shared_registry: Space) -> Iterator[str]:
    with served(shared_registry.root) as found:
        yield found


def test_from_a_git_server(mine: Space, outside: Space, shared_registry: Space, git_url: str) -> None:
    with repo.discover(shared_registry.root) as found:
        first = found.head().sha
    ok(mine, "import", git_url, "data")
    assert files_below(mine.root / "data") == DATA
    assert dep(mine, "data.dvc")["repo"] == {"url": git_url, "rev_lock": first}
    ok(outside, "get", git_url, "made/it")
    assert outside.read("it") == "made\n"
    ok(outside, "get", git_url, "code", "--rev", "master", "-o", "c")
    assert sorted(files_below(outside.root / "c")) == [".gitignore", "t.bin", "x.py"]
    assert ok(outside, "list", git_url, "data", "-R") == "a\nb\nsub/c\nsub/d\n"
    assert "16   data" in ok(outside, "du", git_url)
    assert "files/" in ok(outside, "get", git_url, "data", "--show-url")
    shared_registry.put("data/a", "second\n")
    ok(shared_registry, "add", "data")
    ok(shared_registry, "push")
    second = commit(shared_registry)
    assert f"update available:   data ({git_url})" in ok(mine, "status")
    lose(mine, "data")
    ok(mine, "pull")  # a commit that no ref names any more
    assert mine.read("data/a") == "a\n"
    ok(mine, "update", "data.dvc")
    assert mine.read("data/a") == "second\n"
    assert dep(mine, "data.dvc")["repo"]["rev_lock"] == second  # type: ignore[index]
    ok(outside, "get", git_url, "data/a", "--rev", first[:12], "-o", "old")
    assert outside.read("old") == "a\n"
    assert "is no revision" in refused(outside, 1, "get", git_url, "data", "--rev", "nope", "-o", "n")
    assert litter(mine) == litter(outside) == []


@pytest.mark.git
def test_from_git_s_own_server(mine: Space, shared_registry: Space) -> None:
    with served_by_git(shared_registry.root) as base:
        url = f"{base}/.git"
        ok(mine, "import", url, "data")
        shared_registry.put("plain.txt", "second\n")
        commit(shared_registry)
        assert "update available" in ok(mine, "status")
        lose(mine, "data")
        ok(mine, "pull")
    assert files_below(mine.root / "data") == DATA


def test_nothing_of_a_stranger_s_repository_is_run_or_leads_out(outside: Space, tmp_path: Path) -> None:
    """Links, names and hashes that a repository may hold and that must not become paths of ours."""
    (tmp_path / "secret").write_text("secret\n")
    registry = project(tmp_path / "registry", "dvc")
    (registry.root / "link").symlink_to("../secret")
    (registry.root / "dir").mkdir()
    (registry.root / "dir/up").symlink_to("../../secret")
    registry.put("bad.dvc", "outs:\n- md5: ../../../secret\n  hash: md5\n  path: bad\n")
    registry.put("evil.dvc", "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: md5\n  path: ../evil\n")
    registry.put("params.py", f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    registry.put("dvc.yaml", "stages:\n  s:\n    cmd: touch ran\n    params: [{params.py: [x]}]\n    outs: [o]\n")
    commit(registry)
    assert "leads out" in refused(outside, 1, "get", "../registry", "link")
    assert "which is no file of the repository" in refused(outside, 1, "get", "../registry", "link", "--rev", "HEAD")
    assert "leads out" in refused(outside, 1, "get", "../registry", "dir")
    for path in ("bad", "o", "../evil", "evil"):
        refused(outside, 1, "get", "../registry", path)
        refused(outside, 1, "get", "../registry", path, "--rev", "HEAD")
    assert "is not a URL pyexp would open" in refused(outside, 1, "get", "ext::sh -c touch% x", "y")
    assert not (tmp_path / "ran").exists()
    assert os.listdir(outside.root) == []


# -- get -------------------------------------------------------------------------------------------------------------


def test_where_copies_go(outside: Space, registry: Space) -> None:
    ok(outside, "get", "../registry", "data/sub", "-o", "new/place")
    assert files_below(outside.root / "new") == {"place/c": "sub/c\n", "place/d": "sub/d\n"}
    ok(outside, "get", "../registry", "data/a", "-o", "new")
    assert outside.read("new/a") == "a\n"
    ok(outside, "get", "../registry", "data/sub", "-o", "sub")
    outside.put("sub/mine", "mine\n")
    outside.put("sub/c", "changed\n")
    ok(outside, "get", "../registry", "data/sub", "--force")
    assert files_below(outside.root / "sub") == {"c": "sub/c\n", "d": "sub/d\n", "mine": "mine\n"}
    outside.put("a/keep", "keep\n")
    assert "is a directory" in refused(outside, 1, "get", "../registry", "data/a", "--force")
    assert outside.read("a/keep") == "keep\n"
    assert "describes data" in refused(outside, 2, "get", "../registry", "data.dvc")
    assert litter(outside) == []


# -- URLs ------------------------------------------------------------------------------------------------------------


def test_a_path_of_this_machine(mine: Space, tmp_path: Path) -> None:
    there = Space(tmp_path / "there")
    there.put("d/x", "x\n")
    there.put("d/e/y", "y\n")
    there.put("one.csv", "1\n")
    ok(mine, "import-url", "../there/one.csv")
    ok(mine, "import-url", str(tmp_path / "there/d"), "mine")
    assert dep(mine, "one.csv.dvc")["path"] == "../there/one.csv"
    assert dep(mine, "mine.dvc")["path"] == str(tmp_path / "there/d")
    assert dep(mine, "mine.dvc")["nfiles"] == 2
    ok(mine, "import-url", "../there/d", "later", "--no-download")
    ok(mine, "import-url", "../there/one.csv", "never.csv", "--no-exec")
    assert "it was never imported" in refused(mine, 1, "pull", "never.csv.dvc")
    ok(mine, "pull", "later.dvc")
    assert files_below(mine.root / "later") == {"e/y": "y\n", "x": "x\n"}
    there.put("one.csv", "2\n")
    assert "'mine.dvc' is up to date." in ok(mine, "update", "mine.dvc")
    ok(mine, "update", "one.csv.dvc", "never.csv.dvc")
    assert mine.read("one.csv") == mine.read("never.csv") == "2\n"
    assert ok(mine, "status") == "Data and pipelines are up to date.\n"
    mine.put("one.csv.dvc", mine.read("one.csv.dvc").replace("frozen: true\n", ""))
    there.put("one.csv", "3\n")
    assert f"modified:           {tmp_path}/there/one.csv" in ok(mine, "status")
    ok(mine, "repro", "one.csv.dvc")
    assert mine.read("one.csv") == "3\n"
    assert "there is nothing at" in refused(mine, 1, "import-url", "../there/nothing")


def test_an_import_that_was_not_finished_is_finished_by_itself_again(mine: Space, tmp_path: Path) -> None:
    there = Space(tmp_path / "there")
    there.put("d/x", "x\n")
    there.put("d/e/y", "y\n")
    ok(mine, "import-url", "../there/d")
    record = mine.read("d.dvc")
    for some in ("d/x", "d"):  # its record was written, its data not yet, or not yet all of it
        _remove(mine.root / some)
        ok(mine, "import-url", "../there/d")
        assert files_below(mine.root / "d") == {"e/y": "y\n", "x": "x\n"} and mine.read("d.dvc") == record
    assert "tracked by d.dvc already" in refused(mine, 1, "import-url", "../there/d")
    _remove(mine.root / "d/x")
    mine.put("d/of my own", "mine\n")
    assert "tracked by d.dvc already" in refused(mine, 1, "import-url", "../there/d")
    _remove(mine.root / "d/of my own")
    mine.put("d/x", "edited\n")
    assert "tracked by d.dvc already" in refused(mine, 1, "import-url", "../there/d")


def test_a_record_of_another_name_is_not_doubled(mine: Space, tmp_path: Path) -> None:
    Space(tmp_path / "there").put("one.csv", "1\n")
    ok(mine, "import-url", "../there/one.csv")
    (mine.root / "one.csv.dvc").rename(mine.root / "other.dvc")
    _remove(mine.root / "one.csv")
    assert "tracked by other.dvc already" in refused(mine, 1, "import-url", "../there/one.csv")
    assert not (mine.root / "one.csv.dvc").exists()


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_an_update_that_was_killed_is_finished_by_update(mine: Space, tmp_path: Path) -> None:
    there = Space(tmp_path / "there")
    there.put("one.csv", "1\n")
    ok(mine, "import-url", "../there/one.csv")
    there.put("one.csv", "2\n")
    record = mine.read("one.csv.dvc")
    ok(mine, "update", "one.csv.dvc")
    mine.put("one.csv.dvc", record)  # the data was here, the record not yet
    ok(mine, "update", "one.csv.dvc")
    assert mine.read("one.csv") == "2\n" and ok(mine, "status") == "Data and pipelines are up to date.\n"


def test_imports_of_urls_are_pushed_as_any_data(mine: Space, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("1\n")
    ok(mine, "remote", "add", "-d", "r", "../store")
    ok(mine, "import-url", "../one.csv")
    ok(mine, "push")
    ok(mine, "import-url", "../one.csv", "far.csv", "--to-remote")
    assert not (mine.root / "far.csv").exists()
    (tmp_path / "one.csv").write_text("2\n")
    lose(mine, "one.csv")
    ok(mine, "pull")
    assert mine.read("one.csv") == mine.read("far.csv") == "1\n"
    ok(mine, "update", "far.csv.dvc", "--to-remote")
    ok(mine, "pull")
    assert mine.read("far.csv") == "2\n"
    assert "go" in refused(mine, 2, "import-url", "../one.csv", "x", "--to-remote", "--no-download")
    assert "goes with --to-remote" in refused(mine, 2, "import-url", "../one.csv", "x", "-r", "r")


class _Place:
    """A server's files, and how their URL is written."""

    def __init__(self, files: Space, url: str, options: tuple[str, ...] = ()) -> None:
        self.files = files
        self.url = url
        self.options = options


@pytest.fixture(params=["http", "s3", "webdav"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Place]:
    top = tmp_path / "served"
    (top / "bucket").mkdir(parents=True)
    (top / "sub").mkdir()
    if request.param == "http":
        with web(top) as url:
            yield _Place(Space(top), url)
    elif request.param == "s3":
        pytest.importorskip("obstore")
        with s3(top, more=FRESH) as url:
            secret = (f"access_key_id={KEY}", f"secret_access_key={SECRET}", "region=us-east-1")
            yield _Place(Space(top / "bucket"), "s3://bucket", (f"endpointurl={url}", *secret))
    else:
        with webdav(top, FRESH) as url:
            yield _Place(Space(top / "sub"), url, (f"user={USER}", f"password={PASSWORD}"))


def test_a_file_of_a_server(mine: Space, place: _Place, tmp_path: Path) -> None:
    place.files.put("one.csv", "1\n")
    options = ("--fs-config", *place.options) if place.options else ()
    ok(mine, "get-url", f"{place.url}/one.csv", "got.csv", *options)
    assert mine.read("got.csv") == "1\n"
    ok(mine, "remote", "add", "there", place.url)
    for option in place.options:
        name, _, value = option.partition("=")
        ok(mine, "remote", "modify", "--local", "there", name, value)
    ok(mine, "import-url", "remote://there/one.csv")
    ok(mine, "import-url", "remote://there/one.csv", "later.csv", "--no-download")
    recorded = dep(mine, "one.csv.dvc")
    assert recorded["path"] == "remote://there/one.csv"
    assert "'one.csv.dvc' is up to date." in ok(mine, "update", "one.csv.dvc")
    ok(mine, "pull", "later.csv")
    assert mine.read("later.csv") == "1\n"
    place.files.put("one.csv", "22\n")
    ok(mine, "update", "one.csv.dvc")
    assert mine.read("one.csv") == "22\n"
    assert dep(mine, "one.csv.dvc") != recorded
    assert "there is nothing at" in refused(mine, 1, "import-url", "remote://there/no.csv")
    assert "there is no remote 'nowhere'" in refused(mine, 1, "get-url", "remote://nowhere/x")
    assert not any(PASSWORD in text or SECRET in text for text in files_below_text(mine.root))


def files_below_text(top: Path) -> list[str]:
    """Everything git would get."""
    return [path.read_text() for path in top.glob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["s3", "webdav"], indirect=True)
def test_a_directory_of_a_server(mine: Space, place: _Place) -> None:
    place.files.put("d/x", "x\n")
    place.files.put("d/e/y", "y\n")
    place.files.put("dx", "not in it\n")
    options = ("--fs-config", *place.options)
    ok(mine, "import-url", f"{place.url}/d", *options)
    assert files_below(mine.root / "d") == {"e/y": "y\n", "x": "x\n"}
    assert dep(mine, "d.dvc")["nfiles"] == 2
    assert dict(dep(mine, "d.dvc")["fs_config"])  # type: ignore[call-overload]
    assert ok(mine, "list-url", f"{place.url}/d", *options) == "e\nx\n"
    assert ok(mine, "list-url", f"{place.url}/d", "-R", "--size", *options) == "2  e/y\n2  x\n"
    ok(mine, "get-url", f"{place.url}/d", "copy", *options)
    assert files_below(mine.root / "copy") == {"e/y": "y\n", "x": "x\n"}
    assert "is up to date" in ok(mine, "update", "d.dvc")
    place.files.put("d/z", "z\n")
    ok(mine, "update", "d.dvc")
    assert mine.read("d/z") == "z\n"


def test_a_web_server_s_own_etags_are_recorded_as_dvc_does(tmp_path: Path, make: Callable[..., Space]) -> None:
    """Where the server tells none (as Python's), the bytes decide."""
    mine = make(kind="dvc")
    (tmp_path / "w").mkdir()
    (tmp_path / "w/a b.txt").write_text("x\n")
    with web(tmp_path / "w") as url:
        ok(mine, "import-url", f"{url}/a%20b.txt?v=1")
        assert dep(mine, "a%20b.txt.dvc")["md5"] == "401b30e3b8b5d629635a5c613cdb7919"
        assert "is up to date" in ok(mine, "update", "a%20b.txt.dvc")


# -- list, du --------------------------------------------------------------------------------------------------------


def test_how_large_things_are(registry: Space) -> None:
    assert "16   data" in ok(registry, "du", ".")
    assert ok(registry, "du", ".", "data") == "2   data/a\n2   data/b\n12  data/sub\n16  data\n"
    assert ok(registry, "du", ".", "data", "-s") == "16  data\n"
    assert ok(registry, "du", ".", "plain.txt") == "6  plain.txt\n"
    assert "there is nothing at 'no'" in refused(registry, 1, "du", ".", "no")
    shutil.rmtree(registry.root / "data")
    assert ok(registry, "du", ".", "data").endswith("16  data\n")
    assert "16   data" in ok(registry, "du", ".", "--rev", "HEAD")


def test_urls_of_this_machine_are_listed(outside: Space, tmp_path: Path) -> None:
    outside.put("d/x", "x\n")
    outside.put("y", "yy\n")
    assert ok(outside, "list-url", ".") == "d\ny\n"
    assert ok(outside, "ls-url", ".", "-R", "--size") == "2  d/x\n3  y\n"
    assert ok(outside, "list-url", ".", "-T") == ".\n├── d\n│   └── x\n└── y\n"
    assert ok(outside, "list-url", ".", "-R", "-L", "1") == "d\ny\n"
    assert "there is nothing at 'no'" in refused(outside, 1, "list-url", "no")
