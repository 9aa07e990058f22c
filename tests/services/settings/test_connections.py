"""A server whose sign-in by token is over says so everywhere, and how to connect it again."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from database import oauth_db
from database.engine import transaction
from services.checks import outlook, readiness
from services.checks.outlook import MailFitness
from services.delivery import attempt, record
from services.oauth import keeping
from services.settings import configs, health, route, shown, state
from services.settings.fields import parse_change
from services.settings.health import HealthState
from services.smtp.patience import Span
from tests import certificates, connected_rows, signed_in_by_token
from tests.bearer_server import BearerSide
from tests.oauth_provider import OAuthProviderServer
from tests.patience import PATIENCE
from tests.rotations import sql
from tests.signed_in_by_token import connected, grant, register, registration, reread, stored
from tests.turned_clock import Now
from utils.errors import DeliveryError, InvalidInput

PORT = 2465


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file()), "MAIL_DOWN_MINUTES": "10"}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        yield running


@pytest.fixture
def mail(provider: OAuthProviderServer) -> Iterator[tuple[int, BearerSide]]:
    with signed_in_by_token.mail_server(provider) as (server, side):
        yield server.port, side


def oauth_of(config_id: int) -> dict[str, Any]:
    found = shown.public_dict(configs.get(config_id))["oauth"]
    assert isinstance(found, dict)
    return found


def let_die(config_id: int, provider: OAuthProviderServer, now: Now, seconds: float = 3600) -> None:
    """Have the grant taken back, and the renewal refused."""
    provider.end_grants()
    now.turn(seconds)
    with pytest.raises(DeliveryError):
        keeping.current_token(config_id)


def send() -> None:
    """Try to reach the server that sends, and note how it went."""
    failed = attempt.failure_to_reach(next(route.usable()), Span(PATIENCE))
    assert failed
    record.note([failed])


def test_one_that_is_connected_tells_by_whom_and_nothing_secret(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    told = oauth_of(config.row.id)
    assert (told["provider"], told["way"], told["mailbox"]) == ("custom", "code", "shop@example.com")
    assert readiness.look(app).checks["key"].detail == "It opens the active server’s connection."
    assert told["connected"] and told["serves"] and not told["needs_sign_in"] and told["granted_by"] == "ada"
    known, whole = reread(config.row.id), str(shown.public_dict(configs.get(config.row.id)))
    secrets = known.access_token, known.refresh_token, known.registration.client_secret
    assert not [secret for secret in secrets if secret.reveal() in whole]


def test_a_dead_token_is_down_before_any_mail_has_met_it(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    let_die(config.row.id, provider, now)
    found = state.describe(has_configs=True)
    assert found.headline == "Shop (localhost) needs sign-in again. No email gets out."
    assert found.is_outage and found.level == "error" and found.needs_sign_in == config.row.id
    facts = state.facts(configs.get(config.row.id))
    assert (facts.level, facts.word, facts.needs_sign_in) == ("error", "Active, needs sign-in again", True)
    assert "Connect it again." in facts.advice
    assert oauth_of(config.row.id)["needs_sign_in"] and not oauth_of(config.row.id)["connected"]
    now.turn(601)
    assert outlook.fitness() is MailFitness.DOWN


def test_while_the_last_token_lives_it_is_a_warning(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    provider.end_grants()
    now.turn(3600 - 200)
    keeping.current_token(config.row.id)
    found = health.of_config(configs.get(config.row.id))
    assert found.needs_sign_in and not found.is_down and found.level == "warning"
    assert found.sentence.startswith("Needs sign-in again. Email goes out until")
    assert outlook.fitness() is MailFitness.DEGRADED


def test_a_new_token_that_the_mail_server_refuses_means_the_same(
    app: Flask, provider: OAuthProviderServer, mail: tuple[int, BearerSide]
) -> None:
    mail[1].grants = {}
    config = connected(provider, mail[0])
    send()
    found = health.of_config(configs.get(config.row.id))
    assert found.is_down and found.needs_sign_in
    assert state.facts(configs.get(config.row.id)).word == "Active, needs sign-in again"


def test_connected_again_it_is_as_new(app: Flask, now: Now, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    let_die(config.row.id, provider, now)
    send()
    assert configs.get(config.row.id).row.last_error
    grant(provider, reread(config.row.id))
    found = health.of_config(configs.get(config.row.id))
    assert not found.needs_sign_in and found.state is HealthState.UNPROVEN
    assert oauth_of(config.row.id)["connected"]


def test_a_connection_beside_a_password_says_nothing_of_the_server(
    app: Flask, now: Now, provider: OAuthProviderServer
) -> None:
    config = stored(PORT, auth_method="", smtp_password="the old one", is_active=True)
    grant(provider, register(config.row.id, registration(provider)))
    let_die(config.row.id, provider, now)
    facts = state.facts(configs.get(config.row.id))
    assert not facts.needs_sign_in and facts.word == "Active, unproven"
    assert not oauth_of(config.row.id)["serves"]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE oauth_sign_in SET scope = 'mail everything'", "Connect the server again"),
        ("UPDATE oauth_sign_in SET key_id = 'feedbeef'", "Restore APP_KEY"),
        ("DELETE FROM oauth_sign_in", "not connected"),
    ],
)
def test_one_whose_tokens_cannot_be_opened_is_not_used_and_asks_for_them_again(
    app: Flask, provider: OAuthProviderServer, statement: str, word: str
) -> None:
    config = connected(provider, PORT)
    sql(statement)
    facts = state.facts(configs.get(config.row.id))
    assert facts.level == "error" and facts.word == "Active, cannot be used" and word in facts.advice
    assert facts.needs_reentry is ("DELETE" not in statement)
    assert not readiness.look(app).checks["key"].ok


def test_the_api_takes_what_it_gave(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    configs.update(config.row.id, parse_change(shown.public_dict(configs.get(config.row.id)) | {"name": "Second"}))
    assert configs.get(config.row.id).name == "Second" and oauth_of(config.row.id)["connected"]


def test_a_password_is_not_given_up_before_a_test(app: Flask, provider: OAuthProviderServer) -> None:
    config = stored(PORT, auth_method="", smtp_password="the old one")
    grant(provider, register(config.row.id, registration(provider)))
    with pytest.raises(InvalidInput, match="serves until"):
        configs.update(config.row.id, parse_change({"auth_method": "XOAUTH2"}))


def test_a_copy_has_no_grant(app: Flask, provider: OAuthProviderServer) -> None:
    config = connected(provider, PORT)
    values = shown.public_dict(configs.get(config.row.id)) | {"name": "Copy", "is_active": False}
    copy = configs.create(parse_change({name: value for name, value in values.items() if name != "version"}))
    with transaction() as session:
        assert oauth_db.find(session, copy.row.id) is None
    assert not copy.row.is_connected


@pytest.mark.parametrize("more", [{}, {"smtp_username": ""}, {"auth_method": "XOAUTH2"}, {"smtp_port": 2525}])
def test_removing_a_password_that_is_not_there_does_not_end_a_sign_in_by_token(
    app: Flask, more: dict[str, object]
) -> None:
    config = connected_rows.connected()
    with pytest.raises(InvalidInput) as refused:
        configs.update(config.row.id, parse_change({"remove_password": True} | more))
    assert list(refused.value.errors) == ["smtp_password"]
    after = configs.get(config.row.id)
    assert after.is_usable and after.row.is_connected and after.settings.username == connected_rows.MAILBOX
    configs.update(config.row.id, parse_change({"remove_password": True, "auth_method": ""}))
    after = configs.get(config.row.id)
    assert after.is_usable and (after.settings.username, after.settings.is_by_token) == ("", False)
    connected_rows.await_revocations()


def test_a_sign_in_by_token_without_a_user_name_is_not_stored(app: Flask) -> None:
    config = connected_rows.stored(smtp_username="", auth_method="")
    for change in ({"auth_method": "XOAUTH2"}, {"auth_method": "XOAUTH2", "remove_password": True}):
        with pytest.raises(InvalidInput):
            configs.update(config.row.id, parse_change(change))
