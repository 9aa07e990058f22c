"""The audit trail itself: what a row may hold, whose transaction it is in, how long it is kept."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from database.audit_db import AuditEvent
from database.engine import transaction
from services import audit
from services.accounts import password_reset
from services.audit import NOBODY, Action, Actor
from services.worker import threads
from tests.recording_server import RecordingServer
from tests.visitors import mail_through, make_alice
from utils import clock

pytestmark = pytest.mark.usefixtures("app")

ALICE = Actor("alice", "192.0.2.1")
HOSTILE = [
    "a\r\n2026-01-01 alice deleted everything",
    "a\x1b[2K\x1b[31mred\x07",
    "a\u202eevil\u2066\u2069\u200f\u061c",
    "a\u2028b\u2029c\x85d\x0be\x0cf",
    "a\x00b",
    "a\ud800b",
    "x" * 10_240,
    "\u202e" * 10_240 + "x",
]
UNSEEN = set("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def happened(days_ago: float, subject: str = "account alice") -> None:
    """An event of some days ago."""
    with transaction() as session:
        event = AuditEvent(
            at=clock.now() - timedelta(days=days_ago),
            actor="alice",
            source="192.0.2.1",
            action=Action.SIGNED_IN,
            subject=subject,
        )
        session.add(event)


def subjects() -> list[str]:
    return [event.subject for event in audit.events()]


def test_an_event_says_who_from_where_what_and_when() -> None:
    before = clock.now()
    with audit.acting(ALICE):
        audit.note(Action.UPDATED, "configuration Primary", ["smtp_server", "smtp_password"])
    (event,) = audit.events()
    assert (event.actor, event.source, event.action) == ("alice", "192.0.2.1", "updated")
    assert (event.subject, event.details) == ("configuration Primary", "smtp_server, smtp_password")
    assert before <= event.at <= clock.now()


def test_an_event_goes_with_the_transaction_that_failed() -> None:
    with pytest.raises(RuntimeError), transaction() as session:
        audit.record(session, Action.CREATED, "configuration Primary")
        raise RuntimeError
    assert audit.events() == []


def test_nobody_in_particular_is_the_system() -> None:
    audit.note(Action.TESTED, "configuration Primary")
    assert (audit.events()[0].actor, audit.events()[0].source) == ("system", "application")


def test_an_actor_ends_with_the_block_even_when_it_fails() -> None:
    with pytest.raises(RuntimeError), audit.acting(ALICE):
        assert audit.actor() == ALICE
        raise RuntimeError
    assert audit.actor() == NOBODY


def test_ending_an_actor_ends_those_that_came_in_between_too() -> None:
    token = audit.acting_as(ALICE)
    audit.acting_as(Actor("bob", "192.0.2.2"))
    audit.stop_acting(token)
    assert audit.actor() == NOBODY


def test_a_thread_does_not_act_as_who_started_it() -> None:
    heard: list[Actor] = []
    with audit.acting(ALICE):
        thread = threading.Thread(target=lambda: heard.append(audit.actor()))
        thread.start()
        thread.join()
    assert heard == [NOBODY]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_one_bounded_line(text: str) -> None:
    with audit.acting(Actor(text, text)):
        audit.note(Action.UPDATED, text, [text, text])
    (event,) = audit.events()
    for held, longest in ((event.actor, 160), (event.source, 64), (event.subject, 160), (event.details, 500)):
        assert 1 <= len(held) <= longest
        assert len(held.splitlines()) == 1
        assert not UNSEEN.intersection(held)
        assert all(character >= " " and not "\x7f" <= character <= "\x9f" for character in held)


@pytest.mark.parametrize("text", ["\x00", "%", "_", "\\", "'; DROP TABLE audit_event; --", "x" * 60_000, "\ud800"])
def test_a_strange_search_finds_nothing_and_breaks_nothing(text: str) -> None:
    happened(1)
    assert audit.events(text=f"{text}!") == []
    assert len(audit.events()) == 1


def test_a_search_heeds_no_case_and_looks_at_actor_source_and_subject() -> None:
    happened(1, "account bob")
    for text in ("ALICE", "192.0.2", "Bob"):
        assert len(audit.events(text=text)) == 1


def test_events_come_newest_first_and_page_by_page() -> None:
    for number in range(5):
        happened(1, f"account {number}")
    first = audit.events(limit=2)
    second = audit.events(limit=2, before_id=first[-1].id)
    assert [event.subject for event in first + second] == ["account 4", "account 3", "account 2", "account 1"]


def test_events_can_be_those_of_one_action() -> None:
    happened(1)
    audit.note(Action.TESTED, "configuration Primary")
    assert [event.action for event in audit.events(action=Action.TESTED)] == ["tested"]


def test_what_is_older_than_a_year_is_deleted_and_nothing_else() -> None:
    happened(364.9, "young")
    happened(365.1, "old")
    audit.purge()
    assert subjects() == ["young"]


def test_the_retention_is_told_in_days(environment: dict[str, str], tmp_path: Path) -> None:
    happened(6.9, "young")
    happened(7.1, "old")
    with create_app(environment | {"AUDIT_RETENTION_DAYS": "7"}, instance_path=tmp_path).app_context():
        audit.purge()
    assert subjects() == ["young"]


def test_a_retention_of_no_days_keeps_everything(environment: dict[str, str], tmp_path: Path) -> None:
    happened(9_999, "old")
    with create_app(environment | {"AUDIT_RETENTION_DAYS": "0"}, instance_path=tmp_path).app_context():
        audit.purge()
    assert subjects() == ["old"]


def test_the_worker_deletes_what_is_too_old(environment: dict[str, str], tmp_path: Path) -> None:
    make_alice()
    happened(400, "old")
    with RecordingServer() as server:
        app = create_app(environment | mail_through(server), instance_path=tmp_path)
        started = threads.start(app)
        with app.app_context():
            password_reset.request_reset("alice@example.com")
            server.wait_for_mail()  # so it is at work, and stopping lets it end its round
            started.stop()
    assert "old" not in subjects()


def test_no_code_but_the_purge_takes_events_away(app: Flask) -> None:
    root = Path(app.root_path)
    sources = [file for layer in ("blueprints", "services", "database") for file in (root / layer).rglob("*.py")]
    deletes = {file.name for file in sources if "audit_db.delete" in file.read_text()}
    purges = {file.name for file in sources if "audit.purge" in file.read_text()}
    assert (deletes, purges) == ({"audit.py"}, {"groups.py"})
    table = (root / "database" / "audit_db.py").read_text()
    assert table.count("delete(") == 1
    assert "update(" not in table
