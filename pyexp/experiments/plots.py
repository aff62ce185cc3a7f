"""Plots of the workspace and of revisions: which are declared or named, what their files hold, and the pictures of it.

Paths are shown, and told apart, as seen from where the user stands. What cannot be read is a problem that is reported
beside the pictures, never an end.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyexp import durable
from pyexp.errors import FormatError, PyexpError
from pyexp.experiments import names, reading
from pyexp.experiments.collect import WORKSPACE
from pyexp.formats import plotdata, plotseries
from pyexp.formats.vegatemplates import Picture
from pyexp.git import index
from pyexp.pipeline import listing
from pyexp.pipeline.load import path_from
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from pyexp.project import Project

Props = Mapping[str, Any]
# Where a definition comes from: the dvc.yaml of a top-level one, '' for outputs of stages and for named files.
Definitions = dict[str, dict[str, dict[str, Any]]]
ID_SEPARATOR = "::"


@dataclass(frozen=True)
class Problem:
    """What could not be read or drawn, of which plot (None: of any) and, if it is about a file, which."""

    plot: str | None
    rev: str
    error: PyexpError
    source: str | None = None


@dataclass(frozen=True)
class Image:
    """An image file of one revision."""

    rev: str
    path: str
    data: bytes


@dataclass(frozen=True)
class Plot:
    """Something to draw: an image at several revisions, or points of all of them (None when there are none)."""

    name: str
    images: tuple[Image, ...] = ()
    picture: Picture | None = None
    is_image: bool = False


@dataclass
class Revision:
    """One revision: its definitions, what their files hold (or why not), and targets that name nothing there."""

    rev: str
    definitions: Definitions = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    error: PyexpError | None = None
    unknown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What is asked for: ``targets`` (all when none are named) with ``props`` over their own, seen from ``cwd``."""

    targets: Sequence[str] = ()
    props: Props = field(default_factory=dict)
    cwd: str = ""


# -- which revisions -------------------------------------------------------------------------------------------------


def compared(project: Project, revs: Sequence[str], *, experiment: bool = False) -> list[str]:
    """The revisions of ``plots diff``: one is compared with the workspace, none is HEAD where there are changes.

    With ``experiment`` one is compared with the commit it starts from. Raises PyexpError.
    """
    found = list(revs)
    repo = project.require_git()
    if repo.head().sha is None:
        return []
    if experiment and len(found) == 1:
        found.append(names.find(project, found[0]).baseline[:7])
    if len(found) < 2:
        if not found and not index.status(repo, untracked="no").is_clean:
            found.append("HEAD")
        found.append(WORKSPACE)
    return found


def collect(project: Project, request: Request, revs: Iterable[str] = (WORKSPACE,)) -> list[Revision]:
    """Every revision with its plots, the workspace first. Raises BadRevision, before anything is read."""
    wanted = list(dict.fromkeys(revs))
    wanted.sort(key=lambda rev: rev != WORKSPACE)
    for rev in wanted:
        if rev != WORKSPACE:
            names.revision(project, rev)
    return [_collected(project, request, rev) for rev in wanted]


def _collected(project: Project, request: Request, rev: str) -> Revision:
    found = Revision(rev)
    try:
        _Collector(project, request, found).run()
    except PyexpError as error:
        found.error = error
    return found


