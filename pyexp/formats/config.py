"""Configuration: DVC's INI files, read strictly, edited in place, and merged by level (FORMATS.md §1.7).

Levels, weakest first: system, global, repo, local. Options are named ``section.option``, those of a remote
``remote.NAME.option``. Names are lower case, as DVC reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pyexp.errors import FormatError, UsageError
from pyexp.formats import suggest

LEVELS = ("system", "global", "repo", "local")
NAMED = ("remote", "machine", "db")

_BOOL = "bool"
_INT = "int"
_TEXT = "text"
# Ways to bring an object into the workspace: several, by commas.
_LINKS = "links"
# With whom a cache is shared: there is one answer.
_SHARED = "group"
LINK_TYPES = ("reflink", "hardlink", "symlink", "copy")


def _of(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


# Options of every kind of remote together: which ones apply depends on its URL, and DVC's plug-ins read them.
_REMOTE = {
    **_of(
        _TEXT,
        "url type shared auth custom_auth_header user password ssl_verify method connect_timeout read_timeout token"
        " bearer_token_command cert_path key_path region profile credentialpath configpath endpointurl access_key_id"
        " secret_access_key session_token sse sse_kms_key_id sse_customer_algorithm sse_customer_key acl grant_read"
        " grant_read_acp grant_write_acp grant_full_control projectname passphrase keyfile kerb_ticket kerberos_principal"
        " proxy_to data_proxy_target connection_string sas_token account_name account_key tenant_id client_id client_secret"
        " oss_key_id oss_key_secret oss_endpoint gdrive_client_id gdrive_client_secret gdrive_user_credentials_file"
        " gdrive_service_account_user_email gdrive_service_account_json_file_path timeout connection_timeout",
    ),
    **_of(_INT, "jobs checksum_jobs port max_sessions replication"),
    **_of(
        _BOOL,
        "worktree no_traverse version_aware protected slow_link_warning verify ask_password listobjects use_ssl"
        " allow_anonymous_login cache_regions ask_passphrase gss_auth allow_agent kerberos use_https"
        " exclude_environment_credential exclude_visual_studio_code_credential exclude_shared_token_cache_credential"
        " exclude_managed_identity_credential gdrive_use_service_account gdrive_trash_only gdrive_acknowledge_abuse",
    ),
}

SCHEMA: dict[str, dict[str, str]] = {
    "core": {
        **_of(_TEXT, "remote site_cache_dir machine"),
        **_of(_BOOL, "interactive analytics hardlink_lock no_scm autostage experiments check_update"),
        **_of(_INT, "checksum_jobs"),
    },
    "cache": {
        **_of(_TEXT, "dir local s3 gs hdfs webhdfs ssh azure"),
        **_of(_SHARED, "shared"),
        **_of(_LINKS, "type"),
        **_of(_BOOL, "protected slow_link_warning verify"),
    },
    "remote": _REMOTE,
    "state": _of(_TEXT, "dir row_limit row_cleanup_quota"),
    "index": _of(_TEXT, "dir"),
    "machine": _of(
        _TEXT,
        "cloud region image spot spot_price instance_hdd_size instance_type instance_gpu ssh_private startup_script"
        " setup_script",
    ),
    "feature": {},
    "plots": {**_of(_TEXT, "html_template out_dir"), **_of(_BOOL, "auto_open")},
    "exp": {
        **_of(_TEXT, "code data models metrics params plots live git_remote copy_paths pass_env"),
        **_of(_BOOL, "auto_push"),
    },
    "parsing": {"bool": "store_true|boolean_optional", "list": "nargs|append"},
    "hydra": {**_of(_TEXT, "config_dir config_module config_name plugins_path"), **_of(_BOOL, "enabled")},
    "studio": {**_of(_TEXT, "token url repo_url"), **_of(_BOOL, "offline")},
    "db": _of(_TEXT, "url username password"),
    "gc": _of(_INT, "grace_seconds"),
}
# Sections whose options are not ours to know: everything is let through.
_OPEN = frozenset({"feature"})

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})
_PATHS = frozenset(
    (
        *("url", "keyfile", "cert_path", "key_path", "credentialpath", "configpath"),
        *("gdrive_user_credentials_file", "gdrive_service_account_json_file_path"),
    )
)
_SECRET = re.compile(r"password|passphrase|secret|token|key|credential|connection_string|header|sas_", re.IGNORECASE)

_HEADER = re.compile(r"\s*\[(?P<name>[^\[].*?)\]\s*(?:#.*)?\Z")
_NAMED_SECTION = re.compile(r"(?P<kind>[a-z]+)\s+\"(?P<name>.+)\"\Z")
_OPTION = re.compile(
    r"(?P<indent>\s*)(?P<key>\"[^\"]*\"|'[^']*'|[^'\"=#\s][^=]*?)\s*=(?P<space>[ \t]*)(?P<rest>.*)\Z", re.DOTALL
)
_QUOTED = re.compile(r"(?P<quote>[\"'])(?P<text>.*?)(?P=quote)\s*(?P<comment>#.*)?\Z")
_PLAIN = re.compile(r"(?P<text>.*?)(?P<comment>\s*#.*)?\Z", re.DOTALL)
_LISTED = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([^,]*?))\s*(?:,|\Z)")


class _Line(NamedTuple):
    """A line of the file that sets something: where, what, and the text around the value."""

    number: int
    section: str
    key: str | None
    value: str
    before: str
    comment: str


def parse(text: str, path: str) -> dict[str, dict[str, str]]:
    """Sections and their options as text; named sections are ``remote "name"``.

    Raises FormatError with the line for what is no INI, set twice, unknown, or of the wrong type.
    """
    data: dict[str, dict[str, str]] = {}
    for line in _lines(text, path):
        if line.key is None:
            if line.section in data:
                raise FormatError(f"section [{line.section}] is there twice", path=path, line=line.number)
            _check_section(line, path)
            data[line.section] = {}
            continue
        options = data[line.section]
        if line.key in options:
            raise FormatError(f"option '{line.key}' is set twice", path=path, line=line.number)
        problem = _problem(line.section, line.key, line.value)
        if problem:
            raise FormatError(problem, path=path, line=line.number)
        options[line.key] = line.value
    return data


def _lines(text: str, path: str) -> Iterator[_Line]:
    section: str | None = None
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        content = raw.rstrip("\r")
        stripped = content.strip()
        if not stripped or stripped[0] in "#;":
            continue
        header = _HEADER.match(content)
        if header:
            section = _section_name(header["name"])
            yield _Line(number, section, None, "", "", "")
            continue
        option = _OPTION.match(content)
        if option is None:
            raise FormatError(f"{stripped[:60]!r} is no 'option = value'", path=path, line=number)
        if section is None:
            raise FormatError("an option before the first [section]", path=path, line=number)
        value, comment = _value(option["rest"], path, number)
        before = content[: option.start("rest")]
        yield _Line(number, section, option["key"].strip().strip("\"'").lower(), value, before, comment)


def _section_name(raw: str) -> str:
    name = raw.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1]
    return re.sub(r"\s+\"", ' "', name.strip().lower(), count=1)


def _value(rest: str, path: str, number: int) -> tuple[str, str]:
    """The value and the comment after it."""
    text = rest.strip()
    if text.startswith(('"""', "'''")):
        raise FormatError("values of several lines are not supported", path=path, line=number)
    quoted = _QUOTED.match(text)
    if quoted:
        return quoted["text"], quoted["comment"] or ""
    if text[:1] in ("'", '"') and "," not in text:
        raise FormatError("the quote is not closed", path=path, line=number)
    plain = _PLAIN.match(text)
    assert plain is not None
    value = plain["text"].strip()
    if "," in value and ('"' in value or "'" in value):  # a list with quoted items
        value = ",".join(next(part for part in found.groups() if part is not None) for found in _LISTED.finditer(value))
        value = value.rstrip(",")
    return value, (plain["comment"] or "").strip()


