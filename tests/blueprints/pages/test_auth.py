"""Set-up, signing in and out, and what the session's cookies are."""

import re
import time
from pathlib import Path

import pytest
from flask import Flask
from flask_login.utils import encode_cookie
from itsdangerous import TimestampSigner
from werkzeug.test import TestResponse

from app import create_app
from services.accounts import accounts
from tests.visitors import NEW_PASSWORD, PASSWORD, Visitor, make_alice, make_bob, visit

HTTPS = {"BASE_URL": "https://mail.example.com"}


def cookies_set(answer: TestResponse) -> dict[str, set[str]]:
    """The attributes of each cookie that an answer sets, by its name."""
    headers = [header.split("; ") for header in answer.headers.getlist("Set-Cookie")]
    return {pair.partition("=")[0]: set(attributes) for pair, *attributes in headers}


def set_up_form(code: str) -> dict[str, str]:
    return {"code": code, "username": "alice", "email": "alice@example.com", "password": PASSWORD}


def test_home_leads_to_the_setup_while_there_is_no_administrator(app: Flask) -> None:
    assert visit(app).get("/").location == "/setup"


def test_home_leads_to_the_sign_in_page_afterwards(app: Flask) -> None:
    make_alice(is_admin=True)
    assert visit(app).get("/").location == "/login"


@pytest.mark.parametrize(("is_admin", "home"), [(True, "/settings/smtp"), (False, "/account")])
def test_home_leads_to_what_one_may_do(app: Flask, is_admin: bool, home: str) -> None:
    make_alice(is_admin=is_admin)
    visitor = visit(app)
    visitor.sign_in()
    assert visitor.get("/").location == home


def test_the_setup_makes_an_administrator_who_is_signed_in(app: Flask) -> None:
    visitor = visit(app)
    answer = visitor.post_form("/setup", set_up_form(accounts.issue_setup_code() or ""))
    assert (answer.status_code, answer.location) == (303, "/settings/smtp")
    assert visitor.get("/settings/smtp").status_code == 200


def test_a_wrong_setup_code_is_said_at_its_field(app: Flask) -> None:
    accounts.issue_setup_code()
    answer = visit(app).post_form("/setup", set_up_form("AAAAA-AAAAA-AAAAA-AAAAA"))
    assert answer.status_code == 422
    assert "not a code of this server" in answer.text
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
    assert (answer.status_code, answer.location) == (303, "/settings/smtp")


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
    visitor.sign_in("alice")
    visitor.delete_cookie("sealpost_session")
    assert not visitor.is_signed_in()


