"""Links in a stranger's project: whatever is a link out of it is not written through, nor emptied."""

import os
import shutil
import time

import pytest
from functional.stranger import Stranger
from functional.test_hostile_paths import some

WRITERS = (
    "repro",
    "exp run -S lr=0.7",
    "exp run --temp -S lr=0.8",
    "exp run --queue -S lr=0.9",
    "exp apply one --force",
    "exp save --force",
    "stage add -f -n extra -o extra.txt 'echo 1 > extra.txt'",
    "freeze copy",
    "add mine.txt",
    "move data/images data/pictures",
    "commit --force",
    "checkout --force",
    "pull --force",
    "unprotect data/images",
    "git checkout -- .",
    "git switch other",
    "remove train",
    "exp undo",
)


@pytest.fixture
def full(stranger: Stranger) -> Stranger:
    """With tracked directories, an experiment, another branch and a remote."""
    for number in range(3):
        stranger.space.put(f"data/images/{number}.txt", f"{number}\n")
    stranger.space.put("mine.txt", "mine\n")
    for words in (
        ["remote", "add", "-d", "there", str(stranger.base / "remote")],
        ["add", "data/images"],
        ["repro"],
        ["git", "add", "."],
        ["git", "commit", "-m", "data"],
        ["exp", "run", "-n", "one", "-S", "lr=0.6"],
        ["git", "switch", "-c", "other"],
        ["push"],
    ):
        assert stranger.run(*words).code == 0, words
    stranger.space.put("params.yaml", "lr: 0.1\ntrain:\n  epochs: 9\n")
    stranger.space.commit("other")
    assert stranger.run("git", "switch", "master").code == 0
    return stranger


def attempt(stranger: Stranger, commands: tuple[str, ...] = WRITERS) -> None:
    import shlex

    before = stranger.around()
    for command in commands:
        stranger.run(*shlex.split(command))
        assert stranger.around() == before, command


def lead_out(stranger: Stranger, relpath: str) -> None:
    """Moves a file or directory of the project outside, and leaves a link."""
    path, outside = stranger.root / relpath, stranger.base / "outside" / relpath
    outside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, outside)
    path.symlink_to(os.path.relpath(outside, path.parent))


@pytest.mark.parametrize(
    "relpath",
    [
        "dvc.yaml",
        "dvc.lock",
        "params.yaml",
        ".gitignore",
        "raw.txt",
        "data.txt",
        "model.txt",
        "scores.json",
        "data",
        "data/images",
        "data/images.dvc",
        "data/images/1.txt",
        "data/.gitignore",
    ],
)
def test_a_file_of_the_project_that_is_a_link(full: Stranger, relpath: str) -> None:
    if not (full.root / relpath).exists():
        full.space.put(relpath, "# empty\n")
    lead_out(full, relpath)
    attempt(full)


OUTS = {
    "a file": "stages:\n  s:\n    cmd: touch made.txt\n    outs: [sub/out.txt]\n",
    "a directory": "stages:\n  s:\n    cmd: touch made.txt\n    outs: [sub/dir]\n",
    "persistent": "stages:\n  s:\n    cmd: touch made.txt\n    outs:\n    - sub/dir: {persist: true}\n",
    "not cached": "stages:\n  s:\n    cmd: touch made.txt\n    metrics:\n    - sub/out.txt: {cache: false}\n",
    "new": "stages:\n  s:\n    cmd: touch made.txt\n    outs: [sub/new/dir/out.txt]\n",
    "wdir": "stages:\n  s:\n    cmd: touch made.txt\n    wdir: sub/inner\n    outs: [out.txt]\n",
    "pipeline file": "stages: {}\n",
}


@pytest.mark.parametrize("kind", OUTS)
def test_an_output_behind_a_link_is_neither_removed_nor_made(stranger: Stranger, kind: str) -> None:
    outside = stranger.base / "outside"
    for directory in ("dir", "inner"):
        (outside / directory).mkdir()
        (outside / directory / "out.txt").write_text("precious\n")
    (outside / "out.txt").write_text("precious\n")
    os.chmod(outside / "dir/out.txt", 0o444)
    if kind == "pipeline file":
        (outside / "dvc.yaml").write_text(OUTS["a file"].replace("sub/", ""))
    (stranger.root / "sub").symlink_to(outside)
    stranger.space.put("dvc.yaml", OUTS[kind])
    before = stranger.around()
    for command in (
        "repro",
        "repro --force",
        "repro sub/dvc.yaml",
        "repro -P --force",
        "commit --force",
        "exp run --temp",
        "exp run",
        "unprotect sub/dir",
        "unprotect sub/out.txt",
        "checkout --force",
        "remove s --outs",
        "exp save",
    ):
        stranger.run(*command.split())
        after = stranger.around()
        after.pop(str(outside / "made.txt"), None)
        after.pop(str(outside / "inner/made.txt"), None)
        assert after == before, command


