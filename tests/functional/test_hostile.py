"""A stranger's repository: names that would play with the terminal, a queue that leads elsewhere."""

import pytest
from functional.conftest import Space

from pyexp.git import repo


def test_names_of_experiments_do_not_reach_the_terminal_raw(space: Space) -> None:
    with repo.discover(space.root) as found:
        head = found.resolve("HEAD")
    where = space.root / ".git/refs/exps" / head[:2] / head[2:]
    where.mkdir(parents=True)
    for name in ("\x1b[31m", "\u202ex"):
        (where / name).write_text(f"{head}\n")
    for words in (["-A"], ["--name-only"]):
        shown = space.cli("exp", "list", *words).stdout
        assert "\\x1b[31m" in shown
        assert "\x1b" not in shown and "\u202e" not in shown


@pytest.mark.parametrize("command", ["exp run --queue", "queue status"])
def test_a_queue_that_is_a_link_is_not_followed(space: Space, command: str) -> None:
    outside = space.root.parent / "outside"
    outside.mkdir()
    scratch = space.project().scratch
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "queue").symlink_to(outside)
    done = space.cli(*command.split())
    assert done.returncode == 1 and "symbolic link" in done.stderr
    assert list(outside.iterdir()) == []
