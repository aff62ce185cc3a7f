"""``import``, ``import-url``, ``update``, ``get``, ``artifacts get``, ``get-url``, ``list-url`` and ``du``: data from elsewhere."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from pyexp import project as projects
from pyexp.cli import dataplaces
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened, user, user_config
from pyexp.cli.shared_options import add_settings, pairs, positive, settings
from pyexp.cli.tracking import track
from pyexp.errors import NotAProject, UsageError
from pyexp.paths import printable
from pyexp.pipeline import addresses, artifacts, getting, imports
from pyexp.pipeline.bringing import How, Tracked
from pyexp.pipeline.listing import Listed
from pyexp.pipeline.load import path_from
from pyexp.project import Project

# -- import, import-url, update --------------------------------------------------------------------------------------


def _add_transfer(parser: ArgumentParser) -> None:
    parser.add_argument("-j", "--jobs", type=positive, metavar="N", help="how many files at a time")


def _add_import(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="replace what is there")
    how_far = parser.add_mutually_exclusive_group()
    how_far.add_argument("--no-exec", action="store_true", help="only write the .dvc file; look at nothing")
    how_far.add_argument("--no-download", action="store_true", help="look, but bring no data: pyexp pull does that")
    _add_transfer(parser)


def _how(args: Namespace) -> How:
    return How(
        exec=not getattr(args, "no_exec", False),
        download=not args.no_download,
        to_remote=getattr(args, "to_remote", False),
        remote=args.remote if hasattr(args, "to_remote") else None,
        force=getattr(args, "force", False),
        jobs=args.jobs,
    )


def add_import(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a repository: a path, or a URL of git")
    parser.add_argument("path", help="a file or directory of it: of git, or tracked data")
    parser.add_argument("-o", "--out", metavar="PATH", help="where it goes (default: here, by its name)")
    parser.add_argument("--rev", metavar="REV", help="a commit, branch, tag or experiment (default: HEAD)")
    _add_import(parser)
    add_settings(parser)
    parser.set_defaults(run=_import)


def _import(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        made = imports.import_data(
            where.project,
            args.url,
            args.path,
            cwd=where.cwd,
            out=args.out,
            rev=args.rev,
            settings=settings(args),
            how=_how(args),
            on_event=console.event,
        )
        _told(where, made, console)
    return 0


def _told(where: Opened, made: Tracked, console: Console) -> None:
    console.info(f"Imported: {printable(path_from(made.file, where.cwd))}")
    track(where, console, made.for_git)


def add_import_url(parser: ArgumentParser) -> None:
    parser.add_argument(
        "url", help="a path, http(s)://, s3://, gs://, azure://, webdav(s)://, ssh:// or remote://NAME/PATH"
    )
    parser.add_argument("out", nargs="?", help="where it goes (default: here, by its name)")
    parser.add_argument("--to-remote", action="store_true", help="send the data to a remote; none of it stays here")
    parser.add_argument("-r", "--remote", metavar="NAME", help="which remote (default: core.remote)")
    _add_import(parser)
    _add_fs_config(parser)
    parser.set_defaults(run=_import_url)


def _add_fs_config(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--fs-config", nargs="*", metavar="OPTION=VALUE", default=[], help="options for the URL, as a remote has them"
    )


def _import_url(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        made = imports.import_url(
            where.project,
            args.url,
            args.out,
            cwd=where.cwd,
            options=pairs(args.fs_config, "--fs-config"),
            how=_how(args),
            on_event=console.event,
        )
        _told(where, made, console)
    return 0


def add_update(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help=".dvc files of imports, or their data")
    parser.add_argument("--rev", metavar="REV", help="follow another commit, branch or tag from now on")
    parser.add_argument("-R", "--recursive", action="store_true", help="all imports in the named directories")
    parser.add_argument("--no-download", action="store_true", help="only the record; pyexp pull brings the data")
    parser.add_argument("--to-remote", action="store_true", help="send the data to a remote; none of it stays here")
    parser.add_argument("-r", "--remote", metavar="NAME", help="which remote (default: core.remote)")
    _add_transfer(parser)
    parser.set_defaults(run=_update)


def _update(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        done = imports.update(
            where.project,
            args.targets,
            cwd=where.cwd,
            rev=args.rev,
            recursive=args.recursive,
            how=_how(args),
            on_event=console.event,
        )
        changed = [one.file for one in done if one.changed]
        for one in done:
            if not one.changed:
                console.info(f"'{printable(path_from(one.file, where.cwd))}' is up to date.")
        track(where, console, changed)
    return 0


# -- get, get-url ----------------------------------------------------------------------------------------------------


def add_get(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a repository: a path, or a URL of git")
    parser.add_argument("path", help="a file or directory of it: of git, or tracked data")
    parser.add_argument("--rev", metavar="REV", help="a commit, branch, tag or experiment")
    _add_getting(parser)
    parser.set_defaults(run=_get)


def _add_getting(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="PATH", help="where it goes (default: here, by its name)")
    parser.add_argument("--show-url", action="store_true", help="only print where the data is stored")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite files that are there")
    _add_transfer(parser)
    add_settings(parser)


def _get(args: Namespace, console: Console) -> int:
    if args.show_url:
        console.out(
            getting.location(args.url, args.path, cwd=args.cwd, rev=args.rev, settings=settings(args), user=user())
        )
        return 0
    getting.get(
        args.url,
        args.path,
        cwd=args.cwd,
        out=args.out,
        rev=args.rev,
        force=args.force,
        settings=settings(args),
        user=user(),
        jobs=args.jobs,
        on_event=console.event,
    )
    return 0


def add_artifacts_get(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a repository: a path, or a URL of git")
    parser.add_argument("name", help="an artifact of its dvc.yaml, or DIRECTORY:NAME of another dvc.yaml")
    parser.add_argument(
        "--rev", metavar="VERSION", help="a version: v1.2.3 is the tag NAME@v1.2.3 (default: the latest)"
    )
    parser.add_argument("--stage", metavar="STAGE", help="the version in that stage: of the last tag NAME#STAGE#N")
    _add_getting(parser)
    parser.set_defaults(run=_artifacts_get)


def _artifacts_get(args: Namespace, console: Console) -> int:
    wanted = artifacts.asked(args.name, args.rev, args.stage)
    given = settings(args)
    if args.show_url:
        console.out(getting.location_of_artifact(args.url, wanted, cwd=args.cwd, settings=given, user=user()))
        return 0
    target, count = getting.get_artifact(
        args.url,
        wanted,
        cwd=args.cwd,
        out=args.out,
        force=args.force,
        settings=given,
        user=user(),
        jobs=args.jobs,
        on_event=console.event,
    )
    shown = printable(os.path.relpath(target, args.cwd))
    console.info(f"Downloaded {count} file{'s' if count != 1 else ''} to '{shown}'")
    return 0


def add_get_url(parser: ArgumentParser) -> None:
    parser.add_argument(
        "url", help="a path, http(s)://, s3://, gs://, azure://, webdav(s)://, ssh:// or remote://NAME/PATH"
    )
    parser.add_argument("out", nargs="?", help="where it goes (default: here, by its name)")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite files that are there")
    _add_transfer(parser)
    _add_fs_config(parser)
    parser.set_defaults(run=_get_url)


def _get_url(args: Namespace, console: Console) -> int:
    project = _around(args)
    try:
        getting.get_url(
            args.url,
            cwd=args.cwd,
            project=project,
            out=args.out,
            force=args.force,
            options=pairs(args.fs_config, "--fs-config"),
            jobs=args.jobs,
            on_event=console.event,
        )
    finally:
        if project is not None:
            project.close()
    return 0


def _around(args: Namespace) -> Project | None:
    """The project that remote:// is of, if we are in one."""
    try:
        return projects.find(args.cwd, user_config=user_config())
    except NotAProject:
        return None


