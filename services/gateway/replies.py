"""Every reply of the gateway: code, enhanced code (RFC 3463, 5248) and words, each in one place."""

from enum import Enum
from typing import Final, NamedTuple

LARGEST: Final = 25 * 1024 * 1024  # octets of a message (RFC 1870)
MOST_RECIPIENTS: Final = 100  # RFC 5321 4.5.3.1.8


class GatewayReply(NamedTuple):
    """One reply, ``code`` and ``enhanced`` as in ``550 5.7.1``."""

    code: int
    enhanced: str
    words: str

    @property
    def line(self) -> str:
        """As it is said, without CRLF."""
        return f"{self.code} {self.enhanced} {self.words}" if self.enhanced else f"{self.code} {self.words}"

    def because(self, more: str) -> "GatewayReply":
        """The same with more to say."""
        return self._replace(words=f"{self.words} {more}")


class Rejection(Enum):
    """Why something is not done, as it is told. What lies behind is known to the log of the gateway at most."""

    # The connection
    TOO_MANY_IN_ALL = GatewayReply(421, "4.3.2", "Too many connections are open here. Try again in a minute.")
    TOO_MANY_OF_PEER = GatewayReply(421, "4.7.0", "Too many connections from your address. Close some, then try again.")
    STOPPING = GatewayReply(421, "4.3.2", "Sealpost is stopping. Try again in a minute.")
    TOO_SLOW = GatewayReply(421, "4.4.2", "This took too long. Connect again.")
    TOO_MANY_ERRORS = GatewayReply(
        421, "4.7.0", "Too many commands failed. Check the program that sends, then connect again."
    )
    TOO_MANY_COMMANDS = GatewayReply(421, "4.7.0", "Too many commands without an email. Connect again.")
    TOO_MUCH_AHEAD = GatewayReply(421, "5.5.0", "You sent more before our answer was there. Connect again.")
    NOT_SMTP = GatewayReply(421, "5.5.1", "This is an SMTP server.")
    FAULT = GatewayReply(451, "4.3.0", "Something went wrong here. Try again in a minute.")
    # Commands
    LINE_TOO_LONG = GatewayReply(500, "5.5.2", "The line is too long.")
    BAD_LINE = GatewayReply(500, "5.5.2", "End each command with CRLF, without CR, LF or NUL before.")
    UNKNOWN = GatewayReply(500, "5.5.2", "This command is unknown.")
    NOT_OFFERED = GatewayReply(502, "5.5.1", "This command is not offered.")
    SYNTAX = GatewayReply(501, "5.5.4", "The command's arguments are wrong.")
    NO_HELLO = GatewayReply(503, "5.5.1", "Say EHLO first.")
    NO_MAIL = GatewayReply(503, "5.5.1", "Say MAIL first.")
    NESTED_MAIL = GatewayReply(503, "5.5.1", "An email is already begun. Send it, or say RSET.")
    NO_RECIPIENT = GatewayReply(503, "5.5.1", "Name a recipient with RCPT first.")
    NO_VALID_RECIPIENT = GatewayReply(554, "5.5.1", "No recipient was accepted.")
    UNKNOWN_PARAMETER = GatewayReply(555, "5.5.4", "A parameter is not supported.")
    # TLS and signing in
    TLS_FIRST = GatewayReply(530, "5.7.0", "Say STARTTLS first.")
    TLS_TWICE = GatewayReply(503, "5.5.1", "This connection is already encrypted.")
    NO_TLS = GatewayReply(502, "5.5.1", "TLS is not set up here.")
    SIGN_IN_FIRST = GatewayReply(
        530, "5.7.0", "Sign in first: the account's name or address, and a token with the scope send."
    )
    SIGNED_IN_TWICE = GatewayReply(503, "5.5.1", "You are already signed in.")
    TLS_BEFORE_SIGN_IN = GatewayReply(538, "5.7.11", "Say STARTTLS before you sign in.")
    UNKNOWN_MECHANISM = GatewayReply(504, "5.5.4", "Use AUTH PLAIN or AUTH LOGIN.")
    NOT_BASE64 = GatewayReply(501, "5.5.2", "This is not the base64 of an answer to this.")
    SIGN_IN_CANCELLED = GatewayReply(501, "5.7.0", "Signing in was cancelled.")
    WRONG_SIGN_IN = GatewayReply(
        535, "5.7.8", "The account or the token is wrong. The password is a token of the account with the scope send."
    )
    WRONG_ACCOUNT = GatewayReply(535, "5.7.8", "The token belongs to another account.")
    NO_SCOPE = GatewayReply(535, "5.7.8", "The token does not have the scope send. Create one that has it.")
    ENDED_TOKEN = GatewayReply(535, "5.7.8", "The token was revoked or has expired, or its account is disabled.")
    TOO_MANY_SIGN_INS = GatewayReply(421, "4.7.0", "Too many wrong sign-ins from your address.")
    CANNOT_SIGN_IN = GatewayReply(454, "4.7.0", "Signing in does not work at the moment. Try again in a minute.")
    # Addresses
    BAD_SENDER = GatewayReply(501, "5.1.7", "The sender is not an address.")
    BAD_RECIPIENT = GatewayReply(553, "5.1.3", "The recipient is not a plain address like name@example.com.")
    NEEDS_SMTPUTF8 = GatewayReply(553, "5.6.7", "Say SMTPUTF8 with MAIL for an address that is not ASCII.")
    TOO_MANY_RECIPIENTS = GatewayReply(
        452, "4.5.3", f"An email has at most {MOST_RECIPIENTS} recipients. Send another to the rest."
    )
    # The message
    TOO_LARGE = GatewayReply(552, "5.3.4", f"A message has at most {LARGEST // 2**20} MB.")
    TOO_MUCH_AT_ONCE = GatewayReply(452, "4.3.1", "Too much email arrives at once. Try again in a minute.")
    UNFIT = GatewayReply(554, "5.6.0", "")
    LOOP = GatewayReply(554, "5.4.6", "The message has been through too many servers. Does Sealpost send to itself?")
    NO_FROM = GatewayReply(550, "5.7.1", "The message has no single From address. Set one that your account may use.")
    NOT_YOUR_FROM = GatewayReply(
        550, "5.7.1", "Your account may not send from the From address. Add it to your senders, and confirm it."
    )
    GONE = GatewayReply(535, "5.7.8", "The account is disabled or deleted, or the token was revoked.")
    OVER_LIMIT = GatewayReply(452, "4.3.1", "")
    NEVER_FITS = GatewayReply(552, "5.3.4", "")
    NO_DATABASE = GatewayReply(451, "4.3.0", "The email cannot be stored at the moment. Try again in a minute.")

    @property
    def reply(self) -> GatewayReply:
        return self.value

    @property
    def line(self) -> str:
        return self.value.line


