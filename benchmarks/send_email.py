"""How many mails a second one caller sends: ours, the specification's own way, and Flask-Mail, to the same sink.

The three take turns in one run, and each sends the same text and HTML. Ours loads and unseals the stored row,
composes, sends, and commits an attempt row that survives a power cut; the others keep nothing.
"""

import json
import logging
import secrets
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

from cryptography.fernet import Fernet
from flask import Flask
from flask_mail import Mail, Message
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from database.engine import db
from database.smtp_db import SmtpConfig
from services import email_service, smtp_configs
from services.smtp_fields import parse_change
from utils.env_utils import get_fernet_key

ROUNDS = 7
MAILS_A_ROUND = 100
TO, SUBJECT = "someone@example.com", "Your order has shipped"
TEXT = "Hello,\n\nyour order has shipped and will arrive tomorrow.\n" * 10
HTML = "<p>Hello,</p><p>your order has shipped and will arrive tomorrow.</p>" * 10


def ours() -> bool:
    return email_service.send_email(TO, SUBJECT, TEXT, HTML)


def as_specified() -> bool:
    """The specification's sample: load the row, decrypt, MIMEMultipart, a new connection for each mail."""
    config = db.session.scalars(select(SmtpConfig).where(SmtpConfig.is_active)).first()
    assert config
    password = Fernet(get_fernet_key()).decrypt(config.smtp_password.encode()).decode() if config.smtp_password else ""
    message = MIMEMultipart("alternative")
    message["Subject"] = SUBJECT
    message["From"] = f"{config.from_name} <{config.from_email}>"
    message["To"] = TO
    message.attach(MIMEText(TEXT, "plain"))
    message.attach(MIMEText(HTML, "html"))
    server = smtplib.SMTP(config.smtp_server, config.smtp_port)
    if password:
        server.login(config.smtp_username, password)
    server.sendmail(config.from_email, TO, message.as_string())
    server.quit()
    db.session.remove()
    return True


def with_flask_mail(mail: Mail) -> Callable[[], bool]:
    def send() -> bool:
        mail.send(Message(SUBJECT, recipients=[TO], body=TEXT, html=HTML, sender="noreply@example.com"))
        return True

    return send


def seconds_for(send: Callable[[], bool]) -> float:
    started = time.perf_counter()
    for _ in range(MAILS_A_ROUND):
        if not send():
            sys.exit("A mail was not accepted, so nothing can be measured.")
    return time.perf_counter() - started


def measure(app: Flask) -> dict[str, list[float]]:
    """Seconds of each round for each way, in turn."""
    ways = {
        "Sealpost send_email": ours,
        "the specification's way": as_specified,
        "Flask-Mail": with_flask_mail(Mail(app)),
    }
    for send in ways.values():
        send()  # imports and first connections are nobody's speed
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, send in ways.items():
            taken[name].append(seconds_for(send))
    return taken


def report(taken: dict[str, list[float]]) -> None:
    ours_first, *peers = taken
    rows = {name: MAILS_A_ROUND / statistics.median(seconds) for name, seconds in taken.items()}
    print(f"{ROUNDS} rounds of {MAILS_A_ROUND} mails each, in turn, to one local sink; medians\n")
    print(f"{'':26}{'mails/s':>9}   {'ratio':>6}")
    for name, rate in rows.items():
        print(f"{name:26}{rate:9.0f}   {rows[ours_first] / rate:6.2f}")
    ratios = {
        peer: statistics.median(b / a for a, b in zip(taken[ours_first], taken[peer], strict=True)) for peer in peers
    }
    print("\n" + json.dumps({"mails_per_second": rows, "ratio_pair_by_pair": ratios}))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sink = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert sink.stdout
        port = int(sink.stdout.readline())
        database = f"sqlite:///{Path(folder) / 'benchmark.db'}"
        app = create_app({"APP_KEY": secrets.token_urlsafe(48), "DATABASE_URL": database}, instance_path=Path(folder))
        logging.disable()  # nobody pays for a terminal
        app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port)
        with app.app_context():
            upgrade()
            row = {"smtp_server": "127.0.0.1", "smtp_port": port, "use_tls": False, "from_email": "noreply@example.com"}
            smtp_configs.save(parse_change(row), actor="benchmark")
            report(measure(app))
            db.engine.dispose()
        sink.terminate()
        sink.wait()


if __name__ == "__main__":
    main()
