"""A git repository: where it is, what its HEAD, revisions and trees hold.

Opening one reads two small files; dulwich is imported when a packed object, a setting or an ignore rule is first needed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from pyexp import durable
from pyexp.errors import GitError, NoGitRepo
from pyexp.git import objects, refs, revisions
from pyexp.model import Commit, Identity

if TYPE_CHECKING:
    from dulwich.config import StackedConfig
    from dulwich.object_store import DiskObjectStore

    from pyexp.events import Ask
    from pyexp.git.ignore import IgnoreRules
    from pyexp.git.index import Index

_INIT_HINT = "make one: pyexp git init"


class Head(NamedTuple):
    """Where HEAD is: on a branch (None: detached), at a commit (None: no commit yet)."""

    branch: str | None
    sha: str | None


class Repo:
    """A repository opened lightly; ``worktree`` is None for a bare one.

    ``gitdir`` is this work tree's own directory, ``commondir`` the one that all linked work trees share.
    Not for use from several threads at once, except for reading objects.
    """

    def __init__(self, gitdir: Path, worktree: Path | None) -> None:
        self.gitdir = gitdir
        self.worktree = worktree
        self.commondir = _common_directory(gitdir)
        self.objects_dir = os.path.join(self.commondir, "objects")
        self.hash_name, self.oid_bytes = "sha1", 20
        self._read_extensions()
        # Objects are flushed to disk before a ref may name them (SAFETY §4); benchmarks may turn it off.
        self.fsync = True
        # Objects written but not named yet (objects.batch): target -> temporary file.
        self.batch: dict[str, str] | None = None
        self._tree_ids: dict[str, str] = {}
        self.trees: dict[str, dict[str, tuple[int, str]]] = {}
        self.packed_refs: tuple[tuple[int, ...], dict[str, tuple[str, str | None]]] | None = None
        self._closer: weakref.finalize[..., Repo] | None = None
        self._index: tuple[tuple[int, int, int], Index] | None = None
        # Asks the user who to be on a server; None where nobody can answer. Logins that were right, by URL.
        self.ask: Ask | None = None
        self.logins: dict[str, tuple[str, str]] = {}

    def __repr__(self) -> str:
        return f"Repo({str(self.worktree or self.gitdir)!r})"

    def __enter__(self) -> Repo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the packs; the repository may be used again, they are opened anew."""
        self.__dict__.pop("store", None)
        if self._closer is not None:
            self._closer()
        self.trees.clear()

    def _read_extensions(self) -> None:
        raw = durable.read_file(os.path.join(self.commondir, "config")) or b""
        if b"extensions" not in raw.lower():
            return
        if (self.config_get("extensions.refstorage") or "files").lower() != "files":
            raise GitError(
                f"{self.commondir} keeps its refs in a reftable, which pyexp does not read",
                hint="convert it: git refs migrate --ref-format=files",
            )
        if (self.config_get("extensions.objectformat") or "sha1").lower() == "sha256":
            self.hash_name, self.oid_bytes = "sha256", 32

    # --- opened on first use

    @cached_property
    def store(self) -> DiskObjectStore:
        """Dulwich's view of the packs and alternates."""
        from dulwich.object_format import OBJECT_FORMATS  # seam: a loose-only repository never pays for it
        from dulwich.object_store import DiskObjectStore

        store = DiskObjectStore(self.objects_dir, object_format=OBJECT_FORMATS[self.hash_name], fsync_object_files=True)
        # A caller who forgets to close must not make dulwich complain when the interpreter ends.
        self._closer = weakref.finalize(self, store.close)
        return store

    @cached_property
    def config(self) -> StackedConfig:
        from pyexp.git import config  # seam: most commands ask for no setting

        return config.load(self)

    def forget_config(self) -> None:
        """Makes the next question about a setting read the files again."""
        self.__dict__.pop("config", None)
        self.__dict__.pop("trusted_config", None)
        self.__dict__.pop("ignore_rules", None)

    @cached_property
    def ignore_rules(self) -> IgnoreRules:
        from pyexp.git.ignore import IgnoreRules  # seam

        return IgnoreRules(self)

    @cached_property
    def is_owned(self) -> bool:
        """Whether filters configured for this repository may run (git's safe.directory rule)."""
        from pyexp.git import config  # seam

        return config.is_owned(self)

    @cached_property
    def trusted_config(self) -> StackedConfig:
        """The settings that may say what is run here: not those of a repository that somebody else owns."""
        from pyexp.git import config  # seam

        return self.config if self.is_owned else config.load_default()

    # --- HEAD and revisions

    def head(self) -> Head:
        """Where HEAD is; raises GitError when it says nothing that git would understand."""
        target, sha = refs.read_head(self)
        if target is None:
            return Head(None, sha)
        return Head(target[len("refs/heads/") :] if target.startswith("refs/heads/") else target, sha)

    def resolve(self, rev: str) -> str:
        """The commit a revision names (gitrevisions(7), without dates and ``:/text``); raises BadRevision."""
        return revisions.resolve(self, rev)

    def commit(self, sha: str) -> Commit:
        """A commit's record; raises GitError when there is no such commit."""
        return objects.parse_commit(sha, objects.read_as(self, sha, "commit"))

    def tree_of(self, commit_sha: str) -> str:
        """The tree a commit (or tag, or tree itself) holds."""
        known = commit_sha if commit_sha in self.trees else self._tree_ids.get(commit_sha)
        if known is None:
            known = self._tree_ids[commit_sha] = self._find_tree(commit_sha)
        return known

    def _find_tree(self, commit_sha: str) -> str:
        kind, data = objects.read(self, commit_sha)
        while kind == "tag":
            kind, data = objects.read(self, data.split(b"\n", 1)[0].partition(b" ")[2].decode("ascii"))
        if kind == "tree":
            return commit_sha
        if kind != "commit" or not data.startswith(b"tree "):
            raise GitError(f"git object {commit_sha} is a {kind}, not a commit")
        return data[5 : data.index(b"\n")].decode("ascii")

    def history(self, sha: str, n: int | None = None, first_parent: bool = True) -> Iterator[str]:
        """Up to ``n`` commits (None: all), newest first, starting with ``sha``; all parents by commit time."""
        return revisions.history(self, sha, n, first_parent)

    def is_ancestor(self, a: str, b: str) -> bool:
        """Whether ``b`` contains ``a`` (a commit contains itself)."""
        return revisions.is_ancestor(self, a, b)

    def merge_base(self, a: str, b: str) -> str | None:
        """The best common ancestor, None when there is none."""
        return revisions.merge_base(self, a, b)

    def branches(self) -> dict[str, str]:
        """Local branches: name -> commit."""
        return {name[11:]: sha for name, sha in refs.read(self, "refs/heads/").items()}

    def remote_branches(self) -> dict[str, str]:
        """Remote-tracking branches: ``origin/name`` -> commit."""
        return {name[13:]: sha for name, sha in refs.read(self, "refs/remotes/").items()}

    def tags(self) -> dict[str, str]:
        """Tags: name -> the commit at the end of it."""
        return revisions.tags(self)

    def describe(self, sha: str) -> str | None:
        """HEAD's branch if that is the commit, else a tag, else a branch, else None."""
        return revisions.describe(self, sha)

    # --- contents

    def read(self, sha: str, relpath: str) -> bytes | None:
        """The bytes of a file in a commit or tree, None when it holds no file there."""
        entry = objects.lookup(self, self.tree_of(sha), relpath)
        if entry is None or entry[0] in (objects.DIRECTORY, objects.GITLINK):
            return None
        return self.read_blob(entry[1], most=durable.MAX_READ_BYTES)

    def read_blob(self, sha: str, *, most: int | None = None) -> bytes:
        """A file's bytes; raises GitError when there are more than ``most``, without having read them."""
        if most is not None and self.size_bytes(sha) > most:
            raise GitError(
                f"git object {sha} is larger than {most >> 20} MiB", hint="nobody can have meant it to be read"
            )
        return objects.read_as(self, sha, "blob")

    def size_bytes(self, sha: str) -> int:
        """How large an object is; it is not read for that."""
        from pyexp.git import sizes  # seam

        return sizes.size_bytes(self, sha)

    def blob_exists(self, sha: str) -> bool:
        """Whether the repository has the object."""
        return objects.exists(self, sha)

    def list_tree(self, tree_sha: str) -> dict[str, tuple[int, str]]:
        """Every file of a tree: path -> (mode, sha)."""
        return objects.flatten(self, tree_sha)

    def lookup(self, tree_sha: str, relpath: str) -> tuple[int, str] | None:
        """Mode and sha of one path of a tree."""
        return objects.lookup(self, tree_sha, relpath)

    # --- the work tree's rules

    def read_index(self) -> Index:
        """The index as it is now; parsed again only when the file has changed. Not to be changed by the caller."""
        from pyexp.git import index  # seam

        try:
            found = os.stat(os.path.join(self.gitdir, "index"))
            stamp = found.st_ino, found.st_size, found.st_mtime_ns
        except FileNotFoundError:
            stamp = (0, 0, 0)
        if self._index is None or self._index[0] != stamp:
            self._index = stamp, index.read_index(self)
        return self._index[1]

    def is_ignored(self, relpath: str, is_dir: bool = False) -> bool:
        """Whether git's ignore rules exclude the path (tracked or not)."""
        return self.ignore_rules.is_ignored(relpath, is_dir)

    def is_tracked(self, relpath: str) -> bool:
        """Whether the index has the file, or any file below the directory."""
        return self.read_index().has(relpath)

    def require_worktree(self) -> Path:
        """The work tree; raises GitError in a bare repository."""
        if self.worktree is None:
            raise GitError(f"{self.gitdir} has no work tree", hint="go to a directory that is checked out")
        return self.worktree

    # --- settings

    def identity(self) -> Identity:
        """Who commits; raises GitError, saying how to set it, when nothing tells."""
        from pyexp.git import config  # seam

        return config.identity(self)

    def config_get(self, key: str) -> str | None:
        """A setting's value (``section.name``), None when it is set nowhere."""
        from pyexp.git import config  # seam

        return config.get(self, key)

    def set_config(self, key: str, value: str | None) -> None:
        """Sets a setting of this repository; None removes it."""
        from pyexp.git import config  # seam

        config.set_value(self, key, value)


