"""What is done about a mail that did not go through: each line of the table, and the time to the next attempt."""

from datetime import timedelta

import pytest

from services.delivery.retry_policy import (
    MailAction,
    Verdict,
    Whose,
    for_one,
    message_of,
    of_error,
    of_recipient,
)
from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason, words
from services.smtp.dialogue import refusal
from services.smtp.settings import Security, SmtpSettings
from services.smtp.wire import Reply
from utils.errors import DeliveryError, Fault, Misconfigured, OutcomeUnknown, Permanent, Phase, Temporary

RETRY, SNOOZE, REFUSE, UNCERTAIN = MailAction
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TRANSACTION = (Phase.SENDER, Phase.RECIPIENT, Phase.DATA, Phase.MESSAGE)


def reply(line: str) -> Reply:
    """A reply from its line: "550 5.1.1 No such user"."""
    code, _, text = line.partition(" ")
    first = text.partition(" ")[0]
    is_status = first.count(".") == 2 and first.replace(".", "").isdigit()
    return Reply(int(code), first if is_status else None, (text,))


def answered(phase: Phase, line: str) -> Verdict:
    return of_error(refusal(phase, reply(line)))


def facts(verdict: Verdict) -> str:
    """The verdict's action and marks in one line."""
    marks = [name for name in ("trips", "opens", "crowds", "at_once", "is_hard_bounce") if getattr(verdict, name)]
    return " ".join([verdict.action, *marks])


