"""Administrators who remove each other at the same time, on SQLite and PostgreSQL: one of them always stays."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade

from app import create_app
from database import user_db
from database.engine import db, reading, transaction
from services.accounts import accounts, address_change, administration, password_reset, sessions
from services.accounts.accounts import Person
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.patience import PATIENCE
from tests.services.accounts.test_account_races import winners
from tests.visitors import PASSWORD
from utils.errors import AppError, Conflict

DEEDS = {deed.__name__: deed for deed in (administration.disable, administration.demote, administration.delete)}
RING = 6
ROUNDS = 8


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def environment(request: pytest.FixtureRequest, environment: dict[str, str]) -> dict[str, str]:
    if request.param == "PostgreSQL":
        return environment | {"APP_KEY": APP_KEY, "DATABASE_URL": request.getfixturevalue("postgresql")}
    return environment


@pytest.fixture(autouse=True)
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        if db.engine.dialect.name == "postgresql":
            downgrade(revision="base")
        db.engine.dispose()


def make_administrators(number: int, start: str = "admin") -> list[Person]:
    names = [f"{start}{at}" for at in range(number)]
    return [accounts.create(name, f"{name}@example.com", PASSWORD, is_admin=True) for name in names]


def left() -> list[int]:
    with reading() as session:
        return user_db.administrator_ids(session)


def remove(_number: int, argument: str) -> bool:
    name, target, by = argument.split(":")
    try:
        DEEDS[name](int(target), by=int(by))
    except AppError:
        return False
    return True


@pytest.mark.parametrize("deed", DEEDS)
def test_of_a_ring_that_remove_each_other_in_two_processes_one_stays(
    environment: dict[str, str], tmp_path: Path, deed: str
) -> None:
    ring = make_administrators(RING)
    wishes = [f"{deed}:{ring[at - 1].id}:{ring[at].id}" for at in range(RING)]
    won = winners(environment, tmp_path, remove, wishes)  # in both of two processes, so each wish twice
    assert won
    assert left()


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("on_themselves", [False, True], ids=["each other", "themselves"])
def test_of_two_at_once_one_stays(app: Flask, deed: str, on_themselves: bool) -> None:
    keep: list[int] = []
    for turn in range(ROUNDS):
        two = make_administrators(2, f"round{turn}x")
        for former in keep:
            administration.delete(former)
        barrier = Barrier(2)

        def act(at: int, two: list[Person] = two, barrier: Barrier = barrier) -> bool:
            with app.app_context():
                accounts.find(0)  # so that the connection is open before the signal
                barrier.wait(PATIENCE)
                target = two[at if on_themselves else 1 - at]
                return remove(0, f"{deed}:{target.id}:{two[at].id}")

        with ThreadPoolExecutor(2) as pool:
            won = list(pool.map(act, (0, 1)))
        assert sorted(won) == [False, True]
        keep = left()
        assert len(keep) == 1


def test_a_sign_in_that_was_verified_before_begins_no_session_after_disabling() -> None:
    alice, bob = make_administrators(2)
    verified = accounts.authenticate("admin1", PASSWORD)
    assert verified is not None
    administration.disable(bob.id, by=alice.id)
    with pytest.raises(Conflict):
        sessions.begin(bob.id, verified.session_epoch, proven_by=[], address="192.0.2.1", browser="Firefox")
    administration.enable(bob.id)
    with pytest.raises(Conflict):
        sessions.begin(bob.id, verified.session_epoch, proven_by=[], address="192.0.2.1", browser="Firefox")


def test_what_belongs_to_an_account_goes_with_it_on_either_database() -> None:
    alice, bob = make_administrators(2)
    sessions.begin(bob.id, bob.session_epoch, proven_by=[], address="192.0.2.1", browser="Firefox")
    address_change.ask(bob.id, PASSWORD, "new@example.net")
    password_reset.request_reset("admin1@example.com")
    password_reset.process_requests()
    administration.delete(bob.id, by=alice.id)
    with transaction() as session:
        for table in ("session", "ended_session", "address_change", "reset_token", "reset_request", "api_token"):
            query = db.text(f"SELECT count(*) FROM {table} WHERE account_id = :id")
            assert session.execute(query, {"id": bob.id}).scalar() == 0, table
