"""How much of an account's mail may wait that it sends over HTTP, and what a call over that is told."""

from base64 import b64encode
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from database import usage_db
from database.engine import db, reading
from database.outbox_db import OutboxMail
from services.accounts import api_tokens
from tests.outbox import drain
from tests.statements import heard
from tests.visitors import Visitor, make_alice, make_bob, visit

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "ACCOUNT_WAITING_EMAILS": "5", "ACCOUNT_WAITING_MB": "2", "MAIL_SUPPRESS_SEND": "true"}


@pytest.fixture
def token(app: Flask) -> dict[str, str]:
    return header(make_alice().id)


def header(account_id: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(account_id, 'shop', scopes=['send'])[0]}"}


def batch(amount: int, **fields: Any) -> dict[str, Any]:
    return {"messages": [{**MAIL, **fields}] * amount}


def keyed(*keys: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{**MAIL, "idempotencyKey": key, **fields} for key in keys]}


def large(megabytes: float) -> dict[str, Any]:
    content = b64encode(bytes(int(megabytes * 2**20 * 0.72))).decode()  # base64 in lines has 1.37 octets for each
    return {**MAIL, "attachments": [{"filename": "large.bin", "content": content}]}


def queued() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(OutboxMail)) or 0


def test_a_batch_that_ends_at_the_bound_is_taken_and_one_over_it_leaves_nothing(
    client: Visitor, token: dict[str, str]
) -> None:
    assert client.post(URL, json=batch(3), headers=token).status_code == 202
    refused = client.post(URL, json=batch(3), headers=token)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.get_json() == {
        "success": False,
        "error": "3 emails of yours are waiting, and at most 5 may. Wait until some are sent, cancel some, or ask an "
        "administrator to raise ACCOUNT_WAITING_EMAILS.",
    }
    assert queued() == 3
    assert client.post(URL, json=batch(2), headers=token).status_code == 202
    for one in (MAIL, {**MAIL, "wait": True}, {**MAIL, "idempotencyKey": "new"}):
        assert client.post(URL, json=one, headers=token).status_code == 429
    assert queued() == 5


def test_a_key_that_was_used_is_answered_as_ever_while_no_more_may_wait(client: Visitor, token: dict[str, str]) -> None:
    first = client.post(URL, json=keyed(*"abcde"), headers=token).get_json()["messages"]
    again = client.post(URL, json=keyed(*"edcba"), headers=token)
    assert again.status_code == 202
    assert [each["id"] for each in again.get_json()["messages"]] == [each["id"] for each in first[::-1]]
    assert client.post(URL, json={**MAIL, "idempotencyKey": "a"}, headers=token).get_json()["duplicate"] is True
    assert client.post(URL, json=keyed("a", text="Other."), headers=token).status_code == 409
    assert client.post(URL, json=keyed("a", "new"), headers=token).status_code == 429
    assert queued() == 5


def test_octets_are_bounded_whatever_is_in_the_mails(client: Visitor, token: dict[str, str]) -> None:
    assert client.post(URL, json=large(1.2), headers=token).status_code == 202
    refused = client.post(URL, json=large(1.2), headers=token)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")
    assert refused.get_json()["error"] == (
        "Your waiting emails have 1.2 MB, and may have 2. Wait until some are sent, cancel some, or ask an "
        "administrator to raise ACCOUNT_WAITING_MB."
    )
    assert client.post(URL, json=large(0.6), headers=token).status_code == 202
    assert queued() == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [(batch(6), "at most 5 emails may wait."), (large(2.2), "emails that wait may have 2 MB together.")],
    ids=["mails", "octets"],
)
def test_a_call_that_could_never_be_taken_is_not_told_to_come_again(
    client: Visitor, token: dict[str, str], body: dict[str, Any], why: str
) -> None:
    answer = client.post(URL, json=body, headers=token)
    assert (answer.status_code, "Retry-After" in answer.headers) == (422, False)
    assert answer.get_json()["errors"] == {"form": [f"Even an empty queue has no room for this call: {why}"]}
    assert queued() == 0


def test_what_was_sent_or_cancelled_makes_room(client: Visitor, token: dict[str, str]) -> None:
    later = client.post(URL, json={**MAIL, "sendAt": "2027-01-01T08:00:00Z"}, headers=token).get_json()["id"]
    assert client.post(URL, json=batch(4), headers=token).status_code == 202
    assert client.post(URL, json=MAIL, headers=token).status_code == 429
    assert client.post(f"/api/messages/{later}/cancel", headers=token).status_code == 200
    assert client.post(URL, json=MAIL, headers=token).status_code == 202
    drain()
    assert client.post(URL, json=batch(5), headers=token).status_code == 202


def test_another_account_and_the_system_have_their_own_room(
    app: Flask, token: dict[str, str], bearer: dict[str, str]
) -> None:
    assert visit(app).post(URL, json=batch(5), headers=token).status_code == 202
    assert visit(app).post(URL, json=batch(5), headers=header(make_bob().id)).status_code == 202
    assert visit(app).post(URL, json=batch(6), headers=bearer).status_code == 202


class TestWithoutBounds:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "ACCOUNT_WAITING_EMAILS": "0", "ACCOUNT_WAITING_MB": "0"}

    def test_zero_is_no_bound(self, client: Visitor, token: dict[str, str]) -> None:
        assert client.post(URL, json=batch(500), headers=token).status_code == 202
        assert client.post(URL, json=large(3), headers=token).status_code == 202


def test_what_waits_is_counted_by_its_index_without_what_was_sent(app: Flask) -> None:
    said: list[tuple[str, Any]] = []
    with heard(db.engine, lambda statement, parameters: said.append((statement, parameters))), reading() as session:
        usage_db.waiting(session, 1, 2000)
        statement, parameters = next(each for each in said if "count" in each[0])
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert "ix_email_outbox_due (priority=? AND account_id=?)" in str(plan)
