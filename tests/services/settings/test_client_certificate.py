"""What is taken as a client certificate and its key, and what is said where it is refused."""

import ssl
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from services.settings.fields import MASK, parse_change
from services.smtp import client_certificate, tls
from services.smtp.client_certificate import parse_certificate, parse_key
from services.smtp.settings import Identity
from tests import certificates
from tests.certificates import ClientPair, Key, client_pair, key_pem
from utils.errors import InvalidInput
from utils.secret import Secret


@cache
def pair() -> ClientPair:
    return client_pair()


@cache
def keys() -> dict[str, Key]:
    return {
        "RSA": rsa.generate_private_key(65537, 2048),
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }


def refused(**fields: object) -> str:
    """The one sentence that is said of the one field."""
    with pytest.raises(InvalidInput) as caught:
        parse_change(fields)
    ((sentence,),) = caught.value.errors.values()
    assert "BEGIN RSA" not in sentence
    return sentence


@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "Ed25519"])
def test_keys_of_every_usual_kind_are_taken_and_can_be_shown(kind: str) -> None:
    made = client_pair(key=keys()[kind])
    certificate, key = parse_certificate(made.certificate), parse_key(made.key)
    assert client_certificate.belong_together(certificate, key)
    assert isinstance(tls.tls_context(None, Identity(certificate, key)), ssl.SSLContext)


@pytest.mark.parametrize("kind", ["RSA", "P-256"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_pkcs8_pkcs1_and_sec1_are_the_same_key(kind: str, form: PrivateFormat) -> None:
    assert parse_key(key_pem(keys()[kind], form)) == Secret(key_pem(keys()[kind]))


def test_parameters_before_an_ec_key_and_certificates_beside_it_do_no_harm() -> None:
    before = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    sec1 = key_pem(keys()["P-256"], PrivateFormat.TraditionalOpenSSL)
    assert parse_key(f"{before}{sec1}{pair().certificate}") == Secret(key_pem(keys()["P-256"]))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n    "),
        lambda text: text.replace("\n", "\\n"),
        lambda text: f"\ufeff{text}",
        lambda text: f"\n\n{text}\n\n",
        lambda text: f"Bag Attributes\n    friendlyName: Schlüssel\n{text}",
        lambda text: text.removesuffix("\n"),
    ],
    ids=["crlf", "indented", "written line ends", "bom", "blank lines", "attributes", "no last line end"],
)
def test_what_copying_does_to_pem_is_undone(spoil: object) -> None:
    assert callable(spoil)
    assert parse_certificate(spoil(pair().certificate)) == pair().certificate
    assert parse_key(spoil(pair().key)) == Secret(pair().key)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_with_a_passphrase_is_refused_with_the_way_out(form: PrivateFormat) -> None:
    locked = key_pem(keys()["RSA"], form, BestAvailableEncryption(b"passphrase"))
    assert refused(client_key=locked) == client_certificate.ENCRYPTED_KEY


@cache
def other_keys() -> dict[str, str]:
    dsa_key = dsa.generate_private_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    x_key = x25519.X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ssh = keys()["Ed25519"].private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    whole = pair().key
    return {
        "DSA": dsa_key.decode(),
        "X25519": x_key.decode(),
        "OpenSSH": ssh.decode(),
        "short RSA": key_pem(rsa.generate_private_key(65537, 1024)),
        "two keys": whole + key_pem(keys()["P-384"]),
        "a certificate": pair().certificate,
        "garbage": "hunter2",
        "cut off": whole[:100],
        "spoilt": whole.replace("M", "N"),
        "empty block": "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
        "a lone surrogate": whole.replace("\nM", "\n\ud800M", 1),
    }


@pytest.mark.parametrize("name", other_keys())
def test_what_is_no_usable_key_is_refused_in_a_sentence(name: str) -> None:
    sentence = refused(client_key=other_keys()[name])
    assert " " in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("value", ["", MASK, "  \n"])
def test_an_empty_key_and_the_mask_mean_the_stored_one(value: str) -> None:
    assert not parse_change({"client_key": value}).client_key


@cache
def other_certificates() -> dict[str, str]:
    above = client_pair("above", is_authority=True, usage=None)
    below = client_pair("below", issuer=above)
    request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"
    return {
        "with its key": pair().certificate + pair().key,
        "a key": pair().key,
        "a request": request,
        "PKCS#7": "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----",
        "garbage": "hunter2",
        "base64 alone": "MIIB",
        "spoilt": pair().certificate.replace("M", "N"),
        "cut off": pair().certificate[:200],
        "wrong order": above.certificate + below.certificate,
        "not of one chain": pair().certificate + below.certificate,
        "short RSA": client_pair(key=rsa.generate_private_key(65537, 1024)).certificate,
        "twice": pair().certificate * 2,
        "a lone surrogate": pair().certificate.replace("\nM", "\n\ud800M", 1),
    }


