"""Options that DVC's users know, in each layout: what they do here."""

from __future__ import annotations

import os
import stat
import subprocess
import sys


def test_a_directory_of_metrics(space) -> None:
    space.put("eval/train.json", '{"acc": 1}')
    space.put("eval/deep/test.yaml", "acc: 2\n")
    space.put("eval/notes.txt", "nothing: here\n")
    for words in (["eval"], ["-R", "eval"]):
        shown = space.json("metrics", "show", "--json", *words)[""]["data"]
        assert shown == {"eval/deep/test.yaml": {"data": {"acc": 2}}, "eval/train.json": {"data": {"acc": 1}}}
    space.commit("with metrics")
    space.put("eval/train.json", '{"acc": 4}')
    assert space.json("metrics", "diff", "--json", "--targets", "eval") == {
        "eval/train.json": {"acc": {"old": 1, "new": 4, "diff": 3}}
    }


def test_stages_that_can_be_read_are_listed_beside_those_that_cannot(space) -> None:
    space.put("broken/dvc.yaml", "stages:\n  bad:\n    cmdd: x\n")
    done = space.cli("stage", "list", "--all", "--name-only")
    assert (done.returncode, done.stdout.split()) == (0, ["copy", "train"])
    assert "broken/dvc.yaml:3:5: unknown key 'cmdd'" in done.stderr
    done = space.cli("stage", "list", "--all", "--fail")
    assert (done.returncode, done.stdout) == (1, "") and "broken/dvc.yaml:3:5" in done.stderr


def test_commit_may_leave_the_files_themselves(space) -> None:
    assert space.cli("config", "cache.type", "hardlink").returncode == 0
    assert space.cli("repro", "--no-commit").returncode == 0
    assert space.cli("commit", "-f", "--no-relink").returncode == 0
    assert os.stat(space.root / "model.txt").st_nlink == 1
    space.put("model.txt", "by hand\n")
    assert space.cli("commit", "-f").returncode == 0
    found = os.stat(space.root / "model.txt")
    assert found.st_nlink == 2 and not found.st_mode & stat.S_IWUSR


def test_a_project_that_composes_its_params_elsewhere_says_so(space) -> None:
    assert space.cli("config", "hydra.enabled", "true").returncode == 0
    done = space.cli("exp", "run")
    assert done.returncode == 2 and "Hydra" in done.stderr and "--no-hydra" in done.stderr
    assert space.cli("exp", "run", "--no-hydra", "-n", "plain").returncode == 0
    assert "plain" in space.experiments()


def test_what_is_the_default_may_be_said(space) -> None:
    assert space.cli("--wait-for-lock", "exp", "run", "-n", "one", "-M", "words").returncode == 0
    assert space.cli("exp", "apply", "--no-force", "one").returncode == 0
    assert space.cli("exp", "clean").stdout == "Nothing to clean.\n"


def test_a_stage_that_always_runs_says_what_else_has_changed(space) -> None:
    space.put("dvc.yaml", "stages:\n  s:\n    cmd: cat raw.txt\n    deps: [raw.txt]\n    always_changed: true\n")
    assert space.cli("repro").returncode == 0
    space.put("raw.txt", "other\n")
    space.put("dvc.yaml", space.read("dvc.yaml").replace("cmd: cat", "cmd: cat -n"))
    assert space.json("status", "--json") == {
        "s": [{"changed deps": {"raw.txt": "modified"}}, "always changed", "changed command"]
    }
    space.put("dvc.yaml", space.read("dvc.yaml") + "    frozen: true\n")
    assert space.json("status", "--json") == {"s": ["always changed", "changed command"]}


def test_a_dep_that_became_executable_is_recorded_as_such_when_its_stage_runs(space) -> None:
    assert space.cli("repro").returncode == 0
    (space.root / "raw.txt").chmod(0o755)
    assert space.cli("repro").stdout.count("didn't change") == 2 and "isexec" not in space.read("dvc.lock")
    assert space.cli("repro", "-f", "-s", "copy").returncode == 0
    assert space.read("dvc.lock").count("isexec: true") == 1


