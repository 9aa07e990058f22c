"""Advice that once contradicted what the same test had just seen, and its kin: each with the words that are right."""

from dataclasses import replace
from typing import Any, Final

import pytest

from services.diagnosis.diagnosis import Diagnosis, diagnose, explain, may_another_way_help
from services.diagnosis.picture import Picture, WayAnswer, WayIn
from services.smtp.settings import OpenWay, Security
from tests.smtp_clients import shop_settings
from utils.errors import DeliveryError, Fault, Misconfigured, Phase
from utils.secret import Secret

USUAL: Final = ((587, Security.STARTTLS), (465, Security.TLS), (2525, Security.STARTTLS), (25, Security.STARTTLS))
ANOTHER: Final = "another port", "Use port", "port 587", "port 465", "STARTTLS with", "TLS with"


NOBODY: Final = {"username": "", "password": Secret("")}


def refused(phase: Phase, code: int, enhanced: str | None = None, text: str = "Nope") -> DeliveryError:
    return DeliveryError(phase, Fault.REPLY, text, code=code, enhanced=enhanced)


def broken(phase: Phase, fault: Fault, text: str = "") -> DeliveryError:
    return DeliveryError(phase, fault, text)


def only(mechanisms: str) -> DeliveryError:
    text = f"The server offers only {', '.join(mechanisms.split())}. Sealpost knows PLAIN."
    return Misconfigured(Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED, text)


def probed(*working: WayIn, beside: int = 0) -> dict[WayIn, WayAnswer]:
    """What answers on the usual ways but ``beside``: nothing, or a mail server on these."""
    dead = {way: broken(Phase.CONNECT, Fault.TIMEOUT) for way in USUAL if way[0] != beside}
    return {**dead, **{way: OpenWay(port=way[0], security=way[1], greeting="ready", signs_in=True) for way in working}}


def said(found: Diagnosis) -> str:
    return " ".join((found.title, found.meaning, found.cause, found.remedy))


def changes(found: Diagnosis) -> list[dict[str, str]]:
    return [action.changes for action in found.actions]


# Signing in.


@pytest.mark.parametrize("mechanisms", ["NTLM", "SCRAM-SHA-512", "GSSAPI NTLM", "DIGEST-MD5", "EXTERNAL", "X-OWN"])
def test_where_no_method_was_chosen_none_is_blamed(mechanisms: str) -> None:
    found = diagnose(only(mechanisms), Picture(settings=shop_settings(), offers={"AUTH": mechanisms}))
    assert "chosen" not in said(found)
    assert "PLAIN or LOGIN" in found.remedy
    assert "A new password will not help" in found.remedy
    assert ("X-OWN" in said(found)) is False  # a server's own word is not repeated


@pytest.mark.parametrize("mechanisms", ["XOAUTH2", "OAUTHBEARER", "OAUTHBEARER XOAUTH2", "NTLM XOAUTH2"])
@pytest.mark.parametrize("host", ["smtp.shop.example", "smtp.office365.com", "smtp-mail.outlook.com"])
def test_where_only_tokens_are_taken_no_password_is_advised(mechanisms: str, host: str) -> None:
    found = diagnose(only(mechanisms), Picture(settings=shop_settings(host=host), offers={"AUTH": mechanisms}))
    assert "app password" not in said(found).lower()
    assert "OAuth2" in found.meaning
    way = "Connect by OAuth" if host == "smtp.shop.example" else "Connect with Microsoft"
    assert way in found.remedy
    assert found.actions[0].label == way


@pytest.mark.parametrize("offered", ["PLAIN LOGIN", "LOGIN", "CRAM-MD5 PLAIN", "PLAIN XOAUTH2", "SCRAM-SHA-1"])
def test_a_chosen_method_that_is_not_offered_is_one_click_from_the_choice_of_sealpost(offered: str) -> None:
    settings = shop_settings(auth_method="SCRAM-SHA-256")
    found = diagnose(only(offered), Picture(settings=settings, offers={"AUTH": offered}))
    assert "SCRAM-SHA-256 was chosen" in found.cause
    assert changes(found) == [{"auth_method": ""}]


@pytest.mark.parametrize("error", [refused(Phase.SIGN_IN, 504, "5.7.4"), refused(Phase.SIGN_IN, 504)])
@pytest.mark.parametrize("method", ["", "PLAIN"])
def test_a_refused_method_is_blamed_on_a_choice_only_if_there_was_one(error: DeliveryError, method: str) -> None:
    picture = Picture(settings=shop_settings(auth_method=method), offers={"AUTH": "PLAIN LOGIN"})
    found = diagnose(error, picture)
    assert ("was chosen" in said(found)) is bool(method)
    assert changes(found) == ([{"auth_method": ""}] if method else [])


