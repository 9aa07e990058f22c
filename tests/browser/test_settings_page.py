"""What the form of a mail server does while somebody fills it in and tests it."""

import base64
import re
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import (
    expect_outcome,
    expect_steps,
    fill,
    fill_in_server,
    follow,
    press,
    report,
    save,
    server_state,
    session_of,
    sign_in,
)
from tests.dns_server import DnsServer, Fails
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.running import Sealpost
from tests.scripted_server import Answer, Connection, ScriptedServer, challenged, pause
from utils.version import VERSION

FIND = "Your email address or provider"
LIST = "Or choose from the list"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(
        {("firm.example", "MX"): ["1 aspmx.l.google.com."], ("slow.example", "MX"): Fails.SILENCE}
    ) as server:
        yield server


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer, dns: DnsServer) -> Sealpost:
    return start_server(with_accounts=True, DNS_RESOLVER=dns.address)


@pytest.fixture(scope="module")
def session(browser: Browser, sealpost: Sealpost) -> StorageState:
    return session_of(browser, sealpost.url)


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost, session: StorageState) -> Page:
    return open_form(new_page(sealpost.url, storage_state=session))


@pytest.fixture
def plain_page(new_page: NewPage, sealpost: Sealpost, session: StorageState) -> Page:
    """The same without JavaScript."""
    return open_form(new_page(sealpost.url, storage_state=session, java_script_enabled=False))


def open_form(page: Page) -> Page:
    page.goto("/settings/smtp/new")
    return page


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def test_each_step_shows_when_it_happens_and_the_end_is_announced(page: Page) -> None:
    may_go_on = threading.Event()

    def hold(_connection: Connection) -> None:
        assert may_go_on.wait(PATIENCE)

    with ScriptedServer({"EHLO": (hold, "250 scripted.test")}) as server:
        fill_in_server(page, server)
        press(page, "Test Connection")
        expect_steps(page, "OK", "OK", "OK", "OK", "Running")
        expect(page.get_by_role("button", name="Testing…")).to_have_attribute("aria-disabled", "true")
        may_go_on.set()
        expect_outcome(page, "Connection successful")
        expect_steps(page, "OK", "OK", "OK", "OK", "OK", "Skipped", "Skipped", "OK", "OK")
        announced = "^Connection successful, to your own domain only. The server accepts email to example.com without"
        expect(report(page).get_by_role("status")).to_have_text(re.compile(announced))
        skipped = report(page).get_by_role("listitem").filter(has_text="Skipped")
        expect(skipped.filter(has_text=re.compile(r"\d ms"))).to_have_count(0)


def test_whoever_presses_before_the_scripts_have_come_gets_the_same_without_them(
    page: Page, mail_server: RecordingServer
) -> None:
    page.route("**/static/*.js", lambda route: route.fulfill(content_type="text/javascript", body=""))
    fill_in_server(open_form(page), mail_server)
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful")
    expect(page).to_have_url(re.compile("/settings/smtp/new/test#test$"))


def test_a_test_can_be_cancelled(page: Page) -> None:
    with ScriptedServer({"GREETING": pause(PATIENCE)}) as server:
        fill_in_server(page, server)
        press(page, "Test Connection")
        expect_steps(page, "OK", "OK", "OK", "Running")
        press(page, "Cancel")
        expect_steps(page, "OK", "OK", "OK")
        expect(page.get_by_role("button", name="Test Connection")).to_be_focused()
        expect(page.get_by_role("button", name="Cancel")).to_be_hidden()


def test_a_refused_field_is_marked_and_has_the_cursor(page: Page) -> None:
    fill(page, {"Server": "smtp example com", "From address": "shop@example.com"})
    press(page, "Test Connection")
    expect_outcome(page, "The test was not run")
    field = page.get_by_label("Server", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("server|host", re.IGNORECASE))
    expect(field).to_have_attribute("aria-invalid", "true")


def test_after_a_change_the_report_says_that_it_is_old(page: Page, mail_server: RecordingServer) -> None:
    fill_in_server(page, mail_server)
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful")
    expect(report(page).get_by_text("Changed since the test.")).to_be_hidden()
    fill(page, {"From address": "other@example.com"})
    expect(report(page).get_by_text("Changed since the test.")).to_be_visible()
    fill(page, {"From address": "shop@example.com"})
    expect(report(page).get_by_text("Changed since the test.")).to_be_hidden()


