"""An account connects its own mail server over the API; nobody else's, and nothing that the policy does not allow."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.oauth import keeping
from services.smtp.settings import Security
from tests import certificates
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.own_servers import bring
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET
from tests.visitors import Visitor, make_alice, make_bob

PASTED: Final = "http://localhost:47925/oauth/callback"
PLACE: Final = "/api/smtp/oauth"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    places = {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8,::1/128"}
    return environment | places | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture(scope="module")
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clients[CLIENT] = RegisteredClient((PASTED,), secret=SECRET)
        yield running


@pytest.fixture
def config_id(app: Flask) -> int:
    """Bob's server, at which nobody listens."""
    make_alice(is_admin=True)
    return bring(make_bob().id, "localhost", 465, security=Security.TLS, login=(MAILBOX, "app_password"))


@pytest.fixture
def bob(app: Flask, config_id: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(2, 'script', scopes=(Scope.SETTINGS,))[0]}"}


def body(provider: OAuthProviderServer, **more: object) -> dict[str, Any]:
    values: dict[str, Any] = {"provider": "custom", "client_id": CLIENT, "client_secret": SECRET, "scope": "mail"}
    return {**values, "authorize_url": f"{provider.url}/authorize", "token_url": f"{provider.url}/token", **more}


def told(answer: TestResponse) -> dict[str, Any]:
    found: dict[str, Any] = answer.get_json()
    assert found["success"] is (answer.status_code == 200), answer.text
    return found


def test_an_account_connects_checks_and_disconnects_its_own_server(
    client: Visitor, provider: OAuthProviderServer, bob: dict[str, str], config_id: int
) -> None:
    assert told(client.get(PLACE, headers=bob))["data"]["status"] == "none"
    answer = client.put(PLACE, json=body(provider), headers=bob)
    assert told(answer)["data"]["status"] == "registered"
    assert SECRET not in answer.text
    link = told(client.post(f"{PLACE}/authorize", headers=bob))["data"]
    address = f"{link['redirect_uri']}?{urlencode(pressed(link['url']), doseq=True)}"
    made = told(client.post(f"{PLACE}/finish", json={"address": address}, headers=bob))["data"]
    assert (made["state"], made["connection"]["granted_by"]) == ("connected", "bob")
    failed = told(client.post(f"{PLACE}/check", headers=bob))
    assert failed["error"].startswith("Could not connect to server.")
    assert {step["name"] for step in failed["steps"]} > {"settings"}
    assert told(client.delete(PLACE, headers=bob))["message"].startswith("Disconnected.")
    assert keeping.find(config_id) is None


def test_what_is_not_connected_says_why(client: Visitor, provider: OAuthProviderServer, bob: dict[str, str]) -> None:
    for rest in ("authorize", "device", "poll", "obtain"):
        assert told(client.post(f"{PLACE}/{rest}", headers=bob))["data"]["title"] == "Nothing is registered yet"
    assert "errors" in told(client.put(PLACE, json=body(provider, token_url="x"), headers=bob))


def test_whoever_has_no_server_is_told_so(app: Flask, client: Visitor, provider: OAuthProviderServer) -> None:
    alice = make_alice(is_admin=True)
    headers = {"Authorization": f"Bearer {api_tokens.create(alice.id, 'script')[0]}"}
    for method, rest in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/authorize"), ("POST", "/check")):
        answer = client.open(f"{PLACE}{rest}", method=method, json=body(provider), headers=headers)
        assert answer.status_code == 404
        assert told(answer)["error"] == "You have no mail server of your own. Set one up first."
