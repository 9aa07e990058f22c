"""The durable design that comes to mind first: an ORM row, a fresh connection, one mail and one row at a time."""

import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

from sqlalchemy import Engine, Text, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.message import HTML, SENDER, SENDER_NAME, SUBJECT, TEXT, TO, Target


class Base(DeclarativeBase):
    pass


class QueuedMail(Base):
    __tablename__ = "queued_mail"

    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(default="queued", index=True)
    recipient: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)


@contextmanager
def sender(target: Target, database: str) -> Iterator[Callable[[int], None]]:
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _as_durable_as_ours)
    Base.metadata.create_all(engine)

    def send(count: int) -> None:
        for _ in range(count):
            enqueue(engine)
        for _ in range(count):
            send_next(engine, target)

    yield send
    engine.dispose()


def enqueue(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(QueuedMail(recipient=TO, subject=SUBJECT, body=TEXT, html=HTML))
        session.commit()


def send_next(engine: Engine, target: Target) -> None:
    with Session(engine) as session:
        mail = session.scalars(select(QueuedMail).where(QueuedMail.state == "queued").limit(1)).one()
        message = MIMEMultipart("alternative")
        message["Subject"] = mail.subject
        message["From"] = f"{SENDER_NAME} <{SENDER}>"
        message["To"] = mail.recipient
        message.attach(MIMEText(mail.body, "plain"))
        message.attach(MIMEText(mail.html, "html"))
        server = smtplib.SMTP(target.host, target.port)
        # Its documented way without a context verifies nothing, and reading all authorities would cost it 20 ms more.
        server.starttls(context=_UNVERIFIED)
        server.login(target.username, target.password)
        server.sendmail(SENDER, [mail.recipient], message.as_string())
        server.quit()
        mail.state = "sent"
        session.commit()


_UNVERIFIED = ssl._create_unverified_context()


def _as_durable_as_ours(connection: Any, _record: object) -> None:  # noqa: ANN401 - any driver's connection
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
