"""Flask-Mail as its documentation begins: ``mail.send(message)``, a new connection for each mail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from flask_mail import Mail, Message

from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target


def message() -> Message:
    return Message(SUBJECT, recipients=[TO], body=TEXT, html=HTML, sender=(SENDER_NAME, SENDER))


@contextmanager
def prepared(target: Target) -> Iterator[Mail]:
    app = Flask("peer")
    app.config.update(
        MAIL_SERVER=target.host,
        MAIL_PORT=target.port,
        MAIL_USE_TLS=target.starttls,
        MAIL_USERNAME=target.username or None,
        MAIL_PASSWORD=target.password or None,
    )
    with app.app_context():
        yield Mail(app)


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    with prepared(target) as mail:

        def send(count: int) -> None:
            for _ in range(count):
                mail.send(message())

        yield send
