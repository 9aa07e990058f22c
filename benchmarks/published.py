"""The table in benchmarks/README.md, and the chart that is drawn from it: `python -m benchmarks.published`.

Nobody types a figure of the chart: a test holds it to the table.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.results import Result, lines_of, short

DOCUMENT: Final = Path(__file__).with_name("README.md")
CHART: Final = DOCUMENT.parent.parent / "docs" / "images" / "speed.svg"
CHARTED: Final = "Postfix 20 ms away, one connection, STARTTLS and sign-in, emails/s"
TITLE: Final = "Emails a second over one connection to a Postfix 20 ms away, with STARTTLS and sign-in"
_OURS: Final = "Sealpost"
_LEFT_OUT: Final = "smtp-source (no TLS)"  # it does less than all others
_WIDTH, _LABELS, _NUMBERS, _ROW, _BAR = 720, 170, 60, 30, 18
_STYLE: Final = """\
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
rect { fill: #8c959f; }
.ours { fill: #0969da; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } rect { fill: #6e7681; } .ours { fill: #4493f8; } }
"""


def with_rows(document: str, results: Iterable[Result]) -> str:
    """The document with these results in its table: in the place of those of the same name, or else at its end."""
    before, first, rest = document.partition("|---|---|---|---|\n")
    body, end, after = rest.partition("\n\n")
    rows: dict[str, list[str]] = {}
    for line in body.splitlines():
        name = line.split("|")[1].strip()
        rows.setdefault(name or list(rows)[-1], []).append(line)
    rows |= {lines[0].split("|")[1].strip(): lines for lines in map(lines_of, results)}
    return before + first + "\n".join(line for lines in rows.values() for line in lines) + end + after


def figures_in(document: str, name: str) -> dict[str, float]:
    """The figures of a row of the table, by side."""
    cells = next(line for line in document.splitlines() if line.startswith(f"| {name} |")).split("|")
    named = (each.strip().rpartition(" ") for each in cells[2].split(";"))
    return {side: float(figure.replace(",", "")) for side, _, figure in named}


def chart(document: str) -> str:
    """One bar a side, the fastest first, readable on a light page and on a dark one."""
    figures = {side: each for side, each in figures_in(document, CHARTED).items() if side != _LEFT_OUT}
    in_order = sorted(figures.items(), key=lambda each: -each[1])
    longest = in_order[0][1]
    height = _ROW * len(in_order)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}">',
        f"<title>{escape(TITLE)}</title>",
        f"<style>\n{_STYLE}</style>",
    ]
    for place, (side, figure) in enumerate(in_order):
        top = place * _ROW
        width = round(figure / longest * (_WIDTH - _LABELS - _NUMBERS), 1)
        ours = ' class="ours"' if side.startswith(_OURS) else ""
        parts += [
            f'<text x="{_LABELS - 8}" y="{top + 20}" text-anchor="end">{escape(side)}</text>',
            f'<rect x="{_LABELS}" y="{top + 6}" width="{width}" height="{_BAR}"{ours}/>',
            f'<text x="{_LABELS + width + 8}" y="{top + 20}">{short(figure)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def publish(results: Iterable[Result] = ()) -> None:
    """Write results into the table, and draw the chart anew."""
    document = with_rows(DOCUMENT.read_text(), results)
    DOCUMENT.write_text(document)
    CHART.write_text(chart(document))


if __name__ == "__main__":
    publish()