OPENING = [
    ("a server name that is not found", Temporary(Phase.DNS, Fault.DNS_NOT_FOUND), "snooze trips"),
    ("a name server that fails", Temporary(Phase.DNS, Fault.DNS_FAILED), "snooze trips"),
    ("a refused connection", Temporary(Phase.CONNECT, Fault.REFUSED), "snooze trips"),
    ("no answer to the connection", Temporary(Phase.CONNECT, Fault.TIMEOUT), "snooze trips"),
    ("an address that is never used", Misconfigured(Phase.CONNECT, Fault.ADDRESS_REFUSED), "snooze opens"),
    ("no greeting", Temporary(Phase.GREETING, Fault.CLOSED), "snooze trips"),
    ("something that is no mail server", Misconfigured(Phase.GREETING, Fault.NOT_SMTP), "snooze opens"),
    ("a wrong certificate", Misconfigured(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE), "snooze opens"),
    ("no STARTTLS", Misconfigured(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED), "snooze opens"),
    ("a password that would go in clear", Misconfigured(Phase.SIGN_IN, Fault.AUTH_UNENCRYPTED), "snooze opens"),
    ("a token that is not accepted there", Misconfigured(Phase.SIGN_IN, Fault.OAUTH_NOT_OFFERED), "snooze opens"),
    ("a token that was refused by leaving", Misconfigured(Phase.SIGN_IN, Fault.REPLY, "refused"), "snooze opens"),
    ("a connection lost at the login", Temporary(Phase.SIGN_IN, Fault.CLOSED), "snooze trips"),
]
OPENING_REPLIES = [
    (Phase.GREETING, "421 4.3.2 Too busy", "snooze trips crowds"),
    (Phase.GREETING, "554 5.7.1 No service for you", "snooze trips"),
    (Phase.EHLO, "450 Later", "snooze trips"),
    (Phase.EHLO, "550 Your name is bad", "snooze trips"),
    (Phase.SIGN_IN, "535 5.7.8 Username and Password not accepted", "snooze opens"),
    (Phase.SIGN_IN, "534 5.7.9 Application-specific password required", "snooze opens"),
    (Phase.SIGN_IN, "538 Encryption required", "snooze opens"),
    (Phase.SIGN_IN, "530 5.7.0 Must issue a STARTTLS command first", "snooze opens"),
    (Phase.SIGN_IN, "454 4.7.0 Temporary authentication failure", "snooze trips"),
    (Phase.SIGN_IN, "421 4.7.0 Try again later", "snooze trips"),
    (Phase.SIGN_IN, "535 5.7.8 Too many connections per account", "snooze crowds"),
    (Phase.GREETING, "421 4.7.0 mail.example.com Error: too many connections from 192.0.2.1", "snooze crowds"),
    (Phase.GREETING, "421 Too many concurrent SMTP connections", "snooze crowds"),
    (Phase.GREETING, "421 4.7.1 Trop de connexions, veuillez verifier votre configuration", "snooze crowds"),
    (Phase.EHLO, "504 5.5.2 <vault>: Helo command rejected: need fully-qualified hostname", "snooze opens"),
    (Phase.EHLO, "501 Syntactically invalid HELO argument(s)", "snooze opens"),
    (Phase.GREETING, "554 5.7.1 Your IP is on the block list of zen.spamhaus.org", "snooze opens"),
    (Phase.SIGN_IN, "535 5.7.0 Monthly messages limit reached", "snooze trips"),
]
TRANSACTION_REPLIES = [
    (Phase.SENDER, "421 4.7.0 Going away", "snooze trips"),
    (Phase.SENDER, "451 4.3.0 Later", "retry"),
    (Phase.SENDER, "452 4.3.1 Insufficient system storage", "snooze trips"),
    (Phase.SENDER, "454 Throttling failure: Maximum sending rate exceeded.", "snooze trips"),
    (Phase.SENDER, "454 Throttling failure: Daily message quota exceeded.", "snooze trips"),
    (Phase.SENDER, "530 5.7.0 Authentication required", "snooze opens"),
    (Phase.SENDER, "503 AUTH command required first", "snooze opens"),
    (Phase.SENDER, "550 5.1.8 Sender not allowed", "refuse"),
    (Phase.SENDER, "553 5.7.1 Not owned by user", "snooze opens"),
    (Phase.SENDER, "552 5.3.4 Too big", "refuse"),
    (Phase.SENDER, "501 Syntax error", "retry"),
    (Phase.RECIPIENT, "452 4.5.3 Too many recipients", "retry"),  # at once would be for ever: none was accepted
    (Phase.RECIPIENT, "550 5.1.1 No such user", "refuse is_hard_bounce"),
    (Phase.RECIPIENT, "554 5.7.1 Relay access denied", "snooze opens"),
    (Phase.DATA, "421 Going away", "snooze trips"),
    (Phase.DATA, "451 4.3.0 Later", "retry"),
    (Phase.DATA, "554 5.5.1 No valid recipients", "refuse"),
    (Phase.DATA, "503 5.5.1 Bad sequence", "retry"),
    (Phase.MESSAGE, "421 4.3.0 Closing", "retry trips"),
    (Phase.MESSAGE, "451 4.7.0 Later", "retry"),
    (Phase.MESSAGE, "552 5.3.4 Message too big", "refuse"),
    (Phase.MESSAGE, "550 5.6.11 Bare LF", "refuse"),
    (Phase.MESSAGE, "550 5.7.1 Spam", "refuse"),
    (Phase.MESSAGE, "554 Transaction failed", "refuse"),
    (Phase.MESSAGE, "550 5.4.5 Daily user sending limit exceeded.", "snooze trips"),
    (Phase.MESSAGE, "550 5.7.1 You have exceeded your daily sending limit", "snooze trips"),
    (Phase.MESSAGE, "554 5.2.0 SubmissionQuotaExceededException", "snooze trips"),
    (Phase.MESSAGE, "554 5.2.252 SendAsDenied", "snooze opens"),
    (Phase.MESSAGE, "550 5.7.0 Too many emails per second", "snooze trips"),
    (Phase.MESSAGE, "450 Mail send limit exceeded.", "snooze trips"),
    (Phase.MESSAGE, "552 5.2.2 Mailbox full", "retry"),
    (Phase.MESSAGE, "550 Failure sending mail. Try again later", "retry"),
]
RECIPIENTS = [
    ("421 4.7.0 Going away", "snooze trips"),
    ("450 4.2.0 Greylisted", "retry"),
    ("451 4.7.1 Try again later", "retry"),
    ("450 4.2.1 The user is receiving mail at a rate that prevents more", "retry"),
    ("450 4.2.1 Peak SMTP relay limit exceeded", "snooze trips"),
    ("452 4.2.2 Over quota", "retry"),
    ("452 4.3.1 Insufficient system storage", "snooze trips"),
    ("452 4.5.3 Too many recipients", "retry at_once"),
    ("552 Too many recipients", "retry at_once"),
    ("550 5.5.3 Too many recipients", "retry at_once"),
    ("552 Requested action aborted", "retry"),
    ("552 5.2.2 The user has exceeded the quota", "retry"),
    ("550 Mailbox is full", "retry"),
    ("550 5.1.0 Address rejected", "refuse is_hard_bounce"),
    ("550 5.1.1 No such user", "refuse is_hard_bounce"),
    ("501 5.1.3 Bad address syntax", "refuse is_hard_bounce"),
    ("550 5.1.10 Recipient not found", "refuse is_hard_bounce"),
    ("550 5.2.1 Mailbox disabled", "refuse is_hard_bounce"),
    ("550 No such user here", "refuse is_hard_bounce"),
    ("551 User not local", "refuse is_hard_bounce"),
    ("553 Mailbox name invalid", "refuse is_hard_bounce"),
    ("554 Transaction failed", "refuse"),
    ("550 5.1.8 Bad sender", "refuse"),
    ("550 5.4.1 Recipient address rejected: Access denied", "refuse is_hard_bounce"),
    ("553 5.6.7 No SMTPUTF8", "refuse"),
    ("550 5.7.1 Unable to relay", "snooze opens"),
    ("554 5.7.1 Client host rejected", "snooze opens"),
    ("550 Relaying denied", "snooze opens"),
    ("550 5.7.1 Not by our rules", "retry"),
    ("550 5.1.90 You have reached your daily limit for message recipients", "snooze trips"),
    ("550 5.4.5 Daily limit", "snooze trips"),
    ("550 5.2.252 SendAsDenied", "snooze opens"),
    ("554 5.2.0 SubmissionQuotaExceeded", "snooze trips"),
    ("550 Domain has exceeded the max emails per hour", "snooze trips"),
    ("530 5.7.0 Authentication required", "snooze opens"),
    ("500 What?", "retry"),
    ("354 Go on", "retry"),
]


