"""Experiments through the API, in both layouts: what is kept, what is left alone, what is refused."""

import os
from collections.abc import Callable

import pytest

import pyexp
from pyexp.errors import ExperimentError, GitError, PyexpError, StageFailed, UnsafeCheckout, UsageError
from pyexp.events import Event, StageEvent


def quiet(data: bytes) -> None:
    """A sink: nothing a stage says reaches the test's output."""


def test_a_run_is_kept_and_head_and_index_stay(space) -> None:
    before = space.git_state()
    outcome = pyexp.run(space.project(), params={"lr": 0.25}, name="first", sink=quiet)
    assert space.git_state() == before
    assert space.experiments() == {"first": outcome.sha}
    assert space.read("params.yaml") == "lr: 0.25  # rate\ntrain:\n  epochs: 3\n"
    assert space.read("scores.json") == '{"loss": 4.0}'
    assert space.file_at(outcome.sha, "params.yaml") == space.read("params.yaml")
    assert space.file_at(outcome.sha, "scores.json") == space.read("scores.json")
    assert space.file_at(outcome.sha, "dvc.lock") == space.read("dvc.lock")
    assert space.file_at(outcome.sha, "model.txt") is None, "an output of the cache is not for git"
    assert space.file_at(outcome.sha, ".gitignore") == "/data.txt\n/model.txt\n"


def test_only_what_changed_runs_again(space) -> None:
    pyexp.run(space.project(), sink=quiet)
    seen: list[Event] = []
    pyexp.run(space.project(), params=["lr=0.1"], sink=quiet, on_event=seen.append)
    assert [(e.stage, e.state) for e in seen if isinstance(e, StageEvent) and e.state != "done"] == [
        ("copy", "clean"),
        ("train", "running"),
    ]


def test_a_result_seen_before_is_restored(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], sink=quiet)
    pyexp.run(space.project(), params=["lr=0.2"], sink=quiet)
    again = pyexp.run(space.project(), params=["lr=0.1"], sink=quiet)
    assert again.result.restored == ["train"] and again.result.ran == []
    assert space.read("model.txt") == "model 0.1\n"


def test_beside_the_workspace_the_workspace_stays(space) -> None:
    pyexp.run(space.project(), name="here", params=["lr=0.1"], sink=quiet)
    before, files = space.git_state(), space.read("params.yaml") + space.read("dvc.lock")
    beside = pyexp.run(space.project(), name="beside", params=["lr=0.2"], temp=True, sink=quiet)
    assert space.git_state() == before and space.read("params.yaml") + space.read("dvc.lock") == files
    here = pyexp.run(space.project(), name="again", params=["lr=0.2"], sink=quiet)
    project = space.project()
    assert project.require_git().tree_of(here.sha) == project.require_git().tree_of(beside.sha)
    project.close()


def test_a_failing_stage_keeps_the_params_and_makes_no_experiment(space) -> None:
    space.put("train.py", "raise SystemExit(3)\n")
    with pytest.raises(StageFailed, match=r"failed to reproduce 'train'.*exited with 3") as caught:
        pyexp.run(space.project(), params=["lr=0.125"], sink=quiet)
    assert caught.value.status == 3
    assert "lr: 0.125" in space.read("params.yaml")
    assert space.experiments() == {}


def test_a_param_that_does_not_exist_changes_nothing(space) -> None:
    before = space.read("params.yaml")
    with pytest.raises(UsageError, match="no param 'lrr'") as caught:
        pyexp.run(space.project(), params=["lr=0.9", "lrr=1"], sink=quiet)
    assert "did you mean 'lr'?" in (caught.value.hint or "")
    assert space.read("params.yaml") == before


@pytest.mark.parametrize("name", ["a/b", "-x", "a..b", "x.lock", "a b", ""])
def test_an_invalid_name_is_refused_before_anything_runs(space, name: str) -> None:
    with pytest.raises(ExperimentError):
        pyexp.run(space.project(), name=name, sink=quiet)
    assert not (space.root / "dvc.lock").exists()


def test_a_name_that_is_taken_needs_force(space) -> None:
    first = pyexp.run(space.project(), name="mine", sink=quiet)
    with pytest.raises(ExperimentError, match="'mine' exists already"):
        pyexp.run(space.project(), name="mine", params=["lr=0.1"], sink=quiet)
    second = pyexp.run(space.project(), name="mine", params=["lr=0.1"], force=True, sink=quiet)
    assert second.sha != first.sha and space.experiments() == {"mine": second.sha}


