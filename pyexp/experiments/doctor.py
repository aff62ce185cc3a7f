"""Is everything what it should be? Looks at all a project keeps, and puts right what can be without loss.

What cannot be made again is never deleted: bad objects go to ``cache/corrupt``, task files to ``queue/damaged``, refs
that name nothing into a file, strange files of the workspace into ``lost+found`` in the scratch directory.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable, mutex
from pyexp.errors import CorruptObject, PyexpError, RemoteError, StoreError
from pyexp.events import OnEvent, Progress, null
from pyexp.experiments import collect, names, oplog
from pyexp.experiments.taskqueue import Queue
from pyexp.git import fsck, lockfile, refs
from pyexp.model import Oid
from pyexp.objects import statcache, tree
from pyexp.objects.hashes import ALGORITHMS, hash_bytes, hash_file
from pyexp.objects.places import remove_all
from pyexp.objects.store import MODE, LocalStore
from pyexp.pipeline import data, record, share
from pyexp.pipeline.load import WorkspaceReader, load, lock_path, parsing_options
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class Problem:
    """Something is not as it should be: ``repaired`` says what was done about it, None that it still is so."""

    area: str
    where: str
    what: str
    repaired: str | None = None


@dataclass(frozen=True)
class Report:
    """What was found, and how much was looked at."""

    problems: tuple[Problem, ...]
    objects: int
    experiments: int
    tasks: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return all(problem.repaired is not None for problem in self.problems)


def examine(project: Project, *, repair: bool = False, full: bool = False, on_event: OnEvent = null) -> Report:
    """Checks everything. ``full`` reads every byte, also of objects that look as they did when they were last hashed.

    ``repair`` needs the project's lock; without it nothing is written.
    """
    doctor = _Doctor(project, repair, full, on_event)
    problems = []
    for look in (
        doctor.configuration,
        doctor.pipeline_files,
        doctor.caches,
        doctor.queue,
        doctor.git,
        doctor.store,
        doctor.ignored,
        doctor.litter,
    ):
        try:
            problems += list(look())
        except (PyexpError, OSError) as error:
            problems.append(
                Problem(look.__name__.replace("_", " "), str(error), "so it could not be checked to the end")
            )
    return Report(tuple(problems), doctor.objects, doctor.experiments, doctor.tasks)


class _Doctor:
    """One look at a project; each method looks at one thing and yields what is wrong with it."""

    def __init__(self, project: Project, repair: bool, full: bool, on_event: OnEvent) -> None:
        self.project = project
        self.full = full
        self.repair = repair
        self._on_event = on_event
        self.objects = self.experiments = self.tasks = 0

    def _done(self, text: str, do: Callable[..., object], *args: object) -> str | None:
        """Repairs when that was asked for: what was done, None when it could not be."""
        if not self.repair:
            return None
        try:
            do(*args)
        except (OSError, PyexpError):
            return None
        return text

    def _shown(self, path: str | os.PathLike[str]) -> str:
        relative = os.path.relpath(path, self.project.root)
        return os.fspath(path) if relative.startswith("..") else relative

    # -- configuration and pipeline ----------------------------------------------------------------------------------

    def configuration(self) -> Iterator[Problem]:
        project = self.project
        for name, ask in (("configuration", lambda: project.config), ("format", lambda: project.algo)):
            try:
                ask()
            except PyexpError as error:
                yield Problem(name, project.kind.control, str(error))
        if project.git is None:
            return
        own = f"{project.prefix}{project.kind.control}/"
        for part in ("cache", project.kind.scratch, "config.local"):
            if project.git.is_tracked(own + part):
                yield Problem("configuration", own + part, f"is tracked by git: pyexp git rm --cached {own}{part}")

    def pipeline_files(self) -> Iterator[Problem]:
        reader = WorkspaceReader(self.project)
        for file in reader.pipeline_files():
            for path in dict.fromkeys((file, lock_path(file))):
                try:
                    if path.endswith((".dvc", ".lock")):
                        list(data.recorded_entries(reader, [path]))
                except PyexpError as error:
                    yield Problem("pipeline", path, str(error))
        try:
            load(reader, parsing=parsing_options(self.project))
        except PyexpError as error:
            yield Problem("pipeline", "dvc.yaml", str(error))

    def caches(self) -> Iterator[Problem]:
        scratch = self.project.scratch
        path = scratch / "statcache"
        if not statcache.is_sound(path):
            fixed = self._done("dropped, it is made anew", path.unlink)
            yield Problem("cache", self._shown(path), "cannot be read", fixed)
        rows = scratch / "rows"
        try:
            raw = durable.read_file(rows)
            damaged = raw is not None and not collect.stored_rows(raw)[1]
        except OSError:
            damaged = True
        if damaged:
            fixed = self._done("dropped, it is made anew", rows.unlink)
            yield Problem("cache", self._shown(rows), "cannot be read to its end", fixed)

    # -- the queue ---------------------------------------------------------------------------------------------------

    def queue(self) -> Iterator[Problem]:
        queue = Queue(self.project)
        for state, name, what in list(queue.check()):
            shown = self._shown(queue.directory / state / name)
            fixed = None
            if what == "dead":
                what, fixed = "its worker is dead", self._done("put back into the queue", queue.recover)
            elif what == "damaged":
                what = "cannot be read"
                fixed = self._done("moved to queue/damaged", queue.set_aside, state, name)
            yield Problem("queue", shown, what, fixed)
        if self.project.git is None:
            return
        tasks = [task for _, task in queue.tasks("queued", "running", recover=False)]
        self.tasks = len(tasks)
        for task in tasks:
            if not self.project.git.blob_exists(task.commit):
                yield Problem("queue", task.name, f"its commit {task.commit[:12]} is not in the repository")

    # -- git ---------------------------------------------------------------------------------------------------------

    def git(self) -> Iterator[Problem]:
        repo = self.project.git
        if repo is None:
            return

        def tell(done: int) -> None:
            self._on_event(Progress("checking git", done, None, "objects"))

        for damage in fsck.check(repo, every_byte=self.full, tell=tell):
            fixed: str | None = None
            if damage.ref is not None and damage.ref.startswith((refs.EXPS, "refs/pyexp/")):
                place = self.project.scratch / "lost+found" / "refs"
                fixed = self._done(f"noted in {self._shown(place)} and removed", self._drop_ref, place, damage)
            yield Problem("git", damage.where, damage.what, fixed)
        self.experiments = len(names.all_experiments(repo))
        readable = {each.number for each in oplog.operations(self.project)}
        for number in sorted(oplog.numbers(repo).keys() - readable):
            yield Problem("git", f"{oplog.PREFIX}{number}", "is no operation that exp undo could read")
        own = os.path.join(repo.commondir, "pyexp")
        yield from self._temporary(own)
        for name in ("index.lock", "HEAD.lock", "packed-refs.lock"):
            path = os.path.join(repo.commondir, name)
            if durable.read_file(path) == lockfile.MARK and not mutex.is_locked(Path(own) / "refs.lock"):
                fixed = self._done("removed", os.unlink, path)
                yield Problem("git", self._shown(path), "was left behind by a pyexp that was killed", fixed)

    def _drop_ref(self, place: Path, damage: fsck.Damage) -> None:
        repo = self.project.require_git()
        place.parent.mkdir(parents=True, exist_ok=True)
        old = durable.read_file(place) or b""
        durable.write_file(place, old + f"{damage.sha} {damage.ref}\n".encode("utf-8", "surrogateescape"))
        refs.delete(repo, str(damage.ref))

    # -- objects -----------------------------------------------------------------------------------------------------

    def store(self) -> Iterator[Problem]:
        project = self.project
        lost: list[Oid] = []
        files = project.cache_dir / "files"
        present = sorted(path.name for path in files.iterdir()) if files.is_dir() else []
        for algo in [name for name in present if name in ALGORITHMS]:
            store = project.store(algo)
            for oid, size, _ in store.all():
                self.objects += 1
                self._on_event(Progress("checking objects", self.objects, None, "objects"))
                try:
                    problem = self._object(store, oid, size)
                except (StoreError, OSError) as error:  # what cannot be read now is not damaged
                    yield Problem("store", self._shown(store.path(oid)), str(error))
                    continue
                if problem is None:
                    continue
                path = self._shown(store.path(oid))
                if problem == "can be written to":
                    fixed = self._done("made read-only", os.chmod, store.path(oid), MODE)
                    yield Problem("store", path, problem, fixed)
                    continue
                if self.repair:
                    store.quarantine(oid, problem)
                    lost.append(oid)
                else:
                    yield Problem("store", path, problem)
            yield from self._temporary(store.base, *store.fanout())
        yield from self._fetched(lost)
        yield from self._gone(set(lost))

    def _object(self, store: LocalStore, oid: Oid, size: int) -> str | None:
        """What is wrong with an object; raises StoreError, OSError when that cannot be found out."""
        path = store.path(oid)
        status = os.lstat(path)
        digest = oid.hex.removesuffix(".dir")
        known = project_knows = self.project.statcache.get(store.algo, path, status)
        if self.full or project_knows is None:
            known, _ = hash_file(path, store.algo)
        if known != digest:
            return "does not hold the bytes its name says"
        if oid.is_dir:
            try:
                raw = durable.read_file(path) or b""
                if hash_bytes(raw, store.algo) == digest:
                    tree.decode(raw, store.algo)
            except CorruptObject as error:
                return error.message
        if project_knows is None and status.st_size == size:
            self.project.statcache.put(store.algo, path, status, digest)
        return "can be written to" if stat.S_IMODE(status.st_mode) & 0o222 and os.name != "nt" else None

    def _fetched(self, lost: list[Oid]) -> Iterator[Problem]:
        """Bad objects have been moved away: each remote is asked for good ones."""
        where = f"moved to {self._shown(self.project.cache_dir / 'corrupt')}"
        for oid in lost:
            remote = self._from_a_remote(oid)
            did = f"{where}, and fetched again from '{remote}'" if remote is not None else None
            what = "did not hold the bytes its name says"
            if did is None:
                what += f"; {where}, and no remote has it: make it again (pyexp repro) or add the good file (pyexp add)"
            yield Problem("store", str(oid), what, did)

    def _gone(self, told: set[Oid]) -> Iterator[Problem]:
        """What the workspace's records need and was found damaged before."""
        reader = WorkspaceReader(self.project)
        for path in dict.fromkeys(lock_path(file) for file in reader.pipeline_files()):
            try:
                entries = list(data.recorded_entries(reader, [path]))
            except PyexpError:
                continue
            for entry in entries:
                store = self.project.store(entry.oid.algo)
                for oid in self._needed(store, entry.oid):
                    if oid in told or store.has(oid) or not store.was_quarantined(oid):
                        continue
                    told.add(oid)
                    remote = self._from_a_remote(oid) if self.repair else None
                    fixed = f"fetched again from '{remote}'" if remote is not None else None
                    yield Problem("store", str(oid), f"was damaged and moved away, and {path} needs it", fixed)

    @staticmethod
    def _needed(store: LocalStore, oid: Oid) -> list[Oid]:
        if not oid.is_dir or not store.has(oid):
            return [oid]
        try:
            return [oid, *(Oid(oid.algo, file.hex) for file in store.read_tree(oid).files.values())]
        except StoreError:
            return [oid]

    def _from_a_remote(self, oid: Oid) -> str | None:
        from pyexp.objects import transfer  # seam: only a repair that fetches pays for it

        default = self.project.config.get("core.remote")
        for name in sorted(self.project.config.remotes(), key=lambda name: name != default):
            try:
                with share.opened(self.project, name) as remote:
                    result = transfer.transfer(remote.store(oid.algo), self.project.store(oid.algo), [oid])
                    if result.done:
                        return name
            except (RemoteError, StoreError):
                continue
        return None

    # -- the workspace -----------------------------------------------------------------------------------------------

    def ignored(self) -> Iterator[Problem]:
        project = self.project
        repo = project.git
        if repo is None:
            return
        for relpath, stage, out in load(
            WorkspaceReader(project), parsing=parsing_options(project), lenient=True
        ).outs():
            if (
                not out.cache
                or relpath.startswith("/")
                or "://" in relpath
                or not os.path.lexists(project.path(relpath))
            ):
                continue
            if repo.is_tracked(project.prefix + relpath):
                yield Problem("workspace", relpath, f"is an output, and git tracks it: pyexp git rm --cached {relpath}")
            elif not repo.is_ignored(project.prefix + relpath, os.path.isdir(project.path(relpath))):
                fixed = self._done("added to .gitignore", record.hide, project, stage)
                yield Problem("workspace", relpath, "is an output, and no .gitignore hides it from git", fixed)

    def litter(self) -> Iterator[Problem]:
        project = self.project
        control = os.fspath(project.control)
        for directory, subdirectories, _ in os.walk(project.root):
            subdirectories[:] = [
                name for name in subdirectories if name != ".git" and os.path.join(directory, name) != control
            ]
            yield from self._temporary(directory, keep=True)
        cache = os.path.join(project.cache_dir, "files")
        for directory, subdirectories, _ in os.walk(control):
            subdirectories[:] = [name for name in subdirectories if os.path.join(directory, name) != cache]
            if os.path.basename(directory) != "lost+found":
                yield from self._temporary(directory)

    def _temporary(self, *directories: str, keep: bool = False) -> Iterator[Problem]:
        """Files that were being written when their writer died; ``keep`` moves them, they may hold a user's bytes."""
        for directory in directories:
            try:
                found = sorted(name for name in os.listdir(directory) if name.startswith(durable.TMP_PREFIX))
            except OSError:
                continue
            for name in found:
                path = os.path.join(directory, name)
                if not durable.is_litter(path):
                    continue
                fixed = (
                    self._done(f"moved to {self._shown(self._lost())}", self._keep, path)
                    if keep
                    else self._done("removed", remove_all, path, None)
                )
                yield Problem("litter", self._shown(path), "was left behind by a pyexp that was killed", fixed)

    def _lost(self) -> Path:
        return self.project.scratch / "lost+found"

    def _keep(self, path: str) -> None:
        place = self._lost()
        place.mkdir(parents=True, exist_ok=True)
        os.replace(path, place / f"{time.time_ns():x}-{os.path.basename(path).removeprefix(durable.TMP_PREFIX)}")