REFUSES_ONCE: dict[str, Answer | list[Answer]] = {
    "EHLO": "250-scripted.test\n250 AUTH PLAIN",
    "AUTH": [challenged("535 5.7.8 no"), challenged()],
}


def test_a_password_that_ends_with_a_space_is_tried_without_it_by_one_click(page: Page) -> None:
    with ScriptedServer(REFUSES_ONCE) as server:
        fill_in_server(page, server)
        fill(page, {"User name": "shop", "Password": "geheim-8472 "})
        press(page, "Test Connection")
        expect_outcome(page, "User name or password refused")
        expect(report(page).get_by_text("The password ends with a space. That is rarely meant.")).to_be_visible()
        press(page, "Try the password without the space")
        expect_outcome(page, "Connection successful")
        said = [command.split()[2] for command in server.commands if command.startswith("AUTH")]
    assert [base64.b64decode(each) for each in said] == [b"\0shop\0geheim-8472 ", b"\0shop\0geheim-8472"]
    expect(page.get_by_label("Password", exact=True)).to_have_value("geheim-8472")


def test_without_script_words_say_what_to_try(plain_page: Page) -> None:
    with ScriptedServer(REFUSES_ONCE) as server:
        fill_in_server(plain_page, server)
        fill(plain_page, {"User name": "shop", "Password": "geheim-8472 "})
        press(plain_page, "Test Connection")
        expect_outcome(plain_page, "User name or password refused")
    expect(report(plain_page).get_by_text("Try the password without")).to_be_visible()
    expect(plain_page.get_by_role("button", name="Try the password")).to_have_count(0)
    assert "geheim" not in plain_page.content()


def test_the_copied_report_names_the_version_the_steps_and_the_server_s_habits(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    with ScriptedServer({**REFUSES_ONCE, "AUTH": challenged("535 5.7.8 no")}) as server:
        fill_in_server(page, server)
        fill(page, {"User name": "shop", "Password": "geheim-8472"})
        press(page, "Test Connection")
        expect_outcome(page, "User name or password refused")
    press(page, "Copy report")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"Sealpost {VERSION}\n")
    for text in ("Sent EHLO", "OK  Greeting", "535 5.7.8 no", "C: AUTH PLAIN"):
        assert text in copied
    assert "geheim" not in copied
    assert base64.b64encode(b"\0shop\0geheim-8472").decode() not in copied


def test_a_test_without_a_session_says_how_to_go_on(page: Page, mail_server: RecordingServer) -> None:
    fill_in_server(page, mail_server)
    page.context.clear_cookies()
    press(page, "Test Connection")
    press(page, "Not now")
    expect_outcome(page, "The test was not run")
    expect(report(page)).to_contain_text("You are signed out")
    expect(page.get_by_label("From address")).to_have_value("shop@example.com")


def test_the_port_follows_the_security_until_it_was_typed(page: Page) -> None:
    port = page.get_by_label("Port", exact=True)
    page.get_by_role("radio", name="TLS", exact=True).check()
    expect(port).to_have_value("465")
    page.get_by_role("radio", name="STARTTLS").check()
    expect(port).to_have_value("587")
    port.fill("2525")
    page.get_by_role("radio", name="TLS", exact=True).check()
    expect(port).to_have_value("2525")


def test_an_address_fills_in_everything_when_its_field_is_left(page: Page) -> None:
    page.get_by_label(FIND).fill("me@gmail.com")
    page.get_by_label(FIND).press("Tab")
    said = "gmail.com uses Gmail. Filled in: server, port, encryption, user name, From address."
    expect(page.get_by_role("status").filter(has_text=said)).to_be_visible()
    expect_gmail(page)
    expect(page.get_by_label("User name", exact=True)).to_have_value("me@gmail.com")
    expect(page.get_by_label("From address", exact=True)).to_have_value("me@gmail.com")
    expect(page.get_by_label(LIST)).to_have_value("gmail")


