"""Switching mail to another server: what speaks against it, and the way back."""

from collections.abc import Iterator, Sequence

import pytest
from flask import Flask

from database.engine import transaction
from services import audit
from services.settings import activation, configs, health
from services.settings.activation import WayBack
from services.settings.fields import parse_change
from services.settings.health import Meeting, What
from services.settings.sealing import StoredConfig, fingerprint, issue_proof
from utils.errors import Conflict, NotFound

VALUES = {"smtp_server": "smtp.example.com", "smtp_port": 587, "from_email": "shop@example.com"}


@pytest.fixture(autouse=True)
def _context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def make(name: str, *, is_active: bool = False, is_proved: bool = True) -> StoredConfig:
    change = parse_change({"name": name, **VALUES, "is_active": is_active})
    proof = issue_proof(configs.preview(change)) if is_proved else ""
    return configs.create(change, proof=proof)


def meeting(*, is_broken: bool = False) -> Meeting:
    return Meeting(what=What.FAILED, reason="connect", is_broken=is_broken)


def note(stored: StoredConfig, meetings: Sequence[Meeting]) -> None:
    with transaction() as session:
        health.note(session, health.owner_of(stored.row.id), stored.row.id, fingerprint(stored.settings), meetings)


def switch_to(stored: StoredConfig) -> WayBack:
    before = configs.find_active()
    way = activation.way_back(before, configs.activate(stored.row.id))
    assert way
    return way


def active_name() -> str | None:
    active = configs.find_active()
    return active.row.name if active else None


def test_nothing_speaks_against_a_server_that_passed_its_test() -> None:
    assert activation.doubt(make("Proved")) == ""


def test_one_that_was_never_tested_is_asked_about() -> None:
    assert activation.doubt(make("New", is_proved=False)) == "These settings have not been tested yet."


def test_so_is_one_that_is_down_and_one_that_never_worked() -> None:
    for meetings in ([meeting(is_broken=True)], [meeting()]):
        stored = make(f"Server {len(configs.search())}", is_proved=False)
        note(stored, meetings)
        assert "Could not connect to server" in activation.doubt(stored)


def test_one_that_stumbles_now_and_then_is_not() -> None:
    stored = make("Stumbles")
    note(stored, [Meeting(what=What.WENT), meeting()])
    assert activation.doubt(stored) == ""


def test_so_is_one_that_was_changed_since_its_test() -> None:
    stored = make("Changed")
    configs.update(stored.row.id, parse_change({"smtp_port": 2525}))
    assert activation.doubt(configs.get(stored.row.id))


def test_the_way_back_leads_to_what_was_active_before() -> None:
    make("First", is_active=True)
    way = switch_to(make("Second"))
    assert activation.undo(way, actor="alice").row.name == "First"
    assert active_name() == "First"
    assert configs.get(way.config_id).row.is_active is False


def test_where_nothing_was_active_it_switches_off() -> None:
    way = switch_to(make("Only"))
    assert activation.undo(way).row.is_active is False
    assert active_name() is None


def test_there_is_none_from_a_server_to_itself() -> None:
    first = make("First", is_active=True)
    assert activation.way_back(configs.find_active(), first) is None


def test_it_is_in_the_trail() -> None:
    make("First", is_active=True)
    activation.undo(switch_to(make("Second")))
    told = [(str(event.action), event.subject.split(" (")[0]) for event in audit.events(limit=2)]
    assert sorted(told) == [("activated", "configuration First"), ("deactivated", "configuration Second")]


@pytest.mark.parametrize("changed", ["First", "Second"])
def test_it_is_closed_once_somebody_has_changed_either(changed: str) -> None:
    make("First", is_active=True)
    way = switch_to(make("Second"))
    configs.update(configs.named(changed).row.id, parse_change({"from_name": "Other"}))
    with pytest.raises(Conflict):
        activation.undo(way)
    assert active_name() == "Second"


def test_it_is_closed_once_a_third_is_active() -> None:
    make("First", is_active=True)
    way = switch_to(make("Second"))
    switch_to(make("Third"))
    with pytest.raises(Conflict):
        activation.undo(way)
    assert active_name() == "Third"


def test_it_is_closed_once_what_was_before_is_deleted() -> None:
    first = make("First", is_active=True)
    way = switch_to(make("Second"))
    configs.delete(first.row.id)
    with pytest.raises(NotFound):
        activation.undo(way)
    assert active_name() == "Second"
