"""While MAIL_SUPPRESS_SEND is on a test email is delivered only to whoever asks for that: page, API, commands."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from services.settings import configs
from services.settings.fields import parse_change
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, make_alice, visit


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def suppressed(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app({**environment, "MAIL_SUPPRESS_SEND": "true"}, instance_path=tmp_path)
    with app.app_context():
        yield app


def values(server: RecordingServer) -> dict[str, Any]:
    return {
        "smtp_server": server.host,
        "smtp_port": server.port,
        "use_tls": False,
        "from_email": "noreply@example.com",
    }


@pytest.mark.parametrize(("more", "status"), [({}, 422), ({"deliver_suppressed": True}, 200)])
def test_the_api_wants_a_field(
    suppressed: Flask, server: RecordingServer, bearer: dict[str, str], more: dict[str, bool], status: int
) -> None:
    body = {**values(server), "to": "a@example.com", **more}
    answer = visit(suppressed).post("/api/settings/smtp/test", json=body, headers=bearer)
    assert answer.status_code == status
    assert bool(server.mails) is (status == 200)
    if status == 422:
        assert "deliver_suppressed: true" in answer.get_json()["errors"]["to"][0]


def test_without_a_recipient_the_api_tests_as_ever(
    suppressed: Flask, server: RecordingServer, bearer: dict[str, str]
) -> None:
    answer = visit(suppressed).post("/api/settings/smtp/test", json=values(server), headers=bearer)
    assert answer.status_code == 200


@pytest.fixture
def administrator(suppressed: Flask) -> Visitor:
    make_alice(is_admin=True)
    visitor = visit(suppressed)
    visitor.sign_in()
    return visitor


@pytest.mark.parametrize(("more", "status"), [({}, 422), ({"deliver_suppressed": "1"}, 200)])
def test_the_page_wants_a_tick(
    administrator: Visitor, server: RecordingServer, more: dict[str, str], status: int
) -> None:
    fields = {"name": "Main", "smtp_server": server.host, "smtp_port": str(server.port), "security": "none"}
    fields |= {"from_email": "noreply@example.com", "timeout_seconds": "10", "to": "a@example.com", "send": "1", **more}
    assert "Deliver it even though MAIL_SUPPRESS_SEND is on" in administrator.get("/settings/smtp/new").text
    answer = administrator.post_form("/settings/smtp/new/test", fields)
    assert answer.status_code == status
    assert bool(server.mails) is (status == 200)


@pytest.mark.parametrize(
    "arguments", [["smtp", "test", "--to", "a@example.com"], ["smtp", "validate", "--test-email", "a@example.com"]]
)
def test_commands_want_yes(suppressed: Flask, server: RecordingServer, arguments: list[str]) -> None:
    configs.create(parse_change({"name": "Main", **values(server), "is_active": True}))
    runner = suppressed.test_cli_runner()
    refused = runner.invoke(args=arguments)
    assert (refused.exit_code, "add --yes" in refused.stderr, server.mails) == (1, True, [])
    runner.invoke(args=[*arguments, "--yes"])
    assert len(server.mails) == 1


def test_elsewhere_nobody_is_asked(app: Flask, server: RecordingServer, bearer: dict[str, str]) -> None:
    body = {**values(server), "to": "a@example.com"}
    assert visit(app).post("/api/settings/smtp/test", json=body, headers=bearer).status_code == 200
    assert "deliver_suppressed" not in visit(app).get("/login").text
