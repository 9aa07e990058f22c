"""Servers that can be signed in to by token, on the pages of servers: no barrier, nothing wider than a phone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from app import create_app
from services.personal import own_server
from services.settings.fields import parse_change
from tests import connected_rows
from tests.browser.conftest import NewPage, StartServer
from tests.browser.steps import sign_in
from tests.browser.test_pages import PHONE, show_in, sideways, violations
from tests.connected_rows import MAILBOX
from tests.running import Sealpost

PICTURES = os.environ.get("PICTURES", "")  # a folder to leave screenshots in
PLACES = {
    "list": "/settings/smtp",
    "over": "/settings/smtp/1",
    "password": "/settings/smtp/2",
    "waits": "/settings/smtp/3",
    "policy": "/settings/accounts/smtp/policy",
    "own": "/account/smtp",
    "own connect": "/account/smtp/connect",
}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Iterator[Sealpost]:
    """One whose sign-in is over, one with a password that can be moved over, one that waits; and an own one."""
    running = start_server(with_accounts=True)
    with create_app(running.environment).app_context():
        connected_rows.end_sign_in(connected_rows.connected().row.id)
        connected_rows.stored(name="Old")
        connected_rows.stored("smtp.gmail.com", name="New", auth_method="XOAUTH2")
        values = {"smtp_server": "smtp.office365.com", "smtp_port": 587, "smtp_username": MAILBOX}
        own_server.save(1, parse_change(values | {"smtp_password": "the old password"}))
    yield running


def opened(server: Sealpost, new_page: NewPage, name: str, **options: object) -> Page:
    page = new_page(server.url, **options)
    sign_in(page, "alice")
    page.goto(PLACES[name])
    return page


@pytest.mark.parametrize("name", PLACES)
def test_a_page_has_no_barrier_and_fits_a_phone(server: Sealpost, new_page: NewPage, name: str) -> None:
    page = opened(server, new_page, name)
    themes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for theme in themes:
        show_in(page, theme)
        assert violations(page) == []
    if PICTURES:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)
    page.set_viewport_size(PHONE)
    assert sideways(page) == []
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}-phone.png", full_page=True)


def test_connecting_again_is_one_click_from_the_list(server: Sealpost, new_page: NewPage) -> None:
    page = opened(server, new_page, "list")
    page.get_by_role("region", name="Where mail goes now").get_by_role("link", name="Connect again").click()
    expect(page).to_have_url(f"{server.url}/settings/smtp/1/connect")
    expect(page.get_by_role("heading", name="Connect “Shop”")).to_be_visible()
