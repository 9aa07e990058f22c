"""Every page in every state that it has: no barrier, light and dark, nothing wider than a phone, no dead control.

That none breaks its policy, logs an error or asks another host for anything is watched by ``new_page``.
"""

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, Final, Literal, cast

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser import states_factors, states_sign_on
from tests.browser.conftest import NewPage, StartServer, watched_pages
from tests.browser.scene import Scene, Servers, State
from tests.browser.states import STATES
from tests.browser.states_settings import form_test_cancelled, form_test_running
from tests.browser.states_typed import sign_in_in_place
from tests.browser.steps import settle
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer, pause

NAME: Final = attrgetter("__name__")
PHONE: ViewportSize = {"width": 360, "height": 740}
WITHOUT_SCRIPT = [state for state in STATES if state not in (form_test_running, form_test_cancelled, sign_in_in_place)]


@pytest.fixture(scope="module")
def servers(browser: Browser, start_server: StartServer) -> Iterator[Servers]:
    with RecordingServer() as mail_server, ScriptedServer({"GREETING": pause(PATIENCE)}) as silent:
        yield Servers(browser, start_server, mail_server, silent)


@pytest.fixture(scope="module", params=STATES, ids=NAME)
def page(request: pytest.FixtureRequest, browser: Browser, servers: Servers) -> Iterator[Page]:
    """A page in one of its states, for all tests about it."""
    with watched_pages(browser) as new_page:
        yield request.param(Scene(servers, new_page))


def test_a_page_has_no_barrier(page: Page) -> None:
    show_in(page, "light")
    assert violations(page) == []


def test_a_page_has_enough_contrast_in_the_dark(page: Page) -> None:
    show_in(page, "dark")
    assert violations(page, only="color-contrast") == []


@pytest.mark.parametrize("page", [*states_factors.STATES, *states_sign_on.STATES], indirect=True, ids=NAME)
def test_a_page_that_proves_who_somebody_is_has_no_barrier_in_the_dark_either(page: Page) -> None:
    show_in(page, "dark")
    assert violations(page) == []


def test_a_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    assert sideways(page) == []


@pytest.mark.parametrize("show", WITHOUT_SCRIPT, ids=NAME)
def test_without_script_a_page_has_no_dead_control(servers: Servers, new_page: NewPage, show: State) -> None:
    assert dead_controls(show(Scene(servers, new_page, {"java_script_enabled": False}))) == []


def show_in(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Have the system ask for this scheme, and wait until every part of the page has its colour."""
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
    settle(page)


def violations(page: Page, only: str | None = None) -> list[str]:
    """What axe finds, by all of its rules or by one, with the part of the page that it is about.

    Frames show emails, in which no script runs, so axe would only wait for an answer out of them.
    """
    options = {"resultTypes": ["violations"], "iframes": False, **({"runOnly": [only]} if only else {})}
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[dict[str, Any]] = page.evaluate("async (how) => (await axe.run(document, how)).violations", options)
    return [f"{rule['id']} at {node['target']}: {node['failureSummary']}" for rule in found for node in rule["nodes"]]


def sideways(page: Page) -> list[str]:
    """What stands out at the right, if the page scrolls there."""
    script = """() => document.scrollingElement.scrollWidth <= innerWidth ? [] :
        [...document.querySelectorAll("body *")].filter((part) => part.getBoundingClientRect().right > innerWidth)
            .map((part) => part.outerHTML.slice(0, 100))"""
    return cast(list[str], page.evaluate(script))


def dead_controls(page: Page) -> list[str]:
    """Visible buttons that send nothing and links that lead nowhere, once the styles that hide are there."""
    page.wait_for_load_state()
    dead = page.locator("button:not([type=submit]), button:not(form button):not([form]), a:not([href]), a[href='#']")
    return [control.evaluate("(part) => part.outerHTML") for control in dead.all() if control.is_visible()]