@pytest.mark.parametrize(
    "error",
    [
        refused(Phase.SIGN_IN, 538, "5.7.11", "Encryption required for requested authentication mechanism"),
        refused(Phase.SIGN_IN, 538),
        refused(Phase.SIGN_IN, 530, "5.7.0", "Must issue a STARTTLS command first"),
        refused(Phase.SENDER, 530, "5.7.0", "Must issue a STARTTLS command first"),
        refused(Phase.SIGN_IN, 523, "5.7.10"),
        refused(Phase.SENDER, 550, "5.7.10"),
    ],
)
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_encryption_that_is_up_is_not_asked_for(error: DeliveryError, security: Security) -> None:
    found = diagnose(error, Picture(settings=shop_settings(security=security)))
    assert "encryption was chosen" not in said(found)
    assert "Choose" not in found.remedy
    assert "although you chose it" in found.meaning
    in_clear = diagnose(error, Picture(settings=shop_settings(security=Security.NONE)))
    assert in_clear.cause == "No encryption was chosen."
    assert {"security": "starttls"} in changes(in_clear)


@pytest.mark.parametrize(
    "text",
    [
        "Too many login attempts, please try again later.",
        "Temporary authentication failure",
        "Cannot authenticate due to temporary system problem.",
        "TLS not available due to temporary reason",
        "Nope",
    ],
)
def test_454_is_googles_only_at_google(text: str) -> None:
    elsewhere = diagnose(refused(Phase.SIGN_IN, 454, "4.7.0", text), Picture(settings=shop_settings()))
    assert "Google" not in said(elsewhere)
    assert elsewhere.retryable


# Signed in or not.


@pytest.mark.parametrize(
    "error",
    [
        refused(Phase.SENDER, 550, "5.7.1"),
        refused(Phase.RECIPIENT, 550, "5.7.1"),
        refused(Phase.RECIPIENT, 550, "5.7.1", "Relaying denied"),
        refused(Phase.RECIPIENT, 554, "5.7.1", "<anna@x.example>: Relay access denied"),
        refused(Phase.RECIPIENT, 554, "5.7.1", "<unknown[192.0.2.1]>: Client host rejected: Access denied"),
        refused(Phase.RECIPIENT, 550),
        refused(Phase.RECIPIENT, 554),
        refused(Phase.SENDER, 530, "5.7.0", "Authentication required"),
        refused(Phase.SENDER, 530),
        refused(Phase.SENDER, 503, "5.5.1"),
        refused(Phase.MESSAGE, 550, "5.7.1"),
        refused(Phase.SENDER, 553, "5.7.1", "<hello@shop.example>: Sender address rejected: not logged in"),
        refused(Phase.RECIPIENT, 599),
    ],
    ids=lambda error: f"{error.phase} {error.code} {error.text}",
)
def test_who_has_signed_in_is_not_told_to(error: DeliveryError) -> None:
    found = diagnose(error, Picture(settings=shop_settings()))
    for words in ("obody signed in", "no login", "No login", "are empty", "nter user name", "without a login"):
        assert words not in said(found)
    assert found.field != "smtp_password"


@pytest.mark.parametrize(
    "error",
    [
        refused(Phase.RECIPIENT, 550, "5.7.1"),
        refused(Phase.RECIPIENT, 550, "5.7.1", "Relaying denied"),
        refused(Phase.SENDER, 550, "5.7.1"),
        refused(Phase.SENDER, 530, "5.7.0", "Authentication required"),
        refused(Phase.SENDER, 530),
        refused(Phase.SENDER, 503),
    ],
    ids=lambda error: f"{error.phase} {error.code} {error.text}",
)
def test_who_has_not_signed_in_is(error: DeliveryError) -> None:
    found = diagnose(error, Picture(settings=shop_settings(**NOBODY)))
    assert "Enter user name and password" in found.remedy
    assert "mailer@" not in said(found)
    assert found.field == "smtp_username"


def test_a_sender_that_is_the_login_is_not_said_to_belong_to_another() -> None:
    settings = shop_settings(from_email="mailer@shop.example")
    for error in (refused(Phase.SENDER, 550, "5.7.1"), refused(Phase.SENDER, 550), refused(Phase.SENDER, 553)):
        found = diagnose(error, Picture(settings=settings))
        assert "belong" not in said(found)
        assert changes(found) == []


# Silence and ports.


