"""Ours, as a request sends: ``send_email``, which loads and unseals the row, sends, and commits the attempt."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.application import application
from benchmarks.message import HTML, SUBJECT, TEXT, TO, Target
from services import email_service


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    with application(target):
        yield send


def send(count: int) -> None:
    for _ in range(count):
        if not email_service.send_email(TO, SUBJECT, TEXT, HTML):
            raise RuntimeError("send_email did not send.")
