"""Files of a stranger that are no files, or too much: nothing hangs, nothing grows without bound, no bug."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.stranger import Stranger
from functional.test_hostile_paths import some

from pyexp.git import repo

COMMANDS = (
    "status",
    "exp run --temp",
    "checkout --force",
    "data status",
    "exp show --no-pager",
    "repro --dry",
    "diff",
    "params diff",
    "git status",
    "commit --force",
    "metrics show",
    "list . -R",
    "exp run --queue",
    "exp run -S lr=0.1",
    "dag",
    "gc --workspace --force",
    "doctor",
    "exp save",
    "push",
    "git add .",
    "add odd.txt",
    "config --list",
    "queue status",
    "exp list",
    "plots show",
)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    """An endless file, where we may make one."""
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        path.read_bytes
        with path.open("rb") as file:
            file.read(1)
    except OSError:
        if os.path.lexists(path):
            path.unlink()
        pytest.skip("devices cannot be made here")


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def endless_link(path: Path) -> None:
    path.symlink_to(path.name)


def directory(path: Path) -> None:
    path.mkdir()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        there = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may not be long
        try:
            made.bind(path.name)
        finally:
            os.chdir(there)


ODD = [fifo, device, link_to_device, endless_link, directory, bound_socket]
FILES = [
    "dvc.yaml",
    "dvc.lock",
    "params.yaml",
    "raw.txt",
    "data.txt",
    "scores.json",
    "odd.txt",
    "odd.dvc",
    "sub/dvc.yaml",
    ".dvcignore",
    ".gitignore",
    ".gitattributes",
    "CONTROL/config",
    "CONTROL/config.local",
    "CONTROL/format",
    "SCRATCH/statcache",
    "SCRATCH/documents",
    "SCRATCH/rows",
    "SCRATCH/queue.lock",
    "SCRATCH/queue/queued/01795723945780313636-3d98d2118308b9a403c7dc6f6fd1f2e795b2a2f8",
    "CONTROL/tmp/lock",
    "OBJECT",
    "MANIFEST",
    "data/inside.txt",
]


OF_GIT = [
    ".git/HEAD",
    ".git/index",
    ".git/config",
    ".git/packed-refs",
    ".git/shallow",
    ".git/info/exclude",
    ".git/info/attributes",
    ".git/refs/heads/odd",
    ".git/refs/exps/01/23456789012345678901234567890123456789/odd",
    ".git/logs/HEAD",
    ".git/objects/info/alternates",
    "COMMIT",
]


@pytest.mark.parametrize("files", [FILES, OF_GIT], ids=["pyexp", "git"])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_file(stranger: Stranger, odd: Callable[[Path], None], files: list[str]) -> None:
    assert stranger.run("repro").code == 0
    stranger.space.put("data/a.txt", "a\n")
    assert stranger.run("add", "data").code == 0
    objects = stranger.control / "cache/files"
    names = {
        "OBJECT": next(path for path in objects.rglob("*") if path.is_file() and path.read_bytes() == b"a\n"),
        "MANIFEST": next(objects.rglob("*.dir")),
    }
    with repo.discover(stranger.root) as git:
        sha = git.head().sha or ""
        names["COMMIT"] = Path(git.objects_dir, sha[:2], sha[2:])
    for at, file in enumerate(files):
        path = names.get(file) or stranger.root / file.replace("CONTROL", stranger.control.name).replace(
            "SCRATCH", str(stranger.scratch.relative_to(stranger.root))
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.is_file() else None
        path.unlink(missing_ok=True)
        odd(path)
        outside = stranger.around()
        outside.pop(str(path), None)
        for command in some(COMMANDS, at, 4):
            try:
                stranger.run(*command.split())
            except AssertionError as error:
                raise AssertionError(f"{file}: {error}") from None
            assert {name: value for name, value in stranger.around().items() if name != str(path)} == outside, command
        if os.path.lexists(path):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        if before is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before)
    # When the odd things are gone, all is as it should be.
    stranger.run("doctor", "--repair")
    assert stranger.run("repro").code == 0


# -- too much --------------------------------------------------------------------------------------------------------


def laughs(levels: int = 9) -> str:
    """A billion values in a few lines."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels: int = 25) -> str:
    return "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n  k{n}: 1\n" for n in range(1, levels)
    )


