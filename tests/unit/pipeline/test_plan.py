"""Order and verdicts: pure functions on records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyexp.errors import GraphError
from pyexp.model import Content, Entry, LockEntry, Oid, OutSpec, ParamSpec, StageLock, StageSpec
from pyexp.pipeline import plan
from pyexp.pipeline.load import Pipeline


def stage(name: str, deps: tuple[str, ...] = (), outs: tuple[str, ...] = (), **more: object) -> StageSpec:
    return StageSpec("dvc.yaml", name, f"make {name}", deps=deps, outs=tuple(map(OutSpec, outs)), **more)  # type: ignore[arg-type]


def pipeline(*stages: StageSpec) -> Pipeline:
    return Pipeline({spec.address: spec for spec in stages})


CHAIN = pipeline(stage("c", ("b.out",), ("c.out",)), stage("a", (), ("a.out",)), stage("b", ("a.out",), ("b.out",)))


def test_each_stage_comes_after_what_it_needs() -> None:
    assert plan.order(CHAIN, plan.graph(CHAIN), ["c"]) == ["a", "b", "c"]


def test_single_item_leaves_out_what_the_target_needs() -> None:
    assert plan.order(CHAIN, plan.graph(CHAIN), ["c"], single_item=True) == ["c"]


def test_downstream_is_the_target_and_all_after_it_in_order() -> None:
    assert plan.order(CHAIN, plan.graph(CHAIN), ["b"], downstream=True) == ["b", "c"]


def test_whole_is_every_connected_stage() -> None:
    both = Pipeline({**CHAIN.stages, "x": stage("x", (), ("x.out",))})
    assert plan.order(both, plan.graph(both), ["b"], whole=True) == ["a", "b", "c"]


def test_a_dep_inside_an_output_and_a_dep_above_outputs_find_their_makers() -> None:
    found = plan.graph(
        pipeline(
            stage("make", (), ("dir/data",)),
            stage("inside", ("dir/data/x.txt",), ("i",)),
            stage("above", ("dir",), ("j",)),
        )
    )
    assert found.upstream == {"make": (), "inside": ("make",), "above": ("make",)}


def test_a_name_that_only_begins_alike_is_no_maker() -> None:
    found = plan.graph(pipeline(stage("make", (), ("data",)), stage("use", ("data2/x",), ("o",))))
    assert found.upstream["use"] == ()


def test_a_frozen_stage_needs_nobody() -> None:
    found = plan.graph(pipeline(stage("a", (), ("o",)), stage("b", ("o",), ("p",), frozen=True)))
    assert found.upstream["b"] == ()


def test_a_cycle_is_named() -> None:
    with pytest.raises(GraphError, match=r"cycle: .*a.*b.*|cycle: .*b.*a.*"):
        plan.graph(pipeline(stage("a", ("y",), ("x",)), stage("b", ("x",), ("y",))))


def test_a_stage_that_needs_its_own_output() -> None:
    with pytest.raises(GraphError, match="'a' needs what it makes itself"):
        plan.graph(pipeline(stage("a", ("x",), ("x",))))


def test_two_owners_of_one_output() -> None:
    with pytest.raises(GraphError, match="output 'x' is made by two stages: a and b"):
        plan.graph(pipeline(stage("a", (), ("x",)), stage("b", (), ("x",))))


def test_an_output_inside_another() -> None:
    with pytest.raises(GraphError, match=r"'x/y' \(b\) is inside 'x' \(a\)"):
        plan.graph(pipeline(stage("a", (), ("x",)), stage("b", (), ("x/y",))))


def test_ten_thousand_stages_in_a_row_need_no_recursion() -> None:
    long = pipeline(*(stage(f"s{i}", (f"o{i - 1}",) if i else (), (f"o{i}",)) for i in range(10_000)))
    ordered = plan.order(long, plan.graph(long), ["s9999"])
    assert ordered == [f"s{i}" for i in range(10_000)]


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40))
def test_the_order_respects_every_edge(edges: list[tuple[int, int]]) -> None:
    downhill = [(a, b) for a, b in edges if a < b]
    some = pipeline(*(stage(f"s{i}", tuple(f"o{a}" for a, b in downhill if b == i), (f"o{i}",)) for i in range(15)))
    place = {address: n for n, address in enumerate(plan.order(some, plan.graph(some), some.stages))}
    assert len(place) == 15
    assert all(place[f"s{a}"] < place[f"s{b}"] for a, b in downhill)


# -- verdicts --------------------------------------------------------------------------------------------------------


def entry(digest: str) -> Entry:
    return Entry(Oid("xxh128", digest * 32), 1)


LOCK = StageLock(
    "make a",
    (LockEntry("in", entry("1")),),
    {"params.yaml": {"lr": 0.1}},
    (LockEntry("out", entry("2")),),
)
SPEC = StageSpec(
    "dvc.yaml", "a", "make a", deps=("in",), params=(ParamSpec("params.yaml", ("lr",)),), outs=(OutSpec("out"),)
)
SEEN = plan.Observed({"in": Content(entry("1"))}, {"params.yaml": {"lr": 0.1}}, {"out": Content(entry("2"))})


def words(reasons: list[plan.Reason]) -> list[tuple[str, str, str]]:
    return [(reason.word, reason.path, reason.key) for reason in reasons]


def test_nothing_changed() -> None:
    assert plan.input_reasons(SPEC, LOCK, SEEN) == []
    assert plan.output_reasons(SPEC, LOCK, SEEN) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (plan.Observed({"in": None}, SEEN.params), ("deleted", "in", "")),
        (plan.Observed({"in": Content(entry("3"))}, SEEN.params), ("modified", "in", "")),
        (plan.Observed(SEEN.deps, {"params.yaml": None}), ("deleted", "params.yaml", "")),
        (plan.Observed(SEEN.deps, {"params.yaml": {"lr": 0.2}}), ("modified", "params.yaml", "lr")),
        (plan.Observed(SEEN.deps, {"params.yaml": {}}), ("deleted", "params.yaml", "lr")),
    ],
)
def test_each_change_of_an_input_is_a_reason(seen: plan.Observed, expected: tuple[str, str, str]) -> None:
    assert words(plan.input_reasons(SPEC, LOCK, seen)) == [expected]


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (plan.Observed(outs={"out": None}), "deleted"),
        (plan.Observed(outs={"out": Content(entry("3"))}), "modified"),
        (plan.Observed(outs={"out": Content(entry("2"))}, absent=frozenset({"out"})), "not in cache"),
    ],
)
def test_each_change_of_an_output_is_a_reason(seen: plan.Observed, word: str) -> None:
    assert words(plan.output_reasons(SPEC, LOCK, seen)) == [(word, "out", "")]


def test_a_stage_never_run_has_changed_deps_and_new_outputs() -> None:
    never = StageLock(cmd=None)
    assert words(plan.input_reasons(SPEC, never, SEEN)) == [("modified", "in", ""), ("new", "params.yaml", "")]
    assert words(plan.output_reasons(SPEC, never, SEEN)) == [("modified", "out", "")]


def test_a_changed_command() -> None:
    other = StageLock("make b", LOCK.deps, LOCK.params, LOCK.outs)
    assert [reason.word for reason in plan.input_reasons(SPEC, other, SEEN)] == ["changed command"]


def test_a_command_as_list_is_not_the_same_text() -> None:
    other = StageLock(("make a",), LOCK.deps, LOCK.params, LOCK.outs)
    assert [reason.word for reason in plan.input_reasons(SPEC, other, SEEN)] == ["changed command"]


def test_a_stage_with_neither_deps_nor_outs_always_runs() -> None:
    assert [r.word for r in plan.input_reasons(stage("cb"), StageLock("make cb"), plan.Observed())] == [
        "always changed"
    ]


@pytest.mark.parametrize(
    ("recorded", "found", "equal"),
    [
        (1, 1.0, True),
        ([1, 2], (1, 2), True),
        ({"a": [1]}, {"a": (1,)}, True),
        (float("nan"), float("nan"), False),
        ("1", 1, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_param_values_are_compared_as_dvc_does(recorded: object, found: object, equal: bool) -> None:
    assert plan.equal_values(recorded, found) is equal
