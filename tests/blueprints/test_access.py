"""Who may call: guards, the CSRF rule, the bearer token."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app import create_app
from blueprints.access import admin_api, admin_page, public, signed_in
from database.engine import db
from tests.conftest import ADMIN_TOKEN
from tests.statements import heard
from tests.visitors import Visitor, make_alice, make_bob, visit

BASE_URL = "http://localhost:5000"
CONTENT_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    None,
)
FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost:5000"},
)


def write_routes(app: Flask) -> list[tuple[str, str]]:
    """Every (method, path) that changes something."""
    return [
        (method, path_of(rule))
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"})
    ]


def path_of(rule: Rule) -> str:
    return re.sub(r"<[^>]+>", "1", str(rule.rule))


@pytest.fixture
def admin(app: Flask) -> Visitor:
    """An administrator who is signed in."""
    make_alice(is_admin=True)
    visitor = visit(app)
    visitor.sign_in()
    return visitor


def test_there_are_routes_that_write(app: Flask) -> None:
    assert ("POST", "/api/settings/smtp") in write_routes(app)
    assert ("POST", "/account/password") in write_routes(app)


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("headers", [{}, *FOREIGN])
def test_no_write_goes_through_without_a_csrf_token(
    app: Flask, admin: Visitor, headers: dict[str, str], content_type: str | None
) -> None:
    answers = {
        (method, path): admin.open(
            path, method=method, headers=headers, content_type=content_type, data=b"{}"
        ).status_code
        for method, path in write_routes(app)
    }
    assert set(answers.values()) == {400}, answers
    assert admin.is_signed_in()


def test_a_stranger_without_a_csrf_token_is_turned_away_from_every_write(
    environment: dict[str, str], tmp_path: Path
) -> None:
    app = create_app(environment | {"LOCAL_INBOX_PORT": "1025"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
    for method, path in write_routes(app):
        answer = visit(app).open(path, method=method, environ_base={"REMOTE_ADDR": "127.0.0.1"})
        assert (answer.status_code, answer.location) in ((400, None), (401, None), (303, "/login")), path


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("headers", FOREIGN)
def test_no_write_from_another_site_goes_through_even_with_a_token(
    app: Flask, admin: Visitor, headers: dict[str, str], content_type: str | None
) -> None:
    headers = {**headers, "X-CSRFToken": admin.csrf_token()}
    answers = {
        (method, path): admin.open(
            path, method=method, headers=headers, content_type=content_type, data=b"{}"
        ).status_code
        for method, path in write_routes(app)
    }
    assert set(answers.values()) == {400}, answers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": BASE_URL},
        {"Sec-Fetch-Site": "same-origin", "Origin": BASE_URL},
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_our_own_page_may_write(admin: Visitor, headers: dict[str, str]) -> None:
    assert admin.post_form("/account/sessions/end", headers=headers).status_code == 303


def test_a_null_origin_alone_may_not_write(admin: Visitor) -> None:
    assert admin.post_form("/account/sessions/end", headers={"Origin": "null"}).status_code == 400


@pytest.mark.parametrize(
    "origin",
    [
        "https://localhost:5000",
        "http://localhost",
        "http://localhost:50000",
        "http://localhost:5000.evil.example",
        "http://localhost:5000, https://evil.example",
        "http://user@localhost:5000",
        "",
    ],
)
def test_an_origin_that_only_looks_like_ours_may_not_write(admin: Visitor, origin: str) -> None:
    assert admin.post_form("/account/sessions/end", headers={"Origin": origin}).status_code == 400


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://mail.example.com:443", "https://mail.example.com"),
        ("http://mail.example.com:80", "http://mail.example.com"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_our_origin_is_base_url_as_browsers_write_it(
    environment: dict[str, str], tmp_path: Path, base_url: str, origin: str
) -> None:
    app = create_app(environment | {"BASE_URL": base_url}, instance_path=tmp_path)
    visitor = visit(app)
    answer = visitor.post_form("/forgot-password", {"email": "a@example.com"}, headers={"Origin": origin})
    assert answer.status_code == 200


def test_the_token_of_another_session_does_not_count(app: Flask, admin: Visitor) -> None:
    stranger = visit(app)
    answer = admin.post("/account/sessions/end", data={"csrf_token": stranger.csrf_token()})
    assert answer.status_code == 400
    assert "Reload the page" in answer.text


@pytest.mark.parametrize("path", ["/login", "/forgot-password", "/reset-password"])
def test_forms_for_everybody_need_a_csrf_token_too(app: Flask, path: str) -> None:
    make_alice()
    assert visit(app).post(path, data={"login": "alice"}).status_code == 400


def test_a_script_sends_the_token_in_a_header(admin: Visitor) -> None:
    headers = {"X-CSRFToken": admin.csrf_token()}
    assert admin.post("/account/sessions/end", headers=headers).status_code == 303


def test_an_api_write_with_the_session_needs_the_csrf_token(admin: Visitor) -> None:
    answer = admin.post("/api/settings/smtp", json={})
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["status"] == "error"


def test_an_api_write_with_session_and_csrf_token_is_read(admin: Visitor) -> None:
    headers = {"X-CSRFToken": admin.csrf_token()}
    assert admin.post("/api/settings/smtp", json={"no": "field"}, headers=headers).status_code == 422


def test_a_bearer_write_needs_no_csrf_token(app: Flask, bearer: dict[str, str]) -> None:
    assert visit(app).post("/api/settings/smtp", json={"no": "field"}, headers=bearer).status_code == 422


def test_a_wrong_bearer_token_is_not_saved_by_a_session(admin: Visitor) -> None:
    assert admin.get("/api/settings/smtp", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_request_with_a_bearer_token_has_no_session(admin: Visitor) -> None:
    assert 'href="/account"' in admin.get("/api/docs").text
    assert 'href="/account"' not in admin.get("/api/docs", headers={"Authorization": "Bearer x"}).text


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {ADMIN_TOKEN}",
        ADMIN_TOKEN,
        f"Bearer {ADMIN_TOKEN}x",
        f"Bearer {ADMIN_TOKEN[:-1]}",
        f"Bearer {ADMIN_TOKEN.lower()}",
        f"Bearer wrong, Bearer {ADMIN_TOKEN}",
        f"Bearer token={ADMIN_TOKEN}",
        "Bearer \u00fc\u00fc",
    ],
)
def test_no_other_header_opens_the_api(app: Flask, header: str) -> None:
    answer = visit(app).get("/api/settings/smtp", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.is_json


def test_the_admin_token_counts_in_the_header_only(app: Flask) -> None:
    visitor = visit(app)
    for place in (f"?token={ADMIN_TOKEN}", f"?access_token={ADMIN_TOKEN}", f"?Authorization=Bearer+{ADMIN_TOKEN}"):
        assert visitor.get(f"/api/settings/smtp{place}").status_code == 401


def test_the_scheme_of_the_bearer_token_has_no_case(app: Flask) -> None:
    headers = {"Authorization": f"bearer {ADMIN_TOKEN}"}
    assert visit(app).get("/api/settings/smtp", headers=headers).status_code == 404


def test_without_an_admin_token_no_bearer_opens_the_api(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app(environment | {"ADMIN_TOKEN": ""}, instance_path=tmp_path)
    for header in ("Bearer ", "Bearer None", f"Bearer {ADMIN_TOKEN}"):
        assert visit(app).get("/api/settings/smtp", headers={"Authorization": header}).status_code == 401


def test_the_bearer_token_opens_no_page(app: Flask, bearer: dict[str, str]) -> None:
    assert visit(app).get("/settings/smtp", headers=bearer).status_code == 303


def test_a_script_without_a_session_is_told_so(app: Flask) -> None:
    answer = visit(app).post("/settings/smtp/new/test", headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 401
    assert answer.is_json


def test_an_ordinary_account_is_no_administrator(app: Flask) -> None:
    make_alice()
    visitor = visit(app)
    visitor.sign_in()
    assert visitor.get("/settings/smtp").status_code == 403
    assert visitor.get("/api/settings/smtp").status_code == 403
    assert visitor.post_form("/settings/smtp/new").status_code == 403


def test_an_administrator_may_read_the_api_with_the_session(admin: Visitor) -> None:
    assert admin.get("/api/settings/smtp").status_code == 404


def test_an_unknown_page_is_not_found_whatever_the_method(app: Flask) -> None:
    assert visit(app).post("/nowhere").status_code == 404


def test_a_wrong_method_is_said_to_be_one(app: Flask) -> None:
    assert visit(app).post("/account").status_code == 405


# What else a write needs, and what it does not.


def _see() -> str:
    """A view that shows that it was reached."""
    return "seen"


def test_a_field_without_a_name_is_told_as_one(admin: Visitor) -> None:
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\nvalue\r\n--x--\r\n"
    headers = {"X-CSRFToken": admin.csrf_token()}
    answer = admin.post(
        "/account/sessions/end", data=body, headers=headers, content_type="multipart/form-data; boundary=x"
    )
    assert (answer.status_code, admin.is_signed_in()) == (400, True)
    assert "A field has no name" in answer.text


def test_a_form_that_lay_open_for_hours_still_counts(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"csrf_token": admin.csrf_token()}
    later = time.time() + 11 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert admin.post("/account/sessions/end", data=fields).status_code == 303


def test_over_https_no_referer_is_asked_for(environment: dict[str, str], tmp_path: Path) -> None:
    site = "https://mail.example.com"
    visitor = visit(create_app(environment | {"BASE_URL": site}, instance_path=tmp_path))
    page = visitor.get("/forgot-password", base_url=site).text
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found
    fields = {"email": "a@example.com", "csrf_token": found[1]}
    assert visitor.post("/forgot-password", data=fields, base_url=site).status_code == 200


def test_a_bearer_token_beside_the_session_does_not_replace_the_csrf_token_of_a_page(
    admin: Visitor, bearer: dict[str, str]
) -> None:
    assert admin.post("/account/sessions/end", headers=bearer).status_code == 400
    assert admin.is_signed_in()


@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json", ""])
@pytest.mark.parametrize("guard", [signed_in, admin_page, admin_api])
def test_below_api_nobody_is_led_to_the_sign_in_page(app: Flask, guard: Callable[[Any], Any], accept: str) -> None:
    app.add_url_rule("/api/guarded", view_func=guard(_see), endpoint="guarded")
    answer = visit(app).get("/api/guarded", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.is_json) == (401, True)


def test_each_guard_lets_through_whom_it_is_for(app: Flask, bearer: dict[str, str]) -> None:
    for guard in (public, signed_in, admin_page, admin_api):
        app.add_url_rule(f"/guarded/{guard.__name__}", guard.__name__, view_func=guard(_see))
        app.add_url_rule(f"/api/{guard.__name__}", f"api_{guard.__name__}", view_func=guard(_see))
    make_alice(is_admin=True)
    make_bob()
    stranger, alice, bob = visit(app), visit(app), visit(app)
    alice.sign_in()
    bob.sign_in("bob")

    def seen_by(visitor: Visitor, place: str, headers: dict[str, str]) -> list[str]:
        names = ("public", "signed_in", "admin_page", "admin_api")
        return [name for name in names if visitor.get(f"/{place}/{name}", headers=headers).text == "seen"]

    assert seen_by(stranger, "guarded", {}) == ["public"]
    assert seen_by(bob, "guarded", {}) == ["public", "signed_in"]
    assert seen_by(alice, "guarded", {}) == ["public", "signed_in", "admin_page", "admin_api"]
    assert seen_by(stranger, "api", bearer) == ["public", "admin_api"]
    assert seen_by(alice, "api", bearer) == ["public", "admin_api"]


def test_a_link_on_another_site_leads_to_a_page(app: Flask) -> None:
    make_alice()
    for headers in FOREIGN:
        assert visit(app).get("/login", headers=headers).status_code == 200


def test_a_bearer_token_is_no_cookie_and_needs_no_csrf_token_anywhere_below_api(
    app: Flask, bearer: dict[str, str]
) -> None:
    app.add_url_rule("/api/open", view_func=public(_see), endpoint="open", methods=["POST"])
    visitor = visit(app)
    assert visitor.post("/api/open").status_code == 400
    assert visitor.post("/api/open", headers=bearer).text == "seen"


def test_for_a_style_sheet_nobody_is_looked_up(admin: Visitor) -> None:
    statements: list[str] = []
    with heard(db.engine, lambda statement, _: statements.append(statement)):
        assert admin.get("/static/sealpost.css").status_code == 200
    assert statements == []
