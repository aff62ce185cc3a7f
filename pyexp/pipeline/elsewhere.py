"""Another repository, of this machine or of a git server: opened to be read, never run and never written to.

One of this machine is read where it is, work tree or bare. One of a server comes into a directory of ours, as little of
it as will do, which goes away afterwards.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp import project as projects
from pyexp.errors import BadRevision, NoGitRepo, PyexpError, RemoteError
from pyexp.events import Note, OnEvent, null
from pyexp.formats import config as config_format
from pyexp.git import refs
from pyexp.git import repo as repository
from pyexp.pipeline.load import CommitReader, Pipeline, WorkspaceReader, load, parsing_options
from pyexp.pipeline.origins import SHA, Origin, Settings, User, local_path
from pyexp.project import DVC, PYEXP, Project

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_CONTROL_FILES = {"config": ".dvc", "format": ".pyexp"}


class Elsewhere:
    """A repository at one commit, or (``sha`` None) the files of a directory of this machine as they are.

    Paths are relpaths under ``base``, the work tree's top; ``top`` is the directory in it that the URL named.
    """

    def __init__(
        self,
        url: str,
        base: str,
        top: str,
        git: Repo | None,
        sha: str | None,
        *,
        is_local: bool,
        settings: Settings,
        user: User,
        staging: str,
    ) -> None:
        self.url = url
        self.base = base
        self.top = top
        self.git = git
        self.sha = sha
        self.is_local = is_local
        self.staging = staging
        self.user = user
        self._settings = settings
        self._projects: dict[str, Project] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._caches: dict[str, Path] = {}

    def relpath(self, path: str) -> str:
        """A path as the user gave it, seen from the URL's directory; raises PyexpError when it leads out."""
        if os.path.isabs(path):
            raise PyexpError(f"'{path}' is not inside '{self.url}'", hint="give a path seen from the repository's top")
        found = posixpath.normpath(posixpath.join(self.top, path.replace(os.sep, "/")))
        found = "" if found == "." else found
        inside = not self.top or found == self.top or found.startswith(f"{self.top}/")
        if found == ".." or found.startswith("../") or not inside:
            raise PyexpError(f"'{path}' is not inside '{self.url}'", hint="give a path seen from the repository's top")
        return found

    @cached_property
    def tree(self) -> dict[str, tuple[int, str]]:
        """Every file of the commit: path -> (mode, blob)."""
        assert self.git is not None and self.sha is not None
        return self.git.list_tree(self.git.tree_of(self.sha))

    # -- projects in it ----------------------------------------------------------------------------------------------

    def is_root(self, directory: str) -> bool:
        """Whether a directory is a project; the top counts as one, it needs not have anything of one."""
        if not directory:
            return True
        paths = [posixpath.join(directory, control, name) for name, control in _CONTROL_FILES.items()]
        if self.sha is not None:
            return any(path in self.tree for path in paths)
        return any(os.path.isfile(os.path.join(self.base, path)) for path in paths)

    def root_of(self, relpath: str) -> str:
        """The innermost project that a path belongs to."""
        while not self.is_root(relpath):
            relpath = posixpath.dirname(relpath)
        return relpath

    def roots_below(self, relpath: str) -> list[str]:
        """The projects in a directory."""
        if self.sha is not None:
            above = f"{relpath}/" if relpath else ""
            directories = {posixpath.dirname(posixpath.dirname(path)) for path in self.tree if path.startswith(above)}
            return sorted(root for root in directories if root and root != relpath and self.is_root(root))
        found = []
        for directory, names, _ in os.walk(os.path.join(self.base, relpath)):
            names[:] = [name for name in names if name not in (".git", ".dvc", ".pyexp")]
            path = os.path.relpath(directory, self.base).replace(os.sep, "/")
            if path not in (".", relpath) and self.is_root(path):
                found.append(path)
        return sorted(found)

    def project(self, root: str) -> Project:
        """The project at a root; what it brings lands in ``staging``, and it is not written to."""
        if root not in self._projects:
            self._projects[root] = self._open(root)
        return self._projects[root]

    def _open(self, root: str) -> Project:
        directory = Path(self.base, root)
        own = self._text(posixpath.join(root, ".pyexp/format"))
        found = Project(
            directory,
            DVC if own is None else PYEXP,
            user_config=self.user.config,
            statcache=Path(self.staging, "statcache"),
        )
        if not (self.is_local and found.control.is_dir()):
            levels = {level: config_format.parse(text, f"{level} config") for level, text in self.user.config.items()}
            text = self._text(posixpath.join(root, found.kind.control, "config"))
            if text is not None:
                levels["repo"] = config_format.parse(text, f"{self.url}: {found.kind.control}/config")
            found.config = config_format.Config(levels)
        found.ask = self.user.ask
        settings = self._settings
        found.config = config_format.weightier(
            found.config, settings.sections(), settings.remote, settings.remote_config
        )
        if own is not None:
            found.algo = projects.algo_of(own, f"{self.url}: .pyexp/format")
        self._caches[root] = found.cache_dir
        found.cache_dir = Path(self.staging, "objects")
        found.git = self.git
        found.prefix = f"{root}/" if root else ""
        return found

    def cache_dir(self, root: str) -> Path | None:
        """Where the project at a root has its cache, None when that is not of this machine."""
        self.project(root)
        return self._caches[root] if self.is_local else None

    def _text(self, relpath: str) -> str | None:
        if self.sha is None:
            raw = durable.read_file(os.path.join(self.base, relpath))
        else:
            assert self.git is not None
            entry = self.tree.get(relpath)
            raw = None if entry is None else self.git.read_blob(entry[1], most=durable.MAX_READ_BYTES)
        return None if raw is None else raw.decode("utf-8", "surrogateescape")

    def pipeline(self, root: str) -> Pipeline:
        """What the project at a root tracks; files of it that cannot be read are left out."""
        if root not in self._pipelines:
            project = self.project(root)
            reader = (
                CommitReader(self.git, self.sha, project.prefix)
                if self.git is not None and self.sha is not None
                else WorkspaceReader(project)
            )
            self._pipelines[root] = load(reader, parsing=parsing_options(project), lenient=True)
        return self._pipelines[root]


