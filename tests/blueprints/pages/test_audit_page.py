"""`/settings/audit`: the trail as a page and as CSV."""

import csv
import io

import pytest
from flask import Flask

from services import audit
from services.audit import Action, Actor
from tests.visitors import Visitor, make_bob

URL = "/settings/audit"


def note(subject: str, action: Action = Action.TESTED, *, who: str = "carol", details: str = "") -> None:
    with audit.acting(Actor(who, "192.0.2.7")):
        audit.note(action, subject, [details] if details else [])


def rows(admin: Visitor, query: str = "") -> list[list[str]]:
    answer = admin.get(f"{URL}.csv{query}")
    assert answer.mimetype == "text/csv"
    return list(csv.reader(io.StringIO(answer.text, newline="")))


def test_an_event_says_who_did_what_when_and_from_where(admin: Visitor) -> None:
    note("configuration Primary", Action.UPDATED, details="smtp_server")
    page = admin.get(URL).text
    (event, *_) = audit.events()
    for fact in ("carol", "192.0.2.7", "Updated", "mail server Primary", "smtp_server"):
        assert fact in page
    assert event.at.strftime("%Y-%m-%d %H:%M:%S") in page


@pytest.mark.parametrize(
    ("action", "subject", "shown"),
    [
        (Action.ACCOUNT_CREATED, "account bob", "<strong>Account created</strong>: bob"),
        (Action.SIGNED_IN, "account account", "<strong>Signed in</strong>: account"),
        (Action.TOKEN_REVOKED, "token shop (abc…) of bob", "<strong>Token revoked</strong>: shop (abc…) of bob"),
        (Action.MAIL_CANCELLED, "mail 0193", "<strong>Email cancelled</strong>: 0193"),
        (Action.TEMPLATE_DELETED, "template for a.example", "<strong>Template deleted</strong>: a.example"),
        (Action.ACTIVATED, "configuration Primary (a:1)", "<strong>Activated</strong>: mail server Primary (a:1)"),
        (Action.MAIL_PURGED, "3 emails", "<strong>Emails deleted</strong>: 3 emails"),
    ],
)
def test_an_event_says_its_kind_once(admin: Visitor, action: Action, subject: str, shown: str) -> None:
    note(subject, action)
    assert shown in admin.get(URL).text


def test_the_newest_event_stands_first(admin: Visitor) -> None:
    note("older one")
    note("newer one")
    page = admin.get(URL).text
    assert page.index("newer one") < page.index("older one")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?action=deleted", ["the deleted one"]),
        ("?q=TESTED+one", ["the tested one"]),
        ("?q=dave", ["the deleted one"]),
        ("?q=192.0.2", ["the tested one", "the deleted one"]),
        ("?action=tested&q=deleted", []),
        ("?q=%25", []),
        ("?q=%00", ["the tested one", "the deleted one"]),
        ("?action=flying", ["the tested one", "the deleted one"]),
    ],
)
def test_the_trail_is_filtered(admin: Visitor, query: str, shown: list[str]) -> None:
    note("the tested one")
    note("the deleted one", Action.DELETED, who="dave")
    page = admin.get(URL + query).text
    assert [subject for subject in ("the tested one", "the deleted one") if subject in page] == shown


def test_older_events_are_on_further_pages(admin: Visitor) -> None:
    for number in range(audit.PAGE + 1):
        note(f"event {number:03}")
    first = admin.get(f"{URL}?action=tested").text
    assert "event 000" not in first
    oldest = audit.events(action="tested", limit=audit.PAGE)[-1].id
    assert f"action=tested&amp;before={oldest}" in first
    assert "event 000" in admin.get(f"{URL}?action=tested&before={oldest}").text


@pytest.mark.parametrize("before", ["-1", "x", "9" * 30, "１２", "0"])
def test_an_odd_place_to_go_on_from_is_no_error(admin: Visitor, before: str) -> None:
    assert admin.get(URL, query_string={"before": before}).status_code == 200


def test_an_empty_trail_teaches(admin: Visitor) -> None:
    assert "No matching events" in admin.get(f"{URL}?q=nothing-like-it").text


def test_the_file_has_a_head_and_a_line_for_each_event(admin: Visitor) -> None:
    note("configuration “Käse”", details="name, failover")
    head, *lines = rows(admin, "?action=tested")
    assert head == ["at (UTC)", "who", "from", "action", "subject", "details"]
    assert [line[1:] for line in lines] == [["carol", "192.0.2.7", "tested", "configuration “Käse”", "name, failover"]]


def test_the_file_has_every_event_that_matches_not_only_a_page_of_them(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blueprints.pages.audit_pages.CHUNK", 7)
    for number in range(25):
        note(f"event {number:03}")
    assert [line[4] for line in rows(admin, "?action=tested")[1:]] == [f"event {n:03}" for n in reversed(range(25))]


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(admin: Visitor, evil: str) -> None:
    note(evil, who=evil, details=evil)
    (line,) = rows(admin, "?action=tested")[1:]
    assert [line[1], line[4], line[5]] == [f"'{evil}"] * 3


def test_hostile_text_is_shown_as_text(admin: Visitor) -> None:
    note("<script>alert(1)</script>")
    assert "<script>alert(1)" not in admin.get(URL).text


@pytest.mark.parametrize("path", [URL, f"{URL}.csv"])
def test_only_administrators_read_the_trail(app: Flask, client: Visitor, path: str) -> None:
    assert client.get(path).status_code == 303
    make_bob()
    client.sign_in("bob")
    assert client.get(path).status_code == 403
