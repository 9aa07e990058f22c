"""Why attempts of the last hours failed: one line a cause, with how to fix it as the mail log would say."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from database import overview_db
from database.engine import reading
from database.overview_db import HourSum
from services.outbox import reasons
from services.outbox.facts import DiagnosisData, attempt_facts
from services.outbox.reasons import Reason
from services.overview.hourly import Tally, kind_of, tally_of

MOST: Final = 8  # causes; the rest are counted together
_NEWEST: Final = 2_000  # attempts that are looked at for an example
_OF_HOUR: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class FailureCause(Tally):
    """Attempts that failed for the same ``cause``, the code of a reason.

    ``meaning`` and ``remedy`` are what the mail log says of the last of them, "" where that is not known, or says no
    more than the title.
    """

    cause: str
    title: str
    meaning: str
    remedy: str

    @property
    def is_known(self) -> bool:
        """Whether it can be searched for: not what an earlier version has written down."""
        return self.cause in {*Reason}


@dataclass(frozen=True, kw_only=True)
class FailureCauses:
    """The most frequent ones first; ``others`` are the attempts that failed for any further cause."""

    since: datetime
    shown: tuple[FailureCause, ...]
    others: int


def of(sums: Iterable[HourSum], since: datetime) -> FailureCauses:
    """Why attempts since then failed, of which these are the figures."""
    grouped: defaultdict[str, list[HourSum]] = defaultdict(list)
    for each in sums:
        if each.hour >= since and each.cause and kind_of(each.outcome) in ("delayed", "refused"):
            grouped[each.cause].append(each)
    tallies = {cause: tally_of(found) for cause, found in grouped.items()}
    order = sorted(tallies, key=lambda cause: (-tallies[cause].all, cause))
    shown = order[:MOST]
    with reading() as session:
        told = _diagnoses(session, {cause: max(each.hour for each in grouped[cause]) for cause in shown})
    return FailureCauses(
        since=since,
        shown=tuple(_line(cause, tallies[cause], told.get(cause)) for cause in shown),
        others=sum(tallies[cause].all for cause in order[MOST:]),
    )


def _line(cause: str, tally: Tally, told: DiagnosisData | None) -> FailureCause:
    title, meaning = reasons.words(cause).removesuffix("."), told.title.removesuffix(".") if told else ""
    is_same = meaning.casefold().removeprefix("the ") == title.casefold().removeprefix("the ")
    return FailureCause(
        cause=cause,
        title=title,
        meaning="" if is_same else meaning,
        remedy=told.remedy if told else "",
        **vars(tally),
    )


def _diagnoses(session: Session, hours: dict[str, datetime]) -> dict[str, DiagnosisData | None]:
    """What the log says of the last attempt that failed for each of these causes, met in these hours last."""
    if not hours:
        return {}
    newest = overview_db.failures_among_newest(session, _NEWEST)
    examples = {}
    for cause, hour in hours.items():
        number = newest.get(cause) or overview_db.failure_within(session, hour, cause, _OF_HOUR)
        if number is not None:
            examples[number] = cause
    found = overview_db.attempts_of(session, list(examples))
    return {examples[attempt.id]: attempt_facts(attempt).diagnosis for attempt in found}