class _Collector:
    """Fills a Revision."""

    def __init__(self, project: Project, request: Request, found: Revision) -> None:
        self._project = project
        self._request = request
        self._found = found
        self._known: set[str] = set()
        self._source = reading.source(project, found.rev)
        self._view = listing.view_of(project, sha=self._source.sha, pipeline=self._source.pipeline)

    def run(self) -> None:
        for file in self._source.pipeline.files.values():
            if file.plots:
                self._top_level(path_from(file.path, self._request.cwd), {plot.id: plot.props for plot in file.plots})
        headers = self._outputs()
        self._named()
        for plots in self._found.definitions.values():
            for plot_id, props in plots.items():
                for path in plotseries.sources_of(plot_id, props):
                    if path not in self._found.sources:
                        self._found.sources[path] = self._read(path, headers)

    # Definitions

    def _top_level(self, shown_file: str, plots: Mapping[str, Props]) -> None:
        directory = posixpath.dirname(shown_file)
        into = self._found.definitions.setdefault(shown_file, {})
        parents = [_joined(directory, plot_id) for plot_id in plots]
        for plot_id, props in plots.items():
            if not self._is_meant(plot_id, f"{shown_file}{ID_SEPARATOR}{plot_id}"):
                continue
            if isinstance(props.get("y"), Mapping):
                into.setdefault(plot_id, {}).update(_placed(props, directory), **self._request.props)
                continue
            path = _joined(directory, plot_id)
            for file in self._files(path):
                if file == path or _nearest(file, parents) == path:
                    into.setdefault(file, {}).update(_placed(props, directory), **self._request.props)

    def _outputs(self) -> dict[str, bool]:
        """Adds the plots of stages; tells which files (relpaths) have a header line."""
        headers: dict[str, bool] = {}
        for relpath, stage, out in self._source.pipeline.outs():
            if out.kind != "plot":
                continue
            headers[relpath] = out.plot.get("header", True)
            if self._is_meant(path_from(relpath, self._request.cwd)):
                path = _joined(path_from(stage.wdir or ".", self._request.cwd), out.path)
                self._add(self._files(path), {**out.plot, **self._request.props})
        return headers

    def _named(self) -> None:
        """Files that were named are drawn whether they are declared or not."""
        for target in self._request.targets:
            path = posixpath.normpath(target)
            if self._is_there(path):
                self._add(self._files(path), self._request.props)
            elif target not in self._known:
                self._found.unknown.append(target)

    def _add(self, paths: Iterable[str], props: Props) -> None:
        into = self._found.definitions.setdefault("", {})
        for path in paths:
            into.setdefault(path, {}).update(props)

    def _is_meant(self, *ids: str) -> bool:
        """Targets are what ids begin with, or patterns of that."""
        meant = [target for target in self._request.targets if any(_begins(plot_id, target) for plot_id in ids)]
        self._known.update(meant)
        return bool(meant) or not self._request.targets

    # Files

    def _relpath(self, path: str) -> str:
        return self._project.relpath(path, self._project.path(self._request.cwd))

    def _is_there(self, path: str) -> bool:
        try:
            relpath = self._relpath(path)
        except PyexpError:
            return False
        return bool(relpath) and self._view.at(relpath) is not None

    def _files(self, path: str) -> list[str]:
        """The files of a path: those below it when it is a directory, else itself, there or not."""
        try:
            relpath = self._relpath(path)
            item = self._view.at(relpath) if relpath else None
            if item is None or not item.is_dir:
                return [path]
            files = listing.files_in(self._view, relpath)
            below = (file[len(relpath) + 1 :] for file in files)
            return [f"{path}/{file}" for file in below if posixpath.basename(file) != ".gitignore"]
        except PyexpError:
            return [path]  # said when it is read

    def _read(self, path: str, headers: Mapping[str, bool]) -> Any:
        """What a file holds: bytes of an image, data, or the error that came instead."""
        try:
            relpath = self._relpath(path)
            with reading.open_file(self._source, relpath) as file:
                raw = file.read(durable.MAX_READ_BYTES + 1)
            if len(raw) > durable.MAX_READ_BYTES:
                return FormatError("is too large to draw", path=path, hint="write fewer points")
            header = self._request.props.get("header", headers.get(relpath, True))
            return raw if plotdata.is_image(path) else plotdata.load(raw, path, header=header)
        except PyexpError as error:
            return error
        except OSError as error:
            return PyexpError(f"'{path}': {error.strerror or error}")


def _joined(directory: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(directory, path))


def _begins(plot_id: str, target: str) -> bool:
    try:
        return re.match(target, plot_id) is not None
    except re.error:
        return plot_id.startswith(target)


