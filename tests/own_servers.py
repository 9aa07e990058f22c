"""Servers of accounts for tests: a row as a save leaves it, whatever a save would say of a server on this machine."""

import random
import socket
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import delete, update

from database.engine import transaction
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services.settings import configs, sealing
from services.settings.personal_route import OWN_NAME
from services.smtp.settings import Security, SmtpSettings
from utils import clock
from utils.secret import Secret

PORT: Final = 2525  # one of the few that accounts may use
# The variable with which accounts may have servers on this machine.
PLACES: Final = {"SMTP_ALLOWED_CIDRS_ACCOUNTS": "127.0.0.0/8"}


def free_host() -> str:
    """A loopback address at which nobody listens on that port; every address of 127.0.0.0/8 is this machine's."""
    while True:
        host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
        with socket.socket() as probe:
            try:
                probe.bind((host, PORT))
            except OSError:
                continue
        return host


def bring(account_id: int, host: str, port: int, *, login: tuple[str, str] | None = None, **values: Any) -> int:
    """Let an account have this server, without encryption, as its own; the id of the row."""
    settings = SmtpSettings(
        host=host, port=port, security=Security.NONE, from_email=f"own{account_id}@accounts.example", timeout_seconds=2
    )
    if login:
        settings = replace(settings, username=login[0], password=Secret(login[1]))
    settings = replace(settings, **values)
    now = clock.now()
    with transaction() as session:
        row = SmtpConfig(account_id=account_id, name=OWN_NAME, name_key="", is_active=True, failover=True)
        row.created_at = row.updated_at = now
        configs._write(row, settings)
        sealing.seal(row, settings, kept=())
        session.add(row)
        session.flush()
        return row.id


def forget(account_id: int) -> None:
    """Let an account have no server of its own."""
    with transaction() as session:
        session.execute(delete(SmtpConfig).where(SmtpConfig.account_id == account_id))


def change(config_id: int, **values: Any) -> None:
    """Write columns of a row, behind everybody's back."""
    with transaction() as session:
        session.execute(update(SmtpConfig).where(SmtpConfig.id == config_id).values(**values))


def decide(account_id: int, **values: Any) -> None:
    """Write columns of an account."""
    with transaction() as session:
        session.execute(update(Account).where(Account.id == account_id).values(**values))


def row_of(config_id: int) -> SmtpConfig:
    with transaction() as session:
        row = session.get(SmtpConfig, config_id)
    assert row
    return row