def test_what_is_written_is_staged_where_that_is_wanted(space) -> None:
    def staged() -> list[str]:
        return space.cli("git", "status", "--short").stdout.splitlines()

    assert space.cli("repro").returncode == 0
    space.commit("all")
    assert space.cli("config", "--local", "core.autostage", "true").returncode == 0
    space.put("more.bin", "more\n")
    done = space.cli("add", "more.bin")
    assert (done.returncode, done.stdout) == (0, "")
    assert staged() == ["A  .gitignore", "A  more.bin.dvc"] or staged() == ["M  .gitignore", "A  more.bin.dvc"]
    # A record that git never had goes away with its name, and nothing is said of it.
    space.cli("git", "rm", "--cached", "more.bin.dvc")
    done = space.cli("move", "more.bin", "other.bin")
    assert done.returncode == 0, done.stderr
    assert "A  other.bin.dvc" in staged() and not [line for line in staged() if "more.bin" in line]
    space.put("params.yaml", "lr: 0.75\ntrain:\n  epochs: 3\n")
    assert space.cli("repro").returncode == 0
    assert "M  dvc.lock" in staged() and " M params.yaml" in staged()
    assert space.cli("freeze", "train").returncode == 0
    assert "M  dvc.yaml" in staged()
    space.put("other.bin", "changed\n")
    assert space.cli("commit", "-f", "other.bin").returncode == 0
    assert "A  other.bin.dvc" in staged()


def test_interactive_asks_before_each_stage(space) -> None:
    def answered(answers: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pyexp", *words]
        return subprocess.run(argv, cwd=space.root, input=answers, capture_output=True, text=True, timeout=100)

    done = answered("y\nn\n", "repro", "--interactive")
    assert done.returncode == 1 and "stage 'train' was declined" in done.stderr
    assert (space.root / "data.txt").exists() and not (space.root / "model.txt").exists()
    assert space.cli("config", "core.interactive", "true").returncode == 0
    done = answered("", "repro")
    assert done.returncode == 1 and "stage 'train' was declined" in done.stderr
    # Nobody is asked by a run that is made elsewhere, or later.
    for words in (["repro", "--dry"], ["exp", "run", "--queue"], ["exp", "run", "--temp"]):
        done = answered("", *words)
        assert done.returncode == 0 and "Going to" not in done.stdout, done.stderr
    done = answered("y\n", "repro")
    assert done.returncode == 0 and (space.root / "model.txt").exists()


def test_the_number_of_threads_that_hash(space) -> None:
    for number, code in (("1", 0), ("3", 0), ("many", 2)):
        assert space.cli("config", "core.checksum_jobs", number).returncode == code
    for position in range(5):
        space.put(f"big/{position}", str(position) * 2_000_000)
    assert space.cli("add", "big").returncode == 0
    assert space.cli("status").stdout.count("big") == 0


def test_what_the_configuration_says(space, tmp_path, monkeypatch) -> None:
    """Paths are where they lead to, as DVC prints them; outside a project the user's own levels are left."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    control = next(name for name in (".pyexp", ".dvc") if (space.root / name).is_dir())
    for words in (
        ["remote", "add", "there", "../there"],
        ["remote", "add", "bucket", "s3://bucket/x"],
        ["config", "--local", "cache.dir", "../cache"],
        ["config", "--global", "core.remote", "there"],
    ):
        assert space.cli(*words).returncode == 0, words
    there = str(tmp_path / "there")
    assert space.cli("config", "remote.there.url").stdout == f"{there}\n"
    cache = os.path.normpath(space.root / control / "../cache")
    said = space.cli("config", "--list", "--show-origin").stdout.splitlines()
    assert f"{control}/config\tremote.there.url={there}" in said
    assert f"{control}/config\tremote.bucket.url=s3://bucket/x" in said
    assert f"{control}/config.local\tcache.dir={cache}" in said
    assert f"{tmp_path}/global/config\tcore.remote=there" in said
    done = subprocess.run([sys.executable, "-m", "pyexp", "config", "core.remote"], cwd=tmp_path, capture_output=True)
    assert done.stdout == b"there\n"
    done = subprocess.run(
        [sys.executable, "-m", "pyexp", "config", "--local", "core.remote"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 1 and b"in no pyexp or DVC project" in done.stderr
