"""The start page stays fresh while someone looks at it, and disturbs no one."""

import re

from playwright.sync_api import expect

from app import create_app
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import scripted, sign_in
from tests.mails import attempted
from tests.running import Sealpost


def send(sealpost: Sealpost, emails: int) -> None:
    with create_app(sealpost.environment).app_context():
        for _ in range(emails):
            attempted()


def test_figures_are_refreshed_by_themselves_and_what_is_in_use_stays(
    new_page: NewPage, start_server: StartServer
) -> None:
    sealpost = start_server(with_accounts=True)
    send(sealpost, 1)
    page = new_page(sealpost.url, timezone_id="Asia/Kolkata")
    page.clock.install()
    sign_in(page)
    sent = scripted(page.get_by_role("link", name=re.compile("Sent$")))
    expect(sent).to_contain_text("1")
    expect(page.get_by_text("Hours are in your time zone")).to_be_visible()
    expect(page.locator("text[data-hour]").last).to_have_text(re.compile(r"^\d\d:30$"))
    page.locator("summary", has_text="As a table").click()
    page.locator("summary", has_text="As a table").blur()
    send(sealpost, 2)
    page.clock.fast_forward(31_000)
    expect(sent).to_contain_text("3")
    expect(page.get_by_role("cell", name="3", exact=True)).to_be_visible()  # the table is still open
    sent.focus()
    send(sealpost, 1)
    page.clock.fast_forward(31_000)
    expect(page.get_by_role("cell", name="4", exact=True)).to_be_visible()
    expect(sent).to_be_focused()
    expect(sent).to_contain_text("3")
    page.get_by_role("link", name="Refresh").click()
    expect(sent).to_contain_text("4")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(11 * 60_000)  # no one has touched it
    asked.clear()
    page.clock.fast_forward(31_000)
    assert asked == []
