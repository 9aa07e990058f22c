"""``/api/messages/actions``: a preview first, then the deed, for administrators."""

from typing import Any

import pytest
from flask import Flask

from database.outbox_db import Recipient, RecipientState, State
from services.outbox import many
from tests.conftest import ADMIN_TOKEN
from tests.mails import in_state
from tests.outbox import row_of

PATH = "/api/messages/actions"


def call(app: Flask, path: str = "", body: dict[str, Any] | None = None, *, get: bool = False) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    client = app.test_client()
    answer = client.get(PATH + path, headers=headers) if get else client.post(PATH + path, json=body, headers=headers)
    return answer.status_code, answer.json


def test_a_filter_is_previewed_and_then_done(app: Flask) -> None:
    ids = [in_state(State.FAILED, reason="no_recipient") for _ in range(3)]
    other = in_state(State.SENT)
    status, told = call(app, body={"action": "retry", "filter": {"state": "failed,sent"}})
    preview = told["data"]
    assert (status, preview["stage"], preview["found"], preview["able"]) == (201, "ready", 4, 3)
    assert preview["unable"] == {"sent": 1}
    assert {row_of(each).state for each in ids} == {State.FAILED}
    status, told = call(app, f"/{preview['id']}/start")
    assert (status, told["data"]["stage"], told["data"]["done"]) == (200, "done", 3)
    assert call(app, f"/{preview['id']}/start")[1]["data"]["done"] == 3
    assert call(app, f"/{preview['id']}", get=True)[1]["data"]["to_do"] == 0
    assert [row_of(each).state for each in (*ids, other)] == ["queued"] * 3 + ["sent"]


def test_named_ones_get_a_corrected_address(app: Flask) -> None:
    refused: list[Recipient] = [{"address": "ann@gmial.com", "state": RecipientState.REFUSED, "code": 550}]
    old = in_state(State.FAILED, "ann@gmial.com", recipients=refused)
    body = {"action": "correct", "ids": [old], "old_address": "gmial.com", "new_address": "gmail.com"}
    preview = call(app, body=body)[1]["data"]
    assert (preview["able"], preview["old_address"], preview["new_address"]) == (1, "gmial.com", "gmail.com")
    assert call(app, f"/{preview['id']}/stop")[1]["data"]["stage"] == "stopped"
    assert call(app, f"/{preview['id']}/start")[1]["data"]["stage"] == "stopped"
    assert row_of(old).state == State.FAILED


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "action"),
    ({"action": "delete", "filter": {}}, "action"),
    *(({"action": odd, "filter": {}}, "action") for odd in ([], ["retry"], {}, {"retry": 1}, 7, True, None)),
    ({"action": "retry"}, "ids"),
    ({"action": "retry", "ids": ["0" * 32], "filter": {}}, "filter"),
    ({"action": "retry", "ids": []}, "ids"),
    ({"action": "retry", "ids": ["no id"]}, "ids"),
    ({"action": "retry", "ids": [7]}, "ids"),
    ({"action": "retry", "ids": ["0" * 32] * 1001}, "ids"),
    ({"action": "retry", "filter": []}, "filter"),
    ({"action": "retry", "filter": {"since": "yesterday"}}, "filter"),
    ({"action": "retry", "filter": {"colour": "red"}}, "filter"),
    ({"action": "retry", "filter": {"tag": 7}}, "filter"),
    ({"action": "cancel", "filter": {}, "new_address": "a@example.com"}, "action"),
    ({"action": "correct", "filter": {}, "new_address": "a@example.com"}, "old_address"),
    ({"action": "correct", "filter": {}, "old_address": "gmial.com", "new_address": "a@gmail.com"}, "new_address"),
    ({"action": "correct", "ids": ["0" * 32], "new_address": "a@"}, "new_address"),
    ({"action": "correct", "ids": ["0" * 32], "new_address": "x" * 300}, "new_address"),
    ({"action": "retry", "filter": {}, "now": True}, "now"),
]


@pytest.mark.usefixtures("app")
def test_what_cannot_be_meant_is_refused_by_its_field(app: Flask) -> None:
    for body, field in WRONG:
        status, told = call(app, body=body)
        assert (status, field in told["errors"]) == (422, True), (body, told)
    assert many.latest() == []
    assert call(app, "/7", get=True)[0] == call(app, "/7/start")[0] == 404