TEXTS: dict[str, str] = {
    "a billion laughs": laughs(),
    "merges": merges(),
    "itself": "a: &a [*a]\n",
    "a tag that makes objects": "a: !!python/object/apply:os.system ['touch OWNED']\n",
    "another tag": "!!python/name:os.system\n",
    "binary": "a: !!binary aGVsbG8=\n",
    "deep": "[" * 5000 + "]" * 5000,
    "deep maps": "".join(f"{' ' * n}a:\n" for n in range(1500)),
    "deep JSON": '{"a":' * 3000 + "1" + "}" * 3000,
    "a huge scalar": "a: " + "x" * 11_000_000 + "\n",
    "many digits": "a: " + "9" * 100_000 + "\n",
    "many keys": "".join(f"k{n}: {n}\n" for n in range(100_000)),
    "many stages": "stages:\n" + "".join(f"  s{n}:\n    cmd: echo\n" for n in range(20_000)),
    "a large matrix": "stages:\n  s:\n    matrix:\n"
    + "".join(f"      a{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(5))
    + "    cmd: echo\n",
    "a long foreach": f"stages:\n  s:\n    foreach: [{', '.join(map(str, range(100_000)))}]\n    do:\n      cmd: echo\n",
    "templates in templates": "vars:\n- a: x\nstages:\n  s:\n    cmd: " + "${" * 5000 + "a" + "}" * 5000 + "\n",
    "NULs": "a: \0\0\n",
    "no text": "\ud800",
    "half a surrogate": 'a: "\\ud800"\n',
    "many documents": "---\na: 1\n" * 1000,
    "keys of every kind": "1: a\ntrue: b\nnull: c\n[1]: d\n? {a: 1}\n: e\n",
    "a large exponent": "a: 1e999999999\nb: 0x" + "f" * 5000 + "\n",
    "not a number": "schema: .nan\nstages: .inf\nouts: -.inf\n",
}
TARGETS = ["dvc.yaml", "dvc.lock", "params.yaml", "odd.dvc", "scores.json", "CONTROL/config", ".dvcignore", "params.py"]


@pytest.mark.parametrize("kind", TEXTS)
def test_text_that_is_too_much(stranger: Stranger, kind: str) -> None:
    raw = TEXTS[kind].encode("utf-8", "surrogatepass")
    kept = {}
    for at, target in enumerate(TARGETS):
        path = stranger.root / target.replace("CONTROL", stranger.control.name)
        kept[path] = path.read_bytes() if path.exists() else None
        if target == "params.py":
            stranger.space.put(
                "dvc.yaml",
                "stages:\n  s:\n    cmd: touch made.txt\n    params:\n    - params.py:\n    outs: [made.txt]\n",
            )
        path.write_bytes(raw)
        before = stranger.around()
        # Stages that may be run are run: that takes its time.
        wanted = [
            command for command in COMMANDS if "stages" not in kind or not command.startswith(("exp run", "commit"))
        ]
        for command in some(tuple(wanted), at + list(TEXTS).index(kind), 1 if "many" in kind or "a " in kind else 2):
            stranger.run(*command.split())
            assert stranger.around() == before, (target, command)
        assert not (stranger.root / "OWNED").exists()
        path.write_bytes(kept[path]) if kept[path] is not None else path.unlink()


def test_a_huge_queue_and_many_experiments(stranger: Stranger) -> None:
    """Files of no task among thousands, and thousands of refs: all is listed, or said to be damaged, in bounded memory."""
    assert stranger.run("exp", "run", "--queue").code == 0
    (task,) = (stranger.scratch / "queue/queued").iterdir()
    data = task.read_bytes()
    for number in range(3000):
        (task.parent / f"{number:020}-{number:040x}").write_bytes(data if number % 2 else os.urandom(100))
    for name in ("", "x", "-rf", "a\nb", "\x1b[31m", "0" * 20 + "-" + "../" * 0 + "z" * 200):
        if name:
            (task.parent / name).write_bytes(data)
    head = (stranger.root / ".git/refs/heads/master").read_text().strip()
    packed = "".join(f"{head} refs/exps/{head[:2]}/{head[2:]}/e{n:05}\n" for n in range(5000))
    (stranger.root / ".git/packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + packed)
    before = stranger.around()
    for command in (
        "queue status",
        "exp list",
        "exp show --no-pager",
        "exp list --json",
        "doctor",
        "queue remove --all",
    ):
        stranger.run(*command.split())
        assert stranger.around() == before, command


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "-rf",
        "a..b",
        "x.lock",
        "@{",
        "a b",
        "é",
        "\u202ex",
        "\x1b[31m",
        "new\nline",
        "back\\slash",
        "sub/dir",
        "../../../heads/master",
        "x" * 250,
    ],
)
def test_refs_with_odd_names(stranger: Stranger, name: str) -> None:
    head = (stranger.root / ".git/refs/heads/master").read_text().strip()
    with (stranger.root / ".git/packed-refs").open("a") as file:
        file.write(f"{head} refs/exps/{head[:2]}/{head[2:]}/{name}\n{head} refs/heads/{name}\n")
    before = stranger.around()
    branch = (stranger.root / ".git/refs/heads/master").read_bytes()
    for command in (
        ["exp", "list"],
        ["exp", "show", "--no-pager"],
        ["exp", "show", "--all-branches", "--json"],
        ["git", "branch"],
        ["exp", "apply", name],
        ["exp", "rename", name, "fine"],
        ["exp", "branch", name, "fine"],
        ["exp", "remove", "--", name],
        ["exp", "gc", "--workspace", "--force"],
        ["exp", "undo"],
        ["doctor"],
        ["doctor", "--repair"],
    ):
        stranger.run(*command)
        assert stranger.around() == before, command
    assert (stranger.root / ".git/refs/heads/master").read_bytes() == branch


