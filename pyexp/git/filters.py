"""What git does to a file between work tree and repository: line ends, configured filters, LFS pointers.

dulwich decides and converts (gitattributes(5)); here is what it leaves out: the ``binary`` macro, the user's attributes
file, LFS without network, and the rule that a stranger's repository runs no filter. Nothing is imported or done when no
attribute and no core.autocrlf is there, which is the usual case.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import GitError
from pyexp.git import config, lineends, objects

if TYPE_CHECKING:
    from dulwich.attrs import Pattern

    from pyexp.git.indexfile import Index
    from pyexp.git.repo import Repo

_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n")
_Patterns = list[tuple["Pattern", Mapping[bytes, Any]]]


class Filters:
    """The conversions of one set of attribute files."""

    def __init__(self, repo: Repo, read_attributes: Callable[[str], bytes | None]) -> None:
        from dulwich.attrs import GitAttributes  # seam: only repositories with attributes pay for these
        from dulwich.config import StackedConfig
        from dulwich.filters import FilterContext, FilterRegistry

        settings = repo.config
        if not repo.is_owned:
            settings = StackedConfig(StackedConfig.default_backends())
        registry = FilterRegistry(settings)
        registry.register_driver("lfs", _Lfs(repo))
        self._repo = repo
        self._context = FilterContext(registry)
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
        data = self._run(path, attributes, lambda driver: driver.clean(data), data)
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
        return self._run(path, attributes, lambda driver: driver.smudge(data, path), data)

    def _line_ends(self, attributes: Mapping[bytes, Any]) -> str:
        from dulwich.line_ending import resolve_crlf_action

        core_eol, autocrlf, _ = self._context.filter_registry.get_eol_config()
        return resolve_crlf_action(attributes, core_eol, autocrlf).name

    def _run(self, path: bytes, attributes: Mapping[bytes, Any], act: Callable[[Any], bytes], data: bytes) -> bytes:
        from dulwich.filters import FilterError

        name = attributes.get(b"filter")
        if not isinstance(name, bytes):
            return data
        try:
            driver = self._context.get_driver(name.decode("utf-8", "replace"))
            return data if driver is None else act(driver)
        except (FilterError, OSError, ValueError) as error:
            shown = path.decode("utf-8", "replace")
            raise GitError(f"git's filter for '{shown}' failed: {error}", hint="see .gitattributes") from error

    def _index_has_crlf(self, relpath: str) -> bool:
        entry = self._repo.read_index().entries.get(relpath)
        if entry is None or entry.mode not in (objects.FILE, objects.EXECUTABLE):
            return False
        return lineends.has_crlf_text(self._repo.read_blob(entry.sha))

    def close(self) -> None:
        """Ends filter processes that were kept running."""
        self._context.close()


class _Lfs:
    """LFS without its binary and without network: what is not in .git/lfs stays a pointer."""

    def __init__(self, repo: Repo) -> None:
        self._root = os.path.join(repo.commondir, "lfs", "objects")

    def _path(self, oid: str) -> str:
        return os.path.join(self._root, oid[:2], oid[2:4], oid)

    def clean(self, data: bytes, path: bytes = b"") -> bytes:
        if not data or _POINTER.match(data):
            return data
        oid = hashlib.sha256(data).hexdigest()
        target = self._path(oid)
        if not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            durable.write_file(target, data)
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()

    def smudge(self, data: bytes, path: bytes = b"") -> bytes:
        found = _POINTER.match(data)
        if found is None:
            return data
        with suppress(OSError):
            stored = durable.read_file(self._path(found[1].decode("ascii")))
            if stored is not None and hashlib.sha256(stored).hexdigest().encode("ascii") == found[1]:
                return stored
        return data

    def cleanup(self) -> None:
        """Nothing is kept open."""

    def reuse(self, settings: object, name: str) -> bool:
        return True


def _compile(raw: bytes | None, directory: bytes) -> _Patterns:
    from dulwich.attrs import compile_gitattributes_patterns, parse_git_attributes

    if not raw:
        return []
    rows = []
    macros: dict[bytes, dict[bytes, Any]] = {b"binary": {b"diff": False, b"merge": False, b"text": False}}
    for pattern, attributes in parse_git_attributes(io.BytesIO(raw)):
        if pattern.startswith(b"[attr]"):
            macros[pattern[6:]] = dict(attributes)
            continue
        expanded: dict[bytes, Any] = {}
        for name, value in attributes.items():
            if value is True and name in macros:
                expanded.update(macros[name])
            expanded[name] = value
        rows.append((pattern, expanded))
    return list(compile_gitattributes_patterns(rows, b".gitattributes", directory))


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
        return repo.read_blob(entry.sha) if entry and entry.mode in (objects.FILE, objects.EXECUTABLE) else None

    return Filters(repo, read)


def of_tree(repo: Repo, files: Mapping[str, tuple[int, str]]) -> Filters | None:
    """The conversions for checking out a tree, by its own attribute files; None when there are none."""
    if not _configured(repo, any(path.endswith(".gitattributes") for path in files)):
        return None

    def read(relpath: str) -> bytes | None:
        entry = files.get(relpath)
        return repo.read_blob(entry[1]) if entry and entry[0] in (objects.FILE, objects.EXECUTABLE) else None

    return Filters(repo, read)
