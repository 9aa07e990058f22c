"""The model of random servers finds each sin that was planted, and blames no honest sender."""

from functools import partial

import pytest

from tests.faults.model import planted, small_queue
from tests.faults.model.farm import harvest
from tests.faults.model.fates import Wrong
from tests.faults.model.planted import Honest
from tests.faults.model.trial import Tally, trial

SEEDS = range(200)
IMPATIENT, ROUNDS = 0.1, 3  # enough to sin


def kinds(tally: Tally) -> set[Wrong]:
    return {each.wrong for all_of_one in tally.wrong.values() for each in all_of_one}


def test_a_plain_serial_sender_is_not_blamed() -> None:
    tally = harvest(partial(trial, deliver=partial(small_queue.deliver, send=Honest())), SEEDS)
    assert not tally.wrong, tally.complaints
    assert tally.mails > len(SEEDS)


@pytest.mark.parametrize(
    ("sender", "wrong"),
    [
        (planted.Liar(), {Wrong.NOT_TAKEN}),
        (planted.Repeater(), {Wrong.TWICE}),
        (planted.Quitter(), {Wrong.LOST}),
        (planted.Stubborn(), {Wrong.LOST}),
        (planted.Blind(), {Wrong.OUTSIDE, Wrong.STRANGER}),
        (planted.Pedant(), {Wrong.DENIED}),
        (planted.Unstuffed(), {Wrong.ALTERED}),
        (planted.Forgetful(), {Wrong.STRANGER}),
        (planted.Clumsy(), {Wrong.RAISED}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Honest) else "",
)
def test_a_planted_sin_is_found(sender: Honest, wrong: set[Wrong]) -> None:
    deliver = partial(small_queue.deliver, send=sender, rounds=ROUNDS)
    impatient = partial(trial, deliver=deliver, step=IMPATIENT, patient=0)
    tally = harvest(impatient, SEEDS, size=8, is_enough=lambda tally: wrong <= kinds(tally))
    assert wrong <= kinds(tally)
