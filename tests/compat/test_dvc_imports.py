"""Data imported by the real DVC and by pyexp: the same files, and each goes on where the other has begun."""

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import KEY, SECRET, s3, web
from twins import Work, interpreter

pytestmark = [pytest.mark.dvc, pytest.mark.git]

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
TOOLS = ("dvc", "pyexp")


@pytest.fixture
def registry(project: Callable[..., Work]) -> Work:
    work = project(
        {
            "data/a": "a\n",
            "data/sub/b": "b\n",
            "one.bin": "one\n",
            "plain.txt": "plain\n",
            "code/x.py": "x\n",
            "code/t.bin": "t\n",
            "code/run.sh": "r\n",
            "dvc.yaml": PIPELINE,
        },
        "registry",
    )
    work.git("rm", "-rq", "--cached", "data", "one.bin", "code/t.bin")
    work.dvc("add", "-q", "data", "one.bin", "code/t.bin")
    work.dvc("repro", "-q")
    work.commit("filled")
    return work


@pytest.fixture
def pair(project: Callable[..., Work], registry: Work) -> dict[str, Work]:
    """The same empty project twice, beside the registry: one for each tool."""
    first = project({}, "for-dvc")
    return {"dvc": first, "pyexp": first.twin("for-pyexp")}


def both(pair: dict[str, Work], *args: str, cwd: str = "") -> None:
    for name, work in pair.items():
        work.tool(name, *args, cwd=cwd)


def same(pair: dict[str, Work]) -> None:
    assert pair["pyexp"].files() == pair["dvc"].files()


def objects(work: Work) -> set[str]:
    # DVC leaves its trials of links there.
    return {path for path in work.cache() if path.startswith("files/") and not path.endswith(".tmp")}


def lose(work: Work, *paths: str) -> None:
    for path in (".dvc/cache", ".dvc/tmp", *paths):
        top = work.root / path
        if top.is_dir():
            for directory, _, names in os.walk(top):
                for name in names:
                    os.chmod(os.path.join(directory, name), stat.S_IRUSR | stat.S_IWUSR)
            shutil.rmtree(top)
        elif top.exists():
            top.unlink()


def change(registry: Work) -> None:
    registry.put("data/a", "second\n")
    registry.put("plain.txt", "second\n")
    registry.dvc("add", "-q", "data")
    registry.commit("second")


IMPORTS = [
    ("data",),
    ("data/sub", "-o", "inner"),
    ("data/a", "-o", "a.txt", "--rev", "main"),
    ("plain.txt",),
    ("code",),
    ("code/run.sh",),
    ("made",),
    ("m.json",),
    ("one.bin", "--no-exec"),
    ("made", "-o", "later", "--no-download"),
]


def test_the_files_of_import_are_the_same(pair: dict[str, Work]) -> None:
    for args in IMPORTS:
        both(pair, "import", "../registry", *args)
    same(pair)
    assert objects(pair["pyexp"]) == objects(pair["dvc"])
    statuses = [json.loads(pair["pyexp"].tool(name, "status", "--json").out) for name in TOOLS]
    assert statuses[0] == statuses[1]
    assert set(statuses[0]) == {"one.bin.dvc", "later.dvc"}


def test_each_goes_on_where_the_other_began(pair: dict[str, Work], registry: Work) -> None:
    for args in IMPORTS[:-2]:
        both(pair, "import", "../registry", *args)
    change(registry)
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    statuses = [json.loads(work.tool(name, "status", "--json").out) for name, work in swapped.items()]
    assert statuses[0] == statuses[1]
    assert len(statuses[0]) == len(IMPORTS) - 2
    both(swapped, "update", "data.dvc", "plain.txt.dvc", "code.dvc", "inner.dvc", "run.sh.dvc", "m.json.dvc")
    same(swapped)
    for work in pair.values():
        assert work.read("data/a") == work.read("plain.txt") == "second\n"
        for name in TOOLS:
            work.tool(name, "update", "made.dvc", "a.txt.dvc", "--rev", "main")
        work.commit("updated")
    for name, work in swapped.items():
        lose(work, "data", "code", "plain.txt", "made", "inner", "a.txt", "m.json", "run.sh")
        work.tool(name, "pull")
        for other in TOOLS:
            assert json.loads(work.tool(other, "status", "--json").out) == {}
    same(swapped)


