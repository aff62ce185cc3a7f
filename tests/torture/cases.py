"""The commands that are tortured: what leads to each, and what may be said when it is given a second time.

One line each; every case starts from a copy of the same project, in both layouts.
"""

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What the stages of the project make; a run that is killed may leave these unfinished.
OUTPUTS = frozenset({"data.txt", "model.txt", "scores.json"})


@dataclass(frozen=True)
class Case:
    """``once``: given again when it was done already it may refuse, in one line. ``exact``: it removes objects."""

    name: str
    argv: tuple[str, ...]
    before: tuple[tuple[str, ...] | Callable[[Path], None], ...] = ()
    once: bool = False
    exact: bool = False
    outputs: frozenset[str] = frozenset()
    # Points are also walked in the first worker process it starts.
    workers: bool = False


def _cmd(line: str) -> tuple[str, ...]:
    return tuple(shlex.split(line))


def _put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _new_file(root: Path) -> None:
    _put(root, new_txt="new\n")


def _big_file(root: Path) -> None:
    (root / "big.bin").write_bytes(bytes(range(256)) * 4700)


def _new_directory(root: Path) -> None:
    for number in range(4):
        _put(root, **{f"more__sub__n{number}_txt": f"file {number}\n"})


def _changed_directory(root: Path) -> None:
    _put(root, images__a_txt="changed\n", images__new_txt="added\n")
    (root / "images/b.txt").unlink()


def _lost_files(root: Path) -> None:
    shutil.rmtree(root / "images")
    (root / "model.txt").unlink()


def _old_record(root: Path) -> None:
    """The .dvc file of another version of the directory, which the cache has; the workspace has the last one."""
    (root / "images.dvc").write_text((root / "images.dvc.old").read_text())


def _params(root: Path) -> None:
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("0.5", "0.9"))


def _readme(root: Path) -> None:
    _put(root, README_md="edited, in no commit yet\n")


def _staged(root: Path) -> None:
    _put(root, README_md="staged\n")


def _empty_cache(root: Path) -> None:
    control = root / (".pyexp" if (root / ".pyexp").is_dir() else ".dvc")
    shutil.rmtree(control / "cache/files")
    _lost_files(root)


def _no_experiments(root: Path) -> None:
    shutil.rmtree(root / ".git/refs/exps")


def _damage(root: Path) -> None:
    """An object that is not what its name says, of a file which the workspace has whole."""
    control = root / (".pyexp" if (root / ".pyexp").is_dir() else ".dvc")
    text = (root / "data.txt").read_bytes()
    for path in (control / "cache/files").rglob("*"):
        if path.is_file() and path.read_bytes() == text:
            path.unlink()
            path.write_bytes(text[:-1])


def _source(root: Path) -> None:
    _put(root.parent, source_txt="of elsewhere\n")


def _other_source(root: Path) -> None:
    _put(root.parent, source_txt="of elsewhere, later\n")


EDIT = _cmd("git add README.md")
QUEUE = _cmd("exp run --queue -n q1 -S lr=0.7"), _cmd("exp run --queue -n q2 -S lr=0.8")
# The stage fails with this rate.
FAILED = _cmd("exp run --queue -n q1 -S lr=13"), _cmd("exp run --run-all")

