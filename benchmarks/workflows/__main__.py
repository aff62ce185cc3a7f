"""python -m workflows [--quick] [--only WORD] [--list]: measures, prints the table, writes RESULTS.md."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from workflows import data, experiments, measure, sharing, stages, startup, table
from workflows.bench import Result, bench
from workflows.space import PYEXP, Tool, find_dvc

RESULTS = Path(__file__).resolve().parent.parent / "RESULTS.md"
WORKLOADS = [*startup.WORKLOADS, *data.WORKLOADS, *stages.WORKLOADS, *experiments.WORKLOADS, *sharing.WORKLOADS]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measures pyexp beside DVC and the machine.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds: under three minutes")
    parser.add_argument("--only", metavar="WORD", help="only workloads with this in their name; writes no file")
    parser.add_argument("--no-dvc", action="store_true", help="only pyexp and the limits")
    parser.add_argument("--list", action="store_true", help="name the workloads")
    parser.add_argument(
        "--dir", help="where to make the directories to measure in (default: the system's for temporary files)"
    )
    args = parser.parse_args(argv)
    chosen = [workload for workload in WORKLOADS if args.only is None or args.only in workload.titled(workload.size)]
    if args.list:
        print("\n".join(workload.titled(workload.size) for workload in chosen))
        return 0
    dvc = None if args.no_dvc else find_dvc()
    started = time.monotonic()
    results, failed = _measure(chosen, dvc, args.dir, quick=args.quick)
    text = _page(results, failed, dvc, time.monotonic() - started, quick=args.quick)
    print(text)
    if args.only is None and not args.quick and dvc is not None:
        RESULTS.write_text(text)
    return 1 if failed else 0


def _measure(
    chosen: Sequence[startup.Workload], dvc: Tool | None, where: str | None, *, quick: bool
) -> tuple[list[Result], list[str]]:
    measure.adopt_orphans()
    results: list[Result] = []
    failed: list[str] = []
    done: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="bench", dir=where) as top:
        for workload in chosen:
            title = workload.titled(workload.quick if quick else workload.size)
            if title in done:  # sizes that differ in full may be the same in quick
                continue
            done.add(title)
            began = time.monotonic()
            try:
                results.append(bench(workload, dvc, quick=quick, top=Path(top)))
            except measure.Failed as error:
                failed.append(f"{title}: {error}")
            print(f"{time.monotonic() - began:6.1f} s  {title}", file=sys.stderr, flush=True)
    return results, failed


def _page(results: list[Result], failed: list[str], dvc: Tool | None, took: float, *, quick: bool) -> str:
    missed = table.reasons(results)
    parts = [
        "# Benchmarks\n",
        f"{time.strftime('%Y-%m-%d')}, {_machine()}; {_versions(dvc)}. Made by `make bench`"
        f"{' --quick' if quick else ''} in {took / 60:.0f} minutes.\n",
        "Each figure is **CPU seconds · wall seconds · peak MB** of a whole command, the median of runs taken in turn"
        " (pyexp, DVC, limit, pyexp, …) on files in the page cache. CPU seconds count every process the command starts."
        " Ratios are by CPU · by wall. Growth is against a tenth of the size, or as the line says. `reached` is about the"
        " figure set for the line (CPU, or wall for large files) and about memory, which must not exceed DVC's.\n",
        "Wall times are as noisy as the machine is shared: look at the ratios, not at the second digit.\n",
        table.markdown(results) + "\n",
    ]
    if missed:
        parts += ["## Not reached\n", missed + "\n"]
    if failed:
        parts += ["## Failed\n", "\n".join(f"- {line}" for line in failed) + "\n"]
    return "\n".join(parts)


def _machine() -> str:
    model = platform.processor() or platform.machine()
    with_model = Path("/proc/cpuinfo")
    if with_model.exists():
        lines = [line for line in with_model.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} cores ({model})"


def _versions(dvc: Tool | None) -> str:
    found = [f"Python {platform.python_version()}"]
    for name, argv in (("pyexp", PYEXP.argv), ("DVC", dvc.argv if dvc else None), ("git", ("git",))):
        if argv is not None:
            said = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True).stdout
            found.append(f"{name} {said.split()[-1]}")
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
