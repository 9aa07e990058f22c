"""The administration API of the named configurations, by script."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from app import create_app
from database.engine import transaction
from services import audit
from services.settings import configs, sealing
from services.settings.configs import NAME_TAKEN
from services.settings.fields import MASK
from services.settings.rules import CHANGED_SERVER
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, make_bob, visit

URL = "/api/settings/smtp/configs"
FIRST: dict[str, object] = {
    "name": "Primary Mail Server",
    "smtp_server": "mail.hanna.example",
    "smtp_username": "installations",
    "smtp_password": "s3cret-one",
    "from_email": "installations@hanna.example",
}
RELAY: dict[str, object] = {"smtp_server": "10.0.0.2", "smtp_port": 25, "use_tls": False, "from_email": "a@example.com"}


class Script:
    """A script that calls the API with ADMIN_TOKEN."""

    def __init__(self, app: Flask, headers: dict[str, str]) -> None:
        self._client = visit(app)
        self._headers = headers

    def __call__(self, method: str, path: str = "", body: object = None, **headers: str) -> TestResponse:
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer: TestResponse = self._client.open(
            URL + path, method=method, headers={**self._headers, **headers}, **options
        )
        return answer

    def make(self, **fields: object) -> dict[str, Any]:
        answer = self("POST", body={**FIRST, **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.get_json()["data"]
        return made

    def names(self, query: str = "") -> list[str]:
        answer = self("GET", query)
        assert answer.status_code == 200, answer.text
        return [config["name"] for config in answer.get_json()["data"]]


@pytest.fixture
def call(app: Flask, bearer: dict[str, str]) -> Script:
    return Script(app, bearer)


def test_creating_answers_201_with_the_masked_configuration_which_is_inactive(call: Script) -> None:
    answer = call("POST", body=FIRST)
    assert answer.status_code == 201
    data = answer.get_json()["data"]
    expected = {**FIRST, "smtp_password": MASK, "is_active": False, "version": 1, "failover": True, "smtp_port": 587}
    assert data.items() >= expected.items()
    assert "s3cret-one" not in answer.text
    assert call("GET", f"/{data['id']}").get_json() == {"status": "success", "data": data}


def test_what_get_returns_can_be_sent_back(call: Script) -> None:
    made = call.make()
    assert call("PATCH", f"/{made['id']}", made).status_code == 200
    assert configs.get(made["id"]).settings.password.reveal() == "s3cret-one"


def test_a_configuration_needs_a_name(call: Script) -> None:
    answer = call("POST", body=RELAY)
    assert answer.status_code == 422
    assert list(answer.get_json()["errors"]) == ["name"]


def test_a_taken_name_is_refused_in_any_spelling(call: Script) -> None:
    call.make()
    other = call.make(name="Other")
    for answer in (
        call("POST", body={**FIRST, "name": "PRIMARY mail server"}),
        call("PATCH", f"/{other['id']}", {"name": " primary mail SERVER "}),
    ):
        assert answer.status_code == 422
        assert answer.get_json()["errors"] == {"name": [NAME_TAKEN]}


def test_changing_merges_and_raises_the_version(call: Script) -> None:
    made = call.make()
    data = call("PATCH", f"/{made['id']}", {"from_name": "Hanna", "version": 1}).get_json()["data"]
    assert data.items() >= {"from_name": "Hanna", "version": 2, "smtp_password": MASK, "is_active": False}.items()


def test_a_changed_server_needs_the_password_again(call: Script) -> None:
    made = call.make()
    answer = call("PATCH", f"/{made['id']}", {"smtp_server": "evil.example"})
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == {"smtp_password": [CHANGED_SERVER]}


def test_activating_one_deactivates_the_other(call: Script) -> None:
    one, two = call.make(is_active=True), call.make(name="Two")
    answer = call("POST", f"/{two['id']}/activate")
    assert answer.get_json()["data"]["is_active"] is True
    assert call("GET", f"/{one['id']}").get_json()["data"]["is_active"] is False


def test_deactivating_leaves_none_active(call: Script) -> None:
    one = call.make(is_active=True)
    assert call("POST", f"/{one['id']}/deactivate", {"version": 1}).get_json()["data"]["is_active"] is False
    assert configs.find_active() is None


def test_deleting_forgets_it(call: Script) -> None:
    made = call.make(is_active=True)
    answer = call("DELETE", f"/{made['id']}?version=1")
    assert answer.get_json() == {"status": "success", "message": "SMTP configuration deleted"}
    assert call("GET", f"/{made['id']}").status_code == 404
    assert call.names() == []


def test_a_stale_version_answers_409_and_changes_nothing(call: Script) -> None:
    path = f"/{call.make()['id']}"
    now = call("PATCH", path, {"from_name": "Second"}).get_json()["data"]
    for answer in (
        call("PATCH", path, {"from_name": "Third", "version": 1}),
        call("POST", f"{path}/activate", {"version": 1}),
        call("POST", f"{path}/deactivate", {"version": 1}),
        call("DELETE", f"{path}?version=1"),
    ):
        assert answer.status_code == 409
        assert answer.get_json()["status"] == "error"
    assert call("GET", path).get_json()["data"] == now


def test_a_version_of_another_configuration_answers_409(call: Script) -> None:
    one, two = call.make(), call.make(name="Two")
    assert call("PATCH", f"/{two['id']}", {**one, "name": "Two", "smtp_password": "new"}).status_code == 409


@pytest.mark.parametrize("number", ["999", "0", "2147483648", "99999999999999999999999"])
def test_an_absent_configuration_answers_404(call: Script, number: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"from_name": "x"}),
        ("DELETE", "", None),
        ("POST", "/activate", None),
        ("POST", "/deactivate", None),
        ("POST", "/test", None),
    ):
        answer = call(method, f"/{number}{path}", body)
        assert answer.status_code == 404
        assert answer.get_json() == {"status": "error", "message": "No such configuration."}


@pytest.mark.parametrize("path", ["/abc", "/-1", "/1.5", "/1/", "/1/activate/2"])
def test_what_is_no_number_is_no_address(call: Script, path: str) -> None:
    assert call("GET", path).status_code in (404, 405)


def test_the_list_is_masked_with_the_active_one_first(call: Script) -> None:
    call.make(name="beta")
    call.make(name="Alpha")
    call.make(name="zulu", is_active=True)
    answer = call("GET")
    assert call.names() == ["zulu", "Alpha", "beta"]
    assert {config["smtp_password"] for config in answer.get_json()["data"]} == {MASK}
    assert "s3cret-one" not in answer.text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["Relay", "Backup", "Straße"]),
        ("?q=BACK", ["Backup"]),
        ("?q=strasse", ["Straße"]),
        ("?q=10.0.0", ["Relay"]),
        ("?q=INSTALL", ["Backup", "Straße"]),
        ("?q=%25", []),
        ("?q=%00", ["Relay", "Backup", "Straße"]),
        ("?active=true", ["Relay"]),
        ("?active=false", ["Backup", "Straße"]),
        ("?security=none", ["Relay"]),
        ("?security=starttls", ["Backup"]),
        ("?security=tls&q=mail", ["Straße"]),
        ("?has_error=true", ["Backup"]),
        ("?has_error=true&active=true", []),
    ],
)
def test_the_list_is_filtered(call: Script, query: str, names: list[str]) -> None:
    backup = call.make(name="Backup")
    call.make(name="Straße", use_ssl=True)
    relay = {"smtp_username": "", "smtp_password": "", **RELAY}
    call.make(name="Relay", is_active=True, **relay)
    stored = configs.get(backup["id"])
    configs.mark_tested(stored.settings, "Authentication failed", backup["id"])
    assert call.names(query) == names


@pytest.mark.parametrize(
    "query",
    [
        "?active=yes", "?active=", "?active=True", "?security=ssl", "?has_error=false", "?has_error=1",
        "?sort=name", "?q=a&q=b", "?q=" + "x" * 301, "?<script>=1",
    ],
)  # fmt: skip
def test_an_unknown_parameter_or_value_is_refused_without_an_echo(call: Script, query: str) -> None:
    answer = call("GET", query)
    assert answer.status_code == 422
    assert answer.get_json()["errors"]
    assert "script" not in answer.text


@pytest.mark.parametrize("query", ["?version=x", "?version=0", "?version=", "?version=1&version=2", "?force=true"])
def test_deleting_takes_a_version_and_nothing_else(call: Script, query: str) -> None:
    made = call.make()
    assert call("DELETE", f"/{made['id']}{query}").status_code == 422
    assert call.names() == [made["name"]]


@pytest.mark.parametrize(("method", "path"), [("PATCH", ""), ("POST", "/activate"), ("POST", "/deactivate")])
def test_a_version_in_the_query_is_not_overlooked_where_it_belongs_into_the_body(
    call: Script, method: str, path: str
) -> None:
    made = call.make()
    assert call(method, f"/{made['id']}{path}?version=7", {}).status_code == 422
    assert configs.get(made["id"]).row.version == 1


@pytest.mark.parametrize("body", [{"version": None}, {"version": "1"}, {"version": True}, {"is_active": True}, []])
def test_a_switch_takes_a_version_and_nothing_else(call: Script, body: object) -> None:
    made = call.make()
    for action in ("activate", "deactivate"):
        assert call("POST", f"/{made['id']}/{action}", body).status_code in (400, 422)
    assert configs.get(made["id"]).row.version == 1


@pytest.mark.parametrize(
    ("edit", "reason"),
    [("smtp_server = 'evil.example'", sealing.ALTERED), ("key_id = 'lost'", sealing.UNREADABLE)],
)
def test_what_cannot_be_trusted_is_not_activated(call: Script, edit: str, reason: str) -> None:
    made = call.make()
    with transaction() as session:
        session.execute(text(f"UPDATE smtp_config SET {edit}"))
    answer = call("POST", f"/{made['id']}/activate")
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == {"smtp_password": [reason]}
    data = call("GET", f"/{made['id']}").get_json()["data"]
    assert (data["is_active"], data["needs_reentry"]) == (False, True)


def test_an_inactive_configuration_can_be_tested(call: Script) -> None:
    with RecordingServer(users={"user": "right"}) as server:
        made = call.make(**at(server), smtp_username="user", smtp_password="right")
        answer = call("POST", f"/{made['id']}/test")
    assert (answer.status_code, answer.get_json()["message"]) == (200, "Connection successful")
    assert call("GET", f"/{made['id']}").get_json()["data"]["verified"] is True


def test_values_are_tested_merged_over_the_row_and_stored_nowhere(call: Script) -> None:
    with RecordingServer() as server:
        made = call.make(smtp_username="", smtp_password="", from_email="shop@example.com")
        answer = call("POST", f"/{made['id']}/test", {**at(server), "to": "admin@example.com"})
        (mail,) = server.wait_for_mail()
    assert (answer.status_code, mail.sender, mail.recipients) == (200, "shop@example.com", ("admin@example.com",))
    assert call("GET", f"/{made['id']}").get_json()["data"] == made


def test_a_stored_password_is_tested_nowhere_else(call: Script) -> None:
    with RecordingServer(users={"installations": "x"}) as elsewhere:
        made = call.make()
        answer = call("POST", f"/{made['id']}/test", at(elsewhere))
        assert elsewhere.data == b""
    assert answer.get_json()["errors"] == {"smtp_password": [CHANGED_SERVER]}


def test_steps_are_streamed_and_end_with_the_answer(call: Script) -> None:
    with RecordingServer() as server:
        made = call.make(**at(server), smtp_username="", smtp_password="")
        answer = call("POST", f"/{made['id']}/test", Accept="application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["type"] for line in lines] == ["step"] * 9 + ["result"]


def at(server: RecordingServer) -> dict[str, object]:
    return {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False}


def test_the_specified_endpoints_work_on_the_active_one(call: Script, client: Visitor, bearer: dict[str, str]) -> None:
    call.make(name="Idle")
    assert client.get("/api/settings/smtp", headers=bearer).status_code == 404
    assert client.post("/api/settings/smtp/test", headers=bearer).status_code == 404
    call.make(name="In use", is_active=True)
    assert client.post("/api/settings/smtp", json={"from_name": "Shop"}, headers=bearer).status_code == 200
    data = client.get("/api/settings/smtp", headers=bearer).get_json()["data"]
    assert (data["name"], data["from_name"]) == ("In use", "Shop")
    assert call.names("?q=idle") == ["Idle"]


def test_saving_without_an_active_one_makes_primary_or_takes_it_up_again(
    call: Script, client: Visitor, bearer: dict[str, str]
) -> None:
    call.make(name="Idle")
    assert client.post("/api/settings/smtp", json=RELAY, headers=bearer).status_code == 200
    primary = client.get("/api/settings/smtp", headers=bearer).get_json()["data"]
    assert (primary["name"], primary["is_active"]) == ("Primary", True)
    call("POST", f"/{primary['id']}/deactivate")
    assert client.post("/api/settings/smtp", json={"from_name": "Shop"}, headers=bearer).status_code == 200
    again = client.get("/api/settings/smtp", headers=bearer).get_json()["data"]
    assert (again["id"], again["from_name"], again["is_active"]) == (primary["id"], "Shop", True)


def test_only_administrators_may(app: Flask, client: Visitor, call: Script) -> None:
    made = call.make()
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    for visitor, status in ((client, 401), (bob, 403)):
        assert visitor.get(URL).status_code == status
        assert visitor.get(f"{URL}/{made['id']}").status_code == status
        headers = {"X-CSRFToken": visitor.csrf_token("/account" if status == 403 else "/forgot-password")}
        assert visitor.post(URL, json=FIRST, headers=headers).status_code == status
        assert visitor.delete(f"{URL}/{made['id']}", headers=headers).status_code == status
    assert call.names() == [made["name"]]


def test_an_administrators_session_may_with_its_csrf_token_alone(admin: Visitor, call: Script) -> None:
    path = f"{URL}/{call.make()['id']}/activate"
    assert admin.post(path).status_code == 400
    assert admin.post(path, headers={"X-CSRFToken": admin.csrf_token("/account")}).status_code == 200
    active = configs.find_active()
    assert active
    assert active.row.updated_by == "alice"


def test_a_read_only_database_answers_503_and_changes_nothing(
    call: Script, environment: dict[str, str], tmp_path: Path, bearer: dict[str, str]
) -> None:
    path = f"/{call.make()['id']}"
    url = f"sqlite:///file:{tmp_path / 'test.db'}?mode=ro&uri=true"
    read_only = Script(create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path), bearer)
    assert read_only("GET", path).status_code == 200
    for answer in (
        read_only("POST", body={**FIRST, "name": "Two"}),
        read_only("PATCH", path, {"from_name": "x"}),
        read_only("POST", f"{path}/activate"),
        read_only("DELETE", path),
    ):
        assert answer.status_code == 503
    assert call("GET", path).get_json()["data"]["version"] == 1


def test_whoever_looks_at_a_configuration_is_in_the_trail(call: Script) -> None:
    made = call.make()
    call("GET", f"/{made['id']}")
    (event,) = audit.events(action="viewed")
    assert (event.actor, event.subject) == ("ADMIN_TOKEN", "configuration Primary Mail Server (mail.hanna.example:587)")
