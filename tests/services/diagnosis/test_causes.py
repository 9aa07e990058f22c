"""Causes that servers word differently: each is recognised, and its remedy names what it needs."""

from typing import Any, Final

import pytest

from services.delivery import retry_policy
from services.delivery.retry_policy import MailAction, Whose
from services.diagnosis import facts, known_names
from services.diagnosis.diagnosis import Diagnosis, diagnose, explain
from services.diagnosis.picture import Picture
from services.smtp.settings import Security, SmtpSettings
from services.smtp.tls import ShownCertificate
from utils import clock
from utils.errors import DeliveryError, Fault, Misconfigured, Permanent, Phase, Temporary
from utils.secret import Secret

ADDRESS: Final = "203.0.113.5"
SETTINGS: Final = SmtpSettings(
    host="mail.shop.example",
    port=25,
    security=Security.STARTTLS,
    username="mailer@shop.example",
    password=Secret("geheim-8472"),
    from_email="hello@shop.example",
)


def error_of(phase: Phase, line: str) -> DeliveryError:
    """What the client makes of a reply like "554 5.7.1 no"."""
    code, text = line[:3], line[4:]
    status = text.partition(" ")[0]
    enhanced = status if status.count(".") == 2 and status.replace(".", "").isdigit() else None
    is_about_settings = phase in (Phase.SIGN_IN, Phase.GREETING, Phase.EHLO) or code in ("530", "535")
    kind = Temporary if code[0] == "4" else Misconfigured if is_about_settings else Permanent
    return kind(phase, Fault.REPLY, text, code=int(code), enhanced=enhanced)


def found(phase: Phase, line: str, host: str = "mail.shop.example", **seen: Any) -> Diagnosis:
    settings = SmtpSettings(**{**vars(SETTINGS), "host": host})
    return diagnose(error_of(phase, line), Picture(settings=settings, ehlo_name="app.shop.example", **seen))


# Block lists, and the names of machines.

LISTED: Final = [
    # Postfix, Exim, Exchange, Microsoft, Gmail's neighbours and others.
    (f"554 5.7.1 Service unavailable; Client host [{ADDRESS}] blocked using zen.spamhaus.org; "
     f"https://www.spamhaus.org/query/ip/{ADDRESS}", "Spamhaus", ADDRESS),
    (f"550 {ADDRESS} is in a black list at bl.spamcop.net", "SpamCop", ADDRESS),
    (f"550-\"JunkMail rejected - mail.example [{ADDRESS}] is in an RBL: https://www.spamhaus.org/sbl/query/SBLCSS\"",
     "Spamhaus", ADDRESS),
    (f"554 5.7.1 Service unavailable; Client host [{ADDRESS}] blocked using b.barracudacentral.org; "
     f"http://www.barracudanetworks.com/reputation/?pr=1&ip={ADDRESS}", "Barracuda", ADDRESS),
    ("550 5.7.1 Recipient not authorized, your IP has been found on a block list", "", ""),
    (f"550 5.7.1 Unfortunately, messages from [{ADDRESS}] weren't sent. Please contact your Internet service provider "
     "since part of their network is on our block list (S3140).", "Microsoft Outlook.com", ADDRESS),
    (f"550 5.7.606 Access denied, banned sending IP [{ADDRESS}]. To request removal from this list please visit "
     "https://sender.office.com/ and follow the directions.", "Microsoft 365", ADDRESS),
    ("553 5.3.0 flph101 DNSBL:RBL 521< 203.0.113.5 >_is_blocked.For assistance forward this error to "
     "abuse_rbl@abuse-att.net", "AT&T", ADDRESS),
    (f"554 IP={ADDRESS} - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to "
     "clarify.)", "T-Online", ADDRESS),
    ("550 5.7.1 Client host [2001:db8::25] blocked using dnsbl-1.uceprotect.net", "UCEPROTECT", "2001:db8::25"),
    (f"554 5.7.1 Service unavailable; Client host [{ADDRESS}] blocked using dnsbl.internal.example", "", ADDRESS),
    (f"554 5.7.1 Service unavailable; Unverified Client host [{ADDRESS}] blocked using all.spamrats.com",
     "SpamRATS", ADDRESS),
    ("550 5.7.1 Mail from 203.0.113.5 refused: 5.113.0.203.combined.mail.abusix.zone is blacklisted", "Abusix",
     ADDRESS),
]  # fmt: skip


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.SENDER, Phase.RECIPIENT])
@pytest.mark.parametrize(("line", "name", "address"), LISTED)
def test_a_block_list_is_named_with_our_address_and_where_to_be_removed(
    phase: Phase, line: str, name: str, address: str
) -> None:
    told = found(phase, line)
    assert told.rule == "block-listed"
    assert address in told.meaning
    assert name in told.meaning
    if name:
        assert told.docs_url == next(known.url for known in known_names.block_lists() if known.name == name)
    assert [action.changes for action in told.actions] == [{"smtp_port": "587", "security": "starttls"}]
    verdict = retry_policy.of_error(error_of(phase, line))
    assert verdict.whose in (Whose.SETTINGS, Whose.SERVER)
    assert verdict.action is MailAction.SNOOZE


