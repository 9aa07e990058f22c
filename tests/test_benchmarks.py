"""The figures of the README are those that were measured."""

import re
from typing import Final

from benchmarks import published
from benchmarks.results import Result
from tests.running import ROOT

MEASURED: Final = published.DOCUMENT.read_text()
_CHAPTER: Final = re.compile(r"^## How fast it is\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_FIGURE: Final = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
TABLE: Final = """# Figures

| measurement | figures | measured (to reach) | reached |
|---|---|---|---|
| far, emails/s | ours 1.00 | – | – |
| | left out: theirs: no npm | | |
| near, emails/s | ours 2.00 | – | – |

The end.
"""


def result(what: str, figure: float) -> Result:
    return Result(name="row", what=what, unit="emails/s", figures={"ours": figure})


def test_the_chart_shows_the_figures_of_the_table() -> None:
    assert published.CHART.read_text() == published.chart(MEASURED)


def test_every_figure_of_the_readmes_chapter_was_measured() -> None:
    chapter = _CHAPTER.search((ROOT / "README.md").read_text())
    assert chapter
    text = re.sub(r"\(.*?\)|!\[.*?\]", "", chapter[1])
    found = {figure for figure in _FIGURE.findall(text) if len(figure) > 2}
    assert found - set(_FIGURE.findall(MEASURED)) == set()


def test_a_row_that_is_measured_again_takes_the_place_of_the_old_one_and_of_what_stood_below_it() -> None:
    published_again = published.with_rows(TABLE, [result("far", 3)])
    assert "| far, emails/s | ours 3.00 | – | – |\n| near, emails/s | ours 2.00 |" in published_again


def test_a_row_that_is_new_comes_last() -> None:
    assert "| ours 2.00 | – | – |\n| new, emails/s | ours 4.00 | – | – |\n\nThe end." in published.with_rows(
        TABLE, [result("new", 4)]
    )
