"""Why a connection was not made where the provider itself had nothing against it."""

from enum import StrEnum
from typing import Final, NamedTuple

from utils.errors import AppError


class ConnectFault(StrEnum):
    """What kind of refusal it was."""

    NOT_REGISTERED = "not_registered"
    UNREADABLE = "unreadable"
    UNFIT = "unfit"
    OTHER_WAY = "other_way"
    NO_USER_NAME = "no_user_name"
    NO_ENCRYPTION = "no_encryption"
    NOT_AN_ADDRESS = "not_an_address"
    CHANGED = "changed"
    SCOPE_MISSING = "scope_missing"
    NO_REFRESH_TOKEN = "no_refresh_token"  # noqa: S105 - the name of a fault
    OTHER_MAILBOX = "other_mailbox"


class _Words(NamedTuple):
    title: str
    remedy: str


_WORDS: Final = {
    ConnectFault.NOT_REGISTERED: _Words("Nothing is registered yet", "Enter what you registered and save it first."),
    ConnectFault.UNREADABLE: _Words(
        "What is registered cannot be read",
        "Restore APP_KEY, or enter all of it again: it is sealed with a missing key, or was changed outside Sealpost.",
    ),
    ConnectFault.UNFIT: _Words(
        "The provider does not fit this server",
        "Check the server name, and what is registered: tokens go only to the provider’s own mail servers.",
    ),
    ConnectFault.OTHER_WAY: _Words(
        "Another way to a token is registered", "Choose the way that you want, save it, then start again."
    ),
    ConnectFault.NO_USER_NAME: _Words(
        "The server has no user name", "Enter the mailbox to sign in to as the server’s user name, then connect."
    ),
    ConnectFault.NO_ENCRYPTION: _Words(
        "The server has no encryption", "A token is never sent unencrypted. Choose STARTTLS or TLS, then connect."
    ),
    ConnectFault.NOT_AN_ADDRESS: _Words(
        "This address contains no answer",
        "After you sign in, copy the whole address from the browser’s address bar. It contains “code=” and “state=”.",
    ),
    ConnectFault.CHANGED: _Words(
        "The registration was changed in the meantime", "Nothing was kept. Start again: the new registration counts."
    ),
    ConnectFault.SCOPE_MISSING: _Words(
        "The permission to send is missing",
        "Nothing was kept. Connect again and leave every box ticked; if there is none, add the permission at the "
        "provider first.",
    ),
    ConnectFault.NO_REFRESH_TOKEN: _Words(
        "The provider gave nothing to renew with",
        "Nothing was kept, since the connection would end within the hour. Allow offline access for the application at "
        "the provider, remove its access from the account, then connect again.",
    ),
    ConnectFault.OTHER_MAILBOX: _Words(
        "Another mailbox signed in",
        "Nothing was kept. Connect again and choose the account of this server’s user name, or change the user name.",
    ),
}


class ConnectRefused(AppError):
    """A connection that was not made; ``title`` says what is wrong and ``remedy`` what to do. Nothing was changed."""

    status = 422

    def __init__(self, fault: ConnectFault) -> None:
        self.fault = fault
        self.title, self.remedy = _WORDS[fault]
        super().__init__(f"{self.title}. {self.remedy}")
