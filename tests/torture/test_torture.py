"""A few points of a few commands; ``make torture`` walks over all of them."""

from pathlib import Path

import pytest

from torture.cases import CASES
from torture.walk import KINDS, Bench, Walk, walk

SHORT = ("add file", "checkout other", "exp rename", "git commit", "stage add", "move")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_loses_nothing_and_the_same_command_again_is_the_whole_repair(tmp_path: Path, kind: str) -> None:
    bench = Bench(tmp_path, kind)
    try:
        for case in CASES:
            if case.name in SHORT:
                result = walk(bench, case, every=4, faults=False)
                assert result.kills > 2 and not result.violations, "\n".join(result.violations)
    finally:
        bench.close()


@pytest.mark.parametrize("kind", KINDS)
def test_doctor_takes_nothing_for_damaged_that_cannot_be_read_now(tmp_path: Path, kind: str) -> None:
    bench = Bench(tmp_path, kind)
    try:
        one = Walk(bench, next(case for case in CASES if case.name == "doctor --repair"))
        for strike in one.strikes():
            if strike.plan.mode == "EIO" and "(read" in strike.shown and "cache/files" in strike.shown:
                one.strike(strike)
        assert one.result.faults > 10 and not one.result.violations, "\n".join(one.result.violations)
    finally:
        bench.close()
