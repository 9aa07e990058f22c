"""Failover never lowers protection: mail rather waits, and the administrators are told."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from app import create_app
from database.engine import reading, transaction
from database.outbox_db import OutboxMail, Priority, State
from services import email_service
from services.outbox import log
from services.outbox.reasons import Reason
from services.settings import configs, protection
from services.settings import state as smtp_state
from services.settings.fields import parse_change
from services.settings.personal_policy import Fallback
from services.settings.route import RouteStep
from services.smtp.settings import Security, SmtpSettings
from tests import certificates
from tests.dns_server import DnsServer
from tests.loopback import free_port
from tests.mails import queued
from tests.outbox import drain, row_of
from tests.recording_server import RecordingServer
from tests.scripted_server import ScriptedServer, close
from tests.visitors import mail_through, make_alice, subject_of, text_of

ANN = "ann@example.com"
FROM: Final[dict[str, object]] = {"from_email": "shop@example.com", "timeout_seconds": 1}
ELSEWHERE: Final = "backup.test"  # leads to this machine, but no more than its name is known of it
Place = dict[str, object]


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


@pytest.fixture
def dns() -> Iterator[DnsServer]:
    with DnsServer({(ELSEWHERE, "A"): ["127.0.0.1"], ("first.test", "A"): ["127.0.0.1"]}) as running:
        yield running


@pytest.fixture
def backup() -> Iterator[RecordingServer]:
    """The server that `.env` names: it does not encrypt."""
    with RecordingServer() as running:
        yield running


@pytest.fixture
def backup_host() -> str:
    return "127.0.0.1"


@pytest.fixture
def environment(
    environment: dict[str, str], backup: RecordingServer, backup_host: str, dns: DnsServer
) -> dict[str, str]:
    return {
        **environment,
        **mail_through(backup),
        "EMAIL_HOST": backup_host,
        "SMTP_CA_FILE": str(certificates.ca_file()),
        "DNS_RESOLVER": dns.address,
    }


def save(**change: object) -> None:
    configs.save(parse_change({**FROM, **change}), actor="tester")


def place_of(server: Any, **change: object) -> Place:
    return {"smtp_server": server.host, "smtp_port": server.port, **change}


def wrong_certificate(running: ExitStack) -> Place:
    context = certificates.good_context("other.example")
    server = running.enter_context(RecordingServer(tls=context, implicit=True))
    return {"smtp_server": "localhost", "smtp_port": server.port, "use_ssl": True}


def wrong_certificate_after_starttls(running: ExitStack) -> Place:
    server = running.enter_context(RecordingServer(tls=certificates.good_context("other.example")))
    return {"smtp_server": "localhost", "smtp_port": server.port, "use_tls": True}


def stripped(running: ExitStack) -> Place:
    return place_of(running.enter_context(RecordingServer()), use_tls=True)


def refused_starttls(running: ExitStack) -> Place:
    script: dict[str, Any] = {"EHLO": "250-a.test\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"}
    return place_of(running.enter_context(ScriptedServer(script)), use_tls=True)


def going_away(running: ExitStack) -> Place:
    script: dict[str, Any] = {"GREETING": ("421 4.3.2 shutting down", close)}
    return place_of(running.enter_context(ScriptedServer(script)), use_tls=True)


ENCRYPTING: Final[dict[str, Callable[[ExitStack], Place]]] = {
    "STARTTLS, nobody listens": lambda _: {"smtp_server": "127.0.0.1", "smtp_port": free_port(), "use_tls": True},
    "TLS, nobody listens": lambda _: {"smtp_server": "127.0.0.1", "smtp_port": free_port(), "use_ssl": True},
    "no such name": lambda _: {"smtp_server": "nowhere.test", "use_tls": True},
    "going away": going_away,
    "certificate of another": wrong_certificate,
    "certificate of another after STARTTLS": wrong_certificate_after_starttls,
    "STARTTLS taken out": stripped,
    "STARTTLS refused": refused_starttls,
}
after_encryption = pytest.mark.parametrize("place", ENCRYPTING.values(), ids=ENCRYPTING.keys())


@after_encryption
def test_no_unencrypted_server_takes_over_from_one_that_encrypts(
    servers: ExitStack, backup: RecordingServer, place: Callable[[ExitStack], Place]
) -> None:
    save(**place(servers))
    mail_id = queued(ANN)
    drain()
    row = row_of(mail_id)
    assert (row.state, row.reason) == (State.DEFERRED, Reason.WITHHELD)
    assert len(log.story(mail_id).attempts) == 1
    assert email_service.send_email(ANN, "s", "b") is False
    assert backup.data == b""


def test_a_paused_server_counts_as_one_that_was_tried(servers: ExitStack, backup: RecordingServer) -> None:
    save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=True)
    for _ in range(6):  # after five failures its circuit is open
        mail_id = queued(ANN)
        drain()
    row = row_of(mail_id)
    assert (row.state, row.reason, row.attempts) == (State.DEFERRED, Reason.WITHHELD, 0)
    assert log.story(mail_id).attempts == []
    assert backup.data == b""


def test_a_server_that_encrypts_as_well_takes_over(environment: dict[str, str], tmp_path: Path) -> None:
    with RecordingServer(tls=certificates.good_context("localhost")) as second:
        place = {"EMAIL_HOST": "localhost", "EMAIL_PORT": str(second.port), "EMAIL_USE_TLS": "true"}
        with create_app({**environment, **place}, instance_path=tmp_path).app_context():
            save(smtp_server="127.0.0.1", smtp_port=free_port(), use_ssl=True)
            assert email_service.send_password_reset_email(ANN, "t0k3n") is True
            mail_id = queued(ANN, priority=Priority.SECURITY)
            drain()
            assert row_of(mail_id).state == State.SENT
        assert len(second.wait_for_mail(2)) == 2


def test_an_unencrypted_server_takes_over_from_an_unencrypted_one(servers: ExitStack, backup: RecordingServer) -> None:
    save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=False)
    assert email_service.send_email(ANN, "s", "b") is True
    assert email_service.send_password_reset_email(ANN, "t0k3n") is True  # it does not leave the machine
    assert len(backup.wait_for_mail(2)) == 2


class TestToAnotherHost:
    """`.env` names a host that is not this machine, as far as its name says, without encryption."""

    @pytest.fixture
    def backup_host(self) -> str:
        return ELSEWHERE

    def test_security_mail_never_goes_over_to_it(self, servers: ExitStack, backup: RecordingServer) -> None:
        save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=False)
        assert email_service.send_password_reset_email(ANN, "t0k3n") is False
        mail_id = queued(ANN, priority=Priority.SECURITY)
        drain()
        assert (row_of(mail_id).state, row_of(mail_id).reason) == (State.DEFERRED, Reason.WITHHELD)
        assert backup.data == b""

    def test_other_mail_does(self, servers: ExitStack, backup: RecordingServer) -> None:
        save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=False)
        assert email_service.send_email(ANN, "s", "b") is True
        assert len(backup.wait_for_mail()) == 1

    @pytest.mark.parametrize("change", ["is_active = false", "key_id = 'lost'", "smtp_server = 'evil.example'"])
    def test_a_row_that_is_inactive_or_unreadable_was_not_tried(
        self, servers: ExitStack, backup: RecordingServer, change: str
    ) -> None:
        save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=True)
        with transaction() as session:
            session.execute(text(f"UPDATE smtp_config SET {change}"))
        assert email_service.send_password_reset_email(ANN, "t0k3n") is True
        mail_id = queued(ANN, priority=Priority.SECURITY)
        drain()
        assert row_of(mail_id).state == State.SENT
        assert len(backup.wait_for_mail(2)) == 2

    def test_without_a_row_it_serves_and_the_page_warns(self, servers: ExitStack, backup: RecordingServer) -> None:
        assert email_service.send_password_reset_email(ANN, "t0k3n") is True
        state = smtp_state.describe(has_configs=False)
        assert state.level == "warning"
        assert "password reset links" in state.detail

    def test_a_first_server_without_encryption_serves_as_it_was_set_up_and_the_page_warns(
        self, servers: ExitStack
    ) -> None:
        first = servers.enter_context(RecordingServer())
        save(smtp_server="first.test", smtp_port=first.port, use_tls=False)
        assert email_service.send_password_reset_email(ANN, "t0k3n") is True
        state = smtp_state.describe(has_configs=True)
        assert state.level == "warning"
        assert "password reset links" in state.detail


def test_the_administrators_are_told_once_an_hour_and_hear_of_it_when_the_server_is_back(
    servers: ExitStack, backup: RecordingServer
) -> None:
    make_alice(is_admin=True)
    first = servers.enter_context(RecordingServer(tls=certificates.good_context("localhost")))
    save(smtp_server="localhost", smtp_port=free_port(), use_tls=True)
    for _ in range(3):
        queued(ANN)
        drain()
    save(smtp_port=first.port)
    with transaction() as session:
        session.execute(update(OutboxMail).values(due_at=OutboxMail.created_at))
    drain()
    notices = [mail for mail in first.mails if mail.recipients == ("alice@example.com",)]
    assert [subject_of(mail) for mail in notices] == ["OpenAlgo: mail server Primary is down"]
    assert ".env (127.0.0.1) was not used instead: It uses no encryption, and Primary does." in text_of(notices[0])
    assert backup.data == b""


def test_a_caller_who_gets_no_makes_the_administrators_hear_of_it_too(
    servers: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    make_alice(is_admin=True)
    save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=True)
    email_service.send_email(ANN, "s", "b")
    assert any("failover_withheld" in str(record.msg) for record in caplog.records)
    with reading() as session:
        assert session.scalars(select(OutboxMail.kind)).all() == ["failover"]


def test_the_state_and_the_route_say_that_mail_waits(servers: ExitStack) -> None:
    save(smtp_server="127.0.0.1", smtp_port=free_port(), use_tls=True)
    email_service.send_email(ANN, "s", "b")
    state = smtp_state.describe(has_configs=True)
    assert "email waits while Primary is down" in state.detail
    assert "email waits while Primary is down" in state.route[-1].reason
    assert "email waits while Primary is down" in state.env.place


def step(name: str, settings: SmtpSettings | None) -> RouteStep:
    return RouteStep(source=name, name=name, reason="", settings=settings, falls_back=Fallback.ALWAYS)


def step_of(security: Security, host: str) -> RouteStep:
    return step(host, SmtpSettings(host=host, port=25, security=security, from_email="s@example.com"))


NONE, STARTTLS, TLS = Security.NONE, Security.STARTTLS, Security.TLS
HERE, THERE = "127.0.0.1", "mail.example.com"


@pytest.mark.parametrize(
    ("down", "then", "host", "normal", "security"),
    [
        ([], NONE, THERE, True, True),
        ([NONE], NONE, THERE, True, False),
        ([NONE], NONE, HERE, True, True),
        ([NONE], NONE, "localhost", True, True),
        ([NONE], STARTTLS, THERE, True, True),
        ([STARTTLS], NONE, HERE, False, False),
        ([STARTTLS], NONE, THERE, False, False),
        ([STARTTLS], TLS, THERE, True, True),
        ([TLS], STARTTLS, THERE, True, True),
        ([TLS], NONE, THERE, False, False),
        ([NONE, TLS], NONE, THERE, False, False),
        ([TLS, NONE], NONE, HERE, False, False),
    ],
)
def test_what_may_take_over_from_what(
    down: list[Security], then: Security, host: str, normal: bool, security: bool
) -> None:
    before = [step_of(each, "down.example") for each in down]
    after = step_of(then, host)
    assert (protection.refusal(after, before, is_security=False) == "") is normal
    assert (protection.refusal(after, before, is_security=True) == "") is security