def test_a_queued_name_is_taken_too(space) -> None:
    pyexp.run(space.project(), queue=True, name="mine")
    with pytest.raises(ExperimentError, match="reserved"):
        pyexp.run(space.project(), queue=True, name="mine")


def test_without_a_commit_there_is_nothing_to_start_from(tmp_path) -> None:
    from pyexp.git import repo

    repo.init(tmp_path).close()
    pyexp.init(tmp_path).close()
    with pytest.raises(GitError, match="no commit yet"):
        pyexp.run(pyexp.find(tmp_path))


def test_an_untracked_dependency_goes_into_the_experiment(space) -> None:
    text = space.read("dvc.yaml").replace("- raw.txt", "- raw.txt\n    - extra.txt", 1)
    space.put("dvc.yaml", text)
    space.put("extra.txt", "more\n")
    space.put("notes.txt", "mine\n")
    outcome = pyexp.run(space.project(), sink=quiet)
    assert space.file_at(outcome.sha, "extra.txt") == "more\n"
    assert space.file_at(outcome.sha, "notes.txt") is None


# -- the queue -------------------------------------------------------------------------------------------------------


def test_queueing_leaves_the_workspace_index_and_head_as_they_are(space) -> None:
    space.put("train.py", space.read("train.py") + "# edited\n")
    before = space.git_state(), space.read("params.yaml"), space.read("train.py")
    (task,) = pyexp.run(space.project(), queue=True, params=["lr=0.3"])
    assert (space.git_state(), space.read("params.yaml"), space.read("train.py")) == before
    assert "lr: 0.3" in (space.file_at(task.commit, "params.yaml") or "")
    assert (space.file_at(task.commit, "train.py") or "").endswith("# edited\n")
    assert space.experiments() == {}


def test_what_is_queued_is_what_was_there_then(space) -> None:
    pyexp.run(space.project(), queue=True, params=["lr=0.3"], name="then")
    space.put("train.py", "raise SystemExit(1)\n")
    summary = pyexp.run_all(space.project())
    assert (summary.done, summary.failed) == (["then"], [])


def test_a_sweep_is_a_product_with_numbered_names(space) -> None:
    tasks = pyexp.run(space.project(), queue=True, params=["lr=0.1,0.2", "train.epochs=range(1,3)"], name="p")
    assert [task.name for task in tasks] == ["p-1", "p-2", "p-3", "p-4"]
    assert [task.overrides for task in tasks] == [
        ("lr=0.1", "train.epochs=1"),
        ("lr=0.1", "train.epochs=2"),
        ("lr=0.2", "train.epochs=1"),
        ("lr=0.2", "train.epochs=2"),
    ]


def test_a_sweep_without_the_queue_is_refused(space) -> None:
    with pytest.raises(UsageError, match="sweep"):
        pyexp.run(space.project(), params=["lr=0.1,0.2"])


def test_each_queued_run_equals_the_same_run_in_the_workspace(space) -> None:
    pyexp.run(space.project(), queue=True, params=["lr=0.1,0.2,0.25"], name="q")
    summary = pyexp.run_all(space.project(), jobs=2)
    assert sorted(summary.done) == ["q-1", "q-2", "q-3"]
    queued = space.experiments()
    for number, rate in enumerate(("0.1", "0.2", "0.25"), 1):
        here = pyexp.run(space.project(), params=[f"lr={rate}"], name=f"w-{number}", sink=quiet)
        project = space.project()
        assert project.require_git().tree_of(here.sha) == project.require_git().tree_of(queued[f"q-{number}"])
        project.close()


def test_tasks_run_first_in_first_out(space) -> None:
    names = [pyexp.run(space.project(), queue=True, params=[f"lr={n}.5"], name=f"n{n}")[0].name for n in range(1, 7)]
    assert pyexp.run_all(space.project()).done == names