def _check_section(line: _Line, path: str) -> None:
    kind = _kind(line.section)
    if kind in SCHEMA and (kind == line.section) != (kind in NAMED):
        return
    named = " (write it as ['remote \"name\"'])" if kind in NAMED else ""
    raise FormatError(
        f"unknown section [{line.section}]{named or suggest.question(line.section, SCHEMA)}",
        path=path,
        line=line.number,
    )


def _kind(section: str) -> str:
    named = _NAMED_SECTION.match(section)
    return named["kind"] if named else section


def _problem(section: str, key: str, value: str) -> str | None:
    """What is wrong with an option, None when nothing is."""
    kind = _kind(section)
    known = SCHEMA.get(kind)
    if known is None:
        return f"unknown section '{section}'{suggest.question(section, SCHEMA)}"
    if kind in _OPEN:
        return None
    if key not in known:
        return f"unknown option '{key}' in [{section}]{suggest.question(key, known)}"
    wanted = known[key]
    if wanted == _BOOL and value.lower() not in TRUE | FALSE:
        return f"'{key}' wants true or false, not {value!r}"
    if wanted == _INT and not re.fullmatch(r"[0-9]{1,9}", value):
        return f"'{key}' wants a number, not {value!r}"
    if wanted == _LINKS and not {part.strip().lower() for part in value.split(",")} <= set(LINK_TYPES):
        return f"'{key}' wants some of {', '.join(LINK_TYPES)}, not {value!r}"
    if wanted == _SHARED and value.lower() != _SHARED:
        return f"'{key}' wants {_SHARED}, not {value!r}"
    if "|" in wanted and value.lower() not in wanted.split("|"):
        return f"'{key}' wants {wanted.replace('|', ' or ')}, not {value!r}"
    return None


