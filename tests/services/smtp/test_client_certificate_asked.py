"""A server that asks for a client certificate is understood, in whichever way and however late it says so."""

import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.delivery import retry_policy
from services.diagnosis.diagnosis import diagnose, message
from services.diagnosis.picture import Picture
from services.smtp import tls as smtp_tls
from services.smtp import trust
from services.smtp.client import SmtpClient
from services.smtp.dialogue import refusal
from services.smtp.settings import Security, SmtpSettings
from services.smtp.wire import Deadline, Reply, Wire, WireError
from tests import certificates, exim_server, postfix_server
from tests.exim_server import EximServer
from tests.hostile_certificates import alert, hello_of_tls_1_2, refuse_hello
from tests.patience import PATIENCE
from tests.postfix_server import PostfixServer
from tests.scripted_server import Answer, ScriptedServer
from tests.smtp_clients import CONTENT, ENVELOPE, RECIPIENT, SENDER, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, Phase

OFFERS = "250-scripted.test\n250 STARTTLS"
PRESENTED = "421 4.7.1 mail.test Error: No client certificate presented"
needs_postfix = pytest.mark.skipif(postfix_server.missing() is not None, reason=f"Postfix: {postfix_server.missing()}")
needs_exim = pytest.mark.skipif(exim_server.missing() is not None, reason=f"Exim: {exim_server.missing()}")
BOTH_MODES = pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])


def asking_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = certificates.good_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca_file())
    context.maximum_version = version
    return context


def run(settings: SmtpSettings) -> TestResult:
    *_, result = connection_test.stream(TestPlan(settings=settings, policy=policy(), rcpt=RECIPIENT))
    assert isinstance(result, TestResult)
    return result


def settings_of(server: Any, security: Security) -> SmtpSettings:
    port = server.starttls_port if security is Security.STARTTLS else server.tls_port
    return SmtpSettings(host=server.host, port=port, security=security, from_email=SENDER)


def assert_understood(result: TestResult) -> None:
    assert isinstance(result.error, Misconfigured)
    assert result.error.fault is Fault.CLIENT_CERTIFICATE, result.error.text
    assert result.message == "Server requires a client certificate"
    assert result.diagnosis
    assert result.diagnosis.title == "The server requires a client certificate"
    assert "client certificate and key" in result.diagnosis.remedy
    assert not result.diagnosis.retryable


@pytest.fixture(scope="module")
def exim() -> Iterator[EximServer]:
    more = "tls_verify_hosts = *\ntls_verify_certificates = {home}/ca.pem"
    with EximServer({"shop": "unused"}, senders=SENDER, more=more) as server:
        yield server


@pytest.fixture(scope="module")
def postfix() -> Iterator[PostfixServer]:
    more = "smtpd_tls_CAfile = {home}/ca.pem\nsmtpd_tls_req_ccert = yes\nsmtpd_tls_security_level = encrypt\n"
    with PostfixServer({"shop": "unused"}, more=more) as server:
        yield server


@needs_exim
@BOTH_MODES
def test_exim_closes_with_an_alert_that_is_read(exim: EximServer, security: Security) -> None:
    assert_understood(run(settings_of(exim, security)))


@needs_postfix
@BOTH_MODES
def test_postfix_says_it_with_a_code_that_sounds_temporary(postfix: PostfixServer, security: Security) -> None:
    result = run(settings_of(postfix, security))
    assert_understood(result)
    assert result.error
    assert result.error.code == 421
    assert "No client certificate presented" in result.server_line


@BOTH_MODES
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_alert_is_read_before_and_after_the_handshake(version: ssl.TLSVersion, security: Security) -> None:
    tls = asking_context(version)
    with ScriptedServer({"EHLO": OFFERS}, tls=tls, implicit=security is Security.TLS) as server:
        result = run(SmtpSettings(host="localhost", port=server.port, security=security, from_email=SENDER))
    assert_understood(result)


@pytest.mark.parametrize("number", [41, 42, 49, 111, 116])
def test_an_alert_about_our_certificate_is_understood_in_the_handshake(number: int) -> None:
    with ScriptedServer({"GREETING": refuse_hello(number)}) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, security=Security.TLS).open()
    assert caught.value.fault is Fault.CLIENT_CERTIFICATE


@pytest.mark.parametrize("number", [40, 70, 71, 86])
def test_a_hello_that_is_refused_is_about_versions_and_ciphers(number: int) -> None:
    with ScriptedServer({"GREETING": refuse_hello(number)}) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, security=Security.TLS).open()
    assert caught.value.fault is Fault.TLS_HANDSHAKE
    settings = SmtpSettings(host="localhost", port=465, security=Security.TLS, from_email=SENDER)
    assert diagnose(caught.value, Picture(settings=settings)).rule == "tls-too-old"


@pytest.mark.parametrize("number", [10, 20, 22, 43, 44, 45, 46, 47, 48, 50, 51, 80, 90, 109, 110, 112, 115, 120, 255])
def test_any_other_alert_is_a_handshake_that_failed_and_says_which(number: int) -> None:
    with ScriptedServer({"GREETING": refuse_hello(number)}) as server, pytest.raises(Misconfigured) as caught:
        client_for(server, security=Security.TLS).open()
    assert caught.value.fault is Fault.TLS_HANDSHAKE
    assert caught.value.text.startswith("The encryption handshake failed: ")


