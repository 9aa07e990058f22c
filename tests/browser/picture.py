"""Takes README's pictures again: `python -m tests.browser.picture` (needs Chromium)."""

import ssl
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from unittest import mock

from flask_migrate import upgrade
from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright

from app import create_app
from services import email_service
from services.outbox import figures
from services.overview import checklist
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.pool import pool
from services.worker import pulse
from tests.browser.in_process import served
from tests.browser.steps import fill, press, settle, sign_in
from tests.chromium import CHROMIUM, FLAGS
from tests.outbox import drain
from tests.private_authorities import Certified, authority_right, named
from tests.recording_server import RecordingServer
from tests.running import ROOT, Sealpost, run_environment
from tests.turned_clock import Now
from tests.visitors import PASSWORD, make_alice
from utils import clock

IMAGES: Final = ROOT / "docs" / "images"
SIZE: Final = ViewportSize(width=1280, height=800)
SUBMISSION: Final = 587
SERVER: Final = {
    "Name": "Primary Mail Server",
    "Server": "localhost",
    "Port": str(SUBMISSION),
    "User name": "shop",
    "Password": PASSWORD,
    "From address": "shop@example.com",
}
NOBODIES: Final = (
    "moved@example.net",
    "left@example.net",
    "unknown@example.net",
    "typo@example.net",
    "gone@example.net",
)
HOURS: Final = (12, 9, 6, 5, 4, 3, 2, 2, 1, 1, 0, 1, 2, 4, 7, 12, 14, 11, 13, 16, 12, 10, 11, 14)  # emails in each
NOBODY: Final = 9  # of 40, the number of the one that is refused


def take(pictures: Path) -> None:
    """Everything in them is of this machine: a server, and a day of email through it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Certified("Example Authority", authority_right())
        shown = Certified("localhost", named("localhost"), by=authority)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(shown.chain_file())
        refuse = dict.fromkeys(NOBODIES, "550 5.1.1 No such user here")
        users = {SERVER["User name"]: PASSWORD}
        stack.enter_context(RecordingServer(tls=tls, users=users, port=SUBMISSION, ident="ESMTP", refuse=refuse))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def somebody_at(url: str) -> Page:
            page = browser.new_page(base_url=url, viewport=SIZE, reduced_motion="reduce")
            sign_in(page)
            return page

        environment = run_environment(folder / "empty.db", SMTP_CA_FILE=str(authority.file()))
        with create_app(environment, instance_path=folder).app_context():
            upgrade()
            make_alice(is_admin=True)
        page = somebody_at(stack.enter_context(Sealpost(environment)).url)
        page.goto("/settings/smtp/new")
        fill(page, SERVER)
        press(page, "Test Connection")
        expect(page.get_by_text("Connection successful").first).to_be_visible()
        _taken(page, pictures / "mail-server.png", page.get_by_role("heading", level=1))
        fill(page, {"Password": "not the password"})
        press(page, "Test Connection")
        expect(page.get_by_role("heading", name="User name or password refused")).to_be_visible()
        _taken(page, pictures / "connection-test.png", page.get_by_text("Encryption", exact=True).first)
        environment = run_environment(folder / "day.db", SMTP_CA_FILE=str(authority.file()))
        app = create_app(environment, instance_path=folder)
        now = Now()
        now.moment = now.moment.replace(hour=17, minute=40)
        with mock.patch.object(clock, "now", now), app.app_context():
            upgrade()
            make_alice(is_admin=True)
            let_a_day_pass(now)
            page = somebody_at(stack.enter_context(served(app, int(environment["PORT"]))))
            page.clock.set_fixed_time(now.moment)
            page.goto("/")
            expect(page.get_by_role("heading", name="Attempts by hour")).to_be_visible()
            _taken(page, pictures / "start-page.png")
            page.goto("/emails")
            expect(page.get_by_text("Live, as of")).to_be_visible()
            _taken(page, pictures / "mail-log.png", page.get_by_text("Recipient or domain"))
            page.goto("about:blank")
        browser.close()


def let_a_day_pass(now: Now) -> None:
    """Emails of 24 hours through a server that works, few of which were refused."""
    change = {"smtp_server": "localhost", "smtp_port": SUBMISSION, "name": SERVER["Name"], "smtp_username": "shop"}
    configs.save(parse_change(change | {"smtp_password": PASSWORD, "from_email": "shop@example.com"}))
    checklist.hide(is_hidden=True, by="alice")
    number = 0
    now.turn(-3600.0 * len(HOURS))
    for emails in HOURS:
        for _ in range(emails):
            number += 1
            now.turn(3600 / emails - 1)
            to = NOBODIES[number // 40] if number % 40 == NOBODY else f"customer{number}@example.net"
            email_service.queue_email(to, "Your order was shipped", "Thank you.")
        now.turn(emails if emails else 3600)
        drain()
    pulse.beat()
    figures.count_up()
    pool.close()


def _taken(page: Page, picture: Path, above: Locator | None = None) -> None:
    """Take the picture of a page, from its top or from this element on."""
    if above:
        above.evaluate("(element) => element.scrollIntoView()")
    settle(page)
    page.screenshot(path=picture)


if __name__ == "__main__":
    take(IMAGES)
