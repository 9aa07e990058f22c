"""Acting on many mails at once: bounded to what was previewed, each mail whole and once, whatever happens meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import delete, func, select, update

from app import create_app
from database import mail_deed_db
from database.audit_db import AuditEvent
from database.engine import db, reading, transaction
from database.mail_deed_db import MailDeed, MailDeedItem, Stage
from database.outbox_db import DEAD, UNSENT, OutboxMail, Recipient, RecipientState, State
from services import audit
from services.audit import Actor
from services.message.draft import draft
from services.outbox import holding, many, promise, searching
from services.outbox.many import ManyDeed
from services.outbox.many_rules import Correction, ManyAction, correction
from services.outbox.promise import Terms
from services.privacy import forgetting
from services.settings.protection import SECURITY_KINDS
from services.suppression import entries
from services.worker import groups, threads
from services.worker.lease import Pace
from tests import postgresql_server
from tests.mails import change, in_state, queued
from tests.outbox import drain, row_of
from tests.patience import PATIENCE, wait_until
from tests.recording_server import RecordingServer
from tests.visitors import mail_through
from utils import clock
from utils.errors import Conflict

ROOT = Path(__file__).parents[3]
RETRY, CANCEL, CORRECT = ManyAction


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server.running() as url:
        yield url


@pytest.fixture
def environment(environment: dict[str, str], server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(server)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def either(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
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


def previewed(action: ManyAction = RETRY, *chosen: str, of: Correction | None = None, **wanted: str) -> ManyDeed:
    """The preview of a deed on the mails that are named, or that a filter finds."""
    sought = None if chosen else searching.parse(wanted)
    return many.go_on(many.propose(action, sought, chosen, of), 60)


def done(action: ManyAction = RETRY, *chosen: str, of: Correction | None = None, **wanted: str) -> ManyDeed:
    preview = previewed(action, *chosen, of=of, **wanted)
    many.start(preview.id)
    return many.go_on(preview.id, 60)


def events() -> list[tuple[str, str, str]]:
    with reading() as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id))
        return [(row.action, row.subject, row.details) for row in rows]


def test_what_failed_for_a_reason_is_sent_again_and_nothing_else(either: Flask, server: RecordingServer) -> None:
    wanted = [in_state(State.FAILED, f"u{number}@example.com", reason="no_recipient") for number in range(3)]
    other = in_state(State.FAILED, "other@example.com", reason="message_refused")
    preview = previewed(state="failed", cause="no_recipient")
    assert (preview.stage, preview.found, preview.able, preview.unable) == (Stage.READY, 3, 3, {})
    assert preview.by_state == {("failed", "no_recipient"): 3}
    late = in_state(State.FAILED, "late@example.com", reason="no_recipient")
    assert {row_of(each).state for each in wanted} == {State.FAILED}
    many.start(preview.id)
    ended = many.go_on(preview.id, 60)
    assert (ended.stage, ended.done, ended.left) == (Stage.DONE, 3, {})
    drain()
    assert [row_of(each).state for each in (*wanted, other, late)] == ["sent"] * 3 + ["failed"] * 2
    assert sorted(mail.recipients[0] for mail in server.mails) == [f"u{number}@example.com" for number in range(3)]
    told = f"state failed, cause no_recipient, 3 found, 0 unable, action {preview.id}"
    assert events() == [("mail_retried", "mail 3 emails", told)]


def test_the_mails_that_changed_since_the_preview_are_left_alone(either: Flask) -> None:
    same, revived, tried, gone = (in_state(State.FAILED) for _ in range(4))
    preview = previewed(state="failed")
    many.go_on(many.start(previewed(RETRY, revived).id).id)
    change(tried, settled_at=clock.now() + timedelta(minutes=1))
    with transaction() as session:
        session.execute(delete(OutboxMail).where(OutboxMail.mail_id == gone))
    many.start(preview.id)
    ended = many.go_on(preview.id, 60)
    assert (ended.able, ended.done, ended.left) == (4, 1, {"changed": 2, "no_such": 1})
    assert row_of(same).state == State.QUEUED
    assert row_of(tried).state == State.FAILED


def failed(*addresses: str, **columns: object) -> list[str]:
    """Failed mails, one to each, made together."""
    with transaction() as session:
        ids = [
            promise.enqueue(draft(each, "s", "b", message_id_domain="example.com"), Terms(), session)
            for each in addresses
        ]
    values = {"state": State.FAILED, "settled_at": clock.now(), **columns}
    with transaction() as session:
        session.execute(update(OutboxMail).where(OutboxMail.mail_id.in_(ids)).values(values))
    return ids


def refused(*addresses: str, state: RecipientState = RecipientState.REFUSED) -> list[Recipient]:
    return [{"address": each, "state": state, "code": 550, "enhanced": "5.1.1"} for each in addresses]


def deeds_of(mail_id: str) -> list[tuple[str, str, str | None]]:
    with reading() as session:
        return [(each.action, each.mail_id, each.copy) for each in many.of_mail(session, row_of(mail_id).id, mail_id)]


def test_what_was_refused_goes_to_the_corrected_address_as_a_new_mail(either: Flask, server: RecordingServer) -> None:
    mixed = [
        *refused("ann@gmial.com"),
        *refused("ben@example.com", state=RecipientState.ACCEPTED),
        *refused("cleo@gmial.com"),
    ]
    addresses = [each["address"] for each in mixed]
    old = in_state(State.FAILED, *addresses, recipients=mixed, tag="order")
    other = in_state(State.FAILED, "dora@gmial.com")  # the message was refused, and not her address
    before = row_of(old)
    ended = done(CORRECT, state="failed", of=correction("gmial.com", "gmail.com"))
    assert (ended.found, ended.able, ended.unable, ended.done) == (2, 1, {"not_refused": 1}, 1)
    drain()
    assert [sorted(mail.recipients) for mail in server.mails] == [["ann@gmail.com", "cleo@gmail.com"]]
    content = server.mails[0].content.decode()
    assert "To: ann@gmail.com, ben@example.com, cleo@gmail.com" in content.replace("\r\n", "")
    [(action, older, copy)] = deeds_of(old)
    assert (action, older) == ("correct", old)
    assert copy and deeds_of(copy) == [("correct", old, copy)]
    after, new = row_of(old), row_of(copy)
    assert (after.state, after.recipients, after.content) == (before.state, before.recipients, before.content)
    assert (new.state, new.tag, new.message_id) == (State.SENT, "order", f"<{copy}@example.com>")
    assert row_of(other).state == State.FAILED
    again = done(CORRECT, state="failed", of=correction("gmial.com", "gmail.com"))
    assert (again.able, again.unable) == (0, {"corrected": 1, "not_refused": 1})
    assert "gmial" not in str(events()) or "ann@" not in str(events())


def test_a_suppressed_corrected_address_gets_nothing_and_a_cancelled_one_can_be_corrected_anew(app: Flask) -> None:
    old = in_state(State.FAILED, "ann@gmial.com", recipients=refused("ann@gmial.com"))
    entries.add("ann@gmail.com")
    one = done(CORRECT, old, of=correction("", "ann@gmail.com"))
    assert (one.able, one.unable) == (0, {"suppressed": 1})
    two = done(CORRECT, old, of=correction("", "ann@gmal.com"))
    copy = deeds_of(old)[0][2]
    assert two.done == 1
    assert copy
    done(CANCEL, copy)
    assert done(CORRECT, old, of=correction("", "anne@gmail.com")).done == 1


def test_what_is_not_there_any_more_is_told_and_the_trail_has_each_deed_once(either: Flask) -> None:
    gone, secret = in_state(State.FAILED, content=None), queued("a@example.com", kind=sorted(SECURITY_KINDS)[0])
    change(secret, state=State.FAILED, settled_at=clock.now())
    sent, ours = in_state(State.SENT), in_state(State.FAILED)
    with audit.acting(Actor("alice", "127.0.0.1")):
        preview = previewed(RETRY, gone, secret, sent, ours, "f" * 32)
        assert preview.unable == {"content_gone": 1, "security": 1, "sent": 1, "no_such": 1}
        many.start(preview.id)
        assert many.start(preview.id).done == 1
    assert many.stop(preview.id).stage is Stage.DONE
    with reading() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.action == "mail_retried")).all()
    assert [(row.actor, row.subject, row.details) for row in rows] == [
        ("alice", "mail 1 email", f"5 selected, 5 found, 4 unable, action {preview.id}")
    ]
    assert row_of(ours).state == State.QUEUED


def test_an_old_preview_is_no_order(app: Flask) -> None:
    mail_id = in_state(State.FAILED)
    preview = previewed(RETRY, mail_id)
    with transaction() as session:
        deed = session.get(MailDeed, preview.id)
        assert deed
        deed.created_at = clock.now() - timedelta(hours=2)
    with pytest.raises(Conflict):
        many.start(preview.id)
    assert row_of(mail_id).state == State.FAILED
    with transaction() as session:
        session.execute(delete(OutboxMail))
        deed = session.get(MailDeed, preview.id)
        assert deed
        deed.created_at = clock.now() - timedelta(days=2)
    many.tidy()
    many.tidy()
    assert many.latest() == []


def test_nothing_goes_on_in_a_restored_database_or_for_somebody_who_is_forgotten(app: Flask) -> None:
    old = in_state(State.FAILED, "ann@gmial.com", recipients=refused("ann@gmial.com"))
    named = previewed(CORRECT, old, of=correction("", "ann@gmail.com"))
    sought = previewed(RETRY, recipient="ann@gmial.com")
    other = previewed(RETRY, recipient="example.com")
    forgetting.forget("ann@gmail.com")
    forgetting.forget("Ann@GMIAL.com")
    assert [many.show(each.id).stage for each in (named, sought, other)] == ["stopped", "stopped", "ready"]
    with reading() as session:
        kept = str([(each.wanted, each.old_address, each.new_address) for each in session.scalars(select(MailDeed))])
    assert "ann@" not in kept
    holding.hold_all()
    assert many.start(other.id).stage is Stage.STOPPED


def test_what_a_worker_has_claimed_meanwhile_is_left_to_it(either: Flask, server: RecordingServer) -> None:
    ids = [queued(f"u{number}@example.com") for number in range(20)]
    preview = previewed(CANCEL)
    group = groups.claim_group("test", Pace())
    assert group
    many.start(preview.id)
    ended = many.go_on(preview.id, 60)
    assert (ended.able, ended.done, ended.left) == (20, 12, {"changed": 8})
    groups.work_off(group, Pace())
    drain()
    assert Counter(row_of(each).state for each in ids) == {"sent": 8, "cancelled": 12}
    assert len(server.mails) == 8


def test_two_administrators_and_a_worker_at_once_send_each_mail_once(either: Flask, server: RecordingServer) -> None:
    ids = failed(*(f"u{number}@example.com" for number in range(250)))
    previews = [previewed(state="failed"), previewed(state="failed")]
    over = threading.Event()

    def administrate(deed_id: int) -> None:
        with either.app_context():
            many.start(deed_id)
            many.go_on(deed_id, PATIENCE)

    def work() -> None:
        with either.app_context():
            while drain() or not over.is_set():
                pass

    people = [threading.Thread(target=administrate, args=[each.id]) for each in (*previews, previews[0])]
    worker = threading.Thread(target=work)
    for thread in (worker, *people):
        thread.start()
    for thread in people:
        thread.join()
    over.set()
    worker.join()
    ended = [many.show(each.id) for each in previews]
    assert [each.stage for each in ended] == [Stage.DONE, Stage.DONE]
    assert [each.done + sum(each.left.values()) for each in ended] == [250, 250]
    assert sum(each.done for each in ended) == 250
    drain()
    assert Counter(mail.recipients[0] for mail in server.mails) == dict.fromkeys(
        (f"u{number}@example.com" for number in range(250)), 1
    )
    with reading() as session:
        assert set(session.scalars(select(OutboxMail.state).where(OutboxMail.mail_id.in_(ids)))) == {State.SENT}


KILLED = """
import os, signal, sys
from sqlalchemy import event
from app import create_app
from database.engine import db
from services.outbox import many
app, seen = create_app(instance_path=sys.argv[1]), []
with app.app_context():
    @event.listens_for(db.engine, "before_cursor_execute")
    def _die(connection, cursor, statement, *rest):
        seen.append(statement.startswith("UPDATE mail_deed_item SET done_at"))
        if sum(seen) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    many.go_on(int(sys.argv[2]), 600)
