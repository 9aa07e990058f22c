"""Accounts are served in turns: whatever one of them has queued, another waits for no more than a group of it."""

import re
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text, update

from app import create_app
from database.engine import db, driver_transaction, transaction
from database.outbox_claim_db import GROUP
from database.outbox_db import OutboxMail, Priority, State
from database.user_db import Account
from services.outbox import log as mail_log
from services.outbox import promise
from services.outbox.reasons import Reason
from services.worker import groups, turns
from services.worker.lease import Group, Pace
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.own_servers import bring, change
from tests.recording_server import RecordingServer
from tests.statements import heard
from tests.visitors import mail_through
from utils import clock

SYSTEM, ALICE, BOB, CAROL = None, 1, 2, 3
ANN = "ann@example.com"
Scope = int | None


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "ACCOUNT_EMAILS_PER_MINUTE": "0", "FALLBACK_EMAILS_PER_MINUTE": "0"}


@pytest.fixture
def app(on_either: dict[str, str], server: RecordingServer, tmp_path: Path) -> Iterator[Flask]:
    app = create_app({**on_either, **mail_through(server)}, instance_path=tmp_path)
    with app.app_context():
        forget_all()
        make_accounts()
        yield app
        forget_all()
        db.engine.dispose()


def forget_all() -> None:
    with transaction() as session:
        for table in ("email_outbox", "email_attempt", "outbox_rest", "account"):
            session.execute(text(f"DELETE FROM {table}"))


def make_accounts() -> None:
    now = clock.now()
    common = {"password_hash": "", "created_at": now, "password_changed_at": now}
    names = {ALICE: "alice", BOB: "bob", CAROL: "carol"}
    with transaction() as session:
        for number, name in names.items():
            email = f"{name}@example.com"
            keys = {"username_key": name, "email_key": email}
            session.add(Account(id=number, username=name, email=email, **keys, **common))


def waiting(scope: Scope, count: int, *, due_in: float = -1, priority: Priority = Priority.NORMAL) -> None:
    """So many mails of an account or of the system, each a little after the one before."""
    now = clock.now()
    common = {
        "message_id": "<mail@example.com>",
        "kind": "other",
        "account_id": scope,
        "priority": priority,
        "state": State.QUEUED,
        "recipients": [{"address": ANN, "state": "pending"}],
        "content": b"sealed",
        "key_id": "12345678",
        "created_at": now,
        "expires_at": now + timedelta(days=3),
    }
    begin = now + timedelta(seconds=due_in)
    rows = [
        {**common, "mail_id": secrets.token_hex(16), "due_at": begin + timedelta(microseconds=place)}
        for place in range(count)
    ]
    with transaction() as session:
        session.execute(insert(OutboxMail), rows)


def claim(among: Sequence[Priority] = tuple(Priority)) -> Group | None:
    return groups.claim_group("test", Pace(), among)


def done(group: Group) -> None:
    """As if every mail of it were sent."""
    with transaction() as session:
        values = {"state": State.SENT, "settled_at": clock.now(), "content": None, "lease_token": None}
        session.execute(update(OutboxMail).where(OutboxMail.id.in_(group.ids)).values(**values))


def served(most: int = 1000) -> list[Scope]:
    """Whose each group is that is claimed next."""
    found: list[Scope] = []
    while len(found) < most and (group := claim()):
        assert len({each.account_id for each in group.claims}) == 1
        found.append(group.claims[0].account_id)
        done(group)
    return found


@pytest.mark.parametrize("first", [ALICE, CAROL])
def test_behind_2000_mails_of_another_a_mail_waits_for_no_more_than_one_group(app: Flask, first: int) -> None:
    waiting(first, 2000)
    waiting(BOB, 1)
    assert BOB in served(2)


def test_a_mail_that_comes_while_another_account_sends_2000_goes_within_one_group(app: Flask) -> None:
    waiting(ALICE, 2000)
    served(10)
    waiting(BOB, 1)
    assert BOB in served(2)


def test_mail_of_the_system_and_of_accounts_take_turns(app: Flask) -> None:
    waiting(SYSTEM, 5 * GROUP)
    waiting(ALICE, 5 * GROUP)
    waiting(BOB, 5 * GROUP)
    first = served(9)
    assert first[::2] == [SYSTEM] * 5
    assert Counter(first[1::2]) == {ALICE: 2, BOB: 2}


