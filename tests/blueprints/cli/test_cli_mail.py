"""`flask mail …`: the log and the worker from the command line."""

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import create_app
from database import attempt_db
from database.engine import reading
from database.outbox_db import SETTLED, State
from services import audit
from services.outbox import log
from services.outbox.log import NOBODY_SENDS
from services.outbox.reasons import Reason
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import BODY, REFUSAL, SUBJECT, attempted, in_state, queued
from tests.outbox import row_of
from tests.patience import PATIENCE
from tests.recording_server import RecordingServer
from tests.running import ROOT, run_environment
from utils import clock
from utils.errors import NotFound


def run(app: Flask, *words: str) -> Result:
    return app.test_cli_runner().invoke(args=["mail", *words])


def attempts() -> int:
    with reading() as session:
        return len(attempt_db.latest(session, 100))


def test_mails_are_listed_the_newest_first_and_by_state(app: Flask) -> None:
    failed, waiting = in_state(State.FAILED, reason="No such user."), queued("joe@example.com")
    head, first, second = run(app, "list").stdout.splitlines()
    assert head.startswith("Queued (UTC)")
    assert waiting in first
    assert "joe@example.com" in first
    assert failed in second
    assert "No such user." in second
    only = json.loads(run(app, "list", "--state", "failed", "--state", "sent", "--json").stdout)
    assert [each["id"] for each in only] == [failed]
    assert len(json.loads(run(app, "list", "--limit", "1", "--json").stdout)) == 1


def test_mails_that_were_sent_directly_are_listed_apart(app: Flask) -> None:
    queued("joe@example.com")
    attempted(None, **REFUSAL)
    listed = run(app, "list", "--direct").stdout
    assert "No such user here" in listed
    assert "joe" not in listed
    (told,) = json.loads(run(app, "list", "--direct", "--json").stdout)
    assert (told["outcome"], told["recipients"]) == ("permanent", "j***@example.com")


def test_neither_subject_nor_content_is_printed(app: Flask) -> None:
    queued()
    printed = "".join(run(app, *words).output for words in (["list"], ["list", "--json"], ["status", "--json"]))
    assert not [word for word in (SUBJECT, BODY) if word in printed]


def test_the_status_of_an_empty_queue_is_well(app: Flask) -> None:
    result = run(app, "status")
    assert result.exit_code == 0
    assert result.stdout.endswith("\nNo email is waiting or has failed.\nNo email is late.\n")


def test_the_status_counts_and_says_why_mail_waits(app: Flask) -> None:
    configs.save(parse_change({"smtp_server": "mail.example.com", "from_email": "a@example.com"}))
    for _ in range(2):
        in_state(State.DEFERRED, reason=Reason.THROTTLED, due_at=clock.now() + timedelta(hours=1))
    in_state(State.FAILED)
    in_state(State.LEASED, leased_by="host:1:ab")
    attempted(None)
    result = run(app, "status")
    assert result.exit_code == 0
    for line in ("deferred      2", "failed        1", "Waiting (2): The sending limit is reached."):
        assert line in result.stdout.splitlines()
    assert "Worker host:1:ab is sending 1 email" in result.stdout
    assert "Accepted" in result.stdout


