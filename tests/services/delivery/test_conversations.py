"""What was said in an attempt: each mail's own, without content or secrets, sealed, as long as the attempt is kept."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from database import attempt_db
from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from services import address_key, conversations
from services.email_service import send_email
from services.outbox import log
from services.privacy import forgetting
from services.privacy.export import export, held
from services.settings import configs, key_rotation
from services.settings.fields import parse_change
from services.smtp.transcript import MOST_LINES, SpokenLine
from tests.conftest import APP_KEY
from tests.mails import BODY, SUBJECT, queued
from tests.outbox import drain
from tests.scripted_server import Answer, ScriptedServer

Script = dict[str, Answer | list[Answer]]

ANN, BOB = "ann@example.com", "bob@example.com"
TABLES = ("email_outbox", "email_attempt", "email_conversation", "smtp_config", "audit_event", "address_key")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"LOG_CONVERSATIONS": "all"}


@pytest.fixture
def servers(app: Flask) -> Iterator[ExitStack]:
    with ExitStack() as running:
        yield running


def scripted(servers: ExitStack, script: Script | None = None, **more: object) -> ScriptedServer:
    server = servers.enter_context(ScriptedServer(script or {}))
    place = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "from_email": "s@example.com"}
    configs.save(parse_change({**place, "timeout_seconds": 2, **more}), actor="tester")
    return server


def said(mail_id: str, place: int = -1) -> list[str] | None:
    """What was said in an attempt at the mail, the last one unless told otherwise; None if it is not kept."""
    with reading() as session:
        attempt = attempt_db.of_mail(session, mail_id)[place]
        if attempt.conversation is None:
            return None
        lines = conversations.of_ids(session, [attempt.conversation])[attempt.conversation]
    assert lines
    return [line.text for line in lines]


def opened_now(mail_id: str) -> list[SpokenLine] | None:
    with reading() as session:
        (attempt,) = attempt_db.of_mail(session, mail_id)
        (found,) = conversations.of_ids(session, [attempt.conversation or ""]).values()
    return found


def log_of_direct() -> list[EmailAttempt]:
    with reading() as session:
        return attempt_db.latest(session, 10)


def everything() -> str:
    with reading() as session:
        return "".join(str(list(session.execute(text(f"SELECT * FROM {table}")))) for table in TABLES)


def test_it_has_commands_and_replies_and_of_the_message_only_the_size(servers: ExitStack) -> None:
    scripted(servers)
    mail_id = queued(ANN)
    drain()
    lines = said(mail_id)
    assert lines
    assert lines[0].startswith("* Connected to 127.0.0.1")
    assert f"C: RCPT TO:<{ANN}>" in lines
    assert any(line.startswith("C: (the message, ") for line in lines)
    assert lines[-1].startswith("S: 250")
    assert not [line for line in lines if BODY in line or SUBJECT in line]
    assert ANN not in everything().replace(f'"{ANN}"', "").replace(f"'address': '{ANN}'", "")


def test_each_of_many_mails_in_flight_has_its_own_commands_and_replies(servers: ExitStack) -> None:
    ways: list[Script] = [
        {"EHLO": "250-scripted.test\n250-PIPELINING\n250 CHUNKING"},
        {"EHLO": "250-scripted.test\n250 PIPELINING"},
        {"EHLO": "250 scripted.test"},
    ]
    for way in ways:
        with ExitStack() as running:
            server = scripted(running, way | {"MESSAGE": [f"250 2.0.0 Ok: queued as Q{turn}" for turn in range(12)]})
            mails = {queued(f"person{number}@example.com"): number for number in range(12)}
            drain()
            assert len(server.messages) == 12
        for mail_id, number in mails.items():
            lines = said(mail_id)
            assert lines
            assert [line for line in lines if line.startswith("C: RCPT")] == [
                f"C: RCPT TO:<person{number}@example.com>"
            ]
            messages = [line for line in lines if line.startswith("C: (the message, ") and " 12 bytes" not in line]
            assert len(messages) == 1, lines  # beside the chunk of 12 that tells whether the server refuses any
            own = [line for line in lines if line.startswith("S:")]
            assert own[-1].startswith("S: 250"), lines
            assert lines[0].startswith(("* Connected to", "* On a connection")), lines
        with reading() as session:
            attempts = [attempt_db.of_mail(session, mail_id)[0] for mail_id in mails]
        assert {attempt.queue_id for attempt in attempts} == {f"Q{turn}" for turn in range(12)}
        taken = [(said(mail_id) or [""])[-1] for mail_id in mails]
        assert taken == [f"S: 250 2.0.0 Ok: queued as {attempt.queue_id}" for attempt in attempts]


def test_a_connection_that_did_not_come_about_is_told_of_without_the_password(servers: ExitStack) -> None:
    script: Script = {
        "EHLO": "250-scripted.test\n250 AUTH PLAIN",
        "AUTH": "535 5.7.8 no, not s3cret-Word!",
    }
    scripted(servers, script, smtp_username="shop", smtp_password="s3cret-Word!")
    mail_id = queued(ANN)
    drain()
    lines = said(mail_id)
    assert lines
    assert "C: AUTH PLAIN ••••" in lines
    assert lines[-1].startswith("S: 535") or "535" in " ".join(lines)
    assert "s3cret-Word!" not in " ".join(lines)


@pytest.mark.parametrize(
    ("setting", "kept"), [("off", [False, False]), ("failures", [False, True]), ("all", [True, True])]
)
def test_the_setting_says_which_are_kept(
    environment: dict[str, str], tmp_path: Path, migrated_database: Path, setting: str, kept: list[bool]
) -> None:
    with (
        create_app(environment | {"LOG_CONVERSATIONS": setting}, instance_path=tmp_path).app_context(),
        ExitStack() as to,
    ):
        scripted(to, {"RCPT": ["250 ok", "550 5.1.1 no such user"]})
        mails = [queued(ANN), queued(BOB)]
        drain()
        assert [said(mail_id) is not None for mail_id in mails] == kept


def test_a_long_one_is_cut_in_the_middle_and_says_so() -> None:
    lines = [SpokenLine(number, f"S: 250-{'x' * 150} {number}") for number in range(MOST_LINES)]
    short = conversations.shortened(lines)
    assert sum(len(line.text) for line in short) <= conversations.MOST_OCTETS
    (cut,) = [line for line in short if "left out" in line.text]
    assert cut.text == f"* {MOST_LINES - len(short) + 1} lines are left out."
    assert (short[0], short[-1]) == (lines[0], lines[-1])
    assert conversations.shortened(lines[:3]) == lines[:3]


def test_a_rotation_seals_it_anew_and_without_its_key_nothing_is_shown(
    environment: dict[str, str], servers: ExitStack, tmp_path: Path
) -> None:
    scripted(servers)
    mail_id = queued(ANN)
    drain()
    before = said(mail_id)
    old = {"APP_KEY": "another key " * 4, "APP_KEY_PREVIOUS": APP_KEY}
    with create_app(environment | old, instance_path=tmp_path).app_context():
        assert said(mail_id) == before
        assert [use.conversations for use in key_rotation.status().keys] == [0, 1]
        done = key_rotation.rotate()
        assert (done.conversations, done.after.to_rotate) == (1, 0)
        assert [use.conversations for use in done.after.keys] == [1, 0]
        assert said(mail_id) == before
    assert opened_now(mail_id) is None
    assert key_rotation.status().keys[-1].conversations == 1


def test_a_direct_mail_is_exported_and_forgotten_with_it_too(servers: ExitStack) -> None:
    with transaction() as session:
        address_key.find_or_make(session)  # which a worker has done by then
    scripted(servers, {"RCPT": ["250 ok", f"550 5.1.1 <{BOB}>: no such user", "250 ok"]})
    send_email([ANN, BOB], "S", "T")
    send_email(BOB, "S", "T")
    (told,) = export(ANN)["direct_emails"]
    assert f"C: RCPT TO:<{ANN}>" in told["conversation"]
    assert "S: 550 5.1.1 <b***@example.com>: no such user" in told["conversation"]
    assert BOB not in str(told)
    assert (held(ANN).conversations, forgetting.forget(ANN).conversations) == (1, 1)
    assert [each.conversation is None for each in log_of_direct()] == [False, True]


def test_it_goes_with_the_log_and_when_its_address_is_forgotten(servers: ExitStack) -> None:
    scripted(servers)
    mails = [queued(ANN), queued(BOB, ANN), queued(BOB)]
    drain()
    told = {each["id"]: each["attempts"][0]["conversation"] for each in export(ANN)["emails"]}
    assert f"C: RCPT TO:<{ANN}>" in told[mails[0]]
    assert BOB not in str(told)
    assert (held(ANN).conversations, forgetting.forget(ANN).conversations) == (2, 2)
    assert [said(mail_id) is not None for mail_id in mails] == [False, False, True]
    with reading() as session:
        assert session.execute(text("SELECT count(*) FROM email_conversation")).scalar() == 1
    log.purge(timedelta(seconds=-1))
    with reading() as session:
        assert session.execute(text("SELECT count(*) FROM email_conversation")).scalar() == 0
