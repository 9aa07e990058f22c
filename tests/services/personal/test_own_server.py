"""The server that an account brings, where the API's own tests do not reach: edited rows, and many at once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select, update

from app import create_app
from database.engine import db, reading, transaction
from database.policy_db import PersonalPolicy
from database.smtp_db import SmtpConfig
from services.accounts import accounts, administration
from services.personal import own_server
from services.personal.own_server import OwnStatus
from services.settings import configs, route, sealing
from services.settings.fields import SmtpChange, parse_change
from services.settings.rules import CHANGED_SERVER
from services.settings.table import FIELDS
from services.smtp.settings import Security
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.patience import PATIENCE
from tests.visitors import PASSWORD, make_alice, make_bob
from utils import clock
from utils.allowed_places import NOT_FOR_ACCOUNTS
from utils.errors import AppError, Conflict, Forbidden, InvalidInput, NotFound

MANY = 8
ROUNDS = 3
BASE = {
    "smtp_server": "127.72.0.1",
    "smtp_port": 2525,
    "use_tls": True,
    "use_ssl": False,
    "smtp_username": "bob@example.com",
    "smtp_password": "secret 1",
}
ALLOWED = {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **ALLOWED}


@pytest.fixture
def bob(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


def changed(**values: object) -> SmtpChange:
    merged = {**BASE, **values}
    return parse_change({name: value for name, value in merged.items() if value is not None})


def rows() -> list[SmtpConfig]:
    with reading() as session:
        return list(session.scalars(select(SmtpConfig)))


def edit(**values: object) -> None:
    """Change the row behind everybody's back."""
    with transaction() as session:
        session.execute(update(SmtpConfig).values(**values))


def refused(work: Callable[[], object]) -> dict[str, list[str]]:
    with pytest.raises(InvalidInput) as told:
        work()
    return told.value.errors


def test_a_save_is_bound_to_the_account_and_active(bob: int) -> None:
    stored = own_server.save(bob, changed(), actor="bob")
    assert (stored.row.account_id, stored.row.is_active, stored.row.failover) == (bob, True, False)
    assert (stored.settings.password.reveal(), stored.settings.security) == ("secret 1", Security.STARTTLS)
    assert stored.settings.is_personal
    (first, *_) = route.steps(bob)
    assert first.settings == stored.settings
    alice = accounts.everybody()[0].id
    edit(account_id=alice)
    moved = own_server.find(alice)
    assert moved is not None
    assert moved.condition is sealing.Condition.ALTERED


def test_the_global_server_is_left_alone(bob: int) -> None:
    names = {"name": "Shop", "smtp_server": "127.0.0.1", "from_email": "a@example.com"}
    shop = configs.create(parse_change({**names, "is_active": True}))
    own = own_server.save(bob, changed())
    assert configs.find_active() is not None
    assert [stored.row.id for stored in configs.search()] == [shop.row.id]
    with pytest.raises(NotFound):
        configs.get(own.row.id)
    with pytest.raises(NotFound):
        configs.delete(own.row.id)
    own_server.delete(bob)
    assert [row.id for row in rows()] == [shop.row.id]


@pytest.mark.parametrize(
    "name", sorted({field.name for field in FIELDS} & set(SmtpChange.model_fields) - own_server.TAKEN)
)
def test_fields_of_administrators_alone_are_refused(bob: int, name: str) -> None:
    change = changed().model_copy(update={name: getattr(SmtpChange(), name)})
    assert [*refused(lambda: own_server.save(bob, change))] == [name]
    assert rows() == []


@pytest.mark.parametrize("name", ["remove_password", "remove_client_certificate"])
def test_a_password_is_not_removed(bob: int, name: str) -> None:
    own_server.save(bob, changed())
    assert [*refused(lambda: own_server.save(bob, changed(**{name: True})))] == [name]


def test_nothing_goes_unencrypted_even_on_this_machine(bob: int) -> None:
    assert refused(lambda: own_server.save(bob, changed(use_tls=False))) == {"use_tls": [own_server.NO_ENCRYPTION]}
    assert refused(lambda: own_server.preview(bob, changed(use_tls=False))) == {"use_tls": [own_server.NO_ENCRYPTION]}


