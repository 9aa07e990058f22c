"""What the API answers to a connection test: what happened, why, what to do, and nothing secret."""

import json
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from flask import Flask
from pydantic import TypeAdapter

from blueprints.api.api_models import FailedTestData, SmtpTest, TestData
from blueprints.smtp_tests import as_posted
from services.checks import connection_test
from services.diagnosis import mending, reply_rules
from services.diagnosis.picture import Picture
from services.settings.fields import checked
from services.smtp.habits import Habit, habits_of
from services.smtp.settings import OpenWay, Security, SmtpSettings
from tests import certificates
from tests.scripted_server import Answer, ScriptedServer, close, late
from tests.visitors import Visitor, visit
from utils import clock
from utils.secret import Secret
from utils.version import VERSION

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
    action = {"label": "Use STARTTLS and test again", "changes": {"use_tls": True, "use_ssl": False}}
    assert action in data["actions"]
    assert data["server_line"] == ""


def test_an_action_is_posted_back_as_it_is(client: Visitor, bearer: dict[str, str]) -> None:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        no_login = {"smtp_username": "", "smtp_password": "", "use_tls": False, "use_ssl": True}
        saved = client.post("/api/settings/smtp", json=values(server, **no_login), headers=bearer)
        assert saved.status_code in (200, 201), saved.text
        failed = client.post(URL, headers=bearer)
        actions = json.loads(failed.text)["data"]["actions"]
        again = client.post(URL, json=actions[0]["changes"], headers=bearer)
    assert (failed.status_code, again.status_code) == (422, 200), again.text


def test_every_action_that_there_is_can_be_posted_back() -> None:
    tables = [advice for table in reply_rules.tables().values() for advice in table.values()]
    advices = [*reply_rules.all_rules(), *tables]
    found = 0
    for port, security in product((25, 465, 587, 2525), Security):
        settings = SmtpSettings(
            host="localhost", port=port, security=security, username="mail\u200ber@shop.example",
            password=Secret("geheim "), from_email="hello@shop.example",
        )  # fmt: skip
        ways = {
            (465, Security.TLS): OpenWay(port=465, security=Security.TLS),
            (587, Security.STARTTLS): OpenWay(port=587, security=Security.STARTTLS),
        }
        picture = Picture(settings=settings, ways=ways, mail_servers=("mx.shop.example",), name_exists=True)
        for advice in advices:
            for action in mending.actions(("made_plain", *advice.tries), picture):
                body = as_posted(action.changes)
                change = checked(SmtpTest, json.loads(json.dumps(body)))
                assert all(change.given(name) for name in body)
                assert action.retype or action.leads_to or body
                found += 1
    assert found > len(advices)


def test_no_action_of_the_api_asks_for_a_secret_to_be_typed_anew(client: Visitor, bearer: dict[str, str]) -> None:
    data = data_of(client, bearer, {"AUTH": "535 5.7.8 not accepted"}, smtp_password="geheim-8472 ")
    assert data["cause"] == "The password ends with a space. That is rarely meant."
    assert data["actions"] == []
    assert "ends with a space" in data["steps"][0]["fact"]


def test_no_two_steps_have_one_name(client: Visitor, bearer: dict[str, str]) -> None:
    tried: list[tuple[dict[str, Answer], dict[str, Any]]] = [
        ({}, {"use_tls": False, "use_ssl": True}),
        ({"GREETING": close}, {}),
        ({"EHLO": "250 scripted.test"}, {}),
    ]
    for script, changes in tried:
        names = [step["name"] for step in data_of(client, bearer, script, **changes)["steps"]]
        assert len(names) == len(set(names)), names
        assert "other_ports" in names


def test_a_lock_is_told_with_the_moment_before_which_not_to_try(client: Visitor, bearer: dict[str, str]) -> None:
    data = data_of(client, bearer, {"AUTH": "535 5.7.8 account locked for 15 minutes"})
    assert datetime.fromisoformat(data["not_before"]) - clock.now() > timedelta(minutes=14)
    assert data["retry_after"] == 900


def test_the_answer_names_its_version_and_what_is_known_of_the_server(client: Visitor, bearer: dict[str, str]) -> None:
    with ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        habits_of(server.host, server.port).learn(Habit.PIPELINING, False)
        data = json.loads(client.post(URL, json=values(server), headers=bearer).text)["data"]
    assert data["version"] == VERSION
    assert data["habits"] == habits_of(server.host, server.port).lines() != []


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