def test_status_without_a_look_for_updates(pair: dict[str, Work], registry: Work, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("1\n")
    for args in (
        ("import", "../registry", "data"),
        ("import", "../registry", "plain.txt"),
        ("import-url", "../one.csv"),
    ):
        both(pair, *args)
    both(pair, "unfreeze", "one.csv.dvc")
    both(pair, "unfreeze", "plain.txt.dvc")
    same(pair)
    change(registry)
    (tmp_path / "one.csv").write_text("2\n")
    for options, names in (
        ((), {"data.dvc", "plain.txt.dvc", "one.csv.dvc"}),
        (("--no-updates",), {"plain.txt.dvc", "one.csv.dvc"}),
    ):
        told = [json.loads(pair["pyexp"].tool(name, "status", "--json", *options).out) for name in TOOLS]
        assert told[0] == told[1] and set(told[0]) == names
    shutil.move(registry.root, tmp_path / "away")
    pair["pyexp"].pyexp("freeze", "plain.txt.dvc")
    assert "frozen: true" in pair["pyexp"].read("plain.txt.dvc")
    told = pair["pyexp"].pyexp("status", "--no-updates", "data.dvc", "plain.txt.dvc")
    assert told.out == "Data and pipelines are up to date.\n" and told.err == ""
    assert "cannot be looked at" in pair["pyexp"].pyexp("status", "data.dvc").err
    assert "leave it out" in pair["pyexp"].pyexp("status", "-c", "--no-updates", code=2).err


def test_partial_imports_of_each_are_completed_by_the_other(pair: dict[str, Work], registry: Work) -> None:
    both(pair, "import", "../registry", "data", "--no-download")
    both(pair, "import", "../registry", "one.bin", "--no-exec")
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    both(swapped, "update", "one.bin.dvc")
    same(swapped)
    assert swapped["dvc"].read("one.bin") == "one\n"
    for name, work in swapped.items():
        work.tool(name, "pull")
        assert work.read("data/sub/b") == "b\n"
        # DVC leaves the record as it was; the next to update or repro completes it.
        work.pyexp("pull")
        assert json.loads(work.dvc("status", "--json").out) == {}
    same(swapped)


def test_update_without_download(pair: dict[str, Work], registry: Work) -> None:
    """DVC's stage checksum is then of another record than it writes ("changed checksum"); ours is right for both."""
    both(pair, "import", "../registry", "data")
    change(registry)
    both(pair, "update", "--no-download", "data.dvc")
    texts = [work.read("data.dvc").splitlines()[1:] for work in pair.values()]
    assert texts[0] == texts[1]
    for work in pair.values():
        assert not (work.root / "data").exists()
    assert pair["pyexp"].dvc("status", "--json").json() == {"data.dvc": [{"changed outs": {"data": "deleted"}}]}


def test_neither_pushes_imports(pair: dict[str, Work], tmp_path: Path) -> None:
    for name, work in pair.items():
        work.put("own.bin", "own\n")
        work.tool(name, "import", "../registry", "data")
        work.tool(name, "add", "own.bin")
        work.tool(name, "remote", "add", "-q", "-d", "r", str(tmp_path / f"store-{name}"))
        work.tool(name, "push")
    stores = [sorted(path.name for path in (tmp_path / f"store-{name}").rglob("*") if path.is_file()) for name in pair]
    assert stores[0] == stores[1]
    assert len(stores[0]) == 1


def test_options_for_the_other_repository_are_recorded_alike(
    pair: dict[str, Work], registry: Work, tmp_path: Path
) -> None:
    registry.dvc("remote", "add", "-q", "far", str(tmp_path / "far"))
    registry.dvc("push", "-q", "-r", "far")
    registry.commit("remote")
    url = f"url={tmp_path / 'far'}"
    both(pair, "import", "../registry", "data", "--remote", "far")
    both(pair, "import", "../registry", "one.bin", "--remote", "new", "--remote-config", url)
    same(pair)


def test_paths_of_this_machine(pair: dict[str, Work], tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "d/e").mkdir(parents=True)
    (there / "d/x").write_text("x\n")
    (there / "d/e/y").write_text("y\n")
    (there / "one.csv").write_text("1\n")
    for work in pair.values():
        work.put("in/side", "s\n")
        work.put("sub/keep", "")
    both(pair, "import-url", "../there/one.csv")
    both(pair, "import-url", str(there / "d"))
    both(pair, "import-url", str(there / "d"), "later", "--no-download")
    both(pair, "import-url", str(there / "one.csv"), "never.csv", "--no-exec")
    both(pair, "import-url", "in/side", "sub/copy")
    both(pair, "import-url", "../../there/one.csv", cwd="sub")
    both(pair, "import-url", str(there / "one.csv"), "far.csv", "--to-remote", "-r", "other")
    same(pair)
    assert pair["pyexp"].dvc("status", "--json").json() == pair["dvc"].dvc("status", "--json").json()
    (there / "one.csv").write_text("2\n")
    (there / "d/z").write_text("z\n")
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    both(swapped, "update", "one.csv.dvc", "d.dvc", "never.csv.dvc", "sub/one.csv.dvc", "sub/copy.dvc")
    same(swapped)
    assert swapped["dvc"].read("one.csv") == "2\n"
    both(swapped, "pull", "-r", "other", "far.csv.dvc")
    for work in pair.values():
        work.pyexp("update", "later.dvc")
        assert work.dvc("status", "--json").json() == {}
    same(swapped)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    (tmp_path / "www").mkdir()
    with web(tmp_path / "www", etags=True) as url:
        yield tmp_path / "www", url


def test_files_of_a_web_server(pair: dict[str, Work], site: tuple[Path, str]) -> None:
    top, url = site
    (top / "w.txt").write_text("web\n")
    both(pair, "import-url", f"{url}/w.txt")
    both(pair, "import-url", f"{url}/w.txt", "later.txt", "--no-download")
    both(pair, "import-url", f"{url}/w.txt", "never.txt", "--no-exec")
    for work in pair.values():
        work.put(".dvc/config", f"['remote \"site\"']\n    url = {url}\n")
    both(pair, "import-url", "remote://site/w.txt", "named.txt")
    same(pair)
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    (top / "w.txt").write_text("second\n")
    both(swapped, "update", "w.txt.dvc", "never.txt.dvc", "named.txt.dvc")
    same(swapped)
    assert swapped["dvc"].read("named.txt") == "second\n"
    for work in pair.values():
        assert "has changed since" in work.pyexp("pull", "later.txt", code=1).err


@pytest.mark.parametrize("path", ["data", "data/sub", "data/a", "plain.txt", "code", "made", "m.json", "."])
def test_get_copies_the_same(registry: Work, tmp_path: Path, path: str) -> None:
    registry.put("plain.txt", "being edited\n")
    found = {}
    for name in TOOLS:
        work = Work(tmp_path / f"get-{name}", registry.dvc_path)
        work.root.mkdir()
        work.tool(name, "get", "../registry", path, "-o", "here")
        work.tool(name, "get", "../registry", path, "-o", "old", "--rev", "HEAD")
        # DVC forgets which files are executable.
        found[name] = {path: data for path, (data, _) in work.files(private=()).items()}
    assert found["pyexp"] == found["dvc"]


def test_list_and_du_print_the_same(registry: Work) -> None:
    for args in (("list", ".", "--rev", "HEAD"), ("list", "../registry", "data", "-R")):
        assert registry.pyexp(*args).out.split() == registry.dvc(*args).out.split(), args
    for args in (("du", "."), ("du", ".", "data"), ("du", "-s", "."), ("du", ".", "data/a"), ("du", ".", "code")):
        lines = [sorted(registry.tool(name, *args).out.split("\n")) for name in TOOLS]
        bare = [[line.split() for line in one if line.strip()] for one in lines]
        assert bare[0] == bare[1], args


def stored(top: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(top)): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
    # DVC's trials of links.
    return {path: data for path, data in found.items() if not path.endswith(".tmp")}


def test_data_of_outside_is_added_through_the_cache(
    pair: dict[str, Work], site: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "there/d/e").mkdir(parents=True)
    (tmp_path / "there/d/e/y").write_text("y\n")
    (tmp_path / "there/one.csv").write_text("1\n")
    (site[0] / "w.txt").write_text("web\n")
    for work in pair.values():
        work.put("sub/keep", "")
    both(pair, "add", "../there/one.csv", "-o", "one.csv")
    both(pair, "add", "../there/d", "-o", "sub")
    both(pair, "add", str(tmp_path / "there/d"), "--out", "sub/other")
    both(pair, "add", "../../there/one.csv", "-o", "x.csv", cwd="sub")
    both(pair, "add", f"{site[1]}/w.txt", "-o", "web.txt")
    same(pair)
    assert objects(pair["pyexp"]) == objects(pair["dvc"])
    for work in pair.values():
        assert work.read("web.txt") == "web\n" and work.read("sub/other/e/y") == "y\n"
        for name in TOOLS:
            work.tool(name, "add", "../there/one.csv", "-o", "one.csv", code=1)
            assert json.loads(work.tool(name, "status", "--json").out) == {}
    (tmp_path / "there/one.csv").write_text("2\n")
    both(pair, "add", "-f", "../there/one.csv", "-o", "one.csv")
    same(pair)


def test_data_is_added_to_a_remote_only(pair: dict[str, Work], site: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "there/d/e").mkdir(parents=True)
    (tmp_path / "there/d/e/y").write_text("y\n")
    (tmp_path / "there/one.csv").write_text("1\n")
    (site[0] / "w.txt").write_text("web\n")
    for name, work in pair.items():
        work.put("mine.txt", "mine\n")
        work.put("sub/f", "f\n")
        work.git("rm", "-rq", "--cached", "--ignore-unmatch", "mine.txt", "sub")
        work.tool(name, "remote", "add", "-q", "-d", "r", str(tmp_path / f"store-{name}"))
    both(pair, "add", "--to-remote", "../there/d")
    both(pair, "add", "--to-remote", "../there/one.csv", "-o", "sub")
    both(pair, "add", "--to-remote", f"{site[1]}/w.txt", "-o", "web.txt", "--remote-jobs", "2")
    both(pair, "add", "--to-remote", "mine.txt")
    both(pair, "add", "--to-remote", "sub/f", "-r", "r")
    # DVC leaves it to the user to hide what comes later from git.
    hidden = {path for path in pair["pyexp"].files() if path.endswith(".gitignore") and path != ".dvc/.gitignore"}
    assert hidden == {".gitignore", "sub/.gitignore"}
    files = [{path: data for path, data in work.files().items() if path not in hidden} for work in pair.values()]
    for found in files:
        del found[".dvc/config"]
    assert files[1] == files[0]
    assert stored(tmp_path / "store-pyexp") == stored(tmp_path / "store-dvc")
    assert not objects(pair["pyexp"]) and pair["pyexp"].read("mine.txt") == "mine\n"
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    both(swapped, "pull")
    for work in pair.values():
        assert work.read("web.txt") == "web\n" and work.read("d/e/y") == "y\n" and work.read("sub/one.csv") == "1\n"
        assert json.loads(work.pyexp("status", "--json").out) == json.loads(work.dvc("status", "--json").out) == {}


@pytest.fixture
def bucket(pair: dict[str, Work], dvc: str, tmp_path: Path) -> Iterator[Path]:
    """A bucket on an S3 server, which both projects know as the remote ``s3``."""
    if subprocess.run([interpreter(dvc), "-c", "import s3fs"], capture_output=True).returncode:
        pytest.skip("this DVC has no S3: pip install 'dvc[s3]'")
    top = tmp_path / "server/bucket"
    top.mkdir(parents=True)
    # The server must see at once what the test changes behind its back.
    with s3(tmp_path / "server", more=("--dir-cache-time", "1ms")) as endpoint:
        for work in pair.values():
            work.put(
                ".dvc/config",
                f"['remote \"s3\"']\n    url = s3://bucket/in\n    endpointurl = {endpoint}\n    region = us-east-1\n"
                f"    access_key_id = {KEY}\n    secret_access_key = {SECRET}\n",
            )
        yield top


def test_files_of_a_bucket(pair: dict[str, Work], bucket: Path) -> None:
    def fill(relpath: str, text: str) -> None:
        (bucket / "in" / relpath).parent.mkdir(parents=True, exist_ok=True)
        (bucket / "in" / relpath).write_text(text)

    fill("one.csv", "1\n")
    fill("d/x", "x\n")
    fill("d/e/y ü", "y\n")
    both(pair, "import-url", "remote://s3/one.csv")
    both(pair, "import-url", "remote://s3/d")
    both(pair, "import-url", "remote://s3/d", "later", "--no-download")
    both(pair, "import-url", "remote://s3/one.csv", "never.csv", "--no-exec")
    both(pair, "import-url", "remote://s3/one.csv", "free.csv")
    same(pair)
    both(pair, "unfreeze", "free.csv.dvc")
    assert "etag" in pair["pyexp"].read("one.csv.dvc")
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}

    def status() -> set[str]:
        told = [work.tool(name, "status", "--json").json() for work in pair.values() for name in TOOLS]
        assert all(one == told[0] for one in told)
        return set(told[0])

    assert status() == {"later.dvc", "never.csv.dvc"}
    fill("one.csv", "second\n")
    fill("d/z", "z\n")
    (bucket / "in/d/x").unlink()
    assert status() == {"later.dvc", "never.csv.dvc", "free.csv.dvc"}
    both(swapped, "update", "one.csv.dvc", "d.dvc", "never.csv.dvc", "free.csv.dvc")
    same(swapped)
    assert swapped["dvc"].read("one.csv") == "second\n" and not (swapped["pyexp"].root / "d/x").exists()
    for work in pair.values():
        for name in TOOLS:  # nothing to do
            before = work.files()
            work.tool(name, "update", "one.csv.dvc", "d.dvc")
            assert work.files() == before, name
        assert "has changed since" in work.pyexp("pull", "later", code=1).err
        work.pyexp("update", "later.dvc")
    same(pair)
    assert status() == set()