def test_a_list_that_refuses_the_server_s_own_queries_is_no_word_on_this_machine() -> None:
    line = (f"554 5.7.1 Service unavailable; Client host [{ADDRESS}] blocked using zen.spamhaus.org; Error: open "
            "resolver; https://check.spamhaus.org/returnc/pub/172.70.1.1/")  # fmt: skip
    told = found(Phase.RECIPIENT, line)
    assert told.rule == "block-list-query-refused"
    assert told.actions == ()


def test_a_listed_from_domain_is_told_from_a_listed_machine() -> None:
    told = found(Phase.RECIPIENT, "554 5.7.1 Service unavailable; Sender address [x@shop.example] blocked using "
                 "dbl.spamhaus.org; https://www.spamhaus.org/query/domain/shop.example")  # fmt: skip
    assert (told.rule, told.field) == ("domain-block-listed", None)
    assert "Spamhaus DBL lists this domain" in told.meaning


NAMELESS: Final = [
    f"450 4.7.1 Client host rejected: cannot find your hostname, [{ADDRESS}]",
    f"550 5.7.1 Client host rejected: cannot find your reverse hostname, [{ADDRESS}]",
    f"550-5.7.25 [{ADDRESS}] The IP address sending this message does not have a PTR record setup, or the "
    "corresponding forward DNS entry does not point to the sending IP.",
    f"550 Reverse DNS lookup failed for host {ADDRESS}",
    f"550 5.7.1 Fix reverse DNS for {ADDRESS}",
    f"554 5.7.1 This message was blocked, IP name possibly forged [{ADDRESS}]",
    f"550 5.7.25 Connection refused: {ADDRESS} lacks reverse DNS",
]


@pytest.mark.parametrize("phase", [Phase.SENDER, Phase.RECIPIENT])
@pytest.mark.parametrize("line", NAMELESS)
def test_a_missing_name_is_told_with_our_address_and_the_record_that_it_needs(phase: Phase, line: str) -> None:
    told = found(phase, line)
    assert told.rule == "reverse-dns"
    assert ADDRESS in told.meaning
    assert "point 5.113.0.203.in-addr.arpa to app.shop.example" in told.remedy
    assert f"give app.shop.example an A or AAAA record of {ADDRESS}" in told.remedy
    assert retry_policy.of_error(error_of(phase, line)).whose is Whose.SETTINGS


def test_where_the_address_is_not_known_none_is_made_up() -> None:
    told = found(Phase.RECIPIENT, "550 5.7.1 reverse DNS check failed")
    assert told.rule == "reverse-dns"
    assert "{" not in told.remedy + told.meaning + told.cause
    assert ADDRESS not in told.meaning


def test_who_may_hear_nothing_of_the_server_s_does_not_hear_the_address_either() -> None:
    settings = SmtpSettings(**{**vars(SETTINGS), "is_personal": True})
    told = diagnose(error_of(Phase.RECIPIENT, NAMELESS[0]), Picture(settings=settings))
    assert ADDRESS not in f"{told.meaning}{told.cause}{told.remedy}"


@pytest.mark.parametrize(
    ("reply", "address"),
    [
        ("[203.0.113.5] blocked", "203.0.113.5"),
        ("5.113.0.203.zen.spamhaus.org", None),
        ("blocked (127.0.0.4)", None),
        ("[IPv6:2001:db8::1] refused", "2001:db8::1"),
        ("from 2001:db8::1 refused", "2001:db8::1"),
        ("version 1.2.3.4.5", None),
        ("at 12:30:45 you", None),
        ("no [999.1.1.1] such", None),
    ],
)
def test_our_address_is_read_where_it_is_one(reply: str, address: str | None) -> None:
    assert (str(facts.our_address(reply)) if facts.our_address(reply) else None) == address


# Locks and limits.


