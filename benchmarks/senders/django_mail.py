"""Django: ``send_messages`` over a connection that was opened before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import django
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target


def message() -> EmailMultiAlternatives:
    made = EmailMultiAlternatives(SUBJECT, TEXT, f"{SENDER_NAME} <{SENDER}>", [TO])
    made.attach_alternative(HTML, "text/html")
    return made


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    settings.configure(
        EMAIL_HOST=target.host,
        EMAIL_PORT=target.port,
        EMAIL_USE_TLS=target.starttls,
        EMAIL_HOST_USER=target.username,
        EMAIL_HOST_PASSWORD=target.password,
    )
    django.setup()
    connection = get_connection()
    connection.open()

    def send(count: int) -> None:
        if connection.send_messages([message() for _ in range(count)]) != count:
            raise RuntimeError("Django did not send every mail.")

    yield send
    connection.close()
