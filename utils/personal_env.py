"""What the environment fixes of the policy for servers of accounts; what it does not name is decided on the page."""

from typing import Final

from utils.addresses import InvalidAddress, parse_host
from utils.env_reader import ConfigurationError, Reader

MOST_EMAILS: Final = 10_000_000  # that a limit may name
_ALLOWED: Final = ("off", "named", "any")
_SIGN_IN: Final = ("any", "token")
_FALLBACK: Final = ("always", "connection", "never")
LIMITS: Final = {
    "emails_per_minute": "ACCOUNT_EMAILS_PER_MINUTE",
    "emails_per_day": "ACCOUNT_EMAILS_PER_DAY",
    "fallback_per_minute": "FALLBACK_EMAILS_PER_MINUTE",
    "fallback_per_day": "FALLBACK_EMAILS_PER_DAY",
}
VARIABLES: Final = {
    "allowed": "PERSONAL_SMTP",
    "hosts": "PERSONAL_SMTP_HOSTS",
    "fallback": "PERSONAL_SMTP_FALLBACK",
    "sign_in": "PERSONAL_SMTP_SIGN_IN",
    **LIMITS,
}


def named_by(env: Reader) -> dict[str, object]:
    """The fields that are fixed, with their values. Raises ConfigurationError."""
    found: dict[str, object] = {}
    if env.text("PERSONAL_SMTP"):
        found["allowed"] = env.choice("PERSONAL_SMTP", _ALLOWED, "any")
    if env.text("PERSONAL_SMTP_FALLBACK"):
        found["fallback"] = env.choice("PERSONAL_SMTP_FALLBACK", _FALLBACK, "connection")
    if env.text("PERSONAL_SMTP_HOSTS"):
        found["hosts"] = tuple(_host(text.strip()) for text in env.listed("PERSONAL_SMTP_HOSTS"))
    if env.text("PERSONAL_SMTP_SIGN_IN"):
        found["sign_in"] = env.choice("PERSONAL_SMTP_SIGN_IN", _SIGN_IN, "any")
    for field, name in LIMITS.items():
        if env.text(name):
            found[field] = env.integer(name, 0, 0, MOST_EMAILS)
    return found


def _host(text: str) -> str:
    try:
        return parse_host(text)
    except InvalidAddress:
        raise ConfigurationError(
            "PERSONAL_SMTP_HOSTS must be hosts or domains like smtp.gmail.com,example.com, separated by commas."
        ) from None
