"""A real browser in front of a real server process, and a watch on everything that the browser complains about."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from app import create_app
from tests.chromium import CHROMIUM, FLAGS
from tests.forked_server import ForkedSealpost
from tests.patience import PATIENCE
from tests.running import Sealpost, run_environment
from tests.visitors import make_alice, make_bob

# Tells of blocked content by the event as well, since not every block reaches the console.
REPORT_VIOLATIONS = """
    addEventListener("securitypolicyviolation", (event) =>
        console.error(`blocked by policy: ${event.violatedDirective} ${event.blockedURI}`));
"""
# Chromium says this of every page and answer that is not 2xx; _note_response tells which of them are faults.
BAD_STATUS = "Failed to load resource: the server responded with a status of"
OFFLINE = "Failed to load resource: net::ERR_INTERNET_DISCONNECTED"  # where a test has cut the line

NewPage = Callable[..., Page]
StartServer = Callable[..., Sealpost]

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Of the module and no wider: while it runs, this thread cannot run asyncio."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed; make services installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes a page in a fresh browser profile, under watch."""
    with watched_pages(browser) as make:
        yield make


@contextmanager
def watched_pages(browser: Browser) -> Iterator[NewPage]:
    """What makes pages, each in a profile of its own. At the end none of them may have complained of anything.

    It is called with the address of the server and with what Playwright's ``new_context`` takes; ``leads_to`` is
    another, to which a page may lead, as to a provider that people sign in at.
    """
    opened: list[tuple[BrowserContext, Watch]] = []

    def make(base_url: str, *, leads_to: str = "", **options: Any) -> Page:
        # Without motion, so that nothing is judged half-way through a transition.
        context = browser.new_context(base_url=base_url, **{"reduced_motion": "reduce", **options})
        context.set_default_timeout(PATIENCE * 1000)
        context.add_init_script(REPORT_VIOLATIONS)
        opened.append((context, Watch(base_url, context, leads_to)))
        return context.new_page()

    try:
        yield make
    finally:
        complaints = [complaint for _, watch in opened for complaint in watch.complaints]
        for context, _ in opened:
            for page in context.pages:
                leave(page)
            context.close()
    assert complaints == []


def leave(page: Page) -> None:
    """Close none in the midst of a navigation, or of the question whether to leave it: Chromium might never answer."""
    page.on("dialog", lambda dialog: dialog.accept())
    page.wait_for_load_state()
    with contextlib.suppress(Error):  # a page that goes on by itself interrupts it; then it has left as well
        page.goto("about:blank")
    page.wait_for_load_state()


class Watch:
    """What a page must never do: break a policy, log an error, miss a file, or ask another host for anything."""

    def __init__(self, base_url: str, context: BrowserContext, leads_to: str = "") -> None:
        self.complaints: list[str] = []
        self._host, self._other = urlsplit(base_url).netloc, urlsplit(leads_to).netloc
        context.on("request", self._note_request)
        context.on("response", self._note_response)
        context.on("console", self._note_console)
        context.on("weberror", lambda fault: self.complaints.append(f"script error: {fault.error}"))

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.netloc == self._other and request.is_navigation_request():
            return
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.complaints.append(f"request to another host: {request.url}")

    def _note_response(self, response: Response) -> None:
        is_file = response.request.resource_type not in ("document", "fetch")
        if urlsplit(response.url).netloc == self._other:
            return
        if response.status >= (400 if is_file else 500):
            self.complaints.append(f"status {response.status}: {response.url}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith((BAD_STATUS, OFFLINE)):
            self.complaints.append(f"console {message.type}: {message.text}")


@pytest.fixture(scope="module")
def start_server(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts a server on a database of its own: without accounts, or with Alice who administers and Bob.

    Further keywords are variables of its environment.
    """
    running: list[Sealpost] = []

    def start(*, with_accounts: bool = False, **variables: str) -> Sealpost:
        folder = tmp_path_factory.mktemp("server")
        shutil.copy(migrated_database, folder / "sealpost.db")
        environment = run_environment(folder / "sealpost.db", **variables)
        if with_accounts:
            with create_app(environment, instance_path=folder).app_context():
                make_alice(is_admin=True)
                make_bob()
        server = ForkedSealpost(environment).__enter__()
        running.append(server)
        return server

    yield start
    for server in running:
        assert server.stop() == 0
        assert "Traceback" not in server.output
        assert "unexpected_error" not in server.output
