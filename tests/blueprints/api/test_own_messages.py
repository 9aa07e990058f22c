"""`/api/messages` for accounts: their own mail, all of what concerns them, and nothing of others or of the server."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from database.outbox_db import State
from services.accounts import accounts, api_tokens
from services.worker import groups
from services.worker.lease import Pace
from tests.conftest import ADMIN_TOKEN
from tests.mails import REFUSAL, attempted, in_state, queued
from tests.outbox import row_of
from tests.own_servers import PORT, bring, forget
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock

URL = "/api/messages"


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def bob(app: Flask, alice: int) -> int:
    return make_bob().id


def header(account_id: int, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(account_id, 'shop', scopes=scopes)[0]}"}


def ids(client: Visitor, headers: dict[str, str], query: str = "") -> list[str]:
    return [each["id"] for each in client.get(URL + query, headers=headers).get_json()["data"]]


def test_an_account_sees_its_own_and_administrators_see_all(client: Visitor, alice: int, bob: int) -> None:
    hers, his, the_systems = queued(account_id=alice), queued(account_id=bob), queued()
    assert ids(client, header(alice, "read")) == [hers]
    assert ids(client, header(bob, "read", "send")) == [his]
    assert ids(client, {"Authorization": f"Bearer {ADMIN_TOKEN}"}) == [the_systems, his, hers]


def test_a_session_sees_what_its_account_does(app: Flask, alice: int, bob: int) -> None:
    hers = queued(account_id=alice)
    queued(account_id=bob)
    visitor = visit(app)
    visitor.sign_in()
    assert ids(visitor, {}) == [hers]


def test_an_administrators_token_that_only_reads_sees_that_accounts_alone(client: Visitor, bob: int) -> None:
    queued(account_id=bob)
    queued()
    assert ids(client, header(bob, "read")) != []
    carol = header(make_admin(), "read")
    assert ids(client, carol) == []


def make_admin() -> int:
    return accounts.create("carol", "carol@example.com", "river otter seventeen lamp", is_admin=True).id


@pytest.mark.parametrize(("method", "more"), [("GET", ""), ("POST", "/retry"), ("POST", "/cancel")])
def test_the_mail_of_another_is_as_unknown_as_one_that_is_not_there(
    client: Visitor, alice: int, bob: int, method: str, more: str
) -> None:
    headers = header(alice, "read", "send")
    answers = [
        client.open(f"{URL}/{mail_id}{more}", method=method, headers=headers)
        for mail_id in (queued(account_id=bob), queued(), "0" * 32)
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.data for answer in answers}) == 1


@pytest.mark.parametrize(
    ("scope", "call", "status"),
    [
        ("send", "GET ", 403),
        ("settings", "GET ", 403),
        ("read", "POST /cancel", 403),
        ("read", "POST /retry", 403),
        ("settings", "POST /cancel", 403),
        ("read", "GET ", 200),
        ("send", "POST /retry", 200),
        ("send", "POST /cancel", 200),
    ],
)
def test_each_scope_is_good_for_its_own(client: Visitor, alice: int, scope: str, call: str, status: int) -> None:
    method, _, more = call.partition(" ")
    path = f"{URL}/{queued(account_id=alice)}{more}"
    assert client.open(path, method=method, headers=header(alice, scope)).status_code == status


def test_what_was_sent_directly_is_for_administrators(client: Visitor, alice: int) -> None:
    assert client.get(f"{URL}/direct", headers=header(alice, "read")).status_code == 403


def test_an_owner_does_not_read_what_servers_say_nor_where_the_global_one_is(client: Visitor, alice: int) -> None:
    mail_id = in_state(State.FAILED, account_id=alice)
    attempted(mail_id, worker="host:1:ab", **REFUSAL)
    attempted(
        mail_id, server="Own server (smtp.example.net:587)", phase="connect", fault="refused", outcome="temporary"
    )
    answer = client.get(f"{URL}/{mail_id}", headers=header(alice, "read"))
    first, second = answer.get_json()["data"]["attempt_log"]
    assert (first["server"], first["reply"], first["worker"], first["code"]) == ("Global server", "", None, 550)
    assert first["diagnosis"]["remedy"]
    assert second["server"] == "Own server"
    assert "smtp.example" not in answer.text
    assert "No such user here" not in answer.text


def test_a_lost_attempt_at_an_own_server_that_was_deleted_is_none_at_the_global_one(
    client: Visitor, alice: int
) -> None:
    config_id = bring(alice, "127.0.0.9", PORT)
    held: dict[str, Any] = {"lease_until": clock.now() - timedelta(seconds=1), "lease_token": "t", "attempts": 1}
    mails = [
        in_state(State.TRANSMITTING, account_id=alice, pinned_to=f"config:{config_id}", **held),
        in_state(State.TRANSMITTING, account_id=alice, pinned_to="env", **held),
    ]
    forget(alice)
    groups.sweep(Pace())
    headers = header(alice, "read")
    logs = [client.get(f"{URL}/{mail_id}", headers=headers).get_json()["data"]["attempt_log"] for mail_id in mails]
    assert [[attempt["server"] for attempt in log] for log in logs] == [["Deleted server"], ["Global server"]]


def test_an_owner_cancels_and_retries_but_releases_nothing_that_is_held(client: Visitor, alice: int) -> None:
    headers = header(alice, "send")
    waiting = in_state(State.DEFERRED, account_id=alice)
    assert client.post(f"{URL}/{waiting}/retry", headers=headers).status_code == 200
    assert client.post(f"{URL}/{waiting}/cancel", headers=headers).get_json()["data"]["state"] == "cancelled"
    held = in_state(State.HELD, account_id=alice)
    assert client.post(f"{URL}/{held}/retry", headers=headers).status_code == 409
    assert row_of(held).state == State.HELD
    assert client.post(f"{URL}/{held}/cancel", headers=headers).status_code == 200


def test_mails_are_found_by_their_tag(client: Visitor, alice: int) -> None:
    order, other = queued(account_id=alice, tag="order"), queued(account_id=alice, tag="Other tag, 7 %")
    queued(account_id=alice)
    headers = header(alice, "read")
    assert ids(client, headers, "?tag=order") == [order]
    assert ids(client, headers, "?tag=Other+tag,+7+%25") == [other]
    assert ids(client, headers, "?tag=order&state=sent") == []
    for odd in ("", "x" * 65, "%00", "a%0ab"):
        answer = client.get(f"{URL}?tag={odd}", headers=headers)
        assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["tag"])


def test_a_tag_is_shown_in_the_log_and_narrows_it(admin: Visitor) -> None:
    tagged, other = queued("a@example.com", tag="order <17>"), queued("b@example.com")
    assert "order &lt;17&gt;" in admin.get("/emails").text
    page = admin.get("/emails?tag=order+%3C17%3E").text
    assert tagged in page
    assert other not in page
    assert "order &lt;17&gt;" in admin.get(f"/emails/{tagged}").text
    assert tagged not in admin.get("/emails?tag=no-such").text
    for odd in ("%00", "x" * 65):
        assert admin.get(f"/emails?tag={odd}").status_code == 422


REFUSED_CONNECTION: dict[str, Any] = {
    "outcome": "temporary",
    "phase": "connect",
    "fault": "refused",
    "code": None,
    "reply": "",
}


@pytest.mark.parametrize(
    ("server", "owners", "administrators"),
    [
        ("Own server (mail.example.org:2525)", "port 2525", "port 2525"),
        ("Own server (2606:4700::1:2525)", "port 2525", "port 2525"),
        ("Primary (relay.example:587)", "there", "port 587"),
    ],
)
def test_a_server_where_nobody_listens_is_named_by_its_port_to_whoever_may_know_it(
    client: Visitor, alice: int, server: str, owners: str, administrators: str
) -> None:
    mail_id = queued(account_id=alice)
    attempted(mail_id, account_id=alice, server=server, **REFUSED_CONNECTION)
    for headers, place in (
        (header(alice, "read"), owners),
        ({"Authorization": f"Bearer {ADMIN_TOKEN}"}, administrators),
    ):
        (tried,) = client.get(f"{URL}/{mail_id}", headers=headers).get_json()["data"]["attempt_log"]
        assert tried["diagnosis"]["title"].endswith(f" {place}")
