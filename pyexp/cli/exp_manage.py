"""``exp apply``, ``branch``, ``remove``, ``rename``, ``save`` and ``gc``: changing experiments that exist."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import opened
from pyexp.cli.shared_options import add_scope_options, share_new
from pyexp.errors import UsageError
from pyexp.experiments import applying, manage, oplog, undo
from pyexp.experiments.selection import Selection
from pyexp.objects.actions import some
from pyexp.paths import printable


def add_apply(parser: ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's name, or any git revision")
    force = parser.add_mutually_exclusive_group()
    force.add_argument("-f", "--force", action="store_true", help="overwrite changes that are saved nowhere")
    force.add_argument("--no-force", action="store_true", help="do not (the default; DVC's option)")
    parser.set_defaults(run=_apply)


def _apply(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        done = applying.apply(where.project, args.experiment, force=args.force, on_event=console.event)
    if done.missing:
        console.warn(f"the cache does not have: {', '.join(done.missing)} - fetch it, or make it again: pyexp repro")
    console.info(f"Changes for experiment '{args.experiment}' have been applied to your current workspace.")
    return 0


def add_branch(parser: ArgumentParser) -> None:
    parser.add_argument("experiment", help="an experiment's name")
    parser.add_argument("branch", nargs="?", help="the branch's name (default: NAME-branch)")
    parser.set_defaults(run=_branch)


def _branch(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        name = manage.branch(where.project, args.experiment, args.branch)
    console.info(f"Git branch '{name}' has been created from experiment '{args.experiment}'.")
    console.info(f"To switch to the new branch run:\n\n\tpyexp git switch {name}")
    return 0


def add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("experiment", nargs="*", help="experiments or queued tasks")
    parser.add_argument("--queue", action="store_true", help="all queued experiments")
    parser.add_argument("--keep", action="store_true", help="remove all but the named ones")
    parser.add_argument("-g", "--git-remote", metavar="REMOTE", help="remove them there, not here")
    add_scope_options(parser, branches=False)
    parser.set_defaults(run=_remove)


def _remove(args: Namespace, console: Console) -> int:
    if args.experiment and (args.all_commits or args.rev or args.queue):
        raise UsageError("give names, or one of -A, --rev and --queue, not both")
    if args.num != 1 and not args.rev:
        raise UsageError("-n goes with --rev", hint="for instance: --rev HEAD -n 2")
    if args.git_remote and args.queue:
        raise UsageError("--queue and --git-remote exclude each other", hint="the queue is here only")
    selection = Selection(tuple(args.experiment), tuple(args.rev), args.num, args.all_commits, args.keep)
    if args.git_remote:
        return _remove_there(args, selection, console)
    with opened(args) as where:
        gone = manage.remove(where.project, selection, queued=args.queue)
    console.info(f"Removed experiments: {_listed(gone)}" if gone else "No experiments to remove.")
    return 0


def _remove_there(args: Namespace, selection: Selection, console: Console) -> int:
    from pyexp.experiments import share  # only what goes to a remote pays for it

    with opened(args) as where:
        gone, refused = share.remove(where.project, args.git_remote, selection)
    console.info(f"Removed experiments: {_listed(gone)}" if gone else "No experiments to remove.")
    for name, why in refused.items():
        console.failure(f"experiment '{name}' was not removed: {why}")
    return 1 if refused else 0


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def add_rename(parser: ArgumentParser) -> None:
    parser.add_argument("experiment", help="its name now")
    parser.add_argument("name", help="its new name")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an experiment of that name")
    parser.set_defaults(run=_rename)


def _rename(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        renamed = manage.rename(where.project, args.experiment, args.name, force=args.force)
    console.info("No experiments to rename." if renamed is None else f"Renamed experiments: '{renamed.name}'")
    return 0


def add_save(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages to record (default: all)")
    parser.add_argument("-n", "--name", help="the experiment's name")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an experiment of that name")
    parser.add_argument("-m", "--message", help="the message of the experiment's commit")
    parser.add_argument("-R", "--recursive", action="store_true", help="every stage in the named directories")
    parser.add_argument(
        "-I",
        "--include-untracked",
        action="append",
        default=[],
        metavar="PATH",
        help="take a file along that git does not track",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_save)


def _save(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        outcome = manage.save(
            where.project,
            args.targets,
            name=args.name,
            force=args.force,
            message=args.message,
            include=[where.project.relpath(path, args.cwd) for path in args.include_untracked],
            recursive=args.recursive,
            cwd=where.cwd,
            on_event=console.event,
        )
        if args.json:
            console.out(tables.to_json({"ref": outcome.sha}))
        else:
            console.info(f"Experiment has been saved as: {outcome.name}")
        console.quiet = console.quiet or args.json
        share_new(where, outcome.name, console)
    return 0


def add_gc(parser: ArgumentParser) -> None:
    add_scope_options(parser)
    parser.add_argument("-w", "--workspace", action="store_true", help="keep the experiments of the current commit")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="keep experiments made on or after that day")
    parser.add_argument("--queued", action="store_true", help="remove queued and failed ones outside the scope too")
    parser.add_argument("--dry", action="store_true", help="only say what would be removed")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.set_defaults(run=_gc)


def _gc(args: Namespace, console: Console) -> int:
    chosen = {
        "workspace": args.workspace,
        "all_branches": args.all_branches,
        "all_tags": args.all_tags,
        "all_commits": args.all_commits,
        "revs": tuple(args.rev),
        "num": args.num,
        "date": args.date,
        "queued": args.queued,
    }
    with opened(args) as where:
        going = manage.gc(where.project, **chosen, dry=True)
        names = [exp.name for exp in going]
        if args.dry:
            console.info(f"Would remove experiments: {_listed(names)}" if names else "No experiments to remove.")
            return 0
        question = (
            f"This removes {len(going)} experiment(s): {', '.join(names[:5])}{', …' if len(names) > 5 else ''}. Go on?"
        )
        if going and not args.force and not console.confirm(question, default=True):
            return 1
        manage.gc(where.project, **chosen)
    console.info(f"Removed {len(going)} experiments. To free the cache of what only they used: pyexp gc --workspace")
    return 0


def add_undo(parser: ArgumentParser) -> None:
    parser.add_argument("number", nargs="?", type=int, help="which operation of the log (default: the last)")
    parser.add_argument("-l", "--list", action="store_true", help="print the log: number, when, what")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite what was changed in these files since")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_undo)


def _undo(args: Namespace, console: Console) -> int:
    if args.list and (args.number is not None or args.force):
        raise UsageError("--list takes no number and no --force")
    with opened(args) as where:
        if args.list:
            return _undo_list(oplog.operations(where.project), args.json, console)
        done = undo.undo(where.project, args.number, force=args.force)
    if args.json:
        told = {
            "operation": {"number": done.operation.number, "op": done.operation.op, "what": done.operation.what},
            "experiments": list(done.experiments),
            "files": list(done.files),
            "outputs": list(done.outputs),
            "missing": list(done.missing),
        }
        console.out(tables.to_json(told))
        return 0
    console.info(f"Undone: {done.operation.op} {printable(done.operation.what)}")
    for title, names in (("Experiments", done.experiments), ("Files", done.files), ("Outputs", done.outputs)):
        if names:
            console.info(f"  {title} as before: {printable(some(names))}")
    if done.missing:
        console.warn(
            f"the cache does not have all of: {some(done.missing)} - gc took it; fetch it (pyexp fetch) or make it again"
        )
    return 0


def _undo_list(log: list[oplog.Operation], as_json: bool, console: Console) -> int:
    import time

    if as_json:
        rows = [{"number": each.number, "time": int(each.time), "op": each.op, "what": each.what} for each in log]
        console.out(tables.to_json(rows))
        return 0
    if not log:
        console.info("There is nothing to undo.")
    for each in log:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.time))
        console.out(f"{each.number:>4}  {when}  {printable(f'{each.op} {each.what}')}")
    return 0


COMMANDS = {
    "exp undo": add_undo,
    "exp apply": add_apply,
    "exp branch": add_branch,
    "exp remove": add_remove,
    "exp rename": add_rename,
    "exp save": add_save,
    "exp gc": add_gc,
}
