"""The suppression list and personal data, as pages, by API and by command."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update
from werkzeug.test import TestResponse

from database.engine import transaction
from database.outbox_db import Priority, State
from database.session_db import BrowserSession
from services import audit
from services.suppression import entries
from services.suppression.listing import Cause
from tests.mails import in_state, queued
from tests.outbox import row_of
from tests.visitors import PASSWORD, Visitor
from utils import clock

LIST = "/emails/suppressed"
JANE = "jane@example.com"
BOTH = ["jane@example.com", "sales@shop.example"]


def sent_file(visitor: Visitor, content: bytes) -> TestResponse:
    token = visitor.csrf_token(LIST)
    data = {"csrf_token": token, "file": (io.BytesIO(content), "list.csv")}
    return visitor.post(f"{LIST}/import", data=data, content_type="multipart/form-data")


def test_an_address_is_added_shown_masked_found_and_removed(admin: Visitor) -> None:
    assert "No addresses yet" in admin.get(LIST).text
    answer = admin.post_form(LIST, {"address": JANE, "reason": "complaint", "days": "30", "note": "by phone"})
    assert answer.status_code == 303
    page = admin.get(LIST).text
    assert "j***@example.com" in page
    assert JANE not in page
    assert "The recipient complained" in page
    assert "j***@" in admin.get(f"{LIST}?q=EXAMPLE.com").text
    assert "No matching addresses" in admin.get(f"{LIST}?q=other.example").text
    one = admin.get(f"{LIST}/1").text
    assert JANE in one
    assert "by phone" in one
    assert admin.post_form(f"{LIST}/1/remove", {}).status_code == 303
    assert entries.count() == 0


@pytest.mark.parametrize(
    ("field", "value"), [("address", "jane"), ("address", ""), ("days", "0"), ("days", "x"), ("days", "99999")]
)
def test_a_refused_field_keeps_what_was_typed(admin: Visitor, field: str, value: str) -> None:
    answer = admin.post_form(LIST, {"address": JANE, "note": "typed by me", field: value})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    assert "typed by me" in answer.text
    assert entries.count() == 0


def test_selected_entries_and_whole_domains_are_removed_at_once(admin: Visitor) -> None:
    for address in (*BOTH, "a@shop.example", "b@shop.example"):
        entries.add(address)
    assert admin.post_form(f"{LIST}/remove", {"entry": "1"}).status_code == 303
    assert entries.count() == 3
    assert "Remove all of this domain" in admin.get(f"{LIST}?q=shop.example").text
    admin.post_form(f"{LIST}/remove", {"domain": "shop.example"})
    assert entries.count() == 0


def test_a_file_is_imported_and_exported(admin: Visitor) -> None:
    assert sent_file(admin, b"email,reason\n=1+1@example.com,complaint\nsales@shop.example,bounce\n").status_code == 303
    assert entries.count() == 2
    answer = admin.get(f"{LIST}/export.csv")
    assert answer.mimetype == "text/csv"
    assert answer.text.splitlines()[0].startswith('"address","reason"')
    assert '"\'=1+1@example.com"' in answer.text
    refused = sent_file(admin, b"email\nnobody\n")
    assert "Line 2: " in refused.text
    assert "0 entries added, 1 refused." in refused.text
    assert sent_file(admin, b"name\njane\n").status_code == 422
    assert admin.post_form(f"{LIST}/import", {}).status_code == 422


def test_the_page_of_an_email_says_that_a_recipient_is_on_the_list(admin: Visitor) -> None:
    security, normal = queued(JANE, priority=Priority.SECURITY), queued(JANE)
    assert "Suppression list</a></span>" not in admin.get(f"/emails/{security}").text
    entries.add(JANE)
    assert "Security email is sent all the same" in admin.get(f"/emails/{security}").text
    assert "Gets no more email" in admin.get(f"/emails/{normal}").text


def test_who_sends_an_email_again_is_told_that_its_recipient_is_on_the_list(admin: Visitor) -> None:
    mail_id = in_state(State.FAILED, JANE)
    assert "On the suppression list" not in admin.get(f"/emails/{mail_id}/retry").text
    entries.add(JANE)
    assert f"On the suppression list, and gets no email: {JANE}." in admin.get(f"/emails/{mail_id}/retry").text


def data_of(answer: TestResponse) -> Any:
    return json.loads(answer.text)["data"]


def test_the_api_lists_adds_and_removes(client: Visitor, bearer: dict[str, str]) -> None:
    made = client.post("/api/suppressions", json={"address": JANE, "reason": "complaint", "days": 3}, headers=bearer)
    assert made.status_code == 201
    assert (data_of(made)["address"], data_of(made)["source"]) == (JANE, "manual")
    entries.add(BOTH[1])
    listed = client.get("/api/suppressions?limit=1", headers=bearer)
    older = client.get(f"/api/suppressions?before={json.loads(listed.text)['next']}", headers=bearer)
    assert [each["address"] for each in (*data_of(listed), *data_of(older))] == BOTH[::-1]
    assert data_of(client.get("/api/suppressions?q=shop.example", headers=bearer))[0]["address"] == BOTH[1]
    assert data_of(client.get("/api/suppressions/1", headers=bearer))["reason"] == "complaint"
    assert client.delete("/api/suppressions/1", headers=bearer).status_code == 200
    assert client.delete("/api/suppressions/1", headers=bearer).status_code == 404
    odd: tuple[object, ...] = ("refused", [], ["manual"], {}, 7, None)
    reasons = ({"address": JANE, "reason": each} for each in odd)
    for body in ({}, {"address": "jane"}, {"address": JANE, "days": 0}, *reasons):
        assert client.post("/api/suppressions", json=body, headers=bearer).status_code == 422, body


def run(app: Flask, *words: str, stdin: str | None = None) -> str:
    result = app.test_cli_runner().invoke(args=list(words), input=stdin)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_the_commands_add_list_export_import_and_remove(app: Flask) -> None:
    assert "No address is listed" in run(app, "suppression", "list")
    run(app, "suppression", "add", JANE, "--reason", "complaint", "--note", "=1")
    entries.add(BOTH[1], Cause.MANUAL)
    assert JANE in run(app, "suppression", "list", "example.com")
    table = run(app, "suppression", "export")
    assert '"\'=1"' in table
    assert len(json.loads(run(app, "suppression", "export", "--json"))) == 2
    assert "1 entry removed." in run(app, "suppression", "remove", JANE)
    assert "1 entry removed." in run(app, "suppression", "remove", "--domain", "shop.example")
    told = json.loads(run(app, "suppression", "import", "-", "--json", stdin=table + "nobody\n"))
    assert (told["added"], told["refused"], told["lines"][0]["number"]) == (2, 1, 4)
    assert "2 entries removed." in run(app, "suppression", "remove", "--all", "--yes")
    assert app.test_cli_runner().invoke(args=["suppression", "remove", JANE]).exit_code == 1
    assert app.test_cli_runner().invoke(args=["suppression", "remove"]).exit_code == 2
    assert {event.source for event in audit.events(action="suppression_removed")} == {"command line"}


def test_personal_data_is_downloaded_and_replaced_after_a_question(admin: Visitor) -> None:
    mail_id = in_state(State.SENT, JANE)
    page = "/settings/privacy"
    answer = admin.post_form(f"{page}/export", {"address": JANE})
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert [each["id"] for each in json.loads(answer.text)["emails"]] == [mail_id]
    asked = admin.post_form(f"{page}/forget", {"address": JANE})
    assert (asked.status_code, "1 email" in asked.text) == (200, True)
    assert row_of(mail_id).recipients[0]["address"] == JANE
    assert admin.post_form(f"{page}/forget", {"address": JANE, "confirmed": "1"}).status_code == 303
    assert row_of(mail_id).recipients[0]["address"].endswith("@forgotten.invalid")
    assert "Nothing is stored about it" in admin.post_form(f"{page}/forget", {"address": JANE}).text
    assert admin.post_form(f"{page}/export", {"address": "jane"}).status_code == 422


def test_personal_data_wants_a_recent_sign_in(admin: Visitor) -> None:
    page = "/settings/privacy"
    with transaction() as session:
        session.execute(update(BrowserSession).values(proven_at=clock.now() - timedelta(minutes=11)))
    for deed in ("export", "forget"):
        refused = admin.post_form(f"{page}/{deed}", {"address": JANE, "confirmed": "1"})
        assert refused.status_code == 422, deed
        assert "Enter your password" in refused.text
    assert not audit.events(action="person_exported")
    done = admin.post_form(f"{page}/export", {"address": JANE, "confirm_password": PASSWORD})
    assert done.status_code == 200


def test_the_privacy_commands_export_and_forget(app: Flask) -> None:
    mail_id = in_state(State.SENT, JANE)
    assert json.loads(run(app, "privacy", "export", JANE))["emails"][0]["id"] == mail_id
    told = json.loads(run(app, "privacy", "forget", JANE, "--yes", "--json"))
    assert row_of(mail_id).recipients[0]["address"] == told["pseudonym"]
    in_state(State.QUEUED, JANE, "joe@example.com")
    result = app.test_cli_runner().invoke(args=["privacy", "forget", JANE, "--yes"])
    assert result.exit_code == 3
    assert "1 email still to be sent to others too" in result.stdout
