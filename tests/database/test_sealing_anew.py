"""Rows from before the binding covered everything: sealed anew if it held, left and told if it did not."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import MetaData, Table, insert, text

from app import create_app
from database.engine import db, reading, transaction
from services.checks import validation
from services.checks.validation import Mark
from services.settings import configs, key_rotation, route, sealing
from services.settings.fields import parse_change
from services.settings.sealing import Condition, StoredConfig
from tests import postgresql_server
from tests.certificates import client_pair
from tests.conftest import APP_KEY
from tests.rotations import NEW_KEY
from utils import clock
from utils.encryption_utils import mac
from utils.env_utils import fernet_key_from, get_fernet_key
from utils.errors import InvalidInput
from utils.secret import Secret

# Written by the version before: a login with every field, a relay without, TLS; and the last under NEW_KEY.
ROWS = json.loads((Path(__file__).parents[1] / "data/smtp_config_0003.json").read_text())
PRIMARY, RELAY, TLS, UNDER_NEW_KEY = "Primary", "Relay", "TLS", "Previous key"
NAMES = [row["name"] for row in ROWS]
UNBOUND_THEN = ["from_name", "reply_to", "helo_hostname", "timeout_seconds", "auth_method"]


@pytest.fixture(scope="module")
def postgresql_url() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Of a database that is empty."""
    url = f"sqlite:///{tmp_path / 'old.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    return {
        "APP_KEY": APP_KEY,
        "APP_ENV": "development",
        "APP_KEY_PREVIOUS": NEW_KEY,
        "DATABASE_URL": url,
        "LOCAL_INBOX_PORT": "0",
    }


@pytest.fixture
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    """With the old rows in the old schema."""
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade(revision="0003")
        put_back(ROWS)
        yield app
        db.session.remove()
        downgrade(revision="base")
        db.engine.dispose()


def put_back(rows: list[dict[str, Any]]) -> None:
    with db.engine.begin() as connection:
        table = Table("smtp_config", MetaData(), autoload_with=connection)
        for row in rows:
            connection.execute(insert(table).values({name: _typed(name, value) for name, value in row.items()}))


def put_back_an_account() -> Any:
    """An account of that time; its id."""
    names = ("username", "username_key", "email", "email_key", "password_hash", "created_at", "password_changed_at")
    values = dict.fromkeys(names, "alice") | {"created_at": clock.now(), "password_changed_at": clock.now()}
    with db.engine.begin() as connection:
        table = Table("account", MetaData(), autoload_with=connection)
        statement = insert(table).values(**values, is_admin=True, session_epoch=0).returning(table.c.id)
        return connection.scalars(statement).one()


def _typed(name: str, value: object) -> object:
    if isinstance(value, str) and name.endswith("_at"):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return bool(value) if name in ("use_tls", "use_ssl", "is_active", "failover") else value


def sql(statement: str, **values: Any) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def raw(columns: str = "*") -> dict[str, dict[str, Any]]:
    with reading() as session:
        rows = session.execute(text(f"SELECT name, {columns} FROM smtp_config ORDER BY id")).mappings()
        return {row["name"]: dict(row) for row in rows}


def added_since() -> dict[str, Any]:
    """What columns that came later hold in a row from before them."""
    texts = ("client_certificate", "client_key", "inactive_reason")
    return {
        **dict.fromkeys(texts, ""),
        "active_until": None,
        "broken_told_at": None,
        "fell_back": 0,
        "oauth_consent": 0,
    }


def conditions() -> dict[str, Condition]:
    return {stored.row.name: stored.condition for stored in configs.search()}


def named(name: str) -> StoredConfig:
    found = configs.find_by_name(name)
    assert found
    return found


def under(environment: dict[str, str], folder: Path, **changes: str) -> Any:
    return create_app({**environment, **changes}, instance_path=folder).app_context()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        str(record.msg)
        for record in caplog.records
        if record.name == "security" and "smtp_config_not_sealed_anew" in str(record.msg)
    ]


