"""``core.autostage``: the same files in git's index after the same commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from twins import Work, start

pytestmark = pytest.mark.dvc


def test_the_index_is_equal(tmp_path: Path, dvc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    theirs = start(tmp_path / "theirs", dvc, {"params.yaml": "lr: 1\n", "more.txt": "more\n"})
    theirs.put("sub/data.txt", "a\n")
    ours = theirs.twin("ours")
    for line in (
        "config core.autostage true",
        "add data.txt",
        "stage add -n copy -d data.txt -p ../params.yaml:lr -o out.txt cp data.txt out.txt",
        "repro",
        "stage add -n again -d data.txt -o again.txt --run cp data.txt again.txt",
        "commit-in-git",
        "move data.txt moved.txt",
        "import-url ../more.txt imported.txt",
    ):
        for work, tool in ((theirs, theirs.dvc), (ours, ours.pyexp)):
            if line == "commit-in-git":
                work.git("commit", "-q", "-m", "so far")
            else:
                tool(*line.split(), cwd="sub")
        assert staged(ours) == staged(theirs), line
    assert ours.files()["sub/dvc.yaml"][0].startswith(b"stages:") and "sub/moved.txt.dvc" in " ".join(staged(ours))


def staged(work: Work) -> list[str]:
    return sorted(work.git("status", "--porcelain", "--no-renames").splitlines())