@pytest.mark.parametrize(
    ("phase", "security", "words"),
    [
        (Phase.SIGN_IN, Security.STARTTLS, "The server does not reply to the sign-in"),
        (Phase.SIGN_IN, Security.TLS, "The server does not reply to the sign-in"),
        (Phase.SENDER, Security.STARTTLS, "accepted the connection and the sign-in"),
        (Phase.RECIPIENT, Security.TLS, "accepted the connection and the sign-in"),
        (Phase.EHLO, Security.TLS, "The connection and its encryption work"),
    ],
)
def test_silence_over_a_connection_that_works_is_not_blamed_on_the_port(
    phase: Phase, security: Security, words: str
) -> None:
    error = broken(phase, Fault.TIMEOUT, "The server took too long.")
    picture = Picture(settings=shop_settings(security=security), offers={"AUTH": "PLAIN"})
    found = diagnose(error, picture)
    assert words in said(found)
    assert not any(other in said(found) for other in ANOTHER)
    assert changes(found) == [{"timeout_seconds": "60"}]
    assert not may_another_way_help(error, picture)


def test_a_time_out_that_is_the_longest_is_not_to_be_raised() -> None:
    error = broken(Phase.SIGN_IN, Fault.TIMEOUT)
    found = diagnose(error, Picture(settings=shop_settings(timeout_seconds=60)))
    assert "Raise" not in found.remedy
    assert changes(found) == []


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.CLOSED])
@pytest.mark.parametrize("port", [443, 8443, 993])
def test_where_encryption_is_up_and_nobody_greets_another_encryption_is_no_answer(fault: Fault, port: int) -> None:
    error, web = broken(Phase.GREETING, fault), shop_settings(port=port, security=Security.TLS)
    lonely = diagnose(error, Picture(settings=web, ways=probed()))
    assert "STARTTLS" not in said(lonely)
    assert "587, 465, 2525 and 25" in lonely.remedy
    assert "smtp_port" not in {name for change in changes(lonely) for name in change}
    open_beside = diagnose(error, Picture(settings=web, ways=probed((465, Security.TLS))))
    assert open_beside.remedy == "Use port 465 with TLS."
    assert changes(open_beside)[0] == {"smtp_port": "465", "security": "tls"}


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.REFUSED, Fault.UNREACHABLE])
def test_ports_that_were_just_tried_are_not_advised(fault: Fault) -> None:
    found = diagnose(broken(Phase.CONNECT, fault), Picture(settings=shop_settings(), ways=probed(beside=587)))
    assert "465, 2525 and 25" in found.remedy
    assert "587" not in found.remedy
    assert changes(found) == []


# What was seen to work comes first, and what was seen dead not at all.


@pytest.mark.parametrize(
    ("port", "security", "kind"),
    [
        (993, Security.TLS, "An IMAP"),
        (143, Security.STARTTLS, "An IMAP"),
        (995, Security.TLS, "A POP3"),
        (110, Security.NONE, "A POP3"),
        (80, Security.STARTTLS, "An HTTP"),
        (443, Security.TLS, "An HTTP"),
        (22, Security.STARTTLS, "An SSH"),
        (21, Security.STARTTLS, "An FTP"),
    ],
)
@pytest.mark.parametrize("works", [(465, Security.TLS), (587, Security.STARTTLS), (2525, Security.STARTTLS)])
def test_at_another_service_the_port_that_answers_is_offered(
    port: int, security: Security, kind: str, works: WayIn
) -> None:
    error = Misconfigured(Phase.GREETING, Fault.NOT_SMTP, f"{kind} server responded, not a mail server.")
    picture = Picture(settings=shop_settings(port=port, security=security), ways=probed(works))
    assert may_another_way_help(error, replace(picture, ways={}))
    found = diagnose(error, picture)
    first, *others = changes(found)
    assert (first["smtp_port"], first.get("security", security)) == (str(works[0]), works[1])
    assert others == []
    assert f"port {works[0]} with" in found.remedy


