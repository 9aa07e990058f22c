"""Set-up, signing in and out, and what the session's cookies are."""

import re
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from services.accounts import accounts, sessions
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit

HTTPS = {"BASE_URL": "https://mail.example.com"}


def cookies_set(answer: TestResponse) -> dict[str, set[str]]:
    """The attributes of each cookie that an answer sets, by its name."""
    headers = [header.split("; ") for header in answer.headers.getlist("Set-Cookie")]
    return {pair.partition("=")[0]: set(attributes) for pair, *attributes in headers}


def cookie(visitor: Visitor, name: str) -> str:
    held = visitor.get_cookie(f"sealpost_{name}")
    assert held is not None
    return held.value


def copied(app: Flask, visitor: Visitor) -> Visitor:
    """Somebody else with a copy of the session's cookie."""
    thief = visit(app)
    thief.set_cookie("sealpost_session", cookie(visitor, "session"))
    return thief


def set_up_form(code: str) -> dict[str, str]:
    return {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}


def test_home_leads_to_the_setup_while_there_is_no_administrator(app: Flask) -> None:
    assert visit(app).get("/").location == "/setup"


def test_home_leads_to_the_sign_in_page_afterwards(app: Flask) -> None:
    make_alice(is_admin=True)
    assert visit(app).get("/").location == "/login"


def test_home_leads_accounts_to_what_they_may_do_and_is_a_page_of_administrators(app: Flask) -> None:
    make_alice(is_admin=True)
    make_bob()
    for login, outcome in (("alice", (200, None)), ("bob", (302, "/account"))):
        visitor = visit(app)
        visitor.sign_in(login)
        answer = visitor.get("/")
        assert (answer.status_code, answer.location) == outcome


def test_the_setup_makes_an_administrator_who_is_signed_in(app: Flask) -> None:
    visitor = visit(app)
    answer = visitor.post_form("/setup", set_up_form(accounts.issue_setup_code() or ""))
    assert (answer.status_code, answer.location) == (303, "/")
    assert "Set up Sealpost" in visitor.get("/").text


def test_a_wrong_setup_code_is_said_at_its_field(app: Flask) -> None:
    accounts.issue_setup_code()
    answer = visit(app).post_form("/setup", set_up_form("AAAAA-AAAAA-AAAAA-AAAAA"))
    assert answer.status_code == 422
    assert "This set-up code is wrong" in answer.text
    assert PASSWORD not in answer.text


def test_the_setup_is_gone_once_there_is_an_administrator(app: Flask) -> None:
    code = accounts.issue_setup_code() or ""
    make_alice(is_admin=True)
    visitor = visit(app)
    assert visitor.get("/setup").status_code == 404
    assert visitor.post_form("/setup", set_up_form(code)).status_code == 404


