"""A ``Mail`` for a Flask application that used Flask-Mail: the same calls, and Sealpost queues what is sent.

    from mail import Mail, Message      # where this file is, instead of flask_mail

    mail = Mail(app)
    mail.send(Message("Hello", recipients=["ann@example.com"], body="Hello."))

The application shares Sealpost's environment and database. ``session`` is Flask-SQLAlchemy's, of that database: then an
email goes with the transaction that it is sent in. Sealpost decides the From address, so that ``sender`` becomes
Reply-To where there is none; the options of SMTP and the alternatives but HTML are not there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formataddr
from typing import Any, Self

from flask import Flask
from sqlalchemy.orm import scoped_session

from app import sealpost_context
from services import email_service

Address = str | tuple[str, str]


@dataclass
class Attachment:
    filename: str
    content_type: str
    data: bytes


@dataclass
class Message:
    """An email, as Flask-Mail's ``Message`` is made."""

    subject: str = ""
    recipients: list[Address] = field(default_factory=list)
    body: str = ""
    html: str | None = None
    sender: Address | None = None
    cc: list[Address] = field(default_factory=list)
    bcc: list[Address] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    reply_to: Address | None = None
    extra_headers: dict[str, str] = field(default_factory=dict)

    def add_recipient(self, recipient: Address) -> None:
        self.recipients.append(recipient)

    def attach(self, filename: str, content_type: str, data: bytes | str) -> None:
        self.attachments.append(Attachment(filename, content_type, data.encode() if isinstance(data, str) else data))


class Mail:
    """Queues emails. ``send`` raises ValueError for one that cannot be, and SQLAlchemyError without the database."""

    def __init__(self, app: Flask | None = None, session: scoped_session[Any] | None = None) -> None:
        self._session = session
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        app.extensions["mail"] = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: Sealpost keeps the connections."""

    def connect(self) -> Self:
        """For ``with mail.connect() as connection``; there is nothing to open."""
        return self

    def send(self, message: Message) -> str:
        """Promise an email; its id."""
        with sealpost_context(self._session) as session:
            return email_service.queue_email(
                _addresses(message.recipients),
                message.subject,
                message.body,
                message.html,
                cc=_addresses(message.cc),
                bcc=_addresses(message.bcc),
                reply_to=_addresses([each for each in (message.reply_to or message.sender,) if each]),
                headers=message.extra_headers,
                attachments=[
                    email_service.Attachment(each.filename, each.data, each.content_type)
                    for each in message.attachments
                ],
                session=session,
            )

    def send_message(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 - as Message takes them
        """The same, with what a ``Message`` is made from."""
        return self.send(Message(*args, **kwargs))

    @contextmanager
    def record_messages(self) -> Iterator[list[email_service.RecordedMail]]:
        """For tests: what is sent within is recorded as it would have gone out, and not queued."""
        with email_service.record_messages() as outbox:
            yield outbox


def _addresses(given: Sequence[Address]) -> list[str]:
    return [each if isinstance(each, str) else formataddr(each) for each in given]
