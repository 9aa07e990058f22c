"""Who sends what an account sends over HTTP: its own server or the global one, as whom, and how that is told."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from database.engine import transaction
from database.sender_db import AccountSender
from services.accounts import api_tokens
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.own_rows import ADDRESS_CHANGED
from tests import own_servers
from tests.outbox import drain
from tests.scripted_server import ScriptedServer
from tests.visitors import Visitor, make_alice, make_bob
from utils import clock

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **own_servers.PLACES}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def token(alice: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(alice, 'shop', scopes=['send'])[0]}"}


@pytest.fixture
def shared() -> Iterator[ScriptedServer]:
    """The global server."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def own() -> Iterator[ScriptedServer]:
    with ScriptedServer(host=own_servers.free_host(), port=own_servers.PORT) as server:
        yield server


@pytest.fixture(autouse=True)
def _global_server(app: Flask, shared: ScriptedServer) -> None:
    server = {"smtp_server": "127.0.0.1", "smtp_port": shared.port, "use_tls": False, "from_email": "shop@example.com"}
    configs.create(parse_change({"name": "Primary", "is_active": True, **server}))


def confirm(account_id: int, email: str) -> None:
    with transaction() as session:
        session.add(
            AccountSender(
                account_id=account_id, email=email, email_key=email, created_at=clock.now(), confirmed_at=clock.now()
            )
        )


def send(client: Visitor, token: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={**MAIL, **more}, headers=token)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def test_its_own_server_sends_as_the_sender_that_was_chosen(
    client: Visitor, alice: int, token: dict[str, str], own: ScriptedServer, shared: ScriptedServer
) -> None:
    own_servers.bring(alice, own.host, own.port)
    confirm(alice, "sales@accounts.example")
    told = send(client, token, **{"from": "Sales <sales@accounts.example>"})
    assert (told["via"], told["why"]) == ("personal", "Your own server sends it.")
    drain()
    assert b"From: Sales <sales@accounts.example>" in own.messages[0]
    assert shared.messages == []


def test_the_global_server_sends_as_itself_and_replies_go_to_the_account(
    client: Visitor, token: dict[str, str], shared: ScriptedServer
) -> None:
    confirm(1, "sales@accounts.example")
    told = send(client, token, **{"from": "sales@accounts.example"})
    assert told["via"] == "global"
    drain()
    head = shared.messages[0].partition(b"\r\n\r\n")[0]
    assert b"<shop@example.com>" in head
    assert b"Reply-To: alice@example.com" in head


@pytest.mark.parametrize(
    "sender",
    ["boss@example.com", "bob@example.com", "shop@example.com", "Boss <boss@example.com>", "nonsense", "a@b, c@d"],
)
def test_a_sender_that_is_not_confirmed_is_refused(
    client: Visitor, alice: int, token: dict[str, str], own: ScriptedServer, sender: str
) -> None:
    own_servers.bring(alice, own.host, own.port)
    confirm(make_bob().id, "boss@example.com")
    answer = client.post(URL, json={**MAIL, "from": sender}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["from"])


@pytest.mark.parametrize("sender", ["Sales\r\nBcc: x@example.com <alice@example.com>", "alice@example.com\n", 7, None])
def test_a_sender_that_would_be_another_header_is_refused(client: Visitor, token: dict[str, str], sender: Any) -> None:
    answer = client.post(URL, json={**MAIL, "from": sender}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["from"])


def test_an_account_may_always_send_from_its_own_address(client: Visitor, token: dict[str, str]) -> None:
    assert send(client, token, **{"from": "Alice <alice@example.com>"})["id"]


def test_why_tells_what_is_wrong_with_its_own_server_and_nothing_of_the_global_one(
    client: Visitor, alice: int, token: dict[str, str], own: ScriptedServer, shared: ScriptedServer
) -> None:
    config = own_servers.bring(alice, own.host, own.port)
    own_servers.change(config, is_active=False, inactive_reason=ADDRESS_CHANGED)
    waiting = send(client, token)
    assert waiting["via"] == "personal"
    assert "address has changed" in waiting["why"]
    own_servers.decide(alice, personal_smtp="global")
    told = send(client, token)
    assert told["via"] == "global"
    assert "administrator" in told["why"]
    assert str(shared.port) not in str(told)
    assert "Primary" not in str(told)


def test_a_global_server_that_stood_in_is_told_after_the_attempt(
    client: Visitor, alice: int, token: dict[str, str], shared: ScriptedServer
) -> None:
    own_servers.bring(alice, own_servers.free_host(), own_servers.PORT)  # where nobody listens
    answer = client.post(URL, json={**MAIL, "wait": True}, headers=token)
    assert (answer.status_code, answer.get_json()["via"], len(shared.messages)) == (200, "global", 1)
    assert "so the global server sent it" in answer.get_json()["why"]


def test_waiting_for_it_goes_through_the_accounts_own_server(
    client: Visitor, alice: int, token: dict[str, str], own: ScriptedServer, shared: ScriptedServer
) -> None:
    own_servers.bring(alice, own.host, own.port)
    answer = client.post(URL, json={**MAIL, "wait": True}, headers=token)
    assert (answer.status_code, answer.get_json()["via"], len(own.messages)) == (200, "personal", 1)
    assert shared.messages == []
