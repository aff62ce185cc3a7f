"""Finds the command in a table, imports only its module, runs it, and turns errors into a line and an exit code."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from pyexp import __version__
from pyexp.cli.console import Console
from pyexp.errors import PyexpError, UsageError

# name -> (module, summary): help imports nothing else.
TABLE: dict[str, tuple[str, str]] = {
    "init": ("admin", "make a project here"),
    "add": ("data", "track files or directories as data"),
    "remove": ("data", "stop tracking data or stages"),
    "checkout": ("data", "bring tracked outputs into the workspace from the cache"),
    "commit": ("data", "record outputs as they are"),
    "status": ("data", "show which stages and data have changed, and why"),
    "data status": ("datastatus", "show what became of tracked data: since the last commit, and since it was recorded"),
    "diff": ("datastatus", "compare the tracked data of two revisions, or of one and the workspace"),
    "push": ("share", "send data to a remote"),
    "pull": ("share", "bring data from a remote into the workspace"),
    "fetch": ("share", "bring data from a remote into the cache"),
    "remote add": ("remote", "add a remote: a place where data is shared"),
    "remote default": ("remote", "say which remote is used when none is named"),
    "remote modify": ("remote", "change a remote's options"),
    "remote list": ("remote", "list remotes"),
    "remote remove": ("remote", "remove a remote from the configuration"),
    "remote rename": ("remote", "give a remote another name"),
    "move": ("dataplaces", "rename tracked data"),
    "unprotect": ("dataplaces", "replace links into the cache by files that may be changed"),
    "list": ("dataplaces", "list what a project holds: files of git and tracked data"),
    "import": ("imports", "bring data from another repository, and track it"),
    "import-url": ("imports", "bring data from a URL, and track it"),
    "update": ("imports", "bring imported data up to date"),
    "get": ("imports", "copy data or files from another repository"),
    "artifacts get": ("imports", "copy an artifact of a model registry from another repository"),
    "get-url": ("imports", "copy data from a URL"),
    "list-url": ("imports", "list what is at a URL"),
    "du": ("imports", "show how large a project's files and data are"),
    "check-ignore": ("dataplaces", "say which paths .dvcignore leaves out, and why"),
    "cache dir": ("cache", "print or choose where the cache is"),
    "cache migrate": ("cache", "bring a cache of DVC 2 into DVC 3's form"),
    "destroy": ("cache", "make this no project any more; the data stays"),
    "gc": ("gc", "remove cached objects that nothing needs"),
    "repro": ("pipeline", "run what is out of date"),
    "stage add": ("pipeline", "write a stage into dvc.yaml"),
    "stage list": ("pipeline", "list stages"),
    "dag": ("pipeline", "draw the pipeline"),
    "freeze": ("pipeline", "never run a stage until it is unfrozen"),
    "unfreeze": ("pipeline", "let a frozen stage run again"),
    "params diff": ("metrics", "compare params of two revisions"),
    "metrics show": ("metrics", "show metrics"),
    "metrics diff": ("metrics", "compare metrics of two revisions"),
    "plots show": ("plots", "draw plots into a page"),
    "plots diff": ("plots", "draw plots of several revisions over each other"),
    "plots modify": ("plots", "change how a stage's plot is drawn"),
    "plots templates": ("plots", "list the built-in templates, or print one"),
    "exp run": ("exp_run", "run an experiment: here, in a temporary workspace, or later"),
    "exp show": ("exp_show", "show experiments in a table"),
    "exp diff": ("exp_show", "compare two experiments or revisions"),
    "exp list": ("exp_show", "list experiments"),
    "exp apply": ("exp_manage", "bring an experiment's files and outputs into the workspace"),
    "exp branch": ("exp_manage", "make a git branch of an experiment"),
    "exp remove": ("exp_manage", "remove experiments"),
    "exp rename": ("exp_manage", "rename an experiment"),
    "exp save": ("exp_manage", "keep the workspace as it is as an experiment"),
    "exp push": ("share", "send experiments and their data to remotes"),
    "exp pull": ("share", "bring experiments and their data from remotes"),
    "exp gc": ("exp_manage", "remove the experiments of other commits"),
    "exp undo": ("exp_manage", "take back the last apply, remove, rename or gc of experiments"),
    "exp clean": ("queue", "put back what workers held that are dead"),
    "queue start": ("queue", "start workers that go on in the background"),
    "queue stop": ("queue", "stop the workers"),
    "queue status": ("queue", "show queued, running and finished tasks"),
    "queue logs": ("queue", "show a task's output"),
    "queue kill": ("queue", "end running tasks"),
    "queue remove": ("queue", "remove tasks from the queue"),
    "queue retry": ("queue", "queue failed tasks again"),
    # No summary: what the commands above start, not for people.
    "queue worker": ("queue", ""),
    "git": ("git", "a small git for machines without one: init, add, commit, log, …"),
    "install": ("hooks", "write git hooks that call pyexp when git switches, commits and pushes"),
    # No summary: git runs it.
    "git-hook": ("hooks", ""),
    "config": ("admin", "read or set configuration"),
    "root": ("admin", "print the project's root"),
    "doctor": ("doctor", "check all that a project keeps, and repair what can be"),
    "version": ("admin", "print versions and what this project uses"),
    "completion": ("admin", "print a shell's completion script"),
}
ALIASES = {
    "rm": "remove",
    "mv": "move",
    "ls": "list",
    "ls-url": "list-url",
    "exp rm": "exp remove",
    "exp ls": "exp list",
    "remote ls": "remote list",
    "remote rm": "remote remove",
    "experiments": "exp",
}
GROUPS = {
    "exp": "run, compare and manage experiments",
    "queue": "look after queued experiments",
    "stage": "write and list stages",
    "params": "compare params",
    "metrics": "show and compare metrics",
    "plots": "draw plots",
    "remote": "say where data is shared",
    "data": "look at tracked data",
    "cache": "look after the cache",
    "artifacts": "get artifacts of model registries",
}

_GLOBAL = """options:
  -h, --help     show this help (pyexp COMMAND --help for one command)
  -V, --version  print the version
  --cd PATH      work as if started in PATH
  -q, --quiet    print only what was asked for
  -v, --verbose  say more; -vv prints tracebacks
