"""The pages of a forgotten password: the same answer for everybody, and a token that stays out of sight."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from app import create_app
from database.engine import db
from services.accounts import accounts, administration
from tests.outbox import answer_requests
from tests.recording_server import RecordingServer
from tests.services.accounts.test_password_reset import age_tokens
from tests.statements import heard
from tests.visitors import (
    NEW_PASSWORD,
    PASSWORD,
    Visitor,
    link_in,
    mail_through,
    make_alice,
    make_bob,
    visit,
)

BASE_URL = "http://localhost:5000"


@pytest.fixture
def mail_server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str], mail_server: RecordingServer) -> dict[str, str]:
    return environment | mail_through(mail_server)


def ask(visitor: Visitor, address: str, **kwargs: Any) -> TestResponse:
    return visitor.post_form("/forgot-password", {"email": address}, **kwargs)


def mailed_token(app: Flask, mail_server: RecordingServer, address: str = "alice@example.com") -> str:
    """Ask in a browser, let the worker answer, and take the token from the mail."""
    ask(visit(app), address)
    answer_requests()
    return link_in(mail_server.mails[-1])[1]


def follow(visitor: Visitor, token: str) -> TestResponse:
    return visitor.get(f"/reset-password?token={token}", follow_redirects=True)


def choose(visitor: Visitor, password: str = NEW_PASSWORD, **kwargs: Any) -> TestResponse:
    return visitor.post_form("/reset-password", {"password": password}, **kwargs)


def test_the_whole_story(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    visitor = visit(app)
    assert follow(visitor, token).status_code == 200
    answer = choose(visitor)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert not visitor.is_signed_in()
    assert visitor.sign_in(password=NEW_PASSWORD).status_code == 303


def test_a_reset_in_a_fresh_browser_ends_the_session_in_another(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    elsewhere = visit(app)
    elsewhere.sign_in(remember="1")
    fresh = visit(app)
    follow(fresh, mailed_token(app, mail_server))
    choose(fresh)
    assert not elsewhere.is_signed_in()


def statements_of(visitor: Visitor, address: str) -> list[str]:
    """What is sent to the database while a reset is asked for, its parameters aside."""
    token = visitor.csrf_token()
    statements: list[str] = []
    with heard(db.engine, lambda statement, _: statements.append(statement)):
        visitor.post("/forgot-password", data={"email": address, "csrf_token": token})
    return statements


def test_known_and_unknown_addresses_run_the_same_statements(app: Flask) -> None:
    make_alice()
    known = statements_of(visit(app), "alice@example.com")
    unknown = statements_of(visit(app), "nobody@example.com")
    assert known == unknown
    assert sum("INSERT INTO reset_request" in statement for statement in known) == 1


def test_the_request_does_not_read_the_accounts(app: Flask) -> None:
    make_alice()
    statements = statements_of(visit(app), "alice@example.com")
    assert not [statement for statement in statements if "FROM account" in statement]
    assert not [statement for statement in statements if "reset_token" in statement]


def test_known_and_unknown_addresses_get_the_same_answer(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    answers = []
    for address in ("alice@example.com", "nobody@example.com"):
        answer = ask(visit(app), address)
        headers = [(name, value) for name, value in answer.headers if name not in ("Set-Cookie", "Date")]
        answers.append((answer.status_code, headers, answer.text))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200


def test_the_limit_of_an_account_does_not_show(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    visitor = visit(app)
    answers = set()
    for _ in range(5):
        answers.add(ask(visitor, "alice@example.com").text)
        answer_requests()
    assert len(answers) == 1
    assert len(mail_server.mails) == 3


def test_asking_is_limited_to_ten_an_hour_per_client(app: Flask) -> None:
    visitor = visit(app)
    answers = [ask(visitor, f"somebody{number}@example.com").status_code for number in range(11)]
    assert answers == [200] * 10 + [429]


POISONED_HEADERS: list[list[tuple[str, str]]] = [
    [("Host", "evil.example")],
    [("Host", "localhost:5000@evil.example")],
    [("Host", "localhost:5000.evil.example")],
    [("Host", "evil.example:5000")],
    [("Host", "localhost:5000, evil.example")],
    [("X-Forwarded-Host", "evil.example")],
    [("X-Forwarded-Host", "evil.example, localhost:5000")],
    [("X-Forwarded-Host", "localhost:5000"), ("X-Forwarded-Host", "evil.example")],
    [("X-Host", "evil.example")],
    [("X-Original-Host", "evil.example"), ("X-Forwarded-Server", "evil.example")],
    [("X-HTTP-Host-Override", "evil.example")],
    [("Forwarded", "host=evil.example;proto=https")],
    [("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "1337"), ("X-Forwarded-Prefix", "/evil")],
    [("X-Original-URL", "https://evil.example/"), ("X-Rewrite-URL", "https://evil.example/")],
    [("Referer", "https://evil.example/")],
]


def ask_poisoned(app: Flask, headers: list[tuple[str, str]], **kwargs: Any) -> int:
    """Ask with the session's own cookie, which a test client would not send to another host by itself."""
    visitor = visit(app)
    fields = {"email": "alice@example.com", "csrf_token": visitor.csrf_token()}
    cookie = visitor.get_cookie("sealpost_pages")
    assert cookie is not None
    bare = Visitor(app, app.response_class, use_cookies=False)
    sent = Headers([*headers, ("Cookie", f"sealpost_pages={cookie.value}")])
    return bare.post("/forgot-password", data=fields, headers=sent, **kwargs).status_code


