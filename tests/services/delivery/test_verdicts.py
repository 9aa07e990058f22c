"""What follows from a verdict beside the action: the circuit, the pool, the next server, and the words for people."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.delivery.retry_policy import (
    MailAction,
    Verdict,
    Whose,
    for_one,
    is_crowded,
    message_of,
    of_error,
    of_recipient,
)
from services.diagnosis import diagnosis
from services.outbox.reasons import Reason, words
from services.smtp.dialogue import refusal
from services.smtp.wire import Reply
from tests.services.delivery.test_retry_policy import TRANSACTION, answered, reply
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

LINK_LOST = Temporary(Phase.MESSAGE, Fault.CLOSED)
NOBODY_KNOWS = OutcomeUnknown(Phase.MESSAGE, Fault.CLOSED, may_have_been_sent=True)
BEFORE_ANY_MAIL = (Phase.CONNECT, Phase.GREETING, Phase.EHLO, Phase.ENCRYPTION, Phase.SIGN_IN)


def marked(error: DeliveryError, **marks: object) -> DeliveryError:
    for name, value in marks.items():
        setattr(error, name, value)
    return error


def all_refused(*lines: str) -> Verdict:
    """The verdict where every recipient was refused, each with one of these replies."""
    error = refusal(Phase.RECIPIENT, reply(lines[0]))
    error.refused = {f"person{number}@example.com": reply(line) for number, line in enumerate(lines)}
    return of_error(error)


# What shows that the server works.


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (Phase.RECIPIENT, "550 5.1.1 No such user"),
        (Phase.RECIPIENT, "450 4.2.0 Greylisted"),
        (Phase.SENDER, "550 5.1.8 Sender not allowed"),
        (Phase.SENDER, "451 4.3.0 Later"),
        (Phase.MESSAGE, "550 5.7.1 Spam"),
        (Phase.MESSAGE, "500 What?"),
    ],
)
def test_a_server_that_refuses_one_mail_works(phase: Phase, line: str) -> None:
    assert answered(phase, line).is_an_answer


@pytest.mark.parametrize(
    "error",
    [
        refusal(Phase.GREETING, reply("421 Too many concurrent SMTP connections")),
        refusal(Phase.SENDER, reply("454 Throttling failure: Maximum sending rate exceeded.")),
        Temporary(Phase.CONNECT, Fault.REFUSED),
        Temporary(Phase.SENDER, Fault.OURS),
        marked(Temporary(Phase.SENDER, Fault.CLOSED), not_taken=True),
        NOBODY_KNOWS,
    ],
)
def test_a_server_that_did_nothing_or_was_not_asked_has_not_shown_that_it_works(error: DeliveryError) -> None:
    assert not of_error(error).is_an_answer


def test_what_was_not_heard_of_a_mail_is_neither_the_mails_nor_held_against_the_server() -> None:
    verdict = of_error(marked(Temporary(Phase.RECIPIENT, Fault.CLOSED), not_taken=True))
    assert (verdict.action, verdict.trips, verdict.opens) == (MailAction.SNOOZE, False, False)
    assert verdict.reason == Reason.NOT_HEARD


@pytest.mark.parametrize("phase", TRANSACTION)
def test_our_own_mistake_is_ours_and_goes_to_no_other_server(phase: Phase) -> None:
    verdict = of_error(Temporary(phase, Fault.OURS))
    assert (verdict.whose, verdict.action, verdict.reason) == (Whose.OURS, MailAction.SNOOZE, Reason.OUR_FAULT)
    assert (verdict.trips, verdict.opens, verdict.goes_on, verdict.seconds) == (False, False, False, 300)


# Another server.


@pytest.mark.parametrize("fault", [Fault.CLOSED, Fault.TIMEOUT, Fault.BROKEN_REPLY])
def test_a_link_lost_before_the_dot_lets_the_next_server_try(fault: Fault) -> None:
    assert of_error(Temporary(Phase.MESSAGE, fault)).goes_on
    assert of_error(Temporary(Phase.SENDER, fault)).goes_on


def test_where_nobody_knows_whether_the_mail_was_sent_no_other_server_gets_it() -> None:
    assert not of_error(NOBODY_KNOWS).goes_on


SERVERS, PERSONS = "550 5.7.1 Relay access denied", "550 5.1.1 No such user"


@pytest.mark.parametrize(
    ("lines", "goes_on"),
    [
        ((SERVERS, SERVERS), True),
        ((SERVERS, PERSONS), False),
        ((SERVERS, PERSONS, SERVERS), False),
        ((SERVERS, "450 4.2.0 Greylisted"), False),
        ((PERSONS, SERVERS), False),
        ((PERSONS, PERSONS), False),
    ],
)
def test_the_next_server_is_asked_only_where_no_recipient_was_refused_for_itself(
    lines: tuple[str, ...], goes_on: bool
) -> None:
    assert all_refused(*lines).goes_on is goes_on


@pytest.mark.parametrize("line", [SERVERS, PERSONS, "421 4.7.0 Going away", "452 4.3.1 Insufficient system storage"])
def test_a_recipient_refused_beside_others_is_reason_to_ask_no_other_server(line: str) -> None:
    assert not of_recipient(reply(line)).goes_on


# About one mail alone.


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (Phase.RECIPIENT, "554 5.7.1 Relay access denied"),
        (Phase.RECIPIENT, "530 5.7.0 Authentication required"),
        (Phase.RECIPIENT, "550 5.7.1 Sender address rejected: Access denied"),
        (Phase.RECIPIENT, "421 4.3.2 Going away"),
        (Phase.SENDER, "421 4.3.2 Going away"),
        (Phase.MESSAGE, "421 4.3.2 Going away"),
    ],
)
def test_what_a_server_may_decide_by_the_recipients_domain_leaves_a_doubt(phase: Phase, line: str) -> None:
    assert answered(phase, line).is_doubtful


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (Phase.SENDER, "554 5.7.1 Relay access denied"),
        (Phase.SENDER, "530 5.7.0 Authentication required"),
        (Phase.DATA, "530 5.7.0 Authentication required"),
        (Phase.RECIPIENT, "553 5.7.1 Sender address rejected: not owned by user"),
        (Phase.RECIPIENT, "554 5.7.1 Client host rejected"),
        (Phase.RECIPIENT, "452 4.3.1 Insufficient system storage"),
        (Phase.RECIPIENT, "550 5.1.1 No such user"),
    ],
)
def test_what_a_server_says_to_everybody_leaves_none(phase: Phase, line: str) -> None:
    assert not answered(phase, line).is_doubtful


@pytest.mark.parametrize("error", [LINK_LOST, NOBODY_KNOWS, refusal(Phase.MESSAGE, reply("421 Closing"))])
def test_a_lost_link_leaves_a_doubt_and_where_others_are_served_nothing_is_held_against_the_server(
    error: DeliveryError,
) -> None:
    verdict = of_error(error)
    assert verdict.is_doubtful
    assert for_one(verdict) == replace(verdict, trips=False)


@pytest.mark.parametrize(
    ("line", "reason", "final_after"),
    [
        ("421 4.3.2 Going away", Reason.DOWN, None),
        ("554 5.7.1 Relay access denied", Reason.RECIPIENT_FORBIDDEN, timedelta(hours=24)),
        ("530 5.7.0 Authentication required", Reason.RECIPIENT_FORBIDDEN, timedelta(hours=24)),
        ("550 5.7.1 Sender address rejected: Access denied", Reason.BARRED, timedelta(hours=24)),
    ],
)
def test_where_others_are_served_a_doubt_is_told_as_this_mails_and_ends_after_a_day(
    line: str, reason: Reason, final_after: timedelta | None
) -> None:
    verdict = for_one(answered(Phase.RECIPIENT, line))
    assert (verdict.action, verdict.reason, verdict.final_after) == (MailAction.RETRY, reason, final_after)
    assert (verdict.trips, verdict.opens) == (False, False)


# Before any mail.

WORDS_OF_SERVERS = ["Too many connections", "Monthly messages limit reached", "Rate limit", "Your IP is on a blacklist"]


@pytest.mark.parametrize("text", WORDS_OF_SERVERS)
@pytest.mark.parametrize("phase", BEFORE_ANY_MAIL)
def test_words_that_no_server_has_said_decide_nothing(phase: Phase, text: str) -> None:
    error = Temporary(phase, Fault.TIMEOUT, text, enhanced="4.3.2")
    assert of_error(error) == of_error(Temporary(phase, Fault.TIMEOUT))
    assert not is_crowded(error)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("421 Too many connections from your host", True),
        ("421 4.3.2 Come back", True),
        ("421 4.7.652 Come back", True),
        ("421 4.3.1 Come back", False),
        ("554 5.7.1 No service for you", False),
        ("421 Monthly messages limit reached", False),
    ],
)
def test_a_server_is_crowded_if_it_says_so_in_words_or_by_its_code(line: str, expected: bool) -> None:
    assert is_crowded(refusal(Phase.GREETING, reply(line))) is expected


@pytest.mark.parametrize(
    ("phase", "line", "whose", "reason"),
    [
        (Phase.SIGN_IN, "535 5.7.8 Username and Password not accepted", Whose.SETTINGS, None),
        (Phase.EHLO, "501 Syntactically invalid HELO argument(s)", Whose.SETTINGS, None),
        (Phase.EHLO, "550 No", Whose.SERVER, None),
        (Phase.GREETING, "421 4.3.2 Come back", Whose.SERVER, None),
        (Phase.SIGN_IN, "535 5.7.0 Monthly messages limit reached", Whose.SERVER, Reason.ALLOWANCE),
        (Phase.SIGN_IN, "454 4.7.0 Too many messages, slow down", Whose.SERVER, Reason.TOO_MANY_MAILS),
        (Phase.GREETING, "421 Too many connections", Whose.SERVER, Reason.TOO_MANY_CONNECTIONS),
    ],
)
def test_before_any_mail_it_is_the_servers_fault_unless_only_a_person_can_mend_it(
    phase: Phase, line: str, whose: Whose, reason: Reason | None
) -> None:
    verdict = answered(phase, line)
    assert verdict.whose is whose
    assert verdict.opens is (whose is Whose.SETTINGS)
    assert verdict.goes_on
    assert reason is None or verdict.reason is reason


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("421 Come back in 20 minutes", 1200),
        ("421 Come back in 20 seconds", 60),
        ("421 Later", 60),
        ("421 Too many connections", 0),
        ("421 Too many connections, try again in 7 minutes", 420),
        ("421 Monthly messages limit reached", 3600),
        ("421 Monthly messages limit reached, try again in 2 hours", 7200),
        ("421 Monthly messages limit reached, try again in 2 minutes", 3600),
    ],
)
def test_a_server_is_left_alone_for_as_long_as_it_asks_and_no_shorter_than_its_trouble_lasts(
    line: str, seconds: float
) -> None:
    assert answered(Phase.GREETING, line).seconds == seconds


# Each line of the table.

SENDER, RECIPIENT, DATA, MESSAGE = TRANSACTION
ENVELOPE = (SENDER, RECIPIENT, DATA)
OF_CONTENT = (SENDER, DATA, MESSAGE)
REASONS: list[tuple[tuple[Phase, ...], str, Reason]] = [
    (TRANSACTION, "452 4.3.1 No", Reason.NO_ROOM),
    (TRANSACTION, "451 4.4.5 No", Reason.NO_ROOM),
    (TRANSACTION, "550 5.4.5 No", Reason.ALLOWANCE),
    (TRANSACTION, "550 5.1.90 No", Reason.ALLOWANCE),
    (TRANSACTION, "550 5.7.236 No", Reason.ALLOWANCE),
    (TRANSACTION, "550 5.7.705 No", Reason.ACCOUNT_HELD),
    (TRANSACTION, "450 Sending is paused", Reason.ACCOUNT_HELD),
    (TRANSACTION, "550 5.7.1 Your daily limit is used up", Reason.ALLOWANCE),
    (OF_CONTENT, "452 The daily mails are exceeded", Reason.ALLOWANCE),
    ((RECIPIENT,), "452 The daily mails are exceeded", Reason.RECIPIENT_LATER),
    ((MESSAGE,), "552 5.2.2 The daily mails are exceeded", Reason.MAILBOX_FULL),
    ((RECIPIENT, MESSAGE), "450 4.2.1 Receiving mail too quickly", Reason.FLOODED),
    ((RECIPIENT,), "554 5.2.122 No", Reason.FLOODED),
    (ENVELOPE, "450 4.7.0 Too many sessions", Reason.TOO_MANY_CONNECTIONS),
    (TRANSACTION, "450 4.7.0 Too fast", Reason.TOO_MANY_MAILS),
    (TRANSACTION, "450 4.7.0 Not so many per second", Reason.TOO_MANY_MAILS),
    ((RECIPIENT,), "550 5.7.124 Relay access denied", Reason.RECIPIENT_FORBIDDEN),
    ((RECIPIENT,), "550 5.7.1 Relaying blocked by the recipient", Reason.RECIPIENT_FORBIDDEN),
    ((RECIPIENT,), "550 5.7.1 No", Reason.RECIPIENT_FORBIDDEN),
    ((SENDER, RECIPIENT), "504 5.5.2 Sender address rejected: need fully-qualified address", Reason.SENDER_REFUSED),
    ((RECIPIENT,), "504 5.5.2 Recipient address rejected: need fully-qualified address", Reason.RECIPIENT_REFUSED),
    ((RECIPIENT,), "550 5.7.23 SPF", Reason.FROM_DOMAIN),
    ((RECIPIENT,), "553 sorry, your envelope sender is in my badmailfrom list", Reason.BARRED),
    ((RECIPIENT,), "550 5.7.1 Sender rejected", Reason.BARRED),
    (TRANSACTION, "550 5.7.25 No", Reason.HOST_REFUSED),
    (TRANSACTION, "550 5.7.606 No", Reason.HOST_REFUSED),
    (TRANSACTION, "550 5.7.649 No", Reason.HOST_REFUSED),
    (TRANSACTION, "550 5.7.708 No", Reason.HOST_REFUSED),
    (TRANSACTION, "554 5.2.252 No", Reason.NOT_OWNER),
    (TRANSACTION, "550 5.7.60 No", Reason.NOT_OWNER),
    (TRANSACTION, "550 5.7.1 Not authorised to send as this sender", Reason.NOT_OWNER),
    (ENVELOPE, "550 5.7.1 Username and sender differ", Reason.NOT_OWNER),
    ((MESSAGE,), "550 5.7.1 Username and sender differ", Reason.MESSAGE_REFUSED),
    (TRANSACTION, "530 5.7.0 No", Reason.LOGIN_WANTED),
    (TRANSACTION, "535 No", Reason.LOGIN_WANTED),
    ((SENDER, RECIPIENT), "503 AUTH first", Reason.LOGIN_WANTED),
    ((DATA,), "503 AUTH first", Reason.NOT_UNDERSTOOD),
    (ENVELOPE, "421 Bye", Reason.DOWN),
    ((MESSAGE,), "421 Bye", Reason.DOWN),
    ((RECIPIENT,), "452 4.5.3 No", Reason.TOO_MANY_RECIPIENTS),
    ((RECIPIENT,), "550 5.5.3 No", Reason.TOO_MANY_RECIPIENTS),
    ((RECIPIENT,), "450 Too many recipients", Reason.TOO_MANY_RECIPIENTS),
    ((RECIPIENT, MESSAGE), "452 4.2.2 No", Reason.MAILBOX_FULL),
    ((RECIPIENT, MESSAGE), "552 5.2.2 No", Reason.MAILBOX_FULL),
    ((RECIPIENT,), "552 No", Reason.MAILBOX_FULL),
    ((RECIPIENT,), "550 Over quota", Reason.MAILBOX_FULL),
    ((RECIPIENT,), "550 5.1.8 The sender's domain is unknown", Reason.SENDER_REFUSED),
    ((RECIPIENT,), "550 5.1.6 No", Reason.NO_RECIPIENT),
    (TRANSACTION, "500 No", Reason.NOT_UNDERSTOOD),
    (TRANSACTION, "502 5.5.1 No", Reason.NOT_UNDERSTOOD),
    ((SENDER, RECIPIENT), "553 5.6.7 No", Reason.NO_SMTPUTF8),
    (OF_CONTENT, "550 5.3.4 No", Reason.TOO_LARGE),
    (OF_CONTENT, "552 Too long", Reason.TOO_LARGE),
    ((DATA, MESSAGE), "552 No", Reason.MESSAGE_REFUSED),
    ((DATA, MESSAGE), "550 Try again later", Reason.MESSAGE_LATER),
    ((MESSAGE,), "550 5.7.1 No", Reason.MESSAGE_REFUSED),
    (TRANSACTION, "451 Greylisted", Reason.GREYLISTED),
    ((RECIPIENT,), "451 4.7.1 No", Reason.GREYLISTED),
    ((SENDER,), "550 No", Reason.SENDER_REFUSED),
    ((RECIPIENT,), "554 No", Reason.RECIPIENT_REFUSED),
    ((DATA, MESSAGE), "554 No", Reason.MESSAGE_REFUSED),
    ((SENDER,), "451 No", Reason.SENDER_LATER),
    ((RECIPIENT,), "451 No", Reason.RECIPIENT_LATER),
    ((DATA, MESSAGE), "451 No", Reason.MESSAGE_LATER),
]


@pytest.mark.parametrize(
    ("phase", "line", "reason"), [(phase, line, reason) for phases, line, reason in REASONS for phase in phases]
)
def test_each_kind_of_answer_has_a_reason_of_its_own(phase: Phase, line: str, reason: Reason) -> None:
    assert answered(phase, line).reason is reason


@pytest.mark.parametrize("phase", TRANSACTION)
def test_too_many_a_second_says_nothing_of_how_many_go_in_a_minute(phase: Phase) -> None:
    assert not answered(phase, "450 4.7.0 Too many mails per second").paces
    assert answered(phase, "450 4.7.0 Too many mails").paces


@pytest.mark.parametrize("phase", OF_CONTENT)
@pytest.mark.parametrize(("line", "seconds"), [("451 4.3.0 Try again in 6 minutes", 360), ("552 5.3.4 Never", None)])
def test_a_mail_waits_as_long_as_the_server_asks_where_the_table_names_no_wait(
    phase: Phase, line: str, seconds: float | None
) -> None:
    assert answered(phase, line).seconds == seconds


# What is said unasked, or without a code.


@pytest.mark.parametrize(
    ("phase", "whose", "reason"),
    [
        (Phase.SENDER, Whose.MAIL, Reason.SENDER_REFUSED),
        (Phase.RECIPIENT, Whose.RECIPIENT, Reason.NO_RECIPIENT),
        (Phase.MESSAGE, Whose.RECIPIENT, Reason.NO_RECIPIENT),
    ],
)
def test_a_refusal_that_is_not_final_is_tried_again_for_its_own_reason(
    phase: Phase, whose: Whose, reason: Reason
) -> None:
    verdict = of_error(Temporary(phase, Fault.REPLY, "No such user", code=550))
    assert (verdict.action, verdict.whose, verdict.reason) == (MailAction.RETRY, whose, reason)


@pytest.mark.parametrize(
    ("phase", "later", "refused"),
    [
        (Phase.SENDER, Reason.SENDER_LATER, Reason.SENDER_REFUSED),
        (Phase.RECIPIENT, Reason.RECIPIENT_LATER, Reason.RECIPIENT_REFUSED),
        (Phase.MESSAGE, Reason.MESSAGE_LATER, Reason.MESSAGE_REFUSED),
    ],
)
def test_a_refusal_without_a_code_is_as_final_as_its_kind(phase: Phase, later: Reason, refused: Reason) -> None:
    first, second = of_error(Temporary(phase, Fault.REPLY)), of_error(Permanent(phase, Fault.REPLY))
    assert (first.action, first.reason) == (MailAction.RETRY, later)
    assert (second.action, second.reason) == (MailAction.REFUSE, refused)


# Whose words decide.


@pytest.mark.parametrize(
    "address",
    ["throttle@example.com", "greylist@example.com:", "relay@helo.example,", "<throttled>", "<mailbox full>", "<a b>"],
)
@pytest.mark.parametrize("line", ["550 {} No such user", "550 5.1.1 {}: no such user here", "550 no such user {}"])
def test_an_address_decides_nothing_wherever_it_stands(address: str, line: str) -> None:
    verdict = of_recipient(reply(line.format(address)))
    assert (verdict.action, verdict.reason) == (MailAction.REFUSE, Reason.NO_RECIPIENT)


def test_a_reply_is_read_without_regard_to_case() -> None:
    assert of_recipient(reply("550 RELAYING DENIED")).opens


@pytest.mark.parametrize(("place", "is_read"), [(495, True), (496, False)])
def test_of_a_reply_500_characters_are_read(place: int, is_read: bool) -> None:
    verdict = of_recipient(Reply(550, None, ("." * (place - 1) + " relay",)))
    assert (verdict.reason is Reason.NO_RELAY) is is_read


# What people read.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refusal(Phase.SENDER, reply("550 5.4.5 Daily limit")), Reason.ALLOWANCE),
        (refusal(Phase.RECIPIENT, reply("554 5.7.1 Relay access denied")), Reason.NO_RELAY),
        (refusal(Phase.RECIPIENT, reply("550 5.1.8 Sender address rejected: Domain not found")), Reason.SENDER_REFUSED),
        (refusal(Phase.RECIPIENT, reply("552 sender quota exceeded")), Reason.ALLOWANCE),
        (LINK_LOST, Reason.LINK_LOST),
    ],
)
def test_what_is_the_servers_fault_is_told_in_the_words_of_the_mail_log(error: DeliveryError, reason: Reason) -> None:
    assert message_of(error) == words(reason)


@pytest.mark.parametrize(
    "error",
    [
        refusal(Phase.RECIPIENT, reply("550 5.1.1 No such user")),
        refusal(Phase.MESSAGE, reply("550 5.7.1 Spam")),
        Misconfigured(Phase.SENDER, Fault.CLIENT_CERTIFICATE),
        Temporary(Phase.CONNECT, Fault.REFUSED),
        refusal(Phase.SIGN_IN, reply("535 5.7.0 Monthly messages limit reached")),
    ],
)
def test_what_is_not_is_told_in_the_words_of_the_connection_test(error: DeliveryError) -> None:
    from_test = words(diagnosis.reason(error))
    assert message_of(error) == from_test


@pytest.mark.parametrize("phase", TRANSACTION)
def test_a_client_certificate_that_is_wanted_pauses_the_server_whenever_that_is_said(phase: Phase) -> None:
    verdict = of_error(Misconfigured(phase, Fault.CLIENT_CERTIFICATE))
    assert (verdict.whose, verdict.action, verdict.opens) == (Whose.SETTINGS, MailAction.SNOOZE, True)
