"""The list of the mail log: its filter, what stays current in it, and what it gives as a file."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import delete

from app import create_app
from blueprints import live
from blueprints.pages import email_list
from database.engine import transaction
from database.outbox_db import State
from database.session_db import BrowserSession
from services import audit
from services.audit import Action
from services.suppression import entries
from tests.mails import REFUSAL, attempted, change, in_state, queued
from tests.patience import PATIENCE
from tests.visitors import Visitor, make_bob, visit
from utils import clock

URL = "/emails"
DAY = timedelta(days=1)


def ids_on(page: str) -> list[str]:
    return re.findall(r'data-row="(\w+)"', page)


def set_filters(page: str) -> dict[str, str]:
    """What is shown as set, and where it is removed."""
    part = page.partition('<ul class="set-filters"')[2].partition("</ul>")[0]
    found = re.findall(r'href="([^"]+)"><span class="break">(.*?)</span><', part, re.DOTALL)
    return {re.sub("<[^>]+>", "", text): unescape(address) for address, text in found}


def live_url(page: str) -> str:
    found = re.search(r'data-live-source="([^"]+)"', page)
    assert found
    return unescape(found[1])


def events(told: str) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]


def test_each_filter_finds_its_mail_and_no_other(admin: Visitor) -> None:
    bob = make_bob()
    moment = clock.now() - 3 * DAY
    wanted = queued("jane@shop.example.org", tag="order", account_id=bob.id)
    change(wanted, created_at=moment, state=State.DEFERRED, reason="greylisted", message_id="<abc@x.example>")
    attempted(wanted, server="Other (smtp.other.example:25)")
    other = queued("joe@example.com", tag="news")
    attempted(other)
    asked = {
        "recipient": ["jane@shop.example.org", "JANE@Shop.Example.org", "shop.example.org", "@shop.example.org"],
        "message_id": ["<abc@x.example>", "abc@x.example"],
        "tag": ["order"],
        "state": ["deferred", "deferred,failed"],
        "server": ["Other (smtp.other.example:25)"],
        "account_id": ["bob", "bob@example.com", str(bob.id)],
        "until": [f"{clock.now() - DAY:%Y-%m-%dT%H:%M}", f"{clock.now() - 2 * DAY:%Y-%m-%d}"],
        "cause": ["greylisted"],
    }
    for name, texts in asked.items():
        for text in texts:
            assert ids_on(admin.get(URL, query_string={name: text}).text) == [wanted], (name, text)
    assert ids_on(admin.get(URL, query_string={"since": f"{clock.now() - DAY:%Y-%m-%d}"}).text) == [other]


def test_what_is_set_is_shown_and_removed_one_by_one(admin: Visitor) -> None:
    asked = {"recipient": "example.com", "tag": "order", "cause": "no_recipient", "state": "failed", "rows": "200"}
    found = set_filters(admin.get(URL, query_string=asked).text)
    assert list(found) == ["Recipient: example.com", "Tag: order", "Cause: Recipient does not exist"]
    assert found["Tag: order"] == f"{URL}?recipient=example.com&state=failed&cause=no_recipient&rows=200"


def test_a_page_without_filters_shows_none(admin: Visitor) -> None:
    page = admin.get(URL).text
    assert set_filters(page) == {}
    assert '<details class="filter-more">' in page
    assert '<details class="filter-more" open>' in admin.get(f"{URL}?since=x").text


@pytest.mark.parametrize("extra", ["", "&from=direct"])
@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("recipient", "two words@x"),
        ("recipient", "a@b@c"),
        ("message_id", "\x00"),
        ("tag", "x" * 65),
        ("since", "yesterday"),
        ("until", "2026-13-45"),
        ("server", "a\nb"),
        ("account_id", "nobody-of-this-name"),
        ("account_id", "9" * 30),
        ("cause", "bad_luck"),
        ("state", "lost"),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_stays(admin: Visitor, name: str, typed: str, extra: str) -> None:
    queued()
    other = "server" if name == "tag" else "tag"
    query = {name: typed, other: "keep"} | ({"from": "direct"} if extra else {})
    answer = admin.get(URL, query_string=query)
    assert answer.status_code == 422
    assert ids_on(answer.text) == []
    assert 'value="keep"' in answer.text
    if name == "state":
        assert "Enter one or more of: queued" in answer.text
        return
    error = re.search(rf'id="{name}-error">.*?data-error-text>([^<]+)<', answer.text, re.DOTALL)
    assert error
    assert len(error[1]) > 10
    if typed.isprintable() and name != "cause":
        assert f'value="{typed}"' in answer.text


def test_the_end_before_the_beginning_is_told(admin: Visitor) -> None:
    answer = admin.get(f"{URL}?since=2026-02-02T00:00&until=2026-02-01T00:00")
    assert answer.status_code == 422
    assert "Enter a time after the first one." in answer.text
    assert 'value="2026-02-02T00:00"' in answer.text


def test_no_match_says_so_and_leads_out(admin: Visitor) -> None:
    queued()
    for query in ("recipient=nobody@example.org", "from=direct&tag=x", "state=failed&tag=x"):
        page = admin.get(f"{URL}?{query}").text
        assert "No email matches" in page
        assert "Clear all" in page


def test_addresses_are_masked_in_the_list_and_whole_on_the_page(admin: Visitor) -> None:
    mail_id = queued("jane.doe@example.com")
    page = admin.get(URL).text
    assert "j***@example.com" in page
    assert "jane.doe" not in page + admin.get(f"{URL}/live").text
    assert "jane.doe@example.com" in admin.get(f"{URL}/{mail_id}").text


def test_two_hundred_rows_are_shown_where_asked(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_list, "SIZES", (2, 3))
    mails = [queued() for _ in range(4)][::-1]
    assert ids_on(admin.get(URL).text) == mails[:2]
    page = admin.get(f"{URL}?rows=3").text
    assert ids_on(page) == mails[:3]
    assert re.search(r"rows=3&amp;before=\d+", page)
    assert ids_on(admin.get(f"{URL}?rows=7").text) == mails[:2]


def test_of_many_emails_a_page_says_only_that_there_are_more(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_list, "MOST_COUNTED", 2)
    for _ in range(3):
        in_state(State.FAILED, tag="many")
    in_state(State.CANCELLED)
    assert re.findall(r'<span class="count">([^<]+)<', admin.get(URL).text) == ["2+", "1"]
    assert "<strong>2+</strong> emails match" in admin.get(f"{URL}?tag=many").text


def test_each_row_and_the_page_tell_their_time(admin: Visitor) -> None:
    in_state(State.SENT, days_ago=3)
    page = admin.get(URL).text
    then, now = re.findall(r'<time datetime="([^"]+)"', page)[::-1][:2]
    assert abs(datetime.fromisoformat(now) - datetime.now(UTC)) < timedelta(minutes=5)
    assert datetime.fromisoformat(then) < datetime.fromisoformat(now) - 2 * DAY
    assert 'href="/emails" data-live-refresh' in page


def test_the_stream_tells_what_the_page_did_not_show_yet(admin: Visitor) -> None:
    first, second = queued(), queued()
    url = live_url(admin.get(f"{URL}?recipient=example.com").text)
    assert "recipient=example.com" in url
    assert "order" not in events(admin.get(url).text)[0]
    change(first, state=State.FAILED, reason="greylisted")
    third, _ = queued(), queued("x@example.org")
    told = events(admin.get(url).text)[0]
    assert told["order"] == [third, second, first]
    rows = told["rows"]
    assert isinstance(rows, dict)
    assert "Failed" in rows[first]
    assert f'href="/emails/{third}?back=recipient%3Dexample.com"' in rows[third]
    assert "<strong>3</strong> emails match" in told["around"]["count"]  # type: ignore[index]


def test_the_stream_of_an_older_page_tells_of_newer_rows_without_showing_them(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email_list, "SIZES", (1,))
    oldest, newest = queued(), queued()
    found = re.search(r'"(/emails\?before=\d+)"', admin.get(URL).text)
    assert found
    page = admin.get(found[1]).text
    assert f'data-live-newest="{newest}"' in page
    assert "data-live-first" not in page
    newer = queued()
    told = events(admin.get(live_url(page)).text)[0]
    assert (told["order"], told["newest"]) == ([oldest], [newer])


def test_what_was_sent_directly_is_streamed_as_well(admin: Visitor) -> None:
    attempted(None, **REFUSAL)
    url = live_url(admin.get(f"{URL}?from=direct").text)
    assert "order" not in events(admin.get(url).text)[0]
    attempted(None)
    assert len(events(admin.get(url).text)[0]["rows"]) == 2  # type: ignore[arg-type]


def test_the_stream_is_for_administrators_and_refuses_a_wrong_filter_quietly(app: Flask, client: Visitor) -> None:
    assert client.get(f"{URL}/live", headers={"Accept": "text/event-stream"}).status_code == 401
    make_bob()
    client.sign_in("bob")
    assert client.get(f"{URL}/live").status_code == 403


def test_the_stream_ends_with_the_session(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIFE", PATIENCE)
    monkeypatch.setattr(live, "LOOK_EVERY", 0.0)
    look = email_list.AskedPage.shown
    looks = []

    def then_sign_out(page: email_list.AskedPage) -> live.ShownRows:
        looks.append(1)
        if len(looks) == 3:
            with transaction() as session:
                session.execute(delete(BrowserSession))
        return look(page)

    monkeypatch.setattr(email_list.AskedPage, "shown", then_sign_out)
    assert len(events(admin.get(f"{URL}/live").text)) == 3


def test_a_page_that_asks_by_itself_keeps_no_session_going(admin: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        session.query(BrowserSession).update({"last_seen_at": clock.now() - timedelta(minutes=10)})
    before = last_seen()
    admin.get(f"{URL}/live")
    admin.get(URL, headers={"Sealpost-Background": "1"})
    assert last_seen() == before
    admin.get(URL)
    assert last_seen() > before


def last_seen() -> datetime:
    with transaction() as session:
        return session.query(BrowserSession).one().last_seen_at


def test_the_list_is_given_as_csv_with_masked_addresses(admin: Visitor) -> None:
    mail_id = queued("jane@example.com", tag="=HYPERLINK(1)")
    queued("joe@example.org")
    answer = admin.get(f"{URL}/export?format=csv&recipient=example.com")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="emails-')
    heading, row = csv.reader(io.StringIO(answer.text))
    told = dict(zip(heading, row, strict=True))
    assert (told["id"], told["recipients"], told["tag"]) == (mail_id, "j***@example.com", "'=HYPERLINK(1)")
    event = audit.events(action=Action.MAIL_EXPORTED)[0]
    assert (event.actor, event.subject, event.details) == ("alice", "queued email", "csv, recipient example.com")


def test_whole_addresses_are_given_where_asked_and_that_is_noted(admin: Visitor) -> None:
    queued("jane@example.com")
    answer = admin.get(f"{URL}/export?format=json&recipient=jane@example.com&whole_addresses=true")
    assert [each["recipients"][0]["address"] for each in json.loads(answer.text)] == ["jane@example.com"]
    event = audit.events(action=Action.MAIL_EXPORTED)[0]
    assert event.details == "json, whole addresses, recipient j***@example.com"


def test_what_was_sent_directly_is_given_too(admin: Visitor) -> None:
    attempted(None, **REFUSAL)
    assert json.loads(admin.get(f"{URL}/export?from=direct&format=json").text)[0]["reply"] == "No such user here"
    rows = list(csv.DictReader(io.StringIO(admin.get(f"{URL}/export?from=direct&format=csv").text)))
    assert rows[0]["diagnosis"] == "The recipient does not exist"


def test_nothing_is_an_empty_file(admin: Visitor) -> None:
    assert json.loads(admin.get(f"{URL}/export?format=json").text) == []
    assert admin.get(f"{URL}/export?format=csv").text.count("\n") == 1


@pytest.mark.parametrize("query", ["", "format=xml", "format=csv&since=x", "format=csv&state=lost"])
def test_a_wrong_export_is_refused_and_not_noted(admin: Visitor, query: str) -> None:
    assert admin.get(f"{URL}/export?{query}").status_code == 422
    assert audit.events(action=Action.MAIL_EXPORTED) == []


def test_a_subject_that_was_kept_is_shown_and_given_to_administrators(admin: Visitor) -> None:
    mail_id = in_state(State.FAILED, subject="Your <invoice>", account_id=1)
    attempted(mail_id, **REFUSAL)
    assert "Your &lt;invoice&gt;" in admin.get(URL).text
    (row,) = csv.DictReader(io.StringIO(admin.get(f"{URL}/export?format=csv").text))
    assert (row["tries"], row["server"], row["subject"]) == ("1", "Primary (smtp.example.com:587)", "Your <invoice>")


def test_without_the_key_of_addresses_the_page_says_so_at_the_field(
    app: Flask, admin: Visitor, environment: dict[str, str], tmp_path: Path
) -> None:
    mail_id = queued()
    entries.add("joe@example.com")  # from here on there is a key
    other = create_app({**environment, "APP_KEY": "an0th3r-k3y-" + "x" * 32}, instance_path=tmp_path)
    alice = visit(other)
    alice.sign_in()
    answer = alice.get(f"{URL}?recipient=example.com&tag=order")
    assert answer.status_code == 422
    assert "Recipients cannot be searched." in answer.text
    assert 'value="example.com"' in answer.text
    assert ids_on(answer.text) == []
    assert ids_on(alice.get(URL).text)[1:] == [mail_id]  # behind the notice of a sign-in in a new browser
    assert alice.get(f"{URL}/live?recipient=example.com").status_code == 409
