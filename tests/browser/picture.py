"""Takes README's picture again: `python -m tests.browser.picture` (needs Chromium)."""

import ssl
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from flask_migrate import upgrade
from playwright.sync_api import ViewportSize, expect, sync_playwright

from app import create_app
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.steps import fill, press, settle, sign_in
from tests.private_authorities import Certified, authority_right, named
from tests.recording_server import RecordingServer
from tests.running import ROOT, Sealpost, run_environment
from tests.visitors import PASSWORD, make_alice

PICTURE: Final = ROOT / "docs" / "images" / "mail-server.png"
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


def take(picture: Path) -> None:
    """A new server's form with a test that has passed. Everything in it is of this machine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        users = {SERVER["User name"]: PASSWORD}
        authority = Certified("Example Authority", authority_right())
        shown = Certified("localhost", named("localhost"), by=authority)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(shown.chain_file())
        stack.enter_context(RecordingServer(tls=tls, users=users, port=SUBMISSION, ident="ESMTP"))
        environment = run_environment(folder / "picture.db", SMTP_CA_FILE=str(authority.file()))
        with create_app(environment, instance_path=folder).app_context():
            upgrade()
            make_alice(is_admin=True)
        sealpost = stack.enter_context(Sealpost(environment))
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=sealpost.url, viewport=SIZE, reduced_motion="reduce")
        sign_in(page)
        page.goto("/settings/smtp/new")
        fill(page, SERVER)
        press(page, "Test Connection")
        expect(page.get_by_text("Connection successful").first).to_be_visible()
        page.get_by_role("heading", level=1).evaluate("(heading) => heading.scrollIntoView()")
        settle(page)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    take(PICTURE)
