"""The only server is dead and mail waits: pages, commands and probes say so first, until it is back."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import update

from app import create_app
from database.engine import db, transaction
from database.health_db import ServerHealth
from database.outbox_db import OutboxMail
from services.checks import outlook
from services.delivery import held_servers
from services.outbox.log import NOBODY_SENDS
from services.settings import configs, health
from services.settings.fields import parse_change
from services.worker import threads
from services.worker.threads import MailWorker
from tests import postgresql_server
from tests.loopback import free_port
from tests.mails import queued
from tests.patience import stretched, wait_until
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer, hang
from tests.visitors import Visitor, make_alice, visit
from utils import clock

MAILS = 25
SETTINGS = {"smtp_server": "127.0.0.1", "use_tls": False, "from_email": "shop@example.com", "name": "Primary"}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as address:
        yield address


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def outage_app(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    is_postgresql = request.param == "PostgreSQL"
    if is_postgresql:
        environment = {**environment, "DATABASE_URL": request.getfixturevalue("postgresql")}
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        if is_postgresql:
            downgrade(revision="base")
        db.engine.dispose()


@contextlib.contextmanager
def working(app: Flask) -> Iterator[MailWorker]:
    started = threads.start(app)
    try:
        yield started
    finally:
        started.stop(1.0)


def closed(_: ExitStack) -> dict[str, object]:
    return {"smtp_port": free_port()}


def tarpit(running: ExitStack) -> dict[str, object]:
    return {"smtp_port": running.enter_context(ScriptedServer({"GREETING": hang})).port}


def refusing(running: ExitStack) -> dict[str, object]:
    server = running.enter_context(RecordingServer(users={"user": "right"}))
    return {"smtp_port": server.port, "smtp_username": "user", "smtp_password": "wrong"}


DEAD: dict[str, tuple[Callable[[ExitStack], dict[str, object]], str]] = {
    "closed port": (closed, "Could not connect to server."),
    "tarpit": (tarpit, "The mail server is not responding."),
    "refused sign-in": (refusing, "Authentication failed."),
}


@pytest.mark.parametrize(("place", "cause"), DEAD.values(), ids=DEAD.keys())
def test_an_outage_is_told_first_everywhere_and_goes_away_by_itself(
    outage_app: Flask,
    place: Callable[[ExitStack], dict[str, object]],
    cause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = outage_app
    monkeypatch.setattr(held_servers, "HELD_AFTER", stretched(1.0))
    make_alice(is_admin=True)
    alice, stranger = visit(app), visit(app)
    alice.sign_in()
    with ExitStack() as running:
        saved = configs.save(parse_change({**SETTINGS, **place(running)}))
        for number in range(MAILS):
            queued(f"customer{number}@example.com")
        with working(app):
            wait_until(lambda: health.of_config(configs.get(saved.id)).is_down)
            told = outlook.look()
            assert told.is_outage
            assert told.waiting.oldest
            assert told.state.headline.startswith("No email gets out: Primary (127.0.0.1) has been down since 20")
            assert "emails are waiting, the oldest since 20" in told.state.headline
            page = alice.get("/settings/smtp").text
            assert page.index("No email gets out") < page.index("Route")
            assert cause in page
            assert NOBODY_SENDS not in page
            assert "No email gets out" in alice.get("/emails").text
            status = app.test_cli_runner().invoke(args=["mail", "status"])
            assert status.exit_code == 3
            assert status.output.startswith("No email gets out: Primary (127.0.0.1) has been down since 20")
            assert cause in status.output
            assert NOBODY_SENDS not in status.output
            probes(stranger, "degraded", 200)
            an_hour_ago(saved.id)
            probes(stranger, "down", 503)
            detail = alice.get("/readyz/mail").get_json()["checks"]["mail"]["detail"]
            assert "No email gets out since" in detail
            assert "127.0.0.1" not in detail
    recovers(app, saved.id, alice, stranger)


def probes(stranger: Visitor, word: str, code: int) -> None:
    """What monitors are told: words alone."""
    ready, mail = stranger.get("/readyz"), stranger.get("/readyz/mail")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded" if word != "ready" else "ready")
    assert (mail.status_code, mail.get_json()["status"]) == (code, word)
    for answer in (ready, mail):
        assert {key for check in answer.get_json()["checks"].values() for key in check} == {"ok"}


def an_hour_ago(config_id: int) -> None:
    with transaction() as session:
        row = session.get(ServerHealth, health.owner_of(config_id))
        assert row
        row.failing_since = clock.now() - timedelta(hours=1)


def recovers(app: Flask, config_id: int, alice: Visitor, stranger: Visitor) -> None:
    """The server is there again, with another password if that was wrong; and nobody does anything else."""
    stored = configs.get(config_id)
    users = {"user": "right"} if stored.username else None
    if users:
        configs.update(config_id, parse_change({"smtp_password": "right"}))
    app.extensions.pop("sealpost_circuits", None)  # as a process that was started just now
    with transaction() as session:
        session.execute(update(OutboxMail).values(due_at=clock.now()))  # the minute is over
    with RecordingServer(port=stored.port, users=users) as mended, working(app):
        mended.wait_for_mail(MAILS)
        wait_until(lambda: not outlook.look().is_outage)
        assert "No email gets out" not in alice.get("/settings/smtp").text
        status = app.test_cli_runner().invoke(args=["mail", "status"])
        assert (status.exit_code, "No email gets out" in status.output) == (0, False)
        probes(stranger, "ready", 200)
