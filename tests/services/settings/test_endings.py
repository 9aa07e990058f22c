"""What will end of a stored server, and of that in `.env`: as its row, its sign-in and what it has shown tell."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app import create_app
from database.engine import transaction
from database.oauth_db import OAuthSignIn
from database.smtp_db import SmtpConfig
from services.connecting.calendar import EndOf
from services.oauth.providers import Grant, OAuthProvider
from services.oauth.registration import Registration
from services.settings import configs, endings, health, route, shown
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from services.smtp.habits import Habit, habits_of
from tests.signed_in_by_token import register
from utils import clock
from utils.secret import Secret

MICROSOFT = {"smtp_server": "smtp.office365.com", "smtp_username": "shop@example.com", "from_email": "shop@example.com"}
GRANTED = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def with_password(app: Flask) -> StoredConfig:
    return configs.create(parse_change({"name": "Office", "smtp_password": "pass", **MICROSOFT}))


def sign_in(config_id: int, **columns: Any) -> None:
    """A sign-in by token as a consent leaves it, with these columns."""
    register(
        config_id,
        Registration(
            provider=OAuthProvider.MICROSOFT,
            way=Grant.CODE,
            tenant="organizations",
            client_id="sealpost",
            client_secret=Secret("s"),
        ),
    )
    granted = {"refresh_token": "sealed", "granted_at": GRANTED, "obtained_at": GRANTED}
    with transaction() as session:
        found = update(OAuthSignIn).where(OAuthSignIn.config_id == config_id)
        session.execute(found.values(**granted | columns))


def what_ends(stored: StoredConfig) -> list[tuple[EndOf, str]]:
    return [(each.what, str(each.ends_on)) for each in health.of_config(stored).endings]


PASSWORD = (EndOf.PASSWORD, "2026-12-31")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, [PASSWORD, (EndOf.REFRESH_TOKEN, "2027-02-26")]),
        ({"obtained_at": GRANTED + timedelta(days=7)}, [PASSWORD, (EndOf.REFRESH_TOKEN, "2027-03-05")]),
        ({"provider": "google", "is_testing": True}, [(EndOf.REFRESH_TOKEN, "2026-12-05"), PASSWORD]),
        ({"provider": "google"}, [PASSWORD, (EndOf.REFRESH_TOKEN, "2027-05-28")]),
        ({"needs_sign_in": True}, [PASSWORD]),
        ({"refresh_token": "", "secret_ends_on": date(2026, 12, 1)}, [(EndOf.CLIENT_SECRET, "2026-12-01"), PASSWORD]),
        ({"provider": "nobody"}, [PASSWORD]),
        ({"way": "by post"}, [PASSWORD]),
    ],
)
def test_a_sign_in_that_is_prepared_beside_a_password_ends_as_well(
    with_password: StoredConfig, columns: dict[str, Any], expected: list[tuple[EndOf, str]]
) -> None:
    sign_in(with_password.id, **columns)
    assert what_ends(with_password) == expected


def test_a_server_that_is_signed_in_to_by_token_has_no_password_that_ends(app: Flask) -> None:
    stored = configs.create(parse_change({"name": "Office", "auth_method": "XOAUTH2", **MICROSOFT}))
    sign_in(stored.id)
    assert what_ends(stored) == [(EndOf.REFRESH_TOKEN, "2027-02-26")]


def test_a_password_that_cannot_be_read_ends_too(with_password: StoredConfig, environment: dict[str, str]) -> None:
    with create_app(environment | {"APP_KEY": "another key, of no less than 32 characters"}).app_context():
        locked = configs.get(with_password.id)
        assert not locked.is_usable
        assert what_ends(locked) == [PASSWORD]


def test_each_way_to_a_server_tells_the_same(with_password: StoredConfig) -> None:
    sign_in(with_password.id)
    activated = configs.activate(with_password.id)
    step = route.step_of(activated)
    expected = health.of_config(activated).endings
    assert len(expected) == 2
    assert health.of_step(step).endings == endings.of_step(step) == expected
    assert health.of_configs([activated])[activated.id].endings == expected


def test_the_server_of_env_tells_what_can_be_done_there(environment: dict[str, str]) -> None:
    names = ("EMAIL_HOST", "EMAIL_HOST_USER", "EMAIL_HOST_PASSWORD", "DEFAULT_FROM_EMAIL")
    values = ("smtp.office365.com", "shop@example.com", "pass", "shop@example.com")
    with create_app(environment | dict(zip(names, values, strict=True))).app_context():
        (found,) = endings.of_step(route.without_database())
        assert found.what is EndOf.PASSWORD
        assert found.remedy.startswith(endings.NOT_IN_ENV)


def test_the_api_shows_days_as_days_and_words_to_read(with_password: StoredConfig) -> None:
    last_day = f"{clock.now() + timedelta(days=500):%Y-%m-%d}"
    habits_of(with_password.host, with_password.port).learn(Habit.CERTIFICATE, last_day)
    password, certificate = shown.public_dict(with_password)["endings"]
    assert password.keys() == certificate.keys()
    assert (password["what"], password["ends_on"], password["ends_at"]) == ("password", "2026-12-31", None)
    assert (certificate["what"], certificate["ends_on"]) == ("server_certificate", last_day)
    assert (certificate["certainty"], certificate["action"], certificate["is_over"]) == ("seen", "", False)
    assert certificate["words"] == f"The server’s certificate expires on {last_day} UTC."


def test_what_ends_in_the_far_future_is_not_listed(with_password: StoredConfig) -> None:
    habits_of(with_password.host, with_password.port).learn(Habit.CERTIFICATE, "3000-01-01")
    assert what_ends(with_password) == [PASSWORD]


def test_a_row_that_was_altered_behind_our_back_is_told_of_without_a_fault(with_password: StoredConfig) -> None:
    with transaction() as session:
        session.execute(update(SmtpConfig).values(client_certificate="-----BEGIN CERTIFICATE-----\nno\n"))
    assert what_ends(configs.get(with_password.id)) == [PASSWORD]
