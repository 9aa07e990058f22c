"""The Python interface of the second specification, as it is written there."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from flask import Flask

from app import create_app
from services.settings import configs, named, route
from utils.errors import InvalidInput, NotFound

FIELDS = {"host": "mail.example.com", "port": 587, "username": "u", "password": "p4ss", "use_tls": True}


def test_a_configuration_is_made_and_read_under_the_specified_names(app: Flask) -> None:
    named.create_config("Primary Mail Server", **FIELDS, from_email="a@example.com", is_active=True)
    config = named.get_active_config()
    assert config
    assert (config.name, config.host, config.port, config.username) == (
        "Primary Mail Server",
        "mail.example.com",
        587,
        "u",
    )
    assert (config.use_tls, config.use_ssl, config.from_email, config.is_active) == (True, False, "a@example.com", True)


def test_its_timeout_is_given_and_read_under_the_specified_name(app: Flask) -> None:
    config = named.create_config("One", **FIELDS, from_email="a@example.com", timeout=17)
    assert (config.timeout, config.row.timeout_seconds) == (17, 17)


def test_it_shows_neither_token_nor_binding_and_cannot_be_changed(app: Flask) -> None:
    config = named.create_config("One", **FIELDS, from_email="a@example.com")
    assert config.row.binding_mac
    for text in (repr(config), str(config), f"{[config]}", repr(config.row), repr(config.settings), repr(vars(config))):
        assert not any(secret in text for secret in (config.row.smtp_password, config.row.binding_mac, "p4ss"))
    with pytest.raises((FrozenInstanceError, AttributeError)):
        config.host = "evil.example"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("host", value) for value in (None, "", 5, b"mail.example.com", ["mail.example.com"], "mail example.com")),
        *(("port", value) for value in ("587", 587.5, True, 0, 65_536, None)),
        *(("timeout", value) for value in ("10", 0, 61, True, 1.5, None)),
        *(("username", value) for value in (None, 5, b"u")),
        *(("password", value) for value in (None, 5, b"s3cret")),
        *(("use_tls", value) for value in ("yes", 1, None)),
        *(("is_active", value) for value in ("true", 1, None)),
        *(("from_email", value) for value in (None, "x", ["a@example.com"])),
        *((name, True) for name in ("fail_silently", "backend", "account_id", "connection")),
    ],
)
def test_what_is_no_value_is_refused_by_the_name_that_was_given(app: Flask, field: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        named.create_config("One", **{**FIELDS, "from_email": "a@example.com", field: value})
    assert list(refused.value.errors) == [field]
    assert str(refused.value).startswith(f"Check the fields. {field}: ")
    assert configs.search() == []


@pytest.mark.parametrize("name", [None, b"One", ["One"], 1.0, True, False, "", "\x00", 10**30, -1])
def test_what_is_no_name_names_nothing(app: Flask, name: Any) -> None:
    named.create_config("One", **FIELDS, from_email="a@example.com")
    for switch in (named.activate_config, named.deactivate_config):
        with pytest.raises(NotFound):
            switch(name)
    assert named.get_active_config() is None


def test_a_field_under_both_names_is_refused(app: Flask) -> None:
    with pytest.raises(InvalidInput):
        named.create_config("One", **FIELDS, smtp_server="other.example", from_email="a@example.com")


def test_falling_back_is_told_in_the_specified_words(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    variables = {"EMAIL_HOST": "fallback.example", "DEFAULT_FROM_EMAIL": "a@example.com"}
    with create_app({**environment, **variables}).app_context():
        assert route.first_usable()
    assert "No active SMTP Configuration found in database. Falling back to fallback.example (.env)." in caplog.text
