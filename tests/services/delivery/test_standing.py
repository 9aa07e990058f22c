"""What a server's answers make of its circuit, and which of them are about one mail alone."""

from collections.abc import Iterator

import pytest
from flask import Flask

from services.delivery import standing
from services.delivery.outcome import ACCEPTED, Outcome
from services.outbox.reasons import Reason
from services.settings.route import RouteStep
from services.smtp import habits
from services.smtp.dialogue import refusal
from services.smtp.habits import Habit
from services.smtp.settings import Security, SmtpSettings
from tests.services.delivery.test_retry_policy import reply
from tests.turned_clock import Now
from utils.errors import DeliveryError, Fault, Phase, Temporary

SETTINGS = SmtpSettings(host="mail.test", port=25, security=Security.NONE, from_email="s@example.com")
SERVER = RouteStep(source="env", name="Server", reason="It is the only one.", settings=SETTINGS)
NOTHING_SET_UP = RouteStep(source="env", name="Server", reason="It has no settings.")

DOWN = Temporary(Phase.CONNECT, Fault.REFUSED)
NO_SUCH_USER = refusal(Phase.RECIPIENT, reply("550 5.1.1 No such user"))
NO_RELAY = refusal(Phase.RECIPIENT, reply("554 5.7.1 Relay access denied"))
NO_LOGIN = refusal(Phase.SENDER, reply("530 5.7.0 Authentication required"))


@pytest.fixture(autouse=True)
def _in_the_application(app: Flask, now: Now) -> Iterator[None]:
    with app.app_context():
        yield


def note(mail: int, error: DeliveryError | None) -> bool:
    outcome = Outcome(kind=error.outcome if error else ACCEPTED, message="", ms=1, server=SERVER, error=error)
    return standing.note(SERVER, mail, outcome)


def fail(times: int) -> None:
    for mail in range(times):
        note(mail, DOWN)


def waits() -> bool:
    return not standing.admit(SERVER, [1000], is_security=False).mails


def test_a_server_that_refuses_five_connections_rests() -> None:
    fail(4)
    assert not waits()
    fail(1)
    assert waits()


def test_a_mail_that_went_is_about_no_mail_and_ends_the_rest(now: Now) -> None:
    fail(5)
    now.turn(31)
    assert note(1, None) is False
    fail(4)
    assert not waits()


def test_a_refused_mail_shows_that_the_server_works() -> None:
    fail(4)
    assert note(1, NO_SUCH_USER) is False
    fail(4)
    assert not waits()


def test_a_mail_that_the_server_has_not_heard_of_shows_nothing() -> None:
    not_heard = Temporary(Phase.SENDER, Fault.CLOSED)
    not_heard.not_taken = True
    fail(4)
    assert note(1, not_heard) is False
    fail(1)
    assert waits()


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the log has been told of rests: the event and the reason."""
    lines = [record.msg for record in caplog.records if record.name == standing.__name__]
    return [(line["event"], line["reason"]) for line in lines if isinstance(line, dict)]


def test_one_refused_login_lets_the_server_rest_and_its_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert note(1, NO_LOGIN) is False
    assert standing.admit(SERVER, [1000], is_security=False).cause == Reason.LOGIN_WANTED
    assert told(caplog) == [("server_paused", "Server requires sign-in")]


def test_what_counts_against_a_server_without_a_rest_for_long_is_not_told_as_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(5)
    assert told(caplog) == []
    assert standing.admit(SERVER, [1000], is_security=False).cause == Reason.CONNECT  # as the mail that waits shows


def test_a_recipient_for_whom_a_server_does_not_relay_while_it_takes_others_is_that_mails_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    note(1, None)
    assert note(2, NO_RELAY) is True
    assert told(caplog) == []
    assert not waits()


@pytest.mark.parametrize(("phase", "is_about_it"), [(Phase.SENDER, False), (Phase.RECIPIENT, True)])
def test_a_link_lost_after_a_recipient_may_be_the_mails_and_before_it_is_the_servers(
    phase: Phase, is_about_it: bool
) -> None:
    assert note(1, Temporary(phase, Fault.CLOSED)) is is_about_it


def test_a_server_is_known_by_host_and_port_and_one_that_is_not_set_up_by_neither() -> None:
    assert standing.place_of(SERVER) == ("mail.test", 25)
    assert standing.place_of(NOTHING_SET_UP) == ("", 0)


@pytest.mark.parametrize("swallows", [True, False])
def test_only_a_server_that_skips_refused_chunks_gets_a_group_before_its_first_answer(swallows: bool) -> None:
    habits.habits_of("mail.test", 25).learn(Habit.SWALLOWS, swallows)
    assert standing.goes_blind(SERVER) is swallows
