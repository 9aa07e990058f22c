"""Pending, firing, resolved: one message a change, by what was seen and never by what a clock says."""

from collections.abc import Iterable
from datetime import datetime

import pytest

from services.alerts import states
from services.alerts.bodies import AlertChange
from services.alerts.states import AlertStage, AlertStanding, Sighting
from utils import clock

TROUBLE = Sighting(headline="It is down.", remedy="Mend it.")
HOLD = 300.0


def told(looks: Iterable[tuple[bool, float]], before: AlertStanding | None = None) -> list[AlertChange | None]:
    """What each look leads to: whether there was trouble, and the seconds since the look before."""
    found, standing, now = list[AlertChange | None](), before, clock.now()
    for is_trouble, seconds in looks:
        standing, change = states.step(standing, TROUBLE if is_trouble else None, seconds, hold=HOLD, now=now)
        found.append(change)
    return found


def changes(looks: Iterable[tuple[bool, float]]) -> list[AlertChange]:
    return [change for change in told(looks) if change]


def test_it_fires_once_after_its_time_and_resolves_once_after_a_calm_minute() -> None:
    looks = [*[(True, 15.0)] * 100, *[(False, 15.0)] * 100]
    found = told(looks)
    assert [change for change in found if change] == [AlertChange.FIRING, AlertChange.RESOLVED]
    assert found.index(AlertChange.FIRING) == HOLD / 15
    assert found.index(AlertChange.RESOLVED) == 100 + states.CALM / 15 - 1


@pytest.mark.parametrize(
    "looks",
    [
        [(True, 15.0)] * 20,  # not long enough
        [(True, 15.0), (False, 15.0)] * 100,  # never for long in a row
        [(True, 1e9)] * 4,  # a clock, or a machine that slept, counts for a minute at most
        [(True, -1e9)] * 1000,
        [(False, 1e9)] * 10,
        [],
    ],
    ids=["short", "in and out", "a jump forward", "a jump back", "quiet", "nothing"],
)
def test_nothing_is_told_of(looks: list[tuple[bool, float]]) -> None:
    assert changes(looks) == []


def test_a_jump_resolves_nothing() -> None:
    fired = [(True, 60.0)] * 10
    assert changes([*fired, (False, -1e9), (False, 0.0), (True, 1e9)]) == [AlertChange.FIRING]


def test_one_that_comes_back_again_and_again_waits_longer_each_time_before_it_resolves() -> None:
    swing = [*[(True, 60.0)] * 7, *[(False, 60.0)] * 3]
    found = changes(swing * 60)  # ten hours of it
    assert len(found) < 20
    assert found[:4] == [AlertChange.FIRING, AlertChange.RESOLVED] * 2


def test_an_hour_after_it_was_resolved_it_is_forgotten_and_the_next_is_a_first_one() -> None:
    standing: AlertStanding | None = None
    for is_trouble, seconds in [*[(True, 60.0)] * 7, *[(False, 60.0)] * 61]:
        standing, _ = states.step(standing, TROUBLE if is_trouble else None, seconds, hold=HOLD, now=clock.now())
    assert standing is None


def test_one_that_is_seen_again_before_it_fires_keeps_that_it_had_come_back() -> None:
    now = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    resolved = AlertStanding(
        stage=AlertStage.RESOLVED, headline="", remedy="", since=now, fired_at=now, resolved_at=now, flaps=2
    )
    pending, _ = states.step(resolved, TROUBLE, 15.0, hold=HOLD, now=now)
    assert pending
    assert pending.stage is AlertStage.PENDING
    quiet, _ = states.step(pending, None, 15.0, hold=HOLD, now=now)
    assert quiet
    assert (quiet.stage, quiet.flaps, quiet.calm) == (AlertStage.RESOLVED, 2, states.CALM * 4)


def test_without_a_time_to_wait_it_fires_at_the_first_look() -> None:
    standing, change = states.step(None, TROUBLE, 0.0, hold=0.0, now=clock.now())
    assert standing
    assert (standing.stage, change) == (AlertStage.FIRING, AlertChange.FIRING)
