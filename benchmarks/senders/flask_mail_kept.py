"""Flask-Mail with its documented way for many mails: ``with mail.connect()``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.message import Target
from benchmarks.senders.flask_mail_fresh import message, prepared


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    with prepared(target) as mail, mail.connect() as connection:

        def send(count: int) -> None:
            for _ in range(count):
                connection.send(message())

        yield send
