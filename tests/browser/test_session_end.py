"""What a browser shows once a session has ended: nothing of it, but for what somebody is typing."""

import pytest
from playwright.sync_api import Page, expect

from app import create_app
from services.accounts import accounts, sessions
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, fill, press, sign_in
from tests.running import Sealpost
from tests.visitors import PASSWORD

LOOKED_AT_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    return start_server(with_accounts=True)


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost) -> Page:
    page = new_page(sealpost.url)
    sign_in(page)
    expect_heading(page, "Home")
    return page


def another_tab(page: Page, path: str, heading: str) -> Page:
    tab = page.context.new_page()
    tab.goto(path)
    expect_heading(tab, heading)
    return tab


def end_sessions(sealpost: Sealpost) -> None:
    """As an administrator elsewhere, or time, does."""
    with create_app(sealpost.environment).app_context():
        person = accounts.authenticate("alice", PASSWORD)
        assert person
        sessions.end_all(person.id)


def test_every_tab_shows_the_sign_in_once_one_of_them_signed_out(page: Page) -> None:
    tabs = [another_tab(page, "/account", "Your account"), another_tab(page, "/emails?state=sent", "Mail log")]
    press(page, "Sign out")
    expect_heading(page, "Sign in")
    for tab in tabs:
        expect_heading(tab, "Sign in")
        assert "alice" not in tab.content()
    assert tabs[1].url.endswith("/login?next=/emails?state%3Dsent")


def test_a_tab_that_is_looked_at_again_after_its_session_ended_shows_the_sign_in(
    page: Page, sealpost: Sealpost
) -> None:
    page.goto("/account#sessions")
    end_sessions(sealpost)
    page.evaluate(LOOKED_AT_AGAIN)
    expect_heading(page, "Sign in")


def test_a_tab_that_is_looked_at_again_within_its_session_stays(page: Page) -> None:
    page.goto("/account")
    with page.expect_response("**/session"):
        page.evaluate(LOOKED_AT_AGAIN)
    expect_heading(page, "Your account")


def test_going_back_after_signing_out_shows_nothing(page: Page) -> None:
    page.goto("/account")
    expect_heading(page, "Your account")
    press(page, "Sign out")
    expect_heading(page, "Sign in")
    page.go_back()
    expect_heading(page, "Sign in")
    assert "alice" not in page.content()


def test_what_somebody_is_typing_stays(page: Page, sealpost: Sealpost) -> None:
    tab = another_tab(page, "/settings/smtp/new", "New mail server")
    fill(tab, {"From address": "typed@example.com"})
    press(page, "Sign out")
    expect_heading(page, "Sign in")
    with tab.expect_response("**/session"):
        tab.evaluate(LOOKED_AT_AGAIN)
    expect(tab.get_by_label("From address", exact=True)).to_have_value("typed@example.com")


def test_without_a_connection_a_tab_stays_as_it_is(page: Page) -> None:
    page.goto("/account")
    page.context.set_offline(True)
    with page.expect_event("requestfailed"):
        page.evaluate(LOOKED_AT_AGAIN)
    expect_heading(page, "Your account")
    page.context.set_offline(False)
