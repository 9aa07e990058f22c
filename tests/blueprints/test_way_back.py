"""Whoever filtered a list finds it so again: from the page of a mail or a server, after an action, after paging."""

import re
from html import unescape

import pytest

from blueprints.pages import email_list
from database.outbox_db import State
from services.outbox import log
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import in_state
from tests.server_form import FORM, LIST
from tests.visitors import Visitor

MAILS = "/emails"
WAITING = f"{MAILS}?state=deferred"


def links(page: str, ending: str = "") -> list[str]:
    """Where its links and forms lead that hold this text."""
    found = (unescape(each) for each in re.findall(r'(?:href|action)="([^"]+)"', page))
    return [each for each in found if ending in each]


def follow(admin: Visitor, page: str, part: str) -> tuple[str, str]:
    """The first address with this part in it, and its page."""
    address = links(page, part)[0]
    return address, admin.get(address).text


def stored(name: str, **more: object) -> int:
    fields = {"name": name, "smtp_server": f"{name}.example", "from_email": "a@example.com"}
    return configs.create(parse_change({**fields, **more})).row.id


def test_the_page_of_a_mail_leads_back_to_the_list_as_it_was(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED)
    _, page = follow(admin, admin.get(WAITING).text, mail_id)
    assert ">Back to the list</a>" in page
    assert WAITING in links(page)


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_after_an_action_the_way_leads_back_to_the_list_as_it_was(admin: Visitor, action: str) -> None:
    mail_id = in_state(State.DEFERRED)
    _, page = follow(admin, admin.get(WAITING).text, mail_id)
    address, question = follow(admin, page, f"/{action}")
    assert address in links(question)  # the form itself
    done = admin.post_form(address)
    assert done.status_code == 303
    assert WAITING in links(admin.get(done.headers["Location"]).text)


def test_who_leaves_it_as_it_is_keeps_the_way_back(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED)
    _, page = follow(admin, admin.get(WAITING).text, mail_id)
    _, question = follow(admin, page, "/cancel")
    _, again = follow(admin, question, f"{MAILS}/{mail_id}?back")
    assert WAITING in links(again)


def test_an_action_that_comes_too_late_keeps_the_way_back(admin: Visitor) -> None:
    mail_id = in_state(State.SENT)
    answer = admin.post_form(f"{MAILS}/{mail_id}/cancel?back=state%3Dsent")
    assert f"{MAILS}?state=sent" in links(admin.get(answer.headers["Location"]).text)


def test_further_pages_keep_the_filter_and_a_mail_of_them_leads_back_there(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email_list, "SIZES", (2,))
    oldest, *_ = [in_state(State.FAILED) for _ in range(3)]
    before = log.mails([State.FAILED], limit=2)[1]
    address, page = follow(admin, admin.get(f"{MAILS}?state=failed").text, "before=")
    assert address == f"{MAILS}?state=failed&before={before}"
    _, mail = follow(admin, page, oldest)
    back = next(each for each in links(mail) if each.startswith(f"{MAILS}?"))
    assert sorted(back.partition("?")[2].split("&")) == [f"before={before}", "state=failed"]


def test_without_a_filter_addresses_are_as_short_as_ever(admin: Visitor) -> None:
    mail_id = in_state(State.DEFERRED)
    address, page = follow(admin, admin.get(MAILS).text, mail_id)
    assert address == f"{MAILS}/{mail_id}"
    assert ">All emails</a>" in page


def test_show_all_and_other_states_begin_anew(admin: Visitor) -> None:
    in_state(State.DEFERRED)
    page = admin.get(WAITING).text
    assert MAILS in links(page)
    assert f"{MAILS}?state=sent" in links(page)


@pytest.mark.parametrize("back", ["https://evil.example", "//evil.example", "state=%00", "x" * 5000, "a=b&endpoint=c"])
def test_what_is_no_filter_leads_nowhere_else(admin: Visitor, back: str) -> None:
    page = admin.get(f"{MAILS}/{in_state(State.DEFERRED)}", query_string={"back": back}).text
    assert not any("evil" in each or "endpoint" in each for each in links(page))
    leads = next(each for each in links(page) if each.startswith(f"{MAILS}?") or each == MAILS)
    assert admin.get(leads).status_code == 200


def test_the_form_of_a_server_leads_back_to_the_list_as_it_was(admin: Visitor) -> None:
    config_id = stored("one")
    stored("two")
    filtered = f"{LIST}?q=one&state=inactive"
    address, page = follow(admin, admin.get(filtered).text, f"{LIST}/{config_id}")
    assert filtered in links(page)
    sent = {**FORM, "name": "one", "smtp_username": "", "smtp_password": "", "is_active": "", "version": "1"}
    assert admin.post_form(address, {**sent, "security": "none"}).headers["Location"] == filtered
    refused = admin.post_form(address, {**sent, "smtp_port": "0", "version": "2"})
    assert refused.status_code == 422
    assert filtered in links(refused.text)


@pytest.mark.parametrize("action", ["activate", "deactivate", "delete"])
def test_after_an_action_on_a_server_the_list_is_as_it_was(admin: Visitor, action: str) -> None:
    config_id = stored("one", is_active=action == "deactivate")
    stored("two")
    filtered = f"{LIST}?q=one"
    address, page = follow(admin, admin.get(filtered).text, f"{LIST}/{config_id}/{action}")
    if action != "activate":
        assert filtered in links(page)  # Keep it
    else:
        assert filtered in links(admin.get(address).text)  # Not now
    assert admin.post_form(address, {"version": "1", "asked": "1"}).headers["Location"] == filtered


def test_the_filters_of_one_list_are_not_those_of_the_other(admin: Visitor) -> None:
    stored("one")
    page = admin.get(f"{LIST}?q=one").text
    assert MAILS in links(page)
    assert admin.get(f"{MAILS}?back=q%3Done").status_code == 200


def test_the_events_keep_their_filter_on_further_pages_and_in_the_file(
    admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.audit.PAGE", 1)
    stored("one")
    stored("two")
    page = admin.get("/settings/audit?action=created&q=configuration").text
    assert links(page, "before=")[0].startswith("/settings/audit?")
    for part in ("before=", "audit.csv"):
        address = links(page, part)[0]
        assert "action=created" in address
        assert "q=configuration" in address
