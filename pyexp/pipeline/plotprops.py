"""How an output is drawn, changed in its dvc.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyexp.errors import PyexpError
from pyexp.formats import dvcyaml
from pyexp.model import StageSpec
from pyexp.pipeline.load import open_workspace
from pyexp.records import replace

if TYPE_CHECKING:
    from pyexp.project import Project

# In the order in which DVC writes them.
NAMES = ("template", "x", "y", "x_label", "y_label", "title", "header")


def modify(project: Project, relpath: str, props: Mapping[str, Any], unset: Sequence[str] | None) -> StageSpec:
    """Takes properties out of an output's, then sets others, and writes its dvc.yaml; what was no plot becomes one.

    Returns the stage. Raises PyexpError for what no stage of a dvc.yaml makes, and for a property that is not there.
    """
    pipeline = open_workspace(project)
    for path, stage, out in pipeline.outs():
        if path != relpath:
            continue
        if stage.name is None:
            raise PyexpError(f"'{relpath}' is tracked by {stage.file}, which has no plots", hint="draw it: plots show")
        if unset is not None and out.kind != "plot":
            raise PyexpError(f"'{relpath}' is no plot", hint="make it one: pyexp plots modify without --unset")
        missing = [name for name in unset or () if name not in out.plot]
        if missing:
            raise PyexpError(f"the plot '{relpath}' has no {', '.join(missing)}", hint=f"see {stage.file}")
        kept = {name: value for name, value in out.plot.items() if name not in (unset or ())}
        merged = {**kept, **props}
        changed = replace(out, kind="plot", plot={name: merged[name] for name in NAMES if name in merged})
        spec = replace(stage, outs=tuple(changed if other is out else other for other in stage.outs))
        text = project.read_text(stage.file) or ""
        project.write_text(stage.file, dvcyaml.replace_stage(text, stage.file, spec))
        return spec
    raise PyexpError(f"no stage makes '{relpath}'", hint="see what stages make: pyexp stage list --all")
