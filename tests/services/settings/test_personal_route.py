"""Mail of an account goes through its own server first; each reason to pass that over can be read."""

import email
import email.policy
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from app import create_app
from database.engine import db, transaction
from database.policy_db import PersonalPolicy
from services import email_service
from services.accounts import accounts, fields
from services.outbox import log
from services.settings import own_rows, personal_route, route
from tests.outbox import drain, row_of
from tests.own_servers import PLACES, PORT, bring, change, decide, free_host
from tests.own_servers import row_of as server_of
from tests.recording_server import RecordedMail, RecordingServer
from tests.statements import heard
from tests.visitors import mail_through, make_alice, make_bob
from utils import clock

TO = "reader@example.net"
PASSED_OVER = {
    "an administrator lets the global server send": personal_route.GLOBAL_SERVES,
    "servers of accounts are off": personal_route.ALL_OFF,
    "switched off by an administrator": personal_route.IS_OFF,
    "the address has changed": own_rows.INACTIVE[own_rows.ADDRESS_CHANGED],
    "not active": own_rows.INACTIVE[""],
    "an unknown reason": own_rows.INACTIVE[""],
    "a host that is not allowed": personal_route.NOT_ALLOWED,
    "altered": "These settings were changed outside",
    "of another key": "The stored password cannot be read",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running


@pytest.fixture(scope="module")
def own() -> Iterator[RecordingServer]:
    with RecordingServer(host=free_host(), port=PORT) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_mails(shared: RecordingServer, own: RecordingServer) -> None:
    shared.mails.clear()
    own.mails.clear()


@pytest.fixture
def environment(environment: dict[str, str], shared: RecordingServer) -> dict[str, str]:
    return {**environment, **mail_through(shared), **PLACES}


@pytest.fixture
def alice(app: Flask) -> int:
    return make_alice().id


def policy(**values: object) -> None:
    with transaction() as session:
        session.add(PersonalPolicy(id=1, updated_at=clock.now(), **values))


def header(mail: RecordedMail) -> EmailMessage:
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def pass_over(why: str, account_id: int, config_id: int) -> None:
    if why == "an administrator lets the global server send":
        decide(account_id, personal_smtp="global")
    elif why == "servers of accounts are off":
        policy(allowed="off")
    elif why == "switched off by an administrator":
        decide(account_id, personal_smtp="disabled")
    elif why == "the address has changed":
        change(config_id, inactive_reason="address_changed", is_active=False)
    elif why == "not active":
        change(config_id, is_active=False)
    elif why == "an unknown reason":
        change(config_id, inactive_reason="of tomorrow")
    elif why == "a host that is not allowed":
        policy(allowed="named", hosts="smtp.example.com\nexample.org")
    elif why == "altered":
        change(config_id, smtp_server="127.9.9.9")
    elif why == "of another key":
        change(config_id, key_id="00000000", smtp_password="x")


def test_mail_of_an_account_goes_through_its_own_server_and_other_mail_does_not(
    alice: int, shared: RecordingServer, own: RecordingServer
) -> None:
    bring(alice, own.host, own.port, from_name="Ann")
    assert email_service.send_email(TO, "mine", "text", account_id=alice)
    assert email_service.send_email(TO, "the system's", "text")
    assert [header(mail)["Subject"] for mail in own.mails] == ["mine"]
    assert header(own.mails[0])["From"] == f"Ann <own{alice}@accounts.example>"
    assert [header(mail)["Subject"] for mail in shared.mails] == ["the system's"]


def test_an_account_without_a_server_of_its_own_uses_the_global_one_whatever_the_rule(
    alice: int, shared: RecordingServer
) -> None:
    policy(fallback="never")
    assert email_service.send_email(TO, "s", "b", account_id=alice)
    assert len(shared.mails) == 1
    first, *_ = route.steps(alice)
    assert (first.source, first.reason, first.settings) == ("personal", personal_route.ABSENT, None)


@pytest.mark.parametrize("why", PASSED_OVER)
@pytest.mark.parametrize("fallback", ["always", "connection", "never"])
def test_an_own_server_is_passed_over_with_a_reason_and_the_rule_says_whether_the_global_one_sends(
    alice: int, shared: RecordingServer, own: RecordingServer, why: str, fallback: str
) -> None:
    config_id = bring(alice, own.host, own.port)
    decided = policy if why not in ("servers of accounts are off", "a host that is not allowed") else None
    if decided:
        decided(fallback=fallback)
    pass_over(why, alice, config_id)
    if not decided:
        with transaction() as session:
            row = session.get(PersonalPolicy, 1)
            assert row
            row.fallback = fallback
    first, *others = route.steps(alice)
    assert first.settings is None
    assert first.reason.startswith(PASSED_OVER[why])
    is_free = why in ("an administrator lets the global server send", "servers of accounts are off")
    is_unreadable = why in ("altered", "of another key")
    goes = is_free or fallback == "always" or (is_unreadable and fallback == "connection")
    assert email_service.send_email(TO, "s", "b", account_id=alice) is goes
    assert (len(shared.mails), len(own.mails)) == (int(goes), 0)
    assert any(step.settings for step in others) is goes
    if not goes:
        assert personal_route.NOBODY_ELSE in [step.reason for step in others]


def test_of_an_account_that_is_not_there_or_is_disabled_the_caller_is_told(alice: int) -> None:
    decide(bob := make_bob().id, disabled_at=clock.now())
    for account_id, told in ((10**6, "No such account"), (0, "No such account"), (2**40, "No such"), (bob, "disabled")):
        for send in (email_service.send_email, email_service.queue_email):
            with pytest.raises(ValueError, match=rf"^account_id: .*{told}"):
                send(TO, "s", "b", account_id=account_id)
    with pytest.raises(ValueError, match=r"^from_email: Only an account’s email"):
        email_service.send_email(TO, "s", "b", from_email="a@example.com")
    with pytest.raises(ValueError, match=r"^from_email: "):
        email_service.send_email(TO, "s", "b", from_email="a@b\nBcc: c@d", account_id=alice)


def test_queued_mail_of_an_account_keeps_the_sender_that_was_chosen(
    alice: int, shared: RecordingServer, own: RecordingServer
) -> None:
    config_id = bring(alice, own.host, own.port)
    mail_id = email_service.queue_email(TO, "s", "b", account_id=alice, from_email='"Änn, I." <alice@example.com>')
    drain()
    assert row_of(mail_id).state == "sent"
    assert header(own.mails[0])["From"] == '"Änn, I." <alice@example.com>'
    assert own.mails[0].sender == "alice@example.com"
    change(config_id, is_active=False)
    decide(alice, personal_smtp="global")
    email_service.queue_email(TO, "s", "b", account_id=alice, from_email="alice@example.com")
    drain()
    assert header(shared.mails[0])["From"] == "alice via OpenAlgo <noreply@example.com>"
    assert header(shared.mails[0])["Reply-To"] == f"own{alice}@accounts.example"


def test_a_sender_that_the_account_may_not_use_gives_way_to_its_servers_own(alice: int, own: RecordingServer) -> None:
    bring(alice, own.host, own.port)
    assert email_service.send_email(TO, "s", "b", account_id=alice, from_email="boss@example.com")
    assert header(own.mails[0])["From"] == f"own{alice}@accounts.example"
    assert own.mails[0].sender == f"own{alice}@accounts.example"


def test_the_warning_about_one_accounts_server_silences_none_about_anothers(
    alice: int, own: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    bob = make_bob().id
    for account_id in (alice, bob):
        change(bring(account_id, own.host, own.port), smtp_server="127.9.9.9")
    for account_id in (alice, bob, alice, bob):
        email_service.send_email(TO, "s", "b", account_id=account_id)
    told = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    warned = [event for event in told if event["event"] == "smtp_server_passed_over" and "account_id" in event]
    assert [event["account_id"] for event in warned] == [alice, bob]


def test_the_specified_functions_go_by_the_same_route(
    alice: int, shared: RecordingServer, own: RecordingServer
) -> None:
    config_id = bring(alice, own.host, own.port)
    found = email_service.get_smtp_config(alice)
    assert found
    assert (found["server"], found["port"], found["from_email"]) == (own.host, PORT, f"own{alice}@accounts.example")
    assert email_service.test_smtp_connection(alice) == (True, "Connection successful")
    assert server_of(config_id).verified_at
    assert (own.mails, shared.mails) == ([], [])
    change(config_id, is_active=False)
    assert email_service.get_smtp_config(alice) is None
    assert email_service.test_smtp_connection(alice)[0] is False
    decide(alice, personal_smtp="global")
    found = email_service.get_smtp_config(alice)
    assert found
    assert (found["server"], found["from_name"]) == (shared.host, "alice via OpenAlgo")
    for call in (email_service.get_smtp_config, email_service.test_smtp_connection):
        for nobody in (10**6, True):
            with pytest.raises(ValueError, match=r"^account_id: No such account\."):
                call(nobody)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann", "Ann via OpenAlgo"),
        ("", "alice via OpenAlgo"),
        ("Ann, Ltd. <ann@example.com>", "Ann, Ltd. <ann@example.com> via OpenAlgo"),
        ("Ännchen 🦦", "Ännchen 🦦 via OpenAlgo"),
        ("=?utf-8?q?boss?=", "=?utf-8?q?boss?= via OpenAlgo"),
        ("x" * 255, f"{'x' * 242} via OpenAlgo"),
        ('"quoted" \\', '"quoted" \\ via OpenAlgo'),
    ],
)
def test_any_name_of_an_account_stands_safely_in_from_of_the_global_server(
    alice: int, shared: RecordingServer, own: RecordingServer, name: str, shown: str
) -> None:
    bring(alice, own.host, own.port, from_name=name, reply_to="replies@accounts.example")
    decide(alice, personal_smtp="global")
    assert email_service.send_email(TO, "s", "b", account_id=alice)
    sender = header(shared.mails[0])["From"].addresses
    assert [(each.display_name, each.addr_spec) for each in sender] == [(shown, "noreply@example.com")]
    assert header(shared.mails[0])["Reply-To"] == "replies@accounts.example"
    assert shared.mails[0].content.count(b"\nFrom:") + shared.mails[0].content.startswith(b"From:") == 1