"""


def test_killed_in_the_midst_nothing_is_half_done_and_the_rest_goes_on(
    either: Flask, environment: dict[str, str], tmp_path: Path
) -> None:
    ids = failed(*["ann@gmial.com"] * 300, recipients=refused("ann@gmial.com"))
    preview = previewed(CORRECT, state="failed", of=correction("ann@gmial.com", "ann@gmail.com"))
    with transaction() as session:
        assert mail_deed_db.move(session, preview.id, [Stage.READY], Stage.RUNNING)
    variables = {**os.environ, **environment, "DATABASE_URL": either.config["SQLALCHEMY_DATABASE_URI"]}
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(preview.id)]
    killed = subprocess.run(words, env=variables, cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    half = many.show(preview.id)
    assert (half.stage, half.done) == (Stage.RUNNING, 200)
    assert count_of(OutboxMail) == 300 + 200  # what was done is whole, and no more than that
    ended = many.go_on(preview.id, PATIENCE)
    assert (ended.stage, ended.done, ended.left) == (Stage.DONE, 300, {})
    assert count_of(OutboxMail) == 600
    assert all(deeds_of(each) for each in ids[::50])
    assert len(events()) == 1


def count_of(model: type[OutboxMail] | type[MailDeedItem]) -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_a_worker_goes_on_with_what_was_asked_for(app: Flask, server: RecordingServer) -> None:
    ids = [in_state(State.FAILED, f"u{number}@example.com") for number in range(30)]
    deed_id = many.propose(RETRY, searching.parse({}))
    worker = threads.start(app, senders=1)
    try:
        wait_until(lambda: many.show(deed_id).stage is Stage.READY)
        with transaction() as session:
            mail_deed_db.move(session, deed_id, [Stage.READY], Stage.RUNNING)
        many.new_deed.tell()
        wait_until(lambda: many.show(deed_id).stage is Stage.DONE)
        wait_until(lambda: all(row_of(each).state == State.SENT for each in ids))
    finally:
        worker.stop()
    assert len(server.mails) == 30


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_meanwhile_counts_add_up_and_none_is_done_twice(app: Flask, seed: int) -> None:
    dice = random.Random(seed)
    ids = [any_mail(dice) for _ in range(60)]
    previews = [previewed(dice.choice([RETRY, CANCEL])) for _ in range(4)]
    for mail_id in dice.sample(ids, 15):
        happen(dice, mail_id)
    before = {each: row_of(each) for each in ids}
    changes: Counter[int] = Counter()
    for preview in previews:
        many.start(preview.id)
        ended = many.go_on(preview.id, PATIENCE)
        assert ended.found == ended.able + sum(ended.unable.values())
        assert (ended.stage, ended.able) == (Stage.DONE, ended.done + sum(ended.left.values()))
        with reading() as session:
            items = session.scalars(select(MailDeedItem).where(MailDeedItem.deed_id == preview.id)).all()
        assert len(items) == ended.done
        changes.update(each.mail for each in items if each.state in DEAD)
    assert not changes or max(changes.values()) == 1  # a dead letter is revived once, whoever asks for it
    for each in ids:
        now = row_of(each)
        if before[each].state in (State.LEASED, State.TRANSMITTING, State.SENT):
            assert (now.state, now.content is None) == (before[each].state, before[each].content is None)


def any_mail(dice: random.Random) -> str:
    state = dice.choice(list(State))
    columns: dict[str, Any] = {"expires_at": clock.now() + timedelta(hours=dice.choice([-1, 1, 1]))}
    if state in DEAD and dice.random() < 0.3:
        columns["content"] = None
    return in_state(state, **columns)


def happen(dice: random.Random, mail_id: str) -> None:
    """What workers, the clock and others do to a mail between a preview and the deed."""
    state = dice.choice([State.LEASED, State.SENT, State.FAILED, State.DEFERRED])
    settled = {"settled_at": clock.now() + timedelta(seconds=1)} if state not in (*UNSENT, State.LEASED) else {}
    change(mail_id, state=state, **settled)
