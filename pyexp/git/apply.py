"""Another tree's files in the user's work tree, without losing a byte that is saved nowhere else.

First everything is looked at and the whole refused if need be; then every new file is written under a temporary name
beside its target; only then names are changed, one rename each, and changed back if one fails. A kill in between leaves
each file whole, old or new; doing it again goes on. Index and HEAD stay.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import UnsafeCheckout
from pyexp.git import filters, objects
from pyexp.git.checkout import check_tree, require_objects, write_new
from pyexp.git.worktree import Files, mode_of
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

TreeEntry = tuple[int, str]
_ADVICE = "save them first (pyexp exp save, or pyexp git commit), or say --force"
# Tells whether bytes (their blob's sha) of a path are kept somewhere.
Saved = Callable[[str, str], bool]


@dataclass(frozen=True)
class Plan:
    """What has to be done: files to write, files to remove, and paths whose present bytes would be lost.

    ``tree`` is where the files' attributes are read from (None: from the work tree).
    """

    tree: str | None
    write: dict[str, TreeEntry]
    remove: tuple[str, ...]
    offenders: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Every path that will be different, sorted."""
        return tuple(sorted({*self.write, *self.remove}))


def plan_apply(repo: Repo, target_tree: str, *, saved: Saved, old_tree: str | None = None) -> Plan:
    """Looks at what putting the tree's files in place of the tracked ones would take; touches nothing.

    Tracked is what HEAD lists; ``old_tree`` stands for HEAD's tree. What else the index lists stays. Bytes may go when they are the index's or
    HEAD's for the path, or when ``saved(relpath, blob_sha)`` says so.
    """
    target = objects.flatten(repo, target_tree)
    check_tree(target)
    head = repo.head().sha
    if old_tree is None and head is not None:
        old_tree = repo.tree_of(head)
    committed = objects.flatten(repo, old_tree) if old_tree is not None else {}
    plan = Planner(Files(repo), target, committed, saved)
    for path, entry in target.items():
        plan.look_at_wanted(path, entry)
    # What is staged and in neither tree is new: the target knows nothing of it, so it stays, as an untracked file does.
    for path in committed:
        if path not in target:
            plan.look_at_unwanted(path)
    return Plan(target_tree, plan.write, tuple(sorted(plan.remove)), tuple(sorted(plan.offenders)))