@pytest.mark.parametrize("name", other_certificates())
def test_what_is_no_usable_certificate_is_refused_in_a_sentence(name: str) -> None:
    sentence = refused(client_certificate=other_certificates()[name])
    assert " " in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06"),  # version 7
        (b"\x0c\x0eclient.example", b"\x03\x0eclient.example"),  # a name as BIT STRING
        (b"\x0c\x0eclient.example", b"\x0c\x0eclien\xff.example"),  # no UTF-8
    ],
)
def test_a_hostile_certificate_is_refused_and_breaks_no_page_where_it_came_by_sql(good: bytes, bad: bytes) -> None:
    spoilt = ssl.PEM_cert_to_DER_cert(pair().certificate).replace(good, bad, 1)
    pem = ssl.DER_cert_to_PEM_cert(spoilt)
    assert refused(client_certificate=pem) == client_certificate.UNREADABLE_CERTIFICATE
    assert client_certificate.facts_of(pem) is None


@pytest.mark.parametrize("field", ["client_certificate", "client_key"])
@pytest.mark.parametrize("value", [None, 1, ["x"], "x" * 40_000])
def test_other_values_and_endless_texts_are_refused(field: str, value: object) -> None:
    assert refused(**{field: value})


def test_a_chain_is_kept_in_its_order() -> None:
    above = client_pair("above", is_authority=True, usage=None)
    chain = client_pair("below", issuer=above).certificate + above.certificate
    assert parse_certificate(chain) == chain
    facts = client_certificate.facts_of(chain)
    assert facts
    assert facts.subject == "CN=below"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (client_pair(days=13.9), "expires on"),
        (client_pair(days=0.1), "expires on"),
        (client_pair(days=-1), "expired on"),
        (client_pair(starts_in_days=3), "not valid before"),
        (client_pair(usage=ExtendedKeyUsageOID.SERVER_AUTH), "not made for clients"),
    ],
)
def test_what_the_administrator_should_know_is_told_in_time(made: ClientPair, words: str) -> None:
    facts = client_certificate.facts_of(made.certificate)
    assert facts
    assert words in facts.trouble


@pytest.mark.parametrize("usage", [None, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
def test_nothing_is_told_of_a_good_one(usage: object) -> None:
    facts = client_certificate.facts_of(client_pair(days=14.1, usage=usage).certificate)  # type: ignore[arg-type]
    assert facts
    assert facts.trouble == ""


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"])
def test_a_certificate_that_somebody_spoilt_in_the_database_has_no_facts(text: str) -> None:
    assert client_certificate.facts_of(text) is None


def test_a_context_with_a_client_certificate_is_kept_apart_from_the_one_without() -> None:
    first, second = (Identity(made.certificate, Secret(made.key)) for made in (pair(), client_pair("other")))
    ca_file = certificates.ca_file()
    contexts = [tls.tls_context(ca_file, identity) for identity in (None, first, second)]
    assert len(set(map(id, contexts))) == 3
    again = Identity(pair().certificate, Secret(pair().key))
    assert tls.tls_context(ca_file, again) is contexts[1]


UNPRIVILEGED = """
import ctypes, os, sys
from services.smtp.settings import Identity
from services.smtp.tls import tls_context
from utils.secret import Secret
text = sys.stdin.read()
os.setgid(65534), os.setuid(65534)
ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE, as the application does
certificate, _, key = text.partition("|")
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
tls_context(None, Identity(certificate, Secret(key)))
print([name for name in opened if "/tmp" in name or "tmp" in name])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory that can be opened as a file is Linux's")
def test_the_key_comes_on_no_disk_not_even_for_a_process_that_others_may_not_look_into() -> None:
    done = subprocess.run(
        [sys.executable, "-B", "-c", UNPRIVILEGED],
        input=f"{pair().certificate}|{pair().key}",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_without_memory_files_the_key_is_gone_from_the_disk_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    made, opened = client_pair("on disk"), list[str]()
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "tempfile.mkstemp" else None)
    tls.tls_context(None, Identity(made.certificate, Secret(made.key)))
    assert opened
    assert not any(Path(name).exists() for name in opened)