def test_mail_that_is_late_is_not_well_and_exit_code_3(app: Flask) -> None:
    due_at = clock.now() - timedelta(minutes=20)
    in_state(State.QUEUED, due_at=due_at)
    result = run(app, "status", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"], told["oldest_due"]) == (3, False, due_at.isoformat())
    assert NOBODY_SENDS in run(app, "status").stdout


def test_mail_that_no_server_can_send_is_not_well(app: Flask) -> None:
    in_state(State.DEFERRED, reason=Reason.NO_SERVER, due_at=clock.now() + timedelta(minutes=1))
    result = run(app, "status")
    assert result.exit_code == 3
    assert result.stdout.startswith("No mail can be sent: no server is active, and 1 email is waiting,")


@pytest.mark.parametrize("state", [State.QUEUED, State.DEFERRED, State.UNCERTAIN, State.HELD])
def test_mail_whose_key_is_missing_is_not_well_before_it_is_due(app: Flask, state: State) -> None:
    in_state(state, key_id="0ther000", due_at=clock.now() + timedelta(hours=1))
    in_state(State.QUEUED, due_at=clock.now() + timedelta(hours=1))
    result = run(app, "status")
    assert result.exit_code == 3
    assert (
        "1 email cannot be read. It is sealed with a missing APP_KEY. Add that key to APP_KEY_PREVIOUS."
    ) in result.stdout.splitlines()
    assert "No email is late." not in result.stdout
    told = json.loads(run(app, "status", "--json").stdout)
    assert (told["ok"], told["keyless"]) == (False, 1)


@pytest.mark.parametrize("state", [State.SENT, State.FAILED, State.CANCELLED])
def test_mail_that_goes_nowhere_any_more_needs_no_key(app: Flask, state: State) -> None:
    in_state(state, key_id="0ther000")
    assert run(app, "status").exit_code == 0


def test_a_mail_is_sent_again_or_cancelled_by_its_id(app: Flask) -> None:
    mail_id = in_state(State.FAILED)
    assert run(app, "retry", mail_id).stdout == f"Queued to be sent now: {mail_id}\n"
    assert json.loads(run(app, "cancel", mail_id, "--json").stdout)["state"] == "cancelled"
    assert row_of(mail_id).content is None


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_what_cannot_be_done_is_one_line_and_exit_code_1(app: Flask, action: str) -> None:
    for mail_id in (in_state(State.SENT), "0" * 32, "\ud800" * 32, "x"):
        result = run(app, action, mail_id)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_purging_deletes_what_was_settled_long_ago_with_its_attempts(app: Flask) -> None:
    old = [in_state(state, days_ago=8) for state in SETTLED]
    young, waiting = in_state(State.SENT, days_ago=6), in_state(State.DEFERRED, days_ago=8)
    for mail_id in (*old, young, waiting, None):
        attempted(mail_id, days_ago=8)
    assert run(app, "purge", "--older-than", "7").stdout == "Deleted 5 emails and 6 attempts.\n"
    assert {each.id for each in log.mails()[0]} == {young, waiting}
    assert len(log.story(waiting).attempts) == 1


def test_purging_one_state_leaves_the_others_and_what_was_sent_directly(app: Flask) -> None:
    failed, sent = in_state(State.FAILED, days_ago=8), in_state(State.SENT, days_ago=8)
    for mail_id in (failed, sent, None):
        attempted(mail_id, days_ago=8)
    told = json.loads(run(app, "purge", "--older-than", "7", "--state", "failed", "--json").stdout)
    assert told == {"mails": 1, "attempts": 1}
    assert attempts() == 2


def test_wrong_usage_is_exit_code_2(app: Flask) -> None:
    for words in (
        "purge",
        "purge --older-than -1",
        "purge --older-than 1 --state queued",
        "list --state flying",
        "list --direct --count",
        "worker --senders 0",
    ):
        assert run(app, *words.split()).exit_code == 2


@pytest.mark.parametrize(("days", "kept"), [("30", 1), ("9", 0), ("0", 1)])
def test_the_worker_deletes_what_is_older_than_the_environment_says(
    environment: dict[str, str], days: str, kept: int
) -> None:
    with create_app({**environment, "MAIL_RETENTION_DAYS": days}).app_context():
        mail_id = in_state(State.SENT, days_ago=10)
        attempted(mail_id, days_ago=10)
        log.tidy()
        assert (len(log.mails()[0]), attempts()) == (kept, kept)


def test_what_is_done_by_hand_stands_in_the_audit_trail(app: Flask) -> None:
    mail_id = in_state(State.FAILED)
    run(app, "retry", mail_id)
    run(app, "cancel", mail_id)
    run(app, "cancel", mail_id)  # too late
    run(app, "purge", "--older-than", "0", "--state", "cancelled")
    found = [(event.action, event.subject, event.details) for event in audit.events()]
    assert found == [
        ("mail_purged", "1 email", "older than 0 days, cancelled"),
        ("mail_cancelled", f"mail {mail_id}", ""),
        ("mail_retried", f"mail {mail_id}", ""),
    ]


def test_many_mails_are_deleted_in_batches(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_BATCH", 2)
    for _ in range(5):
        attempted(in_state(State.SENT, days_ago=8), days_ago=8)
    assert log.purge(timedelta(days=7)) == log.Purged(mails=5, attempts=5)


def test_a_worker_without_migrations_is_one_line_and_exit_code_1(environment: dict[str, str], tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'new.db'}", f"sqlite:///{tmp_path / 'missing' / 'new.db'}"):
        result = run(create_app({**environment, "DATABASE_URL": url}, instance_path=tmp_path), "worker")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: The database ")
        assert result.stderr.endswith("un: flask db upgrade\n")
        assert result.stderr.count("\n") == 1


def test_a_worker_sends_what_is_queued_until_it_is_told_to_end(migrated_database: Path, tmp_path: Path) -> None:
    database = tmp_path / "worker.db"
    database.write_bytes(migrated_database.read_bytes())
    with RecordingServer() as server:
        environment = run_environment(
            database, EMAIL_HOST=server.host, EMAIL_PORT=str(server.port), EMAIL_USE_TLS="false", MAIL_SENDERS="0"
        )
        with create_app(environment).app_context():
            queued("joe@example.com")
        command = [sys.executable, "-m", "flask", "--app", "app", "mail", "worker"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                server.wait_for_mail()
            finally:
                process.send_signal(signal.SIGTERM)
            told, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (0, "Sending queued email with 1 sender. Stop with Ctrl-C.\n")
    assert [mail.recipients for mail in server.mails] == [("joe@example.com",)]


def test_a_mail_that_was_purged_is_not_found(app: Flask) -> None:
    mail_id = in_state(State.SENT, days_ago=8)
    log.purge(timedelta(days=7))
    with pytest.raises(NotFound):
        log.story(mail_id)