def test_an_administrators_own_server_may_be_where_the_global_one_may(bob: int) -> None:
    alice = accounts.everybody()[0].id
    elsewhere = changed(smtp_server="10.0.0.25", smtp_port=26, smtp_username="alice")
    assert not own_server.save(alice, elsewhere).settings.is_personal
    assert refused(lambda: own_server.save(bob, elsewhere))["smtp_server"] == [NOT_FOR_ACCOUNTS]
    administration.promote(bob)
    administration.demote(alice)
    found = own_server.find(alice)
    assert found is not None
    assert found.settings.is_personal
    assert refused(lambda: own_server.preview(alice))["smtp_server"] == [NOT_FOR_ACCOUNTS]


def test_a_row_that_cannot_be_opened_is_repaired_by_a_whole_save(bob: int) -> None:
    own_server.save(bob, changed(from_name="Bob", reply_to="help@example.com"))
    edit(smtp_server="127.72.0.66", helo_hostname="evil.example", client_certificate="x")
    assert own_server.serving(bob).status is OwnStatus.BROKEN
    assert [*refused(lambda: own_server.save(bob, changed(smtp_password=None)))] == ["smtp_password"]
    assert refused(lambda: own_server.preview(bob)) != {}
    stored = own_server.save(bob, changed())
    assert stored.is_usable
    row = stored.row
    assert (row.smtp_server, row.helo_hostname, row.client_certificate) == ("127.72.0.1", "", "")
    assert (row.from_name, row.reply_to, row.from_email) == ("", "", "bob@example.com")


def test_a_password_that_cannot_be_opened_is_stored_all_the_same(bob: int) -> None:
    own_server.save(bob, changed())
    edit(key_id="00000000")
    with transaction() as session:
        session.add(PersonalPolicy(fallback="never", hosts="", updated_at=clock.now()))
    found = own_server.serving(bob)
    assert (found.status, found.is_global, found.has_password) == (OwnStatus.BROKEN, False, True)


def test_a_value_that_no_save_would_take_is_repaired_likewise(bob: int) -> None:
    own_server.save(bob, changed())
    with transaction() as session:
        row = session.scalars(select(SmtpConfig)).one()
        settings = sealing.unsealed(row).settings
        row.timeout_seconds = 5000
        sealing.seal(row, settings)
    assert own_server.serving(bob).status is OwnStatus.BROKEN
    assert own_server.save(bob, changed(smtp_password=None)).is_usable


def test_a_save_brings_back_what_a_changed_address_switched_off(bob: int) -> None:
    own_server.save(bob, changed())
    edit(is_active=False, inactive_reason="address_changed")
    assert own_server.serving(bob).status is OwnStatus.NOT_USED
    row = own_server.save(bob, changed(smtp_password=None)).row
    assert (row.is_active, row.inactive_reason) == (True, "")
    assert own_server.serving(bob).status is OwnStatus.IN_USE


def test_a_disabled_account_saves_and_tests_nothing(bob: int) -> None:
    own_server.save(bob, changed())
    administration.disable(bob)
    for work in (own_server.save, own_server.preview):
        with pytest.raises(Forbidden):
            work(bob, changed(from_name="x"))
    with pytest.raises(Forbidden):
        own_server.serving(bob)
    for missing in (0, -1, 10**6):
        with pytest.raises(Forbidden):
            own_server.save(missing, changed())


def test_a_test_of_part_of_it_takes_the_rest_as_stored(bob: int) -> None:
    own_server.save(bob, changed(smtp_port=465, use_tls=False, use_ssl=True))
    tried = own_server.preview(bob, parse_change({"smtp_password": "new"})).settings
    assert (tried.port, tried.security, tried.password.reveal()) == (465, Security.TLS, "new")
    assert refused(lambda: own_server.preview(bob, parse_change({"smtp_port": 587}))) == {
        "smtp_password": [CHANGED_SERVER]
    }
    tried = own_server.preview(bob, parse_change({"smtp_port": 587, "smtp_password": "new"})).settings
    assert tried.security is Security.STARTTLS
    assert [row.version for row in rows()] == [1]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with postgresql_server.running() as url:
        environment = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}
        with create_app(environment, instance_path=tmp_path_factory.mktemp("instance")).app_context():
            upgrade()
            db.engine.dispose()
        yield environment | ALLOWED


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    """An application on either database, in whose context the test runs, with nobody but Alice and Bob."""
    fixture = "environment" if request.param == "SQLite" else "postgresql"
    app = create_app(request.getfixturevalue(fixture), instance_path=tmp_path)
    with app.app_context():
        if not accounts.everybody():
            make_alice(is_admin=True)
        yield app
        db.engine.dispose()


