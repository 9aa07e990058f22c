"""Figures by the hour are counted from the log, whole hours at a time, and outlive it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, select

from app import create_app
from database.attempt_db import EmailAttempt
from database.engine import db, reading, transaction
from database.mail_hour_db import HOUR, HourSpan, MailHour, hour_of
from database.outbox_db import OutboxMail
from services import email_service
from services.outbox import figures
from services.outbox.figures import HourFigures
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp import pool
from tests.mails import attempted, queued
from tests.recording_server import RecordingServer
from tests.turned_clock import Now
from utils import clock


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: object) -> Iterator[Flask]:
    app = create_app(on_either, instance_path=tmp_path)  # type: ignore[arg-type]
    with app.app_context():
        with transaction() as session:
            for table in (EmailAttempt, MailHour):
                session.execute(delete(table))
        yield app
        db.engine.dispose()


def all_hours() -> list[HourFigures]:
    return figures.hours(HourSpan(clock.now() - timedelta(days=900), clock.now() + HOUR))


def by_outcome() -> Counter[str]:
    found: Counter[str] = Counter()
    for each in all_hours():
        found[each.outcome] += each.mails
    return found


def test_attempts_are_counted_by_server_outcome_cause_and_domain(app: Flask) -> None:
    for _ in range(3):
        attempted()
    attempted(
        outcome="permanent", reason=Reason.NO_RECIPIENT.value, recipients="a***@other.example, b***@third.example"
    )
    attempted(server="Backup (smtp.example.net:465)", recipients="***")
    figures.count_up()
    found = {(each.server, each.outcome, each.cause, each.domain): each.mails for each in all_hours()}
    first = "Primary (smtp.example.com:587)"
    assert found == {
        (first, "accepted", "", "example.com"): 3,
        (first, "permanent", "no_recipient", "other.example"): 1,
        ("Backup (smtp.example.net:465)", "accepted", "", ""): 1,
    }


def test_only_the_twenty_most_frequent_domains_are_named(app: Flask) -> None:
    for number in range(25):
        for _ in range(2 if number < 20 else 1):
            attempted(recipients=f"a***@d{number}.example")
    figures.count_up()
    found = {each.domain: each.mails for each in all_hours()}
    assert found == {f"d{number}.example": 2 for number in range(20)} | {"": 5}


def test_an_hour_is_counted_to_its_end_although_it_is_over(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    now.moment = hour_of(now.moment) + timedelta(minutes=30)
    attempted()
    figures.count_up()
    now.turn(1700)
    attempted()
    now.turn(5 * 3600)
    attempted()
    figures.count_up()
    assert by_outcome() == {"accepted": 3}
    assert len({each.hour for each in all_hours()}) == 2


def test_counting_again_changes_nothing_and_figures_outlive_the_log(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    attempted(days_ago=3)
    attempted()
    for _ in range(3):
        figures.count_up()
        now.turn(70)
    assert figures.rebuild() == 2
    before = all_hours()
    with transaction() as session:
        session.execute(delete(EmailAttempt))
    now.turn(70)
    figures.count_up()
    assert figures.rebuild() == 0
    assert all_hours() == before
    now.turn(timedelta(days=731).total_seconds())
    figures.tidy()
    assert all_hours() == []


def test_it_tells_how_soon_mails_were_accepted(app: Flask) -> None:
    mail_id = queued()
    attempted(mail_id, started_at=created_of(mail_id) + timedelta(seconds=45))
    attempted(ms=900)
    attempted(ms=4000, outcome="temporary", reason="server_busy")
    figures.count_up()
    within: Counter[int] = Counter()
    for each in all_hours():
        within.update(each.within)
    assert within == {1: 1, 10: 1, 60: 2, 300: 2, 3600: 2}


def created_of(mail_id: str) -> datetime:
    with reading() as session:
        found = session.scalar(select(OutboxMail.created_at).where(OutboxMail.mail_id == mail_id))
    assert found
    return found


def test_a_mail_that_did_not_go_is_counted_with_its_cause(app: Flask) -> None:
    with RecordingServer() as server:
        values = {"smtp_server": "127.0.0.1", "smtp_port": server.port, "use_tls": False}
        configs.save(parse_change(values | {"from_email": "a@example.com"}))
        assert email_service.send_email("a@example.com", "s", "b")
    pool.pool.close()
    assert not email_service.send_email("a@example.com", "s", "b")
    figures.count_up()
    causes = {(each.outcome, each.cause): each.mails for each in all_hours()}
    assert causes == {("accepted", ""): 1, ("temporary", "connect"): 1}
