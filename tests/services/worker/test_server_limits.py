"""A server's own limits are met once and kept from then on: so many mails a minute, so many connections."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from flask import Flask

from database.outbox_db import Priority, State
from services import email_service
from services.delivery import pace
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.habits import Habit, habits_of
from tests import certificates, own_servers, postfix_server
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.postfix_server import DOMAIN, PostfixServer, parameters
from tests.scripted_server import Answer, Connection, ScriptedServer, close
from tests.turned_clock import Now
from tests.visitors import make_alice, make_bob

TOO_MUCH = "450 4.7.1 Error: too much mail from 127.0.0.1"
PASSWORD = "geheim-8472"
needs_postfix = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def serve(servers: ExitStack, script: dict[str, Answer | list[Answer]]) -> ScriptedServer:
    """The server that the active configuration names."""
    server = servers.enter_context(ScriptedServer(script))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
    return server


def serve_postfix(servers: ExitStack, **more: str) -> PostfixServer:
    """The same with a Postfix of these parameters."""
    server = servers.enter_context(PostfixServer({"shop": PASSWORD}, parameters(more)))
    place = {"smtp_server": server.host, "smtp_port": server.starttls_port, "use_tls": True}
    login = {"smtp_username": "shop", "smtp_password": PASSWORD, "from_email": f"shop@{DOMAIN}"}
    configs.save(parse_change({**place, **login, "timeout_seconds": 10}), actor="tester")
    return server


def states(mail_ids: list[str]) -> list[str]:
    return [row_of(mail_id).state for mail_id in mail_ids]


def charges(mail_ids: list[str]) -> int:
    """The attempts that mails that were not sent are charged with."""
    rows = [row_of(mail_id) for mail_id in mail_ids]
    return sum(row.attempts for row in rows if row.state != State.SENT)


class ByMinute:
    """What Postfix does with smtpd_client_message_rate_limit: its minute begins with the first mail after the last."""

    def __init__(self, most: int, now: Now) -> None:
        self.refused = self.cut = 0
        self._most, self._now = most, now
        self._began, self._count = 0, 0
        self._errors: dict[int, int] = {}

    def __call__(self, connection: Connection) -> None:
        second = int(self._now.seconds())
        if self._began + 60 < second:
            self._began, self._count = second, 0
        self._count += 1
        if self._count <= self._most:
            self._errors[id(connection)] = 0
            connection.send(b"250 2.1.0 ok\r\n")
            return
        self.refused += 1
        self._errors[id(connection)] = self._errors.get(id(connection), 0) + 1
        if self._errors[id(connection)] > 20:
            self.cut += 1
            connection.send(b"421 4.7.0 Error: too many errors\r\n")
            close(connection)
        connection.send(TOO_MUCH.encode() + b"\r\n")


def test_of_150_mails_to_a_server_of_60_a_minute_hardly_any_is_refused_and_all_arrive(
    servers: ExitStack, now: Now
) -> None:
    limit = ByMinute(60, now)
    server = serve(servers, {"MAIL": limit})
    mail_ids = [queued("ann@example.com") for _ in range(150)]
    minutes = 0.0
    while set(states(mail_ids)) != {State.SENT}:
        drain()
        now.turn(5)
        minutes += 5 / 60
        assert minutes < 6
    assert len([message for message in server.messages if message]) == 150
    assert limit.refused <= 3
    assert limit.cut == 0


def test_two_senders_keep_to_it_too(app: Flask, servers: ExitStack, now: Now) -> None:
    limit = ByMinute(60, now)
    server = serve(servers, {"MAIL": limit})
    mail_ids = [queued("ann@example.com") for _ in range(150)]

    def sender(_number: int) -> None:
        with app.app_context():
            drain()

    for _ in range(72):
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(sender, range(2)))
        now.turn(5)
    assert states(mail_ids) == [State.SENT] * 150
    assert len([message for message in server.messages if message]) == 150
    assert limit.refused <= 6
    assert limit.cut == 0


def test_what_is_sent_at_once_is_part_of_what_a_server_takes_a_minute(servers: ExitStack, now: Now) -> None:
    limit = ByMinute(60, now)
    server = serve(servers, {"MAIL": limit})
    assert [email_service.send_email("ann@example.com", "Subject", "Text") for _ in range(40)] == [True] * 40
    mail_ids = [queued("ann@example.com") for _ in range(60)]
    drain()
    assert states(mail_ids).count(State.SENT) == 20
    assert habits_of(server.host, server.port).most(Habit.MOST_A_MINUTE) == 60


def test_too_much_mail_is_learnt_from_what_is_sent_at_once(servers: ExitStack, now: Now) -> None:
    limit = ByMinute(20, now)
    server = serve(servers, {"MAIL": limit})
    sent = []
    for _ in range(3):
        sent.append(email_service.send_email("ann@example.com", "Subject", "Text"))
        now.turn(120)  # which are none of the minute in which it is too much
    sent += [email_service.send_email("ann@example.com", "Subject", "Text") for _ in range(21)]
    assert sent == [True] * 23 + [False]
    assert habits_of(server.host, server.port).most(Habit.MOST_A_MINUTE) == 20
    mail_id = queued("ann@example.com")
    drain()
    assert (row_of(mail_id).state, row_of(mail_id).reason, limit.refused) == (State.DEFERRED, Reason.SLOWED, 1)


@pytest.mark.parametrize("script", [{"RCPT": "550 5.1.1 No such user"}, {"GREETING": "421 busy"}])
def test_what_was_sent_at_once_in_vain_takes_no_place(
    servers: ExitStack, now: Now, script: dict[str, Answer | list[Answer]]
) -> None:
    server = serve(servers, script)
    assert not email_service.send_email("ann@example.com", "Subject", "Text")
    habits_of(server.host, server.port).learn(Habit.MOST_A_MINUTE, 1)
    assert not pace.seconds_until_willing((server.host, server.port), is_security=False)


@needs_postfix
@pytest.mark.parametrize("swallows", [False, True], ids=["one by one", "several in flight"])
def test_a_postfix_that_has_had_enough_is_told_no_more(servers: ExitStack, now: Now, swallows: bool) -> None:
    discarded = {} if swallows else {"smtpd_discard_ehlo_keywords": "chunking"}
    postfix = serve_postfix(servers, smtpd_client_message_rate_limit="20", **discarded)
    if swallows:
        habits_of(postfix.host, postfix.starttls_port).learn(Habit.SWALLOWS, True)
    mail_ids = [queued(f"ann@{DOMAIN}") for _ in range(60)]
    drain()
    assert states(mail_ids).count(State.SENT) == 20
    assert charges(mail_ids) == 0
    assert 1 <= postfix.log.count("Message delivery request rate limit exceeded") <= (5 if swallows else 1)
    assert "too many errors" not in postfix.log
    assert habits_of(postfix.host, postfix.starttls_port).most(Habit.MOST_A_MINUTE) == 20


@pytest.mark.parametrize(
    "refusal",
    [
        TOO_MUCH,
        '451 4.7.1 Ratelimit "user" exceeded',
        "451 4.7.500 Server busy. Please try again later",
        "421 4.7.28 Our system has detected an unusual rate of mail",
        "550 5.4.5 Daily user sending limit exceeded.",
        "454 Throttling failure: Maximum sending rate exceeded.",
    ],
)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_after_too_much_mail_the_rest_of_the_group_is_not_said_nor_charged(
    servers: ExitStack, now: Now, verb: str, refusal: str
) -> None:
    server = serve(servers, {"EHLO": "250 plain.test", verb: ["250 ok", "250 ok", refusal]})
    mail_ids = [queued("ann@example.com") for _ in range(8)]
    drain()
    assert states(mail_ids) == [State.SENT] * 2 + [State.DEFERRED] * 6
    assert charges(mail_ids) == 0
    assert server.verbs.count("MAIL") <= 4  # a connection that ends is replaced once


def test_what_was_not_said_is_due_again_in_a_minute_and_arrives_once(servers: ExitStack, now: Now) -> None:
    server = serve(servers, {"MAIL": ["250 ok"] * 4 + [TOO_MUCH, "250 ok"]})
    mail_ids = [queued("ann@example.com") for _ in range(8)]
    for _ in range(5):
        drain()
        now.turn(62)
    assert states(mail_ids) == [State.SENT] * 8
    assert len([message for message in server.messages if message]) == 8


def test_security_mail_goes_though_the_minute_is_used_up(servers: ExitStack, now: Now) -> None:
    serve(servers, {"MAIL": ["250 ok"] * 3 + [TOO_MUCH, "250 ok"]})
    mail_ids = [queued("ann@example.com") for _ in range(8)]
    drain()
    urgent = queued("ann@example.com", priority=Priority.SECURITY)
    drain()
    assert states([urgent]) == [State.SENT]
    assert row_of(mail_ids[-1]).reason in (Reason.SLOWED, Reason.TOO_MANY_MAILS)


def test_the_rate_grows_again_and_is_forgotten_in_the_end(now: Now) -> None:
    place = ("mail.example.com", 587)
    for _ in range(61):
        pace.seconds_until_willing(place, is_security=False)
    pace.note_too_much(place, unsaid=0, is_by_minute=True)
    rates = []
    for minutes in (0, 9, 1, 10, 340):
        now.turn(minutes * 60)
        rates.append(pace.most_a_minute(place))
    assert rates == [60, 60, 91, 137, None]


def test_one_refusal_among_few_mails_does_not_slow_a_server_down_to_nothing(servers: ExitStack, now: Now) -> None:
    serve(servers, {"RCPT": ["451 4.7.1 Server busy, please try again later", "250 ok"]})
    first = queued("ann@example.com")
    drain()
    later = [queued("ann@example.com") for _ in range(8)]
    drain()
    assert states([first, *later]) == [State.DEFERRED] + [State.SENT] * 8


@pytest.mark.parametrize("kept", [8, 5])
def test_what_was_counted_and_did_not_go_is_no_part_of_the_measure(now: Now, kept: int) -> None:
    place = ("mail.example.com", 587)
    for _ in range(20):
        pace.seconds_until_willing(place, is_security=False)
    pace.note_too_much(place, unsaid=kept - 1, is_by_minute=True)
    assert pace.most_a_minute(place) == 20 - kept


def test_what_one_accounts_login_may_send_slows_nobody_else_at_the_same_server(servers: ExitStack, now: Now) -> None:
    server = serve(servers, {"MAIL": ["250 ok"] * 12 + [TOO_MUCH, "250 ok"]})
    alice, bob = make_alice(is_admin=True).id, make_bob(is_admin=True).id
    for account_id in (alice, bob):
        own_servers.bring(account_id, server.host, server.port)
    hers = [queued("ann@example.com", account_id=alice) for _ in range(13)]
    drain()
    assert states(hers).count(State.SENT) == 12
    others = [queued("ann@example.com", account_id=account_id) for account_id in (bob, None) for _ in range(12)]
    drain()
    assert states(others) == [State.SENT] * 24
    hers = [queued("ann@example.com", account_id=alice) for _ in range(8)]
    drain()
    assert {row_of(mail_id).reason for mail_id in hers} == {Reason.SLOWED}


# Connections.


@needs_postfix
def test_where_one_connection_is_allowed_two_senders_share_it(app: Flask, servers: ExitStack) -> None:
    postfix = serve_postfix(servers, smtpd_client_connection_count_limit="1")
    mail_ids = [queued(f"ann@{DOMAIN}") for _ in range(128)]  # more than go over one connection

    def sender(_number: int) -> None:
        with app.app_context():
            drain()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(sender, range(2)))
    assert states(mail_ids) == [State.SENT] * 128
    assert charges(mail_ids) == 0
    assert postfix.log.count("Connection concurrency limit exceeded") <= 2
    assert habits_of(postfix.host, postfix.starttls_port).most(Habit.MOST_CONNECTIONS) == 1


def test_where_another_process_has_the_only_connection_the_mail_waits_uncharged_and_the_server_is_not_blamed(
    servers: ExitStack, now: Now
) -> None:
    serve(servers, {"GREETING": ["421 4.7.0 Error: too many connections from 127.0.0.1"] * 6 + ["220 hello"]})
    mail_ids = [queued("ann@example.com") for _ in range(8)]
    for _ in range(6):
        drain()
        assert set(states(mail_ids)) == {State.DEFERRED}
        assert charges(mail_ids) == 0
        now.turn(30)
    drain()
    assert states(mail_ids) == [State.SENT] * 8


def test_a_connection_that_we_have_just_ended_and_the_server_still_counts_costs_no_mail(servers: ExitStack) -> None:
    crowded: Answer = ("421 4.7.0 Error: too many connections from 127.0.0.1", close)
    serve(servers, {"GREETING": ["220 hello", crowded, "220 hello"]})
    mail_ids = [queued("ann@example.com") for _ in range(104)]
    drain()
    assert states(mail_ids) == [State.SENT] * 104
