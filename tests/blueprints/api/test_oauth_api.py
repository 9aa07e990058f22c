"""Connecting over the API: register, sign in by link, code or by the application, check, and end."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from services.accounts import api_tokens
from services.oauth import keeping
from services.settings import configs
from services.settings.fields import MASK, parse_change
from tests import certificates, oauth_faults, signed_in_by_token
from tests.oauth_provider import USER_CODE, OAuthProviderServer, RegisteredClient
from tests.services.oauth.signing_in import pressed
from tests.signed_in_by_token import CLIENT, MAILBOX, SECRET
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice
from utils import clock

PASTED: Final = "http://localhost:47925/oauth/callback"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[OAuthProviderServer, int]]:
    with signed_in_by_token.provider_and_mail_server() as both:
        yield both


@pytest.fixture
def provider(shared: tuple[OAuthProviderServer, int]) -> OAuthProviderServer:
    provider = shared[0]
    provider.clients[CLIENT] = RegisteredClient((PASTED,), secret=SECRET)
    provider.script.clear()
    return provider


class Script:
    """A program that calls the API for one configuration."""

    def __init__(self, client: Visitor, bearer: dict[str, str], config_id: int) -> None:
        self._client, self._bearer = client, bearer
        self.place = f"/api/settings/smtp/configs/{config_id}/oauth"

    def ask(self, method: str, rest: str = "", body: dict[str, Any] | None = None) -> TestResponse:
        sent = {"json": body} if body is not None else {}
        return self._client.open(f"{self.place}{rest}", method=method, headers=self._bearer, **sent)


@pytest.fixture
def script(app: Flask, client: Visitor, bearer: dict[str, str], shared: tuple[OAuthProviderServer, int]) -> Script:
    values: dict[str, Any] = {"name": "Shop", "smtp_server": "localhost", "smtp_port": shared[1], "use_ssl": True}
    values |= {"smtp_username": MAILBOX, "smtp_password": "app_password", "from_email": MAILBOX, "is_active": True}
    return Script(client, bearer, configs.create(parse_change(values)).row.id)


def body(provider: OAuthProviderServer, **more: object) -> dict[str, Any]:
    values: dict[str, Any] = {"provider": "custom", "client_id": CLIENT, "client_secret": SECRET, "scope": "mail"}
    values |= {"authorize_url": f"{provider.url}/authorize", "token_url": f"{provider.url}/token"}
    return values | {"device_url": f"{provider.url}/devicecode", **more}


def test_what_is_registered_is_told_without_its_secrets(script: Script, provider: OAuthProviderServer) -> None:
    assert script.ask("GET").get_json()["data"]["status"] == "none"
    answer = script.ask("PUT", body=body(provider, secret_ends_on="2099-05-31"))
    data = answer.get_json()["data"]
    assert (data["status"], data["in_use"], data["client_secret"], data["has_client_secret"]) == (
        "registered",
        False,
        MASK,
        True,
    )
    assert data["secret_ends_on"] == "2099-05-31"
    assert SECRET not in answer.text
    assert script.ask("PUT", body=data).get_json()["data"] == data  # what was read may come back
    assert script.ask("PUT", body={"scope": "mail send"}).get_json()["data"]["has_client_secret"]


def test_someone_signs_in_anywhere_and_the_address_is_sent_back(script: Script, provider: OAuthProviderServer) -> None:
    script.ask("PUT", body=body(provider))
    link = script.ask("POST", "/authorize").get_json()["data"]
    assert link["redirect_uri"] == PASTED
    address = f"{PASTED}?{urlencode(pressed(link['url']), doseq=True)}"
    made = script.ask("POST", "/finish", {"address": address}).get_json()["data"]
    assert (made["state"], made["connection"]["status"]) == ("connected", "connected")
    assert made["caution"].startswith("The provider does not say which mailbox signed in.")
    twice = script.ask("POST", "/finish", {"address": address})
    assert twice.status_code == 422
    assert twice.get_json()["data"]["title"] == "The answer is not from this attempt"


def test_another_token_cannot_end_it(
    app: Flask, client: Visitor, script: Script, provider: OAuthProviderServer
) -> None:
    script.ask("PUT", body=body(provider))
    link = script.ask("POST", "/authorize").get_json()["data"]
    address = f"{PASTED}?{urlencode(pressed(link['url']), doseq=True)}"
    alice = make_alice(is_admin=True)
    other = {"Authorization": f"Bearer {api_tokens.create(alice.id, 'other')[0]}"}
    answer = client.post(f"{script.place}/finish", json={"address": address}, headers=other)
    assert answer.status_code == 422
    assert script.ask("GET").get_json()["data"]["status"] == "registered"


def test_a_code_is_polled(script: Script, provider: OAuthProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    script.ask("PUT", body=body(provider, way="device"))
    code = script.ask("POST", "/device").get_json()["data"]
    assert (code["user_code"], code["interval"]) == (USER_CODE, 5)
    waiting = script.ask("POST", "/poll").get_json()["data"]
    assert (waiting["state"], waiting["interval"]) == ("waiting", 5)
    pressed(f"{provider.url}/device", user_code=USER_CODE)
    now.turn(5)
    assert script.ask("POST", "/poll").get_json()["data"]["state"] == "connected"
    assert script.ask("POST", "/poll").get_json()["data"]["error"] == "expired_token"


def test_an_application_is_connected_checked_and_disconnected(script: Script, provider: OAuthProviderServer) -> None:
    provider.clients[CLIENT].secret = SECRET
    script.ask("PUT", body=body(provider, way="client_credentials"))
    provider.next("token", oauth_faults.aadsts(7000215, "invalid_client"))
    refused = script.ask("POST", "/obtain")
    assert (refused.status_code, refused.get_json()["data"]["code"]) == (422, "AADSTS7000215")
    assert script.ask("POST", "/check").status_code == 422
    assert script.ask("POST", "/obtain").get_json()["data"]["state"] == "connected"
    assert script.ask("DELETE").get_json()["message"].startswith("Disconnected.")
    assert script.ask("GET").get_json()["data"]["status"] == "none"


def test_a_sign_in_that_passes_its_test_serves(script: Script, provider: OAuthProviderServer) -> None:
    script.ask("PUT", body=body(provider))
    link = script.ask("POST", "/authorize").get_json()["data"]
    address = f"{PASTED}?{urlencode(pressed(link['url']), doseq=True)}"
    script.ask("POST", "/finish", {"address": address})
    answer = script.ask("POST", "/check")
    assert answer.status_code == 200, answer.text
    data = script.ask("GET").get_json()["data"]
    assert (data["in_use"], data["status"]) == (True, "connected")
    known = keeping.find(1)
    assert known
    assert known.access_token.reveal() not in answer.text


def test_only_what_is_registered_for_that_way_begins(script: Script, provider: OAuthProviderServer) -> None:
    for rest in ("/authorize", "/device", "/poll", "/obtain"):
        assert script.ask("POST", rest).get_json()["data"]["title"] == "Nothing is registered yet"
    script.ask("PUT", body=body(provider))
    for rest in ("/device", "/poll", "/obtain"):
        assert script.ask("POST", rest).get_json()["data"]["title"] == "Another way to a token is registered"
    assert script.ask("POST", "/finish", {"address": "x" * 9000}).status_code == 422
    assert script.ask("POST", "/finish", {}).get_json()["data"]["title"] == "This address contains no answer"
