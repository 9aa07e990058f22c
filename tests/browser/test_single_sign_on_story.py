"""Where the provider is the only way in: coming in by it, losing the group, being locked out, and coming back."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from app import create_app
from tests import certificates
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, fill, follow, press
from tests.browser.test_keyboard import tab_to
from tests.browser.test_pages import PHONE, show_in, sideways, violations
from tests.loopback import free_port
from tests.oidc_people import variables
from tests.oidc_provider import OidcProviderServer
from tests.running import Sealpost

ADA = {"preferred_username": "ada", "email": "ada@example.com", "email_verified": True}


@dataclass
class World:
    provider: OidcProviderServer
    sealpost: Sealpost
    url: str


@pytest.fixture
def world(start_server: StartServer) -> Iterator[World]:
    port = free_port()
    url = f"http://localhost:{port}"
    with OidcProviderServer(certificates.good_context("localhost"), f"{url}/login/oidc/callback") as provider:
        ours = variables(provider) | {"OIDC_ONLY": "true", "PORT": str(port), "BASE_URL": url}
        yield World(provider, start_server(with_accounts=True, **ours), url)


def expect_no_barrier(page: Page) -> None:
    for scheme in ("light", "dark"):
        show_in(page, scheme)
        assert violations(page) == []
    size = page.viewport_size
    page.set_viewport_size(PHONE)
    assert sideways(page) == []
    if size:
        page.set_viewport_size(size)


def sign_in_there(page: Page, decision: str = "Allow") -> None:
    """By keyboard, up to the provider's own page."""
    tab_to(page, page.get_by_role("link", name="Sign in with Example ID"))
    page.keyboard.press("Enter")
    page.get_by_role("button", name=decision).click()


def invite_after_the_session_has_ended(page: Page) -> None:
    """What was typed stays while somebody signs in at the provider in another tab."""
    fill(page, {"User name": "carol", "Email": "carol@example.com"})
    page.context.clear_cookies()
    press(page, "Invite")
    dialog = page.get_by_role("dialog", name="Sign in again")
    press(page, "Continue")
    expect(dialog.get_by_text("You are not signed in yet.")).to_be_visible()
    expect_no_barrier(page)
    with page.expect_popup() as opened:
        dialog.get_by_role("link", name="Sign in with Example ID").click()
    opened.value.get_by_role("button", name="Allow").click()
    expect(opened.value.get_by_role("button", name="Sign out")).to_be_visible()
    opened.value.close()
    press(page, "Continue")
    expect(page.get_by_role("button", name="Send another link: carol")).to_be_visible()


def test_from_the_first_sign_in_to_the_way_back_by_command(world: World, new_page: NewPage) -> None:
    page = new_page(world.url, leads_to=world.provider.url, ignore_https_errors=True)
    page.goto("/settings/accounts")
    expect(page.get_by_label("Password")).to_have_count(0)
    expect_no_barrier(page)
    world.provider.identity = ADA | {"groups": ["mail-admins"]}
    sign_in_there(page)
    expect_heading(page, "Accounts")
    invite_after_the_session_has_ended(page)

    world.provider.identity = ADA | {"groups": []}
    press(page, "Sign out")
    expect_heading(page, "You are signed out")
    expect_no_barrier(page)
    follow(page, "Sign out of Example ID")
    expect_heading(page, "You are signed out")
    follow(page, "Back to sign in")
    sign_in_there(page)
    expect(page.get_by_role("main").get_by_text("Signed in as ada")).to_be_visible()
    page.goto("/settings/accounts")
    expect_heading(page, "Administrators only")

    press(page, "Sign out")
    follow(page, "Back to sign in")
    sign_in_there(page, "Deny")
    expect(page.get_by_role("alert")).to_contain_text("Example ID did not sign you in")
    expect(page.get_by_text("flask account sign-in-link")).to_be_visible()
    expect_no_barrier(page)

    made = create_app(world.sealpost.environment).test_cli_runner().invoke(args=["account", "sign-in-link", "alice"])
    page.goto(made.stdout.strip())
    expect_heading(page, "Sign in as alice")
    expect_no_barrier(page)
    tab_to(page, page.get_by_role("button", name="Sign in"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/settings/accounts")
    expect_heading(page, "Accounts")
