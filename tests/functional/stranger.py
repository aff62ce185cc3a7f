"""A stranger's project and what lies around it: commands run in processes of their own, with bounds, and nothing outside
may have changed.

Each command runs in a fork of one process that has everything imported already (torture.forks), so that hundreds of them
can be tried. A command gets so much memory and so much time; neither is a measure of speed: what is bounded stays far below.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgpack
from functional.conftest import Space
from torture.forks import Forks, Ran

from pyexp.objects import hashes

MEMORY_BYTES = 2 << 30
SECONDS = 60.0
# What a command may say: it went well, it did not, it made no sense, it is no use to go on writing.
CODES = (0, 1, 2)
# A name of each kind that must not become a path, with a harmless one to see that the way is open at all.
NAMES = {
    "plain": "sub/plain.txt",
    "above": "../outside/x",
    "above, later": "sub/../../outside/x",
    "the parent": "..",
    "the directory": ".",
    "nothing": "",
    "a slash": "sub/",
    "two slashes": "sub//x",
    "dot first": "./x",
    "git": ".git/hooks/post-commit",
    "git below": "sub/.git/config",
    "git in capitals": ".GIT/hooks/post-commit",
    "git's short name": "git~1/hooks/post-commit",
    "git with a dot": ".git./hooks/post-commit",
    "git with a stream": ".git::$INDEX_ALLOCATION/hooks/post-commit",
    "git for HFS": ".g\u200cit/hooks/post-commit",
    "dvc": ".dvc/config",
    "pyexp": ".pyexp/config",
    "pyexp in capitals": ".PyExp/config",
    "a drive": "C:/x",
    "a drive's own": "c:x",
    "NUL": "a\0b",
    "line": "a\nOWNED: yes",
    "escape": "\x1b]0;owned\x07",
    "turned": "\u202etxt.exe",
    "backslashes": "..\\outside\\x",
    "long": "x" * 300,
    "deep": "d/" * 400 + "x",
}
# Those that a file system of ours can hold as they are, and that lead nowhere else.
HARMLESS = {"plain", "line", "escape", "turned", "backslashes"}


@dataclass
class Stranger:
    """The project in ``base/project``, beside ``base/outside``; ``home`` is the user's."""

    space: Space
    base: Path
    forks: Forks

    @property
    def root(self) -> Path:
        return self.space.root

    @property
    def control(self) -> Path:
        return self.root / (".pyexp" if (self.root / ".pyexp").is_dir() else ".dvc")

    @property
    def scratch(self) -> Path:
        return self.control / ("tmp" if self.control.name == ".pyexp" else "tmp/pyexp")

    @property
    def algo(self) -> str:
        return "xxh128" if self.control.name == ".pyexp" else "md5"

    def run(self, *args: str, env: dict[str, str] | None = None, umask: int | None = None) -> Ran:
        """Runs a command line; whatever it finds, it ends in time, says at most one line of error, and is no bug."""
        environment = {
            **os.environ,
            "HOME": str(self.base / "home"),
            "XDG_CONFIG_HOME": str(self.base / "home/.config"),
        }
        ran = self.forks.run(
            list(args),
            cwd=self.root,
            env={**environment, **(env or {})},
            timeout=SECONDS,
            memory=MEMORY_BYTES,
            umask=umask,
        )
        said = f"pyexp {' '.join(args)}: exit {ran.code}\n{ran.out[-1500:]}{ran.err[-1500:]}"
        assert not ran.hung, f"hung: {said}"
        assert ran.code in CODES, said
        errors = [line for line in ran.err.split("\n") if line.startswith("ERROR: ")]
        assert len(errors) == (ran.code != 0), said
        assert "Traceback" not in ran.err and "not enough memory" not in ran.err and not ran.orphans, said
        for raw in ("\x1b]", "\u202e", "\x07"):
            assert raw not in ran.out + ran.err, f"raw control character: {said!r}"
        assert not any(line.lstrip().startswith("OWNED") for line in f"{ran.out}\n{ran.err}".split("\n")), said
        return ran

    def refused(self, *args: str, says: str = "") -> None:
        ran = self.run(*args)
        assert ran.code != 0, f"{args} went well:\n{ran.out}{ran.err}"
        assert says in ran.err, ran.err

    def around(self) -> dict[str, object]:
        """Everything a command has no business to change: what is outside, and what git and pyexp are told here."""
        found: dict[str, object] = dict(_listed(self.base, skip=(self.root, self.base / "home")))
        for place in (self.root / ".git/hooks", self.root / ".git/config", self.control / "config"):
            found.update(_listed(place))
        return found

    def put_object(self, data: bytes, suffix: str = "") -> str:
        """Puts bytes into the cache under their own name; returns it."""
        name = hashes.hash_bytes(data, self.algo) + suffix
        path = self.control / "cache/files" / self.algo / name[:2] / name[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def put_manifest(self, relpaths: list[str], members: bytes = b"hostile\n") -> str:
        """A manifest with these names in the cache, its files' bytes too; returns its id."""
        return self.put_object(self.manifest(relpaths, self.put_object(members), len(members)), ".dir")

    def manifest(self, relpaths: list[str], hex: str, size: int) -> bytes:
        """A manifest as bytes, made without asking whether the names are fit."""
        if self.algo == "md5":
            import json

            return json.dumps([{"md5": hex, "relpath": relpath} for relpath in relpaths]).encode()
        record = [1, self.algo, relpaths, bytes.fromhex(hex * len(relpaths)), [size] * len(relpaths), []]
        packed: bytes = msgpack.packb(record, unicode_errors="surrogatepass")
        return packed

    def put_pointer(self, name: str, hex: str, path: str | None = None) -> None:
        """A ``.dvc`` file for the object ``hex``."""
        shown = _quoted(path if path is not None else name)
        self.space.put(f"{name}.dvc", f"outs:\n- {self.algo}: {hex}\n  hash: {self.algo}\n  path: {shown}\n")


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


def _listed(top: Path, skip: tuple[Path, ...] = ()) -> Iterator[tuple[str, object]]:
    """Path -> kind, mode and bytes of everything at and below ``top``."""
    if top in skip or not os.path.lexists(top):
        return
    status = top.lstat()
    if stat.S_ISDIR(status.st_mode):
        yield str(top), status.st_mode
        for inner in sorted(top.iterdir()):
            yield from _listed(inner, skip)
    elif stat.S_ISREG(status.st_mode):
        yield str(top), (status.st_mode, top.read_bytes())
    else:
        yield str(top), (status.st_mode, os.readlink(top) if top.is_symlink() else "")
