"""What the words of a reply tell beyond its code: the verdict follows what they are recognised as."""

import pytest

from services.delivery.retry_policy import MailAction, Verdict, Whose, of_error, of_recipient
from services.outbox.reasons import Reason
from services.smtp.wire import Reply
from utils.errors import DeliveryError, Fault, Permanent, Phase, Temporary

RETRY, SNOOZE, REFUSE, _ = MailAction
IN_A_MAIL = (Phase.SENDER, Phase.RECIPIENT, Phase.DATA, Phase.MESSAGE)
AT_THE_DOOR = (Phase.SENDER, Phase.RECIPIENT)


def verdict_on(phase: Phase, line: str) -> Verdict:
    code, text = line[:3], line[4:]
    status = text.partition(" ")[0]
    enhanced = status if status.count(".") == 2 else None
    kind = Temporary if code[0] == "4" else Permanent
    return of_error(kind(phase, Fault.REPLY, text, code=int(code), enhanced=enhanced))


@pytest.mark.parametrize("code", ["550", "551", "553", "550 5.1.0"])
@pytest.mark.parametrize("text", ["Dictionary attack detected", "policy violation", "spam not accepted", "No", ""])
def test_no_address_is_bad_for_a_code_alone(code: str, text: str) -> None:
    assert not verdict_on(Phase.RECIPIENT, f"{code} {text}").is_hard_bounce


@pytest.mark.parametrize("line", ["553 Mailbox name not allowed", "551 User not local", "550 5.1.0 Address rejected."])
def test_an_address_is_bad_where_the_words_of_the_standard_say_so(line: str) -> None:
    assert verdict_on(Phase.RECIPIENT, line).is_hard_bounce


@pytest.mark.parametrize("phase", [Phase.SENDER, Phase.RECIPIENT])
@pytest.mark.parametrize(
    "line",
    ["451 4.7.25 Temporary error validating reverse DNS.", "450 client [192.0.2.1] rDNS lookup timeout",
     "451 4.7.1 Temporary failure in reverse DNS lookup"],
)  # fmt: skip
def test_a_lookup_that_failed_at_the_server_stops_nothing(phase: Phase, line: str) -> None:
    assert not verdict_on(phase, line).opens


@pytest.mark.parametrize("phase", IN_A_MAIL)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("471 Envelope From address not authorized", Reason.NOT_OWNER),
        ("451 4.0.0 invalid return path: not owned by user", Reason.NOT_OWNER),
        ("421 is not allowed to send: recipient limit exceeded", Reason.ALLOWANCE),
    ],
)
def test_a_temporary_reply_that_no_waiting_helps_is_left_to_a_person(phase: Phase, line: str, reason: Reason) -> None:
    verdict = verdict_on(phase, line)
    assert (verdict.action, verdict.whose, verdict.reason) == (SNOOZE, Whose.SETTINGS, reason)


@pytest.mark.parametrize("phase", IN_A_MAIL)
@pytest.mark.parametrize(
    "line",
    [
        "550 Sender frequency limited",
        "550 Domain frequency limited. Please visit our help",
        "550 This IP has sent too many messages this hour. IB504",
        "550 shop.example is sending too many emails - rate overlimit",
        "550 5.7.508 Access denied, [2001:db8::1] has exceeded permitted limits within /64 range",
    ],
)
def test_a_final_reply_that_waiting_helps_is_waited_for(phase: Phase, line: str) -> None:
    verdict = verdict_on(phase, line)
    assert (verdict.action, verdict.whose, verdict.slows) == (SNOOZE, Whose.SERVER, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("550 5.7.1 Reject due to SPF policy", Reason.FROM_DOMAIN),
        ("550 5.7.30 This mail has been blocked because DKIM does not pass.", Reason.FROM_DOMAIN),
        ("554 5.7.1 The PTR record is missing", Reason.NO_HOST_NAME),
        ("554 Message contains Spam Content", Reason.CONTENT_REFUSED),
        ("552 Maximum email size exceeded", Reason.TOO_LARGE),
        ("550 This user doesn't have a yahoo.com account", Reason.NO_RECIPIENT),
        ("550 5.7.28 There is an unusual rate of unsolicited mail", Reason.TOO_MANY_MAILS),
    ],
)
def test_a_message_that_was_handed_over_is_refused_for_what_the_words_tell(line: str, reason: Reason) -> None:
    verdict = verdict_on(Phase.MESSAGE, line)
    assert (verdict.action, verdict.reason, verdict.is_hard_bounce) == (REFUSE, reason, False)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("421 4.7.27 Your email has been rate limited because SPF authentication didn't pass", Reason.FROM_DOMAIN),
        ("451 4.7.23 The PTR record is missing", Reason.NO_HOST_NAME),
        ("450 The message looks like a virus", Reason.CONTENT_REFUSED),
    ],
)
def test_what_is_temporary_is_tried_again_for_as_long_as_any_mail(line: str, reason: Reason) -> None:
    verdict = verdict_on(Phase.MESSAGE, line)
    assert (verdict.action, verdict.reason) == (RETRY, reason)
    assert (verdict.final_after, verdict.most_attempts) == (None, None)


