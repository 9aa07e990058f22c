"""Limits on passwords with many at once, on either database; and how much memory they take."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock
from typing import Literal

import pytest
from argon2 import PasswordHasher
from flask import Flask

from app import create_app
from database.engine import db
from services.accounts import passwords, sessions, signing_in, tries
from services.accounts.tries import Count
from tests.patience import PATIENCE
from tests.turned_clock import Now
from tests.visitors import PASSWORD, make_alice
from utils.errors import TooMany

AT_ONCE = 40


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(on_either, instance_path=tmp_path)
    yield app
    with app.app_context():
        db.engine.dispose()


def taken_at_once(app: Flask, counts: list[list[Count]]) -> int:
    """How many of these got a place, each in a thread of its own."""
    ready = Barrier(len(counts))

    def take(mine: list[Count]) -> bool:
        with app.app_context():
            ready.wait(PATIENCE)
            try:
                with tries.counted(mine, "nobody"):
                    return True
            except TooMany:
                return False

    with ThreadPoolExecutor(len(counts)) as pool:
        return sum(pool.map(take, counts))


def test_no_more_than_the_limit_get_a_place(app: Flask) -> None:
    first, second = Count("first", "x", most=10), Count("second", "x", most=25)
    assert taken_at_once(app, [[first, second], [second, first]] * (AT_ONCE // 2)) == 10
    with app.app_context():
        assert (tries.in_a_row(first), tries.in_a_row(second)) == (10, 10)


def test_places_that_were_given_back_are_free_again(app: Flask) -> None:
    count = Count("freed", most=10)
    with app.app_context():
        for _ in range(30):
            with tries.counted([count], "nobody") as attempt:
                attempt.succeeded = True
        assert tries.in_a_row(count) == 0


def test_sessions_and_unlocking_work_on_either(app: Flask, now: Now) -> None:
    with app.app_context():
        alice = make_alice()
        for number in range(10):
            assert signing_in.sign_in("alice", "wrong", client=f"192.0.2.{number}", device="") is None
        with pytest.raises(TooMany):
            signing_in.sign_in("alice", PASSWORD, client="192.0.2.99", device="")
        signing_in.unlock("alice@example.com")
        person = signing_in.sign_in("alice", PASSWORD, client="192.0.2.99", device="")
        assert person is not None
        session_id = sessions.begin(
            person.id, person.session_epoch, proven_by=[], address="192.0.2.99", browser="Firefox"
        )
        assert sessions.resume(session_id, "192.0.2.99")
        assert sessions.end_all(alice.id) == 1
        now.turn(60)
        assert sessions.account_of_ended(session_id) == alice.id
        sessions.tidy()
        tries.tidy()
        assert sessions.resume(session_id, "192.0.2.99") is None


def test_no_more_than_a_few_passwords_are_hashed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    held, lock = {"now": 0, "most": 0}, Lock()
    hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            with lock:
                held["now"] += 1
                held["most"] = max(held["most"], held["now"])
            try:
                return hasher.verify(hash, password)
            finally:
                with lock:
                    held["now"] -= 1

    monkeypatch.setattr(passwords, "_hasher", Watched())
    stored = hasher.hash(PASSWORD)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: passwords.verify(stored, PASSWORD), range(400)))
    assert all(answers)
    assert 1 <= held["most"] <= passwords.AT_ONCE
