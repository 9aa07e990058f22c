"""Whoever is no administrator reaches no server in our network: not by saving, by testing or by sending, however it is
spelled, and hears the same of all that is refused.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from app import create_app
from blueprints.access import limiter
from database.engine import transaction
from database.smtp_db import SmtpConfig
from services import email_service
from services.accounts import accounts, administration, api_tokens
from services.accounts.api_tokens import OF_ADMINISTRATORS, Scope
from services.outbox.reasons import words
from services.personal import own_server
from services.settings import rules
from services.smtp import pool
from services.smtp.settings import Security
from tests import certificates
from tests.dns_server import DnsServer, Turns
from tests.forbidden_places import EVERY, ODD_FORMS, ZONE, watched
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, bring, free_host
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.scripted_server import Connection, ScriptedServer, start_tls
from tests.visitors import (
    NEW_PASSWORD,
    PASSWORD,
    Visitor,
    mail_through,
    make_alice,
    make_bob,
    subject_of,
    text_of,
    visit,
)
from utils.addresses import parse_host
from utils.allowed_places import NOT_FOR_ACCOUNTS

SETTINGS = "/api/smtp/settings"
TEST = "/api/smtp/test"
SEND = "/api/messages/send-email"
PAGE = "/account/smtp"
MAIL = {"to": "jane@example.com", "subject": "Hello", "text": "It is on its way.", "wait": True}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer(ZONE) as server:
        yield server


@pytest.fixture(autouse=True)
def _time_to_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that this machine delays is no name server that fails."""
    monkeypatch.setattr(rules, "LOOK_UP_SECONDS", PATIENCE)


@pytest.fixture
def environment(environment: dict[str, str], dns: DnsServer) -> dict[str, str]:
    """No network is named for accounts."""
    unlimited = {"ACCOUNT_EMAILS_PER_MINUTE": "0", "ACCOUNT_EMAILS_PER_DAY": "0"}
    return {**environment, **unlimited, "DNS_RESOLVER": dns.address, "PERSONAL_SMTP_FALLBACK": "never"}


@pytest.fixture
def bob(app: Flask) -> int:
    make_alice(is_admin=True)
    return make_bob().id


@pytest.fixture
def headers(bob: int) -> dict[str, str]:
    scopes = [scope for scope in Scope if scope not in OF_ADMINISTRATORS]
    return {"Authorization": f"Bearer {api_tokens.create(bob, 'script', scopes=scopes)[0]}"}


def values(host: object, **more: object) -> dict[str, object]:
    return {"host": host, "port": 2525, "secure": False, "user": "bob@example.com", "pass": "Canary-771", **more}


def asked(client: Visitor, path: str, body: object, headers: dict[str, str]) -> TestResponse:
    limiter.storage.reset()
    return client.post(path, json=body, headers=headers)


@contextmanager
def quiet(dns: DnsServer) -> Iterator[None]:
    """Nothing is connected to but the name server."""
    with watched(but=(int(dns.address.rpartition(":")[2]),)) as seen:
        yield
    assert seen == []


def leave(bob: int) -> None:
    """Take away the account's own server."""
    with transaction() as session:
        session.execute(delete(SmtpConfig).where(SmtpConfig.account_id == bob))


@pytest.mark.parametrize("path", [SETTINGS, TEST])
def test_no_spelling_of_a_host_inside_is_saved_or_tested(
    client: Visitor, dns: DnsServer, headers: dict[str, str], path: str
) -> None:
    canary = free_host()
    dns.zone["canary.test", "A"] = [canary]
    spelled = [canary, f"::ffff:{canary}", f"[::{canary}]", f"64:ff9b::{canary}", "canary.test"]
    with ScriptedServer(host=canary, port=2525) as server, quiet(dns):
        answers = {host: asked(client, path, values(host), headers) for host in (*EVERY, *spelled)}
        assert server.connections == []
    told = {host: (answer.status_code, answer.data) for host, answer in answers.items()}
    assert len(told) > 60
    assert set(told.values()) == {told["127.0.0.1"]}
    assert NOT_FOR_ACCOUNTS in json.loads(told["127.0.0.1"][1])["error"]


