"""Draws a graph of stages or outputs: DOT, Mermaid, or boxes of characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyexp.model import StageSpec
from pyexp.pipeline.load import Pipeline
from pyexp.pipeline.plan import Graph

Edge = tuple[str, str]
GAP = 2
ROWS_BETWEEN = 3


def stages(graph: Graph, chosen: Sequence[str], *, collapse: bool) -> tuple[list[str], list[Edge]]:
    """Nodes and edges (needed, needs) of stages; ``collapse`` makes one of each foreach or matrix group."""

    def shown(address: str) -> str:
        return address.partition("@")[0] if collapse else address

    inside = set(chosen)
    edges = [(shown(need), shown(address)) for address in chosen for need in graph.upstream[address] if need in inside]
    nodes = list(dict.fromkeys(map(shown, chosen)))
    return nodes, [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]


def outputs(pipeline: Pipeline, graph: Graph, chosen: Sequence[str]) -> tuple[list[str], list[Edge]]:
    """Nodes and edges of outputs: each comes from the outputs of the stages its stage needs."""
    made = {address: [spec.relpath(out.path) for out in spec.outs] for address, spec in pipeline.stages.items()}
    inside = set(chosen)
    edges = [
        (source, target)
        for address in chosen
        for need in graph.upstream[address]
        if need in inside
        for source in made[need]
        if _is_read(source, pipeline.stages[address])
        for target in made[address]
    ]
    return [path for address in chosen for path in made[address]], list(dict.fromkeys(edges))


def _is_read(out: str, stage: StageSpec) -> bool:
    """Whether a stage depends on an output, on something in it, or on a directory that it is in."""
    deps = [stage.relpath(dep) for dep in stage.deps]
    return any(dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/") for dep in deps)


def dot(nodes: Iterable[str], edges: Iterable[Edge]) -> str:
    def quoted(name: str) -> str:
        return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = [f"{quoted(node)};" for node in nodes] + [f"{quoted(a)} -> {quoted(b)};" for a, b in edges]
    return "\n".join(["strict digraph {", *lines, "}"])


def mermaid(nodes: Sequence[str], edges: Iterable[Edge]) -> str:
    ids = {node: f"node{number}" for number, node in enumerate(nodes, 1)}
    lines = [f'\t{ids[node]}["{node.replace(chr(34), "#quot;")}"]' for node in nodes]
    lines += [f"\t{ids[a]}-->{ids[b]}" for a, b in edges]
    return "\n".join(["flowchart TD", *lines])


# -- boxes -----------------------------------------------------------------------------------------------------------


def boxes(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """The drawings of all parts that are not joined to each other, one below the other, as DVC has them."""
    drawn = []
    for part in _parts(nodes, edges):
        inside = set(part)
        drawn.append(_boxes(part, [edge for edge in edges if edge[0] in inside]))
    return "\n".join(drawn)


def _parts(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """The connected parts of a graph, each in the order of ``nodes``."""
    joined: dict[str, set[str]] = {node: set() for node in nodes}
    for source, target in edges:
        joined[source].add(target)
        joined[target].add(source)
    seen: set[str] = set()
    parts = []
    for node in nodes:
        if node in seen:
            continue
        part, waiting = {node}, [node]
        while waiting:
            fresh = joined[waiting.pop()] - part
            part |= fresh
            waiting.extend(fresh)
        seen |= part
        parts.append([other for other in nodes if other in part])
    return parts


def _boxes(nodes: Sequence[str], edges: Sequence[Edge]) -> str:
    """Layers of boxes from top to bottom, joined by lines of ``*``.

    Each node stands one layer below the lowest node it needs (longest path layering); within a layer nodes are put
    near the middle of those they are joined to; an edge that spans layers keeps a column free in each.
    """
    layer = _layers(nodes, edges)
    rows: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    labels: dict[str, str | None] = {}
    for node in nodes:
        rows[layer[node]].append(node)
        labels[node] = node
    joined: list[Edge] = []
    for number, (source, target) in enumerate(edges):
        previous = source
        for level in range(layer[source] + 1, layer[target]):
            passing = f"\0{number}.{level}"
            rows[level].append(passing)
            labels[passing] = None
            joined.append((previous, passing))
            previous = passing
        joined.append((previous, target))
    rows = _untangled(rows, joined)
    return _drawn(rows, joined, labels)


def _layers(nodes: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    needs: dict[str, list[str]] = {node: [] for node in nodes}
    users: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        needs[target].append(source)
        users[source].append(target)
    waiting = {node: len(needs[node]) for node in nodes}
    layer = dict.fromkeys(nodes, 0)
    ready = [node for node in nodes if not waiting[node]]
    while ready:
        node = ready.pop()
        for user in users[node]:
            layer[user] = max(layer[user], layer[node] + 1)
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return layer


def _untangled(rows: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Orders each layer by the mean place of its neighbours, down and up a few times (the barycentre heuristic)."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for source, target in edges:
        above.setdefault(target, []).append(source)
        below.setdefault(source, []).append(target)
    for turn in range(4):
        neighbours = above if turn % 2 == 0 else below
        sequence = range(1, len(rows)) if turn % 2 == 0 else range(len(rows) - 2, -1, -1)
        for index in sequence:
            other = rows[index - 1 if turn % 2 == 0 else index + 1]
            place = {node: number for number, node in enumerate(other)}
            own = {node: number for number, node in enumerate(rows[index])}
            rows[index].sort(key=lambda node: _mean([place[x] for x in neighbours.get(node, ())], own[node]))
    return rows


def _mean(places: Sequence[int], default: float) -> float:
    return sum(places) / len(places) if places else default


def _drawn(rows: list[list[str]], edges: Sequence[Edge], labels: Mapping[str, str | None]) -> str:
    width = {node: len(label) + 4 if label is not None else 1 for node, label in labels.items()}
    totals = [sum(width[node] for node in row) + GAP * (len(row) - 1) for row in rows]
    canvas_width = max(totals)
    height = len(rows) * 3 + (len(rows) - 1) * ROWS_BETWEEN
    canvas = [[" "] * canvas_width for _ in range(height)]
    middle: dict[str, int] = {}
    top: dict[str, int] = {}
    for index, row in enumerate(rows):
        left = (canvas_width - totals[index]) // 2
        for node in row:
            middle[node], top[node] = left + width[node] // 2, index * (3 + ROWS_BETWEEN)
            left += width[node] + GAP
    for source, target in edges:
        _line(canvas, middle[source], top[source] + 3, middle[target], top[target] - 1)
    for node, label in labels.items():
        if label is None:
            for line in range(3):
                canvas[top[node] + line][middle[node]] = "*"
        else:
            _box(canvas, middle[node] - width[node] // 2, top[node], label)
    return "\n".join("".join(line).rstrip() for line in canvas)


def _line(canvas: list[list[str]], x1: int, y1: int, x2: int, y2: int) -> None:
    for step in range(y2 - y1 + 1):
        x = x1 + round((x2 - x1) * (step + 1) / (y2 - y1 + 2))
        canvas[y1 + step][x] = "*"


def _box(canvas: list[list[str]], left: int, top: int, label: str) -> None:
    edge = "+" + "-" * (len(label) + 2) + "+"
    for line, text in enumerate((edge, f"| {label} |", edge)):
        canvas[top + line][left : left + len(text)] = list(text)
