"""The merge driver beside DVC's: three versions of a .dvc file, and what each tool makes of them."""

from collections.abc import Callable

import pytest
from twins import Work

pytestmark = [pytest.mark.dvc, pytest.mark.git]

BASE = {"a": "a", "b": "b", "sub/c": "c", "sub/d": "d"}
# What each side does to the files: None removes one.
SIDES: list[tuple[str, dict[str, str | None], dict[str, str | None], bool]] = [
    ("of one side", {"a": "ours"}, {}, True),
    ("of both", {"a": "ours", "new": "n"}, {"sub/c": "theirs", "b": None, "x/y": "xy"}, True),
    ("the same", {"a": "same"}, {"a": "same"}, True),
    ("one file twice", {"a": "ours"}, {"a": "theirs"}, False),
    ("changed and removed", {"a": "ours"}, {"a": None}, False),
    ("two new ones of a name", {"new": "ours"}, {"new": "theirs"}, False),
]


@pytest.mark.parametrize(("name", "ours", "theirs", "merged"), SIDES, ids=[side[0] for side in SIDES])
def test_as_dvc_merges(
    project: Callable[..., Work], name: str, ours: dict[str, str | None], theirs: dict[str, str | None], merged: bool
) -> None:
    work = project({"params.yaml": "x: 1\n"})
    roles: dict[str, dict[str, str | None]] = {"ancestor": {}, "our": ours, "their": theirs}
    texts: dict[str, str] = {}
    for role, changes in roles.items():
        for path, content in {**BASE, **changes}.items():
            if content is not None:
                work.put(f"data/{path}", content)
        work.dvc("add", "-q", "data")
        texts[role] = work.read("data.dvc")
        work.remove("data", "data.dvc")
    words = [word for role in roles for word in (f"--{role}", f"{role}.dvc")]
    found = {}
    for tool in ("dvc", "pyexp"):
        for role, text in texts.items():
            work.put(f"{role}.dvc", text)
        done = work.tool(tool, "git-hook", "merge-driver", *words, code=None)
        found[tool] = done.code == 0, work.read("our.dvc")
    assert found["dvc"] == found["pyexp"] and found["pyexp"][0] is merged, name