def _placed(props: Props, directory: str) -> dict[str, Any]:
    """Props with the files they name as seen from where the user stands."""
    found = dict(props)
    for axis in ("x", "y"):
        if isinstance(found.get(axis), Mapping):
            found[axis] = {_joined(directory, str(path)): fields for path, fields in found[axis].items()}
    return found


def _nearest(path: str, parents: Iterable[str]) -> str:
    """Of several definitions that a file is in, the most specific one."""
    best = ""
    for parent in parents:
        if (path == parent or path.startswith(f"{parent}/")) and len(parent) > len(best):
            best = parent
    return best


# -- pictures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A definition at one revision; ``inner`` is its id without the file it is from."""

    revision: Revision
    inner: str
    props: dict[str, Any]


def pictures(revisions: Iterable[Revision]) -> tuple[list[Plot], list[Problem]]:
    """What is to be drawn, each plot with the points or images of all revisions, and what cannot be."""
    plots: list[Plot] = []
    problems: list[Problem] = []
    groups: dict[str, list[_Part]] = {}
    for revision in revisions:
        if revision.error is not None:
            problems.append(Problem(None, revision.rev, revision.error))
        for target in revision.unknown:
            error = PyexpError(f"'{target}' is no plot and no file", hint="see them all: pyexp plots show")
            problems.append(Problem(None, revision.rev, error))
        for name, part in _parts(revision):
            groups.setdefault(name, []).append(part)
    for name, parts in groups.items():
        for part in parts:
            shown = part.inner if plotdata.is_image(part.inner) else name
            for source in plotseries.sources_of(part.inner, part.props):
                held = part.revision.sources.get(source)
                if isinstance(held, PyexpError):
                    problems.append(Problem(shown, part.revision.rev, held, source))
        if plotdata.is_image(parts[-1].inner):
            plots.append(Plot(parts[-1].inner, images=tuple(_images(parts)), is_image=True))
        else:
            plots.append(Plot(name, picture=_picture(name, parts, problems)))
    return plots, problems


def _parts(revision: Revision) -> Iterator[tuple[str, _Part]]:
    """Definitions by the name of their plot: the id, with the file it is from where another has the same."""
    by_id: dict[str, dict[str, dict[str, Any]]] = {}
    for file, plots in revision.definitions.items():
        for plot_id, props in plots.items():
            by_id.setdefault(plot_id, {})[file] = props
    for plot_id, files in by_id.items():
        for file, props in files.items():
            name = f"{file}{ID_SEPARATOR}{plot_id}" if file and len(files) > 1 else plot_id
            yield name, _Part(revision, plot_id, props)


def _images(parts: Iterable[_Part]) -> Iterator[Image]:
    for part in parts:
        data = part.revision.sources.get(part.inner)
        if isinstance(data, bytes) and data:
            yield Image(part.revision.rev, part.inner, data)


def _picture(name: str, parts: Sequence[_Part], problems: list[Problem]) -> Picture | None:
    # How it is drawn, the first revision says.
    props: dict[str, Any] = {}
    for part in reversed(parts):
        props.update(part.props)
    found: list[tuple[str, plotseries.Joined]] = []
    for part in parts:
        sources = plotseries.sources_of(part.inner, part.props)
        held = {path: part.revision.sources.get(path) for path in sources}
        files = {path: data for path, data in held.items() if data and isinstance(data, (list, dict))}
        try:
            joined = plotseries.join(part.inner, props, files, part.revision.rev)
        except PyexpError as error:
            problems.append(Problem(name, part.revision.rev, error))
            continue
        if joined.points:
            found.append((part.revision.rev, joined))
    if not found:
        return None
    first = found[0][1]
    points = [point for _, joined in found for point in joined.points]
    revs = tuple(dict.fromkeys(rev for rev, _ in found))
    return Picture(points, {"title": name, **first.props}, first.ys, revs)