@pytest.mark.parametrize(("error", "expected"), [row[1:] for row in OPENING], ids=[row[0] for row in OPENING])
def test_a_server_that_cannot_be_used_costs_a_mail_nothing(error: DeliveryError, expected: str) -> None:
    assert facts(of_error(error)) == expected


@pytest.mark.parametrize(("phase", "line", "expected"), OPENING_REPLIES)
def test_a_refusal_before_any_mail_is_the_servers(phase: Phase, line: str, expected: str) -> None:
    assert facts(answered(phase, line)) == expected


@pytest.mark.parametrize(("phase", "line", "expected"), TRANSACTION_REPLIES)
def test_a_refusal_of_a_mail_is_judged_by_its_phase_its_codes_and_its_words(
    phase: Phase, line: str, expected: str
) -> None:
    assert facts(answered(phase, line)) == expected


@pytest.mark.parametrize(("line", "expected"), RECIPIENTS)
def test_a_refused_recipient_is_judged_alone(line: str, expected: str) -> None:
    assert facts(of_recipient(reply(line))) == expected


@pytest.mark.parametrize("phase", TRANSACTION)
@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.CLOSED, Fault.BROKEN_REPLY])
def test_a_link_lost_before_the_dot_is_charged_and_counts_against_the_server(phase: Phase, fault: Fault) -> None:
    assert facts(of_error(Temporary(phase, fault))) == "retry trips"


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.CLOSED, Fault.BROKEN_REPLY])
def test_a_link_lost_after_the_dot_leaves_the_mail_uncertain(fault: Fault) -> None:
    error = OutcomeUnknown(Phase.MESSAGE, fault, may_have_been_sent=True)
    assert facts(of_error(error)) == "uncertain trips"


def test_what_the_server_says_unasked_refuses_no_mail() -> None:
    assert of_error(Temporary(Phase.SENDER, Fault.REPLY, "Go away", code=554)).action is RETRY


@pytest.mark.parametrize(
    "error",
    [
        Permanent(
            Phase.SENDER, Fault.TOO_LARGE, "The message has 9 bytes, but the server accepts 8.", enhanced="5.3.4"
        ),
        Permanent(Phase.SENDER, Fault.REPLY, "The message has 8-bit content.", enhanced="5.6.3"),
        Permanent(Phase.RECIPIENT, Fault.NO_SMTPUTF8, enhanced="5.6.7"),
    ],
)
def test_what_we_refuse_ourselves_is_final(error: DeliveryError) -> None:
    assert facts(of_error(error)) == "refuse"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("450 4.2.0 Greylisted", 300),
        ("450 4.2.0 Greylisted, try again in 60 seconds", 300),
        ("450 4.2.0 Greylisted, try again in 15 minutes", 900),
        ("550 5.4.5 Daily limit exceeded, try again in 24 hours", 24 * 3600),
        ("550 5.1.1 No such user, try again in 5 minutes", None),
    ],
)
def test_the_wait_is_the_rules_or_the_replys_whichever_is_longer(line: str, seconds: float | None) -> None:
    assert of_recipient(reply(line)).seconds == seconds


