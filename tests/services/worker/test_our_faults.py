"""An exception that nobody foresaw: the mail it met waits, the others go, and nobody is told what is not so."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest
from flask import Flask

from app import create_app
from database.outbox_db import State
from services import email_service
from services.message.draft import draft
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp.wire import Wire
from tests import certificates
from tests.mails import change, queued
from tests.outbox import drain, row_of
from tests.scripted_server import ScriptedServer

ANN = "ann@example.com"
OFFERS = "250-scripted.test\n250 STARTTLS"
UNSAYABLE: Final[dict[str, tuple[str, ...]]] = {
    "a command in an address": ("a@example.com>\r\nRSET",),
    "two addresses in one": ("a@example.com,b@example.com",),
    "one of two": ("a@example.com", "b@@example.com"),
    "an empty address": ("",),
    "no recipient": (),
}
BROKEN: Final[dict[str, Any]] = {
    "a recipient without a state": [{"address": "a@example.com"}],
    "a recipient without an address": [{"state": "pending"}],
    "an address that is a number": [{"address": 7, "state": "pending"}],
    "no list": None,
    "a number": 5,
}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def active(running: ExitStack, **script: Any) -> ScriptedServer:
    server = running.enter_context(ScriptedServer(script))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2}), actor="tester")
    return server


def fails_at(monkeypatch: pytest.MonkeyPatch, name: str, nth: int) -> None:
    """Plant an exception into the n-th use of the wire, and into no other."""
    real: Callable[..., Any] = getattr(Wire, name)
    used = 0

    def planted(self: Wire, *arguments: Any) -> Any:
        nonlocal used
        used += 1
        if used == nth:
            raise RuntimeError("a secret of the mail")
        return real(self, *arguments)

    monkeypatch.setattr(Wire, name, planted)


@pytest.mark.parametrize("recipients", UNSAYABLE.values(), ids=UNSAYABLE.keys())
def test_one_poisonous_mail_waits_uncharged_and_holds_no_other(servers: ExitStack, recipients: tuple[str, ...]) -> None:
    server = active(servers)
    mail = draft(ANN, "s", "b", message_id_domain="example.com")
    poisoned = promise.enqueue(replace(mail, recipients=recipients), Terms())
    mail_ids = [queued(ANN) for _ in range(7)]
    drain()
    row = row_of(poisoned)
    assert (row.state, row.attempts, row.uncertain) == (State.DEFERRED, 0, 0)
    assert "Reference: " in row.reason
    assert {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT}
    assert len(server.messages) == 7


@pytest.mark.parametrize("recipients", BROKEN.values(), ids=BROKEN.keys())
def test_a_mail_whose_row_is_broken_holds_no_other(servers: ExitStack, recipients: Any) -> None:
    active(servers)
    mail_ids = [queued(ANN) for _ in range(8)]
    change(mail_ids.pop(3), recipients=recipients)
    drain()
    assert {row_of(mail_id).state for mail_id in mail_ids} == {State.SENT}


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("name", ["send", "read_reply"])
def test_a_queued_mail_is_told_to_be_what_the_server_knows_of_it(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch, name: str, nth: int
) -> None:
    server = active(servers)
    mail_id = queued(ANN)
    fails_at(monkeypatch, name, nth)
    drain()
    row, taken = row_of(mail_id), len(server.messages)
    if taken:
        assert row.state in (State.SENT, State.UNCERTAIN)
    else:
        assert (row.state, row.attempts, row.uncertain) == (State.DEFERRED, 0, 0)


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("name", ["send", "read_reply"])
def test_a_caller_is_answered_and_nothing_is_raised(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch, name: str, nth: int
) -> None:
    server = active(servers)
    fails_at(monkeypatch, name, nth)
    was_sent = email_service.send_email(ANN, "s", "b")
    assert not was_sent or len(server.messages) == 1


def test_the_log_has_class_place_and_reference_and_not_the_words(
    servers: ExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    active(servers)
    mail_id = queued(ANN)
    fails_at(monkeypatch, "read_reply", 3)
    drain()
    (told,) = (cast(dict[str, str], record.msg) for record in caplog.records if "reference" in str(record.msg))
    assert told["kind"] == "RuntimeError"
    assert re.fullmatch(r"services/smtp/\w+\.py:\d+ in \w+", told["where"])
    assert told["reference"] in row_of(mail_id).reason
    assert "a secret of the mail" not in caplog.text


def test_a_callers_mistake_is_raised_before_anything(servers: ExitStack) -> None:
    server = active(servers)
    with pytest.raises(ValueError, match="to_email"):
        email_service.send_email("a@example.com, b@example.com", "s", "b")
    assert server.connections == []


def test_a_ca_file_that_went_away_costs_no_mail(environment: dict[str, str], tmp_path: Path) -> None:
    gone = tmp_path / "ca.pem"
    gone.write_bytes(certificates.ca_file().read_bytes())
    other = create_app({**environment, "SMTP_CA_FILE": str(gone)}, instance_path=tmp_path)
    gone.unlink()
    with other.app_context(), ScriptedServer({"EHLO": OFFERS}, tls=certificates.good_context()) as server:
        place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": True, "from_email": "s@example.com"}
        configs.save(parse_change(place), actor="tester")
        mail_id = queued(ANN)
        drain()
        row = row_of(mail_id)
        assert (row.state, row.attempts) == (State.DEFERRED, 0)
        assert email_service.send_email(ANN, "s", "b") is False
