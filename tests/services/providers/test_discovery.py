"""From an address or a name to a server: by what is known, by MX, by what answers. The network is never an error."""

import time
from collections.abc import Iterator

import pytest
from flask import Flask

from services.providers import discovery
from services.providers.discovery import Source, Suggestion, discover
from services.smtp.settings import Security
from tests import certificates
from tests.dns_server import DnsServer, Fails, Zone
from tests.loopback import free_port
from tests.patience import stretched
from tests.recording_server import RecordingServer
from utils.errors import InvalidInput

pytestmark = pytest.mark.usefixtures("app")

ZONE: Zone = {
    ("workspace.example", "MX"): ["10 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com."],
    ("microsoft.example", "MX"): ["0 microsoft-example.mail.protection.outlook.com."],
    ("apple.example", "MX"): ["10 mx01.mail.icloud.com."],
    ("own.example", "MX"): ["10 in.own.example."],
    ("in.own.example", "A"): ["127.0.0.1"],
    ("silent.example", "MX"): Fails.SILENCE,
    ("broken.example", "MX"): Fails.SERVFAIL,
    ("metadata.example", "A"): ["169.254.169.254"],
}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], dns: DnsServer) -> dict[str, str]:
    return {**environment, "DNS_RESOLVER": dns.address, "SMTP_CA_FILE": str(certificates.ca_file())}


def test_an_address_at_gmail_gives_every_value_without_a_look_up(dns: DnsServer) -> None:
    asked = len(dns.questions)
    found = discover("Me@gmail.com")
    assert found.source is Source.DOMAIN
    assert found.message == "gmail.com uses Gmail."
    assert found.values == Suggestion(
        smtp_server="smtp.gmail.com",
        smtp_port=587,
        security=Security.STARTTLS,
        smtp_username="Me@gmail.com",
        from_email="Me@gmail.com",
    )
    assert len(dns.questions) == asked


@pytest.mark.parametrize(
    ("address", "host", "message"),
    [
        ("me@workspace.example", "smtp.gmail.com", "workspace.example uses Google Workspace."),
        ("me@microsoft.example", "smtp.office365.com", "microsoft.example uses Microsoft 365."),
    ],
)
def test_the_mx_of_a_domain_tells_the_provider_behind_it(address: str, host: str, message: str) -> None:
    found = discover(address)
    assert (found.source, found.message) == (Source.MX, message)
    assert (found.values.smtp_server, found.values.smtp_port) == (host, 587)
    assert (found.values.smtp_username, found.values.from_email) == (address, address)


def test_a_domain_alone_tells_the_server_but_no_user_name() -> None:
    found = discover("workspace.example")
    assert (found.values.smtp_server, found.values.smtp_username) == ("smtp.gmail.com", "")


@pytest.mark.parametrize(
    ("text", "username"),
    [
        ("me@web.de", "me"),
        ("me@icloud.com", "me@icloud.com"),
        ("me@apple.example", ""),  # signs in with an iCloud address that nobody here knows
        ("sendgrid", "apikey"),
        ("ses", ""),
    ],
)
def test_the_user_name_is_what_the_provider_wants_as_far_as_it_is_known(text: str, username: str) -> None:
    assert discover(text).values.smtp_username == username


@pytest.mark.parametrize("text", ["Amazon SES", "ses", " SES ", "email-smtp.us-east-1.amazonaws.com"])
def test_a_provider_is_found_by_its_name_or_its_server(text: str) -> None:
    found = discover(text)
    assert (found.source, found.message) == (Source.NAME, "Settings for Amazon SES.")
    assert found.values.smtp_server == "email-smtp.us-east-1.amazonaws.com"


@pytest.mark.parametrize("domain", ["silent.example", "broken.example"])
def test_without_dns_nothing_is_known_and_nothing_fails(domain: str) -> None:
    started = time.monotonic()
    found = discover(f"me@{domain}")
    assert time.monotonic() - started < stretched(discovery.SECONDS + 0.5)
    assert (found.source, found.provider) == (Source.NONE, None)
    assert found.message.startswith("DNS is not responding")
    assert found.values == Suggestion(from_email=f"me@{domain}")


def test_the_server_of_a_domain_of_ones_own_is_found_at_its_usual_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer(tls=certificates.good_context("in.own.example")) as server:
        ways = ((free_port(), Security.TLS), (server.port, Security.STARTTLS))
        monkeypatch.setattr(discovery, "WAYS", ways)
        found = discover("me@own.example")
        said = bytes(server.data)
    assert found.source is Source.PROBE
    assert f"in.own.example responds on port {server.port} (STARTTLS)" in found.message
    assert (found.values.smtp_server, found.values.smtp_port) == ("in.own.example", server.port)
    assert (found.values.smtp_username, found.values.security) == ("me@own.example", Security.STARTTLS)
    assert b"AUTH" not in said
    assert b"MAIL" not in said


def test_a_server_with_a_wrong_certificate_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordingServer(tls=certificates.good_context("other.example")) as server:
        monkeypatch.setattr(discovery, "WAYS", ((server.port, Security.STARTTLS),))
        assert discover("me@own.example").source is Source.NONE


@pytest.mark.parametrize("domain", ["nowhere.example", "metadata.example"])
def test_where_nobody_answers_or_may_be_asked_it_says_so(domain: str) -> None:
    found = discover(domain)
    assert (found.source, found.values) == (Source.NONE, Suggestion())
    assert found.message.startswith(f"Found no provider and no mail server for {domain}.")


@pytest.mark.parametrize(
    "text",
    ["", " ", "nobody", "a@b@c.example", "me@", "@example.com", "10.0.0.1", "[::1]", "a b.example", "x" * 300, "\0"],
)
def test_what_is_neither_address_nor_name_is_refused_at_its_field(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        discover(text)
    assert list(refused.value.errors) == ["email"]


class TestWithoutAnyNameServer:
    @pytest.fixture
    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        return {**environment, "DNS_RESOLVER": ""}

    def test_known_providers_are_still_found(self, app: Flask) -> None:
        assert discover("me@gmx.de").values.smtp_server == "mail.gmx.net"
        assert discover("me@own.example").source is Source.NONE
