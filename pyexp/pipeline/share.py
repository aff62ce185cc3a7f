"""Objects of outputs between the cache and remotes: which are needed, what came, what could not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pyexp.errors import CorruptObject, MissingObject, PyexpError, RemoteError
from pyexp.events import OnEvent, null
from pyexp.model import Entry, Oid, Tree
from pyexp.objects import transfer
from pyexp.objects.options import flag
from pyexp.objects.store import LocalStore, Store
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.objects.remote import Remote
    from pyexp.project import Project


@dataclass(frozen=True, slots=True)
class Needed:
    """The data of an output, or of one path ``below`` it; ``remote`` is the output's own, ``push`` whether it is sent."""

    relpath: str
    entry: Entry
    remote: str | None = None
    push: bool = True
    below: str | None = None


@dataclass(frozen=True)
class Report:
    """What a transfer did: objects and bytes that moved; what is nowhere to be had; what failed, with the reason.

    ``missing`` and ``failed`` name files, with their object ids.
    """

    count: int = 0
    size_bytes: int = 0
    missing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(
            self.count + other.count,
            self.size_bytes + other.size_bytes,
            self.missing + tuple(line for line in other.missing if line not in set(self.missing)),
            self.failed + tuple(line for line in other.failed if line not in set(self.failed)),
        )

    @property
    def complete(self) -> bool:
        return not (self.missing or self.failed)


# -- which remote ----------------------------------------------------------------------------------------------------


def remote_name(project: Project, name: str | None = None) -> str:
    """The remote that is meant (default: ``core.remote``); raises RemoteError when there is none of that name."""
    chosen = (name or project.config.get("core.remote") or "").lower()
    if not chosen:
        raise RemoteError("no remote is configured", hint="add one: pyexp remote add -d NAME URL")
    remotes = project.config.remotes()
    if "url" not in remotes.get(chosen, {}):
        raise RemoteError(
            f"there is no remote '{chosen}'",
            hint=f"known: {', '.join(sorted(remotes))}" if remotes else "add one: pyexp remote add NAME URL",
        )
    return chosen


@contextmanager
def opened(project: Project, name: str | None = None) -> Iterator[Remote]:
    """A configured remote, closed afterwards."""
    from pyexp.objects.remote import open_remote  # plug table: only transfers pay for it

    chosen = remote_name(project, name)
    options = options_of(project, chosen)
    for secret in ("password", "passphrase"):
        if flag(options, f"ask_{secret}") and not options.get(secret):
            options[secret] = _ask(project, chosen, secret)
    found = open_remote(chosen, options, project.control)
    try:
        yield found
    finally:
        found.close()


def _ask(project: Project, name: str, secret: str) -> str:
    """A secret that is to be asked for each time, once in each command."""
    if project.home.ask is None:
        raise RemoteError(
            f"remote '{name}' wants its {secret} typed, and nobody is there to type it",
            hint=f"pyexp remote modify --local {name} {secret} …",
        )
    return project.home.ask(f"{secret} for remote '{name}'")


def options_of(project: Project, name: str) -> dict[str, str]:
    """A remote's options, with ``remote://OTHER/path`` in its URL followed."""
    remotes = project.config.remotes()
    options, seen = dict(remotes[name]), {name}
    while options["url"].startswith("remote://"):
        other, _, below = options["url"][len("remote://") :].partition("/")
        if other in seen or "url" not in remotes.get(other, {}):
            raise RemoteError(f"remote '{name}' goes through remote '{other}', which does not exist")
        seen.add(other)
        own = {key: value for key, value in options.items() if key != "url"}
        options = {**remotes[other], **own, "url": f"{remotes[other]['url'].rstrip('/')}/{below}"}
    return options


def jobs_for(project: Project, remote: Remote, jobs: int | None) -> int | None:
    """How many objects at a time: what was asked for, what is configured, or what suits the remote."""
    return jobs or project.config.get_int(f"remote.{remote.name}.jobs") or remote.files.jobs


# -- both ways -------------------------------------------------------------------------------------------------------

_Mover = Callable[["Project", "Remote", str, Sequence[Needed], "int | None", OnEvent], Report]


