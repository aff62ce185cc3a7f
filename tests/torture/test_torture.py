"""A few points of a few commands; ``make torture`` walks over all of them."""

from pathlib import Path

import pytest

from torture.cases import CASES
from torture.walk import KINDS, Bench, walk

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
