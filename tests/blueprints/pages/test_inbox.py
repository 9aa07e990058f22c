"""The local inbox: kept mail, shown safely, and only to whom it may be shown."""

import re
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services import local_inbox
from tests.loopback import free_port
from tests.patience import PATIENCE
from tests.visitors import Visitor, make_alice, visit
from utils.env_utils import EXTENSION


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "LOCAL_INBOX_PORT": str(free_port())}


@pytest.fixture
def mail(app: Flask) -> Iterator[EmailMessage]:
    """A mail that has just come into the running inbox."""
    running = local_inbox.start(app.extensions[EXTENSION])
    message = EmailMessage()
    message["Subject"] = "Grüße <b>"
    message["From"] = "a@example.com"
    message.set_content("See http://localhost:5000/reset-password?token=abc\n")
    message.add_alternative("<h1>Hi</h1><script>alert(1)</script>", subtype="html")
    with smtplib.SMTP("127.0.0.1", app.extensions[EXTENSION].local_inbox_port, timeout=PATIENCE) as client:
        client.sendmail("a@example.com", ["b@example.com"], message.as_bytes())
    yield message
    local_inbox.stop(running)
    local_inbox.inbox.clear()


def newest() -> int:
    return local_inbox.inbox.all()[0].id


def test_a_mail_is_listed_and_read(client: Visitor, mail: EmailMessage) -> None:
    assert "Grüße &lt;b&gt;" in client.get("/inbox").text
    page = client.get(f"/inbox/{newest()}").text
    assert 'href="http://localhost:5000/reset-password?token=abc"' in page
    assert "<script>alert(1)" not in page


def test_the_list_stays_current(client: Visitor, mail: EmailMessage) -> None:
    told = client.get("/inbox/live").text
    assert f'"order": ["{newest()}"]' in told
    assert "Gr\\u00fc\\u00dfe &lt;b&gt;" in told
    found = re.search(r'data-live-source="([^"]+)"', client.get("/inbox").text)
    assert found
    assert '"order"' not in client.get(found[1]).text


def test_the_html_part_runs_and_loads_nothing(client: Visitor, mail: EmailMessage) -> None:
    answer = client.get(f"/inbox/{newest()}/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert "<h1>Hi</h1>" in answer.text


def test_the_empty_inbox_says_what_will_come(client: Visitor) -> None:
    local_inbox.inbox.clear()
    assert client.get("/inbox").status_code == 200


def test_a_mail_that_is_gone_is_a_404(client: Visitor) -> None:
    assert client.get("/inbox/999999").status_code == 404
    assert client.get("/inbox/999999/html").status_code == 404


def test_the_inbox_can_be_cleared_with_the_sessions_token(client: Visitor, mail: EmailMessage) -> None:
    assert client.post("/inbox/clear").status_code == 400
    assert local_inbox.inbox.all()
    assert client.post_form("/inbox/clear").status_code == 303
    assert local_inbox.inbox.all() == []


@pytest.mark.parametrize("path", ["/inbox", "/inbox/1", "/inbox/1/html"])
def test_another_peer_or_another_name_must_sign_in(client: Visitor, path: str) -> None:
    from_elsewhere = client.get(path, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    rebound = client.get(path, headers={"Host": "evil.example"})
    assert (from_elsewhere.status_code, rebound.status_code) == (303, 303)


@pytest.mark.parametrize("path", ["/inbox", "/inbox/1", "/inbox/1/html"])
@pytest.mark.parametrize(
    "header",
    [
        *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix"),
        *("X-Forwarded-Server", "X-Forwarded-By", "Forwarded", "Via", "X-Real-IP", "x-real-ip", "CF-Connecting-IP"),
        *("True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-URI", "X-Envoy-External-Address"),
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", "localhost", ""])
def test_whoever_comes_through_a_proxy_must_sign_in(client: Visitor, path: str, header: str, value: str) -> None:
    assert client.get(path, headers={header: value}).status_code == 303


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.0.0.1:81", "127.9.9.9", "[::1]", "[::1]:5000"]
)
def test_on_ones_own_machine_it_is_read_without_a_sign_in(client: Visitor, host: str) -> None:
    assert client.get("/inbox", headers={"Host": host}).status_code == 200
    assert client.get("/inbox", environ_overrides={"REMOTE_ADDR": "::ffff:127.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "localhost.evil.example", "evil.example:127", "0.0.0.0", "192.0.2.1", "[::2]"]
)
def test_a_name_that_only_looks_like_this_machine_must_sign_in(client: Visitor, host: str) -> None:
    assert client.get("/inbox", headers={"Host": host}).status_code == 303


@pytest.mark.parametrize(
    "variables",
    [
        {"BASE_URL": "https://app.example.com"},
        {"BASE_URL": "http://192.0.2.2:5000"},
        {"BASE_URL": "http://localhost.example.com"},
        {"TRUSTED_PROXIES": "1"},
    ],
)
def test_where_others_can_come_it_asks_who_is_there(
    environment: dict[str, str], tmp_path: Path, variables: dict[str, str]
) -> None:
    app = create_app(environment | variables, instance_path=tmp_path)
    with app.app_context():
        assert visit(app).get("/inbox", headers={"Host": "localhost"}).status_code == 303


def test_what_speaks_like_a_proxy_must_sign_in(client: Visitor) -> None:
    assert client.get("/inbox", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"}).status_code == 303


def test_with_another_listening_address_only_administrators_read(environment: dict[str, str], tmp_path: Path) -> None:
    app = create_app({**environment, "HOST": "0.0.0.0"}, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        visitor = visit(app)
        assert visitor.get("/inbox").status_code == 303
        visitor.sign_in()
        assert visitor.get("/inbox").status_code == 200


def test_there_is_no_inbox_in_production(environment: dict[str, str], tmp_path: Path) -> None:
    production = {**environment, "APP_ENV": "production", "BASE_URL": "http://localhost:5000"}
    app = create_app(production, instance_path=tmp_path)
    assert visit(app).get("/inbox").status_code == 404
    assert local_inbox.start(app.extensions[EXTENSION]) is None


def test_a_page_of_a_process_that_has_no_inbox_says_where_it_is(client: Visitor) -> None:
    assert "No email arrives here. It accepts mail only while `make run` is running" in client.get("/inbox").text


def test_the_last_200_mails_are_kept() -> None:
    inbox = local_inbox.Inbox()
    for number in range(205):
        inbox.add("a@example.com", ["b@example.com"], b"Subject: %d\r\n\r\nx" % number)
    assert [message.subject for message in inbox.all()][:: len(inbox.all()) - 1] == ["204", "5"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"Content-Type: text/plain; charset=nowhere\r\n\r\n\xff", b"Subject: =?x?y?z?=\r\n\r\n"],
)
def test_broken_mail_is_shown_as_well_as_it_can_be(client: Visitor, content: bytes) -> None:
    local_inbox.inbox.add("", [], content)
    assert client.get("/inbox").status_code == 200
    assert client.get(f"/inbox/{newest()}").status_code == 200
    local_inbox.inbox.clear()