def test_a_user_name_or_application_name_of_any_length_stands_there_as_well(
    environment: dict[str, str], tmp_path: Path, shared: RecordingServer
) -> None:
    app = create_app({**environment, "APP_NAME": "Größe & Söhne, Ltd."}, instance_path=tmp_path)
    with app.app_context():
        account_id = make_alice().id
        decide(account_id, username="ü" * 64)
        assert email_service.send_email(TO, "s", "b", account_id=account_id, reply_to="Ann <a@example.net>")
    # The parser of headers puts spaces between encoded-words, against RFC 2047 6.2.
    written = email.message_from_bytes(shared.mails[0].content)["From"]
    assert str(make_header(decode_header(written))) == f"{'ü' * 64} via Größe & Söhne, Ltd. <noreply@example.com>"
    assert header(shared.mails[0])["Reply-To"] == "Ann <a@example.net>"


def test_mail_without_an_account_asks_no_more_of_the_database(app: Flask, own: RecordingServer) -> None:
    said: list[str] = []
    bring(make_alice().id, own.host, own.port)
    email_service.send_email(TO, "s", "b")
    with heard(db.engine, lambda statement, _: said.append(statement)):
        email_service.send_email(TO, "s", "b")
        email_service.queue_email(TO, "s", "b")
        drain()
    asked = re.compile(r"\b(?:FROM|JOIN) (?:account|personal_policy|account_sender)\b")
    assert not [each for each in said if asked.search(each)]


