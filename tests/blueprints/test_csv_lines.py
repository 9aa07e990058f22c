"""The lines of CSV: whichever spreadsheet opens them, nothing in them is taken for a formula."""

import csv
import io
import re

import pytest

from blueprints.csv_lines import csv_line

STARTS = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "＝1+1", "＠SUM(A1)"]
HARMLESS = ["", "alice", "a = b", "a;b", "a; b", "name, port", "it's", "5-3", "x\t;y", '"quoted"', "a@example.com"]


def read(line: str, delimiter: str = ",", quotes: bool = True) -> list[str]:
    text = io.StringIO(line, newline="")
    if quotes:
        return next(csv.reader(text, delimiter=delimiter))
    return next(csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE))


def is_formula(cell: str) -> bool:
    return bool(re.match(r"[\s\"]*[=+\-@＝＋－＠]", cell))


@pytest.mark.parametrize("cells", [("a", "b"), ("", ""), ("1", "2.5"), ("a,b", 'say "x"'), ("ä", "€")])
def test_every_cell_is_quoted_and_read_as_it_was(cells: tuple[str, ...]) -> None:
    line = csv_line(cells)
    assert re.fullmatch(r'("([^"]|"")*",)*"([^"]|"")*"\r\n', line)
    assert read(line) == list(cells)


@pytest.mark.parametrize("cell", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(cell: str) -> None:
    assert read(csv_line((cell,))) == [cell]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("before", ["", " ", '"', "x;", "x; ", 'x;"', "x;;", ";", "x\t", "x\n", "x\r\n", "x; \t"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quotes", [True, False])
def test_a_formula_begins_no_cell_wherever_a_spreadsheet_begins_one(
    start: str, before: str, delimiter: str, quotes: bool
) -> None:
    line = csv_line(("first", before + start, "last"))
    assert not any(is_formula(cell) for cell in read(line, delimiter, quotes))
