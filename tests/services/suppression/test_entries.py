"""The suppression list as administrators see and change it, its tables, and its key."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app import create_app
from blueprints.csv_lines import csv_line
from database.engine import reading, transaction
from services import address_key, audit
from services.settings import key_rotation
from services.suppression import counting, entries, exchange, listing, upkeep
from services.suppression.counting import DeadAddress, LiveAddress
from services.suppression.listing import Cause
from tests.conftest import APP_KEY
from tests.turned_clock import Now
from utils.errors import Conflict, InvalidInput, NotFound

JANE, SALES = "jane@example.com", "sales@shop.example"
OTHER_KEY = "an0ther-k3y-f0r-t3sts-ZmxyQ1vJ8sWd0aBnL7uRt5eHc"

pytestmark = pytest.mark.usefixtures("app")


def why(address: str, account_id: int | None = None) -> str | None:
    return listing.look_up([address]).why(address, account_id)


def listed() -> list[str]:
    return [each.address for each in entries.every(chunk=2)]


def test_an_added_address_is_found_by_itself_and_by_its_domain_however_it_is_written() -> None:
    entry = entries.add(" Jane@Example.COM ", Cause.COMPLAINT, note="by phone")
    entries.add(SALES)
    entries.add("kim@bücher.example")
    assert (entry.reason, entry.source, entry.note, entry.ends_at) == ("complaint", "manual", "by phone", None)
    for asked, found in (
        ("jane@example.com", "Jane@example.com"),
        ("JANE@EXAMPLE.COM", "Jane@example.com"),
        ("example.com", "Jane@example.com"),
        ("@Example.com", "Jane@example.com"),
        ("bücher.example", "kim@bücher.example"),
        ("xn--bcher-kva.example", "kim@bücher.example"),
        ("kim@xn--bcher-kva.example", "kim@bücher.example"),
    ):
        assert [each.address for each in entries.page(asked)[0]] == [found], asked
    assert entries.page("ane@example.com")[0] == []
    assert listed() == ["kim@bücher.example", SALES, "Jane@example.com"]
    assert why(JANE) == "listed_complaint"
    assert why("kim@xn--bcher-kva.example") == "listed_manual"


def test_the_table_holds_no_address_in_clear_and_the_audit_trail_only_masked_ones() -> None:
    entries.add(JANE, note="x")
    entries.remove_address(JANE)
    entries.add(SALES)
    with reading() as session:
        stored = " ".join(map(str, session.execute(text("SELECT * FROM suppression")).all()))
    assert "sales" not in stored
    told = [(event.action, event.subject) for event in audit.events()]
    assert [action for action, _ in told] == ["address_suppressed", "suppression_removed", "address_suppressed"]
    assert "jane@" not in str(told)
    assert "j***@example.com" in str(told)


@pytest.mark.parametrize("address", ["", "jane", "a@b@c", "Jane <jane@example.com>", "a@example.com\r\nb@example.com"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput):
        entries.add(address)
    assert entries.count() == 0


def test_removing_is_by_entry_address_domain_and_all() -> None:
    for address in (JANE, SALES, "a@x.example", "b@x.example", "c@y.example"):
        entries.add(address)
    with pytest.raises(NotFound):
        entries.remove(99)
    with pytest.raises(NotFound):
        entries.remove_address("nobody@example.com")
    assert entries.remove_address("JANE@example.com") == 1
    assert entries.remove_domain("x.example") == 2
    assert entries.remove_domain("x.example") == 0
    entries.remove(entries.page(SALES)[0][0].id)
    assert listed() == ["c@y.example"]
    assert entries.remove_everything() == 1
    assert why("c@y.example") is None


def test_an_entry_that_has_ended_holds_nothing_back_and_is_tidied_away(now: Now) -> None:
    entries.add(JANE, days=30)
    counting.note([DeadAddress(SALES, 0, "m1", 550, "5.1.1"), DeadAddress(SALES, 0, "m2", 550, "5.1.1")])
    assert (why(JANE), why(SALES)) == ("listed_manual", "listed_refused")
    now.turn(timedelta(days=31).total_seconds())
    assert (why(JANE), why(SALES)) == (None, "listed_refused")
    upkeep.tidy()
    assert listed() == [SALES]
    now.turn(timedelta(days=150).total_seconds())
    assert why(SALES) is None
    upkeep.tidy()
    assert listed() == []


def test_what_an_accounts_own_server_says_counts_for_that_account_alone() -> None:
    counting.note([DeadAddress(JANE, 7, f"m{number}", 550, "5.1.1") for number in range(3)])
    assert (why(JANE, 7), why(JANE, 8), why(JANE)) == ("listed_refused", None, None)
    (entry,) = entries.page(JANE)[0]
    assert entry.account_id == 7
    entries.add(JANE)
    assert why(JANE, 8) == "listed_manual"


def test_a_delivery_ends_the_count_and_is_told_of_what_is_listed() -> None:
    counting.note([DeadAddress(JANE, 0, "m1", 550, None)])
    counting.note([], [LiveAddress(JANE, 0)])
    counting.note([DeadAddress(JANE, 0, "m2", 550, None)])
    assert why(JANE) is None
    counting.note([DeadAddress(JANE, 0, "m3", 550, None)])
    counting.note([], [LiveAddress(JANE, 0)])
    assert why(JANE) == "listed_refused"
    (entry,) = entries.page(JANE)[0]
    assert entry.accepted_at
    assert (entry.code, entry.mail_id) == (550, "m3")


def test_refusals_months_apart_begin_a_new_count(now: Now) -> None:
    counting.note([DeadAddress(JANE, 0, "m1", 550, None)])
    now.turn(timedelta(days=181).total_seconds())
    counting.note([DeadAddress(JANE, 0, "m2", 550, None)])
    assert why(JANE) is None
    counting.note([DeadAddress(JANE, 0, "m3", 550, None)])
    assert why(JANE) == "listed_refused"


def test_what_was_added_manually_is_not_changed_by_refusals() -> None:
    entries.add(JANE, Cause.COMPLAINT, days=5)
    before = entries.page(JANE)[0]
    counting.note([DeadAddress(JANE, 0, f"m{number}", 550, "5.1.1") for number in range(3)])
    assert entries.page(JANE)[0] == before


def told_of_each() -> list[tuple[object, ...]]:
    """What an export keeps of each entry."""
    return sorted((each.address, each.reason, str(each.ends_at)[:19], each.note) for each in entries.every())


def test_an_export_can_be_imported_elsewhere() -> None:
    entries.add("=cmd@example.com", Cause.COMPLAINT, note="=1+1")
    entries.add("+plus@example.com", days=10)
    counting.note([DeadAddress(JANE, 0, f"m{number}", 550, "5.1.1") for number in range(2)])
    before = told_of_each()
    table = [csv_line(exchange.COLUMNS), *map(csv_line, exchange.rows())]
    assert not any(line.startswith(('"=', '"+')) for line in table)
    entries.remove_everything()
    told = exchange.read(table)
    assert (told.added, told.known, told.refused) == (3, 0, 0)
    assert told_of_each() == before
    assert {each.source for each in entries.every()} == {"import"}


TABLES = {
    "addresses alone": ("a@example.com\nb@example.com\n", {"a": "manual", "b": "manual"}),
    "with a mark of its encoding": ("\ufeffemail\r\na@example.com\r\n", {"a": "manual"}),
    "SES": ("EmailAddress,Reason,LastUpdateTime\na@example.com,BOUNCE,2026\nb@example.com,COMPLAINT,2026\n", {
        "a": "refused", "b": "complaint",
    }),
    "SendGrid": ("status,reason,email,created\n5.1.1,550 5.1.1 unknown,a@example.com,1\n", {"a": "refused"}),
    "Mailgun": ("address,code,error,created_at\na@example.com,550,No such user,x\n", {"a": "manual"}),
    "Postmark": ('"EmailAddress";"SuppressionReason"\n"a@example.com";"SpamComplaint"\n', {"a": "complaint"}),
    "tabs": ("Type\tRecipient\nHardBounce\ta@example.com\n", {"a": "refused"}),
    "empty lines": ("\n\naddress\n\na@example.com\n\n", {"a": "manual"}),
    "the same twice": ("a@example.com\nA@example.com\n", {"a": "manual"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_others_are_read_as_they_are(name: str) -> None:
    table, expected = TABLES[name]
    told = exchange.read(table.splitlines(keepends=True))
    assert told.refused == 0
    assert {each.address.partition("@")[0].lower(): each.reason for each in entries.every()} == expected


def test_lines_that_cannot_be_read_are_told_by_number_and_the_others_are_taken() -> None:
    lines = ["address,ends at", "jane@example.com,2001-01-01", "nobody", "sales@shop.example,", "x@example.com,soon"]
    told = exchange.read([f"{line}\n" for line in lines])
    assert (told.added, told.refused) == (1, 3)
    assert [each.number for each in told.first_refused] == [2, 3, 5]
    assert listed() == [SALES]
    assert told.sentence == "1 entry added, 3 refused."


@pytest.mark.parametrize("table", [["name,phone\n", "jane,1\n"], ["\0\0"], ["x" * 20_000]])
def test_what_is_no_table_of_addresses_is_refused_whole(table: list[str]) -> None:
    with pytest.raises(InvalidInput):
        exchange.read(table)


def test_a_long_table_is_read_and_written_some_hundred_lines_at_a_time() -> None:
    told = exchange.read(f"user{number}@example.com\n" for number in range(1203))
    assert told.added == entries.count() == 1203
    assert sum(1 for _ in exchange.rows()) == 1203
    assert exchange.read(f"user{number}@example.com\n" for number in range(1203)).known == 1203


def test_rotating_the_key_keeps_every_entry_and_a_missing_key_is_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    entries.add(JANE)
    both = {**environment, "APP_KEY": OTHER_KEY, "APP_KEY_PREVIOUS": APP_KEY}
    with create_app(both, instance_path=tmp_path).app_context():
        assert why(JANE) == "listed_manual"
        assert key_rotation.status().keys[1].is_needed
        key_rotation.rotate()
        assert [use.is_needed for use in key_rotation.status().keys] == [True, False]
        assert listed() == [JANE]
    with create_app({**environment, "APP_KEY": OTHER_KEY}, instance_path=tmp_path).app_context():
        assert why(JANE) == "listed_manual"
    with create_app(environment, instance_path=tmp_path).app_context():
        assert address_key.is_away()
        assert why(JANE) is None
        assert not key_rotation.status().is_well
        for ask in (entries.page, lambda: entries.add(SALES), lambda: exchange.read([SALES])):
            with pytest.raises(Conflict):
                ask()
        counting.note([DeadAddress(JANE, 0, "m1", 550, None)])
        assert entries.remove_everything() == 1
        entries.add(SALES)
        assert listed() == [SALES]


def test_a_row_that_somebody_has_altered_is_shown_as_unreadable() -> None:
    entries.add(JANE)
    with transaction() as session:
        session.execute(text("UPDATE suppression SET sealed = :octets"), {"octets": b"\0" * 40})
    assert listed() == ["unreadable"]
    assert why(JANE) == "listed_manual"


def test_a_moment_of_an_import_is_taken_as_utc() -> None:
    exchange.read(["address,ends at\n", "jane@example.com,2090-12-31 18:00\n"])
    assert entries.page(JANE)[0][0].ends_at == datetime(2090, 12, 31, 18, tzinfo=UTC)
