"""What the tests of accounts' own servers ask of the API, and what they look at and change behind its back."""

import os
from collections.abc import Callable

from sqlalchemy import select, update
from werkzeug.test import TestResponse

from database.engine import reading, transaction
from database.policy_db import PersonalPolicy, ServerTemplate
from database.sender_db import AccountSender
from database.smtp_db import SmtpConfig
from database.user_db import Account
from services.accounts import api_tokens
from services.accounts.api_tokens import Scope
from services.settings.fields import MASK
from services.settings.usable_senders import key_of
from utils import clock

SETTINGS = "/api/smtp/settings"
TEST = "/api/smtp/test"
# Another one in each process of pytest-xdist, since the port is the same.
HOST = f"127.71.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}.1"
PASSWORD = "app-passwörd-C4nary"
OWN = {"host": HOST, "port": 2525, "secure": False, "user": "bob@example.com", "pass": PASSWORD}
REFUSED: dict[str, tuple[object, ...]] = {
    "host": (None, "", "  ", 5, True, [], {}, "a b", "a\nb", "http://a.b", "a" * 300),
    "port": (None, 0, -1, 65536, True, False, 587.5, "587", "", [], {}, 1e300),
    "user": (None, "", "   ", 5, True, [], {}, "a\r\nb", "a" * 256),
    "pass": (None, "", MASK, 5, True, [], {}, "a\nb", "a\0b", "x" * 1025),
    "secure": ("true", 1, 0, "", [], {}),
    "fromEmail": ("", "x", 5, True, "a@b@c", "a@example.com, b@example.com", "a\n@b.com"),
    "fromName": (5, True, "a\nb", "x" * 256),
    "replyTo": (5, True, "x", "a@b\n", "a@example.com,b@example.com"),
    "version": (0, "1", True, 2**31),
}
CALLS = [("GET", SETTINGS), ("POST", SETTINGS), ("DELETE", SETTINGS), ("POST", TEST)]
Post = Callable[..., TestResponse]


def bearer_of(account_id: int, *scopes: Scope) -> dict[str, str]:
    text, _ = api_tokens.create(account_id, "own", scopes=scopes or (Scope.SETTINGS,))
    return {"Authorization": f"Bearer {text}"}


def rows() -> list[SmtpConfig]:
    with reading() as session:
        return list(session.scalars(select(SmtpConfig).where(SmtpConfig.account_id.is_not(None))))


def set_policy(**values: object) -> None:
    with transaction() as session:
        session.add(PersonalPolicy(updated_at=clock.now(), hosts=values.pop("hosts", ""), **values))


def decide(account_id: int, decision: str) -> None:
    with transaction() as session:
        session.execute(update(Account).where(Account.id == account_id).values(personal_smtp=decision))


def set_template(domain: str, host: str, port: int, security: str) -> None:
    with transaction() as session:
        session.add(ServerTemplate(domain=domain, host=host, port=port, security=security, created_at=clock.now()))


def confirm(account_id: int, email: str) -> None:
    with transaction() as session:
        row = AccountSender(account_id=account_id, email=email, email_key=key_of(email), created_at=clock.now())
        row.confirmed_at = clock.now()
        session.add(row)