@pytest.mark.parametrize(
    ("line", "age", "attempts", "expected"),
    [
        ("552 5.2.2 Mailbox full", 47 * HOUR, 30, RETRY),
        ("552 5.2.2 Mailbox full", 48 * HOUR, 30, REFUSE),
        ("452 4.2.2 Mailbox full", 60 * HOUR, 30, RETRY),
        ("550 5.7.1 Not by our rules", DAY, 9, REFUSE),
        ("500 What?", HOUR, 1, RETRY),
        ("500 What?", HOUR, 2, REFUSE),
        ("530 Authentication required", 60 * HOUR, 30, SNOOZE),
    ],
)
def test_some_refusals_are_final_once_they_have_lasted(
    line: str, age: timedelta, attempts: int, expected: MailAction
) -> None:
    assert of_recipient(reply(line)).action_at(age, attempts) is expected


@pytest.mark.parametrize(
    "address", ["<relay.daily.limit@example.com>", "relay.too-fast@x.example:", '<"rate limit"@x>']
)
def test_an_address_that_the_server_repeats_decides_nothing(address: str) -> None:
    assert facts(of_recipient(reply(f"550 {address} No such user"))) == "refuse is_hard_bounce"


NAME, HOST, LISTED, RELAY, LOGIN, OWNER = (
    Reason.NAME_REFUSED,
    Reason.HOST_REFUSED,
    Reason.BLOCK_LISTED,
    Reason.NO_RELAY,
    Reason.LOGIN_WANTED,
    Reason.NOT_OWNER,
)
ABOUT_US = [
    # Postfix, whose smtpd_delay_reject says all of it at RCPT.
    ("504 5.5.2 Helo command rejected", NAME),
    ("504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname", NAME),
    ("501 5.5.2 <my_app>: Helo command rejected: Invalid name", NAME),
    ("450 4.7.1 <vault>: Helo command rejected: Host not found", NAME),
    ("554 5.7.1 <localhost>: Helo command rejected: Access denied", NAME),
    ("450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]", HOST),
    ("450 4.7.25 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", HOST),
    ("554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", HOST),
    ("554 5.7.1 Service unavailable; Client host [1.2.3.4] blocked using zen.spamhaus.org; see a page", LISTED),
    ("450 4.7.1 Service unavailable; Client host [1.2.3.4] blocked using bl.example.org", LISTED),
    ("554 5.7.1 <jane@example.net>: Relay access denied", RELAY),
    ("454 4.7.1 <jane@example.net>: Relay access denied", RELAY),
    ("553 5.7.1 <s@example.com>: Sender address rejected: not owned by user s@example.org", OWNER),
    ("553 5.7.1 <s@example.com>: Sender address rejected: not logged in", OWNER),
    ("530 5.7.0 Must issue a STARTTLS command first", LOGIN),
    ("530 Authentication required", LOGIN),
    # Exim.
    ("550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", NAME),
    ("550 relay not permitted", RELAY),
    ("550 Please turn on SMTP Authentication in your mail client.", LOGIN),
    ("550 rejected because 192.0.2.1 is in a black list at zen.spamhaus.org", LISTED),
    ("550 Reverse DNS lookup failed for host 192.0.2.1", HOST),
    # Exchange.
    ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", RELAY),
    ("550 5.7.64 TenantAttribution; Relay Access Denied", RELAY),
    ("530 5.7.57 Client not authenticated to send mail", LOGIN),
    ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", OWNER),
    ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", LISTED),
    ("550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", HOST),
    # Sendmail.
    ("550 5.7.1 <jane@example.net>... Relaying denied. Proper authentication required.", LOGIN + RELAY),
    ("550 5.7.1 <jane@example.net>... Relaying denied. IP name lookup failed [192.0.2.1]", HOST),
    ("550 5.7.1 Rejected: 192.0.2.1 listed at dnsbl.example.org", LISTED),
    ("550 5.7.1 Fix reverse DNS for 192.0.2.1", HOST),
    # qmail.
    ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", RELAY),
    ("451 http://www.spamhaus.org/query/bl?ip=192.0.2.1", LISTED),
]


