"""Workers and web processes are killed -9, one after the other, and no mail is lost for it (fault F2)."""

import pytest

from tests.faults import figures
from tests.faults.child import Place
from tests.faults.storm import IN_FLIGHT, Storm
from tests.long_run import ALL

SEEDS = range(1, 21 if ALL else 2)
MAILS, KILLS = (2000, 50) if ALL else (750, 20)


@pytest.mark.parametrize("seed", SEEDS)
def test_killing_workers_and_web_processes_loses_no_mail(place: Place, seed: int) -> None:
    with Storm(place=place, seed=seed, mails=MAILS) as storm:
        storm.kill(KILLS)
        storm.drain()
    verdict = storm.verdict(bound=KILLS * IN_FLIGHT)
    figures.settle("kill -9", storm, verdict, faults=KILLS)


def test_a_server_that_misbehaves_gets_no_mail_twice_but_those_that_it_did_not_answer(place: Place) -> None:
    with Storm(place=place, seed=7, mails=200) as storm:
        storm.drain()
    assert not storm.verdict(bound=0).complaints
