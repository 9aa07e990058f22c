"""Several stored configurations: their names, the switch between them, the trail of it, and finding one among many."""

from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import text

from database.engine import transaction
from services import audit
from services.audit import Actor
from services.settings import configs, named, sealing
from services.settings.configs import NAME_OF_OWN, NAME_TAKEN, NO_SUCH, STALE
from services.settings.fields import parse_change
from services.settings.sealing import Condition, StoredConfig
from services.settings.shown import public_dict
from utils.errors import Conflict, InvalidInput, NotFound

pytestmark = pytest.mark.usefixtures("app")

PLACE = {"smtp_server": "smtp.example.com", "from_email": "noreply@example.com"}
LOGIN = {"smtp_username": "user", "smtp_password": "hunter2"}


def make(name: str, **fields: object) -> StoredConfig:
    return named.create_config(name, **{**PLACE, **fields})


def active_names() -> list[str]:
    return [stored.row.name for stored in configs.search(active=True)]


def trail() -> list[tuple[str, str, str]]:
    """What happened, oldest first: action, subject, details."""
    return [(event.action, event.subject, event.details) for event in reversed(audit.events())]


def sql(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def test_the_specified_shell_session_works() -> None:
    named.create_config(
        "Primary Mail Server",
        smtp_server="mail.hanna.co.zw",
        smtp_port=587,
        use_tls=True,
        smtp_username="installations@hanna.co.zw",
        smtp_password="s3cret",
        from_email="installations@hanna.co.zw",
    )
    assert named.get_active_config() is None
    named.activate_config("primary mail server")
    config = named.get_active_config()
    assert str(config) == "Primary Mail Server - mail.hanna.co.zw:587 (Active)"
    assert "s3cret" not in repr(config)
    assert str(named.deactivate_config("Primary Mail Server")).endswith("(Inactive)")
    assert named.get_active_config() is None


def test_a_configuration_is_named_or_numbered() -> None:
    one = make("One")
    assert named.activate_config(one.row.id).row.name == "One"
    for absent in ("Two", 999, "1", 2**70, 0, -1):
        with pytest.raises(NotFound, match=NO_SUCH):
            named.activate_config(absent)


@pytest.mark.parametrize(
    "name",
    ["", "   ", "a\r\nb", "a\nBcc: x", "a\x00b", "a\u2028b", "x" * 101, "x" * 300, "ﷺ" * 100, 7, None, ["a"], "\ud800"],
)
def test_a_bad_name_is_refused_at_the_field(name: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        make(name)
    assert list(caught.value.errors) == ["name"]
    assert configs.search() == []


@pytest.mark.parametrize("name", ["x" * 98, "Straße & Co. <b>", "日本語 🚀", "100%_\\'\"", "ﷺ" * 20])
def test_any_other_name_is_kept_as_it_was_given_and_found_again(name: str) -> None:
    assert make(f" {name} ").row.name == name
    found = configs.find_by_name(name.upper())
    assert found
    assert found.row.name == name
    assert [stored.row.name for stored in configs.search(name)] == [name]


@pytest.mark.parametrize("other", ["Backup server", "BACKUP SERVER", " backup Server ", "Ｂackup server"])
def test_a_name_is_taken_in_every_spelling(other: str) -> None:
    make("Backup server")
    second = make("Second")
    with pytest.raises(InvalidInput) as caught:
        make(other)
    assert caught.value.errors == {"name": [NAME_TAKEN]}
    with pytest.raises(InvalidInput):
        configs.update(second.row.id, parse_change({"name": other}))
    assert configs.get(second.row.id).row.name == "Second"


@pytest.mark.parametrize("name", ["Own server", "OWN SERVER", "Own server (of the shop)"])
def test_no_name_is_given_by_which_the_log_would_take_it_for_an_accounts_own(name: str) -> None:
    second = make("Own servers")
    with pytest.raises(InvalidInput) as caught:
        make(name)
    assert caught.value.errors == {"name": [NAME_OF_OWN]}
    with pytest.raises(InvalidInput):
        configs.update(second.row.id, parse_change({"name": name}))


def test_a_configuration_can_be_renamed_to_another_case_and_to_a_name_that_was_freed() -> None:
    first = make("Backup")
    configs.update(first.row.id, parse_change({"name": "BACKUP"}))
    configs.delete(first.row.id)
    assert make("backup").row.name == "backup"


def test_a_new_configuration_is_inactive_unless_it_says_otherwise() -> None:
    assert make("One").row.is_active is False
    assert make("Two", is_active=True).row.is_active is True


def test_switching_leaves_exactly_one_active_and_raises_both_versions() -> None:
    one, two = make("One", is_active=True), make("Two")
    named.activate_config("Two")
    assert active_names() == ["Two"]
    assert configs.get(one.row.id).row.version == one.row.version + 1
    assert configs.get(two.row.id).row.version == two.row.version + 1


def test_creating_an_active_one_switches_the_other_off() -> None:
    make("One", is_active=True)
    make("Two", is_active=True)
    assert active_names() == ["Two"]


def test_switching_touches_neither_the_sealed_password_nor_the_mark_of_a_test() -> None:
    one = make("One", **LOGIN)
    configs.mark_tested(one.settings, None, one.row.id)
    make("Two", is_active=True)
    again = named.activate_config("One")
    assert again.is_verified
    assert again.row.smtp_password == one.row.smtp_password


def test_deleting_the_active_one_leaves_none_active() -> None:
    one = make("One", is_active=True)
    configs.delete(one.row.id, version=one.row.version)
    assert configs.search() == []
    with pytest.raises(NotFound):
        configs.get(one.row.id)
    with pytest.raises(NotFound):
        configs.delete(one.row.id)


def test_a_stale_version_stops_every_change() -> None:
    one = make("One")
    configs.update(one.row.id, parse_change({"from_name": "Shop"}))
    before = trail()
    with pytest.raises(Conflict, match=STALE):
        configs.update(one.row.id, parse_change({"from_name": "Late", "version": 1}))
    with pytest.raises(Conflict):
        configs.activate(one.row.id, version=1)
    with pytest.raises(Conflict):
        configs.deactivate(one.row.id, version=1)
    with pytest.raises(Conflict):
        configs.delete(one.row.id, version=1)
    assert (configs.get(one.row.id).row.from_name, active_names(), trail()) == ("Shop", [], before)


def test_what_was_read_from_one_is_not_saved_over_another() -> None:
    one, two = make("One", is_active=True), make("Two")
    shown = public_dict(one)
    named.activate_config("Two")
    configs.update(two.row.id, parse_change({"is_active": False}))
    configs.update(one.row.id, parse_change({"is_active": False}))
    sql(f"UPDATE smtp_config SET version = {shown['version']}, is_active = (id = {two.row.id})")
    with pytest.raises(Conflict):
        configs.save(parse_change(shown))


@pytest.mark.parametrize(
    ("edit", "condition", "reason"),
    [
        ("smtp_server = 'evil.example'", Condition.ALTERED, sealing.ALTERED),
        ("from_email = 'x@evil.example'", Condition.ALTERED, sealing.ALTERED),
        ("key_id = 'lost'", Condition.KEY_MISSING, sealing.UNREADABLE),
    ],
)
def test_what_cannot_be_trusted_is_not_activated_and_the_active_one_stays(
    edit: str, condition: Condition, reason: str
) -> None:
    make("Good", is_active=True)
    bad = make("Bad", **LOGIN)
    sql(f"UPDATE smtp_config SET {edit} WHERE name = 'Bad'")
    before = trail()
    with pytest.raises(InvalidInput) as caught:
        named.activate_config("Bad")
    assert caught.value.errors == {"smtp_password": [reason]}
    assert configs.get(bad.row.id).condition is condition
    assert (active_names(), trail()) == (["Good"], before)


def test_what_cannot_be_trusted_can_still_be_renamed_switched_off_and_deleted() -> None:
    bad = make("Bad", is_active=True, **LOGIN)
    sql("UPDATE smtp_config SET key_id = 'lost'")
    configs.update(bad.row.id, parse_change({"name": "Worse"}))
    assert configs.deactivate(bad.row.id).row.is_active is False
    configs.delete(bad.row.id)
    assert configs.search() == []


def test_passwords_that_were_swapped_between_two_rows_in_sql_are_refused() -> None:
    make("One", **LOGIN)
    make("Two", smtp_server="two.example", smtp_username="user", smtp_password="other")
    tokens = {stored.row.name: stored.row.smtp_password for stored in configs.search()}
    for name, other in (("One", "Two"), ("Two", "One")):
        sql(f"UPDATE smtp_config SET smtp_password = '{tokens[other]}' WHERE name = '{name}'")
    assert {stored.condition for stored in configs.search()} == {Condition.ALTERED}
    assert not any(stored.settings.password for stored in configs.search())


def test_every_change_stands_in_the_trail_with_who_and_what_and_no_value() -> None:
    with audit.acting(Actor("alice", "192.0.2.7")):
        one = make("One", is_active=True, **LOGIN)
        make("Two")
        named.activate_config("Two")
        configs.update(
            one.row.id, parse_change({"from_name": "Shop", "smtp_password": "n3w-s3cret", "failover": False})
        )
        named.deactivate_config("Two")
        configs.delete(one.row.id)
    subjects = {name: f"configuration {name} (smtp.example.com:587)" for name in ("One", "Two")}
    assert trail() == [
        ("created", subjects["One"], ""),
        ("activated", subjects["One"], ""),
        ("created", subjects["Two"], ""),
        ("deactivated", subjects["One"], ""),
        ("activated", subjects["Two"], ""),
        ("updated", subjects["One"], "from_name, failover, smtp_password"),
        ("deactivated", subjects["Two"], ""),
        ("deleted", subjects["One"], ""),
    ]
    assert {(event.actor, event.source) for event in audit.events()} == {("alice", "192.0.2.7")}
    assert configs.named("Two").row.updated_by == "alice"


@pytest.mark.parametrize(
    "change",
    [{"name": "Two"}, {"smtp_server": "evil.example"}, {"version": 9, "from_name": "x"}, {"smtp_username": ""}],
)
def test_a_refused_change_leaves_no_trail(change: dict[str, object]) -> None:
    one = make("One", **LOGIN)
    make("Two")
    before = trail()
    with pytest.raises((InvalidInput, Conflict)):
        configs.update(one.row.id, parse_change({**change, "is_active": True}))
    assert trail() == before


def test_a_change_without_its_trail_does_not_happen() -> None:
    one = make("One")
    sql("DROP TABLE audit_event")
    for change in (
        lambda: configs.activate(one.row.id),
        lambda: configs.delete(one.row.id),
        lambda: make("Two"),
    ):
        with pytest.raises(Exception, match="audit_event"):
            change()
    assert [(stored.row.name, stored.row.is_active) for stored in configs.search()] == [("One", False)]


def test_among_200_the_right_ones_are_found() -> None:
    first = make("Server 0", **LOGIN)
    names = [column.name for column in fields(first.row) if column.name not in ("id", "name", "name_key")]
    copied = ", ".join(names)
    sql(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 199) "
        f"INSERT INTO smtp_config (name, name_key, {copied}) "
        f"SELECT 'Server ' || i, 'server ' || i, {copied} FROM smtp_config, n"
    )
    sql("UPDATE smtp_config SET last_error = 'Authentication failed' WHERE name_key LIKE 'server 19_'")
    configs.update(configs.named("server 42").row.id, parse_change({"use_ssl": True, **LOGIN}))
    named.activate_config("Server 77")
    everything = configs.search()
    assert len(everything) == 200
    assert everything[0].row.name == "Server 77"
    assert [stored.row.name for stored in configs.search("SERVER 42", security="tls")] == ["Server 42"]
    assert len(configs.search(has_error=True)) == 10
    assert len(configs.search("server 19", has_error=False, active=False, security="starttls")) == 11
    assert all(stored.is_usable and stored.settings.password for stored in everything)
