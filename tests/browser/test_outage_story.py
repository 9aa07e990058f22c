"""The morning after the night on which the only server died: the administrator finds out why, and mends it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from playwright.sync_api import Page, expect

from app import create_app
from database.engine import db
from services.delivery.circuit import Circuits
from services.outbox import log
from services.smtp.pool import pool
from tests.browser.conftest import NewPage
from tests.browser.in_process import served
from tests.browser.steps import expect_heading, expect_outcome, fill, press, save, settle, sign_in
from tests.outage import LOOK, MAILS, NEW_PASSWORD, Night, night
from tests.running import run_environment
from tests.turned_clock import Now
from tests.visitors import make_alice
from utils import clock

NIGHT = timedelta(hours=8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Flask, str, Night]]:
    """The application, its address, and the night before, of which the present is the morning.

    With DATABASE_URL_OF_STORY it is on that database, which has to be empty.
    """
    turned = Now()
    turned.turn(-NIGHT.total_seconds())
    monkeypatch.setattr(clock, "now", turned)
    environment = run_environment(tmp_path / "story.db", LOCAL_INBOX_PORT="0", EMAIL_HOST="")
    environment["DATABASE_URL"] = os.environ.get("DATABASE_URL_OF_STORY", environment["DATABASE_URL"])
    app = create_app(environment, instance_path=tmp_path)
    app.extensions["sealpost_circuits"] = Circuits(turned.seconds)
    with ExitStack() as stack:
        stack.enter_context(app.app_context())
        upgrade()
        make_alice(is_admin=True)
        story = stack.enter_context(night(turned))
        yield app, stack.enter_context(served(app, int(environment["PORT"]))), story
        db.engine.dispose()
    pool.close()


def photograph(page: Page, name: str) -> None:
    """Take pictures at both widths and in both themes, where somebody asks for them to be put."""
    folder = os.environ.get("PICTURES_OF_STORY")
    if not folder:
        return
    before = page.viewport_size
    for width, height in ((1280, 800), (360, 800)):
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            settle(page)
            page.screenshot(path=Path(folder) / f"{name}_{width}_{theme}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)


def test_the_administrator_sees_why_mends_the_password_and_the_email_goes(
    place: tuple[Flask, str, Night], new_page: NewPage
) -> None:
    _, url, story = place
    stored = story.begin()
    died_at = story.now.moment
    story.queue_all()
    story.pass_time(360, LOOK)
    assert ("no_mail", "firing") in story.told
    assert len(story.ntfy.calls) == len(story.told)
    with story.server(NEW_PASSWORD) as server:  # it comes back in the night, and asks for another password
        story.pass_time(7 * 3600, 3.5 * 3600)
        page = new_page(url, viewport={"width": 1280, "height": 800})
        sign_in(page)
        expect_heading(page, "Home")
        verdict = page.locator("#verdict")
        expect(verdict).to_contain_text("No email gets out")
        expect(verdict).to_contain_text(str(MAILS))
        expect(verdict).to_contain_text("Authentication failed")
        expect(verdict).to_contain_text(f"{died_at:%Y-%m-%d %H:}")
        photograph(page, "home")
        page.goto(f"/settings/smtp/{stored.id}")
        press(page, "Test Connection")
        expect_outcome(page, "User name or password refused")
        photograph(page, "test_failed")
        fill(page, {"Password": NEW_PASSWORD})
        press(page, "Test Connection")
        expect_outcome(page, "Connection successful")
        photograph(page, "test_passed")
        save(page)
        story.pass_time(600)
        assert len(server.mails) == MAILS
        assert log.counts() == {}
        assert story.is_resolved
        page.goto("/")
        expect(verdict).to_contain_text("Mail goes through")
        photograph(page, "home_after")
        page.goto("/emails")
        expect(page.get_by_text("a299@example.com").or_(page.get_by_text("a***@example.com")).first).to_be_visible()
        photograph(page, "log_after")
