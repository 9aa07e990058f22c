"""Which refusals of a recipient a connection test may pass over: those that are about that mailbox, and greylisting."""

import re

import pytest

from services.delivery import refused_recipient
from services.smtp.dialogue import refusal
from services.smtp.wire import Reply
from utils.errors import DeliveryError, Fault, Permanent, Phase

OF_MAILBOX = """\
550 5.1.1 <ann@b.example>: Recipient address rejected: User unknown in local recipient table
550 5.1.1 <ann@b.example>: Recipient address rejected: User unknown in relay recipient table
550 5.1.1 The email account that you tried to reach does not exist. Check the recipient's email address
550 5.1.10 Recipient address has null MX
450 4.1.1 <ann@b.example>: Recipient address rejected: unverified address: Address lookup failed
550 5.1.6 This mailbox has moved
550 5.2.1 The email account that you tried to reach is disabled
452 4.2.2 The email account that you tried to reach is over quota
552 5.2.2 Mailbox full
552 Mailbox full
554 5.2.2 mailbox full
450 4.2.1 The user you are trying to contact is receiving mail too quickly
450 4.2.0 <ann@b.example>: Recipient address rejected: mailbox busy
550 No such user here
550 5.1.0 No such user here
550 5.7.1 No such user
450 No such user
550 User unknown
550 Mailbox not found
550 Unrouteable address
550 Requested action not taken: mailbox unavailable
450 Requested mail action not taken: mailbox unavailable
550 5.5.0 Requested action not taken: mailbox unavailable
550 sorry, no mailbox here by that name. (#5.1.1)
551 5.1.6 User not local; please try elsewhere
553 5.1.1 unknown
""".splitlines()
OF_MORE = """\
554 5.7.1 <ann@b.example>: Relay access denied
550 relay not permitted
550 5.7.1 Unable to relay
550 5.7.1 <ann@b.example>... Relaying denied
553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)
550 Mailing to remote domains not supported
504 5.5.2 <vault>: Helo command rejected: need fully-qualified hostname
450 4.7.1 <app.invalid>: Helo command rejected: Host not found
550 5.7.1 <app>: Helo command rejected: Access denied
554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied
450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.9]
450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.9]
554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using zen.spamhaus.org
553 5.7.1 <boss@x.example>: Sender address rejected: not owned by user shop
553 5.7.1 <boss@x.example>: Sender address rejected: not logged in
450 4.1.8 <ann@x.example>: Sender address rejected: Domain not found
550 5.1.8 <ann@x.example>: Sender address rejected: Domain not found
450 4.1.7 <ann@x.example>: Sender address rejected: unverified address
550 5.1.0 <ann@x.example>: Sender address rejected: User unknown in virtual mailbox table
550 5.1.1 <ann@x.example>: Sender address rejected: User unknown
550 Sender verify failed
550 Verification failed for <ann@x.example> No Such User Here Sender verify failed
550 5.7.60 SMTP; Client does not have permissions to send as this sender
550 5.7.26 This mail is unauthenticated: the sender has no DMARC
530 5.7.0 Authentication required
530 Must issue a STARTTLS command first
503 AUTH command must precede
503 5.5.1 Error: need MAIL command
550 5.7.1 not permitted
550 5.7.1 Access denied
550 Access denied
550 Administrative prohibition
550 rejected
550 5.1.0 rejected
550 Message rejected by policy: user unknown
550 Requested action not taken: mailbox unavailable Reject due to policy restrictions
521 5.2.1 This host accepts no mail
554 5.5.1 Error: no valid recipients
554 Transaction failed
552 sender quota exceeded
552 5.2.2 sender over quota
552 You have exceeded your quota
450 4.2.1 daily sending quota exceeded
550 5.4.5 Daily user sending limit exceeded
450 4.7.1 Error: too much mail from 192.0.2.9
452 4.5.3 Too many recipients
450 4.4.2 rate limit exceeded
421 4.7.0 Too many messages
451 4.7.1 Try again later
451 4.3.0 Temporary lookup failure
450 4.1.2 <ann@b.example>: Recipient address rejected: Domain not found
550 5.7.708 Access denied, traffic not accepted from this IP
550 5.7.133 sender not authenticated for group
""".splitlines()
PUT_OFF = """\
450 4.2.0 <ann@b.example>: Recipient address rejected: Greylisted, see https://postgrey.example
451 4.7.1 Greylisting in effect, please come back later
451 Temporarily greylisted
450 4.7.1 You have been gray listed
""".splitlines()


def error_of(line: str, phase: Phase = Phase.RECIPIENT) -> DeliveryError:
    code, _, text = line.partition(" ")
    enhanced = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= )", text)
    return refusal(phase, Reply(int(code), enhanced[0] if enhanced else None, (text,)))


@pytest.mark.parametrize("line", OF_MAILBOX)
def test_what_is_about_the_mailbox_says_nothing_of_others(line: str) -> None:
    assert refused_recipient.is_about_mailbox(error_of(line), is_local=True)
    assert not refused_recipient.is_greylisting(error_of(line))


@pytest.mark.parametrize("line", OF_MORE)
def test_what_is_about_us_or_in_doubt_is_not_about_the_mailbox(line: str) -> None:
    assert not refused_recipient.is_about_mailbox(error_of(line), is_local=True)
    assert not refused_recipient.is_greylisting(error_of(line))


@pytest.mark.parametrize("line", PUT_OFF)
def test_greylisting_is_known_by_its_words(line: str) -> None:
    assert refused_recipient.is_greylisting(error_of(line))


def test_a_server_that_finds_no_way_to_another_domain_finds_none_to_others_either() -> None:
    assert not refused_recipient.is_about_mailbox(error_of("550 Unrouteable address"), is_local=False)


def test_an_address_that_cannot_be_said_is_about_the_mailbox() -> None:
    unsayable = Permanent(Phase.RECIPIENT, Fault.NO_SMTPUTF8, "no SMTPUTF8", enhanced="5.6.7")
    assert refused_recipient.is_about_mailbox(unsayable, is_local=False)


@pytest.mark.parametrize("phase", [Phase.SENDER, Phase.DATA, Phase.MESSAGE, Phase.SIGN_IN])
def test_what_is_said_to_anything_but_the_recipient_is_not_about_a_mailbox(phase: Phase) -> None:
    error = error_of("550 5.1.1 no such user", phase)
    assert not refused_recipient.is_about_mailbox(error, is_local=True)


def test_what_a_recipient_is_called_does_not_decide() -> None:
    line = "554 5.7.1 <no-such-user.greylisted@b.example>: Access denied for nobody@unknown-user.example"
    assert not refused_recipient.is_about_mailbox(error_of(line), is_local=True)
    assert not refused_recipient.is_greylisting(error_of(line))