@pytest.mark.parametrize("phase", [Phase.SENDER, Phase.RECIPIENT, Phase.DATA])
@pytest.mark.parametrize(("line", "reason"), ABOUT_US, ids=[line for line, _ in ABOUT_US])
def test_what_a_server_holds_against_us_pauses_the_configuration_and_keeps_the_mail(
    phase: Phase, line: str, reason: tuple[Reason, ...]
) -> None:
    verdict = of_error(refusal(phase, reply(line)))
    assert (verdict.whose, verdict.action, verdict.opens, verdict.goes_on) == (Whose.SETTINGS, SNOOZE, True, True)
    assert verdict.reason in reason
    assert message_of(refusal(phase, reply(line))) == words(verdict.reason)


@pytest.mark.parametrize("line", [line for line, _ in ABOUT_US])
def test_the_advice_on_what_a_server_holds_against_us_never_blames_the_recipient(line: str) -> None:
    place = SmtpSettings(host="mail.example.com", port=587, security=Security.STARTTLS, from_email="s@example.com")
    assert diagnose(refusal(Phase.RECIPIENT, reply(line)), Picture(settings=place)).field != "to"


ABOUT_ONE = [
    ("550 5.1.1 <relay@helo.example>: Recipient address rejected: User unknown in relay recipient table", "refuse"),
    ("550 <blacklist@dnsbl.example>: Recipient address rejected: User unknown in relay recipient table", "refuse"),
    ("504 5.5.2 <jane@helo>: Recipient address rejected: need fully-qualified address", "refuse"),
    ("550 5.7.1 <jane@example.net>: Recipient address rejected: Access denied", "retry"),
    ("550 5.7.1 You are on the block list of the recipient", "retry"),
    ("550 5.7.1 The sender is blacklisted by this user", "retry"),
    ("550 5.7.12 Access denied, sender was not authenticated by organization", "retry"),
    ("550 5.7.133 Sender not authenticated for group", "retry"),
    ("554 5.7.1 recipient address was suppressed due to customer policy", "retry"),
    ("450 4.7.1 <helo@example.net>: Recipient address rejected: Greylisted, blocked using grey.rbl", "retry"),
    ("421 4.7.1 Greylisting in action, please try again later", "retry"),
    ("554 5.2.122 The recipient has exceeded their limit for the number of messages they can receive", "retry"),
    ("550 5.2.1 The mailbox relay is disabled", "refuse"),
    ("550 Sender verify failed", "refuse"),
    ("550 5.1.8 <s@example.com>: Sender address rejected: Domain not found", "refuse"),
    ("450 4.1.8 <s@example.com>: Sender address rejected: Domain not found", "retry"),
    ("452 4.2.2 mailbox full, relaying not possible", "retry"),
    ("550 User not on this host", "refuse"),
    ("551 User not local to this server", "refuse"),
    ("550 No such user on this server", "refuse"),
    ("450 4.4.3 Recipient domain: name lookup failed", "retry"),
    ("550 5.7.23 SPF validation failed", "retry"),
    ("550 SPF check failed: 192.0.2.1 is not allowed to send for example.com", "retry"),
    ("550 5.7.26 Unauthenticated email is not accepted due to the domain's DMARC policy", "retry"),
]


@pytest.mark.parametrize(("line", "action"), ABOUT_ONE)
def test_what_is_about_one_recipient_or_one_sender_stays_the_mails(line: str, action: str) -> None:
    verdict = of_error(refusal(Phase.RECIPIENT, reply(line)))
    assert verdict.whose in (Whose.MAIL, Whose.RECIPIENT)
    assert (verdict.action, verdict.trips, verdict.opens, verdict.goes_on) == (action, False, False, False)


