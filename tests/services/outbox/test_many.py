"""Acting on many mails at once: bounded to what was previewed, each mail whole and once, whatever happens meanwhile."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import delete, func, select

from app import create_app
from database.audit_db import AuditEvent
from database.engine import db, reading, transaction
from database.mail_deed_db import MailDeed, MailDeedItem, Stage
from database.outbox_db import OutboxMail, State
from services.outbox import many, many_acts, searching
from services.outbox.many import ManyMails
from services.outbox.many_rules import Correction, Hindrance, ManyAction, correction
from services.outbox.searching import MailFilter
from services.worker import groups
from services.worker.lease import Pace
from tests import postgresql_server
from tests.mails import change, in_state, queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import mail_through
from utils import clock

RETRY, CANCEL, CORRECT = ManyAction


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """The application on either database."""
    if request.param == "SQLite":
        yield request.getfixturevalue("app")
        return
    url = request.getfixturevalue("postgresql")
    app = create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        downgrade(revision="base")
        db.engine.dispose()


def previewed(action: ManyAction = RETRY, *chosen: str, of: Correction | None = None, **wanted: str) -> ManyMails:
    """The preview of a deed on the mails that are named, or that a filter finds."""
    sought = None if chosen else searching.parse(wanted)
    return many.go_on(many.propose(action, sought, chosen, of), 60)


def done(action: ManyAction = RETRY, *chosen: str, of: Correction | None = None, **wanted: str) -> ManyMails:
    preview = previewed(action, *chosen, of=of, **wanted)
    many.start(preview.id)
    return many.go_on(preview.id, 60)


def events() -> list[tuple[str, str, str]]:
    with reading() as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id))
        return [(row.action, row.subject, row.details) for row in rows]


def test_what_failed_for_a_reason_is_sent_again_and_nothing_else(either: Flask, server: RecordingServer) -> None:
    wanted = [in_state(State.FAILED, f"u{number}@example.com", reason="no_recipient") for number in range(3)]
    other = in_state(State.FAILED, "other@example.com", reason="message_refused")
    preview = previewed(state="failed", cause="no_recipient")
    assert (preview.stage, preview.found, preview.able, preview.unable) == (Stage.READY, 3, 3, {})
    assert preview.by_state == {("failed", "no_recipient"): 3}
    late = in_state(State.FAILED, "late@example.com", reason="no_recipient")
    assert {row_of(each).state for each in wanted} == {State.FAILED}
    many.start(preview.id)
    ended = many.go_on(preview.id, 60)
    assert (ended.stage, ended.done, ended.left) == (Stage.DONE, 3, {})
    drain()
    assert [row_of(each).state for each in (*wanted, other, late)] == ["sent"] * 3 + ["failed"] * 2
    assert sorted(mail.recipients[0] for mail in server.mails) == [f"u{number}@example.com" for number in range(3)]
    told = f"state failed, cause no_recipient, 3 found, 0 unable, action {preview.id}"
    assert events() == [("mail_retried", "mail 3 emails", told)]


def test_the_mails_that_changed_since_the_preview_are_left_alone(either: Flask) -> None:
    same, revived, tried, gone = (in_state(State.FAILED) for _ in range(4))
    preview = previewed(state="failed")
    many.go_on(many.start(previewed(RETRY, revived).id).id)
    change(tried, settled_at=clock.now() + timedelta(minutes=1))
    with transaction() as session:
        session.execute(delete(OutboxMail).where(OutboxMail.mail_id == gone))
    many.start(preview.id)
    ended = many.go_on(preview.id, 60)
    assert (ended.able, ended.done, ended.left) == (4, 1, {"changed": 2, "no_such": 1})
    assert row_of(same).state == State.QUEUED
    assert row_of(tried).state == State.FAILED
