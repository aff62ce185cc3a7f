"""Tracked data as a user handles it: move, unprotect, data status, diff, list, check-ignore, cache, destroy, add -o."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.conftest import Space

import pyexp
from pyexp.errors import PyexpError, UnsafeCheckout
from pyexp.pipeline import bringing
from pyexp.pipeline import move as moving


@pytest.fixture
def tracked(space: Space) -> Space:
    """The standard project with a directory and a file of data, run and committed."""
    space.put("data/a", "a\n")
    space.put("data/sub/b", "b\n")
    space.put("one.txt", "1\n")
    for args in (("add", "data", "one.txt"), ("repro",)):
        done = space.cli(*args)
        assert done.returncode == 0, done.stderr
    space.commit("data")
    return space


# -- move ------------------------------------------------------------------------------------------------------------


def test_move_takes_data_record_and_gitignore_along(tracked: Space) -> None:
    before = tracked.read("data.dvc")
    (tracked.root / "kept").mkdir()
    done = tracked.cli("move", "data", "kept")
    assert done.returncode == 0, done.stderr
    assert tracked.read("kept/data/sub/b") == "b\n"
    assert tracked.read("kept/data.dvc") == before
    assert not (tracked.root / "data.dvc").exists()
    assert not (tracked.root / "data").exists()
    assert "/data\n" not in tracked.read(".gitignore")
    assert tracked.read("kept/.gitignore") == "/data\n"
    assert "Data and pipelines are up to date" in tracked.cli("status").stdout
    assert tracked.cli("mv", "kept/data", "again").returncode == 0
    assert not (tracked.root / "kept/.gitignore").exists()
    assert "path: again" in tracked.read("again.dvc")


def test_move_keeps_comments_and_what_was_recorded(tracked: Space) -> None:
    tracked.put("one.txt.dvc", "# mine\n" + tracked.read("one.txt.dvc") + "desc: about it\n")
    tracked.put("one.txt", "changed\n")
    assert tracked.cli("move", "one.txt", "two.txt").returncode == 0
    text = tracked.read("two.txt.dvc")
    assert text.startswith("# mine\n") and "desc: about it" in text and "path: two.txt" in text
    assert "modified" in tracked.cli("status").stdout  # not committed by the way


def test_move_never_overwrites(tracked: Space) -> None:
    tracked.put("there.txt", "mine\n")
    with pytest.raises(UnsafeCheckout):
        moving.move(tracked.project(), "one.txt", "there.txt")
    assert tracked.read("there.txt") == "mine\n" and tracked.read("one.txt") == "1\n"
    tracked.put("free.dvc", "outs: []\n")
    with pytest.raises(UnsafeCheckout):
        moving.move(tracked.project(), "one.txt", "free")
    assert tracked.read("one.txt") == "1\n"


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("model.txt", "x", "output of stage 'train'"),
        ("nothing", "x", "no tracked data"),
        ("data/a", "x", "tracked as a whole"),
        ("data", "data/below", "into itself"),
        ("one.txt", "data/one.txt", "overlaps"),
        ("one.txt", "no/such/place", "no directory"),
        ("one.txt", "../out", "outside"),
        ("one.txt", "skipped.tmp", "ignored"),
        ("one.txt", "hidden/one.txt", "ignored by git"),
    ],
)
def test_move_says_why_not(tracked: Space, source: str, target: str, says: str) -> None:
    tracked.put(".dvcignore", "*.tmp\n")
    tracked.put(".gitignore", tracked.read(".gitignore") + "/hidden\n")
    (tracked.root / "hidden").mkdir()
    with pytest.raises(PyexpError, match=says):
        moving.move(tracked.project(), source, target)
    assert tracked.read("one.txt") == "1\n"


@pytest.mark.parametrize("step", ["data", "both files"])
def test_the_same_move_again_completes_what_was_cut_short(tracked: Space, step: str) -> None:
    os.rename(tracked.root / "data", tracked.root / "new")
    if step == "both files":
        tracked.put("new.dvc", tracked.read("data.dvc").replace("path: data", "path: new"))
    assert tracked.cli("move", "data", "new").returncode == 0
    assert not (tracked.root / "data.dvc").exists()
    assert tracked.read("new/a") == "a\n"
    assert "up to date" in tracked.cli("status").stdout


# -- unprotect, add --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_unprotect_makes_links_writable_copies(tracked: Space, kind: str) -> None:
    tracked.cli("config", "cache.type", kind)
    assert tracked.cli("checkout", "--relink").returncode == 0
    cached = [path for path in (tracked.root / tracked.project().kind.control / "cache").rglob("*") if path.is_file()]
    bytes_before = {path: path.read_bytes() for path in cached}
    assert tracked.cli("unprotect", "data", "one.txt").returncode == 0
    tracked.put("data/a", "new\n")
    tracked.put("one.txt", "new\n")
    assert not (tracked.root / "data/a").is_symlink()
    assert {path: path.read_bytes() for path in cached} == bytes_before
    done = tracked.cli("unprotect", "nothing")
    assert done.returncode == 1 and "does not exist" in done.stderr


def test_add_out_copies_first(tracked: Space, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("from afar\n")
    done = tracked.cli("add", "../outside.txt", "-o", "near.txt")
    assert done.returncode == 0, done.stderr
    assert tracked.read("near.txt") == "from afar\n" and "path: near.txt" in tracked.read("near.txt.dvc")
    tracked.put("near.txt", "mine\n")
    assert tracked.cli("add", "../outside.txt", "-o", "near.txt").returncode == 1
    assert tracked.read("near.txt") == "mine\n"
    assert tracked.cli("add", "-f", "../outside.txt", "-o", "near.txt").returncode == 0
    assert tracked.read("near.txt") == "from afar\n"
    assert tracked.cli("add", "data", "-o", "twin").returncode == 0
    assert tracked.read("twin/sub/b") == "b\n"
    for args in (("data", "one.txt", "-o", "x"), ("data", "-o", "data/in"), ("one.txt", "-f", "-o", "model.txt")):
        assert tracked.cli("add", *args).returncode in (1, 2)
    assert tracked.read("model.txt").startswith("model")


def test_add_no_relink_leaves_the_file(tracked: Space) -> None:
    tracked.cli("config", "cache.type", "symlink")
    tracked.put("plain.txt", "p\n")
    assert tracked.cli("add", "--no-relink", "plain.txt").returncode == 0
    assert not (tracked.root / "plain.txt").is_symlink()
    assert tracked.cli("add", "plain.txt").returncode == 0
    assert (tracked.root / "plain.txt").is_symlink()


def test_add_refuses_a_place_git_ignores(tracked: Space) -> None:
    tracked.put(".gitignore", tracked.read(".gitignore") + "/hidden\n")
    tracked.put("hidden/x", "x\n")
    done = tracked.cli("add", "hidden/x")
    assert done.returncode == 1 and "ignored by git" in done.stderr
    tracked.put("data/more", "m\n")
    assert tracked.cli("add", "data/more").returncode == 0  # below tracked data, which git ignores for us


def test_remove_of_an_output_names_the_dvc_file(tracked: Space) -> None:
    done = tracked.cli("remove", "one.txt")
    assert done.returncode == 1 and "one.txt.dvc" in done.stderr


# -- data status, diff -----------------------------------------------------------------------------------------------


def test_data_status_and_diff(tracked: Space) -> None:
    assert tracked.cli("data", "status").stdout == "No changes.\n"
    assert tracked.json("diff", "--json") == {}
    tracked.put("data/a", "changed\n")
    tracked.put("data/new", "n\n")
    os.rename(tracked.root / "one.txt", tracked.root / "data/moved")
    assert tracked.json("data", "status", "--json") == {"uncommitted": {"deleted": ["one.txt"], "modified": ["data/"]}}
    granular = tracked.json("data", "status", "--json", "--granular", "--unchanged")
    assert granular == {
        "uncommitted": {
            "added": ["data/new"],
            "modified": ["data/", "data/a"],
            "renamed": [{"old": "one.txt", "new": "data/moved"}],
        },
        "unchanged": ["data.txt", "data/sub/b", "model.txt"],
    }
    tracked.cli("add", "data")
    found = tracked.json("data", "status", "--json", "--granular", "data")
    assert isinstance(found, dict) and found["committed"]["modified"] == ["data/", "data/a"]
    assert "uncommitted" not in found
    text = tracked.cli("diff").stdout
    assert "Renamed:\n    one.txt -> data/moved\n" in text
    assert text.endswith("files summary: 1 added, 1 renamed, 1 modified\n")
    tracked.commit("more")
    between = tracked.json("diff", "HEAD~1", "HEAD", "--json", "--show-hash")
    assert isinstance(between, dict) and "not in cache" not in between
    assert [entry["path"] for entry in between["modified"]] == ["data/", "data/a"]
    assert all(entry["hash"]["old"] != entry["hash"]["new"] for entry in between["modified"])


def test_diff_between_experiments(tracked: Space) -> None:
    assert tracked.cli("exp", "run", "-n", "quick", "-S", "lr=0.25").returncode == 0
    found = tracked.json("diff", "HEAD", "quick", "--json")
    assert isinstance(found, dict) and found["modified"] == [{"path": "model.txt"}]


def test_data_status_says_what_the_cache_lacks(tracked: Space) -> None:
    shutil.rmtree(tracked.project().cache_dir / "files")
    assert tracked.json("data", "status", "--json") == {"not_in_cache": ["data/", "data.txt", "model.txt", "one.txt"]}
    text = tracked.cli("data", "status").stdout
    assert text.startswith("Not in cache:\n")
    assert tracked.cli("data", "status", "nosuch").returncode == 1
    assert tracked.json("data", "status", "--json", "one.txt.dvc") == {"not_in_cache": ["one.txt"]}
    assert tracked.json("data", "status", "--json", "train") == {"not_in_cache": ["model.txt"]}


# -- list ------------------------------------------------------------------------------------------------------------


def test_list_shows_data_checked_out_or_not(tracked: Space) -> None:
    everything = tracked.cli("list", "-R", ".").stdout.splitlines()
    assert {"data/a", "data/sub/b", "one.txt", "train.py", "one.txt.dvc"} <= set(everything)
    assert not any(path.startswith((".git/", ".dvc/", ".pyexp/")) for path in everything)
    shutil.rmtree(tracked.root / "data")
    (tracked.root / "one.txt").unlink()
    assert tracked.cli("ls", "-R", ".").stdout.splitlines() == everything
    assert tracked.cli("ls", ".", "data").stdout == "a\nsub\n"
    assert tracked.cli("ls", ".", "data/sub/b").stdout == "b\n"
    assert tracked.cli("ls", "-R", "--dvc-only", ".").stdout.splitlines() == [
        "data.txt",
        "data/a",
        "data/sub/b",
        "model.txt",
        "one.txt",
    ]
    assert tracked.cli("ls", ".", "nosuch").returncode == 1


def test_list_json_tree_and_revisions(tracked: Space) -> None:
    items = tracked.json("list", ".", "--json")
    assert isinstance(items, list)
    by_path = {item["path"]: item for item in items}
    algo = tracked.project().algo
    assert by_path["data"]["isout"] and by_path["data"]["isdir"] and by_path["data"]["size"] == 4
    assert by_path["data"][algo].endswith(".dir") and by_path["train.py"][algo] is None
    drawn = tracked.cli("list", "-T", ".", "data").stdout
    assert drawn == "data\n├── a\n└── sub\n    └── b\n"
    assert tracked.cli("list", "-T", "-L", "1", ".", "data").stdout == "data\n├── a\n└── sub\n"
    assert "one.txt" not in tracked.cli("list", ".", "--rev", "HEAD~1").stdout
    old = tracked.json("list", ".", "--rev", "HEAD", "--json")
    assert isinstance(old, list) and {item["path"] for item in old} == set(by_path)
    sized = tracked.cli("list", ".", "data", "--size", "--show-hash").stdout.splitlines()
    assert sized[0].split()[0] == "2" and sized[0].split()[2] == "a"
    assert tracked.cli("list", "-T", "--json", ".").returncode == 2
    assert tracked.cli("list", "https://example.com/x.git").returncode == 1


def test_list_does_not_follow_links_in_circles(tracked: Space) -> None:
    os.symlink(".", tracked.root / "loop")
    assert "loop" in tracked.cli("list", "-R", ".").stdout.splitlines()


# -- check-ignore ----------------------------------------------------------------------------------------------------


def test_check_ignore(space: Space) -> None:
    space.put(".dvcignore", "# c\n*.log\n/tmpx/\n!keep.log\n")
    space.put("sub/.dvcignore", "foo\n")
    done = space.cli("check-ignore", "-d", "a.log", "keep.log", "sub/foo", "tmpx", "b")
    assert done.stdout == ".dvcignore:2:*.log\ta.log\n.dvcignore:4:!keep.log\tkeep.log\nsub/.dvcignore:1:foo\tsub/foo\n"
    assert done.returncode == 0
    assert space.cli("check-ignore", "a.log", "b").stdout == "a.log\n"
    assert space.cli("check-ignore", "keep.log").returncode == 1
    assert space.cli("check-ignore", "-d", "-n", "b").stdout == "::\tb\n"
    assert space.cli("check-ignore", "../out").returncode == 1
    for args in ((), ("-n", "a"), ("--stdin", "a")):
        assert space.cli("check-ignore", *args).returncode == 2


# -- cache, destroy --------------------------------------------------------------------------------------------------


def test_cache_dir_is_kept_relative_to_the_configuration(space: Space) -> None:
    control = space.project().kind.control
    assert space.cli("cache", "dir").stdout.strip() == str(space.root / control / "cache")
    assert space.cli("cache", "dir", "../elsewhere").returncode == 0
    assert "dir = ../../elsewhere" in space.read(f"{control}/config")
    assert space.cli("cache", "dir").stdout.strip() == str(space.root.parent / "elsewhere")
    assert space.cli("cache", "dir", "--local", "mine").returncode == 0
    assert space.cli("cache", "dir", "--project").stdout.strip() == str(space.root.parent / "elsewhere")
    assert space.cli("cache", "dir").stdout.strip() == str(space.root / "mine")
    assert space.cli("repro").returncode == 0
    assert (space.root / "mine/files").is_dir()
    assert space.cli("cache", "dir", "--local", "-u").returncode == 0
    assert space.cli("cache", "dir", "--local").returncode == 1
    assert space.cli("cache", "dir", "-u").returncode == 0


def test_destroy_leaves_the_data(tracked: Space) -> None:
    control = tracked.root / tracked.project().kind.control
    tracked.cli("config", "cache.type", "symlink")
    assert tracked.cli("checkout", "--relink").returncode == 0
    refused = tracked.cli("destroy")
    assert refused.returncode == 1 and control.is_dir()
    done = tracked.cli("destroy", "-f")
    assert done.returncode == 0, done.stderr
    assert not control.exists()
    for gone in ("dvc.yaml", "dvc.lock", "data.dvc", "one.txt.dvc", ".dvcignore"):
        assert not (tracked.root / gone).exists()
    for kept in ("data/a", "data/sub/b", "one.txt", "model.txt", "train.py"):
        path = tracked.root / kept
        assert path.is_file() and not path.is_symlink()
    assert tracked.cli("status").returncode == 1


def test_destroy_waits_for_nobody_but_refuses_while_something_runs(tracked: Space) -> None:
    project = tracked.project()
    with project.live():
        done = tracked.cli("destroy", "-f")
    assert done.returncode == 1 and "running" in done.stderr
    assert (tracked.root / "dvc.yaml").exists()


def _legacy(space: Space) -> None:
    """Makes the cache and the records what DVC 2 wrote; one file has line ends that its hash left out."""
    cache = space.root / ".dvc/cache"
    for path in sorted((cache / "files/md5").rglob("*")):
        if path.is_file():
            old = cache / path.parent.name / path.name
            old.parent.mkdir(exist_ok=True)
            shutil.move(path, old)
    for name in ("data.dvc", "one.txt.dvc", "dvc.lock"):
        space.put(name, "".join(x for x in space.read(name).splitlines(True) if "hash: md5" not in x))


def test_cache_migrate(make: Callable[..., Space]) -> None:
    space = make(kind="dvc")
    space.put("data/a", "a\n")
    space.put("one.txt", "1\n")
    assert space.cli("add", "data", "one.txt").returncode == 0
    assert space.cli("repro").returncode == 0
    _legacy(space)
    crlf = space.project().store("md5-dos2unix")
    (space.root / "win.txt").write_bytes(b"w\r\n")
    oid, _ = crlf.put_file(str(space.root / "win.txt"))
    space.put("win.txt.dvc", f"outs:\n- md5: {oid.hex}\n  size: 3\n  path: win.txt\n")
    assert "up to date" in space.cli("status").stdout
    dry = space.cli("cache", "migrate", "--dvc-files", "--dry").stdout
    assert "7 files will be re-hashed" in dry and "\tdvc.lock" in dry and "\twin.txt.dvc" in dry
    assert not any((space.root / ".dvc/cache/files").rglob("*.dir"))
    assert space.cli("cache", "migrate").stdout == "Migrated 7 files to DVC 3.0 cache location.\n"
    assert space.cli("cache", "migrate").stdout == "Migrated 0 files to DVC 3.0 cache location.\n"
    done = space.cli("cache", "migrate", "--dvc-files")
    assert done.returncode == 0, done.stderr
    assert "hash: md5" in space.read("data.dvc") and "hash: md5" in space.read("win.txt.dvc")
    assert oid.hex not in space.read("win.txt.dvc")
    assert "up to date" in space.cli("status").stdout
    for name in ("data", "one.txt", "win.txt"):
        path = space.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert space.cli("checkout").returncode == 0
    assert (space.root / "win.txt").read_bytes() == b"w\r\n"
    assert "No DVC files" in space.cli("cache", "migrate", "--dvc-files").stdout


def test_cache_migrate_has_nothing_to_do_in_native_projects(make: Callable[..., Space]) -> None:
    space = make()
    assert space.cli("cache", "migrate", "--dvc-files").returncode == 0


def test_options_of_add_that_do_not_go_together(tracked: Space) -> None:
    tracked.put("new.txt", "n\n")
    for args, why in (
        (("new.txt", "-r", "far"), "go with --to-remote"),
        (("new.txt", "--remote-jobs", "2"), "go with --to-remote"),
        (("new.txt", "-o", "x", "-r", "far"), "go with --to-remote"),
        (("new.txt", "one.txt", "--to-remote"), "one file or directory at a time"),
        (("new.txt", "--to-remote", "--no-commit"), "does not go with --no-commit"),
        (("new.txt", "-o", "x", "--no-commit"), "does not go with --no-commit"),
    ):
        done = tracked.cli("add", *args)
        assert done.returncode == 2 and why in done.stderr, (args, done.stderr)
    done = tracked.cli("add", "--to-remote", "new.txt")
    assert done.returncode == 1 and "no remote is configured" in done.stderr
    assert not (tracked.root / "new.txt.dvc").exists()
    (tracked.root.parent / "new.txt").write_text("other\n")
    done = tracked.cli("add", "--to-remote", "../new.txt")
    assert done.returncode == 1 and "'new.txt' exists already" in done.stderr


def test_the_api_adds_with_out(tracked: Space, tmp_path: Path) -> None:
    (tmp_path / "o.txt").write_text("o\n")
    project = pyexp.find(tracked.root)
    assert "o.txt.dvc" in bringing.add(project, "../o.txt", "o.txt").for_git
    project.close()


def test_checkout_takes_away_what_another_branch_tracked(space: Space) -> None:
    space.put("dir/a", "a\n")
    space.put("changed", "1\n")
    space.put("lost", "lost\n")
    space.put("given-up", "x\n")
    space.put("stays", "stays\n")
    assert space.cli("add", "dir", "changed", "lost", "given-up", "stays").returncode == 0
    assert space.cli("remove", "given-up.dvc").returncode == 0
    digest = next(iter(re.findall(r"(?:md5|xxh128): (\w+)", space.read("lost.dvc"))))
    for name in ("dir", "changed", "lost"):
        (space.root / f"{name}.dvc").unlink()
    space.put("changed", "2\n")
    for path in (space.project().cache_dir).rglob(digest[2:]):
        path.unlink()
    # With targets, nothing but these is looked at.
    assert space.cli("checkout", "stays.dvc").stdout == ""
    assert space.cli("checkout").stdout == "D\tdir/\n"
    left = {path.name for path in space.root.iterdir()}
    assert {"changed", "lost", "given-up", "stays"} <= left and "dir" not in left
    # What was left once is the user's, whatever it holds later.
    space.put("changed", "1\n")
    assert space.cli("checkout").stdout == "" and space.read("changed") == "1\n"


def test_a_cache_shared_with_a_group(space: Space) -> None:
    cache = space.root.parent / "shared"
    cache.mkdir()
    assert space.cli("cache", "dir", str(cache)).returncode == 0
    refused = space.cli("config", "cache.shared", "everybody")
    assert refused.returncode == 2 and "group" in refused.stderr
    assert space.cli("config", "cache.shared", "group").returncode == 0
    space.put("data/a", "a\n")
    before = os.umask(0o077)
    try:
        for args in (("add", "data"), ("repro",)):
            done = space.cli(*args)
            assert done.returncode == 0, done.stderr
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o7777 for path in cache.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o2775}
    objects = {mode for path, mode in modes.items() if path.is_file() and "files" in path.relative_to(cache).parts}
    assert objects == {0o444}
    assert {mode for path, mode in modes.items() if path.is_file() and "runs" in path.parts} == {0o664}


def test_gc_of_a_shared_cache_takes_from_no_other_project(
    make: Callable[..., Space], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "shared"
    two = []
    for name in ("one", "two"):
        space = make()
        space.root.rename(tmp_path / name)
        space = Space(tmp_path / name)
        assert space.cli("cache", "dir", str(cache)).returncode == 0
        two.append(space)
    one, other = two
    # A configuration alone gives no right to remove anything.
    one.put("mine", "mine\n")
    assert one.cli("add", "mine").returncode == 0
    refused = other.cli("gc", "-w", "-f")
    assert refused.returncode == 1 and "has stored nothing there" in refused.stderr and "-p" in refused.stderr
    other.put("theirs", "theirs\n")
    other.put("old", "old\n")
    assert other.cli("add", "theirs", "old").returncode == 0
    other.commit("old is used here")
    (other.root / "old.dvc").unlink()
    other.commit("and no more")
    one.put("junk", "junk\n")
    assert one.cli("add", "junk").returncode == 0
    (one.root / "junk.dvc").unlink()
    # What the other project's commits need stays, whatever this one's scope is.
    assert "Removed 1 object " in one.cli("gc", "-w", "-f").stdout
    for space, name in ((one, "mine"), (other, "theirs")):
        (space.root / name).unlink()
        assert space.cli("checkout", f"{name}.dvc").returncode == 0
    assert "Removed 1 object " in other.cli("gc", "-w", "-f").stdout  # its own scope is its own business
    # A project that is gone cannot say what it needs.
    other.root.rename(tmp_path / "moved")
    refused = one.cli("gc", "-w", "-f")
    assert refused.returncode == 1 and "owners" in refused.stderr
    assert "No unused objects" in one.cli("gc", "-w", "-f", "-p", str(tmp_path / "moved")).stdout


def test_gc_of_a_cache_that_is_another_projects_own(make: Callable[..., Space], tmp_path: Path) -> None:
    """The one keeps its cache where it always was and knows of nothing; the other has been told to use that."""
    two = []
    for name in ("host", "guest"):
        make().root.rename(tmp_path / name)
        two.append(Space(tmp_path / name))
    host, guest = two
    for space in two:
        space.put("junk", "junk of " + space.root.name)
        space.put("data", "data of " + space.root.name)
    assert host.cli("add", "data", "junk").returncode == 0
    assert guest.cli("cache", "dir", str(host.project().cache_dir)).returncode == 0
    assert guest.cli("add", "data", "junk").returncode == 0
    for space in two:
        (space.root / "junk.dvc").unlink()
    for space in two:
        done = space.cli("gc", "-w", "-f")
        assert done.returncode == 0 and "Removed" in done.stdout, done.stderr
        for each in two:
            (each.root / "data").unlink()
            assert each.cli("checkout", "data.dvc").returncode == 0, (space.root.name, each.root.name)
        space.put("more", "more of " + space.root.name)
        assert space.cli("add", "more").returncode == 0
        (space.root / "more.dvc").unlink()
    refused = host.cli("destroy", "-f")
    assert refused.returncode == 1 and "guest" in refused.stderr and "owners" in refused.stderr
    assert (host.root / "data.dvc").exists()


def test_a_name_that_is_no_text_cannot_be_tracked(space: Space) -> None:
    """A ``.dvc`` file is UTF-8; inside of a directory such a name is one of the manifest's."""
    name = os.fsdecode(b"f\xe9.txt")
    space.put("data/" + name, "1\n")
    (space.root / name).write_text("1\n")
    refused = space.cli("add", name)
    assert refused.returncode == 1 and "UTF-8" in refused.stderr and "rename it" in refused.stderr
    assert not list(space.root.glob("*.txt.dvc"))
    assert space.cli("add", "data").returncode == 0
    (space.root / "data" / name).unlink()
    assert space.cli("checkout", "data.dvc").returncode == 0
    assert (space.root / "data" / name).read_text() == "1\n"
