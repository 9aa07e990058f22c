"""What was typed stays in the browser: signed out, offline, deleted meanwhile, changed meanwhile, or on the way out."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect

from app import create_app
from services.accounts import accounts, sessions
from services.settings import configs
from services.settings.fields import parse_change
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import expect_heading, expect_outcome, fill, fill_in_server, press, report, scripted, sign_in
from tests.recording_server import RecordingServer
from tests.running import Sealpost
from tests.visitors import PASSWORD

NEW = "/settings/smtp/new"
TYPED = {"Name": "Typed server", "Server": "typed.example", "From address": "typed@example.com"}
LOGIN = {"User name": "shop", "Password": "p4ss that stays"}
STORED = {"smtp_server": "stored.example", "smtp_username": "u", "smtp_password": "old", "from_email": "a@example.com"}


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Sealpost:
    return start_server(with_accounts=True)


@pytest.fixture
def page(new_page: NewPage, sealpost: Sealpost) -> Page:
    return signed_in(new_page(sealpost.url))


@pytest.fixture
def plain_page(new_page: NewPage, sealpost: Sealpost) -> Page:
    """The same without JavaScript."""
    return signed_in(new_page(sealpost.url, java_script_enabled=False))


def signed_in(page: Page) -> Page:
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


def inside(sealpost: Sealpost, work: Callable[[], int]) -> int:
    """Do something in the server's database, as somebody else would meanwhile."""
    with create_app(sealpost.environment).app_context():
        return work()


def end_sessions(sealpost: Sealpost) -> None:
    def end() -> int:
        person = accounts.authenticate("alice", PASSWORD)
        assert person
        return sessions.end_all(person.id)

    inside(sealpost, end)


def stored(sealpost: Sealpost, name: str) -> int:
    return inside(sealpost, lambda: configs.create(parse_change({**STORED, "name": name})).row.id)


def server_named(sealpost: Sealpost, name: str) -> tuple[str, str]:
    """Its host and its password, as they are stored."""
    with create_app(sealpost.environment).app_context():
        found = configs.find_by_name(name)
        assert found
        return found.settings.host, found.settings.password.reveal()


def sign_in_again(page: Page, password: str = PASSWORD) -> None:
    dialog = page.get_by_role("dialog", name="Sign in again")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Password", exact=True).fill(password)
    press(page, "Sign in and continue")


def test_whoever_was_signed_out_signs_in_in_place_and_the_form_goes_on(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, **LOGIN, "Name": "In place"})
    end_sessions(sealpost)
    press(page, "Save")
    sign_in_again(page)
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, "In place") == ("typed.example", LOGIN["Password"])


def test_a_wrong_password_in_place_can_be_tried_again(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, "Name": "Second try"})
    end_sessions(sealpost)
    press(page, "Save")
    sign_in_again(page, "not the password")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Wrong password")
    sign_in_again(page)
    expect_heading(page, "Mail servers")


def test_who_does_not_want_to_sign_in_now_keeps_what_was_typed(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, **LOGIN})
    end_sessions(sealpost)
    press(page, "Save")
    press(page, "Not now")
    expect(page.get_by_role("alert").filter(has_text="nothing was done")).to_be_visible()
    expect(page.get_by_label("Server", exact=True)).to_have_value("typed.example")
    expect(page.get_by_label("Password", exact=True)).to_have_value(LOGIN["Password"])
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()


def test_a_connection_test_asks_for_the_sign_in_and_goes_on(
    page: Page, sealpost: Sealpost, new_server: RecordingServer
) -> None:
    page.goto(NEW)
    fill_in_server(page, new_server)
    end_sessions(sealpost)
    press(page, "Test Connection")
    sign_in_again(page)
    expect_outcome(page, "Connection successful")
    expect(report(page)).to_be_visible()


