"""Tables stand straight in a terminal, whatever their cells are written in."""

from wcwidth import wcswidth

from pyexp.cli import tables

HEAD = ["Path", "学習率", "e\u0301t\u00e9"]
ROWS = [["params.yaml", "0.1", "-"], ["設定.yaml", "0.25", "🚀"], ["a\u200bb", "全角ＡＢＣ", "x"]]


def test_columns_begin_at_the_same_place() -> None:
    lines = tables.columns(HEAD, ROWS).split("\n")
    starts = {wcswidth(line[: line.index(row[1])]) for line, row in zip(lines, [HEAD, *ROWS], strict=True)}
    assert len(starts) == 1


def test_markdown_lines_are_equally_wide() -> None:
    assert len({wcswidth(line) for line in tables.markdown(HEAD, ROWS).split("\n")}) == 1


def test_plain_text_needs_no_library_for_it() -> None:
    assert tables.columns(["a", "b"], [["1", "22"], ["333", "4"]]) == "a    b\n1    22\n333  4"
