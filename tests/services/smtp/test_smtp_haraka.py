"""Haraka announces PIPELINING and refuses what comes behind the final dot: its mail gets through, and costs nothing."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import select

from database.engine import reading
from database.outbox_db import OutboxMail, State
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from services.smtp.habits import Habit, habits_of
from tests.odd_servers import OddServer, not_behind_the_dot
from tests.outbox import drain
from tests.peers import node_peers
from tests.peers.node_peers import HarakaServer
from tests.peers.peer import Unavailable
from tests.peers.trial import tried

MAILS = 500
A_HANDFUL = 5


@pytest.fixture
def odd() -> Iterator[OddServer]:
    with OddServer(not_behind_the_dot) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], odd: OddServer) -> dict[str, str]:
    return environment | {
        "EMAIL_HOST": odd.host,
        "EMAIL_PORT": str(odd.port),
        "EMAIL_USE_TLS": "false",
        "DEFAULT_FROM_EMAIL": "noreply@example.com",
    }


def test_a_server_that_is_deaf_behind_the_dot_takes_every_queued_mail_uncharged(app: Flask, odd: OddServer) -> None:
    for number in range(MAILS):
        headers = {"X-Number": str(number)}
        mail = draft(f"m{number}@example.com", "s", "b", headers=headers, message_id_domain="example.com")
        promise.enqueue(mail, Terms())
    drain()
    with reading() as session:
        states = {
            (state, attempts) for state, attempts in session.execute(select(OutboxMail.state, OutboxMail.attempts))
        }
    assert states == {(State.SENT, 1)}
    assert sorted(odd.numbers) == list(range(MAILS))
    assert odd.connected <= A_HANDFUL + MAILS // 100  # a connection carries a hundred mails
    assert habits_of(odd.host, odd.port).lacks(Habit.BEHIND_DOT)


# Where there is no Node, there is nothing to skip: it is no component that the tests ask for.
if node_peers.missing() is None:

    def test_the_real_haraka_takes_every_queued_mail_once_and_uncharged() -> None:
        try:
            with HarakaServer() as haraka:
                done = tried(haraka, MAILS)
        except Unavailable as reason:
            pytest.skip(str(reason))
        assert (done.sent, done.charged, done.once, done.true) == (MAILS, 0, MAILS, MAILS)
        assert done.connections <= A_HANDFUL + MAILS // 100
        assert "nothing behind the dot" in done.way