@pytest.mark.parametrize(
    "error",
    [
        broken(Phase.CONNECT, Fault.TIMEOUT),
        broken(Phase.GREETING, Fault.TIMEOUT),
        refused(Phase.GREETING, 554, "5.7.1", "Client host rejected: Access denied"),
        Misconfigured(Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED, "The server offers no sign-in."),
        refused(Phase.RECIPIENT, 554, "5.7.1", "Relay access denied"),
        refused(Phase.RECIPIENT, 550, "5.7.1", "Client host rejected: Access denied"),
    ],
    ids=lambda error: f"{error.phase} {error.fault} {error.text}",
)
@pytest.mark.parametrize("login", [NOBODY, {}])
def test_port_25_leads_to_the_port_for_sending_that_answers(error: DeliveryError, login: dict[str, Any]) -> None:
    if error.phase is Phase.SIGN_IN and login:
        return  # nobody signs in
    settings = shop_settings(port=25, **login)
    picture = Picture(settings=settings, ways=probed((587, Security.STARTTLS), beside=25))
    has_signed_in = settings.has_login and error.phase is Phase.RECIPIENT
    found = diagnose(error, picture)
    if not (has_signed_in and "Client host" in error.text):
        assert may_another_way_help(error, replace(picture, ways={}))
        assert changes(found)[0] == {"smtp_port": "587", "security": "starttls"}
    if not has_signed_in:
        assert "port 587 with STARTTLS" in found.remedy
    assert all(change.get("smtp_port", "587") == "587" for change in changes(found))


def test_a_port_without_sign_in_is_no_answer_for_who_has_to_sign_in() -> None:
    error = Misconfigured(Phase.SIGN_IN, Fault.AUTH_NOT_OFFERED, "The server offers no sign-in.")
    ways = {**probed(), (465, Security.TLS): OpenWay(port=465, security=Security.TLS, signs_in=False)}
    found = diagnose(error, Picture(settings=shop_settings(), offers={}, ways=ways))
    assert changes(found) == []
    assert "465" in found.remedy  # as one that was tried


@pytest.mark.parametrize(("port", "kind"), [(993, "An IMAP"), (995, "A POP3"), (443, "An HTTP")])
@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.CLOSED, Fault.TLS_EXPECTED])
def test_what_tls_has_shown_on_a_silent_port_is_told(port: int, kind: str, fault: Fault) -> None:
    other = broken(Phase.GREETING, Fault.NOT_SMTP, f"{kind} server responded, not a mail server.")
    ways = {**probed((465, Security.TLS)), (port, Security.TLS): other}
    found = diagnose(broken(Phase.GREETING, fault), Picture(settings=shop_settings(port=port), ways=ways))
    assert kind.split()[1].lower() in found.rule
    assert changes(found) == [{"smtp_port": "465", "security": "tls"}]


@pytest.mark.parametrize("phase", [Phase.ENCRYPTION, Phase.GREETING])
def test_a_mode_that_was_seen_to_fail_on_a_port_is_not_offered_there(phase: Phase) -> None:
    error = broken(phase, Fault.TLS_UNEXPECTED)
    ways: dict[WayIn, WayAnswer] = {**probed(), (587, Security.STARTTLS): broken(Phase.ENCRYPTION, Fault.TLS_HANDSHAKE)}
    assert changes(diagnose(error, Picture(settings=shop_settings(security=Security.TLS), ways=ways))) == []


# The message.


@pytest.mark.parametrize(
    "error",
    [
        DeliveryError(Phase.SENDER, Fault.TOO_LARGE, "The message has 2200 bytes.", enhanced="5.3.4"),
        refused(Phase.SENDER, 552, "5.3.4", "Message size exceeds fixed limit"),
        refused(Phase.MESSAGE, 552, "5.2.3"),
        refused(Phase.MESSAGE, 552),
        refused(Phase.MESSAGE, 554, "5.6.1"),
        refused(Phase.MESSAGE, 554, "5.3.4"),
    ],
    ids=lambda error: f"{error.fault} {error.code} {error.enhanced}",
)
def test_attachments_are_blamed_only_if_there_may_be_some(error: DeliveryError) -> None:
    none = diagnose(error, Picture(settings=shop_settings(), has_attachments=False))
    assert "attachments smaller" not in none.remedy
    assert "ttachment" not in said(none).replace("has no attachment", "")
    some = diagnose(error, Picture(settings=shop_settings(), has_attachments=True))
    assert "ttachment" in some.remedy


def test_the_limit_and_the_size_are_named_where_both_are_known() -> None:
    error = DeliveryError(Phase.SENDER, Fault.TOO_LARGE, "", enhanced="5.3.4")
    picture = Picture(settings=shop_settings(), offers={"SIZE": "1000"}, message_size=2200, has_attachments=False)
    assert (
        diagnose(error, picture).meaning == "The server accepts at most 1.0 kB in one email, and this one has 2.2 kB."
    )
    assert "kB" not in said(diagnose(error, replace(picture, offers={"SIZE": "0"})))


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("fault", Fault)
def test_a_port_that_nobody_knows_is_not_named(phase: Phase, fault: Fault) -> None:
    found = explain(phase=phase, fault=fault, host="", port=0)
    assert " 0" not in said(found)
    assert "  " not in said(found)
    assert found.title[0].isupper() and found.meaning[0].isupper()
