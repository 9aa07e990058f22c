"""The chart of the start page as shapes: where each is, for an SVG that is as wide as its page. Pure.

Across, places are in percent of the width, so that it fits any window; down and of text, they are in pixels, so that
text is never stretched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from services.overview.hourly import Column

PLOT: Final = 150.0  # pixels from the highest place to the baseline
HEAD: Final = 10.0  # above it, so that the uppermost label has its room
FOOT: Final = 26.0  # below it, for the labels of times
LEAST: Final = 3.0  # pixels of whatever there is at all, so that it can be seen beside a peak
KINDS: Final = (("sent", "Sent"), ("delayed", "Delayed"), ("refused", "Refused"))  # from the baseline up
_SHARE: Final = 0.72  # of its place, that a bar fills
_STEPS: Final = (2, 4, 6, 8, 10)  # what a scale ends with: halves are whole, too
_TWO_WEEKS: Final = 14  # days
_THOUSAND, _MILLION = 1_000, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a bar."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A column; ``label`` stands below it, and on a narrow window only if it ``is_main``."""

    x: float
    width: float
    middle: float
    segments: tuple[Segment, ...]
    is_known: bool
    title: str
    label: str
    is_main: bool
    column: Column


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The how manieth of how many columns it is, and what the scale ends with."""

    number: int
    of: int
    top: int
    by_hour: bool


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line across, and what it means."""

    y: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything that is drawn, and the sums beside it, as (kind, word, number)."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    sums: tuple[tuple[str, str, int], ...]
    summary: str
    height: float = HEAD + PLOT + FOOT
    baseline: float = HEAD + PLOT

    @property
    def is_empty(self) -> bool:
        return not any(number for _, _, number in self.sums)


def drawn(columns: Sequence[Column]) -> Chart:
    """The chart of these columns, each an hour or each a day."""
    top = scale_end(max((column.all for column in columns if column.is_known), default=0))
    by_hour = bool(columns) and (columns[0].until - columns[0].since).days < 1
    bars = tuple(
        _bar(column, _Place(number=number, of=len(columns), top=top, by_hour=by_hour))
        for number, column in enumerate(columns)
    )
    known = [column for column in columns if column.is_known]
    sums = tuple((kind, word, sum(getattr(column, kind) for column in known)) for kind, word in KINDS)
    return Chart(bars=bars, ticks=_ticks(top), sums=sums, summary=_summary(sums, known, by_hour))


def scale_end(most: int) -> int:
    """A round number that is no less than the most, and of which the half is whole; 1 or 0 for those."""
    if most <= 1:
        return max(most, 0)
    power = 1
    while most > _STEPS[-1] * power:
        power *= 10
    return next(step * power for step in _STEPS if step * power >= most)


def in_short(number: int) -> str:
    """A number of a scale in few characters: 950, 1.5k, 9M."""
    for unit, letter in ((_MILLION, "M"), (_THOUSAND, "k")):
        if number >= unit:
            return f"{number / unit:.1f}".removesuffix(".0") + letter
    return str(number)


def named(column: Column, *, by_hour: bool) -> str:
    """When it was, in UTC."""
    return f"{column.since:%Y-%m-%d %H:%M} UTC" if by_hour else f"{column.since:%Y-%m-%d} UTC"


def heights(column: Column, top: int) -> list[float]:
    """Of each of KINDS its pixels; together never more than there are."""
    numbers = [getattr(column, kind) for kind, _ in KINDS]
    found = [max(PLOT * number / top, LEAST) if number else 0.0 for number in numbers]
    excess = sum(found) - PLOT
    if excess > 0:  # what was made larger to be seen is taken off the largest
        found[found.index(max(found))] -= excess
    return [round(height, 1) for height in found]


def _bar(column: Column, place: _Place) -> Bar:
    width = 100 / place.of
    every, main = _rhythm(place)
    back = place.of - 1 - place.number  # the newest always has its label
    has_label = back % every == 0
    label = f"{column.since:%H:%M}" if place.by_hour else f"{column.since.day} {column.since:%b}"
    return Bar(
        x=round(width * (place.number + (1 - _SHARE) / 2), 3),
        width=round(width * _SHARE, 3),
        middle=round(width * (place.number + 0.5), 3),
        segments=tuple(_segments(column, place.top)),
        is_known=column.is_known,
        title=f"{named(column, by_hour=place.by_hour)}: {_told(column)}",
        label=label if has_label else "",
        is_main=has_label and back % main == 0,
        column=column,
    )


def _segments(column: Column, top: int) -> Iterator[Segment]:
    if not column.is_known or not column.all:
        return
    y = HEAD + PLOT
    for (kind, _), height in zip(KINDS, heights(column, top), strict=True):
        if height:
            y -= height
            yield Segment(kind=kind, y=round(y, 1), height=height)


def _rhythm(place: _Place) -> tuple[int, int]:
    """Every how manieth column has a label, and on a narrow window."""
    if place.by_hour:
        return 3, 6
    return (2, 4) if place.of <= _TWO_WEEKS else (5, 10)


def _told(column: Column) -> str:
    if not column.is_known:
        return "not counted yet"
    return ", ".join(f"{getattr(column, kind):,} {word.lower()}" for kind, word in KINDS)


def _ticks(top: int) -> tuple[Tick, ...]:
    values = sorted({0, top // 2, top})
    return tuple(Tick(y=round(HEAD + PLOT * (1 - value / (top or 1)), 1), label=in_short(value)) for value in values)


def _summary(sums: Sequence[tuple[str, str, int]], known: Sequence[Column], by_hour: bool) -> str:
    told = ", ".join(f"{number:,} {word.lower()}" for _, word, number in sums)
    busiest = max(known, key=lambda column: column.all, default=None)
    if busiest is None or not busiest.all:
        return "No attempts."
    return f"{told}. Busiest {'hour' if by_hour else 'day'}: {named(busiest, by_hour=by_hour)}, with {busiest.all:,}."
