"""Lists that grow are shown fifty at a time, each page with a way to the next and back to the first."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from blueprints.paging import PAGE, cut
from database.engine import transaction
from database.user_db import Account
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.personal import templates
from services.settings import configs
from services.settings.fields import parse_change
from tests.visitors import Visitor
from utils import clock

NUMBER = PAGE + 3


def make_servers() -> None:
    for number in range(NUMBER):
        values = {"smtp_server": "smtp.example.com", "from_email": "shop@example.com"}
        configs.create(parse_change({"name": f"Server {number:03}", **values}))


def make_accounts() -> None:
    with transaction() as session:
        for number in range(NUMBER):
            name, email = f"person{number:03}", f"person{number:03}@example.com"
            session.add(
                Account(
                    username=name,
                    username_key=name,
                    email=email,
                    email_key=email,
                    password_hash="",
                    is_admin=False,
                    session_epoch=0,
                    created_at=clock.now(),
                    password_changed_at=clock.now(),
                )
            )


def make_tokens() -> None:
    for number in range(NUMBER):
        api_tokens.create(1, f"token {number:03}", 90, [Scope.SEND])


def make_templates() -> None:
    for number in range(NUMBER):
        values = {"domain": f"d{number:03}.example", "host": "smtp.example.com", "port": "587", "security": "starttls"}
        templates.save(values)


LISTS = {
    "servers": (make_servers, "/settings/smtp", r">Server (\d+)</a>"),
    "accounts": (make_accounts, "/settings/accounts", r">person(\d+)</h2>"),
    "tokens": (make_tokens, "/settings/tokens", r">token (\d+)</h2>"),
    "own tokens": (make_tokens, "/account/tokens", r">token (\d+)</h2>"),
    "templates": (make_templates, "/settings/accounts/smtp/templates", r">d(\d+)\.example</h2>"),
}


@pytest.mark.parametrize(("make", "path", "entry"), LISTS.values(), ids=LISTS.keys())
def test_every_entry_is_on_one_page_and_no_page_is_longer(
    app: Flask, admin: Visitor, make: Callable[[], None], path: str, entry: str
) -> None:
    make()
    seen: list[str] = []
    address = path
    while address:
        page = admin.get(address).text
        assert len(re.findall(r'<li class="row-item', page)) <= PAGE + 1  # and the line of `.env`
        found = re.findall(entry, page)
        assert found
        seen += found
        ways = re.search(r'<nav class="actions pages".*?</nav>', page, re.DOTALL)
        assert ways
        links = re.findall(r'href="([^"]+)">(\w+)<', ways[0])
        assert [text in ("First", "Newest") for _, text in links][:1] == [address != path]
        address = next((link for link, text in links if text in ("Next", "Older")), "").replace("&amp;", "&")
    assert sorted(seen) == [f"{number:03}" for number in range(NUMBER)]
    assert len(seen) == len(set(seen))


def test_a_short_list_has_no_pages(admin: Visitor) -> None:
    for _, path, _ in LISTS.values():
        assert 'class="actions pages"' not in admin.get(path).text


def test_a_filter_goes_along_to_the_next_page(admin: Visitor) -> None:
    make_servers()
    page = admin.get("/settings/smtp?q=Server&state=inactive").text
    assert f"{NUMBER} of {NUMBER}" in page
    assert re.search(r'href="/settings/smtp\?[^"]*q=Server[^"]*state=inactive[^"]*after=\d+"', page)


def test_a_page_whose_beginning_is_gone_is_the_first() -> None:
    assert cut(["a", "b"], str, "gone").items == ["a", "b"]


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE])
def test_what_fits_a_page_has_no_next(number: int) -> None:
    assert cut(range(number), str, "").following == ""


@pytest.mark.parametrize("asked", ["", "%00", "x" * 3000, "1e9", "-1", "’"])
def test_a_senseless_beginning_does_no_harm(admin: Visitor, asked: str) -> None:
    for _, path, _ in LISTS.values():
        assert admin.get(f"{path}?after={asked}&before={asked}").status_code == 200