def test_a_flood_of_the_system_holds_up_no_account(app: Flask) -> None:
    waiting(SYSTEM, 2000)
    waiting(BOB, 1)
    assert BOB in served(2)


def test_a_trickle_of_the_system_holds_up_no_account(app: Flask) -> None:
    waiting(BOB, 1)
    found: list[Scope] = []
    while BOB not in found and len(found) <= 2 * GROUP:
        waiting(SYSTEM, 1)
        found += served(1)
    assert BOB in found


def test_security_mail_of_anybody_goes_before_all_turns(app: Flask) -> None:
    waiting(ALICE, 100)
    waiting(BOB, 2, priority=Priority.SECURITY)
    waiting(SYSTEM, 1, priority=Priority.SECURITY, due_in=-5)
    assert served(3) == [SYSTEM, BOB, BOB]


def test_normal_mail_of_all_goes_before_bulk_mail_of_anybody(app: Flask) -> None:
    waiting(ALICE, 1, priority=Priority.BULK)
    waiting(CAROL, GROUP + 1)
    assert served() == [CAROL, CAROL, ALICE]


def test_mail_whose_time_has_not_come_holds_up_no_other(app: Flask) -> None:
    waiting(ALICE, 500, due_in=3600)
    waiting(BOB, 1)
    assert served() == [BOB]


def test_the_longest_due_mail_of_an_account_goes_first(app: Flask) -> None:
    waiting(ALICE, 1, due_in=-10)
    waiting(ALICE, GROUP, due_in=-20)
    group = claim()
    assert group
    assert [each.due_at for each in group.claims] == sorted(each.due_at for each in group.claims)
    assert all(clock.now() - each.due_at > timedelta(seconds=15) for each in group.claims)


def test_an_account_that_rests_is_passed_over_but_for_security_mail_until_its_time_is_over(app: Flask) -> None:
    waiting(ALICE, 3)
    waiting(BOB, 1)
    turns.rest(ALICE, clock.now() + timedelta(hours=1), Reason.PAUSED)
    assert served() == [BOB]
    waiting(ALICE, 1, priority=Priority.SECURITY)
    assert served() == [ALICE]
    turns.rest(ALICE, clock.now() - timedelta(seconds=1), Reason.PAUSED)
    assert served() == [ALICE]


def test_the_mail_of_an_account_that_rests_shows_why_and_until_when(app: Flask) -> None:
    mail_ids = [queued(ANN, account_id=ALICE), queued(ANN, account_id=BOB)]
    until = clock.now() + timedelta(seconds=50)
    turns.rest(ALICE, until, f"{Reason.ACCOUNT_LIMIT}:30 emails a minute.")
    shown = {each.id: each for each in mail_log.mails()[0]}
    assert shown[mail_ids[0]].reason == "The account’s sending limit is reached: 30 emails a minute."
    assert shown[mail_ids[0]].due_at == until == mail_log.story(mail_ids[0]).mail.due_at
    assert shown[mail_ids[1]].reason == ""


def test_whoever_asks_for_a_mail_now_ends_the_rest_of_its_account(app: Flask) -> None:
    mail_id = queued(ANN, account_id=ALICE)
    turns.rest(ALICE, clock.now() + timedelta(hours=1), Reason.PAUSED)
    promise.retry(mail_id)
    drain()
    assert row_of(mail_id).state == State.SENT


def test_mail_of_an_account_that_rests_is_not_overdue(app: Flask) -> None:
    waiting(ALICE, 3, due_in=-3600)
    assert mail_log.is_behind()
    turns.rest(ALICE, clock.now() + timedelta(seconds=30), Reason.ACCOUNT_LIMIT)
    assert not mail_log.is_behind()
    assert not mail_log.is_unattended()


def test_mail_of_an_account_that_rested_a_moment_ago_is_not_overdue_whenever_rests_are_tidied(app: Flask) -> None:
    waiting(ALICE, 3, due_in=-3600)
    turns.rest(ALICE, clock.now() - timedelta(seconds=1), Reason.ACCOUNT_LIMIT)
    turns.forget_rests()
    assert not mail_log.is_behind()
    turns.rest(ALICE, clock.now() - timedelta(hours=2), Reason.ACCOUNT_LIMIT)
    turns.forget_rests()
    assert mail_log.is_behind()
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM outbox_rest")) == 0