@pytest.mark.parametrize("path", ["sub/out.txt", "sub/dir"])
def test_recorded_data_behind_a_link_is_not_brought(stranger: Stranger, path: str) -> None:
    outside = stranger.base / "outside"
    (outside / "dir").mkdir()
    (stranger.root / "sub").symlink_to(outside)
    hex = stranger.put_object(b"new\n") if path.endswith("txt") else stranger.put_manifest(["a.txt", "deep/b.txt"])
    stranger.put_pointer("data", hex, path)
    before = stranger.around()
    for command in ("checkout", "checkout --force", "checkout --relink --force", "pull", "repro", "exp save"):
        stranger.run(*command.split())
        assert stranger.around() == before, command
    stranger.refused("checkout", "--force", "data.dvc", says="outside")


def test_a_link_in_the_middle_of_a_directory_is_not_followed(stranger: Stranger) -> None:
    """The manifest says ``deep/b.txt``, and ``data/deep`` is a link out of the project."""
    outside = stranger.base / "outside"
    stranger.put_pointer("data", stranger.put_manifest(["a.txt", "deep/b.txt"]))
    (stranger.root / "data").mkdir()
    (stranger.root / "data/deep").symlink_to(outside)
    before = stranger.around()
    for command in ("status", "checkout", "pull", "repro", "commit --force data.dvc"):
        stranger.run(*command.split())
        assert stranger.around() == before, command
    (stranger.root / "data/a.txt").unlink(missing_ok=True)
    stranger.put_pointer("data", stranger.put_manifest(["a.txt", "deep/b.txt"]))
    assert stranger.run("checkout", "--force").code == 0
    assert stranger.around() == before
    assert (stranger.root / "data/deep/b.txt").read_text() == "hostile\n"


def state_of(stranger: Stranger) -> list[str]:
    """Every file and directory of pyexp's own that is not an object: by level, those above first."""
    found = []
    for directory, below, names in os.walk(stranger.control):
        relative = os.path.relpath(directory, stranger.root)
        if f"/{relative}/".endswith(("/cache/files/", "/cache/runs/")) or "/work/0" in relative:
            below.clear()
        # A cache elsewhere is the user's to choose, by a link too.
        found += [f"{relative}/{name}" for name in (*below, *names) if name not in ("cache", "files", "runs")]
    return sorted(found, key=lambda path: (path.count("/"), path))


def test_state_that_is_a_link_is_not_written_through(full: Stranger) -> None:
    """A stranger can put links into git even where pyexp keeps its own things."""
    for words in (
        ["exp", "run", "--temp", "-S", "lr=0.8", "-n", "temporary"],
        ["exp", "run", "--queue", "-S", "lr=0.9", "-n", "waiting"],
        ["queue", "start"],
        ["exp", "show", "--no-pager"],
    ):
        assert full.run(*words).code == 0, words
    for _ in range(600):
        if '"Success"' in full.run("queue", "status", "--json").out:
            break
        time.sleep(0.05)
    paths = state_of(full)
    assert len(paths) > 20, paths
    keep = full.base / "kept"
    shutil.copytree(full.root, keep, symlinks=True)
    for number, relpath in enumerate(paths):
        shutil.rmtree(full.root)
        shutil.copytree(keep, full.root, symlinks=True)
        where = full.base / f"outside/{number}"
        where.mkdir()
        # What it leads to is what was there, so that it is fit for use.
        shutil.move(full.root / relpath, where / "it")
        (full.root / relpath).symlink_to(where / "it")
        before = full.around()
        for command in some(CONTROLLED, number, 2):
            full.run(*command.split())
            after = full.around()
            if command.startswith(("config", "remote")):  # these have every right to
                before[str(full.control / "config")] = after.get(str(full.control / "config"))
            changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
            assert not changed, (relpath, command, changed)


CONTROLLED = (
    "status",
    "exp run --temp -S lr=0.3",
    "exp run --queue -S lr=0.4",
    "exp run --run-all",
    "exp run -S lr=0.2",
    "exp show --no-pager",
    "queue remove --all",
    "add mine.txt",
    "gc --workspace --force",
    "exp gc --workspace --force",
    "doctor --repair",
    "config core.remote there",
    "remote add other /nowhere",
)


def outside_of(stranger: Stranger) -> dict[str, object]:
    """What is not the project's."""
    return {path: found for path, found in stranger.around().items() if not path.startswith(str(stranger.root))}


CACHE_LINKS = {"marks": "live", "objects": "files", "of a hash": "files/{algo}", "marks of owners": "owners"}


