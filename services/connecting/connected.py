"""How a connection is, as the page shows it: from what is stored of a sign-in, and from what about it will end."""

from collections.abc import Sequence
from typing import Final

from services.connecting.calendar import Ending
from services.connecting.guide import PROVIDER_NAMES, ConnectedState, EndLine
from services.oauth.providers import OAuthProvider
from services.oauth.sealed import SignInCondition, StoredSignIn

NEEDS_SIGN_IN: Final = "Needs sign-in again"
_WAITS: Final = "Email for this server waits until then, at most until it expires."
_UNREADABLE: Final = {
    SignInCondition.KEY_MISSING: "It is sealed with a missing key. Restore that APP_KEY, or enter everything again and "
    "connect.",
    SignInCondition.ALTERED: "It was changed outside Sealpost. Enter everything again and connect.",
}


def end_line(ending: Ending) -> EndLine:
    """What ends, with how near it is."""
    level = "error" if ending.is_over and ending.is_soon else "warning" if ending.is_near else "info"
    return EndLine(words=ending.words, remedy=ending.remedy if level != "info" else "", level=level)


def state_of(
    stored: StoredSignIn, *, trouble: str = "", endings: Sequence[Ending] = (), has_password: bool = False
) -> ConnectedState:
    """How the connection is. ``trouble`` says what the last failure was and what to do, "" where there was none.

    ``has_password``: the server is still signed in to by its password.
    """
    level, headline, detail = _told(stored, trouble)
    is_connected = stored.consent > 0 and stored.is_usable
    return ConnectedState(
        level=level,
        headline=headline,
        detail=detail,
        mailbox=stored.mailbox if is_connected else "",
        granted_by=stored.granted_by,
        granted_at=stored.granted_at,
        renewed_at=stored.obtained_at if stored.obtained_at != stored.granted_at else None,
        endings=tuple(map(end_line, endings)),
        needs_sign_in=stored.needs_sign_in or not stored.is_usable,
        has_password=has_password,
        can_end=stored.consent > 0,
    )


def _told(stored: StoredSignIn, trouble: str) -> tuple[str, str, str]:
    if not stored.is_usable:
        return "error", "What is registered cannot be read", _UNREADABLE[stored.condition]
    if stored.consent == 0:
        return "warning", "Not connected yet", trouble or "What you registered is stored. Now connect."
    if stored.needs_sign_in:
        return "error", NEEDS_SIGN_IN, f"{trouble} {_WAITS}".strip()
    provider = stored.registration.provider
    by = "by OAuth" if provider is OAuthProvider.CUSTOM else f"with {PROVIDER_NAMES[provider]}"
    if trouble:
        return "warning", f"Connected {by}, but the last renewal failed", f"{trouble} Sealpost tries again by itself."
    return "ok", f"Connected {by}", ""
