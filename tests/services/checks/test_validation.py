"""`flask smtp validate`, check by check: each failure is found, named, and comes with its remedy."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import text

from app import create_app
from database import reset_request_db, schema_db
from database.engine import transaction
from services.accounts import accounts
from services.checks import start, validation
from services.checks.validation import Mark, Told
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.reach import Reach
from services.smtp.habits import Habit, habits_of
from tests.own_servers import bring, change
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, make_alice, make_bob
from utils import clock
from utils.errors import InvalidInput

ROW = {"name": "Primary Mail Server", "smtp_server": "smtp.example.com", "from_email": "noreply@example.com"}


def store(**change: object) -> None:
    configs.create(parse_change({**ROW, "is_active": True, **change}))


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def findings(title: str, test_email: str | None = None) -> list[Told]:
    check = next(check for check in validation.checks(test_email) if check.title == title)
    return list(check.findings())


def failed(title: str) -> list[Told]:
    return [finding for finding in findings(title) if finding.mark is Mark.FAILED]


def test_everything_that_fails_says_what_to_do(app: Flask) -> None:
    store(smtp_server="nowhere.example", smtp_username="u", smtp_password="p")
    sql("UPDATE smtp_config SET smtp_port = 25")
    found = [finding for check in validation.checks() for finding in check.findings()]
    assert [finding for finding in found if finding.mark is Mark.FAILED and not finding.remedy] == []
    assert sum(finding.mark is Mark.FAILED for finding in found) >= 3


def test_the_test_mail_goes_to_the_first_administrator_if_no_address_is_given(app: Flask) -> None:
    make_alice(is_admin=True)
    with RecordingServer() as server:
        store(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        assert findings("Email/SMTP Configuration", "")[-1].text == "Test email sent successfully to alice@example.com"
        assert server.mails[0].recipients == ("alice@example.com",)


def test_without_a_test_mail_the_server_is_tested_and_no_mail_is_sent(app: Flask) -> None:
    with RecordingServer() as server:
        store(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        assert findings("Email/SMTP Configuration")[-1].mark is Mark.OK
        assert b"RCPT TO" in server.data
        assert server.mails == []


def test_a_validation_says_what_of_the_server_will_end_soon_and_fails_for_none_of_it(app: Flask) -> None:
    with RecordingServer() as server:
        store(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        last_day = clock.now().date() + timedelta(days=3)
        habits_of(server.host, server.port).learn(Habit.CERTIFICATE, f"{last_day}")
        told = [finding for finding in findings("Email/SMTP Configuration") if f"{last_day}" in finding.text]
    assert [finding.mark for finding in told] == [Mark.INFO]
    assert "renew" in told[0].remedy


def test_a_validation_notes_its_test_on_the_configuration(app: Flask) -> None:
    with RecordingServer() as server:
        store(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        accounts.create("Olga", "olga@elsewhere.example", PASSWORD, is_admin=True)
        assert findings("Email/SMTP Configuration")[-1].text == "Connection successful; no email was sent"
    stored = configs.find_active()
    assert stored
    assert stored.is_verified


def test_a_validation_that_can_name_its_own_domain_only_says_so_and_verifies_nothing_else(app: Flask) -> None:
    with RecordingServer() as server:
        store(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        verdict = findings("Email/SMTP Configuration")[-1]
    assert (verdict.mark, verdict.text) == (
        Mark.OK,
        "Connection successful, to your own domain only; no email was sent",
    )
    assert verdict.remedy.startswith("The server accepts email to example.com without a sign-in.")
    stored = configs.find_active()
    assert stored
    assert (stored.is_verified, stored.verified_reach) == (False, Reach.OWN_DOMAIN)


def test_what_is_no_address_is_refused_before_anything_is_done(app: Flask) -> None:
    with pytest.raises(InvalidInput):
        validation.checks("nobody")


def test_an_active_row_that_cannot_be_used_fails_although_env_sends(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with RecordingServer() as server:
        env = {"EMAIL_HOST": server.host, "EMAIL_PORT": str(server.port), "EMAIL_USE_TLS": "false"}
        variables = {**environment, **env, "DEFAULT_FROM_EMAIL": "a@example.com"}
        with create_app(variables, instance_path=tmp_path).app_context():
            store()
            sql("UPDATE smtp_config SET smtp_server = 'evil.example'")
            found = findings("Email/SMTP Configuration")
            assert found[0].mark is Mark.FAILED
            assert found[1].text == "Using SMTP config from .env"
            assert found[-1].mark is Mark.OK
            assert len(failed("Route")) == len(failed("Encryption Key")) == 1


def test_rows_of_a_lost_key_are_named(environment: dict[str, str], app: Flask, tmp_path: Path) -> None:
    store(smtp_username="u", smtp_password="p")
    lost = {**environment, "APP_KEY": "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"}
    with create_app(lost, instance_path=tmp_path).app_context():
        (finding,) = failed("Encryption Key")
        assert "Primary Mail Server" in finding.text
        assert "Restore APP_KEY or enter the password again" in finding.remedy


def test_rows_of_a_previous_key_are_readable_and_a_rotation_is_advised(
    environment: dict[str, str], app: Flask, tmp_path: Path
) -> None:
    store()
    changed = {"APP_KEY": "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf", "APP_KEY_PREVIOUS": environment["APP_KEY"]}
    with create_app({**environment, **changed}, instance_path=tmp_path).app_context():
        found = findings("Encryption Key")
        assert [finding.mark for finding in found] == [Mark.INFO, Mark.OK, Mark.INFO]
        assert "flask keys rotate" in found[-1].text


def test_a_half_filled_env_is_found_although_the_database_sends(environment: dict[str, str], tmp_path: Path) -> None:
    half = {**environment, "EMAIL_HOST": "mail.example.com", "EMAIL_PORT": "abc", "DEFAULT_FROM_EMAIL": "a@example.com"}
    with create_app(half, instance_path=tmp_path).app_context():
        store()
        (finding,) = failed("Route")
        assert "EMAIL_PORT" in finding.remedy


@pytest.mark.parametrize(
    ("variables", "marks"),
    [
        ({"BASE_URL": "http://localhost:5000"}, [Mark.OK, Mark.INFO]),
        ({"BASE_URL": "https://app.example.com"}, [Mark.OK]),
        ({"BASE_URL": "http://app.example.com"}, [Mark.OK, Mark.INFO]),
        ({"APP_ENV": "production", "BASE_URL": "https://app.example.com"}, [Mark.OK]),
        ({"APP_ENV": "production", "BASE_URL": "http://127.0.0.1:8000"}, [Mark.FAILED]),
    ],
)
def test_the_address_in_links_is_judged_by_where_it_leads(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], marks: list[Mark]
) -> None:
    with create_app({**environment, **variables}, instance_path=tmp_path).app_context():
        assert [finding.mark for finding in findings("BASE_URL")] == marks


def test_a_host_that_does_not_exist_is_found_in_dns(app: Flask) -> None:
    store(smtp_server="nowhere.example")
    (finding,) = failed("DNS")
    assert finding.remedy.startswith("Check the server name for typos")


def test_the_addresses_of_the_host_are_shown(app: Flask) -> None:
    store(smtp_server="localhost")
    (finding,) = findings("DNS")
    assert finding.mark is Mark.OK
    assert "127.0.0.1" in finding.text


@pytest.mark.parametrize(("minutes", "mark"), [(0, Mark.INFO), (10, Mark.FAILED)])
def test_mail_that_waits_is_shown_and_fails_once_it_is_overdue(app: Flask, minutes: int, mark: Mark) -> None:
    with transaction() as session:
        reset_request_db.add(session, "a@example.com", clock.now() - timedelta(minutes=minutes))
    (finding,) = findings("Pending Mail")
    assert finding.mark is mark
    assert finding.text.startswith("1 password reset waiting")


def test_without_a_database_each_check_that_needs_it_says_so_and_the_others_are_made(
    environment: dict[str, str], tmp_path: Path
) -> None:
    empty = {**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}"}
    with create_app(empty, instance_path=tmp_path).app_context():
        for check in ("Email/SMTP Configuration", "Encryption Key", "Pending Mail"):
            assert failed(check) == [Told(Mark.FAILED, start.NOT_READY, schema_db.UPGRADE)]
        assert failed("Route") != []
        assert findings("BASE_URL")[0].mark is Mark.OK


def test_on_an_old_schema_what_is_stored_there_is_not_told_to_be_missing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    old = {**environment, "DATABASE_URL": f"sqlite:///{tmp_path / 'old.db'}"}
    with create_app(old, instance_path=tmp_path).app_context():
        upgrade(revision="0009")
        assert failed("Email/SMTP Configuration") == [Told(Mark.FAILED, start.NOT_READY, schema_db.UPGRADE)]


def test_a_server_of_an_account_that_cannot_be_opened_is_told_and_fails_no_deploy(app: Flask) -> None:
    store(smtp_username="u", smtp_password="p")
    row = bring(make_bob().id, "smtp.example.org", 587, login=("bob", "x"))
    change(row, smtp_port=2525)
    assert failed("Encryption Key") == []
    told = "Own server (id 2, account 1) cannot be read, until its account saves it again"
    assert Told(Mark.INFO, told) in findings("Encryption Key")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"PERSONAL_SMTP_HOSTS": "smtp.gmail.com"}, "has no effect"),
        ({"PERSONAL_SMTP": "any", "PERSONAL_SMTP_HOSTS": "smtp.gmail.com"}, "has no effect"),
        ({"PERSONAL_SMTP": "named"}, "none is named"),
        ({"PERSONAL_SMTP": "named", "PERSONAL_SMTP_HOSTS": "smtp.gmail.com"}, ""),
        ({"PERSONAL_SMTP": "off", "PERSONAL_SMTP_HOSTS": "smtp.gmail.com"}, ""),
        ({}, ""),
    ],
)
def test_hosts_that_are_named_for_accounts_and_count_for_nothing_are_doubted(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str], told: str
) -> None:
    with create_app({**environment, **variables}, instance_path=tmp_path).app_context():
        upgrade()
        found = start.doubts()
    assert [told in doubt for doubt in found] == ([True] if told else [])
