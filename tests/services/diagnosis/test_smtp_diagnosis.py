"""From a failure to what it means, what to do, and the one click that does it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import product
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.diagnosis import mending, reply_rules
from services.diagnosis.diagnosis import Diagnosis, diagnose, explain
from services.diagnosis.mending import Mend
from services.diagnosis.picture import Picture, WayAnswer, WayIn
from services.diagnosis.reply_rules import FIELDS, all_rules
from services.providers.registry import server_meant_by
from services.smtp.settings import OpenWay, Security
from services.smtp.tls import ShownCertificate
from tests.smtp_clients import shop_settings
from utils.errors import DeliveryError, Fault, OutcomeUnknown, Phase
from utils.secret import Secret

CHANGEABLE: Final = {
    "smtp_server", "smtp_port", "security", "smtp_username", "from_email", "reply_to", "helo_hostname", "auth_method",
    "timeout_seconds",
}  # fmt: skip
# The registry of RFC 5248: how many details each subject has.
REGISTERED: Final = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 10, 7: 30}
STATUSES: Final = [
    f"{kind}.{subject}.{detail}"
    for kind, (subject, last) in product((4, 5), REGISTERED.items())
    for detail in range(last + 1)
]


def refused(phase: Phase, code: int, enhanced: str | None = None, text: str = "Nope") -> DeliveryError:
    return DeliveryError(phase, Fault.REPLY, text, code=code, enhanced=enhanced)


def broken(phase: Phase, fault: Fault, text: str = "") -> DeliveryError:
    return DeliveryError(phase, fault, text)


def working(ways: Iterable[OpenWay]) -> dict[WayIn, WayAnswer]:
    return {(way.port, way.security): way for way in ways}


def certificate(names: Iterable[str]) -> ShownCertificate:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    return ShownCertificate(names=tuple(names), issuer="Somebody", starts=day, ends=day, sha256="AB:CD")


def changes(found: Diagnosis) -> list[dict[str, str]]:
    return [action.changes for action in found.actions]


def assert_complete(found: Diagnosis) -> None:
    for text in (found.rule, found.title, found.meaning, found.cause, found.remedy):
        assert text
        assert "{" not in text
    assert found.field is None or found.field in FIELDS
    assert found.retryable or found.retry_after is None
    for action in found.actions:
        assert set(action.changes) <= CHANGEABLE
        assert action.label


@pytest.mark.parametrize(("phase", "fault"), list(product(Phase, Fault)))
def test_every_failure_in_every_phase_is_explained(phase: Phase, fault: Fault) -> None:
    for code in (None, 421, 550) if fault is Fault.REPLY else (None,):
        error = DeliveryError(phase, fault, "x", code=code)
        assert_complete(diagnose(error, Picture(settings=shop_settings())))


@pytest.mark.parametrize("status", STATUSES)
def test_every_registered_status_is_explained(status: str) -> None:
    found = diagnose(refused(Phase.RECIPIENT, int(f"{status[0]}99"), status), Picture(settings=shop_settings()))
    assert_complete(found)
    if found.rule.startswith("status:"):
        assert found.retryable == status.startswith("4")


def test_every_registered_status_with_a_meaning_has_words_of_its_own() -> None:
    known = {status.partition(".")[2] for status in STATUSES if not status.endswith(".0")}
    worded = {key.partition(" ")[0] for key in reply_rules.tables()["statuses"]}
    assert worded - set("01234567") == known


@pytest.mark.parametrize(("code", "rule"), [(550, "code:550"), (599, "phase:recipient"), (451, "code:451")])
def test_an_unknown_reply_gets_the_sentence_of_its_code_or_phase(code: int, rule: str) -> None:
    found = diagnose(refused(Phase.RECIPIENT, code, text="Zork!"), Picture(settings=shop_settings()))
    assert found.rule == rule
    assert_complete(found)


def test_a_status_says_more_than_a_code_and_an_empty_one_less() -> None:
    assert diagnose(refused(Phase.SENDER, 550, "5.7.23"), Picture(settings=shop_settings())).rule == "status:5.7.23"
    assert diagnose(refused(Phase.SENDER, 550, "5.0.0"), Picture(settings=shop_settings())).rule == "code:550"
    assert diagnose(refused(Phase.SENDER, 599, "5.7.99"), Picture(settings=shop_settings())).rule == "status:5.7.99"


def test_a_code_means_what_it_means_in_its_phase() -> None:
    fields = {
        phase: diagnose(refused(phase, 550), Picture(settings=shop_settings())).field
        for phase in (Phase.EHLO, Phase.SENDER, Phase.RECIPIENT)
    }
    assert fields == {Phase.EHLO: "helo_hostname", Phase.SENDER: "from_email", Phase.RECIPIENT: "to"}


def test_a_message_without_an_answer_may_have_gone_out() -> None:
    error = OutcomeUnknown(Phase.MESSAGE, Fault.TIMEOUT, "too long", may_have_been_sent=True)
    found = diagnose(error, Picture(settings=shop_settings()))
    assert found.rule == "fault:unknown_outcome"
    assert not found.retryable
    assert "inbox" in found.remedy


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("The certificate of smtp.shop.example has expired.", "cert-expired"),
        ("The certificate of smtp.shop.example is not valid yet.", "cert-not-yet-valid"),
        ("The certificate of smtp.shop.example is self-signed.", "cert-self-signed"),
        ("The certificate of x comes from an authority that this machine does not trust.", "cert-issuer"),
        ("The certificate of smtp.shop.example is for another name.", "cert-hostname"),
        ("The certificate of 192.0.2.1 is not for this address.", "cert-hostname"),
        ("The certificate of smtp.shop.example has a key that is too short.", "cert-weak"),
        ("The certificate of smtp.shop.example has a signature that is too weak.", "cert-weak"),
        ("The certificate of smtp.shop.example cannot be verified: odd.", "cert-generic"),
        ("SMTP_CA_FILE cannot be read or contains no certificate.", "ca-file-unusable"),
    ],
)
def test_the_kinds_of_bad_certificates_are_told_apart(text: str, rule: str) -> None:
    assert (
        diagnose(broken(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE, text), Picture(settings=shop_settings())).rule == rule
    )


@pytest.mark.parametrize(
    ("reason", "rule"),
    [
        ("tlsv1 alert protocol version", "tls-too-old"),
        ("sslv3 alert handshake failure", "tls-too-old"),
        ("dh key too small", "tls-key-exchange-weak"),
        ("tlsv13 alert certificate required", "tls-client-certificate"),
        ("tlsv1 unrecognized name", "tls-name-unknown"),
        ("tlsv1 alert unknown ca", "tls-our-authorities"),
        ("tlsv1 alert internal error", "fault:tls_handshake"),
    ],
)
def test_the_kinds_of_tls_alerts_are_told_apart(reason: str, rule: str) -> None:
    text = f"The encryption handshake failed: {reason}."
    assert diagnose(broken(Phase.ENCRYPTION, Fault.TLS_HANDSHAKE, text), Picture(settings=shop_settings())).rule == rule


@pytest.mark.parametrize(
    ("name", "rule"), [("An HTTP", "http"), ("An SSH", "ssh"), ("An IMAP", "imap"), ("A POP3", "pop3")]
)
def test_other_protocols_are_named(name: str, rule: str) -> None:
    text = f"{name} server responded, not a mail server."
    found = diagnose(broken(Phase.GREETING, Fault.NOT_SMTP, text), Picture(settings=shop_settings(port=143)))
    assert found.rule == f"{rule}-server"
    assert changes(found) == [{"smtp_port": "587", "security": "starttls"}]


@pytest.mark.parametrize(
    ("port", "chosen", "fault", "offered"),
    [
        (587, "tls", Fault.TLS_UNEXPECTED, [{"security": "starttls"}]),
        (2525, "tls", Fault.TLS_UNEXPECTED, [{"security": "starttls"}]),
        (465, "tls", Fault.TLS_UNEXPECTED, [{"security": "starttls", "smtp_port": "587"}, {"security": "starttls"}]),
        (465, "starttls", Fault.TLS_EXPECTED, [{"security": "tls"}]),
        (465, "none", Fault.TLS_EXPECTED, [{"security": "tls"}]),
        (587, "starttls", Fault.TLS_EXPECTED, [{"security": "tls", "smtp_port": "465"}, {"security": "tls"}]),
    ],
)
def test_the_wrong_mode_is_one_click_from_the_right_one(
    port: int, chosen: str, fault: Fault, offered: list[dict[str, str]]
) -> None:
    found = diagnose(
        broken(Phase.ENCRYPTION, fault), Picture(settings=shop_settings(port=port, security=Security(chosen)))
    )
    assert changes(found) == offered
    mode = "STARTTLS" if fault is Fault.TLS_UNEXPECTED else "TLS"
    assert found.actions[0].label == f"Use {mode} and test again"
    assert str(port) in found.meaning


def test_an_open_port_is_offered_and_says_what_blocks_the_other() -> None:
    ways = [OpenWay(port=25, security=Security.NONE), OpenWay(port=2525, security=Security.STARTTLS)]
    found = diagnose(broken(Phase.CONNECT, Fault.TIMEOUT), Picture(settings=shop_settings(), ways=working(ways)))
    assert found.cause == "Port 2525 on the same host responds: your hosting provider probably blocks 587."
    assert found.remedy == "Use port 2525 with STARTTLS."
    assert found.actions == (
        Mend(label="Use port 2525 with STARTTLS and test again", changes={"smtp_port": "2525", "security": "starttls"}),
    )


def test_an_unencrypted_way_is_offered_only_without_a_login() -> None:
    ways = [OpenWay(port=25, security=Security.NONE)]
    relay = shop_settings(username="", password=Secret(""))
    assert (
        changes(diagnose(broken(Phase.CONNECT, Fault.REFUSED), Picture(settings=shop_settings(), ways=working(ways))))
        == []
    )
    assert changes(diagnose(broken(Phase.CONNECT, Fault.REFUSED), Picture(settings=relay, ways=working(ways)))) == [
        {"smtp_port": "25", "security": "none"}
    ]


def test_a_refused_sender_may_send_as_its_login() -> None:
    found = diagnose(
        refused(Phase.SENDER, 553, "5.7.1", "Sender address rejected: not owned by user x"),
        Picture(settings=shop_settings()),
    )
    assert found.field == "from_email"
    assert found.actions == (
        Mend(
            label="Send as mailer@shop.example, with replies to hello@shop.example",
            changes={"from_email": "mailer@shop.example", "reply_to": "hello@shop.example"},
        ),
    )


def test_a_reply_address_that_was_chosen_is_kept() -> None:
    found = diagnose(refused(Phase.SENDER, 550), Picture(settings=shop_settings(reply_to="office@shop.example")))
    assert changes(found) == [{"from_email": "mailer@shop.example"}]


@pytest.mark.parametrize("username", ["apikey", "", "hello@shop.example"])
def test_a_login_that_is_no_other_address_is_not_offered_as_sender(username: str) -> None:
    assert changes(diagnose(refused(Phase.SENDER, 550), Picture(settings=shop_settings(username=username)))) == []


def test_a_refused_greeting_is_about_the_ehlo_name() -> None:
    found = diagnose(refused(Phase.EHLO, 501, "5.5.4", "HELO/EHLO argument invalid"), Picture(settings=shop_settings()))
    assert found.field == "helo_hostname"
    assert changes(found) == [{"helo_hostname": "shop.example"}]


@pytest.mark.parametrize(
    ("own", "said", "told"),
    [
        ("web-1", "web-1", "The name was web-1, as set under “More options”."),
        ("", "xn--bcher-kva.example", "The name was xn--bcher-kva.example, the From domain."),
        ("", "app.example.com", "The name was app.example.com, the host of BASE_URL."),
    ],
)
@pytest.mark.parametrize(
    ("phase", "text"), [(Phase.EHLO, "I do not like it"), (Phase.RECIPIENT, "<web-1>: Helo command rejected")]
)
def test_a_refused_greeting_tells_what_was_said_and_where_it_is_set(
    own: str, said: str, told: str, phase: Phase, text: str
) -> None:
    sender = shop_settings(helo_hostname=own, from_email="hello@bücher.example")
    found = diagnose(refused(phase, 504, "5.5.2", text), Picture(settings=sender, ehlo_name=said))
    assert found.cause.endswith(told)
    assert changes(found) == [{"helo_hostname": "xn--bcher-kva.example"}]


def test_a_stored_failure_names_no_name_that_it_does_not_know() -> None:
    assert "The name was" not in explain(phase="ehlo", fault="reply", code=504, host="x.example", port=25).cause


def test_a_fixed_user_name_is_offered() -> None:
    error = refused(Phase.SIGN_IN, 535, text="The provided authorization grant is invalid, expired, or revoked")
    found = diagnose(error, Picture(settings=shop_settings(host="smtp.sendgrid.net")))
    assert found.actions[0].label == "Use the user name apikey and test again"
    assert found.actions[0].changes == {"smtp_username": "apikey"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("smtp.gmial.com", "smtp.gmail.com"),
        ("smtp.gmail.con", "smtp.gmail.com"),
        ("smtp.ofice365.com", "smtp.office365.com"),
        ("smtp.sengrid.net", "smtp.sendgrid.net"),
        ("smtp.shop.example", None),
        ("mail.firma.de", None),
    ],
)
def test_a_slip_in_a_known_servers_name_is_seen(typed: str, meant: str | None) -> None:
    found = diagnose(broken(Phase.DNS, Fault.DNS_NOT_FOUND), Picture(settings=shop_settings(host=typed)))
    assert server_meant_by(typed) == meant
    assert changes(found) == ([{"smtp_server": meant}] if meant else [])


def test_the_name_in_a_certificate_is_offered_only_if_it_is_near_or_known() -> None:
    names = [
        "mail.shop.example",
        "Mail.Shop.example",
        "*.shop.example",
        "smtp.shop.example",
        "mail.evil.test",
        "1.2.3.4",
    ]
    text = "The certificate of smtp.shop.example is for another name."
    found = diagnose(
        broken(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE, text),
        Picture(settings=shop_settings(), certificate=certificate(names)),
    )
    assert changes(found) == [{"smtp_server": "mail.shop.example"}]


def test_the_name_of_a_customers_machine_in_a_clouds_domain_is_not_offered() -> None:
    names = ["ec2-203-0-113-9.compute.amazonaws.com", "f00d.pub.instances.scw.cloud", "smtppro.zoho.evil.test"]
    text = "The certificate of smtp.shop.example is for another name."
    found = diagnose(
        broken(Phase.ENCRYPTION, Fault.TLS_CERTIFICATE, text),
        Picture(settings=shop_settings(), certificate=certificate(names)),
    )
    assert changes(found) == []


def test_a_silent_server_that_answers_tls_on_the_same_port_wants_tls_from_the_first_byte() -> None:
    silent = broken(Phase.GREETING, Fault.TIMEOUT, "The server took too long.")
    found = diagnose(
        silent, Picture(settings=shop_settings(port=7465), ways=working([OpenWay(port=7465, security=Security.TLS)]))
    )
    assert (found.rule, found.phase) == ("fault:tls_expected", Phase.GREETING)
    assert changes(found)[0] == {"security": "tls"}
    elsewhere = diagnose(
        silent, Picture(settings=shop_settings(port=7465), ways=working([OpenWay(port=465, security=Security.TLS)]))
    )
    assert elsewhere.rule == "greeting-silent"


def test_no_encryption_is_offered_only_on_this_machine() -> None:
    error = broken(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED, "The server does not offer STARTTLS.")
    assert {"security": "none"} in changes(
        diagnose(error, Picture(settings=shop_settings(host="localhost", port=1025)))
    )
    assert {"security": "none"} not in changes(diagnose(error, Picture(settings=shop_settings())))


def test_no_encryption_is_never_offered_to_an_account_since_it_has_no_such_choice() -> None:
    error = broken(Phase.ENCRYPTION, Fault.TLS_NOT_OFFERED, "The server does not offer STARTTLS.")
    own = shop_settings(host="127.0.0.1", port=2525, username="", password=Secret(""), is_personal=True)
    open_in_clear = [OpenWay(port=25, security=Security.NONE), OpenWay(port=465, security=Security.TLS)]
    offered = changes(diagnose(error, Picture(settings=own, ways=working(open_in_clear))))
    assert "none" not in {change.get("security") for change in offered}
    assert {"smtp_port": "465", "security": "tls"} in offered


def test_a_servers_own_hint_goes_before_ours() -> None:
    found = diagnose(
        refused(Phase.RECIPIENT, 450, "4.7.1", "Greylisted, try again in 7 minutes"), Picture(settings=shop_settings())
    )
    assert (found.rule, found.retryable, found.retry_after) == ("greylisted", True, 420)


def test_a_stored_attempt_is_explained_without_actions() -> None:
    found = explain(phase="sign_in", fault="reply", code=535, enhanced="5.7.8", host="smtp.shop.example", port=587)
    assert found.rule == "auth-failed"
    assert found.actions == ()
    assert_complete(found)


def test_every_way_to_mend_that_the_data_names_can_be_made() -> None:
    tables = [advice for table in reply_rules.tables().values() for advice in table.values()]
    for advice in (*all_rules(), *tables):
        for action in mending.actions(advice.tries, Picture(settings=shop_settings(port=25))):
            assert set(action.changes) <= CHANGEABLE


@settings(deadline=None)
@given(
    error=st.builds(
        DeliveryError,
        st.sampled_from(Phase),
        st.sampled_from(Fault),
        st.text() | st.from_regex(r"[45]\.\d\.\d{1,3} .*"),
        code=st.none() | st.integers(200, 599),
        enhanced=st.none() | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
    ),
    host=st.text(max_size=80),
    username=st.text(max_size=40),
)
def test_odd_replies_are_explained_too(error: DeliveryError, host: str, username: str) -> None:
    found = diagnose(
        error, Picture(settings=shop_settings(host=host, username=username, port=465, security=Security.TLS))
    )
    assert found.title and found.meaning and found.cause and found.remedy
    for action in found.actions:
        assert set(action.changes) <= CHANGEABLE
