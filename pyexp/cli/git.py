"""``pyexp git``: a small, safe set of git's commands for machines without git."""

from __future__ import annotations

import argparse
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyexp.cli.console import Console
from pyexp.cli.opening import asker
from pyexp.errors import BadRevision, PyexpError, UsageError
from pyexp.git import repo as repos
from pyexp.git import user
from pyexp.git.repo import Repo
from pyexp.model import Commit
from pyexp.paths import printable


def add_git(parser: ArgumentParser) -> None:
    parser.allow_abbrev = False
    commands = parser.add_subparsers(dest="git_command", metavar="COMMAND", required=True)
    for name, (summary, register) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        # As git takes it: behind the command as well as before.
        command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="say nothing")
        register(command)
    parser.set_defaults(run=_run)


def _run(args: Namespace, console: Console) -> int:
    code: int = args.git(args, console)
    return code


@contextmanager
def _repo(args: Namespace) -> Iterator[Repo]:
    with repos.discover(Path(args.cwd)) as found:
        if found.worktree is None:
            raise PyexpError(f"{found.gitdir} has no work tree", hint="clone it: pyexp git clone URL DIRECTORY")
        found.ask = asker()
        began = time.time()
        try:
            yield found
        finally:
            if sys.platform != "win32" and os.geteuid() == 0 and os.stat(found.worktree).st_uid != 0:
                from pyexp.cli import ownership  # only root in somebody else's repository pays for it

                ownership.give_back(map(str, (found.worktree, found.gitdir, found.commondir)), began)


def _relpath(repo: Repo, args: Namespace, path: str) -> str:
    assert repo.worktree is not None
    top = os.path.realpath(repo.worktree)
    absolute = os.path.normpath(os.path.join(args.cwd, path))
    absolute = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
    if os.path.realpath(absolute) == top:
        return "."
    relative = os.path.relpath(absolute, top)
    if relative.startswith(os.pardir):
        raise PyexpError(f"'{path}' is outside the repository {top}")
    return relative.replace(os.sep, "/")


# -- starting --------------------------------------------------------------------------------------------------------


