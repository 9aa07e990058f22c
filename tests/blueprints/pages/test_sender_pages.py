"""``/account/senders``, and ``/confirm-sender``, where the links lead that were mailed to senders."""

import re

import pytest
from flask import Flask

from services.accounts import accounts
from services.personal import senders
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, mail_through, make_alice, make_bob, text_of, visit

SALES = "sales@shop.example"


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture
def alice(app: Flask) -> Visitor:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    return visitor


def token_for(server: RecordingServer, email: str = SALES) -> str:
    drain()
    mail = next(mail for mail in reversed(server.mails) if mail.recipients == (email,))
    found = re.search(r"/confirm-sender\?token=([\w-]+)", text_of(mail))
    assert found
    return found[1]


def added(visitor: Visitor, server: RecordingServer) -> str:
    """The token of the link that is mailed for a new sender."""
    assert visitor.post_form("/account/senders", {"sender_email": SALES}).status_code == 303
    return token_for(server)


def alice_may_use(email: str = SALES) -> bool:
    return senders.may_use(accounts.everybody()[0].id, email)


def test_a_sender_waits_on_ones_page_until_its_link_is_followed(alice: Visitor, mail_server: RecordingServer) -> None:
    token = added(alice, mail_server)
    assert "Not confirmed yet" in alice.get("/account/senders").text
    phone = visit(alice.application)
    page = phone.get(f"/confirm-sender?token={token}", follow_redirects=True)
    assert page.request.path == "/confirm-sender"
    assert token not in page.text
    assert SALES in page.text
    assert not alice_may_use()
    assert phone.post_form("/confirm-sender").status_code == 303
    assert alice_may_use()
    page = alice.get("/account/senders")
    assert "Not confirmed yet" not in page.text
    assert "Confirmed" in page.text


def test_a_scanner_of_mails_confirms_nothing(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = added(alice, mail_server)
    for method in ("HEAD", "GET", "OPTIONS", "GET"):
        visit(app).open(f"/confirm-sender?token={token}", method=method, follow_redirects=True)
    assert not alice_may_use()


def test_a_link_that_was_used_says_so(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = added(alice, mail_server)
    first, second = visit(app), visit(app)
    for visitor in (first, second):
        visitor.get(f"/confirm-sender?token={token}", follow_redirects=True)
    assert first.post_form("/confirm-sender").status_code == 303
    answer = second.post_form("/confirm-sender")
    assert answer.status_code == 410
    assert "no longer works" in answer.text


@pytest.mark.parametrize("query", ["token=", "token=a&token=b", "token=%00", "token=" + "a" * 500, "token=abc"])
def test_a_link_that_is_bad_is_told_so(app: Flask, query: str) -> None:
    answer = visit(app).get(f"/confirm-sender?{query}", follow_redirects=True)
    assert (answer.status_code, "no longer works" in answer.text) == (410, True)


def test_a_visit_without_a_link_is_told_to_open_it(app: Flask) -> None:
    answer = visit(app).get("/confirm-sender")
    assert answer.status_code == 400
    assert "Open the link in your email" in answer.text


def test_the_pages_send_no_referer_and_are_not_kept(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    token = added(alice, mail_server)
    visitor = visit(app)
    for path in (f"/confirm-sender?token={token}", "/confirm-sender"):
        answer = visitor.get(path)
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_link_cannot_be_confirmed_from_another_site(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    visitor = visit(app)
    visitor.get(f"/confirm-sender?token={added(alice, mail_server)}", follow_redirects=True)
    assert visitor.post("/confirm-sender").status_code == 400
    assert visitor.post_form("/confirm-sender", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 400
    assert not alice_may_use()


@pytest.mark.parametrize("email", ["", "sales", "a@x.example, b@y.example", "Sales <sales@shop.example>"])
def test_what_is_no_address_is_told_so_at_its_field(alice: Visitor, email: str) -> None:
    answer = alice.post_form("/account/senders", {"sender_email": email})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert drain() == 0


def test_another_link_can_be_mailed_and_a_sender_be_removed(alice: Visitor, mail_server: RecordingServer) -> None:
    first = added(alice, mail_server)
    sender_id = senders.every(accounts.everybody()[0].id)[0].id
    assert alice.post_form(f"/account/senders/{sender_id}/again").status_code == 303
    assert token_for(mail_server) != first
    assert alice.post_form(f"/account/senders/{sender_id}/remove").status_code == 303
    page = alice.get("/account/senders").text
    assert "Removed sales@shop.example." in page
    assert "Not confirmed yet" not in page


def test_nobody_removes_another_persons_sender(app: Flask, alice: Visitor, mail_server: RecordingServer) -> None:
    added(alice, mail_server)
    sender_id = senders.every(accounts.everybody()[0].id)[0].id
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert SALES not in bob.get("/account/senders").text
    for deed in ("again", "remove"):
        assert bob.post_form(f"/account/senders/{sender_id}/{deed}").status_code == 404
    assert len(senders.every(accounts.everybody()[0].id)) == 1


def test_whoever_has_too_many_links_mailed_is_told_when_to_go_on(alice: Visitor) -> None:
    answers = [alice.post_form("/account/senders", {"sender_email": SALES}).status_code for _ in range(4)]
    assert answers == [303] * 3 + [429]


def test_whoever_adds_one_beside_the_server_comes_back_there(alice: Visitor) -> None:
    assert 'name="beside_server"' in alice.get("/account/smtp").text
    assert 'name="beside_server"' not in alice.get("/account/senders").text
    there = alice.post_form("/account/senders", {"sender_email": SALES, "beside_server": "1"})
    assert there.location == "/account/smtp#senders"
    assert alice.post_form("/account/senders", {"sender_email": SALES}).location == "/account/senders"
