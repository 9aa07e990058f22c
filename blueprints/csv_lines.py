"""The audit trail's lines for spreadsheets, on the page and from the command line."""

import csv
import io
from typing import Final

COLUMNS: Final = ("at (UTC)", "who", "from", "action", "subject", "details")
STARTS_A_FORMULA: Final = ("=", "+", "-", "@")


def csv_line(cells: tuple[str, ...]) -> str:
    """One line of the file, which no spreadsheet takes for formulas."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_harmless(cell) for cell in cells])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip().startswith(STARTS_A_FORMULA) else cell
