"""Decides: in which order stages come, and whether one is out of date, with every reason. Pure: no I/O here."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pyexp.errors import GraphError
from pyexp.formats import values
from pyexp.model import Content, Entry, OutSpec, StageLock, StageSpec
from pyexp.pipeline.load import Pipeline
from pyexp.records import dataclass, field


@dataclass(frozen=True)
class Graph:
    """Who makes what, who needs whom; ``upstream`` and ``downstream`` hold direct neighbours, in file order."""

    upstream: Mapping[str, tuple[str, ...]]
    downstream: Mapping[str, tuple[str, ...]]


def graph(pipeline: Pipeline) -> Graph:
    """Connects stages by their paths in O(n log n).

    A stage needs the producer of a dep: the same path, a directory above it, or outputs below it. Frozen stages need
    nobody. Raises GraphError for two owners of one path, overlapping outputs and cycles.
    """
    producers = _producers(pipeline)
    paths = sorted(producers)
    upstream: dict[str, tuple[str, ...]] = {}
    downstream: dict[str, list[str]] = {address: [] for address in pipeline.stages}
    for address, stage in pipeline.stages.items():
        needs: dict[str, None] = {}
        if not (stage.frozen or _is_of_repository(pipeline, stage)):
            for relpath in _needed_paths(stage):
                for producer in _makers(relpath, producers, paths):
                    needs[producer] = None
        if address in needs:
            raise GraphError(
                f"stage '{address}' needs what it makes itself",
                hint="a path cannot be both a dependency and an output of one stage",
            )
        upstream[address] = tuple(needs)
        for producer in needs:
            downstream[producer].append(address)
    found = Graph(upstream, {address: tuple(users) for address, users in downstream.items()})
    _depth_first(pipeline.stages, upstream)
    return found


def _is_of_repository(pipeline: Pipeline, stage: StageSpec) -> bool:
    """Whether a stage is an import whose dep is a path of another repository."""
    return stage.is_import and any("repo" in dep.extra for dep in pipeline.lock(stage.address).deps)


def _needed_paths(stage: StageSpec) -> Iterable[str]:
    yield from (stage.relpath(dep) for dep in stage.deps)
    yield from (stage.relpath(spec.file) for spec in stage.params)


def _producers(pipeline: Pipeline) -> dict[str, str]:
    producers: dict[str, str] = {}
    for relpath, stage, _ in pipeline.outs():
        other = producers.setdefault(relpath, stage.address)
        if other != stage.address:
            raise GraphError(
                f"output '{relpath}' is made by two stages: {other} and {stage.address}",
                hint="an output has one owner: take it out of one of them",
            )
    ordered = sorted(producers)
    for relpath in ordered:
        for below in _below(relpath, ordered):
            raise GraphError(
                f"outputs overlap: '{below}' ({producers[below]}) is inside '{relpath}' ({producers[relpath]})",
                hint="keep the outputs of stages in directories of their own",
            )
    return producers


def _below(relpath: str, ordered: list[str]) -> Iterable[str]:
    start = bisect.bisect_left(ordered, f"{relpath}/")
    for index in range(start, len(ordered)):
        if not ordered[index].startswith(f"{relpath}/"):
            break
        yield ordered[index]


def _makers(relpath: str, producers: Mapping[str, str], ordered: list[str]) -> Iterable[str]:
    above = relpath
    while True:
        if above in producers:
            yield producers[above]
            return
        above, slash, _ = above.rpartition("/")
        if not slash:
            break
    for below in _below(relpath, ordered):
        yield producers[below]


def _depth_first(starts: Iterable[str], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Stages reachable from ``starts``, each after what it needs; raises GraphError naming a cycle. No recursion."""
    done: dict[str, bool] = {}
    ordered: list[str] = []
    for start in starts:
        if start in done:
            continue
        path: list[str] = [start]
        stack = [iter(needs.get(start, ()))]
        done[start] = False
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                finished = path.pop()
                done[finished] = True
                ordered.append(finished)
            elif child not in done:
                done[child] = False
                path.append(child)
                stack.append(iter(needs.get(child, ())))
            elif not done[child]:
                cycle = [*path[path.index(child) :], child]
                raise GraphError(
                    f"stages form a cycle: {' -> '.join(reversed(cycle))}",
                    hint="each needs what the other makes: take one dependency out",
                )
    return ordered


def order(
    pipeline: Pipeline,
    graph: Graph,
    targets: Iterable[str],
    *,
    single_item: bool = False,
    downstream: bool = False,
    whole: bool = False,
) -> list[str]:
    """The stages to look at for ``targets``, each after what it needs (FORMATS.md §6.2).

    Default: the targets and all they need. ``single_item``: only the targets; ``downstream``: the targets and all that
    needs them; ``whole``: every stage connected to them.
    """
    wanted = list(dict.fromkeys(targets))
    if single_item or downstream:
        chosen = set(wanted) if single_item else set(_depth_first(wanted, graph.downstream))
        return [address for address in _depth_first(pipeline.stages, graph.upstream) if address in chosen]
    if whole:
        both = {address: (*graph.upstream[address], *graph.downstream[address]) for address in pipeline.stages}
        connected = _connected(wanted, both)
        wanted = [address for address in pipeline.stages if address in connected]
    return _depth_first(wanted, graph.upstream)