def test_while_the_database_cannot_tell_whose_server_it_is_no_other_sends(
    alice: int, shared: RecordingServer, own: RecordingServer
) -> None:
    """`.env` would do; but the policy may be never, and From would be another's."""
    bring(alice, own.host, own.port)

    def fail(statement: str, _: object) -> None:
        if "personal_smtp" in statement:
            raise OperationalError(statement, None, Exception("away"))

    with heard(db.engine, fail):
        assert not email_service.send_email(TO, "s", "b", account_id=alice)
        assert email_service.send_email(TO, "s", "b")
        assert next(route.steps(alice)).reason == "The database is not responding."
    assert (len(own.mails), len(shared.mails)) == (0, 1)


def test_the_log_tells_why_nobody_sent(alice: int, own: RecordingServer) -> None:
    change(bring(alice, own.host, own.port), is_active=False)
    assert not email_service.send_email(TO, "s", "b", account_id=alice)
    told = log.direct()[0][0]
    assert "The account’s own server cannot be used, and no other may send for it." in str(vars(told))


def test_mail_is_promised_within_the_transaction_that_makes_its_account(app: Flask, shared: RecordingServer) -> None:
    with transaction() as session:
        account = accounts.insert(session, fields.check_names("carol", "carol@example.com"), "x", is_admin=False)
        mail_id = email_service.queue_email(TO, "s", "b", account_id=account.id, session=session)
    drain()
    assert row_of(mail_id).state == "sent"
    assert header(shared.mails[0])["From"] == "carol via OpenAlgo <noreply@example.com>"
