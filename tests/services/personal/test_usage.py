"""What an account has used of its limits, and how its mail of the last days went, on both databases and in the API."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update

from app import create_app
from database.engine import db, driver_reading, transaction
from database.outbox_db import OutboxMail, State
from database.user_db import Account
from services import email_service
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.personal import usage
from tests.mails import attempted, queued
from tests.own_servers import bring, change
from tests.recording_server import RecordingServer
from tests.statements import heard
from tests.visitors import Visitor, mail_through, make_alice, make_bob, visit
from utils import clock

API = "/api/smtp/usage"
ANN = "ann@example.com"


@pytest.fixture
def app(on_either: dict[str, str], server: RecordingServer, tmp_path: Path) -> Iterator[Flask]:
    limits = {"ACCOUNT_EMAILS_PER_MINUTE": "5", "ACCOUNT_EMAILS_PER_DAY": "0"}
    app = create_app({**on_either, **mail_through(server), **limits}, instance_path=tmp_path)
    with app.app_context():
        yield app
        with transaction() as session:
            for table in ("email_outbox", "email_attempt", "api_token", "account"):
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


def of(account_id: int, number: int = 0, **columns: Any) -> None:
    """An attempt at a direct mail of the account."""
    attempted(account_id=account_id, message_id=f"<{number}@example.com>", **columns)


def failed_mail(account_id: int, days_ago: int = 0, state: State = State.FAILED) -> None:
    mail_id = queued(ANN, account_id=account_id)
    settled_at = clock.now() - timedelta(days=days_ago)
    with transaction() as session:
        change = update(OutboxMail).where(OutboxMail.mail_id == mail_id)
        session.execute(change.values(state=state, settled_at=settled_at))


def header(account_id: int, *scopes: Scope) -> dict[str, str]:
    token, _ = api_tokens.create(account_id, "script", scopes=scopes or (Scope.READ,))
    return {"Authorization": f"Bearer {token}"}


def test_what_was_sent_is_used_and_the_rest_is_left(app: Flask, alice: int) -> None:
    for _ in range(3):
        assert email_service.send_email(ANN, "Subject", "Text", account_id=alice)
    found = usage.of_account(alice)
    assert (found.per_minute.limit, found.per_minute.used, found.per_minute.left) == (5, 3, 2)
    assert (found.per_day.limit, found.per_day.used, found.per_day.left) == (0, 3, None)
    assert (found.global_per_minute.used, found.global_per_minute.left) == (3, 7)
    assert (found.global_per_day.limit, found.global_per_day.left) == (100, 97)


def test_a_limit_of_ones_own_and_what_is_over_it_are_told(app: Flask, alice: int) -> None:
    with transaction() as session:
        session.execute(update(Account).where(Account.id == alice).values(emails_per_minute=1, emails_per_day=2))
    sent = [email_service.send_email(ANN, "Subject", "Text", account_id=alice) for _ in range(3)]
    found = usage.of_account(alice)
    assert sent == [True, False, False]
    assert (found.per_minute.used, found.per_minute.left) == (1, 0)
    assert (found.per_day.used, found.per_day.left) == (1, 1)
    assert found.days[-1].sent == 1


def test_what_another_process_has_sent_counts_as_well(app: Flask, alice: int) -> None:
    for number in range(4):
        of(alice, number)
    of(alice, 5, outcome="throttled")
    assert usage.of_account(alice).per_minute.used == 4


def test_a_mail_that_was_tried_at_two_servers_is_one(app: Flask, alice: int) -> None:
    of(alice, 1, outcome="temporary", server="Own server (smtp.example.com:587)")
    of(alice, 1, server="Primary (mail.example.com:587)")
    found = usage.of_account(alice)
    assert (found.per_minute.used, found.global_per_minute.used) == (1, 1)
    assert (found.days[-1].sent, found.days[-1].failed) == (1, 0)


def test_thirty_days_are_told_each_with_its_own_mails(app: Flask, alice: int) -> None:
    bob = make_bob().id
    for days_ago, count in ((0, 2), (1, 1), (29, 3), (30, 5), (400, 1)):
        for number in range(count):
            of(alice, number, days_ago=days_ago)
    of(bob, 1)
    of(alice, 9, days_ago=2, outcome="permanent")
    failed_mail(alice, days_ago=1)
    failed_mail(alice, days_ago=1, state=State.EXPIRED)
    failed_mail(alice, state=State.CANCELLED)
    days = usage.of_account(alice).days
    assert len(days) == 30
    assert days[-1].day == clock.now().date()
    assert [(day.sent, day.failed) for day in days[-3:]] == [(0, 1), (1, 2), (2, 0)]
    assert days[0].sent == 3
    assert sum(day.sent for day in days) == 6


def test_what_fell_back_is_told_apart_once_there_is_a_server_of_ones_own(app: Flask, alice: int) -> None:
    of(alice, 1, days_ago=3, server="Primary (mail.example.com:587)")
    two_days_ago = clock.now() - timedelta(days=2)
    change(bring(alice, "smtp.example.com", 587), created_at=two_days_ago)
    of(alice, 2, server="Own server (smtp.example.com:587)")
    of(alice, 3, server="Primary (mail.example.com:587)")
    found = usage.of_account(alice)
    assert (found.sent, found.fell_back, found.days[-1].fell_back) == (3, 1, 1)
    with transaction() as session:
        session.execute(text("DELETE FROM smtp_config"))


def test_the_api_answers_in_its_own_names(app: Flask, alice: int) -> None:
    of(alice, 1)
    answer = visit(app).get(API, headers=header(alice))
    assert answer.status_code == 200
    assert answer.json
    assert answer.json["limits"]["all"]["minute"] == {"limit": 5, "used": 1, "left": 4}
    assert answer.json["limits"]["all"]["day"] == {"limit": None, "used": 1, "left": None}
    assert answer.json["limits"]["global"]["day"] == {"limit": 100, "used": 1, "left": 99}
    today = {"date": clock.now().date().isoformat(), "sent": 1, "failed": 0, "fellBack": 0}
    assert answer.json["days"][-1] == today
    assert len(answer.json["days"]) == 30


def test_who_may_not_ask_is_told_so_in_the_personal_shape(app: Flask, alice: int, bearer: dict[str, str]) -> None:
    nobody, system = visit(app).get(API), visit(app).get(API, headers=bearer)
    other_scope = visit(app).get(API, headers=header(alice, Scope.SEND))
    odd = visit(app).get(f"{API}?account_id=1", headers=header(alice))
    assert [each.status_code for each in (nobody, system, other_scope, odd)] == [401, 403, 403, 422]
    for answer in (nobody, system, other_scope, odd):
        assert answer.json
        assert answer.json["success"] is False
        assert answer.json["error"]


def test_the_page_shows_it_as_a_chart_and_as_a_table(app: Flask, alice: int) -> None:
    visitor: Visitor = visit(app)
    assert visitor.sign_in().status_code == 303
    assert "0 sent, 0 failed." in visitor.get("/account/smtp").text
    of(alice, 1)
    failed_mail(alice)
    page = visitor.get("/account/smtp").text
    assert "1 sent, 1 failed." in page
    assert page.count('class="usage-sent"') == 30
    assert "style=" not in page[page.index('id="usage"') :].partition("</section>")[0]


def test_of_a_long_log_only_the_accounts_part_is_read(app: Flask, alice: int) -> None:
    said: list[tuple[str, Any]] = []
    with heard(db.engine, lambda statement, parameters: said.append((statement, parameters))):
        usage.of_account(alice)
    if db.engine.dialect.name != "sqlite":  # which plans by what is there, and here is nothing
        return
    for statement, parameters in said:
        if "FROM email_" not in statement:
            continue
        with driver_reading() as driver:
            plan = str(driver.rows(f"EXPLAIN QUERY PLAN {statement}", parameters))
        assert "_account" in plan, plan
