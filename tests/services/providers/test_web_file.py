"""The one file that is asked of a domain's web server: whatever that does, it ends in time, and leads nowhere else."""

import tracemalloc
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Final

import pytest

from services.providers import web_file
from services.providers.web_file import LONGEST, NoFile, WebPlace, WebPolicy, fetch
from services.smtp.wire import Deadline
from tests import certificates
from tests.dns_server import DnsServer, Fails, Turns, Zone
from tests.patience import PATIENCE, stretched
from tests.web_server import Behaviour, WebServer, endless, file, raw, redirect, silent, slow
from utils.allowed_places import EVERYWHERE, AllowedPlaces, PlacesForAccounts

SITE: Final = "site.example"
NAMES: Final = (SITE, "www.site.example", "turns.site.example", "away.example", "notsite.example")
OK: Final = b"HTTP/1.1 200 OK\r\n"
ZONE: Final[Zone] = {
    **{(name, "A"): ["127.0.0.1"] for name in NAMES},
    ("turns.site.example", "A"): Turns(["127.0.0.1"], ["169.254.169.254"]),
    ("wrong.example", "A"): ["127.0.0.1"],
    ("cloud.example", "A"): ["169.254.169.254"],
    ("silent.example", "*"): Fails.SILENCE,
    ("www.site.example", "AAAA"): [],
}
PUBLIC: Final = PlacesForAccounts()
ANYWHERE: Final = PlacesForAccounts(own_networks=(IPv4Network("127.0.0.0/8"),))


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer(certificates.good_context(*NAMES)) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_port(monkeypatch: pytest.MonkeyPatch, web: WebServer) -> None:
    monkeypatch.setattr(web_file, "PORT", web.port)
    web.requests.clear()
    web.hosts.clear()
    web.hung_up.clear()


@pytest.fixture
def policy(dns: DnsServer) -> WebPolicy:
    return policy_with(dns)


def policy_with(dns: DnsServer, allowed: AllowedPlaces = EVERYWHERE, further: AllowedPlaces = PUBLIC) -> WebPolicy:
    ca_file = certificates.ca_file()
    return WebPolicy(ca_file=ca_file, dns_resolver=dns.address, allowed=allowed, allowed_further=further)


def fetched(policy: WebPolicy, host: str = SITE, seconds: float = PATIENCE) -> bytes:
    return fetch(WebPlace(host, "/config.xml"), SITE, policy, Deadline(seconds))


def test_a_file_is_asked_for_by_its_name_alone(web: WebServer, policy: WebPolicy) -> None:
    web.hosts[SITE] = file(b"<a/>")
    assert fetched(policy) == b"<a/>"
    assert [request.splitlines()[0] for request in web.requests] == ["GET /config.xml HTTP/1.1"]
    assert "@" not in web.requests[0]


@pytest.mark.parametrize(
    "answer",
    [
        raw(OK + b"\r\n<a/>"),
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n<a\r\n2\r\n/>\r\n0\r\n\r\n"),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\n<a/>and more"),
    ],
    ids=["to the end", "in chunks", "after a delay"],
)
def test_a_file_may_come_in_each_way_that_http_has(web: WebServer, policy: WebPolicy, answer: Behaviour) -> None:
    web.hosts[SITE] = answer
    assert fetched(policy) == b"<a/>"


@pytest.mark.parametrize(
    "answer",
    {
        "no file": file(b"", "404 Not Found"),
        "an error": file(b"<a/>", "503 Service Unavailable"),
        "no HTTP": raw(b"220 mail.example ESMTP\r\n"),
        "nothing": raw(b""),
        "an odd status": raw(b"HTTP/1.1 1e3 OK\r\n\r\n"),
        "10 MB": file(b" " * 10_000_000),
        "an octet too many": file(b" " * (LONGEST + 1)),
        "a body without end": endless(OK + b"\r\n", b" " * 16_384),
        "chunks without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        "a huge chunk": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", b" " * 16_384),
        "a negative chunk": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b" " * 16_384),
        "no chunk": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "headers without end": endless(OK, b"X-More: of it\r\n"),
        "a header without end": endless(OK + b"X-More: ", b"a" * 16_384),
        "interim answers without end": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_file_is_none_and_nothing_without_end_is_read(
    web: WebServer, policy: WebPolicy, answer: tuple[str, Behaviour]
) -> None:
    web.hosts[SITE] = answer[1]
    with pytest.raises(NoFile):
        fetched(policy)


