"""What a reproduction is asked for, what its stages run in, and what came of it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Mapping

from pyexp.errors import PyexpError
from pyexp.model import StageLock
from pyexp.pipeline import command
from pyexp.pipeline.load import PIPELINE_FILE, Pipeline, resolve
from pyexp.records import dataclass, field


@dataclass(frozen=True)
class Options:
    """How to reproduce; the names are those of ``repro``'s options."""

    targets: tuple[str, ...] = ()
    cwd: str = ""
    force: bool = False
    single_item: bool = False
    downstream: bool = False
    force_downstream: bool = False
    pipeline: bool = False
    all_pipelines: bool = False
    recursive: bool = False
    glob: bool = False
    dry: bool = False
    keep_going: bool = False
    ignore_errors: bool = False
    run_cache: bool = True
    commit: bool = True
    pull: bool = False
    allow_missing: bool = False
    jobs: int = 1
    # Asked before a stage is run; False gives the whole run up.
    confirm: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class Surroundings:
    """What the stages' commands run in; ``sink`` None lets them write where we do.

    ``hold`` are descriptors of locks that must not be free before the last command has ended. ``terminal`` feeds the
    sink through a pseudo-terminal.
    """

    env: Mapping[str, str] | None = None
    sink: command.Sink | None = None
    stop: Callable[[], bool] | None = None
    timeout: float | None = None
    stdin_null: bool = False
    terminal: bool = False
    hold: tuple[int, ...] = ()


@dataclass
class Result:
    """What happened, by address, in order; ``locks`` are the records of stages that ran or were restored.

    ``written`` are files for git that changed; ``checked`` every stage that was looked at.
    """

    checked: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    clean: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    would_run: list[str] = field(default_factory=list)
    locks: dict[str, StageLock] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.ran or self.restored or self.failed or self.would_run)


def chosen(pipeline: Pipeline, options: Options) -> list[str]:
    """The addresses the options name; by default all of the current directory's dvc.yaml."""
    if options.all_pipelines:
        return list(pipeline.stages)
    if options.recursive:
        directories = [os.path.normpath(os.path.join(options.cwd, target)) for target in options.targets or (".",)]
        return [
            address
            for address, stage in pipeline.stages.items()
            if any(top == "." or stage.file.startswith(f"{top}/") for top in directories)
        ]
    own = os.path.join(options.cwd, PIPELINE_FILE)
    if not options.targets:
        if own not in pipeline.files:
            data = [address for address, stage in pipeline.stages.items() if stage.is_data]
            if pipeline.files or not data:
                raise PyexpError(
                    f"there is no {own} here",
                    hint="name a stage, or make one: pyexp stage add -n NAME -d DEP -o OUT COMMAND",
                )
            return data
        return [stage.address for stage in pipeline.files[own].stages.values()]
    found: dict[str, None] = {}
    for target in options.targets:
        if options.glob:
            parsed = pipeline.files.get(own)
            names = fnmatch.filter(parsed.stages if parsed else (), target)
            if not names:
                raise PyexpError(f"no stage matches '{target}'", hint="see them: pyexp stage list")
            found.update((parsed.stages[name].address, None) for name in names if parsed)
        else:
            found.update((named.stage, None) for named in resolve(pipeline, target, options.cwd))
    return list(found)