class Planner:
    """Looks at one path after another; ``write``, ``remove`` and ``offenders`` grow."""

    def __init__(
        self, files: Files, target: dict[str, TreeEntry], committed: dict[str, TreeEntry], saved: Saved
    ) -> None:
        self.files, self.target, self.committed, self.saved = files, target, committed, saved
        self.write: dict[str, TreeEntry] = {}
        self.remove: set[str] = set()
        self.offenders: set[str] = set()

    def look_at_wanted(self, path: str, wanted: TreeEntry) -> None:
        if wanted[0] == objects.GITLINK:
            return
        index_entry = self.files.index.entries.get(path)
        if index_entry is not None and index_entry.skip_worktree and self.files.stat(path) is None:
            # Outside a sparse checkout the user asked for not to have the file.
            return
        self._look_at_parents(path)
        found = self.files.stat(path)
        if found is None:
            self.write[path] = wanted
            return
        mode = self.files.mode(path, found)
        if mode is None:
            self._look_at_directory(path, found)
            self.write[path] = wanted
            return
        sha = self.files.sha(path, found)
        if (mode, sha) == wanted:
            return
        self.write[path] = wanted
        if sha != wanted[1] or (mode == objects.SYMLINK) != (wanted[0] == objects.SYMLINK):
            self._check(path, mode, sha)

    def _look_at_parents(self, path: str) -> None:
        """A file where a directory has to be goes when it is tracked and unwanted, or saved."""
        directory = path.rpartition("/")[0]
        while directory:
            found = self.files.stat(directory)
            if found is not None:
                if not stat.S_ISDIR(found.st_mode):
                    self._give_up(directory, found)
                return
            directory = directory.rpartition("/")[0]

    def _look_at_directory(self, path: str, found: os.stat_result) -> None:
        """A directory where a file has to be: everything in it has to go, or to be nothing of anyone's."""
        if not stat.S_ISDIR(found.st_mode):
            self.offenders.add(path)
            return
        entry = self.files.index.entries.get(path)
        if (entry is not None and entry.mode == objects.GITLINK) or os.path.lexists(f"{self.files.root}/{path}/.git"):
            self.offenders.add(path)
            return
        for name in os.listdir(f"{self.files.root}/{path}"):
            below = f"{path}/{name}"
            inner = self.files.stat(below)
            if inner is not None and stat.S_ISDIR(inner.st_mode):
                self._look_at_directory(below, inner)
            elif inner is not None:
                self._give_up(below, inner)

    def look_at_unwanted(self, path: str) -> None:
        known = (self.files.index.entries.get(path), self.committed.get(path))
        if any(entry is not None and entry[0] == objects.GITLINK for entry in known):
            return
        found = self.files.stat(path)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            self._give_up(path, found)

    def _give_up(self, path: str, found: os.stat_result) -> None:
        if path in self.remove:
            return
        self.remove.add(path)
        mode = mode_of(found)
        if mode is None:
            self.offenders.add(path)
        else:
            self._check(path, mode, self.files.sha(path, found))

    def _check(self, path: str, mode: int, sha: str) -> None:
        entry = self.files.index.entries.get(path)
        if entry is not None and entry.stage == 0 and not entry.intent_to_add and entry.sha == sha:
            return
        committed = self.committed.get(path)
        if committed is not None and committed[1] == sha:
            return
        if not self.saved(path, sha):
            self.offenders.add(path)


def apply_tree(repo: Repo, target_tree: str, *, saved: Saved, force: bool = False) -> tuple[str, ...]:
    """Makes the work tree hold the tree's files in place of the tracked ones; returns the paths that changed.

    Raises UnsafeCheckout, with the paths and before anything is touched, when bytes that are saved nowhere would go;
    ``force`` lets them go.
    """
    return apply(repo, plan_apply(repo, target_tree, saved=saved), force=force)


def apply(repo: Repo, plan: Plan, *, force: bool = False, advice: str = _ADVICE) -> tuple[str, ...]:
    """Carries out a plan; on any error every name is put back as it was. Raises UnsafeCheckout as ``apply_tree``."""
    if plan.offenders and not force:
        shown = ", ".join(plan.offenders[:3]) + (", …" if len(plan.offenders) > 3 else "")
        raise UnsafeCheckout(
            f"changes that are saved nowhere would be lost: {shown}",
            paths=plan.offenders,
            hint=advice,
        )
    require_objects(repo, plan.write)
    moves = _Moves(str(repo.require_worktree()))
    try:
        _prepare(repo, plan, moves)
        for path in plan.remove:
            moves.remove(path)
        for path in plan.write:
            moves.put(path)
    except BaseException:
        moves.undo()
        raise
    moves.finish(plan.remove)
    return plan.changed


def _prepare(repo: Repo, plan: Plan, moves: _Moves) -> None:
    if plan.tree is None:
        conversions = filters.of_worktree(repo, repo.read_index())
    else:
        conversions = filters.of_tree(repo, objects.flatten(repo, plan.tree))
    for path, (mode, sha) in plan.write.items():
        data = repo.read_blob(sha)
        if conversions is not None and mode != objects.SYMLINK:
            data = conversions.smudge(path, data)
        moves.prepare(path, mode, data)
    if conversions is not None:
        conversions.close()


