"""Experiments to and from git remotes, with the data of just those experiments."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from pyexp.errors import BadRevision, ExperimentError, GitError, UsageError
from pyexp.events import Note, OnEvent, null
from pyexp.experiments import collect, names
from pyexp.experiments.selection import Selection, select
from pyexp.git import refs
from pyexp.model import ExpRef
from pyexp.pipeline import exchange
from pyexp.pipeline.exchange import How, What
from pyexp.pipeline.share import Report
from pyexp.records import dataclass, field

if TYPE_CHECKING:
    from pyexp.project import Project


class _Mover(Protocol):
    def __call__(self, project: Project, what: What, how: How, *, on_event: OnEvent) -> Report: ...


@dataclass(frozen=True)
class Exchanged:
    """Experiments that moved, that were the same on both sides, and that were refused, each with the reason.

    ``held_back`` are those whose data could not be sent. ``report`` tells of their data, None when it was not asked for or no remote for data is configured.
    """

    moved: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    held_back: tuple[str, ...] = ()
    report: Report | None = None


def commits(
    project: Project,
    *,
    branches: bool = False,
    tags: bool = False,
    everything: bool = False,
    experiments: bool = False,
) -> tuple[str, ...]:
    """The tips of branches or tags, every commit of them, and experiments with their baselines."""
    if not (branches or tags or everything or experiments):
        return ()
    repo = project.require_git()
    found: dict[str, None] = {}
    if branches or tags:
        head = repo.head().sha
        starts = [*(repo.branches().values() if branches else ()), *(repo.tags().values() if tags else ())]
        found.update(dict.fromkeys([*starts, *([head] if head else [])]))
    if everything:
        for start in {*repo.branches().values(), *repo.tags().values(), *filter(None, [repo.head().sha])}:
            found.update(dict.fromkeys(repo.history(start, None, first_parent=False)))
    if experiments:
        for exp in names.all_experiments(repo):
            found[exp.sha] = None
            if repo.blob_exists(exp.baseline):  # a shallow clone may not have it
                found[exp.baseline] = None
    return tuple(found)


# -- push ------------------------------------------------------------------------------------------------------------


def push(
    project: Project,
    git_remote: str,
    selection: Selection = Selection(),
    *,
    force: bool = False,
    cache: bool = True,
    how: How = How(),
    on_event: OnEvent = null,
) -> Exchanged:
    """Sends experiments (default: HEAD's), their data first, so that nobody finds an experiment without it.

    One that is another line of commits there is refused unless ``force``. When data cannot be sent, experiments are
    held back; data that is lost, here and there, is only told of. Raises RemoteError when a remote cannot be reached.
    """
    from pyexp.git import sync  # seam: what needs no network does not load its modules

    repo = project.require_git()
    chosen = select(project, selection)
    if not chosen:
        return Exchanged()
    there = sync.list_remote(repo, git_remote, names.PREFIX)
    going = [exp for exp in chosen if there.get(exp.ref) != exp.sha]
    report = _data(project, [exp.sha for exp in chosen], how, exchange.push, on_event) if cache else None
    if report is not None and report.failed:
        same = tuple(exp.name for exp in chosen if exp not in set(going))
        return Exchanged((), same, held_back=tuple(exp.name for exp in going), report=report)
    outcomes = sync.push(repo, git_remote, {exp.ref: exp.sha for exp in going}, force=force) if going else {}
    return _sorted(chosen, going, outcomes, report)


def _sorted(
    chosen: Sequence[ExpRef], going: Sequence[ExpRef], outcomes: dict[str, str | None], report: Report | None
) -> Exchanged:
    refused = {exp.name: why for exp in going if (why := outcomes.get(exp.ref)) is not None}
    return Exchanged(
        tuple(exp.name for exp in going if outcomes.get(exp.ref) is None),
        tuple(exp.name for exp in chosen if exp not in set(going)),
        refused,
        report=report,
    )


def _data(project: Project, shas: Sequence[str], how: How, move: _Mover, on_event: OnEvent) -> Report | None:
    """Moves the data of commits; tells, and moves nothing, when there is data but no remote for it."""
    what = What(commits=tuple(shas), workspace=False)
    if how.remote is None and not project.config.get("core.remote"):
        own = [need for need in exchange.needed(project, what) if need.remote is None]
        if own or how.run_cache:
            on_event(
                Note("no remote for data is configured: only git's part is shared (pyexp remote add -d …)", "warning")
            )
            return None
    return move(project, what, how, on_event=on_event)


# -- pull ------------------------------------------------------------------------------------------------------------


def pull(
    project: Project,
    git_remote: str,
    selection: Selection = Selection(),
    *,
    force: bool = False,
    cache: bool = True,
    how: How = How(),
    on_event: OnEvent = null,
) -> Exchanged:
    """Brings experiments (default: HEAD's) and then their data; as ``push`` the other way round."""
    from pyexp.git import sync  # seam: as above

    repo = project.require_git()
    chosen = choose(project, listed(project, git_remote), selection)
    if not chosen:
        return Exchanged()
    coming = [exp for exp in chosen if refs.exists(repo, exp.ref) != exp.sha]
    outcomes = sync.fetch(repo, git_remote, [exp.ref for exp in coming], force=force) if coming else {}
    here = [exp for exp in chosen if outcomes.get(exp.ref) is None]
    report = _data(project, [exp.sha for exp in here], how, exchange.fetch, on_event) if cache and here else None
    return _sorted(chosen, coming, outcomes, report)


def listed(project: Project, git_remote: str) -> list[ExpRef]:
    """The experiments of a git remote, by baseline and name; names that could not be ours are left out."""
    from pyexp.git import sync  # seam: as above

    found: list[ExpRef] = []
    for ref, sha in sync.list_remote(project.require_git(), git_remote, names.PREFIX).items():
        exp = names.parse_ref(ref, sha)
        if exp is not None:
            with suppress(ExperimentError):
                refs.check_name(exp.name)
                found.append(exp)
    return sorted(found, key=lambda exp: (exp.baseline, exp.name))


def choose(project: Project, known: Sequence[ExpRef], selection: Selection) -> list[ExpRef]:
    """Those of a remote's experiments that a selection means (default: HEAD's); raises ExperimentError."""
    if selection.names:
        return [_named(project, known, name) for name in selection.names]
    if selection.everything:
        return list(known)
    scope = collect.Scope(revs=selection.revs, num=selection.num)
    wanted = set(collect.baselines(project, scope))
    return [exp for exp in known if exp.baseline in wanted]


def _named(project: Project, known: Sequence[ExpRef], name: str) -> ExpRef:
    matches = [exp for exp in known if exp.name == name or exp.ref == name]
    if len(matches) > 1:
        head = project.require_git().head().sha
        matches = [exp for exp in matches if exp.baseline == head] or matches
    if not matches:
        raise names.unknown(name, [exp.name for exp in known])
    if len(matches) > 1:
        listed = ", ".join(exp.ref for exp in matches)
        raise ExperimentError(f"'{name}' names several experiments there: {listed}", hint="give the full ref of one")
    return matches[0]


def title(project: Project, baseline: str) -> str:
    """A baseline for a person: its branch or tag, when its commit is here."""
    with suppress(GitError, BadRevision):
        return project.require_git().describe(baseline) or baseline[:7]
    return baseline[:7]


def remove(project: Project, git_remote: str, selection: Selection) -> tuple[list[str], dict[str, str]]:
    """Removes experiments from a git remote only: the names that went, and those that did not with the reason.

    Nothing is removed when any name is unknown.
    """
    from pyexp.git import sync  # seam: as above

    if not (selection.names or selection.revs or selection.everything):
        raise UsageError("no experiment is named", hint="give names, or -A, --rev REV")
    known = listed(project, git_remote)
    chosen = choose(project, known, selection)
    if selection.keep:
        kept = {exp.ref for exp in chosen}
        chosen = [exp for exp in known if exp.ref not in kept]
    if not chosen:
        return [], {}
    outcomes = sync.push(project.require_git(), git_remote, {exp.ref: None for exp in chosen})
    refused = {exp.name: why for exp in chosen if (why := outcomes.get(exp.ref)) is not None}
    return [exp.name for exp in chosen if outcomes.get(exp.ref) is None], refused