def test_a_temporary_reply_that_is_known_to_stay_is_tried_once_more() -> None:
    verdict = verdict_on(Phase.MESSAGE, "450 The given data was invalid.")
    assert (verdict.action, verdict.most_attempts) == (RETRY, 2)


@pytest.mark.parametrize("phase", AT_THE_DOOR)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("550 5.7.29 requires all senders to use TLS/SSL for SMTP connections", Reason.ENCRYPTION_WANTED),
        ("550 Please log in first", Reason.LOGIN_WANTED),
        ("550 5.7.705 Access denied, tenant has exceeded threshold", Reason.ACCOUNT_HELD),
        ("450 Sending is paused", Reason.ACCOUNT_HELD),
    ],
)
def test_what_only_a_person_can_mend_pauses_the_server(phase: Phase, line: str, reason: Reason) -> None:
    verdict = verdict_on(phase, line)
    assert (verdict.whose, verdict.opens, verdict.reason) == (Whose.SETTINGS, True, reason)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("550 Nessun utente simile in questo indirizzo", (REFUSE, Reason.NO_RECIPIENT, True)),
        ("550 Utilisateur inconnu", (REFUSE, Reason.NO_RECIPIENT, True)),
        ("550 5.4.1 Recipient address rejected: Access denied", (REFUSE, Reason.NO_RECIPIENT, True)),
        ("450 unverified address: user unknown", (RETRY, Reason.NO_RECIPIENT, False)),
        ("552 5.1.1 Boite du destinataire pleine", (RETRY, Reason.MAILBOX_FULL, False)),
        ("550 5.2.122 recipient's per hour message receive limit exceeded", (RETRY, Reason.FLOODED, False)),
        ("550 Rejected: sender not in allowed-senders list", (RETRY, Reason.RECIPIENT_FORBIDDEN, False)),
    ],
)
def test_a_recipient_is_judged_by_the_words_before_the_status(
    line: str, expected: tuple[MailAction, Reason, bool]
) -> None:
    status = line[4:].partition(" ")[0]
    enhanced = status if status.count(".") == 2 else None
    verdict = of_recipient(Reply(code=int(line[:3]), enhanced=enhanced, lines=(line[4:],)))
    assert (verdict.action, verdict.reason, verdict.is_hard_bounce) == expected


@pytest.mark.parametrize("phase", IN_A_MAIL)
def test_an_address_in_the_reply_does_not_choose_the_verdict(phase: Phase) -> None:
    plain = verdict_on(phase, "550 5.9.9 <ann@b.example>: Nope")
    for name in ("user.unknown", "spf", "dmarc.fail", "greylisted", "relay.denied", "too.many.mails"):
        assert verdict_on(phase, f"550 5.9.9 <{name}@b.example>: Nope") == plain, name
        assert verdict_on(phase, f"550 5.9.9 {name}@b.example: Nope") == plain, name


def test_a_reply_that_no_rule_knows_is_judged_by_its_status() -> None:
    error: DeliveryError = Permanent(Phase.RECIPIENT, Fault.REPLY, "Zork!", code=550, enhanced="5.1.1")
    assert of_error(error).reason is Reason.NO_RECIPIENT
