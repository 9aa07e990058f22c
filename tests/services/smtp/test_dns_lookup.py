"""The DNS is asked with a deadline; "there is none" and "nobody could say" stay two different answers."""

from collections.abc import Iterator
from ipaddress import ip_address
from time import monotonic

import pytest

from services.smtp import dns
from services.smtp.dns import LookupFailed, Questions
from tests.dns_server import DnsServer, Fails, Turns, Zone
from tests.patience import stretched

ZONE: Zone = {
    ("shop.example", "MX"): ["20 backup.shop.example.", "10 MX.Shop.example."],
    ("shop.example", "TXT"): ["v=spf1 -all", "x" * 600, "bell\x07 \x1b[2J"],
    ("none.example", "MX"): ["0 ."],
    ("_submissions._tcp.shop.example", "SRV"): [
        "20 0 465 last.shop.example.",
        "10 1 465 second.shop.example.",
        "10 7 4650 First.Shop.example.",
    ],
    ("_submission._tcp.shop.example", "SRV"): ["0 0 0 ."],
    ("mx.shop.example", "A"): ["192.0.2.1"],
    ("mx.shop.example", "AAAA"): ["2001:db8::1"],
    ("www.shop.example", "CNAME"): ["mx.shop.example."],
    ("half.example", "A"): ["192.0.2.2"],
    ("half.example", "AAAA"): Fails.SERVFAIL,
    ("dark.example", "A"): [],
    ("dark.example", "AAAA"): Fails.SERVFAIL,
    ("broken.example", "*"): Fails.SERVFAIL,
    ("closed.example", "*"): Fails.REFUSED,
    ("garbage.example", "*"): Fails.GARBAGE,
    ("silent.example", "*"): Fails.SILENCE,
    ("moving.example", "A"): Turns(["192.0.2.3"], ["169.254.169.254"]),
}


@pytest.fixture(scope="module")
def server() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


def test_mail_servers_come_in_the_order_of_their_preference(server: DnsServer) -> None:
    assert dns.mx("shop.example", resolver=server.address) == ["mx.shop.example", "backup.shop.example"]


def test_a_domain_that_takes_no_mail_is_told_from_one_without_records(server: DnsServer) -> None:
    assert dns.mx("none.example", resolver=server.address) == ["."]
    assert dns.mx("mx.shop.example", resolver=server.address) == []


def test_the_servers_of_a_service_come_by_priority_and_then_by_weight(server: DnsServer) -> None:
    assert dns.srv("_submissions._tcp.shop.example", resolver=server.address) == [
        ("first.shop.example", 4650),
        ("second.shop.example", 465),
        ("last.shop.example", 465),
    ]
    assert dns.srv("_submission._tcp.shop.example", resolver=server.address) == [(".", 0)]
    assert dns.srv("_imaps._tcp.shop.example", resolver=server.address) == []


def test_the_strings_of_a_text_are_joined_and_hold_no_control_characters(server: DnsServer) -> None:
    assert dns.txt("shop.example", resolver=server.address) == ["bell   [2J", "v=spf1 -all", "x" * 600]


def test_both_kinds_of_addresses_are_found_through_an_alias(server: DnsServer) -> None:
    found = dns.addresses("www.shop.example", resolver=server.address)
    assert found == [ip_address("2001:db8::1"), ip_address("192.0.2.1")]


def test_one_kind_of_addresses_is_enough(server: DnsServer) -> None:
    assert dns.addresses("half.example", resolver=server.address) == [ip_address("192.0.2.2")]


def test_no_address_is_not_claimed_while_one_answer_is_missing(server: DnsServer) -> None:
    with pytest.raises(LookupFailed):
        dns.addresses("dark.example", resolver=server.address)


@pytest.mark.parametrize("name", ["nowhere.example", "a" * 64 + ".example", "a..example", ".".join(["abcdefg"] * 33)])
def test_a_name_that_is_not_there_or_cannot_be_is_an_empty_answer(server: DnsServer, name: str) -> None:
    assert dns.mx(name, resolver=server.address) == []
    assert dns.addresses(name, resolver=server.address) == []
    assert not dns.exists(name, resolver=server.address)


def test_a_name_without_such_records_exists(server: DnsServer) -> None:
    assert dns.txt("mx.shop.example", resolver=server.address) == []
    assert dns.exists("mx.shop.example", resolver=server.address)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken.example", "could not answer for broken.example: SERVFAIL."),
        ("closed.example", "could not answer for closed.example: REFUSED."),
        ("silent.example", "gave no answer for silent.example in 0.3 s."),
        ("garbage.example", "garbage.example"),
    ],
)
def test_a_server_that_fails_is_a_failure_that_says_how(server: DnsServer, name: str, words: str) -> None:
    with pytest.raises(LookupFailed) as caught:
        dns.txt(name, 0.3, server.address)
    assert words in caught.value.text


def test_a_server_that_is_not_there_is_a_failure_within_the_time() -> None:
    start = monotonic()
    with pytest.raises(LookupFailed):
        dns.addresses("shop.example", 0.3, "127.0.0.1:9")
    assert monotonic() - start < stretched(1.3)


def test_an_answer_that_does_not_fit_is_fetched_by_tcp() -> None:
    with DnsServer(ZONE, truncate=True) as server:
        assert dns.mx("shop.example", resolver=server.address)
        assert [way for *_, way in server.questions] == ["udp", "tcp"]


def test_each_question_is_asked_anew(server: DnsServer) -> None:
    first, second = (dns.addresses("moving.example", resolver=server.address) for _ in range(2))
    assert (first, second) == ([ip_address("192.0.2.3")], [ip_address("169.254.169.254")])


def test_a_name_in_other_letters_is_asked_for_in_ascii(server: DnsServer) -> None:
    dns.exists("bücher.example", resolver=server.address)
    assert server.questions[-1][0] == "xn--bcher-kva.example"


def test_an_ip_address_is_its_own_and_nobody_is_asked() -> None:
    assert dns.addresses("2001:db8::7", resolver="127.0.0.1:9") == [ip_address("2001:db8::7")]


def test_within_one_check_each_question_is_asked_once(server: DnsServer) -> None:
    questions = Questions(5, server.address)
    before = len(server.questions)
    assert questions.txt("shop.example") == questions.txt("SHOP.example")
    assert len(server.questions) == before + 1


def test_all_questions_of_a_check_share_its_time(server: DnsServer) -> None:
    questions = Questions(0.3, server.address)
    start = monotonic()
    for kind in (questions.txt, questions.mx, questions.exists):
        with pytest.raises(LookupFailed):
            kind("silent.example")
    assert monotonic() - start < stretched(1.3)