def _common_directory(gitdir: Path) -> Path:
    raw = durable.read_file(gitdir / "commondir")
    if raw is None:
        return gitdir
    return Path(os.path.realpath(gitdir / os.fsdecode(raw.strip())))


def _is_git_directory(path: str) -> bool:
    if not os.path.lexists(os.path.join(path, "HEAD")):
        return False
    if os.path.exists(os.path.join(path, "commondir")):
        return True
    return os.path.isdir(os.path.join(path, "objects")) and os.path.isdir(os.path.join(path, "refs"))


def discover(start: Path) -> Repo:
    """The repository ``start`` is in; raises NoGitRepo when there is none.

    Knows ``.git`` files (linked work trees, submodules, separate git directories) and bare repositories.
    """
    directory = os.path.realpath(start)
    while True:
        dot = os.path.join(directory, ".git")
        if os.path.isfile(dot):
            return Repo(_follow(dot), Path(directory))
        if _is_git_directory(dot):
            return Repo(Path(dot), Path(directory))
        if _is_git_directory(directory):
            return Repo(Path(directory), None)
        parent = os.path.dirname(directory)
        if parent == directory:
            raise NoGitRepo(f"{start} is in no git repository", hint=_INIT_HINT)
        directory = parent


def _follow(dot: str) -> Path:
    raw = (durable.read_file(dot) or b"")[:8192]
    if not raw.startswith(b"gitdir:"):
        raise NoGitRepo(f"{dot} is not what git writes there", hint="remove it, or clone the project again")
    target = os.path.realpath(os.path.join(os.path.dirname(dot), os.fsdecode(raw[7:].strip())))
    if not _is_git_directory(target):
        raise NoGitRepo(f"{dot} points to {target}, which is no git directory", hint="clone the project again")
    return Path(target)


