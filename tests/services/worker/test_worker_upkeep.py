"""What a worker does besides sending never holds mail up, and what goes wrong there loses no result."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import create_app
from database import outbox_claim_db, user_db
from database.engine import db, driver_transaction, transaction
from database.outbox_db import OutboxMail, Priority, State
from services import email_service
from services.accounts import password_reset
from services.outbox import log, promise
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import groups, settling, threads
from services.worker.groups import Turn
from services.worker.lease import Group, Pace
from services.worker.unwritten import News
from tests import postgresql_server
from tests.mails import change, queued
from tests.outbox import drain, row_of
from tests.patience import wait_until
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, late
from tests.statements import heard
from tests.visitors import mail_through, make_alice
from utils import clock

ANN = "ann@example.com"


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def under_way() -> Group:
    """A group that a worker is handing over."""
    group = groups.claim_group("test", Pace())
    assert group
    with driver_transaction() as driver:
        outbox_claim_db.fence(driver, group.claims, server="env", now=clock.now())
    return group


def work_off() -> Turn:
    """Deliver one group."""
    group = groups.claim_group("test", Pace())
    assert group
    return groups.work_off(group, Pace())


def wait_until_put_off(mail_id: str) -> None:
    wait_until(lambda: row_of(mail_id).state == State.DEFERRED)


def sent(group: Group) -> News:
    waiting = [settling.snoozed(claim, clock.now(), "") for claim in group.claims]
    return News([each._replace(state=State.SENT, settled_at=clock.now(), keep=False) for each in waiting], [])


def lease_runs_out() -> None:
    with transaction() as session:
        session.execute(update(OutboxMail).values(lease_until=clock.now() - timedelta(seconds=1)))


def test_a_result_that_comes_after_the_lease_counts_while_nobody_else_has_the_mail(app: Flask) -> None:
    mail_id = queued(ANN)
    late = under_way()
    lease_runs_out()
    groups.sweep(Pace())
    assert row_of(mail_id).state == State.UNCERTAIN
    groups.finish(sent(late))
    row = row_of(mail_id)
    assert (row.state, row.content, row.lease_token) == (State.SENT, None, None)


def test_a_result_that_comes_too_late_does_not_revive_a_mail_that_was_cancelled(app: Flask) -> None:
    mail_id = queued(ANN)
    late = under_way()
    lease_runs_out()
    groups.sweep(Pace())
    promise.cancel(mail_id)
    groups.finish(News([settling.snoozed(claim, clock.now(), "") for claim in late.claims], []))
    assert row_of(mail_id).state == State.CANCELLED


def test_what_a_dead_worker_had_only_claimed_is_due_again_uncharged(app: Flask) -> None:
    mail_id = queued(ANN)
    groups.claim_group("test", Pace())
    lease_runs_out()
    groups.sweep(Pace())
    row = row_of(mail_id)
    assert (row.state, row.attempts) == (State.DEFERRED, 0)


def test_a_database_error_between_two_servers_loses_no_result_of_the_first(app: Flask, ending: ExitStack) -> None:
    first = ending.enter_context(ScriptedServer({"MAIL": ["250 2.1.0 ok", "421 4.3.2 closing"]}))
    place = {"smtp_server": first.host, "smtp_port": first.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "failover": True}), actor="tester")
    mail_ids = [queued(ANN), queued(ANN)]

    def fail(statement: str, parameters: Any) -> None:
        if "'transmitting'" in statement and "env" in str(parameters):
            raise OperationalError(statement, {}, Exception("away"))

    with heard(db.engine, fail), pytest.raises(OperationalError):
        drain()
    assert [row_of(mail_id).state for mail_id in mail_ids] == [State.SENT, State.TRANSMITTING]


def test_a_receipt_that_cannot_be_read_holds_neither_the_sweep_nor_mail_up(
    app: Flask, server: RecordingServer, tmp_path: Path
) -> None:
    (tmp_path / "receipts" / "0.json").mkdir(parents=True)
    queued(ANN)
    groups.claim_group("dead", Pace())
    lease_runs_out()
    started = threads.start(app)
    try:
        assert server.wait_for_mail()
    finally:
        started.stop()


def test_requests_that_take_long_hold_neither_mail_nor_leases_up(
    environment: dict[str, str], server: RecordingServer, tmp_path: Path
) -> None:
    with postgresql_server.running() as url:
        app = create_app(environment | {"DATABASE_URL": url}, instance_path=tmp_path)
        with app.app_context():
            upgrade()
            alice = make_alice()
            password_reset.request_reset(alice.email)
            with transaction() as session:
                user_db.lock(session, alice.id)  # whoever answers the request waits for this
                started = threads.start(app)
                try:
                    queued(ANN)
                    assert server.wait_for_mail()
                finally:
                    session.rollback()
                    started.stop()
            db.engine.dispose()


def test_each_commit_of_a_long_session_tells_the_workers_and_no_savepoint_does(app: Flask) -> None:
    heard: list[int] = []

    def listener() -> None:
        heard.append(1)

    promise.new_mail.add(listener)
    try:
        with Session(db.engine) as session:
            for commits in range(3):
                email_service.queue_email(ANN, "s", "b", session=session)
                with session.begin_nested():
                    pass
                assert len(heard) == commits
                session.commit()
                assert len(heard) == commits + 1
    finally:
        promise.new_mail.remove(listener)


def test_a_mail_whose_time_is_over_is_not_sent_even_before_the_next_sweep(app: Flask, server: RecordingServer) -> None:
    mail_id = queued(ANN)
    change(mail_id, expires_at=clock.now())
    drain()
    assert (row_of(mail_id).state, server.mails) == (State.EXPIRED, [])


@pytest.mark.parametrize(
    ("variables", "is_worth_it"),
    [
        ({"EMAIL_HOST": ""}, False),
        ({"EMAILS_PER_MINUTE": "1"}, False),
        ({"EMAILS_PER_MINUTE_PER_DOMAIN": "1"}, True),
    ],
    ids=["no server", "the limit of the server", "the limit of a domain"],
)
def test_whether_more_mail_is_worth_a_claim_is_known_after_a_group(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], is_worth_it: bool
) -> None:
    with create_app(environment | variables, instance_path=tmp_path).app_context():
        for _ in range(2 * outbox_claim_db.GROUP):
            queued(ANN)
        work_off()
        assert work_off().is_stuck is not is_worth_it


def test_while_no_mail_can_go_a_worker_leaves_it_alone_but_for_security_mail(
    environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(environment | {"EMAIL_HOST": ""}, instance_path=tmp_path)
    with app.app_context():
        mail_ids = [queued(ANN) for _ in range(5 * outbox_claim_db.GROUP)]
        started = threads.start(app)
        try:
            for _ in range(3):  # by the second the senders have tried
                urgent = queued(ANN, priority=Priority.SECURITY)
                wait_until_put_off(urgent)
        finally:
            started.stop()
        states = [row_of(mail_id).state for mail_id in mail_ids]
    assert 0 < states.count(State.DEFERRED) <= 3 * outbox_claim_db.GROUP


def test_what_queued_mail_meets_stands_on_the_configuration_until_the_next_success(
    app: Flask, ending: ExitStack
) -> None:
    script: list[Answer] = ["421 4.3.2 closing", "250 2.1.0 ok"]
    server = ending.enter_context(ScriptedServer({"MAIL": script}))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    config_id = configs.save(parse_change({**place, "failover": True}), actor="tester").row.id
    for sent_through, is_noted in ((".env", True), ("Primary", False)):
        mail_id = queued(ANN)
        drain()
        row = configs.get(config_id).row
        assert log.story(mail_id).attempts[-1].server.startswith(sent_through)
        assert (row.last_error is not None, row.failed_over_at is not None) == (is_noted, is_noted)


def test_what_a_slow_server_has_taken_is_written_down_while_it_takes_the_rest(app: Flask, ending: ExitStack) -> None:
    states: list[State] = []

    def look(connection: Connection) -> None:
        with app.app_context():
            states.extend(State(row_of(mail_id).state) for mail_id in mail_ids)
        connection.send(b"250 2.0.0 ok\r\n")

    server = ending.enter_context(ScriptedServer({"MESSAGE": [late("250 2.0.0 ok", 0.2), look]}))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change(place), actor="tester")
    mail_ids = [queued(ANN), queued(ANN)]
    drain()
    assert states == [State.SENT, State.TRANSMITTING]
    assert [row_of(mail_id).state for mail_id in mail_ids] == [State.SENT, State.SENT]
    assert [len(log.story(mail_id).attempts) for mail_id in mail_ids] == [1, 1]
