"""A person brings a mail server, sees it break, and goes back to the global one; with script and without."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from app import create_app
from services import email_service
from services.personal import own_server, templates
from tests import certificates
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, expect_outcome, fill, follow, press, report, sign_in
from tests.recording_server import RecordedMail, RecordingServer
from tests.running import Sealpost
from tests.visitors import mail_through, subject_of

PAGE = "/account/smtp"
HOST = "127.75.1.1"
SECRET = "Bob's own pässword"
BOB = 2


@pytest.fixture(scope="module")
def shop() -> Iterator[RecordingServer]:
    """The global server, which encrypts as well: else nothing would fall back to it."""
    with RecordingServer(host="localhost", tls=certificates.good_context()) as server:
        yield server


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer, shop: RecordingServer) -> Sealpost:
    guard = {"SMTP_CA_FILE": str(certificates.ca_file()), "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.75.0.0/16"}
    return start_server(with_accounts=True, **guard, **(mail_through(shop) | {"EMAIL_USE_TLS": "true"}))


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, new_page: NewPage, sealpost: Sealpost) -> Page:
    page = new_page(sealpost.url, java_script_enabled=request.param, viewport={"width": 1280, "height": 800})
    sign_in(page, "bob")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    follow(page, "Your server")
    expect_heading(page, "Your mail server")
    return page


def who_sends(page: Page) -> Locator:
    return page.get_by_role("region", name="Who sends your mail now")


def send(sealpost: Sealpost, subject: str) -> bool:
    """As the application's code does, on behalf of Bob."""
    with create_app(sealpost.environment).app_context():
        return email_service.send_email("carol@example.com", subject, "Hello.", account_id=BOB)


def the_one(server: RecordingServer, subject: str) -> RecordedMail:
    (mail,) = [mail for mail in server.mails if subject_of(mail) == subject]
    return mail


def test_bring_a_server_break_it_see_what_happens_and_go_back(
    page: Page, sealpost: Sealpost, shop: RecordingServer
) -> None:
    expect(who_sends(page)).to_contain_text("You have no server of your own yet.")
    users = {"bob": SECRET}
    with RecordingServer(host=HOST, port=2525, tls=certificates.good_context(HOST), users=users) as own:
        fill(page, {"Server": HOST, "Port": "2525", "User name": "bob", "Password": "wrong", "From name": "Bob"})
        press(page, "Test Connection")
        expect(report(page)).to_contain_text("User name or password refused")
        expect(page.get_by_role("button", name="Test Connection")).to_be_in_viewport()

        fill(page, {"Password": SECRET})
        press(page, "Test Connection")
        ready = report(page).get_by_text(f"{HOST} accepts mail from bob@example.com.", exact=True)
        expect(ready).to_be_in_viewport()
        fill(page, {"Password": SECRET})  # a page without script never gets it back
        press(page, "Save")
        expect(page.get_by_text("Saved. Your mail now goes through this server.")).to_be_visible()
        expect(who_sends(page)).to_contain_text(f"Your own server ({HOST}) sends your mail, from bob@example.com.")
        expect(who_sends(page)).to_be_in_viewport()

        assert send(sealpost, "By my own")
        mail = the_one(own, "By my own")
        assert (mail.sender, mail.login, mail.encrypted) == ("bob@example.com", "bob", True)

    assert send(sealpost, "It is down")
    mail = the_one(shop, "It is down")
    assert mail.sender == "noreply@example.com"
    assert b"Reply-To: bob@example.com" in mail.content
    page.reload()
    expect(who_sends(page)).to_contain_text("is failing")
    expect(who_sends(page)).to_contain_text("1 email went through the global server instead")

    follow(page, "Use the global server again")
    expect_heading(page, "Use the global server again?")
    press(page, "Use the global server")
    expect(page.get_by_text("Deleted your server and its password.")).to_be_visible()
    expect(who_sends(page)).to_contain_text("You have no server of your own yet.")
    assert send(sealpost, "Back again")
    assert the_one(shop, "Back again").sender == "noreply@example.com"
    shop.mails.clear()


def test_a_provider_is_found_in_place_and_the_sender_stays_a_choice(new_page: NewPage, sealpost: Sealpost) -> None:
    page = new_page(sealpost.url)
    sign_in(page, "bob")
    page.goto(PAGE)
    fill(page, {"Your email address or provider": "bob.b@gmail.com"})
    press(page, "Find settings")
    expect(page.get_by_label("Server", exact=True)).to_have_value("smtp.gmail.com")
    expect(page.get_by_label("User name", exact=True)).to_have_value("bob.b@gmail.com")
    expect(page.get_by_label("From address")).to_have_value("")
    expect(page.get_by_label("From address").locator("option:checked")).to_have_text(
        "Your user name, if it is an address"
    )


def test_with_a_template_only_a_password_is_typed(new_page: NewPage, sealpost: Sealpost) -> None:
    with create_app(sealpost.environment).app_context():
        made = templates.save({"domain": "example.com", "host": HOST, "port": "2525", "security": "starttls"})
    page = new_page(sealpost.url, viewport={"width": 1280, "height": 800})
    sign_in(page, "bob")
    page.goto(PAGE)
    expect(page.get_by_label("Password", exact=True)).to_be_in_viewport()
    users = {"bob@example.com": SECRET}
    with RecordingServer(host=HOST, port=2525, tls=certificates.good_context(HOST), users=users):
        fill(page, {"Password": SECRET})
        press(page, "Test Connection")
        expect_outcome(page, "Connection successful")
        press(page, "Save")
        expect(page.get_by_text("Saved. Your mail now goes through this server.")).to_be_visible()
        expect(who_sends(page)).to_contain_text("These settings passed a test.")
    with create_app(sealpost.environment).app_context():
        templates.delete(made.id)
        own_server.delete(BOB)
