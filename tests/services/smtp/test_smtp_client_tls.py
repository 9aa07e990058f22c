"""Encryption is a requirement: every bad certificate and every way of stripping TLS ends before the login."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.smtp import tls
from services.smtp.client import Step
from services.smtp.settings import Security
from tests import certificates
from tests.recording_server import RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close, hang, start_tls
from tests.smtp_clients import CONTENT, ENVELOPE, client_for, policy
from utils.errors import DeliveryError, Fault, Misconfigured, Phase, Temporary
from utils.log_utils import configure_logging

OFFERS = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN LOGIN"
LOGIN: dict[str, Any] = {"username": "shop", "password": "geheim-8472"}

BAD_CERTIFICATES: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "self-signed": (lambda: certificates.made_context(self_signed=True), "self-signed"),
    "expired": (lambda: certificates.made_context(ends_in_days=-1), "expired"),
    "not yet valid": (lambda: certificates.made_context(starts_in_days=1), "not valid yet"),
    "wrong name": (lambda: certificates.good_context("other.example"), "another name"),
    "name in CN only": (lambda: certificates.made_context(names=()), "must be renewed"),
    "other name with ours in CN": (
        lambda: certificates.made_context(names=("other.example",)),
        "another name",
    ),
    "wildcard that does not match": (lambda: certificates.good_context("*.localhost"), "another name"),
    "address only": (lambda: certificates.good_context("127.0.0.1"), "another name"),
    "unknown authority": (
        lambda: certificates.server_context(certificates.stranger().issue_cert("localhost")),
        "does not trust",
    ),
    "1024-bit key": (lambda: certificates.made_context(weak_key=True), "too short"),
}


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("which", BAD_CERTIFICATES)
def test_a_bad_certificate_ends_it_before_the_login(which: str, security: Security) -> None:
    make, words = BAD_CERTIFICATES[which]
    implicit = security is Security.TLS
    with RecordingServer(tls=make(), implicit=implicit, users={"shop": "geheim-8472"}) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, host="localhost", security=security, **LOGIN).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.ENCRYPTION, Fault.TLS_CERTIFICATE)
        assert words in caught.value.text
        assert server.auth_attempts == []
        assert b"AUTH" not in server.data


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_right_certificate_lets_mail_through(host: str, security: Security) -> None:
    implicit = security is Security.TLS
    with (
        RecordingServer(tls=certificates.good_context(), implicit=implicit, users={"shop": "geheim-8472"}) as server,
        client_for(server, host=host, security=security, **LOGIN) as client,
    ):
        client.send(ENVELOPE, CONTENT)
        (mail,) = server.wait_for_mail()
    assert mail.encrypted
    assert mail.login == "shop"


def test_an_address_is_checked_against_the_addresses_of_the_certificate() -> None:
    with RecordingServer(tls=certificates.good_context("localhost")) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, security=Security.STARTTLS).open()
        assert "not for this address" in caught.value.text


def test_without_the_extra_authority_its_certificates_are_refused() -> None:
    with RecordingServer(tls=certificates.good_context()) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, rules=policy(ca_file=None), security=Security.STARTTLS).open()
        assert caught.value.fault is Fault.TLS_CERTIFICATE


def test_an_outdated_protocol_version_is_refused() -> None:
    context = certificates.good_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedServer({"EHLO": OFFERS}, tls=context) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, security=Security.STARTTLS, **LOGIN).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.ENCRYPTION, Fault.TLS_HANDSHAKE)


def test_a_cipher_of_tls_1_2_is_good_enough() -> None:
    context = certificates.good_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    steps: list[Step] = []
    with (
        RecordingServer(tls=context) as server,
        client_for(server, steps.append, security=Security.STARTTLS),
    ):
        pass
    assert any(step.fact.startswith("TLS 1.2, certificate for 127.0.0.1") for step in steps)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ({"EHLO": "250-scripted.test\n250 AUTH PLAIN LOGIN"}, Fault.TLS_NOT_OFFERED),
        ({"STARTTLS": "454 4.7.0 not now"}, Fault.REPLY),
        ({"STARTTLS": "502 5.5.1 never heard of it"}, Fault.REPLY),
        ({"STARTTLS": "354 go ahead"}, Fault.REPLY),
        ({"EHLO": "502 5.5.1 HELO please"}, Fault.TLS_NOT_OFFERED),
        ({"STARTTLS": "220 go ahead\n250 in plain text"}, Fault.TLS_INJECTION),
        ({"STARTTLS": ("220 go ahead", lambda connection: connection.receive(), "500 what?")}, Fault.TLS_HANDSHAKE),
        ({"STARTTLS": ("220 go ahead", close)}, Fault.CLOSED),
        ({"STARTTLS": ("220 go ahead", hang)}, Fault.TIMEOUT),
        ({"STARTTLS": close}, Fault.CLOSED),
    ],
)
def test_stripped_tls_ends_it_before_the_login(script: dict[str, Answer], fault: Fault) -> None:
    with ScriptedServer({"EHLO": OFFERS, **script}, tls=certificates.good_context()) as server:
        with pytest.raises(DeliveryError) as caught:
            client_for(server, rules=policy(total_seconds=1), security=Security.STARTTLS, **LOGIN).open()
        assert caught.value.fault is fault
    assert not {"AUTH", "HELO", "MAIL"} & set(server.verbs)
    assert b"AUTH" not in server.received


def test_a_refused_starttls_that_is_temporary_is_worth_another_try() -> None:
    script: dict[str, Answer] = {"EHLO": OFFERS, "STARTTLS": "454 4.7.0 not now"}
    with ScriptedServer(script) as server, pytest.raises(Temporary):
        client_for(server, security=Security.STARTTLS).open()


@pytest.mark.parametrize("inject", [b"250-evil.test\r\n250 AUTH PLAIN\r\n", b"235 welcome\r\n", b"\r\n", b"2"])
def test_octets_behind_the_starttls_reply_abort_and_are_logged(inject: bytes, caplog: pytest.LogCaptureFixture) -> None:
    configure_logging([], as_json=True)
    script: dict[str, Answer] = {"EHLO": OFFERS, "STARTTLS": start_tls(inject=inject)}
    with ScriptedServer(script, tls=certificates.good_context()) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, security=Security.STARTTLS, **LOGIN).open()
        assert (caught.value.phase, caught.value.fault) == (Phase.ENCRYPTION, Fault.TLS_INJECTION)
    (record,) = (record for record in caplog.records if record.name == "security")
    assert "smtp_tls_injection" in str(record.msg)
    assert "127.0.0.1" in str(record.msg)
    assert b"AUTH" not in server.received


def test_what_was_offered_in_plain_text_is_forgotten() -> None:
    script: dict[str, Answer | list[Answer]] = {
        "EHLO": ["250-scripted.test\n250-STARTTLS\n250-PIPELINING\n250 AUTH PLAIN", "250 scripted.test"]
    }
    with ScriptedServer(script, tls=certificates.good_context()) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, security=Security.STARTTLS, **LOGIN).open()
        assert caught.value.fault is Fault.AUTH_NOT_OFFERED
    assert server.verbs == ["EHLO", "STARTTLS", "EHLO"]


def test_nothing_is_sent_behind_starttls_before_its_answer() -> None:
    script: dict[str, Answer] = {"EHLO": OFFERS}
    with (
        ScriptedServer(script, tls=certificates.good_context()) as server,
        client_for(server, security=Security.STARTTLS, **LOGIN) as client,
    ):
        client.send(ENVELOPE, CONTENT)
    assert server.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_no_encryption_never_upgrades() -> None:
    with (
        ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server,
        client_for(server) as client,
    ):
        client.send(ENVELOPE, CONTENT)
    assert "STARTTLS" not in server.verbs


def test_a_large_message_passes_through_tls() -> None:
    content = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 40_000
    with (
        RecordingServer(tls=certificates.good_context()) as server,
        client_for(server, security=Security.STARTTLS) as client,
    ):
        client.send(ENVELOPE, content)
        assert server.wait_for_mail()[0].content == content


def test_a_certificate_near_its_end_is_a_warning() -> None:
    steps: list[Step] = []
    context = certificates.made_context(ends_in_days=7.5)
    with RecordingServer(tls=context) as server, client_for(server, steps.append, security=Security.STARTTLS):
        pass
    encryption = next(step for step in steps if step.name is Phase.ENCRYPTION)
    assert encryption.status == "warning"
    assert "7 days left" in encryption.fact


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_an_unusable_ca_file_is_a_fault_of_the_settings(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with RecordingServer(tls=certificates.good_context()) as server:
        with pytest.raises(Misconfigured) as caught:
            client_for(server, rules=policy(ca_file=path), security=Security.STARTTLS).open()
        assert "SMTP_CA_FILE" in caught.value.text


def test_a_context_is_built_once_for_each_ca_file() -> None:
    first = tls.tls_context(certificates.ca_file())
    assert tls.tls_context(certificates.ca_file()) is first
    assert tls.tls_context(None) is not first


def test_every_context_verifies() -> None:
    context = tls.tls_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
