"""``"track": true`` of ``POST /api/messages/send-email``: only then a mail tells when it is opened."""

from typing import Any

import pytest
from flask import Flask

from services.accounts import api_tokens
from tests.outbox import row_of
from tests.visitors import Visitor, make_alice

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "Hello", "html": "<p>Hello</p>"}


@pytest.fixture
def token(app: Flask) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(make_alice().id, 'shop', scopes=['send'])[0]}"}


def pixel_of(client: Visitor, token: dict[str, str], **more: Any) -> str | None:
    """The pixel of a mail that is sent with these fields."""
    answer = client.post(URL, json=MAIL | more, headers=token)
    assert answer.status_code == 202
    return row_of(answer.get_json()["id"]).pixel


def test_a_mail_is_tracked_if_that_is_asked_for(client: Visitor, token: dict[str, str]) -> None:
    assert pixel_of(client, token, track=True)


@pytest.mark.parametrize("fields", [{}, {"track": False}, {"track": True, "html": ""}])
def test_it_is_not_tracked_otherwise_nor_without_html(
    client: Visitor, token: dict[str, str], fields: dict[str, Any]
) -> None:
    assert pixel_of(client, token, **fields) is None


@pytest.mark.parametrize("wrong", ["true", 1, 0, None, [], {}])
def test_it_is_true_or_false(client: Visitor, token: dict[str, str], wrong: Any) -> None:
    answer = client.post(URL, json=MAIL | {"track": wrong}, headers=token)
    assert answer.status_code == 422
    assert list(answer.get_json()["errors"]) == ["track"]


def test_each_mail_of_a_batch_has_a_say_of_its_own(client: Visitor, token: dict[str, str]) -> None:
    mails = [MAIL | {"track": True}, MAIL, MAIL | {"track": True}]
    answer = client.post(URL, json={"messages": mails}, headers=token)
    pixels = [row_of(each["id"]).pixel for each in answer.get_json()["messages"]]
    assert [pixel is not None for pixel in pixels] == [True, False, True]
    assert len(set(pixels)) == 3


def test_a_key_is_not_for_one_with_and_one_without(client: Visitor, token: dict[str, str]) -> None:
    keyed = MAIL | {"idempotencyKey": "a", "track": True}
    first = client.post(URL, json=keyed, headers=token).get_json()["id"]
    assert client.post(URL, json=keyed, headers=token).get_json()["id"] == first
    assert client.post(URL, json=keyed | {"track": False}, headers=token).status_code == 409
