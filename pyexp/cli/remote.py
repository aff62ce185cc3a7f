"""``remote add``, ``default``, ``modify``, ``list``, ``remove`` and ``rename``: where data is shared."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from pyexp import durable
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened, user_config_paths
from pyexp.errors import NotAProject, UsageError, discreet
from pyexp.formats import config as config_format

# Options whose values are paths: kept relative to the configuration's directory, as DVC does.


def _add_level(parser: ArgumentParser) -> None:
    level = parser.add_mutually_exclusive_group()
    for name in ("system", "global", "project", "local"):
        level.add_argument(f"--{name}", dest="level", action="store_const", const=name, help=f"the {name} level")


def _edit(args: Namespace, change: Callable[[str, str], str]) -> None:
    """Rewrites the configuration of the level by ``change(text, path)``; of the project's levels under its lock."""
    if args.level in ("system", "global"):
        path = user_config_paths()[args.level]
        new = change(_text(path), path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        durable.write_file(path, new, mode=0o600 if args.level == "global" else None, follow=True)
        return
    with opened(args) as where:
        name = "config.local" if args.level == "local" else "config"
        path = where.project.inside(f"{where.project.kind.control}/{name}", follow=True)
        with where.project.lock():
            new = change(_text(path), f"{where.project.kind.control}/{name}")
            # What is local may be secret.
            durable.write_file(path, new, mode=0o600 if name == "config.local" else None, follow=True)


def _text(path: str) -> str:
    raw = durable.read_file(path)
    return "" if raw is None else raw.decode("utf-8", "surrogateescape")


def _known(text: str, path: str, name: str) -> bool:
    return f'remote "{name.lower()}"' in config_format.parse(text, path)


def _stored(args: Namespace, value: str) -> str:
    """A path as the configuration keeps it: relative ones are typed as seen from here; URLs stay."""
    if "://" in value or os.path.isabs(value) or value.startswith("~"):
        return value
    absolute = os.path.normpath(os.path.join(args.cwd, value))
    if args.level in ("system", "global"):
        return absolute
    with opened(args) as where:
        return os.path.relpath(absolute, where.project.control).replace(os.sep, "/")


def add_add(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the remote's name")
    parser.add_argument("url", help="a directory, or a URL: s3://bucket/path, https://host/path, …")
    parser.add_argument("-d", "--default", action="store_true", help="the remote to use when none is named")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite a remote of that name")
    _add_level(parser)
    parser.set_defaults(run=_add)


def _add(args: Namespace, console: Console) -> int:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", args.name):
        raise UsageError(f"'{args.name}' cannot be a remote's name", hint="use letters, digits, '-', '_', '.'")
    url = _stored(args, args.url)

    def change(text: str, path: str) -> str:
        if _known(text, path, args.name):
            if not args.force:
                raise UsageError(f"there is a remote '{args.name}' already", hint="to overwrite it: -f")
            text = config_format.set_option(text, path, f"remote.{args.name}", None)
        if args.default:
            text = config_format.set_option(text, path, "core.remote", args.name.lower())
        return config_format.set_option(text, path, f"remote.{args.name}.url", url)

    if discreet(url) != url:
        _warn_secret(args, console, "the URL's password")
    _edit(args, change)
    if args.default:
        console.info(f"Setting '{args.name}' as a default remote.")
    return 0


def _warn_secret(args: Namespace, console: Console, what: str) -> None:
    if args.level in (None, "project"):
        console.warn(f"{what} goes into a file that git tracks; to keep it out of git: --local")


def add_default(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the remote to use when none is named (default: print it)")
    parser.add_argument("-u", "--unset", action="store_true", help="have no default")
    _add_level(parser)
    parser.set_defaults(run=_default)


def _default(args: Namespace, console: Console) -> int:
    if args.unset:
        _edit(args, lambda text, path: config_format.set_option(text, path, "core.remote", None))
    elif args.name:
        remotes = _remotes(args)
        if args.name.lower() not in remotes:
            raise UsageError(f"there is no remote '{args.name}'", hint=f"known: {', '.join(sorted(remotes)) or 'none'}")
        _edit(args, lambda text, path: config_format.set_option(text, path, "core.remote", args.name.lower()))
    else:
        with opened(args) as where:
            name = where.project.config.get("core.remote")
        if name:
            console.out(name)
        else:
            console.info("No default remote set")
    return 0


def _remotes(args: Namespace) -> set[str]:
    try:
        with opened(args) as where:
            return set(where.project.config.remotes())
    except NotAProject:
        path = user_config_paths()["global"]
        return set(config_format.Config({"global": config_format.parse(_text(path), path)}).remotes())


def add_modify(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the remote's name")
    parser.add_argument("option", help="url, jobs, endpointurl, profile, …")
    parser.add_argument("value", nargs="?", help="its new value")
    parser.add_argument("-u", "--unset", action="store_true", help="remove the option")
    _add_level(parser)
    parser.set_defaults(run=_modify)


def _modify(args: Namespace, console: Console) -> int:
    if args.unset == (args.value is not None):
        raise UsageError("give a value, or --unset", hint="see: pyexp remote modify --help")
    remotes = _remotes(args)
    if args.name.lower() not in remotes:
        raise UsageError(f"there is no remote '{args.name}'", hint=f"known: {', '.join(sorted(remotes)) or 'none'}")
    name = f"remote.{args.name}.{args.option}"
    value = args.value
    if value is not None and config_format.is_path(name):
        value = _stored(args, value)
    if value is not None and (config_format.is_secret(name) or discreet(value) != value):
        _warn_secret(args, console, f"'{args.option}'")
    _edit(args, lambda text, path: config_format.set_option(text, path, name, value))
    return 0


def add_list(parser: ArgumentParser) -> None:
    _add_level(parser)
    parser.set_defaults(run=_list)


def _list(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        config = where.project.config
        level = {"project": "repo"}.get(args.level or "", args.level)
        for name, options in config.remotes().items():
            if level is not None and config.origin(f"remote.{name}.url") != level:
                continue
            default = "\t(default)" if config.get("core.remote") == name else ""
            console.out(f"{name}\t{_shown(where, options.get('url', ''))}{default}")
    return 0


def _shown(where: Opened, url: str) -> str:
    """A URL without its password; a path from the root of the machine."""
    if "://" not in url:
        return os.path.normpath(where.project.control / os.path.expanduser(url))
    return discreet(url)


def add_remove(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the remote's name")
    _add_level(parser)
    parser.set_defaults(run=_remove)


def _remove(args: Namespace, console: Console) -> int:
    def change(text: str, path: str) -> str:
        if not _known(text, path, args.name):
            raise UsageError(f"there is no remote '{args.name}' in {path}", hint="see them all: pyexp remote list")
        text = config_format.set_option(text, path, f"remote.{args.name}", None)
        if config_format.parse(text, path).get("core", {}).get("remote") == args.name.lower():
            text = config_format.set_option(text, path, "core.remote", None)
        return text

    _edit(args, change)
    return 0


def add_rename(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="its name now")
    parser.add_argument("new", help="its new name")
    _add_level(parser)
    parser.set_defaults(run=_rename)


def _rename(args: Namespace, console: Console) -> int:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", args.new):
        raise UsageError(f"'{args.new}' cannot be a remote's name", hint="use letters, digits, '-', '_', '.'")

    def change(text: str, path: str) -> str:
        if not _known(text, path, args.name):
            raise UsageError(f"there is no remote '{args.name}' in {path}", hint="see them all: pyexp remote list")
        if _known(text, path, args.new):
            raise UsageError(f"there is a remote '{args.new}' already", hint="choose another name")
        sections = config_format.parse(text, path)
        text = config_format.set_option(text, path, f"remote.{args.name}", None)
        for key, value in sections[f'remote "{args.name.lower()}"'].items():
            text = config_format.set_option(text, path, f"remote.{args.new}.{key}", value)
        if sections.get("core", {}).get("remote") == args.name.lower():
            text = config_format.set_option(text, path, "core.remote", args.new.lower())
        return text

    _edit(args, change)
    return 0


COMMANDS = {
    "remote add": add_add,
    "remote default": add_default,
    "remote modify": add_modify,
    "remote list": add_list,
    "remote remove": add_remove,
    "remote rename": add_rename,
}
