"""Second factors in a browser: taken into use, signed in with, lost, recovered, and reset by the command line."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from app import create_app
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, fill, follow, press, scripted
from tests.browser.test_keyboard import tab_to, type_at
from tests.loopback import free_port
from tests.running import Sealpost
from tests.second_factors import App
from tests.visitors import PASSWORD
from utils import clock

STEP = 30  # seconds for which a code is shown; one step ahead, it is good as well


@pytest.fixture
def sealpost(start_server: StartServer) -> Sealpost:
    """At a name, which passkeys need."""
    port = str(free_port())
    return start_server(with_accounts=True, PORT=port, BASE_URL=f"http://localhost:{port}")


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost) -> Page:
    return new_page(sealpost.environment["BASE_URL"])


def enter(page: Page, target: Locator) -> None:
    """Go there with the keyboard, and press it."""
    tab_to(page, scripted(target))
    page.keyboard.press("Enter")


def press_by_key(page: Page, button: str) -> None:
    enter(page, page.get_by_role("button", name=button, exact=True))


def follow_by_key(page: Page, link: str) -> None:
    enter(page, page.get_by_role("link", name=link, exact=True))


def sign_out_by_key(page: Page) -> None:
    press_by_key(page, "Sign out")
    expect_heading(page, "Sign in")


def sign_in_by_key(page: Page) -> None:
    page.goto("/login")
    type_at(page, "User name or email", "alice")
    type_at(page, "Password", PASSWORD)
    page.keyboard.press("Enter")


def grow_old(sealpost: Sealpost) -> None:
    """Let all sessions have been proven eleven minutes ago."""
    path = sealpost.environment["DATABASE_URL"].removeprefix("sqlite:///")
    then = (clock.now() - timedelta(minutes=11)).strftime("%Y-%m-%d %H:%M:%S.%f")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE session SET proven_at = ?", [then])


def test_an_app_is_set_up_used_lost_recovered_from_and_reset_by_keyboard_alone(page: Page, sealpost: Sealpost) -> None:
    sign_in_by_key(page)
    expect_heading(page, "Home")
    page.goto("/account")
    follow_by_key(page, "Second factor")
    press_by_key(page, "Set up an app")
    expect(page.get_by_role("img", name="QR code of the secret below")).to_be_visible()
    phone = App(page.locator("#secret").inner_text())
    type_at(page, "Code that the app shows", phone.code())
    page.keyboard.press("Enter")
    expect_heading(page, "Your recovery codes")
    codes = page.get_by_label("Recovery codes").inner_text().split()
    assert len(codes) == 10
    follow_by_key(page, "I have kept them")
    expect(page.get_by_text("10 of 10 left")).to_be_visible()
    sign_out_by_key(page)

    sign_in_by_key(page)
    expect_heading(page, "Second step")
    type_at(page, "Code", phone.code(seconds=STEP))
    page.keyboard.press("Enter")
    expect_heading(page, "Home")
    sign_out_by_key(page)

    sign_in_by_key(page)
    type_at(page, "Code", codes[0].lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text("9 recovery codes left")).to_be_visible()
    sign_out_by_key(page)

    sign_in_by_key(page)
    expect_heading(page, "Second step")
    for code in (*map("00000{}".format, range(10)), codes[1]):
        type_at(page, "Code", code)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    expect_heading(page, "Too many attempts")
    with create_app(sealpost.environment).app_context() as context:
        told = context.app.test_cli_runner().invoke(args=["account", "mfa", "reset", "alice"])
    assert "Reset the second factor of alice" in told.output
    sign_in_by_key(page)
    expect_heading(page, "Home")


def test_a_passkey_is_made_signs_in_and_confirms_a_form_in_which_all_that_was_typed_stays(
    page: Page, sealpost: Sealpost
) -> None:
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    verified = {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True}
    options = {"protocol": "ctap2", "transport": "internal", "automaticPresenceSimulation": True, **verified}
    device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    sign_in_by_key(page)
    expect_heading(page, "Home")
    page.goto("/account/security")
    press(page, "Add a passkey")
    fill(page, {"Name": "laptop"})
    press(page, "Make the passkey")
    expect_heading(page, "Your recovery codes")
    follow(page, "I have kept them")
    expect(page.get_by_role("heading", name="laptop")).to_be_visible()
    press(page, "Sign out")
    press(page, "Sign in with a passkey")
    expect_heading(page, "Home")

    page.goto("/settings/smtp/new")
    typed = {"Name": "Shop", "Server": "smtp.example.com", "User name": "shop", "Password": "s3cret of the server"}
    fill(page, typed | {"From address": "shop@example.com"})
    grow_old(sealpost)
    press(page, "Save")
    expect_heading(page, "Mail servers")  # the first server is no change of one
    page.goto("/settings/smtp/1")
    fill(page, {"Password": "an0ther secret"})
    press(page, "Save")
    expect(page.get_by_label("Current password")).to_be_visible()
    press(page, "Confirm with a passkey instead")
    expect(page.get_by_text("Confirmed.")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_have_value("an0ther secret")
    expect(page.get_by_label("Current password")).to_have_count(0)
    press(page, "Save")
    expect_heading(page, "Mail servers")
