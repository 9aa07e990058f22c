"""The model of random servers finds each sin that was planted, and blames no honest sender."""

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.smtp.client import Parcel, Policy, Receipt, Result
from services.smtp.settings import SmtpSettings
from tests.conftest import APP_KEY
from tests.faults.model import planted, small_queue, whole
from tests.faults.model.farm import harvest
from tests.faults.model.fates import Wrong
from tests.faults.model.planted import Honest
from tests.faults.model.trial import Tally, trial
from tests.faults.model.whole import ImpatientPool, Places, hurried

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
    impatient = partial(trial, deliver=deliver, step=IMPATIENT, patient=())
    tally = harvest(impatient, SEEDS, size=8, is_enough=lambda tally: wrong <= kinds(tally))
    assert wrong <= kinds(tally)


class SinfulPool(ImpatientPool):
    """Lets somebody else send."""

    def __init__(self, sender: Honest) -> None:
        super().__init__()
        self._sender = sender

    def send_all(self, settings: SmtpSettings, policy: Policy, *args: Any, owner: str, **others: Any) -> Any:
        return self._sinned(*hurried(settings, policy), args[0])

    def _sinned(
        self, settings: SmtpSettings, policy: Policy, parcels: Sequence[Parcel]
    ) -> Generator[tuple[Parcel, Result]]:
        for parcel in parcels:
            results = [result for _, result in self._sender(self, settings, policy, [parcel])]
            receipts = [result for result in results if isinstance(result, Receipt)]
            accepted = tuple(to for receipt in receipts for to in receipt.accepted)
            refused = {to: reply for receipt in receipts for to, reply in receipt.refused.items()}
            if accepted:
                yield parcel, Receipt(reply=receipts[0].reply, refused=refused, accepted=accepted, ms=0)
            else:
                yield parcel, next((each for each in results if not isinstance(each, Receipt)), None)


@pytest.mark.parametrize(
    ("sender", "wrong"),
    [
        (planted.Liar(), {Wrong.NOT_TAKEN}),
        (planted.Repeater(), {Wrong.TWICE}),
        (planted.Blind(), {Wrong.OUTSIDE, Wrong.STRANGER}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Honest) else "",
)
def test_a_planted_sin_is_found_in_the_whole_application(
    sender: Honest, wrong: set[Wrong], tmp_path: Path, migrated_database: Path
) -> None:
    pool = partial(SinfulPool, sender)
    places = Places(folder=tmp_path, empty=migrated_database, app_key=APP_KEY, pool=pool)
    deliver = partial(whole.deliver, places=places, way=whole.by_queue)
    impatient = partial(trial, deliver=deliver, step=IMPATIENT, patient=())
    tally = harvest(impatient, SEEDS, size=8, is_enough=lambda tally: wrong <= kinds(tally))
    assert wrong <= kinds(tally)
