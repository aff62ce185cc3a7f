"""``data status`` and ``diff``: what became of tracked data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import opened
from pyexp.errors import GitError, UsageError
from pyexp.experiments import names
from pyexp.paths import printable
from pyexp.pipeline import datastatus
from pyexp.pipeline.datastatus import Change, Changes, Item

if TYPE_CHECKING:
    from pyexp.pipeline.remotestatus import Asking

# -- data status -----------------------------------------------------------------------------------------------------


def add_data_status(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="tracked paths, .dvc files or stages (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--granular", action="store_true", help="say which files of a directory")
    parser.add_argument("--unchanged", action="store_true", help="list what has not changed, too")
    parser.add_argument(
        "--untracked-files",
        nargs="?",
        choices=("no", "all"),
        const="all",
        default="no",
        help="list the files git does not know, too",
    )
    parser.add_argument("--not-in-remote", action="store_true", help="list what is not on the remote, too")
    parser.add_argument("-r", "--remote", metavar="NAME", help="which remote that is (default: core.remote)")
    parser.add_argument(
        "--no-remote-refresh", action="store_true", help="do not ask the remote; what --not-in-remote last saw counts"
    )
    parser.set_defaults(run=_data_status)


def _data_status(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        found = datastatus.status(
            where.project,
            args.targets,
            cwd=where.cwd,
            granular=args.granular,
            untracked=args.untracked_files == "all",
            git=not args.json,
            asking=_asking(args),
        )
    if console.quiet:
        return 0
    groups = _status_groups(found, unchanged=args.unchanged)
    console.out(tables.to_json(groups) if args.json else _status_text(groups, dirty=found.dirty))
    return 0


def _asking(args: Namespace) -> Asking | None:
    if not args.not_in_remote:
        if args.remote is not None or args.no_remote_refresh:
            raise UsageError("-r and --no-remote-refresh go with --not-in-remote")
        return None
    from pyexp.pipeline.remotestatus import Asking  # only who asks remotes pays for it

    return Asking(args.remote, refresh=not args.no_remote_refresh)


def _status_groups(found: datastatus.Status, *, unchanged: bool) -> dict[str, Any]:
    """As ``data status --json`` has it; groups with nothing in them are left out."""
    groups: dict[str, Any] = {
        "not_in_cache": [_shown(path, item) for path, item in found.not_in_cache],
        "not_in_remote": [_shown(path, item) for path, item in found.not_in_remote],
        "committed": _changes(found.committed),
        "uncommitted": _changes(found.uncommitted),
        "untracked": list(found.untracked),
        "unchanged": [_shown(path, item) for path, item in found.unchanged] if unchanged else [],
    }
    return {name: group for name, group in groups.items() if group}


def _changes(changes: Changes) -> dict[str, list[Any]]:
    kinds: dict[str, list[Any]] = {
        "added": [_now(change) for change in changes.added],
        "deleted": [_shown(change.path, change.old) for change in changes.deleted],
        "modified": [_now(change) for change in changes.modified],
        "renamed": [_moved(change) for change in changes.renamed],
        "unknown": [_shown(change.path, change.new or change.old) for change in changes.unknown],
    }
    return {kind: paths for kind, paths in kinds.items() if paths}


def _now(change: Change) -> str:
    return _shown(change.path, change.new)


def _moved(change: Change) -> dict[str, str]:
    return {"old": _shown(change.path, change.old), "new": _shown(change.new_path or "", change.new)}


def _shown(path: str, item: Item | None) -> str:
    return f"{path}/" if item is not None and item.is_dir else path


_TITLES = {
    "not_in_cache": ("Not in cache", ('use "pyexp pull <file>..." to fetch them from a remote',)),
    "not_in_remote": ("Not in remote", ('use "pyexp push <file>..." to upload them',)),
    "committed": ("DVC committed changes", ("git commit the corresponding dvc files to update the repo",)),
    "uncommitted": (
        "DVC uncommitted changes",
        (
            'use "pyexp commit <file>..." to track changes',
            'use "pyexp checkout <file>..." to discard changes',
        ),
    ),
    "untracked": (
        "Untracked files",
        ('use "pyexp git add <file> ..." or "pyexp add <file>..." to commit to git or to track as data',),
    ),
    "unchanged": ("DVC unchanged files", ()),
}


def _status_text(groups: dict[str, Any], *, dirty: bool) -> str:
    if not groups:
        return "No changes."
    blocks = []
    for name, group in groups.items():
        title, hints = _TITLES[name]
        lines = [f"{title}:", *(f"  ({hint})" for hint in hints)]
        if isinstance(group, dict):
            lines += [f"        {kind}: {_line(path)}" for kind, paths in group.items() for path in paths]
        else:
            lines += [f"        {_line(path)}" for path in group]
        blocks.append("\n".join(lines))
    text = "\n\n".join(blocks)
    if dirty:
        text += '\n(there are other changes not tracked by dvc, use "pyexp git status" to see)'
    return text


def _line(path: str | dict[str, str]) -> str:
    return printable(path) if isinstance(path, str) else f"{printable(path['old'])} -> {printable(path['new'])}"


# -- diff ------------------------------------------------------------------------------------------------------------


def add_diff(parser: ArgumentParser) -> None:
    parser.add_argument("a_rev", nargs="?", default="HEAD", help="the old side (default: HEAD)")
    parser.add_argument("b_rev", nargs="?", help="the new side (default: the workspace)")
    parser.add_argument("--targets", nargs="+", default=[], metavar="PATH", help="only these tracked paths")
    parser.add_argument("--show-hash", action="store_true", help="show hashes, too")
    parser.add_argument("--hide-missing", action="store_true", help="leave out what is not in the cache")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--md", action="store_true", help="print a markdown table")
    parser.set_defaults(run=_diff)


def _diff(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        project = where.project
        try:
            old = names.revision(project, args.a_rev)
        except GitError:
            # A repository without a commit has nothing to compare with, and says so like DVC does.
            if args.a_rev != "HEAD" or project.require_git().head().sha is not None:
                raise
            old = None
        new = names.revision(project, args.b_rev) if args.b_rev is not None else None
        found = (
            datastatus.diff(project, old, new, targets=args.targets, cwd=where.cwd)
            if old is not None
            else datastatus.Diff(Changes())
        )
    groups = _diff_groups(found, hide_missing=args.hide_missing)
    if args.json:
        if not console.quiet:
            console.out(tables.to_json(_diff_json(groups, show_hash=args.show_hash) if any(groups.values()) else {}))
    elif args.md:
        console.out(_markdown(groups, show_hash=args.show_hash) + "\n")
    elif any(groups.values()):
        console.out(_diff_text(groups, show_hash=args.show_hash))
    return 0


def _hash(item: Item | None) -> str | None:
    return item.oid.hex if item is not None and item.oid is not None else None


def _diff_groups(found: datastatus.Diff, *, hide_missing: bool) -> dict[str, list[dict[str, Any]]]:
    """As ``diff --json --show-hash`` has it; what is not in the cache only where the workspace was looked at."""
    changes = found.changes
    groups: dict[str, list[dict[str, Any]]] = {
        "added": [{"path": _now(change), "hash": _hash(change.new)} for change in changes.added],
        "deleted": [{"path": _shown(change.path, change.old), "hash": _hash(change.old)} for change in changes.deleted],
        "modified": [
            {"path": _shown(change.path, change.old), "hash": {"old": _hash(change.old), "new": _hash(change.new)}}
            for change in changes.modified
        ],
        "renamed": [{"path": _moved(change), "hash": _hash(change.new)} for change in changes.renamed],
    }
    if found.not_in_cache is not None and not hide_missing:
        groups["not in cache"] = [
            {"path": _shown(path, item), "hash": _hash(item)} for path, item in found.not_in_cache
        ]
    return groups


def _diff_json(groups: dict[str, list[dict[str, Any]]], *, show_hash: bool) -> dict[str, Any]:
    if show_hash:
        return groups
    return {kind: [{"path": entry["path"]} for entry in entries] for kind, entries in groups.items()}


_ORDER = ("added", "deleted", "renamed", "modified", "not in cache")


def _ordered(groups: dict[str, list[dict[str, Any]]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    return ((kind, groups[kind]) for kind in _ORDER if groups.get(kind))


def _short(found: Any) -> str:
    """A hash for a person: its first digits, both where it changed."""
    if isinstance(found, dict):
        return f"{_short(found['old'])}..{_short(found['new'])}" if found["old"] and found["new"] else ""
    return found[:8] if found else ""


def _diff_text(groups: dict[str, list[dict[str, Any]]], *, show_hash: bool) -> str:
    blocks, summary = [], []
    for kind, entries in _ordered(groups):
        lines = [f"{kind[:1].upper()}{kind[1:]}:"]
        for entry in entries:
            short = _short(entry["hash"]) if show_hash else ""
            lines.append(f"    {short}{'  ' if short else ''}{_line(entry['path'])}")
        blocks.append("\n".join(lines))
        files = sum(not _line(entry["path"]).endswith("/") for entry in entries)
        summary += [f"{files} {kind}"] if files else []
    text = "\n\n".join(blocks)
    return f"{text}\n\nfiles summary: {', '.join(summary)}" if summary else text


def _markdown(groups: dict[str, list[dict[str, Any]]], *, show_hash: bool) -> str:
    head = ["Status", *(["Hash"] if show_hash else []), "Path"]
    rows: Sequence[Sequence[str]] = [
        [kind, *([_short(entry["hash"])] if show_hash else []), _line(entry["path"])]
        for kind, entries in _ordered(groups)
        for entry in entries
    ]
    return tables.markdown(head, rows)


COMMANDS = {"data status": add_data_status, "diff": add_diff}
