"""What is done for accounts now and then, by whichever worker comes first."""

from services.accounts import address_change, api_tokens, kept_forms, password_reset, sessions, tries


def tidy() -> None:
    """Forget what is over, and tell owners of tokens that soon will be."""
    password_reset.tidy()
    address_change.tidy()
    sessions.tidy()
    kept_forms.tidy()
    tries.tidy()
    api_tokens.tell_expiring()
