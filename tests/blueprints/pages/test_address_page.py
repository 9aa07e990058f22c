"""``/confirm-address``: where the link leads that was mailed to a new address."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from services.accounts import accounts
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import PASSWORD, Visitor, mail_through, make_alice, make_bob, text_of, visit

NEW = "new@example.net"


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture
def alice(app: Flask) -> Visitor:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    return visitor


def token_for(visitor: Visitor, server: RecordingServer, email: str = NEW) -> str:
    visitor.post_form("/account/email", {"email": email, "email_password": PASSWORD})
    drain()
    mail = next(mail for mail in reversed(server.mails) if mail.recipients == (email,))
    found = re.search(r"/confirm-address\?token=([\w-]+)", text_of(mail))
    assert found
    return found[1]


def address() -> str:
    return next(person.email for person in accounts.everybody() if person.username == "alice")


def test_an_address_waits_on_ones_page_and_can_be_withdrawn(alice: Visitor, mail_server: RecordingServer) -> None:
    token = token_for(alice, mail_server)
    assert "is waiting for you to confirm" in alice.get("/account").text
    alice.post_form("/account/email/withdraw")
    assert "is waiting for you to confirm" not in alice.get("/account").text
    assert visit(alice.application).get(f"/confirm-address?token={token}", follow_redirects=True).status_code == 410


def test_a_browser_that_is_signed_out_can_confirm(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = token_for(alice, mail_server)
    phone = visit(app)
    page = phone.get(f"/confirm-address?token={token}", follow_redirects=True)
    assert page.request.path == "/confirm-address"
    assert token not in page.text
    assert NEW in page.text
    assert address() == "alice@example.com"
    assert phone.post_form("/confirm-address").status_code == 303
    assert address() == NEW
    assert alice.is_signed_in()


def test_a_scanner_of_mails_confirms_nothing(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = token_for(alice, mail_server)
    for method in ("HEAD", "GET", "OPTIONS", "GET"):
        visit(app).open(f"/confirm-address?token={token}", method=method, follow_redirects=True)
    assert address() == "alice@example.com"


def test_a_link_that_was_used_says_so(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = token_for(alice, mail_server)
    first, second = visit(app), visit(app)
    for visitor in (first, second):
        visitor.get(f"/confirm-address?token={token}", follow_redirects=True)
    assert first.post_form("/confirm-address").status_code == 303
    answer = second.post_form("/confirm-address")
    assert answer.status_code == 410
    assert "no longer works" in answer.text


@pytest.mark.parametrize("query", ["token=", "token=a&token=b", "token=%00", "token=" + "a" * 500, "token=abc"])
def test_a_link_that_is_bad_is_told_so(app: Flask, query: str) -> None:
    answer = visit(app).get(f"/confirm-address?{query}", follow_redirects=True)
    assert (answer.status_code, "no longer works" in answer.text) == (410, True)


def test_a_visit_without_a_link_is_told_to_open_it(app: Flask) -> None:
    answer = visit(app).get("/confirm-address")
    assert answer.status_code == 400
    assert "Open the link in your email" in answer.text
    assert "no longer works" not in answer.text


def test_an_address_that_another_account_has_by_now_is_told_so(
    app: Flask, alice: Visitor, mail_server: RecordingServer
) -> None:
    token = token_for(alice, mail_server)
    accounts.create("carol", NEW, PASSWORD)
    visitor = visit(app)
    visitor.get(f"/confirm-address?token={token}", follow_redirects=True)
    answer = visitor.post_form("/confirm-address")
    assert answer.status_code == 422
    assert "That address is already in use" in answer.text


def test_the_pages_send_no_referer_and_are_not_kept(app: Flask) -> None:
    for path in ("/confirm-address?token=abc", "/confirm-address"):
        answer = visit(app).get(path)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_link_cannot_be_confirmed_from_another_site(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = token_for(alice, mail_server)
    visitor = visit(app)
    visitor.get(f"/confirm-address?token={token}", follow_redirects=True)
    assert visitor.post("/confirm-address").status_code == 400
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert visitor.post_form("/confirm-address", headers=headers).status_code == 400
    assert address() == "alice@example.com"


def test_ten_links_an_hour_are_mailed_for_an_account(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    answers = [
        alice.post_form("/account/email", {"email": f"n{number}@example.net", "email_password": PASSWORD}).status_code
        for number in range(11)
    ]
    assert answers == [303] * 10 + [429]
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert bob.post_form("/account/email", {"email": NEW, "email_password": PASSWORD}).status_code == 303
