"""`GET /api/messages/export` and `flask mail export`: the mail log as CSV or JSON."""

import csv
import gc
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from blueprints import mail_export
from blueprints.mail_export import ExportForm, ExportPlan
from database.engine import db
from database.outbox_db import State
from services import audit
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.audit import Action
from services.outbox import exporting, searching
from services.outbox.facts import MailFacts
from services.outbox.searching import MailFilter
from tests.conftest import ADMIN_TOKEN
from tests.mails import REFUSAL, attempted, in_state, queued
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import ending
from utils.errors import Stopping

URL = "/api/messages/export"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture
def mails(app: Flask) -> list[str]:
    bob = make_bob()
    attempted(None, **REFUSAL)
    return [queued("jane@example.com", account_id=bob.id), in_state(State.FAILED, "joe@example.org")]


def told(answer: TestResponse) -> list[dict[str, Any]]:
    """The emails of an export as JSON."""
    found: list[dict[str, Any]] = json.loads(answer.text)
    return found


def of_bob(*scopes: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_tokens.create(1, 'script', scopes=scopes)[0]}"}


def test_an_administrator_gets_all_and_an_account_its_own(client: Visitor, mails: list[str]) -> None:
    every = told(client.get(URL, headers=ADMIN))
    assert [each["id"] for each in every] == mails[::-1]
    assert [each["recipients"][0]["address"] for each in every] == ["j***@example.org", "j***@example.com"]
    own = told(client.get(f"{URL}?account_id=9&whole_addresses=true", headers=of_bob(Scope.READ)))
    assert [(each["id"], each["recipients"][0]["address"]) for each in own] == [(mails[0], "jane@example.com")]


def test_a_filter_narrows_it(client: Visitor, mails: list[str]) -> None:
    for query in ("state=failed&state=expired", "recipient=example.org", "until=2999-01-01&state=failed"):
        assert [each["id"] for each in told(client.get(f"{URL}?{query}", headers=ADMIN))] == mails[1:]
    answer = client.get(f"{URL}?format=csv&recipient=nobody@example.com", headers=ADMIN)
    assert (answer.mimetype, answer.text.count("\n")) == ("text/csv", 1)


def test_direct_mail_is_for_administrators(client: Visitor, mails: list[str]) -> None:
    assert told(client.get(f"{URL}?direct=true", headers=ADMIN))[0]["code"] == 550
    assert client.get(f"{URL}?direct=true", headers=of_bob(Scope.READ)).status_code == 403
    assert client.get(URL, headers=of_bob(Scope.SEND)).status_code == 403


def test_what_is_wrong_is_told_by_its_field(client: Visitor, mails: list[str]) -> None:
    for query in ("format=xml", "since=soon", "state=lost", "cause=luck", "tag=%00", "direct=yes", "account_id=bob"):
        answer = client.get(f"{URL}?{query}", headers=ADMIN)
        assert answer.status_code == 422
        assert list(json.loads(answer.text)["errors"]) == [query.partition("=")[0]]
    assert audit.events(action=Action.MAIL_EXPORTED) == []


def test_it_stands_in_the_audit_trail_whoever_takes_it(app: Flask, client: Visitor, mails: list[str]) -> None:
    client.get(f"{URL}?recipient=jane@example.com", headers=ADMIN)
    client.get(f"{URL}?whole_addresses=true", headers=of_bob(Scope.READ))
    app.test_cli_runner().invoke(args=["mail", "export", "--direct"])
    found = [(event.actor.split()[0], event.subject, event.details) for event in audit.events()[:4]]
    assert ("ADMIN_TOKEN", "queued email", "json, recipient j***@example.com") in found
    assert ("bob", "queued email", "json, whole addresses, account_id 1") in found
    assert found[0][1:] == ("email sent directly", "csv")


def test_the_command_prints_both_forms(app: Flask, mails: list[str]) -> None:
    runner = app.test_cli_runner()
    printed = runner.invoke(args=["mail", "export", "--recipient", "example.com"]).stdout
    (row,) = csv.DictReader(io.StringIO(printed))
    assert (row["id"], row["recipients"], row["account"]) == (mails[0], "j***@example.com", "1")
    for form in (["--format", "json"], ["--json"]):
        printed = runner.invoke(args=["mail", "export", *form, "--state", "failed", "--whole-addresses"]).stdout
        assert [each["recipients"][0]["address"] for each in json.loads(printed)] == ["joe@example.org"]
    refused = runner.invoke(args=["mail", "export", "--reason", "luck"])
    assert (refused.exit_code, refused.stderr.startswith("Error: reason: ")) == (1, True)


@pytest.mark.parametrize("form", list(ExportForm))
def test_an_export_holds_one_batch_in_memory_and_no_transaction(
    app: Flask, monkeypatch: pytest.MonkeyPatch, form: ExportForm
) -> None:
    for number in range(15):
        queued(*(f"a{each}@example.com" for each in range(40)), tag=str(number))  # of some size each
    monkeypatch.setattr(searching, "_BATCH", 3)
    monkeypatch.setattr(mail_export, "_PIECE", 1)
    plan = ExportPlan(wanted=MailFilter(), form=form)
    "".join(mail_export.pieces(plan))  # what is loaded and compiled once is there now
    assert peak_of(mail_export.pieces(plan)) < peak_of(held(exporting.mails(MailFilter()))) / 2
    open_ones: set[int] = set()
    event.listen(db.engine, "checkout", lambda _, record, __: open_ones.add(id(record)))
    event.listen(db.engine, "checkin", lambda _, record: open_ones.discard(id(record)))
    for _ in mail_export.pieces(plan):
        assert not open_ones


def held(found: Iterator[MailFacts]) -> Iterator[MailFacts]:
    """The same, of which every one stays."""
    kept = []
    for each in found:
        kept.append(each)
        yield each


def peak_of(pieces: Iterator[object]) -> int:
    """The most memory that is held at a time, without what waits to be collected."""
    gc.collect()
    gc.freeze()  # what is there already need not be looked at each time
    tracemalloc.start()
    peak = 0
    for _ in pieces:
        gc.collect()
        peak = max(peak, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    gc.unfreeze()
    return peak


def test_mail_that_is_queued_meanwhile_is_not_in_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_BATCH", 1)
    before = [queued() for _ in range(3)]
    found = []
    for mail in exporting.mails(MailFilter()):
        found.append(mail.id)
        queued()
    assert found == before[::-1]


def test_an_export_ends_with_the_process(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_BATCH", 1)
    queued(), queued()
    found = exporting.mails(MailFilter())
    next(found)
    monkeypatch.setattr(ending._State, "began", 1.0)
    with pytest.raises(Stopping):
        next(found)


def test_a_visitor_may_export_by_session(app: Flask) -> None:
    make_alice(is_admin=True)
    alice = visit(app)
    alice.sign_in()
    queued()
    assert len(told(alice.get(URL))) == 1
