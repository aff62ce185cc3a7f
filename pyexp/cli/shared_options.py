"""Options, tables and steps that several commands share."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened
from pyexp.errors import UsageError

if TYPE_CHECKING:
    from pyexp.pipeline.origins import Settings


def add_scope_options(parser: ArgumentParser, *, branches: bool = True) -> None:
    parser.add_argument("-n", "--num", type=int, default=1, metavar="N", help="the last N commits (negative: all)")
    parser.add_argument("--rev", action="append", default=[], metavar="REV", help="start from REV instead of HEAD")
    parser.add_argument("-A", "--all-commits", action="store_true", help="all commits")
    if branches:
        parser.add_argument("-a", "--all-branches", action="store_true", help="all branches")
        parser.add_argument("-T", "--all-tags", action="store_true", help="all tags")


def add_diff_format(parser: ArgumentParser, *, precision: bool = True) -> None:
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--md", action="store_true", help="print markdown tables")
    parser.add_argument("--no-path", action="store_true", help="leave out the files' paths")
    if precision:
        parser.add_argument("--precision", type=int, metavar="N", help="digits of numbers (default: 5)")


def diff_table(head: list[str], rows: list[list[str]], args: Namespace) -> str:
    if args.no_path:
        head, rows = head[1:], [row[1:] for row in rows]
    return tables.markdown(head, rows) + "\n" if args.md else tables.columns(head, rows)


def positive(text: str) -> int:
    """A whole number from 1; raises UsageError."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"'{text}' is not a number of jobs", hint="give a whole number from 1")
    return int(text)


def add_settings(parser: ArgumentParser) -> None:
    """Configuration for another repository."""
    parser.add_argument("--config", metavar="FILE", help="settings that weigh more than the other repository's")
    parser.add_argument("--remote", metavar="NAME", help="the other repository's remote to take data from")
    parser.add_argument(
        "--remote-config", nargs="*", metavar="OPTION=VALUE", default=[], help="options for the remote that is used"
    )


def settings(args: Namespace) -> Settings:
    """What ``add_settings`` has taken."""
    from pyexp.pipeline.origins import Settings  # only commands that look elsewhere pay for it

    return Settings(args.config, args.remote, pairs(args.remote_config, "--remote-config"))


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """``name=value`` texts; raises UsageError."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} '{text}' is not NAME=VALUE")
        found[name] = value
    return found


def share_new(where: Opened, name: str, console: Console) -> None:
    """Pushes a new experiment, if the configuration may ask for that."""
    if "DVC_EXP_AUTO_PUSH" in os.environ or where.project.config.get("exp.auto_push"):
        from pyexp.cli import share  # only who shares at once pays for it

        share.auto_push(where, name, console)
