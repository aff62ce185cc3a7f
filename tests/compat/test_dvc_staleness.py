"""What is out of date, and why: ``status`` and what ``repro`` then runs and writes, beside DVC's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from twins import Work, plain, start

pytestmark = pytest.mark.dvc


def stage(name: str, body: str) -> str:
    return f"  {name}:\n    cmd: echo {name} > {name}.out\n    outs: [{name}.out]\n{body}"


NAMES = [
    "clean",
    "dep_modified",
    "dep_deleted",
    "dep_added",
    "dep_taken",
    "dep_touched",
    "param_modified",
    "param_taken",
    "param_added",
    "param_unset",
    "whole_added",
    "whole_taken",
    "whole_same",
    "param_number",
    "param_file_gone",
    "cmd_changed",
    "cmd_listed",
    "out_modified",
    "out_deleted",
    "out_lost",
    "out_lost_gone",
    "frozen_dep",
    "no_lock",
    "tree_added",
    "tree_renamed",
    "tree_mode",
    "tree_ignored",
    "desc_changed",
    "open_changed",
    "open_deleted",
    "now_cached",
    "now_uncached",
    "dep_mode",
    "wdir_changed",
    "lock_params_gone",
    "tuple_list",
    "nan",
    "crlf",
]


def pipeline() -> str:
    text = "stages:\n"
    for name in NAMES:
        if name.startswith(("param", "whole", "tuple", "nan", "lock_params")):
            keys = "        []\n" if name.startswith("whole") else "      - a\n      - b.c\n"
            value = "" if name.startswith("whole") else "\n" + keys.rstrip("\n")
            suffix = "py" if name.startswith("tuple") else "yaml"
            text += stage(name, f"    params:\n    - {name}.{suffix}:{value}\n")
        elif name.startswith("tree"):
            text += stage(name, f"    deps: [{name}]\n")
        elif name.startswith("open") or name == "now_cached":
            body = stage(name, f"    deps: [{name}.in]\n")
            text += body.replace(f"[{name}.out]", f"[{name}.out: {{cache: false}}]")
        else:
            text += stage(name, f"    deps: [{name}.in]\n")
    return text


def files() -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {"dvc.yaml": pipeline(), "data.txt": "data", "gone.txt": "gone", "tree.d/a": "a"}
    for name in NAMES:
        if name.startswith("tree"):
            found.update({f"{name}/one": "1", f"{name}/sub/two": "2"})
        elif name.startswith("tuple"):
            found[f"{name}.py"] = "a = (1, 2)\nclass b:\n    c = 1\n"
        elif name == "nan":
            found[f"{name}.yaml"] = "a: .nan\nb: {c: 1}\n"
        elif name.startswith(("param", "whole", "lock_params")):
            found[f"{name}.yaml"] = "a: 1\nb:\n  c: [1, 2]\n  d: 3\nz: 1\n"
        else:
            found[f"{name}.in"] = name
    return found


def edit(work: Work, relpath: str, old: str, new: str, count: int = 1) -> None:
    text = work.read(relpath)
    assert old in text, (relpath, old)
    work.put(relpath, text.replace(old, new, count))


def in_stage(work: Work, name: str, old: str, new: str, file: str = "dvc.yaml") -> None:
    text = work.read(file)
    at = text.index(f"  {name}:\n")
    assert old in text[at:], (name, old)
    work.put(file, text[:at] + text[at:].replace(old, new, 1))


def lock_entry(work: Work, name: str) -> str:
    return re.search(rf"^  {name}:\n(?:    .*\n)+", work.read("dvc.lock"), re.MULTILINE)[0]  # type: ignore[index]


def lose(work: Work, path: str) -> None:
    """Takes an output's object out of the cache."""
    hashed = re.search(rf"path: {path}\n\s+hash: md5\n\s+md5: (\w+)", work.read("dvc.lock"))
    assert hashed is not None
    (work.root / ".dvc/cache/files/md5" / hashed[1][:2] / hashed[1][2:]).unlink()