@pytest.mark.parametrize("trusted_proxies", ["0", "1"])
@pytest.mark.parametrize("headers", POISONED_HEADERS)
def test_no_header_changes_where_the_link_leads(
    environment: dict[str, str],
    tmp_path: Path,
    mail_server: RecordingServer,
    headers: list[tuple[str, str]],
    trusted_proxies: str,
) -> None:
    app = create_app(environment | {"TRUSTED_PROXIES": trusted_proxies}, instance_path=tmp_path)
    with app.app_context():
        make_alice()
        status = ask_poisoned(app, headers)
        answer_requests()
    links = [link_in(mail)[0] for mail in mail_server.mails]
    assert (status, links) in ((200, [BASE_URL]), (400, []))
    assert b"evil" not in b"".join(mail.content for mail in mail_server.mails)


def test_an_absolute_request_line_does_not_change_where_the_link_leads(
    app: Flask, mail_server: RecordingServer
) -> None:
    make_alice()
    assert ask_poisoned(app, [], base_url="http://evil.example") == 200
    answer_requests()
    assert link_in(mail_server.mails[0])[0] == BASE_URL


@pytest.mark.parametrize(
    "fields",
    [
        {"email": ["alice@example.com", "mallory@example.net"]},
        {"email": ["mallory@example.net", "alice@example.com"]},
        {"email[]": ["alice@example.com", "mallory@example.net"]},
        {"email[0]": "alice@example.com", "email[1]": "mallory@example.net"},
        {"email": "alice@example.com,mallory@example.net"},
        {"email": "alice@example.com%0d%0aBcc:mallory@example.net"},
        {"email": "alice@example.com\r\nBcc: mallory@example.net"},
        {"email": "alice@example.com|mallory@example.net"},
        {"email": '["alice@example.com", "mallory@example.net"]'},
        {"email": '{"email": "alice@example.com"}'},
        {},
    ],
)
def test_a_form_with_more_or_less_than_one_address_mails_nobody(
    app: Flask, mail_server: RecordingServer, fields: dict[str, Any]
) -> None:
    make_alice()
    assert visit(app).post_form("/forgot-password", fields).status_code in (400, 422)
    answer_requests()
    assert mail_server.mails == []


