"""What nobody foresaw in a connection test is told on the page, by the API and by the command, and is never a 500."""

import json
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response
from sqlalchemy import text

from blueprints import access, smtp_tests
from database.engine import transaction
from services.checks import connection_test
from services.settings import configs
from services.settings.configs import preview
from services.settings.fields import parse_change
from tests import certificates
from tests.scripted_server import ScriptedServer
from tests.server_form import run_test
from tests.visitors import Visitor, visit

URL = "/api/settings/smtp/test"
NDJSON = {"Accept": "application/x-ndjson"}
PASSWORD = "geheim-8472"
REFERENCE = re.compile(r"Reference: ([0-9A-F]{8})\.")
HANDSHAKE = ssl.SSLSocket.do_handshake


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """One at which encryption raises, for us, what no library says it would."""

    def act(sock: ssl.SSLSocket, *given: Any, **named: Any) -> None:
        if not sock.server_side:
            raise RuntimeError(f"it was said with {PASSWORD}")
        HANDSHAKE(sock, *given, **named)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", act)
    offers = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN"
    with ScriptedServer({"EHLO": offers}, tls=certificates.good_context()) as server:
        yield server


def values(server: ScriptedServer, **changes: Any) -> dict[str, Any]:
    login = {"smtp_username": "shop", "smtp_password": PASSWORD, "from_email": "shop@example.com"}
    return {"smtp_server": server.host, "smtp_port": server.port, "use_tls": True, **login, **changes}


def references(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Those in the log, in which there is neither the password nor a traceback."""
    assert PASSWORD not in caplog.text
    assert "Traceback" not in caplog.text
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [str(event["reference"]) for event in events if "reference" in event]


def lines_of(answer: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.splitlines() if line]


def test_the_api_answers_with_the_reference(
    client: Visitor, bearer: dict[str, str], server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(URL, json=values(server), headers=bearer)
    assert answer.status_code == 422
    data = json.loads(answer.text)["data"]
    assert (data["phase"], data["fault"]) == ("encryption", "ours")
    assert REFERENCE.findall(data["meaning"]) == references(caplog)
    assert PASSWORD not in answer.text


def test_a_stream_ends_with_a_failed_step_and_a_result(
    client: Visitor, bearer: dict[str, str], server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post(URL, json=values(server), headers=bearer | NDJSON)
    *_, step, result = lines_of(answer.text)
    assert (step["type"], step["name"], step["status"]) == ("step", "encryption", "failed")
    assert (result["type"], result["status"]) == ("result", "error")
    assert REFERENCE.findall(step["fact"]) == references(caplog)


def test_the_page_shows_the_reference(admin: Visitor, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    page = run_test(admin, server, security="starttls", smtp_username="shop", smtp_password=PASSWORD)
    assert page.status_code == 200
    assert "Sealpost failed" in page.text
    assert set(REFERENCE.findall(page.text)) == set(references(caplog))


def test_the_command_prints_the_reference_and_leaves_with_the_exit_code_of_the_phase(
    app: Flask, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    configs.create(parse_change({**values(server), "name": "Main", "is_active": True}))
    result = app.test_cli_runner().invoke(args=["smtp", "test", "Main"])
    assert result.exit_code == 15
    assert set(REFERENCE.findall(result.stdout)) == set(references(caplog))
    assert "✗ Encryption" in result.stdout


def test_a_result_that_cannot_be_told_ends_the_stream_with_a_reference(
    app: Flask, bearer: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def told(_result: object) -> dict[str, Any]:
        raise LookupError(PASSWORD)

    with ScriptedServer() as server:
        change = parse_change(values(server, use_tls=False, smtp_username="", smtp_password=""))

        def view() -> Response:
            return smtp_tests.streamed(connection_test.plan(preview(change)), None, told)

        app.add_url_rule("/api/streamed", view_func=access.admin_api(view))
        answer = visit(app).get("/api/streamed", headers=bearer)
    last = lines_of(answer.text)[-1]
    assert (last["type"], last["ok"], last["status"]) == ("result", False, "error")
    assert REFERENCE.findall(last["message"]) == references(caplog)


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["at once", "streamed"])
def test_a_result_that_cannot_be_written_down_is_told_all_the_same(
    app: Flask, client: Visitor, bearer: dict[str, str], headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context(), transaction() as session:
        session.execute(text("ALTER TABLE audit_event RENAME TO lost"))
    with ScriptedServer() as server:
        plain = values(server, use_tls=False, smtp_username="", smtp_password="")
        answer = client.post(URL, json=plain, headers=bearer | headers)
    assert answer.status_code == 200
    assert "Connection successful" in answer.text
    assert len(references(caplog)) == 1
