"""``plots show``, ``plots diff``, ``plots modify`` and ``plots templates``."""

from __future__ import annotations

import argparse
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pyexp.cli import tables
from pyexp.cli.console import Console
from pyexp.cli.opening import Opened, opened, opened_anywhere
from pyexp.cli.plotpage import PAGE, Folder, template_text, write
from pyexp.errors import PyexpError
from pyexp.experiments import plots, plottemplates
from pyexp.experiments.collect import WORKSPACE
from pyexp.experiments.plots import Plot, Problem, Request
from pyexp.formats import vegatemplates
from pyexp.formats.vegatemplates import Template
from pyexp.paths import printable
from pyexp.pipeline import plotprops

DEFAULT_OUT = "dvc_plots"


def _add_props(parser: ArgumentParser) -> None:
    parser.add_argument("-t", "--template", metavar="NAME", help="a template: one of ours, your own, or a file")
    parser.add_argument("-x", metavar="FIELD", help="the field on the x axis")
    parser.add_argument("-y", metavar="FIELD", help="the field on the y axis")
    parser.add_argument(
        "--no-header", dest="header", action="store_false", default=None, help="CSV or TSV without a header line"
    )
    parser.add_argument("--title", metavar="TEXT", help="the title")
    parser.add_argument("--x-label", metavar="TEXT", help="what stands at the x axis")
    parser.add_argument("--y-label", metavar="TEXT", help="what stands at the y axis")


def _add_output(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--out", metavar="DIR", help=f"the page's directory (default: {DEFAULT_OUT})")
    parser.add_argument("--show-vega", action="store_true", help="print the Vega-Lite of one plot instead")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--split", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--html-template", metavar="FILE", help="an HTML file with {plot_divs} where the plots belong")


