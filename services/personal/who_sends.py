"""Who sends for an account, its own server or the global one, and why, in words for the account itself."""

from dataclasses import dataclass
from typing import Final, Literal

from services.settings import route

PERSONAL: Final = "personal"  # the source of the route's step that is an account's own server
GLOBAL: Final = "global"

_SYSTEM: Final = "Mail of the system goes through the global server."
_OWN: Final = "Your own server sends it."
_NO_OWN: Final = "You have no server of your own, so the global one sends it."
_NOBODY: Final = "It waits, since no mail server can be used now."


@dataclass(frozen=True)
class WhoSends:
    """``why`` is a sentence; nothing in it tells where the global server is."""

    via: Literal["personal", "global"]
    why: str


def of_next(account_id: int | None) -> WhoSends:
    """Who would send this account's next mail, by the route that it takes."""
    own_reason = ""
    has_own = False
    for step in route.steps(account_id):
        if step.source == PERSONAL:
            has_own, own_reason = True, step.reason
            if step.settings:
                return WhoSends("personal", _OWN)
        elif step.settings:
            if account_id is None:
                return WhoSends("global", _SYSTEM)
            why = f"Your own server is not used, so the global one sends it: {own_reason}" if has_own else _NO_OWN
            return WhoSends("global", why)
    if has_own:
        return WhoSends("personal", f"It waits for your own server: {own_reason}")
    return WhoSends("global", _NOBODY)
