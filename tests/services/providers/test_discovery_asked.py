"""What a domain says of its own mail server: in SRV records, in its autoconfig file; which counts, and who is asked."""

import time
from collections.abc import Iterator
from typing import Final

import pytest
from flask import Flask

from services.providers import discovery, web_file
from services.providers.discovery import NO_SERVER, UNENCRYPTED, Discovery, Source, Suggestion, discover
from services.smtp.settings import Security
from tests import certificates
from tests.dns_server import DnsServer, Fails, Zone
from tests.forbidden_places import watched
from tests.loopback import full_port
from tests.patience import stretched
from tests.scripted_server import ScriptedServer
from tests.services.providers.test_autoconfig import document, server
from tests.web_server import WebServer, endless, file, redirect, silent, slow

pytestmark = pytest.mark.usefixtures("app")

HERE: Final = ["127.0.0.1"]
PUBLIC: Final = ["198.41.0.4"]  # nothing is sent there: only SRV records lead to it
TLS, STARTTLS = "_submissions._tcp", "_submission._tcp"
# Each domain with the SRV records of the two services.
SRV: Final = {
    "own.example": (["0 1 465 mail.own.example."], ["0 1 587 mail.own.example."]),
    "later.example": ([], ["0 1 587 smtp.later.example."]),
    "ranked.example": (
        [
            "20 9 465 last.ranked.example.",
            "10 1 465 second.ranked.example.",
            "10 5 466 first.ranked.example.",
        ],
        [],
    ),
    "swapped.example": (["0 0 587 mail.swapped.example."], ["0 0 465 mail.swapped.example."]),
    "half.example": (["0 0 0 ."], ["0 0 587 mail.half.example."]),
    "none.example": (["0 0 0 ."], ["0 0 0 ."]),
    "foreign.example": (["0 0 465 mail.host.example."], []),
    "known.example": (["0 0 465 smtp.fastmail.com."], []),
    "gmail.example": (["0 0 587 smtp.gmail.com."], []),
    "inner.example": (["0 0 465 mail.inner.example."], []),
    "cloud.example": (["0 0 465 mail.cloud.example."], []),
    "gone.example": (["0 0 465 absent.gone.example."], []),
    "odd.example": (["0 0 465 a\\032b.odd.example.", "1 0 0 mail.odd.example.", "2 0 465 localhost."], []),
    "huge.example": ([f"{number} 0 465 mail{number}.huge.example." for number in range(900)], []),
    "mx.example": (["0 0 465 mail.mx.example."], []),
    "file.example": ([], []),
    "hangs.example": ([], []),
    "bare.example": ([], []),
    "first.example": (["0 0 465 mail.first.example."], []),
    "broken.example": ([], []),
    "gmial.com": (["0 0 465 mail.gmial.com."], []),
    "xn--mller-kva.example": (["0 0 465 mail.xn--mller-kva.example."], []),
}
ZONE: Final[Zone] = {
    **{(f"{TLS}.{domain}", "SRV"): services[0] for domain, services in SRV.items()},
    **{(f"{STARTTLS}.{domain}", "SRV"): services[1] for domain, services in SRV.items()},
    **{(domain, "MX"): [f"10 in.{domain}."] for domain in SRV},
    ("mx.example", "MX"): ["1 aspmx.l.google.com."],
    ("tuta.example", "MX"): ["10 mail.tutanota.de."],
    ("hey.example", "MX"): ["0 work-mx.app.hey.com."],
    ("mute.example", "MX"): ["10 in.mute.example."],
    (f"{TLS}.mute.example", "SRV"): Fails.SILENCE,
    (f"{STARTTLS}.mute.example", "SRV"): Fails.SERVFAIL,
    **{
        (f"{name}.{domain}", "A"): PUBLIC
        for domain in SRV
        for name in ("mail", "first", "second", "mail0")
        if domain not in ("inner.example", "cloud.example")
    },
    ("smtp.later.example", "A"): PUBLIC,
    ("mail.host.example", "A"): PUBLIC,
    ("smtp.fastmail.com", "A"): PUBLIC,
    ("smtp.gmail.com", "A"): PUBLIC,
    ("mail.inner.example", "A"): ["10.0.0.1"],
    ("mail.cloud.example", "A"): ["169.254.169.254"],
    **{
        (f"{name}{domain}", "A"): HERE
        for domain in ("file.example", "mute.example", "hangs.example", "first.example", "broken.example")
        for name in ("", "autoconfig.")
    },
    ("smtp.file.example", "A"): HERE,
    ("smtp.hangs.example", "A"): HERE,
    ("smtp.bare.example", "A"): HERE,
    **{(f"smtp.{name}.example", "A"): PUBLIC for name in ("shop", "elsewhere")},
}
WEB_NAMES: Final = tuple(name for name, _ in ZONE if ZONE[name, _] is HERE)


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with WebServer(certificates.good_context(*WEB_NAMES)) as server:
        yield server


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch, web: WebServer) -> None:
    """No mail server listens at the usual ports, and the web server at one of its own."""
    monkeypatch.setattr(web_file, "PORT", web.port)
    monkeypatch.setattr(discovery, "WAYS", ((1, Security.STARTTLS),))
    monkeypatch.setattr(discovery, "SECONDS", stretched(3.0))
    monkeypatch.setattr(discovery, "SRV_SECONDS", stretched(1.25))
    web.requests.clear()
    web.hosts.clear()