def test_a_file_as_large_as_no_file_should_be(stranger: Stranger) -> None:
    """A few bytes in git, 3 GiB in the workspace."""
    for target in TARGETS:
        path = stranger.root / target.replace("CONTROL", stranger.control.name)
        kept = path.read_bytes() if path.exists() else None
        path.write_bytes(b"")
        os.truncate(path, 3 << 30)
        for command in ("status", "exp show --no-pager", "params diff", "repro --dry", "metrics show", "config --list"):
            stranger.run(*command.split())
        path.write_bytes(kept) if kept is not None else path.unlink()


PATTERNS = ["*a" * 30 + "b", "**/a" * 30 + "/b", "[a-z]*" * 30 + "1", "/*a*a*a/**/" * 8 + "b", "x" * 11_000_000]


@pytest.mark.parametrize("file", [".dvcignore", ".gitignore", ".gitattributes"])
def test_a_pattern_that_could_be_tried_for_ever(stranger: Stranger, file: str) -> None:
    stranger.space.put("data/" + "a" * 200, "data\n")
    stranger.space.put("data/" + "a/" * 100 + "c", "data\n")
    for pattern in PATTERNS:
        stranger.space.put(file, pattern + (" text eol=lf\n" if "attributes" in file else "\n"))
        for command in ("status", "git status", "add data", "exp save --force"):
            stranger.run(*command.split())


def test_directories_in_directories(stranger: Stranger) -> None:
    """As deep as the longest path there may be; what removes them afterwards bears no more."""
    deep = stranger.root.joinpath("deep", *["x"] * 500)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    for command in ("git status", "git add .", "status", "data status"):
        assert stranger.run(*command.split()).code == 0, command
