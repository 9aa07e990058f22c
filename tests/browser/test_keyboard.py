"""The pages without a mouse: a way past the header, a visible focus, and the whole test of a mail server."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, StorageState, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_outcome, session_of, settle
from tests.recording_server import RecordingServer
from tests.running import Sealpost

MOST_STOPS = 150


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    return start_server(with_accounts=True)


@pytest.fixture(scope="module")
def session(browser: Browser, sealpost: Sealpost) -> StorageState:
    return session_of(browser, sealpost.url)


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost, session: StorageState) -> Page:
    page = new_page(sealpost.url, storage_state=session)
    page.goto("/settings/smtp/new")
    return page


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until this has the focus."""
    wanted = target.element_handle()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if wanted.evaluate("(part) => part === document.activeElement"):
            return
    pytest.fail(f"Tab does not lead to {target}")


def type_at(page: Page, label: str, text: str) -> None:
    tab_to(page, page.get_by_label(label, exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def test_the_first_stop_leads_past_the_header(page: Page) -> None:
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to content")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport(ratio=1)
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("main").get_by_role("link", name="Mail servers")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Provider")).to_be_focused()


def test_a_mail_server_is_filled_in_and_tested_by_keyboard_alone(page: Page, mail_server: RecordingServer) -> None:
    type_at(page, "Server", "127.0.0.1")
    type_at(page, "Port", str(mail_server.port))
    tab_to(page, page.get_by_role("radio", name="STARTTLS"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="None")).to_be_checked()
    type_at(page, "From address", "shop@example.com")
    tab_to(page, page.get_by_role("button", name="Test Connection"))
    page.keyboard.press("Enter")
    expect_outcome(page, "Connection successful")
    expect(page.get_by_role("button", name="Test Connection")).to_be_focused()


def test_enter_in_the_recipient_sends_the_test_message(page: Page, mail_server: RecordingServer) -> None:
    type_at(page, "Server", "127.0.0.1")
    type_at(page, "Port", str(mail_server.port))
    page.get_by_role("radio", name="None").check()
    type_at(page, "From address", "shop@example.com")
    type_at(page, "Send to", "carol@example.com")
    page.keyboard.press("Enter")
    expect_outcome(page, "Test email accepted")
    assert mail_server.mails[0].recipients == ("carol@example.com",)


def test_enter_in_any_other_field_saves(page: Page) -> None:
    type_at(page, "Server", "127.0.0.1")
    page.keyboard.press("Enter")
    expect(page.get_by_label("From address")).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    "path", ["/settings/smtp", "/settings/smtp/new", "/settings/audit", "/account/tokens", "/account", "/api/docs"]
)
def test_every_stop_is_visible(page: Page, path: str) -> None:
    page.goto(path)
    page.keyboard.press("Tab")
    stops = 0
    while stop := focused(page):
        assert stop["visible"], stop["html"]
        stops += 1
        assert stops < MOST_STOPS, "Tab goes round in circles"
        page.keyboard.press("Tab")
    assert stops > 0


def focused(page: Page) -> dict[str, object] | None:
    """What has the focus and whether that shows, or None past the end of the page.

    A control that is itself transparent shows it on what stands after it, where its label is drawn.
    """
    settle(page)
    found: dict[str, object] | None = page.evaluate("""() => {
        const part = document.activeElement;
        if (part === document.body) return null;
        const drawn = getComputedStyle(part).opacity === "0" ? part.nextElementSibling : part;
        const style = getComputedStyle(drawn);
        const box = drawn.getBoundingClientRect();
        return {
            html: part.outerHTML.slice(0, 200),
            visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
                && box.width > 0 && box.bottom > 0 && box.top < innerHeight,
        };
    }""")
    return found
