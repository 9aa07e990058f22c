"""What can be done to a mail together with others: the rules by themselves, over every state and hindrance."""

from datetime import timedelta
from typing import Any

import pytest

from database.mail_deed_db import MailStanding
from database.outbox_db import SETTLED, Priority, RecipientState, State
from services.outbox.many_rules import (
    Correction,
    DeedFacts,
    DeedVerdict,
    Hindrance,
    ManyAction,
    addresses_of,
    correction,
    judge,
)
from services.outbox.reasons import Reason
from utils import clock
from utils.errors import InvalidInput

RETRY, CANCEL, CORRECT = ManyAction
NOW = clock.now()
KNOWN = DeedFacts(now=NOW, keys={"key"})
ANN, BOB = "ann@gmial.com", "bob@example.com"


def person(address: str, state: str, **more: Any) -> dict[str, Any]:
    return {"address": address, "state": RecipientState(state), **more}


def mail(state: State, *recipients: dict[str, Any], **columns: Any) -> MailStanding:
    values: dict[str, Any] = {
        "id": 1,
        "mail_id": "0" * 32,
        "state": state,
        "settled_at": NOW if state in SETTLED else None,
        "priority": Priority.NORMAL,
        "kind": "other",
        "reason": "",
        "recipients": list(recipients or [person(BOB, "pending")]),
        "account_id": None,
        "expires_at": NOW + timedelta(hours=1),
        "uncertain": 0,
        "key_id": "key",
        "has_content": state not in (State.SENT, State.CANCELLED),
        "is_at_rest": False,
    }
    return MailStanding(**values | columns)


def test_each_state_is_sent_again_or_not_for_the_reason_that_is_told() -> None:
    told = {state: judge(mail(state), RETRY, KNOWN).hindrance for state in State}
    assert told == {
        State.QUEUED: None,
        State.LEASED: Hindrance.IN_HAND,
        State.TRANSMITTING: Hindrance.IN_HAND,
        State.DEFERRED: None,
        State.UNCERTAIN: None,
        State.HELD: None,
        State.SENT: Hindrance.SENT,
        State.FAILED: None,
        State.EXPIRED: None,
        State.CANCELLED: Hindrance.CONTENT_GONE,
        State.SUPPRESSED: None,
    }


def test_each_state_is_cancelled_or_not() -> None:
    able = {state for state in State if judge(mail(state), CANCEL, KNOWN).hindrance is None}
    assert able == {State.QUEUED, State.DEFERRED, State.UNCERTAIN, State.HELD}
    assert judge(mail(State.LEASED), CANCEL, KNOWN).hindrance is Hindrance.IN_HAND


@pytest.mark.parametrize(
    ("state", "columns", "hindrance"),
    [
        (State.FAILED, {"priority": Priority.SECURITY}, Hindrance.SECURITY),
        (State.FAILED, {"priority": Priority.SECURITY, "has_content": False}, Hindrance.SECURITY),
        (State.EXPIRED, {"kind": "password_reset"}, Hindrance.SECURITY),
        (State.DEFERRED, {"priority": Priority.SECURITY}, None),  # it is not sent again, only now
        (State.FAILED, {"has_content": False}, Hindrance.CONTENT_GONE),
        (State.FAILED, {"is_at_rest": True, "account_id": 1}, Hindrance.ACCOUNT),
        (State.HELD, {"reason": Reason.ACCOUNT_DELETED}, Hindrance.ACCOUNT),
        (State.DEFERRED, {"expires_at": NOW}, Hindrance.EXPIRED),
        (State.HELD, {"expires_at": NOW - timedelta(days=1)}, Hindrance.EXPIRED),
        (State.FAILED, {"expires_at": NOW - timedelta(days=1)}, None),  # it gets a new time, as by hand
        (State.FAILED, {"key_id": "lost"}, Hindrance.NO_KEY),
    ],
)
def test_what_hinders_sending_again_is_told(state: State, columns: dict[str, Any], hindrance: Hindrance | None) -> None:
    assert judge(mail(state, **columns), RETRY, KNOWN).hindrance is hindrance


def test_what_may_have_arrived_may_come_twice() -> None:
    assert judge(mail(State.UNCERTAIN, uncertain=1), RETRY, KNOWN).may_double
    assert judge(mail(State.FAILED, uncertain=3), RETRY, KNOWN).may_double
    assert judge(mail(State.HELD, reason=Reason.HELD), RETRY, KNOWN).may_double
    assert not judge(mail(State.FAILED), RETRY, KNOWN).may_double
    assert not judge(mail(State.SENT, uncertain=1), RETRY, KNOWN).may_double


def corrected(found: MailStanding, wrong: str = "gmial.com", right: str = "gmail.com", **known: Any) -> DeedVerdict:
    return judge(found, CORRECT, DeedFacts(now=NOW, keys={"key"}, **known), correction(wrong, right))