@pytest.mark.parametrize(
    "answer",
    [silent, slow(OK + b"Content-Length: 9\r\n\r\n"), slow(OK + b"X-Slow: " + b"a" * 60_000), slow(b"H" * 60_000)],
    ids=["silent", "silent in the body", "slow", "slow from the start"],
)
def test_whoever_is_slow_is_left_at_the_deadline(web: WebServer, policy: WebPolicy, answer: Behaviour) -> None:
    hung_up = web.hung_up

    def behave(sock: object) -> None:
        answer(sock)  # type: ignore[arg-type]
        hung_up.set()  # it has heard that the client is gone

    web.hosts[SITE] = behave
    with pytest.raises(NoFile):
        fetched(policy, seconds=stretched(0.4))
    assert not web.requests or hung_up.wait(PATIENCE)


def test_ten_megabytes_need_little_memory(web: WebServer, policy: WebPolicy) -> None:
    web.hosts[SITE] = file(b"<a/>")
    fetched(policy)  # what is loaded once
    web.hosts[SITE] = endless(OK + b"Content-Length: 10000000\r\n\r\n", b" " * 16_384)
    tracemalloc.start()
    try:
        with pytest.raises(NoFile):
            fetched(policy)
        assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "url",
    [
        "https://away.example/config.xml",
        "https://notsite.example/config.xml",
        "https://site.example.away.example/",
        "http://www.site.example:{port}/config.xml",
        "https://www.site.example:8443/config.xml",
        "https://user@www.site.example:{port}/config.xml",
        "https://127.0.0.1:{port}/config.xml",
        "https://[::1]:{port}/config.xml",
        "https://www.site.example:{port}/a b",
        "https://www.site.example:{port}/\u00e4",
        "https://www.site.example:99999/",
        "https://[half/",
        "//away.example:{port}/config.xml",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_leads_nowhere_but_within_the_domain(web: WebServer, dns: DnsServer, url: str) -> None:
    web.hosts[SITE] = redirect(url.format(port=web.port))
    web.hosts |= dict.fromkeys(("www.site.example", "away.example", "notsite.example", "127.0.0.1"), file(b"<a/>"))
    with pytest.raises(NoFile):
        fetched(policy_with(dns, further=ANYWHERE))
    assert len(web.requests) == 1


def test_a_redirect_within_the_domain_is_followed_once_or_twice(web: WebServer, dns: DnsServer) -> None:
    web.hosts[SITE] = redirect(f"//WWW.site.example:{web.port}/other.xml?version=1")
    web.hosts["www.site.example"] = file(b"<a/>")
    assert fetched(policy_with(dns, further=ANYWHERE)) == b"<a/>"
    assert web.requests[1].startswith("GET /other.xml?version=1 HTTP/1.1\r\n")
    web.hosts["www.site.example"] = redirect("/again.xml")
    with pytest.raises(NoFile, match="again and again"):
        fetched(policy_with(dns, further=ANYWHERE))
    assert len(web.requests) == 5


def test_a_redirect_leads_to_public_addresses_alone(web: WebServer, policy: WebPolicy) -> None:
    web.hosts[SITE] = redirect(f"https://www.site.example:{web.port}/config.xml")
    web.hosts["www.site.example"] = file(b"<a/>")
    with pytest.raises(NoFile):
        fetched(policy)
    assert len(web.requests) == 1


@pytest.mark.parametrize("name", ["wrong.example", "cloud.example", "missing.example", "x" * 70 + ".example"])
def test_nothing_is_asked_where_the_certificate_or_the_address_is_wrong(
    web: WebServer, policy: WebPolicy, name: str
) -> None:
    with pytest.raises(NoFile):
        fetched(policy, name)
    assert web.requests == []


def test_a_certificate_of_a_stranger_is_refused(monkeypatch: pytest.MonkeyPatch, policy: WebPolicy) -> None:
    with WebServer(certificates.server_context(certificates.stranger().issue_cert(SITE))) as other:
        monkeypatch.setattr(web_file, "PORT", other.port)
        with pytest.raises(NoFile):
            fetched(policy)
        assert other.requests == []


def test_what_is_not_allowed_is_not_connected_to(web: WebServer, dns: DnsServer) -> None:
    before = web.connections
    for allowed in (AllowedPlaces(networks=(IPv4Network("10.0.0.0/8"),)), PUBLIC):
        with pytest.raises(NoFile):
            fetched(policy_with(dns, allowed))
    assert web.connections == before


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(web: WebServer, policy: WebPolicy) -> None:
    web.hosts["turns.site.example"] = file(b"<a/>")
    assert fetched(policy, "turns.site.example") == b"<a/>"  # asked again, its name would lead to the cloud's metadata


def test_a_silent_name_server_ends_it_at_the_deadline(policy: WebPolicy) -> None:
    with pytest.raises(NoFile):
        fetched(policy, "silent.example", stretched(0.3))
