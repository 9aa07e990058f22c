"""Who sends for an account, its own server or the global one, and why, in words for the account itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.outbox.facts import GLOBAL_SERVER
from services.settings import route

_SYSTEM: Final = "Mail of the system goes through the global server."
_OWN: Final = "Your own server sends it."
_NO_OWN: Final = "You have no server of your own, so the global server sends it."
_STOOD_IN: Final = "Your own server could not be used, so the global server sent it."
_NOBODY: Final = "It is waiting: no mail server can be used."


@dataclass(frozen=True)
class WhoSends:
    """``why`` is a sentence; nothing in it tells where the global server is."""

    via: Literal["personal", "global"]
    why: str


def of_next(account_id: int | None) -> WhoSends:
    """Who would send this account's next mail, by the route that it takes. Raises UnusableAccount."""
    passed_over = ""  # the account's own server, and why
    for step in route.steps(account_id):
        if step.is_personal and step.settings:
            return WhoSends("personal", _OWN)
        if step.is_personal:
            passed_over = step.reason if step.config_id is not None else ""
            if step.blocks:
                return WhoSends("personal", f"It is waiting for your own server. {step.reason}")
        elif step.settings:
            why = f"The global server sends it instead of your own. {passed_over}" if passed_over else _NO_OWN
            return WhoSends("global", _SYSTEM if account_id is None else why)
    return WhoSends("global", _NOBODY)


def in_the_end(expected: WhoSends, servers: Sequence[str]) -> WhoSends:
    """Who had a mail in the end, of the servers that were tried, as its owner knows them."""
    if expected.via == "personal" and servers and servers[-1] == GLOBAL_SERVER:
        return WhoSends("global", _STOOD_IN)
    return expected
