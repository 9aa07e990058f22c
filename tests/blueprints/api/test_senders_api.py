"""``/api/smtp/senders``: the addresses that an account may send from."""

from typing import Any

import pytest
from flask import Flask

from services.accounts import accounts, api_tokens
from services.accounts.api_tokens import Scope
from services.personal import senders
from tests.visitors import Visitor, make_alice, make_bob, visit

API = "/api/smtp/senders"
SALES = "sales@shop.example"


def token_of(account_id: int, *scopes: Scope) -> dict[str, str]:
    text, _ = api_tokens.create(account_id, "script", scopes=scopes or (Scope.SETTINGS,))
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def alice(app: Flask) -> dict[str, str]:
    """The header of a script that holds her token."""
    return token_of(make_alice().id)


def test_a_sender_is_added_listed_and_removed(client: Visitor, alice: dict[str, str]) -> None:
    answer = client.post(API, json={"email": "Orders@Shop.example"}, headers=alice)
    assert answer.status_code == 201
    assert answer.json
    assert answer.json["message"] == "A link was sent to this address. Follow it to confirm."
    sender = answer.json["sender"]
    assert (sender["email"], sender["isConfirmed"], sender["confirmedAt"]) == ("Orders@shop.example", False, None)
    assert client.get(API, headers=alice).json == {"senders": [sender]}
    assert client.delete(f"{API}/{sender['id']}", headers=alice).json == {"message": "Sender removed."}
    assert client.get(API, headers=alice).json == {"senders": []}


@pytest.mark.parametrize(
    "body", [{}, {"email": ""}, {"email": 5}, {"email": None}, {"email": [SALES]}, {"email": "a@b, c@d"}]
)
def test_what_is_no_address_is_told_so_in_the_personal_shape(
    client: Visitor, alice: dict[str, str], body: dict[str, Any]
) -> None:
    answer = client.post(API, json=body, headers=alice)
    assert answer.status_code == 422
    assert answer.json
    assert answer.json["success"] is False
    assert list(answer.json["errors"]) == ["email"]


def test_an_unknown_field_is_refused(client: Visitor, alice: dict[str, str]) -> None:
    answer = client.post(API, json={"email": SALES, "accountId": 1}, headers=alice)
    assert answer.status_code == 422
    assert answer.json
    assert "accountId" in answer.json["errors"]


def test_the_environments_token_has_no_senders(client: Visitor, bearer: dict[str, str]) -> None:
    for answer in (client.get(API, headers=bearer), client.post(API, json={"email": SALES}, headers=bearer)):
        assert answer.status_code == 403
        assert answer.json
        assert "belongs to no account" in answer.json["error"]


@pytest.mark.parametrize("scope", [Scope.SEND, Scope.READ])
def test_a_token_needs_the_scope(client: Visitor, app: Flask, scope: Scope) -> None:
    assert client.get(API, headers=token_of(make_alice().id, scope)).status_code == 403


def test_one_account_never_meets_anothers_senders(client: Visitor, alice: dict[str, str]) -> None:
    client.post(API, json={"email": SALES}, headers=alice)
    sender_id = senders.every(accounts.everybody()[0].id)[0].id
    bob = token_of(make_bob().id)
    assert client.get(API, headers=bob).json == {"senders": []}
    assert client.delete(f"{API}/{sender_id}", headers=bob).status_code == 404
    assert client.get(f"{API}?account_id=1", headers=bob).status_code == 422
    assert len(senders.every(accounts.everybody()[0].id)) == 1


def test_a_session_may_as_well(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    headers = {"X-CSRFToken": visitor.csrf_token()}
    assert visitor.post(API, json={"email": SALES}, headers=headers).status_code == 201
    assert visitor.post(API, json={"email": SALES}).status_code == 400


def test_too_many_links_are_told_with_the_time_to_wait(client: Visitor, alice: dict[str, str]) -> None:
    answers = [client.post(API, json={"email": SALES}, headers=alice) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201] * 3 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 3000