def test_of_10000_mails_over_the_limit_one_group_is_put_off_and_the_account_rests(
    on_either: dict[str, str], server: RecordingServer, tmp_path: Path
) -> None:
    variables = {**on_either, **mail_through(server), "ACCOUNT_EMAILS_PER_MINUTE": "3"}
    with create_app(variables, instance_path=tmp_path).app_context():
        make_accounts()
        mail_ids = [queued(ANN, account_id=ALICE) for _ in range(3 * GROUP)]
        other = queued(ANN, account_id=BOB)
        drain()
        states = Counter(row_of(mail_id).state for mail_id in mail_ids)
        shown = {mail_log.story(mail_id).mail.reason for mail_id in mail_ids if row_of(mail_id).state != State.SENT}
        assert row_of(other).state == State.SENT
        forget_all()
        db.engine.dispose()
    assert states == {State.SENT: 3, State.DEFERRED: GROUP - 3, State.QUEUED: 2 * GROUP}
    assert shown == {"The account’s sending limit is reached: 3 emails a minute."}


def test_an_account_does_not_rest_for_what_one_domain_alone_takes_no_more_of(
    on_either: dict[str, str], server: RecordingServer, tmp_path: Path
) -> None:
    variables = {**on_either, **mail_through(server), "EMAILS_PER_MINUTE_PER_DOMAIN": "1"}
    with create_app(variables, instance_path=tmp_path).app_context():
        make_accounts()
        queued(ANN, account_id=ALICE)
        drain()
        for _ in range(GROUP):
            queued(ANN, account_id=ALICE)
        other = queued("ann@elsewhere.example", account_id=ALICE)
        drain()
        state = row_of(other).state
        forget_all()
        db.engine.dispose()
    assert state == State.SENT


def test_of_many_workers_at_once_each_mail_has_one_and_every_account_is_served(app: Flask) -> None:
    for account in range(1, 6):
        waiting(account, 3 * GROUP)

    def work() -> list[int]:
        with app.app_context():
            found: list[int] = []
            while group := claim():
                found += group.ids
            return found

    with ThreadPoolExecutor(4) as pool:
        claimed = [mail for mails in pool.map(lambda _: work(), range(4)) for mail in mails]
    assert len(claimed) == len(set(claimed)) == 15 * GROUP


def claimed_at_once(app: Flask, workers: int = 4) -> list[Group]:
    """A claim of each of so many workers, all begun at the same moment."""
    barrier = Barrier(workers)

    def work(_: int) -> Group | None:
        with app.app_context():
            barrier.wait()
            return groups.claim_group("test", Pace())

    with ThreadPoolExecutor(workers) as pool:
        return [group for group in pool.map(work, range(workers)) if group]


def test_of_workers_that_claim_at_once_one_has_mail_of_an_account_with_a_server_of_its_own(app: Flask) -> None:
    bring(ALICE, "127.0.0.9", 2525)
    for _ in range(10):
        waiting(ALICE, 5 * GROUP)
        first = claimed_at_once(app)
        assert [len(group.claims) for group in first] == [GROUP]
        assert claim() is None
        done(first[0])
    waiting(BOB, 5 * GROUP)
    assert sum(group.claims[0].account_id == ALICE for group in claimed_at_once(app)) <= 1


def test_an_account_without_a_server_of_its_own_has_as_many_workers_as_there_are(app: Flask) -> None:
    waiting(ALICE, 3 * GROUP)
    assert [len(group.claims) for group in (claim(), claim(), claim()) if group] == [GROUP] * 3


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.BULK])
def test_while_mail_of_an_account_is_in_hand_for_its_own_server_everybody_elses_goes_on(
    app: Flask, priority: Priority
) -> None:
    bring(ALICE, "127.0.0.9", 2525)
    waiting(ALICE, 3 * GROUP)
    held = claim()
    assert held
    waiting(ALICE, GROUP, priority=priority)
    waiting(SYSTEM, 1)
    waiting(BOB, 1)
    waiting(ALICE, 1, priority=Priority.SECURITY)
    assert Counter(served()) == {ALICE: 1, SYSTEM: 1, BOB: 1}
    done(held)
    assert served() == [ALICE] * 3


