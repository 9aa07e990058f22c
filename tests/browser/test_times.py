"""Times stand in the zone of whoever reads them, with UTC where the pointer rests."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import fill, press, sign_in
from tests.running import Sealpost

HEADERS = (
    "Received: from a.example by b.example; Tue, 03 Nov 2026 22:00:02 +0000\n"
    "Date: Tue, 03 Nov 2026 22:00:00 +0000\nSubject: Hello\nFrom: a@example.com"
)


@pytest.fixture(scope="module")
def sealpost(start_server: StartServer) -> Iterator[Sealpost]:
    yield start_server(with_accounts=True)


def reader_in(zone: str, new_page: NewPage, sealpost: Sealpost, **options: Any) -> Page:
    page = new_page(sealpost.url, timezone_id=zone, **options)
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/settings/smtp/headers")
    fill(page, {"Headers": HEADERS})
    press(page, "Check the headers")
    return page


@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Asia/Kolkata", "4 Nov 2026, 03:30:00"),
        ("America/New_York", "3 Nov 2026, 17:00:00"),
        ("UTC", "3 Nov 2026, 22:00:00"),
    ],
)
def test_a_time_is_the_readers_own_with_utc_on_hover(
    new_page: NewPage, sealpost: Sealpost, zone: str, local: str
) -> None:
    moment = reader_in(zone, new_page, sealpost).locator("time").first
    expect(moment).to_have_text(local)
    expect(moment).to_have_attribute("title", "3 November 2026 at 22:00:00 UTC")


@pytest.mark.parametrize(
    ("attribute", "seconds", "words"),
    [
        ("", -20, "just now"),
        ("", 5, "just now"),  # two clocks are never quite the same
        ("coming", 20, "in a moment"),
        ("coming", -5, "in a moment"),
        ("coming", 300, "in 5 minutes"),
        ("", -300, "5 minutes ago"),
    ],
)
def test_what_is_still_to_come_is_never_just_now(
    new_page: NewPage, sealpost: Sealpost, attribute: str, seconds: int, words: str
) -> None:
    page = new_page(sealpost.url)
    page.goto("/login")
    told = page.evaluate(
        """async ([attribute, seconds]) => {
            const { refreshTimes } = await import("/static/times.js");
            const time = document.createElement("time");
            time.dateTime = new Date(Date.now() + seconds * 1000).toISOString();
            time.dataset.relative = attribute;
            document.body.append(time);
            refreshTimes();
            return time.textContent;
        }""",
        [attribute, seconds],
    )
    assert told == words


def test_without_script_it_is_utc_and_says_so(new_page: NewPage, sealpost: Sealpost) -> None:
    page = reader_in("Asia/Kolkata", new_page, sealpost, java_script_enabled=False)
    expect(page.locator("time").first).to_have_text("2026-11-03 22:00:00 UTC")


def test_the_events_are_in_the_readers_zone_and_not_called_utc(new_page: NewPage, sealpost: Sealpost) -> None:
    page = new_page(sealpost.url, timezone_id="Asia/Kolkata")
    sign_in(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/settings/audit")
    moment = page.locator("time").first
    expect(moment).to_have_attribute("title", re.compile(r"\d\d:\d\d:\d\d UTC$"))
    expect(moment).not_to_contain_text("UTC")