@pytest.fixture
def environment(environment: dict[str, str], dns: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": dns.address, "SMTP_CA_FILE": str(certificates.ca_file())}


def place_of(found: Discovery) -> tuple[Source, str, int | None, Security | None]:
    values = found.values
    return found.source, values.smtp_server, values.smtp_port, values.security


@pytest.mark.parametrize(
    ("domain", "host", "port", "security"),
    [
        ("own.example", "mail.own.example", 465, Security.TLS),  # RFC 8314 3.3: TLS from the start comes first
        ("later.example", "smtp.later.example", 587, Security.STARTTLS),
        ("ranked.example", "first.ranked.example", 466, Security.TLS),
        ("swapped.example", "mail.swapped.example", 587, Security.STARTTLS),
        ("half.example", "mail.half.example", 587, Security.STARTTLS),
        ("huge.example", "mail0.huge.example", 465, Security.TLS),
        ("inner.example", "mail.inner.example", 465, Security.TLS),
    ],
)
def test_srv_records_tell_the_server(domain: str, host: str, port: int, security: Security) -> None:
    found = discover(f"me@{domain}")
    assert place_of(found) == (Source.SRV, host, port, security)
    assert (found.values.smtp_username, found.values.from_email) == (f"me@{domain}", f"me@{domain}")
    assert found.message.startswith(f"{domain} names {host}, port {port} (")
    assert "another domain" not in found.message
    assert found.origin == "Source: the domain’s SRV records in DNS."


def test_a_server_in_another_domain_is_told_as_such() -> None:
    found = discover("me@foreign.example")
    assert place_of(found) == (Source.SRV, "mail.host.example", 465, Security.TLS)
    assert "That server is in another domain: before you enter a password" in found.message


@pytest.mark.parametrize(
    ("domain", "provider", "username"),
    [("known.example", "fastmail", ""), ("gmail.example", "gmail", "me@gmail.example")],
)
def test_a_known_providers_server_brings_what_is_known_of_it(domain: str, provider: str, username: str) -> None:
    found = discover(f"me@{domain}")
    assert found.source is Source.SRV
    assert found.provider
    assert (found.provider["id"], found.values.smtp_username) == (provider, username)
    assert "another domain" not in found.message


def test_a_domain_that_says_it_has_no_server_is_asked_no_further(web: WebServer, dns: DnsServer) -> None:
    with watched(but=(int(dns.address.rpartition(":")[2]),)) as seen:
        found = discover("me@none.example")
    assert found.source is Source.NONE
    assert found.message == "none.example says in its DNS that it has no server to send email through."
    assert seen == []


@pytest.mark.parametrize(
    ("text", "meant", "source"),
    [
        ("me@gmial.com", "gmail.com", Source.SRV),
        ("gmail.con", "gmail.com", Source.NONE),
        ("me@hotmial.com", "hotmail.com", Source.NONE),
        ("me@yaho.com", "yahoo.com", Source.NONE),
        ("me@outlok.com", "outlook.com", Source.NONE),
        ("me@iclould.com", "icloud.com", Source.NONE),
        ("me@gmail.de", "gmail.com", Source.NONE),
        ("hotmail.org", "hotmail.com", Source.NONE),
        ("me@mail.gmail.com", "gmail.com", Source.NONE),
    ],
)
def test_a_slip_in_a_providers_domain_is_asked_about_first_whoever_answers_there(
    text: str, meant: str, source: Source
) -> None:
    found = discover(text)
    assert found.source is source
    assert found.message.startswith(f"Did you mean {meant}? ")
    assert (found.values == Suggestion()) is (source is Source.NONE)


@pytest.mark.parametrize("text", ["me@own.example", "me@gmail.com", "me@gmx.ch", "me@mx.example", "live.io"])
def test_a_name_that_is_no_slip_is_not_asked_about(text: str) -> None:
    assert "Did you mean" not in discover(text).message


@pytest.mark.parametrize("text", ["me@müller.example", "müller.example", "me@xn--mller-kva.example"])
def test_a_domain_is_told_in_the_letters_of_its_language(text: str) -> None:
    assert discover(text).message.startswith("müller.example names mail.xn--mller-kva.example, port 465 (TLS)")


@pytest.mark.parametrize("domain", ["cloud.example", "gone.example", "odd.example"])
def test_a_record_that_leads_nowhere_counts_for_nothing(domain: str) -> None:
    assert discover(f"me@{domain}").source is Source.NONE


def test_mx_records_of_a_known_provider_come_before_srv_records() -> None:
    assert discover("me@mx.example").source is Source.MX


@pytest.mark.parametrize("domain", ["tuta.example", "hey.example"])
def test_a_domain_of_ones_own_at_a_provider_without_smtp_is_told_so_and_keeps_its_sender(domain: str) -> None:
    found = discover(f"me@{domain}")
    assert found.source is Source.MX
    assert found.message.endswith(NO_SERVER)
    assert found.values == Suggestion(from_email=f"me@{domain}")


def test_the_file_of_a_domain_tells_server_and_user_name(web: WebServer) -> None:
    web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example", username="%EMAILLOCALPART%")))
    found = discover("Me@file.example")
    assert place_of(found) == (Source.AUTOCONFIG, "smtp.shop.example", 465, Security.TLS)
    assert (found.values.smtp_username, found.values.from_email) == ("Me", "Me@file.example")
    assert found.message == "file.example publishes the settings of its server: smtp.shop.example, port 465 (TLS)."
    assert found.origin == "Source: the autoconfig file on the domain’s web server."
    assert web.requests
    assert not any("@" in request or "Me" in request for request in web.requests)


def test_the_well_known_place_is_asked_too_and_comes_second(web: WebServer) -> None:
    web.hosts["file.example"] = file(document(server("smtp.elsewhere.example")))
    assert discover("me@file.example").values.smtp_server == "smtp.elsewhere.example"
    web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example")))
    assert discover("me@file.example").values.smtp_server == "smtp.shop.example"


def test_srv_records_come_before_the_file_which_comes_before_the_usual_names(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.hosts |= {
        f"autoconfig.{name}.example": file(document(server("smtp.shop.example"))) for name in ("first", "file")
    }
    assert discover("me@first.example").source is Source.SRV
    with ScriptedServer({"EHLO": "250 smtp.file.example"}) as mail:
        monkeypatch.setattr(discovery, "WAYS", ((mail.port, Security.STARTTLS),))
        assert discover("me@file.example").source is Source.AUTOCONFIG
        web.hosts.clear()
        found = discover("me@file.example")
    assert place_of(found) == (Source.PROBE, "smtp.file.example", mail.port, None)
    assert found.origin.startswith("Source: a test of the usual server names.")


def test_dns_that_keeps_silent_about_srv_records_leaves_time_for_the_file(web: WebServer) -> None:
    web.hosts["autoconfig.mute.example"] = file(document(server("smtp.shop.example")))
    assert discover("me@mute.example").source is Source.AUTOCONFIG


def test_a_server_without_encryption_is_told_as_such_and_not_filled_in_as_such(web: WebServer) -> None:
    web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example", "25", "plain")))
    found = discover("me@file.example")
    assert place_of(found) == (Source.AUTOCONFIG, "smtp.shop.example", 25, None)
    assert UNENCRYPTED in found.message


def test_a_server_at_a_usual_name_without_encryption_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"EHLO": "250 smtp.bare.example"}) as mail:
        monkeypatch.setattr(discovery, "WAYS", ((mail.port, Security.STARTTLS),))
        found = discover("me@bare.example")
    assert place_of(found) == (Source.PROBE, "smtp.bare.example", mail.port, None)  # it may have been taken away
    assert UNENCRYPTED in found.message