CASES: tuple[Case, ...] = (
    Case("add file", _cmd("add new.txt"), before=(_new_file,)),
    Case("add large file", _cmd("add big.bin"), before=(_big_file,)),
    Case("add directory", _cmd("add more"), before=(_new_directory,)),
    Case("add again", _cmd("add images"), before=(_changed_directory,)),
    Case("commit", _cmd("commit -f"), before=(_changed_directory,)),
    Case("checkout", _cmd("checkout"), before=(_lost_files,)),
    Case("checkout other", _cmd("checkout"), before=(_old_record,)),
    Case("remove", _cmd("remove images.dvc"), once=True),
    Case("move", _cmd("move images pictures"), once=True),
    Case(
        "unprotect",
        _cmd("unprotect images"),
        before=(_cmd("config cache.type hardlink,symlink"), _cmd("checkout --relink")),
    ),
    Case("stage add", _cmd("stage add -n more -d raw.txt -o more.txt 'cp raw.txt more.txt'"), once=True),
    Case("freeze", _cmd("freeze prepare")),
    Case("config", _cmd("config core.autostage false")),
    Case("remote add", _cmd("remote add other ../other"), once=True),
    Case("push", _cmd("push")),
    Case("pull", _cmd("pull"), before=(_cmd("push"), _empty_cache)),
    Case("fetch", _cmd("fetch"), before=(_cmd("push"), _empty_cache)),
    Case("gc", _cmd("gc -w -f"), before=(_params,), exact=True),
    Case(
        "gc of the remote", _cmd("gc -w -c -f"), before=(_cmd("push"), _params, _cmd("repro"), _cmd("push")), exact=True
    ),
    Case("import-url", _cmd("import-url ../source.txt"), before=(_source,), once=True),
    Case("update", _cmd("update source.txt.dvc"), before=(_source, _cmd("import-url ../source.txt"), _other_source)),
    Case("doctor --repair", _cmd("doctor --repair --full"), before=(_cmd("push"), _damage)),
    Case("repro", _cmd("repro"), before=(_params,), outputs=OUTPUTS),
    Case("repro from cache", _cmd("repro"), before=(_cmd("exp apply e1"),), outputs=OUTPUTS),
    Case("exp run", _cmd("exp run -n t1 -S lr=0.7"), before=(_readme,), once=True, outputs=OUTPUTS),
    Case("exp run --temp", _cmd("exp run --temp -n t1 -S lr=0.7"), before=(_readme,), once=True),
    Case("exp run --queue", _cmd("exp run --queue -n q -S lr=0.7,0.8"), before=(_readme,), once=True),
    Case("exp apply", _cmd("exp apply e1")),
    Case("exp save", _cmd("exp save -n s1"), before=(_readme,), once=True),
    Case("exp rename", _cmd("exp rename e1 f1"), once=True),
    Case("exp branch", _cmd("exp branch e1 b1"), once=True),
    Case("exp remove", _cmd("exp remove e1"), once=True),
    Case("exp remove packed", _cmd("exp remove -A"), once=True),
    Case("exp gc", _cmd("exp gc -w -f"), before=(_cmd("git commit -m more --allow-empty"),)),
    Case("exp undo apply", _cmd("exp undo 2"), before=(_cmd("exp apply e1"),), once=True),
    Case("exp undo remove", _cmd("exp undo 2"), before=(_cmd("exp remove e1 e2"),), once=True),
    Case("exp undo rename", _cmd("exp undo 2"), before=(_cmd("exp rename e1 f1"),), once=True),
    Case("exp push", _cmd("exp push hub e1 e2")),
    Case("exp pull", _cmd("exp pull hub"), before=(_cmd("exp push hub e1 e2"), _no_experiments)),
    Case("queue remove", _cmd("queue remove q1"), before=QUEUE, once=True),
    Case("queue retry", _cmd("queue retry q1"), before=FAILED, once=True),
    Case("git add", EDIT, before=(_staged,)),
    Case("git commit", _cmd("git commit -m more"), before=(_staged, EDIT), once=True),
    Case("git commit -a", _cmd("git commit -a -m more"), before=(_staged,), once=True),
    Case("git switch", _cmd("git switch other")),
    Case("git checkout file", _cmd("git checkout -- README.md"), before=(_staged,)),
    Case("git branch", _cmd("git branch b2"), once=True),
    Case("git push", _cmd("git push hub master")),
    # The longest, by far: each run starts two workers.
    Case("exp run --run-all", _cmd("exp run --run-all"), before=QUEUE, workers=True),
)
