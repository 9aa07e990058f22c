"""The API by which an account sets up a mail server of its own, as the specification has it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from app import create_app
from database.engine import reading, transaction
from database.policy_db import PersonalPolicy, ServerTemplate
from database.sender_db import AccountSender
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services import audit
from services.accounts import administration, api_tokens
from services.accounts.api_tokens import Scope
from services.personal import own_server
from services.settings import configs, personal_route
from services.settings.fields import MASK, parse_change
from services.settings.rules import CHANGED_SERVER
from services.settings.usable_senders import key_of
from tests import certificates
from tests.recording_server import RecordingServer
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock
from utils.allowed_places import NOT_FOR_ACCOUNTS

SETTINGS = "/api/smtp/settings"
TEST = "/api/smtp/test"
HOST = "127.71.1.1"
PASSWORD = "app-passwörd-C4nary"
SPECIFIED = {"host": "smtp.example.com", "port": 587, "secure": False, "user": "user@example.com", "pass": PASSWORD}
OWN = {"host": HOST, "port": 2525, "secure": False, "user": "bob@example.com", "pass": PASSWORD}
REFUSED: dict[str, tuple[object, ...]] = {
    "host": (None, "", "  ", 5, True, [], {}, "a b", "a\nb", "http://a.b", "a" * 300),
    "port": (None, 0, -1, 65536, True, False, 587.5, "587", "", [], {}, 1e300),
    "user": (None, "", "   ", 5, True, [], {}, "a\r\nb", "a" * 256),
    "pass": (None, "", MASK, 5, True, [], {}, "a\nb", "a\0b", "x" * 1025),
    "secure": ("true", 1, 0, "", [], {}),
    "fromEmail": ("", "x", 5, True, "a@b@c", "a@example.com, b@example.com", "a\n@b.com"),
    "fromName": (5, True, "a\nb", "x" * 256),
    "replyTo": (5, True, "x", "a@b\n", "a@example.com,b@example.com"),
    "version": (0, "1", True, 2**31),
}
CALLS = [("GET", SETTINGS), ("POST", SETTINGS), ("DELETE", SETTINGS), ("POST", TEST)]

Post = Callable[..., TestResponse]


@pytest.fixture(scope="module")
def server() -> Iterator[RecordingServer]:
    """Bob's own, at a port that accounts may use."""
    context = certificates.good_context(HOST)
    with RecordingServer(host=HOST, port=2525, tls=context, users={"bob@example.com": PASSWORD}) as server:
        yield server


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """No name leads anywhere in the tests, and what leads nowhere is refused: servers are addresses."""
    return {
        **environment,
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8",
    }


