"""The page that leads through a connection, with JavaScript: lines are filled in, a code is waited for."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Dialog, Page, expect
from werkzeug.serving import make_server

from app import create_app
from tests.blueprints.pages.connect_samples import CLIENT, CODE_ANSWERS, ENTERPRISE, add_samples
from tests.browser.conftest import NewPage
from tests.browser.steps import sign_in
from tests.browser.test_pages import dead_controls, show_in, sideways, violations
from tests.loopback import free_port
from tests.running import run_environment
from tests.visitors import make_alice

TELLING: Final = ["microsoft-app", "microsoft-code-waits", "google-inside", "dead"]


@pytest.fixture(scope="module")
def samples(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An application with pages of plain values, on a port of its own."""
    folder, port = tmp_path_factory.mktemp("samples"), free_port()
    shutil.copy(migrated_database, folder / "sealpost.db")
    url = f"http://127.0.0.1:{port}"
    app = create_app(run_environment(folder / "sealpost.db", BASE_URL=url, LOCAL_INBOX_PORT="0"), instance_path=folder)
    add_samples(app)
    with app.app_context():
        make_alice(is_admin=True)
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()


def opened(samples: str, new_page: NewPage, name: str, **options: object) -> Page:
    page = new_page(samples, **options)
    sign_in(page, "alice")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.wait_for_load_state()  # the server is in this process, and would tell of a file that it was stopped at
    page.goto(f"/sample/connect/{name}")
    return page


def test_lines_are_filled_in_once_their_values_are_entered_and_can_then_be_copied(
    samples: str, new_page: NewPage
) -> None:
    page = opened(samples, new_page, "microsoft-app-new")
    step = page.locator("[data-step=mailbox]")
    expect(step).to_contain_text("Enter the object ID of the enterprise application to fill this line in.")
    page.get_by_label("Application (client) ID").fill(CLIENT)
    object_id = page.get_by_label("Object ID of the enterprise application")
    object_id.fill(ENTERPRISE)
    object_id.blur()
    line = f"New-ServicePrincipal -AppId '{CLIENT}' -ObjectId '{ENTERPRISE}'"
    expect(step.get_by_text(line)).to_be_visible()
    expect(step.get_by_role("button", name="Copy")).to_have_count(4)
    expect(page.get_by_role("button", name="Save and fill in the lines").locator("visible=true")).to_have_count(0)
    object_id.fill("o'; Remove-Mailbox 'boss")
    object_id.blur()
    expect(step.get_by_text("-ObjectId 'o''; Remove-Mailbox ''boss'")).to_be_visible()


def test_a_code_is_waited_for_and_its_answer_shown(samples: str, new_page: NewPage) -> None:
    CODE_ANSWERS[:] = [False, True, True]
    page = opened(samples, new_page, "microsoft-code-waits")
    expect(page.get_by_text("Waiting for you to sign in…")).to_be_visible()
    with page.expect_navigation(url="**/sample/connect/microsoft-code-waits"):
        pass
    assert CODE_ANSWERS == []


def test_an_address_that_was_typed_for_a_new_server_goes_along_to_connecting_it(
    samples: str, new_page: NewPage
) -> None:
    page = opened(samples, new_page, "connected")
    page.goto("/settings/smtp/new")
    page.get_by_label("Your email address or provider").fill("shop@gmail.com")
    page.get_by_role("button", name="Find settings").click()
    expect(page.get_by_text("gmail.com uses Gmail.")).to_be_visible()
    page.get_by_label("From name").fill("The shop")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.get_by_role("link", name="without a password").click()
    assert asked == ["beforeunload"]  # for what was typed would be lost
    page.get_by_label("From name").fill("")
    page.get_by_role("link", name="without a password").click()
    expect(page.get_by_role("button", name="Connect with Google")).to_be_visible()


@pytest.mark.parametrize("by_itself", [True, False])
def test_checks_are_made_within_the_page_and_lead_to_the_missing_step(
    samples: str, new_page: NewPage, by_itself: bool
) -> None:
    page = opened(samples, new_page, "connected?check=1" if by_itself else "connected")
    if not by_itself:
        page.get_by_role("button", name="Check again").click()
    row = page.locator('.connect-checks [data-name="sign_in"]')
    expect(row).to_have_attribute("data-status", "failed")
    expect(row).to_contain_text("SMTP is off. Turn it on. Go to step 4: Turn on SMTP for the mailbox")
    expect(page.get_by_text("The server refused the token.")).to_be_visible()
    expect(page.locator('.connect-checks [data-name="from"]')).to_have_attribute("data-status", "skipped")
    row.get_by_role("link").click()
    assert page.url.endswith("#step-smtp")


@pytest.mark.parametrize("name", TELLING)
def test_axe_finds_nothing_in_either_theme_and_nothing_stands_out_on_a_phone(
    samples: str, new_page: NewPage, name: str
) -> None:
    CODE_ANSWERS[:] = [True] * 50
    page = opened(samples, new_page, name, viewport={"width": 360, "height": 740})
    assert sideways(page) == []
    for scheme in ("light", "dark"):
        show_in(page, scheme)
        assert violations(page) == []


def test_without_script_there_is_no_dead_control(samples: str, new_page: NewPage) -> None:
    for name in TELLING:
        page = opened(samples, new_page, name, java_script_enabled=False)
        assert dead_controls(page) == []