def at_once(app: Flask, works: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each of these comes to, begun at the same moment: its result, or what the caller would be told."""
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        with app.app_context():
            start.wait(PATIENCE)
            try:
                return work()
            except AppError as told:
                return told

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, work) for work in works]]


def somebody(name: str) -> int:
    return accounts.create(name, f"{name}@example.com", PASSWORD).id


def numbered(number: int) -> SmtpChange:
    """One of many servers, of which all parts bear its number."""
    return changed(
        smtp_server=f"127.72.1.{number}",
        smtp_username=f"user{number}@example.com",
        smtp_password=f"secret {number}",
        from_name=f"Name {number}",
    )


def assert_of_one_save(account_id: int, *, is_erased: bool = False) -> None:
    """The row is one of those that were saved, whole but for a password that was erased, and the only one."""
    found = [row for row in rows() if row.account_id == account_id]
    stored = own_server.find(account_id)
    assert stored is not None
    assert len(found) == 1
    assert stored.is_usable
    number = stored.settings.host.rpartition(".")[2]
    settings = stored.settings
    told = (settings.username, settings.password.reveal(), settings.from_name, settings.from_email)
    password = "" if is_erased else f"secret {number}"
    assert told == (f"user{number}@example.com", password, f"Name {number}", f"user{number}@example.com")


def test_of_many_saves_at_once_one_row_comes_which_is_whole(either: Flask) -> None:
    for number in range(ROUNDS):
        carol = somebody(f"carol{number}")
        saves = [partial(own_server.save, carol, numbered(n)) for n in range(1, MANY + 1)]
        assert not [told for told in at_once(either, saves) if isinstance(told, AppError)]
        assert_of_one_save(carol)
        assert [row.version for row in rows() if row.account_id == carol] == [MANY]


def test_of_many_saves_of_one_version_one_is_taken(either: Flask) -> None:
    dora = somebody("dora")
    own_server.save(dora, numbered(1))
    saves = [partial(own_server.save, dora, numbered(n).model_copy(update={"version": 1})) for n in range(2, MANY + 2)]
    told = at_once(either, saves)
    assert sum(isinstance(each, Conflict) for each in told) == MANY - 1
    assert_of_one_save(dora)


def test_a_server_that_is_deleted_while_it_is_saved_is_whole_or_gone(either: Flask) -> None:
    for number in range(ROUNDS):
        erin = somebody(f"erin{number}")
        own_server.save(erin, numbered(1))
        works: list[Callable[[], Any]] = [
            partial(own_server.delete, erin),
            partial(own_server.save, erin, numbered(2)),
            partial(own_server.save, erin, numbered(1)),
            partial(own_server.preview, erin),
        ]
        told = at_once(either, works)
        assert {type(each) for each in told if isinstance(each, AppError)} <= {InvalidInput, NotFound}
        if own_server.find(erin) is not None:
            assert_of_one_save(erin)


@pytest.mark.parametrize("end", [administration.delete, administration.disable])
def test_a_server_that_is_saved_while_its_account_ends_is_whole_or_not_there(
    either: Flask, end: Callable[[int], Any]
) -> None:
    for number in range(ROUNDS):
        name = f"{end.__name__}{number}"
        frank = somebody(name)
        saves = [partial(own_server.save, frank, numbered(n)) for n in (1, 2, 3)]
        told = at_once(either, [partial(end, frank), *saves])
        assert {type(each) for each in told if isinstance(each, AppError)} <= {Forbidden}
        if end is administration.delete:
            assert [row for row in rows() if row.account_id == frank] == []
        elif own_server.find(frank) is not None:
            assert_of_one_save(frank, is_erased=True)
