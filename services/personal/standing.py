"""An account's first questions about its mail: who sends it now, and why; and how does its own server stand?"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.personal import oversight, own_server
from services.personal.oversight import Decision, OwnServerFacts
from services.personal.own_server import OwnStatus, Serving
from services.settings import health, personal_policy, protection, route
from services.settings.health import Health
from services.settings.personal_policy import Allowed, PersonalRules
from utils.env_utils import get_settings

NOBODY: Final = "Your mail cannot be sent."
STANDS_IN: Final = "While Sealpost cannot connect or sign in to it, the server of {} sends for you."
LASTS: Final = "In the meantime your email waits, at most until it expires."
WAITS: Final = "Your email waits until it is used again, at most until it expires."


@dataclass(frozen=True, kw_only=True)
class AccountStanding:
    """Who sends for an account: ``level`` is ok, info, warning or error; ``detail`` says why, and what to do.

    ``may_save`` is whether it may bring or change a server of its own. ``since`` is when it began to be broken.
    """

    level: str
    headline: str
    detail: str
    may_save: bool
    own: OwnServerFacts
    since: datetime | None = None
    needs_sign_in: bool = False
    verified_at: datetime | None = None
    updated_at: datetime | None = None
    health: Health | None = None  # of its own server


def describe(account_id: int) -> AccountStanding:
    """How it stands now. Raises NotFound, Forbidden."""
    own, policy, found = oversight.get(account_id), personal_policy.current(), own_server.serving(account_id)
    level, headline, detail = _words(found, own, policy)
    if route.is_suppressed():
        level, headline, detail = "warning", route.NOTHING_IS_SENT, f"Without it: {headline} {detail}".strip()
    stored = found.own
    return AccountStanding(
        level=level,
        headline=headline,
        detail=detail,
        may_save=policy.allowed is not Allowed.OFF and own.decision is not Decision.DISABLED,
        own=own,
        since=own.broken_since if found.status in (OwnStatus.FAILING, OwnStatus.BROKEN) else None,
        needs_sign_in=found.needs_sign_in,
        verified_at=stored.row.verified_at if stored and stored.is_verified else None,
        updated_at=stored.row.updated_at if stored else None,
        health=health.of_config(stored) if stored else None,
    )


def _words(found: Serving, own: OwnServerFacts, policy: PersonalRules) -> tuple[str, str, str]:
    ours = get_settings().app_name
    if found.is_global:
        return _of_global(found, own, policy, ours)
    host = found.own.settings.host if found.own else ""
    if found.status is OwnStatus.IN_USE:
        headline = f"Your own server ({host}) sends your mail, from {own.from_email}."
        return (
            ("warning", headline, found.reason) if found.reason else ("ok", headline, "These settings passed a test.")
        )
    if found.status is OwnStatus.FAILING:
        how = "needs sign-in again" if found.needs_sign_in else "is failing"
        headline = f"Your own server ({host}) {how}."
        return "error", headline, f"{found.reason} {_then(own.account_id, ours)}"
    return "error", f"Your mail is not being sent: your own server ({host}) is not used.", f"{found.reason} {WAITS}"


def _of_global(found: Serving, own: OwnServerFacts, policy: PersonalRules, ours: str) -> tuple[str, str, str]:
    why = found.reason or _why_none(own, policy)
    if found.settings is None:
        return "error", NOBODY, f"{why} The server of {ours} is not set up or cannot be used."
    headline = f"The server of {ours} sends your mail, from its own address. Replies go to you."
    return "info" if found.status is OwnStatus.NONE else "warning", headline, why


def _why_none(own: OwnServerFacts, policy: PersonalRules) -> str:
    if policy.allowed is Allowed.OFF:
        return "Accounts cannot use their own servers here."
    if own.decision is Decision.DISABLED:
        return "An administrator has disabled your own server."
    if own.decision is Decision.GLOBAL:
        return "An administrator has chosen this, even if you save your own server."
    return "You have no server of your own yet. Add one to send from your own address."


def _then(account_id: int, ours: str) -> str:
    """What happens while the own server fails: another one may stand in for it, and protects the mail as well."""
    usable = [step for step in route.steps(account_id) if step.settings]
    takes_over = any(
        step.failover and protection.takes_over(other, step) for step in usable[:1] for other in usable[1:]
    )
    return STANDS_IN.format(ours) if takes_over else LASTS