def test_tries_at_the_setup_are_limited(app: Flask) -> None:
    accounts.issue_setup_code()
    visitor = visit(app)
    answers = [visitor.post_form("/setup", {"code": "x"}).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_signing_in_leads_home(app: Flask) -> None:
    make_alice(is_admin=True)
    answer = visit(app).sign_in()
    assert (answer.status_code, answer.location) == (303, "/")


def test_signing_in_leads_to_where_one_wanted_to_go(app: Flask) -> None:
    make_alice()
    assert visit(app).sign_in(next="/account?a=1").location == "/account?a=1"


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"])
def test_signing_in_leads_to_no_other_site(app: Flask, wanted: str) -> None:
    make_alice()
    assert visit(app).sign_in(next=wanted).location == "/account"
    visitor = visit(app)
    assert "evil" not in visitor.get("/login", query_string={"next": wanted}).text
    visitor.sign_in()
    assert visitor.get("/login", query_string={"next": wanted}).location == "/account"


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(app: Flask) -> None:
    make_alice()
    answers = []
    for login in ("alice", "malic"):
        visitor = visit(app)
        token = visitor.csrf_token()
        answer = visitor.post("/login", data={"login": login, "password": "wrong", "csrf_token": token})
        text = re.sub(r'(name="csrf_token" value=)"[^"]+"', r"\1", answer.text.replace(login, "LOGIN"))
        headers = {name: value for name, value in answer.headers if name not in ("Set-Cookie", "Date")}
        answers.append((answer.status_code, headers, len(text)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


def test_a_failed_sign_in_does_not_echo_the_password(app: Flask) -> None:
    make_alice()
    answer = visit(app).sign_in(password="a wrong but secret thing")
    assert answer.status_code == 401
    assert "secret thing" not in answer.text


def test_a_login_sent_twice_is_refused(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    fields = {"login": ["alice", "bob"], "password": PASSWORD, "csrf_token": visitor.csrf_token()}
    assert visitor.post("/login", data=fields).status_code == 400


def test_signing_out_ends_the_session(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    assert visitor.post_form("/logout").location == "/login"
    assert not visitor.is_signed_in()


def test_signing_out_needs_a_post(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    assert visitor.get("/logout").status_code == 405
    assert visitor.is_signed_in()


def test_the_csrf_token_is_another_one_after_signing_in(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    before = visitor.csrf_token()
    visitor.sign_in()
    assert visitor.post("/account/sessions/end", data={"csrf_token": before}).status_code == 400


def test_nothing_of_the_session_before_survives_signing_in(app: Flask) -> None:
    make_alice()
    make_bob()
    visitor = visit(app)
    visitor.sign_in("bob", remember="1")
    before = copied(app, visitor)
    visitor.sign_in("alice")
    assert not before.is_signed_in()
    visitor.delete_cookie("sealpost_session")
    assert not visitor.is_signed_in()


@pytest.mark.parametrize("planted", ["a-session-id-that-i-chose", "A" * 43])
def test_a_session_cookie_from_before_signing_in_is_nobodys(app: Flask, planted: str) -> None:
    make_alice()
    visitor = visit(app)
    visitor.set_cookie("sealpost_session", planted)
    attacker = copied(app, visitor)
    assert visitor.sign_in().status_code == 303
    assert cookie(visitor, "session") != planted
    assert not attacker.is_signed_in()


def test_a_raised_epoch_ends_sessions_and_remembered_ones(app: Flask) -> None:
    alice = make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    assert visitor.is_signed_in()
    sessions.end_all(alice.id)
    assert not visitor.is_signed_in()


def max_age(answer: TestResponse) -> set[str]:
    """How long the session's cookie lives; nothing for one that ends with the browser."""
    return {attribute for attribute in cookies_set(answer)["sealpost_session"] if attribute.startswith("Max-Age")}


def test_a_remembered_session_outlives_the_browser(app: Flask) -> None:
    make_alice()
    assert max_age(visit(app).sign_in(remember="1")) == {f"Max-Age={30 * 24 * 3600}"}


def test_another_session_does_not(app: Flask) -> None:
    make_alice()
    assert max_age(visit(app).sign_in()) == set()


@pytest.mark.parametrize(
    "value", ["1:1:1790000000", "eyJfdXNlcl9pZCI6IjEifQ.aaaa.bbbb", "", "x" * 3000, "ü" * 43, "' OR 1=1 --", "%00"]
)
@pytest.mark.parametrize("name", ["sealpost_session", "sealpost_remember", "remember_token"])
def test_a_strange_cookie_is_nobody_and_in_nobodys_way(app: Flask, name: str, value: str) -> None:
    make_alice()
    visitor = visit(app)
    visitor.set_cookie(name, value)
    assert not visitor.is_signed_in()
    assert visitor.sign_in().status_code == 303
    assert visitor.is_signed_in()


def test_a_session_is_not_bound_to_address_or_browser(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    moved = {"User-Agent": "another", "X-Forwarded-For": "192.0.2.1"}
    assert visitor.get("/account", headers=moved).status_code == 200


def test_cookies_over_http_are_httponly_and_samesite(app: Flask) -> None:
    make_alice()
    cookies = cookies_set(visit(app).sign_in(remember="1"))
    assert set(cookies) == {"sealpost_session", "sealpost_device", "sealpost_pages"}
    for attributes in cookies.values():
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
        assert "Secure" not in attributes
        assert not any(attribute.startswith("Domain") for attribute in attributes)


@pytest.fixture
def https_visitor(environment: dict[str, str], tmp_path: Path) -> Visitor:
    """A visitor of an application that is reached by https."""
    app = create_app(environment | HTTPS, instance_path=tmp_path)
    with app.app_context():
        make_alice()
    return visit(app)


def test_cookies_over_https_are_secure_and_bound_to_the_host(https_visitor: Visitor) -> None:
    cookies = cookies_set(https_visitor.sign_in(remember="1"))
    assert set(cookies) == {"__Host-sealpost_session", "__Host-sealpost_device", "__Host-sealpost_pages"}
    for attributes in cookies.values():
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
        assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_signing_out_deletes_the_cookie_in_the_way_that_browsers_heed(https_visitor: Visitor) -> None:
    https_visitor.sign_in(remember="1")
    cookies = cookies_set(https_visitor.post_form("/logout"))
    assert {"Secure", "Path=/", "Max-Age=0"} <= cookies["__Host-sealpost_session"]


@pytest.mark.parametrize("again", ["sign out", "sign in", "sign in remembered"])
def test_an_answer_names_the_session_cookie_once(https_visitor: Visitor, again: str) -> None:
    https_visitor.sign_in(remember="1")
    if again == "sign out":
        answer = https_visitor.post_form("/logout")
    else:
        answer = https_visitor.sign_in(remember="1" if "remembered" in again else "")
    lines = answer.headers.getlist("Set-Cookie")
    assert sum(line.startswith("__Host-sealpost_session=") for line in lines) == 1


def test_the_reset_cookie_over_https_is_secure_and_bound_to_the_host(https_visitor: Visitor) -> None:
    cookies = cookies_set(https_visitor.get("/reset-password?token=abc"))
    expected = {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"}
    assert expected <= cookies["__Host-sealpost_reset"]


def test_the_sign_in_page_leads_to_the_setup_while_nobody_has_an_account(app: Flask) -> None:
    assert visit(app).get("/login").location == "/setup"


def test_a_changed_password_is_the_one_that_signs_in(app: Flask) -> None:
    accounts.change_password(make_alice().id, PASSWORD, NEW_PASSWORD)
    assert visit(app).sign_in().status_code == 401
    assert visit(app).sign_in(password=NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize("path", ["/", "/login", "/account", "/settings/smtp", "/reset-password?token=abc"])
def test_redirects_name_no_host(app: Flask, path: str) -> None:
    make_alice(is_admin=True)
    answer = visit(app).get(path, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
    assert "evil" not in answer.headers.get("Location", "")
    assert "evil" not in answer.text
