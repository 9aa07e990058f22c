"""The public face: what application code calls."""

import email
import email.policy
import json
import logging
from email.message import EmailMessage
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from database import attempt_db
from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from services import email_service
from services.message.draft import Attachment
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.reach import Reach
from tests import certificates
from tests.loopback import free_port
from tests.recording_server import RecordedMail, RecordingServer
from tests.scripted_server import Answer, ScriptedServer, close

TOKEN = "tok-3n_Secret"
ORDER = {
    "symbol": "RELIANCE",
    "action": "BUY",
    "quantity": 10,
    "price": "2450.50",
    "order_id": "230101000001",
    "time": "2023-01-01 09:15:00",
}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "SMTP_CA_FILE": str(certificates.ca_file())}


def set_up(server: RecordingServer | ScriptedServer | int, **more: object) -> None:
    port = server if isinstance(server, int) else server.port
    place = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "noreply@example.com"}
    configs.save(parse_change({**place, **more}), actor="tester")


def parsed(mail: RecordedMail) -> EmailMessage:
    return email.message_from_bytes(mail.content, policy=email.policy.default)


def body_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def last_attempt() -> EmailAttempt:
    with reading() as session:
        return attempt_db.latest(session, 1)[0]


@pytest.fixture
def server(app: Flask) -> Any:
    with RecordingServer() as running:
        set_up(running)
        yield running


def test_a_mail_arrives(server: RecordingServer) -> None:
    assert email_service.send_email("a@example.com", "Grüße", "Hällo\n.\nend", "<p>Hällo</p>") is True
    (mail,) = server.wait_for_mail()
    message = parsed(mail)
    assert (mail.sender, mail.recipients) == ("noreply@example.com", ("a@example.com",))
    assert message["Subject"] == "Grüße"
    assert message["Date"]
    assert message["Message-ID"].endswith("@example.com>")
    assert body_of(message) == "Hällo\n.\nend\n"


def test_copies_attachments_and_headers_arrive_and_bcc_stays_hidden(server: RecordingServer) -> None:
    email_service.send_email(
        ["a@example.com", "b@example.com"],
        "s",
        "b",
        cc="c@example.com",
        bcc=["hidden@example.com"],
        reply_to="r@example.com",
        headers={"X-Order": "7"},
        attachments=[Attachment("möbel.txt", b"\x00\xff", "application/x-thing")],
    )
    (mail,) = server.wait_for_mail()
    message = parsed(mail)
    assert set(mail.recipients) == {"a@example.com", "b@example.com", "c@example.com", "hidden@example.com"}
    assert b"hidden" not in mail.content
    assert (message["Reply-To"], message["X-Order"]) == ("r@example.com", "7")
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("möbel.txt", b"\x00\xff")


@pytest.mark.parametrize("name", ["Müller, Söhne", 'The "Shop"', "日本語", "🚀 Rocket", "=?UTF-8?Q?=0ABcc:_v@e.com?="])
def test_a_from_name_of_any_characters_keeps_from_valid(server: RecordingServer, name: str) -> None:
    set_up(server, from_name=name)
    email_service.send_email("a@example.com", "s", "b")
    (mail,) = server.wait_for_mail()
    (address,) = parsed(mail)["From"].addresses
    assert address.addr_spec == "noreply@example.com"
    assert parsed(mail)["Bcc"] is None


