import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from gitspace import look, make, save, untouchable, write

from pyexp.errors import GitError, UnsafeCheckout
from pyexp.git import apply as applying
from pyexp.git import objects, snapshot, user
from pyexp.git.repo import Repo
from pyexp.paths import UnsafePath

FILES: dict[str, str | bytes] = {"a": "1", "d/b": "2", "d/c": "3", ".dvc/config": "", ".gitignore": "*.log\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make(tmp_path / "repo", FILES)


def tree(repo: Repo) -> str:
    return repo.tree_of(repo.head().sha or "")


def texts(repo: Repo, of: str) -> dict[str, bytes]:
    return {path: repo.read_blob(sha) for path, (_, sha) in repo.list_tree(of).items()}


def never(relpath: str, blob: str) -> bool:
    return False


# --- the work tree as a tree


def test_workspace_tree_holds_tracked_files_as_they_are(repo: Repo) -> None:
    root = repo.require_worktree()
    assert snapshot.workspace_tree(repo) == snapshot.Snapshot(tree(repo), ())
    write(root, {"a": "changed", "untracked": "no", "staged": "old"})
    user.add(repo, ["staged"])
    write(root, {"staged": "new"})
    (root / "d/b").unlink()
    before = untouchable(repo)
    found = snapshot.workspace_tree(repo)
    assert untouchable(repo) == before
    assert found.changed == ("a", "d/b", "staged")
    assert texts(repo, found.tree) == {
        "a": b"changed", "d/c": b"3", "staged": b"new", ".dvc/config": b"", ".gitignore": b"*.log\n"
    }  # fmt: skip


def test_include_replace_exclude_and_base(repo: Repo) -> None:
    root = repo.require_worktree()
    write(root, {"x.log": "ignored", "out/1": "one", "out/sub/2": "two", "out/.git/HEAD": "x"})
    (root / "link").symlink_to("out")
    found = texts(
        repo,
        snapshot.workspace_tree(
            repo,
            include=["x.log", "out/sub/", "link", "missing"],
            replace={"a": b"spliced", "new/p": b"made"},
            exclude=["d"],
        ).tree,
    )
    assert found == {
        "a": b"spliced", "new/p": b"made", "x.log": b"ignored", "out/sub/2": b"two", "link": b"out",
        ".dvc/config": b"", ".gitignore": b"*.log\n",
    }  # fmt: skip
    # A directory with a repository of its own is left alone.
    assert snapshot.workspace_tree(repo, include=["out"]).changed == ()
    old = tree(repo)
    save(repo, {"later": "x"}, "later")
    assert snapshot.workspace_tree(repo, base=old).changed == ("later", "link")
    assert (root / "a").read_text() == "1"


@pytest.mark.parametrize("name", [".git/config", "../x", "/abs", "a/.GIT/x", "d/../../x"])
def test_replacing_outside_the_project_is_refused(repo: Repo, name: str) -> None:
    with pytest.raises(UnsafePath):
        snapshot.workspace_tree(repo, replace={name: b"x"})


def test_a_link_above_a_tracked_file_is_not_followed(repo: Repo, tmp_path: Path) -> None:
    root = repo.require_worktree()
    write(tmp_path / "outside", {"b": "secret", "c": "secret"})
    shutil.rmtree(root / "d")
    (root / "d").symlink_to(tmp_path / "outside")
    found = texts(repo, snapshot.workspace_tree(repo, include=["d/b"]).tree)
    assert "d/b" not in found and b"secret" not in found.values()


def test_commit_tree_needs_no_identity(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    head = repo.head().sha or ""
    sha = snapshot.commit_tree(repo, tree(repo), parent=head, message="m")
    commit = repo.commit(sha)
    assert (commit.parents, commit.message, commit.author.name) == ((head,), "m", "Ann")
    repo.set_config("user.name", None)
    sha = snapshot.commit_tree(repo, tree(repo), parent=head, message="m")
    assert repo.commit(sha).author.email == "pyexp@localhost"


# --- a tree as a directory


def test_materialise_makes_exactly_the_tree(repo: Repo, tmp_path: Path) -> None:
    root, work = repo.require_worktree(), tmp_path / "work"
    write(root, {"run.sh": "x"})
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("a")
    one = tree(repo)
    user.add(repo, ["."])
    user.commit(repo, "two")
    two = tree(repo)
    snapshot.materialise(repo, two, work)
    assert look(work) == look(root)
    write(work, {"left": "over", "d/left": "over", "deep/er/left": "over", "a": "damaged"})
    (work / "link").unlink()
    (work / "link").mkdir()
    (work / "run.sh").chmod(0o644)
    snapshot.materialise(repo, two, work)
    assert look(work) == look(root) and not (work / "deep").exists()
    snapshot.materialise(repo, one, work)
    assert look(work) == {name: str(content) for name, content in FILES.items()}


def test_only_what_differs_is_written(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    one = tree(repo)
    save(repo, {"a": "other"}, "two")
    snapshot.materialise(repo, one, work)
    before = {name: (work / name).stat().st_ctime_ns for name in FILES}
    snapshot.materialise(repo, tree(repo), work)
    after = {name: (work / name).stat().st_ctime_ns for name in FILES}
    assert {name for name in FILES if before[name] != after[name]} == {"a"}


def test_paths_to_keep_stay(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    snapshot.materialise(repo, tree(repo), work)
    write(work, {"cache/x": "1", "d/keep": "2", "d/drop": "3", "cached": "4", "p/q/r": "5"})
    snapshot.materialise(repo, tree(repo), work, keep=["cache", "d/keep"])
    assert set(look(work)) == {*FILES, "cache/x", "d/keep"}
    write(work, {"p/q/r": "5"})
    snapshot.materialise(repo, tree(repo), work, keep=lambda relpath: relpath == "p/q")
    assert set(look(work)) == {*FILES, "p/q/r"}


def test_a_change_within_the_clock_tick_does_not_pass_for_clean(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for n in range(20):
        snapshot.materialise(repo, tree(repo), work)
        (work / "a").write_text("2")
        captured = snapshot.capture(repo, tree(repo), work)
        assert repo.read(captured, "a") == b"2", n
        snapshot.materialise(repo, tree(repo), work)
        assert (work / "a").read_text() == "1", n


def test_without_its_state_a_directory_is_compared_by_content(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for damage in (b"", b"\xc1", b"\x93", b"\x81\xa7version\x01"):
        snapshot.materialise(repo, tree(repo), work)
        write(work, {"a": "x"})
        (tmp_path / "work.state").write_bytes(damage)
        assert repo.read(snapshot.capture(repo, tree(repo), work), "a") == b"x"
        snapshot.materialise(repo, tree(repo), work)
        assert look(work)["a"] == "1"


def test_links_in_the_directory_lead_nobody_out(repo: Repo, tmp_path: Path) -> None:
    work, outside = tmp_path / "work", tmp_path / "outside"
    snapshot.materialise(repo, tree(repo), work)
    write(outside, {"b": "theirs", "c": "theirs"})
    shutil.rmtree(work / "d")
    (work / "d").symlink_to(outside)
    (work / "a").unlink()
    (work / "a").symlink_to(outside / "b")
    captured = texts(repo, snapshot.capture(repo, tree(repo), work, include=["d/c"]))
    assert b"theirs" not in captured.values() and "d/b" not in captured
    snapshot.materialise(repo, tree(repo), work)
    assert look(outside) == {"b": "theirs", "c": "theirs"} and look(work)["d/b"] == "2"
    link = tmp_path / "other"
    link.symlink_to(outside)
    with pytest.raises(UnsafeCheckout):
        snapshot.materialise(repo, tree(repo), link)


def test_directories_without_permission_are_no_obstacle(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    snapshot.materialise(repo, tree(repo), work)
    write(work, {"locked/in/x": "1"})
    (work / "locked/in").chmod(0)
    (work / "d").chmod(0o500)
    snapshot.materialise(repo, tree(repo), work)
    assert set(look(work)) == set(FILES)


@pytest.mark.parametrize(
    "entries",
    [
        {"..": (0o100644, "x")},
        {".git": (0o100644, "x")},
        {".GIT": (0o100644, "x")},
        {"git~1": (0o100644, "x")},
        {".gitmodules": (0o120000, "x")},
        {"a\\..\0": (0o100644, "x")},
    ],
)
def test_trees_that_would_write_elsewhere_are_refused(
    repo: Repo, tmp_path: Path, entries: dict[str, tuple[int, str]]
) -> None:
    blob = objects.write_blob(repo, b"evil")
    raw = b"".join(b"%o %s\0%s" % (mode, name.encode(), bytes.fromhex(blob)) for name, (mode, _) in entries.items())
    below = b"40000 sub\0" + bytes.fromhex(objects.write(repo, "tree", raw))
    # Only the top's .gitmodules is read by anyone.
    for data in (raw,) if ".gitmodules" in entries else (raw, below):
        evil = objects.write(repo, "tree", data)
        with pytest.raises((UnsafePath, GitError)):
            snapshot.materialise(repo, evil, tmp_path / "w" / "work")
        with pytest.raises((UnsafePath, GitError)):
            snapshot.apply_tree(repo, evil, saved=never, force=True)
    assert not (tmp_path / "w").exists() or set(os.listdir(tmp_path / "w")) <= {"work"}
    assert look(repo.require_worktree()) == {name: str(content) for name, content in FILES.items()}


def test_capture_sees_changes_deletions_and_what_is_included(repo: Repo, tmp_path: Path) -> None:
    work = tmp_path / "work"
    snapshot.materialise(repo, tree(repo), work)
    assert snapshot.capture(repo, tree(repo), work) == tree(repo)
    write(work, {"a": "new", "metrics.json": "{}", "out/x": "1", "ignored": "no"})
    (work / "d/b").unlink()
    captured = texts(repo, snapshot.capture(repo, tree(repo), work, include=["metrics.json", "out", "missing"]))
    assert captured == {
        "a": b"new", "d/c": b"3", "metrics.json": b"{}", "out/x": b"1", ".dvc/config": b"", ".gitignore": b"*.log\n"
    }  # fmt: skip


# --- a tree in the user's work tree


def experiment(repo: Repo, change: Callable[[Path], None]) -> str:
    """The tree of a changed copy of the work tree."""
    root = repo.require_worktree()
    copy = root.parent / "copy"
    snapshot.materialise(repo, tree(repo), copy)
    change(copy)
    names = [path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file() or path.is_symlink()]
    return snapshot.capture(repo, tree(repo), copy, include=names)


def test_apply_brings_the_files_and_keeps_the_rest(repo: Repo) -> None:
    root = repo.require_worktree()
    target = experiment(repo, lambda copy: write(copy, {"a": "exp", "m/new": "n"}) or (copy / "d/b").unlink())
    write(root, {"mine": "untracked"})
    before = untouchable(repo)
    assert snapshot.apply_tree(repo, target, saved=never) == ("a", "d/b", "m/new")
    assert untouchable(repo) == before
    assert look(root)["a"] == "exp" and look(root)["mine"] == "untracked" and "d/b" not in look(root)
    # Doing it again changes nothing; going back is the same verb.
    assert snapshot.apply_tree(repo, target, saved=never) == ()
    with pytest.raises(UnsafeCheckout):
        snapshot.apply_tree(repo, tree(repo), saved=never)
    snapshot.apply_tree(repo, tree(repo), saved=lambda relpath, blob: repo.lookup(target, relpath) is not None)
    assert look(root) == {**{name: str(content) for name, content in FILES.items()}, "mine": "untracked", "m/new": "n"}


@pytest.mark.parametrize(
    ("situation", "offender"),
    [
        (lambda root: write(root, {"a": "edited"}), "a"),
        (lambda root: write(root, {"d/b": "edited, and the experiment deletes it"}), "d/b"),
        (lambda root: write(root, {"new": "untracked, and the experiment adds it"}), "new"),
        (lambda root: write(root, {"dir": "a file where the experiment has a directory"}), "dir"),
        (lambda root: write(root, {"new/x": "a directory where the experiment has a file"}), "new/x"),
        (lambda root: (root / "a").unlink() or (root / "a").symlink_to("elsewhere"), "a"),
    ],
)
def test_apply_refuses_to_lose_bytes_before_it_touches_any(
    repo: Repo, situation: Callable[[Path], None], offender: str
) -> None:
    root = repo.require_worktree()
    target = experiment(
        repo, lambda copy: write(copy, {"a": "exp", "new": "n", "dir/x": "y"}) or (copy / "d/b").unlink()
    )
    situation(root)
    before = look(root)
    with pytest.raises(UnsafeCheckout) as caught:
        snapshot.apply_tree(repo, target, saved=never)
    assert caught.value.paths == (offender,) and look(root) == before
    asked: list[tuple[str, bytes]] = []

    def saved(relpath: str, blob: str) -> bool:
        asked.append((relpath, blob.encode()))
        return True

    assert snapshot.plan_apply(repo, target, saved=saved).offenders == () and [path for path, _ in asked] == [offender]
    snapshot.apply_tree(repo, target, saved=never, force=True)
    assert look(root) == texts_of(repo, target)


def texts_of(repo: Repo, of: str) -> dict[str, str]:
    return {path: data.decode() for path, data in texts(repo, of).items()}


def test_apply_lets_go_what_git_has_and_restores_what_is_gone(repo: Repo) -> None:
    root = repo.require_worktree()
    target = experiment(repo, lambda copy: write(copy, {"a": "exp"}))
    write(root, {"a": "staged"})
    user.add(repo, ["a"])
    snapshot.apply_tree(repo, target, saved=never)
    write(root, {"a": "1"})
    snapshot.apply_tree(repo, target, saved=never)
    (root / "a").unlink()
    shutil.rmtree(root / "d")
    snapshot.apply_tree(repo, target, saved=never)
    assert look(root) == texts_of(repo, target)


def test_apply_changes_modes_and_kinds(repo: Repo) -> None:
    root = repo.require_worktree()

    def change(copy: Path) -> None:
        (copy / "a").chmod(0o755)
        shutil.rmtree(copy / "d")
        (copy / "d").symlink_to("a")

    target = experiment(repo, change)
    snapshot.apply_tree(repo, target, saved=never)
    assert look(root)["a"] == "*1" and look(root)["d"] == "-> a"
    snapshot.apply_tree(repo, tree(repo), saved=lambda relpath, blob: True)
    assert look(root) == {name: str(content) for name, content in FILES.items()}


def test_a_failure_half_way_puts_everything_back(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repo.require_worktree()

    def change(copy: Path) -> None:
        write(copy, {"a": "exp", "z/new": "n", "e": "f"})
        shutil.rmtree(copy / "d")
        write(copy, {"d": "now a file"})

    target = experiment(repo, change)
    write(root, {"mine": "m"})
    before = look(root)
    real_replace, real_rename = os.replace, os.rename
    for limit in range(12):
        calls = [0]

        def failing(*args: str, real: Callable[..., None], calls: list[int] = calls, limit: int = limit) -> None:
            calls[0] += 1
            if calls[0] == limit + 1:
                raise OSError(28, "No space left on device")
            real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(applying.os, "replace", lambda *args: failing(*args, real=real_replace))
            patch.setattr(applying.os, "rename", lambda *args: failing(*args, real=real_rename))
            try:
                snapshot.apply_tree(repo, target, saved=never)
            except OSError:
                assert look(root) == before, limit
                continue
        assert look(root) == {**texts_of(repo, target), "mine": "m"}
        return
    pytest.fail("the limit was never passed")


def test_a_missing_blob_stops_apply_before_anything_is_touched(repo: Repo) -> None:
    root = repo.require_worktree()
    target = experiment(repo, lambda copy: write(copy, {"a": "exp", "b": "gone"}))
    blob = (repo.lookup(target, "b") or (0, ""))[1]
    path = Path(repo.objects_dir, blob[:2], blob[2:])
    path.unlink()
    before = look(root)
    with pytest.raises(GitError, match="missing"):
        snapshot.apply_tree(repo, target, saved=never)
    assert look(root) == before


def test_random_moves_between_trees(repo: Repo, tmp_path: Path) -> None:
    rng = random.Random(7)
    root, work = repo.require_worktree(), tmp_path / "work"
    names = ["a", "b", "d", "d/b", "d/e/f", "x/y", "x"]
    trees = []
    for _ in range(8):
        blob = objects.write_blob(repo, rng.randbytes(3).hex().encode())
        files: dict[str, tuple[int, str]] = {}
        for name in rng.sample(names, 4):
            clash = any(other.startswith(name + "/") or name.startswith(other + "/") for other in files)
            if not clash:
                files[name] = (rng.choice([objects.FILE, objects.EXECUTABLE, objects.SYMLINK]), blob)
        trees.append(objects.build_tree(repo, files))
    for chosen in rng.choices(trees, k=40):
        snapshot.materialise(repo, chosen, work)
        head = repo.head()
        sha = objects.write_commit(repo, chosen, [head.sha or ""], "t", repo.identity())
        user.create_branch(repo, f"t{sha[:10]}", sha) if f"t{sha[:10]}" not in repo.branches() else None
        user.switch(repo, f"t{sha[:10]}")
        assert look(work) == look(root)
        assert user.status_text(repo, short=True) == ""