def test_what_a_worker_left_that_died_holds_up_its_account_no_longer_than_its_lease(app: Flask) -> None:
    bring(ALICE, "127.0.0.9", 2525)
    waiting(ALICE, 2 * GROUP)
    held = claim()
    assert held
    with transaction() as session:
        over = update(OutboxMail).where(OutboxMail.id.in_(held.ids)).values(lease_until=clock.now())
        session.execute(over)
    assert served() == [ALICE]


def test_a_server_that_is_switched_off_limits_nothing(app: Flask) -> None:
    change(bring(ALICE, "127.0.0.9", 2525), is_active=False)
    waiting(ALICE, 2 * GROUP)
    assert claim()
    assert claim()


def test_mail_behind_a_group_for_the_accounts_own_server_is_not_overdue(app: Flask) -> None:
    bring(ALICE, "127.0.0.9", 2525)
    waiting(ALICE, 2 * GROUP, due_in=-3600)
    assert mail_log.is_behind()
    held = claim()
    assert held
    assert not mail_log.is_behind()
    done(held)
    assert mail_log.is_behind()


class Model:
    """What each has waiting, and who must be served before whom again."""

    def __init__(self) -> None:
        self.left: Counter[Scope] = Counter()
        self.overtaken: dict[tuple[Scope, Scope], int] = {}

    def add(self, scope: Scope, count: int) -> None:
        waiting(scope, count)
        self.left[scope] += count

    def serve(self) -> None:
        group = claim()
        assert group
        scope, count = group.claims[0].account_id, len(group.claims)
        assert count == min(self.left[scope], GROUP)
        for other in [each for each, left in self.left.items() if left and each != scope]:
            times = self.overtaken[scope, other] = self.overtaken.get((scope, other), 0) + 1
            # Two turns of the system may pass while every account has one.
            assert scope is SYSTEM or times <= 1, f"{scope} was served {times} times while {other} waited"
        self.overtaken = {pair: times for pair, times in self.overtaken.items() if pair[1] != scope}
        self.left[scope] -= count
        done(group)


SCOPES = st.sampled_from([SYSTEM, 1, 2, 3, 7, 8])
STEPS = st.lists(st.tuples(SCOPES, st.integers(1, 30)) | st.integers(1, 6), min_size=1, max_size=15)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_whatever_accounts_queue_the_order_is_fair_and_nothing_is_lost(app: Flask, steps: list[Any]) -> None:
    forget_all()
    app.extensions["sealpost_turns"] = turns.Turns(lambda: 1.0)
    model = Model()
    for step in steps:
        if isinstance(step, tuple):
            model.add(*step)
            continue
        for _ in range(step):
            if model.left.total():
                model.serve()
    while model.left.total():
        model.serve()
    assert claim() is None


def plan_of(statement: str, parameters: Any) -> str:
    """How the database goes about it."""
    explain = "EXPLAIN QUERY PLAN " if db.engine.dialect.name == "sqlite" else "EXPLAIN "
    with driver_transaction() as driver:
        return "\n".join(str(row) for row in driver.rows(explain + statement, parameters))


@pytest.mark.parametrize("scope", [SYSTEM, ALICE])
def test_among_20000_waiting_mails_of_one_a_claim_is_a_seek_in_the_index(app: Flask, scope: Scope) -> None:
    bring(BOB, "127.0.0.9", 2525)
    waiting(scope, 20_000)
    waiting(BOB, 50, due_in=3600)
    with db.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    said: list[tuple[str, Any]] = []
    with heard(db.engine, lambda statement, parameters: said.append((statement, parameters))):
        assert claim()
        assert claim([Priority.NORMAL])
    plans = [plan_of(*each) for each in said if "email_outbox" in each[0]]
    assert len(plans) >= 3
    for plan in plans:
        assert "ix_email_outbox_due" in plan or "ix_email_outbox_urgent" in plan
        assert not [sign for sign in ("SCAN email_outbox", "TEMP B-TREE", "Seq Scan on email_outbox") if sign in plan]
        # Of a priority that hardly any mail has, PostgreSQL may sort the one row that it expects.
        assert {int(rows) for rows in re.findall(r"Sort +\(cost=\S+ rows=(\d+)", plan)} <= {1}, plan
