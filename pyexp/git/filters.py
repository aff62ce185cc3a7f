"""What git does to a file between work tree and repository: line ends, configured filters, LFS pointers.

dulwich decides and converts (gitattributes(5)); here is what it leaves out: the ``binary`` macro, the user's attributes
file, LFS without network, and the rule that a stranger's repository runs no filter. Nothing is imported or done when no
attribute and no core.autocrlf is there, which is the usual case.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable, globs
from pyexp.git import config, lineends, objects

if TYPE_CHECKING:
    from dulwich.attrs import Pattern

    from pyexp.git.drivers import Direction
    from pyexp.git.indexfile import Index
    from pyexp.git.repo import Repo

_Patterns = list[tuple["Pattern", Mapping[bytes, Any]]]


class Filters:
    """The conversions of one set of attribute files."""

    def __init__(self, repo: Repo, read_attributes: Callable[[str], bytes | None]) -> None:
        from dulwich.attrs import GitAttributes  # seam: only repositories with attributes pay for these
        from dulwich.line_ending import read_eol_config

        from pyexp.git.drivers import Drivers

        self._drivers = Drivers(repo, repo.trusted_config)
        self._core_eol, self._autocrlf, _ = read_eol_config(repo.config)
        self._repo = repo
        self._read = read_attributes
        self._attributes = GitAttributes(
            _compile(_user_attributes(repo), b"") + self._directory(b""),
            directory_loader=self._directory,
            info_patterns=_compile(durable.read_file(os.path.join(repo.commondir, "info", "attributes")), b""),
        )

    def _directory(self, directory: bytes) -> _Patterns:
        prefix = os.fsdecode(directory) + "/" if directory else ""
        return _compile(self._read(prefix + ".gitattributes"), directory)

    def clean(self, relpath: str, data: bytes) -> bytes:
        """The bytes to store for a file's bytes; raises GitError when a filter fails."""
        path = relpath.encode("utf-8", "surrogateescape")
        attributes = self._attributes.match_path(path)
        data = self._filter(attributes, "clean", relpath, data)
        action = self._line_ends(attributes)
        if action == "BINARY" or b"\r\n" not in data:
            return data
        guess = action.startswith("AUTO")
        return lineends.to_repository(data, guess=guess, keep_crlf=guess and self._index_has_crlf(relpath))

    def smudge(self, relpath: str, data: bytes) -> bytes:
        """The bytes to write into the work tree for stored ones."""
        path = relpath.encode("utf-8", "surrogateescape")
        attributes = self._attributes.match_path(path)
        action = self._line_ends(attributes)
        if action in ("TEXT_CRLF", "AUTO_CRLF"):
            data = lineends.to_worktree(data, guess=action == "AUTO_CRLF")
        return self._filter(attributes, "smudge", relpath, data)

    def _line_ends(self, attributes: Mapping[bytes, Any]) -> str:
        from dulwich.line_ending import resolve_crlf_action

        return resolve_crlf_action(attributes, self._core_eol, self._autocrlf).name

    def _filter(self, attributes: Mapping[bytes, Any], direction: Direction, relpath: str, data: bytes) -> bytes:
        name = attributes.get(b"filter")
        if not isinstance(name, bytes):
            return data
        return self._drivers.run(name.decode("utf-8", "replace"), direction, relpath, data)

    def _index_has_crlf(self, relpath: str) -> bool:
        entry = self._repo.read_index().entries.get(relpath)
        if entry is None or entry.mode not in (objects.FILE, objects.EXECUTABLE):
            return False
        return lineends.has_crlf_text(self._repo.read_blob(entry.sha))

    def close(self) -> None:
        """Ends filter processes that were kept running."""
        self._drivers.close()


def _compile(raw: bytes | None, directory: bytes) -> _Patterns:
    from dulwich.attrs import compile_gitattributes_patterns, parse_git_attributes

    if not raw:
        return []
    rows = []
    macros: dict[bytes, dict[bytes, Any]] = {b"binary": {b"diff": False, b"merge": False, b"text": False}}
    for pattern, attributes in parse_git_attributes(io.BytesIO(raw)):
        if len(pattern) > globs.MAX_PATTERN:
            continue
        if pattern.startswith(b"[attr]"):
            macros[pattern[6:]] = dict(attributes)
            continue
        expanded: dict[bytes, Any] = {}
        for name, value in attributes.items():
            if value is True and name in macros:
                expanded.update(macros[name])
            expanded[name] = value
        rows.append((pattern, expanded))
    found = list(compile_gitattributes_patterns(rows, b".gitattributes", directory))
    for each, _ in found:
        if each.pattern.count(b"*") > globs.STARS:  # dulwich's own expression could take for ever
            each._regex = _regex(each.pattern, directory)
    return found


def _regex(pattern: bytes, directory: bytes) -> re.Pattern[bytes]:
    """What matches the paths from the top that a pattern of a directory's attribute file means."""
    glob = globs.compiled(pattern.removeprefix(b"/").decode("latin-1"))
    inside = glob.pattern.encode("latin-1") if glob is not None else b"(?!)"
    anywhere = b"" if b"/" in pattern else b"(?:.*/)?"
    return re.compile((re.escape(directory + b"/") if directory else b"") + anywhere + inside, re.DOTALL)


def _user_attributes(repo: Repo) -> bytes | None:
    named = config.get(repo, "core.attributesfile")
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    path = os.path.expanduser(named or os.path.join(base, "git", "attributes"))
    with suppress(OSError):
        return durable.read_file(path)
    return None


def _configured(repo: Repo, has_attributes: bool) -> bool:
    if has_attributes or os.path.exists(os.path.join(repo.commondir, "info", "attributes")):
        return True
    if (config.get(repo, "core.autocrlf") or "false").strip().lower() not in ("false", "no", "off", "0"):
        return True
    return bool(_user_attributes(repo))


def of_worktree(repo: Repo, index: Index) -> Filters | None:
    """The conversions between the work tree and the repository, None when there are none."""
    root = str(repo.require_worktree())
    has = any(path.endswith(".gitattributes") for path in index.entries) or os.path.exists(f"{root}/.gitattributes")
    if not _configured(repo, has):
        return None

    def read(relpath: str) -> bytes | None:
        path = os.path.join(root, relpath)
        with suppress(OSError):
            raw = None if os.path.islink(path) else durable.read_file(path)
            if raw is not None:
                return raw
        # As git: what is missing in the work tree still counts as the index has it.
        entry = index.entries.get(relpath)
        is_file = entry is not None and entry.mode in (objects.FILE, objects.EXECUTABLE)
        return repo.read_blob(entry.sha, most=durable.MAX_READ_BYTES) if entry and is_file else None

    return Filters(repo, read)


def of_tree(repo: Repo, files: Mapping[str, tuple[int, str]]) -> Filters | None:
    """The conversions for checking out a tree, by its own attribute files; None when there are none."""
    if not _configured(repo, any(path.endswith(".gitattributes") for path in files)):
        return None

    def read(relpath: str) -> bytes | None:
        entry = files.get(relpath)
        is_file = entry is not None and entry[0] in (objects.FILE, objects.EXECUTABLE)
        return repo.read_blob(entry[1], most=durable.MAX_READ_BYTES) if entry and is_file else None

    return Filters(repo, read)
