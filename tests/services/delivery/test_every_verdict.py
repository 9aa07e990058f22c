"""What holds for the verdict on every error there is, and how long a mail waits after it."""

from datetime import timedelta
from itertools import product

import pytest

from services.delivery.retry_policy import (
    MailAction,
    back_off,
    of_error,
)
from utils.errors import Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

RETRY, SNOOZE, REFUSE, UNCERTAIN = MailAction
ERRORS = [
    kind(phase, fault, text, code=code, enhanced=enhanced, may_have_been_sent=kind is OutcomeUnknown)
    for kind, phase, fault, (code, enhanced), text in product(
        (Temporary, Permanent, Misconfigured, OutcomeUnknown),
        (phase for phase in Phase if phase not in (Phase.SETTINGS, Phase.QUIT)),
        Fault,
        [(None, None), (421, None), (450, None), (452, "4.3.1"), (451, "4.2.2"), (550, "5.4.5"), (554, "5.7.705"),
         (550, None), (552, "5.2.2"), (530, "5.7.0"), (503, None), (554, "5.7.1")],
        ["", "daily quota exceeded", "Relay access denied, too many recipients"],
    )
]  # fmt: skip


def test_where_the_next_server_is_tried_the_mail_is_kept_and_the_server_is_blamed() -> None:
    down = [error for error in ERRORS if of_error(error).goes_on]
    assert len(down) > 1000
    for error in down:
        verdict = of_error(error)
        assert verdict.action in (RETRY, SNOOZE)
        assert verdict.trips or verdict.opens


def test_a_final_verdict_never_tries_the_next_server() -> None:
    final = [error for error in ERRORS if of_error(error).action in (REFUSE, UNCERTAIN)]
    assert final
    assert not any(of_error(error).goes_on for error in final)


def test_the_wait_grows_to_two_hours() -> None:
    waits = [back_off(attempts, spread=0) for attempts in range(9)]
    assert [wait / timedelta(minutes=1) for wait in waits] == [1, 1, 5, 15, 30, 60, 120, 120, 120]


@pytest.mark.parametrize(("spread", "seconds"), [(-1, 48), (0, 60), (1, 72)])
def test_the_wait_is_spread_by_a_fifth(spread: float, seconds: float) -> None:
    assert back_off(1, spread=spread) == timedelta(seconds=seconds)


def test_the_wait_is_never_shorter_than_the_server_asks() -> None:
    assert back_off(1, at_least=300, spread=-1) == timedelta(seconds=300)
    assert back_off(4, at_least=300, spread=0) == timedelta(minutes=30)
