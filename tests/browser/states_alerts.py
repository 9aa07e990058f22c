"""The pages about alerts in every state: nobody is told yet, all is well, something fires, what was refused."""

from datetime import timedelta

from playwright.sync_api import Page, expect
from sqlalchemy import delete
from sqlalchemy.orm import Session

from database.alert_db import AlertChannel, AlertNotice, AlertState, Pulse
from database.engine import transaction
from services.alerts import channels
from tests.browser.scene import Scene, State
from tests.browser.steps import expect_heading, fill, follow, press
from utils import clock

LIST = "/settings/alerts"
HEADLINE = "No email gets out. 300 emails are waiting, the oldest since 2026-11-28 03:05 UTC. Shop is down."


def prepare(scene: Scene, *, has_channels: bool = True, is_firing: bool = False) -> None:
    """What stands in the database."""
    now = clock.now()
    with scene.inside(scene.servers.peopled):
        with transaction() as session:
            for table in (AlertNotice, AlertState, AlertChannel, Pulse):
                session.execute(delete(table))
        if not has_channels:
            return
        phone, _ = channels.save({"kind": "ntfy", "url": "http://127.0.0.1:9/night", "name": "On-call phone"})
        hook, _ = channels.save({"kind": "webhook", "url": "https://hooks.example.com/x", "name": "Operations"})
        channels.save({"kind": "ping", "url": "https://hc-ping.com/x"})
        with transaction() as session:
            session.add(Pulse(name="alerts", at=now, lease_id="another", lease_until=now + timedelta(minutes=10)))
            if is_firing:
                _fire(session, phone.id, hook.id)


def _fire(session: Session, phone: int, hook: int) -> None:
    since, now = clock.now() - timedelta(hours=5), clock.now()
    values = {"rule": "no_mail", "subject": "", "headline": HEADLINE, "remedy": "Open Mail servers to see what to do."}
    session.add(AlertState(**values, state="firing", since=since, fired_at=since, seen_at=now))
    pending = values | {"rule": "refusals", "headline": "Servers refused 8 of 60 emails within an hour (13 %)."}
    session.add(AlertState(**pending, state="pending", since=now, seen_at=now))
    notice = {**values, "change": "firing", "since": since, "changed_at": since}
    refused = {"state": "waiting", "attempts": 3, "trouble": "The server failed (500). Sealpost keeps trying."}
    session.add(AlertNotice(**notice, notice_id="1" * 32, channel_id=phone, state="sent", attempts=1, due_at=now))
    later = now + timedelta(minutes=4)
    session.add(AlertNotice(**notice, **refused, notice_id="2" * 32, channel_id=hook, due_at=later))


def alerts_page(scene: Scene, path: str = LIST) -> Page:
    return scene.page(scene.servers.peopled, "alice", path)


def alerts_none(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    page = alerts_page(scene)
    expect(page.get_by_text("No channel yet, so no one is told.")).to_be_visible()
    return page


def alerts_well(scene: Scene) -> Page:
    prepare(scene)
    page = alerts_page(scene)
    expect(page.get_by_text("No alert is firing.")).to_be_visible()
    return page


def alerts_firing(scene: Scene) -> Page:
    prepare(scene, is_firing=True)
    page = alerts_page(scene)
    expect(page.get_by_text("300 emails are waiting").first).to_be_visible()
    return page


def alerts_test_failed(scene: Scene) -> Page:
    prepare(scene)
    page = alerts_page(scene)
    press(page, "Test On-call phone")
    expect(page.get_by_text("“On-call phone” does not work.").first).to_be_visible()
    return page


def alerts_rules_refused(scene: Scene) -> Page:
    prepare(scene)
    page = alerts_page(scene)
    fill(page, {"Email is late: later than, in minutes": "x"})
    press(page, "Save rules")
    expect(page.get_by_text("Enter a whole number from 1 to 1440.").first).to_be_visible()
    return page


def alert_kinds(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    page = alerts_page(scene)
    follow(page, "Add a channel")
    expect_heading(page, "Add a channel")
    return page


def alert_webhook_refused(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    page = alerts_page(scene, f"{LIST}/new/webhook")
    fill(page, {"URL": "http://169.254.169.254/", "Signing secret": "short"})
    press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Check 2 fields")
    return page


def alert_secret_made(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    page = alerts_page(scene, f"{LIST}/new/webhook")
    fill(page, {"Name": "Operations", "URL": "https://hooks.example.com/x"})
    press(page, "Save")
    expect_heading(page, "Signing secret of “Operations”")
    return page


def alert_mail(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    return alerts_page(scene, f"{LIST}/new/mail")


def alert_telegram(scene: Scene) -> Page:
    prepare(scene, has_channels=False)
    return alerts_page(scene, f"{LIST}/new/telegram")


def alert_edit(scene: Scene) -> Page:
    prepare(scene)
    page = alerts_page(scene)
    follow(page, "Edit On-call phone")
    expect_heading(page, "Edit “On-call phone”")
    return page


def alert_delete(scene: Scene) -> Page:
    prepare(scene)
    page = alerts_page(scene)
    follow(page, "Delete On-call phone")
    expect_heading(page, "Delete “On-call phone”?")
    return page


STATES: list[State] = [
    alerts_none,
    alerts_well,
    alerts_firing,
    alerts_test_failed,
    alerts_rules_refused,
    alert_kinds,
    alert_webhook_refused,
    alert_secret_made,
    alert_mail,
    alert_telegram,
    alert_edit,
    alert_delete,
]
