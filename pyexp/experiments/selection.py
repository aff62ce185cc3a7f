"""Which experiments a command is about: by name, or all of some commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyexp.errors import ExperimentError
from pyexp.experiments import collect, names
from pyexp.model import ExpRef
from pyexp.records import dataclass

if TYPE_CHECKING:
    from pyexp.project import Project


@dataclass(frozen=True)
class Selection:
    """Which experiments: by name, or all of some baselines."""

    names: tuple[str, ...] = ()
    revs: tuple[str, ...] = ()
    num: int = 1
    everything: bool = False
    keep: bool = False


def select(project: Project, selection: Selection) -> list[ExpRef]:
    """The experiments a selection names (default: HEAD's); with ``keep`` all others. Unknown names raise together."""
    repo = project.require_git()
    known = names.all_experiments(repo)
    if selection.names:
        chosen, wrong = [], []
        for name in selection.names:
            try:
                chosen.append(names.find(project, name))
            except ExperimentError as error:
                if "several" in error.message or len(selection.names) == 1:
                    raise
                wrong.append(name)
        if wrong:
            listed = ", ".join(f"'{name}'" for name in wrong)
            raise ExperimentError(f"these are not names of experiments: {listed}", hint="see them: pyexp exp list -A")
    elif selection.everything:
        chosen = known
    else:
        scope = collect.Scope(revs=selection.revs, num=selection.num)
        wanted = set(collect.baselines(project, scope))
        chosen = [exp for exp in known if exp.baseline in wanted]
    if selection.keep:
        kept = {exp.ref for exp in chosen}
        return [exp for exp in known if exp.ref not in kept]
    return chosen
