"""What leads to a sign-in by token, on the pages of servers: where one can be had, or is to be renewed by somebody."""

from typing import Final

from services.connecting import guide, suggesting
from services.oauth.providers import OAuthProvider
from services.settings.sealing import Condition, StoredConfig
from services.settings.state import ConfigFacts
from services.smtp.settings import SmtpSettings

AGAIN: Final = "Connect again"
WHAT_CHANGES: Final = (
    "Sealpost can sign in here by token, without a password. The stored password is used until the new sign-in has "
    "passed its test. Then it is deleted."
)


def of_facts(config: ConfigFacts) -> str:
    """What the link to its connection says; "" where there is nothing to connect, or it is connected."""
    if config.needs_sign_in:
        return AGAIN
    is_connected = config.oauth is not None and config.oauth.serves and config.oauth.connected
    return "" if is_connected else _of(config.settings, is_lost=config.needs_reentry)


def of_own(stored: StoredConfig | None) -> str:
    """The same of an account's own server, or of none."""
    if stored is None or (stored.settings.is_by_token and stored.condition is not Condition.UNCONNECTED):
        return ""
    return _of(stored.settings, is_lost=stored.needs_reentry)


def _of(settings: SmtpSettings, *, is_lost: bool) -> str:
    found = suggesting.suggested_for_server(settings.host, settings.username)
    if found is None:
        return guide.CONNECT_LABELS[OAuthProvider.CUSTOM] if settings.is_by_token else ""
    if is_lost and not settings.is_by_token:
        return ""  # its password has to be entered again first
    return guide.CONNECT_LABELS[found.provider]
