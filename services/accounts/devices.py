"""Browsers in which somebody has signed in before: a signed cookie names the accounts, and nothing is stored of it."""

import re
import secrets
from hmac import compare_digest
from typing import Final

from utils.encryption_utils import known_keys, mac

LIFE_DAYS: Final = 365
_PURPOSE: Final = "device-v1"
_MOST: Final = 16  # accounts of one browser, the latest
_COOKIE: Final = re.compile(r"([\w-]{22})\.([0-9]{1,15}(?:-[0-9]{1,15}){0,15})\.([0-9a-f]{64})")


def knows(cookie: str, account_id: int) -> str | None:
    """What this browser's own tries at the account are counted by, if somebody has signed in to it there."""
    name, accounts = _read(cookie)
    return f"{name} account {account_id}" if account_id in accounts else None


def after_sign_in(cookie: str, account_id: int) -> str:
    """The cookie of a browser in which somebody has just signed in, from the one that it has."""
    name, accounts = _read(cookie)
    others = [other for other in accounts if other != account_id]
    latest = [*others[1 - _MOST :], account_id]
    name, listed = name or secrets.token_urlsafe(16), "-".join(map(str, latest))
    return f"{name}.{listed}.{mac(_PURPOSE, (name, listed))}"


def _read(cookie: str) -> tuple[str, list[int]]:
    """The browser's random name and its accounts; none of either if the cookie is not one of ours."""
    parts = _COOKIE.fullmatch(cookie)
    if parts is None:
        return "", []
    name, listed, signature = parts.groups()
    if not any(compare_digest(mac(_PURPOSE, (name, listed), key), signature) for key in known_keys().values()):
        return "", []
    return name, [int(number) for number in listed.split("-")]
