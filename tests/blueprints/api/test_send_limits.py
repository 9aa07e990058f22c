"""What a call may weigh, who may make it, and what happens when that changes while it is under way."""

import io
import json
import runpy
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from blueprints import large_body
from blueprints.access import limiter
from database.engine import reading, transaction
from database.outbox_db import OutboxMail
from services.accounts import administration, api_tokens
from services.personal import at_once, sending
from services.personal.mail_fields import LARGEST_ATTACHMENTS
from tests.outbox import row_of
from tests.running import ROOT
from tests.visitors import Visitor, make_alice, make_bob, visit

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


@pytest.fixture
def token(alice: int) -> dict[str, str]:
    return header(alice)


def header(account_id: int, *scopes: str) -> dict[str, str]:
    text, _ = api_tokens.create(account_id, "shop", scopes=scopes or ("send",))
    return {"Authorization": f"Bearer {text}"}


def queued() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(OutboxMail)) or 0


def file_of(octets: int, name: str = "large.bin") -> dict[str, str]:
    return {"filename": name, "content": b64encode(bytes(octets)).decode()}


def in_lines(content: str) -> str:
    return "\r\n".join(content[at : at + 76] for at in range(0, len(content), 76))


def test_an_attachment_of_25_mb_is_taken_and_one_over_is_refused_by_name(
    client: Visitor, token: dict[str, str]
) -> None:
    largest = file_of(LARGEST_ATTACHMENTS)
    answer = client.post(URL, json={**MAIL, "attachments": [largest]}, headers=token)
    assert answer.status_code == 202
    assert len(row_of(answer.get_json()["id"]).content or b"") > LARGEST_ATTACHMENTS
    largest["content"] = in_lines(largest["content"])
    assert client.post(URL, json={**MAIL, "attachments": [largest]}, headers=token).status_code == 202
    small = file_of(3, "small.bin")
    over = file_of(LARGEST_ATTACHMENTS + 1)
    answer = client.post(URL, json={**MAIL, "attachments": [small, over]}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["attachments[1].content"])