def is_path(option: str) -> bool:
    """Whether a relative value is a path, seen from the directory of the file that it is written in."""
    section, _, key = option.rpartition(".")
    return key in _PATHS if section.startswith("remote.") else option == "cache.dir"


def is_secret(option: str) -> bool:
    """Whether an option's value is not to be shown: passwords, keys, tokens."""
    section, _, name = option.partition(".")
    name = name.rpartition(".")[2] or name
    known = SCHEMA.get(section, {})
    return (
        _SECRET.search(name) is not None
        and known.get(name, _TEXT) == _TEXT
        and not name.endswith(("file", "path", "_id", "_command"))
    )


def split_option(option: str) -> tuple[str, str]:
    """The section and the key that ``section.option`` or ``remote.NAME.option`` means; raises UsageError."""
    kind, _, rest = option.strip().lower().partition(".")
    if kind in NAMED:
        name, _, key = rest.rpartition(".")
        if name and key:
            return f'{kind} "{name}"', key
    elif rest and "." not in rest:
        return kind, rest
    raise UsageError(f"'{option}' is no name of an option", hint="for example: core.remote, remote.NAME.url")


def check_option(option: str) -> None:
    """Raises UsageError for the name of an option that no configuration can have."""
    section, key = split_option(option)
    known = SCHEMA.get(_kind(section))
    if known is None:
        raise UsageError(f"{option}: unknown section '{section}'{suggest.question(section, SCHEMA)}")
    if _kind(section) not in _OPEN and key not in known:
        raise UsageError(f"{option}: unknown option '{key}' in [{section}]{suggest.question(key, known)}")


def set_option(text: str, path: str, option: str, value: str | None) -> str:
    """The text with one option set, or taken out when ``value`` is None; every other byte stays.

    ``remote.NAME`` with None takes out the whole section. Raises UsageError for an option or value that would not be
    accepted, FormatError when the text is wrong as it is.
    """
    sections = parse(text, path)
    kind, _, name = option.strip().lower().partition(".")
    if value is None and kind in NAMED and f'{kind} "{name}"' in sections:
        return _without_section(text, path, f'{kind} "{name}"')
    section, key = split_option(option)
    known = list(_lines(text, path))
    own = [line for line in known if line.section == section]
    found = next((line for line in own if line.key == key), None)
    if value is None:
        if found is None:
            raise UsageError(f"option '{option}' is not set in {path}")
        if len(own) == 2:
            return _without_section(text, path, section)
        return _spliced(text, found.number, found.number, [])
    problem = _problem(section, key, value)
    if problem:
        raise UsageError(f"{option}: {problem}")
    if "\n" in value or "\r" in value or ('"' in value and "'" in value and _needs_quotes(value)):
        raise UsageError(f"{option}: this value cannot be written: line breaks, or both kinds of quotes")
    if found is not None:
        comment = f" {found.comment}" if found.comment else ""
        spaced = found.before if found.before[-1:] in " \t" else found.before + " "
        return _spliced(text, found.number, found.number, [f"{spaced}{_written(value)}{comment}"])
    if own:
        return _spliced(text, own[-1].number + 1, own[-1].number, [f"    {key} = {_written(value)}"])
    newline = "\r\n" if "\r\n" in text else "\n"
    header = f"['{section}']" if '"' in section else f"[{section}]"
    start = text if not text or text.endswith("\n") else text + newline
    return f"{start}{header}{newline}    {key} = {_written(value)}{newline}"


