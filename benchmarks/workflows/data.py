"""Tracked data: one large file, and many small ones."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from workflows.space import Space, big, many, remove, shell
from workflows.workload import LIMITS, Limit, Workload, bare, own, typed

_numbers = count()


# -- one large file --------------------------------------------------------------------------------------------------


def large(space: Space) -> None:
    """One file of ``size`` megabytes."""
    space.init()
    big(space.root / "big.bin", space.size << 20)


def large_added(space: Space) -> None:
    large(space)
    space.typed("add", "-q", "big.bin")


def forget_added(space: Space) -> None:
    """As if nothing had been added."""
    space.forget("big.bin.dvc", "data.dvc", ".gitignore", f"{space.tool.control}/cache", space.tool.scratch)
    remove(Path(space.env["DVC_SITE_CACHE_DIR"]))


def hash_by_pyexp(algo: str) -> Callable[[Space], Sequence[str]]:
    """The function that every command hashes with."""
    text = "import sys; from pyexp.objects.hashes import hash_file; print(hash_file(*sys.argv[1:]))"
    return lambda space: (sys.executable, "-c", text, str(space.root / "big.bin"), algo)


def hash_by_dvc(space: Space) -> Sequence[str]:
    """DVC's function, by its own Python."""
    text = "import sys; from dvc_data.hashfile.hash import file_md5; print(file_md5(sys.argv[1]))"
    return (str(Path(space.tool.argv[0]).parent / "python"), "-c", text, str(space.root / "big.bin"))


def copied(*options: str, name: str = "big.bin", title: str = "") -> Limit:
    """cp of the same bytes to beside the project."""
    return Limit(
        title or " ".join(("cp", *options)),
        lambda space: ("cp", *options, str(space.root / name), str(space.aside)),
        lambda space: remove(space.aside),
    )


# -- many small ones -------------------------------------------------------------------------------------------------


def files(space: Space, size_bytes: int) -> None:
    """``size`` files, not tracked yet."""
    space.init()
    many(space.root / "data", space.size, size_bytes)


def added(space: Space, size_bytes: int, link: str = "") -> None:
    """``size`` files, tracked."""
    files(space, size_bytes)
    if link:
        space.typed("config", "cache.type", link)
    space.typed("add", "-q", "data")
    space.typed("checkout", "-q")


def without_data(space: Space) -> None:
    space.forget("data")


def touch_one(space: Space) -> None:
    """Gives one file a new time."""
    os.utime(space.root / "data" / "000" / "file000007.bin")


def change_one(space: Space) -> None:
    """Gives one file other bytes, of the same length."""
    (space.root / "data" / "000" / "file000007.bin").write_bytes(f"{next(_numbers):01024d}".encode())


def git_add(space: Space) -> list[str]:
    """git add of the same tree, into a repository of its own."""
    repo, data = str(space.aside), str(space.root)
    git = ["git", f"--git-dir={repo}/.git", f"--work-tree={data}"]
    return shell(["git", "init", "-q", repo], [*git, "add", "-f", "data"])


def unused(space: Space) -> None:
    """``size`` objects that nothing needs any more."""
    added(space, 100)
    space.forget("data", "data.dvc")
    space.save()


def _unlink_copy(space: Space) -> None:
    remove(space.aside.with_name("unlink"))
    space.run("cp", "-r", str(space.aside / space.tool.control / "cache"), str(space.aside.with_name("unlink")))


TEN_KB, ONE_KB = partial(added, size_bytes=10 << 10), partial(added, size_bytes=1 << 10)
SCAN = own("scandir + stat", "scan", "data")

# Where the time of a small file goes, by strace -c and a profile.
EACH_ADDED = (
    "Of 60 µs a file 31 are the kernel's, for 10 calls (open, look, read, look, make, write, date, rename, look, close;"
    " cp makes 6 in 14 µs); 8 times would leave 32 for the kernel and Python together. git, in C, takes about as long."
)
EACH_BROUGHT = (
    "A file costs 20 µs in the kernel (the object is read and hashed again, written beside its place, dated, renamed) and"
    " as much in Python. DVC trusts objects unread; we don't."
)
EACH_LINKED = (
    "A link is made in one call, but the object is looked at first, and hashed again when a link of it came or went since"
    " (that changes its ctime). DVC trusts it by its mode. Half of what is left is starting Python."
)
STATUS = (
    "A stat of each of 50,000 files takes a third of it, in the kernel and in making Python's records; the rest is"
    " looking up what was hashed before, making the manifest anew and hashing it, and starting."
)