def test_moved_imports_still_know_where_they_came_from(pair: dict[str, Work], registry: Work, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("1\n")
    for work in pair.values():
        work.put("in/side", "s\n")
        work.put("sub/keep", "")
    both(pair, "import-url", "../one.csv")
    both(pair, "import-url", "in/side", "copy")
    both(pair, "import", "../registry", "plain.txt")
    both(pair, "move", "one.csv", "sub/two.csv")
    both(pair, "move", "copy", "sub")
    both(pair, "move", "plain.txt", "sub/plain.txt")
    same(pair)
    (tmp_path / "one.csv").write_text("2\n")
    change(registry)
    swapped = {"dvc": pair["pyexp"], "pyexp": pair["dvc"]}
    both(swapped, "update", "sub/two.csv.dvc", "sub/copy.dvc", "sub/plain.txt.dvc")
    same(swapped)
    assert swapped["dvc"].read("sub/two.csv") == "2\n" and swapped["dvc"].read("sub/plain.txt") == "second\n"


def test_a_relative_repository_is_found_from_a_new_place(pair: dict[str, Work], registry: Work) -> None:
    """Ours is seen from the file; DVC's from wherever the user stands, which leads nowhere after a move."""
    work = pair["pyexp"]
    work.put("sub/deep/keep", "")
    work.put("sub/registry/data/a", "not this one\n")
    work.commit("beside")
    work.pyexp("import", "../../registry", "data", cwd="sub")
    assert "url: ../../registry" in work.read("sub/data.dvc")
    work.pyexp("move", "data", "../top", cwd="sub")
    assert "url: ../registry" in work.read("top.dvc")
    work.pyexp("move", "top", "sub/deep/there")
    # From sub/deep '../registry' would be another one.
    assert "url: ../../../registry" in work.read("sub/deep/there.dvc")
    change(registry)
    work.pyexp("update", "sub/deep/there.dvc")
    assert work.read("sub/deep/there/a") == "second\n"