def test_rows_whose_binding_held_are_good_after_the_upgrade_with_every_value(app: Flask) -> None:
    upgrade()
    assert conditions() == dict.fromkeys(NAMES, Condition.GOOD)
    settings = named(PRIMARY).settings
    assert settings.password == Secret("hunter2 ünd mehr")
    assert (settings.from_name, settings.reply_to, settings.auth_method) == (
        "Müller, Söhne",
        "help@example.com",
        "LOGIN",
    )


def test_the_upgrade_changes_the_binding_and_nothing_else(app: Flask) -> None:
    before = raw()
    upgrade()
    after = raw()
    for name, row in before.items():
        assert {column for column in row if row[column] != after[name][column]} == {"binding_mac"}


def test_what_was_verified_stays_verified(app: Flask) -> None:
    upgrade()
    assert named(PRIMARY).is_verified


def test_a_row_of_a_previous_key_stays_under_that_key_and_is_rotated_afterwards(app: Flask) -> None:
    upgrade()
    assert [str(row.name) for row in key_rotation.rotate().rotated] == [UNDER_NEW_KEY]
    assert named(UNDER_NEW_KEY).settings.password == Secret("pw3")


def test_a_personal_row_is_sealed_anew_in_its_own_scope(app: Flask) -> None:
    account_id = put_back_an_account()
    row = next(row for row in ROWS if row["name"] == TLS)
    parts = ["smtp_server", "smtp_port", "use_ssl", "smtp_username", "from_email", "smtp_password"]
    values = ["tls" if part == "use_ssl" else str(row[part]) for part in parts]
    binding = mac("smtp-binding-v1", [f"account:{account_id}", *values], get_fernet_key())
    sql("UPDATE smtp_config SET account_id = :id, binding_mac = :mac WHERE name = 'TLS'", id=account_id, mac=binding)
    upgrade()
    assert key_rotation.status().refused == []


@pytest.mark.parametrize(
    "edit",
    [
        "smtp_server = 'evil.example'",
        "smtp_port = 2525",
        "from_email = 'x@evil.example'",
        "smtp_username = 'other'",
        "smtp_password = ''",
        "binding_mac = ''",
        "binding_mac = 'ü'",
    ],
)
def test_a_row_that_was_altered_before_is_left_as_it_is_and_told(
    app: Flask, edit: str, caplog: pytest.LogCaptureFixture
) -> None:
    sql(f"UPDATE smtp_config SET {edit} WHERE name = 'Primary'")
    before = raw()[PRIMARY]
    upgrade()
    assert raw()[PRIMARY] == {**added_since(), **before}
    (line,) = told(caplog)
    assert "Primary" in line
    assert "changed outside" in line
    assert not named(PRIMARY).is_usable
    assert [condition for name, condition in conditions().items() if name != PRIMARY] == [Condition.GOOD] * 3