@pytest.mark.parametrize(
    ("ways", "words"),
    [(("OAuth2",), "another way to sign in than a password"), (("client-IP-address",), "without a password")],
)
def test_a_server_that_takes_no_password_is_told_as_such(web: WebServer, ways: tuple[str, ...], words: str) -> None:
    web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example", ways=ways)))
    found = discover("me@file.example")
    assert words in found.message
    assert found.values.smtp_username == ""


@pytest.mark.parametrize(
    "answer",
    {
        "garbage": file(b"<html>Not here"),
        "a bomb": file(b"<!DOCTYPE a [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><a>&b;</a>"),
        "no server": file(document()),
        "a server inside": file(document(server("localhost"), server("10.0.0.1"))),
        "a server at the cloud's metadata": file(document(server("mail.cloud.example"))),
        "a server that is not there": file(document(server("absent.file.example"))),
        "10 MB": file(b" " * 10_000_000),
        "endless": endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 16_384),
        "another site": redirect("https://smtp.hangs.example/"),
        "inwards": redirect("https://127.0.0.1/"),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_hostile_web_server_gives_nothing(web: WebServer, answer: tuple[str, object]) -> None:
    web.hosts |= dict.fromkeys(("autoconfig.broken.example", "broken.example"), answer[1])  # type: ignore[arg-type]
    assert place_of(discover("me@broken.example")) == (Source.NONE, "", None, None)


def test_servers_that_keep_silent_are_waited_for_three_seconds_in_all(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.hosts |= {"autoconfig.hangs.example": silent, "hangs.example": slow(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 60_000)}
    with full_port() as port:
        monkeypatch.setattr(discovery, "WAYS", ((port, Security.STARTTLS), (port, Security.TLS)))
        began = time.monotonic()
        found = discover("me@hangs.example")
        assert time.monotonic() - began < 3 * discovery.SECONDS  # so many silences one after the other take far more
    assert found.source is Source.NONE


def test_whoever_may_not_probe_has_nothing_connected_to_and_hears_of_public_servers_alone(
    web: WebServer, dns: DnsServer
) -> None:
    web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example")))
    with watched(but=(int(dns.address.rpartition(":")[2]),)) as seen:
        assert discover("me@own.example", may_probe=False).source is Source.SRV
        inner, absent, by_file = (
            discover(f"me@{domain}", may_probe=False) for domain in ("inner.example", "gone.example", "file.example")
        )
    assert (inner.source, absent.source, by_file.source) == (Source.NONE,) * 3
    assert inner.message.replace("inner", "gone") == absent.message
    assert seen == []


class TestSwitchedOff:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "DISCOVER_BY_HTTP": "false"}

    def test_no_web_server_is_asked(self, app: Flask, web: WebServer) -> None:
        web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example")))
        before = web.connections
        assert discover("me@file.example").source is Source.NONE
        assert web.connections == before


class TestWhereThisMachineIsNamed:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "SMTP_ALLOWED_CIDRS": "127.0.0.0/8,198.41.0.0/24"}

    def test_a_redirect_may_lead_there(self, app: Flask, web: WebServer) -> None:
        web.hosts["autoconfig.file.example"] = redirect(f"https://file.example:{web.port}/other.xml")
        web.hosts["file.example"] = file(document(server("smtp.shop.example")))
        assert discover("me@file.example").source is Source.AUTOCONFIG
        assert "GET /other.xml HTTP/1.1" in [request.splitlines()[0] for request in web.requests]


class TestWhereNetworksAreNamed:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "SMTP_ALLOWED_CIDRS": "198.41.0.0/24", "SMTP_ALLOWED_PORTS": "465"}

    def test_no_other_is_asked_or_suggested(self, app: Flask, web: WebServer) -> None:
        web.hosts["autoconfig.file.example"] = file(document(server("smtp.shop.example")))
        before = web.connections
        assert discover("me@file.example").source is Source.NONE
        assert web.connections == before
        assert discover("me@own.example").values.smtp_port == 465
        for domain in ("later.example", "inner.example"):
            assert discover(f"me@{domain}").source is Source.NONE
