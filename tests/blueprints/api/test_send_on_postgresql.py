"""Sending over HTTP on PostgreSQL, where many write at once: keys, races between batches, and one attempt now."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import func, select

from app import create_app
from database.engine import db, reading
from database.outbox_db import OutboxMail
from services.accounts import administration, api_tokens
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.outbox import drain, row_of
from tests.patience import wait_until
from tests.recording_server import RecordingServer
from tests.visitors import mail_through, make_alice, make_bob, visit

URL = "/api/messages/send-email"
MAIL: dict[str, Any] = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way."}


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture(scope="module")
def app(server: RecordingServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder: Path = tmp_path_factory.mktemp("postgresql")
    with postgresql_server.running() as url:
        environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
        environment["ACCOUNT_WAITING_EMAILS"] = "500"
        app = create_app(environment | mail_through(server), instance_path=folder)
        with app.app_context():
            upgrade()
            make_alice()
            make_bob(is_admin=True)
            yield app
            downgrade(revision="base")
            db.engine.dispose()


@pytest.fixture
def token(app: Flask) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(1, 'shop', scopes=['send'])[0]}"}


def queued() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(OutboxMail)) or 0


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    """What each gives, all begun at the same moment."""
    barrier, found = threading.Barrier(len(works)), [None] * len(works)

    def run(place: int, work: Callable[[], Any]) -> None:
        barrier.wait()
        found[place] = work()

    threads = [threading.Thread(target=run, args=(place, work)) for place, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_batches_with_the_same_keys_in_another_order_are_taken_once(app: Flask, token: dict[str, str]) -> None:
    keyed = [{**MAIL, "idempotencyKey": f"race-{number}"} for number in range(60)]
    before = queued()
    answers = at_once(
        [
            partial(visit(app).post, URL, json={"messages": mails}, headers=token)
            for mails in (keyed, keyed[::-1], keyed[30:] + keyed[:30], keyed)
        ]
    )
    assert {answer.status_code for answer in answers} == {202}
    first, backwards, *_ = ([each["id"] for each in answer.get_json()["messages"]] for answer in answers)
    assert first == backwards[::-1]
    assert queued() == before + 60


def test_two_that_wait_with_one_key_are_sent_once(app: Flask, token: dict[str, str], server: RecordingServer) -> None:
    body = {**MAIL, "subject": "Once", "wait": True, "idempotencyKey": "once"}
    answers = at_once([lambda: visit(app).post(URL, json=body, headers=token)] * 3)
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    drain()
    wait_until(lambda: row_of(answers[0].get_json()["id"]).state == "sent")  # by whoever has it in hand
    assert sum(b"Subject: Once" in mail.content for mail in server.mails) == 1


def test_a_mail_is_found_by_its_tag_and_an_odd_tag_is_no_error(app: Flask, token: dict[str, str]) -> None:
    reader = {"Authorization": f"Bearer {api_tokens.create(1, 'reader', scopes=['read'])[0]}"}
    mail_id = visit(app).post(URL, json={**MAIL, "tag": "order 17"}, headers=token).get_json()["id"]
    found = visit(app).get("/api/messages?tag=order+17", headers=reader).get_json()["data"]
    assert [each["id"] for each in found] == [mail_id]
    assert visit(app).get("/api/messages?tag=%00", headers=reader).status_code == 422


def test_calls_at_once_have_no_more_room_than_one_after_the_other(app: Flask, token: dict[str, str]) -> None:
    bob = {"Authorization": f"Bearer {api_tokens.create(2, 'shop', scopes=['send'])[0]}"}
    before, bodies = queued(), [{"messages": [{**MAIL, "sendAt": "2027-01-01T08:00:00Z"}] * 200}] * 4
    answers = at_once([partial(visit(app).post, URL, json=body, headers=bob) for body in bodies])
    assert sorted(answer.status_code for answer in answers) == [202, 202, 429, 429]
    assert queued() == before + 400


def test_25_mb_are_taken(app: Flask, token: dict[str, str]) -> None:
    attachments = [{"filename": "large.bin", "content": "AAAA" * (25 * 2**20 // 3)}]
    answer = visit(app).post(URL, json={**MAIL, "attachments": attachments}, headers=token)
    assert answer.status_code == 202
    visit(app).post(f"/api/messages/{answer.get_json()['id']}/cancel", headers=token)


def test_an_account_that_is_disabled_at_the_same_moment_sends_before_it_or_not_at_all(
    app: Flask, token: dict[str, str]
) -> None:
    before = queued()
    sends = [lambda: visit(app).post(URL, json=MAIL, headers=token).status_code] * 6

    def disable() -> int:
        with app.app_context():
            administration.disable(1, by=2)
        return 0

    codes = at_once([*sends, disable])
    with reading() as session:
        assert session.scalar(select(func.count()).where(OutboxMail.account_id == 1, OutboxMail.state == "queued")) == 0
    assert set(codes) <= {0, 202, 401, 403}
    assert queued() == before + codes.count(202)
