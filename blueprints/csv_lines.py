"""The audit trail's lines for spreadsheets, on the page and from the command line."""

import csv
import io
import re
from typing import Final

COLUMNS: Final = ("at (UTC)", "who", "from", "action", "subject", "details")
# At the beginning of a cell, and where a spreadsheet of another country or program would begin one: half of Europe's
# end cells at a semicolon, others at a tab or a line break, and take our own quotes for text. Full-width signs count.
_STARTS_A_FORMULA: Final = re.compile(r"(?:^|[;\t\r\n])[\s\"]*(?=[=+\-@＝＋－＠])")


def csv_line(cells: tuple[str, ...]) -> str:
    """One line of the file, which no spreadsheet takes for formulas. Every cell is quoted."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerow([_harmless(cell) for cell in cells])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    """The text with an apostrophe before whatever could be taken for a formula."""
    return _STARTS_A_FORMULA.sub(r"\g<0>'", cell)
