"""Whoever follows only what the page says comes from a broken set-up to one that works."""

import itertools
import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import certificates
from tests.browser.broken_servers import HOST, LOGIN, PASSWORD, REFUSED, ZONE, Operator, mail_server
from tests.browser.broken_setups import SENDER, SETUPS, BrokenSetup
from tests.browser.conftest import StartServer, watched_pages
from tests.browser.steps import expect_outcome, fill, follow, press, report, session_of
from tests.dns_server import DnsServer
from tests.running import Client, Sealpost

numbers = itertools.count(1)
NEW = "/settings/smtp/new"
GOOD = {"Server": HOST, "User name": LOGIN, "Password": PASSWORD, "From address": SENDER}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    ca_file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    certificates.authority().cert_pem.write_to_path(ca_file)
    return Operator(ca_file)


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer, operator: Operator) -> Iterator[Sealpost]:
    with DnsServer(ZONE) as dns:
        yield start_server(
            with_accounts=True, DNS_RESOLVER=dns.address, SMTP_CA_FILE=str(operator.ca_file), TRUSTED_PROXIES="1"
        )


@pytest.fixture(scope="module")
def window(browser: Browser, sealpost: Sealpost) -> Iterator[Page]:
    with watched_pages(browser) as new_page:
        session = session_of(browser, sealpost.url)
        yield new_page(sealpost.url, storage_state=session, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def page(window: Page) -> Page:
    """The same window for all tests, each from an address of its own, so that no limit stops them."""
    window.set_extra_http_headers({"X-Forwarded-For": f"192.0.2.{next(numbers)}"})
    return window


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_what_the_page_says_leads_to_a_connection(page: Page, operator: Operator, setup: BrokenSetup) -> None:
    with setup.place(operator) as port:
        fill_in(page, port, setup)
        run_test(page, setup)
        expect_outcome(page, setup.title)
        for text in setup.says:
            expect(page.get_by_role("main")).to_contain_text(text)
        follow_the_advice(page, operator, setup)
        expect_outcome(page, "Test email accepted" if setup.sends else "Connection successful")
    for label, value in setup.changed.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(value)


def fill_in(page: Page, port: int, setup: BrokenSetup) -> None:
    page.goto(NEW)
    page.get_by_role("radio", name=setup.security, exact=True).check()
    page.locator("summary", has_text="More").click()
    fill(page, {**GOOD, "Port": str(port), **setup.typed})


def run_test(page: Page, setup: BrokenSetup) -> None:
    press(page, "Send test email" if setup.sends else "Test Connection")


def follow_the_advice(page: Page, operator: Operator, setup: BrokenSetup) -> None:
    if setup.press:
        press(page, setup.press)
        return
    if setup.mend:
        setup.mend(operator)
    if setup.choose:
        page.get_by_role("radio", name=setup.choose, exact=True).check()
    fill(page, setup.correct)
    run_test(page, setup)


def test_a_dead_address_is_told_beside_the_one_that_answers(page: Page, operator: Operator) -> None:
    with mail_server()(operator) as port:
        page.goto(NEW)
        fill(page, {**GOOD, "Server": "both.firm.example", "Port": str(port)})
        press(page, "Test Connection")
        expect_outcome(page, "Connection successful")
    rows = report(page).get_by_role("listitem").filter(has_text="Connect")
    dead, alive = f"Warning.*::1, port {port}: refused", f"OK.*127.88.0.1.*port {port}"
    expect(rows).to_have_text([re.compile(words, re.DOTALL) for words in sorted((dead, alive), reverse=True)])


@pytest.mark.parametrize("with_script", [True, False])
def test_a_stored_password_is_asked_for_before_it_is_tested_elsewhere(
    browser: Browser, page: Page, sealpost: Sealpost, operator: Operator, with_script: bool
) -> None:
    with mail_server()(operator) as port, watched_pages(browser) as new_page:
        if not with_script:
            page = new_page(sealpost.url, storage_state=page.context.storage_state(), java_script_enabled=False)
        open_stored(page, sealpost, port)
        press(page, "Test Connection")
        press(page, "Use STARTTLS and test again")
        asked = report(page).get_by_text("Fields filled in. The server changed, so enter the password again")
        expect(asked).to_be_visible()
        password = page.get_by_label("Password", exact=True)
        expect(password).to_have_accessible_description(re.compile("You changed the server. Enter the password again."))
        if with_script:
            expect(password).to_be_focused()
        fill(page, {"Password": PASSWORD})
        press(page, "Test Connection")
        expect_outcome(page, "Connection successful")
        expect(asked).to_be_hidden()


def open_stored(page: Page, sealpost: Sealpost, port: int) -> None:
    """The form of a stored server that is spoken to by TLS."""
    values = {"smtp_server": HOST, "smtp_port": port, "use_ssl": True, "from_email": SENDER}
    login = {"smtp_username": LOGIN, "smtp_password": PASSWORD}
    body = json.dumps({**values, **login}).encode()
    answer = Client(sealpost.url).post_json("/api/settings/smtp", body, sealpost.environment["ADMIN_TOKEN"])
    assert answer.status == 200, answer.text
    page.goto("/settings/smtp")
    follow(page, "Edit Primary")


def test_the_report_can_be_copied_with_what_was_said_and_without_the_password(page: Page, operator: Operator) -> None:
    with mail_server()(operator) as port:
        page.goto(NEW)
        fill(page, {**GOOD, "Port": str(port), "Password": "wr0ng-s3cret"})
        press(page, "Test Connection")
        expect_outcome(page, "User name or password refused")
    press(page, "Copy report")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    for said in (
        "Sign-in: Authentication failed",
        "Check both, including spaces",
        "OK  Greeting",
        "C: AUTH PLAIN ••••",
        REFUSED,
    ):
        assert said in copied
    assert "wr0ng-s3cret" not in copied


def test_whoever_uses_the_keyboard_comes_back_to_the_button_of_the_test(page: Page, operator: Operator) -> None:
    with mail_server()(operator) as port:
        page.goto(NEW)
        page.get_by_role("radio", name="TLS", exact=True).check()
        fill(page, {**GOOD, "Port": str(port)})
        press(page, "Test Connection")
        page.get_by_role("button", name="Use STARTTLS and test again").press("Enter")
        expect_outcome(page, "Connection successful")
        expect(page.get_by_role("button", name="Test Connection")).to_be_focused()