def test_a_dependency_that_git_ignores_stops_the_queueing_by_name(space) -> None:
    space.put("secret.txt", "key\n")
    space.put(".gitignore", "secret.txt\n")
    space.put("dvc.yaml", space.read("dvc.yaml").replace("- raw.txt", "- raw.txt\n    - secret.txt", 1))
    with pytest.raises(PyexpError, match=r"stage 'copy' needs 'secret.txt', which git ignores") as caught:
        pyexp.run(space.project(), queue=True)
    assert caught.value.hint == "copy it along: -C secret.txt"


@pytest.mark.parametrize("cmd", ["sh tool.sh", "true && ./tool.sh", "python3 tool.py --x 1"])
def test_an_untracked_script_stops_the_queueing_by_name(space, cmd: str) -> None:
    for name in ("tool.sh", "tool.py"):
        space.put(name, "#\n")
    space.put("dvc.yaml", space.read("dvc.yaml").replace("cat raw.txt > data.txt", cmd))
    with pytest.raises(PyexpError, match=r"stage 'copy' runs 'tool\.(sh|py)', which git does not track"):
        pyexp.run(space.project(), queue=True)


def test_an_untracked_file_that_a_command_writes_is_no_script(space) -> None:
    space.put("run.log", "old\n")
    space.put("dvc.yaml", space.read("dvc.yaml").replace("cat raw.txt > data.txt", "cat raw.txt > data.txt 2> run.log"))
    pyexp.run(space.project(), queue=True, name="q")
    assert pyexp.run_all(space.project()).done == ["q"]


def test_a_copied_file_is_there_for_the_run_and_in_no_git_object(space) -> None:
    space.put("secret.txt", "hush-hush\n")
    space.put(".gitignore", "secret.txt\n")
    space.put("dvc.yaml", space.read("dvc.yaml").replace("cat raw.txt", "cat raw.txt secret.txt"))
    space.put("dvc.yaml", space.read("dvc.yaml").replace("- raw.txt", "- raw.txt\n    - secret.txt", 1))
    pyexp.run(space.project(), queue=True, name="q", copy_paths=["secret.txt"])
    summary = pyexp.run_all(space.project())
    assert summary.done == ["q"]
    assert space.file_at(space.experiments()["q"], "secret.txt") is None
    from pyexp.git import objects, repo

    with repo.discover(space.root) as found:
        shas = [
            d.name + f.name for d in (space.root / ".git/objects").iterdir() if len(d.name) == 2 for f in d.iterdir()
        ]
        assert not any(b"hush-hush" in objects.read(found, sha)[1] for sha in shas)


# -- apply -----------------------------------------------------------------------------------------------------------


