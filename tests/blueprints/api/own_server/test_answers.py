"""What the API about an account's own server answers, and in which shape it refuses."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import create_app
from blueprints.access import public
from services import audit
from services.accounts import administration
from services.accounts.api_tokens import Scope
from services.settings import configs, health
from services.settings.fields import parse_change
from tests.blueprints.api.own_server.calls import (
    HOST,
    OWN,
    REFUSED,
    SETTINGS,
    TEST,
    Post,
    bearer_of,
    decide,
    rows,
)
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, visit


def test_saving_answers_as_specified(save: Post) -> None:
    answer = save()
    assert answer.status_code == 200
    body = answer.get_json()
    moment = body["settings"].pop("updatedAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert body == {
        "message": "SMTP settings saved successfully",
        "settings": {
            "host": HOST,
            "port": 2525,
            "secure": False,
            "user": "bob@example.com",
            "updatedBy": "bob",
        },
    }


def test_getting_answers_as_specified(save: Post, shown: Callable[..., dict[str, Any]]) -> None:
    save()
    assert shown() == {
        "host": HOST,
        "port": 2525,
        "secure": False,
        "user": "bob@example.com",
        "hasPassword": True,
        "isGlobal": False,
    }


def test_a_test_answers_as_specified(run_test: Post, server: RecordingServer) -> None:
    answer = run_test(OWN)
    assert (answer.status_code, answer.get_json()) == (
        200,
        {"success": True, "message": "SMTP connection test successful"},
    )


def test_a_test_that_failed_says_so_in_our_words(run_test: Post, server: RecordingServer) -> None:
    answer = run_test({**OWN, "pass": "wrong"})
    assert (answer.status_code, answer.get_json()) == (
        422,
        {"success": False, "error": "SMTP connection test failed: Authentication failed"},
    )


def test_removing_answers_as_specified(client: Visitor, headers: dict[str, str], save: Post) -> None:
    save()
    for _ in range(2):  # what is gone is gone
        answer = client.delete(SETTINGS, headers=headers)
        assert (answer.status_code, answer.get_json()) == (
            200,
            {"message": "SMTP settings removed. System will use global SMTP settings."},
        )
    assert rows() == []


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in REFUSED.items() for value in values])
def test_a_refused_field_is_named_and_nothing_is_stored(save: Post, field: str, value: object) -> None:
    answer = save(**{field: value})
    assert answer.status_code == 422
    body = answer.get_json()
    assert body["success"] is False
    assert [*body["errors"]] == [field]
    assert body["error"].endswith(f"{field}: {body['errors'][field][0]}")
    assert rows() == []


@pytest.mark.parametrize("field", ["secure", "fromEmail", "fromName", "replyTo", "host", "port", "user", "pass"])
def test_null_is_no_value(client: Visitor, headers: dict[str, str], field: str) -> None:
    answer = client.post(SETTINGS, json={**OWN, field: None}, headers=headers)
    assert (answer.status_code, [*answer.get_json()["errors"]]) == (422, [field])


@pytest.mark.parametrize(
    "field",
    [
        "smtp_server",
        "password",
        "from_email",
        "is_active",
        "account_id",
        "accountId",
        "hasPassword",
        "isGlobal",
        "name",
    ],
)
def test_unknown_fields_are_refused(save: Post, run_test: Post, field: str) -> None:
    for answer in (save(**{field: 1}), run_test({**OWN, field: 1})):
        assert answer.get_json()["errors"] == {field: ["Unknown field."]}
    assert rows() == []


@pytest.mark.parametrize(
    "sent",
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"host": "a", "host": "b"}', "application/json", 400),
        (b'{"port": NaN}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"host=a", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b'{"host": "' + b"a" * 70_000 + b'"}', "application/json", 413),
    ],
)
@pytest.mark.parametrize("path", [SETTINGS, TEST])
def test_a_body_that_cannot_be_read_is_refused_in_the_shape_of_this_api(
    client: Visitor, headers: dict[str, str], path: str, sent: tuple[bytes, str, int]
) -> None:
    body, kind, status = sent
    answer = client.post(path, data=body, content_type=kind, headers=headers)
    assert answer.status_code == status
    assert answer.get_json().keys() == {"success", "error"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", SETTINGS, 401),
        ("POST", TEST, 401),
        ("PUT", SETTINGS, 405),
        ("GET", TEST, 405),
        ("GET", "/api/smtp/", 404),
        ("GET", "/api/smtp/settings/2", 404),
        ("POST", "/api/smtp/nothing", 404),
    ],
)
def test_every_other_refusal_has_that_shape(client: Visitor, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.get_json().keys() == {"success", "error"}
    assert ("Allow" in answer.headers) is (status == 405)


def test_a_fault_of_ours_has_that_shape(app: Flask, client: Visitor) -> None:
    def broken() -> str:
        return str(1 // 0)

    for path in ("/api/smtp/broken", "/api/broken"):
        app.add_url_rule(path, path, public(broken))
    assert client.get("/api/smtp/broken").get_json().keys() == {"success", "error"}
    assert client.get("/api/broken").get_json().keys() == {"status", "message"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer wrong"}, {"Content-Encoding": "gzip"}])
def test_sending_is_refused_in_that_shape(client: Visitor, method: str, sent: dict[str, str]) -> None:
    answer = client.open("/api/messages/send-email", method=method, headers=sent)
    assert answer.get_json().keys() == {"success", "error"}


def test_the_administration_api_keeps_its_own(client: Visitor) -> None:
    assert client.get("/api/settings/smtp").get_json().keys() == {"status", "message"}
    assert client.get("/api/smtpsettings").get_json().keys() == {"status", "message"}
    assert client.get("/api/messages").get_json().keys() == {"status", "message"}


def test_a_read_only_database_answers_503_in_that_shape_and_changes_nothing(
    save: Post, headers: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    save()
    url = f"sqlite:///file:{tmp_path / 'test.db'}?mode=ro&uri=true"
    read_only = visit(create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path))
    assert read_only.get(SETTINGS, headers=headers).status_code == 200
    for answer in (
        read_only.post(SETTINGS, json={**OWN, "fromName": "x"}, headers=headers),
        read_only.delete(SETTINGS, headers=headers),
    ):
        assert (answer.status_code, answer.get_json().keys()) == (503, {"success", "error"})
    assert [row.version for row in rows()] == [1]


@pytest.mark.parametrize("scope", [Scope.SEND, Scope.READ])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", SETTINGS), ("POST", SETTINGS), ("DELETE", SETTINGS), ("POST", TEST)]
)
def test_a_token_of_another_scope_is_refused(client: Visitor, bob: int, scope: Scope, method: str, path: str) -> None:
    answer = client.open(path, method=method, headers=bearer_of(bob, scope))
    assert (answer.status_code, answer.get_json().keys()) == (403, {"success", "error"})


@pytest.mark.parametrize(
    ("method", "path"), [("GET", SETTINGS), ("POST", SETTINGS), ("DELETE", SETTINGS), ("POST", TEST)]
)
def test_admin_token_has_no_server_of_its_own(client: Visitor, bearer: dict[str, str], method: str, path: str) -> None:
    answer = client.open(path, method=method, json=OWN if method == "POST" else None, headers=bearer)
    assert answer.status_code == 403
    assert answer.get_json()["error"].startswith("ADMIN_TOKEN belongs to no account.")


def test_a_session_saves_with_its_csrf_token_alone(app: Flask, bob: int) -> None:
    visitor = visit(app)
    visitor.sign_in("bob")
    assert visitor.post(SETTINGS, json=OWN).status_code == 400
    assert visitor.delete(SETTINGS).get_json().keys() == {"success", "error"}
    token = {"X-CSRFToken": visitor.csrf_token("/account")}
    assert visitor.post(SETTINGS, json=OWN, headers=token).status_code == 200
    assert visitor.get(SETTINGS).get_json()["user"] == "bob@example.com"
    assert visitor.delete(SETTINGS, headers=token).status_code == 200


def test_the_password_is_told_nowhere(
    client: Visitor, headers: dict[str, str], save: Post, run_test: Post, server: RecordingServer
) -> None:
    answers = [save(query="?details=true"), run_test(OWN, "?steps=true"), save(host="127.0.0.1", port=5)]
    answers += [client.get(f"{SETTINGS}?details=true", headers=headers), run_test({**OWN, "user": ""})]
    assert [answer for answer in answers if "C4nary" in answer.text] == []
    (row,) = rows()
    assert "C4nary" not in repr(vars(row))


def test_nobody_elses_server_is_seen_or_touched(client: Visitor, save: Post, bob: int) -> None:
    carol = administration.invite("carol", "carol@example.com").id
    of_carol = bearer_of(carol)
    save()
    assert client.get(SETTINGS, headers=of_carol).get_json()["isGlobal"] is True
    assert client.post(TEST, headers=of_carol).status_code == 404
    client.delete(SETTINGS, headers=of_carol)
    client.post(SETTINGS, json={**OWN, "user": "carol@example.com"}, headers=of_carol)
    assert {row.account_id: row.smtp_username for row in rows()} == {
        bob: "bob@example.com",
        carol: "carol@example.com",
    }
    for query in (f"?account_id={bob}", f"?account={bob}", f"?id={bob}"):
        assert client.get(SETTINGS + query, headers=of_carol).status_code == 422
        assert client.delete(SETTINGS + query, headers=of_carol).status_code == 422


def test_an_administrator_sees_the_global_server_that_sends_and_others_do_not(
    client: Visitor, shown: Callable[..., dict[str, Any]], bob: int
) -> None:
    nothing = {"host": None, "port": None, "secure": None, "user": None, "hasPassword": False, "isGlobal": True}
    alice = bearer_of(bob - 1, Scope.ADMIN)
    assert shown() == nothing
    assert shown(of=alice) == nothing
    configs.save(
        parse_change(
            {
                "smtp_server": "mail.example.com",
                "smtp_port": 465,
                "smtp_username": "shop",
                "smtp_password": "secret",
                "from_email": "shop@example.com",
            }
        )
    )
    assert shown() == nothing
    assert shown(of=alice) == {
        "host": "mail.example.com",
        "port": 465,
        "secure": True,
        "user": "shop",
        "hasPassword": True,
        "isGlobal": True,
    }
    assert shown(of=bearer_of(bob - 1, Scope.SETTINGS)) == nothing


def test_details_tell_how_it_stands(
    save: Post, run_test: Post, shown: Callable[..., dict[str, Any]], bob: int, server: RecordingServer
) -> None:
    assert shown("?details=true")["status"] == "none"
    save(fromName="Bob", replyTo="help@example.com")
    told = shown("?details=true")
    assert (told["status"], told["fromEmail"], told["fromName"], told["replyTo"], told["version"]) == (
        "in_use",
        "bob@example.com",
        "Bob",
        "help@example.com",
        1,
    )
    assert told["reason"] == health.UNTESTED
    run_test()
    assert shown("?details=true")["reason"] == ""
    decide(bob, "global")
    assert (shown("?details=true")["status"], shown()["isGlobal"]) == ("not_used", True)


@pytest.mark.parametrize("query", ["?details=1", "?details=", "?details=true&details=true", "?detail=true"])
def test_a_query_is_read_strictly(client: Visitor, headers: dict[str, str], query: str) -> None:
    assert client.get(SETTINGS + query, headers=headers).status_code == 422


def test_what_is_saved_stands_in_the_trail_without_its_values(
    save: Post, client: Visitor, headers: dict[str, str]
) -> None:
    save()
    save(fromName="Robert")
    client.delete(SETTINGS, headers=headers)
    told = [event for event in audit.events() if event.subject == f"configuration Own server ({HOST}:2525)"]
    assert [str(event.action) for event in reversed(told)] == ["created", "activated", "updated", "deleted"]
    assert not [event for event in told if "Robert" in str(event) or "C4nary" in str(event)]