class _Moves:
    """Renames that can be taken back; a file that goes stays under a temporary name until all is done."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._new: dict[str, str] = {}
        self._old: list[tuple[str, str]] = []
        self._put: list[str] = []
        self._made: list[str] = []
        self._gone: list[tuple[str, int]] = []
        self._real: set[str] = {""}

    def prepare(self, path: str, mode: int, data: bytes) -> None:
        """Writes the new file beside its target, or, where that is not a directory yet, as near as there is one."""
        directory = path.rpartition("/")[0]
        while not self._is_directory(directory):
            directory = directory.rpartition("/")[0]
        where = f"{self._root}/{directory}" if directory else self._root
        temporary = durable.temporary_name(where)
        self._new[path] = temporary
        write_new(temporary, mode, data)

    def _is_directory(self, relpath: str) -> bool:
        """Whether the path and all above it are directories and no links."""
        if relpath in self._real:
            return True
        if not self._is_directory(relpath.rpartition("/")[0]):
            return False
        try:
            real = stat.S_ISDIR(os.lstat(f"{self._root}/{relpath}").st_mode)
        except (FileNotFoundError, NotADirectoryError):
            real = False
        if real:
            self._real.add(relpath)
        return real

    def remove(self, path: str) -> None:
        target = f"{self._root}/{path}"
        aside = durable.temporary_name(os.path.dirname(target))
        with suppress(FileNotFoundError, NotADirectoryError):
            os.rename(target, aside)
            self._old.append((target, aside))

    def put(self, path: str) -> None:
        target = f"{self._root}/{path}"
        self._make_parents(path.rpartition("/")[0])
        found = None
        with suppress(FileNotFoundError):
            found = os.lstat(target)
        if found is not None and stat.S_ISDIR(found.st_mode):
            self._clear(target)
        elif found is not None:
            self._set_aside(target, found)
        os.replace(self._new[path], target)
        self._put.append(target)
        del self._new[path]

    def _set_aside(self, target: str, found: os.stat_result) -> None:
        aside = durable.temporary_name(os.path.dirname(target))
        try:
            # A second name, so that the path is never without a file.
            os.link(target, aside, follow_symlinks=False)
        except (OSError, NotImplementedError):
            os.rename(target, aside)
        self._old.append((target, aside))

    def _clear(self, directory: str) -> None:
        """Removes a directory whose files were set aside; these names move up beside it."""
        above = os.path.dirname(directory)
        for position, (target, aside) in enumerate(self._old):
            if os.path.dirname(aside).startswith(directory):
                moved = durable.temporary_name(above)
                os.rename(aside, moved)
                self._old[position] = target, moved
        for inner, _, _ in os.walk(directory, topdown=False):
            mode = stat.S_IMODE(os.lstat(inner).st_mode)
            os.rmdir(inner)
            self._gone.append((inner, mode))

    def _make_parents(self, relpath: str) -> None:
        if not relpath or self._is_directory(relpath):
            return
        self._make_parents(relpath.rpartition("/")[0])
        path = f"{self._root}/{relpath}"
        os.mkdir(path)
        self._made.append(path)
        self._real.add(relpath)

    def undo(self) -> None:
        """Puts every name back; goes on past names that cannot be."""
        for temporary in self._new.values():
            with suppress(OSError):
                os.unlink(temporary)
        # One that has an old file to come back is replaced by it, so that no name is ever without a file.
        replaced = {target for target, _ in self._old}
        for target in reversed(self._put):
            if target not in replaced:
                with suppress(OSError):
                    os.unlink(target)
        for path in reversed(self._made):
            with suppress(OSError):
                os.rmdir(path)
        for path, mode in reversed(self._gone):
            with suppress(OSError):
                os.mkdir(path, mode)
        for target, aside in reversed(self._old):
            with suppress(OSError):
                if not _are_one_file(target, aside):
                    os.replace(aside, target)
                else:
                    os.unlink(aside)

    def finish(self, removed: Iterable[str]) -> None:
        """Lets go of what was set aside, and of directories that are empty now."""
        for _, aside in self._old:
            with suppress(OSError):
                os.unlink(aside)
        for path in removed:
            directory = path.rpartition("/")[0]
            with suppress(OSError):
                while directory:
                    os.rmdir(f"{self._root}/{directory}")
                    directory = directory.rpartition("/")[0]


def _are_one_file(path: str, other: str) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.path.samestat(os.lstat(path), os.lstat(other))
    return False
