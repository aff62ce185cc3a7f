"""What the workspace holds of the pipeline's paths, looked at once and remembered until a stage changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pyexp.errors import CorruptObject, FormatError, PyexpError
from pyexp.events import Note, OnEvent, null
from pyexp.formats import values
from pyexp.model import Content, Entry, StageLock, StageSpec
from pyexp.objects import build, checkout
from pyexp.pipeline.plan import Observed

if TYPE_CHECKING:
    from pyexp.project import Project


class Workspace:
    """Observes paths of a project; ``algo`` defaults to the project's own hash."""

    def __init__(self, project: Project, on_event: OnEvent = null) -> None:
        self.project = project
        self._on_event = on_event
        self._contents: dict[tuple[str, str], Content | None] = {}
        self._params: dict[str, Mapping[str, Any] | None] = {}

    def forget(self, relpaths: Iterable[str]) -> None:
        """Drops what is remembered of these paths, of all below and of all above them."""
        gone = set(relpaths)
        if not gone:
            return
        for key in [key for key in self._contents if _touches(key[0], gone)]:
            del self._contents[key]
        for file in [file for file in self._params if _touches(file, gone)]:
            del self._params[file]

    def content(self, relpath: str, algo: str | None = None) -> Content | None:
        """What is at a path now, hashed; None when nothing is there."""
        key = (relpath, algo or self.project.algo)
        if key not in self._contents:
            self._contents[key] = self._observe(relpath, key[1], keep=False)
        return self._contents[key]

    def keep(self, relpath: str) -> Content | None:
        """Puts what is at a path into the cache, and says what it is."""
        algo = self.project.algo
        found = self._observe(relpath, algo, keep=True)
        self._contents[relpath, algo] = found
        return found

    def _observe(self, relpath: str, algo: str, *, keep: bool) -> Content | None:
        if "://" in relpath:
            raise PyexpError(
                f"dependency '{relpath}' is a URL, which cannot be looked at from here",
                hint="bring it into the project and track it: pyexp add",
            )
        return build.observe(
            self.project.path(relpath),
            algo=algo,
            statcache=self.project.statcache,
            ignore=self.project.ignored_below(relpath),
            store=self.project.store(algo) if keep else None,
            litter=self.project.litter,
            jobs=self.project.config.get_int("core.checksum_jobs") or None,
            on_event=self._on_event,
        )

    def params(self, relpath: str) -> Mapping[str, Any] | None:
        """The data of a params file, None when it does not exist; raises FormatError."""
        if relpath not in self._params:
            text = self.project.read_text(relpath)
            self._params[relpath] = None if text is None else values.load(text, relpath)
        return self._params[relpath]

    def observed(
        self, stage: StageSpec, lock: StageLock, *, outs: bool = True, allow_missing: bool = False
    ) -> Observed:
        """Everything ``plan`` wants to know of a stage; ``outs=False`` leaves the outputs out."""
        recorded = {entry.path: entry.entry for entry in lock.deps}
        looked_at = () if stage.frozen or stage.is_import else stage.deps
        deps = {dep: self.content(stage.relpath(dep), _algo(recorded.get(dep))) for dep in looked_at}
        params = {spec.file: self.params(stage.relpath(spec.file)) for spec in stage.params if not stage.frozen}
        if not outs:
            return Observed(deps, params)
        made = {entry.path: entry.entry for entry in lock.outs}
        found = {out.path: self.content(stage.relpath(out.path), _algo(made.get(out.path))) for out in stage.outs}
        absent = frozenset(
            out.path for out in stage.outs if out.cache and (entry := made.get(out.path)) and not self.cached(entry)
        )
        return Observed(deps, params, found, absent)

    def cached(self, entry: Entry) -> bool:
        """Whether the cache holds all of an output: its object, or its manifest and every member."""
        store = self.project.store(entry.oid.algo)
        try:
            return store.complete(entry.oid)
        except CorruptObject as damaged:
            self._on_event(Note(str(damaged), "warning"))
            return False

    def would_lose(self, relpath: str, entry: Entry) -> list[str]:
        """The paths that ``restore`` would refuse to overwrite: their bytes are saved nowhere."""
        project = self.project
        store = project.store(entry.oid.algo)
        lost = checkout.would_lose(
            project.path(relpath),
            store.load(entry),
            store=store,
            statcache=project.statcache,
            ignore=project.ignored_below(relpath),
        )
        return [f"{relpath}/{below}" if below else relpath for below in lost]

    def restore(
        self, relpath: str, entry: Entry | None, *, force: bool = False, relink: bool = False
    ) -> checkout.Changes:
        """Makes a path hold what ``entry`` says, from the cache (None: removes it).

        Raises UnsafeCheckout when bytes saved nowhere would go, MissingObject when the cache lacks something.
        """
        project = self.project
        algo = entry.oid.algo if entry is not None else project.algo
        store = project.store(algo)
        want = None if entry is None else store.load(entry)
        changes = checkout.checkout(
            project.path(relpath),
            want,
            root=str(project.root),
            store=store,
            statcache=project.statcache,
            ignore=project.ignored_below(relpath),
            links=project.links,
            force=force,
            relink=relink,
            on_event=self._on_event,
        )
        self.forget([relpath])
        if want is not None:
            self._contents[relpath, algo] = want
        return changes


def _algo(entry: Entry | None) -> str | None:
    return None if entry is None else entry.oid.algo


def _touches(path: str, gone: set[str]) -> bool:
    if path in gone:
        return True
    above = path
    while "/" in above:
        above = above.rpartition("/")[0]
        if above in gone:
            return True
    return any(other.startswith(f"{path}/") for other in gone)


def missing_params(stage: StageSpec, workspace: Workspace) -> None:
    """Raises FormatError for the first param a stage declares that its file does not have."""
    for spec in stage.params:
        relpath = stage.relpath(spec.file)
        data = workspace.params(relpath)
        if data is None:
            raise FormatError(f"params file is missing, stage '{stage.address}' needs it", path=relpath)
        for key in spec.keys or ():
            if values.select(data, key) is values.MISSING:
                raise FormatError(
                    f"no param '{key}', which stage '{stage.address}' needs",
                    path=relpath,
                    hint=f"add it there, or take it out of {stage.file}",
                )
