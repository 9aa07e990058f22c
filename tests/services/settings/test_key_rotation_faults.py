"""A rotation that is killed, mails that go on meanwhile, lost keys, tampered tokens, swapped rows (fault F11).

`FAULTS=full` makes the kills at all 30 points; otherwise a tenth of them are made.
"""

import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from services import audit, email_service
from services.audit import Action
from services.settings import configs, key_rotation
from services.settings.fields import parse_change
from services.settings.key_rotation import Point, Role, SealedRow
from services.settings.sealing import Condition
from tests.conftest import APP_KEY
from tests.long_run import ALL
from tests.patience import PATIENCE
from tests.processes import CONTEXT
from tests.recording_server import RecordingServer
from tests.rotations import (
    ALL_PASSWORDS,
    NEW_KEY,
    ROWS,
    Environment,
    everything,
    passwords,
    raw_rows,
    sql,
    store_rows,
    under,
)
from utils.encryption_utils import current_key_id

KILLS = [(point, number) for number in range(1, ROWS + 1) for point in Point]  # 30
FEW_KILLS = [(Point.WRITTEN, 1), (Point.RECORDED, 3), (Point.COMMITTED, 6)]


@pytest.fixture(autouse=True)
def rows(app: Flask) -> None:
    """Six configurations under the old key."""
    store_rows()


def rotate_and_die(environment: Environment, folder: str, point: Point, number: int) -> None:
    """In a process of its own: rotate, and be killed when the work on the row of this number reaches the point."""
    reached = 0

    def hear(at: Point, _row: SealedRow) -> None:
        nonlocal reached
        reached += at is point
        if at is point and reached == number:
            os.kill(os.getpid(), signal.SIGKILL)

    with create_app(environment, instance_path=Path(folder)).app_context():
        key_rotation.rotate(hear=hear)


@pytest.mark.parametrize(("point", "number"), KILLS if ALL else FEW_KILLS)
def test_a_rotation_that_is_killed_loses_nothing_and_is_finished_by_the_next(
    environment: Environment, tmp_path: Path, point: Point, number: int
) -> None:
    changed = {**environment, "APP_KEY": NEW_KEY, "APP_KEY_PREVIOUS": APP_KEY}
    doomed = CONTEXT.Process(target=rotate_and_die, args=(changed, str(tmp_path), point, number))
    doomed.start()
    doomed.join(PATIENCE)
    assert doomed.exitcode == -signal.SIGKILL
    done = number if point is Point.COMMITTED else number - 1
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert passwords() == ALL_PASSWORDS
        assert [stored.row.key_id == current_key_id() for stored in everything()] == [
            place < done for place in range(ROWS)
        ]
        assert len(audit.events(action=Action.KEY_ROTATED)) == done
        assert len(key_rotation.rotate().rotated) == ROWS - done
        assert len(audit.events(action=Action.KEY_ROTATED)) == ROWS
    with under(environment, tmp_path, NEW_KEY):
        assert passwords() == ALL_PASSWORDS
        assert sum(stored.is_verified for stored in everything()) == ROWS // 2
    content = b"".join(file.read_bytes() for file in tmp_path.glob("test.db*"))
    assert not any(password.encode() in content for password in ALL_PASSWORDS if password)


def send_until(environment: Environment, folder: str, enough: Event, ready: Event, results: Connection) -> None:
    """In a process of its own: send mails until told to stop, and report how many and how many of them failed."""
    sent = failed = 0
    with create_app(environment, instance_path=Path(folder)).app_context():
        while not enough.is_set():
            failed += not email_service.send_email("to@example.com", "Subject", "Text")
            sent += 1
            ready.set()
    results.send((sent, failed))


def test_no_mail_fails_while_keys_are_rotated(environment: Environment, tmp_path: Path) -> None:
    flips = 40 if ALL else 8
    with RecordingServer(users={"user1": "s3cret-of-one"}) as server:
        change = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "use_ssl": False}
        login = {"smtp_username": "user1", "smtp_password": "s3cret-of-one"}
        configs.update(1, parse_change({**change, **login}))
        enough, ready, (here, there) = CONTEXT.Event(), CONTEXT.Event(), CONTEXT.Pipe(duplex=False)
        both = {**environment, "APP_KEY": NEW_KEY, "APP_KEY_PREVIOUS": APP_KEY}
        sender = CONTEXT.Process(target=send_until, args=(both, str(tmp_path), enough, ready, there))
        sender.start()
        try:
            assert ready.wait(PATIENCE)
            for flip in range(flips):
                current, previous = (NEW_KEY, APP_KEY) if flip % 2 == 0 else (APP_KEY, NEW_KEY)
                with under(environment, tmp_path, current, previous):
                    assert len(key_rotation.rotate().rotated) == ROWS
        finally:
            enough.set()
        assert here.poll(60)
        sent, failed = here.recv()
        sender.join(PATIENCE)
        assert (failed, len(server.mails)) == (0, sent)
        assert {attempt.password for attempt in server.auth_attempts} == {b"s3cret-of-one"}


def diagnoses() -> set[Condition]:
    return {refusal.condition for refusal in key_rotation.status().refused}


@pytest.mark.parametrize("number", range(20))
def test_rows_of_a_lost_key_are_named_with_the_remedy_and_left_byte_for_byte(
    environment: Environment, tmp_path: Path, number: int
) -> None:
    before = raw_rows()
    with under(environment, tmp_path, f"{number:02}-Wr0ng-K3y-9vXqLw2RbT7yNc5MdJ8hPf"):
        done = key_rotation.rotate()
        assert diagnoses() == {Condition.KEY_MISSING}
        assert [refusal.row.name for refusal in done.refused] == [f"Server {place}" for place in range(1, ROWS + 1)]
        assert "Restore APP_KEY or enter the password again" in done.refused[0].reason
        assert [use.role for use in done.after.keys] == [Role.CURRENT, Role.UNKNOWN]
    assert raw_rows() == before
    assert passwords() == ALL_PASSWORDS


@pytest.mark.parametrize("at", range(0, 100, 10))
def test_a_tampered_token_is_refused_by_name_and_the_others_are_rotated(
    environment: Environment, tmp_path: Path, at: int
) -> None:
    token = everything()[2].row.smtp_password
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    sql("UPDATE smtp_config SET smtp_password = :token WHERE id = 3", token=changed)
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        done = key_rotation.rotate()
        assert [(refusal.row.name, refusal.condition) for refusal in done.refused] == [("Server 3", Condition.ALTERED)]
        assert len(done.rotated) == ROWS - 1
        assert done.after.unreferenced == []
        assert everything()[2].row.smtp_password == changed


SEAL = "smtp_password", "key_id", "binding_mac"


@pytest.mark.parametrize("columns", [("smtp_password",), SEAL], ids=["token", "whole seal"])
@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (2, 3), (3, 4), (4, 5)])
def test_swapped_rows_are_refused_as_altered_and_not_as_a_lost_key(
    environment: Environment, tmp_path: Path, columns: tuple[str, ...], pair: tuple[int, int]
) -> None:
    first, second = (raw_rows()[place - 1] for place in pair)
    for taker, giver in ((first, second), (second, first)):
        for column in columns:
            sql(f"UPDATE smtp_config SET {column} = :value WHERE id = :id", value=giver[column], id=taker["id"])
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        done = key_rotation.rotate()
        assert {refusal.row.id for refusal in done.refused} == set(pair)
        assert diagnoses() == {Condition.ALTERED}
        assert "outside Sealpost" in done.refused[0].reason