@pytest.mark.parametrize(
    ("line", "rule", "seconds"),
    [
        ("535 5.7.8 Error: authentication failed: account locked for 15 minutes", "account-locked", 900),
        ("535 5.7.8 Your account has been temporarily locked, try again in 30 minutes", "account-locked", 1800),
        ("454 4.7.0 Account is locked out", "account-locked", 900),
        ("535 5.7.139 Authentication unsuccessful, user is locked", "account-locked", 900),
        ("421 4.7.0 mail.shop.example Error: too many errors", "too-many-errors", 900),
        ("421 4.7.0 Too many failed login attempts, please wait 10 minutes", "too-many-sign-ins", 600),
        ("535 Too many authentication failures, try again in 1 hour", "too-many-sign-ins", 3600),
        ("454 4.7.0 Maximum number of login attempts reached. Try again later.", "too-many-sign-ins", 900),
        ("550 Your IP has been blocked after repeated login failures", "too-many-sign-ins", 900),
    ],
)
def test_a_lock_is_told_with_the_time_that_the_server_names(line: str, rule: str, seconds: int) -> None:
    told = found(Phase.SIGN_IN, line)
    assert (told.rule, told.retry_after) == (rule, seconds)
    assert "Do not test again" in told.remedy
    assert told.actions == ()
    verdict = retry_policy.of_error(error_of(Phase.SIGN_IN, line))
    assert verdict.action is MailAction.SNOOZE
    assert (verdict.seconds or 0) >= min(seconds, 60)


def test_the_time_until_which_not_to_try_is_counted_from_now() -> None:
    told = found(Phase.SIGN_IN, "535 5.7.8 account locked for 15 minutes")
    assert told.not_before is not None
    assert 890 < (told.not_before - clock.now()).total_seconds() <= 900
    assert found(Phase.SIGN_IN, "535 5.7.8 authentication failed").not_before is None
    # Of an attempt that was stored nobody knows here when it was.
    stored = explain(phase="sign_in", fault="reply", code=535, text="account locked for 15 minutes")
    assert stored.not_before is None


def test_an_organisation_s_rule_that_calls_itself_a_lock_is_none() -> None:
    line = "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy."
    assert found(Phase.SIGN_IN, line, host="smtp.office365.com").rule == "ms-security-defaults"
    assert found(Phase.SIGN_IN, line).rule != "account-locked"


@pytest.mark.parametrize(
    ("phase", "line", "rule"),
    [
        (Phase.GREETING, "421 Too many concurrent SMTP connections; please try again later.", "too-many-connections"),
        (Phase.GREETING, f"421 4.7.0 mx Error: too many connections from {ADDRESS}", "too-many-connections"),
        (Phase.GREETING, "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing "
         "transmission channel", "too-many-connections"),
        (Phase.SENDER, "450 4.7.1 Error: too much mail from 203.0.113.5", "rate-limited"),
        (Phase.SENDER, "550 Sender rate overlimit - 12.3 / 1h", "rate-limited"),
        (Phase.SENDER, "421 4.4.2 Message submission rate for this client has exceeded the configured limit",
         "rate-limited"),
        (Phase.RECIPIENT, "451 4.7.1 Recipient rate limit, slow down", "rate-limited"),
        (Phase.MESSAGE, "450 4.2.1 You are sending too many messages per minute", "rate-limited"),
    ],
)  # fmt: skip
def test_what_was_too_much_is_told_from_a_busy_server(phase: Phase, line: str, rule: str) -> None:
    told = found(phase, line)
    assert told.rule == rule
    assert told.retryable
    assert retry_policy.of_error(error_of(phase, line)).whose is Whose.SERVER


# Whom the server lets send.


@pytest.mark.parametrize("phase", [Phase.RECIPIENT, Phase.SENDER])
def test_qmail_says_that_nobody_has_signed_in(phase: Phase) -> None:
    line = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
    told = found(phase, line, signed_in=False)
    assert (told.rule, told.field) == ("qmail-rcpthosts", "smtp_username")
    assert "Enter user name and password" in told.remedy
    signed_in = found(phase, line, signed_in=True)
    assert "user name" not in signed_in.remedy
    assert retry_policy.of_error(error_of(phase, line)).whose is Whose.SETTINGS


