"""What the start page shows, on both databases: figures, causes, what needs attention, and the checklist."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from app import create_app
from database.alert_db import AlertState
from database.attempt_db import EmailAttempt
from database.checklist_db import SetupStep
from database.engine import db, transaction
from database.mail_hour_db import HOUR, MailHour, hour_of
from database.outbox_db import OutboxMail, State
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services.alerts import channels
from services.outbox import figures
from services.outbox.reasons import Reason
from services.overview import attention, board, causes, checklist, hourly
from services.overview.board import Board
from services.overview.checklist import ChecklistStep
from services.overview.hourly import Tally
from services.settings import configs
from services.settings.fields import parse_change
from tests.mails import REFUSAL, attempted, change, in_state, queued
from tests.statements import heard
from tests.turned_clock import Now
from tests.visitors import Visitor, make_alice, make_bob, visit
from utils import clock
from utils.errors import NotFound

SERVER = {"name": "Shop", "smtp_server": "smtp.example.com", "smtp_port": 587, "from_email": "shop@example.com"}
NOON = datetime.fromisoformat("2026-10-25T12:30:00+00:00")  # on that day Europe's clocks go back
_TABLES = (SetupStep, AlertState, EmailAttempt, MailHour, OutboxMail, SmtpConfig, Account)


@pytest.fixture
def app(on_either: dict[str, str], tmp_path: Path) -> Iterator[Flask]:
    app = create_app(on_either, instance_path=tmp_path)
    with app.app_context():
        with transaction() as session:
            for table in _TABLES:
                session.execute(delete(table))
        yield app
        db.engine.dispose()


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> Now:
    turned = Now()
    turned.moment = NOON
    monkeypatch.setattr(clock, "now", turned)
    return turned


def administrator(app: Flask) -> Visitor:
    make_alice(is_admin=True)
    visitor = visit(app)
    assert visitor.sign_in().location == "/"
    return visitor


def said(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def at(moment: datetime, **columns: Any) -> None:
    attempted(started_at=moment, **columns)


def refused(reason: Reason, **columns: Any) -> None:
    attempted(**{**REFUSAL, "reason": reason.value, **columns})


def now_shown(chart: str = "") -> Board:
    found = board.look(chart)
    assert None not in vars(found).values()
    return found


def fire(rule: str = "refusals", headline: str = "Servers refused 8 of 60 emails within an hour (13 %).") -> None:
    with transaction() as session:
        session.add(
            AlertState(
                rule=rule, subject="", headline=headline, remedy="Open the mail log to see why.", state="firing",
                since=clock.now(), fired_at=clock.now(), seen_at=clock.now(),
            )
        )  # fmt: skip


def test_hours_are_told_as_counted_and_what_came_since_as_the_log_has_it(app: Flask, noon: Now) -> None:
    for hours, outcome in ((25, "accepted"), (23, "permanent"), (13, "accepted"), (1, "temporary"), (0, "accepted")):
        at(NOON - hours * HOUR, outcome=outcome)
    figures.count_up()
    noon.turn(20)
    at(noon.moment, outcome="unknown")
    at(noon.moment, outcome="suppressed")
    at(noon.moment + HOUR)  # by a clock that was ahead
    known = hourly.read(1)
    columns = hourly.last_hours(known)
    assert [column.since for column in columns] == [hour_of(NOON) - hours * HOUR for hours in range(23, -1, -1)]
    assert {
        23 - number: (each.sent, each.delayed, each.refused) for number, each in enumerate(columns) if each.all
    } == ({23: (0, 0, 1), 13: (1, 0, 0), 1: (0, 1, 0), 0: (1, 1, 0)})
    assert known.tally(hourly.day_of(NOON)) == Tally(sent=1, delayed=2, refused=0)
    days = hourly.last_days(hourly.read(14), 14)
    assert [(each.since.day, each.all) for each in days if each.all] == [(24, 3), (25, 3)]
    assert len(days) == 14


def test_hours_that_nobody_has_counted_are_unknown_where_the_log_is_long(
    app: Flask, noon: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(NOON - 3 * HOUR)
    figures.count_up()
    noon.turn(2 * 3600)
    for _ in range(4):
        at(noon.moment)
    monkeypatch.setattr(hourly, "MOST_LIVE", 3)
    known = hourly.read(1)
    assert not known.is_complete
    columns = hourly.last_hours(known)
    assert [column.is_known for column in columns[-3:]] == [True, False, False]
    assert [column.sent for column in columns if column.all] == [1]
    page = administrator(app).get("/").text
    assert "Counted until" in page
    assert "Not counted yet" in page
    monkeypatch.setattr(hourly, "MOST_LIVE", 4)
    assert hourly.read(1).tally(hourly.day_of(NOON)).sent == 5


def test_a_clock_that_was_put_back_leaves_no_mail_twice_or_in_what_is_to_come(app: Flask, noon: Now) -> None:
    noon.turn(5 * 3600)
    at(noon.moment)
    figures.count_up()
    noon.moment = NOON
    at(NOON)
    assert hourly.read(1).tally(hourly.day_of(NOON)).sent == 1
    figures.count_up()
    assert hourly.read(1).tally(hourly.day_of(NOON)).sent == 1
    noon.turn(5 * 3600)
    assert hourly.read(1).tally(hourly.day_of(NOON)).sent == 2


def test_failures_are_told_by_their_cause_with_what_to_do(app: Flask) -> None:
    for _ in range(3):
        refused(Reason.NO_RECIPIENT)
    refused(Reason.MAILBOX_FULL, outcome="temporary", code=452, enhanced="4.2.2", reply="Mailbox full")
    attempted(outcome="not_configured", reason=Reason.NO_SERVER.value)
    attempted(outcome="permanent", reason="of_an_earlier_version", phase="gone", fault="gone")
    attempted(outcome="suppressed", reason=Reason.NOTHING_IS_SENT.value)
    refused(Reason.TOO_LARGE, days_ago=2)
    found = now_shown().causes
    assert found
    told = {each.cause: each for each in found.shown}
    assert [(each.cause, each.refused, each.delayed) for each in found.shown] == [
        ("no_recipient", 3, 0), ("mailbox_full", 0, 1), ("no_server", 0, 1), ("of_an_earlier_version", 1, 0),
    ]  # fmt: skip
    assert told["no_recipient"].title == "Recipient does not exist"
    assert told["no_recipient"].remedy
    assert told["no_server"].remedy == "Add a mail server, test it, then activate it."
    assert told["of_an_earlier_version"].remedy == ""
    assert not told["of_an_earlier_version"].is_known
    page = administrator(app).get("/").text
    assert "cause=no_recipient" in page
    assert "cause=of_an_earlier_version" not in page


def test_a_cause_that_is_rare_by_now_still_has_its_remedy_and_the_rarest_are_counted_together(
    app: Flask, noon: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causes, "_NEWEST", 2)
    refused(Reason.NO_RECIPIENT, started_at=NOON - 5 * HOUR)
    for _ in range(3):
        at(NOON)
    reasons = [*Reason][:9]
    for reason in reasons:
        attempted(outcome="temporary", reason=reason.value, started_at=NOON)
    known = hourly.read(1)
    found = causes.of(known.sums, hourly.first_of_last_hours(NOON))
    assert next((each.remedy for each in found.shown if each.cause == "no_recipient"), "beyond")
    assert (len(found.shown), found.others) == (8, 2)


def test_the_page_says_todays_figures_and_leads_into_the_log(app: Flask) -> None:
    configs.save(parse_change(SERVER))
    for _ in range(2):
        attempted()
    refused(Reason.NO_RECIPIENT)
    queued()
    in_state(State.UNCERTAIN)
    old = in_state(State.DEFERRED)
    change(old, created_at=clock.now() - timedelta(hours=7))
    visitor = administrator(app)
    page = visitor.get("/").text
    text = said(page)
    assert re.search(r"2 Sent 2 Waiting oldest queued 20\d\d-.* UTC 1 Refused 1 Uncertain may have arrived", text)
    for link in ("state=queued,deferred", "state=uncertain", "state=failed&amp;since=", "state=sent&amp;since="):
        assert f"/emails?{link}" in page.replace("%2C", ",")
    for link in set(re.findall(r'href="(/[^"#]*)', page)):
        assert visitor.get(link.replace("&amp;", "&")).status_code in (200, 302), link
    assert 'role="img"' in page
    assert page.count('<g class="chart-bar">') == 24
    assert visitor.get("/?chart=14d").text.count('<g class="chart-bar">') == 14
    assert visitor.get("/?chart=x").text.count('<g class="chart-bar">') == 24
    assert " style=" not in page


def test_what_needs_attention_is_counted_once_and_said_on_every_page(app: Flask) -> None:
    configs.save(parse_change(SERVER))
    visitor = administrator(app)
    text = said(visitor.get("/").text)
    assert "1 thing needs attention" in text  # it was never tested
    fire()
    fire("endings", "Shop: its certificate expires.")  # which is in the verdict
    in_state(State.HELD)
    text = said(visitor.get("/").text)
    assert "3 things need attention" in text
    assert "Servers refused 8 of 60 emails" in text
    assert "1 email is held" in text
    assert text.count("Shop: its certificate expires.") == 0
    assert "Something expires" in text
    with_badge = said(visitor.get("/settings/tokens").text)
    assert "3 things need attention" in with_badge
    make_bob()
    other = visit(app)
    other.sign_in("bob")
    assert "need attention" not in said(other.get("/account").text)


def test_the_badge_is_asked_of_the_database_every_few_seconds_at_most(app: Flask) -> None:
    visitor = administrator(app)
    visitor.get("/settings/tokens")
    asked: list[str] = []
    with heard(db.engine, lambda statement, _: asked.append(statement)):
        visitor.get("/settings/tokens")
    assert not [statement for statement in asked if "alert_state" in statement or "server_health" in statement]


def test_what_cannot_be_read_is_left_out_and_no_page_fails(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    configs.save(parse_change(SERVER))
    attempted()
    visitor = administrator(app)

    def fail(tables: tuple[str, ...]) -> Any:
        def listener(statement: str, _: object) -> None:
            if any(re.search(rf"\b(?:FROM|JOIN) {table}\b", statement) for table in tables):
                raise OperationalError(statement, None, Exception("database is locked"))

        return heard(db.engine, listener)

    with fail(("mail_hour", "alert_state", "email_outbox", "setup_step")):
        monkeypatch.setattr(attention, "FRESH_SECONDS", 0.0)
        answer = visitor.get("/")
        text = said(answer.text)
        assert answer.status_code == 200
        assert "How mail is could not be read." in text
        assert "The figures could not be read." in text
        assert "– Sent Not available now – Waiting Not available now" in text
        assert "need" not in said(visitor.get("/settings/tokens").text).partition("Mail servers")[0]
    with fail(("mail_hour",)):
        text = said(visitor.get("/").text)
        assert "Mail goes through Shop" in text
        assert "The figures could not be read." in text


def test_the_checklist_is_ticked_by_facts_and_by_hand_and_goes_when_it_is_done(app: Flask) -> None:
    visitor = administrator(app)
    text = said(visitor.get("/").text)
    assert "Set up Sealpost 0 of 6 done" in text
    assert "Attempts by hour" not in text  # there is nothing to be seen yet
    stored = configs.save(parse_change(SERVER))
    configs.mark_tested(stored.settings, None, stored.id)
    channels.save({"kind": "ntfy", "url": "http://127.0.0.1:9/topic"})
    assert "Set up Sealpost 3 of 6 done" in said(visitor.get("/").text)
    for step in ("own_mail", "domain"):
        assert visitor.post_form(f"/checklist/{step}", {"is_done": "1"}).location == "/#checklist"
    assert "Set up Sealpost 5 of 6 done" in said(visitor.get("/").text)
    visitor.post_form("/checklist/domain", {"is_done": ""})
    assert "Set up Sealpost 4 of 6 done" in said(visitor.get("/").text)
    visitor.post_form("/checklist", {"is_hidden": "1"})
    text = said(visitor.get("/").text)
    assert "Set up Sealpost" not in text
    assert "2 of 6 steps of the set-up are open. Show the checklist" in text
    visitor.post_form("/checklist", {"is_hidden": ""})
    for step in ("domain", "key", "key"):
        visitor.post_form(f"/checklist/{step}", {"is_done": "1"})
    text = said(visitor.get("/").text)
    assert "Set up Sealpost" not in text
    assert "Show the checklist" not in text
    channels.delete(channels.every()[0].id)
    assert "Set up Sealpost 5 of 6 done" in said(visitor.get("/").text)


def test_only_what_no_fact_shows_is_ticked_by_hand(app: Flask) -> None:
    for step in (ChecklistStep.SERVER, ChecklistStep.TEST, ChecklistStep.ALERTS, "hidden", "x"):
        with pytest.raises(NotFound):
            checklist.confirm(step, is_done=True, by="alice")
