"""Servers of any behaviour, drawn from seeds: no mail is lost, doubled or counted as sent that was not, none leaks.

One of them alone, as a complaint names it: ``SEED=33 pytest tests/faults/test_random_servers.py``.
"""

import os
import time
from collections.abc import Iterable
from functools import partial

import pytest

from tests.faults import figures
from tests.faults.model import small_queue
from tests.faults.model.farm import harvest
from tests.faults.model.trial import Tally, trial
from tests.long_run import ALL

SERVERS = 100_000 if ALL else 1_000
SINGLY = 5  # of so many servers, one gets its mail as from `send_email`
WAYS = {"groups": small_queue.as_group, "single emails": small_queue.one_by_one}


def chosen(seeds: Iterable[int]) -> list[int]:
    """These, or the one that somebody wants to see alone."""
    return [int(os.environ["SEED"])] if "SEED" in os.environ else list(seeds)


def settle(fault: str, tally: Tally, began: float) -> None:
    """Note the figures; nothing may be wrong."""
    figures.add(
        fault=fault,
        database="-",
        mails=tally.mails,
        faults=tally.servers,
        lost=tally.lost,
        unexpected=tally.strangers,
        duplicates=tally.copies,
        bound=tally.unknowns,
        copies=tally.most_copies,
        given_up=tally.given_up,
        seconds=time.monotonic() - began,
    )
    assert not tally.wrong, tally.complaints


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_server_does_no_mail_is_lost_doubled_or_let_out(way: str) -> None:
    began = time.monotonic()
    seeds = chosen(seed for seed in range(SERVERS) if (seed % SINGLY == 0) == (way == "single emails"))
    deliver = partial(small_queue.deliver, send=WAYS[way])
    settle(f"random servers, {way}", harvest(partial(trial, deliver=deliver), seeds), began)
