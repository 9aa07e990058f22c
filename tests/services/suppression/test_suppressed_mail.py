"""Mail to addresses that were refused for good twice, queued and sent directly, on both databases and both paths."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from database.outbox_db import Priority
from services.email_service import (
    queue_email,
    send_email,
    send_order_notification,
    send_password_reset_email,
    send_template,
)
from services.outbox import log
from services.outbox.reasons import Reason, words
from services.suppression import entries
from services.suppression.listing import Cause
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.statements import heard
from tests.visitors import mail_through

GOOD, DEAD = "good@example.com", "dead@example.com"
NOBODY = "550 5.1.1 No such user here"
REFUSED = {
    DEAD: NOBODY,
    "gone@example.com": "550 5.2.1 Mailbox disabled",
    "moved@example.com": "550 5.1.10 Recipient not found",
    "words@example.com": "550 No such user here",
    "full@example.com": "552 5.2.2 Mailbox full",
    "policy@example.com": "550 5.7.1 Refused by policy",
    "later@example.com": "450 4.1.1 Try again later",
    "spam@example.com": "554 5.7.1 Message refused as spam",
}


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    with RecordingServer(refuse=REFUSED) as server:
        yield server


@pytest.fixture
def sent(server: RecordingServer) -> RecordingServer:
    server.mails.clear()
    return server


@pytest.fixture(params=["true", "false"], ids=["driver-path", "plain"], autouse=True)
def app(
    request: pytest.FixtureRequest, on_either: dict[str, str], server: RecordingServer, tmp_path: Path
) -> Iterator[Flask]:
    app = create_app(
        on_either | {"DATABASE_DRIVER_PATH": request.param, **mail_through(server)}, instance_path=tmp_path
    )
    with app.app_context():
        yield app
        with transaction() as session:
            for table in ("email_outbox", "email_attempt", "suppression", "address_key"):
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


def refused_twice(address: str = DEAD) -> None:
    for _ in range(2):
        queued(address)
        drain()


def state_of(mail_id: str) -> tuple[str, str]:
    row = row_of(mail_id)
    return row.state, row.reason


def test_after_two_emails_that_were_refused_for_good_a_third_is_suppressed_with_the_reason(
    sent: RecordingServer,
) -> None:
    refused_twice()
    before = len(sent.data)
    mail_id = queued(DEAD)
    drain()
    assert state_of(mail_id) == ("suppressed", Reason.LISTED_REFUSED)
    row = row_of(mail_id)
    assert row.settled_at
    assert row.recipients == [{"address": DEAD, "state": "suppressed", "why": "listed_refused"}]
    (recipient,) = log.story(mail_id).mail.recipients
    assert recipient.meaning == words(Reason.LISTED_REFUSED)
    assert len(sent.data) == before  # the server was not told of it


def test_once_its_recipient_is_off_the_list_it_can_be_sent_again(server: RecordingServer) -> None:
    moved_in = "new@example.com"
    entries.add(moved_in)
    mail_id = queued(moved_in)
    drain()
    log.retry(mail_id)
    drain()
    assert state_of(mail_id) == ("suppressed", Reason.LISTED_MANUAL)
    assert log.story(mail_id).can_retry
    entries.remove_address(moved_in)
    log.retry(mail_id)
    drain()
    assert state_of(mail_id) == ("sent", "")
    assert row_of(mail_id).recipients[0]["state"] == "accepted"


def test_one_email_that_is_tried_again_counts_once() -> None:
    mail_id = queued(DEAD)
    drain()
    for _ in range(2):
        log.retry(mail_id)
        drain()
    assert state_of(mail_id) == ("failed", Reason.NO_RECIPIENT)
    other = queued(DEAD)
    drain()
    assert state_of(other)[0] == "failed"
    log.retry(mail_id)
    drain()
    assert state_of(mail_id) == ("suppressed", Reason.LISTED_REFUSED)


def test_the_others_of_the_same_email_get_it(sent: RecordingServer) -> None:
    refused_twice()
    mail_id = queued(GOOD, DEAD)
    drain()
    assert state_of(mail_id) == ("sent", Reason.SOME_SUPPRESSED)
    assert [each["state"] for each in row_of(mail_id).recipients] == ["accepted", "suppressed"]
    assert sent.mails[-1].recipients == (GOOD,)


def test_security_mail_is_sent_all_the_same() -> None:
    refused_twice()
    by_priority = queued(DEAD, priority=Priority.SECURITY)
    by_kind = queued(DEAD, kind="password_reset")
    bulk = queued(DEAD, priority=Priority.BULK)
    drain()
    assert [row_of(each).state for each in (by_priority, by_kind, bulk)] == ["failed", "failed", "suppressed"]
    assert not send_password_reset_email(DEAD, "token")
    (latest, *_), _ = log.direct()
    assert (latest.outcome, latest.code) == ("permanent", 550)


def test_mail_sent_directly_is_counted_and_suppressed_as_well(sent: RecordingServer) -> None:
    assert [send_email(DEAD, "s", "b") for _ in range(3)] == [False] * 3
    (latest, second, _), _ = log.direct()
    assert second.outcome == "permanent"
    assert (latest.outcome, latest.code, latest.server) == ("suppressed", None, "")
    assert latest.diagnosis
    assert latest.diagnosis.title == words(Reason.LISTED_REFUSED).removesuffix(".")
    assert not send_email([GOOD, DEAD], "s", "b")
    assert sent.mails[-1].recipients == (GOOD,)
    (in_part, *_), _ = log.direct()
    assert (in_part.outcome, in_part.refused[0]["suppressed"]) == ("accepted", "listed_refused")
    assert send_email(GOOD, "s", "b")


def test_queued_and_direct_mail_count_together_and_the_case_of_an_address_is_no_matter() -> None:
    send_email(DEAD, "s", "b")
    queued(DEAD)
    drain()
    mail_id = queue_email("Dead@EXAMPLE.com", "s", "b")
    drain()
    assert state_of(mail_id) == ("suppressed", Reason.LISTED_REFUSED)


@pytest.mark.parametrize(
    ("address", "state"),
    [
        ("gone@example.com", "suppressed"),
        ("moved@example.com", "suppressed"),
        ("words@example.com", "suppressed"),
        ("full@example.com", "deferred"),
        ("policy@example.com", "failed"),
        ("later@example.com", "deferred"),
    ],
)
def test_only_refusals_that_tell_of_no_mailbox_count(address: str, state: str) -> None:
    for _ in range(3):
        mail_id = queued(address)
        drain()
    assert row_of(mail_id).state == state


def test_a_delivery_in_between_ends_the_count(server: RecordingServer) -> None:
    flaky = "flaky@example.com"
    for answer in (NOBODY, "", NOBODY):
        server._refuse[flaky] = answer
        if not answer:
            del server._refuse[flaky]
        mail_id = queued(flaky)
        drain()
    assert state_of(mail_id) == ("failed", Reason.NO_RECIPIENT)
    mail_id = queued(flaky)
    drain()
    assert state_of(mail_id)[0] == "failed"
    mail_id = queued(flaky)
    drain()
    assert state_of(mail_id)[0] == "suppressed"


def test_a_mail_that_is_not_refused_costs_no_row() -> None:
    assert send_email(GOOD, "s", "b")
    queued(GOOD)
    drain()
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM suppression")).scalar() == 0
        assert session.execute(text("SELECT count(*) FROM address_key")).scalar() == 0


def test_while_nothing_is_listed_a_mail_costs_no_question_and_then_one() -> None:
    assert send_email(GOOD, "s", "b")
    statements: list[str] = []
    with heard(db.engine, lambda statement, _: statements.append(statement)):
        assert send_email(GOOD, "s", "b")
        assert not [each for each in statements if "suppression" in each or "address_key" in each]
        entries.add(DEAD)
        assert not send_email(DEAD, "s", "b")
        statements.clear()
        assert send_email(GOOD, "s", "b")
    assert len([each for each in statements if "suppression" in each]) == 1


def test_templates_and_mail_over_http_are_suppressed_with_the_reason(app: Flask, bearer: dict[str, str]) -> None:
    entries.add(DEAD, Cause.COMPLAINT)
    assert not send_template(DEAD, "order_notification", symbol="A")
    assert not send_order_notification(DEAD, {})
    client = app.test_client()
    body = {"to": DEAD, "subject": "s", "text": "t", "wait": True}
    answer = client.post("/api/messages/send-email", json=body, headers=bearer)
    told = answer.get_json()
    assert (answer.status_code, told["success"], told["state"]) == (200, False, "suppressed")
    assert told["error"] == words(Reason.LISTED_COMPLAINT)
    told = client.post("/api/messages/send-email", json=body | {"to": [GOOD, DEAD]}, headers=bearer).get_json()
    assert (told["success"], told["state"]) == (False, "sent")
    assert [each["state"] for each in told["recipients"]] == ["accepted", "suppressed"]
    assert told["recipients"][1]["meaning"] == words(Reason.LISTED_COMPLAINT)
