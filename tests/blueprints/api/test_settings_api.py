"""The administration API of the specification, by script."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from app import create_app
from database.engine import db
from services.settings import configs
from services.settings.fields import MASK
from services.settings.rules import CHANGED_SERVER
from tests import certificates
from tests.loopback import free_port
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer
from tests.visitors import Visitor, visit

URL = "/api/settings/smtp"
SPECIFIED = {
    "smtp_server": "smtp.gmail.com",
    "smtp_port": 587,
    "smtp_username": "user@gmail.com",
    "smtp_password": "app_password",
    "from_email": "noreply@example.com",
    "from_name": "OpenAlgo",
    "use_tls": True,
    "use_ssl": False,
}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


@pytest.fixture
def save(client: Visitor, bearer: dict[str, str]) -> Any:
    def post(body: object = SPECIFIED, **changes: object) -> TestResponse:
        merged = {**body, **changes} if isinstance(body, dict) else body
        return client.post(URL, json=merged, headers=bearer)

    return post


@pytest.fixture
def run_test(client: Visitor, bearer: dict[str, str]) -> Any:
    def post(body: object = None, **headers: str) -> TestResponse:
        if body is None:
            return client.post(f"{URL}/test", headers={**bearer, **headers})
        return client.post(f"{URL}/test", json=body, headers={**bearer, **headers})

    return post


def at(server: RecordingServer | ScriptedServer, **more: object) -> dict[str, object]:
    return {
        "smtp_server": server.host,
        "smtp_port": server.port,
        "from_email": "noreply@example.com",
        "use_tls": False,
        **more,
    }


def test_saving_answers_as_specified(save: Any) -> None:
    answer = save()
    assert answer.status_code == 200
    assert answer.get_json() == {"status": "success", "message": "SMTP configuration saved"}


def test_getting_answers_as_specified_and_masked(save: Any, client: Visitor, bearer: dict[str, str]) -> None:
    save()
    answer = client.get(URL, headers=bearer).get_json()
    assert answer["status"] == "success"
    assert answer["data"].items() >= {**SPECIFIED, "smtp_password": MASK, "has_password": True}.items()


def test_getting_and_testing_nothing_is_a_404(client: Visitor, bearer: dict[str, str], run_test: Any) -> None:
    for answer in (client.get(URL, headers=bearer), run_test()):
        assert answer.status_code == 404
        assert answer.get_json() == {"status": "error", "message": "SMTP not configured"}


def test_what_get_returns_can_be_posted_back(save: Any, client: Visitor, bearer: dict[str, str]) -> None:
    save()
    shown = client.get(URL, headers=bearer).get_json()["data"]
    assert save(shown).status_code == 200
    stored = configs.find_active()
    assert stored
    assert stored.settings.password.reveal() == "app_password"


def test_a_changed_server_without_password_is_refused_on_save_and_on_test(save: Any, run_test: Any) -> None:
    save()
    for answer in (save({"smtp_server": "evil.example"}), run_test({"smtp_server": "evil.example"})):
        assert answer.status_code == 422
        assert answer.get_json()["errors"] == {"smtp_password": [CHANGED_SERVER]}


def test_a_stored_password_never_reaches_another_server(save: Any, run_test: Any) -> None:
    with (
        RecordingServer(users={"user": "s3cret-one"}) as home,
        RecordingServer(users={"user": "x"}) as elsewhere,
    ):
        assert save(at(home, smtp_username="user", smtp_password="s3cret-one")).status_code == 200
        for password in ("", MASK, None):
            change = {"smtp_port": elsewhere.port} | ({} if password is None else {"smtp_password": password})
            assert run_test(change).status_code == 422
            assert save(change).status_code == 422
        assert elsewhere.data == b""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"null", 400),
        (b"7", 400),
        (b'{"smtp_port": NaN}', 400),
        (b'{"smtp_port": 1, "smtp_port": 2}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 60_000, 400),
        (b'{"a":' * 5_000, 400),
        (b'{"smtp_server": {"a": 1}}', 422),
        (b'{"x": "' + b"a" * 1024 * 1024 + b'"}', 413),
    ],
)
def test_a_body_that_is_no_object_of_ours_is_refused(
    client: Visitor, bearer: dict[str, str], body: bytes, status: int
) -> None:
    for path in (URL, f"{URL}/test"):
        headers = {**bearer, "Content-Type": "application/json"}
        if not body and path.endswith("test"):
            continue  # no body means the saved row there
        answer = client.post(path, data=body, headers=headers)
        assert answer.status_code == status
        assert answer.get_json()["status"] == "error"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(client: Visitor, bearer: dict[str, str], content_type: str) -> None:
    answer = client.post(URL, data=json.dumps(SPECIFIED), headers={**bearer, "Content-Type": content_type})
    assert answer.status_code == 415


def test_a_compressed_body_is_refused(client: Visitor, bearer: dict[str, str]) -> None:
    answer = client.post(URL, json=SPECIFIED, headers={**bearer, "Content-Encoding": "gzip"})
    assert answer.status_code == 415


def test_refused_fields_are_named_and_no_secret_is_echoed(save: Any) -> None:
    answer = save(smtp_port=0, smtp_password="hunter2\r\n", from_email="a@x, b@y")
    assert answer.status_code == 422
    assert set(answer.get_json()["errors"]) == {"smtp_port", "smtp_password", "from_email"}
    assert "hunter2" not in answer.text


def test_a_stale_version_answers_409(save: Any) -> None:
    save()
    save(from_name="Second")
    assert save({"from_name": "Third", "version": 1}).status_code == 409


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_another_method_answers_405_as_json_with_allow(client: Visitor, bearer: dict[str, str], method: str) -> None:
    answer = getattr(client, method)(URL, headers=bearer)
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.get_json()["status"] == "error"


def test_an_unknown_path_below_api_answers_in_json(client: Visitor) -> None:
    assert client.get("/api/nothing").get_json() == {"status": "error", "message": "Not found"}


def test_without_or_with_a_wrong_token_nothing_is_told(client: Visitor) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        answer = client.get(URL, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_saved_row_can_be_tested(save: Any, run_test: Any) -> None:
    with RecordingServer(tls=certificates.good_context("localhost"), users={"user": "pä ss"}) as server:
        save(at(server, smtp_server="localhost", smtp_username="user", smtp_password="pä ss", use_tls=True))
        answer = run_test()
    assert answer.status_code == 200
    assert answer.get_json()["message"] == "Connection successful"
    names = [step["name"] for step in answer.get_json()["data"]["steps"]]
    assert names == [
        "settings", "dns", "connect", "greeting", "ehlo", "encryption", "sign_in", "sender", "recipient",
    ]  # fmt: skip
    stored = configs.find_active()
    assert stored
    assert stored.is_verified


def test_typed_values_are_tested_and_stored_nowhere(run_test: Any) -> None:
    with RecordingServer() as server:
        assert run_test(at(server)).status_code == 200
    assert configs.find_active() is None


def test_a_test_delivers_a_mail_only_if_told_to(run_test: Any) -> None:
    with RecordingServer() as server:
        assert run_test(at(server)).status_code == 200
        assert server.mails == []
        answer = run_test(at(server, to="admin@example.com"))
        (mail,) = server.wait_for_mail()
    assert answer.get_json()["data"]["message_id"].encode() in mail.content
    assert mail.recipients == ("admin@example.com",)


def test_steps_are_streamed_and_end_with_the_answer(run_test: Any) -> None:
    with RecordingServer() as server:
        answer = run_test(at(server), Accept="application/x-ndjson")
        lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.mimetype == "application/x-ndjson"
    assert [line["type"] for line in lines] == ["step"] * 9 + ["result"]
    assert lines[-1]["status"] == "success"


def test_invalid_input_is_answered_before_streaming(run_test: Any) -> None:
    answer = run_test({"smtp_port": "abc"}, Accept="application/x-ndjson")
    assert answer.status_code == 422
    assert answer.get_json()["errors"]


def test_a_refusal_of_a_recipient_that_we_chose_is_a_warning(run_test: Any) -> None:
    with ScriptedServer({"RCPT": "550 5.1.1 nobody"}) as server:
        answer = run_test(at(server))
    assert answer.status_code == 200
    assert answer.get_json()["data"]["steps"][-1]["status"] == "warning"


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("greeting", {"GREETING": "421 busy"}, "No greeting from server"),
    ("ehlo", {"EHLO": "550 go away", "HELO": "550 go away"}, "Server refused EHLO"),
    ("sender", {"MAIL": "550 5.7.1 not yours"}, "Sender address refused"),
    ("greeting", {"GREETING": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "Not a mail server"),
    ("sender", {"MAIL": "421 shutting down"}, "Server is not available"),
]


@pytest.mark.parametrize(("phase", "script", "message"), FAULTS)
def test_a_failed_test_names_phase_and_remedy_in_our_words(
    run_test: Any, phase: str, script: dict[str, Any], message: str
) -> None:
    with ScriptedServer(script) as server:
        answer = run_test(at(server))
    body = answer.get_json()
    assert answer.status_code == 422
    assert (body["status"], body["message"], body["data"]["phase"]) == ("error", message, phase)
    assert body["data"]["remedy"]
    assert body["data"]["steps"][-1]["status"] == "failed"


def test_a_refused_login_is_told_as_specified(run_test: Any) -> None:
    with RecordingServer(users={"user": "right"}) as server:
        answer = run_test(at(server, smtp_username="user", smtp_password="wrong-s3cret"))
        attempts = list(server.auth_attempts)
    assert answer.get_json()["message"] == "Authentication failed"
    assert "wrong-s3cret" not in answer.text
    assert len(attempts) == 1


def test_a_dead_server_is_told_as_specified(run_test: Any) -> None:
    body = {"smtp_server": "127.0.0.1", "smtp_port": free_port(), "from_email": "a@example.com", "use_tls": False}
    assert run_test(body).get_json()["message"] == "Could not connect to server"


def test_starttls_is_never_downgraded(run_test: Any) -> None:
    with RecordingServer(users={"user": "s3cret-x"}) as server:
        answer = run_test(at(server, smtp_username="user", smtp_password="s3cret-x", use_tls=True))
        assert server.auth_attempts == []
    assert answer.get_json()["message"] == "Server does not offer STARTTLS"


def test_a_certificate_for_another_name_is_refused(run_test: Any) -> None:
    with RecordingServer(tls=certificates.good_context("other.example"), implicit=True) as server:
        answer = run_test(at(server, smtp_server="localhost", use_ssl=True))
    assert answer.get_json()["message"] == "Certificate not trusted"


def test_a_server_that_repeats_the_password_does_not_bring_it_into_the_answer(run_test: Any) -> None:
    secret = "repeated-s3cret-value"
    with ScriptedServer({"EHLO": "250-x\n250 AUTH PLAIN", "AUTH": f"535 5.7.8 bad login user {secret}"}) as server:
        answer = run_test(at(server, smtp_username="user", smtp_password=secret))
    assert answer.status_code == 422
    assert secret not in answer.text


def test_the_saved_row_cannot_be_tested_under_another_key(
    save: Any, environment: dict[str, str], tmp_path: Path, bearer: dict[str, str]
) -> None:
    save()
    other = create_app({**environment, "APP_KEY": "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"}, instance_path=tmp_path)
    visitor = visit(other)
    assert visitor.get(URL, headers=bearer).get_json()["data"]["needs_reentry"] is True
    answer = visitor.post(f"{URL}/test", headers=bearer)
    assert answer.status_code == 422
    assert "APP_KEY" in answer.get_json()["errors"]["smtp_password"][0]


def test_a_read_only_database_answers_503_and_changes_nothing(
    save: Any, environment: dict[str, str], tmp_path: Path, bearer: dict[str, str]
) -> None:
    save()
    url = f"sqlite:///file:{tmp_path / 'test.db'}?mode=ro&uri=true"
    visitor = visit(create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path))
    assert visitor.get(URL, headers=bearer).status_code == 200
    answer = visitor.post(URL, json={"from_name": "New"}, headers=bearer)
    assert answer.status_code == 503
    assert answer.get_json()["status"] == "error"
    stored = configs.find_active()
    assert stored
    assert (stored.row.from_name, stored.row.version) == ("OpenAlgo", 1)


def test_a_full_database_answers_503_and_changes_nothing(save: Any, app: Flask, client: Visitor) -> None:
    save()

    @event.listens_for(db.engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    db.engine.dispose()
    answer = save(from_name="New", smtp_password="𝄞" * 1024)  # a token that needs pages of its own
    assert answer.status_code == 503
    stored = configs.find_active()
    assert stored
    assert (stored.row.from_name, stored.row.version) == ("OpenAlgo", 1)


def test_tests_are_limited_to_20_a_minute(run_test: Any) -> None:
    codes = [run_test().status_code for _ in range(21)]
    assert codes == [404] * 20 + [429]


def test_the_limit_says_when_to_come_back(run_test: Any) -> None:
    answer = [run_test() for _ in range(21)][-1]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.get_json()["status"] == "error"


def test_switching_off_and_on_again_by_post_is_the_same_server(client: Visitor, bearer: dict[str, str]) -> None:
    first = {"name": "Shop", "smtp_server": "shop.example", "from_email": "a@example.com"}
    assert client.post("/api/settings/smtp", json=first, headers=bearer).status_code == 200
    other = {"name": "Primary", "smtp_server": "other.example", "from_email": "a@example.com"}
    assert client.post("/api/settings/smtp/configs", json=other, headers=bearer).status_code == 201
    for is_active in (False, True):
        assert client.post("/api/settings/smtp", json={"is_active": is_active}, headers=bearer).status_code == 200
    assert client.get("/api/settings/smtp", headers=bearer).get_json()["data"]["smtp_server"] == "shop.example"


def test_a_post_without_a_host_where_no_server_ever_was_active_is_404(client: Visitor, bearer: dict[str, str]) -> None:
    for path in ("/api/settings/smtp", "/api/settings/smtp/test"):
        answer = client.post(
            path, json={"is_active": True} if "test" not in path else {"smtp_port": 25}, headers=bearer
        )
        assert (answer.status_code, answer.get_json()["message"]) == (404, "SMTP not configured")


def test_a_stale_patch_of_a_deleted_server_does_not_reach_the_next(client: Visitor, bearer: dict[str, str]) -> None:
    server = {"smtp_server": "one.example", "from_email": "a@example.com"}
    where = "/api/settings/smtp/configs"
    gone = client.post(where, json={"name": "One", **server}, headers=bearer).get_json()["data"]["id"]
    assert client.delete(f"{where}/{gone}", headers=bearer).status_code == 200
    assert client.post(where, json={"name": "Two", **server}, headers=bearer).get_json()["data"]["id"] != gone
    assert client.patch(f"{where}/{gone}", json={"version": 1, "from_name": "x"}, headers=bearer).status_code == 404
