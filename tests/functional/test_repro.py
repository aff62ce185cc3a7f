"""Reproducing: side by side, after failures, in subfolders."""

import textwrap

import pytest

import pyexp
from pyexp.events import Event, StageEvent

FAN = textwrap.dedent(
    """\
    stages:
      a: {cmd: "sleep 0.2; cat raw.txt > a.txt", deps: [raw.txt], outs: [a.txt]}
      b: {cmd: "cat raw.txt > b.txt", deps: [raw.txt], outs: [b.txt]}
      c: {cmd: "sleep 0.1; cat raw.txt > c.txt", deps: [raw.txt], outs: [c.txt]}
      d: {cmd: "cat a.txt b.txt c.txt > d.txt", deps: [a.txt, b.txt, c.txt], outs: [d.txt]}
    """
)


def test_side_by_side_gives_the_same_lock_file(make) -> None:
    space = make(FAN)
    assert space.cli("repro", "-j", "4").returncode == 0
    together = space.read("dvc.lock")
    (space.root / "dvc.lock").unlink()
    assert space.cli("repro", "-f").returncode == 0
    assert space.read("dvc.lock") == together


def test_side_by_side_a_failure_lets_the_others_finish_and_be_recorded(make) -> None:
    space = make(FAN.replace("cat raw.txt > b.txt", "exit 5"))
    done = space.cli("repro", "-j", "4")
    assert done.returncode == 1 and "failed to reproduce 'b'" in done.stderr and "exited with 5" in done.stderr
    lock = space.read("dvc.lock")
    assert "  a:" in lock and "  c:" in lock and "  b:" not in lock and "  d:" not in lock


def test_keep_going_skips_only_what_needs_the_failure(make) -> None:
    space = make(
        FAN.replace("cat raw.txt > b.txt", "exit 5")
        + "  e: {cmd: cat raw.txt > e.txt, deps: [raw.txt], outs: [e.txt]}\n"
    )
    done = space.cli("repro", "-k")
    assert done.returncode == 1
    assert (space.root / "e.txt").exists() and not (space.root / "d.txt").exists()
    assert "skipped because of this failure: 'd'" in done.stderr


def test_dry_says_why_and_changes_nothing(make) -> None:
    space = make(FAN)
    done = space.cli("repro", "--dry")
    assert done.returncode == 0 and "Would run stage 'a'" in done.stdout and "Would run stage 'd'" in done.stdout
    assert not (space.root / "dvc.lock").exists() and not (space.root / "a.txt").exists()


def test_an_edit_while_a_stage_runs_is_noticed(make) -> None:
    space = make("stages:\n  a: {cmd: 'cat raw.txt > a.txt; echo edited > raw.txt', deps: [raw.txt], outs: [a.txt]}\n")
    done = space.cli("repro")
    assert done.returncode == 0 and "'raw.txt' changed while stage 'a' ran" in done.stderr
    assert [str(reason) for _, reasons in pyexp.status(space.project()) for reason in reasons] == [
        "dependency raw.txt is modified"
    ]


def test_an_output_made_by_hand_is_in_the_cache_before_a_run_replaces_it(make) -> None:
    space = make(FAN)
    space.put("a.txt", "precious\n")
    pyexp.repro(space.project(), sink=lambda data: None)
    project = space.project()
    assert any(project.store().read(oid) == b"precious\n" for oid, _, _ in project.store().all() if not oid.is_dir)


def test_a_damaged_object_is_made_again(make) -> None:
    space = make(FAN)
    pyexp.repro(space.project(), sink=lambda data: None)
    project = space.project()
    for oid, _, _ in list(project.store().all()):
        path = project.store().path(oid)
        import os

        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.write(b"X")
    project.close()
    for name in "abcd":
        (space.root / f"{name}.txt").unlink()
    seen: list[Event] = []
    pyexp.repro(space.project(), sink=lambda data: None, on_event=seen.append)
    assert space.read("d.txt") == "raw\nraw\nraw\n"
    ran = [event.stage for event in seen if isinstance(event, StageEvent) and event.state == "running"]
    assert ran == ["a", "d"], "b and c have the bytes of a, which is whole again"


@pytest.mark.parametrize("target", ["sub/dvc.yaml", "sub/dvc.yaml:x"])
def test_a_pipeline_of_a_subfolder_from_above_and_from_inside(make, target: str) -> None:
    space = make(FAN)
    space.put("sub/dvc.yaml", "stages:\n  x: {cmd: cat ../d.txt > x.txt, deps: [../d.txt], outs: [x.txt]}\n")
    assert space.cli("repro", target).returncode == 0
    assert space.read("sub/x.txt") == "raw\nraw\nraw\n"
    (space.root / "sub/x.txt").unlink()
    done = space.cli("--cd", "sub", "repro", "x")
    assert done.returncode == 0 and "cached" in done.stdout
    assert (space.root / "sub/dvc.lock").exists()
