"""The specification's own way: load the row, decrypt, MIMEMultipart, a new connection for each mail."""

import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from cryptography.fernet import Fernet
from sqlalchemy import select

from benchmarks.application import application
from benchmarks.message import HTML, SUBJECT, TEXT, TO, Target
from database.engine import db
from database.smtp_db import SmtpConfig
from utils.env_utils import get_fernet_key


@contextmanager
def sender(target: Target) -> Iterator[Callable[[int], None]]:
    with application(target):
        yield send


def send(count: int) -> None:
    for _ in range(count):
        send_one()


def send_one() -> None:
    config = db.session.scalars(select(SmtpConfig).where(SmtpConfig.is_active)).one()
    password = Fernet(get_fernet_key()).decrypt(config.smtp_password.encode()).decode() if config.smtp_password else ""
    message = MIMEMultipart("alternative")
    message["Subject"] = SUBJECT
    message["From"] = f"{config.from_name} <{config.from_email}>"
    message["To"] = TO
    message.attach(MIMEText(TEXT, "plain"))
    message.attach(MIMEText(HTML, "html"))
    server = smtplib.SMTP(config.smtp_server, config.smtp_port)
    if config.use_tls:
        server.starttls()
    if password:
        server.login(config.smtp_username, password)
    server.sendmail(config.from_email, TO, message.as_string())
    server.quit()
    db.session.remove()
