"""From a first start to a sign-in with a new password, as a person goes through it in the browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests import certificates
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import (
    expect_heading,
    expect_outcome,
    expect_steps,
    fill,
    fill_in_server,
    follow,
    press,
    report,
    row,
    save,
    server_state,
    sign_in,
    state,
)
from tests.recording_server import RecordingServer
from tests.running import Sealpost
from tests.visitors import NEW_PASSWORD, PASSWORD, link_in, subject_of

SMTP_PASSWORD = "Pässword with spaces"
MAIL_USER = "mailer"


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def scripted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def become_administrator(page: Page, server: Sealpost) -> None:
    page.goto("/")
    expect_heading(page, "Create the first administrator")
    fill(page, {"Set-up code": server.setup_code, "User name": "alice"})
    fill(page, {"Email": "alice@example.com", "Password": PASSWORD})
    press(page, "Create administrator")
    expect(page.get_by_text("You are the administrator.")).to_be_visible()


def sign_out(page: Page) -> None:
    press(page, "Sign out")
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def ask_for_a_link(page: Page) -> None:
    page.get_by_role("link", name="Forgot your password?").click()
    fill(page, {"Email": "alice@example.com"})
    press(page, "Send the link")
    expect_heading(page, "Check your inbox")


def choose_a_new_password(page: Page) -> None:
    expect_heading(page, "Choose a new password")
    expect(page).to_have_url(re.compile(r"/reset-password$"))
    fill(page, {"New password": NEW_PASSWORD})
    press(page, "Save the new password")
    expect(page.get_by_text("Password set. Sign in with it.")).to_be_visible()


def sign_in_with_the_new_password(page: Page) -> None:
    sign_in(page, password=PASSWORD)
    expect(page.get_by_text("Wrong user name or password.")).to_be_visible()
    sign_in(page, password=NEW_PASSWORD)
    expect_heading(page, "Home")


def test_set_up_a_mail_server_and_reset_a_password_through_it(
    new_page: NewPage, start_server: StartServer, scripted: bool
) -> None:
    users = {MAIL_USER: SMTP_PASSWORD}
    with RecordingServer(tls=certificates.good_context(), users=users) as mail_server:
        sealpost = start_server(SMTP_CA_FILE=str(certificates.ca_file()))
        page = new_page(sealpost.url, java_script_enabled=scripted)
        become_administrator(page, sealpost)
        expect(page.get_by_role("region", name="Set up Sealpost")).to_contain_text("0 of 6 done")
        sign_out(page)
        sign_in(page)
        expect(page.get_by_role("heading", name="No mail server yet. Mail goes to the local inbox.")).to_be_visible()

        follow(page, "Add a server")
        expect_heading(page, "New mail server")
        fill_in_the_server(page, mail_server)
        try_the_wrong_password(page, scripted)
        try_the_right_password(page, scripted)
        save_and_look(page)
        sign_out(page)

        ask_for_a_link(page)
        mail = mail_server.wait_for_mail()[0]
        assert mail.recipients == ("alice@example.com",)
        assert (mail.encrypted, mail.login) == (True, MAIL_USER)
        base, token = link_in(mail)
        assert base == sealpost.url

        phone = new_page(sealpost.url, java_script_enabled=scripted)
        phone.goto(f"/reset-password?token={token}")
        choose_a_new_password(phone)
        sign_in_with_the_new_password(phone)
        assert subject_of(mail_server.wait_for_mail(2)[1]) == "Your OpenAlgo password was changed"

        page.goto(f"/reset-password?token={token}")
        expect_heading(page, "This link no longer works")


def fill_in_the_server(page: Page, mail_server: RecordingServer) -> None:
    fill(page, {"Server": "localhost", "Port": str(mail_server.port), "User name": MAIL_USER})
    expect(page.get_by_role("radio", name="STARTTLS")).to_be_checked()
    fill(page, {"From address": "shop@example.com", "From name": "Bücher, Café"})


def try_the_wrong_password(page: Page, scripted: bool) -> None:
    fill(page, {"Password": "not the password"})
    press(page, "Test Connection")
    expect_outcome(page, "User name or password refused")
    expect_steps(page, "OK", "OK", "OK", "OK", "OK", "OK", "Failed")
    expect(report(page)).to_contain_text("Check both, including spaces")
    expect(page.get_by_label("Password", exact=True)).to_have_value("not the password" if scripted else "")
    report(page).get_by_role("link", name="Go to").click()
    if scripted:
        password = page.get_by_label("Password", exact=True)
        expect(password).to_be_focused()
        expect(password).to_have_accessible_description(re.compile(r"User name or password refused\."))
        expect(page.locator("#smtp_password-error")).not_to_contain_text("Check both")  # once, in the report
    else:
        expect(page).to_have_url(re.compile("#smtp_password$"))


def try_the_right_password(page: Page, scripted: bool) -> None:
    fill(page, {"Password": SMTP_PASSWORD})
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful")
    expect_steps(page, *["OK"] * 9)
    expect(report(page)).to_contain_text("Not saved yet.")
    if not scripted:
        expect(page.get_by_text("Enter the password again. Sealpost never shows it.")).to_be_visible()
        fill(page, {"Password": SMTP_PASSWORD})


def save_and_look(page: Page) -> None:
    save(page)
    expect(state(page)).to_contain_text("Mail goes through Primary (localhost) as shop@example.com.")
    expect(row(page, "Primary").get_by_text(re.compile("^Verified"))).to_be_visible()
    follow(page, "Edit Primary")
    expect_heading(page, "Primary")
    expect(server_state(page).get_by_text(re.compile("^Verified"))).to_be_visible()
    expect(page.get_by_text("A password is stored.")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    assert SMTP_PASSWORD not in page.content()


def test_reset_a_password_with_nothing_but_the_local_inbox(
    new_page: NewPage, start_server: StartServer, scripted: bool
) -> None:
    sealpost = start_server()
    page = new_page(sealpost.url, java_script_enabled=scripted)
    become_administrator(page, sealpost)
    expect(page.get_by_role("heading", name="No mail server yet. Mail goes to the local inbox.")).to_be_visible()
    sign_out(page)

    ask_for_a_link(page)
    sealpost.wait_for("email_attempt .*password_reset")
    page.get_by_role("link", name="Open the local inbox").click()
    page.get_by_role("link", name="Reset Your OpenAlgo Password").click()
    expect(page.locator("pre")).to_contain_text("This link expires in 1 hour.")
    page.get_by_role("link", name="/reset-password?token=").click()
    choose_a_new_password(page)
    sign_in_with_the_new_password(page)

    sealpost.wait_for("email_attempt .*password_changed")
    page.get_by_role("link", name="Local inbox").click()
    expect(page.get_by_role("link", name="Your OpenAlgo password was changed")).to_be_visible()


def test_switch_to_a_second_server_and_then_off(new_page: NewPage, start_server: StartServer) -> None:
    with RecordingServer() as first, RecordingServer() as second:
        sealpost = start_server(with_accounts=True)
        page = new_page(sealpost.url)
        sign_in(page)
        follow(page, "Add a server")
        fill_in_server(page, first, "first@example.com")
        save(page)
        follow(page, "Add a server")
        fill(page, {"Name": "Backup"})
        fill_in_server(page, second, "second@example.com")
        save(page)
        expect(row(page, "Backup")).to_contain_text("Inactive")

        press(page, "Activate Backup")
        expect_heading(page, "Activate “Backup”?")
        press(page, "Test it first")
        expect_outcome(page, "Connection successful")
        press(page, "Activate")
        expect(state(page)).to_contain_text("Mail goes through Backup (127.0.0.1) as second@example.com.")
        press(page, "Undo")
        expect(page.get_by_text("Mail goes through “Primary” again.")).to_be_visible()
        press(page, "Activate Backup")
        expect(state(page)).to_contain_text("Mail goes through Backup (127.0.0.1) as second@example.com.")
        expect(row(page, "Primary")).to_contain_text("Inactive")
        guest = new_page(sealpost.url)
        guest.goto("/login")
        ask_for_a_link(guest)
        assert second.wait_for_mail()[0].sender == "second@example.com"
        assert first.mails == []

        follow(page, "Deactivate Backup")
        expect_heading(page, "Deactivate “Backup”?")
        expect(page.get_by_text("Mail will go to the local inbox")).to_be_visible()
        press(page, "Deactivate")
        expect(page.get_by_text("Deactivated “Backup”.")).to_be_visible()
        expect(state(page)).to_contain_text("No server is active. Mail goes to the local inbox.")