def add_plots_show(parser: ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", help="plots of dvc.yaml, or files (default: all plots)")
    _add_props(parser)
    _add_output(parser)
    parser.set_defaults(run=_show)


def add_plots_diff(parser: ArgumentParser) -> None:
    parser.add_argument("revisions", nargs="*", help="git revisions or experiments (default: HEAD and the workspace)")
    parser.add_argument("--targets", nargs="*", default=[], metavar="PLOT", help="only these plots or files")
    parser.add_argument("-e", "--experiment", action="store_true", help=argparse.SUPPRESS)
    _add_props(parser)
    _add_output(parser)
    parser.set_defaults(run=_diff)


def _show(args: Namespace, console: Console) -> int:
    _check(args)
    with opened_anywhere(args) as where:
        return _drawn(where, args, console, [WORKSPACE])


def _diff(args: Namespace, console: Console) -> int:
    _check(args)
    with opened_anywhere(args) as where:
        return _drawn(where, args, console, plots.compared(where.project, args.revisions, experiment=args.experiment))


def _check(args: Namespace) -> None:
    if args.show_vega and len(args.targets) != 1:
        raise PyexpError("--show-vega prints one plot", hint="name it: pyexp plots show --show-vega PLOT")
    if args.show_vega and args.json:
        raise PyexpError("--show-vega and --json are two ways to print", hint="leave out one of them")


def _props(args: Namespace) -> dict[str, Any]:
    return {name: value for name in plotprops.NAMES if (value := getattr(args, name)) is not None}


def _drawn(where: Opened, args: Namespace, console: Console, revs: Sequence[str]) -> int:
    request = Request(tuple(args.targets), _props(args), where.cwd)
    found, problems = plots.pictures(plots.collect(where.project, request, revs))
    if args.json:
        console.out(tables.to_json(_as_json(where, args, found, problems)))
        return 0
    for problem in problems:
        hint = f" - {problem.error.hint}" if problem.error.hint else ""
        console.warn(f"{problem.rev}: {problem.error}{hint}")
    if args.show_vega:
        first = next((plot for plot in found if not plot.is_image), None)
        if first is not None:
            console.out(tables.to_json(_spec(where, args, first)[0]))
        return 0
    if found:
        _write_page(where, args, console, found)
    elif not problems:
        console.warn("there are no plots, and no page is written")
    return 0


def _template(where: Opened, args: Namespace, plot: Plot) -> Template | None:
    if plot.picture is None:
        return None
    return plottemplates.find(where.project, plot.picture.props.get("template"), args.cwd)


def _spec(where: Opened, args: Namespace, plot: Plot, *, split: bool = False) -> tuple[Any, dict[str, Any]]:
    template = _template(where, args, plot)
    if plot.picture is None or template is None:
        return {}, {}
    return vegatemplates.filled(template, plot.picture, split=split)


# -- JSON ------------------------------------------------------------------------------------------------------------


def _as_json(where: Opened, args: Namespace, found: Iterable[Plot], problems: Iterable[Problem]) -> dict[str, Any]:
    """As DVC has it: the drawings of each plot, and errors where there are any."""
    folder: Folder | None = None
    data: dict[str, Any] = {}
    for plot in found:
        if plot.images and folder is None:
            folder = Folder(_out(where, args))
        if plot.is_image:
            data[plot.name] = [
                {"type": "image", "revisions": [image.rev], "url": folder.keep(image) if folder else None}
                for image in plot.images
            ]
        else:
            data[plot.name] = _vega_json(where, args, plot)
    errors = [
        {
            **({"name": problem.plot} if problem.plot is not None else {}),
            "rev": problem.rev,
            **({"source": problem.source} if problem.source is not None else {}),
            "type": type(problem.error).__name__,
            "msg": str(problem.error),
        }
        for problem in problems
    ]
    return {key: value for key, value in (("errors", errors), ("data", data)) if value}


def _vega_json(where: Opened, args: Namespace, plot: Plot) -> list[dict[str, Any]]:
    if plot.picture is None:
        return []
    spec, beside = _spec(where, args, plot, split=args.split)
    drawn: dict[str, Any] = {"type": "vega", "revisions": list(plot.picture.revs), "content": spec}
    if args.split:
        drawn["anchor_definitions"] = beside
    return [drawn]


# -- the page --------------------------------------------------------------------------------------------------------


def _out(where: Opened, args: Namespace) -> str:
    """The directory of the page; only a user who names it may let it be outside of the project. Raises PyexpError."""
    project = where.project
    wanted = args.out or project.config.get("plots.out_dir") or DEFAULT_OUT
    path = os.path.realpath(os.path.join(args.cwd, wanted))
    if not args.out:
        try:
            project.relpath(path)
        except PyexpError as error:
            raise PyexpError(f"plots.out_dir: {error}", hint="if that is what you want, say so: -o DIR") from error
    if os.path.lexists(path) and not os.path.isdir(path):
        raise PyexpError(f"'{wanted}' is a file", hint="name another directory: -o DIR")
    return path


def _page_template(where: Opened, args: Namespace) -> str:
    configured = where.project.config.get("plots.html_template")
    if args.html_template:
        return template_text(os.path.join(args.cwd, args.html_template))
    return template_text(os.path.join(where.project.control, configured) if configured else None)


def _write_page(where: Opened, args: Namespace, console: Console, found: Iterable[Plot]) -> None:
    page = _page_template(where, args)
    out = _out(where, args)
    drawn = [(plot, _template(where, args, plot)) for plot in found]
    address = Path(write(drawn, out, page)).as_uri()
    console.out(address)
    automatic = where.project.config.get_bool("plots.auto_open")
    if args.open or automatic:
        import webbrowser  # seldom wanted

        if not webbrowser.open(address):
            raise PyexpError("no browser could be started", hint=f"open {PAGE} yourself: {address}")
        if not automatic:
            console.info("To have every page opened: pyexp config plots.auto_open true")


# -- the other two ---------------------------------------------------------------------------------------------------


def add_plots_modify(parser: ArgumentParser) -> None:
    parser.add_argument("target", help="an output of a stage")
    _add_props(parser)
    parser.add_argument("--unset", nargs="*", default=None, metavar="PROPERTY", help="properties to take out")
    parser.set_defaults(run=_modify)


def _modify(args: Namespace, console: Console) -> int:
    with opened(args) as where:
        if args.template:
            plottemplates.find(where.project, args.template, args.cwd)
        relpath = where.project.relpath(args.target, args.cwd)
        with where.project.lock(console.event):
            spec = plotprops.modify(where.project, relpath, _props(args), args.unset)
        console.info(f"Modifying stage '{printable(spec.name or '')}' in '{printable(os.path.basename(spec.file))}'")
    return 0


def add_plots_templates(parser: ArgumentParser) -> None:
    parser.add_argument("template", nargs="?", help="print this one (default: the names of all)")
    parser.set_defaults(run=_templates)


def _templates(args: Namespace, console: Console) -> int:
    if args.template is None:
        console.out("\n".join(vegatemplates.BUILTIN))
        return 0
    found = vegatemplates.builtin(args.template)
    if found is None:
        raise PyexpError(f"there is no built-in template '{args.template}'", hint="see them all: pyexp plots templates")
    console.out(tables.to_json(found.spec))
    return 0


COMMANDS = {
    "plots show": add_plots_show,
    "plots diff": add_plots_diff,
    "plots modify": add_plots_modify,
    "plots templates": add_plots_templates,
}