@pytest.mark.parametrize("path", [SETTINGS, TEST])
def test_what_is_no_host_at_all_is_refused_by_its_form(
    client: Visitor, dns: DnsServer, headers: dict[str, str], path: str
) -> None:
    asked_before = len(dns.questions)
    with quiet(dns):
        answers = {host: asked(client, path, values(host), headers) for host in ODD_FORMS}
    assert {answer.status_code for answer in answers.values()} == {422}
    assert all(set(answer.get_json()["errors"]) == {"host"} for answer in answers.values())
    assert len(dns.questions) == asked_before


def test_no_spelling_of_a_host_inside_is_sent_through(
    client: Visitor, dns: DnsServer, bob: int, headers: dict[str, str]
) -> None:
    """As if the row had been saved when that was allowed, or by somebody with a hand in the database."""
    told = {}
    with quiet(dns):
        for host in EVERY:
            bring(bob, parse_host(host), 2525, login=("bob", "Canary-771"), security=Security.STARTTLS)
            waited = asked(client, SEND, MAIL, headers)
            shown = {**waited.get_json(), "id": "", "messageId": "", "dueAt": ""}
            stored = own_server.find(bob)
            assert stored is not None
            told[host] = waited.status_code, shown, stored.row.last_error
            assert not email_service.send_email("jane@example.com", "Hello", "Text", account_id=bob)
            leave(bob)
    assert {host: each for host, each in told.items() if each != told["127.0.0.1"]} == {}
    assert NOT_FOR_ACCOUNTS in str(told["127.0.0.1"])


def test_a_stored_server_inside_is_not_tested_either(
    client: Visitor, dns: DnsServer, bob: int, headers: dict[str, str]
) -> None:
    told = set()
    with quiet(dns):
        for host in ("127.0.0.1", "::1", "localhost", "loopback.test", "mixed.test", "absent.test"):
            bring(bob, host, 2525, login=("bob", "Canary-771"), security=Security.STARTTLS)
            answer = asked(client, TEST, None, headers)
            told.add((answer.status_code, answer.data))
            leave(bob)
    assert len(told) == 1
    assert told.pop()[0] == 422


@pytest.mark.parametrize("port", [1, 22, 24, 80, 110, 143, 443, 993, 1025, 2465, 2526, 3306, 5432, 6379, 9200, 11211])
@pytest.mark.parametrize("path", [SETTINGS, TEST])
def test_ports_of_other_services_are_refused_by_a_rule(
    client: Visitor, dns: DnsServer, headers: dict[str, str], path: str, port: int
) -> None:
    with quiet(dns):
        answer = asked(client, path, values("8.8.8.8", port=port), headers)
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == {"port": ["Use port 25, 465, 587 or 2525."]}


@pytest.fixture(scope="module")
def global_server() -> Iterator[RecordingServer]:
    """By which the system's own mail goes, like what owners are told."""
    with RecordingServer() as server:
        yield server


