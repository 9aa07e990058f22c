"""``/emails/many``: what to do, a preview, the deed; by a filter and by what was ticked, without JavaScript."""

import re

import pytest
from flask import Flask

from database.outbox_db import Recipient, RecipientState, State
from services.outbox import many, searching
from services.outbox.many_rules import ManyAction
from tests.mails import in_state
from tests.outbox import row_of
from tests.visitors import Visitor


def where(location: str) -> str:
    return re.sub(r"https?://[^/]+", "", location)


def test_by_a_filter_one_asks_previews_and_does_it(app: Flask, admin: Visitor) -> None:
    ids = [in_state(State.FAILED, f"u{number}@example.com", reason="no_recipient") for number in range(12)]
    asking = admin.get("/emails/many?state=failed&cause=no_recipient")
    assert "Act on 12 emails" in asking.text
    form = {"action": "retry", "state": "failed", "cause": "no_recipient", "all": "1"}
    preview = where(admin.post_form("/emails/many", form).location)
    shown = admin.get(preview).text
    assert "Send 12 emails again?" in shown
    assert "The newest 10" in shown
    assert "u11@example.com" not in shown
    assert {row_of(each).state for each in ids} == {State.FAILED}
    assert admin.post_form(f"{preview}/go", {}).status_code == 303
    assert "12 emails are being sent again" in admin.get(preview).text
    assert {row_of(each).state for each in ids} == {State.QUEUED}


def test_what_was_ticked_is_cancelled_and_what_cannot_be_is_told(app: Flask, admin: Visitor) -> None:
    waiting, sent = in_state(State.DEFERRED, "a@example.com"), in_state(State.SENT)
    preview = where(admin.post_form("/emails/many", {"action": "cancel", "mail": [waiting, sent]}).location)
    shown = admin.get(preview).text
    assert "Cancel 1 email?" in shown
    assert "Not waiting any more" in shown
    admin.post_form(f"{preview}/go")
    assert row_of(waiting).state == State.CANCELLED
    assert "1 email cancelled" in admin.get(preview).text


def refused(address: str) -> list[Recipient]:
    return [{"address": address, "state": RecipientState.REFUSED, "code": 550, "enhanced": "5.1.1"}]


def test_a_corrected_address_is_asked_for_and_checked(app: Flask, admin: Visitor) -> None:
    old = in_state(State.FAILED, "ann@gmial.com", recipients=refused("ann@gmial.com"))
    asked = admin.post_form("/emails/many", {"action": "correct", "mail": old})
    assert (asked.status_code, "Right address or domain" in asked.text) == (200, True)
    form = {"action": "correct", "mail": old, "old_address": "", "new_address": "ann@"}
    assert admin.post_form("/emails/many", form).status_code == 422
    form["new_address"] = "ann@gmail.com"
    preview = where(admin.post_form("/emails/many", form).location)
    assert "Send 1 email to a corrected address?" in admin.get(preview).text
    admin.post_form(f"{preview}/go")
    page = admin.get(preview).text
    assert "1 email is being sent to a corrected address" in page
    assert "ann@gmail.com" not in page  # masked, once it is done
    assert row_of(old).state == State.FAILED


def test_while_it_goes_on_the_page_asks_again_and_it_can_be_stopped(app: Flask, admin: Visitor) -> None:
    in_state(State.FAILED)
    deed_id = many.propose(ManyAction.RETRY, searching.parse({}))
    page = admin.get(f"/emails/many/{deed_id}")
    assert page.headers["Refresh"]
    assert "Looking at the emails" in page.text
    assert admin.post_form(f"/emails/many/{deed_id}/stop").status_code == 303
    assert "Refresh" not in admin.get(f"/emails/many/{deed_id}").headers


@pytest.mark.parametrize("query", ["since=yesterday", "state=gone", "recipient=a@b@c", "cause=bad+luck"])
def test_a_filter_that_cannot_be_finds_nothing_and_not_everything(app: Flask, admin: Visitor, query: str) -> None:
    assert admin.get(f"/emails/many?{query}").status_code == 303
    name, _, value = query.partition("=")
    assert admin.post_form("/emails/many", {"action": "cancel", "all": "1", name: value}).status_code in (303, 422)
    assert many.latest() == []


@pytest.mark.parametrize("chosen", [{}, {"mail": "no-id"}, {"mail": ["", "0" * 31]}])
def test_nothing_selected_is_never_taken_for_everything(app: Flask, admin: Visitor, chosen: dict[str, str]) -> None:
    in_state(State.FAILED)
    answer = admin.post_form("/emails/many", {"action": "retry", **chosen})
    assert many.latest() == []
    assert where(answer.location) == "/emails"
    assert "Select at least one email." in admin.get("/emails").text