@pytest.fixture
def new_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.mark.parametrize(
    ("path", "field", "button"),
    [
        ("/account/tokens", "Name", "Create token"),
        ("/settings/smtp/headers", "Headers", "Check the headers"),
        ("/account", "New address", "Send a link to the new address"),
    ],
)
def test_every_form_asks_in_place_and_is_sent(
    page: Page, sealpost: Sealpost, path: str, field: str, button: str
) -> None:
    page.goto(path)
    fill(page, {field: "typed late"})
    end_sessions(sealpost)
    press(page, button)
    with page.expect_request(lambda request: "typed" in (request.post_data or "")) as sent:
        sign_in_again(page)
    response = sent.value.response()
    assert response
    assert response.status in (200, 201, 422)
    response.finished()
    page.wait_for_load_state()


def test_without_script_the_form_comes_back_filled_after_the_sign_in(plain_page: Page, sealpost: Sealpost) -> None:
    page = plain_page
    page.goto(NEW)
    fill(page, {**TYPED, **LOGIN, "Name": "Without script"})
    page.get_by_role("radio", name="None").check()
    end_sessions(sealpost)
    press(page, "Save")
    expect_heading(page, "Sign in")
    expect(page.get_by_role("status").filter(has_text="kept for 30 minutes")).to_be_visible()
    fill(page, {"User name or email": "alice", "Password": PASSWORD})
    press(page, "Sign in")
    expect(page.get_by_role("region", name="Not saved yet")).to_be_visible()
    for label, text in {**TYPED, "Name": "Without script", "User name": "shop", "Password": ""}.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(text)
    expect(page.get_by_role("radio", name="None")).to_be_checked()
    expect(page.get_by_text("Enter it again. Sealpost never keeps it.")).to_be_visible()
    fill(page, {"User name": ""})
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.goto(NEW)
    expect(page.get_by_text("Not saved yet")).to_have_count(0)


def test_who_saves_offline_loses_nothing_and_can_save_later(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, **LOGIN, "Name": "Offline"})
    page.context.set_offline(True)
    press(page, "Save")
    expect(page.get_by_role("alert").filter(has_text="Sealpost cannot be reached")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_have_value(LOGIN["Password"])
    page.context.set_offline(False)
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, "Offline")[1] == LOGIN["Password"]


def test_a_token_of_a_session_that_was_renewed_in_another_tab_is_renewed_here(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, "Name": "Other tab"})
    other = page.context.new_page()
    other.goto("/settings/smtp")
    press(other, "Sign out")
    sign_in(other)
    expect(other.get_by_role("button", name="Sign out")).to_be_visible()
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()


def test_somebody_else_in_the_same_browser_does_not_send_it(page: Page, sealpost: Sealpost) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, "Name": "Bob was here"})
    other = page.context.new_page()
    other.goto("/settings/smtp")
    press(other, "Sign out")
    sign_in(other, "bob")
    expect(other.get_by_role("button", name="Sign out")).to_be_visible()
    press(page, "Save")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Someone else is now signed in")
    sign_in_again(page)
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()


@pytest.mark.parametrize("with_script", [True, False])
def test_a_server_that_was_deleted_meanwhile_can_be_saved_as_a_new_one(
    new_page: NewPage, sealpost: Sealpost, with_script: bool
) -> None:
    page = signed_in(new_page(sealpost.url, java_script_enabled=with_script))
    name = f"Deleted {with_script}"
    config_id = stored(sealpost, name)
    page.goto(f"/settings/smtp/{config_id}")
    fill(page, {"From name": "Typed late", "User name": "", "Server": "typed.example"})
    with create_app(sealpost.environment).app_context():
        configs.delete(config_id)
    press(page, "Save")
    expect_heading(page, "Deleted by someone else")
    expect(page.get_by_label("From name", exact=True)).to_have_value("Typed late")
    press(page, "Save as new")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, name)[0] == "typed.example"


