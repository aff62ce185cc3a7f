"""``install`` and ``git-hook``: git calls pyexp when it goes to a branch, commits, pushes, and merges."""

from __future__ import annotations

import os
import shutil
from argparse import ArgumentParser, Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from pyexp import durable, project
from pyexp.cli.console import Console
from pyexp.cli.opening import opened, user_config
from pyexp.errors import NotAProject, UsageError
from pyexp.formats import yamlfile
from pyexp.git import hooks

if TYPE_CHECKING:
    from pyexp.project import Project

_PRE_COMMIT = ".pre-commit-config.yaml"


def add_install(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--use-pre-commit-tool", action="store_true", help=f"write them into {_PRE_COMMIT} (https://pre-commit.com)"
    )
    parser.set_defaults(run=_install)


def _install(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        repo = where.project.require_git()
        directory = where.project.prefix.rstrip("/")
        if args.use_pre_commit_tool:
            path = os.path.join(str(repo.require_worktree()), _PRE_COMMIT)
            written = [path] if _for_pre_commit(path, directory) else []
        else:
            written = hooks.install(repo, directory)
        hooks.install_driver(repo)
    for path in written:
        console.info(f"Wrote {os.path.relpath(path, args.cwd)}")
    if not written:
        console.info("The hooks are there already.")
    if not shutil.which("git"):
        console.warn("hooks are run by git, and there is none here; pyexp git runs none")
    return 0


def _for_pre_commit(path: str, directory: str) -> bool:
    """Adds hooks of this machine to the tool's file, and says whether that changed it."""
    raw = durable.read_file(path)
    text = "" if raw is None else raw.decode("utf-8")
    shown = _PRE_COMMIT
    data = yamlfile.load(text, shown) or {}
    repos = data.get("repos") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(repos or [], list):
        raise UsageError(f"{shown} is not as the tool wants it", hint="see: https://pre-commit.com")
    entry = {
        "repo": "local",
        "hooks": [
            {
                "id": f"pyexp-{name}",
                "name": f"pyexp {name}",
                "entry": hooks.command(name, directory),
                "language": "system",
                "always_run": True,
                "pass_filenames": False,
                "stages": [name],
            }
            for name in hooks.HOOKS
        ],
    }
    if entry in (repos or []):
        return False
    wanted = {**data, "repos": [*(repos or []), entry]}
    durable.write_file(
        path, yamlfile.merge(text, wanted, shown) if text.strip() else yamlfile.dump(wanted), follow=True
    )
    return True


# -- what git runs ---------------------------------------------------------------------------------------------------


def add_git_hook(parser: ArgumentParser) -> None:
    parser.add_argument("hook", choices=(*hooks.HOOKS, "merge-driver"))
    parser.add_argument("args", nargs="*", help="what git or pre-commit says")
    for name in ("ancestor", "our", "their", "path"):
        parser.add_argument(f"--{name}", metavar="FILE")
    parser.set_defaults(run=_git_hook)


def _git_hook(args: Namespace, console: Console) -> int:
    if args.hook == "merge-driver":
        return _merge(args)
    try:
        found = project.find(args.cwd)
    except NotAProject:
        return 0  # a commit of before there was one
    with closing(found):
        if args.hook == "post-checkout" and not _has_switched(found, args.args):
            return 0
    from pyexp.cli.main import run  # the table of commands, which this one is in

    return run(
        {"post-checkout": "checkout", "pre-commit": "status", "pre-push": "push"}[args.hook], [], args.cwd, console
    )


def _has_switched(found: Project, said: list[str]) -> bool:
    """Whether git went to another commit (githooks(5)), and not in the middle of a rebase."""
    flag = os.environ.get("PRE_COMMIT_CHECKOUT_TYPE") or (said[2] if len(said) > 2 else "")
    busy = [os.path.join(found.require_git().gitdir, name) for name in ("rebase-merge", "rebase-apply")]
    return flag == "1" and not any(map(os.path.isdir, busy))


def _merge(args: Namespace) -> int:
    if not (args.ancestor and args.our and args.their):
        raise UsageError("merge-driver needs --ancestor, --our and --their", hint="git gives them: pyexp install")
    from pyexp.pipeline import merging  # the others need nothing of it

    path = os.path.join(args.cwd, args.path or args.our)
    ancestor, our, their = (os.path.join(args.cwd, name) for name in (args.ancestor, args.our, args.their))
    with closing(project.find(os.path.dirname(path), user_config=user_config())) as found:
        texts = [(durable.read_file(name) or b"").decode("utf-8") for name in (ancestor, our, their)]
        merged = merging.merge(found, os.path.relpath(path, found.root).replace(os.sep, "/"), *texts)
        durable.write_file(our, merged)
    return 0


COMMANDS = {"install": add_install, "git-hook": add_git_hook}