def _add_init(parser: ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", default=".", help="where (default: here)")
    parser.add_argument("-b", "--initial-branch", default="master", metavar="NAME", help="the first branch")
    parser.set_defaults(git=_init)


def _init(args: Namespace, console: Console) -> int:
    path = Path(args.cwd, args.directory)
    existed = (path / ".git").exists()
    path.mkdir(parents=True, exist_ok=True)
    with repos.init(path, branch=args.initial_branch) as made:
        console.info(f"{'Reinitialized existing' if existed else 'Initialized empty'} git repository in {made.gitdir}")
    return 0


def _add_clone(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a path or URL")
    parser.add_argument("directory", nargs="?", help="where to (default: named after the URL)")
    parser.add_argument("--depth", type=int, metavar="N", help="only the last N commits")
    parser.set_defaults(git=_clone)


def _clone(args: Namespace, console: Console) -> int:
    name = args.directory or os.path.basename(args.url.rstrip("/")).removesuffix(".git")
    if not name:
        raise UsageError(f"'{args.url}' gives no name for a directory", hint="name one: pyexp git clone URL DIRECTORY")
    url = args.url
    if "://" not in url and os.path.exists(os.path.join(args.cwd, url)):
        url = os.path.abspath(os.path.join(args.cwd, url))
    user.clone(url, Path(args.cwd, name), depth=args.depth, ask=asker()).close()
    console.info(f"Cloned into '{name}'.")
    return 0


# -- looking ---------------------------------------------------------------------------------------------------------


def _add_status(parser: ArgumentParser) -> None:
    parser.add_argument("-s", "--short", action="store_true", help="one line a file")
    parser.set_defaults(git=_status)


def _status(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        text = user.status_text(repo, short=args.short).rstrip("\n")
    if text:
        console.out(text)
    return 0


def _add_log(parser: ArgumentParser) -> None:
    parser.add_argument("rev", nargs="?", default="HEAD", help="where to start (default: HEAD)")
    parser.add_argument("-n", "--max-count", type=int, metavar="N", help="at most N commits")
    parser.add_argument("--oneline", action="store_true", help="one line a commit")
    parser.set_defaults(git=_log)


def _log(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        for number, commit in enumerate(user.log(repo, args.rev, args.max_count)):
            if args.oneline:
                console.out(f"{commit.sha[:7]} {printable((commit.message.splitlines() or [''])[0])}")
            else:
                console.out(("\n" if number else "") + _described(commit))
    return 0


def _described(commit: Commit) -> str:
    when = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(commit.time + commit.timezone))
    sign, minutes = ("-" if commit.timezone < 0 else "+"), abs(commit.timezone) // 60
    lines = [f"commit {commit.sha}"]
    if len(commit.parents) > 1:
        lines.append(f"Merge: {' '.join(parent[:7] for parent in commit.parents)}")
    lines.append(f"Author: {printable(commit.author.name)} <{printable(commit.author.email)}>")
    lines.append(f"Date:   {when} {sign}{minutes // 60:02d}{minutes % 60:02d}\n")
    lines += [f"    {printable(line)}".rstrip() for line in commit.message.splitlines()]
    return "\n".join(lines)


def _add_diff(parser: ArgumentParser) -> None:
    parser.add_argument("revs", nargs="*", help="one or two revisions (default: the index), then paths after --")
    parser.add_argument("--staged", "--cached", action="store_true", help="what the next commit would change")
    parser.set_defaults(git=_diff)


def _diff(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        revs: list[str] = []
        paths: list[str] = []
        for word in args.revs:
            exists = os.path.lexists(os.path.join(args.cwd, word))
            (paths if exists else revs).append(_relpath(repo, args, word) if exists else word)
        if len(revs) > 2:
            raise UsageError("diff takes at most two revisions")
        a, b = [*revs, None, None][:2]
        text = user.diff_text(repo, a, b, staged=args.staged, paths=paths).rstrip("\n")
    if text:
        # A patch in a file has to be the bytes it is about.
        console.out(text) if sys.stdout.isatty() else console.raw(text)
    return 0


# -- changing --------------------------------------------------------------------------------------------------------


def _add_add(parser: ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", help="files or directories")
    parser.add_argument("-A", "--all", action="store_true", help="everything, deletions too")
    parser.add_argument("-f", "--force", action="store_true", help="ignored files too")
    parser.set_defaults(git=_add)


def _add(args: Namespace, console: Console) -> int:
    if not args.paths and not args.all:
        raise UsageError("nothing is named to add", hint="for instance: pyexp git add .")
    with _repo(args) as repo:
        paths = [_relpath(repo, args, path) for path in args.paths] or ["."]
        user.add(repo, paths, all=args.all, force=args.force)
    return 0


def _add_commit(parser: ArgumentParser) -> None:
    parser.add_argument("-m", "--message", action="append", required=True, help="what the commit does")
    parser.add_argument("-a", "--all", action="store_true", help="all changes of tracked files")
    parser.add_argument("--allow-empty", action="store_true", help="even if nothing changed")
    parser.set_defaults(git=_commit)


def _commit(args: Namespace, console: Console) -> int:
    message = "\n\n".join(args.message)
    if not message.strip():
        raise UsageError("the commit's message is empty", hint="say what it does: -m 'Add the first model'")
    with _repo(args) as repo:
        sha = user.commit(repo, message, all=args.all, allow_empty=args.allow_empty)
        console.info(f"[{repo.head().branch or 'detached HEAD'} {sha[:7]}] {message.splitlines()[0]}")
    return 0


def _add_rm(parser: ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", help="tracked files or directories")
    parser.add_argument("--cached", action="store_true", required=True, help="stop tracking them; the files stay")
    parser.set_defaults(git=_rm)


def _rm(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        gone = user.untrack(repo, [_relpath(repo, args, path) for path in args.paths])
    for path in gone:
        console.info(f"rm '{path}'")
    return 0


def _add_branch(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the new branch (default: list branches)")
    parser.add_argument("start", nargs="?", default="HEAD", help="where it starts (default: HEAD)")
    parser.add_argument("-d", "--delete", action="store_true", help="delete it, if it is merged")
    parser.add_argument("-D", dest="force_delete", action="store_true", help="delete it, merged or not")
    parser.set_defaults(git=_branch)


def _branch(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        if args.name is None:
            current = repo.head().branch
            for name in user.list_branches(repo):
                console.out(f"{'*' if name == current else ' '} {printable(name)}")
        elif args.delete or args.force_delete:
            user.delete_branch(repo, args.name, force=args.force_delete)
            console.info(f"Deleted branch {args.name}.")
        else:
            user.create_branch(repo, args.name, args.start)
    return 0


def _add_switch(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="a branch")
    parser.add_argument("-c", "--create", action="store_true", help="make it first")
    parser.set_defaults(git=_switch)


def _switch(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        user.switch(repo, args.name, create=args.create)
    console.info(f"Switched to {'a new ' if args.create else ''}branch '{args.name}'")
    return 0


def _add_checkout(parser: ArgumentParser) -> None:
    parser.add_argument("-b", dest="create", action="store_true", help="make the branch first")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="BRANCH | -- PATHS", help="a branch, or -- and files"
    )
    parser.set_defaults(git=_checkout)


def _checkout(args: Namespace, console: Console) -> int:
    words = args.words
    with _repo(args) as repo:
        if "--" in words:
            paths = words[words.index("--") + 1 :]
            if words[0] != "--" or not paths:
                raise UsageError("name the files to bring back", hint="pyexp git checkout -- FILE …")
            user.restore(repo, [_relpath(repo, args, path) for path in paths])
            return 0
        files = [] if args.create else _files_meant(repo, args, words)
        if files:
            user.restore(repo, files)
            return 0
        if len(words) != 1:
            raise UsageError(
                "name one branch", hint="pyexp git checkout BRANCH; or for files: pyexp git checkout -- FILE"
            )
        user.switch(repo, words[0], create=args.create)
    console.info(f"Switched to {'a new ' if args.create else ''}branch '{words[0]}'")
    return 0


def _files_meant(repo: Repo, args: Namespace, words: list[str]) -> list[str]:
    """Tracked files, when the words are no revision: git takes them without the dashes, too. Raises BadRevision."""
    if len(words) == 1:
        with suppress(BadRevision):
            repo.resolve(words[0])
            return []
    found = [_relpath(repo, args, word) for word in words]
    tracked = repo.read_index().entries
    for word, path in zip(words, found, strict=True):
        if path != "." and path not in tracked and not any(name.startswith(f"{path}/") for name in tracked):
            raise BadRevision(
                f"'{word}' is neither a branch nor a file git tracks", hint="see: pyexp git branch, pyexp git status"
            )
    return found


# -- sharing ---------------------------------------------------------------------------------------------------------


def _add_push(parser: ArgumentParser) -> None:
    parser.add_argument("remote", nargs="?", default="origin", help="a remote or URL (default: origin)")
    parser.add_argument("branch", nargs="?", help="a branch (default: the current one)")
    parser.set_defaults(git=_push)


def _push(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        console.info(user.push(repo, args.remote, args.branch))
    return 0


def _add_pull(parser: ArgumentParser) -> None:
    parser.add_argument("remote", nargs="?", default="origin", help="a remote or URL (default: origin)")
    parser.add_argument("branch", nargs="?", help="a branch (default: the current one)")
    parser.set_defaults(git=_pull)


def _pull(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        console.info(user.pull(repo, args.remote, args.branch))
    return 0


def _add_remote(parser: ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "add", "remove"), default="list")
    parser.add_argument("name", nargs="?", help="the remote's name")
    parser.add_argument("url", nargs="?", help="its URL")
    parser.add_argument("-V", "--urls", action="store_true", help="list with URLs")
    parser.set_defaults(git=_remote)


def _remote(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        if args.action == "add":
            if not (args.name and args.url):
                raise UsageError("give a name and a URL", hint="pyexp git remote add NAME URL")
            user.add_remote(repo, args.name, args.url)
        elif args.action == "remove":
            if not args.name:
                raise UsageError("give the remote's name", hint="pyexp git remote remove NAME")
            user.remove_remote(repo, args.name)
        else:
            for name, url in user.list_remotes(repo).items():
                console.out(f"{name}\t{url}" if args.urls else name)
    return 0


def _add_config(parser: ArgumentParser) -> None:
    parser.add_argument("key", help="for instance user.name")
    parser.add_argument("value", nargs="?", help="its new value (default: print it)")
    parser.add_argument("--global", dest="everywhere", action="store_true", help="for all repositories of this user")
    parser.set_defaults(git=_config)


def _config(args: Namespace, console: Console) -> int:
    with _repo(args) as repo:
        if args.value is not None:
            user.set_config(repo, args.key, args.value, everywhere=args.everywhere)
            return 0
        value = repo.config_get(args.key)
    if value is None:
        return 1
    console.out(value)
    return 0


_COMMANDS = {
    "init": ("make a repository", _add_init),
    "clone": ("copy a repository", _add_clone),
    "status": ("show what has changed", _add_status),
    "add": ("stage files for the next commit", _add_add),
    "commit": ("commit what is staged", _add_commit),
    "log": ("show commits", _add_log),
    "diff": ("show changes", _add_diff),
    "rm": ("stop tracking files", _add_rm),
    "branch": ("list, make or delete branches", _add_branch),
    "switch": ("go to a branch", _add_switch),
    "checkout": ("go to a branch, or bring files back", _add_checkout),
    "push": ("send a branch to a remote", _add_push),
    "pull": ("fetch a branch and fast-forward", _add_pull),
    "remote": ("list, add or remove remotes", _add_remote),
    "config": ("read or set git's configuration", _add_config),
}

COMMANDS = {"git": add_git}
