"""Claims, leases and keys on both databases: of many workers one has a mail, and one that is late changes nothing."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.exc import DataError

from app import create_app
from database import outbox_claim_db
from database.engine import db, driver_transaction, transaction
from database.outbox_db import OutboxMail, State
from services.accounts import accounts, password_reset
from services.email_service import queue_email
from services.outbox import log, promise
from services.outbox.reasons import Reason
from services.worker import groups as outbox_work
from services.worker import lease, settling
from services.worker.lease import Group, Pace
from services.worker.unwritten import News
from tests.mails import queued
from tests.outbox import answer_requests, drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, mail_through
from utils import clock
from utils.errors import Conflict

ANN = "ann@example.com"
OVER = Pace(lease=timedelta(seconds=-1), cool_down=timedelta(0))  # a lease that is over at once

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture(params=["true", "false"], ids=["driver-path", "plain"])
def app(
    request: pytest.FixtureRequest, on_either: dict[str, str], server: RecordingServer, tmp_path: Path
) -> Iterator[Flask]:
    variables = {"DATABASE_DRIVER_PATH": request.param, **mail_through(server)}
    app = create_app(on_either | variables, instance_path=tmp_path)
    with app.app_context():
        yield app
        with transaction() as session:
            for table in ("email_outbox", "email_attempt", "reset_request", "account"):
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


def at_once(app: Flask, *works: Callable[[], Any]) -> list[Any]:
    """What each gives in a thread of its own, all of them beginning together."""
    go = Barrier(len(works))

    def once(work: Callable[[], Any]) -> Any:
        with app.app_context():
            go.wait()
            return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(once, works))


def claimed(pace: Pace | None = None) -> Group:
    group = outbox_work.claim_group("test", pace or Pace())
    assert group
    return group


def fenced(group: Group) -> set[int]:
    with driver_transaction() as driver:
        return outbox_claim_db.fence(driver, group.claims, server="env", now=clock.now())


def settle(group: Group) -> None:
    """As dead letters."""
    outbox_work.finish(News([settling.dead(claim, clock.now(), "late") for claim in group.claims], []))


def test_a_mail_goes_from_the_queue_to_its_recipient(server: RecordingServer) -> None:
    mail_id = queue_email(ANN, "s", "b", send_at=clock.now() - timedelta(minutes=1))
    assert drain() == 1
    row = row_of(mail_id)
    assert (row.state, row.content, row.recipients[0]["state"]) == (State.SENT, None, "accepted")
    assert len(server.mails) == 1


def test_of_20_threads_with_one_key_all_get_the_same_mail(app: Flask) -> None:
    ids = at_once(app, *[lambda: queue_email(ANN, "s", "b", idempotency_key="order 7")] * 20)
    assert len(set(ids)) == 1
    assert len(claimed().claims) == 1


def test_a_key_that_was_used_meanwhile_leaves_the_callers_transaction_whole() -> None:
    first = queue_email(ANN, "s", "b", idempotency_key="k")
    with transaction() as session:
        assert queue_email(ANN, "s", "b", idempotency_key="k", session=session) == first
        other = queue_email(ANN, "other", "b", session=session)
    assert row_of(other).state == State.QUEUED


def test_of_many_workers_at_once_each_mail_has_one(app: Flask, server: RecordingServer) -> None:
    mail_ids = [queued(ANN) for _ in range(40)]
    groups = at_once(app, *[lambda: outbox_work.claim_group("test", Pace())] * 8)
    more = iter(lambda: outbox_work.claim_group("test", Pace()), None)
    taken = Counter(claim.mail_id for group in [*groups, *more] if group for claim in group.claims)
    assert taken == Counter(mail_ids)


def test_a_worker_that_was_paused_beyond_its_lease_may_not_begin_any_more() -> None:
    mail_id = queued(ANN)
    late = claimed(OVER)
    assert fenced(late) == set()
    outbox_work.sweep(Pace())
    assert row_of(mail_id).state == State.DEFERRED
    assert fenced(late) == set()


def test_a_late_result_changes_nothing_once_another_worker_has_the_mail() -> None:
    mail_id = queued(ANN)
    late = claimed(OVER)
    outbox_work.sweep(Pace())
    claimed()
    settle(late)
    lease.give_back(late)
    lease.renew(late, Pace())
    assert row_of(mail_id).state == State.LEASED


def test_a_mail_that_a_worker_was_handing_over_when_it_died_is_of_unknown_fate_and_tried_there_again() -> None:
    mail_id = queued(ANN)
    group = claimed()
    assert len(fenced(group)) == 1
    with transaction() as session:
        session.execute(update(OutboxMail).values(lease_until=clock.now() - timedelta(seconds=1)))
    outbox_work.sweep(OVER)
    row = row_of(mail_id)
    assert (row.state, row.pinned_to, row.uncertain) == (State.UNCERTAIN, "env", 1)
    assert row.reason == Reason.LOST_WORKER
    drain()
    assert row_of(mail_id).state == State.SENT


def test_a_lease_that_was_given_while_the_clock_was_ahead_runs_out_as_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mail_id = queued(ANN)
    started = clock.now()
    monkeypatch.setattr(clock, "now", lambda: started + timedelta(days=1))
    claimed()
    monkeypatch.setattr(clock, "now", lambda: started)
    outbox_work.sweep(Pace())
    assert row_of(mail_id).state == State.LEASED
    monkeypatch.setattr(clock, "now", lambda: started + Pace().lease + timedelta(seconds=1))
    outbox_work.sweep(Pace())
    assert row_of(mail_id).state == State.DEFERRED


def test_a_mail_that_was_lost_three_times_is_given_up() -> None:
    mail_id = queued(ANN)
    for _ in range(3):
        fenced(claimed())
        with transaction() as session:
            session.execute(update(OutboxMail).values(lease_until=clock.now() - timedelta(seconds=1)))
        outbox_work.sweep(OVER)
    row = row_of(mail_id)
    assert (row.state, row.reason) == (State.FAILED, Reason.UNKNOWN_FATE)


def test_a_heartbeat_keeps_a_lease() -> None:
    group_of = queued(ANN)
    late = claimed(OVER)
    lease.renew(late, Pace())
    outbox_work.sweep(Pace())
    assert row_of(group_of).state == State.LEASED
    assert len(fenced(late)) == 1


def test_of_a_cancel_and_a_claim_at_once_one_wins(app: Flask) -> None:
    mail_id = queued(ANN)

    def cancel() -> bool:
        try:
            promise.cancel(mail_id)
        except Conflict:
            return False
        return True

    won = at_once(app, cancel, lambda: outbox_work.claim_group("test", Pace()) is not None)
    assert sorted(won) == [False, True]
    assert row_of(mail_id).state in (State.CANCELLED, State.LEASED)


def test_a_request_for_a_reset_is_answered_by_one_worker_with_one_mail(app: Flask, server: RecordingServer) -> None:
    addresses = ["ann@example.com", "bob@example.com", "cid@example.com"]
    for address in addresses:
        accounts.create(address[:3], address, PASSWORD)
        password_reset.request_reset(address)
    assert sum(at_once(app, *[password_reset.process_requests] * 4)) == 3
    assert answer_requests() == 0
    assert sorted(mail.recipients[0] for mail in server.mails) == addresses


NO_RECIPIENTS = ['"ann@example.com"', "null", "{}", "[]", "[7]", '[{"address": 7, "state": "pending"}]']
NO_RECIPIENTS += ['[{"state": "pending"}]', '[{"address": "ann@example.com", "state": "perhaps"}]']
NO_MOMENTS = [(column, written) for column in ("created_at", "due_at", "expires_at") for written in ("soon", "", "7")]


def write_by_hand(mail_id: str, column: str, written: str) -> bool:
    """Edit a row as its administrator might; False where the database refuses, as PostgreSQL does what is no JSON."""
    kind = str(OutboxMail.__table__.c[column].type.compile(db.engine.dialect))
    value = f"CAST(:written AS {kind})" if db.engine.dialect.name == "postgresql" else ":written"
    edit = text(f"UPDATE email_outbox SET {column} = {value} WHERE mail_id = :mail_id")
    try:
        with transaction() as session:
            session.execute(edit, {"written": written, "mail_id": mail_id})
    except DataError:
        return False
    return True


@pytest.mark.parametrize("written", ["ann@example.com", "", "[", *NO_RECIPIENTS])
def test_a_row_whose_recipients_are_none_is_set_aside_and_the_others_flow(written: str) -> None:
    edited, others = queued(ANN), [queued(f"b{number}@example.com") for number in range(3)]
    if not write_by_hand(edited, "recipients", written):
        assert db.engine.dialect.name == "postgresql"
        return
    assert log.story(edited).mail.recipients == []
    drain()
    assert (row_of(edited).state, row_of(edited).reason) == (State.FAILED, Reason.ALTERED)
    assert {row_of(mail_id).state for mail_id in others} == {State.SENT}
    assert {mail.id for mail in log.mails()[0]} == {edited, *others}


@pytest.mark.parametrize(("column", "written"), NO_MOMENTS)
def test_a_moment_that_is_none_stops_no_other_mail(column: str, written: str) -> None:
    edited, other = queued(ANN), queued("bob@example.com")
    if not write_by_hand(edited, column, written):
        assert db.engine.dialect.name == "postgresql"
        return
    drain()
    assert row_of(other).state == State.SENT
    assert log.story(edited).mail.id == edited
