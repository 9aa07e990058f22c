"""Opens of tracked mails. A request for a pixel is only remembered; a thread writes what was, a few times a minute.

So whoever asks learns nothing, neither from the answer nor from its time: known and unknown ids cost the same, with the
database locked or away. What is remembered has bounds, and is written as one row of a mail and hour: a flood costs
little. What a killed process had not written yet is lost; nobody was promised it.
"""

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from database import mail_open_db
from database.engine import reading, transaction
from database.mail_open_db import Opens, TrackedMail
from services.outbox import machine_opens
from utils import clock
from utils.json_shapes import Moment
from utils.listeners import Listeners

LIFE: Final = timedelta(days=30)  # after which a pixel tells nothing any more
EARLY: Final = timedelta(seconds=10)  # after a server took the mail: nobody reads so fast, and scanners do
MOST_AN_HOUR: Final = 1000  # of one mail that are counted
MOST_KEPT: Final = 10_000  # pixels and hours that wait to be written
_TOGETHER: Final = 500  # in one transaction

new_open: Final = Listeners()  # told when there is something to write


@dataclass(frozen=True, kw_only=True)
class OpensData:
    """When a tracked mail was opened. ``by_machines`` of the ``count`` may have been proxies, prefetchers or scanners;
    it is ``reliable`` that somebody opened it if not all were.
    """

    first: Moment | None
    last: Moment | None
    count: int
    by_machines: int
    reliable: bool


@dataclass
class _Noted:
    """What is to be written of one pixel and hour."""

    first_at: datetime
    last_at: datetime
    times: int = 0
    by_machines: int = 0

    def add(self, other: "_Noted") -> None:
        self.first_at, self.last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        self.times += other.times
        self.by_machines += other.by_machines


_Key = tuple[str, datetime]


class _Notes:
    """What was asked for in this process and is not written yet."""

    def __init__(self) -> None:
        self._noted: dict[_Key, _Noted] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self.forget)

    def keep(self, new: Iterable[tuple[_Key, _Noted]]) -> None:
        with self._lock:
            for key, noted in new:
                known = self._noted.get(key)
                if known is not None:
                    known.add(noted)
                elif len(self._noted) < MOST_KEPT:
                    self._noted[key] = noted

    def take(self) -> dict[_Key, _Noted]:
        with self._lock:
            taken, self._noted = self._noted, {}
        return taken

    def __len__(self) -> int:
        return len(self._noted)

    def forget(self) -> None:
        """What the parent of a fork has noted, the parent writes; another of its threads may have held the lock."""
        self._noted, self._lock = {}, threading.Lock()


_notes: Final = _Notes()


def note(pixel_id: str, headers: Mapping[str, str], address: str) -> None:
    """Remember that this pixel was asked for just now. Looks nothing up, and never waits for the database."""
    now = clock.now()
    by_machines = int(machine_opens.is_one(headers, address))
    _notes.keep([((pixel_id, _hour_of(now)), _Noted(now, now, 1, by_machines))])
    new_open.tell()


def write_out() -> int:
    """Write what was noted; how many mails and hours that were of. What cannot be written now is kept."""
    noted = _notes.take()
    written, keys = 0, list(noted)
    while keys:
        batch, keys = {key: noted[key] for key in keys[:_TOGETHER]}, keys[_TOGETHER:]
        try:
            written += _write(batch)
        except BaseException:
            _notes.keep([*batch.items(), *((key, noted[key]) for key in keys)])
            raise
    return written


def kept() -> int:
    """How many pixels and hours wait to be written."""
    return len(_notes)


def forget_all() -> None:
    """Write nothing of what was noted."""
    _notes.forget()


def of_mail(session: Session, mail_id: str) -> OpensData:
    """The opens of a mail that is tracked."""
    found = mail_open_db.of_mail(session, mail_id)
    return OpensData(
        first=found.first_at,
        last=found.last_at,
        count=found.times,
        by_machines=found.by_machines,
        reliable=found.times > found.by_machines,
    )


def _write(batch: Mapping[_Key, _Noted]) -> int:
    """Most of a flood ends here without a transaction: it names no mail, or one whose count is full."""
    with reading() as session:
        mails = {mail.pixel: mail for mail in mail_open_db.tracked(session, [pixel for pixel, _ in batch])}
        found = [(mails[pixel], hour, noted) for (pixel, hour), noted in batch.items() if pixel in mails]
        counted = [_counted(session, *each) for each in found]
    wanted = [each for each in counted if each[2].times]
    if wanted:
        with transaction(durable=False) as session:
            for mail, hour, opens in wanted:
                mail_open_db.note(session, mail.mail_id, hour, opens)
    return len(wanted)


def _counted(session: Session, mail: TrackedMail, hour: datetime, noted: _Noted) -> tuple[TrackedMail, datetime, Opens]:
    """What of the opens counts: none of an old mail, and no more than there is room for in their hour."""
    is_over = noted.first_at > (mail.sent_at or mail.created_at) + LIFE
    room = 0 if is_over else MOST_AN_HOUR - mail_open_db.times_in(session, mail.mail_id, hour)
    times = max(0, min(noted.times, room))
    is_early = mail.sent_at is None or noted.first_at < mail.sent_at + EARLY
    by_machines = times if is_early else min(noted.by_machines, times)
    return mail, hour, Opens(noted.first_at, noted.last_at, times, by_machines)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
