"""When the active server is down, mail goes on through `.env`, once, with a notice; a refused mail does not."""

import email
import email.policy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from app import create_app
from database.attempt_db import EmailAttempt
from database.engine import db, reading, transaction
from database.smtp_db import SmtpConfig
from services import email_service
from services.message.draft import Attachment
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.row import StoredRow
from tests import certificates
from tests.loopback import free_port
from tests.outbox import drain
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordedMail, RecordingServer
from tests.scripted_server import ScriptedServer, close, hang, reset
from tests.statements import heard
from tests.visitors import mail_through, make_alice, make_bob, subject_of, text_of
from utils import clock

FROM = {"from_email": "shop@example.com", "from_name": "Shop", "timeout_seconds": 1}
WITH_LOGIN = "250-scripted.test\n250 AUTH PLAIN"
NOTICE = "OpenAlgo: mail server Primary is down"
Place = dict[str, object]


@pytest.fixture
def backup() -> Iterator[RecordingServer]:
    """The server that `.env` names."""
    with RecordingServer() as running:
        yield running


@pytest.fixture
def environment(environment: dict[str, str], backup: RecordingServer) -> dict[str, str]:
    return {
        **environment,
        **mail_through(backup),
        "DEFAULT_FROM_EMAIL": "Backup <backup@example.net>",
        "SMTP_CA_FILE": str(certificates.ca_file()),
    }


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    """Where a test keeps its active server running."""
    with ExitStack() as running:
        yield running


def save(**change: object) -> None:
    configs.save(parse_change({**FROM, **change}), actor="tester")


def scripted(script: dict[str, Any], **login: object) -> Callable[[ExitStack], Place]:
    def place(running: ExitStack) -> Place:
        server = running.enter_context(ScriptedServer(script))
        return {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, **login}

    return place


def recording(make: Callable[[], AbstractContextManager[RecordingServer]], **more: object) -> Callable[..., Place]:
    def place(running: ExitStack) -> Place:
        return {"smtp_server": "localhost", "smtp_port": running.enter_context(make()).port, "use_tls": False, **more}

    return place


DOWN: dict[str, Callable[[ExitStack], Place]] = {
    "no such name": lambda _: {"smtp_server": "nowhere.invalid", "use_tls": False},
    "nobody listens": lambda _: {"smtp_server": "127.0.0.1", "smtp_port": free_port(), "use_tls": False},
    "silent": scripted({"GREETING": hang}),
    "another protocol": scripted({"GREETING": b"HTTP/1.1 400 Bad Request\r\n\r\n"}),
    "login refused": recording(
        lambda: RecordingServer(users={"user": "right"}), smtp_username="user", smtp_password="wrong"
    ),
    "login not checked now": scripted(
        {"EHLO": WITH_LOGIN, "AUTH": "454 4.7.0 later"}, smtp_username="user", smtp_password="x"
    ),
    "421 as greeting": scripted({"GREETING": "421 4.3.2 shutting down"}),
    "421 to MAIL": scripted({"MAIL": ("421 4.3.2 shutting down", close)}),
    "421 to RCPT": scripted({"RCPT": ("421 4.3.2 shutting down", close)}),
    "421 to DATA": scripted({"EHLO": "250 plain.test", "DATA": ("421 4.3.2 shutting down", close)}),
    "gone at MAIL": scripted({"MAIL": reset}),
    "gone at RCPT": scripted({"RCPT": close}),
    "gone at DATA": scripted({"DATA": close}),
    "silent at DATA": scripted({"DATA": hang}),
    "quota of Gmail": scripted({"MAIL": "550 5.4.5 Daily user sending limit exceeded."}),
    "quota of Microsoft": scripted({"RCPT": "550 5.1.90 You have reached your daily limit"}),
    "quota of SES": scripted({"MAIL": "454 Throttling failure: Daily message quota exceeded."}),
    "quota at DATA": scripted({"EHLO": "250 plain.test", "DATA": "452 4.3.1 Insufficient system storage"}),
}
REFUSED: dict[str, dict[str, Any]] = {
    "recipient": {"RCPT": "550 5.1.1 nobody"},
    "recipient for now": {"RCPT": "450 4.2.0 greylisted"},
    "recipient whose mailbox is full": {"RCPT": "452 4.2.2 over quota, limit exceeded"},
    "sender": {"MAIL": "550 5.7.1 not yours"},
    "size": {"MAIL": "552 5.3.4 message size limit"},
    "DATA": {"EHLO": "250 plain.test", "DATA": "554 5.7.1 no"},
    "message": {"MESSAGE": "554 5.7.1 spam"},
    "message for now": {"MESSAGE": "451 4.7.1 later"},
    "message for the quota": {"MESSAGE": "550 5.4.5 Daily user sending limit exceeded."},
    "message as it goes away": {"MESSAGE": ("421 4.3.2 shutting down", close)},
    "gone after the final dot": {"MESSAGE": close},
    "reset after the final dot": {"MESSAGE": reset},
}