def change_everything(work: Work) -> None:
    work.put("dep_modified.in", "other")
    work.remove("dep_deleted.in")
    work.put("extra.in", "x")
    in_stage(work, "dep_added", "[dep_added.in]", "[dep_added.in, extra.in]")
    in_stage(work, "dep_taken", "    deps: [dep_taken.in]\n", "    deps: [extra2.in]\n")
    work.put("extra2.in", "x")
    (work.root / "dep_touched.in").touch()
    edit(work, "param_modified.yaml", "c: [1, 2]", "c: [1, 3]")
    edit(work, "param_taken.yaml", "a: 1\n", "")
    in_stage(work, "param_added", "      - a\n", "      - a\n      - z\n")
    in_stage(work, "param_unset", "      - a\n", "")
    edit(work, "whole_added.yaml", "z: 1", "z: 1\ny: 2")
    edit(work, "whole_taken.yaml", "z: 1\n", "")
    edit(work, "whole_same.yaml", "a: 1\n", "# comment\na:   1\n")
    edit(work, "param_number.yaml", "a: 1", "a: 1.0")
    work.remove("param_file_gone.yaml")
    in_stage(work, "cmd_changed", "echo cmd_changed", "echo  cmd_changed")
    in_stage(work, "cmd_listed", "cmd: echo cmd_listed > cmd_listed.out", "cmd: [echo cmd_listed > cmd_listed.out]")
    work.put("out_modified.out", "mine")
    work.remove("out_deleted.out", "out_lost_gone.out")
    lose(work, "out_lost.out")
    lose(work, "out_lost_gone.out")
    in_stage(work, "frozen_dep", "    outs:", "    frozen: true\n    outs:")
    work.put("frozen_dep.in", "other")
    edit(work, "dvc.lock", lock_entry(work, "no_lock"), "")
    work.put("tree_added/three", "3")
    (work.root / "tree_renamed/one").rename(work.root / "tree_renamed/uno")
    (work.root / "tree_mode/one").chmod(0o755)
    work.put("tree_ignored/x.tmp", "x")
    work.put(".dvcignore", "*.tmp\n")
    in_stage(work, "desc_changed", "    outs:", "    desc: new\n    meta: {a: 1}\n    outs:")
    work.put("open_changed.out", "mine")
    work.remove("open_deleted.out")
    in_stage(work, "now_cached", "[now_cached.out: {cache: false}]", "[now_cached.out]")
    in_stage(work, "now_uncached", "[now_uncached.out]", "[now_uncached.out: {cache: false}]")
    (work.root / "dep_mode.in").chmod(0o755)
    work.put("sub/wdir_changed.in", "wdir_changed")
    in_stage(work, "wdir_changed", "    outs:", "    wdir: sub\n    outs:")
    entry = lock_entry(work, "lock_params_gone")
    edit(work, "dvc.lock", entry, re.sub(r"    params:\n(?:      .*\n)+", "", entry))
    work.put("crlf.in", "crlf\r\n")
    work.put("data.txt", "changed")
    work.remove("gone.txt")
    work.put("tree.d/b", "b")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory, dvc: str) -> Iterator[Work]:
    """A project that DVC ran, then changed in every way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        work = start(tmp_path_factory.mktemp("stale") / "work", dvc, files())
        work.git("rm", "-q", "-r", "--cached", "data.txt", "gone.txt", "tree.d")
        work.dvc("add", "data.txt", "gone.txt", "tree.d")
        work.dvc("repro")
        work.commit("ran")
        change_everything(work)
        yield work
        shutil.rmtree(work.root.parent)


def test_status_says_what_dvc_says(changed: Work) -> None:
    theirs = plain(changed.dvc("status", "--json").json())
    ours = plain(changed.pyexp("status", "--json").json())
    assert len(theirs) > 25
    assert ours == theirs


def test_status_of_targets_says_what_dvc_says(changed: Work) -> None:
    for args in (["data.txt.dvc"], ["dep_modified", "clean"], ["-d", "out_deleted"]):
        assert plain(changed.pyexp("status", "--json", *args).json()) == plain(
            changed.dvc("status", "--json", *args).json()
        )


def test_repro_runs_and_writes_what_dvc_does(changed: Work) -> None:
    theirs, ours = changed.twin("dvc"), changed.twin("pyexp")
    for work in (theirs, ours):
        # What cannot be reproduced is for the tests of errors.
        work.put("dep_deleted.in", "new")
        work.put("param_taken.yaml", "a: 7\nb: {c: 1}\n")
        work.put("param_file_gone.yaml", "a: 1\nb: {c: 2}\n")
        work.put("gone.txt", "gone")
    for work in (theirs, ours):
        for tool in ("dvc", "pyexp"):
            done = work.tool(tool, "repro", "now_cached", code=None)
            assert done.code and "tracked" in done.err, tool
        work.git("rm", "-q", "--cached", "now_cached.out")
    args = ["repro", "-P", "-k"]
    they, we = theirs.dvc(*args, code=None), ours.pyexp(*args, code=None)
    they_ran, we_ran = (set(re.findall(r"Running stage '(.+)'", done.out)) for done in (they, we))
    # An output that is as recorded and only missing from the cache is put there without running anything.
    assert they_ran - we_ran == {"now_cached", "out_lost"} and we_ran <= they_ran
    assert we.code == they.code == 0, they.err + we.err
    expected, found = theirs.files(), ours.files()
    assert sorted(found) == sorted(expected)
    assert {path: data for path, data in found.items() if expected[path] != data} == {}
    assert plain(ours.dvc("status", "--json").json()) == plain(theirs.pyexp("status", "--json").json())