@pytest.mark.parametrize(
    ("to", "more"),
    [
        ("", {}),
        ([], {}),
        ("a@x.example, b@y.example", {}),
        ("a@x.example\r\nBcc: b@y.example", {}),
        ("a@x.example", {"subject": "hi\r\nBcc: v@e.example"}),
        ("a@x.example", {"headers": {"X-A\r\nBcc": "v@e.example"}}),
        ("a@x.example", {"headers": {"X-A": "1\nBcc: v@e.example"}}),
    ],
)
def test_a_callers_mistake_is_a_value_error_and_nothing_is_sent(
    server: RecordingServer, to: Any, more: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        email_service.send_email(to, more.pop("subject", "s"), "b", **more)
    assert server.mails == []


def test_without_a_server_the_answer_is_false_and_an_attempt_says_why(app: Flask) -> None:
    assert email_service.send_email("a@example.com", "s", "b") is False
    assert last_attempt().outcome == "not_configured"
    assert email_service.test_smtp_connection() == (False, "SMTP not configured")
    assert email_service.get_smtp_config() is None


def test_the_configuration_comes_as_specified(server: RecordingServer) -> None:
    assert email_service.get_smtp_config() == {
        "server": "127.0.0.1",
        "port": server.port,
        "username": "",
        "password": "",
        "from_email": "noreply@example.com",
        "from_name": "",
        "use_tls": False,
        "use_ssl": False,
    }


def test_an_undecryptable_password_is_false_and_no_exception(server: RecordingServer) -> None:
    with transaction() as session:
        session.execute(text("UPDATE smtp_config SET smtp_password = 'gAAAAAbroken'"))
    assert email_service.send_email("a@example.com", "s", "b") is False
    assert server.mails == []


def test_the_connection_test_answers_as_specified(server: RecordingServer) -> None:
    assert email_service.test_smtp_connection() == (True, "Connection successful")
    stored = configs.find_active()
    assert stored
    assert stored.verified_reach is Reach.OWN_DOMAIN  # no address elsewhere is known, and nobody signed in


def test_a_wrong_password_answers_as_specified(app: Flask) -> None:
    with RecordingServer(users={"user": "right"}) as running:
        set_up(running, smtp_username="user", smtp_password="wrong")
        assert email_service.test_smtp_connection() == (False, "Authentication failed")
        assert email_service.send_email("a@example.com", "s", "b") is False
    attempt = last_attempt()
    assert (attempt.outcome, attempt.phase, attempt.code) == ("misconfigured", "sign_in", 535)


def test_a_dead_server_answers_as_specified(app: Flask) -> None:
    set_up(free_port())
    assert email_service.test_smtp_connection() == (False, "Could not connect to server")
    assert email_service.send_email("a@example.com", "s", "b") is False
    assert last_attempt().outcome == "temporary"


def test_implicit_tls_on_another_port_with_login_works(app: Flask) -> None:
    with RecordingServer(
        tls=certificates.good_context("localhost"), implicit=True, users={"apikey": " pä ss "}
    ) as running:
        set_up(running, smtp_server="localhost", use_ssl=True, smtp_username="apikey", smtp_password=" pä ss ")
        assert email_service.send_email("a@example.com", "s", "b") is True
        assert running.mails[0].encrypted


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ({"RCPT": "550 5.1.1 nobody"}, "permanent"),
        ({"RCPT": "450 4.2.0 greylisted"}, "temporary"),
        ({"MESSAGE": "554 5.7.1 spam"}, "permanent"),
        ({"DATA": "451 later"}, "temporary"),
    ],
)
def test_a_refusal_is_false_and_recorded(app: Flask, script: dict[str, Any], outcome: str) -> None:
    with ScriptedServer(script) as running:
        set_up(running)
        assert email_service.send_email("a@example.com", "s", "b") is False
    assert last_attempt().outcome == outcome


def test_true_means_every_recipient_and_the_refused_one_stands_in_the_attempt(app: Flask) -> None:
    with ScriptedServer({"RCPT": ["250 ok", "550 5.1.1 nobody"]}) as running:
        set_up(running)
        assert email_service.send_email(["ann@example.com", "bob@example.com"], "s", "b") is False
    attempt = last_attempt()
    assert attempt.outcome == "accepted"
    assert attempt.refused == [{"recipient": "b***@example.com", "code": 550, "enhanced": "5.1.1"}]


def test_a_quit_that_fails_after_acceptance_changes_nothing(app: Flask) -> None:
    with ScriptedServer({"QUIT": "500 what"}) as running:
        set_up(running)
        assert email_service.send_email("a@example.com", "s", "b") is True


