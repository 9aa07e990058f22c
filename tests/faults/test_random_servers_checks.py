"""The checks of the model of random servers, one by one: what they find, and what they let be."""

import pytest

from services.outbox.reasons import Reason
from tests.faults.model.behaviour import Behaviour, behaviour_of
from tests.faults.model.fates import Fate, Wrong, is_content, violations
from tests.faults.model.ledger import Ledger, Taken
from tests.faults.model.mails import TARGET, Mail, mails_for

ANNA, BERT = "ok-0-0@recipient.example", "ok-0-1@recipient.example"
NOBODY = "unknown-0-0@recipient.example"
MAIL = Mail(number="1.0", recipients=(ANNA, BERT))


def fate(*accepted: str, unknowns: int = 0, mail: Mail = MAIL, **dead: str) -> Fate:
    found = Fate(mail, unknowns=unknowns, dead={to: dead["dead"] for to in mail.recipients if "dead" in dead})
    found.accepted.update(accepted)
    return found


def copy(*to: str, told: bool = True, mail: Mail = MAIL, content: bytes = b"") -> Taken:
    return Taken(number=mail.number, recipients=to, content=content or mail.content, told=told)


def wrong(fate: Fate, *taken: Taken, lines: tuple[bytes, ...] = (), delivers: bool = True) -> set[Wrong]:
    found = violations(Ledger(taken=list(taken), lines=list(lines)), [fate], lambda _mail, _to: delivers)
    return {each.wrong for each in found}


def test_a_mail_that_came_once_to_each_recipient_is_well() -> None:
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT)) == set()


def test_a_mail_that_is_counted_as_sent_and_never_came_is_found() -> None:
    assert wrong(fate(ANNA, BERT), copy(ANNA)) == {Wrong.NOT_TAKEN}


def test_a_copy_is_explained_by_an_unknown_outcome_alone() -> None:
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT, told=False), copy(ANNA, BERT)) == {Wrong.TWICE}
    assert wrong(fate(ANNA, BERT, unknowns=1), copy(ANNA, BERT, told=False), copy(ANNA, BERT)) == set()


def test_a_mail_that_did_not_come_is_lost_if_a_serial_client_delivers_it() -> None:
    assert wrong(fate(ANNA, dead="Recipient refused"), copy(ANNA)) == {Wrong.LOST}
    assert wrong(fate(ANNA), copy(ANNA)) == {Wrong.LOST}
    assert wrong(fate(ANNA), copy(ANNA), delivers=False) == set()


@pytest.mark.parametrize(
    "mail", [Mail(number="1.0", recipients=(NOBODY,)), Mail(number="1.0", recipients=(ANNA,), is_spam=True)]
)
def test_a_mail_that_the_server_refuses_for_good_is_not_lost(mail: Mail) -> None:
    assert wrong(fate(mail=mail, dead="Recipient does not exist")) == set()


def test_a_yes_that_was_said_is_not_denied_by_a_refusal_nor_time_and_again() -> None:
    untold = copy(ANNA, BERT, told=False)
    assert wrong(fate(dead="Message refused"), copy(ANNA, BERT)) == {Wrong.DENIED}
    assert wrong(fate(unknowns=3, dead=Reason.UNKNOWN_FATE), copy(ANNA, BERT), copy(ANNA, BERT), untold) == {
        Wrong.DENIED
    }
    assert wrong(fate(unknowns=3, dead=Reason.UNKNOWN_FATE), copy(ANNA, BERT), untold, untold) == set()


def test_another_body_is_found() -> None:
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT, content=MAIL.content + b"more\r\n")) == {Wrong.ALTERED}
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT, content=MAIL.content[:-2])) == {Wrong.ALTERED}


def test_a_message_for_somebody_else_is_found() -> None:
    smuggled = Taken(number="", recipients=(TARGET,), content=b"Subject: pay this\r\n")
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT), smuggled) == {Wrong.STRANGER}
    assert wrong(fate(ANNA, BERT), copy(ANNA, BERT, TARGET)) == {Wrong.STRANGER}


def test_an_exception_is_found() -> None:
    raised = fate(ANNA, BERT)
    raised.raised = "KeyError()"
    assert wrong(raised, copy(ANNA, BERT)) == {Wrong.RAISED}


@pytest.mark.parametrize("line", MAIL.content.split(b"\r\n"))
def test_each_line_of_a_mail_is_known_if_it_is_obeyed_but_for_the_shortest(line: bytes) -> None:
    assert is_content(line) or line in (b"RSET", b"DATA", b"QUIT")


@pytest.mark.parametrize(
    "line", [b"EHLO app.example", b"MAIL FROM:<shop@sender.example> SIZE=3", b"BDAT 86 LAST", b"HELP", b"QUIT"]
)
def test_no_command_of_ours_is_taken_for_content(line: bytes) -> None:
    assert not is_content(line)


def test_a_seed_always_gives_the_same_server_and_mails() -> None:
    assert behaviour_of(7) == behaviour_of(7)
    assert mails_for(behaviour_of(7)) == mails_for(behaviour_of(7))


def test_every_habit_is_drawn_among_a_thousand_servers() -> None:
    drawn = [behaviour_of(seed) for seed in range(1000)]
    usual = vars(Behaviour())
    assert [name for name in usual if all(vars(each)[name] == usual[name] for each in drawn)] == []
