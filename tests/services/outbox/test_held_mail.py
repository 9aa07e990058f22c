"""Mail that is held after a back-up was restored: nobody sends it, everybody is told of it, and it goes on by hand."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import select, text

from app import create_app
from database import outbox_turn_db
from database.engine import db, driver_transaction, reading, transaction
from database.outbox_claim_db import settle
from database.outbox_db import SETTLED, UNSENT, WAITING, OutboxMail, Priority, State
from services.accounts import administration, password_reset
from services.outbox import holding, log, promise
from services.outbox.holding import Held, Released
from services.outbox.reasons import Reason
from services.settings import key_rotation
from services.worker import groups, settling
from services.worker.lease import Pace
from tests import postgresql_server
from tests.mails import attempted, change, in_state, queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, mail_through, make_alice
from utils import clock
from utils.errors import Conflict

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(
    request: pytest.FixtureRequest, environment: dict[str, str], server: RecordingServer, tmp_path: Path
) -> Iterator[Flask]:
    """The application on either database."""
    if request.param == "SQLite":
        yield request.getfixturevalue("app")
        return
    url = request.getfixturevalue("postgresql")
    app = create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        yield app
        downgrade(revision="base")
        db.engine.dispose()


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["mail", *words])


def held(*to: str, **columns: Any) -> str:
    return in_state(State.HELD, *to, reason=Reason.HELD, **columns)


def test_all_that_waits_or_that_nobody_begins_with_is_held_and_nothing_of_it_is_sent(
    either: Flask, server: RecordingServer
) -> None:
    waiting = [in_state(state) for state in WAITING]
    leased = in_state(State.LEASED, attempts=1, lease_token="t" * 32, lease_until=clock.now() + HOUR)
    settled = [in_state(state) for state in SETTLED]
    assert holding.hold_all() == Held(held=4, being_sent=0)
    assert {row_of(mail_id).state for mail_id in (*waiting, leased)} == {State.HELD}
    row = row_of(leased)
    assert (row.attempts, row.lease_token, row.lease_until, row.leased_by) == (0, None, None, None)
    assert [row_of(mail_id).state for mail_id in settled] == list(SETTLED)
    groups.sweep(Pace())
    assert drain() == 0
    assert server.mails == []
    assert holding.hold_all() == Held(held=0, being_sent=0)


def test_released_each_waits_again_as_it_was(either: Flask) -> None:
    fresh, later = queued(), in_state(State.DEFERRED, attempts=3)
    doubtful = in_state(State.UNCERTAIN, attempts=1, uncertain=1, pinned_to="env")
    holding.hold_all()
    assert holding.release_all() == Released(released=3, expired=0)
    rows = [row_of(mail_id) for mail_id in (fresh, later, doubtful)]
    assert [row.state for row in rows] == [State.QUEUED, State.DEFERRED, State.UNCERTAIN]
    assert [row.attempts for row in rows] == [0, 3, 1]
    assert (rows[2].uncertain, rows[2].pinned_to) == (1, "env")
    assert {row.reason for row in rows} == {""}


def test_released_it_is_sent(either: Flask, server: RecordingServer) -> None:
    mail_id = queued()
    holding.hold_all()
    holding.release([mail_id])
    assert drain() == 1
    assert row_of(mail_id).state == State.SENT


def test_what_a_dead_worker_was_handing_over_is_held_as_of_unknown_fate(either: Flask) -> None:
    over: dict[str, Any] = {"attempts": 1, "pinned_to": "env", "lease_token": "t" * 32}
    dead = in_state(State.TRANSMITTING, **over, lease_until=clock.now() - HOUR)
    alive = in_state(State.TRANSMITTING, **over, lease_until=clock.now() + HOUR)
    assert holding.hold_all() == Held(held=1, being_sent=1)
    assert row_of(alive).state == State.TRANSMITTING
    assert (row_of(dead).state, row_of(dead).uncertain) == (State.HELD, 1)
    holding.release_all()
    assert (row_of(dead).state, row_of(dead).pinned_to) == (State.UNCERTAIN, "env")


def test_in_a_restored_database_no_lease_counts(either: Flask) -> None:
    mail_id = in_state(State.TRANSMITTING, lease_token="t" * 32, lease_until=clock.now() + HOUR, pinned_to="env")
    with transaction() as session:
        assert holding.hold_restored(session) == 1
    assert row_of(mail_id).state == State.HELD


@pytest.mark.parametrize("is_final", [True, False])
def test_what_a_worker_still_tells_of_a_held_mail_counts_if_it_is_final(either: Flask, is_final: bool) -> None:
    mail_id = queued()
    group = groups.claim_group("test", Pace())
    assert group
    change(mail_id, state=State.TRANSMITTING, pinned_to="env", lease_until=clock.now() - HOUR)
    holding.hold_all()
    (claim,) = group.claims
    now = clock.now()
    told = settling.dead(claim, now, Reason.NO_RECIPIENT) if is_final else settling.snoozed(claim, now, Reason.PAUSED)
    with driver_transaction() as driver:
        settle(driver, [told])
    assert row_of(mail_id).state == (State.FAILED if is_final else State.HELD)


def test_a_worker_that_has_claimed_a_mail_finds_it_held_before_it_begins(
    either: Flask, server: RecordingServer
) -> None:
    mail_id = queued()
    group = groups.claim_group("test", Pace())
    assert group
    holding.hold_all()
    groups.work_off(group, Pace())
    assert server.mails == []
    assert (row_of(mail_id).state, row_of(mail_id).attempts) == (State.HELD, 0)


def test_held_mail_ends_by_its_own_rule_only_once_it_is_released(either: Flask) -> None:
    past = clock.now() - HOUR
    normal, link = held(expires_at=past), held(expires_at=past, priority=Priority.SECURITY)
    lives = held()
    groups.sweep(Pace())
    log.tidy()
    assert {row_of(mail_id).state for mail_id in (normal, link)} == {State.HELD}
    assert holding.release_all() == Released(released=1, expired=2)
    assert {row_of(mail_id).reason for mail_id in (normal, link)} == {Reason.TOO_LATE}
    assert row_of(normal).content
    assert row_of(link).content is None
    assert row_of(lives).state == State.QUEUED
    assert log.story(normal).can_retry
    assert not log.story(link).can_retry


def test_a_reset_mail_that_was_held_for_too_long_is_not_sent_on_release(app: Flask, server: RecordingServer) -> None:
    make_alice()
    password_reset.request_reset("alice@example.com")
    password_reset.process_requests()
    (mail,) = log.mails()[0]
    holding.hold_all()
    change(mail.id, expires_at=clock.now() - HOUR)
    assert holding.release([mail.id]) == Released(released=0, expired=1)
    drain()
    assert server.mails == []


def test_whose_link_is_void_meanwhile_is_withdrawn_though_it_is_held(app: Flask) -> None:
    alice = make_alice()
    password_reset.request_reset("alice@example.com")
    password_reset.process_requests()
    (mail,) = log.mails()[0]
    holding.hold_all()
    administration.disable(alice.id)
    assert row_of(mail.id).state == State.CANCELLED


def test_held_mail_of_an_account_that_is_deleted_is_never_released(app: Flask) -> None:
    alice = make_alice()
    mail_id = queued(account_id=alice.id)
    holding.hold_all()
    assert administration.belongings(alice.id).waiting_mails == 1
    administration.delete(alice.id)
    holding.release_all()
    assert (row_of(mail_id).state, row_of(mail_id).reason) == (State.HELD, Reason.ACCOUNT_DELETED)


def test_held_mail_is_never_purged_and_keeps_its_key_in_use(app: Flask) -> None:
    mail_id = held(days_ago=400)
    attempted(mail_id, days_ago=400)
    log.purge(timedelta(0))
    assert row_of(mail_id).content
    assert sum(use.mails for use in key_rotation.status().keys) == 1


def test_all_held_mail_is_cancelled_for_good(either: Flask) -> None:
    mail_ids = [held(), held()]
    waiting = queued()
    assert holding.cancel_all() == 2
    assert {(row_of(each).state, row_of(each).content) for each in mail_ids} == {(State.CANCELLED, None)}
    assert row_of(waiting).state == State.QUEUED


def test_of_mails_of_which_one_is_not_held_none_is_released(app: Flask) -> None:
    mail_id = held()
    for stranger in (queued(), in_state(State.SENT), "0" * 32, "x", ""):
        with pytest.raises(Conflict, match="is not a held email"):
            holding.release([mail_id, stranger])
    assert row_of(mail_id).state == State.HELD


@pytest.mark.parametrize("life", [HOUR, -HOUR])
def test_to_send_a_held_mail_again_releases_it_for_its_own_time_unless_its_time_is_over(
    either: Flask, life: timedelta
) -> None:
    later = clock.now() + HOUR
    mail_id = held(due_at=later, expires_at=clock.now() + life)
    row = promise.retry(mail_id)
    assert row.state == (State.QUEUED if life > timedelta(0) else State.EXPIRED)
    assert row.due_at == later


def test_a_single_held_mail_is_cancelled_as_any_that_waits(either: Flask) -> None:
    assert {promise.cancel(in_state(state)).state for state in UNSENT} == {State.CANCELLED}


def test_it_is_counted_and_found_by_its_state(either: Flask) -> None:
    mail_id, _ = held(), queued()
    assert log.counts() == {State.QUEUED: 1, State.HELD: 1}
    assert [each.id for each in log.mails([State.HELD])[0]] == [mail_id]
    assert len(log.mails([State.HELD, State.QUEUED])[0]) == 2
    with reading() as session:
        assert outbox_turn_db.oldest_due(session, clock.now() - HOUR) is None


def test_held_mail_is_neither_late_nor_unattended(app: Flask) -> None:
    held(due_at=clock.now() - HOUR, days_ago=2)
    assert not log.is_behind()
    assert not log.is_unattended()


def test_the_commands_hold_list_release_and_cancel(app: Flask) -> None:
    first, second = queued("a@example.com"), queued("b@example.com")
    assert run(app, "hold", "--all").stdout.startswith("2 emails held. To send held email: flask mail release")
    status = run(app, "status")
    assert (status.exit_code, "No email is late." in status.stdout) == (0, False)
    assert "2 emails are held since a back-up was restored." in status.stdout
    assert "held          2" in status.stdout
    assert json.loads(run(app, "status", "--json").stdout)["held"] == 2
    assert len(json.loads(run(app, "list", "--state", "held", "--json").stdout)) == 2
    assert run(app, "release", first).stdout == "1 email released.\n"
    assert json.loads(run(app, "cancel", "--held", "--json").stdout) == {"cancelled": 1}
    assert [row_of(each).state for each in (first, second)] == [State.QUEUED, State.CANCELLED]
    assert json.loads(run(app, "hold", "--all", "--json").stdout) == {"held": 1, "being_sent": 0}
    assert json.loads(run(app, "release", "--all", "--json").stdout) == {"released": 1, "expired": 0}


def test_the_command_tells_what_expired_and_what_a_worker_still_has(app: Flask) -> None:
    held(expires_at=clock.now() - HOUR)
    assert run(app, "release", "--all").stdout == "0 emails released.\n1 email expired: it was too late to send.\n"
    in_state(State.TRANSMITTING, lease_until=clock.now() + HOUR)
    assert "1 email being sent now. Stop every worker" in run(app, "hold", "--all").stdout


@pytest.mark.parametrize("words", ["hold", "release", "release --all x", "cancel", "cancel --held x"])
def test_what_is_meant_has_to_be_said(app: Flask, words: str) -> None:
    assert run(app, *words.split()).exit_code == 2


def test_what_is_not_held_cannot_be_released(app: Flask) -> None:
    result = run(app, "release", in_state(State.SENT))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_readiness_and_validation_tell_of_it_and_turn_nobody_away(
    app: Flask, client: Visitor, bearer: dict[str, str]
) -> None:
    held()
    answer = client.get("/readyz", headers=bearer)
    assert answer.status_code == 200
    assert "1 email is held since a back-up was restored." in answer.get_json()["checks"]["queue"]["detail"]
    assert "1 email held" in app.test_cli_runner().invoke(args=["smtp", "validate"]).output


def test_readiness_tells_of_it_beside_what_else_is_to_be_told(
    app: Flask, client: Visitor, bearer: dict[str, str]
) -> None:
    held()
    in_state(State.QUEUED, due_at=clock.now() - HOUR)
    queue = client.get("/readyz", headers=bearer).get_json()["checks"]["queue"]
    assert not queue["ok"]
    assert queue["detail"].startswith("Email is more than 15 minutes late.")
    assert "1 email is held" in queue["detail"]


def test_the_page_tells_of_it_filters_by_it_and_releases_it(admin: Visitor) -> None:
    mail_id = held("jane@example.com")
    page = admin.get("/emails?state=held").text
    assert "1 email is held since a back-up was restored." in page
    assert mail_id in page
    message = admin.get(f"/emails/{mail_id}").text
    for words in ("Held", Reason.HELD.text, "If you release it, it will be sent", ">Release</a>", "Cancel this email"):
        assert words in message
    assert "Release this email?" in admin.get(f"/emails/{mail_id}/retry").text
    admin.post_form(f"/emails/{mail_id}/retry", {})
    assert row_of(mail_id).state == State.QUEUED


def test_the_page_says_that_a_mail_whose_time_is_over_is_not_sent(admin: Visitor) -> None:
    mail_id = held(expires_at=clock.now() - HOUR)
    assert "Sealpost stops trying" in admin.get(f"/emails/{mail_id}").text
    admin.post_form(f"/emails/{mail_id}/retry", {})
    assert "it had expired" in admin.get(f"/emails/{mail_id}").text
    assert row_of(mail_id).state == State.EXPIRED


def test_the_api_lists_releases_and_cancels_it_and_documents_the_state(client: Visitor, bearer: dict[str, str]) -> None:
    first, second = held(), held()
    listed = client.get("/api/messages?state=held", headers=bearer).get_json()["data"]
    assert {(each["id"], each["state"]) for each in listed} == {(first, "held"), (second, "held")}
    released = client.post(f"/api/messages/{first}/retry", headers=bearer).get_json()["data"]
    assert released["state"] == "queued"
    cancelled = client.post(f"/api/messages/{second}/cancel", headers=bearer).get_json()["data"]
    assert cancelled["state"] == "cancelled"
    assert '"held"' in client.get("/api/openapi.json", headers=bearer).text


def test_the_trail_has_who_held_and_released(app: Flask) -> None:
    queued()
    for words in (["hold", "--all"], ["release", "--all"], ["hold", "--all"], ["cancel", "--held"]):
        run(app, *words)
    with reading() as session:
        found = session.execute(text("SELECT action, subject FROM audit_event ORDER BY id")).all()
    assert [tuple(row) for row in found] == [
        ("mail_held", "1 mail"),
        ("mail_released", "1 mail"),
        ("mail_held", "1 mail"),
        ("mail_cancelled", "1 held email"),
    ]


def test_the_migration_back_withdraws_what_code_before_it_does_not_know(either: Flask) -> None:
    mail_id = held()
    downgrade(revision="0010")
    with reading() as session:  # whose columns are fewer there
        states = session.scalars(select(OutboxMail.state).where(OutboxMail.mail_id == mail_id)).all()
    assert states == [State.CANCELLED]
    upgrade()
