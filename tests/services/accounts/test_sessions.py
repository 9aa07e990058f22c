"""Sessions on the server: their life, their end, and whose they were."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from database.engine import reading, transaction
from database.session_db import BrowserSession, EndedSession
from database.user_db import Account
from services import audit
from services.accounts import accounts, api_tokens, sessions
from services.accounts.accounts import Person
from services.accounts.proofs import Proof
from services.audit import Action
from tests.turned_clock import Now
from tests.visitors import NEW_PASSWORD, PASSWORD, make_alice, make_bob
from utils import clock
from utils.env_reader import ConfigurationError
from utils.errors import Conflict, NotFound

pytestmark = pytest.mark.usefixtures("app")

MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


def begin(person: Person, *, is_remembered: bool = False) -> str:
    return sessions.begin(
        person.id,
        person.session_epoch,
        proven_by=[Proof.PASSWORD],
        address="192.0.2.1",
        browser="Firefox on Linux",
        is_remembered=is_remembered,
    )


def lives(session_id: str) -> bool:
    return sessions.resume(session_id, "192.0.2.1") is not None


def rows() -> int:
    with reading() as session:
        return session.query(BrowserSession).count()


def test_a_session_is_found_by_its_id_alone() -> None:
    info = sessions.resume(begin(make_alice()), "192.0.2.1")
    assert info is not None
    assert (info.username, info.browser, info.address) == ("alice", "Firefox on Linux", "192.0.2.1")
    assert sessions.resume(info.key, "192.0.2.1") is None
    assert sessions.resume("", "192.0.2.1") is None


def test_the_id_stands_nowhere_in_the_database(tmp_path: Path) -> None:
    session_id = begin(make_alice())
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        assert session_id not in "\n".join(connection.iterdump())


def test_two_sessions_of_one_person_have_two_ids() -> None:
    alice = make_alice()
    assert begin(alice) != begin(alice)
    assert len(sessions.of_account(alice.id)) == 2


@pytest.mark.parametrize(
    ("is_admin", "is_remembered", "life", "seen_every"),
    [
        (False, False, 12 * HOUR, 12 * HOUR),
        (False, True, 30 * DAY, 30 * DAY),
        (True, True, 30 * DAY, 30 * DAY),
        (True, False, 12 * HOUR, 50 * MINUTE),
        (True, False, 60 * MINUTE, 60 * MINUTE),
    ],
    ids=["account", "remembered", "administrator remembered", "administrator at work", "administrator idle"],
)
def test_a_session_lives_so_long(now: Now, is_admin: bool, is_remembered: bool, life: int, seen_every: int) -> None:
    session_id = begin(make_alice(is_admin=is_admin), is_remembered=is_remembered)
    began = now.moment
    while now.moment + timedelta(seconds=seen_every) < began + timedelta(seconds=life):
        now.turn(seen_every)
        assert lives(session_id)
    now.moment = began + timedelta(seconds=life - 1)
    assert lives(session_id)
    if seen_every == life:  # what was just seen is not idle
        now.turn(life if is_admin and not is_remembered else 1)
    else:
        now.turn(1)
    assert not lives(session_id)


@pytest.mark.parametrize(
    ("variable", "is_admin", "is_remembered", "life"),
    [
        ("SESSION_HOURS=1", False, False, HOUR),
        ("SESSION_REMEMBERED_DAYS=2", False, True, 2 * DAY),
        ("SESSION_ADMIN_IDLE_MINUTES=5", True, False, 5 * MINUTE),
        ("SESSION_ADMIN_IDLE_MINUTES=0", True, False, 12 * HOUR),
    ],
)
class TestTheEnvironment:
    @pytest.fixture
    def environment(self, environment: dict[str, str], variable: str) -> dict[str, str]:
        name, _, value = variable.partition("=")
        return environment | {name: value}

    def test_sets_the_life(self, now: Now, is_admin: bool, is_remembered: bool, life: int) -> None:
        session_id = begin(make_alice(is_admin=is_admin), is_remembered=is_remembered)
        now.turn(life - 60)
        assert len(sessions.of_account(1)) == 1
        now.turn(61)
        assert not lives(session_id)
        assert sessions.of_account(1) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SESSION_HOURS", "0"), ("SESSION_REMEMBERED_DAYS", "401"), ("SESSION_ADMIN_IDLE_MINUTES", "an hour")],
)
def test_a_wrong_value_names_its_variable(environment: dict[str, str], variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        create_app(environment | {variable: value})


def test_that_it_was_seen_is_noted_by_the_minute_with_its_address(now: Now) -> None:
    session_id = begin(make_alice())
    for seconds, expected in ((59, 0), (2, 61), (58, 61), (3, 122)):
        now.turn(seconds)
        sessions.resume(session_id, f"192.0.2.{seconds}")
        info = sessions.of_account(1)[0]
        assert (info.last_seen_at - info.created_at).total_seconds() == expected
    assert sessions.of_account(1)[0].address == "192.0.2.3"


def test_a_database_that_takes_no_writes_still_knows_who_is_there(tmp_path: Path, now: Now) -> None:
    session_id = begin(make_alice())
    now.turn(120)
    with closing(sqlite3.connect(tmp_path / "test.db")) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON session BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    assert lives(session_id)
    assert sessions.of_account(1)[0].last_seen_at < now.moment


def test_a_changed_password_ends_every_session() -> None:
    alice, bob = make_alice(), make_bob()
    ids, others = [begin(alice), begin(alice, is_remembered=True)], begin(bob)
    accounts.change_password(alice.id, PASSWORD, NEW_PASSWORD)
    assert not any(map(lives, ids))
    assert lives(others)


def test_a_reset_password_ends_every_session() -> None:
    session_id = begin(make_alice())
    accounts.reset_password("alice", NEW_PASSWORD)
    assert not lives(session_id)


def test_all_sessions_end_but_for_the_one_that_is_named() -> None:
    alice = make_alice()
    this, other = begin(alice), begin(alice)
    assert sessions.end_all(alice.id, but=sessions.hash_of(this)) == 1
    assert (lives(this), lives(other)) == (True, False)
    assert sessions.end_all(alice.id) == 1
    assert not lives(this)


def test_a_sign_in_from_before_all_sessions_ended_begins_none() -> None:
    alice = make_alice()
    sessions.end_all(alice.id)
    with pytest.raises(Conflict, match="Sign in again"):
        begin(alice)


def test_nobody_ends_a_session_of_somebody_else() -> None:
    alice, bob = make_alice(), make_bob()
    session_id = begin(alice)
    handle = sessions.of_account(alice.id)[0].handle
    for other in (handle, "", handle[:-1], handle + "0", "%"):
        with pytest.raises(NotFound):
            sessions.end_one(bob.id, other)
    assert lives(session_id)


def test_tokens_end_with_sessions_only_if_that_is_asked() -> None:
    alice = make_alice(is_admin=True)
    text, _ = api_tokens.create(alice.id, "deploy")
    begin(alice)
    sessions.end_all(alice.id)
    assert api_tokens.find_good(text)
    sessions.end_all(alice.id, with_tokens=True)
    assert not api_tokens.find_good(text)


def test_a_deleted_account_has_no_session() -> None:
    session_id = begin(make_alice())
    with transaction() as session:
        session.query(Account).delete()
    assert not lives(session_id)
    assert rows() == 0


def test_whose_session_it_was_is_known_for_half_an_hour(now: Now) -> None:
    alice = make_alice()
    ended, running = begin(alice), begin(alice)
    sessions.sign_out(ended)
    assert (sessions.account_of_ended(ended), sessions.account_of_ended(running)) == (alice.id, None)
    assert sessions.account_of_ended("another") is None
    now.turn(29 * MINUTE)
    assert sessions.account_of_ended(ended) == alice.id
    now.turn(2 * MINUTE)
    assert sessions.account_of_ended(ended) is None


@pytest.mark.parametrize(("is_admin", "life"), [(False, 12 * HOUR), (True, 60 * MINUTE)])
def test_that_is_so_too_where_its_time_was_over(now: Now, is_admin: bool, life: int) -> None:
    session_id = begin(make_alice(is_admin=is_admin))
    now.turn(life + 29 * MINUTE)
    sessions.tidy()
    assert sessions.account_of_ended(session_id) == 1
    now.turn(2 * MINUTE)
    assert sessions.account_of_ended(session_id) is None


def test_what_is_over_is_tidied_away(now: Now) -> None:
    alice = make_alice()
    begin(alice)
    begin(alice, is_remembered=True)
    sessions.sign_out(begin(alice))
    now.turn(13 * HOUR)
    sessions.tidy()
    assert rows() == 1
    now.turn(30 * DAY)
    sessions.tidy()
    assert rows() == 0
    with reading() as session:
        assert session.query(EndedSession).count() == 0


def test_a_sign_in_is_recent_for_ten_minutes(now: Now) -> None:
    begin(make_alice())
    now.turn(599)
    assert sessions.of_account(1)[0].is_recent
    now.turn(2)
    info = sessions.of_account(1)[0]
    assert not info.is_recent
    sessions.renew(info.key, [Proof.PASSWORD])
    assert sessions.of_account(1)[0].is_recent


def test_a_session_whose_password_was_shown_again_has_another_id_and_its_old_end(now: Now) -> None:
    former = begin(make_alice())
    begun_at = sessions.of_account(1)[0].created_at
    now.turn(3000)
    session_id, info = sessions.renew(sessions.of_account(1)[0].key, [Proof.PASSWORD])
    assert (lives(former), lives(session_id)) == (False, True)
    assert (info.key, info.created_at) == (sessions.hash_of(session_id), begun_at)


def test_a_session_that_was_ended_meanwhile_is_not_renewed() -> None:
    begin(make_alice())
    key = sessions.of_account(1)[0].key
    sessions.end_all(1)
    with pytest.raises(Conflict):
        sessions.renew(key, [Proof.PASSWORD])
    assert rows() == 0


def test_with_another_app_key_every_session_is_over(environment: dict[str, str], tmp_path: Path) -> None:
    session_id = begin(make_alice())
    other = environment | {"APP_KEY": "0th3r-k3y-QmxyZ1vJ8sWd0aBnL7uRt5eHc-9"}
    with create_app(other, instance_path=tmp_path).app_context():
        assert not lives(session_id)


@pytest.mark.parametrize("digest", [hashlib.sha256, hashlib.sha512, hashlib.blake2s])
def test_who_can_write_to_the_database_cannot_make_a_session(digest: Callable[[bytes], Any]) -> None:
    begin(make_alice())
    forged = digest(b"an id of mine").hexdigest()[:64]
    with transaction() as session:
        session.query(BrowserSession).update({"id_hash": forged})
    assert not lives("an id of mine")


def test_a_session_knows_how_and_when_it_was_proven(now: Now) -> None:
    session_id = begin(make_alice())
    info = sessions.of_account(1)[0]
    assert (info.proven_by, info.proven_at, info.is_whole) == ((Proof.PASSWORD,), now.moment, False)
    now.turn(600)
    _, info = sessions.renew(info.key, [Proof.TOTP])
    assert (info.proven_by, info.is_recent, info.is_whole) == ((Proof.PASSWORD, Proof.TOTP), True, True)
    assert not lives(session_id)


def test_who_signs_in_is_noted_with_when_and_how(now: Now) -> None:
    begin(make_alice())
    event = audit.events(action=Action.SIGNED_IN)[0]
    assert (event.actor, event.details) == ("alice", "password")
    assert accounts.get(1).last_sign_in_at == now.moment


def test_a_session_that_goes_on_is_no_sign_in() -> None:
    alice = make_alice()
    sessions.begin(alice.id, 1, proven_by=[Proof.OIDC], address="192.0.2.1", browser="Firefox", is_new=False)
    assert audit.events(action=Action.SIGNED_IN) == []
    assert accounts.get(1).last_sign_in_at is None
