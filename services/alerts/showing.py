"""How alerts stand, for pages, API and commands: what fires since when, who watches, and what was told."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from database import alert_db
from database.alert_db import AlertNotice, AlertState
from database.engine import reading
from services import audit
from services.alerts import channels, notifying, sending, watching
from services.alerts.bodies import AlertChange
from services.alerts.channels import ChannelInfo
from services.alerts.reaching import Trouble
from services.alerts.rules import RULES, RuleName
from services.alerts.states import AlertStage, AlertStanding
from services.audit import Action
from utils import clock
from utils.json_shapes import Moment

NOTICES: Final = 20
SILENT: Final = timedelta(minutes=3)  # without a look, after which nobody is watching
TEST_RULE: Final = "test"
TEST_TEXT: Final = "This is a test. Alerts will arrive here."


@dataclass(frozen=True, kw_only=True)
class AlertData:
    """An alert that is pending or fires; ``title`` is what its rule is called."""

    rule: str
    subject: str
    title: str
    state: str
    headline: str
    remedy: str
    since: Moment
    fired_at: Moment | None

    @property
    def is_firing(self) -> bool:
        return self.state == AlertStage.FIRING


@dataclass(frozen=True, kw_only=True)
class NoticeData:
    """A message to a channel; ``state`` is waiting, sent, failed or replaced, ``next_at`` when it is tried again."""

    channel: str
    rule: str
    subject: str
    change: str
    headline: str
    changed_at: Moment
    state: str
    attempts: int
    trouble: str
    next_at: Moment | None


@dataclass(frozen=True, kw_only=True)
class AlertsNow:
    """Everything that there is to see. ``is_watched``: a process has looked lately."""

    alerts: list[AlertData]
    notices: list[NoticeData]
    is_watched: bool
    watched_at: Moment | None

    @property
    def firing(self) -> list[AlertData]:
        return [alert for alert in self.alerts if alert.is_firing]


def now() -> AlertsNow:
    """How it stands."""
    with reading() as session:
        states = [row for row in alert_db.states(session) if row.state != AlertStage.RESOLVED]
        names = {row.id: row.name for row in alert_db.channels(session)}
        notices = [_notice(row, names) for row in alert_db.latest_notices(session, NOTICES)]
        last = alert_db.pulse(session, watching.NAME)
    return AlertsNow(
        alerts=[_alert(row) for row in states],
        notices=notices,
        is_watched=last is not None and abs(clock.now() - last.at) < SILENT,
        watched_at=last.at if last else None,
    )


def firing() -> list[AlertData]:
    """The alerts that fire."""
    with reading() as session:
        return [_alert(row) for row in alert_db.states(session) if row.state == AlertStage.FIRING]


def test(channel_id: int) -> tuple[ChannelInfo, Trouble | None]:
    """Send a test to a channel, be it off: how it is then, and what is wrong. Raises NotFound."""
    channel = channels.opened_one(channel_id)
    moment = clock.now()
    stands = AlertStanding(stage=AlertStage.FIRING, headline=TEST_TEXT, remedy="", since=moment)
    trouble = sending.send(channel, notifying.news_of(AlertChange.TEST, TEST_RULE, "", stands))
    notifying.note(channel_id, trouble)
    audit.note(Action.TESTED, f"alert channel {channel.name}", [trouble.text if trouble else "it works"])
    return channels.get(channel_id), trouble


def _alert(row: AlertState) -> AlertData:
    return AlertData(
        rule=row.rule,
        subject=row.subject,
        title=RULES[RuleName(row.rule)].title if row.rule in RULES else row.rule,
        state=row.state,
        headline=row.headline,
        remedy=row.remedy,
        since=row.since,
        fired_at=row.fired_at,
    )


def _notice(row: AlertNotice, names: dict[int, str]) -> NoticeData:
    is_waiting = row.state == alert_db.NoticeState.WAITING
    return NoticeData(
        channel=names.get(row.channel_id, "Deleted channel"),
        rule=row.rule,
        subject=row.subject,
        change=row.change,
        headline=row.headline,
        changed_at=row.changed_at,
        state=row.state,
        attempts=row.attempts,
        trouble=row.trouble,
        next_at=row.due_at if is_waiting else None,
    )
