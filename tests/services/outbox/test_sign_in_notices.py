"""Who is told that a server needs sign-in again: administrators or its owner, once, until it was connected again."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from database.audit_db import AuditEvent
from database.engine import reading
from database.outbox_db import OutboxMail
from services.delivery import attempt, record
from services.delivery.outcome import Outcome
from services.outbox import notices
from services.personal import own_server
from services.settings import configs, health, route
from services.settings.fields import parse_change
from services.smtp.patience import Span
from services.worker import renewing, threads
from tests import certificates
from tests.oauth_provider import OAuthProviderServer
from tests.patience import PATIENCE, wait_until
from tests.signed_in_by_token import MAILBOX, connected, grant, register, registration, reread
from tests.turned_clock import Now
from tests.visitors import make_alice, make_bob

PORT = 2465
OWN_PORT = 2525
WEEK = timedelta(days=7, hours=1).total_seconds()


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    places = {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8,::1/128"}
    return environment | places | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture(autouse=True)
def alice(app: Flask) -> None:
    make_alice(is_admin=True)


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


def told() -> list[tuple[str, str]]:
    """Which notices were queued, and to whom."""
    with reading() as session:
        rows = session.scalars(select(OutboxMail).order_by(OutboxMail.id))
        return [(row.kind, row.recipients[0]["address"]) for row in rows]


def met() -> Outcome:
    """What a mail meets at the first server, noted as the worker does."""
    failed = attempt.failure_to_reach(next(route.usable()), Span(PATIENCE))
    assert failed
    record.note([failed])
    notices.tell(failed)
    return failed


def test_administrators_are_told_once_by_the_first_mail_that_meets_it(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    provider.end_grants()
    now.turn(3600)
    for _ in range(3):
        met()
        now.turn(2 * 3600)
    assert told() == [("needs_sign_in", "alice@example.com")]
    with reading() as session:
        assert session.scalars(select(AuditEvent.action)).all().count("sign_in_needed") == 1
    grant(provider, reread(config.row.id))
    provider.end_grants()
    now.turn(3600)
    met()
    assert len(told()) == 2  # it was connected again, and is over again


def test_the_weekly_keeper_tells_where_no_mail_goes(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    renewing.keep()
    assert told() == []
    provider.end_grants()
    now.turn(WEEK)
    for _ in range(3):
        renewing.keep()
    assert told() == [("needs_sign_in", "alice@example.com")]
    assert health.of_config(configs.get(config.row.id)).is_down
    met()
    assert len(told()) == 1


def test_the_keeper_says_nothing_of_a_server_that_sends_nothing(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = connected(provider, PORT)
    configs.deactivate(config.row.id)
    provider.end_grants()
    now.turn(WEEK)
    renewing.keep()
    assert told() == []


def test_the_owner_of_an_own_server_is_told_and_nobody_else(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    bob = make_bob().id
    change = {"smtp_server": "localhost", "smtp_port": OWN_PORT, "use_ssl": True, "use_tls": False}
    values = change | {"smtp_username": MAILBOX, "from_email": MAILBOX}
    config = own_server.save(bob, parse_change(values), by_token=True)
    grant(provider, register(config.row.id, registration(provider)))
    own_server.save(bob, parse_change(values), by_token=True)
    provider.end_grants()
    now.turn(WEEK)
    for _ in range(2):
        renewing.keep()
    assert told() == [("own_server_broken", "bob@example.com")]


def test_a_worker_renews_what_has_rested_beside_its_other_work(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    connected(provider, PORT)
    now.turn(WEEK)
    worker = threads.start(app, senders=1)
    try:
        wait_until(lambda: provider.counts["refresh_token"] == 1)
    finally:
        worker.stop()
    assert told() == []
