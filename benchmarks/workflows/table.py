"""The one table: Markdown, with what was reached and, where it was not, why."""

from collections.abc import Iterable, Sequence

from workflows.bench import Result
from workflows.measure import Cost

HEAD = ("workload", "pyexp", "DVC", "DVC / pyexp", "limit", "pyexp / limit", "growth", "reached")


def seconds(cost: Cost) -> str:
    """CPU seconds, wall seconds, peak memory."""
    return f"{cost.cpu:.2f} · {cost.wall:.2f} · {cost.peak_mb:.0f}"


def ratio(above: Cost | None, below: Cost | None) -> str:
    """How many times: by CPU seconds, by wall seconds."""
    if above is None or below is None:
        return ""
    return f"{_times(above.cpu, below.cpu)} · {_times(above.wall, below.wall)}"


def _times(above: float, below: float) -> str:
    times = above / max(below, 0.001)
    return f"{times:.2f}" if times < 10 else f"{times:.0f}"


def misses(result: Result) -> list[str]:
    """The figures that were not reached, one sentence each."""
    found, workload, ours = [], result.workload, result.pyexp
    pick = (lambda cost: cost.wall) if workload.by_wall else (lambda cost: cost.cpu)
    if workload.aim is not None and result.dvc is not None and pick(result.dvc) < workload.aim * pick(ours):
        found.append(f"DVC / pyexp is {pick(result.dvc) / pick(ours):.1f}, not {workload.aim:g}")
    if (
        workload.limit_aim is not None
        and result.limit is not None
        and pick(ours) > workload.limit_aim * pick(result.limit)
    ):
        found.append(f"pyexp / limit is {pick(ours) / pick(result.limit):.2f}, not {workload.limit_aim:g}")
    if (
        workload.growth_aim is not None
        and result.smaller is not None
        and ours.cpu > workload.growth_aim * result.smaller.cpu
    ):
        found.append(f"growth is {ours.cpu / result.smaller.cpu:.2f}, not {workload.growth_aim:g}")
    if result.dvc is not None and ours.peak_mb > result.dvc.peak_mb:
        found.append(f"peak memory is {ours.peak_mb:.0f} MB, DVC's {result.dvc.peak_mb:.0f}")
    return found


def row(result: Result) -> tuple[str, ...]:
    """One line of the table."""
    workload = result.workload
    has_aim = any((workload.aim and result.dvc, workload.limit_aim, workload.growth_aim))
    limit = "" if result.limit is None or workload.limit is None else f"{workload.limit.name}: {seconds(result.limit)}"
    missed = misses(result)
    return (
        workload.titled(result.size),
        seconds(result.pyexp),
        seconds(result.dvc) if result.dvc else "",
        ratio(result.dvc, result.pyexp),
        limit,
        ratio(result.pyexp, result.limit),
        ratio(result.pyexp, result.smaller),
        "no" if missed else "yes" if has_aim else "",
    )


def markdown(results: Iterable[Result]) -> str:
    """The table, its columns aligned."""
    return _aligned([HEAD, *map(row, results)])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def reasons(results: Iterable[Result]) -> str:
    """What was not reached, and why, as a list."""
    lines = []
    for result in results:
        for missed in misses(result):
            why = result.workload.why or "not looked into yet"
            lines.append(f"- {result.workload.titled(result.size)}: {missed}. {why}")
    return "\n".join(lines)
