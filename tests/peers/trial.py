"""One trial: mails are queued, a worker sends them to a peer, and what arrived is compared with what was meant."""

import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import func, select

from app import create_app
from database.engine import db, reading
from database.outbox_db import WAITING, OutboxMail, State
from services.delivery import attempt
from services.message.draft import Draft, draft, serialise
from services.outbox import promise
from services.outbox.promise import Terms
from services.settings import configs
from services.settings.fields import parse_change
from services.smtp import pool
from services.smtp.dialogue import Dialogue
from services.smtp.habits import Habit, Habits, habits_of
from services.smtp.opening import Opening
from services.smtp.settings import SmtpSettings
from services.worker import threads
from tests import certificates
from tests.patience import PATIENCE
from tests.peers.peer import as_sent
from utils.addresses import is_loopback

SENDER: Final = "shop@sender.example"
_LOOK: Final = 0.05


class Reached(Protocol):
    """A peer that runs."""

    name: str
    host: str
    port: int
    form: dict[str, Any]

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def arrived(self) -> list[bytes]: ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial. ``charged`` counts the attempts beyond the first that mails were charged with."""

    way: str
    connections: int
    mails: int
    sent: int
    charged: int
    once: int  # arrived exactly once
    true: int  # and byte for byte as they were meant


def tried(peer: Reached, mails: int) -> Outcome:
    """Send so many mails to a running peer, as a server process does."""
    with _application(peer) as app:
        stored = configs.find_active()
        assert stored
        assert stored.settings
        settings = stored.settings
        written = [_mail(number) for number in range(mails)]
        meant = {mail.message_id: _bytes(mail, settings) for mail in written}
        with _connections(peer) as counted:
            for mail in written:
                promise.enqueue(mail, Terms())
            _work_off(app)
        found = _arrived(peer, mails)
        with reading() as session:
            states = list(session.execute(select(OutboxMail.state, OutboxMail.attempts)))
        features = _features(settings)
    seen = Counter(_message_id(message) for message in found)
    return Outcome(
        way=_way(features, habits_of(peer.host, peer.port)),
        connections=len(counted),
        mails=mails,
        sent=sum(state == State.SENT for state, _ in states),
        charged=sum(max(0, attempts - 1) for _, attempts in states),
        once=sum(seen[message_id] == 1 for message_id in meant),
        true=sum(meant.get(_message_id(message)) == message for message in found),
    )


def _mail(number: int) -> Draft:
    """Mails of every kind of line: dots, none at the end, long ones, other scripts, empty ones, big ones."""
    body = "\n".join(
        ["Good morning,", "", ".", "..", ".x", "Grüße aus München, 北京 and Łódź.", "y" * 300, " trailing space ", ""]
        + [f"Line {line} of mail {number}" for line in range(number % 50 * (20 if number % 10 == 0 else 1))]
    )
    html = f"<p>Number {number}: Grüße</p>\n.\n" if number % 3 == 0 else None
    return draft(
        f"m{number}@recipient.example",
        f"Mail {number} für Sie",
        body,
        html,
        message_id_domain="sender.example",
    )


def _bytes(mail: Draft, settings: SmtpSettings) -> bytes:
    return as_sent(serialise(mail, attempt.sender_of(settings)))


def _message_id(message: bytes) -> str:
    fields = message.partition(b"\n\n")[0].splitlines()
    return next((field[12:].strip().decode() for field in fields if field[:12].lower() == b"message-id: "), "")


@contextmanager
def _application(peer: Reached) -> Iterator[Flask]:
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        environment = {
            "APP_KEY": secrets.token_urlsafe(48),
            "APP_ENV": "production",
            "BASE_URL": "https://shop.example.com",
            "DATABASE_URL": f"sqlite:///{name}/peers.db",
            "SMTP_CA_FILE": str(certificates.ca_file()),
        }
        app = create_app(environment, instance_path=Path(name))
        with app.app_context():
            upgrade()
            place = {"smtp_server": peer.host, "smtp_port": peer.port, "from_email": SENDER, **peer.form}
            configs.save(parse_change(place), actor="peers")
            yield app
            pool.pool.close()
            db.engine.dispose()


@contextmanager
def _connections(peer: Reached) -> Iterator[list[object]]:
    """Every connection that is begun to the peer's port over IPv4 meanwhile."""
    begun: list[object] = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "socket.connect" and isinstance(arguments[1], tuple):
            host, port = arguments[1][:2]
            if port == peer.port and is_loopback(host) and ":" not in host:
                begun.append(arguments[0])

    sys.addaudithook(hear)  # there is no way to take it off again
    yield begun
    listening.clear()


def _work_off(app: Flask) -> None:
    started = threads.start(app)
    end = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end and _waiting():
            time.sleep(_LOOK)
    finally:
        started.stop()


def _waiting() -> int:
    with reading() as session:
        return session.scalar(
            select(func.count()).where(OutboxMail.state.in_([*WAITING, State.LEASED, State.TRANSMITTING]))
        ) or 0  # fmt: skip


def _arrived(peer: Reached, mails: int) -> list[bytes]:
    """What is there once no more comes: some servers deliver after they have answered."""
    end, found = time.monotonic() + PATIENCE, peer.arrived()
    while len(found) < mails and time.monotonic() < end:
        time.sleep(_LOOK)
        found = peer.arrived()
    time.sleep(1)  # for what would be one too many
    return peer.arrived()


def _features(settings: SmtpSettings) -> dict[str, str]:
    talk = Dialogue(settings, None)
    with talk.within(PATIENCE):
        features = Opening(talk, settings, attempt.policy_for(settings)).run()
    talk.drop()
    return features


def _way(features: dict[str, str], habits: Habits) -> str:
    """The way that was chosen, and how it was found out."""
    found = {
        "one command at a time: no PIPELINING in EHLO": "PIPELINING" not in features,
        "one command at a time: PIPELINING in EHLO, but not kept": habits.lacks(Habit.PIPELINING),
        "PIPELINING, nothing behind the dot: it refused once what came there": habits.lacks(Habit.BEHIND_DOT),
        "PIPELINING, behind the dot too: in EHLO, and kept; no CHUNKING": "CHUNKING" not in features,
        "PIPELINING, by DATA: CHUNKING in EHLO, but not kept": habits.lacks(Habit.CHUNKING),
        "CHUNKING, whole emails at once: in EHLO, and a refused chunk is swallowed": habits.shows(Habit.SWALLOWS),
    }
    return next((way for way, is_so in found.items() if is_so), "PIPELINING: a refused chunk is not swallowed")
