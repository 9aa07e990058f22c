"""What is held about an address, and a pseudonym in its place, in the log, the trail and the list alike; on both."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect, select, text

from app import create_app
from database.attempt_db import EmailAttempt
from database.engine import db, reading, transaction
from database.outbox_db import State
from services import address_key, audit
from services.accounts import accounts
from services.audit import Action, Actor
from services.delivery import record
from services.delivery.outcome import Outcome
from services.message.draft import draft
from services.outbox import searching
from services.outbox.reasons import Reason
from services.outbox.searching import MailFilter
from services.privacy import forgetting
from services.privacy.export import HeldAbout, export, held
from services.settings import configs
from services.settings.fields import parse_change
from services.suppression import counting, entries, listing
from services.suppression.counting import DeadAddress
from tests.mails import REFUSAL, attempted, in_state, queued
from tests.outbox import row_of
from tests.visitors import PASSWORD
from utils import clock
from utils.errors import InvalidInput

JANE, JOE, LONGER = "jane@example.com", "joe@example.com", "mary-jane@example.com"


@pytest.fixture(autouse=True)
def app(on_either: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(on_either | {"LOG_SUBJECTS": "true"}, instance_path=tmp_path)
    with app.app_context():
        yield app
        with transaction() as session:
            for table in (
                "email_outbox", "outbox_name", "email_attempt", "attempt_name",
                "suppression", "address_key", "audit_event", "smtp_config", "account",
            ):  # fmt: skip
                session.execute(text(f"DELETE FROM {table}"))
        db.engine.dispose()


def everything_but(*tables: str) -> str:
    """All rows of all tables, as text."""
    with reading() as session:
        names = sorted(set(inspect(session.connection()).get_table_names()) - set(tables))
        return "\n".join(f"{name} {list(session.execute(text(f'SELECT * FROM {name}')))}" for name in names)


def addresses(mail_id: str) -> list[str]:
    return [each["address"] for each in row_of(mail_id).recipients]


def story() -> dict[str, str]:
    """Jane in every state of the log, in what servers said, in the trail and on the list; and people beside her."""
    sent = in_state(State.SENT, JANE, JOE)
    failed = in_state(State.FAILED, "Jane@Example.com")
    attempted(failed, **REFUSAL | {"reply": "<Jane@Example.com>: no such user", "recipients": "J***@example.com"})
    attempted(**REFUSAL | {"reply": "550 jane@example.com unknown, mary-jane@example.com known"})
    others = in_state(State.SENT, LONGER, "jane@example.com.au")
    audit.note(Action.SENDER_ADDED, "account bob", [JANE])
    audit.note(Action.SENDER_ADDED, "account bob", [LONGER])
    counting.note([DeadAddress(JANE, 0, f"m{number}", 550, "5.1.1") for number in range(2)])
    return {"sent": sent, "failed": failed, "others": others, "waiting": queued(JANE), "shared": queued(JANE, JOE)}


def test_the_export_has_all_that_is_held_and_nothing_of_others() -> None:
    mails = story()
    accounts.create("jane", JANE, PASSWORD)
    configs.create(parse_change({"name": "Hers", "smtp_server": "mail.example.com", "from_email": JANE}))
    found: dict[str, Any] = json.loads(json.dumps(export("JANE@example.com")))
    assert {each["id"] for each in found["emails"]} == {mails[name] for name in ("sent", "failed", "waiting", "shared")}
    assert all(len(each["recipients"]) == 1 for each in found["emails"])
    assert JOE not in json.dumps(found)
    assert [each["code"] for each in found["emails"][1]["attempts"]] == [550]
    assert len(found["replies"]) == 2
    assert [each["details"] for each in found["events"]] == [JANE]
    (suppression,) = found["suppressions"]
    assert (suppression["reason"], suppression["refusals"]) == ("refused", 2)
    assert [each["username"] for each in found["accounts"]] == ["jane"]
    assert [each["name"] for each in found["servers"]] == ["Hers"]
    (event, *_) = audit.events()
    assert (event.action, event.subject) == ("person_exported", "address J***@example.com")
    counts = held(JANE)
    assert (counts.emails, counts.replies, counts.events, counts.suppressions) == (4, 2, 1, 1)
    assert (counts.accounts, counts.servers) == (1, 1)
    assert held("nobody@example.com") == HeldAbout()


def test_a_forgotten_address_is_the_same_pseudonym_everywhere_and_nobody_else_is_touched() -> None:
    mails = story()
    with audit.acting(Actor("alice", "127.0.0.1")):
        told = forgetting.forget(JANE)
    assert (told.emails, told.cancelled, told.left) == (3, 1, 1)
    assert (told.replies, told.events, told.suppressions, told.is_whole) == (1, 1, 1, False)
    assert addresses(mails["sent"]) == [told.pseudonym, JOE]
    assert addresses(mails["failed"]) == addresses(mails["waiting"]) == [told.pseudonym]
    assert addresses(mails["others"]) == [LONGER, "jane@example.com.au"]
    waiting, failed = row_of(mails["waiting"]), row_of(mails["failed"])
    assert (waiting.state, waiting.reason, waiting.content, failed.content) == (
        "cancelled",
        Reason.CANCELLED,
        None,
        None,
    )
    assert (row_of(mails["shared"]).state, addresses(mails["shared"])) == ("queued", [JANE, JOE])
    (event, *_) = audit.events()
    assert (event.action, event.actor, event.subject) == ("person_forgotten", "alice", told.pseudonym)
    assert [each.details for each in audit.events(action="sender_added")] == [LONGER, told.pseudonym]
    with transaction() as session:
        session.execute(text("DELETE FROM email_outbox WHERE mail_id = :id"), {"id": mails["shared"]})
    left = everything_but().lower()
    for person in (LONGER, "jane@example.com.au"):
        left = left.replace(person, "")
    assert JANE not in left


def sent_directly(*to: str) -> int:
    """Send a mail directly, by no server; the number of its attempt."""
    mail = draft(list(to), "Hello Jane", "Hello", message_id_domain="example.com", tag=f"for {JANE}")
    record.record(mail, Outcome(kind="not_configured", message="", ms=0), clock.now())
    (attempt, *_), _ = searching.direct(MailFilter(message_id=mail.message_id))
    with reading() as session:
        return session.scalars(select(EmailAttempt.id).where(EmailAttempt.message_id == attempt.message_id)).one()


def found_directly(recipient: str) -> int:
    return len(searching.direct(MailFilter(recipient=recipient))[0])


def test_mail_that_was_sent_directly_is_exported_and_forgotten_as_well() -> None:
    entries.add(JOE)  # and with it, the key is made
    assert address_key.find()
    alone, with_joe = sent_directly(JANE), sent_directly(JANE, JOE, "j2@example.com")
    (first, second) = export(JANE)["direct_emails"]
    assert (first["subject"], first["tag"], second["outcome"]) == ("Hello Jane", f"for {JANE}", "not_configured")
    assert (held(JANE).direct_emails, found_directly(JANE), found_directly("example.com")) == (2, 2, 2)
    told = forgetting.forget(JANE)
    assert (told.direct_emails, held(JANE).direct_emails, found_directly(JANE)) == (2, 0, 0)
    assert (found_directly(told.pseudonym), found_directly(JOE), found_directly("j2@example.com")) == (2, 1, 1)
    assert (found_directly("example.com"), found_directly("forgotten.invalid")) == (1, 2)
    with reading() as session:
        rows = [session.get_one(EmailAttempt, each) for each in (alone, with_joe)]
        assert [each.recipients for each in rows] == [
            "f***@forgotten.invalid",
            "f***@forgotten.invalid, j***@example.com, j***@example.com",
        ]
        assert all(each.subject is None and JANE not in (each.tag or "") for each in rows)


def test_a_forgotten_address_is_found_by_its_pseudonym_alone(app: Flask) -> None:
    entries.add("other@example.com")
    assert address_key.find()
    mails = story()
    pseudonym = forgetting.forget(JANE).pseudonym
    found = {
        name: {each.id for each in searching.find(MailFilter(recipient=who))[0]}
        for name, who in (("jane", JANE), ("pseudonym", pseudonym), ("joe", JOE))
    }
    assert found["jane"] == {mails["shared"]}  # it still goes to Joe as well
    assert found["pseudonym"] == {mails["sent"], mails["failed"], mails["waiting"]}
    assert found["joe"] == {mails["sent"], mails["shared"]}


def test_a_suppression_goes_on_after_the_address_was_forgotten() -> None:
    entries.add(JANE)
    counting.note([DeadAddress(JOE, 0, "m1", 550, None)])
    pseudonym = forgetting.forget(JANE).pseudonym
    assert listing.look_up([JANE]).why(JANE, None) == "listed_manual"
    (entry,) = entries.page(JANE)[0]
    assert (entry.address, entry.masked, entry.is_forgotten) == (pseudonym, pseudonym, True)
    forgetting.forget(JOE)
    counting.note([DeadAddress(JOE, 0, "m2", 550, None)])
    assert listing.look_up([JOE]).why(JOE, None) is None  # what was only counted is deleted
    assert entries.remove_address(JANE) == 1


def test_doing_it_again_gives_the_same_pseudonym_and_takes_what_came_since() -> None:
    first = forgetting.forget(JANE)
    mail_id = in_state(State.SENT, JANE)
    second = forgetting.forget("jane@EXAMPLE.com")
    assert (second.pseudonym, second.emails) == (first.pseudonym, 1)
    assert addresses(mail_id) == [first.pseudonym]
    assert forgetting.forget(JOE).pseudonym != first.pseudonym
    assert export(JANE)["notes"][1:]


def test_names_that_are_not_ascii_are_found_in_either_spelling() -> None:
    mail_id = queued("Jürgen@bücher.example")
    audit.note(Action.SENDER_ADDED, "account bob", ["jürgen@bücher.example"])
    found = held("jürgen@xn--bcher-kva.example")
    assert (found.emails, found.events) == (1, 1)
    assert forgetting.forget("JÜRGEN@bücher.example").emails == 1
    assert addresses(mail_id)[0].startswith("forgotten-")


@pytest.mark.parametrize("address", ["", "jane", "%@example.com,x@example.com", "jane@example.com\0"])
def test_what_is_no_address_is_refused(address: str) -> None:
    for work in (export, held, forgetting.forget):
        with pytest.raises(InvalidInput):
            work(address)


def test_signs_that_patterns_know_stand_for_themselves() -> None:
    plain, odd = in_state(State.SENT, "axb@example.com"), in_state(State.SENT, "a_b@example.com")
    forgetting.forget("a_b@example.com")
    assert addresses(plain) == ["axb@example.com"]
    assert addresses(odd)[0].startswith("forgotten-")
