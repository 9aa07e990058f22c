"""What an account may save and test as its own server: the guard, the policy, the password, the sender, the counts."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from blueprints.access import limiter
from database.engine import transaction
from database.session_db import BrowserSession
from services.accounts import administration
from services.accounts.api_tokens import Scope
from services.personal import own_server
from services.settings import personal_route
from services.settings.rules import CHANGED_SERVER
from tests import certificates
from tests.blueprints.api.own_server.calls import (
    HOST,
    OWN,
    PASSWORD,
    SETTINGS,
    TEST,
    Post,
    bearer_of,
    confirm,
    decide,
    rows,
    set_policy,
    set_template,
)
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import Connection, ScriptedServer, hang
from tests.visitors import Visitor, visit
from utils import clock
from utils.allowed_places import NOT_FOR_ACCOUNTS


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
    assert {frozenset(step) for step in answer["steps"]} == {frozenset(("name", "label", "status", "ms", "fact"))}
    assert [
        word for word in ("recording server", "mail.test", "aiosmtpd", "PIPELINING", "250") if word in str(answer)
    ] == []
    refused = run_test({**OWN, "pass": "wrong"}, "?steps=true").get_json()
    assert refused["steps"][-1]["name"] == "sign_in"
    assert "535" not in str(refused)


def test_an_administrator_is_told_what_the_server_said(client: Visitor, server: RecordingServer, bob: int) -> None:
    administration.promote(bob)
    answer = client.post(f"{TEST}?steps=true", json=OWN, headers=bearer_of(bob, Scope.ADMIN))
    assert any("recording server" in step["fact"] for step in answer.get_json()["steps"])


def test_a_refused_guard_reads_alike_at_saving_and_testing(save: Post, run_test: Post) -> None:
    inside = ("10.0.0.1", "169.254.169.254", "::1", "internal")
    saves = [save(host=host) for host in inside]
    tests = [run_test({**OWN, "host": host}) for host in (*inside, "smtp.example.com")]
    assert {answer.status_code for answer in (*saves, *tests)} == {422}
    refused = {
        "success": False,
        "error": f"Check the fields. host: {NOT_FOR_ACCOUNTS}",
        "errors": {"host": [NOT_FOR_ACCOUNTS]},
    }
    assert [answer.get_json() for answer in saves] == [refused] * 4
    failed = {"success": False, "error": f"SMTP connection test failed: {NOT_FOR_ACCOUNTS}"}
    assert [answer.get_json() for answer in tests] == [failed] * 5


def test_a_public_name_that_nobody_knows_yet_can_be_saved(save: Post) -> None:
    assert save(host="smtp.example.com").status_code == 200


@pytest.mark.parametrize("port", [22, 80, 3306, 2526])
def test_ports_of_other_services_are_refused(save: Post, run_test: Post, port: int) -> None:
    for answer in (save(port=port), run_test({**OWN, "port": port})):
        assert (answer.status_code, [*answer.get_json()["errors"]]) == (422, ["port"])


def test_an_older_session_changes_no_stored_password(app: Flask, bob: int) -> None:
    visitor = visit(app)
    visitor.sign_in("bob")
    token = {"X-CSRFToken": visitor.csrf_token("/account")}
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    assert visitor.post(SETTINGS, json=OWN, headers=token).status_code == 200  # there was none to change
    answer = visitor.post(SETTINGS, json=OWN, headers=token)
    assert (answer.status_code, answer.get_json().keys()) == (403, {"success", "error"})
    rest = {name: value for name, value in OWN.items() if name != "pass"}
    assert visitor.post(SETTINGS, json={**rest, "fromName": "Bob"}, headers=token).status_code == 200


@pytest.mark.parametrize(
    "change", [{"host": "127.70.0.2"}, {"port": 587}, {"user": "alice@example.com"}, {"secure": True}]
)
def test_a_stored_password_stays_with_host_port_user_and_mode(save: Post, change: dict[str, object]) -> None:
    save()
    assert save(**{"pass": None}, fromName="Bob").status_code == 200
    answer = save(**{"pass": None}, **change)
    assert (answer.status_code, answer.get_json()["errors"]) == (422, {"pass": [CHANGED_SERVER]})
    assert save(**change).status_code == 200


def test_another_server_never_hears_the_stored_password(save: Post, run_test: Post) -> None:
    save()
    changes = {"host": "127.70.1.1", "user": "eve@example.com", "secure": True, "fromName": "Eve"}
    context = certificates.good_context("127.70.1.1")
    with RecordingServer(host="127.70.1.1", port=2525, tls=context, users={}) as another:
        for size in range(len(changes) + 1):
            for names in combinations(changes, size):
                limiter.storage.reset()
                change = {name: changes[name] for name in ("host", *names)}
                for answer in (save(**{"pass": None}, **change), run_test(change)):
                    assert (answer.status_code, answer.get_json()["errors"]) == (422, {"pass": [CHANGED_SERVER]})
        assert another.auth_attempts == []
        assert bytes(another.data) == b""
    assert [(row.smtp_server, row.version) for row in rows()] == [(HOST, 1)]


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
    second = save(query="?details=true", host="127.70.0.9").get_json()["settings"]
    assert (first["version"], second["version"], len(rows())) == (1, 2, 1)
    assert save(version=1).status_code == 409
    assert save(version=1).get_json().keys() == {"success", "error"}
    assert save(version=2).status_code == 200


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
    for host in ("127.70.0.2", "notexample.com", "example.com.evil.example", "xn--exmple-cua.com"):
        for answer in (save(host=host), run_test({**OWN, "host": host})):
            assert answer.get_json()["errors"] == {"host": [own_server.NOT_NAMED.format(f"{HOST}, example.com")]}
    for host in ("example.com", "SMTP.Example.com"):
        assert save(host=host).status_code == 200


def test_a_disabled_server_is_neither_saved_nor_tested(save: Post, run_test: Post, bob: int) -> None:
    save()
    decide(bob, "disabled")
    for answer in (save(), run_test(), run_test(OWN)):
        assert (answer.status_code, answer.get_json()["error"]) == (403, personal_route.IS_OFF)


def test_a_template_fixes_host_port_and_mode(save: Post, run_test: Post, server: RecordingServer) -> None:
    set_template("example.com", HOST, 2525, "starttls")
    for field, value in (("host", "127.70.0.2"), ("port", 587), ("secure", True)):
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
    assert save(user="bob@other.example", host="127.70.0.2").status_code == 200


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


def test_an_account_has_two_tests_at_once_and_others_have_theirs(app: Flask, bob: int) -> None:
    carol = administration.invite("carol", "carol@example.com").id
    of_bob, of_carol = bearer_of(bob), bearer_of(carol)
    body = {**OWN, "host": "127.70.0.1"}
    called = threading.Semaphore(0)

    def keep(connection: Connection) -> None:
        called.release()
        hang(connection)

    with ThreadPoolExecutor() as pool, ScriptedServer({"GREETING": keep}, host="127.70.0.1", port=2525):
        begun = [pool.submit(visit(app).post, TEST, json=body, headers=of_bob) for _ in range(2)]
        for _ in begun:
            assert called.acquire(timeout=PATIENCE)
        refused = visit(app).post(TEST, json=body, headers=of_bob)
        assert (refused.status_code, refused.get_json().keys()) == (429, {"success", "error"})
        assert refused.headers["Retry-After"]
        begun.append(pool.submit(visit(app).post, TEST, json=body, headers=of_carol))
        assert called.acquire(timeout=PATIENCE)
    assert [future.result(PATIENCE).status_code for future in begun] == [422] * 3
