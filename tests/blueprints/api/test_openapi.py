"""The API document says what the API does."""

import html
import json
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from
from schemathesis import Case
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from app import create_app
from blueprints.access import limiter
from blueprints.api import openapi
from blueprints.api.openapi import CONVERTER, Operation, build_document
from database.outbox_db import State
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.personal import senders
from services.settings import configs
from services.settings.fields import parse_change
from tests.conftest import ADMIN_TOKEN
from tests.long_run import ALL
from tests.mails import REFUSAL, attempted, in_state
from tests.visitors import PASSWORD, Visitor, make_alice, make_bob, visit
from utils.errors import InvalidInput

EXAMPLES = settings(max_examples=160 if ALL else 8, deadline=None, suppress_health_check=list(HealthCheck))
CONFIGS = "/api/settings/smtp/configs"
ONE = CONFIGS + "/{config_id}"
OPERATIONS = [
    ("/api/settings/smtp", "GET"),
    ("/api/settings/smtp", "POST"),
    ("/api/settings/smtp/test", "POST"),
    ("/api/settings/smtp/providers", "GET"),
    ("/api/settings/smtp/discover", "GET"),
    ("/api/settings/smtp/domain-check", "GET"),
    (CONFIGS, "GET"),
    (CONFIGS, "POST"),
    (ONE, "GET"),
    (ONE, "PATCH"),
    (ONE, "DELETE"),
    (f"{ONE}/activate", "POST"),
    (f"{ONE}/deactivate", "POST"),
    (f"{ONE}/test", "POST"),
    ("/api/settings/alerts", "GET"),
    ("/api/settings/alerts/rules", "PATCH"),
    ("/api/settings/alerts/channels", "POST"),
    ("/api/settings/alerts/channels/{channel_id}", "PATCH"),
    ("/api/settings/alerts/channels/{channel_id}", "DELETE"),
    ("/api/settings/alerts/channels/{channel_id}/test", "POST"),
    (f"{ONE}/oauth", "GET"),
    (f"{ONE}/oauth", "PUT"),
    (f"{ONE}/oauth", "DELETE"),
    *((f"{ONE}/oauth/{what}", "POST") for what in ("authorize", "finish", "device", "poll", "obtain", "check")),
    ("/api/messages", "GET"),
    ("/api/messages/send-email", "POST"),
    ("/api/messages/direct", "GET"),
    ("/api/messages/{mail_id}", "GET"),
    ("/api/messages/{mail_id}/retry", "POST"),
    ("/api/messages/{mail_id}/cancel", "POST"),
]

OF_ACCOUNTS = [
    ("/api/smtp/settings", "GET"),
    ("/api/smtp/settings", "POST"),
    ("/api/smtp/settings", "DELETE"),
    ("/api/smtp/test", "POST"),
    *(("/api/smtp/oauth", method) for method in ("GET", "PUT", "DELETE")),
    *((f"/api/smtp/oauth/{what}", "POST") for what in ("authorize", "finish", "device", "poll", "obtain", "check")),
    ("/api/smtp/usage", "GET"),
    ("/api/smtp/senders", "GET"),
    ("/api/smtp/senders", "POST"),
    ("/api/smtp/senders/{sender_id}", "DELETE"),
]


@lru_cache
def document() -> dict[str, Any]:
    """The same for every application."""
    return build_document()


def operation_of(app: Flask, path: str, method: str) -> Any:
    """One operation as the document has it; values out of our own source are tried in full runs only."""
    schema = schemathesis.openapi.from_dict(document())
    schema.config.analysis.constants.enabled = ALL
    schema.app = app
    return schema[path][method]


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_api_answers_whatever_is_sent_as_documented(app: Flask, path: str, method: str) -> None:
    for name in ("One", "Two"):
        configs.create(parse_change({"name": name, "smtp_server": "127.0.0.1", "from_email": "a@example.com"}))
    mail_ids = [in_state(state) for state in State]
    attempted(mail_ids[0], **REFUSAL)
    attempted(None, **REFUSAL)
    operation = operation_of(app, path, method)

    @EXAMPLES
    @given(case=operation.as_strategy(), number=sampled_from([1, 2, 3, 2**31 - 1]))
    def check(case: Case[Any], number: int) -> None:
        if "config_id" in case.path_parameters:
            case.path_parameters["config_id"] = number  # two of them are there
        if "mail_id" in case.path_parameters and number < len(mail_ids):
            case.path_parameters["mail_id"] = mail_ids[number]
        # Rules between fields, and whether a server answers, are beyond what a schema can promise; tries with
        # wrong tokens run into their limit (test_access has them).
        case.call_and_validate(
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            excluded_checks=[positive_data_acceptance, ignored_auth],
        )

    check()


