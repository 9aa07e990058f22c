"""Accounts' own servers that are dead hold up nobody's mail but their own account's."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from database.engine import transaction
from database.outbox_db import State
from database.user_db import Account
from services.delivery import held_servers
from services.delivery.held_servers import Waits
from services.smtp.patience import Span
from services.worker import threads
from tests.mails import queued
from tests.outbox import row_of
from tests.own_servers import PLACES, PORT, bring, free_host
from tests.patience import wait_until
from tests.recording_server import RecordingServer
from tests.visitors import mail_through
from utils import clock

TO = "reader@example.net"
ACCOUNTS, DEAD = 20, 3


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    limits = {"ACCOUNT_EMAILS_PER_MINUTE": "0", "FALLBACK_EMAILS_PER_MINUTE": "0"}
    return {**environment, **mail_through(server), **PLACES, **limits}


@pytest.fixture
def healthy() -> Iterator[RecordingServer]:
    with RecordingServer(host=free_host(), port=PORT) as running:
        yield running


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """The hosts of servers whose system takes every connection, and which never say a word."""
    with ExitStack() as stack:
        hosts = [free_host() for _ in range(DEAD)]
        for host in hosts:
            stack.enter_context(socket.create_server((host, PORT), backlog=64))
        yield hosts


def account_with(host: str, number: int) -> int:
    """Somebody whose own server is there."""
    now, name = clock.now(), f"user{number}"
    with transaction() as session:
        keys = {"username_key": name, "email_key": f"{name}@example.com"}
        times = {"created_at": now, "password_changed_at": now}
        account = Account(username=name, email=f"{name}@example.com", password_hash="-", **keys, **times)
        session.add(account)
        session.flush()
    bring(account.id, host, PORT)
    return account.id


def test_while_three_of_twenty_servers_are_silent_the_mail_of_the_others_arrives(
    app: Flask, healthy: RecordingServer, silent: list[str]
) -> None:
    places = silent + [healthy.host] * (ACCOUNTS - DEAD)
    accounts_ = [account_with(host, number) for number, host in enumerate(places)]
    mails = {account: [queued(TO, account_id=account) for _ in range(3)] for account in accounts_}
    started = threads.start(app, senders=2)
    try:
        alive = [mail_id for account in accounts_[DEAD:] for mail_id in mails[account]]
        wait_until(lambda: {row_of(mail_id).state for mail_id in alive} == {State.SENT})
        dead = [row_of(mail_id).state for account in accounts_[:DEAD] for mail_id in mails[account]]
        assert State.SENT not in dead
        assert State.FAILED not in dead
    finally:
        started.stop()


def test_others_stand_in_for_whoever_waits_for_own_servers_but_not_without_end(app: Flask) -> None:
    waits = Waits()
    with ExitStack() as stack:
        spans = [Span(60) for _ in range(held_servers.MOST_BY_OWN + 5)]
        for number, span in enumerate(spans):
            stack.enter_context(waits.at(f"config:{number}", span, is_security=False, is_own=True))
            span.held_after = 0.0
        assert held_servers.excused(spans) == held_servers.MOST_BY_OWN
        assert waits.surplus() == []


def test_a_server_that_was_silent_is_stood_in_for_from_the_start_until_it_answers(app: Flask) -> None:
    waits, first, second, third = Waits(), Span(60), Span(60), Span(60)
    with waits.at("config:1", first, is_security=False, is_own=True):
        assert held_servers.excused([first]) == 0
        first.was_silent = True
    with waits.at("config:1", second, is_security=False, is_own=True):
        assert held_servers.excused([second]) == 1
    with waits.at("config:1", third, is_security=False, is_own=True):
        assert held_servers.excused([third]) == 0


def test_what_waits_for_a_silent_own_server_is_not_given_back_to_hold_another(app: Flask) -> None:
    span, owner = Span(60), "config:1"
    with held_servers.waits().at(owner, span, is_security=False, is_own=True), span.covers(Silent()):
        assert held_servers.is_long(span)
        assert not held_servers.may_be_given_back(span)
    with held_servers.waits().at(owner, span, is_security=False), span.covers(Silent()):
        assert held_servers.may_be_given_back(span)


class Silent:
    """A conversation in which the server has said nothing for a long while."""

    silent_seconds = held_servers.HELD_AFTER + 1
    is_waiting_for_receipt = False

    def cancel(self) -> None: ...
