"""A mistake of ours on a thread, in a task, in a template or on a page is told with the mails that it was about."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from flask import Flask
from sqlalchemy import text

from app import create_app
from blueprints.access import public
from database import alert_db
from database.engine import reading, transaction
from services.outbox import template_mail
from services.worker import celery_tasks, pulse, threads
from tests.mails import queued
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.reported import Reported, reported
from tests.visitors import mail_through, visit

SECRET = "canary-7f3a91c4"


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def logged(app: Flask) -> Iterator[Reported]:
    with reported() as lines:
        yield lines


def garble(mail_id: str) -> None:
    """Leave a row that no code of ours would write, which the work on it stumbles over."""
    with transaction() as session:
        session.execute(
            text("UPDATE email_outbox SET uncertain = :garbled WHERE mail_id = :mail_id"),
            {"garbled": SECRET, "mail_id": mail_id},
        )


def test_a_worker_tells_which_mails_it_stumbled_over_and_goes_on_with_others(
    app: Flask, server: RecordingServer, logged: Reported
) -> None:
    mail_id = queued("jane@example.com")
    garble(mail_id)
    started = threads.start(app)
    try:
        line = logged.get(timeout=PATIENCE)
        queued("john@example.com")
        assert server.wait_for_mail()
    finally:
        started.stop()
    assert line["event"] == "mail_not_opened"
    assert line["mail_id"] == mail_id
    assert line["kind"] == "TypeError"
    assert line["where"].startswith("services/")
    assert any("services/worker" in each for each in line["traceback"])
    assert "canary" not in str(line)


@pytest.fixture
def celery(environment: dict[str, str], tmp_path: Path) -> Iterator[Celery]:
    """Celery over the database of ``app``, with a broker that is away."""
    app = create_app(environment | {"CELERY_BROKER_URL": "amqp://guest@127.0.0.1:1//"}, instance_path=tmp_path)
    with app.app_context():
        yield celery_tasks.make_celery(app)


def test_a_task_tells_which_mail_it_stumbled_over_and_celery_hears_nothing_of_it(
    celery: Celery, logged: Reported
) -> None:
    mail_id = queued("jane@example.com")
    garble(mail_id)
    result = celery.tasks["mail.drain"].apply()
    line = logged.get_nowait()
    assert line["event"] == "mail_not_opened"
    assert line["mail_id"] == mail_id
    assert result.state == "SUCCESS"
    assert "canary" not in f"{result.traceback}{line}"


@pytest.mark.parametrize("name", ["mail.sweep", "mail.tidy", "mail.answer_requests"])
def test_every_task_tells_what_broke_it(celery: Celery, logged: Reported, name: str) -> None:
    with transaction() as session:
        for table in ("email_outbox", "reset_request", "reset_token"):
            session.execute(text(f"ALTER TABLE {table} RENAME TO {table}_hidden"))
    result = celery.tasks[name].apply()
    line = logged.get_nowait()
    assert line["event"] == "mail_task_failed"
    assert (line["task"], result.state) == (name, "FAILURE")
    assert "no such table" not in f"{line}{result.traceback}"


def test_a_sweep_goes_on_behind_the_part_that_broke(celery: Celery, logged: Reported) -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE email_outbox RENAME TO email_outbox_hidden"))
    assert celery.tasks["mail.sweep"].apply().state == "FAILURE"
    assert "outbox_claim_db" in logged.get_nowait()["where"]
    with reading() as session:
        assert alert_db.pulse(session, pulse.WORKER)


class Odd:
    """A value that a template stumbles over."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __html__ = __str__


@pytest.mark.usefixtures("app")
def test_a_mail_of_a_template_that_breaks_is_told_and_raises_nothing(logged: Reported) -> None:
    assert template_mail.send("jane@example.com", "password_changed", username=Odd(), moment=Odd()) is None
    line = logged.get_nowait()
    assert line["event"] == "mail_not_sent"
    assert line["template"] == "password_changed"
    assert line["traceback"]
    assert "canary" not in str(line)


def test_a_page_that_breaks_leaves_its_trace_and_none_of_its_words(app: Flask, logged: Reported) -> None:
    def broken() -> str:
        raise RuntimeError(SECRET)

    app.add_url_rule("/broken", view_func=public(broken))
    answer = visit(app).get("/broken")
    assert answer.status_code == 500
    line = logged.get_nowait()
    assert line["event"] == "unexpected_error"
    assert (line["kind"], line["endpoint"]) == ("RuntimeError", "broken")
    assert "canary" not in f"{answer.text}{line}"