@pytest.mark.parametrize(("path", "method"), OF_ACCOUNTS)
def test_the_api_of_accounts_answers_whatever_is_sent_as_documented(app: Flask, path: str, method: str) -> None:
    account = make_bob()
    token, _ = api_tokens.create(account.id, "own", scopes=(Scope.SETTINGS, Scope.SEND, Scope.READ))
    senders.add(account.id, "sales@example.org")
    operation = operation_of(app, path, method)

    @EXAMPLES
    @given(case=operation.as_strategy(), number=sampled_from([1, 2, 2**31 - 1]))
    def check(case: Case[Any], number: int) -> None:
        limiter.storage.reset()  # of as many tests as there are examples the last would be told nothing else
        if "sender_id" in case.path_parameters:
            case.path_parameters["sender_id"] = number
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=[positive_data_acceptance, ignored_auth],
        )

    check()


def test_the_document_lists_every_api_route_but_itself(app: Flask) -> None:
    routes = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")}
    listed = set(build_document()["paths"])
    own = {"/api/openapi.json", "/api/docs", "/api/docs/{name}"}
    assert listed == {CONVERTER.sub(r"{\1}", route) for route in routes} - own


def test_parameters_stand_in_the_document(app: Flask) -> None:
    paths = build_document()["paths"]
    assert [known["name"] for known in paths[CONFIGS]["get"]["parameters"]] == ["q", "active", "security", "has_error"]
    found = {(known["name"], known["in"], known["required"]) for known in paths[ONE]["delete"]["parameters"]}
    assert found == {("config_id", "path", True), ("version", "query", False)}


