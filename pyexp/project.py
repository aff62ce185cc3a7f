"""A project: its root, which of the two layouts it has, its configuration, and handles that open on first use.

The only place that knows both layouts (docs/design.md): ``.pyexp/`` is our own, ``.dvc/`` is DVC's.
"""

from __future__ import annotations

import json
import os
import re
import stat
from _thread import get_ident
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyexp import durable, mutex, owners
from pyexp.documents import Documents
from pyexp.errors import FormatError, NoGitRepo, NotAProject, PyexpError
from pyexp.events import Ask, Note, OnEvent, null
from pyexp.formats import config as config_format
from pyexp.formats.config import Config
from pyexp.objects.statcache import StatCache
from pyexp.objects.store import LocalStore
from pyexp.projectfiles import ProjectFiles
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

FORMAT_VERSION = 1
HASHES = ("xxh128", "sha256", "md5")
DEFAULT_LINKS = "reflink,copy"
# The mark of a living run: its process and six random bytes.
_MARK = re.compile(r"[0-9]+-[0-9a-f]{12}")


class CacheModes(NamedTuple):
    """Permissions in the cache; None is what the umask leaves."""

    directory: int | None = None
    file: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the two layouts."""

    name: Literal["pyexp", "dvc"]
    control: str
    scratch: str
    lock: str


PYEXP = Kind("pyexp", ".pyexp", "tmp", "tmp/lock")
# DVC's own lock is honoured, nothing else below .dvc/tmp is ever read; our scratch has a directory of its own there.
DVC = Kind("dvc", ".dvc", "tmp/pyexp", "tmp/lock")


def algo_of(text: str, path: str) -> str:
    """The hash that a project's format file, at ``path``, names; raises FormatError."""
    try:
        record = json.loads(text)
        version, algo = record["version"], record["hash"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("cannot be read as the project's format", path=path, hint="restore it from git") from error
    if version != FORMAT_VERSION or algo not in HASHES:
        raise FormatError(
            f"format version {version!r} with hash {algo!r} is not known here", path=path, hint="upgrade pyexp"
        )
    return str(algo)


class Project(ProjectFiles):
    """A directory with a control directory; cheap to make, opens nothing before it is asked for.

    ``main`` is set for a temporary workspace: a copy of the files that shares configuration, cache and scratch with it.
    """

    def __init__(
        self,
        root: Path,
        kind: Kind,
        *,
        user_config: Mapping[str, str] | None = None,
        main: Project | None = None,
        statcache: Path | None = None,
    ) -> None:
        self.root = root
        self.kind = kind
        self.main = main
        self.user_config = dict(user_config or {})
        self._statcache_path = statcache
        # Asks the user for a secret, by its name; None where nobody can answer.
        self.ask: Ask | None = None
        self._stores: dict[str, LocalStore] = {}
        self._lock_holder: int | None = None
        # Temporary files that were seen on the way; whoever takes the lock to write removes what dead processes left.
        self.litter: list[str] = []

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r}, {self.kind.name})"

    def require_here(self) -> None:
        """Raises NotAProject when the project was deleted or moved since it was opened.

        For programs that keep it open: nothing is made anew where it was, and git is not looked for above.
        """
        if not self.control.is_dir():
            raise NotAProject(f"{self.home.root} is no project any more", hint="open it where it is now: pyexp.find")

    @property
    def home(self) -> Project:
        """The project whose control directory is used: itself, or the one a temporary workspace belongs to."""
        return self.main or self

    @cached_property
    def control(self) -> Path:
        return self.home.root / self.kind.control

    @cached_property
    def scratch(self) -> Path:
        """Where state lives that may be lost; refused when there are links, for what is there is written and deleted.

        pyexp makes none: they come from somebody who put his own ``tmp`` into git. Logs and the records of tasks, which
        may be many, are not looked at here: nobody opens them by a link.
        """
        path = self.control / self.kind.scratch
        links = [part for part in (self.control, self.control / "tmp", path) if part.is_symlink()]
        for directory in () if links else (path, path / "queue", path / "work"):
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
                links += [directory / entry.name for entry in entries if entry.is_symlink()]
        if links:
            raise PyexpError(f"{links[0]} is a symbolic link", hint="remove it: pyexp keeps its own state there")
        return path

    @cached_property
    def algo(self) -> str:
        """The hash new objects are named by."""
        if self.kind is DVC:
            return "md5"
        shown = f"{self.kind.control}/format"
        try:
            text = (durable.read_file(self.control / "format") or b"").decode("utf-8")
        except (OSError, ValueError) as error:
            raise FormatError(
                "cannot be read as the project's format", path=shown, hint="restore it from git"
            ) from error
        return algo_of(text, shown)

    @cached_property
    def config(self) -> Config:
        if self.main is not None:
            return self.main.config
        levels = {level: config_format.parse(text, f"{level} config") for level, text in self.user_config.items()}
        for level, name in (("repo", "config"), ("local", "config.local")):
            raw = durable.read_file(self.control / name)
            if raw is not None:
                levels[level] = config_format.parse(
                    raw.decode("utf-8", "surrogateescape"), f"{self.kind.control}/{name}"
                )
        return Config(levels)

    @cached_property
    def cache_dir(self) -> Path:
        configured = self.config.get("cache.dir")
        if not configured:
            return self.control / "cache"
        return Path(os.path.normpath(self.control / Path(configured).expanduser()))

    @cached_property
    def shares_cache(self) -> bool:
        """Whether the cache lies outside of the project, where others may use it too."""
        return not Path(os.path.realpath(self.cache_dir)).is_relative_to(os.path.realpath(self.home.root))

    @cached_property
    def links(self) -> tuple[str, ...]:
        """Ways to bring an object into the workspace, in order of preference."""
        chosen = self.config.get("cache.type") or DEFAULT_LINKS
        return tuple(part.strip() for part in chosen.split(",") if part.strip())

    def store(self, algo: str | None = None) -> LocalStore:
        """The object store of one algorithm (default: the project's own)."""
        name = algo or self.algo
        if name not in self._stores:
            self._stores[name] = LocalStore(
                self.cache_dir,
                name,
                layout="legacy" if name == "md5-dos2unix" else "files",
                links=self.links,
                statcache=self.statcache,
                dir_mode=self.cache_modes.directory,
            )
        return self._stores[name]

    @cached_property
    def cache_modes(self) -> CacheModes:
        """Permissions of what is made in the cache, apart from objects, which nobody may write to."""
        return CacheModes(0o2775, 0o664) if (self.config.get("cache.shared") or "").lower() == "group" else CacheModes()

    @cached_property
    def statcache(self) -> StatCache:
        return StatCache(self._statcache_path or self.scratch / "statcache")

    @cached_property
    def documents(self) -> Documents:
        """What the project's YAML files are known to hold."""
        place = self.scratch if self._statcache_path is None else self._statcache_path.parent
        return Documents(place / "documents")

    @cached_property
    def git(self) -> Repo | None:
        """The git repository around the root, or None; a temporary workspace has its main project's."""
        if self.main is not None:
            return self.main.git
        if self.config.get_bool("core.no_scm"):
            return None
        from pyexp.git import repo  # seam: a command that needs no git must not pay for it

        try:
            found = repo.discover(self.root)
        except NoGitRepo:
            return None
        found.ask = self.ask
        return found

    def require_git(self) -> Repo:
        """The git repository; raises NoGitRepo when there is none."""
        if self.git is None:
            raise NoGitRepo(
                f"{self.root} is in no git repository, and experiments are kept in one",
                hint="make one: pyexp git init && pyexp git add . && pyexp git commit -m 'Start'",
            )
        return self.git

    @cached_property
    def prefix(self) -> str:
        """The root's path below the git work tree, '' or ending in '/'."""
        if self.main is not None:
            return self.main.prefix
        if self.git is None or self.git.worktree is None:
            return ""
        relative = os.path.relpath(os.path.realpath(self.root), os.path.realpath(self.git.worktree))
        return "" if relative == "." else relative.replace(os.sep, "/") + "/"

    @contextmanager
    def lock(self, on_event: OnEvent = null, timeout: float | None = 120.0) -> Iterator[None]:
        """Holds the project's lock: for read-modify-write of its files, never while a stage's command runs.

        Whoever holds it may take it again: doctor does with verbs that lock by themselves.
        """
        if self._lock_holder == get_ident():
            yield
            return

        def waiting(who: str) -> None:
            on_event(Note(f"waiting for the project's lock, held by {who}", "warning"))

        _ = self.scratch  # refused when links are in it, the lock's own directory among them
        path = self.control / self.kind.lock
        with mutex.locked(path, timeout=timeout, what="the project's lock", on_wait=waiting):
            self.tidy()
            self._lock_holder = get_ident()
            try:
                yield
            finally:
                self._lock_holder = None

    def tidy(self) -> None:
        """Removes the temporary files of dead processes that were found on the way."""
        durable.remove_left_behind(self.litter, ours=True)
        self.litter.clear()

    def sweep(self) -> None:
        """Removes what dead processes were writing where pyexp keeps its own things, objects excepted."""
        self.tidy()
        durable.remove_litter(str(self.control))
        workspaces = str(self.scratch / "work")
        for top in (self.scratch, self.cache_dir / "runs"):
            for directory, below, _ in os.walk(top):
                if directory == workspaces:
                    below.clear()
                durable.remove_litter_directories(directory)
                durable.remove_litter(directory)
        if self.git is not None:
            from pyexp.git import lockfile  # seam: see Project.git

            lockfile.sweep(self.git)

    def workspace_copy(self, root: Path, statcache: Path) -> Project:
        """This project as it stands in a temporary workspace whose git tree starts at ``root``."""
        return Project(root / self.prefix, self.kind, main=self.home, statcache=statcache)

    @property
    def marks(self) -> Path:
        """Where living runs leave their marks; refused when it is a link, for what is dead there is deleted."""
        path = self.cache_dir / "live"
        if path.is_symlink():
            raise PyexpError(f"{path} is a symbolic link", hint="remove it: pyexp keeps its own state there")
        return path

    @contextmanager
    def live(self) -> Iterator[None]:
        """Marks the block as one that stores objects before anything names them.

        gc keeps every object younger than the oldest living mark, so what a run has stored is not swept away
        before the run could record it. The mark dies with its process.
        """
        directory = self.marks
        durable.make_directories(directory, self.cache_modes.directory)
        if self.shares_cache:
            owners.mark(self.cache_dir, self.home.root, self.cache_modes.directory)
        path = directory / f"{os.getpid()}-{os.urandom(6).hex()}"
        with mutex.locked(path, what="a mark of a living run"):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Saves what was learnt about files and closes the git repository."""
        is_here = self.control.is_dir()
        if "statcache" in self.__dict__ and is_here:
            self.statcache.save()
        if "documents" in self.__dict__ and is_here:
            with suppress(OSError):  # a project that may only be read is read again
                self.documents.save()
        if self.main is None and self.__dict__.get("git") is not None:
            self.__dict__.pop("git").close()


def oldest_live(project: Project) -> float | None:
    """When the oldest living run that may still be storing objects began (seconds since the epoch), or None."""
    directory = project.marks
    oldest: float | None = None
    if not directory.is_dir():
        return None
    for path in directory.iterdir():
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        # The directory may be anybody's, where a stranger's configuration names the cache: only our marks are ours.
        if not _MARK.fullmatch(path.name) or not stat.S_ISREG(status.st_mode):
            continue
        began = status.st_mtime
        if mutex.is_locked(path):
            oldest = began if oldest is None else min(oldest, began)
        else:
            path.unlink(missing_ok=True)
    return oldest


def find(start: str | os.PathLike[str] = ".", *, user_config: Mapping[str, str] | None = None) -> Project:
    """Opens the project that holds ``start``: the nearest directory upwards with ``.pyexp`` or ``.dvc``.

    ``user_config`` gives the texts of the configuration levels outside the project ("system", "global").
    Raises NotAProject.
    """
    try:
        here = Path(start).absolute()
    except FileNotFoundError as error:
        raise NotAProject("the current directory does not exist any more", hint="go to one that does") from error
    for directory in (here, *here.parents):
        for kind in (PYEXP, DVC):
            control = directory / kind.control
            if control.is_dir() and (kind is DVC or (control / "format").exists()):
                return Project(directory, kind, user_config=user_config)
    raise NotAProject(f"{here} is in no pyexp or DVC project", hint="make one: pyexp init")
