"""A queued mail is promised: in the caller's transaction, once for each key, sealed; it can be withdrawn and resent."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from database.engine import reading, transaction
from database.outbox_db import OutboxMail, State
from services.email_service import queue_email
from services.message.draft import Attachment
from services.outbox import log, promise
from services.outbox.reasons import Reason
from tests.mails import change, in_state
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.visitors import mail_through, make_alice, make_bob, subject_of
from utils import clock
from utils.errors import Conflict, NotFound

pytestmark = pytest.mark.usefixtures("app")

ANN, BOB = "ann@example.com", "bob@example.com"
SECRET = "The s3cret of the mail"


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


def mails() -> list[OutboxMail]:
    with reading() as session:
        return list(session.scalars(select(OutboxMail).order_by(OutboxMail.id)))


def hours(number: float) -> datetime:
    """So many hours from now."""
    return clock.now() + timedelta(hours=number)


def test_a_mail_is_promised_once_its_transaction_is_committed(server: RecordingServer) -> None:
    with transaction() as session:
        mail_id = queue_email(ANN, "s", "b", session=session)
        assert mails() == []
    assert [row.mail_id for row in mails()] == [mail_id]
    drain()
    assert [mail.recipients for mail in server.mails] == [(ANN,)]


def test_a_mail_of_a_transaction_that_is_rolled_back_never_was(server: RecordingServer) -> None:
    with pytest.raises(ZeroDivisionError), transaction() as session:
        queue_email(ANN, "s", "b", session=session)
        raise ZeroDivisionError
    drain()
    assert mails() == []
    assert server.mails == []


def test_a_worker_hears_of_a_mail_when_it_is_committed_and_not_before() -> None:
    heard: list[int] = []

    def listener() -> None:
        heard.append(len(mails()))

    promise.new_mail.add(listener)
    try:
        with transaction() as session:
            queue_email(ANN, "s", "b", session=session)
            assert heard == []
        queue_email(ANN, "s", "b")
    finally:
        promise.new_mail.remove(listener)
    queue_email(ANN, "s", "b")
    assert heard == [1, 2]


def test_the_same_key_with_the_same_content_is_the_same_mail() -> None:
    attached = [Attachment("a.txt", b"a")]
    first, again = (
        queue_email(ANN, "s", "b", "<p>b</p>", attachments=attached, idempotency_key="order 7") for _ in range(2)
    )
    assert first == again
    assert len(mails()) == 1


@pytest.mark.parametrize("other", [{"body": "c"}, {"cc": BOB}, {"html_body": "<p>b</p>"}, {"headers": {"X-A": "1"}}])
def test_the_same_key_with_other_content_is_a_mistake_that_names_the_argument(other: dict[str, Any]) -> None:
    queue_email(ANN, "s", "b", idempotency_key="order 7")
    with pytest.raises(ValueError, match=r"^idempotency_key: ") as mistake:
        queue_email(**{"to_email": ANN, "subject": "s", "body": "b", "idempotency_key": "order 7"} | other)
    assert "order 7" not in str(mistake.value)
    assert len(mails()) == 1


def test_the_same_key_within_one_transaction_is_the_same_mail_as_well() -> None:
    with transaction() as session:
        first, again = (queue_email(ANN, "s", "b", idempotency_key="k", session=session) for _ in range(2))
    assert first == again
    assert len(mails()) == 1


def test_a_key_is_the_own_of_each_account() -> None:
    accounts = (None, make_alice().id, make_bob().id)
    ids = {queue_email(ANN, "s", "b", idempotency_key="k", account_id=account_id) for account_id in accounts}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("send_at", datetime(2030, 1, 1)),
        ("expires_at", datetime(2030, 1, 1)),
        ("send_at", "2030-01-01"),
        ("expires_at", datetime(2020, 1, 1, tzinfo=UTC)),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 256),
        ("idempotency_key", 7),
        ("priority", "urgent"),
        ("priority", None),
        ("to_email", "a@example.com, b@example.com"),
    ],
)
def test_a_callers_mistake_names_the_argument_and_promises_nothing(argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        queue_email(**{"to_email": ANN, "subject": "s", "body": "b", argument: value})  # type: ignore[arg-type]
    assert mails() == []


def test_a_mail_that_would_expire_before_it_may_go_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"^expires_at: "):
        queue_email(ANN, "s", "b", send_at=hours(2), expires_at=hours(1))


def test_a_mail_waits_for_its_time(server: RecordingServer) -> None:
    mail_id = queue_email(ANN, "s", "b", send_at=hours(1))
    drain()
    assert server.mails == []
    change(mail_id, due_at=clock.now())
    drain()
    assert len(server.mails) == 1


def test_without_a_time_of_its_own_a_mail_is_given_up_72_hours_after_it_may_go() -> None:
    row = row_of(queue_email(ANN, "s", "b", send_at=hours(10)))
    assert row.expires_at - row.due_at == timedelta(hours=72)


def test_security_mail_goes_before_other_mail_and_that_before_bulk_mail(server: RecordingServer) -> None:
    for priority in ("bulk", "normal", "security"):
        queue_email(ANN, priority, "b", priority=priority)
    drain()
    assert [subject_of(mail) for mail in server.mails] == ["security", "normal", "bulk"]


@pytest.mark.parametrize("state", [State.QUEUED, State.DEFERRED, State.UNCERTAIN])
def test_a_mail_that_waits_can_be_cancelled_and_its_content_is_gone(server: RecordingServer, state: State) -> None:
    mail_id = in_state(state)
    promise.cancel(mail_id)
    drain()
    row = row_of(mail_id)
    assert (row.state, row.content, row.reason) == (State.CANCELLED, None, Reason.CANCELLED)
    assert server.mails == []


@pytest.mark.parametrize("state", [State.LEASED, State.TRANSMITTING, State.SENT, State.FAILED, State.CANCELLED])
def test_a_mail_that_does_not_wait_cannot_be_cancelled(state: State) -> None:
    mail_id = in_state(state)
    with pytest.raises(Conflict):
        promise.cancel(mail_id)
    assert row_of(mail_id).state == state


@pytest.mark.parametrize("change_it", [promise.cancel, promise.retry, log.story])
def test_a_mail_that_never_was_is_not_found(change_it: Any) -> None:
    with pytest.raises(NotFound):
        change_it("0" * 32)


def test_a_mail_that_waits_is_sent_at_once_when_it_is_asked_for(server: RecordingServer) -> None:
    mail_id = in_state(State.DEFERRED, due_at=hours(1), attempts=3)
    promise.retry(mail_id)
    drain()
    assert row_of(mail_id).state == State.SENT


def test_a_dead_letter_is_sent_again_to_whoever_has_not_got_it(server: RecordingServer) -> None:
    recipients = [{"address": ANN, "state": "accepted"}, {"address": BOB, "state": "refused", "code": 550}]
    mail_id = in_state(State.FAILED, ANN, BOB, recipients=recipients, attempts=4, uncertain=1, expires_at=hours(-1))
    promise.retry(mail_id)
    drain()
    row = row_of(mail_id)
    assert [mail.recipients for mail in server.mails] == [(BOB,)]
    assert (row.state, row.attempts, row.content) == (State.SENT, 1, None)
    assert [recipient["state"] for recipient in row.recipients] == ["accepted", "accepted"]


@pytest.mark.parametrize("state", [State.SENT, State.LEASED, State.TRANSMITTING, State.CANCELLED])
def test_what_was_sent_is_on_its_way_or_has_no_content_cannot_be_sent_again(state: State) -> None:
    mail_id = in_state(state)
    with pytest.raises(Conflict):
        promise.retry(mail_id)
    assert row_of(mail_id).state == state


def test_the_database_holds_no_content_in_clear(tmp_path: Path) -> None:
    queue_email(ANN, SECRET, SECRET, f"<p>{SECRET}</p>", attachments=[Attachment("a.txt", SECRET.encode())])
    with sqlite3.connect(tmp_path / "test.db") as connection:
        everything = "\n".join(connection.iterdump())
    connection.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("test.db*"))
    assert SECRET not in everything
    assert SECRET.encode() not in stored


def test_purging_deletes_what_was_settled_longer_ago_and_nothing_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_BATCH", 1)
    old = [in_state(state, days_ago=2) for state in (State.SENT, State.FAILED, State.QUEUED)]
    young = in_state(State.SENT)
    assert log.purge(timedelta(days=1)).mails == 2
    assert {row.mail_id for row in mails()} == {old[2], young}
