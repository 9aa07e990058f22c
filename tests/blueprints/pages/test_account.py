"""One's own account page: password, address, sessions."""

from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from services.accounts import accounts
from tests.outbox import drain
from tests.recording_server import RecordingServer
from tests.visitors import (
    NEW_PASSWORD,
    PASSWORD,
    Visitor,
    mail_through,
    make_alice,
    make_bob,
    subject_of,
    text_of,
    visit,
)


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


@pytest.fixture
def alice(app: Flask) -> Visitor:
    """Alice, signed in."""
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    return visitor


def change_password(visitor: Visitor, current: str = PASSWORD, new: str = NEW_PASSWORD) -> TestResponse:
    return visitor.post_form("/account/password", {"current_password": current, "password": new})


def change_email(visitor: Visitor, email: str = "new@example.com", password: str = PASSWORD) -> TestResponse:
    return visitor.post_form("/account/email", {"email": email, "email_password": password})


def test_the_page_shows_the_own_name_and_address(alice: Visitor) -> None:
    page = alice.get("/account").text
    assert "alice" in page
    assert "alice@example.com" in page


@pytest.mark.parametrize("path", ["/account/password", "/account/email", "/account/sessions/end"])
def test_nobody_else_gets_in(app: Flask, path: str) -> None:
    make_alice()
    visitor = visit(app)
    assert visitor.get("/account").location == "/login?next=/account"
    assert visitor.post_form(path).location == "/login"


def test_a_new_password_ends_every_other_session_and_not_this_one(app: Flask, alice: Visitor) -> None:
    elsewhere = visit(app)
    elsewhere.sign_in(remember="1")
    assert change_password(alice).status_code == 303
    assert alice.is_signed_in()
    assert not elsewhere.is_signed_in()
    assert visit(app).sign_in(password=NEW_PASSWORD).status_code == 303


def test_a_new_password_makes_another_csrf_token(alice: Visitor) -> None:
    before = alice.csrf_token()
    change_password(alice)
    assert alice.post("/account/sessions/end", data={"csrf_token": before}).status_code == 400


def test_a_remembered_session_stays_remembered_after_a_new_password(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    answer = change_password(visitor)
    kept = next(line for line in answer.headers.getlist("Set-Cookie") if line.startswith("sealpost_session="))
    assert f"Max-Age={30 * 24 * 3600}" in kept
    assert visitor.is_signed_in()


def test_a_new_password_is_followed_by_a_notice(alice: Visitor, mail_server: RecordingServer) -> None:
    change_password(alice)
    drain()
    notice = mail_server.mails[0]
    assert notice.recipients == ("alice@example.com",)
    assert "password was changed" in subject_of(notice)
    assert NEW_PASSWORD not in text_of(notice)


def test_a_wrong_current_password_is_said_at_its_field(alice: Visitor, mail_server: RecordingServer) -> None:
    answer = change_password(alice, current="wrong")
    assert answer.status_code == 422
    assert "not your current password" in answer.text
    drain()
    assert mail_server.mails == []
    assert accounts.authenticate("alice", PASSWORD)


def test_a_common_password_is_said_at_its_field(alice: Visitor) -> None:
    answer = change_password(alice, new="password1234")
    assert answer.status_code == 422
    assert "too common" in answer.text
    assert "password1234" not in answer.text


def test_wrong_current_passwords_are_limited_over_both_forms(app: Flask, alice: Visitor) -> None:
    answers = [change_password(alice, current="wrong").status_code for _ in range(5)]
    answers += [change_email(alice, password="wrong").status_code for _ in range(6)]
    assert answers == [422] * 10 + [429]
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    assert change_password(bob).status_code == 303


def test_other_mistakes_are_not_limited(alice: Visitor) -> None:
    assert {change_password(alice, new="short").status_code for _ in range(15)} == {422}


def test_a_new_address_waits_for_its_link_and_the_old_one_is_warned(
    alice: Visitor, mail_server: RecordingServer
) -> None:
    assert change_email(alice).status_code == 303
    page = alice.get("/account").text
    assert "alice@example.com" in page
    assert "new@example.com is waiting for you to confirm it" in page
    drain()
    told = {mail.recipients[0]: text_of(mail) for mail in mail_server.mails}
    assert set(told) == {"alice@example.com", "new@example.com"}
    assert "n***@example.com" in told["alice@example.com"]


def test_a_new_address_needs_the_password(alice: Visitor) -> None:
    answer = change_email(alice, password="wrong")
    assert answer.status_code == 422
    assert "not your current password" in answer.text
    assert 'value="new@example.com"' in answer.text


@pytest.mark.parametrize("email", ["", "new", "a@x.example, b@x.example", "a@x.example\r\nBcc: b@x.example"])
def test_what_is_no_address_is_refused(alice: Visitor, email: str) -> None:
    assert change_email(alice, email).status_code == 422
    assert "alice@example.com" in alice.get("/account").text


def test_ending_sessions_ends_every_other_and_not_this_one(app: Flask, alice: Visitor) -> None:
    elsewhere = visit(app)
    elsewhere.sign_in(remember="1")
    assert alice.post_form("/account/sessions/end").status_code == 303
    assert alice.is_signed_in()
    assert not elsewhere.is_signed_in()


def test_one_cannot_change_another_account(app: Flask, alice: Visitor) -> None:
    bob = make_bob()
    fields = {"current_password": PASSWORD, "password": NEW_PASSWORD, "account_id": bob.id, "username": "bob"}
    alice.post_form(f"/account/password?account_id={bob.id}&username=bob", fields)
    assert accounts.authenticate("bob", PASSWORD)
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_name_is_shown_and_never_markup(app: Flask) -> None:
    accounts.create("<script>alert(1)</script>", "x@example.com", PASSWORD)
    visitor = visit(app)
    visitor.sign_in("x@example.com")
    assert "<script>alert" not in visitor.get("/account").text
