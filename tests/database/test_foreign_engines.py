"""Engines and sessions of the surrounding application are as they were; a mail may join a session on our database."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.orm import Session, sessionmaker

from app import create_app
from database.engine import db, reading
from database.outbox_db import OutboxMail
from services.email_service import queue_email
from services.outbox import promise

ANN = "ann@example.com"


@pytest.fixture
def foreign(app: Flask, tmp_path: Path) -> Iterator[Engine]:
    """An engine of somebody else's, made while we are there, on a file of their own."""
    engine = create_engine(f"sqlite:///{tmp_path / 'foreign.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def beside(app: Flask) -> Iterator[Engine]:
    """An engine of somebody else's on our database."""
    engine = create_engine(db.engine.url)
    yield engine
    engine.dispose()


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar()


def promised() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(OutboxMail.mail_id).order_by(OutboxMail.id)))


@pytest.mark.parametrize("name", ["journal_mode", "foreign_keys", "synchronous", "secure_delete", "query_only"])
def test_a_foreign_engine_has_the_settings_of_its_driver(foreign: Engine, tmp_path: Path, name: str) -> None:
    bare = sqlite3.connect(tmp_path / "bare.db")
    try:
        assert pragma(foreign, name) == bare.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        bare.close()


def test_a_foreign_engine_begins_as_its_driver_does(foreign: Engine) -> None:
    with foreign.connect() as connection:
        connection.execute(text("SELECT 1"))
        raw = connection.connection.dbapi_connection
        assert isinstance(raw, sqlite3.Connection)
        assert raw.isolation_level == ""
        assert not raw.in_transaction


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{folder}/other.db"])
def test_an_engine_from_before_the_application_is_as_it_was(
    environment: dict[str, str], tmp_path: Path, url: str
) -> None:
    engine = create_engine(url.format(folder=tmp_path))
    before = [pragma(engine, name) for name in ("journal_mode", "foreign_keys", "busy_timeout")]
    create_app(environment, instance_path=tmp_path)
    engine.dispose()
    assert [pragma(engine, name) for name in ("journal_mode", "foreign_keys", "busy_timeout")] == before
    engine.dispose()


def test_a_foreign_engine_hears_no_statement_that_it_did_not_ask_for(foreign: Engine) -> None:
    said: list[str] = []
    event.listen(foreign, "before_cursor_execute", lambda *heard: said.append(heard[2]))
    with Session(foreign) as session, session.begin():
        session.execute(text("CREATE TABLE note (words TEXT)"))
        session.execute(text("INSERT INTO note VALUES ('a')"))
    assert said == ["CREATE TABLE note (words TEXT)", "INSERT INTO note VALUES ('a')"]


def test_a_foreign_session_is_left_alone_beside_one_that_queues(app: Flask, foreign: Engine) -> None:
    woken: list[int] = []

    def listener() -> None:
        woken.append(1)

    with Session(foreign) as theirs, Session(db.engine) as ours:
        queue_email(ANN, "s", "b", session=ours)
        theirs.execute(text("SELECT 1"))
        promise.new_mail.add(listener)
        try:
            theirs.commit()
            assert not woken
            ours.commit()
        finally:
            promise.new_mail.remove(listener)
        assert not list(theirs.dispatch.after_commit)
    assert woken == [1]


def test_our_engine_is_as_durable_as_ever(app: Flask) -> None:
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 5000}
    assert {name: pragma(db.engine, name) for name in wanted} == wanted


def test_a_pool_that_was_thrown_away_comes_back_as_durable(app: Flask) -> None:
    db.engine.dispose()
    assert pragma(db.engine, "foreign_keys") == 1


def test_each_of_two_applications_has_an_engine_of_its_own(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    other = create_app(environment | {"DATABASE_URL": f"sqlite:///{tmp_path / 'other.db'}"}, instance_path=tmp_path)
    with other.app_context():
        assert pragma(db.engine, "journal_mode") == "wal"
        db.engine.dispose()
    assert pragma(db.engine, "journal_mode") == "wal"


@pytest.mark.parametrize("key", [None, "once"])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_mail_joins_the_transaction_of_a_foreign_engine_on_our_database(
    beside: Engine, key: str | None, is_kept: bool
) -> None:
    with Session(beside) as session:
        mail_ids = [queue_email(ANN, "s", "b", idempotency_key=key, session=session)]
        mail_ids += [queue_email(ANN, "s", "b", session=session) for _ in range(3)]
        assert promised() == []
        (session.commit if is_kept else session.rollback)()
    assert promised() == (mail_ids if is_kept else [])


def test_a_session_from_a_factory_is_listened_to_once_and_its_factory_is_not(app: Flask) -> None:
    factory = sessionmaker(db.engine)
    with factory() as session:
        for _ in range(3):
            queue_email(ANN, "s", "b", session=session)
            session.commit()
        assert len(list(session.dispatch.after_commit)) == 1
    with factory() as other:
        assert not list(other.dispatch.after_commit)
    assert len(promised()) == 3


def test_a_session_on_a_connection_of_ours_may_take_a_mail(app: Flask) -> None:
    with db.engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            mail_id = queue_email(ANN, "s", "b", session=session)
            session.commit()
        outer.commit()
    assert promised() == [mail_id]
