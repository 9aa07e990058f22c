"""Stored configurations under one key, and the application under another: what the tests of a rotation begin with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import text

from app import create_app
from database.engine import db, reading, transaction
from services.settings import configs
from services.settings.fields import parse_change
from services.settings.sealing import StoredConfig

NEW_KEY = "An0ther-K3y-9vXqLw2RbT7yNc5MdJ8hPf"
ROWS = 6

Environment = dict[str, str]


def password_of(number: int) -> str:
    return f"pässwörd number {number} ‽" if number != ROWS else ""  # the last is a server that needs no sign-in


def store(number: int) -> StoredConfig:
    login = {"smtp_username": f"user{number}", "smtp_password": password_of(number)} if password_of(number) else {}
    fields = {"name": f"Server {number}", "smtp_server": f"smtp{number}.example.com", "from_email": "a@example.com"}
    return configs.create(parse_change({**fields, **login, "is_active": number == 1}))


def store_rows() -> None:
    """Six configurations; the first is active and the even ones are verified."""
    stored = [store(number) for number in range(1, ROWS + 1)]
    for each in stored[1::2]:
        configs.mark_tested(each.settings, None, each.row.id)


@contextmanager
def under(environment: Environment, folder: Path, key: str, *previous: str) -> Iterator[Flask]:
    """An application with this key and these previous ones on the same database."""
    changed = {**environment, "APP_KEY": key, "APP_KEY_PREVIOUS": ",".join(previous)}
    app = create_app(changed, instance_path=folder)
    with app.app_context():
        yield app
        db.engine.dispose()


def everything() -> list[StoredConfig]:
    return sorted(configs.search(), key=lambda stored: stored.row.id)


def passwords() -> list[str]:
    return [stored.settings.password.reveal() for stored in everything()]


def sql(statement: str, **values: Any) -> None:
    with transaction() as session:
        session.execute(text(statement), values)


def raw_rows() -> list[Any]:
    with reading() as session:
        return list(session.execute(text("SELECT * FROM smtp_config ORDER BY id")).mappings())


ALL_PASSWORDS = [password_of(number) for number in range(1, ROWS + 1)]
