"""What real replies are about is recognised, and never taken for something else."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction, Verdict, Whose
from services.diagnosis import facts, reply_rules
from services.diagnosis.diagnosis import explain
from services.diagnosis.picture import Picture
from services.outbox.reasons import Reason
from services.smtp.settings import Security, SmtpSettings
from utils.errors import DeliveryError, Fault, Permanent, Phase, Temporary

DATA: Final = Path(__file__).parents[2] / "data"
SETS: Final[dict[str, Any]] = json.loads((DATA / "reply_classes.json").read_text(encoding="utf-8"))
EXAMPLES: Final[list[dict[str, Any]]] = json.loads((DATA / "reply_examples.json").read_text(encoding="utf-8"))
ENVELOPE_AND_MESSAGE: Final = (Phase.SENDER, Phase.RECIPIENT, Phase.DATA, Phase.MESSAGE)
# As the sources name what the reasons of the one verdict are about.
CLASSES: Final = {
    "auth": (Reason.SIGN_IN, Reason.SIGN_IN_LATER, Reason.LOGIN_WANTED, Reason.NO_SIGN_IN),
    "tls": (Reason.ENCRYPTION_WANTED, Reason.ENCRYPTION, Reason.TLS_NOT_OFFERED),
    "policy": (
        Reason.FROM_DOMAIN, Reason.NO_HOST_NAME, Reason.NAME_REFUSED, Reason.RECIPIENT_FORBIDDEN, Reason.BARRED,
    ),
    "block list": (Reason.BLOCK_LISTED,),
    "sender": (Reason.NOT_OWNER, Reason.SENDER_REFUSED),
    "mailbox": (Reason.NO_RECIPIENT, Reason.MAILBOX_FULL, Reason.RECIPIENT_REFUSED),
    "quota": (Reason.ALLOWANCE, Reason.OWN_MAILBOX_FULL),
    "rate": (Reason.TOO_MANY_MAILS, Reason.TOO_MANY_CONNECTIONS, Reason.FLOODED, Reason.TOO_MANY_RECIPIENTS),
    "content": (Reason.CONTENT_REFUSED, Reason.TOO_LARGE, Reason.NO_SMTPUTF8),
    "relay": (Reason.NO_RELAY,),
    "greylisting": (Reason.GREYLISTED,),
    "temporary": (Reason.DOWN, Reason.NO_ROOM, Reason.SERVER_FAULT),
    "settings": (Reason.HOST_REFUSED, Reason.ACCOUNT_HELD, Reason.SETTINGS),
}  # fmt: skip
CLASS_OF: Final = {reason: name for name, reasons in CLASSES.items() for reason in reasons}
SOMEWHERE: Final = Picture(
    settings=SmtpSettings(host="mail.example.com", port=587, security=Security.STARTTLS, from_email=""), is_typed=False
)


def error_of(reply: dict[str, Any], phase: str = "") -> DeliveryError:
    kind = Temporary if reply["code"] // 100 == 4 else Permanent
    status = reply["enhanced"] or None
    text = reply["text"] if not status or reply["text"].startswith(status) else f"{status} {reply['text']}"
    return kind(Phase(phase or reply["phase"]), Fault.REPLY, text, code=reply["code"], enhanced=status)


def class_of(reply: dict[str, Any]) -> str:
    """What the advice is about that the reply gets at a server that nobody knows."""
    error = error_of(reply)
    picture = SOMEWHERE.at(error.phase)
    _, advice = reply_rules.recognised(error, picture, facts.of_failure(error, picture))
    return CLASS_OF[advice.reason] if advice.reason else "unknown"


def counted(replies: list[dict[str, Any]]) -> tuple[float, list[str]]:
    """How many of a hundred are recognised, and those that are taken for something else."""
    told = [(reply, class_of(reply)) for reply in replies]
    right = sum(found in reply["class"].split("/") for reply, found in told)
    wrong = [
        f"{reply['text']}: {found}" for reply, found in told if found not in (*reply["class"].split("/"), "unknown")
    ]
    return 100 * right / len(replies), wrong


@pytest.mark.parametrize(
    ("name", "least", "size"),
    [("published", 95, 85), ("developed", 98, 480), ("measured", 97, 220), ("servers", 96, 228)],
)
def test_real_replies_are_recognised_and_none_is_taken_for_something_else(name: str, least: int, size: int) -> None:
    rate, wrong = counted(SETS[name])
    assert len(SETS[name]) >= size
    assert wrong == []
    assert rate >= least


def agree(retryable: bool, verdict: Verdict) -> bool:
    """Whether what people read and what is done fit: a mail that waits for a person, or is tried a last time or two,
    is not said to go through by itself.
    """
    if retryable:
        return verdict.action is not MailAction.REFUSE
    is_limited = verdict.final_after is not None or verdict.most_attempts is not None or verdict.is_doubtful
    return verdict.action is MailAction.REFUSE or verdict.whose is Whose.SETTINGS or is_limited


def test_the_advice_and_the_verdict_agree_on_whether_it_is_tried_again() -> None:
    real = [
        (reply, "mail.example.com", reply["phase"])
        for replies in SETS.values()
        for reply in replies
        if replies != SETS["about"]
    ]
    told = [(reply, reply["hosts"][0], phase) for reply in EXAMPLES if reply["code"] for phase in reply["phases"]]
    against = []
    for reply, host, phase in real + told:
        if phase in ENVELOPE_AND_MESSAGE:
            error = error_of(reply, phase)
            found = explain(
                phase=phase,
                fault="reply",
                code=error.code,
                enhanced=error.enhanced,
                text=error.text,
                host=host,
                port=587,
            )
            if not agree(found.retryable, retry_policy.of_error(error)):
                against.append((phase, error.code, reply["text"], found.rule))
    assert against == []


REAL: Final = [reply for name, replies in SETS.items() if name != "about" for reply in replies]
OF_EVERY_RULE: Final = ((550, ""), (551, ""), (553, ""), (550, "5.1.0"), (550, "5.7.1"), (450, "4.7.1"))
NOT_OURS: Final = {"mailbox", "content", "greylisting", "temporary"}


def verdicts(reply: dict[str, Any], phase: str) -> list[Verdict]:
    """On the words, with the codes that servers use for every rule that they may have."""
    codes = [(reply["code"], reply["enhanced"]), *OF_EVERY_RULE] if phase == "recipient" else [(reply["code"], "")]
    errors = [error_of({**reply, "code": code, "enhanced": status}, phase) for code, status in codes]
    return [retry_policy.of_error(error) for error in errors]


def test_no_address_is_called_bad_for_a_refusal_that_is_about_something_else() -> None:
    assert [
        reply["text"]
        for reply in REAL
        if reply["phase"] not in ("sender", "ehlo") and not {"mailbox", "unknown"} & {*reply["class"].split("/")}
        if any(verdict.is_hard_bounce for verdict in verdicts(reply, "recipient"))
    ] == []


def test_nothing_that_is_about_one_recipient_or_one_message_stops_the_others() -> None:
    assert [
        (phase, reply["text"])
        for reply in REAL
        if {*reply["class"].split("/")} <= NOT_OURS
        for phase in ENVELOPE_AND_MESSAGE
        if any(verdict.opens and not verdict.is_doubtful for verdict in verdicts(reply, phase))
    ] == []


WITHOUT_A_REASON: Final = {"mail-loop", "host-intercepts"}  # which no verdict needs


def test_every_rule_for_a_reply_says_what_it_is_about() -> None:
    rules = [rule for rule in reply_rules.all_rules() if Fault.REPLY in rule.faults]
    assert {rule.id for rule in rules if rule.reason is None} == WITHOUT_A_REASON
    assert {rule.reason for rule in rules if rule.reason} <= CLASS_OF.keys()


SIGN_IN_ONLY: Final = ("7.8", "7.9", "7.11", "7.12", "7.13", "5.6", "7.2")


@pytest.mark.parametrize("kind", [4, 5])
@pytest.mark.parametrize("detail", SIGN_IN_ONLY)
@pytest.mark.parametrize("phase", [phase for phase in ENVELOPE_AND_MESSAGE if phase is not Phase.SIGN_IN])
def test_a_status_of_the_sign_in_says_nothing_of_it_elsewhere(phase: Phase, detail: str, kind: int) -> None:
    found = explain(phase=phase, fault="reply", code=kind * 100 + 54, enhanced=f"{kind}.{detail}", text="Nope")
    assert found.field not in ("smtp_password", "security")
    assert "password must" not in found.meaning + found.title
    assert "stronger sign-in" not in found.title


@pytest.mark.parametrize(
    ("phase", "line", "told", "field"),
    [
        ("message", "421 4.7.26 This mail has been rate limited because it is unauthenticated.", "policy", None),
        ("message", "421 4.7.27 rate limited because SPF authentication didn't pass", "policy", None),
        ("message", "421 4.7.30 rate limited because DKIM authentication didn't pass", "policy", None),
        ("message", "421 4.7.32 the From: header isn't aligned with SPF or DKIM", "policy", None),
        ("message", "421 4.7.23 the sending IP doesn't have a PTR record", "policy", "smtp_server"),
        ("message", "550 5.7.27 blocked because SPF does not pass", "policy", None),
        ("message", "550 5.7.30 blocked because DKIM does not pass", "policy", None),
        ("message", "550 5.7.9 This mail has been blocked because the sender is unauthenticated.", "policy", None),
        ("message", "554 5.7.9 Message not accepted for policy reasons.", "policy", None),
        ("recipient", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "mailbox", "to"),
        ("recipient", "550 5.7.12 sender was not authenticated by organization", "policy", None),
        ("recipient", "550 5.7.13 sender was not authenticated for public folder", "policy", None),
        ("message", "550 5.2.2 Submission quota exceeded", "quota", None),
        ("message", "550 5.7.515 Access denied, sending domain doesn't meet the required level", "unknown", None),
        ("message", "550 5.7.515 doesn't meet the required authentication level", "policy", None),
        ("sender", "550 5.5.3 Mail from not owned by user. LPN105_421", "sender", "from_email"),
        ("recipient", "450 4.2.1 The user is receiving mail too quickly", "rate", None),
        ("recipient", "550 5.2.1 Your IP address is blacklisted using SPAMHAUS-XBL", "block list", "smtp_server"),
        ("sender", "502 5.7.0 Please authenticate first", "auth", "smtp_username"),
        ("sender", "451 4.7.650 temporarily rate limited due to IP reputation", "block list", None),
    ],
)
def test_who_speaks_and_where_comes_before_the_status(phase: str, line: str, told: str, field: str | None) -> None:
    code, status, text = line.split(" ", 2)
    reply = {"code": int(code), "enhanced": status, "phase": phase, "text": text}
    assert class_of(reply) == told
    error = error_of(reply)
    found = explain(phase=phase, fault="reply", code=error.code, enhanced=status, text=error.text)
    if told != "unknown":
        assert found.field == field