def test_apply_brings_files_and_outputs(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    pyexp.run(space.project(), params=["lr=0.2"], name="two", sink=quiet)
    before = space.git_state()
    pyexp.apply(space.project(), "one")
    assert "lr: 0.1" in space.read("params.yaml") and space.read("model.txt") == "model 0.1\n"
    assert space.git_state() == before
    assert pyexp.status(space.project()) == []


def test_apply_refuses_to_overwrite_an_edit_that_is_saved_nowhere(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    space.put("train.py", "my edit\n")
    with pytest.raises(UnsafeCheckout) as caught:
        pyexp.apply(space.project(), "one")
    assert caught.value.paths == ("train.py",)
    assert space.read("train.py") == "my edit\n"
    pyexp.apply(space.project(), "one", force=True)
    assert space.read("train.py") != "my edit\n"


def test_apply_keeps_files_the_experiment_does_not_know(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    space.put("notes.txt", "mine\n")
    pyexp.apply(space.project(), "one")
    assert space.read("notes.txt") == "mine\n"


def test_an_output_changed_by_hand_is_saved_before_apply_replaces_it(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    (space.root / "model.txt").unlink()
    space.put("model.txt", "by hand\n")
    pyexp.apply(space.project(), "one")
    assert space.read("model.txt") == "model 0.1\n"
    project = space.project()
    assert any(project.store().read(oid) == b"by hand\n" for oid, _, _ in project.store().all())


# -- everything else -------------------------------------------------------------------------------------------------


def test_show_has_each_experiment_with_its_values(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    workspace, head = pyexp.show(space.project())
    assert workspace.row.params["params.yaml"]["lr"] == 0.1
    assert head.row.params["params.yaml"]["lr"] == 0.5
    (one,) = head.experiments
    assert one.name == "one" and one.row.metrics == {"scores.json": {"loss": 10.0}}


def test_rows_are_read_once_and_a_broken_row_file_is_no_harm(space) -> None:
    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    first = pyexp.show(space.project())
    rows = space.project().scratch / "rows"
    assert rows.stat().st_size > 0
    assert pyexp.show(space.project()) == first
    rows.write_bytes(rows.read_bytes()[:-7] + b"\xc1garbage")
    assert pyexp.show(space.project()) == first


def test_rename_remove_and_save(space) -> None:
    pyexp.run(space.project(), name="one", sink=quiet)
    from pyexp.experiments import manage

    manage.rename(space.project(), "one", "uno")
    assert list(space.experiments()) == ["uno"]
    with pytest.raises(ExperimentError, match="'one' is not the name") as caught:
        pyexp.remove(space.project(), "one")
    assert "uno" in (caught.value.hint or "") or "exp list" in (caught.value.hint or "")
    pyexp.save(space.project(), name="saved")
    assert sorted(space.experiments()) == ["saved", "uno"]
    assert sorted(pyexp.remove(space.project(), "uno", "saved")) == ["saved", "uno"]
    assert space.experiments() == {}


def test_save_says_what_it_leaves_out(space) -> None:
    assert space.cli("repro").returncode == 0
    done = space.cli("exp", "save", "-n", "all")
    assert (done.returncode, done.stderr) == (0, ""), "what pyexp writes itself is in it"
    assert space.file_at(space.experiments()["all"], "dvc.lock")
    space.put("notes/a.txt", "a\n")
    space.put("notes/b.txt", "b\n")
    done = space.cli("exp", "save", "-n", "some", "-I", "notes/a.txt")
    assert done.returncode == 0 and "not part of the experiment: notes/b.txt" in done.stderr
    assert space.file_at(space.experiments()["some"], "notes/a.txt") == "a\n"
    assert space.file_at(space.experiments()["some"], "notes/b.txt") is None
    done = space.cli("exp", "save", "-n", "whole", "-I", "notes")
    assert (done.returncode, done.stderr) == (0, "")


def test_gc_keeps_what_is_queued(space) -> None:
    from pyexp.experiments.manage import CacheScope

    pyexp.run(space.project(), params=["lr=0.1"], name="one", sink=quiet)
    pyexp.run(space.project(), queue=True, params=["train.epochs=9"], name="later")
    pyexp.run(space.project(), params=["lr=0.2"], name="two", sink=quiet)
    pyexp.gc(space.project(), CacheScope(workspace=True))
    assert pyexp.status(space.project()) == []
    assert pyexp.run_all(space.project()).done == ["later"]
    pyexp.apply(space.project(), "later")
    assert "epochs: 9" in space.read("params.yaml")


def test_the_library_leaves_the_process_alone(space, capfd: pytest.CaptureFixture[str]) -> None:
    import signal

    before = os.getcwd(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), dict(os.environ)
    project = space.project()
    pyexp.run(project, params=["lr=0.1"], name="one", sink=quiet)
    pyexp.show(project)
    pyexp.diff(project, "one", "HEAD")
    pyexp.apply(project, "one")
    pyexp.status(project)
    assert (os.getcwd(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), dict(os.environ)) == before
    assert capfd.readouterr() == ("", "")


def test_a_project_in_a_subdirectory_of_its_repository(make: Callable[..., object], tmp_path) -> None:
    from pyexp.git import repo, user

    top = tmp_path / "mono"
    top.mkdir()
    repo.init(top).close()
    sub = top / "models" / "one"
    sub.mkdir(parents=True)
    pyexp.init(sub, subdir=True).close()
    (sub / "params.yaml").write_text("lr: 1\n")
    (sub / "dvc.yaml").write_text("stages:\n  a:\n    cmd: cat params.yaml > o\n    params: [lr]\n    outs: [o]\n")
    with repo.discover(top) as found:
        user.add(found, ["."])
        user.commit(found, "base")
    here = pyexp.run(pyexp.find(sub), params=["lr=2"], name="here", sink=quiet)
    beside = pyexp.run(pyexp.find(sub), params=["lr=2"], name="beside", temp=True, sink=quiet)
    with repo.discover(top) as found:
        assert found.tree_of(here.sha) == found.tree_of(beside.sha)
        assert found.read(here.sha, "models/one/params.yaml") == b"lr: 2\n"