def test_an_address_does_so_without_script(plain_page: Page) -> None:
    plain_page.get_by_label(FIND).fill("me@firm.example")
    press(plain_page, "Find settings")
    expect(plain_page.get_by_text("firm.example uses Google Workspace.")).to_be_visible()
    expect_gmail(plain_page)
    expect(plain_page.get_by_label("User name", exact=True)).to_have_value("me@firm.example")


def test_enter_looks_up_the_domain_and_a_typed_user_name_stays(page: Page) -> None:
    fill(page, {"User name": "typed"})
    page.get_by_label(FIND).fill("me@firm.example")
    page.get_by_label(FIND).press("Enter")
    expect(page.get_by_text("firm.example uses Google Workspace.")).to_be_visible()
    expect_gmail(page)
    expect(page.get_by_label("User name", exact=True)).to_have_value("typed")
    expect(page.get_by_label(FIND)).to_be_focused()


def test_what_was_filled_in_for_one_provider_makes_way_for_the_next(page: Page) -> None:
    page.get_by_label(FIND).fill("SendGrid")
    press(page, "Find settings")
    expect(page.get_by_label("User name", exact=True)).to_have_value("apikey")
    page.get_by_label(FIND).fill("me@gmail.com")
    press(page, "Find settings")
    expect_gmail(page)
    expect(page.get_by_label("User name", exact=True)).to_have_value("me@gmail.com")


def test_a_new_search_ends_the_one_under_way(page: Page) -> None:
    page.get_by_label(FIND).fill("me@slow.example")
    press(page, "Find settings")
    expect(page.get_by_role("button", name="Looking…")).to_have_attribute("aria-disabled", "true")
    page.get_by_label(FIND).fill("me@gmail.com")
    page.get_by_label(FIND).press("Enter")
    expect_gmail(page)
    expect(page.get_by_role("button", name="Find settings")).not_to_have_attribute("aria-disabled", "true")


