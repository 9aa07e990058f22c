"""Failover never lowers protection: what may take over from servers that were tried and were down.

The first server that is set up serves as it is; one that is absent, inactive or unreadable was not tried.
"""

from collections.abc import Sequence
from typing import Final

from services.settings.route import RouteStep
from services.smtp.settings import Security
from utils.addresses import is_loopback

# The kinds of our own mails that hold a link or news which only their reader may see.
SECURITY_KINDS: Final = frozenset(
    "password_reset password_changed address_change_asked address_changed address_confirmation invitation "
    "sender_confirmation second_factor new_sign_in".split()
)


def refusal(step: RouteStep, down: Sequence[RouteStep], *, is_security: bool) -> str:
    """Why a mail may not go through this server after those that are down, in a sentence; "" if it may.

    Encryption is always verified here, and never a wish: so after a bad certificate, or a STARTTLS that was taken out
    on the way, only a server with verified TLS is left as well.
    """
    if not down or step.settings is None or step.settings.security is not Security.NONE:
        return ""
    encrypting = next((each for each in down if each.settings and each.settings.security is not Security.NONE), None)
    if encrypting:
        return f"It uses no encryption, and {encrypting.name} does."
    if is_security and not is_loopback(step.settings.host):
        return "It uses no encryption, and the email contains what only its recipient may see."
    return ""


def standing(steps: Sequence[RouteStep]) -> dict[str, str]:
    """Why servers in reserve would not take over, by their source: for every mail, or only for security mail."""
    reasons: dict[str, str] = {}
    before: list[RouteStep] = []
    for step in steps:
        if step.settings is None:
            continue
        if before and not before[-1].failover:
            break
        if reason := refusal(step, before, is_security=False):
            reasons[step.source] = f"{reason} So email waits while {before[0].name} is down."
        elif refusal(step, before, is_security=True):
            reasons[step.source] = "It uses no encryption, so no password reset link goes through it."
        before.append(step)
    return reasons


def takes_over(step: RouteStep, first: RouteStep) -> bool:
    """Whether mail goes through this server while the first is down."""
    return step is not first and not refusal(step, [first], is_security=False)
