"""``cache dir``, ``cache migrate`` and ``destroy``: the cache itself, and the end of it."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from pyexp import durable
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened, user_config_paths
from pyexp.cli.tracking import track
from pyexp.errors import PyexpError, UsageError
from pyexp.formats import config as config_format
from pyexp.paths import printable
from pyexp.pipeline import destroy as destroying
from pyexp.pipeline import migrate as migrating

OPTION = "cache.dir"


def add_cache_dir(parser: ArgumentParser) -> None:
    parser.add_argument("value", nargs="?", help="where the cache is to be (default: print where it is)")
    parser.add_argument("-u", "--unset", action="store_true", help="back to the usual place")
    level = parser.add_mutually_exclusive_group()
    for name in ("system", "global", "project", "local"):
        level.add_argument(f"--{name}", dest="level", action="store_const", const=name, help=f"the {name} level")
    parser.set_defaults(run=_cache_dir)


def _cache_dir(args: Namespace, console: Console) -> int:
    if args.unset and args.value is not None:
        raise UsageError("--unset takes no value")
    if args.value is not None or args.unset:
        _set(args)
        return 0
    with opened(args) as where:
        project = where.project
        if args.level is None:
            console.out(str(project.cache_dir))
            return 0
        path = _file(args, str(project.control))
        text = _text(path)
        found = config_format.Config({"repo": config_format.parse(text, path)}).get(OPTION)
        if found is None:
            raise PyexpError(f"{OPTION} is not set on the {args.level} level", hint="see: pyexp cache dir")
        console.out(os.path.normpath(os.path.join(os.path.dirname(path), os.path.expanduser(found))))
    return 0


def _file(args: Namespace, control: str) -> str:
    if args.level in ("system", "global"):
        return user_config_paths()[args.level]
    return os.path.join(control, "config.local" if args.level == "local" else "config")


def _text(path: str) -> str:
    raw = durable.read_file(path)
    return "" if raw is None else raw.decode("utf-8", "surrogateescape")


def _set(args: Namespace) -> None:
    """Writes the option; a relative path is seen from here, and kept relative to the configuration file."""
    with opened(args) as where:
        project = where.project
        path = _file(args, str(project.control))
        value = args.value
        if value is not None and not os.path.isabs(value) and not value.startswith("~"):
            value = os.path.join(args.cwd, value)
            outside = args.level in ("system", "global")
            value = os.path.normpath(value) if outside else os.path.relpath(value, project.control)
            value = value.replace(os.sep, "/")
        with project.lock():
            if args.level not in ("system", "global"):
                project.inside(path, follow=True)
            new = config_format.set_option(_text(path), path, OPTION, value)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # What is local may be secret.
            durable.write_file(path, new, mode=0o600 if args.level == "local" else None, follow=True)


def add_cache_migrate(parser: ArgumentParser) -> None:
    parser.add_argument("--dvc-files", action="store_true", help="make .dvc and dvc.lock files name the new objects")
    parser.add_argument("--dry", action="store_true", help="only say what would be done")
    parser.set_defaults(run=_cache_migrate)


def _cache_migrate(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        found = migrating.migrate(where.project, files=args.dvc_files, dry=args.dry, on_event=console.event)
        if args.dry:
            console.info(f"{found.objects} files will be re-hashed and migrated to the DVC 3.0 cache location.")
        else:
            console.info(f"Migrated {found.objects} files to DVC 3.0 cache location.")
        if args.dvc_files:
            _tell_files(where, console, found, dry=args.dry)
    return 0


def _tell_files(where: Opened, console: Console, found: migrating.Migrated, *, dry: bool) -> None:
    for path in found.left:
        console.warn(f"'{path}' keeps its old entry: neither the cache nor the workspace has what it names")
    if not found.files:
        console.info("No DVC files in the repo to migrate to the 3.0 format.")
    elif dry:
        console.info("Entries in following DVC files will be migrated to the 3.0 format:")
        console.info("\n".join(f"\t{file}" for file in found.files))
    else:
        for file in found.files:
            console.info(f"Updating '{printable(file)}'")
        track(where, console, found.files)


def add_destroy(parser: ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")
    parser.set_defaults(run=_destroy)


def _destroy(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        project = where.project
        question = (
            f"This removes every dvc.yaml, dvc.lock and .dvc file, and {project.kind.control} with the cache in it; "
            "data in the workspace stays. Go on?"
        )
        if not (args.force or console.confirm(question, default=False)):
            raise PyexpError("nothing was removed: nobody said yes", hint="to go on without being asked: --force")
        gone = destroying.destroy(project)
    console.info(f"Removed {', '.join([*gone, project.kind.control])}")
    return 0


COMMANDS = {"cache dir": add_cache_dir, "cache migrate": add_cache_migrate, "destroy": add_destroy}