_EXCLUDE = b"# Patterns of files git should not see, one per line, kept out of the repository itself.\n"


def init(path: Path, *, branch: str = "master") -> Repo:
    """Makes an empty repository in ``path`` (made when missing); an existing one is opened as it is.

    The user's ``init.defaultBranch`` goes before ``branch``.
    """
    worktree = os.path.realpath(path)
    gitdir = os.path.join(worktree, ".git")
    if os.path.lexists(gitdir):
        return discover(Path(worktree))
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
        os.makedirs(os.path.join(gitdir, name), exist_ok=True)
    settings = [
        b"[core]",
        b"\trepositoryformatversion = 0",
        b"\tfilemode = " + (b"false" if os.name == "nt" else b"true"),
        b"\tbare = false",
        b"\tlogallrefupdates = true",
    ]
    if os.name == "nt":
        settings.append(b"\tsymlinks = false\n\tignorecase = true")
    durable.write_file(os.path.join(gitdir, "config"), b"\n".join(settings) + b"\n")
    durable.write_file(os.path.join(gitdir, "description"), b"Unnamed repository\n")
    durable.write_file(os.path.join(gitdir, "info", "exclude"), _EXCLUDE)
    from pyexp.git import config  # seam

    chosen = config.get_default("init.defaultBranch") or branch
    # HEAD last: it is what makes the directory a repository.
    durable.write_file(os.path.join(gitdir, "HEAD"), f"ref: refs/heads/{chosen}\n")
    return Repo(Path(gitdir), Path(worktree))
