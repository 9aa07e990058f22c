"""A stored row is checked again whenever it is used: one with a value that no save would take is skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import transaction
from database.outbox_db import State
from database.smtp_db import SmtpConfig
from services import email_service
from services.settings import configs, key_rotation, route, sealing
from services.settings.fields import parse_change
from services.settings.sealing import Condition
from services.settings.shown import public_dict
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, mail_through
from utils.errors import InvalidInput

ANN = "ann@example.com"
INVALID: dict[str, dict[str, Any]] = {
    "Reply-To without a domain": {"reply_to": "help"},
    "Reply-To with a line break": {"reply_to": "help@example.com\r\nBcc: all@example.com"},
    "two addresses as Reply-To": {"reply_to": "a@example.com, b@example.com"},
    "Reply-To with a space too many": {"reply_to": " help@example.com"},
    "From that is no address": {"from_email": "shop"},
    "From name with a line break": {"from_name": "Shop\nBcc: all@example.com"},
    "From name with NUL": {"from_name": "Sh\0op"},
    "EHLO name with a space": {"helo_hostname": "my host"},
    "EHLO name that is an address": {"helo_hostname": "192.0.2.1"},
    "EHLO name with a line break": {"helo_hostname": "a.example\r\nRSET"},
    "host with a scheme": {"smtp_server": "smtp://mail.example.com"},
    "host with a port": {"smtp_server": "mail.example.com:25"},
    "no host": {"smtp_server": ""},
    "unknown mechanism": {"auth_method": "XOAUTH9"},
    "time-out of nothing": {"timeout_seconds": 0},
    "negative time-out": {"timeout_seconds": -5},
    "time-out of an hour": {"timeout_seconds": 3600},
    "user name with a line break": {"smtp_username": "a\r\nb"},
    "negative limit": {"emails_per_minute": -1},
    "limit of nothing": {"emails_per_day": 0},
}
anything_invalid = pytest.mark.parametrize("values", INVALID.values(), ids=INVALID.keys())


@pytest.fixture
def backup() -> Iterator[RecordingServer]:
    """The server that `.env` names."""
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], backup: RecordingServer) -> dict[str, str]:
    return environment | mail_through(backup)


@pytest.fixture
def saved(app: Flask, server: RecordingServer) -> int:
    """The id of the active row, of a server that works."""
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    return configs.save(parse_change(place), actor="tester").row.id


def write(config_id: int, **values: Any) -> None:
    """Write values into the row that no save lets through, sealed as laxer rules once did."""
    with transaction() as session:
        row = session.get(SmtpConfig, config_id)
        assert row
        settings = sealing.unsealed(row).settings
        for name, value in values.items():
            setattr(row, name, value)
        sealing.seal(row, settings)


@anything_invalid
def test_a_row_with_an_invalid_value_is_passed_over_with_the_reason(saved: int, values: dict[str, Any]) -> None:
    write(saved, **values)
    first, second = route.steps()
    assert (first.settings, first.is_altered) == (None, False)
    assert first.reason.startswith("The stored ")
    assert second.settings
    stored = configs.get(saved)
    assert (stored.condition, list(stored.errors)) == (Condition.INVALID, list(values))


@anything_invalid
def test_mail_goes_on_along_the_route_past_an_invalid_row(
    saved: int, backup: RecordingServer, server: RecordingServer, values: dict[str, Any]
) -> None:
    write(saved, **values)
    mail_id = queued(ANN)
    drain()
    assert row_of(mail_id).state == State.SENT
    assert email_service.send_email(ANN, "s", "b") is True
    assert len(backup.wait_for_mail(2)) == 2
    assert server.mails == []


@pytest.mark.parametrize(
    "value",
    [
        "reply_to = 'not an address'",
        "from_email = 'shop'",
        "helo_hostname = 'my host'",
        "smtp_server = 'http://mail.example.com'",
        "smtp_port = 587.5",
        "auth_method = 'XOAUTH9'",
        "timeout_seconds = 'soon'",
        "timeout_seconds = 1.5",
        "timeout_seconds = 0",
        "emails_per_minute = 'many'",
        "emails_per_day = -1",
    ],
)
def test_a_value_set_in_sql_never_costs_a_mail(saved: int, value: str, backup: RecordingServer) -> None:
    with transaction() as session:
        session.execute(text(f"UPDATE smtp_config SET {value}"))
    mail_id = queued(ANN)
    drain()
    assert row_of(mail_id).state == State.SENT
    assert email_service.send_email(ANN, "s", "b") is True
    assert len(backup.wait_for_mail(2)) == 2


def test_a_moment_set_in_sql_that_is_none_leaves_the_server_in_use(saved: int, server: RecordingServer) -> None:
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET created_at = 'yesterday', updated_at = ''"))
    assert email_service.send_email(ANN, "s", "b") is True
    assert server.wait_for_mail()


def test_with_no_other_server_mail_waits_uncharged_and_a_caller_hears_no(
    environment: dict[str, str], tmp_path: Path, server: RecordingServer
) -> None:
    with create_app(environment | {"EMAIL_HOST": ""}, instance_path=tmp_path).app_context():
        place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
        write(configs.save(parse_change(place), actor="tester").row.id, reply_to="nobody")
        mail_id = queued(ANN)
        drain()
        row = row_of(mail_id)
        assert (row.state, row.attempts, row.uncertain) == (State.DEFERRED, 0, 0)
        assert email_service.send_email(ANN, "s", "b") is False
        assert email_service.test_smtp_connection() == (False, "SMTP not configured")


def test_the_test_of_an_invalid_row_names_the_field(saved: int, admin: Visitor, bearer: dict[str, str]) -> None:
    write(saved, reply_to="nobody")
    answer = admin.post("/api/settings/smtp/test", headers=bearer)
    assert (answer.status_code, list(answer.get_json()["errors"])) == (422, ["reply_to"])
    assert admin.get("/settings/smtp").status_code == 200
    assert admin.get(f"/settings/smtp/{saved}").status_code == 200


def test_saving_the_field_mends_the_row_and_the_password_stays(app: Flask, server: RecordingServer) -> None:
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    login = {"smtp_username": "shop", "smtp_password": "s3cret"}
    config_id = configs.save(parse_change({**place, **login}), actor="tester").row.id
    write(config_id, reply_to="nobody")
    with pytest.raises(InvalidInput) as refused:
        configs.update(config_id, parse_change({"from_name": "Shop"}))
    assert list(refused.value.errors) == ["reply_to"]
    mended = configs.update(config_id, parse_change({"reply_to": "help@example.com"}))
    assert (mended.is_usable, mended.settings.password.reveal()) == (True, "s3cret")


def test_an_invalid_row_asks_for_no_password_and_takes_part_in_a_rotation(saved: int) -> None:
    write(saved, helo_hostname="my host")
    assert public_dict(configs.get(saved))["needs_reentry"] is False
    assert key_rotation.status().refused == []
