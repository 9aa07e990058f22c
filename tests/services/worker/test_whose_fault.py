"""A fault is charged to whoever is at fault: the server, its settings, or one mail that it will not have."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.outbox_db import OutboxMail, Priority, State
from services import email_service
from services.outbox import log
from services.outbox.reasons import Reason, words
from services.settings import configs
from services.settings import state as smtp_state
from services.settings.fields import parse_change
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, close
from tests.turned_clock import Now
from tests.visitors import Visitor, mail_through, make_alice

Script = dict[str, Answer | list[Answer]]

PLAIN = "250 plain.test"  # no pipelining: one command after the other
HELO = "504 5.5.2 <vault>: Helo command rejected: need fully-qualified hostname"
BAD_NAME = Reason.NAME_REFUSED
PAUSED_FOR = {
    HELO: BAD_NAME,
    "450 4.7.1 Client host rejected: cannot find your hostname": Reason.HOST_REFUSED,
    "554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using zen.spamhaus.org": Reason.BLOCK_LISTED,
    "554 5.7.1 <ann@example.com>: Relay access denied": Reason.NO_RELAY,
    "553 5.7.1 <s@example.com>: Sender address rejected: not owned by user": (Reason.NOT_OWNER),
    "530 5.7.0 Authentication required": Reason.LOGIN_WANTED,
    "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)": Reason.NO_RELAY,
}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def serve(servers: ExitStack, script: Script) -> ScriptedServer:
    """The server that the active configuration names."""
    server = servers.enter_context(ScriptedServer(script))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
    return server


def unless(bad: str, answer: Answer, good: str = "250 2.0.0 ok") -> Callable[[Connection], None]:
    """Give the answer to what is about a recipient with this in the address, and a good one to all others."""

    def act(connection: Connection) -> None:
        parts = answer if isinstance(answer, tuple) else (answer,)
        for part in parts if bad in connection.command else (good,):
            if callable(part):
                part(connection)
            else:
                connection.send(part.encode() + b"\r\n" if isinstance(part, str) else bytes(part))

    return act


def found(mail_id: str) -> OutboxMail:
    return row_of(mail_id)


def rows(*mail_ids: str) -> list[tuple[str, int]]:
    """State and charge of each."""
    return [(found(mail_id).state, found(mail_id).attempts) for mail_id in mail_ids]


# What is held against us.


@pytest.mark.parametrize(("reply", "reason"), PAUSED_FOR.items(), ids=PAUSED_FOR)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_what_is_held_against_us_keeps_the_mail_and_pauses_the_configuration(
    servers: ExitStack, now: Now, verb: str, reply: str, reason: str
) -> None:
    server = serve(servers, {verb: reply})
    first = queued("ann@example.com")
    drain()
    row = found(first)
    assert (row.state, row.attempts, row.reason) == (State.DEFERRED, 0, reason)
    assert row.recipients[0]["state"] == "pending"
    second = queued("bob@example.com")
    drain()
    assert rows(second) == [(State.DEFERRED, 0)]
    assert found(second).reason == reason
    now.turn(60)
    drain()
    assert rows(first, second) == [(State.DEFERRED, 0)] * 2
    if "elay" not in reply and "rcpthosts" not in reply and "530" not in reply:
        assert server.verbs.count("MAIL") == 1  # nobody has to try it to know


def test_a_mail_that_a_helo_refusal_held_goes_once_the_server_takes_it(servers: ExitStack, now: Now) -> None:
    serve(servers, {"RCPT": [HELO] * 3 + ["250 2.1.5 ok"]})
    mail_id = queued("ann@example.com")
    for _ in range(120):
        drain()
        now.turn(60)
    assert rows(mail_id) == [(State.SENT, 1)]


def test_the_page_and_the_status_show_the_cause_of_a_pause(servers: ExitStack, now: Now, admin: Visitor) -> None:
    serve(servers, {"RCPT": HELO})
    queued("ann@example.com")
    drain()
    state = smtp_state.describe(has_configs=True)
    assert (state.level, state.is_outage) == ("error", True)
    assert words(BAD_NAME) in state.detail
    assert words(BAD_NAME) in admin.get("/settings/smtp").text
    assert set(log.summary().reasons) == {words(BAD_NAME)}
    result = admin.application.test_cli_runner().invoke(args=["mail", "status"])
    assert words(BAD_NAME) in result.output


def test_the_log_tells_of_a_pause_once(servers: ExitStack, now: Now, caplog: pytest.LogCaptureFixture) -> None:
    serve(servers, {"RCPT": HELO})
    for _ in range(5):
        queued("ann@example.com")
        drain()
    told = [record.msg for record in caplog.records if "server_paused" in str(record.msg)]
    assert [each["reason"] for each in told if isinstance(each, dict)] == [words(BAD_NAME)]


def test_the_administrators_are_told_of_a_pause_once_an_hour_with_its_cause(servers: ExitStack, now: Now) -> None:
    make_alice(is_admin=True)
    relay = "554 5.7.1 Relay access denied"
    server = serve(servers, {"RCPT": unless("elsewhere", relay)})
    for _ in range(3):
        queued("ann@elsewhere.example")
        drain()
        now.turn(60)
    (told,) = [message for message in server.messages if b"Mail server Primary is down" in message]
    assert words(Reason.NO_RELAY).encode() in told
    assert b"No other server could be used" in told


def test_one_recipient_whom_it_does_not_relay_to_does_not_make_the_queue_late(servers: ExitStack, now: Now) -> None:
    serve(servers, {"RCPT": unless("elsewhere", "554 5.7.1 Relay access denied")})
    for to in ("ann@example.com", "ann@elsewhere.example", "bob@example.com"):
        queued(to)
        drain()
    now.turn(20 * 60)
    drain()
    assert not log.is_behind()


def test_a_pause_makes_the_queue_late(servers: ExitStack, now: Now) -> None:
    serve(servers, {"RCPT": HELO})
    queued("ann@example.com")
    drain()
    assert not log.is_behind()
    now.turn(16 * 60)
    drain()
    assert log.is_behind()


def test_of_a_mail_that_the_server_will_not_have_while_it_serves_others_nobody_is_told(
    servers: ExitStack, now: Now
) -> None:
    make_alice(is_admin=True)
    server = serve(servers, {"RCPT": unless("elsewhere", "554 5.7.1 Relay access denied")})
    queued("ann@example.com")
    drain()
    queued("ann@elsewhere.example")
    drain()
    assert len([message for message in server.messages if message]) == 1


def test_send_email_says_the_true_reason(servers: ExitStack) -> None:
    serve(servers, {"RCPT": HELO})
    assert email_service.send_email("ann@example.com", "s", "b") is False
    stored = configs.find_active()
    assert stored
    assert stored.row.last_error == words(BAD_NAME)


def test_of_two_recipients_the_one_whom_it_does_not_relay_to_waits_and_the_other_has_the_mail(
    servers: ExitStack,
) -> None:
    serve(servers, {"RCPT": ["250 2.1.5 ok", "554 5.7.1 Relay access denied"]})
    mail_id = queued("ann@example.com", "bob@example.net")
    drain()
    row = found(mail_id)
    assert row.state == State.DEFERRED
    assert [recipient["state"] for recipient in row.recipients] == ["accepted", "deferred"]
    assert row.reason == Reason.RECIPIENT_FORBIDDEN


@pytest.mark.parametrize("script", [{"RCPT": HELO}, {"RCPT": "550 5.7.1 Daily SMTP relay limit exceeded"},
                                    {"MAIL": "451 4.7.0 You are over your sending limit per hour"}])  # fmt: skip
def test_a_refusal_that_is_the_servers_goes_on_to_a_free_second_one_at_once(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack, script: Script
) -> None:
    with RecordingServer() as backup:
        other = create_app(environment | mail_through(backup), instance_path=tmp_path)
        with other.app_context():
            server = serve(servers, script)
            mail_ids = [queued("ann@example.com") for _ in range(3)]
            drain()
            assert {found(mail_id).state for mail_id in mail_ids} == {State.SENT}
            assert len(backup.mails) == 3
            assert all(b"Reply-To: s@example.com" in mail.content for mail in backup.mails)
            assert not any(server.messages)
            assert email_service.send_email("bob@example.com", "s", "b") is True


@pytest.mark.parametrize("script", [{"RCPT": "550 5.1.1 nobody"}, {"MESSAGE": "554 5.7.1 spam"},
                                    {"MESSAGE": "550 5.7.1 content refused"}])  # fmt: skip
def test_a_refused_recipient_or_message_goes_to_no_second_server(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack, script: Script
) -> None:
    with RecordingServer() as backup:
        other = create_app(environment | mail_through(backup), instance_path=tmp_path)
        with other.app_context():
            serve(servers, script)
            mail_id = queued("ann@example.com")
            drain()
            assert found(mail_id).state == State.FAILED
            assert backup.data == b""


# One mail that the server will not have.


GOES: dict[str, Script] = {
    "421 at RCPT": {"EHLO": PLAIN, "RCPT": unless("poison", ("421 4.3.0 closing", close))},
    "421 at RCPT in a pipeline": {"RCPT": unless("poison", ("421 4.3.0 closing", close))},
    "hangs up at RCPT": {"EHLO": PLAIN, "RCPT": unless("poison", close)},
    "does not relay there": {"RCPT": unless("poison", "554 5.7.1 Relay access denied")},
    "wants a login for it": {"RCPT": unless("poison", "530 5.7.0 Authentication required")},
}


@pytest.mark.parametrize("script", GOES.values(), ids=GOES)
def test_one_mail_that_makes_the_server_go_is_charged_and_stops_no_other(
    servers: ExitStack, now: Now, script: Script
) -> None:
    serve(servers, script)
    before = queued("ann@example.com")
    drain()
    poison, after = queued("poison@example.com"), queued("bob@example.com")
    drain()
    assert rows(before, poison, after) == [(State.SENT, 1), (State.DEFERRED, 1), (State.SENT, 1)]
    waits = []
    for _ in range(3):
        waits.append(round((found(poison).due_at - now()).total_seconds() / 60))
        now.turn((found(poison).due_at - now()).total_seconds())
        good = queued("cid@example.com")
        drain()
        assert rows(good) == [(State.SENT, 1)]
    assert waits == sorted(waits)
    assert found(poison).attempts == 4


@pytest.mark.parametrize("script", list(GOES.values())[:3], ids=list(GOES)[:3])
def test_the_first_mail_of_all_that_makes_the_server_go_is_charged_too(
    servers: ExitStack, now: Now, script: Script
) -> None:
    serve(servers, script)
    poison, good = queued("poison@example.com"), queued("ann@example.com")
    drain()
    assert rows(poison, good) == [(State.DEFERRED, 1), (State.SENT, 1)]


def test_in_two_hours_six_mails_that_the_server_goes_away_from_hold_nobody_up(servers: ExitStack, now: Now) -> None:
    serve(servers, GOES["421 at RCPT"])
    poison = [queued(f"poison{number}@example.com") for number in range(6)]
    born: dict[str, datetime] = {}
    arrived: dict[str, float] = {}
    for minute in range(120):
        for step in range(12):
            if step == 0 and minute % 4 == 3:
                born[queued("ann@example.com")] = now()
            drain()
            for mail_id, moment in born.items():
                if mail_id not in arrived and found(mail_id).state == State.SENT:
                    arrived[mail_id] = (now() - moment).total_seconds()
            now.turn(5)
    assert len(arrived) == len(born) == 30
    assert max(arrived.values()) <= 35
    assert sorted(arrived.values())[15] == 0
    assert {found(mail_id).state for mail_id in poison} == {State.DEFERRED}
    assert all(found(mail_id).attempts >= 3 for mail_id in poison)


def test_security_mail_is_never_held_up_by_mails_that_the_server_goes_away_from(servers: ExitStack, now: Now) -> None:
    serve(servers, GOES["421 at RCPT"])
    for number in range(8):
        queued(f"poison{number}@example.com")
    drain()
    usual = queued("ann@example.com")
    urgent = queued("ann@example.com", priority=Priority.SECURITY)
    drain()
    assert found(urgent).state == State.SENT
    now.turn(60)
    drain()
    assert found(usual).state == State.SENT


def test_where_other_mails_meet_it_too_it_is_the_server_and_they_are_not_charged(servers: ExitStack, now: Now) -> None:
    server = serve(servers, {"EHLO": PLAIN, "RCPT": ("421 4.3.0 closing", close)})
    mail_ids = [queued("ann@example.com") for _ in range(20)]
    for _ in range(30):
        drain()
        now.turn(60)
    assert rows(mail_ids[0]) == [(State.DEFERRED, 1)]  # of which nobody could know
    assert set(rows(*mail_ids[1:])) == {(State.DEFERRED, 0)}
    assert server.verbs.count("MAIL") < 100  # of 600
    assert found(mail_ids[-1]).reason in (Reason.DOWN, Reason.PAUSED)


@pytest.mark.parametrize("verb", ["MAIL", "DATA", "MESSAGE"])
def test_421_at_another_step_lets_the_others_go_on_too(servers: ExitStack, now: Now, verb: str) -> None:
    answers: list[Answer] = ["354 go" if verb == "DATA" else "250 ok"] * 2
    bye: Answer = ("421 4.3.0 closing", close)
    serve(servers, {"EHLO": PLAIN, verb: [answers[0], bye, bye, answers[0]]})
    first = queued("ann@example.com")
    drain()
    mail_id = queued("bob@example.com")
    drain()
    now.turn(90)
    after = queued("cid@example.com")
    drain()
    now.turn(400)
    drain()
    assert [found(each).state for each in (first, mail_id, after)] == [State.SENT] * 3


def test_a_message_at_whose_end_the_server_dies_stops_nobody(servers: ExitStack, now: Now) -> None:
    def die_of_poison(connection: Connection) -> None:
        if b"P0ison" in connection.server.messages[-1]:
            close(connection)
        connection.send(b"250 2.0.0 ok\r\n")

    serve(servers, {"EHLO": PLAIN, "MESSAGE": die_of_poison})
    good = queued("ann@example.com")
    drain()
    poison = email_service.queue_email("bob@example.com", "P0ison", "b")
    for _ in range(40):
        drain()
        now.turn(60)
        drain()
        last = queued("cid@example.com")
        drain()
        assert found(last).state == State.SENT
    assert (found(good).state, found(poison).state, found(poison).uncertain) == (State.SENT, State.FAILED, 3)
