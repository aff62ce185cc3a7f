"""Configuration: the INI-like files of DVC (FORMATS.md §1.7) in four levels, read, merged, and edited in place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from pyexp.errors import FormatError, UsageError

LEVELS = ("system", "global", "repo", "local")

_KNOWN: dict[str, frozenset[str] | None] = {
    "core": frozenset(
        [
            "remote",
            "interactive",
            "analytics",
            "hardlink_lock",
            "no_scm",
            "autostage",
            "check_update",
            "checksum_jobs",
            "site_cache_dir",
            "experiments",
            "machine",
            "studio_token",
            "fsync",
        ]
    ),
    "cache": frozenset(
        [
            "dir",
            "type",
            "shared",
            "slow_link_warning",
            "verify",
            "protected",
            "local",
            "s3",
            "gs",
            "hdfs",
            "webhdfs",
            "ssh",
            "azure",
            "size_limit",
        ]
    ),
    "exp": frozenset(
        [
            "auto_push",
            "git_remote",
            "code",
            "data",
            "models",
            "metrics",
            "params",
            "plots",
            "live",
            "copy_paths",
            "pass_env",
        ]
    ),
    "hydra": frozenset(["enabled", "config_dir", "config_module", "config_name", "plugins_path"]),
    "parsing": frozenset(["bool", "list"]),
    "plots": frozenset(["html_template", "auto_open", "out_dir"]),
    "gc": frozenset(["grace"]),
    "pyexp": frozenset(["hash", "jobs", "fsync", "grace"]),
    # Sections whose options depend on the protocol or belong to services pyexp does not use.
    "studio": None,
    "state": None,
    "index": None,
    "machine": None,
    "feature": None,
    "remote": None,
    "db": None,
}
_SECRET = re.compile(r"password|secret|token|key_?id|sas|connection_string|credential|account_key|passphrase")
_HEADER = re.compile(r"^\s*\[(?P<name>.*)\]\s*(?:[#;].*)?$")
_NAMED = re.compile(r"""^(?P<kind>[a-z]+)\s+"(?P<name>[^"]*)"$""")


def is_secret(option: str) -> bool:
    """Whether an option's value must not be printed in a listing."""
    name = option.rpartition(".")[2]
    return bool(_SECRET.search(name)) and not name.endswith(("path", "file"))


def _section(text: str) -> str:
    """A header's inside as a section name: ``core``, or ``remote.NAME`` for ``'remote "NAME"'``."""
    inner = text.strip()
    if len(inner) >= 2 and inner[0] == inner[-1] and inner[0] in "'\"" and not _NAMED.match(inner):
        inner = inner[1:-1].strip()
    named = _NAMED.match(inner)
    return f"{named['kind']}.{named['name'].lower()}" if named else inner.lower()


