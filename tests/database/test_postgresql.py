"""The same code on PostgreSQL: schema, saving, and the races that its own locks decide."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect, text

from app import create_app
from database.engine import db, reading, transaction
from services.accounts import accounts, api_tokens, password_reset
from services.email_service import queue_email
from services.outbox import log, opens
from services.personal import senders
from services.settings import configs
from services.settings.fields import parse_change
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.database.test_migrating_at_once import AT_ONCE, answers_of
from tests.mails import change
from tests.outbox import answer_requests, drain, row_of
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordingServer
from tests.visitors import NEW_PASSWORD, link_in, mail_through, make_alice, text_of
from utils import clock
from utils.errors import AppError

FIRST = {"smtp_server": "a.example", "smtp_username": "u", "smtp_password": "pä ss", "from_email": "a@example.com"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql_server.running() as address:
        yield address


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(url: str, server: RecordingServer) -> dict[str, str]:
    return {
        "APP_KEY": APP_KEY,
        "APP_ENV": "development",
        "DATABASE_URL": url,
        "LOCAL_INBOX_PORT": "0",
        **mail_through(server),
    }


@pytest.fixture
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        downgrade(revision="base")
        db.engine.dispose()


def in_parallel(work: Any, environment: dict[str, str], arguments: list[Any]) -> list[str]:
    """Run ``work`` in a process of its own for each argument, all starting at once; their answers, sorted."""
    go, answers = CONTEXT.Barrier(len(arguments)), CONTEXT.Queue()
    racers = [CONTEXT.Process(target=work, args=(environment, argument, go, answers)) for argument in arguments]
    for racer in racers:
        racer.start()
    found = sorted(answers.get(timeout=PATIENCE) for _ in racers)
    for racer in racers:
        racer.join()
    return found


def _save(environment: dict[str, str], change: dict[str, object], go: Any, answers: Any) -> None:
    with create_app(environment).app_context():
        go.wait()
        try:
            configs.save(parse_change(change), actor="racer")
            answers.put("saved")
        except AppError as error:
            answers.put(type(error).__name__)


def _redeem(environment: dict[str, str], token: str, go: Any, answers: Any) -> None:
    with create_app(environment).app_context():
        go.wait()
        answers.put("won" if password_reset.redeem(token, NEW_PASSWORD) else "lost")


def test_the_migrated_schema_is_that_of_the_models_also_after_undoing_and_doing_it_again(app: Flask) -> None:
    for revision in (None, "0001", "base"):
        if revision:
            downgrade(revision=revision)
            upgrade()
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_server_default": True})
            assert compare_metadata(context, db.metadata) == []


def test_of_processes_that_migrate_an_empty_database_at_once_one_does_it(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    downgrade(revision="base")
    assert answers_of(environment, tmp_path) == [1] * AT_ONCE


def test_the_partial_indexes_are_there(app: Flask) -> None:
    indexes = {index["name"]: index for index in inspect(db.engine).get_indexes("smtp_config")}
    conditions = {
        "uq_smtp_config_active_in_scope": "is_active",
        "uq_smtp_config_active_global": "(is_active AND (account_id IS NULL))",
        "uq_smtp_config_name_key": "(account_id IS NULL)",
    }
    for name, condition in conditions.items():
        assert indexes[name]["unique"]
        assert indexes[name]["dialect_options"]["postgresql_where"] == condition


def test_a_configuration_is_saved_and_read(app: Flask) -> None:
    configs.save(parse_change(FIRST), actor="tester")
    stored = configs.find_active()
    assert stored
    assert stored.settings.password.reveal() == "pä ss"
    assert stored.row.created_at.tzinfo


def test_of_two_first_saves_at_once_one_row_is_active(app: Flask, environment: dict[str, str]) -> None:
    assert in_parallel(_save, environment, [FIRST, {**FIRST, "smtp_server": "b.example"}]) == ["saved", "saved"]
    with reading() as session:
        assert session.execute(text("SELECT count(*) FROM smtp_config WHERE is_active")).scalar() == 1


def test_of_two_uses_of_a_reset_link_at_once_one_wins(
    app: Flask, environment: dict[str, str], server: RecordingServer
) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    answer_requests()
    _, token = link_in(server.wait_for_mail()[0])
    assert in_parallel(_redeem, environment, [token, token]) == ["lost", "won"]
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_what_may_be_left_out_does_not_wait_for_whoever_holds_the_row(app: Flask) -> None:
    alice = make_alice(is_admin=True)
    token, _ = api_tokens.create(alice.id, "deploy script")
    with transaction() as session:
        session.execute(text("SELECT id FROM api_token FOR UPDATE"))  # held until the token has been taken
        assert api_tokens.find_good(token)


def _note_opens(environment: dict[str, str], pixel: str, go: Any, answers: Any) -> None:
    with create_app(environment).app_context():
        for _ in range(10):
            opens.note(pixel, {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"}, "192.0.2.1")
        go.wait()
        answers.put(str(opens.write_out()))


def test_opens_that_several_processes_write_are_one_row(app: Flask, environment: dict[str, str]) -> None:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", "<p>Hello</p>", track_opens=True)
    assert in_parallel(_note_opens, environment, [row_of(mail_id).pixel] * 3) == ["1"] * 3
    found = log.story(mail_id).opens
    assert found
    assert found.count == 30
    change(mail_id, state="sent", settled_at=clock.now() - timedelta(days=100))
    log.purge(timedelta(days=90))  # and with them goes what points at them
    with reading() as session:
        assert session.scalar(text("SELECT count(*) FROM mail_open")) == 0


def _confirm_sender(environment: dict[str, str], token: str, go: Any, answers: Any) -> None:
    with create_app(environment).app_context():
        go.wait()
        answers.put("won" if senders.confirm(token) else "lost")


def test_of_two_processes_that_follow_a_senders_link_one_confirms(
    app: Flask, environment: dict[str, str], server: RecordingServer
) -> None:
    alice = make_alice()
    senders.add(alice.id, "sales@shop.example")
    drain()
    found = re.search(r"confirm-sender\?token=([\w-]+)", text_of(server.wait_for_mail()[0]))
    assert found
    assert in_parallel(_confirm_sender, environment, [found[1]] * 2) == ["lost", "won"]
    assert senders.may_use(alice.id, "sales@shop.example")
    senders.remove(alice.id, senders.every(alice.id)[0].id)
