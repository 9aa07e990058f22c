"""What is allowed to accounts with servers of their own, and what happens when such a server fails.

What the environment names is fixed; the rest is what administrators saved on the page, or the usual value.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from database import policy_db
from database.engine import reading_in
from utils.env_utils import get_settings
from utils.personal_env import VARIABLES


class Allowed(StrEnum):
    """Which servers accounts may bring."""

    OFF = "off"
    NAMED = "named"
    ANY = "any"


class Fallback(StrEnum):
    """When the global server sends instead of an account's own."""

    ALWAYS = "always"
    CONNECTION = "connection"
    NEVER = "never"


class AllowedSignIn(StrEnum):
    """How accounts may sign in to their servers."""

    ANY = "any"
    TOKEN = "token"  # noqa: S105 - by OAuth only: no password of theirs is used


_CHOICES_ALLOWED: Final = {str(each): each for each in Allowed}
_CHOICES_FALLBACK: Final = {str(each): each for each in Fallback}
_CHOICES_SIGN_IN: Final = {str(each): each for each in AllowedSignIn}


@dataclass(frozen=True, kw_only=True)
class PersonalRules:
    """The policy that is in force. ``hosts`` counts where NAMED is allowed: hosts, and domains with all below them.

    The limits are an account's, 0 for none: on all of its mail, and on what goes through the global server.
    ``fixed`` are the fields that the environment names. ``version`` is 0 while nothing was saved on the page.
    """

    allowed: Allowed = Allowed.ANY
    hosts: tuple[str, ...] = ()
    fallback: Fallback = Fallback.CONNECTION
    sign_in: AllowedSignIn = AllowedSignIn.ANY
    emails_per_minute: int = 30
    emails_per_day: int = 1000
    fallback_per_minute: int = 10
    fallback_per_day: int = 100
    fixed: frozenset[str] = field(default_factory=frozenset)
    version: int = 0

    def allows(self, host: str) -> bool:
        """Whether accounts may bring the server of this name or address, which is as ``parse_host`` gives it."""
        if self.allowed is not Allowed.NAMED:
            return self.allowed is Allowed.ANY
        return any(host == name or host.endswith(f".{name}") for name in self.hosts)

    def allows_sign_in(self, *, by_token: bool) -> bool:
        """Whether accounts may sign in to their servers so."""
        return by_token or self.sign_in is AllowedSignIn.ANY


def current(session: Session | None = None) -> PersonalRules:
    """The policy as it is now; asked in the caller's session if there is one."""
    with reading_in(session) as own:
        row = policy_db.find(own)
    saved: dict[str, object] = {}
    if row is not None:
        saved = {name: getattr(row, name) for name in VARIABLES if getattr(row, name) is not None}
        saved["hosts"] = tuple(row.hosts.split())
        saved["version"] = row.version
    named = dict(get_settings().personal)
    merged = saved | named
    # What somebody has written there by hand and is none allows nothing.
    if "allowed" in merged:
        merged["allowed"] = _CHOICES_ALLOWED.get(str(merged["allowed"]), Allowed.OFF)
    if "fallback" in merged:
        merged["fallback"] = _CHOICES_FALLBACK.get(str(merged["fallback"]), Fallback.NEVER)
    if "sign_in" in merged:
        merged["sign_in"] = _CHOICES_SIGN_IN.get(str(merged["sign_in"]), AllowedSignIn.TOKEN)
    return PersonalRules(**merged, fixed=frozenset(named))  # type: ignore[arg-type]
