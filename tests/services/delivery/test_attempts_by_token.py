"""An attempt that failed for want of a good token is kept, and told afterwards, as one by token."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from database import attempt_db, oauth_db
from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from services import email_service
from services.outbox import facts
from tests import certificates, oauth_faults
from tests.oauth_provider import OAuthProviderServer
from tests.signed_in_by_token import connected, mail_server
from utils import clock


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


def last_attempt() -> EmailAttempt:
    with reading() as session:
        return attempt_db.latest(session, 1)[0]


def test_a_token_of_another_mailbox_is_told_from_a_wrong_password(app: Flask, provider: OAuthProviderServer) -> None:
    with mail_server(provider) as (server, _):
        connected(provider, server.port)
        for access in provider._access.values():
            access.mailbox = "someone.else@example.com"
        for grant in provider._grants:
            grant.mailbox = "someone.else@example.com"
        assert not email_service.send_email("ada@elsewhere.example", "Subject", "Text")
    row = last_attempt()
    assert row.reply.endswith(" [by token, status 400]")
    told = facts.attempt_facts(row).diagnosis
    assert told
    assert told.title == "Google does not accept the token for this mailbox"  # the server speaks like Google
    assert "password" not in told.remedy


def test_a_sign_in_that_has_ended_is_told_by_its_own_cause(app: Flask, provider: OAuthProviderServer) -> None:
    with mail_server(provider) as (server, _):
        config = connected(provider, server.port)
        with transaction() as session:
            row = oauth_db.find(session, config.row.id)
            assert row
            row.access_ends_at = clock.now() - timedelta(minutes=1)
        provider.next("token", oauth_faults.aadsts(50173))
        for _ in range(2):  # the second time nobody is asked
            assert not email_service.send_email("ada@elsewhere.example", "Subject", "Text")
            attempt = last_attempt()
            assert attempt.reply == "No token: refused, invalid_grant, AADSTS50173"
            told = facts.attempt_facts(attempt).diagnosis
            assert told
            assert told.title == "The password was changed"
    assert provider.counts["refresh_token"] == 0
