"""Sealpost as it runs in production, on a database of its own, with the target as its active configuration."""

import logging
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade

from app import create_app
from benchmarks.message import SENDER, SENDER_NAME, Target
from database.engine import db, transaction
from services import address_key
from services.settings import configs
from services.settings.fields import parse_change


@contextmanager
def application(target: Target, database: str = "", **variables: str) -> Iterator[Flask]:
    """The application, inside its context; without a URL on SQLite in a directory that goes with it.

    ``variables`` are of its environment, where they are to be others.
    """
    with tempfile.TemporaryDirectory(prefix="sealpost-benchmark-") as name:
        folder = Path(name)
        with opened(environment(target, folder, database) | variables, folder) as app:
            prepare(target)
            yield app


def prepare(target: Target) -> None:
    """The tables of the application at hand, the target as its server, and its key of addresses.

    A new installation has that key a minute after its first email, and what was queued before has to be indexed later.
    """
    upgrade()
    with transaction() as session:
        address_key.find_or_make(session)
    configs.save(parse_change(configuration(target)), actor="benchmark")


@contextmanager
def opened(variables: Mapping[str, str], folder: Path) -> Iterator[Flask]:
    """The application for this environment, its database as it is."""
    app = create_app(variables, instance_path=folder)
    logging.disable()  # nobody pays for a terminal
    with app.app_context():
        yield app
        db.engine.dispose()


def environment(target: Target, folder: Path, database: str = "") -> dict[str, str]:
    """Its whole environment, with keys of its own."""
    return {
        "APP_KEY": secrets.token_urlsafe(48),
        "APP_ENV": "production",
        "BASE_URL": "https://shop.example.com",
        "DATABASE_URL": database or f"sqlite:///{folder / 'benchmark.db'}",
        "SMTP_CA_FILE": target.ca_file,
    }


def configuration(target: Target) -> dict[str, object]:
    """The target in the words of the settings form."""
    login = {"smtp_username": target.username, "smtp_password": target.password} if target.username else {}
    return {
        "smtp_server": target.host,
        "smtp_port": target.port,
        "use_tls": target.starttls,
        "from_email": SENDER,
        "from_name": SENDER_NAME,
        **login,
    }
