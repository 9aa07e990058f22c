"""BASE_URL with a path: links, cookies, redirects, the API document and static files are below it."""

import re
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services.accounts import sessions
from services.email_service import queue_email
from services.message.pixel import with_pixel
from services.outbox.template_mail import reset_url
from tests.outbox import row_of
from tests.visitors import Visitor, make_alice, visit
from utils.env_utils import load_settings

HTTPS, HTTP = "https://example.com/mail", "http://localhost:5000/a/b"


@pytest.fixture(params=[HTTPS, HTTP, f"{HTTPS}/"])
def base_url(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environment(environment: dict[str, str], base_url: str) -> dict[str, str]:
    return {**environment, "BASE_URL": base_url}


@pytest.fixture
def path(base_url: str) -> str:
    return "/a/b" if base_url == HTTP else "/mail"


@pytest.fixture(params=[True, False], ids=["passed on", "taken off"])
def prefix(request: pytest.FixtureRequest, path: str) -> str:
    """What the proxy leaves before our own paths."""
    return path if request.param else ""


def origin(base_url: str) -> str:
    return re.match(r"https?://[^/]+", base_url)[0]  # type: ignore[index]


def signed_in(app: Flask, base_url: str, prefix: str, path: str) -> Visitor:
    make_alice(is_admin=True)
    visitor = visit(app)
    # Without the prefix the path stands in SCRIPT_NAME, so that the client sends cookies as a browser does.
    options = {"base_url": origin(base_url) + ("" if prefix else path)}
    page = visitor.get(f"{prefix}/login", **options).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]  # type: ignore[index]
    fields = {"login": "alice", "password": "river otter seventeen lamp", "remember": "1", "csrf_token": token}
    answer = visitor.post(f"{prefix}/login", data=fields, **options)
    assert (answer.status_code, answer.location) == (303, f"{path}/")
    for line in answer.headers.getlist("Set-Cookie"):
        name = line.partition("=")[0]
        assert name.startswith("__Secure-sealpost_" if base_url.startswith("https") else "sealpost_")
        assert f"Path={path};" in f"{line};"
        assert ("Secure" in line.split("; ")) == base_url.startswith("https")
    return visitor


def test_signing_in_goes_on_below_it_with_cookies_of_that_path(
    app: Flask, base_url: str, prefix: str, path: str
) -> None:
    visitor = signed_in(app, base_url, prefix, path)
    page = visitor.get(f"{prefix}/settings/smtp", base_url=origin(base_url) + ("" if prefix else path))
    assert page.status_code == 200
    links = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page.text))
    assert links
    assert {link for link in links if not link.startswith(f"{path}/")} == set()


def test_whoever_must_sign_in_first_comes_back_below_it(client: Visitor, prefix: str, path: str) -> None:
    answer = client.get(f"{prefix}/settings/smtp?q=a")
    assert answer.location == f"{path}/login?next={path}/settings/smtp?q%3Da"


def test_a_form_that_met_no_session_comes_back_below_it(app: Flask, base_url: str, prefix: str, path: str) -> None:
    visitor = signed_in(app, base_url, prefix, path)
    options = {"base_url": origin(base_url) + ("" if prefix else path)}
    page = visitor.get(f"{prefix}/settings/smtp/new", **options).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]  # type: ignore[index]
    sessions.end_all(1)
    answer = visitor.post(f"{prefix}/settings/smtp/new", data={"name": "typed", "csrf_token": token}, **options)
    assert answer.location == f"{path}/login?next={path}/settings/smtp/new"
    assert "this is not saved yet" in visitor.get(answer.location.removeprefix("" if prefix else path), **options).text


@pytest.mark.parametrize(
    "place", ["/other", "/mailbox/x", "//evil.example/mail/", "https://evil.example/mail/", "/mail/../x"]
)
def test_no_sign_in_leads_out_of_it(app: Flask, path: str, place: str) -> None:
    make_alice()
    visitor = visit(app)
    token = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get("/login", base_url=HTTPS[:19]).text)
    assert token
    assert place not in visitor.get(f"/login?next={place}").text


def test_static_files_are_served_below_it(client: Visitor, prefix: str) -> None:
    assert client.get(f"{prefix}/static/sealpost.css").status_code == 200


def test_the_path_itself_is_the_start_page(client: Visitor, path: str) -> None:
    assert client.get(path).location.startswith(f"{path}/")
    assert client.get(f"{path}x").status_code == 404


def test_health_can_be_asked_directly(client: Visitor) -> None:
    assert client.get("/healthz").status_code == 200


def test_the_api_document_names_it_as_its_server(client: Visitor, prefix: str, base_url: str) -> None:
    document = client.get(f"{prefix}/api/openapi.json").get_json()
    assert document["servers"] == [{"url": base_url.rstrip("/")}]


def test_links_in_mails_are_below_it(app: Flask, base_url: str) -> None:
    assert reset_url("t").startswith(f"{base_url.rstrip('/')}/reset-password?token=")


def test_the_pixel_of_a_mail_is_below_it(client: Visitor, base_url: str, prefix: str) -> None:
    mail_id = queue_email("jane@example.com", "Hello", "Hello", "<p>Hello</p>", track_opens=True)
    found = with_pixel("", row_of(mail_id).pixel or "")
    assert f'src="{base_url.rstrip("/")}/open/' in found
    assert client.get(f"{prefix}/open/{row_of(mail_id).pixel}.gif").mimetype == "image/gif"


def test_the_api_answers_in_json_below_it(client: Visitor, prefix: str) -> None:
    assert client.get(f"{prefix}/api/nowhere").get_json()["status"] == "error"


@pytest.mark.parametrize(
    ("base_url", "variables", "sent"),
    [
        ("https://app.example.com", {}, "max-age=31536000"),
        ("https://app.example.com:443", {}, "max-age=31536000"),
        ("https://app.example.com/mail", {}, "max-age=31536000"),
        ("https://app.example.com", {"HSTS_SECONDS": "300"}, "max-age=300"),
        ("https://app.example.com", {"HSTS_SUBDOMAINS": "true"}, "max-age=31536000; includeSubDomains"),
        ("https://app.example.com", {"HSTS_SECONDS": "0", "HSTS_SUBDOMAINS": "true"}, None),
        ("https://app.example.com:8443", {}, None),
        ("http://localhost:5000", {}, None),
    ],
)
def test_browsers_are_held_to_https_only_where_the_whole_host_is(
    environment: dict[str, str], tmp_path: Path, base_url: str, variables: dict[str, str], sent: str | None
) -> None:
    app = create_app({**environment, "BASE_URL": base_url, **variables}, instance_path=tmp_path)
    assert visit(app).get("/login").headers.get("Strict-Transport-Security") == sent


def test_a_path_ends_without_a_slash(environment: dict[str, str], base_url: str) -> None:
    assert load_settings(environment).base_url == base_url.rstrip("/")
