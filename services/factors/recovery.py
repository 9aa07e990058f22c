"""Recovery codes: ten, shown once, each good once, for whoever has lost the other factors.

Of a code its first group is stored, by which it is found, and an argon2 hash of the rest (ASVS 6.5.2).
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session

from database import factor_db
from database.engine import reading, transaction
from database.factor_db import RecoveryCode
from services.accounts import passwords
from services.accounts.accounts import CODE_ALPHABET
from utils import clock

MANY: Final = 10
GROUPS, GROUP_LENGTH = 3, 5
LENGTH: Final = GROUPS * GROUP_LENGTH
FEW: Final = 3


@dataclass(frozen=True)
class NewCodes:
    """Codes as they are shown, and what is stored of each: its beginning and a hash."""

    shown: list[str] = field(repr=False)
    hashed: list[tuple[str, str]] = field(repr=False)


def new_codes() -> NewCodes:
    """Ten codes, no two with one beginning. Hashing takes a moment, so no transaction may be open."""
    beginnings: set[str] = set()
    while len(beginnings) < MANY:
        beginnings.add(_letters(GROUP_LENGTH))
    rests = [[_letters(GROUP_LENGTH) for _ in range(GROUPS - 1)] for _ in range(MANY)]
    shown = ["-".join([first, *rest]) for first, rest in zip(sorted(beginnings), rests, strict=True)]
    return NewCodes(
        shown, [(code[:GROUP_LENGTH], passwords.hash_password(plain(code)[GROUP_LENGTH:])) for code in shown]
    )


def put(session: Session, account_id: int, found: list[tuple[str, str]]) -> None:
    """Store these codes in the place of those that there were, within the caller's transaction."""
    factor_db.delete_codes(session, account_id)
    session.add_all(
        RecoveryCode(account_id=account_id, selector=selector, code_hash=code_hash) for selector, code_hash in found
    )


def use(account_id: int, code: str) -> bool:
    """Whether this is a code of the account that was not used before; it is used up by that. Of two at once one is."""
    code = plain(code)
    with reading() as session:
        found = factor_db.unused_code(session, account_id, code[:GROUP_LENGTH])
    if not passwords.verify(found.code_hash if found else None, code[GROUP_LENGTH:]):
        return False
    assert found is not None  # noqa: S101 - verify() is False without a hash
    with transaction() as session:
        return factor_db.use_code(session, found.id, clock.now())


def plain(code: str) -> str:
    """The code as it is meant: dashes, spaces and case do not count. What is too long to be one is cut."""
    return "".join(character for character in code[:100] if character.isalnum()).upper()[: LENGTH + 1]


def _letters(count: int) -> str:
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(count))
