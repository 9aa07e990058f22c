"""The header and the menus: one line on every window, all within reach, what is current also in forced colours."""

import pytest
from playwright.sync_api import Browser, Locator, Page, StorageState, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, follow, scripted, session_of
from tests.running import Sealpost

ONE_LINE = 64  # pixels
PLACES = {
    "Home": "Home",
    "Mail servers": "Mail servers",
    "Mail log": "Mail log",
    "Local inbox": "Inbox",
    "Accounts": "Accounts",
    "API tokens": "API tokens",
    "Gateway": "Gateway",
    "Audit trail": "Audit trail",
    "Personal data": "Personal data",
    "Alerts": "Alerts",
    "Email templates": "Email templates",
    "Domain check": "From domain",
    "Received headers": "Received headers",
    "Your server": "Your mail server",
    "API": "API",
    "Account": "account",
}


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    return start_server(with_accounts=True)


@pytest.fixture(scope="module")
def session(browser: Browser, sealpost: Sealpost) -> StorageState:
    return session_of(browser, sealpost.url)


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost, session: StorageState) -> Page:
    page = new_page(sealpost.url, storage_state=session)
    page.goto("/settings/smtp")
    return page


def menu(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Main").locator("summary")


@pytest.mark.parametrize("width", [1440, 1280, 1000, 768, 720, 360])
def test_the_header_is_one_line(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    box = page.get_by_role("banner").bounding_box()
    assert box
    assert box["height"] <= ONE_LINE
    expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("is_scripted", [True, False], ids=["with script", "without"])
@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_is_within_two_clicks(
    new_page: NewPage, sealpost: Sealpost, session: StorageState, width: int, *, is_scripted: bool
) -> None:
    options = {"java_script_enabled": is_scripted, "viewport": {"width": width, "height": 640}}
    page = new_page(sealpost.url, storage_state=session, **options)
    page.goto("/settings/smtp")
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    menu(page).click()
    expect(links).to_have_count(len(PLACES))
    assert sorted(links.all_inner_texts()) == sorted(PLACES)
    if width == 360:
        for text, heading in PLACES.items():
            if text not in ("API", "Local inbox"):
                follow(page, text)
                expect(page.get_by_role("heading", level=1).first).to_contain_text(heading)
                menu(page).click()
                expect(page.get_by_role("link", name=text, exact=True)).to_have_attribute("aria-current", "page")


def test_a_menu_closes_by_escape_by_a_click_beside_it_and_when_the_focus_leaves(page: Page) -> None:
    opener, inside = scripted(menu(page)), page.get_by_role("link", name="Audit trail")
    opener.click()
    inside.focus()
    page.keyboard.press("Escape")
    expect(inside).to_be_hidden()
    expect(opener).to_be_focused()
    opener.click()
    page.get_by_role("heading", level=1).click(position={"x": 5, "y": 5})  # the menu may hang over the rest of it
    expect(inside).to_be_hidden()
    opener.click()
    page.get_by_role("link", name="Account", exact=True).focus()
    expect(inside).to_be_hidden()


def test_forced_colours_leave_the_current_page_tab_filter_and_choice_to_be_seen(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    page.goto("/emails?state=sent")
    for links in (".site-nav > ul > li > a", ".tabs > a", ".states a"):
        current, other = page.locator(f"{links}[aria-current]"), page.locator(f"{links}:not([aria-current])").first
        assert look(current) != look(other)
    switch = page.get_by_role("group", name="Colours").locator("span")
    assert look(switch.nth(0)) != look(switch.nth(1))
    page.goto("/settings/audit")
    assert look(menu(page)) != look(page.get_by_role("link", name="Mail log", exact=True))
    page.goto("/settings/accounts/smtp")
    assert look(page.get_by_role("link", name="Servers", exact=True)) != look(
        page.get_by_role("link", name="Policy", exact=True)
    )


def look(part: Locator) -> object:
    """What is left of it where the system chooses the colours: lines, as they are drawn."""
    return part.evaluate("""(part) => {
        const { outlineStyle, outlineWidth, borderTopWidth, borderBottomWidth } = getComputedStyle(part);
        return [outlineStyle, outlineWidth, borderTopWidth, borderBottomWidth];
    }""")


def test_the_home_of_the_menu_is_known_where_the_page_is_in_it(page: Page) -> None:
    page.goto("/settings/audit")
    expect_heading(page, "Audit trail")
    expect(menu(page)).to_have_class("is-current")
