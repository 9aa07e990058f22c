"""Ours, as a request sends: ``send_email``, which loads and unseals the row, sends, and commits the attempt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.application import application
from benchmarks.message import HTML, SUBJECT, TEXT, TO, Target
from services import email_service
from services.worker import groups
from services.worker.lease import Pace


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    with application(target):
        send_queued(2)  # with which a worker finds out, for every process, what the server keeps of its announcements
        yield send


def send_queued(count: int) -> None:
    for _ in range(count):
        email_service.queue_email(TO, SUBJECT, TEXT, HTML)
    while group := groups.claim_group("benchmark", Pace()):
        groups.work_off(group, Pace())


def send(count: int) -> None:
    for _ in range(count):
        if not email_service.send_email(TO, SUBJECT, TEXT, HTML):
            raise RuntimeError("send_email did not send.")