HELP: Final = GatewayReply(214, "2.0.0", "Sealpost accepts email to send. Its manual: docs/gateway.md.")
BYE: Final = GatewayReply(221, "2.0.0", "Bye.")
SIGNED_IN: Final = GatewayReply(235, "2.7.0", "Signed in.")
OK: Final = GatewayReply(250, "2.0.0", "OK.")
SENDER_OK: Final = GatewayReply(250, "2.1.0", "OK.")
RECIPIENT_OK: Final = GatewayReply(250, "2.1.5", "OK.")
NO_NOTICES: Final = GatewayReply(250, "2.1.5", "OK, but no delivery notices are sent. See the mail log.")
SENDER_NO_NOTICES: Final = GatewayReply(250, "2.1.0", "OK, but no delivery notices are sent. See the mail log.")
NOT_SAID: Final = GatewayReply(252, "2.5.2", "Addresses are not checked here. Send the email, and it is tried.")
GO_AHEAD: Final = GatewayReply(354, "", "End the message with CRLF.CRLF")


def queued(mail_id: str) -> GatewayReply:
    """The promise."""
    return GatewayReply(250, "2.0.0", f"Queued as {mail_id}.")


def greeting(host: str) -> str:
    return f"220 {host} ESMTP Sealpost"


def enough_of(seconds: float) -> str:
    """When to try again, in words."""
    minutes = round(seconds / 60)
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"Try again in {max(1, round(seconds))} seconds."
    return f"Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}."
