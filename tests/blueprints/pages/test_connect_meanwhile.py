"""A server that somebody changes while its sign-in by token is tested: the password serves on, and it is said why."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from flask import Flask

from services.connecting import moving
from services.settings import configs
from services.settings.fields import parse_change
from tests import certificates, connected_rows
from tests.bearer_server import BearerSide, bearer_server
from tests.blueprints.pages.test_connect_pages import CALLBACK, PASSWORD, answer_of, place_of, said, stored
from tests.oauth_provider import OAuthProviderServer, RegisteredClient
from tests.scripted_server import Connection
from tests.signed_in_by_token import CLIENT, SECRET, GoodTokens
from tests.visitors import Visitor

STREAM: Final = {"Accept": "application/x-ndjson"}
DEEDS: Final[dict[str, Callable[[int], object]]] = {
    "moved": lambda config_id: configs.update(config_id, parse_change({"smtp_port": 1, "smtp_password": PASSWORD})),
    "disconnected": moving.disconnect,
    "deleted": configs.delete,
}
SAID: Final = {
    "moved": "has not passed a test with these settings",
    "disconnected": "This server is not connected yet. Connect it first.",
    "deleted": "No such configuration.",
}


class Meddled(BearerSide):
    """A mail server's side, during whose sign-in somebody does something, once."""

    deed: Callable[[], object] | None = None

    def __call__(self, connection: Connection) -> None:
        deed, self.deed = self.deed, None
        if deed:
            deed()
        super().__call__(connection)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def provider() -> Iterator[OAuthProviderServer]:
    with OAuthProviderServer(certificates.good_context("localhost")) as running:
        running.clients[CLIENT] = RegisteredClient((CALLBACK,), secret=SECRET)
        yield running


@pytest.fixture
def side(provider: OAuthProviderServer) -> Meddled:
    return Meddled(GoodTokens(provider))


@pytest.fixture
def config_id(admin: Visitor, provider: OAuthProviderServer, side: Meddled) -> Iterator[int]:
    """A server that is connected, whose password serves still."""
    with bearer_server(side) as server:
        config_id = stored(server.port)
        admin.get(answer_of(admin, provider, config_id))
        yield config_id
    connected_rows.await_revocations()


def meddle(app: Flask, side: Meddled, config_id: int, deed: str) -> None:
    def done() -> None:
        with app.app_context():
            DEEDS[deed](config_id)

    side.deed = done


@pytest.mark.parametrize("deed", SAID)
@pytest.mark.parametrize("place", ["/settings/smtp/{}/connect", "/api/settings/smtp/configs/{}/oauth"])
def test_a_stream_tells_what_somebody_did_meanwhile_and_no_fault_of_ours(
    admin: Visitor, side: Meddled, config_id: int, place: str, deed: str
) -> None:
    token = {"X-CSRFToken": admin.csrf_token()}
    meddle(admin.application, side, config_id, deed)
    answer = admin.post(f"{place.format(config_id)}/check", headers=STREAM | token)
    last = json.loads(answer.text.strip().splitlines()[-1])
    assert last["ok"] is False and SAID[deed] in last["message"]
    if deed != "deleted":
        assert configs.get(config_id).settings.password.reveal() == PASSWORD


def test_the_page_tells_it_at_its_place(app: Flask, admin: Visitor, side: Meddled, config_id: int) -> None:
    meddle(app, side, config_id, "moved")
    page = admin.post_form(place_of(config_id, "/check"))
    assert page.status_code == 409
    page.status_code = 200
    assert "has not passed a test with these settings" in said(page)
    assert "The stored password is still used." in said(page)
