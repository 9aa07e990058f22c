"""What administrators see and decide of accounts' own servers."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from flask import Flask

from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services import audit
from services.accounts import accounts
from services.personal import oversight, policy_changes
from services.personal.oversight import Decision
from tests.patience import PATIENCE
from tests.services.personal.own_rows import own_row
from tests.visitors import PASSWORD, make_alice, make_bob
from utils import clock
from utils.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")


def attempt(account_id: int, config_id: int | None, outcome: str = "accepted", *, hours: float = 0) -> None:
    with transaction() as session:
        session.add(
            EmailAttempt(
                account_id=account_id,
                config_id=config_id,
                started_at=clock.now() - timedelta(hours=hours),
                ms=1,
                kind="other",
                recipients="a***@example.com",
                refused=[],
                message_id="m",
                server="s",
                outcome=outcome,
            )
        )


def names(**asked: Any) -> list[str]:
    return [row.username for row in oversight.search(**asked).rows]


def test_the_list_has_who_brought_a_server_or_of_whom_something_was_decided() -> None:
    alice, bob = make_alice(is_admin=True), make_bob()
    assert names() == []
    own_row(bob.id)
    assert names() == ["bob"]
    oversight.limit(alice.id, 5, None)
    assert names() == ["alice", "bob"]
    assert names(shown="broken") == names(shown="decided") == []
    assert names(shown="all") == ["alice", "bob"]


def test_a_row_tells_what_there_is_to_know_and_nothing_secret() -> None:
    bob = make_bob()
    config_id = own_row(bob.id, last_error="Authentication failed", fell_back=3, broken_told_at=clock.now())
    for hours in (1, 23, 25):
        attempt(bob.id, config_id, hours=hours)
    attempt(bob.id, None, hours=0.1)
    attempt(bob.id, config_id, "temporary", hours=0.2)
    row = oversight.get(bob.id)
    assert (row.host, row.port, row.from_email, row.word) == ("smtp.example.com", 587, "me@example.com", "Broken")
    assert (row.fell_back, row.sent_today, row.last_error) == (3, 3, "Authentication failed")
    assert row.last_success is not None
    assert timedelta(minutes=59) < clock.now() - row.last_success < timedelta(hours=2)
    with reading() as session:
        stored = session.get(SmtpConfig, config_id)
        assert stored
        assert not {stored.smtp_password, stored.binding_mac, "s3cret-of-the-account"} & set(
            map(str, vars(row).values())
        )


@pytest.mark.parametrize(
    ("columns", "decision", "word"),
    [
        ({}, Decision.OWN, "In use"),
        ({"is_active": False, "inactive_reason": "address_changed"}, Decision.OWN, "Not allowed"),
        ({"last_error": "Could not connect to server"}, Decision.OWN, "Broken"),
        ({}, Decision.DISABLED, "Disabled"),
        ({"last_error": "x"}, Decision.GLOBAL, "Global server"),
    ],
)
def test_the_state_is_one_word(columns: dict[str, Any], decision: Decision, word: str) -> None:
    bob = make_bob()
    own_row(bob.id, **columns)
    assert oversight.decide(bob.id, decision).word == word


@pytest.mark.parametrize(
    ("columns", "policy", "word"),
    [
        ({}, {"allowed": "off"}, "Not used"),
        ({}, {"allowed": "named", "hosts": "example.org"}, "Not allowed"),
        ({}, {"allowed": "named", "hosts": "example.com"}, "In use"),
        ({"smtp_port": 465}, {}, "Broken"),
        ({"smtp_password": "x", "key_id": "00000000"}, {}, "Broken"),
    ],
)
def test_a_server_that_no_mail_would_go_through_is_not_called_in_use(
    columns: dict[str, Any], policy: dict[str, object], word: str
) -> None:
    bob = make_bob()
    own_row(bob.id, **columns)
    policy_changes.save(policy, actor="tester")
    row = oversight.get(bob.id)
    assert row.word == word
    assert bool(row.unused_words) is (word in ("Not allowed", "Broken"))


def test_the_list_is_searched_and_turned_over() -> None:
    people = [accounts.create(f"user{number:02}", f"u{number}@example.com", PASSWORD) for number in range(4)]
    for person in people:
        own_row(person.id, host=f"smtp{person.id}.example.org")
    first = oversight.search(limit=3)
    assert [row.username for row in first.rows] == ["user00", "user01", "user02"]
    rest = oversight.search(after=first.after, limit=3)
    assert ([row.username for row in rest.rows], rest.after) == (["user03"], "")
    assert names(text="USER02") == names(text="u2@EXAMPLE") == ["user02"]
    assert names(text=f"smtp{people[1].id}.") == ["user01"]
    assert len(names(text="\0")) == 4
    for odd in ("%", "_", "\\", "'; --", "x" * 5000):
        assert names(text=odd) == []


def test_a_decision_is_made_once_and_written_down_once() -> None:
    bob = make_bob()
    for _ in range(2):
        assert oversight.decide(bob.id, Decision.DISABLED, seen="own").decision is Decision.DISABLED
    oversight.decide(bob.id, Decision.GLOBAL, seen="disabled")
    oversight.decide(bob.id, Decision.OWN)
    found = [event.action for event in audit.events(text="account bob") if event.action.startswith("own_server")]
    assert found == ["own_server_allowed", "own_server_bypassed", "own_server_disabled"]


def test_of_two_administrators_at_once_the_second_is_told(app: Flask) -> None:
    bob, start = make_bob(), Barrier(2)

    def decide(decision: Decision) -> bool:
        with app.app_context():
            start.wait(PATIENCE)
            try:
                oversight.decide(bob.id, decision, seen="own")
            except Conflict:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(decide, (Decision.DISABLED, Decision.GLOBAL))) == [False, True]


def test_the_limits_of_one_account() -> None:
    bob = make_bob()
    oversight.limit(bob.id, 5, 0)
    row = oversight.limit(bob.id, 5, 0, seen=(None, None))
    assert (row.emails_per_minute, row.emails_per_day) == (5, 0)
    with pytest.raises(Conflict):
        oversight.limit(bob.id, 6, 0, seen=(None, None))
    assert [event.details for event in audit.events(action="limits_changed")] == ["per minute: 5, per day: no limit"]
    oversight.limit(bob.id, None, None, seen=(5, 0))
    with reading() as session:
        account = session.get(Account, bob.id)
        assert account
        assert (account.emails_per_minute, account.emails_per_day) == (None, None)


@pytest.mark.parametrize("number", [-1, 10_000_001, True, 2**70])
def test_what_is_no_limit_is_refused(number: int) -> None:
    bob = make_bob()
    with pytest.raises(InvalidInput) as refused:
        oversight.limit(bob.id, number, number)
    assert set(refused.value.errors) == {"emails_per_minute", "emails_per_day"}


def test_a_server_is_deleted_for_good_but_not_another_one_than_was_seen() -> None:
    bob = make_bob()
    config_id = own_row(bob.id)
    for seen in ({"version": 2}, {"config_id": config_id + 1}):
        with pytest.raises(Conflict):
            oversight.delete_server(bob.id, **seen)
    assert oversight.delete_server(bob.id, version=1, config_id=config_id).host == ""
    with reading() as session:
        assert session.get(SmtpConfig, config_id) is None
    with pytest.raises(NotFound):
        oversight.delete_server(bob.id)
    (event,) = audit.events(action="own_server_deleted")
    assert (event.subject, event.details) == ("account bob", "configuration Own server (smtp.example.com:587)")


@pytest.mark.parametrize("account_id", [0, -1, 99, 2**31, 2**70])
def test_an_account_that_there_is_not(account_id: int) -> None:
    for work in (
        oversight.get,
        partial(oversight.decide, decision=Decision.OWN),
        partial(oversight.limit, per_minute=None, per_day=None),
        oversight.delete_server,
    ):
        with pytest.raises(NotFound):
            work(account_id)
