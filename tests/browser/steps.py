"""What a person does on the pages, and what they then see there; with script and without."""

import contextlib
import re
from collections.abc import Mapping

from playwright.sync_api import Browser, Locator, Page, StorageState, expect

from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.visitors import PASSWORD

STEPS = ["Settings", "DNS", "Connect", "Greeting", "EHLO", "Encryption", "Sign-in", "Sender", "Recipient"]


def scripted(control: Locator) -> Locator:
    """The control, once the scripts of its page have run: they are modules, for which `load` waits.

    Whoever is faster goes the way without script, which works as well but is another one.
    """
    control.wait_for()
    control.page.wait_for_load_state()
    return control


def press(page: Page, button: str) -> None:
    scripted(page.get_by_role("button", name=button, exact=True)).click()


def fill(page: Page, fields: Mapping[str, str]) -> None:
    """Fill fields, found by their labels."""
    for label, text in fields.items():
        scripted(page.get_by_label(label, exact=True)).fill(text)


def expect_heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", name=text, level=1)).to_be_visible()


def sign_in(page: Page, login: str = "alice", password: str = PASSWORD) -> None:
    page.goto("/login")
    fill(page, {"User name or email": login, "Password": password})
    press(page, "Sign in")


def session_of(browser: Browser, url: str, login: str = "alice", before: StorageState | None = None) -> StorageState:
    """The cookies of somebody who is signed in, for further profiles.

    ``before`` are those of an earlier session: it stays the same browser, of which nobody is told again.
    """
    with contextlib.closing(browser.new_context(base_url=url, storage_state=before)) as context:
        for name in ("sealpost_session", "sealpost_pages"):
            context.clear_cookies(name=name)
        page = context.new_page()
        sign_in(page, login)
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        return context.storage_state()


def settle(page: Page) -> None:
    """Wait until nothing moves; even without motion a change of style may take a few frames."""
    page.evaluate("""async () => {
        while (document.getAnimations().length) await new Promise(requestAnimationFrame);
    }""")


def state(page: Page) -> Locator:
    """The panel of the list that says where mail goes now."""
    return page.get_by_role("region", name="Where mail goes now")


def server_state(page: Page) -> Locator:
    """The panel above the form of a stored server."""
    return page.get_by_role("region", name="State of this server")


def row(page: Page, name: str) -> Locator:
    """The row of a server, a token or an event that is named so."""
    return page.locator("li.row-item", has=page.get_by_role("heading", name=name, exact=True))


def follow(page: Page, link: str) -> None:
    scripted(page.get_by_role("link", name=link, exact=True)).click()


def follow_in_menu(page: Page, link: str) -> None:
    """Open the menu that has this link, and follow it."""
    wanted = page.get_by_role("link", name=link, exact=True, include_hidden=True)
    scripted(page.locator("details").filter(has=wanted).locator("summary")).click()
    follow(page, link)


def fill_in_server(page: Page, server: RecordingServer | ScriptedServer, sender: str = "shop@example.com") -> None:
    """Fill the form with a server that asks for neither encryption nor a password."""
    scripted(page.get_by_role("radio", name="None")).check()
    fill(page, {"Server": "127.0.0.1", "Port": str(server.port), "From address": sender})


def save(page: Page) -> None:
    """Press Save, and wait for the list."""
    press(page, "Save")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    expect_heading(page, "Mail servers")


def report(page: Page) -> Locator:
    """The panel with the connection test."""
    return page.get_by_role("region", name="Connection test")


def expect_outcome(page: Page, title: str) -> None:
    """Wait until a test has ended with this title."""
    expect(report(page).get_by_role("heading", name=title)).to_be_visible()


def expect_steps(page: Page, *words: str) -> None:
    """The labels in their order, each with its word; what is not named is not reached."""
    rows = report(page).get_by_role("listitem")
    wanted = [*words, *["Not reached"] * (len(STEPS) - len(words))]
    texts = [re.compile(f"{step}.*{word}", re.DOTALL) for step, word in zip(STEPS, wanted, strict=True)]
    expect(rows).to_contain_text(texts)
