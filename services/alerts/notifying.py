"""What is still to be told, as rows: written with the change that they tell of, and tried again until they got there.

The outbox is not used for it: what waits there waits for a mail server, is sealed and has recipients, and its workers
may be the very trouble. Here there are a few rows a day, and whoever watches sends them.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.orm import Session

from database import alert_db
from database.alert_db import LONGEST_TEXT, AlertNotice, NoticeState
from database.engine import reading, transaction
from services.alerts import sending
from services.alerts.bodies import AlertChange, AlertNews
from services.alerts.channels import OpenChannel
from services.alerts.reaching import Trouble
from services.alerts.states import AlertStanding
from utils import clock

log = structlog.get_logger(__name__)

PAUSES: Final = (30, 60, 120, 300, 600, 900, 1800)  # seconds after each attempt; the last one again and again
GIVEN_UP: Final = timedelta(hours=24)  # after the change, and after as many attempts:
LEAST_ATTEMPTS: Final = 12
KEPT: Final = timedelta(days=30)
ROUND_SECONDS: Final = 30.0  # after which no further message is begun in a round
UNDER_WAY: Final = timedelta(minutes=2)  # until another process tries it again
TURNED_OFF: Final = "The channel was turned off."


def news_of(change: AlertChange, rule: str, subject: str, stands: AlertStanding) -> AlertNews:
    """One message to come."""
    return AlertNews(
        notice_id=secrets.token_hex(16),
        change=change,
        rule=rule,
        subject=subject,
        headline=stands.headline[:LONGEST_TEXT],
        remedy=stands.remedy[:LONGEST_TEXT],
        since=stands.since,
        changed_at=clock.now(),
    )


def promise(session: Session, news: AlertNews, channels: Sequence[OpenChannel]) -> None:
    """Let each channel be told. What still waits there about the same alert is old news then."""
    for channel in channels:
        if channel.is_ping:
            continue
        was_untold = alert_db.replace_waiting(session, channel.id, news.rule, news.subject)
        session.add(
            AlertNotice(
                notice_id=secrets.token_hex(16),
                channel_id=channel.id,
                rule=news.rule,
                subject=news.subject,
                change=news.change.value,
                headline=news.headline,
                remedy=news.remedy,
                since=news.since,
                changed_at=news.changed_at,
                due_at=news.changed_at,
            )
        )
        if was_untold:
            log.info("alert_notice_replaced", channel=channel.name, rule=news.rule)
    session.flush()


def send_due(channels: Mapping[int, OpenChannel], renew: Callable[[], bool]) -> None:
    """Try what is due. ``renew`` says before each whether this process may go on. Raises SQLAlchemyError.

    After a failure a channel rests until its next turn, so that one that is silent holds up no other.
    """
    now, began, failing = clock.now(), time.monotonic(), set[int]()
    with reading() as session:
        waiting = alert_db.waiting(session)
    longest = timedelta(seconds=PAUSES[-1]) + UNDER_WAY + timedelta(hours=1)
    for notice in sorted(waiting, key=lambda each: (each.attempts > 0, each.id)):
        # One that is due far ahead was put there by a clock that has been set back since.
        is_due = notice.due_at <= now or notice.due_at > now + longest
        if not is_due or notice.channel_id in failing:
            continue
        if time.monotonic() - began > ROUND_SECONDS or not renew():
            return
        channel = channels.get(notice.channel_id)
        if channel is None:
            _settled(notice, NoticeState.FAILED, TURNED_OFF)
        elif _is_mine(notice):
            trouble = sending.send(channel, _news(notice))
            if trouble is None:
                _told(notice)
            else:
                failing.add(notice.channel_id)
                _put_off(notice, trouble)


def note(channel_id: int, trouble: Trouble | None) -> None:
    """Write down how the last message to a channel went."""
    with transaction(durable=False) as session:
        if trouble is None:
            alert_db.note_channel(session, channel_id, ok_at=clock.now(), trouble="")
        else:
            told = trouble.sentence[:LONGEST_TEXT]
            alert_db.note_channel(session, channel_id, failed_at=clock.now(), trouble=told)


def pause_after(attempts: int, wait: int = 0) -> timedelta:
    """Until a message is tried again that has been tried so often; the channel itself may ask for longer."""
    seconds = PAUSES[min(max(attempts, 1), len(PAUSES)) - 1]
    return timedelta(seconds=max(seconds, wait))


def tidy() -> None:
    """Delete what is done with and older than it is kept."""
    with transaction(durable=False) as session:
        alert_db.forget_notices(session, clock.now() - KEPT)


def _is_mine(notice: AlertNotice) -> bool:
    with transaction(durable=False) as session:
        now = clock.now()
        return alert_db.claim_notice(session, notice, now, now + UNDER_WAY)


def _news(notice: AlertNotice) -> AlertNews:
    return AlertNews(
        notice_id=notice.notice_id,
        change=AlertChange(notice.change),
        rule=notice.rule,
        subject=notice.subject,
        headline=notice.headline,
        remedy=notice.remedy,
        since=notice.since,
        changed_at=notice.changed_at,
    )


def _told(notice: AlertNotice) -> None:
    _settled(notice, NoticeState.SENT, "")
    note(notice.channel_id, None)


def _put_off(notice: AlertNotice, trouble: Trouble) -> None:
    attempts, now = notice.attempts + 1, clock.now()
    log.warning("alert_not_sent", channel=notice.channel_id, rule=notice.rule, status=trouble.status, attempts=attempts)
    note(notice.channel_id, trouble)
    if attempts >= LEAST_ATTEMPTS and now - notice.changed_at > GIVEN_UP:
        _settled(notice, NoticeState.FAILED, trouble.sentence)
        return
    with transaction(durable=False) as session:
        due_at = now + pause_after(attempts, trouble.wait)
        told = trouble.sentence[:LONGEST_TEXT]
        alert_db.settle_notice(session, notice.notice_id, due_at=due_at, trouble=told)


def _settled(notice: AlertNotice, state: NoticeState, trouble: str) -> None:
    with transaction(durable=False) as session:
        alert_db.settle_notice(
            session, notice.notice_id, state=state.value, trouble=trouble[:LONGEST_TEXT], tried_at=clock.now()
        )
