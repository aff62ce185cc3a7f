"""``add``, ``remove``, ``checkout``, ``commit`` and ``status``: tracked data."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened
from pyexp.cli.shared_options import positive
from pyexp.cli.tracking import track
from pyexp.errors import UsageError
from pyexp.model import StageSpec
from pyexp.paths import printable
from pyexp.pipeline import data
from pyexp.pipeline.load import file_of, lock_path, open_workspace, path_from, seen_from
from pyexp.pipeline.plan import Reason


def add_add(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help="files or directories; with -o or --to-remote a URL, too")
    parser.add_argument("--no-commit", action="store_true", help="do not put the data into the cache")
    parser.add_argument("--glob", action="store_true", help="targets are patterns")
    parser.add_argument("-o", "--out", metavar="PATH", help="bring the target there and track it")
    parser.add_argument("--to-remote", action="store_true", help="send the data to a remote; none of it is kept here")
    parser.add_argument("-r", "--remote", metavar="NAME", help="with --to-remote: which (default: core.remote)")
    parser.add_argument(
        "--remote-jobs", type=positive, metavar="N", help="with --to-remote: how many objects at a time"
    )
    parser.add_argument("-f", "--force", action="store_true", help="with -o or --to-remote: replace what is there")
    parser.add_argument(
        "--no-relink", action="store_true", help="leave the files as they are, not as links to the cache"
    )
    parser.set_defaults(run=_add)


def _add(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        targets = _globbed(args.targets, args.cwd) if args.glob else args.targets
        files: Sequence[str]
        if args.out is not None or args.to_remote:
            files = _brought(where, targets, args, console)
        elif args.remote is not None or args.remote_jobs is not None:
            raise UsageError("--remote and --remote-jobs go with --to-remote")
        else:
            files = data.add(
                where.project,
                targets,
                cwd=where.cwd,
                commit=not args.no_commit,
                relink=not args.no_relink,
                on_event=console.event,
            )
        track(where, console, files)
    return 0


def _brought(where: Opened, targets: Sequence[str], args: Namespace, console: Console) -> Sequence[str]:
    option = "--out" if args.out is not None else "--to-remote"
    if len(targets) != 1:
        raise UsageError(f"{option} is for one file or directory at a time", hint="add them one by one")
    if args.no_commit:
        raise UsageError(
            f"{option} does not go with --no-commit", hint="the data passes through the cache, or a remote"
        )
    if not args.to_remote and (args.remote is not None or args.remote_jobs is not None):
        raise UsageError("--remote and --remote-jobs go with --to-remote")
    from pyexp.pipeline import bringing  # addresses and transfers: only data from outside pays for them

    how = bringing.How(to_remote=args.to_remote, remote=args.remote, force=args.force, jobs=args.remote_jobs)
    made = bringing.add(where.project, targets[0], args.out, cwd=where.cwd, how=how, on_event=console.event)
    return made.for_git


def _globbed(patterns: Sequence[str], cwd: str) -> list[str]:
    import glob

    found = [path for pattern in patterns for path in sorted(glob.glob(pattern, root_dir=cwd, recursive=True))]
    if not found:
        raise UsageError(f"nothing matches {', '.join(patterns)}")
    return found


def add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help="stages or .dvc files")
    parser.add_argument("--outs", action="store_true", help="delete the data too (it stays in the cache)")
    parser.set_defaults(run=_remove)


def _remove(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        gone = data.remove(where.project, args.targets, cwd=where.cwd, outs=args.outs)
    console.info(f"Removed {printable(', '.join(seen_from(each, where.cwd) for each in gone))}")
    return 0


def add_checkout(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages, .dvc files or outputs (default: all)")
    parser.add_argument("--summary", action="store_true", help="print only counts")
    parser.add_argument("-d", "--with-deps", action="store_true", help="what the targets need, too")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything in the named directories")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite changes that are saved nowhere")
    parser.add_argument("--relink", action="store_true", help="link anew, after cache.type changed")
    parser.add_argument("--allow-missing", action="store_true", help="leave out what the cache does not have")
    parser.set_defaults(run=_checkout)


def _checkout(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        done = data.checkout(
            where.project,
            args.targets,
            cwd=where.cwd,
            force=args.force,
            relink=args.relink,
            allow_missing=args.allow_missing,
            recursive=args.recursive,
            with_deps=args.with_deps,
            on_event=console.event,
        )
    if not args.summary:
        for change in done:
            console.info(f"{change.letter}\t{printable(path_from(change.relpath, where.cwd))}")
        return 0
    counts = {
        "added": sum(change.added for change in done),
        "modified": sum(change.modified for change in done),
        "deleted": sum(change.deleted for change in done),
    }
    parts = [f"{count} file{'s' if count != 1 else ''} {what}" for what, count in counts.items() if count]
    console.info(" and ".join(parts) or "No changes.")
    return 0


def add_commit(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages, .dvc files or outputs (default: all)")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.add_argument("-d", "--with-deps", action="store_true", help="what the targets need, too")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything in the named directories")
    parser.add_argument(
        "--no-relink", action="store_true", help="leave the files as they are, not as links to the cache"
    )
    parser.set_defaults(run=_commit)


def _commit(args: Namespace, console: Console) -> int:
    with opened(args) as where:

        def confirm(stage: str) -> bool:
            question = f"Stage '{seen_from(stage, where.cwd)}' has changed. Record it as it is?"
            return args.force or console.confirm(question, default=False)

        done = data.commit(
            where.project,
            args.targets,
            cwd=where.cwd,
            confirm=confirm,
            with_deps=args.with_deps,
            recursive=args.recursive,
            relink=not args.no_relink,
            on_event=console.event,
        )
        track(where, console, (lock_path(file_of(address)) for address in done), tell=False)
    names = ", ".join(seen_from(address, where.cwd) for address in done)
    console.info(f"Recorded {printable(names)}" if done else "Everything is recorded already.")
    return 0


def add_status(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages, .dvc files or outputs (default: all)")
    parser.add_argument("-d", "--with-deps", action="store_true", help="what the targets need, too")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything in the named directories")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-updates", action="store_true", help="do not ask whether there is newer data to import")
    parser.add_argument("-c", "--cloud", action="store_true", help="compare the cache with a remote instead")
    scope = parser.add_argument_group("with --cloud")
    scope.add_argument("-a", "--all-branches", action="store_true", help="data of all branches, too")
    scope.add_argument("-T", "--all-tags", action="store_true", help="data of all tags, too")
    scope.add_argument("-A", "--all-commits", action="store_true", help="data of all commits, too")
    scope.add_argument("--all-experiments", action="store_true", help="data of all experiments, too")
    scope.add_argument("-r", "--remote", metavar="NAME", help="which remote (default: core.remote)")
    scope.add_argument("-j", "--jobs", type=positive, metavar="N", help="how many questions at a time")
    parser.set_defaults(run=_status)


_CLOUD = ("remote", "jobs", "all_branches", "all_tags", "all_commits", "all_experiments")


def _status(args: Namespace, console: Console) -> int:
    # DVC takes -r, -a, -T and -A for --cloud, too.
    if args.cloud or any(getattr(args, name) for name in _CLOUD):
        if args.no_updates:
            raise UsageError("--no-updates goes with no option that asks a remote", hint="leave it out")
        from pyexp.cli import share  # only a look at a remote pays for it

        return share.status(args, console)
    with opened(args) as where:
        found = data.status(
            where.project,
            args.targets,
            cwd=where.cwd,
            with_deps=args.with_deps,
            recursive=args.recursive,
            updates=not args.no_updates,
            on_event=console.event,
        )
        tracked = bool(found) or bool(open_workspace(where.project).stages)
    if args.json:
        if not console.quiet:
            console.out(
                tables.to_json(
                    {seen_from(stage.address, where.cwd): _groups(stage, reasons, where) for stage, reasons in found}
                )
            )
    elif not tracked:
        console.info("There are no data or pipelines tracked in this project yet.\nSee: pyexp add, pyexp stage add")
    elif not found:
        console.info("Data and pipelines are up to date.")
    elif not console.quiet:
        console.out("\n".join(_lines(stage, reasons, where) for stage, reasons in found))
    return 1 if console.quiet and found else 0


def _groups(stage: StageSpec, reasons: Sequence[Reason], where: Opened) -> list[object]:
    """A stage's reasons as ``status --json`` has them (FORMATS.md §3.8), with paths as seen from where the user is."""
    groups: dict[str, dict[str, object]] = {}
    words: list[object] = []
    for reason in reasons:
        path = _shown_path(stage, reason, where)
        if reason.group in ("command", "always"):
            words.append(reason.word)
        elif reason.key:
            level = groups.setdefault("changed deps", {}).setdefault(path, {})
            assert isinstance(level, dict)
            level[reason.key] = reason.word
        else:
            groups.setdefault(f"changed {reason.group}", {})[path] = reason.word
    return [*({name: entries} for name, entries in groups.items()), *words]


def _shown_path(stage: StageSpec, reason: Reason, where: Opened) -> str:
    if reason.word == "update available":  # where an import came from is told as its file has it
        return reason.path
    relpath = stage.relpath(reason.path)
    if relpath.startswith("../"):  # outside the project: in full, as DVC has it
        return os.path.normpath(where.project.path(relpath))
    return path_from(relpath, where.cwd)


def _lines(stage: StageSpec, reasons: Sequence[Reason], where: Opened) -> str:
    lines = [f"{printable(seen_from(stage.address, where.cwd))}:"]
    for group in _groups(stage, reasons, where):
        if not isinstance(group, dict):
            lines.append(f"\t{group}")
            continue
        for name, entries in group.items():
            lines.append(f"\t{name}:")
            for path, word in entries.items():
                if isinstance(word, dict):
                    lines.append(f"\t\t{printable(path)}:")
                    lines += [f"\t\t\t{f'{value}:':<20}{printable(key)}" for key, value in word.items()]
                else:
                    lines.append(f"\t\t{f'{word}:':<20}{printable(path)}")
    return "\n".join(lines)


COMMANDS = {
    "add": add_add,
    "remove": add_remove,
    "checkout": add_checkout,
    "commit": add_commit,
    "status": add_status,
}
