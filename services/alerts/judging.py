"""From what was found to how each alert stands, in the rows that outlive a restart, and to the news of it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from database import alert_db
from database.alert_db import LONGEST_SUBJECT, LONGEST_TEXT, AlertState
from services.alerts import notifying, states
from services.alerts.bodies import AlertNews
from services.alerts.observing import Sightings
from services.alerts.rules import RULES, RuleInForce, RuleName
from services.alerts.states import AlertStage, AlertStanding
from utils import clock

_LEFT_OUT: Final = "stage"


def judge(
    session: Session,
    rules: Mapping[RuleName, RuleInForce],
    found: Sightings,
    *,
    unknown: frozenset[RuleName],
    seconds: float | None,
    now: datetime,
) -> list[AlertNews]:
    """Bring every alert's row up to date; what there is to tell.

    ``seconds`` are since the look before, if this process did that, too. Of rules in ``unknown`` nothing is known just
    now, so that they stay as they are. One that was turned off is forgotten without a word.
    """
    rows = {(row.rule, row.subject): row for row in alert_db.states(session)}
    news = []
    for place in dict.fromkeys([*rows, *((name.value, subject[:LONGEST_SUBJECT]) for name, subject in found)]):
        name, subject = place
        row = rows.get(place)
        rule = rules.get(RuleName(name)) if name in RULES else None
        if rule is None:
            if row is not None and name != RuleName.STORAGE:
                session.delete(row)
            continue
        if rule.name in unknown or rule.name is RuleName.STORAGE:
            continue
        before = standing_of(row) if row else None
        elapsed = seconds if seconds is not None or row is None else (now - row.seen_at).total_seconds()
        after, change = states.step(before, found.get((rule.name, subject)), elapsed or 0.0, hold=rule.hold, now=now)
        write(session, place, after, row)
        if change is not None and after is not None:
            news.append(notifying.news_of(change, name, subject, after))
    return news


def standing_of(row: AlertState) -> AlertStanding | None:
    """How an alert stands by its row; None where that says nothing of ours."""
    with suppress(ValueError):
        return AlertStanding(
            stage=AlertStage(row.state),
            **{name: getattr(row, name) for name in AlertStanding.__dataclass_fields__ if name != _LEFT_OUT},
        )
    return None


def write(session: Session, place: tuple[str, str], after: AlertStanding | None, row: AlertState | None) -> None:
    """Put it into the row; none is left of one that is over."""
    if after is None:
        if row is not None:
            session.delete(row)
        return
    row = row or AlertState(rule=place[0], subject=place[1])
    row.state, row.seen_at = after.stage.value, clock.now()
    for name, value in asdict(after).items():
        if name != _LEFT_OUT:
            setattr(row, name, value[:LONGEST_TEXT] if isinstance(value, str) else value)
    session.add(row)


def firing(session: Session) -> Iterator[AlertState]:
    """Those that fire now, the oldest first."""
    return (row for row in alert_db.states(session) if row.state == AlertStage.FIRING)
