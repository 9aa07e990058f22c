"""Rotation of `APP_KEY`: what changes and what does not, and which keys are needed afterwards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from database.engine import transaction
from database.outbox_db import State
from database.smtp_db import SmtpConfig
from services import audit
from services.audit import Action
from services.outbox import promise
from services.settings import configs, key_rotation, sealing
from services.settings.fields import parse_change
from services.settings.key_rotation import Point, Role, SealedRow
from services.settings.sealing import Condition
from tests.conftest import APP_KEY
from tests.mails import in_state, queued
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
from tests.visitors import make_alice
from utils.env_reader import ConfigurationError
from utils.env_utils import EXTENSION, load_settings
from utils.secret import Secret

THIRD_KEY = "Th1rd-K3y-0zQpMw8VbR4sXc6NdG2kLj"


@pytest.fixture(autouse=True)
def rows(app: Flask) -> None:
    """Six configurations under the old key."""
    store_rows()


def test_after_a_rotation_the_new_key_alone_opens_everything(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert len(key_rotation.rotate().rotated) == ROWS
    with under(environment, tmp_path, NEW_KEY):
        assert [stored.condition for stored in everything()] == [Condition.GOOD] * ROWS
        assert passwords() == ALL_PASSWORDS


def test_a_rotation_changes_the_seal_and_nothing_else(environment: Environment, tmp_path: Path) -> None:
    before = raw_rows()
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        key_rotation.rotate()
    sealed = {"smtp_password", "key_id", "binding_mac", "verified_fingerprint"}
    for old, new in zip(before, raw_rows(), strict=True):
        assert {name for name in old if old[name] != new[name]} <= sealed
        assert old["key_id"] != new["key_id"]


def test_what_was_verified_stays_verified_before_and_after_a_rotation(environment: Environment, tmp_path: Path) -> None:
    expected = [number % 2 == 0 for number in range(1, ROWS + 1)]
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert [stored.is_verified for stored in everything()] == expected
        key_rotation.rotate()
    with under(environment, tmp_path, NEW_KEY):
        assert [stored.is_verified for stored in everything()] == expected


def test_a_second_rotation_finds_nothing_to_do_and_writes_nothing(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        key_rotation.rotate()
        before = raw_rows()
        assert key_rotation.rotate().rotated == []
        assert raw_rows() == before


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        before = raw_rows()
        told = key_rotation.rotate(dry_run=True)
        assert raw_rows() == before
        assert [row.name for row in told.rotated] == [f"Server {number}" for number in range(1, ROWS + 1)]
        assert [use.role for use in told.after.unreferenced] == [Role.PREVIOUS]
        assert key_rotation.status().unreferenced == []


def test_each_rotated_row_stands_in_the_audit_trail(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        key_rotation.rotate()
        events = audit.events(action=Action.KEY_ROTATED)
    assert {event.subject for event in events} == {
        f"configuration Server {number} (smtp{number}.example.com:587)" for number in range(1, ROWS + 1)
    }
    assert all("from key" in event.details for event in events)


def test_personal_rows_are_rotated_as_well(environment: Environment, tmp_path: Path) -> None:
    person = make_alice()
    with transaction() as session:
        row = session.get(SmtpConfig, 2)
        assert row
        row.account_id = person.id
        sealing.seal(row, everything()[1].settings)
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        rotated = key_rotation.rotate().rotated
    assert [row.account_id for row in rotated if row.id == 2] == [person.id]
    with under(environment, tmp_path, NEW_KEY):
        assert key_rotation.status().refused == []


def test_a_previous_key_that_seals_nothing_may_go_and_one_that_does_may_not(
    environment: Environment, tmp_path: Path
) -> None:
    with under(environment, tmp_path, NEW_KEY, THIRD_KEY, APP_KEY):
        state = key_rotation.status()
        assert [(use.role, use.position, use.rows) for use in state.keys] == [
            (Role.CURRENT, None, 0),
            (Role.PREVIOUS, 1, 0),
            (Role.PREVIOUS, 2, ROWS),
        ]
        assert [use.position for use in state.unreferenced] == [1]
        assert [use.position for use in key_rotation.rotate().after.unreferenced] == [1, 2]


def test_a_previous_key_that_queued_mails_need_may_not_go_until_they_are_gone(
    environment: Environment, tmp_path: Path
) -> None:
    mail_id = queued()
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        assert key_rotation.rotate(dry_run=True).after.unreferenced == []
        after = key_rotation.rotate().after
        assert [(use.role, use.rows, use.mails) for use in after.keys] == [
            (Role.CURRENT, ROWS, 0),
            (Role.PREVIOUS, 0, 1),
        ]
        assert after.unreferenced == []
        promise.cancel(mail_id)
        assert [use.role for use in key_rotation.status().unreferenced] == [Role.PREVIOUS]


@pytest.mark.parametrize(("state", "needed"), [(State.DEFERRED, 1), (State.FAILED, 1), (State.SENT, 0)])
def test_a_mail_needs_its_key_as_long_as_it_can_be_sent(state: State, needed: int) -> None:
    in_state(state)
    assert [use.mails for use in key_rotation.status().keys] == [needed]


def test_an_unknown_key_that_only_mails_name_is_not_well(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        key_rotation.rotate()
    queued()
    with under(environment, tmp_path, NEW_KEY):
        state = key_rotation.status()
        assert [(use.role, use.rows, use.mails) for use in state.missing_for_mails] == [(Role.UNKNOWN, 0, 1)]
        assert state.refused == []
        assert not state.is_well


def test_a_row_of_the_current_key_that_was_altered_is_named_too() -> None:
    sql("UPDATE smtp_config SET smtp_server = 'evil.example' WHERE id = 2")
    assert [refusal.row.name for refusal in key_rotation.rotate().refused] == ["Server 2"]


def test_a_row_that_comes_back_with_its_key_works_without_action(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY):
        key_rotation.rotate()
    assert [stored.is_usable for stored in everything()] == [True] * ROWS


def meanwhile(work: Callable[[], object]) -> Callable[[Point, SealedRow], None]:
    """An observer that does something once, between two rows."""
    told: list[Point] = []

    def hear(point: Point, _row: SealedRow) -> None:
        if point is Point.COMMITTED and not told:
            told.append(point)
            work()

    return hear


def test_a_row_that_is_deleted_meanwhile_is_left_out(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        done = key_rotation.rotate(hear=meanwhile(lambda: configs.delete(4)))
        assert [row.id for row in done.rotated] == [1, 2, 3, 5, 6]
        assert done.refused == []


def test_a_row_that_is_saved_meanwhile_keeps_the_new_values(environment: Environment, tmp_path: Path) -> None:
    with under(environment, tmp_path, NEW_KEY, APP_KEY):
        change = parse_change({"smtp_password": "quite another", "from_name": "Shop"})
        key_rotation.rotate(hear=meanwhile(lambda: configs.update(3, change)))
    with under(environment, tmp_path, NEW_KEY):
        saved = everything()[2]
        assert (saved.settings.password.reveal(), saved.row.from_name) == ("quite another", "Shop")


def test_a_weak_old_key_is_refused_as_app_key_but_may_be_left_by_a_rotation(
    environment: Environment, tmp_path: Path
) -> None:
    weak = "changeme"
    with pytest.raises(ConfigurationError, match="APP_KEY"):
        load_settings({**environment, "APP_KEY": weak})
    with under(environment, tmp_path, NEW_KEY, APP_KEY) as old:  # as an application without that rule would seal
        old.extensions[EXTENSION] = replace(old.extensions[EXTENSION], app_key=Secret(weak))
        key_rotation.rotate()
    with under(environment, tmp_path, NEW_KEY, weak):
        assert len(key_rotation.rotate().rotated) == ROWS
    with under(environment, tmp_path, NEW_KEY):
        assert passwords() == ALL_PASSWORDS
