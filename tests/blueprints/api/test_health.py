"""`/healthz` and `/readyz`: for whoever watches over the process."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from database.outbox_db import State
from services.checks.readiness import CANNOT_OPEN, NO_DATABASE
from services.outbox.log import HALTED
from services.outbox.reasons import Reason
from services.settings import configs, health, route
from services.settings.fields import parse_change
from services.settings.health import Meeting, What
from services.smtp.habits import Habit, habits_of
from services.worker import threads
from tests.conftest import ADMIN_TOKEN, APP_KEY
from tests.mails import in_state, queued
from tests.statements import heard
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice, visit
from utils import clock

SERVER = {"smtp_server": "smtp.canary.example", "smtp_username": "canary-user", "smtp_password": "c4nary-pass"}


def readiness(client: Visitor, path: str = "/readyz") -> tuple[int, str, dict[str, Any]]:
    """Status code, status, and the detail of every check that is not well, as whoever has the token is told."""
    answer = client.get(path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
    told = answer.get_json()
    return answer.status_code, told["status"], {name: c["detail"] for name, c in told["checks"].items() if not c["ok"]}


def test_a_process_that_answers_is_alive_even_without_a_database(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"})
    answer = visit(app).get("/healthz")
    assert (answer.status_code, answer.text, answer.headers["Cache-Control"]) == (200, "ok", "no-store")


def test_a_fresh_installation_is_ready(client: Visitor) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert set(answer.get_json()["checks"]) == {"database", "migrations", "key", "queue", "endings", "worker"}
    assert readiness(client) == (200, "ready", {})


def test_without_a_database_nothing_is_ready(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"})
    status, word, wrong = readiness(visit(app))
    assert (status, word, set(wrong)) == (503, "not ready", {"database", "migrations", "key", "queue"})


def test_a_missing_migration_is_told_with_the_command(app: Flask, client: Visitor) -> None:
    downgrade()
    status, _, wrong = readiness(client)
    assert (status, wrong["migrations"]) == (503, "Run: flask db upgrade")


def test_a_database_without_tables_is_not_ready(environment: dict[str, str], tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bare.db")):
        app = create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'bare.db'}"})
    assert readiness(visit(app))[2]["migrations"] == "Run: flask db upgrade"


def test_a_database_that_newer_code_has_migrated_serves_older_processes_on(app: Flask, client: Visitor) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert readiness(client) == (200, "ready", {})


def test_a_key_that_does_not_open_the_active_configuration_is_told(app: Flask, environment: dict[str, str]) -> None:
    configs.save(parse_change({**SERVER, "from_email": "a@canary.example"}), actor="test")
    other = create_app({**environment, "APP_KEY": APP_KEY[::-1]})
    assert readiness(visit(other)) == (503, "not ready", {"key": CANNOT_OPEN})


def test_mail_that_is_late_degrades_and_turns_nobody_away(client: Visitor) -> None:
    in_state(State.DEFERRED, due_at=clock.now() - timedelta(minutes=16))
    status, word, wrong = readiness(client)
    assert (status, word, list(wrong)) == (200, "degraded", ["queue"])


def test_what_ends_soon_is_a_warning_and_no_failure(client: Visitor) -> None:
    stored = configs.save(parse_change({**SERVER, "from_email": "a@canary.example"}), actor="test")
    for days, is_warning in ((31, False), (30, True), (1, True), (0, True), (-1, True)):
        last_day = clock.now().date() + timedelta(days=days)
        habits_of(stored.host, stored.port).learn(Habit.CERTIFICATE, f"{last_day}")
        assert readiness(client) == (200, "ready", {})
        told = client.get("/readyz").get_json()["checks"]["endings"]
        assert told == ({"ok": True, "warning": True} if is_warning else {"ok": True})
        known = client.get("/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}).get_json()["checks"]
        assert (f"{last_day} UTC" in known["endings"]["detail"]) is is_warning
        assert "canary" not in known["endings"]["detail"]


def test_an_active_server_that_still_uses_a_password_at_microsoft_is_warned_of_and_one_in_the_drawer_is_not(
    client: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = {**SERVER, "smtp_server": "smtp.office365.com", "from_email": "a@canary.example", "name": "Office"}
    stored = configs.create(parse_change(change), actor="test")
    now = Now()
    monkeypatch.setattr(clock, "now", now)
    for moment, is_active, is_warning in (
        (datetime(2026, 11, 30, tzinfo=UTC), True, False),
        (datetime(2026, 12, 1, tzinfo=UTC), True, True),
        (datetime(2026, 12, 31, 23, tzinfo=UTC), True, True),
        (datetime(2026, 12, 31, 23, tzinfo=UTC), False, False),
        (datetime(2027, 1, 1, tzinfo=UTC), True, False),  # whether it is refused is seen from the server itself
    ):
        now.moment = moment
        (configs.activate if is_active else configs.deactivate)(stored.id)
        assert ("warning" in client.get("/readyz").get_json()["checks"]["endings"]) is is_warning, moment


@pytest.mark.parametrize("minutes", [14, -60])
def test_mail_that_is_due_only_now_or_later_is_not_late(client: Visitor, minutes: int) -> None:
    in_state(State.DEFERRED, due_at=clock.now() - timedelta(minutes=minutes))
    assert readiness(client) == (200, "ready", {})


@pytest.mark.parametrize("reason", HALTED)
def test_mail_that_is_put_off_again_and_again_for_want_of_a_server_is_late(client: Visitor, reason: str) -> None:
    in_state(State.DEFERRED, reason=reason, due_at=clock.now() + timedelta(minutes=1), days_ago=0.2)
    assert readiness(client)[:2] == (200, "degraded")


def test_a_worker_of_this_process_has_to_live(app: Flask, client: Visitor) -> None:
    started = threads.start(app)
    try:
        assert readiness(client) == (200, "ready", {})
    finally:
        started.stop()
    assert readiness(client) == (503, "not ready", {"worker": "Stopped. Restart this process."})


def test_nothing_is_told_that_names_a_server_a_person_or_a_secret(app: Flask, client: Visitor) -> None:
    configs.save(parse_change({**SERVER, "from_email": "a@canary.example"}), actor="test")
    queued("jane@canary.example")
    assert "canary" not in client.get("/readyz").text


def test_readiness_asks_as_little_of_a_full_database_as_of_an_empty_one(app: Flask, client: Visitor) -> None:
    asked: list[str] = []
    counts = []
    for _ in range(2):
        with heard(db.engine, lambda statement, _: asked.append(statement)):
            client.get("/readyz")
        counts.append(len(asked))
        asked.clear()
        for _ in range(20):
            queued()
    assert counts[0] == counts[1]
    assert counts[0] < 25


def test_no_limit_stands_before_whoever_watches(client: Visitor) -> None:
    assert {client.get("/healthz").status_code for _ in range(200)} == {200}


def down_for(minutes: int) -> None:
    """An active server that nothing has got out through for so long."""
    stored = configs.save(parse_change({**SERVER, "from_email": "a@canary.example"}), actor="test")
    step = route.step_of(stored)
    failed = Meeting(what=What.FAILED, reason=Reason.CONNECT, is_broken=True, is_unreachable=True)
    with transaction() as session:
        row = health.note(session, step.owner, step.config_id, step.fingerprint, [failed])
        row.failing_since = clock.now() - timedelta(minutes=minutes)


@pytest.mark.parametrize(("minutes", "code", "word"), [(1, 200, "degraded"), (6, 503, "down")])
def test_mail_is_down_once_nothing_has_got_out_for_as_long_as_is_set(
    client: Visitor, minutes: int, code: int, word: str
) -> None:
    down_for(minutes)
    assert readiness(client, "/readyz/mail")[:2] == (code, word)
    assert readiness(client)[:2] == (200, "degraded")


def test_how_long_is_set_in_the_environment(environment: dict[str, str], tmp_path: Path) -> None:
    patient = create_app({**environment, "MAIL_DOWN_MINUTES": "60"}, instance_path=tmp_path)
    with patient.app_context():
        down_for(30)
        assert readiness(visit(patient), "/readyz/mail")[:2] == (200, "degraded")


@pytest.mark.parametrize(("minutes", "word"), [(1, "degraded"), (6, "down")])
def test_mail_that_no_worker_takes_is_down_after_as_long(client: Visitor, minutes: int, word: str) -> None:
    in_state(State.DEFERRED, due_at=clock.now() - timedelta(minutes=minutes))
    assert readiness(client, "/readyz/mail")[1] == word


def test_where_nothing_is_to_be_sent_no_alarm_is_raised(environment: dict[str, str], tmp_path: Path) -> None:
    quiet = create_app({**environment, "MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path)
    with quiet.app_context():
        down_for(60)
        assert readiness(visit(quiet), "/readyz/mail")[:2] == (200, "ready")


def test_without_a_database_no_mail_gets_out(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"})
    assert readiness(visit(app), "/readyz/mail") == (503, "down", {"mail": NO_DATABASE})


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
@pytest.mark.parametrize("path", ["/readyz", "/readyz/mail"])
def test_without_a_token_words_alone_are_told(client: Visitor, path: str, headers: dict[str, str]) -> None:
    down_for(60)
    answers = [client.get(path, headers=headers) for _ in range(25)]  # whatever limit there is for wrong tokens
    assert {answer.status_code for answer in answers} == {503 if path == "/readyz/mail" else 200}
    assert {key for check in answers[-1].get_json()["checks"].values() for key in check} == {"ok"}


def test_an_account_that_is_no_administrator_is_told_words_alone(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    assert "detail" not in visitor.get("/readyz").text
