"""Rows to tables, pure."""

import pytest

from pyexp.errors import UsageError
from pyexp.experiments import table
from pyexp.experiments.collect import Baseline, Experiment
from pyexp.model import Row


def row(
    rev: str, params: dict[str, object] | None = None, metrics: dict[str, object] | None = None, when: int = 0
) -> Row:
    return Row(rev, when, {"params.yaml": params or {}}, {"scores.json": metrics or {}})


ONE = Experiment("one", row("1" * 40, {"lr": 0.1, "deep": {"n": 1}}, {"acc": 0.5}))
TWO = Experiment("two", row("2" * 40, {"lr": 0.2, "deep": {"n": 1}}, {"acc": 0.9}))
BARE = Experiment("bare", row("3" * 40, {"lr": 0.3, "deep": {"n": 1}}))
ALL = [Baseline("b" * 40, "main", row("b" * 40, {"lr": 0.1, "deep": {"n": 1}}, {"acc": 0.4}), (ONE, TWO, BARE))]


def names(found: table.Table) -> list[str]:
    return [column.name for column in found.columns]


def order(found: table.Table) -> list[str]:
    return [line.experiment.name for line in found.lines if line.experiment is not None]


def test_metrics_come_before_params_and_nested_keys_are_dotted() -> None:
    assert names(table.build(ALL)) == ["acc", "lr", "deep.n"]


def test_a_key_of_two_files_is_told_apart() -> None:
    both = Row("w", None, {"params.yaml": {"lr": 1}, "other.yaml": {"lr": 2}})
    assert names(table.build([Baseline("w", None, both)])) == ["params.yaml:lr", "other.yaml:lr"]


def test_the_last_experiment_of_a_baseline_is_marked() -> None:
    assert [line.last for line in table.build(ALL).lines] == [False, False, False, True]


def test_include_params_by_name_and_by_group() -> None:
    assert names(table.build(ALL, table.Choice(include_params=("lr",)))) == ["acc", "lr"]
    assert names(table.build(ALL, table.Choice(include_params=("deep",)))) == ["acc", "deep.n"]


def test_exclude_and_metrics_options() -> None:
    assert names(table.build(ALL, table.Choice(exclude_params=("lr",)))) == ["acc", "deep.n"]
    assert names(table.build(ALL, table.Choice(include_metrics=()))) == ["lr", "deep.n"]


def test_only_changed_leaves_out_what_is_the_same_everywhere() -> None:
    assert names(table.build(ALL, table.Choice(only_changed=True))) == ["acc", "lr"]


def test_keep_wins_over_drop_and_over_only_changed() -> None:
    assert names(table.build(ALL, table.Choice(drop="lr|acc", only_changed=True, keep="n$"))) == ["deep.n"]


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(UsageError, match="--drop"):
        table.build(ALL, table.Choice(drop="("))


@pytest.mark.parametrize(("descending", "expected"), [(False, ["one", "two", "bare"]), (True, ["two", "one", "bare"])])
def test_sorting_puts_those_without_a_value_last(descending: bool, expected: list[str]) -> None:
    assert order(table.build(ALL, table.Choice(sort_by="acc", descending=descending))) == expected


def test_an_unknown_column_to_sort_by_lists_the_known() -> None:
    with pytest.raises(UsageError, match="Unknown sort column 'foo'") as caught:
        table.build(ALL, table.Choice(sort_by="foo"))
    assert caught.value.hint == "columns: acc, lr, deep.n"


def test_a_diff_lists_only_what_differs_and_gives_the_change_of_numbers() -> None:
    found = table.diff(ONE.row, TWO.row)
    assert [(c.name, c.old, c.new, c.diff) for c in found.metrics] == [("acc", 0.5, 0.9, 0.4)]
    assert [(c.name, c.old, c.new) for c in found.params] == [("lr", 0.1, 0.2)]


def test_a_diff_of_a_missing_side_has_no_change() -> None:
    (change,) = table.diff(BARE.row, ONE.row).metrics
    assert change.old is table.MISSING and change.diff is None


def test_a_bool_is_not_the_number_it_equals() -> None:
    (change,) = table.diff(row("a", {"x": True}), row("b", {"x": 1})).params
    assert change.diff is None
