"""``/settings/accounts/smtp``: what administrators see of accounts' servers and decide about them; nobody else does."""

import re

import pytest
from flask import Flask

from database.engine import transaction
from database.user_db import Account
from services import audit
from services.personal import oversight
from services.personal.oversight import Decision
from tests.blueprints.pages.test_people_page import let_time_pass, signed_in
from tests.services.personal.own_rows import own_row
from tests.visitors import PASSWORD, Visitor, make_bob, visit
from utils import clock

PAGE = "/settings/accounts/smtp"


@pytest.fixture
def bob(admin: Visitor) -> int:
    return make_bob().id


@pytest.mark.parametrize("path", ["", "/1/disable", "/1/limits", "/policy", "/templates"])
def test_nobody_else_gets_in(app: Flask, bob: int, path: str) -> None:
    assert signed_in(app, "bob").get(PAGE + path).status_code == 403
    assert visit(app).get(PAGE + path).status_code == 303


def test_the_page_says_what_each_server_is_and_nothing_secret(admin: Visitor, bob: int) -> None:
    assert "No account has its own server" in admin.get(PAGE).text
    own_row(bob, last_error="Authentication failed", fell_back=2)
    page = admin.get(PAGE).text
    for text in (
        "bob",
        "smtp.example.com:587",
        "From me@example.com",
        "Broken",
        "Authentication failed",
        "Fell back 2",
    ):
        assert text in page
    assert "s3cret" not in page
    assert "gAAAA" not in page


@pytest.mark.parametrize(("deed", "decision"), [("disable", Decision.DISABLED), ("global", Decision.GLOBAL)])
def test_a_decision_is_asked_for_made_and_taken_back(admin: Visitor, bob: int, deed: str, decision: Decision) -> None:
    own_row(bob)
    assert "bob" in admin.get(f"{PAGE}/{bob}/{deed}").text
    assert admin.post_form(f"{PAGE}/{bob}/{deed}", {"seen": "own"}).status_code == 303
    assert oversight.get(bob).decision is decision
    assert "Allow again: bob" in admin.get(PAGE).text
    assert admin.get(f"{PAGE}/{bob}/{deed}").status_code == 404
    assert admin.post_form(f"{PAGE}/{bob}/allow", {"seen": str(decision)}).status_code == 303
    assert oversight.get(bob).decision is Decision.OWN
    assert {event.actor for event in audit.events(text="account bob") if event.action.startswith("own_")} == {"alice"}


def test_what_somebody_else_decided_meanwhile_is_told(admin: Visitor, bob: int) -> None:
    own_row(bob)
    oversight.decide(bob, Decision.GLOBAL)
    answer = admin.post_form(f"{PAGE}/{bob}/disable", {"seen": "own"})
    assert (answer.status_code, oversight.STALE in answer.text) == (409, True)
    assert oversight.get(bob).decision is Decision.GLOBAL


def test_a_server_is_deleted_once_it_was_asked(admin: Visitor, bob: int) -> None:
    config_id = own_row(bob)
    page = admin.get(f"{PAGE}/{bob}/delete").text
    assert f'name="config_id" value="{config_id}"' in page
    assert admin.post_form(f"{PAGE}/{bob}/delete", {"version": "7", "config_id": config_id}).status_code == 409
    assert admin.post_form(f"{PAGE}/{bob}/delete", {"version": "1", "config_id": config_id}).status_code == 303
    assert not oversight.get(bob).host
    answer = admin.post_form(f"{PAGE}/{bob}/delete", {"version": "1", "config_id": config_id})
    assert (answer.status_code, oversight.NO_SERVER in answer.text) == (404, True)


def test_a_decision_asks_for_the_password_after_ten_minutes(admin: Visitor, bob: int) -> None:
    own_row(bob)
    let_time_pass()
    answer = admin.post_form(f"{PAGE}/{bob}/disable", {"seen": "own"})
    assert (answer.status_code, "Current password" in answer.text) == (422, True)
    assert oversight.get(bob).decision is Decision.OWN
    assert admin.post_form(f"{PAGE}/{bob}/disable", {"seen": "own", "confirm_password": PASSWORD}).status_code == 303


@pytest.mark.parametrize("path", ["/99/disable", "/99/limits", "/1/read", "/1/test", "/2147483648/delete"])
def test_what_there_is_not(admin: Visitor, bob: int, path: str) -> None:
    assert admin.get(PAGE + path).status_code == 404
    assert admin.post_form(PAGE + path).status_code == 404


def test_the_limits_of_one_account(admin: Visitor, bob: int) -> None:
    fields = {"emails_per_minute": " 5 ", "emails_per_day": "", "seen_emails_per_minute": "", "seen_emails_per_day": ""}
    assert admin.post_form(f"{PAGE}/{bob}/limits", fields).status_code == 303
    assert 'value="5"' in admin.get(f"{PAGE}/{bob}/limits").text
    assert "5 per minute" in admin.get(PAGE).text
    again = admin.post_form(f"{PAGE}/{bob}/limits", {**fields, "emails_per_minute": "9"})
    assert (again.status_code, "Saved in the meantime: 5 per minute" in again.text, 'value="9"' in again.text) == (
        409,
        True,
        True,
    )


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "٣", "9" * 30, "10000001", "1e3"])
def test_what_is_no_limit_stands_in_the_form_again(admin: Visitor, bob: int, text: str) -> None:
    answer = admin.post_form(f"{PAGE}/{bob}/limits", {"emails_per_minute": text, "emails_per_day": "7"})
    assert answer.status_code == 422
    assert re.search(rf'name="emails_per_minute"[^>]* value="{re.escape(text)}"', answer.text)
    assert oversight.get(bob).emails_per_day is None


def test_above_fifty_there_are_pages_and_the_way_back_keeps_the_search(admin: Visitor) -> None:
    now = clock.now()
    with transaction() as session:  # the hashing of 52 passwords would take long
        people = [
            Account(
                username=f"user{number}", username_key=f"user{number}", email=f"u{number}@example.com",
                email_key=f"u{number}@example.com", password_hash="", created_at=now, password_changed_at=now,
            )
            for number in range(52)
        ]  # fmt: skip
        session.add_all(people)
    for person in people:
        own_row(person.id)
    page = admin.get(PAGE).text
    assert page.count('class="row-item"') == 50
    older = re.search(r'href="([^"]+)">Next<', page)
    assert older
    following = admin.get(older[1].replace("&amp;", "&")).text
    assert following.count('class="row-item"') == 2
    found = admin.get(f"{PAGE}?q=user7&show=all").text
    assert re.search(r"/limits\?back=q%3Duser7%26show%3Dall", found)
