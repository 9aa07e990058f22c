"""Rows from when the reason stood in them in words: a code now, and the words again when that is undone."""

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from services.outbox import log
from services.outbox.reasons import Reason, words
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.mails import change, queued

EARLIER_VERSIONS = {"Server's answer cannot be read": Reason.BROKEN_REPLY}
MIGRATION = Path(__file__).parents[2] / "database" / "migrations" / "versions" / "0006_reason_codes.py"
WORDS = runpy.run_path(str(MIGRATION))["WORDS"]
# All others came later, and never stood in a row in words.
EARLY = {WORDS[reason]: reason for reason in Reason if reason in WORDS}
UNKNOWN = ["", "No such mailbox.", "The server's 50% rule: it's “full”.", "Server is not available now", "sent"]
INCIDENT = "Sealpost itself failed before it was sent. This program made a mistake. Reference: 1f2e3d4c."


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
    return {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url, "LOCAL_INBOX_PORT": "0"}


@pytest.fixture
def app(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        db.session.remove()
        with db.engine.begin() as connection:
            connection.execute(text("DELETE FROM email_outbox"))
        db.engine.dispose()


def stored() -> dict[str, str]:
    """The reason of each mail, as it stands in the row."""
    with db.engine.connect() as connection:
        rows = connection.execute(text("SELECT mail_id, reason FROM email_outbox"))
        return {row[0]: row[1] for row in rows}


def put(told: list[str]) -> dict[str, str]:
    """A mail for each reason, as the version before has left it."""
    mails = {queued(): reason for reason in told}
    for mail_id, reason in mails.items():
        change(mail_id, reason=reason)
    downgrade(revision="0005")
    with transaction() as session:
        for mail_id, reason in mails.items():
            session.execute(
                text("UPDATE email_outbox SET reason = :reason WHERE mail_id = :id"), {"reason": reason, "id": mail_id}
            )
    return mails


def test_words_become_codes_and_read_as_they_do_now(app: Flask) -> None:
    mails = put(list(EARLY))
    upgrade()
    assert stored() == {mail_id: EARLY[told] for mail_id, told in mails.items()}
    shown, _ = log.mails(limit=200)
    assert {mail.id: mail.reason for mail in shown} == {mail_id: EARLY[told].text for mail_id, told in mails.items()}


def test_undone_the_words_stand_there_again(app: Flask) -> None:
    mails = put([*EARLY, INCIDENT, *UNKNOWN])
    upgrade()
    downgrade(revision="0005")
    assert stored() == mails
    upgrade()


def test_the_words_of_earlier_versions_become_codes_too(app: Flask) -> None:
    mails = put(list(EARLIER_VERSIONS))
    upgrade()
    assert stored() == {mail_id: EARLIER_VERSIONS[told] for mail_id, told in mails.items()}


def test_what_no_version_said_stays_as_it_is_and_is_shown_so(app: Flask) -> None:
    mails = put(UNKNOWN)
    upgrade()
    assert stored() == mails
    assert {told: words(told) for told in UNKNOWN} == {told: told for told in UNKNOWN}


def test_the_reference_of_an_incident_is_kept(app: Flask) -> None:
    mails = put([INCIDENT])
    upgrade()
    (mail_id,) = mails
    assert stored() == {mail_id: "failed_before_sending:This program made a mistake. Reference: 1f2e3d4c."}
    assert log.story(mail_id).mail.reason == INCIDENT.replace(
        WORDS["failed_before_sending"], "Sealpost failed before it was sent."
    )


def test_mail_that_waited_for_a_server_before_still_counts_as_late(app: Flask) -> None:
    put([WORDS[Reason.NO_SERVER]])
    upgrade()
    with transaction() as session:
        session.execute(text("UPDATE email_outbox SET state = 'deferred', created_at = '2020-01-01 00:00:00+00:00'"))
    assert log.is_behind()
