"""Codes of authenticator apps (RFC 6238): made from a secret that is sealed with a key of its own, each good once."""

import base64
from typing import Final

import pyotp
from cryptography.fernet import Fernet
from pyotp.exceptions import OTPVerificationError

from database import factor_db
from database.engine import reading, transaction
from database.factor_db import TotpFactor
from utils import clock, late
from utils.encryption_utils import CannotDecrypt, current_key_id, known_keys, opened, subkey
from utils.env_utils import get_fernet_key

DIGITS: Final = 6
STEP_SECONDS: Final = 30
WINDOW: Final = 1  # steps that a clock may be off, to either side (RFC 6238 5.2)
_PURPOSE: Final = "totp-v1"


def new_secret() -> str:
    """160 random bits in base32, as RFC 4226 4 recommends."""
    return pyotp.random_base32()


def in_groups(secret: str) -> str:
    """The secret as people type it off."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


def address_of(secret: str, username: str, issuer: str) -> str:
    """What an app reads from the picture: an ``otpauth`` address."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


def picture_of(text: str) -> tuple[str, int]:
    """A QR code as the path of an SVG of squares, and how many of these are on a side with the quiet zone."""
    rows = list(late.load("segno").make(text, error="m", micro=False).matrix_iter(border=4))
    squares = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark]
    return "".join(squares), len(rows)


def seal(secret: str) -> str:
    return Fernet(_key(get_fernet_key())).encrypt(secret.encode()).decode()


def secret_in(factor: TotpFactor) -> str:
    """Raises CannotDecrypt if its key is not at hand."""
    return opened(factor.sealed, [_key(key) for key in known_keys().values()])


def step_of(secret: str, code: str) -> int | None:
    """The time step that this is the code of, if that is the present one or one beside it; otherwise None."""
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=clock.now(), valid_window=WINDOW)
    except OTPVerificationError:
        return None


def use(account_id: int, code: str) -> bool:
    """Whether this is a code of the account's app that was not used before; it is used up by that."""
    with reading() as session:
        factor = factor_db.totp_of(session, account_id)
    if factor is None or factor.confirmed_at is None:
        return False
    try:
        secret = secret_in(factor)
    except CannotDecrypt:
        return False
    step = step_of(secret, code)
    if step is None:
        return False
    with transaction() as session:
        return factor_db.use_step(session, account_id, factor.sealed, step, clock.now())


def seal_anew() -> int:
    """Seal every secret of a previous key with the current one; how many. For the rotation of keys."""
    with reading() as session:
        due = [factor for factor in factor_db.every_totp(session) if factor.key_id != current_key_id()]
    count = 0
    for factor in due:
        try:
            sealed = seal(secret_in(factor))
        except CannotDecrypt:
            continue
        with transaction() as session:
            count += factor_db.reseal_totp(session, factor.account_id, factor.sealed, sealed, current_key_id())
    return count


def _key(fernet_key: bytes) -> bytes:
    return base64.urlsafe_b64encode(subkey(_PURPOSE, fernet_key))