SERVERS_FAULT = [
    (Phase.RECIPIENT, "550 5.7.1 Daily SMTP relay limit exceeded"),
    (Phase.SENDER, "451 4.7.0 You have reached your sending limit per hour"),
    (Phase.SENDER, "550 5.4.5 Daily user sending limit exceeded"),
    (Phase.RECIPIENT, "450 4.7.1 Error: too much mail from 192.0.2.1"),
    (Phase.SENDER, "450 4.7.1 Error: too much mail from 192.0.2.1"),
    (Phase.RECIPIENT, "421 4.7.0 mail.example.com Error: too many errors"),
    (Phase.DATA, '451 4.7.1 Ratelimit "user" exceeded'),
    (Phase.SENDER, "452 4.3.1 Insufficient system storage"),
    (Phase.SENDER, "454 Throttling failure: Maximum sending rate exceeded."),
    (Phase.RECIPIENT, "550 is sending too many emails - rate overlimit"),
]
NOT_THE_SERVERS = [
    (Phase.RECIPIENT, "550 5.1.1 No such user"),
    (Phase.RECIPIENT, "450 4.2.0 Greylisted"),
    (Phase.RECIPIENT, "450 4.2.1 The user is receiving mail at a rate that prevents more"),
    (Phase.RECIPIENT, "452 4.2.2 The recipient is over quota, daily limit exceeded"),
    (Phase.SENDER, "552 5.3.4 Message too big"),
    (Phase.SENDER, "550 5.7.1 not yours"),
    (Phase.DATA, "554 5.7.1 no"),
    (Phase.MESSAGE, "550 5.7.1 Spam: listed in zen.spamhaus.org, HELO rejected, relay denied"),
    (Phase.MESSAGE, "554 5.7.1 Message rejected for its content"),
    (Phase.MESSAGE, "552 5.7.0 blocked because its content presents a potential security issue"),
    (Phase.MESSAGE, "550 5.7.1 this message is likely unsolicited mail"),
    (Phase.MESSAGE, "550 5.7.1 From header does not match the sender"),
    (Phase.MESSAGE, "421 4.3.0 Closing"),
    (Phase.MESSAGE, "550 5.4.5 Daily user sending limit exceeded"),  # the message was handed over
]


@pytest.mark.parametrize(("phase", "line"), SERVERS_FAULT)
def test_a_limit_of_the_servers_goes_on_to_the_next_server_at_once(phase: Phase, line: str) -> None:
    verdict = answered(phase, line)
    assert (verdict.action, verdict.goes_on, of_error(refusal(phase, reply(line))).goes_on) == (SNOOZE, True, True)


@pytest.mark.parametrize(("phase", "line"), NOT_THE_SERVERS)
def test_a_refused_recipient_a_refused_message_and_a_spam_verdict_go_nowhere_else(phase: Phase, line: str) -> None:
    assert not answered(phase, line).goes_on


@pytest.mark.parametrize(
    ("line", "slows", "paces"),
    [
        ("450 4.7.1 Error: too much mail from 192.0.2.1", True, True),
        ("421 4.7.0 mail.example.com Error: too many errors", True, True),
        ("451 4.7.500 Server busy. Please try again later", True, True),
        ("454 Throttling failure: Maximum sending rate exceeded.", True, False),
        ("550 5.7.0 Requested action not taken: too many emails per second", True, False),
        ("550 5.4.5 Daily user sending limit exceeded.", True, False),
        ("550 5.1.1 No such user", False, False),
        ("421 4.3.2 Going away", False, False),
    ],
)
def test_after_too_much_mail_no_more_is_said_and_what_went_in_a_minute_is_the_measure(
    line: str, slows: bool, paces: bool
) -> None:
    verdict = answered(Phase.SENDER, line)
    assert (verdict.slows, verdict.paces) == (slows, paces)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("421 4.3.2 Going away", "retry"),
        ("554 5.7.1 Relay access denied", "retry"),
        ("530 5.7.0 Authentication required", "retry"),
        ("504 5.5.2 Helo command rejected", "snooze opens"),  # no mail fares better
        ("550 5.1.1 No such user", "refuse is_hard_bounce"),
    ],
)
def test_what_may_be_about_one_recipient_is_charged_to_it_where_the_server_serves_others(
    line: str, expected: str
) -> None:
    assert facts(for_one(answered(Phase.RECIPIENT, line))) == expected


def test_no_reason_repeats_the_servers_words() -> None:
    lines = [line for _, line, _ in OPENING_REPLIES + TRANSACTION_REPLIES] + [line for line, _ in RECIPIENTS]
    marked = [reply(f"{line} S3RVER") for line in lines]
    verdicts = [of_recipient(each) for each in marked]
    verdicts += [of_error(refusal(phase, each)) for phase in Phase for each in marked if not each.ok]
    assert not any("S3RVER" in words(verdict.reason) for verdict in verdicts)
    assert len({verdict.reason for verdict in verdicts}) < 40
