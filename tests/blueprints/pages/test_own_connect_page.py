"""An account connects its own mail server by the same steps, within what accounts may do."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

import pytest
from flask import Flask

from services.oauth import keeping
from services.personal import own_server, policy_changes
from services.settings import own_rows, route
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from tests import certificates, connected_rows, signed_in_by_token
from tests.blueprints.pages.test_connect_pages import CALLBACK, form, led_to, said
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET
from tests.visitors import Visitor, make_bob, visit

PAGE: Final = "/account/smtp/connect"
OWN: Final = "/account/smtp"
PASSWORD: Final = "Pass~of~the~mailbox"
MICROSOFT: Final = {"provider": "microsoft", "way": "device", "client_id": "11111111-2222-3333-4444-555555555555"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clients[CLIENT] = RegisteredClient((CALLBACK,), secret=SECRET)
        yield running


@pytest.fixture
def bob(app: Flask, admin: Visitor) -> Visitor:
    make_bob()
    visitor = visit(app)
    visitor.sign_in("bob")
    return visitor


def bring(account_id: int, host: str, port: int = 587, **more: object) -> StoredConfig:
    values = {
        "smtp_server": host,
        "smtp_port": port,
        "use_ssl": port not in (587, 2525),
        "use_tls": port in (587, 2525),
    }
    change = values | {"smtp_username": MAILBOX, "smtp_password": PASSWORD, "from_email": MAILBOX}
    return own_server.save(account_id, parse_change(change | more))


def own_of(account_id: int) -> StoredConfig:
    found = own_server.find(account_id)
    assert found
    return found


def test_from_the_form_to_an_own_server_that_signs_in_by_token_and_back(
    admin: Visitor, provider: OAuthProviderServer
) -> None:
    with signed_in_by_token.mail_server(provider) as (server, _):
        config_id = bring(1, "localhost", server.port).row.id
        away = led_to(admin.post_form(f"{PAGE}/start", form(provider)))
        back = admin.get(f"/oauth/callback?{urlencode(pressed(away), doseq=True)}")
        assert led_to(back) == f"{PAGE}#checks"
        assert "The stored password is still used." in said(admin.get(PAGE))
        assert led_to(admin.post_form(f"{PAGE}/check")) == f"{PAGE}#checks"
        after = own_of(1)
        assert after.settings.is_by_token and after.row.smtp_password == "" and after.is_active
        assert next(route.steps(1)).config_id == config_id
    assert "Disconnect" in said(admin.get(f"{PAGE}/end"))
    assert led_to(admin.post_form(f"{PAGE}/end")) == PAGE
    connected_rows.await_revocations()
    assert provider.counts["revoked"] == 1
    assert own_of(1).row.inactive_reason == own_rows.NOT_CONNECTED and not next(route.steps(1)).blocks


def test_whoever_has_no_server_yet_gets_one_from_an_address(bob: Visitor) -> None:
    page = bob.get(f"{PAGE}?email=bob@gmail.com")
    assert "Connect with Google" in page.text
    assert led_to(bob.post_form(f"{PAGE}/add", {"email": "bob@gmail.com"})) == PAGE
    config = own_of(2)
    assert (config.host, config.username, config.is_active) == ("smtp.gmail.com", "bob@gmail.com", False)
    assert "Google" in said(bob.get(PAGE))
    again = bob.post_form(f"{PAGE}/add", {"email": "bob@gmail.com"})
    assert again.status_code == 409 and "already" in again.text


def test_what_is_registered_is_kept_for_the_own_server_alone(bob: Visitor) -> None:
    config = bring(2, "smtp.office365.com")
    assert led_to(bob.post_form(PAGE, MICROSOFT)).startswith(PAGE)
    known = keeping.find(config.row.id)
    assert known and known.registration.client_id == MICROSOFT["client_id"] and known.is_personal
    assert bob.get(f"/settings/smtp/{config.row.id}/connect").status_code == 403


@pytest.mark.parametrize("changes", [{"allowed": "off"}, {"allowed": "named", "hosts": "smtp.gmail.com"}])
def test_what_the_policy_forbids_is_not_connected(bob: Visitor, changes: dict[str, object]) -> None:
    config = bring(2, "smtp.office365.com")
    policy_changes.save(changes)
    for rest in ("", "/start", "/code", "/check"):
        assert led_to(bob.post_form(f"{PAGE}{rest}", MICROSOFT)) == OWN
    assert keeping.find(config.row.id) is None


def test_without_a_server_nothing_can_be_registered(bob: Visitor) -> None:
    assert led_to(bob.post_form(PAGE, MICROSOFT)) == PAGE
    assert led_to(bob.get(f"{PAGE}/end")) == PAGE


def test_a_custom_provider_of_an_account_is_asked_only_where_accounts_may_reach(
    bob: Visitor, provider: OAuthProviderServer
) -> None:
    config = bring(2, "smtp.office365.com")
    fields = form(provider, way="client_credentials")
    assert led_to(bob.post_form(f"{PAGE}/start", fields)) == f"{PAGE}#checks"
    assert provider.requests == []
    known = keeping.find(config.row.id)
    assert known and not known.is_connected
