"""What happened to a mail, in the order of time: by whom, through what, and how it ended; told alike on every face."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import db, transaction
from database.outbox_db import State
from services import audit
from services.accounts import accounts, api_tokens
from services.accounts.api_tokens import Scope
from services.audit import Actor
from services.email_service import send_email
from services.outbox import holding, log, searching
from services.outbox.log import Story
from services.outbox.searching import MailFilter
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.pool import pool
from tests import certificates
from tests.conftest import ADMIN_TOKEN
from tests.mails import attempted, change, in_state, queued
from tests.outbox import drain
from tests.scripted_server import Answer, ScriptedServer
from tests.visitors import PASSWORD, visit
from utils import clock
from utils.errors import NotFound

Script = dict[str, Answer | list[Answer]]
TAKEN = "250 2.0.0 Ok: queued as 4XyZ"
ANN, BOB = "ann@example.com", "bob@example.com"
TABLES = (
    "suppression address_key email_outbox email_attempt email_conversation audit_event smtp_config api_token account"
).split()
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(autouse=True)
def app(on_either: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    more = {"LOG_CONVERSATIONS": "failures", "SMTP_CA_FILE": str(certificates.ca_file())}
    app = create_app(on_either | more, instance_path=tmp_path)
    with app.app_context():
        yield app
        pool.close()
        with transaction() as session:
            for table in TABLES:
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def scripted(servers: ExitStack, script: Script | None = None, **more: object) -> ScriptedServer:
    server = servers.enter_context(ScriptedServer(script or {}))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2, **more}), actor="tester")
    return server


def lines(story: Story) -> list[str]:
    """Each line of the timeline in short."""
    return [
        entry.event.what if entry.event else entry.attempt.outcome if entry.attempt else "" for entry in story.timeline
    ]


def test_it_goes_from_the_promise_by_claims_and_attempts_to_the_end(servers: ExitStack) -> None:
    scripted(servers, {"RCPT": ["450 4.2.0 Greylisted, try later", "250 ok"], "MESSAGE": TAKEN})
    mail_id = queued(ANN)
    drain()
    waiting = log.story(mail_id)
    assert lines(waiting) == ["queued", "claimed", "temporary"]
    with audit.acting(Actor("alice", "127.0.0.1")):
        log.retry(mail_id)
    drain()
    story = log.story(mail_id)
    assert lines(story) == ["queued", "claimed", "temporary", "asked", "claimed", "accepted", "sent"]
    by = {each.what: each.by for each in story.history}
    assert (by["asked"], by["claimed"], by["queued"]) == ("alice", "test", None)
    first, last = story.attempts
    assert (first.tls, first.queue_id, last.tls, last.queue_id) == ("none", None, "none", "4XyZ")
    assert first.conversation
    assert last.conversation is None


def test_what_is_encrypted_is_told_with_its_version_also_where_it_failed(servers: ExitStack) -> None:
    offers = {"EHLO": "250-scripted.test\n250 STARTTLS", "RCPT": ["250 ok", "550 5.1.1 no such user"]}
    server = servers.enter_context(ScriptedServer(offers, tls=certificates.good_context()))
    place = {"smtp_server": "localhost", "smtp_port": server.port, "use_tls": True, "from_email": "s@example.com"}
    configs.save(parse_change(place), actor="tester")
    for result in ("Accepted", "Refused"):
        mail_id = queued(ANN)
        drain()
        (attempt,) = log.story(mail_id).attempts
        assert (attempt.look.word, attempt.tls_version, attempt.is_unencrypted) == (result, "TLS 1.3", False)


def test_whoever_queued_it_is_named_as_far_as_that_is_known(app: Flask) -> None:
    bob = accounts.create("bob", BOB, PASSWORD)
    _, token = api_tokens.create(bob.id, "deploy", scopes=[Scope.SEND])
    known = {
        "": (None, None),
        "command": (None, "a command"),
        "admin_token": (None, "ADMIN_TOKEN"),
        f"token:{token.id}": (bob.id, "account bob, with API token “deploy”"),
        "token:999": (bob.id, "account bob, with an API token"),
        "token:x": (None, "an account, with an API token"),
    }
    for origin, (account_id, told) in known.items():
        with audit.acting(Actor("x", "y", origin)):
            story = log.story(queued(ANN, account_id=account_id))
        assert story.history[0].by == told, origin
    assert log.story(queued(ANN, account_id=bob.id)).history[0].by == "account bob"


def test_what_people_did_is_told_with_who_and_to_its_owner_without() -> None:
    bob = accounts.create("bob", BOB, PASSWORD)
    with audit.acting(Actor("alice", "127.0.0.1")):
        cancelled, held = queued(ANN, account_id=bob.id), queued(ANN, account_id=bob.id)
        log.cancel(cancelled)
        holding.hold_all()
        assert [(each.what, each.by) for each in log.story(held).history][1:] == [("held", "alice")]
        log.retry(held)
    assert [(each.what, each.by) for each in log.story(cancelled).history][1:] == [("cancelled", "alice")]
    assert [(each.what, each.by) for each in log.story(held).history][1:] == [("released", "alice")]
    assert [(each.what, each.by) for each in log.story(held, bob.id).history] == [
        ("queued", "account bob"),
        ("released", None),
    ]


def test_rows_from_before_show_nothing_rather_than_a_guess() -> None:
    mail_id = in_state(State.SENT, ANN)
    attempted(mail_id, worker="old")
    (attempt,) = log.story(mail_id).attempts
    assert (attempt.tls, attempt.queue_id, attempt.conversation, attempt.tls_version) == (None, None, None, "")
    assert not attempt.is_unencrypted


def test_every_face_tells_the_same_and_accounts_no_words_of_the_system(servers: ExitStack, app: Flask) -> None:
    scripted(servers, {"RCPT": ["550 5.1.1 <ann@example.com>: no such user here", "250 ok"]})
    bob = accounts.create("bob", BOB, PASSWORD)
    token, _ = api_tokens.create(bob.id, "r", scopes=[Scope.READ])
    mail_id = queued(ANN, account_id=bob.id)
    drain()
    path = f"/api/messages/{mail_id}"
    told = visit(app).get(path, headers=ADMIN).get_json()["data"]
    (attempt,) = told["attempt_log"]
    assert (attempt["tls"], attempt["queue_id"]) == ("none", None)
    assert {"ms", "text"} == set(attempt["conversation"][0])
    assert "no such user here" in str(attempt["conversation"])
    assert [each["what"] for each in told["history"]] == ["queued", "claimed", "failed"]
    for_owner = visit(app).get(path, headers={"Authorization": f"Bearer {token}"}).get_json()["data"]
    (attempt,) = for_owner["attempt_log"]
    assert (attempt["conversation"], attempt["queue_id"], attempt["reply"]) == (None, None, "")
    assert "127.0.0.1" not in str(for_owner)
    shown = app.test_cli_runner().invoke(args=["mail", "show", mail_id]).output
    for word in ("Failed: Recipient does not exist", f"{ANN}  Refused (550 5.1.1)", "unencrypted", "C: RCPT TO:<ann@"):
        assert word in shown
    as_json = app.test_cli_runner().invoke(args=["mail", "show", mail_id, "--json"]).output
    assert mail_id in as_json


def test_a_mail_that_was_sent_directly_has_a_page_with_all_servers_that_were_tried(
    servers: ExitStack, app: Flask
) -> None:
    scripted(servers, {"RCPT": ["550 5.1.1 no such user", "250 ok"]})
    assert not send_email(ANN, "S", "T")
    assert send_email(BOB, "S", "T")
    newest, older = searching.direct(MailFilter())[0][:2]
    (attempt,) = log.direct_attempts(older.id)
    assert (attempt.code, attempt.tls) == (550, "none")
    assert f"C: RCPT TO:<{ANN}>" in [line.text for line in attempt.conversation or ()]
    assert log.direct_attempts(newest.id)[0].conversation is None
    mail_id = queued(ANN)
    drain()
    of_queued = log.story(mail_id).attempts[0].id
    for wrong in (of_queued, 0, 10**9, 2**63 - 1):
        with pytest.raises(NotFound):
            log.direct_attempts(wrong)
    accounts.create("root", "root@example.com", PASSWORD, is_admin=True)
    api = visit(app).get(f"/api/messages/direct/{older.id}", headers=ADMIN).get_json()["data"]
    assert [each["id"] for each in api] == [older.id]
    assert visit(app).get(f"/api/messages/direct/{10**30}", headers=ADMIN).status_code == 404


def test_what_comes_next_is_told_with_its_time_and_cause(servers: ExitStack, app: Flask) -> None:
    scripted(servers, {"RCPT": "450 4.2.0 Greylisted, try again in 4 minutes"})
    mail_id = queued(ANN)
    drain()
    due = clock.now() + timedelta(minutes=4)
    change(mail_id, due_at=due)
    shown = app.test_cli_runner().invoke(args=["mail", "show", mail_id]).output
    assert "Waiting: Server asked to try again later" in shown
    assert f"Next attempt at {clock.in_lists(due)} UTC." in shown
    assert "Sealpost stops trying at" in shown
