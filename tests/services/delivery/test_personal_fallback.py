"""What becomes of an account's mail when its own server fails: the global one sends as the policy says, as itself."""

import email
import email.policy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any, NamedTuple

import pytest
from flask import Flask
from sqlalchemy import select

from database.engine import reading, transaction
from database.outbox_db import OutboxMail
from database.policy_db import PersonalPolicy
from services import email_service
from services.outbox import owner_notices
from services.outbox.reasons import Reason
from services.settings.personal_policy import Fallback
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, change, free_host
from tests.own_servers import row_of as server_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.scripted_server import ScriptedServer, close
from tests.visitors import mail_through, make_alice
from utils import clock

TO = "reader@example.net"
LOGIN = {"EHLO": "250-scripted.test\n250 AUTH PLAIN"}
CALM = {"EHLO": "250 plain.test"}


class Failing(NamedTuple):
    """How an own server fails: by a script, or otherwise; and under which rules the global one sends instead."""

    falls: tuple[Fallback, ...]
    script: dict[str, Any] | None = None
    login: tuple[str, str] | None = None
    host: str = ""
    breaks: Callable[[int], None] | None = None
    left: str = "deferred"  # the state of a queued mail that does not fall back
    breaks_news: bool = True  # its owner is told that it is broken


REACH = (Fallback.ALWAYS, Fallback.CONNECTION)
ALWAYS = (Fallback.ALWAYS,)
NEVER: tuple[Fallback, ...] = ()
FAILING = {
    "no such name": Failing(REACH, host="nowhere.invalid"),
    "nobody listens": Failing(REACH, host="free"),
    "login refused": Failing(REACH, {**LOGIN, "AUTH": "535 5.7.8 no"}, ("ann", "wrong")),
    "login not checked now": Failing(REACH, {**LOGIN, "AUTH": "454 4.7.0 later"}, ("ann", "x")),
    "no login offered": Failing(REACH, CALM, ("ann", "x")),
    "gone before its greeting": Failing(REACH, {"GREETING": close}),
    "421 as greeting": Failing(REACH, {"GREETING": "421 4.3.2 shutting down"}),
    "another protocol": Failing(REACH, {"GREETING": b"HTTP/1.1 400 Bad Request\r\n\r\n"}),
    "of another key": Failing(REACH, {}, breaks=lambda row: change(row, key_id="00000000", smtp_password="x")),
    "altered": Failing(REACH, {}, breaks=lambda row: change(row, smtp_port=PORT + 1)),
    "its quota at sign-in": Failing(
        ALWAYS, {**LOGIN, "AUTH": "454 4.7.0 daily sending limit exceeded"}, ("ann", "x"), breaks_news=False
    ),
    "421 to MAIL": Failing(ALWAYS, {"MAIL": ("421 4.3.2 shutting down", close)}, breaks_news=False),
    "its quota at MAIL": Failing(ALWAYS, {"MAIL": "550 5.4.5 Daily sending limit exceeded."}, breaks_news=False),
    "gone at DATA": Failing(ALWAYS, {**CALM, "DATA": close}, breaks_news=False),
    "wants a login": Failing(ALWAYS, {"MAIL": "530 5.7.0 Authentication required"}),
    "recipient": Failing(NEVER, {"RCPT": "550 5.1.1 nobody"}, left="failed", breaks_news=False),
    "recipient for now": Failing(NEVER, {"RCPT": "450 4.2.0 greylisted"}, breaks_news=False),
    "sender": Failing(NEVER, {"MAIL": "550 5.1.0 no such sender"}, left="failed", breaks_news=False),
    "message": Failing(NEVER, {"MESSAGE": "554 5.7.1 spam"}, left="failed", breaks_news=False),
    "message as it goes away": Failing(NEVER, {"MESSAGE": ("421 4.3.2 bye", close)}, breaks_news=False),
    "after the dot": Failing(NEVER, {"MESSAGE": close}, left="uncertain", breaks_news=False),
}
MATRIX = [(why, fallback) for why in FAILING for fallback in Fallback]


@pytest.fixture(scope="module")
def shared() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], shared: RecordingServer) -> dict[str, str]:
    shared.mails.clear()
    place = mail_through(shared) | {"DEFAULT_FROM_EMAIL": "Shop <shop@example.com>"}
    return {**environment, **place, **PLACES, "SMTP_ALLOW_PLAINTEXT_LOGIN": "true", "APP_NAME": "Shop, Ltd."}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def broken(servers: ExitStack, account_id: int, failing: Failing, fallback: Fallback) -> int:
    """Give the account this server; the id of its row."""
    with transaction() as session:
        session.add(PersonalPolicy(id=1, fallback=fallback, updated_at=clock.now()))
    host = free_host() if failing.host in ("", "free") else failing.host
    if failing.script is not None:
        servers.enter_context(ScriptedServer(failing.script, host=host, port=PORT))
    config_id = bring(account_id, host, PORT, login=failing.login, from_name="Ann")
    if failing.breaks:
        failing.breaks(config_id)
    return config_id


def sent_by(server: RecordingServer) -> list[RecordedMail]:
    return [mail for mail in server.mails if mail.recipients == (TO,)]


def header(mail: RecordedMail) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def notices() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(OutboxMail.kind).where(OutboxMail.account_id.is_(None))))


def assert_as_itself(mail: RecordedMail, failing: Failing, account_id: int) -> None:
    """What a row says that cannot be opened is believed by nobody."""
    name, replies = ("alice", "alice@example.com") if failing.breaks else ("Ann", f"own{account_id}@accounts.example")
    assert mail.sender == "shop@example.com"
    assert header(mail)["From"] == f'"{name} via Shop, Ltd." <shop@example.com>'
    assert header(mail)["Reply-To"] == replies


@pytest.mark.parametrize(("why", "fallback"), MATRIX)
def test_mail_that_is_sent_now_falls_back_as_the_policy_says(
    alice: int, shared: RecordingServer, servers: ExitStack, why: str, fallback: Fallback
) -> None:
    failing = FAILING[why]
    config_id, falls = broken(servers, alice, failing, fallback), fallback in failing.falls
    assert email_service.send_email(TO, "s", "b", account_id=alice) is falls
    assert len(sent_by(shared)) == int(falls)
    if falls:
        assert_as_itself(sent_by(shared)[0], failing, alice)
    assert server_of(config_id).fell_back == int(falls)
    assert notices() == [owner_notices.BROKEN] * failing.breaks_news


@pytest.mark.parametrize(("why", "fallback"), MATRIX)
def test_queued_mail_falls_back_as_the_policy_says(
    alice: int, shared: RecordingServer, servers: ExitStack, why: str, fallback: Fallback
) -> None:
    failing = FAILING[why]
    config_id, falls = broken(servers, alice, failing, fallback), fallback in failing.falls
    mail_id = email_service.queue_email(TO, "s", "b", account_id=alice)
    drain()
    row = row_of(mail_id)
    assert row.state == ("sent" if falls else failing.left)
    assert row.pinned_to == (f"config:{config_id}" if row.state == "uncertain" else None)
    assert len(sent_by(shared)) == int(falls)
    if falls:
        assert_as_itself(sent_by(shared)[0], failing, alice)
    if failing.breaks and not falls:
        assert row.reason == Reason.NO_OWN_SERVER
    assert server_of(config_id).fell_back == int(falls)
    assert notices() == [owner_notices.BROKEN] * failing.breaks_news
