"""What becomes of queued mails: states and reasons, one result for each recipient, sealed content, leases, receipts."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database import attempt_db
from database.engine import reading, transaction
from database.outbox_claim_db import GROUP
from database.outbox_db import OutboxMail, Priority, State
from services.outbox.reasons import Reason, words
from services.settings import configs
from services.settings.fields import parse_change
from services.worker import groups as outbox_work
from services.worker import lease
from services.worker.lease import Pace
from tests.conftest import APP_KEY
from tests.mails import change, in_state, queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, Connection, ScriptedServer, close, late
from tests.visitors import mail_through
from utils import clock

ANN, BOB = "ann@example.com", "bob@example.com"
AT_ONCE = Pace(cool_down=timedelta(0))


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def scripted(servers: ExitStack, **script: Answer | list[Answer]) -> ScriptedServer:
    """A server with this script, that the active configuration names."""
    server = servers.enter_context(ScriptedServer(script))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
    return server


def found(mail_id: str) -> OutboxMail:
    return row_of(mail_id)


def states(row: OutboxMail) -> list[str]:
    """Of its recipients."""
    return [recipient["state"] for recipient in row.recipients]


def make_due(mail_id: str) -> None:
    change(mail_id, due_at=clock.now())


def minutes_until_due(row: OutboxMail) -> float:
    return (row.due_at - clock.now()).total_seconds() / 60


def test_a_mail_that_the_server_took_is_sent_and_its_content_is_gone(servers: ExitStack) -> None:
    server = scripted(servers)
    mail_id = queued(ANN)
    drain()
    row = found(mail_id)
    assert (row.state, row.content, row.reason, row.attempts) == (State.SENT, None, "", 1)
    assert (row.pinned_to, row.lease_token, row.lease_until, row.leased_by) == (None, None, None, None)
    assert row.settled_at
    assert row.recipients == [{"address": ANN, "state": "accepted", "code": 250, "enhanced": "2.0.0"}]
    assert len(server.messages) == 1
    with reading() as session:
        (attempt,) = attempt_db.of_mail(session, mail_id)
    assert (attempt.outcome, attempt.worker) == ("accepted", "test")


@pytest.mark.parametrize(
    ("script", "state", "reason", "attempts"),
    [
        ({"RCPT": "550 5.1.1 nobody"}, State.FAILED, Reason.NO_RECIPIENT, 1),
        ({"MESSAGE": "554 5.7.1 spam"}, State.FAILED, Reason.CONTENT_REFUSED, 1),
        ({"RCPT": "450 4.2.0 greylisted"}, State.DEFERRED, Reason.GREYLISTED, 1),
        ({"MESSAGE": "451 4.3.0 later"}, State.DEFERRED, Reason.MESSAGE_LATER, 1),
        ({"MAIL": "421 4.3.2 closing"}, State.DEFERRED, Reason.DOWN, 0),
        ({"GREETING": "421 4.3.2 closing"}, State.DEFERRED, Reason.GREETING, 0),
        ({"MESSAGE": close}, State.UNCERTAIN, Reason.NOT_CONFIRMED, 1),
    ],
)
def test_each_answer_has_its_state_its_reason_and_its_charge(
    servers: ExitStack, script: dict[str, Any], state: State, reason: Reason, attempts: int
) -> None:
    scripted(servers, **script)
    mail_id = queued(ANN)
    drain()
    row = found(mail_id)
    assert (row.state, row.reason, row.attempts) == (state, reason, attempts)
    assert row.content
    assert (row.pinned_to is not None) == (state is State.UNCERTAIN)


def test_the_back_off_grows_with_each_charged_attempt(servers: ExitStack) -> None:
    scripted(servers, MESSAGE="451 4.3.0 later")
    mail_id = queued(ANN)
    waits = []
    for _ in range(3):
        make_due(mail_id)
        drain()
        waits.append(minutes_until_due(found(mail_id)))
    for wait, minutes in zip(waits, (1, 5, 15), strict=True):
        assert minutes * 0.79 < wait < minutes * 1.21


def test_without_a_usable_server_a_mail_waits_uncharged(app: Flask) -> None:
    mail_id = queued(ANN)
    drain()
    row = found(mail_id)
    assert (row.state, row.reason, row.attempts) == (State.DEFERRED, Reason.NO_SERVER, 0)


def test_each_recipient_has_a_result_of_its_own(servers: ExitStack) -> None:
    scripted(servers, RCPT=["250 2.1.5 ok", "550 5.1.1 nobody"])
    mail_id = queued(ANN, BOB)
    drain()
    row = found(mail_id)
    assert (row.state, row.reason, row.content) == (State.SENT, Reason.SOME_REFUSED, None)
    assert states(row) == ["accepted", "refused"]
    assert row.recipients[1]["code"] == 550


def test_only_those_who_were_deferred_are_tried_again(servers: ExitStack) -> None:
    server = scripted(servers, RCPT=["250 2.1.5 ok", "450 4.2.0 greylisted", "250 2.1.5 ok"])
    mail_id = queued(ANN, BOB)
    drain()
    assert (found(mail_id).state, states(found(mail_id))) == (State.DEFERRED, ["accepted", "deferred"])
    make_due(mail_id)
    drain()
    assert (found(mail_id).state, states(found(mail_id))) == (State.SENT, ["accepted", "accepted"])
    asked = [command for command in server.commands if command.startswith("RCPT")]
    assert [ANN in command for command in asked] == [True, False, False]


def test_a_mail_whose_time_is_over_is_expired_and_kept(app: Flask) -> None:
    mail_id = queued(ANN)
    change(mail_id, expires_at=clock.now())
    outbox_work.sweep(Pace())
    row = found(mail_id)
    assert (row.state, row.reason) == (State.EXPIRED, Reason.TOO_LATE)
    assert row.content


def test_a_dead_letter_is_kept_but_that_of_security_mail_without_content(servers: ExitStack) -> None:
    scripted(servers, RCPT="550 5.1.1 nobody")
    usual, link = queued(ANN), queued(ANN, priority=Priority.SECURITY)
    late = queued(ANN, priority=Priority.SECURITY)
    change(late, expires_at=clock.now(), due_at=clock.now() + timedelta(hours=1))
    drain()
    outbox_work.sweep(Pace())
    assert [found(mail_id).state for mail_id in (usual, link, late)] == [State.FAILED, State.FAILED, State.EXPIRED]
    assert [found(mail_id).content is None for mail_id in (usual, link, late)] == [False, True, True]


def test_a_mail_of_unknown_fate_is_tried_three_times_and_never_elsewhere(servers: ExitStack) -> None:
    server = scripted(servers, MESSAGE=close)
    mail_id = queued(ANN)
    drain(AT_ONCE)
    row = found(mail_id)
    assert (row.state, row.uncertain) == (State.FAILED, 3)
    assert row.reason == Reason.UNKNOWN_FATE
    assert len(server.messages) == 3
    assert len(set(server.messages)) == 1  # with the same Message-ID


def test_mail_goes_on_to_the_next_server_when_one_is_down(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack
) -> None:
    with RecordingServer() as backup:
        other = create_app(environment | mail_through(backup), instance_path=tmp_path)
        with other.app_context():
            scripted(servers, GREETING="421 4.3.2 closing")
            mail_ids = [queued(ANN) for _ in range(3)]
            drain()
            assert {found(mail_id).state for mail_id in mail_ids} == {State.SENT}
            assert len(backup.mails) == 3


@pytest.mark.parametrize(
    "alter",
    [
        'UPDATE email_outbox SET recipients = \'[{"address": "mallory@example.net", "state": "pending"}]\'',
        "UPDATE email_outbox SET content = (SELECT content FROM email_outbox ORDER BY id DESC LIMIT 1)",
        "UPDATE email_outbox SET content = x'00'",
    ],
    ids=["recipients", "content of another row", "content"],
)
def test_a_row_that_was_altered_behind_our_back_is_not_sent_and_the_security_log_has_it(
    servers: ExitStack, alter: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = scripted(servers)
    mail_id, _ = queued(ANN), queued(BOB)
    with transaction() as session:
        session.execute(text(f"{alter} WHERE mail_id = '{mail_id}'"))
    drain()
    row = found(mail_id)
    assert (row.state, row.reason) == (State.FAILED, Reason.ALTERED)
    assert [record.name for record in caplog.records if "outbox_row_altered" in str(record.msg)] == ["security"]
    assert not [command for command in server.commands if "mallory" in command or ANN in command]


def test_a_mail_whose_key_is_lost_waits_uncharged_and_goes_when_it_is_back(
    environment: dict[str, str], tmp_path: Path, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    mail_id, _ = queued(ANN), queued(BOB)
    with RecordingServer() as server:
        keys = {"APP_KEY": APP_KEY[::-1]} | mail_through(server)
        with create_app(environment | keys, instance_path=tmp_path).app_context():
            drain()
        row = found(mail_id)
        assert (row.state, row.reason, row.attempts) == (State.DEFERRED, Reason.NO_KEY, 0)
        told = [record.msg for record in caplog.records if "outbox_key_missing" in str(record.msg)]
        assert [(each["key_id"], each["mails"]) for each in told if isinstance(each, dict)] == [(row.key_id, 2)]
        make_due(mail_id)
        keys["APP_KEY_PREVIOUS"] = APP_KEY
        with create_app(environment | keys, instance_path=tmp_path).app_context():
            drain()
        assert found(mail_id).state == State.SENT
        assert len(server.mails) == 1


def test_a_result_that_the_database_does_not_take_is_kept_and_replayed_and_nothing_is_sent_twice(
    servers: ExitStack, tmp_path: Path
) -> None:
    server = scripted(servers)
    mail_id = queued(ANN)
    with transaction() as session:
        session.execute(text("ALTER TABLE email_attempt RENAME TO away"))
    drain()
    assert found(mail_id).state == State.TRANSMITTING
    (receipt,) = (tmp_path / "receipts").glob("*.json")
    assert receipt.stat().st_mode & 0o077 == 0
    with transaction() as session:
        session.execute(text("ALTER TABLE away RENAME TO email_attempt"))
    outbox_work.sweep(Pace())
    assert found(mail_id).state == State.SENT
    drain()
    assert len(server.messages) == 1
    assert list((tmp_path / "receipts").iterdir()) == []


def test_an_unreadable_receipt_is_put_aside_and_the_others_are_replayed(servers: ExitStack, tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    folder.mkdir()
    (folder / "0.json").write_text("{")
    scripted(servers)
    mail_id = queued(ANN)
    with transaction() as session:
        session.execute(text("ALTER TABLE email_attempt RENAME TO away"))
    drain()
    with transaction() as session:
        session.execute(text("ALTER TABLE away RENAME TO email_attempt"))
    outbox_work.sweep(Pace())
    assert [file.name for file in folder.iterdir()] == ["0.unreadable"]
    assert found(mail_id).state == State.SENT


def test_a_group_that_was_not_begun_is_given_back_uncharged(app: Flask) -> None:
    mail_id = queued(ANN)
    group = outbox_work.claim_group("test", Pace())
    assert group
    assert (found(mail_id).state, found(mail_id).attempts) == (State.LEASED, 1)
    lease.give_back(group)
    assert (found(mail_id).state, found(mail_id).attempts) == (State.DEFERRED, 0)


def test_the_reserved_sender_takes_security_mail_only_and_that_one_by_one(app: Flask) -> None:
    queued(ANN)
    assert outbox_work.claim_group("test", Pace(), [Priority.SECURITY]) is None
    urgent = [queued(ANN, priority=Priority.SECURITY) for _ in range(2)]
    groups = [outbox_work.claim_group("test", Pace(), [Priority.SECURITY]) for _ in range(3)]
    taken = [[claim.mail_id for claim in group.claims] if group else [] for group in groups]
    assert taken == [[urgent[0]], [urgent[1]], []]


def test_the_oldest_of_many_go_first_eight_at_a_time(app: Flask) -> None:
    mail_ids = [queued(ANN) for _ in range(10)]
    sizes = []
    order: list[str] = []
    while group := outbox_work.claim_group("test", Pace()):
        sizes.append(len(group.claims))
        order += [claim.mail_id for claim in group.claims]
    assert sizes == [8, 2]
    assert order == mail_ids


def test_what_a_dead_worker_had_claimed_is_due_again_when_its_lease_is_over(app: Flask) -> None:
    mail_id = in_state(State.LEASED, lease_until=clock.now() - timedelta(seconds=1), lease_token="t", attempts=1)
    outbox_work.sweep(Pace())
    assert found(mail_id).state == State.DEFERRED
    assert outbox_work.claim_group("test", Pace())


def test_while_it_is_still_connecting_nothing_is_marked_as_on_its_way(app: Flask, servers: ExitStack) -> None:
    seen: list[str] = []

    def look(connection: Connection) -> None:
        with app.app_context():
            seen.append(found(mail_id).state)

    scripted(servers, EHLO=(look, "250-scripted.test\n250 8BITMIME"), RCPT=(look, "250 ok"))
    mail_id = queued(ANN)
    drain()
    assert seen == [State.LEASED, State.TRANSMITTING]


def test_the_log_tells_of_a_try_whose_worker_died(app: Flask) -> None:
    past = clock.now() - timedelta(seconds=1)
    held: dict[str, Any] = {
        "lease_until": past,
        "lease_token": "t",
        "leased_by": "host:1:ab",
        "pinned_to": "env",
        "attempts": 1,
    }
    mail_id = in_state(State.TRANSMITTING, **held)
    outbox_work.sweep(Pace())
    with reading() as session:
        (attempt,) = attempt_db.of_mail(session, mail_id)
    assert (attempt.outcome, attempt.worker, attempt.server) == ("unknown", "host:1:ab", "env")
    assert attempt.reply == words(Reason.LOST_WORKER)


def test_the_next_group_is_claimed_along_with_the_results_of_the_last(servers: ExitStack) -> None:
    scripted(servers)
    queued(ANN)
    drain()  # that the server works is written down first, and the next group does not wait for that
    mail_ids = [queued(ANN) for _ in range(GROUP + 1)]
    group = outbox_work.claim_group("test", Pace())
    assert group
    turn = outbox_work.work_off(group, Pace(), lambda: Priority)
    assert turn.next_group
    assert [claim.mail_id for claim in turn.next_group.claims] == mail_ids[GROUP:]
    assert turn.next_group.token != group.token
    assert outbox_work.work_off(turn.next_group, Pace(), lambda: Priority).next_group is None
    assert {found(mail_id).state for mail_id in mail_ids} == {State.SENT}


def test_while_no_mail_can_go_no_other_is_claimed_along(app: Flask) -> None:
    mail_ids = [queued(ANN) for _ in range(GROUP + 1)]
    group = outbox_work.claim_group("test", Pace())
    assert group
    turn = outbox_work.work_off(group, Pace(), lambda: Priority)
    assert (turn.is_stuck, turn.next_group) == (True, None)
    assert found(mail_ids[-1]).state == State.QUEUED


def test_after_a_refusal_no_other_mail_is_claimed_along(servers: ExitStack) -> None:
    scripted(servers, RCPT=["550 5.1.1 unknown", "250 2.1.5 ok"])
    mail_ids = [queued(ANN) for _ in range(GROUP + 1)]
    group = outbox_work.claim_group("test", Pace())
    assert group
    assert outbox_work.work_off(group, Pace(), lambda: Priority).next_group is None
    assert [found(mail_id).state for mail_id in mail_ids] == [State.FAILED, *[State.SENT] * (GROUP - 1), State.QUEUED]


def test_a_claim_that_fails_does_not_take_the_results_before_it_along(servers: ExitStack) -> None:
    scripted(servers)
    mail_id = queued(ANN)
    group = outbox_work.claim_group("test", Pace())
    assert group
    queued(ANN)
    with transaction() as session:
        session.execute(
            text(
                "CREATE TRIGGER no_claims BEFORE UPDATE ON email_outbox WHEN NEW.state = 'leased'"
                " BEGIN SELECT RAISE(ABORT, 'not now'); END"
            )
        )
    assert outbox_work.work_off(group, Pace(), lambda: Priority).next_group is None
    assert found(mail_id).state == State.SENT


def test_what_can_be_written_nowhere_at_first_is_written_at_the_end_and_the_others_go_on(
    app: Flask, servers: ExitStack, tmp_path: Path
) -> None:
    def away(_connection: Connection) -> None:
        with app.app_context(), transaction() as session:
            session.execute(text("ALTER TABLE email_attempt RENAME TO away"))
        (tmp_path / "receipts").touch()  # where a folder should be

    def back(_connection: Connection) -> None:
        with app.app_context(), transaction() as session:
            session.execute(text("ALTER TABLE away RENAME TO email_attempt"))

    answers: list[Answer] = [(away, late("250 2.0.0 ok", 0.2)), (back, "250 2.0.0 ok"), "250 2.0.0 ok"]
    server = scripted(servers, MESSAGE=answers)
    mail_ids = [queued(ANN) for _ in range(3)]
    drain()
    assert len(server.messages) == 3
    assert [found(mail_id).state for mail_id in mail_ids] == [State.SENT] * 3
