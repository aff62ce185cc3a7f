"""The options ``repro`` and ``exp run`` share."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from pyexp.cli.opening import Opened
from pyexp.pipeline import repro
from pyexp.pipeline.load import seen_from


def add_repro_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="*", help="stages, dvc.yaml or .dvc files (default: this directory's dvc.yaml)"
    )
    parser.add_argument("-f", "--force", action="store_true", help="run stages even if nothing changed")
    parser.add_argument("-i", "--interactive", action="store_true", help="ask before each stage")
    parser.add_argument("-s", "--single-item", action="store_true", help="only the named stages, not what they need")
    parser.add_argument("-p", "--pipeline", action="store_true", help="every stage connected to the named ones")
    parser.add_argument("-P", "--all-pipelines", action="store_true", help="every stage of the project")
    parser.add_argument("-R", "--recursive", action="store_true", help="every stage in the named directories")
    parser.add_argument("--downstream", action="store_true", help="the named stages and all that need them")
    parser.add_argument("--force-downstream", action="store_true", help="run what needs a stage that ran")
    parser.add_argument("--pull", action="store_true", help="fetch missing data from the remote")
    parser.add_argument("--allow-missing", action="store_true", help="data that is only missing is no reason to run")
    parser.add_argument("--dry", action="store_true", help="say what would run, and why")
    parser.add_argument(
        "-k", "--keep-going", action="store_true", help="after a failure go on with what does not need it"
    )
    parser.add_argument("--ignore-errors", action="store_true", help="after a failure go on with everything")


def repro_options(where: Opened, args: Namespace, **more: Any) -> repro.Options:
    """The options as the pipeline takes them."""
    confirm = None
    # Elsewhere, or later, there is nobody to ask.
    here = not (getattr(args, "queue", False) or getattr(args, "temp", False) or args.dry)
    if args.interactive or (here and where.project.config.get_bool("core.interactive")):

        def confirm(stage: str) -> bool:
            name = seen_from(stage, where.cwd)
            try:
                answer = input(f"Going to reproduce stage '{name}'. Are you sure you want to continue? [y/n] ")
            except EOFError:
                return False
            return answer.strip().lower() in ("y", "yes")

    return repro.Options(
        targets=tuple(args.targets),
        cwd=where.cwd,
        force=args.force,
        single_item=args.single_item,
        downstream=args.downstream,
        force_downstream=args.force_downstream,
        pipeline=args.pipeline,
        all_pipelines=args.all_pipelines,
        recursive=args.recursive,
        dry=args.dry,
        keep_going=args.keep_going,
        ignore_errors=args.ignore_errors,
        pull=args.pull,
        allow_missing=args.allow_missing,
        confirm=confirm,
        **more,
    )
