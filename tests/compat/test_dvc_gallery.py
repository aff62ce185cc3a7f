"""``repro`` of many shapes of pipelines: every file as DVC writes it, and each tool finds nothing to do after the other."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import gallery
import pytest
from twins import Work, plain, start

from pyexp.formats import yamlfile

pytestmark = pytest.mark.dvc


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[tuple[Work, Work]]:
    """The gallery as DVC and as pyexp leave it after ``add`` and ``repro``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        theirs = start(tmp_path_factory.mktemp("gallery") / "dvc", dvc, gallery.ALL)
        theirs.git("rm", "-q", "--cached", "start/data/data.xml")
        theirs.git("commit", "-q", "-m", "data is for DVC")
        ours = theirs.twin("pyexp")
        theirs.dvc("add", "start/data/data.xml")
        theirs.dvc("repro", "-P")
        ours.pyexp("add", "start/data/data.xml")
        ours.pyexp("repro", "-P")
        yield theirs, ours
        shutil.rmtree(theirs.root.parent)


DIRECTORIES = sorted({path.split("/")[0] for path in gallery.ALL})


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_file_is_as_dvc_writes_it(twins: tuple[Work, Work], directory: str) -> None:
    expected, found = (
        {path: data for path, data in work.files().items() if path.startswith(f"{directory}/")} for work in twins
    )
    assert sorted(found) == sorted(expected)
    for path, (data, mode) in expected.items():
        if path == "shared/dvc.lock":
            assert yamlfile.load(found[path][0].decode(), path) == yamlfile.load(data.decode(), path)
        else:
            assert (found[path][0].decode("latin-1"), found[path][1]) == (data.decode("latin-1"), mode), path


def test_the_cache_is_as_dvc_fills_it(twins: tuple[Work, Work]) -> None:
    expected, found = twins[0].cache(), twins[1].cache()
    assert sorted(found) == sorted(expected)
    for path, (data, mode) in expected.items():
        if path.startswith("runs/"):
            assert yamlfile.load(found[path][0].decode(), path) == yamlfile.load(data.decode(), path)
        else:
            assert found[path] == (data, mode), path


RESTLESS = {"rules/dvc.yaml:always": ["always changed"], "rules/dvc.yaml:callback": ["always changed"]}


@pytest.mark.parametrize("made_by", ["dvc", "pyexp"])
def test_both_find_everything_as_the_other_left_it(twins: tuple[Work, Work], made_by: str, tmp_path: Path) -> None:
    work = twins[made_by == "pyexp"].twin(f"{made_by}-looked-at")
    work.commit()
    before, cache = work.clock(), work.cache()
    assert plain(work.dvc("status", "--json").json()) == RESTLESS
    assert plain(work.pyexp("status", "--json").json()) == RESTLESS
    for tool in ("pyexp", "dvc"):
        done = work.tool(tool, "checkout")
        assert done.out.strip() == ""
    assert work.clock() == before and work.cache() == cache
    work.remove(".dvc/tmp")  # neither may need what the other remembers of files
    for tool in ("pyexp", "dvc"):
        done = work.tool(tool, "repro", "-P")
        ran = sorted(re.findall(r"Running stage '(.+)'", done.out))
        assert ran == sorted(RESTLESS), (tool, done.out)
    changed = {path for path, when in work.clock().items() if before[path] != when}
    assert changed - {"rules/dvc.lock"} == {"rules/always.txt", "rules/called.log"}
    assert work.git("status", "--porcelain") == ""


@pytest.mark.parametrize("made_by", ["dvc", "pyexp"])
def test_each_restores_what_the_other_cached(twins: tuple[Work, Work], made_by: str) -> None:
    work = twins[made_by == "pyexp"].twin(f"{made_by}-restored")
    before = work.files()
    gone = [path for path in work.git("ls-files", "-zoi", "--exclude-standard").split("\0") if path]
    gone = [path for path in gone if not path.startswith(".dvc/") and path != "rules/called.log"]
    assert len(gone) > 30
    other = "dvc" if made_by == "pyexp" else "pyexp"
    for path in gone:
        (work.root / path).unlink()
    work.tool(other, "checkout")
    assert work.files() == before