def test_two_that_are_over_together_are_refused_in_one_mail_and_in_a_batch(
    client: Visitor, token: dict[str, str]
) -> None:
    two = [file_of(LARGEST_ATTACHMENTS // 2 + 1, name) for name in ("a.bin", "b.bin")]
    answer = client.post(URL, json={**MAIL, "attachments": two}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["attachments"])
    batch = {"messages": [{**MAIL, "attachments": [file]} for file in two]}
    answer = client.post(URL, json=batch, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["messages"])
    assert queued() == 0


def test_html_of_endless_tags_needs_its_text(client: Visitor, token: dict[str, str]) -> None:
    endless = {**MAIL, "text": " ", "html": "<p>" * 110_000}
    answer = client.post(URL, json={"messages": [endless, endless]}, headers=token)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["messages"])
    with_texts = [{**endless, "text": "The same."}] * 2
    assert client.post(URL, json={"messages": with_texts}, headers=token).status_code == 202


def test_a_body_that_is_too_large_names_its_attachments(client: Visitor, token: dict[str, str]) -> None:
    body = json.dumps({**MAIL, "attachments": [file_of(LARGEST_ATTACHMENTS * 5 // 4)]})
    answer = client.post(URL, data=body, headers=token, content_type="application/json")
    assert (answer.status_code, list(answer.get_json()["errors"])) == (413, ["attachments"])


class Unread(io.BytesIO):
    """A body that nobody may read."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readinto = readline = read  # type: ignore[assignment]


@pytest.mark.parametrize("who", ["nobody", "wrong token", "another scope", "session without a form's token"])
def test_who_may_not_send_is_turned_away_before_the_body_is_read(app: Flask, alice: int, who: str) -> None:
    headers = {"wrong token": {"Authorization": "Bearer x"}, "another scope": header(alice, "read")}.get(who, {})
    visitor = visit(app)
    if who.startswith("session"):
        visitor.sign_in()
    body = {"input_stream": Unread(), "content_type": "application/json"}
    answer = visitor.post(URL, headers={**headers, "Content-Length": "30000000"}, **body)
    expected = {"another scope": 403, "session without a form's token": 400}.get(who, 401)
    assert answer.status_code == expected


def test_the_limit_of_other_routes_is_as_before(client: Visitor, bearer: dict[str, str]) -> None:
    body = json.dumps({"name": "x" * 70_000})
    answer = client.post("/api/settings/smtp", data=body, headers=bearer, content_type="application/json")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b'{"to": ' + b"[" * 300_000,
        b'{"to": [' + b"1," * 300_000 + b"1]}",
        b'{"to": [' + b"{}," * 300_000 + b"{}]}",
        b'{"to": [' + b'"",' * 300_000 + b'""]}',
        b"{" + b",".join(b'"a%d":1' % n for n in range(300_000)) + b"}",
        b'{"to": "' + b'\\"' * 1_000_000,
        b'"' * 2_000_001,
        b"[" * 100_000,
        b"[1]",
        b"",
        b'{"to": "a", "to": "b"}',
        b'{"to": NaN}',
        '{"subject": "x"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"to": "a"}',
        b'{"to": "\xff"}',
    ],
    ids=lambda body: repr(body[:16]),
)
def test_a_body_that_is_no_call_is_malformed_however_it_is_made(
    client: Visitor, token: dict[str, str], body: bytes
) -> None:
    answer = client.post(URL, data=body, headers=token, content_type="application/json")
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_only_json_is_taken(client: Visitor, token: dict[str, str], kind: str) -> None:
    assert client.post(URL, data=b"x" * 100_000, headers=token, content_type=kind).status_code in (413, 415)
    packed = {**token, "Content-Encoding": "gzip"}
    assert client.post(URL, data=b"{}", headers=packed, content_type="application/json").status_code == 415


def test_one_account_has_one_large_body_in_hand_and_another_is_not_kept_waiting(
    app: Flask, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_body, "LINE_SECONDS", 0.1)
    may_go_on, is_in_hand = threading.Event(), threading.Event()
    take = sending.take

    def slowly(asked: Any, caller: Any) -> Any:
        if not is_in_hand.is_set():
            is_in_hand.set()
            may_go_on.wait()
        return take(asked, caller)

    monkeypatch.setattr(sending, "take", slowly)
    body = {**MAIL, "attachments": [file_of(2**20)]}
    first = threading.Thread(target=visit(app).post, args=(URL,), kwargs={"json": body, "headers": token})
    first.start()
    is_in_hand.wait()
    try:
        refused = visit(app).post(URL, json=body, headers=token)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
        assert visit(app).post(URL, json=MAIL, headers=token).status_code == 202
        assert visit(app).post(URL, json=body, headers=header(make_bob().id)).status_code == 202
    finally:
        may_go_on.set()
        first.join()
    assert visit(app).post(URL, json=body, headers=token).status_code == 202


def test_large_bodies_and_attempts_leave_a_thread_of_the_server_for_others() -> None:
    threads = runpy.run_path(str(ROOT / "gunicorn.conf.py"))["threads"]
    assert threads > large_body.PLACES + large_body.LINE + at_once.PLACES


def test_a_flood_of_one_account_is_stopped_and_another_is_not(app: Flask, token: dict[str, str]) -> None:
    limiter.storage.reset()
    codes = [visit(app).post(URL, json={}, headers=token).status_code for _ in range(121)]
    assert codes == [422] * 120 + [429]
    assert visit(app).post(URL, json=MAIL, headers=header(make_bob().id)).status_code == 202


def test_two_tokens_of_an_account_share_its_limit(app: Flask, alice: int) -> None:
    limiter.storage.reset()
    tokens = [header(alice), header(alice)]
    codes = [visit(app).post(URL, json={}, headers=tokens[n % 2]).status_code for n in range(121)]
    assert codes[-1] == 429


def revoke(_account_id: int) -> None:
    api_tokens.revoke(1)


def disable(account_id: int) -> None:
    administration.disable(account_id, by=make_bob(is_admin=True).id)


def delete(account_id: int) -> None:
    administration.delete(account_id, by=make_bob(is_admin=True).id)


@pytest.mark.parametrize("deed", [revoke, disable, delete])
def test_what_happens_to_the_account_meanwhile_counts(
    client: Visitor, alice: int, token: dict[str, str], deed: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = sending._composed

    def meanwhile(*asked: Any) -> Any:
        found = parsed(*asked)
        deed(alice)
        return found

    monkeypatch.setattr(sending, "_composed", meanwhile)
    assert client.post(URL, json=MAIL, headers=token).status_code == 403
    with reading() as session:
        assert session.scalar(select(func.count()).where(OutboxMail.account_id == alice)) == 0


def test_a_database_that_takes_nothing_is_told_and_nothing_is_half_written(
    app: Flask, tmp_path: Path, token: dict[str, str]
) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON email_outbox WHEN (SELECT count(*) FROM email_outbox) > 5 "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    many = [{**MAIL, "idempotencyKey": f"k{n}"} if n % 2 else MAIL for n in range(20)]
    answer = visit(app).post(URL, json={"messages": many}, headers=token)
    assert answer.status_code == 503
    assert queued() == 0


def test_the_system_sends_with_its_token_and_from_no_address_of_its_own_choice(
    client: Visitor, bearer: dict[str, str]
) -> None:
    answer = client.post(URL, json=MAIL, headers=bearer)
    assert (answer.status_code, row_of(answer.get_json()["id"]).account_id) == (202, None)
    answer = client.post(URL, json={**MAIL, "from": "boss@example.com"}, headers=bearer)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["from"])


def test_a_session_sends_with_the_token_of_its_form(app: Flask, alice: int) -> None:
    visitor = visit(app)
    visitor.sign_in()
    answer = visitor.post(URL, json=MAIL, headers={"X-CSRFToken": visitor.csrf_token()})
    assert (answer.status_code, row_of(answer.get_json()["id"]).account_id) == (202, alice)
