"""Ignore patterns decide as git does."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from pyexp.formats.ignore import Ignore


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("a\n", ["a", "a/", "x/a", "a/b/c"], ["ab", "x/ba"]),
        ("/a\n", ["a", "a/b"], ["x/a"]),
        ("a/\n", ["a/", "a/b", "x/a/"], ["a", "x/a"]),
        ("x/a\n", ["x/a"], ["a", "y/x/a"]),
        ("*.o\n!keep.o\n", ["b.o", "x/c.o"], ["keep.o", "x/keep.o"]),
        ("d\n!d/keep\n", ["d/", "d/keep"], []),
        ("d/*\n!d/keep\n", ["d/x"], ["d/", "d/keep"]),
        ("**/a\n", ["a", "x/a", "x/y/a"], []),
        ("a/**\n", ["a/b", "a/b/c"], ["a/", "a"]),
        ("a/**/b\n", ["a/b", "a/x/b", "a/x/y/b"], ["b", "ab"]),
        ("a?[bc]\n", ["axb", "azc"], ["ab", "axd", "a/b"]),
        ("[!a]x\n", ["bx"], ["ax"]),
        ("\\#a\n\\!b\n# c\n", ["#a", "!b"], ["# c", "c"]),
        ("sp \nkeep\\ \n", ["sp", "keep "], ["sp ", "keep"]),
        ("a\\\n[x\n", [], ["a", "a\\", "[x", "x"]),
        ("\ufeffa\r\nb\r\n", ["a", "b"], []),
        ("", [".git/", ".git", ".dvc/", ".dvc/config", ".pyexp/", "x/.git/", ".hg/"], [".gitignore", ".dvcignore", ".dvc", "x.dvc"]),
    ],
)  # fmt: skip
def test_patterns(text: str, ignored: list[str], kept: list[str]) -> None:
    rules = Ignore({"": text}.get)
    assert [path for path in ignored if not rules.match(path.rstrip("/"), path.endswith("/"))] == []
    assert [path for path in kept if rules.match(path.rstrip("/"), path.endswith("/"))] == []


def test_deeper_files_win_and_explain_says_which() -> None:
    rules = Ignore({"": "*.txt\n\nb\n", "x": "!a.txt\nc/\n"}.get)
    assert rules.match("a.txt", False)
    assert not rules.match("x/a.txt", False)
    assert rules.match("x/b.txt", False)
    assert rules.explain("x/b.txt", False) == (".dvcignore", 1, "*.txt")
    assert rules.explain("x/c/deep", False) == ("x/.dvcignore", 2, "c/")
    assert rules.explain("x/a.txt", False) is None
    assert rules.explain(".git", True) == ("", 0, "")


def test_each_file_is_read_once_and_not_below_what_is_ignored() -> None:
    asked: list[str] = []

    def texts(directory: str) -> str | None:
        asked.append(directory)
        return "data\n" if directory == "" else None

    rules = Ignore(texts)
    for path in ("a/b/c", "a/b/d", "data/x/y", "data/x/z"):
        rules.match(path, False)
    assert sorted(asked) == ["", "a", "a/b"]


def test_depth_is_no_danger() -> None:
    assert not Ignore({}.get).match("/".join("d" * 2_000), False)


NAMES = ["a", "b", "foo", "foo.txt", "bar.o", "x y", "[x]", "-", "!z", "#h", "B", "z ", "a*b", "\\q"]
PATTERNS = [
    "a", "/a", "a/", "*.txt", "foo*", "**/a", "a/**", "a/**/b", "/foo/*", "!foo.txt", "!a", "b?", "[ab]", "[!a]*", "[a-c]*", "\\#h",
    "\\!z", "z\\ ", "z ", "*", "!*/", "/*", "!/foo", "**", "foo/bar.o", "a/*/b", "*/b", "[[:alpha:]]", "x\\ y", "[]x]", "[x",
    "\\[x\\]", "a\\*b", "*.*", "foo/", "**foo", "foo**bar", "/", "//a", "\\", "a\\", "[a-]", "[z-a]", "**/", "**/*.o", "!**/a",
]  # fmt: skip


def tree(rng: random.Random, directory: str = "", depth: int = 0) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    for name in rng.sample(NAMES, 4):
        path = f"{directory}/{name}" if directory else name
        is_dir = depth < 3 and rng.random() < 0.5
        found.append((path, is_dir))
        if is_dir:
            found += tree(rng, path, depth + 1)
    return found


@pytest.mark.git
@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not have")
@pytest.mark.parametrize("seed", range(12))
def test_git_decides_the_same(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    paths = tree(rng)
    for path, is_dir in paths:
        if is_dir:
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
        else:
            (tmp_path / path).touch()
    texts: dict[str, str] = {}
    for directory in ["", *(path for path, is_dir in paths if is_dir and rng.random() < 0.3)]:
        texts[directory] = "\n".join(rng.choice(PATTERNS) for _ in range(rng.randint(1, 6))) + rng.choice(["", "\n"])
        (tmp_path / directory / ".gitignore").write_text(texts[directory])
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    answer = subprocess.run(
        [
            "git",
            "-C",
            tmp_path,
            "-c",
            "core.excludesfile=/dev/null",
            "check-ignore",
            "--no-index",
            "-z",
            "--stdin",
            "-n",
            "-v",
        ],
        input=b"".join(os.fsencode(path) + b"\0" for path, _ in paths),
        capture_output=True,
        check=False,
    )
    fields = answer.stdout.decode().split("\0")
    rules = Ignore(texts.get, ".gitignore")
    for (path, is_dir), at in zip(paths, range(0, len(fields) - 1, 4), strict=True):
        file, line, pattern, shown = fields[at : at + 4]
        assert shown == path
        expected = (file, int(line)) if file and not pattern.startswith("!") else None
        found = rules.explain(path, is_dir)
        assert (found and found[:2]) == expected, (path, texts)


def test_has_rules_tells_where_nothing_can_be_ignored() -> None:
    texts = {"": "# nothing\n", "a": "*.tmp\n", "b/c": "x\n"}
    found = Ignore(texts.get)
    assert [found.has_rules(path) for path in ("", "b", "d/e", "a", "a/deep", "b/c")] == [False] * 3 + [True] * 3
    assert found.has_rules("d/.git/x")


@pytest.mark.parametrize(
    ("pattern", "matches", "not_these"),
    [
        ("*a*b*c", ["abc", "xaxbxc", "aabbcc", "abcabc"], ["acb", "abcd", "ab"]),
        ("**/a/**/b*/**/c", ["a/b/c", "x/a/y/b1/z/c", "a/a/b/b/c/c", "a/x/b/y/c"], ["a/c/b", "a/b/cc", "b/a/c"]),
        ("a*?[bc]*d", ["axbd", "aabbccd", "abbd"], ["abd", "axd"]),
        ("x/**/*1*2*", ["x/12", "x/y/z/a1b2c"], ["x/21", "y/x/12"]),
    ],
)
def test_many_stars(pattern: str, matches: list[str], not_these: list[str]) -> None:
    rules = Ignore({"": pattern}.get)
    assert [name for name in matches if not rules.match(name, False)] == []
    assert [name for name in not_these if rules.match(name, False)] == []
