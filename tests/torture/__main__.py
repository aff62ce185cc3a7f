"""``python -m torture``: every point of every command, and a table of what came of it."""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path

from torture.cases import CASES
from torture.walk import KINDS, Bench, Result, walk


def _one(job: tuple[str, str, int, bool, str]) -> Result:
    kind, name, every, faults, top = job
    directory = Path(tempfile.mkdtemp(dir=top))
    bench = Bench(directory, kind)
    try:
        return walk(bench, next(case for case in CASES if case.name == name), every=every, faults=faults)
    except Exception as error:
        return Result(name, kind, violations=[f"{name} [{kind}]: the walk itself failed: {error!r}"])
    finally:
        bench.close()
        shutil.rmtree(directory)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of commands (default: all)")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="walks at a time")
    parser.add_argument("-k", "--kind", choices=KINDS, action="append", help="only that layout")
    parser.add_argument("-e", "--every", type=int, default=1, help="one point in so many")
    parser.add_argument("--no-faults", action="store_true", help="kills only")
    args = parser.parse_args()
    unknown = set(args.cases) - {case.name for case in CASES}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(case.name for case in CASES)}")
    names = args.cases or [case.name for case in CASES]
    memory = Path("/dev/shm")
    top = tempfile.mkdtemp(prefix="pyexp-torture-", dir=memory if memory.is_dir() else None)
    jobs = [(kind, name, args.every, not args.no_faults, top) for name in names for kind in args.kind or KINDS]
    print(f"{'command':<24}{'layout':<8}{'points':>7}{'kills':>7}{'faults':>8}{'violations':>12}{'s':>7}")
    results: list[Result] = []
    try:
        with multiprocessing.Pool(args.jobs) as pool:
            for result in pool.imap(_one, jobs):
                results.append(result)
                _print(result)
                print(*result.violations, sep="\n", end="\n" if result.violations else "", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    total = Result("all", "")
    for result in results:
        total.points += result.points
        total.kills += result.kills
        total.faults += result.faults
        total.violations += result.violations
        total.seconds += result.seconds
    _print(total)
    return 1 if total.violations else 0


def _print(result: Result) -> None:
    counts = f"{result.points:>7}{result.kills:>7}{result.faults:>8}{len(result.violations):>12}"
    print(f"{result.case:<24}{result.kind:<8}{counts}{result.seconds:>7.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
