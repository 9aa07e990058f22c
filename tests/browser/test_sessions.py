"""Sessions in a real browser: the list, ending them there, and copied cookies after signing out."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, press, sign_in
from tests.running import Sealpost
from tests.visitors import PASSWORD


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    return start_server(with_accounts=True)


def signed_in(new_page: NewPage, sealpost: Sealpost, **options: object) -> Page:
    page = new_page(sealpost.url, **options)
    sign_in(page)
    expect_heading(page, "Home")
    return page


@pytest.fixture
def elsewhere(new_page: NewPage, sealpost: Sealpost) -> Page:
    """Alice on a phone, kept signed in."""
    agent = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile"
    page = new_page(sealpost.url, user_agent=agent)
    page.goto("/login")
    page.get_by_label("Keep me signed in on this device").check()
    sign_in_here(page)
    return page


def sign_in_here(page: Page) -> None:
    page.get_by_label("User name or email").fill("alice")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    press(page, "Sign in")
    expect_heading(page, "Home")


@pytest.mark.parametrize("with_script", [True, False])
def test_a_session_is_found_in_the_list_and_ended(
    new_page: NewPage, sealpost: Sealpost, elsewhere: Page, with_script: bool
) -> None:
    page = signed_in(new_page, sealpost, java_script_enabled=with_script)
    page.get_by_role("link", name="Account", exact=True).click()
    rows = page.get_by_role("list", name="Sessions").locator("li.row-item")
    expect(rows.first).to_contain_text("This session")
    phone = rows.filter(has_text="Chrome on Android").first
    expect(phone).to_contain_text("kept signed in")
    phone.get_by_role("link").click()
    expect_heading(page, "End this session?")
    press(page, "End it")
    expect(page.get_by_text("The session in Chrome on Android has ended.")).to_be_visible()
    elsewhere.goto("/account")
    expect_heading(elsewhere, "Sign in")
    page.reload()
    expect_heading(page, "Your account")


def test_all_others_are_ended_and_this_one_stays(new_page: NewPage, sealpost: Sealpost, elsewhere: Page) -> None:
    page = signed_in(new_page, sealpost)
    page.goto("/account")
    page.get_by_role("link", name="Sign out everywhere else").click()
    expect_heading(page, "Sign out everywhere else?")
    press(page, "Sign out everywhere else")
    expect(page.get_by_text("You are signed out everywhere else.")).to_be_visible()
    expect(page.get_by_role("list", name="Sessions").locator("li.row-item")).to_have_count(1)
    elsewhere.goto("/settings/smtp")
    expect_heading(elsewhere, "Sign in")


def test_cookies_that_were_copied_before_signing_out_open_nothing(
    new_page: NewPage, sealpost: Sealpost, elsewhere: Page
) -> None:
    thief = new_page(sealpost.url, storage_state=elsewhere.context.storage_state())
    thief.goto("/settings/smtp")
    expect_heading(thief, "Mail servers")
    press(elsewhere, "Sign out")
    expect(elsewhere.get_by_text("You are signed out.")).to_be_visible()
    thief.goto("/settings/smtp")
    expect_heading(thief, "Sign in")
    names = {cookie["name"] for cookie in elsewhere.context.cookies()}
    assert "sealpost_session" not in names


def test_without_script_a_form_of_a_session_that_ended_in_another_tab_leads_to_the_sign_in(
    new_page: NewPage, sealpost: Sealpost
) -> None:
    page = signed_in(new_page, sealpost, java_script_enabled=False)
    other = page.context.new_page()
    other.goto("/account")
    press(page, "Sign out")
    expect_heading(page, "Sign in")
    press(other, "Change password")
    expect_heading(other, "Sign in")
