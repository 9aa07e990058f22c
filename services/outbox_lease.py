"""Who works on queued mail, and for how long: groups under a lease, and the heartbeat that keeps it."""

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from database import outbox_claim_db
from database.engine import transaction
from database.outbox_claim_db import Claim
from database.outbox_db import Priority
from services.smtp_patience import Span
from utils import clock

HEARTBEATS_A_LEASE: Final = 3
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
    with transaction(durable=False) as session:
        outbox_claim_db.renew(session, group.token, group.ids, clock.now() + pace.lease)


class Heartbeat:
    """Keeps the lease of the group in hand while a ``with`` block works, for whoever has no thread that does."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._in_hand: Group | None = None
        self._app = current_app._get_current_object()  # type: ignore[attr-defined]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="mail-heartbeat", daemon=True)

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
        while not self._done.wait(self._pace.lease.total_seconds() / HEARTBEATS_A_LEASE):
            if self._in_hand:
                with self._app.app_context(), suppress(SQLAlchemyError):  # the next one may come in time
                    renew(self._in_hand, self._pace)
