"""The clock of the machine jumps by an hour or a day, to and fro, and no mail is lost or stuck for it (fault F6)."""

from dataclasses import replace

import pytest

from tests.faults import figures
from tests.faults.child import Place
from tests.faults.storm import IN_FLIGHT, Storm
from tests.long_run import ALL
from tests.processes import CONTEXT
from utils import clock

HOUR, DAY = 3600, 24 * 3600
JUMPS = [HOUR, -HOUR, -HOUR, HOUR, DAY, -DAY, -DAY, DAY] * 5 if ALL else [HOUR, -HOUR, -DAY, DAY]


def test_a_clock_that_jumps_loses_no_mail(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = CONTEXT.Value("d", 0.0)
    place = replace(place, clock=ahead)
    monkeypatch.setattr(clock, "now", clock.now)  # to be what it was, afterwards
    place.set_clock()
    with Storm(place=place, seed=6, mails=25 * len(JUMPS)) as storm:
        for number, jump in enumerate(JUMPS):
            storm.wait_for((number + 0.5) / (len(JUMPS) + 1))
            ahead.value += jump
        storm.drain()
    verdict = storm.verdict(bound=len(JUMPS) * len(storm.roles) * IN_FLIGHT)
    figures.settle("a clock's jump", storm, verdict, faults=len(JUMPS))