@pytest.mark.parametrize("kind", CACHE_LINKS)
def test_what_a_link_of_the_cache_leads_to_is_not_removed(stranger: Stranger, kind: str) -> None:
    """gc deletes what is dead or unused: by a link, the files or the cache of somebody else."""
    name = CACHE_LINKS[kind].format(algo=stranger.algo)
    outside, place = stranger.base / "outside", stranger.control / "cache" / name
    assert stranger.run("repro").code == 0
    (outside / "precious.txt").write_text("precious\n")
    if kind.startswith("o"):  # what their cache looks like, and what none of our records needs
        digest = stranger.put_object(b"theirs\n")
        theirs = stranger.control / "cache/files" / stranger.algo / digest[:2]
        below = "" if kind == "of a hash" else stranger.algo
        shutil.move(theirs, outside / below / digest[:2])
    if place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(outside)
    before = outside_of(stranger)
    for command in ("gc -w -f", "gc -w -f --dry", "doctor --fix", "exp gc -w -f", "destroy -f"):
        stranger.run(*command.split())
        assert outside_of(stranger) == before, command


def test_a_directory_that_a_configuration_calls_the_cache(stranger: Stranger) -> None:
    outside = stranger.base / "outside"
    (outside / "live").mkdir()
    (outside / "live/precious.txt").write_text("precious\n")
    assert stranger.run("config", "cache.dir", str(outside)).code == 0
    before = outside_of(stranger)
    stranger.refused("gc", "-w", "-f", says="has stored nothing there")
    stranger.run("destroy", "-f")
    assert outside_of(stranger) == before


def test_marks_that_are_none(stranger: Stranger) -> None:
    """What lies among the marks of living runs and is none stays, and keeps nobody waiting."""
    live = stranger.control / "cache/live"
    (live / "directory").mkdir(parents=True)
    os.mkfifo(live / "fifo")
    (live / "1-0123456789ab").symlink_to(stranger.base / "outside/secret.txt")
    os.mkfifo(live / "2-0123456789ab")
    (live / "3-0123456789ab").write_text("")
    before = outside_of(stranger)
    for command in ("gc -w -f", "destroy -f"):
        assert stranger.run(*command.split()).code == 0
        assert outside_of(stranger) == before
        assert not (live / "3-0123456789ab").exists()


def test_a_sound_object_of_somebody_elses_cache_is_not_set_aside(stranger: Stranger) -> None:
    """A link calls their objects by another hash, under which they look damaged."""
    theirs = stranger.base / "outside/sha256"
    object = theirs / "ab" / ("c" * (62 if stranger.algo == "sha256" else 30))
    object.parent.mkdir(parents=True)
    object.write_text("sound\n")
    place = stranger.control / "cache/files" / stranger.algo
    if place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(theirs)
    stranger.put_pointer("data", "ab" + object.name)
    before = outside_of(stranger)
    for command in ("checkout", "status", "doctor", "doctor --fix", "push"):
        stranger.run(*command.split())
        assert outside_of(stranger) == before, command


def _ref_of_nothing(full: Stranger) -> None:
    ref = full.root / ".git/refs/exps/ab/cdef/broken"
    ref.parent.mkdir(parents=True)
    ref.write_text("1" * 40 + "\n")


def _removed_task_with_a_log(full: Stranger) -> None:
    assert full.run("exp", "run", "--queue", "-n", "waiting", "-S", "lr=0.9").code == 0
    (task,) = (full.scratch / "queue/queued").iterdir()
    (full.scratch / "logs").mkdir(exist_ok=True)
    log = full.scratch / "logs" / f"{task.name.partition('-')[2]}.log"
    log.write_text("said\n")
    assert full.run("exp", "remove", "--queue").code == 0
    log.write_text("here is where the link will be\n")


# Where a file of ours is written, and the command that writes it.
WRITTEN = {
    "what is on a remote": ("{scratch}/remotes/*", "data status --not-in-remote", None),
    "a result": ("{control}/cache/runs/**/*", "repro --force", None),
    "a page": ("dvc_plots/index.html", "plots show", None),
    "the page's own .gitignore": ("dvc_plots/.gitignore", "plots show", None),
    "a log": ("{scratch}/logs/[0-9a-f]*.log", "exp undo", _removed_task_with_a_log),
    "refs that were lost": ("{scratch}/lost+found/refs", "doctor --repair", _ref_of_nothing),
}


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("what", WRITTEN)
def test_a_file_of_ours_that_is_a_link_is_not_written_through(full: Stranger, what: str, dangling: bool) -> None:
    pattern, command, prepare = WRITTEN[what]
    shown = pattern.format(scratch=full.scratch.relative_to(full.root), control=full.control.relative_to(full.root))
    full.space.put("points.csv", "a,b\n1,2\n")
    full.space.put("dvc.yaml", full.space.read("dvc.yaml") + "plots:\n- points.csv\n")
    if prepare is None:
        full.run(*command.split())
    else:
        prepare(full)
    found = [path for path in full.root.glob(shown) if path.is_file()] or [full.root / shown]
    for number, path in enumerate(found):
        outside = full.base / f"outside/{number}"
        if not dangling:
            outside.write_text("precious\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(outside)
    before = outside_of(full)
    full.run(*command.split())
    assert outside_of(full) == before
