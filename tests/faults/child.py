"""What runs in processes of their own, to be killed: web processes, which queue mail and send it, and bare workers.

What a web process was asked for, and what it has promised, it notes outside the database: a number before the
call, the mail's id once the transaction is committed.
"""

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Final

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app import create_app
from database.engine import transaction
from services import email_service
from services.worker import threads
from services.worker.lease import Pace
from tests.faults.points import Point
from utils import clock

LOG: Final = "children.log"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an application lives: its settings, its instance folder, and how many seconds its clock is ahead."""

    environment: dict[str, str]
    folder: Path
    pace: Pace
    clock: "Synchronized[float] | None" = None

    def set_clock(self) -> None:
        """Let this process have the clock of this place."""
        ahead = self.clock
        if ahead is not None:
            clock.now = lambda: datetime.now(UTC) + timedelta(seconds=ahead.value)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The mails that one web process after the other is to queue: ``count`` of them, in the name of ``name``."""

    name: str
    count: int

    def recipients(self, number: int) -> list[str]:
        """Whom a mail is for, one to three people; it tells one mail from every other."""
        people = 3 if number % 50 == 0 else 2 if number % 10 == 0 else 1
        return [f"{self.name}-{number}-{person}@example.com" for person in range(people)]

    def notes(self, folder: Path) -> Path:
        return folder / f"{self.name}.notes"


def send(place: Place) -> None:
    """A worker without a web server, until it is killed."""
    threads.start(begin(place), pace=place.pace)
    wait_for_ever()


def die_at(place: Place, orders: Orders, point: Point, nth: int) -> None:
    """A web process that is killed when it gets to ``point`` for the n-th time."""
    point.arm(nth)
    serve(place, orders)


def serve(place: Place, orders: Orders) -> None:
    """A web process: a worker beside the requests, of which each queues one mail. Goes on where the last one died."""
    app = begin(place)
    threads.start(app, pace=place.pace)
    with app.app_context():
        queue(place, orders)
    wait_for_ever()


def queue(place: Place, orders: Orders) -> None:
    """Queue the mails of ``orders`` that nobody has been asked for yet."""
    notes = orders.notes(place.folder)
    first = 1 + notes.read_text().count("asked")
    file = os.open(notes, os.O_WRONLY | os.O_APPEND)
    for number in range(first, orders.count + 1):
        os.write(file, b"asked %d\n" % number)
        try:
            mail_id = queue_one(orders, number)
        except SQLAlchemyError:
            continue  # the caller is told, so nothing is promised
        os.write(file, f"promised {number} {mail_id}\n".encode())
    os.close(file)


def begin(place: Place) -> Flask:
    """The application; what this process prints goes to a file."""
    output = os.open(place.folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    place.set_clock()
    return create_app(place.environment, instance_path=place.folder)


def queue_one(orders: Orders, number: int) -> str:
    """Queue a mail of ``orders``; its id. Raises SQLAlchemyError, and then nothing is promised."""
    to, subject = orders.recipients(number), f"Order {number}"
    if number % 3:
        return email_service.queue_email(to, subject, "Thank you.", priority="normal" if number % 2 else "bulk")
    with transaction() as session:  # beside a business change
        return email_service.queue_email(to, subject, "Thank you.", session=session)


def wait_for_ever() -> None:
    """Until it is killed."""
    while True:
        signal.pause()
