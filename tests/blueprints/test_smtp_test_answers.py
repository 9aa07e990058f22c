"""What the API answers to a connection test: what happened, why, what to do, and nothing secret."""

import json
from typing import Any

import pytest
from flask import Flask
from pydantic import TypeAdapter

from blueprints.api.api_models import FailedTestData, TestData
from services.checks import connection_test
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer, late
from tests.visitors import Visitor, visit

URL = "/api/settings/smtp/test"
PASSWORD = "geheim-8472"
OFFERS = "250-scripted.test\n250-STARTTLS\n250 AUTH PLAIN"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"SMTP_CA_FILE": str(certificates.ca_file())}


def values(server: ScriptedServer, **changes: Any) -> dict[str, Any]:
    login = {"smtp_username": "shop", "smtp_password": PASSWORD, "from_email": "shop@example.com"}
    return {"smtp_server": server.host, "smtp_port": server.port, "use_tls": True, **login, **changes}


def data_of(client: Visitor, bearer: dict[str, str], script: dict[str, Answer], **changes: Any) -> dict[str, Any]:
    """The answer's data to a test of a server with this script."""
    with ScriptedServer({"EHLO": OFFERS, **script}, tls=certificates.good_context()) as server:
        answer = client.post(URL, json=values(server, **changes), headers=bearer)
        assert PASSWORD not in answer.text
        data: dict[str, Any] = json.loads(answer.text)["data"]
        assert (data["address"], data["port"]) == (server.host, server.port)
    TypeAdapter(FailedTestData if answer.status_code == 422 else TestData).validate_python(data)
    return data


def test_a_passed_test_tells_what_was_said_and_to_whom(client: Visitor, bearer: dict[str, str]) -> None:
    data = data_of(client, bearer, {})
    assert "C: AUTH PLAIN ••••" in data["transcript"]
    assert data["transcript"][-1] == "S: 221 2.0.0 bye"
    assert "reason" not in data


def test_a_failed_test_tells_its_cause_and_what_to_do(client: Visitor, bearer: dict[str, str]) -> None:
    data = data_of(client, bearer, {"AUTH": "535 5.7.8 not accepted"})
    assert (data["phase"], data["reason"], data["field"]) == ("sign_in", "Authentication failed", "smtp_password")
    assert data["server_line"] == "535 5.7.8 not accepted"
    assert all(data[text] for text in ("title", "meaning", "remedy"))
    assert data["retryable"] is False


def test_what_would_work_is_an_action_that_changes_fields(client: Visitor, bearer: dict[str, str]) -> None:
    data = data_of(client, bearer, {}, use_tls=False, use_ssl=True)
    assert [way["security"] for way in data["open_ways"]] == ["starttls"]
    assert {"label": "Use STARTTLS and test again", "changes": {"security": "starttls"}} in data["actions"]
    assert data["server_line"] == ""


def test_a_refused_certificate_is_described(client: Visitor, bearer: dict[str, str]) -> None:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context("other.example")) as server:
        answer = client.post(URL, json=values(server), headers=bearer)
    data = json.loads(answer.text)["data"]
    assert data["certificate"]["names"] == ["other.example"]
    assert len(data["certificate"]["sha256"]) == 95


def test_a_silent_server_is_bridged_with_empty_lines(
    app: Flask, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_test, "BEAT", 0.02)
    with ScriptedServer({"GREETING": late("220 at last", 0.2)}) as server:
        headers = {**bearer, "Accept": "application/x-ndjson"}
        text = visit(app).post(URL, json=values(server), headers=headers).text
    assert "\n\n\n" in text
    kinds = [json.loads(line)["type"] for line in text.splitlines() if line]
    assert kinds[-1] == "result"


def test_a_slow_step_is_told_to_be_waited_for(
    app: Flask, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_test, "BEAT", 0.05)
    monkeypatch.setattr(connection_test, "WAITING", 1)
    with ScriptedServer({"GREETING": late("220 at last", 1.3)}) as server:
        headers = {**bearer, "Accept": "application/x-ndjson"}
        text = visit(app).post(URL, json=values(server), headers=headers).text
    told = [json.loads(line) for line in text.splitlines() if line]
    assert {"type": "waiting", "name": "greeting", "label": "Greeting", "seconds": 1} in told
    assert told[-1]["type"] == "result"
