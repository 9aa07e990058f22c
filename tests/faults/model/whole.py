"""The whole application against a server: `queue_email` with a worker's turns three hours apart, and `send_email`."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from flask import Flask
from sqlalchemy import select

from app import create_app
from database.attempt_db import EmailAttempt
from database.engine import reading, transaction
from database.outbox_db import IN_HAND, WAITING, OutboxMail, State
from services import email_service
from services.delivery import attempt as delivery
from services.delivery.circuit import Circuits
from services.outbox.reasons import Reason
from services.settings import named
from services.smtp import pool as smtp_pool
from services.smtp.client import Policy
from services.smtp.pool import Pool
from services.smtp.settings import SmtpSettings
from services.worker import groups
from services.worker.lease import Pace
from tests.faults.model.fates import Fate
from tests.faults.model.mails import SENDER, Mail
from tests.faults.model.server import BehavingServer
from tests.faults.model.small_queue import LONGEST, STEP, rounds_for
from utils import clock

APART: Final = timedelta(hours=3)  # longer than any back-off
MOST_TURNS: Final = 100  # of a worker, until nothing is due
_creating = threading.Lock()


class ImpatientPool(Pool):
    """The real one, for tests that cannot wait as long as workers do. A server is one owner, whoever configured it."""

    def send(self, settings: SmtpSettings, policy: Policy, *args: Any, owner: str, **others: Any) -> Any:
        return super().send(*hurried(settings, policy), *args, owner=f"{settings.host} {owner}", **others)

    def send_all(self, settings: SmtpSettings, policy: Policy, *args: Any, owner: str, **others: Any) -> Any:
        return super().send_all(*hurried(settings, policy), *args, owner=f"{settings.host} {owner}", **others)

    def warm(self, settings: SmtpSettings, policy: Policy, *args: Any, owner: str, **others: Any) -> Any:
        return super().warm(*hurried(settings, policy), *args, owner=f"{settings.host} {owner}", **others)


def hurried(settings: SmtpSettings, policy: Policy) -> tuple[SmtpSettings, Policy]:
    """The same, but with no more patience than this thread has."""
    step: Any = _here.step
    values: dict[str, Any] = {"total_seconds": 2 * step, "connect_seconds": step}
    if hasattr(policy, "patience"):
        values["patience"] = None
    return replace(settings, timeout_seconds=step), replace(policy, **values)


class _Here(threading.local):
    """What belongs to the thread: how far its clock is ahead, and how long it waits for an answer."""

    ahead = timedelta(0)
    step = STEP


_here: Final = _Here()
_free: Final[SimpleQueue[Flask]] = SimpleQueue()  # in this process
_numbers: Final = count()


@dataclass(frozen=True, kw_only=True)
class Places:
    """Applications on databases of their own, as many as are in use at once, each made from an empty one."""

    folder: Path
    empty: Path
    app_key: str
    pool: Callable[[], Pool] = ImpatientPool  # in place of the one of each process

    @contextmanager
    def application(self, step: float) -> Iterator[None]:
        """The block is in one of them, whose senders wait ``step`` seconds for an answer."""
        _here.step, _here.ahead = step, timedelta(0)
        try:
            app = _free.get_nowait()
        except Empty:
            app = self._made()
        app.extensions["sealpost_circuits"] = Circuits(lambda: time.monotonic() + _here.ahead.total_seconds())
        with app.app_context():
            yield
        _free.put(app)

    def _made(self) -> Flask:
        with _creating:
            clock.now = _now
            names = vars(delivery)
            if names["pool"] is smtp_pool.pool:
                names["pool"] = self.pool()
            folder = self.folder / f"{os.getpid()}-{next(_numbers)}"
            folder.mkdir()
            shutil.copy(self.empty, folder / "test.db")
            environment = {
                "APP_KEY": self.app_key,
                "APP_ENV": "development",
                "BASE_URL": "http://localhost:5000",
                "DATABASE_URL": f"sqlite:///{folder / 'test.db'}",
                "LOCAL_INBOX_PORT": "0",
            }
            return create_app(environment, instance_path=folder)


def _now() -> datetime:
    return datetime.now(UTC) + _here.ahead


def deliver(
    server: BehavingServer,
    mails: Sequence[Mail],
    step: float,
    *,
    places: Places,
    way: Callable[[BehavingServer, Sequence[Mail]], list[Fate]],
) -> list[Fate]:
    """Have an application in this thread deliver the mails in one of the two ways."""
    with places.application(step):
        return way(server, mails)


def by_queue(server: BehavingServer, mails: Sequence[Mail]) -> list[Fate]:
    """Queue all mails, and let a worker take turns until nothing waits or the rounds are over."""
    _configure(server)
    mail_ids = {}
    with transaction() as session:
        for mail in mails:
            mail_id = email_service.queue_email(
                list(mail.recipients), "Hello", mail.body, headers=mail.fields, session=session
            )
            mail_ids[mail_id] = mail
    end = time.monotonic() + LONGEST * _here.step
    for _ in range(rounds_for(server, mails)):
        _work()
        if not _open(list(mail_ids)) or time.monotonic() > end:
            break
        server.turn()
        _here.ahead += APART
    return [_fate_of(mail_id, mail) for mail_id, mail in mail_ids.items()]


def by_send_email(server: BehavingServer, mails: Sequence[Mail]) -> list[Fate]:
    """Send each mail to one recipient, as callers do who try again until it has gone."""
    _configure(server)
    fates = [Fate(replace(mail, recipients=mail.recipients[:1])) for mail in mails]
    end = time.monotonic() + LONGEST * _here.step
    for _ in range(rounds_for(server, mails)):
        for fate in fates:
            if fate.pending:
                _send(fate)
        if not any(fate.pending for fate in fates) or time.monotonic() > end:
            break
        server.turn()
        _here.ahead += APART
    return fates


def _send(fate: Fate) -> None:
    mail = fate.mail
    try:
        if email_service.send_email(list(mail.recipients), "Hello", mail.body, headers=mail.fields):
            fate.accepted.update(mail.recipients)
    except Exception as error:
        fate.raised = repr(error)
        return
    with reading() as session:
        last = session.scalars(select(EmailAttempt).order_by(EmailAttempt.id.desc()).limit(1)).one()
    fate.trail.append(_told(last))
    fate.unknowns += last.outcome == "unknown"
    if last.outcome == "permanent":
        fate.attempts += 1  # a caller may try once more, for what was learnt
        if fate.attempts > 1:
            fate.dead |= dict.fromkeys(fate.pending, last.reply)


def _configure(server: BehavingServer) -> None:
    values: dict[str, Any] = {"smtp_server": server.host, "smtp_port": server.port, "use_tls": False, "use_ssl": False}
    name = f"Seed {server.behaviour.seed}, {time.monotonic_ns()}"
    named.create_config(name, from_email=SENDER, is_active=True, failover=False, **values)


def _work() -> None:
    pace = Pace()
    groups.sweep(pace)
    for _ in range(MOST_TURNS):
        group = groups.claim_group("model", pace)
        if group is None:
            return
        groups.work_off(group, pace)


def _open(mail_ids: Sequence[str]) -> bool:
    with reading() as session:
        waits = OutboxMail.mail_id.in_(mail_ids), OutboxMail.state.in_((*WAITING, *IN_HAND))
        return session.scalars(select(OutboxMail.id).where(*waits).limit(1)).first() is not None


def _fate_of(mail_id: str, mail: Mail) -> Fate:
    """What the tables say; and the mail is taken out of them, so that no other server gets it."""
    fate = Fate(mail)
    with transaction() as session:
        row = session.scalars(select(OutboxMail).where(OutboxMail.mail_id == mail_id)).one()
        attempts = session.scalars(select(EmailAttempt).where(EmailAttempt.mail_id == mail_id)).all()
        fate.trail = [_told(attempt) for attempt in attempts]
        fate.unknowns = sum(attempt.outcome == "unknown" for attempt in attempts)
        for recipient in row.recipients:
            if recipient["state"] == "accepted":
                fate.accepted[recipient["address"]] += 1
            elif recipient["state"] == "refused" or row.state == State.FAILED:
                gone = row.reason == Reason.UNKNOWN_FATE and recipient["state"] != "refused"
                fate.dead[recipient["address"]] = Reason.UNKNOWN_FATE if gone else f"refused: {row.reason}"
        session.delete(row)
    return fate


def _told(attempt: EmailAttempt) -> str:
    return " ".join(str(part) for part in (attempt.outcome, attempt.phase, attempt.code or attempt.fault) if part)