# -- list-url, du ----------------------------------------------------------------------------------------------------


def add_list_url(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a path, s3://, gs://, azure://, webdav(s)://, ssh:// or remote://NAME/PATH")
    parser.add_argument("-R", "--recursive", action="store_true", help="the files in directories, too")
    parser.add_argument("-T", "--tree", action="store_true", help="draw directories as a tree")
    parser.add_argument("-L", "--level", type=dataplaces.level, metavar="N", help="go only N directories deep")
    parser.add_argument("--size", action="store_true", help="show sizes")
    _add_fs_config(parser)
    parser.set_defaults(run=_list_url, show_hash=False)


def _list_url(args: Namespace, console: Console) -> int:
    if args.level is not None and not (args.recursive or args.tree):
        raise UsageError("-L goes with -R or -T")
    project = _around(args)
    options = pairs(args.fs_config, "--fs-config")
    try:
        with addresses.opened(args.url, project, cwd=args.cwd, options=options) as address:
            items = address.listing()
    finally:
        if project is not None:
            project.close()
    limit = args.level if args.recursive or args.tree else 1
    found = []
    for path, size, is_dir in items:
        depth = path.count("/") + 1
        last = not is_dir or depth == limit
        if (limit is None or depth <= limit) and (args.tree or last):
            found.append(Listed(path or args.url, is_dir, size=size))
    if args.tree:
        top = [(Listed("", is_dir=True), args.url)]
        console.out("\n".join(dataplaces.columns([*top, *dataplaces.drawn(found)], args)))
    elif found:
        console.out("\n".join(dataplaces.columns([(item, item.path) for item in found], args)))
    return 0


def add_du(parser: ArgumentParser) -> None:
    parser.add_argument("url", help="a repository: a path (.: this project) or a URL of git")
    parser.add_argument("path", nargs="?", default="", help="what of it (default: all)")
    parser.add_argument("--rev", metavar="REV", help="of a commit, branch, tag or experiment (default: the workspace)")
    parser.add_argument("-s", "--summarize", action="store_true", help="only the sum")
    add_settings(parser)
    parser.set_defaults(run=_du)


def _du(args: Namespace, console: Console) -> int:
    sizes = getting.usage(
        args.url,
        args.path,
        cwd=args.cwd,
        rev=args.rev,
        settings=settings(args),
        user=user(),
        on_event=console.event,
    )
    path = args.path.rstrip("/")
    rows = [(size, f"{path}/{name}" if path else name) for name, size in sizes.items() if name]
    rows = [] if args.summarize else rows
    rows.append((sum(sizes.values()), path))
    shown = [(dataplaces.short_size(size), name) for size, name in rows]
    width = max(len(size) for size, _ in shown)
    console.out("\n".join(f"{size.ljust(width)}  {printable(name)}".rstrip() for size, name in shown))
    return 0


COMMANDS = {
    "import": add_import,
    "import-url": add_import_url,
    "update": add_update,
    "get": add_get,
    "artifacts get": add_artifacts_get,
    "get-url": add_get_url,
    "list-url": add_list_url,
    "du": add_du,
}
