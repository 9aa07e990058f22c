"""Test Connection of a server that is signed in to by token: getting the token is a step of its own."""

from collections.abc import Iterator
from typing import Final

import pytest
from flask import Flask

from services.checks import connection_test
from services.checks.connection_test import TestResult
from services.diagnosis.mending import MendPage
from services.oauth.providers import Grant
from services.settings.sealing import StoredConfig
from services.smtp.client import Step
from services.smtp.dialogue import SideLook
from tests import certificates, oauth_faults, signed_in_by_token
from tests.bearer_server import BearerSide
from tests.oauth_provider import OAuthProviderServer
from tests.signed_in_by_token import connected, mail_server, stored
from tests.turned_clock import Now
from utils.errors import Fault, Phase

AFTER_TOKEN: Final = [Phase.DNS, Phase.CONNECT, Phase.ENCRYPTION, Phase.GREETING, Phase.EHLO, Phase.SIGN_IN]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def mail(provider: OAuthProviderServer) -> Iterator[tuple[int, BearerSide]]:
    with mail_server(provider) as (server, side):
        yield server.port, side


def outcome_of(config: StoredConfig) -> tuple[list[Step], TestResult]:
    """The steps as they were heard, and what came of the test."""
    *steps, result = connection_test.stream(connection_test.plan(config.settings, rcpt="ada@elsewhere.example"))
    assert isinstance(result, TestResult)
    return [step for step in steps if isinstance(step, Step)], result


def secrets_of(provider: OAuthProviderServer) -> set[str]:
    """Every token that was given out."""
    return {*provider._access, *(token for grant in provider._grants for token in (grant.refresh, *grant.spent))} - {""}


def assert_silent(provider: OAuthProviderServer, steps: list[Step], result: TestResult) -> None:
    """No token is in what a test tells."""
    told = f"{steps} {result} {result.transcript} {result.error and result.error.text}"
    assert not [token for token in secrets_of(provider) if token in told]
    assert signed_in_by_token.SECRET not in told


def test_a_token_that_is_good_is_told_before_anyone_is_connected_to(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    steps, result = outcome_of(connected(provider, mail[0]))
    assert result.ok
    assert [step.name for step in steps][:2] == [Phase.SETTINGS, SideLook.TOKEN]
    token = steps[1]
    assert token.status == "ok"
    assert token.fact.startswith("Token from the provider for shop@example.com, good until ")
    sign_in = next(step for step in steps if step.name is Phase.SIGN_IN)
    assert (sign_in.status, sign_in.fact) == ("ok", "XOAUTH2, by token")
    assert_silent(provider, steps, result)


def test_a_renewed_token_is_told_as_new(
    app: Flask, now: Now, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0])
    now.turn(3500)
    steps, result = outcome_of(config)
    assert result.ok
    assert steps[1].fact.startswith("New token from the provider")
    assert_silent(provider, steps, result)


def test_where_there_is_no_token_nobody_is_connected_to_and_the_step_says_why(
    app: Flask, now: Now, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0])
    now.turn(3700)
    provider.next("token", oauth_faults.aadsts(700082))
    steps, result = outcome_of(config)
    assert [(step.name, step.status) for step in steps] == [(Phase.SETTINGS, "ok"), (SideLook.TOKEN, "failed")]
    assert steps[1].fact == "No token: refused, invalid_grant, AADSTS700082"
    assert result.message == "Server needs sign-in again"
    assert result.diagnosis
    assert result.diagnosis.rule == "token:AADSTS700082"
    assert [action.leads_to for action in result.diagnosis.actions] == [MendPage.CONNECT]
    assert mail[1].tokens == []
    assert_silent(provider, steps, result)
    again = outcome_of(config)[1]  # nobody is asked any more, and it is told all the same
    assert again.diagnosis
    assert again.diagnosis.rule == "token:AADSTS700082"


def test_a_provider_that_is_down_is_a_failed_step_and_while_the_token_lives_a_warning(
    app: Flask, now: Now, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0])
    now.turn(3600 - 200)
    provider.next("token", oauth_faults.Dropped())
    steps, result = outcome_of(config)
    assert result.ok
    assert steps[1].status == "warning"
    assert steps[1].fact.endswith("It could not be renewed for now")
    now.turn(1000)
    provider.next("token", oauth_faults.saying({"error": "temporarily_unavailable"}, 503))
    steps, result = outcome_of(config)
    assert steps[-1].status == "failed"
    assert result.error
    assert result.error.fault is Fault.TOKEN_UNAVAILABLE
    assert result.diagnosis
    assert (result.diagnosis.rule, result.diagnosis.retryable) == ("token:temporarily_unavailable", True)


def test_a_token_that_the_server_refuses_is_renewed_once_in_a_step_of_its_own(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0])
    provider.end_tokens()
    steps, result = outcome_of(config)
    assert result.ok
    token = [step for step in steps if step.name is SideLook.TOKEN]
    assert [(step.status, step.turn) for step in token] == [("ok", 1), ("warning", 2)]
    assert token[1].fact.startswith("The server refused the token. New token from the provider")
    assert_silent(provider, steps, result)


def test_a_token_of_another_mailbox_is_refused_with_advice_for_that(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    provider.mailbox = "someone.else@example.com"
    config = connected(provider, mail[0])
    for access in provider._access.values():
        access.mailbox = "someone.else@example.com"
    for grant in provider._grants:
        grant.mailbox = "someone.else@example.com"
    steps, result = outcome_of(config)
    assert result.error
    assert (result.error.phase, result.error.fault) == (Phase.SIGN_IN, Fault.REPLY)
    assert steps[-1].name is Phase.SIGN_IN
    assert result.diagnosis
    assert result.diagnosis.rule == "gmail-oauth-challenge"  # the server speaks like Google
    assert [action.label for action in result.diagnosis.actions] == ["Connect again"]
    assert_silent(provider, steps, result)


def test_a_server_that_is_not_connected_yet_fails_at_the_token(app: Flask, mail: tuple[int, BearerSide]) -> None:
    steps, result = outcome_of(stored(mail[0]))
    assert [(step.name, step.status) for step in steps] == [(Phase.SETTINGS, "ok"), (SideLook.TOKEN, "failed")]
    assert result.diagnosis
    assert result.diagnosis.rule == "not-connected"
    assert mail[1].tokens == []


def test_an_application_that_signs_in_itself_is_told_so(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    config = connected(provider, mail[0], way=Grant.CLIENT_CREDENTIALS)
    steps, _ = outcome_of(config)
    assert "for the application itself" in steps[1].fact


@pytest.mark.parametrize(
    ("is_testing", "title"), [(True, "Google’s seven days are over"), (False, "Access was withdrawn or has expired")]
)
def test_the_end_of_googles_seven_days_is_told_as_that_where_the_app_is_in_testing(
    app: Flask,
    now: Now,
    provider: OAuthProviderServer,
    mail: tuple[int, BearerSide],
    *,
    is_testing: bool,
    title: str,
) -> None:
    config = connected(provider, mail[0], is_testing=is_testing)
    now.turn(7 * 86_400)
    provider.next("token", oauth_faults.error("invalid_grant", "Token has been expired or revoked."))
    result = outcome_of(config)[1]
    assert result.diagnosis
    assert (result.diagnosis.rule, result.diagnosis.title) == ("token:expired_or_revoked", title)
