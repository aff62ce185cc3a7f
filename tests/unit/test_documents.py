"""YAML files are read once: what is known of them is believed just as long as they are the same files."""

import os
import time
from pathlib import Path

import pytest

from pyexp.documents import Documents
from pyexp.errors import FormatError
from pyexp.formats import yamlfile, yamlparse


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths the real parser was asked for."""
    seen: list[str] = []
    real = yamlparse.load

    def load(text: str, path: str) -> object:
        seen.append(path)
        return real(text, path)

    monkeypatch.setattr(yamlparse, "load", load)
    return seen


def old(path: Path) -> None:
    """Waits until a file is old enough to be believed."""
    time.sleep(0.05)
    assert path.exists()


def read(documents: Documents, path: Path) -> object:
    status = os.stat(path)
    return yamlfile.load(documents.document(path.name, path.read_text(), status), path.name)


def test_the_same_file_is_parsed_once_even_by_another_command(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: [1, 1.0, true, null, .nan, x]\n1: {b: -0.0}\n")
    old(path)
    first = Documents(tmp_path / "known")
    data = read(first, path)
    assert repr(read(first, path)) == repr(data) and len(parsed) == 1
    first.save()
    again = read(Documents(tmp_path / "known"), path)
    assert repr(again) == repr(data) and len(parsed) == 1
    assert isinstance(again, dict)
    again["a"].clear()  # nobody else's copy
    assert repr(read(Documents(tmp_path / "known"), path)) == repr(data)


@pytest.mark.parametrize("how", ["edited", "replaced", "same size and time"])
def test_another_file_is_parsed(tmp_path: Path, parsed: list[str], how: str) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: 1\n")
    old(path)
    documents = Documents(tmp_path / "known")
    read(documents, path)
    before = os.stat(path)
    if how == "replaced":
        (tmp_path / "new").write_text("a: 2\n")
        os.replace(tmp_path / "new", path)
    else:
        path.write_text("a: 2\n" if how != "edited" else "a: 22\n")
    if how == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(documents, path) == {"a": 22 if how == "edited" else 2} and len(parsed) == 2


def test_a_file_that_is_too_young_is_not_believed(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / "dvc.yaml"
    documents = Documents(tmp_path / "known")
    for number in range(50):
        path.write_text(f"a: {number}\n")
        assert read(documents, path) == {"a": number}


def test_what_cannot_be_kept_is_parsed_each_time(tmp_path: Path, parsed: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("day: 2021-01-01\nhuge: 123456789012345678901234567890\n")
    old(path)
    documents = Documents(tmp_path / "known")
    assert read(documents, path) == read(documents, path) and len(parsed) == 2


def test_wrong_text_is_told_each_time(tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: [1\n")
    old(path)
    documents = Documents(tmp_path / "known")
    for _ in range(2):
        with pytest.raises(FormatError):
            read(documents, path)


@pytest.mark.parametrize("data", [b"", b"x", b"\0\0\0\0", b"\xff" * 100])
def test_a_damaged_cache_is_as_good_as_none(tmp_path: Path, parsed: list[str], data: bytes) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: 1\n")
    old(path)
    (tmp_path / "known").write_bytes(data)
    documents = Documents(tmp_path / "known")
    assert read(documents, path) == {"a": 1} and len(parsed) == 1
    documents.save()
    assert read(Documents(tmp_path / "known"), path) == {"a": 1} and len(parsed) == 1


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_a_large_directory_is_read_again_only_when_a_name_came_or_went(tmp_path: Path) -> None:
    top = tmp_path / "many"
    top.mkdir()
    for number in range(500):
        (top / f"{number:060d}").write_text("")
    asked = []

    def ask(documents: Documents) -> object:
        def make() -> list[str]:
            asked.append(1)
            return names(top)

        return documents.recall("many", str(top), make)

    if os.stat(top).st_size <= 4096:
        pytest.skip("this file system does not tell large directories")
    time.sleep(0.05)
    documents = Documents(tmp_path / "known")
    assert ask(documents) == ask(documents) == names(top) and len(asked) == 1
    documents.save()
    assert ask(Documents(tmp_path / "known")) == names(top) and len(asked) == 1
    (top / "new").write_text("")
    assert "new" in ask(documents) and len(asked) == 2  # type: ignore[operator]
    (top / "new").unlink()
    assert "new" not in ask(documents) and len(asked) == 3  # type: ignore[operator]
