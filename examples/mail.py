"""A ``Mail`` for a Flask application that used Flask-Mail: the same calls, and Sealpost queues what is sent.

    from mail import Mail, Message      # where this file is, instead of flask_mail

    mail = Mail(app)
    mail.send(Message("Hello", recipients=["ann@example.com"], body="Hello."))

The application shares Sealpost's environment and database. ``session`` is Flask-SQLAlchemy's, of that database: then an
email goes with the transaction that it is sent in. Sealpost decides the From address, so that ``sender`` becomes
Reply-To where there is none; what it does not take is a ValueError, and so is what cannot be an email.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formataddr
from mimetypes import guess_type
from typing import Any, Self

from flask import Flask
from sqlalchemy.orm import scoped_session

from app import sealpost_context
from services import email_service

Address = str | tuple[str, str]
NOT_TAKEN = ("date", "mail_options", "rcpt_options")  # which Sealpost sets itself


@dataclass
class Attachment:
    """A file to send along. ``disposition`` says nothing; with a Content-ID among ``headers`` it is of the HTML."""

    filename: str | None = None
    content_type: str | None = None
    data: bytes | str | None = None
    disposition: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def taken(self) -> email_service.Attachment:
        if self.data is None:
            raise ValueError("attachments: Pass the data of the file.")
        kind = self.content_type or guess_type(self.filename or "")[0]
        content_id = {name.lower(): value for name, value in self.headers.items()}.get("content-id", "")
        return email_service.Attachment(
            self.filename or "attachment",
            self.data.encode() if isinstance(self.data, str) else self.data,
            kind or ("text/plain" if isinstance(self.data, str) else "application/octet-stream"),
            content_id.strip("<>"),
        )


@dataclass
class Message:
    """An email, as Flask-Mail's ``Message`` is made. ``charset`` says nothing: all is UTF-8."""

    subject: str = ""
    recipients: list[Address] | None = None
    body: str | None = None
    html: str | None = None
    alts: Mapping[str, str] | Iterable[tuple[str, str]] | None = None
    sender: Address | None = None
    cc: list[Address] | None = None
    bcc: list[Address] | None = None
    attachments: list[Attachment] | None = None
    reply_to: Address | None = None
    date: float | None = None
    charset: str | None = None
    extra_headers: dict[str, str] | None = None
    mail_options: list[str] | None = None
    rcpt_options: list[str] | None = None

    def __post_init__(self) -> None:
        self.recipients, self.attachments = list(self.recipients or ()), list(self.attachments or ())
        self.alts = dict(self.alts or {})
        self.html = self.html or self.alts.pop("html", None)

    def add_recipient(self, recipient: Address) -> None:
        self.recipients = [*(self.recipients or ()), recipient]

    def attach(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as Attachment takes them
        self.attachments = [*(self.attachments or ()), Attachment(*args, **kwargs)]


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
        if foreign := [name for name in NOT_TAKEN if getattr(message, name)] + list(dict(message.alts or {})):
            raise ValueError(
                f"{foreign[0]}: Leave it out. Sealpost sets dates and options, and takes HTML beside text."
            )
        with sealpost_context(self._session) as session:
            return email_service.queue_email(
                _addresses(message.recipients),
                message.subject,
                message.body or "",
                message.html,
                cc=_addresses(message.cc),
                bcc=_addresses(message.bcc),
                reply_to=_addresses([each for each in (message.reply_to or message.sender,) if each]),
                headers=message.extra_headers,
                attachments=[each.taken() for each in message.attachments or ()],
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


def _addresses(given: Sequence[Address] | None) -> list[str]:
    return [each if isinstance(each, str) else formataddr(each) for each in given or ()]
