"""What a save goes over while no server is active: the one that was active last, or a new one; never another's."""

from typing import Any

import pytest
from sqlalchemy import text

from database.engine import reading
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig
from utils.errors import Conflict, InvalidInput, NotFound
from utils.secret import Secret

PLACE: dict[str, Any] = {"smtp_server": "one.example", "smtp_port": 587, "smtp_username": "u", "smtp_password": "p-one"}
OTHER: dict[str, Any] = {"smtp_server": "two.example", "smtp_port": 587, "smtp_username": "v", "smtp_password": "p-two"}
FROM = {"from_email": "noreply@example.com"}

pytestmark = pytest.mark.usefixtures("app")


def save(**change: object) -> StoredConfig:
    return configs.save(parse_change(change), actor="tester")


def make(name: str, *, actor: str = "maker", **fields: Any) -> StoredConfig:
    return configs.create(parse_change({**FROM, "name": name, **fields}), actor=actor)


def names() -> list[str]:
    return sorted(stored.row.name for stored in configs.search())


def test_off_and_on_again_is_the_same_server_whatever_its_name() -> None:
    make("Primary", **OTHER)
    shop = make("Shop", **PLACE, is_active=True)
    save(is_active=False)
    assert configs.find_active() is None
    again = save(is_active=True)
    assert (again.row.id, again.row.smtp_server) == (shop.row.id, "one.example")


def test_the_one_that_was_active_last_is_taken_up_not_the_one_that_was_changed_last() -> None:
    first = make("First", **OTHER, is_active=True)
    last = make("Last", **PLACE, is_active=True)
    save(is_active=False)
    configs.update(first.row.id, parse_change({"from_name": "Changed"}))
    assert save(is_active=True).row.id == last.row.id


def test_one_that_was_switched_off_by_another_counts_from_then() -> None:
    first = make("First", **OTHER, is_active=True)
    second = make("Second", **PLACE, is_active=True)
    configs.delete(second.row.id)
    assert save(is_active=True).row.id == first.row.id


@pytest.mark.parametrize(
    "change", [{"is_active": True}, {"is_active": False}, {"from_name": "Shop"}, {"smtp_port": 25}]
)
def test_without_a_host_and_without_a_former_server_there_is_nothing_to_save(change: dict[str, object]) -> None:
    make("Primary", **PLACE)  # never was active
    with pytest.raises(NotFound, match="SMTP not configured"):
        save(**change)
    assert configs.search()[0].row.version == 1


@pytest.mark.parametrize("given", [{}, {"smtp_server": "ONE.example"}])
def test_with_the_same_host_port_and_user_name_the_former_server_is_taken_up(given: dict[str, object]) -> None:
    one = make("Shop", **PLACE, is_active=True)
    save(is_active=False)
    again = save(**FROM, **{**PLACE, "smtp_password": "", **given})
    assert (again.row.id, again.row.name, again.row.is_active) == (one.row.id, "Shop", True)
    assert again.settings.password == Secret("p-one")


@pytest.mark.parametrize(
    "other", [{"smtp_server": "two.example"}, {"smtp_port": 2525}, {"smtp_username": "U"}, {"smtp_username": "other"}]
)
def test_another_host_port_or_user_name_makes_a_new_one_and_overwrites_none(other: dict[str, object]) -> None:
    make("Primary", **PLACE, is_active=True)
    save(is_active=False)
    new = save(**FROM, **{**PLACE, **other})
    assert (new.row.name, new.row.is_active) == ("Primary 2", True)
    kept = configs.find_by_name("Primary")
    assert kept
    assert (kept.row.smtp_server, kept.row.is_active, kept.settings.password) == ("one.example", False, Secret("p-one"))


def test_an_inactive_primary_that_never_was_active_is_not_overwritten() -> None:
    make("primary", **OTHER)
    assert save(**FROM, **PLACE).row.name == "Primary 2"
    save(is_active=False)
    assert save(**FROM, **{**PLACE, "smtp_server": "three.example"}).row.name == "Primary 3"
    assert names() == ["Primary 2", "Primary 3", "primary"]


def test_the_name_of_another_is_refused() -> None:
    make("Shop", **PLACE)
    with pytest.raises(InvalidInput) as refused:
        save(**FROM, **OTHER, name="shop")
    assert list(refused.value.errors) == ["name"]


def test_a_version_that_no_server_has_is_a_conflict_even_with_a_new_host() -> None:
    make("Shop", **PLACE, is_active=True)
    save(is_active=False)
    with pytest.raises(Conflict):
        save(**FROM, **OTHER, version=1)
    with pytest.raises(Conflict):
        save(is_active=True, version=1)


def test_who_is_switched_off_by_anothers_activation_was_changed_then_and_by_them() -> None:
    first = make("First", **PLACE, is_active=True)
    make("Second", **OTHER, is_active=True, actor="bob")
    after = configs.get(first.row.id).row
    assert (after.updated_by, after.version) == ("bob", first.row.version + 1)
    assert after.updated_at > first.row.updated_at


def test_who_is_switched_off_by_activate_was_changed_then_and_by_them() -> None:
    first = make("First", **PLACE, is_active=True)
    second = make("Second", **OTHER)
    configs.activate(second.row.id, actor="carol")
    assert configs.get(first.row.id).row.updated_by == "carol"
    with reading() as session:
        assert session.execute(text("SELECT count(*) FROM smtp_config WHERE active_until IS NOT NULL")).scalar() == 1
