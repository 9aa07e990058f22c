"""The figures of the README are those that were measured, and those that are simulated are what arithmetic gives."""

import re
from dataclasses import replace
from typing import Final

import pytest

from benchmarks import phases, published
from benchmarks.results import Result
from benchmarks.scale_model import Costs, simulated
from tests.running import ROOT

MEASURED: Final = published.DOCUMENT.read_text()
_CHAPTER: Final = re.compile(r"^## How fast it is\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_FIGURE: Final = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
FREE: Final = Costs(worker=0, database=0, others=0, upkeep=0, flush=0, round_trip=0.02, round_trips=1)
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


def test_where_only_the_round_trip_takes_time_each_worker_sends_two_groups_in_it() -> None:
    assert simulated(FREE, 3, 2).mails_per_second == pytest.approx(3 * 2 * 8 / 0.02, rel=0.01)


def test_workers_do_no_more_than_their_cores() -> None:
    found = simulated(replace(FREE, worker=0.002, database=0.002), 8, 2)
    assert (found.mails_per_second, found.cores) == pytest.approx((2 / 0.004, 1), rel=0.02)


def test_a_worker_uses_one_core_for_its_python() -> None:
    assert simulated(replace(FREE, worker=0.004), 1, 8).mails_per_second == pytest.approx(1 / 0.004, rel=0.02)


def test_commits_that_wait_together_share_a_flush() -> None:
    found = simulated(replace(FREE, round_trip=0, flush=0.02), 4, 2)
    # Who comes during a flush waits for the next one, so the senders are of two sets, which take turns.
    assert found.mails_per_second == pytest.approx(4 * 2 * 8 / (2 * 0.02), rel=0.02)


def test_each_function_that_is_charged_to_a_phase_is_there() -> None:
    named = [(owner, name) for functions in phases.PHASES.values() for owner, name in functions]
    assert all(callable(getattr(owner, name)) for owner, name in named)
    assert len(set(named)) == len(named)
