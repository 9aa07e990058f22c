"""Advice that whoever follows it alone gets there by: it names the field or the person that really is in the way."""

from dataclasses import replace
from typing import Any, Final

import pytest

from services.delivery import retry_policy
from services.diagnosis.diagnosis import Diagnosis, diagnose
from services.diagnosis.picture import Picture
from services.smtp.settings import Security, SmtpSettings
from tests.services.diagnosis.test_causes import error_of
from utils.errors import Fault, Permanent, Phase, Temporary
from utils.secret import Secret

SETTINGS: Final = SmtpSettings(
    host="mail.shop.example", port=587, security=Security.STARTTLS, from_email="hello@shop.example"
)
SIGNS_IN: Final = replace(SETTINGS, username="mailer@shop.example", password=Secret("geheim-8472"))
OFFERS: Final = {"AUTH": "PLAIN LOGIN"}
DEAD: Final = {
    (465, Security.TLS): Temporary(Phase.CONNECT, Fault.REFUSED, "refused"),
    (25, Security.STARTTLS): Temporary(Phase.CONNECT, Fault.REFUSED, "refused"),
}


def said(phase: Phase, line: str, settings: SmtpSettings = SIGNS_IN, **seen: Any) -> Diagnosis:
    return diagnose(error_of(phase, line), Picture(settings=settings, encrypted=True, ways=DEAD, **seen))


@pytest.mark.parametrize("port", [587, 2526])
@pytest.mark.parametrize(
    "line",
    [
        "554 5.7.1 <alice@example.com>: Relay access denied",
        "550 5.7.1 Unable to relay for alice@example.com",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "550 5.7.1 Relaying denied. POP before SMTP is required",
    ],
)
def test_where_a_sign_in_is_offered_the_words_are_to_sign_in(line: str, port: int) -> None:
    told = said(Phase.RECIPIENT, line, replace(SETTINGS, port=port), plain_offers=OFFERS)
    assert told.remedy.startswith("Enter user name and password.")
    assert (told.field, told.actions) == ("smtp_username", ())


def test_where_none_is_offered_nobody_is_told_to_sign_in_there() -> None:
    told = said(Phase.RECIPIENT, "553 not in rcpthosts", SETTINGS, plain_offers={})
    assert not told.remedy.startswith("Enter user name")


@pytest.mark.parametrize(
    "line",
    [
        "554 5.7.1 Message rejected as spam",
        "550 5.7.1 This message was classified as SPAM and may not be delivered",
        "554 5.7.1 Spam message rejected",
        "550 This message looks like spam",
        "554 Message rejected: high spam score 12.3",
        "550 5.7.1 Our system has detected that this message is likely unsolicited mail",
        "571 5.7.1 Blocked: unsolicited bulk email",
    ],
)
def test_spam_is_told_as_such_and_no_other_from_is_offered(line: str) -> None:
    told = said(Phase.MESSAGE, line)
    assert (told.rule, told.actions) == ("content-spam", ())
    assert "SPF, DKIM and DMARC" in told.remedy


def test_an_address_that_is_no_spam_is_not_taken_for_it() -> None:
    assert said(Phase.MESSAGE, "550 5.1.1 <spam@shop.example>: no such user").rule != "content-spam"


def test_letters_in_the_from_address_are_mended_in_from() -> None:
    error = Permanent(Phase.SENDER, Fault.NO_SMTPUTF8, "cannot be said", enhanced="5.6.7")
    told = diagnose(error, Picture(settings=replace(SIGNS_IN, from_email="grüße@shop.example")))
    assert told.field == "from_email"
    assert [action.changes["from_email"] for action in told.actions] == ["mailer@shop.example"]
    assert diagnose(replaced(error, Phase.RECIPIENT), Picture(settings=SIGNS_IN)).field == "to"


def replaced(error: Permanent, phase: Phase) -> Permanent:
    return Permanent(phase, error.fault, error.text, enhanced=error.enhanced)


@pytest.mark.parametrize("line", ["554 5.7.1 access denied", "550 5.7.1 go away"])
def test_whoever_is_refused_at_the_door_is_not_told_to_send_as_another(line: str) -> None:
    told = said(Phase.GREETING, line)
    assert "allow this machine’s address" in told.remedy
    assert told.actions == ()


def test_nobody_is_told_to_give_the_from_domain_the_address_of_this_machine() -> None:
    line = "550 5.7.25 no PTR record for [203.0.113.5]"
    told = said(Phase.RECIPIENT, line, replace(SETTINGS, port=25), ehlo_name="shop.example")
    assert "give shop.example" not in told.remedy
    assert "this machine’s host name" in told.remedy


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("geheim-8472 ", "Try the password without the space. "),
        ("geheim\u20198472", "Try the password with plain characters instead. "),
    ],
)
def test_a_password_with_something_odd_is_tried_as_it_was_meant_first(password: str, words: str) -> None:
    typed = replace(SIGNS_IN, password=Secret(password))
    told = said(Phase.SIGN_IN, "535 5.7.8 authentication failed", typed)
    assert told.remedy.startswith(words)
    assert told.actions[0].retype == "smtp_password"


def test_a_recipient_that_is_put_off_is_not_called_refused() -> None:
    error = error_of(Phase.RECIPIENT, "451 4.7.1 Greylisted, please try again in 5 minutes")
    assert retry_policy.message_of(error) == "Server asked to try again later"
