"""Experiments by name: which exist, which a name means, and names for new ones."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from pyexp.errors import BadRevision, ExperimentError, GitError
from pyexp.git import refs
from pyexp.model import ExpRef

if TYPE_CHECKING:
    from pyexp.git.repo import Repo
    from pyexp.project import Project

PREFIX = "refs/exps/"
# What DVC keeps under the same prefix beside experiments (FORMATS.md §2.1).
_OTHERS = ("apply/", "celery/", "exec/", "temp/", "stash")


def parse_ref(ref: str, sha: str) -> ExpRef | None:
    """The experiment a ref names, or None when the ref is something else."""
    rest = ref.removeprefix(PREFIX)
    parts = rest.split("/")
    if rest == ref or rest.startswith(_OTHERS) or len(parts) != 3:
        return None
    baseline = parts[0] + parts[1]
    if len(parts[0]) != 2 or len(baseline) not in (40, 64) or not all(c in "0123456789abcdef" for c in baseline):
        return None
    return ExpRef(baseline, parts[2], sha)


def all_experiments(repo: Repo) -> list[ExpRef]:
    """Every experiment of the repository, by baseline and name."""
    found = (parse_ref(ref, sha) for ref, sha in refs.read(repo, PREFIX).items())
    return sorted((exp for exp in found if exp is not None), key=lambda exp: (exp.baseline, exp.name))


def fresh(taken: Container[str]) -> str:
    """A name nobody has: ``exp-`` and five hex digits, from the system's randomness."""
    while True:
        name = f"exp-{os.urandom(3).hex()[:5]}"
        if name not in taken:
            return name


def check_free(repo: Repo, name: str, baseline: str, reserved: Iterable[str], *, force: bool) -> None:
    """Raises ExperimentError when a name is invalid, or is taken on this baseline and not to be overwritten."""
    refs.check_name(name)
    if name in set(reserved):
        raise ExperimentError(
            f"experiment name '{name}' is reserved by a queued experiment",
            hint="choose another: -n NAME; or see the queue: pyexp queue status",
        )
    if not force and refs.exists(repo, ExpRef(baseline, name, "").ref) is not None:
        raise ExperimentError(
            f"experiment '{name}' exists already on commit {baseline[:7]}",
            hint="choose another name: -n NAME; or overwrite it: -f",
        )


def find(project: Project, name: str) -> ExpRef:
    """The one experiment a user means by ``name`` (or by a full ref): HEAD's when several baselines have it.

    Raises ExperimentError when there is none, or several and none is HEAD's.
    """
    repo = project.require_git()
    known = all_experiments(repo)
    matches = [exp for exp in known if exp.name == name or exp.ref == name]
    if len(matches) > 1:
        head = repo.head().sha
        matches = [exp for exp in matches if exp.baseline == head] or matches
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = ", ".join(exp.ref for exp in matches)
        raise ExperimentError(f"'{name}' names several experiments: {listed}", hint="give the full ref of one")
    by_sha = [exp for exp in known if len(name) >= 4 and exp.sha.startswith(name)]
    if len(by_sha) == 1:
        return by_sha[0]
    raise unknown(name, [exp.name for exp in known])


def unknown(name: str, known: Iterable[str]) -> ExperimentError:
    """The error for a name that no experiment has, with the nearest one that exists."""
    import difflib  # only a mistake pays for it

    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"did you mean '{close[0]}'?" if close else "see them all: pyexp exp list -A"
    return ExperimentError(f"'{name}' is not the name of an experiment", hint=hint)


def revision(project: Project, rev: str) -> str:
    """The commit a user means: a git revision first, then an experiment's name (FORMATS.md §2.3).

    Raises BadRevision.
    """
    repo = project.require_git()
    if rev == "HEAD":
        return baseline_of(project)
    try:
        return repo.resolve(rev)
    except BadRevision as bad:
        try:
            return find(project, rev).sha
        except ExperimentError as error:
            if "several" in error.message:
                raise
            raise BadRevision(f"'{rev}' is neither a git revision nor an experiment", hint=error.hint) from bad


def baseline_of(project: Project) -> str:
    """HEAD's commit; raises GitError while there is none."""
    head = project.require_git().head()
    if head.sha is None:
        raise GitError(
            "there is no commit yet, and experiments start from one",
            hint="make it: pyexp git add . && pyexp git commit -m 'Start'",
        )
    return head.sha
