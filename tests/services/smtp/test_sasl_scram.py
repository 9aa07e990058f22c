"""SCRAM: the RFCs' own examples, SASLprep, channel binding, and what a server may not say."""

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from services.smtp.sasl import MOST_ROUNDS, Scram, binding_to, prepared
from services.smtp.wire import WireError
from tests import certificates
from utils.errors import Fault
from utils.secret import Secret

SHA1_NONCE, SHA256_NONCE = "fyko+d2lbbFgONRv9qkxdawL", "rOprNGfwEbeRWgbNEkqO"
SHA1_FIRST = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
SHA256_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def client(name: str = "SCRAM-SHA-256", nonce: str = SHA256_NONCE, username: str = "user") -> Scram:
    return Scram(name, username, Secret("pencil"), nonce=nonce)


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "nonce", "first", "proof", "signature"),
    [
        ("SCRAM-SHA-1", SHA1_NONCE, SHA1_FIRST, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="),
        (
            "SCRAM-SHA-256",
            SHA256_NONCE,
            SHA256_FIRST,
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ],
)
def test_the_examples_of_the_rfcs_come_out(name: str, nonce: str, first: str, proof: str, signature: str) -> None:
    exchange = client(name, nonce)
    assert exchange.initial == f"n,,n=user,r={nonce}".encode()
    server_nonce = first.split(",", maxsplit=1)[0]
    assert exchange.answer(coded(first)) == f"c=biws,{server_nonce},p={proof}".encode()
    assert not exchange.is_settled
    assert exchange.answer(coded(f"v={signature}")) == b""
    assert exchange.is_settled


def test_what_the_password_could_be_guessed_from_is_named() -> None:
    exchange = client()
    final = exchange.answer(coded(SHA256_FIRST)).decode()
    assert {final, final.rpartition("p=")[2], "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="} <= set(exchange.secrets)


@pytest.mark.parametrize(
    "final",
    [
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        "v=",
        "v=***",
        "",
        "ok",
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        "x=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ],
)
def test_a_server_that_does_not_know_the_password_is_found_out(final: str) -> None:
    exchange = client()
    exchange.answer(coded(SHA256_FIRST))
    with pytest.raises(WireError) as caught:
        exchange.answer(coded(final))
    assert (caught.value.fault, exchange.is_settled) == (Fault.AUTH_UNPROVEN, False)


def test_an_error_of_the_servers_proves_nothing() -> None:
    exchange = client()
    exchange.answer(coded(SHA256_FIRST))
    assert exchange.answer(coded("e=invalid-proof")) == b""
    assert not exchange.is_settled


def test_an_error_instead_of_a_challenge_is_waited_out() -> None:
    assert client().answer(coded("e=unknown-user")) == b""


@pytest.mark.parametrize("nonce", [SHA256_NONCE, "other", "", SHA256_NONCE[:-1] + "x", "x" + SHA256_NONCE])
def test_a_nonce_that_does_not_begin_with_ours_is_refused(nonce: str) -> None:
    with pytest.raises(WireError):
        client().answer(coded(f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))


@pytest.mark.parametrize(
    "first",
    [
        "hello",
        "r=%sx,i=4096",
        "r=%sx,s=,i=4096",
        "r=%sx,s=A,i=4096",
        "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==",
        "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=",
        "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
        "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096x",
        "m=ext,r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "s=W22ZaJ0SNY7soEsUEjb6gQ==,r=%sx,i=4096",
    ],
)
def test_a_challenge_that_is_none_is_not_answered(first: str) -> None:
    with pytest.raises(WireError) as caught:
        client().answer(coded(first.replace("%s", SHA256_NONCE)))
    assert caught.value.fault is Fault.BROKEN_REPLY


@pytest.mark.parametrize("challenge", ["***", "/w==", "ä", "YQ=", "Y Q=="])
def test_a_challenge_in_no_proper_base64_is_not_answered(challenge: str) -> None:
    with pytest.raises(WireError) as caught:
        client().answer(challenge)
    assert caught.value.fault is Fault.BROKEN_REPLY


def test_extensions_that_need_not_be_known_are_left_alone() -> None:
    assert client().answer(coded(f"{SHA256_FIRST},x=whatever")).startswith(b"c=biws,")


@pytest.mark.parametrize("rounds", [1, 4095, MOST_ROUNDS + 1, 2_000_000_000, 9_999_999_999])
def test_an_unreasonable_number_of_rounds_is_refused_before_any_is_done(rounds: int) -> None:
    with pytest.raises(WireError) as caught:
        client().answer(coded(f"r={SHA256_NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={rounds}"))
    assert caught.value.fault is Fault.AUTH_ROUNDS
    assert str(rounds) in caught.value.text


@pytest.mark.parametrize("rounds", [4096, MOST_ROUNDS])
def test_a_reasonable_number_of_rounds_is_done(rounds: int) -> None:
    assert client().answer(coded(f"r={SHA256_NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={rounds}"))


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    assert client(nonce="").initial != client(nonce="").initial


@pytest.mark.parametrize(
    ("username", "said"), [("a,b", "a=2Cb"), ("a=b", "a=3Db"), ("=2C", "=3D2C"), ("ü\u00adx", "üx")]
)
def test_a_user_name_is_escaped(username: str, said: str) -> None:
    assert client(username=username).initial == f"n,,n={said},r={SHA256_NONCE}".encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\u00adX", "IX"),  # the examples of RFC 4013 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("e\u0301", "\u00e9"),
        ("パス", "パス"),
        ("😀", "😀"),
        ("\u0007", "\u0007"),  # prohibited: left as it is
        ("\u06271", "\u06271"),
        ("\u0627a\u0628", "\u0627a\u0628"),
        ("\u06271\u0628", "\u06271\u0628"),
        ("\u00ad", "\u00ad"),
        ("", ""),
    ],
)
def test_saslprep_is_applied_where_it_can_be(text: str, expected: str) -> None:
    assert prepared(text) == expected


def test_a_certificate_is_bound_to_by_its_own_hash() -> None:
    shown = certificates.authority().issue_cert("localhost").cert_chain_pems[0].bytes()
    der = x509.load_pem_x509_certificate(shown).public_bytes(Encoding.DER)
    assert binding_to(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize("certificate", [b"", b"no certificate", b"\x30\x00"])
def test_there_is_nothing_to_bind_to_without_a_certificate_that_can_be_read(certificate: bytes) -> None:
    assert binding_to(certificate) == b""
