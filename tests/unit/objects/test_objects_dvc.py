"""The store of an md5 project beside the real DVC's: same names, same bytes, read by each other."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from pyexp.model import Oid
from pyexp.objects.build import observe
from pyexp.objects.checkout import Changes, checkout
from pyexp.objects.store import LocalStore

FILES = {"a.txt": b"a\r\n", "sub/b": b"\0b", "sub/é": b"", "g/large": b"x" * 2_000_000, "space name": b"s"}


def run(dvc: str, cwd: Path, *args: str) -> str:
    done = subprocess.run(
        [dvc, *args], cwd=cwd, capture_output=True, text=True, env={**os.environ, "DVC_NO_ANALYTICS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def objects(store: LocalStore) -> dict[str, bytes]:
    return {oid.hex: store.read(oid) for oid, _, _ in store.all()}


@pytest.mark.dvc
def test_dvc_and_pyexp_make_and_read_the_same_objects(tmp_path: Path, dvc: str) -> None:
    project = tmp_path / "project"
    for relpath, data in FILES.items():
        path = project / "data" / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (project / "data" / "link").symlink_to("a.txt")
    (project / "elsewhere").mkdir()
    (project / "data" / "linked").symlink_to("../elsewhere")
    run(dvc, project, "init", "--no-scm")
    run(dvc, project, "add", "data")
    theirs = LocalStore(project / ".dvc" / "cache", "md5")
    ours = LocalStore(tmp_path / "ours", "md5")
    found = observe(str(project / "data"), algo="md5", store=ours)
    assert found is not None
    assert objects(ours) == objects(theirs)
    assert {os.stat(ours.path(oid)).st_mode for oid, _, _ in ours.all()} == {0o100444}
    recorded = (project / "data.dvc").read_text()
    assert f"md5: {found.entry.oid.hex}\n" in recorded
    assert f"size: {found.entry.size}\n" in recorded and f"nfiles: {found.entry.nfiles}\n" in recorded

    # pyexp checks out of DVC's cache ...
    content = theirs.load(found.entry)
    assert checkout(str(project / "copy"), content, root=str(project), store=theirs) == Changes(len(FILES) + 1, 0, 0)
    assert observe(str(project / "copy"), algo="md5") == found
    # ... and DVC out of ours.
    subprocess.run(["rm", "-rf", str(project / ".dvc" / "cache"), str(project / "data")], check=True)
    run(dvc, project, "cache", "dir", str(tmp_path / "ours"))
    run(dvc, project, "checkout")
    assert json.loads(run(dvc, project, "status", "--json")) == {}
    assert observe(str(project / "data"), algo="md5") == found
    assert ours.read(Oid("md5", found.entry.oid.hex))