def test_an_attempt_and_its_log_line_hold_what_happened_and_no_content(
    server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    email_service.send_email("anna@example.com", "Secret subject", "Secret body")
    attempt = last_attempt()
    (mail,) = server.wait_for_mail()
    assert attempt.message_id == parsed(mail)["Message-ID"]
    assert (attempt.kind, attempt.outcome, attempt.code) == ("other", "accepted", 250)
    (record,) = [record for record in caplog.records if "email_attempt" in str(record.msg)]
    line = str(record.msg)
    assert attempt.message_id in line
    assert "a***@example.com" in line
    for hidden in ("anna", "Secret subject", "Secret body"):
        assert hidden not in line
        assert hidden not in json.dumps({c.name: str(getattr(attempt, c.name)) for c in EmailAttempt.__table__.columns})


def test_a_failure_is_noted_on_the_configuration_and_a_success_clears_it(app: Flask) -> None:
    with ScriptedServer({"MAIL": ["421 4.3.2 going down", "250 ok"]}) as running:
        set_up(running)
        email_service.send_email("a@example.com", "s", "b")
        assert noted() == "Server is not available"
        email_service.send_email("a@example.com", "s", "b")
        assert noted() is None


def noted() -> str | None:
    stored = configs.find_active()
    assert stored
    return stored.row.last_error


def test_the_reset_mail_has_the_specified_words(server: RecordingServer) -> None:
    assert email_service.send_password_reset_email("a@example.com", TOKEN) is True
    message = parsed(server.wait_for_mail()[0])
    text_part = body_of(message)
    html_part = body_of(message, "html")
    assert message["Subject"] == "Reset Your OpenAlgo Password"
    assert text_part.strip() == (
        "Hello,\n\nYou requested to reset your OpenAlgo password.\n\nClick the link below to reset your password:\n"
        f"http://localhost:5000/reset-password?token={TOKEN}\n\nThis link expires in 1 hour.\n\n"
        "If you didn't request this, please ignore this email.\n\nBest regards,\nOpenAlgo Team"
    )
    assert f'href="http://localhost:5000/reset-password?token={TOKEN}"' in html_part
    assert "#4F46E5" in html_part


def test_a_token_is_quoted_in_the_link(server: RecordingServer) -> None:
    email_service.send_password_reset_email("a@example.com", 'a b&c"<x>')
    message = parsed(server.wait_for_mail()[0])
    assert "token=a%20b%26c%22%3Cx%3E" in body_of(message, "html")


def test_the_order_mail_has_the_specified_words(server: RecordingServer) -> None:
    assert email_service.send_order_notification("a@example.com", ORDER) is True
    message = parsed(server.wait_for_mail()[0])
    assert message["Subject"] == "Order Executed: BUY RELIANCE"
    assert body_of(message).strip() == (
        "Order Executed\n\nSymbol: RELIANCE\nAction: BUY\nQuantity: 10\nPrice: ₹2450.50\n"
        "Order ID: 230101000001\nTime: 2023-01-01 09:15:00"
    )


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"symbol": "A\r\nBcc: v@e.example\x00"},
        {"price": None},
        {"symbol": object()},
        None,
        "text",
        {"symbol": "\ud800"},
    ],
)
def test_an_order_notification_never_raises_and_forges_nothing(server: RecordingServer, details: Any) -> None:
    assert email_service.send_order_notification("a@example.com", details) is True
    (mail,) = server.wait_for_mail()
    assert mail.recipients == ("a@example.com",)
    assert parsed(mail)["Bcc"] is None


def test_a_missing_key_prints_as_a_dash(server: RecordingServer) -> None:
    email_service.send_order_notification("a@example.com", {"symbol": "X"})
    assert "Quantity: -" in body_of(parsed(server.wait_for_mail()[0]))


@pytest.mark.parametrize("address", ["", "nobody", "a@x, b@y", "a@x\r\nRCPT TO:<b@y>", None, 7, ["a@x"] * 200])
def test_a_bad_address_of_a_notification_gives_false(server: RecordingServer, address: Any) -> None:
    assert email_service.send_password_reset_email(address, TOKEN) is False
    assert email_service.send_order_notification(address, ORDER) is False
    assert server.mails == []


def test_mails_share_a_connection_and_its_end_costs_none_of_them(app: Flask) -> None:
    answers: list[Answer] = ["250 ok", ("250 ok", close), "250 ok"]
    with ScriptedServer({"MESSAGE": answers}) as running:
        set_up(running)
        assert email_service.send_email("a@example.com", "s", "b") is True
        assert email_service.send_email("a@example.com", "s", "b") is True
        running.wait_until_left()
        assert email_service.send_email("a@example.com", "s", "b") is True
    assert len(running.connections) == 2


def test_a_changed_configuration_takes_effect_at_the_next_mail(server: RecordingServer) -> None:
    assert email_service.send_email("a@example.com", "s", "b") is True
    with ScriptedServer() as another:
        set_up(another)
        assert email_service.send_email("a@example.com", "s", "b") is True
    assert len(server.mails) == len(another.messages) == 1


def test_no_mail_holds_anything_of_the_one_before(server: RecordingServer) -> None:
    for number in range(50):
        assert email_service.send_email(f"user{number}@example.com", f"subject-{number}-", f"body-{number}-")
    for number, mail in enumerate(server.wait_for_mail(50)):
        foreign = (b"-%d-" % other for other in range(50) if other != number)
        assert mail.recipients == (f"user{number}@example.com",)
        assert not any(canary in mail.content for canary in foreign)