def _connected(starts: list[str], neighbours: Mapping[str, tuple[str, ...]]) -> set[str]:
    seen, pending = set(starts), list(starts)
    while pending:
        for other in neighbours[pending.pop()]:
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return seen


def dependents(graph: Graph, address: str) -> set[str]:
    """Every stage that needs ``address``, directly or not."""
    return _connected([address], graph.downstream) - {address}


Word = Literal[
    "modified",
    "deleted",
    "new",
    "not in cache",
    "changed command",
    "always changed",
    "changed checksum",
    "update available",
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a stage is out of date: ``group`` is what changed, ``path`` and ``key`` where."""

    group: Literal["command", "deps", "outs", "always"]
    word: Word
    path: str = ""
    key: str = ""

    def __str__(self) -> str:
        if self.group == "command":
            return "its command changed"
        if self.group == "always":
            return "it always runs"
        if self.key:
            return f"param {self.key} of {self.path} is {self.word}"
        return f"{'output' if self.group == 'outs' else 'dependency'} {self.path} is {self.word}"


@dataclass(frozen=True)
class Observed:
    """What the workspace holds of a stage's paths, keyed as the stage writes them; params maps a file to its data.

    ``absent`` are outputs whose recorded objects are not in the cache.
    """

    deps: Mapping[str, Content | None] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    outs: Mapping[str, Content | None] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()


def same(recorded: Entry | None, found: Content | None) -> bool:
    """Whether what is there is what was recorded; the executable bit of an output does not count (FORMATS.md §7 #44)."""
    return recorded is not None and found is not None and recorded.oid == found.entry.oid


def input_reasons(stage: StageSpec, lock: StageLock, observed: Observed) -> list[Reason]:
    """Why a stage must run again, as far as its command, deps and params tell (FORMATS.md §6.1)."""
    reasons: list[Reason] = []
    if stage.always_changed or (stage.cmd is not None and not (stage.deps or stage.params or stage.outs)):
        reasons.append(Reason("always", "always changed"))
    if stage.cmd is not None and lock.cmd is not None and stage.cmd != lock.cmd:
        reasons.append(Reason("command", "changed command"))
    if stage.frozen or stage.is_import:  # whether an import's source has changed is asked where it is
        return reasons
    recorded = {entry.path: entry.entry for entry in lock.deps}
    for dep in stage.deps:
        if observed.deps.get(dep) is None:
            reasons.append(Reason("deps", "deleted", dep))
        elif not same(recorded.get(dep), observed.deps[dep]):
            reasons.append(Reason("deps", "modified", dep))
    for spec in stage.params:
        reasons.extend(_param_reasons(spec.file, spec.keys, lock.params.get(spec.file), observed.params.get(spec.file)))
    return reasons


def _param_reasons(
    file: str, keys: tuple[str, ...] | None, recorded: Mapping[str, Any] | None, found: Mapping[str, Any] | None
) -> Iterable[Reason]:
    if found is None:
        yield Reason("deps", "deleted", file)
        return
    if recorded is None:
        yield Reason("deps", "new", file)
        return
    for key in keys if keys is not None else sorted({*found, *recorded}, key=str):
        value = values.select(found, key) if keys is not None else found.get(key, values.MISSING)
        if value is values.MISSING:
            yield Reason("deps", "deleted", file, key)
        elif key not in recorded:
            yield Reason("deps", "new", file, key)
        elif not equal_values(recorded[key], value):
            yield Reason("deps", "modified", file, key)


def equal_values(a: Any, b: Any) -> bool:
    """Param equality as DVC has it: ``1 == 1.0 == True``, a tuple equals its list, NaN equals nothing."""
    if isinstance(a, float) and math.isnan(a):
        return False
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal_values, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal_values(a[key], b[key]) for key in a)
    return bool(a == b)


def output_reasons(stage: StageSpec, lock: StageLock, observed: Observed) -> list[Reason]:
    """What is wrong with a stage's outputs: each is as recorded, or gets a reason."""
    recorded = {entry.path: entry.entry for entry in lock.outs}
    return [
        Reason("outs", word, out.path)
        for out in stage.outs
        if (word := _output_word(out, recorded.get(out.path), observed)) is not None
    ]


def _output_word(out: OutSpec, recorded: Entry | None, observed: Observed) -> Word | None:
    found = observed.outs.get(out.path)
    if recorded is not None and out.path in observed.absent:
        return "not in cache"
    if found is None:
        return "deleted"
    return None if same(recorded, found) else "modified"