@pytest.mark.parametrize("with_script", [True, False])
def test_a_conflict_shows_both_versions_side_by_side(new_page: NewPage, sealpost: Sealpost, with_script: bool) -> None:
    page = signed_in(new_page(sealpost.url, java_script_enabled=with_script))
    config_id = stored(sealpost, f"Conflict {with_script}")
    page.goto(f"/settings/smtp/{config_id}")
    fill(page, {"From name": "Mine"})
    with create_app(sealpost.environment).app_context():
        configs.update(config_id, parse_change({"from_name": "Theirs"}), actor="carol")
    press(page, "Save")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="From name"))
    expect(row.get_by_role("cell")).to_have_text(["Theirs", "Mine"])
    expect(page.get_by_role("columnheader", name=re.compile("^Saved by carol, "))).to_be_visible()
    expect(page.get_by_label("From name", exact=True)).to_have_value("Mine")
    press(page, "Save over it")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()


@contextmanager
def answering(page: Page, *, leave: bool) -> Iterator[list[str]]:
    """The kinds of the questions that the browser asks on the way out, each answered so."""
    kinds: list[str] = []

    def answer(dialog: Dialog) -> None:
        kinds.append(dialog.type)
        if leave:
            dialog.accept()
        else:
            dialog.dismiss()

    page.on("dialog", answer)
    yield kinds
    page.remove_listener("dialog", answer)


def test_who_leaves_a_changed_form_is_asked(page: Page) -> None:
    page.goto(NEW)
    page.get_by_label("Server", exact=True).press_sequentially("typed.example")
    with answering(page, leave=False) as kinds:
        for control in (page.get_by_role("link", name="Mail log"), page.get_by_role("button", name="Sign out")):
            with page.expect_event("dialog"):  # the click may be over before it is asked
                control.click(no_wait_after=True)
            expect(page.get_by_label("Server", exact=True)).to_have_value("typed.example")
    assert kinds == ["beforeunload", "beforeunload"]


def test_who_leaves_a_form_as_it_was_is_not_asked(page: Page) -> None:
    page.goto(NEW)
    field = page.get_by_label("Server", exact=True)
    field.press_sequentially("x")
    field.press("Backspace")
    with answering(page, leave=False) as kinds:
        page.get_by_role("link", name="Mail log").click()
        expect_heading(page, "Mail log")
    assert kinds == []


def test_who_leaves_a_form_that_came_back_refused_is_asked(page: Page) -> None:
    page.goto(NEW)
    fill(page, {**TYPED, "Port": "0"})
    press(page, "Save")
    expect(page.get_by_label("Port", exact=True)).to_have_attribute("aria-invalid", "true")
    scripted(page.get_by_role("heading", level=1)).click()  # browsers ask only who has touched the page
    with answering(page, leave=True) as kinds:
        page.get_by_role("link", name="Mail log").click(no_wait_after=True)
        expect_heading(page, "Mail log")
    assert kinds == ["beforeunload"]


@pytest.mark.parametrize("with_script", [True, False])
def test_a_stored_password_that_is_about_to_be_replaced_says_so_and_can_be_kept(
    new_page: NewPage, sealpost: Sealpost, with_script: bool
) -> None:
    page = signed_in(new_page(sealpost.url, java_script_enabled=with_script))
    name = f"Kept {with_script}"
    config_id = stored(sealpost, name)
    page.goto(f"/settings/smtp/{config_id}")
    note = page.get_by_text("Saving replaces the stored password.")
    box = page.get_by_label("Keep the stored one")
    expect(note).to_be_hidden()
    expect(box).to_be_hidden()
    fill(page, {"Password": "filled in by an extension"})
    expect(note).to_be_visible()
    box.check()
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, name) == ("stored.example", "old")


