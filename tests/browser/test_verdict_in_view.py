"""Where a connection test is read: its headline and the pressed button stand in the window together when it ends."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, ViewportSize, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_outcome, fill, fill_in_server, press, report, session_of
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.running import Sealpost
from tests.scripted_server import ScriptedServer, pause

WINDOWS = {"1280×800": (1280, 800), "1440×900": (1440, 900), "a phone": (360, 640)}
PAGES = {"alice": "/settings/smtp/new", "bob": "/account/smtp"}
BUTTONS = ("Test Connection", "Send test email")

OpenPage = Callable[[str], Page]


@pytest.fixture(scope="module", params=[True, False], ids=["with script", "without"])
def is_scripted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer, is_scripted: bool) -> Sealpost:
    """One for each, since nobody may test as often as all of this does."""
    return start_server(with_accounts=True, SMTP_ALLOWED_CIDRS_ACCOUNTS="127.0.0.0/8")


@pytest.fixture(scope="module")
def sessions(browser: Browser, sealpost: Sealpost) -> dict[str, StorageState]:
    return {login: session_of(browser, sealpost.url, login) for login in PAGES}


@pytest.fixture(scope="module")
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture(params=list(WINDOWS.values()), ids=list(WINDOWS))
def window(request: pytest.FixtureRequest) -> ViewportSize:
    width, height = request.param
    return {"width": width, "height": height}


@pytest.fixture
def open_page(
    new_page: NewPage,
    sealpost: Sealpost,
    sessions: dict[str, StorageState],
    is_scripted: bool,
    window: ViewportSize,
) -> Callable[[str], Page]:
    def open_as(login: str) -> Page:
        options = {"java_script_enabled": is_scripted, "viewport": window}
        page = new_page(sealpost.url, storage_state=sessions[login], **options)
        page.goto(PAGES[login])
        return page

    return open_as


@pytest.mark.parametrize("button", BUTTONS)
def test_the_verdict_and_the_pressed_button_are_in_the_window(
    open_page: OpenPage, mail_server: RecordingServer, button: str
) -> None:
    page = open_page("alice")
    fill_in_server(page, mail_server)
    press(page, button)
    expect_verdict_in_window(page, button, "Connection successful" if button == BUTTONS[0] else "Test email accepted")
    page.goto("/settings/smtp/new")  # now a long report, with a look around for what would work
    fill_in_server(page, mail_server)
    page.get_by_role("radio", name="TLS", exact=True).check()
    fill(page, {"Port": str(mail_server.port)})
    press(page, button)
    expect_verdict_in_window(page, button, "The server starts unencrypted")


def test_so_they_are_on_the_page_of_ones_own_server(open_page: OpenPage) -> None:
    page = open_page("bob")  # of whose server nobody is there
    fill(page, {"Server": "127.75.0.1", "Port": "2525", "User name": "bob", "Password": "secret"})
    press(page, BUTTONS[0])
    expect_verdict_in_window(page, BUTTONS[0], "Nothing listens on port 2525")


@pytest.mark.parametrize("is_scripted", [False], indirect=True)
def test_without_script_values_that_cannot_be_tested_are_told_there_as_well(open_page: OpenPage) -> None:
    page = open_page("alice")
    press(page, BUTTONS[0])
    expect_verdict_in_window(page, BUTTONS[0], "The test was not run")


@pytest.mark.parametrize("is_scripted", [True], indirect=True)
def test_a_cancelled_test_says_so_beside_the_button(open_page: OpenPage) -> None:
    page = open_page("alice")
    with ScriptedServer({"GREETING": pause(PATIENCE)}) as server:
        fill_in_server(page, server)
        press(page, BUTTONS[0])
        press(page, "Cancel")
    expect_verdict_in_window(page, BUTTONS[0], "Test cancelled")


@pytest.mark.parametrize("is_scripted", [True], indirect=True)
@pytest.mark.parametrize("window", [WINDOWS["a phone"]], indirect=True)
def test_who_fills_in_the_form_while_a_test_runs_is_not_led_away(open_page: OpenPage) -> None:
    page = open_page("alice")
    with ScriptedServer({"GREETING": pause(PATIENCE)}) as server:
        fill_in_server(page, server)
        press(page, BUTTONS[0])
        expect(report(page).get_by_role("button", name=BUTTONS[0], exact=True)).to_be_in_viewport(ratio=1)
        user = page.get_by_label("User name", exact=True)
        user.click()
        wait_until_nothing_moves(page)
    expect(page.locator("#test")).to_have_attribute("data-outcome", "failed")
    wait_until_nothing_moves(page)
    expect(user).to_be_focused()
    expect(user).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("is_scripted", [False], indirect=True)
@pytest.mark.parametrize("window", [WINDOWS["a phone"]], indirect=True)
@pytest.mark.parametrize("login", PAGES)
def test_on_a_phone_the_test_comes_before_save(open_page: OpenPage, login: str) -> None:
    page = open_page(login)
    tops = [page.get_by_role("button", name=name, exact=True).bounding_box() for name in (*BUTTONS, "Save")]
    assert [box and box["y"] for box in tops] == sorted(box["y"] for box in tops if box)


def test_what_was_tested_is_saved_from_beside_its_report(
    new_page: NewPage, start_server: StartServer, browser: Browser, mail_server: RecordingServer
) -> None:
    url = start_server(with_accounts=True).url
    page = new_page(url, storage_state=session_of(browser, url))
    page.goto("/settings/smtp/new")
    fill_in_server(page, mail_server)
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful")
    press(page, "Save and use")
    expect(page.get_by_text("Mail goes through Primary (127.0.0.1)")).to_be_visible()
    page.goto("/settings/smtp/new")
    fill(page, {"Name": "Second"})
    fill_in_server(page, mail_server)
    press(page, "Test Connection")
    expect(report(page).get_by_role("button", name="Save", exact=True)).to_be_visible()
    page.get_by_role("switch", name="Active").check()
    expect(report(page).get_by_role("button", name="Save and use")).to_be_visible()
    page.get_by_role("switch", name="Active").uncheck()
    report(page).get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()


def expect_verdict_in_window(page: Page, button: str, title: str) -> None:
    expect_outcome(page, title)
    expect(report(page).get_by_role("button", name=button, exact=True)).to_be_in_viewport(ratio=1)
    headline = report(page).get_by_role("heading", name=title)
    expect(headline).to_be_in_viewport(ratio=1)


def wait_until_nothing_moves(page: Page) -> None:
    """Until the window stands at one place for three pictures in a row."""
    page.evaluate("""async () => {
      const picture = () => new Promise(requestAnimationFrame);
      for (let still = 0, before = scrollY; still < 3; before = scrollY) {
        await picture();
        still = scrollY === before ? still + 1 : 0;
      }
    }""")