def test_only_recipients_who_were_refused_are_corrected() -> None:
    people = [
        person("a@gmial.com", "accepted"),
        person("b@gmial.com", "refused"),
        person("c@gmial.com", "deferred"),
        person("d@gmial.com", "pending"),
        person("e@GMIAL.com", "suppressed", why=Reason.LISTED_REFUSED),
        person("f@gmial.com", "suppressed", why=Reason.LISTED_COMPLAINT),
        person("g@example.com", "refused"),
    ]
    assert corrected(mail(State.FAILED, *people)).places == (1, 4)
    assert corrected(mail(State.DEFERRED, *people)).places == (1, 4)
    # One that was put off for all the time that its mail had was refused, too.
    assert corrected(mail(State.EXPIRED, *people)).places == (1, 2, 4)
    assert corrected(mail(State.EXPIRED, *people, uncertain=1)).places == (1, 4)
    assert addresses_of(mail(State.FAILED, *people), CORRECT, correction("gmial.com", "gmail.com")) == [
        "b@gmail.com",
        "e@gmail.com",
    ]


@pytest.mark.parametrize(
    ("found", "hindrance"),
    [
        (mail(State.FAILED, person(BOB, "refused")), Hindrance.NOT_REFUSED),
        (mail(State.FAILED, person(ANN, "refused"), priority=Priority.SECURITY), Hindrance.SECURITY),
        (mail(State.DEFERRED, person(ANN, "refused"), priority=Priority.SECURITY), Hindrance.SECURITY),
        (mail(State.SENT, person(ANN, "refused"), person(BOB, "accepted")), Hindrance.CONTENT_GONE),
        (mail(State.TRANSMITTING, person(ANN, "refused"), person(BOB, "deferred")), Hindrance.IN_HAND),
        (mail(State.FAILED, person(ANN, "refused"), person("ann@gmail.com", "accepted")), Hindrance.GETS_IT_ALREADY),
        (mail(State.DEFERRED, person(ANN, "refused"), person("Ann@Gmail.com", "pending")), Hindrance.GETS_IT_ALREADY),
        (mail(State.FAILED, person(ANN, "refused"), is_at_rest=True), Hindrance.ACCOUNT),
        (mail(State.FAILED, person(ANN, "refused"), key_id="lost"), Hindrance.NO_KEY),
        (mail(State.FAILED, person(ANN, "refused")), None),
    ],
)
def test_what_hinders_a_correction_is_told(found: MailStanding, hindrance: Hindrance | None) -> None:
    assert corrected(found).hindrance is hindrance


def test_nobody_is_corrected_twice() -> None:
    two = mail(State.FAILED, person(ANN, "refused"), person("ben@gmial.com", "refused"))
    assert corrected(two, corrected={1: {0}}).places == (1,)
    assert corrected(two, corrected={1: {0, 1}}).hindrance is Hindrance.CORRECTED


def test_without_a_wrong_address_it_is_whoever_was_refused_if_it_was_one() -> None:
    one = mail(State.FAILED, person(BOB, "accepted"), person(ANN, "refused"))
    assert corrected(one, "", "ann@gmail.com").places == (1,)
    two = mail(State.FAILED, person(ANN, "refused"), person(BOB, "refused"))
    assert corrected(two, "", "ann@gmail.com").hindrance is Hindrance.SEVERAL
    assert corrected(two, BOB, "bob@example.org").places == (1,)


@pytest.mark.parametrize(
    ("wrong", "right", "made"),
    [
        ("gmial.com", "gmail.com", Correction("gmial.com", "gmail.com")),
        ("@Gmial.com", " @Gmail.com ", Correction("gmial.com", "gmail.com")),
        ("Ann@GMIAL.com", "ann@gmail.com", Correction("ann@gmial.com", "ann@gmail.com")),
        ("", "ann@gmail.com", Correction("", "ann@gmail.com")),
        ("müler.example", "müller.example", Correction("xn--mler-0ra.example", "xn--mller-kva.example")),
    ],
)
def test_addresses_and_domains_are_read_as_everywhere(wrong: str, right: str, made: Correction) -> None:
    assert correction(wrong, right) == made


@pytest.mark.parametrize(
    ("wrong", "right", "field"),
    [
        ("gmial.com", "", "new_address"),
        ("gmial.com", "ann@gmail.com", "new_address"),
        ("ann@gmial.com", "gmail.com", "new_address"),
        ("", "gmail.com", "new_address"),
        ("gmial.com", "GMIAL.com", "new_address"),
        ("ann@gmial.com", "a@x, b@y", "new_address"),
        ("ann@gmial.com", "ann@gmail.com\r\nBcc: b@y.com", "new_address"),
        ("gm ial.com", "gmail.com", "old_address"),
        ("gmial.com", "127.0.0.1", "new_address"),
        ("a@b@c", "ann@gmail.com", "old_address"),
    ],
)
def test_what_is_no_address_or_no_correction_is_refused(wrong: str, right: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        correction(wrong, right)
    assert field in refused.value.errors