"""


def entry() -> NoReturn:
    """The console script."""
    _open_streams()
    # Many small records live as long as the command: looking through them for garbage cycles costs up to 40 %.
    gc.set_threshold(100_000, 50, 50)
    sys.exit(main(sys.argv[1:]))


def _open_streams() -> None:
    """Opens what the caller has closed (``>&-``): else the next file opened would be standard output to our stages."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            os.set_inheritable(fd, True)
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8"))


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    console = Console()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        with suppress(ValueError):  # not in the main thread: then signals are the embedder's
            signal.signal(signal.SIGTERM, _terminated)
        code = _dispatch(list(argv), console)
        sys.stdout.flush()
        return code
    except PyexpError as error:
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        console.failure("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing must be written to it any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno is None or not _of_the_machine(error):
            return console.bug(error)
        console.failure(_describe(error), error)
        return 1
    except MemoryError as error:
        console.failure("there is not enough memory for this", error)
        return 1
    except RecursionError as error:
        console.failure("something is nested too deeply", error)
        return 1
    except Exception as error:
        return console.bug(error)
    finally:
        console.close()


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM ends us like Ctrl-C does: the running command is stopped first."""
    raise SystemExit(128 + number)


_MACHINE = (
    errno.ENOSPC,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENAMETOOLONG,
    errno.EFBIG,
    errno.EIO,
    errno.ELOOP,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENOENT,
    errno.EEXIST,
    errno.EINVAL,
    errno.EBUSY,
    errno.ENXIO,
    errno.ENODEV,
    errno.EAGAIN,
    errno.ENOMEM,
    getattr(errno, "EDQUOT", errno.ENOSPC),
)


def _of_the_machine(error: OSError) -> bool:
    return error.errno in _MACHINE


def _describe(error: OSError) -> str:
    from pyexp import durable  # not for every command

    named = isinstance(error.filename, (str, bytes))  # not the number of an open file
    where = f": {durable.shown_place(os.fsdecode(error.filename))}" if named else ""
    return f"{error.strerror}{where}"


def _dispatch(argv: list[str], console: Console) -> int:
    directory: str | None = None
    while argv and argv[0].startswith("-"):
        option = argv.pop(0)
        if option in ("-h", "--help"):
            console.out(_help())
            return 0
        if option in ("-V", "--version"):
            console.out(__version__)
            return 0
        if option == "--cd" or option.startswith("--cd="):
            directory = option[5:] if "=" in option else (argv.pop(0) if argv else None)
            if not directory or not os.path.isdir(directory):
                raise UsageError(f"--cd: no directory '{directory or ''}'")
        elif option == "--wait-for-lock":
            pass  # as DVC's; here everybody waits
        elif option in ("-q", "--quiet"):
            console.quiet = True
        elif set(option[1:]) == {"v"} or option == "--verbose":
            console.verbose += max(1, option.count("v") if not option.startswith("--") else 1)
        else:
            raise UsageError(f"unknown option '{option}'", hint="see: pyexp --help")
    if not argv:
        console.out(_help())
        return 2
    name, rest = _command(argv, console)
    if name is None:
        return 0
    return run(name, rest, directory, console)


def _command(argv: list[str], console: Console) -> tuple[str | None, list[str]]:
    first = ALIASES.get(argv[0], argv[0])
    if first in GROUPS:
        if len(argv) < 2 or argv[1] in ("-h", "--help"):
            console.out(_group_help(first))
            if len(argv) < 2:
                raise UsageError(f"'pyexp {first}' needs a command", hint=f"see: pyexp {first} --help")
            return None, []
        name = ALIASES.get(f"{first} {argv[1]}", f"{first} {argv[1]}")
        if name in TABLE:
            return name, argv[2:]
        raise _unknown(name, [known for known in TABLE if known.startswith(f"{first} ")])
    if first in TABLE:
        return first, argv[1:]
    raise _unknown(first, [known for known in (*TABLE, *GROUPS) if " " not in known])


def _unknown(name: str, known: Sequence[str]) -> UsageError:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return UsageError(
        f"'pyexp {name}' is not a command",
        hint=f"did you mean 'pyexp {close[0]}'?" if close else "see: pyexp --help",
    )


def run(name: str, argv: list[str], directory: str | None, console: Console) -> int:
    """Runs a command as if it was typed in a directory (None: here); returns its exit code."""
    parser = build_parser(name)
    args = parser.parse_args(argv)
    console.quiet = console.quiet or args.quiet
    console.verbose += args.verbose
    args.invoked = name
    args.cwd = os.path.abspath(directory) if directory else os.getcwd()
    code: int = args.run(args, console)
    return code


def build_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command; imports its module."""
    import importlib

    module_name, summary = TABLE[name]
    module = importlib.import_module(f"pyexp.cli.{module_name}")
    parser = Parser(prog=f"pyexp {name}", description=f"{summary[:1].upper()}{summary[1:]}.", allow_abbrev=False)
    parser.add_argument("-q", "--quiet", action="store_true", help="print only what was asked for")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more; -vv prints tracebacks")
    module.COMMANDS[name](parser)
    return parser


class Parser(argparse.ArgumentParser):
    """argparse with errors as one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see: {self.prog} --help")


def _help() -> str:
    names = [name for name, (_, summary) in TABLE.items() if " " not in name and summary] + list(GROUPS)
    lines = [
        "usage: pyexp [options] COMMAND [...]",
        "",
        "Machine-learning experiments, versioned and reproducible.",
        "",
    ]
    lines += ["commands:"]
    order = ["init", "exp", "queue", "repro", "status", "add", "remove", "checkout", "commit", "gc"]
    for name in [*order, *(name for name in names if name not in order)]:
        lines.append(f"  {name:<12} {GROUPS.get(name) or TABLE[name][1]}")
    return "\n".join([*lines, "", _GLOBAL.rstrip()])


def _group_help(group: str) -> str:
    lines = [
        f"usage: pyexp {group} COMMAND [...]",
        "",
        GROUPS[group][0].upper() + GROUPS[group][1:] + ".",
        "",
        "commands:",
    ]
    for name, (_, summary) in TABLE.items():
        if name.startswith(f"{group} ") and summary:
            lines.append(f"  {name.partition(' ')[2]:<12} {summary}")
    return "\n".join(lines)
