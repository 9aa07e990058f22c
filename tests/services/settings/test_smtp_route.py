"""Whose server sends: the active row, else `.env`, and why."""

from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from services.settings import configs, route, sealing
from services.settings.fields import parse_change
from services.smtp.settings import Security
from utils.errors import InvalidInput

ENV = {
    "EMAIL_HOST": "mail.hanna.example",
    "EMAIL_PORT": "587",
    "EMAIL_USE_TLS": "True",
    "EMAIL_HOST_USER": "installations@hanna.example",
    "EMAIL_HOST_PASSWORD": "  p$a#s'\"s ",
    "DEFAULT_FROM_EMAIL": '"Hanna, Ltd" <installations@hanna.example>',
    "EMAIL_TIMEOUT": "7",
}
ROW = {"smtp_server": "smtp.example.com", "from_email": "noreply@example.com"}


@pytest.fixture
def with_env(environment: dict[str, str], tmp_path: Path) -> Flask:
    return create_app({**environment, **ENV}, instance_path=tmp_path)


def save(**change: object) -> None:
    configs.save(parse_change({**ROW, **change}), actor="tester")


def used() -> tuple[str, str] | None:
    step = route.first_usable()
    return (step.name, step.settings.host) if step and step.settings else None


def reasons() -> list[str]:
    return [step.reason for step in route.steps()]


def test_djangos_names_are_read_as_they_stand() -> None:
    settings = route.env_settings(ENV)
    assert settings
    assert (settings.host, settings.port, settings.security) == ("mail.hanna.example", 587, Security.STARTTLS)
    assert (settings.from_name, settings.from_email) == ("Hanna, Ltd", "installations@hanna.example")
    assert (settings.password.reveal(), settings.timeout_seconds) == ("  p$a#s'\"s ", 7)


def test_the_active_row_beats_env(with_env: Flask) -> None:
    with with_env.app_context():
        save()
        assert used() == ("Primary", "smtp.example.com")


def test_without_an_active_row_env_sends(with_env: Flask) -> None:
    with with_env.app_context():
        assert used() == (".env", "mail.hanna.example")
        save(is_active=False)
        assert used() == (".env", "mail.hanna.example")


def test_a_row_that_cannot_be_trusted_is_passed_over_with_the_reason(with_env: Flask) -> None:
    with with_env.app_context():
        save()
        with transaction() as session:
            session.execute(text("UPDATE smtp_config SET smtp_server = 'evil.example'"))
        assert used() == (".env", "mail.hanna.example")
        assert sealing.ALTERED in reasons()


def test_an_edited_row_is_a_security_event(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    save()
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET from_email = 'x@evil.example'"))
    assert used() is None
    assert "security" in [record.name for record in caplog.records]


def test_without_a_database_env_sends(with_env: Flask) -> None:
    with with_env.app_context():
        with transaction() as session:
            session.execute(text("DROP TABLE smtp_config"))
        assert used() == (".env", "mail.hanna.example")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"EMAIL_PORT": "abc"}, "EMAIL_PORT"),
        ({"EMAIL_PORT": "70000"}, "EMAIL_PORT"),
        ({"EMAIL_USE_SSL": "True"}, "EMAIL_USE_SSL"),
        ({"EMAIL_USE_TLS": "maybe"}, "EMAIL_USE_TLS"),
        ({"EMAIL_HOST": "https://mail"}, "EMAIL_HOST"),
        ({"EMAIL_HOST_PASSWORD": ""}, "EMAIL_HOST_PASSWORD"),
        ({"EMAIL_HOST_USER": ""}, "EMAIL_HOST_USER"),
        ({"DEFAULT_FROM_EMAIL": "a@x, b@y"}, "DEFAULT_FROM_EMAIL"),
        ({"DEFAULT_FROM_EMAIL": ""}, "DEFAULT_FROM_EMAIL"),
        ({"EMAIL_USE_TLS": "False"}, "EMAIL_USE_TLS"),
        ({"EMAIL_TIMEOUT": "forever"}, "EMAIL_TIMEOUT"),
        ({"EMAIL_HOST": ""}, "EMAIL_HOST"),
    ],
)
def test_an_unusable_env_does_not_stop_the_start_and_the_route_says_why(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], named: str
) -> None:
    app = create_app({**environment, **ENV, **variables}, instance_path=tmp_path)
    with app.app_context():
        assert used() is None
        assert named in reasons()[-1]


