"""An administrator connects Grafana: its lines, an email by these very values, and what the page says of it."""

import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask_migrate import upgrade
from playwright.sync_api import expect

from app import create_app
from database.engine import db
from tests.browser.conftest import NewPage
from tests.browser.in_process import served
from tests.browser.steps import expect_heading, press, scripted, sign_in
from tests.gateway import RunningGateway
from tests.patience import PATIENCE
from tests.running import run_environment
from tests.visitors import make_alice


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Sealpost with its gateway."""
    environment = run_environment(tmp_path / "story.db", LOCAL_INBOX_PORT="0", SUBMISSION_LISTEN="127.0.0.1:0")
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        upgrade()
        make_alice(is_admin=True)
        with RunningGateway(app), served(app, int(environment["PORT"])) as url:
            yield url
        db.engine.dispose()


def send(lines: dict[str, str], sender: str) -> None:
    """As Grafana does, by its own settings."""
    host, _, port = lines["GF_SMTP_HOST"].partition(":")
    with smtplib.SMTP(host, int(port), timeout=PATIENCE) as connection:
        connection.login(lines["GF_SMTP_USER"], lines["GF_SMTP_PASSWORD"])
        message = f"From: {sender}\r\nTo: jane@example.com\r\nSubject: Alert\r\n\r\nIt fires.\r\n"
        connection.sendmail(sender, ["jane@example.com"], message)


def test_grafana_is_connected_refused_and_then_its_first_email_comes(url: str, new_page: NewPage) -> None:
    page = new_page(url)
    sign_in(page)
    page.goto("/settings/gateway")
    expect(page.get_by_text("The gateway is on.")).to_be_visible()
    scripted(page.get_by_label("Application", exact=True)).select_option(label="Grafana")
    press(page, "Connect")
    expect_heading(page, "Connect Grafana")
    shown = page.get_by_role("region", name="Lines for Environment").inner_text()
    lines: dict[str, str] = dict(line.split("=", 1) for line in shown.splitlines())
    watched = page.get_by_role("list", name="Application")
    expect(watched).to_contain_text("Waiting for its first email…")
    expect(watched).to_be_in_viewport()

    with pytest.raises(smtplib.SMTPDataError):
        send(lines, "boss@example.com")
    expect(watched).to_contain_text("It connected from 127.0.0.1 and was refused")
    expect(watched).to_contain_text("550: Your account may not send from the From address.")

    send(lines, lines["GF_SMTP_FROM_ADDRESS"])
    expect(watched).to_contain_text("Its first email came")
    watched.get_by_role("link", name="See it in the mail log").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert "/emails/" in page.url
