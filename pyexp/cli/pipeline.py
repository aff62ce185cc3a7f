"""``repro``, ``stage``, ``dag``, ``freeze`` and ``unfreeze``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pyexp.cli import dagview
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened
from pyexp.cli.repro_options import add_repro_options, repro_options
from pyexp.cli.shared_options import positive
from pyexp.cli.tracking import track
from pyexp.errors import PyexpError, UsageError
from pyexp.formats import dvcyaml
from pyexp.model import OutSpec, ParamSpec, StageSpec
from pyexp.paths import printable
from pyexp.pipeline import plan, record, repro
from pyexp.pipeline.load import PIPELINE_FILE, Pipeline, open_workspace, path_from, resolve, seen_from
from pyexp.records import replace


def add_repro(parser: ArgumentParser) -> None:
    add_repro_options(parser)
    parser.add_argument("-j", "--jobs", type=positive, default=1, metavar="N", help="how many stages at a time")
    parser.add_argument("--glob", action="store_true", help="targets are patterns of stage names")
    parser.add_argument("--no-run-cache", action="store_true", help="run even what has been run before")
    parser.add_argument("--no-commit", action="store_true", help="do not put outputs into the cache")
    parser.set_defaults(run=_repro)


def _repro(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        options = repro_options(
            where, args, jobs=args.jobs, glob=args.glob, run_cache=not args.no_run_cache, commit=not args.no_commit
        )
        console.cwd = where.cwd
        result = repro.repro(where.project, options, on_event=console.event)
        if not result.changed and not result.written:
            console.info("Data and pipelines are up to date.")
        track(where, console, result.written)
    return 0


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def add_stage_add(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--name", required=True, help="the stage's name")
    parser.add_argument("-d", "--deps", action="append", default=[], metavar="PATH", help="a dependency")
    parser.add_argument("-p", "--params", action="append", default=[], metavar="[FILE:]KEYS", help="params: a,b.c")
    parser.add_argument("-o", "--outs", action="append", default=[], metavar="PATH", help="an output")
    parser.add_argument("-O", "--outs-no-cache", action="append", default=[], metavar="PATH", help="an output for git")
    parser.add_argument(
        "--outs-persist", action="append", default=[], metavar="PATH", help="an output a run goes on from"
    )
    parser.add_argument("--outs-persist-no-cache", action="append", default=[], metavar="PATH", help="the same for git")
    parser.add_argument("-m", "--metrics", action="append", default=[], metavar="PATH", help="a metrics file")
    parser.add_argument("-M", "--metrics-no-cache", action="append", default=[], metavar="PATH", help="one for git")
    parser.add_argument("--plots", action="append", default=[], metavar="PATH", help="a plots file")
    parser.add_argument("--plots-no-cache", action="append", default=[], metavar="PATH", help="a plots file for git")
    parser.add_argument("-w", "--wdir", help="the directory the command runs in")
    parser.add_argument("--always-changed", action="store_true", help="run it every time")
    parser.add_argument("--desc", help="what the stage is for")
    parser.add_argument("-f", "--force", action="store_true", help="replace a stage of that name")
    parser.add_argument("--run", dest="run_now", action="store_true", help="run it at once")
    parser.add_argument("command", nargs="...", help="the command")
    parser.set_defaults(run=_stage_add)


def _stage_add(args: Namespace, console: Console) -> int:
    command = _command_line(args.command)
    if not command:
        raise UsageError("the stage has no command", hint="write it last: pyexp stage add -n NAME … COMMAND")
    dvcyaml.check_stage_name(args.name)
    with opened(args) as where:
        project = where.project
        file = f"{where.cwd}/{PIPELINE_FILE}" if where.cwd else PIPELINE_FILE
        spec = StageSpec(
            file=file,
            name=args.name,
            cmd=command,
            wdir=project.relpath(args.wdir, args.cwd) if args.wdir else where.cwd,
            deps=tuple(args.deps),
            params=_params(args.params),
            outs=_outs(args),
            always_changed=args.always_changed,
            desc=args.desc,
        )
        with project.lock(console.event):
            text = project.read_text(file)
            known = file in (pipeline := open_workspace(project)).files and args.name in pipeline.files[file].stages
            new = dvcyaml.add_stage(text, file, spec, force=args.force)
            _check_with(where, file, new)
        # Before dvc.yaml: a stage that is there cannot be added again, to do what was left.
        hidden = record.hide(project, spec)
        with project.lock(console.event):
            project.write_text(file, dvcyaml.add_stage(project.read_text(file), file, spec, force=args.force))
        console.info(f"{'Modified' if known else 'Added'} stage '{args.name}' in '{PIPELINE_FILE}'")
        written = [file, *hidden]
        if args.run_now:
            console.cwd = where.cwd
            options = repro.Options(targets=(args.name,), cwd=where.cwd)
            written += repro.repro(project, options, on_event=console.event).written
        track(where, console, written)
    return 0


def _command_line(words: list[str]) -> str:
    """The words as one command line: one with a blank and no double quote gets quotes (FORMATS.md §3.4)."""
    if words and words[0] == "--":
        words = words[1:]
    if len(words) == 1:
        return words[0]
    return " ".join(f'"{word}"' if not word or (" " in word and '"' not in word) else word for word in words)


def _params(texts: list[str]) -> tuple[ParamSpec, ...]:
    by_file: dict[str, list[str] | None] = {}
    for text in texts:
        file, colon, keys = text.rpartition(":")
        if not colon:
            file = "params.yaml"
        if colon and not keys:
            by_file[file] = None
            continue
        known = by_file.setdefault(file, [])
        if known is not None:
            known.extend(_listed(keys))
    return tuple(ParamSpec(file, None if keys is None else tuple(keys)) for file, keys in by_file.items())


def _outs(args: Namespace) -> tuple[OutSpec, ...]:
    outs = [OutSpec(path) for path in args.outs]
    outs += [OutSpec(path, cache=False) for path in args.outs_no_cache]
    outs += [OutSpec(path, persist=True) for path in args.outs_persist]
    outs += [OutSpec(path, persist=True, cache=False) for path in args.outs_persist_no_cache]
    outs += [OutSpec(path, kind="metric") for path in args.metrics]
    outs += [OutSpec(path, kind="metric", cache=False) for path in args.metrics_no_cache]
    outs += [OutSpec(path, kind="plot") for path in args.plots]
    outs += [OutSpec(path, kind="plot", cache=False) for path in args.plots_no_cache]
    return tuple(outs)


def _check_with(where: Opened, file: str, text: str) -> None:
    """The pipeline with the new stage must be a pipeline, before it is written."""
    parsed = dvcyaml.parse(text, file, read=where.project.read_text)
    now = open_workspace(where.project)
    stages = {address: spec for address, spec in now.stages.items() if spec.file != file}
    stages.update({spec.address: spec for spec in parsed.stages.values()})
    plan.graph(Pipeline(stages, now.locks, {**now.files, file: parsed}))


def add_stage_list(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="stages or files (default: this directory's dvc.yaml)")
    parser.add_argument("--all", action="store_true", help="every stage of the project")
    parser.add_argument("-R", "--recursive", action="store_true", help="every stage in the named directories")
    parser.add_argument("--name-only", "--names-only", action="store_true", help="print only names")
    parser.add_argument("--fail", action="store_true", help="fail at the first file that is wrong, not warn of it")
    parser.set_defaults(run=_stage_list)


def _stage_list(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        # Without --fail, of the whole project, what can be read is listed.
        pipeline = open_workspace(where.project, lenient=args.all and not args.fail)
        for error in pipeline.broken:
            console.warn(str(error))
        options = repro.Options(
            targets=tuple(args.targets), cwd=where.cwd, all_pipelines=args.all, recursive=args.recursive
        )
        # By file, as they are written there.
        place = {address: number for number, address in enumerate(pipeline.stages)}
        found = [pipeline.stages[address] for address in sorted(repro.chosen(pipeline, options), key=place.__getitem__)]
        found.sort(key=lambda spec: spec.file)
    names = [printable(seen_from(spec.address, where.cwd)) for spec in found]
    width = max(map(len, names), default=0)
    for name, spec in zip(names, found):
        console.out(name if args.name_only else f"{name:<{width}}  {_about(spec)}")
    return 0


def _about(spec: StageSpec) -> str:
    if spec.desc:
        return printable(spec.desc.splitlines()[0][:80])
    outs = [out.path for out in spec.outs if out.kind == "out"]
    reports = [out.path for out in spec.outs if out.kind != "out"]
    parts = [f"Outputs {', '.join(outs)}"] if outs else []
    parts += [f"Reports {', '.join(reports)}"] if reports else []
    if not parts and spec.deps:
        parts = [f"Depends on {', '.join(spec.deps)}"]
    text = "; ".join(parts) or "No outputs or dependencies"
    return printable(text if len(text) <= 80 else text[:77] + "...")


def add_dag(parser: ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", help="a stage: draw what it needs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--dot", action="store_true", help="print Graphviz' DOT")
    form.add_argument("--mermaid", action="store_true", help="print Mermaid")
    form.add_argument("--md", action="store_true", help="print Mermaid in a markdown block")
    parser.add_argument("--full", action="store_true", help="with a stage: everything connected to it")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-o", "--outs", action="store_true", help="draw outputs instead of stages")
    what.add_argument(
        "--collapse-foreach-matrix", action="store_true", help="draw one box for the stages of a foreach or matrix"
    )
    parser.set_defaults(run=_dag)


def _dag(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        pipeline = open_workspace(where.project)
        graph = plan.graph(pipeline)
        chosen = list(pipeline.stages)
        if args.target:
            named = [found.stage for found in resolve(pipeline, args.target, where.cwd)]
            chosen = plan.order(pipeline, graph, named, whole=args.full)
    if args.outs:
        nodes, edges = dagview.outputs(pipeline, graph, chosen)
    else:
        nodes, edges = dagview.stages(graph, chosen, collapse=args.collapse_foreach_matrix)
    seen = path_from if args.outs else seen_from
    names = {node: printable(seen(node, where.cwd)) for node in nodes}
    nodes, edges = [names[node] for node in nodes], [(names[a], names[b]) for a, b in edges]
    if args.dot:
        console.out(dagview.dot(nodes, edges))
    elif args.mermaid or args.md:
        text = dagview.mermaid(nodes, edges)
        console.out(f"```mermaid\n{text}\n```" if args.md else text)
    else:
        console.out(dagview.boxes(nodes, edges))
    return 0


def add_freeze(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help="stages or .dvc files")
    parser.set_defaults(run=lambda args, console: _set_frozen(args, console, True))


def add_unfreeze(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="+", help="stages or .dvc files")
    parser.set_defaults(run=lambda args, console: _set_frozen(args, console, False))


def _set_frozen(args: Namespace, console: Console, frozen: bool) -> int:
    with opened(args) as where:
        pipeline = open_workspace(where.project)
        files: dict[str, None] = {}
        for target in args.targets:
            for named in resolve(pipeline, target, where.cwd, outs=False):
                spec = pipeline.stages[named.stage]
                files[spec.file] = None
                if spec.is_import:  # repro and status look for newer data of one that is not frozen
                    record.write(where.project, [(replace(spec, frozen=frozen), pipeline.lock(named.stage))])
                    continue
                if spec.name is None:
                    raise PyexpError(f"'{spec.file}' is data, which is never run", hint="freeze the stages that use it")
                with where.project.lock(console.event):
                    text = where.project.read_text(spec.file) or ""
                    name = spec.name.partition("@")[0]
                    where.project.write_text(spec.file, dvcyaml.set_flag(text, spec.file, name, "frozen", frozen))
        track(where, console, files)
    return 0


COMMANDS = {
    "repro": add_repro,
    "stage add": add_stage_add,
    "stage list": add_stage_list,
    "dag": add_dag,
    "freeze": add_freeze,
    "unfreeze": add_unfreeze,
}
