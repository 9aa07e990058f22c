"""The form finds the server for an address, and says beside the field where it found it; with and without script."""

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import fill, press, session_of
from tests.browser.test_settings_page import FIND, open_form
from tests.dns_server import DnsServer, Zone
from tests.running import Sealpost

HALF: Final = 15  # of the addresses; more come from another place, for the limit on searches
ZONE: Final[Zone] = {
    ("_submissions._tcp.shop.example", "SRV"): ["0 0 465 mail.host.example."],
    ("mail.host.example", "A"): ["198.41.0.4"],
    ("_submissions._tcp.none.example", "SRV"): ["0 0 0 ."],
    ("_submission._tcp.none.example", "SRV"): ["0 0 0 ."],
}
LOCAL: Final = "me"
# Thirty providers: the domain, its server, port, encryption, and whether one signs in with the whole address.
PROVIDERS: Final = """
gmail.com smtp.gmail.com 587 STARTTLS address
outlook.com smtp-mail.outlook.com 587 STARTTLS address
yahoo.com smtp.mail.yahoo.com 465 TLS address
icloud.com smtp.mail.me.com 587 STARTTLS address
gmx.net mail.gmx.net 465 TLS address
web.de smtp.web.de 587 STARTTLS local
proton.me smtp.protonmail.ch 587 STARTTLS address
fastmail.com smtp.fastmail.com 465 TLS address
zoho.com smtp.zoho.com 465 TLS address
yandex.ru smtp.yandex.com 465 TLS address
mail.ru smtp.mail.ru 465 TLS address
qq.com smtp.qq.com 465 TLS address
163.com smtp.163.com 465 TLS address
aol.com smtp.aol.com 465 TLS address
comcast.net smtp.comcast.net 465 TLS address
t-online.de securesmtp.t-online.de 465 TLS address
posteo.de posteo.de 465 TLS address
mailbox.org smtp.mailbox.org 465 TLS address
orange.fr smtp.orange.fr 465 TLS address
libero.it smtp.libero.it 465 TLS address
seznam.cz smtp.seznam.cz 465 TLS address
wp.pl smtp.wp.pl 465 TLS address
naver.com smtp.naver.com 587 STARTTLS address
freenet.de mx.freenet.de 587 STARTTLS address
bluewin.ch smtpauths.bluewin.ch 465 TLS address
rambler.ru smtp.rambler.ru 465 TLS address
ukr.net smtp.ukr.net 465 TLS address
laposte.net smtp.laposte.net 465 TLS address
free.fr smtp.free.fr 465 TLS address
runbox.com mail.runbox.com 465 TLS address
"""


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Iterator[Sealpost]:
    with DnsServer(ZONE) as dns:
        yield start_server(with_accounts=True, DNS_RESOLVER=dns.address, TRUSTED_PROXIES="1", DISCOVER_BY_HTTP="false")


@pytest.fixture(scope="module")
def session(browser: Browser, sealpost: Sealpost) -> StorageState:
    return session_of(browser, sealpost.url)


@pytest.fixture(params=[True, False], ids=["with script", "without script"])
def page(request: pytest.FixtureRequest, new_page: NewPage, sealpost: Sealpost, session: StorageState) -> Page:
    return open_form(new_page(sealpost.url, storage_state=session, java_script_enabled=request.param))


def test_thirty_addresses_fill_in_the_form_one_after_the_other(
    new_page: NewPage, sealpost: Sealpost, session: StorageState
) -> None:
    page = open_form(new_page(sealpost.url, storage_state=session))
    lines = [line.split() for line in PROVIDERS.strip().splitlines()]
    assert len({host for _, host, *_ in lines}) == 2 * HALF
    for number, (domain, host, port, encryption, username) in enumerate(lines):
        page.set_extra_http_headers({"X-Forwarded-For": f"192.0.2.{number // HALF}"})
        address = f"{LOCAL}@{domain}"
        page.get_by_label(FIND).fill(address)
        page.get_by_label(FIND).press("Tab")
        expect(page.get_by_role("status").filter(has_text=f"{domain} uses ")).to_be_visible()
        expect(page.get_by_label("Server", exact=True)).to_have_value(host)
        expect(page.get_by_label("Port", exact=True)).to_have_value(port)
        expect(page.get_by_role("radio", name=encryption, exact=True)).to_be_checked()
        expect(page.get_by_label("User name", exact=True)).to_have_value(LOCAL if username == "local" else address)
        expect(page.get_by_label("From address", exact=True)).to_have_value(address)


def test_where_the_server_was_found_is_said_beside_the_field(page: Page) -> None:
    find(page, "me@shop.example")
    expect(page.get_by_text("shop.example names mail.host.example, port 465 (TLS), as its server.")).to_be_visible()
    expect(page.get_by_text("before you enter a password, check that it is your provider’s.")).to_be_visible()
    expect(page.get_by_text("Source: the domain’s SRV records in DNS.")).to_be_visible()
    expect(page.get_by_label("Server", exact=True)).to_have_value("mail.host.example")
    expect(page.get_by_role("radio", name="TLS", exact=True)).to_be_checked()


def test_a_domain_without_a_server_is_told_and_fills_in_the_sender_alone(page: Page) -> None:
    find(page, "me@none.example")
    expect(
        page.get_by_text("none.example says in its DNS that it has no server to send email through.")
    ).to_be_visible()
    expect(page.get_by_text("Source:")).to_have_count(0)
    expect(page.get_by_label("Server", exact=True)).to_have_value("")
    expect(page.get_by_label("From address", exact=True)).to_have_value("me@none.example")


def find(page: Page, text: str) -> None:
    fill(page, {FIND: text})
    press(page, "Find settings")