def send(
    project: Project,
    needed: Iterable[Needed],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> Report:
    """Sends what the remotes do not have; what must not be pushed stays. Raises RemoteError."""
    return _move(project, [need for need in needed if need.push], remote, jobs, on_event, _send)


def bring(
    project: Project,
    needed: Iterable[Needed],
    *,
    remote: str | None = None,
    jobs: int | None = None,
    on_event: OnEvent = null,
) -> Report:
    """Brings what the cache does not have; raises RemoteError."""
    with project.live():
        return _move(project, needed, remote, jobs, on_event, _bring)


def fetch(
    project: Project, entries: Sequence[Entry], *, remote: str | None = None, on_event: OnEvent = null
) -> tuple[int, list[str]]:
    """Brings the objects of entries: how many came, and a line for each that did not. Raises RemoteError."""
    report = bring(project, [Needed(str(entry.oid), entry) for entry in entries], remote=remote, on_event=on_event)
    return report.count, [*report.missing, *report.failed]


def _move(
    project: Project,
    needed: Iterable[Needed],
    default: str | None,
    jobs: int | None,
    on_event: OnEvent,
    move: _Mover,
) -> Report:
    """Moves each output's objects to or from its own remote, one remote and algorithm after the other."""
    report = Report()
    for name, algos in by_remote(project, needed, default).items():
        with opened(project, name) as remote:
            for algo, group in sorted(algos.items()):
                report += move(project, remote, algo, group, jobs, on_event)
    return report


def by_remote(project: Project, needed: Iterable[Needed], default: str | None) -> dict[str, dict[str, list[Needed]]]:
    """Remote -> hash algorithm -> what is needed of it: an output's own remote, or the default."""
    groups: dict[str, dict[str, list[Needed]]] = {}
    for need in needed:
        algos = groups.setdefault(remote_name(project, need.remote or default), {})
        algos.setdefault(need.entry.oid.algo, []).append(need)
    return dict(sorted(groups.items()))


def _send(
    project: Project, remote: Remote, algo: str, needed: Sequence[Needed], jobs: int | None, on_event: OnEvent
) -> Report:
    source, target = project.store(algo), remote.store(algo)
    names, sizes, report = _names(source, needed)
    absent = target.missing(names)
    result = transfer.transfer(
        source,
        target,
        absent,
        jobs=jobs_for(project, remote, jobs),
        what="pushing",
        sizes=_sizes(source, absent, sizes),
        on_event=on_event,
    )
    return report + _report(result, names)


def _sizes(store: LocalStore, oids: Iterable[Oid], known: Mapping[Oid, int]) -> dict[Oid, int]:
    """Sizes of objects in bytes; files are only looked at where their manifest does not say."""
    sizes = {}
    for oid in oids:
        if oid in known:
            sizes[oid] = known[oid]
            continue
        with suppress(OSError):
            sizes[oid] = os.stat(store.path(oid)).st_size
    return sizes


def _names(store: LocalStore, needed: Iterable[Needed]) -> tuple[dict[Oid, str], dict[Oid, int], Report]:
    """The objects behind outputs, as far as the manifests are here: the name of a file each is for, and known sizes."""
    names: dict[Oid, str] = {}
    sizes: dict[Oid, int] = {}
    report = Report()
    for need in needed:
        oid = need.entry.oid
        if need.below is None:
            names.setdefault(oid, need.relpath)
        if oid.is_dir:
            try:
                tree = store.read_tree(oid)
                names.update(members(need, tree))
                sizes.update(_sizes_in(tree))
            except MissingObject:
                # Somebody else's directory that was never fetched: all we can know is whether the remote has it.
                names.setdefault(oid, need.relpath)
            except CorruptObject as damaged:
                names.pop(oid, None)
                report += Report(failed=(f"{need.relpath}: {damaged}",))
    return names, sizes, report


def _sizes_in(tree: Tree) -> dict[Oid, int]:
    """What a manifest says of its files' sizes; DVC's says nothing."""
    return {Oid(tree.algo, file.hex): file.size for file in tree.files.values() if file.size is not None}


def members(need: Needed, tree: Tree) -> Iterator[tuple[Oid, str]]:
    """The objects of a directory's files that are needed, each with the file's path in the project."""
    for path, file in tree.files.items():
        if need.below is None or path == need.below or path.startswith(f"{need.below}/"):
            yield Oid(tree.algo, file.hex), f"{need.relpath}/{path}"


def _report(result: transfer.Transferred, names: dict[Oid, str]) -> Report:
    return Report(
        result.done,
        result.size_bytes,
        tuple(f"{names[oid]} ({oid})" for oid in result.missing),
        tuple(f"{names[oid]} ({oid}): {reason}" for oid, reason in result.failed),
    )


def _bring(
    project: Project, remote: Remote, algo: str, needed: Sequence[Needed], jobs: int | None, on_event: OnEvent
) -> Report:
    """Manifests come first, for they say what else is needed."""
    if remote.root is not None and not remote.root.is_dir():
        raise RemoteError(
            f"remote '{remote.name}': there is no directory {remote.root}",
            hint="is it mounted? is the URL right? see: pyexp remote list",
        )
    source, target = remote.store(algo), project.store(algo)
    count = jobs_for(project, remote, jobs)

    def get(names: dict[Oid, str], sizes: dict[Oid, int] | None) -> Report:
        absent = target.missing(names)
        known = None if sizes is None else {oid: sizes[oid] for oid in absent if oid in sizes}
        result = transfer.transfer(source, target, absent, jobs=count, what="fetching", sizes=known, on_event=on_event)
        return _report(result, names)

    tops = {need.entry.oid: need.relpath for need in needed}
    report = get(tops, {need.entry.oid: need.entry.size or 0 for need in needed if not need.entry.oid.is_dir})
    inside: dict[Oid, str] = {}
    sizes: dict[Oid, int] = {}
    for need in needed:
        if not need.entry.oid.is_dir or not target.has(need.entry.oid):
            continue
        try:
            tree = _tree(source, target, need.entry.oid)
        except PyexpError as error:
            report += Report(failed=(f"{need.relpath}: {error}",))
            continue
        inside.update(members(need, tree))
        sizes.update(_sizes_in(tree))
    return report + get(inside, sizes)


def _tree(source: Store, target: LocalStore, oid: Oid) -> Tree:
    """A manifest of the cache; one that turns out to be damaged is fetched anew."""
    try:
        return target.read_tree(oid)
    except CorruptObject:
        transfer.transfer(source, target, [oid])
        return target.read_tree(oid)
