"""The start page: of a new installation, and of one with traffic, failures and something that needs attention."""

from datetime import timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import delete

from database.alert_db import AlertState
from database.engine import transaction
from database.mail_hour_db import HOUR, MailHour, hour_of
from services.outbox.reasons import Reason
from services.overview import checklist
from tests.browser.scene import Scene, State
from utils import clock


def start_new(scene: Scene) -> Page:
    page = scene.page(scene.servers.new, "alice")
    expect(page.get_by_role("region", name="Set up Sealpost")).to_contain_text("0 of 6 done")
    return page


def start_busy(scene: Scene) -> Page:
    with scene.inside(scene.servers.working):
        checklist.hide(is_hidden=True, by="alice")
        _fill()
    page = scene.page(scene.servers.working, "alice", "/?chart=14d")
    page.locator("summary", has_text="As a table").click()
    expect(page.get_by_role("cell", name="9,000,000")).to_be_visible()
    expect(page.get_by_role("link", name="Home")).to_contain_text("need attention")
    return page


def _fill() -> None:
    """Two weeks of mail with a peak, three causes, and an alert."""
    now = clock.now()
    with transaction() as session:
        session.execute(delete(AlertState))
        session.execute(delete(MailHour))
        headline = "Servers refused 8 of 60 emails within an hour (13 %)."
        alert = {"rule": "refusals", "subject": "", "headline": headline, "remedy": "Open the mail log to see why."}
        session.add(AlertState(**alert, state="firing", since=now, fired_at=now, seen_at=now))
        for day in range(14):
            hour = hour_of(now) - timedelta(days=day) - HOUR
            for outcome, cause, mails in (
                ("accepted", "", 9_000_000 if day == 3 else 900 + 70 * day),
                ("permanent", Reason.NO_RECIPIENT, 612 - 40 * day),
                ("temporary", Reason.GREYLISTED, 310),
                ("permanent", Reason.CONTENT_REFUSED, 78),
            ):
                place = {"hour": hour, "server": "Primary (127.0.0.1:25)", "phase": "", "domain": ""}
                session.add(MailHour(**place, outcome=outcome, cause=cause, mails=mails, ms=1, counted_at=now))


STATES: list[State] = [start_new, start_busy]