@pytest.fixture
def bob(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


@pytest.fixture
def headers(bob: int) -> dict[str, str]:
    return bearer_of(bob)


def bearer_of(account_id: int, *scopes: Scope) -> dict[str, str]:
    text, _ = api_tokens.create(account_id, "own", scopes=scopes or (Scope.SETTINGS,))
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def save(client: Visitor, headers: dict[str, str]) -> Post:
    """Save Bob's server, with changes; None leaves a field out."""

    def post(body: dict[str, Any] | None = None, query: str = "", **changes: object) -> TestResponse:
        merged = {**(OWN if body is None else body), **changes}
        given = {name: value for name, value in merged.items() if value is not None}
        return client.post(SETTINGS + query, json=given, headers=headers)

    return post


@pytest.fixture
def run_test(client: Visitor, headers: dict[str, str]) -> Post:
    def post(body: dict[str, Any] | None = None, query: str = "") -> TestResponse:
        if body is None:
            return client.post(TEST + query, headers=headers)
        return client.post(TEST + query, json=body, headers=headers)

    return post


@pytest.fixture
def shown(client: Visitor, headers: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def get(query: str = "", of: dict[str, str] | None = None) -> dict[str, Any]:
        answer = client.get(SETTINGS + query, headers=of or headers)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.get_json()
        return found

    return get


def rows() -> list[SmtpConfig]:
    with reading() as session:
        return list(session.scalars(select(SmtpConfig).where(SmtpConfig.account_id.is_not(None))))


def set_policy(**values: object) -> None:
    with transaction() as session:
        session.add(PersonalPolicy(updated_at=clock.now(), hosts=values.pop("hosts", ""), **values))


def decide(account_id: int, decision: str) -> None:
    with transaction() as session:
        session.execute(update(Account).where(Account.id == account_id).values(personal_smtp=decision))


def set_template(domain: str, host: str, port: int, security: str) -> None:
    with transaction() as session:
        session.add(ServerTemplate(domain=domain, host=host, port=port, security=security, created_at=clock.now()))


def confirm(account_id: int, email: str) -> None:
    with transaction() as session:
        row = AccountSender(account_id=account_id, email=email, email_key=key_of(email), created_at=clock.now())
        row.confirmed_at = clock.now()
        session.add(row)


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


def test_the_stored_server_is_tested_where_nothing_is_given(
    save: Post, run_test: Post, server: RecordingServer, shown: Callable[..., dict[str, Any]]
) -> None:
    assert (run_test().status_code, run_test().get_json()) == (
        404,
        {"success": False, "error": "SMTP not configured"},
    )
    save()
    assert run_test().status_code == 200
    assert shown("?details=true")["verifiedAt"]
    assert run_test({"pass": "wrong"}).status_code == 422
    assert run_test({"port": 587}).get_json()["errors"] == {"pass": [CHANGED_SERVER]}


def test_steps_are_told_on_request_and_without_the_servers_words(run_test: Post, server: RecordingServer) -> None:
    answer = run_test(OWN, "?steps=true").get_json()
    assert [step["name"] for step in answer["steps"]][-1] == "recipient"
    assert {frozenset(step) for step in answer["steps"]} == {frozenset(("name", "label", "status", "ms"))}
    refused = run_test({**OWN, "pass": "wrong"}, "?steps=true").get_json()
    assert refused["steps"][-1]["name"] == "sign_in"
    assert "535" not in str(refused)


def test_an_administrator_is_told_what_the_server_said(client: Visitor, server: RecordingServer, bob: int) -> None:
    administration.promote(bob)
    answer = client.post(f"{TEST}?steps=true", json=OWN, headers=bearer_of(bob, Scope.ADMIN))
    assert any("recording server" in step["fact"] for step in answer.get_json()["steps"])


def test_a_refused_guard_reads_alike_at_saving_and_testing(save: Post, run_test: Post) -> None:
    answers = [
        answer.get_json()
        for host in ("10.0.0.1", "169.254.169.254", "::1", "internal", "smtp.example.com")
        for answer in (save(host=host), run_test({**OWN, "host": host}))
        if answer.status_code == 422 or pytest.fail(str(answer.status_code))
    ]
    refused = {
        "success": False,
        "error": f"Check the fields. host: {NOT_FOR_ACCOUNTS}",
        "errors": {"host": [NOT_FOR_ACCOUNTS]},
    }
    assert answers == [refused] * 10


@pytest.mark.parametrize("port", [22, 80, 3306, 2526])
def test_ports_of_other_services_are_refused(save: Post, run_test: Post, port: int) -> None:
    for answer in (save(port=port), run_test({**OWN, "port": port})):
        assert (answer.status_code, [*answer.get_json()["errors"]]) == (422, ["port"])


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
        assert answer.get_json()["errors"] == {field: ["There is no such field."]}
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


@pytest.mark.parametrize(
    "change", [{"host": "127.71.1.2"}, {"port": 587}, {"user": "alice@example.com"}, {"secure": True}]
)
def test_a_stored_password_stays_with_host_port_user_and_mode(save: Post, change: dict[str, object]) -> None:
    save()
    assert save(**{"pass": None}, fromName="Bob").status_code == 200
    answer = save(**{"pass": None}, **change)
    assert (answer.status_code, answer.get_json()["errors"]) == (422, {"pass": [CHANGED_SERVER]})
    assert save(**change).status_code == 200


@pytest.mark.parametrize(("port", "secure"), [(465, True), (587, False), (25, False), (2525, False)])
def test_the_mode_that_is_left_out_is_that_of_the_port(save: Post, port: int, secure: bool) -> None:
    assert save(port=port, secure=None).get_json()["settings"]["secure"] is secure
    (row,) = rows()
    assert (row.use_ssl, row.use_tls) == (secure, not secure)


@pytest.mark.parametrize(("port", "secure"), [(465, False), (587, True)])
def test_a_mode_that_is_given_is_taken(save: Post, port: int, secure: bool) -> None:
    assert save(port=port, secure=secure).get_json()["settings"]["secure"] is secure


def test_an_account_has_one_server_which_a_save_replaces(save: Post) -> None:
    first = save(query="?details=true").get_json()["settings"]
    second = save(query="?details=true", host="127.71.1.9").get_json()["settings"]
    assert (first["version"], second["version"], len(rows())) == (1, 2, 1)
    assert save(version=1).status_code == 409
    assert save(version=1).get_json().keys() == {"success", "error"}
    assert save(version=2).status_code == 200


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
    assert told["reason"] == own_server.UNTESTED
    run_test()
    assert shown("?details=true")["reason"] == ""
    decide(bob, "global")
    assert (shown("?details=true")["status"], shown()["isGlobal"]) == ("not_used", True)


@pytest.mark.parametrize("query", ["?details=1", "?details=", "?details=true&details=true", "?detail=true"])
def test_a_query_is_read_strictly(client: Visitor, headers: dict[str, str], query: str) -> None:
    assert client.get(SETTINGS + query, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("user", "sender"),
    [("bob@mail.example", "bob@mail.example"), ("apikey", "bob@example.com"), ("bob", "bob@example.com")],
)
def test_from_is_the_login_or_the_accounts_address(save: Post, user: str, sender: str) -> None:
    save(user=user)
    assert rows()[0].from_email == sender


def test_another_from_has_to_be_confirmed(save: Post, bob: int) -> None:
    refused = save(fromEmail="sales@example.org")
    assert refused.get_json()["errors"] == {"fromEmail": [own_server.NOT_YOURS]}
    assert save(fromEmail="BOB@example.com").status_code == 200
    confirm(bob, "sales@example.org")
    assert save(fromEmail="sales@example.org").status_code == 200
    assert save(user="apikey").status_code == 200  # what was chosen stays while it may be used
    assert rows()[0].from_email == "sales@example.org"


def test_from_follows_the_login_if_none_was_chosen(save: Post) -> None:
    save(user="bob@one.example")
    refused = save(user="bob@two.example", fromEmail="bob@one.example")
    assert [*refused.get_json()["errors"]] == ["fromEmail"]
    save(user="bob@two.example")
    assert rows()[0].from_email == "bob@two.example"


def test_servers_of_accounts_can_be_switched_off(
    client: Visitor, headers: dict[str, str], save: Post, run_test: Post, shown: Callable[..., dict[str, Any]]
) -> None:
    save()
    set_policy(allowed="off")
    for answer in (save(), run_test(), run_test(OWN)):
        assert (answer.status_code, answer.get_json()) == (403, {"success": False, "error": personal_route.ALL_OFF})
    assert shown()["isGlobal"] is True
    assert client.delete(SETTINGS, headers=headers).status_code == 200


def test_the_host_has_to_be_named_where_hosts_are(save: Post, run_test: Post) -> None:
    set_policy(allowed="named", hosts=f"{HOST}\nexample.com")
    assert save().status_code == 200
    for host in ("127.71.1.2", "notexample.com", "example.com.evil.example", "xn--exmple-cua.com"):
        for answer in (save(host=host), run_test({**OWN, "host": host})):
            assert answer.get_json()["errors"] == {"host": [own_server.NOT_NAMED.format(f"{HOST}, example.com")]}
    for host in ("example.com", "SMTP.Example.com"):  # only that such names lead nowhere here
        assert save(host=host).get_json()["errors"] == {"host": [NOT_FOR_ACCOUNTS]}


def test_a_disabled_server_is_neither_saved_nor_tested(save: Post, run_test: Post, bob: int) -> None:
    save()
    decide(bob, "disabled")
    for answer in (save(), run_test(), run_test(OWN)):
        assert (answer.status_code, answer.get_json()["error"]) == (403, personal_route.IS_OFF)


def test_a_template_fixes_host_port_and_mode(save: Post, run_test: Post, server: RecordingServer) -> None:
    set_template("example.com", HOST, 2525, "starttls")
    for field, value in (("host", "127.71.1.2"), ("port", 587), ("secure", True)):
        for answer in (save(**{field: value}), run_test({**OWN, field: value})):
            assert answer.status_code == 422
            assert [*answer.get_json()["errors"]] == [field]
    assert save({"user": "bob@example.com", "pass": PASSWORD}).status_code == 200
    assert save({"pass": PASSWORD}).get_json()["settings"] | {"updatedAt": ""} == {
        "host": HOST,
        "port": 2525,
        "secure": False,
        "user": "bob@example.com",
        "updatedBy": "bob",
        "updatedAt": "",
    }
    assert save(user="bob@other.example", host="127.71.1.2").status_code == 200


def test_tests_of_an_account_are_counted(run_test: Post, client: Visitor, bob: int) -> None:
    wrong = {**OWN, "host": ""}
    assert [run_test(wrong).status_code for _ in range(6)] == [422] * 5 + [429]
    refused = run_test(wrong)
    assert refused.get_json().keys() == {"success", "error"}
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    administration.promote(bob - 1)
    alice = bearer_of(bob - 1, Scope.ADMIN)
    answers = [client.post(TEST, json=wrong, headers=alice).status_code for _ in range(21)]
    assert answers == [422] * 20 + [429]


def test_another_token_or_session_gets_no_tests_of_its_own(run_test: Post, client: Visitor, bob: int) -> None:
    wrong = {**OWN, "host": ""}
    for _ in range(5):
        run_test(wrong)
    assert client.post(TEST, json=wrong, headers=bearer_of(bob)).status_code == 429


def test_what_is_saved_stands_in_the_trail_without_its_values(
    save: Post, client: Visitor, headers: dict[str, str]
) -> None:
    save()
    save(fromName="Robert")
    client.delete(SETTINGS, headers=headers)
    told = [event for event in audit.events() if event.subject == f"configuration Own server ({HOST}:2525)"]
    assert [str(event.action) for event in reversed(told)] == ["created", "activated", "updated", "deleted"]
    assert not [event for event in told if "Robert" in str(event) or "C4nary" in str(event)]