def _value(text: str) -> str:
    """A value without its comment and outer quotes."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        end = text.find(text[0], 1)
        if end > 0:
            return text[1:end]
    return re.split(r"\s+[#;]", text, maxsplit=1)[0].strip()


def parse(text: str, path: str) -> dict[str, dict[str, str]]:
    """The sections of a configuration file; option names are in lower case.

    Raises FormatError, naming file and line, for what is no configuration and for an unknown section or option.
    """
    found: dict[str, dict[str, str]] = {}
    section: str | None = None
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        header = _HEADER.match(raw)
        if header:
            section = _section(header["name"])
            _check_section(section, path, number)
            found.setdefault(section, {})
            continue
        name, equals, value = line.partition("=")
        if not equals or section is None:
            raise FormatError(f"'{line[:60]}' is neither a section nor an option", path=path, line=number)
        option = name.strip().lower()
        _check_option(section, option, path, number)
        found[section][option] = _value(value)
    return found


def _check_section(section: str, path: str, line: int) -> None:
    kind = section.partition(".")[0]
    if kind not in _KNOWN:
        raise FormatError(f"unknown section '{section}'", path=path, line=line, hint=_meant(kind, _KNOWN))


def _check_option(section: str, option: str, path: str, line: int) -> None:
    known = _KNOWN[section.partition(".")[0]]
    if known is not None and option not in known:
        raise FormatError(f"unknown option '{option}' in [{section}]", path=path, line=line, hint=_meant(option, known))


def _meant(name: str, known: Mapping[str, object] | frozenset[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"


class Config:
    """All levels merged, the nearest first; options are named ``section.option`` or ``remote.NAME.option``."""

    def __init__(self, levels: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        self._levels = {level: levels[level] for level in LEVELS if level in levels}

    def _find(self, option: str) -> tuple[str, str] | None:
        section, _, name = option.rpartition(".")
        for level in reversed(LEVELS):
            value = self._levels.get(level, {}).get(section.lower(), {}).get(name.lower())
            if value is not None:
                return value, level
        return None

    def get(self, option: str) -> str | None:
        found = self._find(option)
        return found[0] if found is not None else None

    def origin(self, option: str) -> str | None:
        """The level an option's value is from."""
        found = self._find(option)
        return found[1] if found is not None else None

    def get_bool(self, option: str, default: bool = False) -> bool:
        """Raises UsageError when the value is neither true nor false."""
        value = self.get(option)
        if value is None:
            return default
        if value.lower() in ("true", "yes", "on", "1"):
            return True
        if value.lower() in ("false", "no", "off", "0", ""):
            return False
        raise UsageError(f"config {option} is '{value}'", hint=f"set it to true or false: pyexp config {option} true")

    def get_int(self, option: str, default: int) -> int:
        """Raises UsageError when the value is no whole number."""
        value = self.get(option)
        if value is None:
            return default
        try:
            return int(value)
        except ValueError as error:
            raise UsageError(f"config {option} is '{value}'", hint="set it to a whole number") from error

    def remotes(self) -> dict[str, dict[str, str]]:
        """Every remote's options, by name."""
        found: dict[str, dict[str, str]] = {}
        for level in LEVELS:
            for section, options in self._levels.get(level, {}).items():
                if section.startswith("remote."):
                    found.setdefault(section.removeprefix("remote."), {}).update(options)
        return found

    def items(self) -> Iterator[tuple[str, str]]:
        """Every option that is set, with the value that holds."""
        seen: dict[str, None] = {}
        for level in LEVELS:
            for section, options in self._levels.get(level, {}).items():
                seen.update((f"{section}.{name}", None) for name in options)
        for option in seen:
            yield option, self.get(option) or ""


def set_option(text: str, path: str, option: str, value: str | None) -> str:
    """The text with one option set, or removed when ``value`` is None; every other byte stays.

    Raises UsageError for a name that is none, and for an option to remove that is not there.
    """
    section, _, name = option.rpartition(".")
    section, name = section.lower(), name.lower()
    if not section or not name:
        raise UsageError(f"'{option}' is not the name of an option", hint="for instance: core.remote, cache.dir")
    try:
        _check_section(section, path, 0)
        _check_option(section, name, path, 0)
    except FormatError as error:
        raise UsageError(error.message, hint=error.hint) from error
    if value is not None and ("\n" in value or "\r" in value):
        raise UsageError(f"the value of {option} must be one line")
    parse(text, path)
    lines = text.splitlines(keepends=True)
    start, end = _span(lines, section)
    at = next((i for i in range(start, end) if _names(lines[i], name)), None)
    if value is None:
        if at is None:
            raise UsageError(f"{option} is not set in {path}")
        del lines[at]
        if not any(line.strip() for line in lines[start : end - 1]):
            del lines[start - 1 : end - 1]
        return "".join(lines)
    new = f"    {name} = {_quoted(value)}\n"
    if at is not None:
        lines[at] = new
    elif start:
        if not lines[end - 1].endswith("\n"):
            lines[end - 1] += "\n"
        lines.insert(end, new)
    else:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines += [_header(section), new]
    return "".join(lines)


def _span(lines: list[str], section: str) -> tuple[int, int]:
    """The lines of a section, from behind its header to the next; (0, 0) when there is none."""
    start = 0
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header and start:
            return start, _without_blank(lines, start, number)
        if header and _section(header["name"]) == section:
            start = number + 1
    return (start, _without_blank(lines, start, len(lines))) if start else (0, 0)


def _without_blank(lines: list[str], start: int, end: int) -> int:
    while end > start and not lines[end - 1].strip():
        end -= 1
    return end


def _names(line: str, option: str) -> bool:
    name, equals, _ = line.partition("=")
    return bool(equals) and name.strip().lower() == option and line.strip()[:1] not in ("#", ";")


def _quoted(value: str) -> str:
    if value != value.strip() or value[:1] in ("'", '"') or re.search(r"\s[#;]", value):
        return f"'{value}'" if "'" not in value else f'"{value}"'
    return value


def _header(section: str) -> str:
    kind, _, name = section.partition(".")
    return f"['{kind} \"{name}\"']\n" if name else f"[{kind}]\n"
