"""``POST /api/messages/send-email``: what is taken, what is refused, and how a caller is told."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from database.engine import transaction
from database.outbox_db import OutboxMail
from services.accounts import api_tokens
from tests.outbox import row_of
from tests.visitors import Visitor, make_alice
from utils import clock

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def token(alice: int) -> dict[str, str]:
    """The header of a program with a token of alice that is good for sending alone."""
    return {"Authorization": f"Bearer {api_tokens.create(alice, 'shop', scopes=['send'])[0]}"}


def queued() -> int:
    with transaction() as session:
        return session.scalar(select(func.count()).select_from(OutboxMail)) or 0


def test_one_is_taken_with_its_ids_and_who_will_send_it(client: Visitor, alice: int, token: dict[str, str]) -> None:
    answer = client.post(URL, json=MAIL, headers=token)
    told = answer.get_json()
    row = row_of(told["id"])
    assert answer.status_code == 202
    assert (row.account_id, row.message_id, row.state) == (alice, told["messageId"], "queued")
    assert (told["success"], told["state"], told["via"]) == (True, "queued", "global")
    assert told["why"].endswith(".")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"to": None}, "to"),
    ({"to": 1}, "to"),
    ({"to": {"a": 1}}, "to"),
    ({"to": "a@example.com, b@example.com"}, "to"),
    ({"to": []}, "to"),
    ({"to": ["a@example.com", None]}, "to"),
    ({"to": "no address"}, "to"),
    ({"to": [f"a{n}@example.com" for n in range(101)]}, "to"),
    ({"to": [f"a{n}@example.com" for n in range(60)], "bcc": [f"b{n}@example.com" for n in range(60)]}, "to"),
    ({"cc": "nobody@"}, "cc"),
    ({"bcc": ["a@b@c"]}, "bcc"),
    ({"replyTo": "a@example.com\r\nBcc: b@example.com"}, "replyTo"),
    ({"to": "a@example.com\r\nBcc: b@example.com"}, "to"),
    ({"subject": "a\r\nBcc: b@example.com"}, "subject"),
    ({"subject": ""}, "subject"),
    ({"subject": "  "}, "subject"),
    ({"subject": 5}, "subject"),
    ({"subject": "a\0b"}, "subject"),
    ({"subject": "x" * 999}, "subject"),
    ({"text": ""}, "text"),
    ({"text": " \n"}, "text"),
    ({"text": None}, "text"),
    ({"text": ["x"]}, "text"),
    ({"html": True}, "html"),
    ({"tag": ""}, "tag"),
    ({"tag": "x" * 65}, "tag"),
    ({"tag": "a\nb"}, "tag"),
    ({"tag": "a\u202eb"}, "tag"),
    ({"sendAt": "tomorrow"}, "sendAt"),
    ({"sendAt": "2026-12-24T08:00:00"}, "sendAt"),
    ({"sendAt": "2126-12-24T08:00:00Z"}, "sendAt"),
    ({"sendAt": "9999-12-31T23:59:59-23:59"}, "sendAt"),
    ({"sendAt": 1764000000}, "sendAt"),
    ({"idempotencyKey": ""}, "idempotencyKey"),
    ({"idempotencyKey": 7}, "idempotencyKey"),
    ({"idempotencyKey": "x" * 256}, "idempotencyKey"),
    ({"idempotencyKey": "\ud800"}, "idempotencyKey"),
    ({"wait": "true"}, "wait"),
    ({"wait": 1}, "wait"),
    ({"subjekt": "x"}, "subjekt"),
    ({"to_email": "x@example.com"}, "to_email"),
    ({"reply_to": "x@example.com"}, "reply_to"),
    ({"<script>": 1}, "form"),
    ({"to": "\ud800@example.com"}, "to"),
    ({"cc": "a@\ud800"}, "cc"),
    ({"tag": "\ud800"}, "tag"),
    ({"attachments": {}}, "attachments"),
    ({"attachments": [{"filename": "a", "content": "\ud800"}]}, "attachments[0].content"),
    ({"attachments": [{"filename": "a", "content": ""}] * 101}, "attachments"),
    ({"attachments": [7]}, "attachments[0]"),
    ({"attachments": [{"filename": "a.txt"}]}, "attachments[0].content"),
    ({"attachments": [{"content": ""}]}, "attachments[0].filename"),
    ({"attachments": [{"filename": "a/b", "content": ""}]}, "attachments[0].filename"),
    ({"attachments": [{"filename": "a\r\nb", "content": ""}]}, "attachments[0].filename"),
    ({"attachments": [{"filename": "", "content": ""}]}, "attachments[0].filename"),
    ({"attachments": [{"filename": "a", "content": "", "contentType": "pdf"}]}, "attachments[0].contentType"),
    ({"attachments": [{"filename": "a", "content": "", "contentType": "a/b\r\nX: y"}]}, "attachments[0].contentType"),
    ({"attachments": [{"filename": "a", "content": "", "contentId": "a b"}]}, "attachments[0].contentId"),
    ({"attachments": [{"filename": "a", "content": "", "path": "/etc/passwd"}]}, "attachments[0].path"),
    ({"attachments": [{"filename": "a", "content": ""}, {"filename": "b", "content": 1}]}, "attachments[1].content"),
]


@pytest.mark.parametrize(("change", "field"), REFUSED, ids=[str(change)[:50] for change, _ in REFUSED])
def test_a_refused_field_is_named_and_nothing_is_taken(
    client: Visitor, token: dict[str, str], change: dict[str, Any], field: str
) -> None:
    answer = client.post(URL, json={**MAIL, **change}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field]), answer.text
    assert queued() == 0


@pytest.mark.parametrize("field", ["to", "subject", "text"])
def test_what_a_mail_cannot_do_without_is_asked_for(client: Visitor, token: dict[str, str], field: str) -> None:
    rest = {name: value for name, value in MAIL.items() if name != field}
    answer = client.post(URL, json=rest, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, [field])


@pytest.mark.parametrize(
    "content",
    ["YQ", "YQ=", "Y Q =", "!!!!", "YQ==YQ==", "_-__", "data:text/plain;base64,YQ==", "é", "YQ==\0", "=", "Y"],
)
def test_base64_that_is_none_is_refused_by_name(client: Visitor, token: dict[str, str], content: str) -> None:
    attachments = [{"filename": "a.txt", "content": "YQ=="}, {"filename": "b.txt", "content": content}]
    answer = client.post(URL, json={**MAIL, "attachments": attachments}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["attachments[1].content"])


@pytest.mark.parametrize("content", ["YWJj", " YW\nJj ", "YW\r\nJj\r\n", "Y\tWJj", ""])
def test_base64_may_be_broken_into_lines(client: Visitor, token: dict[str, str], content: str) -> None:
    attachments = [{"filename": "a.txt", "content": content, "contentType": "text/plain"}]
    assert client.post(URL, json={**MAIL, "attachments": attachments}, headers=token).status_code == 202


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "half of an emoji \ud83d"},
        {"text": "\ud83d", "html": "<p>\ude00"},
        {"attachments": [{"filename": "\ud83d.txt", "content": "YQ=="}]},
        {"to": '"Jané, Düsseldorf" <jane@example.com>', "replyTo": ["a@example.com", "B <b@example.com>"]},
        {"to": [], "bcc": ["a@example.com", "A <a@example.com>"]},
        {"to": "", "cc": "", "bcc": "a@example.com", "replyTo": "", "html": "", "from": "", "attachments": []},
        {"text": "", "html": "<p>Text is made of it."},
        {"text": "\0\x1b[31m control characters of a text"},
        {"sendAt": "2001-01-01T00:00:00Z"},
        {"sendAt": "2026-11-30T08:00:00.5-08:00"},
        {"wait": False, "track": False},
        {"tag": "Grüße, 7 %", "idempotencyKey": "é" * 255},
        {"attachments": [{"filename": "a.eml", "content": "U3ViamVjdDogYQ0KDQpi", "contentType": "message/rfc822"}]},
        {"html": "<img src='cid:logo'>", "attachments": [{"filename": "a", "content": "YQ==", "contentId": "<logo>"}]},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_can_be_sent_is_taken(client: Visitor, token: dict[str, str], change: dict[str, Any]) -> None:
    answer = client.post(URL, json={**MAIL, **change}, headers=token)
    assert answer.status_code == 202, answer.text


def test_a_mail_for_later_waits_and_one_for_earlier_overtakes_nobody(client: Visitor, token: dict[str, str]) -> None:
    now = clock.now()
    later = client.post(URL, json={**MAIL, "sendAt": (now + timedelta(hours=8)).isoformat()}, headers=token).get_json()
    earlier = client.post(URL, json={**MAIL, "sendAt": "2001-01-01T00:00:00Z"}, headers=token).get_json()
    assert row_of(later["id"]).due_at == now + timedelta(hours=8)
    assert row_of(earlier["id"]).due_at >= now


def test_the_same_key_at_another_time_is_the_same_mail(client: Visitor, token: dict[str, str]) -> None:
    ids = {
        client.post(URL, json={**MAIL, "idempotencyKey": "k", **when}, headers=token).get_json()["id"]
        for when in ({}, {"sendAt": (clock.now() + timedelta(hours=1)).isoformat()})
    }
    assert len(ids) == 1


def test_errors_are_as_the_specification_has_them(client: Visitor, token: dict[str, str]) -> None:
    for body, headers, status in (({}, token, 422), (MAIL, {}, 401), (MAIL, {"Authorization": "Bearer x"}, 401)):
        answer = client.post(URL, json=body, headers=headers)
        told = answer.get_json()
        assert (answer.status_code, told["success"]) == (status, False)
        assert told["error"]
        assert "status" not in told
