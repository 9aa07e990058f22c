"""Where nothing is sent: mails that a test records, and MAIL_SUPPRESS_SEND."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app import create_app
from blueprints.announcing import announce
from database.attempt_db import EmailAttempt
from database.engine import reading
from database.outbox_db import OutboxMail, State
from services import email_service
from services.accounts import accounts
from services.email_service import queue_email, record_messages, send_email
from services.message.draft import Attachment
from services.outbox.reasons import Reason
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import NEW_PASSWORD, PASSWORD, mail_through, make_alice


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def suppressed(environment: dict[str, str], app: Flask, tmp_path: Path) -> Iterator[Flask]:
    other = create_app(environment | {"MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path)
    with other.app_context():
        yield other


def rows(model: type[Any]) -> list[Any]:
    with reading() as session:
        return list(session.scalars(select(model)))


def test_what_is_sent_or_queued_is_recorded_instead(app: Flask, server: RecordingServer) -> None:
    with record_messages() as recorded:
        assert send_email("a@example.com", "One", "b") is True
        assert email_service.send_order_notification("b@example.com", {"symbol": "X"}) is True
        assert len(queue_email("c@example.com", "Three", "b")) == 32
    drain()
    assert [(mail.recipients, mail.kind) for mail in recorded] == [
        (("a@example.com",), "other"),
        (("b@example.com",), "order_notification"),
        (("c@example.com",), "other"),
    ]
    assert server.data == b""
    assert rows(OutboxMail) == rows(EmailAttempt) == []


def test_a_recorded_mail_shows_what_its_reader_would_see(app: Flask) -> None:
    with record_messages() as recorded:
        send_email(
            "ann@example.com",
            "Grüße",
            "Zwei\nZeilen\n",
            "<p>Zwei</p>",
            bcc="bob@example.com",
            reply_to="help@example.com",
            headers={"X-Order": "7"},
            attachments=[Attachment("a.bin", b"\x00\xff", "application/x-thing")],
        )
    (mail,) = recorded
    assert mail.recipients == ("ann@example.com", "bob@example.com")
    assert (mail.subject, mail.text, mail.html) == ("Grüße", "Zwei\nZeilen\n", "<p>Zwei</p>\n")
    assert (mail.headers["To"], mail.headers["Reply-To"], mail.headers["X-Order"]) == (
        "ann@example.com",
        "help@example.com",
        "7",
    )
    assert mail.attachments == [Attachment("a.bin", b"\x00\xff", "application/x-thing")]
    assert "Grüße" not in repr(mail)


def test_a_mail_without_html_has_none(app: Flask) -> None:
    with record_messages() as recorded:
        send_email("a@example.com", "s", "b")
    assert (recorded[0].html, recorded[0].attachments) == (None, [])


def test_a_notice_that_is_queued_with_a_change_is_recorded(app: Flask) -> None:
    alice = make_alice()
    with record_messages() as recorded:
        accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert [mail.kind for mail in recorded] == ["password_changed"]


def test_every_open_block_records_and_none_does_afterwards(app: Flask, server: RecordingServer) -> None:
    with record_messages() as outer:
        send_email("a@example.com", "1", "b")
        with record_messages() as inner:
            send_email("a@example.com", "2", "b")
    send_email("a@example.com", "3", "b")
    assert [[mail.subject for mail in block] for block in (outer, inner)] == [["1", "2"], ["2"]]
    assert len(server.mails) == 1


@pytest.mark.parametrize("times", [{"send_at": "soon"}, {"priority": "urgent"}, {"idempotency_key": ""}])
def test_a_callers_mistake_is_one_also_while_mails_are_recorded(app: Flask, times: dict[str, Any]) -> None:
    with record_messages() as recorded, pytest.raises(ValueError, match=next(iter(times))):
        queue_email("a@example.com", "s", "b", **times)
    assert recorded == []


def test_where_sending_is_suppressed_nothing_is_connected_to_and_the_attempt_says_so(
    suppressed: Flask, server: RecordingServer
) -> None:
    assert send_email("a@example.com", "s", "b") is True
    assert [row.outcome for row in rows(EmailAttempt)] == ["suppressed"]
    assert server.data == b""


def test_where_sending_is_suppressed_queued_mail_is_settled_without_its_content(
    suppressed: Flask, server: RecordingServer
) -> None:
    mail_id = queued()
    drain()
    row = row_of(mail_id)
    assert (row.state, row.content) == (State.SUPPRESSED, None)
    assert row.reason == Reason.NOTHING_IS_SENT
    assert row.settled_at
    assert server.data == b""


def test_a_start_warns_that_sending_is_suppressed(suppressed: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce(suppressed)
    assert [record for record in caplog.records if "mail_is_suppressed" in str(record.msg)]