@pytest.mark.parametrize(
    "line",
    [
        "550 5.7.1 Relaying denied. POP before SMTP is required",
        "530 5.7.0 Authentication required: please log in via POP3 first",
        "553 5.7.1 You must check for new mail before you send. Check your mail first",
        "550 5.7.1 pop-before-smtp authentication failed",
        "550 please fetch your mail before sending",
        "553 authentication is required, receive your mail first",
    ],
)
def test_a_server_that_wants_mail_fetched_first_is_recognised(line: str) -> None:
    told = found(Phase.RECIPIENT, line)
    assert (told.rule, told.field) == ("pop-before-smtp", "smtp_username")
    assert "587 or 465" in told.remedy
    assert retry_policy.of_error(error_of(Phase.RECIPIENT, line)).whose is Whose.SETTINGS


# Microsoft.


def test_microsoft_s_three_refusals_say_what_holds_and_from_when() -> None:
    off = found(
        Phase.SIGN_IN,
        "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
        "https://aka.ms/smtp_auth_disabled for more information.",
        host="smtp.office365.com",
    )
    ended = found(
        Phase.SIGN_IN, "550 5.7.30 Basic authentication is not supported for Client Submission.", "smtp.office365.com"
    )
    other = found(
        Phase.MESSAGE,
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        "smtp.office365.com",
    )
    assert [told.rule for told in (off, ended, other)] == [
        "ms-smtp-auth-disabled-tenant", "ms-client-submission-basic-retired", "ms-send-as-denied",
    ]  # fmt: skip
    assert "December 2026" in off.cause
    assert "Authenticated SMTP" in off.remedy
    assert "December 2026" in ended.cause
    assert "second half of 2027" in ended.cause
    assert "OAuth2" in ended.meaning
    assert [action.changes for action in other.actions] == [
        {"from_email": "mailer@shop.example", "reply_to": "hello@shop.example"}
    ]


# What stands between.

ISSUERS: Final = [
    (("Avast Web/Mail Shield", "generated by Avast Antivirus for SSL/TLS scanning", "Avast Web/Mail Shield Root"),
     "Avast"),
    (("AVG Web/Mail Shield", "AVG Web/Mail Shield Root"), "AVG"),
    (("Norton Web/Mail Shield Root",), "Norton"),
    (("AO Kaspersky Lab", "Kaspersky Anti-Virus Personal Root Certificate"), "Kaspersky"),
    (("ESET, spol. s r. o.", "ESET SSL Filter CA"), "ESET"),
    (("Bitdefender", "IDS", "Bitdefender Personal CA.Net-Defender"), "Bitdefender"),
    (("Fortinet", "Certificate Authority", "FG100FTK19001234"), "Fortinet"),
    (("Zscaler Inc.", "Zscaler Inc.", "Zscaler Intermediate Root CA (zscalertwo.net)"), "Zscaler"),
    (("Sophos Ltd", "Sophos SSL CA_C0100"), "Sophos"),
    (("Palo Alto Networks", "PA-220 Forward Trust"), "Palo Alto Networks"),
    (("Cisco", "Cisco Umbrella Primary SubCA"), "Cisco Umbrella"),
    (("mitmproxy", "mitmproxy"), "mitmproxy"),
    (("DO_NOT_TRUST", "Created by http://www.fiddler2.com", "DO_NOT_TRUST_FiddlerRoot"), "Fiddler"),
]  # fmt: skip


def shown(*signed_by: str) -> ShownCertificate:
    now = clock.now()
    return ShownCertificate(
        names=("mail.shop.example",), issuer=signed_by[0], starts=now, ends=now, sha256="AB", signed_by=signed_by
    )


@pytest.mark.parametrize(("issuer", "name"), ISSUERS)
@pytest.mark.parametrize("wrong", ["comes from an authority that this machine does not trust", "is self-signed"])
def test_who_reads_along_is_named_by_the_certificate_s_issuer(issuer: tuple[str, ...], name: str, wrong: str) -> None:
    error = Misconfigured(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE, f"The certificate of mail.shop.example {wrong}.")
    told = diagnose(error, Picture(settings=SETTINGS, certificate=shown(*issuer)))
    assert told.rule == "cert-intercepted"
    assert told.title == f"{name} intercepts the connection"
    assert "SMTP_CA_FILE" in told.remedy


@pytest.mark.parametrize(
    "issuer",
    [("Let's Encrypt", "R11"), ("My Company", "My Company Root CA"), ("Cisco", "Some Server"), ("Avastar Inc",), ("",)],
)
def test_an_issuer_that_is_not_known_for_it_reads_nothing_along(issuer: tuple[str, ...]) -> None:
    error = Misconfigured(
        Phase.ENCRYPTION,
        Fault.TLS_CERTIFICATE,
        "The certificate of x comes from an authority that this machine does not trust.",
    )
    assert diagnose(error, Picture(settings=SETTINGS, certificate=shown(*issuer))).rule == "cert-issuer"


