"""A mail that joins the caller's transaction is written and dropped as whatever else is added to that session."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import IntegrityError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.orm import Session

from app import create_app
from database.engine import db, reading, transaction
from database.outbox_add_db import MOST_TOGETHER
from database.outbox_db import OutboxMail
from database.user_db import Account
from services.email_service import queue_email
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from tests.statements import heard
from utils import clock

ANN = "ann@example.com"
IDS = select(OutboxMail.mail_id).order_by(OutboxMail.id)

# What is so because mails wait for a flush, which they do on the driver path alone.
WAITING = pytest.mark.parametrize("is_plain", [False], indirect=True, ids=["driver-path"])
AT_ONCE = pytest.mark.parametrize("is_plain", ["plain"], indirect=True)

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(params=["driver-path", "plain"])
def is_plain(request: pytest.FixtureRequest) -> bool:
    """Whether DATABASE_DRIVER_PATH is off, so that no mail waits for a flush."""
    return bool(request.param == "plain")


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: Path, is_plain: bool) -> Iterator[Flask]:
    app = create_app(on_either | {"DATABASE_DRIVER_PATH": str(not is_plain).lower()}, instance_path=tmp_path)
    with app.app_context():
        yield app
        with transaction() as session:
            for table in ("email_outbox", "account"):
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    with Session(db.engine) as session:
        yield session


def promised() -> list[str]:
    """The mails that another transaction sees."""
    with reading() as session:
        return list(session.scalars(IDS))


def queued(session: Session) -> list[str]:
    """Three mails: the first of a transaction is written at once, the others wait for a flush."""
    return [queue_email(ANN, "s", "b", session=session) for _ in range(3)]


def refused(session: Session) -> None:
    """Queue mails of which the database does not take the last, as it has the id of the one before."""
    queued(session)
    mail = draft(ANN, "s", "b", message_id_domain="example.com")
    for _ in range(2):
        promise.enqueue(mail, Terms(), session)


def person(name: str, **values: Any) -> Account:
    columns: dict[str, Any] = {
        "username": name,
        "username_key": name,
        "email": f"{name}@example.com",
        "email_key": f"{name}@example.com",
        "password_hash": "-",
        "password_changed_at": clock.now(),
        "created_at": clock.now(),
    }
    return Account(**columns | values)


@WAITING
def test_all_mails_of_a_transaction_but_its_first_are_written_in_one_go(session: Session) -> None:
    statements: list[str] = []
    with heard(db.engine, lambda statement, _: statements.append(statement)):
        ids = queued(session) + queued(session)
        session.commit()
    assert promised() == ids
    assert sum(statement.startswith("INSERT") for statement in statements) == 2


@pytest.mark.parametrize("abandon", [Session.rollback, Session.close, Session.reset, Session.invalidate])
def test_a_mail_of_an_abandoned_transaction_is_in_no_later_one_of_the_session(
    session: Session, abandon: Callable[[Session], None]
) -> None:
    queued(session)
    abandon(session)
    later = queued(session)
    session.commit()
    assert promised() == later


def test_a_mail_whose_block_failed_is_in_no_later_transaction_of_the_session(session: Session) -> None:
    with suppress(ZeroDivisionError), session.begin():
        queued(session)
        raise ZeroDivisionError
    with session.begin():
        later = queued(session)
    assert promised() == later


def test_a_session_that_is_left_without_a_commit_promises_nothing(app: Flask) -> None:
    with Session(db.engine) as session:
        queued(session)
    assert promised() == []


def test_a_mail_is_written_before_its_session_is_closed_by_its_block(app: Flask) -> None:
    with Session(db.engine) as session, session.begin():
        mail_ids = queued(session)
    assert promised() == mail_ids


def test_each_transaction_of_a_session_has_its_own_mails(session: Session) -> None:
    first = queued(session)
    session.commit()
    queued(session)
    session.rollback()
    last = queued(session)
    session.commit()
    assert promised() == first + last


def test_a_rollback_to_a_savepoint_takes_back_the_mails_since_then_alone(session: Session) -> None:
    before = queued(session)
    with suppress(ZeroDivisionError), session.begin_nested():
        queued(session)
        raise ZeroDivisionError
    after = queued(session)
    session.commit()
    assert promised() == before + after


def test_a_released_savepoint_keeps_its_mails(session: Session) -> None:
    before = queued(session)
    with session.begin_nested():
        within = queued(session)
        with suppress(ZeroDivisionError), session.begin_nested():
            queued(session)
            raise ZeroDivisionError
    session.commit()
    assert promised() == before + within


def test_a_rollback_takes_back_the_mails_of_released_savepoints_as_well(session: Session) -> None:
    with session.begin_nested():
        queued(session)
    session.rollback()
    session.commit()
    assert promised() == []


def test_a_savepoint_that_cannot_be_released_loses_no_mail_from_before_it(session: Session) -> None:
    before = queued(session)
    with pytest.raises(IntegrityError), session.begin_nested():
        refused(session)
    session.commit()
    assert promised() == before


def test_a_flush_writes_a_mail_where_the_raw_connection_sees_it(session: Session) -> None:
    mail_ids = queued(session)
    session.flush()
    assert session.connection().scalars(IDS).all() == mail_ids


def test_a_query_of_the_session_sees_its_mails(session: Session) -> None:
    mail_ids = queued(session)
    assert session.scalars(IDS).all() == mail_ids


@WAITING
def test_a_query_without_autoflush_leaves_the_mails_to_the_commit(session: Session) -> None:
    mail_ids = queued(session)
    with session.no_autoflush:
        assert session.scalars(IDS).all() == mail_ids[:1]
    session.commit()
    assert promised() == mail_ids


@WAITING
def test_a_session_without_autoflush_writes_its_mails_with_the_commit(app: Flask) -> None:
    with Session(db.engine, autoflush=False) as session:
        mail_ids = queued(session)
        assert session.scalars(IDS).all() == mail_ids[:1]
        session.commit()
    assert promised() == mail_ids


def test_mails_with_and_without_a_key_are_promised_in_one_transaction(session: Session) -> None:
    def keyed() -> str:
        return queue_email(ANN, "s", "b", idempotency_key="k", session=session)

    first, key, last, again = queued(session), keyed(), queued(session), keyed()
    session.commit()
    assert key == again
    assert promised() == [*first, key, *last]


def test_a_rollback_takes_back_a_mail_with_a_key_and_its_key(session: Session) -> None:
    first = queue_email(ANN, "s", "b", idempotency_key="k", session=session)
    session.rollback()
    again = queue_email(ANN, "s", "b", idempotency_key="k", session=session)
    session.commit()
    assert first != again
    assert promised() == [again]


def test_a_callers_own_fault_is_not_taken_for_a_used_key(session: Session) -> None:
    session.add_all([person("ann"), person("ann")])
    with session.no_autoflush, pytest.raises(IntegrityError):
        queue_email(ANN, "s", "b", idempotency_key="k", session=session)


def test_a_callers_unfinished_object_is_not_written_for_a_mail(session: Session) -> None:
    unfinished = person("ann", password_hash=None)
    session.add(unfinished)
    mail_ids = queued(session)
    unfinished.password_hash = "-"
    session.commit()
    assert promised() == mail_ids


@WAITING
@pytest.mark.parametrize("write", [Session.commit, Session.flush, lambda session: session.scalars(IDS)])
def test_what_the_database_does_not_take_is_told_by_the_write_and_nothing_of_it_stays(
    session: Session, write: Callable[[Session], Any]
) -> None:
    session.add(person("ann"))
    refused(session)
    with pytest.raises(SQLAlchemyError):
        write(session)
    session.rollback()
    session.commit()
    assert promised() == []
    assert session.scalar(select(func.count()).select_from(Account)) == 0


@WAITING
def test_after_a_failed_flush_nothing_can_be_committed_before_a_rollback(session: Session) -> None:
    queued(session)
    session.flush()
    refused(session)
    with pytest.raises(IntegrityError):
        session.flush()
    with pytest.raises(PendingRollbackError):
        session.commit()
    session.rollback()
    mail_ids = queued(session)
    session.commit()
    assert promised() == mail_ids


def test_a_mail_that_a_listener_queues_during_a_flush_is_promised_with_it(session: Session) -> None:
    ids: list[str] = []

    def tell(*_: Any) -> None:
        ids.extend(queued(session))

    event.listen(Account, "after_insert", tell)
    try:
        session.add(person("ann"))
        ids.extend(queued(session))
        session.commit()
    finally:
        event.remove(Account, "after_insert", tell)
    assert len(ids) == 6
    assert sorted(promised()) == sorted(ids)


@pytest.mark.parametrize("moment", ["before_commit", "before_flush", "after_flush"])
def test_a_mail_that_a_listener_of_the_session_queues_is_promised(session: Session, moment: str) -> None:
    ids: list[str] = []

    def tell(*_: Any) -> None:
        if not ids:
            ids.extend(queued(session))

    event.listen(session, moment, tell)
    session.add(person("ann"))
    session.commit()
    assert promised() == ids


def test_workers_hear_once_of_all_mails_of_a_transaction(session: Session) -> None:
    heard: list[int] = []

    def listener() -> None:
        heard.append(len(promised()))

    promise.new_mail.add(listener)
    try:
        queued(session)
        session.commit()
    finally:
        promise.new_mail.remove(listener)
    assert heard == [3]


def test_mails_join_the_transaction_of_the_applications_scoped_session(app: Flask) -> None:
    queued(db.session())
    db.session.rollback()
    mail_ids = queued(db.session())
    db.session.commit()
    db.session.remove()
    assert promised() == mail_ids


def test_the_scoped_session_itself_may_be_given_as_well(app: Flask) -> None:
    mail_ids = [queue_email(ANN, "s", "b", session=db.session) for _ in range(3)]
    db.session.commit()
    db.session.remove()
    assert promised() == mail_ids


@WAITING
def test_more_mails_than_memory_should_hold_are_promised_together_all_the_same(session: Session) -> None:
    mail_ids = [queue_email(ANN, "s", "b", session=session) for _ in range(MOST_TOGETHER + 3)]
    with session.no_autoflush:
        assert session.scalars(IDS).all() == mail_ids[:-2]
    session.commit()
    assert promised() == mail_ids


@WAITING
def test_a_full_batch_that_the_database_does_not_take_cannot_be_committed(session: Session) -> None:
    refused(session)
    with pytest.raises(IntegrityError):
        for _ in range(MOST_TOGETHER):
            queue_email(ANN, "s", "b", session=session)
    with pytest.raises(SQLAlchemyError):
        session.commit()
    session.rollback()
    assert promised() == []


def test_a_large_mail_does_not_wait_in_memory(session: Session) -> None:
    queued(session)
    large = queue_email(ANN, "s", "b" * 100_000, session=session)
    with session.no_autoflush:
        assert session.scalars(IDS).all()[-1] == large


@WAITING
def test_mails_that_the_session_expunges_are_taken_back(session: Session) -> None:
    mail_ids = queued(session)
    session.expunge_all()
    session.commit()
    assert promised() == mail_ids[:1]


@AT_ONCE
def test_off_the_driver_path_each_mail_is_written_where_it_is_queued(session: Session) -> None:
    mail_ids = queued(session)
    with session.no_autoflush:
        assert session.scalars(IDS).all() == mail_ids
    assert promised() == []
    session.commit()
    assert promised() == mail_ids


@AT_ONCE
def test_off_the_driver_path_a_mail_that_is_not_taken_is_told_where_it_is_queued(session: Session) -> None:
    with pytest.raises(IntegrityError):
        refused(session)
    session.rollback()
    mail_ids = queued(session)
    session.commit()
    assert promised() == mail_ids