# -- opening ---------------------------------------------------------------------------------------------------------


@contextmanager
def staging(project: Project) -> Iterator[str]:
    """A directory of our own for what comes from elsewhere, gone afterwards; what dead processes left goes, too."""
    project.scratch.mkdir(parents=True, exist_ok=True)
    durable.remove_litter_directories(os.fspath(project.scratch))
    with scratch(durable.temporary_name(os.fspath(project.scratch))) as path:
        yield path


@contextmanager
def scratch(path: str) -> Iterator[str]:
    """A new directory that nobody else can look into, gone afterwards."""
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        # All in it is ours and can be had again: what resists must not make a command fail that is done. Beside a
        # project or a target the next command tries again, the system's temporary files are the system's to remove.
        durable.remove_directory(path)


@contextmanager
def somewhere() -> Iterator[str]:
    """A directory of our own that nobody needs to find."""
    import tempfile  # only those without a project pay for it

    with scratch(os.path.join(tempfile.gettempdir(), f"pyexp-{os.urandom(8).hex()}")) as directory:
        yield directory


@contextmanager
def opened(
    url: str,
    rev: str | None = None,
    *,
    staging: str,
    bases: Sequence[str],
    committed: bool = True,
    whole: bool = False,
    settings: Settings = Settings(),
    user: User = User(),
    on_event: OnEvent = null,
) -> Iterator[Elsewhere]:
    """Opens a repository at a revision (default: its HEAD; without ``committed``, a work tree's files as they are).

    ``whole`` brings all of its history and experiments along.

    Raises RemoteError when it cannot be reached, BadRevision, NoGitRepo for a directory without commits.
    """
    found = _open(url, rev, staging, bases, committed, whole, settings, user, on_event)
    try:
        yield found
    finally:
        if found.git is not None:
            found.git.close()


def _open(
    url: str,
    rev: str | None,
    staging: str,
    bases: Sequence[str],
    committed: bool,
    whole: bool,
    settings: Settings,
    user: User,
    on_event: OnEvent,
) -> Elsewhere:
    path = local_path(url, bases)
    if path is None:
        base, top = os.path.join(staging, f"clone-{os.urandom(4).hex()}"), "."
        git = repository.init(Path(base))
        git.ask = user.ask
        sha: str | None = fetched(git, url, rev, on_event, whole=whole)
    else:
        git_here = _discover(path)
        as_is = rev is None and not committed and not (git_here is not None and git_here.worktree is None)
        if git_here is None:
            if rev is not None or committed:
                raise NoGitRepo(f"'{url}' is in no git repository", hint=f"copy its data: pyexp import-url {url}/PATH")
            base = _project_root(path)
            top = os.path.relpath(os.path.realpath(path), base)
            return Elsewhere(
                url, base, _posix(top), None, None,
                is_local=True, settings=settings, user=user, staging=staging,
            )  # fmt: skip
        git = git_here
        base = os.path.realpath(git.worktree or os.path.join(staging, "bare"))
        if git.worktree is None:
            os.makedirs(base, exist_ok=True)  # stands for the work tree, with nothing in it
        top = "." if git.worktree is None else os.path.relpath(os.path.realpath(path), base)
        sha = None if as_is else resolved(git, rev)
    return Elsewhere(
        url, base, _posix(top), git, sha,
        is_local=path is not None, settings=settings, user=user, staging=staging,
    )  # fmt: skip


