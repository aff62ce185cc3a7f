"""``init``, ``config``, ``root``, ``version`` and ``completion``."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from pyexp import __version__, durable, newproject
from pyexp.cli.console import Console
from pyexp.cli.opening import opened, user_config, user_config_paths
from pyexp.errors import NotAProject, UsageError, discreet
from pyexp.formats import config as config_format
from pyexp.formats.config import Config
from pyexp.project import HASHES


def add_init(parser: ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", default=".", help="where (default: here)")
    parser.add_argument("--no-scm", action="store_true", help="without git: no versions, no experiments")
    parser.add_argument("--subdir", action="store_true", help="in a directory below the top of a git repository")
    parser.add_argument("--hash", choices=HASHES, default="xxh128", help="what names objects (default: xxh128)")
    parser.add_argument("-f", "--force", action="store_true", help="write the configuration of a project anew")
    parser.set_defaults(run=_init)


def _init(args: Namespace, console: Console) -> int:
    root = os.path.join(args.cwd, args.directory)
    if os.path.isdir(os.path.join(root, ".dvc")):
        console.info("This is a DVC project already: pyexp works in it as it is, nothing to do.")
        return 0
    made = newproject.init(root, algo=args.hash, no_scm=args.no_scm, subdir=args.subdir, force=args.force)
    made.close()
    console.info("Initialized pyexp project.")
    if not args.no_scm:
        console.info("\nYou can now commit the changes to git:\n\n\tpyexp git commit -m 'Start'")
    return 0


def add_config(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="section.option, or remote.NAME.option")
    parser.add_argument("value", nargs="?", help="its new value (default: print the value)")
    parser.add_argument("-u", "--unset", action="store_true", help="remove the option")
    parser.add_argument("-l", "--list", action="store_true", help="print all that is set")
    parser.add_argument("--show-origin", action="store_true", help="say which file a value is from")
    level = parser.add_mutually_exclusive_group()
    for name in ("system", "global", "project", "local"):
        level.add_argument(f"--{name}", dest="level", action="store_const", const=name, help=f"the {name} level")
    parser.set_defaults(run=_config)


def _config(args: Namespace, console: Console) -> int:
    if args.list == bool(args.name):
        raise UsageError("give the name of an option, or --list", hint="see: pyexp config --help")
    if args.unset and args.value is not None:
        raise UsageError("--unset takes no value")
    if args.value is not None or args.unset:
        return _set(args)
    if args.name:
        config_format.check_option(args.name)
    shown, files = _read(args)
    level = {"project": "repo"}.get(args.level or "", args.level)
    for option, value in shown.items():
        source = shown.origin(option)
        if args.name not in (None, option) or source is None or level not in (None, source):
            continue
        file, shown_file = files[source]
        if config_format.is_path(option) and "://" not in value:
            value = os.path.normpath(os.path.join(os.path.dirname(file), os.path.expanduser(value)))
        secret = not args.name and config_format.is_secret(option)
        value = "(hidden)" if secret else value if args.name else discreet(value)
        origin = f"{shown_file}\t" if args.show_origin else ""
        console.out(f"{origin}{value}" if args.name else f"{origin}{option}={value}")
    return 0


def _read(args: Namespace) -> tuple[Config, dict[str, tuple[str, str]]]:
    """What is set, and each level's file, as a path and as it is shown; outside a project there are the user's levels."""
    files = {level: (path, path) for level, path in user_config_paths().items()}
    if args.level in files:
        text = _text(files[args.level][0])
        return Config({args.level: config_format.parse(text, f"{args.level} config")}), files
    try:
        with opened(args) as where:
            for level, name in (("repo", "config"), ("local", "config.local")):
                files[level] = str(where.project.control / name), f"{where.project.kind.control}/{name}"
            return where.project.config, files
    except NotAProject:
        if args.level is not None:
            raise
        return Config(
            {level: config_format.parse(text, f"{level} config") for level, text in user_config().items()}
        ), files


def _text(path: str) -> str:
    raw = durable.read_file(path)
    return "" if raw is None else raw.decode("utf-8", "surrogateescape")


def _set(args: Namespace) -> int:
    if args.level in ("system", "global"):
        path = user_config_paths()[args.level]
        text = _text(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = config_format.set_option(text, path, args.name, args.value)
        # A user's own remotes may have passwords.
        durable.write_file(path, new, mode=0o600 if args.level == "global" else None, follow=True)
        return 0
    with opened(args) as where:
        name = "config.local" if args.level == "local" else "config"
        path = where.project.inside(f"{where.project.kind.control}/{name}", follow=True)
        with where.project.lock():
            new = config_format.set_option(_text(path), f"{where.project.kind.control}/{name}", args.name, args.value)
            # What is local may be secret.
            durable.write_file(path, new, mode=0o600 if name == "config.local" else None, follow=True)
    return 0


def add_root(parser: ArgumentParser) -> None:
    parser.set_defaults(run=_root)


def _root(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        console.out(os.path.relpath(where.project.root, args.cwd))
    return 0


def add_version(parser: ArgumentParser) -> None:
    parser.set_defaults(run=_version)


def _version(args: Namespace, console: Console) -> int:
    print_versions(console)
    try:
        with opened(args) as where:
            found = where.project
            console.out(f"Project: {found.root} ({found.kind.control}, {found.algo})")
            console.out(f"Cache: {found.cache_dir}, links: {', '.join(found.links)}")
            console.out(f"Git: {found.git.gitdir if found.git else 'none'}")
    except NotAProject:
        console.out("Project: none here")
    return 0


def print_versions(console: Console) -> None:
    """What is installed here."""
    import platform
    from importlib import metadata

    console.out(f"pyexp: {__version__}")
    console.out(f"Python {platform.python_version()} on {platform.platform()}")
    for name in ("dulwich", "msgpack", "xxhash", "pyyaml", "prettytable", "tomlkit"):
        try:
            console.out(f"  {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            console.out(f"  {name} (no metadata)")


def add_completion(parser: ArgumentParser) -> None:
    parser.add_argument("-s", "--shell", choices=("bash", "zsh", "fish"), default="bash", help="which shell")
    parser.set_defaults(run=_completion)


def _completion(args: Namespace, console: Console) -> int:
    from pyexp.cli import completion

    console.out(completion.script(args.shell))
    return 0


COMMANDS = {
    "init": add_init,
    "config": add_config,
    "root": add_root,
    "version": add_version,
    "completion": add_completion,
}
