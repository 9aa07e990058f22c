"""Whoever follows only what the page says comes from a broken set-up to one that works."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import certificates
from tests.browser.broken_sending import SENDING
from tests.browser.broken_servers import ADDRESS, HOST, LOGIN, PASSWORD, REFUSED, ZONE, Operator, mail_server
from tests.browser.broken_setup import SENDER, BrokenSetup
from tests.browser.broken_sign_ins import SIGN_INS
from tests.browser.broken_ways import WAYS
from tests.browser.conftest import StartServer, watched_pages
from tests.browser.steps import expect_outcome, fill, follow, press, report, session_of
from tests.dns_server import DnsServer
from tests.patience import stretched_if_short
from tests.running import Client, Sealpost

numbers = itertools.count(1)
NEW = "/settings/smtp/new"
GOOD = {"Server": HOST, "User name": LOGIN, "Password": PASSWORD, "From address": SENDER}
AS_STORED = {
    "smtp_server": HOST,
    "from_email": SENDER,
    "smtp_username": LOGIN,
    "smtp_password": PASSWORD,
    "auth_method": "",
}
WINDOW = {"width": 1280, "height": 800}


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
        allowed = ["clipboard-read", "clipboard-write"]
        yield new_page(sealpost.url, storage_state=session, permissions=allowed, viewport=WINDOW)


@pytest.fixture
def page(window: Page, operator: Operator) -> Page:
    """The same window for all tests, each from an address of its own, so that no limit stops them."""
    window.set_extra_http_headers({"X-Forwarded-For": f"192.0.2.{next(numbers)}"})
    operator.has_mended = False
    return window


@pytest.mark.parametrize("setup", [*WAYS, *SIGN_INS, *SENDING], ids=lambda setup: setup.name)
def test_whoever_follows_the_page_alone_gets_there(
    page: Page, sealpost: Sealpost, operator: Operator, setup: BrokenSetup
) -> None:
    with setup.place(operator) as port:
        open_form(page, sealpost, port, setup)
        run_test(page, setup)
        expect_outcome(page, setup.title)
        for text in setup.says:
            expect(page.get_by_role("main")).to_contain_text(text)
        expect_in_window(page, setup)
        follow_the_advice(page, operator, setup)
        expect_outcome(page, "Test email accepted" if setup.sends else "Connection successful")
    for label, value in setup.changed.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(value)


def open_form(page: Page, sealpost: Sealpost, port: int, setup: BrokenSetup) -> None:
    if setup.stored:
        open_stored(page, sealpost, {"smtp_port": port, "use_tls": True, **setup.stored})
        return
    page.goto(NEW)
    page.get_by_role("radio", name=setup.security, exact=True).check()
    page.locator("summary", has_text="More options").click()
    fill(page, {**GOOD, "Port": str(port), **setup.typed})
    if setup.is_impatient:
        fill(page, {"Timeout in seconds": str(min(5, math.ceil(stretched_if_short(1))))})


def run_test(page: Page, setup: BrokenSetup) -> None:
    press(page, "Send test email" if setup.sends else "Test Connection")


def expect_in_window(page: Page, setup: BrokenSetup) -> None:
    expect(report(page).get_by_role("heading", name=setup.title)).to_be_in_viewport(ratio=1)
    pressed = page.get_by_role("button", name="Send test email" if setup.sends else "Test Connection")
    expect(pressed).to_be_in_viewport(ratio=1)


def follow_the_advice(page: Page, operator: Operator, setup: BrokenSetup) -> None:
    """Press the first action that is offered, whatever it is; where none is, do what the words name."""
    actions = report(page).locator("[data-actions] button")
    if setup.press:
        expect(actions.first).to_have_text(setup.press)
        actions.first.click()
        return
    expect(actions).to_have_count(0)
    if setup.mend:
        expect(report(page).locator(".test-remedy, .test-retry").filter(has_text=setup.says[0])).to_have_count(1)
        setup.mend(operator)
    if setup.choose:
        expect(page.get_by_role("main")).to_contain_text(f"Choose {setup.choose}")
        page.get_by_role("radio", name=setup.choose, exact=True).check()
    correct(page, setup)
    run_test(page, setup)


def correct(page: Page, setup: BrokenSetup) -> None:
    if not setup.correct:
        return
    link = report(page).locator("[data-field-link]")
    said = " ".join(report(page).locator("[data-slot=title], .test-remedy, [data-field-link]").all_inner_texts())
    for label in setup.correct:
        assert label.split()[-1].lower() in said.lower()
    if link.is_visible():
        link.click()
    fill(page, setup.correct)


def test_a_dead_address_is_told_beside_the_one_that_answers(page: Page, operator: Operator) -> None:
    with mail_server()(operator) as port:
        page.goto(NEW)
        fill(page, {**GOOD, "Server": "both.firm.example", "Port": str(port)})
        press(page, "Test Connection")
        expect_outcome(page, "Connection successful")
    rows = report(page).get_by_role("listitem").filter(has_text=str(port))
    dead, alive = f"Address.*Warning.*::1, port {port}, refused", f"Connect.*OK.*{re.escape(ADDRESS)}.*port {port}"
    expect(rows.filter(has_text=re.compile(dead, re.DOTALL))).to_have_count(1)
    expect(rows.filter(has_text=re.compile(alive, re.DOTALL))).to_have_count(1)


@pytest.mark.parametrize("with_script", [True, False])
def test_a_stored_password_is_asked_for_before_it_is_tested_elsewhere(
    browser: Browser, page: Page, sealpost: Sealpost, operator: Operator, with_script: bool
) -> None:
    with mail_server()(operator) as port, watched_pages(browser) as new_page:
        if not with_script:
            page = new_page(sealpost.url, storage_state=page.context.storage_state(), java_script_enabled=False)
        open_stored(page, sealpost, {"smtp_port": port, "use_ssl": True})
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


def open_stored(page: Page, sealpost: Sealpost, values: Mapping[str, object]) -> None:
    """The form of a server that was stored through the API."""
    body = json.dumps({**AS_STORED, **values}).encode()
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
