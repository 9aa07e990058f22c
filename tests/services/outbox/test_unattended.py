"""A queue that nobody works off is told, wherever somebody looks; and so is a process that sends nothing at all."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from services.outbox.log import NOBODY_SENDS, is_unattended
from services.settings.route import NOTHING_IS_SENT
from tests.mails import queued
from tests.visitors import Visitor, make_alice, visit
from utils import clock


def waits_for(minutes: int) -> None:
    queued("jane@example.com")
    due = clock.now() - timedelta(minutes=minutes)
    with transaction() as session:
        session.execute(text("UPDATE email_outbox SET due_at = :due"), {"due": f"{due:%Y-%m-%d %H:%M:%S.%f}"})


def held_until(minutes: int) -> None:
    until = clock.now() + timedelta(minutes=minutes)
    queued("joe@example.com")
    with transaction() as session:
        session.execute(
            text(
                "UPDATE email_outbox SET state = 'leased', lease_until = :until "
                "WHERE id = (SELECT id FROM email_outbox ORDER BY created_at DESC LIMIT 1)"
            ),
            {"until": f"{until:%Y-%m-%d %H:%M:%S.%f}"},
        )


@pytest.mark.parametrize(("minutes", "told"), [(0, False), (1, True), (60, True)])
def test_mail_that_nobody_took_for_minutes_is_unattended(app: Flask, minutes: int, told: bool) -> None:
    waits_for(minutes)
    assert is_unattended() is told


@pytest.mark.parametrize(("lease", "told"), [(1, False), (-1, True)])
def test_a_worker_that_holds_other_mail_attends_while_it_lives(app: Flask, lease: int, told: bool) -> None:
    waits_for(3)
    held_until(lease)
    assert is_unattended() is told


def test_an_empty_queue_is_attended(app: Flask) -> None:
    assert not is_unattended()


def test_it_is_told_by_readyz_status_page_and_validate(app: Flask, admin: Visitor) -> None:
    waits_for(3)
    queue = admin.get("/readyz").get_json()["checks"]["queue"]
    assert (queue["ok"], queue["detail"]) == (True, NOBODY_SENDS)  # one process cannot know of the others
    status = app.test_cli_runner().invoke(args=["mail", "status"])
    assert (status.exit_code, NOBODY_SENDS in status.output) == (3, True)
    assert NOBODY_SENDS in admin.get("/settings/smtp").text
    assert NOBODY_SENDS in app.test_cli_runner().invoke(args=["smtp", "validate"]).output


@pytest.fixture
def suppressed(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app({**environment, "MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path_factory.mktemp("instance"))


@pytest.mark.parametrize("arguments", [["smtp", "route"], ["smtp", "validate"], ["mail", "status"]], ids=" ".join)
def test_that_nothing_is_sent_is_told_by_commands(suppressed: Flask, arguments: list[str]) -> None:
    with suppressed.app_context():
        assert NOTHING_IS_SENT in suppressed.test_cli_runner().invoke(args=arguments).output


@pytest.mark.parametrize("path", ["/settings/smtp", "/emails", "/emails?direct=1", "/readyz"])
def test_that_nothing_is_sent_is_told_by_pages(suppressed: Flask, path: str) -> None:
    with suppressed.app_context():
        make_alice(is_admin=True)
        visitor = visit(suppressed)
        visitor.sign_in()
        assert NOTHING_IS_SENT in visitor.get(path).text
