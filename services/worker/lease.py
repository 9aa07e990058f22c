"""Who works on queued mail, and for how long: groups under a lease, and the heartbeat that keeps it."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self

import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from database import outbox_claim_db
from database.engine import transaction
from database.outbox_claim_db import Claim
from database.outbox_db import Priority
from services.smtp import patience
from services.smtp.patience import Span
from utils import clock, ending, incidents

log = structlog.get_logger(__name__)

HEARTBEATS_A_LEASE: Final = 3
LOOK_SECONDS: Final = 0.2  # between two looks at whether the process is to stop
RECEIPT_SECONDS: Final = 4.5  # that a stop waits all the same where a message is out: its fate would be unknown
STOP_SECONDS: Final = 6.0  # of a stop, with writing down what became of the mails; less than a process has for its end
SILENT_SECONDS: Final = 0.5  # without an answer, after which a server is waited for by who could do something else
GROUP_SECONDS: Final = 12 * 60.0  # after which no mail of a group is begun any more


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long a worker holds mail without a sign of life, and how long a mail of unknown fate rests."""

    lease: timedelta = timedelta(seconds=30)
    cool_down: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Mails claimed together under one token; whoever ends their ``span`` ends the work on them, from any thread."""

    worker: str
    token: str
    claims: Sequence[Claim]
    span: Span = field(default_factory=lambda: Span(GROUP_SECONDS), compare=False, repr=False)

    @property
    def ids(self) -> list[int]:
        return [claim.id for claim in self.claims]

    @property
    def mail_ids(self) -> list[str]:
        return [claim.mail_id for claim in self.claims]

    @property
    def is_security(self) -> bool:
        return self.claims[0].priority == Priority.SECURITY


def worker_name() -> str:
    """A name for one worker that no other has."""
    return f"{os.uname().nodename[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def give_back(group: Group) -> None:
    """Give back a group that was not begun."""
    with transaction() as session:
        outbox_claim_db.release(session, group.token, group.ids, clock.now())


def renew(group: Group, pace: Pace) -> None:
    """The heartbeat of a group under way."""
    # What a power cut takes back of it, the next heartbeat gives again.
    with transaction(durable=False) as session:
        outbox_claim_db.renew(session, group.token, group.ids, clock.now() + pace.lease)


def is_in_vain(group: Group, since: float) -> bool:
    """Whether a stop that began ``since`` then is to wait for this group no longer: its server says nothing.

    Where a message is out, whose fate would be unknown, it is waited for a little longer.
    """
    span, waits_for_receipts = group.span, time.monotonic() - since < RECEIPT_SECONDS
    return span.silent_seconds >= patience.STOP_SILENCE and not (waits_for_receipts and span.is_waiting_for_receipt)


class Heartbeat:
    """Keeps the lease of the group in hand while a ``with`` block works, for whoever has no thread that does.

    Once ``is_stopping`` says so, it ends the group's conversation if its server is silent, and sees to it that this
    process ends, which may have heard of the stop by nothing else. While the server is silent otherwise, ``in_silence``
    is told, again and again.
    """

    def __init__(
        self,
        pace: Pace,
        is_stopping: Callable[[], bool] = lambda: False,
        in_silence: Callable[[Group], None] = lambda _: None,
    ) -> None:
        self._pace = pace
        self._is_stopping = is_stopping
        self._in_silence = in_silence
        self._in_hand: Group | None = None
        self._app = current_app._get_current_object()  # type: ignore[attr-defined]
        self._done = threading.Event()
        self._thread = threading.Thread(target=incidents.watched(self._beat), name="mail-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def hold(self, group: Group) -> None:
        """This one is in hand now."""
        self._in_hand = group

    def _beat(self) -> None:
        between = self._pace.lease.total_seconds() / HEARTBEATS_A_LEASE
        due = time.monotonic() + between
        while not self._done.wait(max(0.0, min(LOOK_SECONDS, due - time.monotonic()))):
            group = self._in_hand
            if self._is_stopping():
                self._end_in_time(group)
            elif group and group.span.silent_seconds >= SILENT_SECONDS:
                self._in_silence(group)
            if time.monotonic() < due:
                continue
            due += between
            if group:
                self._renew(group)

    def _end_in_time(self, group: Group | None) -> None:
        ending.begin()
        left = ending.seconds_left(STOP_SECONDS)
        if group and (not left or is_in_vain(group, since=time.monotonic() + left - STOP_SECONDS)):
            group.span.end()

    def _renew(self, group: Group) -> None:
        """Put the lease off, or leave that to the next beat, which may come in time."""
        try:
            with self._app.app_context():
                renew(group, self._pace)
        except SQLAlchemyError as failure:
            log.warning("mail_lease_not_renewed", kind=type(failure).__name__, mails=group.mail_ids)
        except Exception as error:
            incidents.report("mail_lease_not_renewed", error, mails=group.mail_ids)
