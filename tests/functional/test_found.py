"""What a second pair of eyes found: each was wrong once."""

from contextlib import closing

import pytest

import pyexp
from pyexp.errors import UnsafeCheckout
from pyexp.git import repo, user


def stage(space, *paths: str) -> None:
    with repo.discover(space.root) as found:
        user.add(found, list(paths))


# -- apply keeps what is the user's ------------------------------------------------------------------------------


def test_apply_leaves_new_staged_files_alone(space) -> None:
    with closing(space.project()) as project:
        pyexp.run(project, params={"lr": 0.1}, name="one")
        space.put("notes/plan.txt", "not committed yet\n")
        stage(space, "notes/plan.txt")
        pyexp.apply(project, "one")
    assert space.read("notes/plan.txt") == "not committed yet\n"


def test_apply_does_not_take_the_place_of_a_file_nobody_has(space) -> None:
    with closing(space.project()) as project:
        before = space.read("dvc.yaml")
        space.put("dvc.yaml", before + "  more:\n    cmd: echo made > extra.txt\n    outs:\n    - extra.txt\n")
        stage(space, "dvc.yaml")
        pyexp.run(project, name="more")
        space.put("dvc.yaml", before)
        stage(space, "dvc.yaml")
        (space.root / "extra.txt").unlink()
        space.put("extra.txt", "my own notes\n")
        with pytest.raises(UnsafeCheckout, match=r"extra\.txt"):
            pyexp.apply(project, "more")
        assert space.read("extra.txt") == "my own notes\n"
        pyexp.apply(project, "more", force=True)
        assert space.read("extra.txt") == "made\n"
