"""Several mails in one call, and keys that make a second call harmless: all or nothing, none twice."""

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from database.engine import reading
from database.outbox_db import OutboxMail
from services.accounts import api_tokens
from tests.outbox import row_of
from tests.visitors import Visitor, make_alice, make_bob, visit

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture
def token(app: Flask) -> dict[str, str]:
    return header(make_alice().id)


def header(account_id: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(account_id, 'shop', scopes=['send'])[0]}"}


def mails(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{**MAIL, "to": f"jane{number}@example.com", **more} for number in range(count)]


def queued() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(OutboxMail)) or 0


def test_five_hundred_are_taken_in_one_call_and_answered_in_order(client: Visitor, token: dict[str, str]) -> None:
    answer = client.post(URL, json={"messages": mails(500)}, headers=token)
    assert answer.status_code == 202
    told = answer.get_json()["messages"]
    assert len(told) == queued() == 500
    for number in (0, 1, 250, 499):
        assert row_of(told[number]["id"]).recipients[0]["address"] == f"jane{number}@example.com"
    assert {each["via"] for each in told} == {"global"}


def test_one_bad_one_of_five_hundred_is_named_and_none_is_taken(client: Visitor, token: dict[str, str]) -> None:
    many = mails(500)
    many[317]["to"] = "nobody@"
    answer = client.post(URL, json={"messages": many}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["messages[317].to"])
    assert queued() == 0


def test_every_bad_one_is_named_whatever_is_wrong_with_it(client: Visitor, token: dict[str, str]) -> None:
    many: list[Any] = mails(9)
    many[1]["to"] = "nobody@"  # found when it is composed
    many[2]["subject"] = 7  # when its fields are read
    many[3]["text"] = ""  # when they are looked at together
    many[4]["attachments"] = [{"filename": "a", "content": "YQ=="}, {"filename": "b", "content": "!"}]
    many[5] = "no object"
    many[6]["colour"] = "red"
    many[7]["wait"] = True
    answer = client.post(URL, json={"messages": many}, headers=token)
    assert answer.status_code == 422
    assert set(answer.get_json()["errors"]) == {
        "messages[1].to",
        "messages[2].subject",
        "messages[3].text",
        "messages[4].attachments[1].content",
        "messages[5]",
        "messages[6].colour",
        "messages[7].wait",
    }
    assert queued() == 0


@pytest.mark.parametrize("messages", [[], {}, None, "x", mails(501)], ids=["none", "object", "null", "text", "501"])
def test_what_is_no_list_of_mails_is_refused(client: Visitor, token: dict[str, str], messages: Any) -> None:
    answer = client.post(URL, json={"messages": messages}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["messages"])


@pytest.mark.parametrize("name", ["wait", "to", "subject"])
def test_nothing_stands_beside_the_list(client: Visitor, token: dict[str, str], name: str) -> None:
    answer = client.post(URL, json={"messages": mails(1), name: True}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [name])


def test_the_same_key_again_gives_the_first_mail(client: Visitor, token: dict[str, str]) -> None:
    first = client.post(URL, json={**MAIL, "idempotencyKey": "order-17"}, headers=token).get_json()
    again = client.post(URL, json={**MAIL, "idempotencyKey": "order-17"}, headers=token)
    assert again.status_code == 202
    assert "duplicate" not in first
    assert again.get_json() | {"duplicate": True} == again.get_json()
    assert (again.get_json()["id"], again.get_json()["messageId"]) == (first["id"], first["messageId"])
    assert queued() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "Other"},
        {"text": "Other"},
        {"to": "joe@example.com"},
        {"cc": "joe@example.com"},
        {"html": "<p>x"},
        {"replyTo": "joe@example.com"},
        {"attachments": [{"filename": "a", "content": "YQ=="}]},
        {"tag": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_same_key_for_another_mail_is_a_conflict(
    client: Visitor, token: dict[str, str], change: dict[str, Any]
) -> None:
    client.post(URL, json={**MAIL, "idempotencyKey": "order-17"}, headers=token)
    answer = client.post(URL, json={**MAIL, **change, "idempotencyKey": "order-17"}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (409, ["idempotencyKey"])
    assert queued() == 1


def test_files_that_differ_make_another_mail(client: Visitor, token: dict[str, str]) -> None:
    codes = [
        client.post(
            URL,
            json={**MAIL, "idempotencyKey": "k", "attachments": [{"filename": "a", "content": content}]},
            headers=token,
        ).status_code
        for content in ("YQ==", "YQ==", "Yg==")
    ]
    assert codes == [202, 202, 409]


def test_a_key_is_an_accounts_own(app: Flask, client: Visitor, token: dict[str, str], bearer: dict[str, str]) -> None:
    body = {**MAIL, "idempotencyKey": "order-17"}
    ids = {client.post(URL, json=body, headers=who).get_json()["id"] for who in (token, header(make_bob().id), bearer)}
    assert len(ids) == queued() == 3


def test_a_batch_may_come_again_with_its_keys(client: Visitor, token: dict[str, str]) -> None:
    keyed = [{**mail, "idempotencyKey": f"k{9 - number}"} for number, mail in enumerate(mails(9))]
    first = client.post(URL, json={"messages": keyed[:5]}, headers=token).get_json()["messages"]
    again = client.post(URL, json={"messages": keyed}, headers=token).get_json()["messages"]
    assert [each["id"] for each in again[:5]] == [each["id"] for each in first]
    assert ["duplicate" in each for each in again] == [True] * 5 + [False] * 4
    assert queued() == 9


def test_a_key_that_is_taken_names_its_mail_and_none_of_the_batch_is_taken(
    client: Visitor, token: dict[str, str]
) -> None:
    client.post(URL, json={**MAIL, "idempotencyKey": "taken"}, headers=token)
    many = mails(3)
    many[1]["idempotencyKey"] = "taken"
    answer = client.post(URL, json={"messages": many}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (409, ["messages[1].idempotencyKey"])
    assert queued() == 1


def test_one_key_twice_in_a_batch_is_one_mail_or_a_conflict(client: Visitor, token: dict[str, str]) -> None:
    same = [{**MAIL, "idempotencyKey": "k"}] * 2
    first, second = client.post(URL, json={"messages": same}, headers=token).get_json()["messages"]
    assert first["id"] == second["id"]
    assert second["duplicate"]
    other = [{**MAIL, "idempotencyKey": "k2"}, {**MAIL, "subject": "Other", "idempotencyKey": "k2"}]
    answer = client.post(URL, json={"messages": other}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (409, ["messages[1].idempotencyKey"])
    assert queued() == 1


def test_many_at_once_with_one_key_are_one_mail(app: Flask, token: dict[str, str]) -> None:
    body, told = {**MAIL, "idempotencyKey": "order-17"}, []
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait()
        told.append(visit(app).post(URL, json=body, headers=token))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in told} == {202}
    assert len({answer.get_json()["id"] for answer in told}) == queued() == 1
    assert sum("duplicate" not in answer.get_json() for answer in told) == 1