def test_a_provider_that_offers_encryption_to_everybody_else_has_its_offer_removed_on_the_way() -> None:
    error = Misconfigured(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED, "The server does not offer STARTTLS.")
    gmail = SmtpSettings(**{**vars(SETTINGS), "host": "smtp.gmail.com", "port": 587})
    told = diagnose(error, Picture(settings=gmail))
    assert "removes" in told.title
    assert diagnose(error, Picture(settings=SETTINGS)).title == "The server does not offer STARTTLS"


# A certificate of ours.


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        (Phase.SENDER, "530 5.7.1 Client certificate required"),
        (Phase.SIGN_IN, "535 5.7.8 Authentication failed: client certificate required"),
        (Phase.GREETING, "421 4.7.1 No client certificate presented"),
        (Phase.EHLO, "550 Client didn't present a valid SSL certificate"),
        (Phase.RECIPIENT, "550 5.7.1 a TLS client certificate is required to relay"),
    ],
)
def test_a_certificate_that_is_asked_for_in_words_leads_to_its_field(phase: Phase, line: str) -> None:
    code, _, text = line.partition(" ")
    error = Misconfigured(phase, Fault.CLIENT_CERTIFICATE, text, code=int(code))
    told = diagnose(error, Picture(settings=SETTINGS))
    assert (told.rule, told.field) == ("tls-client-certificate", "client_certificate")


# A name without an address.


def no_address(**seen: Any) -> Diagnosis:
    error = Temporary(Phase.DNS, Fault.DNS_NOT_FOUND, "No server has the name shop.example.")
    settings = SmtpSettings(**{**vars(SETTINGS), "host": "shop.example"})
    return diagnose(error, Picture(settings=settings, **seen))


def test_a_mail_domain_in_place_of_a_server_leads_to_where_its_mail_goes() -> None:
    told = no_address(name_exists=True, mail_servers=("mx1.shop.example", "mx2.shop.example"))
    assert told.rule == "dns-mx-only"
    assert "mx1.shop.example" in told.meaning
    assert [action.changes for action in told.actions] == [{"smtp_server": "mx1.shop.example"}]


def test_the_server_for_sending_of_the_domain_s_provider_comes_first() -> None:
    told = no_address(name_exists=True, mail_servers=("aspmx.l.google.com",))
    assert [action.changes["smtp_server"] for action in told.actions] == ["smtp.gmail.com", "aspmx.l.google.com"]


def test_a_name_that_exists_is_told_from_one_that_does_not() -> None:
    assert no_address(name_exists=True).rule == "dns-no-address"
    assert no_address(name_exists=False).rule == "dns-not-found"
    assert no_address().rule == "dns-not-found"


# Characters that look right.


def refused(**changes: Any) -> Diagnosis:
    settings = SmtpSettings(**{**vars(SETTINGS), **changes})
    return diagnose(error_of(Phase.SIGN_IN, "535 5.7.8 authentication failed"), Picture(settings=settings))


def test_a_password_that_ends_with_a_space_is_tried_without_by_one_click_that_does_not_hold_it() -> None:
    told = refused(password=Secret("geheim-8472 "))
    assert told.cause == "The password ends with a space. That is rarely meant."
    first = told.actions[0]
    assert (first.label, first.changes, first.retype) == ("Try the password without the space", {}, "smtp_password")
    assert "geheim" not in repr(told)
    assert "geheim" not in repr(refused().actions)
    assert not any(action.retype for action in refused().actions)


def test_a_user_name_with_such_a_character_is_changed_as_any_field() -> None:
    told = refused(username="mailer\u200b@shop.example")
    assert told.cause.startswith("The user name contains an invisible character.")
    assert told.actions[0].changes == {"smtp_username": "mailer@shop.example"}


def test_what_is_not_about_the_password_does_not_lead_to_it() -> None:
    settings = SmtpSettings(**{**vars(SETTINGS), "password": Secret("geheim ")})
    for phase, line in (
        (Phase.SENDER, "550 5.7.1 no"),
        (Phase.SIGN_IN, "454 4.7.0 temporary failure"),
        (Phase.SIGN_IN, "535 5.7.8 account locked for 5 minutes"),
    ):
        told = diagnose(error_of(phase, line), Picture(settings=settings))
        assert "ends with a space" not in told.cause
        assert not any(action.retype for action in told.actions)
