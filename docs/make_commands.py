"""Writes docs/commands/*.md from the command line's own parsers; a test says when they are out of date.

.venv/bin/python docs/make_commands.py
"""

import argparse
from pathlib import Path

from pyexp.cli.main import TABLE, build_parser

HERE = Path(__file__).resolve().parent / "commands"
HIDDEN = ("-h, --help", "-q, --quiet", "-v, --verbose")


def page_of(name: str) -> str:
    """The page a command is on: its group's, or its own."""
    return name.partition(" ")[0]


def option_rows(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """How each argument is written, and what it does."""
    rows = []
    for action in parser._actions:
        words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        if words in HIDDEN or action.help == argparse.SUPPRESS:
            continue
        if action.option_strings and action.nargs != 0:
            words += f" {action.metavar or action.dest.upper()}"
        rows.append((words, action.help or ""))
    return rows


def section(title: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## {title}", "", f"{parser.description}", ""]
    rows = option_rows(parser)
    if rows:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += ["| `{}` | {} |".format(*(cell.replace("|", "\\|") for cell in row)) for row in rows]
        lines.append("")
    return "\n".join(lines)


def sections(name: str) -> list[str]:
    """A command's section; those of its subcommands where it has such (``pyexp git``)."""
    parser = build_parser(name)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return [section(f"pyexp {name} {sub}", found) for sub, found in action.choices.items()]
    return [section(f"pyexp {name}", parser)]


def quiet(page: str) -> str:
    """Where the options of every command go."""
    return "`-q` and `-v` go before the subcommand" if page == "git" else "every command also takes `-q` and `-v`"


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    found: dict[str, list[str]] = {}
    for name, (_, summary) in TABLE.items():
        if not summary:
            continue  # what pyexp and git start, not people
        found.setdefault(page_of(name), []).extend(sections(name))
    return {
        f"{page}.md": f"# pyexp {page}\n\nWritten by docs/make_commands.py; {quiet(page)}.\n\n" + "\n".join(parts)
        for page, parts in found.items()
    }


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for file, text in pages().items():
        (HERE / file).write_text(text, encoding="utf-8")
