"""The shapes of the start page's chart."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from blueprints.pages import start_chart
from blueprints.pages.start_chart import HEAD, LEAST, PLOT, Chart
from services.overview.hourly import Column

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 3, 28, 12, tzinfo=UTC)  # within a day of which Europe's clocks change


def columns(*numbers: tuple[int, int, int], length: timedelta = HOUR) -> list[Column]:
    """Columns of sent, delayed and refused, one after the other."""
    return [
        Column(
            since=BEGIN + number * length,
            until=BEGIN + (number + 1) * length,
            sent=sent,
            delayed=delayed,
            refused=refused,
        )
        for number, (sent, delayed, refused) in enumerate(numbers)
    ]


def drawn(*numbers: tuple[int, int, int]) -> Chart:
    return start_chart.drawn(columns(*numbers))


@pytest.mark.parametrize(
    ("most", "end"),
    [
        (0, 0), (1, 1), (2, 2), (3, 4), (7, 8), (9, 10), (10, 10), (11, 20), (99, 100), (101, 200),
        (6_001, 8_000), (999_999, 1_000_000), (8_999_999, 10_000_000), (9_000_001, 10_000_000),
    ],
)  # fmt: skip
def test_a_scale_ends_with_a_round_number_whose_half_is_whole(most: int, end: int) -> None:
    assert start_chart.scale_end(most) == end


def test_numbers_of_the_scale_are_short() -> None:
    found = [
        start_chart.in_short(number) for number in (0, 950, 1_000, 1_500, 20_000, 1_000_000, 4_500_000, 10_000_000)
    ]
    assert found == ["0", "950", "1k", "1.5k", "20k", "1M", "4.5M", "10M"]


def test_a_bar_is_stacked_from_the_baseline_and_never_leaves_the_plot() -> None:
    peak, one = (9_000_000, 1, 1), (1, 0, 0)
    for bar in drawn(peak, one, (0, 0, 7), (3, 3, 3), (4_500_000, 4_499_998, 2)).bars:
        bottom = HEAD + PLOT
        for segment in bar.segments:
            assert segment.height >= LEAST
            assert segment.y + segment.height == pytest.approx(bottom, abs=0.2)
            bottom = segment.y
        assert bottom >= HEAD - 0.2


def test_one_refusal_can_be_seen_beside_millions() -> None:
    first, second = drawn((9_000_000, 0, 0), (0, 0, 1)).bars
    assert [(each.kind, each.height) for each in second.segments] == [("refused", LEAST)]
    assert first.segments[0].height == 135.0  # nine tenths of a scale to ten millions


def test_bars_stand_side_by_side_within_the_width() -> None:
    for count in (1, 14, 24, 30):
        bars = drawn(*[(1, 0, 0)] * count).bars
        assert all(left.x + left.width < right.x for left, right in pairwise(bars))
        assert bars[0].x > 0
        assert bars[-1].x + bars[-1].width < 100


def test_nothing_at_all_is_an_empty_chart() -> None:
    for chart in (drawn(), drawn(*[(0, 0, 0)] * 24)):
        assert chart.is_empty
        assert [tick.label for tick in chart.ticks] == ["0"]
        assert chart.summary == "No attempts."
        assert not any(bar.segments for bar in chart.bars)


def test_what_is_not_counted_is_no_nought() -> None:
    known, unknown = columns((5, 0, 0), (9, 9, 9))
    chart = start_chart.drawn([known, Column(**{**vars(unknown), "is_known": False})])
    assert chart.bars[1].title == "2026-03-28 13:00 UTC: not counted yet"
    assert chart.bars[1].segments == ()
    assert [number for _, _, number in chart.sums] == [5, 0, 0]
    assert chart.ticks[-1].label == "6"


def test_every_column_says_its_numbers_and_the_chart_its_sums() -> None:
    chart = drawn((1_204, 3, 2), (0, 0, 0))
    assert chart.bars[0].title == "2026-03-28 12:00 UTC: 1,204 sent, 3 delayed, 2 refused"
    assert chart.summary == ("1,204 sent, 3 delayed, 2 refused. Busiest hour: 2026-03-28 12:00 UTC, with 1,209.")


@pytest.mark.parametrize(
    ("count", "length", "every", "main"),
    [(24, HOUR, 3, 6), (14, 24 * HOUR, 2, 4), (30, 24 * HOUR, 5, 10)],
)
def test_labels_are_few_and_the_newest_has_one(count: int, length: timedelta, every: int, main: int) -> None:
    chart = start_chart.drawn(columns(*[(1, 0, 0)] * count, length=length))
    labelled = [count - 1 - number for number, bar in enumerate(chart.bars) if bar.label]
    assert labelled == [back for back in range(count - 1, -1, -1) if back % every == 0]
    assert [back for number, bar in enumerate(chart.bars) if bar.is_main for back in [count - 1 - number]] == [
        back for back in labelled if back % main == 0
    ]


def test_hours_are_labelled_one_by_one_where_clocks_change() -> None:
    chart = drawn(*[(1, 0, 0)] * 24)
    assert [bar.label for bar in chart.bars if bar.label] == [
        "14:00", "17:00", "20:00", "23:00", "02:00", "05:00", "08:00", "11:00",
    ]  # fmt: skip