def _needs_quotes(value: str) -> bool:
    return not value or value != value.strip() or value[0] in "\"'" or "," in value or "#" in value


def _written(value: str) -> str:
    if not _needs_quotes(value):
        return value
    return f"'{value}'" if '"' in value else f'"{value}"'


def _without_section(text: str, path: str, section: str) -> str:
    lines = [line.number for line in _lines(text, path) if line.section == section]
    if not lines:
        raise UsageError(f"there is no section [{section}] in {path}")
    return _spliced(text, lines[0], lines[-1], [])


def _spliced(text: str, first: int, last: int, new: list[str]) -> str:
    """Lines ``first`` to ``last`` (from 1, inclusive; last < first inserts) replaced."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split("\n")
    if last == len(lines):  # the last line has no line break: it keeps none
        kept = lines[: first - 1]
        return "\n".join([*kept, *new]) if new or not kept else "\n".join(kept) + "\n"
    if first > len(lines):
        return text + newline + newline.join(new)
    lines[first - 1 : last] = [line + newline[:-1] for line in new]
    return "\n".join(lines)


class Config:
    """A frozen view of the merged levels."""

    def __init__(self, levels: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        self._values: dict[str, dict[str, tuple[str, str]]] = {}
        for level in LEVELS:
            for section, options in levels.get(level, {}).items():
                merged = self._values.setdefault(section, {})
                merged.update({key: (value, level) for key, value in options.items()})

    def _find(self, option: str) -> tuple[str, str] | None:
        section, key = split_option(option)
        return self._values.get(section, {}).get(key)

    def get(self, option: str) -> str | None:
        """The value of ``section.option`` or ``remote.NAME.option``, None when it is not set."""
        found = self._find(option)
        return found[0] if found else None

    def get_bool(self, option: str, default: bool = False) -> bool:
        """``true``, ``yes``, ``on`` and ``1`` are True, everything else that is set is False."""
        value = self.get(option)
        return default if value is None else value.lower() in TRUE

    def get_int(self, option: str, default: int | None = None) -> int | None:
        """A number; ``default`` when it is not set."""
        value = self.get(option)
        return default if value is None else int(value)

    def origin(self, option: str) -> str | None:
        """The level that sets an option."""
        found = self._find(option)
        return found[1] if found else None

    def remotes(self) -> dict[str, dict[str, str]]:
        """Every remote's options by its name."""
        found: dict[str, dict[str, str]] = {}
        for section, options in self._values.items():
            named = _NAMED_SECTION.match(section)
            if named and named["kind"] == "remote":
                found[named["name"]] = {key: value for key, (value, _) in options.items()}
        return found

    def items(self) -> Iterator[tuple[str, str]]:
        """Every option that is set, as ``section.option`` and value."""
        for section, options in self._values.items():
            named = _NAMED_SECTION.match(section)
            prefix = f"{named['kind']}.{named['name']}" if named else section
            for key, (value, _) in options.items():
                yield f"{prefix}.{key}", value


def weightier(
    config: Config,
    settings: Mapping[str, Any],
    remote: str | None = None,
    remote_config: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration with settings over it; ``remote_config`` is for ``remote``, or the default one."""
    base: dict[str, dict[str, str]] = {}
    for option, value in config.items():
        section, key = split_option(option)
        base.setdefault(section, {})[key] = value
    over: dict[str, dict[str, str]] = {}
    for section, options in settings.items():
        for key, value in options.items():
            if isinstance(value, Mapping):  # {"remote": {"name": {"url": …}}}
                named = over.setdefault(f'{section} "{key.lower()}"', {})
                named.update((name, _text(item)) for name, item in value.items())
            else:
                over.setdefault(section, {})[key] = _text(value)
    if remote_config:
        name = (remote or over.get("core", {}).get("remote") or config.get("core.remote") or "").lower()
        named = over.setdefault(f'remote "{name}"', {})
        named.update((key, _text(value)) for key, value in remote_config.items())
    return Config({"repo": base, "local": over})


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