WORKLOADS = [
    Workload(
        "hash a file of {n} MB (xxh128; DVC: md5)",
        large,
        hash_by_pyexp("xxh128"),
        size=1024,
        quick=256,
        dvc_argv=hash_by_dvc,
        limit=own("xxh128 over mmap", "xxh128", "big.bin"),
        limit_aim=1.11,
        by_wall=True,
        why="The limit maps the file, all of it resident; pyexp reads it through one buffer, as a mapped file that somebody"
        " cuts short kills its reader: that copy is the difference.",
    ),
    Workload(
        "hash a file of {n} MB (md5)",
        large,
        hash_by_pyexp("md5"),
        size=512,
        quick=128,
        dvc=False,
        limit=Limit("md5sum", lambda space: ("md5sum", "big.bin")),
        limit_aim=1.11,
        by_wall=True,
        rounds=3,
    ),
    Workload(
        "`add` a file of {n} MB",
        large,
        typed("add", "-q", "big.bin"),
        size=1024,
        quick=256,
        reset=forget_added,
        limit=copied(),
        aim=8,
        limit_aim=1.3,
        rounds=5,
        by_wall=True,
        why="Reading and hashing run beside writing, so that it takes as long as a copy where a second core is free. The"
        " pages of a fresh file in memory cost this machine 0.4 s or 1.5 s, cp's too, as they come.",
    ),
    Workload(
        "`add` a file of {n} MB again, unchanged",
        large_added,
        typed("add", "-q", "big.bin"),
        size=1024,
        quick=256,
        limit=bare(),
        rounds=3,
    ),
    Workload(
        "`add` {n} files of 10 KiB",
        partial(files, size_bytes=10 << 10),
        typed("add", "-q", "data"),
        size=10_000,
        quick=2_000,
        reset=forget_added,
        limit=copied("-r", name="data"),
        aim=8,
        rounds=3,
        why=EACH_ADDED,
    ),
    Workload(
        "`add` {n} files of 1 KiB",
        partial(files, size_bytes=1 << 10),
        typed("add", "-q", "data"),
        size=50_000,
        quick=5_000,
        reset=forget_added,
        limit=Limit("git add", git_add, lambda space: remove(space.aside)),
        aim=8,
        rounds=3,
        dvc_rounds=1,
        why=EACH_ADDED,
    ),
    *(
        Workload(
            f"`checkout` of {{n}} files of 10 KiB, by {link}",
            partial(added, size_bytes=10 << 10, link=link),
            typed("checkout", "-q"),
            size=10_000,
            quick=2_000,
            reset=without_data,
            limit=copied(*option, name="data", title=" ".join(("cp", *option))),
            aim=8,
            rounds=3,
            why=EACH_BROUGHT if link == "copy" else EACH_LINKED,
        )
        for link, option in (("copy", ("-r",)), ("hardlink", ("-rl",)), ("symlink", ("-rs",)))
    ),
    Workload(
        "`checkout` of {n} files, nothing to do",
        TEN_KB,
        typed("checkout", "-q"),
        size=10_000,
        quick=2_000,
        limit=SCAN,
        aim=8,
        rounds=3,
        why="Starting takes 0.06 s, a stat of each file 0.03.",
    ),
    Workload(
        "`status`, one of {n} files touched",
        ONE_KB,
        typed("status"),
        size=50_000,
        quick=5_000,
        reset=touch_one,
        limit=SCAN,
        aim=10,
        rounds=3,
        why=STATUS,
    ),
    Workload(
        "`status`, one of {n} files changed",
        ONE_KB,
        typed("status"),
        size=50_000,
        quick=5_000,
        reset=change_one,
        limit=SCAN,
        aim=10,
        rounds=3,
        why=STATUS,
    ),
    Workload(
        "`gc -w` of {n} unused objects",
        unused,
        typed("gc", "-q", "-w", "-f"),
        size=10_000,
        quick=2_000,
        reset=Space.restore,
        limit=Limit(
            "unlink",
            lambda space: (sys.executable, LIMITS, "unlink", str(space.aside.with_name("unlink"))),
            _unlink_copy,
        ),
        aim=30,
        rounds=3,
        why="DVC takes 7 µs an object over its start; unlink alone takes 9. Each object is looked at once more just before:"
        " a command that runs beside may have come to use it.",
    ),
]
