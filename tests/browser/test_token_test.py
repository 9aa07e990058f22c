"""Test Connection of a server whose sign-in by token has ended: the step says so, and a link leads to the remedy."""

import os
import shutil
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from app import create_app
from database import oauth_db
from database.engine import transaction
from tests import certificates, oauth_faults
from tests.browser.conftest import NewPage
from tests.browser.steps import expect_outcome, press, report, sign_in
from tests.browser.test_pages import sideways, violations
from tests.loopback import free_port
from tests.oauth_provider import OAuthProviderServer
from tests.running import run_environment
from tests.signed_in_by_token import connected, mail_server
from tests.visitors import make_alice
from utils import clock


@pytest.fixture(scope="module")
def sealpost(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An application with one server, for which the provider gives no token any more."""
    folder, port = tmp_path_factory.mktemp("token"), free_port()
    shutil.copy(migrated_database, folder / "sealpost.db")
    url = f"http://127.0.0.1:{port}"
    settings = {"BASE_URL": url, "LOCAL_INBOX_PORT": "0", "SMTP_CA_FILE": str(certificates.ca_file())}
    app = create_app(run_environment(folder / "sealpost.db", **settings), instance_path=folder)
    with OAuthProviderServer(certificates.good_context("localhost")) as provider, mail_server(provider) as (mail, _):
        with app.app_context():
            make_alice(is_admin=True)
            config = connected(provider, mail.port)
            with transaction() as session:
                row = oauth_db.find(session, config.row.id)
                assert row
                row.access_ends_at = clock.now() - timedelta(minutes=1)
        provider.next("token", *[oauth_faults.aadsts(7000222, "invalid_client")] * 9)
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{url}/settings/smtp/{config.row.id}"
        server.shutdown()
        thread.join()


def opened(sealpost: str, new_page: NewPage, **options: object) -> Page:
    page = new_page(sealpost.partition("/settings")[0], **options)
    sign_in(page, "alice")
    page.goto(sealpost)
    return page


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "plain"])
def test_a_secret_that_has_expired_is_one_link_from_the_field_for_a_new_one(
    sealpost: str, new_page: NewPage, *, has_script: bool
) -> None:
    page = opened(sealpost, new_page, java_script_enabled=has_script)
    press(page, "Test Connection")
    expect(page.locator('[data-name="token"] .step-word')).to_have_text("Failed")
    fact = "No token: refused, invalid_client, AADSTS7000222"
    expect(page.locator('[data-name="token"] .step-fact')).to_have_text(fact)
    expect(page.locator('[data-name="dns"] .step-word')).to_have_text("Not reached")
    link = report(page).get_by_role("link", name="Enter a new client secret")
    assert (link.get_attribute("href") or "").endswith("/connect#client_secret")
    if not has_script:
        return
    expect_outcome(page, "The client secret has expired")
    for width, height in ((1280, 800), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        assert sideways(page) == []
        if folder := os.environ.get("SCREENSHOTS"):
            page.locator("#test").screenshot(path=f"{folder}/token-{width}.png")
    assert violations(page) == []
