"""SPF is evaluated as RFC 7208 says, limits included, and what cannot be known from here is not guessed."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from services.domain import spf
from services.domain.spf import Evaluation
from services.smtp.dns import Questions
from tests.dns_server import DnsServer, Fails, Zone

SENDER = "203.0.113.7"
RECORDS = {
    "address": "v=spf1 ip4:203.0.113.7 -all",
    "network": "v=spf1 ip4:203.0.113.0/28 -all",
    "six": "v=spf1 ip6:2001:db8::/32 -all",
    "forbids": "v=spf1 -ip4:203.0.113.0/24 +all",
    "soft": "V=SPF1 ~all",
    "nothing-said": "v=spf1 mx:mail.test",
    "own-a": "v=spf1 a -all",
    "other-a": "v=spf1 a:mail.test/29 -all",
    "own-mx": "v=spf1 mx -all",
    "includes": "v=spf1 include:address.test -all",
    "includes-other": "v=spf1 include:six.test -all",
    "redirects": "v=spf1 redirect=address.test",
    "redirect-is-void": "v=spf1 redirect=address.test ~all",
    "unknown-modifier": "v=spf1 moo=cow ip4:203.0.113.7 -all",
    "exists": "v=spf1 exists:mail.test -all",
    "macro": "v=spf1 exists:%{i}._spf.mail.test -all",
    "macro-but-listed": "v=spf1 exists:%{i}._spf.mail.test ip4:203.0.113.7 -all",
    "reverse": "v=spf1 ptr -all",
    "spaces": "v=spf1  ip4:203.0.113.7   -all ",
    "typo": "v=spf1 ip4:203.0.113.7 inlcude:mail.test -all",
    "apart": "v=spf1 include: mail.test -all",
    "short-address": "v=spf1 ip4:203.0.113 -all",
    "no-such-prefix": "v=spf1 a/33 -all",
    "all-of-what": "v=spf1 all:mail.test",
    "two-redirects": "v=spf1 redirect=soft.test redirect=address.test",
    "into-nothing": "v=spf1 include:nowhere.test -all",
    "to-nothing": "v=spf1 redirect=nowhere.test",
    "circle": "v=spf1 include:circle.test -all",
    "ten": "v=spf1 " + "a:mail.test " * 10 + "-all",
    "eleven": "v=spf1 " + "a:mail.test " * 11 + "-all",
    "empty-names": "v=spf1 a:no1.test a:no2.test a:no3.test -all",
    "many-servers": "v=spf1 mx:many.test -all",
    "into-the-dark": "v=spf1 include:dark.test -all",
    "everybody": "v=spf1 ip4:0.0.0.0/0 -all",
}
ZONE: Zone = {
    **{(f"{name}.test", "TXT"): [record] for name, record in RECORDS.items()},
    ("twice.test", "TXT"): ["v=spf1 -all", "v=spf1 ~all"],
    ("other-texts.test", "TXT"): ["v=spf10 +all", "verification=1", "v=spf1"],
    ("mail.test", "A"): ["203.0.113.1"],
    ("mail.test", "MX"): ["10 mail.test."],
    ("own-a.test", "A"): [SENDER],
    ("own-mx.test", "MX"): ["10 mx1.own-mx.test."],
    ("mx1.own-mx.test", "A"): [SENDER],
    ("many.test", "MX"): [f"{number} mx{number}.many.test." for number in range(11)],
    ("dark.test", "TXT"): Fails.SERVFAIL,
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


def evaluated(server: DnsServer, name: str, address: str | None = SENDER) -> Evaluation:
    return spf.evaluate(f"{name}.test", ip_address(address) if address else None, Questions(5, server.address))


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("address", "pass"),
        ("network", "pass"),
        ("six", "fail"),
        ("forbids", "fail"),
        ("soft", "softfail"),
        ("nothing-said", "neutral"),
        ("other-texts", "neutral"),
        ("nowhere", "none"),
        ("own-a", "pass"),
        ("other-a", "pass"),
        ("own-mx", "pass"),
        ("includes", "pass"),
        ("includes-other", "fail"),
        ("redirects", "pass"),
        ("redirect-is-void", "softfail"),
        ("unknown-modifier", "pass"),
        ("exists", "pass"),
        ("spaces", "pass"),
        ("ten", "fail"),
        ("everybody", "pass"),
        ("into-the-dark", "temperror"),
    ],
)
def test_a_record_comes_to_what_a_receiver_makes_of_it(server: DnsServer, name: str, result: str) -> None:
    assert evaluated(server, name).result == result


def test_an_ipv6_sender_is_compared_with_ipv6_networks(server: DnsServer) -> None:
    assert evaluated(server, "six", "2001:db8::7").result == "pass"
    assert evaluated(server, "network", "2001:db8::7").result == "fail"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twice", "2 SPF records"),
        ("typo", "“inlcude:mail.test”"),
        ("apart", "“include:”"),
        ("short-address", "“ip4:203.0.113”"),
        ("no-such-prefix", "“a/33”"),
        ("all-of-what", "“all:mail.test”"),
        ("two-redirects", "“redirect=address.test”"),
        ("into-nothing", "includes nowhere.test"),
        ("to-nothing", "redirects to nowhere.test"),
        ("circle", "more than 10 DNS lookups"),
        ("eleven", "more than 10 DNS lookups"),
        ("empty-names", "more than 2 names"),
        ("many-servers", "more than 10 servers"),
    ],
)
def test_a_record_in_error_is_told_with_the_place(server: DnsServer, name: str, words: str) -> None:
    evaluation = evaluated(server, name)
    assert evaluation.result == "permerror"
    assert words in evaluation.problem


@pytest.mark.parametrize(
    ("name", "result"), [("macro", "unknown"), ("reverse", "unknown"), ("macro-but-listed", "pass")]
)
def test_what_depends_on_the_sender_is_not_guessed(server: DnsServer, name: str, result: str) -> None:
    assert evaluated(server, name).result == result


def test_without_an_address_every_record_is_read(server: DnsServer) -> None:
    evaluation = evaluated(server, "includes", None)
    assert evaluation.result == "fail"
    assert evaluation.names == {"includes.test", "address.test"}
    assert evaluation.look_ups == 1