def send(to: str | list[str] = "a@example.com") -> bool:
    return email_service.send_email(to, "s", "b")


def attempts(kind: str = "other") -> list[EmailAttempt]:
    """Those of one kind, oldest first."""
    with reading() as session:
        return list(session.scalars(select(EmailAttempt).where(EmailAttempt.kind == kind).order_by(EmailAttempt.id)))


def parsed(mail: RecordedMail) -> EmailMessage:
    return email.message_from_bytes(mail.content, policy=email.policy.default)


def notices(backup: RecordingServer) -> list[RecordedMail]:
    """The failover notices that have been sent once nothing is due any more."""
    drain()
    return [mail for mail in backup.mails if subject_of(mail) == NOTICE]


def active() -> StoredRow:
    stored = configs.find_active()
    assert stored
    return stored.row


@pytest.mark.parametrize("place", DOWN.values(), ids=DOWN.keys())
def test_while_the_active_server_is_down_env_sends_the_same_mail_as_its_own(
    servers: ExitStack, backup: RecordingServer, place: Callable[[ExitStack], Place]
) -> None:
    save(**place(servers))
    assert send() is True
    (mail,) = backup.wait_for_mail()
    message = parsed(mail)
    assert (mail.sender, mail.recipients) == ("backup@example.net", ("a@example.com",))
    assert (message["From"], message["Reply-To"]) == ("Backup <backup@example.net>", "shop@example.com")
    first, second = attempts()
    assert {first.message_id, second.message_id} == {message["Message-ID"]}
    assert (first.config_id, second.config_id, second.outcome) == (active().id, None, "accepted")
    assert first.outcome in ("temporary", "permanent", "misconfigured")
    assert first.server.startswith("Primary (")
    assert second.server == f".env (127.0.0.1:{backup.port})"


@pytest.mark.parametrize("script", REFUSED.values(), ids=REFUSED.keys())
def test_what_was_refused_or_may_have_been_taken_goes_nowhere_else(
    servers: ExitStack, backup: RecordingServer, script: dict[str, Any]
) -> None:
    save(**scripted(script)(servers))
    assert send() is False
    assert backup.data == b""
    assert len(attempts()) == 1
    assert active().failed_over_at is None


def test_a_message_that_was_cut_off_before_its_final_dot_goes_on(servers: ExitStack, backup: RecordingServer) -> None:
    save(**scripted({"BODY": reset})(servers), timeout_seconds=10)
    large = Attachment("large.bin", bytes(12 * 1024 * 1024))
    assert email_service.send_email("a@example.com", "s", "b", attachments=[large]) is True
    assert len(backup.wait_for_mail()) == 1


def test_one_refused_recipient_of_two_goes_nowhere_else(servers: ExitStack, backup: RecordingServer) -> None:
    save(**scripted({"RCPT": ["250 ok", "550 5.1.1 nobody"]})(servers))
    assert send(["ann@example.com", "bob@example.com"]) is False
    assert backup.data == b""


