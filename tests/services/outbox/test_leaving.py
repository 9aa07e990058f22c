"""Queued mail of an account that is disabled or deleted is held with the reason, and goes by no other server."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select, text

from app import create_app
from database import outbox_db
from database.engine import db, driver_transaction, reading, transaction
from database.outbox_claim_db import settle
from database.outbox_db import Priority, State
from database.policy_db import PersonalPolicy
from database.smtp_db import SmtpConfig
from services import email_service
from services.accounts import administration
from services.outbox import holding, log, promise
from services.outbox.holding import Released
from services.outbox.reasons import Reason
from services.personal import own_server
from services.settings import key_rotation, own_rows, route, sealing
from services.settings.fields import parse_change
from services.settings.row import ACCOUNT_DISABLED
from services.worker import groups, settling
from services.worker.lease import Pace
from tests import postgresql_server
from tests.conftest import APP_KEY
from tests.mails import change
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, decide, free_host
from tests.own_servers import change as change_row
from tests.own_servers import row_of as server_of
from tests.recording_server import RecordingServer
from tests.scripted_server import Connection, ScriptedServer, close
from tests.turned_clock import Now
from tests.visitors import mail_through, make_alice, make_bob, visit
from utils import clock
from utils.errors import Conflict

TO = "reader@example.net"
DAY = 24 * 60 * 60


@pytest.fixture(scope="module")
def shared() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture(scope="module")
def own() -> Iterator[RecordingServer]:
    with RecordingServer(host=free_host(), port=PORT, users={"bob": "b0bs"}) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_mails(shared: RecordingServer, own: RecordingServer) -> None:
    shared.mails.clear()
    own.mails.clear()


@pytest.fixture
def environment(environment: dict[str, str], shared: RecordingServer) -> dict[str, str]:
    return {**environment, **mail_through(shared), **PLACES, "SMTP_ALLOW_PLAINTEXT_LOGIN": "true"}


@pytest.fixture
def now(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    monkeypatch.setattr(clock, "now", turned)
    return turned


@pytest.fixture
def bob(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


def queue(account_id: int | None) -> str:
    return email_service.queue_email(TO, "s", "b", account_id=account_id)


def told(mail_id: str) -> tuple[str, str]:
    row = row_of(mail_id)
    return row.state, row.reason


def test_queued_mail_of_a_disabled_account_is_held_and_goes_on_when_it_is_enabled(
    bob: int, shared: RecordingServer
) -> None:
    mail_id, others = queue(bob), queue(None)
    administration.disable(bob)
    assert told(mail_id) == ("held", Reason.ACCOUNT_DISABLED)
    drain()
    assert told(others)[0] == "sent"
    assert len(shared.mails) == 1
    administration.enable(bob)
    drain()
    assert told(mail_id)[0] == "sent"


@pytest.mark.parametrize("leave", [administration.disable, administration.delete])
def test_mail_that_a_worker_has_taken_already_is_held_as_well(bob: int, shared: RecordingServer, leave: object) -> None:
    mail_id, others = queue(bob), queue(None)
    systems, group = groups.claim_group("test", Pace()), groups.claim_group("test", Pace())
    assert systems
    assert group
    assert [each.mail_id for each in group.claims] == [mail_id]
    assert callable(leave)
    leave(bob)
    groups.work_off(group, Pace())
    groups.work_off(systems, Pace())
    assert told(mail_id)[0] == "held"
    assert (told(others)[0], len(shared.mails)) == ("sent", 1)


def test_what_is_queued_while_nobody_looks_is_held_when_it_is_to_be_sent(bob: int, shared: RecordingServer) -> None:
    mails = [queue(bob) for _ in range(3)]
    decide(bob, disabled_at=clock.now())  # as it is just after another process has read that it is enabled
    drain()
    assert [told(each) for each in mails] == [("held", Reason.ACCOUNT_DISABLED)] * 3
    assert shared.mails == []
    assert row_of(mails[0]).attempts == 0
    with pytest.raises(Conflict, match="is disabled"):  # an administrator's click is no way around it
        promise.retry(mails[0])
    assert not log.story(mails[0]).can_retry
    assert holding.count() == 0
    assert holding.release_all() == Released(released=0, expired=0)
    assert holding.cancel_all() == 0
    drain()
    assert [told(each)[0] for each in mails] == ["held"] * 3
    administration.enable(bob)
    drain()
    assert [told(each)[0] for each in mails] == ["sent"] * 3


def test_mail_that_is_held_for_another_reason_stays_so(bob: int) -> None:
    mail_id = queue(bob)
    holding.hold_all()
    administration.disable(bob)
    administration.enable(bob)
    assert told(mail_id) == ("held", Reason.HELD)


def test_after_a_restore_mail_that_was_held_for_its_account_waits_for_a_release_as_well(
    bob: int, shared: RecordingServer
) -> None:
    """It may have been sent since the back-up, while the account was enabled."""
    mail_id = queue(bob)
    administration.disable(bob)
    with transaction() as session:
        assert holding.hold_restored(session) == 1
    administration.enable(bob)
    drain()
    assert told(mail_id) == ("held", Reason.HELD)
    administration.disable(bob)
    assert holding.release_all() == Released(released=1, expired=0)
    drain()
    assert told(mail_id) == ("held", Reason.ACCOUNT_DISABLED)
    administration.enable(bob)
    drain()
    assert (told(mail_id)[0], len(shared.mails)) == ("sent", 1)


def test_mail_whose_time_is_over_when_the_account_is_enabled_ends(bob: int, shared: RecordingServer, now: Now) -> None:
    soon = clock.now() + timedelta(minutes=5)
    mail_id = email_service.queue_email(TO, "s", "b", account_id=bob, expires_at=soon)
    administration.disable(bob)
    now.turn(3600)
    administration.enable(bob)
    drain()
    assert told(mail_id) == ("expired", Reason.TOO_LATE)
    assert shared.mails == []


def test_disabling_erases_the_password_of_the_accounts_server_and_mail_does_not_fall_back(
    bob: int, shared: RecordingServer, own: RecordingServer
) -> None:
    config_id = bring(bob, own.host, own.port, login=("bob", "b0bs"))
    queue(bob)
    drain()
    assert len(own.mails) == 1
    mail_id = queue(bob)
    administration.disable(bob)
    row = server_of(config_id)
    assert (row.smtp_password, row.client_key, row.is_active) == ("", "", False)
    assert row.inactive_reason == ACCOUNT_DISABLED
    administration.enable(bob)
    drain()
    assert told(mail_id) == ("deferred", Reason.NO_OWN_SERVER)
    assert next(route.steps(bob)).reason == own_rows.INACTIVE[ACCOUNT_DISABLED]
    assert (len(own.mails), shared.mails) == (1, [])


@pytest.mark.parametrize("values", [{"from_name": "Mallory"}, {"key_id": "lost"}, {"smtp_password": "gAAAAA"}])
def test_a_server_that_cannot_be_read_is_erased_as_well_and_no_key_is_asked_for_it(
    bob: int, own: RecordingServer, values: dict[str, str]
) -> None:
    config_id = bring(bob, own.host, own.port, login=("bob", "b0bs"))
    change_row(config_id, **values)
    assert [refusal.row.id for refusal in key_rotation.status().refused] == [config_id]
    administration.disable(bob)
    status = key_rotation.status()
    assert status.is_well
    assert sum(use.rows for use in status.keys) == 0
    administration.enable(bob)
    stored = sealing.unsealed(server_of(config_id))
    assert (stored.is_usable, stored.needs_reentry, stored.problem) == (False, True, sealing.ERASED)
    whole = {
        "smtp_server": own.host,
        "smtp_port": PORT,
        "use_tls": True,
        "smtp_username": "bob",
        "smtp_password": "new",
    }
    assert own_server.save(bob, parse_change({**whole, "from_name": "Bob"})).is_usable
    assert key_rotation.status().is_well


def test_a_deleted_accounts_mail_is_held_for_good_and_ends_when_its_time_is_over(
    bob: int, shared: RecordingServer, own: RecordingServer, now: Now
) -> None:
    bring(bob, own.host, own.port)
    mails = [queue(bob) for _ in range(3)]
    administration.disable(bob)
    administration.delete(bob)
    assert [told(each) for each in mails] == [("held", Reason.ACCOUNT_DELETED)] * 3
    with reading() as session:
        assert session.scalars(select(SmtpConfig)).all() == []
    with pytest.raises(Conflict, match="was deleted"):
        promise.retry(mails[0])
    holding.release_all()
    drain()
    assert [told(each) for each in mails] == [("held", Reason.ACCOUNT_DELETED)] * 3
    assert (shared.mails, own.mails) == ([], [])
    now.turn(4 * DAY)
    log.tidy()
    assert [told(each) for each in mails] == [("expired", Reason.ACCOUNT_DELETED)] * 3
    assert row_of(mails[0]).content is None
    now.turn(400 * DAY)
    log.tidy()
    with reading() as session:
        assert outbox_db.find(session, mails[0]) is None


def test_a_server_that_has_no_secret_serves_again_when_its_account_is_enabled(
    bob: int, shared: RecordingServer
) -> None:
    with RecordingServer(host=free_host(), port=PORT) as own:
        bring(bob, own.host, own.port)
        mail_id = queue(bob)
        administration.disable(bob)
        administration.enable(bob)
        drain()
        assert (told(mail_id)[0], len(own.mails), shared.mails) == ("sent", 1, [])


def test_its_page_offers_no_release(app: Flask, bob: int) -> None:
    mail_id = queue(bob)
    administration.disable(bob)
    visitor = visit(app)
    visitor.sign_in()
    page = visitor.get(f"/emails/{mail_id}").text
    assert "Its account is disabled." in page
    assert "cannot be released before" in page
    assert f"/emails/{mail_id}/retry" not in page
    refused = visitor.post_form(f"/emails/{mail_id}/retry")
    assert "Enable the account first." in (visitor.get(refused.location).text if refused.location else refused.text)
    assert told(mail_id)[0] == "held"


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql_server.running() as url:
        variables = {"APP_KEY": APP_KEY, "APP_ENV": "development", "DATABASE_URL": url}
        with create_app(variables, instance_path=tmp_path_factory.mktemp("instance")).app_context():
            upgrade()
            db.engine.dispose()
        yield url


def test_on_postgresql_an_account_sends_breaks_is_told_leaves_and_comes_back_as_well(
    postgresql: str, environment: dict[str, str], tmp_path: Path, shared: RecordingServer
) -> None:
    with create_app({**environment, "DATABASE_URL": postgresql}, instance_path=tmp_path).app_context():
        make_alice(is_admin=True)
        bob = make_bob().id
        config_id = bring(bob, free_host(), PORT)
        assert email_service.send_email(TO, "s", "b", account_id=bob)
        assert server_of(config_id).broken_told_at
        host = server_of(config_id).smtp_server
        with RecordingServer(host=host, port=PORT) as own:
            assert email_service.send_email(TO, "s", "b", account_id=bob)
            assert len(own.mails) == 1
        row = server_of(config_id)
        assert (row.broken_told_at, row.fell_back) == (None, 1)
        mail_id, taken = queue(bob), queue(bob)
        group = groups.claim_group("test", Pace(), [Priority.NORMAL])
        assert group
        administration.disable(bob)
        groups.work_off(group, Pace())
        assert [told(each) for each in (mail_id, taken)] == [("held", Reason.ACCOUNT_DISABLED)] * 2
        administration.enable(bob)
        drain()
        assert [told(each)[0] for each in (mail_id, taken)] == ["sent"] * 2
        assert server_of(config_id).fell_back == 3
        mail_id = queue(bob)
        decide(bob, disabled_at=clock.now())
        drain()
        assert told(mail_id) == ("held", Reason.ACCOUNT_DISABLED)
        administration.delete(bob)
        assert told(mail_id) == ("held", Reason.ACCOUNT_DELETED)
        with pytest.raises(ValueError, match="No such account"):
            queue(bob)
        db.engine.dispose()


def test_an_account_that_leaves_while_its_mail_is_on_the_way_gets_no_mail_sent_twice(
    app: Flask, bob: int, shared: RecordingServer
) -> None:
    """Its server fails before the mail is handed over, and by then nothing may be sent for it."""

    def leaves(connection: Connection) -> None:
        with app.app_context():
            decide(bob, disabled_at=clock.now())
        connection.send(b"421 4.3.2 shutting down\r\n")

    host = free_host()
    with ScriptedServer({"EHLO": "250 plain.test", "MAIL": (leaves, close)}, host=host, port=PORT):
        config_id = bring(bob, host, PORT)
        mail_id = queue(bob)
        with transaction() as session:
            session.add(PersonalPolicy(id=1, fallback="connection", updated_at=clock.now()))
        drain()
    assert told(mail_id)[0] == "deferred"
    assert server_of(config_id).fell_back == 0
    change_waiting(mail_id)
    drain()
    assert told(mail_id) == ("held", Reason.ACCOUNT_DISABLED)
    assert shared.mails == []


@pytest.mark.parametrize("leave", [administration.disable, administration.delete])
def test_what_a_late_worker_still_tells_of_a_mail_that_left_with_its_account_counts_if_it_is_final(
    bob: int, leave: Callable[[int], object]
) -> None:
    """Else it would be sent twice, once the account is enabled again."""
    mail_id = queue(bob)
    group = groups.claim_group("test", Pace())
    assert group
    change(mail_id, state=State.TRANSMITTING, pinned_to="env", lease_until=clock.now() - timedelta(hours=1))
    groups.sweep(Pace())
    assert told(mail_id)[0] == "uncertain"
    leave(bob)
    (claim,) = group.claims
    with driver_transaction() as driver:
        settle(driver, [settling.snoozed(claim, clock.now(), Reason.PAUSED)])
    assert told(mail_id)[0] == "held"
    with driver_transaction() as driver:
        settle(driver, [settling.dead(claim, clock.now(), Reason.NO_RECIPIENT)])
    assert told(mail_id)[0] == "failed"


def change_waiting(mail_id: str) -> None:
    """Let it be due now."""
    with transaction() as session:
        assert outbox_db.change_waiting(session, mail_id, due_at=clock.now())
        session.execute(text("DELETE FROM outbox_rest"))