def test_an_unknown_name_is_told_at_its_field(page: Page) -> None:
    page.get_by_label(FIND).fill("nobody")
    page.get_by_label(FIND).press("Enter")
    expect(page.get_by_label(FIND)).to_have_accessible_description(re.compile("No provider with this name."))
    expect(page.get_by_label(FIND)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Server", exact=True)).to_have_value("")


def test_a_search_without_a_session_says_how_to_go_on(page: Page) -> None:
    page.context.clear_cookies()
    page.get_by_label(FIND).fill("me@gmail.com")
    page.get_by_label(FIND).press("Enter")
    expect(page.get_by_text("Sign in in another tab")).to_be_visible()


def test_a_provider_of_the_list_fills_in_its_server_and_offers_its_others(page: Page) -> None:
    page.get_by_label(LIST).select_option(label="Amazon SES")
    expect(page.get_by_label("Server", exact=True)).to_have_value("email-smtp.us-east-1.amazonaws.com")
    page.get_by_label("Which server").select_option(label="Frankfurt (eu-central-1)")
    expect(page.get_by_label("Server", exact=True)).to_have_value("email-smtp.eu-central-1.amazonaws.com")
    page.get_by_label(LIST).select_option(label="Gmail")
    expect_gmail(page)
    expect(page.get_by_label("Which server")).to_be_hidden()
    page.get_by_label(LIST).select_option(label="Microsoft 365")
    page.get_by_label("Which server").select_option(label="US government (GCC High, DoD)")
    expect(page.get_by_label("Server", exact=True)).to_have_value("smtp.office365.us")
    page.get_by_label(LIST).select_option(label="Microsoft 365 relay")
    expect(page.get_by_label("Which server")).to_be_hidden()


def test_a_provider_of_the_list_does_so_without_script(plain_page: Page) -> None:
    plain_page.get_by_label(LIST).select_option(label="Amazon SES")
    press(plain_page, "Use")
    plain_page.get_by_label("Which server").select_option(label="Frankfurt (eu-central-1)")
    press(plain_page, "Use this server")
    expect(plain_page.get_by_label("Server", exact=True)).to_have_value("email-smtp.eu-central-1.amazonaws.com")


def expect_gmail(page: Page) -> None:
    expect(page.get_by_label("Server", exact=True)).to_have_value("smtp.gmail.com")
    expect(page.get_by_label("Port", exact=True)).to_have_value("587")
    expect(page.get_by_role("radio", name="STARTTLS")).to_be_checked()
    password = page.get_by_label("Password", exact=True)
    expect(password).to_have_accessible_description(re.compile("An app password of 16 letters"))
    expect(page.get_by_role("link", name="Where to create one")).to_have_attribute("href", re.compile("apppasswords"))


def test_a_password_can_be_looked_at(page: Page) -> None:
    password = page.get_by_label("Password", exact=True)
    password.fill("typed")
    press(page, "Show password")
    expect(password).to_have_attribute("type", "text")
    press(page, "Hide password")
    expect(password).to_have_attribute("type", "password")


def test_a_password_can_be_pasted(page: Page) -> None:
    sender, password = page.get_by_label("From name", exact=True), page.get_by_label("Password", exact=True)
    sender.fill("pasted & long, 64 letters " * 3)
    sender.press("ControlOrMeta+a")
    sender.press("ControlOrMeta+c")
    password.press("ControlOrMeta+v")
    expect(password).to_have_value("pasted & long, 64 letters " * 3)


@pytest.fixture
def form_of_its_own(new_page: NewPage, start_server: StartServer) -> Page:
    """The form of a new server where there is none, for a test that saves it."""
    page = new_page(start_server(with_accounts=True).url)
    sign_in(page)
    follow(page, "Add a server")
    return page


def test_a_changed_server_asks_for_the_password_again(form_of_its_own: Page) -> None:
    page = form_of_its_own
    with RecordingServer(users={"mailer": "secret"}) as mail_server:
        fill_in_server(page, mail_server)
        fill(page, {"User name": "mailer", "Password": "secret"})
        save(page)
        follow(page, "Edit Primary")
        expect(page.get_by_text("A password is stored.")).to_be_visible()
        fill(page, {"Server": "mail.example.com"})
        note = page.get_by_text("You changed the server. Enter the password again.")
        expect(note).to_be_visible()
        fill(page, {"Server": "127.0.0.1"})
        expect(note).to_be_hidden()
        fill(page, {"Server": "mail.example.com"})
        press(page, "Save")
        expect(page.get_by_label("Password", exact=True)).to_be_focused()
        expect(page.get_by_text("Saved.", exact=True)).to_be_hidden()


def test_a_test_of_the_saved_values_verifies_them(form_of_its_own: Page, mail_server: RecordingServer) -> None:
    page = form_of_its_own
    fill_in_server(page, mail_server)
    save(page)
    follow(page, "Edit Primary")
    expect(server_state(page)).to_contain_text("Not verified yet")
    press(page, "Test Connection")
    expect_outcome(page, "Connection successful, to your own domain only")
    expect(server_state(page)).to_contain_text("Verified for your own domain only")
    fill(page, {"Send to": "ann@elsewhere.example"})
    press(page, "Test Connection")
    expect(server_state(page)).to_contain_text("Verified just now")
    expect(report(page)).to_contain_text("Tested the saved settings.")
    fill(page, {"From address": "other@example.com"})
    expect(server_state(page).get_by_text("Changed since the test")).to_be_visible()
    expect(server_state(page).get_by_text("Verified")).to_be_hidden()
    fill(page, {"From address": "shop@example.com"})
    expect(server_state(page).get_by_text("Verified")).to_be_visible()


def test_a_failed_test_message_takes_the_mark_away_on_the_page_too(form_of_its_own: Page) -> None:
    page = form_of_its_own
    denied = "554 5.7.1 Relay access denied"
    with ScriptedServer({"RCPT": ["250 2.1.5 ok", denied]}) as server:
        fill_in_server(page, server)
        save(page)
        follow(page, "Edit Primary")
        fill(page, {"Send to": "ann@elsewhere.example"})
        press(page, "Test Connection")
        expect(server_state(page)).to_contain_text("Verified just now")
        press(page, "Send test email")
        expect(server_state(page)).to_contain_text("Not verified")
        expect(server_state(page)).not_to_contain_text("Verified just now")