def test_a_session_cookie_from_before_signing_in_is_nobodys(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.csrf_token()
    planted = visitor.get_cookie("sealpost_session")
    assert planted is not None
    visitor.sign_in()
    attacker = visit(app)
    attacker.set_cookie("sealpost_session", planted.value)
    assert not attacker.is_signed_in()


def test_a_raised_epoch_ends_sessions_and_remembered_ones(app: Flask) -> None:
    alice = make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    assert visitor.is_signed_in()
    accounts.end_sessions(alice.id)
    assert not visitor.is_signed_in()


def test_a_remembered_session_outlives_the_browser(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in(remember="1")
    visitor.delete_cookie("sealpost_session")
    assert visitor.is_signed_in()


def test_another_session_does_not(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    visitor.delete_cookie("sealpost_session")
    assert not visitor.is_signed_in()


def remembered(app: Flask, user_id: str) -> Visitor:
    visitor = visit(app)
    visitor.set_cookie("sealpost_remember", encode_cookie(user_id))
    return visitor


def test_a_remember_cookie_is_good_for_thirty_days(app: Flask) -> None:
    alice, day = make_alice(), 86_400
    young = f"{alice.id}:{alice.session_epoch}:{int(time.time()) - 29 * day}"
    old = f"{alice.id}:{alice.session_epoch}:{int(time.time()) - 31 * day}"
    assert remembered(app, young).is_signed_in()
    assert not remembered(app, old).is_signed_in()


@pytest.mark.parametrize("user_id", ["1", "", "1:1", "x:y:z", "1:1:-1", "1:1:1:1", "9" * 400, "1:2:99999999999"])
def test_a_strange_user_id_is_nobody(app: Flask, user_id: str) -> None:
    make_alice()
    assert not remembered(app, user_id).is_signed_in()


def test_a_forged_remember_cookie_is_nobody(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.set_cookie("sealpost_remember", f"1:1:{int(time.time())}|" + "0" * 128)
    assert not visitor.is_signed_in()


def test_a_session_ends_after_twelve_hours(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_alice()
    visitors = {}
    for hours in (11, 13):
        with monkeypatch.context() as patch:
            then = int(time.time()) - hours * 3600
            patch.setattr(TimestampSigner, "get_timestamp", lambda _self, then=then: then)
            visitors[hours] = visit(app)
            visitors[hours].sign_in()
    assert visitors[11].is_signed_in()
    assert not visitors[13].is_signed_in()


def test_a_session_is_not_bound_to_address_or_browser(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    moved = {"User-Agent": "another", "X-Forwarded-For": "192.0.2.1"}
    assert visitor.get("/account", headers=moved).status_code == 200


def test_cookies_over_http_are_httponly_and_samesite(app: Flask) -> None:
    make_alice()
    cookies = cookies_set(visit(app).sign_in(remember="1"))
    assert set(cookies) == {"sealpost_session", "sealpost_remember"}
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
    assert set(cookies) == {"__Host-sealpost_session", "__Host-sealpost_remember"}
    for attributes in cookies.values():
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
        assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_signing_out_deletes_the_remember_cookie_in_the_way_that_browsers_heed(https_visitor: Visitor) -> None:
    https_visitor.sign_in(remember="1")
    cookies = cookies_set(https_visitor.post_form("/logout"))
    assert {"Secure", "Path=/", "Max-Age=0"} <= cookies["__Host-sealpost_remember"]


def test_signing_in_without_being_remembered_deletes_the_cookie_of_who_was(https_visitor: Visitor) -> None:
    https_visitor.sign_in(remember="1")
    cookies = cookies_set(https_visitor.sign_in())
    assert {"Secure", "Path=/", "Max-Age=0"} <= cookies["__Host-sealpost_remember"]


@pytest.mark.parametrize("again", ["sign out", "sign in", "sign in remembered"])
def test_an_answer_names_the_remember_cookie_once(https_visitor: Visitor, again: str) -> None:
    https_visitor.sign_in(remember="1")
    if again == "sign out":
        answer = https_visitor.post_form("/logout")
    else:
        answer = https_visitor.sign_in(remember="1" if "remembered" in again else "")
    lines = answer.headers.getlist("Set-Cookie")
    assert sum(line.startswith("__Host-sealpost_remember=") for line in lines) == 1


def test_who_was_never_remembered_has_no_cookie_deleted(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    assert "sealpost_remember" not in cookies_set(visitor.sign_in())
    assert "sealpost_remember" not in cookies_set(visitor.post_form("/logout"))


def test_the_reset_cookie_over_https_is_secure_and_bound_to_the_host(https_visitor: Visitor) -> None:
    cookies = cookies_set(https_visitor.get("/reset-password?token=abc"))
    expected = {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"}
    assert expected <= cookies["__Host-sealpost_reset"]


def test_failed_sign_ins_are_limited_per_account(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    logins = ["alice", "ALICE", " alice "]
    answers = [
        visitor.post_form(
            "/login",
            {"login": logins[number % 3], "password": "wrong"},
            environ_base={"REMOTE_ADDR": f"192.0.2.{number}"},
        ).status_code
        for number in range(11)
    ]
    assert answers == [401] * 10 + [429]


def test_failed_sign_ins_of_an_unknown_name_are_limited_alike(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    answers = [visitor.sign_in("nobody", "wrong").status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]


def test_failed_sign_ins_are_limited_per_client(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    answers = [visitor.sign_in(f"nobody{number}", "wrong").status_code for number in range(21)]
    assert answers == [401] * 20 + [429]
    assert visitor.sign_in().status_code == 429


def test_successful_sign_ins_are_not_counted(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    assert {visitor.sign_in().status_code for _ in range(25)} == {303}


def test_a_locked_account_does_not_lock_another(app: Flask) -> None:
    make_alice()
    make_bob()
    visitor = visit(app)
    for _ in range(10):
        visitor.sign_in("alice", "wrong")
    assert visitor.sign_in("alice").status_code == 429
    assert visitor.sign_in("bob").status_code == 303


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
