"""What becomes of “Verified”: a failed test takes it away, and so does mail that fails because of the settings."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask

from services import email_service
from services.checks import connection_test, noting
from services.delivery import attempt
from services.message.draft import draft
from services.settings import configs, route
from services.settings.fields import parse_change
from services.settings.reach import Reach
from services.settings.sealing import StoredConfig
from tests.mails import queued
from tests.outbox import drain
from tests.scripted_server import Answer, ScriptedServer, close
from tests.turned_clock import Now

Script = dict[str, Answer | list[Answer]]

CUSTOMER = "ann@elsewhere.example"
OF_SETTINGS: dict[str, Script] = {
    "login": {"AUTH": "535 5.7.8 wrong"},
    "relay": {"RCPT": "554 5.7.1 <ann@elsewhere.example>: Relay access denied"},
    "name": {"RCPT": "504 5.5.2 <vault>: Helo command rejected: need fully-qualified hostname"},
    "client": {"RCPT": "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org"},
    "sender": {"MAIL": "553 5.7.1 Sender address rejected: not owned by user shop"},
}
OF_OTHERS: dict[str, Script] = {
    "no such user": {"RCPT": "550 5.1.1 no such user"},
    "mailbox full": {"RCPT": "452 4.2.2 mailbox full"},
    "greylisted": {"RCPT": "450 4.2.0 greylisted"},
    "too busy": {"MAIL": "451 4.3.0 try later"},
    "leaves": {"MAIL": "421 4.3.2 going down"},
    "lost": {"MAIL": close},
    "content": {"MESSAGE": "554 5.6.0 content refused"},
    "disk": {"MAIL": "452 4.3.1 no room"},
}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def verified(servers: ExitStack, script: Script) -> StoredConfig:
    """An active server that does this once its settings have passed a test."""
    server = servers.enter_context(ScriptedServer({"EHLO": "250-x\n250 AUTH PLAIN", **script}))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    login = {"smtp_username": "shop", "smtp_password": "geheim-8472"}
    stored = configs.save(parse_change({**place, **login, "timeout_seconds": 5}), actor="tester")
    configs.mark_tested(stored.settings, None, stored.id)
    assert configs.get(stored.id).is_verified
    return stored


def is_verified(stored: StoredConfig) -> bool:
    return configs.get(stored.id).is_verified


def noted(stored: StoredConfig, **names: str) -> None:
    server = route.step_of(stored)
    noting.note_test(stored.settings, connection_test.run(stored.settings, server=server, **names), stored.id)


@pytest.mark.parametrize("script", OF_SETTINGS.values(), ids=OF_SETTINGS)
def test_a_mail_that_fails_because_of_the_settings_takes_the_mark_away(servers: ExitStack, script: Script) -> None:
    stored = verified(servers, script)
    queued(CUSTOMER)
    drain()
    assert not is_verified(stored)
    assert configs.get(stored.id).row.verified_at is None


@pytest.mark.parametrize("script", OF_SETTINGS.values(), ids=OF_SETTINGS)
def test_so_does_one_that_is_sent_at_once(servers: ExitStack, script: Script) -> None:
    stored = verified(servers, script)
    assert email_service.send_email(CUSTOMER, "s", "b") is False
    assert not is_verified(stored)


@pytest.mark.parametrize("script", OF_OTHERS.values(), ids=OF_OTHERS)
def test_a_refused_recipient_or_a_temporary_fault_leaves_the_mark(servers: ExitStack, script: Script) -> None:
    stored = verified(servers, script)
    queued(CUSTOMER)
    drain()
    assert email_service.send_email(CUSTOMER, "s", "b") is False
    assert is_verified(stored)


def test_a_server_that_takes_others_mail_keeps_its_mark_though_one_is_denied(servers: ExitStack, now: Now) -> None:
    stored = verified(servers, {"RCPT": ["250 ok", "554 5.7.1 Relay access denied", "250 ok"]})
    for _ in range(3):
        queued(CUSTOMER)
        drain()
    assert is_verified(stored)


def test_a_mail_of_earlier_settings_takes_nothing_from_those_of_now(servers: ExitStack) -> None:
    stored = verified(servers, {"AUTH": "535 5.7.8 wrong"})
    step = route.step_of(stored)
    changed = configs.update(stored.id, parse_change({"smtp_password": "another-8472"}), actor="tester")
    configs.mark_tested(changed.settings, None, stored.id)
    attempt.deliver(draft(CUSTOMER, "s", "b", message_id_domain="example.com"), [step])
    assert is_verified(stored)


@pytest.mark.parametrize("script", [*OF_SETTINGS.values(), {"MESSAGE": "554 5.7.1 spam"}, {"DATA": "451 4.3.0 later"}])
def test_a_failed_test_message_takes_the_mark_away(servers: ExitStack, script: Script) -> None:
    stored = verified(servers, script)
    noted(stored, to=CUSTOMER)
    assert not is_verified(stored)
    assert configs.get(stored.id).row.last_error


def test_so_does_a_test_without_one(servers: ExitStack) -> None:
    stored = verified(servers, {"AUTH": "535 5.7.8 wrong"})
    noted(stored, rcpt=CUSTOMER)
    assert not is_verified(stored)


def test_a_mistyped_recipient_of_a_test_message_takes_nothing_away(servers: ExitStack) -> None:
    stored = verified(servers, {"RCPT": "550 5.1.1 no such user"})
    noted(stored, to=CUSTOMER)
    assert is_verified(stored)


def test_a_test_that_could_see_less_takes_nothing_away_and_gives_no_more(servers: ExitStack) -> None:
    stored = verified(servers, {})
    configs.mark_tested(stored.settings, None, stored.id, reach=Reach.OWN_DOMAIN)
    assert is_verified(stored)
    configs.mark_tested(stored.settings, "Authentication failed", stored.id)
    configs.mark_tested(stored.settings, None, stored.id, reach=Reach.OWN_DOMAIN)
    assert configs.get(stored.id).verified_reach is Reach.OWN_DOMAIN
    assert configs.get(stored.id).row.last_error is None
    configs.mark_tested(stored.settings, None, stored.id)
    assert is_verified(stored)


def test_a_test_that_proves_nothing_of_others_leaves_no_mark(servers: ExitStack) -> None:
    stored = verified(servers, {})
    configs.mark_tested(stored.settings, "Authentication failed", stored.id)
    configs.mark_tested(stored.settings, None, stored.id, reach=Reach.UNSEEN)
    assert configs.get(stored.id).verified_reach is Reach.UNSEEN
    assert configs.get(stored.id).row.last_error is None