def test_a_reply_to_of_its_own_is_kept(servers: ExitStack, backup: RecordingServer) -> None:
    save(**DOWN["421 to MAIL"](servers), reply_to="help@example.com")
    send()
    email_service.send_email("a@example.com", "s", "b", reply_to="caller@example.com")
    assert [parsed(mail)["Reply-To"] for mail in backup.wait_for_mail(2)] == ["help@example.com", "caller@example.com"]


def test_without_failover_the_mail_stays(servers: ExitStack, backup: RecordingServer) -> None:
    save(**DOWN["421 to MAIL"](servers), failover=False)
    assert send() is False
    assert backup.data == b""
    assert len(attempts()) == 1


def test_when_the_next_server_is_down_as_well_both_attempts_tell_of_it(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack
) -> None:
    other = create_app({**environment, "EMAIL_PORT": str(free_port())}, instance_path=tmp_path)
    with other.app_context():
        save(**DOWN["421 as greeting"](servers))
        assert send() is False
        assert [(row.phase, row.outcome) for row in attempts()] == [("greeting", "temporary"), ("connect", "temporary")]
        assert active().failed_over_at is None
        db.engine.dispose()


def test_the_local_inbox_never_takes_over(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack, backup: RecordingServer
) -> None:
    with create_app({**environment, "LOCAL_INBOX_PORT": str(backup.port)}, instance_path=tmp_path).app_context():
        save(**DOWN["nobody listens"](servers))
        assert send() is False
        assert backup.data == b""
        assert len(attempts()) == 1
        db.engine.dispose()


