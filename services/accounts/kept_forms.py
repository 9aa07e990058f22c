"""What was typed into a form whose session had ended: kept sealed for half an hour, for the account that had it.

Nothing secret is kept. Whoever gets it back signs in again as the same person, in the browser that has the handle.
"""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.fernet import Fernet

from database import kept_form_db
from database.engine import reading, transaction
from database.kept_form_db import KeptForm
from utils import clock
from utils.encryption_utils import CannotDecrypt, digest, known_keys, opened, subkey
from utils.env_utils import get_fernet_key

LIFE: Final = timedelta(minutes=30)
MOST: Final = 5  # of an account at a time: nobody types more at once, and a script may not fill the table
_PURPOSE: Final = "kept-form-v1"
_HANDLE_BYTES: Final = 32
_SECRET: Final = ("password", "key", "token", "code", "proof", "secret")  # ends of the names of such fields
_REMOVES: Final = "remove_"  # a checkbox
_PRIVATE_KEY: Final = "PRIVATE KEY-----"  # in whatever field somebody pasted it
# What a page sends along with what was typed, or what a button says.
_NOT_TYPED: Final = frozenset({"version", "username", "session", "saved", "send", "apply", "page"})


@dataclass(frozen=True)
class Typed:
    """A form as it was sent: the page that it stands on, its fields, and the names of those that are secret.

    ``is_stored``: it was kept until its sender came back; otherwise it goes into the answer, and nowhere else.
    """

    page: str
    fields: Mapping[str, str]
    left_out: frozenset[str]
    kept_at: datetime
    is_stored: bool = True

    @property
    def says_something(self) -> bool:
        """Whether somebody typed any of it, and not only pressed a button."""
        return any(value for name, value in self.fields.items() if name not in _NOT_TYPED)


def keep(account_id: int, page: str, sent: Mapping[str, str], handle: str = "") -> str | None:
    """Keep what was sent to a form of this page; the browser's handle, or None if nothing was typed.

    A browser that has a ``handle`` already goes on with it: so it finds the forms of several tabs, one of each page.
    """
    typed = without_secrets(page, sent)
    if not typed.says_something:
        return None
    handle, now = handle or secrets.token_urlsafe(_HANDLE_BYTES), typed.kept_at
    said = {"account": account_id, "page": page, "fields": typed.fields, "left_out": sorted(typed.left_out)}
    content = Fernet(_key(get_fernet_key())).encrypt(json.dumps(said).encode()).decode()
    row = KeptForm(handle_hash=_hash(handle, page), account_id=account_id, content=content, kept_at=now)
    with transaction() as session:
        kept_form_db.delete_before(session, now - LIFE)
        kept_form_db.delete_one(session, row.handle_hash)
        session.add(row)
        kept_form_db.delete_all_but_newest(session, account_id, MOST)
    return handle


def without_secrets(page: str, sent: Mapping[str, str]) -> Typed:
    """What was sent to a form of this page, without what is secret, which is only named."""
    left_out = {name for name, value in sent.items() if value and _is_secret(name, value)}
    fields = {name: value for name, value in sent.items() if not _is_secret(name, value)}
    return Typed(page, fields, frozenset(left_out - {"csrf_token"}), clock.now(), is_stored=False)


def find(handle: str, page: str, account_id: int) -> Typed | None:
    """What was kept of this page for a browser, if it was of this account and not longer ago than half an hour."""
    with reading() as session:
        row = kept_form_db.find(session, _hash(handle, page), account_id, clock.now() - LIFE)
    if row is None:
        return None
    try:
        said = json.loads(opened(row.content, [_key(key) for key in known_keys().values()]))
    except CannotDecrypt:
        return None
    if (said["account"], said["page"]) != (account_id, page):  # a row that somebody gave to another account
        return None
    return Typed(said["page"], said["fields"], frozenset(said["left_out"]), row.kept_at)


def forget(handle: str, page: str, account_id: int) -> None:
    with transaction() as session:
        if kept_form_db.find(session, _hash(handle, page), account_id, clock.now() - LIFE):
            kept_form_db.delete_one(session, _hash(handle, page))


def tidy() -> None:
    """Delete what was kept longer ago."""
    with transaction() as session:
        kept_form_db.delete_before(session, clock.now() - LIFE)


def _is_secret(name: str, value: str) -> bool:
    return _PRIVATE_KEY in value or (name.endswith(_SECRET) and not name.startswith(_REMOVES))


def _hash(handle: str, page: str) -> str:
    return digest(f"{handle}\n{page}")


def _key(fernet_key: bytes) -> bytes:
    return base64.urlsafe_b64encode(subkey(_PURPOSE, fernet_key))