def test_a_row_whose_key_is_not_at_hand_is_left_as_it_is_and_told(
    app: Flask, environment: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = raw("binding_mac, smtp_password, key_id")[UNDER_NEW_KEY]
    with under(environment, tmp_path, APP_KEY_PREVIOUS=""):
        upgrade()
        assert conditions()[UNDER_NEW_KEY] is Condition.KEY_MISSING
        db.engine.dispose()
    assert raw("binding_mac, smtp_password, key_id")[UNDER_NEW_KEY] == before
    assert [UNDER_NEW_KEY in line for line in told(caplog)] == [True]


def test_a_row_that_the_upgrade_left_is_not_accepted_when_its_key_comes_back(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with under(environment, tmp_path, APP_KEY_PREVIOUS=""):
        upgrade()
        db.engine.dispose()
    assert conditions()[UNDER_NEW_KEY] is Condition.OUTDATED
    key_rotation.rotate()
    assert conditions()[UNDER_NEW_KEY] is Condition.OUTDATED
    upgrade()
    assert conditions()[UNDER_NEW_KEY] is Condition.OUTDATED


def test_a_row_that_the_upgrade_left_is_sealed_anew_by_going_back_and_upgrading_with_its_key(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with under(environment, tmp_path, APP_KEY_PREVIOUS=""):
        upgrade()
        db.engine.dispose()
    downgrade(revision="0003")
    upgrade()
    assert conditions() == dict.fromkeys(NAMES, Condition.GOOD)


def test_the_former_binding_put_back_in_sql_is_accepted_nowhere(app: Flask) -> None:
    former = raw("binding_mac")[PRIMARY]["binding_mac"]
    upgrade()
    sql("UPDATE smtp_config SET binding_mac = :mac, reply_to = 'x@evil.example' WHERE name = 'Primary'", mac=former)
    assert conditions()[PRIMARY] is Condition.OUTDATED
    assert named(PRIMARY).settings.password == Secret("")
    assert not next(route.steps()).settings
    key_rotation.rotate()
    upgrade()
    assert conditions()[PRIMARY] is Condition.OUTDATED
    with pytest.raises(InvalidInput):
        configs.update(1, parse_change({"from_name": "Shop"}))


def test_a_row_that_the_upgrade_left_is_told_by_validate_and_by_the_route(app: Flask) -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example' WHERE name = 'Primary'")
    upgrade()
    (keys,) = [check for check in validation.checks() if check.title == "Encryption Key"]
    failed = [finding for finding in keys.findings() if finding.mark is Mark.FAILED]
    assert [(finding.text, finding.remedy) for finding in failed] == [
        ("Primary (id 1) cannot be read", sealing.OUTDATED)
    ]
    assert next(route.steps()).reason == sealing.OUTDATED


def test_a_row_that_the_upgrade_left_is_mended_by_giving_everything_anew(app: Flask) -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example' WHERE name = 'Primary'")
    upgrade()
    typed = {name: value for name, value in ROWS[0].items() if name in (*UNBOUND_THEN, "smtp_port", "from_email")}
    login = {"smtp_server": "smtp.example.com", "smtp_username": "user", "smtp_password": "new", "use_tls": True}
    configs.update(1, parse_change({**typed, **login}))
    assert conditions()[PRIMARY] is Condition.GOOD


def test_going_back_gives_the_former_binding_that_the_version_before_reads(app: Flask) -> None:
    before = raw("binding_mac")
    upgrade()
    downgrade(revision="0003")
    assert raw("binding_mac") == before


def test_going_back_forgets_a_client_certificate_and_keeps_the_rest(app: Flask) -> None:
    upgrade()
    own = client_pair()
    configs.update(1, parse_change({"client_certificate": own.certificate, "client_key": own.key}))
    downgrade(revision="0003")
    upgrade()
    settings = named(PRIMARY).settings
    assert (settings.password, settings.client_certificate) == (Secret("hunter2 ünd mehr"), "")


def test_going_back_blesses_no_row_that_was_altered(app: Flask) -> None:
    upgrade()
    sql("UPDATE smtp_config SET reply_to = 'x@evil.example' WHERE name = 'Primary'")
    downgrade(revision="0003")
    upgrade()
    assert conditions()[PRIMARY] is not Condition.GOOD


def test_the_key_of_a_row_is_enough_whether_it_is_current_or_previous(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with under(environment, tmp_path, APP_KEY=NEW_KEY, APP_KEY_PREVIOUS=APP_KEY):
        upgrade()
        assert conditions() == dict.fromkeys(NAMES, Condition.GOOD)
        assert fernet_key_from(Secret(NEW_KEY)) == get_fernet_key()
        db.engine.dispose()


def test_no_secret_is_told_by_the_upgrade(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
    upgrade()
    assert len(told(caplog)) == len(ROWS)
    assert not any(row["smtp_password"] and row["smtp_password"] in caplog.text for row in ROWS)
    assert "hunter2" not in caplog.text