def _posix(path: str) -> str:
    return "" if path == "." else path.replace(os.sep, "/")


def _discover(path: str) -> Repo | None:
    with suppress(NoGitRepo):
        return repository.discover(Path(path))
    return None


def _project_root(path: str) -> str:
    with suppress(PyexpError):
        return os.path.realpath(projects.find(path).root)
    return os.path.realpath(path)


def current(project: Project, origin: Origin) -> str | None:
    """The commit that an import's repository has for its revision now, None when that is not told.

    Raises RemoteError when it cannot be asked, BadRevision.
    """
    path = local_path(origin.url, [os.sep])
    if path is not None:
        git = _discover(path)
        if git is None:
            raise NoGitRepo(f"'{origin.url}' is in no git repository", hint="it was, when its data was imported")
        with git:
            return resolved(git, origin.rev)
    with staging(project) as directory, repository.init(Path(directory, "asking")) as asking:
        asking.ask = project.home.ask
        return latest(asking, origin.url, origin.rev)


# -- revisions -------------------------------------------------------------------------------------------------------


def resolved(git: Repo, rev: str | None) -> str:
    """The commit a revision, or an experiment's name, means in a repository of this machine (default: HEAD)."""
    if rev is None:
        head = git.head().sha
        if head is None:
            raise BadRevision("the repository has no commit yet", hint="commit there first")
        return head
    try:
        return git.resolve(rev)
    except BadRevision:
        named = {sha for ref, sha in refs.read(git, "refs/exps/").items() if ref.rpartition("/")[2] == rev}
        if len(named) == 1:
            return named.pop()
        raise


def latest(git: Repo, url: str, rev: str | None) -> str | None:
    """The commit that a server has for a revision now, None when only a look at its commits could tell."""
    from pyexp.git import sync  # seam: what needs no network does not load its modules

    if rev is not None and SHA.fullmatch(rev):
        return rev
    there = sync.list_remote(git, url, peeled=True)
    ref = _ref(there, rev or sync.default_branch(git, url))
    return None if ref is None else there[ref]


def tags(url: str, *, staging: str, bases: Sequence[str], user: User = User()) -> list[str]:
    """The names of a repository's tags; raises RemoteError when it cannot be asked, NoGitRepo."""
    path = local_path(url, bases)
    if path is not None:
        git = _discover(path)
        if git is None:
            raise NoGitRepo(f"'{url}' is in no git repository", hint="versions are tags of git")
        with git:
            return list(git.tags())
    from pyexp.git import sync  # seam: see latest

    with repository.init(Path(staging, f"asking-{os.urandom(4).hex()}")) as asking:
        asking.ask = user.ask
        return [name.removeprefix("refs/tags/") for name in sync.list_remote(asking, url, "refs/tags/")]


def fetched(git: Repo, url: str, rev: str | None, on_event: OnEvent, *, whole: bool = False) -> str:
    """Brings a commit of a server's into an empty repository of ours: by itself if it can be had so, else everything."""
    from pyexp.git import sync  # seam: see latest

    on_event(Note(f"fetching {sync.shown(git, url)}", "debug"))
    there = sync.list_remote(git, url)
    branch = sync.default_branch(git, url)
    ref = _ref(there, rev or branch)
    if ref is None and rev is None:
        raise BadRevision(f"{sync.shown(git, url)} has no commits on its branch", hint="name a revision: --rev")
    if not whole:
        if ref is None and rev is not None and SHA.fullmatch(rev):
            ref = next((name for name, sha in sorted(there.items()) if sha == rev), None)
            if ref is None and sync.fetch_commit(git, url, rev):
                return rev
        if ref is not None:
            _checked(sync.fetch(git, url, {ref: ref}, depth=1))
            return git.resolve(f"{there[ref]}^{{commit}}")
    wanted = [name for name in there if name.startswith(("refs/heads/", "refs/tags/", "refs/exps/"))]
    _checked(sync.fetch(git, url, wanted))
    refs.write_head(git, branch or "refs/heads/main")
    return resolved(git, rev)


def _ref(there: Mapping[str, str], rev: str | None) -> str | None:
    """The ref a name means: a full name, a tag, a branch, or an experiment that is alone in having it."""
    if rev is None:
        return None
    for name in (rev, f"refs/tags/{rev}", f"refs/heads/{rev}"):
        if name in there:
            return name
    experiments = [name for name in there if name.startswith("refs/exps/") and name.rpartition("/")[2] == rev]
    return experiments[0] if len(experiments) == 1 else None


def _checked(results: Mapping[str, str | None]) -> None:
    for name, problem in results.items():
        if problem is not None:
            raise RemoteError(f"{name} could not be fetched: {problem}", hint="try again")
