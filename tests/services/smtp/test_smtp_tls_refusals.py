"""A handshake that fails says why, in words of its own, and leads to a remedy of its own."""

import ssl
from collections.abc import Callable
from secrets import token_hex

import pytest
from trustme import KeyType

from services.diagnosis.diagnosis import diagnose
from services.diagnosis.picture import Picture
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.hostile_certificates import Hostile, der, hello_of_tls_1_2, key_exchange, sequence
from tests.private_authorities import Certified, authority_right, named
from tests.scripted_server import Action, ScriptedServer
from tests.smtp_clients import SENDER, client_for, policy
from utils.errors import Fault, Misconfigured

# The second Oakley group (RFC 2409 6.2): 1,024 bits.
SMALL_PRIME = bytes.fromhex(
    "00ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b"
    "302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7edee386bfb5a899fa5ae9f24117c4b1fe6"
    "49286651ece65381ffffffffffffffff"
)


def small_diffie_hellman() -> ssl.SSLContext:
    path = certificates.directory() / f"{token_hex(8)}.pem"
    pem = ssl.DER_cert_to_PEM_cert(sequence(der(0x02, SMALL_PRIME), der(0x02, b"\x02")))
    path.write_text(pem.replace("CERTIFICATE", "DH PARAMETERS"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.authority().issue_cert("localhost", key_type=KeyType.RSA).configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE:@SECLEVEL=0")
    context.load_dh_params(str(path))
    return context


def old_protocol() -> ssl.SSLContext:
    context = certificates.good_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1
    return context


def other_ciphers() -> ssl.SSLContext:
    context = certificates.good_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("make", "words", "rule"),
    [
        (small_diffie_hellman, "Diffie-Hellman key is too small", "tls-key-exchange-weak"),
        (old_protocol, "no version of TLS that is new enough", "tls-too-old"),
        (other_ciphers, "no cipher is known to both sides", "tls-too-old"),
    ],
)
def test_a_server_with_weak_or_other_encryption(make: Callable[[], ssl.SSLContext], words: str, rule: str) -> None:
    with ScriptedServer(tls=make(), implicit=True) as server:
        assert_refused(server, words, rule)


TRUSTED = Hostile()
PLAYED: dict[str, tuple[Callable[[], Action], str, str]] = {
    "renegotiation from before 2010": (
        lambda: hello_of_tls_1_2(TRUSTED.der, renegotiates=False),
        "old, unsafe renegotiation",
        "tls-renegotiation",
    ),
    "TLS 1.0": (lambda: hello_of_tls_1_2(TRUSTED.der, version=0x0301), "no version of TLS", "tls-too-old"),
    "TLS 1.1": (lambda: hello_of_tls_1_2(TRUSTED.der, version=0x0302), "no version of TLS", "tls-too-old"),
    "SSL 3": (lambda: hello_of_tls_1_2(TRUSTED.der, version=0x0300), "no version of TLS", "tls-too-old"),
    "a cipher that was not offered": (
        lambda: hello_of_tls_1_2(TRUSTED.der, cipher=0x0005),
        "no cipher is known",
        "tls-too-old",
    ),
    "a signature that is wrong": (
        lambda: hello_of_tls_1_2(TRUSTED.der, rest=key_exchange(0x0403, b"\x30\x06\x02\x01\x01\x02\x01\x01")),
        "signature is wrong",
        "tls-signature",
    ),
    "a signature with SHA-1": (
        lambda: hello_of_tls_1_2(TRUSTED.der, rest=key_exchange(0x0203, b"\x30\x06\x02\x01\x01\x02\x01\x01")),
        "too weak or unknown",
        "tls-signature",
    ),
}


@pytest.mark.parametrize("which", PLAYED)
def test_a_server_that_is_out_of_date_or_wrong(which: str) -> None:
    make, words, rule = PLAYED[which]
    with ScriptedServer({"GREETING": make()}) as server:
        assert_refused(server, words, rule, trusted=TRUSTED)


def assert_refused(server: ScriptedServer, words: str, rule: str, trusted: Hostile | None = None) -> None:
    rules = policy(ca_file=trusted.file()) if trusted else policy()
    with pytest.raises(Misconfigured) as caught:
        client_for(server, host="localhost", rules=rules, security=Security.TLS).open()
    assert caught.value.fault is Fault.TLS_HANDSHAKE
    assert words in caught.value.text
    assert diagnose(caught.value, Picture(settings=mail_server())).rule == rule


def mail_server() -> SmtpSettings:
    return SmtpSettings(host="mail.test", port=465, security=Security.TLS, from_email=SENDER)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("common_name", ["localhost", "other.example", "*.localhost"])
def test_a_certificate_with_a_common_name_alone_has_to_be_renewed(
    common_name: str, host: str, security: Security
) -> None:
    tls = certificates.made_context(names=(), common_name=common_name)
    offers = {"EHLO": "250-scripted.test\n250 STARTTLS"}
    with (
        ScriptedServer(offers, tls=tls, implicit=security is Security.TLS) as server,
        pytest.raises(Misconfigured) as caught,
    ):
        client_for(server, host=host, security=security).open()
    assert caught.value.fault is Fault.TLS_CERTIFICATE
    assert "must be renewed" in caught.value.text
    assert "another name" not in caught.value.text
    found = diagnose(caught.value, Picture(settings=mail_server()))
    assert found.rule == "cert-common-name"
    assert "mail.test as subjectAltName" in found.remedy


@pytest.mark.parametrize("critical", [True, False])
def test_mail_goes_through_a_server_of_a_handmade_authority(critical: bool) -> None:
    root = Certified("Handmade root", authority_right(critical=critical))
    leaf = Certified("server", named(), by=root)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain_file())
    with (
        ScriptedServer(tls=context, implicit=True) as server,
        client_for(server, host="localhost", rules=policy(ca_file=root.file()), security=Security.TLS) as client,
    ):
        assert client.is_open
