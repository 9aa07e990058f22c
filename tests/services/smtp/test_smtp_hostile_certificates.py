"""Certificates that no authority would make end a test in a failed step, whoever trusts them and whoever reads them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.checks import connection_test
from services.checks.connection_test import TestPlan, TestResult
from services.smtp.settings import Security
from tests.hostile_certificates import (
    BITS,
    BMP,
    COMMON_NAME,
    DNS_NAME,
    GENERAL_TIME,
    IP_NAME,
    LOCALHOST,
    OCTETS,
    ORGANIZATION,
    USUAL_EXTENSIONS,
    UTC_TIME,
    UTF8,
    Hostile,
    alt_names,
    der,
    extension,
    hello_of_tls_1_2,
    name,
    sequence,
)
from tests.scripted_server import Action, ScriptedServer
from tests.smtp_clients import RECIPIENT, policy, settings_for
from utils.errors import Fault, Phase

OFFERS = "250-scripted.test\n250 STARTTLS"
UNKNOWN = bytes.fromhex("06042a030405")
ADDRESSES_OF_LISTS = bytes.fromhex("0603551d1f")
TRICKY = "ab\u202ecd\u2066\n\x1b[31m\u200b\x9b"


def called(*attributes: tuple[bytes, int, bytes], extensions: Sequence[bytes] = USUAL_EXTENSIONS) -> Hostile:
    """One with this name for the issuer and for the subject, as a certificate has it that signs itself."""
    return Hostile(issuer=name(*attributes), subject=name(*attributes), extensions=extensions)


MADE: dict[str, Callable[[], Hostile]] = {
    "X.509 version 7": lambda: Hostile(version=6),
    "X.509 version 0": lambda: Hostile(version=255),
    "X.509 version 4": lambda: Hostile(version=3),
    "common name of bits": lambda: called((COMMON_NAME, BITS, b"\0localhost")),
    "organisation of bits": lambda: called((ORGANIZATION, BITS, b"\0shop")),
    "no name at all": called,
    "tricky letters": lambda: called(
        (COMMON_NAME, UTF8, TRICKY.encode()), extensions=[alt_names([(DNS_NAME, TRICKY.encode()), LOCALHOST])]
    ),
    "long issuer": lambda: called((COMMON_NAME, UTF8, b"x" * 20_000)),
    "ends in the year 9999": lambda: Hostile(ends=der(GENERAL_TIME, b"99991231235959Z")),
    "ends without seconds": lambda: Hostile(ends=der(UTC_TIME, b"3612312359Z")),
    "ends in the month 13": lambda: Hostile(ends=der(UTC_TIME, b"361331235959Z")),
    "ends somewhere": lambda: Hostile(ends=der(UTC_TIME, b"99zz31235959Z")),
    "ends in another zone": lambda: Hostile(ends=der(UTC_TIME, b"361231235959+0100")),
    "starts in the year 0": lambda: Hostile(starts=der(GENERAL_TIME, b"00000101000000Z")),
    "ended in the year 0": lambda: Hostile(ends=der(GENERAL_TIME, b"00000101000000Z")),
    "no alternative name": lambda: Hostile(extensions=[alt_names([])]),
    "a name with NUL": lambda: Hostile(extensions=[alt_names([(DNS_NAME, b"localhost\0.evil.example")])]),
    "a name with NUL beside the right one": lambda: Hostile(
        extensions=[alt_names([(DNS_NAME, b"localhost\0.evil.example"), LOCALHOST])]
    ),
    "an address of three octets": lambda: Hostile(extensions=[alt_names([(IP_NAME, b"123"), LOCALHOST])]),
    "every kind of name": lambda: Hostile(
        extensions=[
            alt_names(
                [
                    (0xA0, UNKNOWN + der(0xA0, b"\x05\0")),
                    (0xA4, name()),
                    (0x81, b"anna@\xff"),
                    (0x86, b"http://\xff\n"),
                    (0x88, b"\x2a\x03"),
                    LOCALHOST,
                ]
            )
        ]
    ),
    "1,000 names": lambda: Hostile(
        extensions=[alt_names([(DNS_NAME, b"h%d.example" % number) for number in range(1000)] + [LOCALHOST])]
    ),
    "10,000 names": lambda: Hostile(
        extensions=[alt_names([(DNS_NAME, b"h%d.example" % number) for number in range(10_000)] + [LOCALHOST])]
    ),
    "1 MB of issuer": lambda: called((COMMON_NAME, UTF8, b"x" * 1_000_000)),
    "negative serial": lambda: Hostile(serial=b"\x91"),
    "serial of 500 octets": lambda: Hostile(serial=b"\x11" * 500),
    "unknown critical extension": lambda: Hostile(
        extensions=[alt_names([LOCALHOST]), extension(UNKNOWN, b"\x05\0", critical=True)]
    ),
    "revocation list at no address": lambda: Hostile(
        extensions=[
            alt_names([LOCALHOST]),
            extension(ADDRESSES_OF_LISTS, sequence(sequence(der(0xA0, der(0xA0, der(0x86, b"http://\xff\xfe")))))),
        ]
    ),
    "Ed25519": lambda: Hostile(edwards=True),
    "extensions without their version": lambda: Hostile(version=None),
}
HOLDING = {
    "no name at all",
    "tricky letters",
    "long issuer",
    "ends in the year 9999",
    "starts in the year 0",
    "a name with NUL beside the right one",
    "an address of three octets",
    "1,000 names",
    "negative serial",
    "serial of 500 octets",
    "Ed25519",
    "extensions without their version",
}
GOOD = Hostile().der
SENT: dict[str, Callable[[], Action]] = {
    "no DER": lambda: hello_of_tls_1_2(b"hello"),
    "endless DER": lambda: hello_of_tls_1_2(b"\x30\x82\xff\xffjunk"),
    "nothing": lambda: hello_of_tls_1_2(b""),
    "cut off": lambda: hello_of_tls_1_2(GOOD[:-20]),
    "more behind it": lambda: hello_of_tls_1_2(GOOD + b"more"),
    "a kind of key that nobody knows": lambda: hello_of_tls_1_2(
        GOOD.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0277"))
    ),
    "a key that is no point": lambda: hello_of_tls_1_2(GOOD.replace(b"\x03\x42\0\x04", b"\x03\x42\0\x05")),
    "letters that are no UTF-8": lambda: hello_of_tls_1_2(called((COMMON_NAME, UTF8, b"\xff\xfe")).der),
    "a name of octets": lambda: hello_of_tls_1_2(called((COMMON_NAME, OCTETS, b"localhost")).der),
    "half a letter": lambda: hello_of_tls_1_2(called((COMMON_NAME, BMP, b"abc")).der),
    "a date of letters": lambda: hello_of_tls_1_2(Hostile(ends=der(UTF8, b"361231235959Z")).der),
    "the same extension twice": lambda: hello_of_tls_1_2(
        Hostile(extensions=[alt_names([LOCALHOST]), alt_names([LOCALHOST])]).der
    ),
    "names that are no DER": lambda: hello_of_tls_1_2(
        Hostile(extensions=[extension(bytes.fromhex("0603551d11"), b"\x30\x05ab")]).der
    ),
    "no serial": lambda: hello_of_tls_1_2(Hostile(serial=b"").der),
    "1 MB of issuer": lambda: hello_of_tls_1_2(called((COMMON_NAME, UTF8, b"x" * 1_000_000)).der),
    "a thousand certificates": lambda: hello_of_tls_1_2(*[GOOD] * 1000),
}


def run(server: ScriptedServer, security: Security, **rules: Any) -> TestResult:
    """What a test of this server comes to, whose items are a step each and at last the result."""
    plan = TestPlan(
        settings=settings_for(server, host="localhost", security=security), policy=policy(**rules), rcpt=RECIPIENT
    )
    *_, result = connection_test.stream(plan)
    assert isinstance(result, TestResult)
    assert all(step.fact.isprintable() for step in result.steps)
    assert all(line.isprintable() for line in result.transcript)
    return result


def assert_refused_as_foreseen(result: TestResult, caplog: pytest.LogCaptureFixture) -> None:
    """A failed step at the encryption, and nothing in the log of a mistake of ours."""
    assert result.error
    assert (result.error.phase, result.error.fault) == (Phase.ENCRYPTION, Fault.TLS_CERTIFICATE), result.error.text
    assert any((step.name, step.status) == (Phase.ENCRYPTION, "failed") for step in result.steps)
    assert result.diagnosis
    assert not any("broken" in str(record.msg) for record in caplog.records)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("which", MADE)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_hostile_certificate_is_a_failed_step(
    which: str, security: Security, caplog: pytest.LogCaptureFixture
) -> None:
    tls = MADE[which]().context()
    with ScriptedServer({"EHLO": OFFERS}, tls=tls, implicit=security is Security.TLS) as server:
        result = run(server, security)
    assert_refused_as_foreseen(result, caplog)


@pytest.mark.parametrize("which", MADE)
def test_a_hostile_certificate_that_is_trusted_holds_or_is_a_failed_step(
    which: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = MADE[which]()
    with ScriptedServer({"EHLO": OFFERS}, tls=hostile.context(), implicit=True) as server:
        result = run(server, Security.TLS, ca_file=hostile.file())
    if which in HOLDING:
        assert result.ok
    else:
        assert_refused_as_foreseen(result, caplog)


@pytest.mark.parametrize("which", SENT)
def test_what_no_library_could_show_as_a_certificate_is_a_failed_step(
    which: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer({"GREETING": SENT[which]()}) as server:
        result = run(server, Security.TLS)
    assert_refused_as_foreseen(result, caplog)


def test_letters_that_would_change_the_line_are_blanks_in_what_is_shown() -> None:
    with ScriptedServer(tls=MADE["tricky letters"]().context(), implicit=True) as server:
        result = run(server, Security.TLS)
    assert result.certificate
    assert result.certificate.issuer == "ab cd   [31m"
    assert result.certificate.names == ("ab cd   [31m", "localhost")


def test_an_issuer_that_cannot_be_read_leaves_the_rest_to_be_seen() -> None:
    with ScriptedServer(tls=MADE["common name of bits"]().context(), implicit=True) as server:
        result = run(server, Security.TLS)
    assert result.certificate
    assert result.certificate.issuer == "an authority whose name cannot be read"
    assert result.certificate.names == ("localhost", "127.0.0.1")


def test_no_more_names_are_shown_than_public_authorities_put_into_one() -> None:
    with ScriptedServer(tls=MADE["1,000 names"]().context(), implicit=True) as server:
        result = run(server, Security.TLS)
    assert result.certificate
    assert len(result.certificate.names) == 100