def test_an_attempt_names_the_reason_of_its_step(
    servers: ExitStack, backup: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    save(**DOWN["421 as greeting"](servers))
    send()
    routes = [record.msg["route"] for record in caplog.records if "email_attempt" in str(record.msg)]  # type: ignore[index]
    assert routes == ["The active server.", "Set by EMAIL_HOST in .env."]


def test_where_mail_went_instead_stands_on_the_configuration_until_the_next_success(
    servers: ExitStack, backup: RecordingServer
) -> None:
    save(**scripted({"MAIL": [("421 4.3.2 later", close), "250 ok"]})(servers))
    before = active()
    send()
    noted = active()
    assert noted.failed_over_to == f".env (127.0.0.1:{backup.port})"
    assert noted.failed_over_at
    assert noted.last_error == "Server is not available"
    assert (noted.version, noted.updated_at) == (before.version, before.updated_at)
    send()
    mended = active()
    assert (mended.failed_over_at, mended.failed_over_to, mended.last_error) == (None, None, None)
    assert len(backup.mails) == 1


def test_every_administrator_is_told_once_through_the_server_that_works(
    servers: ExitStack, backup: RecordingServer
) -> None:
    make_alice(is_admin=True)
    make_bob()
    down = servers.enter_context(ScriptedServer({"GREETING": "421 later"}))
    save(smtp_server=down.host, smtp_port=down.port, use_tls=False)
    for _ in range(3):
        assert send() is True
    (notice,) = notices(backup)
    assert (notice.sender, notice.recipients) == ("backup@example.net", ("alice@example.com",))
    assert "No greeting from server" in text_of(notice)
    assert "http://localhost:5000/settings/smtp" in text_of(notice)
    assert [row.outcome for row in attempts("failover")] == ["temporary", "accepted"]
    assert len(down.connections) == 4


def test_after_an_hour_they_are_told_again(servers: ExitStack, backup: RecordingServer) -> None:
    make_alice(is_admin=True)
    save(**DOWN["421 as greeting"](servers))
    send()
    for minutes, told in ((59, 1), (61, 2)):
        with transaction() as session:
            config = session.get(SmtpConfig, active().id)
            assert config
            config.failover_told_at = clock.now() - timedelta(minutes=minutes)
        send()
        assert len(notices(backup)) == told


def test_a_notice_that_cannot_be_sent_is_no_reason_for_another(servers: ExitStack, tmp_path: Path) -> None:
    make_alice(is_admin=True)
    with RecordingServer(refuse={"alice@example.com": "421 4.3.2 later"}) as picky:
        email_environment = {
            **mail_through(picky),
            "APP_ENV": "development",
            "APP_KEY": "k3y-f0r-t3sts-QmxyZ1vJ8sWd0aBnL7uRt5eHc",
        }
        url = f"sqlite:///{tmp_path / 'test.db'}"
        other = create_app({**email_environment, "DATABASE_URL": url}, instance_path=tmp_path)
        with other.app_context():
            save(**DOWN["421 as greeting"](servers))
            assert send() is True
            drain()
            assert send() is True
            drain()
            assert [row.outcome for row in attempts("failover")] == ["temporary"] * 2  # of one mail, at two servers
            db.engine.dispose()


def test_a_reset_mail_goes_on_as_well_and_the_administrators_hear_of_it(
    servers: ExitStack, backup: RecordingServer
) -> None:
    make_alice(is_admin=True)
    save(**DOWN["421 to MAIL"](servers))
    assert email_service.send_password_reset_email("a@example.com", "t0k3n") is True
    drain()
    assert sorted(mail.recipients[0] for mail in backup.mails) == ["a@example.com", "alice@example.com"]


def test_a_database_that_takes_no_notes_makes_no_sent_mail_a_failure(
    servers: ExitStack, backup: RecordingServer
) -> None:
    make_alice(is_admin=True)
    save(**DOWN["421 as greeting"](servers))
    with transaction() as session:
        session.execute(
            text("CREATE TRIGGER no_notes BEFORE UPDATE ON smtp_config BEGIN SELECT RAISE(FAIL, 'full'); END")
        )
    assert send() is True
    assert [mail.recipients for mail in backup.mails] == [("a@example.com",)]


def test_in_the_good_case_a_mail_costs_one_query_and_one_write(app: Flask, servers: ExitStack) -> None:
    server = servers.enter_context(RecordingServer())
    save(smtp_server=server.host, smtp_port=server.port, use_tls=False)
    send()
    statements: list[str] = []
    with heard(db.engine, lambda statement, _: statements.append(statement)):
        assert send() is True
    of_ours = [each.split()[0] for each in statements if not each.startswith(("BEGIN", "PRAGMA", "COMMIT"))]
    assert of_ours == ["SELECT", "INSERT"]


def test_env_is_not_looked_at_while_the_active_server_sends(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.enter_context(RecordingServer())
    with create_app({**environment, "EMAIL_PORT": "abc"}, instance_path=tmp_path).app_context():
        save(smtp_server=server.host, smtp_port=server.port, use_tls=False)
        assert send() is True
        db.engine.dispose()
    assert not [record for record in caplog.records if "passed_over" in str(record.msg)]


def _send_many(environment: dict[str, str], folder: str, go: Any, results: Any) -> None:
    app = create_app(environment, instance_path=Path(folder))
    with app.app_context():
        go.wait()
        results.put([send() for _ in range(5)])


def test_of_two_processes_that_fail_over_at_once_one_tells(
    environment: dict[str, str], tmp_path: Path, servers: ExitStack, backup: RecordingServer
) -> None:
    make_alice(is_admin=True)
    save(**DOWN["421 as greeting"](servers))
    go, results = CONTEXT.Barrier(2), CONTEXT.Queue()
    racers = [CONTEXT.Process(target=_send_many, args=(environment, str(tmp_path), go, results)) for _ in range(2)]
    for racer in racers:
        racer.start()
    assert [results.get(timeout=PATIENCE) for _ in racers] == [[True] * 5] * 2
    for racer in racers:
        racer.join()
    assert len(notices(backup)) == 1
    assert len(backup.mails) == 11
