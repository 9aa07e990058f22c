"""A mail that somebody waits for while the process is to end: told as ended by us, and held against nobody."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from database.attempt_db import EmailAttempt
from database.engine import reading
from database.smtp_db import SmtpConfig
from services import email_service
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp import patience
from services.smtp.patience import Span
from tests.patience import PATIENCE, wait_until
from tests.scripted_server import Connection, ScriptedServer, hang

STEPS = ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "MESSAGE"]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Span]:
    """The span of all that somebody waits for, to be ended in a test."""
    span = Span(10 * PATIENCE)
    monkeypatch.setattr(patience, "STOP_SILENCE", 0.0)
    monkeypatch.setattr(patience._Unwatched, "span", span)
    yield span


def silent_at(verb: str, reached: threading.Event) -> ScriptedServer:
    def silence(connection: Connection) -> None:
        reached.set()
        hang(connection)

    return ScriptedServer({"EHLO": "250 silent.test", verb: silence})


def make_active(server: ScriptedServer, *, failover: bool = False) -> int:
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "a@example.com"}
    return configs.save(parse_change({**place, "failover": failover, "timeout_seconds": 60}), actor="tester").row.id


def send(app: Flask) -> bool:
    with app.app_context():
        return email_service.send_email("ann@example.com", "Hello", "Good morning")


@pytest.mark.parametrize("verb", STEPS)
def test_it_ends_with_false_and_a_row_and_the_server_is_not_blamed(app: Flask, ending: Span, verb: str) -> None:
    reached = threading.Event()
    with silent_at(verb, reached) as server, ThreadPoolExecutor(1) as thread:
        make_active(server, failover=True)
        sending = thread.submit(send, app)
        assert reached.wait(PATIENCE)
        if verb != "MESSAGE":
            ending.end_silent()
        ending.end()
        assert sending.result(PATIENCE) is False
    with reading() as session:
        (row,) = session.scalars(select(EmailAttempt)).all()
        assert session.scalars(select(SmtpConfig.last_error)).all() == [None]
    assert row.outcome == ("unknown" if verb == "MESSAGE" else "temporary")


def test_a_message_that_is_out_is_waited_for_a_little_longer(app: Flask, ending: Span) -> None:
    reached = threading.Event()
    answered = threading.Event()

    def answer_late(connection: Connection) -> None:
        reached.set()
        answered.wait(PATIENCE)
        connection.send(b"250 2.0.0 Ok\r\n")

    with ScriptedServer({"EHLO": "250 a.test", "MESSAGE": answer_late}) as server, ThreadPoolExecutor(1) as thread:
        make_active(server)
        sending = thread.submit(send, app)
        assert reached.wait(PATIENCE)
        ending.end_silent()
        answered.set()
        assert sending.result(PATIENCE) is True


def test_nothing_is_begun_any_more_once_all_has_ended(app: Flask, ending: Span) -> None:
    with ScriptedServer() as server:
        make_active(server)
        ending.end()
        assert send(app) is False
        assert server.messages == []


def test_whoever_has_ended_is_under_way_no_longer(app: Flask, ending: Span) -> None:
    with ScriptedServer() as server:
        make_active(server)
        assert send(app) is True
        wait_until(lambda: not ending._talks)