def test_every_operation_has_an_id_of_its_own(app: Flask) -> None:
    ids = [operation["operationId"] for path in build_document()["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    assert all(known.isidentifier() for known in ids)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    paths = build_document()["paths"]
    return [(path, method, spec) for path, methods in paths.items() for method, spec in methods.items()]


def test_the_first_page_begins_with_authentication_and_leads_to_a_page_for_each_subject(client: Visitor) -> None:
    page = client.get("/api/docs").text
    headings = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert headings == ["Authentication", "Subjects"]
    led_to = re.findall(r'href="(/api/docs/[\w-]+)"', page)
    text = "".join(client.get(path).text for path in dict.fromkeys(led_to))
    for path, _, spec in operations():
        assert f"<code>{path}</code>" in text
        assert text.count(f'id="{spec["operationId"]}"') == 1


def test_a_subject_that_is_none_is_not_found(client: Visitor) -> None:
    for name in ("nothing", "_authentication", "..%2F", "%00"):
        assert client.get(f"/api/docs/{name}").status_code == 404


def test_each_operation_has_one_call_by_curl_that_a_shell_understands(app: Flask) -> None:
    for path, method, spec in operations():
        (call,) = spec["x-codeSamples"]
        words = shlex.split(call["source"])
        asked = next(word for word in words if word.startswith("http://localhost:5000/api/"))
        pattern = re.sub(r"\\{\w+\\}", "[0-9a-f]+", re.escape(path))
        assert re.fullmatch(rf"http://localhost:5000{pattern}(\?.*)?", asked), call
        assert ("-X" in words) == (method != "get")
        if "-d" in words:
            assert json.loads(words[words.index("-d") + 1])


def test_each_operation_has_one_answer_that_is_as_its_model_says(app: Flask) -> None:
    views = {
        (CONVERTER.sub(r"{\1}", rule.rule), method): app.view_functions[rule.endpoint]
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, method, spec in operations():
        shown = [
            (int(status), answer["content"]["application/json"]["example"])
            for status, answer in spec["responses"].items()
            if "example" in answer["content"]["application/json"]
        ]
        ((status, example),) = shown
        assert status in (200, 201, 202)
        operation: Operation = vars(views[path, method.upper()])["operation"]
        operation.answers[status].model_validate(example)


def test_the_page_shows_every_operation(client: Visitor) -> None:
    page = client.get("/api/docs/smtp-settings")
    assert page.status_code == 200
    assert page.text.count("/api/settings/smtp/test") >= 1
    assert "smtp_server" in page.text


def test_the_page_explains_every_parameter(client: Visitor) -> None:
    subjects = re.findall(r'<h3 id="about-([\w-]+)"', client.get("/api/docs").text)
    pages = "".join(html.unescape(client.get(f"/api/docs/{name}").text) for name in subjects)
    described = {
        (parameter["name"], parameter.get("description") or parameter["schema"].get("description"))
        for path in build_document()["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
    }
    assert {"before", "limit", "state"} <= {name for name, text in described if text}
    assert [name for name, text in described if text and f"<dd>{text}</dd>" not in pages] == []


def test_the_document_names_the_configured_address_and_not_the_requested_host(client: Visitor) -> None:
    document = client.get("/api/openapi.json", headers={"Host": "evil.example"}).get_json()
    assert document["servers"] == [{"url": "http://localhost:5000"}]


def test_the_document_is_the_same_for_every_application(environment: dict[str, str], app: Flask) -> None:
    first = build_document()
    with create_app(environment).app_context():
        assert build_document() == first


@pytest.fixture
def in_production(environment: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    secure = {"APP_ENV": "production", "BASE_URL": "https://mail.example.com"}
    app = create_app(environment | secure, instance_path=tmp_path)
    with app.app_context():
        yield app


SECURE: dict[str, Any] = {"base_url": "https://mail.example.com"}
DOCUMENTS = pytest.mark.parametrize("path", ["/api/openapi.json", "/api/docs", "/api/docs/sending"])


@DOCUMENTS
def test_in_production_nobody_reads_it_without_signing_in(in_production: Flask, path: str) -> None:
    visitor = visit(in_production)
    assert visitor.get(path, headers={"Accept": "application/json"}, **SECURE).status_code == 401
    bearer = {"Authorization": "Bearer sealpost_wrong"}
    assert visitor.get(path, headers=bearer, **SECURE).status_code == 401


def test_in_production_a_person_is_led_to_the_sign_in_and_back(in_production: Flask) -> None:
    answer = visit(in_production).get("/api/docs", headers={"Accept": "text/html"}, **SECURE)
    assert (answer.status_code, answer.location) == (303, "/login?next=/api/docs")


@DOCUMENTS
def test_in_production_any_account_and_any_token_reads_it(in_production: Flask, path: str) -> None:
    alice = make_alice(is_admin=True)
    make_bob()
    own, _ = api_tokens.create(alice.id, "deploy")
    sending, _ = api_tokens.create(alice.id, "shop", scopes=["send"])
    for token in (own, sending, ADMIN_TOKEN):
        bearer = {"Authorization": f"Bearer {token}"}
        assert visit(in_production).get(path, headers=bearer, **SECURE).status_code == 200
    bob = visit(in_production)
    form = bob.get("/login", **SECURE).text
    token = form.split('name="csrf_token" value="')[1].split('"')[0]
    fields = {"login": "bob", "password": PASSWORD, "csrf_token": token}
    assert bob.post("/login", data=fields, **SECURE).status_code == 303
    assert bob.get(path, **SECURE).status_code == 200


@DOCUMENTS
def test_in_development_anybody_reads_it(client: Visitor, path: str) -> None:
    assert client.get(path).status_code == 200


@DOCUMENTS
def test_what_has_not_changed_is_not_sent_again(admin: Visitor, path: str) -> None:
    first = admin.get(path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = admin.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert admin.get(path, headers={"If-None-Match": '"another"'}).status_code == 200


def test_the_page_of_one_person_is_not_that_of_another(app: Flask, admin: Visitor) -> None:
    make_bob()
    bob = visit(app)
    bob.sign_in("bob")
    tags = [visitor.get("/api/docs").headers["ETag"] for visitor in (admin, bob, visit(app))]
    assert len(set(tags)) == 3
    answer = bob.get("/api/docs", headers={"If-None-Match": tags[0]})
    assert answer.status_code == 200
    assert "bob" in answer.text


def test_the_document_is_built_once_a_process(app: Flask, client: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/api/openapi.json").data
    monkeypatch.setattr(openapi, "build_document", lambda: pytest.fail("built again"))
    assert client.get("/api/openapi.json").data == first
    assert client.get("/api/docs").status_code == 200


def test_a_message_that_waits_is_shown_and_not_lost(admin: Visitor) -> None:
    tag = admin.get("/api/docs").headers["ETag"]
    admin.post_form("/account/email/withdraw")
    answer = admin.get("/api/docs", headers={"If-None-Match": tag})
    assert "Your address stays unchanged" in answer.text


LONGEST_HOST = ".".join(["a" * 63] * 3 + ["b" * 61])
LONGEST_ADDRESS = "a" * 64 + "@" + ".".join(["b" * 63] * 2 + ["c" * 57, "com"])
LONGEST = {
    "smtp_server": LONGEST_HOST,
    "helo_hostname": LONGEST_HOST,
    "from_email": LONGEST_ADDRESS,
    "reply_to": LONGEST_ADDRESS,
    "name": "n" * 100,
    "smtp_username": "u" * 255,
    "from_name": "n" * 255,
    "smtp_password": "p" * 1024,
}


@pytest.mark.parametrize("field", LONGEST)
def test_the_length_that_the_document_promises_is_taken_and_one_more_is_not(app: Flask, field: str) -> None:
    promised = build_document()["components"]["schemas"]["SmtpChange"]["properties"][field]["maxLength"]
    assert promised == len(LONGEST[field])
    assert parse_change({field: LONGEST[field]})
    with pytest.raises(InvalidInput):
        parse_change({field: LONGEST[field] + "x"})


@pytest.mark.parametrize("name", ["Backup", "backup", " Backup ", "\uff22ackup"])
def test_a_name_is_unique_as_the_document_says(app: Flask, bearer: dict[str, str], name: str) -> None:
    said = build_document()["components"]["schemas"]["SmtpChange"]["properties"]["name"]["description"]
    assert "Unique" in said
    body = {"smtp_server": "127.0.0.1", "from_email": "a@example.com"}
    first = visit(app).post(CONFIGS, json={**body, "name": "Backup"}, headers=bearer)
    second = visit(app).post(CONFIGS, json={**body, "name": name}, headers=bearer)
    assert (first.status_code, second.status_code) == (201, 422)