def test_the_reason_never_shows_the_password(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, **ENV, "EMAIL_HOST_PASSWORD": "hunter2\x00"}, instance_path=tmp_path)
    with app.app_context():
        assert "hunter2" not in reasons()[-1]


@pytest.fixture
def inbox_environment(environment: dict[str, str]) -> dict[str, str]:
    inbox = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "1025", "EMAIL_USE_TLS": "false", "LOCAL_INBOX_PORT": "1025"}
    return {**environment, **inbox, "DEFAULT_FROM_EMAIL": "a@example.com"}


def test_the_local_inbox_never_hides_that_the_active_row_is_broken(
    inbox_environment: dict[str, str], tmp_path: Path
) -> None:
    with create_app(inbox_environment, instance_path=tmp_path).app_context():
        save()
        with transaction() as session:
            session.execute(text("UPDATE smtp_config SET key_id = 'lost'"))
        assert used() is None


def test_the_local_inbox_is_refused_in_production(inbox_environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**inbox_environment, "APP_ENV": "production", "BASE_URL": "https://app.example.com"}
    with create_app(environment, instance_path=tmp_path).app_context():
        assert used() is None


def test_a_change_of_what_is_passed_over_is_warned_about_once(
    with_env: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    with with_env.app_context():
        for _ in range(3):
            route.first_usable()
        warnings = [record for record in caplog.records if "passed_over" in record.getMessage()]
        assert len(warnings) == 1
        assert route.NO_ACTIVE_ROW in str(warnings[0].msg)
        save()
        route.first_usable()
        save(is_active=False)
        route.first_usable()
        warnings = [record for record in caplog.records if "passed_over" in record.getMessage()]
        assert len(warnings) == 2


def test_an_env_of_both_modes_is_invalid_like_any_configuration() -> None:
    with pytest.raises(InvalidInput):
        route.env_settings({**ENV, "EMAIL_USE_SSL": "1"})


def test_a_change_in_another_process_is_used_by_the_next_mail(
    app: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    save()
    assert used() == ("Primary", "smtp.example.com")
    with create_app(environment, instance_path=tmp_path).app_context():
        configs.save(parse_change({"smtp_server": "new.example.com"}), actor="other")
        db.engine.dispose()
    assert used() == ("Primary", "new.example.com")


def test_a_row_that_is_edited_by_hand_between_two_mails_is_out_with_the_next_and_back_when_it_is_mended(
    with_env: Flask,
) -> None:
    def write(host: str) -> None:
        with transaction() as session:
            session.execute(text("UPDATE smtp_config SET smtp_server = :host"), {"host": host})

    with with_env.app_context():
        save()
        assert used() == ("Primary", "smtp.example.com")
        write("evil.example.net")
        assert used() == (".env", "mail.hanna.example")
        write("smtp.example.com")
        assert used() == ("Primary", "smtp.example.com")


def test_what_one_application_has_opened_another_with_another_key_has_not(
    with_env: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    with with_env.app_context():
        save(smtp_username="user", smtp_password="for-one-application-alone")
        assert used() == ("Primary", "smtp.example.com")
    other = create_app({**environment, **ENV, "APP_KEY": "another-" + environment["APP_KEY"]}, instance_path=tmp_path)
    with other.app_context():
        assert used() == (".env", "mail.hanna.example")
    with with_env.app_context():
        assert used() == ("Primary", "smtp.example.com")