def test_no_password_goes_anywhere_but_with_its_form(page: Page, sealpost: Sealpost) -> None:
    sent: list[Request] = []
    page.goto(NEW)
    fill(page, {**TYPED, **LOGIN, "Name": "Where it goes"})
    end_sessions(sealpost)
    page.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - Playwright marks what it calls
    press(page, "Save")
    sign_in_again(page)
    expect_heading(page, "Mail servers")
    bearing = [request.url for request in sent if "stays" in (request.post_data or "") or "stays" in request.url]
    assert bearing == [sealpost.url + NEW]


def open_and_type(page: Page, config_id: int, **more: str) -> None:
    page.goto(f"/settings/smtp/{config_id}")
    fill(page, {"From name": "Mine", "Password": "typed-anew", **more})


def test_in_a_conflict_the_typed_password_stays_and_is_saved_over_the_other_version(
    page: Page, sealpost: Sealpost
) -> None:
    config_id = stored(sealpost, "Both with password")
    open_and_type(page, config_id)
    theirs = parse_change({"from_name": "Theirs"})
    inside(sealpost, lambda: configs.update(config_id, theirs, actor="carol").row.version)
    press(page, "Save")
    row = page.get_by_role("row", name=re.compile("^From name"))
    expect(row.get_by_role("cell")).to_have_text(["Theirs", "Mine"])
    expect(page.locator("[data-error-summary]")).to_be_focused()
    expect(page.get_by_label("Password", exact=True)).to_have_value("typed-anew")
    press(page, "Save over it")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, "Both with password") == ("stored.example", "typed-anew")


def test_of_a_server_that_was_deleted_meanwhile_the_typed_password_is_saved_with_the_new_one(
    page: Page, sealpost: Sealpost
) -> None:
    config_id = stored(sealpost, "Gone with password")
    open_and_type(page, config_id)
    with create_app(sealpost.environment).app_context():
        configs.delete(config_id)
    press(page, "Save")
    expect_heading(page, "Deleted by someone else")
    expect(page.get_by_label("Password", exact=True)).to_have_value("typed-anew")
    press(page, "Save as new")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, "Gone with password") == ("stored.example", "typed-anew")


def test_after_a_refusal_the_typed_password_stays_and_the_errors_stand_at_their_fields(
    page: Page, sealpost: Sealpost
) -> None:
    open_and_type(page, stored(sealpost, "Refused with password"), Port="0")
    press(page, "Save")
    expect(page.get_by_label("Port", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Port", exact=True)).to_be_focused()
    expect(page.get_by_label("Password", exact=True)).to_have_value("typed-anew")
    fill(page, {"Port": "587"})
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    assert server_named(sealpost, "Refused with password") == ("stored.example", "typed-anew")


def test_while_the_database_takes_nothing_the_form_stays_as_it_is(browser: Browser, sealpost: Sealpost) -> None:
    """Unwatched: an answer of 503 is what this is about."""
    page = signed_in(browser.new_context(base_url=sealpost.url).new_page())
    open_and_type(page, stored(sealpost, "Full disk"))
    held = sqlite3.connect(sealpost.environment["DATABASE_URL"].removeprefix("sqlite:///"), isolation_level=None)
    held.execute("ALTER TABLE smtp_config RENAME TO away")
    try:
        press(page, "Save")
        expect(page.get_by_role("alert").filter(has_text="What you typed is still here")).to_be_visible()
        expect(page.get_by_label("Password", exact=True)).to_have_value("typed-anew")
    finally:
        held.execute("ALTER TABLE away RENAME TO smtp_config")
        held.close()
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    page.context.close()


def test_without_script_an_expired_form_is_filled_in_the_answer(plain_page: Page) -> None:
    page = plain_page
    page.goto(NEW)
    fill(page, {**TYPED, "Name": "Expired"})
    page.context.clear_cookies(name=re.compile("session$"))
    sign_in(page.context.new_page())
    press(page, "Save")
    expect(page.get_by_role("region", name="Not saved yet")).to_be_visible()
    expect(page.get_by_label("Server", exact=True)).to_have_value("typed.example")
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