@pytest.mark.parametrize("body", [["alice@example.com"], {"email": ["alice@example.com", "m@example.net"]}])
def test_a_json_body_mails_nobody(app: Flask, mail_server: RecordingServer, body: object) -> None:
    make_alice()
    visitor = visit(app)
    answer = visitor.post("/forgot-password", json=body, headers={"X-CSRFToken": visitor.csrf_token()})
    assert answer.status_code == 422
    answer_requests()
    assert mail_server.mails == []


def test_a_further_field_changes_nothing(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    fields = {"email": "alice@example.com", "to": "mallory@example.net", "cc": "mallory@example.net"}
    visit(app).post_form("/forgot-password?email=mallory@example.net", fields)
    answer_requests()
    assert [mail.recipients for mail in mail_server.mails] == [("alice@example.com",)]


def test_the_link_is_swapped_for_a_cookie_and_the_bare_path(app: Flask) -> None:
    visitor = visit(app)
    answer = visitor.get("/reset-password?token=abc")
    assert (answer.status_code, answer.location) == (303, "/reset-password")
    assert "abc" not in answer.text
    cookie = visitor.get_cookie("sealpost_reset", path="/reset-password")
    assert cookie is not None
    assert (cookie.value, cookie.http_only, cookie.same_site, cookie.max_age) == ("abc", True, "Lax", 600)


@pytest.mark.parametrize(("minutes", "left"), [(0, 60), (20, 40), (59, 1)])
def test_the_page_lives_as_long_as_its_link(app: Flask, mail_server: RecordingServer, minutes: int, left: int) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    age_tokens(timedelta(minutes=minutes))
    visitor = visit(app)
    follow(visitor, token)
    cookie = visitor.get_cookie("sealpost_reset", path="/reset-password")
    assert cookie is not None
    assert cookie.max_age is not None
    assert left * 60 - 60 < cookie.max_age <= left * 60
    assert choose(visitor).status_code == 303


def test_a_form_that_was_open_for_longer_than_its_link_is_told_so(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    visitor = visit(app)
    follow(visitor, mailed_token(app, mail_server))
    age_tokens(timedelta(minutes=60))
    visitor.delete_cookie("sealpost_reset", path="/reset-password")  # as the browser does at that time
    answer = choose(visitor)
    assert answer.status_code == 410
    assert "no longer works" in answer.text


def test_a_visit_without_a_link_is_not_told_that_the_link_is_bad(app: Flask) -> None:
    answer = visit(app).get("/reset-password")
    assert answer.status_code == 400
    assert "Open the link in your email" in answer.text
    assert "no longer works" not in answer.text


def test_a_browser_that_keeps_no_cookies_is_told_what_to_do(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    bare = Visitor(app, app.response_class, use_cookies=False)
    answer = bare.get(f"/reset-password?token={token}", follow_redirects=True)
    assert answer.status_code == 400
    assert "cookies" in answer.text


def test_the_form_names_the_account_for_password_managers(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    form = follow(visit(app), mailed_token(app, mail_server)).text
    (field,) = re.findall(r'<input[^>]*name="username"[^>]*>', form)
    for attribute in ('type="text"', 'value="alice"', 'autocomplete="username"', " readonly"):
        assert attribute in field
    assert form.index('name="username"') < form.index('name="password"')


@pytest.mark.parametrize("used", [0, 1])
def test_a_second_request_leaves_the_first_link_good_until_one_is_used(
    app: Flask, mail_server: RecordingServer, used: int
) -> None:
    make_alice()
    links = [mailed_token(app, mail_server), mailed_token(app, mail_server)]
    visitors = [visit(app), visit(app)]
    for visitor, link in zip(visitors, links, strict=True):
        assert follow(visitor, link).status_code == 200
    assert choose(visitors[used]).status_code == 303
    assert choose(visitors[1 - used], "another password altogether").status_code == 410
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_disabled_account_gets_the_same_answer_and_no_mail(app: Flask, mail_server: RecordingServer) -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob().id)
    answers = [ask(visit(app), address) for address in ("bob@example.com", "nobody@example.com")]
    assert answers[0].text == answers[1].text
    assert answer_requests() == 2
    assert mail_server.mails == []


def test_disabled_known_and_unknown_addresses_run_the_same_statements(app: Flask) -> None:
    make_alice(is_admin=True)
    administration.disable(make_bob().id)
    known, disabled, unknown = (statements_of(visit(app), f"{name}@example.com") for name in ("alice", "bob", "nobody"))
    assert known == disabled == unknown


@pytest.mark.parametrize("path", ["/reset-password?token=abc", "/reset-password"])
def test_the_reset_pages_send_no_referer_and_are_not_kept(app: Flask, path: str) -> None:
    answer = visit(app).get(path)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("query", ["token=", "token=a&token=b", "token=%00", "token=" + "a" * 500])
def test_a_link_without_one_whole_token_is_no_longer_good(app: Flask, query: str) -> None:
    answer = visit(app).get(f"/reset-password?{query}", follow_redirects=True)
    assert answer.status_code == 410
    assert "no longer works" in answer.text


def test_the_form_does_not_hold_the_token(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    assert token not in follow(visit(app), token).text


def test_a_mail_scanner_does_not_use_the_link_up(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    for method in ("HEAD", "GET", "OPTIONS", "HEAD", "GET"):
        visit(app).open(f"/reset-password?token={token}", method=method, follow_redirects=True)
    visitor = visit(app)
    follow(visitor, token)
    assert choose(visitor).status_code == 303


def test_a_used_link_says_that_it_no_longer_works(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    first, second = visit(app), visit(app)
    follow(first, token)
    follow(second, token)
    assert choose(first).status_code == 303
    assert choose(second, "another password altogether").status_code == 410
    assert follow(visit(app), token).status_code == 410
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_refused_password_is_said_at_its_field_and_may_be_tried_again(
    app: Flask, mail_server: RecordingServer
) -> None:
    make_alice()
    visitor = visit(app)
    follow(visitor, mailed_token(app, mail_server))
    answer = choose(visitor, "password1234")
    assert answer.status_code == 422
    assert "too common" in answer.text
    assert "password1234" not in answer.text
    assert choose(visitor).status_code == 303


def test_the_cookie_is_gone_after_the_reset(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    visitor = visit(app)
    follow(visitor, mailed_token(app, mail_server))
    choose(visitor)
    assert visitor.get_cookie("sealpost_reset", path="/reset-password") is None


def test_a_token_for_alice_cannot_name_bob(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    make_bob()
    token = mailed_token(app, mail_server)
    visitor = visit(app)
    follow(visitor, token)
    fields = {"password": NEW_PASSWORD, "email": "bob@example.com", "username": "bob", "account_id": "2", "id": "2"}
    visitor.post_form("/reset-password?email=bob@example.com&user=bob", fields)
    assert accounts.authenticate("bob", PASSWORD)
    assert accounts.authenticate("alice", NEW_PASSWORD)


def test_a_token_in_the_form_does_not_count(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    token = mailed_token(app, mail_server)
    answer = visit(app).post_form("/reset-password", {"token": token, "password": NEW_PASSWORD})
    assert answer.status_code == 410
    assert accounts.authenticate("alice", PASSWORD)


def test_a_browser_that_hides_the_origin_can_reset(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    visitor = visit(app)
    follow(visitor, mailed_token(app, mail_server))
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    assert choose(visitor, headers=headers).status_code == 303


def test_whoever_is_signed_in_here_is_signed_out_by_a_reset(app: Flask, mail_server: RecordingServer) -> None:
    make_alice()
    make_bob()
    visitor = visit(app)
    visitor.sign_in("bob", remember="1")
    follow(visitor, mailed_token(app, mail_server))
    choose(visitor)
    assert not visitor.is_signed_in()