@pytest.fixture
def allowed(environment: dict[str, str], tmp_path: Path, global_server: RecordingServer) -> Iterator[Flask]:
    """An application that allows servers of accounts on this machine, with alice and bob."""
    variables = {
        **environment,
        **PLACES,
        **mail_through(global_server),
        "SMTP_CA_FILE": str(certificates.ca_file()),
    }
    app = create_app(variables, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        make_bob()
        yield app
    pool.pool.close()


BOB = 2
PRIVATE = "10.0.0.1"


@pytest.mark.parametrize(
    ("host", "turns"),
    [
        ("turned.test", Turns(["127.77.0.9"], [PRIVATE])),
        ("turned2.test", Turns(["127.77.0.9"], ["127.77.0.9", PRIVATE])),
        ("turned3.test", Turns(["127.77.0.9"], ["169.254.169.254"])),
    ],
)
def test_a_name_that_is_turned_after_the_save_leads_nowhere(
    allowed: Flask, dns: DnsServer, host: str, turns: Turns
) -> None:
    """The first look-up is the save's; each later one is judged anew, and what was judged is what is connected to."""
    dns.zone[host, "A"] = turns
    text, _ = api_tokens.create(BOB, "script", scopes=["settings", "send"])
    headers = {"Authorization": f"Bearer {text}"}
    visitor = visit(allowed)
    assert asked(visitor, SETTINGS, values(host), headers).status_code == 200
    with quiet(dns):
        tested = asked(visitor, TEST, None, headers)
        waited = asked(visitor, SEND, MAIL, headers)
        assert not email_service.send_email("jane@example.com", "Hello", "Text", account_id=BOB)
    assert (tested.status_code, tested.get_json()["error"]) == (422, f"SMTP connection test failed: {NOT_FOR_ACCOUNTS}")
    assert NOT_FOR_ACCOUNTS in str(waited.get_json())


def test_what_was_judged_is_what_is_connected_to_while_the_certificate_proves_the_name(
    allowed: Flask, dns: DnsServer
) -> None:
    """Between judging and connecting there is no second look-up, so it gains nothing to change the answer meanwhile."""
    host = free_host()
    dns.zone["pinned.test", "A"] = Turns([host], [PRIVATE])
    context = certificates.good_context("pinned.test")
    with (
        RecordingServer(host=host, port=2525, tls=context, users={"bob": "Canary-771"}) as server,
        watched(but=(int(dns.address.rpartition(":")[2]),)) as seen,
    ):
        bring(BOB, "pinned.test", 2525, login=("bob", "Canary-771"), security=Security.STARTTLS)
        assert email_service.send_email("jane@example.com", "Hello", "Text", account_id=BOB)
        assert len(server.mails) == 1
    assert seen == [(host, 2525)]


def test_a_certificate_for_the_address_alone_is_refused(allowed: Flask, dns: DnsServer) -> None:
    host = free_host()
    dns.zone["named.test", "A"] = [host]
    context = certificates.good_context(host)
    with RecordingServer(host=host, port=2525, tls=context, users={"bob": "Canary-771"}) as server:
        bring(BOB, "named.test", 2525, login=("bob", "Canary-771"), security=Security.STARTTLS)
        assert not email_service.send_email("jane@example.com", "Hello", "Text", account_id=BOB)
        assert server.mails == []
        assert server.auth_attempts == []


def test_one_inside_among_others_that_may_be_used_refuses_all(allowed: Flask, dns: DnsServer) -> None:
    host = free_host()
    dns.zone["several.test", "A"] = [host, PRIVATE]
    with RecordingServer(host=host, port=2525) as server, quiet(dns):
        bring(BOB, "several.test", 2525)
        assert not email_service.send_email("jane@example.com", "Hello", "Text", account_id=BOB)
        assert server.data == b""


def test_a_kept_connection_of_an_administrator_is_not_used_once_it_is_none(
    environment: dict[str, str], tmp_path: Path, dns: DnsServer
) -> None:
    host = free_host()
    app = create_app(environment, instance_path=tmp_path)  # which names no network for accounts
    with app.app_context(), RecordingServer(host=host, port=2525) as server:
        make_alice(is_admin=True)
        bob = make_bob(is_admin=True)
        bring(bob.id, host, 2525)
        assert email_service.send_email("jane@example.com", "Hello", "Text", account_id=bob.id)
        administration.demote(bob.id)
        with quiet(dns):
            assert not email_service.send_email("jane@example.com", "Hello", "Text", account_id=bob.id)
        assert len(server.mails) == 1
        administration.promote(bob.id)
        assert email_service.send_email("jane@example.com", "Hello", "Text", account_id=bob.id)
        assert len(server.mails) == 2
    pool.pool.close()


def test_mail_in_the_queue_is_judged_when_it_goes(environment: dict[str, str], tmp_path: Path, dns: DnsServer) -> None:
    app = create_app(environment, instance_path=tmp_path)
    with app.app_context():
        make_alice(is_admin=True)
        bob = make_bob(is_admin=True)
        bring(bob.id, "127.0.0.1", 2525)
        mail_id = email_service.queue_email("jane@example.com", "Hello", "Text", account_id=bob.id)
        administration.demote(bob.id)
        with quiet(dns):
            drain()
        row = row_of(mail_id)
        assert row.state == "deferred"
        assert words(row.reason) == NOT_FOR_ACCOUNTS


CANARY = "Canary-Banner-5"
OFFERS = f"250-{CANARY}\n250-STARTTLS\n250 AUTH PLAIN LOGIN"


def echoed(connection: Connection) -> None:
    """Say back all that was said, decoded as well, in words of this server."""
    said = bytes(connection.received).split(b"\r\n")[-2]
    plain = base64.b64decode(said.rpartition(b" ")[2] + b"==", validate=False).replace(b"\0", b" ")
    connection.send(b"535 5.7.8 " + CANARY.encode() + b" " + said + b" " + plain + b"\r\n")


TALKATIVE = {
    "greets and refuses": {"GREETING": f"554 5.7.1 {CANARY}"},
    "is an FTP server": {
        "GREETING": f"220 {CANARY} FTP server ready",
        "EHLO": f"500 {CANARY}",
        "HELO": f"500 {CANARY}",
    },
    "is an SSH server": {"GREETING": f"SSH-2.0-{CANARY}\r\n".encode()},
    "is a database": {"GREETING": f"-ERR {CANARY}\r\n".encode()},
    "echoes credentials": {"EHLO": OFFERS, "STARTTLS": start_tls(), "AUTH": echoed},
    "refuses the sender": {"EHLO": OFFERS, "STARTTLS": start_tls(), "MAIL": f"550 5.7.1 {CANARY}"},
    "refuses the recipient": {"EHLO": OFFERS, "STARTTLS": start_tls(), "RCPT": f"550 5.1.1 {CANARY}"},
    "refuses the message": {"EHLO": OFFERS, "STARTTLS": start_tls(), "MESSAGE": f"554 5.6.0 {CANARY}"},
    "takes everything": {"EHLO": OFFERS, "STARTTLS": start_tls(), "MESSAGE": f"250 2.0.0 queued as {CANARY}"},
}


@pytest.mark.parametrize("script", TALKATIVE.values(), ids=TALKATIVE)
def test_nothing_that_a_server_says_reaches_whoever_entered_it(
    allowed: Flask, global_server: RecordingServer, script: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    host = free_host()
    context = certificates.good_context(host)
    text, _ = api_tokens.create(BOB, "script", scopes=["settings", "send", "read"])
    headers = {"Authorization": f"Bearer {text}"}
    person = visit(allowed)
    person.sign_in("bob", PASSWORD)
    with ScriptedServer(script, host=host, port=2525, tls=context) as server:
        visitor = visit(allowed)
        answers = [
            asked(visitor, SETTINGS, values(host), headers),
            asked(visitor, f"{TEST}?steps=true", None, headers),
            asked(visitor, f"{TEST}?steps=true", values(host), headers),
            (waited := asked(visitor, SEND, MAIL, headers)),
            visitor.get(f"{SETTINGS}?details=true", headers=headers),
            visitor.get("/api/messages", headers=headers),
            visitor.get(f"/api/messages/{waited.get_json()['id']}", headers=headers),
            *(person.get(path) for path in ("/account", "/account/smtp", "/account/senders")),
        ]
        assert server.connections
    for answer in answers:
        shown = answer.text + str(answer.headers)
        assert CANARY.casefold() not in shown.casefold(), answer.request.path
        assert "Canary-771" not in shown
    with transaction() as session:
        row = session.scalars(select(SmtpConfig).where(SmtpConfig.account_id == BOB)).one()
        assert CANARY not in str(row.last_error)
    drain()
    for notice in global_server.mails:
        assert CANARY not in text_of(notice) + subject_of(notice)
    assert "Canary-771" not in caplog.text


def test_the_test_is_no_password_sprayer(allowed: Flask) -> None:
    """Five a minute and twenty an hour, however it is asked, and whoever else asks at the same time is not held up."""
    host = free_host()
    context = certificates.good_context(host)
    text, _ = api_tokens.create(BOB, "script", scopes=["settings"])
    other, _ = api_tokens.create(BOB, "another script", scopes=["settings"])
    with RecordingServer(host=host, port=2525, tls=context, users={"bob@example.com": "right"}) as server:
        person = visit(allowed)
        person.sign_in("bob", PASSWORD)
        form = {**TYPED, "smtp_server": host, "smtp_password": "guess", "csrf_token": person.csrf_token()}
        statuses = [person.post(f"{PAGE}/test", data=form).status_code]
        for number, token in enumerate([text, other] * 6):
            address = {"REMOTE_ADDR": f"203.0.113.{number + 1}"}
            body = values(host, **{"pass": f"guess {number}"})
            answer = visit(allowed).post(
                TEST, json=body, headers={"Authorization": f"Bearer {token}"}, environ_base=address
            )
            statuses.append(answer.status_code)
        assert statuses == [200] + [422] * 4 + [429] * 8
        assert len(server.auth_attempts) == 5
        carol = accounts.create("carol", "carol@example.com", NEW_PASSWORD)
        theirs, _ = api_tokens.create(carol.id, "script", scopes=["settings"])
        answer = visit(allowed).post(TEST, json=values(host), headers={"Authorization": f"Bearer {theirs}"})
        assert answer.status_code == 422


def test_nor_is_the_save_with_a_mail_behind_it(allowed: Flask) -> None:
    host = free_host()
    context = certificates.good_context(host)
    text, _ = api_tokens.create(BOB, "script", scopes=["settings", "send"])
    headers = {"Authorization": f"Bearer {text}"}
    with RecordingServer(host=host, port=2525, tls=context, users={"bob@example.com": "right"}) as server:
        statuses = []
        for number in range(15):
            saved = visit(allowed).post(SETTINGS, json=values(host, **{"pass": f"guess {number}"}), headers=headers)
            statuses.append(saved.status_code)
            visit(allowed).post(SEND, json=MAIL, headers=headers)
        assert statuses == [200] * 10 + [429] * 5
        assert len({attempt.password for attempt in server.auth_attempts}) == 10


TYPED = {"smtp_port": "2525", "security": "starttls", "smtp_username": "bob", "smtp_password": "Canary-771"}


@pytest.fixture
def person(app: Flask, bob: int) -> Visitor:
    """Bob in a browser."""
    visitor = visit(app)
    assert visitor.sign_in("bob", PASSWORD).status_code == 303
    return visitor


def test_the_page_saves_and_tests_nothing_inside(dns: DnsServer, person: Visitor) -> None:
    token = person.csrf_token()
    with quiet(dns):
        for host in EVERY:
            limiter.storage.reset()
            form = {**TYPED, "smtp_server": host, "csrf_token": token}
            saved = person.post(PAGE, data=form)
            tested = person.post(f"{PAGE}/test", data=form)
            assert saved.status_code == 422, host
            assert NOT_FOR_ACCOUNTS in saved.text, host
            assert NOT_FOR_ACCOUNTS in tested.text, host
    assert own_server.find(2) is None


def test_whether_a_name_exists_inside_is_not_told_by_a_test(dns: DnsServer, person: Visitor) -> None:
    token, told = person.csrf_token(), {}
    with quiet(dns):
        for host in ("inner.test", "loopback.test", "mixed.test", "six.test", "empty.test", "absent.test", "intranet"):
            limiter.storage.reset()
            form = {**TYPED, "smtp_server": host, "csrf_token": token}
            answer = person.post(f"{PAGE}/test", data=form, headers={"Accept": "application/x-ndjson"})
            told[host] = re.sub(r'("ms": )\d+', r"\1", answer.text).replace(host, "HOST")
    assert set(told.values()) == {told["absent.test"]}


def test_looking_for_a_provider_connects_to_nobody(
    client: Visitor, dns: DnsServer, person: Visitor, headers: dict[str, str]
) -> None:
    found = {}
    with quiet(dns):
        for domain in ("inner.test", "loopback.test", "absent.test", "mixed.test"):
            limiter.storage.reset()
            answer = client.get("/api/settings/smtp/discover", query_string={"email": f"a@{domain}"}, headers=headers)
            found[domain] = answer.text.replace(domain, "DOMAIN")
            assert person.get(PAGE, query_string={"find": f"a@{domain}"}).status_code == 200
    assert set(found.values()) == {found["absent.test"]}
