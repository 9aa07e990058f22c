"""Why nobody was signed in by a provider: a closed list, so that no word of a provider gets further."""

from enum import StrEnum
from typing import Final


class SignOnFault(StrEnum):
    """What kind of failure it was; the value is what the audit trail has."""

    UNREACHABLE = "provider unreachable"
    UNUSABLE = "provider unusable"  # its discovery document or its keys
    ISSUER = "another issuer"  # its discovery document names another one than is set
    REFUSED = "refused by the provider"
    NOT_OURS = "no sign-in of this browser"  # or too late, or another provider's answer (RFC 9207)
    REGISTRATION = "client refused"  # what is registered there, or entered here, is at fault
    TOKEN = "id token not valid"  # noqa: S105 - the name of a fault
    CLOCK = "clocks differ"
    UNKNOWN = "not linked to an account"
    NO_NAME = "no usable name or address"
    ADDRESS_TAKEN = "address of another account"
    DISABLED = "account disabled"
    OTHER_ACCOUNT = "linked to another account"
    NOT_AGAIN = "not signed in again"  # as somebody else, or without showing anything again
    INVITATION = "invitation no longer good"


_TRY_AGAIN: Final = "Try again."
WORDS: Final = {
    SignOnFault.UNREACHABLE: "{name} cannot be reached at the moment. Try again in a minute.",
    SignOnFault.UNUSABLE: (
        "What {name} answers cannot be used. Try again in a minute. If this stays so, ask an administrator to run: "
        "flask account oidc-check"
    ),
    SignOnFault.ISSUER: (
        "{name} calls itself by another address than OIDC_ISSUER has. Ask an administrator to run: "
        "flask account oidc-check"
    ),
    SignOnFault.REFUSED: "{name} did not sign you in. Try again, or ask its administrator.",
    SignOnFault.NOT_OURS: "This sign-in did not begin in this browser, or took too long. Sign in again.",
    SignOnFault.REGISTRATION: (
        "{name} does not accept Sealpost. Ask an administrator to check the client ID, the client secret and the "
        "redirect URI."
    ),
    SignOnFault.TOKEN: "What {name} said of you cannot be trusted. Try again in a minute.",
    SignOnFault.CLOCK: (
        "The clocks of {name} and of this server differ by minutes. Ask an administrator to set this server’s clock."
    ),
    SignOnFault.UNKNOWN: (
        "Your sign-in at {name} belongs to no account here. Sign in with your password and link it at “Your account”, "
        "or ask an administrator to invite you."
    ),
    SignOnFault.NO_NAME: (
        "{name} gave no user name or no verified email address, which a new account needs. Ask an administrator to "
        "invite you."
    ),
    SignOnFault.ADDRESS_TAKEN: (
        "Your user name or address at {name} is another account’s here. If it is yours, sign in to it with your "
        "password and link it at “Your account”. If not, ask an administrator."
    ),
    SignOnFault.DISABLED: "This account is disabled. Ask an administrator.",
    SignOnFault.OTHER_ACCOUNT: "This sign-in at {name} is linked to another account. Unlink it there first.",
    SignOnFault.NOT_AGAIN: "You did not sign in again at {name}, or not as yourself. " + _TRY_AGAIN,
    SignOnFault.INVITATION: "This invitation is no longer good. Ask an administrator for another.",
}


class SignOnFailure(Exception):
    """Nobody is signed in. ``detail`` is a word or two for the log and the trail, from closed lists, too."""

    def __init__(self, fault: SignOnFault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}" if detail else str(fault))
        self.fault = fault
        self.detail = detail

    def words(self, name: str) -> str:
        """What to tell whoever tried; ``name`` is the provider's."""
        return WORDS[self.fault].format(name=name)