@pytest.mark.parametrize(
    ("reply", "verb"),
    [
        (PRESENTED, "GREETING"),
        (PRESENTED, "EHLO"),
        (PRESENTED, "MAIL"),
        ("421 4.7.1 mail.test Error: Client certificate not trusted", "EHLO"),
        ("454 4.7.0 Client certificate has been rejected", "EHLO"),
        ("550 5.7.1 This port is for mutual TLS", "MAIL"),
        ("554 5.7.1 A valid client certificate is required", "MAIL"),
        ("550 5.7.0 Please present a trusted TLS certificate", "MAIL"),
        ("530 5.7.0 certificate required", "MAIL"),
        ("454 4.7.0 no peer certificate was presented", "RCPT"),
        ("554 5.7.1 <client.example>: Client host rejected: No client certificate", "RCPT"),
    ],
)
def test_the_words_beat_the_class_of_the_code(reply: str, verb: str) -> None:
    with ScriptedServer({verb: reply}) as server, pytest.raises(Misconfigured) as caught, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    error = caught.value
    assert (error.fault, error.code) == (Fault.CLIENT_CERTIFICATE, int(reply[:3]))
    settings = SmtpSettings(host="mail.test", port=587, security=Security.STARTTLS, from_email=SENDER)
    asks_for_another = any(word in reply for word in ("not trusted", "been rejected"))
    title = f"The server {'requires another' if asks_for_another else 'requires a'} client certificate"
    assert diagnose(error, Picture(settings=settings)).title == title
    assert message(error) == "Server requires a client certificate"


def test_words_that_come_unasked_are_understood_too() -> None:
    script: dict[str, Answer] = {"EHLO": f"250 scripted.test\n{PRESENTED}"}
    with ScriptedServer(script) as server, pytest.raises(Misconfigured) as caught, client_for(server) as client:
        client.send(ENVELOPE, CONTENT)
    assert caught.value.fault is Fault.CLIENT_CERTIFICATE


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        (Phase.RECIPIENT, Reply(550, "5.1.1", ('<"no client certificate presented"@shop.example> unknown user',))),
        (Phase.RECIPIENT, Reply(550, "5.1.1", ("client-certificate@shop.example: unknown user",))),
        (Phase.MESSAGE, Reply(554, "5.7.1", ("Message speaks of a client certificate",))),
        (Phase.ENCRYPTION, Reply(454, "4.7.0", ("TLS not available: certificate file missing",))),
        (Phase.GREETING, Reply(421, "4.7.0", ("Too many connections",))),
    ],
)
def test_other_words_are_no_question_for_a_certificate(phase: Phase, reply: Reply) -> None:
    assert refusal(phase, reply).fault is Fault.REPLY


@pytest.mark.parametrize("phase", [Phase.ENCRYPTION, Phase.EHLO, Phase.SENDER, Phase.RECIPIENT])
def test_the_configuration_waits_and_not_the_mail(phase: Phase) -> None:
    error = Misconfigured(phase, Fault.CLIENT_CERTIFICATE, "No client certificate presented", code=421)
    verdict = retry_policy.of_error(error)
    assert verdict.action_at(timedelta(days=30), 100) is retry_policy.MailAction.SNOOZE
    assert verdict.opens
    assert retry_policy.of_error(error).goes_on


def test_another_alert_after_the_handshake_is_kept_in_the_words() -> None:
    """Read on the wire, since no server of the library's ends a connection so."""
    with ScriptedServer({"GREETING": hello_of_tls_1_2(rest=alert(80))}) as server:
        with pytest.raises(DeliveryError) as caught:
            SmtpClient(
                SmtpSettings(host="localhost", port=server.port, security=Security.TLS, from_email=SENDER), policy()
            ).open()
        assert "internal error" in caught.value.text


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_the_server_does_not_trust_is_told_apart(version: ssl.TLSVersion) -> None:
    ours = trust.verifying_context(certificates.ca_file())
    certificates.stranger().issue_cert("client.example").configure_cert(ours)
    deadline = Deadline(PATIENCE)
    with ScriptedServer(tls=asking_context(version), implicit=True) as server:
        sock = socket.create_connection((server.host, server.port))
        with smtp_tls.wrapped(sock, ours, "localhost") as tls, pytest.raises(WireError) as caught:
            smtp_tls.shake_hands(tls, "localhost", deadline, spoke_plain=False)
            Wire(tls).read_reply(deadline)
    assert caught.value.fault is Fault.CLIENT_CERTIFICATE
    error = Misconfigured(Phase.ENCRYPTION, caught.value.fault, caught.value.text)
    settings = SmtpSettings(host="mail.test", port=465, security=Security.TLS, from_email=SENDER)
    assert diagnose(error, Picture(settings=settings)).title == "The server requires another client certificate"
